"""The fused detector on draws: fitted on all of them, its score the mean of their log-odds, also without a branch."""

from __future__ import annotations

import numpy as np
import pytest
from test_fusing import TRIAL, N, told

from fdetect.bench.protocols import Samples
from fdetect.bench.scores.scoring import score_trials
from fdetect.bench.training.ablation import ablations
from fdetect.bench.training.draws import Draws
from fdetect.bench.training.fusing import TRUNK, FusedContender
from fdetect.bench.training.network_outputs import Outputs, embedding_columns
from fdetect.classifiers.fused import BranchSettings, FusedRows, FusedSettings
from fdetect.classifiers.fused_fit import fit_fused
from fdetect.draws import drawn_names

torch = pytest.importorskip("torch", reason="the extra 'deep' is not installed")

NAMES = ("handmade", "spectrum")
COLUMNS = {name: tuple(f"{name}:{k}" for k in range(5)) for name in NAMES}


@pytest.fixture(scope="module")
def shown() -> tuple[Samples, dict[str, dict[str, np.ndarray]]]:
    """Three draws of two conditions, each with noise of its own."""
    samples, values = told()
    rng = np.random.default_rng(3)
    draws = [name for base in ("matched", "jpeg70") for name in drawn_names(base, 3)]
    return samples, {
        branch: {name: (one + rng.normal(size=one.shape)).astype(np.float32) for name in draws}
        for branch, one in values.items()
    }


def contender(shown, **how: object) -> FusedContender:
    samples, values = shown
    return FusedContender("fused", COLUMNS, values, samples, forms=("linear",), **how)  # type: ignore[arg-type]


def by_hand(shown, names: tuple[str, ...]):
    samples, values = shown
    rows = np.tile(TRIAL.fit, len(names))
    stacked = {branch: np.concatenate([values[branch][name][TRIAL.fit] for name in names]) for branch in NAMES}
    known = FusedRows(stacked, COLUMNS, samples.label[rows], samples.group[rows].astype(str),
                      samples.generator[rows].astype(str))  # fmt: skip
    return fit_fused(known, FusedSettings(branches=dict.fromkeys(NAMES, BranchSettings())))


@pytest.mark.parametrize("together", [(), ("jpeg70", "matched")])
def test_it_is_fitted_on_all_draws_and_scores_by_their_mean(shown, together):
    one = contender(shown, draws=Draws(3, together))
    fitted = by_hand(shown, tuple(name for base in together or ("matched",) for name in drawn_names(base, 3)))
    model = one.ready(TRIAL, "matched")
    for base in ("matched", "jpeg70"):
        each = [fitted.score({branch: shown[1][branch][name][TRIAL.test] for branch in NAMES})
                for name in drawn_names(base, 3)]  # fmt: skip
        found, probability = model.scores(base, TRIAL.test)
        np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=1e-12)
        np.testing.assert_allclose(probability, 1 / (1 + np.exp(-found)), rtol=1e-12)
    assert one.trained_under("matched") == ("jpeg70+matched" if together else "matched")


def test_without_a_branch_it_scores_by_the_mean_too(shown):
    whole = contender(shown, draws=Draws(3))
    fitted = whole.ready(TRIAL, "matched").fitted
    for part in ablations(whole):
        each = [fitted.score({branch: shown[1][branch][name][TRIAL.test] for branch in part.kept})
                for name in drawn_names("matched", 3)]  # fmt: skip
        found, _ = part.ready(TRIAL, "matched").scores("matched", TRIAL.test)
        np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=1e-12)


def test_a_draw_that_failed_is_left_out_of_the_mean(shown):
    samples, values = shown
    spoilt = {branch: {name: one.copy() for name, one in by.items()} for branch, by in values.items()}
    first, second, third = TRIAL.test[:3]
    for branch in NAMES:
        spoilt[branch]["matched/1"][first] = np.nan
        for name in drawn_names("matched", 3):
            spoilt[branch][name][second] = np.nan
    model = contender((samples, spoilt), draws=Draws(3)).ready(TRIAL, "matched")
    found, _ = model.scores("matched", np.array([first, second, third]))
    each = [model.fitted.score({branch: spoilt[branch][name][[first]] for branch in NAMES})[0]
            for name in ("matched", "matched/2")]  # fmt: skip
    assert found[0] == pytest.approx(np.mean(each), rel=1e-12)
    assert np.isfinite(found).tolist() == [True, False, True]


class Looked:
    """A trunk that looked at every image once, and at training images under `matched` alone."""

    name, columns, digest, reasons = "net", embedding_columns(1), "d", {}

    def __init__(self, samples: Samples) -> None:
        rng = np.random.default_rng(0)
        rows, logit = np.arange(N), rng.normal(size=N) + 2 * samples.label
        self.said = Outputs({"matched": rows}, {"matched": logit},
                            {"matched": rng.normal(size=(N, 1)).astype(np.float32)}, TRIAL.fit[::2])  # fmt: skip

    def outputs(self, trial) -> Outputs:
        return self.said

    def missing(self, trial) -> str:
        return ""


def test_a_trunk_says_the_same_in_every_draw_and_nothing_where_it_did_not_look(shown):
    trunk = Looked(shown[0])
    one = contender(shown, draws=Draws(3, ("jpeg70", "matched")), trunk=trunk)
    rows = TRIAL.test
    each = [one.vectors(TRIAL, "matched", rows, draw=k)[TRUNK] for k in range(3)]
    for vectors in each:
        np.testing.assert_array_equal(vectors, trunk.said.vectors("matched", rows))
    unseen = one.vectors(TRIAL, "jpeg70", rows, draw=1)[TRUNK]
    assert unseen.shape == each[0].shape
    assert np.isnan(unseen).all()
    table = score_trials(one, shown[0], [str(k) for k in range(N)], [TRIAL], ("matched", "jpeg70"))
    assert {*table.column("status").to_pylist()} == {"ok"}
    assert {*table.column("train_condition").to_pylist()} == {"jpeg70+matched"}
