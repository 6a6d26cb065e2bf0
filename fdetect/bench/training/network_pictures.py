"""What detector networks look at in a benchmark: draws to learn from, and every image as each condition shows it.

All of it is held in memory, so that it is asked first whether it fits.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from fdetect.augment import draws
from fdetect.bench.protocols import Samples
from fdetect.config import NetworksConfig
from fdetect.engine.pictures import Pictures, pictures
from fdetect.errors import ParameterError
from fdetect.perturb import Condition
from fdetect.recipes import RECIPES
from fdetect.types import Failure

if TYPE_CHECKING:
    from fdetect.nets.learning import Examples, Shown

__all__ = ["NetworkPictures", "check_memory"]

_SHARE = 0.5  # of the physical memory that pictures may take; features, networks and others need theirs


@dataclass(frozen=True)
class NetworkPictures:
    """What networks look at in a run.

    drawn         the training crops of all images, one condition a draw
    shown         all images under every condition that is tested, thresholded or validated under
    side_by_side  (N, draws, C, C, 3) uint8: the arrays of `drawn`, where they are parts of one
    """

    drawn: Pictures
    shown: Pictures
    label: np.ndarray
    generator: np.ndarray
    side_by_side: np.ndarray | None = field(default=None, repr=False)

    @classmethod
    def compute(
        cls, config: NetworksConfig, samples: Samples, conditions: Sequence[Condition], *, crop: int, **engine: Any
    ) -> NetworkPictures:
        """Read and cut all pictures; `engine` are settings of `fdetect.engine.pictures.pictures`.

        Raises ParameterError where they do not fit into memory.
        """
        paths = list(samples.path)
        check_memory(config, len(paths), len(conditions), crop)
        chances = draws(RECIPES[config.augmentation], config.draws)
        drawn = pictures(paths, conditions=chances, crop=config.crop, **engine)
        arrays, drawn = dict(drawn.pixels), replace(drawn, pixels={})
        joined = np.zeros((len(paths), config.draws, config.crop, config.crop, 3), np.uint8)
        for k, one in enumerate(chances):
            if (part := arrays.pop(one.name)).size:  # popped, so that no more than one draw is held twice
                joined[:, k] = part
        drawn = replace(drawn, pixels={one.name: joined[:, k] for k, one in enumerate(chances)})
        shown = pictures(paths, conditions=conditions, crop=crop, **engine)
        return cls(drawn, shown, samples.label, samples.generator, joined)

    @cached_property
    def examples(self) -> Examples:
        """All draws of all images."""
        from fdetect.nets.learning import Examples

        joined = self.side_by_side
        if joined is None:
            joined = np.stack(list(self.drawn.pixels.values()), axis=1)
        n, n_draws = joined.shape[:2]
        first, many = np.arange(n) * n_draws, np.full(n, n_draws)
        return Examples(joined.reshape(-1, *joined.shape[2:]), first, many, self.label, self.generator, np.full(n, -1))

    @cached_property
    def usable(self) -> np.ndarray:
        """(N,) bool: images of which every draw is there."""
        return np.asarray(np.stack(list(self.drawn.ok.values())).all(axis=0))

    def under(self, condition: str, rows: np.ndarray) -> Shown:
        """Return those of some rows that a condition shows."""
        from fdetect.nets.learning import Shown

        rows = rows[self.shown.ok[condition][rows]]
        return Shown(self.shown.pixels[condition][rows], self.label[rows], self.generator[rows])

    def failures(self, known: Sequence[Failure] = ()) -> tuple[Failure, ...]:
        """Return every image that failed under a condition or as a training crop, the latter once; not those `known`.

        An image of `known` that could not be read or decoded has failed here for the same reason.
        """
        crops: dict[str, Failure] = {}
        unread = {one.path for one in (*known, *self.shown.failures) if one.stage in ("read", "decode")}
        for one in self.drawn.failures:
            if one.path not in unread:
                why = f"no network is trained on it (networks.crop is the side of its crops): {one.reason}"
                crops.setdefault(one.path, replace(one, reason=why))
        found = dict.fromkeys((*self.shown.failures, *crops.values()))
        return tuple(one for one in found if one not in known)

    @property
    def reasons(self) -> Mapping[str, Mapping[int, str]]:
        """Why images are not shown: condition -> row number -> "stage: reason"."""
        return self.shown.reasons


def check_memory(config: NetworksConfig, n_images: int, n_conditions: int, crop: int) -> None:
    """Raise ParameterError where the pictures of a run would take more than half of the physical memory.

        3 N (draws C^2 + conditions c^2) bytes,   C px of training crops, c of tested ones
    """
    needed = 3 * n_images * (config.draws * config.crop**2 + n_conditions * crop**2)
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > _SHARE * there:
        raise ParameterError(
            f"networks: {config.draws} draws at {config.crop} px and {n_conditions} conditions at {crop} px of "
            f"{n_images:,} images take {needed / 2**30:.1f} GiB, more than {_SHARE:.0%} of the memory "
            f"({there / 2**30:.1f} GiB); lower networks.draws, networks.crop or --crop, or name fewer conditions"
        )
