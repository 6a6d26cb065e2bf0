"""Distances of pictures: known answers, the naive references, LPIPS' weights, and what goes wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import naive_reconstruction as naive
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'deep' is not installed")

from safetensors.torch import load_file, save_file  # noqa: E402

from fdetect.errors import ParameterError, UnknownName, WeightsError  # noqa: E402
from fdetect.nets.distances import distance  # noqa: E402
from fdetect.nets.lpips import BLOCKS, lpips_importer  # noqa: E402

WEIGHTLESS = ("mse", "l1", "ms_ssim", "wavelet")
WIDTHS = (4, 5, 6, 7, 8)


def pictures(height: int, width: int, *, count: int = 2, noise: float = 0.1, seed: int = 0) -> tuple[object, object]:
    """Smooth pictures, and the same with noise."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.random((count, 3, 6, 6), dtype=np.float32))
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    rough = smooth + noise * torch.from_numpy(rng.standard_normal(smooth.shape).astype(np.float32))
    return smooth, rough.clamp(0, 1)


def authors_files(seed: int = 0) -> tuple[dict[str, object], dict[str, object]]:
    """A VGG16 of few channels and LPIPS' rows, under the authors' keys."""
    rng = np.random.default_rng(seed)
    vgg, rows, channels = {"classifier.0.weight": torch.zeros(2, 2)}, {}, 3
    for number, (block, width) in enumerate(zip(BLOCKS, WIDTHS, strict=True)):
        for k in block:
            weight = rng.normal(0, 0.3, (width, channels, 3, 3)).astype(np.float32)
            vgg[f"features.{k}.weight"] = torch.from_numpy(weight)
            vgg[f"features.{k}.bias"] = torch.from_numpy(rng.normal(0, 0.1, width).astype(np.float32))
            channels = width
        rows[f"lin{number}.model.1.weight"] = torch.from_numpy(rng.random((1, width, 1, 1), dtype=np.float32))
    return vgg, rows


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights home with a small LPIPS."""
    monkeypatch.setenv("FDETECT_WEIGHTS", str(tmp_path))
    imported = lpips_importer(*authors_files())
    (tmp_path / "lpips-vgg").mkdir()
    save_file(dict(imported.state), tmp_path / "lpips-vgg" / "model.safetensors")
    (tmp_path / "lpips-vgg" / "config.json").write_text(json.dumps(imported.config))
    return tmp_path


@pytest.mark.parametrize("name", [*WEIGHTLESS, "lpips", "lpips_all"])
def test_equal_pictures_are_at_distance_zero_and_more_noise_is_farther(name: str, home: Path) -> None:
    smooth, _ = pictures(64, 72)
    entry = distance.get(name)
    nought = entry(smooth, smooth.clone())
    assert nought.dtype == torch.float64
    assert nought.shape == (2,)
    assert float(nought.abs().max()) <= 1e-12
    steps = [entry(*pictures(64, 72, noise=noise)) for noise in (0.01, 0.05, 0.2)]
    assert (steps[0] > 0).all()
    assert (steps[0] < steps[1]).all()
    assert (steps[1] < steps[2]).all()


def test_known_answers() -> None:
    x = torch.full((1, 3, 32, 32), 0.5)
    assert distance.get("mse")(x, x + 0.25).item() == 0.0625
    assert distance.get("l1")(x, x - 0.25).item() == 0.25
    assert distance.get("wavelet")(x, x + 0.25).item() == 0  # smooth errors do not count
    board = torch.zeros(1, 3, 32, 32)
    board[..., ::2, ::2] = board[..., 1::2, 1::2] = 0.5
    # a checkerboard of 0 and 0.5: HH = (0.5 + 0.5) / 2, everything else 0, over 3 bands of 2 levels
    assert distance.get("wavelet")(board, torch.zeros_like(board)).item() == pytest.approx(0.5 / 6, abs=1e-12)
    # plain pictures: all structure terms are 1, the one luma term is l = (2 m n + c1) / (m^2 + n^2 + c1) at 2 scales
    l_m = (2 * 0.5 * 0.75 + 1e-4) / (0.25 + 0.5625 + 1e-4)
    expected = 1 - l_m ** (0.2856 / (0.0448 + 0.2856))
    assert distance.get("ms_ssim")(x, x + 0.25).item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("height, width", [(64, 64), (45, 38), (88, 91)])
def test_equal_to_the_naive_references(height: int, width: int) -> None:
    x, y = pictures(height, width)
    for name, reference in {
        "mse": lambda a, b: naive.mean_power(a, b, 2),
        "l1": lambda a, b: naive.mean_power(a, b, 1),
        "ms_ssim": naive.ms_ssim_distance,
        "wavelet": lambda a, b: naive.haar_detail(a, b, 2),
    }.items():
        found = distance.get(name)(x, y).numpy()
        expected = [reference(a, b) for a, b in zip(x.numpy(), y.numpy(), strict=True)]
        # differences are rounded to float32 in mse and l1, as the pictures are
        np.testing.assert_allclose(found, expected, rtol=1e-6 if name in ("mse", "l1") else 1e-10, err_msg=name)


@pytest.mark.parametrize("layer", range(6))
def test_lpips_equals_the_naive_reference(layer: int, home: Path) -> None:
    x, y = pictures(32, 40, count=1)
    state = {key: tensor.double().numpy() for key, tensor in load_file(home / "lpips-vgg/model.safetensors").items()}
    expected = naive.lpips(x[0].double().numpy(), y[0].double().numpy(), state, layer)
    found = distance.get("lpips")(x, y, layer=layer).item()
    assert found == pytest.approx(expected, rel=2e-5)  # float32 features against float64
    assert found > 0
    if layer == 2:
        assert distance.get("lpips")(x, y).item() == found


@pytest.mark.parametrize("name", [*WEIGHTLESS, "lpips"])
def test_a_distance_depends_on_its_pair_alone_and_changes_no_input(name: str, home: Path) -> None:
    x, y = pictures(64, 64, count=7)
    before = x.clone(), y.clone()
    together = distance.get(name)(x, y)
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])
    alone = torch.cat([distance.get(name)(x[k : k + 1], y[k : k + 1]) for k in range(7)])
    assert torch.equal(together, alone)


def test_small_and_odd_pictures() -> None:
    for side, scales in ((64, 3), (152, 4), (175, 4), (176, 5)):
        assert sum(side >> j >= 11 for j in range(5)) == scales
        assert 0 < distance.get("ms_ssim")(*pictures(side, side)).min().item() < 1
    with pytest.raises(ParameterError, match="at least 11 x 11 px; got a side of 10"):
        distance.get("ms_ssim")(*pictures(10, 40))
    with pytest.raises(ParameterError, match="levels must be"):
        distance.get("wavelet")(*pictures(32, 32), levels=6)
    with pytest.raises(ParameterError, match="two batches"):
        distance.get("mse")(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 16))
    with pytest.raises(UnknownName, match="did you mean 'wavelet'"):
        distance.get("wavelets")


def test_digest_names_the_weights(home: Path) -> None:
    import hashlib

    assert all(distance.get(name).digest() == "" for name in WEIGHTLESS)
    content = (home / "lpips-vgg" / "model.safetensors").read_bytes()
    assert distance.get("lpips").digest() == distance.get("lpips_all").digest() == hashlib.sha256(content).hexdigest()


def test_absent_and_wrong_lpips_weights_are_one_sentence(home: Path) -> None:
    file = home / "lpips-vgg" / "model.safetensors"
    x, y = pictures(32, 32)
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    with pytest.raises(WeightsError, match=r"holds \d+ bytes where .*; remove lpips-vgg from .*, then run `fdetect"):
        distance.get("lpips")(x, y)
    file.unlink()
    for call in (lambda: distance.get("lpips")(x, y), distance.get("lpips").digest):
        with pytest.raises(WeightsError, match=r"has no model\.safetensors; remove .*, then .* import vgg16"):
            call()
    save_file({"features.0.weight": torch.zeros(1)}, file)
    with pytest.raises(WeightsError, match=r"^lpips-vgg is not LPIPS on VGG16: it lacks .*; remove .*, then"):
        distance.get("lpips")(x, y)
    vgg, rows = authors_files()
    for change, said in (
        ({"features.7.bias": None}, "lacks features.7.bias"),
        ({"features.30.weight": torch.zeros(1)}, "holds features.30.weight"),
        ({"features.7.weight": torch.zeros(5, 9, 3, 3)}, r"features.7 has shape \(5, 9, 3, 3\)"),
    ):
        changed = {key: tensor for key, tensor in (vgg | change).items() if tensor is not None}
        with pytest.raises(WeightsError, match=f"the pair of files is not LPIPS on VGG16: .*{said}"):
            lpips_importer(changed, rows)
    rows["lin1.model.1.weight"] = -rows["lin1.model.1.weight"]
    with pytest.raises(WeightsError, match="lin1 must hold 5 weights, none negative"):
        lpips_importer(vgg, rows)
    with pytest.raises(ParameterError, match=r"layer must be 0 \(all\) or 1\.\.5; got 6"):
        _restored(file, whole)(x, y, layer=6)


def _restored(file: Path, content: bytes) -> object:
    file.write_bytes(content)
    return distance.get("lpips")
