"""What is made of placebos: may a column be said to measure synthesis?  The lines of by_source.py, and a rule.

The rule of the verdict, of a column with macro AUROC M and placebos P_k of at least FEW_GROUPS groups on both sides
(groups of trials that test both, as pairs are made within trials):

    distance of P_k     d_k = |P_k - 0.5|
    gap                 M - 0.5 - d_k, the sign inside d_k being that of the sample in every replicate
    PLACEBO             for some k the interval of P_k leaves out 0.5, and that of its gap is not above 0
    NO_FAKES            not so, and the interval of M is not above 0.5
    PARTLY              not so, and the interval of some P_k leaves out 0.5: d_k of M may be photographs
    PASSED              not so
    UNKNOWN             before all: M has no value or interval, or no placebo has groups enough

Both halves of PLACEBO are needed.  A gap alone would accuse every detector that was tested on few images: the interval
of P_k, which holds for all k together, asks for evidence.  An interval alone would accuse a detector of whatever large
sets show, however small: the gap asks for the size.  Where both hold, the detector tells photographs apart and was not
shown to find fakes better than that; what it reads in the fakes may be what it reads in these photographs.  PASSED says
that no placebo of this table was shown, and no more.
Source: negative controls, Lipsitch, Tchetgen Tchetgen and Cohen 2010, 10.1097/EDE.0b013e3181d61eeb.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdetect.bench.scores.evaluate import FEW_GROUPS

__all__ = ["ALL", "HISTORY", "NO_FAKES", "PARTLY", "PASSED", "PLACEBO", "SOURCE", "UNKNOWN", "Column", "SourceRow",
           "Verdict", "read_by_source", "verdicts"]  # fmt: skip

ALL, SOURCE, HISTORY = "all", "source", "history"
PLACEBO, NO_FAKES, PARTLY, PASSED, UNKNOWN = "placebo", "no fakes", "partly", "passed", "not measured"

Column = tuple[str, str, str, str]  # (detector, train, train_condition, condition)

_NAN = float("nan")


@dataclass(frozen=True)
class SourceRow:
    """One line of a column (detector, train, train_condition, condition); NaN where a figure is not defined.

    kind ALL: the macro AUROC over all reals, `name` "".  SOURCE: `name` is a source; `auroc` is against its reals
    alone, `placebo` of its reals against those of other sources.  HISTORY: `name` is "double70 against matched", the
    conditions that `placebo` compares.  `gap` as in the module's rule.  `n_real` and `n_groups` count the scored reals
    of the line and their groups; `n_own` and `n_others` the groups on the two sides of the placebo, those of trials
    that test both.  `seen`: its AUROC is over generators seen in training, as there is no other.  `reals_seen`: the
    detector was fitted on some of the line's reals, or of those that they are told from.
    """

    detector: str
    train: str
    train_condition: str
    condition: str
    kind: str
    name: str
    n_real: int
    n_groups: int
    n_own: int = 0
    n_others: int = 0
    auroc: float = _NAN
    low: float = _NAN
    high: float = _NAN
    placebo: float = _NAN
    placebo_low: float = _NAN
    placebo_high: float = _NAN
    gap: float = _NAN
    gap_low: float = _NAN
    gap_high: float = _NAN
    seen: bool = False
    reals_seen: bool = False

    @property
    def column(self) -> Column:
        """What the line is about."""
        return self.detector, self.train, self.train_condition, self.condition

    @property
    def distance(self) -> float:
        """How far the placebo is from 0.5, 0 to 0.5."""
        return abs(self.placebo - 0.5)

    @property
    def counts(self) -> bool:
        """Whether the placebo has a value and FEW_GROUPS groups on both sides, in trials that test both."""
        return math.isfinite(self.placebo) and min(self.n_own, self.n_others) >= FEW_GROUPS

    @property
    def shown(self) -> bool:
        """Whether the placebo's interval leaves out 0.5."""
        return self.placebo_low > 0.5 or self.placebo_high < 0.5


@dataclass(frozen=True)
class Verdict:
    """The rule's word about one column, its line of kind ALL, and the placebo that decided.

    `furthest` is, of the placebos with groups enough, the one furthest from 0.5 among those that make it PLACEBO, else
    among those that were shown, else among all; None where there is none.
    """

    word: str  # PLACEBO, NO_FAKES, PARTLY, PASSED or UNKNOWN
    whole: SourceRow
    furthest: SourceRow | None


def verdicts(rows: Sequence[SourceRow]) -> tuple[Verdict, ...]:
    """Apply the rule of this module to every column of some lines, in their order."""
    columns: dict[Column, list[SourceRow]] = {}
    for row in rows:
        columns.setdefault(row.column, []).append(row)
    return tuple(_verdict(lines) for lines in columns.values())


def read_by_source(folder: Path) -> tuple[SourceRow, ...]:
    """Return the lines that stand in the result.json of a finished run; none in one of an earlier version."""
    rows: list[dict[str, Any]] = json.loads((folder / "result.json").read_text(encoding="utf-8")).get("by_source", [])
    found: list[dict[str, Any]] = [{key: _NAN if v is None else v for key, v in row.items()} for row in rows]
    return tuple(SourceRow(**{"n_own": row["n_groups"], **row}) for row in found)  # not told apart in earlier versions


def _verdict(lines: Sequence[SourceRow]) -> Verdict:
    whole = next(line for line in lines if line.kind == ALL)
    counted = sorted((line for line in lines if line.counts), key=lambda line: -line.distance)
    shown = [line for line in counted if line.shown]
    against = [line for line in shown if not line.gap_low > 0]
    furthest = next(iter(against or shown or counted), None)
    if furthest is None or not math.isfinite(whole.low):
        return Verdict(UNKNOWN, whole, furthest)
    found = whole.low > 0.5
    return Verdict(PLACEBO if against else NO_FAKES if not found else PARTLY if shown else PASSED, whole, furthest)
