"""DINOv2 as the trunk of a detector: frozen, changed by low rank, or learning as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import transformers
from torch import nn

from fdetect.errors import WeightsError
from fdetect.nets.architectures import ARCHITECTURES, load_network
from fdetect.nets.cards import EncoderCard, encoder_card
from fdetect.nets.detectors.lora import add_lora
from fdetect.nets.detectors.model import DetectorNetwork
from fdetect.nets.detectors.tower_weights import local_folder, of_setting
from fdetect.nets.detectors.towers import Tokens, from_tokens

if TYPE_CHECKING:
    from fdetect.nets.detectors.transformer import Dinov2

__all__ = ["dinov2", "dinov2_card", "fill_dinov2"]

# linear layers of the query and of the value, by the names of transformers 5 and 4
_QUERY_VALUE = ("q_proj", "v_proj", "query", "value")


def dinov2(config: Dinov2) -> DetectorNetwork:
    """Return DINOv2 with torch's first values, those of its parameters learning that the mode says.

    Raises WeightsError where the encoder, whose sizes are needed, is absent or of another family.
    """
    card = dinov2_card(config.encoder)
    kind = getattr(transformers, ARCHITECTURES[card.family].network)
    sizes = kind.config_class.from_pretrained(local_folder(config.encoder, "encoder"), local_files_only=True)
    tower = kind(sizes)
    tower.requires_grad_(config.mode == "full")
    tower.embeddings.mask_token.requires_grad_(False)  # of pretraining: no gradient reaches it
    if config.mode == "lora":
        add_lora(tower, _QUERY_VALUE, rank=config.rank, alpha=config.alpha)
    return from_tokens(config, Tokens(tower, card.patch), card.dim, pool=config.pool, mean=card.mean, std=card.std)


def fill_dinov2(tower: nn.Module, encoder: str, *, sha256: str = "") -> None:
    """Fill a tower with the encoder's weights, in place; what low rank adds stays as it is.

    sha256  of the weights that are wanted; empty: any

    Raises WeightsError where the encoder is absent, damaged, of another family or has other weights.
    """
    card = dinov2_card(encoder)
    if sha256 not in ("", card.sha256):
        raise WeightsError(f"{encoder} is not the encoder that the detector was trained with: its sha256 is "
                           f"{card.sha256[:12]}, not {sha256[:12]}", "get those weights")  # fmt: skip
    loaded = load_network(local_folder(encoder, "encoder"), card, "size", card.image_size).state_dict()
    with torch.no_grad():
        for key, tensor in tower.state_dict().items():
            plain = key.replace(".base.", ".")  # what a low-rank layer wraps
            if plain in loaded:
                tensor.copy_(loaded[plain])


def dinov2_card(encoder: str) -> EncoderCard:
    """Return the card of a DINOv2 that is here; raises WeightsError where it is absent or of another family."""
    try:
        card = encoder_card(encoder)
    except WeightsError as error:
        raise of_setting(error, "encoder") from None
    if not card.family.startswith("dinov2"):
        raise WeightsError(f"{encoder} is of the family {card.family}, not dinov2",
                           "choose another encoder, such as dinov2-small (fdetect weights list)")  # fmt: skip
    return card
