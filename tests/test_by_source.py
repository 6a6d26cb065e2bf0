"""Each source of reals alone, and placebos: plain loops, and made detectors of synthesis and of other things."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from importlib.resources import files

import naive_by_source as naive
import numpy as np
import pyarrow.parquet as pq
import pytest
from test_cli import fdetect  # noqa: F401 (a fixture)
from test_complaints import copied, scored
from test_evaluate import Row, cell, fakes, reals, run_like, table

from fdetect.bench.output import canonical_json
from fdetect.bench.report.tables import verdict_line
from fdetect.bench.report.terminal import terminal_grids
from fdetect.bench.scores.by_source import MOST, by_source, histories
from fdetect.bench.scores.by_source_pairs import pairs_of
from fdetect.bench.scores.by_source_tables import by_source_csv, source_grids, verdict_grids, verdict_text
from fdetect.bench.scores.by_source_verdict import (
    ALL,
    HISTORY,
    NO_FAKES,
    PARTLY,
    PASSED,
    PLACEBO,
    SOURCE,
    UNKNOWN,
    SourceRow,
    Verdict,
    read_by_source,
    verdicts,
)
from fdetect.bench.scores.evaluate import ScoreTable, cells_of
from fdetect.errors import DataError
from fdetect.metrics import group_weights

HOW = {"replicates": 200, "seed": 1}
SOURCES = ("camera", "phone", "scan")


def line(rows: tuple[SourceRow, ...], name: str = "", **chosen: str) -> SourceRow:
    found = [r for r in rows if r.name == name and all(getattr(r, key) == value for key, value in chosen.items())]
    assert len(found) == 1, found
    return found[0]


def made(
    scores: dict[str, dict[str, float]], *, n: int = 60, seed: int = 0, detector: str = "d", sources: tuple = SOURCES,
    trial: str = "all/0",
) -> list[Row]:
    """Score tables by what a detector answers to: {condition: {source or generator: what is added to its noise}}.

    The noise of an image, normal of deviation 1, is the same in every condition but for a fifth of it.
    """
    rng = np.random.default_rng(seed)
    names = (*sources, "gan", "diffusion")
    noise = {name: rng.normal(0, 1, n) for name in names}
    return [
        {"path": f"{name} {k}", "group": f"{name} {k}", "label": int(name not in sources), "detector": detector,
         "generator": "" if name in sources else name, "real_source": name if name in sources else "",
         "train_condition": "matched", "condition": condition, "trial": trial, "train": "", "seen": False,
         "score": float(noise[name][k] + added.get(name, 0.0) + rng.normal(0, 0.2))}
        for condition, added in scores.items() for name in names for k in range(n)
    ]  # fmt: skip


def judged(rows: list[Row], **how: object) -> tuple[Verdict, ...]:
    return verdicts(by_source(table(rows), **{**HOW, **how}))


def synthesis(strength: float, **reals_of: float) -> dict[str, float]:
    return {"gan": strength, "diffusion": strength, **reals_of}


# -- the figures ----------------------------------------------------------------------------------------------------


def test_figures_by_hand():
    rows = reals([0.1, 0.5], real_source="a") + [
        {**row, "path": f"b{k}", "group": f"b{k}"} for k, row in enumerate(reals([0.3, 0.5], real_source="b"))
    ]
    rows += fakes("gan", [0.4, 0.6])
    found = by_source(table(rows), **HOW)
    assert [row.kind for row in found] == [ALL, SOURCE, SOURCE]
    assert line(found).auroc == 6 / 8
    assert line(found, "a").auroc == 3 / 4
    assert line(found, "b").auroc == 3 / 4
    assert line(found, "a").placebo == 1.5 / 4  # 0.1 < 0.3, 0.1 < 0.5, 0.5 > 0.3, and a tie
    assert line(found, "b").placebo == 2.5 / 4
    assert line(found, "a").gap == 0.25 - 0.125
    assert (line(found, "a").n_real, line(found, "a").n_groups, line(found, "a").n_others) == (2, 2, 2)


def weights_of(rows: list[Row], seed: int) -> list[dict[str, float] | None]:
    """No weights, and those of the only replicate of a table."""
    drawn = group_weights([str(row["group"] or row["path"]) for row in rows], replicates=1, seed=seed)
    return [None, dict(zip(drawn.groups.tolist(), drawn.counts[0].tolist(), strict=True))]


def test_every_figure_is_that_of_the_plain_loops():
    """Trials of different models, failures, ties; with one replicate an interval is that replicate."""
    worn, plain = run_like(seed=3), run_like(seed=1)
    for rows, condition in ((worn, "double70"), (plain, "matched")):
        for row in rows:
            row |= {"condition": condition, "train_condition": "matched", "group": row["group"] or row["path"]}
    found = by_source(table(worn + plain), replicates=1, seed=4)
    sample, drawn = weights_of(worn + plain, 4)
    told = [naive.history(worn, plain, weight) for weight in (sample, drawn)]
    for rows, condition in ((worn, "double70"), (plain, "matched")):
        whole = [naive.alone(rows, None, weight) for weight in (sample, drawn)]
        mine = line(found, condition=condition)
        assert (mine.auroc, mine.low, mine.high) == pytest.approx((whole[0], whole[1], whole[1]), abs=1e-12)
        for source in ("coco", "phone"):
            mine = line(found, source, condition=condition)
            alone = [naive.alone(rows, source, weight) for weight in (sample, drawn)]
            assert (mine.auroc, mine.low) == pytest.approx(alone, abs=1e-12)
            placebo = [naive.placebo(rows, source, weight) for weight in (sample, drawn)]
            assert (mine.placebo, mine.placebo_low) == pytest.approx(placebo, abs=1e-12)
            sign = -1 if placebo[0] < 0.5 else 1
            gap = [naive.distance_beyond(a, p, sign) for a, p in zip(whole, placebo, strict=True)]
            assert (mine.gap, mine.gap_high) == pytest.approx(gap, abs=1e-12)
        mine = line(found, "double70 against matched", condition=condition)
        assert (mine.kind, math.isnan(mine.auroc)) == (HISTORY, True)
        assert (mine.placebo, mine.placebo_high) == pytest.approx(told, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_pairs_with_many_ties_are_those_of_the_plain_loops(seed: int):
    rng = np.random.default_rng(seed)
    rows = [
        {"path": f"{k}", "group": f"g{rng.integers(8)}", "trial": f"t{rng.integers(3)}", "score": 1.0 * rng.integers(4)}
        for k in range(30)
    ]
    kind = rng.integers(4, size=30)
    scores, weights = ScoreTable.of(table(rows)), group_weights([f"g{k}" for k in range(8)], replicates=3, seed=seed)
    pairs = pairs_of(scores, np.arange(30), kind, weights, n_kinds=4, n_columns=3)
    sets = [[row for row, mine in zip(rows, kind, strict=True) if mine == k] for k in range(4)]
    for first in range(4):
        others = [k for k in range(3) if k != first]
        found = pairs.auroc(first, others)
        together = [row for k in others for row in sets[k]]
        assert found.value == pytest.approx(naive.over(sets[first], together))
        for drawn, value in zip(weights.counts.tolist(), found.replicates, strict=True):
            weight = dict(zip(weights.groups.tolist(), drawn, strict=True))
            expected = naive.over(sets[first], together, weight)
            assert np.isnan(value) if expected is None else value == pytest.approx(expected)


def test_all_reals_are_the_macro_cell_of_the_run():
    rows = table(run_like())
    whole = cell(cells_of(rows, **HOW), "macro").metric("auroc")
    found = line(by_source(rows, **HOW))
    assert (found.auroc, found.low, found.high) == pytest.approx((whole.value, whole.low, whole.high), abs=1e-12)
    assert canonical_json(by_source(ScoreTable.of(rows), **HOW)) == canonical_json(by_source(rows, **HOW))


def test_the_order_of_rows_changes_no_figure():
    rows = made({"matched": synthesis(1, phone=0.5), "double70": synthesis(1)})
    shuffled = [rows[k] for k in np.random.default_rng(0).permutation(len(rows))]
    there = {(row.condition, row.name): row for row in by_source(table(shuffled), **HOW)}
    for row in by_source(table(rows), **HOW):
        assert canonical_json(row) == canonical_json(there[row.condition, row.name])


def test_generators_seen_in_training_are_left_out_of_the_mean():
    rows = made({"matched": synthesis(1)})
    for row in rows:
        row["seen"] = row["generator"] == "gan"
    assert line(by_source(table(rows), **HOW), "phone").auroc == pytest.approx(naive.alone(rows, "phone"))
    assert naive.generators(rows) == ["diffusion"]


def test_sources_beyond_the_most_are_put_together_and_counted():
    rows = made({"matched": synthesis(1)}, sources=tuple(f"s{k:02d}" for k in range(MOST + 5)), n=4)
    rows = [row for row in rows if not str(row["real_source"]).startswith("s0") or not str(row["path"]).endswith(" 3")]
    found = [row for row in by_source(table(rows), **HOW) if row.kind == SOURCE]
    assert len(found) == MOST
    small = line(tuple(found), "6 smaller sources")
    assert small.n_real == 18  # the s0 are the smallest, three each
    assert sum(row.n_real for row in found) == len([row for row in rows if row["label"] == 0])
    pooled = [{**row, "real_source": small.name if row["real_source"] in {f"s{k:02d}" for k in range(4, 10)} else
               row["real_source"]} for row in rows]  # fmt: skip
    assert small.placebo == pytest.approx(naive.placebo(pooled, small.name))


def test_repeated_rows_are_refused():
    rows = made({"matched": synthesis(1)})
    with pytest.raises(DataError, match="two rows for camera 0"):
        by_source(table([*rows, rows[0]]), **HOW)


# -- which conditions are another history ---------------------------------------------------------------------------


def test_histories_are_chains_of_jpegs_and_rescaled():
    names = ["native", "matched", "jpeg70", "double70", "double50+jpeg70", "rescaled", "blur1", "webp80", "parity",
             "social_feed", "launder_x", "double70+blur1", "nonsense"]  # fmt: skip
    assert histories(names) == (
        "matched", {"jpeg70": False, "double70": True, "double50+jpeg70": False, "rescaled": True})  # fmt: skip
    assert histories(["jpeg90", "double70"]) == ("jpeg90", {"double70": True})
    assert histories(["native", "double70", "jpeg70"]) == ("", {})  # nothing to compare with


def test_matched_answers_for_histories_that_end_as_it_does():
    rows = made(dict.fromkeys(("matched", "jpeg70", "double70", "blur1"), synthesis(1)))
    found = [(row.condition, row.name) for row in by_source(table(rows), **HOW) if row.kind == HISTORY]
    assert found == [("matched", "double70 against matched"), ("jpeg70", "jpeg70 against matched"),
                     ("double70", "double70 against matched")]  # fmt: skip


def test_only_photographs_with_a_score_under_both_are_compared():
    rows = made({"matched": synthesis(1), "jpeg70": synthesis(1, camera=3, phone=3, scan=3)})
    rows = [row for row in rows if row["condition"] == "matched" or row["real_source"] != "scan"]
    rows[0] |= {"score": None}
    found = line(by_source(table(rows), **HOW), "jpeg70 against matched")
    assert (found.n_real, found.n_others) == (119, 119)
    assert found.placebo > 0.9
    elsewhere = [{**row, "train_condition": "native"} if row["condition"] == "matched" else row for row in rows]
    assert not [row for row in by_source(table(elsewhere), **HOW) if row.kind == HISTORY]  # another detector's fit


# -- the verdict ----------------------------------------------------------------------------------------------------


def test_a_detector_of_synthesis_passes():
    (verdict,) = judged(made({"matched": synthesis(1.5)}))
    assert verdict.word == PASSED
    assert verdict.whole.auroc > 0.8
    assert verdict.furthest is not None
    assert verdict.furthest.distance < 0.1


@pytest.mark.parametrize(("strength", "most"), [(0.8, 5), (1.5, 0)])
def test_detectors_of_synthesis_are_hardly_ever_accused(strength: float, most: int):
    """At the level of the intervals, of 40: rarely where fakes are hardly found (AUROC 0.7), never where they are."""
    words = [judged(made({"matched": synthesis(strength)}, n=40, seed=seed))[0].word for seed in range(40)]
    assert words.count(PLACEBO) <= most
    assert words.count(PASSED) >= 33


@pytest.mark.parametrize("offsets", [
    {"camera": 0.0, "phone": 4.0, "scan": 4.0}, {"camera": -4.0, "phone": 0.0, "scan": 0.0}, {"phone": 9.0},
])  # fmt: skip
def test_a_detector_of_sources_is_caught_though_some_source_makes_it_look_good(offsets: dict[str, float]):
    """The score is an offset of the source, and the fakes lie between the sources."""
    rows = by_source(table(made({"matched": {**synthesis(1.0), **offsets}})), **HOW)
    (verdict,) = verdicts(rows)
    assert max(row.auroc for row in rows if row.kind == SOURCE) > 0.7
    assert verdict.word == PLACEBO
    assert verdict.furthest is not None
    assert verdict.furthest.distance > 0.3
    how = "about as well as it finds fakes" if verdict.whole.low > 0.5 else "and was not shown to find fakes"
    assert verdict_text(verdict).endswith(f"tells photographs apart {how}: not shown to measure synthesis")


def test_a_detector_of_sources_with_a_good_mean_is_caught():
    """All but one source lie low: the mean over the reals is high, and is that of photographs."""
    rows = by_source(table(made({"matched": synthesis(2.0, camera=0.0, scan=0.0, phone=3.0)})), **HOW)
    assert line(rows).auroc > 0.65
    assert line(rows, "phone").auroc < 0.35  # which the mean hides
    assert verdicts(rows)[0].word == PLACEBO


def test_a_source_that_is_told_less_than_fakes_is_said():
    (verdict,) = judged(made({"matched": synthesis(3.0, phone=0.8)}))
    assert verdict.word == PARTLY
    assert verdict.furthest is not None
    assert verdict.furthest.name == "phone"
    assert "(phone): tells photographs apart, less than it finds fakes" in verdict_text(verdict)


def test_a_blind_detector_finds_no_fakes():
    assert judged(made({"matched": {}}))[0].word == NO_FAKES
    assert judged(made({"matched": synthesis(-1.0)}))[0].word == NO_FAKES  # below chance


def test_a_detector_of_jpeg_histories_is_caught():
    """It scores what was compressed once more, and the fakes of this set were; the sources differ in nothing."""
    worn = synthesis(1.0, **dict.fromkeys(SOURCES, 1.5))
    plain, under = judged(made({"matched": synthesis(1.0), "double70": worn}))
    assert plain.word == under.word == PLACEBO
    assert plain.furthest is not None
    assert plain.furthest.name == "double70 against matched"
    assert judged(made({"matched": synthesis(1.0), "jpeg70": worn}))[0].word == PASSED  # another end: not matched's
    assert judged(made({"matched": synthesis(1.0), "jpeg70": worn}))[1].word == PLACEBO
    assert [one.word for one in judged(made(dict.fromkeys(("matched", "double70"), synthesis(1.5))))] == [PASSED] * 2


@pytest.mark.parametrize(("n", "word"), [(19, UNKNOWN), (20, PLACEBO)])
def test_sources_of_few_groups_decide_nothing(n: int, word: str):
    rows = made({"matched": synthesis(1.0, phone=5.0)}, sources=("camera", "phone"))
    rows = [row for row in rows if row["real_source"] != "phone" or int(str(row["path"]).split()[1]) < n]
    (verdict,) = judged(rows)
    assert verdict.word == word
    assert line(by_source(table(rows), **HOW), "phone").placebo > 0.9  # shown all the same


def test_one_source_or_sources_in_trials_of_their_own_are_no_placebo():
    (verdict,) = judged(made({"matched": synthesis(1.0)}, sources=("camera",)))
    assert (verdict.word, verdict.furthest) == (UNKNOWN, None)
    apart = [row for k, name in enumerate(SOURCES)
             for row in made({"matched": synthesis(1.0)}, sources=(name,), trial=f"{name}/0", seed=k)]  # fmt: skip
    rows = by_source(table(apart), **HOW)
    assert all(math.isfinite(row.auroc) and math.isnan(row.placebo) for row in rows if row.kind == SOURCE)
    assert verdicts(rows)[0].word == UNKNOWN
    assert "no two sources of 20+ groups are tested in one trial" in verdict_text(verdicts(rows)[0])


@pytest.mark.parametrize("label", [0, 1])
def test_a_class_alone_is_not_measured(label: int):
    rows = by_source(table([row for row in made({"matched": synthesis(1)}) if row["label"] == label]), **HOW)
    assert math.isnan(line(rows).auroc)
    assert verdicts(rows)[0].word == UNKNOWN
    assert len(source_grids(rows)) == (2 if label == 0 else 1)


def test_without_replicates_nothing_is_decided():
    (verdict,) = judged(made({"matched": synthesis(1)}), replicates=0)
    assert verdict.word == UNKNOWN
    assert verdict_text(verdict) == "not measured: no interval"


# -- tables, files, commands ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows() -> tuple[SourceRow, ...]:
    good, bad = synthesis(2.0), synthesis(2.0, phone=4.0)
    both = made({"matched": good, "jpeg70": good}, detector="good") + made({"matched": bad, "jpeg70": good})
    return by_source(table(both), **HOW)


def test_tables_of_a_condition(rows):
    audit = {"biased_by": {"matched": ("dimensions",)}, "unmeasured": {}, "probes": []}
    alone, placebo, *others = source_grids(rows, audit)
    assert alone.title == ("AUROC against each source of reals alone, under matched (trained under matched)"
                           "  [biased by dimensions]")  # fmt: skip
    assert alone.columns == ("detector", "all reals", *(f"{name} (60 reals, 60 groups)" for name in SOURCES))
    assert [row[0] for row in alone.rows] == ["good", "d"]
    phone = line(rows, "phone", detector="d", condition="matched")
    assert alone.rows[1][3] == f"{phone.auroc:.3f} [{phone.low:.2f}, {phone.high:.2f}]"
    assert phone.auroc < 0.2
    assert placebo.title.startswith("Placebo: reals against reals, under matched")
    assert "not shown to measure synthesis" in placebo.rows[1][-1]
    assert "not shown" not in placebo.rows[0][-1]
    assert [len(row) for grid in (alone, placebo, *others) for row in grid.rows] == [
        len(grid.columns) for grid in (alone, placebo, *others) for _ in grid.rows
    ]
    assert others[1].columns[-3] == "jpeg70 against matched"


def test_the_narrow_table_has_one_row_a_detector_with_its_gravest_verdict(rows):
    (grid,) = verdict_grids(rows)
    assert [row[0] for row in grid.rows] == ["good", "d"]
    assert grid.rows[1][1] == "matched"
    assert grid.rows[1][-1] == "not shown to measure synthesis"
    assert "not shown to" not in grid.rows[0][-1]
    assert verdict_grids(()) == []


def test_the_narrow_table_has_no_column_by_which_the_page_would_hide_its_rows(rows):
    """A verdict is about all conditions: "native ...; so under matched" is for those who choose matched, too."""
    script = files("fdetect.bench.report").joinpath("templates", "report.js").read_text(encoding="utf-8")
    assert 'indexOf("condition")' in script, "what rows are hidden by"
    (grid,) = verdict_grids([row for row in rows if row.detector == "good"])
    assert "so under" in grid.rows[0][-1]
    assert "condition" not in grid.columns


def test_what_was_trained_otherwise_has_rows_of_its_own(rows):
    again = [replace(row, train="gan") for row in rows]
    alone = source_grids((*rows, *again))[0]
    assert alone.columns[1] == "trained on"
    twice = source_grids((*rows, *(replace(row, train_condition="jpeg70") for row in rows)))[0]
    assert [row[:2] for row in twice.rows[::2]] == [("good", "matched"), ("good", "jpeg70")]
    assert "(trained under matched, jpeg70)" in twice.title
    assert [row[:2] for row in alone.rows] == [("good", "matched"), ("d", "matched"), ("good", "gan, matched"),
                                               ("d", "gan, matched")]  # fmt: skip
    assert len(verdict_grids((*rows, *again))[0].rows) == 4


def test_rows_survive_the_result_and_fill_a_csv(rows, tmp_path):
    (tmp_path / "result.json").write_text(canonical_json({"by_source": rows}), encoding="utf-8")
    again = read_by_source(tmp_path)
    assert canonical_json(again) == canonical_json(rows)
    assert source_grids(again) == source_grids(rows)
    (tmp_path / "result.json").write_text("{}", encoding="utf-8")
    assert read_by_source(tmp_path) == ()
    lines = list(csv.DictReader(io.StringIO(by_source_csv(rows))))
    assert len(lines) == len(rows)
    assert [one["verdict"] for one in lines if one["kind"] == ALL] == [one.word for one in verdicts(rows)]
    assert float(lines[1]["auroc"]) == rows[1].auroc
    assert lines[0]["placebo"] == ""


def test_evaluate_shows_them(fdetect, tmp_path):  # noqa: F811
    whole = table(made({"matched": synthesis(2.0, phone=4.0)}))
    pq.write_table(whole, tmp_path / "scores.parquet")
    code, out, _ = fdetect("evaluate", str(tmp_path / "scores.parquet"), "--replicates", "50")
    assert code == 0
    assert "AUROC against each source of reals alone, under matched" in out
    assert "not shown to measure synthesis" in out


def test_a_run_keeps_and_shows_them(tmp_path):
    done = scored(copied(tmp_path / "data"), tmp_path / "out")
    rows = by_source(done.scores, replicates=5)
    assert {row.name for row in rows if row.kind == SOURCE} == {"coco"}
    assert canonical_json(read_by_source(done.folder)) == canonical_json(rows)
    assert (done.folder / "by_source.csv").read_text(encoding="utf-8") == by_source_csv(rows)
    text = (done.folder / "tables.md").read_text(encoding="utf-8")
    assert text.startswith("Audit: none of 1 condition biased. Too few images for native (")
    assert "## Placebo: reals against reals, under native" in text
    (grid,) = (one for one in terminal_grids(done.result, done.folder) if one.title.startswith("Placebo"))
    assert grid.rows[0][-1] == "not measured"


@pytest.mark.parametrize(("biased", "unmeasured", "said"), [
    ({"native": ("file_bytes", "dimensions"), "matched": (), "jpeg70": ("thumbnail",)}, {},
     "Audit: 2 of 3 conditions biased: native by file_bytes, dimensions; jpeg70 by thumbnail. Not marked: matched."),
    ({"matched": ()}, {"matched": ()}, "Audit: none of 1 condition biased. Not marked: matched."),
    ({"native": (), "matched": ()}, {"native": ("thumbnail",)},
     "Audit: none of 2 conditions biased. Not marked: matched. Too few images for native (thumbnail)."),
    ({"native": ("container",)}, {"native": ("thumbnail",)},
     "Audit: 1 of 1 condition biased: native by container. Too few images for native (thumbnail)."),
    ({}, {}, "No condition was audited."),
])  # fmt: skip
def test_the_audit_s_verdict_in_one_line(biased, unmeasured, said):
    assert verdict_line({"biased_by": biased, "unmeasured": unmeasured, "probes": []}) == said
