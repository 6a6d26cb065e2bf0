"""`fdetect perturb`: files bit-equal to what detectors see, folders and labels kept, failures named."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from test_cli import fdetect  # noqa: F401 (a fixture)
from test_perturb import photo

from fdetect.bench.data.inputs import any_images
from fdetect.bench.data.perturbing import perturb_to
from fdetect.bench.data.perturbing_places import places_of
from fdetect.engine.pictures import pictures
from fdetect.errors import DataError, ParameterError
from fdetect.images import decode
from fdetect.perturb import condition

CROP = 64
NAMES = ("native", "jpeg70", "chain3", "social_chat", "parity")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two real and two generated pictures, one of them twice, one that is too small and one that is none."""
    folder = tmp_path_factory.mktemp("data") / "set"
    (folder / "real" / "source").mkdir(parents=True)
    (folder / "fake" / "gan").mkdir(parents=True)
    for k, name in enumerate(("real/source/a.png", "real/source/b.jpg", "fake/gan/a.png", "fake/gan/c.PNG")):
        Image.fromarray(photo(90, 100, seed=k).pixels).save(folder / name)
    (folder / "real" / "source" / "twice.png").write_bytes((folder / "real" / "source" / "a.png").read_bytes())
    Image.fromarray(photo(50, 100, seed=9).pixels).save(folder / "fake" / "gan" / "small.png")
    (folder / "fake" / "gan" / "broken.jpg").write_bytes(b"no picture")
    return folder


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def written(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("written") / "out"
    done = perturb_to(out, data, conditions=NAMES, crop=CROP, seed=3)
    assert done.written == dict.fromkeys(NAMES, 5)
    assert len(done.failures) == 2 * len(NAMES)
    return out


@pytest.mark.parametrize("name", NAMES)
def test_files_decode_to_what_detectors_see(name: str, data: Path, written: Path) -> None:
    rows = rows_of(written / name / "manifest.csv")
    paths = [row["source"] for row in rows]
    seen = pictures(paths, conditions=[condition(name)], crop=CROP, root=data, seed=3)
    assert seen.ok[name].all()
    for row, pixels in zip(rows, seen.pixels[name], strict=True):
        file = (written / name / row["path"]).read_bytes()
        if name == "native":
            assert file == (data / row["source"]).read_bytes()
        else:
            assert np.array_equal(decode(file).pixels, pixels)
            assert decode(file).facts.format == "JPEG"


def test_folders_and_labels_are_kept_and_can_be_read_again(data: Path, written: Path) -> None:
    assert (written / "jpeg70" / "real" / "source" / "a.png.jpg").is_file()
    assert (written / "jpeg70" / "real" / "source" / "b.jpg").is_file()
    assert (written / "native" / "fake" / "gan" / "c.PNG").is_file()
    before = {row["path"]: row for row in any_images(data).to_pylist()}
    again = any_images(written / "jpeg70" / "manifest.csv").to_pylist()
    assert len(again) == 5
    for row in again:
        for column in ("label", "generator", "real_source", "group"):
            assert row[column] == before[row["source"]][column]
        assert row["condition"] == "jpeg70"
    lost = rows_of(written / "jpeg70" / "failures.csv")
    assert [(row["path"], row["stage"]) for row in lost] == [
        ("fake/gan/broken.jpg", "decode"), ("fake/gan/small.png", "geometry")]  # fmt: skip
    assert not list(written.rglob("*.tmp"))


def test_one_content_has_one_result(written: Path) -> None:
    for name in NAMES[1:]:
        folder = written / name / "real" / "source"
        assert (folder / "a.png.jpg").read_bytes() == (folder / "twice.png.jpg").read_bytes()
        assert (folder / "a.png.jpg").read_bytes() != (folder / "b.jpg").read_bytes()


def test_workers_and_a_single_condition_make_the_same_files(data: Path, written: Path, tmp_path: Path) -> None:
    perturb_to(tmp_path / "one", data, conditions=["chain3"], crop=CROP, seed=3, workers=1)
    for file in (written / "chain3").rglob("*.jpg"):
        assert file.read_bytes() == (tmp_path / "one" / file.relative_to(written / "chain3")).read_bytes()
    perturb_to(tmp_path / "seed", data, conditions=["chain3"], crop=CROP, seed=4)
    same = [file.read_bytes() == (tmp_path / "seed" / file.relative_to(tmp_path / "one")).read_bytes()
            for file in (tmp_path / "one").rglob("*.jpg")]  # fmt: skip
    assert len(same) == 5
    assert not any(same)


def test_members_of_shards_become_files(data: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "s.tar", "w") as shard:
        shard.add(data / "real" / "source" / "a.png", "in/a.png")
    done = perturb_to(tmp_path / "out", tmp_path / "s.tar", conditions=["matched"], crop=CROP)
    assert done.written == {"matched": 1}
    (row,) = rows_of(tmp_path / "out" / "images.csv")
    assert row["path"] == "s.tar/in/a.png.jpg"
    assert "label" not in row
    assert (tmp_path / "out" / row["path"]).is_file()
    again = any_images(tmp_path / "out")  # without labels: a plain folder, not a manifest without labels
    assert again.column("path").to_pylist() == [row["path"]]
    assert again.column("label").null_count == 1


@pytest.mark.parametrize("evil", ["../evil.png", "in/../../evil.png"])
def test_a_member_that_leads_outside_fails_alone(data: Path, tmp_path: Path, evil: str) -> None:
    with tarfile.open(tmp_path / "s.tar", "w") as shard:
        for name in (evil, "/good.png", "twice.png"):
            member = tarfile.TarInfo(name)
            member.size = (data / "real" / "source" / "a.png").stat().st_size
            shard.addfile(member, (data / "real" / "source" / "a.png").open("rb"))
    paths = [f"s.tar::{name}" for name in (evil, "/good.png", "twice.png")]
    given = pa.table({"path": paths, "label": [0, 0, 1]}).replace_schema_metadata({"fdetect.root": str(tmp_path)})
    done = perturb_to(tmp_path / "out" / "in", given, conditions=["native", "jpeg70"], crop=CROP)
    assert done.written == {"native": 2, "jpeg70": 2}
    assert [(name, lost.path, lost.stage) for name, lost in done.failures] == [
        (name, f"s.tar::{evil}", "place") for name in ("native", "jpeg70")]  # fmt: skip
    assert "rename it there" in rows_of(tmp_path / "out" / "in" / "native" / "failures.csv")[0]["reason"]
    rows = rows_of(tmp_path / "out" / "in" / "native" / "manifest.csv")
    assert [(row["path"], row["source"], row["label"]) for row in rows] == [
        ("s.tar/good.png", "s.tar::/good.png", "0"), ("s.tar/twice.png", "s.tar::twice.png", "1")]  # fmt: skip
    for row in rows:
        file = tmp_path / "out" / "in" / "native" / row["path"]
        assert file.read_bytes() == (data / "real" / "source" / "a.png").read_bytes()
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize(("paths", "words"), [
    (["manifest.csv"], "manifest.csv: its place would be manifest.csv, and manifest.csv is a file of perturb's own"),
    (["a.png", "Images.csv/a.png"], "Images.csv/a.png: its place would be Images.csv/a.png, and Images.csv is a file"),
    (["failures.csv"], "failures.csv: its place would be"),
    (["perturb.json"], "perturb.json: its place would be"),
    (["s.tar::in", "s.tar::in/a.png"], "s.tar::in would become the file s.tar/in, which is the folder of s.tar::in/a"),
    (["s.tar::a.png", "s.tar::./a.png"], "s.tar::./a.png and s.tar::a.png would both become s.tar/a.png; rename one"),
    (["x" * 256], f"{'x' * 256}: its place would have a name of 256 bytes, and files have 255 at most; rename it"),
    (["../a.png"], "../a.png: its place would lie outside the output; give --root a folder above all images"),
])  # fmt: skip
def test_a_picture_that_can_have_no_place_is_refused_by_name(tmp_path: Path, paths: list[str], words: str) -> None:
    given = pa.table({"path": paths, "label": [0] * len(paths)})
    for conditions in (["native"], ["native", "jpeg70"]):
        with pytest.raises(DataError) as caught:
            perturb_to(tmp_path / "out", given, conditions=conditions, crop=CROP)
        assert str(caught.value).startswith(words)
    assert not (tmp_path / "out").exists()


def test_the_ending_counts_into_the_length_of_a_name() -> None:
    assert places_of([f"d/{'ä' * 125}.png"], native=True) == [f"d/{'ä' * 125}.png"]
    with pytest.raises(DataError, match=r"a name of 258 bytes"):
        places_of([f"d/{'ä' * 125}.png"], native=False)
    assert places_of([f"{'x' * 251}.png"], native=True) == [f"{'x' * 251}.png"]
    assert places_of(["a.png", "a.PNG/b.jpg", "manifest.csv"], native=False) == [
        "a.png.jpg", "a.PNG/b.jpg", "manifest.csv.jpg"]  # fmt: skip


def test_columns_of_our_names_are_kept_and_a_label_stays_where_nothing_was_made(data: Path, tmp_path: Path) -> None:
    columns = "path,label,source,manifest_source,condition"
    (tmp_path / "m.csv").write_text(f"{columns}\nreal/source/a.png,0,mine,older,dark\n")
    perturb_to(tmp_path / "out", tmp_path / "m.csv", root=data, conditions=["jpeg70"], crop=CROP)
    (row,) = rows_of(tmp_path / "out" / "manifest.csv")
    assert (row["source"], row["manifest_source"], row["manifest_source_2"]) == ("real/source/a.png", "older", "mine")
    assert (row["condition"], row["manifest_condition"]) == ("jpeg70", "dark")
    (tmp_path / "m.csv").write_text("path,label\nfake/gan/broken.jpg,1\n")
    perturb_to(tmp_path / "none", tmp_path / "m.csv", root=data, conditions=["jpeg70"], crop=CROP)
    assert "label" in (tmp_path / "none" / "manifest.csv").read_text().splitlines()[0]


def test_what_cannot_be_written_is_said_before_anything_is(data: Path, written: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"exists and is not empty; give a new folder, nothing was written"):
        perturb_to(written, data, conditions=["matched"], crop=CROP)
    with pytest.raises(ParameterError, match=r"^no condition 'blurr1'"):
        perturb_to(tmp_path / "out", data, conditions=["blurr1"], crop=CROP)
    with pytest.raises(ParameterError, match=r"^conditions: jpeg70 is named twice"):
        perturb_to(tmp_path / "out", data, conditions=["jpeg70", "jpeg70"], crop=CROP)
    with pytest.raises(ParameterError, match=r"multiple of 8 and at least 64 px, got 60"):
        perturb_to(tmp_path / "out", data, conditions=["jpeg70"], crop=60)
    clash = tmp_path / "clash"
    clash.mkdir()
    for name in ("a.png", "a.png.jpg"):
        Image.fromarray(photo(90, 100).pixels).save(clash / name)
    with pytest.raises(DataError, match=r"^a.png.jpg and a.png would both become a.png.jpg; rename one of them"):
        perturb_to(tmp_path / "out", clash, conditions=["jpeg70"], crop=CROP)
    assert not (tmp_path / "out").exists()


def test_an_unfinished_folder_is_made_anew_by_the_same_call_alone(data: Path, written: Path, tmp_path: Path) -> None:
    out, how = tmp_path / "out", {"conditions": ["chain3"], "crop": CROP, "seed": 3}

    def progress(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        perturb_to(out, data, **how, progress=progress)
    assert json.loads((out / "perturb.json").read_text())["finished"] is False
    assert not (out / "manifest.csv").exists()
    with pytest.raises(DataError, match=r"was begun with other data or settings; give a new folder, nothing was"):
        perturb_to(out, data, **{**how, "seed": 4})
    perturb_to(out, data, **how)
    said = json.loads((out / "perturb.json").read_text())
    assert (said["finished"], said["crop"], said["conditions"]) == (True, CROP, ["chain3"])
    for file in (written / "chain3").rglob("*.jpg"):
        assert file.read_bytes() == (out / file.relative_to(written / "chain3")).read_bytes()
    with pytest.raises(DataError, match=r"exists and is not empty"):
        perturb_to(out, data, **how)


def test_the_command_says_what_it_wrote(data: Path, tmp_path: Path) -> None:
    run = [sys.executable, "-m", "fdetect", "perturb", str(data), str(tmp_path / "out"), "--crop=64", "--workers=0"]
    done = subprocess.run([*run, "--condition", "jpeg70", "--strict"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 3
    first, last = done.stdout.splitlines()
    assert first == f"jpeg70: 5 images, 2 failed: {tmp_path / 'out'}/"
    assert last == "too small for fdetect bench, which needs 72 px: jpeg70 (64 px); perturb with a larger --crop"
    assert "fdetect: jpeg70: fake/gan/small.png: geometry: 100x50 is too small" in done.stderr
    again = subprocess.run([*run, "--condition", "jpeg70"], capture_output=True, text=True, timeout=120)
    assert again.returncode == 2
    assert again.stderr.count("\n") == 1


def test_the_command_says_what_reads_several_conditions_or_no_labels(data, fdetect, tmp_path) -> None:  # noqa: F811
    out, alone, how = tmp_path / "out", tmp_path / "alone", ("--crop=64", "--workers=0")
    code, said, _ = fdetect("perturb", data, out, "--condition=native,jpeg70,rescaled", *how)
    assert code == 0
    *_, small, last = said.splitlines()
    assert small.endswith("needs 72 px: jpeg70, rescaled (40 px); perturb with a larger --crop")
    assert last == f"next: fdetect bench {out / 'CONDITION' / 'manifest.csv'} --conditions native --crop 64"
    _, said, _ = fdetect("perturb", data / "real" / "source" / "a.png", alone, "--condition=jpeg70", *how)
    assert said.splitlines()[-1].startswith(f"next: fdetect score {alone}, or ")
    broken = data / "fake" / "gan" / "broken.jpg"
    code, said, _ = fdetect("perturb", broken, tmp_path / "no", "--condition=jpeg70", *how)
    assert code == 2
    assert "next:" not in said


@pytest.mark.parametrize(("crop", "names", "fits"), [(80, "jpeg70", 72), (72, "matched,blur1", 64)])
def test_the_next_command_is_one_that_runs(data, fdetect, tmp_path, crop, names, fits) -> None:  # noqa: F811
    """The crop that it names is the largest that the files allow: with 8 px more every one of them is refused."""
    _, said, _ = fdetect("perturb", data, tmp_path / "out", f"--condition={names}", f"--crop={crop}", "--workers=0")
    *options, last = said.splitlines()[-1].removeprefix("next: fdetect ").split()
    assert int(last) == fits
    options[1] = options[1].replace("CONDITION", "blur1")
    rest = ("--features", "radial_spectrum", "--heads", "none", "--detectors", "none", "--dry-run",
            "--protocol", "train_on", "--train", "gan")  # fmt: skip
    code, said, err = fdetect(*options, last, *rest)
    assert code == 0, err
    assert "smaller than" not in said
    code, _, err = fdetect(*options, fits + 8, *rest)
    assert code == 2
    assert f"both sides need {fits + 16} px, and the largest has {crop}" in err


def test_facts_of_the_picture_before_are_called_so(data: Path, tmp_path: Path) -> None:
    columns = "path,label,format,width,height,source_width,license"
    (tmp_path / "m.csv").write_text(f"{columns}\nreal/source/a.png,0,PNG,100,90,7,CC0\n")
    perturb_to(tmp_path / "out", tmp_path / "m.csv", root=data, conditions=["jpeg70", "native"], crop=CROP)
    (row,) = rows_of(tmp_path / "out" / "jpeg70" / "manifest.csv")
    assert not {"format", "width", "height"} & set(row)
    assert (row["source_format"], row["source_width_2"], row["source_height"]) == ("PNG", "100", "90")
    assert (row["source_width"], row["license"]) == ("7", "CC0")
    (copied,) = rows_of(tmp_path / "out" / "native" / "manifest.csv")
    assert (copied["format"], copied["width"], copied["height"]) == ("PNG", "100", "90")
