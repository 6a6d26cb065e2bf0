"""What every training-free detector is made of: views of an image, one engine task a view, a score over embeddings.

A detector is a frozen dataclass.  `views()` says what to encode, `score()` compares the embeddings, and `prepare`
turns it into engine tasks after it has found the weights.  Nothing here imports torch before that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version as library_version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from fdetect.backend import asnumpy
from fdetect.config import fingerprint
from fdetect.errors import ParameterError, WeightsError
from fdetect.images import Geometry
from fdetect.nets import weights as weight_files
from fdetect.nets.weights import EncoderCard, encoder_card, find_weights, torch_missing
from fdetect.perturb import rng_for
from fdetect.registry import Registry, source_digest
from fdetect.types import Batch

if TYPE_CHECKING:
    import torch

__all__ = ["Detector", "EncodeView", "View", "apply_view", "detector", "prepare"]

detector = Registry("detector")  # frozen dataclasses with the methods of `Detector`


@dataclass(frozen=True)
class View:
    """What is done to the normalised image before it is encoded.

    kind     "clean" (nothing) or "noise" (Gaussian, drawn from the image's content)
    sigma    standard deviation of the noise, in the units of `space`
    space    "normalized": added after the mean/std normalisation; "pixel": added to RGB in 0..1 before it
    draw     which of several independent draws
    """

    kind: str = "clean"
    sigma: float = 0.0
    space: str = ""
    draw: int = 0

    @property
    def label(self) -> str:
        """A short name that differs wherever the views differ."""
        return "clean" if self.kind == "clean" else f"{self.kind}-{self.space}-{self.sigma:g}-{self.draw}"


class Detector(Protocol):
    """A training-free detector: which encoder sees which views, and how the embeddings become a score."""

    @property
    def encoder(self) -> str:
        """Hub id of the encoder, as it stands in the hub cache."""
    @property
    def weights(self) -> str:
        """A folder to use in place of the hub cache, or an empty string."""
    @property
    def dtype(self) -> str:
        """"float32" or "bfloat16"."""
    @property
    def pos_interp(self) -> str:
        """How the position table is resampled: "scale_factor" or "size"."""
    @property
    def geometry(self) -> Geometry:
        """How an image comes to the encoder's size."""

    def views(self) -> dict[str, View]:
        """Return the views to encode; their names are the arguments of `score`."""

    def score(self, **embeddings: np.ndarray) -> np.ndarray:
        """(N, D) float32 for each view -> (N,) float64, larger = more likely generated."""


@dataclass(frozen=True)
class EncodeView:
    """The engine task that encodes one view: (B, size, size, 3) uint8 -> (B, D) float32.

    `view_name` is the argument of `score` that its rows belong to.  Tasks of equal name compute the same thing,
    whichever detector asked for them.  It runs in the parent process, where the network is loaded once.
    """

    view_name: str
    view: View
    geometry: Geometry
    folder: Path
    card: EncoderCard
    dtype: str
    pos_interp: str
    device: str
    in_process: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """The view in words, and a digest of everything else that a row depends on."""
        return f"encode-{self.view.label}-{fingerprint(self.settings)[:8]}"

    @property
    def version(self) -> str:
        """Digest of the code that encodes, and the libraries that compute."""
        libraries = " ".join(f"{name} {library_version(name)}" for name in ("torch", "transformers"))
        encoders = str(Path(weight_files.__file__).with_name("encoders.py"))
        return f"{source_digest(__file__, encoders)} {libraries}"

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything beside the pixels that changes a row, as JSON values; where the weights lie is not among it."""
        return {
            "view": {
                "kind": self.view.kind,
                "sigma": self.view.sigma,
                "noise_space": self.view.space,
                "draw": self.view.draw,
            },
            "encoder": self.card.name,
            "sha256": self.card.sha256,
            "config_sha256": self.card.config_sha256,
            "dtype": self.dtype,
            "pos_interp": self.pos_interp,
            "device": self.device,
        }

    @property
    def columns(self) -> tuple[str, ...]:
        """D names: e0, e1, ..."""
        return tuple(f"e{k}" for k in range(self.card.dim))

    def __call__(self, batch: Batch) -> np.ndarray:
        """Normalise, apply the view, encode; raises WeightsError if the network does not load."""
        from fdetect.nets.encoders import load_encoder, normalise

        encoder = load_encoder(
            self.folder, pos_interp=self.pos_interp, dtype=self.dtype, size=self.geometry.size, device=self.device
        )
        if (encoder.card.sha256, encoder.card.config_sha256) != (self.card.sha256, self.card.config_sha256):
            raise WeightsError(f"the weights of {self.card.source} changed during the run", "start again")
        images = normalise(asnumpy(batch.rgb8))
        return encoder.encode(apply_view(images, self.view, ids=batch.ids, seed=batch.seed))


def prepare(instance: Detector, *, device: str = "auto") -> tuple[EncodeView, ...]:
    """Return one engine task per view of a detector, in the order of its `views()`.

    Raises WeightsError, with its fix, before torch is imported, where torch or the weights are absent;
    ParameterError where the geometry does not fit the encoder's patch; BackendError for a device that cannot run.
    """
    if missing := torch_missing():
        raise WeightsError(missing, weight_files.INSTALL_DEEP)
    source = instance.weights or instance.encoder
    folder, card = find_weights(source).resolve(), encoder_card(source)
    size = instance.geometry.size
    if size < card.patch or size % card.patch:
        raise ParameterError(f"a geometry of {size} px does not fit {source}: its patch is {card.patch} px")
    from fdetect.nets.encoders import resolve_device

    device = resolve_device(device, dtype=instance.dtype)
    common = (instance.geometry, folder, card, instance.dtype, instance.pos_interp, device)
    return tuple(EncodeView(name, view, *common) for name, view in instance.views().items())


def apply_view(images: torch.Tensor, view: View, *, ids: tuple[str, ...], seed: int) -> torch.Tensor:
    """Return the images as the encoder shall see them: (B, 3, H, W) float32, normalised -> the same.

        normalized  x + sigma * n          pixel  x + sigma * n / std, which is ((rgb + sigma * n) - mean) / std

    n is standard normal, drawn for each image from `rng_for(seed, id, "rigid-noise-<draw>")`, so neither the batch
    nor its order changes it; nothing is clamped.  Raises ParameterError for a kind or a space that does not exist.
    """
    import torch

    if view.kind == "clean":
        return images
    if view.kind != "noise" or view.space not in ("normalized", "pixel"):
        raise ParameterError(f"no view '{view.label}' (clean, or noise in the space normalized or pixel)")
    shape, purpose = tuple(images.shape[1:]), f"rigid-noise-{view.draw}"
    drawn = [rng_for(seed, id, purpose).standard_normal(shape, dtype=np.float32) for id in ids]
    noise = torch.from_numpy(np.stack(drawn)) * view.sigma
    if view.space == "pixel":
        noise = noise / torch.tensor(weight_files.IMAGENET_STD).view(3, 1, 1)
    return images + noise
