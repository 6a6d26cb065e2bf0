"""The walk through a folder tree that all listings share: sorted, links left alone, everything left out counted.

Of a tree on another file system (`s3://bucket/set`) it lists folder after folder through fsspec, by the same rules.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import translate
from pathlib import Path

from fdetect.addresses import is_address, join, masked
from fdetect.engine.filesystems import remote_folder
from fdetect.errors import DataError

__all__ = ["IMAGE_EXTENSIONS", "PassedOver", "as_text", "extension_of", "in_words", "shown", "walk"]

IMAGE_EXTENSIONS = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".jp2", ".avif"))

PassedOver = Counter[tuple[str, str]]  # ("file" | "folder" | "member", what) -> how many were left out

_PIECE = 65536  # names yielded at a time, at most
_SHOWN = 8  # kinds of things passed over that are spelt out; the rest are counted


def walk(
    folder: str | Path,
    passed_over: PassedOver,
    *,
    extensions: frozenset[str] = IMAGE_EXTENSIONS,
    pattern: Sequence[str] = (),
) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Yield (names of the folders below `folder`, names of files in there) so that all paths come in byte order.

    A folder comes in as many pieces as that order needs.  Linked folders are not entered (a loop of links would
    never end).  Names are text: bytes that are not UTF-8 are shown as `\\x..`.

    passed_over  counts are added: files that are hidden or have another extension, folders that are linked or hidden
    extensions   in lower case, of the files that are wanted
    pattern      one glob a level, or `**`; only what matches is looked at, and a folder that does is walked whole

    Raises DataError naming a folder that cannot be listed.
    """
    glob = _Glob(pattern)
    stack = [_Folder((), os.fspath(folder), glob.start)]
    while stack:
        here = stack[-1]
        names: list[str] = []
        below: _Folder | None = None
        while here.entries and below is None and len(names) < _PIECE:
            entry = here.entries.pop()
            is_folder, name = entry.endswith("/"), entry.removesuffix("/")
            reached = glob.step(here.reached, name, is_folder)
            if not reached or (not is_folder and glob.end not in reached):
                continue
            extension = extension_of(name)
            if name in here.linked:
                passed_over["folder", "linked"] += 1
            elif name.startswith(".") and glob.end in here.reached:
                passed_over["folder" if is_folder else "file", "hidden"] += 1
            elif is_folder:
                path = join(here.path, here.raw.get(name, name))
                below = _Folder((*here.parts, name), path, reached)
            elif extension in extensions:
                names.append(name)
            else:
                passed_over["file", extension or "without extension"] += 1
        if names:
            yield here.parts, names
        if below:
            stack.append(below)
        elif not here.entries:
            stack.pop()


def in_words(passed_over: PassedOver) -> str:
    """Say what was passed over: `3 other files passed over: 2 .txt, 1 hidden; 1 other folder not entered: 1 linked`."""
    texts = []
    for kind, words in (("file", "passed over"), ("folder", "not entered"), ("member", "passed over")):
        counts = Counter({name: n for (of, name), n in passed_over.items() if of == kind and n})
        if counts:
            total = counts.total()
            spelt = sorted(counts.most_common(_SHOWN))
            names = ", ".join(f"{n} {shown(name)}" for name, n in spelt)
            more = f" and {total - sum(n for _, n in spelt)} more" * (len(counts) > _SHOWN)
            texts.append(f"{total} other {kind}{'s' * (total != 1)} {words}: {names}{more}")
    return "; ".join(texts)


def extension_of(name: str) -> str:
    """Return a name's extension in lower case, with its dot."""
    return os.path.splitext(name)[1].lower()


def as_text(name: str) -> str:
    """Return a name of the file system as text that any table can hold: bytes that are not UTF-8 become `\\x..`."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace")


def shown(text: str) -> str:
    """Return a name as a message shows it: no credentials; quoted where it is empty or does not print in one line."""
    text = masked(text)
    return text if text and text.isprintable() else repr(text)


class _Glob:
    """How far into a pattern a path has come, as a set of levels; where that holds `end`, all below is wanted."""

    def __init__(self, pattern: Sequence[str]) -> None:
        self.levels = [(glob, re.compile(translate(glob))) for glob in pattern]
        self.end = len(pattern)
        self.start = self._and_behind_stars({0})

    def step(self, reached: frozenset[int], name: str, is_folder: bool) -> frozenset[int]:
        if self.end in reached:
            return reached
        after = set()
        for level in reached:
            glob, regex = self.levels[level]
            if name.startswith(".") and not glob.startswith("."):
                continue
            if glob != "**" and regex.match(name):
                after.add(level + 1)
            elif glob == "**" and is_folder:
                after.add(level)
        return self._and_behind_stars(after)

    def _and_behind_stars(self, reached: set[int]) -> frozenset[int]:
        for level, (glob, _) in enumerate(self.levels):
            if glob == "**" and level in reached:  # no folder at all matches it too
                reached.add(level + 1)
        return frozenset(reached)


class _Folder:
    """A folder on the way down, with the entries that are still to come, the next one last."""

    def __init__(self, parts: tuple[str, ...], path: str, reached: frozenset[int]) -> None:
        self.parts, self.path, self.reached = parts, path, reached
        self.entries: list[str] = []  # a folder with a slash behind it, so that they sort as whole paths do
        self.linked: set[str] = set()
        self.raw: dict[str, str] = {}  # what a name that is not UTF-8 is called on disk
        try:
            for entry, is_folder, is_link in remote_folder(path).entries() if is_address(path) else _local(path):
                name = as_text(entry)
                if name != entry:
                    self.raw[name] = entry
                if is_folder and is_link:
                    self.linked.add(name)
                self.entries.append(f"{name}/" if is_folder else name)
        except (OSError, DataError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise DataError(f"{shown(path)}: the folder cannot be listed ({why}); check its permissions") from None
        self.entries.sort(reverse=True)


def _local(path: str) -> Iterator[tuple[str, bool, bool]]:
    """Yield of each entry: its name, whether it is a folder or leads to one, and whether it is a link."""
    with os.scandir(path) as found:
        for entry in found:
            is_link = entry.is_symlink()
            yield entry.name, entry.is_dir(follow_symlinks=False) or (is_link and os.path.isdir(entry.path)), is_link
