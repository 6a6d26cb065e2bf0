"""Networks in folders and pretrained trunks: what is written is what is read, and what does not fit is named."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import numpy as np
import pytest

from fdetect.errors import WeightsAbsent, WeightsError
from fdetect.nets.detectors import build, config_from_json, network

torch = pytest.importorskip("torch", reason="the extra 'deep' is not installed")

from safetensors.torch import load_file, save_file  # noqa: E402
from test_networks_forensic import SMALL, logits, ready  # noqa: E402
from test_networks_stems import pictures  # noqa: E402

from fdetect.nets.detectors.loading import fill, load_network_folder, save_network  # noqa: E402
from fdetect.nets.detectors.model import Convolutional  # noqa: E402
from fdetect.nets.detectors.pretrained import fill_resnet  # noqa: E402
from fdetect.nets.detectors.resnet import ResNet  # noqa: E402

# --- folders ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*SMALL, "gram_net"])
def test_a_folder_gives_the_network_back(name: str, tmp_path: Path) -> None:
    model, images = ready(name), pictures(65, 64, count=2)
    save_network(model, tmp_path / "one", {"auroc": 0.75})
    save_network(model, tmp_path / "two")
    before = torch.get_rng_state()
    again = load_network_folder(tmp_path / "one")
    assert torch.equal(torch.get_rng_state(), before)
    assert again.config == model.config == config_from_json(json.loads((tmp_path / "one/config.json").read_text()))
    assert not again.training
    np.testing.assert_array_equal(logits(again, images), logits(model, images))
    assert (tmp_path / "one/model.safetensors").read_bytes() == (tmp_path / "two/model.safetensors").read_bytes()
    assert json.loads((tmp_path / "one/card.json").read_text()) == {"auroc": 0.75}
    assert not (tmp_path / "two/card.json").exists()


def test_half_precision_tensors_fill_a_float32_network(tmp_path: Path) -> None:
    save_network(ready("tiny_ladeda"), tmp_path)
    halves = {key: tensor.half() if tensor.is_floating_point() else tensor
              for key, tensor in load_file(tmp_path / "model.safetensors").items()}  # fmt: skip
    save_file(halves, tmp_path / "model.safetensors")
    again = load_network_folder(tmp_path)
    assert all(tensor.dtype == torch.float32 for tensor in again.parameters())
    images = pictures(40, 40)
    np.testing.assert_allclose(logits(again, images), logits(ready("tiny_ladeda"), images), atol=0.05)


def changed(folder: Path, change) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(("change", "said"), [
    (lambda tensors: tensors.pop("trunk.conv2.weight"), r"it lacks trunk\.conv2\.weight"),
    (lambda tensors: tensors.update(extra=torch.zeros(1)), "it has no place for extra"),
    (lambda tensors: tensors.update({"classifier.weight": torch.zeros(1, 9)}), r"it has classifier\.weight of shape "
                                                                               r"\(1, 9\)"),
])  # fmt: skip
def test_tensors_that_do_not_fit_are_named(change, said: str, tmp_path: Path) -> None:
    save_network(ready("tiny_ladeda"), tmp_path)
    changed(tmp_path, change)
    with pytest.raises(WeightsError, match=said) as caught:
        load_network_folder(tmp_path, name="the model 'mine'")
    assert "the model 'mine' is not the network" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_damaged_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"has no config\.json"):
        load_network_folder(tmp_path)
    save_network(ready("tiny_ladeda"), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for wrong, said in (({"stem": "nrp"}, "stem is one of"), ({"architecture": "nrp"}, "did you mean 'npr'"),
                        ({"size": 3}, "has no setting 'size'")):  # fmt: skip
        with pytest.raises(WeightsError, match=said):
            fill({**config, **wrong}, {}, "the file")
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-10])
    with pytest.raises(WeightsError, match="holds .* bytes where its header says"):
        load_network_folder(tmp_path)


def test_sizes_that_no_memory_holds_are_refused_before_a_tensor_is_made() -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    huge = {**network.get("swin")().to_json(), "width": 1024, "depths": "2-2-2-24"}  # some 80 GB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WeightsError, match="the file is not the network that its config.json describes: it lacks"):
        fill(huge, {}, "the file")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1e6  # kB


# --- pretrained trunks -----------------------------------------------------------------------------------------------


@pytest.fixture
def theirs(tmp_path: Path):
    """A tiny ResNet of transformers with lively norms, and its folder."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    sizes = {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [1, 2], "layer_type": "bottleneck"}
    torch.manual_seed(0)
    model = transformers.ResNetModel(transformers.ResNetConfig(**sizes)).eval()
    for key, buffer in model.named_buffers():
        if key.endswith(("running_mean", "running_var")):
            buffer.add_(torch.rand_like(buffer) * 0.3)
    model.save_pretrained(tmp_path / "theirs")
    return model, tmp_path / "theirs"


def test_a_trunk_filled_from_transformers_computes_what_theirs_does(theirs, tmp_path: Path) -> None:
    model, folder = theirs
    trunk = ResNet(3, (1, 2), (16, 32), stem_width=8).eval()
    fill_resnet(trunk, str(folder))
    images = pictures(40, 44, count=2)
    with torch.no_grad():
        np.testing.assert_allclose(trunk(images), model(images).last_hidden_state, rtol=1e-5, atol=1e-5)
    # and its own names, those of torchvision
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / "config.json").write_text("{}")
    save_file({**trunk.state_dict(), "fc.weight": torch.zeros(10, 32)}, tmp_path / "named" / "model.safetensors")
    again = ResNet(3, (1, 2), (16, 32), stem_width=8).eval()
    fill_resnet(again, str(tmp_path / "named"))
    assert torch.equal(again(images), trunk(images))


def test_a_pretrained_trunk_of_another_form_is_refused(theirs) -> None:
    _, folder = theirs
    with pytest.raises(WeightsError, match=r"is not this ResNet: it lacks layer2\.2\.bn1\.bias"):
        fill_resnet(ResNet(3, (1, 3), (16, 32), stem_width=8), str(folder))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "downsample_in_bottleneck": True}))
    with pytest.raises(WeightsError, match="strides in the first convolution"):
        fill_resnet(ResNet(3, (1, 2), (16, 32), stem_width=8), str(folder))


@pytest.mark.parametrize("name", ["cnnspot", "gragnaniello", "gram_net"])
def test_pretrained_weights_are_needed_to_start_and_not_to_load(name: str, tmp_path: Path) -> None:
    config = network.get(name)(pretrained="absent-weights")
    with pytest.raises(WeightsAbsent, match="absent-weights"):
        build(config)
    again = fill(config.to_json(), ready(name).state_dict(), "the file")
    assert again.config.pretrained == "absent-weights"
    assert isinstance(again, Convolutional) == (name != "gram_net")


def test_whoever_may_read_the_card_may_read_the_tensors(tmp_path):
    save_network(build(network.get("tiny_ladeda")()), tmp_path / "net", {"auroc": 0.75})
    assert len({file.stat().st_mode for file in (tmp_path / "net").iterdir()}) == 1
