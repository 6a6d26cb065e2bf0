"""Train a GAN, a VAE and a flow at 64 px, and see whether a detector trained on one of them finds the others.

    python benchmarks/from_noise.py textures --out FOLDER
    python benchmarks/from_noise.py DATA --licence 'CC BY|free to use' --out FOLDER
    python benchmarks/from_noise.py --page FOLDER ...

DATA is anything that `fdetect bench` reads; of its reals (label 0, or all where there are no labels) the generators are
trained on those whose column `licence` matches, and the detectors on the others: no photograph and no group is on both
sides.  With `textures`, generators are trained on dead leaves of one seed, and detectors on dead leaves of others.
Every picture is 64 px, the means over cells of a larger one (`fdetect.nets.noise.data`), and stored as PNG.

FOLDER receives checkpoint.safetensors and card.json of each generator; the pictures of the experiment, a sheet of each
kind and manifest.csv; and result.json.  `--only gan` trains one generator and stops, so that several can be trained
side by side; the same command again goes on from the checkpoints.  Sheets and samples of generators that were trained
on photographs are no more free than these.  `--page` puts the tables of finished folders into docs/from-noise.md.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from from_noise_detectors import DETECTORS, FEW, experiment
from PIL import Image
from racing import write_between
from train_generators import ends, progress, reals_of, write_json

from fdetect.engine.sources import Reader
from fdetect.engine.work import content_id
from fdetect.errors import FdetectError, ParameterError
from fdetect.files import check_writable, write_atomic
from fdetect.nets.noise import build, noise_generator, sample, training_loss
from fdetect.nets.noise.data import small_leaves, small_photographs
from fdetect.nets.own.data import Crops
from fdetect.nets.training import Schedule, train
from fdetect.splits import hold_out, join_same_content

PAGE = Path(__file__).resolve().parent.parent / "docs" / "from-noise.md"
SCHEDULES = {  # five to ten minutes of one free core each
    "gan": Schedule(steps=3000, batch=32, rate=4e-4, precision="bfloat16"),
    "vae": Schedule(steps=4000, batch=32, rate=1e-3, precision="bfloat16"),
    "flow": Schedule(steps=1600, batch=16, rate=1e-3, precision="bfloat16"),
}
OTHER_LEAVES = 1_000_000  # beyond every seed of training: the seed of the dead leaves that detectors see
SEEN_TIMES = 3  # pictures of each photograph in the experiment


@dataclass(frozen=True)
class Reals:
    """Pictures (N, 64, 64, 3) uint8 that no generator was trained on, with their groups and sources."""

    pixels: np.ndarray
    groups: list[str]
    sources: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="textures", help="'textures', or photographs")
    parser.add_argument("--licence", default="", help="regular expression: photographs that generators may learn from")
    parser.add_argument("--per-image", type=int, default=32, help="pictures of 64 px of each training photograph")
    parser.add_argument("--leaves", type=int, default=384, help="dead leaves that are trained on, 8 pictures of each")
    parser.add_argument("--count", type=int, default=400, help="samples of each generator; half train detectors")
    parser.add_argument("--only", choices=list(SCHEDULES), help="train this generator, and stop")
    parser.add_argument("--steps", type=int, help="of every generator; default: its own")
    parser.add_argument("--detector-seeds", type=int, default=3, help="trainings of each convolutional detector")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="folder to write")
    parser.add_argument("--page", type=Path, nargs="+", help="finished folders, for the tables in docs; trains nothing")
    options = parser.parse_args()
    try:
        if options.page:
            write_page(options.page)
        elif options.out is None:
            parser.error("--out FOLDER is missing")
        else:
            run(options)
    except FdetectError as error:
        parser.error(str(error))


def run(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    check_writable(options.out)
    if options.count < 2 * FEW:  # or the few would be among those that are tested on
        raise ParameterError(f"--count is at least {2 * FEW}, got {options.count}")
    crops, rest, root = training_pictures(options)
    models = {name: trained(name, crops, options) for name in SCHEDULES if options.only in (None, name)}
    if options.only:
        return
    reals = real_pictures(rest, root, set(crops.ids), options)
    # a seed each: with one, the same noise would be behind the GAN's picture k and the VAE's
    fakes = {name: sample(models[name], options.count, seed=options.seed + k) for k, name in enumerate(SCHEDULES)}
    written(options.out, reals, fakes)
    held = hold_out(reals.groups, reals.sources, share=0.5, seed=options.seed)
    found = experiment(reals.pixels, np.array(reals.groups), held, fakes, seeds=options.detector_seeds)
    about = {
        "data": "dead leaves" if options.data == "textures" else "photographs",
        "training_pictures": len(crops),
        "training_contents": len(set(crops.ids)),
        "real_pictures": len(reals.groups),
        "real_groups": len(set(reals.groups)),
        "real_groups_of_the_test": len({group for group, test in zip(reals.groups, held, strict=True) if test}),
        "samples": options.count,
        "few": FEW,
        "detector_seeds": options.detector_seeds,
        "seed": options.seed,
        "versions": {name: version(name) for name in ("fdetect", "torch", "numpy", "scikit-learn")},
    }
    write_json(options.out / "result.json", {"about": about, **found})
    print(f"{options.out / 'result.json'} written")


# --- pictures --------------------------------------------------------------------------------------------------------


def training_pictures(options: argparse.Namespace) -> tuple[Crops, list[dict[str, Any]], str]:
    """Return what generators learn from, and the rows of the other photographs with their root."""
    if options.data == "textures":
        return small_leaves(options.leaves, per_image=8, seed=options.seed), [], "."
    rows, root = reals_of(options.data)
    taken = [row for row in rows if re.search(options.licence, row.get("licence") or "")]
    groups = {group_of(row) for row in taken}
    rest = [row for row in rows if group_of(row) not in groups]
    if not taken or not rest:
        raise ParameterError(f"{options.data} has {len(taken)} reals whose licence matches '{options.licence}' and "
                             f"{len(rest)} of other groups; both are needed: set --licence")  # fmt: skip
    crops = small_photographs([row["path"] for row in taken], root=root, per_image=options.per_image, seed=options.seed)
    for failure in crops.failures:
        print(f"not trained on: {failure.path}: {failure.stage}: {failure.reason}", file=sys.stderr)
    return crops, rest, root


def real_pictures(rest: list[dict[str, Any]], root: str, trained_on: set[str], options: argparse.Namespace) -> Reals:
    """Return the pictures that detectors see; raises ParameterError where a generator was trained on one of them."""
    if options.data == "textures":
        leaves = small_leaves(options.count, seed=options.seed + OTHER_LEAVES)
        return Reals(leaves.pixels, list(leaves.ids), ["dead leaves"] * len(leaves))
    crops = small_photographs([row["path"] for row in rest], root=root, per_image=SEEN_TIMES, seed=options.seed)
    if met := trained_on & set(crops.ids):
        raise ParameterError(f"{len(met)} photographs were trained on under another path; take them out of the data")
    for failure in crops.failures:
        print(f"not tested on: {failure.path}: {failure.stage}: {failure.reason}", file=sys.stderr)
    failed = {failure.path for failure in crops.failures}
    rest = [row for row in rest if row["path"] not in failed]
    with Reader(root) as reader:
        ids = [content_id(reader.read(row["path"])) for row in rest]
    groups = join_same_content([group_of(row) for row in rest], ids)
    known = {id: (str(group), row["real_source"]) for id, group, row in zip(ids, groups, rest, strict=True)}
    return Reals(crops.pixels, *([known[id][k] for id in crops.ids] for k in (0, 1)))


def group_of(row: dict[str, Any]) -> str:
    return str(row["group"] or row["path"])


def written(out: Path, reals: Reals, fakes: dict[str, np.ndarray]) -> None:
    """Write every picture as PNG, the manifest, and a sheet of 8 x 8 of each kind."""
    rows = [["path", "label", "generator", "real_source", "group"]]
    for name, pixels in {"real": reals.pixels, **fakes}.items():
        (out / name).mkdir(exist_ok=True)
        for k, picture in enumerate(pixels):
            path = f"{name}/{k:04}.png"
            Image.fromarray(picture).save(out / path)
            real = name == "real"
            rows.append([path, "0", "", reals.sources[k], reals.groups[k]] if real else [path, "1", name, "", path])
        shown = pixels[np.linspace(0, len(pixels) - 1, 64).astype(int)]  # evenly; of fewer, some twice
        sheet = np.vstack([np.hstack(shown[k : k + 8]) for k in range(0, 64, 8)])
        Image.fromarray(sheet).save(out / f"{name}-sheet.png")
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_atomic(out / "manifest.csv", lambda path: path.write_text(text.getvalue(), encoding="utf-8"))


# --- generators ------------------------------------------------------------------------------------------------------


def trained(name: str, crops: Crops, options: argparse.Namespace) -> Any:
    """Train a generator, or go on from its checkpoint, and write its card; return it."""
    given = asdict(SCHEDULES[name]) | {"seed": options.seed} | ({"steps": options.steps} if options.steps else {})
    schedule, config = Schedule(**given), noise_generator.get(name)()
    model = build(config, seed=options.seed).to(memory_format=torch.channels_last)

    def batches(step: int) -> torch.Tensor:
        pixels = crops.batch(step, seed=options.seed, count=schedule.batch, size=64)
        return torch.from_numpy(pixels).contiguous(memory_format=torch.channels_last)

    about = json.dumps([name, asdict(config), crops.sha256, len(crops)], sort_keys=True)
    folder = options.out / name
    folder.mkdir(exist_ok=True)
    record = train(model, batches, training_loss, schedule=schedule, checkpoint=folder / "checkpoint.safetensors",
                   about=about, progress=progress(schedule.steps))  # fmt: skip
    card = {
        "architecture": name,
        "settings": asdict(config),
        "parameters": sum(one.numel() for one in model.parameters() if one.requires_grad),
        "parameters_of_the_maker": sum(one.numel() for one in model.maker.parameters()),
        "data": {"sha256": crops.sha256, "pictures": len(crops), "contents": len(set(crops.ids))},
        "training": {**asdict(schedule), "seconds": round(record.seconds, 1), "threads": record.threads,
                     **ends(record)},
    }  # fmt: skip
    write_json(folder / "card.json", card)
    return model


# --- page ------------------------------------------------------------------------------------------------------------


def write_page(folders: list[Path]) -> None:
    results = [json.loads((folder / "result.json").read_text(encoding="utf-8")) for folder in folders]
    write_between(PAGE, "benchmark:from-noise", generators_table(folders, results))
    for result in results:
        marker = result["about"]["data"].replace(" ", "-")
        write_between(PAGE, f"benchmark:matrix-{marker}", matrix_table(result))
        write_between(PAGE, f"benchmark:remedies-{marker}", remedies_table(result))


def generators_table(folders: list[Path], results: list[dict[str, Any]]) -> str:
    rows = ["| trained on | generator | parameters, of those in what makes pictures | steps | seconds | "
            "loss, first to last |", "|---|---|---|---|---|---|"]  # fmt: skip
    for folder, result in zip(folders, results, strict=True):
        about = result["about"]
        for name in SCHEDULES:
            card = json.loads((folder / name / "card.json").read_text(encoding="utf-8"))
            training = card["training"]
            rows.append(
                f"| {about['training_pictures']} pictures of {about['training_contents']} {about['data']} | `{name}` | "
                f"{card['parameters']:,}, {card['parameters_of_the_maker']:,} | {training['steps']} | "
                f"{training['seconds']:.0f} | {training['loss_first']:.3f} to {training['loss_last']:.3f} |"
            )
    return "\n".join(rows)


def matrix_table(result: dict[str, Any]) -> str:
    rows = [f"| detector | trained on | {' | '.join(f'`{name}`' for name in SCHEDULES)} |", "|---|---|---|---|---|"]
    for detector in DETECTORS:
        for old in SCHEDULES:
            cells = result["matrix"][detector][old]
            rows.append(f"| {detector} | `{old}` | {' | '.join(shown(cells[name]) for name in SCHEDULES)} |")
    return "\n".join(rows)


def remedies_table(result: dict[str, Any]) -> str:
    rows = ["| detector | old, new | as trained: old | new | head alone: old | new | on the mix: old | new |",
            "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for detector in DETECTORS:
        for pair in result["remedies"].get(detector, []):
            cells = [shown(pair[remedy][which]) for remedy in ("before", "head", "mix") for which in ("old", "new")]
            rows.append(f"| {detector} | `{pair['old']}`, `{pair['new']}` | {' | '.join(cells)} |")
    return "\n".join(rows)


def shown(cell: dict[str, Any]) -> str:
    """Write an AUROC and its interval; where all fakes lie on one side of all reals, resampling has nothing to say."""
    value = f"{cell['auroc']:.3f}"
    return value if cell["auroc"] in (0.0, 1.0) else f"{value} ({cell['low']:.3f}-{cell['high']:.3f})"


if __name__ == "__main__":
    main()
