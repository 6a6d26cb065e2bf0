"""Every layout on small trees of real images: what is read, what is passed over, what is refused."""

from __future__ import annotations

import io
import os
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fdetect.bench import layouts
from fdetect.bench.layouts import layout, read_manifest
from fdetect.engine.sources import Reader
from fdetect.errors import DataError, ParameterError, UnknownName
from fdetect.types import MANIFEST_COLUMNS, Record, records

SHARED = Path(__file__).parents[1].parent / "shared" / "data" / "manifest.csv"


def plant(root: Path, *names: str) -> Path:
    """Write a small image of the format that each name's extension says (PNG where it says none)."""
    for i, name in enumerate(names):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        kind = Image.registered_extensions().get(file.suffix.lower(), "PNG")
        buffer = io.BytesIO()
        Image.new("RGB", (16 + i % 5, 16), (i % 256, 90, 30)).save(buffer, kind)
        file.write_bytes(buffer.getvalue())
    return root


def rows(table: pa.Table) -> dict[str, Record]:
    return {record.path: record for record in records(table)}


def about(table: pa.Table, key: str) -> str:
    return table.schema.metadata[f"fdetect.{key}".encode()].decode()


def write(file: Path, text: str, encoding: str = "utf-8") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode(encoding))
    return file


# --- folders ---------------------------------------------------------------------------------------------------


def test_real_fake(tmp_path):
    plant(tmp_path, "Real/coco/a/1.jpg", "Real/2.png", "FAKE/sd14/3.webp", "FAKE/4.jpg", "FAKE/biggan/x/y/5.png")
    table = read_manifest(tmp_path)
    assert table.column_names == list(MANIFEST_COLUMNS)
    assert table.schema.field("label").type == pa.int64()
    assert rows(table) == {
        "FAKE/4.jpg": Record("FAKE/4.jpg", 1, generator="unknown"),
        "FAKE/biggan/x/y/5.png": Record("FAKE/biggan/x/y/5.png", 1, generator="biggan"),
        "FAKE/sd14/3.webp": Record("FAKE/sd14/3.webp", 1, generator="sd14"),
        "Real/2.png": Record("Real/2.png", 0),
        "Real/coco/a/1.jpg": Record("Real/coco/a/1.jpg", 0, real_source="coco"),
    }
    assert table["path"].to_pylist() == sorted(table["path"].to_pylist())
    assert about(table, "layout") == "real_fake"
    assert about(table, "root") == str(tmp_path)
    counts = "5 images: 2 real of 1 source (coco), 3 fake of 3 generators (biggan, sd14, unknown)"
    assert about(table, "detected") == f"real_fake: fake/real in 1 folder; {counts}"


def test_cifake_splits_and_no_flip(tmp_path):
    folders = [f"{split}/{kind}" for split in ("train", "test") for kind in ("REAL", "FAKE")]
    plant(tmp_path, *(f"{folder}/{i}.jpg" for folder in folders for i in range(2)))
    found = rows(read_manifest(tmp_path))
    assert len(found) == 8
    for path, record in found.items():
        assert record.label == int("FAKE" in path)  # sorted order would make FAKE 0
        assert record.split == path.split("/")[0]


def test_folder_that_is_itself_a_split(tmp_path):
    plant(tmp_path / "validation", "real/1.jpg", "fake/g/1.jpg")
    assert {record.split for record in records(read_manifest(tmp_path / "validation"))} == {"val"}


def test_forensynths(tmp_path):
    plant(
        tmp_path,
        "train/airplane/0_real/1.png", "train/airplane/1_fake/1.png", "train/train/1_fake/2.png",
        "val/car/1_fake/1.png",
        "test/biggan/0_real/1.png", "test/biggan/1_fake/1.png",
        "test/progan/airplane/1_fake/1.png", "test/progan/train/0_real/1.png",
        "test/cat/1_fake/1.png",
    )  # fmt: skip
    table = read_manifest(tmp_path)
    found = {r.path: (r.label, r.generator, r.real_source, r.category, r.split, r.group) for r in records(table)}
    assert found == {
        "train/airplane/0_real/1.png": (0, "", "progan", "airplane", "train", ""),
        "train/airplane/1_fake/1.png": (1, "progan", "", "airplane", "train", ""),
        "train/train/1_fake/2.png": (1, "progan", "", "train", "train", ""),
        "val/car/1_fake/1.png": (1, "progan", "", "car", "val", ""),
        "test/biggan/0_real/1.png": (0, "", "biggan", "", "test", ""),
        "test/biggan/1_fake/1.png": (1, "biggan", "", "", "test", ""),
        "test/progan/airplane/1_fake/1.png": (1, "progan", "", "airplane", "test", ""),
        "test/progan/train/0_real/1.png": (0, "", "progan", "train", "test", ""),
        "test/cat/1_fake/1.png": (1, "cat", "", "", "test", ""),  # only train and val lack the generator level
    }
    assert about(table, "detected").startswith("ForenSynths: 0_real/1_fake in 7 folders; 9 images")


def test_forensynths_read_from_inside(tmp_path):
    plant(tmp_path / "train", "airplane/1_fake/1.png", "train/0_real/1.png")
    inside = rows(read_manifest(tmp_path / "train"))
    assert inside["airplane/1_fake/1.png"].generator == "progan"
    assert inside["train/0_real/1.png"] == Record("train/0_real/1.png", 0, "", "", "progan", "train", "", "train")
    plant(tmp_path / "test" / "ProGAN", "car/1_fake/1.png", "train/1_fake/1.png", "val/1_fake/2.png")
    inside = rows(read_manifest(tmp_path / "test" / "ProGAN"))
    assert {(r.generator, r.category, r.split) for r in inside.values()} == {
        ("ProGAN", "car", ""), ("ProGAN", "train", ""), ("ProGAN", "val", "")
    }  # fmt: skip


def test_forensynths_relatives(tmp_path):
    wildrf = plant(tmp_path / "wildrf", "train/reddit/1_fake/1.jpg", "test/twitter/0_real/1.jpg")
    assert {(r.generator, r.real_source, r.split) for r in records(read_manifest(wildrf))} == {
        ("reddit", "", "train"), ("", "twitter", "test")
    }  # fmt: skip
    chameleon = plant(tmp_path / "Chameleon", "test/0_real/1.jpg", "test/1_fake/1.jpg")
    assert {(r.generator, r.real_source, r.split) for r in records(read_manifest(chameleon))} == {
        ("Chameleon", "", "test"), ("", "Chameleon", "test")
    }  # fmt: skip
    assert {r.generator for r in records(read_manifest(chameleon / "test"))} == {"", "Chameleon"}
    univfd = plant(tmp_path / "diffusion", "imagenet/0_real/1.png", "guided/1_fake/1.png")
    assert {(r.generator, r.real_source) for r in records(read_manifest(univfd))} == {("guided", ""), ("", "imagenet")}


def test_genimage(tmp_path):
    plant(
        tmp_path,
        "ADM/imagenet_ai_0508_adm/train/ai/1.PNG", "ADM/imagenet_ai_0508_adm/val/nature/n01.JPEG",
        "BigGAN/val/ai/1.png", "BigGAN/val/nature/1.jpeg", "wukong/ai/1.png",
    )  # fmt: skip
    table = read_manifest(tmp_path)
    assert {r.path: (r.label, r.generator, r.real_source, r.split) for r in records(table)} == {
        "ADM/imagenet_ai_0508_adm/train/ai/1.PNG": (1, "ADM", "", "train"),
        "ADM/imagenet_ai_0508_adm/val/nature/n01.JPEG": (0, "", "imagenet", "val"),
        "BigGAN/val/ai/1.png": (1, "BigGAN", "", "val"),
        "BigGAN/val/nature/1.jpeg": (0, "", "imagenet", "val"),
        "wukong/ai/1.png": (1, "wukong", "", ""),
    }
    assert about(table, "layout") == "genimage"
    inside = rows(read_manifest(tmp_path / "BigGAN" / "val"))
    assert inside["ai/1.png"] == Record("ai/1.png", 1, generator="BigGAN", split="val")


def test_genimage_labels_cannot_flip(tmp_path):
    """Whatever the spelling, the order and the number of folders, the name alone decides."""
    draw = random.Random(4)
    spell = lambda word: "".join(draw.choice((c.lower(), c.upper())) for c in word)
    names = []
    for i in range(40):
        kinds = draw.choice((("ai",), ("nature",), ("ai", "nature")))
        split = draw.choice(("train", "val"))
        names += [f"gen{i:02d}/{split}/{spell(kind)}/{i}.png" for kind in kinds]
    found = rows(read_manifest(plant(tmp_path, *names)))
    assert set(found) == set(names)
    assert {path: record.label for path, record in found.items()} == {
        name: {"ai": 1, "nature": 0}[name.split("/")[-2].lower()] for name in names
    }


def test_odd_names_and_what_is_passed_over(tmp_path):
    odd = ["a.b.png", "with space.jpg", "ünï-日本.png", "new\nline.png", "UPPER.JPG", "back\\slash.png", "a;b,'\".gif"]
    plant(tmp_path, *(f"fake/g 1/{name}" for name in odd), "real/1.tif", "elsewhere/x/5.png", "top.bmp")
    write(tmp_path / "real" / "notes.txt", "x")
    write(tmp_path / "real" / "Makefile", "x")
    plant(tmp_path, "real/.hidden.png", "real/.thumbs/1.png", "real/._2.jpg")
    table = read_manifest(tmp_path)
    assert set(table["path"].to_pylist()) == {*(f"fake/g 1/{name}" for name in odd), "real/1.tif"}
    assert all((tmp_path / path).is_file() for path in table["path"].to_pylist())
    assert about(table, "detected").endswith(
        "6 other files passed over: 1 .txt, 2 hidden, 2 images outside the label folders, 1 without extension; "
        "1 other folder not entered: 1 hidden"
    )
    assert "\n" not in about(table, "detected")


def test_one_class_is_stated_and_none_is_refused(tmp_path):
    plant(tmp_path, "fake/g/1.png")
    assert "no real images, 1 fake" in about(read_manifest(tmp_path), "detected")
    write(tmp_path / "empty" / "real" / "a.txt", "x")
    with pytest.raises(DataError, match=r"no images \(real_fake: real in 1 folder; 1 other file passed over: 1 .txt\)"):
        read_manifest(tmp_path / "empty")
    with pytest.raises(DataError, match=r"no images \(GenImage; 2 other files passed over: 1 .txt, 1 images outside"):
        read_manifest(tmp_path, layout="genimage")


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_links(tmp_path):
    plant(tmp_path, "data/real/1.png", "data/fake/g/1.png", "far/2.png")
    (tmp_path / "data/fake/g/loop").symlink_to(tmp_path / "data", target_is_directory=True)
    (tmp_path / "data/loop").symlink_to(tmp_path / "data", target_is_directory=True)
    (tmp_path / "data/real/2.png").symlink_to(tmp_path / "far/2.png")
    (tmp_path / "alias").symlink_to(tmp_path / "data", target_is_directory=True)
    table = read_manifest(tmp_path / "alias")
    assert table["path"].to_pylist() == ["fake/g/1.png", "real/1.png", "real/2.png"]
    assert "2 other folders not entered: 2 linked" in about(table, "detected")
    assert about(table, "root") == str(tmp_path / "alias")


@pytest.mark.skipif(os.name == "nt", reason="needs a path longer than the system lists")
def test_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    """A folder below the longest path of the system, which cannot be listed by anyone, root included."""
    plant(tmp_path, "real/1.png", "fake/g/1.png")
    monkeypatch.chdir(tmp_path / "fake")
    for _ in range(20):
        os.mkdir("d" * 250)
        os.chdir("d" * 250)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="dddd: the folder cannot be listed"):
        read_manifest(tmp_path)


@pytest.mark.skipif(os.name == "nt" or os.uname().sysname == "Darwin", reason="names are always Unicode there")
def test_name_that_is_not_utf8(tmp_path):
    plant(tmp_path, "real/1.png", "fake/g/1.png")
    os.rename(tmp_path / "real/1.png", os.fsencode(tmp_path) + b"/real/caf\xe9.png")
    table = read_manifest(tmp_path)
    assert table["path"].to_pylist() == ["fake/g/1.png", r"real/caf\xe9.png"]
    with Reader(tmp_path) as reader, pytest.raises(DataError, match="not UTF-8"):  # it fails by name, alone
        reader.read(table["path"][1].as_py())


def test_root_of_a_folder(tmp_path):
    plant(tmp_path, "sets/a/real/1.png", "sets/a/fake/g/1.png")
    table = read_manifest(tmp_path / "sets" / "a", root=tmp_path)
    assert table["path"].to_pylist() == ["sets/a/fake/g/1.png", "sets/a/real/1.png"]
    assert about(table, "root") == str(tmp_path)
    with pytest.raises(DataError, match="not below the root"):
        read_manifest(tmp_path / "sets", root=tmp_path / "other", layout="real_fake")


def test_relative_path(tmp_path, monkeypatch):
    plant(tmp_path / "GLIDE", "ai/1.png", "nature/1.png")
    monkeypatch.chdir(tmp_path / "GLIDE")
    table = read_manifest(".")
    assert about(table, "root") == str(tmp_path / "GLIDE")
    assert table["generator"].to_pylist() == ["GLIDE", ""]


# --- choosing --------------------------------------------------------------------------------------------------


def test_ambiguous_is_refused_with_both_readings(tmp_path):
    plant(tmp_path, "real/1.png", "fake/g/1.png")
    file = write(tmp_path / "manifest.csv", "path,label\nreal/1.png,0\n")
    with pytest.raises(DataError) as refused:
        read_manifest(tmp_path)
    text = str(refused.value)
    assert "manifest: manifest.csv" in text
    assert "real_fake: fake/real in 1 folder" in text
    assert "--layout manifest|real_fake" in text
    assert "\n" not in text
    assert read_manifest(file).num_rows == 1
    assert read_manifest(tmp_path, layout="manifest").num_rows == 1
    assert read_manifest(tmp_path, layout="real_fake").num_rows == 2


def test_two_folder_layouts(tmp_path):
    plant(tmp_path, "g/0_real/1.png", "h/val/ai/1.png")
    with pytest.raises(DataError, match=r"ForenSynths: .*GenImage: .*--layout forensynths\|genimage"):
        read_manifest(tmp_path)
    table = read_manifest(tmp_path, layout="forensynths")
    assert "1 images outside the label folders" in about(table, "detected")


def test_nothing_recognised(tmp_path):
    plant(tmp_path, "images/1.png")
    with pytest.raises(DataError, match=r"no layout fits \(.*manifest.*real_fake.*--layout"):
        read_manifest(tmp_path)
    with pytest.raises(DataError, match="no layout fits"):
        read_manifest(tmp_path / "images" / "1.png")
    with pytest.raises(DataError, match="no such file or folder"):
        read_manifest(tmp_path / "absent")
    with pytest.raises(UnknownName, match="did you mean 'genimage'"):
        read_manifest(tmp_path, layout="genimages")
    with pytest.raises(DataError, match=r"holds none of manifest.csv, .*; point at the file"):
        read_manifest(tmp_path, layout="manifest")
    with pytest.raises(DataError, match="reads a folder"):
        read_manifest(tmp_path / "images" / "1.png", layout="real_fake")


def test_every_layout_is_registered_and_drawn():
    modules = {file.stem for file in Path(layouts.__file__).parent.glob("*.py")}
    modules -= {"__init__", "base", "listed", "lists"}  # what layouts share
    assert set(layout.names()) >= modules
    for entry in layout:
        assert "/" in entry.doc.split("\n\n")[1]  # the drawing follows the first line
        assert entry().recognise(Path("absent")) is None


# --- manifests -------------------------------------------------------------------------------------------------


def test_manifest_columns(tmp_path):
    file = write(
        tmp_path / "list.csv",
        "generator,path,label,year,group,Note\n"
        "sd14,b.png,1,2022,007,\n"
        ',"a, ""1"".png", REAL ,0012,,x\n'
        ',"two\nlines.png",ai,2023,3,NA\n'
        ',d.png,Nature,2023,3,null\n',
    )  # fmt: skip
    table = read_manifest(file)
    assert table.column_names == [*MANIFEST_COLUMNS, "year", "Note"]
    assert table["path"].to_pylist() == ["b.png", 'a, "1".png', "two\nlines.png", "d.png"]  # the order is kept
    assert table["label"].to_pylist() == [1, 0, 1, 0]
    assert table["generator"].to_pylist() == ["sd14", "", "unknown", ""]
    assert table["group"].to_pylist() == ["007", "", "3", "3"]
    assert table["real_source"].to_pylist() == [""] * 4
    assert table["year"].to_pylist() == ["2022", "0012", "2023", "2023"]  # text stays as written
    assert table["Note"].to_pylist() == ["", "x", "NA", "null"]
    assert about(table, "detected").endswith("further columns: year, Note")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_byte_order_mark_and_line_ends(tmp_path, encoding, newline):
    text = newline.join(("path,label,generator", '"é.png",1,"dalle, 2"', "b.png,0,", ""))
    table = read_manifest(write(tmp_path / "m.csv", text, encoding))
    assert table["path"].to_pylist() == ["é.png", "b.png"]
    assert table["generator"].to_pylist() == ["dalle, 2", ""]


def test_text_of_digits_stays_text_behind_a_byte_order_mark(tmp_path):
    file = write(tmp_path / "m.csv", "path,label\n001,1\n1,0\n", "utf-8-sig")
    assert read_manifest(file)["path"].to_pylist() == ["001", "1"]


def test_quoted_newlines_in_a_long_file(tmp_path):
    """More than one block of Arrow's reader, so that a block ends inside a quoted value."""
    note = "words\n" * 20
    lines = [f'{i}.png,{i % 2},"{note}{i}"' for i in range(20_000)]
    table = read_manifest(write(tmp_path / "m.csv", "path,label,note\n" + "\n".join(lines)))
    assert table.num_rows == 20_000
    assert table["note"][19_999].as_py() == f"{note}19999"


def test_tsv_parquet_and_csv_agree(tmp_path):
    write(tmp_path / "m.tsv", "path\tlabel\tgenerator\na,b.png\t1\tg\nc.png\t0\t\n")
    write(tmp_path / "m.csv", 'path,label,generator\n"a,b.png",fake,g\nc.png,real,\n')
    plain = pa.table({"path": ["a,b.png", "c.png"], "label": [1, 0], "generator": ["g", None]})
    (tmp_path / "split=train").mkdir()
    pq.write_table(plain, tmp_path / "split=train" / "m.parquet")
    files = ("m.csv", "m.tsv", "split=train/m.parquet")
    first, second, third = (read_manifest(tmp_path / name, root=tmp_path) for name in files)
    assert first.equals(second)
    assert first.equals(third)
    assert about(third, "root") == str(tmp_path)


def test_parquet_types(tmp_path):
    table = pa.table({
        "path": pa.array(["a.png", "b.png"]).dictionary_encode(),
        "label": pa.array([0, 1], pa.uint8()),
        "group": pa.array([7, None], pa.int32()),
        "width": pa.array([1.5, 2.0]),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "manifest.parquet")
    found = read_manifest(tmp_path)
    assert found["group"].to_pylist() == ["7", ""]
    assert found["width"].to_pylist() == [1.5, 2.0]
    pq.write_table(table.set_column(2, "group", pa.array([[1], [2]])), tmp_path / "manifest.parquet")
    with pytest.raises(DataError, match="column 'group' holds list"):
        read_manifest(tmp_path)


def test_written_and_read_again(tmp_path):
    plant(tmp_path, "real/coco/1.png", "fake/g/1.png")
    table = read_manifest(tmp_path)
    pq.write_table(table, tmp_path / "written.parquet")
    pacsv.write_csv(table, tmp_path / "written.csv")
    assert read_manifest(tmp_path / "written.parquet").equals(table)
    assert read_manifest(tmp_path / "written.csv").equals(table)


def test_paths(tmp_path):
    plant(tmp_path, "in/a.png", "in/odd\\name.png", "in/sub/b.png")
    file = write(
        tmp_path / "in" / "m.csv",
        f"path,label\n./a.png,0\nodd\\name.png,1\nsub\\b.png,1\n{tmp_path}/in/sub/../c.png,1\nt.tar::d/e.png,0\n",
    )
    assert read_manifest(file)["path"].to_pylist() == ["a.png", "odd\\name.png", "sub/b.png", "c.png", "t.tar::d/e.png"]
    absolute = write(tmp_path / "abs.csv", f"path,label\nin/a.png,0\n{tmp_path}/in/sub/b.png,1\n")
    assert read_manifest(absolute)["path"].to_pylist() == ["in/a.png", "in/sub/b.png"]
    with pytest.raises(DataError, match=r"data row 2: .* is not below .*--root"):
        read_manifest(absolute, root=tmp_path / "other")
    with pytest.raises(DataError, match=r"data row 1: path '../x.png' is not below"):
        read_manifest(write(tmp_path / "in" / "up.csv", "path,label\n../x.png,0\n"))


def test_only_the_shards_own_path_is_cleaned(tmp_path):
    given = ["./in\\t.tar::d/../x.png", "in/t.tar::d\\xff.png", "./a/../t.zip::a//b.png", "t.zip::./c.png"]
    kept = ["in/t.tar::d/../x.png", "in/t.tar::d\\xff.png", "t.zip::a//b.png", "t.zip::./c.png"]
    file = write(tmp_path / "m.csv", "path,label\n" + "".join(f"{path},0\n" for path in given))
    assert read_manifest(file)["path"].to_pylist() == kept


def test_a_shard_is_no_labelled_set(tmp_path):
    pq.write_table(pa.table({"image": pa.array([b"x"]), "label": [0]}), tmp_path / "a.parquet")
    for name, member in (("a.tar", "000003.jpg"), ("a.ZIP", "000003.jpg"), ("a.parquet", "0")):
        file = tmp_path / name
        file.touch()
        with pytest.raises(DataError, match=f"whose rows name the members, such as {name}::{member},1$") as refused:
            read_manifest(file)
        assert str(refused.value).startswith(str(file))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\na.png,2\n", r"data row 1: label '2' is none of 0, 1, real, fake, nature, ai"),
        ("path,label\na.png,0\nb.png,\n", "data row 2: label ''"),
        ("paths,label\na.png,0\n", "no column 'path' among 'paths', 'label'; did you mean 'paths'"),
        ("path,Label\na.png,0\n", "no column 'label' .*did you mean 'Label'. rename it, or add a column label"),
        ("path,year\na.png,0\n", r"among 'path', 'year'; add a column label \(0 or real, 1 or fake\)$"),
        ("file;class\na.png;0\n", "no column 'path' among 'file;class'; add a column path"),
        ("path,label\na.png,0\n./a.png,1\n", "data row 2: path 'a.png' stands in row 1 already"),
        ("path,label\n,0\n", "data row 1: the path is empty"),
        ("path,label\n.,0\n", "data row 1: path '.' is not below"),
        ("path,label,label\na.png,0,1\n", "two columns are called 'label'"),
        ("path,label\na.png,0\nb.png\n", r"cannot be read as a table \(.*[Rr]ow #?3.*2 columns"),
        ("path,label\n", "holds no images"),
        ("", "cannot be read as a table"),
    ],
)
def test_bad_manifests(tmp_path, text, message):
    file = write(tmp_path / "bad.csv", text)
    with pytest.raises(DataError, match=message) as refused:
        read_manifest(file)
    assert str(refused.value).startswith(str(file))
    assert "\n" not in str(refused.value)


def test_bad_bytes(tmp_path):
    latin = write(tmp_path / "latin.csv", "path,label\ncafé.png,0\n", "latin-1")
    with pytest.raises(DataError, match="save it as UTF-8"):
        read_manifest(latin)
    with pytest.raises(DataError, match="save it as UTF-8"):
        read_manifest(write(tmp_path / "wide.csv", "path,label\na.png,0\n", "utf-16"))
    with pytest.raises(DataError, match="cannot be read as a table"):
        read_manifest(write(tmp_path / "bad.parquet", "path,label\na.png,0\n"))
    with pytest.raises(DataError, match=r"a manifest is a .csv, .tsv or .parquet file"):
        read_manifest(plant(tmp_path, "a.png") / "a.png", layout="manifest")


def test_two_manifests_in_a_folder(tmp_path):
    write(tmp_path / "manifest.csv", "path,label\na.png,0\n")
    pq.write_table(pa.table({"path": ["a.png"], "label": [0]}), tmp_path / "manifest.parquet")
    with pytest.raises(DataError, match=r"holds manifest.csv and manifest.parquet, .*point at the file"):
        read_manifest(tmp_path)


def test_label_names(tmp_path):
    file = write(tmp_path / "m.csv", "path,label\na.png,Photo\nb.png,synthetic\nc.png,1\n")
    table = read_manifest(file, label_names={"photo": 0, "Synthetic": 1, "1": 0})
    assert table["label"].to_pylist() == [0, 1, 0]  # the names given win over the known ones
    with pytest.raises(DataError, match="data row 1: label 'Photo'"):
        read_manifest(file)
    with pytest.raises(ParameterError, match="'photo' must stand for 0"):
        read_manifest(file, label_names={"photo": 2})
    plant(tmp_path / "tree", "real/1.png", "fake/g/1.png")
    with pytest.raises(ParameterError, match="layout real_fake has no label_names"):
        read_manifest(tmp_path / "tree", label_names={"photo": 0})


@pytest.mark.skipif(not SHARED.is_file(), reason="the shared development images are not here")
def test_shared_images():
    table = read_manifest(SHARED)
    assert table.num_rows == 738
    assert table["label"].to_pylist().count(0) == 256
    assert len(set(table["generator"].to_pylist()) - {""}) == 8
    assert all((SHARED.parent / path).is_file() for path in table["path"].to_pylist())
    with pytest.raises(DataError, match="can be read in 2 ways"):
        read_manifest(SHARED.parent)
    by_folder = rows(read_manifest(SHARED.parent, layout="real_fake"))
    assert {path: record.label for path, record in by_folder.items()} == {
        record.path: record.label for record in records(table)
    }
