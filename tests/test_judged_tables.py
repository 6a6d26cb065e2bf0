"""What `evaluate` says of score tables: what lacks a threshold, detectors of several fits, pairs, and what it asks."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from boards import GENERATORS, SOURCES, header_of, rows_of
from test_cli import fdetect  # noqa: F401 (a fixture)
from test_evaluate import Row, cell, fakes, reals, run, table
from test_report import example

from fdetect.bench.report.run_page import render_report
from fdetect.bench.report.tables import result_grids, summary_grids
from fdetect.bench.scores.evaluate import ScoreTable, cells_of
from fdetect.bench.scores.given import read_score_table
from fdetect.bench.scores.score_table import without_threshold
from fdetect.bench.scores.suspicions import suspicions
from fdetect.errors import DataError

AUDIT = {"biased_by": {}, "unmeasured": {}, "probes": []}
Column = tuple[str, str, str, str]


def written(file: Path, rows: list[Row]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file


def threshold_row(rows: list[Row], folder: Path) -> dict[str, str]:
    """The only row at the frozen threshold, column by column, as `evaluate` shows it of a file."""
    read = read_score_table(written(folder / "s.parquet", rows))
    grid = result_grids(cells_of(read, replicates=10), unstated=without_threshold(read))[1]
    (row,) = grid.rows
    return {name.partition(" (")[0]: text for name, text in zip(grid.columns, row, strict=True)}


RATES = ("fakes found", "FPR achieved", *(f"FPR on {name}" for name in SOURCES))

# -- thresholds -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "word"), [
    ({"threshold": None}, "no threshold"),
    ({"threshold": math.nan}, "no threshold"),
    ({"threshold": math.inf}, "not attainable"),
    ({"threshold": None, "n_calibration": 12}, "not attainable"),  # as a run writes it
])  # fmt: skip
def test_a_threshold_that_is_not_attainable_is_told_from_none(said: Row, word: str, tmp_path):
    found = threshold_row([{**row, **said} for row in rows_of("a")], tmp_path)
    assert {found[name] for name in RATES} == {word}
    assert found["balanced accuracy"] == "–"


def test_a_table_without_the_column_has_no_threshold(tmp_path):
    rows = [{name: value for name, value in row.items() if name != "threshold"} for row in rows_of("a")]
    assert threshold_row(rows, tmp_path)["fakes found"] == "no threshold"


@pytest.mark.parametrize(("lost", "real_rates_known"), [("adm", True), ("coco", True), ("", False)])
def test_without_scores_there_is_a_dash_and_no_word_of_the_threshold(lost: str, real_rates_known: bool, tmp_path):
    rows = rows_of("a")
    rows = rows_of("a", failed=tuple({row["path"] for row in rows if row["path"].startswith(lost)}))
    found = threshold_row(rows, tmp_path)
    assert "not attainable" not in found.values()
    assert "no threshold" not in found.values()
    assert (found["fakes found"] == "–!") == (lost != "coco")
    assert (found["FPR on phone"] != "–!") == real_rates_known
    assert (found["FPR on coco"] == "–!") == (lost != "adm")


def test_a_run_says_that_its_threshold_was_not_attainable():
    cells = run([{**row, "threshold": None} for row in reals([0.1, 0.2], real_source="a") + fakes("gan", [0.3])])
    assert result_grids(cells)[1].rows == (("d", "not attainable", "not attainable", "–", "not attainable"),)
    assert summary_grids(cells, AUDIT)[0].rows[0][4:] == ("not attainable", "not attainable")


@pytest.mark.parametrize("threshold", [math.inf, -math.inf, math.nan, None])
def test_by_a_threshold_at_infinity_nothing_is_decided(threshold: float | None):
    """It would call nothing fake, or everything: a rate of 0 (of 1) that nobody chose."""
    rows = [{**row, "threshold": 0.5} for row in reals([0.1, 0.7]) + fakes("gan", [0.8, None])]
    rows += [{**row, "threshold": threshold, "trial": "b/0"} for row in reals([0.1, 0.2]) + fakes("ldm", [0.3])]
    np.testing.assert_array_equal(ScoreTable.of(table(rows)).called_fake, [0, 1, 1] + [np.nan] * 4)
    gan, ldm = (cell(run(rows), name) for name in ("gan", "ldm"))
    for name, rate in (("tpr_frozen_5", 1.0), ("fpr_achieved_5", 0.5)):
        assert gan.metric(name).value == rate
        assert math.isnan(ldm.metric(name).value)
    assert ldm.metric("auroc").value == 1.0


def test_columns_that_say_nothing_of_a_threshold_are_named():
    rows = [{**row, "detector": name, "threshold": value} for name, value in
            (("a", None), ("b", 1.5), ("c", math.inf)) for row in reals([0.1, 0.2])]  # fmt: skip
    rows[2] |= {"threshold": None}
    assert without_threshold(table(rows)) == {(name, "", "native", "native") for name in "ab"}


# -- several fits of one detector -----------------------------------------------------------------------------------


def twice() -> list[Row]:
    """A detector that was fitted under two conditions on one training set, and tested under one."""
    other = [{**row, "train_condition": "jpeg70"} for row in rows_of("a", shift=3, noise=4)]
    return [*rows_of("a", shift=0.2), *other, *rows_of("b", noise=2)]


def test_a_detector_that_was_fitted_under_two_conditions_has_a_row_for_each():
    cells = cells_of(pa.Table.from_pylist(twice()), replicates=20)
    auroc, frozen = result_grids(cells)
    (summary,) = summary_grids(cells, AUDIT)
    names = [("a", "all but the tested, matched"), ("a", "all but the tested, jpeg70"), ("b", "all but the tested")]
    assert [row[:2] for row in auroc.rows] == names
    assert [row[0] for row in frozen.rows] == [row[0] for row in summary.rows] == [" ".join(name) for name in names]
    for k, under in enumerate(("matched", "jpeg70")):
        mine = [c for c in cells if (c.detector, c.train_condition) == ("a", under)]
        macro = next(c for c in mine if c.generator == "macro")
        assert auroc.rows[k][2].startswith(f"{macro.metric('auroc').value:.3f} [")
        of_source = next(c for c in mine if c.real_source == "phone")
        assert frozen.rows[k][-1].startswith(f"{of_source.metric('fpr_achieved_5').value:.3f} [")


def test_the_page_shows_both_fits():
    header = header_of()
    cells = cells_of(pa.Table.from_pylist(twice()), replicates=20)
    page = render_report(replace(example(), header=example().header | {"data": header["data"]}, cells=cells,
                                 audit={**example().audit, "biased_by": {"matched": []}}))  # fmt: skip
    for c in cells:
        if c.generator in (*GENERATORS, "macro"):
            auroc = c.metric("auroc")
            assert page.count(f"AUROC {auroc.value:.3f} [{auroc.low:.2f}, {auroc.high:.2f}]; ") >= 1  # in a map
    assert page.count("a ← all but the tested, jpeg70") >= 2  # at a glance, and in the chart


def test_one_fit_for_each_condition_is_one_name():
    """As in every run: `native` is trained under native, the others under matched."""
    both = [{**row, "condition": "native", "train_condition": "native"} for row in rows_of("a")] + rows_of("a")
    for grid in result_grids(cells_of(pa.Table.from_pylist(both), replicates=5)):
        assert [row[0] for row in grid.rows] == ["a"]
        assert "trained on" not in grid.columns


# -- probabilities --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "shown"), [(97.0, "97"), (-0.5, "-0.5"), (1.0001, "1.0001"), (math.inf, "inf")])
def test_a_probability_outside_0_and_1_is_refused(value: float, shown: str, tmp_path):
    rows = rows_of("a")
    rows[3]["probability"] = value
    said = rf"s\.parquet: row 4 has the probability {shown}, .*\(1 such rows\); write 97% as"
    with pytest.raises(DataError, match=said):
        read_score_table(written(tmp_path / "s.parquet", rows))
    for row, right in zip(rows, (0.0, 1.0, None, 0.5), strict=False):
        row["probability"] = right
    assert len(read_score_table(written(tmp_path / "t.parquet", rows))) == len(rows)


# -- questions ------------------------------------------------------------------------------------------------------


def test_questions_name_the_training_set_where_there_are_several():
    trains = ("adm", "glide", "both")
    turned = [{**row, "train": one, "trial": one + row["trial"]} for one in trains for row in rows_of("a", shift=-3)]
    turned += [{**row, "score": float(row["score"] > 0)} for row in rows_of("b")]
    read = pa.Table.from_pylist(turned)
    found = suspicions(read, cells_of(read, replicates=5))
    far = [one for one in found if "far below chance" in one]
    assert [one.partition(" is far")[0] for one in far] == [f"a ← {one}" for one in trains]
    assert len(set(found)) == len(found)
    (decided,) = set(found) - set(far)
    assert decided.startswith("b ← all but the tested has 2 different scores under matched")


def test_one_fit_of_several_that_gives_decisions_is_found():
    rows = [{**row, "train": "x", "trial": f"x {row['trial']}"} for row in rows_of("a")]
    rows += [{**row, "train": "y", "score": float(row["score"] > 0)} for row in rows_of("a")]
    read = pa.Table.from_pylist(rows)
    (found,) = suspicions(read, cells_of(read, replicates=5))
    assert found.startswith("a ← y has 2 different scores under matched")


# -- paired lines ---------------------------------------------------------------------------------------------------


@pytest.fixture
def pairs(fdetect, tmp_path):  # noqa: F811
    """Run `evaluate --pair`, on a detector that lost half of the images, one that lost all, and two whole ones."""
    every = {str(row["path"]) for row in rows_of("a")}
    half = tuple(path for path in every if int(path.split("/")[1].split(".")[0]) < 12)
    rows = rows_of("a", failed=half) + rows_of("b", noise=1) + rows_of("c", failed=tuple(every)) + rows_of("d", noise=3)
    file = written(tmp_path / "p.parquet", rows)

    def said(*names: str, level: str = "0.95") -> str:
        chosen = [part for name in names for part in ("--pair", name)]
        code, out, _ = fdetect("evaluate", file, *chosen, "--replicates", "50", "--level", level)
        assert code == 0
        return out

    return said


def test_a_pair_counts_the_images_that_both_scored(pairs):
    out = pairs("a,b")
    assert "paired group bootstrap over 48 images): " in out
    assert "(48 images failed in either)" in out
    assert "paired group bootstrap over 96 images): " in pairs("b,d")


def test_a_pair_without_a_figure_has_dashes(pairs):
    out = pairs("c,b")
    assert "macro AUROC – - – = – (95 %, paired group bootstrap over 0 images): not measured" in out
    assert "nan" not in out
    assert "p =" not in out


def test_comparisons_without_a_p_value_are_not_counted(pairs):
    out = pairs("a,b", "a,c", "d,b")
    assert out.count("corrected for 2 comparisons (Holm)") == 2
    assert "comparisons (Holm)" not in pairs("a,b", "a,c")  # one is left, and is not corrected


@pytest.mark.parametrize(("level", "shown"), [("0.999", "(99.9 %, "), ("0.9", "(90 %, ")])
def test_a_level_is_not_rounded(pairs, level: str, shown: str):
    assert shown in pairs("b,d", level=level)
