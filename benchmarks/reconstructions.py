"""What the autoencoders that come with fdetect make of four photographs: writes docs/reconstructions.png and a table.

    python benchmarks/reconstructions.py

The photographs come with scikit-image and are free: astronaut (NASA, public domain), chelsea, coffee and rocket (CC0).
None of the networks was trained on a photograph.  Rows are photographs, columns the original and the networks in the
order of the table, which gives PSNR and how much of the fine detail is left: the mean power in dB from half of
Nyquist's frequency up (`fine_power` of train_generators.py), less the original's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from racing import write_between
from skimage import data
from train_generators import fine_power

from fdetect.bench.report.grid import Grid, markdown
from fdetect.nets.laundering import Laundering
from fdetect.nets.shipped import SHIPPED
from fdetect.perturb import Box, with_surroundings

HERE = Path(__file__).resolve().parent.parent / "docs"
SIDE = 128
PLACES = {"astronaut": (40, 160), "chelsea": (70, 120), "coffee": (130, 250), "rocket": (150, 250)}


def main() -> None:
    rows = [[Box(*place, SIDE).of(getattr(data, name)())] for name, place in PLACES.items()]
    table = []
    for name in SHIPPED:
        network, figures = Laundering.of(name), []
        for row, (photograph, place) in zip(rows, PLACES.items(), strict=True):
            shown, inside = with_surroundings(getattr(data, photograph)(), Box(*place, SIDE))
            row.append(inside.of(network(shown)))
            figures.append((psnr(row[0], row[-1]), fine_power([row[-1]]) - fine_power([row[0]])))
        table.append((f"`{name}`", *(f"{value:.1f} / {detail:+.1f}" for value, detail in figures)))
    picture = np.vstack([np.hstack(row) for row in rows])
    Image.fromarray(picture).save(HERE / "reconstructions.png", optimize=True)
    title = "PSNR in dB / power of the fine detail against the original's in dB"
    grid = Grid(title, ("network", *PLACES), tuple(table))
    write_between(HERE / "generators.md", "benchmark:reconstructions", markdown([grid]))


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(np.float64) - other) ** 2)))


if __name__ == "__main__":
    main()
