"""How closely two computations of one thing must agree, by the dtype of the result: (relative, absolute).

float32 results are sums made in float64 and rounded once, so two correct ones differ by a few units in the last
place; the absolute part is for logarithms and standardised moments near zero.
"""

from __future__ import annotations

TOL: dict[str, tuple[float, float]] = {
    "float32": (2e-6, 1e-6),
    "float64": (1e-12, 1e-13),
}
