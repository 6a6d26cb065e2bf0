"""Reading by path: plain files and members of real shards, whole, damaged at every cut, and from many threads."""

from __future__ import annotations

import io
import os
import random
import socket
import tarfile
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fdetect.engine import shards
from fdetect.engine.sources import MAX_BYTES, Reader, Stamp, has_images, members, split_member
from fdetect.errors import DataError

NAMES = ["a b.jpg", "new\nline.png", "ünï/漢字.webp", "-rf.jpg", "deep/er/x.jpg", "empty.png", "a.zip::b.jpg"]
CONTENT = {name: bytes(random.Random(i).randbytes(137 * i)) for i, name in enumerate(NAMES, start=0)}
CONTENT["empty.png"] = b""


def make_tar(file: Path, content: dict[str, bytes], **settings: object) -> Path:
    with tarfile.open(file, "w", **settings) as archive:
        for name, data in content.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    return file


def make_zip(file: Path, content: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name), data, compression)
    return file


def make_parquet(file: Path, rows: list[bytes | None], group: int = 100, nested: bool = True) -> Path:
    if nested:
        images = pa.array(
            [None if row is None else {"bytes": row, "path": "x.jpg"} for row in rows],
            pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        )
    else:
        images = pa.array(rows, pa.binary())
    table = pa.table({"image": images, "label": pa.array(range(len(rows)))})
    pq.write_table(table, file, row_group_size=group, write_batch_size=16)  # small pages: one is decoded at a time
    return file


def reason(reader: Reader, path: str) -> str:
    with pytest.raises(DataError) as caught:
        reader.read(path)
    text = str(caught.value)
    assert "\n" not in text
    with pytest.raises(DataError):
        reader.head(path, 4)
    return text


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("a/b.jpg", None),
        ("a.tar", None),
        ("x::y.jpg", None),
        ("a.tar::b", ("a.tar", "b")),
        ("a.TAR::b.zip::c", ("a.TAR", "b.zip::c")),
        ("x::y.Zip::b", ("x::y.Zip", "b")),
        ("d/e.parquet::17", ("d/e.parquet", "17")),
        ("a.tar:::b", ("a.tar", ":b")),
        ("new\nline.tar::x\ny", ("new\nline.tar", "x\ny")),
        ("a.tar.gz::b", ("a.tar.gz", "b")),
        ("a.tart::b", None),
    ],
)
def test_split_member(path, parts):
    assert split_member(path) == parts


# --- plain files -------------------------------------------------------------------------------------------------


def test_files_are_read_exactly(tmp_path):
    for name, data in CONTENT.items():
        file = tmp_path / name.replace("a.zip::", "")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        with Reader(tmp_path) as reader:
            path = str(file.relative_to(tmp_path))
            assert reader.read(path) == data
            assert reader.head(path, 5) == (data[:5], len(data))
            assert reader.head(path, 0) == (b"", len(data))
            found = file.stat()
            assert reader.stamp(path) == Stamp(len(data), found.st_mtime_ns, found.st_ctime_ns)


def test_what_is_no_readable_file_says_why_at_once(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "fifo.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "file.jpg").write_bytes(b"x")
    with socket.socket(socket.AF_UNIX) as plug:
        here = Path.cwd()
        os.chdir(tmp_path)  # the name of a socket may not be long
        try:
            plug.bind("socket.jpg")
        finally:
            os.chdir(here)
        expected = {
            "folder.jpg": "Is a directory",
            "fifo.jpg": "not a regular file",
            "socket.jpg": "not a regular file",
            "../../../../../../../../../../dev/zero": "not a regular file",
            "loop.jpg": "Too many levels of symbolic links",
            "absent.jpg": "No such file or directory",
            "file.jpg/x.jpg": "Not a directory",
            "x" * 300: "File name too long",
            "absent.tar::x.jpg": "No such file or directory",
            "fifo.jpg/a.tar::x.jpg": "Not a directory",
        }
        found: dict[str, str] = {}
        reader = Reader(tmp_path)
        thread = threading.Thread(target=lambda: found.update({p: reason(reader, p) for p in expected}), daemon=True)
        thread.start()
        thread.join(timeout=20)
        assert not thread.is_alive(), "reading hangs"
    assert found == expected
    for path in ("folder.jpg", "fifo.jpg", "loop.jpg", "absent.jpg", "absent.zip::x"):
        with pytest.raises(DataError, match=found.get(path, "No such file or directory")):
            reader.stamp(path)


def test_shards_that_are_no_regular_files(tmp_path):
    os.mkfifo(tmp_path / "fifo.tar")
    (tmp_path / "folder.zip").mkdir()
    reader = Reader(tmp_path)
    assert reason(reader, "fifo.tar::a.jpg") == "not a regular file"
    assert reason(reader, "folder.zip::a.jpg") == "Is a directory"


def test_names_that_no_file_can_have(tmp_path):
    reader = Reader(tmp_path)
    assert "null byte" in reason(reader, "a\0b.jpg")
    assert "no file can have this name" in reason(reader, "a\ud800b.jpg")
    assert reason(reader, "a\\xff.jpg").startswith("No such file or directory; ")
    assert "not UTF-8: rename" in reason(reader, "a\\xff.jpg")
    with pytest.raises(DataError, match="null byte"):
        reader.stamp("a\0b.jpg")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_permission(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "a.jpg").chmod(0)
    assert reason(Reader(tmp_path), "a.jpg") == "Permission denied"


def test_too_large_is_refused_from_the_size_alone(tmp_path):
    import tracemalloc

    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with (tmp_path / "b.tar").open("wb") as file:
        about = tarfile.TarInfo("a.jpg")
        about.size = MAX_BYTES + 1
        file.write(about.tobuf())
        file.truncate(MAX_BYTES + 20480)
    lying = bytearray(make_zip(tmp_path / "c.zip", {"a.jpg": b"x" * 100}).read_bytes())
    at = lying.index(b"PK\x01\x02") + 24
    lying[at : at + 4] = (MAX_BYTES + 1).to_bytes(4, "little")
    (tmp_path / "c.zip").write_bytes(lying)
    tracemalloc.start()
    with Reader(tmp_path) as reader:
        for path in ("a.jpg", "b.tar::a.jpg", "c.zip::a.jpg"):
            assert reason(reader, path).startswith("larger than the 1 GiB"), path
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


# --- shards ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tar_members(tmp_path, form):
    long = {"l" * 90 + "/" + "m" * 150 + ".jpg": b"long"}
    make_tar(tmp_path / "a.tar", CONTENT | long, format=form)
    with Reader(tmp_path) as reader:
        for name, data in (CONTENT | long).items():
            assert reader.read(f"a.tar::{name}") == data
            assert reader.head(f"a.tar::{name}", 7) == (data[:7], len(data))
        found = (tmp_path / "a.tar").stat()
        assert reader.stamp("a.tar::absent.jpg") == Stamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        assert reason(reader, "a.tar::absent.jpg") == "the shard has no such member"
    assert list(members(tmp_path / "a.tar").names) == [*CONTENT, *long]
    assert members(tmp_path / "a.tar").lost == ""


def test_tar_with_all_kinds_of_members(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:

        def add(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, to: str = "") -> None:
            about = tarfile.TarInfo(name)
            about.size, about.type, about.linkname = len(data), kind, to
            archive.addfile(about, io.BytesIO(data))

        add("./dir", kind=tarfile.DIRTYPE)
        add("./dir/a.jpg", b"first")
        add("b.jpg", b"b")
        add("hard.jpg", kind=tarfile.LNKTYPE, to="b.jpg")
        add("soft.jpg", kind=tarfile.SYMTYPE, to="b.jpg")
        add("fifo.jpg", kind=tarfile.FIFOTYPE)
        add("sparse.jpg", b"\0" * 512, kind=tarfile.GNUTYPE_SPARSE)
        add("dir/a.jpg", b"last wins")
        add(b"caf\xe9.jpg".decode("utf-8", "surrogateescape"), b"latin")
    found = members(tmp_path / "a.tar")
    assert list(found.names) == ["b.jpg", "sparse.jpg", "dir/a.jpg", "caf\\xe9.jpg"]
    assert found.others == {"linked": 2, "special": 1, "repeated": 1}
    with Reader(tmp_path) as reader:
        assert reader.read("a.tar::dir/a.jpg") == b"last wins"
        assert reader.read("a.tar::./dir/a.jpg") == b"last wins"
        assert reader.read("a.tar::caf\\xe9.jpg") == b"latin"
        assert "sparse" in reason(reader, "a.tar::sparse.jpg")
        for name in ("hard.jpg", "soft.jpg", "fifo.jpg", "dir", ""):
            assert "no such member" in reason(reader, f"a.tar::{name}")


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_compressed_tars_are_refused_whatever_they_are_called(tmp_path, kind):
    for name in ("a.tar", f"a.tar.{kind}"):
        with tarfile.open(tmp_path / name, f"w:{kind}") as archive:
            archive.addfile(tarfile.TarInfo("a.jpg"), io.BytesIO())
        assert reason(Reader(tmp_path), f"{name}::a.jpg").startswith("compressed tar")


def test_zip_members(tmp_path):
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        make_zip(tmp_path / f"{compression}.zip", CONTENT, compression)
        with Reader(tmp_path) as reader:
            for name, data in CONTENT.items():
                assert reader.read(f"{compression}.zip::{name}") == data
                assert reader.head(f"{compression}.zip::{name}", 7) == (data[:7], len(data))
        assert list(members(tmp_path / f"{compression}.zip").names) == list(CONTENT)


def test_zip_with_all_kinds_of_members(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("dir/", b"")
        archive.writestr("dir/a.jpg", b"first")
        link = zipfile.ZipInfo("soft.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, b"dir/a.jpg")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("dir/a.jpg", b"last wins")
    found = members(tmp_path / "a.zip")
    assert list(found.names) == ["dir/a.jpg"]
    assert +found.others == {"linked": 1, "repeated": 1}
    with Reader(tmp_path) as reader:
        assert reader.read("a.zip::dir/a.jpg") == b"last wins"
        for name in ("dir/", "soft.jpg", "absent"):
            assert "no such member" in reason(reader, f"a.zip::{name}")


def test_zip_members_that_cannot_be_read(tmp_path):
    plain = make_zip(tmp_path / "a.zip", {"a.jpg": b"x" * 100}, zipfile.ZIP_STORED).read_bytes()
    entry = plain.index(b"PK\x01\x02")

    def changed(at: int, data: bytes) -> str:
        (tmp_path / "b.zip").write_bytes(plain[:at] + data + plain[at + len(data) :])
        with pytest.raises(DataError) as caught:
            Reader(tmp_path).read("b.zip::a.jpg")
        return str(caught.value)

    assert "encrypted" in changed(entry + 8, b"\x01")
    assert "CRC" in changed(plain.index(b"xxx"), b"y")
    assert "compression" in changed(entry + 10, b"\x63")
    assert changed(entry + 24, b"\xff\x00")  # the directory says 255 bytes, there are 100
    assert changed(entry + 24, b"\x10\x00")  # ... or 16


@pytest.mark.parametrize("nested", [True, False])
def test_parquet_rows_in_any_order(tmp_path, nested):
    rows = [random.Random(i).randbytes(50 + i % 7) for i in range(500)]
    make_parquet(tmp_path / "a.parquet", rows, group=130, nested=nested)
    assert list(members(tmp_path / "a.parquet").names) == [str(i) for i in range(500)]
    order = [*range(500), *range(499, -1, -37), *random.Random(0).sample(range(500), 60)]
    with Reader(tmp_path) as reader:
        for row in order:
            assert reader.read(f"a.parquet::{row}") == rows[row]
        assert reader.head("a.parquet::7", 9) == (rows[7][:9], len(rows[7]))


def test_parquet_rows_that_are_none(tmp_path):
    make_parquet(tmp_path / "a.parquet", [b"a", None, b""])
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array([{"bytes": None, "path": "a.jpg"}], kind)})
    pq.write_table(table, tmp_path / "b.parquet")
    with Reader(tmp_path) as reader:
        assert reader.read("a.parquet::2") == b""
        assert "null" in reason(reader, "a.parquet::1")
        assert "null" in reason(reader, "b.parquet::0")
        assert reason(reader, "a.parquet::3") == "no such row: the Parquet file has 3"
        for name in ("-1", "01", "x", "", "1.0", "١", "1\n", "9" * 5000):
            assert "row" in reason(reader, f"a.parquet::{name}")


def test_which_column_of_a_parquet_file_holds_the_images(tmp_path):
    data, words = pa.array([b"x"]), pa.array(["x"])

    def read(**columns: pa.Array) -> bytes:
        pq.write_table(pa.table(columns), tmp_path / "a.parquet")
        with Reader(tmp_path) as reader:
            return reader.read("a.parquet::0")

    nested = pa.array([{"bytes": b"n", "path": "p"}])
    assert read(anything=data, label=words) == b"x"
    assert read(other=pa.array([b"o"]), image=data) == b"x"
    assert read(mask=pa.array([b"m"]), photo=nested) == b"n"
    assert read(label=words, large=data.cast(pa.large_binary())) == b"x"
    with pytest.raises(DataError, match=r"no column of bytes among \['label'\]"):
        read(label=words)
    assert not has_images(tmp_path / "a.parquet")
    for two in ({"image": data, "img": data}, {"a": data, "b": data}):
        with pytest.raises(DataError, match=f"several columns of bytes .{', '.join(two)}."):
            read(**two)
        assert has_images(tmp_path / "a.parquet")


def test_parquet_is_streamed(tmp_path, monkeypatch):
    rows = [random.Random(i).randbytes(20_000) for i in range(2000)]  # 40 MB in one row group
    make_parquet(tmp_path / "a.parquet", rows, group=2000)
    begun: list[tuple[int, ...]] = []
    original = pq.ParquetFile.iter_batches

    def spy(self, batch_size, **settings):
        begun.append((batch_size, *settings["row_groups"]))
        return original(self, batch_size, **settings)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", spy)
    before = pa.total_allocated_bytes()
    most = 0
    with Reader(tmp_path) as reader:
        for row in range(2000):
            near = max(row + (-3, 2, 0)[row % 3], 0)  # readers are a little ahead of one another
            if near < 2000:
                assert reader.read(f"a.parquet::{near}") == rows[near]
            most = max(most, pa.total_allocated_bytes() - before)
        assert len(begun) == 1
        assert begun[0][0] <= 64
        assert most < 16 << 20
        reader.read("a.parquet::0")
        assert len(begun) == 2


def damaged(tmp_path: Path, kind: str) -> tuple[bytes, dict[str, bytes]]:
    content = {f"{i}.jpg": random.Random(i).randbytes(200 + i) for i in range(4)}
    if kind == "parquet":
        rows = list(content.values())
        return make_parquet(tmp_path / "whole.parquet", rows, 2).read_bytes(), {str(i): r for i, r in enumerate(rows)}
    make = make_tar if kind == "tar" else make_zip
    return make(tmp_path / f"whole.{kind}", content).read_bytes(), content


@pytest.mark.parametrize("kind", ["tar", "zip", "parquet"])
def test_a_shard_cut_anywhere_gives_the_true_bytes_or_a_reason(tmp_path, kind):
    whole, content = damaged(tmp_path, kind)
    if kind == "tar":
        whole = whole[:4608]
    n_read = 0
    for cut in [*range(0, len(whole), max(len(whole) // 300, 1)), 511, 512, 513, len(whole) - 1]:
        (tmp_path / f"cut.{kind}").write_bytes(whole[:cut])
        with Reader(tmp_path) as reader:
            for name, data in content.items():
                try:
                    assert reader.read(f"cut.{kind}::{name}") == data
                    n_read += 1
                except DataError as error:
                    assert str(error)
                    assert "\n" not in str(error)
    assert (n_read > 0) == (kind == "tar")


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_shard_with_changed_bytes_gives_bytes_or_a_reason(tmp_path, kind):
    whole, content = damaged(tmp_path, kind)
    rng = random.Random(1)
    for _ in range(300):
        data = bytearray(whole[:4608])
        for _ in range(rng.choice((1, 3, 30))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        (tmp_path / f"bad.{kind}").write_bytes(data)
        with Reader(tmp_path) as reader:
            for name, true in content.items():
                try:
                    got = reader.read(f"bad.{kind}::{name}")
                except DataError as error:
                    assert "\n" not in str(error)
                else:
                    assert kind == "tar" or got == true, "a zip has checksums"


def test_a_tar_says_where_it_was_cut(tmp_path):
    whole, content = damaged(tmp_path, "tar")
    (tmp_path / "a.tar").write_bytes(whole[: 512 + 512 + 512 + 100])
    with Reader(tmp_path) as reader:
        assert reader.read("a.tar::0.jpg") == content["0.jpg"]
        assert "cut short" in reason(reader, "a.tar::1.jpg")
        lost = "damaged or cut short: members after the break are lost"
        assert reason(reader, "a.tar::2.jpg") == f"the shard has no such member ({lost})"
        assert reason(reader, "a.tar") == lost
    assert members(tmp_path / "a.tar").lost == lost
    header = bytearray(whole)
    header[1024] ^= 0xFF  # the second header: tarfile takes it for the end
    (tmp_path / "b.tar").write_bytes(header)
    assert list(members(tmp_path / "b.tar").names) == ["0.jpg"]
    assert members(tmp_path / "b.tar").lost == lost


def test_a_tar_that_another_one_follows_is_not_whole(tmp_path):
    """`cat one.tar two.tar`: tar and tarfile end at the first end mark, as if there were no more."""
    one, two = (make_tar(tmp_path / f"{k}.tar", {f"{k}.jpg": b"x"}).read_bytes() for k in (1, 2))
    (tmp_path / "cat.tar").write_bytes(one + two)
    (tmp_path / "padded.tar").write_bytes(one + bytes(3 << 20))
    (tmp_path / "late.tar").write_bytes(one + bytes(3 << 20) + b"x")
    assert members(tmp_path / "padded.tar").lost == ""
    for name in ("cat.tar", "late.tar"):
        assert list(members(tmp_path / name).names) == ["1.jpg"]
        assert "more follows the end of the tar" in members(tmp_path / name).lost
    with Reader(tmp_path) as reader:
        assert reader.read("cat.tar::1.jpg") == b"x"
        assert "more follows" in reason(reader, "cat.tar::2.jpg")


def test_a_shard_alone_is_no_image_and_says_what_is_wrong_with_it(tmp_path):
    make_tar(tmp_path / "a.tar", CONTENT)
    make_zip(tmp_path / "cut.zip", CONTENT)
    (tmp_path / "cut.zip").write_bytes((tmp_path / "cut.zip").read_bytes()[:-30])
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    expected = {
        "a.tar": r"^a shard; name its members as NAME.tar::member$",
        "cut.zip": r"^the shard is damaged \(",
        "cut.parquet": r"^the shard is damaged \(",
        "absent.tar": "^No such file or directory$",
    }
    with Reader(tmp_path) as reader:
        for path, why in expected.items():
            for ask in (reader.read, reader.stamp, lambda path: reader.head(path, 4)):
                with pytest.raises(DataError, match=why):
                    ask(path)
    for look in (members, has_images):
        with pytest.raises(DataError, match=rf"^{tmp_path}/cut.parquet: the shard is damaged"):
            look(tmp_path / "cut.parquet")


def test_a_member_of_negative_size_does_not_loop(tmp_path):
    about = tarfile.TarInfo("a.jpg")
    block = bytearray(about.tobuf())
    block[124:136] = b"\xff" * 10 + (2**16 - 512).to_bytes(2, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    (tmp_path / "a.tar").write_bytes(bytes(block) + bytes(10240))
    thread = threading.Thread(target=lambda: reason(Reader(tmp_path), "a.tar::b.jpg"), daemon=True)
    thread.start()
    thread.join(timeout=10)
    assert not thread.is_alive()


def test_threads_get_the_true_bytes(tmp_path):
    content = {f"{i:03}.jpg": random.Random(i).randbytes(3000 + i) for i in range(60)}
    true: dict[str, bytes] = {}
    for i in range(5):
        make_tar(tmp_path / f"{i}.tar", content)
        make_zip(tmp_path / f"{i}.zip", content)
        make_parquet(tmp_path / f"{i}.parquet", list(content.values()), group=25)
        true |= {f"{i}.{kind}::{name}": data for kind in ("tar", "zip") for name, data in content.items()}
        true |= {f"{i}.parquet::{row}": data for row, data in enumerate(content.values())}
    order = list(true)
    random.Random(0).shuffle(order)  # 15 shards of which 8 stay open: shards come and go under their readers
    reader = Reader(tmp_path)
    n_open = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else None
    with ThreadPoolExecutor(8) as pool:
        for path, data in zip(order, pool.map(reader.read, order), strict=True):
            assert data == true[path]
    assert pool_closing(reader, order[:50]) == [true[path] for path in order[:50]]
    reader.close()
    if n_open is not None:
        assert len(os.listdir("/proc/self/fd")) <= n_open
    assert reader.read(order[0]) == true[order[0]]  # and opens again
    reader.close()


def pool_closing(reader: Reader, order: list[str]) -> list[bytes]:
    """Read while somebody closes: what is being read closes after it."""
    with ThreadPoolExecutor(4) as pool:
        closing = [pool.submit(reader.close) for _ in order]
        data = list(pool.map(reader.read, order))
        for one in closing:
            one.result()
    return data


def test_a_shard_that_is_repaired_is_read(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"nothing")
    with Reader(tmp_path) as reader:
        assert "damaged" in reason(reader, "a.zip::x.jpg")
        make_zip(tmp_path / "a.zip", {"x.jpg": b"x"})
        assert reader.read("a.zip::x.jpg") == b"x"


@pytest.mark.parametrize("kind", ["tar", "zip", "parquet"])
@pytest.mark.parametrize("in_place", [True, False])
def test_a_shard_that_is_replaced_while_it_is_open_is_read_as_it_is_now(tmp_path, kind, in_place):
    """Of one size and one mtime_ns, and with the members at other places."""
    content = {f"{i}.jpg": random.Random(i).randbytes(1000) for i in range(4)}
    other = {name: content[f"{3 - i}.jpg"] for i, name in enumerate(content)}

    def make(file: Path, content: dict[str, bytes]) -> Path:
        if kind == "parquet":
            return make_parquet(file, list(content.values()))
        return make_tar(file, content) if kind == "tar" else make_zip(file, content, zipfile.ZIP_STORED)

    file, new = make(tmp_path / f"a.{kind}", content), make(tmp_path / f"new.{kind}", other)
    for one in (file, new):
        os.utime(one, ns=(10**18, 10**18))
    assert file.stat().st_size == new.stat().st_size
    with Reader(tmp_path) as reader:
        first = "0" if kind == "parquet" else "0.jpg"
        assert reader.read(f"{file.name}::{first}") == content["0.jpg"]
        stamp, kept_open = reader.stamp(f"{file.name}::{first}"), len(os.listdir("/proc/self/fd"))
        if in_place:
            time.sleep(0.02)  # the clock of a file system ticks some hundred times a second
            file.write_bytes(new.read_bytes())
            os.utime(file, ns=(10**18, 10**18))
        else:
            os.replace(new, file)
        assert reader.stamp(f"{file.name}::{first}") != stamp
        for row, (name, data) in enumerate(other.items()):
            assert reader.read(f"{file.name}::{row if kind == 'parquet' else name}") == data
        assert len(os.listdir("/proc/self/fd")) == kept_open, "the old file stays open"


def test_a_shard_that_changes_within_a_read_is_read_again_or_refused(tmp_path, monkeypatch):
    make_tar(tmp_path / "a.tar", {"x.jpg": b"old"})
    original, writes = shards.Shard.read, 1

    def slow(self, name, limit):
        nonlocal writes
        found = original(self, name, limit)
        if writes:
            writes -= 1
            time.sleep(0.02)
            make_tar(tmp_path / "a.tar", {"x.jpg": b"new"})
        return found

    monkeypatch.setattr(shards.Shard, "read", slow)
    with Reader(tmp_path) as reader:
        assert reader.read("a.tar::x.jpg") == b"new"
        writes = 1000
        assert reason(reader, "a.tar::x.jpg") == "the shard changed while it was read"
