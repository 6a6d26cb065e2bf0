"""CocoGlide: COCO photographs, each with a copy that GLIDE painted into, and the mask of what it painted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

import pyarrow as pa

from fdetect.bench.layouts.base import FolderLayout, layout, path_prefix
from fdetect.bench.layouts.listed import listing
from fdetect.engine.walk import walk
from fdetect.errors import DataError
from fdetect.types import FAKE, REAL, Record, Table

__all__ = ["CocoGlide"]


@layout(name="cocoglide")
@dataclass(frozen=True)
class CocoGlide(FolderLayout):
    """Folders real, fake and mask of CocoGlide, or of other pairs with masks.

        real/*                      real_source = "coco"
        fake/*                      generator = "glide"
        mask/*                      no rows: the further column `mask` of a fake is the path of its mask

    group = what the names of a photograph, its fake and its mask share: the number of the COCO image in
    `dining table_114871.png`, `glide_inpainting_val2017_114871_up.png` and `dining table_114871_mask.png`, else the
    name without extension and `_mask`.
    Beware: the three names are not equal, so pairs by name alone find nothing; and masks are images in a folder beside
    labels, which must not be scored.  A fake without mask has an empty `mask`; two masks for one name are refused.

    Source: Guillaro et al. 2023, "TruFor", CVPR, data release.
    """

    title: ClassVar[str] = "CocoGlide"
    refines: ClassVar[str] = "real_fake"
    classes: ClassVar[dict[str, int]] = {"real": REAL, "fake": FAKE}

    def place(self, above: tuple[str, ...], label: int, below: tuple[str, ...], given: str) -> Record | None:
        """Place an image; None where anything lies above or below real and fake."""
        if above or below:
            return None
        return Record("", REAL, real_source="coco") if label == REAL else Record("", FAKE, generator="glide")

    def groups(self, record: Record, images: Sequence[str]) -> list[str]:
        """Return what the names share."""
        return [_pair(image) for image in images]

    def aside(self, folder: tuple[str, ...]) -> str:
        """Name the masks."""
        return "masks" if folder and folder[0].lower() == "mask" else super().aside(folder)

    def reading(self, places: Mapping[tuple[str, ...], Record], path: Path) -> str | None:
        """Return the reading where there are real, fake and mask."""
        if {folder[-1].lower() for folder in places} != {"real", "fake"} or _mask_folder(path) is None:
            return None
        return f"{self.title}: fake/real with masks"

    def read(self, path: Path) -> Table:
        """Read the tree as every layout of folders, and give every fake its mask."""
        table = super().read(path)
        masks: dict[str, str] = {}
        prefix, folder = path_prefix(path, self.root), _mask_folder(path)
        for below, names in walk(folder, Counter()) if folder else ():
            for name in names:
                mask = "/".join((*prefix, folder.name if folder else "", *below, name))
                if (known := masks.setdefault(_pair(name), mask)) != mask:
                    raise DataError(f"{path}: {known} and {mask} are masks of one image; keep one")
        column = [
            masks.get(group, "") if label == FAKE else ""
            for group, label in zip(table.column("group").to_pylist(), table.column("label").to_pylist(), strict=True)
        ]
        return table.append_column("mask", pa.array(column, pa.string()))


def _mask_folder(path: Path) -> Path | None:
    return next((path / name for name in listing(path).folders if name.lower() == "mask"), None)


def _pair(name: str) -> str:
    """Return what a photograph, its fake and its mask have in common in their names."""
    stem = re.sub(r"_mask$", "", PurePosixPath(name).stem, flags=re.IGNORECASE)
    number = re.search(r"^glide_inpainting_val2017_(\d+)_up$|^[a-z ]+_(\d+)$", stem)
    return (number[1] or number[2]) if number else stem
