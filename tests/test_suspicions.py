"""Scores that make one ask: turned round, or decided already."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_cli import fdetect  # noqa: F401 (a fixture)
from test_gate import rows

from fdetect.bench.scores.suspicions import suspicions


def table(tmp_path, values) -> str:
    content = rows()
    content["score"] = [float(one) for one in values(np.array(content["score"]), np.array(content["generator"]))]
    pq.write_table(pa.table(content), tmp_path / "scores.parquet")
    return str(tmp_path / "scores.parquet")


@pytest.mark.parametrize("asked", [True, False])
def test_a_score_that_is_turned_round_is_asked_about(fdetect, tmp_path, asked):  # noqa: F811
    """Below chance everywhere; where one generator is ranked as it should be, the detector just fails on the others."""
    file = table(tmp_path, lambda score, generator: np.where((generator == "a") & (not asked), 9, -score))
    code, _, err = fdetect("evaluate", file, "--replicates", "20")
    assert code == 0
    assert ("mine is far below chance under matched for every generator" in err) == asked
    assert "none is turned round" in err or not asked


@pytest.mark.parametrize("asked", [True, False])
def test_a_score_that_is_a_decision_is_asked_about(fdetect, tmp_path, asked):  # noqa: F811
    file = table(tmp_path, lambda score, _: score > 1 if asked else np.round(score))
    code, _, err = fdetect("evaluate", file, "--replicates", "20")
    assert code == 0
    assert ("mine has 2 different scores under matched: an AUROC of decisions is none of scores" in err) == asked


def test_a_score_that_is_the_same_for_all_is_told(fdetect, tmp_path):  # noqa: F811
    file = table(tmp_path, lambda score, _: np.full(len(score), 0.25))
    code, _, err = fdetect("evaluate", file, "--replicates", "20")
    assert code == 0
    assert "mine gives every image the same score under matched: it tells nothing apart" in err
    assert "far below chance" not in err


def test_two_scores_of_two_images_are_no_decisions():
    row = dict.fromkeys(("detector", "train", "train_condition", "condition"), "x")
    two, three = ([{**row, "score": score} for score in scores] for scores in ((0.1, 0.2), (0.1, 0.2, 0.2)))
    assert suspicions(pa.Table.from_pylist(two), ()) == ()
    assert "2 different scores" in suspicions(pa.Table.from_pylist(three), ())[0]
