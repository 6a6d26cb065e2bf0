"""What the headers of all images of a manifest say, in columns: 27 bytes for each image, and no objects."""

from __future__ import annotations

import os
import warnings as python_warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from fdetect.engine.sources import Reader
from fdetect.errors import DataError
from fdetect.images import jpeg_quality, read_facts
from fdetect.types import Facts, Table

__all__ = ["Headers", "read_headers"]

_HEAD = 1 << 16  # bytes read first: they hold the header of nearly every image; the whole file is read if not
_CHUNK = 256  # images a thread takes at a time


@dataclass(frozen=True)
class Headers:
    """N rows of facts; those of an image that cannot be read say nothing but why.

    reason   (N,) int32, place in `reasons`; -1 for an image that can be read
    format   (N,) int32, place in `formats`
    width    (N,) int32 px, as height
    bytes    (N,) int64, of the whole file
    quality  (N,) int16, the IJG quality with the nearest luma table; -1 for what is no JPEG
    exact    (N,) bool, whether the luma table is exactly that one
    """

    reason: np.ndarray
    format: np.ndarray
    width: np.ndarray
    height: np.ndarray
    bytes: np.ndarray
    quality: np.ndarray
    exact: np.ndarray
    reasons: tuple[str, ...]
    formats: tuple[str, ...]


def read_headers(
    manifest: Table, *, threads: int | None = None, progress: Callable[[int], object] | None = None
) -> Headers:
    """Read the header of every image of a manifest.

    Only headers are read where a format has one, so a damaged body goes unnoticed; a missing, empty or foreign file
    cannot be read.

    threads   threads that read files, None for Python's default
    progress  called with the number of images just read

    Raises DataError for a manifest without `fdetect.root` in its schema metadata: `read_manifest` writes it.
    """
    metadata = manifest.schema.metadata or {}
    if b"fdetect.root" not in metadata:
        raise DataError("the manifest does not say where its files are (fdetect.root); read it with read_manifest")
    n, paths = len(manifest), manifest.column("path")
    reason, format = np.full(n, -1, np.int32), np.zeros(n, np.int32)
    width, height, size = np.zeros(n, np.int32), np.zeros(n, np.int32), np.zeros(n, np.int64)
    quality, exact = np.full(n, -1, np.int16), np.zeros(n, np.bool_)
    reasons: dict[str, int] = {}
    formats: dict[str, int] = {}
    with (
        Reader(os.fsdecode(metadata[b"fdetect.root"])) as reader,
        python_warnings.catch_warnings(),  # here, since filters are no thread's own
        ThreadPoolExecutor(threads) as pool,
    ):

        def looks(start: int) -> list[_Look]:
            return [_look(reader, path) for path in paths.slice(start, _CHUNK).to_pylist()]

        starts = range(0, n, _CHUNK)
        for start, chunk in zip(starts, pool.map(looks, starts), strict=True):
            for row, look in enumerate(chunk, start):
                if look.facts is None:
                    reason[row] = reasons.setdefault(look.reason, len(reasons))
                    continue
                format[row] = formats.setdefault(look.facts.format, len(formats))
                width[row], height[row], size[row] = look.facts.width, look.facts.height, look.facts.bytes
                if look.quality is not None:
                    quality[row], exact[row] = look.quality
            if progress is not None:
                progress(len(chunk))
    return Headers(reason, format, width, height, size, quality, exact, tuple(reasons), tuple(formats))


@dataclass(frozen=True)
class _Look:
    """One image: what its header says, or why it could not be read."""

    facts: Facts | None
    quality: tuple[int, bool] | None
    reason: str = ""


def _look(reader: Reader, path: str) -> _Look:
    try:
        facts = _header(reader, path)
    except DataError as error:
        return _Look(None, None, str(error))
    quality = jpeg_quality(facts.qtables) if facts.format == "JPEG" else None
    return _Look(replace(facts, qtables=(), exif=()), quality)


def _header(reader: Reader, path: str) -> Facts:
    head, size = reader.head(path, _HEAD)
    try:
        return replace(read_facts(head), bytes=size)
    except DataError:
        if size <= len(head):
            raise
        return read_facts(reader.read(path))
