"""Explanations put to the test: is the mass where the trace is, does the logit go with it, does it need the weights?

    mass        share of what a map says for generated that lies in the generated half of a spliced picture; of random
                maps one half on average
    higher      share of pictures whose map is higher on average in that half; no offset of the map changes it
    deletion, insertion   area under the curve of P(generated) while pixels are taken away, or brought back, in the
                order of the map; low and high are good
    collapse    rank correlation with the map of the same network with random weights; near 0 is good

Figures are means over photographs with intervals by photograph, beside those of smoothed noise for the same pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fdetect.bench.data.splices import Splice
from fdetect.bench.explaining.measures import area, mass_in, random_map, rank_correlation, removal_curves
from fdetect.bootstrap import GroupWeights, group_weights, interval
from fdetect.classifiers.explain import NetworkView
from fdetect.errors import ParameterError
from fdetect.perturb import rng_for
from fdetect.registry import Entry

__all__ = ["RANDOM", "Judged", "Mean", "judge", "mean_of", "told_apart"]

RANDOM = "random"  # the row of random maps

_BATCH = 16
_NOISES = 16  # random maps of each picture, of whose masses the mean is taken


@dataclass(frozen=True)
class Mean:
    """A mean over photographs with a 95 % interval by photograph; `n` of them had a value."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Judged:
    """The figures of one explanation; None where they were not asked for, or do not exist.

    mass          in the generated half of spliced pictures
    higher        pictures whose mean is higher there than in the other half; equal ones count one half
    beyond        mass, less that of random maps of the same pictures
    photograph    mass in the same half of the photograph as it is: what the scene does without a trace
    deletion, insertion   areas, 0..1
    collapse      rank correlation with the map under random weights
    reason        why there are none of these figures
    """

    method: str
    mass: Mean | None = None
    higher: Mean | None = None
    beyond: Mean | None = None
    photograph: Mean | None = None
    deletion: Mean | None = None
    insertion: Mean | None = None
    collapse: Mean | None = None
    reason: str = ""


def judge(
    view: NetworkView, splices: Sequence[Splice], methods: Sequence[Entry], *, steps: int = 16, blur: float = 8.0,
    smooth: float = 8.0, curves: bool = True, seed: int = 0, progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Judged, ...]:  # fmt: skip
    """Judge explanations of a network on spliced pictures; random maps are the first row.

    steps   of the curves;  blur   sigma in px of the picture that takes the place of removed pixels
    smooth  sigma in px of the noise that makes random maps
    curves  False: leave deletion and insertion out, which cost 2 `steps` passes a picture and method

    A method that the network does not have is a row with the reason.
    Raises ParameterError where there is no picture.
    """
    if not splices:
        raise ParameterError("explanations are judged on at least one spliced picture")
    weights = group_weights([one.id for one in splices], seed=seed)
    spliced, pristine = (np.stack([getattr(one, name) for one in splices]) for name in ("spliced", "pristine"))
    others = view.randomised(seed)
    noise = np.stack([_random_maps(one, smooth, seed) for one in splices])
    chance = np.mean([_masses(maps, splices, "evidence") for maps in noise.swapaxes(0, 1)], axis=0)

    def with_areas(row: Judged, maps: np.ndarray) -> Judged:
        if not curves:
            return row
        found = [removal_curves(view.logits, one.spliced, shown, steps=steps, blur=blur, seed=seed, content=one.id)
                 for one, shown in zip(splices, maps, strict=True)]  # fmt: skip
        areas = np.array([[area(curve) for curve in pair] for pair in found])
        deletion, insertion = (_mean(one, splices, weights) for one in areas.T)
        return replace(row, deletion=deletion, insertion=insertion)

    random_row = Judged(RANDOM, _mean(chance, splices, weights), _mean(_higher(noise[:, 0], splices), splices, weights))
    rows = [with_areas(random_row, noise[:, 0])]
    for k, method in enumerate(methods):
        if progress:
            progress("explanations", k, len(methods))
        try:
            maps, plain, random = (
                _maps(one, pictures, method) for one, pictures in ((view, spliced), (view, pristine), (others, spliced))
            )
        except ParameterError as error:
            rows.append(Judged(method.name, reason=str(error)))
            continue
        mass, before = (_masses(one, splices, method.shows) for one in (maps, plain))
        alike = np.array([rank_correlation(a, b) for a, b in zip(maps, random, strict=True)])
        inside, higher, beyond, photograph, collapse = (
            _mean(one, splices, weights) for one in (mass, _higher(maps, splices), mass - chance, before, alike)
        )
        row = Judged(method.name, inside, higher, beyond, photograph, collapse=collapse)
        rows.append(with_areas(row, maps))
    return tuple(rows)


def mean_of(values: np.ndarray, ids: Sequence[str], weights: GroupWeights) -> Mean:
    """Mean of the values that are finite, one a picture, with its bootstrap interval by id; NaN where none is."""
    ok = np.isfinite(values)
    drawn = weights.of(ids)[:, ok]
    with np.errstate(invalid="ignore", divide="ignore"):
        replicates = drawn @ values[ok] / drawn.sum(axis=1)
    low, high = interval(replicates)
    return Mean(float(values[ok].mean()) if ok.any() else float("nan"), low, high, int(ok.sum()))


def told_apart(view: NetworkView, splices: Sequence[Splice], *, seed: int = 0) -> Mean:
    """Return the share of photographs whose whole round trip has the larger logit; a tie counts one half."""
    pairs = [view.logits(np.stack([one.laundered, one.pristine])) for one in splices]
    right = np.array([0.5 + 0.5 * np.sign(made - real) for made, real in pairs])
    return _mean(right, splices, group_weights([one.id for one in splices], seed=seed))


def _masses(maps: np.ndarray, splices: Sequence[Splice], shows: str) -> np.ndarray:
    """(N,) mass in the right half: the generated one, or, of maps that only speak for real, minus them in the other."""
    sign = -1 if shows == "objection" else 1
    return np.array([
        mass_in(sign * shown, one.generated if sign > 0 else ~one.generated)
        for shown, one in zip(maps, splices, strict=True)
    ])  # fmt: skip


def _higher(maps: np.ndarray, splices: Sequence[Splice]) -> np.ndarray:
    """(N,) 1 where a map's mean is higher in the generated half, 0 where in the other, one half where neither is."""
    means = [(shown[one.generated].mean(), shown[~one.generated].mean())
             for shown, one in zip(maps.astype(np.float64), splices, strict=True)]  # fmt: skip
    return np.array([0.5 + 0.5 * np.sign(inside - outside) for inside, outside in means])


def _random_maps(one: Splice, smooth: float, seed: int) -> np.ndarray:
    """(_NOISES, H, W): the random maps of a picture."""
    rng = rng_for(seed, one.id, "random map")
    return np.stack([random_map(one.generated.shape, smooth, rng) for _ in range(_NOISES)])


def _maps(view: NetworkView, pictures: np.ndarray, method: Entry) -> np.ndarray:
    parts = [view.maps(pictures[k : k + _BATCH], method) for k in range(0, len(pictures), _BATCH)]
    return np.concatenate(parts)


def _mean(values: np.ndarray, splices: Sequence[Splice], weights: GroupWeights) -> Mean:
    return mean_of(values, [one.id for one in splices], weights)
