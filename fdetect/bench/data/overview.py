"""What a data set is made of, from file headers alone: the first look, before any detector runs (`--dry-run`).

Two classes that differ in container, size or JPEG quality can be told apart without looking at a pixel.  The
overview shows this side by side and says so in a line; how much it helps a detector is measured by the audit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fdetect.bench.data.headers import Headers, read_headers
from fdetect.bench.data.tally import Spread, Tally
from fdetect.bench.report.grid import Grid
from fdetect.errors import DataError
from fdetect.splits import numbered
from fdetect.types import FAKE, REAL, Array, Table

__all__ = ["Overview", "OverviewRow", "Spread", "counted", "files_grid", "need_readable", "overview"]

_REASONS = 3  # unreadable images spelt out in each row
_APART = 0.1  # two classes "differ" from here on, as a share of the images

_NAMES = {REAL: "real", FAKE: "fake"}


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
    sides: tuple[tuple[int, int], ...]  # (px, images): the shorter sides of readable images, ascending
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
    return counted(manifest, read_headers(manifest, threads=threads, progress=progress))


def counted(manifest: Table, headers: Headers) -> Overview:
    """Count what the headers of a manifest's images said: the overview without its reading of files."""
    label = manifest.column("label").to_numpy().astype(np.int32)
    fake = pc.equal(manifest.column("label"), FAKE)
    origin = numbered(pc.if_else(fake, manifest.column("generator"), manifest.column("real_source")))
    kind = label * len(origin.names) + origin.number  # of a row: its label and its generator or real source
    order = np.argsort(kind, kind="stable")
    starts = np.flatnonzero(np.diff(kind[order], prepend=-1))
    origins, paths = origin.names.to_pylist(), manifest.column("path")
    group = manifest.column("group").cast(pa.large_string()).combine_chunks()
    parts = [
        _Part.of(int(label[rows[0]]), origins[origin.number[rows[0]]], rows, group.take(rows), headers, paths)
        for rows in np.split(order, starts[1:])
    ]
    parts.sort(key=lambda part: (part.label, part.name))
    detected = (manifest.schema.metadata or {}).get(b"fdetect.detected", b"").decode()
    return Overview(detected, tuple(_row(part) for part in parts), tuple(_warnings(parts)))


@dataclass(frozen=True)
class _Part:
    """The images of one label and name, counted; `sizes` are numbers of both sides, as `_sides` parts them."""

    label: int
    name: str
    images: int
    groups: int
    failed: int
    first_failed: int  # row of the manifest
    reasons: tuple[str, ...]
    formats: Mapping[str, int]
    sizes: Tally
    bytes: Spread | None
    total_bytes: int
    quality: Tally
    exact: int  # JPEGs whose luma table is exactly an IJG one

    @classmethod
    def of(cls, label: int, name: str, rows: np.ndarray, group: Array, headers: Headers, paths: Array) -> _Part:
        """Count the images of some rows, which rise, and of which these are the groups."""
        failed = rows[headers.reason[rows] >= 0]
        good = rows[headers.reason[rows] < 0]
        alone, groups = pc.sum(pc.equal(group, "")).as_py(), len(pc.unique(group))
        pa.default_memory_pool().release_unused()  # of millions of groups, hundreds of MB
        of_format = np.bincount(headers.format[good], minlength=len(headers.formats)).tolist()
        jpeg = good[headers.quality[good] >= 0]
        named = zip(paths.take(failed[:_REASONS]).to_pylist(), headers.reason[failed[:_REASONS]].tolist(), strict=True)
        return cls(
            label, name, len(rows), groups - bool(alone) + alone, len(failed),
            int(failed[0]) if len(failed) else -1, tuple(f"{path}: {headers.reasons[k]}" for path, k in named),
            {format: n for format, n in zip(headers.formats, of_format, strict=True) if n},
            Tally.of(headers.width[good].astype(np.int64) << 32 | headers.height[good]), Spread.of(headers.bytes[good]),
            int(headers.bytes[good].sum()), Tally.of(headers.quality[jpeg]), int(headers.exact[jpeg].sum()),
        )  # fmt: skip


def _row(part: _Part) -> OverviewRow:
    width, height = _sides(part.sizes)
    sides = Tally.of(np.minimum(width, height), part.sizes.counts)
    return OverviewRow(
        label=part.label,
        name=part.name,
        images=part.images,
        groups=part.groups,
        unreadable=part.failed,
        reasons=part.reasons,
        formats=_frequent_first(part.formats),
        width=Tally.of(width, part.sizes.counts).spread(),
        height=Tally.of(height, part.sizes.counts).spread(),
        sides=tuple(zip(sides.values.tolist(), sides.counts.tolist(), strict=True)),
        pixels=_pixels(part.sizes),
        bytes=part.bytes,
        total_bytes=part.total_bytes,
        quality=part.quality.spread(),
        exact_quality=part.exact / len(part.quality) if len(part.quality) else float("nan"),
    )


def _warnings(parts: list[_Part]) -> Iterator[str]:
    both = [[part for part in parts if part.label == label] for label in (REAL, FAKE)]
    images = [sum(part.images for part in of_class) for of_class in both]
    for name, n in zip(_NAMES.values(), images, strict=True):
        if not n:
            yield f"no {name} images: the classes cannot be compared"
    for name, of_class, n in zip(_NAMES.values(), both, images, strict=True):
        if failed := [part for part in of_class if part.failed]:
            first = min(failed, key=lambda part: part.first_failed).reasons[0]
            yield f"{sum(part.failed for part in failed)} of {n} {name} images cannot be read, the first {first}"
    if unnamed := sum(part.images for part in both[1] if part.name in ("", "unknown")):
        yield f"{unnamed} of {images[1]} fake images name no generator"
    if any(n == sum(part.failed for part in of_class) for n, of_class in zip(images, both, strict=True)):
        return
    formats = [_summed(part.formats for part in of_class) for of_class in both]
    if _share_distance(*formats) > _APART:
        real, fake = (_listed(_frequent_first(of_class)) for of_class in formats)
        yield f"formats differ between the classes: real {real}; fake {fake}"
    sizes = [Tally.together([part.sizes for part in of_class]) for of_class in both]
    areas = [Tally.of(np.multiply(*_sides(of_class)), of_class.counts) for of_class in sizes]
    if areas[0].distance(areas[1]) > _APART:
        real, fake = (" / ".join(_pixels(of_class)) for of_class in sizes)
        yield f"sizes differ between the classes (min / median / max): real {real}; fake {fake}"
    qualities = [Tally.together([part.quality for part in of_class]) for of_class in both]
    if all(qualities) and qualities[0].distance(qualities[1]) > _APART:
        real, fake = (str(of_class.spread()) for of_class in qualities)
        yield f"JPEG qualities differ between the classes (min/median/max): real {real}; fake {fake}"


def _sides(sizes: Tally) -> tuple[np.ndarray, np.ndarray]:
    """Return the width and height of each different size."""
    return sizes.values >> 32, sizes.values & 0xFFFFFFFF


def _pixels(sizes: Tally) -> tuple[str, ...]:
    """Return "width x height" at the smallest, median and largest area; of equal areas the narrower is less."""
    if not len(sizes):
        return ()
    width, height = _sides(sizes)
    order = np.lexsort((width, width * height))
    rising = Tally(sizes.values[order], sizes.counts[order])
    return tuple(f"{width[k]}x{height[k]}" for k in order[[0, rising.middle(), -1]])


def _summed(tallies: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for tally in tallies:
        for name, n in tally.items():
            total[name] = total.get(name, 0) + n
    return total


def _share_distance(a: Mapping[str, int], b: Mapping[str, int]) -> float:
    """Return half the sum of the absolute differences of shares (total variation), in 0..1."""
    shares = (a.get(name, 0) / sum(a.values()) - b.get(name, 0) / sum(b.values()) for name in {*a, *b})
    return sum(abs(share) for share in shares) / 2


def _frequent_first(tally: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(tally.items(), key=lambda item: (-item[1], item[0])))


def _listed(tally: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {count}" for name, count in tally)
