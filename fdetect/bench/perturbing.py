"""`perturb`: pictures written as files, as conditions show them to detectors.

    OUT/<path of the picture>[.jpg]      one condition: the folders of the data, kept
    OUT/manifest.csv                     the rows of the data's manifest, with `condition` and `source`, the path before
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
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from fdetect import __version__
from fdetect.bench.inputs import Data, any_images, root_of
from fdetect.bench.running import Running
from fdetect.config import fingerprint
from fdetect.engine.encoded import File, encoded
from fdetect.errors import DataError, ParameterError
from fdetect.files import check_writable, write_atomic, write_table
from fdetect.images import decoder_id
from fdetect.perturb import MIN_CROP, Condition, condition, condition_names
from fdetect.types import Failure, Table

__all__ = ["Perturbed", "perturb_to"]

_RECORD = "perturb.json"
_JPEG = (".jpg", ".jpeg")
_OWN = ("source", "condition")  # columns of our own; a manifest's of the same name is kept as manifest_...


@dataclass(frozen=True)
class Perturbed:
    """What was written: the folder and number of files by condition, and the failures with their condition."""

    folders: dict[str, Path]
    written: dict[str, int]
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
    an unfinished call of the same, or where a file's place would lie outside it or be taken twice; nothing is then
    written.
    """
    out, running = Path(out), Running.of(engine)
    names = condition_names(conditions)
    if not names or len(set(names)) < len(names):
        raise ParameterError(f"perturb takes one condition or more, each once; got {','.join(names) or 'none'}")
    if crop % 8 or crop < MIN_CROP:
        raise ParameterError(f"--crop must be a multiple of 8 and at least {MIN_CROP} px, got {crop}")
    chains = [condition(name) for name in names]
    _check_folder(out)
    manifest = any_images(data, layout=layout, root=root)
    asked = {
        "fdetect": __version__, "decoder": decoder_id(), "conditions": names, "crop": crop, "seed": seed,
        "manifest": fingerprint(manifest.to_pydict()), "settings": [chain.settings for chain in chains],
    }  # fmt: skip
    paths: list[str] = manifest.column("path").to_pylist()
    places = [_places(paths, chain) for chain in chains]
    folders = [out / name if len(names) > 1 else out for name in names]
    check_writable(out)
    _record(out, asked, finished=False)
    written: list[set[int]] = [set() for _ in names]
    failed: list[dict[int, Failure]] = [{} for _ in names]

    def put(file: File) -> None:
        folder, place, row = folders[file.condition], places[file.condition], file.row
        first = row if file.same_as is None else file.same_as
        if why := file.failure or failed[file.condition].get(first):
            failed[file.condition][row] = Failure(why.id, paths[row], why.stage, why.reason)
            return
        if first == row:
            write_atomic(folder / place[row], lambda path: path.write_bytes(file.data))
        else:
            write_atomic(folder / place[row], lambda path: shutil.copyfile(folder / place[first], path))
        written[file.condition].add(row)

    for file in encoded(
        paths, conditions=chains, crop=crop, root=root_of(manifest), seed=seed, workers=running.workers,
        time_limit=running.time_limit, progress=running.progress,
    ):  # fmt: skip
        put(file)
    for k, name in enumerate(names):
        _write_tables(folders[k], manifest, name, places[k], sorted(written[k]), failed[k])
    _record(out, asked, finished=True)
    failures = tuple((name, failed[k][row]) for k, name in enumerate(names) for row in sorted(failed[k]))
    return Perturbed(
        dict(zip(names, folders, strict=True)), {name: len(written[k]) for k, name in enumerate(names)}, failures
    )


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


def _places(paths: Sequence[str], chain: Condition) -> list[str]:
    """Return where each file goes, relative to the folder of its condition."""
    places: dict[str, str] = {}
    for path in paths:
        place = path.replace("::", "/")
        parts = PurePosixPath(place).parts
        if place.startswith("/") or ".." in parts:
            raise DataError(f"{path}: its place would lie outside the output; give --root a folder above all images")
        if not chain.is_native and not place.lower().endswith(_JPEG):
            place += ".jpg"
        if place in places:
            raise DataError(f"{path} and {places[place]} would both become {place}; rename one of them")
        places[place] = path
    return list(places)


def _write_tables(
    folder: Path, manifest: Table, name: str, places: Sequence[str], rows: Sequence[int], failed: dict[int, Failure]
) -> None:
    kept = manifest.take(pa.array(rows, pa.int64()))
    columns: dict[str, Any] = {"path": pa.array([places[row] for row in rows], pa.string())}
    for column in manifest.column_names:
        values = kept.column(column)
        if column != "path" and (column != "label" or values.null_count < len(values)):
            values = values.combine_chunks()
            values = values.dictionary_decode() if pa.types.is_dictionary(values.type) else values
            columns[f"manifest_{column}" if column in _OWN else column] = values
    columns["source"], columns["condition"] = kept.column("path"), pa.array([name] * len(rows), pa.string())
    write_table(pa.table(columns), folder / "manifest.csv")
    if failed:
        lost = [failed[row] for row in sorted(failed)]
        table = {"path": [f.path for f in lost], "condition": [name] * len(lost), "stage": [f.stage for f in lost],
                 "reason": [f.reason for f in lost]}  # fmt: skip
        write_table(pa.table(table), folder / "failures.csv")
