"""The layouts of published sets that are lists or shards: a miniature of each, with its trap."""

from __future__ import annotations

import io
import json
import tarfile

import pytest
from test_layouts import about, plant, write
from test_layouts_trees import facts, named

from fdetect.bench.data.inputs import any_images
from fdetect.bench.layouts import read_manifest
from fdetect.errors import DataError
from fdetect.types import records


def groups(table):
    return {record.path: record.group for record in records(table)}


# --- CSV ---------------------------------------------------------------------------------------------------------


def test_spai_lists_are_one_set_together(tmp_path):
    lists = tmp_path / "lists"
    write(lists / "sd3.csv", "image,class,split\nsynth/sd3/1.webp,1,test\n")
    write(lists / "imagenet.csv", "image,class,split\nreal/imagenet/1.JPEG,0,test\nreal/imagenet/2.JPEG,0,val\n")
    plant(tmp_path / "root", "synth/sd3/1.webp")
    table = read_manifest(lists, root=tmp_path / "root")
    assert about(table, "layout") == "spai"
    assert facts(table) == {
        "real/imagenet/1.JPEG": (0, "", "imagenet", "", "", "test"),
        "real/imagenet/2.JPEG": (0, "", "imagenet", "", "", "val"),
        "synth/sd3/1.webp": (1, "sd3", "", "", "", "test"),
    }
    assert about(table, "root") == str(tmp_path / "root")
    assert about(table, "detected").startswith("SPAI: 2 lists; 3 images: 2 real of 1 source (imagenet), 1 fake of")
    assert "no real images" in about(named(lists / "sd3.csv", layout="spai"), "detected")  # one list is one class


def test_grip_lists_with_kinds_or_labels(tmp_path):
    kinds = write(
        tmp_path / "commercial_tools.csv",
        "filename,typ\nsynthbuster/real_RAISE_1k/r05839451t.png,real\nsynthbuster/dalle3/r05839451t.png,dalle3\n",
    )
    assert facts(named(kinds, layout="grip")) == {
        "synthbuster/real_RAISE_1k/r05839451t.png": (0, "", "real_RAISE_1k", "", "r05839451t", ""),
        "synthbuster/dalle3/r05839451t.png": (1, "dalle3", "", "", "r05839451t", ""),
    }
    viral = write(
        tmp_path / "viral.csv",
        "filename,label,source_id,date,url\na/1.jpg,fake,pope,2023-03-25,x\na/2.jpg,fake,pope,2023-03-26,y\n"
        "b/3.jpg,real,moon,2023-01-01,z\n",
    )
    table = named(viral, layout="grip")
    assert groups(table) == {"a/1.jpg": "pope", "a/2.jpg": "pope", "b/3.jpg": "moon"}  # copies of one image
    assert set(table["generator"].to_pylist()) == {"unknown", ""}
    assert table["url"].to_pylist() == ["x", "y", "z"]
    bare = write(tmp_path / "bare.csv", "filename\na/1.jpg\n")
    with pytest.raises(DataError, match="no column 'path' among 'filename'"):
        read_manifest(bare)


def test_openfake_groups_by_prompt(tmp_path):
    write(
        tmp_path / "train.csv",
        "file_name,label,model,prompt\nf/1.png,fake,flux.1-dev,A  Rally\nf/2.png,fake,sdxl,a rally\n"
        "r/3.jpg,real,,Sea\n",
    )
    write(tmp_path / "test.csv", "file_name,label,model,prompt\nf/4.png,fake,imagen-4,\n")
    table = named(tmp_path, layout="openfake")
    assert {path: row[:3] + row[5:] for path, row in facts(table).items()} == {
        "f/1.png": (1, "flux.1-dev", "", "train"), "f/2.png": (1, "sdxl", "", "train"),
        "f/4.png": (1, "imagen-4", "", "test"), "r/3.jpg": (0, "", "", "train"),
    }  # fmt: skip
    by = groups(table)
    assert by["f/1.png"] == by["f/2.png"] != by["r/3.jpg"]  # one prompt, two models
    assert by["f/4.png"] == ""
    assert "prompt" in table.column_names


def test_a_manifest_stays_one_whatever_else_it_holds(tmp_path):
    text = "path,label,generator,model,prompt\na.png,1,sdxl,Nikon Z6,x\nb.png,0,,Nikon Z6,x\n"
    assert facts(named(write(tmp_path / "m.csv", text), layout="manifest"))["a.png"][1] == "sdxl"
    write(tmp_path / "a" / "spai.csv", "image,class,split\na.png,1,test\n")
    write(tmp_path / "a" / "notes.csv", "a,b\n1,2\n")  # not all files are lists of one kind
    with pytest.raises(DataError, match="no layout fits"):
        read_manifest(tmp_path / "a")


def test_an_image_in_two_lists_is_one_row_of_the_test(tmp_path):
    write(tmp_path / "a.csv", "image,class,split\nx.png,0,train\ny.png,0,train\n")
    write(tmp_path / "b.csv", "image,class,split\nx.png,0,test\n")
    table = read_manifest(tmp_path)
    assert {path: row[5] for path, row in facts(table).items()} == {"x.png": "test", "y.png": "train"}
    assert about(table, "detected").endswith("; 1 listed again")
    write(tmp_path / "c.csv", "image,class,split\nx.png,1,test\n")
    with pytest.raises(DataError, match="'x.png' is listed as 0 and as 1"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("layout", "text", "message"),
    [
        ("spai", "image,label\na.png,1\n", "a list of SPAI has a column 'class'"),
        ("spai", "image,class,split\na.png,2,test\n", "data row 1: label '2' is none of"),
        ("grip", "filename,typ\na.png,\n", "data row 1: label ''"),
        ("openfake", "label,model,prompt\nreal,x,y\n", "data row 1: the path is empty"),
    ],
)
def test_bad_lists(tmp_path, layout, text, message):
    file = write(tmp_path / "bad.csv", text)
    with pytest.raises(DataError, match=message) as refused:
        read_manifest(file, layout=layout)
    assert str(file) in str(refused.value)


# --- JSON --------------------------------------------------------------------------------------------------------


def test_forensichub(tmp_path):
    file = write(tmp_path / "list.json", json.dumps([
        {"path": "a/1.png", "label": 1, "mask": None}, {"path": str(tmp_path / "a/2.png"), "label": 0, "year": 2024},
    ]))  # fmt: skip
    table = named(file, layout="forensichub")
    assert facts(table) == {
        "a/1.png": (1, "unknown", "", "", "", ""),
        "a/2.png": (0, "", "", "", "", ""),
    }
    assert table["year"].to_pylist() == ["", "2024"]
    with pytest.raises(DataError, match="is not below"):  # absolute paths of another machine
        read_manifest(file, root=tmp_path / "elsewhere")


def frames(*names):
    return {"label": "whatever", "frames": list(names)}


def test_deepfakebench_groups_frames_by_video(tmp_path):
    real = {"train": {"c23": {"033": frames("ff\\real\\033\\1.png", "ff\\real\\033\\2.png"),
                              "097": frames("ff\\real\\097\\1.png"), "500": frames("ff\\real\\500\\1.png")}},
            "test": {"c23": {}}}  # fmt: skip
    fake = {"train": {"c23": {"033_097": frames("ff\\df\\033_097\\1.png")}}}
    swap = {"train": {"c23": {"097_033": frames("ff\\fs\\097_033\\1.png")}}}
    write(tmp_path / "FF-DF.json", json.dumps({"FF-DF": {"FF-real": real, "FF-DF": fake}}))
    write(tmp_path / "FF-FS.json", json.dumps({"FF-FS": {"FF-real": real, "FF-FS": swap}}))
    table = named(tmp_path, layout="deepfakebench")
    one = "FaceForensics++/033"  # both originals, and the fakes made of them
    assert facts(table) == {
        "ff/real/033/1.png": (0, "", "FaceForensics++", "", one, "train"),
        "ff/real/033/2.png": (0, "", "FaceForensics++", "", one, "train"),
        "ff/real/097/1.png": (0, "", "FaceForensics++", "", one, "train"),
        "ff/real/500/1.png": (0, "", "FaceForensics++", "", "FaceForensics++/500", "train"),
        "ff/df/033_097/1.png": (1, "FF-DF", "", "", one, "train"),
        "ff/fs/097_033/1.png": (1, "FF-FS", "", "", one, "train"),
    }
    assert "4 listed again" in about(table, "detected")  # the reals that the two lists share
    assert set(table["compression"].to_pylist()) == {"c23"}


def test_deepfakebench_without_compression_and_with_frames_in_two_splits(tmp_path):
    fake = {"id1_0001": frames("c/f/1.png")}
    real = {"id1_0000": frames("c/r/1.png", "c/r/2.png")}
    content = {"Celeb-DF-v1": {"CelebDFv1_fake": {"train": fake, "test": fake}, "CelebDFv1_real": {"train": real}}}
    file = write(tmp_path / "Celeb.json", json.dumps(content))
    assert facts(named(file, layout="deepfakebench")) == {
        "c/f/1.png": (1, "CelebDFv1_fake", "", "", "Celeb-DF-v1/id1_0001", "test"),
        "c/r/1.png": (0, "", "Celeb-DF-v1", "", "Celeb-DF-v1/id1_0000", "train"),
        "c/r/2.png": (0, "", "Celeb-DF-v1", "", "Celeb-DF-v1/id1_0000", "train"),
    }
    odd = write(tmp_path / "odd.json", json.dumps({"X": {"X_swap": {"train": fake}, "X_real": {"train": real}}}))
    with pytest.raises(DataError, match="whether label 'X_swap' is real or fake is not known; rename it in the list"):
        read_manifest(odd)
    assert read_manifest(odd, label_names={"X_swap": 1})["label"].to_pylist() == [1, 0, 0]


def test_other_json_is_not_parsed_to_be_recognised(tmp_path):
    """Annotations of half a gigabyte may lie beside images: the first bytes tell that they are no list."""
    write(tmp_path / "captions.json", '{"info": {"year": 2017}, "images": [' + '{"id": 1}, ' * 50_000)  # not even JSON
    plant(tmp_path, "real/1.png", "fake/x/2.png")
    assert about(read_manifest(tmp_path), "layout") == "real_fake"


def test_json_that_is_no_list(tmp_path):
    for text in ("{", "[]", "[1]", '{"a": 1}', '{"a": {"b": {"c": 1}}}'):
        file = write(tmp_path / "some.json", text)
        with pytest.raises(DataError, match="no layout fits"):
            read_manifest(file)
        with pytest.raises(DataError, match=r"some.json: (cannot be read as JSON|not a list of DeepfakeBench)"):
            read_manifest(file, layout="deepfakebench")


# --- shards ------------------------------------------------------------------------------------------------------


def shard(file, members):
    """Write a tar of (name, text or None for a picture)."""
    from PIL import Image

    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as tar:
        for k, (name, text) in enumerate(members):
            buffer = io.BytesIO()
            if text is None:
                Image.new("RGB", (16, 16), (k, 0, 0)).save(buffer, "PNG")
            data = buffer.getvalue() if text is None else text.encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file


def test_dragon_has_fakes_alone_and_shares_prompts(tmp_path):
    shard(tmp_path / "train" / "dragon_train_000.tar", [
        ("000.png", None), ("000.model.txt", "SDXL Turbo"), ("000.prompt.cls", "7"),
        ("000.json", '{"prompt": "a Cat"}'),
        ("001.png", None), ("001.model.txt", "Flash\n"), ("001.json", '{"prompt": "A cat", "seed": 3}'),
    ])  # fmt: skip
    shard(tmp_path / "test" / "dragon_test_00.tar", [("000.png", None), ("000.json", '{"model": "Kolors"}')])
    table = named(tmp_path, layout="webdataset")
    found = facts(table)
    assert {path: row[:2] + row[5:] for path, row in found.items()} == {
        "test/dragon_test_00.tar::000.png": (1, "Kolors", "test"),
        "train/dragon_train_000.tar::000.png": (1, "SDXL Turbo", "train"),
        "train/dragon_train_000.tar::001.png": (1, "Flash", "train"),
    }
    assert "no real images" in about(table, "detected")
    one, other = [found[f"train/dragon_train_000.tar::00{k}.png"][4] for k in (0, 1)]
    assert one.startswith("prompt-")
    assert one == other
    single = named(tmp_path / "train" / "dragon_train_000.tar", layout="webdataset")
    assert facts(single).keys() == {"dragon_train_000.tar::000.png", "dragon_train_000.tar::001.png"}
    assert set(single["split"].to_pylist()) == {"train"}


def test_shards_with_labels_of_both_classes(tmp_path):
    file = shard(tmp_path / "a.tar", [
        ("x/1.jpg.png", None), ("x/1.label.txt", "real"), ("x/1.txt", "a caption"),
        ("x/2.png", None), ("x/2.json", '{"label": "fake", "prompt": "p"}'),
    ])  # fmt: skip
    table = named(file, layout="webdataset")
    assert {path: row[:2] for path, row in facts(table).items()} == {
        "a.tar::x/1.jpg.png": (0, ""), "a.tar::x/2.png": (1, "unknown")
    }  # fmt: skip
    assert "1 other member passed over: 1 .txt" in about(table, "detected")
    bad = shard(tmp_path / "b.tar", [("1.png", None), ("1.label.txt", "1"), ("2.png", None)])
    with pytest.raises(DataError, match=r"b.tar: 2.png has neither a label nor a model"):
        read_manifest(bad)


def test_shards_that_say_nothing_stay_unlabelled(tmp_path):
    """The classes of ImageNet (cls) are no labels, and a caption is none either."""
    file = shard(tmp_path / "imagenet.tar", [("1.png", None), ("1.cls", "1"), ("1.txt", "a dog"), ("1.json", "{}")])
    with pytest.raises(DataError, match="a shard has no labels"):
        read_manifest(file)
    assert about(any_images(file), "layout") == "unlabelled"
    assert any_images(tmp_path)["label"].null_count == 1
