"""How long `fdetect inspect` takes: start included, and from a started program to the verdict and to the whole report.

    python benchmarks/inspect_time.py IMAGE... [--rounds 5] [--out PAGE | -]     -> docs/inspect.md

Every run has a store of its own, so that nothing was computed before; kernels are compiled once, before the first.
Seconds on shared machines vary: beside them stands the ratio to `import torch` alone, which no run can do without.
"""

from __future__ import annotations

import argparse
import datetime
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from racing import write_between

from fdetect.bench.header import versions
from fdetect.bench.inspecting.inspector import Inspector
from fdetect.bench.inspecting.shown.outputs import page_of
from fdetect.bench.report.grid import Grid, markdown
from fdetect.bench.running import Running
from fdetect.images import decode

PAGE = Path(__file__).parent.parent / "docs" / "inspect.md"
MARKER = "benchmark:inspect-time"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", default=str(PAGE), help="page with the markers; - prints the table")
    options = parser.parse_args()
    rows = []
    for image in options.images:
        height, width = decode(image.read_bytes()).pixels.shape[:2]
        seconds: dict[str, list[float]] = {}
        for turn in range(options.rounds + 1):  # the first compiles
            found = {"torch": timed(lambda: run("-c", "import torch")), "verdict": inspected(image, "--quick"),
                     "report": inspected(image, "-o", "report.html"), **started(image)}  # fmt: skip
            for name, value in found.items():
                if turn:
                    seconds.setdefault(name, []).append(value)
        middle = {name: statistics.median(of) for name, of in seconds.items()}
        rows.append((f"{width} x {height}", *(f"{middle[name]:.1f} s, {middle[name] / middle['torch']:.1f} x"
                                              for name in ("verdict", "report", "to verdict", "to report")),
                     f"{middle['torch']:.1f} s"))  # fmt: skip
    columns = ("image", "start to verdict (--quick)", "start to report", "started: to verdict", "started: to report",
               "import torch")  # fmt: skip
    known = versions()
    said = ", ".join(f"{name} {known[name]}" for name in ("fdetect", "numba", "torch"))
    note = (f"Medians of {options.rounds} runs, with the ratio to `import torch` in the same rounds. Run on "
            f"{datetime.date.today()} on {len(os.sched_getaffinity(0))} shared CPU cores, no GPU, with {said}.")
    text = markdown([Grid("Time of one image", columns, tuple(rows), note)])
    print(text) if options.out == "-" else write_between(Path(options.out), MARKER, text)


def timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def run(*words: str) -> None:
    subprocess.run([sys.executable, *words], check=True, capture_output=True)


def inspected(image: Path, *words: str) -> float:
    """Return the seconds of a command, from its start to its end."""
    with tempfile.TemporaryDirectory() as folder:
        here = [str(Path(folder) / word) if word.endswith(".html") else word for word in words]
        return timed(lambda: run("-m", "fdetect", "inspect", str(image), "--store", folder, *here))


def started(image: Path) -> dict[str, float]:
    """Return the seconds from a program that has its networks and kernels to the verdict, and to the page."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
        inspector = Inspector.of(running=Running.of({"store": other, "workers": 0}))
        page_of(next(iter(inspector([image], whole=True))), inspector)
        inspector = Inspector.of(running=Running.of({"store": folder, "workers": 0}))
        verdict = timed(lambda: next(iter(inspector([image], whole=False))))
    with tempfile.TemporaryDirectory() as folder:
        inspector = Inspector.of(running=Running.of({"store": folder, "workers": 0}))
        report = timed(lambda: page_of(next(iter(inspector([image], whole=True))), inspector))
    return {"to verdict": verdict, "to report": report}


if __name__ == "__main__":
    main()
