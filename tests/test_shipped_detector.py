"""The detector inside the package: small, of free photographs alone, asked by `score` without arguments."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fdetect.classifiers.fused_head import FusedHead
from fdetect.classifiers.saved import FittedDetector, load_detector
from fdetect.classifiers.shipped import MODEL
from fdetect.cli import main
from fdetect.nets.detector_cards import detector_card, training_contents
from fdetect.nets.folders import file_sha256
from fdetect.nets.shipped import LICENCE, SHIPPED, SHIPPED_HOME

NETWORK = "aligned-trunk"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else's weights and rows."""
    monkeypatch.setenv("FDETECT_WEIGHTS", str(tmp_path / "home"))
    monkeypatch.setenv("FDETECT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two pictures that can be scored, and one that is too small."""
    rng, folder = np.random.default_rng(0), tmp_path / "pictures"
    folder.mkdir()
    for name, side in (("first", 256), ("second", 300), ("small", 200)):
        pixels = rng.integers(0, 256, (side // 4, side // 4, 3), np.uint8)
        Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{name}.png")
    return folder


def shipped() -> FittedDetector:
    detector = load_detector(MODEL)
    assert isinstance(detector, FittedDetector)
    return detector


def rows_of(file: Path) -> dict[str, dict[str, str]]:
    with file.open(newline="") as lines:
        return {Path(row["path"]).stem: row for row in csv.DictReader(lines)}


def test_it_is_small_and_whole() -> None:
    files = [*MODEL.iterdir(), *(SHIPPED_HOME / NETWORK).iterdir()]
    assert sorted(path.name for path in files) == ["arrays.safetensors", "card.json", "card.json", "config.json",
                                                   "model.safetensors"]  # fmt: skip
    assert sum(path.stat().st_size for path in files) < 10_000_000
    assert isinstance(shipped().head, FusedHead)


def test_nothing_but_photographs_and_their_round_trips_was_fitted_on() -> None:
    detector = shipped()
    names = {"", *(f"launder_{name}" for name in (*SHIPPED, "taef2"))}
    assert set(detector.trained_on) == names
    assert len(set(detector.trained_on.values())) == 1  # every photograph went through every autoencoder
    licences = detector.record["data"]["licences"]
    assert sum(licences.values()) == detector.trained_on[""]
    assert all("CC BY" in text or "free to use" in text for text in licences)
    assert detector.record["aligned"]["generated"] == 0.0


def test_thresholds_rest_on_photographs_of_every_source_and_both_are_attainable() -> None:
    detector = shipped()
    assert set(detector.record["thresholds"]["sources"]) == {"coco", "kodak24", "dreambooth", "metadata_extractor",
                                                             "openimages"}  # fmt: skip
    assert sum(detector.record["thresholds"]["sources"].values()) == len(detector.calibration.scores)
    for calibration in (detector.calibration, *detector.subsets.values()):
        assert calibration.five.attainable
        assert calibration.one.attainable
        assert calibration.one.value > calibration.five.value
    assert set(detector.subsets) == {"spectrum", "trunk"}


def test_the_card_of_its_network_is_true() -> None:
    card = detector_card(NETWORK)
    assert (card.architecture, card.licence, card.purpose) == ("residual_trunk", LICENCE, "release")
    written = json.loads((SHIPPED_HOME / NETWORK / "card.json").read_text())
    known = training_contents(NETWORK)
    assert known is not None
    assert len(known) == written["data"]["photographs"] < shipped().trained_on[""]  # the gates were shown the others
    assert card.sha256 == file_sha256(SHIPPED_HOME / NETWORK / "model.safetensors")
    for file in ("card.json", "config.json"):
        assert "/" not in (SHIPPED_HOME / NETWORK / file).read_text()


def test_score_asks_it_without_arguments(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="the extra 'deep' is not installed")
    monkeypatch.setattr(sys, "argv", ["fdetect", "score", str(pictures), "-o", "scores.csv", "--workers", "1"])
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code == 0
    rows, said = rows_of(tmp_path / "scores.csv"), capsys.readouterr().err
    assert said.count("a decision real means not flagged, not proven; this detector is weak: docs/shipped.md") == (
        "real" in {row["decision"] for row in rows.values()}
    )
    assert {row["seen"] for row in rows.values()} == {""}  # it does not say what it was fitted on
    for name in ("first", "second"):
        row = rows[name]
        assert (row["status"], row["branches"]) == ("ok", "spectrum+trunk")
        assert float(row["threshold"]) == pytest.approx(shipped().calibration.five.value)
        assert 0 < float(row["p_value"]) <= 1
        assert row["decision"] in ("real", "inconclusive", "fake")
    assert rows["small"]["status"] == "failed"
    assert "232" in rows["small"]["reason"]


def test_without_torch_it_answers_with_thresholds_of_the_branch_that_is_left(pictures: Path, tmp_path: Path) -> None:
    hidden = (
        "import importlib.util, sys\n"
        "absent, find = ('torch', 'transformers'), importlib.util.find_spec\n"
        "class Finder:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name.partition('.')[0] in absent: raise ModuleNotFoundError(name=name)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "importlib.util.find_spec = lambda name, *rest: None if name in absent else find(name, *rest)\n"
        "from fdetect.cli import main\n"
        "main()\n"
    )
    command = [sys.executable, "-c", hidden, "score", str(pictures), "-o", "scores.csv", "--workers", "1"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert run.returncode == 0, run.stderr
    assert "branch trunk is absent" in run.stderr
    row = rows_of(tmp_path / "scores.csv")["first"]
    assert (row["status"], row["branches"]) == ("ok", "spectrum")
    assert float(row["threshold"]) == pytest.approx(shipped().subsets["spectrum"].five.value)
