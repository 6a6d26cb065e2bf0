"""The best single head, chosen on training images; the fused detector against it, and without its branches."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from test_bench import quick
from test_scoring import COLUMNS, ids, rows_of, samples, trained, trials, values  # noqa: F401 (fixtures)

from fdetect.bench.contenders import check_names
from fdetect.bench.models import Fixed
from fdetect.bench.run import bench
from fdetect.bench.scores.compare import paired_differences
from fdetect.bench.scores.differences import difference_grids, differences_of, read_differences
from fdetect.bench.scores.scoring import score_trials
from fdetect.bench.training.ablation import ablations, wholes
from fdetect.bench.training.chosen import BEST_SINGLE, BestSingle, best_single, chosen_grids
from fdetect.bench.training.draws import Draws
from fdetect.bench.training.fusing import FusedContender
from fdetect.bench.training.head_trials import SEARCHED, TrialFit, write_searched
from fdetect.classifiers import head, search
from fdetect.cli import cli
from fdetect.config import RunConfig, override, read_config
from fdetect.engine import Store
from fdetect.errors import DataError, ParameterError

CONDITIONS = ("native", "matched", "jpeg70")


def anew(kind, one, compute):
    return compute()


@pytest.fixture(scope="module")
def rivals(samples, values):  # noqa: F811
    """Three heads: on noise, on the columns that tell, and on columns that tell of tested images alone."""
    rng = np.random.default_rng(1)
    noise = {name: rng.normal(size=one.shape).astype(np.float32) for name, one in values.items()}
    return [replace(trained(samples, of), name=name) for name, of in (("logreg:noise", noise), ("logreg:told", values))]


@pytest.fixture(scope="module")
def best(rivals, trials):  # noqa: F811
    found = BestSingle(tuple(rivals))
    found.choose(trials, CONDITIONS, anew)
    return found


# -- the choice -------------------------------------------------------------------------------------------------------


def test_the_head_that_tells_is_chosen_by_the_auroc_of_inner_folds(best, rivals, trials, samples, values):  # noqa: F811
    for trial in trials:
        for condition in ("native", "matched"):
            assert best.chosen(trial.name, condition) == "logreg:told"
            rows = trial.fit
            expected = search(head.get("logreg"), [{}], values[condition][rows], samples.label[rows],
                              samples.group[rows], samples.generator[rows], folds=3).chosen  # fmt: skip
            mine = [row for row in best.tried[trial.name, condition] if row["head"] == "logreg:told"]
            assert [(row["fold"], row["generator"], row["auroc"]) for row in mine] == [
                (cell.fold, cell.generator, cell.auroc) for cell in expected.cells
            ]
            assert {row["macro_auroc"] for row in mine} == {expected.auroc}
            assert all(row["chosen"] for row in mine)
    assert set(best.tried) == {(trial.name, c) for trial in trials for c in ("native", "matched")}


def test_what_is_tested_does_not_change_what_is_chosen(best, rivals, trials):  # noqa: F811
    """Labels of tested images permuted and their columns spoilt: a choice that saw them would be another."""
    for trial in trials:
        rng, apart = np.random.default_rng(2), np.concatenate([trial.test, trial.calibration])
        spoilt = []
        for one in rivals:
            label = one.samples.label.copy()
            label[trial.test] = rng.permutation(label[trial.test])
            other = {name: of.copy() for name, of in one.values.items()}
            for of in other.values():
                of[apart] = 1e3 * label[apart, None] if one.name == "logreg:noise" else 0
            spoilt.append(replace(one, values=other, samples=replace(one.samples, label=label), tried={}))
        again = BestSingle(tuple(spoilt))
        again.choose([trial], CONDITIONS, anew)
        assert again.tried == {key: rows for key, rows in best.tried.items() if key[0] == trial.name}


def test_it_has_the_scores_of_the_chosen(best, rivals, trials, samples, ids):  # noqa: F811
    tables = {one.name: score_trials(one, samples, ids, trials, CONDITIONS) for one in rivals}
    first, second = trials[0].name, ("native", "matched")
    mixed = replace(best, tried={key: [{**row, "chosen": (row["head"] == "logreg:told") == (key != (first, "matched"))}
                                       for row in rows] for key, rows in best.tried.items()})  # fmt: skip
    assert [mixed.chosen(first, c) for c in second] == ["logreg:told", "logreg:noise"]
    found = mixed.scores(tables, samples, ids, trials, CONDITIONS).to_pylist()
    taken = {(row["trial"], row["condition"], row["path"]): row for row in tables["logreg:told"].to_pylist()}
    noise = {(row["trial"], row["condition"], row["path"]): row for row in tables["logreg:noise"].to_pylist()}
    assert len(found) == len(taken)
    for row in found:
        key = row["trial"], row["condition"], row["path"]
        expected = noise if row["trial"] == first and row["condition"] != "native" else taken
        assert row == {**expected[key], "detector": BEST_SINGLE}


def test_where_no_head_can_be_judged_its_images_fail_with_the_reason(rivals, trials, samples, ids):  # noqa: F811
    few = replace(trials[0], fit=np.array([0, len(samples.label) - 1]))  # one image of each class
    found = BestSingle(tuple(rivals))
    found.choose([few], ("matched",), anew)
    assert found.chosen(few.name, "matched") is None
    rows = found.scores({}, samples, ids, [few], ("matched",)).to_pylist()
    assert {row["status"] for row in rows} == {"failed"}
    assert "no head could be judged in inner folds" in rows[0]["reason"]
    assert (found.about([few])[0]["chosen"], found.about([few])[0]["auroc"]) == (None, {})


def test_the_conditions_of_training_are_named_alike_with_a_head_and_without(rivals, trials, samples, ids, tmp_path):  # noqa: F811
    """Else the rows of one column would stand under two."""
    found = BestSingle(tuple(replace(one, draws=Draws(1, ("matched", "jpeg70")), tried={}) for one in rivals))
    few = replace(trials[1], fit=np.array([0, len(samples.label) - 1]))
    found.choose([trials[0], few], ("matched",), anew)
    assert [found.chosen(trial.name, "matched") for trial in (trials[0], few)] == ["logreg:told", None]
    (told,) = (one for one in found.heads if one.name == "logreg:told")
    table = score_trials(told, samples, ids, trials[:1], ("matched",))
    rows = found.scores({told.name: table}, samples, ids, [trials[0], few], ("matched",)).to_pylist()
    assert {row["status"] for row in rows} == {"ok", "failed"}
    assert {row["train_condition"] for row in rows} == {"matched+jpeg70"}
    assert [row["train_condition"] for row in found.about([trials[0], few])] == ["matched+jpeg70"] * 2
    write_searched(tmp_path, [found], [trials[0], few])
    with (tmp_path / SEARCHED).open() as file:
        assert {row["train_condition"] for row in csv.DictReader(file)} == {"matched+jpeg70"}


def test_figures_of_a_search_are_not_computed_again(rivals, trials):  # noqa: F811
    def never(kind, one, compute):
        raise AssertionError("fitted again")

    searching = [replace(one, fit=TrialFit(search=True), tried={}) for one in rivals]
    for one in searching:
        one.ready(trials[0], "matched")
    found = BestSingle(tuple(searching))
    found.choose(trials[:1], ("matched",), never)
    rows = [row for row in searching[1].tried[trials[0].name, "matched"] if row["chosen"]]
    mine = [row for row in found.tried[trials[0].name, "matched"] if row["head"] == "logreg:told"]
    assert [row["macro_auroc"] for row in mine] == [row["macro_auroc"] for row in rows]
    assert found.chosen(trials[0].name, "matched") == "logreg:told"


def test_only_heads_that_learn_from_generated_images_by_pixels_are_candidates(rivals):
    config = override(RunConfig(), {"heads.best_single": True})
    probe = replace(rivals[0], name="logreg:probe", columns=("thumbnail:0",) * 4)
    fixed = Fixed("rigid", {})
    reals = [replace(rivals[0], name=name, head=head.get(name)) for name in ("one_class", "one_class_svm")]
    (found,), nothing = best_single(config, [probe, fixed, *reals, *rivals])
    assert ([one.name for one in found.heads], nothing) == (["logreg:noise", "logreg:told"], [])
    none, (why,) = best_single(config, [probe, fixed, *reals])
    assert (none, why.detector) == ([], BEST_SINGLE)
    assert best_single(RunConfig(), rivals) == ([], [])
    (with_fused,), _ = best_single(override(RunConfig(), {"fused.branches": ("handmade",)}), rivals)
    assert with_fused.name == BEST_SINGLE


# -- without branches -------------------------------------------------------------------------------------------------


def whole(samples, values, branches=("handmade", "spectrum", "more")) -> FusedContender:  # noqa: F811
    rng = np.random.default_rng(3)
    noise = {name: rng.normal(size=of.shape).astype(np.float32) for name, of in values.items()}
    columns = {name: tuple(f"{name}:{column}" for column in COLUMNS) for name in branches}
    return FusedContender(f"fused:{'+'.join(branches)}", columns,
                          {name: values if name == "handmade" else noise for name in branches}, samples,
                          forms=("linear",))  # fmt: skip


def test_every_branch_is_left_out_once_and_no_subset_is_there_twice(samples, values):  # noqa: F811
    three = whole(samples, values)
    assert {one.name.removeprefix(three.name): one.kept for one in ablations(three)} == {
        ":without=handmade": ("spectrum", "more"), ":without=spectrum": ("handmade", "more"),
        ":without=more": ("handmade", "spectrum"), ":only=handmade": ("handmade",), ":only=spectrum": ("spectrum",),
        ":only=more": ("more",),
    }  # fmt: skip
    two = whole(samples, values, ("handmade", "spectrum"))
    assert [one.kept for one in ablations(two)] == [("spectrum",), ("handmade",)]
    assert ablations(whole(samples, values, ("handmade",))) == []
    names = [three.name, *(one.name for one in ablations(three)), "logreg:all", "fused:other:without=x"]
    assert wholes(names) == {one.name: three.name for one in ablations(three)}


def test_parts_are_scored_by_the_fit_of_the_whole(samples, values, trials, monkeypatch):  # noqa: F811
    pytest.importorskip("torch", reason="the extra 'deep' is not installed")
    one, trial = whole(samples, values), replace(trials[0], fit=trials[0].fit[::3])
    model = one.ready(trial, "matched")
    vectors = one.vectors(trial, "matched", trial.test)
    monkeypatch.setattr(FusedContender, "_fitted", None)  # nothing is fitted from here on
    for part in ablations(one):
        found, _ = part.ready(trial, "matched").scores("matched", trial.test)
        np.testing.assert_array_equal(found, model.fitted.score({name: vectors[name] for name in part.kept}))
    missing = replace(ablations(one)[0], kept=("trunk",))
    with pytest.raises(DataError, match="the branch trunk could not be trained in this trial"):
        missing.ready(trial, "matched")


# -- differences ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(small_set, tmp_path_factory):
    pytest.importorskip("torch", reason="the extra 'deep' is not installed")
    flags = {"heads.per_family": ("logreg",), "heads.all_columns": ("logreg",), "heads.importance": True,
             "detectors.names": (), "conditions.names": ("matched",), "protocol.folds": 2,
             "fused.branches": ("handmade", "spectrum"), "fused.forms": ("linear",), "conditions.crop": 64,
             "metrics.replicates": 20}  # fmt: skip
    base = tmp_path_factory.mktemp("fused")
    return bench(quick(small_set, **flags), out=base / "run", store=Store(base / "store"))


FUSED = "fused:handmade+spectrum"


def test_a_run_prints_the_difference_to_the_best_single_head_and_to_its_parts(finished):
    found = read_differences(finished.folder)
    assert [one.second for one in found] == [BEST_SINGLE, *(f"{FUSED}:without={b}" for b in ("handmade", "spectrum"))]
    how = {"replicates": finished.result.header["config"]["metrics"]["replicates"], "seed": 0}
    expected = [paired_differences(finished.scores, FUSED, one.second, **how)[0] for one in found]
    for one, other in zip(found, expected, strict=True):
        assert (one.value, one.low, one.high, one.verdict) == (other.value, other.low, other.high, other.verdict)
    best = [row for row in finished.scores.to_pylist() if row["detector"] == BEST_SINGLE]
    assert {row["status"] for row in best} == {"ok"}
    for file in ("tables.md", "report.html"):
        text = (finished.folder / file).read_text()
        assert f"{FUSED} minus others, under matched" in text
        assert f"Which heads {BEST_SINGLE} took" in text
        assert "without=spectrum" in text
    with (finished.folder / SEARCHED).open() as file:
        rows = list(csv.DictReader(file))
    assert {row["detector"] for row in rows} == {BEST_SINGLE}
    header = json.loads((finished.folder / "result.json").read_text())["header"][BEST_SINGLE]
    for row in header:
        assert row["auroc"][row["chosen"]] == max(row["auroc"].values())
        figures = {r["head"]: float(r["macro_auroc"]) for r in rows if r["trial"] == row["trial"]}
        assert figures == row["auroc"]


def test_importance_stands_in_every_file(finished):
    rows = finished.result.header["importance"]
    families = {one: {row["family"] for row in rows if row["detector"] == one} for one in ("logreg:all", FUSED)}
    assert families["logreg:all"] == families[FUSED]
    assert len(families[FUSED]) == 2
    for file in ("tables.md", "report.html"):
        assert "permutation importance" in (finished.folder / file).read_text()


def test_a_finished_run_is_the_same_when_repeated_and_after_a_damaged_part(finished, small_set):
    before = {name: (finished.folder / name).read_bytes() for name in ("result.json", SEARCHED, "report.html")}
    for part in (finished.folder / "parts").glob("*.json"):
        part.write_text("{", encoding="utf-8")
    config = read_config(finished.folder / "config.toml")
    bench(config, out=finished.folder, store=Store(finished.folder.parent / "store"))
    assert before == {name: (finished.folder / name).read_bytes() for name in before}


def test_evaluate_shows_the_same_difference_of_the_table_alone(finished):
    done = CliRunner().invoke(cli, ["evaluate", str(finished.folder / "scores.parquet"), "--replicates", "50"])
    assert done.exit_code == 0, done.output
    assert f"{FUSED} minus others, under matched" in done.output


def scores_of(**shifts: float) -> pa.Table:
    """A table of detectors that tell fakes by so much."""
    rng, rows = np.random.default_rng(0), []
    for name, shift in shifts.items():
        for k in range(120):
            label = k % 2
            rows.append({
                "detector": name.replace("_", ":", 1) if name != BEST_SINGLE else name, "train": "t",
                "train_condition": "matched" if name == BEST_SINGLE else "matched+jpeg70", "condition": "matched",
                "trial": "g/0", "path": f"{k}", "label": label, "generator": "g" if label else "", "real_source": "",
                "group": f"{k // 2}", "score": rng.normal() + shift * label, "probability": None, "threshold": None,
                "seen": False,
            })  # fmt: skip
    return pa.Table.from_pylist(rows)


@pytest.mark.parametrize(("mine", "theirs", "verdict"), [
    (3.0, 0.0, "better"), (0.0, 3.0, "worse"), (1.0, 1.0, "no difference shown"),
])  # fmt: skip
def test_the_sign_is_printed_whatever_it_is_also_where_training_conditions_differ(mine, theirs, verdict):
    (one,) = differences_of(scores_of(fused_a=mine, best_single=theirs), replicates=200)
    assert (one.first, one.second, one.verdict) == ("fused:a", BEST_SINGLE, verdict)
    (grid,) = difference_grids([one])
    assert grid.rows[0][0] == BEST_SINGLE
    assert verdict in grid.rows[0]
    assert "networks have no such figure" in grid.note


def test_without_a_fused_detector_there_is_no_difference():
    assert differences_of(scores_of(logreg_all=1.0, best_single=1.0)) == ()
    assert difference_grids([]) == chosen_grids({}) == []


@pytest.mark.parametrize(("flag", "words"), [
    ("heads.best_single", "--best-single chooses among heads, and none is run"),
    ("heads.importance", "--importance looks at heads on all columns and the fused detector"),
])  # fmt: skip
def test_nothing_to_look_at_is_said_before_the_work(flag, words, small_set, tmp_path):
    flags = {flag: True, "heads.per_family": (), "heads.all_columns": ()}
    with pytest.raises(ParameterError, match=words):
        bench(quick(small_set, **flags), out=tmp_path / "run", store=Store(Path(tmp_path)))
    assert not (tmp_path / "run").exists()


def test_a_table_of_scores_that_takes_its_name_is_refused(rivals):
    with pytest.raises(ParameterError, match=f"two detectors are called '{BEST_SINGLE}'"):
        check_names((one.name, "") for one in (Fixed(BEST_SINGLE, {}), BestSingle(tuple(rivals))))
