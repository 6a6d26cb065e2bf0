"""Detectors with weights, run: images in RGB 0..1 become logits, in chunks that fit into memory."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fdetect.errors import WeightsError
from fdetect.nets.cards import encoder_card
from fdetect.nets.detector_cards import GIVE_DETECTOR, DetectorCard, detector_card, detector_config, find_detector
from fdetect.nets.folders import one_line, read_json

if TYPE_CHECKING:
    import torch

__all__ = ["LoadedDetector", "load_pretrained"]


@dataclass(frozen=True)
class LoadedDetector:
    """A detector on its device; `card` says which weights it carries, `model` is a network or a head."""

    card: DetectorCard
    model: Any
    device: str

    def logits(self, images: torch.Tensor) -> np.ndarray:
        """(B, 3, H, W) float32 RGB in 0..1, on any device -> (B,) float32, larger = more likely generated.

        Raises ParameterError for images that the network does not take, ImageTooLarge where one does not fit.
        """
        if self.card.encoder:
            return np.asarray(self.model.logits(images), np.float32)
        return self._looked(images, self.model) if len(images) else np.empty(0, np.float32)

    @property
    def dim(self) -> int:
        """Length of a network's embedding."""
        import torch

        side = self.model.config.LEAST
        with torch.inference_mode():
            return int(self.model.embed(torch.zeros(1, 3, side, side, device=self.device)).shape[1])

    def with_embedding(self, images: torch.Tensor) -> np.ndarray:
        """(B, 3, H, W) float32 RGB in 0..1 -> (B, 1 + D) float32, a network's logit and its embedding.

        Raises what `logits` raises.
        """
        import torch

        def look(part: torch.Tensor) -> torch.Tensor:
            self.model.check(part)
            embedding = self.model.embed(part).float()
            return torch.cat([self.model.logit(embedding)[:, None], embedding], dim=1)

        return self._looked(images, look) if len(images) else np.empty((0, 1 + self.dim), np.float32)

    def _looked(self, images: torch.Tensor, look: Callable[[torch.Tensor], torch.Tensor]) -> np.ndarray:
        import torch

        from fdetect.nets.memory import exact_float32, in_chunks

        def chunk(part: torch.Tensor) -> torch.Tensor:
            with torch.inference_mode(), exact_float32():
                return look(part.to(self.device, torch.float32)).float().cpu()

        key = f"{self.card.sha256} {self.card.config_sha256} {self.card.stem}"
        return np.asarray(in_chunks(chunk, images, device=self.device, key=key).numpy())


def load_pretrained(source: str, *, stem: str = "", clip: str = "", device: str = "auto") -> LoadedDetector:
    """Load a detector from disk, never from the network, in evaluation mode.

    source, stem  as for `fdetect.nets.detector_cards.detector_card`
    clip          of a head: where its encoder lies, if not where the name that it states finds it
    device        "auto" (CUDA where there is one, else CPU), "cpu" or "cuda"

    Raises WeightsError where weights are absent or do not fit exactly, ParameterError for a setting, BackendError for
    a device that is not there.
    """
    from fdetect.nets.encoders import load_encoder, resolve_device

    card = detector_card(source, stem=stem)
    device = resolve_device(device)
    folder = find_detector(source).resolve()
    if not card.encoder:
        return LoadedDetector(card, _network(folder, replace(card, evidence=""), device), device)
    where = clip or card.encoder
    encoder = load_encoder(where, size=encoder_card(where).size, device=device)
    from fdetect.nets.clip_heads import Head

    fix = "give the encoder that it was trained on as clip=FOLDER"
    head = Head.of(card.architecture, _tensors(folder, card), encoder, name=source, fix=fix)
    return LoadedDetector(card, head, device)


@functools.lru_cache(maxsize=4)
def _network(folder: Path, card: DetectorCard, device: str) -> Any:
    """Load once; the card holds the digests, so that changed files are read again."""
    from fdetect.nets.detectors.loading import fill

    config = detector_config(read_json(folder / "config.json", card.source), card.source, stem=card.stem)
    assert config is not None
    return fill(config.to_json(), _tensors(folder, card), card.source, GIVE_DETECTOR).requires_grad_(False).to(device)


def _tensors(folder: Path, card: DetectorCard) -> dict[str, Any]:
    from safetensors.torch import load_file

    try:
        return dict(load_file(folder / "model.safetensors"))
    except Exception as error:  # safetensors has a class of its own for each damage
        reason = f"{card.source} does not load ({one_line(error, folder, card.source)})"
        raise WeightsError(reason, GIVE_DETECTOR) from None
