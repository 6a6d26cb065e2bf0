"""`fit` for a head: labelled images in, or photographs alone; one fitted detector with its thresholds out.

    fit           real and generated images of the data against each other
    fit_aligned   photographs against their round trips through autoencoders
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import fdetect
from fdetect import classifiers, perturb
from fdetect.bench.aligned import training_set
from fdetect.bench.inputs import Data, any_images, labels_or_real, root_of
from fdetect.bench.layouts import read_manifest
from fdetect.bench.pair_sources import SHIPPED_WORD, find_sources
from fdetect.bench.pairing import Halves
from fdetect.bench.running import Running
from fdetect.bench.steps import extract
from fdetect.classifiers import FittedHead, fit_head
from fdetect.classifiers.saved import FittedDetector
from fdetect.config import AlignedConfig
from fdetect.decide import Calibration
from fdetect.errors import DataError, ParameterError
from fdetect.features import code_of, select_features
from fdetect.features.base import require_native
from fdetect.registry import Entry
from fdetect.splits import hold_out, join_same_content
from fdetect.types import FAKE, REAL, Table

__all__ = ["fit", "fit_aligned"]


def fit(
    data: str | Path | Table,
    *,
    head: str = "logreg",
    features: str | Sequence[str] = "standard",
    condition: str = "matched",
    crop: int = 224,
    calibration: float = 0.25,
    seed: int = 0,
    **engine: Any,
) -> FittedDetector:
    """Fit a head on all images but the calibration reals, and set its thresholds on these.

    Raises DataError where a class is empty or has only failed images, ParameterError where features of file history
    (family provenance) are mixed with others: what they know must not stand in for traces of synthesis.
    """
    manifest = data if isinstance(data, pa.Table) else read_manifest(data)
    chosen, entries = _chosen(head, features, condition)
    label = np.array(manifest.column("label").to_pylist())
    generators = np.array(manifest.column("generator").to_pylist())
    reals = np.flatnonzero(label == REAL)
    if len(reals) < 2 or not (label == FAKE).any():
        raise DataError("fitting needs at least two real images and one fake; check the labels of the data")
    table = extract(manifest, features=features, condition=condition, crop=crop, seed=seed, **engine)
    if len({table.ids[k] for k in reals}) < 2:
        raise DataError("fitting needs at least two real images, and all of these are copies of one")
    rows, once = _set_apart(manifest, table.ids, reals, share=calibration, seed=seed)
    fitted = fit_head(chosen, table.columns, table.values[rows], label[rows])
    used = rows & table.ok
    trained_on = {name: int((generators == name)[used].sum()) for name in sorted(set(generators.tolist()))}
    return _detector(
        fitted, entries, table.values[once], trained_on, condition=condition, crop=crop, seed=seed,
        n_failed=len(table.failures),
    )  # fmt: skip


def fit_aligned(
    data: Data,
    *,
    aligned: AlignedConfig | None = None,
    head: str = "logreg",
    features: str | Sequence[str] = "standard",
    condition: str = "matched",
    crop: int = 224,
    calibration: float = 0.25,
    seed: int = 0,
    **engine: Any,
) -> FittedDetector:
    """Fit a head on photographs against their round trips through autoencoders, and set its thresholds.

    data     photographs; without any labels, all of it is taken as real, which `notice` says.  Fakes (label 1) are
             used only where `aligned.generated` names a share of them
    aligned  which autoencoders make the second halves; by default all that come with fdetect

    Thresholds are set on photographs that make no pair.  Further settings are those of `Running`.
    Raises DataError with fewer than two photographs, or where no pair can be used; WeightsError where an autoencoder is
    absent; ParameterError for more than one share, and for a condition that launders itself.
    """
    config = aligned or AlignedConfig(autoencoders=(SHIPPED_WORD,))
    if len(config.generated) != 1:
        raise ParameterError(f"a fit takes one share of generated images, got {len(config.generated)}")
    running, manifest, (share,) = Running.of(engine), any_images(data), config.generated
    chosen, entries = _chosen(head, features, condition)
    if perturb.condition(condition).launder:
        raise ParameterError(f"condition {condition}: one half of each pair is laundered and the other is not; "
                             "give the condition without launder_NAME")  # fmt: skip
    sources = find_sources(config.autoencoders or (SHIPPED_WORD,))
    label = labels_or_real(manifest, running.notice)
    wanted = (label == REAL) | ((label == FAKE) & (share > 0))
    manifest, label = manifest.filter(pa.array(wanted)), label[wanted]
    table = extract(manifest, features=features, condition=condition, crop=crop, seed=seed, **engine)
    reals = np.flatnonzero(label == REAL)
    if len({table.ids[k] for k in reals}) < 2:
        raise DataError("aligned training needs at least two different photographs; check the labels of the data")
    kept, once = _set_apart(manifest, table.ids, reals, share=calibration, seed=seed)
    photographs, fakes = (np.flatnonzero(kept & (label == value)) for value in (REAL, FAKE))
    photographs = photographs[np.sort(np.unique(np.array(table.ids)[photographs], return_index=True)[1])]
    knowing = [one.name for one in sources if one.contents & {table.ids[k] for k in once}]
    sources = tuple(one for one in sources if one.name not in knowing)
    if not sources:
        raise DataError(f"every autoencoder was trained on photographs that set the thresholds: {', '.join(knowing)}")
    if knowing and running.notice:
        running.notice(f"{', '.join(knowing)}: trained on photographs that set the thresholds, and left out")
    halves = Halves.compute(
        config, sources, manifest.column("path").to_pylist(), photographs, fakes, entries, (condition,), crop=crop,
        seed=seed, root=root_of(manifest), **running.engine(),
    )  # fmt: skip
    pairs = halves.pairs(entries)
    pristine, laundered, source = pairs.of(condition, [one.name for one in sources])
    generated, rows_of = pairs.of_generated(condition)
    made = training_set(pristine, laundered, generated, share=share, seed=seed)
    fitted = fit_head(chosen, table.columns, made.values, made.label)
    names = manifest.column("generator").to_pylist()
    generators = Counter(names[row] or "(unnamed)" for row in rows_of[made.generated])  # "" are the photographs
    laundered_by = Counter(f"launder_{name}" for name in source[made.pairs])
    trained_on = {"": len(made.pairs), **laundered_by, **generators}
    failures = halves.failures({failure.path for failure in table.failures})
    running.tell(halves.extraction, failures)
    return _detector(
        fitted, entries, table.values[once], trained_on, condition=condition, crop=crop, seed=seed,
        n_failed=len(table.failures) + len(failures),
    )  # fmt: skip


def _chosen(head: str, features: str | Sequence[str], condition: str) -> tuple[Entry, tuple[Entry, ...]]:
    """Return the head and its features; a misspelt one is said before hours of work."""
    entries = select_features(features)
    history = [entry.name for entry in entries if entry.family == "provenance"]
    if 0 < len(history) < len(entries):
        raise ParameterError(
            f"{', '.join(history)}: features of file history are never fused with others; fit them by themselves, "
            "or leave them out"
        )
    require_native(entries, condition)
    return classifiers.head.get(head), entries


def _set_apart(
    manifest: Table, ids: Sequence[str], reals: np.ndarray, *, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Keep a share of the reals, by whole groups, for thresholds.

    Returns which rows may be fitted on, (N,) bool, and the rows of the reals that set thresholds: of copies one counts.
    """
    paths, groups, sources = (manifest.column(name).to_pylist() for name in ("path", "group", "real_source"))
    group = join_same_content(  # or a copy under another name would be on both sides
        np.array([g or path for g, path in zip(groups, paths, strict=True)], dtype=object), ids
    )
    held = reals[hold_out(list(group[reals]), [sources[k] for k in reals], share=share, seed=seed)]
    kept = set(group[held])
    once = held[np.unique(np.array(ids)[held], return_index=True)[1]]
    return np.array([name not in kept for name in group]), once


def _detector(
    fitted: FittedHead, entries: Sequence[Entry], calibration: np.ndarray, trained_on: dict[str, int], **about: Any
) -> FittedDetector:
    """Put a fitted head together with the thresholds that (n, D) values of calibration reals give it."""
    return FittedDetector(
        head=fitted,
        features=tuple(entry.name for entry in entries),
        codes={entry.name: code_of(entry) for entry in entries},
        calibration=Calibration.of(fitted.score(calibration)),
        trained_on=trained_on,
        version=fdetect.__version__,
        **about,
    )
