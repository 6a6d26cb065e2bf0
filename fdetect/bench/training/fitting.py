"""`fit` for a head: labelled images in, or photographs alone; one fitted detector with its thresholds out.

    fit           real and generated images of the data against each other
    fit_aligned   photographs against their round trips through autoencoders (aligned_fitting.py)

What both do is in fit_parts.py; how a head comes to be on rows, in head_fit.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fdetect.bench.both_classes import need_usable
from fdetect.bench.layouts import read_manifest
from fdetect.bench.running import Running
from fdetect.bench.steps import tables_of
from fdetect.bench.tiled import calibrated_on_tiles, check_tiles, refuse_whole
from fdetect.bench.training.aligned_fitting import fit_aligned
from fdetect.bench.training.cross_validation import LabelledRows
from fdetect.bench.training.drawn_fit import OnDraws
from fdetect.bench.training.fit_parts import (
    check_draws,
    check_shares,
    columns_of,
    data_of,
    learnt_detector,
    not_known,
    refuse_reserved,
    set_apart,
)
from fdetect.bench.training.head_fit import asked_of
from fdetect.classifiers.saved import FittedDetector
from fdetect.classifiers.seen import Seen
from fdetect.errors import DataError
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
    search: bool = False,
    balance: str = "",
    calibrate: str = "none",
    folds: int = 3,
    tiles: str = "",
    draws: int = 1,
    seed: int = 0,
    **engine: Any,
) -> FittedDetector:
    """Fit a head on all images but the calibration reals, and set its thresholds on these.

    head         with settings where wanted, `logreg:c=0.01`; `fused` for the fused detector, whose branches are made of
                 whatever columns there are (fdetect/classifiers/branches.py)
    features     names, presets, patterns, the embedding of an encoder as `embedding:encoder=dinov2-small`, and a
                 detector network as `network:weights=FOLDER`
    calibration  share of the reals that set the thresholds, by whole groups
    search       choose the head's settings by folds of groups within the training images, and keep what was tried;
                 those behind its name stay
    balance      weights of rows: "none", "generators" or "generators+sources"; "" for that of the head, which is
                 "generators" of the fused detector and "none" of all others
    calibrate    how probabilities are made, on as large a share of both classes that nothing else is fitted on:
                 "platt", "isotonic", "venn_abers"; "none" for the head's own
    folds        of the cross-validation that says what the head is worth, 2 or more; 0 for none
    tiles        "mean", "max" or "attention": thresholds are set on scores of all tiles of each real, for `score` by
                 tiles; the head is fitted and cross-validated on single crops all the same
    draws        of the condition of each image, 1 for one crop: the head is fitted on all of them, and scores,
                 thresholds, probabilities and the cross-validation rest on the mean of an image's scores

    An image that the network of some columns was trained on, as its card says, sets no threshold and tests nothing; it
    trains no head but the fused detector's other branches.  Further settings are those of `Running`.
    Raises DataError where a class is empty, has only failed images, or too few for probabilities; ParameterError for
    values that a head does not take, and where features of file history (family provenance) are mixed with others: what
    they know must not stand in for traces of synthesis; WeightsError where an encoder's weights are absent.
    """
    check_shares(folds=folds, calibration=calibration)
    check_tiles(tiles, calibrate)
    check_draws(draws, tiles)
    running, manifest = Running.of(engine), data if isinstance(data, pa.Table) else read_manifest(data)
    asked = asked_of(head, search=search, balance=balance, calibrate=calibrate, seed=seed)
    columns = columns_of(features, condition, crop, running)
    asked = OnDraws.of(asked.on(columns), draws)
    if tiles:
        refuse_whole(columns.names)
    label = np.array(manifest.column("label").to_pylist())
    reals = np.flatnonzero(label == REAL)
    if len(reals) < 2 or (asked.needs_fakes and not (label == FAKE).any()):
        few = " and one fake" if asked.needs_fakes else ""
        raise DataError(f"fitting needs at least two real images{few}; check the labels of the data")
    makers, sources = (np.array(manifest.column(name).to_pylist(), object) for name in ("generator", "real_source"))
    refuse_reserved(makers[label == FAKE])
    tables = tables_of(manifest, columns, condition=condition, draws=draws, seed=seed, running=running)
    table, values = tables[0], np.concatenate([one.values for one in tables], axis=1)
    need_usable(table, label, condition=condition, classes=(REAL, FAKE) if asked.needs_fakes else (REAL,))
    if len({table.ids[k] for k in reals}) < 2:
        raise DataError("fitting needs at least two real images, and all of these are copies of one")
    kept, once, group = set_apart(manifest, table.ids, reals, share=calibration, seed=seed)
    fresh = columns.fresh(table.ids, running.notice)
    once = not_known(once, fresh)
    rows = LabelledRows(table.columns, values, label, makers, sources, group, table.ids)
    record: dict[str, Any] = {"data": data_of(manifest, table.ids, label)}
    training = rows.at(kept if asked.tells_fresh else kept & fresh)
    usable = asked.usable(rows)
    made = learnt_detector(
        asked, training, rows.at(fresh), columns, values[once], record, condition=condition, seed=seed,
        folds=folds, share=calibration, running=running, about=table.about, n_failed=int((~usable).sum()),
        n_fakes_unused=int((~kept & (label == FAKE)).sum()) if asked.needs_fakes else 0,
    )  # fmt: skip
    fitted = kept | ~fresh  # one that a network was trained on has helped, whether a head was fitted on it or not
    if not (asked.needs_fakes or search or calibrate != "none"):
        fitted &= label == REAL
    ids = np.array(table.ids)
    made = replace(made, seen=Seen.of(ids[fitted & usable], ids[once[usable[once]]]))
    return calibrated_on_tiles(made, manifest.take(once), tiles, running) if tiles else made
