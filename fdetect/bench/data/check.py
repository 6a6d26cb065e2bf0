"""What is wrong with a data set, or with how it is split, before anything is measured on it: `fdetect data check`.

    manifest --headers--> overview (formats, sizes, qualities by class) --.
        \\------whole files, engine--> contents, hashes, sizes ------------+--> DataCheck

A copy of a test image in training, a photograph that is also listed as a fake, a generator without reals of its own and
an image that no crop fits are found here; how much formats and sizes give away is measured by the audit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fdetect.bench.data.near_duplicates import NEAR_BITS, TABLE, fingerprints, hashes_of, near_pairs
from fdetect.bench.data.overview import Overview, overview
from fdetect.bench.layouts import read_manifest
from fdetect.bench.running import Running
from fdetect.errors import ParameterError
from fdetect.perturb import MARGIN, check_crop
from fdetect.types import FAKE, REAL, Failure, Record, Table, records

__all__ = ["DataCheck", "Pair", "check_data"]

_NAMES = ("real", "fake")


@dataclass(frozen=True)
class Pair:
    """Two images that are the same, to the byte or to the eye, on two sides of a split or under two labels."""

    first: str
    second: str
    across: str  # "splits", "labels" or "splits and labels"
    bits: int  # of the hash that differ; -1 for equal content


@dataclass(frozen=True)
class DataCheck:
    """What was found.

    crop, near_bits  what the check was asked for
    n_contents       different files among the readable ones
    shared_reals     (files, paths): reals that stand under several paths; each is one group in splits and intervals
    paired           near-duplicate pairs across labels within one group: pairs by design, and no finding
    flat             readable images of one colour, which have no hash and are not compared
    split_groups     groups that stand on two sides of a split
    too_small        path -> "width x height" where a side is below crop + 8 px
    single_class     in words, each split and each generator or real source that lacks its other class
    """

    manifest: Table
    overview: Overview
    ids: tuple[str, ...]
    failures: tuple[Failure, ...]
    crop: int
    near_bits: int
    n_contents: int
    shared_reals: tuple[int, int]
    exact: tuple[Pair, ...]
    near: tuple[Pair, ...]
    paired: int
    flat: int
    split_groups: tuple[str, ...]
    too_small: dict[str, str]
    single_class: tuple[str, ...]

    @cached_property
    def findings(self) -> tuple[str, ...]:
        """Return one line for each kind of finding, with its count; --strict exits with 3 where there is any."""
        apart = self.split_groups
        return (
            *_line(len(self.failures), "image", "cannot be read: a failure in every run"),
            *_pair_lines(self.exact, "of equal content"),
            *_pair_lines(self.near, f"alike to the eye ({self.near_bits} of 64 bits apart at most)"),
            *_line(len(apart), "group", f"on two sides of a split, the first '{apart[0] if apart else ''}'"),
            *_line(len(self.too_small), "image", f"with a side below {self.crop + MARGIN} px, too small for --crop "
                   f"{self.crop} and a margin of {MARGIN}"),
            *self.single_class,
        )  # fmt: skip

    def counts(self) -> list[tuple[str, str, str, int]]:
        """Return (label, generator or real source, split, images), sorted."""
        found = Counter((r.label, r.origin, r.split) for r in records(self.manifest))
        return [(_NAMES[label], name, split, n) for (label, name, split), n in sorted(found.items())]

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain lists and dictionaries."""
        return {
            "detected": self.overview.detected,
            "findings": list(self.findings),
            "beware": list(self.overview.warnings),
            "counts": [dict(zip(("label", "name", "split", "images"), row, strict=True)) for row in self.counts()],
            "files": self.overview.as_rows(),
            "images": self.manifest.num_rows,
            "contents": self.n_contents,
            "shared_reals": {"files": self.shared_reals[0], "paths": self.shared_reals[1]},
            "unreadable": {one.path: f"{one.stage}: {one.reason}" for one in self.failures},
            "exact_duplicates": [vars(pair) for pair in self.exact],
            "near_duplicates": {
                "bits": self.near_bits, "pairs": [vars(pair) for pair in self.near],
                "within_groups_across_labels": self.paired, "flat_images_not_compared": self.flat,
            },
            "split_groups": list(self.split_groups),
            "too_small": {"crop": self.crop, "images": self.too_small},
            "single_class": list(self.single_class),
        }  # fmt: skip

    def as_table(self) -> Table:
        """Return the manifest with `id` and, for each image, `finding`: what is wrong with it, in words."""
        words: dict[str, list[str]] = {}
        for one in self.failures:
            words.setdefault(one.path, []).append(f"unreadable: {one.stage}: {one.reason}")
        for pair in (*self.exact, *self.near):
            how = "equal" if pair.bits < 0 else f"{pair.bits} bits apart"
            for mine, other in ((pair.first, pair.second), (pair.second, pair.first)):
                words.setdefault(mine, []).append(f"{how}, across {pair.across}: {other}")
        for path, size in self.too_small.items():
            words.setdefault(path, []).append(f"too small: {size}")
        finding = ["; ".join(words.get(path, ())) for path in self.manifest.column("path").to_pylist()]
        table = self.manifest.append_column("id", pa.array(self.ids, pa.string()))
        return table.append_column("finding", pa.array(finding, pa.string()))


def check_data(
    data: str | Path | Table,
    *,
    layout: str = "auto",
    root: str | Path | None = None,
    crop: int = 224,
    near_bits: int = NEAR_BITS,
    **running: Any,
) -> DataCheck:
    """Read every image of a labelled set, and say what is wrong.

    crop       side in px that a run will see: images that it does not fit are found
    near_bits  bits of 64 that two hashes may differ in; 0 to 16
    running    settings of the engine, as `fdetect.bench.running.Running` has them

    Raises DataError as `read_manifest` does, and ParameterError for a setting that cannot be used.
    """
    check_crop(crop)
    if not 0 <= near_bits <= 16:
        raise ParameterError(f"near_bits is {near_bits}; give 0 to 16 of the 64 bits of a hash")
    manifest = data if isinstance(data, pa.Table) else read_manifest(data, layout=layout, root=root)
    going = Running.of(running)
    extraction = fingerprints(manifest, going)
    table = extraction.tables[TABLE]
    rows, n_seen = records(manifest), 0

    def looked(n: int) -> None:
        nonlocal n_seen
        n_seen += n
        if going.progress:
            going.progress("reading headers", n_seen, len(rows))

    going.tell(extraction, ())
    width, height = table.values[:, -2], table.values[:, -1]
    small = np.flatnonzero(np.minimum(width, height) < crop + MARGIN).tolist()  # NaN, of the unreadable, is not below
    readable = np.isfinite(width)
    copies = _copies(rows, table.ids, readable)
    near, paired, flat = _near(rows, table.ids, table.values, near_bits)
    reals = [here for here in copies if len(here) > 1 and all(rows[k].label == REAL for k in here)]
    return DataCheck(
        manifest,
        overview(manifest, progress=looked),
        table.ids,
        table.failures,
        crop,
        near_bits,
        len(copies),
        (len(reals), sum(len(here) for here in reals)),
        tuple(pair for here in copies for pair in _pairs_of(rows, here)),
        near,
        paired,
        flat,
        _split_groups(rows),
        {rows[k].path: f"{width[k]:.0f}x{height[k]:.0f}" for k in small},
        _single_class(rows, [rows[k] for k in np.flatnonzero(readable).tolist()]),
    )


def _copies(rows: Sequence[Record], ids: Sequence[str], readable: np.ndarray) -> list[list[int]]:
    """Return the rows of each content, in the order of the manifest."""
    found: dict[str, list[int]] = {}
    for k in np.flatnonzero(readable).tolist():
        found.setdefault(ids[k], []).append(k)
    return list(found.values())


def _pairs_of(rows: Sequence[Record], here: Sequence[int]) -> list[Pair]:
    """Return the pairs of equal content that stand on two sides: one for each two kinds of (split, label)."""
    first: dict[tuple[str, int], int] = {}
    for k in here:
        first.setdefault((rows[k].split, rows[k].label), k)
    pairs = [(i, j, _across(rows[i], rows[j])) for i, j in combinations(first.values(), 2)]
    return [Pair(rows[i].path, rows[j].path, across, -1) for i, j, across in pairs if across]


def _near(
    rows: Sequence[Record], ids: Sequence[str], values: np.ndarray, bits: int
) -> tuple[tuple[Pair, ...], int, int]:
    """Return pairs that differ in their bytes and hardly in their hash, those within groups, and the flat images."""
    hashes, hashed = hashes_of(values)
    here = np.flatnonzero(hashed)
    codes = [[getattr(rows[k], name) for k in here.tolist()] for name in ("split", "label")]
    found, paired = [], 0
    for i, j in here[near_pairs(hashes[here], *codes, bits=bits)].tolist():
        one, other = rows[i], rows[j]
        across = _across(one, other)
        if ids[i] == ids[j] or not across:
            continue
        if across == "labels" and one.group and one.group == other.group:
            paired += 1
        else:
            found.append(Pair(one.path, other.path, across, int(np.bitwise_count(hashes[i] ^ hashes[j]))))
    flat = int((np.isfinite(values).all(axis=1) & ~hashed).sum())
    return tuple(found), paired, flat


def _across(one: Record, other: Record) -> str:
    """Say what two images are on two sides of; a row without split is on no side."""
    apart = [("splits", bool(one.split and other.split) and one.split != other.split)]
    apart.append(("labels", one.label != other.label))
    return " and ".join(name for name, differ in apart if differ)


def _split_groups(rows: Sequence[Record]) -> tuple[str, ...]:
    splits: dict[str, set[str]] = {}
    for row in rows:
        if row.group and row.split:
            splits.setdefault(row.group, set()).add(row.split)
    return tuple(sorted(group for group, found in splits.items() if len(found) > 1))


def _single_class(rows: Sequence[Record], readable: Sequence[Record]) -> tuple[str, ...]:
    """Say which splits lack a class; and which sets, where a layout gives each generator reals of its own.

    What cannot be read is not there.
    """
    found = []
    splits = sorted({row.split for row in rows})
    for split in splits:
        labels = {row.label for row in readable if row.split == split}
        where = f"split {split}" if split else "the set" if splits == [""] else "what has no split"
        found += [f"{where} has no {_NAMES[label]} images" for label in (REAL, FAKE) if label not in labels]
    sets = {label: {row.origin for row in readable if row.label == label} - {""} for label in (REAL, FAKE)}
    if sets[REAL] & sets[FAKE]:
        found += [f"{name} has fakes and no reals of its own" for name in sorted(sets[FAKE] - sets[REAL])]
        found += [f"{name} has reals and no fakes" for name in sorted(sets[REAL] - sets[FAKE])]
    return tuple(found)


def _pair_lines(pairs: Sequence[Pair], what: str) -> list[str]:
    """Count pairs by what they are across."""
    counts = Counter(pair.across for pair in pairs)
    return [line for across, n in sorted(counts.items()) for line in _line(n, "pair", f"{what} across {across}")]


def _line(n: int, noun: str, what: str) -> list[str]:
    return [f"{n} {noun}{'s' * (n != 1)} {what}"] if n else []
