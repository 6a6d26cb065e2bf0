"""Protocols: which images train, which give the threshold, which are tested.

Every protocol cuts the groups into folds once.  A trial is tested on one fold and trained on the others, so no
group (scene, prompt, source photograph, pair) is ever on both sides, whatever its generator.  A share of the
training reals, whole groups of them, is kept from fitting: thresholds are set on these alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import xxhash

from fdetect.bench.samples import ALIGNED, Samples, names_of, samples_of
from fdetect.errors import ParameterError
from fdetect.registry import Registry, nearest
from fdetect.splits import Numbered, numbered
from fdetect.types import FAKE, REAL

__all__ = ["ALIGNED", "Samples", "Trial", "protocol", "samples_of", "trials_of"]

protocol = Registry("protocol")  # (samples, folds) -> trials before calibration is set apart


@dataclass(frozen=True)
class Trial:
    """One training set and one test set: `fit`, `calibration` (reals only) and `test` are row numbers, int32.

    `fit` may lack a class where a generator or source has too few images: nothing can then be trained in this trial.
    """

    name: str  # <held-out>/<fold>
    train: str  # what it was trained on, in words; a row of the train x test matrix
    fit: np.ndarray
    calibration: np.ndarray
    test: np.ndarray
    seen: tuple[str, ...] = ()  # generators it was trained on: their cells are shown, and left out of the macro mean


@dataclass(frozen=True)
class _Cut:
    """A trial before calibration reals are set apart: boolean masks over the rows."""

    name: str
    train: str
    training: np.ndarray
    test: np.ndarray
    seen: tuple[str, ...] = ()


@protocol
def leave_one_generator_out(samples: Samples, fold: np.ndarray) -> Iterator[_Cut]:
    """Train on all generators but one, test on that one, fold by fold.

    Trial `<generator>/<fold>`: test = the generator's fakes and the reals of the fold; training = all images of
    the other folds but that generator's.
    """
    if len(samples.generators) < 2:
        raise ParameterError(_one_generator(samples.generators[0], samples.split))
    return (
        _Cut(f"{name}/{k}", "all but the tested", ~here & ~mine, here & (mine | (samples.label == REAL)))
        for name in samples.generators
        for mine in [_is(samples.by_generator, name)]
        for k, here in _folds(fold)
    )


@protocol
def cross_generator(samples: Samples, fold: np.ndarray, *, train: tuple[str, ...] = ()) -> Iterator[_Cut]:
    """Train on each generator alone, test on every other; the diagonal is the same generator's held-out fold.

    Trial `<training generator>/<fold>`: training = that generator's fakes and the reals of the other folds.
    """
    return (cut for name in (train or samples.generators) for cut in train_on(samples, fold, train=(name,)))


@protocol
def train_on(samples: Samples, fold: np.ndarray, *, train: tuple[str, ...] = ()) -> Iterator[_Cut]:
    """Train on the named generators together (`--train A,B`), test on all.

    Trial `<names>/<fold>`: training = the named generators' fakes and the reals of the other folds.  The name
    `aligned` stands for no generator: heads are trained on those reals and their round trips through autoencoders.
    """
    _need(bool(train), "train_on needs the names of the training generators: --train NAME,NAME, or --train aligned")
    _need(ALIGNED not in train or train == (ALIGNED,), f"--train {ALIGNED} stands alone; heads on aligned pairs with a "
          "share of generated images are --aligned AUTOENCODERS --generated SHARE")  # fmt: skip
    for name in (name for name in train if name != ALIGNED):
        hint = f"no generator '{name}' in the data{nearest(name, samples.generators)}"
        _need(name in samples.generators, f"{hint} ({', '.join(samples.generators)})")
    named = (samples.label == REAL) | _is(samples.by_generator, *train)
    title = ",".join(train)
    seen = () if train == (ALIGNED,) else train
    return (_Cut(f"{title}/{k}", title, ~here & named, here, seen) for k, here in _folds(fold))


@protocol
def leave_one_real_source_out(samples: Samples, fold: np.ndarray) -> Iterator[_Cut]:
    """Train on all real sources but one, test that source against every generator, fold by fold.

    Trial `<source>/<fold>`: test = the source's reals and all fakes of the fold; training = the other sources'
    reals and the fakes of the other folds, without those paired with a real of the source.  Generators are
    therefore seen in training.
    """
    _need(len(samples.real_sources) > 1, "leave_one_real_source_out needs at least two values of real_source")
    seen = samples.generators
    for name in samples.real_sources:
        mine = (samples.label == REAL) & _is(samples.by_source, name)
        shared = samples.sharing(mine)  # a fake paired with a held-out real leaves training
        for k, here in _folds(fold):
            test = here & (mine | (samples.label == FAKE))
            yield _Cut(f"{name}/{k}", "all but the tested real source", ~here & ~mine & ~shared, test, seen)


@protocol
def fixed_split(samples: Samples, fold: np.ndarray) -> list[_Cut]:
    """Train and test as the manifest's `split` column says (train or val, and test).

    Trial `split/0`: training = train and val, test = test.  A group on both sides is refused.
    """
    names, number = numbered(samples.split)
    split = [name.lower() for name in names.to_pylist()]
    training, test = (np.isin(split, sides)[number] for sides in (("train", "val", "valid", "validation"), ("test",)))
    _need(bool(training.any() and test.any()), "fixed_split needs rows with split train and rows with split test")
    other = sorted({split[k] for k in np.unique(number[~training & ~test])})
    wrong = other[0] if other else ""
    _need(not other, f"fixed_split: the column split holds '{wrong}'; every row needs train, val or test")
    both = min(samples.group[training & samples.sharing(test)], default="")
    _need(not both, f"fixed_split: group '{both}' is in training and in test; move it")
    seen = tuple(name for name in names_of(samples.by_generator, training) if name)
    return [_Cut("split/0", "train split", training, test, seen)]


def trials_of(
    samples: Samples,
    *,
    name: str,
    folds: int = 3,
    calibration: float = 0.25,
    train: tuple[str, ...] = (),
    seed: int = 0,
) -> tuple[Trial, ...]:
    """Return the trials of a protocol; those whose test part lacks a class are no trials.

    Raises ParameterError where the protocol cannot be run on these data, and says what it lacks; that a single trial
    has nothing to train on is no reason, as the others have.
    """
    entry = protocol.get(name)
    _need(not train or "train" in entry.settings, f"--train is for train_on and cross_generator; {name} takes none")
    _need(ALIGNED not in train or name == "train_on", f"--train {ALIGNED} goes with --protocol train_on, not {name}")
    grouped = samples.grouped(seed)
    groups = grouped.n_groups
    _need(groups > 1, "all images are of one group; give the manifest's column group more than one value, or none")
    _need(2 <= folds <= groups, f"--folds is {folds}; give a number between 2 and the number of groups, {groups}")
    _need(0 < calibration < 1, f"--calibration is {calibration:g}; give a share between 0 and 1, such as 0.25")
    named = {"train": tuple(dict.fromkeys(train))} if train else {}
    cuts: Iterable[_Cut] = entry(samples, grouped.folds(folds).astype(np.int32), **named)
    trials = []
    held: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}  # training reals, as a digest -> those that calibrate, and
    # the mask of what shares no group with them: many trials have the same
    for cut in cuts:
        if _classes(samples.label[cut.test]) < 2:
            continue
        of_training = cut.training & (samples.label == REAL)
        key = xxhash.xxh3_128_digest(of_training)
        if key not in held:
            reals = _rows(of_training)
            kept = reals[grouped[reals].held_out(calibration)]
            held[key] = kept, ~samples.sharing(kept)
        kept, others = held[key]
        fit = _rows(cut.training & others)
        trials.append(Trial(cut.name, cut.train, fit, kept, _rows(cut.test), cut.seen))
    _need(bool(trials), f"{name}: no fold holds both classes; lower --folds or add images")
    wanted = 1 if ALIGNED in train else 2  # of a photograph, its round trip is the other class
    trainable = any(_classes(samples.label[trial.fit]) >= wanted for trial in trials)
    _need(trainable, f"{name}: every trial lacks a class to train on; lower --calibration or --folds, or add images")
    return tuple(trials)


def _one_generator(name: str, split: np.ndarray) -> str:
    """Say what to do where there is no second generator to leave the first one out for."""
    other = "fixed_split" if {"train", "test"} <= set(np.char.lower(split.astype(str))) else f"train_on --train {name}"
    return (
        f"leave_one_generator_out needs at least two generators, and all fakes are of '{name}'; name generators by "
        f"folders fake/<generator>/ or in the manifest's column generator, or give --protocol {other}"
    )


def _is(column: Numbered, *names: str) -> np.ndarray:
    """Whether each row bears one of the names: (N,) bool."""
    return np.asarray(np.isin(np.array(column.names.to_pylist(), dtype=object), names)[column.number])


def _rows(mask: np.ndarray) -> np.ndarray:
    """Return the row numbers of a mask, int32: dozens of trials of millions of rows hold them."""
    return np.flatnonzero(mask).astype(np.int32)


def _classes(label: np.ndarray) -> int:
    """Count the classes among labels."""
    return int((label == REAL).any()) + int((label == FAKE).any())


def _folds(fold: np.ndarray) -> list[tuple[int, np.ndarray]]:
    return [(int(k), fold == k) for k in np.flatnonzero(np.bincount(fold))]


def _need(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ParameterError(otherwise)
