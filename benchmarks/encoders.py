"""How fast RIGID is beside the plain loop of a notebook, where the time goes, and what bfloat16 changes.

    python benchmarks/encoders.py [--encoder dinov2-large] [--images DATA] [--count 32] [--rounds 3] [--write]

The rival is what one writes in a notebook: one image at a time, Pillow's resize, to a tensor, normalise, a forward for
the image and one for its noisy copy.  All contestants of a round run one after another on the same crops, and ratios
are taken within a round.  Without `--encoder` the network is a ViT-S/14 of DINOv2's real size with random weights, on
CUDA a ViT-L/14: good for speed alone.  With DATA that has labels, RIGID's scores in float32 and bfloat16 are compared
image by image: the deviation of 1 - cos, the order of the images, and, of weights that are given, the AUROC of both.

`--compile` adds a row with torch.compile.  `--write` puts the tables between the markers of docs/speed-encoders.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from engine import make_crops
from PIL import Image
from racing import race, ratios, spread, write_between
from scipy.stats import kendalltau, spearmanr

from fdetect.bench.data.inputs import any_images
from fdetect.engine import Store, run
from fdetect.engine.work import content_id
from fdetect.errors import FdetectError
from fdetect.images import decode
from fdetect.metrics import TrialSample, evaluate, group_weights, interval
from fdetect.nets.encoders import Encoder, load_encoder
from fdetect.perturb import rng_for
from fdetect.rigid import View, prepare
from fdetect.rigid.drift import Rigid
from fdetect.rigid.spaces import _uploaded
from fdetect.rigid.views import Shown
from fdetect.types import Batch

PAGE = Path(__file__).resolve().parent.parent / "docs" / "speed-encoders.md"
AIMS = {"decoded": 1500, "files": 1000}  # images/s on a GPU of the H200's class, ViT-L/14


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", help="weights; default: random ones, for speed alone")
    parser.add_argument("--images", help="manifest or folder of the crops; with labels: what bf16 changes")
    parser.add_argument("--count", type=int, default=32, help="crops that are raced")
    parser.add_argument("--side", type=int, default=256, help="side of the crops in px")
    parser.add_argument("--batches", default="1,16", help="batch sizes; on a GPU 64,256 too")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--deviation", type=int, default=200, help="images of DATA for what bf16 changes; 0: none")
    parser.add_argument("--compile", action="store_true", help="a row with torch.compile too")
    parser.add_argument("--write", action="store_true", help=f"write the tables into {PAGE.name}")
    options = parser.parse_args()
    if options.deviation and not options.images:
        options.deviation = 0
    with tempfile.TemporaryDirectory(prefix="fdetect-bench-") as folder:
        place = Path(folder)
        try:
            encoder = options.encoder or str(random_weights(place / "encoder"))
            Rigid(encoder=encoder).space()
        except FdetectError as error:
            parser.error(str(error))
        files = make_crops(options, place / "images", options.count)
        lines = [about(encoder, options), "", *raced(options, encoder, files, place), "", *profile(encoder, files)]
        if options.deviation:
            lines += ["", *deviation(options, encoder, place)]
    text = "\n".join(lines)
    print(text)
    if options.write:
        write_between(PAGE, "benchmark:encoders", text)


def random_weights(folder: Path) -> Path:
    """Save a DINOv2 of the published size whose weights keep the variance of what passes through them."""
    from transformers import Dinov2Config, Dinov2Model

    small = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6}
    large = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
    config = Dinov2Config(**(large if torch.cuda.is_available() else small), image_size=518, patch_size=14)
    torch.manual_seed(0)
    model = Dinov2Model(config)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and "embeddings" not in name:
            torch.nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    model.save_pretrained(folder)
    return folder


def about(encoder: str, options: argparse.Namespace) -> str:
    card = Rigid(encoder=encoder).space().card
    kind = "random weights, speed only" if not options.encoder else f"{card.purpose}, sha256 {card.sha256[:12]}"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg()[:1])
    return (
        f"Measured on {time.strftime('%Y-%m-%d')} on {device}, torch {torch.__version__}; encoder of width "
        f"{card.width}, {card.layers} layers, patch {card.patch} ({kind}); {options.count} JPEG crops of "
        f"{options.side} px, {options.rounds} rounds, load of the machine at the start {load}. Medians; in brackets "
        "the range over the rounds."
    )


# --- the race --------------------------------------------------------------------------------------------------------


def raced(options: argparse.Namespace, encoder: str, files: list[Path], place: Path) -> list[str]:
    decoded = [decode(file.read_bytes()).pixels for file in files]
    notebook = Notebook(load_encoder(encoder))
    decoded_rows: dict[str, Callable[[], Any]] = {"plain loop": lambda: [notebook.score(pixels) for pixels in decoded]}
    for dtype in ("float32", "bfloat16"):
        for size in (int(text) for text in options.batches.split(",")):
            decoded_rows[f"fdetect, {dtype}, batches of {size}"] = batches(encoder, dtype, decoded, size)
    if options.compile:
        largest = int(options.batches.split(",")[-1])
        decoded_rows[f"fdetect, bfloat16, compiled, {largest} at once"] = compiled(encoder, decoded, largest)
    file_rows: dict[str, Callable[[], Any]] = {
        "plain loop": lambda: [notebook.score(np.asarray(Image.open(file).convert("RGB"))) for file in files]
    }
    timings: dict[str, list[Any]] = {}
    for dtype in ("float32", "bfloat16"):
        for workers in dict.fromkeys((0, 1, len(os.sched_getaffinity(0)))):
            name = f"fdetect, {dtype}, {workers or 'no'} worker{'s' if workers != 1 else ''}"
            file_rows[name] = from_files(encoder, dtype, files, place, workers, timings.setdefault(name, []))
    rows = decoded_rows | {f"{name} (files)": row for name, row in file_rows.items()}
    seconds = race(synced(rows), options.rounds)
    lines = table("decoded images", AIMS["decoded"], {name: seconds[name] for name in decoded_rows}, len(files))
    found = {name: seconds[f"{name} (files)"] for name in file_rows}
    lines += ["", *table("JPEG files", AIMS["files"], found, len(files)), ""]
    for name, of_rounds in timings.items():
        timing, cores = of_rounds[-1]
        overlap = sum(timing.busy.values()) / timing.seconds
        lines.append(f"- {name}: {cores:.2f} cores busy; lanes busy {overlap:.2f} times the time that passed; {timing}")
    return lines


class Notebook:
    """One image at a time, written from the recipe: resize, tensor, normalise, noise, two forwards, cosine."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.mean, self.std = (
            torch.tensor(values, device=encoder.device).view(1, 3, 1, 1)
            for values in (encoder.card.mean, encoder.card.std)
        )

    @torch.inference_mode()
    def score(self, pixels: np.ndarray) -> float:
        """(H, W, 3) uint8 -> 1 - cos."""
        size = (self.encoder.size, self.encoder.size)
        image = np.array(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
        tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float().div(255).to(self.encoder.device)
        tensor = (tensor - self.mean) / self.std
        noisy = tensor + 0.05 * torch.randn_like(tensor)
        one, two = (self.encoder.model(pixel_values=x).last_hidden_state[:, 0] for x in (tensor, noisy))
        return float(1 - torch.nn.functional.cosine_similarity(one, two))


def batches(encoder: str, dtype: str, decoded: list[np.ndarray], size: int) -> Callable[[], list[np.ndarray]]:
    """RIGID's own tasks on decoded images: geometry, views, one forward, score."""
    rigid = Rigid(encoder=encoder, dtype=dtype)
    tasks = prepare(rigid)

    def score() -> list[np.ndarray]:
        found = []
        for k in range(0, len(decoded), size):
            batch = batch_of(decoded[k : k + size], tasks[0].geometry, start=k)
            rows = tasks[0].together(batch, tasks)
            found.append(rigid.score(**{task.view_name: row for task, row in zip(tasks, rows, strict=True)}))
        return found

    return score


def batch_of(decoded: list[np.ndarray], geometry: Any, *, start: int = 0) -> Batch:
    ids = tuple(f"{start + k:032x}" for k in range(len(decoded)))
    return Batch(ids, np.stack([geometry(pixels) for pixels in decoded]), ())


def compiled(encoder: str, decoded: list[np.ndarray], size: int) -> Callable[[], list[np.ndarray]]:
    """The same views through torch.compile, which fdetect does not do by itself."""
    rigid = Rigid(encoder=encoder, dtype="bfloat16")
    tasks, plain = prepare(rigid), load_encoder(encoder, dtype="bfloat16")
    faster = dataclasses.replace(plain, model=torch.compile(plain.model), chunk=2 * size)

    def score() -> list[np.ndarray]:
        found = []
        for k in range(0, len(decoded), size):
            batch = batch_of(decoded[k : k + size], tasks[0].geometry, start=k)
            images, shown = _uploaded(batch, plain.device), Shown(batch.ids, 0, plain.card.std)
            rows = faster.encode(torch.cat([task.view(images, shown) for task in tasks]))
            found.append(rigid.score(clean=rows[: len(batch)], noise0=rows[len(batch) :]))
        return found

    return score


def from_files(
    encoder: str, dtype: str, files: list[Path], place: Path, workers: int, timings: list[Any]
) -> Callable[[], None]:
    """The whole engine with an empty store; notes its account of the time, and how many cores were busy."""
    tasks = prepare(Rigid(encoder=encoder, dtype=dtype))

    def extract() -> None:
        with tempfile.TemporaryDirectory(dir=place) as empty:
            since, before = time.perf_counter(), cpu_seconds()
            done = run(tasks, [str(file.relative_to(place)) for file in files], root=place, workers=workers,
                       store=Store(empty))  # fmt: skip
            timings.append((done.timing, (cpu_seconds() - before) / (time.perf_counter() - since)))
        if done.n_computed != len(tasks) * len(files):
            raise SystemExit(f"{len(tasks) * len(files) - done.n_computed} rows failed")

    return extract


def cpu_seconds() -> float:
    """Of this process and of those that it has seen to their end."""
    return sum(
        getattr(resource.getrusage(who), name)
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        for name in ("ru_utime", "ru_stime")
    )


def synced(rows: dict[str, Callable[[], Any]]) -> dict[str, Callable[[], Any]]:
    """Have every row wait for the GPU before it counts as done."""

    def waits(row: Callable[[], Any]) -> Callable[[], Any]:
        def both() -> None:
            row()
            torch.cuda.synchronize()

        return both

    return {name: waits(row) for name, row in rows.items()} if torch.cuda.is_available() else rows


def table(what: str, aim: int, seconds: dict[str, list[float]], count: int) -> list[str]:
    rows = [f"| RIGID from {what} | images/s | x plain loop |", "|---|---|---|"]
    for name, found in seconds.items():
        rows.append(f"| {name} | {spread([count / one for one in found])} | {ratios(seconds['plain loop'], found)} |")
    best = max(count / statistics.median(found) for found in seconds.values())
    reached = f"{best:.0f}: {'reached' if best >= aim else 'missed'}"
    said = reached if torch.cuda.is_available() else "not run: no GPU here"
    return [*rows, f"| aimed at on a GPU of the H200's class, ViT-L/14: {aim:,} | {said} | |"]


# --- where the time goes ---------------------------------------------------------------------------------------------


def profile(encoder: str, files: list[Path]) -> list[str]:
    """Milliseconds an image of every step of one batch of 16, one after another."""
    size, network = 16, load_encoder(encoder)
    tasks = prepare(Rigid(encoder=encoder))
    data = [file.read_bytes() for file in files[:size]]
    decoded = [decode(one).pixels for one in data]
    batch = batch_of(decoded, tasks[0].geometry)
    images, shown, view = _uploaded(batch, network.device), Shown(batch.ids, 0, network.card.std), View.of("noise")
    mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (network.card.mean, network.card.std))
    both = torch.cat([images, view(images, shown)])
    steps: dict[str, Callable[[], Any]] = {
        "hash and decode": lambda: [(content_id(one), decode(one)) for one in data],
        "geometry (resize)": lambda: [tasks[0].geometry(pixels) for pixels in decoded],
        "to float": lambda: _uploaded(batch, network.device),
        "noise: drawn on the host": lambda: [
            rng_for(0, id, "rigid-noise-0").standard_normal((3, 224, 224), dtype=np.float32) for id in batch.ids
        ],
        "noise: the whole view": lambda: view(images, shown),
        "views side by side": lambda: torch.cat([images, images]),
        "normalise": lambda: (both - mean) / std,
        "all of encode (normalise, forward)": lambda: network.encode(both),
    }
    seconds = race(synced(steps), 5)
    ms = {name: 1e3 * statistics.median(found) / size for name, found in seconds.items()}
    total = sum(value for name, value in ms.items() if name not in ("noise: drawn on the host", "normalise"))
    rows = ["| step, float32, 16 images, two views | ms an image | share |", "|---|---|---|"]
    return rows + [f"| {name} | {value:.2f} | {value / total:.1%} |" for name, value in ms.items()]


# --- what bfloat16 changes -------------------------------------------------------------------------------------------


def deviation(options: argparse.Namespace, encoder: str, place: Path) -> list[str]:
    """Compare RIGID in bfloat16 with float32 on labelled images, taken in turn from all of the manifest."""
    manifest = any_images(options.images)
    step = max(1, len(manifest) // options.deviation)
    manifest = manifest.take(list(range(0, len(manifest), step))[: options.deviation])
    scores = {}
    for dtype in ("float32", "bfloat16"):
        rigid = Rigid(encoder=encoder, dtype=dtype)
        tasks = prepare(rigid)
        done = run(tasks, manifest.column("path").combine_chunks(), workers=1, store=Store(place / dtype),
                   root=os.fsdecode(manifest.schema.metadata[b"fdetect.root"]))  # fmt: skip
        scores[dtype] = rigid.score(**{task.view_name: done.tables["native", task.name].values for task in tasks})
    good = np.isfinite(scores["float32"]) & np.isfinite(scores["bfloat16"])
    exact, rough = scores["float32"][good], scores["bfloat16"][good]
    relative = np.abs(rough - exact) / exact
    changed = int((np.argsort(np.argsort(exact)) != np.argsort(np.argsort(rough))).sum())
    rows = [
        f"| bfloat16 against float32, {len(exact)} images | |", "|---|---|",
        f"| 1 - cos in float32, median (range) | {np.median(exact):.3g} ({exact.min():.3g}-{exact.max():.3g}) |",
        f"| relative deviation of 1 - cos, median | {np.median(relative):.2%} |",
        f"| relative deviation of 1 - cos, largest | {relative.max():.2%} |",
        f"| Spearman's rank correlation | {spearmanr(exact, rough).statistic:.5f} |",
        f"| Kendall's rank correlation | {kendalltau(exact, rough).statistic:.5f} |",
        f"| images whose rank changes | {changed} of {len(exact)} |",
    ]  # fmt: skip
    label = np.array([-1 if value is None else value for value in manifest.column("label").to_pylist()])[good]
    if options.encoder and {0, 1} <= set(label.tolist()):  # of random weights it would say nothing
        rows += aurocs(label, manifest, good, {"float32": exact, "bfloat16": rough})
    return rows


def aurocs(label: np.ndarray, manifest: Any, good: np.ndarray, scores: dict[str, np.ndarray]) -> list[str]:
    """AUROC of both with intervals from one bootstrap over groups, and of their paired difference."""
    pairs = zip(manifest.column("group").to_pylist(), manifest.column("path").to_pylist(), strict=True)
    group = np.array([group or path for group, path in pairs])[good]
    weights = group_weights(list(group), replicates=1000, seed=0)
    empty = np.full(len(label), np.nan)
    found = {
        name: evaluate([TrialSample(label, score, empty, empty, group)], ("auroc",), weights)["auroc"]
        for name, score in scores.items()
    }
    rows = []
    for name, one in found.items():
        low, high = interval(one.replicates, level=0.95)
        rows.append(f"| AUROC in {name} | {one.value:.4f} [{low:.4f}, {high:.4f}] |")
    low, high = interval(found["bfloat16"].replicates - found["float32"].replicates, level=0.95)
    difference = found["bfloat16"].value - found["float32"].value
    return [*rows, f"| difference, paired | {difference:+.4f} [{low:+.4f}, {high:+.4f}] |"]


if __name__ == "__main__":
    main()
