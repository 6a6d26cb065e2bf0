"""The worst errors of one detector, read off a list of rows the slow way; imports nothing from fdetect."""

from __future__ import annotations

from typing import Any


def naive_worst(rows: list[dict[str, Any]], label: int, shown: int) -> tuple[int, int, list[tuple[str, float]]]:
    """Return how many images are called wrong, of how many, and (path, score - threshold) of the worst of them.

    `rows` are those of one detector, training set and condition; an image stands for its worst trial.
    """
    judged: set[str] = set()
    worst: dict[str, float] = {}
    for row in rows:
        if row["label"] != label or row["score"] is None or row["threshold"] is None:
            continue
        judged.add(row["path"])
        called_fake = row["score"] > row["threshold"]
        if called_fake == (label == 1):
            continue
        distance = row["score"] - row["threshold"]
        if row["path"] not in worst or abs(distance) > abs(worst[row["path"]]):
            worst[row["path"]] = distance
    order = sorted(worst, key=lambda path: (-abs(worst[path]), path))
    return len(worst), len(judged), [(path, worst[path]) for path in order[:shown]]


def naive_decisions(rows: list[dict[str, Any]], label: int) -> dict[str, list[bool]]:
    """Return whether each decision about each image of a class, one a trial, is wrong, by path."""
    found: dict[str, list[bool]] = {}
    for row in rows:
        if row["label"] == label and row["score"] is not None and row["threshold"] is not None:
            called_fake = row["score"] > row["threshold"]
            found.setdefault(row["path"], []).append(called_fake != (label == 1))
    return found
