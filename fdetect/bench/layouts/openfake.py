"""OpenFake's lists: images with the model and the prompt that made them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fdetect.bench.layouts.base import SPLITS, layout, prompt_group
from fdetect.bench.layouts.lists import ListLayout, Row
from fdetect.bench.layouts.manifest import header

__all__ = ["OpenFake"]

_PATHS = ("path", "image_path", "file_path", "file_name", "filename", "image", "file")


@layout(name="openfake")
@dataclass(frozen=True)
class OpenFake(ListLayout):
    """Lists with the columns label, model and prompt: one for each split.

        <lists>/
            train.csv, test.csv     <path>,label,model,prompt[,split,...]: split = the column, else the list's name
        <root>/<path>               each image, relative to --root, else to the folder of the lists

    <path> is the first of the columns path, image_path, file_path, file_name, filename, image and file.  generator =
    model, of fakes.  group = the prompt (its hash): one prompt was given to several models, and real images were
    captioned with prompts, so that images of one prompt stay together.  A list with a column `generator` is a manifest.
    Beware: paths are relative to wherever the images were unpacked: give --root.

    Source: Livernoche et al. 2025, "OpenFake" (arXiv 2509.09495), data card.
    """

    title: ClassVar[str] = "OpenFake"
    columns: ClassVar[frozenset[str]] = frozenset(("label", "model", "prompt"))

    def fits(self, file: Path) -> bool:
        """Whether a file has these columns and one of paths, and is no manifest."""
        names = set(header(file))
        return self.columns <= names and "generator" not in names and bool(names & set(_PATHS))

    def row(self, row: Row, file: Path) -> Row:
        """Read the generator from model, the group from prompt."""
        path = row.pop(next((name for name in _PATHS if name in row), "path"), "")
        label, model = row.pop("label"), row.pop("model")
        named = {"generator": model} if label.strip().lower() in ("fake", "1") else {}
        split = row.pop("split", "") or SPLITS.get(file.stem.lower(), "")
        return {"path": path, "label": label, "group": prompt_group(row["prompt"]), "split": split, **named, **row}
