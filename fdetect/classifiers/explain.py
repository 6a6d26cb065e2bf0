"""What an explanation of a detector is, for a network, for a linear head and for the fused detector.

    view = NetworkView.load(folder)
    explain_picture(view, pixels, ("patch_logits", "grad_cam"))    # (H, W, 3) uint8 -> NetworkExplanation
    explain_head(fitted, values)                                   # (D,) columns of an image -> HeadExplanation
    explain_fused(fitted, vectors)                                 # one image's branches -> FusedExplanation

Pixels come as stored, (H, W, 3) uint8; torch is loaded with the first network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fdetect.classifiers.heads import FittedHead
from fdetect.classifiers.importance import families_of
from fdetect.errors import DataError, ParameterError, WeightsError
from fdetect.nets.explaining import Patch, explanation
from fdetect.nets.weights import INSTALL_DEEP, torch_missing
from fdetect.registry import Entry

if TYPE_CHECKING:
    from fdetect.classifiers.fused import FittedFused

__all__ = [
    "ALL", "FamilyShare", "FusedExplanation", "HeadExplanation", "NetworkExplanation", "NetworkView", "explain_fused",
    "explain_head", "explain_picture", "read_methods",
]  # fmt: skip

ALL = "all"


@dataclass(frozen=True, eq=False)
class NetworkView:
    """A detector network as it is asked about pictures: uint8 in, numbers out."""

    model: Any  # DetectorNetwork
    name: str

    @classmethod
    def load(cls, folder: Path) -> NetworkView:
        """Load a network's folder; raises WeightsError where it, or torch, is absent or damaged."""
        if missing := torch_missing():
            raise WeightsError(missing, INSTALL_DEEP)
        from fdetect.nets.detectors.loading import load_network_folder

        model = load_network_folder(folder)
        return cls(model, model.config.architecture)

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """(B, H, W, 3) uint8 -> (B,) float64, larger = more likely generated."""
        return self.with_branches(pixels)[0]

    def with_branches(self, pixels: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return logits and, where the network has branches, the logit of each by name, (B,) float64 all of them."""
        from fdetect.nets.explaining import logits_of

        logits, branches = logits_of(self.model, _images(pixels))
        return _numbers(logits), {name: _numbers(one) for name, one in branches.items()}

    def maps(self, pixels: np.ndarray, method: str | Entry) -> np.ndarray:
        """(B, H, W, 3) uint8 -> (B, H, W) float32 by a registered explanation; errors are those of `explain`."""
        from fdetect.nets.explaining import explain

        entry = explanation.read(method) if isinstance(method, str) else method
        found: np.ndarray[Any, Any] = explain(self.model, _images(pixels), entry).cpu().numpy()
        return found

    def patches(self, pixels: np.ndarray, count: int = 5) -> tuple[Patch, ...]:
        """(H, W, 3) uint8 -> the places that speak most for generated; none where the network has no such logits."""
        from fdetect.nets.explaining import top_patches

        try:
            return tuple(top_patches(self.model, _images(pixels[None]), count=count)[0])
        except ParameterError:
            return ()

    def randomised(self, seed: int) -> NetworkView:
        """Return the same network with weights drawn anew."""
        from fdetect.nets.explaining.randomising import randomised

        return NetworkView(randomised(self.model, seed=seed), f"{self.name}, random weights")


@dataclass(frozen=True, eq=False)
class NetworkExplanation:
    """What a network says of one picture, and where it says so.

    logit     larger = more likely generated;  `branches`: the logit of each branch, where it has some
    maps      by method, (H, W) float32
    absent    by method, why there is no map
    patches   the places that speak most for generated, the strongest first
    """

    logit: float
    branches: Mapping[str, float]
    maps: Mapping[str, np.ndarray]
    absent: Mapping[str, str]
    patches: tuple[Patch, ...]


@dataclass(frozen=True)
class FamilyShare:
    """What a family of columns adds to a score; `top` are its columns that add most, either way, with what they add."""

    family: str
    n_columns: int
    adds: float
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class HeadExplanation:
    """The score of a linear head as a sum: score = constant + sum over families of `adds`."""

    score: float
    constant: float
    families: tuple[FamilyShare, ...]


@dataclass(frozen=True)
class FusedExplanation:
    """The score of the fused detector as a sum over branches: each one's own logit, its share, and what it adds.

    logits  NaN where a branch is absent, whose share is 0
    top     of each branch that is there, the columns without which its logit would change most, and by how much: what
            it loses where one is put at its mean in training (`FittedFused.column_parts`)
    """

    score: float
    logits: Mapping[str, float]
    shares: Mapping[str, float]
    adds: Mapping[str, float]
    top: Mapping[str, tuple[tuple[str, float], ...]]


def read_methods(names: Sequence[str]) -> tuple[Entry, ...]:
    """Return the explanations that are named, with settings behind a colon; "all" stands for every one.

    Raises UnknownName and ParameterError as `Registry.read`, and ParameterError where none is named.
    """
    if not names:
        raise ParameterError(f"no explanation is named; give all, or some of {', '.join(explanation.names())}")
    found = [one for name in names for one in (explanation if name == ALL else (explanation.read(name),))]
    return tuple({entry.name: entry for entry in found}.values())


def explain_picture(view: NetworkView, pixels: np.ndarray, methods: Sequence[Entry]) -> NetworkExplanation:
    """Explain what a network says of one picture, (H, W, 3) uint8; a method it does not have is named as absent.

    Raises ParameterError where the picture is too small, DataError where the network gives no numbers.
    """
    logits, branches = view.with_branches(pixels[None])
    maps, absent = dict[str, np.ndarray](), dict[str, str]()
    for method in methods:
        try:
            maps[method.name] = view.maps(pixels[None], method)[0]
        except ParameterError as error:
            absent[method.name] = str(error)
    named = {name: float(logit[0]) for name, logit in branches.items()}
    return NetworkExplanation(float(logits[0]), named, maps, absent, view.patches(pixels))


def explain_head(fitted: FittedHead, values: np.ndarray, *, n_top: int = 3) -> HeadExplanation:
    """Return what each family of features adds to a linear head's score: (D,) columns of one image.

        score = constant + sum over columns of w (x - mean) / std

    The constant is the score of an image that is average in every column.  Columns that say the same share what they
    say in a way that the data of the fit decided.
    Raises ParameterError for a head that is no such sum, DataError for columns that are not finite.
    """
    if not np.isfinite(values).all():
        raise DataError("the image has features that are no finite numbers, so there is no score to explain")
    score = float(fitted.score(np.asarray(values, np.float32)[None])[0])
    adds = _weights(fitted) * _standardised(fitted, values)
    names = np.asarray(families_of(fitted.columns), dtype=object)
    shares = []
    for family in dict.fromkeys(names):
        mine = np.flatnonzero(names == family)
        order = mine[np.argsort(-np.abs(adds[mine]), kind="stable")][:n_top]
        top = tuple((fitted.columns[k], float(adds[k])) for k in order)
        shares.append(FamilyShare(str(family), len(mine), float(adds[mine].sum()), top))
    return HeadExplanation(score, score - float(adds.sum()), tuple(sorted(shares, key=lambda one: -abs(one.adds))))


def explain_fused(fitted: FittedFused, vectors: Mapping[str, np.ndarray], *, n_top: int = 3) -> FusedExplanation:
    """Return what each branch says of one image and adds to the fused score: by branch, (1, D) columns.

    Raises DataError where no branch is there.
    """
    score = float(fitted.score(vectors)[0])
    if not np.isfinite(score):
        raise DataError("the image has no branch whose columns are finite numbers, so there is no score to explain")
    parts = (fitted.branch_logits(vectors), fitted.gates(vectors), fitted.contributions(vectors))
    logits, shares, adds = ({name: float(values[0]) for name, values in one.items()} for one in parts)
    top = {}
    for name, values in vectors.items():
        if np.isfinite(logits[name]):
            moved = fitted.column_parts(name, values[0])
            order = np.argsort(-np.abs(moved), kind="stable")[:n_top]
            top[name] = tuple((fitted.columns[name][k], float(moved[k])) for k in order)
    return FusedExplanation(score, logits, shares, adds, top)


def _weights(fitted: FittedHead) -> np.ndarray:
    """Return the weight of every standardised column, (D,) float64."""
    steps = getattr(fitted.pipeline, "steps", [])
    last = steps[-1][1] if steps else fitted.pipeline
    weights = np.ravel(getattr(last, "coef_", np.zeros(0)))
    known = all(type(step).__name__ == "StandardScaler" for _, step in steps[:-1])
    if len(weights) != len(fitted.columns) or hasattr(last, "support_vectors_") or not known:
        raise ParameterError(f"the score of head {fitted.name} is no sum over columns, so no family adds a part to it; "
                             "fit a linear head, such as logreg or lda")  # fmt: skip
    return weights.astype(np.float64)


def _standardised(fitted: FittedHead, values: np.ndarray) -> np.ndarray:
    rows = np.asarray(values, np.float32)[None].astype(np.float64)
    for _, step in getattr(fitted.pipeline, "steps", [])[:-1]:
        rows = step.transform(rows)
    return np.asarray(rows[0])


def _images(pixels: np.ndarray) -> Any:
    """(B, H, W, 3) uint8 -> (B, 3, H, W) float32 in 0..1."""
    import torch

    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[-1] != 3:
        raise ParameterError(f"pictures are (B, H, W, 3) uint8; got {pixels.shape} {pixels.dtype}")
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).float().div(255)


def _numbers(values: Any) -> np.ndarray:
    found: np.ndarray[Any, Any] = values.detach().double().cpu().numpy()
    return found
