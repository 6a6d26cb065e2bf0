"""The values that travel between the rooms: frozen dataclasses, and two Arrow tables with fixed columns.

Label 0 = real, 1 = fake.  A larger score means more likely generated, for every detector.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fdetect.addresses import masked
from fdetect.errors import FdetectError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "FAKE",
    "MANIFEST_COLUMNS",
    "REAL",
    "Array",
    "Batch",
    "Cell",
    "Embeddings",
    "Facts",
    "Failure",
    "FeatureTable",
    "MetricValue",
    "NotRun",
    "Record",
    "RunResult",
    "Scores",
    "Table",
    "records",
]

REAL, FAKE = 0, 1

Array = Any  # NumPy, CuPy or Torch: whatever `fdetect.backend.namespace` understands
Table = Any  # pyarrow.Table; pyarrow is imported where tables are made, never at the top of a light module

_OWN = ("id", "status", "reason")  # columns of our own in a table of features

MANIFEST_COLUMNS = ("path", "label", "generator", "family", "real_source", "category", "group", "split")


@dataclass(frozen=True)
class Facts:
    """What a file says of itself, or what the encoded result of a condition would say; no pixel is in it."""

    format: str  # "JPEG", "PNG", "WEBP", ...; "RAW" for pixels that were never encoded
    width: int
    height: int
    bytes: int
    mode: str = "RGB"  # Pillow's name of the stored pixel type, before it became RGB
    subsampling: str = ""  # "4:4:4", "4:2:2", "4:2:0" or "" where it does not apply
    qtables: tuple[tuple[int, ...], ...] = ()  # JPEG quantisation tables in zig-zag-free (row) order
    progressive: bool = False
    orientation: int = 1  # EXIF orientation; recorded, never applied: traces live on the stored pixel grid
    exif: tuple[tuple[str, str], ...] = ()  # (tag name, text) of the main EXIF directory, sorted


@dataclass(frozen=True)
class Batch:
    """Images of one exact size, side by side: what every task receives.

    `ids` are content hashes (32 hex digits); `rgb8` is (B, H, W, 3) uint8 on NumPy or CuPy; `seed` is the run's.
    `maps` holds every signal map computed so far, so that each is computed once for all features of the batch.
    """

    ids: tuple[str, ...]
    rgb8: Array
    facts: tuple[Facts, ...]
    seed: int = 0
    maps: dict[str, Array] = field(default_factory=dict, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Failure:
    """One image that could not be carried through: which, at which stage, and why, in one line."""

    id: str
    path: str
    stage: str  # "read", "decode", "geometry", or the name of a task
    reason: str


@dataclass(frozen=True, repr=False)
class FeatureTable:
    """Named features of N images in manifest order; a failed image is a row of NaN and a `Failure`.

    `values` is (N, D) float32; `columns` has D names of the form `feature:column`, those of one feature side by side.
    `manifest` holds the N rows of the manifest that the table was made from, where there is one; `about` says, by
    feature, all that its values depend on beside the image.
    """

    ids: tuple[str, ...]
    paths: tuple[str, ...]
    columns: tuple[str, ...]
    values: np.ndarray
    failures: tuple[Failure, ...] = ()
    manifest: Table | None = field(default=None, compare=False, repr=False)
    about: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"FeatureTable({len(self)} images, {len(self.columns)} columns, {len(self.failures)} failed)"

    @property
    def ok(self) -> np.ndarray:
        """(N,) bool: rows whose every value is finite."""
        return np.asarray(np.isfinite(self.values).all(axis=1))

    def to_arrow(self, *, flat: bool = False) -> pa.Table:
        """Return an Arrow table: id, the manifest's columns (or path), status, reason, and the features.

        Each feature is one column of fixed_size_list<float32> whose names stand in the field's metadata (`columns`),
        or, `flat`, one column for each name.  The metadata of the schema holds `about` (`fdetect.features`) and the
        folder that paths are relative to (`fdetect.root`).  A manifest's own column `id`, `status` or `reason` is
        kept as `manifest_id` and so on.
        """
        import pyarrow as pa

        reason = {failure.path: f"{failure.stage}: {failure.reason}" for failure in self.failures}
        columns: dict[str, Any] = {"id": pa.array(self.ids, pa.string())}
        if self.manifest is None:
            columns["path"] = pa.array(self.paths, pa.string())
        else:
            names = self.manifest.column_names
            columns |= {f"manifest_{name}" if name in _OWN else name: self.manifest.column(name) for name in names}
        columns["status"] = pa.array(["ok" if good else "failed" for good in self.ok], pa.string())
        columns["reason"] = pa.array([reason.get(path, "") for path in self.paths], pa.string())
        fields = [pa.field(name, column.type) for name, column in columns.items()]
        for name, here in self._features().items():
            values = np.ascontiguousarray(self.values[:, here])
            if flat:
                fields += [pa.field(column, pa.float32()) for column in self.columns[here]]
                columns |= {column: pa.array(values[:, k].copy()) for k, column in enumerate(self.columns[here])}
            else:
                kind, about = pa.list_(pa.float32(), values.shape[1]), {"columns": json.dumps(self.columns[here])}
                fields.append(pa.field(name, kind, metadata=about))
                columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), type=kind)
        metadata: dict[str, Any] = {"fdetect.features": json.dumps(self.about, sort_keys=True)}
        if self.manifest is not None and (root := (self.manifest.schema.metadata or {}).get(b"fdetect.root")):
            metadata["fdetect.root"] = os.fsencode(masked(os.fsdecode(root)))
        return pa.table(list(columns.values()), schema=pa.schema(fields, metadata=metadata))

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame with one column for each name; raises FdetectError without pandas."""
        if importlib.util.find_spec("pandas") is None:
            raise FdetectError("to_pandas needs pandas, which is not installed (pip install 'fdetect[pandas]')")
        return self.to_arrow(flat=True).to_pandas()

    def to_parquet(self, path: str | Path) -> None:
        """Write `to_arrow()` to a .parquet file, whole or not at all; raises DataError where it cannot be written."""
        from fdetect.files import write_table

        write_table(self.to_arrow(), Path(path))

    def _features(self) -> dict[str, slice]:
        """Where the columns of each feature stand."""
        names = [column.partition(":")[0] for column in self.columns]
        starts = [k for k, name in enumerate(names) if k == 0 or name != names[k - 1]]
        ends = [*starts[1:], len(names)]
        return {names[start]: slice(start, end) for start, end in zip(starts, ends, strict=True)}


@dataclass(frozen=True)
class Embeddings:
    """One view of N images through an encoder: `values` is (N, D) float32, NaN rows where it failed."""

    ids: tuple[str, ...]
    paths: tuple[str, ...]
    view: str
    values: np.ndarray
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, repr=False)
class Scores:
    """Scores of N images by one detector: `values` is (N,) float64, larger = more likely generated, NaN = failed.

    branches  of a fused detector, N texts: the branches that a score rests on, "handmade+spectrum"; else empty
    partial   why some of these lack a branch: failures of images that have a score all the same
    n_tiles   N numbers of the tiles that a score is made of; empty for single crops
    """

    ids: tuple[str, ...]
    paths: tuple[str, ...]
    detector: str
    values: np.ndarray
    settings: tuple[tuple[str, str], ...] = ()
    failures: tuple[Failure, ...] = ()
    branches: tuple[str, ...] = ()
    partial: tuple[Failure, ...] = ()
    n_tiles: tuple[int, ...] = ()

    def __repr__(self) -> str:
        return f"Scores({self.detector}: {len(self.ids)} images, {len(self.failures)} failed)"


@dataclass(frozen=True)
class MetricValue:
    """One metric with its bootstrap interval and the counts it rests on; NaN where it is not defined."""

    name: str
    value: float
    low: float
    high: float
    n_real: int
    n_fake: int
    n_failed: int


@dataclass(frozen=True)
class Cell:
    """One entry of the results: a detector, trained on `train`, tested on `generator` under `condition`."""

    detector: str
    train: str  # names of the training generators, or what was left out ("not stylegan2"); "" if untrained
    train_condition: str
    condition: str
    generator: str  # "macro" and "worst" are the rows over all generators; "" in the rows of a real source
    real_source: str  # "" = all reals of the trial; a name in the rows that hold one source's false-positive rate
    metrics: tuple[MetricValue, ...]
    n_groups: int  # groups of the fakes (of the reals, in the rows of a real source)
    flags: tuple[str, ...] = ()

    def metric(self, name: str) -> MetricValue:
        """Return the metric of that name; raises KeyError where the cell has none."""
        for value in self.metrics:
            if value.name == name:
                return value
        raise KeyError(name)


@dataclass(frozen=True)
class NotRun:
    """What was asked for and could not run, a detector or a generator: the reason, and what to do about it."""

    detector: str
    reason: str
    fix: str


@dataclass(frozen=True)
class RunResult:
    """All of a benchmark run that does not depend on when and where it ran: the content of `result.json`."""

    header: dict[str, Any]
    audit: dict[str, Any]
    cells: tuple[Cell, ...]
    thresholds: tuple[dict[str, Any], ...]
    failures: tuple[Failure, ...]
    not_run: tuple[NotRun, ...]


@dataclass(frozen=True)
class Record:
    """One row of a manifest, for code that looks at a single image."""

    path: str
    label: int
    generator: str = ""
    family: str = ""
    real_source: str = ""
    category: str = ""
    group: str = ""
    split: str = ""

    @property
    def origin(self) -> str:
        """The real source of a photograph, the generator of a fake."""
        return self.real_source if self.label == REAL else self.generator


def records(manifest: pa.Table) -> list[Record]:
    """Row view of a manifest: its standard columns as `Record`s, in order."""
    columns = [manifest.column(name).to_pylist() for name in MANIFEST_COLUMNS]
    return [Record(*row) for row in zip(*columns, strict=True)]
