"""Maps -> named vectors: the hand-crafted features, one row per image.

    spectral    radial spectrum; harmonics of the cross-difference
    neighbours  statistics of neighbouring pixel relationships (NPR)
    residual    co-occurrences of quantised noise residuals
    probes      thumbnail and block-DCT histogram: for the audit only, never for a detector
    facts       what the file says of itself, no pixel: for the audit only
    task        a feature as a task of the engine
    base        the registry `feature`, `compute`, `column_names`, presets, `select_features`, `code_of`
"""

from fdetect.features import (
    blocks,
    colour,
    cooccurrence,
    facts,
    harmonics,
    neighbours,
    noise,
    patches,
    probes,
    provenance,
    residual,
    spectral,
    texture,
    wavelets,
)
from fdetect.features.base import PRESETS, code_of, column_names, compute, feature, preset, select_features
from fdetect.features.task import FeatureTask, feature_tasks

__all__ = [
    "PRESETS",
    "FeatureTask",
    "code_of",
    "column_names",
    "compute",
    "facts",
    "feature",
    "feature_tasks",
    "neighbours",
    "preset",
    "probes",
    "residual",
    "select_features",
    "spectral",
]
