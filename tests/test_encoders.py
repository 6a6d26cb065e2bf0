"""Encoders on tiny weights: parity with plain float64 transformers, positions, memory, perturbed copies, refusals.

Tolerances, float32 against float64: position table 1e-5, embedding 2e-5 of its largest entry.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import naive_rigid
import numpy as np
import pytest

from fdetect.errors import BackendError, ParameterError, WeightsError

torch = pytest.importorskip("torch", reason="the deep extra is not installed")
transformers = pytest.importorskip("transformers", reason="the deep extra is not installed")

from safetensors.torch import load_file, save_file  # noqa: E402
from tiny_encoders import FAMILIES, HEADS, save_family, save_tiny, shake, weights_of  # noqa: E402

from fdetect.nets.cards import NetworkNoise, encoder_card  # noqa: E402
from fdetect.nets.encoders import load_encoder  # noqa: E402


def random_images(n: int, size: int, seed: int = 1) -> torch.Tensor:
    """RGB in 0..1."""
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def normalised(image: torch.Tensor, card) -> np.ndarray:
    mean, std = (np.array(values)[:, None, None] for values in (card.mean, card.std))
    return (image.double().numpy() - mean) / std


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory):
    """A function that saves a tiny model of a family once and returns its folder."""
    made: dict[str, Path] = {}

    def saved(family: str) -> Path:
        if family not in made:
            made[family] = save_family(tmp_path_factory.mktemp(family), family)
        return made[family]

    return saved


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
    encoder = load_encoder(path, pos_interp="authors", device="cpu")
    ours = encoder.model.embeddings.position_embeddings[0].detach().numpy()
    expected = naive_rigid.resample_table(stored, 16, scale=16.1 / side)
    np.testing.assert_allclose(ours, expected, atol=1e-5, rtol=1e-5)
    used = encoder.model.embeddings.interpolate_pos_encoding(torch.zeros(1, 257, 32), 224, 224)
    np.testing.assert_array_equal(used[0].detach().numpy(), ours)  # transformers does not resample a second time
    by_size = naive_rigid.resample_table(stored, 16, scale=16 / side)
    apart = np.linalg.norm(ours - by_size) / np.linalg.norm(by_size)
    assert 0.01 < apart < 0.5, apart


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_equals_a_plain_transformer(tiny, family: str) -> None:
    folder = tiny(family)
    encoder = load_encoder(folder, size=56, device="cpu")
    images = random_images(3, 56)
    rows = encoder.encode(images)
    assert rows.dtype == np.float32
    assert rows.shape == (3, encoder.card.dim)
    naive, weights = FAMILIES[family][2], weights_of(folder)
    expected = np.stack([naive(weights, normalised(image, encoder.card), heads=HEADS) for image in images])
    np.testing.assert_allclose(rows, expected, atol=2e-5 * np.abs(expected).max())


def test_a_plain_transformer_on_an_answer_that_is_known() -> None:
    """All tokens alike: attention returns its value; a norm takes it to its bias."""
    import naive_encoders

    x = np.tile([1.0, -1.0, 3.0, 5.0], (5, 1))
    np.testing.assert_allclose(naive_encoders.attention(x, x, x, 2), x)
    rows = naive_encoders.layer_norm(np.array([[2.0, 4.0]]), np.array([3.0, 3.0]), np.array([1.0, 1.0]), 0.0)
    np.testing.assert_allclose(rows, [[-2.0, 4.0]])
    turned = naive_encoders._turned(np.array([1.0, 0, 0, 0]), (0.25, 0.0), 100.0)  # a quarter turn of the first pair
    np.testing.assert_allclose(turned, [0, 0, 1, 0], atol=1e-15)


def test_size_table_is_transformers_own(official_table_folder: Path) -> None:
    theirs = transformers.Dinov2Model.from_pretrained(official_table_folder).eval()
    ours = load_encoder(official_table_folder, pos_interp="size", device="cpu")
    images = random_images(2, 224)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (ours.card.mean, ours.card.std))
    with torch.inference_mode():
        expected = theirs((images - mean) / std).last_hidden_state[:, 0].numpy()
    np.testing.assert_array_equal(ours.encode(images), expected)
    authors = load_encoder(official_table_folder, pos_interp="authors", device="cpu")
    assert authors.pos_interp == "scale_factor"
    apart = np.linalg.norm(authors.encode(images) - expected) / np.linalg.norm(expected)
    assert apart > 1e-3, apart


@pytest.mark.parametrize("family", [family for family in FAMILIES if not family.startswith("dinov2")])
def test_other_sizes_are_resampled_as_transformers_does(tiny, family: str) -> None:
    ours = load_encoder(tiny(family), size=84, device="cpu")
    theirs = getattr(transformers, FAMILIES[family][0]).from_pretrained(tiny(family)).eval()
    images = random_images(2, 84)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (ours.card.mean, ours.card.std))
    how = {} if family == "dinov3" else {"interpolate_pos_encoding": True}
    with torch.inference_mode():
        output = theirs((images - mean) / std, **how)
    expected = output.image_embeds if "clip" in family else output.pooler_output
    # not bit for bit: without gradients torch's attention pooling of SigLIP goes another way
    np.testing.assert_allclose(ours.encode(images), expected.numpy(), atol=2e-5 * float(expected.abs().max()))


def test_embedding_equals_a_plain_vision_transformer_with_the_authors_table(official_table_folder: Path) -> None:
    weights = weights_of(official_table_folder)
    table = naive_rigid.resample_table(weights["embeddings.position_embeddings"][0], 16, scale=16.1 / 37)
    encoder = load_encoder(official_table_folder, device="cpu")
    image = random_images(1, 224)
    expected = naive_rigid.class_token(weights, normalised(image[0], encoder.card), table, heads=HEADS)
    np.testing.assert_allclose(encoder.encode(image)[0], expected, atol=2e-5 * np.abs(expected).max())


def test_a_table_of_the_right_size_is_left_alone(folder: Path) -> None:
    stored = weights_of(folder)["embeddings.position_embeddings"]
    encoder = load_encoder(folder, size=56, device="cpu")
    np.testing.assert_array_equal(encoder.model.embeddings.position_embeddings.detach().numpy(), stored)


@pytest.mark.parametrize("family, whole", [("clip", "CLIP"), ("siglip", "Siglip"), ("metaclip2", "MetaClip2")])
def test_the_image_tower_of_a_whole_model_is_taken(tmp_path: Path, family: str, whole: str) -> None:
    """The text tower's keys are left, and the numbers are those of the image tower alone."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": HEADS, "intermediate_size": 48}
    vision = sizes | {"image_size": 56, "patch_size": 14, "projection_dim": 24}
    text = sizes | {"vocab_size": 99, "projection_dim": 24, "projection_size": 32}
    config = getattr(transformers, f"{whole}Config")(text_config=text, vision_config=vision, projection_dim=24)
    model = getattr(transformers, f"{whole}Model")(config)
    shake(model)
    model.save_pretrained(tmp_path)
    encoder = load_encoder(tmp_path, size=56, device="cpu")
    images = random_images(2, 56)
    with torch.inference_mode():
        shown = torch.from_numpy(np.stack([normalised(image, encoder.card) for image in images])).float()
        expected = model.eval().get_image_features(shown).pooler_output
    assert encoder.card.dim == expected.shape[1]
    np.testing.assert_allclose(encoder.encode(images), expected.numpy(), atol=1e-5 * float(expected.abs().max()))


def test_more_images_than_one_forward_pass_and_none(folder: Path) -> None:
    encoder = load_encoder(folder, size=28, device="cpu")
    images = random_images(70, 28, seed=2)
    rows = encoder.encode(images)
    assert rows.shape == (70, 32)
    np.testing.assert_allclose(rows[50:51], encoder.encode(images[50:51]), atol=1e-5)
    assert encoder.encode(images[:0]).shape == (0, 32)


class Cramped(torch.nn.Module):
    """A network on a device that has no room for more than `room` images."""

    def __init__(self, inner: torch.nn.Module, room: int) -> None:
        super().__init__()
        self.inner, self.room, self.seen = inner, room, []

    def forward(self, pixel_values: torch.Tensor) -> object:
        if len(pixel_values) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.seen.append(len(pixel_values))
        return self.inner(pixel_values=pixel_values)


def test_a_chunk_that_does_not_fit_is_halved_and_the_result_is_the_same(folder: Path) -> None:
    encoder = load_encoder(folder, size=28, device="cpu")
    images = random_images(50, 28, seed=3)
    cramped = Cramped(encoder.model, 6)
    rows = replace(encoder, model=cramped, chunk=40).encode(images)
    np.testing.assert_allclose(rows, encoder.encode(images), atol=1e-5)
    assert sum(cramped.seen) == 50
    assert max(cramped.seen) == 5  # 40, 20, 10, 5
    with pytest.raises(BackendError, match=r"a single image of 3 x 28 x 28 does not fit.*; take"):
        replace(encoder, model=Cramped(encoder.model, 0), chunk=4).encode(images)


def test_images_of_another_size_are_refused(folder: Path) -> None:
    with pytest.raises(ParameterError, match=r"images must be \(B, 3, 28, 28\); got \(2, 3, 56, 56\)"):
        load_encoder(folder, size=28, device="cpu").encode(random_images(2, 56))


@pytest.mark.parametrize("family", ["dinov2", "dinov3", "clip", "siglip"])
@pytest.mark.parametrize("kind", ["gaussian", "uniform", "laplace"])
def test_weight_noise_has_the_stated_spread_and_leaves_the_rest(tiny, family: str, kind: str) -> None:
    encoder = load_encoder(tiny(family), size=56, device="cpu")
    noise = NetworkNoise(kind, 0.1, draw=0)  # two blocks: the first is perturbed, whatever skip_last
    other = encoder.perturbed(noise)
    before, ratios = dict(encoder.model.named_parameters()), []
    for name, parameter in other.model.named_parameters():
        change = (parameter - before[name]).double()
        if parameter.ndim >= 2 and "layer" in name and ".0." in name and "head" not in name:
            ratios.append(float(change.std() / before[name].double().abs().mean()))
        else:
            assert not change.any(), name
    assert len(ratios) == 6
    assert np.mean(ratios) == pytest.approx(0.1, rel=0.05)
    images = random_images(3, 56)
    assert not np.allclose(other.encode(images), encoder.encode(images), atol=1e-3)


def test_the_first_19_of_24_blocks_are_perturbed(tmp_path: Path) -> None:
    folder = save_family(tmp_path, "dinov2", num_hidden_layers=24, hidden_size=8)
    encoder = load_encoder(folder, size=28, device="cpu")
    before = dict(encoder.model.named_parameters())
    changed = {name.split(".")[2] for name, value in encoder.perturbed(NetworkNoise()).model.named_parameters()
               if not torch.equal(value, before[name])}
    assert changed == {str(k) for k in range(19)}


def test_a_draw_is_the_same_everywhere_and_another_draw_another(tiny) -> None:
    encoder = load_encoder(tiny("dinov2"), size=56, device="cpu")
    first = encoder.perturbed(NetworkNoise(skip_last=1))
    assert encoder.perturbed(NetworkNoise(skip_last=1)).model is first.model  # made once
    second = encoder.perturbed(NetworkNoise(draw=1, skip_last=1))
    name = "encoder.layer.0.mlp.fc1.weight"
    clean, one, two = (dict(e.model.named_parameters())[name] for e in (encoder, first, second))
    assert not torch.equal(one, two)
    import zlib

    drawn = np.random.default_rng([zlib.crc32(name.encode()), 0]).standard_normal(clean.shape)
    expected = clean.double().numpy() + 0.1 * np.abs(clean.double().numpy()).mean() * drawn
    np.testing.assert_allclose(one.numpy(), expected, atol=1e-6)


def test_as_many_perturbed_copies_are_kept_as_fit(tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """WePe beside three variants of it asks for 16 copies in every batch."""
    encoder = load_encoder(tiny("dinov2"), size=56, device="cpu")
    kinds = ("gaussian", "uniform", "laplace", "dropout")
    noises = [NetworkNoise(kind, draw=draw) for kind in kinds for draw in range(4)]
    first = [encoder.perturbed(noise).model for noise in noises]
    assert [encoder.perturbed(noise).model for noise in noises] == first
    size = sum(parameter.nbytes for parameter in encoder.model.parameters())
    # half of this memory holds two copies, and not three
    monkeypatch.setattr("os.sysconf", lambda name: 1 if name == "SC_PAGE_SIZE" else 5 * size)
    encoder.perturbed(noises[0])
    fresh = encoder.perturbed(NetworkNoise(draw=9)).model
    assert encoder.perturbed(noises[0]).model is first[0]  # used last before
    assert encoder.perturbed(noises[15]).model is not first[15]
    assert encoder.perturbed(NetworkNoise(draw=9)).model is not fresh  # noise 0 was used after it


class Uncopyable(torch.nn.Module):
    """A network that leaves no room for another one."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.weight, self.error = torch.nn.Parameter(torch.zeros(1)), error

    def __deepcopy__(self, memo: object) -> object:
        raise self.error


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("x"), MemoryError(), RuntimeError("CUDA error: out of memory")]
)
def test_a_copy_that_does_not_fit_is_one_sentence(tiny, error: Exception) -> None:
    encoder = load_encoder(tiny("dinov2"), size=56, device="cpu")
    with pytest.raises(BackendError, match=r"^a perturbed copy of dinov2-32x2 does not fit into .* of cpu; take"):
        replace(encoder, model=Uncopyable(error)).perturbed(NetworkNoise())
    with pytest.raises(BackendError, match=r"memory of cuda; take a smaller encoder or --backend cpu$"):
        replace(encoder, model=Uncopyable(error), device="cuda").perturbed(NetworkNoise())
    with pytest.raises(RuntimeError, match="another fault"):
        replace(encoder, model=Uncopyable(RuntimeError("another fault"))).perturbed(NetworkNoise())


@pytest.mark.parametrize("family", ["dinov2", "dinov2-reg", "dinov3", "clip", "metaclip2", "siglip"])
def test_dropout_does_not_depend_on_the_batch(tiny, family: str) -> None:
    encoder = load_encoder(tiny(family), size=56, device="cpu")
    images = random_images(5, 56)
    thinned = encoder.perturbed(NetworkNoise("dropout", 0.2, draw=3, skip_last=1))
    rows = thinned.encode(images)
    np.testing.assert_allclose(rows[3:4], thinned.encode(images[3:4]), atol=1e-5 * np.abs(rows).max())
    assert not np.allclose(rows, encoder.encode(images), rtol=1e-3)
    none = encoder.perturbed(NetworkNoise("dropout", 0.0, skip_last=1))
    np.testing.assert_array_equal(none.encode(images), encoder.encode(images))


def test_noise_that_cannot_be_is_refused(tiny) -> None:
    encoder = load_encoder(tiny("dinov2"), size=56, device="cpu")
    for noise, word in (
        (NetworkNoise("salt"), "kind"), (NetworkNoise(skip_last=-1), "skip_last"),
        (NetworkNoise("dropout", 1.0, skip_last=0), "strength"),
    ):  # fmt: skip
        with pytest.raises(ParameterError, match=word):
            encoder.perturbed(noise)


def test_mean_and_std_of_the_preprocessor_file_are_used(tmp_path: Path) -> None:
    folder = save_family(tmp_path, "clip")
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 2, 4]}')
    card = encoder_card(str(folder))
    assert (card.mean, card.std) == ((0.1, 0.2, 0.3), (1.0, 2.0, 4.0))


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
        with pytest.raises(WeightsError, match=r"is not the network that its config.json describes") as caught:
            load_encoder(tmp_path, device="cpu")
        assert caught.value.fix
        if change == "shape":
            assert "it has encoder.layer.1.norm1.bias of shape (7,)" in str(caught.value)


def test_many_odd_keys_are_counted_and_some_are_named(folder: Path, tmp_path: Path) -> None:
    tensors = {key: value for key, value in load_file(folder / "model.safetensors").items() if ".layer.1." not in key}
    tensors |= {f"odd.{k}": torch.zeros(1) for k in range(7)}
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError) as caught:
        load_encoder(tmp_path, device="cpu")
    text = str(caught.value)
    assert "it lacks encoder.layer.1.attention." in text
    assert "and 15 more" in text
    assert "has no place for odd.0, odd.1, odd.2 and 4 more" in text
    assert "\n" not in text


def test_loading_is_silent_and_gives_the_logger_back(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from transformers.utils import logging

    copy = save_tiny(tmp_path, image_size=28)
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    capfd.readouterr()
    load_encoder(copy, device="cpu")
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_settings_of_the_encoder_are_checked(folder: Path, tiny) -> None:
    for settings in ({"pos_interp": "bilinear"}, {"dtype": "float16"}, {"size": 225}, {"device": "tpu"}):
        with pytest.raises(ParameterError, match=str(next(iter(settings)))):
            load_encoder(folder, **settings)
    with pytest.raises(ParameterError, match="pos_interp of clip-32x2 is one of authors, size; got 'scale_factor'"):
        load_encoder(tiny("clip"), pos_interp="scale_factor")
    if not torch.cuda.is_available():
        with pytest.raises(BackendError, match="no CUDA device"):
            load_encoder(folder, device="cuda")
