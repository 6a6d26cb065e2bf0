"""Under many conditions a page stays small and a terminal short: what is not shown is named, with its files."""

from __future__ import annotations

from dataclasses import replace

from markupsafe import Markup
from test_report import example

from fdetect.bench.report.grid import Grid
from fdetect.bench.report.parts import Figure, Section
from fdetect.bench.report.run_page import render_report
from fdetect.bench.report.size import fitting
from fdetect.bench.report.terminal import MOST, in_files_alone, terminal_grids
from fdetect.types import RunResult

NAMES = ("native", "jpeg70", "matched", "blur1", "noise2", "<b>odd")
CHART, TABLE = Markup("<svg>") + Markup("x" * 5000) + Markup("</svg>"), Grid("T", ("a",), (("1",),) * 20)


def parts(anchor: str) -> tuple[Section, ...]:
    return tuple(
        Section(f"{anchor} {name}", f"{anchor}-{k}", figures=(Figure("c", CHART),), grids=(TABLE,), condition=name)
        for k, name in enumerate(NAMES)
    )


PAGE = tuple(Section(anchor, anchor, ("words",), parts=parts(anchor)) for anchor in ("results", "curves", "sources"))


def plain(page: tuple[Section, ...]) -> str:
    """Render everything that a section holds, without any style."""
    return "".join(
        f"[{one.anchor}|{','.join(one.left_out)}|{one.elsewhere}]"
        + "".join(f"<{p.anchor}>" + str(p.figures[0].chart) + "1" * 1200 for p in one.parts)
        for one in page
    )


def shown(text: str, anchor: str) -> list[int]:
    return [k for k in range(len(NAMES)) if f"<{anchor}-{k}>" in text]


def test_a_page_within_the_limit_loses_nothing() -> None:
    assert fitting(PAGE, plain, limit=10**7) == plain(PAGE)


def test_curves_go_first_the_last_condition_before_the_others() -> None:
    whole = len(plain(PAGE))
    text = fitting(PAGE, plain, limit=whole - 8_000)
    assert len(text) <= whole - 8_000
    assert shown(text, "curves") == [0, 1, 2, 3]
    assert "[curves|noise2,<b>odd|tables.md and score_curves.json]" in text
    assert shown(text, "results") == shown(text, "sources") == list(range(6))


def test_what_goes_later_is_named_in_the_order_of_the_page() -> None:
    text = fitting(PAGE, plain, limit=45_000)
    assert len(text) <= 45_000
    assert "[curves|jpeg70,blur1,noise2,<b>odd|" in text
    assert shown(text, "curves") == [0, 2]  # the first one and `matched` stay, whatever it takes


def test_what_stands_nowhere_else_stays_even_above_the_limit() -> None:
    text = fitting(PAGE, plain, limit=10)
    assert [shown(text, one.anchor) for one in PAGE] == [[0, 2]] * 3


def many(n: int) -> RunResult:
    """Give the example so many conditions beside its own two."""
    one = example()
    more = [f"jpeg{k}" for k in range(10, 10 + n)]
    cells = [replace(cell, condition=name) for name in more for cell in one.cells if cell.condition == "matched"]
    native = [cell for cell in one.cells if cell.condition == "native"]
    rest = [cell for cell in one.cells if cell.condition != "native"]
    matched = [row for row in one.audit["probes"] if row["condition"] == "matched"]
    probes = [{**row, "condition": name} for name in more for row in matched]
    audit = {**one.audit, "probes": [*one.audit["probes"], *probes]}
    audit["biased_by"] = {**audit["biased_by"], **dict.fromkeys(more, ())}
    audit["unmeasured"] = {**audit["unmeasured"], **dict.fromkeys(more, ())}
    return replace(one, cells=(*native, *cells, *rest), audit=audit)


def test_a_page_names_what_it_leaves_out_as_text(monkeypatch) -> None:
    result = many(6)
    whole = render_report(result)
    monkeypatch.setattr("fdetect.bench.report.size.fitting.__kwdefaults__", {"limit": len(whole.encode()) - 20_000})
    text = render_report(result)
    assert len(text.encode()) <= len(whole.encode()) - 20_000
    assert "Not on this page, which is kept below 3 MB: what belongs here under jpeg1" in text
    assert "It stands in tables.md and cells.csv." in text
    assert "Not on this page" not in whole


def test_a_terminal_shows_the_first_conditions_and_matched_and_names_the_others(tmp_path) -> None:
    (tmp_path / "result.json").write_text("{}")
    few, lots = many(3), many(9)
    assert in_files_alone(few) == ""
    titles = [grid.title for grid in terminal_grids(lots, tmp_path)]
    full = [name for name in dict.fromkeys(cell.condition for cell in lots.cells)
            if any(title.startswith(f"{name}, ") for title in titles)]  # fmt: skip
    assert full == ["native", "jpeg10", "jpeg11", "jpeg12", "jpeg13", "matched"]
    assert len(full) == MOST
    assert in_files_alone(lots) == ("the tables of 5 more conditions stand in the files alone: jpeg14, jpeg15, jpeg16, "
                                    "jpeg17, jpeg18")  # fmt: skip
    audits = [grid for grid in terminal_grids(lots, tmp_path) if grid.title.startswith("Audit:")]
    assert {row[0] for grid in audits for row in grid.rows} <= set(full)
