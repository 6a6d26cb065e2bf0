"""Chameleon: a test set of fakes that deceived people, of generators that are not named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fdetect.bench.layouts.base import SPLITS, absolute, layout, split_first
from fdetect.bench.layouts.forensynths import ForenSynths
from fdetect.types import FAKE, Record

__all__ = ["Chameleon"]


@layout(name="chameleon")
@dataclass(frozen=True)
class Chameleon(ForenSynths):
    """Folders 0_real and 1_fake of Chameleon, in a folder of that name.

        <... Chameleon ...>/
            test/
                0_real/*            real_source = "Chameleon"
                1_fake/*            generator = "Chameleon": several, none of them named

    A tree is taken for this set where the folder that is read, or that of its split, is called so.
    Beware: it is for testing alone, and as its fakes bear one name, no generator can be left out: score it with a
    detector that was fitted elsewhere, or cross-validate with `--protocol train_on --train Chameleon`.

    Source: Yan et al. 2024, "A sanity check for AI-generated image detection" (arXiv 2406.19435); on request.
    """

    title: ClassVar[str] = "Chameleon"
    refines: ClassVar[str] = "forensynths"

    def place(self, above: tuple[str, ...], label: int, below: tuple[str, ...], given: str) -> Record | None:
        """Place an image; None where anything but a split lies above 0_real or 1_fake."""
        split, names = split_first(above)
        if names:
            return None
        if label == FAKE:
            return Record("", FAKE, generator=self.title, split=split)
        return Record("", label, real_source=self.title, split=split)

    def reading(self, places: Mapping[tuple[str, ...], Record], path: Path) -> str | None:
        """Return the reading where the folder is called Chameleon and holds nothing but its split and labels."""
        top = absolute(path)
        name = top.parent.name if top.name.lower() in SPLITS else top.name
        is_it = "chameleon" in name.lower() and not self.has_others(places, path)
        return super().reading(places, path) if is_it else None
