"""Classifiers over named features.

heads.py   the registered heads (scikit-learn pipelines), fitting and scoring
classes.py the same heads on more than two classes
saved.py   a fitted head in one file, without pickle
"""

from fdetect.classifiers.classes import NO_ANSWER, FittedClasses, fit_classes
from fdetect.classifiers.heads import FittedHead, fit_head, head, in_parallel, out_of_fold

__all__ = ["NO_ANSWER", "FittedClasses", "FittedHead", "fit_classes", "fit_head", "head", "in_parallel",
           "out_of_fold"]  # fmt: skip
