"""DeLong's test and Holm's correction: by hand, against the bootstrap, and what they refuse."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from fdetect.bench.scores.compare import paired_differences
from fdetect.bench.scores.given import read_score_table
from fdetect.errors import ParameterError
from fdetect.significance import delong, holm


def by_pairs(label: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Value and standard error from the definition, pair by pair."""

    def kernel(fake: float, real: float) -> float:
        return float(fake > real) + 0.5 * float(fake == real)

    fakes, reals = np.flatnonzero(label == 1), np.flatnonzero(label == 0)
    gap = np.array([[kernel(first[i], first[j]) - kernel(second[i], second[j]) for j in reals] for i in fakes])
    of_fakes, of_reals = gap.mean(axis=1), gap.mean(axis=0)
    spread = [sum((one - gap.mean()) ** 2 for one in part) / (len(part) - 1) / len(part)
              for part in (of_fakes, of_reals)]  # fmt: skip
    return float(gap.mean()), math.sqrt(sum(spread))


scores = st.lists(st.integers(-3, 3).map(float), min_size=12, max_size=12)


@given(scores, scores, st.integers(2, 10))
@settings(max_examples=60, deadline=None)
def test_delong_is_the_definition_pair_by_pair(first, second, n_fake):
    label = np.array([1] * n_fake + [0] * (12 - n_fake))
    found = delong(label, np.array(first), np.array(second))
    value, error = by_pairs(label, np.array(first), np.array(second))
    assert found.value == pytest.approx(value, abs=1e-12)
    assert found.error == pytest.approx(error, abs=1e-12)
    if found.error > 1e-9:
        assert found.p == pytest.approx(2 * norm.sf(abs(value) / error), rel=1e-9)


def test_the_difference_of_a_score_to_itself_has_no_p():
    label, score = np.array([0, 0, 1, 1]), np.array([0.0, 1.0, 0.5, 2.0])
    found = delong(label, score, score)
    assert (found.value, found.error) == (0.0, 0.0)
    assert math.isnan(found.p)


@pytest.mark.parametrize("n", [3, 5, 7, 10, 13])
def test_two_scores_that_differ_by_the_same_of_every_image_have_no_p(n):
    label = np.repeat([0, 1], n)
    first = np.concatenate([np.arange(n), np.arange(n) + 0.5])
    found = delong(label, first, first - label)
    assert found.value == pytest.approx(1 / n)
    expected = by_pairs(label, first, first - label)[1]
    assert math.isnan(found.p) if expected < 1e-9 else found.p > 0


def table(first: np.ndarray, second: np.ndarray, label: np.ndarray, groups: list[str]) -> pa.Table:
    n = len(label)
    generators = ["g" if k else "" for k in label]
    parts = [
        pa.table({"path": [f"{k}.png" for k in range(n)], "label": label, "generator": generators, "group": groups,
                  "detector": [name] * n, "score": values})
        for name, values in (("first", first), ("second", second))
    ]  # fmt: skip
    return pa.concat_tables(parts)


def test_on_independent_images_the_bootstrap_and_delong_agree(tmp_path):
    rng = np.random.default_rng(3)
    label = np.arange(400) % 2
    signal = rng.normal(size=400) + label
    first, second = signal + 0.5 * rng.normal(size=400), signal + 0.45 * rng.normal(size=400)
    pq.write_table(table(first, second, label, [f"g{k}" for k in range(400)]), tmp_path / "s.parquet")
    (found,) = paired_differences(read_score_table(tmp_path / "s.parquet"), "first", "second", replicates=2000)
    truth = delong(label, first, second)
    assert found.p_delong == truth.p
    assert found.value == pytest.approx(truth.value, abs=1e-12)
    low, high = truth.value - 1.96 * truth.error, truth.value + 1.96 * truth.error
    assert found.low == pytest.approx(low, abs=0.15 * (high - low))
    assert found.high == pytest.approx(high, abs=0.15 * (high - low))
    assert 0.02 < truth.p < 0.9  # where 2000 replicates can tell
    assert 0.67 < found.p / truth.p < 1.5
    pq.write_table(table(first, second, label, [f"g{k // 4}" for k in range(400)]), tmp_path / "s.parquet")
    (grouped,) = paired_differences(read_score_table(tmp_path / "s.parquet"), "first", "second", replicates=100)
    assert math.isnan(grouped.p_delong)  # images of one group are not independent
    assert 0 < grouped.p <= 1


def by_hand(p_values: list[float]) -> list[float]:
    """Corrected p-values as the smallest level at which Holm's procedure rejects, found by trying levels."""

    def rejected(level: float) -> set[int]:
        found: set[int] = set()
        for step, k in enumerate(sorted(range(len(p_values)), key=lambda k: p_values[k])):
            if p_values[k] > level / (len(p_values) - step):
                break
            found.add(k)
        return found

    levels = sorted({min(1.0, p * m) for p, m in itertools.product(p_values, range(1, len(p_values) + 1))} | {1.0})
    return [min((level for level in levels if k in rejected(level * (1 + 1e-12))), default=1.0)
            for k in range(len(p_values))]  # fmt: skip


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_holm_is_the_smallest_level_that_rejects(p_values):
    np.testing.assert_allclose(holm(p_values), by_hand(p_values), atol=1e-9)


def test_holm_on_an_example_and_what_is_unknown():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    with_unknown = holm([0.02, math.nan, 0.01])
    assert [with_unknown[0], with_unknown[2]] == pytest.approx([0.02, 0.02])
    assert math.isnan(with_unknown[1])
    assert holm([]) == []


def test_what_cannot_be_tested_is_said():
    label, score = np.array([0, 0, 1, 1]), np.arange(4.0)
    with pytest.raises(ParameterError, match="two finite scores of the same images"):
        delong(label, score, np.array([0, 1, np.nan, 2]))
    with pytest.raises(ParameterError, match="two images of each class, labels 0 and 1; got 3 real and 1 fake of 4"):
        delong(np.array([0, 0, 0, 1]), score, score)
    with pytest.raises(ParameterError, match="between 0 and 1"):
        holm([0.1, 1.2])
