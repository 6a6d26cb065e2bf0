"""LaTeX: characters escaped, braces balanced, as many cells in a row as columns, the best bold, intervals small."""

from __future__ import annotations

import re

import pytest
from boards import HOSTILE, header_of, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from fdetect.bench.audit import Audit
from fdetect.bench.report.grid import Grid
from fdetect.bench.report.latex import best_cells, latex_escape, latex_table, latex_tables
from fdetect.bench.report.latex_fit import cell_lines, stacked
from fdetect.bench.report.paper import paper_tex
from fdetect.bench.scores.evaluate import cells_of
from fdetect.bench.scores.given import read_score_table
from fdetect.types import Cell, MetricValue, RunResult

GRID = Grid("AUROC of 2 & 3", ("detector", "macro", "a_b (20 groups)", "what"), (
    ("one_x", "0.812 [0.75, 0.85]!", "0.700", "50 % of it"),
    ("two", "0.811 [0.70, 0.86]", "0.900*", "–"),
    ("[three]", "-0.013 [-0.042, +0.013]", "0.700", "words-with-hyphens"),
), "Note: 5 % & more.")  # fmt: skip


def plain(text: str) -> str:
    """Text without what is escaped: what is left must hold no character that LaTeX takes for a command."""
    return re.sub(r"\\[{}$&#_%]", "", text)


def balanced(text: str) -> bool:
    depth = 0
    for one in re.findall(r"[{}]", plain(text)):
        depth += 1 if one == "{" else -1
        if depth < 0:
            return False
    return depth == 0


def rows(table: str) -> list[list[str]]:
    """The cells of every row, from \\toprule to \\bottomrule."""
    body = table[table.index(r"\toprule") : table.index(r"\bottomrule")]
    lines = [line for line in body.splitlines() if line.endswith(r" \\")]
    return [re.split(r"(?<!\\)&", line.removesuffix(r"\\").strip()) for line in lines]


@pytest.mark.parametrize(("text", "written"), [
    ("a_b", r"a\_b"), ("50 %", r"50 \%"), ("a & b", r"a \& b"), ("#1", r"\#1"), ("$x^2$", r"\$x\textasciicircum{}2\$"),
    ("{}", r"\{\}"), ("\\cmd", r"\textbackslash{}cmd"), ("~", r"\textasciitilde{}"), ("<", r"\textless{}"),
    ('"', r"\textquotedbl{}"), ("|", r"\textbar{}"), ("–", "--"), ("--", "-{}-"), ("a-b", "a-b"), ("''", "'{}'"),
    ("é", "é"), ("Ħ", "[U+0126]"), ("你", "[U+4F60]"), ("\u202e", "\\textbackslash{}u202e"), ("°", r"\textdegree{}"),
])  # fmt: skip
def test_characters_are_set_as_they_are(text, written):
    assert latex_escape(text) == written


@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_no_text_leaves_a_command_or_a_brace_open(text):
    written = latex_escape(text)
    assert balanced(written)
    left = re.sub(r"\\(?:text\w+|l?dots|ldots)\{\}|\$\\\w+\$|\{\}", "", plain(written))
    assert not set(left) & set("\\{}$&#_%^")
    assert "\n" not in written


def test_every_row_has_the_cells_of_the_head_and_of_the_alignment():
    for grid in (GRID, Grid(HOSTILE, (HOSTILE, "a&b"), ((HOSTILE, "1&2"), ("x", HOSTILE)), HOSTILE)):
        table = latex_table(grid)
        assert balanced(table)
        (alignment,) = re.findall(r"\\begin\{tabular\}\{(\w+)\}", table)
        assert len(alignment) == len(grid.columns)
        assert [len(row) for row in rows(table)] == [len(grid.columns)] * (1 + len(grid.rows))
        for name in ("table", "tabular"):
            assert table.count(rf"\begin{{{name}}}") == table.count(rf"\end{{{name}}}") == 1


def test_alignment_is_right_for_figures_and_left_for_words():
    assert r"\begin{tabular}{lrrl}" in latex_table(GRID)


def test_figures_are_marked_and_their_intervals_small():
    table = latex_table(GRID, bold=[(0, 1)], underlined=[(1, 1), (2, 1)], label="tab:x")
    assert r"\textbf{0.812} {\scriptsize [0.75, 0.85]}!" in table
    assert r"\underline{0.811} {\scriptsize [0.70, 0.86]}" in table
    assert r"\underline{$-$0.013} {\scriptsize [$-$0.042, +0.013]}" in table
    assert "words-with-hyphens" in table
    assert r"\label{tab:x}" in table
    assert table.count(r"\textbf") == 1


def test_a_row_that_begins_with_a_bracket_is_no_argument_of_the_row_above():
    line = next(line for line in latex_table(GRID).splitlines() if "three" in line)
    assert line.startswith("{}[three] & ")


@pytest.mark.parametrize("name", ["[1em] x", "  [1em] x", "* x", " * x"])
def test_no_name_in_the_first_column_is_an_argument_of_the_row_above(name):
    """LaTeX looks for [ and * beyond spaces and the end of the line."""
    table = latex_table(Grid("", (name, "b"), ((name, "1"), (name, "2"))))
    lines = [line for line in table.splitlines() if line.endswith(r" \\")]
    assert len(lines) == 3
    assert all(line.lstrip().startswith("{}") for line in lines)


def test_the_best_of_a_column_is_the_largest_that_was_not_seen_in_training():
    assert best_cells(GRID, [1, 2]) == {(0, 1), (0, 2), (2, 2)}
    assert best_cells(Grid("", ("a", "b"), (("x", "0.5"),)), [1]) == set()  # alone it is no best
    assert best_cells(Grid("", ("a", "b"), (("x", "–"), ("y", "–"))), [1]) == set()


def test_a_table_without_rows_says_so_and_a_paragraph_stands_above_once():
    text = latex_tables([Grid("Not_run", ("a",), ())], paragraph="5 % of them. " * 30)
    assert r"\paragraph{Not\_run} None." in text
    assert text.count("of them.") == text.count(r"5 \% of them.") == 30
    assert text.startswith("% fdetect; needs ")
    assert len(re.findall("(?m)^%", text)) == 1


def test_a_run_is_written_for_a_paper_with_its_best_figures_bold(tmp_path):
    import pyarrow as pa

    table = pa.Table.from_pylist(rows_of("good_1", shift=2.0) + rows_of("weak", shift=0.2, noise=1))
    cells = cells_of(read_score_table(tmp_path / "scores.parquet", table), replicates=50)
    audit = Audit((), ()).as_json()
    audit |= {"biased_by": {"matched": ["thumbnail"]}, "unmeasured": {"matched": []}}
    text = paper_tex(RunResult(header_of(), audit, cells, ({"detector": "good_1"},), (), ()))
    assert balanced(re.sub(r"(?m)^%.*$", "", text))
    (best,) = (line for line in text.splitlines() if line.startswith(r"good\_1") and r"\textbf" in line)
    assert best.count(r"\textbf") == 3  # macro and two generators
    assert not [line for line in text.splitlines() if line.startswith("weak") and r"\textbf" in line]
    assert "[biased by thumbnail]" in text
    assert text.count(r"\begin{table}") == 2
    assert text.count("Data: made, content hash 0123456789abcdef") == 1


# -- tables that fit a page -------------------------------------------------------------------------------------------


def natural_width(table: str) -> float:
    """A rough width in pt of a tabular: of the longest lines, 4.6 a letter and 3.5 a small one, 8 between columns."""
    def width(line: str) -> float:
        small = "".join(re.findall(r"\\scriptsize (\[.*?\])", line))
        return 4.6 * len(re.sub(r"\\rule\{0pt\}\{.*?\}|\\\w+(\[\w\])? ?|[{}$]", "", line).strip()) - 1.1 * len(small)

    widths = [[max(map(width, cell.split(r"\\"))) for cell in row] for row in rows(table)]
    return sum(max(column) + 8 for column in zip(*widths, strict=True))


def wide_result(detectors: list[str], generators: int = 8) -> RunResult:
    cells = []
    for k, name in enumerate(detectors):
        for g, generator in enumerate(["macro", *(f"latent-diffusion-no{g}" for g in range(generators))]):
            value = 0.5 + 0.001 * ((7 * k + 5 * g) % 400)
            metrics = tuple(MetricValue(one, value, value - 0.05, value + 0.05, 40, 40, 0)
                            for one in ("auroc", "tpr_frozen_5", "fpr_achieved_5", "balanced_accuracy"))  # fmt: skip
            cells.append(Cell(name, "all but the tested", "matched", "matched", generator, "", metrics, 30, ()))
        cells += [Cell(name, "all but the tested", "matched", "matched", "", source, metrics, 30, ())
                  for source in ("coco", "kodak24", "metadata_extractor", "openimages")]  # fmt: skip
    audit = Audit((), ()).as_json() | {"biased_by": {"matched": []}, "unmeasured": {"matched": []}}
    return RunResult(header_of(), audit, tuple(cells), (), (), ())


def test_few_detectors_are_columns_and_each_generator_a_row():
    text = paper_tex(wide_result(["logreg:all", "hist_gb:all"]))
    tables = text.split(r"\begin{table}")[1:]
    (by_generator,) = (one for one in tables if "tested on" in one)
    body = rows(by_generator)
    assert [cell.strip() for cell in body[0]] == ["tested on", "logreg:all", r"hist\_gb:all"]
    assert [row[0].strip().partition(" ")[0] for row in body[1:]] == [
        "macro", *(f"latent-diffusion-no{g}" for g in range(8))]  # fmt: skip
    assert by_generator.count(r"\textbf") == 9  # the best of each row
    assert r"hist\_gb:all" in next(one for one in tables if "worst of" in one)  # beside it, nothing is lost
    captions = re.findall(r"\\caption\{(.*)\}", text)
    assert len(set(captions)) == len(captions) == 3
    assert len(re.findall(r"\\label\{tab:auroc-under-matched(?:-2)?\}", text)) == 2
    (rates,) = (one for one in tables if "FPR on" in one)
    assert len(rows(rates)) == 1 + 3 + 4


def test_many_detectors_are_rows_of_tables_that_fit_and_no_figure_is_lost():
    names = [f"logreg:family-{k}" for k in range(12)]
    text = paper_tex(wide_result(names))
    tables = text.split(r"\begin{table}")[1:]
    assert "tested on" not in text
    of_auroc = [one for one in tables if "AUROC under matched" in one and "latent" in one]
    assert len(of_auroc) > 1
    assert all(f"({k + 1} of " in one for k, one in enumerate(one for one in tables if "AUROC under matched" in one))
    assert all(natural_width(one) < 450 for one in tables)
    assert all([row[0].strip() for row in rows(one)] == ["detector", *names] for one in tables)
    whole = wide_result(names)
    told = re.findall(r"\d\.\d{3}", re.sub(r"\\[a-z]+|[{}]", "", "".join(of_auroc)))
    values = [f"{m.value:.3f}" for cell in whole.cells if cell.generator for m in cell.metrics if m.name == "auroc"]
    assert set(values) <= set(told)
    assert len(told) >= len(values)
    assert sum("Pairs are counted" in one for one in tables) == 1


def test_every_table_has_a_label_of_its_own():
    grids = [GRID, GRID, Grid("AUROC under jpeg70 (trained under matched)  [biased by x]", ("a", "b"), (("x", "1"),))]
    labels = re.findall(r"\\label\{(.*?)\}", latex_tables([*grids, Grid("你", ("a",), (("x",),))]))
    assert labels == ["tab:auroc-of-2-3", "tab:auroc-of-2-3-2", "tab:auroc-under-jpeg70", "tab:table"]


@given(st.text(max_size=60), st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_breaking_loses_nothing(text, width):
    lines = stacked(text, width)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert "".join(cell_lines(text)).replace(" ", "") == text.replace(" ", "")
    assert len(lines) >= 1


def test_a_name_below_a_figure_stays_whole_and_its_bracket_is_no_argument():
    assert cell_lines("0.698 [0.62, 0.75]! stable-diffusion-v1-beta (24 groups)") == [
        "0.698 [0.62, 0.75]!", "stable-diffusion-v1-beta", "(24 groups)"]  # fmt: skip
    assert cell_lines("0.018 (n = 2)") == ["0.018", "(n = 2)"]
    assert cell_lines("50 % of it") == ["50 % of it"]
    table = latex_table(Grid("", ("a", "b"), (("x", "0.5 [y] (3 groups)"),)))
    assert r"\shortstack[r]{\rule{0pt}{2.4ex}0.5\\{}[y] (3 groups)}" in table


def test_long_names_in_the_paragraph_may_break():
    assert r"leave\_\allowbreak{}one" in latex_tables([GRID], paragraph="leave_one_generator_out")
