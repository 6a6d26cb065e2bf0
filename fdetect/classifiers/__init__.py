"""Classifiers over named features.

heads.py       the registry of heads: fitting, scoring, folds
estimators.py  the heads that are one scikit-learn estimator
stacking.py    the head that is made of heads
balance.py     weights between classes, generators and sources of reals
search.py      settings of a head, chosen within the training rows
calibration.py from scores to probabilities
importance.py  which families of features a fitted head lives on
classes.py     the same heads on more than two classes
embedding.py   an encoder's embedding as columns, so that any head is a linear probe; network_columns.py: a network's
saved.py       a fitted detector in a folder, without pickle: model_folder.py, card.py, estimator_files.py, saved_*.py
shipped.py     the folder that comes with the package
calibrated.py  a training-free detector with its thresholds
fused.py       branches with a logit each (expert.py) and gates between them: fused_fit.py, fused_file.py, adapt.py
fused_head.py  the same as a head on columns side by side; branches.py says which column belongs to which branch
tiles.py       any resolution by tiles that see every pixel
explain.py     what an answer rests on: places of a picture, families of features
"""

from fdetect.classifiers import estimators as _estimators  # registers its heads, first those of old
from fdetect.classifiers import stacking as _stacking
from fdetect.classifiers.balance import WEIGHTS
from fdetect.classifiers.calibration import calibrator
from fdetect.classifiers.classes import NO_ANSWER, FittedClasses, fit_classes
from fdetect.classifiers.heads import FittedHead, fit_head, head, in_parallel, out_of_fold
from fdetect.classifiers.search import Searched, search

__all__ = [
    "NO_ANSWER", "WEIGHTS", "FittedClasses", "FittedHead", "Searched", "calibrator", "fit_classes", "fit_head", "head",
    "in_parallel", "out_of_fold", "search",
]  # fmt: skip

del _estimators, _stacking
