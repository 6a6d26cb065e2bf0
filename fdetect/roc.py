"""What the ROC curve of one sample says under B weightings: sorted once, walked once for each weighting.

Ties are exact: a point of the curve stands for one distinct score, with all images that share it.
Source: Fawcett 2006, An introduction to ROC analysis, 10.1016/j.patrec.2005.10.010, algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fdetect.memo import shared
from fdetect.sums import by_image

__all__ = ["Ranking", "ranking_of"]


@dataclass(frozen=True, eq=False)
class Ranking:
    """The metrics that know only the order of the scores, each (B,) float64; NaN where a class has no weight.

    Their formulas are those of `fdetect.metrics`, under the names that they have there.
    """

    auroc: np.ndarray
    ap_fake: np.ndarray
    ap_real: np.ndarray
    tpr_roc_1: np.ndarray
    tpr_roc_5: np.ndarray
    fpr_at_95_tpr: np.ndarray
    eer: np.ndarray


@shared
def ranking_of(label: np.ndarray, score: np.ndarray, weight: np.ndarray) -> Ranking:
    """Return the ranking metrics of one sample: (N,) int, (N,) float64, (B, N) float64 -> Ranking."""
    from fdetect._roc_cpu import walk  # here: Numba takes a while to import

    falling = bool((score[1:] <= score[:-1]).all())
    order = np.arange(len(score)) if falling else np.argsort(-score, kind="stable")
    ordered = score[order]
    ends = np.append(ordered[1:] != ordered[:-1], True)[: len(order)]  # the last image of every tie
    by_score = by_image(weight) if falling else by_image(weight)[order]
    return Ranking(*walk(by_score, label[order] == 1, ends))
