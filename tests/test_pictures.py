"""Pictures as conditions show them, in arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_tasks import write_images

from fdetect.augment import draws
from fdetect.engine.pictures import pictures
from fdetect.engine.work import content_id
from fdetect.geometry import Geometry
from fdetect.images import decode
from fdetect.perturb import condition
from fdetect.recipes import LIGHT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_images(tmp_path, 5)
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.glob("class*/*"))


@pytest.mark.parametrize("workers", [0, 2])
def test_pixels_are_those_that_the_condition_makes(folder: Path, workers: int) -> None:
    conditions = [condition("native"), condition("matched"), *draws(LIGHT, 2)]
    found = pictures(names(folder), conditions=conditions, crop=64, root=folder, seed=3, workers=workers)
    assert set(found.pixels) == {one.name for one in conditions}
    for row, name in enumerate(names(folder)):
        data = (folder / name).read_bytes()
        assert found.ids[row] == content_id(data)
        for one in conditions:
            shown = one(decode(data), content_id(data), seed=3, crop=64).pixels
            expected = Geometry("aligned_crop", 64)(shown)
            assert found.ok[one.name][row]
            np.testing.assert_array_equal(found.pixels[one.name][row], expected)
    assert found.failures == ()


def test_copies_are_shown_twice_and_failures_are_black_and_stated(folder: Path) -> None:
    good = names(folder)[0]
    (folder / "copy.png").write_bytes((folder / good).read_bytes())
    (folder / "broken.png").write_bytes(b"no picture")
    paths = [good, "copy.png", "broken.png", "absent.png"]
    found = pictures(paths, conditions=[condition("matched")], crop=64, root=folder)
    assert found.ok["matched"].tolist() == [True, True, False, False]
    np.testing.assert_array_equal(found.pixels["matched"][0], found.pixels["matched"][1])
    assert not found.pixels["matched"][2:].any()
    assert [(one.path, one.stage) for one in found.failures] == [("absent.png", "read"), ("broken.png", "decode")]
    assert {row: why.partition(":")[0] for row, why in found.reasons["matched"].items()} == {2: "decode", 3: "read"}


def test_pictures_that_are_too_small_fail_under_that_condition_alone(folder: Path) -> None:
    found = pictures(names(folder)[:2], conditions=[condition("native"), condition("matched")], crop=512, root=folder)
    assert not found.ok["matched"].any()
    assert found.pixels["matched"].shape == (2, 0, 0, 3)
    assert {one.stage for one in found.failures} == {"geometry"}
    for name in ("native", "matched"):  # each with its own reason
        assert [f"condition {name}:" in found.reasons[name][row] for row in (0, 1)] == [True, True]


def test_arrays_can_be_kept_in_files(folder: Path, tmp_path: Path) -> None:
    how = {"conditions": [condition("matched")], "crop": 64, "root": folder}
    in_memory = pictures(names(folder), **how)
    mapped = pictures(names(folder), folder=tmp_path / "kept", **how)
    np.testing.assert_array_equal(np.load(tmp_path / "kept" / "0.npy"), in_memory.pixels["matched"])
    assert isinstance(mapped.pixels["matched"], np.memmap)
