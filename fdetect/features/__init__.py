"""Maps -> named vectors: the hand-crafted features, one row per image.

    spectral      fall-off, direction and shape of the spectrum; autocorrelation of the residual
    harmonics     the spectrum at the frequencies of up-sampling and block coding
    blocks        DCT of blocks and tiles; Benford's law
    neighbours    statistics of neighbouring pixel relationships (NPR), gradients, local correlation
    wavelets      statistics of wavelet sub-bands
    patches       bit planes; residual energy of small patches
    residual      co-occurrences of quantised noise residuals, of luma and chroma; the SRM bank
    noise         what denoisers take away; noise levels; colours against each other
    texture       rich against poor patches; local binary patterns
    cooccurrence  grey levels that stand side by side, within and across colours
    colour        saturation; correlation of colours
    provenance    file and camera history, under native alone and in no fused score; with file_history, which sees no
                  pixel
    probes        thumbnail and block-DCT histogram: for the audit only, never for a detector
    facts         what the file says of itself, no pixel: for the audit only
    task          a feature as a task of the engine
    base          the registry `feature`, `compute`, `column_names`, presets, `select_features`, `code_of`
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
from fdetect.features.base import (
    ALONE,
    PRESETS,
    code_of,
    column_names,
    compute,
    feature,
    preset,
    require_native,
    select_features,
)
from fdetect.features.task import FeatureTask, feature_task, feature_tasks

__all__ = [
    "ALONE",
    "PRESETS",
    "FeatureTask",
    "blocks",
    "code_of",
    "colour",
    "column_names",
    "compute",
    "cooccurrence",
    "facts",
    "feature",
    "feature_task",
    "feature_tasks",
    "harmonics",
    "neighbours",
    "noise",
    "patches",
    "preset",
    "probes",
    "provenance",
    "require_native",
    "residual",
    "select_features",
    "spectral",
    "texture",
    "wavelets",
]
