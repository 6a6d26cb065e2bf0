r"""Tables of results in LaTeX: one `table` with booktabs rules for each grid, every character of a name escaped.

The preamble needs \usepackage{booktabs,graphicx} and \usepackage[T1]{fontenc}.  A table much wider than the line is cut
by columns into tables that fit (latex_fit.py), one that is a little wider is made smaller.  Intervals are set small; a
caller says which cells are bold (the best) and which underlined (no difference to it was shown).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from fdetect.bench.report.grid import Grid, printable
from fdetect.bench.report.latex_fit import INTERVAL, NUMBER, Place, Placed, cell_lines, head_lines, parts

__all__ = ["best_cells", "latex_escape", "latex_table", "latex_tables"]

_ESCAPED = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}", "–": "--", "—": "---", "…": r"\ldots{}",
    "°": r"\textdegree{}", "±": r"$\pm$", "×": r"$\times$", "≤": r"$\le$", "≥": r"$\ge$", "←": r"$\leftarrow$",
    "→": r"$\rightarrow$", "↑": r"$\uparrow$", "µ": r"\textmu{}", "\u00a0": "~",
}  # fmt: skip

_JOINED = re.compile("-{2,}|'{2,}|,{2,}")
_MINUS = re.compile(r"(?<![\w.])-(?=\d)")  # of a number: set as a minus, all other hyphens as such
_NOT_IN_T1 = "ªºĦħĸĿŀŉŦŧſ"  # letters of Latin up to U+017F that LaTeX has no command for, or none in these fonts
_END = "\\\\"  # of a line
_HEIGHT = "\\rule{0pt}{2.4ex}"  # keeps lines of a cell apart from the row above
_PACKAGES = "needs \\usepackage{booktabs,graphicx} and \\usepackage[T1]{fontenc}"


def latex_escape(text: str) -> str:
    """Write text so that LaTeX sets it as it is, whatever it is; letters that T1 fonts lack become [U+4F60].

    What T1 fonts would join is kept apart: "--" in a name is no dash.
    """
    apart = _JOINED.sub(lambda found: "\0".join(found.group()), printable(text))
    return "".join("{}" if one == "\0" else _ESCAPED.get(one) or _letter(one) for one in apart)


def latex_table(
    grid: Grid, *, bold: Collection[Place] = (), underlined: Collection[Place] = (), label: str = ""
) -> str:  # fmt: skip
    """Write one grid as a floating table; a grid without rows says so in a line.

    bold, underlined  places of cells whose figure is set so, but for the interval behind it
    label             for \\ref; "" for none
    """
    caption = latex_escape(grid.title)
    if not grid.rows:
        return f"\\paragraph{{{caption}}} None.\n"
    sides = _alignment(grid)
    body = [[_cell(text, sides[c], (r, c) in bold, (r, c) in underlined) for c, text in enumerate(row)]
            for r, row in enumerate(grid.rows)]  # fmt: skip
    head = [_stack(map(latex_escape, head_lines(grid, c)), sides[c]) for c in range(len(grid.columns))]
    lines = [
        "\\begin{table}[htbp]", "\\centering\\small\\setlength{\\tabcolsep}{4pt}", f"\\caption{{{caption}}}",
        *([f"\\label{{{label}}}"] if label else []),
        "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
        f"\\begin{{tabular}}{{{sides}}}", "\\toprule",
        _line(head), "\\midrule", *map(_line, body), "\\bottomrule", "\\end{tabular}}",
        *([f"\\par\\smallskip\\footnotesize {latex_escape(grid.note)}"] if grid.note else []),
        "\\end{table}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def latex_tables(
    grids: Sequence[Grid], *, paragraph: str = "", bold: Mapping[int, Collection[Place]] | None = None,
    underlined: Mapping[int, Collection[Place]] | None = None,
) -> str:  # fmt: skip
    """Write grids one below the other, to be read by \\input; the paragraph stands above them.

    bold, underlined  places by number of the grid
    """
    broken = latex_escape(paragraph).replace(r"\_", r"\_\allowbreak{}")  # no name is longer than the line
    written = [f"% fdetect; {_PACKAGES}\n", *([f"{broken}\n"] if paragraph else [])]
    taken: set[str] = set()
    for k, grid in enumerate(grids):
        whole = Placed(grid, *(frozenset((marked or {}).get(k, ())) for marked in (bold, underlined)))
        written += [latex_table(one.grid, bold=one.bold, underlined=one.underlined, label=_label(grid, taken))
                    for one in parts(whole)]  # fmt: skip
    return "\n".join(written)


def _label(grid: Grid, taken: set[str]) -> str:
    """Name a table after its title, as in tab:auroc-under-matched; one more of the same title gets a number."""
    bare = re.sub(r"[^a-z0-9]+", "-", re.sub(r"  \[.*| \(.*", "", grid.title.lower())).strip("-")[:80] or "table"
    name = next(one for k in range(len(taken) + 1) if (one := f"{bare}-{k + 1}" if k else bare) not in taken)
    taken.add(name)
    return f"tab:{name}"


def best_cells(grid: Grid, columns: Collection[int]) -> set[Place]:
    """Return the places of the largest figure of each of these columns, as it is shown: equal ones are all best.

    One that is marked * (seen in training) is none of them.
    """
    found: set[Place] = set()
    for c in columns:
        shown = {r: float(match.group()) for r, row in enumerate(grid.rows)
                 if (match := NUMBER.match(row[c])) and "*" not in row[c]}  # fmt: skip
        found |= {(r, c) for r, value in shown.items() if value == max(shown.values())}
    return found if len(grid.rows) > 1 else set()


def _cell(text: str, side: str, bold: bool, underlined: bool) -> str:
    first, *below = cell_lines(text)
    return _stack((_figure(first, bold, underlined), *map(_numbers, below)), side)


def _stack(lines: Iterable[str], side: str) -> str:
    """Set lines below each other, on a side of the column."""
    one, *more = lines
    return f"\\shortstack[{side}]{{{_HEIGHT}{one}{''.join(f'{_END}{_apart(line)}' for line in more)}}}" if more else one


def _figure(text: str, bold: bool, underlined: bool) -> str:
    interval = INTERVAL.search(text)
    before, small, after = (text, "", "") if not interval else (
        text[: interval.start()], interval.group(), text[interval.end() :])  # fmt: skip
    number = NUMBER.match(before)
    figure, rest = (number.group(), before[number.end() :]) if number else (before, "")
    main = _numbers(figure)
    main = f"\\textbf{{{main}}}" if bold else main
    main = f"\\underline{{{main}}}" if underlined else main
    return main + _numbers(rest) + (f"{{\\scriptsize {_numbers(small)}}}" if small else "") + _numbers(after)


def _numbers(text: str) -> str:
    """Escape text, the minus of a number as one."""
    parts = _MINUS.split(text)
    return "$-$".join(map(latex_escape, parts))


def _line(cells: Iterable[str]) -> str:
    """Join cells to a row."""
    return f"{_apart(' & '.join(cells))} {_END}"


def _apart(line: str) -> str:
    """Keep a line that begins with [ or *, after any spaces, from being an argument of the end of the one above."""
    return f"{'{}' if line.lstrip()[:1] in ('[', '*') else ''}{line}"


def _alignment(grid: Grid) -> str:
    """Right for columns of figures, left for words; the first is the row's name."""
    kinds = []
    for c in range(len(grid.columns)):
        filled = [row[c] for row in grid.rows if row[c] not in ("", "–")]
        kinds.append("r" if c and filled and all(NUMBER.match(text) for text in filled) else "l")
    return "".join(kinds)


def _letter(one: str) -> str:
    known = one.isalpha() and ord(one) < 0x180 and one not in _NOT_IN_T1
    return one if one.isascii() or known else f"[U+{ord(one):04X}]"
