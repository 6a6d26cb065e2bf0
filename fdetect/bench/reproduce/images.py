"""Figures that rest on images: a detector of the benchmark, or a checkpoint shown pictures as its authors show them.

TrainingFree   bench on the tested pictures, that detector alone, native                  -> scores
Checkpoint     the engine, one look at each tested picture in the published geometry     -> a table of scores
               bench on that table, so that audit, report and thresholds are those of any run
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fdetect.backend import torch_device
from fdetect.bench.contenders import training_free
from fdetect.bench.data.inputs import root_of
from fdetect.bench.layouts import read_manifest
from fdetect.bench.protocols import samples_of
from fdetect.bench.reproduce.measured import Lacking, Measured, judged_rows, measured
from fdetect.bench.reproduce.published import Checkpoint, Reproduction, TrainingFree
from fdetect.bench.run import Bench, bench
from fdetect.bench.running import Running
from fdetect.bench.scores.given import read_score_table
from fdetect.config import (
    ConditionsConfig,
    DataConfig,
    DetectorsConfig,
    FeaturesConfig,
    HeadsConfig,
    RunConfig,
    fingerprint,
)
from fdetect.decide import logistic
from fdetect.engine import Store
from fdetect.errors import DataError, ParameterError, WeightsError
from fdetect.files import write_atomic
from fdetect.images import Geometry
from fdetect.perturb import MIN_CROP
from fdetect.rigid import prepare
from fdetect.rigid.pretrained import Pretrained
from fdetect.splits import join_same_content
from fdetect.types import Table

__all__ = ["Request", "by_checkpoint", "by_detector", "manifest_of"]


@dataclass(frozen=True)
class Request:
    """Where the data are, and settings that change no figure.

    encoder, weights  where these lie, if not where their name finds them
    engine            of `fdetect.bench.running.Running`: workers, time_limit, backend, progress
    steps             of a training, in place of the authors' budget; 0: theirs
    """

    data: str
    layout: str = "auto"
    root: str = ""
    encoder: str = ""
    weights: str = ""
    out: Path | None = None
    seed: int = 0
    steps: int = 0
    store: Store | None = None
    engine: Mapping[str, Any] | None = None

    @property
    def running(self) -> Running:
        """Settings of the engine."""
        return Running.of({"store": self.store, **(self.engine or {})})


def manifest_of(published: Reproduction, request: Request) -> Table:
    """Read the data; raises Lacking where there are none, DataError where they cannot be read."""
    if not Path(request.data).exists():
        raise Lacking(f"{request.data}: no such file or folder", f"it should hold {published.data.what}, from "
                      f"{published.data.source}")  # fmt: skip
    return read_manifest(request.data, layout=request.layout, root=request.root or None)


def by_detector(published: Reproduction, way: TrainingFree, request: Request) -> Measured:
    """Measure a training-free detector on the tested pictures.

    Raises WeightsError, with its fix, before the data are read; Lacking where they are absent, DataError where they
    hold no tested image.
    """
    detectors = DetectorsConfig((way.detector,), encoder=request.encoder)
    config = _config(request, DataConfig(request.data, request.layout, request.root), detectors)
    prepared, not_run = training_free(config, backend=request.running.backend)
    if not_run:
        raise WeightsError(not_run[0].reason, not_run[0].fix)
    if prepared[0].instance.references:
        raise ParameterError(f"{way.detector} compares with reference images, which no trial here has")
    manifest = manifest_of(published, request)
    shown, trials = _tested(manifest, judged_rows(manifest, published.data))
    if aside := len(manifest) - len(shown):
        paths = shown.column("path").to_pylist()
        home = _store(request).folder / "reproduce" / fingerprint(way.detector, root_of(manifest), paths)
        config = replace(config, data=_listed(shown, home))
    done = _bench(config, shown, request)
    cards = tuple(done.result.header["weights"].get(way.detector, ()))
    return replace(_judged(published, shown, trials, done.scores, done, cards, request), aside=aside)


def by_checkpoint(
    published: Reproduction, way: Checkpoint, request: Request, *, name: str, manifest: Table | None = None
) -> Measured:
    """Measure a checkpoint: every tested picture is looked at once, in the published geometry.

    Raises WeightsError, with its fix, before the data are read; Lacking where they are absent, DataError where they
    hold no tested image.
    """
    weights = request.weights or way.weights
    settings = {"clip": request.encoder} if request.encoder else {}
    (task,) = prepare(_Shown(weights=weights, to=way.geometry, **settings),
                      device=torch_device(request.running.backend))  # fmt: skip
    manifest = manifest_of(published, request) if manifest is None else manifest
    shown, trials = _tested(manifest, judged_rows(manifest, published.data))
    extraction = request.running.run(shown, [task], "native", MIN_CROP, request.seed)
    table = extraction.tables["native", task.name]
    score = table.values[:, 0].astype(np.float64)
    if not np.isfinite(score).any():
        first = table.failures[0]
        raise DataError(f"every image failed; the first, {first.path}: {first.stage}: {first.reason}")
    home = _store(request).folder / "reproduce" / fingerprint(task.name, task.version, extraction.ids) / name
    data, scored = _listed(shown, home), home / f"{name}.parquet"
    rows = pa.table({"path": list(table.paths), "score": score, "probability": logistic(score)})
    write_atomic(scored, lambda path: pq.write_table(rows, path))
    done = _bench(_config(request, data, DetectorsConfig((), scores=(str(scored),))), shown, request)
    cards = tuple({**asdict(card), "source": Path(card.source).name} for card in task.space.cards)
    for column in ("label", "generator", "real_source"):
        rows = rows.append_column(column, shown.column(column))
    group = join_same_content(samples_of(shown).group, extraction.ids)
    scores = read_score_table(scored, rows.append_column("group", pa.array(group.tolist(), pa.string())))
    found = _judged(published, shown, trials, scores, done, cards, request)
    unlike = way.unlike(task.space.card)
    reasons = (unlike, *found.reasons) if unlike else found.reasons
    return replace(found, reasons=reasons, aside=len(manifest) - len(shown))


@dataclass(frozen=True)
class _Shown(Pretrained):
    """A detector that others trained, shown pictures in a geometry of choice."""

    to: Geometry = Geometry()  # noqa: RUF009 (frozen)

    def geometry(self, space: Any, crop: int) -> Geometry:
        return self.to


def _tested(manifest: Table, trials: Mapping[str, np.ndarray]) -> tuple[Table, dict[str, np.ndarray]]:
    """Return the images that are in a trial, and the trials by the rows of these."""
    used = np.unique(np.concatenate(list(trials.values())))
    return manifest.take(used), {trial: np.searchsorted(used, rows) for trial, rows in trials.items()}


def _listed(shown: Table, home: Path) -> DataConfig:
    """Write a manifest of a part of the data, so that a run is on that part."""
    listed = home / "manifest.parquet"
    write_atomic(listed, lambda path: pq.write_table(shown.replace_schema_metadata(None), path))
    return DataConfig(str(listed), "manifest", root_of(shown))


def _config(request: Request, data: DataConfig, detectors: DetectorsConfig) -> RunConfig:
    return RunConfig(
        data=data,
        conditions=ConditionsConfig(("native",), crop=MIN_CROP),  # no figure here crops, and small images count too
        features=FeaturesConfig(()),
        heads=HeadsConfig((), (), (), ()),
        detectors=detectors,
        seed=request.seed,
    )


def _bench(config: RunConfig, manifest: Table, request: Request) -> Bench:
    generators = samples_of(manifest).generators
    if len(generators) == 1:
        config = replace(config, protocol=replace(config.protocol, name="train_on", train=generators))
    running = request.running
    return bench(config, out=request.out, store=_store(request), workers=running.workers,
                 time_limit=running.time_limit, backend=running.backend, progress=running.progress)  # fmt: skip


def _judged(
    published: Reproduction, manifest: Table, trials: Mapping[str, np.ndarray], scores: pa.Table, done: Bench,
    cards: tuple[Mapping[str, Any], ...], request: Request,
) -> Measured:  # fmt: skip
    return measured(published, manifest, trials, scores, networks=cards, failures=done.result.failures,
                    folder=done.folder, metrics=RunConfig().metrics, seed=request.seed)  # fmt: skip


def _store(request: Request) -> Store:
    return request.store or Store()
