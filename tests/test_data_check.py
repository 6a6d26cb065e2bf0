"""`fdetect data check`: every kind of finding is planted once and found, and nothing is found where nothing is."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy import ndimage
from test_layouts import write

from fdetect.bench.data.check import check_data
from fdetect.bench.data.near_duplicates import (
    FLAT,
    NEAR_BITS,
    Fingerprint,
    dct_hash,
    hashes_of,
    near_pairs,
    shrunk,
)
from fdetect.cli import cli
from fdetect.errors import ParameterError
from fdetect.splits import join_same_content
from fdetect.types import Batch, Facts

SIZE = 120  # px a side: enough for the smallest crop


def picture(seed: int, side: int = SIZE) -> np.ndarray:
    """A smooth random picture, (side, side, 3) uint8: like a photograph in its low frequencies, like no other."""
    noise = np.random.default_rng(seed).normal(size=(side, side, 3))
    smooth = ndimage.gaussian_filter(noise, (side / 16, side / 16, 0))
    return np.clip(128 + 60 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def encoded(pixels: np.ndarray, kind: str = "PNG", **settings: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **settings)
    return buffer.getvalue()


def put(root, name, data):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(data)


# --- the hash ----------------------------------------------------------------------------------------------------


def naive_cells(pixels):
    """Means of 32 x 32 cells with fractional borders, pixel by pixel."""
    height, width = pixels.shape[:2]
    cells = np.zeros((32, 32))
    for y in range(height):
        for x in range(width):
            r, g, b = (float(v) for v in pixels[y, x])
            luma = 0.299 * r + 0.587 * g + 0.114 * b
            for i in range(32):
                part = min((i + 1) * height / 32, y + 1) - max(i * height / 32, y)
                if part <= 0:
                    continue
                for j in range(32):
                    here = min((j + 1) * width / 32, x + 1) - max(j * width / 32, x)
                    if here > 0:
                        cells[i, j] += luma * part * here / (height / 32 * width / 32)
    return cells


def naive_hash(cells):
    low = []
    for u in range(1, 9):
        for v in range(1, 9):
            total = 0.0
            for i in range(32):
                for j in range(32):
                    wave = math.cos(math.pi * u * (i + 0.5) / 32) * math.cos(math.pi * v * (j + 0.5) / 32)
                    total += cells[i, j] * wave
            low.append(total)
    median = (sorted(low)[31] + sorted(low)[32]) / 2
    return sum(1 << k for k, value in enumerate(low) if value > median)


@pytest.mark.parametrize("shape", [(45, 33), (20, 70), (32, 32), (7, 5)])
def test_hash_equals_the_plain_reference(shape):
    pixels = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    cells = shrunk(pixels)
    np.testing.assert_allclose(cells, naive_cells(pixels), rtol=0, atol=1e-9)
    assert dct_hash(cells) == naive_hash(naive_cells(pixels))


def apart(one: np.ndarray, other: np.ndarray) -> int:
    return (dct_hash(shrunk(one)) ^ dct_hash(shrunk(other))).bit_count()


def test_copies_are_near_and_strangers_far():
    for seed in range(20):
        one = picture(seed)
        again = np.asarray(Image.open(io.BytesIO(encoded(one, "JPEG", quality=40))).convert("RGB"))
        small = np.asarray(Image.fromarray(one).resize((70, 70), Image.Resampling.BICUBIC))
        assert apart(one, one) == 0
        assert apart(one, again) <= NEAR_BITS
        assert apart(one, small) <= NEAR_BITS
        assert apart(one, picture(seed + 100)) > 10


def test_task_carries_hash_and_size_through_float32():
    pictures = np.stack([picture(0, 100), np.full((100, 100, 3), 77, np.uint8)])
    values = Fingerprint()(Batch(("a", "b"), pictures, (Facts("RAW", 100, 100, 0),) * 2))
    assert values.dtype == np.float32
    hashes, hashed = hashes_of(values)
    assert hashes.dtype == np.uint64
    assert int(hashes[0]) == dct_hash(shrunk(pictures[0]))
    assert hashed.tolist() == [True, False]  # one colour has no hash
    assert values[:, -2:].tolist() == [[100, 100], [100, 100]]
    assert values[1, 4] < FLAT < values[0, 4]
    failed = np.full((1, values.shape[1]), np.nan, np.float32)
    assert hashes_of(failed)[1].tolist() == [False]


@pytest.mark.parametrize("bits", [0, 3, 8])
def test_near_pairs_equal_brute_force(bits):
    draw = np.random.default_rng(bits)
    hashes = draw.integers(0, 2**64, 300, np.uint64)
    for k in range(200):  # copies with a few flipped bits, so that there is something to find
        flips = np.bitwise_or.reduce(np.uint64(1) << draw.integers(0, 64, draw.integers(0, 10)).astype(np.uint64))
        hashes[100 + k] = hashes[k % 100] ^ flips
    side, label = draw.integers(0, 3, 300), draw.integers(0, 2, 300)
    near = [(i, j) for i in range(300) for j in range(i + 1, 300)
            if (int(hashes[i]) ^ int(hashes[j])).bit_count() <= bits]  # fmt: skip
    assert len(near) > 10
    assert [tuple(pair) for pair in near_pairs(hashes, bits=bits)] == near
    crossing = [(i, j) for i, j in near if side[i] != side[j] or label[i] != label[j]]
    assert [tuple(pair) for pair in near_pairs(hashes, side, label, bits=bits)] == crossing


# --- the check ---------------------------------------------------------------------------------------------------


@pytest.fixture
def clean(tmp_path):
    """Ten different images in two splits, both classes in each."""
    for k, split in enumerate(("train", "test")):
        for i in range(3):
            put(tmp_path, f"{split}/0_real/{i}.png", encoded(picture(10 * k + i)))
        for i in range(2):
            put(tmp_path, f"{split}/1_fake/{i}.png", encoded(picture(100 + 10 * k + i)))
    return tmp_path


def check(data, **settings):
    return check_data(data, **{"crop": 64, **settings})


def test_nothing_is_found_where_nothing_is(clean):
    found = check(clean)
    assert found.findings == ()
    assert (found.n_contents, found.shared_reals, found.flat, found.paired) == (10, (0, 0), 0, 0)
    name = clean.name
    assert found.counts() == [
        ("real", name, "test", 3), ("real", name, "train", 3), ("fake", name, "test", 2), ("fake", name, "train", 2)
    ]  # fmt: skip


def test_unreadable_images_are_named(clean):
    put(clean, "train/1_fake/empty.png", b"")
    put(clean, "test/0_real/cut.png", encoded(picture(50))[:-2000])  # the header is whole, the body is not
    found = check(clean)
    assert {one.path for one in found.failures} == {"train/1_fake/empty.png", "test/0_real/cut.png"}
    assert found.findings == ("2 images cannot be read: a failure in every run",)
    table = found.as_table()
    finding = dict(zip(table["path"].to_pylist(), table["finding"].to_pylist(), strict=True))
    assert finding["train/1_fake/empty.png"].startswith("unreadable: ")
    assert finding["train/1_fake/0.png"] == ""


def test_exact_duplicates_across_splits_and_labels(clean):
    same = (clean / "train/0_real/0.png").read_bytes()
    put(clean, "test/0_real/copy.png", same)
    put(clean, "train/1_fake/wrong.png", same)
    put(clean, "train/0_real/again.png", same)  # within one split and label: no finding, but no second image either
    found = check(clean)
    assert [(pair.first, pair.second, pair.across, pair.bits) for pair in found.exact] == [
        ("test/0_real/copy.png", "train/0_real/0.png", "splits", -1),
        ("test/0_real/copy.png", "train/1_fake/wrong.png", "splits and labels", -1),
        ("train/0_real/0.png", "train/1_fake/wrong.png", "labels", -1),
    ]
    assert found.near == ()  # what is equal is not told twice
    assert found.n_contents == 10
    assert found.findings == (
        "1 pair of equal content across labels",
        "1 pair of equal content across splits",
        "1 pair of equal content across splits and labels",
    )


def test_near_duplicates_across_splits_and_labels(clean):
    put(clean, "test/0_real/again.jpg", encoded(picture(0), "JPEG", quality=60))  # of train/0_real/0.png
    small = np.asarray(Image.fromarray(picture(111)).resize((90, 90), Image.Resampling.BICUBIC))
    put(clean, "test/0_real/small.png", encoded(small))  # of test/1_fake/1.png
    put(clean, "test/0_real/grey.png", encoded(np.full((SIZE, SIZE, 3), 9, np.uint8)))
    put(clean, "train/0_real/grey.png", encoded(np.full((SIZE, SIZE, 3), 11, np.uint8)))
    found = check(clean)
    assert [(pair.first, pair.second, pair.across) for pair in found.near] == [
        ("test/0_real/again.jpg", "train/0_real/0.png", "splits"),
        ("test/0_real/small.png", "test/1_fake/1.png", "labels"),
    ]
    assert all(0 <= pair.bits <= NEAR_BITS for pair in found.near)
    assert found.flat == 2
    assert "1 pair alike to the eye (4 of 64 bits apart at most) across splits" in found.findings


def test_pairs_by_design_and_groups_on_two_sides(tmp_path):
    rows = ["path,label,generator,group,split"]
    for i, (split, group) in enumerate((("train", "g1"), ("test", "g2"), ("test", "g2"), ("train", "g2"))):
        put(tmp_path, f"r{i}.png", encoded(picture(i)))
        put(tmp_path, f"f{i}.png", encoded(picture(i) // 2 * 2))  # hardly retouched
        rows += [f"r{i}.png,0,,{group},{split}", f"f{i}.png,1,glide,{group},{split}"]
    found = check(write(tmp_path / "m.csv", "\n".join(rows) + "\n"))
    assert found.paired == 4
    assert found.near == ()
    assert found.split_groups == ("g2",)
    assert found.findings == ("1 group on two sides of a split, the first 'g2'",)


def test_single_classes_and_shared_reals(tmp_path):
    for name, seed in (("crn", 1), ("imle", 1), ("san", 2)):
        put(tmp_path, f"test/{name}/0_real/a.png", encoded(picture(seed)))  # CRN's reals are IMLE's
    for name, seed in (("crn", 3), ("imle", 4), ("biggan", 5)):
        put(tmp_path, f"test/{name}/1_fake/a.png", encoded(picture(seed)))
    put(tmp_path, "val/car/0_real/a.png", encoded(picture(9)))
    found = check(tmp_path)
    assert found.shared_reals == (1, 2)
    assert found.n_contents == 6
    assert found.single_class == (
        "split val has no fake images", "biggan has fakes and no reals of its own", "progan has reals and no fakes",
        "san has reals and no fakes",
    )  # fmt: skip
    assert found.findings == found.single_class


def test_a_class_that_cannot_be_read_is_not_there(clean):
    for name in ("0", "1"):
        put(clean, f"test/1_fake/{name}.png", b"no picture " + name.encode())
    assert check(clean).single_class == ("split test has no fake images",)


def test_images_too_small_for_the_crop(clean):
    put(clean, "train/0_real/small.png", encoded(picture(70, 71)))  # a crop of 64 and a margin of 8
    put(clean, "train/0_real/enough.png", encoded(picture(71, 72)))
    found = check(clean)
    assert found.too_small == {"train/0_real/small.png": "71x71"}
    assert found.findings == ("1 image with a side below 72 px, too small for --crop 64 and a margin of 8",)
    assert len(check(clean, crop=128).too_small) == 12


def test_settings_that_cannot_be_used(clean):
    with pytest.raises(ParameterError, match="near_bits is 40"):
        check(clean, near_bits=40)
    with pytest.raises(ParameterError, match="crop must be a multiple of 8"):
        check(clean, crop=65)
    with pytest.raises(ParameterError, match="no setting 'worker'"):
        check(clean, worker=1)


# --- the command -------------------------------------------------------------------------------------------------


def run(*arguments):
    return CliRunner().invoke(cli, ["data", "check", *map(str, arguments), "--workers", "0"], catch_exceptions=False)


def test_command_writes_and_exits(clean, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    plain = run(clean, "--crop", "64", "--strict", "-o", out / "a.json")
    assert plain.exit_code == 0
    assert "nothing was found" in plain.output
    assert json.loads((out / "a.json").read_text())["findings"] == []
    put(clean, "test/0_real/copy.png", (clean / "train/0_real/0.png").read_bytes())
    put(clean, "test/0_real/cut.png", b"\x89PNG")
    loud = run(clean, "--crop", "64", "--strict", "-o", out / "b.json")
    assert loud.exit_code == 3
    assert "found: 1 image cannot be read" in loud.output
    assert "test/0_real/copy.png = train/0_real/0.png" in loud.output
    content = json.loads((out / "b.json").read_text())
    assert list(content["unreadable"]) == ["test/0_real/cut.png"]
    assert content["exact_duplicates"][0]["across"] == "splits"
    assert content["near_duplicates"]["bits"] == NEAR_BITS
    assert run(clean, "--crop", "64").exit_code == 0  # only --strict turns findings into an exit code
    run(clean, "--crop", "64", "-o", out / "c.parquet")
    table = pq.read_table(out / "c.parquet")
    assert table.num_rows == 12
    assert sum(bool(text) for text in table["finding"].to_pylist()) == 3


def test_reals_that_generators_share_are_one_group(tmp_path):
    """UnivFD in copies that keep pairs: the same photograph in three folders is counted, and joined where it counts."""
    for k, name in enumerate(("ldm_100", "ldm_200", "glide_50_27")):
        put(tmp_path, f"{name}/0_real/{k}.png", encoded(picture(1)))
        put(tmp_path, f"{name}/1_fake/{k}.png", encoded(picture(10 + k)))
    found = check(tmp_path)
    assert found.shared_reals == (1, 3)
    assert found.findings == ()
    rows = found.manifest.to_pylist()
    group = join_same_content([row["group"] or row["path"] for row in rows], found.ids)
    assert len({one for one, row in zip(group, rows, strict=True) if row["label"] == 0}) == 1
    assert len(set(group)) == 4
    assert "1 real under 3 paths, counted as one group each" in run(tmp_path, "--crop", "64").output
