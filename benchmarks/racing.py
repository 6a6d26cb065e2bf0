"""What the speed benchmarks share: contestants that take turns, ratios within a round, tables between markers."""

from __future__ import annotations

import os
import platform
import re
import statistics
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

MIB = 1 << 20


def race(contestants: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Run all in turn; a contestant below 20 ms is repeated within its turn until it has taken that long."""
    repeats = {}
    for name, run in contestants.items():
        run()  # compiles, fills caches
        since = time.perf_counter()
        run()
        repeats[name] = max(1, min(200, int(0.02 / max(time.perf_counter() - since, 1e-6))))
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            since = time.perf_counter()
            for _ in range(repeats[name]):
                run()
            seconds[name].append((time.perf_counter() - since) / repeats[name])
    return seconds


def memcpy_speed(rounds: int) -> float:
    source = np.ones(64 * MIB, np.uint8)
    target = np.zeros_like(source)
    seconds = race({"copy": lambda: np.copyto(target, source)}, rounds)
    return 2 * source.nbytes / statistics.median(seconds["copy"])


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def ratios(values: list[float], bases: list[float]) -> str:
    return spread([value / base for value, base in zip(values, bases, strict=True)])


def about() -> str:
    def of(package: str) -> str:
        try:
            return f"{package} {version(package)}"
        except PackageNotFoundError:
            return f"{package} not installed"

    packages = ("numba", "numpy", "scipy", "scikit-image", "torch", "opencv-python-headless")
    return (
        f"Measured on {time.strftime('%Y-%m-%d')}, {len(os.sched_getaffinity(0))} shared CPU cores "
        f"({platform.machine()}), no GPU; {', '.join(of(package) for package in packages)}. "
        "Medians; in brackets the range over the rounds. A ratio of 2 means that fdetect takes half the time."
    )


def write_between(file: Path, marker: str, text: str) -> None:
    pattern = re.compile(rf"(<!-- {marker} -->\n).*?(<!-- /benchmark -->)", re.DOTALL)
    old = file.read_text(encoding="utf-8")
    if not pattern.search(old):
        raise SystemExit(f"{file.name} has no marker <!-- {marker} -->")
    file.write_text(pattern.sub(lambda found: f"{found[1]}{text}\n{found[2]}", old), encoding="utf-8")
