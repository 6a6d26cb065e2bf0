"""Images and shards behind addresses: the rows of the files on disk, by ranges, through failures, without secrets."""

from __future__ import annotations

import importlib.util
import io
import os
import pickle
import random
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash

from fdetect.addresses import absolute, below, common, is_address, join, masked, unsigned
from fdetect.bench.data.inputs import any_images, root_of
from fdetect.bench.steps import extract
from fdetect.engine import retries
from fdetect.engine.index import Index, settled
from fdetect.engine.listing import list_images
from fdetect.engine.reading import Seen, read_ahead
from fdetect.engine.sources import Reader
from fdetect.engine.store import Store
from fdetect.engine.work import content_id
from fdetect.errors import DataError

fsspec = pytest.importorskip("fsspec", reason="the extra 'remote' is not installed")
memory = importlib.import_module("fsspec.implementations.memory")


class Counted(memory.MemoryFileSystem):
    """Files in memory, with a count of the bytes that are asked for, an ETag, and failures that pass."""

    protocol = "counted"
    store: dict[str, object] = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    sent: Counter[str] = Counter()  # noqa: RUF012
    asked: Counter[str] = Counter()  # noqa: RUF012
    failing: dict[str, list[Exception]] = {}  # noqa: RUF012
    knows_time = knows_tag = knows_size = True
    time: object = None

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("counted://"))

    def info(self, path, **kwargs):
        found = super().info(path)
        self.asked[found["name"]] += 1
        if self.time is not None:
            found["mtime"] = self.time
        if self.knows_tag and found["type"] == "file":
            found["ETag"] = xxhash.xxh3_64_hexdigest(self.store[found["name"]].getvalue())
        return found if self.knows_size else {**found, "size": None}

    def modified(self, path):
        if not self.knows_time:
            raise NotImplementedError
        return super().modified(path)

    def cat_file(self, path, start=None, end=None, **kwargs):
        path = self._strip_protocol(path)
        if self.failing.get(path):
            raise self.failing[path].pop(0)
        data = super().cat_file(path, start, end)
        self.sent[path] += len(data)
        return data


@pytest.fixture
def counted(monkeypatch):
    fsspec.register_implementation("counted", Counted, clobber=True)
    fresh = {"store": {}, "pseudo_dirs": [""], "sent": Counter(), "asked": Counter(), "failing": {}}
    for name, value in fresh.items():
        monkeypatch.setattr(Counted, name, value)
    monkeypatch.setattr(retries, "_WAITS", (0.0, 0.0, 0.0))
    return fsspec.filesystem("counted")


@pytest.fixture(scope="module")
def tree(tmp_path_factory, shared_data) -> Path:
    """Real photographs as plain files, in a tar, a zip and a Parquet file, and what is no image."""
    root = tmp_path_factory.mktemp("tree")
    photos = sorted(path for path in (shared_data / "real").rglob("*") if path.suffix in (".jpg", ".png"))[:8]
    content = {f"{k} é{photo.suffix}": photo.read_bytes() for k, photo in enumerate(photos)}
    assert len(content) == 8
    for place, names in (("a/b", list(content)[:3]), ("a-b", list(content)[3:5]), (".git", list(content)[:1])):
        (root / place).mkdir(parents=True)
        for name in names:
            (root / place / name).write_bytes(content[name])
    for name in ("a/notes.txt", "a/.hidden.jpg", "a/plain"):
        (root / name).write_bytes(b"x")
    with tarfile.open(root / "s.tar", "w") as tar, zipfile.ZipFile(root / "s.zip", "w") as packed:
        for name, data in content.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
            packed.writestr(name, data)
    pq.write_table(pa.table({"image": list(content.values())}), root / "s.parquet", row_group_size=3)
    return root


@pytest.fixture(scope="module")
def address(tree) -> str:
    """The same tree in memory."""
    files = fsspec.filesystem("memory")
    for path in tree.rglob("*"):
        if path.is_file():
            files.pipe_file(f"/photos/set/{path.relative_to(tree)}", path.read_bytes())
    return "memory://photos/set"


def reason(reader: Reader, path: str) -> str:
    with pytest.raises(DataError) as caught:
        reader.read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- addresses ---------------------------------------------------------------------------------------------------


def test_addresses_as_text(tmp_path):
    assert is_address("s3://bucket/a")
    assert not any(is_address(one) for one in ("a/b", "C://x", "file:///a", Path("s3://bucket"), "a.tar::b://c"))
    assert absolute("S3://bucket/a//") == "s3://bucket/a"
    assert absolute(f"file://{tmp_path}/") == str(tmp_path)
    assert absolute("file:///a%20b") == absolute("file://localhost/a%20b") == "/a b"
    with pytest.raises(DataError, match="file://host/a: names another machine; a file of this one is file:///"):
        absolute("file://host/a")
    assert join("s3://bucket", "a b/c?.jpg") == "s3://bucket/a b/c?.jpg"
    assert join("https://host/d?sig=1", "a b/100%.jpg") == "https://host/d/a%20b/100%25.jpg?sig=1"
    assert below("https://host/d/a%20b/c?sig=1", "https://host/d?sig=1") == ("a b", "c")
    assert below("s3://bucket/ab", "s3://bucket/a") is None
    assert below("s3://bucket/a", "/bucket") is None
    assert common(["s3://bucket/a/b", "s3://bucket/a/c"]) == "s3://bucket/a"
    assert common(["s3://one/a", "s3://two/a"]) is None
    assert common(["s3://one/a", "/one/a"]) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ftp://me:secret@host/a.jpg", "ftp://***@host/a.jpg"),
        ("lost https://host/a.jpg?X-Sig=secret&b=2 at last", "lost https://host/a.jpg?*** at last"),
        ("abfs://box@account.net/a?.jpg", "abfs://box@account.net/a?.jpg"),
        ("a/b?c.jpg", "a/b?c.jpg"),
        ("https://TOKEN@host/a@b", "https://***@host/a@b"),
        ("s3://key:a/b+c@bucket/x@y", "s3://***@bucket/x@y"),
        ("s3a://key:1/b@bucket/x", "s3a://***@bucket/x"),
        ("http://host:80/a:b@c and s3://bucket/a:b@c", "http://host:80/a:b@c and s3://bucket/a:b@c"),
        ("https://host/it's?sig=ab'cd", "https://host/it's?***"),
        ("https://host/a b?sig=a)b: lost", "https://host/a b?***: lost"),
        ("abfs://c@acct/p?sig=SECRET", "abfs://c@acct/p?***"),
    ],
)
def test_credentials_are_masked(text, shown):
    assert masked(text) == shown


def test_a_set_is_known_by_its_query_and_not_by_its_signature(tmp_path):
    paths, host = pa.array(["a.jpg"]), "host/img"
    entries = Index(Store(tmp_path), f"https://{host}?set=real&X-Amz-Signature=1&token=1", paths)
    with Reader(tmp_path) as reader:
        (tmp_path / "a.jpg").write_bytes(b"x")
        stamp = reader.stamp("a.jpg")
    entries.add("a.jpg", stamp, content_id(b"x"))
    entries.flush()
    for root, known in (
        (f"https://{host}?set=real&X-Amz-Signature=2", True),
        (f"https://TOKEN@{host}?set=real&sig=3&Expires=4&se=5", True),
        (f"https://{host}?set=fake&X-Amz-Signature=1&token=1", False),
        (f"https://{host}", False),
    ):
        assert (Index(Store(tmp_path), root, paths).known(0, stamp) is not None) == known, root
    assert unsigned("ftp://me:one@host/a") == unsigned("ftp://me:two@host/a") != unsigned("ftp://you:one@host/a")
    assert unsigned("/a?sig=1") == "/a?sig=1"


@pytest.mark.parametrize("path", ["s3://key:secret@bucket/x.jpg", "https://host/x.jpg?token=secret"])
def test_a_package_that_is_missing_is_named(path):
    package = "s3fs" if path.startswith("s3") else "aiohttp"
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(DataError, match=f"reading it needs the package {package}; pip install {package}$") as caught:
        list_images([path])
    assert "secret" not in str(caught.value)
    with pytest.raises(DataError, match="cannot be reached .*check the address"):
        Reader("nosuchthing://a")


def test_file_systems_are_given_no_option_that_they_do_not_know():
    class Strict(memory.MemoryFileSystem):
        def __init__(self, **options):
            assert not options  # sftp hands them to paramiko
            super().__init__()

    fsspec.register_implementation("strict", Strict, clobber=True)
    files = fsspec.filesystem("strict")
    files.dircache["/old"] = []
    assert reason(Reader("strict://none"), "a.jpg") == "No such file or directory"
    files.dircache["/new"] = []
    assert not files.dircache


# --- the same rows -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        [""], ["a"], ["**/*.*"], ["*/b"], ["s.*"], ["a/b/0 é.jpg", "s.zip"], ["s.tar::1 é.jpg", "a-b"],
        ["absent.jpg", "a"], ["absent.tar::x.jpg", "s.tar::absent.jpg", "a-b"],
    ],
)  # fmt: skip
def test_a_tree_is_listed_as_on_disk(tree, address, names):
    here = list_images([f"{tree}/{name}" for name in names])
    there = list_images([f"{address}/{name}" for name in names])
    assert there.paths.to_pylist() == here.paths.to_pylist()
    assert there.remarks == here.remarks.replace(str(tree), address)
    assert str(there.root) == str(here.root).replace(str(tree), address)
    assert list_images([f"file://{tree}/{name}" for name in names]).root == here.root


def test_inputs_that_give_nothing_are_named(address, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    for inputs, words in (
        ([f"{address}/absent.jpg"], f"{address}/absent.jpg: No such file or directory; check the spelling"),
        ([f"{address}/*.webp"], "matches no images"),
        ([f"{address}/none/*.jpg"], "none: the folder cannot be listed (No such file or directory)"),
        ([f"{address}/a", tmp_path / "a.jpg"], "the inputs have no folder in common"),
    ):
        with pytest.raises(DataError) as caught:
            list_images(inputs)
        assert words in str(caught.value)


def test_rows_are_those_of_the_files_on_disk(tree, address):
    here, there = (extract(where, features="radial_spectrum", crop=64, workers=0) for where in (str(tree), address))
    assert len(here.ids) == 5 + 3 * 8
    assert (there.ids, there.paths, there.failures) == (here.ids, here.paths, ())
    assert np.array_equal(there.values, here.values)
    manifest = any_images(address)
    assert root_of(manifest) == address
    assert f"29 images without labels, by their paths below {address}; " in manifest.schema.metadata[
        b"fdetect.detected"].decode()  # fmt: skip


def test_local_files_need_no_fsspec(tree):
    code = (f"import sys; from fdetect.bench.data.inputs import any_images; from fdetect.engine.sources import Reader\n"
            f"manifest = any_images({str(tree)!r}); Reader({str(tree)!r}).read('s.zip::1 é.jpg')\n"
            f"print([name for name in ('fsspec', 'fdetect.engine.remote') if name in sys.modules])")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_many_threads_and_a_pickled_reader_read_the_same(tree, address):
    paths = list_images([address]).paths.to_pylist() * 3
    random.Random(0).shuffle(paths)
    with Reader(tree) as here, pickle.loads(pickle.dumps(Reader(address))) as there, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(there.read, paths)) == [here.read(path) for path in paths]
        assert list(pool.map(lambda path: there.head(path, 9), paths)) == [here.head(path, 9) for path in paths]
        stamps = there.stamps([*paths, "absent.jpg", "s.tar"])
        of_tar = {stamp for path, stamp in zip(paths, stamps[:-2], strict=True) if path.startswith("s.tar")}
        assert len(of_tar) == 1
        assert [str(one) for one in stamps[-2:]] == [
            "No such file or directory", "a shard; name its members as NAME.tar::member"]  # fmt: skip


# --- by ranges ---------------------------------------------------------------------------------------------------


def test_a_member_is_read_without_the_rest_of_its_shard(counted):
    data = {f"{k}.jpg": random.Random(k).randbytes(2 << 20) for k in range(12)}
    tar, packed, table = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive, zipfile.ZipFile(packed, "w") as other:
        for name, content in data.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
            other.writestr(name, content)
    pq.write_table(pa.table({"image": list(data.values())}), table, row_group_size=1)
    for kind, file, member in (("tar", tar, "7.jpg"), ("zip", packed, "7.jpg"), ("parquet", table, "7")):
        counted.pipe_file(f"/box/s.{kind}", file.getvalue())
        with Reader("counted://box") as reader:
            assert reader.read(f"s.{kind}::{member}") == data["7.jpg"]
        whole, part = len(file.getvalue()), Counted.sent[f"/box/s.{kind}"]
        assert 2 << 20 < part < 0.25 * whole, f"{kind}: {part} of {whole} bytes"


def test_small_members_come_many_at_a_time(counted, monkeypatch):
    tar, requests = io.BytesIO(), []
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for k in range(300):
            about = tarfile.TarInfo(f"{k}.jpg")
            about.size = 1000
            archive.addfile(about, io.BytesIO(bytes([k % 256]) * 1000))
    counted.pipe_file("/box/s.tar", tar.getvalue())
    cat = Counted.cat_file
    monkeypatch.setattr(Counted, "cat_file", lambda *given, **named: requests.append(named) or cat(*given, **named))
    with Reader("counted://box") as reader:
        assert all(reader.read(f"s.tar::{k}.jpg") == bytes([k % 256]) * 1000 for k in range(300))
    assert len(requests) < 10


def read_in_order(paths: list[str], store: Path) -> list[Seen]:
    with Reader("counted://box") as reader:
        index = Index(Store(store), reader.root, column := pa.array(paths))
        return list(read_ahead(reader, column, index, lambda ids: np.zeros(len(ids), bool), {}))


def test_what_a_file_is_now_is_asked_once_a_block_of_a_shard_and_twice_a_file(counted, tmp_path):
    data, tar = {f"{k}.jpg": bytes([k % 256]) * 1000 for k in range(300)}, io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for name, content in data.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
            counted.pipe_file(f"/box/{name}", content)
    counted.pipe_file("/box/s.tar", tar.getvalue())
    Counted.asked.clear()
    for prefix, most in (("s.tar::", 12), ("", 600)):
        seen = read_in_order([prefix + name for name in data], tmp_path)
        assert [one.id for one in seen] == [content_id(content) for content in data.values()]
        assert all(one.stamp for one in seen)  # all may be remembered
        assert Counted.asked.total() <= most
        Counted.asked.clear()


@pytest.mark.parametrize("name", ["a.jpg", "s.tar::a.jpg"])
@pytest.mark.parametrize("fill", [b"y", b"longer"])
def test_a_file_that_changes_while_it_is_read_is_not_remembered(counted, monkeypatch, tmp_path, name, fill):
    def write(fill: bytes) -> bytes:
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as archive:
            about = tarfile.TarInfo("a.jpg")
            about.size = len(data := fill * 200_000)
            archive.addfile(about, io.BytesIO(data))
        counted.pipe_file("/box/a.jpg", data)
        counted.pipe_file("/box/s.tar", tar.getvalue())
        return data

    ids, cat, left = [content_id(write(b"x"))], Counted.cat_file, [fill]

    def change_then_cat(*given, **named):
        """The first is answered as it was, and the next of what is there since."""
        try:
            return cat(*given, **named)
        finally:
            if left:
                ids.append(content_id(write(left.pop())))

    monkeypatch.setattr(Counted, "cat_file", change_then_cat)
    (seen,) = read_in_order([name], tmp_path)
    assert not left
    assert (seen.id, seen.stamp) == (ids["::" in name], None)  # a shard is read again, a file may have been before


def test_a_stamp_that_is_out_of_date_is_found_out(counted):
    with Reader("counted://box") as reader:
        for fill in (b"x" * 500, b"y" * 600):
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w") as archive:
                archive.writestr("a.jpg", fill)
                archive.writestr("b.jpg", fill)
            counted.pipe_file("/box/s.zip", packed.getvalue())
            counted.pipe_file("/box/a.jpg", fill)
            if fill[:1] == b"x":
                stamps = {path: reader.stamp(path) for path in ("a.jpg", "s.zip::a.jpg")}
                assert reader.read_as("s.zip::a.jpg", stamps["s.zip::a.jpg"]) == (fill, True)
        # the shard is here already, and lent as it was: what it held under that stamp
        assert reader.read_as("s.zip::b.jpg", stamps["s.zip::a.jpg"]) == (b"x" * 500, True)
        assert reader.read_as("a.jpg", stamps["a.jpg"]) == (fill, False)
        assert reader.read("s.zip::a.jpg") == fill
        sent = Counted.sent["/box/s.zip"]
        assert reader.read_as("s.zip::b.jpg", stamps["s.zip::a.jpg"]) == (fill, False)
        assert Counted.sent["/box/s.zip"] == sent  # nor is it opened again for that


def test_a_shard_opened_before_it_was_settled_is_opened_again(counted, monkeypatch):
    """Within the seconds after it was written it may change and keep its stamp."""
    monkeypatch.setattr(Counted, "knows_tag", False)
    monkeypatch.setattr(Counted, "time", 1e9)
    with Reader("counted://box") as reader:
        for fill in (b"x", b"y"):
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w") as archive:
                archive.writestr("a.jpg", fill * 500)
            counted.pipe_file("/box/s.zip", packed.getvalue())
            if fill == b"x":
                assert reader.read("s.zip::a.jpg") == b"x" * 500
        assert reader.read_as("s.zip::a.jpg", reader.stamp("s.zip::a.jpg")) == (b"y" * 500, True)


def test_reasons_are_short_lines(counted):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("0.jpg", b"x" * 60_000)
    data = bytearray(packed.getvalue())
    data[26:28] = (50_000).to_bytes(2, "little")  # the length of the name, in the member's own header
    counted.pipe_file("/box/s.zip", bytes(data))
    pq.write_table(pa.table({f"{k}\n" * 9: [b"x"] for k in range(100)}), table := io.BytesIO())
    counted.pipe_file("/box/s.parquet", table.getvalue())
    with Reader("counted://box") as reader:
        for name, words in {"s.zip::0.jpg": "the shard is damaged (", "s.parquet::0": "several columns of"}.items():
            found = reason(reader, name)
            assert found.startswith(words)
            assert len(found) <= 200
            assert found.isprintable()


def test_a_shard_that_is_written_again_is_opened_anew(counted):
    def write(fill: bytes) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("a.jpg", fill * 500)
        counted.pipe_file("/box/s.zip", packed.getvalue())

    with Reader("counted://box") as reader:
        for fill in (b"x", b"y"):
            write(fill)
            assert reader.read("s.zip::a.jpg") == fill * 500


def test_a_file_of_unknown_size_is_read_whole(counted, monkeypatch):
    counted.pipe_file("/box/a.jpg", b"one")
    counted.pipe_file("/box/s.tar", b"one")
    monkeypatch.setattr(Counted, "knows_size", False)
    with Reader("counted://box") as reader:
        assert (reader.read("a.jpg"), reader.head("a.jpg", 2), reader.stamp("a.jpg").size) == (b"one", (b"on", 3), -1)
        assert reason(reader, "s.tar::x.jpg").startswith("the server does not say how large the shard is")


# --- stamps ------------------------------------------------------------------------------------------------------


def test_a_stamp_holds_what_changes_with_the_content(counted, monkeypatch):
    counted.pipe_file("/box/a.jpg", b"one")
    with Reader("counted://box") as reader:
        first = reader.stamp("a.jpg")
        tag = xxhash.xxh3_64_intdigest(xxhash.xxh3_64_hexdigest(b"one").encode())
        assert (first.size, first.mtime_ns, first.ctime_ns % (1 << 64)) == (3, 0, tag)
        counted.pipe_file("/box/a.jpg", b"two")
        assert reader.stamp("a.jpg").ctime_ns != first.ctime_ns
        monkeypatch.setattr(Counted, "knows_tag", False)
        second = reader.stamp("a.jpg")
        assert second.ctime_ns == 0
        assert abs(time.time_ns() - second.mtime_ns) < 60e9


@pytest.mark.parametrize(
    ("time", "ns"),
    [
        (1.5e9, 1_500_000_000 * 10**9), (1_500_000_000_000, 1_500_000_000 * 10**9),
        (1_500_000_000_000_000, 1_500_000_000 * 10**9), (1_500_000_000 * 10**9, 1_500_000_000 * 10**9),
        ("2017-07-14T02:40:00Z", 1_500_000_000 * 10**9), ("Fri, 14 Jul 2017 02:40:00 GMT", 1_500_000_000 * 10**9),
        (float("nan"), None), (float("inf"), None), (10**30, None), ("9999-01-01", None), ("soon", None),
    ],
)  # fmt: skip
def test_times_in_any_unit(counted, monkeypatch, time, ns):
    counted.pipe_file("/box/a.jpg", b"one")
    monkeypatch.setattr(Counted, "knows_tag", False)
    monkeypatch.setattr(Counted, "time", time)
    with Reader("counted://box") as reader:
        stamp = reader.stamp("a.jpg")
    assert settled(stamp) == (ns is not None)
    assert ns is None or stamp.mtime_ns == ns


def test_without_time_and_tag_a_file_is_never_settled(counted, monkeypatch):
    counted.pipe_file("/box/a.jpg", b"one")
    monkeypatch.setattr(Counted, "knows_time", False)
    with Reader("counted://box") as reader:
        assert settled(reader.stamp("a.jpg"))  # by its tag
        monkeypatch.setattr(Counted, "knows_tag", False)
        assert not settled(reader.stamp("a.jpg"))


def test_what_is_known_is_not_read_again(tree, counted, monkeypatch, tmp_path):
    for path in (tree / "a" / "b").iterdir():
        counted.pipe_file(f"/box/{path.name}", path.read_bytes())
    monkeypatch.setattr(Counted, "knows_time", False)
    tables, sent = [], []
    for knows in (True, True, False, False):
        monkeypatch.setattr(Counted, "knows_tag", knows)
        tables.append(extract("counted://box", features="radial_spectrum", crop=64, workers=0, store=str(tmp_path)))
        sent.append(Counted.sent.total())
    assert np.array_equal(tables[0].values, tables[1].values)
    assert sent == [sent[0], sent[0], 2 * sent[0], 3 * sent[0]]


# --- failures ----------------------------------------------------------------------------------------------------


class BusyError(Exception):
    status = 503


def test_what_passes_is_tried_again(counted):
    data = random.Random(0).randbytes(300_000)
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        about = tarfile.TarInfo("a.jpg")
        about.size = len(data)
        archive.addfile(about, io.BytesIO(data))
    counted.pipe_file("/box/a.jpg", data)
    counted.pipe_file("/box/s.tar", tar.getvalue())
    for errors in ([TimeoutError(), ConnectionResetError(104, "reset")], [BusyError(), OSError(5, "unknown")]):
        for path in ("a.jpg", "s.tar::a.jpg"):
            Counted.failing[f"/box/{path.partition('::')[0]}"] = list(errors)
            with Reader("counted://box") as reader:
                assert reader.read(path) == data


@pytest.mark.parametrize(
    ("error", "words", "tries"),
    [
        (TimeoutError(), "timed out (tried 4 times)", 4),
        (BusyError(), "the server answers 503 Service Unavailable (tried 4 times)", 4),
        (PermissionError("Forbidden"), "access is denied; give credentials", 1),
        (ValueError("no https://host/a?sig=secret or ftp://me:secret@host"), "no https://host/a?*** or ftp://***@", 1),
    ],
)
def test_what_does_not_pass_is_the_failure_of_its_image(counted, tree, tmp_path, error, words, tries):
    for path in (tree / "a" / "b").iterdir():
        counted.pipe_file(f"/box/{path.name}", path.read_bytes())
    name = sorted(path.name for path in (tree / "a" / "b").iterdir())[1]
    Counted.failing[f"/box/{name}"] = [error] * 9
    table = extract("counted://box", features="radial_spectrum", crop=64, workers=0, store=str(tmp_path))
    assert [failure.id for failure in table.failures] == [xxhash.xxh3_128_hexdigest(name.encode())]
    assert words in table.failures[0].reason
    assert "secret" not in table.failures[0].reason
    assert np.isfinite(table.values).all(axis=1).tolist() == [True, False, True]
    assert len(Counted.failing[f"/box/{name}"]) == 9 - tries


def test_a_shard_that_the_network_cuts_off_is_not_called_damaged(counted, tree):
    counted.pipe_file("/box/s.tar", (tree / "s.tar").read_bytes())
    Counted.failing["/box/s.tar"] = [ConnectionResetError(104, "reset")] * 99
    with Reader("counted://box") as reader:
        assert reason(reader, "s.tar::0 é.jpg") == "Connection reset by peer (tried 4 times)"
        Counted.failing.clear()
        assert len(reader.read("s.tar::0 é.jpg")) > 1000


# --- a web server ------------------------------------------------------------------------------------------------


class Ranges(SimpleHTTPRequestHandler):
    """Files below a folder, whole or in part; below /closed none, and below /busy none at the first two requests."""

    busy = 0

    def send_head(self):
        if self.path.startswith("/closed"):
            return self.send_error(403)
        if "%20" in self.path and Ranges.busy < 2:
            Ranges.busy += 1
            return self.send_error(503)
        if not (part := self.headers.get("Range")):
            return super().send_head()
        start, end = (int(one) for one in part.removeprefix("bytes=").split("-"))
        data = Path(self.translate_path(self.path)).read_bytes()[start : end + 1]
        self.send_response(206)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        return io.BytesIO(data)

    def log_message(self, *given):
        pass


@pytest.fixture
def server(tree, monkeypatch):
    pytest.importorskip("aiohttp", reason="fsspec reads HTTP through aiohttp, which is not installed")
    monkeypatch.setattr(retries, "_WAITS", (0.0, 0.0, 0.0))
    web = ThreadingHTTPServer(("127.0.0.1", 0), lambda *given: Ranges(*given, directory=os.fspath(tree)))
    threading.Thread(target=web.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{web.server_port}"
    web.shutdown()
    web.server_close()


def test_a_web_server(tree, server):
    here = list_images([tree])
    there = list_images([f"{server}/"])
    assert there.remarks == here.remarks.replace(str(tree), server)
    assert there.paths.to_pylist() == here.paths.to_pylist()
    with Reader(tree) as local, Reader(server) as remote:
        for path in here.paths.to_pylist():
            assert remote.read(path) == local.read(path)
        assert settled(remote.stamp("s.tar::0 é.jpg"))
        assert reason(remote, "absent.jpg") == "No such file or directory"
        assert reason(remote, "closed/a.jpg").startswith("access is denied")
    one = list_images([f"{server}/s.zip?token=secret"])
    assert (one.root, len(one.paths)) == (f"{server}?token=secret", 8)
    with Reader("http://me:secret@127.0.0.1:1") as gone:
        assert "secret" not in reason(gone, "a.jpg")
