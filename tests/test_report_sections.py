"""The parts of the report that need the score table: worst errors, their thumbnails, the size of a large page."""

from __future__ import annotations

import io
import re
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from naive_errors import naive_decisions, naive_worst
from PIL import Image

from fdetect.bench.output import write_outputs
from fdetect.bench.report.errors_shown import SHOWN, best_detectors, main_condition, worst_errors
from fdetect.bench.report.parts import Figure, Section
from fdetect.bench.report.run_page import render_report
from fdetect.bench.report.scores_part import errors_section
from fdetect.bench.report.svg import svg
from fdetect.bench.report.thumbnails import LARGEST, SIDE, thumbnail
from fdetect.bench.scores.evaluate import cells_of
from fdetect.bench.scores.scoring import thresholds_table
from fdetect.cli import cli
from fdetect.config import RunConfig
from fdetect.engine.sources import Reader
from fdetect.errors import DataError
from fdetect.types import RunResult

HOSTILE = '"><script>alert(1)</script>.png'
PROBE = {"probe": "dimensions", "auroc": 0.5, "low": 0.4, "high": 0.6, "balanced_accuracy": 0.5, "biased": False,
         "n_real": 40, "n_fake": 40}  # fmt: skip


def score_rows(
    detectors: int = 2, generators: int = 2, conditions: tuple[str, ...] = ("native", "matched"), each: int = 6,
) -> list[dict[str, Any]]:  # fmt: skip
    """Rows of a score table: every generator is a trial of its own, the reals are tested in all of them."""
    rng = np.random.default_rng(3)
    rows = []
    for d in range(detectors):
        for condition in conditions:
            for g in range(generators):
                images = [(f"real/{k}.png", 0, "", f"source{k % 2}") for k in range(2 * each)]
                images += [(f"fake/g{g}-{k}.png", 1, f"g{g}", "") for k in range(each)]
                threshold = float(rng.normal(0.5, 0.2))
                for path, label, generator, source in images:
                    score = float(rng.normal(label * (0.5 + 0.4 * d), 0.7))
                    rows.append({
                        "id": path.encode().hex().zfill(32), "path": path, "label": label, "generator": generator,
                        "real_source": source, "group": path, "split": "", "trial": f"not g{g}/0",
                        "train": "all but the tested", "seen": False, "detector": f"detector{d}",
                        "train_condition": "native" if condition == "native" else "matched", "condition": condition,
                        "score": score, "probability": float(1 / (1 + np.exp(-score))), "threshold": threshold,
                        "threshold_1": threshold + 1, "n_calibration": 40, "p_value": float(rng.uniform(0.02, 1)),
                        "decision": "fake" if score > threshold else "real", "status": "ok", "reason": "",
                    })  # fmt: skip
    return rows


def result_of(scores: pa.Table, replicates: int = 20) -> RunResult:
    names = scores.column("condition").unique().to_pylist()
    header = {
        "fingerprint": "0123456789abcdef", "trials": 2, "seed": 0, "config": {}, "versions": {"numpy": "2.4"},
        "weights": {}, "backend": {"name": "cpu", "reason": "asked for"},
        "data": {"name": "made", "layout": "manifest", "detected": "", "description": "", "hash": "fedcba98",
                 "n_real": 12, "n_fake": 12, "n_groups": 24, "n_same_content": 0, "generators": {"g0": 6, "g1": 6},
                 "real_sources": {"source0": 6, "source1": 6}},
    }  # fmt: skip
    audit = {"threshold": 0.6, "biased_by": {name: [] for name in names}, "unmeasured": {name: [] for name in names},
             "probes": [{**PROBE, "condition": name} for name in names], "history": []}  # fmt: skip
    cells = cells_of(scores, replicates=replicates)
    return RunResult(header, audit, cells, tuple(thresholds_table(scores)), (), ())


@pytest.fixture(scope="module")
def scores() -> pa.Table:
    return pa.Table.from_pylist(score_rows())


@pytest.fixture(scope="module")
def result(scores: pa.Table) -> RunResult:
    return result_of(scores)


@pytest.fixture(scope="module")
def images(scores: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every image of the table as noise, which compresses worst of all."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for path in scores.column("path").unique().to_pylist():
        (root / path).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (150, 210, 3), np.uint8)).save(root / path)
    return root


def pictures(text: str) -> list[bytes]:
    return [b64decode(data) for data in re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)]


def test_worst_errors_are_those_of_a_slow_reading(scores: pa.Table, result: RunResult) -> None:
    found = worst_errors(scores, result.cells)
    assert [(one.detector, one.label) for one in found] == [("detector1", 0), ("detector1", 1), ("detector0", 0),
                                                            ("detector0", 1)]  # fmt: skip
    for one in found:
        assert one.condition == "matched"
        rows = [row for row in score_rows() if (row["detector"], row["condition"]) == (one.detector, "matched")]
        wrong, judged, worst = naive_worst(rows, one.label, SHOWN)
        assert (one.n_wrong, one.n_images) == (wrong, judged)
        assert wrong > 0
        assert [(case.path, pytest.approx(case.distance)) for case in one.cases] == worst
        assert all(case.origin.startswith("g" if one.label else "source") for case in one.cases)
        by_place = {(row["path"], row["score"] - row["threshold"]): row["p_value"] for row in rows}
        assert all(by_place[case.path, case.distance] == case.p_value for case in one.cases)
        assert all((case.distance > 0) == (one.label == 0) for case in one.cases)
        decisions = naive_decisions(rows, one.label)
        assert one.n_wrong_decisions == sum(map(sum, decisions.values()))
        assert one.n_decisions == sum(map(len, decisions.values()))
        assert [(case.n_wrong, case.n_trials) for case in one.cases] == [
            (sum(decisions[case.path]), len(decisions[case.path])) for case in one.cases
        ]


def test_errors_of_several_trials_are_decisions_and_not_a_rate_of_images(scores: pa.Table, result: RunResult) -> None:
    errors = worst_errors(scores, result.cells)
    reals, fakes = errors[:2]
    assert (reals.n_decisions, reals.n_images, reals.n_trials) == (24, 12, 2)  # all reals in both trials
    assert reals.n_wrong < reals.n_wrong_decisions
    rate = next(c for c in result.cells if (c.detector, c.condition, c.generator) == ("detector1", "matched", "macro"))
    said = errors_section(result, errors).figures[0].caption
    assert f": {reals.n_wrong_decisions} of 24 decisions ({100 * reals.n_wrong_decisions / 24:.1f} %) called" in said
    assert reals.n_wrong_decisions / 24 == pytest.approx(rate.metric("fpr_achieved_5").value), "as in the table"
    assert f"on {reals.n_wrong} of 12 photographs that at least one of 2 trials called generated" in said
    assert fakes.n_decisions == fakes.n_images, "each in one trial"
    assert f": {fakes.n_wrong} of 12 generated images called real" in errors_section(result, errors).figures[1].caption
    gallery = [str(figure.chart) for figure in errors_section(result, errors).figures]
    assert re.findall(r"in (\d) of (\d) trials", gallery[0]) == [(str(c.n_wrong), "2") for c in reals.cases]
    assert "trials" not in gallery[1]
    folds = [{**row, "trial": f"{row['trial']}-{int(row['path'] > 'real/5')}"} for row in score_rows()]
    assert worst_errors(pa.Table.from_pylist(folds), result.cells)[0] == reals, "of its own trials, not of all four"


def test_errors_are_filtered_and_marked_with_their_condition(scores: pa.Table, result: RunResult) -> None:
    result.audit["biased_by"]["matched"] = ["thumbnail"]
    section = errors_section(result, worst_errors(scores, result.cells))
    result.audit["biased_by"]["matched"] = []
    assert (section.condition, section.mark) == ("matched", "biased by thumbnail")
    assert not any(figure.mark for figure in section.figures), "once a section"


def test_what_failed_or_has_no_threshold_is_no_error(result: RunResult) -> None:
    rows = score_rows()
    for row in rows:
        if row["path"] == "real/0.png":
            row["score"] = None
        if row["detector"] == "detector0":
            row["threshold"] = None
    found = {(one.detector, one.label): one for one in worst_errors(pa.Table.from_pylist(rows), result.cells)}
    assert found["detector1", 0].n_images == 11
    assert "real/0.png" not in [case.path for case in found["detector1", 0].cases]
    assert [(found["detector0", k].n_wrong, found["detector0", k].n_images) for k in (0, 1)] == [(0, 0), (0, 0)]
    section = errors_section(result, found.values())
    assert "0 of 0 photographs called generated" in section.figures[2].caption
    assert section.figures[2].chart == "None."


def test_the_condition_and_the_detectors_are_chosen_by_rule(result: RunResult) -> None:
    assert main_condition(["native", "matched", "jpeg70"]) == "matched"
    assert main_condition(["native", "jpeg70"]) == "jpeg70"
    assert main_condition(["native"]) == "native"
    assert main_condition([]) == ""
    assert best_detectors(result.cells, "matched") == [("detector1", "all but the tested"),
                                                       ("detector0", "all but the tested")]  # fmt: skip
    macro = next(c for c in result.cells if (c.detector, c.condition, c.generator) == ("detector1", "matched", "macro"))
    nothing = replace(macro, metrics=tuple(replace(m, value=float("nan")) for m in macro.metrics))
    assert best_detectors([nothing], "matched") == []
    assert worst_errors(pa.Table.from_pylist(score_rows()), [nothing]) == []


def test_thumbnails_are_small_bare_and_the_same_again(result: RunResult, scores: pa.Table, images: Path) -> None:
    made = [errors_section(result, worst_errors(scores, result.cells), images) for _ in range(2)]
    assert made[0] == made[1]
    found = [data for figure in made[0].figures for data in pictures(figure.chart)]
    assert len(found) == sum(figure.chart.count("<li") for figure in made[0].figures) > 10
    for data in found:
        picture = Image.open(io.BytesIO(data))
        assert picture.format == "JPEG"
        assert max(picture.size) == SIDE
        assert picture.size == (96, 69)
        assert len(data) <= LARGEST
        assert not picture.getexif()
    assert 4 * SHOWN * LARGEST * 4 / 3 < 300_000, "two detectors, two classes, as base64"


def test_exif_and_what_is_smaller_than_a_thumbnail(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    Image.new("RGB", (40, 30), (200, 10, 10)).save(tmp_path / "a.jpg", exif=exif)
    with Reader(tmp_path) as reader:
        (data,) = pictures(f'src="{thumbnail(reader, "a.jpg")}"')
        assert b"where I live" in reader.read("a.jpg")
        assert b"where I live" not in data
        assert Image.open(io.BytesIO(data)).size == (40, 30)
        (tmp_path / "b.png").write_bytes(b"no image")
        for path in ("b.png", "gone.png"):
            with pytest.raises(DataError):
                thumbnail(reader, path)


def test_an_image_that_cannot_be_read_is_a_dash_with_the_reason(
    result: RunResult, scores: pa.Table, tmp_path: Path
) -> None:
    section = errors_section(result, worst_errors(scores, result.cells), tmp_path)
    text = "".join(figure.chart for figure in section.figures)
    assert not pictures(text)
    assert text.count("–</span>No such file or directory<br>") == text.count("<li") > 10


def test_hostile_names_stay_text_in_every_new_part(images: Path) -> None:
    rows = score_rows()
    for row in rows:
        row["path"] = f"{row['label']}/{row['path'].replace('/', '-')}{HOSTILE}"
        for name in ("detector", "train", "generator", "real_source", "condition", "train_condition", "trial"):
            row[name] = row[name] and row[name] + HOSTILE
    scores = pa.Table.from_pylist(rows)
    result = result_of(scores)
    errors = worst_errors(scores, result.cells)
    assert errors[0].cases
    svg_of = svg(100, 20, HOSTILE, [])
    more = Section(HOSTILE, "more", (HOSTILE,), HOSTILE, (Figure(HOSTILE, svg_of, HOSTILE),), mark=HOSTILE,
                   condition=HOSTILE)  # fmt: skip
    for where in (images, None):
        page = render_report(result, sections=[errors_section(result, errors, where), more])
        assert page.count("<script") == 1
        assert "alert(1)</" not in page.replace("&lt;/", "")
        assert not re.search(r"<[^>]*\son\w+=", page.partition("<body>")[2].partition("<script>")[0])
        assert page.count("&#34;&gt;&lt;script&gt;alert(1)&lt;/") > 50


def test_without_thumbnails_the_page_holds_no_image_and_says_so(
    result: RunResult, scores: pa.Table, images: Path, tmp_path: Path
) -> None:
    pages = {}
    for where in (images, None):
        folder = tmp_path / str(where is None)
        write_outputs(folder, result, scores, RunConfig(), images=None if where is None else str(where))
        pages[where] = (folder / "report.html").read_text(encoding="utf-8")
        assert "data:image" not in (folder / "result.json").read_text(encoding="utf-8")
    assert len(pictures(pages[images])) > 10
    assert "<img" not in pages[None]
    assert "No thumbnails were asked for." in pages[None]
    paths = [set(re.findall(r'<li title="([^"]+)"', page)) for page in pages.values()]
    assert paths[0] == paths[1] != set()
    json = [(tmp_path / name / "result.json").read_bytes() for name in ("True", "False")]
    assert json[0] == json[1]


def test_the_flag_leaves_thumbnails_out_of_a_run(small_set: Path, tmp_path: Path) -> None:
    few = ("--crop", "128", "--features", "radial_spectrum", "--heads", "logreg", "--family-heads", "none",
           "--detectors", "none", "--conditions", "matched", "--replicates", "20", "--no-thumbnails")  # fmt: skip
    done = CliRunner().invoke(cli, ["bench", str(small_set), *few, "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "No thumbnails were asked for." in page
    assert "<img" not in page
    assert "thumbnails" not in (tmp_path / "run" / "config.toml").read_text(encoding="utf-8"), "no part of the run"


def test_sections_of_others_are_placed_by_one_line(result: RunResult) -> None:
    inner = Section("Inner", "inner-1", ("A sentence.",))
    page = render_report(result, sections=[Section("More: of it", "more", parts=(inner,)), Section("Nothing", "none")])
    assert page.index('id="results"') < page.index('<section id="more">') < page.index('id="missing"')
    assert '<a href="#more">More</a>' in page
    assert '<section id="inner-1">\n<h3>Inner</h3>' in page
    assert "<p>A sentence.</p>" in page
    assert "Nothing" not in page, "a section without content is not shown"


def test_a_large_page_stays_small() -> None:
    conditions = ("native", "matched", "jpeg70", "jpeg50")
    scores = pa.Table.from_pylist(score_rows(10, 10, conditions, each=2))
    page = render_report(result_of(scores, replicates=5)).encode()
    cells = 10 * 10 * len(conditions)
    assert len(page) < cells / (20 * 20 * 8) * 3_000_000, f"{len(page)} bytes"
