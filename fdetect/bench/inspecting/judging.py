"""The rule of the verdict, as numbers: how an image stands in the view that speaks least for it.

A claim has to hold in every view, so that its strength is that of the weakest view.  With h_v the share of reference
photographs that score at least as high in view v,

    least(x) = max over v of h_v(x)          the view in which it stands out least
    most(x)  = min over v of h_v(x)          the view in which it stands out most

    p_real       how many reference photographs have a `least` as small: (1 + #) / (n + 1)
    p_generated  how many generated images have a `most` as large: the same share, in the mean over generators

    likely generated   p_real <= 0.01, and generated images are ODDS times as often so
    likely real        p_generated <= 0.01, and photographs are ODDS times as often so
    inconclusive       everything else, also where both hold: such an image is like neither

`p_real` is not the share of photographs that are as high in every view, which is smaller: a photograph's weakest view
need not be the same one.

Both are conformal p-values: for photographs like the references, at most 1 of 100 is called likely generated; for
images of the reference generators, at most 1 of 100 likely real.  Nothing is promised of others.

A reference photograph's own h_v is its rank among the n, c / n, and an image's among n + 1, m / (n + 1).  That is exact
all the same: c / n <= m / (n + 1) says c < m, which holds where the reference ranks no lower than the image among all
n + 1 of them (full conformal).  p_generated holds for images of a generator drawn at random: of m_g + 1 images of each
of G generators, weighted by 1 / (G (m_g + 1)), those whose share is at most a weigh at most a, and p is no smaller.
Sources: Vovk, Gammerman and Shafer 2005, Algorithmic Learning in a Random World, section 2.2; of images held against
fixed scores, `fdetect.decide.conformal_pvalue`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fdetect.bench.inspecting.inspection import GENERATED, INCONCLUSIVE, REAL
from fdetect.bench.inspecting.references import References, key_of
from fdetect.decide import conformal_pvalue

__all__ = ["CLAIM", "FLAG", "ODDS", "Judged", "Judges", "at_most", "shares_high"]

CLAIM, FLAG = 0.01, 0.05  # levels of a claim, and of what is worth a remark: shares of photographs
ODDS = 3.0  # times as often: at even odds before, three of four such claims are then right
_ROUNDING = 1e-12  # of a mean of shares, and of ODDS times one; different shares of n are far further apart


@dataclass(frozen=True, eq=False)
class Judged:
    """What the rule says of N images, (N,) float64 but for `high`; NaN where it is not known.

    high               (V, N) the share of reference photographs that score at least as high in each view
    generated_as_high  generated images whose `least` is as small, a share in the mean over generators
    real_as_low        reference photographs whose `most` is as large, a share
    floor_real         the least p_real that so many photographs allow; above CLAIM, "likely generated" cannot be said
    floor_generated    the same of p_generated, NaN without generated images; above CLAIM, "likely real" cannot be said
    """

    high: np.ndarray
    p_real: np.ndarray
    p_generated: np.ndarray
    generated_as_high: np.ndarray
    real_as_low: np.ndarray
    floor_real: float
    floor_generated: float

    @property
    def words(self) -> np.ndarray:
        """(N,) words of VERDICTS."""
        generated = at_most(self.p_real, CLAIM) & at_most(ODDS * self.p_real, self.generated_as_high)
        real = at_most(self.p_generated, CLAIM) & at_most(ODDS * self.p_generated, self.real_as_low)
        claims = np.where(generated, GENERATED, np.where(real, REAL, INCONCLUSIVE))
        return np.where(generated & real, INCONCLUSIVE, claims).astype(object)


@dataclass(frozen=True, eq=False)
class Judges:
    """References made ready: (V, n) scores of photographs, (n,) what the rule makes of them, and of each generator."""

    photographs: np.ndarray
    least_real: np.ndarray
    most_real: np.ndarray
    least_generated: tuple[np.ndarray, ...]
    most_generated: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, references: References, views: tuple[str, ...], branches: str, *, without: str | None = None,
           unknown: str | None = None) -> Judges:  # fmt: skip
        """Take the references of some views; `without` a source of photographs, and with a generator `unknown`.

        Raises KeyError where the references lack a view.
        """
        keys = [key_of(view, branches) for view in views]
        kept = np.array([source != without for source in references.sources], np.bool_)
        photographs = np.stack([references.real[key][kept] for key in keys])
        own = np.stack([_share(one, one) for one in photographs])
        generated = [np.stack([references.generated[key][references.generators == name] for key in keys])
                     for name in sorted(set(references.generators)) if name != unknown]  # fmt: skip
        high = [shares_high(one, photographs) for one in generated]
        return cls(photographs, own.max(axis=0), own.min(axis=0), tuple(one.max(axis=0) for one in high),
                   tuple(one.min(axis=0) for one in high))  # fmt: skip

    def __call__(self, scores: np.ndarray) -> Judged:
        """(V, N) scores -> what the rule says of N images; an image without a score in some view is NaN throughout."""
        high = shares_high(scores, self.photographs)
        high = np.where(np.isnan(high).any(axis=0), np.nan, high)
        least, most = high.max(axis=0), high.min(axis=0)
        unknown = np.full(len(least), np.nan)
        low = [conformal_pvalue(most, one) for one in self.most_generated]
        as_high = [_share(-least, -one) for one in self.least_generated]
        return Judged(
            high,
            conformal_pvalue(-least, -self.least_real),
            np.mean(low, axis=0) if low else unknown,
            np.mean(as_high, axis=0) if as_high else unknown,
            _share(most, self.most_real),
            1 / (len(self.least_real) + 1),
            float(np.mean([1 / (len(one) + 1) for one in self.most_generated])) if low else float("nan"),
        )


def at_most(share: np.ndarray | float, limit: np.ndarray | float) -> np.ndarray:
    """Whether share <= limit, but for rounding: in float64 the mean of 18 times 1 / 100 is above 0.01."""
    return np.asarray(share <= limit + _ROUNDING)


def shares_high(scores: np.ndarray, photographs: np.ndarray) -> np.ndarray:
    """(V, N) scores and (V, n) of photographs -> (V, N), in each view (1 + #{r >= s}) / (n + 1); NaN stays NaN."""
    return np.stack([conformal_pvalue(mine, among) for mine, among in zip(scores, photographs, strict=True)])


def _share(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    """(N,), (n,) -> (N,), the share of `among` that is at least as large; NaN stays NaN."""
    at_least = len(among) - np.searchsorted(np.sort(among), values, side="left")
    return np.where(np.isnan(values), np.nan, at_least / len(among))
