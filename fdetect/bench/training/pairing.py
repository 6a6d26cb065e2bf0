"""Both halves of every pair of a run's photographs: computed by the engine, read as columns of features."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fdetect.bench.training.pair_sources import PairSource
from fdetect.config import AlignedConfig
from fdetect.engine import Extraction, run
from fdetect.features import feature_tasks
from fdetect.pairs import halves
from fdetect.perturb import Condition, condition
from fdetect.registry import Entry
from fdetect.types import Failure

__all__ = ["Halves", "Pairs"]


@dataclass(frozen=True)
class Pairs:
    """Both halves of every pair of R photographs, as columns of features.

    rows       (R,) row numbers of the photographs among the samples
    pristine   training condition -> autoencoder -> (draws, R, D) float32; `laundered` alike
    sources    the autoencoders by name
    fakes      (F,) row numbers of generated images, and `generated` their columns with the history of pristine halves,
               training condition -> (draws, F, D) float32; none where no share of them is mixed in
    """

    rows: np.ndarray
    pristine: Mapping[str, Mapping[str, np.ndarray]]
    laundered: Mapping[str, Mapping[str, np.ndarray]]
    sources: Mapping[str, PairSource]
    fakes: np.ndarray
    generated: Mapping[str, np.ndarray]

    def of(
        self, condition: str, names: Sequence[str], *, among: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (P, D) pristine and (P, D) laundered rows with some autoencoders, and the name of each, (P,).

        among  row numbers that the photographs must be of; None: all of them
        """
        mine = np.full(len(self.rows), True) if among is None else np.isin(self.rows, among)
        sides = [[side[condition][name][:, mine] for name in names] for side in (self.pristine, self.laundered)]
        source = np.repeat(list(names), [of_name.shape[0] * of_name.shape[1] for of_name in sides[0]])
        pristine, laundered = (np.concatenate([v.reshape(-1, v.shape[-1]) for v in of_side]) for of_side in sides)
        return pristine, laundered, source

    def of_generated(self, condition: str, *, among: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return (G, D) rows of generated images, and the row number of each among the samples, (G,)."""
        mine = np.full(len(self.fakes), True) if among is None else np.isin(self.fakes, among)
        values = self.generated[condition][:, mine]
        return values.reshape(-1, values.shape[-1]), np.tile(self.fakes[mine], len(values))

    @cached_property
    def digest(self) -> str:
        """Of all values, for the key of what is trained on them."""
        found = hashlib.blake2b(self.rows.tobytes(), digest_size=16)
        for of_side in (self.pristine, self.laundered):
            for base in sorted(of_side):
                for name in sorted(of_side[base]):
                    found.update(f"{base} {name}".encode() + np.ascontiguousarray(of_side[base][name]).tobytes())
        for base, values in sorted(self.generated.items()):
            found.update(base.encode() + np.ascontiguousarray(values).tobytes())
        return found.hexdigest()


@dataclass(frozen=True)
class Halves:
    """What the engine computed of both halves of all pairs; `pairs` reads the columns of some features from it."""

    config: AlignedConfig
    sources: tuple[PairSource, ...]
    rows: np.ndarray  # of the photographs among the samples
    fakes: np.ndarray  # of the generated images that are mixed in
    conditions: tuple[str, ...]  # that heads are trained under
    extraction: Extraction
    of_fakes: Extraction

    @classmethod
    def compute(
        cls, config: AlignedConfig, sources: tuple[PairSource, ...], paths: Sequence[str] | np.ndarray,
        rows: np.ndarray, fakes: np.ndarray, entries: Sequence[Entry], conditions: Sequence[str], *, crop: int,
        **engine: Any,
    ) -> Halves:  # fmt: skip
        """Make all pairs of the photographs `rows` of `paths`, and their features; of `fakes` where they are used.

        Generated images get the history of pristine halves, or a head would learn who has one.

        conditions  that heads are trained under
        engine      arguments of `fdetect.engine.run`
        """
        wanted = dict.fromkeys(c for base in conditions for one in sources for pair in _pairs(base, one, config)
                               for c in pair)  # fmt: skip
        fakes = fakes if any(config.generated) else fakes[:0]
        tasks, pristine = feature_tasks(tuple(entries), crop=crop), tuple(c for c in wanted if c.launder is None)
        extraction, of_fakes = (
            run(tasks, [paths[row] for row in chosen], conditions=halves, crop=crop, **engine)
            for chosen, halves in ((rows, tuple(wanted)), (fakes, pristine))
        )
        return cls(config, sources, rows, fakes, tuple(conditions), extraction, of_fakes)

    def failures(self, known: Collection[str]) -> tuple[Failure, ...]:
        """Return why photographs are in no pair, each once; `known` are paths that failed anyway."""
        tables = (*self.extraction.tables.values(), *self.of_fakes.tables.values())
        return tuple({f.path: f for table in tables for f in table.failures if f.path not in known}.values())

    def pairs(self, entries: Sequence[Entry]) -> Pairs:
        """Return the columns of these features for both halves."""

        def values(half: Condition, extraction: Extraction = self.extraction) -> np.ndarray:
            return np.concatenate([extraction.tables[half.name, e.name].values for e in entries], axis=1)

        pristine, laundered = (
            {
                base: {
                    source.name: np.stack([values(pair[side]) for pair in _pairs(base, source, self.config)])
                    for source in self.sources
                }
                for base in self.conditions
            }
            for side in (0, 1)
        )
        any_source = self.sources[0]  # pristine halves are the same for all
        generated = {
            base: np.stack([values(half, self.of_fakes) for half, _ in _pairs(base, any_source, self.config)])
            for base in self.conditions
        }
        known = {source.name: source for source in self.sources}
        return Pairs(self.rows, pristine, laundered, known, self.fakes, generated)


def _pairs(base: str, source: PairSource, config: AlignedConfig) -> list[tuple[Condition, Condition]]:
    """Return the pristine and the laundered condition of every pair with one autoencoder, under a condition."""
    return [
        halves(condition(base), source.laundering, label=source.name, draw=draw, history=config.history)
        for draw in range(1, config.draws + 1)
    ]
