"""The ranking of many images as one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fdetect.bench.inspecting.inspection import Inspection

__all__ = ["render_ranking"]


def render_ranking(
    inspections: Sequence[Inspection], about: Mapping[str, str], *, reports: Mapping[str, Path], folder: Path
) -> str:
    """Placeholder while it is written."""
    raise NotImplementedError
