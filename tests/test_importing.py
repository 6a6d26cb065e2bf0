"""Foreign checkpoints: the inverse key map written here, imported, loaded, equal embeddings; and what is refused."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fdetect.cli.weights import import_
from fdetect.errors import DataError, FdetectError, ParameterError, UnknownName, WeightsError

torch = pytest.importorskip("torch", reason="the deep extra is not installed")
pytest.importorskip("transformers", reason="the deep extra is not installed")

from safetensors.torch import load_file, save_file  # noqa: E402
from tiny_autoencoders import tiny_halves  # noqa: E402
from tiny_encoders import save_family  # noqa: E402

from fdetect.nets.autoencoder_cards import autoencoder_card  # noqa: E402
from fdetect.nets.cards import CARDS, encoder_card  # noqa: E402
from fdetect.nets.denoiser import load_dncnn  # noqa: E402
from fdetect.nets.encoders import load_encoder  # noqa: E402
from fdetect.nets.folders import file_sha256  # noqa: E402
from fdetect.nets.importing import import_weights, importers  # noqa: E402
from fdetect.nets.inventory import inventory  # noqa: E402
from fdetect.nets.weights import find_weights, weights_home  # noqa: E402

SHARED = Path(__file__).resolve().parents[2] / "shared" / "weights"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FDETECT_WEIGHTS", str(tmp_path / "home"))


@pytest.fixture
def shared_weights() -> Path:
    """The folder of small real networks, or a skip."""
    if not SHARED.is_dir():
        pytest.skip("the folder of small real networks (../shared/weights) is not here")
    return SHARED


def as_the_authors_store_it(folder: Path) -> dict[str, torch.Tensor]:
    """transformers' stored DINOv2 under the authors' names: the inverse of the importer, written on its own."""
    state, out = load_file(folder / "model.safetensors"), {}
    top = {
        "embeddings.cls_token": "cls_token", "embeddings.position_embeddings": "pos_embed",
        "embeddings.mask_token": "mask_token", "embeddings.register_tokens": "register_tokens",
        "layernorm.weight": "norm.weight", "layernorm.bias": "norm.bias",
        "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
        "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    }  # fmt: skip
    blocks: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in state.items():
        if key in top:
            out[top[key]] = value
        else:
            _, _, number, rest = key.split(".", 3)
            blocks.setdefault(number, {})[rest] = value
    for number, block in blocks.items():
        for part in ("weight", "bias"):
            qkv = [block.pop(f"attention.attention.{name}.{part}") for name in ("query", "key", "value")]
            out[f"blocks.{number}.attn.qkv.{part}"] = torch.cat(qkv)
            out[f"blocks.{number}.attn.proj.{part}"] = block.pop(f"attention.output.dense.{part}")
        for rest, value in block.items():
            new = rest.replace("layer_scale1.lambda1", "ls1.gamma").replace("layer_scale2.lambda1", "ls2.gamma")
            out[f"blocks.{number}." + new.replace("weights_in", "w12").replace("weights_out", "w3")] = value
    return out


@pytest.mark.parametrize(
    "family, name", [("dinov2", "dinov2"), ("dinov2-giant", "dinov2"), ("dinov2-reg", "dinov2-reg")]
)
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_dinov2_comes_back_as_it_was(tmp_path: Path, family: str, name: str, ending: str) -> None:
    original = save_family(tmp_path / "original", family, hidden_size=128)  # two heads of 64, as the importer takes it
    file = tmp_path / f"authors.{ending}"
    checkpoint = as_the_authors_store_it(original)
    assert any(".attn.qkv." in key for key in checkpoint)
    (save_file if ending == "safetensors" else torch.save)(checkpoint, file)
    folder = import_weights([file], name)
    assert folder == weights_home() / name == find_weights(name)
    images = torch.rand(2, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    before, after = (load_encoder(source, size=56, device="cpu") for source in (original, name))
    np.testing.assert_array_equal(after.encode(images), before.encode(images))
    card = json.loads((folder / "card.json").read_text())
    assert card["files"] == [{"name": file.name, "sha256": file_sha256(file)}]
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes["model.safetensors"] == modes["config.json"] == modes["card.json"]
    assert card["sha256"] == file_sha256(folder / "model.safetensors")
    assert encoder_card(name).evidence == "unverified weights"
    assert sorted(path.name for path in weights_home().iterdir()) == [name]  # nothing half done is left
    with pytest.raises(DataError, match="is there already; remove it"):
        import_weights([file], name)


def test_the_help_names_every_name() -> None:
    said = " ".join(import_.help.split())
    for choice in (found := re.findall(r"([\w.-]*)\{([^}]*)\}([\w.-]*)", said)):
        before, inner, after = choice
        said += " " + " ".join(f"{before}{one}{after}," for one in inner.split(","))
    assert len(found) >= 5
    words = set(re.split(r"[\s,;:()]+", said)) | {word.rstrip(".") for word in re.split(r"[\s,;:()]+", said)}
    assert set(importers().names()) - words == set()


def test_nested_state_dictionaries_are_found(tmp_path: Path) -> None:
    checkpoint = as_the_authors_store_it(save_family(tmp_path / "original", "dinov2", hidden_size=128))
    torch.save({"model": checkpoint, "epoch": 3}, tmp_path / "nested.pth")
    assert import_weights([tmp_path / "nested.pth"], "dinov2").is_dir()


class Evil:
    """Reading it back would call print."""

    def __reduce__(self) -> tuple:
        return print, ("code of the file ran",)


def test_options_of_a_training_may_lie_beside_the_tensors_and_still_run_no_code(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    state = {"weight": torch.zeros(1, 768), "bias": torch.zeros(1)}
    evil = argparse.Namespace(lr=0.1, resume=Evil())
    torch.save({"model": state, "args": evil}, tmp_path / "evil.pth")
    assert "holds more than tensors, and reading it would run its code" in refused(tmp_path / "evil.pth", "univfd")
    assert "code of the file ran" not in "".join(capfd.readouterr())
    torch.save({"model": state, "args": argparse.Namespace(lr=0.1, betas=(0.9, 0.95))}, tmp_path / "plain.pth")
    assert import_weights([tmp_path / "plain.pth"], "univfd").is_dir()
    assert argparse.Namespace not in torch.serialization.get_safe_globals()  # nobody else's loads are loosened


def test_two_files_of_one_name_are_both_in_the_card(tmp_path: Path) -> None:
    files = [tmp_path / half / "weights.pth" for half in ("encoder", "decoder")]
    for file, half in zip(files, tiny_halves(64, 8, 32), strict=True):
        file.parent.mkdir()
        torch.save(half, file)
    card = json.loads((import_weights(files, "taef2") / "card.json").read_text())
    assert card["files"] == [{"name": "weights.pth", "sha256": file_sha256(file)} for file in files]


def test_a_taef2_of_another_width_is_for_tests(tmp_path: Path) -> None:
    files = [tmp_path / "encoder.pth", tmp_path / "decoder.pth"]
    for file, half in zip(files, tiny_halves(8, 8, 32), strict=True):
        torch.save(half, file)
    import_weights(files, "taef2")
    card = autoencoder_card("taef2")
    assert (card.purpose, card.widths) == ("test", (8, 8, 8, 8))
    assert card.name.startswith("taef2-32x8-")


def test_two_imports_at_once_leave_one_whole_folder(tmp_path: Path) -> None:
    from fdetect.nets.importing import Imported, _write

    imported = Imported({"weight": torch.zeros(1, 768)}, {"model_type": "linear_head"})
    _write(weights_home() / "univfd", imported, {})  # the one that was faster
    with pytest.raises(DataError, match="univfd is there already; remove it to import 'univfd' again"):
        _write(weights_home() / "univfd", imported, {})
    assert [path.name for path in weights_home().iterdir()] == ["univfd"]


def refused(file: Path, name: str, what: type[FdetectError] = WeightsError) -> str:
    with pytest.raises(what) as caught:
        import_weights([file], name)
    assert "\n" not in str(caught.value)
    assert not (weights_home() / name).exists()
    return str(caught.value)


@pytest.mark.parametrize(
    "change, name, text",
    [
        ("lacks", "dinov2", "is not DINOv2 without registers: it lacks norm.bias"),
        ("extra", "dinov2", "holds head.weight, for which there is no place"),
        ("registers", "dinov2", "holds register_tokens, for which there is no place"),
        ("none", "dinov2-reg", "is not DINOv2 with registers: it lacks register_tokens"),
        ("none", "dinov2-large", "it has width 128 and 2 blocks, where dinov2-large has 1024 and 24"),
        ("none", "dncnn", "is not a DnCNN: it lacks model.0.weight, model.0.bias, model.2.weight, model.2.bias, "),
        ("none", "univfd", "is not the head of UniversalFakeDetect: it lacks weight, bias and holds"),
    ],
)
def test_another_network_stops_with_the_list(tmp_path: Path, change: str, name: str, text: str) -> None:
    checkpoint = as_the_authors_store_it(save_family(tmp_path / "original", "dinov2", hidden_size=128))
    if change == "lacks":
        del checkpoint["norm.bias"]
    if change == "extra":
        checkpoint["head.weight"] = torch.zeros(2)
    if change == "registers":
        checkpoint["register_tokens"] = torch.zeros(1, 4, 128)
    torch.save(checkpoint, tmp_path / "file.pth")
    assert text in refused(tmp_path / "file.pth", name)


@pytest.mark.parametrize(
    "key, shape, text",
    [
        ("patch_embed.proj.weight", (128, 588), "it has patch_embed.proj.weight of shape (128, 588)"),
        ("pos_embed", (17,), "it has pos_embed of shape (17,)"),
        ("pos_embed", (1, 0, 128), "the file for dinov2"),
        ("blocks.1.attn.qkv.weight", (383, 128), "it has blocks.1.attn.qkv.weight of shape (383, 128)"),
        ("blocks.1.attn.qkv.bias", (), "it has blocks.1.attn.qkv.bias of shape ()"),
        ("norm.weight", (7,), "has layernorm.weight of shape (7,)"),
        ("blocks.0.mlp.fc1.weight", (512, 64), "has encoder.layer.0.mlp.fc1.weight of shape (512, 64)"),
    ],
)
def test_tensors_of_another_shape_stop_with_their_keys(
    tmp_path: Path, key: str, shape: tuple[int, ...], text: str
) -> None:
    checkpoint = as_the_authors_store_it(save_family(tmp_path / "original", "dinov2", hidden_size=128))
    torch.save(checkpoint | {key: torch.zeros(shape)}, tmp_path / "file.pth")
    said = refused(tmp_path / "file.pth", "dinov2")
    assert text in said
    assert said.endswith("; give the authors' own file, or the name that fits this one with --as")
    assert str(tmp_path) not in said
    assert not list(weights_home().iterdir())


def test_a_denoiser_of_colours_is_no_grey_one(tmp_path: Path) -> None:
    layers = ((4, 3, 3, 3), (4, 4, 3, 3), (3, 4, 3, 3))
    state = {f"model.{2 * k}.weight": torch.zeros(shape) for k, shape in enumerate(layers)}
    state |= {f"model.{2 * k}.bias": torch.zeros(shape[0]) for k, shape in enumerate(layers)}
    torch.save(state, tmp_path / "colour.pth")
    assert "is not a DnCNN: model.0.weight of shape (4, 3, 3, 3)" in refused(tmp_path / "colour.pth", "dncnn")


def test_files_that_are_no_weights_are_refused_and_never_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    torch.save({"a": Evil()}, tmp_path / "evil.pth")
    assert "holds more than tensors, and reading it would run its code" in refused(tmp_path / "evil.pth", "dinov2")
    (tmp_path / "garbage.pth").write_bytes(b"not a network")
    assert "garbage.pth is neither a torch file nor safetensors" in refused(tmp_path / "garbage.pth", "dinov2")
    whole = tmp_path / "whole.pth"
    torch.save({"weight": torch.zeros(1, 768), "bias": torch.zeros(1)}, whole)
    (tmp_path / "cut.pth").write_bytes(whole.read_bytes()[:-200])
    assert "does not load" in refused(tmp_path / "cut.pth", "univfd")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    assert "is no state dictionary of tensors" in refused(tmp_path / "list.pth", "univfd")
    assert "no weights file" in refused(tmp_path / "absent.pth", "univfd")
    assert "; did you mean 'dinov2-large'? --as takes one of " in refused(whole, "dinov2-larg", UnknownName)
    assert "no importer 'zzz'; --as takes one of " in refused(whole, "zzz", UnknownName)
    assert "takes 2 files (ENCODER DECODER); got 1" in refused(whole, "taef2", ParameterError)
    assert "code of the file ran" not in "".join(capfd.readouterr())


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FDETECT_WEIGHTS", str(tmp_path / "file" / "home"))
    torch.save({"weight": torch.zeros(1, 768), "bias": torch.zeros(1)}, tmp_path / "head.pth")
    with pytest.raises(DataError, match="cannot be written"):
        import_weights([tmp_path / "head.pth"], "univfd")


def test_every_importer_is_documented_and_named() -> None:
    names = importers().names()
    assert {"dinov2-large", "dinov2-reg-giant", "dncnn", "univfd", "taef2", "lpips-vgg"} <= set(names)
    for entry in importers():
        assert "Source:" in entry.doc
        assert "Raises" in entry.doc
        assert entry.summary.endswith((".", ":"))


def test_the_published_denoiser_and_head_are_imported(shared_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FDETECT_DNCNN", raising=False)
    with pytest.raises(WeightsError, match="weights import dncnn_25.pth --as dncnn"):
        load_dncnn()
    import_weights([shared_weights / "dncnn" / "dncnn_25.pth"], "dncnn")
    layers = load_dncnn()  # found in the weights home
    assert len(layers) == 17
    raw = torch.load(shared_weights / "dncnn" / "dncnn_25.pth", weights_only=True, map_location="cpu")
    assert torch.equal(layers[3][0], raw["model.6.weight"].double())
    folder = import_weights([shared_weights / "univfd" / "fc_weights.pth"], "univfd")
    head = load_file(folder / "model.safetensors")
    assert float(head["bias"]) == pytest.approx(-0.5167, abs=1e-4)
    assert head["weight"].shape == (1, 768)


def test_files_of_which_no_hash_is_published_are_unverified(shared_weights: Path) -> None:
    files = [shared_weights / "taef2" / f"taef2_{part}.pth" for part in ("encoder", "decoder")]
    folder = import_weights(files, "taef2")
    card = autoencoder_card("taef2")
    assert (card.name, card.purpose, card.evidence) == ("taef2", "release", "unverified weights")
    row = next(row for row in inventory() if row.name == "taef2")
    assert (row.kind, row.where, row.evidence, row.sha256) == (
        "autoencoder", str(folder), "unverified weights", card.sha256[:12],
    )  # fmt: skip


def test_the_authors_own_file_counts_as_official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = as_the_authors_store_it(save_family(tmp_path / "original", "dinov2", hidden_size=128))
    torch.save(checkpoint, tmp_path / "file.pth")
    published = file_sha256(tmp_path / "file.pth")
    tiny = replace(CARDS["dinov2-large"], width=128, layers=2, authors_sha256=published)
    monkeypatch.setitem(CARDS, "dinov2-large", tiny)
    folder = import_weights([tmp_path / "file.pth"], "dinov2-large")
    assert encoder_card("dinov2-large").evidence == "official weights"
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 1.0}))
    assert encoder_card("dinov2-large").evidence == "unverified weights"
