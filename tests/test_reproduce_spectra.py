"""Figures on tables of spectra: known separability, the plain estimator on the same splits, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED
from sklearn.linear_model import LogisticRegression
from tiny_reproduce import run_command

from fdetect.bench.reproduce.outcome import reproduce
from fdetect.bench.reproduce.published import OnSpectra, Reproduction, reproduction
from fdetect.bench.reproduce.spectra import read_spectra, split_accuracies
from fdetect.errors import DataError
from fdetect.perturb import rng_for

DURALL = SHARED / "durall_spectra" / "celeba_1000.npz"
NAMES = ("durall-celeba-logreg", "durall-celeba-svm", "durall-celeba-svm-rbf")


def table(n: int = 1000, bins: int = 80, distance: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two normal clouds, `distance` standard deviations apart along one column: n rows of each."""
    rng = np.random.default_rng(seed)
    label = np.repeat([1, 0], n)
    spectra = rng.normal(0.7, 0.05, (2 * n, bins))
    spectra[:, 3] += 0.05 * distance * label
    return spectra.astype(np.float32), label


def saved(file: Path, **arrays: np.ndarray) -> Path:
    np.savez(file, **arrays)
    return file


def test_accuracy_is_that_of_the_best_rule_for_two_normal_clouds() -> None:
    spectra, label = table(bins=4, distance=2.0)
    found = split_accuracies("logreg:c=1", spectra, label, repeats=10)
    best = 0.5 * (1 + math.erf(1 / math.sqrt(2)))  # Phi(distance / 2) = 0.841
    assert found.mean() == pytest.approx(best, abs=0.025)  # the standard error of 2000 rows is 0.008
    chance = split_accuracies("logreg:c=1", *table(bins=4), repeats=10)
    assert chance.mean() == pytest.approx(0.5, abs=0.05)


def test_splits_are_fifths_drawn_from_the_seed_and_the_head_is_the_plain_estimator() -> None:
    spectra, label = table(n=100, bins=5, distance=1.0)
    found = split_accuracies("logreg:c=1", spectra, label, repeats=3, seed=7)
    for repeat, accuracy in enumerate(found):
        order = rng_for(7, f"split {repeat}", "spectra").permutation(200)
        test, fit = order[:40], order[40:]
        values = spectra.astype(np.float64)
        mean, std = values[fit].mean(0), values[fit].std(0)
        plain = LogisticRegression(C=1).fit((values[fit] - mean) / std, label[fit])
        prior = math.log(label[fit].sum() / (160 - label[fit].sum()))
        called = plain.decision_function((values[test] - mean) / std) - prior > 0
        assert accuracy == pytest.approx((called == label[test]).mean())
    assert len(set(found)) > 1
    assert (split_accuracies("logreg:c=1", spectra, label, repeats=3, seed=8) != found).any()


def test_a_table_that_is_easy_reaches_the_figure_and_one_that_is_not_misses_it(tmp_path: Path) -> None:
    easy, hard = table(distance=12.0), table(distance=2.0)
    reached = reproduce(NAMES[0], saved(tmp_path / "easy.npz", spectra=easy[0], label=easy[1]))
    assert (reached.verdict, reached.measured.n_real, reached.measured.n_fake) == ("reached", 1000, 1000)
    assert (reached.recorded, reached.folder) == ((), None)
    missed = reproduce(NAMES[0], saved(tmp_path / "hard.npz", spectra=hard[0], label=hard[1]))
    assert missed.verdict == "missed"
    assert 0.75 < missed.measured.low <= missed.measured.value <= missed.measured.high < 0.92
    done, _ = run_command(NAMES[0], str(tmp_path / "hard.npz"))
    assert done.exit_code == 1
    assert "0.9975 +- 0.005" in done.stdout
    assert "missed" in done.stdout


def test_fewer_rows_are_not_comparable_and_the_reason_has_the_numbers(tmp_path: Path) -> None:
    spectra, label = table(n=50, bins=20, distance=12.0)
    found = reproduce(NAMES[1], saved(tmp_path / "few.npz", spectra=spectra, label=label))
    assert found.verdict == "not comparable"
    assert found.reasons == ("50 and 50 rows in 20 columns, the figure rests on 1000 rows of each class in 80 columns",)


def test_an_absent_file_is_not_run_with_the_place_to_get_it(tmp_path: Path) -> None:
    found = reproduce(NAMES[0], tmp_path / "no.npz")
    assert found.verdict == "not run"
    assert "no such file" in found.missing[0]
    assert "github.com/cc-hpc-itwm/DeepFakeDetection" in found.missing[1]
    assert run_command(NAMES[0], str(tmp_path / "no.npz"))[0].exit_code == 2


def test_what_is_no_table_of_spectra_is_refused_by_name(tmp_path: Path) -> None:
    spectra, label = table(n=5, bins=4)
    pickled = saved(tmp_path / "pickled.npz", spectra=spectra.astype(object), label=label)
    with pytest.raises(DataError, match=r"pickled.npz: not a readable .npz of plain arrays .*allow_pickle"):
        read_spectra(pickled)
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(DataError, match=r"text.npz: not a readable .npz"):
        read_spectra(tmp_path / "text.npz")
    with pytest.raises(DataError, match="holds no array 'label'"):
        read_spectra(saved(tmp_path / "half.npz", spectra=spectra))
    with pytest.raises(DataError, match="do not fit; they are"):
        read_spectra(saved(tmp_path / "other.npz", spectra=spectra, label=label + 1))
    with pytest.raises(DataError, match="do not fit; they are"):
        read_spectra(saved(tmp_path / "short.npz", spectra=spectra, label=label[1:]))
    spectra[0, 0] = np.nan
    with pytest.raises(DataError, match="not finite"):
        read_spectra(saved(tmp_path / "nan.npz", spectra=spectra, label=label))


@pytest.mark.skipif(not DURALL.exists(), reason="the published spectra (../shared/data/durall_spectra) are not here")
@pytest.mark.parametrize("name", NAMES)
def test_durall_reaches_its_figure_on_the_published_spectra(name: str) -> None:
    found = reproduce(name, DURALL)
    assert (found.verdict, found.reasons, found.missing) == ("reached", (), ())
    assert found.measured.value >= 0.995


def test_the_three_heads_differ_from_the_authors_in_words() -> None:
    for name in NAMES:
        one: Reproduction = reproduction.get(name)()
        assert isinstance(one.way, OnSpectra)
        stated = dict(one.statement())
        assert "standardised" in stated["differs"]
        assert one.way.head in stated["head"]


def test_a_table_of_spectra_is_told_without_what_only_sets_of_images_have() -> None:
    for name in NAMES:
        (data,) = (said for word, said in reproduction.get(name)().statement() if word == "data")
        assert data.endswith("1000 made faces, a row a picture")
        assert "generator" not in data
