"""`fit` on photographs alone: each against its round trips through autoencoders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from fdetect import perturb
from fdetect.bench.both_classes import need_usable
from fdetect.bench.data.inputs import Data, any_images, labels_or_real, root_of
from fdetect.bench.running import Running
from fdetect.bench.steps import table_of
from fdetect.bench.tiled import calibrated_on_tiles, check_tiles, refuse_whole
from fdetect.bench.training.aligned import TrainingSet, training_set
from fdetect.bench.training.cross_validation import LabelledRows
from fdetect.bench.training.fit_parts import (
    check_shares,
    columns_of,
    data_of,
    learnt_detector,
    refuse_reserved,
    set_apart,
)
from fdetect.bench.training.head_fit import asked_of
from fdetect.bench.training.pair_sources import SHIPPED_WORD, find_sources
from fdetect.bench.training.pairing import Halves
from fdetect.classifiers.saved import FittedDetector
from fdetect.classifiers.seen import Seen
from fdetect.config import AlignedConfig
from fdetect.errors import DataError, ParameterError
from fdetect.types import FAKE, REAL, FeatureTable, Table

__all__ = ["fit_aligned"]


def fit_aligned(
    data: Data,
    *,
    aligned: AlignedConfig | None = None,
    head: str = "logreg",
    features: str | Sequence[str] = "standard",
    condition: str = "matched",
    crop: int = 224,
    calibration: float = 0.25,
    search: bool = False,
    balance: str = "",
    calibrate: str = "none",
    folds: int = 3,
    tiles: str = "",
    seed: int = 0,
    **engine: Any,
) -> FittedDetector:
    """Fit a head on photographs against their round trips through autoencoders, and set its thresholds.

    data     photographs; without any labels, all of it is taken as real, which `notice` says.  Fakes (label 1) are
             used only where `aligned.generated` names a share of them
    aligned  which autoencoders make the second halves; by default all that come with fdetect

    Thresholds are set on photographs that make no pair.  The other settings are those of `fit`: an autoencoder stands
    for a generator, in the search, the weights and the cross-validation.
    Raises DataError with fewer than two photographs, or where no pair can be used; WeightsError where an autoencoder is
    absent; ParameterError for more than one share, for a condition that launders itself, and for
    columns of networks.
    """
    check_shares(folds=folds, calibration=calibration)
    check_tiles(tiles, calibrate)
    config = aligned or AlignedConfig(autoencoders=(SHIPPED_WORD,))
    if len(config.generated) != 1:
        raise ParameterError(f"a fit takes one share of generated images, got {len(config.generated)}")
    running, manifest, (share,) = Running.of(engine), any_images(data), config.generated
    asked = asked_of(head, search=search, balance=balance, calibrate=calibrate, seed=seed)
    columns = columns_of(features, condition, crop, running)
    asked = asked.on(columns)
    if tiles:
        refuse_whole(columns.names)
    if columns.networks:
        raise ParameterError(f"{', '.join(columns.networks)}: columns of networks are not computed of aligned pairs; "
                             "take features, or fit on labelled images")  # fmt: skip
    if perturb.condition(condition).launder:
        raise ParameterError(f"condition {condition}: one half of each pair is laundered and the other is not; "
                             "give the condition without launder_NAME")  # fmt: skip
    sources = find_sources(config.autoencoders or (SHIPPED_WORD,))
    label = labels_or_real(manifest, running.notice)
    wanted = (label == REAL) | ((label == FAKE) & (share > 0))
    manifest, label = manifest.filter(pa.array(wanted)), label[wanted]
    refuse_reserved(np.array(manifest.column("generator").to_pylist(), object)[label == FAKE])
    table = table_of(manifest, columns, condition=condition, seed=seed, running=running)
    reals = np.flatnonzero(label == REAL)
    if len({table.ids[k] for k in reals}) < 2:
        raise DataError("aligned training needs at least two different photographs; check the labels of the data")
    need_usable(table, label, condition=condition, classes=(REAL,))
    kept, once, group = set_apart(manifest, table.ids, reals, share=calibration, seed=seed)
    photographs, fakes = (np.flatnonzero(kept & (label == value)) for value in (REAL, FAKE))
    photographs = photographs[np.sort(np.unique(np.array(table.ids)[photographs], return_index=True)[1])]
    knowing = [one.name for one in sources if one.contents & {table.ids[k] for k in once}]
    sources = tuple(one for one in sources if one.name not in knowing)
    if not sources:
        raise DataError(f"every autoencoder was trained on photographs that set the thresholds: {', '.join(knowing)}")
    if knowing and running.notice:
        running.notice(f"{', '.join(knowing)}: trained on photographs that set the thresholds, and left out")
    halves = Halves.compute(
        config, sources, manifest.column("path").to_pylist(), photographs, fakes, columns.entries, (condition,),
        crop=crop, seed=seed, root=root_of(manifest), **running.for_engine(),
    )  # fmt: skip
    pairs = halves.pairs(columns.entries)
    pristine, laundered, source = pairs.of(condition, [one.name for one in sources])
    generated, rows_of = pairs.of_generated(condition)
    made = training_set(pristine, laundered, generated, share=share, seed=seed)
    failures = halves.failures({failure.path for failure in table.failures})
    running.tell(halves.extraction, failures)
    photograph = np.tile(pairs.rows, len(pristine) // max(len(pairs.rows), 1))  # of each pair
    rows = _rows_of(made, manifest, table, group, photograph, source, rows_of)
    record: dict[str, Any] = {
        "data": data_of(manifest, table.ids, label),
        "aligned": {"autoencoders": [one.name for one in sources], "draws": config.draws, "generated": share,
                    "n_photographs": len(photographs)},
    }  # fmt: skip
    fitted = learnt_detector(
        asked, rows, rows, columns, table.values[once], record, condition=condition, seed=seed, folds=folds,
        share=calibration, running=running, about=table.about,
        n_failed=len(table.failures) + len(failures), n_fakes_unused=int((~kept & (label == FAKE)).sum()),
    )  # fmt: skip
    scored = np.isfinite(fitted.head.score(table.values[once]))  # others set no threshold
    fitted = replace(fitted, seen=Seen.of(rows.at(asked.usable(rows)).ids, [table.ids[k] for k in once[scored]]))
    return calibrated_on_tiles(fitted, manifest.take(once), tiles, running) if tiles else fitted


def _rows_of(
    made: TrainingSet, manifest: Table, table: FeatureTable, group: np.ndarray, photograph: np.ndarray,
    source: np.ndarray, generated: np.ndarray,
) -> LabelledRows:  # fmt: skip
    """Return the pairs as rows; a round trip is a fake of its autoencoder, in its photograph's group."""
    names, of_reals = (np.array(manifest.column(name).to_pylist(), object) for name in ("generator", "real_source"))
    of_pairs, others = photograph[made.pairs], generated[made.generated]
    row = np.concatenate([of_pairs, of_pairs, others]).astype(np.int64)
    n = len(of_pairs)
    makers = np.full(len(row), "", object)
    makers[n : 2 * n] = [f"launder_{name}" for name in source[made.pairs]]
    makers[2 * n :] = [name or "(unnamed)" for name in names[others]]
    cameras = np.where(np.arange(len(row)) < n, of_reals[row], "").astype(object)
    ids = [table.ids[k] for k in row]
    return LabelledRows(table.columns, made.values, made.label, makers, cameras, group[row], ids)
