"""Finding weights: by files alone, at once, with a reason and a fix where they cannot be used."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from fdetect.errors import ParameterError, WeightsError
from fdetect.nets.autoencoder_cards import autoencoder_card, find_autoencoder
from fdetect.nets.cards import CARDS, EncoderCard, encoder_card
from fdetect.nets.distances import distance
from fdetect.nets.evidence import about_evidence, evidence_of, identity, record_evidence
from fdetect.nets.folders import weights_sha256
from fdetect.nets.inventory import inventory
from fdetect.nets.weights import find_weights, torch_missing, weights_home

CONFIG = {"model_type": "dinov2", "hidden_size": 32, "num_hidden_layers": 2, "patch_size": 14, "image_size": 56}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def safetensors_bytes(**arrays: np.ndarray) -> bytes:
    """The format written by hand: u64 length, JSON header, data."""
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, array in arrays.items():
        raw = array.astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def with_header(text: str) -> bytes:
    return len(text).to_bytes(8, "little") + text.encode()


def index_of(name: str) -> dict[str, bytes]:
    return {"model.safetensors.index.json": json.dumps({"weight_map": {"a": name}}).encode()}


WHOLE = safetensors_bytes(a=np.arange(6.0).reshape(2, 3), b=np.ones(4))
DEEP = "[" * 200_000 + "]" * 200_000


def make_folder(folder: Path, *, config: dict | None = CONFIG, files: dict[str, bytes] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    for name, data in (files if files is not None else {"model.safetensors": WHOLE}).items():
        (folder / name).write_bytes(data)
    return folder


def make_cache(cache: Path, hub_id: str) -> Path:
    """The hub cache as huggingface_hub writes it: blobs, a snapshot of relative links, refs/main."""
    repository = cache / f"models--{hub_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    for name, data in (("config.json", json.dumps(CONFIG).encode()), ("model.safetensors", WHOLE)):
        blob = repository / "blobs" / hashlib.sha256(data).hexdigest()
        blob.write_bytes(data)
        (snapshot / name).symlink_to(os.path.relpath(blob, snapshot))
    return snapshot


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HOME", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FDETECT_WEIGHTS", str(tmp_path / "home"))


def refused(name: str) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        find_weights(name)
    assert caught.value.fix
    assert caught.value.fix in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_folder_is_found_and_hashed(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "net")
    assert find_weights(str(folder)) == folder
    assert weights_sha256(folder) == hashlib.sha256(WHOLE).hexdigest()
    changed = safetensors_bytes(a=np.zeros((2, 3)), b=np.ones(4))
    (folder / "model.safetensors").write_bytes(changed)
    assert weights_sha256(folder) == hashlib.sha256(changed).hexdigest()


def test_shards_are_found_hashed_together_and_all_needed(tmp_path: Path) -> None:
    parts = {"a": safetensors_bytes(a=np.ones(3)), "b": safetensors_bytes(b=np.ones(5))}
    names = {key: f"model-0000{k + 1}-of-00002.safetensors" for k, key in enumerate(parts)}
    index = json.dumps({"metadata": {}, "weight_map": names}).encode()
    folder = make_folder(tmp_path / "net", files={names[k]: parts[k] for k in parts} | {
        "model.safetensors.index.json": index
    })
    assert find_weights(str(folder)) == folder
    loaded = {"model.safetensors.index.json": index} | {names[k]: parts[k] for k in parts}
    lines = "".join(f"{name} {hashlib.sha256(data).hexdigest()}\n" for name, data in loaded.items())
    assert weights_sha256(folder) == hashlib.sha256(lines.encode()).hexdigest()
    (folder / names["b"]).unlink()
    assert f"{names['b']} in the folder {folder} is missing" in str(refused(str(folder)))


def test_the_hub_cache_is_found_by_its_layout(tmp_path: Path) -> None:
    snapshot = make_cache(tmp_path / "cache", "acme/tiny-dinov2")
    assert find_weights("acme/tiny-dinov2") == snapshot
    assert find_weights(f"acme/tiny-dinov2@{COMMIT}") == snapshot
    assert encoder_card("acme/tiny-dinov2").sha256 == hashlib.sha256(WHOLE).hexdigest()
    assert "at revision v2 in the hub cache" in refused("acme/tiny-dinov2@v2").reason


@pytest.mark.parametrize(
    "environment, expected",
    [
        ({"HF_HUB_CACHE": "{}/a"}, "a"),
        ({"HF_HOME": "{}/b"}, "b/hub"),
        ({"HF_HOME": "{}/b", "HF_HUB_CACHE": "{}/a"}, "a"),
        ({"XDG_CACHE_HOME": "{}/c"}, "c/huggingface/hub"),
        ({"HOME": "{}/d"}, "d/.cache/huggingface/hub"),
        ({"HOME": "{}/d", "HF_HUB_CACHE": "~/e"}, "d/e"),
    ],
)
def test_the_cache_lies_where_huggingface_hub_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str
) -> None:
    pytest.importorskip("huggingface_hub", reason="the deep extra is not installed")
    monkeypatch.delenv("HF_HUB_CACHE")
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    snapshot = make_cache(tmp_path / expected, "acme/tiny")
    assert find_weights("acme/tiny") == snapshot
    code = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"
    theirs = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert Path(theirs.stdout.strip()) == tmp_path / expected


def test_a_broken_link_counts_as_absent(tmp_path: Path) -> None:
    snapshot = make_cache(tmp_path / "cache", "acme/tiny")
    (snapshot / "model.safetensors").resolve().unlink()
    assert (snapshot / "model.safetensors").is_symlink()
    assert "has no model.safetensors" in str(refused("acme/tiny"))


def test_absent_weights_say_what_was_looked_for_and_what_to_do() -> None:
    error = refused("facebook/dinov2-large")
    assert error.reason == "no weights for facebook/dinov2-large in the hub cache"
    assert "--encoder FOLDER" in error.fix
    assert "`fdetect weights get facebook/dinov2-large`" in error.fix


def test_a_name_of_the_catalogue_says_both_places_and_three_ways(tmp_path: Path) -> None:
    error = refused("dinov2-large")
    assert error.reason == (
        "no weights 'dinov2-large' in the weights home, and no facebook/dinov2-large in the hub cache"
    )
    authors = "weights import dinov2_vitl14_pretrain.pth --as dinov2-large`"
    for part in ("weights get dinov2-large`", authors, "--encoder FOLDER"):
        assert part in error.fix
    assert "import" not in refused("clip-vit-l14").fix
    assert "did you mean 'dinov2-large'?" in refused("dinov2-larg").reason


def test_a_name_is_looked_for_in_the_weights_home_then_in_the_hub_cache_and_is_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = make_cache(tmp_path / "cache", "facebook/dinov2-small")
    assert find_weights("dinov2-small") == find_weights("facebook/dinov2-small") == snapshot
    home = make_folder(weights_home() / "dinov2-small")
    assert find_weights("dinov2-small") == home == tmp_path / "home" / "dinov2-small"
    assert find_weights("facebook/dinov2-small") == snapshot
    for name in ("dinov2-small", "dinov2-base", "mine", "other"):
        make_folder(tmp_path / "here" / name)
    make_folder(weights_home() / "mine")
    monkeypatch.chdir(tmp_path / "here")
    assert find_weights("dinov2-small") == home  # a name of the catalogue
    assert find_weights("./dinov2-small") == Path("dinov2-small")
    assert find_weights("mine") == weights_home() / "mine"  # a name of the weights home
    assert find_weights("./mine") == Path("mine")
    assert find_weights("other") == Path("other")
    error = refused("dinov2-base")
    assert error.reason.startswith("no weights 'dinov2-base' in the weights home")
    assert "write ./dinov2-base for the folder of that name here" in error.fix
    make_folder(tmp_path / "here" / "sd1-vae", files={"diffusion_pytorch_model.safetensors": WHOLE})
    make_folder(tmp_path / "here" / "taef2", config={"_class_name": "TAEF2"})
    for name in ("sd1-vae", "taef2"):
        with pytest.raises(WeightsError, match=f"no weights '{name}' in the weights home"):
            find_autoencoder(name)
    assert find_autoencoder("./taef2") == (Path("taef2"), None)
    make_folder(tmp_path / "here" / "lpips-vgg")
    with pytest.raises(WeightsError, match="no weights 'lpips-vgg' in the weights home; run `fdetect weights import"):
        distance.get("lpips").digest()


def test_other_stems_subfolders_and_hub_ids(tmp_path: Path) -> None:
    stem = "diffusion_pytorch_model"
    pipeline = make_folder(tmp_path / "net", config=None, files={"model_index.json": b"{}"})
    vae = make_folder(pipeline / "vae", files={f"{stem}.safetensors": WHOLE})
    assert find_weights(str(pipeline), stem=stem, subfolder="vae") == vae
    assert find_weights(str(vae), stem=stem, subfolder="vae") == vae
    assert weights_sha256(vae, stem=stem) == hashlib.sha256(WHOLE).hexdigest()
    with pytest.raises(WeightsError, match=r"has no diffusion_pytorch_model.safetensors; .*as --autoencoder FOLDER"):
        find_weights(str(make_folder(tmp_path / "other")), stem=stem, option="--autoencoder")
    snapshot = make_cache(tmp_path / "cache", "acme/vae")
    assert find_weights("tiny-vae", hub_id="acme/vae") == snapshot


@pytest.mark.parametrize("name", ["", "./nowhere", "/nowhere/at/all", "a/b/c", "../escape", "acme/..", "--org--"])
def test_a_name_that_is_neither_folder_nor_hub_id_is_refused(name: str) -> None:
    assert f"no weights folder '{name}'" in str(refused(name))


@pytest.mark.parametrize(
    "files, reason",
    [
        ({}, "has no model.safetensors"),
        ({"pytorch_model.bin": b"\x80\x02."}, "only pytorch_model.bin, a pickle, which is never read"),
        ({"model.safetensors": b""}, "is no safetensors file"),
        ({"model.safetensors": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"}, "git-lfs pointer"),
        ({"model.safetensors": WHOLE[:-1]}, f"holds {len(WHOLE) - 1} bytes where its header says {len(WHOLE)}"),
        ({"model.safetensors": (4).to_bytes(8, "little") + b"[1,]"}, "has a damaged safetensors header"),
        ({"model.safetensors": (2).to_bytes(8, "little") + b"[]"}, "has a damaged safetensors header"),
        ({"model.safetensors.index.json": b"{}"}, "has no weight_map"),
        ({"model.safetensors.index.json": b"not json"}, "is not a JSON object"),
        ({"model.safetensors": with_header('{"a": {"data_offsets": [0, "x"]}}')}, "has a damaged safetensors header"),
        ({"model.safetensors": with_header('{"a": {"data_offsets": [0, null]}}')}, "has a damaged safetensors header"),
        ({"model.safetensors": with_header('{"a": {"data_offsets": null}}')}, "has a damaged safetensors header"),
        ({"model.safetensors": with_header(DEEP)}, "has a damaged safetensors header"),
        ({"config.json": DEEP.encode()}, "config.json in the folder {} is not a JSON object"),
    ],
)
def test_files_that_cannot_be_weights_are_refused(tmp_path: Path, files: dict[str, bytes], reason: str) -> None:
    folder = make_folder(tmp_path / "net", files=files)
    assert reason.format(folder) in str(refused(str(folder)))


@pytest.mark.parametrize(
    "files, reason",
    [
        ({"model.safetensors": WHOLE, "model.safetensors.index.json": b"{}"},
         "has both model.safetensors and model.safetensors.index.json"),
        (index_of("sub/model-1.safetensors"), "names 'sub/model-1.safetensors', which is no plain name"),
        (index_of("../model-1.safetensors"), "names '../model-1.safetensors', which is no plain name"),
        (index_of("a\\\\model-1.safetensors"), r"which is no plain name of a safetensors file"),
        (index_of("model-1.bin"), "names 'model-1.bin', which is no plain name of a safetensors file"),
        ({"model.safetensors": WHOLE, "config.json": b'{"transformers_weights": "other.safetensors"}'},
         "names a file of weights itself (transformers_weights)"),
        ({"model.safetensors": WHOLE, "config.json": b'{"vision_config": [{"transformers_weights": "o"}]}'},
         "names a file of weights itself (transformers_weights)"),
        ({"model.safetensors": WHOLE, "adapter_config.json": b"{}"}, "has an adapter_config.json"),
    ],
)  # fmt: skip
def test_folders_of_which_other_files_would_be_loaded_than_hashed_are_refused(
    tmp_path: Path, files: dict[str, bytes], reason: str
) -> None:
    (tmp_path / "net" / "sub").mkdir(parents=True)
    (tmp_path / "net" / "sub" / "model-1.safetensors").write_bytes(WHOLE)
    (tmp_path / "net" / "model-1.safetensors").write_bytes(WHOLE)
    folder = make_folder(tmp_path / "net", files=files)
    assert reason in str(refused(str(folder)))


@pytest.mark.parametrize("damage", [WHOLE[:-1], DEEP.encode(), b""])
def test_a_damaged_row_is_shown_as_such_and_the_others_stay(tmp_path: Path, damage: bytes) -> None:
    make_folder(weights_home() / "dinov2-small", files={"model.safetensors": damage})
    make_folder(weights_home() / "dinov2-base", files={"model.safetensors": WHOLE, "config.json": DEEP.encode()})
    make_folder(weights_home() / "mine", files={"model.safetensors": with_header('{"a": {"data_offsets": [0, "x"]}}')})
    make_folder(weights_home() / "dinov3-small", config={"model_type": "vit"})
    sharded = weights_home() / "dinov3-base"
    make_folder(sharded, files={"model.safetensors": WHOLE, "model.safetensors.index.json": b"{}"})
    whole = make_folder(weights_home() / "dncnn")
    rows = {row.name: row for row in inventory()}
    assert rows["dinov2-small"].where.startswith("model.safetensors in the weights home's dinov2-small ")
    assert rows["dinov2-base"].where == "config.json in the weights home's dinov2-base is not a JSON object"
    assert rows["mine"].where == "model.safetensors in the weights home's mine has a damaged safetensors header"
    assert "describes a model of type 'vit'" in rows["dinov3-small"].where
    assert rows["dinov3-base"].where.startswith("the weights home's dinov3-base has both")
    assert rows["dncnn"].where == str(whole)
    for name in ("taef2", "lpips-vgg", "univfd", "sd1-vae", "dinov2-large"):
        assert (rows[name].where, rows[name].evidence) == ("absent", ""), name


def test_what_an_import_would_not_replace_is_to_be_removed_first(tmp_path: Path) -> None:
    at = "from the weights home (fdetect weights list), then run"  # without its path: fixes stand in results
    make_folder(weights_home() / "dinov2-large", files={"model.safetensors": WHOLE[:-1]})
    assert refused("dinov2-large").fix.startswith(f"remove dinov2-large {at} `fdetect weights get dinov2-large`, or")
    make_folder(weights_home() / "taef2", files={"model.safetensors": WHOLE[:-1]})
    with pytest.raises(WeightsError) as caught:
        find_autoencoder("taef2")
    assert caught.value.fix.startswith(f"remove taef2 {at} `fdetect weights import taef2_encoder.pth")


def test_reasons_name_no_folder_of_this_machine_that_was_not_given(tmp_path: Path) -> None:
    """They stand in results."""
    make_folder(weights_home() / "dinov2-large", files={"model.safetensors": WHOLE[:-1]})
    make_folder(weights_home() / "dinov2-base", config={"model_type": "vit"})
    make_folder(weights_home() / "dinov2-small", config=CONFIG | {"patch_size": []})
    make_folder(weights_home() / "dinov2-giant", config=None)
    make_folder(weights_home() / "taef2", config={"_class_name": "UNet"})
    make_folder(weights_home() / "sd1-vae", config=None, files={"config.json": b"[1"})
    make_folder(weights_home() / "taesd", files={"diffusion_pytorch_model.safetensors.index.json": b"[1"})
    snapshot = make_cache(tmp_path / "cache", "facebook/dinov3-vits16-pretrain-lvd1689m")
    (snapshot / "model.safetensors.index.json").write_text("{}")
    names = ("dinov2-large", "dinov2-base", "dinov2-small", "dinov2-giant", "dinov3-small", "dinov3-base")
    for card_of, asked in ((encoder_card, names), (autoencoder_card, ("taef2", "sd1-vae", "taesd"))):
        for name in asked:
            with pytest.raises(WeightsError) as caught:
                card_of(name)
            assert str(tmp_path) not in caught.value.reason + caught.value.fix
            assert name in caught.value.reason or "hub cache's copy of facebook/dinov3" in caught.value.reason
    assert refused(str(snapshot)).reason.startswith(f"the folder {snapshot} has both")


def test_a_folder_without_configuration_is_refused(tmp_path: Path) -> None:
    assert "has no config.json" in str(refused(str(make_folder(tmp_path / "net", config=None))))


def test_the_card_is_honest(tmp_path: Path) -> None:
    tiny = encoder_card(str(make_folder(tmp_path / "tiny")))
    assert (tiny.name, tiny.dim, tiny.patch, tiny.image_size, tiny.size) == ("dinov2-32x2", 32, 14, 56, 224)
    assert (tiny.purpose, tiny.evidence, tiny.licence) == ("test", "unverified weights", "not stated")
    large = CONFIG | {"hidden_size": 1024, "num_hidden_layers": 24, "image_size": 518}
    card = encoder_card(str(make_folder(tmp_path / "large", config=large)))
    assert (card.purpose, card.evidence) == ("release", "unverified weights")
    assert card.config_sha256 != tiny.config_sha256


def test_a_card_of_the_catalogue_is_used_where_its_shape_fits(tmp_path: Path) -> None:
    large = CONFIG | {"hidden_size": 1024, "num_hidden_layers": 24, "image_size": 518}
    make_folder(weights_home() / "dinov2-large", config=large)
    card = encoder_card("dinov2-large")
    assert isinstance(card, EncoderCard)
    assert (card.name, card.hub_id, card.licence) == ("dinov2-large", "facebook/dinov2-large", "Apache-2.0")
    assert (card.fit, card.resize, card.size, card.image_size) == ("crop", 256, 224, 518)
    make_folder(weights_home() / "dinov2-base")  # the tiny network under a famous name is not that network
    assert encoder_card("dinov2-base").name == "dinov2-32x2"


@pytest.mark.parametrize(
    "config, expected",
    [
        ({"model_type": "dinov2_with_registers"}, ("dinov2_with_registers", 768, 16)),
        ({"model_type": "dinov3_vit", "hidden_size": 1280}, ("dinov3_vit", 1280, 16)),
        ({"model_type": "clip"}, ("clip", 512, 32)),
        ({"model_type": "clip", "projection_dim": 7, "vision_config": {"patch_size": 14}}, ("clip", 7, 14)),
        ({"model_type": "clip_vision_model", "projection_dim": 9}, ("clip", 9, 32)),
        ({"model_type": "siglip", "vision_config": {"hidden_size": 1152}}, ("siglip", 1152, 16)),
        ({"model_type": "metaclip_2_vision_model"}, ("metaclip_2", 512, 32)),
    ],
)
def test_what_config_json_leaves_out_is_transformers_default(tmp_path: Path, config: dict, expected: tuple) -> None:
    card = encoder_card(str(make_folder(tmp_path / "net", config=config)))
    assert (card.family, card.dim, card.patch) == expected


def test_defaults_are_those_of_transformers() -> None:
    transformers = pytest.importorskip("transformers", reason="the deep extra is not installed")
    from fdetect.nets.catalogue import FAMILIES

    for family in FAMILIES.values():
        config = transformers.AutoConfig.for_model(family.nested or family.type)
        assert {name: getattr(config, name) for name in family.defaults} == family.defaults, family.type


def test_the_catalogue_is_whole() -> None:
    for name, card in CARDS.items():
        assert card.name == name
        assert card.size % card.patch == 0, name
        assert card.fit in ("squash", "crop")
        assert card.purpose == "release"
        assert card.licence
    assert len({card.hub_id for card in CARDS.values()}) == len(CARDS)


@pytest.mark.parametrize("config", [{"model_type": "vit"}, {}])
def test_another_architecture_is_refused(tmp_path: Path, config: dict) -> None:
    folder = make_folder(tmp_path / "net", config=config)
    with pytest.raises(WeightsError, match=r"type '(vit|unknown)', not one of dinov2, .*siglip"):
        encoder_card(str(folder))


def test_sizes_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "net", config=CONFIG | {"patch_size": [14, 14]})
    with pytest.raises(WeightsError, match="no whole number as the network's patch_size"):
        encoder_card(str(folder))


def network_of(folder: Path) -> str:
    return identity(asdict(encoder_card(str(folder))))


def test_evidence_rises_and_never_falls(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "net")
    network = network_of(folder)
    assert evidence_of(network) == encoder_card(str(folder)).evidence == "unverified weights"
    record_evidence(network, "official weights", {"hub_id": "acme/net"})
    assert encoder_card(str(folder)).evidence == "official weights"
    record_evidence(network, "reproduced", {"figure": 0.9})
    record_evidence(network, "official weights", {})
    assert evidence_of(network) == "reproduced"
    assert about_evidence(network) == {"figure": 0.9}
    assert evidence_of("0" * 64) == "unverified weights"
    with pytest.raises(ParameterError, match="level is one of"):
        record_evidence(network, "certain", {})
    assert [row.name for row in inventory() if row.kind == "unknown"] == []  # the file of evidence is no network


def test_evidence_is_that_of_weights_configuration_mean_and_std_together(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "net")
    record_evidence(network_of(folder), "reproduced", {})
    assert encoder_card(str(folder)).evidence == "reproduced"
    card = asdict(encoder_card(str(folder)))
    assert identity(json.loads(json.dumps(card))) == identity(card)  # as a result's header holds it
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5]}')
    assert encoder_card(str(folder)).evidence == "unverified weights"
    (folder / "preprocessor_config.json").unlink()
    make_folder(folder, config=CONFIG | {"layer_norm_eps": 1.0})
    assert encoder_card(str(folder)).evidence == "unverified weights"
    make_folder(folder)
    assert encoder_card(str(folder)).evidence == "reproduced"


@pytest.mark.parametrize("damage", ["[1, 2", DEEP, '{"level": "reproduced"}', ""])
def test_damaged_evidence_makes_no_level_up(tmp_path: Path, damage: str) -> None:
    record_evidence("one", "official weights", {})
    record_evidence("one", "reproduced", {})
    for file in weights_home().rglob("*reproduced.json"):
        file.write_text(damage)
    assert evidence_of("one") == "official weights"
    for file in weights_home().rglob("*.json"):
        file.write_text(damage)
    assert (evidence_of("one"), about_evidence("one")) == ("unverified weights", {})


def test_evidence_whose_account_is_no_object_has_none(tmp_path: Path) -> None:
    record_evidence("one", "official weights", {})
    for file in weights_home().rglob("*.json"):
        file.write_text(file.read_text().replace('"about": {}', '"about": "text"'))
    assert (evidence_of("one"), about_evidence("one")) == ("official weights", {})


def test_processes_that_record_at_once_lose_nothing(tmp_path: Path) -> None:
    networks = [f"network {k}" for k in range(60)]
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda network: record_evidence(network, "official weights", {}), networks))
    assert {evidence_of(network) for network in networks} == {"official weights"}


ABSENT = """
import sys, time
start = time.perf_counter()
{before}
from fdetect.errors import WeightsError
from fdetect.rigid import detector, prepare
try:
    prepare(detector.get("rigid")())
except WeightsError as error:
    print(error.reason)
    print(error.fix)
heavy = sorted({{"torch", "transformers", "huggingface_hub"}} & {{n for n, m in sys.modules.items() if m}})
print(heavy, time.perf_counter() - start)
"""


def run_absent(before: str) -> tuple[str, str, str, float]:
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", ABSENT.format(before=before)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    reason, fix, last = done.stdout.splitlines()
    modules, _, _ = last.rpartition(" ")
    return reason, fix, modules, time.perf_counter() - start


def test_absent_weights_are_reported_within_a_second_and_without_torch() -> None:
    if torch_missing():
        pytest.skip("the deep extra is not installed")
    reason, fix, modules, seconds = min((run_absent("") for _ in range(2)), key=lambda found: found[-1])
    assert reason.endswith("and no facebook/dinov2-large in the hub cache")
    assert "fdetect weights get" in fix
    assert modules == "[]"
    assert seconds < 1.0  # interpreter included; the better of two, since test machines are shared


def test_absent_torch_is_reported_with_its_extra() -> None:
    reason, fix, modules, _ = run_absent("sys.modules['torch'] = None  # as if it were not installed")
    assert reason.startswith("torch ")
    assert reason.endswith("not installed")
    assert fix == "pip install 'fdetect[deep]'"
    assert modules == "[]"
