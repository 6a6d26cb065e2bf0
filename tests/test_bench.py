"""The benchmark end to end on small real input: outputs, repeatability, resuming after SIGKILL, failures, not run."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from fdetect.bench.run import bench
from fdetect.bench.scores.scoring import SCORE_COLUMNS
from fdetect.config import RunConfig, override
from fdetect.engine import Store
from fdetect.errors import DataError, ParameterError

QUICK = {
    "conditions.names": ("native", "matched"), "conditions.crop": 128,
    "features.names": ("radial_spectrum", "npr_statistics"),
    "heads.per_family": ("logreg",), "heads.all_columns": ("logreg",), "metrics.replicates": 50,
}  # fmt: skip


def quick(data: Path, **flags: object) -> RunConfig:
    return override(RunConfig(), {**QUICK, "data.path": str(data), **flags})


@pytest.fixture(scope="module")
def finished(small_set: Path, tmp_path_factory: pytest.TempPathFactory):
    base = tmp_path_factory.mktemp("bench")
    return bench(quick(small_set), out=base / "run", store=Store(base / "store"))


def test_a_run_writes_every_file(finished):
    names = {path.name for path in finished.folder.iterdir()}
    assert {"result.json", "scores.parquet", "thresholds.parquet", "tables.md", "cells.csv", "report.html"} <= names
    result = json.loads((finished.folder / "result.json").read_text())
    assert set(result) == {"schema", "header", "audit", "cells", "gains", "differences", "curves", "by_source",
                           "thresholds", "failures", "not_run"}  # fmt: skip
    assert {"numpy", "pillow", "torch", "decoder"} <= set(result["header"]["versions"])
    table = pq.read_table(finished.folder / "scores.parquet")
    assert tuple(table.column_names) == SCORE_COLUMNS
    assert set(table.column("train_condition").to_pylist()) == {"native", "matched"}
    assert not [name for name in names if name.endswith(".tmp")]


def test_every_image_is_scored_in_every_trial_that_tests_it(finished, small_set):
    with small_set.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    fakes = sum(row["label"] == "1" for row in rows)
    table = finished.scores
    detectors = set(table.column("detector").to_pylist())
    assert detectors == {"logreg:spectrum", "logreg:neighbours", "logreg:all"}
    label = np.array(table.column("label").to_pylist())
    assert (label == 1).sum() == fakes * len(detectors) * 2  # each fake once a detector and condition
    assert (label == 0).sum() == (len(rows) - fakes) * 2 * len(detectors) * 2  # each real beside each generator


def test_the_same_run_gives_the_same_bytes_and_computes_nothing_twice(finished, small_set, tmp_path):
    first = (finished.folder / "result.json").read_bytes()
    store = Store(finished.folder.parent / "store")
    parts = {path: path.stat().st_mtime_ns for path in finished.folder.glob("parts/*")}
    again = bench(quick(small_set), out=finished.folder, store=store)
    assert (again.folder / "result.json").read_bytes() == first
    assert {path: path.stat().st_mtime_ns for path in finished.folder.glob("parts/*")} == parts
    elsewhere = bench(quick(small_set), out=tmp_path / "fresh", store=Store(tmp_path / "store"), workers=2)
    assert (elsewhere.folder / "result.json").read_bytes() == first
    assert (elsewhere.folder / "scores.parquet").read_bytes() == (finished.folder / "scores.parquet").read_bytes()


def test_a_folder_of_another_run_is_refused_and_left_alone(finished, small_set):
    before = (finished.folder / "result.json").read_bytes()
    with pytest.raises(DataError, match="holds another run"):
        bench(quick(small_set, seed=1), out=finished.folder, store=Store(finished.folder.parent / "store"))
    assert (finished.folder / "result.json").read_bytes() == before


def test_a_folder_that_is_no_run_is_refused(small_set, tmp_path):
    (tmp_path / "thesis.txt").write_text("keep me")
    with pytest.raises(DataError, match="holds no run"):
        bench(quick(small_set), out=tmp_path, store=Store(tmp_path / "store"))
    assert (tmp_path / "thesis.txt").read_text() == "keep me"


def test_killed_at_a_random_moment_and_started_again_gives_the_same_result(finished, small_set, tmp_path):
    command = [
        sys.executable, "-m", "fdetect", "bench", str(small_set), "--conditions", "native,matched", "--crop", "128",
        "--features", "radial_spectrum,npr_statistics", "--heads", "logreg", "--replicates", "50",
        "--store", str(tmp_path / "store"), "--out", str(tmp_path / "run"),
    ]  # fmt: skip
    rng = np.random.default_rng(int(time.time()))
    for folder in ("store", "run/parts"):  # killed among the features, then among the scores
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, start_new_session=True, **quiet)
        deadline = time.monotonic() + 120
        while not any((tmp_path / folder).glob("**/*")) and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 1))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").glob("*/part-*.parquet")}
    assert kept
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "result.json").read_bytes() == (finished.folder / "result.json").read_bytes()
    assert kept == {path: path.stat().st_mtime_ns for path in kept}, "a finished part was written again"


def test_images_that_fail_are_counted_and_named(small_set, tmp_path):
    with small_set.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    root = small_set.parent
    for row in rows:
        (tmp_path / row["path"]).parent.mkdir(exist_ok=True)
        shutil.copyfile(root / row["path"], tmp_path / row["path"])
    bad = {
        "truncated.png": (root / rows[0]["path"]).read_bytes()[:2000],
        "empty.png": b"",
        "text.jpg": b"this is no image",
    }
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
    fields = dict.fromkeys(rows[0], "")
    rows += [{**fields, "path": name, "label": "0", "group": name} for name in bad]
    rows.append({**fields, "path": "gone.png", "label": "1", "generator": "sim-nearest", "group": "gone"})
    manifest = tmp_path / "all.csv"
    with manifest.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    done = bench(quick(manifest), out=tmp_path / "run", store=Store(tmp_path / "store"))
    failed = {failure.path: failure for failure in done.result.failures}
    assert set(failed) == {*bad, "gone.png"}
    assert failed["gone.png"].stage == "read"
    assert all(failed[name].stage == "decode" for name in bad)
    assert all("\n" not in failure.reason for failure in failed.values())
    scored = done.scores.to_pylist()
    of_bad = [row for row in scored if row["path"] in failed]
    assert of_bad
    assert all(row["status"] == "failed" and row["reason"] and row["decision"] == "undecided" for row in of_bad)
    macro = next(cell for cell in done.result.cells if cell.generator == "macro")
    assert macro.metric("auroc").n_failed == 4
    assert any("lost" in flag for flag in macro.flags)
    assert "gone.png" in (done.folder / "report.html").read_text(encoding="utf-8")


def test_a_detector_without_weights_is_a_row_with_reason_and_fix(finished):
    (row,) = finished.result.not_run
    assert row.detector == "rigid"
    assert "dinov2-large" in row.reason
    assert "fdetect weights get dinov2-large" in row.fix


def test_where_nothing_is_left_to_run_the_error_says_why(small_set, tmp_path):
    pytest.importorskip("torch", reason="the extra 'deep' is not installed")
    flags = {"features.names": (), "detectors.names": ("univfd",), "conditions.names": ("native",)}
    with pytest.raises(ParameterError, match=r"no detector is left .*univfd did not run: .*import fc_weights\.pth"):
        bench(quick(small_set, **flags), out=tmp_path / "run", store=Store(tmp_path / "store"))


def test_rigid_runs_on_weights_from_a_folder(small_set, tmp_path):
    pytest.importorskip("transformers", reason="the extra 'deep' is not installed")
    import tiny_dinov2

    tiny_dinov2.save_tiny(tmp_path / "tiny", image_size=56)
    flags = {"detectors.encoder": str(tmp_path / "tiny"), "features.names": (), "conditions.names": ("native",)}
    config = quick(small_set, **flags)
    done = bench(config, out=tmp_path / "run", store=Store(tmp_path / "store"))
    assert not done.result.not_run
    assert set(done.scores.column("detector").to_pylist()) == {"rigid"}
    scores = np.array(done.scores.column("score").to_pylist())
    assert np.isfinite(scores).all()
    assert ((scores >= 0) & (scores <= 2)).all()
    (card,) = done.result.header["weights"]["rigid"]
    assert card["purpose"] == "test"
    assert card["evidence"] == "unverified weights"
    tables = (tmp_path / "run" / "tables.md").read_text(encoding="utf-8")
    assert "| rigid | test, unverified weights |" in tables  # beside every figure
    assert "## Networks" in tables


def test_the_core_runs_without_torch(small_set, tmp_path):
    code = (
        "import importlib.util, sys\n"
        "absent, find = ('torch', 'transformers', 'simplejpeg', 'cupy'), importlib.util.find_spec\n"
        "class Absent:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name.split('.')[0] in absent: raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "importlib.util.find_spec = lambda name, *rest: None if name in absent else find(name, *rest)\n"
        "from fdetect.cli import main\n"
        f"sys.argv = ['fdetect', 'bench', {str(small_set)!r}, '--crop', '128', '--conditions', 'native,matched', "
        "'--features', 'radial_spectrum', '--heads', 'logreg', '--replicates', '20', '--workers', '1', "
        f"'--store', {str(tmp_path / 'store')!r}, '--out', {str(tmp_path / 'run')!r}]\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "torch" in done.stdout
    assert "pip install 'fdetect[deep]'" in done.stdout


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"conditions.crop": 100}, "crop must be a multiple of 8"),
        ({"conditions.names": ("matchd",)}, "did you mean 'matched'"),
        ({"features.names": ("radial_spectru",)}, "did you mean 'radial_spectrum'"),
        ({"heads.all_columns": ("logre",)}, "did you mean 'logreg'"),
        ({"heads.drop_one": ("logre",)}, "did you mean 'logreg'"),
        ({"heads.drop_one": ("logreg",), "features.names": ("radial_spectrum",)}, "--drop-one needs two families"),
        ({"heads.per_preset": ("logreg",)}, "--per-preset finds no preset"),
        ({"protocol.name": "cross_generators"}, "did you mean 'cross_generator'"),
        ({"detectors.names": ("rigit",)}, "did you mean 'rigid'"),
        ({"protocol.name": "train_on"}, "--train"),
    ],
)
def test_settings_that_cannot_be_used_are_explained(small_set, tmp_path, flags, message):
    with pytest.raises(ParameterError, match=message):
        bench(quick(small_set, **flags), out=tmp_path / "run", store=Store(tmp_path / "store"))


def test_a_class_that_failed_altogether_is_said_with_the_first_reason(small_set, tmp_path):
    config = quick(small_set, **{"conditions.crop": 256, "conditions.names": ("matched",)})
    with pytest.raises(DataError, match=r"every real image failed under condition \w+; the first, .* small") as caught:
        bench(config, out=tmp_path / "run", store=Store(tmp_path / "store"))
    assert "\n" not in str(caught.value)
