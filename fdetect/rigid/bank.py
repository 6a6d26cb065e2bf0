"""Detectors that compare an image with reference images: how far its embedding lies from those of real photographs.

The images of a bank must be none of those that set a threshold or are tested: the distance of an image to itself is 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fdetect.errors import DataError, ParameterError
from fdetect.images import Geometry
from fdetect.rigid.base import Bank, detector
from fdetect.rigid.references import DECIMALS, OnBank, centred, kept, nearest_distances

__all__ = ["Knn", "Mahalanobis", "Subspace", "UnivfdNn", "univfd_nn_resized"]


@detector
@dataclass(frozen=True)
class Knn(OnBank):
    """Distance to real photographs: the mean cosine distance to the k nearest of a bank of real images.

    (N, D) float32 for `clean`, bank `reals` (n, D) -> (N,) float64 in 0..2, larger = more likely generated

        score = mean over the k nearest r of 1 - cos(f(x), f(r))

    Parameters
    ----------
    k : int
        Neighbours, at least 1; 2 as in the reference.
    encoder, dtype, pos_interp : str
        See `fdetect.rigid.base.OnEncoder`.

    Raises
    ------
    DataError
        For fewer than k usable reals, or embeddings of another width than the bank's.
    ParameterError
        For a k below 1.

    References
    ----------
    L. Bergman, N. Cohen, Y. Hoshen: Deep Nearest Neighbor Anomaly Detection, 2020, arXiv 2002.10445: k = 2, squared
    Euclidean distances.  Of vectors of length 1, as here, these are twice the cosine distances; the lengths are taken
    off as in Y. Sun, Y. Ming, X. Zhu, Y. Li: Out-of-Distribution Detection with Deep Nearest Neighbors, ICML 2022,
    arXiv 2204.06507, who take the k-th distance alone.
    """

    k: int = 2
    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {"reals": ("n", "D")}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k < 1:
            raise ParameterError(f"knn: k must be at least 1, got {self.k}")

    def bank(self, reals: Mapping[str, np.ndarray], fakes: Mapping[str, np.ndarray] | None = None) -> Bank:
        """Keep the embeddings of reals: (n, D) float32 for `clean` -> `reals`, without rows that are not usable."""
        return {"reals": kept("knn", "real", reals, self.k)}

    def score(self, *, bank: Bank, **embeddings: np.ndarray) -> np.ndarray:
        """Mean distance to the k nearest: (N, D) float32 for `clean` -> (N,) float64; NaN rows stay NaN."""
        rows = self.rows("knn", bank, embeddings)
        return np.asarray(nearest_distances(rows, bank["reals"], self.k).mean(axis=1))


@detector
@dataclass(frozen=True)
class Mahalanobis(OnBank):
    """Distance to real photographs: the Mahalanobis distance to the mean of a bank of real images.

    (N, D) float32 for `clean`, bank `mean` (D,), `whitening` (D, D) -> (N,) float64, larger = more likely generated

        score = sqrt((f - m)' C^-1 (f - m)),   C = (1 - s) S + s (trace S / D) I,   S = mean of (r - m)(r - m)'
        s = min(1, b / d),   d = |S - (trace S / D) I|^2,   b = (mean of |r - m|^4 - |S|^2) / n

    f is the embedding of x, r those of the n reals, m their mean, |.| the Frobenius norm; s is the shrinkage of Ledoit
    and Wolf, which makes C invertible however few reals there are.  `whitening` W has W W' = C^-1.  Scores are rounded
    to float32.

    Parameters
    ----------
    encoder, dtype, pos_interp : str
        See `fdetect.rigid.base.OnEncoder`.

    Raises
    ------
    DataError
        For fewer than two different usable reals, or embeddings of another width than the bank's.

    References
    ----------
    K. Lee, K. Lee, H. Lee, J. Shin: A Simple Unified Framework for Detecting Out-of-Distribution Samples and
    Adversarial Attacks, NeurIPS 2018, arXiv 1807.03888, equation 2, here with one class; O. Ledoit, M. Wolf 2004,
    J. Multivariate Analysis 88, 10.1016/S0047-259X(03)00096-4, section 3; together in O. Rippel, P. Mertens, D. Merhof
    2020, arXiv 2005.14140.
    """

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {"mean": ("D",), "whitening": ("D", "D")}

    def bank(self, reals: Mapping[str, np.ndarray], fakes: Mapping[str, np.ndarray] | None = None) -> Bank:
        """Mean and inverse root of the covariance of reals: (n, D) float32 for `clean`, unusable rows left out."""
        rows, mean, spread = centred("mahalanobis", reals)
        n, width = rows.shape
        covariance = rows.T @ rows / n
        target = spread / n / width
        d = float((covariance**2).sum()) - width * target**2
        b = (float(((rows**2).sum(axis=1) ** 2).mean()) - float((covariance**2).sum())) / n
        shrinkage = 1.0 if d <= 0 else min(max(b / d, 0.0), 1.0)
        variances, directions = np.linalg.eigh(covariance)
        variances = (1 - shrinkage) * np.maximum(variances, 0) + shrinkage * target
        if not variances.min() > 1e-12 * target:
            raise DataError("mahalanobis: the reals of the bank span too few directions; give more, different ones")
        return {"mean": mean.astype(np.float32), "whitening": (directions / np.sqrt(variances)).astype(np.float32)}

    def score(self, *, bank: Bank, **embeddings: np.ndarray) -> np.ndarray:
        """Length of the whitened difference: (N, D) float32 for `clean` -> (N,) float64; NaN rows stay NaN."""
        rows = self.rows("mahalanobis", bank, embeddings).astype(np.float64) - bank["mean"]
        with np.errstate(invalid="ignore"):
            return _length(rows @ bank["whitening"].astype(np.float64))


@detector
@dataclass(frozen=True)
class Subspace(OnBank):
    """Distance to real photographs: the part of an embedding outside the principal subspace of real images.

    (N, D) float32 for `clean`, bank `mean` (D,), `basis` (D, m) -> (N,) float64, larger = more likely generated

        score = |(I - B B') (f - m)|

    f is the embedding of x, m the mean of the reals' and B their first principal directions: as few as keep `share` of
    their variance, and at most D - 1.  Scores are rounded to float32.

    Parameters
    ----------
    share : float
        Of the variance, in (0, 1).
    encoder, dtype, pos_interp : str
        See `fdetect.rigid.base.OnEncoder`.

    Raises
    ------
    DataError
        For fewer than two different usable reals, or embeddings of another width than the bank's.
    ParameterError
        For a share outside (0, 1).

    References
    ----------
    I. Ndiour, N. Ahuja, O. Tickoo: Out-Of-Distribution Detection With Subspace Techniques And Probabilistic Modeling Of
    Features, 2020, arXiv 2012.04250 (feature reconstruction error).  The share of 0.97 is the default of a public
    implementation of its authors' earlier method (anomalib, DFM; Ahuja et al. 2019, arXiv 1909.11786).
    """

    share: float = 0.97
    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {"mean": ("D",), "basis": ("D", "m")}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share < 1:
            raise ParameterError(f"subspace: share must lie between 0 and 1, got {self.share}")

    def bank(self, reals: Mapping[str, np.ndarray], fakes: Mapping[str, np.ndarray] | None = None) -> Bank:
        """Mean and principal directions of reals: (n, D) float32 for `clean`, unusable rows left out."""
        rows, mean, spread = centred("subspace", reals)
        variances, directions = np.linalg.eigh(rows.T @ rows)  # ascending
        short = np.cumsum(variances[::-1]) < self.share * spread  # of the share, with so many directions
        m = min(int(short.sum()) + 1, rows.shape[1] - 1)
        basis = np.ascontiguousarray(directions[:, ::-1][:, :m])
        return {"mean": mean.astype(np.float32), "basis": basis.astype(np.float32)}

    def score(self, *, bank: Bank, **embeddings: np.ndarray) -> np.ndarray:
        """Length of the residual: (N, D) float32 for `clean` -> (N,) float64; NaN rows stay NaN."""
        rows = self.rows("subspace", bank, embeddings).astype(np.float64) - bank["mean"]
        basis = bank["basis"].astype(np.float64)
        with np.errstate(invalid="ignore"):
            return _length(rows - (rows @ basis) @ basis.T)


@detector
@dataclass(frozen=True)
class UnivfdNn(OnBank):
    """UnivFD's nearest neighbour: whether the closest image of two banks, of reals and of fakes, is a fake.

    (N, D) float32 for `clean`, banks `reals`, `fakes` (n, D) -> (N,) float64, larger = more likely generated

        score = min over reals r of d(f(x), f(r)) - min over fakes g of d(f(x), f(g)),   d = 1 - cos

    Above 0 the nearest image is a fake: the authors' decision.  f is CLIP ViT-L/14's image embedding of the central
    224 x 224 px, without any resize.  Images below that size get a border of zeros, which tells their size: where sizes
    differ between the classes, compare with `univfd_nn_resized`, whose shorter side is resized to 224 px first.  The
    bank of fakes knows generators, so that this is no method for generators unseen unless the benchmark says so.

    Parameters
    ----------
    resize : bool
        Shorter side to the encoder's size (bicubic) before the crop; the authors do not.
    encoder, dtype, pos_interp : str
        See `fdetect.rigid.base.OnEncoder`; the banks of the authors are ProGAN's training set.

    Raises
    ------
    DataError
        For a bank without a usable image, or embeddings of another width than the banks'.

    References
    ----------
    U. Ojha, Y. Li, Y. J. Lee: Towards Universal Fake Image Detectors that Generalize Across Generative Models,
    CVPR 2023, arXiv 2302.10174, section 4 (nearest neighbour, k = 1, cosine distance), and its authors' code.
    """

    encoder: str = "clip-vit-l14"
    resize: bool = False
    references: ClassVar[str] = "both"
    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {"reals": ("n", "D"), "fakes": ("n_fakes", "D")}

    def geometry(self, space: Any, crop: int) -> Geometry:
        """The authors' centre crop with zeros around smaller images, or a resize before it."""
        size = space.card.size
        return Geometry("resize_crop", size, "bicubic") if self.resize else Geometry("centre_crop", size)

    def bank(self, reals: Mapping[str, np.ndarray], fakes: Mapping[str, np.ndarray] | None = None) -> Bank:
        """Keep the embeddings of both: (n, D) float32 for `clean` -> `reals`, `fakes`, unusable rows left out."""
        mine = kept("univfd_nn", "real", reals, 1)
        return {"reals": mine, "fakes": kept("univfd_nn", "fake", fakes or {"clean": mine[:0]}, 1)}

    def score(self, *, bank: Bank, **embeddings: np.ndarray) -> np.ndarray:
        """Difference of the two nearest distances: (N, D) float32 for `clean` -> (N,) float64; NaN rows stay NaN."""
        rows = self.rows("univfd_nn", bank, embeddings)
        to_real, to_fake = (nearest_distances(rows, bank[name], 1)[:, 0] for name in ("reals", "fakes"))
        return np.asarray(np.round(to_real - to_fake, DECIMALS))


univfd_nn_resized = detector.variant(UnivfdNn, "univfd_nn_resized", resize=True)


def _length(rows: np.ndarray) -> np.ndarray:
    """Length of each row, rounded to float32; NaN where a row is not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        found = np.sqrt((rows * rows).sum(axis=1)).astype(np.float32).astype(np.float64)
    return np.asarray(np.where(np.isfinite(found), found, np.nan))
