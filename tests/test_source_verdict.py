"""The rule of the verdict, each of its comparisons alone, and the intervals and groups that it rests on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from test_by_source import HOW, SOURCES, line, made, synthesis
from test_evaluate import Row, table

from fdetect.bench.scores.by_source import by_source
from fdetect.bench.scores.by_source_pairs import pairs_of
from fdetect.bench.scores.by_source_tables import source_grids, verdict_grids, verdict_text
from fdetect.bench.scores.by_source_verdict import (
    ALL,
    NO_FAKES,
    PARTLY,
    PASSED,
    PLACEBO,
    SOURCE,
    UNKNOWN,
    SourceRow,
    Verdict,
    verdicts,
)
from fdetect.bench.scores.evaluate import ScoreTable
from fdetect.metrics import interval

COLUMN = ("d", "", "matched", "matched")


def whole(auroc: float, low: float) -> SourceRow:
    return SourceRow(*COLUMN, ALL, "", 100, 100, auroc=auroc, low=low, high=1.0)


def placebo(name: str, value: float, low: float, high: float, *, gap: float, gap_low: float, n: int = 30) -> SourceRow:
    return SourceRow(*COLUMN, SOURCE, name, 30, 30, n, 30, placebo=value, placebo_low=low, placebo_high=high,
                     gap=gap, gap_low=gap_low, gap_high=gap + 0.1)  # fmt: skip


def ruled(*lines: SourceRow) -> Verdict:
    (found,) = verdicts(lines)
    return found


# -- the rule -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gap_low", "word"), [(-0.01, PLACEBO), (0.0, PLACEBO), (math.nan, PLACEBO), (0.01, PARTLY)])
def test_the_interval_of_the_gap_decides_and_not_the_gap(gap_low: float, word: str):
    shown = placebo("phone", 0.7, 0.6, 0.8, gap=0.1, gap_low=gap_low)
    assert ruled(whole(0.8, 0.7), shown).word == word


@pytest.mark.parametrize(("low", "word"), [(0.45, NO_FAKES), (0.5, NO_FAKES), (0.51, PASSED)])
def test_the_interval_of_the_mean_decides_and_not_the_mean(low: float, word: str):
    assert ruled(whole(0.6, low), placebo("phone", 0.52, 0.4, 0.6, gap=0.08, gap_low=0.01)).word == word


@pytest.mark.parametrize(("low", "high", "word"), [(0.6, 0.8, PLACEBO), (0.2, 0.4, PLACEBO), (0.5, 0.9, PASSED)])
def test_a_placebo_is_shown_where_its_interval_leaves_out_a_half(low: float, high: float, word: str):
    assert ruled(whole(0.8, 0.7), placebo("phone", (low + high) / 2, low, high, gap=0.1, gap_low=-0.1)).word == word


def test_the_placebo_that_decides_is_named_though_another_lies_further():
    far = placebo("camera", 0.9, 0.8, 0.95, gap=0.05, gap_low=0.01)
    against = placebo("phone", 0.7, 0.6, 0.8, gap=0.25, gap_low=-0.01)
    further = placebo("scan", 0.99, 0.4, 1.0, gap=-0.1, gap_low=-0.2)  # not shown
    assert ruled(whole(0.95, 0.9), far, against, further) == Verdict(PLACEBO, whole(0.95, 0.9), against)
    assert ruled(whole(0.95, 0.9), far, further).furthest == far
    assert ruled(whole(0.95, 0.9), further).furthest == further


def test_a_placebo_of_few_groups_on_its_own_side_decides_nothing():
    few = placebo("phone", 0.9, 0.8, 0.95, gap=-0.1, gap_low=-0.2, n=19)
    assert ruled(whole(0.8, 0.7), few).word == UNKNOWN


@pytest.mark.parametrize(("auroc", "low", "how"), [
    (0.01, 0.0, "tells photographs apart and was not shown to find fakes"),
    (0.7, 0.5, "tells photographs apart and was not shown to find fakes"),
    (0.7, 0.6, "tells photographs apart about as well as it finds fakes"),
])  # fmt: skip
def test_fakes_that_are_not_found_are_not_said_to_be(auroc: float, low: float, how: str):
    verdict = ruled(whole(auroc, low), placebo("s0", 0.91, 0.8, 0.95, gap=-0.2, gap_low=-0.3))
    found = f"fakes {auroc - 0.5:+.2f}, placebo ±0.41 (s0)"
    assert verdict_text(verdict) == f"{found}: {how}: not shown to measure synthesis"


# -- what it rests on -----------------------------------------------------------------------------------------------


def test_the_gap_has_the_sign_of_the_sample_in_every_replicate():
    """With one replicate an interval is that replicate; some of these lie on the other side of 0.5 than the sample."""
    rows, crossed = table(made({"matched": synthesis(1)}, n=25)), 0
    for seed in range(10):
        found = by_source(rows, replicates=1, seed=seed)
        of_all = line(found).low
        for one in (row for row in found if row.kind == SOURCE):
            sign = -1 if one.placebo < 0.5 else 1
            assert one.gap_low == pytest.approx(of_all - 0.5 - sign * (one.placebo_low - 0.5), abs=1e-12)
            crossed += (one.placebo_low - 0.5) * sign < 0
    assert crossed > 5


def of_few(n: int) -> list[Row]:
    """Sources of 60 groups, and `n` of the scan."""
    rows = made({"matched": synthesis(1)})
    return [row for row in rows if row["real_source"] != "scan" or int(str(row["path"]).split()[1]) < n]


@pytest.mark.parametrize(("n", "counted"), [(5, 2), (20, 3)])
def test_intervals_hold_together_for_the_placebos_that_count(n: int, counted: int):
    """Those of few groups decide nothing, so the level is not shared with them."""
    rows = table(of_few(n))
    scores = ScoreTable.of(rows)
    weights = scores.weights(**HOW)
    at = np.flatnonzero(scores.label == 0)
    kind = np.array([SOURCES.index(name) for name in scores.real_source[at]])
    pairs = pairs_of(scores, at, kind, weights, n_kinds=3, n_columns=3)
    found = by_source(rows, level=0.9, **HOW)
    assert sum(row.counts for row in found) == counted
    for k, name in enumerate(SOURCES):
        expected = interval(pairs.auroc(k, [j for j in range(3) if j != k]).replicates, level=1 - 0.1 / counted)
        assert (line(found, name).placebo_low, line(found, name).placebo_high) == pytest.approx(tuple(expected))


def apart(seed: int) -> list[Row]:
    """Of the phone one image is tested beside the camera's, the others in a trial of their own."""
    rows = made({"matched": synthesis(2)}, n=30, seed=seed, sources=("camera", "phone"))
    beside = {"camera": ("a",), "phone": ("b",), "phone 0": ("a",)}
    return [
        {**row, "trial": trial, "path": f"{row['path']} {trial}", "group": f"{row['group']} {trial}"}
        for row in rows
        for trial in beside.get(str(row["path"]), beside.get(str(row["real_source"]), ("a", "b")))
    ]


def test_groups_count_in_the_trials_that_test_both_sides():
    for seed in range(20):  # the one photograph lies somewhere among the others, so that some would be shown
        found = by_source(table(apart(seed)), **HOW)
        phone, camera = line(found, "phone"), line(found, "camera")
        assert (phone.n_groups, phone.n_own, phone.n_others) == (30, 1, 30)
        assert (camera.n_groups, camera.n_own, camera.n_others) == (30, 30, 1)
        assert math.isfinite(phone.placebo)  # shown all the same
        assert verdicts(found)[0].word == UNKNOWN


# -- generators seen in training ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seen", [("gan",), ("gan", "diffusion")])
def test_figures_over_seen_generators_have_a_star(seen: tuple[str, ...]):
    rows = [{**row, "seen": row["generator"] in seen} for row in made({"matched": synthesis(2)})]
    found = by_source(table(rows), **HOW)
    starred = len(seen) == 2  # there is no other
    assert [row.seen for row in found] == [starred] * len(found)
    alone, of_placebo = source_grids(found)
    (narrow,) = verdict_grids(found)
    figures = [*alone.rows[0][1:], of_placebo.rows[0][1], narrow.rows[0][2]]
    assert [text.endswith("]*") for text in figures] == [starred] * len(figures)
    assert "*" not in "".join(of_placebo.rows[0][2:5])  # nothing in a placebo was generated
    assert all("* = over generators seen in training" in grid.note for grid in (alone, of_placebo, narrow))


def test_reals_that_were_fitted_on_star_what_rests_on_them():
    rows = made({"matched": synthesis(2)})
    one = next(row for row in rows if row["label"] == 0)
    rows = [{**row, "seen": row["path"] == one["path"]} for row in rows]
    found = by_source(table(rows), **HOW)
    sources = [row for row in found if row.kind == SOURCE]
    assert all(row.reals_seen and not row.seen for row in sources)  # each is told from the others, one of them known
    alone, of_placebo = source_grids(found)
    (narrow,) = verdict_grids(found)
    assert alone.rows[0][1].endswith("]*")
    assert all(text.endswith("]*") for text in of_placebo.rows[0][1 : 2 + len(sources)])
    assert "]* " in narrow.rows[0][3]
    assert "or on reals that the detector was fitted on" in of_placebo.note
