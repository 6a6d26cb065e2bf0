"""ForensicHub's lists: JSON arrays of paths and labels."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from fdetect.bench.layouts.base import layout
from fdetect.bench.layouts.lists import JsonList, Row
from fdetect.errors import DataError

__all__ = ["ForensicHub"]


@layout(name="forensichub")
@dataclass(frozen=True)
class ForensicHub(JsonList):
    """A JSON array of objects with path and label.

        <list>.json                 [{"path": "images/1.png", "label": 1}, ...]: 0 real, 1 fake
        <root>/<path>               each image, relative to --root, else to the folder of the list

    Further keys whose values are plain stay as columns; those with the name of a manifest's column count as such.
    Beware: nothing says which generator made a fake ("unknown" here), so that no generator can be left out, and paths
    are often absolute and of another machine: give --root a folder above them, or edit the list.

    Source: Du et al. 2025, "ForensicHub" (arXiv 2505.11003), `JsonDataset` of its code.
    """

    title: ClassVar[str] = "ForensicHub"
    begins: ClassVar[re.Pattern[str]] = re.compile(r'\s*\[\s*\{(?=[^}]*"path")(?=[^}]*"label")')

    def is_one(self, content: Any) -> bool:
        """Whether it is a list of objects with path and label."""
        return isinstance(content, list) and bool(content) and all(
            isinstance(one, dict) and {"path", "label"} <= one.keys() for one in content
        )  # fmt: skip

    def rows_of(self, content: Any, file: Path) -> list[Row]:
        """Return the plain values of each object as text; raises DataError naming a path or label that is none."""
        plain = (str, int, float)
        for k, one in enumerate(content, start=1):
            if not isinstance(one["path"], str) or not isinstance(one["label"], plain):
                name = "label" if isinstance(one["path"], str) else "path"
                raise DataError(
                    f"{file}: data row {k}: the {name} is {json.dumps(one[name])[:60]}; correct or remove it"
                )
        return [{key: str(value) for key, value in one.items() if isinstance(value, plain)} for one in content]
