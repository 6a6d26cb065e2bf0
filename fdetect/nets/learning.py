"""A detector network learns from draws of training pictures; and what it says of others.

    Examples (draws of N pictures) --balanced batches, flips and quarter turns--> `learn` --> a `Learnt` network
    Shown (pictures under a condition) --> `judge` --> logits; their AUROC by generator is the validation

Half of each batch is real; among the fakes every generator is as likely as any other.  Of an aligned pair both halves
stand in the batch, drawn, flipped and turned alike, so that only the round trip tells them apart.

Weights are drawn from torch's one generator, which is seeded for it and given back: one training at a time.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from fdetect.errors import DataError, ParameterError
from fdetect.metrics import auroc
from fdetect.nets.detectors import NetworkConfig, build
from fdetect.nets.detectors.model import DetectorNetwork
from fdetect.nets.memory import exact_float32
from fdetect.nets.schedule import Schedule, TrainingRecord, below_rival
from fdetect.nets.training import train
from fdetect.perturb import rng_for
from fdetect.types import FAKE, REAL

__all__ = ["Examples", "Judged", "Learnt", "Shown", "by_generator", "judge", "learn"]

_AT_ONCE = {"cpu": 1, "cuda": 64}  # pictures; a CPU is fastest with one (caches), whose result then depends on no other


@dataclass(frozen=True)
class Examples:
    """Draws of N pictures to learn from.

    pixels     (M, C, C, 3) uint8, an array or a tensor on the device: the draws of a picture stand side by side
    first      (N,) where those of each picture begin; `draws` (N,) how many there are
    label      (N,); `generator` (N,) names of the fakes, "launder_NAME" of a round trip
    partner    (N,) picture that a round trip was made of, draw by draw; -1 for all others
    """

    pixels: np.ndarray | torch.Tensor = field(repr=False)
    first: np.ndarray
    draws: np.ndarray
    label: np.ndarray
    generator: np.ndarray
    partner: np.ndarray

    def batches(self, rows: np.ndarray, *, batch: int, seed: int) -> Callable[[int], tuple[torch.Tensor, torch.Tensor]]:
        """Return the function that makes the batch of a step of `rows`: (batch, 3, C, C) RGB 0..1 and (batch,) labels.

        Raises DataError where a class is empty, ParameterError where `batch` has no halves, or where a round trip is
        among the rows and its photograph is not.
        """
        if batch < 2 or batch % 2:
            raise ParameterError(f"half of each batch is real: give an even number of 2 or more, got {batch}")
        reals, made = (rows[self.label[rows] == label] for label in (REAL, FAKE))
        if not len(reals) or not len(made):
            raise DataError(f"a network cannot be trained: no {'fake' if len(reals) else 'real'} image among the "
                            f"{len(rows)} of its training set")  # fmt: skip
        if not np.isin(self.partner[made], [-1, *reals]).all():
            raise ParameterError("a round trip is trained on and its photograph is not: give the rows of both")
        by_name = [made[self.generator[made] == name] for name in sorted(set(self.generator[made]))]
        pixels, n = torch.as_tensor(self.pixels), batch // 2
        label = torch.tensor([REAL, FAKE] * n, dtype=torch.float32)

        def one(step: int) -> tuple[torch.Tensor, torch.Tensor]:
            rng = rng_for(seed, f"step {step}", "examples")
            fakes = np.array([rng.choice(by_name[k]) for k in rng.integers(0, len(by_name), n)])
            paired = self.partner[fakes] >= 0
            both = np.stack([np.where(paired, self.partner[fakes], rng.choice(reals, n)), fakes])
            chance, turn = rng.random((2, n)), rng.integers(0, 8, (2, n))
            chance[0], turn[0] = np.where(paired, chance[1], chance[0]), np.where(paired, turn[1], turn[0])
            n_draws = np.where(paired, self.draws[both].min(0), self.draws[both])
            place = (self.first[both] + (chance * n_draws).astype(np.int64)).T.ravel()
            shown = pixels[torch.from_numpy(place).to(pixels.device)].permute(0, 3, 1, 2)
            return _turned(shown, turn.T.ravel()).float() / 255, label

        return one


@dataclass(frozen=True)
class Shown:
    """Pictures under a condition: (N, H, W, 3) uint8, with their labels and generators."""

    pixels: np.ndarray = field(repr=False)
    label: np.ndarray
    generator: np.ndarray


@dataclass(frozen=True)
class Learnt:
    """A network after `learn`, what happened on the way, and its AUROC on the validation pictures by generator."""

    model: DetectorNetwork
    record: TrainingRecord
    validation: dict[str, float]

    @property
    def auroc(self) -> float:
        """Mean over the generators; NaN without validation."""
        return float(np.mean(list(self.validation.values()))) if self.validation else math.nan

    @property
    def undertrained(self) -> str:
        """Why it is no rival, or "": a low AUROC on the generators it was trained on, a loss that still falls."""
        falls = "" if self.record.flattened() else "the loss still falls"
        return ", ".join(filter(None, (below_rival(self.auroc), falls)))


def learn(
    config: NetworkConfig,
    examples: Examples,
    rows: np.ndarray,
    *,
    schedule: Schedule,
    validation: Shown | None = None,
    validate_every: int = 100,
    patience: int = 0,
    device: str = "cpu",
    checkpoint: Path | None = None,
    every: int = 200,
    about: str = "",
    progress: Callable[..., None] = lambda *_: None,
    deterministic: bool = True,
) -> Learnt:
    """Train a network on some rows of the examples and return it, with the weights that validated best.

    validation  pictures of the training generators that are in no row; None trains all steps and keeps the last
    patience    validations without improvement after which it stops; 0: never

    Other settings are those of `fdetect.nets.training.train`, and so are the errors; DataError where a class is empty.
    """
    if validation and len(set(validation.label)) < 2:
        raise DataError("a network cannot be validated: the pictures kept apart "
                        f"({len(validation.label)}) are not of both classes")  # fmt: skip
    model = build(config, seed=schedule.seed).to(device, memory_format=torch.channels_last)

    def loss(model: DetectorNetwork, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        images, label = batch
        return functional.binary_cross_entropy_with_logits(model(images), label)

    def validate(model: DetectorNetwork) -> float:
        assert validation
        found = by_generator(judge(model, validation.pixels).logit, validation)
        return float(np.mean(list(found.values())))

    record = train(
        model, examples.batches(rows, batch=schedule.batch, seed=schedule.seed), loss, schedule=schedule,
        validate=validate if validation else None, validate_every=validate_every, patience=patience,
        checkpoint=checkpoint, every=every, about=about, progress=progress, deterministic=deterministic,
    )  # fmt: skip
    found = by_generator(judge(model, validation.pixels).logit, validation) if validation else {}
    return Learnt(model, record, found)


@dataclass(frozen=True)
class Judged:
    """What a network says of N pictures: logits (N,) float64 rounded to float32, embeddings (N, D) float32."""

    logit: np.ndarray
    embedding: np.ndarray = field(repr=False)


def judge(model: DetectorNetwork, pixels: np.ndarray) -> Judged:
    """Look at (N, H, W, 3) uint8 pictures; raises what the network raises for pictures that are too small."""
    device, logits, embeddings = next(model.parameters()).device, [], []
    at_once = _AT_ONCE.get(device.type, 64)
    with torch.inference_mode(), exact_float32(), _evaluating(model):
        for start in range(0, len(pixels), at_once):
            part = np.ascontiguousarray(pixels[start : start + at_once])
            # one shape for all, so that a GPU chooses its kernels once
            padded = np.pad(part, ((0, min(at_once, len(pixels)) - len(part)), *[(0, 0)] * 3), mode="edge")
            images = torch.from_numpy(padded).to(device).permute(0, 3, 1, 2).float() / 255
            model.check(images)
            embedding = model.embed(images)
            embeddings.append(embedding.float().cpu().numpy()[: len(part)])
            logits.append(model.logit(embedding).cpu().numpy()[: len(part)])
    if not logits:
        return Judged(np.empty(0), np.empty((0, 0), np.float32))
    return Judged(np.concatenate(logits).astype(np.float64), np.concatenate(embeddings))


def by_generator(scores: np.ndarray, shown: Shown) -> dict[str, float]:
    """Return the AUROC of each generator's pictures against all reals."""
    reals = shown.label == REAL
    found = {}
    for name in sorted(set(shown.generator[shown.label == FAKE])):
        here = reals | ((shown.generator == name) & (shown.label == FAKE))
        found[name] = float(auroc(shown.label[here], scores[here], np.ones((1, int(here.sum()))))[0])
    return found


@contextlib.contextmanager
def _evaluating(model: DetectorNetwork) -> Iterator[None]:
    """Have a network in evaluation mode, and back in its own, whatever happens."""
    was = model.training
    try:
        model.eval()
        yield
    finally:
        model.train(was)


def _turned(images: torch.Tensor, turns: np.ndarray) -> torch.Tensor:
    """Turn and flip each picture by one of the 8 ways that keep its pixels: (B, 3, C, C), (B,) in 0..7."""
    out = images.clone()
    for turn in range(1, 8):
        here = torch.from_numpy(np.flatnonzero(turns == turn)).to(images.device)
        if len(here):
            turned = torch.rot90(images[here], turn % 4, (-2, -1))
            out[here] = turned.flip(-1) if turn >= 4 else turned
    return out
