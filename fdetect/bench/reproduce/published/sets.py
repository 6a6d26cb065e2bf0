"""Test sets that several published figures share, as their authors use them."""

from __future__ import annotations

from fdetect.bench.reproduce.published.base import DataSet

__all__ = ["AIGCDETECT_16", "FORENSYNTHS_8", "FORENSYNTHS_13", "GANGEN_9", "GENIMAGE_7", "SDV14", "UNIVFD_19"]

# U: numbers of fakes, as tables of later papers round them; as many reals stand beside them
_FORENSYNTHS = {
    "progan": 4000, "stylegan": 5991, "biggan": 2000, "cyclegan": 1321, "stargan": 1999, "gaugan": 5000,
    "deepfake": 2698, "stylegan2": 7988, "crn": 6382, "imle": 6382, "seeingdark": 180, "san": 219,
    "whichfaceisreal": 1000,
}  # fmt: skip
_FIRST = ("progan", "stylegan", "stylegan2", "biggan", "cyclegan", "stargan", "gaugan", "deepfake")
_TREE = "<generator>/[<class>/]{0_real,1_fake}/*"
_COUNTS = "U: the numbers of images"
_DIFFUSION = ("guided", "ldm_200", "ldm_200_cfg", "ldm_100", "glide_100_27", "glide_50_27", "glide_100_10", "dalle")

SDV14 = ("SD 1.4",)


def _forensynths(names: tuple[str, ...], what: str) -> DataSet:
    return DataSet(
        what=what, generators=names, named=True, counts=tuple((name, _FORENSYNTHS[name]) for name in names),
        layout=f"forensynths: [test/]{_TREE}", own_reals=True,
        source=f"CNN_synth_testset of github.com/PeterWang512/CNNDetection; {_COUNTS}",
    )  # fmt: skip


FORENSYNTHS_8 = _forensynths(_FIRST, "ForenSynths, eight of its test folders")
FORENSYNTHS_13 = _forensynths(tuple(_FORENSYNTHS), "ForenSynths, its test folders")

UNIVFD_19 = DataSet(
    what="eleven test folders of ForenSynths and the eight diffusion sets of UnivFD, a folder each",
    generators=(*(name for name in _FORENSYNTHS if name not in ("stylegan2", "whichfaceisreal")), *_DIFFUSION),
    named=True,
    layout=f"forensynths: [test/]{_TREE}, the reals of a diffusion set copied beside its fakes",
    own_reals=True,
    source="github.com/WisconsinAIVision/UniversalFakeDetect, whose data are 1,000 images of each diffusion set where "
    "its paper has 10,000; its code draws 1,000 of every set",
)

AIGCDETECT_16 = DataSet(
    what="AIGCDetectBenchmark without SD XL",
    generators=("ProGAN", "StyleGAN", "BigGAN", "CycleGAN", "StarGAN", "GauGAN", "StyleGAN2", "whichfaceisreal", "ADM",
                "Glide", "Midjourney", "SD 1.4", "SD 1.5", "VQDM", "Wukong", "DALLE2"),
    named=True,
    layout=f"aigcdetect: [test/]{_TREE}",
    own_reals=True,
    left_out=("sd-xl",),
    source="github.com/Ekko-zn/AIGCDetectBenchmark; the sources that were read do not say how many images each has",
)  # fmt: skip

GANGEN_9 = DataSet(
    what="GANGen-Detection",
    generators=("AttGAN", "BEGAN", "CramerGAN", "InfoMaxGAN", "MMDGAN", "RelGAN", "S3GAN", "SNGAN", "STGAN"),
    named=True,
    layout=f"forensynths: [test/]{_TREE}",
    own_reals=True,
    source="github.com/chuangchuangtan/GANGen-Detection; the source that was read does not say how many images",
)

GENIMAGE_7 = DataSet(
    what="GenImage, validation folders of all generators but Stable Diffusion 1.4, which trains",
    generators=("ADM", "BigGAN", "GLIDE", "Midjourney", "SD 1.5", "VQDM", "Wukong"),
    named=True,
    fakes=6000,
    layout="genimage: <generator>/val/{ai,nature}/*",
    own_reals=True,
    split="val",
    left_out=SDV14,
    source="github.com/GenImage-Dataset/GenImage; U: the number of images in each folder, and SD 1.5 has 8,000; its "
    "reals are JPEG and its fakes PNG, which the audit shows",
)
