"""A fitted detector as a function of crops in memory: pixels in, scores out, and the gradient where it reads a network.

    judge = CropJudge.of(detector, condition="matched", running=Running())
    judge.scores(pixels, ids)        # (B, K C, C, 3) uint8 -> (B,) float64
    judge.gradient(levels)           # the same shape -> that of the network's logit

A detector that judges an image by K draws takes their crops one below the other, as one tall picture.  Scores are those
of `fdetect score`, held to the same frozen threshold; nothing goes through workers or the store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fdetect.bench.applying import columns_of_model
from fdetect.bench.contenders import tasks_of
from fdetect.bench.running import Running, uploading, values_of
from fdetect.classifiers.calibrated import CalibratedDetector
from fdetect.classifiers.saved import FittedDetector
from fdetect.decide import Threshold
from fdetect.errors import ParameterError
from fdetect.features import ALONE, feature
from fdetect.geometry import Geometry
from fdetect.types import Facts

__all__ = ["CropJudge"]


@dataclass(frozen=True, eq=False)
class CropJudge:
    """A detector made ready for crops under one condition.

    threshold  that at 5 % FPR, frozen at the fit
    network    source, stem and device of the network whose logit has a gradient; None where the detector reads none
    fresh      content ids -> which of them no network of the detector was trained on, as far as its card says
    known      content ids -> which of them are references of the detector itself
    """

    name: str
    condition: str
    crop: int
    seed: int
    draws: int
    threshold: Threshold
    tasks: Sequence[Any]
    of_values: Callable[[np.ndarray], np.ndarray]
    upload: Callable[[np.ndarray], Any]
    network: tuple[str, str, str] | None
    fresh: Callable[[Sequence[str]], np.ndarray]
    known: Callable[[Sequence[str]], np.ndarray]

    @classmethod
    def of(
        cls, scorer: FittedDetector | CalibratedDetector, *, condition: str = "", encoder: str = "", network: str = "",
        running: Running,
    ) -> CropJudge:  # fmt: skip
        """Make a detector ready, after it was seen that it computes what it computed at its fit.

        condition  "" for that of its thresholds;  encoder, network  as `fdetect.bench.score` takes them

        Raises ParameterError for a detector whose thresholds are not of crops or that looks at more than these, and
        where its threshold is not attainable; WeightsError where a network that it reads is absent, even one that it
        could do without: what is attacked is the whole detector.
        """
        shown, upload = condition or scorer.condition, uploading(running.backend)
        where: dict[str, Any] = {"condition": shown, "crop": scorer.crop, "seed": scorer.seed, "upload": upload}
        if isinstance(scorer, CalibratedDetector):
            if encoder or network:
                raise ParameterError(f"--{'encoder' if encoder else 'network'}: {scorer.name} finds its weights as at "
                                     "its fit; leave it out")  # fmt: skip
            tasks = tasks_of(scorer.instance, crop=scorer.crop, backend=running.backend)
            scorer.check(tasks[0].space)
            made = cls(scorer.name, **where, draws=1, threshold=scorer.calibration.five, tasks=tasks,
                       of_values=partial(scorer.score, tasks), network=_network(tasks), fresh=_all,
                       known=scorer.in_bank)  # fmt: skip
        else:
            if scorer.tiles:
                raise ParameterError(f"the thresholds of {scorer.name} were set on tiles by {scorer.tiles}, and an "
                                     "attack changes crops; fit it without --tiles")  # fmt: skip
            if alone := [n for n in scorer.features if n in feature and feature.get(n).family in ALONE]:
                raise ParameterError(f"{alone[0]} looks at the file, which an attack on pixels leaves as it is; attack "
                                     "a detector without it")  # fmt: skip
            columns = columns_of_model(scorer, condition=shown, encoder=encoder, network=network, running=running,
                                       spare=False)  # fmt: skip
            made = cls(scorer.name, **where, draws=scorer.draws, threshold=scorer.calibration.five,
                       tasks=columns.tasks, of_values=scorer.judge.score, network=_network(columns.tasks),
                       fresh=columns.fresh, known=_none)  # fmt: skip
        made._check()
        return made

    def scores(self, pixels: np.ndarray, ids: Sequence[str]) -> np.ndarray:
        """(B, K C, C, 3) uint8 and B content ids -> (B,) float64, NaN where any column is no finite number."""
        crops = self.crops(pixels)
        names = tuple(id for id in ids for _ in range(self.draws))
        facts = (Facts("RAW", crops.shape[2], crops.shape[1], crops[0].size),) * len(crops)
        values = values_of(self.tasks, list(crops), names, facts, self.seed, self.upload)
        values = values.reshape(len(pixels), -1)  # the columns of an image's draws side by side
        found = np.asarray(self.of_values(values), np.float64)
        return np.where(np.isfinite(values).all(axis=1), found, np.nan)

    def gradient(self, levels: np.ndarray) -> np.ndarray:
        """(B, K C, C, 3) float64 in 0..255 -> the gradient of its network's logit, summed over draws, the same shape.

        Of a head on a network and of a fused detector that is the gradient of a part of what they look at.
        Raises ParameterError where the detector reads no network.
        """
        if self.network is None:
            raise ParameterError(self.no_gradient)
        from fdetect.nets.gradient_attacks import pixel_gradient
        from fdetect.nets.pretrained import load_pretrained

        source, stem, device = self.network
        model = load_pretrained(source, stem=stem, device=device).model
        return pixel_gradient(model, self.crops(levels)).reshape(levels.shape)

    def crops(self, pixels: np.ndarray) -> np.ndarray:
        """(B, K C, C', 3) -> (B K, C, C', 3)."""
        return pixels.reshape(-1, pixels.shape[1] // self.draws, *pixels.shape[2:])

    @property
    def no_gradient(self) -> str:
        """Why gradient attacks cannot be run on a detector without a network, in one sentence."""
        return f"{self.name} reads no detector network, so it has no gradient at the pixels; attack it by square"

    def _check(self) -> None:
        if not self.threshold.attainable:
            raise ParameterError(f"the threshold of {self.name} at 5 % FPR is {self.threshold}, and an attack is "
                                 "judged at it; fit the detector with 19 calibration reals or more")  # fmt: skip
        own = Geometry("aligned_crop", self.crop)
        if self.condition == "native" and any(task.geometry != own for task in self.tasks):
            raise ParameterError(f"natively {self.name} looks at more than the crop that is attacked; give --condition "
                                 "matched, and a detector whose thresholds were set under it")  # fmt: skip


def _network(tasks: Sequence[Any]) -> tuple[str, str, str] | None:
    """Return where the one detector network among tasks is found; None where there is none, or a head on an encoder."""
    from fdetect.rigid.pretrained import LogitSpace

    found = {(task.space.card.source, task.space.card.stem, task.space.device) for task in tasks
             if isinstance(getattr(task, "space", None), LogitSpace) and not task.space.encoder}  # fmt: skip
    return next(iter(found)) if len(found) == 1 else None


def _all(ids: Sequence[str]) -> np.ndarray:
    return np.ones(len(ids), np.bool_)


def _none(ids: Sequence[str]) -> np.ndarray:
    return np.zeros(len(ids), np.bool_)
