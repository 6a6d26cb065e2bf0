"""Damaged files by the ten thousand, through workers: each is one row, of values or of a reason, and always the same.

    python benchmarks/long_fuzz.py [--mutants 20000] [--shards 2000] [--images FOLDER --found 2000] [--seed 1]

The mutants are those of tests/fuzz.py: small photographs in every container that is read, and with --images files of a
folder as they are; shards (tar, zip, Parquet) are damaged as a whole and asked for each member that they had.  All go
through `fdetect.extract_to` twice, in the order of their numbers with two workers and in another order with one; then
each file is worked on by itself, for its time.  Two planted images, of which one crashes its worker and one hangs it,
show that such things would be seen and said.  What is not as it should be is printed under the table, with the number
that makes the mutant again.
"""

from __future__ import annotations

import argparse
import io
import random
import re
import resource
import sys
import tarfile
import tempfile
import time
import zipfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from soak import NAMES, REASONS, TIME_LIMIT, mark  # and with them the feature that crashes and hangs

import fdetect
from fdetect.backend import resolve
from fdetect.engine import pool
from fdetect.engine.listing import list_images
from fdetect.engine.work import Chunk, Item, Plan, content_id, work
from fdetect.errors import DataError
from fdetect.features import feature_tasks, select_features
from fdetect.images import decode
from fdetect.perturb import condition

CROP = 64
EXPECTED = ("values", "read", "decode", "geometry", "not finite")  # of a mutant; no worker should end
OUTCOMES = (*EXPECTED, "worker")
MEMBERS = {"0.jpg": "jpeg", "1.png": "png", "2.webp": "webp", "3.jpg": "jpeg progressive", "4.gif": "gif",
           "5.tif": "tiff"}  # fmt: skip


@dataclass
class Kind:
    """What became of the mutants of one container."""

    mutants: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)  # of rows: "values", or a stage
    longest: float = 0.0  # seconds of one file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=20_000)
    parser.add_argument("--shards", type=int, default=2_000)
    parser.add_argument("--images", help="folder of further images to damage, of 2 to 60 kB")
    parser.add_argument("--found", type=int, default=2_000, help="mutants of these")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    import fuzz

    small = fuzz.sources()
    series = {"image": (small, options.mutants), "shard": (shards(small), options.shards)}
    if options.images:
        series["found"] = (files_below(options.images), options.found)
    print(f"| kind | mutants | rows | {' | '.join(OUTCOMES)} | longest, s |\n{'|---' * (len(OUTCOMES) + 4)}|")
    said = [line for name, (of, count) in series.items() if count
            for line in fuzzed(name, of, count, options.seed)]  # fmt: skip
    print("", *said, planted(small), sep="\n")


# --- runs ------------------------------------------------------------------------------------------------------------


def fuzzed(series: str, sources: Mapping[str, bytes], count: int, seed: int) -> list[str]:
    """Print the rows of one series of mutants; return what else there is to say of it."""
    from fuzz import mutant_of

    kinds, kind_of = defaultdict[str, Kind](Kind), dict[str, str]()
    with tempfile.TemporaryDirectory(prefix="fdetect-fuzz-") as folder:
        for number in range(count):
            source, data = mutant_of(sources, seed, number)
            kind = "jpeg 2000" if source.startswith("jpeg 2000") else source.split()[0]
            kind += f", {series}" * (series == "found")
            file = f"{number:05d}.{source.split()[0]}"
            Path(folder, file).write_bytes(data)
            kinds[kind].mutants += 1
            rows = [f"{file}::{name}" for name in members_of(source)] if series == "shard" else [file]
            kind_of |= dict.fromkeys(rows, kind)
        paths = list(kind_of)
        one, seconds, died = extracted(folder, paths, workers=2)
        two, seconds_two, died_two = extracted(folder, random.Random(seed).sample(paths, len(paths)), workers=1)
        findings = [listed(file) for file in Path(folder).iterdir()] if series == "shard" else []
        if series != "shard":
            for path, kind in kind_of.items():
                kinds[kind].longest = max(kinds[kind].longest, alone(Path(folder, path)))
    if one["path"].to_pylist() != paths:
        findings.append(("", f"{len(one)} rows of {len(paths)} paths"))
    if in_order(one) != in_order(two):
        findings.append(("", "another order with another number of workers has other rows"))
    for path, reason in zip(*one.select(["path", "reason"]).to_pydict().values(), strict=True):
        kinds[kind_of[path]].outcomes[stage := stage_of(reason)] += 1
        if stage not in EXPECTED or len(reason) > 300 or not reason.isprintable():
            findings.append((path, reason))
    for kind, of in sorted(kinds.items()):
        cells = [of.mutants, of.outcomes.total(), *(of.outcomes[stage] for stage in OUTCOMES)]
        longest = f"{of.longest:.2f}" if series != "shard" else ""
        print(f"| {kind} | {' | '.join(map(str, cells))} | {longest} |", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        f"{series}: {count} mutants, {len(paths)} rows; {seconds:.0f} s with 2 workers and {seconds_two:.0f} s with 1; "
        f"workers that died: {died + died_two}; peak memory of this process, which works on all alone: {peak:.0f} MiB",
        *told(findings),
    ]


def told(findings: Sequence[tuple[str, str]]) -> list[str]:
    """Say findings of one reason together, by the first of them; a long reason is cut, and what is odd in it shown."""
    alike = defaultdict[str, list[tuple[str, str]]](list)
    for path, why in findings:
        alike[re.sub(r"\d+|[^ -~]", "", why)[:60]].append((path, why))
    return [f"FINDING, {len(those)} times: {those[0][0]}: {those[0][1][:150]!r} ({len(those[0][1])} characters)"
            for those in alike.values() if those[0][1]]  # fmt: skip


def extracted(folder: str, paths: Sequence[str], workers: int, time_limit: float = 20.0) -> tuple[pa.Table, float, int]:
    """Extract with an empty store: the table, seconds, and how many workers had to be replaced."""
    manifest = pa.table({"path": paths, "label": pa.nulls(len(paths), pa.int64())})
    manifest = manifest.replace_schema_metadata({"fdetect.root": folder})
    _Counted.started, since = 0, time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="fdetect-fuzz-") as store:
        out = Path(store, "features.parquet")
        fdetect.extract_to(out, manifest, features=["standard", "soak_probe"], crop=CROP, workers=workers,
                           store=Path(store, "store"), time_limit=time_limit)  # fmt: skip
        return pq.read_table(out), time.perf_counter() - since, max(_Counted.started - workers, 0)


class _Counted(pool._Worker):
    started = 0

    def start(self) -> None:
        _Counted.started += 1
        super().start()


pool._Worker = _Counted  # type: ignore[misc]


def listed(shard: Path) -> tuple[str, str]:
    """List a damaged shard by itself, as `extract SHARD` does: it has rows, or is refused in one sentence."""
    try:
        return shard.name, "" if len(list_images([shard]).paths) else "listed without a row"
    except DataError as error:
        said = str(error).removeprefix(str(shard))
        return shard.name, "" if said.isprintable() and len(said) <= 300 else said


def alone(file: Path) -> float:
    """Work on one file in this process: seconds of its decoding or of its features, of the longer one."""
    data, tasks = file.read_bytes(), feature_tasks(select_features("standard"), crop=CROP)
    plan = Plan((condition("native"),), tasks, CROP, 0, resolve("cpu"))
    jobs = tuple((0, task) for task in range(len(tasks)))
    return max(work(plan, Chunk((Item(content_id(data), data),), jobs)).seconds.values(), default=0.0)


def planted(images: Mapping[str, bytes]) -> str:
    """Extract two images that crash and hang among good ones; return whether that was said of them, and of no other."""
    good = ("png", "jpeg", "webp", "tiff", "gif", "bmp")
    with tempfile.TemporaryDirectory(prefix="fdetect-fuzz-") as folder:
        for name in good:
            Path(folder, name).write_bytes(images[name])
        for event, name in NAMES.items():
            Path(folder, name).write_bytes(marked(images["png"], event))
        table, seconds, died = extracted(folder, [*good, *NAMES.values()], workers=2, time_limit=TIME_LIMIT)
    found = dict(zip(*table.select(["path", "reason"]).to_pydict().values(), strict=True))
    right = found == {**dict.fromkeys(good, ""), **{name: REASONS[name] for name in NAMES.values()}}
    return (f"planted: one crash and one hang among {len(good)} good images, {seconds:.0f} s, {died} workers replaced: "
            + ("said of these two alone" if right else f"FINDING: {found}"))  # fmt: skip


def marked(data: bytes, event: int) -> bytes:
    pixels, file = decode(data).pixels.copy(), io.BytesIO()
    height, width = (side // 2 for side in pixels.shape[:2])
    pixels[height - 16 : height + 16, width - 16 : width + 16] = mark(event)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def in_order(table: pa.Table) -> bytes:
    """Return a table's rows in the order of their paths, as bytes."""
    file = io.BytesIO()
    pq.write_table(table.sort_by("path").combine_chunks(), file)
    return file.getvalue()


def stage_of(reason: str) -> str:
    stage, _, why = reason.partition(": ")
    return "not finite" if why == "the result is not finite" else stage or "values"


# --- what is damaged -------------------------------------------------------------------------------------------------


def shards(images: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return six small images as shards of every kind."""
    rows = {name: images[source] for name, source in MEMBERS.items()}
    made = {}
    for kind, of in {"tar": tarfile.USTAR_FORMAT, "tar pax": tarfile.PAX_FORMAT, "tar gnu": tarfile.GNU_FORMAT}.items():
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=of) as archive:
            for name, data in rows.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        made[kind] = file.getvalue()
    for kind, how in {"zip": zipfile.ZIP_STORED, "zip deflated": zipfile.ZIP_DEFLATED}.items():
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", how) as packed:
            for name, data in rows.items():
                packed.writestr(zipfile.ZipInfo(name), data, how)
        made[kind] = file.getvalue()
    plain = pa.array(list(rows.values()), pa.binary())
    nested = pa.StructArray.from_arrays([plain, pa.array(list(rows))], ["bytes", "path"])
    columns = {"parquet": (plain, "none"), "parquet snappy": (nested, "snappy"), "parquet zstd": (nested, "zstd")}
    for kind, (column, compression) in columns.items():
        file = io.BytesIO()
        pq.write_table(pa.table({"image": column}), file, row_group_size=4, compression=compression)
        made[kind] = file.getvalue()
    return made


def members_of(shard: str) -> list[str]:
    return [str(k) for k in range(len(MEMBERS))] if shard.startswith("parquet") else list(MEMBERS)


def files_below(folder: str) -> dict[str, bytes]:
    """Return every fifth image of a folder that is neither tiny nor large, by its container and name."""
    files = [file for file in sorted(Path(folder).rglob("*")) if file.suffix in (".jpg", ".png", ".webp")]
    small = [file for file in files if 2_000 < file.stat().st_size < 60_000][::5]
    return {f"{file.suffix[1:]} {file.name}": file.read_bytes() for file in small}


if __name__ == "__main__":
    main()
