"""What a run will do, settled before any image is decoded: `planned`, for `bench` and for its `--dry-run`.

Whatever can be refused without the pictures is refused here, in one sentence: names, settings, data, protocol, tables
of others, programs, weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

import fdetect
from fdetect.addresses import absolute
from fdetect.backend import Backend, resolve
from fdetect.bench.contenders import Prepared, check_names, embeddings, head_sets, training_free
from fdetect.bench.data import builtin
from fdetect.bench.data.builtin_own import generators_not_run
from fdetect.bench.data.inputs import root_of
from fdetect.bench.header import portable
from fdetect.bench.layouts import read_manifest
from fdetect.bench.protocols import ALIGNED, Samples, Trial, samples_of, trials_of
from fdetect.bench.scores.external_runs import programs_of
from fdetect.bench.scores.given import Given, read_scores
from fdetect.bench.training.ablation import parts_of
from fdetect.bench.training.aligned import aligned_name
from fdetect.bench.training.chosen import BEST_SINGLE
from fdetect.bench.training.fusing import Trunk, columns_of
from fdetect.bench.training.learnt import check_networks
from fdetect.bench.training.pair_sources import PairSource, passed_through, sources_of
from fdetect.bench.training.three_way import ThreeWay
from fdetect.classifiers.embedding import EmbeddingTask
from fdetect.config import RunConfig, fingerprint
from fdetect.engine import Store
from fdetect.engine.loop import Progress
from fdetect.errors import ParameterError
from fdetect.features import select_features
from fdetect.features.base import require_native
from fdetect.nets.evidence import identity
from fdetect.nets.weights import INSTALL_DEEP, torch_missing
from fdetect.perturb import Condition, check_condition, check_crop, condition, condition_names
from fdetect.registry import Entry
from fdetect.rigid.plugged import plugged_header
from fdetect.types import NotRun, Table

__all__ = ["Plan", "load_data", "none_left", "planned", "resolved", "trials_for"]


@dataclass(frozen=True)
class Plan:
    """A run before its first image.

    config       resolved, as the run's config.toml has it
    trials       before groups are joined by content, which the engine finds out
    given        tables of `--scores`
    branches     of the fused detector: branch -> names of the tables that make its columns
    sources      autoencoders of aligned pairs; `question` has those of the three-way question
    passing      conditions that images go through, those of training too
    contents     of the photographs that weights were trained on, by what rests on them
    not_run      detectors that are known by now not to run
    fingerprint  of the run
    """

    config: RunConfig
    manifest: Table
    samples: Samples
    trials: tuple[Trial, ...]
    conditions: tuple[Condition, ...]
    backend: Backend
    entries: tuple[Entry, ...]
    given: tuple[Given, ...]
    prepared: tuple[Prepared, ...]
    embedded: tuple[EmbeddingTask, ...]
    branches: Mapping[str, Sequence[str]]
    sources: tuple[PairSource, ...]
    question: ThreeWay | None
    passing: tuple[Condition, ...]
    contents: Mapping[tuple[str, str], frozenset[str]]
    not_run: tuple[NotRun, ...]
    fingerprint: str

    def detectors(self) -> tuple[dict[str, list[str]], list[NotRun]]:
        """Return what will run, by kind, and what will not, with the reasons that are known before the first image."""
        config, sets = self.config, head_sets(self.config, self.entries)
        heads = [] if ALIGNED in config.protocol.train else [
            *(f"{name}:{columns}" for name, columns, _ in sets),
            *(f"{name}:{task.name}" for task in self.embedded for name in config.heads.per_family),
        ]  # fmt: skip
        pairs = [f"{aligned_name(name, share)}:{columns}" for name, columns, _ in sets if self.sources
                 for share in config.aligned.generated]  # fmt: skip
        absent = torch_missing() if config.networks.names else ""
        found = {
            "heads": heads, "on aligned pairs": pairs,
            "fused": [f"fused:{'+'.join(self.branches)}"] if self.branches else [],
            "networks": [] if absent else list(config.networks.names),
            "training-free": [one.name for one in self.prepared],
            "score tables": [one.name for one in self.given],
            "programs": [one.name for one in programs_of(config.detectors.external)],
        }  # fmt: skip
        lost = [NotRun(name, absent, INSTALL_DEEP) for name in config.networks.names] if absent else []
        return {kind: names for kind, names in found.items() if names}, [*self.not_run, *lost]

    def named(self) -> list[tuple[str, str]]:
        """Return the name of each detector of the results, and the option that it is from; names of files come last."""
        running, _ = self.detectors()
        option = {"heads": "the heads", "on aligned pairs": "--aligned", "fused": "--fused", "networks": "--networks",
                  "training-free": "--detectors", "programs": "--external"}  # fmt: skip
        found = [(name, option[kind]) for kind, names in running.items() if kind in option for name in names]
        found += [(part, "--fused") for whole in running.get("fused", ()) for part in parts_of(whole, self.branches)]
        if running.get("heads") and (self.config.heads.best_single or self.branches):
            found.append((BEST_SINGLE, "--best-single" if self.config.heads.best_single else "--fused"))
        return [*found, *((one.name, f"--scores {one.file}") for one in self.given)]


def planned(
    config: RunConfig, store: Store, *, backend: str = "auto", progress: Progress | None = None,
    trunk: Trunk | None = None,
) -> Plan:  # fmt: skip
    """Settle what a run will do; settings come first, then the data, then weights.

    Raises FdetectError in one sentence for data or settings that cannot be used.
    """
    config = resolved(config)
    for name in (*config.conditions.names, *config.heads.train_conditions):
        check_condition(name)
    chosen = resolve(backend)
    entries = select_features(config.features.names) if config.features.names else ()
    head_sets(config, entries)
    columns_of(config, entries, config.features.embeddings, trunk)
    check_networks(config)
    programs_of(config.detectors.external)
    manifest = load_data(config, store, progress)
    samples = samples_of(manifest)
    trials = trials_for(samples, config)
    conditions = tuple(condition(name) for name in config.conditions.names)
    require_native(entries, *config.conditions.names, *config.heads.train_conditions)
    check_networks(config, len(samples.path))
    given = tuple(one for file in config.detectors.scores
                  for one in read_scores(Path(file), samples, conditions, trials, root=root_of(manifest)))  # fmt: skip
    prepared, not_run = training_free(config, backend=backend)
    embedded, none_embedded = embeddings(config, backend=backend)
    branches, none_fused = columns_of(config, entries, [task.name for task in embedded], trunk)
    sources, none_aligned = sources_of(config)
    question, none_asked = ThreeWay.asked(config, entries, conditions)
    not_run += none_embedded + none_fused + none_aligned + none_asked + generators_not_run(manifest)
    weights = {one.name: [identity(asdict(card)) for card in one.cards] for one in prepared}
    weights["embeddings"] = [identity(asdict(task.space.card)) for task in embedded]
    passing = (*conditions, *map(condition, config.heads.train_conditions))
    weights["conditions"] = [one.launder.settings["identity"] for one in passing if one.launder]
    weights["aligned"] = [one.laundering.identity for one in sources]
    weights["three-way"] = [one.laundering.identity for one in question.sources] if question else []
    weights["trunk"] = [trunk.digest] if trunk else []
    weights |= plugged_header(prepared)
    name = fingerprint(portable(config), weights, manifest, fdetect.__version__, chosen.name)
    plan = Plan(
        config, manifest, samples, trials, conditions, chosen, entries, given, tuple(prepared), tuple(embedded),
        branches, sources, question, passing, passed_through(passing, prepared), tuple(not_run), name,
    )  # fmt: skip
    running, lost = plan.detectors()
    if not running:
        raise none_left(lost)
    check_names(plan.named())
    tested = np.unique(np.concatenate([trial.test for trial in trials]))
    for one in given:
        one.need_rows(config.conditions.names, tested)
    return plan


def none_left(not_run: Sequence[NotRun]) -> ParameterError:
    """Return the error of a run without any detector, with the first reason."""
    first = f"; {not_run[0].detector} did not run: {not_run[0].reason}; {not_run[0].fix}" if not_run else ""
    return ParameterError(f"no detector is left to run: name heads, features, detectors or --scores{first}")


def resolved(config: RunConfig) -> RunConfig:
    """Return the configuration with its automatic values filled in, and absolute paths or addresses."""
    crop = config.conditions.crop or (224 if config.data.path else 128)
    path = absolute(config.data.path) if config.data.path else ""
    check_crop(crop)
    if not config.conditions.names:
        raise ParameterError("conditions: name at least one, such as native,matched")
    for option, given in (("--heads", config.heads.all_columns), ("--family-heads", config.heads.per_family),
                          ("--per-preset", config.heads.per_preset), ("--drop-one", config.heads.drop_one),
                          ("--features", config.features.names),
                          ("--detectors", config.detectors.names)):  # fmt: skip
        if twice := [name for k, name in enumerate(given) if name in given[:k]]:
            raise ParameterError(f"{option}: {twice[0]} is named twice; name it once")
    names = condition_names(config.conditions.names)
    if config.heads.train_conditions and config.conditions.names == ("native",):
        raise ParameterError("--train-conditions are those of all columns but native, and no other is tested; name one "
                             "with --conditions, or leave them out")  # fmt: skip
    trained = condition_names(config.heads.train_conditions)
    return replace(
        config, conditions=replace(config.conditions, names=names, crop=crop), data=replace(config.data, path=path),
        heads=replace(config.heads, train_conditions=trained),
    )  # fmt: skip


def load_data(config: RunConfig, store: Store, progress: Progress | None = None) -> Table:
    """Return the manifest that a configuration names; the built-in benchmark where it names none."""
    if not config.data.path:
        return builtin.builtin_manifest(store.folder, progress=progress)
    return read_manifest(config.data.path, layout=config.data.layout, root=config.data.root or None)


def trials_for(samples: Samples, config: RunConfig) -> tuple[Trial, ...]:
    """Return the trials that a configuration asks for."""
    wanted = config.protocol
    return trials_of(
        samples, name=wanted.name, folds=wanted.folds, calibration=wanted.calibration, train=wanted.train,
        seed=config.seed,
    )  # fmt: skip
