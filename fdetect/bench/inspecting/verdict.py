"""The verdict of one image in sentences: what it is, why, the p-value in plain words, and what it does not mean."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from fdetect.bench.inspecting.inspection import GENERATED, INCONCLUSIVE, REAL, Verdict, View
from fdetect.bench.inspecting.judging import CLAIM, FLAG, ODDS, Judged
from fdetect.bench.inspecting.references import References

__all__ = ["no_verdict", "of_thousand", "one_in", "verdict_of"]

NOT_MEANT = (
    "It is no probability that the image was generated: that depends on how common such images are where it was found.",
    "It says nothing of who made the image, nor whether what it shows is true: real photographs mislead, too.",
    "It is about the whole picture: a part that was pasted in, retouched or generated can hide in it; see the tiles.",
)
INCONCLUSIVE_IS = "Inconclusive is neither \"real\" nor \"generated\": the evidence does not carry a claim."
NEEDED = math.ceil(1 / CLAIM - 1e-9) - 1  # references that a claim takes

_PHOTOGRAPH, _GENERATED = "photograph", "generated image"


def verdict_of(judged: Judged, k: int, views: Sequence[View], references: References, score: float) -> Verdict:
    """Say of image k of N what was judged; `views` are those that have to agree, in the order of `judged.high`."""
    word, p_real, p_generated = str(judged.words[k]), float(judged.p_real[k]), float(judged.p_generated[k])
    if not math.isfinite(p_real):
        return no_verdict("a view of it has no score, and a claim has to hold in all of them", references, score)
    as_high, as_low = float(judged.generated_as_high[k]), float(judged.real_as_low[k])
    generators, photographs = "images of the reference generators", "photographs like the reference photographs"
    if word == REAL:
        meaning = (f"Of 1,000 {generators}, {of_thousand(p_generated)} look as ordinary in the view in which they "
                   f"stand out most; of 1,000 {photographs}, {of_thousand(as_low)} do.")  # fmt: skip
    else:
        others = f"; of 1,000 {generators}, {of_thousand(as_high)} do" if math.isfinite(as_high) else ""
        meaning = (f"Of 1,000 {photographs}, {of_thousand(p_real)} stand out as much in the view in which they stand "
                   f"out least{others}.")  # fmt: skip
    if word == INCONCLUSIVE:
        high = judged.high[:, k]
        because = (_inconclusive(p_real, as_high, p_generated, as_low, high, views), *_cannot(judged, references))
        meant: tuple[str, ...] = (INCONCLUSIVE_IS, *NOT_MEANT)
    else:
        because, meant = (_claim(word, p_real, as_high, p_generated, as_low, views),), NOT_MEANT
    return Verdict(word, because, meaning, (*meant, *_measured(references)), score, p_real, p_generated)


def no_verdict(reason: str, references: References | None, score: float = math.nan) -> Verdict:
    """Return the verdict of an image that could not be judged."""
    measured = _measured(references) if references else ()
    return Verdict(INCONCLUSIVE, (f"No verdict: {reason}.",), "", (*NOT_MEANT, *measured), score, math.nan, math.nan)


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
        n = min(n, round(1 / level) - 1) if share > level else n
    return f"1 {noun} in {n}"


def _claim(word: str, p_real: float, as_high: float, p_generated: float, as_low: float, views: Sequence[View]) -> str:
    """Say why it is a claim."""
    named = f"in all {len(views)} views ({', '.join(view.name for view in views)})"
    if word == GENERATED:
        return (f"It scores high {named}, as only {one_in(p_real, _PHOTOGRAPH)} does. Images of the reference "
                f"generators do so {_times(as_high / p_real)}.")  # fmt: skip
    return (f"It scores low {named}, as only {one_in(p_generated, _GENERATED)} does. Photographs do so "
            f"{_times(as_low / p_generated)}.")  # fmt: skip


def _inconclusive(
    p_real: float, as_high: float, p_generated: float, as_low: float, high: np.ndarray, views: Sequence[View]
) -> str:
    """Say why there is no claim, the first of these that holds."""
    rare, limit = f"in all {len(views)} views, as only", f"a claim takes {ODDS:g} times"
    if p_real <= CLAIM and p_generated <= CLAIM:
        return ("It is like neither: few photographs score as high in all views, and few images of the reference "
                "generators as low.")  # fmt: skip
    if p_real <= CLAIM:
        why = "no generated images are among the references, so that nobody knows whether these do so more often"
        if math.isfinite(as_high):
            why = f"images of the reference generators do so {_hardly(as_high / p_real)}, and {limit}"
        return f"It scores high {rare} {one_in(p_real, _PHOTOGRAPH)} does. But {why}."
    if p_real <= FLAG:
        return (f"It scores rather high {rare} {one_in(p_real, _PHOTOGRAPH)} does; a claim takes 1 in "
                f"{1 / CLAIM:.0f}, or fewer.")  # fmt: skip
    pairs = list(zip(views, high, strict=True))
    if out := [f'"{view.name}"' for view, one in pairs if one <= FLAG]:
        calm = [f"\"{view.name}\" ({one_in(one, _PHOTOGRAPH)})" for view, one in pairs if one > FLAG]
        return (f"The views disagree: at most 1 photograph in {1 / FLAG:.0f} scores as high in {_listed(out)}, but "
                f"more do in {_listed(calm)}.")  # fmt: skip
    if p_generated <= CLAIM:
        return (f"It scores low {rare} {one_in(p_generated, _GENERATED)} does. But photographs do so "
                f"{_hardly(as_low / p_generated)}, and {limit}.")  # fmt: skip
    alike = f": {one_in(p_generated, _GENERATED)} would look as ordinary" if math.isfinite(p_generated) else ""
    return f"Nothing stands out in any view. That is no sign of a photograph{alike}."


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
    elif judged.floor_generated > CLAIM:
        least = min(counts.values())
        told.append(f"\"{REAL}\" cannot be said of any image: it takes about {NEEDED} reference images of every "
                    f"generator, and of one there {'is' if least == 1 else 'are'} {least}.")  # fmt: skip
    return tuple(told)


def _times(ratio: float) -> str:
    """Write how many times as often, rounded down, so that it never reaches what it does not."""
    return f"{math.floor(ratio + 1e-9)} times as often"


def _hardly(ratio: float) -> str:
    """The same of what is below ODDS."""
    return "no more often" if ratio < 1.1 else f"only {math.floor(10 * ratio + 1e-9) / 10:g} times as often"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _measured(references: References) -> tuple[str, ...]:
    """Say what was measured of the rule where that is known."""
    told = references.about.get("measured", "")
    return (str(told),) if told else ()
