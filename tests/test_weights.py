"""Finding weights: by files alone, at once, with a reason and a fix where they cannot be used."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fdetect.errors import WeightsError
from fdetect.nets.weights import encoder_card, find_weights, torch_missing, weights_sha256

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


WHOLE = safetensors_bytes(a=np.arange(6.0).reshape(2, 3), b=np.ones(4))


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
    lines = "".join(f"{names[k]} {hashlib.sha256(parts[k]).hexdigest()}\n" for k in parts)
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
    assert "--weights FOLDER" in error.fix
    assert "put facebook/dinov2-large into the hub cache" in error.fix


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
    ],
)
def test_files_that_cannot_be_weights_are_refused(tmp_path: Path, files: dict[str, bytes], reason: str) -> None:
    folder = make_folder(tmp_path / "net", files=files)
    assert reason in str(refused(str(folder)))


def test_a_folder_without_configuration_is_refused(tmp_path: Path) -> None:
    assert "has no config.json" in str(refused(str(make_folder(tmp_path / "net", config=None))))


def test_the_card_is_honest(tmp_path: Path) -> None:
    tiny = encoder_card(str(make_folder(tmp_path / "tiny")))
    assert (tiny.name, tiny.dim, tiny.patch, tiny.image_size) == ("dinov2-32x2", 32, 14, 56)
    assert (tiny.purpose, tiny.evidence, tiny.licence) == ("test", "unverified weights", "not stated")
    large = CONFIG | {"hidden_size": 1024, "num_hidden_layers": 24, "image_size": 518}
    card = encoder_card(str(make_folder(tmp_path / "large", config=large)))
    assert (card.purpose, card.evidence) == ("release", "unverified weights")
    assert card.config_sha256 != tiny.config_sha256


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "net", config=CONFIG | {"model_type": "dinov2_with_registers"})
    with pytest.raises(WeightsError, match="type 'dinov2_with_registers', not 'dinov2'"):
        encoder_card(str(folder))


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
    assert reason == "no weights for facebook/dinov2-large in the hub cache"
    assert "hub cache" in fix
    assert modules == "[]"
    assert seconds < 1.0  # interpreter included; the better of two, since test machines are shared


def test_absent_torch_is_reported_with_its_extra() -> None:
    reason, fix, modules, _ = run_absent("sys.modules['torch'] = None  # as if it were not installed")
    assert reason.startswith("torch ")
    assert reason.endswith("not installed")
    assert fix == "pip install 'fdetect[deep]'"
    assert modules == "[]"
