"""JPEG history of one picture: histories that were made are found, and what cannot be told is not told."""

from __future__ import annotations

import functools
import io
from dataclasses import replace
from pathlib import Path

import naive_jpeg_lattice as naive
import numpy as np
import pytest
from PIL import Image, features

from fdetect.bench.inspecting.jpeg_history import ALIGNED, NOT_TOLD, SHIFTED, JpegHistory, jpeg_history
from fdetect.bench.inspecting.jpeg_lattice import QUALITIES, grid_scores, quality_on_grid, requantised
from fdetect.forensics.planes import luma, planes
from fdetect.images import Decoded, decode
from fdetect.types import Facts

PLAIN = "This says how the file was stored, nothing about how the picture was made."


@functools.cache
def texture(height: int = 264, width: int = 264, seed: int = 0) -> np.ndarray:
    """A colour picture with the power spectrum of photographs, 1 / f^2, never compressed."""
    rng = np.random.default_rng(seed)
    f = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    f[0, 0] = 1
    grey, *tints = (np.fft.irfft2(np.fft.rfft2(rng.normal(size=(height, width))) / f, s=(height, width))
                    for _ in range(4))  # fmt: skip
    pixels = np.stack([grey + 0.2 * tint for tint in tints], axis=-1)
    return np.clip(128 + 40 * pixels / pixels.std(), 0, 255).astype(np.uint8)


def saved(pixels: np.ndarray, container: str = "PNG", **settings: object) -> Decoded:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, container, **settings)
    return decode(file.getvalue())


def jpeg(pixels: np.ndarray, quality: int, **settings: object) -> Decoded:
    return saved(pixels, "JPEG", quality=quality, **settings)


def found(image: Decoded) -> tuple[str, tuple[int, int] | None, int | None]:
    history = jpeg_history(image)
    return history.earlier, history.phase, history.quality_before


def grey_of(pixels: np.ndarray) -> np.ndarray:
    return luma(planes(pixels[None]))[0]


# --- pixels that were a JPEG ------------------------------------------------------------------------------------


@pytest.mark.parametrize("quality", [40, 75, 95])
@pytest.mark.parametrize("shift", [(0, 0), (3, 5), (0, 4)])
def test_a_png_of_a_jpeg_names_grid_and_quality(quality, shift):
    pixels = jpeg(texture(), quality).pixels[shift[0] :, shift[1] :]
    phase = (-shift[0] % 8, -shift[1] % 8)
    assert found(saved(pixels)) == (ALIGNED if phase == (0, 0) else SHIFTED, phase, quality)


@pytest.mark.parametrize("container", ["PNG", "TIFF", "BMP", "PPM"])
def test_every_container_without_loss_keeps_it(container):
    image = saved(jpeg(texture(), 80).pixels, container)
    assert found(image) == (ALIGNED, (0, 0), 80)
    assert jpeg_history(image).quality is None


@pytest.mark.parametrize("first, last", [(50, 90), (75, 90), (80, 95), (60, 75)])
def test_two_jpegs_on_one_grid(first, last):
    history = jpeg_history(jpeg(jpeg(texture(), first).pixels, last))
    assert (history.earlier, history.phase, history.quality) == (ALIGNED, (0, 0), last)
    assert history.quality_before == pytest.approx(first, abs=2)


@pytest.mark.parametrize("first, last", [(60, 90), (75, 95)])
@pytest.mark.parametrize("shift", [(3, 5), (0, 3), (2, 0)])
def test_two_jpegs_on_shifted_grids(first, last, shift):
    once = jpeg(texture(), first).pixels[shift[0] :, shift[1] :]
    history = jpeg_history(jpeg(once, last))
    assert (history.earlier, history.phase) == (SHIFTED, (-shift[0] % 8, -shift[1] % 8))
    assert history.quality_before == pytest.approx(first, abs=2)


def test_large_pictures_are_looked_at_in_the_middle_on_their_own_grid():
    pixels = np.tile(texture(200, 200), (6, 6, 1))  # 1200 x 1200: neither window begins at the corner
    assert found(saved(jpeg(pixels, 85).pixels[1:, 2:])) == (SHIFTED, (7, 6), 85)
    assert found(jpeg(jpeg(pixels, 85).pixels, 92)) == (ALIGNED, (0, 0), 85)


# --- none, or not told ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_what_was_never_compressed_has_no_sign(seed):
    history = jpeg_history(saved(texture(seed=seed)))
    assert (history.earlier, history.phase, history.quality_before) == ("", None, None)
    assert history.strength < history.least


@pytest.mark.parametrize("first", [0, 90])
def test_one_jpeg_and_two_of_one_quality_are_not_told_apart(first):
    pixels = jpeg(texture(), first).pixels if first else texture()
    history = jpeg_history(jpeg(pixels, 90))
    assert (history.earlier, history.phase) == (NOT_TOLD, None)
    assert "does not say that it was compressed once" in " ".join(history.sentences)


def test_steps_of_8_px_are_no_jpeg():
    y, x = np.mgrid[:264, :264]
    cells = np.random.default_rng(5).integers(-6, 7, (8, 8))[y % 8, x % 8]
    levels = np.random.default_rng(6).integers(-5, 6, (33, 33))[y // 8, x // 8]
    pixels = np.clip(texture().astype(int) + (cells + levels)[..., None], 0, 255).astype(np.uint8)
    assert found(saved(pixels)) == ("", None, None)


@pytest.mark.parametrize("container", ["WEBP", "AVIF", "JPEG2000"])
def test_another_loss_may_cover_it(container):
    module = {"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}[container]
    if not features.check(module):
        pytest.skip(f"this build of Pillow has no {container}")
    settings = {"quality": 70} if container != "JPEG2000" else {"quality_mode": "dB", "quality_layers": [36]}
    history = jpeg_history(saved(texture(), container, **settings))
    assert history.earlier == NOT_TOLD
    assert "can have covered it" in history.sentences[1]


def test_few_colours_may_cover_it():
    for image in (saved(texture(), "GIF"), saved(np.asarray(texture()[..., 0] > 128))):
        assert jpeg_history(image).earlier == NOT_TOLD
        assert "its few colours can have covered it" in jpeg_history(image).sentences[1]


@pytest.mark.parametrize("side", [1, 8, 14, 15, 23])
@pytest.mark.parametrize("container", ["PNG", "JPEG"])
def test_small_pictures_are_not_told(side, container):
    for pixels in (texture()[:side, :side], texture()[:side], texture()[:, :side]):
        history = jpeg_history(saved(np.ascontiguousarray(pixels), container))
        assert np.isfinite(history.strength)
        assert history.sentences[-1] == PLAIN
        if max(pixels.shape) == side:
            assert history.earlier == NOT_TOLD


@pytest.mark.parametrize("level", [0, 77, 255])
@pytest.mark.parametrize("container", ["PNG", "JPEG"])
def test_constant_pictures_are_not_told(level, container):
    history = jpeg_history(saved(np.full((128, 160, 3), level, np.uint8), container))
    assert (history.earlier, history.strength) == (NOT_TOLD, 0)
    assert "too small or too flat" in history.sentences[1]


# --- what the file says -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code, name", [(0, "4:4:4"), (1, "4:2:2"), (2, "4:2:0")])
def test_the_file_is_described(code, name):
    history = jpeg_history(jpeg(texture(), 83, subsampling=code, progressive=code == 1))
    assert (history.quality, history.exact, history.subsampling, history.progressive) == (83, True, name, code == 1)
    kind = "progressive" if code == 1 else "baseline"
    assert history.sentences[0] == f"The file is a {kind} JPEG with the IJG tables of quality 83, chroma {name}."


def test_tables_of_another_encoder_and_grey_pictures_are_said():
    tables = [list(table) for table in jpeg(texture(), 80).facts.qtables]
    tables[0][0] += 1
    history = jpeg_history(saved(texture(), "JPEG", qtables=tables))
    assert (history.quality, history.exact) == (80, False)
    assert "tables of another encoder, nearest to IJG quality 80" in history.sentences[0]
    grey = jpeg_history(jpeg(texture()[..., 0], 80))
    assert grey.sentences[0] == "The file is a baseline JPEG with the IJG tables of quality 80, without chroma."
    assert jpeg_history(saved(jpeg(texture()[..., 0], 80).pixels)).quality_before == 80


def test_a_jpeg_whose_tables_are_not_known_is_no_error():
    image = jpeg(texture(), 80)
    history = jpeg_history(replace(image, facts=replace(image.facts, qtables=())))
    assert (history.quality, history.exact, history.earlier) == (None, False, NOT_TOLD)
    raw = jpeg_history(Decoded(image.pixels, Facts("", 264, 264, 0)))
    assert raw.sentences[0].startswith("The file is of an unknown format")
    assert raw.earlier == ALIGNED


@pytest.mark.parametrize("container", ["PNG", "JPEG", "WEBP", "GIF"])
def test_the_same_picture_has_the_same_history(container):
    image = saved(texture(), container)
    first: JpegHistory = jpeg_history(image)
    assert first == jpeg_history(Decoded(np.asfortranarray(image.pixels), image.facts))
    assert len(first.sentences) == 3
    assert all(sentence.endswith(".") for sentence in first.sentences)


# --- the statistics ---------------------------------------------------------------------------------------------


def test_scores_of_grids_are_those_of_plain_loops():
    grey = grey_of(jpeg(texture(), 85).pixels[100:131, 30:69])
    scores, values = grid_scores(grey)
    assert values > 0
    for row, column in ((0, 0), (7, 5)):
        expected = max(naive.grid_z(grey, row, column, quality) for quality in (30, 50, 84, 85, 98))
        assert scores[row, column] >= expected - 0.05
    best = divmod(int(scores.argmax()), 8)
    assert best == (-100 % 8, -30 % 8)
    assert scores[best] == pytest.approx(max(naive.grid_z(grey, *best, q) for q in range(83, 88)), rel=0.01)


def test_scores_beneath_a_later_jpeg_are_those_of_plain_loops():
    image = jpeg(jpeg(texture(88, 72), 75).pixels, 92)
    table = np.reshape(image.facts.qtables[0], (8, 8))
    z, quality = requantised(grey_of(image.pixels), table)
    assert z == pytest.approx(naive.requantised_z(grey_of(image.pixels), table, quality), rel=0.01)
    assert z >= naive.requantised_z(grey_of(image.pixels), table, 60)


@pytest.mark.parametrize("quality", QUALITIES[::9])
def test_all_frequencies_name_the_quality(quality):
    assert quality_on_grid(grey_of(jpeg(texture(), quality).pixels), 0, 0) == quality


# --- photographs ------------------------------------------------------------------------------------------------


def test_photographs_show_the_history_they_are_given(shared_data: Path):
    paths = sorted((shared_data / "real" / "kodak24").glob("*.png"))[:2]
    assert paths
    for path in paths:
        plain = decode(path.read_bytes())
        assert found(plain)[0] == ""
        middle = plain.pixels[:300, :300]
        once = jpeg(middle, 85)
        assert found(once)[0] == NOT_TOLD
        assert found(saved(once.pixels)) == (ALIGNED, (0, 0), 85)
        assert found(saved(once.pixels[1:, 6:])) == (SHIFTED, (7, 2), 85)
        assert found(jpeg(jpeg(middle, 70).pixels, 90))[0] == ALIGNED
        assert found(jpeg(jpeg(middle, 70).pixels[3:, 5:], 90))[:2] == (SHIFTED, (5, 3))
