"""Our own autoencoders: sizes, every step against a plain float64 reference, the codebook, and folders of them.

What only one architecture has is tested in test_own_adversarial.py, test_own_refined.py and test_own_pixels.py.
Tolerances: 1e-5 of the largest value, float32 against float64 through at most 40 convolutions of few channels.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import naive_own as naive
import numpy as np
import pytest
from PIL import Image

from fdetect.errors import ParameterError, UnknownName, WeightsError
from fdetect.nets.own import (
    Adversarial,
    Nearest,
    OwnConfig,
    Pixel,
    Quantised,
    Refined,
    Shuffle,
    SuperResolution,
    Transposed,
    build,
    config_from_json,
    generator,
    training_loss,
)

torch = pytest.importorskip("torch", reason="the extra 'deep' is not installed")

from safetensors.torch import load_file, save_file  # noqa: E402

from fdetect.nets.autoencoders import autoencoder_card, load_autoencoder  # noqa: E402
from fdetect.nets.own.blocks import reconstruction_loss  # noqa: E402
from fdetect.nets.own.quantiser import Quantiser  # noqa: E402

SHARED = ("nearest", "adversarial", "quantised", "shuffle", "transposed")  # encoder, decoder, and nothing behind them
NAMES = ("nearest", "adversarial", "pixel", "quantised", "refined", "shuffle", "super_resolution", "transposed")
SIZES = [
    *(f"{name}:factor={factor}" for name in (*SHARED, "refined") for factor in (4, 8)),
    "super_resolution:factor=2", "super_resolution:factor=4", "pixel", "pixel:halvings=3:width=16",
]  # fmt: skip
STEPS = [
    (Nearest(), naive.nearest_step, "1."),
    (Shuffle(), naive.shuffle_step, "0."),
    (Transposed(), naive.transposed_step, ""),
    (Transposed(kernel=3), naive.transposed_step, ""),
]


def tiny(name: str, factor: int = 4, **settings: object) -> OwnConfig:
    small = {"width": 3, "latent_channels": 2, "factor": factor, "codes": 8, "refiner_width": 3, "critic_width": 3}
    entry = generator.get(name)
    return entry.configured(**{key: value for key, value in small.items() if key in entry.settings}, **settings)()


def lively(config: OwnConfig, seed: int = 0) -> object:
    """A network whose biases and residual blocks matter too, and whose pixels stay mostly within 0..1."""
    model = build(config, seed=seed).eval()
    draws = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=draws))
    return model


def pictures(count: int = 2, height: int = 16, width: int = 24) -> object:
    return torch.rand((count, 3, height, width), generator=torch.Generator().manual_seed(3))


def put(folder: Path, model: object, **change: object) -> Path:
    """A folder as the training script writes it: float16, and the configuration."""
    folder.mkdir()
    state = {key: t.half() if t.is_floating_point() else t for key, t in model.stored().items()}
    save_file({key: t.contiguous() for key, t in state.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(model.config.to_json() | change))
    return folder


def doubles(model: object) -> dict[str, np.ndarray]:
    return {key: tensor.double().numpy() for key, tensor in model.state_dict().items()}


def close(found: object, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_eight_architectures_are_registered_without_torch() -> None:
    assert generator.names() == NAMES
    code = (
        "import sys, fdetect.nets.own as own, fdetect.nets.autoencoder_cards\n"
        "print(own.config_from_json(own.Transposed(kernel=3).to_json()), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "Transposed(width=16, latent_channels=16, factor=8, kernel=3) False"


@pytest.mark.parametrize("text", SIZES)
def test_shapes_and_numbers_of_parameters(text: str) -> None:
    config = generator.read(text)()
    model = build(config)
    assert 300_000 <= sum(tensor.numel() for tensor in model.stored().values()) <= 2_000_000
    assert set(model.stored()) == set(config.model().state_dict())
    images = pictures(2, 16, 32)
    with torch.no_grad():
        latent = model.encode(images)
        again = model(images)
    assert latent.shape == (2, config.latent_channels, 16 // config.factor, 32 // config.factor)
    assert again.shape == images.shape
    assert again.dtype == torch.float32
    said = f"{config.architecture} takes sides that are multiples of {config.multiple} px; got 16 x 31"
    with pytest.raises(ParameterError, match=said):
        model(images[..., :31])
    with pytest.raises(ParameterError, match="got 0 x 32"):
        model.encode(images[:, :, :0])


@pytest.mark.parametrize("config, plain, inside", STEPS, ids=("nearest", "shuffle", "transposed-4", "transposed-3"))
def test_a_doubling_step_equals_the_naive_reference(
    config: OwnConfig, plain: Callable[..., np.ndarray], inside: str
) -> None:
    draws = torch.Generator().manual_seed(0)
    step = config.up(2, 3)
    with torch.no_grad():
        for parameter in step.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draws))
    x = torch.randn((2, 3, 5), generator=draws)
    weight, bias = (step.state_dict()[f"{inside}{part}"].double().numpy() for part in ("weight", "bias"))
    close(step(x[None])[0], plain(x.double().numpy(), weight, bias))


def test_known_answers_of_the_doubling_steps() -> None:
    """Of ones, with weights of one: how many samples reach each; three taps are a checkerboard from the start."""
    ones = {}
    for config, _, _ in STEPS:
        step = config.up(1, 1)
        with torch.no_grad():
            for parameter in step.parameters():
                parameter.fill_(float(parameter.dim() > 1))
            ones[str(config)] = step(torch.ones(1, 1, 4, 4))[0, 0, 2:6, 2:6].tolist()
    flat = [[9.0] * 4] * 4
    assert list(ones.values())[:3] == [flat, flat, [[4.0] * 4] * 4]
    # odd columns lie between two input samples, even ones upon one
    assert list(ones.values())[3] == [[1.0, 2.0, 1.0, 2.0], [2.0, 4.0, 2.0, 4.0]] * 2


@pytest.mark.parametrize("factor", [4, 8])
@pytest.mark.parametrize("name", SHARED)
def test_the_network_equals_the_naive_reference(name: str, factor: int) -> None:
    model = lively(tiny(name, factor))
    image = pictures(1)
    state = doubles(model)
    latent = naive.encode(image[0].double().numpy(), state, factor)
    if name == "quantised":
        latent, _ = naive.quantise(latent, state["quantiser.codebook"])
    with torch.no_grad():
        close(model.encode(image)[0], latent)
        close(model(image)[0], naive.decode(latent, state, factor, name))


def test_the_loss_equals_the_naive_reference() -> None:
    again, images = pictures(2)
    expected = naive.reconstruction_loss(again.double().numpy(), images.double().numpy())
    assert float(reconstruction_loss(again[None], images[None])) == pytest.approx(expected, rel=1e-6)
    # a constant difference has no slopes at any scale; at 4 px the third scale is one sample and is left out
    flat = torch.zeros(1, 3, 4, 4)
    assert float(reconstruction_loss(flat + 0.25, flat)) == 0.25
    assert float(reconstruction_loss(flat, flat)) == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_training_lowers_the_loss_and_reaches_every_tensor(name: str) -> None:
    model = build(tiny(name))
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
    images, stored, losses = pictures(4), model.stored(), []
    for _ in range(40):
        loss = training_loss(model, images)
        optimiser.zero_grad()
        loss.backward()
        if not losses:
            assert all(parameter.grad is not None for key, parameter in model.named_parameters() if key in stored)
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_the_quantiser_equals_the_naive_reference() -> None:
    draws = torch.Generator().manual_seed(1)
    quantiser = Quantiser(7, 3, commitment=0.25, patience=100).eval()
    quantiser.reset(draws)
    z = torch.randn((1, 3, 4, 5), generator=draws, requires_grad=True)
    codebook, plain = quantiser.codebook.detach().double().numpy(), z[0].detach().double().numpy()
    rounded, numbers = naive.quantise(plain, codebook)
    found, terms = quantiser(z)
    # the rounded latent is the code itself, to the last bit
    assert np.array_equal(found[0].detach().numpy(), rounded.astype(np.float32))
    assert np.array_equal(quantiser.nearest(z[0].detach().flatten(1).T).numpy(), numbers.ravel())
    value, by_z, by_code = naive.codebook_terms(plain, codebook, 0.25)
    assert terms.item() == pytest.approx(value, rel=1e-6)
    terms.backward()
    close(z.grad[0], by_z)
    close(quantiser.codebook.grad, by_code)


def test_the_gradient_passes_straight_through_the_rounding() -> None:
    quantiser = Quantiser(7, 3, commitment=0.25, patience=100).eval()
    quantiser.reset(torch.Generator().manual_seed(1))
    z = torch.randn((2, 3, 4, 5), requires_grad=True, generator=torch.Generator().manual_seed(2))
    weights = torch.randn(z.shape, generator=torch.Generator().manual_seed(3))
    rounded, _ = quantiser(z)
    (rounded * weights).sum().backward()
    assert torch.equal(z.grad, weights)
    assert quantiser.codebook.grad is None  # what the decoder asks for moves the encoder alone


def test_the_first_of_equal_codes_is_taken() -> None:
    quantiser = Quantiser(3, 2, commitment=0.25, patience=100).eval()
    with torch.no_grad():
        quantiser.codebook.copy_(torch.tensor([[5.0, 5.0], [1.0, 0.0], [-1.0, 0.0]]))
    assert quantiser.nearest(torch.tensor([[0.0, 3.0], [-0.1, 0.0], [4.0, 4.0]])).tolist() == [1, 2, 0]


def test_unused_codes_begin_anew_and_no_number_is_drawn() -> None:
    quantiser = Quantiser(2, 1, commitment=0.25, patience=2)
    quantiser.reset(torch.Generator().manual_seed(0))
    before = torch.get_rng_state()
    first, second = (torch.tensor(values).reshape(1, 1, 1, 4) for values in ([0.0, 1.0, 2.0, 3.0], [1.9] * 4))
    quantiser(first)
    assert quantiser.codebook.flatten().tolist() == [0.0, 2.0]  # positions 0 and 2 of 4
    assert quantiser.unused.tolist() == [0, 0]
    quantiser(second)
    quantiser(second)
    assert (quantiser.codebook.flatten().tolist(), quantiser.unused.tolist()) == ([0.0, 2.0], [2, 0])
    quantiser(second)  # the patience with the first code is over
    assert quantiser.codebook.flatten().tolist() == [pytest.approx(1.9), 2.0]
    assert quantiser.unused.tolist() == [0, 1]
    quantiser.eval()
    state = {key: tensor.clone() for key, tensor in quantiser.state_dict().items()}
    quantiser(first)
    assert all(torch.equal(tensor, state[key]) for key, tensor in quantiser.state_dict().items())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_every_tensor(name: str) -> None:
    before = torch.get_rng_state()
    one, same, other = (build(tiny(name), seed=seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert all(torch.isfinite(tensor).all() for tensor in one.values())
    changed = [key for key in one if not torch.equal(one[key], other[key])]
    assert changed == [key for key in one if not key.endswith((".bias", ".unused", ".steps"))]


def test_a_pixel_depends_on_its_neighbourhood_alone() -> None:
    model = lively(tiny("transposed"))
    image = pictures(1, 192, 192)
    with torch.no_grad():
        whole, shifted = model(image), model(image[..., 4:, 4:])
    # the neighbourhood is below 80 px; beyond it the border is not seen
    torch.testing.assert_close(whole[..., 84:108, 84:108], shifted[..., 80:104, 80:104], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_is_loaded_and_reconstructs(name: str, tmp_path: Path) -> None:
    model = lively(tiny(name))
    folder = str(put(tmp_path / "mine", model))
    autoencoder = load_autoencoder(folder, device="cpu")
    card = autoencoder.card
    config, shape = model.config, (card.latent_channels, card.factor, card.widths)
    assert card.name == f"{name}-{config.latent_channels}x{config.factor}-{card.sha256[:8]}"
    assert card.architecture == "OwnAutoencoder"
    assert shape == {"pixel": (3, 1, (3, 6, 12)), "super_resolution": (3, 4, (3,))}.get(name, (2, 4, (3, 6, 12)))
    assert (card.licence, card.purpose, card.evidence) == ("not stated", "test", "unverified weights")
    images = pictures(3)
    again = autoencoder.reconstruct(images)
    assert again.dtype == torch.float32
    assert again.min() >= 0
    assert again.max() <= 1
    assert ((again > 0) & (again < 1)).float().mean() > 0.8
    assert torch.equal(again, autoencoder.reconstruct(images))
    assert torch.equal(again[1:2], autoencoder.reconstruct(images[1:2]))
    halves = {key: t.half().to(t.dtype) for key, t in model.state_dict().items()}
    model.load_state_dict(halves)
    with torch.inference_mode():
        # one image at a time and channels last sum in another order than three at once
        torch.testing.assert_close(again, model(images).clamp(0, 1), rtol=0, atol=1e-5)
    with pytest.raises(ParameterError, match=r"takes .*sides.* are multiples of 4 px; got 16 x 22"):
        autoencoder.reconstruct(images[..., :22])
    assert load_autoencoder(folder, device="cpu").model is autoencoder.model


def test_a_name_of_the_weights_home_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("FDETECT_WEIGHTS", str(tmp_path / "home"))
    put(tmp_path / "home" / "mine", build(Shuffle()))
    card = autoencoder_card("mine")
    assert (card.name, card.purpose) == (f"shuffle-16x8-{card.sha256[:8]}", "release")


def _truncated(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-64])


def _config(**change: object) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = json.loads((folder / "config.json").read_text()) | change
        kept = {key: value for key, value in content.items() if value is not None}
        (folder / "config.json").write_text(json.dumps(kept))

    return damage


def _tensors(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        state = load_file(folder / "model.safetensors")
        change(state)
        save_file(state, folder / "model.safetensors")

    return damage


@pytest.mark.parametrize(
    "damage, said",
    [
        (_truncated, r"model.safetensors in .* holds \d+ bytes where its header says \d+"),
        (lambda folder: (folder / "model.safetensors").unlink(), "has no model.safetensors"),
        (_config(architecture="transpose"), r"no generator 'transpose'; did you mean 'transposed'"),
        (_config(architecture=None), "no generator ''"),
        (_config(kernel=None), "generator 'transposed' lacks kernel"),
        (_config(kernels=4), "generator 'transposed' has no setting 'kernels'; did you mean 'kernel'"),
        (_config(kernel=5), r"transposed: kernel must be 3 or 4, got 5"),
        (_config(factor="4"), r"transposed: factor must be 4 or 8, got '4'"),
        (_config(width=True), r"transposed: width must be a whole number from 1 to 1024, got True"),
        (_config(width=4), r"it has decoder.0.bias of shape \(12,\), .* and 43 more; give"),
        (_config(factor=8), "it lacks .* and 15 more, has no place for"),
        (_tensors(lambda state: state.pop("encoder.0.bias")), "config.json describes: it lacks encoder.0.bias; give"),
        (_tensors(lambda state: state.update(more=torch.zeros(1))), "it has no place for more; give"),
    ],
)
def test_damaged_and_wrong_folders_are_one_sentence(damage: Callable[[Path], None], said: str, tmp_path: Path) -> None:
    folder = put(tmp_path / "m", build(tiny("transposed")))
    damage(folder)
    with pytest.raises(WeightsError, match=said) as caught:
        load_autoencoder(str(folder), device="cpu")
    assert "\n" not in str(caught.value)
    assert "--autoencoder FOLDER" in caught.value.fix


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: Nearest(width=0), "nearest: width must be a whole number from 1 to 1024, got 0"),
        (lambda: Shuffle(latent_channels=2.0), "shuffle: latent_channels must be a whole number"),
        (lambda: Nearest(factor=16), "nearest: factor must be 4 or 8, got 16"),
        (lambda: SuperResolution(factor=8), "super_resolution: factor must be 2 or 4, got 8"),
        (lambda: SuperResolution(blocks=0), "super_resolution: blocks must be a whole number from 1 to 64, got 0"),
        (lambda: Pixel(sigma=0), "pixel: sigma must be a number above 0, got 0"),
        (lambda: Pixel(halvings=4), "pixel: halvings must be a whole number from 1 to 3, got 4"),
        (lambda: generator.get("pixel").configured(factor=4), "generator 'pixel' has no setting 'factor'"),
        (lambda: Adversarial(weight=-1.0), "adversarial: weight must be a number above 0, got -1.0"),
        (lambda: Adversarial(begin=-1), "adversarial: begin must be a whole number from 0 to 1000000, got -1"),
        (lambda: Adversarial(critic_width=0), "adversarial: critic_width must be"),
        (lambda: Refined(steps=0), "refined: steps must be a whole number from 1 to 64, got 0"),
        (lambda: Refined(sigma=float("inf")), "refined: sigma must be a number above 0, got inf"),
        (lambda: Refined(weight="1"), "refined: weight must be a number above 0, got '1'"),
        (lambda: Refined(refiner_width=2000), "refined: refiner_width must be"),
        (lambda: Quantised(codes=1), "quantised: codes must be a whole number from 2 to 65536, got 1"),
        (lambda: Quantised(patience=0), "quantised: patience must be"),
        (lambda: Quantised(commitment=float("nan")), "quantised: commitment must be a number above 0, got nan"),
        (lambda: Transposed(kernel=2), "transposed: kernel must be 3 or 4, got 2"),
    ],
)
def test_sizes_outside_their_ranges_are_one_sentence(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        make()


@pytest.mark.parametrize("name", NAMES)
def test_config_json_gives_back_the_configuration(name: str) -> None:
    config = tiny(name)
    assert config_from_json(json.loads(json.dumps(config.to_json()))) == config
    with pytest.raises(UnknownName):
        config_from_json(config.to_json() | {"architecture": "gan"})


def test_a_detector_runs_on_a_folder(tmp_path: Path) -> None:
    from fdetect.rigid import detector, prepare
    from fdetect.types import Batch, Facts

    folder = put(tmp_path / "mine", lively(tiny("quantised")))
    one = detector.read(f"aeroblade:autoencoder={folder}:distance=mse")()
    rng = np.random.default_rng(0)
    images = np.stack([
        np.asarray(Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((32, 32))) for _ in range(3)
    ])
    batch = Batch(tuple(f"{k:032x}" for k in range(3)), images, (Facts("PNG", 32, 32, 1),) * 3, 3)
    (task,) = prepare(one, device="cpu", crop=32)
    scores = one.score(**{task.view_name: task(batch)})
    shown = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    again = load_autoencoder(str(folder), device="cpu").reconstruct(shown)
    expected = -(again.double() - shown.double()).square().mean(dim=(1, 2, 3)).numpy()
    assert expected.max() < -1e-3
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
