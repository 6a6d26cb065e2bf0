"""JPEG history of one picture: what its file says, and whether the pixels were a JPEG before that.

An earlier JPEG is found by the lattice its quantisation leaves in the DCT values (jpeg_lattice.py).  How often it is
found, and how often where there was none: docs/jpeg-history.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fdetect.bench.inspecting.jpeg_lattice import LEAST_SIDE, grid_scores, quality_on_grid, requantised
from fdetect.forensics.planes import luma, planes
from fdetect.images import Decoded, jpeg_quality
from fdetect.types import Facts

__all__ = ["ALIGNED", "NOT_TOLD", "SHIFTED", "JpegHistory", "JpegSigns", "jpeg_history", "jpeg_signs"]

ALIGNED, SHIFTED, NOT_TOLD = "aligned", "shifted", "not told"

# z above which a sign is told: the 99 % quantile over pictures without it (those of even number, the worst of their
# cases), rounded up to a half, and 1 more.  python benchmarks/jpeg_history.py DATA; the rates: docs/jpeg-history.md
GRID_LEAST = 5.5  # a block grid in a file that is no JPEG, and in a JPEG one that is shifted both ways
ONE_WAY_LEAST = 15.5  # in a JPEG, a grid shifted along one side only, which shares block edges with the file's own
REQUANTISED_LEAST = 9.0  # in a JPEG, an earlier JPEG on the same grid

_GRID_WINDOW, _WINDOW = 512, 1024  # px: the middle of the picture that is looked at, for all grids and for one
_FEWEST_VALUES = 500  # of one grey level or more in the blocks of a picture, for "none found" to say anything
_LOSSY = ("WEBP", "AVIF", "JPEG2000")  # their own loss can cover an earlier one; Facts do not say whether there was any
_FEW_COLOURS = ("P", "PA", "1")  # Pillow's names of pixel types that look colours up, or are black and white
_PLAIN = "This says how the file was stored, nothing about how the picture was made."


@dataclass(frozen=True)
class JpegSigns:
    """What the pixels show, as z (jpeg_lattice.py): larger is plainer.

    grid          the strongest block grid over the strongest that shares neither its rows nor its columns; of a JPEG
                  among those shifted both ways
    grid_phase    its first row and column, in px
    one_way       of a JPEG, the same for grids shifted along one side only, not by 4 px, `one_way_phase`; else 0
    requantised   of a JPEG, an earlier JPEG on its own grid; else 0
    requantised_quality  the quality at which that is largest
    values        how many DCT values of one grey level or more there are to see it by
    """

    grid: float = 0.0
    grid_phase: tuple[int, int] = (0, 0)
    one_way: float = 0.0
    one_way_phase: tuple[int, int] = (0, 0)
    requantised: float = 0.0
    requantised_quality: int = 0
    values: int = 0


@dataclass(frozen=True)
class JpegHistory:
    """What is known of a picture's JPEG compression, and in which words.

    quality, exact   of the file: the nearest IJG quality and whether its luma table is met; None, False if no JPEG
    subsampling, progressive   of the file, "" and False if no JPEG
    earlier          "aligned" or "shifted": a JPEG before the file was written, its blocks on the grid of the picture's
                     corner or not; "" none found; "not told" where none was found and it could hardly have been
    phase            first row and column, in px, of the earlier blocks; None where none was found
    quality_before   estimate of the earlier IJG quality; None where none was found
    strength, least  z of the sign, and what it has to exceed; without a sign the one that came nearest
    false_alarms     how often `least` is exceeded without such a history
    signs            what was measured
    sentences        all of it in words
    """

    quality: int | None
    exact: bool
    subsampling: str
    progressive: bool
    earlier: str
    phase: tuple[int, int] | None
    quality_before: int | None
    strength: float
    least: float
    false_alarms: str
    signs: JpegSigns
    sentences: tuple[str, ...]


FALSE_ALARMS = "about 1 in 100 pictures without this history, or fewer, would show as much (docs/jpeg-history.md)"


def jpeg_history(image: Decoded) -> JpegHistory:
    """Say what is known of the JPEG history of one picture, pixels as stored; any size and content."""
    facts, signs = image.facts, jpeg_signs(image)
    strength, least, phase = max(_candidates(signs, facts), key=lambda sign: sign[0] / sign[1])
    found = strength > least
    before = _quality_before(image, signs, phase) if found else None
    if found:
        earlier = ALIGNED if phase == (0, 0) else SHIFTED
    else:
        earlier = NOT_TOLD if _is_jpeg(facts) or _own_loss(facts) or signs.values < _FEWEST_VALUES else ""
    quality, exact = jpeg_quality(facts.qtables) or (None, False)
    sentences = (_of_file(facts), *_of_pixels(facts, signs, earlier, phase, before), _PLAIN)
    return JpegHistory(
        quality, exact, facts.subsampling, facts.progressive, earlier, phase if found else None, before,
        strength, least, FALSE_ALARMS, signs, sentences,
    )  # fmt: skip


def jpeg_signs(image: Decoded) -> JpegSigns:
    """Measure the signs of an earlier JPEG in the middle of a picture; all 0 where a side is below 15 px."""
    if min(image.pixels.shape[:2]) < LEAST_SIDE:
        return JpegSigns()
    grey = _middle(image.pixels, _GRID_WINDOW)
    scores, values = grid_scores(grey)
    rows, columns = np.mgrid[:8, :8]
    if not _is_jpeg(image.facts):
        grid, phase = _strongest(scores, np.ones((8, 8), bool), rows >= 0)
        return JpegSigns(grid, phase, values=values)
    both, one = (rows > 0) & (columns > 0), (rows > 0) ^ (columns > 0)
    one[4, 0] = one[0, 4] = False  # means of two values of the file's own grid lie on half its steps
    grid, phase = _strongest(scores, both, both)
    one_way, one_way_phase = _strongest(scores, one, both)
    z, quality = 0.0, 0
    if image.facts.qtables and len(image.facts.qtables[0]) == 64:
        table = np.maximum(np.reshape(image.facts.qtables[0], (8, 8)), 1)
        z, quality = requantised(_middle(image.pixels, _WINDOW), table)
    return JpegSigns(grid, phase, one_way, one_way_phase, z, quality, values)


def _strongest(scores: np.ndarray, among: np.ndarray, others: np.ndarray) -> tuple[float, tuple[int, int]]:
    """Return the largest score over the largest of `others` in other rows and columns, and its place."""
    row, column = divmod(int(np.where(among, scores, -np.inf).argmax()), 8)
    unrelated = others.copy()
    unrelated[row], unrelated[:, column] = False, False
    return float(scores[row, column] - max(scores[unrelated].max(), 0.0)), (row, column)


def _candidates(signs: JpegSigns, facts: Facts) -> list[tuple[float, float, tuple[int, int]]]:
    """Return (z, what it has to exceed, phase) of each sign that a picture of this format can have."""
    found = [(signs.grid, GRID_LEAST, signs.grid_phase)]
    if _is_jpeg(facts):
        found += [(signs.one_way, ONE_WAY_LEAST, signs.one_way_phase), (signs.requantised, REQUANTISED_LEAST, (0, 0))]
    return found


def _quality_before(image: Decoded, signs: JpegSigns, phase: tuple[int, int]) -> int:
    if _is_jpeg(image.facts) and phase == (0, 0):
        return signs.requantised_quality
    return quality_on_grid(_middle(image.pixels, _GRID_WINDOW), *phase)


def _is_jpeg(facts: Facts) -> bool:
    return facts.format == "JPEG"


def _own_loss(facts: Facts) -> str:
    """Return what a format that is no JPEG can have lost by itself, in words; "" for nothing."""
    if facts.mode in _FEW_COLOURS:
        return "its few colours"
    return f"the loss of {facts.format}" if facts.format in _LOSSY else ""


def _middle(pixels: np.ndarray, side: int) -> np.ndarray:
    """Return luma of the middle, (H, W) float32 with at most `side` px a side, from a multiple of 8 px."""
    height, width = (min(side, length) for length in pixels.shape[:2])
    top, left = ((length - kept) // 16 * 8 for length, kept in zip(pixels.shape[:2], (height, width), strict=False))
    return np.asarray(luma(planes(pixels[None, top : top + height, left : left + width]))[0])


def _of_file(facts: Facts) -> str:
    if not _is_jpeg(facts):
        return f"The file is {facts.format or 'of an unknown format'}, so it states no JPEG quality."
    known = jpeg_quality(facts.qtables)
    if known is None:
        tables = "tables that were not read"
    elif known[1]:
        tables = f"the IJG tables of quality {known[0]}"
    else:
        tables = f"tables of another encoder, nearest to IJG quality {known[0]}"
    colour = f", chroma {facts.subsampling}" if facts.subsampling else ", without chroma" if facts.mode == "L" else ""
    return f"The file is a {'progressive' if facts.progressive else 'baseline'} JPEG with {tables}{colour}."


def _of_pixels(
    facts: Facts, signs: JpegSigns, earlier: str, phase: tuple[int, int], before: int | None
) -> tuple[str, ...]:
    file = facts.format or "file"
    when = f"{'before or when' if file == 'TIFF' else 'before'} this {file} was written"  # a TIFF can hold a JPEG
    if earlier == ALIGNED:
        place = "on the same block grid" if _is_jpeg(facts) else "in blocks that begin at the picture's corner"
        return (f"The pixels were a JPEG of about quality {before} {when}, {place}.",)
    if earlier == SHIFTED:
        return (f"The pixels were a JPEG of about quality {before} {when}; its blocks begin at row {phase[0]} and "
                f"column {phase[1]}, so the picture was cropped or moved in between.",)  # fmt: skip
    if signs.values < _FEWEST_VALUES:
        return ("Whether it was a JPEG before is not told: the picture is too small or too flat.",)
    if _is_jpeg(facts):
        return ("No sign of an earlier JPEG was found.  This does not say that it was compressed once: one of the same "
                "quality on the same grid leaves no sign, and a finer one little.",)  # fmt: skip
    if loss := _own_loss(facts):
        return (f"No sign of an earlier JPEG was found, but {loss} can have covered it.",)
    return ("No sign of an earlier JPEG was found; resizing, filtering or noise since would have removed it.",)
