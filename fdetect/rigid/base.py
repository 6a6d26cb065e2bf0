"""What every training-free detector is made of: a space, views of an image in it, and a score that compares them.

A detector is a frozen dataclass that inherits from the `On...` of its space.  `views()` says what to look at,
`score()` compares the vectors, and `prepare` turns it into engine tasks after it has found the weights.  Tasks of
equal name compute the same thing, so that detectors share the views they have in common, in a run and in the store.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from fdetect.config import fingerprint
from fdetect.errors import ParameterError, WeightsError
from fdetect.images import Geometry
from fdetect.nets.autoencoders import autoencoder_card
from fdetect.nets.cards import encoder_card
from fdetect.nets.catalogue import check_dtype
from fdetect.nets.distances import distance
from fdetect.nets.weights import INSTALL_DEEP, torch_missing
from fdetect.registry import Registry
from fdetect.rigid.spaces import EncoderSpace, FeatureSpace, ReconstructionSpace, Space
from fdetect.rigid.views import View
from fdetect.types import Batch

__all__ = [
    "Bank", "Detector", "OnAutoencoder", "OnEncoder", "OnFeature", "ViewTask", "check_positive", "check_views",
    "cosine", "detector", "drift", "prepare",
]  # fmt: skip

detector = Registry("detector")  # frozen dataclasses with the methods of `Detector`

_ON_GPU = 256  # images of a gathered batch

Bank = Mapping[str, np.ndarray]  # what is kept of reference images, by name


class Detector(Protocol):
    """A training-free detector; its settings are its fields.

    Where `references` is not empty, `bank(...)` comes first, and `score` takes what it returned as `bank=`.
    """

    references: ClassVar[str]  # "": none; "reals": a bank of real images; "both": banks of reals and of fakes

    def space(self, *, device: str = "auto", embed: Callable[[str], Any] | None = None) -> Space:
        """Find the weights and return where views are compared."""
    def geometry(self, space: Any, crop: int) -> Geometry:
        """How an image comes to the size that the views start from; `crop` is the run's C."""
    def views(self) -> dict[str, View]:
        """Return the views; their names are the arguments of `score`."""
    def score(self, **vectors: Any) -> np.ndarray:
        """(N, D) float32 for each view -> (N,) float64, larger = more likely generated; NaN rows stay NaN."""


@dataclass(frozen=True)
class _On:
    references: ClassVar[str] = ""
    unit: ClassVar[tuple[str, str]] = ("", "")

    def views(self) -> dict[str, View]:
        raise NotImplementedError

    @property
    def passes(self) -> int:
        """What an image costs where this detector runs alone, in `unit`s."""
        return len(self.views())

    @property
    def cost(self) -> str:
        """The same in words."""
        return f"{self.passes} {self.unit[self.passes != 1]}"


@dataclass(frozen=True)
class OnEncoder(_On):
    """Settings of every detector that compares embeddings of an encoder.

    encoder     a name of `fdetect weights list`, a hub id (org/name@revision), or a folder
    dtype       "float32", or "bfloat16" for matrix products under autocast (faster, another result)
    pos_interp  how a position table is resampled: "authors", or "scale_factor", "size" or "none" where the
                architecture has it, see `fdetect.nets.architectures`
    """

    unit: ClassVar[tuple[str, str]] = ("encoder pass", "encoder passes")

    encoder: str = "dinov2-large"
    dtype: str = "float32"
    pos_interp: str = "authors"

    def __post_init__(self) -> None:
        check_dtype(self.dtype)

    def space(self, *, device: str = "auto", **_: Any) -> EncoderSpace:
        """Find the weights; raises WeightsError, with its fix, before torch is imported, ParameterError for a size."""
        _need_torch()
        card = encoder_card(self.encoder)
        if card.size % card.patch:
            raise ParameterError(
                f"encoder '{self.encoder}': its images of {card.size} px do not divide into patches of {card.patch} px"
            )
        from fdetect.nets.architectures import resolve_positions
        from fdetect.nets.encoders import resolve_device

        device = resolve_device(device, dtype=self.dtype)
        return EncoderSpace(card, self.dtype, resolve_positions(card, self.pos_interp), device)


@dataclass(frozen=True)
class OnAutoencoder(_On):
    """Settings of every detector that compares an image with its reconstruction.

    autoencoder  one name of `fdetect weights list`, a hub id or a folder, or several joined by "+"
    distance     fdetect list distances
    dtype        "float32", or "bfloat16" for products under autocast (faster, another result)
    """

    unit: ClassVar[tuple[str, str]] = ("round trip", "round trips")

    autoencoder: str = "sd1-vae+sd2-vae+kandinsky2-movq"
    distance: str = "lpips"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        check_dtype(self.dtype)
        distance.get(self.distance)  # a misspelt one is said whether weights are here or not

    @property
    def passes(self) -> int:
        """Round trips for each image: views times autoencoders."""
        return len(self.views()) * len(self.autoencoder.split("+"))

    def space(self, *, device: str = "auto", **_: Any) -> ReconstructionSpace:
        """Find the weights; raises WeightsError, with its fix, before torch is imported."""
        _need_torch()
        cards = tuple(autoencoder_card(name) for name in self.autoencoder.split("+"))
        distance.get(self.distance).digest()  # raises where its weights are absent
        from fdetect.nets.encoders import resolve_device

        return ReconstructionSpace(cards, self.distance, self.dtype, resolve_device(device, dtype=self.dtype))


@dataclass(frozen=True)
class OnFeature(_On):
    """Settings of every detector in the space of a hand-crafted feature: `feature` is its name."""

    unit: ClassVar[tuple[str, str]] = ("computation of the feature", "computations of the feature")

    feature: str = "local_binary_patterns"

    def space(self, *, embed: Callable[[str], Any] | None = None, **_: Any) -> FeatureSpace:
        """Return the space of the feature that `embed` makes of its name; raises ParameterError without one."""
        if embed is None:
            raise ParameterError("a detector in the space of a feature needs the function that makes features")
        return FeatureSpace(embed(self.feature))


@dataclass(frozen=True)
class ViewTask:
    """The engine task of one view: (B, H, W, 3) uint8 -> (B, D) float32.

    `view_name` is the argument of `score` that its rows belong to; it is no part of what is computed.
    """

    view_name: str
    view: View
    geometry: Geometry
    space: Any

    @property
    def name(self) -> str:
        """What it is in words, and a digest of everything else beside the condition that a row depends on."""
        return f"{self.space.kind}-{self.view.label}-{fingerprint(self.settings, self.geometry)[:8]}"

    @property
    def version(self) -> str:
        """The space's."""
        return str(self.space.version)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything beside the pixels that changes a row, as JSON values."""
        return {"view": self.view.settings, **self.space.settings}

    @property
    def columns(self) -> tuple[str, ...]:
        """The space's."""
        return tuple(self.space.columns)

    @property
    def in_process(self) -> bool:
        """Whether it runs in the device lane."""
        return bool(self.space.in_process)

    @property
    def group(self) -> Hashable | None:
        """Tasks of one group embed their views together."""
        return None if self.space.group is None else (self.space.kind, self.space.group)

    @property
    def device(self) -> str:
        """Where its network runs; "cpu" where there is none."""
        return str(getattr(self.space, "device", "cpu"))

    @property
    def batch(self) -> int:
        """Images that it likes at a time: enough to keep a GPU busy; on a CPU, as they come."""
        return _ON_GPU if self.device != "cpu" else 0

    def prepare(self) -> None:
        """Compile what the space compiles on first use."""
        if hasattr(self.space, "prepare"):
            self.space.prepare()

    def __call__(self, batch: Batch) -> np.ndarray:
        """Embed this view alone."""
        return self.together(batch, [self])[0]

    def together(self, batch: Batch, tasks: Sequence[ViewTask]) -> list[np.ndarray]:
        """Embed the views of tasks of one group in one go."""
        found: list[np.ndarray] = self.space.embed(batch, [(task.space, task.view) for task in tasks])
        return found


def prepare(
    instance: Any, *, device: str = "auto", crop: int = 224, embed: Callable[[str], Any] | None = None
) -> tuple[ViewTask, ...]:
    """Return one engine task per view of a detector, in the order of its `views()`.

    `crop` is the run's C in px, `embed` makes an engine task of a feature's name for detectors in that space.
    Raises WeightsError, with its fix, before torch is imported, where torch or the weights are absent;
    BackendError for a device that cannot run.
    """
    space = instance.space(device=device, embed=embed)
    geometry = instance.geometry(space, crop)
    return tuple(ViewTask(name, view, geometry, space) for name, view in instance.views().items())


def _need_torch() -> None:
    if missing := torch_missing():
        raise WeightsError(missing, INSTALL_DEEP)


def check_views(name: str, wanted: Mapping[str, View], given: Mapping[str, Any]) -> None:
    """Raise ParameterError where the arguments of `score` are not the views."""
    if sorted(wanted) != sorted(given):
        raise ParameterError(f"{name}: score needs the views {', '.join(wanted)}; got {', '.join(given)}")


def check_positive(name: str, **settings: float) -> None:
    """Raise ParameterError, in the name of a detector, for a setting that is no finite number above 0."""
    for setting, value in settings.items():
        if not (math.isfinite(value) and value > 0):
            raise ParameterError(f"{name}: {setting} must be a number above 0, got {value}")


def drift(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """1 - mean cosine over pairs of views: (N, D) float32 each -> (N,) float64 in 0..2; NaN rows stay NaN."""
    return np.asarray(1.0 - np.mean([cosine(a, b) for a, b in pairs], axis=0))


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of each pair of rows: (N, D), (N, D) -> (N,) float64; NaN where a row is zero or not finite."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.asarray(found)
