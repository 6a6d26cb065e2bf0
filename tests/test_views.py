"""Views against plain float64 references; the same on NumPy and Torch, in any batch and order.

Tolerance: 1e-6 on RGB in 0..1 against float64 and between libraries; everything else is bit-equal.
"""

from __future__ import annotations

import importlib.util
import json

import naive_rigid as naive
import numpy as np
import pytest

from fdetect.errors import ParameterError, UnknownName
from fdetect.nets.cards import NetworkNoise
from fdetect.rigid.views import Shown, View, view

SETTINGS = {  # other settings than the defaults, so that nothing is right by chance
    "noise": {"sigma": 0.03, "space": "pixel", "clamp": True, "draw": 2},
    "blur": {"sigma": 0.85},
    "sharpen": {"sigma": 0.85},
    "damp_details": {"strength": 0.3, "levels": 3},
    "tile": {"row": 1, "column": 2, "grid": 4},
    "shift": {"down": 1, "right": -1, "margin": 2},
    "window": {"top": 3, "left": 5, "side": 20},
}
every_step = pytest.mark.parametrize("name", view.names())
ABOUT = Shown(tuple(f"{k:032x}" for k in range(12)), seed=7, patch=14)


def pictures(n: int = 12, side: int = 64) -> np.ndarray:
    """Noise, a constant, black, white and smooth scenes in RGB of 0..1."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:side, :side] / 9.0
    scenes = [np.stack([0.5 + 0.45 * np.sin(x + c + k) * np.cos(y - k) for c in range(3)]) for k in range(n - 4)]
    kinds = [rng.random((3, side, side)), np.full((3, side, side), 0.3), np.zeros((3, side, side)),
             np.ones((3, side, side)), *scenes]  # fmt: skip
    return np.stack(kinds[:n]).astype(np.float32)


def test_every_step_has_settings_here() -> None:
    assert sorted(SETTINGS) == sorted(view.names())


@every_step
def test_a_step_is_float32_leaves_its_input_and_belongs_to_no_batch(name: str) -> None:
    images = pictures()
    before, step = images.copy(), View.of(name, **SETTINGS[name])
    shown = step(images, ABOUT)
    assert shown.dtype == np.float32
    assert len(shown) == len(images)
    np.testing.assert_array_equal(images, before)
    assert np.isfinite(shown).all()
    for order in ([11, 0, 4], [3]):
        ids = tuple(ABOUT.ids[k] for k in order)
        np.testing.assert_array_equal(step(images[order], Shown(ids, 7, patch=14)), shown[order])


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="the deep extra is not installed")
@every_step
def test_a_step_is_the_same_on_torch(name: str) -> None:
    import torch

    images, step = pictures(), View.of(name, **SETTINGS[name])
    found = step(torch.from_numpy(images), ABOUT)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), step(images, ABOUT), rtol=0, atol=1e-6)


@every_step
def test_a_step_is_documented(name: str) -> None:
    entry = view.get(name)
    assert "->" in entry.doc
    assert entry.summary.endswith((".", ":"))
    assert entry.reads == ("images", "about")


@pytest.mark.parametrize("sigma", [0.55, 0.85, 3.0])
def test_blur_and_sharpen_equal_the_reference(sigma: float) -> None:
    images = pictures()
    blurred, sharp = (View.of(name, sigma=sigma)(images, ABOUT) for name in ("blur", "sharpen"))
    for k, image in enumerate(images.astype(np.float64)):
        np.testing.assert_allclose(blurred[k], naive.blur(image, sigma), rtol=0, atol=1e-6)
        np.testing.assert_allclose(sharp[k], naive.sharpen(image, sigma), rtol=0, atol=1e-6)
    for constant in (1, 2, 3):
        np.testing.assert_allclose(blurred[constant], images[constant], atol=1e-6)
    assert sharp.min() >= 0
    assert sharp.max() <= 1


def test_a_blur_of_one_spot_is_the_kernel() -> None:
    spot = np.zeros((1, 3, 5, 5), np.float32)
    spot[0, :, 2, 2] = 1
    side = np.exp(-1 / (2 * 0.55**2)) / (1 + 2 * np.exp(-1 / (2 * 0.55**2)))
    kernel = View.of("blur")(spot, ABOUT)[0, 0]
    np.testing.assert_allclose(kernel[1], [0, side * side, side * (1 - 2 * side), side * side, 0], atol=1e-7)
    assert kernel.sum() == pytest.approx(1)


def test_a_corner_is_blurred_with_its_mirror_image() -> None:
    corner = np.zeros((1, 3, 4, 4), np.float32)
    corner[0, :, 1, 1] = 1  # mirrored about row 0 it stands on all four sides of the corner
    side = np.exp(-1 / (2 * 0.55**2)) / (1 + 2 * np.exp(-1 / (2 * 0.55**2)))
    assert View.of("blur")(corner, ABOUT)[0, 0, 0, 0] == pytest.approx(4 * side**2, abs=1e-7)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_weakened_details_equal_a_haar_transform(levels: int) -> None:
    images = pictures()
    damped = View.of("damp_details", strength=0.1, levels=levels)(images, ABOUT)
    for k, image in enumerate(images.astype(np.float64)):
        details = naive.haar_details(image, levels)
        np.testing.assert_allclose(damped[k], image - 0.1 * details, rtol=0, atol=1e-6)
    assert np.abs(damped[0] - images[0]).max() > 0.01
    np.testing.assert_allclose(damped[1:4], images[1:4], atol=1e-7)  # constants have no details


def test_the_haar_reference_has_a_known_answer() -> None:
    block = np.broadcast_to([[4.0, 0.0], [0.0, 0.0]], (3, 2, 2))
    np.testing.assert_allclose(naive.haar_details(block, 1)[0], [[3, -1], [-1, -1]])  # minus the mean of 1
    steps = np.kron(np.array([[1.0, 5.0], [3.0, 7.0]]), np.ones((2, 2)))[None].repeat(3, axis=0)
    np.testing.assert_allclose(naive.haar_details(steps, 1), 0, atol=1e-12)
    np.testing.assert_allclose(naive.haar_details(steps, 2)[0, ::2, ::2], [[-3, 1], [-1, 3]])


def test_weakening_normalised_details_is_weakening_them_in_rgb() -> None:
    image = pictures()[0].astype(np.float64)
    mean, std = (np.array(values)[:, None, None] for values in (naive.MEAN, naive.STD))
    normalised = (image - mean) / std
    authors = (normalised - 0.1 * naive.haar_details(normalised, 2)) * std + mean
    np.testing.assert_allclose(View.of("damp_details")(image[None], ABOUT)[0], authors, atol=1e-12)


def test_tiles_and_windows_are_parts() -> None:
    images = pictures()
    for k, part in enumerate(naive.tiles(images[0], 16)):
        found = View.of("tile", row=k // 4, column=k % 4, grid=4)(images, ABOUT)
        np.testing.assert_array_equal(found[0], part)
    moves = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
    for (down, right), part in zip(moves, naive.moved_windows(images[0], 14, 1), strict=True):
        found = View.of("shift", down=down, right=right)(images, ABOUT)
        assert found.shape == (12, 3, 56, 56)  # 4 patches of 14 px, of 62 that the margin leaves
        np.testing.assert_array_equal(found[0], part)
    # damping before and after the cut is the same where tiles begin where Haar blocks do
    first = View.of("tile", row=2, column=1).then("damp_details")(images, ABOUT)
    np.testing.assert_array_equal(first, View.of("damp_details").then("tile", row=2, column=1)(images, ABOUT))


def test_noise_belongs_to_content_seed_and_draw() -> None:
    blank = np.full((12, 3, 64, 64), 0.5, np.float32)
    step = View.of("noise", sigma=0.05, space="pixel")
    noise = step(blank, ABOUT) - 0.5
    assert noise.std() == pytest.approx(0.05, rel=0.01)
    assert noise.mean() == pytest.approx(0, abs=0.001)
    others = [step(blank, Shown(ABOUT.ids, 8)), View.of("noise", sigma=0.05, space="pixel", draw=1)(blank, ABOUT),
              step(blank, Shown(ABOUT.ids[::-1], 7))]  # fmt: skip
    for other in others:
        assert abs(np.corrcoef(noise[0].ravel(), other[0].ravel())[0, 1]) < 0.04  # four standard errors
    np.testing.assert_array_equal(others[2][::-1], step(blank, ABOUT))
    normalized = View.of("noise", sigma=0.05)(blank, Shown(ABOUT.ids, 7, std=(0.1, 0.2, 0.4))) - 0.5
    for c, std in enumerate((0.1, 0.2, 0.4)):
        np.testing.assert_allclose(normalized[:, c], noise[:, c] * std, atol=1e-6)
    clamped = View.of("noise", sigma=0.05, space="pixel", clamp=True)(np.zeros_like(blank), ABOUT)
    np.testing.assert_allclose(clamped, np.maximum(noise, 0), atol=1e-6)


@pytest.mark.parametrize(
    "step, settings, words",
    [
        ("noise", {"space": "rgb"}, "noise space is normalized or pixel; got 'rgb'"),
        ("blur", {"size": 4}, "blur needs an odd size and a sigma above 0; got size 4, sigma 0.55"),
        ("sharpen", {"sigma": 0.0}, "blur needs an odd size and a sigma above 0; got size 3, sigma 0"),
        ("damp_details", {"levels": 7}, "damp_details of 7 levels needs sides that are multiples of 128"),
        ("tile", {"grid": 5}, "a grid of 5 x 5 tiles does not divide an image of 64 x 64"),
        ("tile", {"row": 4}, "a window of 16 px at 64, 0 does not fit an image of 64 x 64"),
        ("shift", {"down": 2}, "a window of patches of 14 px with a margin of 1 px cannot move by 2, 0"),
        ("shift", {"margin": 26}, "a window of patches of 14 px with a margin of 26 px cannot move by 0, 0"),
        ("window", {"top": 1}, "a window of 224 px at 1, 0 does not fit an image of 64 x 64"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(step: str, settings: dict, words: str) -> None:
    with pytest.raises(ParameterError) as caught:
        View.of(step, **settings)(pictures(), ABOUT)
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


def test_a_view_is_its_steps() -> None:
    two = View.of("blur").then("noise", draw=1)
    assert two == View.of("blur", sigma=0.55).then("noise", draw=1)  # a default that is written out is the same view
    assert hash(two) == hash(View.of("blur", sigma=0.55).then("noise", draw=1))
    assert two != View.of("noise", draw=1).then("blur")
    assert (View().label, two.label, View(network=NetworkNoise()).label) == ("clean", "blur+noise", "network")
    for one in (View(), two, View(network=NetworkNoise(draw=3))):
        assert json.loads(json.dumps(one.settings)) == one.settings
    assert View(network=NetworkNoise(draw=3)).settings["network"]["draw"] == 3
    np.testing.assert_array_equal(View()(pictures(), ABOUT), pictures())
    with pytest.raises(UnknownName, match="no view 'blurr'; did you mean 'blur'"):
        View.of("blurr")
    with pytest.raises(ParameterError, match="view 'blur' has no setting 'sigm'; did you mean 'sigma'"):
        View.of("blur", sigm=1.0)
