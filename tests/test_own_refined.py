"""`refined` and the noise of a picture's content: the flow against a plain reference, and one result for one image."""

from __future__ import annotations

import naive_own as naive
import numpy as np
import pytest
import xxhash

torch = pytest.importorskip("torch", reason="the extra 'deep' is not installed")

from test_own_autoencoders import close, doubles, lively, pictures  # noqa: E402

from fdetect.nets.own import Refined, build, training_loss  # noqa: E402
from fdetect.nets.own.blocks import reconstruction_loss  # noqa: E402
from fdetect.nets.own.noise import content_noise  # noqa: E402
from fdetect.perturb import rng_for  # noqa: E402

TINY = Refined(width=3, latent_channels=2, factor=4, refiner_width=3, steps=3, sigma=0.2, weight=0.4)


def levels(count: int = 3, height: int = 16, width: int = 24) -> torch.Tensor:
    """Pictures of 8 bits, as float32."""
    return pictures(count, height, width).mul(255).round() / 255


def test_noise_is_that_of_the_content() -> None:
    images = levels()
    noise = content_noise(images, "some")
    assert (noise.dtype, noise.shape) == (torch.float32, images.shape)
    for one, found in zip(images, noise, strict=True):
        shown = np.rint(one.numpy().astype(np.float64) * 255).astype(np.uint8)
        id = xxhash.xxh3_128_hexdigest(b"16x24/" + shown.tobytes())
        expected = rng_for(0, id, "some").standard_normal((3, 16, 24), dtype=np.float32)
        assert np.array_equal(found.numpy(), expected)
    assert not torch.equal(content_noise(images, "other"), noise)


def test_noise_does_not_depend_on_batch_order_layout_or_last_bits() -> None:
    images = levels()
    noise = content_noise(images, "some")
    assert torch.equal(content_noise(images[1:2], "some"), noise[1:2])
    assert torch.equal(content_noise(images.flip(0), "some"), noise.flip(0))
    assert torch.equal(content_noise(images.contiguous(memory_format=torch.channels_last), "some"), noise)
    assert torch.equal(content_noise(images + 0.4 / 255, "some"), noise)
    images[0, 0, 0, 0] += (1 if images[0, 0, 0, 0] < 0.5 else -1) / 255
    assert not torch.equal(content_noise(images, "some")[0], noise[0])


def test_noise_is_standard_normal_and_the_sides_matter() -> None:
    flat = torch.full((1, 3, 64, 128), 0.5)
    noise = content_noise(flat, "some")
    assert float(noise.mean()) == pytest.approx(0, abs=5 / 24576**0.5)
    assert float(noise.std()) == pytest.approx(1, abs=5 / (2 * 24576) ** 0.5)
    assert not torch.equal(content_noise(flat.reshape(1, 3, 128, 64), "some").reshape(noise.shape), noise)


def test_the_refined_picture_equals_the_naive_reference() -> None:
    model, image = lively(TINY), levels(1)
    state = doubles(model)
    latent = naive.encode(image[0].double().numpy(), state, 4)
    decoded = naive.decode(latent, state, 4, "nearest")
    noise = content_noise(image, "own-refined")[0].double().numpy()
    with torch.no_grad():
        close(model.decode(model.encode(image))[0], decoded)
        close(model(image)[0], naive.flow(decoded, noise, state, 3, 0.2))


def test_the_flow_loss_equals_the_naive_reference() -> None:
    model, image = lively(TINY), levels(1)
    decoded, time = image.flip(3), 0.3
    x, d = image[0].double().numpy(), decoded[0].double().numpy()
    begun = d + 0.2 * content_noise(image, "own-refined")[0].double().numpy()
    found = naive.velocity(0.7 * begun + 0.3 * x, time, d, doubles(model), 0.2)
    expected = np.mean((found - (x - begun)) ** 2) / 0.2**2
    with torch.no_grad():
        loss = model.flow_loss(image, decoded, torch.full((1, 1, 1, 1), time))
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_a_flow_that_stands_still_leaves_the_noisy_picture() -> None:
    model, images = build(TINY).eval(), levels()
    with torch.no_grad():
        for parameter in model.refiner.last.parameters():
            parameter.zero_()
        expected = model.decode(model.encode(images)) + 0.2 * content_noise(images, "own-refined")
        assert torch.equal(model(images), expected)
        # the network gives v / sigma: 1 of it carries the picture by sigma in a unit of time, in however many steps
        model.refiner.last.bias.fill_(1.0)
        torch.testing.assert_close(model(images), expected + 0.2)


def test_the_autoencoder_learns_as_without_the_flow() -> None:
    model, images = lively(TINY), levels()
    reconstruction_loss(model.decode(model.encode(images)), images).backward()
    expected = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert all((expected[name] is None) == name.startswith("refiner.") for name in expected)
    model.zero_grad(set_to_none=True)
    training_loss(model, images).backward()
    for name, parameter in model.named_parameters():
        if name.startswith("refiner."):
            assert float(parameter.grad.abs().max()) > 0
        else:
            assert torch.equal(parameter.grad, expected[name])


def test_times_of_training_come_from_torchs_generator() -> None:
    model, images = lively(TINY), levels()
    values = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        values.append(training_loss(model, images).item())
    assert values[0] == values[1] != values[2]


def test_the_flow_learns_the_detail_that_the_decoder_lacks() -> None:
    """Where x - d is one pattern of 0.1 everywhere, the flow finds it from noise of 0.05."""
    model = build(Refined(width=1, latent_channels=1, factor=4, refiner_width=6, sigma=0.05))
    decoded = torch.full((4, 3, 8, 8), 0.5)
    images = decoded + 0.1 * torch.tensor([1.0, -1.0]).repeat(4)
    optimiser = torch.optim.AdamW(model.refiner.parameters(), lr=0.02)
    draws = torch.Generator().manual_seed(0)
    for _ in range(60):
        loss = model.flow_loss(images, decoded, torch.rand((4, 1, 1, 1), generator=draws))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        state = decoded + 0.05 * content_noise(images, "own-refined")
        for k in range(4):
            state = state + model.velocity(state, torch.full((4, 1, 1, 1), k / 4), decoded) / 4
    assert float((state - images).abs().mean()) < 0.05  # 0.1 before
