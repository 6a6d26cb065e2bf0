"""Published figures of training-free detectors."""

from __future__ import annotations

from dataclasses import replace

from fdetect.bench.reproduce.published.base import DataSet, Reproduction, TrainingFree, reproduction
from fdetect.bench.reproduce.published.sets import GENIMAGE_7, SDV14

__all__: list[str] = []

# --- data ------------------------------------------------------------------------------------------------------------

_IMAGENET = DataSet(
    what="ImageNet against class-conditional generators at 256 px",
    generators=("ADM", "ADMG", "LDM", "DiT-XL-2", "BigGAN", "GigaGAN", "StyleGAN-XL", "RQ-Transformer", "Mask-GIT"),
    named=True,
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
_GENIMAGE = replace(GENIMAGE_7, what="GenImage, validation folders", generators=(*SDV14, *GENIMAGE_7.generators),
                    reals=6000, left_out=())  # fmt: skip
_SYNTHBUSTER = DataSet(
    what="Synthbuster against RAISE-1k",
    generators=("DALL-E 2", "DALL-E 3", "Adobe Firefly", "Midjourney v5", "SD 1.3", "SD 1.4", "SD 2", "SD XL", "GLIDE"),
    named=True,
    fakes=1000,
    reals=1000,
    layout="real_fake: real/raise/*, fake/<generator>/*",
    source="Synthbuster: zenodo.org/records/10066460 (Bammey 2023); U: that the table's reals are RAISE-1k, from its "
    "authors' site",
)

_OF_RIGID = "T: a third party's table of RIGID (He et al. 2024, arXiv 2405.20112)"
_SQUASHED = "native, whole, as stored; squashed to 224 x 224, bilinear, ImageNet's mean and std"
_CUT = "native, whole, as stored; shorter side to 224, bicubic, centre 224 x 224, ImageNet's mean and std"
_TILED = "native, whole, as stored; squashed to 896 x 896, bicubic, 16 tiles of 224 x 224, ImageNet's mean and std"
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
        way=TrainingFree("rigid"), data=_IMAGENET, metric="auroc", figure=0.8358, margin=0.02, why=_RANDOM_SETS,
        source=_OF_RIGID,
        preprocessing=_SQUASHED,
    )  # fmt: skip


@reproduction(name="rigid-lsun-bedroom")
def rigid_lsun_bedroom() -> Reproduction:
    """RIGID on generators of LSUN bedrooms: mean AUROC 0.8520."""
    return Reproduction(
        way=TrainingFree("rigid"), data=_BEDROOM, metric="auroc", figure=0.8520, margin=0.02, why=_RANDOM_SETS,
        source=_OF_RIGID,
        preprocessing=_SQUASHED,
    )  # fmt: skip


@reproduction(name="rigid-genimage")
def rigid_genimage() -> Reproduction:
    """RIGID on GenImage: mean accuracy 0.7819."""
    return Reproduction(
        way=TrainingFree("rigid"), data=_GENIMAGE, metric="accuracy_95", figure=0.7819, margin=0.03,
        why="the threshold is RIGID's rule; the table does not say how its own was set",
        source=_OF_RIGID,
        preprocessing=_SQUASHED,
        note="U: that the table judges each generator against the reals of its own folder, as the set's authors do",
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
    """WePe with Gaussian noise on 9 ImageNet generators: mean AUROC 0.8799."""
    return _wepe("wepe", 0.8799)


@reproduction(name="wepe-uniform-imagenet")
def wepe_uniform_imagenet() -> Reproduction:
    """WePe with uniform noise on 9 ImageNet generators: mean AUROC 0.8906."""
    return _wepe("wepe_uniform", 0.8906)


@reproduction(name="wepe-laplace-imagenet")
def wepe_laplace_imagenet() -> Reproduction:
    """WePe with Laplace noise on 9 ImageNet generators: mean AUROC 0.8713."""
    return _wepe("wepe_laplace", 0.8713)


@reproduction(name="wepe-dropout-imagenet")
def wepe_dropout_imagenet() -> Reproduction:
    """WePe with dropout on 9 ImageNet generators: mean AUROC 0.8163."""
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
        way=TrainingFree(name), data=_SYNTHBUSTER, metric="auroc", figure=figure, margin=0.03, why=_OTHER_SIZES,
        source="T: a third party's table of mean AUROC on Synthbuster", preprocessing=preprocessing, note=note,
    )  # fmt: skip


def _wepe(name: str, figure: float) -> Reproduction:
    return Reproduction(
        way=TrainingFree(name), data=_IMAGENET, metric="auroc", figure=figure, margin=0.03, why=_WEPE,
        source="T: a table of the variants of WePe (Nie et al. 2024, arXiv 2412.05897)", preprocessing=_SQUASHED,
    )  # fmt: skip


def _rerun(name: str, figure: float) -> Reproduction:
    data = DataSet(
        what="real images against ADM, as in the re-implementation's run", generators=("ADM",), named=True, fakes=1000,
        reals=1000,
        layout="real_fake: real/<source>/*, fake/ADM/*",
        source="the run's own choice of images is not stated with its results; U: GenImage's ADM with its reals",
    )  # fmt: skip
    return Reproduction(
        way=TrainingFree(name), data=data, metric="auroc", figure=figure, margin=0.03, why=_OTHER_SIZES,
        source="C: stored results of github.com/AlecImhofUni/ProjectGenAI, DINOv2 ViT-L/14 through timm",
        preprocessing=_CUT,
        note="timm resamples the table of positions with anti-aliasing, here it is done as in the authors' hub code",
    )  # fmt: skip
