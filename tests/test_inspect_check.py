"""The hard photographs of benchmarks/: the sizes that are promised, and the same bytes every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


def ramp(height: int, width: int) -> np.ndarray:
    across = np.add.outer(np.arange(height), np.arange(width)) / (height + width) * 200 + 20
    return np.repeat(across[..., None], 3, axis=2)


def noisy(height: int, width: int) -> Image.Image:
    noise = np.random.default_rng(0).normal(0, 6, (height, width, 3))
    return Image.fromarray(np.clip(ramp(height, width) + noise, 0, 255).astype(np.uint8))


def test_every_case_has_its_size_and_the_same_bytes_again(tmp_path: Path) -> None:
    from hard_photographs import make

    noisy(400, 500).save(tmp_path / "a.png")
    noisy(399, 500).save(tmp_path / "small.png")
    one, two = (make([tmp_path / "small.png", tmp_path / "a.png"], tmp_path / name) for name in ("one", "two"))
    assert {len(files) for files in one.values()} == {1}  # the small one is left out everywhere
    sizes = {name: Image.open(files[0]).size for name, files in one.items()}
    assert sizes["thumbnail"] == (128, 102)
    assert sizes["messenger"] == (400, 320)
    assert sizes["upscaled"] == sizes["enlarged"] == (1000, 800)
    assert sizes["gently"] == sizes["denoised"] == sizes["strong"] == sizes["scan"] == (500, 400)
    bright, night = (np.asarray(Image.open(one[name][0]))[60:-120, :30] for name in ("screenshot", "dark"))
    assert bright.min() > 240
    assert night.max() < 40
    for name, files in one.items():
        assert Path(files[0]).read_bytes() == Path(two[name][0]).read_bytes(), name


def test_a_messenger_sends_1600_px_at_most_of_which_four_fifths_are_passed_on() -> None:
    from hard_photographs import messenger

    sent, kind, how = messenger(noisy(400, 2000), np.random.default_rng(0))
    assert (sent.size, kind, how) == ((1280, 256), "JPEG", {"quality": 75})


def test_gentle_noise_reduction_takes_noise_and_keeps_the_ramp() -> None:
    from hard_photographs import gently

    before = np.asarray(noisy(100, 120), np.float64)
    after = np.asarray(gently(noisy(100, 120), np.random.default_rng(0))[0], np.float64)
    assert np.std(before - ramp(100, 120)) > 2 * np.std(after - ramp(100, 120))
    assert abs(np.mean(after - before)) < 0.5


def test_a_sample_is_drawn_by_name_and_holds_none_that_is_too_small(tmp_path: Path) -> None:
    from hard_photographs import some

    for name, height in (("a", 400), ("b", 420), ("c", 399)):
        noisy(height, 410).save(tmp_path / f"{name}.png")
    photographs = [tmp_path / f"{name}.png" for name in "abc"]
    drawn = some(photographs, 5)
    assert sorted(one.stem for one in drawn) == ["a", "b"]
    assert some(photographs[::-1], 5) == drawn
    assert some(photographs, 1) == drawn[:1]
