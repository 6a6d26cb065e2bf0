"""The picture made small, the tiles that stand out drawn over it, and where a value stands among photographs.

Tiles have four steps by the share of reference crops that score as high.  Tiles may overlap: a place has the colour of
the rarest that covers it, once.  The two rarest are outlined too, dark beside white, one of them twice, so that they
are told without colour and on every colour; those have a tooltip with their figures.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from fdetect.bench.inspecting.inspection import Standing, TileScores
from fdetect.bench.inspecting.judging import CLAIM, FLAG
from fdetect.bench.inspecting.shown.words import count_text, score_text, share_text
from fdetect.bench.report.plots import probit
from fdetect.bench.report.svg import group, number, svg, tag, text, titled
from fdetect.bench.report.thumbnails import small_jpeg

__all__ = ["LEVELS", "jpeg_uri", "place_on", "place_strip", "place_ticks", "swatch", "tile_overlay"]

WIDTH, HEIGHT = 900, 1200  # px of the picture, at most
LARGEST = 450_000  # bytes of it, before base64 adds a third

_QUALITIES = (88, 75, 60, 45, 30)  # JPEG; the first whose file is small enough
_INK, _EDGE, _PALE = "#ff8a1f", "#1b1b1a", "#ffffff"

LEVELS = (  # above which share, opacity of the inside, outlines, words
    (0.20, 0.0, 0, "more than 20 %: nothing to see"),
    (FLAG, 0.2, 0, "5 to 20 %"),
    (CLAIM, 0.36, 1, "1 to 5 %: outlined"),
    (0.0, 0.5, 2, "1 % or less: outlined twice"),
)
_NONE = 6  # px of a dash around a tile without a score
_MOST_TOLD = 400  # tiles with a tooltip, the rarest first

_STRIP, _MARGIN, _END = (250, 24), 8, 2.6  # px, px, standard deviations at the ends
_TICKS = ((0.5, "50 %"), (0.2, "20 %"), (FLAG, "5 %"), (CLAIM, "1 %"))


def jpeg_uri(pixels: np.ndarray, width: int = WIDTH, height: int = HEIGHT, largest: int = LARGEST) -> tuple[str, str]:
    """Return "data:image/jpeg;base64,..." of (H, W, 3) uint8 pixels, never enlarged, and its size as "W x H"."""
    uri, *size = small_jpeg(pixels, width, height, largest, _QUALITIES)
    return uri, "{} x {}".format(*size)


def tile_overlay(tiles: TileScores) -> Markup:
    """Draw all tiles in the px of the picture, to be laid over it at any size; the rarest on top."""
    levels = [_level(high, score) for high, score in zip(tiles.high, tiles.scores, strict=True)]
    parts = []
    for (_, opacity, *_), cells in zip(LEVELS, _cells(tiles.boxes, levels), strict=True):
        if cells and opacity:
            parts.append(tag("path", d="".join(map(_path, cells)), fill=_INK, fill_opacity=opacity))
    for k, (_, _, outlines, _) in enumerate(LEVELS):
        path = "".join(_path(box) for box, level in zip(tiles.boxes, levels, strict=True) if level == k)
        if path and outlines:
            parts += _outlines(path, outlines)
    dashed = "".join(_path(box) for box, level in zip(tiles.boxes, levels, strict=True) if level is None)
    if dashed:
        dashes = f"{_NONE} {_NONE}"
        parts += [_line(dashed, ink, width, stroke_dasharray=dashes) for ink, width in ((_EDGE, 4), (_PALE, 1.5))]
    outlined = [at for at, level in enumerate(levels) if level is not None and LEVELS[level][2]]
    for at in sorted(outlined, key=lambda at: tiles.high[at])[:_MOST_TOLD]:
        words = titled(_told(tiles, at))
        parts.append(tag("path", words, d=_path(tiles.boxes[at]), fill_opacity=0, pointer_events="all"))
    few, rare = (sum(level == k for level in levels) for k in (2, 3))
    label = f"{len(levels)} tiles: {few} at 1 to 5 per cent, {rare} at 1 per cent or less"
    return tag("svg", Markup("").join(parts), role="img", aria_label=label, preserveAspectRatio="none",
               viewBox=f"0 0 {int(tiles.width)} {int(tiles.height)}")  # fmt: skip


def swatch(level: int | None) -> Markup:
    """Draw the sample of a level for the legend; None is a tile without a score."""
    box = "M3 3h26v14h-26z"
    ground = tag("rect", x=0, y=0, width=32, height=20, fill="#8b8f94")
    if level is None:
        shown = [_line(box, ink, width, stroke_dasharray="4 4") for ink, width in ((_EDGE, 4), (_PALE, 1.5))]
    else:
        _, opacity, outlines, _ = LEVELS[level]
        shown = [tag("path", d=box, fill=_INK, fill_opacity=opacity), *_outlines(box, outlines)]
    return tag("svg", Markup("").join([ground, *shown]), viewBox="0 0 32 20", width=32, height=20, aria_hidden="true")


def place_strip(standing: Standing) -> Markup:
    """Draw where a value stands by the share of photographs that are as high: rarer to the right, on a probit scale.

    What is behind the 5 % and the 1 % place is shaded; a value there is a diamond, and a dot elsewhere.
    """
    (width, height), middle = _STRIP, _STRIP[1] / 2
    parts = [tag("rect", x=_at(level), y=3, width=width - _MARGIN - _at(level), height=height - 6,
                 fill="currentColor", fill_opacity=0.1) for level in (FLAG, CLAIM)]  # fmt: skip
    parts.append(tag("line", class_="axis", x1=_MARGIN, x2=width - _MARGIN, y1=middle, y2=middle))
    for share, _ in _TICKS:
        reach = 9 if share <= FLAG else 4
        parts.append(tag("line", class_="axis", x1=_at(share), x2=_at(share), y1=middle - reach, y2=middle + reach))
    words = "no place"
    if math.isfinite(standing.high):
        at, rare = _at(standing.high), standing.high <= FLAG
        words = (f"{score_text(standing.value)}: {count_text(standing)} photographs are as high "
                 f"({share_text(standing.high)})")  # fmt: skip
        shape = (tag("path", d=f"M{number(at - 7)} {number(middle)}l7 -7l7 7l-7 7z") if rare
                 else tag("circle", cx=at, cy=middle, r=5.5))  # fmt: skip
        parts.append(group(titled(words), [shape], class_="dot warn" if rare else "dot"))
    return svg(width, height, words, parts)


def place_on(share: float, left: float, right: float) -> float:
    """Return the px of a share of photographs on a line: rarer to the right, by its probit, one half in the middle."""
    z = probit(1 - min(max(share, 1e-6), 1 - 1e-6))
    return left + (min(max(z, -_END), _END) + _END) / (2 * _END) * (right - left)


@functools.cache
def place_ticks() -> Markup:
    """Write the shares above such strips."""
    parts = [text(_at(share), 8, words, anchor="middle", fill="currentColor") for share, words in _TICKS]
    return svg(_STRIP[0], 16, "share of photographs that are as high, from 50 to 1 per cent", parts)


def _level(high: float, score: float) -> int | None:
    """Return the step of a tile; without references none stands out."""
    if not math.isfinite(score):
        return None
    return next((k for k, (above, *_) in enumerate(LEVELS) if high > above), len(LEVELS) - 1 if high <= 0 else 0)


def _at(share: float) -> float:
    return place_on(share, _MARGIN, _STRIP[0] - _MARGIN)


def _cells(boxes: np.ndarray, levels: Sequence[int | None]) -> list[list[np.ndarray]]:
    """Cut the picture along the edges of all tiles: by level the cells, (4,) each, whose rarest tile has it.

    Cells of one level beside each other in a row are one.
    """
    rows, columns = np.unique(boxes[:, [0, 2]]), np.unique(boxes[:, [1, 3]])
    of = np.full((max(len(rows) - 1, 0), max(len(columns) - 1, 0)), -1)
    for box, level in zip(boxes, levels, strict=True):
        if level is not None:
            (top, bottom), (left, right) = np.searchsorted(rows, box[[0, 2]]), np.searchsorted(columns, box[[1, 3]])
            of[top:bottom, left:right] = np.maximum(of[top:bottom, left:right], level)
    found: list[list[np.ndarray]] = [[] for _ in LEVELS]
    for y, row in enumerate(of):
        ends = [0, *(np.flatnonzero(np.diff(row)) + 1).tolist(), len(row)]
        for start, end in itertools.pairwise(ends):
            if end > start and row[start] >= 0:
                found[row[start]].append(np.array([rows[y], columns[start], rows[y + 1], columns[end]]))
    return found


def _path(box: np.ndarray) -> str:
    top, left, bottom, right = (int(side) for side in box)
    return f"M{left} {top}H{right}V{bottom}H{left}z"


def _outlines(path: str, count: int) -> list[Markup]:
    """Draw white beside dark, which shows on every picture; the second outline is the broader one."""
    widths = {0: (), 1: ((_EDGE, 5), (_PALE, 2)), 2: ((_EDGE, 11), (_PALE, 8), (_EDGE, 5), (_PALE, 2))}
    return [_line(path, ink, width) for ink, width in widths[count]]


def _line(path: str, ink: str, width: float, **more: str) -> Markup:
    return tag("path", d=path, fill="none", stroke=ink, stroke_width=width, vector_effect="non-scaling-stroke", **more)


def _told(tiles: TileScores, at: int) -> str:
    top, left, bottom, right = (int(side) for side in tiles.boxes[at])
    return (f"{right - left} x {bottom - top} px from row {top}, column {left}: score {score_text(tiles.scores[at])}, "
            f"{share_text(tiles.high[at])} of reference crops score as high")  # fmt: skip
