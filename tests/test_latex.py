"""LaTeX: characters escaped, braces balanced, as many cells in a row as columns, the best bold, intervals small."""

from __future__ import annotations

import re

import pytest
from boards import HOSTILE, header_of, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from fdetect.bench.audit import Audit
from fdetect.bench.report.grid import Grid
from fdetect.bench.report.latex import best_cells, latex_comment, latex_escape, latex_table, latex_tables
from fdetect.bench.report.paper import paper_tex
from fdetect.bench.scores.evaluate import cells_of
from fdetect.bench.scores.given import read_score_table
from fdetect.types import RunResult

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


def test_the_best_of_a_column_is_the_largest_that_was_not_seen_in_training():
    assert best_cells(GRID, [1, 2]) == {(0, 1), (0, 2), (2, 2)}
    assert best_cells(Grid("", ("a", "b"), (("x", "0.5"),)), [1]) == set()  # alone it is no best
    assert best_cells(Grid("", ("a", "b"), (("x", "–"), ("y", "–"))), [1]) == set()


def test_a_table_without_rows_says_so_and_a_paragraph_stands_above_as_comment_and_text():
    text = latex_tables([Grid("Not_run", ("a",), ())], paragraph="5 % of them. " * 30)
    assert r"\paragraph{Not\_run} None." in text
    lines = latex_comment("5 % of them. " * 30).splitlines()
    assert all(line.startswith("% ") and len(line) <= 100 for line in lines)
    assert " ".join(line[2:] for line in lines) == ("5 % of them. " * 30).strip()
    assert "\n".join(lines) in text
    assert r"5 \% of them." in text


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
    assert "% Data: made, content hash 0123456789abcdef" in text
