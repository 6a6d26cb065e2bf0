"""Drop-one gains: what each family adds to a head on all columns, from the score table alone.

A detector `HEAD:all-FAMILY` is `HEAD:all` without that family's columns.  Wherever a table holds both, here is their
paired difference: in macro AUROC, and on the generator that is the worst of `HEAD:all`.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from fdetect.bench.report.grid import Grid, pretty, signed
from fdetect.bench.report.tables import audit_mark, bracketed
from fdetect.bench.scores.compare import PairedDifference, compare
from fdetect.bench.scores.evaluate import FEW, FEW_GROUPS, ScoreTable
from fdetect.engine.loop import Progress
from fdetect.types import Cell

__all__ = ["GAIN", "LOSS", "NO_GAIN", "UNKNOWN", "Gain", "gain_grids", "gains_csv", "gains_of", "left_out",
           "read_gains"]  # fmt: skip

GAIN, NO_GAIN, LOSS, UNKNOWN = "gain", "no gain shown", "loss", "not measured"

_NAN = float("nan")
_NOTE = (
    "A gain is {head}:all minus {head}:all without the family's columns, on the same images and trials, with its "
    "paired group-bootstrap interval: \"gain\" where all of it lies above 0, \"loss\" below 0. Families that carry the "
    "same trace hide each other's gain, and among many intervals some miss 0 by chance."
)


@dataclass(frozen=True)
class Gain:
    """What one family adds to one head under one condition: AUROC with and without it, and their paired difference.

    The fields `worst_*` are about the generator that is the worst of `head:all`; NaN and "" where it has none.
    """

    head: str
    family: str
    train: str
    condition: str
    verdict: str  # GAIN, NO_GAIN, LOSS or UNKNOWN, of the macro mean
    auroc_all: float
    auroc_without: float
    value: float
    low: float
    high: float
    failures_wrong: float  # the difference when every image that either failed on counts against it
    n_images: int
    n_failed: int
    worst: str = ""
    worst_groups: int = 0
    worst_of_few: bool = False  # no generator has FEW_GROUPS groups
    worst_all: float = _NAN
    worst_without: float = _NAN
    worst_value: float = _NAN
    worst_low: float = _NAN
    worst_high: float = _NAN


def left_out(detectors: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return the drop-one detectors among these names, each with its head and the family that it lacks."""
    names = tuple(dict.fromkeys(detectors))
    found = {}
    for name in names:
        head, dash, family = name.partition(":all-")
        if dash and family and f"{head}:all" in names:
            found[name] = (head, family)
    return found


def gains_of(
    table: pa.Table, cells: Sequence[Cell], *, replicates: int = 1000, level: float = 0.95, seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Gain, ...]:  # fmt: skip
    """Return the gain of every family that some detector of a score table was trained without.

    `cells` are those of the same table: they say which generator is the worst.
    """
    pairs = left_out(cell.detector for cell in cells)
    if not pairs:
        return ()
    scores = ScoreTable.of(table)
    weights = scores.weights(replicates=replicates, seed=seed)
    worst_of = {(c.detector, c.train, c.condition): c for c in cells if c.generator == "worst" and not c.real_source}
    found: list[Gain] = []
    for k, (name, (head, family)) in enumerate(pairs.items()):
        whole = f"{head}:all"
        worst = {key[1:]: cell for key, cell in worst_of.items() if key[0] == whole}
        only = {key: cell.flags[0] for key, cell in worst.items()}
        low_end = {(d.train, d.condition): d for d in compare(scores, weights, whole, name, level=level, only=only)}
        for mean in compare(scores, weights, whole, name, level=level):
            key = (mean.train, mean.condition)
            found.append(_with_worst(_gain(head, family, mean), worst.get(key), low_end.get(key)))
        if progress:
            progress("drop-one gains", k + 1, len(pairs))
    return tuple(found)


def gain_grids(gains: Sequence[Gain], audit: Mapping[str, Any] | None = None) -> list[Grid]:
    """Return one table for each condition and head; its note lists the families by verdict, those without gain too."""
    made = []
    for condition, head in dict.fromkeys((gain.condition, gain.head) for gain in gains):
        here = [gain for gain in gains if (gain.condition, gain.head) == (condition, head)]
        several = len({gain.train for gain in here}) > 1
        rows = tuple(
            (gain.family, *((gain.train,) if several else ()), pretty(gain.auroc_all), pretty(gain.auroc_without),
             signed(gain.value, gain.low, gain.high), gain.verdict, _on_worst(gain))
            for gain in here
        )  # fmt: skip
        mark = bracketed(audit_mark(audit, condition) if audit else "")
        columns = ("family left out", *(("trained on",) if several else ()), "macro AUROC of all", "without it", "gain",
                   "verdict", f"gain on the worst of {FEW_GROUPS}+ groups of all")  # fmt: skip
        note = " ".join((*_lists(here, several), _NOTE.format(head=head)))
        made.append(Grid(f"What each family adds to {head}:all, under {condition}{mark}", columns, rows, note))
    return made


def gains_csv(gains: Iterable[Gain]) -> str:
    """Write every gain as one CSV line, with all its fields."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(field.name for field in fields(Gain))
    for gain in gains:
        writer.writerow(_cell_text(value) for value in asdict(gain).values())
    return file.getvalue()


def read_gains(folder: Path) -> tuple[Gain, ...]:
    """Return the gains that stand in the result.json of a finished run."""
    rows: list[dict[str, Any]] = json.loads((folder / "result.json").read_text(encoding="utf-8")).get("gains", [])
    return tuple(_from_json(row) for row in rows)


def _from_json(row: dict[str, Any]) -> Gain:
    values: dict[str, Any] = {key: _NAN if value is None else value for key, value in row.items()}
    return Gain(**values)


def _gain(head: str, family: str, d: PairedDifference) -> Gain:
    return Gain(
        head=head, family=family, train=d.train, condition=d.condition, verdict=_verdict(d.low, d.high),
        auroc_all=d.auroc_first, auroc_without=d.auroc_second, value=d.value, low=d.low, high=d.high,
        failures_wrong=d.failures_wrong, n_images=d.n_images, n_failed=d.n_failed,
    )  # fmt: skip


def _with_worst(gain: Gain, cell: Cell | None, d: PairedDifference | None) -> Gain:
    if cell is None or d is None:
        return gain
    return replace(
        gain, worst=cell.flags[0], worst_groups=cell.n_groups, worst_of_few=FEW in cell.flags[1:],
        worst_all=d.auroc_first, worst_without=d.auroc_second,
        worst_value=d.value, worst_low=d.low, worst_high=d.high,
    )  # fmt: skip


def _verdict(low: float, high: float) -> str:
    if not (math.isfinite(low) and math.isfinite(high)):
        return UNKNOWN
    return GAIN if low > 0 else LOSS if high < 0 else NO_GAIN


def _lists(gains: Sequence[Gain], several: bool) -> list[str]:
    """Say which families have which verdict, one sentence for each verdict; the first two are always said."""
    named = {v: [f"{g.family} ({g.train})" if several else g.family for g in gains if g.verdict == v]
             for v in (GAIN, NO_GAIN, LOSS, UNKNOWN)}  # fmt: skip
    return [f"{verdict.capitalize()}: {', '.join(names) or 'none'}." for verdict, names in named.items()
            if names or verdict in (GAIN, NO_GAIN)]  # fmt: skip


def _on_worst(gain: Gain) -> str:
    if not gain.worst:
        return "–"
    text = f"{signed(gain.worst_value, gain.worst_low, gain.worst_high)} {gain.worst} ({gain.worst_groups} groups)"
    return f"none has {FEW_GROUPS}; lowest: {text}" if gain.worst_of_few else text


def _cell_text(value: Any) -> Any:
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    return value
