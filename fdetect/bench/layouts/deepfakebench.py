"""DeepfakeBench's lists, and DF40's: JSON files of videos and their frames."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from fdetect.bench.layouts.base import SPLITS, layout
from fdetect.bench.layouts.lists import JsonList, Row
from fdetect.errors import DataError
from fdetect.splits import join_same_content

__all__ = ["DeepfakeBench"]

_FAKES = frozenset(("faceshifter", "ff-df", "ff-f2f", "ff-fs", "ff-nt", "ff-fh", "ff-sh"))  # that do not say so

_OF_PAIR = re.compile(r"FaceForensics\+\+/(\d{3})(?:_(\d{3}))?")  # an original, or a fake of two
_OF_CELEB = re.compile(r"(Celeb-DF[^/]*/id\d+)(?:_id\d+)?(_\d+)", re.IGNORECASE)  # a video, or another face in it


@layout(name="deepfakebench")
@dataclass(frozen=True)
class DeepfakeBench(JsonList):
    """A JSON file of one data set of faces, or a folder of them.

        <set>.json                  {<set>: {<label>: {train|val|test: {[c23|c40|raw:] {<video>: {"frames": [...]}}}}}}
        <root>/<frame>              each image, relative to --root, else to the folder of the list

    A label is real where its name has the word real (FF-real, Celeb-real), fake where it has the word fake or is one
    of FaceForensics++ (FF-DF, FF-F2F, FF-FS, FF-NT, FF-FH, FaceShifter); others need label_names.  generator = label
    of fakes, real_source = <set>.  Further columns: video, and compression where there is such a level.
    group = <set>/<video>: frames of a video are one group.  In FaceForensics++ a fake is called by its two originals
    (033_097), so both of these and all fakes of them are one; in Celeb-DF a fake (id0_id1_0000) is one with the video
    that its face was put into (id0_0000).
    Beware: paths have backslashes, which are read as slashes; several files share the same reals, and some sets list a
    frame under train and test: one row each, of the test where it is in the test (the reading counts them).

    Source: Yan et al. 2023, "DeepfakeBench", NeurIPS datasets and benchmarks, `preprocessing/rearrange.py` of its code;
    Yan et al. 2024, "DF40", for more of the same.
    """

    title: ClassVar[str] = "DeepfakeBench"
    begins: ClassVar[re.Pattern[str]] = re.compile(r'\s*(\{\s*"[^"]*"\s*:\s*){2}\{\s*"' + f'({"|".join(SPLITS)})"')

    def is_one(self, content: Any) -> bool:
        """Whether it is sets of labels of splits."""
        if not _are_objects(content):
            return False
        labels = [label for one in content.values() for label in one.values()]
        return bool(labels) and all(_are_objects(one) and one and one.keys() <= SPLITS.keys() for one in labels)

    def rows_of(self, content: Any, file: Path) -> list[Row]:
        """Return a row for each frame, with its video as group."""
        return [
            {
                "path": frame.replace("\\", "/"),
                "label": str(label),
                "generator" if label else "real_source": name if label else _set(of),
                "group": f"{_set(of)}/{video}",
                "split": SPLITS[split],
                "video": video,
                "compression": compression,
            }
            for of, labels in content.items()
            for name, splits in labels.items()
            for label in [self._label(name, file)]
            for split, videos in splits.items()
            for video, compression, frames in _videos(videos, file)
            for frame in frames
        ]

    def joined(self, rows: list[Row]) -> list[Row]:
        """Join the groups of FaceForensics++ and Celeb-DF that share an original."""
        known: dict[str, list[str]] = {}
        for group in {row["group"]: None for row in rows}:
            if pair := _OF_PAIR.fullmatch(group):
                known[group] = [name for name in pair.groups() if name]
            elif celeb := _OF_CELEB.fullmatch(group):
                known[group] = ["".join(celeb.groups())]
        pairs = [(group, name) for group, names in known.items() for name in names]
        joined = join_same_content([group for group, _ in pairs], [name for _, name in pairs])
        groups = dict(zip((group for group, _ in pairs), joined, strict=True))
        return [{**row, "group": str(groups.get(row["group"], row["group"]))} for row in rows]

    def _label(self, name: str, file: Path) -> int:
        given = {str(key).lower(): label for key, label in (self.label_names or {}).items()}
        words = re.split(r"[\W_]+", name.lower())
        if name.lower() in given:
            return given[name.lower()]
        if ("real" in words) != (any(word.startswith("fake") for word in words) or name.lower() in _FAKES):
            return 0 if "real" in words else 1
        raise DataError(
            f"{file}: whether label '{name}' is real or fake is not known; rename it in the list, or use "
            f"read_manifest(..., label_names={{'{name}': 1}}) in Python"
        )


def _are_objects(content: Any) -> bool:
    return isinstance(content, dict) and all(isinstance(one, dict) for one in content.values())


def _set(name: str) -> str:
    """Return the set that a list is of: FaceForensics++ has lists by method and by compression."""
    is_ff = name.lower().startswith(("ff-", "faceforensics", "faceshifter"))
    return "FaceForensics++" if is_ff else name


def _videos(level: dict[str, Any], file: Path, compression: str = "") -> Iterator[tuple[str, str, list[str]]]:
    """Yield video, compression and frames, through the level of compressions where there is one."""
    for name, value in level.items():
        if not isinstance(value, dict):
            raise DataError(f"{file}: '{name}' holds no frames; each video needs an object with \"frames\"")
        if isinstance(frames := value.get("frames"), list):
            if wrong := [one for one in frames if not isinstance(one, str)]:
                raise DataError(f"{file}: '{name}' has the frame {str(wrong[0])[:60]}; each frame is a path in quotes")
            yield name, compression, frames
        else:
            yield from _videos(value, file, name)
