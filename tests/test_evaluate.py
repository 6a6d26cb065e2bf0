"""From a score table to cells and paired differences, against plain loops and by hand."""

from __future__ import annotations

import math

import naive_evaluate as naive
import numpy as np
import pyarrow as pa
import pytest

from fdetect.bench.scores.compare import paired_differences
from fdetect.bench.scores.evaluate import (
    FEW_GROUPS,
    REAL_ONLY,
    SEEN,
    ScoreTable,
    cells_of,
    fitted_on,
    lowest_left_out,
)
from fdetect.decide import exact_interval
from fdetect.errors import DataError, ParameterError
from fdetect.metrics import group_weights, interval, metric
from fdetect.types import Cell

COLUMNS = {
    "path": "", "label": 0, "generator": "", "real_source": "", "group": "", "trial": "all/0", "train": "",
    "seen": False, "detector": "d", "train_condition": "native", "condition": "native", "score": None,
    "probability": None, "threshold": None,
}  # fmt: skip
KINDS = {"score": pa.float64(), "probability": pa.float64(), "threshold": pa.float64(), "label": pa.int64(),
         "seen": pa.bool_()}  # fmt: skip

Row = dict[str, object]


def table(rows: list[Row]) -> pa.Table:
    columns = {name: [row.get(name, default) for row in rows] for name, default in COLUMNS.items()}
    return pa.table({name: pa.array(values, KINDS.get(name, pa.string())) for name, values in columns.items()})


def run(rows: list[Row], **settings: object) -> tuple[Cell, ...]:
    return cells_of(table(rows), **{"replicates": 10, **settings})


def cell(cells: tuple[Cell, ...], generator: str, **chosen: str) -> Cell:
    found = [
        c
        for c in cells
        if c.generator == generator and all(getattr(c, name) == value for name, value in chosen.items())
    ]
    assert len(found) == 1, found
    return found[0]


def reals(scores: list[float | None], **columns: object) -> list[Row]:
    return [{**COLUMNS, "path": f"real {k}", "group": f"real {k}", "score": s, **columns} for k, s in enumerate(scores)]


def fakes(generator: str, scores: list[float | None], **columns: object) -> list[Row]:
    return [
        {**COLUMNS, "path": f"{generator} {k}", "group": f"{generator} {k}", "label": 1, "generator": generator,
         "score": s, **columns}
        for k, s in enumerate(scores)
    ]  # fmt: skip


SIZES = {"many": 25, "low": 22, "rare": 6}  # groups of two fakes each; the scores of "rare" are the lowest


def run_like(*, seed: int = 0, train: str = "all but the tested", detector: str = "d", noise: float = 0.0) -> list[Row]:
    """What leave-one-generator-out writes: 3 folds, 40 reals of two sources, thresholds by trial, 9 % failures."""
    rng = np.random.default_rng(7)  # the same images whatever the seed of the scores
    images: list[Row] = [
        {"path": f"r{k}", "group": f"r{k // 2}", "real_source": ("coco", "phone")[k % 2], "fold": k // 2 % 3}
        for k in range(40)
    ]
    for name, n in SIZES.items():
        images += [
            {"path": f"{name} {k}", "label": 1, "generator": name, "group": f"{name} {k // 2}", "fold": k // 2 % 3}
            for k in range(2 * n)
        ]
    shift = {"": 0.0, "many": 1.0, "low": 0.4, "rare": -0.2}
    base = {image["path"]: rng.normal() + shift[str(image.get("generator", ""))] for image in images}
    rng = np.random.default_rng(seed)
    rows = []
    for name in SIZES:
        for fold in range(3):
            offset = rng.normal() * 5  # each trial has its own model: scores of trials must not be compared
            for image in images:
                if image["fold"] == fold and image.get("generator", "") in ("", name):
                    score = round(base[image["path"]] + noise * rng.normal(), 1) + offset
                    row = {**COLUMNS, **image, "trial": f"{name}/{fold}", "train": train, "detector": detector}
                    row |= {"score": None if rng.random() < 0.09 else score, "threshold": offset + 1.0}
                    rows.append(row | {"probability": 1 / (1 + math.exp(-(score - offset)))})
    return rows


# -- by hand --------------------------------------------------------------------------------------------------------


def test_pairs_are_counted_within_trials_and_summed():
    rows = reals([0.5, 0.1], trial="a") + fakes("gan", [0.9, 0.4], trial="a")  # 3 of 4
    rows += reals([100.0, 102.0], trial="b") + fakes("gan", [101.0], trial="b")  # 1 of 2
    found = cell(run(rows), "gan").metric("auroc")
    assert found.value == pytest.approx(4 / 6)  # all six rows as one sample would give 6 of 12
    assert (found.n_real, found.n_fake, found.n_failed) == (2, 2, 0)  # each path once, in whatever many trials


def test_a_generator_is_judged_against_the_reals_of_its_own_trials():
    rows = reals([0.0, 1.0], trial="gan/0") + fakes("gan", [0.5], trial="gan/0")
    rows += reals([5.0, 6.0], trial="ldm/0") + fakes("ldm", [5.5, 7.0], trial="ldm/0")
    cells = run(rows)
    assert cell(cells, "gan").metric("auroc").value == 0.5
    assert cell(cells, "ldm").metric("auroc").value == 0.75
    assert cell(cells, "macro").metric("auroc").value == 0.625


def test_below_chance_is_shown():
    assert cell(run(reals([1.0, 2.0]) + fakes("gan", [0.0])), "gan").metric("auroc").value == 0.0


def test_a_threshold_is_crossed_strictly_and_a_missing_one_leaves_no_decision():
    rows = reals([0.1, 0.2, 0.3, 0.4], threshold=0.3) + fakes("gan", [0.3, 0.5], threshold=0.3)
    macro = cell(run(rows), "macro")
    assert macro.metric("fpr_achieved_5").value == 0.25
    assert macro.metric("tpr_frozen_5").value == 0.5
    assert macro.metric("balanced_accuracy").value == 0.625
    macro = cell(run([*rows[:-1], {**rows[-1], "threshold": None}]), "macro")
    assert math.isnan(macro.metric("tpr_frozen_5").value)
    assert macro.metric("auroc").value == 6.5 / 8


def test_failures_are_counted_and_left_out():
    rows = reals([0.1, None, 0.3]) + fakes("gan", [0.2, float("nan"), float("inf"), 0.9])
    found = cell(run(rows), "gan")
    assert found.metric("auroc").value == 0.75
    assert {(m.n_real, m.n_fake, m.n_failed) for m in found.metrics} == {(2, 2, 3)}
    assert found.n_groups == 2
    assert found.flags == ("lost 33.3 % of the real images", "lost 50.0 % of the fake images")
    assert cell(run(rows), "macro").flags == found.flags


def test_one_image_in_a_hundred_may_be_lost_without_a_flag():
    whole = [k / 100 for k in range(99)]
    assert cell(run(reals([*whole, None]) + fakes("gan", [0.5])), "gan").flags == ()
    assert cell(run(reals([*whole[:98], None, None]) + fakes("gan", [0.5])), "gan").flags == (
        "lost 2.0 % of the real images",
    )


def test_a_generator_without_any_score_makes_the_mean_undefined_and_is_not_the_worst():
    cells = run(reals([0.1, 0.2]) + fakes("gan", [0.9, 0.8]) + fakes("lost", [None, None]))
    assert math.isnan(cell(cells, "lost").metric("auroc").value)
    assert math.isnan(cell(cells, "macro").metric("auroc").value)
    worst = cell(cells, "worst")
    assert worst.flags == ("gan", "few groups")
    assert cell(cells, "lost").flags == ("lost 100.0 % of the fake images",)


def test_an_image_of_no_group_is_its_own():
    rows = fakes("gan", [0.9, 0.8, 0.7], group="") + reals([0.1, 0.2], group="")
    assert cell(run(rows), "gan").n_groups == 3


def test_a_mean_over_a_cell_that_lost_images_says_so_though_among_all_they_are_few():
    rows = reals([0.1] * 300) + fakes("small", [0.9] * 9 + [None]) + fakes("large", [0.9] * 2000)
    cells = run(rows, replicates=2)
    assert cell(cells, "small").flags == ("lost 10.0 % of the fake images",)
    assert cell(cells, "large").flags == ()
    assert cell(cells, "macro").flags == ("lost more than 1% of a class: small",)


# -- one row for each image -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("judge", [run, lambda rows: paired_differences(table(rows), "d", "d")])
def test_an_image_with_two_rows_is_refused_and_not_counted_twice(judge):
    rows = reals([0.1, 0.2]) + fakes("gan", [0.3, 0.9])
    judge(rows)
    with pytest.raises(
        DataError, match="d has two rows for gan 1 under native in all/0; keep one of them, or"
    ) as caught:
        judge([*rows, {**rows[-1], "score": 0.4}])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["detector", "train", "train_condition", "condition", "trial", "path"])
def test_rows_that_differ_in_anything_they_are_about_are_not_repeats(name):
    rows = reals([0.1, 0.2]) + fakes("gan", [0.3, 0.9])
    assert run([*rows, {**rows[-1], name: "another"}])


def test_the_files_of_repeated_rows_are_named():
    rows = reals([0.1, 0.2]) + fakes("gan", [0.3, 0.9])
    first, second = (table(rows).append_column("file", pa.repeat(name, len(rows))) for name in ("a.csv", "b.csv"))
    with pytest.raises(DataError, match="^a.csv and b.csv: d has two rows for real 0 under native in all/0"):
        cells_of(pa.concat_tables([first, second]))
    with pytest.raises(DataError, match="^a.csv: d has two rows for real 0"):
        cells_of(pa.concat_tables([first, first]))


# -- shares of nothing and of all -----------------------------------------------------------------------------------


def test_a_share_of_none_or_all_has_the_exact_interval():
    for n in (1, 7, 96):
        for level in (0.9, 0.95):
            half = (1 - level) / 2
            assert exact_interval(0, n, level=level) == pytest.approx((0.0, 1 - half ** (1 / n)), abs=1e-12)
            assert exact_interval(n, n, level=level) == pytest.approx((half ** (1 / n), 1.0), abs=1e-12)


def test_the_ends_of_an_exact_interval_have_the_tails_that_define_it():
    def at_least(hits: int, n: int, rate: float) -> float:
        return sum(math.comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(hits, n + 1))

    for hits, n in ((1, 12), (5, 12), (11, 12)):
        low, high = exact_interval(hits, n)
        assert at_least(hits, n, low) == pytest.approx(0.025, abs=1e-9)
        assert 1 - at_least(hits + 1, n, high) == pytest.approx(0.025, abs=1e-9)


def test_no_false_positive_is_a_bound_that_narrows_with_the_number_of_reals():
    for n in (10, 40):
        rows = reals([0.1] * n, real_source="coco", threshold=0.5) + fakes("gan", [0.9, 0.2], threshold=0.5)
        cells = run(rows, replicates=50)
        for one in (cell(cells, "", real_source="coco"), cell(cells, "gan"), cell(cells, "macro")):
            rate = one.metric("fpr_achieved_5")
            assert (rate.value, rate.low, rate.n_real) == (0.0, 0.0, n)
            assert rate.high == pytest.approx(1 - 0.025 ** (1 / n), abs=1e-12)
    all_wrong = run(reals([0.9] * 8, real_source="coco", threshold=0.5), level=0.8)
    rate = cell(all_wrong, "", real_source="coco").metric("fpr_achieved_5")
    assert (rate.low, rate.high) == pytest.approx((0.1 ** (1 / 8), 1.0), abs=1e-12)


def test_images_of_one_group_are_one_draw_of_the_exact_interval():
    rows = reals([0.1] * 60, real_source="coco", threshold=0.5)
    rows = [{**row, "group": f"scene {k // 6}"} for k, row in enumerate(rows)]
    assert cell(run(rows), "", real_source="coco").metric("fpr_achieved_5").high == pytest.approx(1 - 0.025**0.1)


def test_a_mean_of_shares_is_as_uncertain_as_its_smallest_generator():
    rows = reals([0.1] * 30, threshold=0.5)
    rows += fakes("large", [0.9] * 50, threshold=0.5) + fakes("small", [0.9] * 5, threshold=0.5)
    cells = run(rows)
    for name, n in (("large", 50), ("small", 5), ("macro", 5)):
        found = cell(cells, name).metric("tpr_frozen_5")
        assert (found.value, found.high) == (1.0, 1.0)
        assert found.low == pytest.approx(0.025 ** (1 / n), abs=1e-12)


def test_a_share_between_none_and_all_keeps_its_bootstrap():
    rows = run_like()
    weights = group_weights([str(row["group"]) for row in rows], replicates=10)
    drawn = [dict(zip(weights.groups.tolist(), counts.tolist(), strict=True)) for counts in weights.counts]
    mine = [r for r in rows if r["label"] == 0 and r["real_source"] == "coco" and r["score"] is not None]
    rates = []
    for weight in drawn:
        total = sum(weight[r["group"]] for r in mine)
        rates.append(sum(weight[r["group"]] * (r["score"] > r["threshold"]) for r in mine) / total)
    found = cell(run(rows), "", real_source="coco").metric("fpr_achieved_5")
    assert (found.low, found.high) == pytest.approx(interval(np.array(rates)), abs=1e-12)


# -- macro, worst, seen ---------------------------------------------------------------------------------------------


def test_seen_generators_are_shown_and_left_out_of_macro_and_worst():
    rows = reals([0.1, 0.5]) + fakes("own", [0.0], seen=True) + fakes("other", [0.9]) + fakes("third", [0.2])
    cells = run(rows)
    assert SEEN in cell(cells, "own").flags
    assert cell(cells, "own").metric("auroc").value == 0.0
    assert cell(cells, "macro").metric("auroc").value == 0.75
    assert cell(cells, "macro").metric("auroc").n_fake == 2
    assert cell(cells, "macro").flags == ()
    assert cell(cells, "worst").flags[0] == "third"


def test_where_all_were_seen_the_mean_is_over_all_and_says_so():
    rows = reals([0.1, 0.5]) + fakes("own", [0.0], seen=True) + fakes("other", [0.9], seen=True)
    cells = run(rows)
    assert cell(cells, "macro").metric("auroc").value == 0.5
    assert SEEN in cell(cells, "macro").flags
    assert SEEN in cell(cells, "worst").flags


def test_each_training_set_and_condition_has_rows_of_its_own():
    rows = []
    for train, low in (("gan", 0.2), ("ldm", 0.4)):
        for condition in ("native", "matched"):
            shown = {"train": train, "condition": condition, "train_condition": condition}
            rows += reals([0.1, 0.3], **shown) + fakes("dit", [low], **shown)
    cells = run(rows)
    assert [(c.train, c.condition) for c in cells if c.generator == "macro"] == [
        ("gan", "native"), ("gan", "matched"), ("ldm", "native"), ("ldm", "matched"),
    ]  # fmt: skip
    assert cell(cells, "macro", train="gan", condition="matched").metric("auroc").value == 0.5
    assert cell(cells, "macro", train="ldm", condition="matched").metric("auroc").value == 1.0


def test_the_worst_is_sought_among_those_with_twenty_groups():
    scores = {"a": [0.6] * 20, "b": [0.4] * 19, "c": [0.9] * 30}
    rows = reals([0.5] * 5) + [row for name, values in scores.items() for row in fakes(name, values)]
    worst = cell(run(rows), "worst")
    assert worst.flags == ("a",)
    assert worst.n_groups == FEW_GROUPS
    rows = [row for row in rows if row["path"] not in ("a 0",) and row["generator"] != "c"]
    assert cell(run(rows), "worst").flags == ("b", "few groups")


def test_the_lowest_of_those_with_too_few_groups_is_not_hidden():
    sizes = {"a": ([0.6] * 20, False), "b": ([0.4] * 19, False), "c": ([0.3] * 3, False), "own": ([0.0] * 5, True)}
    rows = reals([0.35, 0.45]) + [r for g, (scores, seen) in sizes.items() for r in fakes(g, scores, seen=seen)]
    cells = run(rows)
    assert cell(cells, "worst").flags == ("a",)
    found = lowest_left_out(cells)
    assert found == cell(cells, "c")  # not the one that was seen in training
    assert found.metric("auroc").value == 0.0
    without = tuple(c for c in cells if c.generator not in ("b", "c"))
    assert lowest_left_out(without) is None
    few = run([row for row in rows if row["generator"] != "a"])
    assert cell(few, "worst").flags == ("c", "few groups")
    assert lowest_left_out(few) is None, "where none has twenty, none is left out"


def test_where_all_were_seen_the_lowest_left_out_is_one_of_them():
    rows = reals([0.5]) + fakes("a", [0.6] * 20, seen=True) + fakes("b", [0.4] * 3, seen=True)
    assert lowest_left_out(run(rows)).generator == "b"


def test_groups_and_not_images_make_twenty_and_only_those_with_a_score():
    few = fakes("few", [0.1] * 60, group="one prompt")
    lost = fakes("lost", [0.2] * 19 + [None] * 20)
    rows = reals([0.5] * 5) + few + lost + fakes("many", [0.6] * 20)
    assert cell(run(rows), "worst").flags == ("many",)
    assert cell(run(rows), "few").n_groups == 1
    assert cell(run(rows), "lost").n_groups == 19


# -- against loops --------------------------------------------------------------------------------------------------


def test_every_auroc_count_and_worst_equals_the_loops():
    rows = run_like()
    cells = run(rows)
    for name in naive.generators(rows):
        mine, found = naive.of_generator(rows, name), cell(cells, name)
        assert found.metric("auroc").value == pytest.approx(naive.concordant(mine), abs=1e-12)
        ok = [row for row in mine if row["score"] is not None]
        assert found.metric("auroc").n_fake == len({row["path"] for row in ok if row["label"] == 1})
        assert found.metric("auroc").n_real == len({row["path"] for row in ok if row["label"] == 0})
        assert found.metric("auroc").n_failed == len({row["path"] for row in mine if row["score"] is None})
        assert found.n_groups == naive.groups_of(rows, name)
    assert cell(cells, "macro").metric("auroc").value == pytest.approx(naive.macro(rows), abs=1e-12)
    name, few = naive.worst(rows)
    assert cell(cells, "worst").flags[0] == name == "low"
    assert ("few groups" in cell(cells, "worst").flags) == few is False
    assert cell(cells, "rare").metric("auroc").value < cell(cells, "worst").metric("auroc").value


def test_intervals_are_quantiles_of_the_loops_over_redrawn_groups():
    rows = run_like()
    weights = group_weights([str(row["group"]) for row in rows], replicates=15, seed=3)
    drawn = [dict(zip(weights.groups.tolist(), counts.tolist(), strict=True)) for counts in weights.counts]
    found = cell(cells_of(table(rows), replicates=15, seed=3, level=0.8), "macro").metric("auroc")
    expected = interval(np.array([naive.macro(rows, weight) for weight in drawn]), level=0.8)
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)
    assert found.low < found.value < found.high


def test_every_real_source_has_its_own_false_positive_rate():
    rows = run_like()
    cells = run(rows)
    for source in ("coco", "phone"):
        found = cell(cells, "", real_source=source)
        assert found.metric("fpr_achieved_5").value == pytest.approx(naive.false_positives(rows, source), abs=1e-12)
        assert tuple(m.name for m in found.metrics) == REAL_ONLY
        assert found.metric("fpr_achieved_5").n_fake == 0
        assert found.metric("fpr_achieved_5").n_real == 20
    renamed = [{**row, "real_source": ""} for row in rows]
    assert cell(run(renamed), "", real_source="unnamed").metric("fpr_achieved_5").n_real == 40


def test_reals_that_were_fitted_on_star_their_source_and_are_counted():
    rows = run_like()
    known = {"r0", "r2", "many 0"}
    marked = [{**row, "seen": row["path"] in known} for row in rows]
    cells = run(marked)
    assert SEEN in cell(cells, "", real_source="coco").flags
    assert SEEN not in cell(cells, "", real_source="phone").flags
    n = sum(row["path"] in known for row in rows)
    (said,) = fitted_on(table([*marked, *({**row, "detector": "other"} for row in rows)]))
    assert said == f"{n} of {len(rows)} rows of d are of images that it was fitted on: no test of it"


def test_a_seen_generator_stars_no_real_and_says_nothing_of_a_fit():
    rows = [{**row, "seen": row.get("generator") in SIZES} for row in run_like()]  # as leave_one_real_source_out does
    cells = run(rows)
    assert all(SEEN in cell(cells, name).flags for name in SIZES)
    assert all(SEEN not in cell(cells, "", real_source=source).flags for source in ("coco", "phone"))
    assert fitted_on(table(rows)) == ()


def test_the_order_of_rows_does_not_matter():
    rows = run_like()
    shuffled = [rows[k] for k in np.random.default_rng(0).permutation(len(rows))]
    for one, other in zip(run(rows), run(shuffled), strict=True):
        assert (one.generator, one.real_source, one.flags, one.n_groups) == (
            other.generator, other.real_source, other.flags, other.n_groups,
        )  # fmt: skip
        for mine, theirs in zip(one.metrics, other.metrics, strict=True):
            assert (mine.value, mine.low, mine.high) == pytest.approx(
                (theirs.value, theirs.low, theirs.high), abs=1e-12, nan_ok=True
            )


def test_a_cell_holds_every_metric():
    found = cell(run(run_like()), "many")
    assert tuple(m.name for m in found.metrics) == metric.names()
    assert all(math.isfinite(m.value) for m in found.metrics)


def test_reals_alone_give_their_rates_and_no_generator():
    cells = run(reals([0.1, 0.9], real_source="coco", threshold=0.5))
    assert [(c.generator, c.real_source) for c in cells] == [("", "coco")]
    assert cells[0].metric("fpr_achieved_5").value == 0.5


def test_fakes_alone_are_undefined():
    cells = run(fakes("gan", [0.1, 0.9]))
    assert math.isnan(cell(cells, "gan").metric("auroc").value)
    assert [c.generator for c in cells] == ["gan", "macro"]


def test_a_table_without_rows_is_refused():
    with pytest.raises(ParameterError, match="\\S"):
        run([])


# -- paired differences ---------------------------------------------------------------------------------------------


def two(first: list[Row], second: list[Row]) -> pa.Table:
    return table([{**row, "detector": "first"} for row in first] + [{**row, "detector": "second"} for row in second])


def test_the_difference_is_first_minus_second_on_images_that_both_scored():
    sharp, dull = run_like(seed=1), run_like(seed=2, noise=4.0)
    (found,) = paired_differences(two(sharp, dull), "first", "second", replicates=200)
    lost = {(r["trial"], r["path"]) for r in [*sharp, *dull] if r["score"] is None}
    kept = [[r for r in rows if (r["trial"], r["path"]) not in lost] for rows in (sharp, dull)]
    assert found.auroc_first == pytest.approx(naive.macro(kept[0]), abs=1e-12)
    assert found.auroc_second == pytest.approx(naive.macro(kept[1]), abs=1e-12)
    assert found.value == pytest.approx(found.auroc_first - found.auroc_second, abs=1e-15)
    assert 0 < found.low < found.value < found.high
    assert found.generators == ("low", "many", "rare")
    assert found.n_images == len({r["path"] for r in kept[0]}) < len({r["path"] for r in sharp})
    assert found.n_failed == len({path for _, path in lost})
    wrong = [naive.macro(naive.failures_against(rows)) for rows in (sharp, dull)]
    assert found.failures_wrong == pytest.approx(wrong[0] - wrong[1], abs=1e-12)
    (turned,) = paired_differences(two(sharp, dull), "second", "first", replicates=200)
    assert (turned.value, turned.low, turned.high) == pytest.approx((-found.value, -found.high, -found.low), abs=1e-15)


def test_the_interval_is_made_of_paired_draws():
    """Two detectors with nearly the same scores: their difference is known far better than either of them."""
    rows = run_like()
    close = [{**r, "score": None if r["score"] is None else r["score"] + 1e-9 * k} for k, r in enumerate(rows)]
    (found,) = paired_differences(two(rows, close), "first", "second", replicates=100)
    alone = cell(run(rows, replicates=100), "macro").metric("auroc")
    assert found.high - found.low < 0.2 * (alone.high - alone.low)


def test_identical_detectors_differ_by_exactly_nothing():
    (found,) = paired_differences(two(run_like(), run_like()), "first", "second", replicates=50)
    assert (found.value, found.low, found.high, found.failures_wrong) == (0.0, 0.0, 0.0, 0.0)


def test_failures_counted_wrong_by_hand():
    whole = reals([0.1, 0.2]) + fakes("gan", [0.9, 0.8])
    holed = reals([None, 0.2]) + fakes("gan", [None, 0.8])  # fails on one of each: 1 of 4 pairs is left right
    (found,) = paired_differences(two(holed, whole), "first", "second", replicates=10)
    assert (found.auroc_first, found.auroc_second, found.value) == (1.0, 1.0, 0.0)
    assert found.failures_wrong == 0.25 - 1.0
    assert (found.n_images, found.n_failed) == (2, 2)


def test_one_row_per_condition_and_training_set_that_both_have():
    first = run_like() + run_like(train="other") + [{**row, "condition": "jpeg70"} for row in run_like()]
    second = run_like(seed=4) + [{**row, "condition": "jpeg70"} for row in run_like(seed=4)]
    found = paired_differences(two(first, second), "first", "second", replicates=5)
    assert [p.condition for p in found] == ["native", "jpeg70"]


def test_a_generator_that_either_was_trained_on_is_left_out_for_both():
    scores = reals([0.5]), fakes("a", [0.9]), fakes("b", [0.1]), fakes("c", [0.9])
    first = [{**row, "seen": row["generator"] == "a"} for part in scores for row in part]
    second = [{**row, "seen": row["generator"] == "b"} for part in scores for row in part]
    (found,) = paired_differences(two(first, second), "first", "second", replicates=5)
    assert found.generators == ("c",)
    assert (found.auroc_first, found.auroc_second, found.value) == (1.0, 1.0, 0.0)


def test_only_images_that_both_have_are_compared():
    first = reals([0.1, 0.2, 5.0]) + fakes("gan", [0.9])
    second = reals([0.1, 0.2]) + fakes("gan", [0.9, 0.0])
    (found,) = paired_differences(two(first, second), "first", "second", replicates=5)
    assert (found.auroc_first, found.auroc_second, found.n_images) == (1.0, 1.0, 3)


def test_a_pair_that_never_scored_the_same_image_is_undefined_not_an_error():
    first = reals([0.1, None]) + fakes("gan", [0.9, None])
    second = reals([None, 0.1]) + fakes("gan", [None, 0.9])
    (found,) = paired_differences(two(first, second), "first", "second", replicates=5)
    assert math.isnan(found.value)
    assert math.isnan(found.low)
    assert (found.failures_wrong, found.n_failed) == (0.0, 4)


def test_what_cannot_be_compared_is_explained():
    both = two(run_like(), run_like(train="other"))
    with pytest.raises(ParameterError, match="share no trial and condition"):
        paired_differences(both, "first", "second")
    with pytest.raises(ParameterError, match="no detector 'secund' in the scores; did you mean 'second'"):
        paired_differences(both, "first", "secund")


def test_an_arrow_table_is_read_once_and_whole():
    rows = run_like()
    scores = ScoreTable.of(table(rows))
    assert scores.names == (("d", "all but the tested", "native", "native"),)
    assert np.isnan(scores.score).sum() == sum(row["score"] is None for row in rows)
    assert np.isnan(scores.called_fake).tolist() == np.isnan(scores.score).tolist()
    assert sum(len(rows) for rows in scores.by_key) == len(rows)
