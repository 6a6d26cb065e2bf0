"""The walk along the ROC curve as a Numba kernel: seven metrics of B weightings in one pass over their images.

All weightings share the order of the images, so that each step is taken for all of them at once, in loops over b that
the compiler turns into vector instructions; they are small functions of few arrays, which it must prove apart.  The
four metrics that are read at one point of the curve are looked up afterwards, from the last of the marks before it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

__all__ = ["walk"]

_Row = np.ndarray  # (B,) float64
_TINY = 1e-300
_STEP = 64  # images from one mark to the next
_FPR_1, _FPR_5, _TPR_95, _EQUAL = range(4)  # what a point is looked up for


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def walk(weight: np.ndarray, fake: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(N, B) weights by falling score, (N,) bool whether fake, and whether a tie ends -> (7, B) of `Ranking`."""
    n, width = weight.shape
    out = np.full((7, width), np.nan)
    all_fakes, all_reals = np.zeros(width), np.zeros(width)
    for k in range(n):
        _add(all_fakes if fake[k] else all_reals, weight[k])
    fakes, reals = np.zeros(width), np.zeros(width)  # called fake up to here
    fakes_before, reals_before = np.zeros(width), np.zeros(width)  # up to the last point
    area, ap_fake, ap_real = np.zeros(width), np.zeros(width), np.zeros(width)
    n_marks = 1  # points of which the sums are kept, the first of them before all images
    mark = np.zeros(n // _STEP + 2, np.int64)  # the image after each
    mark_fakes, mark_reals = np.zeros((len(mark), width)), np.zeros((len(mark), width))
    new_fakes, new_reals = False, False  # in the tie that is going on
    for k in range(n):
        if fake[k]:
            new_fakes = True
            _add(fakes, weight[k])
        else:
            new_reals = True
            _add(reals, weight[k])
        if not ends[k]:
            continue
        if new_fakes:
            _add_precision(ap_fake, fakes, fakes_before, reals)
        if new_reals:
            _add_area(area, reals, reals_before, fakes, fakes_before)
            _add_precision_below(ap_real, reals, reals_before, fakes_before, all_reals, all_fakes)
        if new_fakes:
            _copy(fakes_before, fakes)
        if new_reals:
            _copy(reals_before, reals)
        new_fakes, new_reals = False, False
        if k + 1 >= mark[n_marks - 1] + _STEP:
            mark[n_marks] = k + 1
            _copy(mark_fakes[n_marks], fakes)
            _copy(mark_reals[n_marks], reals)
            n_marks += 1
    for b in range(width):
        if all_fakes[b] <= 0.0 or all_reals[b] <= 0.0:
            continue
        total = all_fakes[b], all_reals[b]
        sums = weight, fake, ends, b, mark[:n_marks], mark_fakes, mark_reals, total
        out[0, b] = area[b] / (total[0] * total[1])
        out[1, b], out[2, b] = ap_fake[b] / total[0], ap_real[b] / total[1]
        out[3, b] = _first_point(_FPR_1, sums)[0] / total[0]  # of the point before: the last with FPR <= 1 %
        out[4, b] = _first_point(_FPR_5, sums)[0] / total[0]
        out[5, b] = _first_point(_TPR_95, sums)[3] / total[1]
        f_before, r_before, f, r = _first_point(_EQUAL, sums)
        fpr_before, fpr = r_before / total[1], r / total[1]
        excess_before, excess = fpr_before + f_before / total[0] - 1.0, fpr + f / total[0] - 1.0
        out[6, b] = fpr_before + (fpr - fpr_before) * excess_before / (excess_before - excess)
    return out


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _first_point(what: int, sums: tuple[Any, ...]) -> tuple[float, float, float, float]:
    """Return the fakes and reals of the point before, and of the first point that `_reached` what is looked up."""
    weight, fake, ends, b, mark, mark_fakes, mark_reals, total = sums
    low, high = 0, len(mark)  # the point lies after mark `low`, and not after `high`
    while high - low > 1:
        middle = (low + high) // 2
        if _reached(what, mark_fakes[middle, b], mark_reals[middle, b], total):
            high = middle
        else:
            low = middle
    fakes, reals = mark_fakes[low, b], mark_reals[low, b]
    fakes_before, reals_before = fakes, reals
    for k in range(mark[low], len(fake)):
        if fake[k]:
            fakes += weight[k, b]
        else:
            reals += weight[k, b]
        if ends[k]:
            if _reached(what, fakes, reals, total):
                break
            fakes_before, reals_before = fakes, reals
    return fakes_before, reals_before, fakes, reals


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _reached(what: int, fakes: float, reals: float, total: tuple[float, float]) -> bool:
    """Whether a point is beyond 1 % or 5 % FPR, at 95 % TPR or at FPR >= 1 - TPR; once true, true to the end."""
    if what == _FPR_1:
        return reals / total[1] > 0.01
    if what == _FPR_5:
        return reals / total[1] > 0.05
    if what == _TPR_95:
        return fakes / total[0] >= 0.95
    return reals / total[1] + fakes / total[0] - 1.0 >= 0.0


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add(total: _Row, row: _Row) -> None:
    for b in range(len(total)):
        total[b] += row[b]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _copy(to: _Row, row: _Row) -> None:
    for b in range(len(to)):
        to[b] = row[b]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add_area(area: _Row, reals: _Row, reals_before: _Row, fakes: _Row, fakes_before: _Row) -> None:
    for b in range(len(area)):
        area[b] += (reals[b] - reals_before[b]) * (fakes[b] + fakes_before[b]) / 2.0


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add_precision(ap: _Row, fakes: _Row, fakes_before: _Row, reals: _Row) -> None:
    for b in range(len(ap)):
        ap[b] += (fakes[b] - fakes_before[b]) * (fakes[b] / max(fakes[b] + reals[b], _TINY))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add_precision_below(
    ap: _Row, reals: _Row, reals_before: _Row, fakes_before: _Row, all_reals: _Row, all_fakes: _Row
) -> None:
    """Add what is gained seen from below: what is called real there, this tie among it."""
    for b in range(len(ap)):
        below = all_reals[b] - reals_before[b]
        whole = below + (all_fakes[b] - fakes_before[b])
        ap[b] += (reals[b] - reals_before[b]) * (below / max(whole, _TINY))
