"""UnivFD's diffusion sets: reals in folders of their own, whose fakes must be told which ones are theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from fdetect.bench.layouts.base import layout
from fdetect.bench.layouts.forensynths import ForenSynths
from fdetect.types import Record, Table

__all__ = ["UnivFD"]

_REALS = {
    "guided": "imagenet", "ldm_200": "laion", "ldm_200_cfg": "laion", "ldm_100": "laion", "glide_100_27": "laion",
    "glide_50_27": "laion", "glide_100_10": "laion", "dalle": "laion",
}  # fmt: skip


@layout(name="univfd")
@dataclass(frozen=True)
class UnivFD(ForenSynths):
    """The diffusion sets of UnivFD, with the reals that each set of fakes is compared with.

        imagenet/0_real/*           real_source = "imagenet"
        laion/0_real/*              real_source = "laion"
        <generator>/1_fake/*        guided, ldm_200, ldm_200_cfg, ldm_100, glide_100_27, glide_50_27, glide_100_10,
                                    dalle
        <generator>/0_real/*        in copies that keep each pair in one folder: real_source = the set it is a copy of

    The further column `reals` names the set that fakes are compared with: imagenet for guided, laion for all others.
    Beware: eight sets of fakes share two sets of reals.  In copies with each pair in one folder the same reals stand
    there up to seven times; equal content is one group, so no interval counts them as independent, and
    `fdetect data check` counts them.

    Source: Ojha et al. 2023, "Towards universal fake image detectors that generalize across generative models", CVPR;
    the pairs are those of `dataset_paths.py` in its code.
    """

    title: ClassVar[str] = "UnivFD diffusion sets"
    refines: ClassVar[str] = "forensynths"

    def place(self, above: tuple[str, ...], label: int, below: tuple[str, ...], given: str) -> Record | None:
        """Place an image as ForenSynths does; reals in a generator's folder are of the set that it is paired with."""
        record = super().place(above, label, below, given)
        source = record and record.real_source.lower()
        return record and replace(record, real_source=_REALS.get(source or "", record.real_source))

    def reading(self, places: Mapping[tuple[str, ...], Record], path: Path) -> str | None:
        """Return the reading where every folder is one of the sets and one of them is of no other data set."""
        fakes = {record.generator.lower() for record in places.values() if record.generator}
        reals = {record.real_source.lower() for record in places.values() if record.real_source}
        if not fakes - {"dalle"} or not fakes <= _REALS.keys() or not reals <= set(_REALS.values()):
            return None
        absent = sorted({_REALS[name] for name in fakes} - reals)
        return f"{super().reading(places, path)}{f', without the reals of {absent[0]}' if absent else ''}"

    def read(self, path: Path) -> Table:
        """Read the tree as every layout of folders, and name the reals of each fake."""
        table = super().read(path)
        reals = [_REALS.get(name.lower(), "") for name in table.column("generator").to_pylist()]
        return table.append_column("reals", pa.array(reals, pa.string()))
