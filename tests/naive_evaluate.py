"""Slow and plain references of the judging of a score table: loops over rows, nothing from fdetect.

A row is a dict with the columns of `scores.parquet`; a score of None is an image that failed.
"""

import itertools


def concordant(rows, weight=None):
    """Share of the (fake, real) pairs of one trial in the right order, ties half, summed over trials; None without."""
    right = pairs = 0.0
    for fake, real in itertools.product(rows, rows):
        if fake["label"] != 1 or real["label"] != 0 or fake["trial"] != real["trial"]:
            continue
        if fake["score"] is None or real["score"] is None:
            continue
        w = 1.0 if weight is None else weight[fake["group"]] * weight[real["group"]]
        pairs += w
        if fake["score"] > real["score"]:
            right += w
        elif fake["score"] == real["score"]:
            right += w / 2
    return right / pairs if pairs else None


def of_generator(rows, generator):
    """The fakes of a generator, and the reals of the trials that tested it."""
    fakes = [row for row in rows if row["label"] == 1 and row["generator"] == generator]
    trials = {row["trial"] for row in fakes}
    return fakes + [row for row in rows if row["label"] == 0 and row["trial"] in trials]


def generators(rows):
    return sorted({row["generator"] for row in rows if row["label"] == 1})


def unseen(rows):
    """Generators that no trial was trained on; all of them where there is none."""
    seen = {row["generator"] for row in rows if row["label"] == 1 and row["seen"]}
    return [name for name in generators(rows) if name not in seen] or generators(rows)


def macro(rows, weight=None):
    values = [concordant(of_generator(rows, name), weight) for name in unseen(rows)]
    return sum(values) / len(values)


def groups_of(rows, generator):
    return len({row["group"] for row in rows if row["generator"] == generator and row["score"] is not None})


def worst(rows):
    """(name, few groups?) of the lowest AUROC among generators with 20 groups, or among all where none has 20."""
    many = [name for name in unseen(rows) if groups_of(rows, name) >= 20]
    lowest, at = None, None
    for name in many or unseen(rows):
        value = concordant(of_generator(rows, name))
        if lowest is None or value < lowest:
            lowest, at = value, name
    return at, not many


def false_positives(rows, source):
    """Share of a source's scored reals above the threshold of their trial."""
    mine = [row for row in rows if row["label"] == 0 and row["real_source"] == source and row["score"] is not None]
    return sum(row["score"] > row["threshold"] for row in mine) / len(mine)


def failures_against(rows):
    """The rows with every failed real scored highest and every failed fake lowest."""
    far = 1e300
    return [{**row, "score": (-far if row["label"] else far) if row["score"] is None else row["score"]} for row in rows]
