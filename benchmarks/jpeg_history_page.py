"""The page of benchmarks/jpeg_history.py: thresholds from the pictures of even number, rates on the others."""

from __future__ import annotations

import math
import platform
import statistics
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from racing import write_between

from fdetect.bench.inspecting.jpeg_history import GRID_LEAST, ONE_WAY_LEAST, REQUANTISED_LEAST

PAGE = Path(__file__).parents[1] / "docs" / "jpeg-history.md"
LEAST = {"grid": GRID_LEAST, "one_way": ONE_WAY_LEAST, "requantised": REQUANTISED_LEAST}
MARGIN = 1  # on top of the quantile, rounded up to a half: some 50 pictures a case hold no 99 % quantile
WITHOUT = ("PNG, never", "WebP 80", "one JPEG", "screenshot")  # how names of cases without this history begin

Row = dict[str, Any]


def write_page(rows: list[Row], day: str) -> None:
    made = [row for row in rows if row["case"] != "stored"]
    choose, judge = ([row for row in made if row["number"] % 2 == odd] for odd in (0, 1))
    without = [row for row in judge if "before" not in row and "round trip" not in row["case"]]
    trips = [row for row in made if "round trip" in row["case"]]
    flagged = sum(map(told, without)), len(without)
    lines = [
        f"Measured on {day}, 2 shared CPU cores ({platform.machine()}); NumPy {version('numpy')}, Pillow "
        f"{version('pillow')}.", "",
        "| sign | 99 % quantile of the pictures of even number, their worst case | threshold |", "|---|---|---|",
        *(f"| {sign} | {quantile(choose, sign):.1f} | {least:g} |" for sign, least in LEAST.items()), "",
        f"Pictures without an earlier JPEG that are said to have one: {flagged[0]} of {flagged[1]}; with thresholds "
        f"from the other sources, by the same rule: {by_source(made)}.", "", *table(without, counted), "",
        f"Never-compressed photographs through the shipped autoencoders, whose up-sampling has periods of 2 to 8 px: "
        f"{sum(map(told, trips))} of {len(trips)} said to have been a JPEG.", "",
        "Pictures with an earlier JPEG: share found on its true grid, and the median error of its quality.", "",
        *table([row for row in judge if "before" in row], found_rate), "",
        "Files as stored, whose history is not known:", "", *stored([row for row in rows if row["case"] == "stored"]),
    ]  # fmt: skip
    write_between(PAGE, "jpeg-history", "\n".join(lines))


def told(row: Row) -> bool:
    return any(row[sign] > least for sign, least in LEAST.items())


def quantile(rows: list[Row], sign: str) -> float:
    """Return the largest, over the cases without this history, of their 99 % quantiles."""
    jpeg = {"grid": None, "one_way": True, "requantised": True}[sign]
    cases: dict[str, list[float]] = {}
    for row in rows:
        if row["case"].startswith(WITHOUT) and (jpeg is None or (row["format"] == "JPEG") == jpeg):
            cases.setdefault(row["case"], []).append(row[sign])
    return max(float(np.quantile(values, 0.99, method="higher")) for values in cases.values())


def by_source(rows: list[Row]) -> str:
    words = []
    for source in sorted({row["origin"] for row in rows}):
        others = [row for row in rows if row["origin"] != source]
        least = {sign: math.ceil(2 * quantile(others, sign)) / 2 + MARGIN for sign in LEAST}
        own = [row for row in rows if row["origin"] == source and row["case"].startswith(WITHOUT)]
        words.append(f"{source} {sum(any(row[s] > least[s] for s in least) for row in own)} of {len(own)}")
    return ", ".join(words)


def table(rows: list[Row], cell: Any) -> list[str]:
    sizes = sorted({row["size"] for row in rows})
    lines = [f"| | {' | '.join(f'{size} px' for size in sizes)} |", "|---" * (len(sizes) + 1) + "|"]
    for case in dict.fromkeys(row["case"] for row in sorted(rows, key=lambda row: row["case"])):
        parts = [[row for row in rows if row["case"] == case and row["size"] == size] for size in sizes]
        lines.append(f"| {case} | {' | '.join(cell(part) if part else '' for part in parts)} |")
    return lines


def counted(rows: list[Row]) -> str:
    return f"{sum(map(told, rows))} of {len(rows)}"


def found_rate(rows: list[Row]) -> str:
    right = [row for row in rows if told(row) and tuple(row["found_phase"] or ()) == tuple(row["phase"])]
    wrong = [row for row in rows if told(row) and row not in right]
    errors = [abs(row["found_before"] - row["before"]) for row in right]
    error = f", {statistics.median(errors):g}" if errors else ""
    return f"{len(right)} of {len(rows)}{error}{f' ({len(wrong)} on a wrong grid)' if wrong else ''}"


def stored(rows: list[Row]) -> list[str]:
    lines = ["| from | format | files | on the same grid | on a shifted grid | median quality before |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    for origin, kind in sorted({(row["origin"], row["format"]) for row in rows}):
        own = [row for row in rows if (row["origin"], row["format"]) == (origin, kind)]
        hits = [row for row in own if told(row) and row["found_phase"]]
        aligned = sum(list(row["found_phase"]) == [0, 0] for row in hits)
        before = f"{statistics.median(row['found_before'] for row in hits):g}" if hits else ""
        lines.append(f"| {origin} | {kind} | {len(own)} | {aligned} | {len(hits) - aligned} | {before} |")
    return lines
