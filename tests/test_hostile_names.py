"""Names of detectors, conditions and files are anybody's: in tables.md and in charts they stay the text they are."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt
from markupsafe import Markup

from fdetect.bench.report.charts import Dot, HeatCell, Line, Point, dot_plot, heat_map, line_chart
from fdetect.bench.report.grid import Grid, markdown, printable
from fdetect.bench.report.plots import Axis, Frame, Pen, key, pens
from fdetect.bench.report.score_charts import score_grids
from fdetect.bench.report.svg import group, shortened, svg, tag, text, titled
from fdetect.bench.scores.curves import ScoreCurves

NAMES = (
    "<img src=x onerror=alert(1)>",
    "a\x1b[31mred\u202egpj.exe",
    "![x](http://e.example/p.png)",
    "[c](http://e.example)",
    "[c](javascript:alert(1))",
    "[c\\](http://e.example)",
    "[c\\\\](http://e.example)",
    "[a][b]",
    "a|b",
    "a\\|b",
    "back\\slash, `[c](javascript:alert(1))",
    "one\ntwo",
)
STARTS = ("# heading", "> quote", "- item", "+ item", "* item", "~~~", "[b]: http://e.example", "   # indented")
UNPRINTABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069]")


class _Words(HTMLParser):
    """Tags of some HTML, and its text."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.words = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.words += data


def shown(grid: Grid) -> tuple[str, _Words]:
    """A grid as Markdown, and as a reader of Markdown shows that."""
    written = markdown([grid])
    return written, _Words(MarkdownIt("commonmark").enable("table").render(written))


@pytest.mark.parametrize("name", NAMES)
def test_markdown_shows_a_name_as_it_is(name: str) -> None:
    written, seen = shown(Grid(f"Of {name}", ("detector", name), ((name, "0.5"),), f"Note: {name}: reason."))
    assert seen.tags <= {"h2", "table", "thead", "tbody", "tr", "th", "td", "p"}
    assert not UNPRINTABLE.search(written)
    in_cells = printable(name.replace("\n", " "))
    for where in (f"Of {printable(name)}\n", f"\ndetector\n{in_cells}\n", f"\n{in_cells}\n0.5\n",
                  f"Note: {printable(name)}: reason."):  # fmt: skip
        assert where in seen.words


@pytest.mark.parametrize("name", STARTS)
def test_a_note_that_begins_with_a_name_stays_a_paragraph(name: str) -> None:
    _, seen = shown(Grid("Title", ("a",), (("[b]",),), f"{name}: reason."))
    assert seen.tags == {"h2", "table", "thead", "tbody", "tr", "th", "td", "p"}
    assert f"{name.strip()}: reason." in seen.words


def test_what_our_own_tables_say_is_written_as_ever() -> None:
    ours = ("0.678 [0.64, 0.71]*!", "run `fdetect weights get sd-vae`", "*: seen", "Curves under a  [biased by b]", "–")
    written, seen = shown(Grid(ours[3], ours, (ours,), " ".join(ours)))
    assert written.count(ours[0]) == written.count(ours[1]) == 3
    assert "\\" not in written
    assert "code" in seen.tags


def test_the_note_of_score_curves_that_names_a_detector() -> None:
    curve = ScoreCurves(NAMES[0] + NAMES[1], "", "", "native", (), False, 1, 1, 0, 1, 1, missing=("no scores",))
    written, seen = shown(*score_grids([curve]))
    assert "<img" not in written
    assert not UNPRINTABLE.search(written)
    assert f"{printable(NAMES[0] + NAMES[1])}: no scores." in seen.words


@pytest.mark.parametrize("name", NAMES)
def test_charts_show_what_steers_as_escapes(name: str) -> None:
    long, nan = name * 9, float("nan")
    frame = Frame(Axis.even(name, 0, 1, 1), Axis(name, 0, 1, ((0.0, name),)), 10, 20, 100, 50)
    pen = Pen("#000000")
    drawn = (
        heat_map([name, long], [name], [[HeatCell(v, name, title=name)] for v in (0.7, nan)], label=name),
        dot_plot([Dot(name, 0.5, title=name), Dot(long, 0.5)], label=name),
        line_chart([Line(name, (Point(0, 0.5), Point(1, 0.6)))], label=name),
        svg(9, 9, name, [frame.axes(), frame.line([0, 1], [0, 1], pen, title=name),
                         frame.steps([0, 1], [1], pen, fill=0, title=name),
                         frame.point(0.5, 0.5, 0.4, 0.6, pen, title=name), *key([name], pens(1), 0, 0)]),
        group(titled(name), [text(0, 0, name)], class_=name), tag("a", title=name),
    )  # fmt: skip
    for one in drawn:
        assert isinstance(one, Markup)
        assert not UNPRINTABLE.search(one)
        assert "\n" not in one
        assert "<img" not in one
        assert str(Markup.escape(printable(name))) in one
    assert shortened(long) == shortened(printable(long))
    assert len(shortened(long)) <= 42


def test_charts_of_names_that_print_are_as_ever() -> None:
    """Written out once, before names were made printable."""
    assert str(svg(40, 20, "a <b>", [text(1, 2, "é 一"), group(titled("x & y"), [tag("path", d="M0 0L1 1")])])) == (
        '<svg role="img" aria-label="a &lt;b&gt;" viewBox="0 0 40 20" width="40" height="20" font-size="12" '
        'class="small"><text x="1" y="2" dy="0.35em" text-anchor="start" fill="currentColor">é 一</text>'
        '<g><title>x &amp; y</title><path d="M0 0L1 1"/></g></svg>'
    )
    long = "first-" + "x" * 60 + "-last"
    assert f"<title>{long}</title></text>" in text(0, 0, long)
