"""The head that is made of heads: a logistic regression on what they say about rows that they were not fitted on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fdetect.classifiers.heads import DISTANCE, Rows, fit_plainly, fit_rows, head, raw_scores, scale_of
from fdetect.errors import DataError, ParameterError
from fdetect.registry import Entry
from fdetect.splits import group_folds

__all__ = ["fit_stack", "stacking"]


def fit_stack(pipeline: Any, rows: Rows, *, name: str) -> Any:
    """Fit base heads and the logistic regression on their scores out of fold, all within `rows`.

    Groups are cut into folds; each base scores a fold after a fit on the others, and the logistic regression is fitted
    on these scores alone.  Then every base is fitted once more, on all rows: this is what scores new images.
    Raises ParameterError without groups, DataError where no fold leaves both classes to fit on.
    """
    if rows.groups is None:
        raise ParameterError(f"head {name} parts its rows by group; give fit_head their groups=")
    bases = [head.get(base) for base, _ in pipeline.estimators]
    scores = _base_scores(bases, rows, folds=pipeline.cv)
    if not np.isfinite(scores).all():  # a fold without a score holds all rows of a class: none of these has any
        raise DataError(f"head {name} cannot be fitted: its {len(rows.label)} rows are of too few groups for folds "
                        "that leave both classes to fit on; give more groups, or choose one of its heads")  # fmt: skip
    last = _not_negative(pipeline.final_estimator, replace(rows, values=scores), name)
    pipeline.set_params(estimators=[(base.name, fit_rows(base, rows)) for base in bases], cv="prefit")
    pipeline.fit(rows.values, rows.label)  # this sets all up, with a last step that saw scores of rows the bases know
    pipeline.final_estimator_ = last
    return pipeline


@head(fit=fit_stack)
def stacking(*, bases: str = "logreg+hist_gb+svm_rbf", folds: int = 5, c: float = 1.0) -> Any:
    """Logistic regression on the scores of several heads: (N, D) float32 -> (N,) log-odds.

        log-odds = sum over the bases k of w_k (s_k(x) - mean_k) / std_k + b

    w, b and the standardisation are fitted on scores s_k of rows that base k was not fitted on, in folds of whole
    groups, each generator spread over the folds; c is the inverse strength of their L2 penalty.  A base of w < 0 is
    left out, w = 0, and the others are fitted again.  `bases` are heads with `decision_function`, joined by +.
    Source: Wolpert 1992, 10.1016/S0893-6080(05)80023-1; Breiman 1996, 10.1007/BF00117832, for w >= 0; scikit-learn
    `StackingClassifier` of fitted heads.
    Raises ParameterError for a base that cannot be one, and for fewer than 2 folds.
    """
    from sklearn.ensemble import StackingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if folds < 2:
        raise ParameterError(f"head stacking: folds is {folds}; give 2 or more")
    entries = [head.get(name) for name in dict.fromkeys(bases.split("+"))]
    for entry in entries:
        if not _can_be_base(entry):
            usable = ", ".join(one.name for one in head if _can_be_base(one))
            raise ParameterError(f"head stacking: {entry.name} cannot be among its bases; choose of {usable}")
    return StackingClassifier(
        estimators=[(entry.name, entry()) for entry in entries],
        final_estimator=make_pipeline(StandardScaler(), LogisticRegression(C=c)),
        cv=folds,
        stack_method="decision_function",
    )


def _not_negative(last: Any, rows: Rows, name: str) -> Any:
    """Fit the last step with w >= 0: of bases with w < 0 the most negative leaves, until none is left.

    A negative weight corrects one head by another where both were fitted on other rows; on rows like their own, where
    heads that remember are surer, it turns scores round.
    """
    kept, values = np.arange(rows.values.shape[1]), rows.values
    while True:
        fitted = fit_plainly(last, replace(rows, values=np.where(np.isin(np.arange(values.shape[1]), kept), values, 0)),
                             name=name)  # fmt: skip
        weights = fitted[-1].coef_[0]
        if not len(kept) or weights[kept].min() >= 0:
            return fitted
        kept = np.delete(kept, weights[kept].argmin())


def _can_be_base(entry: Entry) -> bool:
    return not entry.meta.keys() & {"raw", "fit"} and scale_of(entry) != DISTANCE


def _base_scores(bases: list[Entry], rows: Rows, *, folds: int) -> np.ndarray:
    """Scores of each base, (N, bases) float64; NaN where the other folds lack a class."""
    assert rows.groups is not None
    scores = np.full((len(rows.label), len(bases)), np.nan)
    n_folds = min(folds, len(set(rows.groups.tolist())))
    if n_folds < 2:
        return scores
    of_class = rows.label.astype(str).tolist()
    makers = [""] * len(of_class) if rows.generator is None else rows.generator.tolist()
    strata = [f"{k} {maker}" if k == "1" else k for k, maker in zip(of_class, makers, strict=True)]
    fold = group_folds(rows.groups, strata, n_folds=n_folds)
    for k in range(n_folds):
        others, here = rows.at(fold != k), rows.values[fold == k]
        if len(np.unique(others.label)) == 2:
            for column, base in enumerate(bases):
                scores[fold == k, column] = raw_scores(base, fit_rows(base, others), here)
    return scores
