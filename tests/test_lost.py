"""Images that a run loses are said: beforehand where headers tell, and at its end by distinct images."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_cli import fdetect  # noqa: F401 (a fixture)

from fdetect.bench.data.lost import lost_line, need_large, too_small
from fdetect.bench.data.overview import overview
from fdetect.bench.layouts import read_manifest
from fdetect.bench.protocols import samples_of
from fdetect.bench.report.run_page import _missing
from fdetect.errors import DataError
from fdetect.perturb import condition
from fdetect.types import Failure

SHARED = Path(__file__).parents[1].parent / "shared" / "data" / "manifest.csv"
LEAST = ("--features", "radial_spectrum", "--heads", "none", "--detectors", "none", "--replicates", "10",
         "--crop", "64", "--conditions", "matched", "--workers", "0")  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Real pictures of 88 px, fakes of two generators of 88 px and of one of 60 px, one of them a broken file."""
    folder, rng = tmp_path_factory.mktemp("lost") / "set", np.random.default_rng(5)
    for name, n, side in (("real/raise", 24, 88), ("fake/gan", 12, 88), ("fake/ldm", 12, 88), ("fake/tiny", 5, 60)):
        (folder / name).mkdir(parents=True)
        for k in range(n):
            Image.fromarray(rng.integers(0, 256, (side, side + k, 3), np.uint8)).save(folder / name / f"{k}.png")
    return folder


def test_too_small_counts_each_class_by_the_size_that_conditions_need(data):
    seen = overview(read_manifest(data))
    names = [condition(name) for name in ("native", "matched", "jpeg70", "blur1", "matched")]
    assert list(too_small(seen, names, 64)) == [
        "5 of 29 fake images (all of tiny) are smaller than 72 px and will fail under native, matched, jpeg70 and "
        "1 more"]  # fmt: skip
    assert [line.split(" are ")[0] for line in too_small(seen, names[:1], 88)] == [
        "24 of 24 real images (all of raise)", "29 of 29 fake images (all of gan, ldm, tiny)"]  # fmt: skip
    need_large(seen, names, 80)  # 88 px are just enough
    with pytest.raises(DataError, match=r"^no real image can be used under native: with --crop 88 both sides need 96"):
        need_large(seen, names, 88)


def test_a_dry_run_says_what_is_too_small(fdetect, data):  # noqa: F811
    code, out, _ = fdetect("bench", data, *LEAST, "--dry-run")
    assert code == 0
    assert "\nbeware: 5 of 29 fake images (all of tiny) are smaller than 72 px and will fail under matched\n" in out
    found = {}
    for how in (("--dry-run",), ()):
        code, _, err = fdetect("bench", data, *LEAST, "--crop", "4000", *how)
        assert code == 2
        found[how] = err
    assert "no real image can be used under matched: with --crop 4000 both sides need 4008 px" in found["--dry-run",]
    assert "every real image failed under condition matched" in found[()]


def test_what_was_lost_and_not_run_is_said_at_the_end(fdetect, data, tmp_path):  # noqa: F811
    (tmp_path / "theirs.py").write_text("import sys\nsys.exit('no weights')\n")
    (tmp_path / "plug.py").write_text(
        "class Mine:\n    '''One.'''\n    name, version, geometry = 'lost_one', '1', 'aligned_crop'\n"
        "    def __init__(self):\n        raise OSError('no file')\n"
        "    def score(self, images):\n        return [0.0] * len(images)\n"
    )
    both = ("--external", f"theirs={sys.executable} theirs.py", "--detectors", "plug.py:Mine")
    code, _, err = fdetect("bench", data, *LEAST, *both, "-o", "run")
    assert code == 0, err
    *_, lost, plug, theirs = err.splitlines()
    assert lost == "fdetect: 5 of 53 images failed under a condition at least: all of tiny"
    assert plug.startswith("fdetect: not run: lost_one: ")
    assert theirs.startswith("fdetect: not run: theirs: ")
    assert "no weights" in theirs
    large = tmp_path / "large.csv"
    rows = (f"{p.relative_to(data)},{int(p.parts[-3] == 'fake')},{p.parent.name}" for p in sorted(data.rglob("*.png"))
            if p.parent.name != "tiny")  # fmt: skip
    large.write_text("\n".join(("path,label,generator", *rows)) + "\n")
    whole = ("bench", large, "--root", data, *LEAST, "--strict")
    code, _, err = fdetect(*whole, "-o", "all")
    assert (code, "images failed" in err, "not run:" in err) == (0, False, False)
    assert fdetect(*whole, *both[:2], "-o", "none")[0] == 3


def test_an_image_that_failed_twice_counts_once(data):
    samples = samples_of(read_manifest(data))
    failures = [Failure("", f"fake/gan/{k}.png", stage, "why") for k in range(2) for stage in ("geometry", "npr")]
    assert lost_line(samples, failures) == "2 of 53 images failed under a condition at least"
    assert lost_line(samples, []) == ""
    from fdetect.bench.report.grid import Grid

    assert _missing(Grid("Not run", (), ()), failures) == "2 images failed"


@pytest.mark.parametrize(("option", "value"), [
    ("--heads", "logreg,logreg"), ("--family-heads", "logreg,logreg"), ("--features", "fast,fast"),
    ("--detectors", "rigid,rigid"),
])  # fmt: skip
def test_a_name_given_twice_is_refused(fdetect, data, option, value):  # noqa: F811
    code, _, err = fdetect("bench", data, "--dry-run", "--crop", "64", option, value)
    assert code == 2
    assert f"{option}: {value.split(',')[0]} is named twice; name it once" in err


@pytest.mark.skipif(not SHARED.is_file(), reason="the shared development images are not here")
def test_three_generators_of_the_development_images_are_too_small_for_256():
    seen = overview(read_manifest(SHARED))
    (line,) = too_small(seen, [condition("matched")], 256)
    assert line.startswith("250 of 482 fake images (all of ")
    assert line.split(")")[0].count(",") == 2
