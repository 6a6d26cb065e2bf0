"""Robustness curves: which conditions make one, the area by hand, intervals, and that a table alone is enough."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import naive_wear as naive
import numpy as np
import pyarrow as pa
import pytest
from test_cli import fdetect  # noqa: F401 (a fixture)

from fdetect.bench.output import canonical_json
from fdetect.bench.report.charts import Line, Point, line_chart
from fdetect.bench.run import resolved
from fdetect.bench.scores.evaluate import cells_of
from fdetect.bench.scores.robustness import (
    Course,
    area_under,
    courses,
    curve_charts,
    curve_grids,
    curves_of,
    read_curves,
)
from fdetect.config import ConditionsConfig, HeadsConfig, RunConfig
from fdetect.errors import ParameterError
from fdetect.perturb import CONDITION_LISTS
from fdetect.types import FAKE, REAL

HOW = {"replicates": 60, "seed": 1}


def table(
    strength: dict[str, float], *, detector: str = "d", n: int = 40, seed: int = 0, trained: str = "matched"
) -> pa.Table:
    """Scores of two generators whose fakes lie `strength[condition]` above the reals, the same noise in every one."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 1, (3, n))
    rows = [
        {"id": f"{k}-{i}", "path": f"{k}/{i}.png", "label": FAKE if k else REAL, "generator": generator, "seen": False,
         "real_source": "" if k else "photos", "group": f"{k}-{i}", "split": "", "trial": "all/0", "train": "",
         "detector": detector, "train_condition": "native" if name == "native" else trained, "condition": name,
         "score": float(noise[k, i] + shift * k), "probability": math.nan, "threshold": 1.0, "decision": "real",
         "status": "ok", "reason": ""}
        for name, shift in strength.items()
        for k, generator in enumerate(("", "gan", "diffusion"))
        for i in range(n)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows)


def test_conditions_make_courses_from_the_mildest_to_the_worst() -> None:
    by_name = {course.operation: course for course in courses(CONDITION_LISTS["wear"])}
    assert set(by_name) == {"jpeg", "blur", "resize", "noise"}  # webp80 is alone
    assert by_name["jpeg"].conditions == ("jpeg95", "matched", "jpeg80", "jpeg70", "jpeg50", "jpeg30")
    assert by_name["jpeg"].amounts == (95, 90, 80, 70, 50, 30)
    assert by_name["blur"] == Course("blur", (0, 0.5, 1, 2), ("matched", "blur0.5", "blur1", "blur2"))
    assert by_name["resize"] == Course("resize", (100, 50, 25), ("matched", "resize50", "resize25"))
    assert by_name["noise"].amounts == (0, 2, 5, 10)


def test_a_run_writes_its_lists_out() -> None:
    """Header, fingerprint and tables then name the conditions themselves."""
    asked = replace(RunConfig(), conditions=ConditionsConfig(names=("native", "wear")),
                    heads=HeadsConfig(train_conditions=("matched", "sharing")))  # fmt: skip
    found = resolved(asked)
    assert found.conditions.names == ("native", *CONDITION_LISTS["wear"])
    assert found.heads.train_conditions == CONDITION_LISTS["sharing"]
    with pytest.raises(ParameterError, match=r"^conditions: jpeg70 is named twice; name it once$"):
        resolved(replace(RunConfig(), conditions=ConditionsConfig(names=("jpeg70", "wear", "jpeg70"))))


@pytest.mark.parametrize(("options", "words"), [
    (("--conditions", "native,blurr1"), "no condition 'blurr1'; did you mean 'blur1'?"),
    (("--conditions", "matched", "--train-conditions", "jpeg300"), "condition 'jpeg300': jpeg takes 1 to 100, got 300"),
    (("--conditions", "matched,launder_sd2-vae+blurr1"), "no condition 'launder_sd2-vae+blurr1'"),
    (("--conditions", "matched,launder_sd2-vae"), "nothing: no such file or folder; check"),  # the run asks for weights
])  # fmt: skip
def test_a_dry_run_reads_the_conditions(fdetect, monkeypatch, tmp_path, options, words) -> None:  # noqa: F811
    monkeypatch.setenv("FDETECT_WEIGHTS", str(tmp_path / "none"))
    code, _, err = fdetect("bench", "nothing", "--dry-run", *options)
    assert code == 2
    assert words in err


def test_amounts_on_both_sides_of_nothing_are_two_courses() -> None:
    found = courses(["gamma150", "matched", "gamma50", "gamma200", "gamma80"])
    assert [(one.operation, one.amounts) for one in found] == [
        ("gamma above 100", (100, 150, 200)), ("gamma below 100", (100, 80, 50))]  # fmt: skip


@pytest.mark.parametrize("names", [
    ("native", "matched", "jpeg70", "rescaled"), ("blur1", "blur2"), ("webp80", "webp50", "matched"),
    ("noise2+jpeg70", "noise5+jpeg70", "matched"), ("rescaled", "rescaled+blur1", "rescaled+blur2"),
    ("launder_x", "launder_x+jpeg70", "nonsense", "jpeg70"), ("screenshot", "social_chat", "parity", "matched"), (),
])  # fmt: skip
def test_fewer_than_three_amounts_are_no_curve(names: tuple[str, ...]) -> None:
    assert courses(names) == ()


def test_two_names_of_one_amount_are_one_point() -> None:
    (course,) = courses(["jpeg90", "matched", "jpeg70", "jpeg50"])
    assert course.conditions == ("jpeg90", "jpeg70", "jpeg50")


def test_the_area_is_that_of_trapezoids_over_the_range() -> None:
    assert area_under((95, 90, 50), np.array([1.0, 0.8, 0.6])) == pytest.approx((5 * 0.9 + 40 * 0.7) / 45)
    assert area_under((0, 1, 3), np.full(3, 0.7)) == pytest.approx(0.7)
    rng = np.random.default_rng(0)
    for _ in range(20):
        n = int(rng.integers(2, 8))
        amounts = np.sort(rng.uniform(0, 100, n)) if rng.random() < 0.5 else np.sort(rng.uniform(0, 100, n))[::-1]
        values = rng.random((n, 3))
        for k, area in enumerate(area_under(amounts.tolist(), values)):
            assert area == pytest.approx(naive.area_under(amounts.tolist(), values[:, k].tolist()), abs=1e-12)


def test_points_are_the_macro_cells_of_the_run_and_the_area_is_of_them() -> None:
    scores = table({"native": 3, "matched": 2, "blur0.5": 1.5, "blur1": 0.8, "blur2": 0})
    (curve,) = curves_of(scores, **HOW)
    assert (curve.detector, curve.operation, curve.amounts) == ("d", "blur", (0, 0.5, 1, 2))
    cells = {cell.condition: cell.metric("auroc") for cell in cells_of(scores, **HOW) if cell.generator == "macro"}
    for name, value, low, high in zip(curve.conditions, curve.values, curve.lows, curve.highs, strict=True):
        assert (value, low, high) == pytest.approx((cells[name].value, cells[name].low, cells[name].high))
    assert curve.values[0] > 0.9 > curve.values[-1]
    assert curve.area == pytest.approx(naive.area_under([0, 0.5, 1, 2], list(curve.values)))
    assert curve.low < curve.area < curve.high
    assert curve.high - curve.low < 0.3


def test_a_perfect_and_a_blind_detector_have_areas_of_one_and_of_a_half() -> None:
    perfect = table(dict.fromkeys(("matched", "jpeg70", "jpeg50"), 50.0))
    blind = perfect.set_column(
        perfect.column_names.index("score"), "score", pa.array(np.zeros(len(perfect)))
    ).set_column(perfect.column_names.index("detector"), "detector", pa.array(["blind"] * len(perfect)))
    one, other = curves_of(pa.concat_tables([perfect, blind]), **HOW)
    assert (one.detector, one.area, one.low, one.high) == ("d", 1.0, 1.0, 1.0)
    assert (other.detector, other.area, other.low, other.high) == ("blind", 0.5, 0.5, 0.5)


def test_a_point_that_is_lacking_or_failed_is_a_dash_and_leaves_no_area() -> None:
    whole = table({"matched": 2, "noise2": 1, "noise5": 0.5})
    part = table({"matched": 2, "noise2": 1}, detector="part")
    lost = table({"matched": 2, "noise2": 1, "noise5": 0.5}, detector="lost")
    score = np.where(np.array(lost.column("condition").to_pylist()) == "noise2", np.nan, lost.column("score"))
    lost = lost.set_column(lost.column_names.index("score"), "score", pa.array(score))
    native = table({"native": 2}, detector="elsewhere")
    found = {curve.detector: curve for curve in curves_of(pa.concat_tables([whole, part, lost, native]), **HOW)}
    assert list(found) == ["d", "part", "lost"]
    for name, k in (("part", 2), ("lost", 1)):
        assert [math.isnan(value) for value in found[name].values] == [at == k for at in range(3)]
        assert math.isnan(found[name].area)
    (alone,) = curves_of(whole, **HOW)
    assert found["d"].values == alone.values
    (grid,) = curve_grids(tuple(found.values()))
    assert grid.rows[1][3] == grid.rows[1][4] == grid.rows[2][2] == grid.rows[2][4] == "–"
    assert "A dash" in grid.note
    ((_, chart),) = curve_charts(tuple(found.values()))
    assert str(chart).count("<circle") == 3 + 2 + 2


def test_what_was_trained_on_keeps_curves_apart_and_is_told() -> None:
    """One detector trained under two conditions is two curves, whatever the order of the tables."""
    plain, worn = ({"matched": shift, "jpeg70": shift, "jpeg50": shift} for shift in (3, 0.2))
    two = [table(plain), table(worn, trained="matched+jpeg70")]
    for tables in (two, two[::-1]):
        curves = curves_of(pa.concat_tables(tables), **HOW)
        assert {curve.train_condition: curve.area > 0.9 for curve in curves} == {
            "matched": True, "matched+jpeg70": False}  # fmt: skip
        (grid,) = curve_grids(curves)
        assert {row[0] for row in grid.rows} == {"d (trained under matched)", "d (trained under matched+jpeg70)"}
        assert "jpeg70 stood among the training images" in grid.note
        assert "never" not in grid.note
        assert "(trained under matched+jpeg70)" in str(curve_charts(curves))
    (grid,) = curve_grids(curves_of(two[0], **HOW))
    assert grid.rows[0][0] == "d"
    assert grid.note.endswith("Trained under matched, never under the wear itself.")
    for label in ("matched+chain3", "native"):
        (grid,) = curve_grids(curves_of(table(plain, trained=label), **HOW))
        assert grid.note.endswith(f"Trained under {label}.")
    (grid,) = curve_grids(curves_of(table(plain, trained=""), **HOW))
    assert "rained" not in grid.note


def test_tables_charts_and_the_result_file_show_the_same(tmp_path: Path) -> None:
    scores = pa.concat_tables([
        table({"matched": 2, "noise2": 1, "noise5": 0.5, "noise10": 0}, detector=name, seed=k)
        for k, name in enumerate(["logreg:all", "<b>&rigid", *(f"head{k}" for k in range(9))])
    ])  # fmt: skip
    curves = curves_of(scores, **HOW)
    (grid,) = curve_grids(curves)
    assert grid.title == "Robustness to noise"
    assert grid.columns == ("detector", "matched", "noise2", "noise5", "noise10", "area")
    assert len(grid.rows) == 11
    assert grid.rows[0][5].startswith(f"{curves[0].area:.3f} [")
    assert "mildest first" in grid.note
    audit = {"biased_by": {"noise2": ["file_bytes"], "noise5": ["file_bytes"]}, "unmeasured": {}, "probes": []}
    (marked,) = curve_grids(curves, audit)
    assert marked.title == "Robustness to noise  [noise2, noise5 biased by file_bytes]"
    assert marked.title.removeprefix("Robustness to noise") in curve_charts(curves, audit)[0][0]
    ((caption, chart),) = curve_charts(curves)
    assert "the 8 largest areas of 11" in caption
    assert str(chart).count("<circle") == 8 * 4
    assert "<b>" not in str(chart)
    (tmp_path / "result.json").write_text(canonical_json({"curves": curves}))
    assert read_curves(tmp_path) == curves
    (tmp_path / "result.json").write_text(json.dumps({}))
    assert read_curves(tmp_path) == ()


def test_the_mildest_amount_is_at_the_left_and_a_gap_stays_a_gap() -> None:
    points = [(95.0, 0.9), (90.0, 0.8), (50.0, math.nan), (30.0, 0.6)]
    drawn = str(line_chart([Line("a", tuple(Point(*one) for one in points))], label="x"))
    places = [float(text.split('"')[0]) for text in drawn.split('cx="')[1:]]
    heights = [float(text.split('"')[0]) for text in drawn.split('cy="')[1:]]
    assert places == sorted(places)
    assert heights == sorted(heights)  # falls
    assert (places[1] - places[0]) / (places[2] - places[0]) == pytest.approx(5 / 65, abs=0.01)
    path = drawn.split('<path d="')[1].split('"')[0]
    assert path.count("M") == 2
    assert path.count("L") == 1
