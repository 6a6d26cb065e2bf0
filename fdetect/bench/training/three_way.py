"""The three-way question of a run: is an image a pristine photograph, a laundered one, or synthetic?

    config -> heads, autoencoders, conditions               ThreeWay.asked
    photographs through every autoencoder -> features       ThreeWay.launder, one pass of the engine
    features -> answers of every head in every trial        three_way_answers.py
    answers -> counts, tables                               three_way_tables.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fdetect.bench.protocols import ALIGNED, Samples, Trial
from fdetect.bench.scores.scoring import shown_and_trained
from fdetect.bench.training.head_trials import check_heads
from fdetect.bench.training.pair_sources import SHIPPED_WORD, PairSource, find_sources, usable_sources
from fdetect.bench.training.three_way_answers import Shown, TrialAnswers, answers_in_trial, turns
from fdetect.classifiers import head, in_parallel
from fdetect.classifiers.heads import LOG_ODDS, scale_of
from fdetect.config import RunConfig
from fdetect.engine import Extraction, run
from fdetect.engine.loop import Progress
from fdetect.errors import ParameterError, WeightsError
from fdetect.features import ALONE, feature_tasks
from fdetect.perturb import Condition, condition
from fdetect.registry import Entry
from fdetect.types import REAL, Failure, NotRun

__all__ = ["ThreeWay", "answerer", "failures_of", "laundered_condition", "three_way_not_run"]


@dataclass(frozen=True)
class ThreeWay:
    """What is asked: by which heads, autoencoders, test conditions and features."""

    heads: tuple[str, ...]
    sources: tuple[PairSource, ...]
    conditions: tuple[str, ...]
    entries: tuple[Entry, ...]

    @classmethod
    def asked(
        cls, config: RunConfig, entries: Sequence[Entry], conditions: Sequence[Condition]
    ) -> tuple[ThreeWay | None, list[NotRun]]:
        """Return what `[aligned] three_way` asks for; None where it asks for nothing or an autoencoder is absent.

        Natively photographs and their round trips are not cut alike, and a condition that launders leaves nothing
        pristine: neither is asked about.  Raises UnknownName for a head that does not exist, ParameterError for one
        without log-odds of three classes, and where no condition, no feature or no generated image is left.
        """
        heads = tuple(dict.fromkeys(config.aligned.three_way))
        if not heads:
            return None, []
        check_heads(heads)
        usable = [one.name for one in head if scale_of(one) == LOG_ODDS and one.name != "stacking"]
        for name in heads:
            if name.partition(":")[0] not in usable:
                raise ParameterError(f"--three-way: head {name} does not tell three classes apart; choose of "
                                     f"{', '.join(usable)}")  # fmt: skip
        _need(ALIGNED not in config.protocol.train, f"generated images in training; leave --train {ALIGNED} out")
        asked = tuple(one.name for one in conditions if not one.is_native and one.launder is None)
        _need(bool(asked), "a condition that cuts photographs and their round trips alike and launders nothing by "
              "itself; add matched to --conditions")  # fmt: skip
        together = tuple(entry for entry in entries if entry.family not in ALONE)
        _need(bool(together), f"features besides {' and '.join(ALONE)}; name some with --features")
        try:
            sources = find_sources(config.aligned.autoencoders or (SHIPPED_WORD,))
        except WeightsError as error:
            return None, [NotRun(answerer(name), error.reason, error.fix) for name in heads]
        if not sources:
            return None, [NotRun(answerer(name), "no autoencoder comes with this fdetect", "name one with --aligned")
                          for name in heads]  # fmt: skip
        return cls(heads, sources, asked, together), []

    def launder(self, samples: Samples, *, crop: int, **engine: Any) -> Extraction:
        """Compute the features of every photograph through every autoencoder, in the order of the samples.

        engine  arguments of `fdetect.engine.run`
        """
        wanted = [laundered_condition(source, base) for base in self._shown for source in self.sources]
        photographs, tasks = list(samples.path[samples.label == REAL]), feature_tasks(self.entries, crop=crop)
        return run(tasks, photographs, conditions=wanted, crop=crop, **engine)

    def answers(
        self, samples: Samples, extraction: Extraction, laundered: Extraction, trials: Sequence[Trial], *,
        workers: int = 1, progress: Progress | None = None,
    ) -> dict[str, list[TrialAnswers]]:  # fmt: skip
        """Train every head in every trial and have it answer for the trial's test images; by name of the answerer.

        extraction, laundered  features of the images as they are stored, and those that `launder` computed
        """
        shown = Shown(
            samples, {base: self._values(extraction, base) for base in self._shown},
            {(source.name, base): self._values(laundered, laundered_condition(source, base).name)
             for base in self._shown for source in self.sources},
        )  # fmt: skip
        known = {source.name: source for source in self.sources}
        usable = [self._usable(known, samples, extraction.ids, trial) for trial in trials]
        numbers = turns(trials)
        found: dict[str, list[TrialAnswers]] = {}
        for name in self.heads:
            entry, mine = head.read(name), found.setdefault(answerer(name), [])

            def one(k: int, entry: Entry = entry) -> TrialAnswers:
                found = answers_in_trial(entry, shown, trials[k], numbers[k], usable[k], self.conditions)
                return replace(found, left_out=tuple(name for name in known if name not in usable[k]))

            for answers in in_parallel(one, range(len(trials)), workers=workers):
                mine.append(answers)
                if progress:
                    progress(answerer(name), len(mine), len(trials))
        return found

    @staticmethod
    def _usable(
        known: Mapping[str, PairSource], samples: Samples, ids: Sequence[str], trial: Trial
    ) -> tuple[str, ...]:
        """Return the autoencoders of a trial: none that made images which are synthetic to the head."""
        synthetic = set(samples.generator[trial.fit])
        return tuple(name for name in usable_sources(known, samples, ids, trial) if name not in synthetic)

    @property
    def _shown(self) -> tuple[str, ...]:
        """The conditions that are tested and trained under, each once."""
        return shown_and_trained(self.conditions)

    def _values(self, extraction: Extraction, name: str) -> np.ndarray:
        return np.concatenate([extraction.tables[name, entry.name].values for entry in self.entries], axis=1)


def answerer(head_name: str) -> str:
    """Return what a three-way head is called in the tables: "logreg@three-way:all", as it reads all columns."""
    return f"{head_name}@three-way:all"


def laundered_condition(source: PairSource, name: str) -> Condition:
    """Return the condition that launders before all else: what `launder_NAME+...` is, for folders given by path too."""
    base = condition(name)
    title = f"launder_{source.name}" + ("" if name == "matched" else f"+{name}")
    return replace(base, name=title, launder=source.laundering)


def failures_of(laundered: Extraction | None, known: Sequence[Failure]) -> tuple[Failure, ...]:
    """Return why photographs failed on the way through an autoencoder; one that failed without it is among `known`."""
    listed = {failure.path for failure in known}
    tables = laundered.tables.values() if laundered else ()
    return tuple(dict.fromkeys(f for table in tables for f in table.failures if f.path not in listed))


def three_way_not_run(answers: Mapping[str, Sequence[TrialAnswers]]) -> list[NotRun]:
    """Return a line for every head and reason, with the trials that have no answers for it."""
    trials: dict[tuple[str, str, str], list[str]] = {}
    for name, of_name in answers.items():
        for one in of_name:
            if one.reason:
                trials.setdefault((name, one.reason, one.fix), []).append(one.trial)
    return [NotRun(name, f"trial {', '.join(of_reason)}: {reason}", fix)
            for (name, reason, fix), of_reason in trials.items()]  # fmt: skip


def _need(holds: bool, what: str) -> None:
    if not holds:
        raise ParameterError(f"--three-way needs {what}")
