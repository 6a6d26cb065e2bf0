"""The autoencoders inside the package: whole, small, without a photograph, found by name, and refused once changed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from xxhash import xxh3_128_hexdigest

from fdetect.errors import DataError, WeightsError
from fdetect.nets import shipped
from fdetect.nets.autoencoder_cards import autoencoder_card, find_autoencoder
from fdetect.nets.detector_cards import detector_card, kind_of
from fdetect.nets.detector_cards import training_contents as contents_of_detector
from fdetect.nets.detectors import CLASS_NAME
from fdetect.nets.evidence import identity, record_evidence
from fdetect.nets.folders import digests, file_sha256
from fdetect.nets.inventory import inventory
from fdetect.nets.own.card import own_card, training_contents
from fdetect.nets.shipped import LICENCE, SHIPPED

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "fdetect" / "nets" / "shipped"

# dB on the crop of the astronaut, seen on one machine; what the test asks is 1 dB less
PSNR: dict[str, float] = {
    "own-adversarial8": 27.8, "own-nearest8": 30.6, "own-pixel1": 31.7, "own-quantised4": 28.7, "own-refined8": 29.0,
    "own-shuffle4": 38.7, "own-shuffle8": 30.6, "own-super2": 32.8, "own-transposed8": 30.8,
}  # fmt: skip


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty weights home, and nobody else's hub cache."""
    monkeypatch.setenv("FDETECT_WEIGHTS", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "home"


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the shipped folders in place of them, to be damaged; the path is that of the first."""
    shutil.copytree(FOLDER, tmp_path / "shipped")
    monkeypatch.setattr(shipped, "SHIPPED_HOME", tmp_path / "shipped")
    return tmp_path / "shipped" / SHIPPED[0]


def change_card(folder: Path, **changes: object) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | changes))


def test_the_folders_are_the_names_and_hold_three_files_each() -> None:
    files = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file())
    networks = [one.name for one in FOLDER.iterdir() if kind_of(one) == CLASS_NAME]
    names = sorted([*SHIPPED, *networks])
    assert files == [f"{name}/{file}" for name in names for file in ("card.json", "config.json", "model.safetensors")]
    assert len(SHIPPED) == 9
    assert list(SHIPPED) == sorted(SHIPPED) == [name for name in names if name.startswith("own-")]
    assert sum((FOLDER / file).stat().st_size for file in files) < 13_000_000


def test_the_card_of_a_shipped_network_is_that_of_its_weights() -> None:
    """A card that names no hash, or another, is of nothing: neither its licence nor what it was trained on is known."""
    for folder in (one for one in FOLDER.iterdir() if kind_of(one) == CLASS_NAME):
        card = detector_card(folder.name)
        assert (card.licence, card.purpose) == (LICENCE, "release")
        known = contents_of_detector(folder.name)
        assert known
        assert len(known) == json.loads((folder / "card.json").read_text())["data"]["photographs"]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_card_is_true(name: str) -> None:
    written = json.loads((FOLDER / name / "card.json").read_text())
    card = autoencoder_card(name)
    assert (card.name, card.source, card.licence, card.purpose) == (name, name, "Apache-2.0", "release")
    assert card.evidence == "official weights"
    assert card.sha256 == written["model_sha256"] == file_sha256(FOLDER / name / "model.safetensors")
    assert name == f"own-{written['architecture'].partition('_')[0]}{card.factor}"
    assert (card.architecture, card.factor) == ("OwnAutoencoder", written["factor"])
    assert find_autoencoder(name) == (FOLDER / name, None)


@pytest.mark.parametrize("name", SHIPPED)
def test_no_photograph_is_in_what_is_shipped(name: str) -> None:
    data = json.loads((FOLDER / name / "card.json").read_text())["data"]
    assert data["photographs"] == 0
    assert data["crops"] == data["dead_leaves"] > 0
    assert training_contents(name) == frozenset()


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_shipped_names_no_folder(name: str) -> None:
    for file in ("card.json", "config.json"):
        text = (FOLDER / name / file).read_text()
        assert "/" not in text
        assert "\\" not in text


def test_the_licence_is_the_package_s() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"] == LICENCE


def test_the_wheel_leaves_nothing_of_the_package_out() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel == {"packages": ["fdetect"]}
    ignored = (ROOT / ".gitignore").read_text().split()  # which hatchling leaves out too
    assert not [pattern for pattern in ignored if "safetensors" in pattern or "json" in pattern or "shipped" in pattern]


def test_a_detector_takes_the_name() -> None:
    pytest.importorskip("torch", reason="the extra 'deep' is not installed")
    from fdetect.rigid import detector, prepare

    (task, *_) = prepare(detector.read(f"aeroblade:distance=mse:autoencoder={SHIPPED[0]}")(), device="cpu")
    assert list(task.space.cards) == [autoencoder_card(SHIPPED[0])]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_one_reconstructs_a_photograph(name: str) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'deep' is not installed")
    from skimage.data import astronaut

    from fdetect.nets.autoencoders import load_autoencoder

    pixels = astronaut()[64:256, 144:336]
    shown = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
    again = load_autoencoder(name, device="cpu").reconstruct(shown)[0].mul(255).round().permute(1, 2, 0).numpy()
    psnr = 10 * np.log10(255**2 / np.mean((pixels.astype(float) - again) ** 2))
    assert name in PSNR, f"{name} is new: add what is seen here, {psnr:.1f} dB"
    assert psnr > PSNR[name] - 1


def test_the_list_has_them_and_what_they_hide(home: Path) -> None:
    (home / SHIPPED[0]).mkdir(parents=True)
    rows = [row for row in inventory() if row.name in SHIPPED]
    assert [row.name for row in rows] == [*SHIPPED, SHIPPED[0]]
    for row in rows[:-1]:
        assert (row.kind, row.hub_id, row.licence, row.purpose) == ("autoencoder", "-", "Apache-2.0", "release")
        assert (row.where, row.evidence) == (str(FOLDER / row.name), "official weights")
        assert row.sha256 == autoencoder_card(row.name).sha256[:12]
    assert (rows[-1].kind, rows[-1].evidence) == ("unknown", "")
    assert rows[-1].where.startswith("not used: fdetect comes with weights of this name; rename")


def test_a_name_means_the_package_s_and_a_separator_means_a_folder(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, other = SHIPPED[0], SHIPPED[1]
    shutil.copytree(FOLDER / other, tmp_path / name)
    shutil.copytree(FOLDER / other, home / name)
    monkeypatch.chdir(tmp_path)
    assert autoencoder_card(name).sha256 == digests(FOLDER / name)["sha256"]
    card = autoencoder_card(f"./{name}")
    assert card.sha256 == digests(FOLDER / other)["sha256"]
    assert (card.name, card.licence, card.evidence) != (name, LICENCE, "official weights")
    assert card.licence == "not stated"


def test_a_higher_evidence_is_kept() -> None:
    record_evidence(identity(digests(FOLDER / SHIPPED[0])), "reproduced", {})
    assert autoencoder_card(SHIPPED[0]).evidence == "reproduced"
    assert autoencoder_card(SHIPPED[1]).evidence == "official weights"


def test_a_name_nearly_right_is_told() -> None:
    with pytest.raises(WeightsError, match=f"no autoencoder '{SHIPPED[0]}x'; did you mean '{SHIPPED[0]}'"):
        autoencoder_card(f"{SHIPPED[0]}x")


def other_weights(folder: Path) -> None:
    """A whole safetensors file with one other bit in it."""
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)


def other_hash(folder: Path) -> None:
    change_card(folder, model_sha256="0" * 64)


def no_hash(folder: Path) -> None:
    change_card(folder, model_sha256=None)


def cut(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-64])


def remove(file: str) -> object:
    return lambda folder: (folder / file).unlink()


def garble(file: str) -> object:
    return lambda folder: (folder / file).write_text("[1, 2")


@pytest.mark.parametrize(
    "damage, said",
    [
        (other_weights, "model.safetensors in the package's {} has another SHA-256 than its card.json states"),
        (other_hash, "model.safetensors in the package's {} has another SHA-256 than its card.json states"),
        (no_hash, "card.json in the package's {} does not state the SHA-256 of the weights"),
        (cut, "model.safetensors in the package's {} holds"),
        (remove("model.safetensors"), "the package's {} has no model.safetensors"),
        (remove("config.json"), "the package's {} has no config.json"),
        (remove("card.json"), "the package's {} has no card.json"),
        (garble("config.json"), "config.json in the package's {} is not a JSON object"),
        (garble("card.json"), "card.json in the package's {} is not a JSON object"),
        (shutil.rmtree, "the package's {} has no config.json"),
    ],
    ids=lambda value: "" if callable(value) else value[:40],
)
def test_damaged_weights_are_refused_and_the_others_stay(copy: Path, damage: object, said: str) -> None:
    damage(copy)
    with pytest.raises(WeightsError) as caught:
        autoencoder_card(SHIPPED[0])
    assert caught.value.reason.startswith(said.format(SHIPPED[0]))
    assert caught.value.fix == "reinstall fdetect"
    assert str(copy.parent) not in str(caught.value)
    assert "\n" not in str(caught.value)
    rows = {row.name: row for row in inventory()}
    assert rows[SHIPPED[0]].where == caught.value.reason
    assert rows[SHIPPED[0]].evidence == ""
    assert rows[SHIPPED[1]].evidence == "official weights"


# --- card.json of any folder of our own ------------------------------------------------------------------------------


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A folder of our own as if photographs had been in its training."""
    shutil.copytree(FOLDER / SHIPPED[0], tmp_path / "trained")
    return tmp_path / "trained"


def test_the_photographs_of_a_training_are_told(trained: Path) -> None:
    ids = [xxh3_128_hexdigest(text) for text in (b"one", b"two")]
    change_card(trained, data={"photographs": 2, "ids": ids})
    assert training_contents(str(trained)) == set(ids)


@pytest.mark.parametrize(
    "data, said",
    [
        (None, "does not state the number of photographs it was trained on"),
        ({}, "does not state the number of photographs it was trained on"),
        ({"photographs": "2"}, "does not state the number of photographs it was trained on"),
        ({"photographs": True, "ids": ["0" * 32]}, "does not state the number of photographs it was trained on"),
        ({"photographs": 2}, "lists 0 of 2 photographs of training"),
        ({"photographs": 2, "ids": ["0" * 32] * 2}, "lists 1 of 2 photographs of training"),
        ({"photographs": 0, "ids": ["0" * 32]}, "lists 1 of 0 photographs of training"),
        ({"photographs": 1, "ids": ["0" * 31]}, "lists something else than content ids"),
        ({"photographs": 1, "ids": [7]}, "lists something else than content ids"),
        ({"photographs": 1, "ids": "0" * 32}, "lists something else than content ids"),
    ],
)
def test_a_card_that_may_hide_a_photograph_is_refused(trained: Path, data: object, said: str) -> None:
    change_card(trained, data=data)
    with pytest.raises(DataError, match=f"card.json in .*trained {said}"):
        training_contents(str(trained))


def test_a_card_that_cannot_be_read_is_refused(trained: Path) -> None:
    (trained / "card.json").write_text("{")
    with pytest.raises(DataError, match=r"card.json in .*trained is not a JSON object; give a folder"):
        training_contents(str(trained))
    (trained / "card.json").unlink()
    with pytest.raises(DataError, match=r"trained has no card.json, which says what it was trained on; give a folder"):
        training_contents(str(trained))
    with pytest.raises(WeightsError, match="no autoencoder"):
        training_contents("no-such-one")


def test_a_foreign_autoencoder_s_training_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir()
    shutil.copyfile(FOLDER / SHIPPED[0] / "model.safetensors", tmp_path / "foreign/diffusion_pytorch_model.safetensors")
    (tmp_path / "foreign/config.json").write_text('{"_class_name": "AutoencoderKL"}')
    assert training_contents(str(tmp_path / "foreign")) == frozenset()


def test_a_folder_may_state_its_licence(trained: Path) -> None:
    assert autoencoder_card(str(trained)).licence == "not stated"
    change_card(trained, licence="CC BY\n 4.0")
    assert autoencoder_card(str(trained)).licence == "CC BY 4.0"
    change_card(trained, licence=4)
    with pytest.raises(WeightsError, match="states a licence that is no text"):
        autoencoder_card(str(trained))
    (trained / "card.json").unlink()
    assert own_card(trained, "it", "") is None
    assert autoencoder_card(str(trained)).licence == "not stated"


def test_finding_them_loads_no_torch() -> None:
    code = (
        "import sys\nfrom fdetect.nets.shipped import SHIPPED\n"
        "from fdetect.nets.own.card import training_contents\n"
        "print([sorted(training_contents(name)) for name in SHIPPED], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == f"{[[] for _ in SHIPPED]} False"
