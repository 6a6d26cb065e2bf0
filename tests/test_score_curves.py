"""Curves of scores: against plain loops, against the metrics of the same table, and by hand where it is known."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import naive_score_curves as naive
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_evaluate import Row, cell, fakes, reals, run, run_like, table

from fdetect.bench.output import canonical_json, write_outputs
from fdetect.bench.report.plots import Axis, Frame, key, pens, probit
from fdetect.bench.report.score_charts import DRAWN, score_charts, score_grids
from fdetect.bench.report.svg import SMALL
from fdetect.bench.scores.curves import SCORE_CURVES, ScoreCurves, read_score_curves, score_curves_json, score_curves_of
from fdetect.bench.scores.evaluate import cells_of
from fdetect.bench.scores.shapes import COVERAGE, FPR, UNITS, least_area
from fdetect.config import RunConfig
from fdetect.decide import exact_interval
from fdetect.types import RunResult

HALF = UNITS.index(0.0)


def curves(rows: list[Row]) -> ScoreCurves:
    (found,) = score_curves_of(table(rows))
    return found


def trial(real: list[float], fake: list[float], **columns: object) -> list[Row]:
    return reals(real, **columns) + fakes("gan", fake, **columns)  # type: ignore[arg-type]


# -- against loops and metrics ----------------------------------------------------------------------------------------


def test_every_curve_equals_the_loops() -> None:
    rows = [row | {"threshold": None} if row["trial"] == "many/1" else row for row in run_like()]
    found = curves(rows)
    assert found.unplaced == 1
    assert found.trials == 9
    for x in FPR[::7]:
        assert found.roc.tpr[FPR.index(x)] == pytest.approx(naive.tpr(rows, x), abs=1e-6)
    for k in range(len(UNITS) - 1):
        low = -math.inf if k == 0 else UNITS[k]
        high = math.inf if k == len(UNITS) - 2 else UNITS[k + 1]
        assert found.histogram.reals[k] == pytest.approx(naive.share(rows, 0, low, high), abs=1e-6)
        assert found.histogram.fakes[k] == pytest.approx(naive.share(rows, 1, low, high), abs=1e-6)
    for k in range(0, len(COVERAGE), 9):
        assert found.risk.risk[k] == pytest.approx(naive.risk(rows, COVERAGE[k]), abs=1e-6)
    assert found.risk.area == pytest.approx(naive.area(rows), abs=1e-4)
    made = found.reliability
    for m, (weight, predicted, rate, gap) in enumerate(naive.bins(rows)):
        assert (made.weight[m], made.gap[m]) == pytest.approx((weight, gap), abs=1e-6)
        assert (made.predicted[m], made.rate[m]) == pytest.approx((predicted, rate), abs=1e-6, nan_ok=True)


@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 3), st.sampled_from([0, 1, 6]))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_curves_agree_with_the_metrics_of_the_table(seed: int, trials: int, generators: int, digits: int) -> None:
    """Area and AUROC, gaps and ECE, shares beyond the threshold and the rates, on tables with ties and failures."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for t in range(trials):
        columns: Row = {"trial": f"t{t}", "threshold": round(float(rng.normal()), digits)}

        def scores(n: int, shift: float) -> list[float | None]:
            drawn = np.round(rng.normal(shift, 1, n), digits)
            return [None if k > 1 and rng.random() < 0.1 else float(v) for k, v in enumerate(drawn)]

        rows += reals([*scores(int(rng.integers(2, 30)), 0), -9.0, 9.0, 11.0], **columns)  # the quartiles differ
        for g in range(generators):
            rows += fakes(f"g{g}", scores(int(rng.integers(2, 30)), rng.normal()), **columns)
    rows = [row | {"probability": 1 / (1 + math.exp(-(row["score"] or 0)))} for row in rows]  # type: ignore[operator]
    found, macro = curves(rows), cell(run(rows, replicates=0), "macro")
    tpr = np.array(found.roc.tpr)
    assert found.roc.auroc == pytest.approx(macro.metric("auroc").value, abs=1e-12)
    assert (np.diff(tpr) >= 0).all()
    assert tpr[-1] == 1
    bound = (np.diff(FPR) * np.diff(tpr)).sum() / 2
    assert bound <= 0.011
    assert abs(np.trapezoid(tpr, FPR) - found.roc.auroc) <= bound + 1e-6
    assert found.reliability.ece == pytest.approx(macro.metric("ece").value, abs=1e-12)
    assert sum(found.reliability.gap) == pytest.approx(macro.metric("ece").value, abs=1e-5)
    assert found.unplaced == 0
    for shares, rate in ((found.histogram.fakes, "tpr_frozen_5"), (found.histogram.reals, "fpr_achieved_5")):
        assert sum(shares) == pytest.approx(1, abs=1e-4)
        assert sum(shares[HALF:]) == pytest.approx(macro.metric(rate).value, abs=1e-4)
    missed, false = 1 - macro.metric("tpr_frozen_5").value, macro.metric("fpr_achieved_5").value
    assert found.risk.overall == pytest.approx((missed + false) / 2, abs=1e-12)
    assert found.risk.risk[-1] == pytest.approx(found.risk.overall, abs=1e-6)
    assert least_area(found.risk.overall) <= found.risk.area + 1e-12
    counts = macro.metric("auroc")
    assert (found.n_real, found.n_fake, found.n_failed) == (counts.n_real, counts.n_fake, counts.n_failed)


def test_the_ece_of_one_trial_is_what_its_curve_shows() -> None:
    rng = np.random.default_rng(3)
    rows = trial(list(rng.normal(0, 1, 70)), list(rng.normal(1, 1, 45)), threshold=1.0)
    rows = [row | {"probability": 1 / (1 + math.exp(-row["score"]))} for row in rows]  # type: ignore[operator]
    made = curves(rows).reliability
    assert made
    columns = zip(made.weight, made.predicted, made.rate, strict=True)
    assert sum(w * abs(p - r) for w, p, r in columns if w) == pytest.approx(made.ece, abs=1e-5)
    assert made.ece == pytest.approx(cell(run(rows), "gan").metric("ece").value, abs=1e-12)
    assert sum(made.n_real) == 70
    assert sum(made.n_fake) == 45


def test_scores_of_trials_are_not_mixed() -> None:
    """Each trial is perfect though the reals of one lie above the fakes of the other."""
    rows = trial([0.0, 1.0], [2.0, 3.0], trial="a", threshold=1.0)
    rows += trial([100.0, 101.0], [102.0, 103.0], trial="b", threshold=101.0)
    found = curves(rows)
    assert set(found.roc.tpr) == {1.0}
    assert (found.roc.auroc, found.roc.eer, found.risk.overall, found.risk.area) == (1, 0, 0, 0)
    assert sum(found.histogram.reals[:HALF]) == 1
    assert sum(found.histogram.fakes[HALF:]) == 1


# -- known answers ----------------------------------------------------------------------------------------------------


def test_a_blind_and_a_reversed_detector() -> None:
    blind, wrong = (curves(trial(scores, [1.0, 2.0, 3.0, 4.0])).roc for scores in ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0]))
    assert blind.tpr == pytest.approx(np.round(FPR, 6))  # ties are straight
    assert blind.eer == pytest.approx(0.5)
    assert wrong.auroc == 0
    assert set(wrong.tpr[:-1]) == {0.0}


def test_constant_confidence_is_a_flat_line_and_the_best_order_has_its_closed_form() -> None:
    columns: Row = {"threshold": 0.0}
    flat = curves(trial([-1.0, -1.0, -1.0, 1.0], [1.0, 1.0, -1.0, 1.0], **columns)).risk
    assert flat
    assert set(flat.risk) == {0.25}
    assert (flat.area, flat.overall) == pytest.approx((0.25, 0.25))
    best = curves(trial([-9.0, -8.0, -7.0, 1.0], [9.0, 8.0, -1.0, 9.0], **columns)).risk
    assert best
    assert best.overall == 0.25
    assert best.area == pytest.approx(least_area(0.25))
    assert least_area(0.25) == pytest.approx(0.25 + 0.75 * math.log(0.75))
    assert best.risk[74] == 0
    worst = curves(trial([-1.0, -2.0, -3.0, 9.0], [1.0, 2.0, -9.0, 3.0], **columns)).risk
    assert worst
    assert worst.risk[24] == 1
    assert worst.area == pytest.approx(0.25 * (1 - math.log(0.25)))  # 1 up to a quarter, then 1 / 4c
    assert (least_area(0.0), least_area(1.0)) == (0, 1)


def test_a_bin_of_equal_weights_has_the_interval_of_clopper_and_pearson() -> None:
    rows = trial([0.0] * 8 + [1.0] * 2, [0.0] * 3 + [1.0] * 7, threshold=0.5)
    made = curves([row | {"probability": 0.25 if row["score"] == 0 else 0.8} for row in rows]).reliability
    assert made
    low, high = 3, 12  # bins of 0.25 and of 0.8
    assert (made.rate[low], made.rate[high]) == pytest.approx((3 / 11, 7 / 9), abs=1e-6)
    assert (made.low[low], made.high[low]) == pytest.approx(exact_interval(3, 11), abs=1e-6)
    assert (made.low[high], made.high[high]) == pytest.approx(exact_interval(7, 9), abs=1e-6)
    assert (made.n_real[low], made.n_fake[low]) == (8, 3)
    assert [m for m in range(15) if made.weight[m]] == [low, high]
    assert math.isnan(made.rate[0])


def test_one_image_in_several_trials_is_one_image_for_an_interval() -> None:
    rows = trial([0.0] * 8, [0.0] * 8, threshold=0.5)
    again = [row | {"trial": f"t{k}", "probability": 0.3} for k in range(5) for row in rows]
    once, often = curves(again[: len(rows)]).reliability, curves(again).reliability
    assert often.low == pytest.approx(once.low, nan_ok=True)
    assert often.high == pytest.approx(once.high, nan_ok=True)
    assert often.n_real == once.n_real


# -- what is missing --------------------------------------------------------------------------------------------------


def test_failures_are_counted_and_left_out() -> None:
    rows = reals([0.1, None, 0.3], threshold=0.2) + fakes("gan", [0.2, float("nan"), float("inf"), 0.9], threshold=0.2)
    found = curves(rows)
    assert (found.n_real, found.n_fake, found.n_failed) == (2, 2, 3)
    assert found.roc
    assert found.roc.auroc == 0.75


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (reals([0.1, 0.2]), "no fakes"),
        (fakes("gan", [0.1, 0.2]), "scored reals and scored fakes of gan"),
        (reals([0.1]) + fakes("gan", [None]) + fakes("ldm", [0.3]), "scored fakes of gan"),
        (reals([0.1], trial="a") + fakes("gan", [0.3], trial="b"), "scored fakes of gan"),
    ],
)
def test_without_both_classes_there_is_no_curve_and_that_is_said(rows: list[Row], words: str) -> None:
    found = curves(rows)
    assert (found.roc, found.histogram, found.reliability, found.risk) == (None,) * 4
    assert words in found.missing[0]
    assert score_charts([found]) == []
    (grid,) = score_grids([found])
    assert set(grid.rows[0][1:7]) == {"–"}
    assert words in grid.note


def test_without_thresholds_or_probabilities_the_rest_is_made() -> None:
    found = curves(trial([0.1, 0.2, 0.3], [0.2, 0.4]))
    assert found.roc
    assert (found.histogram, found.reliability, found.risk) == (None,) * 3
    assert "attainable threshold" in found.missing[0]
    assert "no probability" in found.missing[1]
    assert [caption[:3] for caption, _ in score_charts([found])] == ["ROC", "DET"]
    same = curves(trial([0.1, 0.1, 0.1], [0.2, 0.4], threshold=0.1))
    assert same.histogram is None  # no range to measure by
    assert same.unplaced == same.trials == 1
    part = curves(trial([0.1, 0.2], [0.4], trial="a", threshold=0.1) + trial([0.1, 0.2], [0.4], trial="b"))
    assert part.histogram
    assert "without 1 of 2 trials" in part.missing[0]


def test_the_mean_is_over_unseen_generators_and_over_all_where_there_is_none() -> None:
    rows = reals([0.0, 1.0]) + fakes("old", [2.0], seen=True) + fakes("new", [0.5])
    found = curves(rows)
    assert (found.generators, found.seen) == (("new",), False)
    assert found.roc
    assert found.roc.auroc == 0.5
    everything = curves(rows[:3])
    assert (everything.generators, everything.seen) == (("old",), True)
    assert score_grids([everything])[0].rows[0][0] == "d*"


# -- file and charts --------------------------------------------------------------------------------------------------


def many(count: int) -> tuple[ScoreCurves, ...]:
    (found,) = score_curves_of(table(run_like()))
    assert found.roc
    names = ["logreg:all", "<b>&rigid", *(f"head {k} {'W' * 60}" for k in range(count - 2))]
    return tuple(
        replace(found, detector=name, roc=replace(found.roc, auroc=0.9 - k / 100)) for k, name in enumerate(names)
    )


def test_the_file_gives_back_the_same_curves(tmp_path: Path) -> None:
    bare = curves(trial([0.1, 0.2, 0.3], [0.2, 0.4]))
    made = (*score_curves_of(table(run_like())), bare)
    text = canonical_json(score_curves_json(made))
    assert text == canonical_json(score_curves_json(score_curves_of(table(run_like())) + (bare,)))
    (tmp_path / SCORE_CURVES).write_text(text, encoding="utf-8")
    back = read_score_curves(tmp_path)
    assert back[1] == bare
    assert canonical_json(score_curves_json(back)) == text
    assert score_charts(back) == score_charts(made)
    assert len(text.encode()) < 2 * 12_000 + 8_000
    assert max(len(FPR), len(COVERAGE), len(UNITS)) <= 100
    assert read_score_curves(tmp_path / "older") == ()


def test_a_run_writes_the_file_and_the_tables(tmp_path: Path) -> None:
    scores = table([{"group": row["path"], **row} for row in run_like()])
    for name in ("id", "split", "status", "reason"):
        scores = scores.append_column(name, pa.array([""] * len(scores)))
    scores = scores.append_column("p_value", pa.array([0.5] * len(scores)))
    audit = {"threshold": 0.6, "biased_by": {"native": []}, "unmeasured": {"native": []}, "probes": [], "history": []}
    write_outputs(tmp_path, RunResult({}, audit, cells_of(scores, replicates=5), (), (), ()), scores, RunConfig())
    assert (tmp_path / SCORE_CURVES).read_text() == canonical_json(score_curves_json(score_curves_of(scores)))
    (grid,) = score_grids(score_curves_of(scores))
    assert f"## {grid.title}" in (tmp_path / "tables.md").read_text()


def test_the_order_of_rows_does_not_matter() -> None:
    rows = run_like()
    shuffled = [rows[k] for k in np.random.default_rng(1).permutation(len(rows))]
    first, second = curves(rows), curves(shuffled)
    assert second.roc.tpr == pytest.approx(first.roc.tpr, abs=2e-6)
    assert second.risk.area == pytest.approx(first.risk.area, abs=1e-12)


def test_charts_escape_names_and_say_how_many_they_show() -> None:
    named = many(11)
    lacking = replace(named[0], detector="logreg:all-srm")  # a head without a family stands in the tables alone
    made = score_charts((*named, lacking))
    assert [caption.split()[0].rstrip(":") for caption, _ in made] == ["ROC", "DET", "Risk", "Scores", "Reliability"]
    for caption, chart in made:
        assert f"the {DRAWN} largest macro AUROCs of 11" in caption
        assert "<b>" not in str(chart)
        assert "&lt;b&gt;&amp;rigid" in str(chart)
        assert "nan" not in str(chart)
        assert "head 9" not in str(chart)
    assert str(made[0][1]).count("<path") == DRAWN
    assert str(made[0][1]).count('stroke-dasharray="7 3"') == 2 * (DRAWN - 4)  # with the key
    (grid,) = score_grids(named, {"biased_by": {"native": ["file_bytes"]}, "unmeasured": {}, "probes": []})
    assert grid.title == "Curves of the scores under native  [biased by file_bytes]"
    assert len(grid.rows) == 11
    assert grid.rows[0][1] == "0.900"


@pytest.mark.parametrize("count", [1, 3, 8])
def test_everything_drawn_lies_within_its_picture(count: int) -> None:
    pictures = [one for _, chart in score_charts(many(11)[:count]) for one in re.findall("<svg.*?</svg>", str(chart))]
    assert len(pictures) == 3 + 2 * count  # lines; a histogram and a reliability diagram for each
    for drawn in pictures:
        width, height = (float(v) for v in re.search(r'viewBox="0 0 (\d+) (\d+)"', drawn).groups())  # type: ignore[union-attr]
        paths = " ".join(re.findall(r' d="([^"]+)"', drawn))
        pairs = re.findall(r"(-?[\d.e-]+) (-?[\d.e-]+)", paths)
        places = [(float(x), float(y)) for x, y in pairs]
        places += [(float(v), 0.0) for v in re.findall(r' (?:x|x1|x2|cx)="(-?[\d.]+)"', drawn)]
        places += [(0.0, float(v)) for v in re.findall(r' (?:y|y1|y2|cy)="(-?[\d.]+)"', drawn)]
        assert len(places) > 20
        assert all(0 <= x <= width and 0 <= y <= height for x, y in places)


def test_a_phone_shows_axes_and_names_below_each_other() -> None:
    """No picture is wider than one that a phone shrinks to its width, however long a detector's name is."""
    named = tuple(replace(curve, detector="n" * 90) for curve in many(8))
    for _, chart in score_charts(named):
        for drawn in re.findall("<svg.*?>", str(chart)):
            assert float(re.search(r' width="(\d+)"', drawn).group(1)) <= SMALL  # type: ignore[union-attr]
            assert 'class="small"' in drawn
    roc = str(score_charts(many(2))[0][1])
    keys = [float(y) for y in re.findall(r'y="([\d.]+)"[^>]*>0\.\d{3}  ', roc)]
    assert len(keys) == 2
    assert min(keys) > 290, "below the axes"


def test_axes_place_values_and_lines_break_at_gaps() -> None:
    percent = Axis("", 0.001, 0.99, (), probit)
    assert percent.place(0.001) == 0
    assert percent.place(1.0) == percent.place(0.99) == 1  # beyond the end is at the end
    assert percent.place(0.5) == pytest.approx(3.0902 / (3.0902 + 2.3263), abs=1e-4)
    assert [words for _, words in Axis.even("", 0, 0.3, 3).ticks] == ["0", "0.1", "0.2", "0.3"]
    frame = Frame(Axis.even("x", 0, 1, 1), Axis.even("y", 0, 1, 1), 10, 20, 100, 50)
    assert frame.at(0.5, 1.0) == (60, 20)
    drawn = str(frame.line([0, 0.5, 0.6, 1], [0, 1, math.nan, 0], pens(1)[0], title="<x>"))
    assert 'd="M10 70L60 20M110 70"' in drawn
    assert "<title>&lt;x&gt;</title>" in drawn
    assert len({(pen.ink, pen.dash) for pen in pens(8)}) == 8
    assert "<i>" not in str(key(["<i>"], pens(1), 0, 0)[1])
