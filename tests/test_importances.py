"""Permutation importance in a run: known answers, the same macro AUROC as everywhere, intervals over groups."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_chosen import anew
from test_scoring import ids, samples, trained, trials, values  # noqa: F401 (fixtures)

from fdetect.bench.scores.evaluate import cells_of
from fdetect.bench.scores.scoring import score_trials
from fdetect.bench.training.draws import Draws
from fdetect.bench.training.fusing import FusedContender
from fdetect.bench.training.importances import REPEATS, importance_grids, importances
from fdetect.classifiers.importance import permuted_scores
from fdetect.config import RunConfig, override

NAMES = ("told:1", "told:2", "noise:1", "noise:2")
CONDITIONS = ("native", "matched", "jpeg70")
CONFIG = override(RunConfig(), {"conditions.names": CONDITIONS, "metrics.replicates": 200})


@pytest.fixture(scope="module")
def half_noise(samples, values):  # noqa: F811
    """Two columns tell, two are noise."""
    rng = np.random.default_rng(1)
    found = {name: one.copy() for name, one in values.items()}
    for one in found.values():
        one[:, 2:] = rng.normal(size=(len(one), 2))
    return found


@pytest.fixture(scope="module")
def head_of_all(samples, half_noise):  # noqa: F811
    return replace(trained(samples, half_noise), name="logreg:all", columns=NAMES)


@pytest.fixture(scope="module")
def found(head_of_all, samples, ids, trials):  # noqa: F811
    table = score_trials(head_of_all, samples, ids, trials, CONDITIONS)
    return table, importances([head_of_all], {"logreg:all": table}, trials, CONFIG, anew)


def test_a_family_of_noise_is_worth_nothing_and_the_other_is_worth_all(found):
    table, rows = found
    assert [(row["condition"], row["family"]) for row in rows] == [
        (c, family) for c in CONDITIONS for family in ("told", "noise")
    ]
    cells = {(c.condition, c.generator): c for c in cells_of(table, replicates=10)}
    for row in rows:
        assert row["auroc"] == pytest.approx(cells[row["condition"], "macro"].metric("auroc").value, abs=1e-12)
        assert row["low"] <= row["drop"] <= row["high"]
        assert (row["n_columns"], row["n_images"]) == (2, len(set(table.column("path").to_pylist())))
        if row["family"] == "noise":
            assert row["drop"] == pytest.approx(0, abs=0.03)
        else:  # without it the head is left with noise
            assert row["auroc"] - row["drop"] == pytest.approx(0.5, abs=0.06)
            assert row["low"] > 0.1


def test_it_is_the_mean_over_permutations_within_trials(found, head_of_all, samples, trials):  # noqa: F811
    """Counted by hand: concordant pairs within each trial, summed over trials, mean over generators."""
    _, rows = found
    aurocs = np.zeros(REPEATS)
    for generator in ("gan", "ldm"):
        hits, pairs = np.zeros(REPEATS), 0
        for trial in (one for one in trials if one.name.startswith(generator)):
            model, x = head_of_all.ready(trial, "matched"), head_of_all.values["jpeg70"][trial.test]
            drawn = permuted_scores(model.fitted.score, x, ("told", "told", "noise", "noise"), repeats=REPEATS,
                                    content=f"{trial.name}/")["told"]  # fmt: skip
            label = samples.label[trial.test]
            for repeat, scores in enumerate(drawn):
                gaps = scores[label == 1][:, None] - scores[label == 0]
                hits[repeat] += (gaps > 0).sum() + 0.5 * (gaps == 0).sum()
            pairs += int((label == 1).sum() * (label == 0).sum())
        aurocs += hits / pairs / 2
    row = next(row for row in rows if (row["condition"], row["family"]) == ("jpeg70", "told"))
    assert row["auroc"] - row["drop"] == pytest.approx(aurocs.mean(), abs=1e-12)
    assert row["spread"] == pytest.approx(aurocs.std(), abs=1e-12)


def test_rows_that_failed_and_trials_that_cannot_be_trained_take_no_part(head_of_all, samples, ids, trials):  # noqa: F811
    holed = {name: one.copy() for name, one in head_of_all.values.items()}
    for one in holed.values():
        one[trials[0].test[:5]] = np.nan
    untrainable = replace(trials[1], fit=trials[1].fit[:3])
    some = [trials[0], untrainable, *trials[2:]]
    one = replace(head_of_all, values=holed)
    table = score_trials(one, samples, ids, some, ("matched",))
    config = override(CONFIG, {"conditions.names": ("matched",)})
    rows = importances([one], {one.name: table}, some, config, anew)
    known = {p for p, s in zip(table.column("path").to_pylist(), table.column("status").to_pylist(), strict=True)
             if s == "ok"}  # fmt: skip
    assert {row["n_images"] for row in rows} == {len(known)}
    assert all(np.isfinite(row["drop"]) for row in rows)


def test_a_head_that_scores_by_draws_is_permuted_draw_by_draw(head_of_all, samples, ids, trials):  # noqa: F811
    again = {f"{name}/1": one for name, one in head_of_all.values.items()}
    one = replace(head_of_all, values={**head_of_all.values, **again}, draws=Draws(2))
    config = override(CONFIG, {"conditions.names": ("matched",)})
    rows = []
    for each in (replace(one, draws=Draws(1)), one):
        table = score_trials(each, samples, ids, trials[:2], ("matched",))
        rows.append(importances([each], {each.name: table}, trials[:2], config, anew))
    for single, twice in zip(*rows, strict=True):  # both draws are the same here, and so are their permutations
        assert twice["drop"] == pytest.approx(single["drop"], abs=0.02)


def test_branches_are_permuted_by_family(samples, half_noise, ids, trials):  # noqa: F811
    pytest.importorskip("torch", reason="the extra 'deep' is not installed")
    parts = {"handmade": slice(0, 2), "encoder": slice(2, 4)}
    one = FusedContender("fused:handmade+encoder", {name: NAMES[part] for name, part in parts.items()},
                         {name: {c: of[:, part] for c, of in half_noise.items()} for name, part in parts.items()},
                         samples, forms=("linear",))  # fmt: skip
    table = score_trials(one, samples, ids, trials, ("matched",))
    config = override(CONFIG, {"conditions.names": ("matched",)})
    rows = {row["family"]: row for row in importances([one], {one.name: table}, trials, config, anew)}
    assert rows["noise"]["drop"] == pytest.approx(0, abs=0.03)
    assert rows["told"]["auroc"] - rows["told"]["drop"] == pytest.approx(0.5, abs=0.08)


def test_an_image_of_which_a_draw_lacks_a_branch_takes_no_part(samples, half_noise, ids, trials):  # noqa: F811
    """Its score is the mean over both draws, and no permutation has both."""
    pytest.importorskip("torch", reason="the extra 'deep' is not installed")
    parts, some = {"handmade": slice(0, 2), "encoder": slice(2, 4)}, trials[:1]
    values = {name: {f"{c}{draw}": half_noise[c][:, part].copy() for c in ("matched",) for draw in ("", "/1")}  # noqa: F811
              for name, part in parts.items()}  # fmt: skip
    lacking, failed = trials[0].test[:2]
    values["encoder"]["matched/1"][lacking] = np.nan
    for one in values.values():
        one["matched/1"][failed] = np.nan  # neither mean has this draw of it
    one = FusedContender("fused:handmade+encoder", {name: NAMES[part] for name, part in parts.items()}, values, samples,
                         forms=("linear",), draws=Draws(2))  # fmt: skip
    table = score_trials(one, samples, ids, some, ("matched",))
    assert set(table.column("status").to_pylist()) == {"ok"}
    config = override(CONFIG, {"conditions.names": ("matched",)})
    rows = importances([one], {one.name: table}, some, config, anew)
    assert {row["n_images"] for row in rows} == {len(table) - 1}


def test_only_detectors_on_all_columns_are_looked_at(head_of_all, trials):  # noqa: F811
    assert importances([replace(head_of_all, name="logreg:noise")], {}, trials, CONFIG, anew) == []


def test_a_table_has_a_row_for_each_family_and_a_column_for_each_detector(found):
    other = [{**row, "detector": "hist_gb:all", "drop": -0.25, "low": -0.5, "high": 0.125} for row in found[1]
             if row["family"] == "noise"]  # fmt: skip
    grids = importance_grids([*found[1], *other])
    assert [grid.title.rpartition(" ")[2] for grid in grids] == list(CONDITIONS)
    for grid in grids:
        assert grid.columns == ("family permuted", "logreg:all", "hist_gb:all")
        assert [row[0] for row in grid.rows] == ["told", "noise"]
        assert [row[2] for row in grid.rows] == ["–", "-0.250 [-0.500, +0.125]"]
    assert importance_grids([]) == []
    read_back = [{**row, "drop": None, "low": None, "high": None, "spread": None} for row in found[1][:1]]
    assert importance_grids(read_back)[0].rows == (("told", "–"),)  # what JSON makes of NaN
