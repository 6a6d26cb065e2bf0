"""CIFAKE: 32-px photographs of CIFAR-10 against Stable Diffusion's, too small for most of what is measured here."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fdetect.bench.layouts.base import layout, split_first
from fdetect.bench.layouts.listed import listing
from fdetect.bench.layouts.real_fake import RealFake
from fdetect.errors import DataError
from fdetect.images import read_facts
from fdetect.types import REAL, Record

__all__ = ["CIFAKE"]

_SIDE = 32


@layout(name="cifake")
@dataclass(frozen=True)
class CIFAKE(RealFake):
    """Folders REAL and FAKE of CIFAKE, images of 32 x 32 px.

        train|test/
            REAL/*.jpg              real_source = "cifar10"
            FAKE/*.jpg              generator = "sd-1-4"

    A tree is taken for this set where the folders are spelt so, in train or test, with no folders inside, and the first
    image has 32 px a side.
    Beware: sorted order, which `ImageFolder` follows, makes FAKE 0; the label comes from the name here.  Exact
    duplicates across the splits are reported by others (`fdetect data check` finds them), and no image is large enough
    for a crop of 64 px: `bench` needs images of at least that size, which the check says too.

    Source: Bird and Lotfi 2024, "CIFAKE: image classification and explainable identification of AI-generated synthetic
    images", IEEE Access 12.
    """

    title: ClassVar[str] = "CIFAKE"
    refines: ClassVar[str] = "real_fake"

    def place(self, above: tuple[str, ...], label: int, below: tuple[str, ...], given: str) -> Record | None:
        """Place an image; None where anything but a split lies above REAL or FAKE, or anything below."""
        split, others = split_first(above)
        if others or below:
            return None
        if label == REAL:
            return Record("", REAL, real_source="cifar10", split=split)
        return Record("", label, generator="sd-1-4", split=split)

    def reading(self, places: Mapping[tuple[str, ...], Record], path: Path) -> str | None:
        """Return the reading where both folders are spelt in capitals and the first image is of CIFAKE's size."""
        first = min(places)
        if {folder[-1] for folder in places} != {"REAL", "FAKE"} or not all(r.split for r in places.values()):
            return None
        if self.has_others(places, path) or any(listing(path.joinpath(*one)).folders for one in places):
            return None
        folder = path.joinpath(*first)
        with contextlib.suppress(DataError, OSError):
            facts = read_facts((folder / listing(folder).image).read_bytes())
            if (facts.width, facts.height) == (_SIDE, _SIDE):
                return super().reading(places, path)
        return None
