"""`reproduce`: measure as a publication did, and say whether its figure was reached.

    data -> way (detector, checkpoint, training, spectra) -> figure -> verdict -> evidence

A verdict is `reached` where the measurement lies within the margin that was stated beforehand, `missed` where it does
not, `not comparable` where data, network or budget are not those that the figure rests on, and `not run` where
something that it needs is not here.  Only the first raises the evidence level of weights (to "reproduced"), and never
of weights for tests, or for a figure that nobody read in a source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fdetect.bench.report.grid import Grid, interval_text, printable
from fdetect.bench.reproduce.images import Request, by_checkpoint, by_detector
from fdetect.bench.reproduce.measured import Lacking, Measured
from fdetect.bench.reproduce.published import (
    METRICS,
    Checkpoint,
    OnSpectra,
    Reproduction,
    Training,
    TrainingFree,
    plain,
    reproduction,
)
from fdetect.bench.reproduce.spectra import by_spectra
from fdetect.bench.reproduce.training import by_training
from fdetect.errors import BackendError, ParameterError, WeightsError
from fdetect.nets.evidence import identity, record_evidence
from fdetect.types import MetricValue

__all__ = ["MISSED", "NOT_COMPARABLE", "NOT_RUN", "REACHED", "Outcome", "record", "reproduce", "reproductions_grid"]

REACHED, MISSED, NOT_COMPARABLE, NOT_RUN = "reached", "missed", "not comparable", "not run"

_NAN = float("nan")
_SHORT = {"auroc": "AUROC", "ap_fake": "AP"}  # of metrics other than accuracies


@dataclass(frozen=True)
class Outcome:
    """What came of one attempt.

    measured    the mean over generators with its interval, and `by_generator` what it is the mean of
    reasons     why the figure cannot be compared; empty otherwise
    networks    the cards of the weights that it rests on, as in the header of the result
    folder      of the run; None where there were no images, or no run
    aside       images of the data that were not tested: other splits, generators left out or not named
    missing     what is not here, and how to have it; empty where it was run
    recorded    names of the weights whose evidence level was raised
    """

    name: str
    published: Reproduction
    measured: MetricValue
    by_generator: tuple[tuple[str, MetricValue], ...] = ()
    reasons: tuple[str, ...] = ()
    networks: tuple[Mapping[str, Any], ...] = ()
    folder: Path | None = None
    aside: int = 0
    missing: tuple[str, ...] = ()
    recorded: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """One of the four."""
        if self.missing:
            return NOT_RUN
        if self.reasons:
            return NOT_COMPARABLE
        near = abs(self.measured.value - self.published.figure) <= self.published.margin + 1e-9  # NaN is not near
        return REACHED if near else MISSED

    def grid(self) -> Grid:
        """Published beside measured, and what the mean is made of."""
        figure, value = self.published.figure, self.measured
        each = {plain(name): known for name, known in self.published.each}
        rows = [
            (self.name, f"{figure:.4g} +- {self.published.margin:g}", _text(value), _difference(value.value, figure),
             f"{value.n_real} + {value.n_fake}", self.verdict)
        ]  # fmt: skip
        for name, one in self.by_generator:
            known = each.get(plain(name))
            rows.append((f"  {name}", "" if known is None else f"{known:.4g}", _text(one),
                         "" if known is None else _difference(one.value, known), f"{one.n_real} + {one.n_fake}",
                         ""))  # fmt: skip
        columns = ("", "published", "measured", "difference", "reals + fakes", "verdict")
        return Grid("Reproduction", columns, tuple(rows), f"{METRICS[self.published.metric]}.")


def reproduce(
    name: str,
    data: str | Path,
    *,
    encoder: str = "",
    weights: str = "",
    layout: str = "auto",
    root: str = "",
    out: Path | None = None,
    seed: int = 0,
    steps: int = 0,
    **settings: Any,
) -> Outcome:
    """Measure a published figure on data, and raise the evidence level of the weights where it is reached.

    name      of `fdetect reproduce`
    encoder   where the encoder's weights lie, if not where their name finds them: a folder or hub id
    weights   of a checkpoint, the same
    steps     of a training, in place of the authors' budget
    settings  those of `bench`: store, workers, time_limit, backend, progress

    What is not here, weights or data or time, makes the verdict `not run`.  Raises UnknownName, ParameterError for a
    setting that the figure does not take, DataError for data that cannot be read.
    """
    published: Reproduction = reproduction.get(name)()
    way = published.way
    for option, value, takes in (
        ("encoder", encoder, isinstance(way, TrainingFree | Checkpoint)),
        ("weights", weights, isinstance(way, Checkpoint)),
        ("steps", steps, isinstance(way, Training)),
    ):
        if value and not takes:
            raise ParameterError(f"{name} takes no --{option}; leave it out")
    if steps < 0:
        raise ParameterError(f"steps is {steps}; give 1 or more (--steps), or 0 for the authors' budget")
    request = Request(
        str(data), layout, root, encoder, weights, out, seed, steps, settings.pop("store", None), settings
    )
    try:
        found = _measure(name, published, request)
    except (WeightsError, Lacking) as error:
        return _not_run(name, published, error.reason, error.fix)
    except BackendError as error:
        return _not_run(name, published, str(error), "see fdetect doctor")
    outcome = Outcome(
        name, published, found.value, found.by_generator, found.reasons, found.networks, found.folder, found.aside
    )
    return replace(outcome, recorded=record(outcome))


def record(outcome: Outcome) -> tuple[str, ...]:
    """Raise the evidence level of the weights behind a figure that was reached; return their names.

    Nothing is recorded of weights that are not for release: a test's network reaches what it was made to reach.  Nor
    is it where the figure was recalled and not read.
    """
    if outcome.verdict != REACHED or outcome.published.source.startswith("U"):
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
    for entry in sorted(reproduction, key=lambda entry: entry.name):
        one: Reproduction = entry()
        what = entry.summary.rpartition(":")[0] or entry.summary
        rows.append(
            (entry.name, what, f"{_SHORT.get(one.metric, 'acc')} {one.figure:.4g} +- {one.margin:g}", one.source[0])
        )
    note = (
        "Read in: C code, P the authors' page or paper, T a third party's table; U was not read. fdetect reproduce "
        "NAME states what a figure wants; with DATA it is measured."
    )
    return Grid("Published figures", ("name", "what", "figure", "read"), tuple(rows), note)


def _measure(name: str, published: Reproduction, request: Request) -> Measured:
    way = published.way
    if isinstance(way, TrainingFree):
        return by_detector(published, way, request)
    if isinstance(way, Checkpoint):
        return by_checkpoint(published, way, request, name=name)
    if isinstance(way, Training):
        return by_training(published, way, request, name=name)
    if isinstance(way, OnSpectra):
        return by_spectra(published, way, request.data, seed=request.seed, workers=request.running.workers)
    raise ParameterError(f"{name}: a figure is measured by no {type(way).__name__}")


def _not_run(name: str, published: Reproduction, reason: str, fix: str) -> Outcome:
    nothing = MetricValue(published.metric, _NAN, _NAN, _NAN, 0, 0, 0)
    for elsewhere, here in (("pretrained:weights=FOLDER", "--weights FOLDER"), ("clip=FOLDER", "--encoder FOLDER")):
        fix = fix.replace(elsewhere, here)
    return Outcome(name, published, nothing, missing=tuple(filter(None, (printable(reason), fix))))


def _difference(value: float, figure: float) -> str:
    return f"{value - figure:+.3f}" if value == value else "–"


def _text(value: MetricValue) -> str:
    return interval_text(value.value, value.low, value.high)
