"""The three-way question in a run: every image is answered for, what is written, workers, absent and known networks."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from fdetect.bench.report.run_page import render_report
from fdetect.bench.run import bench
from fdetect.bench.training.pair_sources import find_sources
from fdetect.bench.training.three_way import laundered_condition
from fdetect.bench.training.three_way_answers import CLASSES
from fdetect.bench.training.three_way_tables import three_way_grids
from fdetect.config import RunConfig, override
from fdetect.engine import Store
from fdetect.engine.work import content_id
from fdetect.perturb import condition

pytest.importorskip("torch", reason="the extra 'deep' is not installed")

from tiny_own import save_own

QUICK = {
    "conditions.names": ("native", "matched", "jpeg70"), "conditions.crop": 64,
    "features.names": ("radial_spectrum", "npr_statistics"), "heads.per_family": (), "heads.all_columns": ("logreg",),
    "detectors.names": (), "metrics.replicates": 30, "aligned.three_way": ("logreg",), "protocol.folds": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    base = tmp_path_factory.mktemp("networks")
    return tuple(str(save_own(base / name, name, seed=k)) for k, name in enumerate(("nearest", "shuffle")))


def quick(data: Path, folders: tuple[str, ...], **flags: object) -> RunConfig:
    return override(RunConfig(), QUICK | {"data.path": str(data), "aligned.autoencoders": folders} | flags)


@pytest.fixture(scope="module")
def few(small_set: Path) -> Path:
    """Half of the small set's groups, and a photograph that cannot be read."""
    with small_set.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    kept = set(sorted({row["group"] for row in rows})[:6])
    rows = [row for row in rows if row["group"] in kept]
    (small_set.parent / "broken.png").write_bytes(b"no picture")
    rows.append(dict.fromkeys(rows[0], "") | {"path": "broken.png", "label": "0", "group": "broken"})
    manifest = small_set.parent / "few.csv"
    with manifest.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return manifest


@pytest.fixture(scope="module")
def finished(few: Path, folders: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory):
    base = tmp_path_factory.mktemp("three-way")
    return bench(quick(few, folders), out=base / "run", store=Store(base / "store"))


def test_a_laundered_condition_is_what_its_name_says(folders: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FDETECT_WEIGHTS", str(Path(folders[0]).parent))
    (source,) = find_sources(("nearest",))
    for name in ("matched", "jpeg70", "rescaled", "resize50+blur1"):
        mine = laundered_condition(source, name)
        assert mine.name == f"launder_{source.name}" + ("" if name == "matched" else f"+{name}")
        read = condition(mine.name.replace(source.name, "nearest"))
        assert replace(read, name=mine.name) == mine


def test_a_run_answers_for_every_image(finished, few: Path) -> None:
    with few.open(encoding="utf-8", newline="") as file:
        images = list(csv.DictReader(file))
    part = finished.result.header["three_way"]
    n_real = sum(row["label"] == "0" for row in images)
    fakes = Counter(row["generator"] for row in images if row["label"] == "1")
    rows = {(row["condition"], row["truth"], row["of"]): row for row in part["rows"]}
    assert {key[0] for key in rows} == {"matched", "jpeg70"}
    for name in ("matched", "jpeg70"):
        for truth in ("pristine", "laundered"):  # each photograph once beside each of the two generators
            row = rows[name, truth, ""]
            assert sum(row[c] for c in CLASSES) == 2 * (n_real - 1)
            assert row["n_failed"] == 2
        for generator, n in fakes.items():
            assert sum(rows[name, "synthetic", generator][c] for c in CLASSES) == n
    assert len(part["held_out"]) == 4
    assert len(set(part["held_out"].values())) == 2
    assert part["same"] == []
    failed = [failure for failure in finished.result.failures if failure.path == "broken.png"]
    assert len(failed) == 1  # not once more for each autoencoder


def test_a_run_writes_csv_tables_and_report(finished) -> None:
    part = finished.result.header["three_way"]
    with (finished.folder / "three_way.csv").open(encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    assert len(written) == len(part["rows"])
    for line, row in zip(written, part["rows"], strict=True):
        assert [int(line[c]) for c in CLASSES] == [row[c] for c in CLASSES]
        assert float(line["share"]) == row["share"]
        assert int(line["n"]) == sum(row[c] for c in CLASSES)
    stored = json.loads((finished.folder / "result.json").read_text())
    assert stored["header"]["three_way"] == part
    assert stored["header"]["config"]["aligned"]["three_way"] == ["logreg"]
    titles = [grid.title for grid in three_way_grids(finished.result)]
    assert len(titles) == 2
    tables, page = ((finished.folder / name).read_text() for name in ("tables.md", "report.html"))
    for title in titles:
        assert f"## {title}" in tables
        assert f"<h4>{title}</h4>" in page
    assert 'href="#three-way"' in page
    again = render_report(replace(finished.result, header=stored["header"]))
    (section,) = re.findall(r'<section id="three-way".*?</section>', page, re.DOTALL)
    assert section in again


def test_a_second_run_computes_nothing_and_workers_change_nothing(
    finished, few: Path, folders: tuple[str, ...], tmp_path: Path
) -> None:
    first = (finished.folder / "result.json").read_bytes()
    fresh = bench(quick(few, folders), out=tmp_path / "run", store=Store(tmp_path / "store"), workers=2)
    for name in ("result.json", "three_way.csv"):
        assert (fresh.folder / name).read_bytes() == (finished.folder / name).read_bytes()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").glob("*/part-*.parquet")}
    bench(quick(few, folders), out=tmp_path / "run", store=Store(tmp_path / "store"))
    assert (tmp_path / "run" / "result.json").read_bytes() == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "store").glob("*/part-*.parquet")} == kept


def test_an_absent_autoencoder_leaves_the_rest_of_the_run(few: Path, tmp_path: Path, finished) -> None:
    store = Store(finished.folder.parent / "store")
    done = bench(quick(few, ("nowhere",)), out=tmp_path / "run", store=store)
    lines = {line.detector: line for line in done.result.not_run}
    assert {"logreg@three-way:all", "heads on aligned pairs"} <= set(lines)
    assert "nowhere" in lines["logreg@three-way:all"].reason
    assert lines["logreg@three-way:all"].fix
    assert "three_way" not in done.result.header
    assert not (done.folder / "three_way.csv").exists()
    assert any(cell.detector == "logreg:all" for cell in done.result.cells)


def test_an_autoencoder_that_knows_a_photograph_is_left_out_of_its_trials(
    few: Path, folders: tuple[str, ...], tmp_path: Path, finished
) -> None:
    with few.open(encoding="utf-8", newline="") as file:
        known = next(row for row in csv.DictReader(file) if row["label"] == "0")
    id = content_id((few.parent / known["path"]).read_bytes())
    knows = str(save_own(tmp_path / "knows", "transposed", known=(id,)))
    store = Store(finished.folder.parent / "store")
    done = bench(quick(few, (folders[0], knows)), out=tmp_path / "run", store=store)
    part = done.result.header["three_way"]
    (name,) = {name for names in part["left_out"].values() for name in names}
    assert name.startswith("transposed-2x4-")
    folds = {trial.rpartition("/")[2] for trial in part["left_out"]}
    assert len(part["left_out"]) == 2  # the fold that holds the photograph, beside each of two generators
    assert len(folds) == 1
    assert set(part["same"]) == set(part["left_out"])  # one is left, which has to do both
    assert name not in {part["held_out"][trial] for trial in part["left_out"]}
    said = f"{name} knows tested images or made some of the trial's, and is left out in"
    assert said in (done.folder / "tables.md").read_text()


def test_the_command_line_says_what_is_wrong(few: Path) -> None:
    from click.testing import CliRunner

    from fdetect.cli import cli

    done = CliRunner().invoke(cli, ["bench", str(few), "--conditions", "native", "--three-way", "logreg"])
    assert done.exit_code != 0
    assert "--three-way needs a condition" in f"{done.output} {done.exception}"
