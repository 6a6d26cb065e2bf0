"""Real pictures that detectors stumble over, made of photographs: for false-positive rates, not for training.

    screenshot  the photograph at 60 to 100 per cent of its size in a window of a page with text, as PNG
    dark        the same with a dark page
    scan        printed and scanned: dots of 4 px, softened, turned by up to 1 degree, on paper with grain, as JPEG 85
    strong      JPEG 30 of it
    messenger   within 1600 px as JPEG 75, passed on at 80 per cent of its size as JPEG 75
    thumbnail   128 px on its longer side, as JPEG 85
    denoised    a 5 x 5 median, as phones smooth
    gently      denoised by non-local means at 0.8 of its estimated noise, as PNG
    enlarged    to 200 per cent by bicubic interpolation, of its middle, as JPEG 92
    upscaled    to 200 per cent by Lanczos' filter, all of it, as JPEG 92
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from skimage.restoration import denoise_nl_means, estimate_sigma

from fdetect.perturb import rng_for

Colour = tuple[int, int, int]
Made = Callable[[Image.Image, np.random.Generator], tuple[Image.Image, str, dict[str, int]]]

_LEAST = 400  # px of a side, so that crops of 224 lie at several places


def screenshot(photo: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, str, dict[str, int]]:
    """Return the photograph in a page; most crops show photograph, some text and borders."""
    return _in_a_page(photo, rng, paper=(248, 248, 250), bar=(60, 64, 72), ink=(40, 40, 40)), "PNG", {}


def dark(photo: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, str, dict[str, int]]:
    """Return the photograph in a dark page; as a screenshot."""
    return _in_a_page(photo, rng, paper=(24, 26, 30), bar=(40, 42, 48), ink=(210, 212, 216)), "PNG", {}


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


def messenger(photo: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, str, dict[str, int]]:
    """Return it as a messenger sends it and somebody passes it on, smaller."""
    sent = _through_jpeg(_within(photo, 1600), 75)
    return _within(sent, round(0.8 * max(sent.size))), "JPEG", {"quality": 75}


def thumbnail(photo: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, str, dict[str, int]]:
    """Return it 128 px wide or high."""
    return _within(photo, 128), "JPEG", {"quality": 85}


def denoised(photo: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, str, dict[str, int]]:
    """Return it smoothed."""
    return photo.filter(ImageFilter.MedianFilter(5)), "PNG", {}


def gently(photo: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, str, dict[str, int]]:
    """Return it smoothed by non-local means, which keep edges."""
    pixels = np.asarray(photo, np.float32) / 255
    noise = float(np.mean(estimate_sigma(pixels, channel_axis=-1)))
    clean = denoise_nl_means(pixels, patch_size=5, patch_distance=6, h=0.8 * noise, sigma=noise, channel_axis=-1)
    return Image.fromarray(np.clip(clean * 255 + 0.5, 0, 255).astype(np.uint8)), "PNG", {}


def enlarged(photo: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, str, dict[str, int]]:
    """Return its middle, twice as large."""
    width, height = min(photo.width, 600), min(photo.height, 600)
    left, top = (photo.width - width) // 2, (photo.height - height) // 2
    middle = photo.crop((left, top, left + width, top + height))
    return middle.resize((2 * width, 2 * height), Image.BICUBIC), "JPEG", {"quality": 92}


def upscaled(photo: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, str, dict[str, int]]:
    """Return all of it, twice as large."""
    return photo.resize((2 * photo.width, 2 * photo.height), Image.LANCZOS), "JPEG", {"quality": 92}


CASES: dict[str, Made] = {made.__name__: made for made in (
    screenshot, dark, scan, strong, messenger, thumbnail, denoised, gently, enlarged, upscaled)}  # fmt: skip


def some(photographs: Sequence[Path], n: int, *, seed: int = 0) -> list[Path]:
    """Return at most n of the photographs whose sides reach 400 px, drawn by their names."""
    found = []
    for photograph in sorted(photographs, key=lambda one: float(rng_for(seed, one.name, "sample").random())):
        with Image.open(photograph) as image:
            if min(image.size) >= _LEAST:
                found.append(photograph)
        if len(found) == n:
            break
    return found


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


def _in_a_page(
    photo: Image.Image, rng: np.random.Generator, *, paper: Colour, bar: Colour, ink: Colour
) -> Image.Image:
    """Return the photograph in a page with a bar above and three lines of text below."""
    scale = rng.uniform(0.6, 1.0)
    photo = photo.resize((max(int(photo.width * scale), 300), max(int(photo.height * scale), 300)), Image.LANCZOS)
    page = Image.new("RGB", (photo.width + 60, photo.height + 160), paper)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(size=16)
    pen.rectangle((0, 0, page.width, 40), fill=bar)
    for row in range(3):
        words = " ".join("".join(chr(97 + int(k)) for k in rng.integers(0, 26, 6)) for _ in range(page.width // 60))
        pen.text((30, photo.height + 64 + 28 * row), words, fill=ink, font=font)
    page.paste(photo, (30, 50))
    return page


def _within(photo: Image.Image, longest: int) -> Image.Image:
    """Return it with its longer side at most so many px."""
    scale = min(1.0, longest / max(photo.size))
    return photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.LANCZOS)


def _through_jpeg(photo: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")
