"""General networks: shapes, seeds, sizes against the literature, CBAM and LoRA by plain loops, local weights.

Tolerances, float32 against float64 or another order of sums: 1e-5 of the largest entry, unless stated.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import naive_attention
import numpy as np
import pytest

from fdetect.errors import ParameterError, WeightsAbsent, WeightsError
from fdetect.nets.detectors import build, config_from_json, network

torch = pytest.importorskip("torch", reason="the deep extra is not installed")
transformers = pytest.importorskip("transformers", reason="the deep extra is not installed")

from safetensors.torch import load_file, save_file  # noqa: E402
from tiny_encoders import save_family, save_tiny, shake  # noqa: E402

from fdetect.nets.detectors import lora  # noqa: E402
from fdetect.nets.detectors.attention import Cbam  # noqa: E402
from fdetect.nets.detectors.cells import CellStatistics  # noqa: E402
from fdetect.nets.detectors.loading import load_network_folder, save_network  # noqa: E402
from fdetect.nets.detectors.pretrained import fill_resnet  # noqa: E402
from fdetect.nets.detectors.resnet import ResNet  # noqa: E402
from fdetect.nets.encoders import load_encoder  # noqa: E402

# small settings of each architecture; those of dinov2 are completed by its encoder's folder
SMALL = {
    "mlp": "mlp:grid=4:width=16",
    "lenet": "lenet",
    "cbam_resnet": "cbam_resnet",
    "vit": "vit:width=24:depth=2:heads=3:size=64",
    "vit-class": "vit:width=24:depth=2:heads=3:size=64:pool=class",
    "swin": "swin:width=32:depths=1-2-1-1:window=4",
    "efficientnet": "efficientnet_b4:width=0.2:depth=0.3:from_scratch=true",
    "head": "dinov2:mode=head",
    "lora": "dinov2:rank=2",
    "full": "dinov2:mode=full:pool=mean",
}
WITH_PLACES = {"lenet", "cbam_resnet", "vit", "swin", "efficientnet", "full"}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny DINOv2 trained at 56 px."""
    return save_tiny(tmp_path_factory.mktemp("dinov2"), image_size=56)


@pytest.fixture(scope="module")
def small(encoder: Path):
    """A function that makes the configuration of a name of SMALL."""

    def made(name: str):
        entry = network.read(SMALL[name])
        return entry(encoder=str(encoder)) if "encoder" in entry.settings else entry()

    return made


def pictures(n: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed))


def close(found: torch.Tensor, expected: torch.Tensor | np.ndarray, tolerance: float = 1e-5) -> None:
    expected = np.asarray(expected.detach() if isinstance(expected, torch.Tensor) else expected)
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=tolerance * max(np.abs(expected).max(), 1))


# --- every architecture ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_any_size_gives_a_logit_and_what_learns_gets_gradients(small, name: str) -> None:
    model = build(small(name), seed=1)
    logits = model(pictures(3, 64, 64))
    assert logits.shape == (3,)
    assert logits.dtype == torch.float32
    logits.square().sum().backward()
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in learning)
    assert sum(float(parameter.grad.abs().sum()) > 0 for parameter in learning) > len(learning) / 2
    model.eval()
    for height, width in ((32, 32), (45, 77), (97, 33)):
        assert model(pictures(2, height, width)).isfinite().all()
    with pytest.raises(ParameterError, match="takes sides of at least 32 px; got 31 x 64"):
        model(pictures(1, 31, 64))


@pytest.mark.parametrize("name", SMALL)
def test_a_picture_is_judged_alike_in_every_batch(small, name: str) -> None:
    model = build(small(name), seed=1).eval()
    images = pictures(5, 70, 61, seed=2)
    together = model(images)
    close(model(images[2:3]), together[2:3])
    close(model(images.flip(0)).flip(0), together)
    embedding = model.embed(images)
    close(model.classifier(embedding).squeeze(-1), together)
    places = model.patch_logits(images)
    assert (places is not None) == (name in WITH_PLACES)
    if places is not None:
        close(places.mean((-2, -1)), together)


@pytest.mark.parametrize("name", SMALL)
def test_the_seed_decides_every_tensor_and_config_json_the_network(small, name: str) -> None:
    config = small(name)
    before = torch.random.get_rng_state()
    first, again, other = (build(config, seed=seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(tensor, again[key]) for key, tensor in first.items())
    assert any(not torch.equal(tensor, other[key]) for key, tensor in first.items())
    read = config_from_json(config.to_json())
    assert replace(read, sha256="") == config if "dinov2" in SMALL[name] else read == config


@pytest.mark.parametrize(
    ("text", "millions"),
    [  # published counts without their heads of 1000 classes; LeNet-5 by its formula
        ("lenet", 0.061241), ("resnet18", 11.1765), ("resnet50", 23.508), ("cbam_resnet", 11.2643),
        ("swin", 27.5194), ("vit", 5.4991), ("vit:width=768:heads=12:size=224", 85.799),
        ("resnext101:from_scratch=true", 86.7424), ("efficientnet_b4:from_scratch=true", 17.5486),
    ],
)  # fmt: skip
def test_sizes_are_those_of_the_literature(text: str, millions: float) -> None:
    with torch.device("meta"):
        model = network.read(text)().model()
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(millions, abs=3e-3)


@pytest.mark.parametrize("name", ["mlp", "lenet"])
def test_noise_is_told_from_flat_colours_after_a_few_steps(small, name: str) -> None:
    model = build(small(name), seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    label = torch.tensor([0.0, 1.0] * 8)
    for step in range(40):
        images = pictures(16, 32, 32, seed=step)
        images[::2] = images[::2].mean((-2, -1), keepdim=True)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model(images), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.1


# --- the arithmetic --------------------------------------------------------------------------------------------------


def test_cbam_equals_the_plain_loops() -> None:
    torch.manual_seed(0)
    module, features = Cbam(8, reduction=4, kernel=3), torch.randn(2, 8, 5, 6)
    weights = [module.squeeze.weight, module.widen.weight, module.place.weight[0]]
    plain = [weight.detach().double().numpy() for weight in weights]
    for image, found in zip(features, module(features), strict=True):
        close(found, naive_attention.cbam(image.double().numpy(), *plain))


def test_cbam_without_weights_halves_twice() -> None:
    module, features = Cbam(32), torch.randn(1, 32, 4, 4)
    for parameter in module.parameters():
        torch.nn.init.zeros_(parameter)
    torch.testing.assert_close(module(features), features / 4)


@pytest.mark.parametrize(("height", "width"), [(12, 16), (13, 22)])
def test_cell_statistics_equal_the_plain_loops(height: int, width: int) -> None:
    image = pictures(1, height, width)
    close(CellStatistics(4)(image)[0], naive_attention.cell_statistics(image[0].double().numpy(), 4))


def test_lenet_has_one_place_at_its_own_size(small) -> None:
    model = build(small("lenet")).eval()
    image = pictures(1, 32, 32)
    assert model.patch_logits(image).shape == (1, 1, 1)
    assert model.patch_logits(pictures(1, 36, 40)).shape == (1, 2, 3)


def test_what_no_patch_covers_is_not_seen(small) -> None:
    for name, patch in (("vit", 16), ("head", 14)):
        model = build(small(name)).eval()
        image = pictures(1, 3 * patch + 5, 4 * patch + 3)
        close(model(image), model(image[..., : 3 * patch, : 4 * patch]))


# --- LoRA ------------------------------------------------------------------------------------------------------------


def test_a_low_rank_layer_equals_the_plain_formula() -> None:
    torch.manual_seed(0)
    layer = lora.Lora(torch.nn.Linear(6, 5), rank=3, alpha=7.0)
    torch.nn.init.normal_(layer.up)
    x = torch.randn(6)
    parts = (layer.base.weight, layer.base.bias, layer.down, layer.up)
    expected = naive_attention.low_rank(x.double().numpy(), *(p.detach().double().numpy() for p in parts), 7.0)
    close(layer(x), expected)


def test_lora_begins_as_the_frozen_network(small) -> None:
    images = pictures(2, 56, 56)
    frozen, adapted = build(small("head")).eval(), build(small("lora")).eval()
    adapted.classifier.load_state_dict(frozen.classifier.state_dict())
    torch.testing.assert_close(adapted(images), frozen(images), rtol=0, atol=0)


@pytest.mark.parametrize("mode", ["head", "lora", "full"])
def test_what_learns_is_what_the_mode_says(small, encoder: Path, mode: str) -> None:
    model = build(small(mode))
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    for step in range(2):  # the first step leaves A alone, since B is zero
        optimizer.zero_grad()
        model(pictures(4, 56, 56, seed=step)).sum().backward()
        optimizer.step()
    changed = {key for key, tensor in model.state_dict().items() if not torch.equal(tensor, before[key])}
    added = {key for key in before if key.endswith((".down", ".up"))}
    assert len(added) == (8 if mode == "lora" else 0)  # A and B, query and value, two blocks
    if mode == "full":
        assert len(changed) > 20
        assert "trunk.tower.embeddings.mask_token" not in changed
    else:
        assert changed == added | {"classifier.weight", "classifier.bias"}


def test_low_rank_needs_a_layer_to_adapt() -> None:
    with pytest.raises(ParameterError, match="no linear layer called query to adapt"):
        lora.add_lora(torch.nn.Sequential(torch.nn.Linear(2, 2)), ["query"], rank=1, alpha=1.0)


@pytest.mark.parametrize("family", ["dinov2", "dinov2-reg", "dinov2-giant"])
def test_dinov2_sees_what_the_encoder_sees(tmp_path: Path, family: str) -> None:
    folder, images = save_family(tmp_path, family), pictures(2, 56, 56)
    model = build(network.get("dinov2")(encoder=str(folder), mode="head")).eval()
    expected = load_encoder(folder, pos_interp="size", size=56, device="cpu").encode(images)
    close(model.embed(images), expected, 2e-5)
    mean = build(network.get("dinov2")(encoder=str(folder), mode="head", pool="mean")).eval()
    assert mean.patch_logits(pictures(1, 42, 70)).shape == (1, 3, 5)


def test_a_trained_detector_keeps_to_its_encoder(small, tmp_path: Path) -> None:
    config, images = small("lora"), pictures(2, 56, 56)
    model = build(config).eval()
    save_network(model, tmp_path / "saved")
    loaded = load_network_folder(tmp_path / "saved")
    torch.testing.assert_close(loaded(images), model(images), rtol=0, atol=0)
    assert loaded.config.sha256
    other = save_family(tmp_path / "other", "dinov2", mlp_ratio=2)
    with pytest.raises(WeightsError, match="is not the encoder that the detector was trained with: its sha256 is"):
        build(replace(loaded.config, encoder=str(other)))


# --- local weights ---------------------------------------------------------------------------------------------------


def saved_model(folder: Path, kind: str, **sizes) -> object:
    """Save an image classifier of transformers, its first values shaken, and return it."""
    name = getattr(transformers, f"{kind}ForImageClassification")
    model = name(name.config_class(**sizes)).eval()
    shake(model)
    for key, buffer in model.named_buffers():
        if key.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    model.save_pretrained(folder)
    return model


def test_a_pretrained_vit_sees_what_transformers_sees(tmp_path: Path) -> None:
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 96}
    theirs = saved_model(tmp_path, "ViT", **sizes, image_size=64, patch_size=16)
    text = f"{SMALL['vit-class']}:pretrained={tmp_path}"
    model, images = build(network.read(text)()).eval(), pictures(2, 64, 64)
    expected = theirs.vit((images - 0.5) / 0.5).last_hidden_state[:, 0]
    close(model.embed(images), expected, 2e-5)
    with pytest.raises(WeightsError, match="is not this vit: its num_attention_heads is 3, not 2"):
        build(network.read(text.replace("heads=3", "heads=2"))())
    with pytest.raises(WeightsError, match="is not this swin: its model_type is vit, not swin"):
        build(network.read(f"swin:pretrained={tmp_path}")())
    tensors = load_file(tmp_path / "model.safetensors")
    tensors.pop(next(key for key in tensors if "layernorm_after" in key))
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"is not this vit: it lacks layers\.0\.layernorm_after"):
        build(network.read(text)())


def test_a_pretrained_swin_sees_what_transformers_sees(tmp_path: Path) -> None:
    """At 96 px every stage is larger than a window of 2, so that transformers too shifts all of them."""
    sizes = {"embed_dim": 32, "depths": [1, 2, 1, 1], "num_heads": [1, 2, 4, 8], "window_size": 2, "image_size": 96}
    theirs = saved_model(tmp_path, "Swin", **sizes)
    config = network.read(f"swin:width=32:depths=1-2-1-1:window=2:pretrained={tmp_path}")()
    model, images = build(config).eval(), pictures(2, 96, 96)
    expected = theirs.swin(model.maps(images)).pooler_output
    close(model.embed(images), expected, 2e-5)


def test_a_pretrained_efficientnet_sees_what_transformers_sees(tmp_path: Path) -> None:
    own = build(network.read(SMALL["efficientnet"])()).trunk.tower.config
    theirs = saved_model(tmp_path, "EfficientNet", **{
        key: getattr(own, key)
        for key in ("width_coefficient", "depth_coefficient", "hidden_dim", "depthwise_padding", "image_size")
    })  # fmt: skip
    text = f"efficientnet_b4:width=0.2:depth=0.3:pretrained={tmp_path}"
    model, images = build(network.read(text)()).eval(), pictures(2, 64, 64)
    expected = theirs.efficientnet.encoder(theirs.efficientnet.embeddings(model.maps(images))).last_hidden_state
    close(model.features(images), expected, 2e-5)
    with pytest.raises(WeightsError, match=r"is not this efficientnet_b4: its depth_coefficient is 0\.3, not 0\.4"):
        build(network.read(f"efficientnet_b4:width=0.2:depth=0.4:pretrained={tmp_path}")())


def test_a_pretrained_resnet18_sees_what_transformers_sees(tmp_path: Path) -> None:
    theirs = saved_model(tmp_path, "ResNet", depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512], layer_type="basic")
    model, images = build(network.read(f"resnet18:pretrained={tmp_path}")()).eval(), pictures(1, 64, 64)
    close(model.features(images), theirs.resnet(model.maps(images)).last_hidden_state, 2e-5)


def test_a_trunk_with_groups_is_filled_too(tmp_path: Path) -> None:
    def trunk() -> ResNet:
        return ResNet(3, (1, 2), (32, 64), stem_width=8, groups=4, group_width=2)

    first, second = trunk(), trunk()
    head = {"fc.weight": torch.zeros(5, 64), "fc.bias": torch.zeros(5)}
    save_file(first.state_dict() | head, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"architecture": "resnext"}')
    assert first.layer2[1].conv2.weight.shape == (16, 4, 3, 3)  # 4 groups of 4 channels
    fill_resnet(second, str(tmp_path))
    assert all(torch.equal(tensor, second.state_dict()[key]) for key, tensor in first.state_dict().items())


@pytest.mark.parametrize(
    ("text", "reason", "fix"),
    [
        ("resnext101", "resnext101 needs pretrained weights and none are named",
         "run `fdetect weights get timm/resnext101_32x8d.tv_in1k` and set pretrained="),
        ("efficientnet_b4", "efficientnet_b4 needs pretrained weights and none are named",
         "google/efficientnet-b4, or pretrained to a folder with config.json and model.safetensors, or from_scratch"),
        ("efficientnet_b4:pretrained=google/efficientnet-b4", "no weights for google/efficientnet-b4 in the hub cache",
         "run `fdetect weights get google/efficientnet-b4`, or give a folder .* as the setting pretrained"),
        ("swin:pretrained=./nowhere", "no weights folder './nowhere'", "give a folder .* as the setting pretrained"),
        ("resnet50:pretrained=nowhere", "no weights 'nowhere' in the weights home", "pretrained=FOLDER"),
        ("dinov2", "no weights 'dinov2-small' in the weights home, and no facebook/dinov2-small in the hub cache",
         "run `fdetect weights get dinov2-small`, or .* as the setting encoder"),
    ],
)  # fmt: skip
def test_absent_weights_stop_the_build_and_say_how_to_get_them(
    text: str, reason: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if text in ("resnext101", "efficientnet_b4"):  # before its millions of values are drawn
        monkeypatch.setattr(torch.nn.Module, "__init__", lambda self: pytest.fail("a network was begun"))
    small = f"{text}:width=0.2:depth=0.3" if text.startswith("efficientnet") else text
    with pytest.raises(WeightsAbsent, match=reason) as caught:
        build(network.read(small)())
    import re

    assert re.search(fix, caught.value.fix), caught.value.fix


def test_an_encoder_of_another_family_is_refused(tmp_path: Path) -> None:
    folder = save_family(tmp_path, "clip")
    with pytest.raises(WeightsError, match="is of the family clip, not dinov2; choose another encoder, such as"):
        build(network.get("dinov2")(encoder=str(folder)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mlp:grid=0", "mlp: grid must be a whole number from 1 to 16"), ("mlp:dropout=1", "dropout must be below 1"),
        ("lenet:width=0", "width must be a whole number"), ("cbam_resnet:reduction=3", "reduction must divide 64"),
        ("cbam_resnet:kernel=4", "kernel must be odd"), ("vit:heads=5", "width must be a multiple of heads"),
        ("vit:size=100", "size one of patch"), ("vit:pool=max", "pool is one of mean, class; got 'max'"),
        ("swin:depths=2-2", "depths four numbers"), ("swin:width=48", "width must be a multiple of 32"),
        ("dinov2:mode=half", "mode is one of head, lora, full; got 'half'"), ("dinov2:rank=0", "rank must be"),
        ("dinov2:alpha=0", "alpha must be a number above 0"), ("efficientnet_b4:width=0", "width must be a number"),
    ],
)  # fmt: skip
def test_settings_are_checked(text: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        network.read(text)()
