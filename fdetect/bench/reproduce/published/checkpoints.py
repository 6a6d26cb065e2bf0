"""Published figures of published checkpoints, shown pictures as their authors show them.

NPR is one method with four preprocessings; each is a name of its own here, as they give different figures:

    npr-forensynths   resized to 256 x 256 (its authors do the same for DiffusionForensics and UnivFD's sets)
    npr-gangen        as stored
    npr-aigcdetect    as stored, odd sides trimmed by a pixel
    npr-genimage      laid beside itself below 224 px, centre crop of 224 px; another training
"""

from __future__ import annotations

from collections.abc import Mapping

from fdetect.bench.reproduce.published.base import Checkpoint, DataSet, Reproduction, reproduction
from fdetect.bench.reproduce.published.geometry import RepeatedCrop
from fdetect.bench.reproduce.published.sets import (
    AIGCDETECT_16,
    FORENSYNTHS_8,
    FORENSYNTHS_13,
    GANGEN_9,
    GENIMAGE_7,
    UNIVFD_19,
)
from fdetect.images import Geometry

__all__ = ["NPR_FORENSYNTHS", "NPR_GENIMAGE", "SQUARE_256"]

SQUARE_256 = Geometry("squash", 256, "bilinear")
_STORED, _EVEN, _CENTRE = Geometry("as_is"), Geometry("trim", 2), Geometry("centre_crop", 224)

_SQUASHED = "squashed to 256 x 256, bilinear, no crop; ImageNet's mean and std"
_AS_STORED = "whole, as stored, one at a time; ImageNet's mean and std"
_CENTRED = "centre 224 x 224 without a resize, zeros around smaller pictures; {}'s mean and std"
_REPEATED = "laid beside itself where a side is below 224 px, then its centre 224 x 224; ImageNet's mean and std"

_SAME = "nothing is drawn: the same weights and pictures give the same logits but for the decoder and the resize"
_LIKE = "a third party's run, whose copy of the data is not known"
_NPR = "P: README of github.com/chuangchuangtan/NPR-DeepfakeDetection (Tan et al. 2024, arXiv 2312.10461)"
_CNNSPOT = "P: README of github.com/PeterWang512/CNNDetection (Wang et al. 2020, arXiv 1912.11035), mean of its rows"
_BENCHMARK = "P: the table of AIGCDetectBenchmark (arXiv 2311.12397), read in NPR's README too"

# accuracy and AP, in %
NPR_FORENSYNTHS = {
    "progan": (99.8, 100.0), "stylegan": (96.3, 99.8), "stylegan2": (97.3, 100.0), "biggan": (87.5, 94.5),
    "cyclegan": (95.0, 99.5), "stargan": (99.7, 100.0), "gaugan": (86.6, 88.8), "deepfake": (77.4, 86.2),
}  # fmt: skip
NPR_GENIMAGE = {
    "adm": (87.8, 96.0), "biggan": (80.7, 89.8), "glide": (93.2, 99.1), "midjourney": (91.7, 97.9),
    "sdv5": (94.4, 99.9), "vqdm": (88.7, 96.1), "wukong": (94.0, 99.7),
}  # fmt: skip
_CNNSPOT_5 = {
    "progan": (100.0, 100.0), "stylegan": (73.4, 98.5), "biggan": (59.0, 88.2), "cyclegan": (80.8, 96.8),
    "stargan": (81.0, 95.4), "gaugan": (79.3, 98.1), "crn": (87.6, 98.9), "imle": (94.1, 99.5),
    "seeingdark": (78.3, 92.7), "san": (50.0, 63.9), "deepfake": (51.1, 66.3), "stylegan2": (68.4, 98.0),
    "whichfaceisreal": (63.9, 88.8),
}  # fmt: skip
_CNNSPOT_1 = {
    "progan": (100.0, 100.0), "stylegan": (87.1, 99.6), "biggan": (70.2, 84.5), "cyclegan": (85.2, 93.5),
    "stargan": (91.7, 98.2), "gaugan": (78.9, 89.5), "crn": (86.3, 98.2), "imle": (86.2, 98.4),
    "seeingdark": (90.3, 97.2), "san": (50.5, 70.5), "deepfake": (53.5, 89.0), "stylegan2": (84.4, 99.1),
    "whichfaceisreal": (83.6, 93.2),
}  # fmt: skip
_NPR_AIGCDETECT = {
    "progan": 99.9, "stylegan": 96.1, "biggan": 87.3, "cyclegan": 90.3, "stargan": 99.6, "gaugan": 85.4,
    "stylegan2": 98.1, "whichfaceisreal": 60.7, "adm": 84.9, "glide": 96.7, "midjourney": 92.6, "sd-1-4": 97.4,
    "sd-1-5": 97.5, "vqdm": 90.1, "wukong": 91.7, "dalle2": 99.6,
}  # fmt: skip


@reproduction(name="npr-forensynths")
def npr_forensynths() -> Reproduction:
    """NPR on eight sets of ForenSynths: mean accuracy 0.925."""
    return _accuracy("npr", SQUARE_256, FORENSYNTHS_8, 0.925, _NPR, _SQUASHED, each=_part(NPR_FORENSYNTHS, 0))


@reproduction(name="npr-forensynths-ap")
def npr_forensynths_ap() -> Reproduction:
    """NPR on eight sets of ForenSynths: mean AP 0.961."""
    return _precision("npr", SQUARE_256, FORENSYNTHS_8, 0.961, _NPR, _SQUASHED, each=_part(NPR_FORENSYNTHS, 1))


@reproduction(name="npr-gangen")
def npr_gangen() -> Reproduction:
    """NPR on GANGen-Detection: mean accuracy 0.9322."""
    source = "T: github.com/graydove/Awesome-AIGC-Image-Detection, a run of the authors' code and weights"
    return _accuracy("npr", _STORED, GANGEN_9, 0.9322, source, _AS_STORED, margin=0.02, why=_LIKE)


@reproduction(name="npr-aigcdetect")
def npr_aigcdetect() -> Reproduction:
    """NPR on AIGCDetectBenchmark: mean accuracy 0.917."""
    note = (
        "reached with another file than NPR.pth: import model_epoch_last_3090.pth --as npr; a third party's run of "
        "the authors' code has 0.829, and two versions of the README disagree about StarGAN and GauGAN"
    )
    each = tuple((name, value / 100) for name, value in _NPR_AIGCDETECT.items())
    return _accuracy("npr", _EVEN, AIGCDETECT_16, 0.917, _NPR, f"{_AS_STORED}; an odd side loses its last row",
                     each=each, note=note)  # fmt: skip


@reproduction(name="npr-genimage")
def npr_genimage() -> Reproduction:
    """NPR trained on SD 1.4, on seven others of GenImage: mean accuracy 0.901."""
    note = "its checkpoint was not published; `genimage-sdv14` trains one here"
    return Reproduction(
        way=Checkpoint("npr-sdv14", RepeatedCrop(), "npr"), data=GENIMAGE_7, metric="accuracy_at_half", figure=0.901,
        margin=0.02, why="another training than the authors' differs by its draws", source=_NPR,
        preprocessing=_REPEATED, note=note, each=_part(NPR_GENIMAGE, 0),
    )  # fmt: skip


@reproduction(name="cnnspot-forensynths")
def cnnspot_half() -> Reproduction:
    """CNNSpot (blur and JPEG 0.5) on ForenSynths: mean AP 0.912."""
    return _precision("cnnspot-prob0.5", _CENTRE, FORENSYNTHS_13, 0.912, _CNNSPOT, _CENTRED.format("ImageNet"),
                      each=_part(_CNNSPOT_5, 1))  # fmt: skip


@reproduction(name="cnnspot-p01-forensynths")
def cnnspot_tenth() -> Reproduction:
    """CNNSpot (blur and JPEG 0.1) on ForenSynths: mean AP 0.931."""
    return _precision("cnnspot-prob0.1", _CENTRE, FORENSYNTHS_13, 0.931, _CNNSPOT, _CENTRED.format("ImageNet"),
                      each=_part(_CNNSPOT_1, 1))  # fmt: skip


@reproduction(name="cnnspot-p01-forensynths-acc")
def cnnspot_tenth_accuracy() -> Reproduction:
    """CNNSpot (blur and JPEG 0.1) on ForenSynths: mean accuracy 0.806."""
    return _accuracy("cnnspot-prob0.1", _CENTRE, FORENSYNTHS_13, 0.806, _CNNSPOT, _CENTRED.format("ImageNet"),
                     each=_part(_CNNSPOT_1, 0))  # fmt: skip


@reproduction(name="cnnspot-aigcdetect")
def cnnspot_aigcdetect() -> Reproduction:
    """CNNSpot on AIGCDetectBenchmark: mean accuracy 0.7078."""
    note = "which checkpoint is not said; its rows on GANs are those of prob0.1 without a crop, to a digit"
    return _accuracy("cnnspot-prob0.1", _STORED, AIGCDETECT_16, 0.7078, _BENCHMARK, _AS_STORED, note=note)


@reproduction(name="univfd-aigcdetect")
def univfd_aigcdetect() -> Reproduction:
    """UnivFD on AIGCDetectBenchmark: mean accuracy 0.7843."""
    note = "the source does not say which pixels it was shown; a centre crop is what its authors' code does"
    return _accuracy("univfd", _CENTRE, AIGCDETECT_16, 0.7843, _BENCHMARK, _CENTRED.format("CLIP"), note=note,
                     margin=0.02, why=_LIKE)  # fmt: skip


@reproduction(name="univfd-19")
def univfd_19() -> Reproduction:
    """UnivFD on its 19 sets: mean accuracy 0.8138."""
    return _accuracy("univfd", _CENTRE, UNIVFD_19, 0.8138, _UNIVFD, _CENTRED.format("CLIP"), margin=0.02, why=_DRAWN)


@reproduction(name="univfd-19-ap")
def univfd_19_ap() -> Reproduction:
    """UnivFD on its 19 sets: mean AP 0.9338."""
    return _precision("univfd", _CENTRE, UNIVFD_19, 0.9338, _UNIVFD, _CENTRED.format("CLIP"), margin=0.02, why=_DRAWN)


_UNIVFD = "U: Ojha et al. 2023, arXiv 2302.10174, linear classification; its table could not be read here"
_DRAWN = "images of each set were drawn, and fewer are published than the paper tested"


def _accuracy(weights: str, geometry: Geometry, data: DataSet, figure: float, source: str, shown: str,
              *, margin: float = 0.01, why: str = _SAME, note: str = "",
              each: tuple[tuple[str, float], ...] = ()) -> Reproduction:  # fmt: skip
    return Reproduction(
        way=Checkpoint(weights, geometry), data=data, metric="accuracy_at_half", figure=figure, margin=margin, why=why,
        source=source, preprocessing=shown, note=note, each=each,
    )  # fmt: skip


def _precision(weights: str, geometry: Geometry, data: DataSet, figure: float, source: str, shown: str,
               *, margin: float = 0.01, why: str = _SAME,
               each: tuple[tuple[str, float], ...] = ()) -> Reproduction:  # fmt: skip
    return Reproduction(
        way=Checkpoint(weights, geometry), data=data, metric="ap_fake", figure=figure, margin=margin, why=why,
        source=source, preprocessing=shown, each=each,
    )  # fmt: skip


def _part(table: Mapping[str, tuple[float, float]], which: int) -> tuple[tuple[str, float], ...]:
    return tuple((name, round(values[which] / 100, 4)) for name, values in table.items())
