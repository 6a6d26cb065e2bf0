"""Slow and plain references of the tables by source of reals: loops over pairs, nothing from fdetect.

A row is a dict with the columns of `scores.parquet`; a score of None is an image that failed.
"""


def over(firsts, seconds, weight=None):
    """Share of the pairs of one trial in which the first scores higher, ties half, summed over trials; None without."""
    right = pairs = 0.0
    for a in firsts:
        for b in seconds:
            if a["trial"] != b["trial"] or a["score"] is None or b["score"] is None:
                continue
            w = 1.0 if weight is None else weight[a["group"]] * weight[b["group"]]
            pairs += w
            if a["score"] > b["score"]:
                right += w
            elif a["score"] == b["score"]:
                right += w / 2
    return right / pairs if pairs else None


def reals(rows, source=None):
    return [row for row in rows if row["label"] == 0 and source in (None, row["real_source"])]


def generators(rows):
    """Those that no trial was trained on; all of them where there is none."""
    fakes = [row for row in rows if row["label"] == 1]
    seen = {row["generator"] for row in fakes if row["seen"]}
    return sorted({row["generator"] for row in fakes} - seen or seen)


def alone(rows, source=None, weight=None):
    """Macro AUROC of the fakes against the reals of one source alone; against all reals without a source."""
    values = []
    for name in generators(rows):
        fakes = [row for row in rows if row["label"] == 1 and row["generator"] == name]
        values.append(over(fakes, reals(rows, source), weight))
    return None if None in values else sum(values) / len(values)


def placebo(rows, source, weight=None):
    """The reals of one source over those of all others."""
    others = [row for row in reals(rows) if row["real_source"] != source]
    return over(reals(rows, source), others, weight)


def history(worn, plain, weight=None):
    """The same reals under one condition over themselves under another: images with a score in both, trial by trial."""

    def scored(rows):
        return {(row["trial"], row["path"]) for row in reals(rows) if row["score"] is not None}

    both = scored(worn) & scored(plain)
    first, second = ([row for row in reals(rows) if (row["trial"], row["path"]) in both] for rows in (worn, plain))
    return over(first, second, weight)


def distance_beyond(auroc, placebo_value, sign):
    """How much further the fakes lie above 0.5 than a placebo lies from it, on the side named by the sign."""
    return auroc - 0.5 - sign * (placebo_value - 0.5)
