"""Which branch of the fused detector a column belongs to: by the source that it comes from.

    handmade   hand-crafted features but the spectral ones       spectrum   the spectral ones
    encoder    embeddings of encoders                            trunk      logit and embedding of a detector network
"""

from __future__ import annotations

from collections.abc import Iterable

from fdetect.classifiers.embedding import is_embedding
from fdetect.classifiers.network_columns import is_network
from fdetect.features import feature
from fdetect.registry import Entry

__all__ = ["BRANCHES", "ENCODER", "HANDMADE", "SPECTRUM", "TRUNK", "branch_of", "by_branch"]

BRANCHES = HANDMADE, SPECTRUM, ENCODER, TRUNK = "handmade", "spectrum", "encoder", "trunk"

_SPECTRAL = ("spectrum", "harmonics")  # families


def branch_of(source: str | Entry) -> str:
    """Return the branch of a registered feature, or of `embedding:encoder=NAME` or `network:weights=NAME`.

    Raises UnknownName for a text that names none.
    """
    if isinstance(source, str) and is_embedding(source):
        return ENCODER
    if isinstance(source, str) and is_network(source):
        return TRUNK
    entry = feature.get(source) if isinstance(source, str) else source
    return SPECTRUM if entry.family in _SPECTRAL else HANDMADE


def by_branch(sources: Iterable[str]) -> dict[str, list[str]]:
    """Group sources of columns by branch, in the order in which they come."""
    found: dict[str, list[str]] = {}
    for source in sources:
        found.setdefault(branch_of(source), []).append(source)
    return found
