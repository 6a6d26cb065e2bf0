"""The two sides of the gate: scores of a run, or of anybody, brought row by row to the same images.

    run folder                      scores.parquet, and the settings of result.json
    CSV or Parquet                  a table as `fdetect evaluate` reads it
    path, score (+ condition, ...)  scores alone (`--scores`): labels, groups and trials are those of the baseline

Rows are matched by path and by what was left out of training (the trial without its fold).  What differs is refused
and named: an image that one side lacks, another label, other content, another crop or seed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fdetect.bench.scores.files import read_table
from fdetect.bench.scores.given import read_score_table
from fdetect.errors import DataError, ParameterError
from fdetect.registry import nearest

__all__ = ["Side", "left_out", "paired", "pairs_of", "read_scores_alone", "read_side", "refuse_other_settings"]

# Settings of a run that decide which pixels a detector saw and which images trained it.
_DECIDE = ("conditions.crop", "seed", "protocol.name", "protocol.train", "protocol.folds", "protocol.calibration")

_OF_IMAGE = ("label", "generator", "real_source", "group")


@dataclass(frozen=True)
class Side:
    """Scores of some detectors, as `read_score_table` gives them.

    name      what errors call it
    settings  of the run, by dotted name; empty where nothing but a table is known
    part      it is a part of what a run may have: further images of the run are left out, not refused
    remedy    what to do where a run cannot be compared with it
    """

    name: str
    table: pa.Table
    settings: Mapping[str, Any] = field(default_factory=dict)
    part: bool = False
    remedy: str = "run one of them again"

    @property
    def detectors(self) -> tuple[str, ...]:
        """Names of the detectors, in order."""
        return tuple(self.table.column("detector").unique().to_pylist())

    def rows(self, detector: str, condition: str) -> pa.Table:
        """Return the rows of a detector under a condition; raises ParameterError where there are none."""
        self.check(detector)
        mine = self.table.filter(pc.field("detector") == detector)
        under = mine.filter(pc.field("condition") == condition)
        if not len(under):
            known: list[str] = mine.column("condition").unique().to_pylist()
            raise ParameterError(f"{self.name} has no scores of {detector} under '{condition}'"
                                 f"{nearest(condition, known)} ({', '.join(known)})")  # fmt: skip
        return under

    def check(self, detector: str) -> None:
        """Raise ParameterError for a detector that it does not have."""
        if detector not in self.detectors:
            raise ParameterError(f"{self.name} has no detector '{detector}'{nearest(detector, self.detectors)} "
                                 f"({', '.join(self.detectors)})")  # fmt: skip


def read_side(path: Path) -> Side:
    """Read a run folder or a score table; raises DataError for anything else."""
    _refuse_absent(path, "no such run folder or table; give a folder of `fdetect bench --out`, or a table of scores")
    if not path.is_dir():
        return Side(str(path), read_score_table(path))
    file = path / "result.json"
    if not file.is_file():
        raise DataError(f"{path}: holds no result.json, so it is no finished run; finish it, or give a table of scores")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))["header"]["config"]
        settings = {name: _at(config, name) for name in _DECIDE}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: is not the result of a run ({error}); run the benchmark again") from None
    return Side(str(path), read_score_table(path / "scores.parquet"), settings)


def read_scores_alone(file: Path, baseline: Side, conditions: Sequence[str]) -> Side:
    """Read scores alone: `path` and `score`, and `detector`, `condition`, `trial`, `probability`, `threshold`, `id`.

    Without `condition` all rows are of the one that is compared under, where that is one; without `trial` a score holds
    in every trial.
    Raises DataError for a missing column, for a path that the baseline does not have, and for a label of its own that
    differs from the baseline's.
    """
    _refuse_absent(file, "no such table of scores; give a CSV, JSON or Parquet file with path and score")
    table = read_table(file)
    if "path" not in table.column_names:
        raise DataError(f"{file}: no column 'path'{nearest('path', table.column_names)}")
    known = {row["path"]: row for row in baseline.table.select(["path", *_OF_IMAGE]).to_pylist()}
    n, paths = len(table), [str(one) for one in table.column("path").to_pylist()]
    if strange := [one for one in paths if one not in known]:
        raise DataError(f"{file} scores {strange[0]}, which {baseline.name} does not have ({len(strange)} such rows); "
                        "score the images of the baseline, under its paths")  # fmt: skip
    added = {name: [known[one][name] for one in paths] for name in _OF_IMAGE}
    for name in ("label", "generator"):
        if name in table.column_names:
            given = ["" if value is None else value for value in table.column(name).to_pylist()]
            _refuse_other(file, baseline, paths, given, added[name], name=name)
    kept = table.select([name for name in table.column_names if name not in _OF_IMAGE])
    for name, values in added.items():
        kept = kept.append_column(name, pa.array(values))
    if "condition" not in table.column_names and len(conditions) > 1:
        raise DataError(f"{file}: no column 'condition', and {len(conditions)} are compared; say which each row is for")
    defaults = {"detector": file.stem, "condition": conditions[0], "trial": ""}
    for name, value in defaults.items():
        if name not in kept.column_names:
            kept = kept.append_column(name, pa.repeat(value, n))
    return Side(str(file), read_score_table(file, kept))


def refuse_other_settings(baseline: Side, run: Side) -> None:
    """Raise ParameterError, naming the first, where the two were run with other settings."""
    for name in baseline.settings:
        if name in run.settings and baseline.settings[name] != run.settings[name]:
            ours, theirs = run.settings[name], baseline.settings[name]
            raise ParameterError(f"{run.name} was run with {name} = {ours!r} and {baseline.name} with {theirs!r}; they "
                                 f"cannot be compared; {baseline.remedy}")  # fmt: skip


def pairs_of(baseline: Side, run: Side, detectors: Sequence[str], against: str) -> list[tuple[str, str]]:
    """Return which detector of the run is gated by which of the baseline.

    detectors  of the run; empty: all but what `left_out` says
    against    of the baseline; "": the one of the same name, or the only one that it has

    Raises ParameterError where there is no such detector, and where the run lacks one that the baseline has and nothing
    was said of which are meant.
    """
    for one in detectors:
        run.check(one)
    there = baseline.detectors
    lost = [one for one in there if one not in run.detectors]
    if lost and len(there) > 1 and not detectors and not against:
        raise ParameterError(f"{run.name} has no detector '{lost[0]}', which {baseline.name} has; see what the run says"
                             " it did not run, or name what is compared by --detector or --against")  # fmt: skip
    aside = left_out(baseline, run, detectors, against)
    found = []
    for one in detectors or [name for name in run.detectors if name not in aside]:
        other = against or (one if one in there else there[0] if len(there) == 1 else "")
        if not other:
            raise ParameterError(f"{baseline.name} has no detector '{one}' to compare with; name one by --against "
                                 f"({', '.join(there)})")  # fmt: skip
        found.append((one, other))
    return found


def left_out(baseline: Side, run: Side, detectors: Sequence[str], against: str) -> tuple[str, ...]:
    """Return the detectors of the run that a baseline which is a part does not have, where none is named or shared: ().

    A run of the built-in benchmark has dozens beside the two that ship; those of two runs are all compared, or refused.
    """
    shared = set(run.detectors) & set(baseline.detectors)
    if not baseline.part or detectors or against or not shared:
        return ()
    return tuple(one for one in run.detectors if one not in shared)


def paired(baseline: Side, run: Side, detector: str, against: str, condition: str) -> tuple[pa.Table, str]:
    """Return the rows of both detectors on the same images, and what the baseline's is called among them.

    Raises DataError for the first image that one side lacks or knows otherwise.
    """
    theirs, mine = baseline.rows(against, condition), run.rows(detector, condition)
    place: dict[tuple[str, str], int] = {}
    for k, key in enumerate(_keys(mine)):
        if key in place:
            raise DataError(f"{run.name}: {detector} has two rows for {key[1]} under {condition}, as of two training "
                            "sets (column train); compare the rows of one")  # fmt: skip
        place[key] = k
    wanted = _keys(theirs)
    at = [place.get(key, place.get(("", key[1]), -1)) for key in wanted]
    if missing := [key for key, k in zip(wanted, at, strict=True) if k < 0]:
        trial = f" in the trials of {missing[0][0]}" if missing[0][0] else ""
        whole = "score every image of the baseline, with an empty score where it failed"
        raise DataError(f"{run.name} has no score of {detector} for {missing[0][1]} under {condition}{trial} "
                        f"({len(missing)} missing); {baseline.remedy if baseline.part else whole}")  # fmt: skip
    more = sorted(set(range(len(mine))) - set(at))
    if more and not baseline.part:
        raise DataError(f"{run.name} scores {mine.column('path')[more[0]]} under {condition}, which {baseline.name} "
                        f"does not ({len(more)} such rows); compare on the same images")  # fmt: skip
    same = mine.take(pa.array(at))
    paths = theirs.column("path").to_pylist()
    for name in ("label", "generator"):
        _refuse_other(run.name, baseline, paths, same.column(name).to_pylist(), theirs.column(name).to_pylist(),
                      name=name)  # fmt: skip
    ids = [one.column("id").to_pylist() for one in (same, theirs)]
    if strange := [path for path, a, b in zip(paths, *ids, strict=True) if a and b and a != b]:
        raise DataError(f"{strange[0]} is another file in {run.name} than in {baseline.name}; compare on the same "
                        "images")  # fmt: skip
    trial = pc.if_else(pc.equal(same.column("trial"), ""), theirs.column("trial"), same.column("trial"))
    same = _with(same, "trial", trial)
    for name in ("group", "real_source"):
        ours, others = same.column(name).to_pylist(), theirs.column(name).to_pylist()
        both = [(path, a, b) for path, a, b in zip(paths, ours, others, strict=True) if a and b]
        _refuse_other(run.name, baseline, *([one[k] for one in both] for k in range(3)), name=name)
        known = pa.array([a or b for a, b in zip(ours, others, strict=True)], pa.string())
        same, theirs = _with(same, name, known), _with(theirs, name, known)
    for one, side in ((same, run), (theirs, baseline)):
        _refuse_thresholds(one, side, condition)
        _refuse_fakes_alone(one, side, condition)
    same, theirs = (_with(one, "threshold", _attainable(one.column("threshold"))) for one in (same, theirs))
    name = against if against != detector else f"{against}, baseline"
    named = _with(theirs, "detector", pa.repeat(name, len(theirs)))
    return pa.concat_tables([same, named.select(same.column_names)]), name


def _refuse_absent(path: Path, words: str) -> None:
    if not path.exists():
        raise DataError(f"{path}: {words}")


def _keys(table: pa.Table) -> list[tuple[str, str]]:
    """What a row is about: what was left out of training, and the path."""
    trials, paths = table.column("trial").to_pylist(), table.column("path").to_pylist()
    return [(trial.rpartition("/")[0] or trial, path) for trial, path in zip(trials, paths, strict=True)]


def _refuse_other(
    run: Any, baseline: Side, paths: Sequence[str], ours: Sequence[Any], theirs: Sequence[Any], *, name: str
) -> None:
    for path, one, other in zip(paths, ours, theirs, strict=True):
        if (float(one) != float(other)) if name == "label" else (str(one) != str(other)):
            raise DataError(f"{path} has the {name} {one} in {run} and {other} in {baseline.name}; they cannot be "
                            "compared")  # fmt: skip


def _refuse_thresholds(table: pa.Table, side: Side, condition: str) -> None:
    """Raise DataError for more than one threshold in a trial: one for each image could say anything."""
    pairs = zip(table.column("trial").to_pylist(), table.column("threshold").to_pylist(), strict=True)
    stated: dict[str, float] = {}
    for trial, value in pairs:
        if value is not None and value == value and stated.setdefault(trial, value) != value:
            raise DataError(f"{side.name} has several thresholds of one detector under {condition} in trial {trial}; a "
                            "threshold is one number per detector, trial and condition")  # fmt: skip


def _refuse_fakes_alone(table: pa.Table, side: Side, condition: str) -> None:
    """Raise DataError for a trial of fakes without a real: no metric would see them."""
    pairs = list(zip(table.column("trial").to_pylist(), table.column("label").to_pylist(), strict=True))
    without = sorted({trial for trial, label in pairs if label} - {trial for trial, label in pairs if not label})
    if without:
        raise DataError(f"{side.name} has fakes and no real image under {condition} in trial {without[0]}, so that "
                        "nothing can be ranked there; give the reals of the trial")  # fmt: skip


def _attainable(thresholds: pa.ChunkedArray) -> pa.Array:
    """Return thresholds without those at infinity, by which nothing, or everything, would be called fake."""
    return pa.array([None if one is None or not math.isfinite(one) else one for one in thresholds.to_pylist()],
                    pa.float64())  # fmt: skip


def _with(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


def _at(config: Mapping[str, Any], name: str) -> Any:
    found: Any = config
    for part in name.split("."):
        found = found[part]
    return found
