"""Splits by group: images that share a scene, a prompt, a source photo or a pair are never parted.

`group_folds` and `hold_out` look at rows of (group, stratum), one an image, and decide about whole groups.  A stratum
is what should be spread evenly: a generator or a source of reals; a group may span several.  The outcome depends on
the seed and on which rows there are, not on their order: groups are taken in the order of a keyed hash, and all sums
are integers, so that it is the same on every machine and under every version of Python.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import xxhash

from fdetect.errors import ParameterError

__all__ = ["Grouped", "Numbered", "group_folds", "hold_out", "join_same_content", "numbered", "texts"]

_ONE = 1 << 62  # fixed-point unit of the weight of a stratum: far above the square of any number of images
_NAMES = 1 << 16  # names that are Python objects at a time

Names = Sequence[str] | np.ndarray | Any  # (N,) str; or an Arrow column of text


def group_folds(groups: Names, strata: Names, *, n_folds: int = 3, seed: int = 0) -> np.ndarray:
    """Assign whole groups to folds so that every stratum is spread as evenly as a greedy pass can.

    (N,) str, (N,) str -> (N,) int64 in 0..n_folds-1.  Groups are taken from large to small, equal sizes in hash
    order; each goes to the fold that adds least to

        sum over strata and folds of (images of the stratum in the fold / images of the stratum)^2

    and among equals to the fold with the fewest images, then the first.  Where no group spans two strata, the
    folds of a stratum differ by at most its largest group.
    Source: the greedy rule of Graham 1969, 10.1137/0117039 (largest first), on several strata at once.
    Raises ParameterError for an empty group and for fewer than n_folds groups.
    """
    return Grouped.of(groups, strata, seed=seed).folds(n_folds)


def hold_out(groups: Names, strata: Names, *, share: float = 0.25, seed: int = 0) -> np.ndarray:
    """Hold out whole groups, about `share` of every stratum: the reals that calibrate a threshold, for example.

    (N,) str, (N,) str -> (N,) bool, True = held out.  Groups are taken in hash order; one is held out when this
    lowers

        sum over strata of ((images held out - target) / images of the stratum)^2,   target = round(share * images)

    Where no group spans two strata, no stratum loses more than its target and half of one group.
    Raises ParameterError for an empty group and for a share outside (0, 1).
    """
    _check_share(share)
    return Grouped.of(groups, strata, seed=seed).held_out(share)


def join_same_content(groups: Names, ids: Names) -> np.ndarray:
    """Join groups that hold the same file content, so that no copy is on both sides: (N,) str twice -> (N,) str.

    A joined group bears the first of its names.
    """
    if len(groups) != len(ids):
        raise ParameterError(f"{len(groups)} groups but {len(ids)} ids; give one of each for every image")
    joined: dict[str, str] = {}  # group -> a group it was joined to

    def root(name: str) -> str:
        while name in joined:
            above = joined[name]
            joined[name] = name = joined.get(above, above)  # half the way for who comes next
        return name

    names, content = np.array(groups, dtype=object), numbered(ids).number
    copies = np.flatnonzero(np.bincount(content)[content] > 1)  # rows; the others join nothing
    first: dict[int, str] = {}
    for id, group in zip(content[copies].tolist(), names[copies], strict=True):
        here, there = root(group), root(first.setdefault(id, group))
        if here != there:
            joined[max(here, there)] = min(here, there)
    return np.array([root(group) for group in names], dtype=object) if joined else names


@dataclass(frozen=True)
class Grouped:
    """N rows of (group, stratum) in numbers: (N,) int32 twice.

    Groups are numbered in the order of their keyed hash (names of one hash by name), so that rows of it, however
    chosen, are split without a further look at names.  A number may have no row.
    """

    group: np.ndarray
    stratum: np.ndarray

    @classmethod
    def of(cls, groups: Names, strata: Names, *, seed: int) -> Grouped:
        """Number the rows; raises ParameterError for an empty group, and where groups and strata differ in length."""
        if len(groups) != len(strata):
            raise ParameterError(f"{len(groups)} groups but {len(strata)} strata; give one of each for every image")
        return cls.numbered(numbered(groups), numbered(strata).number, seed=seed)

    @classmethod
    def numbered(cls, groups: Numbered, stratum: np.ndarray, *, seed: int) -> Grouped:
        """Make it of rows that are numbered already; raises ParameterError for an empty group."""
        names, number = groups
        if (empty := names.index("").as_py()) >= 0:
            row = int(np.argmax(number == empty))
            raise ParameterError(f"the group of row {row} is ''; give every image a group, its own if need be")
        place = np.empty(len(names), np.int32)
        place[_hash_order(names, seed)] = np.arange(len(names), dtype=np.int32)
        return cls(place[number], stratum)

    def __getitem__(self, rows: np.ndarray) -> Grouped:
        """Return some of the rows."""
        return Grouped(self.group[rows], self.stratum[rows])

    @property
    def n_groups(self) -> int:
        """Number of groups that have rows."""
        return int(np.count_nonzero(np.bincount(self.group)))

    def folds(self, n_folds: int) -> np.ndarray:
        """Return the fold of each row, as `group_folds` says: (N,) int64."""
        from fdetect._splits_cpu import folded  # here: Numba takes a while to import

        groups = self.n_groups
        if not 2 <= n_folds <= groups:
            raise ParameterError(f"n_folds is {n_folds}; give between 2 and the number of groups, {groups}")
        largest_first = np.argsort(-np.bincount(self.group), kind="stable")
        return np.asarray(folded(largest_first, *self._members(), self._importance(), n_folds)[self.group])

    def held_out(self, share: float) -> np.ndarray:
        """Return which rows are held out, as `hold_out` says: (N,) bool."""
        from fdetect._splits_cpu import held_out

        _check_share(share)
        target = np.array([round(share * images) for images in self._totals().tolist()], np.int64)
        return np.asarray(held_out(*self._members(), self._importance(), target)[self.group])

    def _members(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return where the entries of each group begin, and the stratum and the number of images of each entry."""
        strata, n_groups = max(len(self._totals()), 1), int(self.group.max(initial=-1)) + 1
        key = self.group.astype(np.int64) * strata + self.stratum
        key.sort()
        at = np.flatnonzero(np.concatenate((np.ones(min(len(key), 1), np.bool_), key[1:] != key[:-1])))
        images, key = np.diff(at, append=len(key)), key[at]
        del at  # of ten million rows, each of these is 80 MB
        start = np.searchsorted(key, np.arange(n_groups + 1, dtype=np.int64) * strata)
        key %= strata
        return start, key, images

    def _totals(self) -> np.ndarray:
        return np.bincount(self.stratum)

    def _importance(self) -> np.ndarray:
        """Weight of a stratum in the sums of squares, 1 / images^2 in fixed point: small strata matter as much."""
        return np.array([_ONE // max(images, 1) ** 2 for images in self._totals().tolist()], np.int64)


class Numbered(NamedTuple):
    """A column of text by its K different values, an Arrow array, and the number of each row's: (N,) int32."""

    names: Any
    number: np.ndarray


def numbered(names: Names) -> Numbered:
    """Number a column of text; raises ParameterError for a value that is no text."""
    import pyarrow as pa  # here: this module is light, and Arrow takes a while to import

    try:
        column = names if isinstance(names, pa.Array | pa.ChunkedArray) else pa.array(names)
    except pa.ArrowException:  # values of several types
        column = pa.nulls(len(names))
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if column.null_count or not (pa.types.is_null(column.type) or pa.types.is_string(column.type)):
        row, name = next((row, name) for row, name in enumerate(names) if not isinstance(name, str))
        raise ParameterError(f"the group of row {row} is {name!r}; give every image a group, its own if need be")
    coded = column.cast(pa.large_string()).dictionary_encode()  # large: all names may be more than 2 GB
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    pa.default_memory_pool().release_unused()  # of millions of names that is much, and Arrow would keep it
    return Numbered(coded.dictionary, coded.indices.to_numpy())


def texts(column: Any) -> Iterator[str]:
    """Yield the texts of an Arrow column, of which few are Python objects at a time."""
    starts = range(0, len(column), _NAMES)
    return chain.from_iterable(column.slice(start, _NAMES).to_pylist() for start in starts)


def _hash_order(names: Any, seed: int) -> np.ndarray:
    """Return the places of (K,) different names by rising hash, equal hashes by name."""
    keyed = map(str.encode, map(f"{seed}:".__add__, texts(names)))
    return ordered(np.fromiter(map(xxhash.xxh3_64_intdigest, keyed), np.uint64, len(names)), names)


def ordered(keys: np.ndarray, names: Any) -> np.ndarray:
    """Return the places of (K,) numbers in rising order, equal ones by their names: (K,) int64."""
    order = np.argsort(keys)
    sorted_keys = keys[order]
    if (sorted_keys[1:] == sorted_keys[:-1]).any():  # once in a hundred thousand times, of ten million hashes
        order = np.lexsort((np.array(names.to_pylist(), dtype=object), keys))
    return order


def _check_share(share: float) -> None:
    if not 0.0 < share < 1.0:
        raise ParameterError(f"share is {share}; give a share between 0 and 1, such as 0.25")
