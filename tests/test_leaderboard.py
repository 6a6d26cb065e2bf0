"""The leaderboard: who competes, seeds, differences, what is refused, what is said of it, and the page."""

from __future__ import annotations

import csv
import io
import json
import math
import re

import naive_evaluate
import naive_leaderboard
import numpy as np
import pyarrow as pa
import pytest
from boards import GENERATORS, HOSTILE, header_of, rows_of, with_config, write_run
from test_cli import fdetect  # noqa: F401 (a fixture)

from fdetect.bench.leaderboard.best import best_lines
from fdetect.bench.leaderboard.boards import boards, replicates_for
from fdetect.bench.leaderboard.page import _ticks, cost_chart, render_leaderboard
from fdetect.bench.leaderboard.places import ABOVE, BEHIND, LEADER, LEVEL, NOT_MEASURED
from fdetect.bench.leaderboard.runs import competitors, read_runs
from fdetect.bench.leaderboard.tables import board_grid, board_grids, boards_csv, boards_latex, runs_grid
from fdetect.bench.report.grid import interval_text, printable
from fdetect.bench.scores.compare import bootstrap_p, paired_differences
from fdetect.bench.scores.evaluate import cells_of
from fdetect.bench.scores.given import read_score_table
from fdetect.errors import DataError, FdetectError, ParameterError

QUICK = {"replicates": 200}
OUTLINE = r'<rect [^>]*fill="none"'  # of a cell of the map whose generator is in no mean


def one_board(folders, **how):
    (board,) = boards(read_runs(folders), **{**QUICK, **how})
    return board


def places(board):
    return {one.detector: one for one in board.places}


@pytest.fixture
def seeds(tmp_path):
    """Three repetitions of a detector, and one run of two others."""
    folders = [write_run(tmp_path / f"seed-{k}", rows_of("good", shift=1.5, seed=k, noise=1), seed=k) for k in range(3)]
    others = rows_of("weak", shift=0.3, noise=2) + rows_of("near", shift=1.45, noise=3)
    return [*folders, write_run(tmp_path / "others", others)]


def test_seeds_are_repetitions_with_the_mean_and_spread_of_the_naive_reference(seeds):
    mine = places(one_board(seeds))["good"]
    mean, spread = naive_leaderboard.over_seeds({k: rows_of("good", shift=1.5, seed=k, noise=1) for k in range(3)})
    assert mine.auroc == pytest.approx(mean, abs=1e-12)
    assert mine.spread == pytest.approx(spread, abs=1e-12)
    assert list(mine.seeds) == [0, 1, 2]
    assert mine.runs == ("seed-0", "seed-1", "seed-2")
    assert mine.low < mine.auroc < mine.high
    assert math.isnan(places(one_board(seeds))["weak"].spread)


def test_a_single_seed_has_the_figures_of_the_naive_reference(seeds):
    rows, mine = rows_of("weak", shift=0.3, noise=2), places(one_board(seeds))["weak"]
    assert mine.auroc == pytest.approx(naive_evaluate.macro(rows), abs=1e-12)
    name, few = naive_evaluate.worst(rows)
    assert mine.worst[0] == name
    assert mine.worst[1] == pytest.approx(naive_evaluate.concordant(naive_evaluate.of_generator(rows, name)), abs=1e-12)
    assert (mine.worst[2] < 20) == few
    for generator, value in mine.generators.items():
        assert value == pytest.approx(naive_evaluate.concordant(naive_evaluate.of_generator(rows, generator)))
    called = [row["score"] > row["threshold"] for row in rows if row["label"] == 1]
    assert mine.tpr == pytest.approx(np.mean(called))


def test_differences_to_the_leader_are_the_paired_ones_and_p_is_corrected_over_the_board(tmp_path):
    tables = {"a": rows_of("a", shift=2.0, noise=1), "b": rows_of("b", shift=1.2, noise=2),
              "c": rows_of("c", shift=1.6, noise=3), "d": rows_of("d", shift=0.2, noise=4)}  # fmt: skip
    folders = [write_run(tmp_path / name, rows) for name, rows in tables.items()]
    board = one_board(folders)
    leader, *others = board.places
    assert (leader.detector, leader.verdict, leader.rank) == ("a", LEADER, 1)
    together = pa.Table.from_pylist([row for rows in tables.values() for row in rows])
    whole = read_score_table(tmp_path / "all.parquet", together)
    truths = {one.detector: paired_differences(whole, one.detector, "a", **QUICK)[0] for one in others}
    corrected = naive_leaderboard.holm([truths[one.detector].p for one in others])
    for one, p in zip(others, corrected, strict=True):
        truth = truths[one.detector]
        assert (one.behind.value, one.behind.low, one.behind.high) == (truth.value, truth.low, truth.high)
        assert one.p == pytest.approx(p)
        assert one.verdict == (BEHIND if p < 0.05 else LEVEL)
    assert {one.verdict for one in others} == {BEHIND, LEVEL}
    assert [one.auroc for one in board.places] == sorted((one.auroc for one in board.places), reverse=True)


def test_over_seeds_the_difference_is_that_of_the_seeds_that_both_have(seeds):
    board = one_board(seeds)
    assert board.places[0].detector == "good"
    theirs = naive_evaluate.macro(rows_of("good", shift=1.5, seed=0, noise=1))  # seed 0 is the one that both have
    mine = naive_evaluate.macro(rows_of("weak", shift=0.3, noise=2))
    assert places(board)["weak"].behind.value == pytest.approx(mine - theirs, abs=1e-12)


def test_a_difference_of_some_seeds_says_so_everywhere(seeds):
    board = one_board(seeds)
    grid = board_grid(board)
    shown = {row[0]: row[grid.columns.index("minus the leader")] for row in grid.rows}
    assert shown["weak"].endswith("] (1 of 3 seeds)")
    assert shown["good"] == "–"
    assert "not the difference of the means shown" in grid.note
    assert boards_latex([board]).count("(1 of 3 seeds)") == 2
    lines = {line["detector"]: line for line in csv.DictReader(io.StringIO(boards_csv([board])))}
    assert [lines[name]["minus_leader_seeds"] for name in ("good", "weak")] == ["", "1 of 3"]
    alone = one_board(seeds[3:])
    assert "seeds)" not in str(board_grid(alone).rows)
    assert "count of seeds" not in board_grid(alone).note


def test_the_last_line_of_a_run_has_the_interval_of_its_table(tmp_path):
    folder = write_run(tmp_path / "run", rows_of("a", shift=1.5) + rows_of("b", noise=1))
    cells = cells_of(read_score_table(folder / "scores.parquet"), replicates=20)
    own = next(c for c in cells if (c.detector, c.generator) == ("a", "macro")).metric("auroc")
    (first,) = one_board([folder], replicates=0).places[:1]
    assert (first.low, first.high) != (own.low, own.high)
    (line,) = best_lines(folder, cells)
    assert line.startswith(f"highest under matched: a, macro AUROC {interval_text(own.value, own.low, own.high)}")


def test_jpeg_history_that_is_left_stands_at_the_title(tmp_path):
    folders = [write_run(tmp_path / f"{k}", rows_of("a", seed=k), seed=k) for k in (0, 1)]
    for folder, value in zip(folders, (0.719, 0.75), strict=True):
        result = json.loads((folder / "result.json").read_text())
        result["audit"]["history"] = [{"condition": "matched", "images": "fake", "kind": "k", "auroc": value,
                                       "low": value - 0.1, "high": value + 0.1, "n_with": 9, "n_without": 9}]
        (folder / "result.json").write_text(json.dumps(result))
    alone, both = one_board(folders[:1]), one_board(folders)
    said = "JPEG history left: 0.719 [0.62, 0.82] (fake images)"
    assert alone.history == said
    assert board_grid(alone).title.endswith(f"  [{said}]")
    assert both.history == f"{said} in 0, left in 2 of 2 runs"
    page = render_leaderboard([alone], read_runs(folders[:1]))
    assert f'<span class="badge hint">{said}</span>' in page
    assert f"matched: {said}." in page


def test_costs_fill_their_axis_and_no_number_covers_another(tmp_path):
    names = [f"d{k}" for k in range(8)]
    rows = [row for k, name in enumerate(names) for row in rows_of(name, noise=k % 2)]  # four and four equal AUROCs
    costs = {name: 40.0 + k for k, name in enumerate(names)}
    chart = cost_chart(one_board([write_run(tmp_path / "run", rows, cost=costs)]).places, label="costs")
    dots = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', chart)]
    assert max(dots) - min(dots) > 100  # px of 290; between 10 and 100 they would take 20
    ours = r'<text x="([\d.]+)" y="([\d.]+)"[^>]*fill="(?!curr)[^>]*>\d<'
    at = [(float(x), float(y)) for x, y in re.findall(ours, chart)]
    assert len(at) >= 4
    assert all(abs(x - u) >= 7 or abs(y - v) >= 12 for k, (x, y) in enumerate(at) for u, v in at[:k])
    assert all(f"  {name}<" in chart for name in names)


@pytest.mark.parametrize(("low", "high", "wanted"), [
    (0.05, 30, ["0.1", "1", "10"]), (0.05, 3, ["0.1", "0.3", "1", "3"]), (7.9, 10.7, ["8", "9", "10"]),
    (1.09, 1.61, ["1.1", "1.2", "1.3", "1.4", "1.5", "1.6"]),
])  # fmt: skip
def test_ticks_of_an_axis_are_round_and_three_or_more(low, high, wanted):
    assert [words for _, words in _ticks(low, high)] == wanted


def test_without_a_shared_seed_the_means_over_all_of_them_are_compared(tmp_path):
    folders = [write_run(tmp_path / f"{k}", rows_of("a", shift=1.5, seed=k), seed=k) for k in (1, 2)]
    board = one_board([*folders, write_run(tmp_path / "b", rows_of("b", shift=0.5, noise=5))])
    a, b = (places(board)[name] for name in "ab")
    assert b.behind.value == pytest.approx(b.auroc - a.auroc, abs=1e-12)


def test_equal_scores_in_two_runs_are_one_detector(tmp_path):
    folders = [write_run(tmp_path / name, list(rows)) for name, rows in
               (("first", rows_of("a")), ("second", list(reversed(rows_of("a"))) + rows_of("b", noise=1)))]  # fmt: skip
    found = competitors(read_runs(folders))
    assert [one.name for one in found] == ["a", "b"]
    assert [run.name for run in found[0].all_runs] == ["first", "second"]
    assert len(places(one_board(folders))["a"].seeds) == 1


def test_other_scores_of_one_name_and_seed_are_told_apart_by_the_run(tmp_path):
    folders = [write_run(tmp_path / name, rows_of("a", noise=k)) for k, name in enumerate(("first", "second"))]
    assert [one.name for one in competitors(read_runs(folders))] == ["a (first)", "a (second)"]
    assert len(one_board(folders).places) == 2


def test_variants_of_a_detector_are_counted_and_not_ranked(tmp_path):
    fused = "fused:handmade+trunk"
    names = ("logreg:all", "logreg:all-spectrum", fused, f"{fused}:without=trunk", "b:all-x")
    runs = read_runs([write_run(tmp_path / "run", [row for k, name in enumerate(names)
                                                   for row in rows_of(name, noise=k, shift=1 + k / 4)])])  # fmt: skip
    (board,) = boards(runs)
    assert {one.detector for one in board.places} == {"logreg:all", fused, "b:all-x"}
    assert runs_grid(runs).rows[0][2] == "3, and 2 variants that are not ranked"



@pytest.mark.parametrize(("table", "values", "repeated"), [
    ("features", {"names": ["full"]}, False),
    ("heads", {"draws": 4}, False),
    ("heads", {"all_columns": ["svm_rbf"]}, True),  # which others were run changes no detector
    ("metrics", {"replicates": 7}, True),
    ("detectors", {"external": ["x=program"]}, True),
    ("detectors", {"external": ["a=program"]}, False),  # its own program
    ("detectors", {"scores": ["a.csv 0123"]}, False),  # its own scores
])  # fmt: skip
def test_a_repetition_has_the_same_settings_but_for_the_seed(tmp_path, table, values, repeated):
    folders = [write_run(tmp_path / "first", rows_of("a")),
               write_run(tmp_path / "second", rows_of("a", seed=1), seed=1,
                         header=with_config(header_of(1), table, **values))]  # fmt: skip
    names = [one.name for one in competitors(read_runs(folders))]
    assert names == (["a"] if repeated else ["a (first)", "a (second)"])


def test_other_versions_and_weights_are_no_repetition(tmp_path):
    card = {"name": "w", "sha256": "ab", "purpose": "test", "evidence": "unverified weights", "licence": ""}
    for key, value in (("versions", {"fdetect": "9", "decoder": "x"}), ("weights", {"a": [card]}),
                       ("backend", {"name": "gpu"}), ("plugged", {"a": "2 code"})):  # fmt: skip
        first = write_run(tmp_path / key / "first", rows_of("a"))
        other = write_run(tmp_path / key / "second", rows_of("a", seed=1), header=header_of(1, **{key: value}))
        assert len(competitors(read_runs([first, other]))) == 2


@pytest.mark.parametrize("given", [{"clip": "11"}, {}])
def test_scores_of_two_files_are_two_detectors_and_heads_beside_them_one(tmp_path, given):
    """Whether a run says which file a detector is of, or is older and does not."""
    folders = []
    for k in (0, 1):
        header = with_config(header_of(k), "detectors", scores=[f"clip.csv {k}"])
        header |= {"given": {"clip": str(k)}} if given else {}
        rows = rows_of("clip", shift=2 - k, seed=k, noise=k) + rows_of("logreg:all", seed=k, noise=5)
        folders.append(write_run(tmp_path / f"run-{k}", rows, seed=k, header=header))
    assert [one.name for one in competitors(read_runs(folders))] == ["clip (run-0)", "clip (run-1)", "logreg:all"]


def test_the_same_scores_in_all_seeds_are_one_detector_and_no_repetition(tmp_path):
    folders = []
    for k in (0, 1):  # folds differ with the seed, the score of an image does not
        score_of = {row["path"]: row["score"] for row in rows_of("clip", shift=1.5, failed=("adm/3.png",))}
        rows = [{**row, "score": score_of[row["path"]]} for row in rows_of("clip", seed=k)]
        header = header_of(k, given={"clip": "11"})
        folders.append(write_run(tmp_path / f"run-{k}", rows + rows_of("b", seed=k), seed=k, header=header))
    board = one_board(folders)
    clip, grid = places(board)["clip"], board_grid(board)
    assert list(clip.seeds) == [0, 1]
    assert math.isnan(clip.spread)
    assert math.isfinite(places(board)["b"].spread)
    assert {row[0]: row[grid.columns.index("sd over seeds")] for row in grid.rows}["clip"] == "–"
    assert "The same scores in all seeds, which repeats nothing: clip." in grid.note


def test_a_third_run_is_one_with_two_only_where_it_is_with_both(tmp_path):
    """It has no condition in common with the first, and other scores than the second."""
    jpeg = [rows_of("a", condition="jpeg70", noise=noise) for noise in (1, 2)]
    folders = [write_run(tmp_path / name, rows) for name, rows in
               (("first", rows_of("a")), ("second", rows_of("a") + jpeg[0]), ("third", jpeg[1]))]  # fmt: skip
    found = competitors(read_runs(folders))
    assert [(one.name, len(one.all_runs)) for one in found] == [("a (first)", 2), ("a (third)", 1)]


def changed(rows, path, **values):
    return [{**row, **(values if row["path"] == path else {})} for row in rows]


OTHER = {**header_of()["data"], "hash": "ffff"}


@pytest.mark.parametrize(("rows", "header", "said"), [
    (rows_of("a", n=20), header_of(data=OTHER), "first scores adm/20.png, which"),
    (rows_of("a", n=30), header_of(data=OTHER), "second scores adm/24.png, which"),
    (changed(rows_of("a"), "glide/3.png", generator="ldm"), header_of(data=OTHER), "has the generator ldm in"),
    (changed(rows_of("a"), "coco/3.png", group="g"), header_of(data=OTHER), "coco/3.png has the group g in"),
    (changed(rows_of("a"), "coco/3.png", id="z"), header_of(data=OTHER), "coco/3.png has the id z in"),
    (rows_of("a"), header_of(data=OTHER), "the tested images are the same, but those of training"),
    (rows_of("a"), with_config(header_of(), "conditions", crop=128), "conditions.crop = 128"),
    (rows_of("a"), with_config(header_of(), "protocol", folds=5), "protocol.folds = 5"),
    (rows_of("a"), with_config(header_of(), "protocol", name="train_on"), "protocol.name = 'train_on'"),
    (rows_of("a"), with_config(header_of(), "protocol", calibration=0.5), "protocol.calibration = 0.5"),
])  # fmt: skip
def test_runs_that_cannot_be_ranked_together_are_refused_with_the_first_difference(tmp_path, rows, header, said):
    folders = [write_run(tmp_path / "first", rows_of("a")), write_run(tmp_path / "second", rows, header=header)]
    with pytest.raises(FdetectError) as error:
        read_runs(folders)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_finished_run_is_refused_in_a_sentence(tmp_path):
    good = write_run(tmp_path / "good", rows_of("a"))
    unfinished = write_run(tmp_path / "unfinished", rows_of("a"))
    (unfinished / "result.json").unlink()
    for text, name in (("{", "cut"), ("[]", "list"), ('{"header": {"config": {}}}', "empty")):
        write_run(tmp_path / name, rows_of("a"))
        (tmp_path / name / "result.json").write_text(text)
        with pytest.raises(DataError, match="is not the result of a run"):
            read_runs([good, tmp_path / name])
    with pytest.raises(DataError, match="holds no result.json, so it is no finished run"):
        read_runs([good, unfinished])
    with pytest.raises(DataError, match="is no folder of a run"):
        read_runs([tmp_path / "absent"])
    with pytest.raises(ParameterError, match="is given twice"):
        read_runs([good, tmp_path / "unfinished" / ".." / "good"])
    with pytest.raises(ParameterError, match="at least one"):
        read_runs([])


def test_equal_detectors_are_level_and_share_their_rank(tmp_path):
    rows = rows_of("a") + [{**row, "detector": "b", "score": 2 * row["score"]} for row in rows_of("a")]
    board = one_board([write_run(tmp_path / "run", rows + rows_of("c", shift=-0.5, noise=2))])
    assert [one.rank for one in board.places] == [1, 1, 3]
    assert board.places[1].p == 1
    assert [one.verdict for one in board.places] == [LEADER, LEVEL, BEHIND]


@pytest.mark.parametrize("turned", [False, True])
def test_a_generator_that_any_detector_was_trained_on_is_in_no_mean(tmp_path, turned):
    parts = [rows_of("trained", seen=("adm",), noise=1), rows_of("free", noise=2)]
    parts = parts[::-1] if turned else parts
    runs = read_runs([write_run(tmp_path / "run", parts[0] + parts[1])])
    (board,) = boards(runs, **QUICK)
    assert board.generators == ("glide",)
    assert board.seen == ""
    assert "*" not in str(board_grid(board))
    assert len(re.findall(OUTLINE, render_leaderboard([board], runs))) == 2  # adm, of both
    for one in board.places:
        assert one.auroc == pytest.approx(one.generators["glide"])
        assert set(one.generators) == {"adm", "glide"}


def test_where_every_generator_was_trained_on_the_board_says_so_and_stars_its_figures(tmp_path):
    rows = rows_of("a", shift=2, seen=GENERATORS, noise=1) + rows_of("b", seen=GENERATORS, noise=2)
    runs = read_runs([write_run(tmp_path / "run", rows)])
    (board,) = boards(runs, **QUICK)
    grid, tex, page = board_grid(board), boards_latex([board]), render_leaderboard([board], runs)
    assert board.generators == GENERATORS
    assert grid.title == "Leaderboard under matched, trained under matched, over generators seen in training"
    for narrow in (board_grids([board], narrow=True)[0], grid):
        assert "no tested one was new to it" in narrow.note
        assert all("]*" in row[narrow.columns.index("macro AUROC")] for row in narrow.rows)
    for name in ("worst generator", "fakes found at the frozen threshold", "FPR achieved", "ECE"):
        assert all("*" in row[grid.columns.index(name)] for row in grid.rows)
    assert "over generators seen in training" in tex
    assert len(re.findall(r"\]\}\*", tex)) == 2
    assert page.count('<span class="badge">generators seen in training</span>') >= 4
    assert not re.findall(OUTLINE, page)
    lines = list(csv.DictReader(io.StringIO(boards_csv([board]))))
    assert [line["seen_in_training"] for line in lines] == ["adm; glide"] * 2


def test_where_detectors_were_trained_on_different_generators_it_is_said_who_was_on_which(tmp_path):
    rows = rows_of("a", seen=("adm",), noise=1) + rows_of("b", seen=("glide",), noise=2) + rows_of("c", noise=3)
    board = one_board([write_run(tmp_path / "run", rows)])
    assert {name: one.seen for name, one in places(board).items()} == {"a": ("adm",), "b": ("glide",), "c": ()}
    grid = board_grid(board)
    assert "over generators seen in training by some detectors" in grid.title
    assert "detectors are not on a par" in grid.note
    assert {row[0]: "*" in row[2] for row in grid.rows} == {"a": True, "b": True, "c": False}


def test_a_detector_that_is_above_the_leader_on_what_both_scored_is_not_called_level(tmp_path):
    """The leader failed on the fakes that it ranks lowest; the other scores them too, and all others higher."""
    whole = rows_of("a", shift=0.8, noise=1, n=60)
    lowest = sorted((row["score"], row["path"]) for row in whole if row["label"])
    failed = {path for _, path in lowest[:80]}
    better = [{**row, "detector": "b", "score": row["score"] + row["label"] * (-3 if row["path"] in failed else 0.6)}
              for row in whole]  # fmt: skip
    leader = [{**row, "score": None if row["path"] in failed else row["score"]} for row in whole]
    board = one_board([write_run(tmp_path / "run", leader + better)])
    assert [(one.detector, one.verdict) for one in board.places] == [("a", LEADER), ("b", ABOVE)]
    assert board.places[1].behind.low > 0
    assert "Above: higher than the leader on the images and seeds that both have" in board_grid(board).note
    assert r"\underline" not in boards_latex([board])


def test_one_name_trained_under_two_conditions_has_two_lines(tmp_path):
    rows = rows_of("a", shift=0.2) + [{**row, "train_condition": "jpeg70"} for row in rows_of("a", shift=3, noise=4)]
    board = one_board([write_run(tmp_path / "run", rows)])
    assert [one.detector for one in board.places] == ["a, trained under jpeg70", "a, trained under matched"]
    assert board.places[1].auroc == pytest.approx(naive_evaluate.macro(rows_of("a", shift=0.2)), abs=1e-12)


def test_the_worst_is_sought_among_generators_with_enough_groups(tmp_path):
    rows = [row for row in rows_of("a", shift=2) if row["generator"] != "adm" or int(row["path"][4:-4]) < 19]
    rows = [{**row, "score": -row["score"] if row["generator"] == "adm" else row["score"]} for row in rows]
    (one,) = one_board([write_run(tmp_path / "run", rows)]).places
    assert one.generators["adm"] < one.generators["glide"]
    assert (one.worst[0], one.worst[2]) == ("glide", 24)


@pytest.mark.parametrize("few", [0, 1])
def test_the_class_with_fewer_groups_counts_whichever_it_is(tmp_path, few):
    rows = rows_of("a", shift=3) + rows_of("b", shift=-1, noise=1)
    rows = [{**row, "group": row["path"][-5]} if row["label"] == few else row for row in rows]  # by the last digit
    board = one_board([write_run(tmp_path / "run", rows)])
    assert board.groups == 10
    rows = [row for row in rows if row["label"] != few or row["group"] != "0"]
    board = one_board([write_run(tmp_path / "fewer", rows)])
    assert board.groups == 9
    assert board.places[1].verdict == NOT_MEASURED


def test_a_p_value_needs_half_of_the_replicates():
    assert math.isnan(bootstrap_p(np.array([0.1, math.nan, math.nan])))
    assert bootstrap_p(np.array([0.1, 0.2, math.nan, math.nan])) == pytest.approx(2 / 3)


def test_training_sets_have_boards_of_their_own(tmp_path):
    rows = [{**row, "train": train, "trial": f"{train} {row['trial']}", "seen": row["generator"] == train}
            for train in ("adm", "glide") for k, name in enumerate("ab") for row in rows_of(name, noise=k)]  # fmt: skip
    found = boards(read_runs([write_run(tmp_path / "run", rows)]), **QUICK)
    assert [(board.train, board.generators) for board in found] == [("adm", ("glide",)), ("glide", ("adm",))]
    assert [len(board.places) for board in found] == [2, 2]
    assert board_grid(found[0]).title == "Leaderboard under matched, trained on adm, trained under matched"


def test_matched_leads_and_who_was_not_run_under_a_condition_is_named(tmp_path):
    rows = rows_of("a", condition="jpeg70") + rows_of("a") + rows_of("b", noise=1, condition="jpeg70")
    runs = read_runs([write_run(tmp_path / "run", rows, biased=("thumbnail",))])
    found = boards(runs, **QUICK)
    assert [board.condition for board in found] == ["matched", "jpeg70"]
    assert found[0].missing == ("b",)
    assert "Not run under matched: b." in board_grid(found[0]).note
    assert "[biased by thumbnail]" in board_grid(found[0]).title
    assert [board.condition for board in boards(runs, conditions=("jpeg70",), **QUICK)] == ["jpeg70"]
    assert [board.condition for board in boards(runs, conditions=("jpeg70", "jpeg70"), **QUICK)] == ["jpeg70"]
    with pytest.raises(ParameterError, match="no run has the condition 'jpeg7'; did you mean 'jpeg70'"):
        boards(runs, conditions=("jpeg7",))


def test_lost_images_are_counted_marked_and_left_out_of_both(tmp_path):
    failed = ("adm/0.png", "adm/1.png", "coco/5.png")
    rows = rows_of("a", failed=failed, shift=2.0), rows_of("b", noise=1, shift=0.5)
    board = one_board([write_run(tmp_path / "run", [*rows[0], *rows[1]])])
    a, b = (places(board)[name] for name in "ab")
    assert a.coverage == pytest.approx(naive_leaderboard.coverage(rows[0]))
    assert (a.lost, b.lost) == (True, False)
    assert "!" in board_grid(board).rows[0][2]
    assert "more than 1 % of a class was lost" in board_grid(board).note
    kept = [[row for row in of if row["path"] not in failed] for of in rows]
    assert b.behind.value == pytest.approx(naive_evaluate.macro(kept[1]) - naive_evaluate.macro(kept[0]), abs=1e-12)


def test_of_too_few_groups_nothing_is_tested(tmp_path):
    board = one_board([write_run(tmp_path / "run", rows_of("a", n=4) + rows_of("b", n=4, shift=-2, noise=1))])
    assert board.groups == 8
    assert board.places[1].verdict == NOT_MEASURED
    assert "8 groups of a class are too few to test a difference: it takes 10." in board_grid(board).note


def test_replicates_suffice_for_the_correction_or_it_is_said(tmp_path):
    assert replicates_for(3) == 1000
    for n in (2, 60, 500):
        assert 2 * n / (replicates_for(n) + 1) < 0.05
    rows = [row for k in range(7) for row in rows_of(f"d{k}", noise=k, n=12)]
    board = one_board([write_run(tmp_path / "run", rows)], replicates=100)
    assert board.weak
    assert "With 100 replicates no corrected p can fall below 0.05" in board_grid(board).note
    assert all(one.p > 0.05 for one in board.places[1:])


def test_detectors_without_a_p_value_make_no_board_weak(tmp_path):
    rows = rows_of("good", shift=3, noise=1) + rows_of("bad", shift=-1, noise=2)
    every = tuple({row["path"] for row in rows})
    lost = [row for k in range(6) for row in rows_of(f"lost {k}", failed=every)]
    board = one_board([write_run(tmp_path / "run", rows + lost)], replicates=100)
    assert board.compared == 1
    assert board.places[1].p < 0.05
    assert "no corrected p can fall" not in board_grid(board).note


def test_a_level_is_written_with_its_digits(tmp_path):
    board = one_board([write_run(tmp_path / "run", rows_of("a") + rows_of("b", noise=1))], level=0.999)
    assert "99.9 % interval" in board_grid(board).note


def test_times_of_a_device_are_no_times_of_one_core(tmp_path):
    rows = rows_of("a") + rows_of("b", noise=1) + rows_of("c", noise=2) + rows_of("d", noise=3)
    folders = [write_run(tmp_path / name, rows, cost=cost) for name, cost in
               (("device", {"a": 0.5, "b": 2.0, "d": 5.0}), ("core", {"a": 3.0}))]  # fmt: skip
    file = folders[0] / "run.json"
    about = json.loads(file.read_text())
    about["cost_ms"]["backend"] = "gpu"
    file.write_text(json.dumps(about))
    runs = read_runs(folders)
    (board,) = boards(runs, **QUICK)
    grid = board_grid(board)
    shown = {row[0]: row[grid.columns.index("ms an image")] for row in grid.rows}
    assert shown == {"a": "3", "b": "2 (gpu)", "c": "–", "d": "5 (gpu)"}
    assert "on the wall with gpu (marked so)" in grid.note
    assert "cannot be compared" in grid.note
    page = render_leaderboard([board], runs)
    assert "ms an image, one core or gpu (logarithmic)" in page or "ms an image, gpu or one core (logarithmic)" in page
    assert "b (gpu): 2 ms" in page
    on = {line["detector"]: line["cost_on"] for line in csv.DictReader(io.StringIO(boards_csv([board])))}
    assert on == {"a": "cpu", "b": "gpu", "c": "", "d": "gpu"}
    (alone,) = boards(runs[:1], **QUICK)
    assert "one core" not in board_grid(alone).note
    assert "one core" not in render_leaderboard([alone], runs[:1])


def test_the_least_cost_of_the_runs_counts_and_an_unknown_one_is_a_dash(tmp_path):
    rows = rows_of("a") + rows_of("b", noise=1)
    folders = [write_run(tmp_path / "slow", rows, cost={"a": 3.0, "b": None}),
               write_run(tmp_path / "fast", rows, cost={"a": 1.25}), write_run(tmp_path / "untimed", rows)]  # fmt: skip
    runs = read_runs(folders)
    (board,) = boards(runs, **QUICK)
    assert places(board)["a"].cost == 1.25
    assert math.isnan(places(board)["b"].cost)
    grid = board_grid(board)
    shown = {row[0]: row[grid.columns.index("ms an image")] for row in grid.rows}
    assert shown == {"a": "1.25", "b": "–"}
    assert [row[-1] for row in runs_grid(runs).rows] == [
        "one core of Linux x86_64, 2 cores; 16 images of 224 px"] * 2 + ["–"]  # fmt: skip


def test_csv_holds_every_figure_with_all_its_digits(seeds):
    board = one_board(seeds)
    lines = list(csv.DictReader(io.StringIO(boards_csv([board]))))
    assert [line["detector"] for line in lines] == [one.detector for one in board.places]
    for line, one in zip(lines, board.places, strict=True):
        assert float(line["macro_auroc"]) == one.auroc
        assert (float(line["sd"]) == one.spread) if len(one.seeds) > 1 else line["sd"] == ""
        assert {int(k): float(v) for k, v in (pair.split("=") for pair in line["by_seed"].split())} == one.seeds
        assert (float(line["p_holm"]) == one.p) if one.verdict != LEADER else line["p_holm"] == ""
        assert line["verdict"] == one.verdict


def test_latex_sets_the_leader_bold_and_underlines_who_is_level(seeds):
    text = boards_latex([one_board(seeds)])
    line = {name: next(row for row in text.splitlines() if row.startswith(name)) for name in ("good", "near", "weak")}
    assert r"\textbf{" in line["good"]
    assert r"\underline{" in line["near"]
    assert r"\underline{" not in line["weak"]
    assert r"\textbf{" not in line["weak"]


def test_the_terminal_explains_once_and_keeps_every_reservation(tmp_path):
    rows = rows_of("a") + rows_of("a", condition="jpeg70") + rows_of("b", noise=1)
    first, last = board_grids(boards(read_runs([write_run(tmp_path / "run", rows)]), **QUICK), narrow=True)
    assert first.note == ""
    assert last.note.endswith("Not run under jpeg70: b.")
    assert "rank" not in first.columns


def test_page_holds_everything_loads_nothing_and_lets_no_name_out(tmp_path):
    from test_report import Page

    data = {**header_of()["data"], "name": HOSTILE}
    rows = rows_of(HOSTILE) + rows_of("b", noise=1) + rows_of("c", noise=2)
    cost = {HOSTILE: 2.0, "b": 3.0, "c": 4.0}
    folder = write_run(tmp_path / "run", rows, header=header_of(data=data), cost=cost, biased=(HOSTILE,))
    runs = read_runs([folder])
    found = boards(runs, **QUICK)
    source = render_leaderboard(found, runs)
    page = Page(source)
    assert source == render_leaderboard(boards(read_runs([folder]), **QUICK), runs)
    assert "<script>alert" not in source
    assert page.tags.count("script") == 1
    assert page.tags.count("svg") == 4  # colours, dots, map, cost
    assert not [value for _, name, value in page.attributes if name in ("src", "href") and not value.startswith("#")]
    assert "://" not in source
    policy = next(value for tag, name, value in page.attributes if name == "content" and "default-src" in value)
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    grid = board_grid(found[0])
    for text in (*grid.columns, *(cell for row in grid.rows for cell in row), grid.note, "no weights", "Protocol"):
        assert printable(re.sub(r"\s+", " ", text)) in page.text
    assert "\u202e" not in source, "nor in a chart"
    assert page.text.count("biased by") >= 2  # the verdict, the section
    assert page.text.count("biased by") + page.text.count("BIASED") >= 5  # its table, every chart


def test_of_fewer_than_three_costs_there_is_no_chart(tmp_path):
    rows = rows_of("a") + rows_of("b", noise=1) + rows_of("c", noise=2)
    pages = []
    for name, last in (("two", 1.3), ("three", 1.4)):
        runs = read_runs([write_run(tmp_path / name, rows, cost={"a": 1.25, "b": 1.3, "c": last})])
        pages.append(render_leaderboard(boards(runs, **QUICK), runs))
    assert ["Cost against macro AUROC" in page for page in pages] == [False, True]
    assert all("<td>1.25</td>" in page for page in pages)


def test_the_page_says_once_how_to_read_and_marks_generators_of_few_groups(tmp_path):
    rows = [row for row in rows_of("a") if row["generator"] != "adm" or int(row["path"][4:-4]) < 19]
    rows += [{**row, "condition": "jpeg70"} for row in rows]
    runs = read_runs([write_run(tmp_path / "run", rows)])
    found = boards(runs, **QUICK)
    assert found[0].places[0].groups == {"adm": 19, "glide": 24}
    page = render_leaderboard(found, runs)
    assert page.count("Macro AUROC: mean over 2 generators") == 1
    assert page.count("To be read as: Leaderboard under matched, trained under matched.") == 1
    assert page.count(">°</text>") == 2, "adm, under both"
    assert "<figcaption>Colours of the maps</figcaption>" in page


def test_a_chart_says_a_dash_of_what_is_not_defined(tmp_path):
    every = tuple({row["path"] for row in rows_of("a")})
    runs = read_runs([write_run(tmp_path / "run", rows_of("a") + rows_of("b", failed=every))])
    page = render_leaderboard(boards(runs, **QUICK), runs)
    assert "b: macro AUROC –, not measured; worst –" in page
    assert "b, adm: AUROC –" in page
    assert not re.findall(r"\bnan\b", page)


def test_the_command_writes_what_is_asked_for_and_refuses_in_a_sentence(fdetect, seeds, tmp_path):  # noqa: F811
    code, out, err = fdetect("report", *seeds, "--latex", "t.tex", "--markdown", "t.md", "--csv", "t.csv",
                             "--replicates", "200")  # fmt: skip
    assert code == 0
    assert "Leaderboard under matched" in out
    assert "written: leaderboard.html, t.tex, t.md, t.csv" in err
    assert (tmp_path / "leaderboard.html").read_text().startswith("<!DOCTYPE html>")
    for name, text in (("t.tex", r"\toprule"), ("t.md", "## Runs"), ("t.csv", "condition,trained_on")):
        assert text in (tmp_path / name).read_text(encoding="utf-8")
    code, _, err = fdetect("report", seeds[0], "--condition", "nativ")
    assert code == 2
    assert "no run has the condition 'nativ'" in err
    assert fdetect("report")[0] == 2
    code, _, err = fdetect("report", tmp_path)
    assert code == 2
    assert len(err.strip().splitlines()) == 1


def test_two_real_runs_make_a_leaderboard_with_costs_and_tables_for_a_paper(fdetect, small_set, tmp_path):  # noqa: F811
    paths = [row["path"] for row in csv.DictReader(small_set.open(encoding="utf-8"))]
    for k in (0, 1):
        said = [f"foreign,{path},{(n * 7 + k) % 11}" for n, path in enumerate(paths)]  # another file in each run
        (tmp_path / "said.csv").write_text("\n".join(["detector,path,score", *said]), encoding="utf-8")
        code, _, err = fdetect(
            "bench", small_set, "--features", "npr_statistics", "--crop", "128", "--conditions", "matched",
            "--heads", "logreg", "--family-heads", "none", "--detectors", "none", "--replicates", "20", "--workers",
            "0", "--scores", "said.csv", "--seed", k, "--out", f"run-{k}",
        )  # fmt: skip
        assert code == 0, err
    cost = json.loads((tmp_path / "run-0" / "run.json").read_text())["cost_ms"]
    timed = cost["detectors"]["logreg:all"]
    assert timed["columns"] > 0
    assert timed["head"] > 0
    assert timed["total"] == pytest.approx(timed["columns"] + timed["head"], abs=2e-4)
    assert "cost" not in (tmp_path / "run-0" / "result.json").read_text()
    code, _, err = fdetect("report", "run-0", "run-1", "--csv", "board.csv")
    assert code == 0, err
    lines = {line["detector"]: line for line in csv.DictReader((tmp_path / "board.csv").open())}
    assert set(lines) == {"logreg:all", "foreign (run-0)", "foreign (run-1)"}
    line = lines["logreg:all"]
    cells = list(csv.DictReader((tmp_path / "run-1" / "cells.csv").open()))
    wanted = ("logreg:all", "macro", "auroc")
    (macro,) = (one for one in cells if (one["detector"], one["generator"], one["metric"]) == wanted)
    assert (line["detector"], line["seeds"]) == ("logreg:all", "2")
    assert f"1={float(macro['value'])!r}" in line["by_seed"]
    assert float(line["cost_ms"]) > 0
    assert r"\begin{tabular}" in (tmp_path / "run-0" / "tables.tex").read_text(encoding="utf-8")
