"""Spliced pictures, half photograph and half its round trip through an autoencoder: where the trace is, is known.

Both halves show the same scene with the same history, so that nothing but the round trip tells them apart.  Which half
went through it, left, right, top or bottom, the crop and the autoencoder are drawn from the photograph's content.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fdetect.bench.data.inputs import Data, any_images, labels_or_real, root_of
from fdetect.bench.training.pair_sources import PairSource
from fdetect.errors import DataError, ParameterError
from fdetect.nets.own.data import cut_images
from fdetect.perturb import Box, Condition, Launder, condition, perturbation, rng_for, with_surroundings
from fdetect.types import REAL, Failure

__all__ = ["SIDES", "Splice", "Splices", "splice", "splices_of"]

SIDES = ("left", "right", "top", "bottom")
_GRID = 8  # px of the JPEG grid, which natively a crop keeps


@dataclass(frozen=True, eq=False)
class Splice:
    """One photograph in three versions, (C, C, 3) uint8, and which pixels of the first are generated, (C, C) bool."""

    id: str  # the photograph's content
    side: str  # the half that is generated
    spliced: np.ndarray
    pristine: np.ndarray
    laundered: np.ndarray
    generated: np.ndarray


@dataclass(frozen=True, eq=False)
class Splices:
    """What was made, the photographs that gave nothing, and how many were left out because enough were there."""

    splices: tuple[Splice, ...]
    failures: tuple[Failure, ...]
    left_out: int

    def __len__(self) -> int:
        return len(self.splices)


def splice(
    pixels: np.ndarray, launder: Launder, content: str, *, crop: int = 128, seed: int = 0, shown: str = "native"
) -> Splice:
    """Make one: (H, W, 3) uint8 of a photograph -> `Splice` of side `crop`.

    shown  the condition that is done to the whole picture afterwards; one that changes its size is refused

    Natively the crop lies on the 8-px grid.  Raises DataError where a side does not exceed the crop by 8 px.
    """
    chain = condition(shown)
    if chain.launder or chain.rescaled or any(perturbation.get(name).meta.get("moves") for name, _ in chain.steps):
        raise ParameterError(f"spliced pictures keep their size and have one round trip; condition {shown} does not "
                             "go, take native, matched or jpeg70")  # fmt: skip
    chain.check_size(pixels, crop)
    rng = rng_for(seed, content, "splice")
    box = Box.drawn(pixels.shape, crop, rng)
    if chain.is_native:
        box = Box(box.top // _GRID * _GRID, box.left // _GRID * _GRID, crop)
    around, inside = with_surroundings(pixels, box)
    pristine, laundered = box.of(pixels), inside.of(launder(around))
    side = SIDES[int(rng.integers(len(SIDES)))]
    generated = half(side, crop)
    spliced = np.where(generated[..., None], laundered, pristine)

    def end(one: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(one if chain.is_native else _finish(chain, one, content, seed, crop))

    return Splice(content, side, end(spliced), end(pristine), end(laundered), generated)


def half(side: str, length: int) -> np.ndarray:
    """Return which pixels lie in a half of a square picture: (length, length) bool."""
    first = np.arange(length) < length // 2
    along = first if side in ("left", "top") else ~first
    return np.broadcast_to(along if side in ("left", "right") else along[:, None], (length, length)).copy()


def splices_of(
    data: Data, sources: Sequence[PairSource], *, count: int = 64, crop: int = 128, seed: int = 0, shown: str = "native"
) -> Splices:
    """Make spliced pictures of photographs: rows of `data` that are labelled real, or not at all.

    count  photographs at most; of more, that many are drawn

    An autoencoder never meets a photograph it was trained on.  A photograph that cannot be used is a `Failure`.
    Raises DataError where none can be used, and as `labels_or_real` does.
    """
    if not sources or count < 1:
        raise ParameterError(f"splices need an autoencoder and a count of at least 1; got {len(sources)}, {count}")
    manifest = any_images(data)
    rows = zip(manifest.column("path").to_pylist(), labels_or_real(manifest, None), strict=True)
    paths = [path for path, label in rows if label == REAL]
    left_out = max(len(paths) - count, 0)
    if left_out:
        kept = rng_for(seed, f"{count} of {len(paths)}", "splices").choice(len(paths), count, replace=False)
        paths = [paths[k] for k in sorted(kept)]
    made: dict[str, Splice] = {}

    def cut(pixels: np.ndarray, content: str) -> list[np.ndarray]:
        usable = [source for source in sources if content not in source.contents]
        if not usable:
            raise DataError("every autoencoder was trained on this photograph; give another one")
        source = usable[int(rng_for(seed, content, "splice/autoencoder").integers(len(usable)))]
        made[content] = splice(pixels, source.laundering, content, crop=crop, seed=seed, shown=shown)
        return [made[content].spliced]

    _, failures = cut_images(paths, root_of(manifest), cut)
    if not made:
        why = f": {failures[0].path}: {failures[0].reason}" if failures else ""
        raise DataError(f"no photograph of {len(paths)} can be spliced{why}; give photographs whose sides exceed "
                        f"{crop} px by 8")  # fmt: skip
    return Splices(tuple(made.values()), failures, left_out)


def _finish(chain: Condition, pixels: np.ndarray, content: str, seed: int, crop: int) -> np.ndarray:
    return chain.finish(pixels, content, seed=seed, crop=crop).pixels
