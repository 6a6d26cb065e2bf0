"""What a data set is made of, from file headers alone: the first look, before any detector runs (`--dry-run`).

Two classes that differ in container, size or JPEG quality can be told apart without looking at a pixel.  The
overview shows this side by side and says so in a line; how much it helps a detector is measured by the audit.
"""

from __future__ import annotations

import os
import statistics
import warnings as python_warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from fdetect.bench.report.grid import Grid
from fdetect.engine.sources import Reader
from fdetect.errors import DataError
from fdetect.images import jpeg_quality, read_facts
from fdetect.types import FAKE, REAL, Facts, Record, Table, records

__all__ = ["Overview", "OverviewRow", "Spread", "files_grid", "need_readable", "overview"]

_HEAD = 1 << 16  # bytes read first: they hold the header of nearly every image; the whole file is read if not
_CHUNK = 256  # images a thread takes at a time
_REASONS = 3  # unreadable images spelt out in each row
_APART = 0.1  # two classes "differ" from here on, as a share of the images

_NAMES = {REAL: "real", FAKE: "fake"}


@dataclass(frozen=True)
class Spread:
    """Smallest, median and largest of whole numbers; the median is one of them (the lower of two)."""

    low: int
    median: int
    high: int

    def __str__(self) -> str:
        return f"{self.low}/{self.median}/{self.high}"


@dataclass(frozen=True)
class OverviewRow:
    """The images of one generator, or of one source of reals.

    Formats, sizes, qualities and bytes are those of the readable images; a `Spread` is None where there is none.
    `width` and `height` are spreads by themselves; `pixels` names the sizes of smallest, median and largest area.
    """

    label: int
    name: str  # the generator of fakes, the real source of reals, "" where the manifest names none
    images: int
    groups: int  # distinct groups; an image without a group is one
    unreadable: int
    reasons: tuple[str, ...]  # "path: reason" of the first unreadable images
    formats: tuple[tuple[str, int], ...]  # the most frequent first
    width: Spread | None
    height: Spread | None
    sides: tuple[int, ...]  # the shorter side of every readable image, in px, ascending
    pixels: tuple[str, ...]  # "width x height" at the smallest, median and largest area
    bytes: Spread | None
    total_bytes: int
    quality: Spread | None  # of JPEGs: the IJG quality with the nearest luma table
    exact_quality: float  # share of JPEGs whose luma table is exactly an IJG one; NaN without JPEGs


@dataclass(frozen=True)
class Overview:
    """The rows of an overview, reals first, with one line on what was detected and one on each thing to beware of."""

    detected: str
    rows: tuple[OverviewRow, ...]
    warnings: tuple[str, ...]

    def as_rows(self) -> list[dict[str, object]]:
        """Return one flat dict for each row, ready to print: text and numbers, empty text where there is nothing."""
        return [
            {
                "label": _NAMES[row.label],
                "name": row.name,
                "images": row.images,
                "groups": row.groups,
                "formats": _listed(row.formats),
                "size": " / ".join(row.pixels),
                "quality": "" if row.quality is None else str(row.quality),
                "exact_quality": "" if row.quality is None else f"{row.exact_quality:.0%}",
                "bytes": "" if row.bytes is None else str(row.bytes),
                "total_bytes": row.total_bytes,
                "unreadable": row.unreadable,
            }
            for row in self.rows
        ]


def files_grid(seen: Overview) -> Grid:
    """Return the table that a terminal shows of an overview; what cannot be read is counted in `warnings`."""
    columns = {"label": "label", "name": "name", "images": "images", "groups": "groups", "formats": "formats",
               "size": "size", "quality": "JPEG quality", "bytes": "bytes"}  # fmt: skip
    rows = tuple(tuple(str(row[key]) for key in columns) for row in seen.as_rows())
    return Grid("files", tuple(columns.values()), rows, "sizes, qualities, bytes: smallest, median, largest")


def need_readable(seen: Overview, root: str) -> None:
    """Raise DataError where no image of a class can be read, which no run could do without; `root` is the folder."""
    for label, name in _NAMES.items():
        rows = [row for row in seen.rows if row.label == label]
        if rows and all(row.unreadable == row.images for row in rows):
            raise DataError(f"every {name} image is unreadable, the first {rows[0].reasons[0]}; paths are read below "
                            f"{root}: if they are relative to another folder, name it as --root")  # fmt: skip


@dataclass(frozen=True)
class _Look:
    """One image: its record, and what its header says or why it could not be read."""

    record: Record
    facts: Facts | None
    quality: tuple[int, bool] | None
    reason: str = ""


def overview(
    manifest: Table, *, threads: int | None = None, progress: Callable[[int], object] | None = None
) -> Overview:
    """Look at the header of every image of a manifest and count by label and generator, or real source.

    Only headers are read where a format has one, so a damaged body goes unnoticed here (a run reports it); a
    missing, empty or foreign file is counted as unreadable.  A warning line appears where a class is empty, where
    images are unreadable, where fakes name no generator, and where formats, sizes or JPEG qualities of the readable
    reals and fakes lie more than 0.1 apart (half the sum of differences of shares for formats; the largest difference
    of cumulative shares for areas and qualities: they would be 0 for equal classes, and 1 tells every image apart).

    threads   threads that read files, None for Python's default
    progress  called with the number of images just read

    Raises DataError for a manifest without `fdetect.root` in its schema metadata: `read_manifest` writes it.
    """
    metadata = manifest.schema.metadata or {}
    if b"fdetect.root" not in metadata:
        raise DataError("the manifest does not say where its files are (fdetect.root); read it with read_manifest")
    looks: list[_Look] = []
    with (
        Reader(os.fsdecode(metadata[b"fdetect.root"])) as reader,
        python_warnings.catch_warnings(),  # here, since filters are no thread's own
        ThreadPoolExecutor(threads) as pool,
    ):
        for chunk in pool.map(lambda rows: [_look(reader, row) for row in rows], _chunks(records(manifest))):
            looks += chunk
            if progress is not None:
                progress(len(chunk))
    parts: dict[tuple[int, str], list[_Look]] = {}
    for look in looks:
        parts.setdefault(_key(look.record), []).append(look)
    rows = tuple(_row(*key, parts[key]) for key in sorted(parts))
    return Overview(metadata.get(b"fdetect.detected", b"").decode(), rows, tuple(_warnings(looks)))


def _look(reader: Reader, record: Record) -> _Look:
    try:
        facts = _header(reader, record.path)
    except DataError as error:
        return _Look(record, None, None, str(error))
    quality = jpeg_quality(facts.qtables) if facts.format == "JPEG" else None
    return _Look(record, replace(facts, qtables=(), exif=()), quality)


def _header(reader: Reader, path: str) -> Facts:
    head, size = reader.head(path, _HEAD)
    try:
        return replace(read_facts(head), bytes=size)
    except DataError:
        if size <= len(head):
            raise
        return read_facts(reader.read(path))


def _key(record: Record) -> tuple[int, str]:
    return record.label, record.origin


def _row(label: int, name: str, looks: Sequence[_Look]) -> OverviewRow:
    facts = [look.facts for look in looks if look.facts is not None]
    failed = [look for look in looks if look.facts is None]
    qualities = [look.quality for look in looks if look.quality is not None]
    groups = [look.record.group for look in looks]
    by_area = sorted((f.width * f.height, f.width, f.height) for f in facts)
    picked = [by_area[0], by_area[(len(by_area) - 1) // 2], by_area[-1]] if by_area else []
    return OverviewRow(
        label=label,
        name=name,
        images=len(looks),
        groups=len(set(groups) - {""}) + groups.count(""),
        unreadable=len(failed),
        reasons=tuple(f"{look.record.path}: {look.reason}" for look in failed[:_REASONS]),
        formats=_tally(f.format for f in facts),
        width=_spread([f.width for f in facts]),
        height=_spread([f.height for f in facts]),
        sides=tuple(sorted(min(f.width, f.height) for f in facts)),
        pixels=tuple(f"{width}x{height}" for _, width, height in picked),
        bytes=_spread([f.bytes for f in facts]),
        total_bytes=sum(f.bytes for f in facts),
        quality=_spread([quality for quality, _ in qualities]),
        exact_quality=statistics.fmean(exact for _, exact in qualities) if qualities else float("nan"),
    )


def _warnings(looks: Sequence[_Look]) -> Iterator[str]:
    both = [[look for look in looks if look.record.label == label] for label in (REAL, FAKE)]
    for name, of_class in zip(_NAMES.values(), both, strict=True):
        if not of_class:
            yield f"no {name} images: the classes cannot be compared"
    for name, of_class in zip(_NAMES.values(), both, strict=True):
        failed = [look for look in of_class if look.facts is None]
        if failed:
            first = f"{failed[0].record.path}: {failed[0].reason}"
            yield f"{len(failed)} of {len(of_class)} {name} images cannot be read, the first {first}"
    if unnamed := sum(look.record.generator in ("", "unknown") for look in both[1]):
        yield f"{unnamed} of {len(both[1])} fake images name no generator"
    reals, fakes = ([look.facts for look in of_class if look.facts is not None] for of_class in both)
    if not reals or not fakes:
        return
    formats = [_tally(f.format for f in facts) for facts in (reals, fakes)]
    if _tally_distance(*formats) > _APART:
        yield f"formats differ between the classes: real {_listed(formats[0])}; fake {_listed(formats[1])}"
    rows = [_row(label, "", of_class) for label, of_class in zip(_NAMES, both, strict=True)]
    if _distance([f.width * f.height for f in reals], [f.width * f.height for f in fakes]) > _APART:
        real, fake = (" / ".join(row.pixels) for row in rows)
        yield f"sizes differ between the classes (min / median / max): real {real}; fake {fake}"
    qualities = [[look.quality[0] for look in of_class if look.quality is not None] for of_class in both]
    if all(qualities) and _distance(*qualities) > _APART:
        real, fake = (str(row.quality) for row in rows)
        yield f"JPEG qualities differ between the classes (min/median/max): real {real}; fake {fake}"


def _distance(first: Sequence[int], second: Sequence[int]) -> float:
    """Return the largest difference of the cumulative shares (Kolmogorov-Smirnov), in 0..1."""
    a, b = np.sort(first), np.sort(second)
    at = np.concatenate((a, b))
    shares = np.searchsorted(a, at, side="right") / len(a) - np.searchsorted(b, at, side="right") / len(b)
    return float(np.abs(shares).max())


def _tally_distance(first: Sequence[tuple[str, int]], second: Sequence[tuple[str, int]]) -> float:
    """Return half the sum of the absolute differences of shares (total variation), in 0..1."""
    a, b = dict(first), dict(second)
    shares = (a.get(name, 0) / sum(a.values()) - b.get(name, 0) / sum(b.values()) for name in {*a, *b})
    return sum(abs(share) for share in shares) / 2


def _tally(names: Iterable[str]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))


def _listed(tally: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {count}" for name, count in tally)


def _spread(values: Sequence[int]) -> Spread | None:
    return Spread(min(values), statistics.median_low(values), max(values)) if values else None


def _chunks(rows: Sequence[Record]) -> Iterator[Sequence[Record]]:
    return (rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK))
