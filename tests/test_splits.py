"""Folds and held-out shares: no group is parted, strata are even, the order of rows does not matter."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from fdetect.errors import ParameterError
from fdetect.splits import group_folds, hold_out, join_same_content, ordered

FEW = settings(max_examples=60, deadline=None)


@st.composite
def tables(draw, *, one_stratum_a_group=False):
    """Rows of (group, stratum): 4 to 30 groups of 1 to 18 images, in any order."""
    rows = []
    for g in range(draw(st.integers(4, 30))):
        strata = [draw(st.sampled_from("abc"))] if one_stratum_a_group else draw(
            st.lists(st.sampled_from("abc"), min_size=1, max_size=3)
        )  # fmt: skip
        rows += [(f"group {g}", stratum) for stratum in strata for _ in range(draw(st.integers(1, 6)))]
    rows = draw(st.permutations(rows))
    return [group for group, _ in rows], [stratum for _, stratum in rows]


def images(groups, strata):
    """Images of the largest group of each stratum, and images of each stratum."""
    largest, total = Counter(), Counter(strata)
    for (_, stratum), count in Counter(zip(groups, strata, strict=True)).items():
        largest[stratum] = max(largest[stratum], count)
    return largest, total


@FEW
@given(table=tables(), seed=st.integers(0, 5))
def test_a_group_is_never_parted(table, seed):
    groups, strata = table
    for parts in (group_folds(groups, strata, n_folds=3, seed=seed), hold_out(groups, strata, seed=seed)):
        assert len(parts) == len(groups)
        assert len(set(zip(groups, parts.tolist(), strict=True))) == len(set(groups))


@FEW
@given(table=tables(one_stratum_a_group=True), n_folds=st.integers(2, 4))
def test_the_folds_of_a_stratum_differ_by_at_most_its_largest_group(table, n_folds):
    groups, strata = table
    folds = group_folds(groups, strata, n_folds=n_folds)
    assert set(folds) <= set(range(n_folds))
    largest, total = images(groups, strata)
    for stratum in total:
        mine = folds[np.array(strata) == stratum]
        counts = np.bincount(mine, minlength=n_folds)
        assert counts.max() - counts.min() <= largest[stratum]


@FEW
@given(table=tables(one_stratum_a_group=True), share=st.floats(0.05, 0.95))
def test_the_share_held_out_of_a_stratum_misses_its_target_by_at_most_half_a_group(table, share):
    groups, strata = table
    held = hold_out(groups, strata, share=share)
    largest, total = images(groups, strata)
    for stratum in total:
        taken = held[np.array(strata) == stratum].sum()
        assert abs(taken - round(share * total[stratum])) <= largest[stratum] / 2


@FEW
@given(table=tables(), seed=st.integers(0, 5), shuffle=st.randoms())
def test_the_order_of_rows_does_not_matter(table, seed, shuffle):
    groups, strata = table
    order = list(range(len(groups)))
    shuffle.shuffle(order)
    moved = [groups[i] for i in order], [strata[i] for i in order]
    for split in (group_folds, hold_out):
        np.testing.assert_array_equal(split(groups, strata, seed=seed)[order], split(*moved, seed=seed))


def paired_table(n=60, generators=4):
    """Every source photo is one group: itself and one fake by each generator; some fakes stand alone."""
    groups = [f"photo {i}" for i in range(n) for _ in range(1 + generators)]
    strata = [s for _ in range(n) for s in ("real", *(f"generator {k}" for k in range(generators)))]
    groups += [f"alone {i}" for i in range(17)]
    strata += ["generator 0"] * 17
    return np.array(groups), np.array(strata)


def test_groups_that_span_strata_are_spread_evenly_over_every_stratum():
    groups, strata = paired_table()
    folds = group_folds(groups, strata, n_folds=3)
    for stratum in np.unique(strata):
        counts = np.bincount(folds[strata == stratum], minlength=3)
        assert counts.max() - counts.min() <= 1
    held = hold_out(groups, strata, share=0.25)
    for stratum in np.unique(strata):
        assert abs(held[strata == stratum].mean() - 0.25) < 0.06


def test_a_small_stratum_is_spread_as_carefully_as_a_large_one():
    strata = np.array(["large"] * 3000 + ["small"] * 6)
    groups = np.array([f"g{i}" for i in range(3006)])
    folds = group_folds(groups, strata, n_folds=3)
    np.testing.assert_array_equal(np.bincount(folds[strata == "small"]), [2, 2, 2])
    np.testing.assert_array_equal(np.bincount(folds[strata == "large"]), [1000, 1000, 1000])
    assert hold_out(groups, strata, share=0.5)[strata == "small"].sum() == 3


def test_strata_count_by_their_shares_not_by_their_images():
    rows = [("A", "large")] * 30 + [("B", "large")] * 20
    rows += [(group, stratum) for group in "CD" for stratum in ["large"] * 5 + ["small"]]
    groups, strata = zip(*rows, strict=True)
    folds = dict(zip(groups, group_folds(groups, strata, n_folds=2).tolist(), strict=True))
    assert folds["C"] != folds["D"]  # evens out the small stratum, although B's fold has fewer large images


def test_no_fold_is_empty_where_there_is_a_group_for_each():
    for n in (2, 3, 5):
        groups = [f"g{i}" for i in range(n)]
        assert sorted(group_folds(groups, ["s"] * n, n_folds=n)) == list(range(n))
        assert sorted(group_folds(groups, groups, n_folds=n)) == list(range(n))


def test_the_seed_decides_and_repeats():
    groups, strata = paired_table()
    for split in (group_folds, hold_out):
        np.testing.assert_array_equal(split(groups, strata, seed=7), split(groups, strata, seed=7))
        assert (split(groups, strata, seed=7) != split(groups, strata, seed=8)).any()


def test_splits_of_today_are_the_splits_of_tomorrow():
    """Golden: a changed hash, order or tie rule would silently change every published number."""
    groups, strata = [f"g{i}" for i in range(12)], ["a", "b"] * 6
    assert group_folds(groups, strata, n_folds=3, seed=0).tolist() == GOLDEN_FOLDS
    assert np.flatnonzero(hold_out(groups, strata, share=0.3, seed=0)).tolist() == GOLDEN_HELD


def naive(groups, strata, *, n_folds, share, seed):
    """Both greedy passes as their docstrings have them, in Python's own integers: (fold, held out) of each row."""
    totals, members = Counter(strata), {}
    for group, stratum in zip(groups, strata, strict=True):
        members.setdefault(group, Counter())[stratum] += 1
    weight = {stratum: (1 << 62) // n**2 for stratum, n in totals.items()}
    hashed = sorted(members, key=lambda group: (xxhash.xxh3_64_intdigest(f"{seed}:{group}".encode()), group))
    fold, loads = {}, [Counter() for _ in range(n_folds)]
    for group in sorted(hashed, key=lambda group: -members[group].total()):
        cost = [(sum(weight[s] * load[s] * n for s, n in members[group].items()), load.total()) for load in loads]
        fold[group] = cost.index(min(cost))
        loads[fold[group]] += members[group]
    held, kept = Counter(), set()
    for group in hashed:
        if sum(weight[s] * n * (2 * (held[s] - round(share * totals[s])) + n) for s, n in members[group].items()) < 0:
            kept.add(group)
            held += members[group]
    return [fold[group] for group in groups], [group in kept for group in groups]


@FEW
@given(table=tables(), n_folds=st.integers(2, 4), share=st.floats(0.05, 0.95), seed=st.integers(0, 3))
def test_they_are_the_greedy_passes_of_their_docstrings(table, n_folds, share, seed):
    fold, held = naive(*table, n_folds=n_folds, share=share, seed=seed)
    for given_as in (list, np.array, lambda texts: pa.chunked_array([texts[:3], texts[3:]])):
        groups, strata = map(given_as, table)
        assert group_folds(groups, strata, n_folds=n_folds, seed=seed).tolist() == fold
        assert hold_out(groups, strata, share=share, seed=seed).tolist() == held


def test_sums_over_thousands_of_strata_pass_64_bits_and_stay_exact():
    strata = [str(k) for k in range(4000)] * 2 + ["0"] * 9
    groups = ["one"] * 4000 + ["two"] * 4000 + [f"small {k}" for k in range(9)]
    fold, held = naive(groups, strata, n_folds=2, share=0.6, seed=0)
    assert group_folds(groups, strata, n_folds=2).tolist() == fold
    assert hold_out(groups, strata, share=0.6).tolist() == held


def test_equal_hashes_go_by_name():
    assert ordered(np.array([5, 3, 5, 1], np.uint64), pa.array(["b", "z", "a", "c"])).tolist() == [3, 1, 2, 0]


def test_dtypes_are_what_the_docstrings_say():
    assert group_folds(["a", "b"], ["s", "s"], n_folds=2).dtype == np.int64
    assert hold_out(["a", "b"], ["s", "s"]).dtype == np.bool_


@pytest.mark.parametrize(
    "change, text",
    [({"groups": ["a", "", "c"]}, "group of row 1 is ''"), ({"groups": ["a", "b", None]}, "group of row 2 is None"),
     ({"strata": ["s"]}, "3 groups but 1 strata"), ({"n_folds": 4}, "number of groups, 3"),
     ({"n_folds": 1}, "n_folds is 1"), ({"share": 0.0}, "share is 0.0"), ({"share": 1.0}, "share is 1.0")],
)  # fmt: skip
def test_what_cannot_be_split_is_refused(change, text):
    table = {"groups": ["a", "b", "c"], "strata": ["s"] * 3}
    split = hold_out if "share" in change else group_folds
    with pytest.raises(ParameterError, match=text):
        split(**{**table, **change})


GOLDEN_FOLDS = [1, 1, 0, 2, 2, 0, 2, 2, 1, 1, 0, 0]
GOLDEN_HELD = [2, 5, 7, 8]


@FEW
@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 12)), max_size=30))
def test_groups_with_a_copy_in_common_become_one_of_the_first_name(rows):
    groups = [group for group, _ in rows]
    names = {group: group for group in groups}
    for _ in names:  # the slow way: until nothing changes any more
        for here, one in rows:
            for there, other in rows:
                if one == other:
                    names[here] = names[there] = min(names[here], names[there])
                if here == there:
                    names[here] = min(names[here], names[there])
    assert join_same_content(groups, [f"{content}" for _, content in rows]).tolist() == [names[g] for g in groups]


def test_a_long_chain_of_copies_is_joined_in_one_pass():
    """Each group shares a copy with the one before: 50,000 steps where each is near, a thousand million where not."""
    n = 50_000
    groups = [f"{k // 2 + k % 2:06d}" for k in reversed(range(2 * n))]
    ids = [f"{k // 2}" for k in reversed(range(2 * n))]
    assert set(join_same_content(groups, ids)) == {"000000"}
