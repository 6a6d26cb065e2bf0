"""The verdict of one image in sentences: what it is, why, the p-value in plain words, and what it does not mean."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fdetect.bench.inspecting.inspection import GENERATED, INCONCLUSIVE, REAL, Verdict, View
from fdetect.bench.inspecting.judging import CLAIM, FLAG, ODDS, Judged
from fdetect.bench.inspecting.references import References

__all__ = ["no_verdict", "of_thousand", "verdict_of"]

NOT_MEANT = (
    "It is no probability that the image was generated: that depends on how common such images are where it was found.",
    "It says nothing of who made the image, nor whether what it shows is true: real photographs mislead, too.",
    "It is about the whole picture: a part that was pasted in, retouched or generated can hide in it; see the tiles.",
)
INCONCLUSIVE_IS = "Inconclusive is neither \"real\" nor \"generated\": the evidence does not carry a claim."


def verdict_of(judged: Judged, k: int, views: Sequence[View], references: References, score: float) -> Verdict:
    """Say of image k of N what was judged; `views` are those that have to agree, in the order of `judged.high`."""
    word, p_real, p_generated = str(judged.words[k]), float(judged.p_real[k]), float(judged.p_generated[k])
    high = judged.high[:, k]
    if not math.isfinite(p_real):
        return no_verdict("a view of it has no score, and a claim has to hold in all of them", references, score)
    as_high = float(judged.generated_as_high[k])
    meaning = (f"Of 1,000 real photographs like the calibration set, {of_thousand(p_real)} score as high in every "
               f"view{_against(of_thousand(as_high), as_high)}.")  # fmt: skip
    if word == REAL:
        real = of_thousand(float(judged.real_as_low[k]))
        meaning = (f"Of 1,000 generated images of the reference generators, {of_thousand(p_generated)} score as low in "
                   f"every view; of 1,000 real photographs {real} do.")  # fmt: skip
    because = _because(word, p_real, as_high, p_generated, high, views)
    more = (INCONCLUSIVE_IS,) if word == INCONCLUSIVE else ()
    return Verdict(word, because, meaning, (*more, *NOT_MEANT, *_measured(references)), score, p_real, p_generated)


def no_verdict(reason: str, references: References | None, score: float = math.nan) -> Verdict:
    """Return the verdict of an image that could not be judged."""
    measured = _measured(references) if references else ()
    return Verdict(INCONCLUSIVE, (f"No verdict: {reason}.",), "", (*NOT_MEANT, *measured), score, math.nan, math.nan)


def of_thousand(share: float) -> str:
    """Write a share as a count of 1,000: "about 6", "fewer than 1"; digits that n references cannot know are not."""
    n = 1000 * share
    if not math.isfinite(n):
        return "an unknown number"
    if 0 < n < 1:
        return "fewer than 1"
    return "none" if n == 0 else "all" if n >= 1000 else f"about {n:.0f}"


def _against(count: str, share: float) -> str:
    return f"; of 1,000 images of the reference generators {count} do" if math.isfinite(share) else ""


def _because(
    word: str, p_real: float, as_high: float, p_generated: float, high: np.ndarray, views: Sequence[View]
) -> tuple[str, ...]:
    """Say why it is this word, the weightiest first."""
    pairs = list(zip(views, high, strict=True))
    out = [view.name for view, one in pairs if one <= FLAG]
    calm = [f"{view.name}: 1 photograph in {_one_in(one)} scores as high" for view, one in pairs if one > FLAG]
    if word == GENERATED:
        return (f"It stands out from photographs in every view ({', '.join(view.name for view in views)}), as not 1 "
                "photograph in 100 does.",)  # fmt: skip
    if word == REAL:
        return ("It looks ordinary in every view, as not 1 generated image in 100 does.",)
    if p_real <= CLAIM:
        times = as_high / p_real
        return (f"It stands out as not 1 photograph in 100 does, but generated images do so only {times:.1f} times as "
                f"often; a claim takes {ODDS:g} times.",)  # fmt: skip
    if p_real <= FLAG:
        return (f"It stands out in every view, but 1 photograph in {_one_in(p_real)} does so, too; a claim takes 1 in "
                f"{1 / CLAIM:.0f}.",)  # fmt: skip
    if out:
        return (f"The views disagree: it stands out in {', '.join(out)}, and does not in others ({'; '.join(calm)}).",)
    if p_generated <= CLAIM:
        return ("It looks ordinary as few generated images do, but hardly more photographs do.",)
    also = f": 1 in {_one_in(p_generated)} looks as ordinary in every view" if math.isfinite(p_generated) else ""
    return (f"Nothing stands out. That is no sign of a photograph: so it is with many generated images{also}.",)


def _one_in(share: float) -> str:
    return f"{1 / share:.0f}" if share <= 0.2 else f"{1 / share:.1f}"


def _measured(references: References) -> tuple[str, ...]:
    """Say what was measured of the rule where that is known."""
    told = references.about.get("measured", "")
    return (str(told),) if told else ()
