"""The DnCNN residual: tiny networks of known answer, refused files, and the published network on a photograph."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import naive_noise
import numpy as np
import pytest
from tolerance import TOL

from fdetect.errors import UnknownName, WeightsError
from fdetect.features import code_of, column_names, compute, feature, select_features
from fdetect.images import decode
from fdetect.nets.denoiser import WEIGHTS_VARIABLE, dncnn_residual
from fdetect.types import Batch

torch = pytest.importorskip("torch", reason="the extra 'deep' is not installed")
safetensors_numpy = pytest.importorskip("safetensors.numpy", reason="the extra 'deep' is not installed")

PUBLISHED = Path(__file__).resolve().parents[2] / "shared" / "weights" / "dncnn" / "dncnn_25.pth"


def network(layers: int = 3, channels: int = 4, seed: int = 0) -> dict[str, np.ndarray]:
    rng, state = np.random.default_rng(seed), {}
    for k in range(layers):
        shape = (1 if k == layers - 1 else channels, channels if k else 1, 3, 3)
        state[f"model.{2 * k}.weight"] = rng.normal(0, 0.3, shape).astype(np.float32)
        state[f"model.{2 * k}.bias"] = rng.normal(0, 0.05, shape[0]).astype(np.float32)
    return state


def saved(state: dict[str, np.ndarray], path: Path) -> str:
    safetensors_numpy.save_file(state, path)
    return str(path)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A network of three layers and four channels, which the variable names too."""
    path = saved(network(), tmp_path / "tiny.safetensors")
    monkeypatch.setenv(WEIGHTS_VARIABLE, path)
    return path


def luma_of(*shape: int) -> np.ndarray:
    return (np.random.default_rng(1).integers(0, 255001, shape) / 1000).astype(np.float32)


@pytest.mark.parametrize("layers, channels", [(1, 1), (2, 3), (3, 4), (5, 2)])
def test_layers_and_channels_are_those_of_the_file(tmp_path, layers, channels):
    path = saved(network(layers, channels), tmp_path / "other.safetensors")
    image = luma_of(2, 13, 18)
    found = dncnn_residual(image, weights=path)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, naive_noise.dncnn_residual(np.float64(image), weights=path), *TOL["float32"])


def test_one_layer_is_a_convolution_with_zeros_beyond_the_border(tmp_path):
    state = {"model.0.weight": np.zeros((1, 1, 3, 3), np.float32), "model.0.bias": np.full(1, 0.5, np.float32)}
    state["model.0.weight"][0, 0, 1, 2] = 2  # twice the right neighbour, and half of 255
    image = luma_of(1, 6, 9)
    found = dncnn_residual(image, weights=saved(state, tmp_path / "one.safetensors"))
    np.testing.assert_allclose(found[:, :, :-1], 2 * image[:, :, 1:] + 127.5, rtol=1e-6)
    assert (found[:, :, -1] == 127.5).all()


def test_hidden_layers_cut_negative_values_and_the_last_does_not(tmp_path):
    state = {}
    for k, sign in enumerate((-1, 1)):
        state[f"model.{2 * k}.weight"] = np.zeros((1, 1, 3, 3), np.float32)
        state[f"model.{2 * k}.weight"][0, 0, 1, 1] = sign
        state[f"model.{2 * k}.bias"] = np.full(1, -sign * 0.4, np.float32)
    image = luma_of(1, 7, 8)
    found = dncnn_residual(image, weights=saved(state, tmp_path / "two.safetensors"))
    np.testing.assert_allclose(found, np.maximum(102 - image, 0) - 102, rtol=1e-5, atol=1e-4)


def test_the_variable_names_the_weights_and_the_setting_wins(tiny, tmp_path):
    image = luma_of(1, 10, 12)
    other = saved(network(seed=3), tmp_path / "other.safetensors")
    assert np.array_equal(dncnn_residual(image), dncnn_residual(image, weights=tiny))
    assert not np.array_equal(dncnn_residual(image), dncnn_residual(image, weights=other))


def test_a_file_that_changed_is_read_again(tiny):
    image = luma_of(1, 10, 12)
    before = dncnn_residual(image)
    saved(network(4, seed=9), Path(tiny))  # another size too, whatever the clock's resolution
    assert not np.array_equal(dncnn_residual(image), before)


def test_torch_arrays_stay_torch_and_results_do_not_depend_on_the_batch(tiny):
    image = luma_of(3, 21, 17)
    whole = dncnn_residual(torch.from_numpy(image))
    assert isinstance(whole, torch.Tensor)
    assert whole.dtype == torch.float32
    assert not whole.requires_grad
    singles = np.concatenate([dncnn_residual(image[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(whole.numpy(), singles, *TOL["float32"])


def test_input_is_not_modified_and_may_be_read_only(tiny):
    image = luma_of(1, 9, 9)
    copy = image.copy()
    image.flags.writeable = False
    dncnn_residual(image)
    assert np.array_equal(image, copy)


def damaged(case: str, folder: Path) -> str:
    """A file that must be refused, by its fault."""
    path = folder / "bad.safetensors"
    state = network()
    if case == "absent":
        return str(path)
    if case == "pickle":
        (folder / "bad.pth").write_bytes(b"x")
        return str(folder / "bad.pth")
    if case == "garbage":
        path.write_bytes(b"not a network")
        return str(path)
    if case == "lacks":
        del state["model.2.bias"]
    if case == "more":
        state["model.1.weight"] = np.zeros(4, np.float32)
    if case == "shape":
        state["model.2.weight"] = state["model.2.weight"][:, :3].copy()
    if case == "colours":
        state["model.4.weight"] = np.zeros((3, 4, 3, 3), np.float32)
        state["model.4.bias"] = np.zeros(3, np.float32)
    return saved({} if case == "empty" else state, path)


@pytest.mark.parametrize(
    "case, reason",
    [
        ("absent", "no weights file '.*bad.safetensors' for dncnn_residual"),
        ("pickle", "is not a safetensors file; a pickle is never read"),
        ("garbage", "does not load"),
        ("empty", "is not a DnCNN: it lacks model.0.bias"),
        ("lacks", "is not a DnCNN: it lacks model.2.bias"),
        ("more", "is not a DnCNN: it holds model.1.weight"),
        ("shape", "model.2.weight of shape .* does not fit"),
        ("colours", "model.4.weight of shape .* does not fit"),
    ],
)
def test_files_that_are_no_such_network_are_refused_with_a_fix(case, reason, tmp_path):
    with pytest.raises(WeightsError, match=reason) as caught:
        dncnn_residual(luma_of(1, 9, 9), weights=damaged(case, tmp_path))
    assert WEIGHTS_VARIABLE in caught.value.fix


def test_no_weights_at_all_is_said_with_a_fix(monkeypatch):
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    with pytest.raises(WeightsError, match="no weights") as caught:
        dncnn_residual(luma_of(1, 9, 9))
    assert "safetensors" in caught.value.fix


def test_without_torch_the_missing_package_is_named(monkeypatch, tiny):
    monkeypatch.setattr("fdetect.nets.denoiser.torch_missing", lambda: "torch is not installed")
    with pytest.raises(WeightsError, match="torch is not installed") as caught:
        dncnn_residual(luma_of(1, 9, 9))
    assert "pip install" in caught.value.fix


def test_registering_the_map_loads_no_torch():
    code = (
        "import sys, fdetect.features\nfrom fdetect.forensics import signal_map\n"
        "print('dncnn_residual' in signal_map, [n for n in ('torch', 'safetensors') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "True []"


def test_the_feature_has_the_columns_of_the_others_but_zeros(tiny):
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 40, 3), np.uint8)
    entry = feature.get("dncnn_residual_statistics")
    names = [c.split(":")[1] for c in column_names(entry)]
    others = [c.split(":")[1] for c in column_names(feature.get("median_residual_statistics"))]
    assert names == [name for name in others if name != "zeros"]
    assert np.isfinite(compute(entry, Batch(("0" * 32,), image, ()))).all()


def test_the_published_network_finds_the_noise_that_was_added(shared_data, tmp_path):
    if not PUBLISHED.exists():
        pytest.skip("the published DnCNN (../shared/weights/dncnn) is not here")
    state = torch.load(PUBLISHED, weights_only=True, map_location="cpu")
    path = saved({key: value.numpy() for key, value in state.items()}, tmp_path / "dncnn_25.safetensors")
    with open(shared_data / "manifest.csv", encoding="utf-8", newline="") as file:
        first = next(r for r in csv.DictReader(file) if r["label"] == "0" and int(r["height"]) >= 96 <= int(r["width"]))
    pixels = np.float64(decode((shared_data / first["path"]).read_bytes()).pixels[:96, :96])
    clean = pixels @ (0.299, 0.587, 0.114)
    noise = np.random.default_rng(0).normal(0, 25, clean.shape)
    found = dncnn_residual((clean + noise)[None].astype(np.float32), weights=path)[0]
    assert np.corrcoef(found.ravel(), noise.ravel())[0, 1] > 0.9
    assert np.std(clean + noise - found - clean) < 0.5 * 25
    assert np.std(found) == pytest.approx(25, rel=0.15)


def test_other_weights_are_other_features_and_no_pattern_asks_for_weights(tmp_path, monkeypatch, tiny_dncnn):
    entry = feature.get("dncnn_residual_statistics")
    before = code_of(entry)
    changed = safetensors_numpy.load_file(tiny_dncnn)
    changed["model.4.bias"] = changed["model.4.bias"] + 1
    safetensors_numpy.save_file(changed, tmp_path / "other.safetensors")
    monkeypatch.setenv("FDETECT_DNCNN", str(tmp_path / "other.safetensors"))
    assert code_of(entry) != before
    assert entry not in select_features("*")
    assert entry in select_features("dncnn_residual_statistics")
    with pytest.raises(UnknownName, match="features that need weights, which no pattern chooses"):
        select_features("dncnn*")
