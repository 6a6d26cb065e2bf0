"""Autoencoders of our own: small, trained here, each with the trace of one way to make pixels out of a latent.

    base.py, blocks.py                        configuration and registry; the network that all share
    nearest.py, transposed.py, shuffle.py     three ways in which a decoder doubles the sides
    quantised.py, quantiser.py                a latent that is rounded to a codebook
    adversarial.py, critic.py                 a decoder that is trained against a critic of patches
    refined.py, refiner.py                    a flow that carries the decoder's picture on
    super_resolution.py, enlarger.py          a latent that is the picture, smaller
    pixel.py, cleaner.py                      noise at full size and a denoiser, no latent
    unet.py, noise.py                         the U-shaped network; noise that belongs to a picture's content
    textures.py, data.py                      what they are trained on
    loading.py                                from a folder, strictly

Importing this package loads no torch; building a network does.
"""

from fdetect.nets.own.adversarial import Adversarial
from fdetect.nets.own.base import CLASS_NAME, OwnConfig, build, config_from_json, generator, training_loss
from fdetect.nets.own.nearest import Nearest
from fdetect.nets.own.pixel import Pixel
from fdetect.nets.own.quantised import Quantised
from fdetect.nets.own.refined import Refined
from fdetect.nets.own.shuffle import Shuffle
from fdetect.nets.own.super_resolution import SuperResolution
from fdetect.nets.own.transposed import Transposed

__all__ = [
    "CLASS_NAME",
    "Adversarial",
    "Nearest",
    "OwnConfig",
    "Pixel",
    "Quantised",
    "Refined",
    "Shuffle",
    "SuperResolution",
    "Transposed",
    "build",
    "config_from_json",
    "generator",
    "training_loss",
]
