"""What is compared in a run: heads on columns, training-free detectors, score tables; each becomes a `Contender`.

Columns are those of features, and of an encoder's embedding: a linear probe is a head on these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from fdetect.backend import torch_device
from fdetect.bench.models import Banked, Contender, Fixed, Trained
from fdetect.bench.protocols import ALIGNED, Samples
from fdetect.bench.scores.scoring import shown_and_trained
from fdetect.bench.training.aligned import Aligned, aligned_name
from fdetect.bench.training.draws import Draws
from fdetect.bench.training.head_trials import TrialFit, check_heads
from fdetect.bench.training.pairing import Halves, Pairs
from fdetect.classifiers import head
from fdetect.classifiers.embedding import AS_PROBES, EMBEDDING, EmbeddingTask, embedding_task
from fdetect.config import RunConfig
from fdetect.engine import Extraction
from fdetect.errors import BackendError, ParameterError, WeightsError
from fdetect.features import ALONE, PRESETS, feature_task
from fdetect.perturb import Condition
from fdetect.registry import Entry
from fdetect.rigid import ViewTask, detector, prepare
from fdetect.rigid.plugged import named
from fdetect.types import FeatureTable, NotRun

__all__ = ["Prepared", "check_names", "configured", "embeddings", "head_sets", "heads", "tasks_of", "training_free",
           "untrained", "why_failed"]  # fmt: skip


@dataclass(frozen=True)
class Prepared:
    """A training-free detector whose weights were found, and the engine tasks that encode its views."""

    name: str
    instance: Any
    tasks: tuple[ViewTask, ...]

    @property
    def cards(self) -> tuple[Any, ...]:
        """What is known of the weights; empty where it needs none."""
        return tuple(self.tasks[0].space.cards)

    def vectors(self, tables: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Name the rows of the tasks as `score` wants them."""
        return {task.view_name: rows for task, rows in zip(self.tasks, tables, strict=True)}


def training_free(config: RunConfig, *, backend: str = "auto") -> tuple[list[Prepared], list[NotRun]]:
    """Find the weights of every training-free detector; those without become rows "not run"."""
    prepared: list[Prepared] = []
    not_run: list[NotRun] = []
    networks = {"encoder": config.detectors.encoder, "autoencoder": config.detectors.autoencoder}
    for entry in configured(config.detectors.names, **networks):
        name = entry.name
        try:
            instance = entry()
            prepared.append(Prepared(name, instance, tasks_of(instance, crop=config.conditions.crop, backend=backend)))
        except (WeightsError, BackendError) as error:
            reason, fix = getattr(error, "reason", str(error)), getattr(error, "fix", "")
            not_run.append(NotRun(name, reason, fix or "see fdetect doctor"))
    return prepared, not_run


def embeddings(config: RunConfig, *, backend: str = "auto") -> tuple[list[EmbeddingTask], list[NotRun]]:
    """Return the engine tasks of encoders that heads of `per_family` and the fused detector look through.

    Those without weights become rows "not run", one for each that would look.

    On aligned pairs no embedding is computed: where nothing else is trained on, each is a row as well.
    Raises ParameterError where no head would look, for a setting that does not exist, and where two have one name.
    """
    names = tuple(dict.fromkeys(config.features.embeddings))
    looking = (*config.heads.per_family, *(["fused"] if "encoder" in config.fused.branches else []))
    if names and not looking:
        raise ParameterError(f"--embeddings {','.join(names)}: no head looks at them; name some with --family-heads")
    found: list[EmbeddingTask] = []
    not_run: list[NotRun] = []
    for name in names:
        reason, fix = f"embeddings are not computed of {ALIGNED} pairs", f"leave --train {ALIGNED} out"
        try:
            if ALIGNED not in config.protocol.train:
                found.append(embedding_task(f"{EMBEDDING}:encoder={name}", crop=config.conditions.crop,
                                            device=torch_device(backend), given_as=AS_PROBES))  # fmt: skip
                continue
        except (WeightsError, BackendError) as error:
            reason, fix = getattr(error, "reason", str(error)), getattr(error, "fix", "") or "see fdetect doctor"
        not_run += [NotRun(f"{h}:{EMBEDDING}-{Path(name).name}", reason, fix) for h in looking]
    called = [task.name for task in found]
    if twice := sorted({name for name in called if called.count(name) > 1}):
        raise ParameterError(f"--embeddings: two are called '{twice[0]}'; take one of them")
    return found, not_run


def configured(names: Sequence[str], **networks: str) -> list[Entry]:
    """Return the entries of detectors' names, with the `encoder` and `autoencoder` given where a name chooses none.

    A name chooses by a setting behind it, or where it is a variant for one network (`aeroblade_taef2`).

    Raises UnknownName and ParameterError as `named` does, and ParameterError for a network that none of the detectors
    looks through.
    """
    entries = [named(name) for name in names]
    for setting, value in networks.items():
        mine = [
            entry.settings.get(setting, "") == detector.of(entry.target).settings.get(setting)
            and f":{setting}=" not in entry.name
            for entry in entries
        ]
        if value and not any(mine):
            raise ParameterError(
                f"--{setting} {value}: none of the detectors ({', '.join(names) or 'none is run'}) takes it, or "
                "each has its own; leave it out"
            )
        if value:
            entries = [
                replace(entry.configured(**{setting: value}), name=entry.name) if takes else entry
                for entry, takes in zip(entries, mine, strict=True)
            ]
    return entries


def tasks_of(instance: Any, *, crop: int, backend: str) -> tuple[ViewTask, ...]:
    """Return the engine tasks of a training-free detector; errors are those of `fdetect.rigid.prepare`."""
    return prepare(instance, device=torch_device(backend), crop=crop, embed=partial(feature_task, crop=crop))


def head_sets(config: RunConfig, entries: Sequence[Entry]) -> list[tuple[str, str, list[Entry]]]:
    """Return what is trained: the head, the name of its columns, and the features that make these columns.

        residual       the features of one family                  heads of `per_family`
        all            all features but those of ALONE             heads of `all_columns` and `drop_one`
        all-residual   the same without one family                 heads of `drop_one`
        preset-fast    those of them that are in a preset          heads of `per_preset`

    Raises UnknownName and ParameterError as `check_heads` does, ParameterError where `drop_one` finds no two families,
    `per_preset` no preset, and `importance` or `best_single` nothing to look at.
    """
    wanted = config.heads
    check_heads((*wanted.per_family, *wanted.all_columns, *wanted.drop_one, *wanted.per_preset),
                balance=wanted.balance, search=wanted.search)  # fmt: skip
    together = [e for e in entries if e.family not in ALONE]
    names, families = {e.name for e in together}, tuple(dict.fromkeys(e.family for e in together))
    presets = [name for name, members in PRESETS.items() if names.issuperset(members)]
    if wanted.drop_one and len(families) < 2:
        raise ParameterError(
            f"--drop-one needs two families besides {' and '.join(ALONE)}, the chosen features have "
            f"{families[0] if families else 'none'}; name more with --features"
        )
    if wanted.per_preset and not presets:
        raise ParameterError(
            f"--per-preset finds no preset ({', '.join(PRESETS)}) whose features are all chosen; add one to --features"
        )
    sets = [(h, f, [e for e in entries if e.family == f])
            for f in dict.fromkeys(e.family for e in entries) for h in wanted.per_family]  # fmt: skip
    sets += [(h, f"preset-{p}", [e for e in together if e.name in PRESETS[p]]) for p in presets
             for h in wanted.per_preset]  # fmt: skip
    sets += [(h, "all", together) for h in dict.fromkeys((*wanted.all_columns, *wanted.drop_one))]
    sets += [(h, f"all-{f}", [e for e in together if e.family != f]) for h in wanted.drop_one for f in families]
    sets = [one for one in sets if one[2]]
    if wanted.importance and not (config.fused.branches or any(columns == "all" for _, columns, _ in sets)):
        raise ParameterError("--importance looks at heads on all columns and the fused detector, and none is run; name "
                             "one with --heads or --fused")  # fmt: skip
    if wanted.best_single and not (sets or (config.features.embeddings and wanted.per_family)):
        raise ParameterError("--best-single chooses among heads, and none is run; name some with --heads")
    return sets


def heads(
    config: RunConfig, samples: Samples, entries: tuple[Entry, ...], extraction: Extraction, halves: Halves | None,
    embedded: Sequence[EmbeddingTask] = (),
) -> Iterator[Contender]:  # fmt: skip
    """The heads of `head_sets`, each with its columns under every condition; those on aligned pairs after the others.

    These are fitted on draws of their own, and score by the mean over draws as all do.

    embedded  tasks whose columns have the heads of `per_family` each: `logreg:embedding-dinov2-small`

    Where nothing but aligned pairs is trained on, the heads that need generated images are left out.
    """
    sets, fit, draws = head_sets(config, entries), TrialFit.of(config), Draws.of(config)
    conditions = draws.needed(shown_and_trained(config.conditions.names))
    looks = [(h, task.name, [task]) for task in embedded for h in config.heads.per_family]
    cards = {task.name: (task.space.card,) for task in embedded}
    values: dict[str, Any] = {}
    for name, columns_name, mine in chain[tuple[str, str, Sequence[Any]]](sets, looks):
        tables = {c: [extraction.tables[c, e.name] for e in mine] for c in conditions}
        columns = tuple(column for table in next(iter(tables.values())) for column in table.columns)
        reasons = {c: why_failed(of_c) for c, of_c in tables.items()}
        values[columns_name] = (columns, _SideBySide(tables), reasons)
        if ALIGNED not in config.protocol.train:
            yield Trained(f"{name}:{columns_name}", head.read(name), columns, values[columns_name][1], samples,
                          reasons, fit, cards.get(columns_name, ()), draws)  # fmt: skip
    if halves is None:
        return
    pairs: dict[str, Pairs] = {}
    for name, columns_name, mine in sets:
        if columns_name not in pairs:
            pairs[columns_name] = halves.pairs(mine)
        columns, shown, reasons = values[columns_name]
        for share in config.aligned.generated:
            yield Aligned(f"{aligned_name(name, share)}:{columns_name}", head.read(name), columns, shown, samples,
                          extraction.ids, pairs[columns_name], share, config.seed, reasons, fit,
                          draws)  # fmt: skip


def untrained(
    prepared: Sequence[Prepared], samples: Samples, extraction: Extraction, conditions: tuple[Condition, ...]
) -> Iterator[Contender]:
    """Training-free detectors: their score of every image under every condition, from the views' vectors."""
    names = shown_and_trained([c.name for c in conditions])
    for one in prepared:
        tables = {c: [extraction.tables[c, task.name] for task in one.tasks] for c in names}
        vectors = {c: one.vectors([table.values for table in of_c]) for c, of_c in tables.items()}
        reasons = {c: why_failed(of_c) for c, of_c in tables.items()}
        if one.instance.references:
            yield Banked(one.name, one.instance, vectors, samples.label, reasons)
        else:
            yield Fixed(one.name, {c: one.instance.score(**of_c) for c, of_c in vectors.items()}, reasons)


def check_names(named: Iterable[tuple[str, str]]) -> None:
    """Raise ParameterError where two detectors have one name; `named` are names, each with the option it is from."""
    first: dict[str, str] = {}
    for name, option in named:
        if name in first:
            both = " and ".join(dict.fromkeys((first[name], option)))
            raise ParameterError(f"two detectors are called '{name}' ({both}); rename the one of {option}, or leave it "
                                 "out")  # fmt: skip
        first[name] = option


class _SideBySide(Mapping[str, np.ndarray]):
    """The columns of several tables under each condition, joined when asked for: many heads share the tables."""

    def __init__(self, tables: Mapping[str, Sequence[FeatureTable]]) -> None:
        self._tables = tables

    def __getitem__(self, condition: str) -> np.ndarray:
        parts = [table.values for table in self._tables[condition]]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)


def why_failed(tables: Sequence[FeatureTable]) -> dict[int, str]:
    """Why rows failed: row number -> "stage: reason" of the first table that failed."""
    found: dict[int, str] = {}
    for table in tables:
        row_of = {path: k for k, path in enumerate(table.paths)}
        for failure in table.failures:
            found.setdefault(row_of[failure.path], f"{failure.stage}: {failure.reason}")
    return found
