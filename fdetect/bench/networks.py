"""The networks that training-free detectors rest on: what is known of their weights, beside every figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fdetect.bench.grid import Grid

__all__ = ["networks_grids", "with_weights"]


def with_weights(grid: Grid, header: Mapping[str, Any]) -> Grid:
    """Add a column behind the detector: purpose and evidence of the weights that it rests on.

    Without a detector that rests on weights the table stays as it is; those that need none get a dash.
    """
    known = {
        name: "; ".join(dict.fromkeys(f"{card['purpose']}, {card['evidence']}" for card in cards))
        for name, cards in header.get("weights", {}).items()
        if cards
    }
    if not any(row[0].split(" ")[0] in known for row in grid.rows):
        return grid
    rows = ((row[0], known.get(row[0].split(" ")[0], "–"), *row[1:]) for row in grid.rows)
    return replace(grid, columns=(grid.columns[0], "weights", *grid.columns[1:]), rows=tuple(rows))


def networks_grids(header: Mapping[str, Any]) -> list[Grid]:
    """Return the table of the networks that training-free detectors rest on; nothing where there are none."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for name, cards in header.get("weights", {}).items():
        for card in cards:
            key = (card["name"], card["purpose"], card["evidence"], card["licence"], card["sha256"][:12])
            rows.setdefault(key, []).append(name)
    if not rows:
        return []
    columns = ("network", "purpose", "evidence", "licence", "sha256", "detectors")
    note = (
        "Purpose test: nobody judges images with it. Evidence: unverified, official (the published hash), reproduced "
        "(a published figure was reached with them)."
    )
    return [Grid("Networks", columns, tuple((*key, ", ".join(names)) for key, names in rows.items()), note)]
