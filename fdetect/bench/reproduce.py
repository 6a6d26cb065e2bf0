"""`reproduce`: run the benchmark as a publication did, and say whether its figure was reached.

    data -> bench (that detector alone, native) -> scores -> all images at once -> figure -> verdict -> evidence

A verdict is `reproduced` where the measurement lies within the margin that was stated beforehand, `not reproduced`
where it does not, and `not comparable` where data or network are not those that the figure rests on.  Only the first
raises the evidence level of the weights, and never of weights for tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fdetect.bench.contenders import training_free
from fdetect.bench.evaluate import OVERALL, cells_of
from fdetect.bench.grid import Grid, interval_text
from fdetect.bench.protocols import samples_of
from fdetect.bench.published import METRICS, Reproduction, reproduction
from fdetect.bench.run import bench, load_data, resolved
from fdetect.config import ConditionsConfig, DataConfig, DetectorsConfig, FeaturesConfig, HeadsConfig, RunConfig
from fdetect.engine import Store
from fdetect.errors import ParameterError, WeightsError
from fdetect.nets.cards import CARDS
from fdetect.nets.evidence import identity, record_evidence
from fdetect.perturb import MIN_CROP
from fdetect.types import Cell, MetricValue

__all__ = ["Outcome", "reproduce", "reproductions_grid"]

REPRODUCED, NOT_REPRODUCED, NOT_COMPARABLE = "reproduced", "not reproduced", "not comparable"

_MEASURED = {"auroc": "auroc", "accuracy_95": "tpr_roc_5", "ap_fake": "ap_fake"}
_ENOUGH = 0.95  # of the stated number of images: some are always broken


@dataclass(frozen=True)
class Outcome:
    """What came of one attempt.

    measured    the mean over generators with its interval, and `by_generator` what it is the mean of
    reasons     why the figure cannot be compared; empty otherwise
    networks    the cards of the weights that it rests on, as in the header of the result
    recorded    names of the weights whose evidence level was raised
    """

    name: str
    published: Reproduction
    measured: MetricValue
    by_generator: tuple[tuple[str, MetricValue], ...]
    reasons: tuple[str, ...]
    networks: tuple[Mapping[str, Any], ...]
    folder: Path
    recorded: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """One of the three."""
        if self.reasons:
            return NOT_COMPARABLE
        near = abs(self.measured.value - self.published.figure) <= self.published.margin + 1e-9  # NaN is not near
        return REPRODUCED if near else NOT_REPRODUCED

    def grid(self) -> Grid:
        """Published beside measured, and what the mean is made of."""
        figure, value = self.published.figure, self.measured
        rows = [
            (self.name, f"{figure:.4g} +- {self.published.margin:g}", _text(value), f"{value.value - figure:+.3f}",
             f"{value.n_real} + {value.n_fake}", self.verdict)
        ]  # fmt: skip
        rows += [(f"  {generator}", "", _text(one), "", f"{one.n_real} + {one.n_fake}", "")
                 for generator, one in self.by_generator]  # fmt: skip
        columns = ("", "published", "measured", "difference", "reals + fakes", "verdict")
        return Grid("Reproduction", columns, tuple(rows), f"{METRICS[self.published.metric]}.")


def reproduce(
    name: str,
    data: str | Path,
    *,
    encoder: str = "",
    layout: str = "auto",
    root: str = "",
    out: Path | None = None,
    seed: int = 0,
    **settings: Any,
) -> Outcome:
    """Measure a published figure on data, and raise the evidence level of the weights where it is reached.

    name      of `fdetect reproduce`
    encoder   where the weights lie, if not where their name finds them: a folder or hub id
    settings  those of `bench`: store, workers, time_limit, backend, progress

    Raises UnknownName; WeightsError, with its fix, before anything is computed; DataError and ParameterError for data
    or settings that cannot be used.
    """
    published: Reproduction = reproduction.get(name)()
    store = settings.pop("store", None) or Store()
    config = RunConfig(
        data=DataConfig(str(data), layout, root),
        conditions=ConditionsConfig(("native",), crop=MIN_CROP),  # no figure here crops, and small images count too
        features=FeaturesConfig(()),
        heads=HeadsConfig((), (), (), ()),
        detectors=DetectorsConfig((published.detector,), encoder=encoder),
        seed=seed,
    )
    prepared, not_run = training_free(resolved(config), backend=settings.get("backend", "auto"))
    if not_run:
        raise WeightsError(f"{name}: {not_run[0].reason}", not_run[0].fix)
    if prepared[0].instance.references:
        raise ParameterError(f"{name}: {published.detector} compares with reference images, which no trial here has")
    generators = samples_of(load_data(resolved(config), store)).generators
    if len(generators) == 1:
        config = replace(config, protocol=replace(config.protocol, name="train_on", train=generators))
    done = bench(config, out=out, store=store, **settings)
    cells = cells_of(_at_once(done.scores), replicates=config.metrics.replicates, level=config.metrics.level, seed=seed)
    by_generator = tuple(
        (cell.generator, _measured(cell, published.metric))
        for cell in cells
        if cell.generator and cell.generator not in OVERALL
    )
    macro = next(cell for cell in cells if cell.generator == OVERALL[0])
    networks = tuple(done.result.header["weights"].get(published.detector, ()))
    failures = done.result.failures
    failed = [f"{len(failures)} images failed, the first: {failures[0].path}: {failures[0].reason}"] if failures else []
    reasons = (*_other_data(published, by_generator), *_other_networks(published, networks))
    reasons = (*reasons, *failed) if reasons else ()  # what failed may explain it
    found = Outcome(name, published, _measured(macro, published.metric), by_generator, reasons, networks, done.folder)
    return replace(found, recorded=record(found))


def record(outcome: Outcome) -> tuple[str, ...]:
    """Raise the evidence level of the weights behind a figure that was reached; return their names.

    Nothing is recorded of weights that are not for release: a test's network reaches what it was made to reach.
    """
    if outcome.verdict != REPRODUCED:
        return ()
    about = {
        "reproduction": outcome.name,
        "published": outcome.published.figure,
        "source": outcome.published.source,
        "measured": outcome.measured.value,
        "margin": outcome.published.margin,
    }
    release = [card for card in outcome.networks if card.get("purpose") == "release"]
    for card in release:
        record_evidence(identity(card), "reproduced", about)
    return tuple(card["name"] for card in release)


def reproductions_grid() -> Grid:
    """Return the table of everything that can be reproduced."""
    rows = []
    for entry in reproduction:
        one: Reproduction = entry()
        network = one.encoder or "none"
        rows.append((entry.name, entry.summary, f"{one.figure:.4g} +- {one.margin:g}", network))
    note = "fdetect reproduce NAME states the data and weights that a figure wants; with DATA it is measured."
    return Grid("Published figures", ("name", "what", "figure", "network"), tuple(rows), note)


def _at_once(scores: pa.Table) -> pa.Table:
    """Return each image once, all in one trial: papers rank all images together, and no trial changes these scores."""
    rows, seen = [], set[str]()
    for row, path in enumerate(scores.column("path").to_pylist()):
        if path not in seen:
            seen.add(path)
            rows.append(row)
    once = scores.take(rows)
    for column, value in (("trial", "all"), ("train", "")):
        once = once.set_column(once.column_names.index(column), column, pa.array([value] * len(once)))
    return once.set_column(once.column_names.index("seen"), "seen", pc.and_(once.column("seen"), False))


def _measured(cell: Cell, metric: str) -> MetricValue:
    """Return a metric of METRICS; accuracy that keeps 95 % of the reals follows from the share of fakes found there."""
    found = cell.metric(_MEASURED[metric])
    if metric != "accuracy_95":
        return found
    value, low, high = ((0.95 + share) / 2 for share in (found.value, found.low, found.high))
    return replace(found, name=metric, value=value, low=low, high=high)


def _other_data(published: Reproduction, found: Sequence[tuple[str, MetricValue]]) -> tuple[str, ...]:
    """Say in which numbers the data differ from those that the figure rests on; names are the user's own."""
    data, reasons = published.data, []
    if not data.generators:
        reasons.append("the source that was read does not name the generators that the figure rests on")
    elif len(found) != len(data.generators):
        reasons.append(f"{len(found)} generators, the figure rests on {len(data.generators)}")
    if few := [f"{generator} ({one.n_fake})" for generator, one in found if one.n_fake < _ENOUGH * data.fakes]:
        reasons.append(f"fewer than {data.fakes} images of {', '.join(few)}")
    reals = min(one.n_real for _, one in found)
    if reals < _ENOUGH * data.reals:
        reasons.append(f"{reals} real images, the figure rests on {data.reals}")
    return tuple(reasons)


def _other_networks(published: Reproduction, networks: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Say where an encoder is not of the architecture that the figure was reached with."""
    wanted = CARDS.get(published.encoder)
    shape = ("family", "width", "layers", "patch")
    return tuple(
        f"the encoder is {card['name']}, the figure was reached with {wanted.name}"
        for card in networks
        if wanted and any(card.get(key) != getattr(wanted, key) for key in shape)
    )


def _text(value: MetricValue) -> str:
    return interval_text(value.value, value.low, value.high)
