"""Heads that learn the trace and not the picture: trained on photographs and their round trips through autoencoders.

    real images of a trial -> pairs (pairing.py) -> features of both halves -> a head `HEAD@aligned:COLUMNS`

No generated image is needed; a share of them may be mixed in (`HEAD@aligned+25:COLUMNS`: 25 % of the fakes).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fdetect.bench.models import FittedHeadModel, Model
from fdetect.bench.protocols import Samples, Trial
from fdetect.bench.training.draws import Draws
from fdetect.bench.training.head_trials import TrialFit, Tried
from fdetect.bench.training.pair_sources import usable_sources
from fdetect.bench.training.pairing import Pairs
from fdetect.errors import DataError
from fdetect.registry import Entry
from fdetect.types import FAKE, REAL

__all__ = ["Aligned", "TrainingSet", "aligned_name", "in_words", "left_out", "training_set"]


@dataclass(frozen=True)
class TrainingSet:
    """Rows that a head is fitted on, (n, D) with (n,) labels; and which pairs and generated images they are."""

    values: np.ndarray
    label: np.ndarray
    pairs: np.ndarray
    generated: np.ndarray


def training_set(
    pristine: np.ndarray, laundered: np.ndarray, generated: np.ndarray, *, share: float, seed: int = 0
) -> TrainingSet:
    """Put pairs and generated images together: (P, D), (P, D), (G, D) float32; a pair with a failed half is left out.

    share  of generated images among the fakes, 0 <= share < 1: of pairs or of generated images, whichever are too
           many, some are drawn

    Raises DataError where nothing is left of what is needed.
    """
    pairs = np.flatnonzero(np.isfinite(pristine).all(axis=1) & np.isfinite(laundered).all(axis=1))
    others = np.flatnonzero(np.isfinite(generated).all(axis=1)) if share else np.empty(0, np.int64)
    if not len(pairs):
        raise DataError("no aligned pair can be used: there is no photograph, or each failed in one of the halves")
    if share:
        if not len(others):
            raise DataError("no generated image to mix into the aligned pairs")
        ratio, rng = share / (1 - share), np.random.default_rng(seed)
        n_others = max(min(len(others), round(ratio * len(pairs))), 1)
        n_pairs = max(min(len(pairs), round(n_others / ratio)), 1)
        pairs, others = (np.sort(rng.permutation(rows)[:n]) for rows, n in ((pairs, n_pairs), (others, n_others)))
    values = np.concatenate([pristine[pairs], laundered[pairs], generated[others]])
    label = np.repeat([REAL, FAKE, FAKE], [len(pairs), len(pairs), len(others)])
    return TrainingSet(values, label, pairs, others)


@dataclass(frozen=True)
class Aligned:
    """A head on some columns, fitted in every trial on the pairs of its training photographs.

    `values` maps each draw of a condition to (N, D) float32 of the images themselves, which are scored by the mean over
    `draws`; `tried` is what its searches tried, filled while trials run.
    """

    name: str
    head: Entry
    columns: tuple[str, ...]
    values: Mapping[str, np.ndarray]
    samples: Samples
    ids: tuple[str, ...]
    pairs: Pairs
    share: float
    seed: int = 0
    reasons: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    fit: TrialFit = field(default_factory=TrialFit)
    draws: Draws = field(default_factory=Draws)
    tried: Tried = field(default_factory=dict, compare=False, repr=False)

    @property
    def trains(self) -> bool:
        """Whether generated images are among the fakes: only then has a generator been seen."""
        return self.share > 0

    @property
    def digest(self) -> str:
        """What scores depend on beside the values."""
        known = sorted((name, sorted(source.contents)) for name, source in self.pairs.sources.items())
        return f"{self.share} {self.pairs.digest} {self.ids} {known}"

    def usable(self, trial: Trial) -> tuple[str, ...]:
        """Return the autoencoders that neither know the trial's test images nor made them."""
        return usable_sources(self.pairs.sources, self.samples, self.ids, trial)

    def ready(self, trial: Trial, condition: str) -> Model:
        """Fit the head on the pairs of the trial's training photographs under `condition`.

        A pair is in its photograph's group, and a round trip is a fake of its autoencoder.
        """
        names = self.usable(trial)
        if not names:
            raise DataError(f"every autoencoder knows tested images or made them: {', '.join(self.pairs.sources)}")
        pristine, laundered, autoencoder = self.pairs.of(condition, names, among=trial.fit)
        generated, others = self.pairs.of_generated(condition, among=trial.fit)
        made = training_set(pristine, laundered, generated, share=self.share, seed=self.seed)
        photographs = self.pairs.rows[np.isin(self.pairs.rows, trial.fit)]
        photograph = np.tile(photographs, len(pristine) // max(len(photographs), 1))[made.pairs]
        others, n = others[made.generated], len(photograph)
        rows = np.concatenate([photograph, photograph, others]).astype(np.int64)
        makers = [""] * n + [f"launder_{name}" for name in autoencoder[made.pairs]] + [*self.samples.generator[others]]
        fitted, tried = self.fit(
            self.head, self.columns, made.values, made.label, groups=self.samples.group[rows],
            generator=np.array(makers, object), source=self.samples.real_source[rows],
        )  # fmt: skip
        if tried:
            self.tried[trial.name, condition] = tried
        return FittedHeadModel(fitted, self.values, self.draws)


def aligned_name(head: str, share: float) -> str:
    """Return what a head on aligned pairs is called: "logreg@aligned", "logreg@aligned+25" with 25 % generated."""
    return f"{head}@aligned{f'+{100 * share:g}' if share else ''}"


def left_out(contenders: Sequence[object], trials: Sequence[Trial]) -> dict[str, list[str]]:
    """Return by trial the autoencoders that were left out because they know tested images or made them."""
    one = next((each for each in contenders if isinstance(each, Aligned)), None)
    found = {trial.name: sorted({*one.pairs.sources} - {*one.usable(trial)}) for trial in trials} if one else {}
    return {name: sources for name, sources in found.items() if sources}


def in_words(by_trial: Mapping[str, Sequence[str]]) -> list[str]:
    """Say what `left_out` found, a line for each autoencoder."""
    trials: dict[str, list[str]] = {}
    for trial, names in by_trial.items():
        for name in names:
            trials.setdefault(name, []).append(trial)
    return [f"{name} knows tested images or made them, and is left out of the aligned pairs in {', '.join(of_name)}"
            for name, of_name in trials.items()]  # fmt: skip
