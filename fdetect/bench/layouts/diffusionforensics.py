"""DiffusionForensics: a folder for each generator beside the reals it is compared with, and maps that are no images."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fdetect.bench.layouts.base import TreeLayout, has_labels_below, layout, split_first
from fdetect.types import FAKE, REAL, Record

__all__ = ["DiffusionForensics"]

_MADE = {"dire": "DIRE maps", "recons": "reconstructions"}  # folders beside `images`
_GENERATORS = frozenset((
    "adm", "dalle2", "ddpm", "diffprojectedgan", "diffstylegan", "iddpm", "if", "ldm", "midjourney", "pndm",
    "projectedgan", "sdv1", "sdv2", "stylegan", "vqdiffusion",
))  # fmt: skip


@layout(name="diffusionforensics")
@dataclass(frozen=True)
class DiffusionForensics(TreeLayout):
    """Folders real and <generator> below each data set of DiffusionForensics (DIRE).

        [images/]
            train|val|test/
                <set>/              imagenet, lsun_bedroom, celebahq: category = <set>
                    real/**         real_source = <set>
                    <generator>/**  adm, ddpm, iddpm, ldm, pndm, sdv1 (sdv1_new), sdv2, if, dalle2, midjourney,
                                    vqdiffusion, stylegan, projectedgan, diff-stylegan, diff-projectedgan
        dire/, recons/              maps and reconstructions that were computed of them: never read

    Beware: the release has the same tree three times, and the DIRE maps of `dire/` look like images with labels.  A
    detector that is given them is given the answer of another; they are counted and left out, and a folder called
    dire or recons is no data set here.  Only generators of the release, in any spelling, are taken for fakes: other
    folders beside them (masks, backup) are counted and left out.

    Source: Wang et al. 2023, "DIRE for diffusion-generated image detection", ICCV, data release.
    """

    title: ClassVar[str] = "DiffusionForensics"

    def locate(self, folder: tuple[str, ...], given: str) -> Record | None:
        """Place a folder by its split, set and generator; None inside dire and recons."""
        if self.aside(folder) in _MADE.values() or given.lower() in _MADE:
            return None
        split, names = split_first(folder[1:] if folder[0].lower() == "images" else folder)
        if not split or len(names) < 2:
            return None
        if names[1].lower() == "real":
            return Record("", REAL, real_source=names[0], category=names[0], split=split)
        name = re.sub(r"[\W_]|new\d*$", "", names[1].lower())
        return Record("", FAKE, generator=names[1], category=names[0], split=split) if name in _GENERATORS else None

    def aside(self, folder: tuple[str, ...]) -> str:
        """Name the maps and the reconstructions."""
        return _MADE.get(folder[0].lower() if folder else "", super().aside(folder))

    def reading(self, places: Mapping[tuple[str, ...], Record], path: Path) -> str | None:
        """Return the reading where every set has reals beside its generators."""
        sets = {folder[:-1] for folder in places}
        with_reals = {folder[:-1] for folder, record in places.items() if record.label == REAL}
        generators = {record.generator for record in places.values() if record.generator}
        if sets != with_reals or not generators or has_labels_below(path, places):
            return None
        return f"{self.title}: real and {len(generators)} others in {len(sets)} folder{'s' * (len(sets) != 1)}"
