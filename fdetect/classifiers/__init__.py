"""Classifiers over named features.

heads.py   the registered heads (scikit-learn pipelines), fitting and scoring
saved.py   a fitted head in one file, without pickle
"""

from fdetect.classifiers.heads import FittedHead, fit_head, head, in_parallel, out_of_fold

__all__ = ["FittedHead", "fit_head", "head", "in_parallel", "out_of_fold"]
