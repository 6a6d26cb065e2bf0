"""Networks beside every figure: what is known of the weights that detectors rest on, and how far a training came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fdetect.bench.report.grid import Grid, pretty
from fdetect.nets.schedule import RIVAL

__all__ = ["networks_grids", "weights_text", "with_weights"]

_NAMED = 3  # trials without a trunk that a table names


def with_weights(grid: Grid, header: Mapping[str, Any]) -> Grid:
    """Add a column behind the detector: purpose and evidence of the weights that it rests on.

    Of a network that the run trained it says whether it is a rival or undertrained.  Without a detector that rests on
    weights the table stays as it is; those that need none get a dash.
    """
    known = weights_text(header)
    if not any(row[0].split(" ")[0] in known for row in grid.rows):
        return grid
    rows = ((row[0], known.get(row[0].split(" ")[0], "–"), *row[1:]) for row in grid.rows)
    return replace(grid, columns=(grid.columns[0], "weights", *grid.columns[1:]), rows=tuple(rows))


def weights_text(header: Mapping[str, Any]) -> dict[str, str]:
    """Say, by detector, what the weights are that it rests on; those that need none are left out."""
    known = {
        name: "; ".join(dict.fromkeys(f"{card['purpose']}, {card['evidence']}" for card in cards))
        for name, cards in header.get("weights", {}).items()
        if cards
    }
    known |= {name: f"trained here, {one['verdict'].partition(':')[0]}" for name, one in _trained(header).items()}
    if (trunk := header.get("trunk")) and trunk["network"] in known:
        known[trunk["fused"]] = f"trunk {known[trunk['network']]}"
    return known


def networks_grids(header: Mapping[str, Any]) -> list[Grid]:
    """Return tables of the networks that the run trained, of its trunk, and of those that detectors rest on."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for name, cards in header.get("weights", {}).items():
        for card in cards:
            key = (card["name"], card["purpose"], card["evidence"], card["licence"], card["sha256"][:12])
            rows.setdefault(key, []).append(name)
    trained = [_trained_grid(_trained(header))] if _trained(header) else []
    trained += [_trunk_grid(header["trunk"])] if "trunk" in header else []
    if not rows:
        return trained
    columns = ("network", "purpose", "evidence", "licence", "sha256", "detectors")
    note = (
        "Purpose test: nobody judges images with it. Evidence: unverified, official (the published hash), reproduced "
        "(a published figure was reached with them)."
    )
    return [*trained, Grid("Networks", columns, tuple((*key, ", ".join(names)) for key, names in rows.items()), note)]


def _trained(header: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = header.get("networks", {})
    return found


def _trained_grid(trained: Mapping[str, Any]) -> Grid:
    rows = [
        (
            name, f"{one['parameters'] / 1e6:.3g}", f"{one['steps']} x {one['batch']}",
            f"{pretty(one['mean'])} ({pretty(one['least'])})", f"{one['flattened']} of {one['trials']} trials",
            one["verdict"],
        )
        for name, one in trained.items()
    ]  # fmt: skip
    columns = ("network", "parameters (M)", "steps x batch", "validation AUROC: mean (least)", "loss flattened",
               "verdict")  # fmt: skip
    note = (
        "Validated under matched, on groups kept apart from training, by the generators of the training images. A "
        f"rival has a mean over trials of at least {RIVAL:.2f} and a loss that has flattened in half of them or more; "
        "of others a lower figure may say no more than that they were trained too little."
    )
    if any(one["one_generator"] for one in trained.values()):
        note += " Where all training images are of one generator, it alone validates: such a figure is easily high."
    return Grid("Trained networks", columns, tuple(rows), note)


def _trunk_grid(trunk: Mapping[str, Any]) -> Grid:
    lost = [f"{trial}: {why}" for trial, why in trunk["missing"].items()]
    without = "; ".join([*lost[:_NAMED], *([f"and {len(lost) - _NAMED} more"] if len(lost) > _NAMED else [])])
    row = (trunk["fused"], trunk["network"], f"{trunk['trials'] - len(lost)} of {trunk['trials']} trials", without)
    note = "Where the network could not be trained, the fused detector has its other branches alone."
    return Grid("Trunk of the fused detector", ("detector", "network", "trained in", "without it in"), (row,), note)
