"""WildRF: images as social platforms serve them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fdetect.bench.layouts.base import layout
from fdetect.bench.layouts.forensynths import ForenSynths
from fdetect.types import Record

__all__ = ["WildRF"]

_PLATFORMS = frozenset(("reddit", "twitter", "facebook"))


@layout(name="wildrf")
@dataclass(frozen=True)
class WildRF(ForenSynths):
    """Folders 0_real and 1_fake below each platform of WildRF: the platform stands for generator and real source.

        train|val|test/
            <platform>/             reddit, twitter, facebook
                0_real/*            real_source = <platform>
                1_fake/*            generator = <platform>: what made a fake is not known

    Beware: train and val are of reddit alone, so that what is new in the test is the platform, not the generator; the
    reading says what was found.  Use `--protocol fixed_split`.

    Source: Cavia et al. 2024, "Real-time deepfake detection in the real-world" (arXiv 2406.09398), data release.
    """

    title: ClassVar[str] = "WildRF"
    refines: ClassVar[str] = "forensynths"

    def reading(self, places: Mapping[tuple[str, ...], Record], path: Path) -> str | None:
        """Return the reading where every folder is a platform, with those that are trained on."""
        names = {(record.generator or record.real_source).lower() for record in places.values()}
        if not names <= _PLATFORMS or any(record.category for record in places.values()):
            return None
        trained = sorted({r.generator or r.real_source for r in places.values() if r.split in ("train", "val")})
        return f"{super().reading(places, path)}{', trained on ' * bool(trained)}{' and '.join(trained)}"
