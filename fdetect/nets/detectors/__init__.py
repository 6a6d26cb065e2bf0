"""Detector networks: the registered architectures, trained by fdetect or imported.

    base.py, model.py   configuration and registry; what every network offers
    resnet.py           residual trunks
    stems.py            what forensic networks look at in place of the picture
    npr.py              NPR-ResNet
    safe.py, ladeda.py, cnnspot.py, gram.py, patchcraft.py, gragnaniello.py   forensic networks of others
    mlp.py (with cells.py), lenet.py, plain_resnet.py, cbam.py (attention.py), transformer.py (towers.py, tuned.py and
    lora.py), large.py  general networks; tower_weights.py fills those of transformers
    residual_trunk.py   NPR, SRM and HH maps through a small trunk: ours
    loading.py          a network in a folder

Importing this package loads no torch; building a network does.
"""

from fdetect.nets.detectors.base import CLASS_NAME, NetworkConfig, build, config_from_json, network
from fdetect.nets.detectors.cbam import CbamResnet
from fdetect.nets.detectors.cnnspot import CnnSpot
from fdetect.nets.detectors.gragnaniello import Gragnaniello
from fdetect.nets.detectors.gram import GramNet
from fdetect.nets.detectors.ladeda import LaDeDa, TinyLaDeDa
from fdetect.nets.detectors.large import EfficientnetB4, Resnext101
from fdetect.nets.detectors.lenet import Lenet
from fdetect.nets.detectors.mlp import Mlp
from fdetect.nets.detectors.npr import Npr
from fdetect.nets.detectors.patchcraft import PatchCraft
from fdetect.nets.detectors.plain_resnet import Resnet18, Resnet50
from fdetect.nets.detectors.residual_trunk import ResidualTrunk
from fdetect.nets.detectors.safe import Safe
from fdetect.nets.detectors.transformer import Dinov2, Swin, Vit

__all__ = [
    "CLASS_NAME",
    "CbamResnet",
    "CnnSpot",
    "Dinov2",
    "EfficientnetB4",
    "Gragnaniello",
    "GramNet",
    "LaDeDa",
    "Lenet",
    "Mlp",
    "NetworkConfig",
    "Npr",
    "PatchCraft",
    "ResidualTrunk",
    "Resnet18",
    "Resnet50",
    "Resnext101",
    "Safe",
    "Swin",
    "TinyLaDeDa",
    "Vit",
    "build",
    "config_from_json",
    "network",
]
