"""What an autoencoder of our own is: a registered frozen dataclass of sizes that makes a network.  No torch at import.

    config = generator.read("nearest:factor=4")()      # or generator.get("nearest")(), or Nearest(factor=4)
    model = build(config, seed=0)                      # encode, decode, forward; RGB 0..1 on both sides
    loss = training_loss(model, images)
    written = config.to_json()                         # config.json; config_from_json reads it back

Most architectures share the encoder, the residual blocks and the loss (blocks.py); they differ in how the decoder
doubles the sides, in what happens to the latent or in what else is asked of the picture, so that what their pictures
differ in is the trace of that step.  `super_resolution` and `pixel` have no latent of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from fdetect.errors import ParameterError
from fdetect.nets.sizes import Sizes, stated, written
from fdetect.registry import Registry

if TYPE_CHECKING:
    import torch

    from fdetect.nets.own.blocks import OwnModel

__all__ = ["CLASS_NAME", "OwnConfig", "build", "config_from_json", "generator", "training_loss"]

generator = Registry("generator")

CLASS_NAME = "OwnAutoencoder"  # `_class_name` of config.json
_MOST = 1024


@dataclass(frozen=True)
class OwnConfig(Sizes):
    """The sizes of an autoencoder; a subclass is an architecture, says how sides double, and may add settings.

    width            channels at full size, 1 to 1024; 2, 4 and 4 times as many where sides are 1/2, 1/4 and 1/8
    latent_channels  of one position of the latent, which stands for `factor` x `factor` pixels, 1 to 1024
    factor           one of FACTORS: 4 or 8, unless the architecture says otherwise

    An architecture that leaves no choice of one fixes it, and it is no setting there (`field(init=False)`).
    Raises ParameterError for sizes outside these ranges.
    """

    FACTORS: ClassVar[tuple[int, ...]] = (4, 8)

    width: int = 16
    latent_channels: int = 16
    factor: int = 8

    def __post_init__(self) -> None:
        for name in ("width", "latent_channels"):
            self._check_whole(name, 1, _MOST)
        if type(self.factor) is not int or self.factor not in self.FACTORS:
            wanted = " or ".join(map(str, self.FACTORS))
            raise ParameterError(f"{self.architecture}: factor must be {wanted}, got {self.factor!r}")

    @property
    def architecture(self) -> str:
        """The name in the registry."""
        return generator.of(type(self)).name

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, from full size to that of the latent."""
        return tuple(self.width * times for times in (1, 2, 4, 4)[: self.factor.bit_length()])

    @property
    def multiple(self) -> int:
        """What the sides of a picture must be a multiple of, in px."""
        return self.factor

    def up(self, inputs: int, outputs: int) -> Any:
        """Return the module that doubles the sides: (B, inputs, h, w) -> (B, outputs, 2 h, 2 w)."""
        raise NotImplementedError

    def model(self) -> OwnModel:
        """Return the network, its tensors not yet filled."""
        from fdetect.nets.own.blocks import OwnModel

        return OwnModel(self)

    def training_model(self) -> OwnModel:
        """Return the network with what is needed in training alone, its tensors not yet filled."""
        return self.model()

    def to_json(self) -> dict[str, Any]:
        """Return what config.json holds."""
        return written(generator, self, CLASS_NAME)


def config_from_json(content: Mapping[str, Any]) -> OwnConfig:
    """Return the sizes that config.json states: every setting of its architecture, and nothing else.

    Raises ParameterError (UnknownName for an architecture) otherwise.
    """
    config = stated(generator, content)
    assert isinstance(config, OwnConfig)
    return config


def build(config: OwnConfig, *, seed: int = 0) -> OwnModel:
    """Return the network of a configuration in training mode, float32 on the CPU; the seed decides every tensor.

    Weights are normal with variance 1 / fan-in, which keeps the scale through convolutions that no ReLU follows (LeCun
    et al. 1998, "Efficient backprop", section 4.6); the last convolution of a residual branch has a tenth of that
    deviation, and biases are 0.  Torch's global generator is not touched.
    """
    from fdetect.nets.own.blocks import initialised

    return initialised(config, seed)


def training_loss(model: OwnModel, images: torch.Tensor) -> torch.Tensor:
    """Return what training minimises, with gradients: (B, 3, H, W) float32 RGB 0..1, sides multiples of factor -> ().

    It is how far the reconstruction is (`fdetect.nets.own.blocks.reconstruction_loss`), and for `quantised`,
    `adversarial` and `refined` also what their codebook, critic and refiner are to learn.
    """
    return model.loss(images)
