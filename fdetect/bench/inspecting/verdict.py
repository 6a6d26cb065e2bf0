"""The verdict of one image in sentences: what it is, why, the p-value in plain words, and what it does not mean."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fdetect.bench.inspecting.inspection import GENERATED, INCONCLUSIVE, NO_VERDICT, REAL, Verdict, View
from fdetect.bench.inspecting.judging import CLAIM, FLAG, ODDS, Judged, at_most
from fdetect.bench.inspecting.references import References

__all__ = ["ALWAYS", "no_verdict", "of_thousand", "one_in", "share_text", "verdict_of"]

NOT_MEANT = (
    "It is no probability that the image was generated: that depends on how common such images are where it was found.",
    "Smoothed, denoised or enlarged photographs often stand out; ask whether this one was.",
    "It says nothing of who made the image, nor whether what it shows is true: real photographs mislead, too.",
    "It is about the whole picture: a part that was pasted in, retouched or generated can hide in it.",
)
INCONCLUSIVE_IS = "Inconclusive is neither \"real\" nor \"generated\": the evidence does not carry a claim."
NO_VERDICT_IS = "No verdict is no sign of anything: neither of a photograph nor of a generated image."
ALWAYS = (INCONCLUSIVE_IS, NO_VERDICT_IS, *NOT_MEANT)  # said whatever the references are
NEEDED = math.ceil(1 / CLAIM - 1e-9) - 1  # references that a claim takes

_PHOTOGRAPH, _GENERATED = "photograph", "generated image"
_GENERATORS, _PHOTOGRAPHS = "Images of the reference generators", "Photographs"
_ALIKE = 1.1  # times as often: what is less is no more often


def verdict_of(judged: Judged, k: int, views: Sequence[View], references: References, score: float) -> Verdict:
    """Say of image k of N what was judged; `views` are those that have to agree, in the order of `judged.high`."""
    word, p_real, p_generated = str(judged.words[k]), float(judged.p_real[k]), float(judged.p_generated[k])
    if not math.isfinite(p_real):
        return no_verdict("a view of it has no score, and a claim has to hold in all of them", references, score)
    as_high, as_low = float(judged.generated_as_high[k]), float(judged.real_as_low[k])
    generators, photographs = "images of the reference generators", "photographs like the reference photographs"
    if word == REAL:
        meaning = (f"Of 1,000 {generators}, {of_thousand(p_generated)} stand out as little in their strongest view, "
                   f"the one in which they stand out most; of 1,000 {photographs}, {of_thousand(as_low)} do."
                   )  # fmt: skip
    else:
        others = f"; of 1,000 {generators}, {of_thousand(as_high)} do" if math.isfinite(as_high) else ""
        meaning = (f"Of 1,000 {photographs}, {of_thousand(p_real)} stand out as much in their weakest view, the one "
                   f"in which they stand out least{others}.")  # fmt: skip
    because = _Because(judged, k, views, p_real, as_high, p_generated, as_low).sentence(word)
    meant = NOT_MEANT if word != INCONCLUSIVE else (INCONCLUSIVE_IS, *NOT_MEANT, *_cannot(judged, references))
    return Verdict(word, (because,), meaning, (*meant, *_measured(references)), score, p_real, p_generated, as_high,
                   as_low)  # fmt: skip


def no_verdict(reason: str, references: References | None, score: float = math.nan) -> Verdict:
    """Return the verdict of an image that could not be judged."""
    measured = _measured(references) if references and math.isfinite(score) else ()
    because = (f"{reason[0].upper()}{reason[1:]}.",) if reason else ()
    return Verdict(NO_VERDICT, because, "", (NO_VERDICT_IS, *measured), score, math.nan, math.nan)


def share_text(share: float) -> str:
    """Write a share in per cent, as in "0.6 %" or "42 %"; a dash where it is not known."""
    if not math.isfinite(share):
        return "–"
    if 0 < share < 0.001:
        return "below 0.1 %"
    return f"{100 * share:.1f} %" if share < 0.0995 else f"{100 * share:.0f} %"


def of_thousand(share: float) -> str:
    """Write a share as a count of 1,000: "about 6", "fewer than 1", "hardly any", "nearly all"."""
    if not math.isfinite(share):
        return "an unknown number"
    n = round(1000 * share)
    if n == 0:
        return "fewer than 1" if share else "hardly any"
    return "nearly all" if n >= 1000 else f"about {n}"


def one_in(share: float, noun: str) -> str:
    """Write a share as "1 photograph in 4", "6 photographs in 10", "nearly every photograph".

    Rounded, but never across a level: what is above 1 in 100 is never written so.
    """
    if share > 0.25:
        n = round(10 * share)
        return f"nearly every {noun}" if n >= 10 else f"{n} {noun}s in 10"
    if share <= 0:
        return f"hardly any {noun}"
    n = round(1 / share)
    for level in (CLAIM, FLAG):
        n = n if at_most(share, level) else min(n, round(1 / level) - 1)
    return f"1 {noun} in {n}"


@dataclass(frozen=True, eq=False)
class _Because:
    """What the first sentence is made of; the shares are those of image k."""

    judged: Judged
    k: int
    views: Sequence[View]
    p_real: float
    as_high: float
    p_generated: float
    as_low: float

    def sentence(self, word: str) -> str:
        """Say why it is this word."""
        if word == GENERATED:
            return f"{self._rare()} {self._generated_do()}."
        if word == REAL:
            return f"{self._calm()} {self._photographs_do()}."
        return self._inconclusive()

    def _inconclusive(self) -> str:
        """Say why there is no claim, the first of these that holds."""
        limit, high = f"a claim takes {ODDS:g} times", self.judged.high[:, self.k]
        rare, low = at_most(self.p_real, CLAIM), at_most(self.p_generated, CLAIM)
        if rare and low:
            return ("It is like neither: few photographs stand out as much in their weakest view, and few images of "
                    "the reference generators as little in their strongest.")  # fmt: skip
        if at_most(self.p_real, FLAG):
            ask = limit if rare else (f"a claim takes 1 photograph in {1 / CLAIM:.0f}, or fewer, and generated images "
                                      f"{ODDS:g} times as often")  # fmt: skip
            return f"{self._rare()} {self._generated_do()}; {ask}."
        pairs = list(zip(self.views, high, strict=True))
        if out := [f'"{view.name}"' for view, one in pairs if one <= FLAG]:
            calm = [f"\"{view.name}\" ({one_in(one, _PHOTOGRAPH)})" for view, one in pairs if one > FLAG]
            return (f"The views disagree: at most 1 photograph in {1 / FLAG:.0f} scores as high in {_listed(out)}, "
                    f"but more do in {_listed(calm)}.")  # fmt: skip
        if low:
            return f"{self._calm()} {self._photographs_do()}; {limit}."
        return f"Nothing stands out in any view{self._ordinary()}"

    def _ordinary(self) -> str:
        """Say how many of both look as ordinary, and what that is worth."""
        if not math.isfinite(self.p_generated):
            return f". {_ordinary(self.as_low)}. That alone is no sign of a photograph."
        generated = one_in(self.p_generated, _GENERATED)
        both = (f": {_ordinary(self.as_low)}, and {generated} "
                f"{'do' if _plural(generated) else 'does'}")  # fmt: skip
        if at_most(ODDS * self.p_generated, self.as_low):
            return f"{both}. To be called a photograph takes 1 generated image in {1 / CLAIM:.0f}, or fewer."
        return f"{both}. That is no sign of a photograph, nor of a generated image."

    def _rare(self) -> str:
        """Say how few photographs stand out as much."""
        at, n = int(np.argmax(self.judged.high[:, self.k])), round(1 / self.judged.floor_real) - 1
        only = "only " if at_most(self.p_real, CLAIM) else ""
        own = _photographs(self.p_real, n, only)
        return f"In its weakest view, {self._view(at)}; {own} stands out as much in its own weakest view."

    def _calm(self) -> str:
        """Say how few generated images stand out as little."""
        at = int(np.argmin(self.judged.high[:, self.k]))
        few = f"only {one_in(self.p_generated, _GENERATED)}"
        if self.p_generated <= self.judged.floor_generated * (1 + 1e-9):
            few = "none of the images of the reference generators"
        return f"In its strongest view, {self._view(at)}; {few} stands out as little in its own strongest view."

    def _view(self, at: int) -> str:
        share, n = float(self.judged.high[at, self.k]), round(1 / self.judged.floor_real) - 1
        who = _photographs(share, n, "")
        return f"\"{self.views[at].name}\", {who} {'score' if _plural(who) else 'scores'} as high"

    def _generated_do(self) -> str:
        if not math.isfinite(self.as_high):
            return "No generated images are among the references, so that nobody knows whether these do so more often"
        return _often(_GENERATORS, self.as_high, self.p_real, "photographs")

    def _photographs_do(self) -> str:
        return _often(_PHOTOGRAPHS, self.as_low, self.p_generated, "images of the reference generators")


def _often(who: str, share: float, than: float, others: str) -> str:
    """Say how often some do what others do, with both shares; times are rounded down, and reach no more than is so."""
    ratio = share / than
    if ratio >= ODDS - 1e-9:
        times = f"{math.floor(ratio + 1e-9)} times as often"
    elif ratio >= _ALIKE:
        times = f"{math.floor(10 * ratio + 1e-9) / 10:g} times as often"
    else:
        times = "no more often" if share >= than * (1 - 1e-9) else "less often"
    return f"{who} do so {times} ({share_text(share)}, and {share_text(than)} of {others})"


def _photographs(share: float, n: int, only: str) -> str:
    """Write a share (1 + m) / (n + 1) of n photographs: "none of 180 photographs" where m is 0."""
    return f"none of {n} photographs" if round(share * (n + 1)) == 1 else f"{only}{one_in(share, _PHOTOGRAPH)}"


def _ordinary(share: float) -> str:
    who = one_in(share, _PHOTOGRAPH)
    return f"{who} {'stand out as little in their' if _plural(who) else 'stands out as little in its'} strongest view"


def _plural(who: str) -> bool:
    """Whether `one_in` wrote more than one, "3 photographs in 10"."""
    return who[0] not in "1nh"


def _cannot(judged: Judged, references: References) -> tuple[str, ...]:
    """Say which claims these references cannot carry, whatever the image."""
    n, told = round(1 / judged.floor_real) - 1, []
    if n < NEEDED:
        there = "is" if n == 1 else "are"
        told.append(f"A claim at 1 in {1 / CLAIM:.0f} takes {NEEDED} reference photographs; there {there} {n}, so that "
                    f"\"{GENERATED}\" cannot be said of any image.")  # fmt: skip
    counts = Counter(references.generators.tolist())
    if not counts:
        told.append("Without generated images among the references, no image can be called "
                    f"\"{GENERATED}\" or \"{REAL}\".")  # fmt: skip
    elif not at_most(judged.floor_generated, CLAIM):
        least = min(counts.values())
        told.append(f"\"{REAL}\" cannot be said of any image: it takes about {NEEDED} reference images of every "
                    f"generator, and of one there {'is' if least == 1 else 'are'} {least}.")  # fmt: skip
    return tuple(told)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _measured(references: References) -> tuple[str, ...]:
    """Say what was measured of the rule where that is known."""
    told = references.about.get("measured", "")
    return (str(told),) if told else ()
