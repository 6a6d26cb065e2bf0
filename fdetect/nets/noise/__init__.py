"""Networks that make pictures of 64 px from noise: a GAN, a VAE and a flow, small enough to be trained on a CPU.

    base.py                        configuration and registry; sampling
    gan.py, vae.py, flow.py        the three, their sizes and settings
    blocks.py, unet.py, models.py  networks that they share; the flow's network; the three losses
    data.py                        pictures of 64 px from photographs and dead leaves

Importing this package loads no torch; building a network does.
"""

from fdetect.nets.noise.base import SIDE, NoiseConfig, build, noise_generator, sample, training_loss
from fdetect.nets.noise.flow import Flow
from fdetect.nets.noise.gan import Gan
from fdetect.nets.noise.vae import Vae

__all__ = ["SIDE", "Flow", "Gan", "NoiseConfig", "Vae", "build", "noise_generator", "sample", "training_loss"]
