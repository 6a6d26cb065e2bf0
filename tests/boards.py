"""Run folders written by hand, for tests of what reads them: scores drawn from a seed, a header as a run writes it."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fdetect.config import RunConfig

HOSTILE = "<script>alert('1')</script>\"&_%$\u202e你好"
GENERATORS, SOURCES = ("adm", "glide"), ("coco", "phone")


def rows_of(
    detector: str, *, shift: float = 1.0, seed: int = 0, n: int = 24, noise: int = 0, condition: str = "matched",
    failed: tuple[str, ...] = (), seen: tuple[str, ...] = (),
) -> list[dict[str, Any]]:  # fmt: skip
    """Scores of n images of each of two generators and sources, in folds that the seed draws; a group an image.

    `shift` is how far fakes lie above reals, `noise` numbers the draw of the detector's own scores.
    """
    found = []
    for kind in (*GENERATORS, *SOURCES):
        label = int(kind in GENERATORS)
        place = (*GENERATORS, *SOURCES).index(kind)
        scores = np.random.default_rng([seed, noise, place]).normal(size=n) + shift * label
        folds = np.random.default_rng([seed, place]).permutation(n) % 2  # all detectors of a run have the same
        for k in range(n):
            path = f"{kind}/{k}.png"
            row = {
                "id": f"id of {path}", "path": path, "label": label, "generator": kind if label else "",
                "real_source": "" if label else kind, "group": path, "train": "all but the tested",
                "seen": kind in seen, "detector": detector, "train_condition": "matched", "condition": condition,
                "score": None if path in failed else float(scores[k]),
                "probability": float(1 / (1 + np.exp(-scores[k]))), "threshold": 1.6,
            }  # fmt: skip
            found += [{**row, "trial": f"{held}/{folds[k]}"} for held in ([kind] if label else GENERATORS)]
    return found


def header_of(seed: int = 0, **more: Any) -> dict[str, Any]:
    """The header of a run on these images; `more` replaces parts of it."""
    config = replace(RunConfig(), seed=seed)
    made = {
        "fingerprint": f"{seed:016x}",
        "data": {"name": "made", "layout": "manifest", "detected": "", "description": "", "hash": "0123456789abcdef",
                 "n_real": 48, "n_fake": 48, "n_groups": 96, "n_same_content": 0,
                 "generators": dict.fromkeys(GENERATORS, 24), "real_sources": dict.fromkeys(SOURCES, 24)},
        "trials": 4, "config": json.loads(json.dumps(asdict(config))), "seed": seed,
        "versions": {"fdetect": "0.1.0", "python": "3.11.7", "numpy": "2.4.6", "torch": "not installed",
                     "decoder": "Pillow 13.0.0, libjpeg-turbo 3.2.0"},
        "backend": {"name": "cpu", "reason": "as was asked"}, "weights": {},
    }  # fmt: skip
    made["config"]["conditions"]["crop"] = 224
    return {**made, **more}


def write_run(
    folder: Path, rows: list[dict[str, Any]], *, seed: int = 0, header: dict[str, Any] | None = None,
    biased: tuple[str, ...] = (), cost: dict[str, float | None] | None = None,
) -> Path:  # fmt: skip
    """Write the files of a finished run that a leaderboard reads."""
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "scores.parquet")
    conditions = list(dict.fromkeys(row["condition"] for row in rows))
    audit = {"threshold": 0.6, "biased_by": {one: list(biased) for one in conditions},
             "unmeasured": {one: [] for one in conditions}, "history": [],
             "probes": [{"condition": one, "probe": "file_bytes"} for one in conditions]}  # fmt: skip
    result = {"schema": 1, "header": header or header_of(seed), "audit": audit, "cells": [], "failures": [],
              "thresholds": [{"detector": "any"}],
              "not_run": [{"detector": "rigid", "reason": "no weights", "fix": "get them"}]}  # fmt: skip
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    if cost is not None:
        timed = {name: {"columns": value, "head": None, "total": value} for name, value in cost.items()}
        about = {"host": {"system": "Linux", "machine": "x86_64", "cores": 2},
                 "cost_ms": {"images": 16, "px": 224, "threads": 1, "backend": "cpu", "detectors": timed}}  # fmt: skip
        (folder / "run.json").write_text(json.dumps(about), encoding="utf-8")
    return folder


def with_config(header: dict[str, Any], table: str, **values: Any) -> dict[str, Any]:
    """A header with other settings in one table of its configuration."""
    made = copy.deepcopy(header)
    made["config"][table].update(values)
    return made
