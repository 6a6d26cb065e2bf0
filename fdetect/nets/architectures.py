"""The architectures behind the encoders: transformers' classes, loaded strictly, and what each makes of positions.

DINOv2 was trained at 518 px, a 37 x 37 table of positions; at 224 px it needs 16 x 16.  The authors' hub code
resamples the table of the models without registers by scale_factor = (16 + 0.1) / 37, where the 0.1 moves every
sampling point; transformers resamples to the size 16 x 16.  The two tables differ, and so do the embeddings.  With
registers the authors too resample to the size, with anti-aliasing, as transformers does.  CLIP and SigLIP are
resampled to the size where an image is not of the size that they were trained with; DINOv3 turns its queries and
keys instead and has no table.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fdetect.errors import ParameterError, WeightsError
from fdetect.nets.cards import EncoderCard
from fdetect.nets.folders import one_line, refuse_keys
from fdetect.nets.weights import remove_first, where_to_get

__all__ = ["ARCHITECTURES", "Architecture", "authors_position_table", "load_network", "quiet",
           "resolve_positions"]  # fmt: skip

_OFFSET = 0.1  # `interpolate_offset` of the authors' hub models without registers


@dataclass(frozen=True)
class Architecture:
    """How one family is run.

    network    transformers' class of the image tower
    embedding  picks (B, D) out of its output
    positions  what `pos_interp` may be, the authors' way first
    others     pattern of keys that a checkpoint may hold beside the image tower: the text tower, heads, buffers
    blocks     pattern of the parameters' names that finds the number of a block
    resizes    whether forward must be told that the table of positions is to be resampled
    """

    network: str
    embedding: Callable[[Any], torch.Tensor]
    positions: tuple[str, ...]
    others: str
    blocks: str
    resizes: bool = False


_TEXT = r"text_model\..*|text_projection\..*|logit_scale|logit_bias|(vision_model\.)?embeddings\.position_ids"
_LAYER, _LAYERS = r"(?:encoder|model)\.layer\.(\d+)\.", r"encoder\.layers\.(\d+)\."


def _class_token(output: Any) -> torch.Tensor:
    return torch.as_tensor(output.last_hidden_state[:, 0])


ARCHITECTURES = {
    "dinov2": Architecture("Dinov2Model", _class_token, ("scale_factor", "size"), r"classifier\..*", _LAYER),
    "dinov2_with_registers": Architecture(
        "Dinov2WithRegistersModel", _class_token, ("size",), r"classifier\..*", _LAYER
    ),
    "dinov3_vit": Architecture("DINOv3ViTModel", _class_token, ("none",), r"classifier\..*", _LAYER),
    "clip": Architecture(
        "CLIPVisionModelWithProjection", lambda output: output.image_embeds, ("size",), _TEXT, _LAYERS, True
    ),
    "metaclip_2": Architecture(
        "MetaClip2VisionModelWithProjection", lambda output: output.image_embeds, ("size",), _TEXT, _LAYERS, True
    ),
    "siglip": Architecture("SiglipVisionModel", lambda output: output.pooler_output, ("size",), _TEXT, _LAYERS, True),
}


def resolve_positions(card: EncoderCard, wanted: str) -> str:
    """Return "scale_factor", "size" or "none" for a family; "authors" is its authors' own way.

    Raises ParameterError for what the family does not have.
    """
    known = ARCHITECTURES[card.family].positions
    if wanted == "authors":
        return known[0]
    if wanted not in known:
        raise ParameterError(f"pos_interp of {card.name} is one of authors, {', '.join(known)}; got '{wanted}'")
    return wanted


def load_network(folder: Path, card: EncoderCard, positions: str, size: int) -> Any:
    """Load the image tower in float32 and evaluation mode, its table of positions resampled for `size` px.

    Raises WeightsError where the file does not fill the network exactly; keys of the text tower and of heads may be
    there, and are left.
    """
    import transformers

    architecture = ARCHITECTURES[card.family]
    fix = remove_first(folder, where_to_get(card.source))
    try:
        with quiet():
            model, report = getattr(transformers, architecture.network).from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,  # never the checkpoint's own: the precision is chosen at encode time
                attn_implementation="sdpa",
                ignore_mismatched_sizes=True,  # they are named below, where transformers has only text about a report
                output_loading_info=True,
            )
    except Exception as error:  # a damaged header, a bad configuration: each in its own class
        reason = one_line(error, folder, card.source)
        raise WeightsError(f"{card.source} does not load as {card.family} ({reason})", fix) from None
    # transformers fills what is missing or does not fit with random numbers and only warns: refused here
    refuse_keys(
        card.source, fix, lacks=set(map(str, report["missing_keys"])),
        extra={key for key in map(str, report["unexpected_keys"]) if not re.fullmatch(architecture.others, key)},
        other={str(key): found for key, found, _ in report["mismatched_keys"]},
    )  # fmt: skip
    if positions == "scale_factor":
        table = model.embeddings.position_embeddings.detach()
        grid = size // card.patch
        model.embeddings.position_embeddings = torch.nn.Parameter(authors_position_table(table, grid=grid))
    return model.eval().requires_grad_(False)


def authors_position_table(table: torch.Tensor, *, grid: int) -> torch.Tensor:
    """Resample a position table as DINOv2's authors do: (1, 1 + M*M, D) float32 -> (1, 1 + grid*grid, D) float32.

    Bicubic (a = -0.75), no anti-aliasing, borders repeated; output i samples the input at

        (i + 0.5) / s - 0.5,   s = (grid + 0.1) / M

    The CLS row is kept, and a table of the right size is returned as it is.  Source: facebookresearch/dinov2,
    dinov2/models/vision_transformer.py, `interpolate_pos_encoding` (Oquab et al. 2023, arXiv 2304.07193); the offset
    and the anti-aliasing of the models with registers are in dinov2/hub/backbones.py.
    """
    side = math.isqrt(table.shape[1] - 1)
    if side == grid:
        return table
    patches = table[:, 1:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    scale = (grid + _OFFSET) / math.sqrt(table.shape[1] - 1)
    patches = torch.nn.functional.interpolate(patches, scale_factor=(scale, scale), mode="bicubic")
    return torch.cat((table[:, :1], patches.permute(0, 2, 3, 1).reshape(1, grid * grid, -1)), dim=1)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' progress bar and load report, and give both back: what matters is raised."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
