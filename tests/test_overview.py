"""The overview counts what headers say, names what cannot be read, and warns where the classes differ."""

from __future__ import annotations

import io
import math
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from fdetect.bench.data.overview import OverviewRow, Spread, overview
from fdetect.bench.layouts import read_manifest
from fdetect.errors import DataError
from fdetect.images import decode, read_facts
from fdetect.types import records

SHARED = Path(__file__).parents[1].parent / "shared" / "data" / "manifest.csv"


def encoded(width: int, height: int, kind: str = "JPEG", seed: int = 0, **settings: object) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **settings)
    return buffer.getvalue()


def put(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for i, (side, quality) in enumerate(((40, 75), (48, 90), (64, 95))):
        put(tmp_path / f"real/coco/{i}.jpg", encoded(side, 32, quality=quality))
        put(tmp_path / f"fake/sd/{i}.png", encoded(64, 64, "PNG", seed=i))
    put(tmp_path / "real/raise/1.tif", encoded(50, 20, "TIFF"))
    tables = [list(range(1, 65)), list(range(1, 65))]
    put(tmp_path / "fake/sd/odd.jpg", encoded(64, 64, qtables=tables))
    put(tmp_path / "fake/sd/empty.png", b"")
    put(tmp_path / "fake/sd/text.jpg", b"not an image")
    return tmp_path


def row_of(rows: tuple[OverviewRow, ...], name: str) -> OverviewRow:
    return next(row for row in rows if row.name == name)


def test_rows(tree):
    found = overview(read_manifest(tree))
    assert [(row.label, row.name) for row in found.rows] == [(0, "coco"), (0, "raise"), (1, "sd")]
    coco = row_of(found.rows, "coco")
    assert (coco.images, coco.groups, coco.unreadable, coco.reasons) == (3, 3, 0, ())
    assert coco.formats == (("JPEG", 3),)
    assert coco.width == Spread(40, 48, 64)
    assert coco.height == Spread(32, 32, 32)
    assert coco.pixels == ("40x32", "48x32", "64x32")
    assert coco.quality == Spread(75, 90, 95)
    assert coco.exact_quality == 1.0
    sizes = sorted(file.stat().st_size for file in (tree / "real/coco").iterdir())
    assert coco.bytes == Spread(*sizes)
    assert coco.total_bytes == sum(sizes)
    fakes = row_of(found.rows, "sd")
    assert (fakes.images, fakes.unreadable) == (6, 2)
    assert fakes.formats == (("PNG", 3), ("JPEG", 1))
    assert fakes.exact_quality == 0.0  # a table of its own is near some quality and equal to none
    assert fakes.reasons == (
        "fake/sd/empty.png: the file is empty (0 bytes)",
        "fake/sd/text.jpg: no image of a known format (unknown or damaged header)",
    )
    assert math.isnan(row_of(found.rows, "raise").exact_quality)
    assert found.detected.startswith("real_fake: ")


def test_as_rows(tree):
    dicts = overview(read_manifest(tree)).as_rows()
    assert [row["label"] for row in dicts] == ["real", "real", "fake"]
    assert dicts[0]["size"] == "40x32 / 48x32 / 64x32"
    assert dicts[0]["quality"] == "75/90/95"
    assert dicts[1]["quality"] == dicts[1]["exact_quality"] == ""
    assert dicts[2]["formats"] == "PNG 3, JPEG 1"
    assert dicts[2]["unreadable"] == 2
    assert len({tuple(row) for row in dicts}) == 1  # one set of columns


def test_warnings_name_what_differs(tree):
    found = overview(read_manifest(tree)).warnings
    assert "formats differ between the classes: real JPEG 3, TIFF 1; fake PNG 3, JPEG 1" in found
    assert "sizes differ between the classes (min / median / max): real 50x20 / 40x32 / 64x32; fake 64x64 /" in found[2]
    assert any(line.startswith("JPEG qualities differ") and "real 75/90/95" in line for line in found)
    assert any(line.startswith("2 of 6 fake images cannot be read, the first fake/sd/empty.png: ") for line in found)


def test_no_warning_where_classes_match(tmp_path):
    for i in range(4):
        for kind in ("real/a", "fake/b"):
            put(tmp_path / f"{kind}/{i}.jpg", encoded(32 + i, 32, quality=80 + i))
    assert overview(read_manifest(tmp_path)).warnings == ()


def test_one_class_and_unnamed_generators(tmp_path):
    put(tmp_path / "fake/1.jpg", encoded(32, 32))
    found = overview(read_manifest(tmp_path)).warnings
    assert found == (
        "no real images: the classes cannot be compared",
        "1 of 1 fake images name no generator",
    )


def test_missing_file_and_groups(tmp_path):
    put(tmp_path / "a.jpg", encoded(32, 32))
    put(tmp_path / "b.jpg", encoded(32, 32))
    (tmp_path / "m.csv").write_text("path,label,generator,group\na.jpg,1,g,p1\nb.jpg,1,g,p1\nc.jpg,1,g,\nd.jpg,1,g,\n")
    row = overview(read_manifest(tmp_path / "m.csv")).rows[0]
    assert (row.images, row.groups, row.unreadable) == (4, 3, 2)
    assert row.reasons[0] == "c.jpg: No such file or directory"


def test_all_unreadable(tmp_path):
    (tmp_path / "m.csv").write_text("path,label\na.jpg,0\nb.jpg,1\n")
    found = overview(read_manifest(tmp_path / "m.csv"))
    assert [row.width for row in found.rows] == [None, None]
    assert [row["size"] for row in found.as_rows()] == ["", ""]


def test_header_beyond_the_first_bytes(tmp_path):
    """A JPEG whose metadata is longer than what is read first, and formats without a header at the front."""
    profile = np.random.default_rng(1).integers(0, 256, 300_000, np.uint8).tobytes()
    put(tmp_path / "real/a.jpg", encoded(40, 30, icc_profile=profile))
    put(tmp_path / "real/b.tif", encoded(300, 200, "TIFF"))
    put(tmp_path / "fake/g/c.webp", encoded(300, 300, "WEBP", lossless=True))
    put(tmp_path / "fake/g/d.png", encoded(300, 300, "PNG"))
    found = overview(read_manifest(tmp_path))
    assert [row.unreadable for row in found.rows] == [0, 0]
    assert found.rows[0].formats == (("JPEG", 1), ("TIFF", 1))
    assert found.rows[1].formats == (("PNG", 1), ("WEBP", 1))
    assert found.rows[0].bytes is not None
    assert found.rows[0].bytes.high == max(file.stat().st_size for file in (tmp_path / "real").iterdir())
    assert found.rows[0].total_bytes == sum(file.stat().st_size for file in (tmp_path / "real").iterdir())


def test_threads_progress_and_filters(tmp_path):
    for i in range(600):
        put(tmp_path / f"{'real' if i % 2 else 'fake/g'}/{i}.jpg", encoded(16, 16, seed=i, quality=70 + i % 20))
    manifest = read_manifest(tmp_path)
    before = list(warnings.filters)
    done: list[int] = []
    many = overview(manifest, threads=8, progress=done.append)
    assert sum(done) == 600
    assert len(done) > 1
    assert many == overview(manifest, threads=1)
    assert warnings.filters == before


def test_manifest_without_root():
    table = pa.table({"path": ["a.png"], "label": [0]})
    with pytest.raises(DataError, match="read it with read_manifest"):
        overview(table)


@pytest.mark.parametrize("exif", [False, True])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"])
def test_read_facts_equals_decode(kind, exif):
    tags = Image.Exif()
    tags[271], tags[274] = "Maker", 3
    data = encoded(70, 50, kind, **({"exif": tags} if exif and kind not in ("GIF", "BMP") else {}))
    facts = read_facts(data)
    assert facts == decode(data).facts
    assert (facts.format, facts.width, facts.height, facts.bytes) == (kind, 70, 50, len(data))
    if exif and kind in ("JPEG", "PNG"):
        assert facts.orientation == 3
        assert ("Make", "Maker") in facts.exif


def test_png_exif_after_the_pixels():
    """A chunk behind the pixels is found all the same, which a reader of the header alone would miss."""
    tags = Image.Exif()
    tags[274] = 3
    data = encoded(30, 30, "PNG", exif=tags)
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    last = data.index(b"IEND") - 4
    assert start < data.index(b"IDAT")
    moved = data[:start] + data[end:last] + data[start:end] + data[last:]
    assert read_facts(moved).orientation == decode(moved).facts.orientation == 3


def test_read_facts_needs_no_pixels():
    for kind in ("JPEG", "PNG"):
        data = encoded(200, 200, kind)
        half = data[: len(data) // 2]
        assert read_facts(half).width == 200
        with pytest.raises(DataError, match="cannot be decoded"):
            decode(half)
    with pytest.raises(DataError, match="0 bytes"):
        read_facts(b"")
    with pytest.raises(DataError, match="no image of a known format"):
        read_facts(b"no image at all")


@pytest.mark.skipif(not SHARED.is_file(), reason="the shared development images are not here")
def test_shared_images():
    """What the manifest of the development images says of format and size is what the headers say."""
    manifest = read_manifest(SHARED)
    found = overview(manifest)
    assert sum(row.unreadable for row in found.rows) == 0
    expected = Counter(
        (record.label, record.real_source or record.generator, format)
        for record, format in zip(records(manifest), manifest["format"].to_pylist(), strict=True)
    )
    assert {(row.label, row.name, name): n for row in found.rows for name, n in row.formats} == expected
    for row in found.rows:
        mine = [i for i, r in enumerate(records(manifest)) if row.name == (r.real_source or r.generator)]
        widths = [int(manifest["width"][i].as_py()) for i in mine]
        assert row.width is not None
        assert (row.width.low, row.width.high) == (min(widths), max(widths))
    assert found.warnings[0] == "formats differ between the classes: real JPEG 232, PNG 24; fake PNG 286, JPEG 196"
    assert len(found.warnings) == 3
