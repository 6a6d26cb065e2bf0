"""The lists of GRIP's detectors: a CSV of file names with their kind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fdetect.bench.layouts.base import layout
from fdetect.bench.layouts.lists import ListLayout, Row
from fdetect.bench.layouts.manifest import header
from fdetect.bench.layouts.synthbuster import raise_id

__all__ = ["GRIP"]


@layout(name="grip")
@dataclass(frozen=True)
class GRIP(ListLayout):
    """Lists with the column filename and either typ or label: of GRIP's CLIP detector, and of B-Free's viral images.

        <lists>/
            <name>.csv              filename,typ: real, or the generator
                                    filename,label[,source_id,...]: real or fake; generator "unknown"
        <root>/<filename>           each image, relative to --root, else to the folder of the lists

    `real_source` is the folder that a real lies in.  group = source_id, of which a viral image has many copies; else
    the number of the RAISE photograph that a file of Synthbuster is called by.
    A list with a column path is a manifest, one with model and prompt is OpenFake's.
    Beware: a list of file names alone has no labels and is refused here; score it with `fdetect score --files-from`.

    Source: Cozzolino et al. 2024, "Raising the bar of AI-generated image detection with CLIP", CVPR workshops; Guillaro
    et al. 2025, "A bias-free training paradigm for more general AI-generated image detection" (B-Free), CVPR.
    """

    title: ClassVar[str] = "GRIP"
    columns: ClassVar[frozenset[str]] = frozenset(("filename",))

    def fits(self, file: Path) -> bool:
        """Whether a file has the column filename and one that says what each is, and is no list of another kind."""
        names = set(header(file))
        is_other = "path" in names or {"model", "prompt"} <= names
        return self.columns <= names and bool({"typ", "label"} & names) and not is_other

    def row(self, row: Row, file: Path) -> Row:
        """Read the kind of an image from typ, else its label."""
        path, kind = row.pop("filename"), row.pop("typ", "").strip()
        label = row.pop("label", "").strip() or ("real" if kind.lower() == "real" else "fake" if kind else "")
        source = path.replace("\\", "/").rpartition("/")[0].rpartition("/")[2]
        is_real = label.lower() in ("real", "0")
        named = {"real_source": source} if is_real else {"generator": kind}
        known = {"group": row.get("source_id") or raise_id(path), **named, **row}
        return {**known, "path": path, "label": label}  # by force, where the list has a column path too
