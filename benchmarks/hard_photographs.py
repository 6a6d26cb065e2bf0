"""Real pictures that detectors stumble over, made of photographs: for false-positive rates, not for training.

    screenshot  the photograph at 60 to 100 per cent of its size in a window of a page with text, as PNG
    scan        printed and scanned: dots of 4 px, softened, turned by up to 1 degree, on paper with grain, as JPEG 85
    strong      JPEG 30 of it
    denoised    a 5 x 5 median, as phones smooth
    enlarged    to 200 per cent by bicubic interpolation, of its middle, as JPEG 92
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from fdetect.perturb import rng_for

Made = Callable[[Image.Image, np.random.Generator], tuple[Image.Image, str, dict[str, int]]]

_LEAST = 400  # px of a side, so that crops of 224 lie at several places


def screenshot(photo: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, str, dict[str, int]]:
    """Return the photograph in a page; most crops show photograph, some text and borders."""
    scale = rng.uniform(0.6, 1.0)
    photo = photo.resize((max(int(photo.width * scale), 300), max(int(photo.height * scale), 300)), Image.LANCZOS)
    page = Image.new("RGB", (photo.width + 60, photo.height + 160), (248, 248, 250))
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(size=16)
    pen.rectangle((0, 0, page.width, 40), fill=(60, 64, 72))
    for row in range(3):
        words = " ".join("".join(chr(97 + int(k)) for k in rng.integers(0, 26, 6)) for _ in range(page.width // 60))
        pen.text((30, photo.height + 64 + 28 * row), words, fill=(40, 40, 40), font=font)
    page.paste(photo, (30, 50))
    return page, "PNG", {}


def scan(photo: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, str, dict[str, int]]:
    """Return it as a scanned print."""
    pixels = np.asarray(photo, np.float32)
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    along, across = (2 * np.pi * diagonal / (4 * np.sqrt(2)) for diagonal in (x + y, x - y))
    screen = 18 * (np.sin(along) * np.sin(across))[..., None]
    printed = Image.fromarray(np.clip(pixels * 0.92 + 14 + screen, 0, 255).astype(np.uint8))
    askew = printed.rotate(rng.uniform(-1, 1), Image.BICUBIC, fillcolor=(250, 248, 242))
    soft = np.asarray(askew.filter(ImageFilter.GaussianBlur(0.8)), np.float32)
    grain = rng.normal(0, 2.0, pixels.shape[:2])[..., None]
    return Image.fromarray(np.clip(soft + grain, 0, 255).astype(np.uint8)), "JPEG", {"quality": 85}


def strong(photo: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, str, dict[str, int]]:
    """Return it for a strong JPEG."""
    return photo, "JPEG", {"quality": 30}


def denoised(photo: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, str, dict[str, int]]:
    """Return it smoothed."""
    return photo.filter(ImageFilter.MedianFilter(5)), "PNG", {}


def enlarged(photo: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, str, dict[str, int]]:
    """Return its middle, twice as large."""
    width, height = min(photo.width, 600), min(photo.height, 600)
    left, top = (photo.width - width) // 2, (photo.height - height) // 2
    middle = photo.crop((left, top, left + width, top + height))
    return middle.resize((2 * width, 2 * height), Image.BICUBIC), "JPEG", {"quality": 92}


CASES: dict[str, Made] = {made.__name__: made for made in (screenshot, scan, strong, denoised, enlarged)}


def make(photographs: Sequence[Path], folder: Path, *, seed: int = 0) -> dict[str, list[str]]:
    """Write every case of every photograph whose sides reach 400 px; return the files by case."""
    found: dict[str, list[str]] = {name: [] for name in CASES}
    for k, photograph in enumerate(photographs):
        with Image.open(photograph) as image:
            photo = image.convert("RGB")
        if min(photo.size) < _LEAST:
            continue
        for name, case in CASES.items():
            made, kind, how = case(photo, rng_for(seed, str(photograph.name), name))
            data = io.BytesIO()
            made.save(data, kind, **how)
            path = folder / name / f"{k:04d}-{photograph.stem}.{kind.lower()}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.getvalue())
            found[name].append(str(path))
    return found
