"""Folders called real and fake: the plainest tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fdetect.bench.layouts.base import FolderLayout, layout, split_first
from fdetect.types import FAKE, REAL, Record

__all__ = ["RealFake"]


@layout
@dataclass(frozen=True)
class RealFake(FolderLayout):
    """Folders real and fake, with one folder for each source or generator inside.

        [train|val|test/]
            real/
                <source>/**         real_source = <source>; empty for images directly in real/
            fake/
                <generator>/**      generator = <generator>; "unknown" for images directly in fake/

    Names count in any case (REAL, Fake).  The first folder below real or fake is the source or generator, however
    deep the image lies.
    Beware: fakes directly in fake/ are of one generator, "unknown": none can be left out.
    """

    title: ClassVar[str] = "real_fake"
    classes: ClassVar[dict[str, int]] = {"real": REAL, "fake": FAKE}

    def place(self, above: tuple[str, ...], label: int, below: tuple[str, ...], given: str) -> Record | None:
        """Place an image; None where anything but a train, val or test level lies above real or fake."""
        split, others = split_first(above)
        if others:
            return None
        if label == REAL:
            return Record("", REAL, real_source=below[0] if below else "", split=split)
        return Record("", FAKE, generator=below[0] if below else "unknown", split=split)
