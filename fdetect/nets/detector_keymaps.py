"""Key maps from published checkpoints of detector networks to ours: NPR, SAFE, CNNSpot, LaDeDa, Tiny-LaDeDa.

All five are convolutions, batch norms and a linear classifier under torchvision's names (conv1, bn1, layer1.0.conv1,
..., fc), some behind `module.`.  Ours have the same names behind `trunk.`, and `classifier`.  Each map is strict: every
key of the file finds its place and every place is filled, or the import stops with the list; only
`num_batches_tracked`, which no logit depends on, may be there or not.  Shapes are checked when the network is loaded,
before an import is done.

The names were read in the code of their authors; of Tiny-LaDeDa the files themselves were imported too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fdetect.errors import WeightsError
from fdetect.nets.detectors import network
from fdetect.nets.importing import FITTING_FILE, Imported, importer, same_keys

__all__ = ["cnnspot", "ladeda", "npr", "safe", "tiny_ladeda"]

_RESNET50 = (3, 4, 6, 3)  # blocks of its stages
_NORM = ("weight", "bias", "running_mean", "running_var")
_COUNT = "num_batches_tracked"  # of a batch norm, which uses it only where it has no momentum

_Part = tuple[str, tuple[str, ...]]  # a module and the names of its tensors


@importer
def npr(checkpoint: Mapping[str, Any]) -> Imported:
    """NPR's detector, a ResNet-50 cut after its second stage: NPR.pth (no licence stated).

    conv1, bn1, layer1.0 ... layer1.2, layer2.0 ... layer2.3, and fc1.weight (1, 512).  Trained with ImageNet's mean and
    deviation and the residual times 2 / 3, as `npr` of `fdetect.nets.detectors` computes it.
    Source: github.com/chuangchuangtan/NPR-DeepfakeDetection, networks/resnet.py; Tan et al. 2024, arXiv 2312.10461.
    Raises WeightsError with the list of keys that are missing, have no place or are of another shape.
    """
    return Imported(_state(checkpoint, [*_stem(), *_stages((3, 4))], "fc1", "NPR's detector"), _config("npr"))


@importer
def safe(checkpoint: Mapping[str, Any]) -> Imported:
    """SAFE's detector, NPR's network on the diagonal wavelet band: checkpoint-best.pth (no licence stated).

    The keys are NPR's, inside `model`.  fc1.weight (2, 512) has a logit for each class, real first, which become one:

        log(p_fake / p_real) = (w1 - w0) . f + (b1 - b0)

    Source: github.com/Ouxiang-Li/SAFE, models/resnet.py; Li et al. 2024, arXiv 2408.06741.
    Raises WeightsError with the list of keys that are missing, have no place or are of another shape.
    """
    what = "SAFE's detector"
    state = _state(checkpoint, [*_stem(), *_stages((3, 4))], "fc1", what)
    for part in ("weight", "bias"):
        both = state[f"classifier.{part}"]
        if not both.ndim or len(both) != 2:
            raise WeightsError(f"the file is not {what}: it has fc1.{part} of shape {tuple(both.shape)}", FITTING_FILE)
        state[f"classifier.{part}"] = (both[1:].double() - both[:1].double()).float()
    return Imported(state, _config("safe"))


@importer(name="cnnspot-prob0.1")
def cnnspot(checkpoint: Mapping[str, Any]) -> Imported:
    """CNNSpot's detector, a ResNet-50: blur_jpg_prob0.1.pth or blur_jpg_prob0.5.pth (CC BY-NC-SA 4.0).

    torchvision's names inside `model`, fc.weight (1, 2048).
    Source: github.com/PeterWang512/CNNDetection, networks/resnet.py; Wang et al. 2020, arXiv 1912.11035.
    Raises WeightsError with the list of keys that are missing, have no place or are of another shape.
    """
    return Imported(_state(checkpoint, [*_stem(), *_stages(_RESNET50)], "fc", "CNNSpot's detector"), _config("cnnspot"))


@importer(name="ladeda-forensynth")
def ladeda(checkpoint: Mapping[str, Any], *, scale: float = 1.0) -> Imported:
    """LaDeDa's detector, a ResNet-50 of small patches: ForenSynth_LaDeDa.pth or WildRF_LaDeDa.pth (research use only).

    conv1 (64, 3, 1, 1), conv2, bn1, layer1 ... layer4, fc.weight (1, 2048).  Its authors' code has multiplied the
    residual by nothing and, at another time, by 2 / 3; the logits differ.  `scale` is that factor, folded into conv1:
    W (s x) = (s W) x.  The names that end in `-two-thirds` are the second.
    Source: github.com/barcavia/RealTime-DeepfakeDetection-in-the-RealWorld, networks/LaDeDa.py; Cavia et al. 2024,
    arXiv 2406.07398.
    Raises WeightsError with the list of keys that are missing, have no place or are of another shape.
    """
    state = _state(checkpoint, [*_local_stem(), *_stages(_RESNET50)], "fc", "LaDeDa's detector")
    state["trunk.conv1.weight"] = (state["trunk.conv1.weight"].double() * scale).float()
    return Imported(state, _config("ladeda"))


@importer(name="tiny-ladeda-forensynth")
def tiny_ladeda(checkpoint: Mapping[str, Any]) -> Imported:
    """Tiny-LaDeDa's detector, four convolutions of 8 channels: ForenSynth_Tiny_LaDeDa.pth (research use only).

    conv1, conv2, bn1, layer1.0.{conv1, bn1, conv2, bn2}, fc.weight (1, 8).  Which stem it was trained with is not
    settled: config.json says `npr`, and `pretrained:weights=...:stem=...` takes another.
    Source: github.com/barcavia/RealTime-DeepfakeDetection-in-the-RealWorld, networks/Tiny_LaDeDa.py; Cavia et al. 2024,
    arXiv 2406.07398.
    Raises WeightsError with the list of keys that are missing, have no place or are of another shape.
    """
    parts = [*_local_stem(), *_pairs("layer1.0", 2)]
    return Imported(_state(checkpoint, parts, "fc", "Tiny-LaDeDa's detector"), _config("tiny_ladeda"))


importer.variant(cnnspot, "cnnspot-prob0.5")
importer.variant(ladeda, "ladeda-wildrf")
for _data in ("forensynth", "wildrf"):
    importer.variant(ladeda, f"ladeda-{_data}-two-thirds", scale=2 / 3)
importer.variant(tiny_ladeda, "tiny-ladeda-wildrf")


def _stem() -> list[_Part]:
    return [("conv1", ("weight",)), ("bn1", _NORM)]


def _local_stem() -> list[_Part]:
    return [("conv1", ("weight",)), ("conv2", ("weight",)), ("bn1", _NORM)]


def _stages(depths: Sequence[int]) -> Iterator[_Part]:
    """The bottlenecks of a residual network; the first of each stage has a convolution on its shortcut."""
    for stage, depth in enumerate(depths, 1):
        for block in range(depth):
            yield from _pairs(f"layer{stage}.{block}", 3)
            if not block:
                yield f"layer{stage}.0.downsample.0", ("weight",)
                yield f"layer{stage}.0.downsample.1", _NORM


def _pairs(block: str, count: int) -> Iterator[_Part]:
    """Convolutions without a bias, and a norm behind each."""
    for k in range(1, count + 1):
        yield f"{block}.conv{k}", ("weight",)
        yield f"{block}.bn{k}", _NORM


def _state(checkpoint: Mapping[str, Any], parts: Sequence[_Part], classifier: str, what: str) -> dict[str, Any]:
    """Return the tensors in float32 under our names; raises WeightsError with the keys that do not fit."""
    import torch

    bare = dict(checkpoint)
    if all(key.startswith("module.") for key in bare):
        bare = {key.removeprefix("module."): tensor for key, tensor in bare.items()}
    counts = [f"{name}.{_COUNT}" for name, tensors in parts if tensors == _NORM]
    found = {key: tensor for key, tensor in bare.items() if key not in counts}
    places = {f"{name}.{tensor}": f"trunk.{name}.{tensor}" for name, tensors in parts for tensor in tensors}
    places |= {f"{classifier}.{tensor}": f"classifier.{tensor}" for tensor in ("weight", "bias")}
    same_keys(found, places, what)
    state = {places[key]: tensor.float() for key, tensor in found.items()}
    return state | {f"trunk.{count}": torch.zeros((), dtype=torch.int64) for count in counts}


def _config(architecture: str) -> dict[str, Any]:
    config: dict[str, Any] = network.get(architecture)().to_json()
    return config
