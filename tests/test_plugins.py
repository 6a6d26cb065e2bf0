"""Detectors of others: the smallest class, from a file and as an installed package, and what may be wrong with it."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_cli import fdetect  # noqa: F401 (a fixture)

from fdetect.backend import resolve
from fdetect.bench.leaderboard.costs import Costing
from fdetect.engine import run
from fdetect.errors import ParameterError, UnknownName, WeightsError
from fdetect.registry import source_digest
from fdetect.rigid import detector, prepare
from fdetect.rigid.plugged import named
from fdetect.types import Batch, Facts

ROOT = Path(__file__).parents[1]
EXAMPLE = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "external.md").read_text(encoding="utf-8"), re.S)
N = 0  # plug-ins are registered once a name: each test takes another


@pytest.fixture
def plug(tmp_path, monkeypatch):
    """Write a plug-in with a body of its own, and return (FILE.py:Class, its name)."""

    def write(
        body: str = "return [image.mean() for image in images]", extra: str = "", head: str = ""
    ) -> tuple[str, str]:
        global N
        N += 1
        text = f"""
import numpy as np
{head}
class Mine:
    '''The mean.'''
    name = "mine{N}"
    version = "1"
    geometry = "aligned_crop"
{extra}
    def score(self, images):
        {body}
"""
        file = tmp_path / f"plug{N}.py"
        file.write_text(text)
        return f"{file}:Mine", f"mine{N}"

    monkeypatch.setattr(sys, "path", list(sys.path))
    return write


@pytest.fixture
def images(tmp_path) -> Path:
    """12 photographs and 12 generated pictures of 88 px, of which one cannot be decoded; the brighter are generated."""
    rng = np.random.default_rng(3)
    for k in range(24):
        file = tmp_path / "data" / ("1_fake" if k % 2 else "0_real") / f"{k:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(2 * k, 200 + 2 * k, (88, 88, 3), np.uint8)).save(file)
    file.write_bytes(b"no picture")
    return tmp_path / "data"


def shown(images: Path, crop: int = 64) -> dict[str, np.ndarray]:
    """What a detector sees natively: the middle, on the grid of 8."""
    found = {}
    for file in sorted(images.glob("*/*.png"))[:-1]:
        pixels = np.asarray(Image.open(file))
        top = (pixels.shape[0] - crop) // 2 // 8 * 8
        found[f"{file.parent.name}/{file.name}"] = pixels[top : top + crop, top : top + crop]
    return found


def batch(n: int = 5) -> Batch:
    pixels = np.random.default_rng(0).integers(0, 256, (n, 64, 64, 3), np.uint8)
    return Batch(tuple(f"{k:032x}" for k in range(n)), pixels, (Facts("PNG", 64, 64, 0),) * n, 0)


def scores(text: str, of: Batch) -> np.ndarray:
    instance = named(text)()
    (task,) = prepare(instance, crop=64)
    return instance.score(clean=task(of))


# -- what it says is what is judged ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("workers", "in_process"), [(0, False), (2, False), (2, True)])
def test_the_scores_are_those_of_the_class_to_the_last_bit(plug, images, workers, in_process):
    """Also near 1, where float32 would make ties, and whatever the batch; a network stays in the run's own process."""
    body = f"assert (__import__('os').getpid() == {os.getpid()}) == {in_process or not workers}; "
    text, _ = plug(body + "return [1 - image.astype(float).mean() * 1e-13 for image in images]",
                   f"    in_process = {in_process}")  # fmt: skip
    instance, known = named(text)(), shown(images)
    tasks = prepare(instance, crop=64)
    paths = sorted(str(file.relative_to(images)) for file in images.glob("*/*.png"))
    table = run(tasks, paths, root=images, crop=64, workers=workers).tables["native", tasks[0].name]
    found = instance.score(clean=table.values)
    assert len({known[path].mean() for path in known}) == 23
    for path, score in zip(paths[:-1], found, strict=False):
        assert score == 1 - known[path].astype(float).mean() * 1e-13, path
    assert np.isnan(found[-1])
    assert [failure.path for failure in table.failures] == [paths[-1]]


def test_settings_are_the_fields_of_a_dataclass(plug):
    body, extra = (
        "return [self.gain * image.mean() for image in images]",
        "    gain: float = 1.0\n    sign: bool = True",
    )
    text, name = plug(body, extra, "from dataclasses import dataclass\n@dataclass")
    entry = named(f"{text}:gain=2")
    assert entry.name == f"{name}:gain=2"
    assert dict(entry.settings) == {"gain": 2.0, "sign": True}
    assert entry.summary == "The mean."
    assert named(text) is detector.get(name), "registered once"
    np.testing.assert_array_equal(scores(f"{text}:gain=2", batch()), 2 * scores(text, batch()))
    with pytest.raises(ParameterError, match="has no setting 'gian'; did you mean 'gain'"):
        named(f"{text}:gian=2")


def test_pictures_are_copies(plug):
    text, _ = plug("[image.fill(0) for image in images]; return [0.5] * len(images)")
    mine = batch()
    before = mine.rgb8.copy()
    assert (scores(text, mine) == 0.5).all()
    np.testing.assert_array_equal(mine.rgb8, before)


@pytest.mark.parametrize(
    ("geometry", "shape"),
    [("aligned_crop", (64, 64)), ("as_is", (88, 88)), ("centre_crop:32", (32, 32)), ("squash:40:bicubic", (40, 40))],
)
def test_a_geometry_is_named(plug, images, geometry, shape):
    text, _ = plug("return [image.shape[0] * 1000 + image.shape[1] for image in images]",
                   f"    geometry = '{geometry}'")  # fmt: skip
    instance = named(text)()
    tasks = prepare(instance, crop=64)
    table = run(tasks, ["0_real/00.png"], root=images, crop=64).tables["native", tasks[0].name]
    found = instance.score(clean=table.values)
    assert found == [shape[0] * 1000 + shape[1]]


def test_what_scores_depend_on_tells_rows_apart(plug, tmp_path):
    """Version, file and settings; two classes of one file differ by their names."""

    def key(text: str) -> tuple[str, str]:
        (task,) = prepare(named(text)(), crop=64)
        return task.name.rpartition("-")[2], task.version

    with_field = ("return [0.0 for _ in images]", "    a: int = 1", "from dataclasses import dataclass\n@dataclass")
    one, _ = plug(*with_field)
    assert key(f"{one}:a=2")[0] != key(one)[0]
    assert key(one) == key(one)
    other, name = plug(*with_field)
    file = Path(other.rpartition(":")[0])
    file.write_text(file.read_text().replace('version = "1"', 'version = "2"'))
    assert key(other)[1].startswith("2 ")
    assert key(other)[1].split(" ")[1] != key(one)[1].split(" ")[1]
    assert detector.get(name).code == key(other)[1].split(" ")[1]


def test_a_parent_that_changes_changes_the_rows(plug, tmp_path):
    """A class that inherits its score from another file; of the standard library nothing counts."""
    parent = tmp_path / "parent_of_plug.py"
    parent.write_text("import abc\n\n\nclass Base(abc.ABC):\n    def score(self, images): return [1.0] * len(images)\n")
    text, _ = plug(head="from parent_of_plug import Base")
    file = Path(text.rpartition(":")[0])
    file.write_text(file.read_text().replace("class Mine:", "class Mine(Base):").partition("    def score")[0])
    (task,) = prepare(named(text)(), crop=64)
    assert task.version.split(" ")[1] == source_digest(str(file), str(parent))
    assert (scores(text, batch(2)) == 1).all()


def test_a_file_may_import_its_neighbours(plug, tmp_path):
    (tmp_path / "neighbour_of_plug.py").write_text("GAIN = 3.0\n")
    text, _ = plug("return [GAIN for _ in images]", head="from neighbour_of_plug import GAIN")
    assert (scores(text, batch()) == 3).all()


# -- what may be wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return [1 / (image[0, 0, 0] != {bad}) if image[0, 0, 0] != {bad} else float('nan') for image in images]",
         "the result is not finite"),
        ("return [float('inf') if image[0, 0, 0] == {bad} else 0.0 for image in images]", "the result is not finite"),
        ("return [{{}}['no key'] if image[0, 0, 0] == {bad} else 0.0 for image in images]", "KeyError: 'no key'"),
        ("return [0.0 for image in images if image[0, 0, 0] != {bad}]", "gave an array of shape (0,) for 1 image;"),
        ("return ['high' if image[0, 0, 0] == {bad} else 0.0 for image in images]",
         "ValueError: could not convert string to float"),
        ("return [__import__('sys').exit(0) if image[0, 0, 0] == {bad} else 0.0 for image in images]",
         " left (SystemExit: 0)"),
        ("return np.zeros((len(images), 2) if {bad} in [image[0, 0, 0] for image in images] else len(images))",
         "gave an array of shape (1, 2) for 1 image;"),
    ],
)  # fmt: skip
def test_what_goes_wrong_with_one_picture_costs_that_one(plug, images, body, reason):
    known = shown(images)
    paths = list(known)
    bad = known[paths[3]][0, 0, 0]
    others = [path for path in paths if known[path][0, 0, 0] != bad]
    text, name = plug(body.format(bad=bad))
    tasks = prepare(named(text)(), crop=64)
    table = run(tasks, paths, root=images, crop=64).tables["native", tasks[0].name]
    assert {failure.path for failure in table.failures} == set(paths) - set(others)
    assert all(reason in failure.reason and failure.stage.startswith(f"{name}-") for failure in table.failures)
    assert sum(table.ok) == len(others) > 15


@pytest.mark.parametrize(
    ("body", "words"),
    [("raise OSError('no weights here')", "OSError: no weights here"), ("import sys; sys.exit(0)", "SystemExit: 0")],
)
def test_a_class_that_cannot_be_made_is_not_run(plug, body, words):
    text, name = plug(extra=f"    def __init__(self):\n        {body}")
    with pytest.raises(WeightsError, match=rf"{name} cannot be made \({words}\)"):
        prepare(named(text)(), crop=64)


def test_one_that_moves_and_speaks_leaves_things_as_they_were(plug, tmp_path, monkeypatch, capsys):
    """When it is imported, made and asked: prints go to stderr, the working folder and the arguments are put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fdetect", "bench"])
    stray = "import os, sys; os.chdir('/'); sys.argv[1:] = ['stray']; print('%s')"
    text, _ = plug(f"{stray % 'asked'}; return [0.5] * len(images)",
                   f"    def __init__(self):\n        {stray % 'made'}", stray % "imported")  # fmt: skip
    assert (scores(text, batch()) == 0.5).all()
    assert Path.cwd() == tmp_path
    assert sys.argv == ["fdetect", "bench"]
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "imported\nmade\nasked\n")


def test_two_that_move_at_once_leave_things_as_they_were(plug, tmp_path, monkeypatch):
    """One in the device lane, one in the run: the first to begin is the first to end."""
    monkeypatch.chdir(tmp_path)
    out, of = sys.stdout, batch(2)
    move = "import os, time; os.chdir('/'); time.sleep({}); return [0.5] * len(images)"
    tasks = [prepare(named(plug(move.format(seconds))[0])(), crop=64)[0] for seconds in (0.2, 0.4)]
    threads = [threading.Thread(target=task, args=(of,)) for task in tasks]
    for thread in threads:
        thread.start()
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    assert sys.stdout is out
    assert Path.cwd() == tmp_path


def test_one_that_works_elsewhere_costs_its_time_on_the_wall(plug):
    text, _ = plug("__import__('time').sleep(0.01 * len(images)); return [0.5] * len(images)",
                   "    in_process = True")  # fmt: skip
    costing = Costing((), (), (), (), (), 64, resolve("cpu"))
    assert costing._of_tasks(prepare(named(text)(), crop=64), time.perf_counter() + 4) >= 10


def test_one_that_was_edited_is_another_run(plug, images, tmp_path):
    text, _ = plug()
    file = Path(text.rpartition(":")[0])
    settings = {"data.path": str(images), "conditions.names": ("native",), "conditions.crop": 64, "features.names": (),
                "detectors.names": (text,), "protocol.name": "train_on", "protocol.train": ("data",)}  # fmt: skip
    script = f"""
from fdetect.bench.plan import planned
from fdetect.config import RunConfig, override
from fdetect.engine import Store
print(planned(override(RunConfig(), {settings!r}), Store({str(tmp_path / "store")!r}), backend="cpu").fingerprint)
"""

    def fingerprint() -> str:
        done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    before = fingerprint()
    assert fingerprint() == before
    file.write_text(file.read_text().replace("image.mean()", "image.std()"))
    assert fingerprint() != before


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("    geometry = 'stretched'", "no geometry 'stretched'"),
        ("    geometry = 'centre_crop:big'", "geometry 'centre_crop:big': write it as name:size"),
        ("    geometry = 224", "class Mine: geometry must be text, got 224"),
        ("    version = ''", "class Mine: version must be text, got ''"),
        ("    name = 'a:b'", "name may have letters, digits"),
        ("    name = 'rigid'", "detector 'rigid' is registered twice"),
    ],
)
def test_a_class_that_is_no_detector_is_one_sentence(plug, extra, words):
    text, _ = plug(extra=extra)
    with pytest.raises(ParameterError) as caught:
        named(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_run_is_one_sentence(plug, tmp_path):
    (tmp_path / "lacks.py").write_text("class Mine:\n    name = 'lacks'\n    version = '1'\n")
    (tmp_path / "raises.py").write_text("import sys\nsys.exit('usage: raises.py IMAGE')\n")
    settings = {"needs": "weights: str", "listed": "sizes: list = field(default_factory=lambda: [1])",
                "unset": "weights: str | None = None"}  # fmt: skip
    for name, setting in settings.items():
        (tmp_path / f"{name}.py").write_text(
            f"from dataclasses import dataclass, field\n@dataclass\nclass Mine:\n    {setting}\n    name = '{name}'\n"
            "    version = '1'\n    geometry = 'as_is'\n    def score(self, images): return [0.0] * len(images)\n"
        )
    for text, words in {
        "lacks.py:Mine": "class Mine is no detector: it has no geometry, no score (docs/external.md)",
        "needs.py:Mine": "the setting 'weights' needs a default",
        "listed.py:Mine": "the default of the setting 'sizes' must be text, a number, True or False, got [1]; what",
        "unset.py:Mine": "the default of the setting 'weights' must be text, a number, True or False, got None; what",
        "lacks.py:Other": "has no class 'Other'",
        "raises.py:Mine": "raises.py: cannot be run (SystemExit: usage: raises.py IMAGE)",
        "absent.py:Mine": "absent.py: no such file; a detector in a file is named FILE.py:Class",
    }.items():
        with pytest.raises(ParameterError) as caught:
            named(f"{tmp_path}/{text}")
        assert words in str(caught.value)
    for text in ("lacks.py", "lacks.py:", "lacks.py:weights=1"):
        with pytest.raises(ParameterError, match="one in a file is named FILE.py:Class"):
            named(text)
    with pytest.raises(UnknownName, match="no detector 'smothness'"):
        named("smothness")


# -- through the commands -------------------------------------------------------------------------------------------


def test_the_example_of_the_documentation_scores_and_is_calibrated(fdetect, images, tmp_path):  # noqa: F811
    assert EXAMPLE
    (tmp_path / "smoothness.py").write_text(EXAMPLE[1])
    known = {path: -np.abs(np.diff(one.mean(axis=2), axis=1)).mean() for path, one in shown(images).items()}
    common = ("--detector", "smoothness.py:Smoothness", "--crop", "64", "--workers", "0")
    code, _, err = fdetect("score", images, *common, "-o", "s.csv")
    assert code == 0, err
    rows = list(csv.DictReader((tmp_path / "s.csv").open()))
    found = {row["path"]: float(row["score"]) for row in rows if row["status"] == "ok"}
    assert found == pytest.approx(known, abs=1e-14)
    assert {row["detector"] for row in rows} == {"smoothness"}
    assert sum(row["status"] == "failed" for row in rows) == 1
    code, _, err = fdetect("fit", images, *common, "-o", "m.fdetect")
    assert code == 0, err
    code, _, err = fdetect("score", images, "--model", "m.fdetect", "--workers", "0", "-o", "again.csv")
    assert code == 0, err
    again = list(csv.DictReader((tmp_path / "again.csv").open()))
    assert [row["score"] for row in again] == [row["score"] for row in rows]
    assert json.loads((tmp_path / "m.fdetect" / "card.json").read_text())["name"] == "smoothness"


def test_an_installed_package_runs_in_a_benchmark_with_workers(images, tmp_path):
    """As pip leaves it: a module, and a distribution that names it among the entry points; a broken one beside it."""
    info = tmp_path / "site" / "theirs-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    points = "[fdetect.detectors]\nsmoothness = theirs:Smoothness\nbroken = theirs:Other\nfailing = theirs:Failing\n"
    points += "crashing = theirs:Crashing\n"
    (info / "entry_points.txt").write_text(points)
    failing = (
        "class Failing(Smoothness):\n    name = 'failing'\n    def score(self, images): raise KeyError('weights')\n"
    )
    failing += (
        "class Crashing(Smoothness):\n    name = 'crashing'\n    def score(self, images):\n"
        "        import os\n        if any(int(image.sum()) % 11 == 0 for image in images): os.kill(os.getpid(), 11)\n"
        "        return super().score(images)\n"
    )
    (info.parent / "theirs.py").write_text(f"{EXAMPLE[1]}\n\nclass Other:\n    name = 'other'\n\n\n{failing}")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(info.parent), str(ROOT)]), "COLUMNS": "200"}

    def python(*arguments: str) -> str:
        done = subprocess.run([sys.executable, "-m", "fdetect", *arguments], env=environment, cwd=tmp_path,
                              capture_output=True, text=True, timeout=120, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    listed = python("list", "detectors")
    assert "Smoothness: the smaller the mean step" in listed
    assert "broken: not loaded: plug-in theirs:Other failed: class Other is no detector" in listed
    python("bench", "data", "--features", "none", "--heads", "none", "--family-heads", "none", "--detectors",
           "failing,smoothness,crashing", "--conditions", "native", "--crop", "64", "--folds", "2",
           "--protocol", "train_on", "--train", "data", "--replicates", "10", "--workers", "2",
           "--out", "run")  # fmt: skip
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert {cell["detector"] for cell in result["cells"]} == {"smoothness", "crashing"}
    assert result["header"]["plugged"]["smoothness"].startswith("1 ")
    (lost,) = result["not_run"]
    assert lost["detector"] == "failing"
    assert lost["reason"].startswith(
        "every real image failed under condition native; the first, 0_real/00.png: failing-"
    )
    assert lost["reason"].endswith("KeyError: 'weights'")
    stages = [failure["stage"].partition("-")[0] for failure in result["failures"]]
    crashed = {path for path, image in shown(images).items() if int(image.sum()) % 11 == 0}
    assert 1 <= len(crashed) <= 4, "a crash of the worker costs these their score of that detector, and no other"
    assert sorted(stages) == ["decode", *["failing"] * 23, *["worker"] * len(crashed)]
    on_crash = {one["path"]: one["reason"] for one in result["failures"] if one["stage"] == "worker"}
    assert on_crash.keys() == crashed
    assert all(re.fullmatch(r"crashing-\S+ ended the worker process twice \(SIGSEGV\)", on_crash[p]) for p in crashed)
    cost = json.loads((tmp_path / "run" / "run.json").read_text())["cost_ms"]["detectors"]
    assert cost["crashing"]["reason"] == "it runs in workers alone, which it may crash"
