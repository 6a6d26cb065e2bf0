"""The round trip of an image through a frozen autoencoder.

    image x in 0..1 -> encoder -> latent, the posterior's mode -> decoder -> clamp -> x' in 0..1

The authors of AEROBLADE draw a latent from the posterior; the mode is taken here, as by those of HFI, so that a score
is the same each time.  diffusers' models see 2 x - 1, as they were trained.  Torch is loaded with a network.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdetect.errors import ParameterError, WeightsError
from fdetect.nets.autoencoder_cards import (
    AUTOENCODERS,
    GIVE_FOLDER,
    GIVE_OWN,
    IMPORT_TAEF2,
    OURS,
    AutoencoderCard,
    autoencoder_card,
    find_autoencoder,
)
from fdetect.nets.catalogue import check_dtype
from fdetect.nets.folders import one_line, read_json, refuse_keys
from fdetect.nets.own import CLASS_NAME
from fdetect.nets.weights import remove_first

if TYPE_CHECKING:
    import torch

__all__ = ["AUTOENCODERS", "Autoencoder", "AutoencoderCard", "autoencoder_card", "load_autoencoder"]


@dataclass(frozen=True)
class Autoencoder:
    """A frozen autoencoder on its device; `card` says which weights it carries."""

    card: AutoencoderCard
    model: Any
    dtype: str
    device: str

    @property
    def multiple(self) -> int:
        """What the sides of an image must be a multiple of, in px."""
        own = self.card.architecture == CLASS_NAME
        return int(self.model.config.multiple) if own else self.card.factor

    def reconstruct(self, images: torch.Tensor) -> torch.Tensor:
        """Return the round trip: (B, 3, H, W) float32 RGB 0..1 -> the same shape and range, where `images` are.

        With dtype "bfloat16" products run in bfloat16 under autocast; weights and result stay float32.  On a CPU one
        image goes at a time, which is fastest there and makes the result independent of the batch.
        Raises ParameterError where a side is no multiple of `multiple`, BackendError where one image does not fit.
        """
        from fdetect.nets.memory import in_chunks

        height, width = images.shape[-2:]
        if not height or not width or height % self.multiple or width % self.multiple:
            raise ParameterError(
                f"{self.card.name} takes images whose sides are multiples of {self.multiple} px; got {height} x {width}"
            )
        if not len(images):
            return images
        chunk, key = 1 if self.device == "cpu" else None, f"{self.card.sha256} {self.dtype}"
        return in_chunks(self._round_trip, images, device=self.device, chunk=chunk, key=key)

    def _round_trip(self, images: torch.Tensor) -> torch.Tensor:
        import torch

        from fdetect.nets.memory import exact_float32

        half = torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.dtype == "bfloat16")
        with torch.inference_mode(), exact_float32(), half:
            shown = images.to(self.device)
            if self.card.architecture in OURS:
                again = self.model(shown)
            else:
                again = _diffusers_round_trip(self.model, shown * 2 - 1) / 2 + 0.5
            return again.float().clamp(0, 1).to(images.device)


def load_autoencoder(source: str, *, device: str = "auto", dtype: str = "float32") -> Autoencoder:
    """Load an autoencoder from disk, never from the network, in evaluation mode.

    source  as for `autoencoder_card`
    device  "auto" (CUDA where there is one, else CPU), "cpu" or "cuda"
    dtype   "float32", or "bfloat16" (autocast)

    Raises WeightsError where the weights are absent or do not fill the network exactly, ParameterError for a setting,
    BackendError for a device that is not there.
    """
    from fdetect.nets.encoders import resolve_device

    check_dtype(dtype)
    card = autoencoder_card(source)
    device = resolve_device(device, dtype=dtype)
    folder, _ = find_autoencoder(source)
    model = _model(folder.resolve(), source, card.architecture, card.sha256, card.config_sha256, device)
    return Autoencoder(card, model, dtype, device)


def _diffusers_round_trip(model: Any, images: torch.Tensor) -> torch.Tensor:
    """Encode and decode: (B, 3, H, W) in -1..1 -> the same."""
    encoded = model.encode(images)
    if hasattr(encoded, "latent_dist"):
        return model.decode(encoded.latent_dist.mode()).sample
    # MoVQ's latents are not rounded to its codebook, as in AEROBLADE and in Kandinsky itself
    unrounded = {"force_not_quantize": True} if hasattr(model, "quantize") else {}
    return model.decode(encoded.latents, **unrounded).sample


@functools.lru_cache(maxsize=4)
def _model(folder: Path, source: str, architecture: str, sha256: str, config_sha256: str, device: str) -> Any:
    """Load once; the digests are part of the key so that changed files are read again; messages say `source`."""
    if architecture in OURS:
        return _ours(folder, source, architecture).to(device)
    import diffusers
    import torch

    try:
        model, report = getattr(diffusers, architecture).from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            torch_dtype=torch.float32,
            low_cpu_mem_usage=False,
            output_loading_info=True,
        )
    except Exception as error:  # shapes, a damaged header, a bad configuration: each in its own class
        reason = one_line(error, folder, source)
        raise WeightsError(f"{source} does not load as {architecture} ({reason})", GIVE_FOLDER) from None
    # diffusers fills what is missing with random numbers and only warns: refused here
    lacks, extra = (set(map(str, report[name])) for name in ("missing_keys", "unexpected_keys"))
    refuse_keys(source, GIVE_FOLDER, lacks=lacks, extra=extra)
    return model.eval().requires_grad_(False).to(device)


def _ours(folder: Path, source: str, architecture: str) -> Any:
    """Load a network that is built here from model.safetensors and config.json."""
    from safetensors.torch import load_file

    from fdetect.nets.own.loading import load_own
    from fdetect.nets.taef2 import load_taef2

    own = architecture == CLASS_NAME
    fix = GIVE_OWN if own else GIVE_FOLDER
    try:
        state = load_file(folder / "model.safetensors")
    except Exception as error:  # as for diffusers
        raise WeightsError(f"{source} does not load ({one_line(error, folder, source)})", fix) from None
    if own:
        return load_own(state, read_json(folder / "config.json", source, fix), source, fix)
    return load_taef2(state, source, remove_first(folder, IMPORT_TAEF2) if source == "taef2" else fix)
