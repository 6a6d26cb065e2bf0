"""What is compared in a run: heads on columns, training-free detectors, score tables; each becomes a `Contender`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fdetect.bench.protocols import Samples
from fdetect.bench.scoring import Contender, Fixed, Trained, train_condition
from fdetect.classifiers import head
from fdetect.config import RunConfig
from fdetect.engine import Extraction
from fdetect.errors import BackendError, ParameterError, WeightsError
from fdetect.perturb import Condition
from fdetect.registry import Entry
from fdetect.rigid import EncodeView, detector, prepare
from fdetect.types import FeatureTable, NotRun

__all__ = ["Prepared", "check_names", "heads", "training_free", "untrained"]


@dataclass(frozen=True)
class Prepared:
    """A training-free detector whose weights were found, and the engine tasks that encode its views."""

    name: str
    instance: Any
    tasks: tuple[EncodeView, ...]


def training_free(config: RunConfig) -> tuple[list[Prepared], list[NotRun]]:
    """Find the weights of every training-free detector; those without become rows "not run"."""
    prepared: list[Prepared] = []
    not_run: list[NotRun] = []
    for name in config.detectors.names:
        entry = detector.get(name)
        try:
            instance = entry(**({"weights": config.detectors.weights} if config.detectors.weights else {}))
            prepared.append(Prepared(name, instance, prepare(instance)))
        except (WeightsError, BackendError) as error:
            reason, fix = getattr(error, "reason", str(error)), getattr(error, "fix", "")
            not_run.append(NotRun(name, reason, fix or "see fdetect doctor"))
    return prepared, not_run


def heads(
    config: RunConfig, samples: Samples, entries: tuple[Entry, ...], extraction: Extraction
) -> Iterator[Contender]:
    """The cross product: every head of `per_family` on each family, every head of `all_columns` on all columns."""
    names = dict.fromkeys(e.family for e in entries)
    families = {family: [e for e in entries if e.family == family] for family in names}
    sets = [(h, family, mine) for family, mine in families.items() for h in config.heads.per_family]
    sets += [(h, "all", list(entries)) for h in config.heads.all_columns if entries]
    conditions = {name for name, _ in extraction.tables}
    for name, columns_name, mine in sets:
        tables = {c: [extraction.tables[c, e.name] for e in mine] for c in conditions}
        values = {c: np.concatenate([table.values for table in of_c], axis=1) for c, of_c in tables.items()}
        columns = tuple(column for table in next(iter(tables.values())) for column in table.columns)
        reasons = {c: _reasons(of_c) for c, of_c in tables.items()}
        yield Trained(f"{name}:{columns_name}", head.get(name), columns, values, samples.label, reasons)


def untrained(
    prepared: Sequence[Prepared], extraction: Extraction, conditions: tuple[Condition, ...]
) -> Iterator[Contender]:
    """Training-free detectors: their score of every image under every condition, from the embeddings."""
    names = {name for c in conditions for name in (c.name, train_condition(c.name))}
    for one in prepared:
        tables = {c: [extraction.tables[c, task.name] for task in one.tasks] for c in names}
        values = {
            c: one.instance.score(**{t.view_name: table.values for t, table in zip(one.tasks, of_c, strict=True)})
            for c, of_c in tables.items()
        }
        yield Fixed(one.name, values, {c: _reasons(of_c) for c, of_c in tables.items()})


def check_names(detectors: Sequence[Contender]) -> None:
    """Raise ParameterError where two detectors have one name."""
    names = [one.name for one in detectors]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ParameterError(f"two detectors are called '{twice[0]}'; rename the one in the --scores file")


def _reasons(tables: Sequence[FeatureTable]) -> dict[int, str]:
    """Why rows failed: row number -> "stage: reason" of the first table that failed."""
    found: dict[int, str] = {}
    for table in tables:
        row_of = {path: k for k, path in enumerate(table.paths)}
        for failure in table.failures:
            found.setdefault(row_of[failure.path], f"{failure.stage}: {failure.reason}")
    return found
