"""Pictures of explanations: a map laid over what it is of, side by side with it, and bars of what adds to a score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

__all__ = ["bars", "colours", "overlay", "scale_of", "side_by_side"]

# from blue, which speaks for real, over nothing to red, which speaks for generated
_STOPS = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
_RGB = np.array([[20, 50, 160], [70, 150, 230], [245, 245, 245], [250, 150, 60], [170, 10, 30]], np.float64)

_LEAST = 256  # px that a picture is shown with at least, each pixel repeated
_TEXT, _MARGIN, _GAP, _BAR = 14, 6, 4, 10  # px
_OPAQUE = 0.75  # of a value that has the strongest colour
_FULL = 99  # per cent of the absolute values are at most what has it: a few pixels would leave the others pale


def colours(values: np.ndarray) -> np.ndarray:
    """Return the colour of each value: (...) in -1..1, cut there -> (..., 3) float64 in 0..255."""
    clipped = np.clip(np.asarray(values, np.float64), -1, 1)
    return np.stack([np.interp(clipped, _STOPS, _RGB[:, k]) for k in range(3)], axis=-1)


def scale_of(shown: np.ndarray) -> float:
    """Return the absolute value that has the strongest colour: the 99th percentile, the largest where that is 0."""
    sizes = np.abs(np.asarray(shown, np.float64))
    return float(np.percentile(sizes, _FULL)) or float(sizes.max())


def overlay(pixels: np.ndarray, shown: np.ndarray, scale: float | None = None) -> np.ndarray:
    """Lay a map over a picture in grey: (H, W, 3) uint8, (H, W) -> (H, W, 3) uint8.

    scale  the absolute value that has the strongest colour, and so has what is above it; None: `scale_of` the map

    0 has no colour; a map that is 0 everywhere leaves the picture grey.
    """
    grey = pixels.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    full = scale_of(shown) if scale is None else scale
    share = np.clip(np.asarray(shown, np.float64) / full, -1, 1) if full > 0 else np.zeros(shown.shape)
    weight = (_OPAQUE * np.sqrt(np.abs(share)))[..., None]
    mixed = (1 - weight) * grey[..., None] + weight * colours(np.sign(share) * (1 + np.abs(share)) / 2)
    return np.asarray(np.clip(np.rint(mixed), 0, 255), np.uint8)


def side_by_side(pixels: np.ndarray, shown: np.ndarray, caption: Sequence[str]) -> Image.Image:
    """Return a picture, its map beside it with a bar of its colours, and lines of text below."""
    times = max(1, -(-_LEAST // min(pixels.shape[:2])))
    left, right = (one.repeat(times, 0).repeat(times, 1) for one in (pixels, overlay(pixels, shown)))
    gap = np.full((left.shape[0], _GAP, 3), 255, np.uint8)
    image = Image.fromarray(np.concatenate([left, gap, right], axis=1))
    lines = [part for line in caption for part in _broken(line, image.width - 2 * _MARGIN)]
    top = image.height + _MARGIN + _BAR + _TEXT + 8
    whole = Image.new("RGB", (image.width, top + len(lines) * (_TEXT + 4) + _MARGIN), "white")
    whole.paste(image, (0, 0))
    draw = ImageDraw.Draw(whole)
    _colour_bar(whole, draw, shown, (left.shape[1] + _GAP, image.height + _MARGIN), image.width - _MARGIN)
    _write(draw, lines, top)
    return whole


def bars(rows: Sequence[tuple[str, float]], caption: Sequence[str], *, width: int = 640) -> Image.Image:
    """Return a bar for each name and number, to the right in red where it is above 0, to the left in blue below."""
    high, label = _TEXT + 8, 200
    lines = [part for line in caption for part in _broken(line, width - 2 * _MARGIN)]
    top = 2 * _MARGIN + len(lines) * (_TEXT + 4)
    image = Image.new("RGB", (width, top + len(rows) * high + _MARGIN), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(_TEXT)
    _write(draw, lines, _MARGIN)
    largest = max((abs(value) for _, value in rows if np.isfinite(value)), default=0.0) or 1.0
    middle, reach = label + (width - label) / 2, (width - label) / 2 - 70
    for k, (name, value) in enumerate(rows):
        y = top + k * high
        draw.text((_MARGIN, y), _short(name, label - 2 * _MARGIN), "black", font)
        if not np.isfinite(value):
            draw.text((middle + 6, y), "absent", "grey", font)
            continue
        ends = sorted((middle, middle + reach * value / largest))
        draw.rectangle((ends[0], y, ends[1], y + _TEXT + 2), tuple(int(v) for v in colours(np.sign(value))))
        draw.text((ends[1] + 6 if value >= 0 else ends[0] - 62, y), f"{value:+.3f}", "black", font)
    draw.line((middle, top - 2, middle, image.height - _MARGIN), "black")
    return image


def _colour_bar(
    whole: Image.Image, draw: ImageDraw.ImageDraw, shown: np.ndarray, start: tuple[int, int], right: int
) -> None:
    """Draw the colours of a map's values, as over a grey picture, from its least to its largest, and name the ends."""
    full, (left, top) = scale_of(shown), start
    low, high = (-full if shown.min() < 0 else 0.0), (full if shown.max() > 0 else 0.0)
    values = np.tile(np.linspace(low, high, right - left), (_BAR, 1))
    whole.paste(Image.fromarray(overlay(np.full((*values.shape, 3), 160, np.uint8), values, full)), start)
    font, y = ImageFont.load_default(_TEXT), top + _BAR + 2
    ends = [f"{low:.3g}{' and below' if shown.min() < low else ''}",
            f"{high:.3g}{' and above' if shown.max() > high else ''}"]  # fmt: skip
    draw.text((left, y), ends[0], "black", font)
    draw.text((right - font.getlength(ends[1]), y), ends[1], "black", font)
    if low < 0 < high:
        draw.text(((left + right - font.getlength("0")) / 2, y), "0", "black", font)


def _write(draw: ImageDraw.ImageDraw, lines: Sequence[str], top: int) -> None:
    font = ImageFont.load_default(_TEXT)
    for k, line in enumerate(lines):
        draw.text((_MARGIN, top + k * (_TEXT + 4)), line, "black", font)


def _broken(text: str, width: int) -> list[str]:
    """Break a line of text at spaces so that each part fits a width in px; a longer word goes on in the next line."""
    font = ImageFont.load_default(_TEXT)
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines += _pieces(word, width)
    return [line for line in lines if line]


def _pieces(word: str, width: int) -> list[str]:
    """Cut a word into parts that fit, behind a + or a comma where there is one, as in the name of a head."""
    font, parts = ImageFont.load_default(_TEXT), []
    while font.getlength(word) > width:
        fits = next(n for n in range(len(word) - 1, 0, -1) if n == 1 or font.getlength(word[:n]) <= width)
        at = max(word.rfind(mark, 0, fits) for mark in "+,") + 1 or fits
        parts.append(word[:at])
        word = word[at:]
    return [*parts, word]


def _short(text: str, width: int) -> str:
    font = ImageFont.load_default(_TEXT)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
