"""The gate: scores of two sides in, checks out, as a table, JUnit XML, Markdown and JSON.

    Side, Side --sides.paired--> rows on the same images --checks.check_pair--> Check ... --> Gate
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from xml.etree import ElementTree

from fdetect.bench.gate.checks import NOT_WORSE, TOO_FEW, Check, Margins, check_pair, gate_grids
from fdetect.bench.gate.sides import Side, left_out, paired, pairs_of, refuse_other_settings
from fdetect.bench.report.grid import markdown, printable
from fdetect.classifiers.model_folder import plain
from fdetect.errors import ParameterError
from fdetect.metrics import metric

__all__ = ["FEWEST_REPLICATES", "Gate", "Refusal", "gate"]

FEWEST_REPLICATES = 100


@dataclass(frozen=True)
class Gate:
    """All checks of a comparison, and what was compared; `left_out`: detectors of the run that were not."""

    baseline: str
    run: str
    margins: Margins
    checks: tuple[Check, ...]
    left_out: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every check did."""
        return bool(self.checks) and all(one.passed for one in self.checks)

    @property
    def text(self) -> str:
        """The outcome in one sentence."""
        failed = [one for one in self.checks if not one.passed]
        if not failed:
            outcome = f"passed: {len(self.checks)} checks of {self.run} against {self.baseline}"
            return "; ".join([outcome, *self._open()])
        first = failed[0]
        figures = f" ({first.figures})" if first.figures else ""
        return (f"failed: {len(failed)} of {len(self.checks)} checks; the first is {first.what} of {first.detector} "
                f"under {first.condition}: {first.verdict}, {first.reason}{figures}")  # fmt: skip

    @property
    def note(self) -> str:
        """Which detectors were not compared, in one sentence; "" where all were."""
        n = len(self.left_out)
        has = f"not compared, as {self.baseline} has no such detector"
        return f"{has} ({n}; --detector with --against compares one): {', '.join(self.left_out)}" if n else ""

    def _open(self) -> list[str]:
        """Say of which sources of reals the question stays open."""
        said = []
        for verdict, one_is, more_are in (
            (TOO_FEW, "source had too few photographs to judge", "sources had too few photographs to judge"),
            (NOT_WORSE, "source was not shown worse, nor shown to stay within the margin",
             "sources were not shown worse, nor shown to stay within the margin"),
        ):  # fmt: skip
            names = list(dict.fromkeys(one.source for one in self.checks if one.verdict == verdict))
            if names:
                said.append(f"{len(names)} single {one_is if len(names) == 1 else more_are} ({', '.join(names)})")
        return said

    def markdown(self) -> str:
        """Return a summary for the page of a CI job."""
        margins = self.margins
        fpr = f"by less than {margins.fpr:g}" if math.isfinite(margins.fpr) else "is not gated, as was asked for"
        terms = (
            f"{margins.metric} may get worse by less than {margins.margin:g}, the false-positive rate {fpr}. A "
            "difference is the detector minus the baseline, on the same images, with its paired group-bootstrap "
            f"interval at {margins.level:.0%}. Every verdict but passed fails, except for single sources of reals, "
            "where only harm that is shown does: not shown worse, and too few, are open."
        )
        about = f"{_as_code(self.run)} against {_as_code(self.baseline)}: {terms}"
        title = f"# Gate {self.text.partition(':')[0]}\n\n{about}"
        note = f"\n\n{_as_code(self.note)}" if self.note else ""
        return f"{title}{note}\n\n{markdown(gate_grids(self.checks))}"

    def junit(self) -> bytes:
        """Return JUnit XML, a test case for each check with its figures, as CI systems read it.

        Sources with too few groups are skipped cases: they say nothing.
        """
        counts = {"tests": len(self.checks), "failures": sum(not one.passed for one in self.checks), "errors": 0,
                  "skipped": sum(one.verdict == TOO_FEW for one in self.checks)}  # fmt: skip
        suite = ElementTree.Element("testsuite", {"name": "fdetect compare"} | {k: str(n) for k, n in counts.items()})
        for one in self.checks:
            name = f"{one.what}, {one.condition}, against {one.baseline}"
            case = ElementTree.SubElement(suite, "testcase", classname=printable(one.detector), name=printable(name))
            said = printable(f"{one.verdict}: {'; '.join(filter(None, (one.figures, one.reason)))}")
            if not one.passed:
                failure = ElementTree.SubElement(case, "failure", type=one.verdict, message=printable(one.reason))
                failure.text = said
            elif one.verdict == TOO_FEW:
                ElementTree.SubElement(case, "skipped", message=printable(one.reason))
            ElementTree.SubElement(case, "system-out").text = said
        if self.note:
            ElementTree.SubElement(suite, "system-out").text = printable(self.note)
        return bytes(ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True))

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values; figures that do not exist are None."""
        found: Mapping[str, Any] = {
            "schema": 1, "passed": self.passed, "error": None, "text": self.text, "baseline": self.baseline,
            "run": self.run, "left_out": self.left_out, "margins": asdict(self.margins),
            "checks": [{**asdict(one), "passed": one.passed} for one in self.checks],
        }  # fmt: skip
        return dict(plain(found))


@dataclass(frozen=True)
class Refusal:
    """A comparison that could not be made: its files say so, so that those of an earlier pass do not stay."""

    sentence: str

    def markdown(self) -> str:
        """Return the sentence for the page of a CI job."""
        return f"# Gate could not be run\n\n{_as_code(self.sentence)}\n"

    def junit(self) -> bytes:
        """Return JUnit XML of one case, which is an error."""
        counts = {"tests": "1", "failures": "0", "errors": "1", "skipped": "0"}
        suite = ElementTree.Element("testsuite", {"name": "fdetect compare"} | counts)
        case = ElementTree.SubElement(suite, "testcase", classname="fdetect compare", name="the gate could not be run")
        said = printable(self.sentence)
        ElementTree.SubElement(case, "error", type="refused", message=said).text = said
        return bytes(ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True))

    def as_json(self) -> dict[str, Any]:
        """Return JSON values: no check was made."""
        return {"schema": 1, "passed": False, "error": self.sentence, "checks": []}


def gate(
    baseline: Side, run: Side, *, margins: Margins, detectors: Sequence[str] = (), against: str = "",
    conditions: Sequence[str] = ("matched",), replicates: int = 1000, seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> Gate:  # fmt: skip
    """Gate detectors of a run by those of a baseline, on the same images under the same conditions.

    detectors  of the run; empty: all.  `against`: of the baseline; "": that of the same name, or its only one

    Raises UnknownName for a metric that does not exist, ParameterError for margins that are no loss and where the sides
    cannot be paired, DataError for the first image that differs.
    """
    metric.get(margins.metric)
    for name, value in (("--margin", margins.margin), ("--fpr-margin", margins.fpr)):
        if value <= 0 or math.isinf(value):
            raise ParameterError(f"{name} is {value:g}; give how much may be lost, above 0, such as 0.01")
    if replicates < FEWEST_REPLICATES or not conditions:
        raise ParameterError(f"the gate takes {FEWEST_REPLICATES} replicates at least and a condition; got "
                             f"{replicates} and {len(conditions)}")  # fmt: skip
    refuse_other_settings(baseline, run)
    todo = [(one, other, condition) for condition in conditions
            for one, other in pairs_of(baseline, run, detectors, against)]  # fmt: skip
    checks: list[Check] = []
    for k, (one, other, condition) in enumerate(todo):
        table, name = paired(baseline, run, one, other, condition)
        checks += check_pair(table, one, name, condition, margins, replicates=replicates, seed=seed)
        if progress:
            progress("comparing", k + 1, len(todo))
    return Gate(baseline.name, run.name, margins, tuple(checks), left_out(baseline, run, detectors, against))


def _as_code(text: str) -> str:
    """Write anybody's text so that no Markdown is read in it."""
    return "`" + printable(text).replace("`", "'") + "`"
