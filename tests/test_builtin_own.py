"""The built-in benchmark's crops through shipped autoencoders: pixels, kept once made, repaired, told if absent."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import xxhash

from fdetect.bench.data import builtin
from fdetect.bench.data.builtin import DESCRIPTION, PHOTOGRAPHS, SIDE, builtin_manifest
from fdetect.bench.data.builtin_own import MARGIN, NETWORKS, generators_not_run, window_around
from fdetect.bench.data.simulate import DECODERS
from fdetect.images import decode
from fdetect.nets import shipped
from fdetect.nets.shipped import SHIPPED
from fdetect.types import FAKE

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="the extra 'deep' is not installed")

TWO = NETWORKS[:2]
FEW = tuple(each for each in PHOTOGRAPHS if each.name in ("chelsea", "coins"))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only two small photographs, one of them grey."""
    monkeypatch.setattr(builtin, "PHOTOGRAPHS", FEW)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builtin, "PHOTOGRAPHS", FEW)
        return builtin_manifest(tmp_path_factory.mktemp("builtin"), networks=TWO)


@pytest.fixture
def whole(made: pa.Table, few: None, tmp_path: Path) -> tuple[Path, dict[str, bytes]]:
    """A copy of the complete folder and what is in it, to be damaged."""
    shutil.copytree(root_of(made), tmp_path / root_of(made).name)
    return tmp_path / root_of(made).name, snapshot(root_of(made))


def root_of(table: pa.Table) -> Path:
    return Path(table.schema.metadata[b"fdetect.root"].decode())


def snapshot(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def pixels_of(name: str) -> np.ndarray:
    path = next(each for each in PHOTOGRAPHS if each.name == name).path
    assert path
    return decode(path.read_bytes()).pixels


# --- windows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [(0, 0), (7, 7), (3, 6)])
@pytest.mark.parametrize("corner", [(70, 90), (0, 0), (140, 291)])
def test_a_window_shows_the_photograph_around_its_crop(phase: tuple[int, int], corner: tuple[int, int]) -> None:
    pixels = pixels_of("chelsea")  # 300 x 451: the last corner is the lowest and rightmost
    window = window_around(pixels, *corner, SIDE, phase)
    assert window.pixels.shape == (232, 232, 3)
    np.testing.assert_array_equal(window.crop, pixels[corner[0] :, corner[1] :][:SIDE, :SIDE])
    for axis, shift in ((0, window.top), (1, window.left)):
        assert shift == MARGIN + phase[axis]
        assert 232 - shift - SIDE > MARGIN
    # reflected about the outermost pixels, which are not repeated: row -1 is row 1, row H is row H - 2
    rows, columns = (
        (length - 1) - abs((length - 1) - abs(np.arange(232) + start - shift))
        for length, start, shift in zip(pixels.shape, corner, (window.top, window.left), strict=False)
    )
    np.testing.assert_array_equal(window.pixels, pixels[rows][:, columns])


def test_the_phase_of_the_latent_s_grid_varies() -> None:
    windows = [w for name in ("coffee", "china") for w in builtin._windows(pixels_of(name), name, 0)]
    assert len(windows) >= 12
    assert len({(window.top % 8, window.left % 8) for window in windows}) > len(windows) / 2


@needs_torch
@pytest.mark.parametrize("name", NETWORKS)
def test_the_border_of_a_window_is_not_seen_in_the_crop(name: str) -> None:
    """A window of twice the margin gives the same crop but for one grey level here and there."""
    from fdetect.nets.laundering import Laundering

    pixels, network = pixels_of("coffee"), Laundering.of(name)
    window = window_around(pixels, 120, 200, SIDE, (3, 5))
    again = window.cut(network(window.pixels)).astype(int)
    top, left = 120 - window.top - MARGIN, 200 - window.left - MARGIN
    larger = network(np.ascontiguousarray(pixels[top:, left:][: 232 + 2 * MARGIN, : 232 + 2 * MARGIN]))
    expected = larger[window.top + MARGIN :, window.left + MARGIN :][:SIDE, :SIDE].astype(int)
    assert np.abs(again - expected).max() <= 1
    assert np.mean(again != expected) < 0.004


# --- rows ------------------------------------------------------------------------------------------------------------


@needs_torch
def test_networks_add_the_crops_of_every_real(made: pa.Table, few: None, tmp_path: Path) -> None:
    without = builtin_manifest(tmp_path, networks=())
    rows = made.to_pylist()
    assert rows[: without.num_rows] == without.to_pylist()
    reals = [row for row in rows if not row["label"]]
    added = rows[without.num_rows :]
    assert [row["path"] for row in added] == [row["path"].replace("real/", f"{n}/") for n in TWO for row in reals]
    for row, real in zip(added, reals * len(TWO), strict=True):
        assert (row["label"], row["generator"], row["family"]) == (FAKE, row["path"].split("/")[0], "autoencoder")
        assert (row["group"], row["category"], row["real_source"]) == (real["group"], real["category"], "")
    assert generators_not_run(made) == []
    kept = snapshot(root_of(made))
    own = {path for path in kept if path.startswith("own-")} | {"manifest.csv"}
    assert {path: kept[path] for path in kept.keys() - own} == {
        path: data for path, data in snapshot(root_of(without)).items() if path != "manifest.csv"
    }
    assert len({len(kept[row["path"]]) for row in rows}) == 1  # so that bytes do not tell the classes apart


@needs_torch
def test_a_row_is_the_round_trip_of_its_real(made: pa.Table) -> None:
    import torch

    from fdetect.nets.autoencoders import load_autoencoder

    network = load_autoencoder(TWO[0], device="cpu")
    windows = list(builtin._windows(pixels_of("coins"), "coins", 0))
    for number, window in enumerate(windows):
        found = decode((root_of(made) / f"{TWO[0]}/coins-{number:02d}.png").read_bytes()).pixels
        shown = torch.from_numpy(window.pixels).permute(2, 0, 1)[None].float() / 255
        again = (network.reconstruct(shown)[0].permute(1, 2, 0).numpy() * 255)[window.top :, window.left :]
        assert np.abs(found - again[:SIDE, :SIDE]).max() < 0.51  # sums in another order, on more threads
        real = decode((root_of(made) / f"real/coins-{number:02d}.png").read_bytes()).pixels.astype(float)
        assert 18 < 10 * np.log10(255**2 / np.mean((real - found) ** 2)) < 45


@needs_torch
def test_the_list_holds_the_hash_of_every_file(made: pa.Table) -> None:
    for name in TWO:
        first, *lines = (root_of(made) / f"{name}.xxh3").read_text().splitlines()
        assert first.startswith(f"# {shipped.shipped_folder(name).name and sha256_of(name)}")
        paths = [path for path in made["path"].to_pylist() if path.startswith(f"{name}/")]
        digests = [xxhash.xxh3_128_hexdigest((root_of(made) / path).read_bytes()) for path in paths]
        assert lines == [f"{digest}  {path}" for digest, path in zip(digests, paths, strict=True)]


def sha256_of(name: str) -> str:
    card = json.loads((shipped.shipped_folder(name) / "card.json").read_text())
    return str(card["model_sha256"])


@needs_torch
def test_what_is_complete_is_kept_and_loads_no_torch(whole: tuple[Path, dict[str, bytes]]) -> None:
    root, files = whole
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    code = (
        "import sys\nfrom pathlib import Path\nfrom fdetect.bench.data import builtin\n"
        "builtin.PHOTOGRAPHS = tuple(p for p in builtin.PHOTOGRAPHS if p.name in ('chelsea', 'coins'))\n"
        f"table = builtin.builtin_manifest(Path(sys.argv[1]), networks={TWO})\n"
        "print(table.num_rows, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(root.parent)], capture_output=True, text=True, check=True)
    rows = sum(path.endswith(".png") for path in files)
    assert done.stdout.split() == [str(rows), "False"]
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def delete(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def swap_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@needs_torch
@pytest.mark.parametrize("damage, file", [
    (delete, f"{TWO[0]}/coins-01.png"), (swap_a_bit, f"{TWO[0]}/chelsea-00.png"), (truncate, f"{TWO[0]}.xxh3"),
    (swap_a_bit, f"{TWO[0]}.xxh3"), (shutil.rmtree, TWO[0]),
], ids=lambda value: getattr(value, "__name__", value))  # fmt: skip
def test_what_is_damaged_is_made_again(whole: tuple[Path, dict[str, bytes]], damage: object, file: str) -> None:
    root, files = whole
    damage(root / file)
    untouched = {path: (root / path).stat().st_mtime_ns for path in files if TWO[1] in path}
    assert len(untouched) == 5
    steps: list[tuple[str, int, int]] = []
    builtin_manifest(root.parent, networks=TWO, progress=lambda *step: steps.append(step))
    assert snapshot(root) == files
    assert {path: (root / path).stat().st_mtime_ns for path in untouched} == untouched
    crops = sum(path.startswith(f"{TWO[0]}/") for path in files)
    assert steps == [(TWO[0], done, crops) for done in range(1, crops + 1)]


@needs_torch
def test_other_weights_other_photographs_and_another_seed_are_other_rows(
    whole: tuple[Path, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root, files = whole
    shutil.copytree(shipped.SHIPPED_HOME, tmp_path / "shipped")
    shutil.rmtree(tmp_path / "shipped" / TWO[0])
    shutil.copytree(shipped.SHIPPED_HOME / TWO[1], tmp_path / "shipped" / TWO[0])
    monkeypatch.setattr(shipped, "SHIPPED_HOME", tmp_path / "shipped")
    builtin_manifest(root.parent, networks=TWO[:1])
    now = snapshot(root)
    for path in (path for path in files if path.startswith(f"{TWO[0]}/")):
        assert now[path] != files[path]
        assert now[path] == files[path.replace(TWO[0], TWO[1])]  # the weights alone decide
    monkeypatch.undo()
    monkeypatch.setattr(builtin, "PHOTOGRAPHS", FEW[:1])
    fewer = builtin_manifest(root.parent, networks=TWO[:1])
    assert set(fewer["group"].to_pylist()) == {"chelsea"}
    assert (root / f"{TWO[0]}.xxh3").read_bytes() != files[f"{TWO[0]}.xxh3"]


# --- what cannot run -------------------------------------------------------------------------------------------------


def test_without_torch_the_networks_are_absent_and_told(
    few: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    table = builtin_manifest(tmp_path)
    assert set(table["generator"].to_pylist()) == {"", *DECODERS}
    told = generators_not_run(table)
    assert [row.detector for row in told] == [f"generator {name}" for name in NETWORKS]
    assert {row.reason for row in told} == {"torch is not installed"}
    assert {row.fix for row in told} == {"pip install 'fdetect[deep]'"}


@needs_torch
def test_damaged_weights_are_told_and_the_others_are_there(
    few: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(shipped.SHIPPED_HOME, tmp_path / "shipped")
    swap_a_bit(tmp_path / "shipped" / TWO[0] / "model.safetensors")
    monkeypatch.setattr(shipped, "SHIPPED_HOME", tmp_path / "shipped")
    table = builtin_manifest(tmp_path, networks=TWO)
    assert set(table["generator"].to_pylist()) == {"", *DECODERS, TWO[1]}
    (told,) = generators_not_run(table)
    assert told.detector == f"generator {TWO[0]}"
    assert told.reason.startswith(f"model.safetensors in the package's {TWO[0]} has another SHA-256")
    assert told.fix == "reinstall fdetect"


@needs_torch
def test_a_run_says_what_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fdetect.bench.run import bench
    from fdetect.config import RunConfig, override
    from fdetect.engine import Store

    monkeypatch.setattr(builtin, "PHOTOGRAPHS", PHOTOGRAPHS[:6])
    monkeypatch.setattr(shipped, "SHIPPED_HOME", tmp_path / "empty")
    flags = {
        "features.names": ("colour_correlation",), "heads.per_family": ("logreg",), "heads.all_columns": (),
        "detectors.names": (), "conditions.names": ("native",), "protocol.folds": 2, "metrics.replicates": 20,
    }  # fmt: skip
    done = bench(override(RunConfig(), flags), out=tmp_path / "run", store=Store(tmp_path / "store"))
    assert [row.detector for row in done.result.not_run] == [f"generator {name}" for name in NETWORKS]
    for file in ("tables.md", "report.html", "result.json"):
        text = (tmp_path / "run" / file).read_text(encoding="utf-8")
        assert all(f"generator {name}" in text for name in NETWORKS), file
        assert "reinstall fdetect" in text


def test_other_manifests_lack_nothing() -> None:
    assert generators_not_run(pa.table({"path": ["a"]})) == []


def test_the_networks_are_shipped_and_described() -> None:
    assert set(NETWORKS) <= set(SHIPPED)
    assert len(NETWORKS) == 5
    assert all(name in DESCRIPTION for name in NETWORKS)
    assert "trained on synthetic dead leaves, on no photograph" in DESCRIPTION
    assert "No generative model made any of these images" in DESCRIPTION
    assert "say nothing about the detection of AI-generated images" in DESCRIPTION
