"""Splits by group: images that share a scene, a prompt, a source photo or a pair are never parted.

`group_folds` and `hold_out` look at rows of (group, stratum), one an image, and decide about whole groups.  A stratum
is what should be spread evenly: a generator or a source of reals; a group may span several.  The outcome depends on
the seed and on which rows there are, not on their order: groups are taken in the order of a keyed hash, and all sums
are integers, so that it is the same on every machine and under every version of Python.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import xxhash

from fdetect.errors import ParameterError

__all__ = ["group_folds", "hold_out", "join_same_content"]

_ONE = 1 << 62  # fixed-point unit of the weight of a stratum: far above the square of any number of images


def group_folds(
    groups: Sequence[str] | np.ndarray, strata: Sequence[str] | np.ndarray, *, n_folds: int = 3, seed: int = 0
) -> np.ndarray:
    """Assign whole groups to folds so that every stratum is spread as evenly as a greedy pass can.

    (N,) str, (N,) str -> (N,) int64 in 0..n_folds-1.  Groups are taken from large to small, equal sizes in hash
    order; each goes to the fold that adds least to

        sum over strata and folds of (images of the stratum in the fold / images of the stratum)^2

    and among equals to the fold with the fewest images, then the first.  Where no group spans two strata, the
    folds of a stratum differ by at most its largest group.
    Source: the greedy rule of Graham 1969, 10.1137/0117039 (largest first), on several strata at once.
    Raises ParameterError for an empty group and for fewer than n_folds groups.
    """
    members = _members(groups, strata)
    if not 2 <= n_folds <= len(members):
        raise ParameterError(f"n_folds is {n_folds}; give between 2 and the number of groups, {len(members)}")
    importance = _importance(members)
    loads: list[Counter[str]] = [Counter() for _ in range(n_folds)]
    fold_of: dict[str, int] = {}

    def cost(fold: int, counts: Counter[str]) -> tuple[int, int, int]:
        load = loads[fold]
        added = sum(importance[stratum] * load[stratum] * images for stratum, images in counts.items())
        return added, load.total(), fold

    for group in sorted(_hash_order(members, seed), key=lambda group: -members[group].total()):
        fold_of[group] = min(range(n_folds), key=lambda fold: cost(fold, members[group]))
        loads[fold_of[group]].update(members[group])
    return np.array([fold_of[str(group)] for group in groups], dtype=np.int64)


def hold_out(
    groups: Sequence[str] | np.ndarray, strata: Sequence[str] | np.ndarray, *, share: float = 0.25, seed: int = 0
) -> np.ndarray:
    """Hold out whole groups, about `share` of every stratum: the reals that calibrate a threshold, for example.

    (N,) str, (N,) str -> (N,) bool, True = held out.  Groups are taken in hash order; one is held out when this
    lowers

        sum over strata of ((images held out - target) / images of the stratum)^2,   target = round(share * images)

    Where no group spans two strata, no stratum loses more than its target and half of one group.
    Raises ParameterError for an empty group and for a share outside (0, 1).
    """
    if not 0.0 < share < 1.0:
        raise ParameterError(f"share is {share}; give a share between 0 and 1, such as 0.25")
    members = _members(groups, strata)
    importance = _importance(members)
    target = {stratum: round(share * images) for stratum, images in _totals(members).items()}
    held: Counter[str] = Counter()
    chosen: set[str] = set()
    for group in _hash_order(members, seed):
        change = sum(
            importance[stratum] * images * (2 * (held[stratum] - target[stratum]) + images)
            for stratum, images in members[group].items()
        )
        if change < 0:
            chosen.add(group)
            held.update(members[group])
    return np.array([str(group) in chosen for group in groups], dtype=np.bool_)


def join_same_content(groups: Sequence[str] | np.ndarray, ids: Sequence[str] | np.ndarray) -> np.ndarray:
    """Join groups that hold the same file content, so that no copy is on both sides: (N,) str twice -> (N,) str.

    A joined group bears the first of its names.
    """
    joined: dict[str, str] = {}  # group -> a group it was joined to

    def root(name: str) -> str:
        while name in joined:
            name = joined[name]
        return name

    first: dict[str, str] = {}
    for id, group in zip(ids, groups, strict=True):
        here, there = root(group), root(first.setdefault(id, group))
        if here != there:
            joined[max(here, there)] = min(here, there)
    return np.array([root(group) for group in groups], dtype=object)


def _members(groups: Sequence[str] | np.ndarray, strata: Sequence[str] | np.ndarray) -> dict[str, Counter[str]]:
    """Count the images of each group by stratum."""
    if len(groups) != len(strata):
        raise ParameterError(f"{len(groups)} groups but {len(strata)} strata; give one of each for every image")
    members: dict[str, Counter[str]] = {}
    for row, (group, stratum) in enumerate(zip(groups, strata, strict=True)):
        if not isinstance(group, str) or not group:
            raise ParameterError(f"the group of row {row} is {group!r}; give every image a group, its own if need be")
        members.setdefault(str(group), Counter())[str(stratum)] += 1
    return members


def _hash_order(members: dict[str, Counter[str]], seed: int) -> list[str]:
    return sorted(members, key=lambda group: (xxhash.xxh3_64_intdigest(f"{seed}:{group}".encode()), group))


def _totals(members: dict[str, Counter[str]]) -> Counter[str]:
    totals: Counter[str] = Counter()
    for counts in members.values():
        totals.update(counts)
    return totals


def _importance(members: dict[str, Counter[str]]) -> dict[str, int]:
    """Weight of a stratum in the sums of squares, 1 / images^2 in fixed point: small strata matter as much."""
    return {stratum: _ONE // images**2 for stratum, images in _totals(members).items()}
