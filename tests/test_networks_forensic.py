"""Forensic networks: whole forwards against plain float64 loops, published weights, sizes, seeds, patches.

Tolerance of logits, float32 against float64 or another order of sums: 1e-4 of 1 or of the logit, unless stated.
"""

from __future__ import annotations

import functools
from pathlib import Path

import naive_networks as naive
import numpy as np
import pytest

from fdetect.errors import ParameterError
from fdetect.nets.detectors import build, network

torch = pytest.importorskip("torch", reason="the extra 'deep' is not installed")

from test_networks_stems import doubles, pictures  # noqa: E402

from fdetect.nets.detectors.model import DetectorNetwork  # noqa: E402
from fdetect.nets.training import Schedule  # noqa: E402

TINY_LADEDA = Path(__file__).resolve().parent.parent.parent / "shared" / "weights" / "tiny_ladeda"

# name: parameters.  NPR: 1.44 M of its authors; trunks of ResNet-50 23,508,032 and ResNet-18 11,176,512 as torchvision
# counts them (25,557,032 and 11,689,512 with 1,000 classes); BagNet-9 15,688,744 with 1,000 classes, 2,049,000 of them
PARAMETERS = {
    "npr": 1_437_761,
    "safe": 1_437_761,
    "ladeda": 15_688_744 - 2_049_000 + 2_049,
    "tiny_ladeda": 1_297,
    "cnnspot": 23_508_032 + 2_049,
    "gragnaniello": 23_508_032 + 2_049,
    "gram_net": 11_502_465,
    "patchcraft": 118_849,
    "residual_trunk": 558_081,
}
NAMES = tuple(PARAMETERS)
VARIANTS = ("tiny_ladeda:stem=right_diag", "tiny_ladeda:stem=raw", "residual_trunk:bank=all:width=16",
            "residual_trunk:norm=group", "residual_trunk:norm=channel")  # fmt: skip
SMALL = ("npr", "safe", "tiny_ladeda", "patchcraft", "residual_trunk", *VARIANTS)


@functools.cache
def ready(name: str) -> DetectorNetwork:
    """A network in evaluation mode whose norms have statistics of their own; no test changes it."""
    model = build(network.read(name)(), seed=3).eval()
    generator = torch.Generator().manual_seed(1)
    for key, buffer in model.named_buffers():
        if key.endswith(("running_mean", "running_var")):
            shift = 0.5 if key.endswith("var") else -0.1
            buffer.add_(0.2 * torch.rand(buffer.shape, generator=generator) + shift)
    with torch.no_grad():
        for tensor in model.parameters():
            if tensor.ndim == 1:
                tensor.add_(0.2 * torch.rand(tensor.shape, generator=generator) - 0.1)
    return model


def logits(model: DetectorNetwork, images: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return model(images).numpy()


def state(model: DetectorNetwork) -> dict[str, np.ndarray]:
    return {key: doubles(tensor) for key, tensor in model.state_dict().items()}


# --- whole networks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "count"), PARAMETERS.items())
def test_the_number_of_parameters_is_the_published_one(name: str, count: int) -> None:
    assert sum(tensor.numel() for tensor in ready(name).parameters()) == count


def test_npr_is_the_plain_resnet_of_two_stages() -> None:
    images = pictures(33, 38)
    maps = naive.resampled(naive.standardised(doubles(images)[0]), 2, 2 / 3)
    expected = naive.resnet_logit(maps, state(ready("npr")), strides=(1, 2))
    np.testing.assert_allclose(logits(ready("npr"), images), [expected], rtol=1e-4, atol=1e-4)


def test_safe_is_that_resnet_of_the_enlarged_band() -> None:
    images = pictures(32, 35)
    maps = np.stack([naive.enlarged(naive.diagonal_band(plane), 32, 35) for plane in doubles(images)[0]])
    expected = naive.resnet_logit(maps, state(ready("safe")), strides=(1, 2))
    np.testing.assert_allclose(logits(ready("safe"), images), [expected], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "stride"), [("cnnspot", 2), ("gragnaniello", 1)])
def test_resnet_50_with_and_without_strides_in_its_stem(name: str, stride: int) -> None:
    images = pictures(32, 33)
    maps = naive.standardised(doubles(images)[0])
    expected = naive.resnet_logit(maps, state(ready(name)), stride=stride, strides=(1, 2, 2, 2))
    np.testing.assert_allclose(logits(ready(name), images), [expected], rtol=1e-3, atol=1e-3)  # 50 layers of float32


def test_ladeda_is_the_plain_network_without_padding() -> None:
    images = pictures(37, 32)
    maps = naive.resampled(naive.standardised(doubles(images)[0]), 2, 1.0)
    expected = naive.local_logit(maps, state(ready("ladeda")))
    np.testing.assert_allclose(logits(ready("ladeda"), images), [expected], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("weights", ["ForenSynth", "WildRF"])
@pytest.mark.parametrize(("stem", "theirs"), [("npr", "NPR"), ("right_diag", "right_diag"), ("raw", "raw")])
def test_published_tiny_ladeda_gives_its_authors_logits(
    weights: str, stem: str, theirs: str, shared_data: Path
) -> None:
    """Within 3e-4 of a logit: they are hundreds to thousands, since a norm divides by a tiny deviation."""
    if not (TINY_LADEDA / "golden.npz").exists():
        pytest.skip("the published Tiny-LaDeDa (../shared/weights/tiny_ladeda) is not here")
    from PIL import Image

    golden = np.load(TINY_LADEDA / "golden.npz")
    found = torch.load(TINY_LADEDA / f"{weights}_Tiny_LaDeDa.pth", weights_only=True, map_location="cpu")
    model = build(network.read(f"tiny_ladeda:stem={stem}")()).eval()
    head = {"fc.weight": "classifier.weight", "fc.bias": "classifier.bias"}
    model.load_state_dict({head.get(key, f"trunk.{key}"): tensor for key, tensor in found.items()})
    crops = [np.asarray(Image.open(shared_data / path).convert("RGB"))[:256, :256] for path in golden["paths"]]
    images = torch.from_numpy(np.stack(crops).astype(np.float32) / np.float32(255)).movedim(-1, 1)
    np.testing.assert_allclose(logits(model, images), golden[f"{weights}_{theirs}"], rtol=3e-4)
    if stem == "npr":
        maps = naive.resampled(naive.standardised(doubles(images[:1, :, :40, :44])[0]), 2, 1.0)
        expected = naive.tiny_logit(maps, {key: doubles(tensor) for key, tensor in found.items()})
        np.testing.assert_allclose(logits(model, images[:1, :, :40, :44]), [expected], rtol=3e-4)


@pytest.mark.parametrize("name", NAMES)
def test_recipes_are_settings_of_the_training_loop(name: str) -> None:
    config = network.get(name)()
    schedule = Schedule(**config.RECIPE)
    assert schedule != Schedule()


# --- what every network keeps ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*NAMES, *VARIANTS])
def test_odd_sizes_give_finite_logits_and_small_ones_a_sentence(name: str) -> None:
    model, least = ready(name), ready(name).config.LEAST
    found = logits(model, pictures(least + 3, least, count=2))
    assert (found.dtype, found.shape) == (np.float32, (2,))
    assert np.isfinite(found).all()
    assert found[0] != found[1]
    with pytest.raises(ParameterError, match=f"sides of at least {least} px; got {least} x {least - 1}"):
        model(pictures(least, least - 1))


@pytest.mark.parametrize("name", [*NAMES, *VARIANTS])
def test_the_mean_of_patch_logits_is_the_logit(name: str) -> None:
    model, images = ready(name), pictures(35, 42, count=2)
    with torch.no_grad():
        patches = model.patch_logits(images)
    if name in ("gram_net", "patchcraft"):
        assert patches is None
        return
    assert patches.ndim == 3
    assert patches.dtype == torch.float32
    np.testing.assert_allclose(patches.mean((1, 2)).numpy(), logits(model, images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "side"), [("ladeda", 9), ("tiny_ladeda:stem=raw", 5), ("residual_trunk", 72)])
def test_a_patch_logit_sees_its_patch_alone(name: str, side: int) -> None:
    images = pictures(120, 122).requires_grad_()
    patches = ready(name).patch_logits(images)
    middle = patches[0, patches.shape[1] // 2, patches.shape[2] // 2]
    reached = torch.autograd.grad(middle, images)[0].abs().sum((0, 1)) > 0
    rows, columns = reached.any(1).nonzero(), reached.any(0).nonzero()
    assert int(rows.max() - rows.min()) + 1 <= side
    assert int(columns.max() - columns.min()) + 1 <= side
    assert int(rows.max() - rows.min()) + 1 > 0.8 * side


@pytest.mark.parametrize("name", SMALL)
def test_a_logit_does_not_depend_on_the_rest_of_the_batch(name: str) -> None:
    images, others = pictures(68, 64, count=3), pictures(68, 64, count=3, seed=9)
    others[1] = images[1]
    together, alone = logits(ready(name), images), logits(ready(name), images[1:2])
    np.testing.assert_allclose(together[1:2], alone, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(logits(ready(name), others)[1], together[1])


@pytest.mark.parametrize("name", [*NAMES, *VARIANTS])
def test_gradients_are_finite_and_reach_every_parameter_and_the_picture(name: str) -> None:
    model = build(network.read(name)())
    images = pictures(model.config.LEAST, model.config.LEAST + 1, count=2).requires_grad_()
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)  # as training does
    try:
        torch.nn.functional.softplus(model(images)).sum().backward()
    finally:
        torch.use_deterministic_algorithms(before)
    for key, tensor in model.named_parameters():
        assert tensor.grad is not None, key
        assert torch.isfinite(tensor.grad).all(), key
    assert images.grad.any()


@pytest.mark.parametrize("name", SMALL)
def test_a_seed_decides_every_tensor_and_the_global_generator_is_left_alone(name: str) -> None:
    before = torch.get_rng_state()
    one, same, other = (build(network.read(name)(), seed=seed).state_dict() for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["classifier.weight"], other["classifier.weight"])


@pytest.mark.parametrize("name", ["npr", "safe", "tiny_ladeda:stem=right_diag", "patchcraft", "residual_trunk"])
def test_stem_and_classifier_stay_float32_in_a_training_in_bfloat16(name: str) -> None:
    model, images = ready(name), pictures(64, 64, count=2)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        maps, found = model.maps(images), model(images)
    assert torch.equal(maps, model.maps(images))
    assert found.dtype == torch.float32
    assert not torch.equal(found, found.to(torch.bfloat16).float())  # more than eight bits are in use


@pytest.mark.parametrize("name", ["npr", "safe", "residual_trunk", "ladeda"])
def test_residual_networks_do_not_see_brightness(name: str) -> None:
    images = pictures(64, 64, count=2) * 0.5
    np.testing.assert_allclose(logits(ready(name), images + 0.25), logits(ready(name), images), rtol=2e-3, atol=2e-3)


def test_colours_are_told_apart() -> None:
    images = pictures(64, 64)
    for name in ("npr", "safe", "ladeda", "patchcraft", "residual_trunk", "cnnspot"):
        assert abs(logits(ready(name), images) - logits(ready(name), images.flip(1))).max() > 1e-5, name


def test_dropout_acts_in_training_alone() -> None:
    images = pictures(64, 64, count=4)
    model = build(network.read("residual_trunk:norm=group:dropout=0.5")())
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))
    steady = build(network.read("residual_trunk:norm=group:dropout=0")())
    assert torch.equal(steady(images), steady(images))


@pytest.mark.parametrize("name", ["residual_trunk:width=16", "patchcraft", "tiny_ladeda"])
def test_a_few_steps_learn_that_enlarged_noise_is_generated(name: str) -> None:
    real = pictures(64, 64, count=8)
    fake = pictures(32, 32, count=8).repeat_interleave(2, -2).repeat_interleave(2, -1)
    images, labels = torch.cat([real[:6], fake[:6]]), torch.tensor([0.0] * 6 + [1.0] * 6)
    model = build(network.read(name)())
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(8):
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(model(images), labels).backward()
        optimizer.step()
    model.train()  # with the statistics of its batch: a few steps are too few for running ones
    model.dropout.eval()
    with torch.no_grad():
        found = model(torch.cat([real[6:], fake[6:]]))
    assert found[2:].min() > found[:2].max()


@pytest.mark.parametrize(("text", "said"), [
    ("tiny_ladeda:stem=nrp", "stem is one of npr, right_diag, raw; got 'nrp'"),
    ("residual_trunk:norm=layer", "norm is one of batch, group, channel"),
    ("residual_trunk:bank=some", "bank is one of few, all"),
    ("residual_trunk:dropout=1.0", "dropout must be below 1"),
    ("residual_trunk:truncation=0", "truncation must be a number above 0"),
    ("residual_trunk:width=24", "width must be a multiple of 16"),
    ("patchcraft:step=32", "step must be a whole number from 4 to 16"),
    ("gram_net:channels=0", "channels must be a whole number from 4 to 128"),
])  # fmt: skip
def test_settings_outside_their_range_are_refused(text: str, said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        network.read(text)()
