"""What looks like a published set and is none, or is one spelt badly: nothing is taken for a fake by a likeness."""

from __future__ import annotations

import json
import os
import re

import pyarrow as pa
import pytest
from test_layouts import about, plant, write
from test_layouts_lists import frames, shard
from test_layouts_trees import facts, named, small

from fdetect.bench.data.inputs import any_images, check_output, labels_or_real
from fdetect.bench.layouts import read_manifest
from fdetect.errors import DataError, ParameterError

# --- trees -------------------------------------------------------------------------------------------------------


def test_pairs_with_masks_of_ones_own_are_not_cocoglide(tmp_path):
    folders = plant(tmp_path / "a", "real/a.png", "fake/sd15/a.png", "fake/sdxl/a.png", "mask/a.png")
    assert set(named(folders, layout="real_fake")["generator"].to_pylist()) == {"", "sd15", "sdxl"}
    names = ("real/cat_12.png", "real/dog_12.png", "fake/cat_12.png", "fake/dog_12.png", "mask/cat_12_mask.png")
    mine = plant(tmp_path / "b", *names)
    assert set(named(mine, layout="real_fake")["generator"].to_pylist()) == {"", "unknown"}
    forced = read_manifest(mine, layout="cocoglide")  # a number alone is no pair
    assert forced["group"].to_pylist() == ["cat_12", "dog_12", "cat_12", "dog_12"]
    assert forced["mask"].to_pylist() == ["mask/cat_12_mask.png", "", "", ""]


def test_level_of_splits(tmp_path):
    plant(
        tmp_path / "c", "test/real/dining table_7.png", "test/fake/glide_inpainting_val2017_7_up.png",
        "test/mask/dining table_7_mask.png",
    )  # fmt: skip
    table = named(tmp_path / "c", layout="cocoglide")
    assert {row[4:] for row in facts(table).values()} == {("7", "test")}
    assert table["mask"].to_pylist() == ["test/mask/dining table_7_mask.png", ""]
    plant(tmp_path / "s" / "test", "dalle2/r00000001t.png", "glide/r00000001t.png")
    for top in (tmp_path / "s", tmp_path / "s" / "test"):
        assert {row[1:2] + row[5:] for row in facts(named(top, layout="synthbuster")).values()} == {
            ("dalle2", "test"), ("glide", "test")
        }  # fmt: skip
    plant(tmp_path / "d", "test/sd-turbo/val2017/1.jpg", "test/coco/val2017/1.jpg")
    assert sorted(named(tmp_path / "d", layout="drct")["label"].to_pylist()) == [0, 1]


def test_drct_knows_coco_by_its_names_alone_and_a_generator_read_alone(tmp_path):
    plant(
        tmp_path, "stable-diffusion-v1-4/val2017/000000000139.jpg", "sd3-coco-captions/val2017/000000000139.jpg",
        "MS-COCO/val2017/000000000139.jpg",
    )  # fmt: skip
    assert {path.split("/")[0]: row[0] for path, row in facts(named(tmp_path, layout="drct")).items()} == {
        "MS-COCO": 0, "stable-diffusion-v1-4": 1
    }  # fmt: skip
    alone = named(tmp_path / "stable-diffusion-v1-4", layout="drct")
    assert facts(alone)["val2017/000000000139.jpg"][:2] == (1, "stable-diffusion-v1-4")


def test_diffusionforensics_takes_its_generators_alone(tmp_path):
    names = ("real/a.png", "sdv1_new2/b.png", "diff-stylegan/e.png", "masks/c.png", "backup/d.png")
    plant(tmp_path, *(f"test/lsun/{name}" for name in names))
    table = named(tmp_path, layout="diffusionforensics")
    assert set(table["generator"].to_pylist()) == {"", "sdv1_new2", "diff-stylegan"}
    assert "2 images outside the label folders" in about(table, "detected")


def test_maps_of_dire_are_no_photographs(tmp_path):
    maps = plant(tmp_path / "dire/test/lsun", "real/a.png", "stylegan/b.png")
    with pytest.raises(DataError, match="no layout fits"):
        read_manifest(maps)
    project = plant(tmp_path / "dire/mine", "real/a.png", "fake/b.png")  # somebody's project of that name
    assert read_manifest(project).num_rows == 2


def test_a_wrapper_around_a_set_is_no_generator(tmp_path):
    plant(tmp_path, "mydata/real/a.png", "mydata/fake/stylegan2/b.png", "mydata/fake/sd/c.png")
    with pytest.raises(DataError, match="no layout fits"):
        read_manifest(tmp_path)
    assert set(read_manifest(tmp_path / "mydata")["generator"].to_pylist()) == {"", "stylegan2", "sd"}


def test_label_folders_that_would_be_dropped(tmp_path):
    small(tmp_path / "a", "train/REAL/a.png", "train/FAKE/x/b.png", "train/FAKE/y.png")
    assert named(tmp_path / "a", layout="real_fake").num_rows == 3  # and not CIFAKE without x
    plant(tmp_path / "chameleon", "0_real/a.png", "1_fake/b.png", "sdxl/1_fake/d.png")
    assert named(tmp_path / "chameleon", layout="forensynths").num_rows == 3


# --- lists -------------------------------------------------------------------------------------------------------


def test_grip_leaves_manifests_and_openfake_alone(tmp_path):
    text = "path,label,filename\na.png,0,photos/a.png\nb.png,1,b.png\n"
    table = named(write(tmp_path / "my.csv", text), layout="manifest")
    assert table["filename"].to_pylist() == ["photos/a.png", "b.png"]
    text = "filename,label,model,prompt\na.png,real,,x\nb.png,fake,sd,x\n"
    named(write(tmp_path / "of" / "train.csv", text), layout="openfake")
    blank = write(tmp_path / "blank.csv", "filename,typ\nx/a.png, real\nx/b.png,sdxl \n")
    assert facts(named(blank, layout="grip")) == {
        "x/a.png": (0, "", "x", "", "", ""), "x/b.png": (1, "sdxl", "", "", "", "")
    }  # fmt: skip


def test_spai_by_the_names_of_labels(tmp_path):
    file = write(tmp_path / "raise.csv", "image,class,split\na.png,real,test\n")
    assert facts(named(file, layout="spai"))["a.png"] == (0, "", "raise", "", "", "test")


def test_errors_name_the_list_and_its_own_row(tmp_path):
    write(tmp_path / "one.csv", "filename,typ\na.png,real\n")
    two = write(tmp_path / "two.csv", "filename,typ\n./a.png,real\nb.png,sd\n")
    assert about(named(tmp_path, layout="grip"), "detected").endswith("1 listed again")
    for text, row, why in (
        ("filename,label\nb.png,bogus\n", 1, r"label 'bogus' .*edit the list, or use read_manifest\(..., label_names="),
        ("filename,label\nb.png,1\n../c.png,1\n", 2, r"path '../c.png' is not below"),
        ("filename,label\nb.png,1\na.png,fake\n", 2, r"'a.png' is listed as 0 and as 1"),
    ):
        write(two, text)
        with pytest.raises(DataError, match=f"{re.escape(str(two))}: data row {row}: {why}"):
            read_manifest(tmp_path)


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("layout", "text"),
    [
        ("forensichub", '[{"path": "a.png", "label": null}]'),
        ("forensichub", '[{"path": null, "label": 1}]'),
        ("forensichub", '[{"path": "a\\ud800.png", "label": 1}]'),
        ("forensichub", f'[{{"path": "a.png", "label": 1, "x": {DEEP}'),
        ("deepfakebench", '{"S": {"S_real": {"train": []}}}'),
        ("deepfakebench", '{"S": {"S_real": {"train": {"v": {"frames": [null]}}}}}'),
        ("deepfakebench", '{"S": {"S_real": {"train": {"v": {"frames": ["a.png"]}}}}, "T": 1}'),
    ],
)
def test_odd_json_is_one_sentence(tmp_path, layout, text):
    file = write(tmp_path / "l.json", text)
    with pytest.raises(DataError) as refused:
        read_manifest(file, layout=layout)
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_celeb_df_joins_a_fake_with_its_video(tmp_path):
    real = {"test": {"id0_0000": frames("r0.png"), "id1_0000": frames("r1.png")}}
    fake = {"train": {"id0_id1_0000": frames("f.png")}}
    content = {"Celeb-DF-v2": {"CelebDFv2_real": real, "CelebDFv2_fake": fake}}
    by = {path: row[4] for path, row in facts(read_manifest(write(tmp_path / "c.json", json.dumps(content)))).items()}
    assert by["f.png"] == by["r0.png"] != by["r1.png"]


# --- shards ------------------------------------------------------------------------------------------------------


def test_labels_in_shards(tmp_path):
    classes = shard(tmp_path / "c" / "train" / "x.tar", [
        ("0.png", None), ("0.json", '{"label": 1}'), ("1.png", None), ("1.json", '{"label": 7}'),
    ])  # fmt: skip
    assert about(any_images(classes), "layout") == "unlabelled"  # ImageNet's, of which the first is 1
    with pytest.raises(DataError, match="1.png has the label '7', none of 0, 1"):
        read_manifest(classes, layout="webdataset")
    late = shard(tmp_path / "train" / "late.tar", [
        ("0.png", None), ("0.json", '{"label": " 0 "}'), ("1.png", None), ("1.json", '{"label": null, "model": "sd"}'),
    ])  # fmt: skip
    assert {path: row[:2] + row[5:] for path, row in facts(named(late, layout="webdataset")).items()} == {
        "late.tar::0.png": (0, "", "train"), "late.tar::1.png": (1, "sd", "train")
    }  # fmt: skip
    deep = shard(tmp_path / "deep.tar", [("0.png", None), ("0.json", DEEP)])
    with pytest.raises(DataError, match="0.json is no JSON"):
        read_manifest(deep, layout="webdataset")


# --- images without labels ---------------------------------------------------------------------------------------


def test_no_image_is_dropped_where_labels_are_not_needed(tmp_path):
    plant(tmp_path / "a", "dalle2/1.png", "glide/1.png", "mine/x.png", "y.png")
    table = any_images(tmp_path / "a")
    assert table["path"].to_pylist() == ["dalle2/1.png", "glide/1.png", "mine/x.png", "y.png"]
    assert table["label"].null_count == 4
    assert "2 of them would be left out: --layout synthbuster reads the others" in about(table, "detected")
    with pytest.raises(DataError, match="which images are photographs"):  # fakes are not taken for them
        labels_or_real(table, None)
    assert labels_or_real(any_images(f"{tmp_path / 'a'}/**"), None).tolist() == [0] * 4  # unless that is said
    assert any_images(tmp_path / "a", layout="synthbuster")["label"].to_pylist() == [1, 1]
    plant(tmp_path / "b", "real/1.png", "fake/1.png")
    assert any_images(tmp_path / "b")["label"].null_count == 0
    plant(tmp_path / "c", "a.png", "b.png", "c.png")
    write(tmp_path / "c" / "classes.csv", "filename,label\na.png,0\nb.png,cat\n")
    assert any_images(tmp_path / "c")["label"].null_count == 3
    assert labels_or_real(any_images(tmp_path / "c"), None).tolist() == [0, 0, 0]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
def test_a_pipe_among_images_is_not_waited_for(tmp_path):
    plant(tmp_path, "x.png")
    os.mkfifo(tmp_path / "notes.csv")
    assert any_images(tmp_path)["path"].to_pylist() == ["x.png"]


def test_an_output_does_not_take_the_place_of_a_list(tmp_path):
    plant(tmp_path, "a.png")
    lists = {"list.csv": "filename,label\na.png,1\n", "manifest.csv": "path,label\na.png,1\n"}
    for name, text in lists.items():
        folder = tmp_path / name.partition(".")[0]
        file = write(folder / name, text)
        for data in (folder, file):
            with pytest.raises(ParameterError, match="is one of the inputs"):
                check_output(file, data, read_manifest(data))
        check_output(write(folder / "other.txt", ""), folder, read_manifest(folder))
    assert isinstance(read_manifest(tmp_path / "list"), pa.Table)
