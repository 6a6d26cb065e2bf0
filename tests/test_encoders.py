"""The DINOv2 encoder on tiny weights: the authors' position table, parity with a plain float64 transformer, refusals.

Tolerances, float32 against float64: position table 1e-5, embedding 1e-4 of its largest entry.
"""

from __future__ import annotations

from pathlib import Path

import naive_rigid as naive
import numpy as np
import pytest

from fdetect.errors import BackendError, ParameterError, WeightsError
from fdetect.images import Geometry

torch = pytest.importorskip("torch", reason="the deep extra is not installed")
transformers = pytest.importorskip("transformers", reason="the deep extra is not installed")

from safetensors.torch import load_file, save_file  # noqa: E402
from tiny_dinov2 import HEADS, photographs, save_tiny, weights_of  # noqa: E402

from fdetect.nets.encoders import load_encoder, normalise  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained size 56 px: a 4 x 4 table of positions."""
    return save_tiny(tmp_path_factory.mktemp("tiny56"), image_size=56)


@pytest.fixture(scope="module")
def official_table_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published 518 px: a 37 x 37 table, resampled to 16 x 16 at 224 px."""
    return save_tiny(tmp_path_factory.mktemp("tiny518"), image_size=518)


@pytest.mark.parametrize("fixture", ["folder", "official_table_folder"])
def test_scale_factor_table_equals_the_plain_loops_and_not_transformers(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(fixture)
    stored = weights_of(path)["embeddings.position_embeddings"][0]
    side = int(np.sqrt(len(stored) - 1))
    encoder = load_encoder(path, pos_interp="scale_factor", device="cpu")
    ours = encoder.model.embeddings.position_embeddings[0].detach().numpy()
    expected = naive.resample_table(stored, 16, scale=16.1 / side)
    np.testing.assert_allclose(ours, expected, atol=1e-5, rtol=1e-5)
    used = encoder.model.embeddings.interpolate_pos_encoding(torch.zeros(1, 257, 32), 224, 224)
    np.testing.assert_array_equal(used[0].detach().numpy(), ours)  # transformers does not resample a second time
    by_size = naive.resample_table(stored, 16, scale=16 / side)
    apart = np.linalg.norm(ours - by_size) / np.linalg.norm(by_size)
    assert 0.01 < apart < 0.5, apart


def test_size_table_is_transformers_own(official_table_folder: Path) -> None:
    theirs = transformers.Dinov2Model.from_pretrained(official_table_folder).eval()
    ours = load_encoder(official_table_folder, pos_interp="size", device="cpu")
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = theirs(images).last_hidden_state[:, 0].numpy()
    np.testing.assert_array_equal(ours.encode(images), expected)
    authors = load_encoder(official_table_folder, pos_interp="scale_factor", device="cpu")
    apart = np.linalg.norm(authors.encode(images) - expected) / np.linalg.norm(expected)
    assert apart > 1e-3, apart


def test_a_table_of_the_right_size_is_left_alone(folder: Path) -> None:
    stored = weights_of(folder)["embeddings.position_embeddings"]
    encoder = load_encoder(folder, size=56, device="cpu")
    np.testing.assert_array_equal(encoder.model.embeddings.position_embeddings.detach().numpy(), stored)


def test_normalise_equals_the_reference() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    before = pixels.copy()
    out = normalise(pixels).numpy()
    assert out.dtype == np.float32
    assert out.shape == (2, 3, 5, 7)
    np.testing.assert_array_equal(pixels, before)
    np.testing.assert_allclose(out, np.stack([naive.normalise(image) for image in pixels]), atol=1e-6)


def test_embedding_equals_a_plain_vision_transformer(official_table_folder: Path) -> None:
    pixels = Geometry("squash", 224, "bilinear")(photographs(1)[0])
    weights = weights_of(official_table_folder)
    table = naive.resample_table(weights["embeddings.position_embeddings"][0], 16, scale=16.1 / 37)
    expected = naive.class_token(weights, naive.normalise(pixels), table, heads=HEADS)
    ours = load_encoder(official_table_folder, device="cpu").encode(normalise(pixels[None]))
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours[0], expected, atol=1e-4 * np.abs(expected).max())


def test_more_images_than_one_forward_pass_and_none(folder: Path) -> None:
    encoder = load_encoder(folder, size=28, device="cpu")
    images = torch.randn(70, 3, 28, 28, generator=torch.Generator().manual_seed(2))
    rows = encoder.encode(images)
    assert rows.shape == (70, 32)
    np.testing.assert_allclose(rows[50:51], encoder.encode(images[50:51]), atol=1e-5)
    assert encoder.encode(images[:0]).shape == (0, 32)


@pytest.mark.parametrize("change", ["lacks", "shape", "extra", "half"])
def test_weights_that_do_not_fill_the_network_are_refused(folder: Path, tmp_path: Path, change: str) -> None:
    tensors = load_file(folder / "model.safetensors")
    name = "encoder.layer.1.norm1.bias"
    if change == "lacks":
        del tensors[name]
    elif change == "shape":
        tensors[name] = torch.zeros(7)
    elif change == "extra":
        tensors["encoder.layer.2.norm1.bias"] = torch.zeros(32)
    else:
        tensors = {key: value.half() for key, value in tensors.items()}
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    if change == "half":  # a checkpoint in half precision is computed in float32 all the same
        model = load_encoder(tmp_path, device="cpu").model
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    else:
        with pytest.raises(WeightsError, match=r"does not load|is not the network") as caught:
            load_encoder(tmp_path, device="cpu")
        assert caught.value.fix


def test_loading_is_silent_and_gives_the_logger_back(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from transformers.utils import logging

    copy = save_tiny(tmp_path, image_size=28)
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    capfd.readouterr()
    load_encoder(copy, device="cpu")
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_settings_of_the_encoder_are_checked(folder: Path) -> None:
    for settings in ({"pos_interp": "bilinear"}, {"dtype": "float16"}, {"size": 225}, {"device": "tpu"}):
        with pytest.raises(ParameterError, match=str(next(iter(settings)))):
            load_encoder(folder, **settings)
    if not torch.cuda.is_available():
        with pytest.raises(BackendError, match="no CUDA device"):
            load_encoder(folder, device="cuda")
