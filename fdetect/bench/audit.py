"""The bias audit: what can be told of the labels without looking for traces, under every condition.

Six probes.  Four see no pixel: file size, dimensions, container, JPEG tables and EXIF; under `native` these are
facts of the stored files, under every other condition of the encoded result.  One sees a 16 x 16 thumbnail, hence
content.  Above 0.60 balanced accuracy each of these five marks the column "biased by ..."; with too few images for
folds it has no figure and says so: it finds nothing, which is not to find that nothing is there.

The sixth asks what is left of the JPEG history: images of one class that were stored as PNG against images of the
same class that were stored as JPEG, told apart from block-DCT histograms and tested on generators (or real
sources) that the probe was not trained on.  Generators differ in more than their storage, so this is an upper
bound.  The placebo has no such doubt: the same reals, half of them with one extra JPEG pass; it is always run.
Both AUCs are properties of the data and the condition, never of the label, and stand beside the results.

Of more than AUDITED images, about as many are looked at: whole groups, the same share of every generator and real
source; the audit says how many of how many.  A balanced accuracy near chance then has a standard error of 0.004, far
below what marks a column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from fdetect.bench.protocols import Samples
from fdetect.classifiers import fit_head, head, in_parallel, out_of_fold
from fdetect.metrics import TrialSample, evaluate, group_weights, interval
from fdetect.perturb import rng_for
from fdetect.registry import Entry
from fdetect.types import FAKE, REAL, Failure, FeatureTable

__all__ = ["AUDITED", "BIASED", "LABEL_PROBES", "PROBE_FEATURES", "Audit", "History", "Judge", "Probe", "audit",
           "audited_rows", "placebo_rows"]  # fmt: skip

BIASED = 0.60  # balanced accuracy above which a column is marked
LABEL_PROBES = ("file_bytes", "dimensions", "container", "tables_exif", "thumbnail")
AUDITED = 20_000  # images
HISTORY = "block_dct_histogram"
PROBE_FEATURES = (*LABEL_PROBES, HISTORY)
FOLDS = 5

T = TypeVar("T")


@dataclass(frozen=True)
class Probe:
    """How well one probe tells the labels apart under one condition; intervals by group bootstrap.

    The three figures are NaN where there were too few images.
    """

    condition: str
    probe: str
    auroc: float
    low: float
    high: float
    balanced_accuracy: float
    biased: bool
    n_real: int
    n_fake: int


@dataclass(frozen=True)
class History:
    """How much of an earlier JPEG history can be read under one condition, within one class."""

    condition: str
    images: str  # "fake" or "real"
    kind: str  # "stored as PNG or JPEG, on unseen generators" (or "real sources"), or "placebo: ..."
    auroc: float
    low: float
    high: float
    n_without: int  # images without the (extra) JPEG pass
    n_with: int


@dataclass(frozen=True)
class Audit:
    """All probes of a run, and the images that they could not look at.

    images  how many were looked at, those that failed among them
    of      how many there are
    """

    probes: tuple[Probe, ...]
    history: tuple[History, ...]
    failures: tuple[Failure, ...] = ()
    images: int = 0
    of: int = 0

    @property
    def biased_by(self) -> dict[str, tuple[str, ...]]:
        """Return the probes that mark each condition."""
        return self._by_condition(lambda probe: probe.biased)

    @property
    def unmeasured(self) -> dict[str, tuple[str, ...]]:
        """Return the probes that had too few images under each condition."""
        return self._by_condition(lambda probe: not np.isfinite(probe.balanced_accuracy))

    def _by_condition(self, chosen: Callable[[Probe], bool]) -> dict[str, tuple[str, ...]]:
        conditions = dict.fromkeys(probe.condition for probe in self.probes)
        return {c: tuple(p.probe for p in self.probes if p.condition == c and chosen(p)) for c in conditions}

    def as_json(self) -> dict[str, Any]:
        """Return plain lists and dictionaries."""
        return {
            "threshold": BIASED,
            "images": self.images,
            "of": self.of,
            "biased_by": {condition: list(names) for condition, names in self.biased_by.items()},
            "unmeasured": {condition: list(names) for condition, names in self.unmeasured.items()},
            "probes": [asdict(probe) for probe in self.probes],
            "history": [asdict(row) for row in self.history],
        }


def placebo_rows(samples: Samples, ids: Sequence[str], *, seed: int = 0) -> np.ndarray:
    """Return the half of the reals that the placebo gives one extra JPEG pass, drawn from their content."""
    drawn = [rng_for(seed, id, "placebo").random() < 0.5 for id in ids]
    return np.flatnonzero(np.array(drawn) & (samples.label == REAL))


def audited_rows(samples: Samples, *, seed: int = 0) -> np.ndarray:
    """Return the rows that the audit looks at, in rising order: all of them up to AUDITED, whole groups beyond."""
    n = len(samples.path)
    if n <= AUDITED:
        return np.arange(n)
    return np.flatnonzero(samples.grouped(seed).held_out(AUDITED / n))


def audit(
    samples: Samples,
    stored_as: Sequence[str],
    tables: Mapping[tuple[str, str], FeatureTable],
    placebo: Mapping[str, tuple[np.ndarray, FeatureTable]],
    *,
    conditions: Sequence[str],
    of: int | None = None,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    workers: int = 1,
) -> Audit:
    """Run all probes.

    `stored_as` is the format of each stored file; `tables` holds PROBE_FEATURES under every condition;
    `placebo` maps a condition to the rows with one extra JPEG pass and their HISTORY features; `of` says that the
    samples are the `audited_rows` of so many.
    """
    rows = audited_rows(samples, seed=seed) if of is None else np.arange(len(samples.path))
    judge = Judge(samples.at(rows), replicates, level, seed)
    label_probes = [
        partial(judge.label_probe, condition, name, tables[condition, name].values[rows])
        for condition in conditions
        for name in LABEL_PROBES
    ]
    stored = np.array(stored_as)[rows]
    histories = [
        partial(judge.histories, condition, tables[condition, HISTORY].values[rows], stored, *_among(rows, *again))
        for condition in conditions
        for again in [placebo[condition]]
    ]
    probes = tuple(in_parallel(_call, label_probes, workers=workers))
    history = tuple(row for rows in in_parallel(_call, histories, workers=workers) for row in rows)
    failures = tuple(dict.fromkeys(f for table in tables.values() for f in table.failures))
    return Audit(probes, history, failures, len(rows), of or len(samples.path))


@dataclass(frozen=True)
class Judge:
    """What all probes share: the samples, and how an AUC and its interval are made."""

    samples: Samples
    replicates: int
    level: float
    seed: int

    def label_probe(self, condition: str, name: str, values: np.ndarray) -> Probe:
        """Tell the labels apart by (N, D) float32 features, folds by group; rows that are not finite are left out."""
        rows = np.flatnonzero(np.isfinite(values).all(axis=1))
        label, group = self.samples.label[rows], list(self.samples.group[rows])
        nothing = Probe(condition, name, np.nan, np.nan, np.nan, np.nan, False, *_counts(label))
        if min(_counts(label)) < FOLDS or len(set(group)) < FOLDS:
            return nothing
        scores, fold = out_of_fold(_shallow_trees(), values[rows], label, group, folds=FOLDS, seed=self.seed)
        auroc, low, high = self._auroc(label, scores, fold, group)
        ok = np.isfinite(scores)
        accuracy = float(np.mean([((scores > 0) == label)[ok & (label == k)].mean() for k in (REAL, FAKE)]))
        return Probe(condition, name, auroc, low, high, accuracy, accuracy > BIASED, *_counts(label))

    def histories(
        self, condition: str, values: np.ndarray, stored_as: np.ndarray, extra: np.ndarray, again: np.ndarray
    ) -> list[History]:
        """Look for the JPEG history in each class and in the placebo: `again` are values of the rows `extra`."""
        found = []
        for label, names in ((FAKE, self.samples.generator), (REAL, self.samples.real_source)):
            mine = np.flatnonzero((self.samples.label == label) & np.isfinite(values).all(axis=1))
            fold = _folds_with_both(names[mine], stored_as[mine])
            if fold is not None:
                found.append(self.stored(condition, label, values[mine], mine, stored_as[mine], fold))
        return [*found, self.placebo(condition, values, extra, again)]

    def stored(
        self, condition: str, label: int, values: np.ndarray, rows: np.ndarray, stored_as: np.ndarray, fold: np.ndarray
    ) -> History:
        """Tell images of one class that were stored as JPEG from others, tested on folds of generators unseen."""
        with_jpeg = (stored_as == "JPEG").astype(np.int64)
        group = list(self.samples.group[rows])
        scores = np.full(len(rows), np.nan)
        for k in np.unique(fold[fold >= 0]):
            test = fold == k
            tested = {group[row] for row in np.flatnonzero(test)}  # a prompt may be shared across generators
            train = (fold >= 0) & ~np.array([name in tested for name in group])
            if len(np.unique(with_jpeg[train])) == 2:
                scores[test] = _fit_score(values[train], with_jpeg[train], values[test])
        auroc, low, high = self._auroc(with_jpeg, scores, fold, group)
        unseen = "generators" if label == FAKE else "real sources"
        kind = f"stored as PNG or JPEG, on unseen {unseen}"
        return History(condition, ("real", "fake")[label], kind, auroc, low, high, *_counts(with_jpeg[fold >= 0]))

    def placebo(self, condition: str, values: np.ndarray, extra: np.ndarray, again: np.ndarray) -> History:
        """Tell reals with one extra JPEG pass from the others."""
        changed = values.copy()
        changed[extra] = again
        rows = np.flatnonzero((self.samples.label == REAL) & np.isfinite(changed).all(axis=1))
        with_jpeg = np.isin(rows, extra).astype(np.int64)
        group = list(self.samples.group[rows])
        counts = _counts(with_jpeg)
        kind = "placebo: half of the reals with one extra JPEG pass"
        if min(counts) < FOLDS or len(set(group)) < FOLDS:
            return History(condition, "real", kind, np.nan, np.nan, np.nan, *counts)
        scores, fold = out_of_fold(head.get("hist_gb"), changed[rows], with_jpeg, group, folds=FOLDS, seed=self.seed)
        return History(condition, "real", kind, *self._auroc(with_jpeg, scores, fold, group), *counts)

    def _auroc(
        self, label: np.ndarray, scores: np.ndarray, fold: np.ndarray, group: list[str]
    ) -> tuple[float, float, float]:
        """Return the AUC of pairs within folds, and its interval."""
        groups = np.array(group)
        nothing = np.full(len(label), np.nan)
        trials = []
        for k in np.unique(fold[fold >= 0]):
            mine = (fold == k) & np.isfinite(scores)
            if len(np.unique(label[mine])) == 2:
                trials.append(TrialSample(label[mine], scores[mine], nothing[mine], nothing[mine], groups[mine]))
        if not trials:
            return np.nan, np.nan, np.nan
        weights = group_weights(groups, replicates=self.replicates, seed=self.seed)
        estimate = evaluate(trials, ("auroc",), weights)["auroc"]
        return estimate.value, *interval(estimate.replicates, level=self.level)


def _among(rows: np.ndarray, extra: np.ndarray, again: FeatureTable) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of `extra` in `rows`, as far as they are there, and their values of `again`."""
    there = np.isin(extra, rows)
    return np.searchsorted(rows, extra[there]), again.values[there]


def _shallow_trees() -> Entry:
    """Few small trees: a probe asks whether a bias is there, not how well it could be used."""
    return head.get("hist_gb").configured(max_iter=40, max_leaf_nodes=8)


def _call(task: Callable[[], T]) -> T:
    return task()


def _fit_score(values: np.ndarray, label: np.ndarray, test: np.ndarray) -> np.ndarray:
    columns = tuple(str(k) for k in range(values.shape[1]))
    return fit_head(head.get("hist_gb"), columns, values, label).score(test)


def _folds_with_both(names: np.ndarray, stored_as: np.ndarray) -> np.ndarray | None:
    """Assign whole generators to folds that each hold PNG- and JPEG-stored ones; None where that is impossible.

    Generators with both kinds, or with other formats, are left out (fold -1): a probe could learn the generator.
    """
    kinds: dict[str, list[str]] = {"PNG": [], "JPEG": []}
    for name in sorted(set(names)):
        formats = set(stored_as[names == name])
        if len(formats) == 1 and (only := formats.pop()) in kinds:
            kinds[only].append(name)
    n_folds = min(len(kinds["PNG"]), len(kinds["JPEG"]))
    if n_folds < 2:
        return None
    fold = np.full(len(names), -1)
    for of_kind in kinds.values():
        for k, name in enumerate(of_kind):
            fold[names == name] = k % n_folds
    return fold


def _counts(label: np.ndarray) -> tuple[int, int]:
    return int((label == 0).sum()), int((label == 1).sum())
