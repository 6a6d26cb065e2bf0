"""What tests of `fdetect reproduce` share: the command, a figure of their own, and small trees in published layouts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result
from PIL import Image

from fdetect.bench.reproduce.published import Reproduction, reproduction
from fdetect.cli.reproduce import reproduce as command
from fdetect.errors import FdetectError


def run_command(*arguments: str) -> tuple[Result, str]:
    """Run the command as the command line does; errors of ours become its second value."""
    done = CliRunner().invoke(command, list(arguments), env={"COLUMNS": "200"})
    if isinstance(done.exception, FdetectError):
        return done, str(done.exception)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done, ""


@contextlib.contextmanager
def entered(one: Reproduction) -> Iterator[None]:
    """Enter a figure of the tests' own under the name "tiny"."""

    def tiny() -> Reproduction:
        """A figure of the tests' own: mean of two textures."""
        return one

    reproduction._entries.pop("tiny", None)  # the one before
    reproduction(tiny)
    try:
        yield
    finally:
        reproduction._entries.pop("tiny", None)


def texture(file: Path, number: int, strength: float, size: tuple[int, int] = (96, 80), level: int = 128) -> None:
    """Write a PNG of `size` (width, height): coarse patches and noise of a strength, all drawn from its number."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(np.clip(rng.integers(-60, 60, (7, 9, 3)) + level, 0, 255).astype(np.uint8))
    large = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC)).astype(np.float64)
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.clip(large + rng.normal(0, strength, large.shape), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(file)


def tree(folder: Path, kinds: dict[str, tuple[int, float, int]]) -> Path:
    """Write textures: folder below `folder` -> (how many, strength of their noise, grey level)."""
    for number, (kind, (count, strength, level)) in enumerate(kinds.items()):
        for k in range(count):
            texture(folder / kind / f"{k:03d}.png", 1000 * number + k, strength, level=level)
    return folder
