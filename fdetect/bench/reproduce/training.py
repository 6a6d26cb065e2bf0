"""Figures that begin with a training: pictures of the published training set, a network in a folder, then its test.

    train split --decode, published resize, one random crop each--> Examples --learn--> folder --by_checkpoint--> figure

The folder lies in the store, by everything that decides it: a training that was killed goes on where it stopped, and
one that is done is not done again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fdetect.backend import torch_device
from fdetect.bench.data.inputs import root_of
from fdetect.bench.reproduce.images import Request, by_checkpoint, manifest_of
from fdetect.bench.reproduce.measured import Lacking, Measured, judged_rows
from fdetect.bench.reproduce.published import Checkpoint, DataSet, Reproduction, Training, plain
from fdetect.bench.reproduce.published.geometry import repeated
from fdetect.bench.training.network_pictures import check_memory
from fdetect.bench.training.network_training import code_digest, schedule_of
from fdetect.config import NetworksConfig, fingerprint
from fdetect.engine import Store
from fdetect.engine.sources import Reader
from fdetect.engine.work import content_id
from fdetect.errors import DataError, ParameterError, WeightsError
from fdetect.images import decode
from fdetect.nets.weights import INSTALL_DEEP, torch_missing
from fdetect.perturb import rng_for
from fdetect.types import FAKE, Table

if TYPE_CHECKING:
    from fdetect.engine.loop import Progress
    from fdetect.nets.learning import Examples

__all__ = ["by_training", "crops_of", "training_rows"]

_ON_CPU = 2000  # steps that may be waited for without a GPU
_ENOUGH = 0.95  # of the stated number of images: some are always broken


def by_training(published: Reproduction, way: Training, request: Request, *, name: str) -> Measured:
    """Train a network on the published training set and measure it as a checkpoint.

    Raises WeightsError where torch is absent, Lacking where data, memory or a GPU for the budget are, DataError where
    the data hold no training images.
    """
    if missing := torch_missing():
        raise WeightsError(missing, INSTALL_DEEP)
    from fdetect.nets.detectors import network
    from fdetect.nets.detectors.loading import save_network
    from fdetect.nets.encoders import resolve_device
    from fdetect.nets.learning import learn

    architecture, progress = network.read(way.network)(), request.running.progress
    device = resolve_device(torch_device(request.running.backend))
    steps = request.steps or way.steps
    manifest = manifest_of(published, request)
    rows = training_rows(manifest, way)
    judged_rows(manifest, published.data)  # what is wrong with the test set is said before hours of training
    if device == "cpu" and steps > _ON_CPU:
        raise Lacking(f"time: {steps} steps of {way.batch} pictures of {way.crop} px are not for a CPU", "run it "
                      f"where torch finds a GPU, or give --steps up to {_ON_CPU}, which is not comparable")  # fmt: skip
    config = NetworksConfig(steps=steps, batch=way.batch, crop=way.crop, draws=way.draws, recipes=True)
    try:
        check_memory(config, len(rows), 0, 0)
    except ParameterError as error:
        raise Lacking(f"memory: {error}", "run it on a machine with more") from None
    chosen = manifest.take(rows)
    examples, ids, failed = crops_of(chosen, way, seed=request.seed, progress=progress)
    home = (request.store or Store()).folder / "reproduce"
    key = fingerprint(architecture.to_json(), repr(way), steps, ids, request.seed, device, code_digest())
    folder = home / f"{name}-{key[:8]}"
    if not (folder / "model.safetensors").is_file():
        checkpoint = home / f"checkpoint-{key}.safetensors"
        home.mkdir(parents=True, exist_ok=True)

        def told(done: int, loss: float) -> None:
            if progress:
                progress(f"{way.network} | loss {loss:.3f}", done, steps)

        usable = np.setdiff1d(np.arange(len(rows)), failed)
        learnt = learn(architecture, examples, usable, schedule=schedule_of(architecture, config, seed=request.seed,
                       device=device), device=device, checkpoint=checkpoint, about=key, progress=told)  # fmt: skip
        save_network(learnt.model, folder)
        checkpoint.unlink(missing_ok=True)
    found = by_checkpoint(published, Checkpoint(way.network, way.tested), replace(request, weights=str(folder)),
                          name=name, manifest=manifest)  # fmt: skip
    reasons = [f"trained for {steps} steps, the figure rests on {way.steps}"] if steps < way.steps else []
    if len(rows) - len(failed) < _ENOUGH * way.images:
        reasons.append(f"trained on {len(rows) - len(failed)} images, the figure rests on {way.images}")
    return replace(found, reasons=(*reasons, *found.reasons))


def training_rows(manifest: Table, way: Training) -> np.ndarray:
    """Return the rows of the split train that the published training set has, both classes.

    Raises DataError where a class is empty, or where it is open which generator is meant.
    """
    names = sorted({name for name, label, split in zip(*(manifest.column(c).to_pylist() for c in
                    ("generator", "label", "split")), strict=True) if label == FAKE and split == "train"})  # fmt: skip
    wanted = {plain(name) for name in way.generators}
    chosen = [name for name in names if not wanted or plain(name) in wanted]
    if wanted and len(chosen) > 1:
        raise DataError(f"{' and '.join(chosen)} are both spellings of the training generator; leave one folder out")
    about = DataSet(what="", layout=way.source, source="", own_reals=bool(wanted), split="train",
                    left_out=tuple(set(names) - set(chosen)))  # fmt: skip
    rows = np.unique(np.concatenate(list(judged_rows(manifest, about).values())))
    split = np.array(manifest.column("split").to_pylist(), object)[rows]
    rows = rows[split == "train"]  # images without a split are tested, and train nothing
    category = np.array(manifest.column("category").to_pylist(), object)[rows]
    if way.categories:
        rows = rows[np.isin(category.astype(str), way.categories)]
    label = np.array(manifest.column("label").to_pylist(), np.int64)[rows]
    if len(set(label)) < 2:
        of = f" of {', '.join(way.categories)}" if way.categories else ""
        raise DataError(f"no training images of both classes in split train{of}; the figure wants {way.source}")
    return np.asarray(rows)


def crops_of(
    manifest: Table, way: Training, *, seed: int = 0, progress: Progress | None = None
) -> tuple[Examples, tuple[str, ...], np.ndarray]:
    """Read and resize training pictures as published, and cut a random square of each, `way.draws` times.

    Returns the examples, the content id of each picture, and the numbers of those that cannot be read, which are black.
    """
    from fdetect.nets.learning import Examples

    paths: Sequence[str] = manifest.column("path").to_pylist()
    n, side = len(paths), way.crop
    pixels = np.zeros((n, way.draws, side, side, 3), np.uint8)
    ids, failed = [], []
    with Reader(root_of(manifest)) as reader:
        for row, path in enumerate(paths):
            ids.append(path)  # of what cannot be read
            try:
                data = reader.read(path)
                ids[row] = content_id(data)
                shown = repeated(way.resize(decode(data).pixels), side)
            except (DataError, OSError):
                failed.append(row)
                continue
            for draw in range(way.draws):
                rng = rng_for(seed, ids[row], f"crop {draw}")
                top, left = (int(rng.integers(length - side + 1)) for length in shown.shape[:2])
                pixels[row, draw] = shown[top : top + side, left : left + side]
            if progress:
                progress("reading training pictures", row + 1, n)
    label = np.array(manifest.column("label").to_pylist(), np.int64)
    generator = np.array(manifest.column("generator").to_pylist(), object)
    examples = Examples(pixels.reshape(-1, side, side, 3), np.arange(n) * way.draws, np.full(n, way.draws), label,
                        generator, np.full(n, -1))  # fmt: skip
    return examples, tuple(ids), np.array(failed, np.int64)
