"""Detector networks trained in every trial of a protocol, many at a time on one GPU; their scores as a table.

    python benchmarks/networks.py DATA --out OUT --device cuda --jobs 14 --seconds 480
    python benchmarks/trained.py DATA --networks OUT/scores.parquet

Trainings are taken in the order of --plan until the time is over; each that is finished is a file of OUT/trainings, so
that the same command goes on where a killed one was.  What was not finished is named in OUT/run.json and in no table.
A line of the plan is

    NETWORK  on=generated|aligned|both  protocol=NAME  steps=N  batch=N  rate=X  decay=X  seed=N  folds=0,1,2

`on=aligned` trains on photographs against their round trips through the autoencoders that ship, `both` adds generated
images.  The protocol `free` trains on photographs whose licence matches --licence, a quarter of them kept for
thresholds, tests on all other images, and keeps the weights.  Networks named by --embed also give their embeddings of
every image of a trial, for a fused model.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import queue
import re
import shlex
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from trainings import file_of, scored_rows

from fdetect.augment import draws
from fdetect.bench.data.inputs import root_of
from fdetect.bench.header import versions
from fdetect.bench.layouts import read_manifest
from fdetect.bench.protocols import Samples, Trial, samples_of, trials_of
from fdetect.bench.scores.scoring import shown_and_trained, train_condition
from fdetect.bench.training.learnt import NetworkPictures, apart
from fdetect.bench.training.network_outputs import Outputs, write_arrays
from fdetect.bench.training.network_training import code_digest
from fdetect.config import fingerprint
from fdetect.engine.pictures import Pictures, pictures
from fdetect.errors import FdetectError, ParameterError
from fdetect.files import write_atomic
from fdetect.nets.laundering import Laundering
from fdetect.nets.shipped import SHIPPED
from fdetect.perturb import condition
from fdetect.recipes import RECIPES
from fdetect.splits import hold_out, join_same_content
from fdetect.types import FAKE, REAL, Failure

CONDITIONS = ("native", "matched", "jpeg70", "rescaled")
_FREE = ("data", "plan", "out", "work", "jobs", "workers", "seconds", "embed")  # options that change no result
_LINE = {"on": "generated", "protocol": "leave_one_generator_out", "steps": "600", "batch": "32", "rate": "1e-3",
         "decay": "1e-2", "seed": "0", "folds": "all"}  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One training: a line of the plan in one trial."""

    number: int
    network: str
    on: str
    protocol: str
    trial: int
    steps: int
    batch: int
    rate: float
    decay: float
    seed: int
    embed: bool

    def file(self, loaded: Loaded) -> Path:
        """Where its result is kept: everything that decides it is in the name."""
        options, trial = loaded.options, loaded.trials[self.protocol][self.trial]
        rows = [part.tolist() for part in (trial.fit, trial.calibration, trial.test)]
        given = {name: value for name, value in vars(options).items() if name not in _FREE}
        key = fingerprint(asdict(replace(self, number=0)), rows, given, loaded.pictures.shown.ids, code_digest(),
                          versions())  # fmt: skip
        return file_of(options.out / "trainings", self.name, self.trial, key)

    @property
    def name(self) -> str:
        """What the detector is called in tables."""
        name = self.network + ("" if self.on == "generated" else f"@{self.on}")
        return name + (f"#{self.seed}" if self.seed else "")


@dataclass(frozen=True)
class Loaded:
    """What every worker reads: the pictures, and the trials of each protocol."""

    samples: Samples
    pictures: NetworkPictures
    laundered: dict[str, Pictures]
    rows_of: np.ndarray  # of the photographs that were laundered
    trials: dict[str, tuple[Trial, ...]]
    options: argparse.Namespace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="manifest or folder of labelled images")
    parser.add_argument("--plan", type=Path, required=True, help="file with a training a line")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="folder for the pictures; default OUT/pictures")
    parser.add_argument("--crop", type=int, default=224, help="px of what is tested")
    parser.add_argument("--train-crop", type=int, default=128)
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=2, help="draws of each round trip")
    parser.add_argument("--augmentation", default="full")
    parser.add_argument("--validation", type=float, default=0.15)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--licence", default="CC BY|free to use", help="regular expression of the protocol `free`")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes that cut pictures")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="after which no training is begun")
    parser.add_argument("--embed", default="", help="networks whose embeddings are kept, by commas")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    since = time.monotonic()
    options.work = options.work or options.out / "pictures"
    options.out.mkdir(parents=True, exist_ok=True)
    plan = plan_of(options)
    loaded = load(options, plan)
    print(f"pictures: {time.monotonic() - since:.1f} s", flush=True)
    jobs = list(jobs_of(plan, loaded))
    run(jobs, loaded, until=since + options.seconds)
    write(options, jobs, loaded, time.monotonic() - since)


def plan_of(options: argparse.Namespace) -> list[list[str]]:
    """Return the words of each line of the plan."""
    lines = [shlex.split(line, comments=True) for line in options.plan.read_text().splitlines()]
    return [line for line in lines if line]


def load(options: argparse.Namespace, plan: list[list[str]]) -> Loaded:
    """Cut all pictures, or map those that are there, and make the trials of every protocol of the plan."""
    manifest = read_manifest(options.data)
    samples, root = samples_of(manifest), root_of(manifest)
    common = {"root": root, "seed": options.seed, "workers": options.workers}
    conditions = [condition(name) for name in shown_and_trained(CONDITIONS)]
    shown = kept(options.work / "shown", list(samples.path), conditions=conditions, crop=options.crop, **common)
    drawn = kept(options.work / "drawn", list(samples.path), crop=options.train_crop,
                 conditions=draws(RECIPES[options.augmentation], options.draws), **common)  # fmt: skip
    samples = replace(samples, group=join_same_content(samples.group, shown.ids))
    reals = np.flatnonzero(samples.label == REAL)
    wanted = SHIPPED if any("on=aligned" in line or "on=both" in line for line in plan) else ()
    recipe = RECIPES[options.augmentation]
    trips = {name: draws(recipe, options.pairs, launder=Laundering.of(name), label=name) for name in wanted}
    laundered = kept(options.work / "laundered", list(samples.path[reals]), crop=options.train_crop,
                     conditions=[one for of_name in trips.values() for one in of_name], **common)  # fmt: skip
    by_name = {name: replace(laundered, pixels={one.name: laundered.pixels[one.name] for one in of_name})
               for name, of_name in trips.items()}  # fmt: skip
    protocols = {settings(line)["protocol"] for line in plan}
    licence = [text or "" for text in manifest.column("licence").to_pylist()] if "free" in protocols else []
    trials = {
        name: (free(samples, licence, options),) if name == "free"
        else trials_of(samples, name=name, folds=options.folds, seed=options.seed)
        for name in protocols
    }  # fmt: skip
    pictured = NetworkPictures(drawn, shown, samples.label, samples.generator)
    return Loaded(samples, pictured, by_name, reals, trials, options)


def free(samples: Samples, licence: list[str], options: argparse.Namespace) -> Trial:
    """Train on photographs of free licences alone, test on everything else."""
    mine = np.array([bool(re.search(options.licence, text)) for text in licence]) & (samples.label == REAL)
    rows = np.flatnonzero(mine)
    held = hold_out(list(samples.group[rows]), list(samples.real_source[rows]), share=0.25, seed=options.seed)
    shared = np.isin(samples.group.astype(str), samples.group[rows].astype(str))
    return Trial("free/0", "free photographs", rows[~held], rows[held], np.flatnonzero(~mine & ~shared))


def kept(folder: Path, paths: list[str], *, conditions: Any, **how: Any) -> Pictures:
    """Return pictures from a folder where an earlier call left the same ones, else make them."""
    if not conditions:
        return Pictures(tuple(paths), (), {}, {}, ())
    about, names = folder / "about.json", [one.name for one in conditions]
    made_by = fingerprint(paths, [one.settings for one in conditions], how["crop"], how["seed"], str(how["root"]),
                          code_digest())  # fmt: skip
    if not about.exists():
        made = pictures(paths, conditions=conditions, folder=folder, **how)
        for k, pixels in enumerate(made.pixels.values()):
            pixels.flush() if isinstance(pixels, np.memmap) else np.save(folder / f"{k}.npy", pixels)
        stated = {"made_by": made_by, "ids": made.ids, "ok": {name: made.ok[name].tolist() for name in names},
                  "failures": [asdict(one) for one in made.failures]}  # fmt: skip
        write_atomic(about, lambda path: path.write_text(json.dumps(stated)))
    stated = json.loads(about.read_text())
    if stated["made_by"] != made_by:
        raise ParameterError(f"{folder} holds pictures that were made otherwise; give another --work")
    pixels = {name: np.load(folder / f"{k}.npy", mmap_mode="r") for k, name in enumerate(names)}
    ok = {name: np.array(stated["ok"][name]) for name in names}
    failures = tuple(Failure(**one) for one in stated["failures"])
    return Pictures(tuple(paths), tuple(stated["ids"]), pixels, ok, failures)


def settings(line: list[str]) -> dict[str, str]:
    given = dict(word.split("=", 1) for word in line[1:])
    if unknown := sorted(set(given) - set(_LINE)):
        raise ParameterError(f"the plan's line '{' '.join(line)}': no setting '{unknown[0]}' ({', '.join(_LINE)})")
    return {**_LINE, **given}


def jobs_of(plan: list[list[str]], loaded: Loaded) -> Iterator[Job]:
    """Yield the trainings in the order of the plan."""
    embed, number = loaded.options.embed.split(","), 0
    for line in plan:
        how = settings(line)
        for k, trial in enumerate(loaded.trials[how["protocol"]]):
            if how["folds"] == "all" or trial.name.rpartition("/")[2] in how["folds"].split(","):
                yield Job(number, line[0], how["on"], how["protocol"], k, int(how["steps"]), int(how["batch"]),
                          float(how["rate"]), float(how["decay"]), int(how["seed"]),
                          line[0] in embed and how["protocol"] != "free")  # fmt: skip
                number += 1


def run(jobs: list[Job], loaded: Loaded, until: float) -> None:
    """Train in as many processes as asked for, in order, until the time is over."""
    options = loaded.options
    context = multiprocessing.get_context("spawn")
    todo, said = context.Queue(), context.Queue()
    waiting = [job for job in jobs if not job.file(loaded).exists()]
    for job in waiting:
        todo.put(job)
    workers = [context.Process(target=serve, args=(options, todo, said, until), daemon=True)
               for _ in range(min(options.jobs, len(waiting)))]  # fmt: skip
    for worker in workers:
        worker.start()
    n_done = len(jobs) - len(waiting)
    while any(worker.is_alive() for worker in workers) or not said.empty():
        try:
            line = said.get(timeout=0.5)
        except queue.Empty:
            continue
        n_done += 1
        print(f"{n_done}/{len(jobs)} {line}", flush=True)


def serve(options: argparse.Namespace, todo: Any, said: Any, until: float) -> None:
    """Take jobs until none is left or the time is over, and write what each came to."""
    import torch

    torch.set_num_threads(1)
    loaded = load(options, plan_of(options))
    examples = examples_of(loaded)
    while time.monotonic() < until:
        try:
            job = todo.get(timeout=1)
        except queue.Empty:
            return
        try:
            about, arrays = trained(job, loaded, examples)
        except FdetectError as error:  # the others go on, and the run says it
            said.put(f"{job.name} {job.protocol} {loaded.trials[job.protocol][job.trial].name}: {error}")
            continue
        arrays["about"] = np.array(json.dumps(about, default=float))
        write_arrays(job.file(loaded), arrays)
        said.put(f"{job.name} {job.protocol} {loaded.trials[job.protocol][job.trial].name}: "
                 f"validation {about['auroc']:.3f}, {about['seconds']:.0f} s")  # fmt: skip


def examples_of(loaded: Loaded) -> Any:
    """All draws on the device: of the images, and of every round trip behind them."""
    import torch

    from fdetect.nets.learning import Examples

    own = loaded.pictures.examples
    pixels, first, n_draws = [own.pixels], [own.first], [own.draws]
    label, generator, partner = [own.label], [own.generator], [own.partner]
    start = len(own.pixels)
    for name, one in loaded.laundered.items():
        stacked = np.stack(list(one.pixels.values()), axis=1)
        n, k = stacked.shape[:2]
        pixels.append(stacked.reshape(-1, *stacked.shape[2:]))
        first.append(start + np.arange(n) * k)
        n_draws.append(np.full(n, k))
        label.append(np.full(n, FAKE))
        generator.append(np.full(n, f"launder_{name}", object))
        partner.append(loaded.rows_of)
        start += n * k
    joined = torch.from_numpy(np.concatenate(pixels)).to(loaded.options.device)
    return Examples(joined, *(np.concatenate(part) for part in (first, n_draws, label, generator, partner)))


def trained(job: Job, loaded: Loaded, examples: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Train one network in one trial; return what happened, and the scores of its test images and calibration reals.

    Arrays are `rows`, `score|CONDITION` (NaN where a picture failed), `losses`; with embeddings
    `embedding|CONDITION`, `logit|CONDITION`, `rows|CONDITION` and `fresh`, rows that only validated; of the protocol
    `free` `weight|NAME`.
    """
    from fdetect.nets.detectors import network
    from fdetect.nets.learning import learn
    from fdetect.nets.training import Schedule

    options, samples, since = loaded.options, loaded.samples, time.monotonic()
    trial = loaded.trials[job.protocol][job.trial]
    fit, validation = parts(job, loaded, trial)
    rows = fit[loaded.pictures.usable[fit]]
    if job.on != "generated":
        made = np.flatnonzero((examples.partner >= 0) & whole(loaded))
        mine = made[np.isin(examples.partner[made], rows)]
        rows = np.concatenate([rows if job.on == "both" else rows[samples.label[rows] == REAL], mine])
    precision = options.precision or ("bfloat16" if options.device == "cuda" else "float32")
    schedule = Schedule(steps=job.steps, batch=job.batch, rate=job.rate, decay=job.decay, seed=job.seed,
                        precision=precision)  # fmt: skip
    learnt = learn(network.read(job.network)(), examples, rows, schedule=schedule, validation=validation,
                   validate_every=max(job.steps // 5, 1), device=options.device, deterministic=False)  # fmt: skip
    tested = scored_rows(trial)
    everything = np.unique(np.concatenate([trial.fit, tested])) if job.embed else tested
    looked_at = {name: everything if train_condition(name) == name else tested for name in CONDITIONS}
    said = Outputs.of(learnt.model, loaded.pictures.shown, looked_at, np.setdiff1d(trial.fit, fit))
    arrays = {"rows": tested, "losses": np.array(learnt.record.losses, np.float32)}
    arrays |= {f"score|{name}": said.scores(name, tested) for name in CONDITIONS}
    if job.protocol == "free":
        arrays |= {f"weight|{name}": one.cpu().numpy() for name, one in learnt.model.state_dict().items()}
    if job.embed:
        arrays |= said.arrays()
    about = {
        "auroc": learnt.auroc, "validation": learnt.validation, "undertrained": learnt.undertrained,
        "validations": learnt.record.validations, "best_step": learnt.record.best_step,
        "parameters": sum(p.numel() for p in learnt.model.parameters() if p.requires_grad),
        "device": learnt.record.device, "torch": learnt.record.torch, "seconds": time.monotonic() - since,
    }  # fmt: skip
    return about, arrays


def whole(loaded: Loaded) -> np.ndarray:
    """(N + trips,) bool: pictures, and round trips behind them, of which every draw is there."""
    trips = [np.stack(list(one.ok.values())).all(axis=0) for one in loaded.laundered.values()]
    return np.concatenate([loaded.pictures.usable, *trips])


def parts(job: Job, loaded: Loaded, trial: Trial) -> tuple[np.ndarray, Any]:
    """Return the rows to fit on, and the pictures that validate: both classes, of groups that are kept apart.

    Without a generated image among the training images, round trips of the photographs kept apart are the other class.
    """
    from fdetect.nets.learning import Shown

    options, samples = loaded.options, loaded.samples
    if job.protocol != "free":
        fit, held = apart(samples, trial, share=options.validation, seed=options.seed)
        if job.on == "generated":
            return fit, loaded.pictures.under("matched", held)
    else:
        held = hold_out(list(samples.group[trial.fit]), list(samples.stratum[trial.fit]), share=options.validation,
                        seed=options.seed)  # fmt: skip
        fit, held = trial.fit[~held], trial.fit[held]
    reals = held[(samples.label[held] == REAL) & loaded.pictures.usable[held]]
    mine, first = np.flatnonzero(np.isin(loaded.rows_of, reals)), next(iter(loaded.pictures.drawn.pixels))
    pixels, generator = [loaded.pictures.drawn.pixels[first][loaded.rows_of[mine]]], [""] * len(mine)
    for name, one in loaded.laundered.items():
        there = mine[next(iter(one.ok.values()))[mine]]
        pixels.append(next(iter(one.pixels.values()))[there])
        generator += [f"launder_{name}"] * len(there)
    label = np.repeat([REAL, FAKE], [len(mine), len(generator) - len(mine)])
    laundered = Shown(np.concatenate(pixels), label, np.array(generator, object))
    if job.on == "aligned":
        return fit, laundered
    return fit, loaded.pictures.under("matched", held)


def write(options: argparse.Namespace, jobs: list[Job], loaded: Loaded, seconds: float) -> None:
    """Write the scores as one table, and what happened in each training."""
    tables, about = [], []
    for job in jobs:
        trial = loaded.trials[job.protocol][job.trial].name
        known = {"network": job.name, "protocol": job.protocol, "trial": trial, "steps": job.steps, "batch": job.batch,
                 "rate": job.rate, "decay": job.decay}  # fmt: skip
        if not job.file(loaded).exists():
            about.append({**known, "error": "not begun, or not finished in time"})
            continue
        arrays = np.load(job.file(loaded))
        about.append({**known, **json.loads(str(arrays["about"]))})
        for name in (name for name in CONDITIONS if f"score|{name}" in arrays):
            n = len(arrays["rows"])
            tables.append(pa.table({
                "path": [str(loaded.samples.path[row]) for row in arrays["rows"]], "detector": [job.name] * n,
                "trial": [trial] * n, "condition": [name] * n, "score": arrays[f"score|{name}"],
                "protocol": [job.protocol] * n,
            }))  # fmt: skip
    if tables:
        pq.write_table(pa.concat_tables(tables), options.out / "scores.parquet", compression="zstd")
    given = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
    failed = dict.fromkeys(f"{one.path}: {one.stage}: {one.reason}" for part in
                           (loaded.pictures.shown, loaded.pictures.drawn, *loaded.laundered.values())
                           for one in part.failures)  # fmt: skip
    print(f"{len(failed)} pictures or draws failed", *list(failed)[:5], sep="\n  ")
    stated = {"versions": versions(), "failures": list(failed), "seconds": round(seconds, 1), "options": given,
              "trainings": about}  # fmt: skip
    (options.out / "run.json").write_text(json.dumps(stated, indent=1) + "\n")


if __name__ == "__main__":
    main()
