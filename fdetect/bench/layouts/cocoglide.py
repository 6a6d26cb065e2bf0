"""CocoGlide: COCO photographs, each with a copy that GLIDE painted into, and the mask of what it painted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

import pyarrow as pa

from fdetect.bench.layouts.base import FolderLayout, layout, path_prefix, split_first
from fdetect.bench.layouts.listed import listing
from fdetect.engine.walk import walk
from fdetect.errors import DataError
from fdetect.types import FAKE, REAL, Record, Table

__all__ = ["CocoGlide"]


@layout(name="cocoglide")
@dataclass(frozen=True)
class CocoGlide(FolderLayout):
    """Folders real, fake and mask of CocoGlide, known by the names of its files.

        [train|val|test/]
            real/*                  real_source = "coco"
            fake/*                  generator = "glide"
            mask/*                  no rows: the further column `mask` of a fake is the path of its mask

    group = what the names of a photograph, its fake and its mask share: the number of the COCO image in
    `dining table_114871.png`, `glide_inpainting_val2017_114871_up.png` and `dining table_114871_mask.png`; where no
    fake bears the number, the name without extension and `_mask`.  Other pairs with masks, whose names are not these,
    are read as real_fake.
    Beware: the three names are not equal, so pairs by name alone find nothing; and masks are images in a folder beside
    labels, which must not be scored.  A fake without mask has an empty `mask`; two masks for one name are refused.

    Source: Guillaro et al. 2023, "TruFor", CVPR, data release.
    """

    title: ClassVar[str] = "CocoGlide"
    refines: ClassVar[str] = "real_fake"
    classes: ClassVar[dict[str, int]] = {"real": REAL, "fake": FAKE}

    def place(self, above: tuple[str, ...], label: int, below: tuple[str, ...], given: str) -> Record | None:
        """Place an image; None where anything but a split lies above real and fake, or anything below."""
        split, others = split_first(above)
        if others or below:
            return None
        if label == REAL:
            return Record("", REAL, real_source="coco", split=split)
        return Record("", FAKE, generator="glide", split=split)

    def aside(self, folder: tuple[str, ...]) -> str:
        """Name the masks."""
        return "masks" if _of_masks(folder) else super().aside(folder)

    def reading(self, places: Mapping[tuple[str, ...], Record], path: Path) -> str | None:
        """Return the reading where there are real, fake and mask, no folders in them, and the first fake is GLIDE's."""
        here = {folder: listing(path.joinpath(*folder)) for folder in places}
        beside = [[name.lower() for name in listing(path.joinpath(*folder[:-1])).folders] for folder in places]
        if {folder[-1].lower() for folder in places} != {"real", "fake"} or not all(
            "mask" in names for names in beside
        ):
            return None
        fakes = [here[folder].image for folder, record in places.items() if record.label == FAKE]
        if self.has_others(places, path) or any(one.folders for one in here.values()) or not all(map(_number, fakes)):
            return None
        return f"{self.title}: fake/real with masks"

    def read(self, path: Path) -> Table:
        """Read the tree as every layout of folders, pair the images, and give every fake its mask."""
        table = super().read(path)
        paths, labels = table.column("path").to_pylist(), table.column("label").to_pylist()
        painted = {_number(one) for one, label in zip(paths, labels, strict=True) if label == FAKE} - {""}
        masks: dict[str, str] = {}
        prefix = path_prefix(path, self.root)
        for folder, names in walk(path, Counter()):
            for name in names if _of_masks(folder) else ():
                mask = "/".join((*prefix, *folder, name))
                if (known := masks.setdefault(_pair(name, painted), mask)) != mask:
                    raise DataError(f"{path}: {known} and {mask} are masks of one image; keep one")
        groups = [_pair(one, painted) for one in paths]
        column = [masks.get(one, "") if label == FAKE else "" for one, label in zip(groups, labels, strict=True)]
        table = table.set_column(table.column_names.index("group"), "group", pa.array(groups, pa.string()))
        return table.append_column("mask", pa.array(column, pa.string()))


def _of_masks(folder: tuple[str, ...]) -> bool:
    _, names = split_first(folder)
    return bool(names) and names[0].lower() == "mask"


def _number(path: str) -> str:
    """Return the number of the COCO image that a fake of CocoGlide is called by, or ""."""
    found = re.fullmatch(r"glide_inpainting_val2017_(\d+)_up", PurePosixPath(path).stem)
    return found[1] if found else ""


def _pair(path: str, painted: set[str]) -> str:
    """Return what a photograph, its fake and its mask have in common: a number that a fake is `painted` under, if any.

    A number alone is no pair: cat_12 and dog_12 of somebody else's set have nothing in common.
    """
    stem = re.sub(r"_mask$", "", PurePosixPath(path).stem, flags=re.IGNORECASE)
    number = _number(path) or "".join(re.findall(r"^[a-z ]+_(\d+)$", stem))
    return number if number in painted else stem
