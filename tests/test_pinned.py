"""The baseline that ships: it is of this version's images and conditions, and gates what is compared with it."""

from __future__ import annotations

import json
from xml.etree import ElementTree

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
from fdetect.errors import DataError, ParameterError


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


def with_further_detectors(side: Side) -> pa.Table:
    """Scores as of a run of the built-in benchmark: the two that ship, and `logreg:<b>` and `gbt:noise` beside them."""
    place = side.table.column_names.index("detector")
    first = side.table.filter(pc.field("detector") == "logreg:all")
    more = [first.set_column(place, "detector", pa.array([name] * len(first))) for name in ("logreg:<b>", "gbt:noise")]
    return pa.concat_tables([more[0], side.table, more[1]])


def test_a_run_is_gated_by_the_detectors_that_both_have_and_says_which_it_left_out(fdetect, side, tmp_path):  # noqa: F811
    table, file = with_further_detectors(side), str(tmp_path / "bi.parquet")
    pq.write_table(table, file)
    files = {name: tmp_path / f"gate.{name}" for name in ("junit", "markdown", "json")}
    options = [part for name, path in files.items() for part in (f"--{name}", str(path))]
    code, out, err = fdetect("compare", "builtin", file, "--margin", "0.05", "--replicates", "100", *options)
    assert code == 0, err
    assert [line for line in out.splitlines() if " against " in line] == [
        f"{name} against {name}, baseline under matched" for name in pinned.DETECTORS]  # fmt: skip
    note = ("not compared, as the baseline that ships (builtin) has no such detector (2; --detector with --against "
            "compares one): logreg:<b>, gbt:noise")  # fmt: skip
    assert err.splitlines()[0] == f"fdetect: {note}"
    assert f"\n\n`{note}`\n\n" in files["markdown"].read_text()
    assert ElementTree.fromstring(files["junit"].read_bytes()).findtext("system-out") == note
    assert json.loads(files["json"].read_text())["left_out"] == ["logreg:<b>", "gbt:noise"]


def test_detectors_that_are_named_or_not_shared_are_no_matter_of_leaving_out(side):
    whole = with_further_detectors(side)
    run = Side("run", whole)
    named = gate(side, run, margins=Margins(), detectors=("gbt:noise",), against="logreg:all", replicates=100)
    assert (named.left_out, named.note) == ((), "")
    assert {one.detector for one in named.checks} == {"gbt:noise"}
    few, alone, strange = (Side("run", whole.filter(pc.is_in(pc.field("detector"), pa.array(names)))) for names in
                           (["hist_gb:all", "gbt:noise"], ["gbt:noise"], ["gbt:noise", "logreg:<b>"]))  # fmt: skip
    for other, how, words in (
        (run, {"detectors": ("gbt:nois",)}, "run has no detector 'gbt:nois'"),
        (run, {"detectors": ("gbt:noise",)}, "has no detector 'gbt:noise' to compare with; name one by --against"),
        (few, {}, "run has no detector 'logreg:all', which the baseline that ships"),  # it may have failed there
        (alone, {}, "run has no detector 'logreg:all', which the baseline that ships"),
        (strange, {}, "run has no detector 'logreg:all', which the baseline that ships"),
    ):
        with pytest.raises(ParameterError, match=words):
            gate(side, other, margins=Margins(), replicates=100, **how)


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
