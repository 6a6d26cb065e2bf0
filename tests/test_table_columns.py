"""A score table as arrays: equal to the rows, read once, its weights drawn once."""

import gc
import weakref

import numpy as np
import pyarrow as pa
from test_evaluate import COLUMNS, fakes, reals, run_like, table

from fdetect.bench.scores.compare import paired_differences
from fdetect.bench.scores.evaluate import ScoreTable, cells_of

TEXT = ("generator", "real_source", "group", "trial", "path")


def test_columns_are_those_of_the_rows():
    rows = run_like() + run_like(detector="é", train="other")
    rows = [rows[k] for k in np.random.default_rng(0).permutation(len(rows))]
    rows[3]["group"] = ""
    scores = ScoreTable.of(table(rows))
    for name in TEXT:
        held = [{**COLUMNS, **row}[name] or (row["path"] if name == "group" else "") for row in rows]
        assert getattr(scores, name).tolist() == held
        assert (getattr(scores, name)[[5, 3]] == held[3]).tolist() == [held[5] == held[3], True]
        assert scores.text[name].names.tolist() == sorted(set(held))
    columns = [(row["detector"], row["train"], "native", "native") for row in rows]
    assert scores.names == tuple(dict.fromkeys(columns))  # in order of appearance
    assert [scores.names[key] for key in scores.keys] == columns
    np.testing.assert_array_equal(scores.score, [np.nan if r["score"] is None else r["score"] for r in rows])


def test_text_of_any_arrow_type_is_read_alike():
    plain = table(run_like())
    cells = cells_of(plain, replicates=10)
    encoded = plain
    for name in ("path", "generator", "detector"):
        at = encoded.column_names.index(name)
        encoded = encoded.set_column(at, name, encoded.column(name).dictionary_encode())
    in_pieces = pa.concat_tables([plain.slice(0, 50), plain.slice(50)])
    missing = plain.set_column(plain.column_names.index("train"), "train", pa.nulls(len(plain)))
    assert repr(cells_of(encoded, replicates=10)) == repr(cells)
    assert repr(cells_of(in_pieces, replicates=10)) == repr(cells)
    assert ScoreTable.of(missing).names == (("d", "", "native", "native"),)


def test_a_table_is_read_once_and_its_weights_drawn_once():
    one, other = table(run_like()), table(run_like(seed=1))
    scores = ScoreTable.of(one)
    weights = scores.weights(replicates=5, seed=0)
    cells_of(one, replicates=5)
    assert ScoreTable.of(one) is scores
    assert scores.weights(replicates=5, seed=0) is weights
    assert scores.weights(replicates=5, seed=1) is not weights
    assert ScoreTable.of(other) is not scores
    assert ScoreTable.of(table(run_like())) is not ScoreTable.of(other)  # equal or not, another table


def test_nothing_is_kept_of_a_table_that_is_gone():
    one = table(run_like())
    kept = weakref.ref(ScoreTable.of(one).label)
    assert kept() is not None
    del one
    gc.collect()
    assert kept() is None


def test_pairs_stand_in_the_order_of_the_first_whatever_that_of_the_second():
    rows = reals([0.5, 0.1, 0.2]) + fakes("gan", [0.9, 0.4])
    second = [{**row, "detector": "e"} for row in rows[::-1]][:-1]
    (found,) = paired_differences(table(rows + second), "d", "e", replicates=5)
    assert (found.value, found.low, found.high, found.n_images) == (0.0, 0.0, 0.0, 4)
