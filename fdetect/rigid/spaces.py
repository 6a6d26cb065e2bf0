"""Spaces: where views are compared.  A space turns views of a batch into vectors, all views in one go.

    EncoderSpace          the embedding of a frozen network
    ReconstructionSpace   how far autoencoders miss the image they are given
    FeatureSpace          a hand-crafted feature, handed in by who knows them

Nothing here imports torch before something is computed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version as library_version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from fdetect.backend import asnumpy
from fdetect.errors import WeightsError
from fdetect.nets import weights as weight_files
from fdetect.nets.autoencoders import AutoencoderCard
from fdetect.nets.cards import EncoderCard
from fdetect.nets.distances import distance
from fdetect.nets.evidence import identity
from fdetect.registry import source_digest
from fdetect.rigid.views import Shown, View
from fdetect.types import Batch

if TYPE_CHECKING:
    import torch

__all__ = ["EncoderSpace", "FeatureSpace", "ReconstructionSpace", "Space"]

_HERE = (__file__, str(Path(__file__).with_name("views.py")))
_NETS = Path(weight_files.__file__).parent


class Space(Protocol):
    """What turns views into vectors; a frozen dataclass."""

    @property
    def kind(self) -> str:
        """A word for names of tasks: "encode", "reconstruct", "feature"."""
    @property
    def group(self) -> Hashable | None:
        """Spaces of equal group compute their views together; None for never."""
    @property
    def cards(self) -> tuple[Any, ...]:
        """What is known of the weights; empty where there are none."""
    @property
    def version(self) -> str:
        """Digest of the code, and the libraries that compute."""
    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything beside the view and the pixels that changes a row, as JSON values."""
    @property
    def columns(self) -> tuple[str, ...]:
        """D names."""
    @property
    def in_process(self) -> bool:
        """Whether it runs in the device lane of the run's own process, where networks are loaded once."""

    def embed(self, batch: Batch, wanted: Sequence[tuple[Any, View]]) -> list[np.ndarray]:
        """Return (B, D) float32 for each wanted (space of this group, view)."""


@dataclass(frozen=True)
class EncoderSpace:
    """The embedding of a frozen encoder: (B, 3, S, S) RGB 0..1, S a multiple of its patch -> (B, D) float32."""

    card: EncoderCard
    dtype: str
    pos_interp: str
    device: str
    kind: ClassVar[str] = "encode"
    in_process: ClassVar[bool] = True

    @property
    def group(self) -> Hashable:
        """All views of one encoder go through it together."""
        return self

    @property
    def cards(self) -> tuple[Any, ...]:
        """The encoder's."""
        return (self.card,)

    @property
    def version(self) -> str:
        """Digest of the code that encodes, and the libraries that compute."""
        names = ("encoders", "architectures", "network_noise", "cards", "catalogue", "memory")
        files = [str(_NETS / f"{name}.py") for name in names]
        return f"{source_digest(*_HERE, *files)} {_libraries('torch', 'transformers')}"

    @property
    def settings(self) -> Mapping[str, Any]:
        """The digests of the weights, never where they lie."""
        return {
            "encoder": self.card.name,
            "sha256": self.card.sha256,
            "config_sha256": self.card.config_sha256,
            "mean": list(self.card.mean),
            "std": list(self.card.std),
            "dtype": self.dtype,
            "pos_interp": self.pos_interp,
            "device": self.device,
        }

    @property
    def columns(self) -> tuple[str, ...]:
        """e0, e1, ..."""
        return tuple(f"e{k}" for k in range(self.card.dim))

    def embed(self, batch: Batch, wanted: Sequence[tuple[Any, View]]) -> list[np.ndarray]:
        """One forward pass for all views of the batch; one more for each perturbed network, and each other size."""
        import torch

        from fdetect.nets.encoders import load_encoder

        about = Shown(batch.ids, batch.seed, self.card.std, self.card.patch)
        images = _uploaded(batch, self.device)
        shown = {view: view(images, about) for _, view in wanted}
        alike: dict[tuple[Any, int], list[View]] = {}  # views that one network takes in one go
        for view, planes in shown.items():
            alike.setdefault((view.network, planes.shape[-1]), []).append(view)
        found: dict[View, np.ndarray] = {}
        for (network, side), views in alike.items():
            encoder = load_encoder(
                self.card.source, pos_interp=self.pos_interp, dtype=self.dtype, size=side, device=self.device
            )
            _check_unchanged(self.card, encoder.card)
            rows = (encoder.perturbed(network) if network else encoder).encode(torch.cat([shown.pop(v) for v in views]))
            found |= dict(zip(views, np.split(rows, len(views)), strict=True))
        return [found[view] for _, view in wanted]


@dataclass(frozen=True)
class ReconstructionSpace:
    """How far autoencoders miss the image they are given: (B, 3, H, W) RGB 0..1 -> (B, K) float32, K autoencoders.

        column k = d(v, A_k(v)) of a view v, d a distance of `fdetect.nets.distances`
    """

    cards: tuple[AutoencoderCard, ...]
    distance: str
    dtype: str
    device: str
    kind: ClassVar[str] = "reconstruct"
    in_process: ClassVar[bool] = True

    @property
    def group(self) -> Hashable:
        """Distances share the reconstructions."""
        return (self.cards, self.dtype, self.device)

    @property
    def version(self) -> str:
        """Digest of the code that reconstructs and measures, and the libraries that compute."""
        names = ("autoencoder_cards", "autoencoders", "taef2", "distances", "lpips", "memory")
        files = [str(_NETS / f"{name}.py") for name in names] + sorted(map(str, (_NETS / "own").glob("*.py")))
        return f"{source_digest(*_HERE, *files)} {_libraries('torch', 'diffusers')}"

    @property
    def settings(self) -> Mapping[str, Any]:
        """The digests of the weights, never where they lie."""
        return {
            "autoencoders": [[card.name, card.sha256, card.config_sha256] for card in self.cards],
            "distance": self.distance,
            "distance_weights": distance.get(self.distance).digest(),
            "dtype": self.dtype,
            "device": self.device,
        }

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the autoencoders."""
        return tuple(card.name for card in self.cards)

    def embed(self, batch: Batch, wanted: Sequence[tuple[Any, View]]) -> list[np.ndarray]:
        """One round trip for all views of the batch and each autoencoder, then every distance that is wanted."""
        import torch

        from fdetect.nets.autoencoders import load_autoencoder

        images, about = _uploaded(batch, self.device), Shown(batch.ids, batch.seed)
        views = list(dict.fromkeys(view for _, view in wanted))
        names = list(dict.fromkeys(space.distance for space, _ in wanted))
        shown = torch.cat([view(images, about) for view in views])
        columns: dict[str, list[np.ndarray]] = {name: [] for name in names}
        for card in self.cards:
            autoencoder = load_autoencoder(card.source, device=self.device, dtype=self.dtype)
            _check_unchanged(card, autoencoder.card)
            again = autoencoder.reconstruct(shown)
            for name in names:
                columns[name].append(asnumpy(distance.get(name)(shown, again)).astype(np.float32))
        found = {name: np.split(np.stack(of_name, axis=1), len(views)) for name, of_name in columns.items()}
        return [found[space.distance][views.index(view)] for space, view in wanted]


@dataclass(frozen=True)
class FeatureSpace:
    """A hand-crafted feature as an embedding: RGB 0..1 rounded to 8 bits -> (B, D) float32.

    `task` is an engine task that turns a batch into (B, D) float32: this room knows no features.
    """

    task: Any
    kind: ClassVar[str] = "feature"
    group: ClassVar[None] = None
    cards: ClassVar[tuple[Any, ...]] = ()
    in_process: ClassVar[bool] = False

    @property
    def version(self) -> str:
        """The feature's, and the views'."""
        return f"{source_digest(*_HERE)} {self.task.version}"

    @property
    def settings(self) -> Mapping[str, Any]:
        """The feature and its settings."""
        return {"feature": self.task.name, **self.task.settings}

    @property
    def columns(self) -> tuple[str, ...]:
        """The feature's."""
        return tuple(self.task.columns)

    def prepare(self) -> None:
        """Compile what the feature compiles."""
        self.task.prepare()

    def embed(self, batch: Batch, wanted: Sequence[tuple[Any, View]]) -> list[np.ndarray]:
        """Compute the feature of each view."""
        rows = []
        for _, view in wanted:
            seen = batch
            if view.steps:
                planes = asnumpy(batch.rgb8).transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
                shown = view(planes, Shown(batch.ids, batch.seed))
                rgb8 = np.rint(np.clip(shown, 0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
                seen = Batch(batch.ids, np.ascontiguousarray(rgb8), batch.facts, batch.seed)
            rows.append(asnumpy(self.task(seen)))
        return rows


def _check_unchanged(promised: Any, loaded: Any) -> None:
    """Raise WeightsError where files changed since the tasks were named after their digests."""
    if identity(asdict(promised)) != identity(asdict(loaded)):
        raise WeightsError(f"the weights of {promised.source} changed during the run", "start again")


def _libraries(*names: str) -> str:
    """Return the versions of those that are installed."""
    return " ".join(f"{name} {library_version(name)}" for name in names if importlib.util.find_spec(name))


def _uploaded(batch: Batch, device: str) -> torch.Tensor:
    """The pixels on a device as (B, 3, H, W) float32 RGB in 0..1; they travel as bytes.

    In one memory layout always: kernels are chosen by it, and a view must not depend on those beside it.
    """
    import torch

    pixels = torch.from_numpy(np.ascontiguousarray(asnumpy(batch.rgb8)))
    if device != "cpu":
        pixels = pixels.pin_memory().to(device, non_blocking=True)
    return pixels.permute(0, 3, 1, 2).contiguous().float().div(255)
