"""The conditions that a score table names, as far as they are chains of ours: the table may be anybody's."""

from __future__ import annotations

from fdetect.errors import FdetectError
from fdetect.perturb import FINAL_QUALITY, LAUNDER, Condition, condition

__all__ = ["LAST", "chain_of", "is_plain"]

LAST: tuple[str, float] = ("jpeg", FINAL_QUALITY)  # the encoding that ends every chain without one of its own


def chain_of(name: str) -> Condition | None:
    """Read a condition's name; None for one that is not ours, and for a round trip, whose network would be loaded."""
    if name.startswith(LAUNDER):
        return None
    try:
        return condition(name)
    except FdetectError:
        return None


def is_plain(chain: Condition | None) -> bool:
    """Whether a condition is the crop and the JPEG that ends every other one: `matched`, by this or another name."""
    return chain is not None and chain.steps == (LAST,) and not chain.rescaled
