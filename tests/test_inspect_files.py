"""`inspect` with the detector that ships: its references, files of every kind, and a machine without torch."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fdetect import perturb
from fdetect.bench.applying import columns_of_model
from fdetect.bench.inspecting.inspection import NO_VERDICT, VERDICTS, Inspection
from fdetect.bench.inspecting.inspector import Inspector
from fdetect.bench.inspecting.references import FILE, References
from fdetect.bench.inspecting.views import DIGITS, JUDGED, SCORE
from fdetect.bench.layouts import read_manifest
from fdetect.bench.running import Running, uploading, values_of
from fdetect.classifiers.model_folder import digest_of
from fdetect.classifiers.saved import FittedDetector, load_detector
from fdetect.classifiers.shipped import MODEL
from fdetect.draws import Drawn
from fdetect.engine import Store
from fdetect.engine.work import content_id
from fdetect.errors import DataError, ParameterError
from fdetect.images import Geometry, decode

HIDDEN = """
import importlib.util, sys
absent, find = ("torch", "transformers"), importlib.util.find_spec
class Finder:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] in absent: raise ModuleNotFoundError(name=name)
sys.meta_path.insert(0, Finder())
importlib.util.find_spec = lambda name, *rest: None if name in absent else find(name, *rest)
import json
from fdetect.bench.inspecting.inspector import Inspector
from fdetect.bench.running import Running
(one,) = Inspector.of(running=Running())([sys.argv[1]], whole=True)
views = {view.name: (view.standing.value, view.standing.high, view.standing.n) for view in one.views}
print(json.dumps({"because": one.verdict.because, "notices": one.notices, "p": one.verdict.p_real, "views": views,
                  "tiles": one.tiles.high.tolist(), "not run": [e.reason for e in one.evidence if e.reason]}))
"""


def smooth(height: int, width: int, seed: int = 0) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def saved(image: Image.Image, kind: str, **how) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """One file of each kind that may come along."""
    folder, picture = tmp_path_factory.mktemp("files"), smooth(240, 264)
    sixteen = Image.fromarray(np.asarray(picture.convert("L"), np.uint16) * 257)
    frames = [one.convert("P") for one in (picture, smooth(240, 264, 1))]
    kinds = {
        "plain.png": saved(picture, "PNG"), "same.png": saved(picture, "PNG"), "empty.png": b"",
        "words.jpg": b"no image", "cut.png": saved(picture, "PNG")[:2000],
        "cmyk.jpg": saved(picture.convert("CMYK"), "JPEG"), "sixteen.png": saved(sixteen, "PNG"),
        "dot.png": saved(smooth(1, 1), "PNG"), "small.png": saved(smooth(231, 300), "PNG"),
        "moving.gif": saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "least.png": saved(smooth(232, 232), "PNG"),
    }  # fmt: skip
    for name, data in kinds.items():
        (folder / name).write_bytes(data)
    with tarfile.open(folder / "shard.tar", "w") as shard:
        for name in ("plain.png", "words.jpg"):
            shard.add(folder / name, name)
    return folder


@pytest.fixture(scope="module")
def inspector(tmp_path_factory) -> Inspector:
    pytest.importorskip("torch", reason="the extra 'deep' is not installed")
    return Inspector.of(running=Running(store=Store(tmp_path_factory.mktemp("store"))))


@pytest.fixture(scope="module")
def found(files, inspector) -> dict[str, Inspection]:
    names = [path.name for path in sorted(files.iterdir()) if path.suffix != ".tar"]
    given = [files / name for name in names] + [f"{files}/shard.tar::plain.png", f"{files}/shard.tar::words.jpg"]
    return {one.path.rpartition("/")[2]: one for one in inspector(given, whole=False)}


def test_every_file_gets_an_answer(found) -> None:
    assert len(found) == 13
    for name in ("plain.png", "same.png", "cmyk.jpg", "sixteen.png", "moving.gif", "least.png", "shard.tar::plain.png"):
        one = found[name]
        if one.failure is None:
            assert one.verdict.word in VERDICTS
            assert 0 < one.verdict.p_real <= 1
            assert np.isfinite([view.standing.high for view in one.views]).all()
    assert {name for name, one in found.items() if one.failure} >= {"empty.png", "words.jpg", "cut.png", "dot.png",
                                                                    "small.png", "shard.tar::words.jpg"}  # fmt: skip
    for one in found.values():
        if one.failure:
            assert one.verdict.word == NO_VERDICT
            assert one.verdict.because == (f"{one.failure.reason[0].upper()}{one.failure.reason[1:]}.",)
            assert np.isnan([one.verdict.score, one.verdict.p_real, one.verdict.p_generated]).all()


def test_why_there_is_no_verdict_is_said(found) -> None:
    said = {name: one.verdict.because[0] for name, one in found.items()}
    assert said["small.png"] == "It is too small: 300 x 231 px, and both sides have to be 232 px or more."
    assert "1 x 1 px" in said["dot.png"]
    assert "empty" in said["empty.png"]
    assert said["words.jpg"] == said["shard.tar::words.jpg"]


def test_the_same_content_has_the_same_verdict(found) -> None:
    one, *others = (found[name] for name in ("plain.png", "same.png", "shard.tar::plain.png"))
    for other in others:
        assert (one.id, one.verdict, one.about) == (other.id, other.verdict, other.about)
        assert [view.standing.value for view in one.views] == [view.standing.value for view in other.views]


def test_without_torch_the_verdict_rests_on_the_spectrum_and_says_so(files, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FDETECT_CACHE", str(tmp_path))
    done = subprocess.run([sys.executable, "-c", HIDDEN, str(files / "plain.png")], capture_output=True, text=True,
                          timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stderr
    told, held = json.loads(done.stdout), References.shipped()
    assert 0 < told["p"] <= 1
    assert any("the branch trunk is absent" in line for line in told["notices"])
    for name in JUDGED:
        value, high, n = told["views"][name]
        among = held.real[f"spectrum/{name}"]
        assert n == len(among)
        assert high == pytest.approx((1 + (among >= value).sum()) / (n + 1), rel=1e-12)
    assert np.isfinite(told["tiles"]).all()
    assert any("torch" in reason or "deep" in reason for reason in told["not run"])


def test_the_shipped_references_belong_to_the_shipped_detector() -> None:
    held, detector = References.shipped(), load_detector(MODEL)
    assert isinstance(detector, FittedDetector)
    assert held.about["digest"] == digest_of(MODEL)
    n, m = len(detector.calibration.scores), len(held.generators)  # the photographs that set its thresholds
    assert Counter(held.sources) == {"coco": 130, "kodak24": 24, "openimages": 12, "metadata_extractor": 10,
                                     "dreambooth": 4}  # fmt: skip
    assert (len(held.sources), len(set(held.generators)), held.profile.shape) == (n, 8, (n, 64))
    keys = {f"{branches}/{name}" for branches in ("spectrum+trunk", *detector.subsets) for name in (*JUDGED, "crop")}
    assert set(held.generated) == keys < set(held.real)
    for key in keys:
        assert (held.real[key].shape, held.generated[key].shape) == ((n,), (m,))
        assert np.isfinite(held.real[key]).all()
        assert np.isfinite(held.generated[key]).all()


def test_a_shipped_reference_is_the_mean_score_of_crops_at_places_of_the_size(shared_data) -> None:
    """Two reference photographs by hand: crops that their size alone places, their columns, the head's scores."""
    pytest.importorskip("torch", reason="the extra 'deep' is not installed")
    held, detector = References.shipped(), load_detector(MODEL)
    assert isinstance(detector, FittedDetector)
    columns, of = columns_of_model(detector, running=Running()), perturb.condition(detector.condition)
    reals = [row["path"] for row in read_manifest(shared_data / "manifest.csv").to_pylist() if row["label"] == 0]
    data = [(shared_data / path).read_bytes() for path in reals]
    fresh = np.flatnonzero(columns.fresh([content_id(one) for one in data]))
    assert len(fresh) == len(held.sources)
    half = 0.5 * 10**-DIGITS + 1e-6  # references are rounded, and a network adds up in another order
    for place in (0, 140):
        image, scores = decode(data[fresh[place]]), []
        for k in range(detector.draws):
            drawn = Drawn(of.name, of.steps, of.rescaled, draw=k)
            crop = drawn(image, "inspect", seed=detector.seed, crop=detector.crop)
            pixels = Geometry("aligned_crop", detector.crop)(crop.pixels)
            values = values_of(columns.tasks, [pixels], ("x",), (crop.facts,), detector.seed, uploading("cpu"))
            values = columns.spread(values, detector.head.columns, detector.about)
            subsets = {"spectrum+trunk": values, "spectrum": detector.head.only(values, "spectrum")}
            scores.append([float(detector.head.score(one)[0]) for one in subsets.values()])
        both, spectrum = np.mean(scores, axis=0)
        assert both == pytest.approx(held.real[f"spectrum+trunk/{SCORE}"][place], abs=half)
        assert spectrum == pytest.approx(held.real[f"spectrum/{SCORE}"][place], abs=half)


def test_a_file_that_changes_between_its_scores_and_its_evidence_has_no_verdict(tmp_path, inspector) -> None:
    paths = [tmp_path / f"{k}.png" for k in range(4)]
    for k, path in enumerate(paths):
        path.write_bytes(saved(smooth(240, 264, k), "PNG"))
    inspections = inspector(paths, whole=False)  # all are scored; each is read again when its turn comes
    paths[1].write_bytes(saved(smooth(240, 264, 9), "PNG"))
    paths[2].unlink()
    paths[3].write_bytes(b"no image")
    same, other, gone, damaged = inspections
    assert same.failure is None
    assert np.isfinite(same.verdict.score)
    for one in (other, damaged):
        assert one.failure.reason == "it changed while it was inspected; inspect it again"
    assert "gone" in gone.failure.reason or "No such file" in gone.failure.reason
    for one in (other, gone, damaged):
        assert one.verdict.because == (f"{one.failure.reason[0].upper()}{one.failure.reason[1:]}.",)
        assert np.isnan(one.verdict.score)
        assert (one.views, one.facts, one.metadata) == ((), None, None)  # which would be those of another file


def test_references_come_back_as_they_were_and_damaged_ones_are_refused(tmp_path) -> None:
    held, again, other = References.shipped(), tmp_path / "again.safetensors", tmp_path / "other.safetensors"
    held.save(again)
    assert again.read_bytes() == FILE.read_bytes()
    References.load(again).save(other)
    assert other.read_bytes() == FILE.read_bytes()
    assert held.standing("spectrum+trunk/nothing", 1.0) is None
    assert held.standing(SCORE, -1e9, "spectrum+trunk").high == 1
    data = FILE.read_bytes()
    short = {"real": {**held.real, "npr": held.real["npr"][1:]}, "sources": held.sources[1:]}
    for name, value in short.items():
        replace(held, **{name: value}).save(tmp_path / f"{name}.safetensors")
    bad = {"cut": data[: len(data) // 2], "none": b"", "text": b"hello" * 9, "head": b"\\xff" * 8 + data[8:]}
    for name, one in bad.items():
        (tmp_path / f"{name}.safetensors").write_bytes(one)
    for name in (*short, *bad, "absent"):
        with pytest.raises(DataError, match=f"{name}.safetensors holds no references"):
            References.load(tmp_path / f"{name}.safetensors")
    replace(held, about={**held.about, "digest": "0" * 64}).save(again)
    with pytest.raises(ParameterError, match="they belong to another detector .fused"):
        Inspector.of(None, again, running=Running())
