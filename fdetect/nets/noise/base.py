"""What a generator from noise is: a registered frozen dataclass of sizes that makes a network.  No torch at import.

    config = noise_generator.read("gan:width=24")()   # or noise_generator.get("gan")(), or Gan(width=24)
    model = build(config, seed=0)
    loss = training_loss(model, images)               # through the one loop of `fdetect.nets.training`
    pictures = sample(model, 100, seed=1)             # (100, 64, 64, 3) uint8

They are no state of the art: they are three ways to turn noise into pictures of one set, so that a detector which was
trained on one of them can be tested on the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fdetect.errors import ParameterError
from fdetect.nets.sizes import Sizes
from fdetect.registry import Registry

if TYPE_CHECKING:
    import torch

    from fdetect.nets.noise.blocks import NoiseModel

__all__ = ["SIDE", "NoiseConfig", "build", "noise_generator", "sample", "training_loss"]

noise_generator = Registry("noise generator")

SIDE = 64  # px of every picture
_MOST = 1024


@dataclass(frozen=True)
class NoiseConfig(Sizes):
    """The sizes of a generator from noise; a subclass is an architecture and may add settings.

    width      channels of the finest level, 1 to 1024; coarser levels have multiples of it
    averaging  share that the running mean of the weights keeps at each step, 0 to below 1: samples are made with the
               mean, which sways less than the last weights

    Raises ParameterError for values outside these ranges.
    """

    width: int = 24
    averaging: float = 0.995

    def __post_init__(self) -> None:
        self._check_whole("width", 1, _MOST)
        self._check_number("averaging")
        if self.averaging >= 1:
            raise ParameterError(f"{self.architecture}: averaging must be below 1, got {self.averaging!r}")

    @property
    def architecture(self) -> str:
        """The name in the registry."""
        return noise_generator.of(type(self)).name

    def model(self) -> NoiseModel:
        """Return the network, its tensors not yet filled."""
        raise NotImplementedError


def build(config: NoiseConfig, *, seed: int = 0) -> NoiseModel:
    """Return the network of a configuration in training mode, float32 on the CPU; the seed decides every tensor.

    Weights are normal with variance 2 / fan-in (He et al. 2015, "Delving deep into rectifiers", equation 10), those of
    layers named `last` have a tenth of that deviation, and biases are 0.  Torch's global generator is not touched.
    """
    from fdetect.nets.noise.blocks import initialised

    return initialised(config, seed)


def training_loss(model: NoiseModel, images: torch.Tensor) -> torch.Tensor:
    """Return what training minimises, with gradients: (B, 3, 64, 64) float32 RGB 0..1 -> ().

    In training mode the running mean of the weights goes on by one step.  Noise is drawn from torch's generator, which
    the training loop seeds anew for every step.  Raises ParameterError for pictures of another size.
    """
    return model.loss(images)


def sample(model: NoiseModel, count: int, seed: int = 0) -> np.ndarray:
    """Make pictures: -> (count, 64, 64, 3) uint8 RGB; picture k depends on the weights, the seed and k alone.

    They are computed one at a time, since convolutions of several pictures at once may sum in another order.  Raises
    ParameterError for a negative count.
    """
    from fdetect.nets.noise.blocks import sampled

    if count < 0:
        raise ParameterError(f"{model.config.architecture} makes 0 or more pictures, not {count}")
    return np.asarray(sampled(model, count, seed))
