"""Published figures: for each, the data, weights and preprocessing that it rests on, and a margin stated beforehand.

A new one is a function and its decorator; `fdetect reproduce` does the rest.  Only figures that were read in a source
stand here, each with its mark:

    C  read in the stored results of the code that is named
    P  the authors' own paper or project page
    T  a third party's table

Where the images come from is stated as far as it is known; "U" marks what was recalled and not checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fdetect.nets.cards import CARDS
from fdetect.registry import Registry
from fdetect.rigid import detector

__all__ = ["METRICS", "DataSet", "Reproduction", "reproduction"]

reproduction = Registry("reproduction")  # functions without parameters that return a `Reproduction`

METRICS = {
    "auroc": "AUROC of each generator against all reals, mean over generators",
    "accuracy_95": "accuracy at the threshold that keeps 95 % of the reals, (0.95 + TPR at 5 % FPR) / 2, mean over "
    "generators",
    "ap_fake": "average precision with the fakes as the positive class, mean over generators",
}


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Images that a figure rests on.

    generators   their names; empty where the source that was read does not name them
    fakes        images of each generator, and `reals` in all, 0 where the source does not say; more are welcome
    layout       how `fdetect` reads them, and `source` where the user gets them
    """

    what: str
    generators: tuple[str, ...]
    fakes: int
    reals: int
    layout: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A published figure and everything that a comparison with it needs.

    detector       as in `fdetect bench --detectors`, settings included; one without reference images
    metric         one of METRICS, of images pooled over no trials: as papers do it, all at once
    figure         what was published, on the scale of 0..1
    margin         how far from it a measurement may be and still reproduce it, and `why` that far
    preprocessing  what happens to an image before the detector's own views
    """

    detector: str
    data: DataSet
    metric: str
    figure: float
    margin: float
    why: str
    source: str
    preprocessing: str
    note: str = ""

    @property
    def encoder(self) -> str:
        """The encoder that the figure was reached with; empty where the detector needs none."""
        return str(self.settings.get("encoder", ""))

    @property
    def settings(self) -> Mapping[str, Any]:
        """The detector's."""
        return detector.read(self.detector).settings

    def statement(self) -> tuple[tuple[str, str], ...]:
        """Everything that is wanted, as pairs of a word and a sentence."""
        data, settings = self.data, (f"{k} {v}" for k, v in self.settings.items() if k != "encoder")
        names = f"{len(data.generators)} generators: {', '.join(data.generators)}" if data.generators else (
            "generators: not named in the source that was read, so that a run can only be shown beside the figure"
        )  # fmt: skip
        counts = f"{data.fakes or 'all'} images of each; {data.reals or 'all'} real images"
        rows = (
            ("figure", f"{self.figure:.4g} +- {self.margin:g} ({self.why})"),
            ("source", self.source),
            ("metric", METRICS[self.metric]),
            ("detector", f"{self.detector} ({', '.join(settings)})"),
            ("data", f"{data.what}; {names}; {counts}"),
            ("layout", data.layout),
            ("from", data.source),
            ("weights", _weights(self.encoder)),
            ("images", f"native, whole, as stored; {self.preprocessing}"),
            ("note", self.note),
        )
        return tuple(row for row in rows if row[1])


def _weights(name: str) -> str:
    """What is known of the weights that a figure wants."""
    card = CARDS.get(name)
    if card is None:
        return name or "none"
    ways = [f"fdetect weights get {card.name}"]
    if card.authors_file:
        ways.append(f"fdetect weights import {card.authors_file} --as {card.name}")
    known = [f"{what} sha256 {digest}" for what, digest in (("model.safetensors", card.expected_sha256),
             (card.authors_file, card.authors_sha256)) if digest]  # fmt: skip
    return f"{card.name} ({' or '.join(ways)}); {'; '.join(known) or 'no hash of them could be verified'}"


# --- data ------------------------------------------------------------------------------------------------------------

_IMAGENET = DataSet(
    what="ImageNet against class-conditional generators at 256 px",
    generators=("ADM", "ADMG", "LDM", "DiT-XL-2", "BigGAN", "GigaGAN", "StyleGAN-XL", "RQ-Transformer", "Mask-GIT"),
    fakes=2000,
    reals=2000,
    layout="real_fake: real/imagenet/*, fake/<generator>/*",
    source="generated sets: U: by their names those of dgm-eval (Stein et al. 2023, "
    "github.com/layer6ai-labs/dgm-eval), 2,000 of each, seed 100 in the authors' notebook; reals: ImageNet's own site",
)
_BEDROOM = DataSet(
    what="LSUN bedroom against generators trained on it",
    generators=(),
    fakes=2000,
    reals=2000,
    layout="real_fake: real/lsun/*, fake/<generator>/*",
    source="generated sets: U: those of dgm-eval (Stein et al. 2023, github.com/layer6ai-labs/dgm-eval); reals: LSUN",
)
_GENIMAGE = DataSet(
    what="GenImage, validation folders",
    generators=("Midjourney", "SD 1.4", "SD 1.5", "ADM", "GLIDE", "Wukong", "VQDM", "BigGAN"),
    fakes=6000,
    reals=6000,
    layout="genimage: <generator>/val/{ai,nature}/*",
    source="github.com/GenImage-Dataset/GenImage; U: the number of images in each folder; its reals are JPEG and its "
    "fakes PNG, which the audit shows",
)
_SYNTHBUSTER = DataSet(
    what="Synthbuster against RAISE-1k",
    generators=("DALL-E 2", "DALL-E 3", "Adobe Firefly", "Midjourney v5", "SD 1.3", "SD 1.4", "SD 2", "SD XL", "GLIDE"),
    fakes=1000,
    reals=1000,
    layout="real_fake: real/raise/*, fake/<generator>/*",
    source="Synthbuster: zenodo.org/records/10066460 (Bammey 2023); U: that the table's reals are RAISE-1k, from its "
    "authors' site",
)

_OF_RIGID = "T: a third party's table of RIGID (He et al. 2024, arXiv 2405.20112)"
_SQUASHED = "squashed to 224 x 224, bilinear, ImageNet's mean and std"
_CUT = "shorter side to 224, bicubic, centre 224 x 224, ImageNet's mean and std"
_TILED = "squashed to 896 x 896, bicubic, 16 tiles of 224 x 224, ImageNet's mean and std"
_RANDOM_SETS = "the standard error of one AUROC of 2,000 and 2,000 images is 0.006"
_WEPE = (
    "the number of disturbed networks, the draws and the images of each set are not stated in the source that was "
    "read: 4 draws here"
)
_OTHER_SIZES = "a third party's run, whose choice of images and sizes is not known"


# --- figures ---------------------------------------------------------------------------------------------------------


@reproduction(name="rigid-imagenet")
def rigid_imagenet() -> Reproduction:
    """RIGID on nine generators of ImageNet classes: mean AUROC 0.8358."""
    return Reproduction(
        detector="rigid", data=_IMAGENET, metric="auroc", figure=0.8358, margin=0.02, why=_RANDOM_SETS,
        source=_OF_RIGID,
        preprocessing=_SQUASHED,
    )  # fmt: skip


@reproduction(name="rigid-lsun-bedroom")
def rigid_lsun_bedroom() -> Reproduction:
    """RIGID on generators of LSUN bedrooms: mean AUROC 0.8520."""
    return Reproduction(
        detector="rigid", data=_BEDROOM, metric="auroc", figure=0.8520, margin=0.02, why=_RANDOM_SETS,
        source=_OF_RIGID,
        preprocessing=_SQUASHED,
    )  # fmt: skip


@reproduction(name="rigid-genimage")
def rigid_genimage() -> Reproduction:
    """RIGID on GenImage: mean accuracy 0.7819."""
    return Reproduction(
        detector="rigid", data=_GENIMAGE, metric="accuracy_95", figure=0.7819, margin=0.03,
        why="the threshold is RIGID's rule; the table does not say how its own was set",
        source=_OF_RIGID,
        preprocessing=_SQUASHED,
        note="each generator of GenImage has reals of its own; here each is judged against all of them",
    )  # fmt: skip


@reproduction(name="rigid-synthbuster")
def rigid_synthbuster() -> Reproduction:
    """RIGID on Synthbuster: mean AUROC 0.587."""
    return _synthbuster("rigid", 0.587, _SQUASHED)


@reproduction(name="minder-synthbuster")
def minder_synthbuster() -> Reproduction:
    """MINDER on Synthbuster: mean AUROC 0.518."""
    return _synthbuster("minder", 0.518, _CUT)


@reproduction(name="warpad-synthbuster")
def warpad_synthbuster() -> Reproduction:
    """WaRPAD on Synthbuster: mean AUROC 0.834."""
    note = "the size before the tiles depends on the data in the paper; 896 is that of its ImageNet script"
    return _synthbuster("warpad", 0.834, _TILED, note)


@reproduction(name="wepe-imagenet")
def wepe_imagenet() -> Reproduction:
    """WePe with Gaussian noise on nine generators of ImageNet classes: mean AUROC 0.8799."""
    return _wepe("wepe", 0.8799)


@reproduction(name="wepe-uniform-imagenet")
def wepe_uniform_imagenet() -> Reproduction:
    """WePe with uniform noise on nine generators of ImageNet classes: mean AUROC 0.8906."""
    return _wepe("wepe_uniform", 0.8906)


@reproduction(name="wepe-laplace-imagenet")
def wepe_laplace_imagenet() -> Reproduction:
    """WePe with Laplace noise on nine generators of ImageNet classes: mean AUROC 0.8713."""
    return _wepe("wepe_laplace", 0.8713)


@reproduction(name="wepe-dropout-imagenet")
def wepe_dropout_imagenet() -> Reproduction:
    """WePe with dropout on nine generators of ImageNet classes: mean AUROC 0.8163."""
    return _wepe("wepe_dropout", 0.8163)


@reproduction(name="blur-adm")
def blur_adm() -> Reproduction:
    """Contrastive blur on ADM: AUROC 0.779."""
    return _rerun("contrastive_blur", 0.779)


@reproduction(name="minder-adm")
def minder_adm() -> Reproduction:
    """MINDER on ADM: AUROC 0.871."""
    return _rerun("minder", 0.871)


def _synthbuster(name: str, figure: float, preprocessing: str, note: str = "") -> Reproduction:
    return Reproduction(
        detector=name, data=_SYNTHBUSTER, metric="auroc", figure=figure, margin=0.03, why=_OTHER_SIZES,
        source="T: a third party's table of mean AUROC on Synthbuster", preprocessing=preprocessing, note=note,
    )  # fmt: skip


def _wepe(name: str, figure: float) -> Reproduction:
    return Reproduction(
        detector=name, data=_IMAGENET, metric="auroc", figure=figure, margin=0.03, why=_WEPE,
        source="T: a table of the variants of WePe (Nie et al. 2024, arXiv 2412.05897)", preprocessing=_SQUASHED,
    )  # fmt: skip


def _rerun(name: str, figure: float) -> Reproduction:
    data = DataSet(
        what="real images against ADM, as in the re-implementation's run", generators=("ADM",), fakes=1000, reals=1000,
        layout="real_fake: real/<source>/*, fake/ADM/*",
        source="the run's own choice of images is not stated with its results; U: GenImage's ADM with its reals",
    )  # fmt: skip
    return Reproduction(
        detector=name, data=data, metric="auroc", figure=figure, margin=0.03, why=_OTHER_SIZES,
        source="C: stored results of github.com/AlecImhofUni/ProjectGenAI, DINOv2 ViT-L/14 through timm",
        preprocessing=_CUT,
        note="timm resamples the table of positions with anti-aliasing, here it is done as in the authors' hub code",
    )  # fmt: skip
