"""The detector that ships: how it was made, and what it is worth.  Needs TAEF2's weights (fdetect weights import).

    python benchmarks/shipped.py network DATA      a network on aligned pairs    -> fdetect/nets/shipped/aligned-trunk
    python benchmarks/shipped.py model DATA        the fused detector with it    -> fdetect/classifiers/shipped/model
    python benchmarks/shipped_page.py DATA         its scores of all other images -> docs/shipped.md
    python benchmarks/shipped.py sign DATA         the same model for code that changed without changing a value

What is fitted is fitted on photographs whose licence matches --licence and on their round trips through autoencoders,
the nine that come with fdetect and TAEF2.  A quarter of these photographs is kept from the network, validates it, and
shows the gates what the network says of pictures that it does not know.  These and all photographs of other licences
set the thresholds: of them the model keeps scores alone.  No generated image takes part in any fit.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa

import fdetect
from fdetect.augment import draws
from fdetect.bench.data.inputs import root_of
from fdetect.bench.layouts import read_manifest
from fdetect.bench.protocols import Samples, samples_of
from fdetect.bench.running import Running
from fdetect.bench.steps import tables_of
from fdetect.bench.training.columns import Columns
from fdetect.bench.training.cross_validation import LabelledRows
from fdetect.bench.training.fit_parts import calibrations, data_of
from fdetect.bench.training.head_fit import asked_of
from fdetect.classifiers.calibration import Platt, platt
from fdetect.classifiers.expert import in_float32
from fdetect.classifiers.fused_head import FusedHead
from fdetect.classifiers.mean_head import MeanHead
from fdetect.classifiers.model_folder import plain
from fdetect.classifiers.saved import FittedDetector, load_detector, save_detector
from fdetect.classifiers.shipped import MODEL
from fdetect.engine import Store
from fdetect.engine import run as extracted
from fdetect.engine.pictures import pictures
from fdetect.nets.folders import file_sha256
from fdetect.nets.fusion import start_gates
from fdetect.nets.laundering import Laundering
from fdetect.nets.shipped import LICENCE, SHIPPED, SHIPPED_HOME
from fdetect.pairs import halves
from fdetect.perturb import condition
from fdetect.recipes import RECIPES
from fdetect.splits import hold_out
from fdetect.types import FAKE, REAL, Table

NETWORK = "aligned-trunk"  # its folder in the package, and what a model calls it
ARCHITECTURE = "residual_trunk:width=16"
AUTOENCODERS = (*SHIPPED, "taef2")
FREE = "CC BY|free to use"
HEAD = "fused:forms=linear+hidden"
SAME = 1e-5  # of a score, whose deviation over photographs is about 1: torch rounds by the size of a batch
FEATURES = "upsampling_peaks"  # the columns beside the network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("network", "model", "sign"))
    parser.add_argument("data", help="manifest with the columns licence, real_source and group")
    parser.add_argument("--licence", default=FREE, help="regular expression of what is fitted on")
    parser.add_argument("--held", type=float, default=0.25, help="share of photographs that are kept from the network")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--draws", type=int, default=4, help="of an image, whose mean score is judged")
    parser.add_argument("--work", type=Path, default=Path("runs/shipped"), help="folder of the checkpoint")
    parser.add_argument("--store", default=None, help="folder of finished rows")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    manifest = read_manifest(options.data)
    {"network": network, "model": model, "sign": sign}[options.step](manifest, options)


def free_photographs(manifest: Table, samples: Samples, licence: str) -> np.ndarray:
    """Return the row numbers of photographs that may be fitted on."""
    licences = [text or "" for text in manifest.column("licence").to_pylist()]
    mine = np.array([bool(re.search(licence, text)) for text in licences]) & (samples.label == REAL)
    return np.flatnonzero(mine)


def kept_from_network(samples: Samples, rows: np.ndarray, options: argparse.Namespace) -> np.ndarray:
    """(n,) bool: the photographs that the network does not learn from, by whole groups."""
    return hold_out(list(samples.group[rows]), list(samples.real_source[rows]), share=options.held, seed=options.seed)


# --- the network ----------------------------------------------------------------------------------------------------


def network(manifest: Table, options: argparse.Namespace) -> None:
    """Train it at 128 px on draws of the photographs and of their round trips, and write its folder."""
    import torch

    from fdetect.nets.detectors import network as architectures
    from fdetect.nets.detectors.loading import save_network
    from fdetect.nets.learning import Examples, Shown, learn
    from fdetect.nets.training import Schedule

    torch.set_num_threads(1)
    samples = samples_of(manifest)
    rows = free_photographs(manifest, samples, options.licence)
    held = kept_from_network(samples, rows, options)
    recipe, size = RECIPES["full"], 128
    own = draws(recipe, 16)
    # TAEF2 stands for two, as the one decoder among them that was made for photographs at large
    trips = {name: draws(recipe, 4 if name == "taef2" else 2, launder=Laundering.of(name), label=name)
             for name in AUTOENCODERS}  # fmt: skip
    wanted = [*own, *(one for of_name in trips.values() for one in of_name)]
    made = pictures(list(samples.path[rows]), conditions=wanted, root=root_of(manifest), crop=size, seed=options.seed,
                    workers=options.workers)  # fmt: skip
    if made.failures:
        sys.exit(f"{made.failures[0].path}: {made.failures[0].reason}")
    blocks = [("", [one.name for one in own])]
    for name, of_name in trips.items():
        names = [one.name for one in of_name]
        blocks += [(f"launder_{name}{f'/{k}' if k else ''}", names[2 * k : 2 * k + 2]) for k in range(len(names) // 2)]
    n, start, parts = len(rows), 0, []
    for generator, names in blocks:
        stacked = np.stack([made.pixels[name] for name in names], axis=1).reshape(-1, size, size, 3)
        k = len(names)
        parts.append((stacked, start + np.arange(n) * k, np.full(n, k), np.full(n, FAKE if generator else REAL),
                      np.full(n, generator, object), np.arange(n) if generator else np.full(n, -1)))  # fmt: skip
        start += n * k
    pixels, *others = (np.concatenate(one) for one in zip(*parts, strict=True))
    examples = Examples(torch.from_numpy(pixels), *others)
    fit = np.flatnonzero(~held)
    learnt_from = np.concatenate([fit, np.flatnonzero(np.isin(examples.partner, fit))])
    apart, firsts = np.flatnonzero(held), [own[0].name, *(of_name[0].name for of_name in trips.values())]
    shown = Shown(
        np.concatenate([made.pixels[name][apart] for name in firsts]),
        np.repeat([REAL] + [FAKE] * len(trips), len(apart)),
        np.repeat(np.array(["", *(f"launder_{name}" for name in trips)], object), len(apart)),
    )
    options.work.mkdir(parents=True, exist_ok=True)
    schedule = Schedule(steps=options.steps, batch=32, rate=1e-3, decay=1e-2, seed=options.seed)
    learnt = learn(
        architectures.read(ARCHITECTURE)(), examples, learnt_from, schedule=schedule, validation=shown,
        validate_every=150, checkpoint=options.work / "checkpoint.safetensors", progress=tell,
    )  # fmt: skip
    folder = SHIPPED_HOME / NETWORK
    save_network(learnt.model, folder)
    card = network_card(learnt, made.ids, fit, samples.path[rows], options)
    save_network(learnt.model, folder, card | {"model_sha256": file_sha256(folder / "model.safetensors")})
    print(f"{folder}: validation {learnt.auroc:.3f}; {learnt.undertrained or 'trained'}")


def network_card(
    learnt: Any, ids: Sequence[str], fit: np.ndarray, paths: np.ndarray, options: argparse.Namespace
) -> dict[str, Any]:
    sources = sorted({Path(paths[k]).parent.name for k in fit})
    return {
        "licence": LICENCE, "purpose": "release",
        "data": {"photographs": len(fit), "folders": sources, "licence": options.licence,
                 "autoencoders": list(AUTOENCODERS), "ids": sorted(ids[k] for k in fit)},
        "training": {"steps": options.steps, "batch": 32, "rate": 1e-3, "decay": 1e-2, "seed": options.seed,
                     "best_step": learnt.record.best_step, "device": learnt.record.device,
                     "torch": learnt.record.torch},
        "validation": {"photographs": len(ids) - len(fit), "auroc": round(learnt.auroc, 4),
                       "by_autoencoder": {k: round(v, 4) for k, v in learnt.validation.items()},
                       "undertrained": learnt.undertrained},
    }  # fmt: skip


# --- the model ------------------------------------------------------------------------------------------------------


def model(manifest: Table, options: argparse.Namespace) -> None:
    """Fit branches and gates on pairs, set thresholds on photographs the network does not know, and write the model."""
    samples, running = samples_of(manifest), running_of(options)
    rows = free_photographs(manifest, samples, options.licence)
    columns = Columns.of(f"{FEATURES},network:weights={NETWORK}", condition="matched", crop=options.crop)
    asked = asked_of(HEAD, search=False, balance="", calibrate="none", seed=options.seed).on(columns)
    pairs = paired(samples, rows, columns, running, manifest, options)
    learnt = asked.learn(pairs)
    fresh = columns.fresh(pairs.ids)
    head, probabilities = evenly(learnt.head, pairs, fresh)
    learnt_from = rows[~kept_from_network(samples, rows, options)]
    others = manifest.take(pa.array(np.setdiff1d(np.flatnonzero(samples.label == REAL), learnt_from)))
    tables = tables_of(others, columns, condition="matched", seed=options.seed, running=running, draws=options.draws)
    on_reals = np.concatenate([one.values for one in tables], axis=1)  # draws stand side by side
    calibration, subsets = calibrations(MeanHead(head, options.draws), on_reals)
    sources = dict(sorted(Counter(others.column("real_source").to_pylist()).items()))
    mine = tables_of(manifest.take(pa.array(rows)), columns, condition="matched", seed=options.seed, running=running,
                     draws=1)  # fmt: skip
    record = {
        "data": data_of(manifest.take(pa.array(rows)), mine[0].ids, np.zeros(len(rows), np.int64)),
        "aligned": {"autoencoders": list(AUTOENCODERS), "draws": 1, "generated": 0.0, "n_photographs": len(rows)},
        "weights": asked.balance, "search": learnt.tried, "networks": columns.licences, "cross_validated": None,
        "probabilities": {"n_real": int((fresh & (pairs.label == REAL)).sum()),
                          "n_fake": int((fresh & (pairs.label == FAKE)).sum())},
        "constant_columns": [],
        "thresholds": {"n_real": len(calibration.scores), "n_fakes_unused": 0, "share": 0.0, "sources": sources},
    }  # fmt: skip
    fitted = FittedDetector(
        head=head, features=columns.names, codes=columns.codes, condition="matched", crop=options.crop,
        seed=options.seed, calibration=calibration, version=fdetect.__version__, n_failed=0, subsets=subsets,
        trained_on={"": len(rows)} | {f"launder_{name}": len(rows) for name in AUTOENCODERS}, record=plain(record),
        settings=learnt.settings, calibrate="platt", probabilities=probabilities, draws=options.draws,
        about=columns.about(mine[0].about),
    )  # fmt: skip
    MODEL.parent.mkdir(exist_ok=True)
    save_detector(fitted, MODEL)
    print(f"{MODEL}: {calibration.text}")


def sign(manifest: Table, options: argparse.Namespace) -> None:
    """Write the model again with the digests of today's code, after it was seen that this code says the same.

    That is: that the scores of the photographs that set its thresholds, from pixels on, are those in the model.
    """
    fitted, samples, running = load_detector(MODEL), samples_of(manifest), running_of(options)
    assert isinstance(fitted, FittedDetector)
    rows = free_photographs(manifest, samples, options.licence)
    learnt_from = rows[~kept_from_network(samples, rows, options)]
    others = manifest.take(pa.array(np.setdiff1d(np.flatnonzero(samples.label == REAL), learnt_from)))
    columns = Columns.of(fitted.features, condition=fitted.condition, crop=fitted.crop)
    tables = tables_of(others, columns, condition=fitted.condition, seed=fitted.seed, running=running,
                       draws=fitted.draws)  # fmt: skip
    scores = np.sort(fitted.judge.score(np.concatenate([one.values for one in tables], axis=1)))
    furthest = float(np.abs(scores - np.array(fitted.calibration.scores)).max())
    if furthest > SAME:
        sys.exit(f"this code scores otherwise, by up to {furthest:.2g}: make the model again, and its page")
    save_detector(replace(fitted, codes=columns.codes, about=columns.about(tables[0].about)), MODEL)
    print(f"{MODEL}: {len(scores)} scores of photographs are the same, to {furthest:.2g}")


def evenly(head: Any, pairs: LabelledRows, fresh: np.ndarray) -> tuple[FusedHead, Platt]:
    """Return the head with gates that trust all branches alike, and the curve that makes probabilities of its scores.

    Gates that are fitted on pairs learn which branch tells these autoencoders, and leave the spectrum out; which branch
    tells generators that nobody knows is not in the pairs.  Each logit is in units of its deviation over photographs.
    `fresh` are rows that the network does not know: probabilities are fitted on them.
    """
    fitted, names = head.fitted, head.fitted.branches
    vectors = head.vectors(pairs.values[pairs.label == REAL])
    logits = [fitted.experts[name].seen(vectors[name])[0] for name in names]
    slope = np.array([1 / one.std() for one in logits])
    even = replace(start_gates(len(names)), log_slope=np.log(slope),
                   offset=np.array([-k * one.mean() for k, one in zip(slope, logits, strict=True)]))  # fmt: skip
    made = FusedHead(head.columns, replace(fitted, gate=in_float32(even)))
    return made, platt(made.score(pairs.values[fresh]), pairs.label[fresh])


def paired(
    samples: Samples, rows: np.ndarray, columns: Columns, running: Running, manifest: Table, options: argparse.Namespace
) -> LabelledRows:
    """Return the columns of each photograph and of its round trips, with the photograph's id and group."""
    pairs = {name: halves(condition("matched"), Laundering.of(name), name, draw=1) for name in AUTOENCODERS}
    pristine = next(iter(pairs.values()))[0]  # the same with every autoencoder
    shown = {"": pristine} | {f"launder_{name}": pair[1] for name, pair in pairs.items()}
    tasks = columns.tasks
    found = extracted(tasks, list(samples.path[rows]), root=root_of(manifest), conditions=tuple(shown.values()),
                      crop=options.crop, seed=options.seed, **running.for_engine())  # fmt: skip
    values = [np.concatenate([found.tables[half.name, task.name].values for task in tasks], axis=1)
              for half in shown.values()]  # fmt: skip
    n, k = len(rows), len(shown)
    return LabelledRows(
        tuple(name for task in tasks for name in task.columns), np.concatenate(values),
        np.repeat([REAL] + [FAKE] * (k - 1), n), np.repeat(np.array(list(shown), object), n),
        np.tile(samples.real_source[rows], k), np.tile(samples.group[rows], k), list(found.ids) * k,
    )  # fmt: skip


def tell(what: object, done: object, total: object = None) -> None:
    """Say on stderr how far it is: of the engine a step, of the training a loss."""
    if done == total or (isinstance(what, int) and what % 50 == 0):
        print(what, done if total is None else f"{total} done", file=sys.stderr, flush=True)


def running_of(options: argparse.Namespace) -> Running:
    return Running.of({"store": Store(options.store), "workers": options.workers, "progress": tell})



if __name__ == "__main__":
    main()
