"""Features: named columns made from the maps of a batch, one row per image; their registry, presets and digests.

    @feature(columns=("slope", "offset"), family="spectrum")
    def radial_slope(radial_profile, *, low=0.10, high=0.90): ...      # reads the map `radial_profile`

`columns` is a tuple, or a function of the settings that returns one, so that it is known before any data.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fdetect import forensics
from fdetect.backend import asnumpy
from fdetect.errors import ParameterError, UnknownName
from fdetect.forensics.base import GIVEN, per_image, signal, signal_map
from fdetect.registry import Entry, Registry, nearest, source_digest
from fdetect.types import Batch

__all__ = [
    "ALONE",
    "PRESETS",
    "code_of",
    "column_names",
    "compute",
    "feature",
    "preset",
    "require_native",
    "select_features",
]

feature = Registry("feature", "columns", "family")

# Families that tell what an image shows and how its file was made, not whether it was synthesised.  No pattern
# contains them, and no score is made of them and others together.
ALONE = ("probe", "provenance")

# Names that stand for lists of features; which belong together was chosen inside training folds (docs/choices.md).
_FAST = (
    "spectrum_shape", "angular_spectrum", "upsampling_peaks", "npr_statistics", "cross_channel_residual_correlation",
    "local_binary_patterns",
)  # fmt: skip
_STANDARD = (*_FAST, "radial_spectrum", "srm_statistics")
_FULL = (  # srm_cooccurrence holds half the columns of residual_cooccurrence, which is therefore not in it
    *_STANDARD, "cross_difference_harmonics", "cross_difference_harmonics_16", "residual_autocorrelation",
    "block_dct_statistics", "log_dct_profile", "benford_divergence", "npr_statistics_x4", "npr_statistics_x8",
    "gradient_statistics", "local_correlation", "bit_plane_statistics", "patch_residual_statistics",
    "wavelet_statistics", "srm_cooccurrence", "chroma_residual_cooccurrence", "median_residual_statistics",
    "gaussian_residual_statistics", "wiener_residual_statistics", "wavelet_residual_statistics", "noise_level",
    "texture_contrast", "cooccurrence", "cross_band_cooccurrence", "saturation_statistics", "colour_correlation",
)  # fmt: skip

# No probe is in any preset; `provenance` is all of its family, and that in no other.
PRESETS: dict[str, tuple[str, ...]] = {
    "fast": _FAST,
    "standard": _STANDARD,
    "full": _FULL,
    "provenance": (
        "exif_facts", "jpeg_quality_tables", "double_jpeg_grid", "jpeg_ghosts", "error_level_analysis",
        "cfa_periodicity",
    ),
}  # fmt: skip


def compute(entry: Entry, batch: Batch) -> np.ndarray:
    """Return the feature's columns for every image of a batch: (B, D) float32 on NumPy.

    Maps come from `signal`, so each is computed once for all features of the batch.  Raises ParameterError where a
    (third-party) feature returns another shape or dtype than it declares.
    """
    expected = (len(batch), len(_columns(entry)))
    if not len(batch):
        return np.empty(expected, np.float32)
    values = asnumpy(per_image(entry, *(signal(batch, name) for name in entry.reads)))
    if values.shape != expected or values.dtype != np.float32:
        raise ParameterError(
            f"feature '{entry.name}' returned {values.shape} {values.dtype} where {expected} float32 is declared: "
            "correct its columns or its return value"
        )
    return values


def column_names(entry: Entry) -> tuple[str, ...]:
    """Return the feature's column names, each of the form `feature:column`."""
    return tuple(f"{entry.name}:{column}" for column in _columns(entry))


def preset(name: str) -> tuple[Entry, ...]:
    """Return the features of a preset; raises UnknownName with the nearest known preset."""
    if name not in PRESETS:
        raise UnknownName(f"no preset '{name}'{nearest(name, PRESETS)} ({', '.join(PRESETS)})")
    return tuple(feature.get(member) for member in PRESETS[name])


def select_features(names: str | Sequence[str]) -> tuple[Entry, ...]:
    """Return the features named by presets, names and shell patterns, in a list or separated by commas, each once.

    The order is that of registration, so the same choice always makes the same table.  A pattern matches no probe,
    no feature of provenance and none that needs weights: these are named in full, or, all of provenance, by the
    preset of that name.
    Raises UnknownName for a part that matches nothing.
    """
    if not isinstance(names, str) and not (isinstance(names, Sequence) and all(isinstance(n, str) for n in names)):
        raise ParameterError(f"features is a text or a list of texts, got {names!r}; such as 'standard' or ['fast']")
    text = names if isinstance(names, str) else ",".join(names)
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise ParameterError(f"no feature is named; give presets ({', '.join(PRESETS)}), names or patterns")
    chosen: set[str] = set()
    for part in parts:
        if part in PRESETS:
            chosen.update(PRESETS[part])
        elif part in feature:
            chosen.add(part)
        else:
            found = [entry.name for entry in feature.select(*_known(part)) if not _by_name_alone(entry)]
            if not found:
                raise UnknownName(
                    f"'{part}' matches only probes, features of file history or features that need weights, which no "
                    "pattern chooses; name them in full, or all of file history by provenance"
                )
            chosen.update(found)
    return tuple(entry for entry in feature if entry.name in chosen)


def _by_name_alone(entry: Entry) -> bool:
    return entry.family in ALONE or any("weights" in read.meta for read in _maps_below(entry))


def require_native(entries: Sequence[Entry], *conditions: str) -> None:
    """Raise ParameterError where features of provenance would be computed under a condition other than native.

    Every other condition cuts the image off its grid and stores it anew, so that it has the history of the condition.
    """
    names = [entry.name for entry in entries if entry.family == "provenance"]
    others = [name for name in conditions if name != "native"]
    if names and others:
        raise ParameterError(
            f"{', '.join(names)}: features of file history are for condition native alone, not {', '.join(others)}; "
            "take native, or leave them out"
        )


def code_of(entry: Entry) -> str:
    """Return 16 hex digits that change with the code or settings of the feature or of any map it reads.

    The whole room `forensics` counts as code of every feature: maps share kernels and tables, and a row that is
    computed once too often is better than one that is read from another version.
    """
    parts = [f"{entry.name} {entry.code} {entry.reads} {dict(entry.settings)}", _forensics_digest()]
    for read in _maps_below(entry):
        parts.append(f"{read.name} {read.code} {read.reads} {dict(read.settings)}")
        if weights := read.meta.get("weights"):  # a map that needs a file says which one it would read now
            parts.append(weights(**read.settings))
    return hashlib.blake2b("\n".join(sorted(parts)).encode(), digest_size=8).hexdigest()


def _maps_below(entry: Entry) -> tuple[Entry, ...]:
    """Return every map that a feature reads, and what these read."""
    waiting, found = list(entry.reads), dict[str, Entry]()
    while waiting:
        name = waiting.pop()
        if name not in found and name not in GIVEN:
            found[name] = signal_map.get(name)
            waiting += found[name].reads
    return tuple(found.values())


@functools.cache
def _forensics_digest() -> str:
    room = Path(forensics.__file__).parent
    return source_digest(*(str(file) for kind in ("*.py", "*.cu") for file in sorted(room.rglob(kind))))


def _columns(entry: Entry) -> tuple[str, ...]:
    columns: Any = entry.meta["columns"]
    return tuple(columns(**entry.settings) if callable(columns) else columns)


def _known(part: str) -> tuple[str, ...]:
    """Return the pattern, or raise UnknownName that suggests presets as well as features for a plain name."""
    if not any(sign in part for sign in "*?[") and (hint := nearest(part, (*PRESETS, *feature.names()))):
        raise UnknownName(f"no feature or preset '{part}'{hint} (fdetect list features)")
    return (part,)
