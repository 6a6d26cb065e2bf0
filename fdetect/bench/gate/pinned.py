"""The baseline that ships: scores of two hand-crafted heads on the `sim-*` part of the built-in benchmark.

`fdetect compare builtin RUN` reads it in place of a run folder, so that a job needs no run of its own to compare with.
What a job gates by it is that its detector still works, not that it detects AI-generated images: no generative model
made these (fdetect/bench/data/builtin.py).  Made by benchmarks/pin_baseline.py.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from fdetect.bench.data import builtin
from fdetect.bench.data.simulate import DECODERS
from fdetect.bench.gate.sides import Side
from fdetect.bench.scores.given import read_score_table
from fdetect.config import fingerprint
from fdetect.errors import DataError
from fdetect.perturb import condition

__all__ = ["COLUMNS", "CONDITIONS", "CROP", "DETECTORS", "FILE", "NAME", "pinned_side", "recipe"]

NAME = "builtin"
FILE = Path(__file__).parent / "pinned" / "scores.parquet"
DETECTORS = ("logreg:all", "hist_gb:all")
CONDITIONS = ("matched", "jpeg70", "rescaled")
CROP = 128
COLUMNS = ("path", "label", "generator", "real_source", "group", "trial", "train", "seen", "detector",
           "train_condition", "condition", "score", "threshold")  # fmt: skip

_SETTINGS = {"conditions.crop": CROP, "seed": 0, "protocol.name": "leave_one_generator_out", "protocol.train": [],
             "protocol.folds": 3, "protocol.calibration": 0.25}  # fmt: skip
_REMEDY = (
    "the baseline holds scores of the built-in benchmark alone: RUN must be a run of `fdetect bench` "
    "without DATA, with its own crop, seed and protocol, or --scores of those images"
)


def recipe() -> str:
    """Return a digest of what decides the pixels that were scored: the built-in images and the conditions."""
    photographs = [(one.name, one.pixels) for one in builtin.PHOTOGRAPHS]
    return fingerprint(builtin.VERSION, builtin.SIDE, builtin.CROPS_PER_PHOTOGRAPH, photographs, sorted(DECODERS),
                       [condition(name).settings for name in CONDITIONS], _SETTINGS)  # fmt: skip


def pinned_side() -> Side:
    """Return the baseline as a side of the gate, of which a run may have further images.

    Raises DataError where it was made of other images or conditions than this version has.
    """
    stated = (pq.read_schema(FILE).metadata or {}).get(b"recipe", b"").decode()
    if stated != recipe():
        raise DataError(f"{FILE}: the baseline was made of other images or conditions than this version of fdetect has;"
                        " make it again by benchmarks/pin_baseline.py")  # fmt: skip
    return Side(f"the baseline that ships ({NAME})", read_score_table(FILE), _SETTINGS, part=True, remedy=_REMEDY)
