"""`fit --adapt`: a fused detector learns new generators, and old and new ones are measured before and after.

Thresholds are set anew, on reals of both data sets that nothing was fitted on: those of the old data are the same reals
as at the fit where the data are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import fdetect
from fdetect.bench.applying import columns_of_model
from fdetect.bench.layouts import read_manifest
from fdetect.bench.running import Running
from fdetect.bench.steps import table_of
from fdetect.bench.training.cross_validation import LabelledRows
from fdetect.bench.training.fit_parts import calibrations, check_folds, data_of, not_known, refuse_reserved, set_apart
from fdetect.bench.training.head_fit import counts
from fdetect.classifiers.adapt import MODES, Adapted, adapt
from fdetect.classifiers.balance import WEIGHTS
from fdetect.classifiers.card import data_record
from fdetect.classifiers.fused import FusedRows
from fdetect.classifiers.fused_head import FusedFit, FusedHead
from fdetect.classifiers.model_folder import plain
from fdetect.classifiers.saved import FittedDetector
from fdetect.classifiers.seen import Seen
from fdetect.errors import DataError, ParameterError
from fdetect.registry import nearest
from fdetect.splits import join_same_content
from fdetect.types import FAKE, REAL, FeatureTable, Table

__all__ = ["AdaptedModel", "adapt_model"]


@dataclass(frozen=True, eq=False)
class AdaptedModel:
    """The new detector, and what adapting did to each generator."""

    detector: FittedDetector
    adapted: Adapted


def adapt_model(
    model: FittedDetector, new: str | Path | Table, old: str | Path | Table, *, mode: str = "head", folds: int = 3,
    encoder: str = "", network: str = "", **engine: Any,
) -> AdaptedModel:  # fmt: skip
    """Adapt a fused detector to the generators of `new`, of which there may be few images; old ones are measured too.

    new    labelled images: fakes of generators that are not in `old`, with reals or without
    old    those that the detector was fitted on, or others like them
    mode   "head": last layers and gates move, on new fakes and all reals; "mix": all is fitted anew on both
    folds  in which generators are measured before and after, 2 or more; 0 for none

    Columns, condition, crop, seed and the settings of branches are those of the detector; `encoder` and `network` say
    where its weights are, in place of where they were at the fit.  Further settings are those of `Running`.
    Raises ParameterError for a detector that is not fused, another mode and a generator in both; DataError where `old`
    lacks a class, `new` has fakes of fewer than two groups, or no real is left for thresholds that no network knows;
    WeightsError where a network of its columns is absent.
    """
    check_folds(folds)
    if mode not in MODES:
        raise ParameterError(f"--adapt-mode: no mode '{mode}'{nearest(mode, MODES)} ({', '.join(MODES)})")
    if not isinstance(model.head, FusedHead):
        raise ParameterError(f"--adapt: {model.name} is no fused detector, and no other can be adapted; fit one with "
                             "--head fused, or fit this head again on all images")  # fmt: skip
    if model.draws > 1:
        raise ParameterError(f"--adapt: {model.name} was fitted on {model.draws} draws of each image, and adapting "
                             "knows single ones; fit it with --draws 1")  # fmt: skip
    known = _record_of(model)
    running = Running.of(engine)
    columns = columns_of_model(model, encoder=encoder, network=network, running=running, spare=False)
    manifests = [one if isinstance(one, pa.Table) else read_manifest(one) for one in (old, new)]
    labels = [np.array(one.column("label").to_pylist()) for one in manifests]
    _check(*labels)
    for manifest, label in zip(manifests, labels, strict=True):
        refuse_reserved(np.array(manifest.column("generator").to_pylist(), object)[label == FAKE])
    tables = [table_of(one, columns, condition=model.condition, seed=model.seed, running=running) for one in manifests]
    same = data_record(tables[0].ids, labels[0])["sha256"] == known.sha256
    if running.notice and not same:
        running.notice("the old data are not the images that the detector was fitted on: if it knows some of their "
                       "reals, the thresholds promise too much")  # fmt: skip
    rows, is_old = _joined(manifests, tables, labels), np.arange(sum(map(len, labels))) < len(labels[0])
    kept, once = _apart(manifests, rows, is_old, share=known.share, seed=model.seed)
    fresh = columns.fresh(rows.ids, running.notice)
    once = not_known(once, fresh)
    fit = FusedFit(model.head.fitted.columns, known.weights, model.seed)
    parts = [_fused_rows(fit, rows, fresh, kept & side) for side in (~is_old, is_old)]
    found = adapt(model.head.fitted, *parts, mode=mode, folds=folds, seed=model.seed)
    head = FusedHead(model.head.columns, found.fitted)
    calibration, subsets = calibrations(head, rows.values[once])
    mine = rows.at(kept)
    usable = fit.usable(rows.columns, rows.values)
    ids = np.array(rows.ids)
    seen = Seen.of(ids[(kept | ~fresh) & usable], ids[once[usable[once]]]).and_fitted(model.seen)
    whole = model.seen is not None or (same and "adapted" not in model.record)  # else a part would pass for all
    record = {
        **model.record, "data": data_of(manifests[0], tables[0].ids, labels[0]), "search": None,
        "adapted": {"mode": mode, "data": data_of(manifests[1], tables[1].ids, labels[1]),
                    "changes": [asdict(one) for one in found.changes], "folds": folds},
        "thresholds": {"n_real": len(calibration.scores),
                       "n_fakes_unused": int((~kept & (rows.label == FAKE)).sum())},
        "probabilities": None,
        "cross_validated": {"not_measured": "the detector was adapted: see what that did to each generator"},
    }  # fmt: skip
    if running.notice and (model.tiles or model.probabilities):
        running.notice("the adapted detector scores one crop of each image, and its probabilities are what its "
                       "log-odds state: neither tiles nor a calibration are carried over")  # fmt: skip
    made = replace(
        model, head=head, calibration=calibration, subsets=subsets, tiles="", calibrate="none", probabilities=None,
        trained_on=counts(mine, usable[kept], fakes=True), n_failed=int((~usable).sum()), version=fdetect.__version__,
        record=plain(record), seen=seen if whole else None,
    )  # fmt: skip
    return AdaptedModel(made, found)


def _check(old: np.ndarray, new: np.ndarray) -> None:
    """Raise DataError for data that lack a class that is needed, before the work."""
    for label, word in ((REAL, "real"), (FAKE, "generated")):
        if not (old == label).any():
            raise DataError(f"--with: the old data have no {word} image; give those that the detector was fitted on")
    if not (new == FAKE).any():
        raise DataError("the new data have no generated image to adapt to; check their labels")


@dataclass(frozen=True)
class _Record:
    """What a card says of the fit that adapting needs: hash of the data, weights of rows, share of reals set apart."""

    sha256: str
    weights: str
    share: float


def _record_of(model: FittedDetector) -> _Record:
    """Read them; raises DataError for a card that does not state them."""
    data, weights, share = (model.record.get(name) for name in ("data", "weights", "calibration_share"))
    sha256 = data.get("sha256") if isinstance(data, Mapping) else None
    if not (isinstance(sha256, str) and str(weights) in WEIGHTS and isinstance(share, float) and 0 < share < 1):
        raise DataError(f"--adapt: the card of {model.name} does not say which images it was fitted on, by which "
                        "weights, and which share of the reals set its thresholds; fit it again")  # fmt: skip
    return _Record(sha256, str(weights), share)


def _apart(
    manifests: Sequence[Table], rows: LabelledRows, is_old: np.ndarray, *, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Keep reals for thresholds: of the old data those of the fit, and as large a share of new ones, drawn apart.

    New reals in a group of old rows set none, as the detector may have been fitted on that group.

    rows  old ones and behind them new ones, by groups of both

    Returns which rows may be fitted on, (N,) bool, and the rows of the reals that set thresholds: of copies one counts.
    """
    ids, n_old = np.array(rows.ids), int(is_old.sum())
    real = rows.label == REAL
    alone = real & ~is_old & ~np.isin(rows.group, rows.group[is_old])
    _, of_old, _ = set_apart(manifests[0], ids[is_old], np.flatnonzero(real[is_old]), share=share, seed=seed)
    _, of_new, _ = set_apart(manifests[1], ids[~is_old], np.flatnonzero(alone[n_old:]), share=share, seed=seed)
    once = np.concatenate([of_old, n_old + of_new])
    return ~np.isin(rows.group, rows.group[once]), once


def _joined(
    manifests: Sequence[Table], tables: Sequence[FeatureTable], labels: Sequence[np.ndarray]
) -> LabelledRows:
    """Return the rows of the old data, and behind them the new ones; equal paths of both are no one image."""
    generator, source = (np.array([value for one in manifests for value in one.column(name).to_pylist()], object)
                         for name in ("generator", "real_source"))  # fmt: skip
    values, label = np.concatenate([one.values for one in tables]), np.concatenate(labels)
    ids = [id for one in tables for id in one.ids]
    groups = [row["group"] or f"{k}/{row['path']}" for k, one in enumerate(manifests)
              for row in one.select(["group", "path"]).to_pylist()]  # fmt: skip
    group = join_same_content(np.array(groups, object), ids)
    return LabelledRows(tables[0].columns, values, label, generator, source, group, ids)


def _fused_rows(fit: FusedFit, rows: LabelledRows, fresh: np.ndarray, chosen: np.ndarray) -> FusedRows:
    mine = rows.at(chosen)
    return fit.rows(mine.columns, mine.values, mine.label, group=mine.group, generator=mine.generator,
                    source=mine.source, fresh=fresh[chosen])  # fmt: skip
