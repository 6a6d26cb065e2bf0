"""A detector network as a source of columns, for any head and for the branch `trunk` of the fused detector.

    network:weights=NAME_OR_FOLDER        its logit, and its embedding: what its last layer sees

It sees the crop of the condition on the grid of 8, never resized.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from fdetect.classifiers.calibrated import identity
from fdetect.classifiers.embedding import is_embedding
from fdetect.errors import ParameterError, WeightsError
from fdetect.nets.detector_cards import GIVE_DETECTOR, training_contents
from fdetect.registry import Registry
from fdetect.rigid import ViewTask, prepare
from fdetect.rigid.pretrained import LogitSpace, Pretrained

__all__ = ["LOGIT", "NETWORK", "NETWORK_AS_FEATURES", "NETWORK_OF_MODEL", "NetworkTask", "is_network",
           "looks_through_network", "network_task"]  # fmt: skip

NETWORK, LOGIT = "network", "logit"

# how a command takes another folder of weights
NETWORK_AS_FEATURES, NETWORK_OF_MODEL = f"--features {NETWORK}:weights=FOLDER", "--network FOLDER"

_choice = Registry(NETWORK)


@dataclass(frozen=True)
class NetworkSpace(LogitSpace):
    """The logit and the embedding of a network: (B, 3, H, W) RGB 0..1 -> (B, 1 + D) float32."""

    kind: ClassVar[str] = NETWORK

    def look(self, found: Any, images: Any) -> np.ndarray:
        """Both in one pass."""
        return np.asarray(found.with_embedding(images))


@_choice(name=NETWORK)
@dataclass(frozen=True)
class NetworkLook(Pretrained):
    """The crop as it is: (B, H, W, 3) uint8 -> (B, 1 + D) float32, D of the network's embedding.

    Parameters
    ----------
    weights, stem : str
        See `fdetect.rigid.pretrained.Pretrained`; a network that comes with the package goes by its name.
    """

    def space(self, *, device: str = "auto", **more: Any) -> NetworkSpace:
        """Find the weights and learn the length of the embedding; raises ParameterError for a head on an encoder."""
        found = super().space(device=device, **more)
        if found.encoder:
            raise ParameterError(f"{NETWORK}: {self.weights} is a head on an encoder, no network; take the encoder "
                                 "itself as embedding:encoder=NAME")  # fmt: skip
        from fdetect.nets.pretrained import load_pretrained

        dim = load_pretrained(self.weights, stem=found.card.stem, device=found.device).dim
        return NetworkSpace(found.card, None, found.device, (LOGIT, *(f"e{k:03d}" for k in range(dim))))


@dataclass(frozen=True)
class NetworkTask(ViewTask):
    """The engine task of a network's columns.

    Named after its architecture and its weights, `network-npr-3f9a12bc`; columns `...:logit`, `...:e000` to D - 1.
    """

    instance: NetworkLook

    @property
    def name(self) -> str:
        """The card's name without its stem, behind `network-`."""
        return f"{NETWORK}-{self.space.card.name.partition(' ')[0]}"

    @property
    def columns(self) -> tuple[str, ...]:
        """1 + D names."""
        return tuple(f"{self.name}:{column}" for column in self.space.columns)

    @property
    def identity(self) -> dict[str, Any]:
        """What rows depend on: code, hashes and settings, but neither where weights lie nor the device."""
        found: dict[str, Any] = json.loads(json.dumps(identity(self.instance, self.space)))
        return found

    @cached_property
    def trained_on(self) -> frozenset[str] | None:
        """Content ids of the images that the network was trained on, as its card.json lists them; None = not stated."""
        return training_contents(self.instance.weights)


def is_network(name: str) -> bool:
    """Whether a choice of features is that of a detector network."""
    return name.partition(":")[0] == NETWORK


def looks_through_network(name: str) -> bool:
    """Whether a choice of features needs weights: an encoder's embedding, or a detector network."""
    return is_network(name) or is_embedding(name)


def network_task(
    name: str, *, crop: int, device: str = "auto", weights: str = "", given_as: str = NETWORK_AS_FEATURES
) -> NetworkTask:
    """Return the engine task of `network`, with settings behind it such as `network:weights=FOLDER`.

    `weights` says where they are instead; `given_as` is how the command at work takes a folder.
    Raises WeightsError, with its fix, where torch or the weights are absent; UnknownName and ParameterError for a
    setting.
    """
    entry = _choice.read(name)
    instance: NetworkLook = (entry.configured(weights=weights) if weights else entry)()
    try:
        (task,) = prepare(instance, device=device, crop=crop)
    except WeightsError as error:
        fix = error.fix.replace(GIVE_DETECTOR.rpartition(" ")[2], given_as)
        raise type(error)(error.reason, fix) from None
    return NetworkTask(task.view_name, task.view, task.geometry, task.space, instance)
