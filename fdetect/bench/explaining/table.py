"""The figures of explanations as one table in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from fdetect.bench.explaining.explaining import Judged, Mean

__all__ = ["COLUMNS", "explanation_table"]

COLUMNS = {
    "mass": "mass in the right half",
    "higher": "pictures higher in the right half",
    "beyond": "beyond random maps",
    "photograph": "same half, no trace",
    "deletion": "deletion (low is good)",
    "insertion": "insertion (high is good)",
    "collapse": "correlation, random weights",
}


def explanation_table(rows: Sequence[Judged]) -> str:
    """Return a table in Markdown, one explanation a row, with 95 % intervals by photograph.

    Where some pictures have no value, such as a map that is 0 everywhere, their number stands behind the figure.
    """
    most = max((mean.n for row in rows for mean in _means(row) if mean), default=0)
    lines = ["| explanation | " + " | ".join(COLUMNS.values()) + " |", "|---" * (1 + len(COLUMNS)) + "|"]
    for row in rows:
        if row.reason:
            cells = [f"not there: {row.reason}", *[""] * (len(COLUMNS) - 1)]
        else:
            cells = [_text(mean, most) for mean in _means(row)]
        lines.append(f"| {row.method} | " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _means(row: Judged) -> list[Mean | None]:
    return [getattr(row, name) for name in COLUMNS]


def _text(mean: Mean | None, most: int) -> str:
    if mean is None:
        return "–"
    if not mean.n:
        return "none has a value"
    missing = f" (n = {mean.n})" if mean.n < most else ""
    return f"{mean.value:.3f} [{mean.low:.3f}, {mean.high:.3f}]{missing}"
