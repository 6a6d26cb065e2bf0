"""Train one of fdetect's own small autoencoders, on photographs or on dead leaves, and say what became of it.

    python benchmarks/train_generators.py textures --architecture nearest --out FOLDER
    python benchmarks/train_generators.py DATA --licence 'CC BY|free to use' --architecture shuffle:factor=4 --out OUT

DATA is anything that `fdetect bench` reads; only its reals are taken (label 0, or all where there are no labels), and
of those the ones whose column `licence` matches `--licence`.  Dead leaves (`--textures N`) are added to photographs.
Photographs to measure on come from `--held-out DATA`: reals whose content, group and source have no image in training;
without it, they are dead leaves of another seed.

FOLDER receives model.safetensors (float16), config.json, card.json and sheet.png (original | reconstruction, in pairs),
and works as `--autoencoder FOLDER`.  It also holds checkpoint.safetensors: the same command again goes on from there.
On one machine, with one `--threads`, the same command gives the same weights.  A sheet shows the photographs, so it
is no more free than they are.  `python benchmarks/train_generators.py --page FOLDER ...` puts the table of trained
folders into docs/generators.md.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from racing import write_between
from safetensors.torch import save_file

from fdetect.bench.data.inputs import any_images, root_of
from fdetect.engine.sources import Reader
from fdetect.engine.work import content_id
from fdetect.errors import FdetectError, ParameterError
from fdetect.files import check_writable, write_atomic
from fdetect.images import decode
from fdetect.nets.autoencoders import load_autoencoder
from fdetect.nets.folders import file_sha256
from fdetect.nets.own import OwnConfig, build, generator, training_loss
from fdetect.nets.own.data import Crops, crops_of_images, crops_of_textures
from fdetect.nets.training import Schedule, TrainingRecord, train

PAGE = Path(__file__).resolve().parent.parent / "docs" / "generators.md"
SIDE = 192  # px of the crops in memory, and of the sheet
SHOWN = 256  # px of what is measured, at most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="textures", help="'textures', or photographs")
    parser.add_argument("--architecture", default="nearest", help=f"{', '.join(generator.names())}; NAME:setting=value")
    parser.add_argument("--factor", type=int, help="for architectures that have one; default: the architecture's")
    parser.add_argument("--licence", default="", help="regular expression that a row's licence must match")
    parser.add_argument("--textures", type=int, default=1024, help="dead leaves beside or in place of photographs")
    parser.add_argument("--held-out", help="photographs that are measured on and not trained on")
    parser.add_argument("--held-out-sources", default="", help="real_source of those, by commas; default: all")
    parser.add_argument("--held-out-count", type=int, default=20)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=64, help="px of a training example")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--precision", default="bfloat16", help="float32 or bfloat16")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--page", type=Path, nargs="+", help="trained folders, for the table in docs; trains nothing")
    options = parser.parse_args()
    try:
        if options.page:
            write_between(PAGE, "benchmark:generators", table(options.page))
        elif options.out is None:
            parser.error("--out FOLDER is missing")
        else:
            trained(options)
    except FdetectError as error:
        parser.error(str(error))


def trained(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    check_writable(options.out)
    config = configured(options)
    held, held_keys = held_out(options)
    crops, about = training_crops(options, held_keys)
    schedule = Schedule(steps=options.steps, batch=options.batch, rate=options.rate, seed=options.seed,
                        precision=options.precision)  # fmt: skip
    model = build(config, seed=options.seed).to(options.device, memory_format=torch.channels_last)

    def batches(step: int) -> torch.Tensor:
        pixels = crops.batch(step, seed=options.seed, count=options.batch, size=options.size)
        return torch.from_numpy(pixels).contiguous(memory_format=torch.channels_last)

    key = json.dumps([config.to_json(), about["sha256"], about["crops"], options.size], sort_keys=True)
    record = train(model, batches, training_loss, schedule=schedule, checkpoint=options.out / "checkpoint.safetensors",
                   about=key, progress=progress(options.steps))  # fmt: skip
    tensors = {name: stored(tensor) for name, tensor in model.stored().items()}
    weights, described = options.out / "model.safetensors", options.out / "config.json"
    write_atomic(weights, lambda path: save_file(tensors, path, metadata={"format": "pt"}))
    write_json(described, config.to_json())
    shutil.copymode(described, weights)  # safetensors writes for the user alone, whatever the umask
    found = measured(options.out, held)
    sheet(options.out / "sheet.png", [(one, again) for one, again, _ in found])
    card = {
        "architecture": config.architecture,
        "factor": config.factor,
        "parameters": sum(tensor.numel() for tensor in tensors.values() if tensor.is_floating_point()),
        "model_sha256": file_sha256(weights),
        "model_bytes": weights.stat().st_size,
        "data": about,
        "held_out": {"what": options.held_out_sources if options.held_out else "dead leaves", "images": len(held),
                     "psnr_mean": round(float(np.mean([psnr for _, _, psnr in found])), 3),
                     "psnr_lowest": round(min(psnr for _, _, psnr in found), 3),
                     "psnr_highest": round(max(psnr for _, _, psnr in found), 3),
                     "fine_db_original": fine_power(one for one, _, _ in found),
                     "fine_db_again": fine_power(again for _, again, _ in found)},
        "training": {"size": options.size, **vars(schedule), "device": record.device, "threads": record.threads,
                     "seconds": round(record.seconds, 1), **ends(record)},
        "versions": {name: version(name) for name in ("fdetect", "torch", "numpy", "pillow")},
    }  # fmt: skip
    write_json(options.out / "card.json", card)
    print(f"{options.out}: {card['held_out']}")


def configured(options: argparse.Namespace) -> OwnConfig:
    entry = generator.read(options.architecture)
    return entry.configured(**({"factor": options.factor} if options.factor else {}))()


# --- data ------------------------------------------------------------------------------------------------------------


def reals_of(data: str) -> tuple[list[dict[str, Any]], str]:
    manifest = any_images(data)
    return [row for row in manifest.to_pylist() if row["label"] in (0, None)], root_of(manifest)


def held_out(options: argparse.Namespace) -> tuple[list[np.ndarray], set[str]]:
    """Return centre crops (H, W, 3) uint8 to measure on, and what is not trained on: contents, groups, sources."""
    if not options.held_out:
        return list(crops_of_textures(options.held_out_count, side=SIDE, seed=options.seed + 1_000_000).pixels), set()
    rows, root = reals_of(options.held_out)
    wanted = [name for name in options.held_out_sources.split(",") if name]
    rows = [row for row in rows if not wanted or row["real_source"] in wanted]
    if not rows:
        raise ParameterError(f"--held-out {options.held_out} has no real of the sources {', '.join(wanted)}")
    sources = sorted({row["real_source"] for row in rows})
    share = -(-options.held_out_count // len(sources))  # alike of each, evenly over its rows
    of_each = [[row for row in rows if row["real_source"] == name] for name in sources]
    rows = [one[k * len(one) // share] for one in of_each for k in range(min(share, len(one)))]
    pictures, keys = [], set[str]()
    with Reader(root) as reader:
        for row in rows:
            data = reader.read(row["path"])
            pixels = decode(data).pixels
            height, width = (min(SHOWN, side - side % 8) for side in pixels.shape[:2])
            top, left = ((side - cut) // 16 * 8 for side, cut in zip(pixels.shape, (height, width), strict=False))
            pictures.append(pixels[top : top + height, left : left + width])
            keys |= {content_id(data), f"group {row['group'] or row['path']}", f"source {row['real_source']}"}
    return pictures, keys


def training_crops(options: argparse.Namespace, held: set[str]) -> tuple[Crops, dict[str, Any]]:
    """Return the crops, and what card.json says of them."""
    leaves = crops_of_textures(options.textures, side=SIDE, seed=options.seed)
    if options.data == "textures":
        return leaves, {"sha256": leaves.sha256, "crops": len(leaves), "dead_leaves": len(leaves), "photographs": 0}
    rows, root = reals_of(options.data)
    matching = [row for row in rows if re.search(options.licence, row.get("licence") or "")]
    taken = [
        row for row in matching
        if not {f"group {row['group'] or row['path']}", f"source {row['real_source']}"} & (held - {"source "})
    ]  # fmt: skip
    if not taken:
        raise ParameterError(f"{options.data} has no real for training whose licence matches '{options.licence}' and "
                             "whose group and source are not held out")  # fmt: skip
    crops = crops_of_images([row["path"] for row in taken], root=root, side=SIDE, seed=options.seed)
    if met := held & set(crops.ids):
        raise ParameterError(f"{len(met)} held-out photographs are in training under another path; take them out")
    both = crops + leaves
    return both, {
        "sha256": both.sha256,
        "crops": len(both),
        "dead_leaves": len(leaves),
        "photographs": len(set(crops.ids)),
        "ids": sorted(set(crops.ids)),  # so that an evaluation can refuse to meet them
        "sources": dict(Counter(row["real_source"] for row in taken)),
        "licences": dict(Counter(row.get("licence") or "" for row in taken)),
        "failures": [f"{one.path}: {one.stage}: {one.reason}" for one in crops.failures],
        "left_out": crops.left_out,
    }


# --- what is written -------------------------------------------------------------------------------------------------


def stored(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.half() if tensor.is_floating_point() else tensor


def measured(folder: Path, pictures: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Return (original, reconstruction, PSNR in dB of the 8-bit pixels) by the weights as they were written."""
    autoencoder, found = load_autoencoder(str(folder.resolve()), device="cpu"), []
    for picture in pictures:
        images = torch.from_numpy(picture.transpose(2, 0, 1).copy())[None].float() / 255
        again = autoencoder.reconstruct(images)[0].mul(255).round().byte().numpy().transpose(1, 2, 0)
        error = float(np.mean((picture.astype(np.float64) - again) ** 2))
        found.append((picture, again, float(10 * np.log10(255**2 / max(error, 1e-12)))))
    return found


def fine_power(pictures: Iterable[np.ndarray]) -> float:
    """Return the mean of 10 log10 |F|^2 over pictures and frequencies from half of Nyquist's up to it, in dB.

    F is the Fourier transform of (R + G + B) / 3 in 0..255 under a Hann window of unit energy: white noise of deviation
    s has 20 log10 s, less 2.5 dB since the logarithm is taken first.
    """
    found = []
    for picture in pictures:
        height, width = picture.shape[:2]
        window = np.outer(np.hanning(height), np.hanning(width))
        power = np.abs(np.fft.fft2(picture.mean(axis=2) * window)) ** 2 / np.sum(window**2)
        radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
        fine = power[(radius >= 0.25) & (radius <= 0.5)]
        found.append(np.mean(10 * np.log10(np.maximum(fine, 1e-12))))
    return round(float(np.mean(found)), 2)


def sheet(path: Path, pairs: list[tuple[np.ndarray, np.ndarray]], columns: int = 4) -> None:
    """Write pairs side by side, `columns` pairs a row, each cut to one size."""
    side = min(SIDE, *(min(one.shape[:2]) for one, _ in pairs))
    cells = [np.hstack([one[:side, :side], again[:side, :side]]) for one, again in pairs]
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    rows = [np.hstack(cells[k : k + columns]) for k in range(0, len(cells), columns)]
    write_atomic(path, lambda temporary: Image.fromarray(np.vstack(rows)).save(temporary, format="PNG"))


def write_json(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def ends(record: TrainingRecord) -> dict[str, float]:
    """Means over the first and last hundredth of the steps."""
    count = max(len(record.losses) // 100, 1)
    return {"loss_first": round(float(np.mean(record.losses[:count])), 5),
            "loss_last": round(float(np.mean(record.losses[-count:])), 5)}  # fmt: skip


def progress(steps: int) -> Any:
    last = [time.monotonic()]

    def show(done: int, loss: float) -> None:
        if time.monotonic() - last[0] > 10 or done == steps:
            last[0] = time.monotonic()
            print(f"{done} of {steps} steps, loss {loss:.4f}", file=sys.stderr)

    return show


def table(folders: list[Path]) -> str:
    """Return the table of docs/generators.md from the cards of trained folders."""
    rows = ["| architecture | factor | trained on | parameters | file | steps | seconds | loss, first to last | "
            "PSNR on held-out photographs, dB |", "|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for folder in folders:
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        data, training, held = card["data"], card["training"], card["held_out"]
        photographs = f"{data['photographs']} photographs, " if data["photographs"] else ""
        rows.append(
            f"| `{card['architecture']}` | {card['factor']} | {photographs}{data['dead_leaves']} dead leaves | "
            f"{card['parameters']:,} | {card['model_bytes'] / 1e6:.2f} MB | {training['steps']} | "
            f"{training['seconds']:.0f} | {training['loss_first']:.3f} to {training['loss_last']:.3f} | "
            f"{held['psnr_mean']:.2f} ({held['psnr_lowest']:.2f}-{held['psnr_highest']:.2f}) |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    main()
