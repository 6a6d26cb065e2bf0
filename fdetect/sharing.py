"""What people and platforms do to pictures that they pass on: cut, turn, write on, photograph the screen, upload.

All are operations as in wear.py.  What a platform does depends on a picture's size, and that may go with its label; so
each preset draws its factor from the content instead, and every picture of a column comes out at one size.  The
presets are made: limits, filters and qualities are of the kind that platforms have, and none is measured here or
stands for a named one.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fdetect.wear import Amounts, amounts_of, perturbation

__all__ = ["DRAWN", "LETTERS", "Text", "chain", "crop", "drawn_chain", "overlay", "rotate", "screenshot", "social_chat",
           "social_feed", "social_square", "written"]  # fmt: skip

DRAWN = ("double", "webp", "downup", "blur", "sharpen", "median", "noise", "gamma", "colour", "crop", "rotate",
         "overlay")  # what a chain draws from  # fmt: skip
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@.-:/ "
_FONT_HEIGHT = 11  # px of the bitmap font at a scale of 1


@dataclass(frozen=True)
class Text:
    """What is written into a picture: where its corner lies, in px, how large (1 = 11 px), and in which colour."""

    letters: str
    top: int
    left: int
    scale: float
    colour: tuple[int, int, int]
    opacity: float


@perturbation(amounts=Amounts(25, 99, neutral=100, usual=(75, 95)), moves=True)
def crop(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Cut to `amount` per cent of each side, and enlarge back: (H, W, 3) uint8 -> the same shape.

    `crop80` keeps 80 % of each side, 64 % of the area, at a drawn place; bicubic back to the size before.
    """
    height, width = pixels.shape[:2]
    cut = _window(pixels, round(height * amount / 100), round(width * amount / 100), rng)
    return np.asarray(Image.fromarray(cut).resize((width, height), Image.Resampling.BICUBIC))


@perturbation(amounts=Amounts(0.1, 45, neutral=0, usual=(0.5, 5)), moves=True)
def rotate(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Turn by `amount` degrees, to a drawn side, and zoom until no border shows: (H, W, 3) uint8 -> the same shape.

    One bicubic sampling of the largest upright window of the same shape inside the turned picture, with

        zoom = max((W cos a + H sin a) / W, (W sin a + H cos a) / H)
    """
    height, width = pixels.shape[:2]
    angle = math.radians(amount if rng.random() < 0.5 else -amount)
    c, s = math.cos(angle), math.sin(angle)
    zoom = max((width * c + height * abs(s)) / width, (width * abs(s) + height * c) / height)
    # output (x, y) -> input, about the centre of the picture, in px from its corner
    a, b, d, e = c / zoom, s / zoom, -s / zoom, c / zoom
    x, y = width / 2, height / 2
    matrix = (a, b, x - a * x - b * y, d, e, y - d * x - e * y)
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    turned = picture.transform((width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    return np.asarray(turned)


@perturbation(amounts=Amounts(3, 40, neutral=0, usual=(6, 15)))
def overlay(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Text as high as `amount` per cent of the shorter side: (H, W, 3) uint8 -> the same shape.

    3 to 12 drawn letters in the bitmap font that Pillow brings, in a drawn colour, of an opacity of 0.5 to 1, at a
    drawn place; a line that is wider than the picture is cut at its right side.
    """
    letters = "".join(LETTERS[k] for k in rng.integers(0, len(LETTERS) - 1, int(rng.integers(3, 13))))  # no blank
    red, green, blue = (int(v) for v in rng.integers(0, 256, 3))
    scale = max(min(pixels.shape[:2]) * amount / 100, 1) / _FONT_HEIGHT
    text = Text(letters, 0, 0, scale, (red, green, blue), float(rng.uniform(0.5, 1)))
    room = [max(length - size, 0) for length, size in zip(pixels.shape, _mask(text).size[::-1], strict=False)]
    top, left = (int(u * (free + 1)) for u, free in zip(rng.random(2), room, strict=True))
    return written(pixels, Text(letters, top, left, scale, text.colour, text.opacity))


def written(pixels: np.ndarray, text: Text) -> np.ndarray:
    """Write with the bitmap font that Pillow brings: the same pixels whatever fonts a machine has."""
    shown = Image.fromarray(np.ascontiguousarray(pixels))
    shown.paste(text.colour, (text.left, text.top), _mask(text))
    return np.asarray(shown)


@perturbation(amounts=None)
def screenshot(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """To a screen's size and back: (H, W, 3) uint8 -> the same shape.

    Bilinear with anti-aliasing by a factor drawn in 0.5..1.5, kept without loss as PNG keeps it, and bilinear back.
    """
    height, width = pixels.shape[:2]
    factor = rng.uniform(0.5, 1.5)
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    on_screen = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(on_screen.resize((width, height), Image.Resampling.BILINEAR))


# --- presets of platforms: made, see above ----------------------------------------------------------------------------


@perturbation(amounts=None, quality=80, moves=True)
def social_feed(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """A feed: long side limited to 2048 px, Lanczos, JPEG Q80 4:2:0: (H, W, 3) uint8 -> smaller.

    Made.  Uploads of 2276 to 3413 px: a factor drawn in 0.6..0.9, a window of it at a drawn place, to 0.6 of each side,
    down to a multiple of 8 px.
    """
    return _limited(pixels, 0.6, 0.9, Image.Resampling.LANCZOS, rng)


@perturbation(amounts=None, quality=75, moves=True)
def social_square(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """A gallery: long side limited to 1080 px, bicubic, JPEG Q75 4:2:0: (H, W, 3) uint8 -> smaller.

    Made.  Uploads of 1350 to 2160 px: a factor drawn in 0.5..0.8, a window of it at a drawn place, to 0.5 of each side,
    down to a multiple of 8 px.
    """
    return _limited(pixels, 0.5, 0.8, Image.Resampling.BICUBIC, rng)


@perturbation(amounts=None, quality=65, moves=True)
def social_chat(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """A messenger: long side limited to 1600 px, bilinear, JPEG Q65 4:2:0: (H, W, 3) uint8 -> smaller.

    Made.  Uploads of 2286 to 3200 px: a factor drawn in 0.5..0.7, a window of it at a drawn place, to 0.5 of each side,
    down to a multiple of 8 px.
    """
    return _limited(pixels, 0.5, 0.7, Image.Resampling.BILINEAR, rng)


# --- chains -----------------------------------------------------------------------------------------------------------


@perturbation(amounts=Amounts(1, 5, neutral=0, step=1.0, word="whole numbers of operations"), moves=True)
def chain(pixels: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """`amount` operations drawn from the content, with drawn amounts: (H, W, 3) uint8 -> the same shape.

    As `drawn_chain` says.  Each operation has a generator of its own, so that `chain2` begins as `chain1` does.
    """
    order = drawn_chain(int(amount), rng)
    for (name, much), own in zip(order, rng.spawn(len(order)), strict=True):
        pixels = perturbation.get(name)(pixels, much, own)
    return pixels


def drawn_chain(n: int, rng: np.random.Generator) -> tuple[tuple[str, float], ...]:
    """Draw n different operations of DRAWN, in a drawn order, each with an amount of its usual range."""
    order, places = rng.permutation(len(DRAWN)), rng.random(len(DRAWN))
    drawn = []
    for k in order[:n]:
        amounts = amounts_of(perturbation.get(DRAWN[k]))
        assert amounts is not None
        drawn.append((DRAWN[k], amounts.drawn(float(places[k]))))
    return tuple(drawn)


def _limited(
    pixels: np.ndarray, low: float, high: float, resampling: Image.Resampling, rng: np.random.Generator
) -> np.ndarray:
    """Make a window smaller by a factor drawn in low..high, to `low` of each side, multiples of 8 px where it can be.

    The window is what a picture that is shrunk by the factor shows in a place of that size.
    """
    to = [max(int(low * side + 1e-9) // 8 * 8, min(8, side)) for side in pixels.shape[:2]]
    factor = rng.uniform(low, high)
    height, width = (min(max(round(length / factor), 1), side) for length, side in zip(to, pixels.shape, strict=False))
    return np.asarray(Image.fromarray(_window(pixels, height, width, rng)).resize((to[1], to[0]), resampling))


def _window(pixels: np.ndarray, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Cut a window at a drawn place; memory of its own."""
    free = (pixels.shape[0] - height, pixels.shape[1] - width)
    top, left = (int(u * (n + 1)) for u, n in zip(rng.random(2), free, strict=True))
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def _mask(text: Text) -> Image.Image:
    font = _font()
    _, _, width, height = (math.ceil(v) for v in font.getbbox(text.letters))
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).text((0, 0), text.letters, fill=round(255 * text.opacity), font=font)
    return mask.resize((round(width * text.scale), round(height * text.scale)), Image.Resampling.BICUBIC)


@functools.cache
def _font() -> ImageFont.ImageFont:
    return ImageFont.load_default_imagefont()
