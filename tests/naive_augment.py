"""One augmented draw, made of the whole picture, plainly in float64: the truth for the one that cuts first.

The whole picture goes through the launderer; the window is resampled by writing out Keys' cubic (a = -1/2), stretched
where the picture becomes smaller; colours are blended number by number.  Nothing of fdetect is used.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xxhash
from PIL import Image, ImageDraw, ImageFilter, ImageFont

ORDER = ("recompressed", "colour", "blur", "noise", "webp", "text", "jpeg", "mask", "cutout")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@.-:/ "
CELL, PHASES = 16, 16

Pixels = np.ndarray


def generator(seed: int, content: str, purpose: str) -> np.random.Generator:
    return np.random.default_rng(int(xxhash.xxh3_128_hexdigest(f"{seed}/{content}/{purpose}".encode()), 16))


def course(rng: np.random.Generator, recipe: Mapping[str, Any], height: int, width: int, crop: int) -> dict[str, Any]:
    """Everything that is drawn, in its order; amounts of what is left out are drawn too and then forgotten."""
    u, v, which, how_much = rng.random(), rng.random(), rng.random(), rng.random()
    chance = {name: rng.random() for name in ORDER}
    least = 100 * crop / min(height, width)
    percent = 100.0
    if which < recipe["smaller"]:
        low = max(recipe["smallest"], least)
        percent = low + how_much * (100 - low) if least < 100 else 100.0
    elif which < recipe["smaller"] + recipe["larger"]:
        percent = 100 + how_much * (recipe["largest"] - 100)
    side = min(100 * crop / percent, height, width)
    if percent == 100:
        top, left = math.floor(u * (height - crop + 1)), math.floor(v * (width - crop + 1))
    else:
        top, left = u * (height - side), v * (width - side)
    drawn: dict[str, Any] = {}
    drawn["recompressed"] = encoding(rng, recipe["earlier"])
    drawn["colour"] = [1 - recipe["strength"] + 2 * recipe["strength"] * rng.random() for _ in range(3)]
    drawn["blur"] = recipe["widest"] * rng.random()
    drawn["noise"] = recipe["loudest"] * rng.random()
    drawn["webp"] = encoding(rng, recipe["earlier"])
    drawn["text"] = text(rng, crop)
    drawn["jpeg"] = int(rng.integers(recipe["last"][0], recipe["last"][1] + 1))
    drawn["mask"] = recipe["hidden"] * rng.random()
    square = int(rng.integers(crop // 8, crop // 2 + 1))
    drawn["cutout"] = (*(int(w * (crop - square + 1)) for w in rng.random(2)), square)
    kept = {name: drawn[name] for name in ORDER if chance[name] < recipe[name]}
    return {"percent": percent, "top": top, "left": left, "side": side, **kept}


def encoding(rng: np.random.Generator, qualities: tuple[int, int]) -> tuple[int, int, int]:
    quality = int(rng.integers(qualities[0], qualities[1] + 1))
    rows, columns = rng.integers(0, PHASES, 2)
    return quality, int(rows), int(columns)


def text(rng: np.random.Generator, crop: int) -> dict[str, Any]:
    letters = [LETTERS[k] for k in rng.integers(0, len(LETTERS), 12)]
    letters = letters[: int(rng.integers(3, 13))]
    top, left = rng.random(2) * (crop - 8)
    colour = tuple(int(v) for v in rng.integers(0, 256, 3))
    scale, opacity = 1 + 2 * rng.random(), 0.5 + 0.5 * rng.random()
    return {"letters": "".join(letters), "top": int(top), "left": int(left), "colour": colour, "scale": scale,
            "opacity": opacity}  # fmt: skip


def augmented(
    pixels: Pixels, content: str, *, seed: int, crop: int, draw: int, recipe: Mapping[str, Any],
    launder: Callable[[Pixels], Pixels] = lambda pixels: pixels,
) -> Pixels:  # fmt: skip
    purpose = f"augment/{draw}"
    does = course(generator(seed, content, purpose), recipe, *pixels.shape[:2], crop)
    shown = window(launder(pixels), does, crop)
    if "recompressed" in does:
        shown = encoded(shown, "JPEG", *does["recompressed"], subsampling="4:2:0")
    if "colour" in does:
        shown = coloured(shown, *does["colour"])
    if "blur" in does:
        shown = np.asarray(Image.fromarray(shown).filter(ImageFilter.GaussianBlur(does["blur"])))
    if "noise" in does:
        shown = whole(shown + does["noise"] * generator(seed, content, f"{purpose}/noise").normal(size=shown.shape))
    if "webp" in does:
        shown = encoded(shown, "WEBP", *does["webp"])
    if "text" in does:
        shown = written(shown, **does["text"])
    if "jpeg" in does:
        shown = encoded(shown, "JPEG", does["jpeg"], 0, 0, subsampling="4:2:0")
    shown = shown.copy()
    if "mask" in does:
        cells = [(y, x) for y in range(0, crop, CELL) for x in range(0, crop, CELL)]
        order = generator(seed, content, f"{purpose}/mask").permutation(len(cells))
        for k in order[: round(does["mask"] * len(cells))]:
            y, x = cells[k]
            shown[y : y + CELL, x : x + CELL] = 0
    if "cutout" in does:
        y, x, side = does["cutout"]
        shown[y : y + side, x : x + side] = 0
    return shown


def window(pixels: Pixels, does: Mapping[str, Any], crop: int) -> Pixels:
    """Show the window of the whole picture in crop px; pixel centres lie at (k + 1/2) side / crop."""
    if does["percent"] == 100:
        return pixels[does["top"] : does["top"] + crop, does["left"] : does["left"] + crop]
    columns = weights(does["left"], does["side"], crop, pixels.shape[1])
    rows = weights(does["top"], does["side"], crop, pixels.shape[0])
    across = whole(np.einsum("jx,yxc->yjc", columns, pixels.astype(np.float64)))  # Pillow rounds between the axes
    return whole(np.einsum("iy,yjc->ijc", rows, across.astype(np.float64)))


def weights(start: float, side: float, crop: int, length: int) -> np.ndarray:
    """(crop, length) weights of the source pixels in each pixel of the result; each row sums to 1."""
    step = side / crop
    stretch = max(step, 1.0)
    table = np.zeros((crop, length))
    for i in range(crop):
        centre = start + (i + 0.5) * step
        for x in range(length):
            table[i, x] = cubic((x + 0.5 - centre) / stretch)
        table[i] /= table[i].sum()
    return table


def cubic(t: float) -> float:
    t, a = abs(t), -0.5
    if t < 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


def coloured(pixels: Pixels, brightness: float, contrast: float, saturation: float) -> Pixels:
    """Brightness, then contrast about the rounded mean of the grey picture, then saturation about each grey."""
    shown = truncated(brightness * pixels.astype(np.float64))
    mean = float(int(grey(shown).mean() + 0.5))
    shown = truncated(mean + contrast * (shown - mean))
    dull = grey(shown)[..., None]
    return truncated(dull + saturation * (shown - dull)).astype(np.uint8)


def grey(pixels: Pixels) -> Pixels:
    """Luma of ITU-R 601, rounded."""
    return np.floor(pixels @ np.array([0.299, 0.587, 0.114]) + 0.5)


def truncated(values: Pixels) -> Pixels:
    return np.floor(np.clip(values, 0, 255))


def written(
    pixels: Pixels, letters: str, top: int, left: int, colour: tuple[int, ...], scale: float, opacity: float
) -> Pixels:
    font = ImageFont.load_default_imagefont()
    width, height = (int(v) for v in font.getbbox(letters)[2:])
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).text((0, 0), letters, fill=round(255 * opacity), font=font)
    mask = mask.resize((round(scale * width), round(scale * height)), Image.Resampling.BICUBIC)
    shown, crop = pixels.astype(np.float64), len(pixels)
    for y, line in enumerate(np.asarray(mask)):
        for x, share in enumerate(line):
            if top + y < crop and left + x < crop:
                old = shown[top + y, left + x]
                shown[top + y, left + x] = old + (np.array(colour) - old) * (share / 255)
    return whole(shown)


def encoded(pixels: Pixels, container: str, quality: int, rows: int, columns: int, **settings: Any) -> Pixels:
    """Encode with `rows` and `columns` of mirrored pixels before the picture, which are cut off again."""
    tall = np.concatenate([pixels[:rows][::-1], pixels]) if rows else pixels
    large = np.concatenate([tall[:, :columns][:, ::-1], tall], axis=1) if columns else tall
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(large)).save(file, container, quality=quality, **settings)
    return np.array(Image.open(file).convert("RGB"))[rows:, columns:]


def whole(values: Pixels) -> Pixels:
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)
