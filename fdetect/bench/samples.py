"""What protocols, trials and tables of scores look at of a manifest: its names as arrays, and as numbers."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import pyarrow.compute as pc

from fdetect.bench.scores.evaluate import OVERALL
from fdetect.errors import DataError
from fdetect.splits import Grouped, Numbered, numbered
from fdetect.types import FAKE, REAL, Table

__all__ = ["ALIGNED", "Samples", "names_of", "samples_of"]

ALIGNED = "aligned"  # among the names of `train_on`: photographs against their round trips (training/aligned.py)


@dataclass(frozen=True)
class Samples:
    """The columns of a manifest that protocols look at, as (N,) arrays; an empty group became the path."""

    path: np.ndarray
    label: np.ndarray
    generator: np.ndarray
    real_source: np.ndarray
    group: np.ndarray
    split: np.ndarray

    @property
    def generators(self) -> tuple[str, ...]:
        """Names of the generators, sorted."""
        return names_of(self.by_generator, self.label == FAKE)

    @property
    def real_sources(self) -> tuple[str, ...]:
        """Names of the real sources, sorted; "" where a manifest names none."""
        return names_of(self.by_source, self.label == REAL)

    @property
    def stratum(self) -> np.ndarray:
        """(N,) generator of a fake, real source of a real: what folds are balanced over."""
        return np.asarray(np.array(self.strata, dtype=object)[self.by_stratum])

    @property
    def strata(self) -> list[str]:
        """The names of the numbers of `by_stratum`, such as "fake sdxl"; some may have no row."""
        names = [f"fake {name}" for name in self.by_generator.names.to_pylist()]
        return names + [f"real {name}" for name in self.by_source.names.to_pylist()]

    def grouped(self, seed: int) -> Grouped:
        """The rows as they are split under a seed, kept: the hashes of millions of names take seconds."""
        if seed not in self._grouped:
            self._grouped[seed] = Grouped.numbered(self.by_group, self.by_stratum, seed=seed)
        return self._grouped[seed]

    @cached_property
    def _grouped(self) -> dict[int, Grouped]:
        return {}

    @cached_property
    def by_group(self) -> Numbered:
        """The groups in numbers: of millions of rows, numbers are compared and not names."""
        return numbered(self.group)

    @cached_property
    def by_generator(self) -> Numbered:
        """The generators in numbers."""
        return numbered(self.generator)

    @cached_property
    def by_source(self) -> Numbered:
        """The real sources in numbers."""
        return numbered(self.real_source)

    @property
    def by_stratum(self) -> np.ndarray:
        """(N,) int32: `stratum` in numbers."""
        of_reals = len(self.by_generator.names) + self.by_source.number
        return np.where(self.label == FAKE, self.by_generator.number, of_reals)

    def at(self, rows: np.ndarray) -> Samples:
        """Return some of the rows."""
        return Samples(*(getattr(self, one.name)[rows] for one in fields(self)))

    def sharing(self, rows: np.ndarray) -> np.ndarray:
        """(N,) bool: whether an image is of a group of one of these rows, which are a mask or row numbers."""
        theirs = np.zeros(len(self.by_group.names), np.bool_)
        theirs[self.by_group.number[rows]] = True
        return np.asarray(theirs[self.by_group.number])


def samples_of(manifest: Table) -> Samples:
    """Return the manifest's columns as arrays; raises DataError where a class is empty."""
    coded = {name: numbered(manifest.column(name)) for name in ("generator", "real_source", "group", "split")}
    column = {name: _texts(one) for name, one in coded.items()}
    path = np.asarray(manifest.column("path").to_numpy())
    label = np.array(manifest.column("label"), dtype=np.int64)
    for name, value in (("real", REAL), ("fake", FAKE)):
        if not (label == value).any():
            raise DataError(f"the data holds no {name} images; a benchmark needs both classes")
    if reserved := sorted({*OVERALL, ALIGNED} & {*manifest.column("generator").unique().to_pylist()}):
        raise DataError(f"a generator is called '{reserved[0]}', which names a row of every table; rename it")
    group = column["group"]
    if coded["group"].names.index("").as_py() >= 0:
        group = np.where(group == "", path, group)
        coded["group"] = _alone(manifest, coded["group"])
    samples = Samples(path, label, column["generator"], column["real_source"], group, column["split"])
    known = {"by_group": "group", "by_generator": "generator", "by_source": "real_source"}
    vars(samples).update({by: coded[name] for by, name in known.items()})  # which spares looking at objects
    return samples


def _alone(manifest: Table, groups: Numbered) -> Numbered:
    """Number the groups where an empty one is the path, which stands once."""
    path, group = manifest.column("path"), manifest.column("group")
    if len(groups.names) == 1:
        return Numbered(path, np.arange(len(path), dtype=np.int32))
    return numbered(pc.if_else(pc.equal(group, ""), path, group))


def _texts(column: Numbered) -> np.ndarray:
    """Return a column as (N,) objects; equal texts are one object, as most columns hold few."""
    return np.asarray(np.array(column.names.to_pylist(), dtype=object)[column.number])


def names_of(column: Numbered, rows: np.ndarray) -> tuple[str, ...]:
    """Return the names that rows of a mask bear, sorted."""
    there = np.bincount(column.number[rows], minlength=len(column.names)) > 0
    return tuple(sorted(column.names.filter(there).to_pylist()))
