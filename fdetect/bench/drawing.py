"""Pictures of explanations: a map laid over what it is of, side by side with it, and bars of what adds to a score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

__all__ = ["bars", "colours", "overlay", "side_by_side"]

# from blue, which speaks for real, over nothing to red, which speaks for generated
_STOPS = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
_RGB = np.array([[20, 50, 160], [70, 150, 230], [245, 245, 245], [250, 150, 60], [170, 10, 30]], np.float64)

_LEAST = 256  # px that a picture is shown with at least, each pixel repeated
_TEXT, _MARGIN, _GAP = 14, 6, 4  # px
_OPAQUE = 0.75  # of the largest value


def colours(values: np.ndarray) -> np.ndarray:
    """Return the colour of each value: (...) in -1..1, cut there -> (..., 3) float64 in 0..255."""
    clipped = np.clip(np.asarray(values, np.float64), -1, 1)
    return np.stack([np.interp(clipped, _STOPS, _RGB[:, k]) for k in range(3)], axis=-1)


def overlay(pixels: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Lay a map over a picture in grey: (H, W, 3) uint8, (H, W) -> (H, W, 3) uint8.

    The largest absolute value has the strongest colour, 0 none; a map that is 0 everywhere leaves the picture grey.
    """
    grey = pixels.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    largest = float(np.abs(shown).max())
    share = np.asarray(shown, np.float64) / largest if largest > 0 else np.zeros(shown.shape)
    weight = (_OPAQUE * np.sqrt(np.abs(share)))[..., None]
    mixed = (1 - weight) * grey[..., None] + weight * colours(np.sign(share) * (1 + np.abs(share)) / 2)
    return np.asarray(np.clip(np.rint(mixed), 0, 255), np.uint8)


def side_by_side(pixels: np.ndarray, shown: np.ndarray, caption: Sequence[str]) -> Image.Image:
    """Return a picture, its map beside it, and lines of text below."""
    times = max(1, -(-_LEAST // min(pixels.shape[:2])))
    left, right = (one.repeat(times, 0).repeat(times, 1) for one in (pixels, overlay(pixels, shown)))
    gap = np.full((left.shape[0], _GAP, 3), 255, np.uint8)
    image = Image.fromarray(np.concatenate([left, gap, right], axis=1))
    lines = [part for line in caption for part in _broken(line, image.width - 2 * _MARGIN)]
    whole = Image.new("RGB", (image.width, image.height + 2 * _MARGIN + len(lines) * (_TEXT + 4)), "white")
    whole.paste(image, (0, 0))
    _write(ImageDraw.Draw(whole), lines, image.height + _MARGIN)
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


def _write(draw: ImageDraw.ImageDraw, lines: Sequence[str], top: int) -> None:
    font = ImageFont.load_default(_TEXT)
    for k, line in enumerate(lines):
        draw.text((_MARGIN, top + k * (_TEXT + 4)), line, "black", font)


def _broken(text: str, width: int) -> list[str]:
    """Break a line of text at spaces so that each part fits a width in px; a longer word is cut."""
    font = ImageFont.load_default(_TEXT)
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(_short(word, width))
    return [line for line in lines if line]


def _short(text: str, width: int) -> str:
    font = ImageFont.load_default(_TEXT)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
