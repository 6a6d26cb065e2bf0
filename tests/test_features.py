"""Features: answers known in closed form; choice of features by name, preset and pattern; digests of their code."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fdetect.errors import DataError, ParameterError, UnknownName
from fdetect.features import (
    PRESETS,
    code_of,
    column_names,
    compute,
    feature,
    preset,
    select_features,
)
from fdetect.features.harmonics import HARMONIC_FLOOR, fold, tile_harmonics
from fdetect.features.probes import block_dct_histogram, thumbnail
from fdetect.forensics.blocks import block_dct
from fdetect.images import decode
from fdetect.registry import Registry
from fdetect.types import Batch

SHARED = Path(__file__).parents[2] / "shared" / "data"


def batch_of(rgb8: np.ndarray) -> Batch:
    return Batch(tuple(f"{i:032x}" for i in range(len(rgb8))), rgb8, ())


def row(name: str, image: np.ndarray) -> dict[str, float]:
    """The columns of one (H, W, 3) uint8 image, by name without the feature's."""
    entry = feature.get(name)
    values = compute(entry, batch_of(image[None]))[0].tolist()
    return {column.split(":", 1)[1]: value for column, value in zip(column_names(entry), values, strict=True)}


def grey(image: np.ndarray) -> np.ndarray:
    return np.repeat(np.round(image).astype(np.uint8)[..., None], 3, axis=2)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


# --- spectrum --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["radial_spectrum", "radial_spectrum_hann"])
def test_a_grating_peaks_in_the_column_of_its_frequency(name):
    x = np.arange(128)
    columns = row(name, grey(np.broadcast_to(128 + 100 * np.cos(2 * np.pi * x * 32 / 128), (96, 128))))
    assert max(columns, key=columns.get) == "f0.2500"
    assert len(columns) == 64


def test_enlarging_empties_the_high_frequencies_of_the_spectrum():
    small = noise(56, 56)
    enlarged = np.asarray(Image.fromarray(small).resize((112, 112), Image.Resampling.BICUBIC))
    sharp, soft = row("radial_spectrum", noise(112, 112)), row("radial_spectrum", enlarged)
    assert soft["f0.4844"] < sharp["f0.4844"] - 2
    assert soft["f0.1016"] > sharp["f0.1016"] - 1


@pytest.mark.parametrize("period", [8, 16])
def test_a_lattice_of_impulses_has_equal_harmonics(period):
    difference = np.zeros((1, 3, 4 * period + 3, 6 * period + 1), np.float32)
    difference[:, :, ::period, ::period] = 10
    values = tile_harmonics(fold(difference, period), 24)
    pixels = 24 * period**2  # 24 impulses, each 10
    assert values.shape == (1, 3 * (period // 2 + 1) * (period + 1))
    np.testing.assert_allclose(values, math.log(24 * 10 / math.sqrt(pixels) + HARMONIC_FLOOR), rtol=1e-6)


def test_a_wave_of_period_8_is_one_pair_of_columns():
    y, x = np.mgrid[:48, :64]
    wave = 20 * np.cos(2 * np.pi * (2 * x - 3 * y) / 8)
    values = tile_harmonics(fold(np.stack([wave, 0 * wave, 0 * wave])[None].astype(np.float32), 8), 48)[0]
    names = [c.split(":")[1] for c in column_names(feature.get("cross_difference_harmonics"))]
    found = {name: value for name, value in zip(names, values.tolist(), strict=True) if value > 0}
    assert set(found) == {"red_x2y-3of8"}
    assert found["red_x2y-3of8"] == pytest.approx(math.log(20 / 2 * math.sqrt(48 * 64) + HARMONIC_FLOOR), rel=1e-6)


def test_harmonics_are_samples_of_the_fourier_transform():
    difference = np.random.default_rng(2).uniform(0, 50, (1, 3, 50, 41)).astype(np.float32)
    spectrum = np.abs(np.fft.fft2(np.float64(difference[0, :, :48, :40]), norm="ortho"))
    expected = [spectrum[c, 6 * j % 48, 5 * i] for c in range(3) for j in range(-4, 5) for i in range(5)]
    values = tile_harmonics(fold(difference, 8), 30)[0]
    np.testing.assert_allclose(values, np.log(np.array(expected) + HARMONIC_FLOOR), rtol=1e-5, atol=1e-5)


def test_harmonics_of_a_picture_smaller_than_a_period_are_refused():
    with pytest.raises(DataError, match="needs images of at least 9 x 9 pixels, got 8 x 30"):
        row("cross_difference_harmonics", noise(8, 30))


# --- neighbours ------------------------------------------------------------------------------------------------


def test_an_image_enlarged_by_nearest_neighbour_has_only_zeros():
    columns = row("npr_statistics", noise(20, 23).repeat(2, axis=0).repeat(2, axis=1))
    for name, value in columns.items():
        assert value == (1.0 if name.endswith("zeros") else 0.0), name


def test_independent_pixels_have_the_moments_of_a_triangular_law():
    columns = row("npr_statistics", noise(800, 800))
    expected = {
        "mean_absolute": ((256**2 - 1) / (3 * 256), 0.01),
        "standard_deviation": (math.sqrt((256**2 - 1) / 6), 0.01),
        "kurtosis": (-0.6, 0.05),
        "zeros": (1 / 256, 0.06),
    }
    for name, value in columns.items():
        target, relative = expected[name.split("_", 2)[2]]
        assert value == pytest.approx(target, rel=relative), name


def test_each_phase_and_colour_has_its_own_columns():
    image = np.full((10, 12, 3), 100, np.uint8)
    image[0::2, 1::2, 0] += 7  # red, row 0, column 1
    image[1::2, 1::2, 2] -= 9  # blue, row 1, column 1
    columns = row("npr_statistics", image)
    moved = {name: value for name, value in columns.items() if name.endswith("mean_absolute") and value}
    assert moved == {"red_01_mean_absolute": 7, "blue_11_mean_absolute": 9}


# --- probes ----------------------------------------------------------------------------------------------------


def test_thumbnail_undoes_enlargement_and_integrates_a_ramp():
    small = np.random.default_rng(4).uniform(0, 255, (1, 16, 16)).astype(np.float32)
    np.testing.assert_allclose(thumbnail(small.repeat(3, axis=1).repeat(5, axis=2)), small.reshape(1, -1), rtol=1e-5)
    ramp = np.broadcast_to(np.arange(40, dtype=np.float32), (1, 10, 40))  # 2.5 samples to a cell, rows repeated
    first = (0 * 1 + 1 * 1 + 2 * 0.5) / 2.5
    np.testing.assert_allclose(thumbnail(ramp)[0, :3], [first, (2 * 0.5 + 3 + 4) / 2.5, first + 5], rtol=1e-6)


def test_block_dct_histogram_shows_the_quantisation_step_of_an_earlier_jpeg():
    y, x = np.mgrid[:256, :256]
    scene = 128 + 40 * np.sin(x / 5.3) * np.cos(y / 7.1) + np.random.default_rng(1).normal(0, 9, (256, 256))
    buffer = io.BytesIO()
    Image.fromarray(np.clip(scene, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=60)
    step = decode(buffer.getvalue()).facts.qtables[0][8 + 1]  # row 1, column 1
    assert 7 <= step <= 10
    raw = row("block_dct_histogram", grey(np.clip(scene, 0, 255)))
    coded = row("block_dct_histogram", decode(buffer.getvalue()).pixels)
    gap = [f"ac11_{k}" for k in range(2, step - 1)]
    assert sum(coded[name] for name in gap) < 0.03 < 0.2 < sum(raw[name] for name in gap)
    assert coded["ac11_0"] > 3 * raw["ac11_0"]


def test_histograms_of_each_frequency_sum_to_one():
    values = block_dct_histogram(block_dct(np.float32(noise(64, 72)[None, ..., 0])))
    np.testing.assert_allclose(values.reshape(20, 12).sum(axis=1), 1, rtol=1e-6)


# --- names, presets, digests -----------------------------------------------------------------------------------


def names(text: str) -> list[str]:
    return [entry.name for entry in select_features(text)]


def test_features_are_selected_by_preset_name_and_pattern():
    assert set(names("standard")) == set(PRESETS["standard"]) == {entry.name for entry in preset("standard")}
    assert names("npr_statistics, radial_*") == names("radial_*,npr_statistics")
    assert set(names("radial_*,npr_statistics")) == {"radial_spectrum", "radial_spectrum_hann", "npr_statistics"}
    assert names("standard,radial_spectrum") == names("standard")


def test_probes_are_selected_only_by_their_full_name():
    assert names("thumbnail") == ["thumbnail"]
    assert not {"thumbnail", "block_dct_histogram"} & set(names("*"))
    with pytest.raises(UnknownName, match="'thumb\\*' matches only probes"):
        select_features("thumb*")


@pytest.mark.parametrize(
    "text, message",
    [
        ("radial_spectru", "no feature or preset 'radial_spectru'; did you mean 'radial_spectrum'"),
        ("standart", "did you mean 'standard'"),
        ("zzz*", r"no feature 'zzz\*' \(fdetect list features\)"),
        (" , ", "no feature is named"),
    ],
)
def test_unknown_choices_are_explained(text, message):
    with pytest.raises(ParameterError, match=message):
        select_features(text)


def test_unknown_preset_is_explained():
    with pytest.raises(UnknownName, match="no preset 'standart'; did you mean 'standard'"):
        preset("standart")


def test_columns_follow_the_settings_of_a_variant():
    eight, sixteen = (feature.get(f"cross_difference_harmonics{tail}") for tail in ("", "_16"))
    assert (len(column_names(eight)), len(column_names(sixteen))) == (135, 459)
    assert column_names(sixteen)[0] == "cross_difference_harmonics_16:red_x0y-8of16"


def test_a_feature_that_breaks_its_declaration_is_refused():
    registry = Registry("feature", "columns", "family", group="none")

    @registry(columns=("mean", "more"), family="test")
    def wrong(luma):
        return luma.mean(axis=(1, 2))[:, None]

    with pytest.raises(ParameterError, match=r"'wrong' returned \(2, 1\) float32 where \(2, 2\) float32 is declared"):
        compute(registry.get("wrong"), batch_of(np.zeros((2, 8, 8, 3), np.uint8)))


def test_code_changes_with_settings_and_with_the_maps_that_are_read():
    entries = [feature.get(name) for name in ("radial_spectrum", "radial_spectrum_hann", "npr_statistics")]
    harmonics = feature.get("cross_difference_harmonics")
    digests = [code_of(entry) for entry in (*entries, harmonics, harmonics.configured(period=4))]
    assert len(set(digests)) == 5
    assert all(len(digest) == 16 for digest in digests)
    assert code_of(feature.get("radial_spectrum")) == digests[0]


def test_real_photographs_have_finite_and_different_features():
    if not (SHARED / "manifest.csv").exists():
        pytest.skip("the folder of real images (../shared/data) is not here")
    with open(SHARED / "manifest.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    images = [decode((SHARED / r["path"]).read_bytes()).pixels[:200, :200] for r in (rows[0], rows[300], rows[-1])]
    for entry in select_features("*"):
        values = compute(entry, batch_of(np.stack(images)))
        assert np.isfinite(values).all()
        assert (values[0] != values[1]).any()
        assert (values[1] != values[2]).any()


def test_features_that_are_no_text_are_refused_in_a_sentence():
    for wrong in (None, 3, ["fast", 3]):
        with pytest.raises(ParameterError, match="features is a text or a list of texts, got"):
            select_features(wrong)


def test_a_feature_is_made_ready_by_computing_it_once(monkeypatch):
    from fdetect.features import feature_tasks, task

    seen = []
    monkeypatch.setattr(task, "compute", lambda entry, batch: seen.append((entry.name, batch.rgb8.shape)))
    task._prepare.cache_clear()
    (one,) = feature_tasks((feature.get("npr_statistics"),), crop=64)
    one.prepare()
    one.prepare()
    task._prepare.cache_clear()
    assert seen == [("npr_statistics", (1, 64, 64, 3))]
