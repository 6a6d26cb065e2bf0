"""`score`: a detector applied to images, or a trained head to a table of features; larger = more likely generated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fdetect.bench.contenders import configured, tasks_of
from fdetect.bench.data.inputs import Data, any_images
from fdetect.bench.running import Running
from fdetect.bench.same_table import refuse_other
from fdetect.bench.training.columns import Columns
from fdetect.classifiers.branches import branch_of
from fdetect.classifiers.calibrated import CalibratedDetector, judge
from fdetect.classifiers.fused_head import FusedHead
from fdetect.classifiers.mean_head import MeanHead
from fdetect.classifiers.saved import FittedDetector
from fdetect.classifiers.seen import known
from fdetect.classifiers.tiles import TILES
from fdetect.decide import Calibration
from fdetect.draws import drawn_names
from fdetect.errors import ParameterError
from fdetect.features.read import read_features
from fdetect.types import Failure, FeatureTable, Scores, Table

__all__ = ["Scorer", "columns_of_model", "feature_table", "score", "score_table"]

IN_BANK = "a reference image itself: its distance to itself is 0"
NO_BRANCH = "its draws or tiles have no branch in common, so that no thresholds are those of their score"

Scorer = FittedDetector | CalibratedDetector | str  # a fitted detector of either kind, or a training-free one's name


def score(
    data: Data | FeatureTable,
    scorer: Scorer,
    *,
    condition: str = "",
    encoder: str = "",
    autoencoder: str = "",
    network: str = "",
    crop: int = 224,
    seed: int = 0,
    **engine: Any,
) -> Scores:
    """Score every image with a fitted detector, or with a training-free one by name: larger = more likely generated.

    A fitted detector is used at the crop, seed and (unless another is named) condition of its fitting.  A trained head
    also takes a table of features, as `extract` returns it or wrote it to Parquet, and needs no image then.  `encoder`,
    `autoencoder` and `network` say where networks find their weights; those of a fitted detector must be the same.
    A fused detector does without a branch whose weights are absent, which `notice` says, and without one that an image
    has no columns of; its `branches` say what each score rests on.
    Raises ParameterError if a feature changed since it was fitted, and for a detector by name that needs reference
    images; WeightsError where weights are absent or others than those of the fit; DataError for a table whose columns
    or settings are not the model's, naming the first difference.
    """
    running = Running.of(engine)
    if (table := feature_table(data)) is not None and isinstance(scorer, FittedDetector):
        return _score_table_of_features(table, _place(data), scorer, condition, running)
    if isinstance(data, FeatureTable):
        raise ParameterError("a training-free detector looks at images, and a table of features is given")
    manifest = any_images(data)
    if isinstance(scorer, FittedDetector):
        use = _head(scorer, condition=condition, encoder=encoder, network=network, running=running)
    elif isinstance(scorer, CalibratedDetector):
        use = _calibrated(scorer, condition=condition, encoder=encoder, autoencoder=autoencoder,
                          backend=running.backend)  # fmt: skip
    else:
        use = _by_name(scorer, condition=condition, encoder=encoder, autoencoder=autoencoder, crop=crop, seed=seed,
                       backend=running.backend)  # fmt: skip
    _notice_condition(scorer, use.condition, running)
    extraction = running.run(manifest, use.tasks, use.condition, use.crop, use.seed, draws=use.draws)
    scores: list[np.ndarray] = []
    failures: list[Failure] = []
    branches: list[str] = []
    names = [task.name for task in use.tasks]
    of_draws = (extraction.blocks(name, names) for name in drawn_names(use.condition, use.draws))
    for blocks in zip(*of_draws, strict=True):
        values = np.concatenate([block.values for block in blocks], axis=1)
        scores.append(use.of_values(values))
        branches.extend(use.branches(values))
        failures.extend(dict.fromkeys(failure for block in blocks for failure in block.failures))
    n_known = int(scorer.in_bank(extraction.ids).sum()) if isinstance(scorer, CalibratedDetector) else 0
    if n_known and running.notice:
        running.notice(f"{n_known} of the images are references of {use.name} and get no p-value")
    running.tell(extraction, failures)
    values = np.concatenate(scores)
    return Scores(extraction.ids, extraction.paths, use.name, values, use.settings,
                  **_parted(values, extraction.paths, failures), branches=tuple(branches))  # fmt: skip


def score_table(scores: Scores, manifest: Table | None, scorer: Scorer, condition: str) -> pa.Table:
    """Return scores as a table with labels (where known), p-value, threshold, decision, status and reason.

    An image that is in the detector's bank has a score and no p-value: to itself its distance is 0.  Scores of a fused
    detector are held to the thresholds of the branches that they rest on, and scores of tiles to those that were set on
    tiles alike: others get neither p-value nor decision, and a score whose draws share no branch has the reason why.
    `seen` marks images that the detector was fitted on, which `evaluate` sets apart; null where it does not say.
    """
    n = len(scores.ids)
    values = np.where(np.isfinite(scores.values), scores.values, np.nan)
    reason = {one.path: f"{one.stage}: {one.reason}" for one in (*scores.partial, *scores.failures)}
    columns: dict[str, Any] = {"id": scores.ids, "path": scores.paths}
    for name in ("label", "generator", "real_source", "group"):
        there = manifest is not None and name in manifest.column_names
        unknown = pa.nulls(n, pa.int64() if name == "label" else pa.string())
        columns[name] = manifest.column(name) if there else unknown  # type: ignore[union-attr]
    probability, p_value, threshold = np.full(n, np.nan), np.full(n, np.nan), np.full(n, None, object)
    decision = np.full(n, "undecided", dtype=object)
    in_bank = scorer.in_bank(scores.ids) if isinstance(scorer, CalibratedDetector) else np.zeros(n, np.bool_)
    for calibration, here in _thresholds(scorer, scores):
        if isinstance(scorer, FittedDetector) and _has_probability(scorer, calibration):
            probability[here] = scorer.probability(values[here])
        threshold[here] = calibration.five.value if calibration.five.attainable else None
        here = here & ~in_bank
        p_value[here], decision[here] = calibration.pvalue(values[here]), calibration.decide(values[here])
    reason |= {path: IN_BANK for path, here in zip(scores.paths, in_bank, strict=True) if here}
    for path, branches, value in zip(scores.paths, scores.branches, values, strict=False):
        if not branches and np.isfinite(value):
            reason[path] = "; ".join(filter(None, (NO_BRANCH, reason.get(path))))
    if scores.branches:
        columns["branches"] = list(scores.branches)
    if scores.n_tiles:
        columns["n_tiles"] = list(scores.n_tiles)
    columns |= {
        "seen": _seen(scorer, scores.ids, in_bank),
        "detector": [scores.detector] * n,
        "condition": [condition] * n,
        "score": values,
        "probability": probability,
        "p_value": p_value,
        "threshold": pa.array(threshold.tolist(), pa.float64()),
        "decision": decision.tolist(),
        "status": ["ok" if np.isfinite(value) else "failed" for value in values],
        "reason": [reason.get(path, "") for path in scores.paths],
    }
    return pa.table(columns)


def _seen(scorer: Scorer, ids: Sequence[str], in_bank: np.ndarray) -> pa.Array:
    """Return which images a detector was fitted on; one that is taken by its name was fitted on none."""
    if isinstance(scorer, str):
        return pa.array(in_bank)
    fitted = known(scorer, ids)[0] | in_bank
    return pa.array(fitted, mask=~fitted) if scorer.seen is None else pa.array(fitted)


def _has_probability(scorer: FittedDetector, calibration: Calibration) -> bool:
    """Whether a head states probabilities of scores: of single crops, and calibrated ones of all branches alone."""
    return not scorer.tiles and (scorer.probabilities is None or calibration is scorer.calibration)


def _thresholds(scorer: Scorer, scores: Scores) -> list[tuple[Calibration, np.ndarray]]:
    """Return each calibration that holds for some of the scores, and (N,) bool for which; none holds for no branch."""
    n = len(scores.ids)
    if isinstance(scorer, str):
        return []
    if isinstance(scorer, FittedDetector) and dict(scores.settings).get(TILES, "") != scorer.tiles:
        return []  # a maximum over tiles, say, is no score of a single crop
    if not isinstance(scorer, FittedDetector) or not scores.branches:
        return [(scorer.calibration, np.ones(n, np.bool_))]
    named = np.array(scores.branches, object)
    return [(scorer.thresholds_of(branches), named == branches) for branches in sorted({*scores.branches} - {""})]


def feature_table(data: Any) -> FeatureTable | None:
    """Return the table of features that is given, or that one Parquet file holds; None for anything else."""
    if isinstance(data, FeatureTable):
        return data
    place = _place(data)
    if not place.lower().endswith(".parquet") or not Path(place).is_file():
        return None
    try:
        schema = pq.read_schema(place)
    except (OSError, pa.ArrowException):
        return None  # whoever reads images says what is wrong with it
    ours = b"fdetect.features" in (schema.metadata or {})
    return read_features(place) if ours and any(b"columns" in (one.metadata or {}) for one in schema) else None


@dataclass(frozen=True)
class _Use:
    """A detector made ready: its tasks, and how their columns, those of `draws` side by side, become scores."""

    name: str
    tasks: Sequence[Any]
    of_values: Callable[[np.ndarray], np.ndarray]
    condition: str
    crop: int
    seed: int
    settings: tuple[tuple[str, str], ...] = ()
    draws: int = 1
    branches: Callable[[np.ndarray], Sequence[str]] = lambda _: ()


def columns_of_model(
    scorer: FittedDetector, *, condition: str = "", encoder: str = "", network: str = "", running: Running,
    spare: bool = True,
) -> Columns:  # fmt: skip
    """Return the columns that a fitted head reads, after it was seen that they are computed as at its fit.

    spare  whether the fused detector does without networks whose weights are absent: `notice` says so, once

    Raises ParameterError and WeightsError for what differs from the fit, or is absent and cannot be spared.
    """
    columns = Columns.of(
        scorer.features, condition=condition or scorer.condition, crop=scorer.crop, backend=running.backend,
        encoder=encoder, network=network, of_model=True, spare=spare and isinstance(scorer.head, FusedHead),
    )  # fmt: skip
    columns.check(scorer.codes, scorer.about)
    for name, error in columns.absent.items():
        if running.notice:
            running.notice(f"branch {branch_of(name)} is absent: {error}")
    return columns


def _head(scorer: FittedDetector, *, condition: str, encoder: str, network: str, running: Running) -> _Use:
    columns = columns_of_model(scorer, condition=condition, encoder=encoder, network=network, running=running)
    head, shown, n = scorer.judge, condition or scorer.condition, scorer.draws

    def whole(values: np.ndarray) -> np.ndarray:
        parts = [columns.spread(one, head.columns, scorer.about) for one in np.split(values, n, axis=1)]
        return parts[0] if n == 1 else np.concatenate(parts, axis=1)

    use = _Use(scorer.name, columns.tasks, lambda values: head.score(whole(values)), shown, scorer.crop, scorer.seed,
               draws=n)  # fmt: skip
    if isinstance(scorer.head, FusedHead) and isinstance(head, FusedHead | MeanHead):
        return replace(use, branches=lambda values: head.present(whole(values)))
    return use


def _parted(values: np.ndarray, paths: Sequence[str], failures: Sequence[Failure]) -> dict[str, Any]:
    """Part failures into those of images without a score, and those that cost an image a part of it."""
    scored = {path for path, value in zip(paths, values, strict=True) if np.isfinite(value)}
    return {"failures": tuple(one for one in failures if one.path not in scored),
            "partial": tuple(one for one in failures if one.path in scored)}  # fmt: skip


def _calibrated(scorer: CalibratedDetector, *, condition: str, encoder: str, autoencoder: str, backend: str) -> _Use:
    given = {k: v for k, v in (("encoder", encoder), ("autoencoder", autoencoder)) if v}
    if strange := [k for k in given if not hasattr(scorer.instance, k)]:
        raise ParameterError(f"--{strange[0]}: {scorer.name} takes none; leave it out")
    tasks = tasks_of(replace(scorer.instance, **given), crop=scorer.crop, backend=backend)
    scorer.check(tasks[0].space)
    of_values, shown = partial(scorer.score, tasks), condition or scorer.condition
    return _Use(scorer.name, tasks, of_values, shown, scorer.crop, scorer.seed, _settings(tasks))


def _by_name(name: str, *, condition: str, encoder: str, autoencoder: str, crop: int, seed: int, backend: str) -> _Use:
    (entry,) = configured((name,), encoder=encoder, autoencoder=autoencoder)
    instance = entry()
    if instance.references:
        raise ParameterError(f"{name} compares with reference images; make their bank first: "
                             f"fdetect fit DATA --detector {name} -o my.fdetect")  # fmt: skip
    tasks = tasks_of(instance, crop=crop, backend=backend)
    return _Use(entry.name, tasks, partial(judge, instance, tasks), condition or "native", crop, seed,
                _settings(tasks))  # fmt: skip


def _settings(tasks: Sequence[Any]) -> tuple[tuple[str, str], ...]:
    return tuple((key, str(value)) for key, value in tasks[0].settings.items())


def _score_table_of_features(
    table: FeatureTable, place: str, scorer: FittedDetector, condition: str, running: Running
) -> Scores:
    """Score the rows of a table that holds exactly what the head was fitted on."""
    shown = condition or scorer.condition
    refuse_other(table, place, scorer, shown)
    _notice_condition(scorer, shown, running)
    values, head = scorer.head.score(table.values), scorer.head
    branches = head.present(table.values) if isinstance(head, FusedHead) else ()
    return Scores(table.ids, table.paths, scorer.name, values, (), **_parted(values, table.paths, table.failures),
                  branches=branches)  # fmt: skip


def _notice_condition(scorer: Scorer, shown: str, running: Running) -> None:
    if isinstance(scorer, str) or not running.notice:
        return
    if isinstance(scorer, FittedDetector) and scorer.tiles:
        running.notice(f"the thresholds of {scorer.name} were set on tiles by {scorer.tiles}: no p-value and no "
                       "decision for single crops")  # fmt: skip
    elif shown != scorer.condition:
        running.notice(f"the thresholds of {scorer.name} were set under {scorer.condition}: no promise under {shown}")


def _place(data: Any) -> str:
    """Where one file is given, its name; else how a table without a file is called."""
    if isinstance(data, str | Path):
        return str(data)
    one = list(data) if isinstance(data, list | tuple) else []
    return str(one[0]) if len(one) == 1 and isinstance(one[0], str | Path) else "the table of features"
