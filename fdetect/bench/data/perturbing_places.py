"""Where `perturb` puts the file of each picture: one place for each, found and checked before anything is written."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from pathlib import PurePosixPath

from fdetect.engine.sources import split_member
from fdetect.errors import DataError

__all__ = ["OUTSIDE", "OWN_FILES", "places_of"]

OWN_FILES = ("manifest.csv", "images.csv", "failures.csv", "perturb.json")
OUTSIDE = "the member's name leads out of its shard; rename it there"  # why a picture has no place

_JPEG = (".jpg", ".jpeg")
_LONGEST = 255  # bytes of a name


def places_of(paths: Sequence[str], *, native: bool) -> list[str]:
    """Return where the file of each path goes, relative to the folder of its condition.

    Empty for a member whose name leads out of its shard: whoever made the shard must not stop all the others.  Raises
    DataError for a path outside the root, for a place that two paths would take, that would be a folder too or one of
    OWN_FILES, and for a name that is too long.
    """
    places = [_place(path, native) for path in paths]
    taken: dict[str, str] = {}
    folders: dict[str, str] = {}
    for path, place in zip(paths, places, strict=True):
        if not place:
            continue
        parts = place.split("/")
        if parts[0].lower() in OWN_FILES:
            raise DataError(f"{path}: its place would be {place}, and {parts[0]} is a file of perturb's own; rename it")
        if (n := max(len(os.fsencode(part)) for part in parts)) > _LONGEST:
            raise DataError(f"{path}: its place would have a name of {n} bytes, and files have {_LONGEST} at most; "
                            "rename it")  # fmt: skip
        if place in taken:
            raise DataError(f"{path} and {taken[place]} would both become {place}; rename one of them")
        taken[place] = path
        folder = posixpath.dirname(place)
        while folder and folder not in folders:
            folders[folder] = path
            folder = posixpath.dirname(folder)
    for place, path in taken.items():
        if place in folders:
            raise DataError(f"{path} would become the file {place}, which is the folder of {folders[place]}; rename "
                            "one of them")  # fmt: skip
    return places


def _place(path: str, native: bool) -> str:
    shard, member = split_member(path) or (path, "")
    if shard.startswith("/") or ".." in PurePosixPath(shard).parts:
        raise DataError(f"{path}: its place would lie outside the output; give --root a folder above all images")
    if ".." in PurePosixPath(member).parts:
        return ""
    place = str(PurePosixPath(shard, member.lstrip("/")))
    return place if native or place.lower().endswith(_JPEG) else f"{place}.jpg"
