"""Which images there are, without labels: files, folders, glob patterns and shards become one column of paths.

Nothing is left out in silence: what is passed over is counted and said in one line.  Paths are an Arrow column from
the start, because ten million Python strings would not fit where ten million rows do.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fdetect.engine.sources import SHARD_EXTENSIONS, Reader, has_images, members, split_member
from fdetect.engine.walk import IMAGE_EXTENSIONS, PassedOver, as_text, extension_of, in_words, shown, walk
from fdetect.errors import DataError, ParameterError

__all__ = ["IMAGE_EXTENSIONS", "SHARD_EXTENSIONS", "Listing", "PassedOver", "in_words", "list_images", "walk"]

T = TypeVar("T")

_HIDDEN = re.compile(r"(?:^|/)\.(?!\.?(?:/|\Z))")  # a level of a member's name that begins with a dot
_PIECE = 65536  # names held as Python strings at a time


@dataclass(frozen=True)
class Listing:
    """The images that were found."""

    paths: pa.ChunkedArray  # (N,) string: POSIX, relative to `root`, each once
    root: Path  # absolute; links are not resolved
    remarks: str  # in one line, what was left out or is special; empty where nothing was


def list_images(inputs: Sequence[str | Path], *, root: str | Path | None = None) -> Listing:
    """List the images of files, folders, glob patterns, shards and shard members, in the order given.

    A file that is named is an image whatever its extension.  A folder is walked and listed in the byte order of its
    paths; names that are hidden or have another extension, and linked folders, are passed over and counted.  A
    pattern (`*`, `?`, `[...]`, and `**` for any number of folders) lists the files that match it, by the same rules,
    and walks the folders that do; the name of an existing file is no pattern.  A shard lists its image members, in
    its order.  Names that are not UTF-8 are listed with `\\x..` for the odd bytes, and fail when they are read.

    root    folder the paths are relative to, at or above all inputs; None for the folder itself (one folder), the
            folder of the file (one file or shard), or the deepest folder that all inputs share

    Raises DataError, naming the input, where it does not exist, holds no image or lies outside the root, and where a
    folder or a shard cannot be listed; ParameterError where there is no input.
    """
    if not inputs:
        raise ParameterError("no input to list images of; name a file, a folder, a pattern or a shard")
    found = [_input(os.fspath(given)) for given in inputs]
    top = os.path.abspath(root) if root is not None else os.path.commonpath([one.base for one in found])
    for one in found:
        if not Path(one.base).is_relative_to(top):
            raise DataError(f"{shown(one.given)}: not below the root {shown(top)}; give a root at or above it")
    passed_over: PassedOver = Counter()
    broken: list[str] = []
    names = (path for one in found for path in _images(one, top, passed_over, broken))
    chunks = []
    while len(chunk := pa.array(islice(names, _PIECE), pa.string())):
        chunks.append(chunk)
    paths = pa.chunked_array(chunks, pa.string())
    n_listed = len(paths)
    if len(found) > 1 or pc.any(pc.match_substring(paths, "\\x")).as_py():
        paths = _first_of_each(paths)
    remarks = [in_words(passed_over)] if passed_over.total() else []
    if n_listed > len(paths):
        remarks.append(f"{n_listed - len(paths)} listed twice")
    if broken:
        more = f" and {len(broken) - 1} more" * (len(broken) > 1)
        remarks.append(f"damaged or cut short, what follows the break is not listed: {broken[0]}{more}")
    return Listing(paths, Path(top), "; ".join(remarks))


@dataclass(frozen=True)
class _Input:
    given: str
    base: str  # absolute: the folder that is walked, or that the file is in
    name: str = ""  # of the file or shard in `base`
    member: str = ""
    pattern: tuple[str, ...] = ()


def _input(given: str) -> _Input:
    """Say what an input is: what exists under its name comes first, then a member, then a pattern."""
    path = os.path.abspath(given)
    member = split_member(given)
    levels = Path(path).parts
    n_plain = next((i for i, level in enumerate(levels) if re.search(r"[*?[]", level)), len(levels))
    try:
        if not os.path.lexists(given) and member:
            os.stat(member[0])
            shard = os.path.abspath(member[0])
            return _Input(given, os.path.dirname(shard), os.path.basename(shard), member[1])
        if not os.path.lexists(given) and n_plain < len(levels):
            base = os.path.join(*levels[:n_plain])
            os.stat(base)
            return _Input(given, base, pattern=levels[n_plain:])
        if stat.S_ISDIR(os.stat(given).st_mode):
            return _Input(given, path)
        return _Input(given, os.path.dirname(path), os.path.basename(path))
    except OSError as error:
        raise DataError(f"{shown(given)}: {error.strerror}; check the spelling of the input") from None
    except ValueError as error:
        raise DataError(f"{shown(given)}: no file can have this name ({error})") from None


def _images(one: _Input, top: str, passed_over: PassedOver, broken: list[str]) -> Iterator[str]:
    """Yield the paths that one input stands for, relative to `top`; raises DataError where there is none."""
    counts: PassedOver = Counter()
    n_found = 0
    for path in _paths(one, top, counts, broken):
        n_found += 1
        yield path
    if not n_found:
        what = "matches" if one.pattern else "holds"
        also = f" ({in_words(counts)})" if counts.total() else ""
        raise DataError(f"{shown(one.given)}: {what} no images{also}; name a file, folder or shard that has them")
    passed_over.update(counts)


def _paths(one: _Input, top: str, counts: PassedOver, broken: list[str]) -> Iterator[str]:
    prefix = "".join(f"{as_text(part)}/" for part in Path(one.base).relative_to(top).parts)
    if one.member:
        with Reader(one.base) as reader:
            _listed(one.given, partial(reader.head, f"{one.name}::{one.member}", 0))
        yield f"{prefix}{as_text(one.name)}::{as_text(one.member)}"
    elif one.name:
        path = prefix + as_text(one.name)
        if split_member(f"{one.name}::") == (one.name, ""):
            yield from _in_shard(path, os.path.join(one.base, one.name), counts, broken)
        elif _is_plain(path, counts):
            yield path
    else:
        wanted = IMAGE_EXTENSIONS.union(SHARD_EXTENSIONS)
        for parts, names in walk(one.base, counts, extensions=wanted, pattern=one.pattern):
            folder = prefix + "".join(f"{part}/" for part in parts)
            for name in names:
                path, file = folder + name, os.path.join(top, folder + name)
                if not name.lower().endswith(SHARD_EXTENSIONS) or ("\\x" in path and not os.path.lexists(file)):
                    if _is_plain(path, counts):
                        yield path
                elif name.lower().endswith(".parquet") and not _listed(file, partial(has_images, file)):
                    counts["file", ".parquet without a column of images"] += 1
                else:
                    yield from _in_shard(path, file, counts, broken)


def _in_shard(path: str, file: str, counts: PassedOver, broken: list[str]) -> Iterator[str]:
    """Yield the image members of a shard as paths: all rows of a Parquet file, or by the rules for files."""
    if split_member(f"{path}::") != (path, ""):
        counts["file", "below a folder named like a member of a shard"] += 1
        return
    found = _listed(file, partial(members, file))
    for what, n in found.others.items():
        counts["member", what] += n
    if not found.whole:
        broken.append(shown(file))
    is_table = file.lower().endswith(".parquet")
    for name in found.names:
        extension = extension_of(name.rpartition("/")[2])
        if is_table or (extension in IMAGE_EXTENSIONS and not _HIDDEN.search(name)):
            yield f"{path}::{name}"
        else:
            counts["member", "hidden" if _HIDDEN.search(name) else extension or "without extension"] += 1


def _is_plain(path: str, counts: PassedOver) -> bool:
    if "::" in path and split_member(path):  # it would be read as a member
        counts["file", "named like a member of a shard"] += 1
        return False
    return True


def _listed(file: str, look: Callable[[], T]) -> T:
    try:
        return look()
    except DataError as error:
        raise DataError(f"{shown(file)}: cannot be listed ({error}); repair it or take it out") from None


def _first_of_each(paths: pa.ChunkedArray) -> pa.ChunkedArray:
    """Keep the first of equal paths; in large_string, as the offsets of `string` end at 2 GiB of text."""
    coded = paths.cast(pa.large_string()).dictionary_encode()
    codes = np.concatenate([chunk.indices.to_numpy() for chunk in coded.chunks])
    seen = np.maximum.accumulate(codes)  # codes are given in the order of appearance: a new one is a new maximum
    return paths.filter(pa.array(codes > np.concatenate([[-1], seen[:-1]])))
