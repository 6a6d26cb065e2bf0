"""Listing without labels: folders against a plain os.walk, patterns, shards, and everything that is passed over."""

from __future__ import annotations

import io
import os
import random
import tarfile
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdetect.engine.listing import IMAGE_EXTENSIONS, Listing, PassedOver, in_words, list_images, walk
from fdetect.engine.sources import Reader
from fdetect.errors import DataError, ParameterError


def plant(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def make_tar(file: Path, *names: str) -> Path:
    with tarfile.open(file, "w") as archive:
        for name in names:
            about = tarfile.TarInfo(name)
            about.size = len(name.encode())
            archive.addfile(about, io.BytesIO(name.encode()))
    return file


def make_zip(file: Path, *names: str) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, name.encode())
    return file


def listed(*inputs: str | Path, root: str | Path | None = None) -> list[str]:
    return list_images(inputs, root=root).paths.to_pylist()


def refused(*inputs: str | Path, root: str | Path | None = None) -> str:
    with pytest.raises(DataError) as caught:
        list_images(inputs, root=root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def failures(listing: Listing) -> dict[str, str]:
    """The rows that cannot be read, and why."""
    found = {}
    with Reader(listing.root) as reader:
        for path in listing.paths.to_pylist():
            try:
                reader.read(path)
            except DataError as error:
                found[path] = str(error)
    return found


def naive_walk(root: str) -> tuple[list[str], Counter[tuple[str, str]]]:
    """Images below a folder, sorted as bytes, and what is passed over; straight from the rules, by os.walk."""
    extensions = [".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".jp2", ".avif"]
    found, passed_over = [], Counter()
    for folder, inner, files in os.walk(root):
        for name in list(inner):
            linked, hidden = os.path.islink(os.path.join(folder, name)), name.startswith(".")
            if linked or hidden:
                passed_over["folder", "linked" if linked else "hidden"] += 1
                inner.remove(name)
        for name in files:
            extension = os.path.splitext(name)[1].lower()
            if name.startswith("."):
                passed_over["file", "hidden"] += 1
            elif extension in extensions:
                found.append(os.path.relpath(os.path.join(folder, name), root))
            else:
                passed_over["file", extension or "without extension"] += 1
    return sorted(found, key=os.fsencode), passed_over


# --- folders -----------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(
    ["a", "a-b", "a.b", "a b", "é", "z\ue000", "z😀", ".hid", "A", "a.jpg", "a.PNG", "-x.jpg", "a\nb.webp", "b.txt",
     "x.jpg.json", "[1].gif", ".h.jpg", "link"]
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.lists(NAMES, min_size=1, max_size=4), st.booleans()), max_size=25))
def test_a_folder_is_listed_as_a_plain_walk_would(tree):
    with tempfile.TemporaryDirectory() as folder:
        for names, link in tree:
            path = Path(folder, *names)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                if link:
                    path.symlink_to(folder)  # a loop
                else:
                    path.write_bytes(b"")
            except OSError:
                continue  # a file stands where a folder would be, or the other way round
        expected, passed_over = naive_walk(folder)
        counts: PassedOver = Counter()
        pieces = [(parts, names) for parts, names in walk(folder, counts)]
        assert ["/".join((*parts, name)) for parts, names in pieces for name in names] == expected
        assert counts == passed_over
        if expected:
            listing = list_images([folder])
            assert listing.paths.to_pylist() == expected
            assert listing.remarks == in_words(passed_over)
        else:
            assert "holds no images" in refused(folder)


def test_what_is_passed_over_is_said(tmp_path):
    plant(tmp_path, "a/1.jpg", "a/2.txt", "a/3.txt", "b/.x.jpg", ".git/4.jpg", "5", "b/6.JPG")
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    listing = list_images([tmp_path])
    assert listing.paths.to_pylist() == ["a/1.jpg", "b/6.JPG"]
    assert listing.paths.type == pa.string()
    assert listing.root == tmp_path
    assert listing.remarks == (
        "4 other files passed over: 2 .txt, 1 hidden, 1 without extension; "
        "2 other folders not entered: 1 hidden, 1 linked"
    )
    assert list_images([tmp_path / "a" / "1.jpg"]).remarks == ""


def test_many_kinds_are_counted_and_not_all_spelt_out():
    counts: PassedOver = Counter({("file", f".{i:03}"): 1 for i in range(50)})
    counts["file", "a\nb"] = 7
    text = in_words(counts)
    assert text.startswith("57 other files passed over: ")
    assert text.endswith(" and 43 more")
    assert "7 'a\\nb'" in text
    assert in_words(Counter({("file", ".txt"): 0})) == ""


def test_files_that_cannot_be_read_are_listed_all_the_same(tmp_path):
    plant(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "fifo.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "nowhere.jpg").symlink_to("absent")
    assert listed(tmp_path) == ["a.jpg", "fifo.jpg", "loop.jpg", "nowhere.jpg"]


def test_names_that_are_not_utf8_become_named_failures(tmp_path):
    folder = os.fsencode(tmp_path)
    os.mkdir(os.path.join(folder, b"d\xe9"))
    for name in (b"a\xff.jpg", b"d\xe9/1.jpg", b"ok.jpg", b"s\xff.tar"):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(b"x")
    listing = list_images([tmp_path])
    assert listing.paths.to_pylist() == ["a\\xff.jpg", "d\\xe9/1.jpg", "ok.jpg", "s\\xff.tar"]
    with Reader(listing.root) as reader:
        assert reader.read("ok.jpg") == b"x"
        for path in ("a\\xff.jpg", "d\\xe9/1.jpg", "s\\xff.tar"):
            with pytest.raises(DataError, match="not UTF-8: rename"):
                reader.read(path)
    plant(tmp_path, "a\\xff.jpg")
    assert listed(tmp_path) == ["a\\xff.jpg", "d\\xe9/1.jpg", "ok.jpg", "s\\xff.tar"]
    assert list_images([tmp_path]).remarks == "1 listed twice"
    odd = os.fsdecode(os.path.join(folder, b"a\xff.jpg"))
    assert listed(odd) == ["a\\xff.jpg"]


def test_a_deep_tree_needs_no_recursion(tmp_path):
    here, depth = os.getcwd(), 1500
    os.chdir(tmp_path)
    try:
        for _ in range(depth):
            os.mkdir("d")
            os.chdir("d")
        Path("x.jpg").write_bytes(b"")
        assert listed(tmp_path) == ["d/" * depth + "x.jpg"]
    finally:
        for _ in range(depth):
            if Path("x.jpg").exists():
                Path("x.jpg").unlink()
            os.chdir("..")
            os.rmdir("d")
        os.chdir(here)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list everything")
def test_a_folder_that_cannot_be_listed_is_named(tmp_path):
    plant(tmp_path, "a.jpg", "closed/b.jpg")
    (tmp_path / "closed").chmod(0)
    assert "closed: the folder cannot be listed" in refused(tmp_path)
    (tmp_path / "closed").chmod(0o700)


# --- inputs and roots --------------------------------------------------------------------------------------------


def test_the_root(tmp_path, monkeypatch):
    plant(tmp_path, "a/1.jpg", "a/b/2.jpg", "c/3.jpg", "c/odd.dat")
    make_tar(tmp_path / "c" / "s.tar", "x.jpg")

    def both(*inputs: str | Path, root: Path | None = None) -> tuple[Path, list[str]]:
        listing = list_images(inputs, root=root)
        return listing.root, listing.paths.to_pylist()

    assert both(tmp_path / "a") == (tmp_path / "a", ["1.jpg", "b/2.jpg"])
    assert both(tmp_path / "c" / "odd.dat") == (tmp_path / "c", ["odd.dat"])
    assert both(tmp_path / "c" / "s.tar") == (tmp_path / "c", ["s.tar::x.jpg"])
    assert both(f"{tmp_path}/c/s.tar::x.jpg") == (tmp_path / "c", ["s.tar::x.jpg"])
    assert both(tmp_path / "c" / "3.jpg", tmp_path / "a" / "b") == (tmp_path, ["c/3.jpg", "a/b/2.jpg"])
    assert both(tmp_path / "a", tmp_path / "a" / "b") == (tmp_path / "a", ["1.jpg", "b/2.jpg"])
    assert both(tmp_path / "a" / "b", root=tmp_path) == (tmp_path, ["a/b/2.jpg"])
    assert "not below the root" in refused(tmp_path / "a", tmp_path / "c", root=tmp_path / "a")
    assert str(tmp_path / "c") in refused(tmp_path / "a", tmp_path / "c", root=tmp_path / "a")
    monkeypatch.chdir(tmp_path / "a")
    assert both(".") == (tmp_path / "a", ["1.jpg", "b/2.jpg"])
    assert both("../c/3.jpg", "b/") == (tmp_path, ["c/3.jpg", "a/b/2.jpg"])
    assert both("*.jpg", root=Path("..")) == (tmp_path, ["a/1.jpg"])
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert both(tmp_path / "link") == (tmp_path / "link", ["1.jpg", "b/2.jpg"])


def test_what_is_given_twice_is_listed_once(tmp_path):
    plant(tmp_path, "a/1.jpg", "a/2.jpg", "b.jpg")
    listing = list_images([tmp_path / "b.jpg", tmp_path / "a" / "2.jpg", tmp_path, tmp_path / "a"])
    assert listing.paths.to_pylist() == ["b.jpg", "a/2.jpg", "a/1.jpg"]
    assert listing.remarks == "4 listed twice"


def test_inputs_that_give_nothing_are_named(tmp_path):
    plant(tmp_path, "a/x.txt", "good.jpg")
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    make_tar(tmp_path / "words.tar", "x.txt", "y.json")
    assert refused(tmp_path / "absent.jpg").startswith(f"{tmp_path}/absent.jpg: No such file or directory; ")
    assert "Too many levels" in refused(tmp_path / "loop")
    assert f"{tmp_path}/empty: holds no images; " in refused(tmp_path / "empty", tmp_path / "absent")
    assert f"{tmp_path}/empty: holds no images; " in list_images([tmp_path / "good.jpg", tmp_path / "empty"]).remarks
    assert "holds no images (1 other file passed over: 1 .txt)" in refused(tmp_path / "a")
    assert "holds no images (2 other members passed over: 1 .json, 1 .txt)" in refused(tmp_path / "words.tar")
    assert "matches no images" in refused(tmp_path / "*.webp")
    assert "matches no images" in refused(tmp_path / "good.jpg", tmp_path / "*.webp")
    assert "Not a directory" in refused(f"{tmp_path}/good.jpg/", tmp_path / "good.jpg")
    assert "No such file" in refused(tmp_path / "absent" / "*.jpg")
    assert "no file can have this name" in refused("a\0.jpg")
    assert "No such file" in refused("")
    assert "No such file" in refused(f"{tmp_path}/absent.tar::x.jpg")
    assert "no such member" in refused(f"{tmp_path}/words.tar::x.jpg")
    with pytest.raises(ParameterError, match="no images were given"):
        list_images([])


def test_a_name_that_a_link_makes_two_files_is_refused(tmp_path, monkeypatch):
    """The system goes up from where the link leads, the text of the path from where the link stands."""
    plant(tmp_path, "far/q.png", "far/in/x.png", "q.png", "only/y.png", "far/only/y.png")
    make_tar(tmp_path / "far" / "s.tar", "x.jpg")
    make_tar(tmp_path / "s.tar", "x.jpg")
    (tmp_path / "link").symlink_to("far/in")
    monkeypatch.chdir(tmp_path)
    for name in ("link/../q.png", "link/../only", "link/../*.png", "link/../s.tar", "link/../s.tar::x.jpg"):
        assert f"{name}: through a link this is {tmp_path}/far" in refused(name)
    assert "No such file" in refused("link/../link")  # there as text only
    assert "through a link" in refused("link/../in", "q.png")  # there for the system only
    assert listed("far/../q.png", "link/x.png", "link/") == ["q.png", "link/x.png"]


# --- patterns ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", ["1.jpg", "2.jpg"]),
        ("?.jpg", ["1.jpg", "2.jpg"]),
        ("[1].jpg", ["1.jpg"]),
        ("[!1].jpg", ["2.jpg"]),
        (".*.jpg", [".h.jpg"]),
        ("**/*.jpg", ["1.jpg", "2.jpg", "a-b/x.jpg", "a/b/x.jpg", "a/x.jpg"]),
        ("*/x.jpg", ["a-b/x.jpg", "a/x.jpg"]),
        ("a*/**/x.*", ["a-b/x.jpg", "a/b/x.jpg", "a/x.jpg", "a/x.png"]),
        ("a*", ["a-b/x.jpg", "a/b/x.jpg", "a/x.jpg", "a/x.png"]),
        ("**/b", ["a/b/x.jpg"]),
        ("**", ["1.jpg", "2.jpg", "a-b/x.jpg", "a/b/x.jpg", "a/x.jpg", "a/x.png"]),
        ("a/**", ["b/x.jpg", "x.jpg", "x.png"]),
        ("a/**/**/x.jpg", ["b/x.jpg", "x.jpg"]),
        ("a/*.jpg/..", None),
        ("?/*.png", ["a/x.png"]),
        ("A*/*", None),
    ],
)
def test_patterns(tmp_path, pattern, expected):
    plant(tmp_path, "1.jpg", "2.jpg", ".h.jpg", "a/x.jpg", "a/x.png", "a/x.txt", "a/b/x.jpg", "a-b/x.jpg", ".g/x.jpg")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    if expected is None:
        refused(f"{tmp_path}/{pattern}")
    else:
        assert listed(f"{tmp_path}/{pattern}") == expected


def test_patterns_pass_over_by_the_same_rules_and_list_shards(tmp_path):
    plant(tmp_path, "d/1.jpg", "d/2.txt", "d/.3.jpg", "e/x.txt")
    make_tar(tmp_path / "d" / "s.tar", "x.jpg")
    (tmp_path / "d" / "l").symlink_to(tmp_path)
    listing = list_images([tmp_path / "*" / "*"])
    assert listing.paths.to_pylist() == ["d/1.jpg", "d/s.tar::x.jpg"]
    assert listing.remarks == "2 other files passed over: 2 .txt; 1 other folder not entered: 1 linked"


def test_the_name_of_a_file_is_no_pattern(tmp_path):
    plant(tmp_path, "[1].jpg", "1.jpg", "d[2]/x.jpg")
    assert listed(tmp_path / "[1].jpg") == ["[1].jpg"]
    assert listed(tmp_path / "d[2]") == ["x.jpg"]
    assert listed(tmp_path / "[[]1].jpg") == ["[1].jpg"]


# --- shards ------------------------------------------------------------------------------------------------------


def test_shards_in_a_folder(tmp_path):
    make_tar(
        tmp_path / "b.TAR", "z.jpg", "z.json", "./a.png", "a.cls", ".hid/x.jpg", "d/._a.jpg", "new\nline.jpg", "-.gif"
    )
    make_zip(tmp_path / "a.zip", "z.jpg", "__MACOSX/._z.jpg", "é.webp", "without")
    pq.write_table(pa.table({"image": pa.array([b"x"] * 3)}), tmp_path / "c.parquet")
    pq.write_table(pa.table({"label": pa.array([1])}), tmp_path / "words.parquet")
    plant(tmp_path, "a.jpg", "z.jpg", "b.tar.gz")
    listing = list_images([tmp_path])
    expected = ["a.jpg", "a.zip::z.jpg", "a.zip::é.webp", "b.TAR::z.jpg", "b.TAR::a.png", "b.TAR::new\nline.jpg"]
    expected += ["b.TAR::-.gif", "c.parquet::0", "c.parquet::1", "c.parquet::2", "z.jpg"]
    assert listing.paths.to_pylist() == expected
    assert listing.remarks == (
        "2 other files passed over: 1 .gz, 1 .parquet without a column of images; "
        "6 other members passed over: 1 .cls, 1 .json, 3 hidden, 1 without extension"
    )
    with Reader(listing.root) as reader:
        for path in expected:
            name = path.split("::")[-1]
            assert reader.read(path).removeprefix(b"./") == (b"x" if ".parquet" in path else name.encode())
    assert listed(tmp_path / "b.TAR", tmp_path / "a.jpg")[-1] == "a.jpg"
    assert listed(f"{tmp_path}/b.TAR::z.json") == ["b.TAR::z.json"]


def test_shards_that_cannot_be_listed_are_named(tmp_path):
    (tmp_path / "d").mkdir()
    for name in ("a.tar", "a.zip", "a.parquet"):
        (tmp_path / "d" / name).write_bytes(b"nothing of the kind")
        for given_input in (tmp_path / "d", tmp_path / "d" / name):
            assert f"{name}: the shard is damaged (" in refused(given_input)
        (tmp_path / "d" / name).unlink()
    os.mkfifo(tmp_path / "d" / "a.tar")
    assert "not a regular file" in refused(tmp_path / "d")
    pq.write_table(pa.table({"label": pa.array([1])}), tmp_path / "words.parquet")
    assert "no column of bytes among ['label']" in refused(tmp_path / "words.parquet")
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("a.jpg"), io.BytesIO())
    assert "compressed tar" in refused(tmp_path / "a.tgz")


def test_a_tar_cut_short_is_listed_to_its_break_and_said(tmp_path):
    whole = make_tar(tmp_path / "a.tar", "1.jpg", "2.jpg", "3.jpg").read_bytes()
    (tmp_path / "a.tar").write_bytes(whole[:1540])
    listing = list_images([tmp_path])
    assert listing.paths.to_pylist() == ["a.tar::1.jpg", "a.tar::2.jpg", "a.tar"]
    lost = "damaged or cut short: members after the break are lost"
    assert failures(listing) == {"a.tar::2.jpg": "the member is cut short: the tar ends within it", "a.tar": lost}
    assert listing.remarks == f"cannot be read in full: ({tmp_path}/a.tar: {lost})"


def test_one_bad_input_ends_nothing(tmp_path):
    plant(tmp_path, "good.jpg", "d/in.jpg", "d/cut.zip", "d/cut.parquet", "d/z.jpg")
    make_tar(tmp_path / "a.tar", "x.jpg")
    inputs = ["good.jpg", "absent.jpg", "a.tar", "a.tar::nosuch.jpg", "absent.tar", "absent.zip::x.jpg", "d"]
    listing = list_images([tmp_path / name for name in inputs])
    assert listing.paths.to_pylist() == [
        *("good.jpg", "absent.jpg", "a.tar::x.jpg", "a.tar::nosuch.jpg", "absent.tar", "absent.zip::x.jpg"),
        *("d/cut.parquet", "d/cut.zip", "d/in.jpg", "d/z.jpg"),
    ]
    failed = failures(listing)
    absent = dict.fromkeys(("absent.jpg", "absent.tar", "absent.zip::x.jpg"), "No such file or directory")
    assert {path: failed.pop(path) for path in absent} == absent
    assert failed.pop("a.tar::nosuch.jpg") == "the shard has no such member"
    assert failed.keys() == {"d/cut.parquet", "d/cut.zip"}
    assert all(reason.startswith("the shard is damaged (") for reason in failed.values())
    assert listing.remarks.startswith(f"cannot be read in full: ({tmp_path}/absent.jpg: No such file or directory; ")
    assert listing.remarks.endswith("), and 3 more")
    assert "\n" not in listing.remarks
    assert f"{tmp_path}/a.tar::nosuch.jpg: the shard has" in refused(*(tmp_path / name for name in inputs[3:6]))


def test_files_that_would_be_read_as_members_are_passed_over(tmp_path):
    plant(tmp_path, "a.tar::x.jpg", "b.zip::d/y.jpg", "ok::1.jpg", "d.tar/in.jpg")
    make_tar(tmp_path / "a.tar", "x.jpg")
    listing = list_images([tmp_path])
    assert listing.paths.to_pylist() == ["a.tar::x.jpg", "d.tar/in.jpg", "ok::1.jpg"]
    assert listing.remarks == "2 other files passed over: 2 named like a member of a shard"
    with Reader(tmp_path) as reader:
        assert [reader.read(path) for path in listing.paths.to_pylist()] == [b"x.jpg", b"d.tar/in.jpg", b"ok::1.jpg"]


def test_large_folders_and_shards_come_in_pieces(tmp_path):
    pq.write_table(pa.table({"image": pa.array([b""] * 70_000, pa.binary())}), tmp_path / "a.parquet")
    names = [f"{i:06}.jpg" for i in range(1500)]
    random.Random(0).shuffle(names)
    plant(tmp_path, *names)
    listing = list_images([tmp_path, tmp_path / "a.parquet"])
    assert listing.paths.num_chunks > 1
    assert listing.paths.to_pylist() == sorted(names) + [f"a.parquet::{i}" for i in range(70_000)]
    assert listing.remarks == "70000 listed twice"


def test_the_extensions_are_those_of_images():
    assert {".jpg", ".png", ".webp"} <= IMAGE_EXTENSIONS
    assert not IMAGE_EXTENSIONS & {".tar", ".zip", ".parquet", ".txt"}
