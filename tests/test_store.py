"""The store: parts that are whole or absent, damage that is named and never a value, and disks that fill up."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_tasks import CROP, MATCHED, NATIVE, Moments, assert_same, environment, extract, write_images

from fdetect.engine import Store, chunks, extraction, jobs
from fdetect.engine.store import id_array
from fdetect.errors import DataError
from fdetect.files import write_atomic
from fdetect.perturb import condition

RNG = np.random.default_rng(0)
IDS = RNG.integers(0, 256, (40, 16)).astype(np.uint8)
VALUES = RNG.normal(size=(40, 5)).astype(np.float32)


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """The one part of key "key" in a store at tmp_path."""
    Store(tmp_path).write("key", {}, IDS, VALUES)
    (part,) = tmp_path.rglob("part-*.parquet")
    return part


def look(part: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """What the store makes of a part: (40,) which rows are there, the right values asserted, and its warnings."""
    store = Store(part.parent.parent)
    rows = store.rows("key", 5, keep=1)
    values = rows.take(IDS)
    there = ~np.isnan(values).any(axis=1)
    assert values[there].tobytes() == VALUES[there].tobytes()
    assert np.isnan(values[~there]).all()
    assert there.tolist() == [bool(rows.has(id[None])[0]) for id in IDS]
    assert len(store.warnings) <= 1
    assert all(text.startswith(f"{part}: cannot be read (") and "\n" not in text for text in store.warnings)
    return there, tuple(store.warnings)


# --- parts --------------------------------------------------------------------------------------------------------


def test_a_store_stays_where_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code of others, in this process, may be in another folder when a part is written."""
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path)
    store = Store("store")
    monkeypatch.chdir(tmp_path / "else")
    store.write("key", {}, IDS, VALUES)
    assert len(list((tmp_path / "store" / "key").glob("part-*.parquet"))) == 1
    assert not list((tmp_path / "else").iterdir())


def test_a_part_says_in_clear_text_what_its_rows_are(own: Path, tmp_path: Path) -> None:
    extract(own, Moments(scale=0.5), conditions=(condition("blur1+jpeg80"),), store=Store(tmp_path), seed=9)
    (part,) = tmp_path.glob("moments-*/part-*.parquet")
    table = pq.read_table(part)
    assert table.schema.field("id").type == pa.binary(16)
    assert table.schema.field("values").type == pa.list_(pa.float32(), 2)
    assert len(table) == 8
    for column in map(pq.read_metadata(part).row_group(0).column, range(2)):
        assert column.compression == "ZSTD"
        assert not column.has_dictionary_page
    said = json.loads(table.schema.metadata[b"fdetect.extractor"])
    assert (said["name"], said["version"], said["settings"]) == ("moments", "1", {"scale": 0.5})
    assert (said["crop"], said["seed"], said["backend"]) == (CROP, 9, "cpu")
    assert said["condition"]["steps"] == [["blur", 1.0], ["jpeg", 80.0]]
    assert said["geometry"] == {"name": "aligned_crop", "size": CROP, "filter": ""}
    assert "Pillow" in said["decoder"]
    assert len(said["steps"]) == 2  # the code of each perturbation, which a plug-in may have brought
    assert not list(tmp_path.rglob("*.tmp"))


def test_rows_are_taken_in_any_order_from_many_parts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for start in range(0, 40, 7):
        store.write("key", {}, IDS[start : start + 7], VALUES[start : start + 7])
    store.write("key", {}, IDS[3:12], VALUES[3:12])  # some were finished twice
    order = RNG.permutation(40)
    for keep in (0, 2):
        rows = store.rows("key", 5, keep=keep)
        assert rows.take(IDS[order]).tobytes() == VALUES[order].tobytes()
        assert rows.take(IDS[:0]).shape == (0, 5)
    near = IDS[:1].copy()
    near[0, 15] ^= 1  # the same first half
    assert np.isnan(rows.take(near)).all()
    assert not rows.has(near[:1])[0]
    assert np.isnan(store.rows("no such key", 3).take(IDS)).all()
    assert store.warnings == []


def test_the_folder_is_the_argument_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FDETECT_CACHE", str(tmp_path / "from the environment"))
    assert Store().folder == tmp_path / "from the environment"
    assert Store(tmp_path / "given").folder == tmp_path / "given"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Store("~/mine").folder == tmp_path / "mine"
    assert not (tmp_path / "given").exists()  # nothing is made before something is written


# --- damage -------------------------------------------------------------------------------------------------------


def test_a_damaged_part_is_named_and_computed_again(own: Path, tmp_path: Path) -> None:
    first = extract(own, conditions=(NATIVE,), store=Store(tmp_path))
    (part,) = tmp_path.glob("moments-*/part-*.parquet")
    for damaged in (part.read_bytes()[:-20], b"", b"PAR1 and nothing more PAR1"):
        part.write_bytes(damaged)
        result = extract(own, conditions=(NATIVE,), store=Store(tmp_path))
        assert (result.n_computed, result.n_stored) == (8, 0)
        (warning,) = result.warnings
        assert warning.startswith(f"{part}: cannot be read (")
        assert warning.endswith("); its rows are computed again")
        assert "\n" not in warning
        assert_same(result, first)
        healed = extract(own, conditions=(NATIVE,), store=Store(tmp_path))
        assert (healed.n_computed, healed.warnings) == (0, ())  # the same rows were written over the damage


def test_a_part_cut_short_anywhere_is_named(part: Path) -> None:
    whole = part.read_bytes()
    for length in {0, 1, 3, 4, 8, 11, 12, *range(20, len(whole), 37), *range(len(whole) - 12, len(whole))}:
        part.write_bytes(whole[:length])
        there, warnings = look(part)
        assert not there.any()
        assert len(warnings) == 1
    part.write_bytes(whole)
    there, warnings = look(part)
    assert there.all()
    assert warnings == ()


def test_a_flipped_bit_never_becomes_a_value(part: Path) -> None:
    """Storage that lies: rows are right, or absent and named; in the pages as in what the file says of its pages."""
    whole, named = part.read_bytes(), 0
    for place in [4, 5, *RNG.integers(0, len(whole), 250)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(RNG.integers(0, 8))
        part.write_bytes(damaged)
        there, warnings = look(part)
        assert there.all() or (len(warnings) == 1 and not there.any()), place
        named += bool(warnings)
    assert named > 100


def rewritten(part: Path, ids: pa.Array, values: pa.Array) -> None:
    """Write other columns under the name and the metadata of a part, with page checksums that hold."""
    metadata = pq.read_schema(part).metadata
    pq.write_table(
        pa.table({"id": ids, "values": values}).replace_schema_metadata(metadata), part, write_page_checksum=True
    )


def lists(values: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


OTHERS = {
    "another width": (id_array(IDS), lists(VALUES[:, :4])),
    "float64": (id_array(IDS), lists(VALUES.astype(np.float64))),
    "lists of any length": (id_array(IDS), lists(VALUES).cast(pa.list_(pa.float32()))),
    "a missing value": (id_array(IDS), pa.array([None, *lists(VALUES)[1:].to_pylist()], pa.list_(pa.float32(), 5))),
    "other values": (id_array(IDS), lists(VALUES[::-1])),
    "other ids": (id_array(IDS[::-1]), lists(VALUES)),
    "fewer rows": (id_array(IDS[:39]), lists(VALUES[:39])),
    "no ids": (pa.nulls(40, pa.binary(16)), lists(VALUES)),
    "ids as text": (pa.array([bytes(id).hex() for id in IDS]), lists(VALUES)),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_sound_file_with_something_else_in_it_is_not_trusted(part: Path, what: str) -> None:
    rewritten(part, *OTHERS[what])
    there, warnings = look(part)
    assert not there.any()
    assert len(warnings) == 1


def test_a_part_that_is_no_file_is_named(part: Path) -> None:
    part.unlink()
    part.mkdir()
    there, warnings = look(part)
    assert not there.any()
    assert len(warnings) == 1


def test_rows_that_vanish_before_they_are_taken_are_an_error(own: Path, tmp_path: Path) -> None:
    result = extract(own, conditions=(NATIVE,), store=Store(tmp_path))
    (folder,) = tmp_path.glob("moments-*")
    shutil.rmtree(folder)
    with pytest.raises(DataError, match="finished rows are gone or damaged since they were written; start again") as e:
        result.table("native", ["moments"])
    assert str(e.value).startswith(f"{folder}: ")


# --- several writers ----------------------------------------------------------------------------------------------


def test_writers_of_the_same_part_do_not_meet(tmp_path: Path) -> None:
    """Threads of one process (or containers, whose process ids are the same) write one part while others read it."""
    errors: list[BaseException] = []
    ids = np.tile(IDS, (200, 1))
    values = np.tile(VALUES, (200, 1))

    def write() -> None:
        try:
            for _ in range(15):
                Store(tmp_path).write("key", {}, ids, values)
                store = Store(tmp_path)
                assert store.rows("key", 5, keep=1).take(IDS).tobytes() == VALUES.tobytes()
                assert store.warnings == []
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(list(tmp_path.rglob("*.*"))) == 1


TWO = """
import sys, time
from pathlib import Path
from fdetect.engine import Store, chunks, jobs, run
from fdetect.perturb import condition
from tiny_tasks import Slow

chunks.CHUNK, jobs.FLUSH_SECONDS = 2, 0.05
root, store, here, other = sys.argv[1:5]
Path(here).touch()
while not Path(other).exists():
    time.sleep(0.005)
result = run([Slow(delay=0.01)], sys.argv[5:], root=root, conditions=[condition("matched")], crop=64,
             store=Store(store))
assert result.warnings == ()
result.table("matched", ["moments"]).to_parquet(here + ".parquet")
"""


def test_two_runs_share_a_store(tmp_path: Path) -> None:
    paths = write_images(tmp_path / "images", 40)
    (tmp_path / "two.py").write_text(TWO)
    a, b = tmp_path / "a", tmp_path / "b"
    command = [sys.executable, tmp_path / "two.py", tmp_path / "images", tmp_path / "store"]
    runs = [subprocess.Popen([*command, *flags, *paths], env=environment()) for flags in ((a, b), (b, a))]
    assert [run.wait(60) for run in runs] == [0, 0]
    alone = extract(tmp_path / "images", paths=paths, conditions=(MATCHED,))
    alone.table("matched", ["moments"]).to_parquet(tmp_path / "alone.parquet")
    tables = [(tmp_path / name).read_bytes() for name in ("a.parquet", "b.parquet", "alone.parquet")]
    assert tables[0] == tables[1] == tables[2]
    again = extract(tmp_path / "images", paths=paths, conditions=(MATCHED,), store=Store(tmp_path / "store"))
    assert (again.n_computed, again.n_stored, again.warnings) == (0, 40, ())


def test_what_killed_writers_left_is_removed_when_it_is_old(part: Path) -> None:
    temporary: list[Path] = []
    for _ in range(2):
        write_atomic(part, lambda path: (temporary.append(path), path.write_bytes(part.read_bytes())))
    old, young = temporary
    for path in temporary:
        path.write_bytes(b"PAR1 half of a part")
    os.utime(old, (time.time() - 25 * 3600,) * 2)
    there, warnings = look(part)
    assert there.all()
    assert warnings == ()
    assert not old.exists()
    assert young.exists()  # its writer may be alive


@pytest.mark.parametrize("gathered", [0, 1 << 20])
def test_a_table_in_another_order_than_its_parts_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gathered: int
) -> None:
    paths = write_images(tmp_path / "images", 60)
    monkeypatch.setattr(jobs, "FLUSH_BYTES", 1)  # a part for every chunk
    monkeypatch.setattr(chunks, "CHUNK", 3)
    monkeypatch.setattr(extraction, "_GATHERED", gathered)
    options = {"conditions": (NATIVE,), "store": Store(tmp_path / "store")}
    ordered = extract(tmp_path / "images", paths=paths, **options)
    shuffled = [paths[k] for k in np.random.default_rng(0).permutation(60)]
    result = extract(tmp_path / "images", paths=shuffled, **options)
    assert result.n_computed == 0
    assert len(list((tmp_path / "store").glob("moments-*/part-*"))) == 20
    rows = dict(zip(ordered.paths, ordered.tables["native", "moments"].values, strict=True))
    blocks = list(result.blocks("native", ["moments"], rows=13))
    assert [len(block) for block in blocks] == [13, 13, 13, 13, 8]
    assert [path for block in blocks for path in block.paths] == shuffled
    for block in blocks:
        for path, row in zip(block.paths, block.values, strict=True):
            assert row.tobytes() == rows[path].tobytes()
