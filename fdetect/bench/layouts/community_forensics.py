"""Community Forensics: folders real and fake, or labels of one's own, below each generator or set of reals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fdetect.bench.layouts.base import TreeLayout, layout, split_first
from fdetect.bench.layouts.listed import listing
from fdetect.errors import ParameterError
from fdetect.types import FAKE, REAL, Record

__all__ = ["CommunityForensics"]


@layout(name="community_forensics")
@dataclass(frozen=True)
class CommunityForensics(TreeLayout):
    """Folders real and fake below each generator or data set of the evaluation tree of Community Forensics.

        [train|val|test/]
            <name>/
                real/**             real_source = <name>
                fake/*              generator = <name>

    A tree in which a folder fake has folders inside is not taken for this set: these would be the generators.
    Beware: one label alone is allowed, so that a set may have no reals of its own; `fdetect data check` names those.

    label_names  further names of label folders, such as {"nature": 0, "ai": 1}

    Source: Park and Owens 2025, "Community Forensics: using thousands of generators to train fake image detectors",
    CVPR, evaluation code.
    """

    label_names: Mapping[str, int] | None = None

    title: ClassVar[str] = "Community Forensics"

    def locate(self, folder: tuple[str, ...], given: str) -> Record | None:
        """Place a folder by the two levels below its split."""
        labels = self._labels()
        split, names = split_first(folder)
        if len(names) < 2 or names[0].lower() in labels or names[1].lower() not in labels:
            return None
        if labels[names[1].lower()] == REAL:
            return Record("", REAL, real_source=names[0], split=split)
        return Record("", FAKE, generator=names[0], split=split)

    def reading(self, places: Mapping[tuple[str, ...], Record], path: Path) -> str | None:
        """Return the reading where labels have none but labels beside them, and fakes no folders inside."""
        sets = {folder[:-1] for folder in places}
        beside = {name.lower() for one in sets for name in listing(path.joinpath(*one)).folders}
        fakes = [folder for folder, record in places.items() if record.label == FAKE]
        if beside - self._labels().keys() or any(listing(path.joinpath(*one)).folders for one in fakes):
            return None
        return f"{self.title}: {'/'.join(sorted(beside))} in {len(sets)} folder{'s' * (len(sets) != 1)}"

    def _labels(self) -> dict[str, int]:
        given = {str(name).lower(): label for name, label in (self.label_names or {}).items()}
        if wrong := [name for name, label in given.items() if label not in (REAL, FAKE)]:
            raise ParameterError(f"label_names: '{wrong[0]}' must stand for 0 (real) or 1 (fake)")
        return {"real": REAL, "fake": FAKE, **given}
