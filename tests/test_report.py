"""The report holds all of a result, loads nothing, lets no name out of its quotes, and shows where a number is bad."""

from __future__ import annotations

import json
import math
import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

import numpy as np
import pytest

from fdetect.bench.output import canonical_json
from fdetect.bench.report.grid import printable
from fdetect.bench.report.latex import latex_escape
from fdetect.bench.report.paragraph import protocol_paragraph
from fdetect.bench.report.results_part import glance_section
from fdetect.bench.report.run_page import render_report
from fdetect.bench.report.tables import (
    audit_grids,
    failure_grid,
    grids,
    marks,
    not_run_grid,
    result_grids,
    summary_grids,
    trained_under,
    verdict_line,
)
from fdetect.bench.scores.gains import Gain, gain_grids
from fdetect.bench.training.networks import networks_grids
from fdetect.types import Cell, Failure, MetricValue, NotRun, RunResult

GENERATORS = ("adm", "biggan", "dalle-3", "glide", "midjourney-v5", "stable-diffusion-v1-4", "stylegan3", "wukong")
DETECTORS = ("logreg:spectral", "logreg:neighbours", "hist_gb:all", "rigid")
SOURCES = ("imagenet", "raise-1k")
CONDITIONS = {"native": ("file_bytes", "dimensions"), "matched": ()}
PROBES = ("file_bytes", "dimensions", "container", "tables_exif", "thumbnail")
HOSTILE = "<script>alert('1')</script>\"&\u202e你好"
VOID = {"meta", "link", "br", "hr", "img", "input", "wbr"}


def values(auroc: float, n_real: int = 400, n_fake: int = 100) -> tuple[MetricValue, ...]:
    names = {"auroc": auroc, "tpr_frozen_5": auroc / 3, "fpr_achieved_5": 0.06, "balanced_accuracy": (auroc + 0.5) / 2}
    return tuple(
        MetricValue(name, value, max(value - 0.04, 0), min(value + 0.03, 1), n_real, n_fake, 2)
        for name, value in names.items()
    )


def cells_of(detector: str, train: str, condition: str, aurocs: dict[str, float]) -> list[Cell]:
    def cell(generator: str, source: str, auroc: float, groups: int, *flags: str) -> Cell:
        trained = "native" if condition == "native" else "matched"
        return Cell(detector, train, trained, condition, generator, source, values(auroc), groups, flags)

    found = []
    for name, value in aurocs.items():
        flags = ("seen in training",) if name == train else ()
        lost = ("lost 2.0 % of the fake images",) if name == "glide" else ()
        found.append(cell(name, "", value, 12 if name == "wukong" else 96, *flags, *lost))
    finite = {name: value for name, value in aurocs.items() if math.isfinite(value)}
    found.append(cell("macro", "", float(np.mean(list(finite.values()))), 700))
    found.append(cell("worst", "", min(finite.values()), 96, min(finite, key=lambda name: finite[name])))
    return found + [cell("", source, 0.5, 200) for source in SOURCES]


def example(trains: tuple[str, ...] = ("all but the tested",)) -> RunResult:
    """Return a result as a run makes it: the numbers are invented, from a fixed seed."""
    rng = np.random.default_rng(5)
    cells = []
    for condition in CONDITIONS:
        for d, detector in enumerate(DETECTORS):
            for train in trains:
                drawn = np.clip(rng.normal(0.5 + 0.13 * d - 0.05 * (condition != "native"), 0.12, 8), 0.02, 0.995)
                aurocs = dict(zip(GENERATORS, drawn, strict=True))
                if (detector, condition) == ("rigid", "matched"):
                    aurocs["biggan"] = float("nan")
                cells += cells_of(detector, train, condition, aurocs)
    probes = [
        {"condition": c, "probe": p, "auroc": 0.93 if p in marked else 0.52, "low": 0.48, "high": 0.96,
         "balanced_accuracy": 0.88 if p in marked else 0.51, "biased": p in marked, "n_real": 400, "n_fake": 800}
        for c, marked in CONDITIONS.items()
        for p in PROBES
    ]  # fmt: skip
    history = [
        {"condition": c, "images": images, "kind": kind, "auroc": auroc, "low": auroc - 0.05, "high": auroc + 0.05,
         "n_without": 200, "n_with": 200}
        for c in CONDITIONS
        for images, kind, auroc in (
            ("fake", "stored as PNG or JPEG, on unseen generators", 0.71),
            ("real", "placebo: half of the reals with one extra JPEG pass", 0.62),
        )
    ]  # fmt: skip
    return RunResult(
        header=header(),
        audit={"threshold": 0.6, "biased_by": {c: list(names) for c, names in CONDITIONS.items()},
               "unmeasured": {c: [] for c in CONDITIONS}, "probes": probes, "history": history},
        cells=tuple(cells),
        thresholds=tuple(
            {"detector": d, "train_condition": "native", "trial": f"{g}/{k}", "threshold": None if k else 1.2345678}
            for d in DETECTORS for g in GENERATORS for k in range(3)
        ),
        failures=(
            Failure("0" * 32, "wukong/broken 1.png", "decode", "not an image that can be read"),
            Failure("1" * 32, "wukong/broken 2.png", "decode", "not an image that can be read"),
            Failure("2" * 32, "raise-1k/small.jpg", "geometry", "200 x 180 px is too small for a window of 224 px"),
        ),
        not_run=(NotRun("aeroblade", "no weights of 'sd-vae' in the cache", "fdetect weights get sd-vae"),),
    )  # fmt: skip


def header() -> dict[str, Any]:
    return {
        "fingerprint": "0123456789abcdef",
        "data": {
            "name": "genimage-tiny", "layout": "genimage", "detected": "8 generators with nature and ai folders",
            "description": "", "hash": "fedcba9876543210", "n_real": 400, "n_fake": 800, "n_groups": 1100,
            "n_same_content": 1, "generators": dict.fromkeys(GENERATORS, 100),
            "real_sources": dict.fromkeys(SOURCES, 200),
        },
        "trials": 24,
        "config": {
            "protocol": {"name": "leave_one_generator_out", "folds": 3, "calibration": 0.25, "train": []},
            "conditions": {"names": list(CONDITIONS), "crop": 224}, "detectors": {"names": ["rigid", "aeroblade"]},
        },
        "seed": 7,
        "versions": {"fdetect": "0.1.0", "numpy": "2.4.0", "decoder": "Pillow 12 / libjpeg-turbo 3.1"},
        "backend": {"name": "cpu", "reason": "CuPy is not installed"},
        "weights": {"rigid": [{"name": "dinov2-small", "sha256": "ab" * 32, "mean": [0.485, 0.456, 0.406],
                               "purpose": "release", "evidence": "unverified weights", "licence": "Apache-2.0"}],
                    "drift_lbp": []},
    }  # fmt: skip


class Page(HTMLParser):
    """Tags, attributes and text of a page; fails on a tag that does not close."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(source)
        self.close()
        assert not self.open, f"left open: {self.open}"

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render_report(example()))


def test_page_holds_everything(page: Page) -> None:
    result = example()
    wanted = [*GENERATORS, *DETECTORS, *CONDITIONS, *SOURCES, *PROBES, "genimage-tiny", "0123456789abcdef",
              "leave_one_generator_out", "24 trials", "seed 7", "1 file with the content of another file"]  # fmt: skip
    wanted += [part for row in result.not_run for part in (row.detector, row.reason, row.fix)]
    wanted += [part for f in result.failures for part in (f.stage, f.reason)]
    wanted += ["wukong/broken 1.png", "raise-1k/small.jpg", "3 images failed", "not attainable", "1.23457"]
    wanted += ["decoder", "Pillow 12 / libjpeg-turbo 3.1", "0.485, 0.456, 0.406", "CuPy is not installed"]
    assert [text for text in wanted if text not in page.text] == []


def test_page_shows_the_tables_of_the_run_and_no_others(page: Page) -> None:
    result = example()
    of_conditions = [g for c in CONDITIONS for g in result_grids([x for x in result.cells if x.condition == c])]
    shown = [*audit_grids(result.audit), *of_conditions, *networks_grids(result.header)]
    shown += [not_run_grid(result), failure_grid(result.failures)]
    for grid in shown:
        assert grid.title in page.text
        assert grid.note in page.text
        heads = [re.sub(r" \((\d+) groups\)$", r" n = \1", name) for name in grid.columns]
        for text in (*heads, *(text for row in grid.rows for text in row)):
            assert re.sub(r"\s+", " ", text) in page.text
    assert page.tags.count("table") == len(shown) + 5  # highest by condition; run, versions, thresholds and settings


def test_biased_condition_is_marked_wherever_its_figures_stand(page: Page) -> None:
    mark = "biased by file_bytes, dimensions"
    # all of it: the map at a glance, the audit's sentence, the section's title, the paragraph; never for the other
    assert page.text.count(mark) == page.text.count("biased by ") == 4
    # in brief: the table at a glance, the audit's figure, two probes; the section's two charts and two tables
    assert page.text.count("BIASED") == 8
    assert "matched : not marked" in page.text
    assert "JPEG history AUC 0.710 [0.66, 0.76] (fake images, stored as PNG or JPEG, on unseen generators)" in page.text


def test_audit_stands_above_every_result(page: Page) -> None:
    source = render_report(example())
    assert 0 < source.index('class="verdict marked"') < source.index("<svg") < source.index("<table")
    verdict = page.text.index("Audit: 1 of 2 conditions biased: native by file_bytes, dimensions.")
    assert verdict < page.text.index("Results at a glance")
    assert 0 < page.text.index("Audit: the label from facts") < page.text.index("AUROC: detector by test generator")


def test_unmeasured_probe_is_said_not_hidden() -> None:
    result = example()
    for probe in result.audit["probes"]:
        if (probe["condition"], probe["probe"]) == ("matched", "thumbnail"):
            probe.update(auroc=None, low=None, high=None, balanced_accuracy=float("nan"), n_real=4, n_fake=3)
    result.audit["unmeasured"]["matched"] = ["thumbnail"]
    text = Page(render_report(result)).text
    assert "matched : too few images for thumbnail" in text
    assert "too few images (4 real, 3 fake)" in text
    assert "not marked" not in text
    assert text.count("too few images for thumbnail") == 4  # wherever a bias of the condition would stand
    # in brief at a figure of the audit, two charts and two tables; at a glance, in the probe's row and in two notes
    assert text.count("too few images") == 4 + 5 + 4


def test_condition_that_nothing_could_audit_is_not_called_unmarked() -> None:
    result = example()
    for row in (*result.audit["probes"], *result.audit["history"]):
        if row["condition"] == "matched":
            row.update(auroc=None, low=None, high=None, balanced_accuracy=None)
    result.audit["unmeasured"]["matched"] = list(PROBES)
    text = Page(render_report(result)).text
    assert "matched : not audited: too few images JPEG history AUC too few images (fake images" in text
    assert "JPEG history left: matched" not in text
    titles = [grid.title for grid in grids(result)]
    assert "AUROC under matched (thresholds and any training under matched) [not audited: too few images]" in " ".join(
        " ".join(titles).split()
    )
    summary = summary_grids(result.cells, result.audit)
    assert summary[1].title.endswith("[not audited: too few images]")


def test_worst_says_among_which_and_the_lowest_of_the_others_stands_beside_it() -> None:
    result = example()
    for c in result.cells:  # "wukong" has 12 groups
        if (c.detector, c.condition, c.generator) == ("rigid", "native", "wukong"):
            lowest = c.metric("auroc")
    expected = f"{lowest.value:.3f} [{lowest.low:.2f}, {lowest.high:.2f}] wukong (12 groups)"
    for grid in (result_grids(result.cells, result.audit)[0], summary_grids(result.cells, result.audit)[0]):
        at = grid.columns.index("worst of 20+ groups")
        assert grid.columns[at + 1] == "lowest below 20 groups"
        (row,) = (row for row in grid.rows if row[0] == "rigid")
        assert row[at].endswith(" (96 groups)")
        assert "wukong" not in row[at]
        assert row[at + 1] == expected
    page = Page(render_report(result)).text
    assert page.count(expected) >= 2, "in the table and in the tooltip of the chart"
    few = [replace(c, n_groups=19) for c in result.cells]
    few = [replace(c, flags=(*c.flags, "few groups")) if c.generator == "worst" else c for c in few]
    row = result_grids(few)[0].rows[0]
    assert row[2] == "none has 20"
    assert row[3].endswith(" (19 groups)")
    assert row[3].split()[-3] in GENERATORS
    assert "at least 20 groups" in result_grids(result.cells)[0].note
    assert "at least 20 groups" in summary_grids(result.cells, result.audit)[-1].note


def test_means_over_seen_generators_and_lost_images_are_marked_like_the_rows_they_average() -> None:
    cells = []
    for c in example().cells:
        if c.detector == "rigid" and c.generator in ("macro", "worst"):
            lost = ("lost more than 1% of a class: glide",) if c.generator == "macro" else ()
            name = c.flags[:1] if c.generator == "worst" else ()
            cells.append(replace(c, flags=(*name, "seen in training", *lost)))
        else:
            cells.append(c)
    result = replace(example(), cells=tuple(cells))
    auroc, frozen = result_grids(result.cells)[:2]
    (row,) = (row for row in auroc.rows if row[0] == "rigid")
    assert row[1].endswith("]*!")
    assert "]* " in row[2]
    (row,) = (row for row in frozen.rows if row[0] == "rigid")
    assert all(text.endswith("]*!") for text in row[1:4])
    (row,) = (row for row in summary_grids(result.cells, result.audit)[0].rows if row[0] == "rigid")
    assert [text[-2:] for text in (row[1], row[4], row[5])] == ["*!"] * 3
    assert all("*" not in text for row in auroc.rows if row[0] != "rigid" for text in row)
    assert "rigid*!" in Page(render_report(result)).text
    named_lost = replace(cells[-1], generator="worst", real_source="", flags=("lost generator",))
    assert marks(named_lost) == "", "what a generator is called is no mark"


def test_rates_of_reals_say_of_how_many() -> None:
    frozen = result_grids(example().cells)[1]
    assert "FPR achieved (400 reals)" in frozen.columns
    assert frozen.columns[-2:] == tuple(f"FPR on {source} (400 reals, 200 groups)" for source in SOURCES)
    assert "FPR achieved (400 reals)" in summary_grids(example().cells, example().audit)[0].columns


def test_description_of_the_built_in_benchmark_is_shown() -> None:
    result = example()
    result.header["data"]["description"] = "No generative model made any of these images."
    text = Page(render_report(result)).text
    assert text.index("No generative model made") < text.index("400 real images against 800 generated ones")


def test_page_loads_nothing(page: Page) -> None:
    source = render_report(example())
    assert "http:" not in source
    assert "https:" not in source
    assert not {"link", "img", "iframe", "object", "embed", "base", "form", "use", "image"} & set(page.tags)
    loading = {"src", "srcset", "action", "data", "poster", "xlink:href", "background"}
    assert not [found for found in page.attributes if found[1] in loading]
    assert all(value.startswith("#") for _, name, value in page.attributes if name == "href")
    assert not re.search(r"url\(|@import|@font-face", source)
    policy = [value for tag, name, value in page.attributes if (tag, name) == ("meta", "content")]
    (policy,) = (value for value in policy if "default-src" in value)
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    for name in ("style", "script"):  # a browser runs what has this hash and nothing else
        (body,) = re.findall(rf"<{name}>(.*?)</{name}>", source, re.DOTALL)
        assert f"{name}-src 'sha256-{b64encode(sha256(body.encode()).digest()).decode()}'" in policy
    assert not [name for _, name, _ in page.attributes if name == "style" or name.startswith("on")]


def test_anchors_lead_somewhere(page: Page) -> None:
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {value[1:] for _, name, value in page.attributes if name == "href"} <= set(ids)


def test_hostile_names_stay_text() -> None:
    plain = example()
    cells = tuple(
        replace(c, detector=HOSTILE + c.detector, train=HOSTILE, condition=HOSTILE + c.condition,
                train_condition=HOSTILE,
                generator=c.generator if c.generator in ("", "macro", "worst") else HOSTILE + c.generator,
                real_source=c.real_source and HOSTILE + c.real_source, flags=(*c.flags, HOSTILE))
        for c in plain.cells
    )  # fmt: skip
    audit = {
        "threshold": 0.6,
        "biased_by": {HOSTILE + c: [HOSTILE] for c in CONDITIONS},
        "unmeasured": {HOSTILE + c: [HOSTILE] for c in CONDITIONS},
        "probes": [{**p, "condition": HOSTILE + p["condition"], "probe": HOSTILE} for p in plain.audit["probes"]],
        "history": [{**h, "condition": HOSTILE + h["condition"], "kind": HOSTILE} for h in plain.audit["history"]],
    }
    hostile = RunResult(
        {"fingerprint": HOSTILE, "config": {HOSTILE: [HOSTILE]}, "data": {**plain.header["data"], "name": HOSTILE,
         "description": HOSTILE, "generators": {HOSTILE: 1}}},
        audit, cells, ({"detector": HOSTILE, "threshold": HOSTILE},), (Failure("", HOSTILE, HOSTILE, HOSTILE),),
        (NotRun(HOSTILE, HOSTILE, HOSTILE),),
    )  # fmt: skip
    found, usual = Page(render_report(hostile)), Page(render_report(plain))
    assert found.tags.count("script") == usual.tags.count("script") == 1
    assert {name for _, name, _ in found.attributes} <= {name for _, name, _ in usual.attributes}
    assert not [name for _, name, _ in found.attributes if name.startswith("on")]
    assert found.text.count("<script>alert('1')</script>\"&\\u202e你好") > 50, "what turns text around shows"
    assert "\u202e" not in render_report(hostile), "nor in a chart, its tooltips and what is said of it"


def test_same_result_gives_same_bytes() -> None:
    assert render_report(example()).encode() == render_report(example()).encode()


def test_result_read_back_from_json_gives_the_same_page() -> None:
    result = example()
    assert any(math.isnan(m.value) for c in result.cells for m in c.metrics)
    plain = json.loads(canonical_json(result))  # keys sorted, NaN written as null
    cells = [
        Cell(**{**cell, "metrics": tuple(MetricValue(**m) for m in cell["metrics"]), "flags": tuple(cell["flags"])})
        for cell in plain["cells"]
    ]
    again = RunResult(
        plain["header"], plain["audit"], tuple(cells), tuple(plain["thresholds"]),
        tuple(Failure(**row) for row in plain["failures"]), tuple(NotRun(**row) for row in plain["not_run"]),
    )  # fmt: skip
    assert render_report(again) == render_report(result)


def test_several_training_sets_make_one_map_a_detector() -> None:
    result = example(trains=("adm", "biggan", "stylegan3"))
    text = Page(render_report(result)).text
    for detector in DETECTORS:
        assert text.count(f"AUROC of {detector}: training set by test generator") == len(CONDITIONS)
    assert "AUROC: detector by test generator" not in text
    assert "logreg:spectral trained on adm, adm: AUROC" in text
    untrained = tuple(c for c in result.cells if c.detector != "rigid" or c.train == "adm")
    text = Page(render_report(replace(result, cells=untrained))).text
    assert text.count("AUROC: detector by test generator") == len(CONDITIONS)
    assert "AUROC of rigid" not in text


def test_empty_run_is_a_page() -> None:
    empty = RunResult(
        {}, {"threshold": 0.6, "biased_by": {}, "unmeasured": {}, "probes": [], "history": []}, (), (), (), ()
    )
    assert Page(render_report(empty)).text.count("None.") >= 4


def test_template_is_in_the_package() -> None:
    assert files("fdetect.bench.report").joinpath("templates/report.html.j2").is_file()


def test_gains_of_families_stand_in_their_condition_with_every_name_escaped() -> None:
    nan = float("nan")
    gains = [
        Gain("logreg", family, "all but the tested", condition, verdict, 0.8, 0.7, 0.1, 0.02, 0.2, 0.1, 400, 0,
             worst, 96, False, 0.6, 0.55, 0.05, nan, nan)
        for condition in CONDITIONS
        for family, verdict, worst in (("spectral", "gain", "adm"), (HOSTILE, "no gain shown", HOSTILE))
    ]  # fmt: skip
    source, text = render_report(example(), gains), Page(render_report(example(), gains)).text
    assert "<script>alert" not in source
    for grid in gain_grids(gains):
        assert grid.title in text
        for part in (grid.note, *grid.columns, *(cell for row in grid.rows for cell in row)):
            assert re.sub(r"\s+", " ", printable(part)) in text
    assert text.index("under matched (thresholds") < text.index("What each family adds to logreg:all, under matched")
    assert text.index("What each family adds to logreg:all, under native") < text.index("matched, thresholds")
    assert f"Gain: spectral. No gain shown: {printable(HOSTILE)}." in text
    assert gain_grids(gains, example().audit)[0].title.endswith("  [biased by file_bytes, dimensions]")
    titles = [grid.title for grid in grids(example(), gain_grids(gains))]
    assert titles.index("What each family adds to logreg:all, under native") < titles.index("Not run")


def test_purpose_and_evidence_stand_in_every_row_that_rests_on_weights():
    result = example()
    for grid in (g for g in grids(result) if g.title.startswith(("AUROC under", "At the threshold"))):
        assert grid.columns[:2] == ("detector", "weights")
        of = {row[0]: row[1] for row in grid.rows}
        assert of["rigid"] == "release, unverified weights"
        assert {text for name, text in of.items() if name != "rigid"} == {"–"}
    (networks,) = (grid for grid in grids(result) if grid.title == "Networks")
    assert networks.rows == (("dinov2-small", "release", "unverified weights", "Apache-2.0", "ab" * 6, "rigid"),)
    page = render_report(result)
    assert "release, unverified weights" in page
    assert "<h4>Networks</h4>" in page


def test_glance_names_the_highest_of_each_condition_and_its_lowest_generator() -> None:
    def rows_of(result: RunResult) -> dict[str, tuple[str, ...]]:
        (grid,) = glance_section(result).grids
        assert grid.columns[:3] == ("condition", "audit", "highest of 4")
        return {row[0]: row for row in grid.rows}

    result = example()
    macro = {(c.condition, c.detector): c.metric("auroc").value for c in result.cells if c.generator == "macro"}
    assert list(rows_of(result)) == ["matched", "native"], "what is biased stands last"
    for condition, row in rows_of(result).items():
        left = "0.710 [0.66, 0.76] (fake images), 0.620 [0.57, 0.67] (real images, placebo)"
        assert row[1] == ("BIASED" if condition == "native" else f"not marked; JPEG history left: {left}")
        assert row[2] == max(DETECTORS, key=lambda detector: macro[condition, detector])
        assert row[3].startswith(f"{max(macro[condition, detector] for detector in DETECTORS):.3f} [")
        assert row[4].endswith(" (96 groups)")
    few = [replace(c, n_groups=19, flags=(*c.flags, "few groups") if c.generator == "worst" else c.flags)
           for c in result.cells]  # fmt: skip
    assert all(row[4].endswith(" (19 groups)") for row in rows_of(replace(result, cells=tuple(few))).values())
    nothing = [replace(c, metrics=tuple(replace(m, value=math.nan) for m in c.metrics)) for c in result.cells]
    assert all(row[2:] == ("–",) * 5 for row in rows_of(replace(result, cells=tuple(nothing))).values())


def test_history_that_is_left_is_said_where_its_interval_leaves_chance_out() -> None:
    result = example()
    said = "JPEG history left: matched 0.710 [0.66, 0.76] (fake images), 0.620 [0.57, 0.67] (real images, placebo)."
    assert verdict_line(result.audit).endswith(f"Not marked: matched. {said}")
    text = Page(render_report(result)).text
    assert text.count(said) == 1, "the box; native has a mark already"
    paragraph = protocol_paragraph(result)
    assert "told apart within a class (AUROC): native 0.710 [0.66, 0.76] (fake images), 0.620" in paragraph
    assert "; matched 0.710 [0.66, 0.76] (fake images)" in paragraph
    for row in result.audit["history"]:
        row.update(auroc=0.55, low=0.45, high=0.65)
    for words in (verdict_line(result.audit), Page(render_report(result)).text, protocol_paragraph(result)):
        assert "history left:" not in words
        assert "within a class" not in words
    result.audit["history"][2].update(auroc=0.4, low=0.3, high=0.49)  # told apart the wrong way round
    assert verdict_line(result.audit).endswith("JPEG history left: matched 0.400 [0.30, 0.49] (fake images).")


def test_the_box_of_an_audit_without_marks_is_not_that_of_a_clean_one_where_history_is_left() -> None:
    result = example()
    result.audit["biased_by"] = {name: [] for name in CONDITIONS}
    assert 'class="verdict hint"' in render_report(result)
    for row in result.audit["history"]:
        row.update(auroc=0.5, low=0.45, high=0.55)
    assert 'class="verdict"' in render_report(result)


def test_a_false_positive_rate_above_its_promise_is_marked() -> None:
    def with_low(low: float) -> tuple[Cell, ...]:
        return tuple(
            replace(c, metrics=tuple(replace(m, low=low) if m.name == "fpr_achieved_5" else m for m in c.metrics))
            for c in example().cells
        )

    high, low, unknown = with_low(0.051), with_low(0.05), with_low(math.nan)
    for cells, mark in ((high, "[0.05, 0.09]↑"), (low, "[0.05, 0.09]"), (unknown, "0.060")):
        for grid in (result_grids(cells)[1], summary_grids(cells, example().audit)[0]):
            rates = [c for c, name in enumerate(grid.columns) if name.startswith("FPR")]
            assert rates
            assert all(row[c].endswith(mark) for row in grid.rows for c in rates)
            assert not any("↑" in row[c] for row in grid.rows for c in range(len(row)) if c not in rates)
    assert "fakes found at the frozen threshold" in summary_grids(high, example().audit)[0].columns
    assert "↑ = FPR achieved above the promised 5 %" in summary_grids(high, example().audit)[-1].note
    (glance,) = glance_section(replace(example(), cells=high)).grids
    assert all(row[6].endswith("↑") for row in glance.rows)
    assert "$\\uparrow$" in latex_escape("0.120 [0.09, 0.15]↑")


def test_thresholds_are_not_called_training() -> None:
    cells = example().cells
    assert trained_under(cells[-1:]) == "thresholds and any training under matched"
    more = [replace(cells[-1], train_condition="matched+jpeg70"), cells[-1]]
    assert trained_under(more) == "trained under matched+jpeg70, matched"  # thresholds are under matched alone
    assert trained_under([replace(cells[-1], train_condition="")]) == ""


def test_what_is_about_one_condition_is_filtered_with_it(page: Page) -> None:
    source = render_report(example())
    for kind in ("span", "figure", "section"):  # the sentence of the audit, its figure, the results
        for name in CONDITIONS:
            assert (kind, "data-condition", name) in page.attributes
    assert 'link.hidden' in source, "a link to what is hidden is hidden"


def test_heads_and_cells_stand_on_two_lines(page: Page) -> None:
    source = render_report(example())
    assert '<th scope="col">adm <span class="below" title="96 groups">n = 96</span></th>' in source
    assert re.search(r"<td>0\.\d{3} \[[^]]*\] <span class=\"below\">[a-z0-9.-]+ \(96 groups\)</span></td>", source)
    assert "(96 groups)</th>" not in source


def test_the_sentence_on_top_counts_where_it_would_name_too_many() -> None:
    names = [f"jpeg{k}" for k in range(30, 38)]
    row = {"images": "fake", "kind": "stored as PNG or JPEG", "n_without": 90, "n_with": 80}
    history = [{**row, "condition": name, "auroc": 0.6 + k / 100, "low": 0.55, "high": 0.8} for k, name in
               enumerate(names[:7])]  # fmt: skip
    audit = {"biased_by": {"native": ("file_bytes",), **dict.fromkeys(names, ())}, "history": history, "probes": [],
             "unmeasured": dict.fromkeys(("native", *names), ())}  # fmt: skip
    assert verdict_line(audit) == (
        "Audit: 1 of 9 conditions biased: native by file_bytes. Not marked: 8 conditions. JPEG history left under 7 "
        "conditions, most under jpeg36: 0.660 [0.55, 0.80] (fake images)."
    )
