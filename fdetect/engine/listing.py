"""Which images there are, without labels: files, folders, glob patterns and shards become one column of paths.

Nothing is left out in silence: what is passed over is counted and said in one line.  Paths are an Arrow column from
the start, because ten million Python strings would not fit where ten million rows do.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fdetect.addresses import absolute, below, common, is_address, join, levels_of
from fdetect.engine.filesystems import remote_folder
from fdetect.engine.sources import SHARD_EXTENSIONS, Reader, has_images, is_shard, members, split_member
from fdetect.engine.walk import IMAGE_EXTENSIONS, PassedOver, as_text, extension_of, in_words, shown, walk
from fdetect.errors import DataError, ParameterError

__all__ = ["IMAGE_EXTENSIONS", "SHARD_EXTENSIONS", "Listing", "PassedOver", "in_words", "list_images", "walk"]

_HIDDEN = re.compile(r"(?:^|/)\.(?!\.?(?:/|\Z))")  # a level of a member's name that begins with a dot
_PIECE = 65536  # names held as Python strings at a time
_SPELT = 3  # things that cannot be read and are spelt out; the rest are counted


@dataclass(frozen=True)
class Listing:
    """The images that were found."""

    paths: pa.ChunkedArray  # (N,) string: POSIX, relative to `root`, each once
    root: str | Path  # absolute, links are not resolved; the text of an address such as `s3://bucket/set`
    remarks: str  # in one line, what was left out or will fail; empty where nothing was


def list_images(inputs: Sequence[str | Path], *, root: str | Path | None = None) -> Listing:
    """List the images of files, folders, glob patterns, shards and shard members, in the order given.

    A file that is named is an image whatever its extension.  A folder is walked and listed in the byte order of its
    paths; names that are hidden or have another extension, and linked folders, are passed over and counted.  A
    pattern (`*`, `?`, `[...]`, and `**` for any number of folders) lists the files that match it, by the same rules,
    and walks the folders that do; the name of an existing file is no pattern.  A shard lists its image members, in
    its order.  Names that are not UTF-8 are listed with `\\x..` for the odd bytes, and fail when they are read.

    An input may be an address (`s3://bucket/set`, `https://host/a.jpg`): its folders are listed through fsspec by the
    same rules.  All inputs of one call lie on one file system.

    One bad input ends nothing: a shard that cannot be opened, and a file or member that is absent, is a row of its
    own that fails when it is read; a tar that is damaged or cut short lists the members that it still has and, after
    them, itself.  The remarks name them all, and the inputs without an image.

    root    folder the paths are relative to, at or above all inputs; None for the folder itself (one folder), the
            folder of the file (one file or shard), or the deepest folder that all inputs share

    Raises DataError, naming the input, where no input has an image, for a pattern without match, for a folder that
    cannot be listed, for inputs on several file systems, for an input outside the root, for one that a link makes two
    files (`link/../a.png`), and where the package that an address needs is absent; ParameterError where there is no
    input.
    """
    if not inputs:
        raise ParameterError("no images were given; name images, folders, patterns or shards")
    found = [_input(os.fspath(given)) for given in inputs]
    top = absolute(root) if root is not None else common([one.base for one in found])
    if top is None:
        ends = " and ".join(dict.fromkeys(shown(one.given) for one in (found[0], found[-1])))
        raise DataError(f"{ends}: the inputs have no folder in common; give those of each file system by themselves")
    for one in found:
        if below(one.base, top) is None:
            raise DataError(f"{shown(one.given)}: not below the root {shown(top)}; give a root at or above it")
    notes = _Notes()
    names = (path for one in found for path in _images(one, top, notes))
    chunks = []
    while len(chunk := pa.array(islice(names, _PIECE), pa.string())):
        chunks.append(chunk)
    paths = pa.chunked_array(chunks, pa.string())
    n_listed = len(paths)
    if n_listed == notes.n_failing:
        first = notes.problems[0]
        raise DataError(first if "; " in first else f"{first}; name an input that can be read")
    if len(found) > 1 or pc.any(pc.match_substring(paths, "\\x")).as_py():
        paths = _first_of_each(paths)
    remarks = [in_words(notes.passed_over)] if notes.passed_over.total() else []
    if n_listed > len(paths):
        remarks.append(f"{n_listed - len(paths)} listed twice")
    if problems := list(dict.fromkeys(notes.problems)):
        more = f", and {len(problems) - _SPELT} more" * (len(problems) > _SPELT)
        remarks.append(f"cannot be read in full: {', '.join(f'({one})' for one in problems[:_SPELT])}{more}")
    return Listing(paths, top if is_address(top) else Path(top), "; ".join(remarks))


@dataclass
class _Notes:
    """What is found out beside the paths."""

    passed_over: PassedOver = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)  # each with the name of what it is about
    n_failing: int = 0  # rows that are listed only to fail


@dataclass(frozen=True)
class _Input:
    given: str
    base: str  # absolute: the folder that is walked, or that the file is in
    name: str = ""  # of the file or shard in `base`
    member: str = ""
    pattern: tuple[str, ...] = ()
    absent: str = ""  # why there is no such file


def _input(given: str) -> _Input:
    """Say what an input is: what exists under its name comes first, then a member, then a pattern."""
    if is_address(given):
        return _remote_input(given)
    if given.startswith(("file://", "local://")):
        return _input(absolute(given))
    try:
        exists = os.path.lexists(given)
        member = None if exists else split_member(given)
        levels = Path(given).parts
        n_plain = next((i for i, level in enumerate(levels) if re.search(r"[*?[]", level)), len(levels))
        if member:
            absent = _check_name(given, member[0])
            shard = os.path.abspath(member[0])
            return _Input(given, os.path.dirname(shard), os.path.basename(shard), member[1], absent=absent)
        if not exists and n_plain < len(levels):
            plain = os.path.join("", *levels[:n_plain])
            if absent := _check_name(given, plain or "."):
                raise DataError(f"{shown(given)}: {absent}; check the spelling of the input")
            if ".." in levels[n_plain:]:
                raise DataError(f"{shown(given)}: '..' cannot follow a pattern; name the folder that is meant")
            return _Input(given, os.path.abspath(plain), pattern=levels[n_plain:])
        absent, path = _check_name(given, given), os.path.abspath(given)
        if not absent and stat.S_ISDIR(os.stat(given).st_mode):
            return _Input(given, path)
        return _Input(given, os.path.dirname(path), os.path.basename(path), absent=absent)
    except ValueError as error:
        raise DataError(f"{shown(given)}: no file can have this name ({error})") from None


def _remote_input(given: str) -> _Input:
    """Say what an address is, by the same order."""
    member = split_member(given)
    top, levels = levels_of(absolute(member[0] if member else given))
    absent, folder = "", remote_folder(absolute(given))
    if not member:
        try:
            if folder.is_folder():
                return _Input(given, absolute(given))
        except DataError as error:
            absent = str(error)
    n_plain = next((i for i, level in enumerate(levels) if re.search(r"[*?[]", level)), len(levels))
    if absent and n_plain < len(levels):
        return _Input(given, join(top, "/".join(levels[:n_plain])), pattern=tuple(levels[n_plain:]))
    if not levels:  # a file system without buckets
        scheme, _, name = top.partition("://")
        top, levels = f"{scheme}://", [name]
    return _Input(given, join(top, "/".join(levels[:-1])), levels[-1], member[1] if member else "", absent=absent)


def _check_name(given: str, name: str) -> str:
    """Return why there is no such file, or ""; raises DataError where the name as text, which is listed, is another.

    The system follows a link before it goes up again, so that `link/../a.png` need not be the file `a.png` here.
    """
    path = os.path.abspath(name)
    try:
        found = os.stat(name)
    except OSError as error:
        reason = error.strerror or str(error)
        if os.path.exists(path):
            raise DataError(f"{shown(given)}: {reason}; check the spelling of the input") from None
        return reason
    if not os.path.exists(path) or not os.path.samestat(found, os.stat(path)):
        other = shown(os.path.realpath(name))
        raise DataError(f"{shown(given)}: through a link this is {other}, and not {shown(path)}; name the one meant")
    return ""


def _images(one: _Input, top: str, notes: _Notes) -> Iterator[str]:
    """Yield the paths that one input stands for, relative to `top`; note it where there is none."""
    counts: PassedOver = Counter()
    n_found = 0
    for path in _paths(one, top, counts, notes):
        n_found += 1
        yield path
    notes.passed_over.update(counts)
    if not n_found:
        also = f" ({in_words(counts)})" if counts.total() else ""
        what = f"{shown(one.given)}: {'matches' if one.pattern else 'holds'} no images{also}"
        if one.pattern:
            raise DataError(f"{what}; name a file, folder or shard that has them")
        notes.problems.append(f"{what}; name a file, folder or shard that has them")


def _paths(one: _Input, top: str, counts: PassedOver, notes: _Notes) -> Iterator[str]:
    prefix = "".join(f"{as_text(part)}/" for part in below(one.base, top) or ())
    path = prefix + as_text(one.name)
    if one.member:
        path = f"{path}::{as_text(one.member)}"
        reason = one.absent
        if not reason:
            with Reader(one.base) as reader:
                try:
                    reader.head(f"{one.name}::{one.member}", 0)
                except DataError as error:
                    reason = str(error)
        yield _failing(path, f"{shown(one.given)}: {reason}", notes) if reason else path
    elif one.absent:
        yield _failing(path, f"{shown(one.given)}: {one.absent}; check the spelling of the input", notes)
    elif one.name:
        if is_shard(one.name):
            yield from _in_shard(path, join(one.base, one.name), counts, notes)
        elif _is_plain(path, counts):
            yield path
    else:
        wanted = IMAGE_EXTENSIONS.union(SHARD_EXTENSIONS)
        for parts, names in walk(one.base, counts, extensions=wanted, pattern=one.pattern):
            folder = prefix + "".join(f"{part}/" for part in parts)
            for name in names:
                path, file = folder + name, join(top, folder + name)
                if not name.lower().endswith(SHARD_EXTENSIONS) or ("\\x" in path and not os.path.lexists(file)):
                    if _is_plain(path, counts):
                        yield path
                else:
                    yield from _in_shard(path, file, counts, notes, is_named=False)


def _in_shard(path: str, file: str, counts: PassedOver, notes: _Notes, *, is_named: bool = True) -> Iterator[str]:
    """Yield the image members of a shard as paths: all rows of a Parquet file, or by the rules for files."""
    if not is_shard(path):
        counts["file", "below a folder named like a member of a shard"] += 1
        return
    is_table = path.lower().endswith(".parquet")
    try:
        if is_table and not is_named and not has_images(file):
            counts["file", ".parquet without a column of images"] += 1
            return
        found = members(file)
    except DataError as error:
        yield _failing(path, str(error), notes)
        return
    for what, n in found.others.items():
        counts["member", what] += n
    for name in found.names:
        extension = extension_of(name.rpartition("/")[2])
        if is_table or (extension in IMAGE_EXTENSIONS and not _HIDDEN.search(name)):
            yield f"{path}::{name}"
        else:
            counts["member", "hidden" if _HIDDEN.search(name) else extension or "without extension"] += 1
    if found.lost:
        yield _failing(path, f"{shown(file)}: {found.lost}", notes)


def _failing(path: str, problem: str, notes: _Notes) -> str:
    """Return the path of a row that will fail; noted, so that it counts as no image."""
    notes.problems.append(problem)
    notes.n_failing += 1
    return path


def _is_plain(path: str, counts: PassedOver) -> bool:
    if "::" in path and split_member(path):  # it would be read as a member
        counts["file", "named like a member of a shard"] += 1
        return False
    return True


def _first_of_each(paths: pa.ChunkedArray) -> pa.ChunkedArray:
    """Keep the first of equal paths; in large_string, as the offsets of `string` end at 2 GiB of text."""
    coded = paths.cast(pa.large_string()).dictionary_encode()
    codes = np.concatenate([chunk.indices.to_numpy() for chunk in coded.chunks])
    seen = np.maximum.accumulate(codes)  # codes are given in the order of appearance: a new one is a new maximum
    return paths.filter(pa.array(codes > np.concatenate([[-1], seen[:-1]])))
