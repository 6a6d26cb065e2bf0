"""AIGCDetectBenchmark: ForenSynths' folders, whose names are spelt in another way on every mirror."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from fdetect.bench.layouts.base import layout
from fdetect.bench.layouts.forensynths import ForenSynths
from fdetect.types import Record

__all__ = ["AIGCDetect"]

# Name here -> how it is spelt elsewhere, without case and signs.
_OWN = {
    "adm": ("adm", "guideddiffusion"),
    "glide": ("glide",),
    "midjourney": ("midjourney", "mj"),
    "sd-1-4": ("sd14", "sdv14", "stablediffusionv14", "stablediffusion14"),
    "sd-1-5": ("sd15", "sdv15", "stablediffusionv15", "stablediffusion15"),
    "sd-xl": ("sdxl", "stablediffusionxl"),
    "vqdm": ("vqdm", "vqdiffusion"),
    "wukong": ("wukong",),
    "dalle2": ("dalle2",),
}
_SHARED = ("progan", "stylegan", "stylegan2", "biggan", "cyclegan", "stargan", "gaugan", "whichfaceisreal")

_NAMES = {spelling: name for name, spellings in _OWN.items() for spelling in spellings}
_NAMES |= {name: name for name in _SHARED} | {"wfir": "whichfaceisreal"}


@layout(name="aigcdetect")
@dataclass(frozen=True)
class AIGCDetect(ForenSynths):
    """Folders 0_real and 1_fake below each of the 16 or 17 generators of AIGCDetectBenchmark, however spelt.

        [train|val|test/]
            <generator>/            ADM, Glide, Midjourney, stable_diffusion_v_1_4, SDv1.5, VQDM, wukong, DALLE2, ...
                0_real/*            real_source = <generator>, in one spelling
                1_fake/*            generator = <generator>, in one spelling
                <class>/            as in ForenSynths, for progan, cyclegan, stylegan and stylegan2

    A tree is taken for this set where every generator is one of its own and one at least is not in ForenSynths.
    Beware: case and spelling differ by mirror, so names are compared without case and signs and written in one way
    (sd-1-4, dalle2); otherwise the same generator under two spellings would be two, one of them "unseen".

    Source: Zhong et al. 2023, "PatchCraft" (arXiv 2311.12397), data release of AIGCDetectBenchmark.
    """

    title: ClassVar[str] = "AIGCDetectBenchmark"
    refines: ClassVar[str] = "forensynths"

    def place(self, above: tuple[str, ...], label: int, below: tuple[str, ...], given: str) -> Record | None:
        """Place an image as ForenSynths does, under the generator's name in one spelling."""
        record = super().place(above, label, below, given)
        return record and replace(record, generator=_name(record.generator), real_source=_name(record.real_source))

    def reading(self, places: Mapping[tuple[str, ...], Record], path: Path) -> str | None:
        """Return the reading where all generators are known and one of them is not in ForenSynths."""
        names = {record.generator or record.real_source for record in places.values()}
        if not names & _OWN.keys() or not names <= {*_OWN, *_SHARED}:
            return None
        return super().reading(places, path)


def _name(text: str) -> str:
    return _NAMES.get(re.sub(r"[\W_]", "", text.lower()), text)
