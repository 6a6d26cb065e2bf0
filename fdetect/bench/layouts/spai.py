"""SPAI's lists: one CSV for each set of fakes, and one for each source of reals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fdetect.bench.layouts.base import layout
from fdetect.bench.layouts.lists import ListLayout, Row
from fdetect.bench.layouts.manifest import LABEL_NAMES
from fdetect.types import REAL

__all__ = ["SPAI"]


@layout(name="spai")
@dataclass(frozen=True)
class SPAI(ListLayout):
    """Lists with the columns image, class and split: one, or a folder of them.

        <lists>/
            <name>.csv              image,class,split: generator = <name> of class 1, real_source = <name> of class 0
        <root>/<image>              each image, relative to --root, else to the folder of the lists

    Beware: a list holds one class, so a set is a folder of several; and the published pairs are JPEG photographs
    against WebP fakes, a shortcut inside the benchmark: `fdetect data check` and the audit show formats by class.

    Source: Karageorgiou et al. 2025, "Any-resolution AI-generated image detection by spectral learning", CVPR, lists
    in the `data` folder of its code.
    """

    title: ClassVar[str] = "SPAI"
    columns: ClassVar[frozenset[str]] = frozenset(("image", "class", "split"))

    def row(self, row: Row, file: Path) -> Row:
        """Name generator or real source after the list."""
        label = row.pop("class").strip()
        named = {"real_source" if LABEL_NAMES.get(label.lower()) == REAL else "generator": file.stem}
        return {"path": row.pop("image"), "label": label, **named, **row}
