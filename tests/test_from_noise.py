"""Generators from noise: networks and losses against plain references, who learns from what, samples, data.

Tolerances: 1e-5 of the largest value, float32 against float64 through at most 40 convolutions of few channels.
"""

from __future__ import annotations

import functools
import hashlib
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import naive_from_noise as naive
import numpy as np
import pytest
from PIL import Image

from fdetect.errors import DataError, ParameterError, UnknownName
from fdetect.nets.noise import Flow, Gan, NoiseConfig, Vae, build, noise_generator, sample, training_loss
from fdetect.nets.noise.data import cell_means, small_leaves, small_photographs, squares

torch = pytest.importorskip("torch", reason="the extra 'deep' is not installed")

from fdetect.nets.noise.models import divergence, squared_slope  # noqa: E402
from fdetect.nets.noise.unet import time_code  # noqa: E402
from fdetect.nets.training import Schedule, train  # noqa: E402

TINY: dict[str, NoiseConfig] = {
    "gan": Gan(width=2, latent=3), "vae": Vae(width=2, latent=3), "flow": Flow(width=2, steps=3),
}  # fmt: skip


def lively(name: str, seed: int = 0) -> object:
    """A network whose biases matter too, and whose averaged weights are others than the trained ones."""
    model = build(TINY[name], seed=seed).eval()
    draws = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=draws))
    return model


def doubles(model: object) -> dict[str, np.ndarray]:
    return {key: tensor.double().numpy() for key, tensor in model.state_dict().items()}


def normal(*shape: int, seed: int = 5) -> object:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def images(count: int = 4) -> object:
    return torch.rand((count, 3, 64, 64), generator=torch.Generator().manual_seed(3))


def close(found: object, expected: object) -> None:
    expected = np.asarray(expected)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_the_registry_lists_three_without_torch() -> None:
    assert noise_generator.names() == ("flow", "gan", "vae")
    code = "import sys, fdetect.nets.noise as noise\nprint(noise.Gan(width=8), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip().endswith("False")
    assert noise_generator.read("flow:steps=20:width=8")() == Flow(steps=20, width=8)
    with pytest.raises(UnknownName, match=r"no noise generator 'gann'; did you mean 'gan'\? \(fdetect list noise-gen"):
        noise_generator.get("gann")


@pytest.mark.parametrize("name", TINY)
def test_numbers_of_parameters(name: str) -> None:
    model = build(noise_generator.get(name)())
    assert 500_000 <= sum(one.numel() for one in model.parameters() if one.requires_grad) <= 2_000_000
    assert not any(one.requires_grad for one in model.averaged.parameters())


def test_gan_and_vae_make_pictures_by_the_same_network() -> None:
    shapes = [{key: one.shape for key, one in build(make()).averaged.state_dict().items()} for make in (Gan, Vae)]
    assert shapes[0] == shapes[1]
    assert len(shapes[0]) == 10


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: Gan(width=0), "gan: width must be a whole number from 1 to 1024, got 0"),
        (lambda: Flow(width=True), "flow: width must be a whole number from 1 to 1024, got True"),
        (lambda: Vae(latent=2.0), "vae: latent must be a whole number from 1 to 1024, got 2.0"),
        (lambda: Gan(penalty=-1.0), "gan: penalty must be a number of at least 0, got -1.0"),
        (lambda: Vae(deviation=0.0), "vae: deviation must be a number above 0, got 0.0"),
        (lambda: Vae(deviation=math.nan), "vae: deviation must be a number above 0, got nan"),
        (lambda: Flow(steps=0), "flow: steps must be a whole number from 1 to 1000, got 0"),
        (lambda: Flow(averaging=1.0), "flow: averaging must be below 1, got 1.0"),
        (lambda: sample(build(TINY["vae"]), -1), "vae makes 0 or more pictures, not -1"),
        (lambda: build(TINY["gan"]).loss(images(2)[..., :32]), "gan learns from pictures of 3 x 64 x 64; got 3 x 64 x"),
    ],
)
def test_what_cannot_be_is_one_sentence(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        make()


# --- networks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gan", "vae"])
def test_the_maker_equals_the_naive_reference(name: str) -> None:
    model = lively(name).double()  # where few channels happen to be near 0, their norm blows up float32's last bits
    z = normal(2, 3).double()
    found = model.pictures(z)
    assert (found.shape, found.dtype) == ((2, 3, 64, 64), torch.float32)
    for k in range(2):
        close(found[k], naive.maker(z[k].numpy(), doubles(model)))


@pytest.mark.parametrize("name, part, outputs", [("gan", "critic", 1), ("vae", "encoder", 6)])
def test_the_critic_equals_the_naive_reference(name: str, part: str, outputs: int) -> None:
    model = lively(name)
    x = images(3) * 2 - 1
    found = getattr(model, part)(x)
    assert found.shape == (3, outputs)
    close(found, naive.critic(x.double().numpy(), doubles(model), part, compares=name == "gan"))


def test_the_critic_alone_sees_how_unlike_pictures_are() -> None:
    x = images(2) * 2 - 1
    alike, unlike = torch.cat([x[:1], x[:1]]), x
    critic, encoder = lively("gan").critic, lively("vae").encoder
    assert (critic(alike)[0] - critic(unlike)[0]).abs() > 1e-3
    torch.testing.assert_close(encoder(alike)[0], encoder(unlike)[0], rtol=0, atol=1e-6)


def test_the_flow_equals_the_naive_reference_and_eulers_steps() -> None:
    model = lively("flow")
    noise = normal(2, 3, 64, 64)
    state = doubles(model)
    start = noise[1].double().numpy()
    with torch.no_grad():
        speed = model.averaged(noise, torch.tensor([0.3, 0.7]))
        found = model.pictures(noise)
    close(speed[1], naive.unet(start, 0.7, state))
    assert (speed[1] - model.averaged(noise, torch.tensor([0.3, 0.2]))[1]).abs().max() > 1e-3  # it is told the time
    close(found[1], naive.euler(lambda y, t: naive.unet(y, t, state), start, 3))


def test_eulers_steps_of_a_known_speed() -> None:
    """Of dy/dt = y, n steps lead from e to e (1 + 1/n)^n; of a straight line, one step leads to its end."""

    class Growing(torch.nn.Module):
        def forward(self, y: object, t: object) -> object:
            return y

    for steps in (1, 4, 20):
        model = build(Flow(width=1, steps=steps))
        model.averaged = Growing()
        noise = normal(1, 3, 64, 64)
        torch.testing.assert_close(model.pictures(noise), noise * (1 + 1 / steps) ** steps)


def test_the_code_of_the_time() -> None:
    code = time_code(torch.tensor([0.0, 1.0]))
    assert code.shape == (2, 32)
    assert code[0].tolist() == [0.0] * 16 + [1.0] * 16
    assert code[1, [0, 15]].tolist() == pytest.approx([math.sin(1), math.sin(100)], abs=1e-5)


# --- losses ----------------------------------------------------------------------------------------------------------


def seeded_loss(model: object, pictures: object, seed: int = 11) -> object:
    torch.manual_seed(seed)
    return training_loss(model, pictures)


@pytest.fixture(autouse=True)
def _own_generator() -> object:
    with torch.random.fork_rng():
        yield


def test_the_loss_of_the_vae_is_the_bound_by_hand() -> None:
    model, pictures = lively("vae"), images(2)
    state = doubles(model)
    found = seeded_loss(model, pictures)
    torch.manual_seed(11)
    e = torch.randn(2, 3).double().numpy()
    total = 0.0
    for k in range(2):
        x = 2 * pictures[k].double().numpy() - 1
        mean, log_variance = np.split(naive.critic(x[None], state, "encoder")[0], 2)
        again = naive.maker(mean + np.exp(log_variance / 2) * e[k], state, "maker")
        total += ((x - again) ** 2).sum() / (2 * 0.2**2) + naive.divergence(mean, log_variance)
    assert found.item() == pytest.approx(total / 2 / 12288, rel=1e-5)


def test_kl_of_known_normals() -> None:
    mean = np.array([[0.0, 0.0], [1.0, -2.0], [0.3, 0.0]])
    log_variance = np.array([[0.0, 0.0], [0.0, 1.0], [-2.0, 0.5]])
    found = divergence(torch.tensor(mean), torch.tensor(log_variance)).numpy()
    assert found[0] == 0
    expected = [naive.divergence(m, v) for m, v in zip(mean, log_variance, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_the_loss_of_the_flow_is_the_speed_of_straight_lines() -> None:
    model, pictures = lively("flow"), images(2)
    state = doubles(model)
    found = seeded_loss(model, pictures)
    torch.manual_seed(11)
    e, t = torch.randn(2, 3, 64, 64).double().numpy(), torch.rand(2).double().numpy()
    total = 0.0
    for k in range(2):
        x = 2 * pictures[k].double().numpy() - 1
        here, ahead = ((1 - s) * e[k] + s * x for s in (t[k], t[k] + 1e-3))
        target = (ahead - here) / 1e-3  # where the straight line goes in a moment
        total += ((naive.unet(here, t[k], state, "maker") - target) ** 2).mean()
    assert found.item() == pytest.approx(total / 2, rel=1e-5)


def test_the_loss_of_the_gan_is_that_of_both_by_hand() -> None:
    model, pictures = lively("gan"), images(4)
    state = doubles(model)
    found = seeded_loss(model, pictures)
    torch.manual_seed(11)
    z = torch.randn(4, 3).double().numpy()
    made = np.stack([naive.maker(one, state, "maker") for one in z])
    fakes = naive.critic(made, state, "critic", compares=True)[:, 0]
    reals = naive.critic(2 * pictures.double().numpy() - 1, state, "critic", compares=True)[:, 0]
    pairs = zip(fakes, reals, strict=True)
    total = sum(naive.softplus(-fake) + naive.softplus(fake) + naive.softplus(-real) for fake, real in pairs)
    slope = squared_slope(model.critic, pictures[:1] * 2 - 1)  # of a quarter of the batch; checked below
    assert found.item() == pytest.approx(total / 4 + model.penalty / 2 * slope.item(), rel=1e-5)


def test_the_penalty_is_the_squared_slope() -> None:
    class Quadratic(torch.nn.Module):
        """a / 2 sum x^2, whose slope is a x."""

        def __init__(self) -> None:
            super().__init__()
            self.a = torch.nn.Parameter(torch.tensor(3.0))

        def forward(self, x: object) -> object:
            return self.a / 2 * x.square().sum(dim=(1, 2, 3))

    critic, x = Quadratic(), images(3)
    slope = squared_slope(critic, x)
    expected = 9 * x.square().sum(dim=(1, 2, 3)).mean()
    torch.testing.assert_close(slope, expected)
    slope.backward()
    torch.testing.assert_close(critic.a.grad, expected * 2 / 3)  # d a^2 s / da = 2 a s


def test_maker_and_critic_learn_each_from_its_own_terms() -> None:
    """The gradients of the one loss are those of two losses that are taken apart, each with the other held."""
    model, pictures = lively("gan"), images(4)
    seeded_loss(model, pictures).backward()
    together = {key: one.grad.clone() for key, one in model.named_parameters() if one.requires_grad}
    assert all(key.startswith(("maker.", "critic.")) for key in together)
    model.zero_grad()
    torch.manual_seed(11)
    z = torch.randn(4, 3)
    softplus = torch.nn.functional.softplus
    softplus(-model.critic(model.maker(z))).mean().backward()
    makers = {key: one.grad.clone() for key, one in model.named_parameters() if key.startswith("maker.")}
    model.zero_grad()
    with torch.no_grad():
        made = model.maker(z)
    x = pictures * 2 - 1
    telling = softplus(model.critic(made)).mean() + softplus(-model.critic(x)).mean()
    (telling + model.penalty / 2 * squared_slope(model.critic, x[:1])).backward()
    critics = {key: one.grad for key, one in model.named_parameters() if key.startswith("critic.")}
    assert makers.keys() | critics.keys() == together.keys()
    for key, gradient in (makers | critics).items():
        assert gradient.abs().max() > 0
        torch.testing.assert_close(together[key], gradient, rtol=1e-4, atol=1e-7)


# --- the running mean, training, samples -----------------------------------------------------------------------------


def test_the_mean_of_the_weights_follows_as_stated() -> None:
    model = build(Vae(width=1, latent=2, averaging=0.15))
    now, mean = model.maker.first.bias, model.averaged.first.bias
    expected = 0.0
    for step, share in enumerate((0, 1 / 11, 0.15, 0.15)):  # n / (n + 10), at most 0.15
        with torch.no_grad():
            now.fill_(step + 1.0)
        model.follow()
        expected = share * expected + (1 - share) * (step + 1)
        assert mean[0].item() == pytest.approx(expected, rel=1e-6)
    assert model.seen.item() == 4
    model.eval()
    training_loss(model, images(2))
    assert model.seen.item() == 4
    model.train()
    training_loss(model, images(2))
    assert model.seen.item() == 5


def digest(model: object) -> str:
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(name.encode() + tensor.numpy().tobytes())
    return found.hexdigest()


@functools.cache  # a second each
def leaves() -> object:
    return torch.from_numpy(small_leaves(1, per_image=4).pixels).permute(0, 3, 1, 2).float() / 255


def trained(name: str, *, precision: str = "float32", **settings: object) -> tuple[object, tuple[float, ...]]:
    config = {"gan": Gan(width=2), "vae": Vae(width=2), "flow": Flow(width=4)}[name]
    model = build(config, seed=3).to(memory_format=torch.channels_last)
    pictures = leaves()
    schedule = Schedule(steps=12, batch=4, seed=3, rate=3e-3, precision=precision)
    record = train(model, lambda step: pictures, training_loss, schedule=schedule, every=6, **settings)
    return model, record.losses


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", TINY)
def test_training_gives_the_same_bytes_twice_and_after_a_stop(name: str, precision: str, tmp_path: Path) -> None:
    one, losses = trained(name, precision=precision)
    assert digest(one) != digest(build(one.config, seed=3))
    if name != "gan":  # whose loss is that of a game
        assert np.mean(losses[-3:]) < np.mean(losses[:3])

    def stop(done: int, loss: float) -> None:
        if done == 8:
            raise StoppedError

    file = tmp_path / "checkpoint.safetensors"
    with pytest.raises(StoppedError):
        trained(name, precision=precision, checkpoint=file, progress=stop)
    resumed, again = trained(name, precision=precision, checkpoint=file)  # all 12 steps a second time, in two parts
    assert again == losses
    assert digest(resumed) == digest(one)


@pytest.mark.parametrize("name", TINY)
def test_a_sample_depends_on_the_seed_and_its_number_alone(name: str) -> None:
    model = lively(name)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    pictures = sample(model, 3, seed=7)
    assert torch.equal(torch.get_rng_state(), before)
    assert (pictures.shape, pictures.dtype) == ((3, 64, 64, 3), np.uint8)
    assert sample(model, 0).shape == (0, 64, 64, 3)
    np.testing.assert_array_equal(sample(model, 1, seed=7), pictures[:1])
    np.testing.assert_array_equal(sample(model.train(), 3, seed=7), pictures)
    assert len({one.tobytes() for one in pictures}) == 3
    assert (sample(model, 3, seed=8) != pictures).any(axis=(1, 2, 3)).all()
    assert pictures.std() > 1


def test_the_averaged_weights_make_the_samples() -> None:
    model = lively("gan")
    pictures = sample(model, 1)
    with torch.no_grad():
        model.maker.first.bias.add_(1)
    np.testing.assert_array_equal(sample(model, 1), pictures)
    with torch.no_grad():
        model.averaged.first.bias.add_(1)
    assert (sample(model, 1) != pictures).any()


@pytest.mark.parametrize("name", TINY)
def test_the_seed_decides_every_tensor(name: str) -> None:
    before = torch.get_rng_state()
    one, same, other = (build(TINY[name], seed=seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert all(torch.isfinite(tensor).all() for tensor in one.values())
    changed = [key for key in one if not torch.equal(one[key], other[key])]
    assert changed == [key for key in one if key.endswith(".weight")]
    assert all(torch.equal(one[key], one[f"averaged.{key[6:]}"]) for key in one if key.startswith("maker."))


# --- pictures of 64 px -----------------------------------------------------------------------------------------------


def test_cells_become_their_mean() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 18, 3), np.uint8)
    found = cell_means(pixels, 3)
    assert found.shape == (4, 6, 3)
    expected = [[round(np.mean(pixels[3 * i : 3 * i + 3, 3 * j : 3 * j + 3, 1])) for j in range(6)] for i in range(4)]
    assert found[..., 1].tolist() == expected


def test_squares_are_cut_from_the_picture() -> None:
    """On a slope of one level in 8 px, a square of 64 k px spans 8 k levels and starts at its own place."""
    image = np.broadcast_to((np.arange(512) // 8).astype(np.uint8)[None, :, None], (300, 512, 3))
    cut = squares(image, 40, np.random.default_rng(0))
    spans = {int(one[0, -1, 0]) - int(one[0, 0, 0]) for one in cut}
    assert all(one.shape == (64, 64, 3) and (one == one[:1]).all() for one in cut)
    assert spans <= {*range(14, 18), *range(22, 26), *range(30, 34)}  # k = 2, 3 and 4, of at most 300 // 64
    assert spans & {15, 16}
    assert spans & {31, 32}
    assert len({int(one[0, 0, 0]) for one in cut}) > 10
    with pytest.raises(DataError, match="200 x 127 px are too few for the mean of cells"):
        squares(np.zeros((127, 200, 3), np.uint8), 1, np.random.default_rng(0))


def test_photographs_are_taken_once_and_failures_counted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for k, (height, width) in enumerate([(130, 200), (300, 260), (100, 300)]):
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(tmp_path / f"{k}.png")
    (tmp_path / "3.png").write_bytes((tmp_path / "0.png").read_bytes())
    (tmp_path / "4.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    names = [f"{k}.png" for k in range(6)]
    found = small_photographs(names, root=tmp_path, per_image=3)
    assert found.pixels.shape == (6, 64, 64, 3)
    assert len(set(found.ids)) == 2
    stages = [("2.png", "geometry"), ("4.png", "decode"), ("5.png", "read")]
    assert [(one.path, one.stage) for one in found.failures] == stages
    again = small_photographs(names[1::-1], root=tmp_path, per_image=3)
    np.testing.assert_array_equal(again.pixels, np.concatenate([found.pixels[3:], found.pixels[:3]]))
    assert (small_photographs(["1.png"], root=tmp_path, per_image=3, seed=1).pixels != found.pixels[3:]).any()
    with pytest.raises(DataError, match=r"none of 1 images gives a picture of 64 px: 2\.png: 300 x 100 px are too few"):
        small_photographs(["2.png"], root=tmp_path)
    with pytest.raises(ParameterError, match="per_image is at least 1, got 0"):
        small_photographs(names, root=tmp_path, per_image=0)


def test_leaves_depend_on_seed_and_number() -> None:
    two = small_leaves(2, per_image=2, seed=4)
    assert two.pixels.shape == (4, 64, 64, 3)
    assert two.ids == ("dead-leaves/4/0",) * 2 + ("dead-leaves/4/1",) * 2
    np.testing.assert_array_equal(small_leaves(1, per_image=2, seed=4).pixels, two.pixels[:2])
    assert (small_leaves(1, seed=5).pixels != two.pixels[:1]).any()
    with pytest.raises(ParameterError, match="count and per_image are at least 1, got 0 and 1"):
        small_leaves(0)
