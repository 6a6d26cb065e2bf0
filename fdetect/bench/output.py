"""A run's folder: who may write to it, and the files of a finished run.

    result.json         header, audit, cells, gains, differences, curves, by_source, thresholds, failures, not_run;
                        repeatable
    scores.parquet      one row per image, detector, condition and trial
    thresholds.parquet  one row per detector, training condition and trial
    tables.md, cells.csv, by_source.csv, report.html, and gains.csv where heads were trained without one family,
                        three_way.csv where heads told pristine, laundered and synthetic apart
    tables.tex          the protocol in a paragraph and the tables, for a paper
    score_curves.json   points of ROC, histogram, reliability and risk of every detector under every condition
    searched.csv        settings of heads and fused branches that were tried within training images, and what heads
                        reached there where the best of them was chosen
    networks/           of each network and trial: its log, curve, record and outputs
    config.toml         what `fdetect bench config.toml` repeats
    run.json            times, host, and what a score of each detector costs
    parts/              scores of finished detectors, for resuming
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fdetect.bench.report.grid import markdown, printable
from fdetect.bench.report.paper import paper_tex
from fdetect.bench.report.run_page import render_report
from fdetect.bench.report.score_charts import score_grids
from fdetect.bench.report.scores_part import score_sections
from fdetect.bench.report.tables import cells_csv, grids, verdict_line
from fdetect.bench.scores.by_source import by_source
from fdetect.bench.scores.by_source_tables import by_source_csv, source_grids
from fdetect.bench.scores.curves import SCORE_CURVES, score_curves_json, score_curves_of
from fdetect.bench.scores.differences import difference_grids, differences_of
from fdetect.bench.scores.gains import gain_grids, gains_csv, gains_of
from fdetect.bench.scores.robustness import curve_grids, curves_of
from fdetect.bench.training.chosen import chosen_grids
from fdetect.bench.training.importances import importance_grids
from fdetect.bench.training.three_way_tables import three_way_csv, three_way_grids
from fdetect.config import RunConfig, read_config, to_toml
from fdetect.errors import DataError, ParameterError
from fdetect.files import write_atomic
from fdetect.types import RunResult

__all__ = ["canonical_json", "claim_data", "claim_folder", "run_folder", "write_outputs", "write_run_json"]


def claim_folder(out: Path | None, data: str, fingerprint: str, config: RunConfig) -> Path:
    """Return the run's folder, made if it is new; raises DataError as `run_folder` does."""
    folder = run_folder(out, data, fingerprint, config)
    owner = folder / "fingerprint"
    if not owner.exists():
        write_atomic(owner, lambda path: path.write_text(fingerprint + "\n", encoding="utf-8"))
    _write_text(folder / "config.toml", to_toml(config))
    return folder


def run_folder(out: Path | None, data: str, fingerprint: str, config: RunConfig) -> Path:
    """Return where a run is written to; raises DataError if the folder belongs to another run or to none."""
    folder = out or Path("runs") / f"{data}-{fingerprint[:8]}"
    owner = folder / "fingerprint"
    if owner.exists():
        if (found := owner.read_text(encoding="utf-8").strip()) != fingerprint:
            raise DataError(
                f"{folder} holds another run (fingerprint {found[:8]}, this one is {fingerprint[:8]}; "
                f"{_first_difference(folder / 'config.toml', config)}); choose another --out, nothing was changed"
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise DataError(f"{folder} is not empty and holds no run of fdetect; choose another --out")
    return folder


def _first_difference(file: Path, config: RunConfig) -> str:
    """Say which setting of a run's config.toml is the first to differ from a configuration's."""
    try:
        there, here = asdict(read_config(file)), asdict(config)
    except ParameterError:  # absent, or of another version
        return "its config.toml cannot be read"
    for one in (there, here):  # where the data lie on this machine is no difference
        one["data"] |= {"path": Path(one["data"]["path"]).name, "root": ""}
    for name, mine in here.items():
        tables = (there[name], mine) if isinstance(mine, dict) else ({"": there[name]}, {"": mine})
        for key in tables[1]:
            old, new = (table[key] for table in tables)
            if old != new:
                return f"{name}{f'.{key}' if key else ''} was {_shown(old)} there and is {_shown(new)} now"
    return "of the same settings; the images, a score table, weights, the backend or the version of fdetect differ"


def _shown(value: Any) -> str:
    return (", ".join(map(str, value)) or "none") if isinstance(value, list | tuple) else repr(value)


def claim_data(folder: Path, data: str) -> None:
    """Note which images a run folder is about, by content; raises DataError if they changed since it was begun."""
    owner = folder / "data"
    if owner.exists() and (found := owner.read_text(encoding="utf-8").strip()) != data:
        raise DataError(
            f"{folder} is about other images (data {found[:8]}, now {data[:8]}): files changed under the same names; "
            "choose another --out, nothing was changed"
        )
    _write_text(owner, data + "\n")


def write_outputs(
    folder: Path, result: RunResult, scores: pa.Table, config: RunConfig, *, images: str | None = None
) -> None:
    """Write every file of a finished run, result.json last: where it stands, the run is complete.

    `images` is the folder of the images, from which report.html takes thumbnails of the worst errors; None for none.
    """
    how = config.metrics
    drawn: dict[str, Any] = {"replicates": how.replicates, "level": how.level, "seed": config.seed}
    gains, differences = gains_of(scores, result.cells, **drawn), differences_of(scores, **drawn)
    curves, sources = curves_of(scores, **drawn), by_source(scores, **drawn)
    write_atomic(folder / "scores.parquet", lambda path: pq.write_table(scores, path, compression="zstd"))
    thresholds = pa.Table.from_pylist(list(result.thresholds))
    write_atomic(folder / "thresholds.parquet", lambda path: pq.write_table(thresholds, path))
    _write_text(folder / "cells.csv", cells_csv(result.cells))
    _write_text(folder / "tables.tex", paper_tex(result))
    on_scores = score_curves_of(scores)
    _write_text(folder / SCORE_CURVES, canonical_json(score_curves_json(on_scores)))
    _write_text(folder / "by_source.csv", by_source_csv(sources))
    more = [*source_grids(sources, result.audit), *curve_grids(curves, result.audit),
            *score_grids(on_scores, result.audit), *gain_grids(gains, result.audit),
            *difference_grids(differences, result.audit),
            *importance_grids(result.header.get("importance", []), result.audit), *chosen_grids(result.header),
            *three_way_grids(result)]  # fmt: skip
    _write_text(folder / "tables.md", f"{printable(verdict_line(result.audit))}\n\n{markdown(grids(result, more))}")
    sections = score_sections(result, scores, sources=sources, curves=on_scores, images=images)
    _write_text(folder / "report.html", render_report(result, gains, differences, curves, sections))
    if gains:
        _write_text(folder / "gains.csv", gains_csv(gains))
    if three_way := result.header.get("three_way"):
        _write_text(folder / "three_way.csv", three_way_csv(three_way))
    whole = {"schema": config.schema, **asdict(result), "gains": gains, "differences": differences, "curves": curves,
             "by_source": sources}  # fmt: skip
    _write_text(folder / "result.json", canonical_json(whole))


def write_run_json(folder: Path, values: Mapping[str, Any]) -> None:
    """Write times and host, which differ from run to run."""
    _write_text(folder / "run.json", canonical_json(values))


def canonical_json(value: Any) -> str:
    """Write JSON with sorted keys; numbers that are not finite become null."""
    return json.dumps(_finite(value), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _finite(asdict(value))
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _write_text(path: Path, text: str) -> None:
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
