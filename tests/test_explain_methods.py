"""Explanations of networks: known answers, plain loops, places, and no trace left on the network.

Tolerance: 1e-5 of the map's largest value, float32 against float64 loops.
"""

from __future__ import annotations

import naive_explain as naive
import numpy as np
import pytest

from fdetect.errors import DataError, ParameterError, UnknownName
from fdetect.nets.detectors import build, network
from fdetect.nets.explaining import SHOWS, explain, explanation, logits_of, top_patches

torch = pytest.importorskip("torch", reason="the extra 'deep' is not installed")

from tiny_explained import CONFIG, FunctionalRelus, LeftHalf, Linear, filled, pixelwise  # noqa: E402
from torch import nn  # noqa: E402

from fdetect.nets.detectors.model import Convolutional, DetectorNetwork  # noqa: E402
from fdetect.nets.explaining.places import Places, places_of, spread  # noqa: E402
from fdetect.nets.explaining.randomising import randomised  # noqa: E402

METHODS = explanation.names()
CAMS = ("grad_cam", "grad_cam_plus_plus", "score_cam", "eigen_cam", "layer_activations")


def pictures(count: int = 2, height: int = 48, width: int = 56, seed: int = 0) -> torch.Tensor:
    return torch.rand((count, 3, height, width), generator=torch.Generator().manual_seed(seed))


def shown(model: DetectorNetwork, images: torch.Tensor, method: str) -> np.ndarray:
    return explain(model, images, explanation.read(method)).numpy()


def close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def small(stride: int = 4) -> Convolutional:
    """Two convolutions whose second gives the features, 4 channels."""
    trunk = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(inplace=True),
                          nn.Conv2d(6, 4, 3, stride // 2, 1), nn.ReLU(inplace=True))  # fmt: skip
    return filled(Convolutional(CONFIG, nn.Identity(), trunk, 4)).eval()


def with_slope(model: Convolutional, images: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Features and the gradients of the logits, in float64."""
    twin = small().double()
    twin.load_state_dict(model.state_dict())
    features = twin.features(images.double()).detach().requires_grad_()
    logits = twin.classifier(features.mean((-2, -1)))
    (slope,) = torch.autograd.grad(logits.sum(), features)
    return features.detach().numpy(), slope.numpy()


# --- known answers ----------------------------------------------------------------------------------------------------


def test_grad_cam_of_a_mean_and_a_linear_classifier_is_its_class_activation_map() -> None:
    model, images = small(), pictures()
    cells = model.patch_logits(images).detach() - model.classifier.bias.detach()
    size = cells.shape[-2] * cells.shape[-1]
    expected = spread(cells.clamp(min=0) / size, Places(0.0, 4.0), *images.shape[-2:]).numpy()
    close(shown(model, images, "grad_cam"), expected)
    assert expected.max() > 0


@pytest.mark.parametrize("name", METHODS)
def test_nothing_is_shown_where_a_network_is_blind(name: str) -> None:
    found = shown(LeftHalf(), pictures(), name)
    blind, seen = np.abs(found[:, :, 31:]).max(), np.abs(found[:, :, :25]).max()  # 2 px beyond 28 see a bit of the left
    offset = LeftHalf().classifier.bias.item() if name == "patch_logits" else 0.0
    assert blind == pytest.approx(abs(offset), abs=1e-6)
    assert seen > blind + 1e-4 if name != "negative_saliency" else seen > 1e-6


def test_the_saliency_of_a_linear_network_is_its_weights() -> None:
    weight = torch.randn((3, 64, 64), generator=torch.Generator().manual_seed(1))
    model, images = Linear(weight), pictures(2, 64, 64)
    plain = weight.double().sum(0).numpy()
    for times_input, expected in (("false", np.stack([plain, plain])), ("true", (images * weight).sum(1).numpy())):
        above = shown(model, images, f"positive_saliency:times_input={times_input}")
        below = shown(model, images, f"negative_saliency:times_input={times_input}")
        close(above, np.maximum(expected, 0))
        close(below, np.minimum(expected, 0))
    whole = (above + below).astype(np.float64).sum((1, 2)) + 0.5
    np.testing.assert_allclose(whole, logits_of(model, images)[0].numpy(), atol=1e-3)


@pytest.mark.parametrize("kind", ["module", "in place", "function in place"])
def test_guided_back_propagation_follows_its_rule_however_a_relu_is_written(kind: str) -> None:
    model, images = pixelwise(inplace=kind == "in place"), pictures(1, 36, 40)
    inner, hidden = model.trunk[0], model.trunk[2]
    if kind == "function in place":
        model.trunk = FunctionalRelus(model.trunk)
    arrays = [one.detach().double().numpy() for one in (inner.weight[:, :, 0, 0], inner.bias, hidden.weight[:, :, 0, 0],
                                                        hidden.bias, model.classifier.weight[0])]  # fmt: skip
    expected = naive.guided_pixelwise(images[0].double().numpy(), *arrays)
    assert expected.max() > 0
    close(shown(model, images, "guided_backprop")[0], expected)


def test_patch_logits_have_the_logit_as_their_mean_and_stand_at_the_centres_of_cells() -> None:
    model, images = build(network.get("npr")()).eval(), pictures(1, 64, 64)
    found = shown(model, images, "patch_logits")[0, ::8, ::8]
    np.testing.assert_allclose(found, model.patch_logits(images)[0].detach().numpy(), atol=1e-5)
    assert found.mean() == pytest.approx(model(images).item(), abs=1e-4)
    best = top_patches(model, images, count=3)[0]
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert (best[0].row, best[0].column) == (8.0 * row, 8.0 * column)
    assert [one.logit for one in best] == sorted((one.logit for one in best), reverse=True)


# --- plain loops ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["grad_cam", "grad_cam_plus_plus"])
def test_gradient_maps_equal_plain_loops(name: str) -> None:
    model, images = small(), pictures()
    for k, (features, slope) in enumerate(zip(*with_slope(model, images), strict=True)):
        cells = getattr(naive, name)(features, slope)
        close(shown(model, images, name)[k], naive.spread(cells, 0.0, 4.0, *images.shape[-2:]))


def test_score_cam_equals_plain_loops() -> None:
    model, images = small(), pictures()
    features, _ = with_slope(model, images)

    def logit(image: np.ndarray) -> float:
        with torch.no_grad():
            return float(model(torch.from_numpy(image)[None].float()))

    for k in range(2):
        cells = naive.score_cam(images[k].double().numpy(), features[k], logit, 0.0, 4.0, 3)
        expected = naive.spread(cells, 0.0, 4.0, *images.shape[-2:])
        np.testing.assert_allclose(shown(model, images, "score_cam:channels=3:batch=2")[k], expected,
                                   atol=1e-4 * expected.max())  # fmt: skip


@pytest.mark.parametrize("name", ["eigen_cam", "layer_activations"])
def test_maps_of_features_alone_equal_plain_loops(name: str) -> None:
    model, images = small(), pictures()
    for k, features in enumerate(with_slope(model, images)[0]):
        cells = naive.eigen_cam(features) if name == "eigen_cam" else np.abs(features).mean(0)
        close(shown(model, images, name)[k], naive.spread(cells, 0.0, 4.0, *images.shape[-2:]))


@pytest.mark.parametrize("height", [32, 64])  # fewer cells than channels, and more
def test_the_smaller_product_gives_the_same_component(height: int) -> None:
    trunk = nn.Sequential(nn.Conv2d(3, 80, 3, 4, 1), nn.Tanh())
    model, images = filled(Convolutional(CONFIG, nn.Identity(), trunk, 80)).eval(), pictures(2, height, 32)
    images = images * torch.linspace(0, 1, 32)
    with torch.no_grad():
        every = model.features(images).double().numpy()
    for k, features in enumerate(every):
        expected = naive.spread(naive.eigen_cam(features), 0.0, 4.0, *images.shape[-2:])
        close(shown(model, images, "eigen_cam")[k], expected)


# --- places -----------------------------------------------------------------------------------------------------------


class Ones(Convolutional):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(CONFIG, nn.Identity(), nn.Sequential(*layers), 2)


@pytest.mark.parametrize(
    "layers, first, step",
    [
        ((nn.Conv2d(3, 2, 3, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 3, 2, 1)), 0.0, 4.0),
        ((nn.Conv2d(3, 2, 7, 2, 3), nn.MaxPool2d(3, 2, 1)), 0.0, 4.0),
        ((nn.Conv2d(3, 2, 9),), 4.0, 1.0),
        ((nn.Conv2d(3, 2, 3), nn.Tanh(), nn.MaxPool2d(2), nn.Conv2d(2, 2, 3)), 3.5, 2.0),
        ((nn.Conv2d(3, 2, 8, 8),), 3.5, 8.0),
    ],
    ids=["padded", "resnet stem", "no padding", "pooled", "tiles"],
)
def test_cells_are_placed_at_the_middle_of_what_they_see(
    layers: tuple[nn.Module, ...], first: float, step: float
) -> None:
    for seed in (0, 1):
        model = filled(Ones(*layers), seed)
        assert places_of(model, lambda m, x: m.features(x), f"features {seed}") == Places(first, step)


@pytest.mark.parametrize(
    "name, first, step",
    [("npr", 0.0, 8.0), ("resnet18", 0.0, 32.0), ("vit:depth=1", 7.5, 16.0), ("cbam_resnet", 0.0, 32.0)],
)
def test_places_of_registered_networks(name: str, first: float, step: float) -> None:
    model = build(network.read(name)())
    assert places_of(model, lambda m, x: m.patch_logits(x), "patch logits") == Places(first, step)


def test_spreading_equals_plain_loops_and_keeps_the_values_of_cells() -> None:
    cells = torch.randn((2, 5, 7), generator=torch.Generator().manual_seed(0))
    for first, step in ((0.0, 8.0), (3.5, 8.0), (4.0, 1.0), (2.5, 4.0)):
        found = spread(cells, Places(first, step), 41, 50).numpy()
        expected = [naive.spread(one, first, step, 41, 50) for one in cells.double().numpy()]
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert spread(cells, Places(4.0, 1.0), 41, 50)[1, 4 + 3, 4 + 2] == cells[1, 3, 2]


def test_features_that_are_not_laid_out_as_the_picture_have_no_map() -> None:
    with pytest.raises(ParameterError, match="not laid out as the picture"):
        shown(build(network.get("patchcraft")()), pictures(1, 128, 128), "eigen_cam")


# --- what stays as it was ---------------------------------------------------------------------------------------------


def state(model: nn.Module) -> dict[str, object]:
    modules = list(model.modules())
    hooks = [(one._forward_hooks, one._forward_pre_hooks, one._backward_hooks) for one in modules]
    return {
        "modes": [one.training for one in modules],
        "hooks": sum(len(some) for three in hooks for some in three),
        "in place": [getattr(one, "inplace", None) for one in modules],
        "shadowed": [name for name in ("features", "maps") if name in vars(model)],
        "gradients": [(one.requires_grad, one.grad) for one in model.parameters()],
        "values": {key: tensor.sum().item() for key, tensor in model.state_dict().items()},
        "generator": torch.get_rng_state().sum().item(),
        "grad": torch.is_grad_enabled(),
    }


@pytest.mark.parametrize("name", METHODS)
def test_no_trace_is_left_and_batches_change_nothing(name: str) -> None:
    model, images = small().train(), pictures(3)
    model.trunk[1].eval()
    model.trunk[0].weight.requires_grad_(False)
    before, given = state(model), images.clone()
    found = shown(model, images, name)
    assert state(model) == before
    assert torch.equal(images, given)
    assert not images.requires_grad
    alone = np.concatenate([shown(model, one[None], name) for one in images])
    np.testing.assert_allclose(found, alone, atol=1e-5 * np.abs(alone).max())
    with torch.inference_mode():
        assert np.array_equal(shown(model, images, name), found)
    assert found.dtype == np.float32
    assert found.shape == (3, 48, 56)


def test_no_trace_is_left_where_an_explanation_fails() -> None:
    model = small().train()
    before = state(model)
    for name in ("grad_cam:layer=classifier", "grad_cam:layer=nowhere"):
        with pytest.raises(ParameterError):
            shown(model, pictures(), name)
    assert state(model) == before


@pytest.mark.parametrize("name", [*CAMS, "guided_backprop", "positive_saliency"])
def test_a_frozen_network_is_explained_like_any_other(name: str) -> None:
    expected = shown(small(), pictures(), name)
    assert np.array_equal(shown(small().requires_grad_(False), pictures(), name), expected)


@pytest.mark.parametrize("name", CAMS)
def test_a_named_layer_is_seen_before_what_works_on_it_in_place(name: str) -> None:
    model, images = small(), pictures()
    assert np.array_equal(shown(model, images, f"{name}:layer=trunk"), shown(model, images, name))
    model.trunk[4].inplace = False
    expected = shown(model, images, f"{name}:layer=trunk.3")
    model.trunk[4].inplace = True
    assert np.array_equal(shown(model, images, f"{name}:layer=trunk.3"), expected)


def test_random_weights_are_new_all_of_them_and_those_of_their_seed() -> None:
    model = build(network.get("residual_trunk")())
    before, rng = {key: value.clone() for key, value in model.state_dict().items()}, torch.get_rng_state()
    fresh, again, other = (randomised(model, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), rng)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    drawn = dict(fresh.named_parameters())
    assert all(torch.equal(value, drawn[key]) for key, value in again.named_parameters())
    kernels = [key for key, value in model.named_parameters() if value.ndim > 1]
    assert kernels
    for key in kernels:
        assert not torch.equal(drawn[key], before[key])
        assert not torch.equal(drawn[key], dict(other.named_parameters())[key])
    assert torch.isfinite(fresh.eval()(pictures(1, 64, 64))).all()


# --- what cannot be ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, method, words",
    [
        ("mlp", "grad_cam", "no convolutional features"),
        ("mlp", "patch_logits", "no logits of places"),
        ("lenet", "guided_backprop", "no ReLU"),
        ("lenet", "grad_cam:layer=trun", "did you mean 'trunk'"),
        ("lenet", "eigen_cam:layer=classifier", "no maps"),
        ("lenet", "score_cam:channels=0", "at least 1"),
    ],
)
def test_what_a_network_does_not_have_is_said(name: str, method: str, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        shown(build(network.get(name)()), pictures(1, 64, 64), method)


def test_pictures_that_cannot_be_explained_are_refused() -> None:
    model = small()
    spoilt = pictures()
    spoilt[1, 0, 5, 5] = float("nan")
    for images, error, words in (
        (spoilt, DataError, "finite"),
        (pictures()[:, :2], ParameterError, "images"),
        (pictures()[0], ParameterError, "images"),
        (pictures()[:0], ParameterError, "images"),
        ((255 * pictures()).byte(), ParameterError, "floating point"),
        (pictures(1, 8, 40), ParameterError, "at least"),
    ):
        with pytest.raises(error, match=words):
            shown(model, images, "grad_cam")
    with pytest.raises(UnknownName, match="grad_cam"):
        explanation.read("grad_cams")
    with torch.no_grad():
        model.classifier.bias.fill_(float("inf"))
    with pytest.raises(DataError, match="no finite number"):
        shown(model, pictures(), "grad_cam")


def test_every_explanation_says_how_it_is_read_and_where_it_comes_from() -> None:
    assert len(METHODS) >= 9
    for entry in explanation:
        assert entry.shows in SHOWS
        assert "Source:" in entry.doc
        assert "(B, 3, H, W) -> (B, H, W)" in entry.summary
