"""fdetect: forensic detectors of AI-generated images, judged on one cross-generator benchmark.

    fdetect.extract("photos/", features="standard")        named features, one row per image
    fdetect.extract_to("features.parquet", "shots/*.tar")  the same to a file, in flat memory, for millions
    fdetect.fit("train/manifest.csv")                      a fitted detector with thresholds
    fdetect.fit_detector("reals/", "rigid")                the same for a training-free detector, from reals alone
    fdetect.score("photos/", detector)                     scores, larger = more likely generated
    fdetect.inspect("suspicious.jpg")                      a verdict with its evidence, for each image
    fdetect.benchmark(fdetect.RunConfig())                 the benchmark, as `fdetect bench` runs it

Names are loaded when they are first used: importing fdetect loads neither torch, cupy nor scikit-learn.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "FdetectError", "RunConfig", "Store", "benchmark", "evaluate", "extract", "extract_to", "fit", "fit_aligned",
    "fit_detector", "inspect", "read_features", "read_manifest", "score",
]  # fmt: skip

if TYPE_CHECKING:
    from fdetect.bench.inspecting.inspector import inspect
    from fdetect.bench.layouts import read_manifest
    from fdetect.bench.run import bench as benchmark
    from fdetect.bench.scores.evaluate import cells_of as evaluate
    from fdetect.bench.steps import extract, extract_to, score
    from fdetect.bench.training.calibrating import fit_detector
    from fdetect.bench.training.fitting import fit, fit_aligned
    from fdetect.config import RunConfig
    from fdetect.engine import Store
    from fdetect.errors import FdetectError
    from fdetect.features.read import read_features

_HOMES = {
    "FdetectError": "fdetect.errors",
    "RunConfig": "fdetect.config",
    "Store": "fdetect.engine",
    "benchmark": "fdetect.bench.run:bench",
    "evaluate": "fdetect.bench.scores.evaluate:cells_of",
    "extract": "fdetect.bench.steps",
    "extract_to": "fdetect.bench.steps",
    "fit": "fdetect.bench.training.fitting",
    "fit_aligned": "fdetect.bench.training.fitting",
    "fit_detector": "fdetect.bench.training.calibrating",
    "inspect": "fdetect.bench.inspecting.inspector",
    "read_features": "fdetect.features.read",
    "read_manifest": "fdetect.bench.layouts",
    "score": "fdetect.bench.steps",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fdetect' has no attribute '{name}'")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(importlib.import_module(module), attribute or name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
