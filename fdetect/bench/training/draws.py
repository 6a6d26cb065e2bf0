"""Which pictures a trained detector is shown of one image: draws of a condition, and in training of several together.

    fitted on   every draw of each training image, as rows of its group     scores by   the mean over the draws

Under `--train-conditions` all columns but `native` are trained on draws of all of these conditions; thresholds stay
frozen under `matched`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fdetect.config import RunConfig
from fdetect.draws import drawn, drawn_names
from fdetect.perturb import Condition, condition

__all__ = ["Draws"]


@dataclass(frozen=True)
class Draws:
    """How many draws of a condition there are of an image, and which conditions train together.

    n         1: the condition itself, as without draws
    together  conditions of the training images for all columns but `native`; empty: the condition of the thresholds
    """

    n: int = 1
    together: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: RunConfig) -> Draws:
        """Return what a configuration asks for of its heads."""
        return cls(config.heads.draws, config.heads.train_conditions)

    @classmethod
    def of_fused(cls, config: RunConfig) -> Draws:
        """Return what a configuration asks for of its fused detector."""
        return cls(config.fused.draws or config.heads.draws, config.heads.train_conditions)

    def shown(self, condition: str) -> tuple[str, ...]:
        """Return the draws whose mean score is that of an image under a condition."""
        return drawn_names(condition, self.n)

    def conditions(self, condition: str) -> tuple[str, ...]:
        """Return the conditions of training where thresholds are set under `condition`."""
        return self.together if self.together and condition != "native" else (condition,)

    def trained(self, condition: str) -> tuple[str, ...]:
        """Return the draws that are fitted on where thresholds are set under `condition`."""
        return tuple(name for one in self.conditions(condition) for name in drawn_names(one, self.n))

    def label(self, condition: str) -> str:
        """Return the conditions of training in one word, where thresholds are set under `condition`."""
        return "+".join(self.conditions(condition))

    def needed(self, conditions: Iterable[str]) -> dict[str, Condition]:
        """Return all that is shown, by name: `conditions` are those that are tested or thresholded under."""
        bases = dict.fromkeys(name for one in conditions for name in (one, *self.conditions(one)))
        return {
            name: drawn(condition(base), k) for base in bases for k, name in enumerate(drawn_names(base, self.n))
        }
