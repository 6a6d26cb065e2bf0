"""An inspection without its pictures: of thousands of images they would fill the memory."""

from __future__ import annotations

from dataclasses import replace

from fdetect.bench.inspecting.inspection import Inspection

__all__ = ["without_pictures"]


def without_pictures(inspection: Inspection) -> Inspection:
    """Let go of pixels, of the crop and of the bytes of thumbnails; how many bytes these had is still known."""
    small = tuple(replace(one, jpeg=_Gone(len(one.jpeg))) for one in inspection.thumbnails)
    return replace(inspection, pixels=None, crop=None, thumbnails=small)


class _Gone(bytes):
    """Bytes that were let go: empty, but for their length, which the JSON tells."""

    _n: int

    def __new__(cls, n: int) -> _Gone:
        made = super().__new__(cls)
        made._n = n
        return made

    def __len__(self) -> int:
        return self._n

    def __bool__(self) -> bool:
        return False  # there is nothing to draw
