"""`super_resolution` and `pixel`, which have no latent of their own: plain references and known answers."""

from __future__ import annotations

from pathlib import Path

import naive_own as naive
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'deep' is not installed")

from test_own_autoencoders import close, doubles, lively, pictures, put  # noqa: E402

from fdetect.nets.autoencoders import load_autoencoder  # noqa: E402
from fdetect.nets.own import Pixel, SuperResolution, build  # noqa: E402
from fdetect.nets.own.noise import content_noise  # noqa: E402


@pytest.mark.parametrize("factor", [2, 4])
def test_super_resolution_equals_the_naive_reference(factor: int) -> None:
    model, image = lively(SuperResolution(width=3, factor=factor, blocks=2)), pictures(1)
    small = naive.shrink(image[0].double().numpy(), factor)
    with torch.no_grad():
        close(model.encode(image)[0], 2 * small - 1)
        close(model(image)[0], naive.enlarge(small, doubles(model), 2, factor))


def test_super_resolution_begins_at_repeated_pixels() -> None:
    model, image = build(SuperResolution(width=3, factor=2, blocks=1)), pictures(1)
    with torch.no_grad():
        for parameter in model.decoder.last.parameters():
            parameter.zero_()
        again = model(image)
    means = image.unflatten(3, (12, 2)).unflatten(2, (8, 2)).mean(dim=(3, 5))
    torch.testing.assert_close(again, means.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_nothing_is_learned_about_the_small_picture() -> None:
    assert not list(build(SuperResolution()).encoder.parameters())
    assert not list(build(Pixel()).encoder.parameters())


@pytest.mark.parametrize("halvings", [1, 2])
def test_pixel_equals_the_naive_reference(halvings: int) -> None:
    model, image = lively(Pixel(width=3, sigma=0.2, halvings=halvings)), pictures(1)
    noisy = image[0].double().numpy() + 0.2 * content_noise(image, "own-pixel")[0].double().numpy()
    seen = naive.unet(2 * noisy - 1, doubles(model), "decoder.noise", halvings)
    with torch.no_grad():
        close(model.encode(image)[0], 2 * noisy - 1)
        close(model(image)[0], noisy - 0.2 * seen)


def test_a_network_that_sees_no_noise_leaves_the_noisy_picture() -> None:
    model, images = build(Pixel(width=3, sigma=0.2)), pictures(2, 32, 32)
    with torch.no_grad():
        for parameter in model.decoder.noise.last.parameters():
            parameter.zero_()
        again = model(images)
    torch.testing.assert_close(again, images + 0.2 * content_noise(images, "own-pixel"), rtol=0, atol=1e-6)
    assert float((again - images).std()) == pytest.approx(0.2, rel=0.05)


@pytest.mark.parametrize("config", [Pixel(width=3), SuperResolution(width=3, blocks=1)], ids=("pixel", "super"))
def test_one_image_gives_one_result_whatever_it_is_among(config: object, tmp_path: Path) -> None:
    folder = put(tmp_path / "mine", lively(config))
    images = pictures(4).mul(255).round() / 255
    autoencoder = load_autoencoder(str(folder), device="cpu")
    again = autoencoder.reconstruct(images)
    order = [2, 0, 3]
    assert torch.equal(autoencoder.reconstruct(images[order]), again[order])
    assert torch.equal(load_autoencoder(str(folder), device="cpu").reconstruct(images), again)
    assert np.isfinite(again.numpy()).all()
