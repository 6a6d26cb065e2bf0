"""Published detectors: their key names and shapes imported, loaded, and equal to plain references of their networks."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import naive_published as naive
import numpy as np
import pytest

from fdetect.errors import ParameterError, WeightsError

torch = pytest.importorskip("torch", reason="the deep extra is not installed")
pytest.importorskip("transformers", reason="the deep extra is not installed")

import published_states as states  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from fdetect.nets.detector_cards import HEADS, PUBLISHED, detector_card  # noqa: E402
from fdetect.nets.detectors import build, network  # noqa: E402
from fdetect.nets.detectors.loading import fill, save_network  # noqa: E402
from fdetect.nets.detectors.model import DetectorNetwork  # noqa: E402
from fdetect.nets.evidence import identity, record_evidence  # noqa: E402
from fdetect.nets.folders import digests, file_sha256  # noqa: E402
from fdetect.nets.importing import import_weights, importers  # noqa: E402
from fdetect.nets.inventory import inventory  # noqa: E402
from fdetect.nets.pretrained import load_pretrained  # noqa: E402
from fdetect.nets.weights import weights_home  # noqa: E402

SHARED = Path(__file__).resolve().parents[2] / "shared"
FLOAT32 = {"rtol": 2e-4, "atol": 2e-4}  # some fifty layers of it against float64; logits are of the order of 1
STATES: dict[str, Callable[[], states.State]] = {
    "npr": states.npr, "safe": states.safe, "cnnspot": states.cnnspot, "ladeda": states.ladeda,
    "tiny_ladeda": states.tiny_ladeda,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FDETECT_WEIGHTS", str(tmp_path / "home"))


def imported(tmp_path: Path, content: object, name: str) -> Path:
    torch.save(content, tmp_path / "authors.pth")
    return import_weights([tmp_path / "authors.pth"], name)


def refused(tmp_path: Path, content: object, name: str) -> str:
    with pytest.raises(WeightsError) as caught:
        imported(tmp_path, content, name)
    assert not (weights_home() / name).exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def pictures(*, side: int = 48, number: int = 2) -> torch.Tensor:
    return torch.rand(number, 3, side, side + 3, generator=torch.Generator().manual_seed(1))  # one odd side


def in_memory(name: str, state: states.State) -> DetectorNetwork:
    """The network of a large checkpoint, without its files."""
    made = importers().get(name)(state)
    return fill(made.config, made.state, name)


def assert_logits(name: str, images: torch.Tensor, wanted: list[float], *, stem: str = "") -> None:
    found = load_pretrained(name, stem=stem, device="cpu").logits(images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, **FLOAT32)


def assert_close(network: DetectorNetwork, images: torch.Tensor, wanted: list[float]) -> None:
    assert abs(wanted[0] - wanted[1]) > 1e-3  # the pictures matter
    with torch.inference_mode():
        np.testing.assert_allclose(network(images).numpy(), wanted, **FLOAT32)


def test_npr_is_the_plain_network(tmp_path: Path) -> None:
    state = states.npr()
    imported(tmp_path, {f"module.{key}": tensor for key, tensor in state.items()}, "npr")
    images = pictures()
    assert_logits("npr", images, [naive.npr(image, states.doubled(state)) for image in images.double().numpy()])


def test_cnnspot_is_the_plain_network() -> None:
    state, images = states.cnnspot(), pictures(side=40)
    wanted = [naive.cnnspot(image, states.doubled(state)) for image in images.double().numpy()]
    assert_close(in_memory("cnnspot-prob0.5", state), images, wanted)


def test_two_logits_of_safe_become_their_difference(tmp_path: Path) -> None:
    state = states.safe()
    options = argparse.Namespace(lr=1e-2, output_dir="results")  # what its training keeps beside the tensors
    imported(tmp_path, {"model": state, "epoch": 19, "args": options}, "safe")
    images = pictures()
    seen = load_pretrained("safe", device="cpu").model.maps(images).double().numpy()
    assert seen.shape == tuple(images.shape)
    assert_logits("safe", images, [naive.safe(image, states.doubled(state)) for image in seen])
    pywt = pytest.importorskip("pywt")
    band = pywt.dwt2(images[0].double().numpy(), "bior1.3", mode="symmetric")[1][2]
    enlarged = torch.nn.functional.interpolate(torch.from_numpy(band)[None], images.shape[-2:], mode="bilinear")
    np.testing.assert_allclose(seen[0], enlarged[0].numpy(), atol=1e-5)  # places in float32


def test_ladeda_is_the_plain_network_with_either_factor() -> None:
    state, images = states.ladeda(), pictures(side=36)
    found = []
    for name, scale in (("ladeda-wildrf", 1.0), ("ladeda-wildrf-two-thirds", 2 / 3)):
        found.append([naive.ladeda(image, states.doubled(state), scale) for image in images.double().numpy()])
        assert_close(in_memory(name, state), images, found[-1])
    assert abs(found[0][0] - found[1][0]) > 1e-3


@pytest.mark.parametrize("stem", ["npr", "right_diag", "raw"])
def test_tiny_ladeda_is_the_plain_network_with_every_stem(tmp_path: Path, stem: str) -> None:
    state = states.tiny_ladeda()
    imported(tmp_path, state, "tiny-ladeda-wildrf")
    images = pictures()
    wanted = [naive.tiny_ladeda(image, states.doubled(state), stem) for image in images.double().numpy()]
    assert_logits("tiny-ladeda-wildrf", images, wanted, stem=stem)
    assert detector_card("tiny-ladeda-wildrf", stem=stem).name == f"tiny-ladeda-wildrf (stem {stem})"


@pytest.mark.parametrize("data", ["ForenSynth", "WildRF"])
@pytest.mark.parametrize("stem", ["NPR", "right_diag", "raw"])
def test_the_published_tiny_ladeda_gives_its_authors_logits(data: str, stem: str, shared_data: Path) -> None:
    folder = SHARED / "weights" / "tiny_ladeda"
    if not folder.is_dir():
        pytest.skip("the folder of small real networks (../shared/weights) is not here")
    name = f"tiny-ladeda-{data.lower()}"
    import_weights([folder / f"{data}_Tiny_LaDeDa.pth"], name)
    golden = np.load(folder / "golden.npz", allow_pickle=False)
    found = load_pretrained(name, stem=stem.lower(), device="cpu")
    images = [np.array(Image.open(shared_data / path).convert("RGB"))[:256, :256] for path in golden["paths"]]
    logits = found.logits(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div(255))
    wanted = golden[f"{data}_{stem}"]
    # their running variances are small, so that float32 loses digits: a millionth of the largest activations
    np.testing.assert_allclose(logits, wanted, rtol=2e-4, atol=2e-4 * np.abs(wanted).max())
    assert found.card.name == f"{name} (stem {stem.lower()})"
    assert (found.card.purpose, found.card.evidence, found.card.licence) == (
        "release", "unverified weights", "research use only",
    )  # fmt: skip


def name_of(architecture: str) -> str:
    return next(card.name for card in PUBLISHED.values() if card.architecture == architecture)


@pytest.mark.parametrize("architecture", STATES)
def test_every_key_is_needed_and_no_other_is_taken(architecture: str) -> None:
    take, state = importers().get(name_of(architecture)), STATES[architecture]()
    needed = [key for key in state if not key.endswith("num_batches_tracked")]
    for key in (needed[0], needed[len(needed) // 2], needed[-1]):
        with pytest.raises(WeightsError, match=f": it lacks {key};"):
            take({other: tensor for other, tensor in state.items() if other != key})
    with pytest.raises(WeightsError, match="holds layer9.0.bn1.num_batches_tracked, for which there is no place"):
        take(state | {"layer9.0.bn1.num_batches_tracked": torch.tensor(0)})
    assert set(take(state).state) == set(build(network.get(architecture)()).state_dict())


@pytest.mark.parametrize("architecture", ["npr", "safe", "tiny_ladeda"])
def test_a_tensor_of_another_shape_stops_with_its_key(tmp_path: Path, architecture: str) -> None:
    state = STATES[architecture]()
    last = next(key for key in reversed(state) if key.endswith("running_var"))
    wrong = refused(tmp_path, state | {last: torch.ones(5)}, name_of(architecture))
    assert f"has trunk.{last} of shape (5,)" in wrong
    assert wrong.endswith("give the authors' own file, or the name that fits this one with --as")
    assert str(tmp_path) not in wrong


@pytest.mark.parametrize("architecture", ["npr", "tiny_ladeda"])
def test_counts_of_batches_may_be_there_or_not(tmp_path: Path, architecture: str) -> None:
    name, state = name_of(architecture), STATES[architecture]()
    first = file_sha256(imported(tmp_path, state, name) / "model.safetensors")
    for file in (weights_home() / name).iterdir():
        file.unlink()
    (weights_home() / name).rmdir()
    bare = {key: tensor for key, tensor in state.items() if "num_batches" not in key}
    assert len(bare) < len(state)
    assert file_sha256(imported(tmp_path, bare, name) / "model.safetensors") == first


def test_detectors_are_not_taken_for_one_another(tmp_path: Path) -> None:
    assert "is not CNNSpot's detector: it lacks layer3.0.conv1.weight" in refused(
        tmp_path, states.npr(), "cnnspot-prob0.1"
    )
    assert "it has classifier.bias of shape (2,), classifier.w" in refused(tmp_path, states.safe(), "npr")
    assert "it has fc1.weight of shape (1, 512)" in refused(tmp_path, states.npr(), "safe")
    mixed = {f"module.{key}": tensor for key, tensor in states.npr().items()} | {"fc1.bias": torch.zeros(1)}
    assert "for which there is no place" in refused(tmp_path, mixed, "npr")


@pytest.mark.parametrize("name, layers, dim", [("rine-4class", 2, 1024), ("rine-2class", 4, 128)])
def test_the_heads_of_rine_are_kept_as_they_are(tmp_path: Path, name: str, layers: int, dim: int) -> None:
    state = states.rine(layers, dim)
    folder = imported(tmp_path, state, name)
    kept = load_file(folder / "model.safetensors")
    assert set(kept) == set(state)
    assert all(torch.equal(kept[key], state[key]) for key in state)
    card = detector_card(name)
    assert (card.architecture, card.encoder, card.name, card.stem) == ("rine_head", "clip-vit-l14", name, "")


def test_other_heads_than_rines_are_refused(tmp_path: Path) -> None:
    state = states.rine(2, 128)
    assert "it has 2 layers of 128, where this one has 4 of 128" in refused(tmp_path, state, "rine-2class")
    for change, said in (
        ({"alpha": torch.zeros(1, 12, 128)}, "it has alpha of shape (1, 12, 128), where clip-vit-l14 has 24 blocks"),
        ({"alpha": torch.zeros(128)}, "it has alpha of shape (128,)"),
        ({"proj1.1.weight": torch.zeros(128, 768)}, "it has proj1.1.weight of shape (128, 768)"),
        ({"head.6.bias": torch.zeros(2)}, "it has head.6.bias of shape (2,)"),
        ({"clip.visual.proj": torch.zeros(2)}, "holds clip.visual.proj, for which there is no place"),
    ):
        assert said in refused(tmp_path, state | change, "rine-2class")
    assert "lacks proj2.4.weight, proj2.4.bias" in refused(
        tmp_path, {key: tensor for key, tensor in state.items() if not key.startswith("proj2.4")}, "rine-2class"
    )


def test_every_published_detector_has_an_importer_and_a_row(tmp_path: Path) -> None:
    names = set(importers().names())
    assert set(PUBLISHED) <= names
    rows = {row.name: row for row in inventory()}
    for card in PUBLISHED.values():
        assert card.architecture in (*HEADS, *network.names())
        assert (rows[card.name].kind, rows[card.name].where) == ("detector", "absent")
        assert rows[card.name].licence == card.licence
        assert f"weights import {card.file} --as {card.name}" in card.fix
    folder = imported(tmp_path, states.tiny_ladeda(), "tiny-ladeda-wildrf")
    row = next(row for row in inventory() if row.name == "tiny-ladeda-wildrf")
    assert (row.where, row.evidence) == (str(folder), "unverified weights")
    assert row.sha256 == file_sha256(folder / "model.safetensors")[:12]


def own_network(folder: Path, card: dict | None = None) -> Path:
    """A network of our own as a training writes it."""
    save_network(build(network.get("tiny_ladeda")(), seed=3), folder)
    if card is not None:
        (folder / "card.json").write_text(json.dumps(card | {"sha256": file_sha256(folder / "model.safetensors")}))
    return folder


def test_networks_of_our_own_are_known_by_their_cards(tmp_path: Path) -> None:
    plain = detector_card(str(own_network(tmp_path / "plain")))
    assert (plain.purpose, plain.licence) == ("test", "not stated")
    assert plain.name == f"tiny_ladeda-{plain.sha256[:8]} (stem npr)"
    own_network(weights_home() / "mine", {"purpose": "demo", "licence": "Apache-2.0"})
    card = detector_card("mine")
    assert (card.purpose, card.licence) == ("demo", "Apache-2.0")
    row = next(row for row in inventory() if row.name == "mine")
    assert (row.kind, row.licence, row.purpose) == ("detector", "Apache-2.0", "demo")
    claims = own_network(tmp_path / "claims", {"name": "npr", "purpose": "release"})
    assert detector_card(str(claims)).name.startswith("tiny_ladeda-")  # a card cannot make one network another
    state = load_file(claims / "model.safetensors")
    save_file({key: tensor + 1 for key, tensor in state.items()}, claims / "model.safetensors")
    assert detector_card(str(claims)).purpose == "test"  # the card speaks of other weights


def test_evidence_belongs_to_the_stem_that_it_was_found_with(tmp_path: Path) -> None:
    folder = imported(tmp_path, states.tiny_ladeda(), "tiny-ladeda-forensynth")
    record_evidence(identity(digests(folder)), "reproduced", {"figure": "0.9"})
    found = {stem: detector_card("tiny-ladeda-forensynth", stem=stem).evidence for stem in ("", "npr", "raw")}
    assert found == {"": "reproduced", "npr": "reproduced", "raw": "unverified weights"}


def test_what_an_import_would_not_replace_is_to_be_removed_first(tmp_path: Path) -> None:
    folder = imported(tmp_path, states.tiny_ladeda(), "tiny-ladeda-wildrf")
    whole = (folder / "config.json").read_text()
    for damage in ("[", whole.replace("DetectorNetwork", "UNet"), whole.replace('"npr"', '"left"')):
        (folder / "config.json").write_text(damage)
        with pytest.raises(WeightsError) as caught:
            detector_card("tiny-ladeda-wildrf")
        start = (
            "remove tiny-ladeda-wildrf from the weights home (fdetect weights list), then run `fdetect weights import"
        )
        assert caught.value.fix.startswith(start)
        assert caught.value.fix.count("remove ") == 1
        assert str(tmp_path) not in str(caught.value)
    row = next(row for row in inventory() if row.name == "tiny-ladeda-wildrf")
    assert row.sha256  # its files are whole, and are listed


def test_what_is_no_detector_is_said_in_one_sentence(tmp_path: Path) -> None:
    for source, said in (
        ("nprr", "no weights 'nprr'; did you mean 'npr'? (fdetect weights list)"),
        ("npr", "no weights 'npr' in the weights home"),
        ("./nowhere", "no weights folder './nowhere'"),
    ):
        with pytest.raises(WeightsError) as caught:
            detector_card(source)
        assert caught.value.reason == said
        assert "pretrained:weights=FOLDER" in caught.value.fix
    with pytest.raises(WeightsError, match="run `fdetect weights import NPR.pth --as npr`"):
        detector_card("npr")
    folder = own_network(tmp_path / "net")
    with pytest.raises(ParameterError, match="tiny_ladeda: stem is one of npr, right_diag, raw; got 'left'"):
        detector_card(str(folder), stem="left")
    content = json.loads((folder / "config.json").read_text())
    for change, said in (
        ({"architecture": "nprr"}, r"config.json of .* does not fit \(no network 'nprr'"),
        ({"_class_name": "AutoencoderKL"}, "holds no detector: config.json describes something else"),
        ({"model_type": "linear_head"}, "does not name the head's encoder"),
    ):
        (folder / "config.json").write_text(json.dumps(content | change))
        with pytest.raises(WeightsError, match=said):
            detector_card(str(folder))
    imported(tmp_path, states.npr(), "npr")
    with pytest.raises(ParameterError, match="pretrained: network 'npr' has one stem; leave stem=raw out"):
        detector_card("npr", stem="raw")
    imported(tmp_path, {"weight": torch.zeros(1, 768), "bias": torch.zeros(1)}, "univfd")
    with pytest.raises(ParameterError, match="univfd is a head on an encoder and has no stem"):
        detector_card("univfd", stem="raw")
