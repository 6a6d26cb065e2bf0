"""What a three-way head says in one trial: trained on the photographs and fakes of its training, asked about its tests.

    photographs under C                 pristine
    photographs under launder_A + C     laundered: the same crops, the round trip is the only difference
    generated images under C            synthetic

One autoencoder, another in each trial, launders the tested photographs; those of training went through the others.
Answers are balanced: as if the three classes had been equally frequent in training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from fdetect.bench.protocols import Samples, Trial
from fdetect.bench.scores.scoring import train_condition
from fdetect.classifiers import fit_classes
from fdetect.errors import DataError
from fdetect.registry import Entry
from fdetect.types import REAL

__all__ = ["CLASSES", "LAUNDERED", "PRISTINE", "SYNTHETIC", "Answers", "Shown", "TrialAnswers", "answers_in_trial",
           "taken_in_turn", "turns"]  # fmt: skip

CLASSES = ("pristine", "laundered", "synthetic")
PRISTINE, LAUNDERED, SYNTHETIC = range(3)


@dataclass(frozen=True)
class Answers:
    """What a head said of n tested images under one condition.

    truth   (n,) number of the true one of CLASSES
    of      (n,) str, the autoencoder of a laundered photograph, the generator of a synthetic image, "" of a pristine
    answer  (n,) number of the class that the head named; NO_ANSWER where its features failed
    group   (n,) str
    seen    (n,) bool: the generator was in the training set of the trial
    """

    truth: np.ndarray
    of: np.ndarray
    answer: np.ndarray
    group: np.ndarray
    seen: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Answers]) -> Answers:
        """Put the rows of several trials below each other."""
        return cls(*(np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(cls)))


@dataclass(frozen=True)
class TrialAnswers:
    """What came of one head in one trial: answers by condition, or the reason why there are none and what to do.

    held_out  the autoencoder that laundered the tested photographs; "" where there are no answers
    left_out  those that know tested images or made some of the trial's
    alone     whether it laundered those of training too, as there was no other
    """

    trial: str
    train: str
    held_out: str
    alone: bool
    answers: Mapping[str, Answers]
    reason: str = ""
    fix: str = ""
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shown:
    """The columns of all images, stored and laundered.

    stored     condition -> (N, D) float32
    laundered  (autoencoder, condition) -> (R, D) float32 of the R photographs alone, in the order of the samples
    """

    samples: Samples
    stored: Mapping[str, np.ndarray]
    laundered: Mapping[tuple[str, str], np.ndarray]

    def of(
        self, rows: np.ndarray, condition: str, autoencoders: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return the values (n, D) of these samples in all three classes, the number of the class, its `of`, the row.

        The photographs among them come once pristine and once laundered by each autoencoder.
        """
        is_real = self.samples.label == REAL
        reals, fakes = rows[is_real[rows]], rows[~is_real[rows]]
        place = (np.cumsum(is_real) - 1)[reals]
        kinds = [(PRISTINE, "", self.stored[condition][reals])]
        kinds += [(LAUNDERED, name, self.laundered[name, condition][place]) for name in autoencoders]
        truth = np.repeat([*(kind for kind, _, _ in kinds), SYNTHETIC], [*(len(v) for *_, v in kinds), len(fakes)])
        of = np.concatenate([np.repeat([name for _, name, _ in kinds], len(reals)), self.samples.generator[fakes]])
        values = np.concatenate([*(v for *_, v in kinds), self.stored[condition][fakes]])
        return values, truth, of.astype(str), np.concatenate([np.tile(reals, len(kinds)), fakes])


def turns(trials: Sequence[Trial]) -> list[int]:
    """Return whose turn it is in each trial: a number that grows by one from fold to fold and from part to part.

    Trials are called `<part>/<fold>`; so every fold, and each of its photographs, meets one autoencoder after another.
    """
    names = [trial.name.rpartition("/") for trial in trials]
    parts, folds = (list(dict.fromkeys(name[k] for name in names)) for k in (0, 2))
    return [parts.index(part) + folds.index(fold) for part, _, fold in names]


def taken_in_turn(names: Sequence[str], turn: int) -> tuple[str, tuple[str, ...]]:
    """Return the autoencoder that is held out in a trial, and those of training: all others; one alone is both."""
    held_out = names[turn % len(names)]
    return held_out, tuple(name for name in names if name != held_out) or (held_out,)


def answers_in_trial(
    entry: Entry, shown: Shown, trial: Trial, turn: int, usable: Sequence[str], conditions: Sequence[str]
) -> TrialAnswers:
    """Train a head in a trial and ask it about the trial's test images under every condition.

    turn    the number of the autoencoder that is held out
    usable  autoencoders that know none of the test images

    A trial in which a class is empty, or all of it failed, has no answers but the reason.
    """
    nothing = TrialAnswers(trial.name, trial.train, "", False, {})
    if not usable:
        return replace(nothing, reason="every autoencoder knows tested images or made some of the trial's",
                       fix="give those that were trained on others with --aligned")  # fmt: skip
    held_out, others = taken_in_turn(usable, turn)
    found: dict[str, Answers] = {}
    try:
        for base in dict.fromkeys(map(train_condition, conditions)):
            values, truth, _, _ = shown.of(trial.fit, base, others)
            fitted = fit_classes(entry, tuple(map(str, range(values.shape[1]))), values, truth, CLASSES)
            for condition in (name for name in conditions if train_condition(name) == base):
                values, truth, of, rows = shown.of(trial.test, condition, [held_out])
                group, seen = shown.samples.group[rows].astype(str), (truth == SYNTHETIC) & np.isin(of, trial.seen)
                found[condition] = Answers(truth, of, fitted.answer(values), group, seen)
    except DataError as error:  # one generator with too few images must not end the trials of all others
        return replace(nothing, reason=str(error), fix="add images of that class, or lower --folds or --calibration")
    return replace(nothing, held_out=held_out, alone=others == (held_out,), answers=found)
