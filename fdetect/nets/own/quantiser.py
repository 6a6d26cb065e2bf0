"""The network of `quantised`: the shared one, with a codebook between encoder and decoder."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from fdetect.nets.own.blocks import OwnModel, reconstruction_loss
from fdetect.nets.own.quantised import Quantised

__all__ = ["QuantisedModel", "Quantiser"]

_AT_ONCE = 1 << 16  # positions whose distances to all codes are held at a time


class Quantiser(nn.Module):  # type: ignore[misc]
    """A codebook of (codes, D) float32, and for each code the training batches in a row that did not use it."""

    def __init__(self, codes: int, channels: int, *, commitment: float, patience: int) -> None:
        super().__init__()
        self.commitment, self.patience = commitment, patience
        self.codebook = nn.Parameter(torch.empty(codes, channels))
        self.register_buffer("unused", torch.empty(codes, dtype=torch.int64))

    def reset(self, draws: torch.Generator) -> None:
        """Fill the codebook with normal numbers; the first training batch replaces them all."""
        with torch.no_grad():
            self.codebook.normal_(generator=draws)
        self.unused.fill_(self.patience)

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the rounded latent and the two codebook terms of the loss: (B, D, h, w) -> (B, D, h, w), scalar.

        In training mode unused codes begin anew first.  Always in float32: in bfloat16 other codes would be nearest.
        """
        with torch.autocast(z.device.type, enabled=False):
            flat = z.float().movedim(1, -1)
            vectors = flat.reshape(-1, flat.shape[-1])
            if self.training:
                self._begin_anew(vectors.detach())
            nearest = self.nearest(vectors.detach())
            if self.training:
                self.unused += 1
                self.unused[nearest] = 0
            codes = functional.embedding(nearest, self.codebook).reshape(flat.shape)
            terms = (flat.detach() - codes).square().mean()
            terms = terms + self.commitment * (flat - codes.detach()).square().mean()
            # the value is exactly that of the code, since x - x is 0; the gradient is that of the latent
            rounded = codes.detach() + (flat - flat.detach())
            return rounded.movedim(-1, 1), terms

    def nearest(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return the numbers of the nearest codes: (P, D) float32 -> (P,) int64, the first of equals.

        ||z - e||^2 - ||z||^2 = ||e||^2 - 2 z.e is compared, which is one product of matrices.
        """
        book = self.codebook.detach()
        squares = book.square().sum(dim=1)
        return torch.cat([(squares - 2 * part @ book.T).argmin(dim=1) for part in vectors.split(_AT_ONCE)])

    def _begin_anew(self, vectors: torch.Tensor) -> None:
        """Replace the codes whose patience is over by vectors of this batch, evenly spaced over its positions."""
        dead = (self.unused >= self.patience).nonzero()[:, 0]
        if len(dead):
            places = torch.arange(len(dead), device=vectors.device) * len(vectors) // len(dead)
            with torch.no_grad():
                self.codebook[dead] = vectors[places]
            self.unused[dead] = 0


class QuantisedModel(OwnModel):
    """Encoder, codebook and decoder; `encode` returns the rounded latent."""

    def __init__(self, config: Quantised) -> None:
        super().__init__(config)
        self.quantiser = Quantiser(
            config.codes, config.latent_channels, commitment=config.commitment, patience=config.patience
        )

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return the rounded latent: (B, 3, H, W) RGB 0..1 -> (B, D, H / factor, W / factor)."""
        rounded, _ = self.quantiser(super().encode(images))
        return rounded

    def loss(self, images: torch.Tensor) -> torch.Tensor:
        """Return the reconstruction's loss and the codebook's terms: (B, 3, H, W) RGB 0..1 -> scalar."""
        rounded, terms = self.quantiser(super().encode(images))
        return reconstruction_loss(self.decode(rounded), images) + terms
