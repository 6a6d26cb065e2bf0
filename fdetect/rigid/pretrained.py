"""Detectors that others trained, as they are: one look at the picture, and their logit is the score.

They stand among the training-free detectors because nothing of them is fitted here: a run finds their weights on disk,
as it finds an encoder's.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from fdetect.errors import ParameterError, WeightsError
from fdetect.images import Geometry
from fdetect.nets import weights as weight_files
from fdetect.nets.cards import EncoderCard, encoder_card
from fdetect.nets.detector_cards import DetectorCard, detector_card
from fdetect.registry import source_digest
from fdetect.rigid.base import _need_torch, _On, check_views, detector
from fdetect.rigid.spaces import _check_unchanged, _libraries, _uploaded
from fdetect.rigid.views import Shown, View
from fdetect.types import Batch

__all__ = ["LogitSpace", "Pretrained", "rine", "univfd"]

_HERE = (__file__, str(Path(__file__).with_name("views.py")), str(Path(__file__).with_name("spaces.py")))
_NETS = Path(weight_files.__file__).parent


@dataclass(frozen=True)
class LogitSpace:
    """The logit of a detector with weights: (B, 3, H, W) RGB 0..1 -> (B, 1) float32.

    encoder  of a head: whose embeddings it judges; None for a network of its own
    """

    card: DetectorCard
    encoder: EncoderCard | None
    device: str
    columns: tuple[str, ...] = ("logit",)
    kind: ClassVar[str] = "logit"
    in_process: ClassVar[bool] = True

    @property
    def group(self) -> Hashable:
        """All views of one detector go through it together."""
        return self

    @property
    def cards(self) -> tuple[Any, ...]:
        """The detector's, and its encoder's."""
        return (self.card, self.encoder) if self.encoder else (self.card,)

    @property
    def version(self) -> str:
        """Digest of the code that computes logits, and the libraries that compute."""
        names = ("pretrained", "detector_cards", "clip_heads", "encoders", "architectures", "cards", "memory",
                 "weights")  # fmt: skip
        files = [str(_NETS / f"{name}.py") for name in names]
        files += [str(_NETS.parent / "forensics" / f"{name}.py") for name in ("residual", "wavelets")]  # fixed filters
        files += sorted(map(str, (_NETS / "detectors").glob("*.py")))
        return f"{source_digest(*_HERE, *files)} {_libraries('torch', 'transformers')}"

    @property
    def settings(self) -> Mapping[str, Any]:
        """The digests of the weights, never where they lie."""
        encoder = self.encoder
        return {
            "sha256": self.card.sha256,
            "config_sha256": self.card.config_sha256,
            "stem": self.card.stem,
            "embedding": [encoder.sha256, encoder.config_sha256, *encoder.mean, *encoder.std] if encoder else [],
            "device": self.device,
        }

    def embed(self, batch: Batch, wanted: Sequence[tuple[Any, View]]) -> list[np.ndarray]:
        """One pass for each view."""
        from fdetect.nets.pretrained import load_pretrained

        found = load_pretrained(
            self.card.source, stem=self.card.stem, clip=self.encoder.source if self.encoder else "", device=self.device
        )
        _check_unchanged(self.card, found.card)
        if self.encoder:
            _check_unchanged(self.encoder, found.model.encoder.card)
        images, about = _uploaded(batch, self.device), Shown(batch.ids, batch.seed)
        return [self.look(found, view(images, about)) for _, view in wanted]

    def look(self, found: Any, images: Any) -> np.ndarray:
        """What the loaded detector says of (B, 3, H, W) images, (B, columns) float32."""
        return np.asarray(found.logits(images)[:, None])


@detector
@dataclass(frozen=True)
class Pretrained(_On):
    """Pretrained: the logit of a detector that others trained, or of a network of your own from its folder.

    (N, 1) float32 for `clean` -> (N,) float64, larger = more likely generated

        score = the network's logit

    A network sees the centre crop of the run's C px on the grid of 8, whatever its authors tested on, so that all
    detectors of a run judge the same pixels; it is never resized.  The two heads on CLIP see its own centre crop of
    224 px without a resize, as their authors' do: smaller images get a border of zeros there, which tells their size.

    What a network was trained on decides what a figure means, and a run cannot know it: ProGAN for `npr`, `safe`,
    `cnnspot`, the LaDeDas called forensynth, `univfd`, and `rine` but for `rine-ldm`.  A generator that it was trained
    on is not unseen.  Which stem the LaDeDas were trained with is not settled; the name of the weights in results says
    which one was taken.

    Parameters
    ----------
    weights : str
        A name of `fdetect weights list`, or a folder with config.json and model.safetensors.
    stem : str
        What a LaDeDa looks at: npr, right_diag or raw; empty: what config.json says.
    clip : str
        Of a head: a folder or hub id of its encoder, where the name that it states does not find it.

    Raises
    ------
    ParameterError
        For a stem that the network does not have, or vectors that do not match the views.

    References
    ----------
    Of each network where it is imported (fdetect/nets/detector_keymaps.py, keymaps.py, head_keymaps.py): Tan et al.
    2024, arXiv 2312.10461 (NPR); Li et al. 2024, arXiv 2408.06741 (SAFE); Wang et al. 2020, arXiv 1912.11035 (CNNSpot);
    Cavia et al. 2024, arXiv 2406.07398 (LaDeDa); Ojha et al. 2023, arXiv 2302.10174 (UnivFD); Koutlis and Papadopoulos
    2024, arXiv 2402.19091 (RINE).
    """

    unit: ClassVar[tuple[str, str]] = ("network pass", "network passes")

    weights: str = "npr"
    stem: str = ""
    clip: str = ""

    def space(self, *, device: str = "auto", **_: Any) -> LogitSpace:
        """Find the weights; raises WeightsError, with its fix, before torch is imported, ParameterError for a stem."""
        _need_torch()
        card = detector_card(self.weights, stem=self.stem)
        if self.clip and not card.encoder:
            raise ParameterError(f"pretrained: {self.weights} is no head on an encoder; leave clip={self.clip} out")
        encoder = None
        if card.encoder:
            try:
                encoder = encoder_card(self.clip or card.encoder)
            except WeightsError as error:
                raise type(error)(error.reason, error.fix.replace("--encoder FOLDER", "clip=FOLDER")) from None
        from fdetect.nets.encoders import resolve_device

        return LogitSpace(card, encoder, resolve_device(device))

    def geometry(self, space: Any, crop: int) -> Geometry:
        """The centre crop of the run; for a head that of its encoder's size, with zeros around smaller images."""
        return Geometry("centre_crop", space.encoder.size) if space.encoder else Geometry("aligned_crop", crop)

    def views(self) -> dict[str, View]:
        """Return the clean image."""
        return {"clean": View()}

    def score(self, **logits: np.ndarray) -> np.ndarray:
        """The logit: (N, 1) float32 for `clean` -> (N,) float64; NaN rows stay NaN."""
        check_views("pretrained", self.views(), logits)
        return np.asarray(logits["clean"][:, 0].astype(np.float64))


univfd = detector.variant(Pretrained, "univfd", weights="univfd")
rine = detector.variant(Pretrained, "rine", weights="rine-4class")
