"""Single traces of one crop, each held against the same of reference photographs, in sentences.

    tracer = Tracer.of(detector)                       # finds out what can be run here; loads no network
    statistics(tracer, crops, ids, columns=columns)    -> by trace, (n,) float64; and `profile`, (n, R)
    evidence_of(tracer, crop, id, references, columns=row)  -> one Evidence for each trace, those not run with a reason
    tally(evidence)                                    -> how many stand out, and how many would by chance

A trace stands out where at most 5 % of the photographs lie as far on the side on which generated images are expected;
far on the other side is told, and counts for nothing.  So does a trace that is known to be no better than guessing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fdetect.bench.contenders import configured, tasks_of
from fdetect.bench.inspecting.inspection import Evidence, Standing
from fdetect.bench.inspecting.judging import FLAG
from fdetect.bench.inspecting.references import References
from fdetect.bench.inspecting.traces import (
    BRANCH,
    FREE,
    PEAKS,
    TRACES,
    Look,
    Trace,
    branch_trace,
    peaks_in_words,
    peaks_out,
    radial_distance,
)
from fdetect.classifiers.fused_head import FusedHead
from fdetect.classifiers.saved import FittedDetector
from fdetect.errors import BackendError, FdetectError, WeightsError
from fdetect.images import Decoded
from fdetect.rigid import ViewTask

__all__ = ["PROFILE", "Tracer", "evidence_of", "p_value", "stands_out", "statistics", "tally"]

PROFILE = "profile"
_GUESSING = 0.5  # AUROC
_ABSENT_OPTIONS = ("--encoder", "--autoencoder")


@dataclass(frozen=True, eq=False)
class Tracer:
    """What can be run here, and why the rest cannot.

    free    by trace, a training-free detector whose weights are here, and its tasks
    absent  by trace, why it is not run, and what to do
    """

    detector: FittedDetector
    free: Mapping[str, tuple[Any, tuple[ViewTask, ...]]]
    absent: Mapping[str, str] = field(default_factory=dict)
    backend: str = "auto"

    @classmethod
    def of(
        cls, detector: FittedDetector, *, backend: str = "auto", absent: Mapping[str, Exception] | None = None
    ) -> Tracer:
        """Look for the weights of every trace, without importing torch where they are not here.

        absent  by branch of the detector, the error that says why it is absent
        """
        found, missing = {}, {f"{BRANCH}{name}": _reason(why) for name, why in (absent or {}).items()}
        for trace, name in FREE.items():
            (entry,) = configured((name,))
            instance = entry()
            try:
                found[trace] = (instance, tasks_of(instance, crop=detector.crop, backend=backend))
            except (WeightsError, BackendError) as error:
                missing[trace] = _reason(error)
        return cls(detector, found, missing, backend)

    @property
    def traces(self) -> tuple[Trace, ...]:
        """All traces, the branches of a fused detector after those that are measured by hand."""
        head = self.detector.head
        branches = map(branch_trace, head.fitted.branches if isinstance(head, FusedHead) else ())
        of_pixels = [trace for trace in TRACES if trace.name not in FREE]
        return (*of_pixels, *branches, *(trace for trace in TRACES if trace.name in FREE))

    def look(
        self, crop: Decoded, id: str, columns: np.ndarray | None = None, profiles: np.ndarray | None = None
    ) -> Look:
        """Return one crop with all that traces are measured with; see `Look`."""
        return Look(crop, id, self.detector.head, self.detector.seed, self.backend, self.free, columns, profiles)

    def why_not(self, trace: Trace, look: Look) -> str:
        """Return why a trace is not run on a crop; "" where it is."""
        if trace.name in self.absent:
            return self.absent[trace.name]
        if trace.name == "radial" and (look.profiles is None or not len(look.profiles)):
            return "no profiles of reference photographs are at hand; take the detector that ships"
        if trace.name.startswith(BRANCH):
            if look.columns is None:
                return "the columns of the detector were not computed"
            branch, head = trace.name.removeprefix(BRANCH), look.head
            if head.present(head.only(look.columns[None], branch))[0] != branch:
                return f"the detector has no finite columns of {branch} here; see fdetect doctor"
        return ""


def statistics(
    tracer: Tracer, crops: Sequence[Decoded], ids: Sequence[str], *, columns: np.ndarray | None = None,
    profiles: np.ndarray | None = None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Measure every trace that can be run: n crops -> by trace (n,) float64, and `profile` (n, R) float64.

    Crops are looked at one by one, so that a value does not depend on which others there are.

    columns   (n, D) as the head reads them; None: branches are left out
    profiles  (m, R) of reference photographs, which `radial` is held against; None: these crops are the references

    NaN where a branch is absent in one crop.  Raises what a map raises for a crop that is too small for it.
    """
    rows = columns if columns is not None else [None] * len(crops)
    looks = [tracer.look(crop, id, row, profiles) for crop, id, row in zip(crops, ids, rows, strict=True)]
    found: dict[str, np.ndarray] = {PROFILE: np.array([look.profile for look in looks])}
    among = found[PROFILE] if profiles is None else profiles
    for trace in tracer.traces:
        if trace.name == "radial":
            found[trace.name] = np.array([radial_distance(one, among) for one in found[PROFILE]])
        elif trace.name not in tracer.absent and not (trace.name.startswith(BRANCH) and columns is None):
            values = [math.nan if tracer.why_not(trace, look) else trace.measure(look) for look in looks]
            found[trace.name] = np.array(values, np.float64)
    return found


def evidence_of(
    tracer: Tracer, crop: Decoded, id: str, references: References, *, columns: np.ndarray | None = None
) -> tuple[Evidence, ...]:
    """Hold every trace of one crop against the reference photographs.

    columns  (D,) as the head of the detector reads them; None: its branches are told as not run
    """
    look = tracer.look(crop, id, columns, references.profile)
    return tuple(_evidence(tracer, trace, look, references) for trace in tracer.traces)


def _evidence(tracer: Tracer, trace: Trace, look: Look, references: References) -> Evidence:
    reason, value = tracer.why_not(trace, look), math.nan
    if not reason:
        try:
            value = trace.measure(look)
            reason = "" if math.isfinite(value) else "it has no finite value on this picture"
        except FdetectError as error:
            reason = _reason(error)
    weight = float(references.weight.get(trace.name, math.nan))
    if reason:
        return Evidence(trace.name, trace.title, weight=weight, reason=reason)
    standing = references.standing(trace.name, value)
    more = ""
    if trace.name == "spectrum" and standing is not None:
        more = peaks_in_words(peaks_out(look.columns_of(PEAKS), standing.among))
    said = _sentence(trace, value, standing, weight, more)
    return Evidence(trace.name, trace.title, value, standing, said, weight, "", trace.name if trace.picture else "")


def p_value(one: Evidence) -> float:
    """Return the share of photographs that lie as far on the side of generated images; NaN without a standing."""
    return math.nan if one.standing is None else _shares(_side(one.name), one.standing)[0]


def stands_out(one: Evidence) -> bool:
    """Whether at most 5 % of photographs lie as far on the side of generated images, and that is known to be worth it.

    A trace whose weight is 0.5 or less puts photographs ahead as often: it counts for nothing, whatever its value.
    """
    return p_value(one) <= FLAG and not _worthless(one.weight)


def tally(evidence: Sequence[Evidence]) -> str:
    """Say how many of the traces stand out, and how many would by chance.

    By chance a trace does in floor(0.05 (n + 1)) of n + 1 photographs, the n references and one more.  Traces that are
    no better than guessing are left out of both.
    """
    held = [one for one in evidence if math.isfinite(p_value(one)) and not _worthless(one.weight)]
    if not held:
        return "No trace that is better than guessing could be held against reference photographs."
    out = sum(map(stands_out, held))
    sizes = [one.standing.n + 1 for one in held if one.standing is not None]
    chance = sum(math.floor(FLAG * size + 1e-9) / size for size in sizes)
    return (f"{out or 'None'} of {len(held)} traces {'stands' if out <= 1 else 'stand'} out, each at a level of "
            f"{100 * FLAG:g} %; of a photograph {chance:.1f} would by chance. They look at the same pixels, so that "
            "several often stand out together.")  # fmt: skip


def _reason(error: Exception) -> str:
    """Say why a trace is not run and what to do about it, by options that `fdetect inspect` has."""
    if not isinstance(error, WeightsError) or not error.fix:
        return str(error)
    ways = [way for way in error.fix.split(", or ") if not any(option in way for option in _ABSENT_OPTIONS)]
    return f"{error.reason}; {', or '.join(ways) or 'see fdetect doctor'}"


def _side(name: str) -> str:
    return next((trace.side for trace in TRACES if trace.name == name), "high")  # branches score high


def _shares(side: str, standing: Standing) -> tuple[float, float]:
    """Return the shares of photographs that lie as far on the side of generated images, and on the other one."""
    return (standing.high, standing.low) if side == "high" else (standing.low, standing.high)


def _sentence(trace: Trace, value: float, standing: Standing | None, weight: float, more: str) -> str:
    also = f"Other causes: {trace.confused}."
    if standing is None or not standing.n:
        return f"Its value is {value:.4g}; without reference photographs to hold it against, that tells nothing."
    beaten = standing.among < value if trace.side == "high" else standing.among > value
    share, other = _shares(trace.side, standing)
    if _worthless(weight):
        said = ""
    elif share <= FLAG:
        said = f"That stands out: about {max(1, round(100 * share))} in 100 photographs lie as far."
    elif other <= FLAG:
        said = "That is far on the side where generated images are not expected, and counts for nothing."
    else:
        said = "That is unremarkable."
    count = f"{trace.says} {int(beaten.sum())} of {standing.n} reference photographs."
    return " ".join(filter(None, (count, said, more, also, _worth(weight))))


def _worthless(weight: float) -> bool:
    return weight <= _GUESSING  # not where it is not known, NaN


def _worth(weight: float) -> str:
    if not math.isfinite(weight):
        return ""
    word = ("no better than guessing, so it counts for nothing" if _worthless(weight) else
            "little better than guessing" if weight < 0.6 else "a weak hint" if weight < 0.75 else
            "a fair hint")  # fmt: skip
    return (f"Alone it puts a generated image ahead of a photograph in {round(100 * weight)} of 100 pairs (AUROC "
            f"{weight:.2f}, guessing has 0.50): {word}.")  # fmt: skip
