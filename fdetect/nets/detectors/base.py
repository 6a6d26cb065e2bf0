"""What a detector network is: a registered frozen dataclass of sizes that makes a network.  No torch at import.

    config = network.read("npr:factor=4")()          # or network.get("npr")(), or Npr(factor=4)
    model = build(config, seed=0)                    # (B, 3, H, W) RGB 0..1 -> (B,) logit, larger = generated
    written = config.to_json()                       # config.json; config_from_json reads it back

A network sees pictures as they are, without a resize: it takes any size from `least` px, unless it says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from fdetect.nets.sizes import Sizes, stated, written
from fdetect.registry import Registry

if TYPE_CHECKING:
    from fdetect.nets.detectors.model import DetectorNetwork

__all__ = ["CLASS_NAME", "FromResnet", "NetworkConfig", "build", "config_from_json", "network"]

network = Registry("network")

CLASS_NAME = "DetectorNetwork"  # `_class_name` of config.json


@dataclass(frozen=True)
class NetworkConfig(Sizes):
    """The sizes of a detector network; a subclass is an architecture and adds settings.

    RECIPE  how its authors train it, as settings of `fdetect.nets.training.Schedule` that differ from ours
    LEAST   px that a side must have
    """

    RECIPE: ClassVar[Mapping[str, Any]] = {}
    LEAST: ClassVar[int] = 32

    @property
    def architecture(self) -> str:
        """The name in the registry."""
        return network.of(type(self)).name

    @property
    def recipe(self) -> Mapping[str, Any]:
        """RECIPE, as far as the settings change it."""
        return self.RECIPE

    def model(self) -> DetectorNetwork:
        """Return the network with torch's first values; `build` is what makes them those of a seed."""
        raise NotImplementedError

    def pretrain(self, model: DetectorNetwork) -> None:
        """Fill what training starts from with weights that a setting names; `build` calls it, loading does not.

        Raises WeightsError where they are absent or do not fit.
        """

    def to_json(self) -> dict[str, Any]:
        """Return what config.json holds."""
        return written(network, self, CLASS_NAME)


class FromResnet(NetworkConfig):
    """A network whose trunk may start from a ResNet's weights, which the setting `pretrained` names."""

    pretrained: str

    def pretrain(self, model: DetectorNetwork) -> None:
        """Fill the trunk with the weights that `pretrained` names."""
        if self.pretrained:
            from fdetect.nets.detectors.pretrained import fill_resnet

            fill_resnet(model.get_submodule("trunk"), self.pretrained)


def config_from_json(content: Mapping[str, Any]) -> NetworkConfig:
    """Return the sizes that config.json states: every setting of its architecture, and nothing else.

    Raises ParameterError (UnknownName for an architecture) otherwise.
    """
    config = stated(network, content)
    assert isinstance(config, NetworkConfig)
    return config


def build(config: NetworkConfig, *, seed: int = 0) -> DetectorNetwork:
    """Return the network of a configuration in training mode, float32 on the CPU; the seed decides every tensor.

    Torch's global generator is not touched.  Raises WeightsError where the architecture needs pretrained weights that
    are absent.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: DetectorNetwork = config.model().train()
    config.pretrain(model)
    return model
