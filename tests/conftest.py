"""Shared by all tests: where the real images are, a private store, and a small labelled set of photographs."""

from __future__ import annotations

import csv
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fdetect.engine import Store
from fdetect.rigid import detector

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side; threads inside them only wait for each other


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of rows that the tests of one file share."""
    return Store(tmp_path_factory.mktemp("store"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --long."""
    parser.addoption("--long", action="store_true", help="Fuzz with 20,000 mutants instead of 500 (minutes).")


@pytest.fixture(autouse=True)
def _no_plug_in_stays() -> Iterator[None]:
    """Take detectors that a test plugged in out of the registry: others run all that it holds."""
    before = dict(detector._entries)
    yield
    for name in set(detector._entries) - set(before):
        del detector._entries[name]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images, or a skip."""
    if not (SHARED / "manifest.csv").exists():
        pytest.skip("the folder of real images (../shared/data) is not here")
    return SHARED


@pytest.fixture(autouse=True)
def _private_store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's cache, or finds weights there."""
    base = tmp_path_factory.getbasetemp()
    monkeypatch.setenv("FDETECT_CACHE", str(base / "store"))
    monkeypatch.setenv("HF_HUB_CACHE", str(base / "no-hub"))
    monkeypatch.setenv("FDETECT_WEIGHTS", str(base / "no-weights"))
    monkeypatch.delenv("FDETECT_BACKEND", raising=False)


@pytest.fixture(scope="session")
def tiny_dncnn(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """A DnCNN of three layers and four channels; None where the deep extra is not installed."""
    if importlib.util.find_spec("safetensors") is None:
        return None
    import numpy as np
    from safetensors.numpy import save_file

    rng, state = np.random.default_rng(0), {}
    for place, shape in ((0, (4, 1, 3, 3)), (2, (4, 4, 3, 3)), (4, (1, 4, 3, 3))):
        state[f"model.{place}.weight"] = rng.normal(0, 0.3, shape).astype(np.float32)
        state[f"model.{place}.bias"] = rng.normal(0, 0.05, shape[0]).astype(np.float32)
    path = tmp_path_factory.mktemp("dncnn") / "tiny.safetensors"
    save_file(state, path)
    return path


@pytest.fixture(autouse=True)
def _tiny_denoiser(tiny_dncnn: Path | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The map that needs weights finds small ones."""
    monkeypatch.delenv("FDETECT_DNCNN", raising=False)
    if tiny_dncnn:
        monkeypatch.setenv("FDETECT_DNCNN", str(tiny_dncnn))


@pytest.fixture(scope="session")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of 36 reals and 36 simulated fakes (two decoders) in 12 groups, from the built-in photographs."""
    from fdetect.bench.data.builtin import builtin_manifest

    base = tmp_path_factory.mktemp("small")
    table = builtin_manifest(base, networks=())
    root = table.schema.metadata[b"fdetect.root"].decode()
    taken: dict[tuple[str, str], int] = {}
    rows = []
    for row in table.to_pylist():
        key = (row["group"], row["generator"])
        limit = 3 if row["label"] == 0 else 2
        few_groups = len({group for group, _ in taken} | {row["group"]}) <= 12
        if row["generator"] in ("", "sim-nearest", "sim-transposed") and taken.get(key, 0) < limit and few_groups:
            taken[key] = taken.get(key, 0) + 1
            rows.append(row)
    manifest = Path(root) / "small.csv"
    with manifest.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return manifest


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder of eight small images that a test may spoil."""
    from tiny_tasks import write_images  # here: it loads NumPy, which reads OMP_NUM_THREADS then

    write_images(tmp_path / "own", 8)
    return tmp_path / "own"
