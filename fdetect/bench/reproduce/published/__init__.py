"""Published figures: for each, the data, weights and preprocessing that it rests on, and a margin stated beforehand.

A new one is a function and its decorator; `fdetect reproduce` does the rest.  The first letter of a source says how it
was read:

    C  in the stored results of the code that is named
    P  in the authors' own paper or project page
    T  in a third party's table
    U  recalled and not checked: reaching such a figure is told, and raises no evidence

base.py           what a figure is, and the ways by which one is measured
training_free.py  detectors without training
checkpoints.py    weights that others trained
trained.py        networks trained here on a published training set
spectra.py        heads on a published table of spectra
"""

from fdetect.bench.reproduce.published import checkpoints as _checkpoints  # registers its figures
from fdetect.bench.reproduce.published import spectra as _spectra
from fdetect.bench.reproduce.published import trained as _trained
from fdetect.bench.reproduce.published import training_free as _training_free
from fdetect.bench.reproduce.published.base import (
    METRICS,
    Checkpoint,
    DataSet,
    OnSpectra,
    Reproduction,
    Training,
    TrainingFree,
    Way,
    plain,
    reproduction,
)

__all__ = [
    "METRICS", "Checkpoint", "DataSet", "OnSpectra", "Reproduction", "Training", "TrainingFree", "Way", "plain",
    "reproduction",
]  # fmt: skip

del _checkpoints, _spectra, _trained, _training_free
