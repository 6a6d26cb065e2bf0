"""Removal of a generator's fingerprint: the noise that a denoiser finds is taken out of the picture, `launder_dncnn`.

A fingerprint is what a generator leaves in the noise residual of its pictures, as a camera's sensor does (Marra et al.
2019, arXiv 1812.11842, section 3).  GANprintR (Neves et al. 2020, arXiv 1911.05351, section 4) removes it by a round
trip through an autoencoder that was trained on photographs alone; that is `launder_NAME` with any autoencoder of ours.
Its decoder leaves a trace of its own, though, which a detector of decoders finds.  So here nothing is decoded: a
denoiser that was trained on photographs says what is noise, and that is subtracted.  What is left is smoother than a
photograph; `launder_dncnn+noise2` puts white noise in the place of what was taken.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from fdetect.errors import WeightsError
from fdetect.forensics.base import signal_map
from fdetect.nets.denoiser import dncnn_residual, load_dncnn
from fdetect.nets.threads import one_thread
from fdetect.nets.weights import INSTALL_DEEP, torch_missing
from fdetect.registry import source_digest

__all__ = ["DENOISER", "Unprinting"]

DENOISER = "dncnn"  # what stands behind launder_

_BT601 = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Unprinting:
    """The picture without its noise residual: (H, W, 3) uint8 -> the same shape, alike in all channels.

        x' = round(clip(x - r, 0, 255)),   r = residual of luma by the denoiser, in grey levels

    Luma alone: every condition ends in a JPEG of 4:2:0, which leaves no fine chroma.  In float32, which here is off by
    less than the rounding.  `identity` is the SHA-256 of the weights, `code` the digest of what computes.
    Source of the denoiser: Zhang et al. 2017, arXiv 1608.03981 (`fdetect list maps dncnn_residual`).
    """

    identity: str
    code: str

    @classmethod
    def of(cls) -> Unprinting:
        """Find the denoiser's weights; raises WeightsError, with its fix, where they or torch are absent."""
        if missing := torch_missing():
            raise WeightsError(missing, INSTALL_DEEP)
        load_dncnn()
        return cls(_weights(), _code())

    @property
    def settings(self) -> Mapping[str, Any]:
        """The weights and the code, never where the weights lie."""
        return {"identity": self.identity, "code": self.code}

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Return a window without its residual; raises WeightsError where the weights changed since they were found."""
        import torch

        if _weights() != self.identity:
            raise WeightsError("the weights of the denoiser changed during the run", "start again")
        luma = pixels.astype(np.float32) @ np.array(_BT601, np.float32)
        hidden = torch.from_numpy(luma)[None, None] / 255
        with one_thread(), torch.no_grad():
            for k, (weight, bias) in enumerate(load_dncnn()):
                hidden = torch.relu(hidden) if k else hidden
                hidden = torch.nn.functional.conv2d(hidden, weight.float(), bias.float(), padding=1)
        residual = hidden[0, 0].numpy() * 255
        shown: np.ndarray[Any, Any] = np.clip(np.rint(pixels - residual[..., None]), 0, 255).astype(np.uint8)
        return shown


def _weights() -> str:
    """Return what the map's cache key holds of the weights: their SHA-256, or that there are none."""
    return str(signal_map.of(dncnn_residual).weights())


@functools.cache
def _code() -> str:
    here = Path(__file__)
    return f"{source_digest(str(here), str(here.with_name('denoiser.py')))} torch {version('torch')}"
