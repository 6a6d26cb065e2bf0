"""What figures rest on, for the report page: data, weights with their evidence, versions, thresholds, settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fdetect.bench.report.grid import Grid
from fdetect.bench.report.parts import Section
from fdetect.bench.training.chosen import BEST_SINGLE
from fdetect.bench.training.networks import networks_grids
from fdetect.types import RunResult

__all__ = ["count", "counted", "provenance_section", "settings_section"]

_SHOWN_ELSEWHERE = (  # of the header, in tables of their own
    "data", "networks", "trunk", "three_way", BEST_SINGLE, "importance", "versions", "backend",
)  # fmt: skip
_NO_WEIGHTS = "No figure of this run rests on weights that were trained elsewhere."


def provenance_section(header: Mapping[str, Any]) -> Section:
    """Return what the figures rest on: data by content, weights with purpose and evidence, device, versions."""
    data, backend = header.get("data", {}), header.get("backend", {})
    rows = [
        ("data", data.get("name", "")),
        ("read as", " – ".join(filter(None, (data.get("layout", ""), data.get("detected", ""))))),
        ("data hash", data.get("hash", "")),
        ("same content", f"{count(doubles, 'file')} with the content of another file"
         if (doubles := data.get("n_same_content", 0)) else ""),
        ("generators", counted(data.get("generators", {}))),
        ("real sources", counted(data.get("real_sources", {}))),
        ("fingerprint", header.get("fingerprint", "")),
        ("seed", _plain(header.get("seed"), "")),
        ("device of maps and features", ", ".join(filter(None, map(str, backend.values())))),
    ]  # fmt: skip
    known = tuple((term, text) for term, text in rows if text)
    versions = tuple((name, str(version)) for name, version in sorted(header.get("versions", {}).items()))
    rests = any(header.get("weights", {}).values())
    grids = [
        Grid("Run", ("what", "value"), known, "The data hash is over the images and their labels, the fingerprint over "
             "settings, weights, paths and the version: equal ones give equal figures.") if known else None,
        *networks_grids(header),
        Grid("Versions", ("package", "version"), versions) if versions else None,
    ]  # fmt: skip
    return Section("Provenance: what the figures rest on", "provenance", () if rests else (_NO_WEIGHTS,),
                   grids=tuple(grid for grid in grids if grid), words=True)  # fmt: skip


def settings_section(result: RunResult) -> Section:
    """Return the frozen thresholds, and every setting that has no table of its own."""
    others = {key: value for key, value in result.header.items() if key not in _SHOWN_ELSEWHERE}
    settings = Grid("Settings", ("setting", "value"), tuple(sorted(_flat("", others))))
    return Section("Thresholds and settings", "settings", grids=(_thresholds(result.thresholds), settings),
                   words=True, folded=True)  # fmt: skip


def counted(counts: Mapping[str, int]) -> str:
    """Write names with their counts, as in "adm (100), glide (1,200)"."""
    return ", ".join(f"{name or 'unnamed'} ({number:,})" for name, number in counts.items())


def count(number: int, noun: str) -> str:
    """Write a number of things, as in "1 group" or "1,200 groups"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _thresholds(rows: Sequence[Mapping[str, Any]]) -> Grid:
    names = ("detector", "train_condition", "trial")
    levels = ("threshold", "threshold_1")
    body: list[tuple[str, ...]] = []
    for row in rows:
        nothing = f"not attainable ({row.get('n_calibration', 0)})"  # a level needs at least 1 / FPR - 1 reals
        body.append((*(_plain(row.get(key), "") for key in names), *(_plain(row.get(key), nothing) for key in levels)))
    columns = (*names, "5 % FPR", "1 % FPR")
    return Grid("Frozen thresholds", columns, tuple(body), "Split-conformal, on the calibration reals of each trial.")


def _flat(prefix: str, value: Any) -> Iterable[tuple[str, str]]:
    """Write nested settings as lines "table.key", value."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), item)
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        for k, item in enumerate(value):
            yield from _flat(f"{prefix}.{k}", item)
    else:
        yield prefix, _plain(value, "")


def _plain(value: Any, nothing: str) -> str:
    if value is None:
        return nothing
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item, nothing) for item in value)
    return str(value)
