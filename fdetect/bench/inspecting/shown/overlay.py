"""The picture made small, the tiles that stand out drawn over it, and where a value stands among photographs.

Tiles have four steps by the share of reference crops that score as high.  The two rarest are outlined too, one of them
twice, so that they are told without colour; those have a tooltip with their figures.
"""

from __future__ import annotations

import functools
import io
import math
from base64 import b64encode

import numpy as np
from markupsafe import Markup
from PIL import Image

from fdetect.bench.inspecting.inspection import Standing, TileScores
from fdetect.bench.inspecting.shown.words import FEW, HARDLY_ANY, count_text, score_text, share_text
from fdetect.bench.report.plots import probit
from fdetect.bench.report.svg import group, number, svg, tag, text, titled

__all__ = ["LEVELS", "jpeg_uri", "place_strip", "place_ticks", "swatch", "tile_overlay"]

WIDTH, HEIGHT = 900, 1200  # px of the picture, at most
LARGEST = 450_000  # bytes of it, before base64 adds a third

_QUALITIES = (88, 75, 60, 45, 30)  # JPEG; the first whose file is small enough
_INK, _EDGE = "#ff8a1f", "#1b1b1a"

LEVELS = (  # above which share, opacity of the inside, outlines, words
    (0.20, 0.0, 0, "more than 20 %: nothing to see"),
    (FEW, 0.2, 0, "5 to 20 %"),
    (HARDLY_ANY, 0.36, 1, "1 to 5 %: outlined"),
    (0.0, 0.5, 2, "1 % or less: outlined twice"),
)
_NONE = 6  # px of a dash around a tile without a score
_MOST_TOLD = 400  # tiles with a tooltip, the rarest first

_STRIP, _END, _TICKS = (250, 24), 2.6, ((0.5, "50 %"), (0.2, "20 %"), (FEW, "5 %"), (HARDLY_ANY, "1 %"))


def jpeg_uri(pixels: np.ndarray, width: int = WIDTH, height: int = HEIGHT, largest: int = LARGEST) -> tuple[str, str]:
    """Return "data:image/jpeg;base64,..." of (H, W, 3) uint8 pixels, never enlarged, and its size as "W x H"."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((width, height), Image.Resampling.LANCZOS)
    data = b""
    for quality in _QUALITIES:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality, optimize=True)
        data = file.getvalue()
        if len(data) <= largest:
            break
    return f"data:image/jpeg;base64,{b64encode(data).decode()}", f"{image.width} x {image.height}"


def tile_overlay(tiles: TileScores) -> Markup:
    """Draw all tiles in the px of the picture, to be laid over it at any size; the rarest on top."""
    levels = [_level(high, score) for high, score in zip(tiles.high, tiles.scores, strict=True)]
    parts = []
    for k, (_, opacity, outlines, _) in enumerate(LEVELS):
        path = "".join(_path(box) for box, level in zip(tiles.boxes, levels, strict=True) if level == k)
        if path and opacity:
            parts += [tag("path", d=path, fill=_INK, fill_opacity=opacity), *_outlines(path, outlines)]
    dashed = "".join(_path(box) for box, level in zip(tiles.boxes, levels, strict=True) if level is None)
    if dashed:
        parts.append(_line(dashed, "#ffffff", 1.5, stroke_dasharray=f"{_NONE} {_NONE}"))
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
        shown = [_line(box, "#ffffff", 1.5, stroke_dasharray="4 4")]
    else:
        _, opacity, outlines, _ = LEVELS[level]
        shown = [tag("path", d=box, fill=_INK, fill_opacity=opacity), *_outlines(box, outlines)]
    return tag("svg", Markup("").join([ground, *shown]), viewBox="0 0 32 20", width=32, height=20, aria_hidden="true")


def place_strip(standing: Standing) -> Markup:
    """Draw where a value stands by the share of photographs that are as high: rarer to the right, on a probit scale.

    What is behind the 5 % and the 1 % place is shaded; a value there is a diamond, and a dot elsewhere.
    """
    (width, height), middle = _STRIP, _STRIP[1] / 2
    parts = [tag("rect", x=_at(place), y=3, width=width - 8 - _at(place), height=height - 6, fill="currentColor",
                 fill_opacity=0.1) for place in (FEW, HARDLY_ANY)]  # fmt: skip
    parts.append(tag("line", class_="axis", x1=8, x2=width - 8, y1=middle, y2=middle))
    for place, _ in _TICKS:
        reach = 9 if place <= FEW else 4
        parts.append(tag("line", class_="axis", x1=_at(place), x2=_at(place), y1=middle - reach, y2=middle + reach))
    words = "no place"
    if math.isfinite(standing.high):
        at, rare = _at(standing.high), standing.high <= FEW
        words = (f"{score_text(standing.value)}: {count_text(standing)} photographs are as high "
                 f"({share_text(standing.high)})")  # fmt: skip
        shape = (tag("path", d=f"M{number(at - 7)} {number(middle)}l7 -7l7 7l-7 7z") if rare
                 else tag("circle", cx=at, cy=middle, r=5.5))  # fmt: skip
        parts.append(group(titled(words), [shape], class_="dot warn" if rare else "dot"))
    return svg(width, height, words, parts)


@functools.cache
def place_ticks() -> Markup:
    """Write the shares above such strips."""
    parts = [text(_at(place), 8, words, anchor="middle", fill="currentColor") for place, words in _TICKS]
    return svg(_STRIP[0], 16, "share of photographs that are as high, from 50 to 1 per cent", parts)


def _level(high: float, score: float) -> int | None:
    """Return the step of a tile; without references none stands out."""
    if not math.isfinite(score):
        return None
    return next((k for k, (above, *_) in enumerate(LEVELS) if high > above), len(LEVELS) - 1 if high <= 0 else 0)


def _at(share: float) -> float:
    """Return the px of a share on a strip."""
    z = probit(1 - min(max(share, 1e-6), 1 - 1e-6))
    return 8 + (min(max(z, -_END), _END) + _END) / (2 * _END) * (_STRIP[0] - 16)


def _path(box: np.ndarray) -> str:
    top, left, bottom, right = (int(side) for side in box)
    return f"M{left} {top}H{right}V{bottom}H{left}z"


def _outlines(path: str, count: int) -> list[Markup]:
    """Draw dark under bright, which shows on every picture; the second outline is the broader one."""
    widths = {0: (), 1: ((_EDGE, 3.5), (_INK, 1.75)), 2: ((_EDGE, 9), ("#ffffff", 7), (_EDGE, 4), (_INK, 2.5))}
    return [_line(path, ink, width) for ink, width in widths[count]]


def _line(path: str, ink: str, width: float, **more: str) -> Markup:
    return tag("path", d=path, fill="none", stroke=ink, stroke_width=width, vector_effect="non-scaling-stroke", **more)


def _told(tiles: TileScores, at: int) -> str:
    top, left, bottom, right = (int(side) for side in tiles.boxes[at])
    return (f"{right - left} x {bottom - top} px from row {top}, column {left}: score {score_text(tiles.scores[at])}, "
            f"{share_text(tiles.high[at])} of reference crops score as high")  # fmt: skip
