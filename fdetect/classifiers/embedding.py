"""Linear probes: the embedding of a frozen encoder as columns that any head reads, beside features or alone.

    embedding:encoder=dinov2-small        the class token after the final norm of that encoder, or what its card says

Source: "linear probes on frozen foundation models", as UnivFD (U. Ojha, Y. Li, Y. J. Lee: Towards Universal Fake Image
Detectors that Generalize Across Generative Models, CVPR 2023, arXiv 2302.10174, section 4.2) has for CLIP.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fdetect.classifiers.calibrated import identity
from fdetect.errors import WeightsError
from fdetect.images import Geometry
from fdetect.registry import Registry
from fdetect.rigid import View, ViewTask, prepare
from fdetect.rigid.base import OnEncoder

__all__ = [
    "AS_FEATURES", "AS_PROBES", "EMBEDDING", "OF_MODEL", "Embedding", "EmbeddingTask", "check_weights",
    "embedding_task", "is_embedding",
]  # fmt: skip

EMBEDDING = "embedding"

# how a command takes another folder of weights; what a missing encoder's fix says
AS_FEATURES, AS_PROBES, OF_MODEL = f"--features {EMBEDDING}:encoder=FOLDER", "--embeddings FOLDER", "--encoder FOLDER"

_choice = Registry(EMBEDDING)


@_choice(name=EMBEDDING)
@dataclass(frozen=True)
class Embedding(OnEncoder):
    """The clean image as its encoder was evaluated: (B, H, W, 3) uint8 -> (B, D) float32, D of the encoder's card.

    Parameters
    ----------
    encoder, dtype, pos_interp : str
        See `fdetect.rigid.base.OnEncoder`.
    """

    def geometry(self, space: Any, crop: int) -> Geometry:
        """The encoder's own size and filter: squashed, or shorter side to that size and a centre crop."""
        card = space.card
        return Geometry("resize_crop" if card.fit == "crop" else "squash", card.size, card.interpolation)

    def views(self) -> dict[str, View]:
        """Return the clean image."""
        return {"clean": View()}


@dataclass(frozen=True)
class EmbeddingTask(ViewTask):
    """The engine task of an embedding.  Its rows go through the encoder together with views of that encoder.

    Named after the encoder, `embedding-dinov2-small`; columns `embedding-dinov2-small:0` ... D - 1.
    """

    instance: Embedding

    @property
    def name(self) -> str:
        """The encoder's name behind `embedding-`."""
        return f"{EMBEDDING}-{self.space.card.name}"

    @property
    def columns(self) -> tuple[str, ...]:
        """D names, known before any data."""
        return tuple(f"{self.name}:{k}" for k in range(self.space.card.dim))

    @property
    def identity(self) -> dict[str, Any]:
        """What rows depend on: code, hashes and settings, but neither where weights lie nor the device."""
        found: dict[str, Any] = json.loads(json.dumps(identity(self.instance, self.space)))
        return found


def is_embedding(name: str) -> bool:
    """Whether a choice of features is that of an embedding."""
    return name.partition(":")[0] == EMBEDDING


def embedding_task(
    name: str, *, crop: int, device: str = "auto", encoder: str = "", given_as: str = AS_FEATURES
) -> EmbeddingTask:
    """Return the engine task of `embedding`, with settings behind it such as `embedding:encoder=dinov2-small`.

    `encoder` says where the weights are instead, as a name, a hub id or a folder; `given_as` is how the command at work
    takes a folder.
    Raises WeightsError, with its fix, before torch is imported, where torch or the weights are absent; UnknownName and
    ParameterError for a setting.
    """
    entry = _choice.read(name)
    instance: Embedding = (entry.configured(encoder=encoder) if encoder else entry)()
    try:
        (task,) = prepare(instance, device=device, crop=crop)
    except WeightsError as error:
        raise type(error)(error.reason, error.fix.replace(OF_MODEL, given_as)) from None
    return EmbeddingTask(task.view_name, task.view, task.geometry, task.space, instance)


def check_weights(name: str, here: Mapping[str, Any], fitted: Mapping[str, Any], fix: str) -> None:
    """Raise WeightsError unless a network's columns are what they were at the fit: the same weights and code.

    fix  how the command at work takes other weights
    """
    for key in sorted({*here, *fitted}):
        if here.get(key) == fitted.get(key):
            continue
        if key == "code":
            raise WeightsError(f"{name} changed since the fit: this version computes otherwise", "fit again")
        then, now = (str(side.get(key))[:20] for side in (fitted, here))
        raise WeightsError(f"{name}: the weights are not those of the fit ({key}: {then} at the fit and {now} here)",
                           f"{fix}, or fit again")  # fmt: skip
