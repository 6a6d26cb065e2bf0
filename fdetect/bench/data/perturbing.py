"""`perturb`: pictures written as files, as conditions show them to detectors.

    OUT/<path of the picture>[.jpg]      one condition: the folders of the data, kept
    OUT/manifest.csv                     the rows of the data's manifest, with `condition` and `source`, the path before
    OUT/images.csv                       the same of data without labels, which are read again as a plain folder
    OUT/failures.csv                     what could not be made: path, condition, stage, reason; where there is any
    OUT/<condition>/...                  several conditions: each a complete set of its own
    OUT/perturb.json                     what was asked, with which versions, and whether it was finished

A file is what the condition encodes, so that whoever decodes it sees the very pixels that `fdetect bench` judges; under
native it is a copy of the bytes.  A name that does not end in .jpg gets that ending on top.  A folder that was not
finished, as after Ctrl-C, is made anew by the same call; every other folder with something in it is refused.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa

from fdetect import __version__
from fdetect.bench.data.inputs import Data, any_images, root_of
from fdetect.bench.data.perturbing_places import OUTSIDE, places_of
from fdetect.bench.running import Running
from fdetect.config import fingerprint
from fdetect.engine.encoded import File, encoded
from fdetect.engine.work import content_id
from fdetect.errors import DataError, ParameterError
from fdetect.files import check_writable, write_atomic, write_table
from fdetect.images import decoder_id, read_facts
from fdetect.perturb import MARGIN, check_crop, condition, condition_names
from fdetect.types import Failure, Table

__all__ = ["Perturbed", "perturb_to"]

_RECORD = "perturb.json"
_OWN = ("source", "condition")  # columns of our own; those of a manifest are kept under names that are free
_OF_SOURCE = ("format", "width", "height")  # columns that are true of the picture before, not of the JPEG file made


@dataclass(frozen=True)
class Perturbed:
    """What was written: folder, table and number of files by condition, and the failures with their condition."""

    folders: dict[str, Path]
    tables: dict[str, Path]  # manifest.csv, or images.csv where there are no labels
    written: dict[str, int]
    sides: dict[str, int]  # the shorter side in px of the files, by condition that has any; native: the crop + MARGIN
    failures: tuple[tuple[str, Failure], ...]


def perturb_to(
    out: str | Path, data: Data, *, conditions: Sequence[str], crop: int = 224, seed: int = 0, layout: str = "auto",
    root: str | Path | None = None, **engine: Any,
) -> Perturbed:  # fmt: skip
    """Write every image of the data under every condition, and a manifest for each.

    data        what `any_images` takes; labels and all other columns of its manifest are kept
    conditions  names of conditions, and of lists such as "wear"
    engine      settings of `Running`; the store and the backend are not used

    Raises ParameterError for a condition or crop that cannot be used, DataError where `out` holds something else than
    an unfinished call of the same, or where a picture's file can have no place in it (`places_of`); nothing is then
    written.
    """
    out, running = Path(out), Running.of(engine)
    names = condition_names(conditions)
    if not names:
        raise ParameterError("perturb takes one condition or more, got none")
    check_crop(crop)
    chains = [condition(name) for name in names]
    _check_folder(out)
    manifest = any_images(data, layout=layout, root=root)
    asked = {
        "fdetect": __version__, "decoder": decoder_id(), "conditions": names, "crop": crop, "seed": seed,
        "manifest": fingerprint(manifest), "settings": [chain.settings for chain in chains],
    }  # fmt: skip
    paths: list[str] = manifest.column("path").to_pylist()
    placed = {native: places_of(paths, native=native) for native in dict.fromkeys(chain.is_native for chain in chains)}
    places = [placed[chain.is_native] for chain in chains]
    rows = [row for row, place in enumerate(places[0]) if place]
    nowhere = {row: Failure(content_id(paths[row].encode()), paths[row], "place", OUTSIDE)
               for row, place in enumerate(places[0]) if not place}  # fmt: skip
    folders = [out / name if len(names) > 1 else out for name in names]
    check_writable(out)
    _record(out, asked, finished=False)
    written: list[set[int]] = [set() for _ in names]
    failed = [dict(nowhere) for _ in names]

    def put(file: File) -> None:
        folder, place, row = folders[file.condition], places[file.condition], rows[file.row]
        first = row if file.same_as is None else rows[file.same_as]
        if why := file.failure or failed[file.condition].get(first):
            failed[file.condition][row] = Failure(why.id, paths[row], why.stage, why.reason)
            return
        if first == row:
            write_atomic(folder / place[row], lambda path: path.write_bytes(file.data))
        else:
            write_atomic(folder / place[row], lambda path: shutil.copyfile(folder / place[first], path))
        written[file.condition].add(row)

    for file in encoded(
        [paths[row] for row in rows], conditions=chains, crop=crop, root=root_of(manifest), seed=seed,
        workers=running.workers, time_limit=running.time_limit, progress=running.progress,
    ):  # fmt: skip
        put(file)
    tables = {
        name: _write_tables(folders[k], manifest, name, places[k], sorted(written[k]), failed[k])
        for k, name in enumerate(names)
    }
    _record(out, asked, finished=True)
    failures = tuple((name, failed[k][row]) for k, name in enumerate(names) for row in sorted(failed[k]))
    counts = {name: len(written[k]) for k, name in enumerate(names)}
    sides = {name: crop + MARGIN if chains[k].is_native else _side(folders[k] / places[k][min(written[k])])
             for k, name in enumerate(names) if written[k]}  # fmt: skip
    return Perturbed(dict(zip(names, folders, strict=True)), tables, counts, sides, failures)


def _side(file: Path) -> int:
    facts = read_facts(file.read_bytes())  # all files of a condition but native have one size
    return min(facts.width, facts.height)


def _record(out: Path, asked: dict[str, Any], *, finished: bool) -> None:
    """Write what is asked; raises DataError where the folder is of something else."""
    text = json.dumps({**asked, "finished": finished}, indent=1) + "\n"
    file = out / _RECORD
    if not finished and file.exists() and file.read_text(encoding="utf-8") != text:
        raise DataError(f"{out} was begun with other data or settings; give a new folder, nothing was written")
    write_atomic(file, lambda path: path.write_text(text, encoding="utf-8"))


def _check_folder(out: Path) -> None:
    """Raise DataError for a folder with something in it that is no unfinished work of `perturb_to`."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        if not json.loads((out / _RECORD).read_text(encoding="utf-8"))["finished"]:
            return
    except (OSError, ValueError, LookupError, TypeError):
        pass
    raise DataError(f"{out} exists and is not empty; give a new folder, nothing was written")


def _write_tables(
    folder: Path, manifest: Table, name: str, places: Sequence[str], rows: Sequence[int],
    failed: dict[int, Failure],
) -> Path:  # fmt: skip
    """Write what was made, and what was not; return the file of the first."""
    kept = manifest.take(pa.array(rows, pa.int64()))
    labelled = "label" in manifest.column_names and manifest.column("label").null_count < len(manifest)
    columns: dict[str, Any] = {"path": pa.array([places[row] for row in rows], pa.string())}
    for column in manifest.column_names:
        if column != "path" and (column != "label" or labelled):
            values = kept.column(column).combine_chunks()
            values = values.dictionary_decode() if pa.types.is_dictionary(values.type) else values
            prefix = "manifest" if column in _OWN else "source" if column in _OF_SOURCE and name != "native" else ""
            columns[_free(f"{prefix}_{column}", manifest.column_names) if prefix else column] = values
    columns["source"], columns["condition"] = kept.column("path"), pa.array([name] * len(rows), pa.string())
    file = folder / ("manifest.csv" if labelled else "images.csv")
    write_table(pa.table(columns), file)
    if failed:
        lost = [failed[row] for row in sorted(failed)]
        table = {"path": [f.path for f in lost], "condition": [name] * len(lost), "stage": [f.stage for f in lost],
                 "reason": [f.reason for f in lost]}  # fmt: skip
        write_table(pa.table(table), folder / "failures.csv")
    return file


def _free(column: str, taken: Sequence[str]) -> str:
    """Return the first of COLUMN, COLUMN_2, ... that no column has."""
    names = (f"{column}{f'_{k}' if k > 1 else ''}" for k in count(1))
    return next(name for name in names if name not in taken)
