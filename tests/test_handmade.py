"""Drift of hand-crafted features, from pixels to score, against plain float64 references.

Tolerances: 1e-6 for scores that stand above 1e-3; features are float32, so differences of them carry a few 1e-7.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

import naive
import naive_relatives as plain
import numpy as np
import pytest
from PIL import Image

from fdetect import engine
from fdetect.errors import ParameterError
from fdetect.features import feature_task
from fdetect.images import Geometry
from fdetect.perturb import rng_for
from fdetect.rigid import detector, prepare
from fdetect.rigid.handmade import FeatureDrift
from fdetect.types import Batch, Facts

NAMES = detector.select("feature_drift*")
SIDE = 32  # px: two tiles of the log-DCT profile


def pictures(n: int, side: int = SIDE) -> list[np.ndarray]:
    """Smooth pictures with a little noise, some of it at the ends of the range: (side, side, 3) uint8."""
    out = []
    for k in range(n):
        rng = np.random.default_rng(k)
        small = Image.fromarray(rng.integers(0, 256, (5, 4, 3), dtype=np.uint8))
        large = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC)).astype(np.float64)
        out.append(np.clip(large + rng.normal(0, 1.5, large.shape), 0, 255).astype(np.uint8))
    return out


def batch_of(images: list[np.ndarray], seed: int = 3) -> Batch:
    ids = tuple(f"{k:032x}" for k in range(len(images)))
    return Batch(ids, np.stack(images), tuple(Facts("PNG", SIDE, SIDE, 1) for _ in images), seed)


def scores_of(drift: FeatureDrift, batch: Batch) -> np.ndarray:
    tasks = prepare(drift, crop=SIDE, embed=partial(feature_task, crop=SIDE))
    return drift.score(**{task.view_name: task(batch) for task in tasks})


def described(name: str, rgb8: np.ndarray) -> np.ndarray:
    """One row of the reference of a feature."""
    batch = rgb8[None].astype(np.uint8)
    luma = naive.luma(naive.planes(batch))
    if name in ("local_binary_patterns", "cross_channel_residual_correlation"):
        return getattr(naive, name)(batch)[0]
    if name == "radial_spectrum":
        return naive.radial_spectrum(naive.radial_profile(naive.log_power(luma, window="none"), luma))[0]
    return getattr(naive, name)(luma)[0]


@pytest.mark.parametrize("entry", NAMES, ids=lambda entry: entry.name)
def test_score_equals_the_reference_from_pixels_to_number(entry) -> None:
    drift = entry()
    images = pictures(2)
    scores = scores_of(drift, batch_of(images))
    assert scores.dtype == np.float64
    for k, image in enumerate(images):
        if drift.disturbance == "noise":
            normal = rng_for(3, f"{k:032x}", "rigid-noise-0").standard_normal((3, SIDE, SIDE), dtype=np.float32)
            other = plain.disturbed(image, normal, drift.sigma)
        else:
            other = np.round(255 * plain.blurred(plain.scaled(image), drift.sigma)).transpose(1, 2, 0)
        a, b = described(drift.feature, image), described(drift.feature, other)
        if drift.measure == "rms":
            moved = plain.rms_drift(a, b)
        else:
            moved = plain.bhattacharyya_drift(a, b, 16 if drift.feature == "local_binary_patterns" else 169)
        assert moved > 1e-3  # far above the tolerance: the score says something here
        assert scores[k] == pytest.approx(moved if drift.disturbance == "noise" else -moved, abs=1e-6)


def test_a_known_answer_of_each_measure() -> None:
    clean = np.array([[0.6, 0.8], [1.0, 0.0], [2.0, 1.0]], np.float32)
    moved = np.array([[0.6, 0.8], [0.0, 1.0], [5.0, 5.0]], np.float32)
    np.testing.assert_allclose(FeatureDrift().score(clean=clean, disturbed=moved)[:2], [0, 1], atol=1e-7)
    rms = FeatureDrift(measure="rms").score(clean=clean, disturbed=moved)
    np.testing.assert_allclose(rms, [0, 1, np.sqrt(12.5)], atol=1e-12)
    blur = FeatureDrift(measure="rms", disturbance="blur", sigma=0.55).score(clean=clean, disturbed=moved)
    np.testing.assert_array_equal(blur, -rms)  # what a blur moves less far is more likely generated


@pytest.mark.parametrize("entry", NAMES, ids=lambda entry: entry.name)
def test_a_picture_without_fine_texture_scores_higher_than_one_with(entry) -> None:
    # the argument for the direction: three levels of noise in a picture that are absent from the other
    rng = np.random.default_rng(0)
    ramp = np.linspace(60, 190, 64)[None, :, None] + np.linspace(0, 30, 64)[:, None, None] + np.array([0.0, 8.0, -9.0])
    smooth = np.round(ramp + rng.normal(0, 0.5, ramp.shape)).astype(np.uint8)
    grainy = np.round(ramp + rng.normal(0, 3.0, ramp.shape)).astype(np.uint8)
    scores = scores_of(entry(), batch_of([smooth, grainy]))
    assert scores[0] > scores[1]


@pytest.mark.parametrize("name", ["feature_drift", "feature_drift_dct"])
def test_scores_belong_to_no_batch_and_missing_rows_stay_missing(name: str) -> None:
    drift = detector.get(name)()
    batch = batch_of(pictures(4))
    together = scores_of(drift, batch)
    assert len(set(together)) == 4
    order = [3, 0, 2]
    part = Batch(tuple(batch.ids[k] for k in order), batch.rgb8[order], batch.facts[:3], batch.seed)
    np.testing.assert_array_equal(scores_of(drift, part), together[order])
    assert not np.array_equal(scores_of(drift, dataclasses.replace(batch, seed=4, maps={})), together)
    rows = np.array([[1.0, 2.0], [np.nan, np.nan], [1.0, 2.0]], np.float32)
    lost = drift.score(clean=rows, disturbed=rows[[0, 0, 1]])
    np.testing.assert_array_equal(np.isnan(lost), [False, True, True])


def test_settings_and_views_are_checked() -> None:
    for settings in ({"sigma": 0.0}, {"sigma": float("nan")}, {"disturbance": "shift"}, {"measure": "euclid"}):
        with pytest.raises(ParameterError, match=f"feature_drift: {next(iter(settings))}"):
            FeatureDrift(**settings)
    with pytest.raises(ParameterError, match="needs the views clean, disturbed; got clean"):
        FeatureDrift().score(clean=np.zeros((1, 2), np.float32))
    with pytest.raises(ParameterError, match="needs the function that makes features"):
        prepare(FeatureDrift())


def test_the_engine_runs_the_tasks_and_the_clean_view_is_shared(tmp_path: Path) -> None:
    paths = [f"{k}.png" for k in range(3)]
    for path, image in zip(paths, pictures(3, 80), strict=True):
        Image.fromarray(image).save(tmp_path / path)
    (tmp_path / "broken.png").write_bytes(b"no image")
    embed = partial(feature_task, crop=64)
    drift, blur = (detector.get(name)() for name in ("feature_drift", "feature_drift_blur"))
    tasks = {t.name: t for one in (drift, blur) for t in prepare(one, crop=64, embed=embed)}
    assert len(tasks) == 3
    assert all(task.geometry == Geometry("aligned_crop", 64) and not task.in_process for task in tasks.values())
    store = engine.Store(tmp_path / "store")
    found = engine.run(list(tasks.values()), [*paths, "broken.png"], root=tmp_path, crop=64, store=store)
    mine = prepare(drift, crop=64, embed=embed)
    scores = drift.score(**{task.view_name: found.tables["native", task.name].values for task in mine})
    assert (scores[:3] > 0).all()
    assert np.isnan(scores[3])
