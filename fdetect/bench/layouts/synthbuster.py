"""Synthbuster: nine generators, each asked for the photographs of RAISE-1k."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

from fdetect.bench.layouts.base import TreeLayout, has_labels_below, layout, split_first
from fdetect.types import FAKE, REAL, Record

__all__ = ["Synthbuster", "raise_id"]

_RAISE = frozenset(("real_raise_1k", "raise-1k", "raise_1k", "raise1k", "raise"))
_GENERATORS = {
    **{name: name for name in ("dalle2", "dalle3", "firefly", "glide", "midjourney-v5")},
    **{f"{sd}-{of}": f"sd-{of}" for sd in ("sd", "stable-diffusion") for of in ("1-3", "1-4", "2", "xl")},
}


@layout(name="synthbuster")
@dataclass(frozen=True)
class Synthbuster(TreeLayout):
    """A folder for each generator of Synthbuster, and the photographs of RAISE-1k where they are there.

        [train|val|test/]
          <generator>/*.png         dalle2, dalle3, firefly, glide, midjourney-v5, sd-1-3, sd-1-4, sd-2, sd-xl (also
                                    stable-diffusion-1-3 and so on): generator in the short spelling
          real_RAISE_1k/*           real_source = "raise"; also RAISE-1k

    group = the number of the RAISE photograph that both a fake and its real are called by (r05839451t): a photograph
    and the nine fakes made after it are one group, on one side of every split and counted once in intervals.
    Beware: a file with another name has no group.  Generators keep their own sizes and the photographs theirs, which
    the audit says.  The release has no split and is for testing.

    Source: Bammey 2023, "Synthbuster: towards detection of diffusion model generated images", IEEE OJSP; the real
    folder is that of the lists of Cozzolino et al. 2024 (ClipBased-SyntheticImageDetection).
    """

    title: ClassVar[str] = "Synthbuster"

    def locate(self, folder: tuple[str, ...], given: str) -> Record | None:
        """Place a folder by the first level below its split."""
        split, names = split_first(folder)
        name = names[0].lower() if names else ""
        if name in _RAISE:
            return Record("", REAL, real_source="raise", split=split)
        return Record("", FAKE, generator=_GENERATORS[name], split=split) if name in _GENERATORS else None

    def groups(self, record: Record, images: Sequence[str]) -> list[str]:
        """Return the numbers of the photographs."""
        return [raise_id(image) for image in images]

    def reading(self, places: Mapping[tuple[str, ...], Record], path: Path) -> str | None:
        """Return the reading where there are two of its folders, none of them with labels inside."""
        if len(places) < 2 or all(r.label == REAL for r in places.values()) or has_labels_below(path, places):
            return None
        alone = all(record.label == FAKE for record in places.values())
        return f"{super().reading(places, path)}{', without its reals: put real_RAISE_1k beside them' if alone else ''}"


def raise_id(name: str) -> str:
    """Return the number of the RAISE photograph that a file is called by, or ""."""
    stem = PurePosixPath(name).stem.lower()
    return stem if re.fullmatch(r"r[0-9a-f]{8}t", stem) else ""
