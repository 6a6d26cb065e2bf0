"""Programs of others as detectors (`bench --external NAME=COMMAND`): pictures and a list out, a table of scores back.

    COMMAND --manifest IMAGES.csv --out SCORES.csv --device cpu|cuda       once under each condition, without a shell

    IMAGES.csv   path,label,generator,gen_year: the absolute path of a picture a row, and nothing in the other columns
    SCORES.csv   what `fdetect.bench.scores.files` reads: path and score, larger = more likely generated, a row for each
                 picture in any order; or JSON, [{"image_path": ..., "pred": ...}, ...]; other columns are not looked at

What a picture is called says nothing of it: files are named, ordered and written by content ids, and their times are
all the same.  Under native a file is the stored one, whole; else it is the JPEG that the condition ends in, the very
pixels that others judge.  It is there while programs run.  A program starts in the folder where fdetect was started.  A
picture without a row, or whose score is no finite number, failed; a program that fails is a row "not run", with its
last words as the reason.

    RUN/external/NAME/<condition>.csv, .log, .json      its table, all that it wrote, and a digest of what was asked

A table of the same command, files named in it, folder of the program, and pictures is not asked for again in the same
run folder, so that a killed run resumes; it is said, since nobody can see from here whether the program changed
otherwise.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from fdetect.backend import torch_device
from fdetect.bench.audit import PROBE_FEATURES
from fdetect.bench.contenders import why_failed
from fdetect.bench.protocols import Samples
from fdetect.bench.scores.external_runs import Program, programs_of, run_once, scores_in
from fdetect.bench.scores.given import Given, Row
from fdetect.bench.scores.scoring import shown_and_trained
from fdetect.config import RunConfig, fingerprint
from fdetect.engine import Extraction
from fdetect.engine.encoded import encoded
from fdetect.engine.loop import Progress
from fdetect.engine.pool import TIME_LIMIT
from fdetect.engine.work import content_id
from fdetect.errors import DataError
from fdetect.files import write_atomic
from fdetect.nets.weights import torch_missing
from fdetect.perturb import condition
from fdetect.types import REAL, NotRun

__all__ = ["run_programs"]

_START = 120.0  # seconds that a program may take on top: networks are loaded


def run_programs(
    config: RunConfig, samples: Samples, extraction: Extraction, *, folder: Path, root: str = ".",
    backend: str = "auto", workers: int = 0, time_limit: float = TIME_LIMIT, progress: Progress | None = None,
) -> tuple[list[Given], list[NotRun]]:  # fmt: skip
    """Run every program of a configuration under every condition, and on photographs under those of thresholds.

    extraction  of the run: content ids, and the images that failed before any detector
    folder      of the run
    time_limit  seconds for each picture, on average, after two minutes to start

    Raises ParameterError as `programs_of` does, BackendError for a GPU that is asked for and absent.
    """
    programs = programs_of(config.detectors.external)
    if not programs:
        return [], []
    folder = folder.absolute()
    said = {one.name: _Said(one.name, folder / "external" / one.name, samples.path) for one in programs}
    _remove_left(folder)
    lost: dict[str, NotRun] = {}
    crop, seed, device = config.conditions.crop, config.seed, _device(backend)
    for name in shown_and_trained(config.conditions.names):
        rows = [k for k in range(len(samples.path)) if name in config.conditions.names or samples.label[k] == REAL]
        failed = why_failed([extraction.tables[name, PROBE_FEATURES[0]]])
        paths = {extraction.ids[k]: str(samples.path[k]) for k in rows if k not in failed}
        shown = fingerprint(condition(name).settings, crop, seed, device, sorted(paths))
        asked = [_Asked(one, said[one.name].folder / name, fingerprint(one.identity, one.place, shown))
                 for one in programs if one.name not in lost]  # fmt: skip
        with tempfile.TemporaryDirectory(prefix=f"images-{os.getpid()}-", dir=folder) as place:
            pictures: dict[Path, str] = {}
            for one in asked:
                mine, was_kept = said[one.program.name], one.kept
                if not was_kept and not _untouched(pictures):
                    pictures = _write(Path(place), paths, name, crop=crop, root=root, seed=seed, workers=workers,
                                      time_limit=time_limit, progress=progress)  # fmt: skip
                try:
                    if not was_kept:
                        if progress:
                            progress(f"running {mine.name} under {name}", 0, 1)
                        one.run(pictures, Path(place), device=device, time_limit=_START + time_limit * len(paths))
                    scores = scores_in(one.file("csv"), paths)
                    one.keep()
                except DataError as error:
                    why = f"under {name}: {_without(str(error), place, folder)}"
                    log = f"{one.file('log').relative_to(folder)} in the run folder has all it wrote"
                    lost[mine.name] = NotRun(mine.name, why, log)
                    continue
                mine.add(name, {k: scores.get(extraction.ids[k]) for k in rows}, failed, one.file("csv"), was_kept)
                if progress:
                    progress(f"running {mine.name} under {name}", 1, 1)
    return [one.given() for one in said.values() if one.name not in lost], list(lost.values())


@dataclass(frozen=True)
class _Asked:
    """A program under a condition; `key` is what tells its table from all others."""

    program: Program
    place: Path
    key: str

    def file(self, ending: str) -> Path:
        """Its table, its log, or what it is of."""
        return self.place.with_name(f"{self.place.name}.{ending}")

    @property
    def kept(self) -> bool:
        """Whether its table is there, as it was written for the same."""
        try:
            about = json.loads(self.file("json").read_text(encoding="utf-8"))
            return bool(about == {"of": self.key, "table": content_id(self.file("csv").read_bytes())})
        except (OSError, ValueError):
            return False

    def run(self, pictures: Iterable[Path], place: Path, *, device: str, time_limit: float) -> None:
        """Run it on pictures, and take its table from a folder; raises DataError as `run_once` does."""
        out = place / f"{self.program.name}.table"
        run_once(self.program, sorted(pictures), out, self.file("log"), device=device, time_limit=time_limit)
        write_atomic(self.file("csv"), lambda path: shutil.copyfile(out, path))

    def keep(self) -> None:
        """Note what its table is of, once it could be read: it is then not asked for again."""
        text = json.dumps({"of": self.key, "table": content_id(self.file("csv").read_bytes())})
        write_atomic(self.file("json"), lambda path: path.write_text(text, encoding="utf-8"))


@dataclass
class _Said:
    """What a program has said so far, on its way to a `Given`."""

    name: str
    folder: Path
    paths: np.ndarray
    rows: dict[tuple[str, str, str], Row] = field(default_factory=dict)
    reasons: dict[str, dict[int, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    digest: str = ""

    def add(
        self, condition: str, scores: Mapping[int, float | None], failed: Mapping[int, str], file: Path, kept: bool
    ) -> None:
        """Take in the scores of rows under a condition, None where it gave none."""
        for row, score in scores.items():
            self.rows["", condition, str(self.paths[row])] = (np.nan if score is None else score, np.nan, np.nan)
            if score is None or not np.isfinite(score):
                held = "no row" if score is None else "no score" if np.isnan(score) else f"the score {score}"
                self.reasons.setdefault(condition, {})[row] = failed.get(row, f"score: {self.name} gave {held}")
        self.digest += content_id(file.read_bytes())
        if kept:
            self.notes.append(f"the scores of {self.name} under {condition} are those of an earlier call; remove "
                              f"{file} to have it run again")  # fmt: skip

    def given(self) -> Given:
        """Return it as a detector."""
        return Given(self.name, self.folder, self.rows, self.paths, self.digest, self.reasons, tuple(self.notes))


def _remove_left(folder: Path) -> None:
    """Remove the pictures of a run that was killed; those of one that is still there have its process in their name."""
    for left in folder.glob("images-*-*"):
        pid = left.name.split("-")[1]
        if pid.isdecimal() and not _is_another(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


def _is_another(pid: int) -> bool:
    """Whether this is a living process, and not this one."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's
        return True
    return pid != os.getpid()


def _write(place: Path, paths: Mapping[str, str], name: str, **settings: Any) -> dict[Path, str]:
    """Write the pictures as a condition shows them, and return each with its content id.

    One that cannot be written is one without a score.  What lay in the folder of pictures is removed.
    """
    ids, written = sorted(paths), dict[Path, str]()
    shutil.rmtree(place / "images", ignore_errors=True)
    (place / "images").mkdir(parents=True)
    for file in encoded([paths[id] for id in ids], conditions=[condition(name)], **settings):
        if file.failure is None and file.same_as is None:
            id = ids[file.row]
            ending = PurePosixPath(paths[id]).suffix.lower() if condition(name).is_native else ".jpg"
            picture = place / "images" / f"{id}{ending}"
            picture.write_bytes(file.data)
            os.utime(picture, (0, 0))  # its own would tell when it was made
            written[picture] = content_id(file.data)
    return written


def _untouched(pictures: Mapping[Path, str]) -> bool:
    """Whether there are pictures, and no program has changed one; files that it put beside them are not looked at."""
    try:
        return bool(pictures) and all(content_id(file.read_bytes()) == id for file, id in pictures.items())
    except OSError:
        return False


def _without(reason: str, *folders: str | Path) -> str:
    """Return a reason without the folders of this run, so that equal runs say the same."""
    for folder in folders:
        reason = reason.replace(f"{folder}{os.sep}", "")
    return reason


def _device(backend: str) -> str:
    """Return "cpu" or "cuda", as for networks of our own; without torch, what is asked for."""
    wanted = torch_device(backend)
    if torch_missing():
        return "cuda" if wanted == "cuda" else "cpu"
    from fdetect.nets.encoders import resolve_device

    return resolve_device(wanted)
