"""A manifest of many rows: the columns say what a walk through the rows says, and errors name the row."""

from __future__ import annotations

import statistics
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fdetect.bench.audit import AUDITED, audited_rows
from fdetect.bench.data.tally import Spread, Tally
from fdetect.bench.layouts import read_manifest
from fdetect.bench.protocols import samples_of
from fdetect.config import fingerprint
from fdetect.errors import DataError

N = 200_000


def written(folder: Path, **changes: list[str]) -> Path:
    """Write N rows, every second a fake, two of one number a group; in several row groups."""
    rows = {
        "path": [f"{'real' if k % 2 == 0 else 'fake'}/{k:06d}.jpg" for k in range(N)],
        "label": ["nature" if k % 2 == 0 else " FAKE" for k in range(N)],
        "generator": ["" if k % 4 == 3 else f"g{k % 8}" for k in range(N)],
        "group": [f"scene {k // 2}" if k % 3 else "" for k in range(N)],
    }
    pq.write_table(pa.table({**rows, **changes}), folder / "manifest.parquet", row_group_size=30_000)
    return folder / "manifest.parquet"


def test_many_rows_are_read_as_one_by_one(tmp_path: Path) -> None:
    paths = [f"real/{k}.jpg" for k in range(N)]
    odd = {7: "./a//b.jpg", 31_000: f"{tmp_path}/c/d.jpg", 150_000: "e/../f.jpg", 150_001: "s.tar::./../x"}
    for row, path in odd.items():
        paths[row] = path
    table = read_manifest(written(tmp_path, path=paths))
    for row, path in zip(odd, ("a/b.jpg", "c/d.jpg", "f.jpg", "s.tar::./../x"), strict=True):
        paths[row] = path
    assert table["path"].to_pylist() == paths
    assert table["label"].to_pylist() == [k % 2 for k in range(N)]
    assert table["generator"].to_pylist() == ["unknown" if k % 4 == 3 else f"g{k % 8}" for k in range(N)]
    samples = samples_of(table)
    assert samples.group.tolist() == [f"scene {k // 2}" if k % 3 else paths[k] for k in range(N)]
    assert samples.generators == ("g1", "g5", "unknown")


def test_the_row_in_error_is_named_however_far_down(tmp_path: Path) -> None:
    paths = [f"{k}.jpg" for k in range(N)]
    with pytest.raises(DataError, match=r"data row 160001: path '31.jpg' stands in row 32 already"):
        read_manifest(written(tmp_path, path=[*paths[:160_000], "x/../31.jpg", *paths[160_001:]]))
    with pytest.raises(DataError, match=r"data row 160001: path '../31.jpg' is not below"):
        read_manifest(written(tmp_path, path=[*paths[:160_000], "../31.jpg", *paths[160_001:]]))
    with pytest.raises(DataError, match=r"data row 190000: label 'maybe' is none of 0, 1"):
        read_manifest(written(tmp_path, label=[*["0"] * 189_999, "maybe", *["1"] * 10_000]))


def test_the_audit_looks_at_whole_groups_in_equal_shares(tmp_path: Path) -> None:
    samples = samples_of(read_manifest(written(tmp_path)))
    rows = audited_rows(samples)
    assert abs(len(rows) - AUDITED) < 0.01 * AUDITED
    assert (np.diff(rows) > 0).all()
    inside = set(samples.group[rows])
    assert len(rows) == sum(group in inside for group in samples.group), "a group was parted"
    share = Counter(samples.stratum[rows])
    for stratum, n in Counter(samples.stratum).items():
        assert share[stratum] / n == pytest.approx(AUDITED / N, rel=0.01)
    few = samples.at(np.arange(50))
    assert audited_rows(few).tolist() == list(range(50))


def test_a_table_names_a_run_as_its_columns_do(tmp_path: Path) -> None:
    table = read_manifest(written(tmp_path))
    assert fingerprint("a", table, 2) == fingerprint("a", table.to_pydict(), 2)
    assert fingerprint({"b": 1, "a": [2.5, None]}, "é") == "7d7fa2929938defa"  # as ever


def test_a_tally_says_what_its_numbers_say() -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 5, 1000):
        numbers, others = rng.integers(0, 40, n), rng.integers(5, 60, 2 * n)
        tally = Tally.of(numbers)
        spread = tally.spread()
        assert spread is not None
        assert (spread.low, spread.median, spread.high) == (
            min(numbers), statistics.median_low(numbers.tolist()), max(numbers)
        )  # fmt: skip
        assert Spread.of(numbers) == spread
        both = Tally.together([tally, Tally.of(others)])
        assert dict(zip(both.values.tolist(), both.counts.tolist(), strict=True)) == Counter([*numbers, *others])
        shares = [abs((numbers <= x).mean() - (others <= x).mean()) for x in range(60)]
        assert tally.distance(Tally.of(others)) == pytest.approx(max(shares))
    assert Tally.of(np.zeros(0)).spread() is None is Spread.of(np.zeros(0, np.int64))
