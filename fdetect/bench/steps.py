"""The single steps behind `extract` and `score`: data in, one table out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from fdetect.bench.applying import Scorer, feature_table, score, score_table
from fdetect.bench.data.inputs import Data, any_images, check_output
from fdetect.bench.running import Running
from fdetect.bench.tiled import score_tiles
from fdetect.bench.training.columns import Columns
from fdetect.draws import drawn_names
from fdetect.engine.lanes import Timing
from fdetect.errors import DataError
from fdetect.files import check_table, write_table
from fdetect.types import Failure, FeatureTable, Table

__all__ = ["Data", "Extracted", "Scorer", "any_images", "extract", "extract_to", "feature_table", "score",
           "score_table", "score_tiles", "table_of", "tables_of"]  # fmt: skip


@dataclass(frozen=True)
class Extracted:
    """What `extract_to` wrote, in figures: images, columns, those that failed, parts not trusted, and the timing."""

    n_images: int
    n_columns: int
    failures: tuple[Failure, ...] = field(repr=False)
    warnings: tuple[str, ...]
    timing: Timing


def extract(
    data: Data,
    *,
    features: str | Sequence[str] = "standard",
    condition: str = "native",
    crop: int = 224,
    seed: int = 0,
    **engine: Any,
) -> FeatureTable:
    """Compute named features of every image: N images -> FeatureTable with (N, D) float32 values.

    data       a path or a list of paths (files, folders, patterns, shards, a manifest file), or a manifest table
    features   names of presets, features or patterns, in a list or separated by commas; the embedding of an encoder is
               `embedding:encoder=dinov2-small`
    condition  what is done to every image first
    crop       side in px of what features see
    seed       of crops and noise; both are drawn from the content of each image

    Further settings are those of `Running` (store, workers, time_limit, backend, progress, notice).  An image that
    fails is a row of NaN and a `Failure`.  Interrupted (Ctrl-C), what was finished is kept in the store, and the same
    call resumes.
    Raises UnknownName, ParameterError and DataError in one sentence each.
    """
    running, manifest = Running.of(engine), any_images(data)
    columns = _checked(features, manifest, condition, crop, running.backend)
    return table_of(manifest, columns, condition=condition, seed=seed, running=running)


def extract_to(
    out: str | Path,
    data: Data,
    *,
    features: str | Sequence[str] = "standard",
    condition: str = "native",
    crop: int = 224,
    seed: int = 0,
    **engine: Any,
) -> Extracted:
    """Compute named features of every image and write them to a .parquet or .csv file, in flat memory.

    The file holds what `extract(...).to_arrow()` holds (a .csv, one column for each name); it is written whole or not
    at all, and its bytes are the same however often the run was interrupted.  Settings are those of `extract`.
    Raises what `extract` raises, and where the file cannot be written or is one of the inputs, before the work.
    """
    out, running = Path(out), Running.of(engine)
    check_table(out)
    manifest = any_images(data)
    check_output(out, data, manifest)
    flat = out.suffix == ".csv"
    tasks = _checked(features, manifest, condition, crop, running.backend, flat=flat).tasks
    extraction = running.run(manifest, tasks, condition, crop, seed)
    failures: list[Failure] = []

    def blocks() -> Any:
        for block in extraction.blocks(condition, [task.name for task in tasks], manifest=manifest):
            failures.extend(block.failures)
            yield block.to_arrow(flat=flat)

    write_table(blocks(), out)
    running.tell(extraction, failures)
    n_columns = sum(len(task.columns) for task in tasks)
    return Extracted(len(extraction), n_columns, tuple(failures), extraction.warnings, extraction.timing)


def table_of(manifest: Table, columns: Columns, *, condition: str, seed: int, running: Running) -> FeatureTable:
    """Compute a choice of columns of every image of a manifest, and give notice of what that came to."""
    (table,) = tables_of(manifest, columns, condition=condition, draws=1, seed=seed, running=running)
    return table


def tables_of(
    manifest: Table, columns: Columns, *, condition: str, draws: int, seed: int, running: Running
) -> list[FeatureTable]:
    """Compute the same of some draws of every image: a table for each draw."""
    tasks = columns.tasks
    extraction = running.run(manifest, tasks, condition, columns.crop, seed, draws=draws)
    tables = [extraction.table(name, [task.name for task in tasks], manifest=manifest)
              for name in drawn_names(condition, draws)]  # fmt: skip
    running.tell(extraction, list(dict.fromkeys(one for table in tables for one in table.failures)))
    return tables


def _checked(
    features: str | Sequence[str], manifest: Table, condition: str, crop: int, backend: str, *, flat: bool = False
) -> Columns:
    """Return the columns of names; raises DataError where a column of the manifest stands in their way."""
    columns = Columns.of(features, condition=condition, crop=crop, backend=backend)
    ours = {"manifest_id", "manifest_status", "manifest_reason", *(task.name for task in columns.tasks)}
    for column in manifest.schema:
        if column.name in ours:
            raise DataError(f"the manifest's column '{column.name}' has the name of one of ours; rename it")
        if flat and pa.types.is_nested(column.type):
            raise DataError(f"the manifest's column '{column.name}' holds {column.type}; write to .parquet instead")
    return columns
