"""Faces: photographs beside a folder for each generator of faces."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fdetect.bench.layouts.base import TreeLayout, has_labels_below, layout, split_first
from fdetect.bench.layouts.listed import listing
from fdetect.types import FAKE, REAL, Record

__all__ = ["Faces"]

# Without case and signs.
_PHOTOGRAPHS = frozenset(("ffhq", "celeba", "celebahq", "lfw", "vggface2", "casiawebface"))
_GENERATORS = frozenset((
    "progan", "pggan", "stylegan", "stylegan2", "stylegan3", "styleganxl", "stargan", "starganv2", "attgan", "stgan",
    "relgan", "mmdgan", "sngan", "infomaxgan", "began", "vqgan", "eg3d", "ldm", "ddpm", "sfhq", "tpdne",
    "thispersondoesnotexist",
))  # fmt: skip


@layout
@dataclass(frozen=True)
class Faces(TreeLayout):
    """Photographs of faces beside one folder for each generator of faces.

        [train|val|test/]
            real/[<source>/]**      real_source = <source>
            <photographs>/**        ffhq, celeba, celeba-hq, lfw, vggface2: real_source = <photographs>
            <generator>/**          stylegan2, pggan, stargan, stgan, eg3d, ddpm, ...: generator = <generator>

    Names count without case and signs (StyleGAN-2 is stylegan2).
    Beware: no folder says "fake" here, so only generators that are known by name are read; a folder called otherwise
    (backup, masks) is counted and left out, never taken for fakes.  For other generators put them into
    fake/<generator>/ (layout real_fake).  Faces are often aligned and resized, and one person may be in many images:
    give `group` in a manifest where you know them.
    """

    title: ClassVar[str] = "faces"
    refines: ClassVar[str] = "real_fake"  # which would read the photographs alone

    def locate(self, folder: tuple[str, ...], given: str) -> Record | None:
        """Place a folder by the first level below its split."""
        split, names = split_first(folder)
        name = re.sub(r"[\W_]", "", names[0].lower()) if names else ""
        if name == "real":
            return Record("", REAL, real_source=names[1] if len(names) > 1 else "", split=split)
        if name in _PHOTOGRAPHS:
            return Record("", REAL, real_source=names[0], split=split)
        return Record("", FAKE, generator=names[0], split=split) if name in _GENERATORS else None

    def reading(self, places: Mapping[tuple[str, ...], Record], path: Path) -> str | None:
        """Return the reading where there are photographs and generators, no folder fake, and no labels inside."""
        one_class = len({record.label for record in places.values()}) < 2
        beside = {name.lower() for one in places for name in listing(path.joinpath(*one[:-1])).folders}
        if one_class or "fake" in beside or has_labels_below(path, places):
            return None
        return f"{self.title}: {', '.join(sorted({folder[-1] for folder in places}))}"
