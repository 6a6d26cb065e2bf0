"""Labelled sets on other file systems: the manifest here and the images there, and both there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_tasks import write_images

from fdetect.bench.data.inputs import any_images, labels_or_real, root_of
from fdetect.bench.layouts import read_manifest
from fdetect.bench.steps import extract
from fdetect.errors import DataError
from fdetect.files import write_table

fsspec = pytest.importorskip("fsspec", reason="the extra 'remote' is not installed")


@pytest.fixture
def labelled(tmp_path) -> tuple[Path, str]:
    """A folder of four images with a manifest, and its address in memory."""
    folder, files = tmp_path / "set", fsspec.filesystem("memory")
    write_images(folder, 4)
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    lines = [f"{name},{k % 2},{'gen' if k % 2 else ''}" for k, name in enumerate(names)]
    (folder / "manifest.csv").write_text("\n".join(["path,label,generator", *lines]))
    for name in (*names, "manifest.csv"):
        files.pipe_file(f"/labelled/{tmp_path.name}/{name}", (folder / name).read_bytes())
    return folder, f"memory://labelled/{tmp_path.name}"


def test_a_manifest_may_lie_here_or_there(labelled, tmp_path):
    folder, address = labelled
    here = read_manifest(folder)
    manifest = folder / "manifest.csv"
    full = tmp_path / "full.csv"
    full.write_text(manifest.read_text().replace("\n", f"\n{address}/"))
    for path, root in ((address, None), (f"{address}/manifest.csv", None), (manifest, address), (full, address)):
        for there in (read_manifest(path, root=root), any_images(path, root=root)):
            assert there.drop_columns("path").equals(here.drop_columns("path"))
            assert there.column("path").to_pylist() == here.column("path").to_pylist()
            assert root_of(there) == address
            assert there.schema.metadata[b"fdetect.layout"] == b"manifest"
    table = extract(read_manifest(address), features="radial_spectrum", crop=64, workers=0)
    assert (table.failures, table.ids) == ((), extract(here, features="radial_spectrum", crop=64, workers=0).ids)


def test_a_parquet_manifest_with_members(labelled):
    folder, address = labelled
    write_table(read_manifest(folder), folder / "list.parquet")
    fsspec.filesystem("memory").pipe_file(f"{address}/list.parquet", (folder / "list.parquet").read_bytes())
    assert read_manifest(f"{address}/list.parquet").num_rows == any_images(f"{address}/list.parquet").num_rows == 4


def test_what_is_wrong_names_the_address(labelled):
    _, address = labelled
    files = fsspec.filesystem("memory")
    files.pipe_file(f"{address}/bad.csv", b"path\na.jpg")
    files.pipe_file(f"{address}/d/a.jpg", b"x")
    for path, words in (
        ("bad.csv", f"{address}/bad.csv: no column 'label'"),
        ("none.csv", "No such file or directory"),
        ("d", f"{address}/d: holds no manifest; point at a manifest"),
    ):
        with pytest.raises(DataError) as caught:
            read_manifest(f"{address}/{path}")
        assert words in str(caught.value)
    for path in ("none.csv", "none", "none.parquet"):
        with pytest.raises(DataError, match=f"{address}/{path}: No such file or directory"):
            any_images(f"{address}/{path}")
    assert any_images(f"{address}/*/*.jpg").column("path").to_pylist() == ["d/a.jpg"]
    assert labels_or_real(any_images(f"{address}/d"), None).tolist() == [0]


def test_no_credentials_are_written_with_a_table(labelled):
    folder, _ = labelled
    table = extract(read_manifest(folder), features="radial_spectrum", crop=64, workers=0)
    told = table.manifest.replace_schema_metadata({"fdetect.root": "https://host/set?token=secret"})
    assert replace(table, manifest=told).to_arrow().schema.metadata[b"fdetect.root"] == b"https://host/set?***"
