"""The tasks that kernels.py races: ours and every rival's way to compute one thing, checked to give the same result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Task:
    """One thing to compute: the contestants by name (ours is "fdetect"), what it moves, and what was aimed at."""

    name: str
    pixels: int
    moved: int  # bytes: input once, result once
    contestants: dict[str, Callable[[], Any]]
    aims: tuple[tuple[str, float], ...]  # ("best", 2.3): ours that many times as fast as the best rival; or one by name
    missing: tuple[str, ...] = ()


def tasks() -> tuple[Callable[[], Task], ...]:
    """All tasks; each is made when its turn comes, so that only its own arrays are in memory."""
    return (
        npr_map, npr_statistics, srm_statistics, srm_cooccurrence, median_uint8, median_float, radial_mean,
        cooccurrence, harmonics,
    )  # fmt: skip


def opencv() -> Any:
    try:
        import cv2
    except ImportError:
        return None
    cv2.setNumThreads(1)
    return cv2


def torch() -> Any:
    import torch

    torch.set_num_threads(1)
    return torch


def same(ours: np.ndarray, theirs: np.ndarray, relative: float = 0.0) -> None:
    np.testing.assert_allclose(np.asarray(theirs, np.float64), np.asarray(ours, np.float64), rtol=relative, atol=1e-3)


def picture(side: int) -> np.ndarray:
    """A photograph, repeated and cut to (side, side, 3) uint8."""
    from skimage import data

    image = data.astronaut()
    times = -(-side // len(image))
    return np.ascontiguousarray(np.tile(image, (times, times, 1))[:side, :side])


def npr_map() -> Task:
    from fdetect.forensics import _cpu

    planes = np.ascontiguousarray(picture(2048)[:, :, :1].transpose(2, 0, 1)).astype(np.float32)
    cv2, th = opencv(), torch()
    tensor = th.from_numpy(planes[None])

    def reshaped() -> np.ndarray:
        cells = planes.reshape(1, 1024, 2, 1024, 2)
        return (cells - cells[:, :, :1, :, :1]).reshape(planes.shape)

    def by_torch() -> Any:
        half = th.nn.functional.interpolate(tensor, scale_factor=0.5, mode="nearest", recompute_scale_factor=True)
        return tensor - th.nn.functional.interpolate(half, scale_factor=2.0, mode="nearest")

    contestants: dict[str, Callable[[], Any]] = {
        "fdetect": lambda: _cpu.npr(planes[None], 2),
        "NumPy repeat": lambda: planes - planes[:, ::2, ::2].repeat(2, axis=1).repeat(2, axis=2),
        "NumPy reshape": reshaped,
        "torch": by_torch,
    }
    if cv2:
        def by_opencv() -> np.ndarray:
            small = np.ascontiguousarray(planes[0, ::2, ::2])
            return cv2.subtract(planes[0], cv2.resize(small, (2048, 2048), interpolation=cv2.INTER_NEAREST))

        contestants["OpenCV"] = by_opencv
    for run in contestants.values():
        same(contestants["fdetect"](), np.reshape(np.asarray(run()), (1, *planes.shape)))
    return Task("NPR map, 2048 x 2048 float32", planes.size, 2 * planes.nbytes, contestants, (("best", 2.3),),
                absent(cv2))  # fmt: skip


def npr_statistics() -> Task:
    from fdetect.forensics import _cpu

    image = picture(2048)
    th = torch()
    tensor = th.from_numpy(image)

    def moments(x: Any, xp: Any) -> Any:
        centred = x - x.mean(-1)[..., None]
        squared = centred * centred
        variance = squared.mean(-1)
        fourth = (squared * squared).mean(-1) / variance**2 - 3
        return xp.stack([abs(x).mean(-1), variance**0.5, fourth, (x == 0).mean(-1, dtype=xp.float64)], -1)

    def by_numpy() -> np.ndarray:
        cells = image.astype(np.float32).reshape(1024, 2, 1024, 2, 3)
        parts = [(cells[:, i, :, j] - cells[:, 0, :, 0]).reshape(-1, 3).T for i, j in ((0, 1), (1, 0), (1, 1))]
        return moments(np.stack(parts, axis=1).astype(np.float64), np).reshape(-1)

    def by_torch() -> Any:
        cells = tensor.to(th.float32).reshape(1024, 2, 1024, 2, 3)
        parts = [(cells[:, i, :, j] - cells[:, 0, :, 0]).reshape(-1, 3).T for i, j in ((0, 1), (1, 0), (1, 1))]
        x = th.stack(parts, dim=1).to(th.float64)
        centred = x - x.mean(-1, keepdim=True)
        variance = (centred**2).mean(-1)
        fourth = (centred**4).mean(-1) / variance**2 - 3
        zeros = (x == 0).to(th.float64).mean(-1)
        return th.stack([x.abs().mean(-1), variance.sqrt(), fourth, zeros], -1).reshape(-1)

    contestants = {"fdetect": lambda: _cpu.npr_statistics(image[None], 2), "NumPy": by_numpy, "torch": by_torch}
    for name in ("NumPy", "torch"):
        same(np.ravel(contestants["fdetect"]()), contestants[name](), 1e-5)
    return Task("NPR, uint8 -> 36 statistics, 2048 x 2048", image.size // 3, image.nbytes, contestants,
                (("best", 10.0),))  # fmt: skip


def srm_bank() -> list[tuple[np.ndarray, int]]:
    """The 22 filters that differ by more than their sign, as 5 x 5 masks with divisors."""
    from fdetect.forensics.residual import KERNELS, SRM

    return [
        (np.pad(mask, (5 - len(mask)) // 2).astype(np.float32) / KERNELS[name].divisor, len(mask))
        for name in SRM
        for mask in KERNELS[name].masks
    ]


def grey(side: int) -> np.ndarray:
    from fdetect.forensics.planes import luma, planes

    return np.ascontiguousarray(luma(planes(picture(side)[None]))[0])


def inner(result: Any, side: int) -> Any:
    """What a filter of that side computes without padding."""
    margin = side // 2
    return result[margin : result.shape[0] - margin, margin : result.shape[1] - margin]


def srm_statistics() -> Task:
    from fdetect.forensics import _cpu
    from fdetect.forensics.residual import KERNELS, LUMA_UNITS, SRM

    image, bank = grey(1024), srm_bank()
    cv2, th = opencv(), torch()
    tensor = th.from_numpy(image)[None, None]
    weights = th.from_numpy(np.stack([mask for mask, _ in bank]))[:, None]

    def ours() -> np.ndarray:
        return _cpu.residual_moments(image[None], tuple(KERNELS[name] for name in SRM), LUMA_UNITS)[0]

    def by_torch() -> np.ndarray:
        maps = th.nn.functional.conv2d(tensor, weights, padding=2)[0]
        sums = []
        for k, (_, side) in enumerate(bank):
            found = inner(maps[k], side)
            sums.append((float(found.abs().sum()), float((found * found).sum())))
        return np.array(sums)

    contestants: dict[str, Callable[[], Any]] = {"fdetect": ours, "torch": by_torch}
    if cv2:
        def by_opencv() -> np.ndarray:
            sums = []
            for mask, side in bank:
                found = inner(cv2.filter2D(image, cv2.CV_32F, mask, borderType=cv2.BORDER_REFLECT), side)
                sums.append((cv2.norm(found, cv2.NORM_L1), cv2.norm(found, cv2.NORM_L2SQR)))
            return np.array(sums)

        contestants["OpenCV filter2D + norm"] = by_opencv
    for name in contestants:
        same(ours(), contestants[name](), 2e-3)
    return Task("SRM bank -> mean abs R and rms, 1024 x 1024 float32 (22 filters: 30 without opposites)", image.size,
                image.nbytes, contestants, (("best", 1.4), ("torch", 25.0)), absent(cv2))  # fmt: skip


def srm_cooccurrence() -> Task:
    from fdetect.forensics import _cpu
    from fdetect.forensics.residual import KERNELS, LUMA_UNITS, SRM

    image, bank = grey(1024), srm_bank()
    cv2 = opencv()

    def ours() -> np.ndarray:
        total = np.zeros(625, np.int64)
        for name in SRM:
            half = LUMA_UNITS * KERNELS[name].divisor // 2
            edges = (1 - 3 * half, 1 - half, half, 3 * half)
            total += _cpu.residual_counts(image[None], KERNELS[name], edges, LUMA_UNITS)[0]
        return total

    def counted(found: np.ndarray) -> np.ndarray:
        levels = np.clip(np.rint(found), -2, 2).astype(np.int16) + 2
        across = ((levels[:, :-3] * 5 + levels[:, 1:-2]) * 5 + levels[:, 2:-1]) * 5 + levels[:, 3:]
        down = ((levels[:-3] * 5 + levels[1:-2]) * 5 + levels[2:-1]) * 5 + levels[3:]
        return np.bincount(across.ravel(), minlength=625) + np.bincount(down.ravel(), minlength=625)

    contestants: dict[str, Callable[[], Any]] = {"fdetect": ours}
    if cv2:
        def by_opencv() -> np.ndarray:
            maps = (inner(cv2.filter2D(image, cv2.CV_32F, mask, borderType=cv2.BORDER_REFLECT), side)
                    for mask, side in bank)  # fmt: skip
            return sum(counted(found) for found in maps)

        contestants["OpenCV filter2D + NumPy"] = by_opencv
    from scipy.ndimage import correlate

    contestants["SciPy + NumPy"] = lambda: sum(counted(inner(correlate(image, mask), side)) for mask, side in bank)
    for run in contestants.values():  # halves are rounded otherwise by np.rint, and often in whole numbers / 2
        assert abs(run() - ours()).sum() < 2e-2 * ours().sum(), abs(run() - ours()).sum() / ours().sum()
    return Task("SRM bank -> co-occurrences (T = 2, order 4), 1024 x 1024", image.size, image.nbytes, contestants, (),
                absent(cv2))  # fmt: skip


def median(image: np.ndarray, aims: tuple[tuple[str, float], ...]) -> Task:
    from scipy import ndimage

    from fdetect.forensics import _cpu

    cv2 = opencv()
    contestants: dict[str, Callable[[], Any]] = {
        "fdetect": lambda: _cpu.median3x3(image),
        "SciPy": lambda: ndimage.median_filter(image, size=3, mode="nearest"),
    }
    if cv2:
        contestants["OpenCV"] = lambda: cv2.medianBlur(image, 3)
    for name in contestants:
        same(contestants["fdetect"](), contestants[name]())
    return Task(f"3 x 3 median, 2048 x 2048 {image.dtype}", image.size, 2 * image.nbytes, contestants, aims,
                absent(cv2))  # fmt: skip


def median_uint8() -> Task:
    return median(np.ascontiguousarray(picture(2048)[..., 1]), (("best", 1.0),))


def median_float() -> Task:
    return median(picture(2048)[..., 1].astype(np.float32), (("SciPy", 100.0),))


def radial_mean() -> Task:
    from scipy import ndimage, sparse

    from fdetect.forensics import _cpu
    from fdetect.forensics.spectrum import rings

    side, B = 512, 16
    table, V = rings(side, side, 64), side // 2 + 1
    ring, count, once = table.ring, len(table.size), np.ones(V)  # rivals sum the half plane, so ours does too
    values = np.random.default_rng(0).normal(size=(B, side, V)).astype(np.float32)
    flat, labels = ring.ravel().astype(np.int64), np.arange(count)
    matrix = sparse.csr_matrix((np.ones(flat.size, np.float32), (flat, np.arange(flat.size))), shape=(count, flat.size))
    th = torch()
    tensor, index = th.from_numpy(values.reshape(B, -1)), th.from_numpy(flat)

    contestants: dict[str, Callable[[], Any]] = {
        "fdetect": lambda: _cpu.ring_sums(values, ring, once, count),
        "NumPy bincount": lambda: np.stack([np.bincount(flat, one.ravel(), count) for one in values]),
        "SciPy sparse": lambda: (matrix @ values.reshape(B, -1).T).T,
        "scipy.ndimage": lambda: np.stack([ndimage.sum_labels(one, ring, labels) for one in values]),
        "torch index_add": lambda: th.zeros(B, count).index_add_(1, index, tensor).numpy(),
    }
    for run in contestants.values():
        same(contestants["fdetect"](), run(), 1e-3)
    return Task("radial sums of 16 half planes of 512 x 512", values.size, values.nbytes, contestants, (("best", 1.8),))


def cooccurrence() -> Task:
    from skimage.feature import graycomatrix

    from fdetect.forensics import _cpu

    image = np.ascontiguousarray(picture(2048)[..., 1])
    cv2 = opencv()
    left, right = np.ascontiguousarray(image[:, :-1]), np.ascontiguousarray(image[:, 1:])

    def by_numpy() -> np.ndarray:
        pairs = left.astype(np.int32) * 256 + right
        return np.bincount(pairs.ravel(), minlength=65536).reshape(256, 256)

    contestants: dict[str, Callable[[], Any]] = {
        "fdetect": lambda: _cpu.cooccurrence_counts(image, image, 0, 1),
        "NumPy bincount": by_numpy,
        "scikit-image": lambda: graycomatrix(image, [1], [0])[:, :, 0, 0],
    }
    if cv2:
        contestants["OpenCV calcHist"] = lambda: cv2.calcHist(
            [left, right], [0, 1], None, [256, 256], [0, 256, 0, 256]
        )
    for run in contestants.values():
        same(contestants["fdetect"](), run())
    return Task("256 x 256 co-occurrence, 2048 x 2048 uint8", image.size, image.nbytes, contestants, (("best", 2.2),),
                absent(cv2))  # fmt: skip


def harmonics() -> Task:
    from fdetect.forensics import _cpu

    image = picture(1024)

    def by_numpy() -> np.ndarray:
        wide = image.astype(np.int16)
        columns = wide[:, 1:] - wide[:, :-1]
        difference = np.abs(columns[1:] - columns[:-1])[:1016, :1016]
        folded = difference.reshape(127, 8, 127, 8, 3).sum(axis=(0, 2), dtype=np.int64)
        return folded.transpose(2, 0, 1)

    contestants = {"fdetect": lambda: _cpu.folded_cross_difference(image[None], 8)[0], "NumPy": by_numpy}
    same(contestants["fdetect"](), by_numpy())
    return Task("cross-difference folded to 8 x 8, 1024 x 1024 RGB", image.size // 3, image.nbytes, contestants, ())


def absent(cv2: Any) -> tuple[str, ...]:
    return () if cv2 else ("OpenCV",)
