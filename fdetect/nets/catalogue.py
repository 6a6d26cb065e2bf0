"""The catalogue of encoders: what is known of each before any file is there, and how any network can be run.

A card says what a published encoder is; `fdetect.nets.cards` says what was found on disk.  No file of these
encoders could be hashed when the catalogue was written, so `expected_sha256` is empty everywhere: `fdetect weights
get` then checks a download against the hash that the hub itself states.

    family                    embedding                                        source of the preprocessing
    dinov2, dinov2 registers  class token after the final norm                 authors' evaluation: 256, crop 224
    dinov3_vit                class token after the final norm                 transformers' DINOv3ViTImageProcessor
    clip, metaclip_2          class token, normed and projected (image_embeds) transformers' CLIPImageProcessor
    siglip (SigLIP 2 too)     attention-pooled output (pooler_output)          SiglipImageProcessor, resample 2

Perception Encoder is left out: transformers runs its image tower through timm alone.  So are SigLIP 2's NaFlex
checkpoints (model type siglip2), which take patches of any aspect ratio instead of square images.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from fdetect.errors import ParameterError

__all__ = [
    "CARDS", "FAMILIES", "IMAGENET_MEAN", "IMAGENET_STD", "NOISE_KINDS", "CataloguedEncoder", "NetworkNoise",
    "check_dtype",
]  # fmt: skip

Triple = tuple[float, float, float]

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
_CLIP_MEAN: Triple = (0.48145466, 0.4578275, 0.40821073)  # openai/CLIP, clip/clip.py
_CLIP_STD: Triple = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, kw_only=True)
class CataloguedEncoder:
    """What is known of an encoder; purpose and evidence are printed in every row that rests on it.

    name             in the catalogue; `hub_id` and `revision` on the hub, "main" where none is pinned
    family           transformers' model type
    embedding        what the D = `dim` numbers are
    size             side in px of the images that it was evaluated with
    fit              how an image comes to that size: "squash", or "crop" (shortest side to `resize`, centre crop)
    interpolation    "bilinear" or "bicubic"
    mean, std        what RGB in 0..1 is normalised with
    width, layers    of the vision transformer; `patch` in px, `registers` its extra tokens
    expected_sha256  of model.safetensors, empty where none could be verified
    authors_file     the authors' own checkpoint that `fdetect weights import` takes, `authors_sha256` its hash
    purpose          "release", or "test": nobody judges images with it
    evidence         of the card: "parity", our numbers equal a plain reference on small weights of this family
    """

    name: str
    hub_id: str
    revision: str = "main"
    family: str
    embedding: str
    size: int = 224
    fit: str = "squash"
    resize: int = 224
    interpolation: str = "bicubic"
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    dim: int
    width: int
    layers: int
    patch: int
    registers: int = 0
    licence: str
    expected_sha256: str = ""
    authors_file: str = ""
    authors_sha256: str = ""
    purpose: str = "release"
    evidence: str = "parity"


def check_dtype(dtype: str) -> None:
    """Raise ParameterError for a precision that networks are not run in."""
    if dtype not in ("float32", "bfloat16"):
        raise ParameterError(f"dtype is one of float32, bfloat16; got '{dtype}'")


NOISE_KINDS = ("gaussian", "uniform", "laplace", "dropout")


@dataclass(frozen=True)
class NetworkNoise:
    """A perturbation of an encoder's weights, for WePe; the draw depends on `draw` and parameter names alone.

    kind       "gaussian", "uniform" or "laplace": every matrix W of a perturbed block becomes W + E, the entries of E
               independent with mean 0 and standard deviation strength * mean |W| (biases, norms and layer scales
               stay).  "dropout": weights stay, and each perturbed block's two branches (attention, MLP) are thinned
               with probability `strength` and scaled by 1 / (1 - strength), by one mask (D,) a branch and draw that
               all images and tokens share, so that no result depends on its batch
    strength   0.1, the paper's ratio; of dropout the rate, which no source states
    draw       0, 1, ...: seeds NumPy's generator together with the parameter's name in the installed transformers,
               alike on every machine and device that has the same version of it
    skip_last  blocks at the end that are not perturbed: 5 of ViT-L's 24, so that the first 19 are; the first always is

    Source: Nie et al. 2025, "Epistemic uncertainty for generated image detection", arXiv 2412.05897: ViT-L/14, first
    19 blocks, noise in proportion to the mean of the parameters with ratio 0.1.  The text says "variance"; it is read
    as the standard deviation here, as a public re-implementation reads it.  Patch embedding, positions and tokens
    stay.  How often the authors draw is stated in no source that could be read.
    """

    kind: str = "gaussian"
    strength: float = 0.1
    draw: int = 0
    skip_last: int = 5


_CLASS_TOKEN = "class token after the final norm"
_PROJECTED = "class token after the final norm, projected (image_embeds)"
_POOLED = "attention-pooled output (pooler_output)"


@dataclass(frozen=True, kw_only=True)
class Family:
    """What a folder of a model type is taken to be where it says nothing else: transformers' own defaults.

    type      what config.json calls it; `nested` are the names of a config.json that holds the image tower alone
    defaults  of hidden_size, num_hidden_layers, patch_size, image_size, and of projection_dim where there is one
    """

    type: str
    embedding: str
    nested: str = ""
    defaults: dict[str, int] = field(default_factory=dict)
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    fit: str = "squash"
    interpolation: str = "bicubic"


def _sizes(width: int, layers: int, patch: int, image: int, projection: int = 0) -> dict[str, int]:
    sizes = {"hidden_size": width, "num_hidden_layers": layers, "patch_size": patch, "image_size": image}
    return sizes | ({"projection_dim": projection} if projection else {})


_CLIP = Family(
    type="clip", embedding=_PROJECTED, nested="clip_vision_model", defaults=_sizes(768, 12, 32, 224, 512),
    mean=_CLIP_MEAN, std=_CLIP_STD, fit="crop",
)  # fmt: skip
FAMILIES = {
    family.type: family
    for family in (
        Family(type="dinov2", embedding=_CLASS_TOKEN, defaults=_sizes(768, 12, 14, 224), fit="crop"),
        Family(type="dinov2_with_registers", embedding=_CLASS_TOKEN, defaults=_sizes(768, 12, 16, 224), fit="crop"),
        Family(type="dinov3_vit", embedding=_CLASS_TOKEN, defaults=_sizes(384, 12, 16, 224), interpolation="bilinear"),
        _CLIP,
        replace(_CLIP, type="metaclip_2", nested="metaclip_2_vision_model"),
        Family(
            type="siglip", embedding=_POOLED, nested="siglip_vision_model", defaults=_sizes(768, 12, 16, 224),
            mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="bilinear",
        ),
    )
}

# width, layers; the short name of the authors' files
_DINOV2 = {
    "small": (384, 12, "vits"), "base": (768, 12, "vitb"), "large": (1024, 24, "vitl"), "giant": (1536, 40, "vitg"),
}  # fmt: skip
_DINOV3 = {
    "small": (384, 12, "vits16"), "small-plus": (384, 12, "vits16plus"), "base": (768, 12, "vitb16"),
    "large": (1024, 24, "vitl16"), "huge-plus": (1280, 32, "vith16plus"),
}  # fmt: skip
# hub id, D, width, layers, patch, size
_CLIPS = {
    "clip-vit-b32": ("openai/clip-vit-base-patch32", 512, 768, 12, 32, 224),
    "clip-vit-b16": ("openai/clip-vit-base-patch16", 512, 768, 12, 16, 224),
    "clip-vit-l14": ("openai/clip-vit-large-patch14", 768, 1024, 24, 14, 224),
    "clip-vit-l14-336": ("openai/clip-vit-large-patch14-336", 768, 1024, 24, 14, 336),
    "metaclip2-b32": ("facebook/metaclip-2-worldwide-b32", 512, 768, 12, 32, 224),
    "metaclip2-l14": ("facebook/metaclip-2-worldwide-l14", 768, 1024, 24, 14, 224),
    "metaclip2-h14": ("facebook/metaclip-2-worldwide-huge-quickgelu", 1024, 1280, 32, 14, 224),
}
_SIGLIPS = {
    "siglip2-b16": ("google/siglip2-base-patch16-224", 768, 12, 16, 224),
    "siglip2-l16-384": ("google/siglip2-large-patch16-384", 1024, 24, 16, 384),
    "siglip2-so400m-p14": ("google/siglip2-so400m-patch14-224", 1152, 27, 14, 224),
    "siglip2-so400m-p16-512": ("google/siglip2-so400m-patch16-512", 1152, 27, 16, 512),
}
# of dinov2_vitl14_pretrain.pth, which RIGID's notebook loads
_VITL14_SHA256 = "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428"


def _dinov2(size: str, registers: int) -> CataloguedEncoder:
    width, layers, short = _DINOV2[size]
    family = "dinov2_with_registers" if registers else "dinov2"
    return CataloguedEncoder(
        name=f"dinov2-{'reg-' if registers else ''}{size}",
        hub_id=f"facebook/dinov2-{'with-registers-' if registers else ''}{size}",
        family=family, embedding=_CLASS_TOKEN, fit="crop", resize=256,
        dim=width, width=width, layers=layers, patch=14, registers=registers, licence="Apache-2.0",
        authors_file=f"dinov2_{short}14_{'reg4_' if registers else ''}pretrain.pth",
        authors_sha256=_VITL14_SHA256 if (size, registers) == ("large", 0) else "",
    )  # fmt: skip


def _dinov3(size: str) -> CataloguedEncoder:
    width, layers, short = _DINOV3[size]
    return CataloguedEncoder(
        name=f"dinov3-{size}", hub_id=f"facebook/dinov3-{short}-pretrain-lvd1689m",
        family="dinov3_vit", embedding=_CLASS_TOKEN, interpolation="bilinear",
        dim=width, width=width, layers=layers, patch=16, registers=4,
        licence="DINOv3 License (gated)",
    )  # fmt: skip


def _clip(name: str) -> CataloguedEncoder:
    hub_id, dim, width, layers, patch, size = _CLIPS[name]
    meta = name.startswith("metaclip2")
    return CataloguedEncoder(
        name=name, hub_id=hub_id, family="metaclip_2" if meta else "clip", embedding=_PROJECTED,
        size=size, fit="crop", resize=size, mean=_CLIP_MEAN, std=_CLIP_STD,
        dim=dim, width=width, layers=layers, patch=patch, licence="CC-BY-NC-4.0" if meta else "MIT",
    )  # fmt: skip


def _siglip(name: str) -> CataloguedEncoder:
    hub_id, width, layers, patch, size = _SIGLIPS[name]
    return CataloguedEncoder(
        name=name, hub_id=hub_id, family="siglip", embedding=_POOLED,
        size=size, resize=size, interpolation="bilinear", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5),
        dim=width, width=width, layers=layers, patch=patch, licence="Apache-2.0",
    )  # fmt: skip


CARDS = {
    card.name: card
    for card in (
        *(_dinov2(size, registers) for registers in (0, 4) for size in _DINOV2),
        *map(_dinov3, _DINOV3),
        *map(_clip, _CLIPS),
        *map(_siglip, _SIGLIPS),
    )
}
