"""Bad input: every file ends as features or as a Failure with a reason; no crash, no hang, memory bounded.

`pytest tests/test_fuzz.py` runs 500 mutants, with --long 20,000 of the same series.  What is found is kept: the
failing test names a folder with the mutants' bytes and the two numbers that make them again.
"""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import fuzz
import numpy as np
import pytest
from fuzz import chunk, png
from PIL import Image

from fdetect.engine import run
from fdetect.features import feature_tasks, select_features
from fdetect.images import MAX_PIXELS, decode
from fdetect.perturb import condition
from fdetect.types import FeatureTable

CROP = 64
SEED = 1
MAX_BYTES = 16 * MAX_PIXELS  # of memory for one image: what is decoded at the limit, in every copy that decoding makes
WORKER_BYTES = 1 << 29  # ... beside what a worker needs for itself

Findings = dict[int, str]  # number of a mutant -> what is wrong


@pytest.fixture(scope="session")
def bundled() -> dict[str, bytes]:
    return fuzz.sources()


# --- the fuzzer itself --------------------------------------------------------------------------------------------


def test_a_mutant_is_always_the_same_bytes(bundled: dict[str, bytes]) -> None:
    first = [fuzz.mutant(bundled, SEED, k) for k in range(60)]
    assert first == [fuzz.mutant(dict(reversed(bundled.items())), SEED, k) for k in range(60)]
    assert len(set(first)) == 60
    assert not set(first) & {fuzz.mutant(bundled, SEED + 1, k) for k in range(60)}
    assert sum(one in bundled.values() for one in first) < 5


def test_sources_written_by_hand_are_the_pictures(bundled: dict[str, bytes]) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (97, 130, 3), np.uint8))
    for name in ("png interlaced", "tiff tiles"):
        assert np.array_equal(decode(fuzz._writers()[name](picture.copy())).pixels, np.asarray(picture)), name
    assert len({decode(data).facts.format for data in bundled.values()}) >= 7


# --- through the engine -------------------------------------------------------------------------------------------


@pytest.mark.timeout(1800)
def test_every_mutant_ends_as_features_or_as_a_failure(
    bundled: dict[str, bytes], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    check(bundled, 20_000 if request.config.getoption("--long") else 500, tmp_path)


@pytest.mark.timeout(900)
def test_so_does_every_mutant_of_files_found_elsewhere(
    shared_data: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    files = sorted(file for file in shared_data.rglob("*") if file.suffix in (".jpg", ".png", ".webp"))
    small = {file.name: file.read_bytes() for file in files if 2_000 < file.stat().st_size < 60_000}
    check(dict(list(small.items())[::5]), 2_000 if request.config.getoption("--long") else 60, tmp_path)


def check(sources: dict[str, bytes], count: int, folder: Path) -> None:
    """Run all mutants, then all sources, in one engine run of two workers; the sources also report peak memory."""
    files = folder / "files"
    files.mkdir()
    names = [f"{k:05d}" for k in range(count)] + [f"source {k}" for k in range(len(sources))]
    for k in range(count):
        (files / names[k]).write_bytes(fuzz.mutant(sources, SEED, k))
    for name, data in zip(names[count:], sources.values(), strict=True):
        (files / name).write_bytes(data)
    tasks = (*feature_tasks(select_features("radial_spectrum,npr_statistics"), crop=CROP), fuzz.PeakMemory())
    conditions = [condition("native"), condition("matched")]
    done = run(tasks, names, root=files, conditions=conditions, crop=CROP, workers=2, time_limit=20)

    findings: Findings = {}
    for table in done.tables.values():
        examine(table, findings)
    peak = float(np.nanmax(done.tables["native", "peak"].values)) * 2**20
    ok = done.tables["native", "radial_spectrum"].ok
    share = ok[:count].mean()
    print(f"{count} mutants, {len(sources)} sources: {share:.1%} decoded, peak {peak / 2**20:.0f} MiB, {done.timing}")
    kept = folder / "findings"
    for k in findings:
        kept.mkdir(exist_ok=True)
        shutil.copyfile(files / names[k], kept / names[k].replace(" ", "-"))
    shutil.rmtree(files)
    assert not findings, f"fuzz.mutant(sources, {SEED}, number), kept in {kept}: {findings}"
    assert len(done) == count + len(sources)
    assert ok[count:].all(), [name for name, good in zip(sources, ok[count:], strict=True) if not good]
    assert 0.15 < share < 0.85
    assert peak < MAX_BYTES + WORKER_BYTES


def examine(table: FeatureTable, findings: Findings) -> None:
    rows = {path: k for k, path in enumerate(table.paths)}
    failed = set()
    for failure in table.failures:
        k, reason = rows[failure.path], failure.reason
        failed.add(k)
        if not reason or not reason.isprintable() or len(reason) > 300:
            findings[k] = f"reason {reason!r}"
        if failure.stage not in ("decode", "geometry") and reason != "the result is not finite":
            findings[k] = f"{failure.stage}: {reason}"
        if not np.isnan(table.values[k]).all():
            findings[k] = "failed and has values"
    for k in range(len(table.paths)):
        if k not in failed and not np.isfinite(table.values[k]).all():
            findings[k] = "no values and no failure"


def test_a_file_that_takes_for_ever_is_given_up(bundled: dict[str, bytes], tmp_path: Path) -> None:
    jpeg = jpeg_of(bundled["jpeg progressive"], AT_LIMIT, AT_LIMIT)
    scan, end = jpeg.rindex(b"\xff\xda"), jpeg.rindex(b"\xff\xd9")
    (tmp_path / "scans").write_bytes(jpeg[:end] + jpeg[scan:end] * 200 + jpeg[end:])  # each over all the pixels
    (tmp_path / "good").write_bytes(bundled["jpeg"])
    done = run([fuzz.PeakMemory()], ["scans", "good"], root=tmp_path, crop=CROP, workers=1, time_limit=2)
    (failure,) = done.tables["native", "peak"].failures
    assert (failure.path, failure.stage, failure.reason) == ("scans", "worker", "took longer than 2 s, twice")
    assert done.timing.seconds < 30


# --- decoded apart: silence, bombs --------------------------------------------------------------------------------


def decoded_apart(files: dict[str, bytes], folder: Path, memory: int) -> dict[str, tuple[str, int, float]]:
    """(outcome, peak memory in bytes, seconds) of each file, decoded in processes of limited address space."""
    paths = {name: folder / f"{k}" for k, name in enumerate(files)}
    for name, path in paths.items():
        path.write_bytes(files[name])
    command = [sys.executable, "-W", "ignore", fuzz.__file__, str(memory), *map(str, paths.values())]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=200, check=True)
    assert not answer.stderr  # what a C library thinks of a file is no business of the terminal
    return dict(zip(paths, (tuple(json.loads(line)) for line in answer.stdout.splitlines()), strict=True))


def test_decoding_is_silent_and_every_error_is_ours(bundled: dict[str, bytes], tmp_path: Path) -> None:
    tiffs = {name: data for name, data in bundled.items() if name.startswith("tiff")}
    files = {f"all {k}": fuzz.mutant(bundled, SEED + 1, k) for k in range(60)}
    files |= {f"tiff {k}": fuzz.mutant(tiffs, SEED + 1, k) for k in range(60)}  # libtiff talks most
    found = decoded_apart(files, tmp_path, MAX_BYTES)
    outcomes = {name: outcome for name, (outcome, _, _) in found.items()}
    assert not {name: outcome for name, outcome in outcomes.items() if outcome.startswith("!")}
    assert 20 < sum(outcome.startswith("decoded") for outcome in outcomes.values()) < 100


SIDE = 60_000
AT_LIMIT = int(MAX_PIXELS**0.5)
RGB, GREY, GREY16 = b"\x08\x02\0\0\0", b"\x08\0\0\0\0", b"\x10\0\0\0\0"


def zeros(size: int) -> bytes:
    """Very many zeros, compressed a thousandfold."""
    packer, million = zlib.compressobj(1), bytes(1 << 20)
    pieces = [packer.compress(million) for _ in range(size >> 20)]
    return b"".join(pieces) + packer.compress(bytes(size & 0xFFFFF)) + packer.flush()


def put(data: bytes, at: int, what: bytes) -> bytes:
    return data[:at] + what + data[at + len(what) :]


def jpeg_of(data: bytes, width: int, height: int) -> bytes:
    at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    return put(data, at + 5, struct.pack(">HH", height, width))


def tiff_of(width: int, height: int, body: bytes, *entries: tuple[int, int, int, int], compression: int = 8) -> bytes:
    """A grey TIFF; the last two entries, if not given, are one strip."""
    start = 8 + 2 + 12 * 8 + 4
    strip = ((273, 4, 1, start), (278, 4, 1, height), (279, 4, 1, len(body)))
    head = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, compression), (262, 3, 1, 1)]
    listed = [*head, *(entries or strip)]
    directory = struct.pack("<H", len(listed)) + b"".join(struct.pack("<HHII", *one) for one in listed) + bytes(4)
    return (b"II*\0" + struct.pack("<I", 8) + directory).ljust(start, b"\0") + body


def header_bombs(bundled: dict[str, bytes]) -> dict[str, bytes]:
    """Headers that claim 60000 x 60000 pixels, or memory in another way, before a few bytes of image."""
    sides, gif, bmp = struct.pack("<HH", SIDE, SIDE), bundled["gif"], bundled["bmp"]
    webp, big = bundled["webp"], struct.pack("<I", SIDE - 1)[:3]
    vp8x = b"WEBPVP8X" + struct.pack("<II", 10, 0) + big + big
    grey, jpeg = bundled["jpeg grey"], bundled["jpeg"]
    scan = jpeg.index(b"\xff\xc0")
    frame = jpeg[scan : scan + 19]  # marker, length 17
    entries = ((k, 7, 1 << 20, 200) for k in range(1000, 61_000))
    numbers = chunk(b"eXIf", tiff_of(1, 1, bytes(9 << 20), (40_000, 5, 1 << 20, 200)))
    made = {
        "png": png((SIDE, SIDE), RGB, chunk(b"IDAT", zlib.compress(bytes(1000)))),
        "gif canvas": put(gif, 6, sides),
        "gif frame": put(gif, gif.index(b"\x2c\0\0\0\0") + 5, sides),
        "bmp": put(bmp, 18, struct.pack("<II", SIDE, SIDE)),
        "ppm": b"P6 60000 60000 255\n" + bytes(1000),
        "jpeg": jpeg_of(jpeg, SIDE, SIDE),
        "jpeg progressive": jpeg_of(bundled["jpeg progressive"], SIDE, SIDE),
        "jpeg grey": jpeg_of(grey, SIDE, SIDE),
        "jpeg twice, large first": jpeg[:scan] + jpeg_of(frame, SIDE, SIDE) + jpeg[scan:],
        "jpeg twice, large last": jpeg[: scan + 19] + jpeg_of(frame, SIDE, SIDE) + jpeg[scan + 19 :],
        "webp": b"RIFF" + struct.pack("<I", len(webp) - 8 + 18) + vp8x + webp[12:],
        "webp frame": put(webp, webp.index(b"VP8 ") + 14, struct.pack("<HH", 0x3FFF, 0x3FFF)),
        "tiff": tiff_of(SIDE, SIDE, bytes(1000), compression=1),
        "tiff strips": tiff_of(96, 96, b"", (273, 4, 0xFFFFFFFF, 8), (278, 4, 1, 1), (279, 4, 0xFFFFFFFF, 8)),
        "tiff tile": tiff_of(96, 96, zeros(600_000_000), (322, 4, 1, 30_000), (323, 4, 1, 20_000), (324, 4, 1, 110),
                             (325, 4, 1, 2_500_000)),
        "tiff directory": tiff_of(96, 96, bytes(1 << 21), *entries),
        "tiff numbers": tiff_of(96, 96, bytes(5 << 20), (273, 4, 1 << 20, 200), (278, 4, 1, 1)),
        "exif numbers": png((96, 96), RGB, numbers, chunk(b"IDAT", zlib.compress(bytes(1000)))),
    }  # fmt: skip
    if "jpeg 2000" in bundled:
        jp2 = bundled["jpeg 2000"]
        box, codestream = jp2.index(b"ihdr") + 4, jp2.index(b"\xff\x51") + 6
        sides = struct.pack(">II", SIDE, SIDE)
        made |= {"jp2": put(put(jp2, box, sides), codestream, sides), "jp2 codestream": put(jp2, codestream, sides)}
    if "avif" in bundled:
        avif = bundled["avif"]
        made["avif"] = put(avif, avif.index(b"ispe") + 8, struct.pack(">II", SIDE, SIDE))
    return made


def test_bombs_in_headers_are_refused_before_anything_is_allocated(bundled: dict[str, bytes], tmp_path: Path) -> None:
    found = decoded_apart(header_bombs(bundled), tmp_path, memory=1 << 28)
    for name, (outcome, peak, seconds) in found.items():
        assert not outcome.startswith(("!", "decoded")), (name, outcome)
        assert peak < 32 << 20, (name, peak)
        assert seconds < 5, (name, seconds)
    assert all("numbers, above the limit" in found[name][0] for name in ("tiff numbers", "exif numbers"))
    claims = {name for name, (outcome, _, _) in found.items() if f"limit of {MAX_PIXELS}" in outcome}
    assert claims >= {"png", "gif canvas", "gif frame", "bmp", "ppm", "jpeg", "jpeg progressive", "jpeg grey", "webp",
                      "webp frame", "tiff", "tiff tile"}  # fmt: skip


def test_bombs_in_compressed_parts_never_unfold(tmp_path: Path) -> None:
    packed, pixels = zeros(300 << 20), chunk(b"IDAT", zlib.compress(bytes(289 * 96)))
    megabyte = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes((1 << 20) - 1)))
    bombs = {
        "pixels": png((96, 96), RGB, chunk(b"IDAT", packed)),
        "strip": tiff_of(96, 96, packed),
        "text": png((96, 96), RGB, chunk(b"zTXt", b"a\0\0" + packed), pixels),
        "international text": png((96, 96), RGB, chunk(b"iTXt", b"a\0\1\0\0\0" + packed), pixels),
        "profile": png((96, 96), RGB, chunk(b"iCCP", b"a\0\0" + packed), pixels),
        "many texts": png((96, 96), RGB, *[megabyte] * 500, pixels),
    }  # the chunks of metadata are left out
    for name, (outcome, peak, seconds) in decoded_apart(bombs, tmp_path, memory=1 << 28).items():
        assert outcome == "decoded 96 96", (name, outcome)
        assert peak < 100 << 20, (name, peak)
        assert seconds < 5, (name, seconds)


def test_images_up_to_the_limit_are_decoded_in_bounded_memory(tmp_path: Path) -> None:
    def of(width: int, height: int, kind: bytes, size: int) -> bytes:
        return png((width, height), kind, chunk(b"IDAT", zeros((width * size + 1) * height)))

    images = {
        "at the limit": of(AT_LIMIT, AT_LIMIT, RGB, 3),
        "at the limit, 16 bits": of(AT_LIMIT, AT_LIMIT, GREY16, 2),
        "one row": of(30_000_000, 1, GREY, 1),
        "one column": of(1, 10_000_000, GREY, 1),
        "beyond": png((AT_LIMIT + 1, AT_LIMIT + 1), GREY, chunk(b"IDAT", b"")),
    }
    found = decoded_apart(images, tmp_path, MAX_BYTES)
    assert found["at the limit"][0] == found["at the limit, 16 bits"][0] == f"decoded {AT_LIMIT} {AT_LIMIT}"
    assert found["one row"][0] == "decoded 1 30000000"
    assert found["one column"][0] == "decoded 10000000 1"
    assert found["beyond"][0].endswith(f"above the limit of {MAX_PIXELS}")
    assert found["beyond"][1] < 32 << 20
