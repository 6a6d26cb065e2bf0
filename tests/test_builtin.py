"""The built-in benchmark: its manifest, the same bytes from the same seed, repair, and what can go wrong.

Reals and simulated decoders; what networks add is in test_builtin_own.py.
"""

import csv
import shutil
import subprocess
import sys
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xxhash

from fdetect.bench.data import builtin
from fdetect.bench.data.builtin import CROPS_PER_PHOTOGRAPH, DESCRIPTION, PHOTOGRAPHS, SIDE, is_flat
from fdetect.bench.data.builtin_files import png
from fdetect.bench.data.simulate import DECODERS
from fdetect.errors import DataError, ParameterError
from fdetect.images import decode
from fdetect.types import MANIFEST_COLUMNS, records

GOLDEN_SET = "894ff06410a45fd0a200ffeb6c375f5d"  # of pixels.xxh3, seed 0, as in version 1 of the set

builtin_manifest = partial(builtin.builtin_manifest, networks=())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("builtin")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builtin._log, "warning", pytest.fail)  # the photographs are those of version 1
        return folder, builtin_manifest(folder)


@pytest.fixture
def few(monkeypatch):
    """Only four small photographs, where the number does not matter."""
    names = ("chelsea", "coins", "china", "flower")
    monkeypatch.setattr(builtin, "PHOTOGRAPHS", tuple(each for each in PHOTOGRAPHS if each.name in names))


@pytest.fixture
def whole(few, tmp_path):
    """The complete folder of `few` and what is in it, to be damaged."""
    root = root_of(builtin_manifest(tmp_path))
    return root, snapshot(root)


def root_of(table):
    return Path(table.schema.metadata[b"fdetect.root"].decode())


def snapshot(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_manifest_columns_types_and_metadata(made):
    folder, table = made
    assert tuple(table.column_names) == MANIFEST_COLUMNS
    assert [str(kind) for kind in table.schema.types] == ["string", "int64"] + ["string"] * 6
    assert table.schema.metadata[b"fdetect.layout"] == b"builtin"
    assert root_of(table) == folder / "builtin-v2-seed0"
    assert sum(column.null_count for column in table.columns) == 0


def test_every_image_decodes_to_the_listed_pixels(made):
    root = root_of(made[1])
    listed = dict(reversed(line.split()) for line in (root / "pixels.xxh3").read_text().splitlines())
    assert list(listed) == made[1]["path"].to_pylist()
    for path, digest in listed.items():
        image = decode((root / path).read_bytes())
        assert image.pixels.shape == (SIDE, SIDE, 3)
        assert (image.facts.format, image.facts.mode) == ("PNG", "RGB")
        assert xxhash.xxh3_128_hexdigest(image.pixels.tobytes()) == digest
    assert len(set(listed.values())) == len(listed)
    assert len({(root / path).stat().st_size for path in listed}) == 1  # so that bytes do not tell the classes apart


def test_decoders_remove_the_finest_detail(made):
    """The stated reason why the classes separate: on average reals have the larger second differences."""
    table = made[1]
    roughness = {}
    for row in records(table):
        pixels = decode((root_of(table) / row.path).read_bytes()).pixels.astype(int)
        roughness.setdefault(row.generator, []).append(np.abs(np.diff(pixels, 2, axis=1)).mean())
    means = {generator: np.mean(values) for generator, values in roughness.items()}
    assert all(means[""] > 1.2 * means[name] for name in DECODERS)


def test_fakes_are_the_decoded_reals(made):
    root = root_of(made[1])
    for path in [row.path for row in records(made[1]) if not row.label][::9]:
        real = decode((root / path).read_bytes()).pixels
        for name, simulate in DECODERS.items():
            fake = decode((root / path.replace("real/", f"{name}/")).read_bytes()).pixels
            np.testing.assert_array_equal(fake, simulate(real))


def test_reals_are_unchanged_crops_that_do_not_overlap(made):
    root = root_of(made[1])
    reals = [row for row in records(made[1]) if not row.label]
    for photograph in PHOTOGRAPHS:
        pixels = decode(photograph.path.read_bytes()).pixels
        taken = np.zeros(pixels.shape[:2], int)
        for row in reals:
            if row.group == photograph.name:
                crop = decode((root / row.path).read_bytes()).pixels
                (y, x), = corners_of(crop, pixels)  # fmt: skip
                taken[y : y + SIDE, x : x + SIDE] += 1
                assert not is_flat(crop)
        assert taken.max() == 1


def corners_of(crop, pixels):
    """Every place where a crop stands in a photograph, found by its first line of pixels."""
    line = crop[0].tobytes()
    for y in range(pixels.shape[0] - SIDE + 1):
        start = pixels[y].tobytes().find(line)
        if start >= 0 and start % 3 == 0:
            x = start // 3
            if np.array_equal(pixels[y : y + SIDE, x : x + SIDE], crop):
                yield y, x


def test_groups_labels_and_sources(made):
    rows = records(made[1])
    reals = [row for row in rows if row.label == 0]
    assert 100 <= len(reals) <= 200
    assert len(rows) == len(reals) * (1 + len(DECODERS)) <= 640
    assert Counter(row.generator for row in rows) == dict.fromkeys(["", *DECODERS], len(reals))
    crops = Counter(row.group for row in reals)
    assert set(crops) == {photograph.name for photograph in PHOTOGRAPHS}
    assert 2 <= min(crops.values()) <= max(crops.values()) == CROPS_PER_PHOTOGRAPH
    for name in DECODERS:
        assert Counter(row.group for row in rows if row.generator == name) == crops
    assert {row.real_source for row in reals} == {"scikit-image", "scikit-learn"}
    assert {(row.family, row.real_source) for row in rows if row.label} == {("simulated", "")}
    assert {row.family for row in reals} == {""}
    assert {row.split for row in rows} == {""}
    assert all(row.group == row.path.split("/")[1].rsplit("-", 1)[0] for row in rows)


def test_csv_is_the_same_table(made):
    with (root_of(made[1]) / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{**row, "label": int(row["label"])} for row in rows] == made[1].to_pylist()


def test_golden_set(made):
    """The pixels of seed 0, as every machine with these photographs must make them."""
    assert xxhash.xxh3_128_hexdigest((root_of(made[1]) / "pixels.xxh3").read_bytes()) == GOLDEN_SET


def test_same_seed_same_bytes_other_seed_other_crops(made, tmp_path):
    again = builtin_manifest(tmp_path)
    assert snapshot(root_of(again)) == snapshot(root_of(made[1]))
    other = builtin_manifest(tmp_path, seed=3)
    assert root_of(other) == tmp_path / "builtin-v2-seed3"
    first, second = (
        {xxhash.xxh3_64_hexdigest((root_of(table) / path).read_bytes()) for path in table["path"].to_pylist()}
        for table in (made[1], other)
    )
    assert len(first & second) < len(first) / 10


def test_a_complete_folder_is_not_written_again(whole):
    root, _ = whole
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    table = builtin_manifest(root.parent)
    assert table.num_rows == len(table["path"].unique()) == sum(path.suffix == ".png" for path in before)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def delete(path):
    path.unlink()


def truncate(path):
    path.write_bytes(path.read_bytes()[:500])


def change_a_pixel(path):
    """A valid PNG of the same size with another pixel: only its content shows it."""
    pixels = decode(path.read_bytes()).pixels.copy()
    pixels[7, 7, 0] ^= 1
    path.write_bytes(png(pixels))


@pytest.mark.parametrize("damage", [delete, truncate, change_a_pixel])
@pytest.mark.parametrize("name", ["real/china-00.png", "sim-shuffle/flower-01.png"])
def test_repairs_an_image(whole, damage, name):
    root, files = whole
    (root / "notes.txt").write_text("mine")
    damage(root / name)
    untouched = (root / "real/coins-00.png").stat().st_mtime_ns
    builtin_manifest(root.parent)
    assert snapshot(root) == {**files, "notes.txt": b"mine"}
    assert (root / "real/coins-00.png").stat().st_mtime_ns == untouched


@pytest.mark.parametrize("damage, name", [
    (delete, "manifest.csv"), (truncate, "manifest.csv"), (delete, "pixels.xxh3"), (shutil.rmtree, "sim-nearest"),
])  # fmt: skip
def test_repairs_the_lists_and_a_lost_class(whole, damage, name):
    root, files = whole
    damage(root / name)
    builtin_manifest(root.parent)
    assert snapshot(root) == files


def test_two_writers_at_once_leave_one_complete_folder(whole, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        tables = list(pool.map(builtin_manifest, [tmp_path / "new", tmp_path / "new"]))
    assert tables[0].equals(tables[1])
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["builtin-v2-seed0"]
    assert snapshot(root_of(tables[0])) == whole[1]


def test_an_unusable_folder_is_one_sentence(few, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot write the built-in images to .*file"):
        builtin_manifest(tmp_path / "file")


def test_a_file_in_place_of_the_folder_is_one_sentence_and_is_kept(few, tmp_path):
    (tmp_path / "builtin-v2-seed0").write_text("in the way")
    with pytest.raises(DataError, match="cannot write the built-in images"):
        builtin_manifest(tmp_path)
    assert (tmp_path / "builtin-v2-seed0").read_text() == "in the way"


def test_negative_seed_is_refused(tmp_path):
    with pytest.raises(ParameterError, match="--seed -1"):
        builtin_manifest(tmp_path, seed=-1)


def test_an_absent_photograph_is_left_out_and_said(tmp_path, monkeypatch, caplog):
    other = [builtin.Photograph("gone", "scikit-image", "data/gone.png", "scene", ""), *PHOTOGRAPHS[2:5]]
    monkeypatch.setattr(builtin, "PHOTOGRAPHS", tuple(other))
    table = builtin_manifest(tmp_path)
    assert set(table["group"].to_pylist()) == {photograph.name for photograph in other[1:]}
    assert "data/gone.png of scikit-image is left out" in caplog.text


def test_a_photograph_with_other_pixels_is_used_and_said(tmp_path, monkeypatch, caplog):
    first = PHOTOGRAPHS[0]
    other = builtin.Photograph(first.name, first.package, first.file, first.category, "0" * 32)
    monkeypatch.setattr(builtin, "PHOTOGRAPHS", (other,))
    assert set(builtin_manifest(tmp_path)["group"].to_pylist()) == {"astronaut"}
    assert "data/astronaut.png of scikit-image does not have the pixels that the set knows" in caplog.text


def test_most_photographs_absent_is_one_sentence(tmp_path, monkeypatch):
    gone = [builtin.Photograph(f"gone{n}", "scikit-image", "data/gone.png", "scene", "") for n in range(2)]
    monkeypatch.setattr(builtin, "PHOTOGRAPHS", (*gone, PHOTOGRAPHS[0]))
    with pytest.raises(DataError, match=r"can read 1 of its 3 photographs; repair with: pip install"):
        builtin_manifest(tmp_path)


def test_flatness_is_one_pair_in_sixteen():
    flat = np.full((160, 160, 3), 90, np.uint8)
    assert is_flat(flat)
    assert is_flat(flat + (np.indices((160, 160)).sum(axis=0) % 2 * 3).astype(np.uint8)[:, :, None])  # steps of 3
    stripes = flat.copy()
    stripes[::16] += 4  # each stripe makes 2 of 16 vertical steps; half of all pairs are vertical: just 1 in 16
    assert is_flat(stripes)  # the first stripe has no upper neighbour: just below
    stripes[8] += 4
    assert not is_flat(stripes)


def test_png_matches_pillow_on_other_sizes():
    for shape in [(1, 1, 3), (3, 5, 3), (150, 400, 3)]:
        pixels = np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8)
        data = png(pixels)
        np.testing.assert_array_equal(decode(data).pixels, pixels)
        start = data.index(b"IDAT") + 4
        assert len(zlib.decompress(data[start:-16])) == shape[0] * (1 + 3 * shape[1])  # strict: checks the sum


def test_needs_neither_sklearn_nor_torch_nor_skimage(tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\nfrom fdetect.bench.data.builtin import builtin_manifest\n"
        "rows = builtin_manifest(Path(sys.argv[1]), networks=()).num_rows\n"
        "print(rows, sorted({'sklearn', 'torch', 'skimage', 'scipy', 'transformers'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    rows, modules = result.stdout.split(maxsplit=1)
    assert int(rows) > 500
    assert modules.strip() == "[]"


def test_description_is_honest():
    assert all(name in DESCRIPTION for name in DECODERS)
    assert "No generative model made any of these images" in DESCRIPTION
    assert f"{len(PHOTOGRAPHS)} photographs" in DESCRIPTION
