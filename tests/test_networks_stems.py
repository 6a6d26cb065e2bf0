"""What forensic networks look at: against plain float64 loops, PyWavelets and the maps of fdetect/forensics.

Tolerances, float32 against float64: 1e-6 of pictures in 0..1 and their differences, 2e-4 of grey levels.
"""

from __future__ import annotations

import naive_networks as naive
import naive_residual
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'deep' is not installed")

from fdetect.forensics.residual import srm  # noqa: E402
from fdetect.forensics.wavelets import wavelet_band  # noqa: E402
from fdetect.nets.detectors import ladeda  # noqa: E402
from fdetect.nets.detectors.gram_model import gram  # noqa: E402
from fdetect.nets.detectors.patchcraft_model import MOST, PATCH, diversity, sorted_patches  # noqa: E402
from fdetect.nets.detectors.stems import FEW, Filtered, Resampled, Srm, Stacked, WaveletBand, masks  # noqa: E402


def pictures(height: int, width: int, count: int = 1, seed: int = 0) -> torch.Tensor:
    """Noise of 8 bits on slopes, other ones for each colour: (count, 3, H, W) float32 in 0..1."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(60, 180, height)[:, None] + np.linspace(0, 30, width) * np.array([1, -1, 0.5])[:, None, None]
    greys = np.clip(np.rint(slope + rng.normal(0, 9, (count, 3, height, width))), 0, 255)
    return torch.from_numpy(greys.astype(np.float32) / np.float32(255))


def doubles(images: torch.Tensor) -> np.ndarray:
    return images.double().numpy()


@pytest.mark.parametrize(("factor", "size"), [(2, (10, 13)), (3, (11, 12)), (4, (8, 9))])
def test_resampled_is_the_loss_of_nearest_neighbours(factor: int, size: tuple[int, int]) -> None:
    images = pictures(*size)
    found = Resampled(factor, 2 / 3)(images)
    expected = naive.resampled(doubles(images)[0], factor, 2 / 3)
    np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-6)
    assert not found[..., ::factor, ::factor].any()
    assert found.any()


def test_nothing_is_lost_of_what_nearest_neighbours_enlarged() -> None:
    enlarged = pictures(8, 9).repeat_interleave(2, -2).repeat_interleave(2, -1)
    assert not Resampled(2)(enlarged).any()
    assert not WaveletBand()(enlarged).any()
    assert Resampled(2)(enlarged[..., 1:, :]).any()  # another grid


def test_filtered_is_a_correlation_with_zeros_beyond_the_border() -> None:
    images = pictures(9, 7)
    found = Filtered(ladeda.RIGHT_DIAGONAL)(images)
    kernel = [[-2, -1, 0], [-1, 0, 1], [0, 1, 2]]
    for plane, expected in zip(found[0], doubles(images)[0], strict=True):
        np.testing.assert_allclose(plane.numpy(), naive.filtered(expected, kernel), atol=2e-6)


@pytest.mark.parametrize("size", [(12, 16), (13, 9), (33, 34)])
def test_the_wavelet_band_is_enlarged_hh(size: tuple[int, int]) -> None:
    images = pictures(*size)
    found = WaveletBand()(images)[0].numpy()
    for plane, image in zip(found, doubles(images)[0], strict=True):
        np.testing.assert_allclose(plane, naive.enlarged(naive.diagonal_band(image), *size), atol=1e-6)


@pytest.mark.parametrize("size", [(12, 16), (13, 9)])
def test_hh_before_it_is_enlarged_is_that_of_the_map_and_of_pywavelets(size: tuple[int, int]) -> None:
    pywt = pytest.importorskip("pywt", reason="PyWavelets is not installed")
    image = doubles(pictures(*size))
    naive_band = np.stack([naive.diagonal_band(plane) for plane in image[0]])
    _, (_, _, theirs) = pywt.dwt2(image[0], "bior1.3", mode="symmetric", axes=(-2, -1))
    np.testing.assert_allclose(naive_band, theirs, atol=1e-12)
    ours = wavelet_band(torch.from_numpy(255 * image).float())[0]
    np.testing.assert_allclose(255 * naive_band, ours.numpy(), atol=2e-4)


def test_the_bank_is_that_of_the_map_inside_the_picture() -> None:
    images = pictures(14, 11)
    found = Srm()(images)
    assert found.shape == (1, 3, 30, 14, 11)
    for colour in range(3):
        expected = srm((255 * images[:, colour]).round())
        np.testing.assert_allclose(found[:, colour, :, 2:-2, 2:-2].numpy(), expected.numpy(), atol=2e-4)


def test_the_bank_sums_to_zero_has_a_centre_of_minus_one_and_no_kernel_twice() -> None:
    bank = masks()
    assert bank.shape == (30, 5, 5)
    assert np.abs(bank.sum((1, 2))).max() < 1e-12
    assert np.allclose(bank[:, 2, 2], -1)
    assert np.isclose(np.abs(bank).max(), 1)
    assert len({mask.round(9).tobytes() for mask in bank}) == 30
    assert len(masks(FEW)) == 6


@pytest.mark.parametrize("names", [FEW, ()], ids=["few", "all"])
def test_stacked_maps_are_three_kinds_in_their_order_and_truncated(names: tuple[str, ...]) -> None:
    images = pictures(11, 14)
    stem = Stacked(names, 6.0)
    found = stem(images)

    def residuals(plane: np.ndarray) -> np.ndarray:
        if not names:
            return naive_residual.srm(plane[None])[0]
        maps = []
        for name in names:
            reach = 2 if name in ("third", "square5x5") else 1
            inner = plane if reach == 2 else plane[1:-1, 1:-1]
            maps += list(naive_residual.residual(inner[None], kernel=name)[0])
        return np.stack(maps)

    expected = naive.stacked(doubles(images)[0], residuals, 6.0)
    assert found.shape == (1, stem.channels, 10, 14) == (1, len(expected), 10, 14)
    # the plain residuals round luma and chroma to thousandths of a grey level
    np.testing.assert_allclose(found[0].numpy(), expected, atol=2e-3)
    assert found.abs().max() == 2.0
    assert (found.abs() < 2).float().mean() > 0.3


def test_stems_see_neither_brightness_nor_a_slope() -> None:
    level = torch.full((1, 3, 16, 16), 0.3)
    slope = torch.linspace(0, 60, 16).expand(1, 3, 16, 16) / 255
    for stem in (Resampled(), WaveletBand(), Srm(), Stacked()):
        assert stem(level).abs().max() < 1e-4
    inside = Srm(("second", "third", "square3x3"))(slope)[..., 2:-2, 2:-2]
    assert inside.abs().max() < 1e-4


# --- patches ---------------------------------------------------------------------------------------------------------


def test_diversity_is_the_sum_of_differences_inside_each_patch() -> None:
    images = pictures(70, 53)
    found = diversity(images, 16)[0]
    expected = naive.diversity(doubles(images)[0], PATCH, 16)
    assert found.shape == (3, 2)
    assert {(16 * i, 16 * j): int(found[i, j]) for i in range(3) for j in range(2)} == expected


@pytest.mark.parametrize(("size", "side"), [((64, 64), 1), ((97, 80), 2), ((128, 128), 4)])
def test_patches_are_sorted_into_two_pictures(size: tuple[int, int], side: int) -> None:
    images = pictures(*size)
    images[..., : size[0] // 2, :] = (images[..., : size[0] // 2, :] * 32).round() / 32  # some patches are richer
    found = sorted_patches(images, 16)
    assert found.shape == (1, 6, side * PATCH, side * PATCH)
    expected = naive.sorted_patches(doubles(images)[0], PATCH, 16, MOST)
    np.testing.assert_array_equal(found[0].double().numpy(), expected)


def test_a_picture_of_256_px_gives_64_patches_of_either_kind_and_ties_go_to_the_first() -> None:
    flat = torch.full((2, 3, 256, 256), 0.5)
    flat[1, :, :32, :32] = pictures(32, 32)[0]
    found = sorted_patches(flat, 16)
    assert found.shape == (2, 6, 256, 256)
    assert (found[0] == 0.5).all()
    np.testing.assert_array_equal(found[1, 3:, :32, :32], flat[1, :, :32, :32])  # the richest stands first
    assert (found[1, :3] == 0.5).all()


def test_gram_matrices_are_inner_products_and_know_no_places() -> None:
    features = pictures(6, 5, count=2) - 0.4
    found = gram(features)
    for one, matrix in zip(features, found, strict=True):
        np.testing.assert_allclose(matrix.numpy(), naive.gram(doubles(one)), atol=1e-6)
    shuffled = features.flatten(2)[..., torch.randperm(30, generator=torch.Generator().manual_seed(0))]
    np.testing.assert_allclose(gram(shuffled.view_as(features)).numpy(), found.numpy(), atol=1e-6)
