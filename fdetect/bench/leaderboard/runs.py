"""Finished runs read for a leaderboard, and who competes in it: detectors, some of them in several repetitions.

    run folder    result.json, scores.parquet, and run.json where it is there -> `Run`
    refused       runs on other images, under another protocol, number of folds, calibration or crop
    same          a detector of the same name, seed and scores in two runs is one
    repetition    a detector of the same name and settings in runs of different seeds: one competitor, several seeds;
                  of one made elsewhere, its score file, plug-in or program is among the settings
    otherwise     detectors of one name are told apart by the name of their run
    not ranked    variants: heads without one family, fused detectors without a branch; a run's own tables have them
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fdetect.bench.gate.sides import Side, read_side, refuse_other_settings
from fdetect.bench.report.terminal import in_tables_alone
from fdetect.errors import DataError, ParameterError
from fdetect.types import Failure, NotRun, RunResult

__all__ = ["Competitor", "Run", "competitors", "read_runs"]

_OF_IMAGE = ("label", "generator", "real_source", "group", "id")

# Of a configuration, what says which detectors run, on what and how they are judged, and not what a detector is.
_CHOOSE = {
    "heads": ("all_columns", "per_family", "per_preset", "drop_one", "best_single", "importance"),
    "detectors": ("names", "scores", "external"), "networks": ("names",), "conditions": ("names",),
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A finished run.

    name    of its folder; the whole path where two folders have one name
    result  without cells: a leaderboard makes its own figures, from the scores
    side    its scores, and the settings that must be the same in all runs
    about   run.json: times and host; empty where that is not there
    """

    name: str
    result: RunResult
    side: Side
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """The seed of folds, crops and fits."""
        return int(self.result.header["seed"])

    @cached_property
    def conditions(self) -> tuple[str, ...]:
        """Conditions that its detectors were tested under."""
        return tuple(self.side.table.column("condition").unique().to_pylist())

    @cached_property
    def ranked(self) -> tuple[str, ...]:
        """Detectors that compete: all but those that lack a family or a branch of another one of the run."""
        apart = in_tables_alone(self.side.detectors)
        return tuple(one for one in self.side.detectors if one not in apart)

    def rows(self, detector: str, condition: str) -> pa.Table:
        """Return the scores of a detector under a condition; no row where there are none."""
        chosen = (pc.field("detector") == detector) & (pc.field("condition") == condition)
        return self.side.table.filter(chosen)

    def settings(self, detector: str) -> dict[str, Any]:
        """Return what a detector of this run depends on, but for seed and data."""
        header = self.result.header
        config = {name: table for name, table in header["config"].items() if name not in ("seed", "data", "metrics")}
        for name, left_out in _CHOOSE.items():
            config[name] = {key: value for key, value in config[name].items() if key not in left_out}
        versions = {name: header["versions"].get(name) for name in ("fdetect", "decoder")}
        return {"config": config, "versions": versions, "backend": header["backend"]["name"],
                "weights": header.get("weights", {}).get(detector),
                "made elsewhere": self._elsewhere(detector)}  # fmt: skip

    def _elsewhere(self, detector: str) -> Any:
        """Return what tells a detector that was made elsewhere from others of its name; nothing for one of fdetect.

        That is version and code of a plug-in, the command of a program, or the content of a file of scores.
        """
        header = self.result.header
        config = header["config"]
        chosen = config["detectors"]
        plugged = header.get("plugged", {}).get(detector)
        if program := [one for one in chosen.get("external", ()) if one.startswith(f"{detector}=")]:
            return program
        if plugged or "given" in header:
            return plugged or header["given"].get(detector)
        named = (*chosen["names"], *config["networks"]["names"])  # older runs do not say which file a detector is of
        return None if ":" in detector or detector in named else list(chosen["scores"]) or None


@dataclass(frozen=True)
class Competitor:
    """A detector of a leaderboard, with its runs by seed: those of one seed have the same scores."""

    name: str
    detector: str
    runs: Mapping[int, tuple[Run, ...]]

    @property
    def all_runs(self) -> tuple[Run, ...]:
        """Every run that has it."""
        return tuple(run for of_seed in self.runs.values() for run in of_seed)

    def rows(self, seed: int, condition: str) -> pa.Table:
        """Return its scores under a condition in one repetition; no row where it was not run."""
        tables = [run.rows(self.detector, condition) for run in self.runs[seed]]
        return next((table for table in tables if len(table)), tables[0])


def read_runs(folders: Sequence[Path]) -> tuple[Run, ...]:
    """Read the folders of finished runs.

    Raises ParameterError for no folder, for one given twice and for runs with other settings, DataError for a folder
    that is no finished run and for runs on other images: in one sentence, with the first difference.
    """
    if not folders:
        raise ParameterError("name at least one folder of a finished run")
    places = [folder.resolve() for folder in folders]
    if twice := next((str(folder) for k, folder in enumerate(folders) if places[k] in places[:k]), ""):
        raise ParameterError(f"{twice} is given twice; name every run once")
    names = [folder.name for folder in places]
    runs = tuple(_read(folder, name if names.count(name) == 1 else str(folder))
                 for folder, name in zip(folders, names, strict=True))  # fmt: skip
    for run in runs[1:]:
        refuse_other_settings(runs[0].side, run.side)
        _refuse_other_images(runs[0], run)
    return runs


def competitors(runs: Sequence[Run]) -> tuple[Competitor, ...]:
    """Return who competes, in the order of the runs and of their detectors."""
    found: dict[str, list[dict[int, tuple[Run, ...]]]] = {}
    for run in runs:
        for detector in run.ranked:
            known = found.setdefault(detector, [])
            place = _place(known, run, detector)
            if place is None:
                known.append({run.seed: (run,)})
            else:
                place[run.seed] = (*place.get(run.seed, ()), run)
    made = []
    for detector, each in found.items():
        for by_seed in each:
            first = next(iter(by_seed.values()))[0]
            made.append(Competitor(detector if len(each) == 1 else f"{detector} ({first.name})", detector, by_seed))
    return tuple(made)


def _place(
    known: Sequence[dict[int, tuple[Run, ...]]], run: Run, detector: str
) -> dict[int, tuple[Run, ...]] | None:
    """Return the competitor that a run's detector is, or is a repetition of; None for a new one."""
    for by_seed in known:
        if run.seed in by_seed and all(_same(one, run, detector) for one in by_seed[run.seed]):
            return by_seed
    for by_seed in known:
        first = next(iter(by_seed.values()))[0]
        if run.seed not in by_seed and first.settings(detector) == run.settings(detector):
            return by_seed
    return None


def _same(one: Run, other: Run, detector: str) -> bool:
    """Whether a detector has the same scores in two runs, under all conditions that both have.

    Where they have none in common, its settings decide.
    """
    shared = [name for name in one.conditions if name in other.conditions]
    if not shared:
        return one.settings(detector) == other.settings(detector)
    pairs = [[_sorted(run.rows(detector, condition)) for run in (one, other)] for condition in shared]
    return all(first.equals(second) for first, second in pairs)


def _sorted(rows: pa.Table) -> pa.Table:
    """Return what a detector said of which image, in an order that does not depend on the run's; NaN as null."""
    said = rows.select(["train", "trial", "path", "score", "threshold"])
    for name in ("score", "threshold"):
        values = np.array(said.column(name).to_numpy(), np.float64)
        said = said.set_column(said.column_names.index(name), name, pa.array(values, from_pandas=True))
    order = pc.sort_indices(said, sort_keys=[(name, "ascending") for name in ("train", "trial", "path")])
    return said.take(order).combine_chunks()


def _read(folder: Path, name: str) -> Run:
    if not folder.is_dir():
        raise DataError(f"{folder}: is no folder of a run; give what `fdetect bench` wrote")
    file = folder / "result.json"
    if not file.is_file():
        raise DataError(f"{folder}: holds no result.json, so it is no finished run; give its command again, which "
                        "resumes it")  # fmt: skip
    side = read_side(folder)
    try:
        whole = json.loads(file.read_text(encoding="utf-8"))
        result = RunResult(
            whole["header"], whole["audit"], (), tuple(whole["thresholds"]),
            tuple(Failure(**one) for one in whole["failures"]), tuple(NotRun(**one) for one in whole["not_run"]),
        )  # fmt: skip
        settings = {key: value for key, value in side.settings.items() if key != "seed"}
        run = Run(name, result, Side(str(folder), side.table, settings), _times(folder / "run.json"))
        (run.seed, result.header["data"]["hash"], [run.settings(one) for one in side.detectors])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file}: is not the result of a run ({error}); run the benchmark again") from None
    return run


def _times(file: Path) -> Mapping[str, Any]:
    """Return run.json, which may be absent, as after a run from Python: nothing but costs rests on it."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _refuse_other_images(first: Run, other: Run) -> None:
    """Raise DataError, with the first difference, unless both runs are about the same images."""
    hashes = [run.result.header["data"]["hash"] for run in (first, other)]
    if hashes[0] == hashes[1]:
        return
    ours, theirs = (_images(run) for run in (other, first))
    names = other.side.name, first.side.name
    for these, those, (mine, yours) in ((ours, theirs, names), (theirs, ours, names[::-1])):
        if more := sorted(these.keys() - those.keys()):
            raise DataError(f"{mine} scores {more[0]}, which {yours} does not ({len(more)} such images); a leaderboard "
                            "is over the same images")  # fmt: skip
    for path, row in sorted(ours.items()):
        for name, value, wanted in zip(_OF_IMAGE, row, theirs[path], strict=True):
            if value != wanted:
                raise DataError(f"{path} has the {name} {value} in {names[0]} and {wanted} in {names[1]}; a leader"
                                "board is over the same images")  # fmt: skip
    raise DataError(
        f"{names[0]} has the data {hashes[1]} and {names[1]} {hashes[0]}: the tested images are the same, but those of "
        "training or other columns of the manifest are not; run both on one manifest"
    )


def _images(run: Run) -> dict[str, tuple[Any, ...]]:
    columns = [run.side.table.column(name).to_pylist() for name in ("path", *_OF_IMAGE)]
    return {row[0]: row[1:] for row in zip(*columns, strict=True)}
