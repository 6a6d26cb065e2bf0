"""What a measurement of a published figure comes to, and how the images that it rests on are put together.

    manifest --judged_rows--> trials: a generator's fakes and the reals that it is judged against
    scores of a run, trials --measured--> cells --> figure

A trial is a generator here, and its reals are those that were published with it where the protocol says so; the cells
of `fdetect.bench.scores.evaluate` judge a generator against the reals of its trials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fdetect.bench.layouts.base import LABEL_FOLDERS, SPLITS
from fdetect.bench.reproduce.published import DataSet, Reproduction, plain
from fdetect.bench.scores.evaluate import OVERALL, cells_of
from fdetect.config import MetricsConfig
from fdetect.errors import DataError, FdetectError
from fdetect.nets.cards import CARDS
from fdetect.types import FAKE, REAL, Cell, Failure, MetricValue, Table

__all__ = ["ALL", "Lacking", "Measured", "differences", "judged_rows", "measured"]

ALL = "all"  # the trial of a protocol that judges every generator against all reals

_MEASURED = {"accuracy_95": "tpr_roc_5"}  # read off another metric
_ENOUGH = 0.95  # of the stated number of images: some are always broken
_SHOWN = 6  # names that a reason spells out


class Lacking(FdetectError):  # noqa: N818 (what is missing, not what went wrong)
    """What a measurement lacks, beside weights: data, time; `reason` says what, and `fix` how to have it."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(f"{reason}; {fix}")
        self.reason, self.fix = reason, fix


@dataclass(frozen=True)
class Measured:
    """A measurement.

    value         the mean over generators with its interval, and `by_generator` what it is the mean of
    reasons       why it cannot be compared with the published figure; empty otherwise
    networks      the cards of the weights that it rests on, as JSON values
    folder        of the run with its audit; None where there were no images
    aside         images of the data that were not tested: other splits, generators left out or not named
    """

    value: MetricValue
    by_generator: tuple[tuple[str, MetricValue], ...] = ()
    reasons: tuple[str, ...] = ()
    networks: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    folder: Path | None = None
    aside: int = 0


def judged_rows(manifest: Table, data: DataSet) -> dict[str, np.ndarray]:
    """Return the rows of each trial: of ALL, or of each generator with the reals that are published with it.

    Images of other splits than the tested one are in none, nor are generators that are left out or not among the
    named.  A generator without reals of its own has none in its trial.  Raises DataError where nothing is left.
    """
    column = {name: np.array(manifest.column(name).to_pylist(), object)
              for name in ("path", "label", "generator", "real_source", "split")}  # fmt: skip
    split = np.array([str(text).lower() for text in column["split"]], object)
    made = column["label"] == FAKE
    left_out = {plain(name) for name in data.left_out}
    kept = np.array([not (fake and plain(str(name)) in left_out)
                     for fake, name in zip(made, column["generator"], strict=True)])  # fmt: skip
    kept &= (split == data.split) | (split == "")
    if data.named:
        wanted = {plain(name) for name in data.generators}
        mine = np.array([plain(str(name)) in wanted for name in column["generator"]])
        kept &= ~made | mine if (kept & made & mine).any() else True  # where none is, the reasons say so
    names = sorted(set(column["generator"][kept & made]))
    if not names or not (kept & ~made).any():
        lost = "fakes" if not names else "reals"
        raise DataError(f"no {lost} of split {data.split} to test ({len(split)} images in all); the figure wants "
                        f"{data.layout}")  # fmt: skip
    if not data.own_reals:
        return {ALL: np.flatnonzero(kept)}
    rows = {name: np.flatnonzero(kept & made & (column["generator"] == name)) for name in names}
    named = manifest.column("reals").to_pylist() if "reals" in manifest.column_names else [""] * len(split)
    folder = np.array([_set_of(str(path)) for path in column["path"]], object)
    found = {}
    for name, fakes in rows.items():
        sources = {named[row] for row in fakes} - {""} or {name}
        mine = kept & ~made & np.isin(column["real_source"].astype(str), sorted(map(str, sources)))
        if not mine.any():  # sets that keep no name of their reals: those in the folder of the fakes
            mine = kept & ~made & np.isin(folder.astype(str), sorted(set(folder[fakes].astype(str))))
        found[name] = np.sort(np.concatenate([fakes, np.flatnonzero(mine)]))
    return found


def measured(
    published: Reproduction, manifest: Table, trials: Mapping[str, np.ndarray], scores: pa.Table, *,
    networks: Sequence[Mapping[str, Any]], failures: Sequence[Failure], folder: Path, metrics: MetricsConfig, seed: int,
) -> Measured:  # fmt: skip
    """Judge scores of a run as the figure's authors do, and say in which numbers the data are not theirs."""
    how: dict[str, Any] = {"replicates": metrics.replicates, "level": metrics.level, "seed": seed}
    paths = manifest.column("path").to_pylist()
    cells = cells_of(_at_once(scores, paths, trials), **how)
    found = [(cell.generator, _value(cell, published.metric)) for cell in cells
             if cell.generator and cell.generator not in OVERALL]  # fmt: skip
    macro = next(cell for cell in cells if cell.generator == OVERALL[0])
    label = np.array(manifest.column("label").to_pylist(), np.int64)
    alone = [name for name, rows in trials.items() if not (label[rows] == REAL).any()]
    reasons = [f"no reals are published with {_named(alone)} in these data, against which to judge"] if alone else []
    reasons += differences(published.data, found)
    wanted = {paths[row] for rows in trials.values() for row in rows}
    if lost := len(wanted - set(scores.column("path").to_pylist())):
        reasons.append(f"{lost} image{'s' * (lost != 1)} of {len(wanted)} in no trial of the run, for want of a class")
    if reasons and failures:  # what failed may explain it
        first = failures[0]
        n = len({failure.path for failure in failures})
        reasons.append(f"{n} image{'s' * (n != 1)} failed, the first: {first.path}: {first.reason}")
    return Measured(_value(macro, published.metric), tuple(found), (*reasons, *_other_networks(published, networks)),
                    tuple(networks), folder)  # fmt: skip


def differences(data: DataSet, found: Sequence[tuple[str, MetricValue]]) -> list[str]:
    """Say in which numbers the data differ from those that a figure rests on."""
    reasons, n_here, n_wanted = [], len(found), len(data.generators)
    if not n_wanted:
        reasons.append("the source that was read does not name the generators that the figure rests on")
    elif n_here != n_wanted:
        reasons.append(f"{n_here} generator{'s' * (n_here != 1)}, the figure rests on {n_wanted}")
    wanted = {plain(name): n for name, n in data.counts}
    if data.named:
        here, there = {plain(name) for name, _ in found}, {plain(name) for name in data.generators}
        absent = [name for name in data.generators if plain(name) not in here]
        reasons += [f"no images of {_named(absent)}"] if absent else []
        other = [name for name, _ in found if plain(name) not in there]
        reasons += [f"not among the figure's generators: {_named(other)}"] if other else []
    enough = [(name, one, wanted.get(plain(name), data.fakes)) for name, one in found]
    few = [f"{name} ({one.n_fake} of {n})" for name, one, n in enough if one.n_fake < _ENOUGH * n]
    reasons += [f"fewer images than the figure rests on: {_named(few)}"] if few else []
    few = [f"{name} ({one.n_real} of {n})" for name, one, n in enough if wanted and one.n_real < _ENOUGH * n]
    reasons += [f"fewer reals than the figure rests on: {_named(few)}"] if few else []
    reals = min((one.n_real for _, one in found), default=0)
    if reals < _ENOUGH * data.reals:
        reasons.append(f"{reals} real images, the figure rests on {data.reals}")
    return reasons


def _set_of(path: str) -> str:
    """Return the topmost folder of a path that is neither a split nor a label: the set that an image belongs to."""
    above = (name for name in path.split("/")[:-1] if name.lower() not in SPLITS and name.lower() not in LABEL_FOLDERS)
    return next(above, "")


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"


def _at_once(scores: pa.Table, paths: Sequence[str], trials: Mapping[str, np.ndarray]) -> pa.Table:
    """Return each image once in each trial: papers rank all images together, and no trial of a run changes a score."""
    row_of: dict[str, int] = {}
    for row, path in enumerate(scores.column("path").to_pylist()):
        row_of.setdefault(path, row)
    parts = []
    for name, rows in trials.items():
        once = scores.take([row_of[paths[row]] for row in rows if paths[row] in row_of])
        for column, value in (("trial", name), ("train", "")):
            once = once.set_column(once.column_names.index(column), column, pa.array([value] * len(once)))
        parts.append(once)
    whole = pa.concat_tables(parts)
    return whole.set_column(whole.column_names.index("seen"), "seen", pc.and_(whole.column("seen"), False))


def _value(cell: Cell, metric: str) -> MetricValue:
    """Return a metric of METRICS; accuracy that keeps 95 % of the reals follows from the share of fakes found there."""
    found = cell.metric(_MEASURED.get(metric, metric))
    if metric != "accuracy_95":
        return found
    value, low, high = ((0.95 + share) / 2 for share in (found.value, found.low, found.high))
    return replace(found, name=metric, value=value, low=low, high=high)


def _other_networks(published: Reproduction, networks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say where an encoder is not of the architecture that the figure was reached with."""
    wanted = CARDS.get(published.way.network)
    shape = ("family", "width", "layers", "patch")
    return [
        f"the encoder is {card['name']}, the figure was reached with {wanted.name}"
        for card in networks
        if wanted and any(card.get(key) != getattr(wanted, key) for key in shape)
    ]
