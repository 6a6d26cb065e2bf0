"""`bench`: a manifest, a protocol, conditions and detectors in; scores, cells, an audit and a report out.

    configuration -> manifest, trials, what runs           plan.py, which refuses whatever can be refused by now
    files -> features, embeddings under every condition    engine, one pass over the images
    probe features -> audit                                audit.py
    features -> scores of every detector in every trial    scoring.py, kept by detector as it finishes
    scores -> cells                                        evaluate.py, which reads the score table alone
    all of it -> run folder                                output.py
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fdetect.backend import torch_device
from fdetect.bench.audit import Audit, audited_rows
from fdetect.bench.computing import audit_of, computed, kept, need_both_classes, scored
from fdetect.bench.contenders import heads, untrained
from fdetect.bench.data.inputs import root_of
from fdetect.bench.data.lost import lost_line
from fdetect.bench.header import data_name, header
from fdetect.bench.leaderboard.costs import Costing
from fdetect.bench.models import Trained
from fdetect.bench.output import claim_data, claim_folder, write_outputs
from fdetect.bench.plan import load_data, none_left, planned, resolved, trials_for
from fdetect.bench.protocols import samples_of
from fdetect.bench.running import Running
from fdetect.bench.scores.evaluate import cells_of
from fdetect.bench.scores.external import run_programs
from fdetect.bench.scores.scoring import score_failures, thresholds_table, train_condition
from fdetect.bench.scores.suspicions import suspicions
from fdetect.bench.training.ablation import ablations
from fdetect.bench.training.aligned import Aligned, in_words, left_out
from fdetect.bench.training.chosen import BEST_SINGLE, best_single
from fdetect.bench.training.fusing import TRUNK, Trunk, fused, trunk_header
from fdetect.bench.training.head_trials import write_searched
from fdetect.bench.training.importances import importances
from fdetect.bench.training.learnt import networks, shown_to_networks
from fdetect.bench.training.learnt_tables import learnt_header
from fdetect.bench.training.pair_sources import cards_of, refuse_known
from fdetect.bench.training.pairing import Halves
from fdetect.bench.training.three_way import failures_of, three_way_not_run
from fdetect.bench.training.three_way_tables import counted
from fdetect.config import RunConfig, fingerprint
from fdetect.engine import Store
from fdetect.engine.lanes import Timing
from fdetect.engine.loop import Progress
from fdetect.engine.pool import TIME_LIMIT
from fdetect.features import feature_tasks
from fdetect.perturb import condition
from fdetect.rigid.plugged import plugged_header
from fdetect.splits import join_same_content
from fdetect.types import FAKE, REAL, RunResult

__all__ = ["Bench", "audit_only", "bench", "load_data", "resolved", "trials_for"]


@dataclass(frozen=True)
class Bench:
    """What `bench` returns: the result, the folder it was written to, and what was noticed on the way."""

    result: RunResult
    folder: Path
    scores: pa.Table
    timing: Mapping[str, float]  # seconds by step
    engine: Timing  # of the step `extract`, by lane
    warnings: tuple[str, ...]
    lost: str  # how many images failed, and which generators and sources are lost altogether; empty where none is
    costing: Costing  # call it for what each detector costs an image, a few seconds


def bench(
    config: RunConfig,
    *,
    out: Path | None = None,
    store: Store | None = None,
    workers: int = 0,
    time_limit: float = TIME_LIMIT,
    backend: str = "auto",
    engine: str = "local",
    address: str = "",
    progress: Progress | None = None,
    trunk: Trunk | None = None,
    thumbnails: bool = True,
) -> Bench:
    """Run a benchmark, resuming whatever an earlier run with the same configuration and data has finished.

    `out` is the run folder (default `runs/<data>-<fingerprint8>`); a folder of another run is refused.  `workers`
    processes compute features and fit heads; with more than 0 a script must guard its main part by
    `if __name__ == "__main__":`.  With engine "ray" a cluster computes features and embeddings, and this machine does
    the rest.  `trunk` is one that was trained already, where the configuration names none.
    `thumbnails` is whether report.html shows the worst errors as small pictures; it changes nothing else.
    Raises FdetectError in one sentence for data or settings that cannot be used.
    """
    clock = _Clock()
    store = store or Store()
    plan = planned(config, store, backend=backend, progress=progress, trunk=trunk)
    config, manifest, samples, name = plan.config, plan.manifest, plan.samples, plan.fingerprint
    conditions, entries, embedded, branches = plan.conditions, plan.entries, plan.embedded, plan.branches
    sources, question, not_run = plan.sources, plan.question, list(plan.not_run)
    folder = claim_folder(out, data_name(config), name, config)
    clock("prepare")
    running = Running(store, workers, time_limit, backend, engine, address, progress)
    settings, workers = running.for_engine(), running.processes  # of this machine, from here on
    extraction, placebo = computed(config, manifest, samples, conditions, entries, plan.prepared, settings, embedded)
    halves = Halves.compute(
        config.aligned, sources, samples.path, np.flatnonzero(samples.label == REAL),
        np.flatnonzero(samples.label == FAKE), entries,
        tuple(dict.fromkeys(map(train_condition, config.conditions.names))), crop=config.conditions.crop,
        root=root_of(manifest), seed=config.seed, **settings,
    ) if sources and entries else None  # fmt: skip
    laundered = question.launder(
        samples, crop=config.conditions.crop, root=root_of(manifest), seed=config.seed, **settings
    ) if question else None  # fmt: skip
    prepared, none_plugged = need_both_classes(samples, extraction, plan.prepared)
    refuse_known(plan.contents, extraction.ids)
    samples = replace(samples, group=join_same_content(samples.group, extraction.ids))
    trials = trials_for(samples, config)
    learnt, none_learnt = networks(
        config, samples, tuple(map(condition, shown_to_networks(config))), folder=folder,
        device=torch_device(backend), root=root_of(manifest),
        trunk=config.fused.trunk if TRUNK in branches else "", seed=config.seed, workers=workers,
        time_limit=time_limit, progress=progress,
    )  # fmt: skip
    clock("extract")
    audited = audit_of(config, samples, extraction, placebo, conditions, workers)
    clock("audit")

    through = next((one for one in learnt if one.embeds), trunk)
    whole, none_whole = fused(config, samples, branches, extraction, through, none_learnt)
    outside, none_outside = run_programs(
        config, samples, extraction, folder=folder, root=root_of(manifest), backend=backend, workers=workers,
        time_limit=time_limit, progress=progress,
    )  # fmt: skip
    tables_given = [*plan.given, *outside]
    not_run += none_learnt + none_whole + none_outside + none_plugged
    detectors = [*heads(config, samples, entries, extraction, halves, embedded), *whole,
                 *(part for one in whole for part in ablations(one)),
                 *(one for one in learnt if one.name in config.networks.names),
                 *untrained(prepared, samples, extraction, conditions), *tables_given]  # fmt: skip
    best, none_chosen = best_single(config, detectors)
    not_run += none_chosen
    data = fingerprint(manifest, extraction.ids)
    claim_data(folder, data)
    tables = {
        one.name: scored(one, config, samples, extraction.ids, trials, f"{name}-{data}", folder, workers, progress)
        for one in detectors
    }
    keep = partial(kept, name=f"{name}-{data}", folder=folder)
    for one in best:
        one.choose(trials, config.conditions.names, keep, workers=workers, progress=progress)
        tables[one.name] = one.scores(tables, samples, extraction.ids, trials, config.conditions.names)
    write_searched(folder, [*detectors, *best], trials)
    if not tables:
        raise none_left(not_run)
    scores = pa.concat_tables(tables.values()).combine_chunks()
    answers = question.answers(
        samples, extraction, laundered, trials, workers=workers, progress=progress
    ) if question and laundered else {}  # fmt: skip
    clock("train and score")
    how: dict[str, Any] = {"replicates": config.metrics.replicates, "level": config.metrics.level, "seed": config.seed}
    cells = cells_of(scores, progress=progress, **how)
    clock("evaluate")

    failures = tuple(dict.fromkeys(f for table in extraction.tables.values() for f in table.failures))
    failures += learnt[0].pictures.failures(failures) if learnt else ()
    failures += failures_of(laundered, failures) + score_failures(scores, failures)
    failures += halves.failures({failure.path for failure in failures}) if halves else ()
    cards = {one.name: one.cards for one in prepared}
    cards |= {one.name: one.cards for one in detectors if isinstance(one, Trained) and one.cards}
    cards |= {one.name: tuple(source.card for source in sources) for one in detectors if isinstance(one, Aligned)}
    cards |= {name: tuple(source.card for source in question.sources) for name in answers} if question else {}
    cards |= cards_of(plan.passing)
    about = header(config, manifest, samples, trials, name, data, plan.backend, cards, extraction)
    about["aligned"] = {"left_out": left_out(detectors, trials)}
    if learnt:
        about["networks"] = learnt_header(learnt, trials)
    about |= trunk_header(whole, trials) | plugged_header(prepared)
    if plan.given:
        about["given"] = {one.name: one.digest for one in plan.given}
    if best:
        about[BEST_SINGLE] = best[0].about(trials)
    if config.heads.importance:
        about["importance"] = importances(detectors, tables, trials, config, keep, workers=workers, progress=progress)
    if question:
        about["three_way"] = counted(answers, samples.group, **how)
        not_run += three_way_not_run(answers)
    result = RunResult(
        about, audited.as_json(), cells, tuple(thresholds_table(scores)), failures, tuple(not_run)
    )
    write_outputs(folder, result, scores, config, images=root_of(manifest) if thumbnails else None)
    clock("write")
    warnings = (*extraction.warnings, *in_words(about["aligned"]["left_out"]), *suspicions(scores, cells),
                *(note for one in tables_given for note in one.notes))  # fmt: skip
    costing = Costing(detectors, [*feature_tasks(entries, crop=config.conditions.crop), *embedded], prepared, trials,
                      config.conditions.names, config.conditions.crop, plan.backend)  # fmt: skip
    return Bench(result, folder, scores, clock.seconds, extraction.timing, warnings,
                 lost_line(samples, failures), costing)  # fmt: skip


def audit_only(
    config: RunConfig,
    *,
    store: Store | None = None,
    workers: int = 0,
    time_limit: float = TIME_LIMIT,
    backend: str = "auto",
    engine: str = "local",
    address: str = "",
    progress: Progress | None = None,
) -> Audit:
    """Run the audit of a benchmark and nothing else: of many images, only those that it looks at are decoded."""
    store = store or Store()
    config = resolved(config)
    manifest = load_data(config, store, progress)
    samples, of = samples_of(manifest), len(manifest)
    samples = samples.at(audited_rows(samples, seed=config.seed))
    conditions = tuple(condition(name) for name in config.conditions.names)
    running = Running(store, workers, time_limit, backend, engine, address, progress)
    settings, workers = running.for_engine(), running.processes  # of this machine, from here on
    extraction, placebo = computed(config, manifest, samples, conditions, (), (), settings)
    return audit_of(config, samples, extraction, placebo, conditions, workers, of=of)


class _Clock:
    """Seconds of each step, for run.json."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def __call__(self, step: str) -> None:
        now = time.monotonic()
        self.seconds[step] = round(now - self._last, 3)
        self._last = now
