"""The baseline that ships: it is of this version's images and conditions, and gates what is compared with it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from test_cli import fdetect  # noqa: F401 (a fixture)

from fdetect.bench.data.builtin import builtin_manifest
from fdetect.bench.gate import pinned
from fdetect.bench.gate.checks import Margins
from fdetect.bench.gate.gate import gate
from fdetect.bench.gate.sides import Side
from fdetect.errors import DataError


@pytest.fixture(scope="module")
def side() -> Side:
    return pinned.pinned_side()


def test_it_scores_the_images_of_the_built_in_benchmark(side, tmp_path):
    manifest = builtin_manifest(tmp_path, networks=())
    wanted = {row["path"]: (row["label"], row["generator"], row["group"]) for row in manifest.to_pylist()}
    found = {row["path"]: (row["label"], row["generator"], row["group"]) for row in side.table.to_pylist()}
    assert found == wanted
    assert side.detectors == pinned.DETECTORS
    for name in pinned.DETECTORS:
        assert {len(side.rows(name, condition)) for condition in pinned.CONDITIONS} == {len(side.table) // 6}
    assert np.isfinite(side.table.column("score").to_numpy()).all()


def test_one_of_other_images_is_refused(monkeypatch):
    monkeypatch.setattr(pinned.builtin, "VERSION", 0)
    with pytest.raises(DataError, match="of other images or conditions than this version of fdetect has"):
        pinned.pinned_side()


def test_the_same_scores_pass_and_further_images_are_left_out(side):
    place = side.table.column_names.index("path")
    own = pc.binary_join_element_wise("own", side.table.column("path"), "/")
    run = Side("run", pa.concat_tables([side.table, side.table.set_column(place, "path", own)]))
    found = gate(side, run, margins=Margins(), conditions=pinned.CONDITIONS, replicates=100)
    assert found.passed
    assert len(found.checks) == 30


def test_scores_alone_are_gated_by_the_command(fdetect, side, tmp_path):  # noqa: F811
    mine = side.rows("logreg:all", "matched").select(["path", "trial", "score", "threshold"])
    noise = np.random.default_rng(0).normal(size=len(mine)) * 100
    worse = mine.set_column(2, "score", pa.array(mine.column("score").to_numpy() + noise))
    for name, table, expected in (("same", mine, 0), ("worse", worse, 1)):
        pq.write_table(table, tmp_path / f"{name}.parquet")
        code, out, err = fdetect("compare", "builtin", "--scores", str(tmp_path / f"{name}.parquet"), "--against",
                                 "logreg:all", "--replicates", "200")  # fmt: skip
        assert code == expected, err
        assert "auroc, macro" in out
    assert "inferior" in out
