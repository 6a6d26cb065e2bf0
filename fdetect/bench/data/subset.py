"""A small part of a data set that is the same wherever it is drawn: `fdetect data subset`.

Which images are taken depends on their contents and the seed, not on paths, order or the disk: groups come in the
order of a keyed hash of their contents, each whole, where every generator and real source in it has room.  Those with
the fewest images choose first, since the groups they share with others would soon be full of these.  Paths decide
between copies of one content alone, and then only which of them is named: one of the test, else the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from fdetect.addresses import absolute, below
from fdetect.bench.data.inputs import root_of
from fdetect.bench.data.near_duplicates import TABLE, fingerprints
from fdetect.bench.layouts import read_manifest
from fdetect.bench.running import Running
from fdetect.errors import DataError, ParameterError
from fdetect.perturb import MIN_CROP
from fdetect.splits import join_same_content
from fdetect.types import FAKE, REAL, Failure, Record, Table, records

__all__ = ["Subset", "draw_subset", "portable"]

Stratum = tuple[int, str, str]  # label, generator or real source, split


@dataclass(frozen=True)
class Subset:
    """What was drawn, and what was not.

    manifest   the rows that were taken, in the order of the data
    taken      (label, name, split) -> images taken
    available  the same -> images that could be taken, each content once
    copies     rows left out because another row of the label has the same content
    conflicts  rows left out because their content is labelled real and fake
    failures   images that would have been taken and cannot be read; others came in their place
    """

    manifest: Table
    taken: dict[Stratum, int]
    available: dict[Stratum, int]
    copies: int
    conflicts: int
    failures: tuple[Failure, ...]


def draw_subset(
    data: str | Path | Table,
    *,
    per_generator: int,
    per_source: int = 0,
    layout: str = "auto",
    root: str | Path | None = None,
    seed: int = 0,
    **running: Any,
) -> Subset:
    """Take at most so many images of each generator and each real source, of each split, in whole groups.

    per_source  of each real source; 0 for as many as of each generator
    running     settings of the engine, as `fdetect.bench.running.Running` has them

    Groups are joined where they hold the same content, and an image without group is one by itself.  A group is taken
    when each stratum in it has room for all its images; one that is larger than that is never taken.  Raises DataError
    as `read_manifest` does and where nothing can be taken, and ParameterError for a number below 1.
    """
    if per_generator < 1 or per_source < 0:
        raise ParameterError(f"per_generator is {per_generator} and per_source {per_source}; give 1 or more")
    manifest = data if isinstance(data, pa.Table) else read_manifest(data, layout=layout, root=root)
    going = Running.of(running)
    rows, ids = records(manifest), going.run(manifest, [], "native", MIN_CROP, 0).ids  # no task: contents alone
    labels: dict[str, set[int]] = {}
    for row, id in zip(rows, ids, strict=True):
        labels.setdefault(id, set()).add(row.label)
    clear = [k for k, id in enumerate(ids) if len(labels[id]) == 1]
    first: dict[str, int] = {}
    for k in sorted(clear, key=lambda k: (rows[k].split != "test", rows[k].path)):  # of copies one of the test
        first.setdefault(ids[k], k)
    candidates = list(first.values())
    room = {FAKE: per_generator, REAL: per_source or per_generator}
    group = join_same_content([row.group or row.path for row in rows], ids)
    failures: list[Failure] = []
    while True:  # what was drawn is decoded, and drawn again without what cannot be
        chosen, taken = _greedy(rows, ids, group, candidates, room, seed)
        if not chosen:
            if not candidates:
                raise DataError("no image can be drawn: all are unreadable, or labelled both real and fake")
            raise DataError(f"every group has more than {per_generator} images of a generator, or more than "
                            f"{per_source or per_generator} of a real source; give a larger number")  # fmt: skip
        drawn = manifest.take(pa.array(chosen, pa.int64()))
        bad = fingerprints(drawn, going).tables[TABLE].failures
        if not bad:
            break
        failures += bad
        paths = {one.path for one in bad}
        candidates = [k for k in candidates if rows[k].path not in paths]
    available = Counter(_stratum(rows[k]) for k in candidates)
    return Subset(
        drawn,
        {stratum: taken[stratum] for stratum in sorted(available)},
        dict(sorted(available.items())),
        len(clear) - len(first),
        len(rows) - len(clear),
        tuple(failures),
    )


def _greedy(
    rows: Sequence[Record], ids: Sequence[str], group: np.ndarray, candidates: Sequence[int], room: dict[int, int],
    seed: int,
) -> tuple[list[int], Counter[Stratum]]:  # fmt: skip
    """Take whole groups in the order of their keyed hash, where all of one fits; the scarcest stratum chooses first."""
    members: dict[str, list[int]] = {}
    for k in candidates:
        members.setdefault(str(group[k]), []).append(k)
    wanted = {name: Counter(_stratum(rows[k]) for k in here) for name, here in members.items()}
    order = sorted(members, key=lambda name: min(_key(seed, ids[k]) for k in members[name]))
    chosen: list[int] = []
    taken: Counter[Stratum] = Counter()
    left = dict.fromkeys(order)
    available = sum(wanted.values(), Counter[Stratum]())
    first: dict[Stratum, int] = {}
    for k in candidates:
        stratum, key = _stratum(rows[k]), _key(seed, ids[k])
        first[stratum] = min(first.get(stratum, key), key)
    for scarce in sorted(available, key=lambda stratum: (available[stratum], first[stratum])):  # by no name
        for name in [name for name in left if scarce in wanted[name]]:
            if all(taken[stratum] + n <= room[stratum[0]] for stratum, n in wanted[name].items()):
                chosen += members[name]
                taken += wanted[name]
                del left[name]
    return sorted(chosen), taken


def portable(manifest: Table, out: Path) -> tuple[Table, str]:
    """Return the manifest with paths relative to the folder of `out`, and "" for what --root has to be.

    Where the data are not below that folder, the paths stay as they are and the root, or its address, is named.
    """
    root = absolute(root_of(manifest))
    levels = below(root, absolute(out.parent))
    if levels is None:
        return manifest, root
    prefix = "".join(f"{level}/" for level in levels)
    paths = [f"{prefix}{path}" for path in manifest.column("path").to_pylist()]
    at = manifest.column_names.index("path")
    return manifest.set_column(at, "path", pa.array(paths, pa.string())), ""


def _stratum(row: Record) -> Stratum:
    return row.label, row.origin, row.split


def _key(seed: int, id: str) -> int:
    return xxhash.xxh3_64_intdigest(f"{seed}:{id}".encode())
