"""DRCT-2M: fakes made from COCO's captions, whose reals the user adds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

from fdetect.bench.layouts.base import TreeLayout, layout, split_first
from fdetect.types import FAKE, REAL, Record

__all__ = ["DRCT"]

_COCO = frozenset(("coco", "mscoco", "ms-coco", "coco2017"))
_PARTS = {"train2017": "train", "val2017": "test"}
_KNOWN = frozenset((
    "ldm-text2im-large-256", "stable-diffusion-v1-4", "stable-diffusion-v1-5", "stable-diffusion-2-1",
    "stable-diffusion-xl-base-1.0", "stable-diffusion-xl-refiner-1.0", "sd-turbo", "sdxl-turbo", "lcm-lora-sdv1-5",
    "lcm-lora-sdxl", "sd-controlnet-canny", "sd21-controlnet-canny", "controlnet-canny-sdxl-1.0",
    "stable-diffusion-inpainting", "stable-diffusion-2-inpainting", "stable-diffusion-xl-1.0-inpainting-0.1",
))  # fmt: skip


@layout(name="drct")
@dataclass(frozen=True)
class DRCT(TreeLayout):
    """The generators of DRCT-2M, with COCO 2017 beside them or above.

        [DRCT-2M/]<generator>/      the 16 models by their hub names, such as stable-diffusion-v1-4; also read alone
            train2017/*             split = "train"
            val2017/*               split = "test", as its authors test on all of it
        [MSCOCO/]                   your own copy: coco, mscoco, ms-coco, coco2017, or the folder that is read
            train2017/*             real_source = "coco"
            val2017/*
        DR/**                       reconstructions: never read

    A level train, val or test above all this is taken off: the parts of COCO are the split.

    group = the COCO image's number (twelve digits) where the file is called by it: a fake, its photograph and the
    other fakes of the same caption then stay together.
    Beware: the release has no reals, which the reading says, and stores fakes as JPEG: their history is not that of
    the generator's PNG, and not COCO's either.

    Source: Chen et al. 2024, "DRCT: diffusion reconstruction contrastive training towards universal detection of
    diffusion generated images", ICML; names and parts as in `data/dataset.py` of its code.
    """

    title: ClassVar[str] = "DRCT-2M"

    def locate(self, folder: tuple[str, ...], given: str) -> Record | None:
        """Place a folder train2017 or val2017 by the one above it."""
        split = _PARTS.get(folder[-1].lower())
        _, above = split_first(folder[:-1])
        above = above[1:] if above and above[0].lower() == "drct-2m" else above
        if split is None or len(above) > 1:
            return None
        of = above[0] if above else given
        if of.lower() in _KNOWN:
            return Record("", FAKE, generator=of, split=split)
        return Record("", REAL, real_source="coco", split=split) if not above or of.lower() in _COCO else None

    def groups(self, record: Record, images: Sequence[str]) -> list[str]:
        """Return the numbers of COCO images."""
        numbers = [re.search(r"(?<!\d)\d{12}(?!\d)", PurePosixPath(image).stem) for image in images]
        return [number[0] if number else "" for number in numbers]

    def aside(self, folder: tuple[str, ...]) -> str:
        """Name the reconstructions."""
        return "reconstructions" if folder and folder[0].lower() == "dr" else super().aside(folder)

    def reading(self, places: Mapping[tuple[str, ...], Record], path: Path) -> str | None:
        """Return the reading where there is a generator, and say whether its reals are missing."""
        generators = {record.generator for record in places.values() if record.label == FAKE}
        if not generators:
            return None
        alone = all(record.label == FAKE for record in places.values())
        add = ", without its reals: put MSCOCO/{train,val}2017 beside them" if alone else ""
        return f"{self.title}: {'/'.join(sorted({folder[-1] for folder in places}))} in {len(places)} folders{add}"
