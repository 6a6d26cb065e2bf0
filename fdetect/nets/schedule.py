"""How long and how fast a network learns, and what happened when it did.

Source: Loshchilov and Hutter, "SGDR" (ICLR 2017), equation 5, for the cosine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fdetect.errors import ParameterError

__all__ = ["RIVAL", "Schedule", "TrainingRecord", "below_rival"]

RIVAL = 0.90  # least validation AUROC, on its training generators, of a network that others are compared with

_PRECISIONS, _OPTIMISERS, _DECLINES = ("float32", "bfloat16"), ("adamw", "adam", "sgd"), ("cosine", "step", "constant")


def below_rival(auroc: float) -> str:
    """Return why a validation AUROC makes no rival, "" where it does; NaN is no AUROC that reaches the mark.

    The figure has three digits, and more where three would read as the mark itself.
    """
    if round(auroc, 12) >= RIVAL:  # the mean of 0.85 and 0.95 is not quite 0.9
        return ""
    digits = next(n for n in range(3, 18) if float(f"{auroc:.{n}f}") != RIVAL)
    return f"validation AUROC {auroc:.{digits}f} below {RIVAL:.2f}"


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a network learns.

    steps, batch         number of steps; `batch` examples in each, for whoever makes the batches
    rate, final          learning rate at its height, and its share that is left at the end of a cosine
    warm_up              share of the steps in which the rate rises linearly
    decay                weight decay, of tensors with two axes or more; biases and scales are left alone.  AdamW takes
                         it from the weights, Adam and SGD add it to the gradient (L2)
    largest_gradient     norm of all gradients together to which a larger one is cut; inf: none is
    seed                 of everything that is drawn
    precision            "float32", or "bfloat16": products under autocast, weights and optimiser stay float32
    optimiser            "adamw", "adam" or "sgd"
    momentum             share of the last direction that the next one keeps: beta1 of AdamW and Adam
    decline              "cosine"; "step": times `drop` after every `drop_every`, a share of the steps; "constant"

    Raises ParameterError for a value outside its range.
    """

    steps: int = 2000
    batch: int = 8
    rate: float = 2e-3
    final: float = 0.02
    warm_up: float = 0.05
    decay: float = 1e-4
    largest_gradient: float = 1.0
    seed: int = 0
    precision: str = "float32"
    optimiser: str = "adamw"
    momentum: float = 0.9
    decline: str = "cosine"
    drop: float = 0.9
    drop_every: float = 0.1

    def __post_init__(self) -> None:
        if min(self.steps, self.batch) < 1 or not (self.rate > 0 and self.largest_gradient > 0 and self.decay >= 0):
            raise ParameterError(f"training takes steps and batch of at least 1, a rate and a largest gradient above "
                                 f"0, and a decay that is not negative; got {self}")  # fmt: skip
        if not (0 <= self.final <= 1 and 0 <= self.warm_up < 1):
            raise ParameterError(f"final and warm_up are shares, warm_up below 1; got {self.final}, {self.warm_up}")
        if not (0 <= self.momentum < 1 and 0 < self.drop <= 1 and 0 < self.drop_every <= 1):
            raise ParameterError(f"momentum is a share below 1, drop and drop_every are shares above 0; got "
                                 f"{self.momentum}, {self.drop}, {self.drop_every}")  # fmt: skip
        for name, known in (("precision", _PRECISIONS), ("optimiser", _OPTIMISERS), ("decline", _DECLINES)):
            if getattr(self, name) not in known:
                raise ParameterError(f"{name} is one of {', '.join(known)}; got '{getattr(self, name)}'")

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, 0 ... steps - 1."""
        rising = math.ceil(self.warm_up * self.steps)
        if step < rising:
            return self.rate * (step + 1) / (rising + 1)
        if self.decline == "step":
            return self.rate * self.drop ** int(step / (self.drop_every * self.steps) + 1e-9)
        if self.decline == "constant":
            return self.rate
        passed = (step - rising) / max(self.steps - 1 - rising, 1)
        return self.rate * (self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * passed)))


@dataclass(frozen=True)
class TrainingRecord:
    """What happened: loss and rate of every step, seconds that were computed (before a stop too), and on what.

    validations     (number of steps done, value) of each; best_step: of the one whose weights were kept, None: the last
    stopped_early   whether validation ended the training before its steps were done
    """

    losses: tuple[float, ...]
    seconds: float
    threads: int
    device: str
    torch: str
    rates: tuple[float, ...] = ()
    validations: tuple[tuple[int, float], ...] = ()
    best_step: int | None = None
    stopped_early: bool = False

    def flattened(self, *, within: float = 0.02) -> bool:
        """Return whether the curve has flattened: the end of a training that more steps would hardly have changed.

        It has where the validation stopped the training; else where from the tenth of the steps before the last to the
        last one the mean loss falls by no more than a share of what it was in the first: m9 - m10 <= within |m1|.
        (Of m9 itself no share would do: a loss that is nearly 0 goes on falling by a part of nothing.)  Fewer than 20
        steps say nothing: False.  A rate that has declined flattens a curve too, so that this is necessary, not
        sufficient.

        Source: ours.
        """
        n = len(self.losses) // 10
        if self.stopped_early or n < 2:
            return self.stopped_early
        first, before, last = (sum(part) / n for part in (self.losses[:n], self.losses[-2 * n : -n], self.losses[-n:]))
        return before - last <= within * abs(first)
