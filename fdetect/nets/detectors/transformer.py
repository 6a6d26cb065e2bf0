"""Vision transformers as detectors: ViT, Swin-T, and DINOv2 fine-tuned by its head, by LoRA or as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from fdetect.errors import ParameterError
from fdetect.nets.detectors.base import NetworkConfig, network

if TYPE_CHECKING:
    from fdetect.nets.detectors.model import DetectorNetwork

__all__ = ["Dinov2", "Swin", "Vit"]

_POOLS = ("mean", "class")
_MODES = ("head", "lora", "full")


@network
@dataclass(frozen=True)
class Vit(NetworkConfig):
    """ViT: (B, 3, H, W) RGB 0..1 -> (B,) logit; 5.50 million parameters as it stands (ViT-Ti/16 without its head).

    Sides are cut at the bottom and the right to multiples of the patch, x' = (x - 0.5) / 0.5, then `depth` blocks; the
    table of positions is of `size` px and is resampled (bicubic) to a picture of another size.

    pool        "mean": the classifier sees the mean of the patches' tokens, and there are patch logits; "class": the
                class token
    pretrained  a folder, a name of the weights home or a hub id of transformers' ViT whose sizes are these settings
                (ViT-B/16: width=768, heads=12, size=224); empty: from scratch

    Source: Dosovitskiy et al. 2021, arXiv 2010.11929, equations 1 to 4; the sizes of ViT-Ti: Touvron et al. 2021,
    arXiv 2012.12877, table 1.  Raises WeightsError where the weights named are absent or are another network's.
    """

    RECIPE: ClassVar = {"rate": 5e-4, "decay": 0.05, "warm_up": 0.1}

    width: int = 192
    depth: int = 12
    heads: int = 3
    patch: int = 16
    size: int = 128
    pool: str = "mean"
    pretrained: str = ""

    def __post_init__(self) -> None:
        for name, least, most in (("width", 1, 2048), ("depth", 1, 48), ("heads", 1, 64), ("patch", 4, 32)):
            self._check_whole(name, least, most)
        self._check_whole("size", self.patch, 1024)
        _check_one_of(self, "pool", _POOLS)
        if self.width % self.heads or self.size % self.patch:
            got = f"width {self.width}, heads {self.heads}, size {self.size}, patch {self.patch}"
            raise ParameterError(
                f"{self.architecture}: width must be a multiple of heads, size one of patch; got {got}"
            )

    def model(self) -> DetectorNetwork:
        """Return the network with torch's first values."""
        from fdetect.nets.detectors.towers import vit

        return vit(self, width=self.width, depth=self.depth, heads=self.heads, patch=self.patch, size=self.size,
                   pool=self.pool)  # fmt: skip

    def pretrain(self, model: DetectorNetwork) -> None:
        """Fill the transformer with the weights that `pretrained` names."""
        if self.pretrained:
            from fdetect.nets.detectors.tower_weights import fill_tower

            same = ("hidden_size", "num_hidden_layers", "num_attention_heads", "patch_size", "image_size", "hidden_act",
                    "layer_norm_eps")  # fmt: skip
            fill_tower(model.get_submodule("trunk.tower"), self.pretrained, self.architecture, same=same)


@network
@dataclass(frozen=True)
class Swin(NetworkConfig):
    """Swin-T: (B, 3, H, W) RGB 0..1 -> (B,) logit; 27.52 million parameters.

    Stages of 2, 2, 6 and 2 blocks on patches of 4 px, windows of `window` places, every second one shifted; the
    features' mean and patch logits are taken after the last norm.  Pictures and features that are no multiple of a
    patch or window are filled up with zeros at the bottom and the right.  Windows stay as large on small features,
    where the published classifier makes them smaller; with 128 px and window=4 nothing is filled up.
    ImageNet's mean and deviation.

    depths      blocks of the four stages, as text: "2-2-6-2"
    width       channels of the first stage, a multiple of 32 (heads of 32 channels); twice as many in each that follows
    pretrained  a folder, a name of the weights home or a hub id of transformers' Swin; empty: from scratch

    Source: Liu et al. 2021, arXiv 2103.14030, section 3 and the sizes of Swin-T.  Raises WeightsError where the weights
    named are absent or are another network's.
    """

    RECIPE: ClassVar = {"rate": 5e-4, "decay": 0.05, "warm_up": 0.1}

    width: int = 96
    depths: str = "2-2-6-2"
    window: int = 7
    pretrained: str = ""

    def __post_init__(self) -> None:
        self._check_whole("width", 32, 1024)
        self._check_whole("window", 2, 32)
        parts = self.depths.split("-")
        if self.width % 32 or len(parts) != 4 or not all(part.isdecimal() and 1 <= int(part) <= 64 for part in parts):
            raise ParameterError(f"{self.architecture}: width must be a multiple of 32 and depths four numbers from 1 "
                                 f"to 64 as in 2-2-6-2, got width {self.width}, depths '{self.depths}'")  # fmt: skip

    def model(self) -> DetectorNetwork:
        """Return the network with torch's first values."""
        from fdetect.nets.detectors.towers import swin

        depths = tuple(int(depth) for depth in self.depths.split("-"))
        return swin(self, width=self.width, depths=depths, window=self.window)

    def pretrain(self, model: DetectorNetwork) -> None:
        """Fill the transformer with the weights that `pretrained` names."""
        if self.pretrained:
            from fdetect.nets.detectors.tower_weights import fill_tower

            same = ("embed_dim", "depths", "num_heads", "window_size", "patch_size", "hidden_act", "layer_norm_eps")
            fill_tower(model.get_submodule("trunk.tower"), self.pretrained, self.architecture, same=same)


@network
@dataclass(frozen=True)
class Dinov2(NetworkConfig):
    """DINOv2, fine-tuned: (B, 3, H, W) RGB 0..1 -> (B,) logit; always from local weights of the encoder.

    Sides are cut at the bottom and the right to multiples of 14 px; the table of positions is resampled to their number
    (bicubic, by size; the authors' offset of 0.1 is for one size alone); mean and deviation are the encoder's card's.

    encoder      a name of the catalogue, a folder or a hub id: DINOv2 with or without registers, of any size
    mode         "head": a linear classifier on frozen features; "lora": and low-rank changes of the query and value
                 matrices; "full": all weights
    rank, alpha  of the low-rank change (alpha / rank) B A; see `fdetect.nets.detectors.lora`
    pool         "class": the class token, as the encoder's embedding; "mean": of the patches, with patch logits

    sha256       of the encoder's weights that are wanted, as a trained detector states it; empty: any

    Source: Oquab et al. 2023, arXiv 2304.07193; Hu et al. 2021, arXiv 2106.09685.  Raises WeightsError where the
    encoder is absent, damaged or of another family.
    """

    RECIPE: ClassVar = {"rate": 5e-4, "decay": 1e-2, "warm_up": 0.1}

    encoder: str = "dinov2-small"
    mode: str = "lora"
    rank: int = 8
    alpha: float = 16.0
    pool: str = "class"
    sha256: str = ""

    def __post_init__(self) -> None:
        _check_one_of(self, "mode", _MODES)
        _check_one_of(self, "pool", _POOLS)
        self._check_whole("rank", 1, 1024)
        self._check_number("alpha", above_zero=True)

    @property
    def recipe(self) -> dict[str, float]:
        """RECIPE at the rate that fits the mode: the fewer weights learn, the faster they may."""
        return {**self.RECIPE, "rate": {"head": 1e-3, "lora": 5e-4, "full": 2e-5}[self.mode]}

    def to_json(self) -> dict[str, Any]:
        """Return what config.json holds: `sha256` too, so that no other encoder takes the place of this one."""
        from fdetect.nets.detectors.tuned import dinov2_card

        return {**super().to_json(), "sha256": self.sha256 or dinov2_card(self.encoder).sha256}

    def model(self) -> DetectorNetwork:
        """Return the network with torch's first values; the encoder's folder says its sizes."""
        from fdetect.nets.detectors.tuned import dinov2

        return dinov2(self)

    def pretrain(self, model: DetectorNetwork) -> None:
        """Fill the transformer with the encoder's weights."""
        from fdetect.nets.detectors.tuned import fill_dinov2

        fill_dinov2(model.get_submodule("trunk.tower"), self.encoder, sha256=self.sha256)


def _check_one_of(config: NetworkConfig, name: str, known: tuple[str, ...]) -> None:
    value = getattr(config, name)
    if value not in known:
        raise ParameterError(f"{config.architecture}: {name} is one of {', '.join(known)}; got '{value}'")
