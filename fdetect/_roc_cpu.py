"""The walk along the ROC curve as a Numba kernel: seven metrics of a weighting in one pass over its images."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["walk"]

_TINY = 1e-300
_MORE, _LESS = 1.0 + 1e-9, 1.0 - 1e-9  # beyond rounding: a product decides where a quotient need not be looked at


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def walk(weight: np.ndarray, order: np.ndarray, fake: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(B, N) weights, (N,) images by falling score, 1.0 where fake, True where a tie ends -> (7, B) of `Ranking`."""
    n_weightings, n = weight.shape[0], len(order)
    out = np.full((7, n_weightings), np.nan)
    for b in range(n_weightings):
        all_fakes, all_reals = 0.0, 0.0
        for k in range(n):  # no branch on the label: it cannot be foretold
            all_fakes += weight[b, order[k]] * fake[k]
            all_reals += weight[b, order[k]] * (1.0 - fake[k])
        if all_fakes <= 0.0 or all_reals <= 0.0:
            continue
        area, ap_fake, ap_real = 0.0, 0.0, 0.0
        at_1, at_5, at_95, eer = 0.0, 0.0, np.nan, np.nan
        fakes, reals = 0.0, 0.0  # called fake up to here
        fakes_before, reals_before = 0.0, 0.0  # up to the last point
        pairs = all_fakes * all_reals
        for k in range(n):
            fakes += weight[b, order[k]] * fake[k]
            reals += weight[b, order[k]] * (1.0 - fake[k])
            if not ends[k]:
                continue
            new_fakes, new_reals = fakes - fakes_before, reals - reals_before
            area += new_reals * (fakes + fakes_before) / 2.0
            ap_fake += new_fakes * (fakes / max(fakes + reals, _TINY))
            # seen from below: what is called real there, this tie among it
            real_below, fake_below = all_reals - reals_before, all_fakes - fakes_before
            ap_real += new_reals * (real_below / max(real_below + fake_below, _TINY))
            # products first: a division at every point would take most of the time
            if reals <= _MORE * 0.05 * all_reals and reals / all_reals <= 0.05:
                at_5 = fakes
                if reals / all_reals <= 0.01:
                    at_1 = fakes
            if np.isnan(at_95) and fakes >= _LESS * 0.95 * all_fakes and fakes / all_fakes >= 0.95:
                at_95 = reals
            if np.isnan(eer) and reals * all_fakes + fakes * all_reals >= _LESS * pairs:
                fpr, fpr_before = reals / all_reals, reals_before / all_reals
                excess = fpr + fakes / all_fakes - 1.0
                if excess >= 0.0:
                    excess_before = fpr_before + fakes_before / all_fakes - 1.0
                    eer = fpr_before + (fpr - fpr_before) * excess_before / (excess_before - excess)
            fakes_before, reals_before = fakes, reals
        out[0, b] = area / pairs
        out[1, b], out[2, b] = ap_fake / all_fakes, ap_real / all_reals
        out[3, b], out[4, b], out[5, b], out[6, b] = at_1 / all_fakes, at_5 / all_fakes, at_95 / all_reals, eer
    return out
