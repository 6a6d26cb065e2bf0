"""Laundering: a picture's round trip through an autoencoder as something that conditions and aligned pairs do to it.

A photograph that went through a generator's autoencoder shows the same scene and carries the decoder's trace.  Workers
compute it, on the CPU and one image at a time, wherever they decode and crop; torch is loaded with the first picture.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from fdetect.errors import ParameterError, WeightsError
from fdetect.nets.autoencoders import AUTOENCODERS, Autoencoder, autoencoder_card, load_autoencoder
from fdetect.nets.evidence import identity
from fdetect.nets.shipped import SHIPPED
from fdetect.nets.threads import one_thread
from fdetect.nets.unprinting import DENOISER, Unprinting
from fdetect.nets.weights import FOLDER_NAME, INSTALL_DEEP, torch_missing, weights_home
from fdetect.perturb import Launder, launderer
from fdetect.registry import nearest, source_digest

__all__ = ["Laundering", "autoencoder"]

_NETS = Path(__file__).parent
_TRAINING = ("card", "critic", "data", "textures")  # of nets/own: no round trip passes through them


@launderer
def autoencoder(*, name: str = "") -> Launder:
    """Round trip through an autoencoder, as `launder_NAME`: (H, W, 3) uint8 -> the same shape.

    `launder_dncnn` takes a denoiser's residual away instead (unprinting.py).
    Raises WeightsError, with its fix, where it or torch is absent; ParameterError for a path in place of a name, which
    would stand in every table and mean another network in another folder.
    """
    if name == DENOISER:
        return Unprinting.of()
    known = (*AUTOENCODERS, *SHIPPED)
    if name not in known and not (FOLDER_NAME.fullmatch(name) and (weights_home() / name).is_dir()):
        hint = nearest(name, known)
        raise ParameterError(f"condition launder_{name}: no autoencoder is called so{hint} (fdetect weights list); a "
                             "folder of yours has its name when it stands in $FDETECT_WEIGHTS")  # fmt: skip
    return Laundering.of(name)


@dataclass(frozen=True)
class Laundering:
    """Round trip of a picture through an autoencoder: (H, W, 3) uint8 -> the same shape, clamped and rounded.

        x' = round(255 clamp(D(E(x / 255)), 0, 1))

    Sides that are no multiple of the latent's cell are continued by their last pixels, and cut again afterwards.
    `identity` and `code` say which weights and which code, so that rows made by others are not taken for these.
    """

    source: str
    name: str
    identity: str
    code: str

    @classmethod
    def of(cls, source: str) -> Laundering:
        """Find an autoencoder: a name of `fdetect weights list`, a hub id or a folder; errors are those of its card."""
        if missing := torch_missing():
            raise WeightsError(missing, INSTALL_DEEP)
        card = autoencoder_card(source)
        return cls(source, card.name, identity(asdict(card)), _code())

    @property
    def settings(self) -> Mapping[str, Any]:
        """The weights and the code, never where the weights lie."""
        return {"identity": self.identity, "code": self.code}

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Return the round trip of a window; raises WeightsError where the weights changed since they were found."""
        import torch

        network = _loaded(self)
        height, width = pixels.shape[:2]
        missing = [-side % network.multiple for side in (height, width)]
        padded = np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
        images = torch.from_numpy(padded).permute(2, 0, 1)[None].contiguous().float().div(255)
        with one_thread():
            again = network.reconstruct(images)
        rounded: np.ndarray[Any, Any] = again[0].mul(255).round().byte().permute(1, 2, 0).numpy()
        return np.ascontiguousarray(rounded[:height, :width])


@functools.lru_cache(maxsize=32)
def _loaded(laundering: Laundering) -> Autoencoder:
    network = load_autoencoder(laundering.source, device="cpu")
    if identity(asdict(network.card)) != laundering.identity:
        raise WeightsError(f"the weights of {laundering.source} changed during the run", "start again")
    return network


@functools.cache
def _code() -> str:
    """Return a digest of everything that a round trip is computed by."""
    own = (path for path in (_NETS / "own").glob("*.py") if path.stem not in _TRAINING)
    names = ("laundering", "autoencoders", "taef2", "memory", "threads")
    files = [_NETS / f"{name}.py" for name in names] + sorted(own)
    libraries = [f"{name} {version(name)}" for name in ("torch", "diffusers") if importlib.util.find_spec(name)]
    return f"{source_digest(*map(str, files))} {' '.join(libraries)}"
