"""What the commands share: options, lists separated by commas, a progress bar on stderr, tables on stdout."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click

from fdetect.bench.report.grid import printable

if TYPE_CHECKING:
    from fdetect.bench.report.grid import Grid
    from fdetect.engine import Store

__all__ = [
    "cluster_options", "counted", "engine_options", "engine_settings", "leave", "list_options", "listed_inputs",
    "open_store", "printable", "progress_bar", "progress_lines", "read_options", "return_freed_memory", "say", "shares",
    "show", "show_rows", "words", "work_options",
]  # fmt: skip

F = TypeVar("F", bound=Callable[..., Any])

_QUIET_SECONDS = 2.0  # shorter steps show no bar
_LINE_SECONDS = 30.0  # between two lines where stderr is no terminal


def words(value: str | None) -> tuple[str, ...] | None:
    """Split a comma-separated option; "none" is the empty list, an absent option stays None."""
    if value is None:
        return None
    parts = tuple(part.strip() for part in value.split(",") if part.strip())
    return () if parts == ("none",) else parts


def shares(value: str | None) -> tuple[float, ...] | None:
    """Split a comma-separated option into numbers; an absent option stays None."""
    from fdetect.errors import ParameterError

    try:
        return None if value is None else tuple(float(part) for part in value.split(","))
    except ValueError:
        raise ParameterError(f"--generated takes numbers separated by commas, such as 0,0.25; got '{value}'") from None


def read_options(command: F) -> F:
    """Add the options that say how data are read."""
    command = click.option("--root", type=click.Path(), help="Folder that manifest paths are relative to.")(command)
    return click.option("--layout", default=None, help="Layout of DATA (fdetect list layouts); default: recognised.")(
        command
    )


def list_options(command: F) -> F:
    """Add the arguments that say which images are meant, any number of them."""
    command = click.option("--files-from", metavar="FILE", help="Text file with one more of DATA a line; - for stdin.")(
        command
    )
    return click.argument("data", nargs=-1, type=click.Path())(command)


def engine_options(command: F) -> F:
    """Add the options that change how fast a command runs and what it keeps, never its result; and the seed."""
    command = work_options(command)
    return click.option("--seed", type=click.IntRange(0), default=None,
                        help="Seed of crops, folds, noise and bootstrap; default 0.")(command)  # fmt: skip


def work_options(command: F) -> F:
    """Add the options of `engine_options` without the seed, for a command that draws nothing."""
    for option in (
        click.option("--backend", type=click.Choice(["auto", "cpu", "gpu"]), default="auto", show_default=True,
                     help="Where maps and features are computed; gpu that cannot run is an error."),
        click.option("--workers", type=click.IntRange(0), default=None, help="Worker processes; default: the cores. 0: "
                     "none, so that an image that crashes or hangs takes the run with it."),
        click.option("--time-limit", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True,
                     help="Seconds that a worker may need for one step before its image is given up."),
        click.option("--store", type=click.Path(file_okay=False), help="Folder of finished rows; default: "
                     "$FDETECT_CACHE, else the user's cache. Runs resume from it."),
    ):  # fmt: skip
        command = option(command)
    return command


def cluster_options(command: F) -> F:
    """Add the options that have a cluster compute."""
    for option in (
        click.option("--address", help="Of the Ray cluster: auto or HOST:PORT; default: $RAY_ADDRESS, else one that is "
                     "started on this machine."),
        click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True,
                     help="What computes: this machine, or a Ray cluster, with the same result (docs/scale.md). Its "
                     "workers take a CPU each; default: all."),
    ):  # fmt: skip
        command = option(command)
    return command


def open_store(folder: str | None) -> Store:
    """Open the store of finished rows."""
    from fdetect.engine import Store

    return Store(folder)


def engine_settings(flags: dict[str, Any], progress: Callable[[str, int, int], None] | None) -> dict[str, Any]:
    """Return what the options of `engine_options`, but for the seed, mean to a step: its keyword arguments."""
    from fdetect.engine.pool import default_workers

    on_cluster = {name: flags[name] or "" for name in ("engine", "address") if name in flags}
    most = 0 if on_cluster.get("engine") == "ray" else default_workers()  # 0 for all that the cluster has
    return on_cluster | {
        "store": open_store(flags["store"]),
        "workers": most if flags["workers"] is None else flags["workers"],
        "time_limit": flags["time_limit"],
        "backend": flags["backend"],
        "progress": progress,
    }


def return_freed_memory() -> None:
    """Have large blocks given back when they are freed: by default Arrow and glibc keep more and more of them.

    For commands that stream; where heads are fitted, to get the same pages again and again would cost time.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 1 << 17)  # M_MMAP_THRESHOLD, which would grow by itself
        libc.mallopt(-8, 1)  # M_ARENA_MAX: each thread would keep memory of its own


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None] | None]:
    """Yield a progress callback with rate and time left on stderr; where that is no terminal, a line now and then."""
    if not sys.stderr:
        yield None
        return
    if not sys.stderr.isatty():
        yield progress_lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(),
               TextColumn("{task.fields[rate]}"), TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console, transient=True) as bar:
        started: dict[str, tuple[float, TaskID]] = {}

        def update(what: str, done: int, total: int) -> None:
            what, _, standing = what.partition(" | ")  # behind the bar: what changes while it runs
            now = time.monotonic()
            if what not in started:
                started[what] = (now, bar.add_task(what, total=total, visible=False, rate=""))
            begin, task = started[what]
            seconds = max(now - begin, 1e-6)
            bar.update(task, description=f"{what}  {standing}".rstrip(), completed=done, total=total,
                       rate=f"{done / seconds:.1f}/s", visible=done < total and seconds > _QUIET_SECONDS)  # fmt: skip

        yield update


def progress_lines(every: float = _LINE_SECONDS) -> Callable[[str, int, int], None]:
    """Return a progress callback for logs: a line on stderr every so many seconds, so that quick work prints none."""
    last = time.monotonic()

    def update(what: str, done: int, total: int) -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= every:
            last = now
            say(f"{what.replace(' | ', '  ')}: {done} of {total}")

    return update


def listed_inputs(data: Sequence[str], files_from: str | None) -> list[str]:
    """Return the inputs of a command line and those that a text file (or stdin, as "-") names, one a line."""
    if files_from is None:
        return list(data)
    from fdetect.errors import ParameterError

    try:
        with click.open_file(files_from, encoding="utf-8", errors="surrogateescape") as file:
            return [*data, *(line for line in file.read().splitlines() if line)]
    except OSError as error:
        reason = f"--files-from {files_from}: {error.strerror}; give a text file with one path a line"
        raise ParameterError(reason) from None


def leave(n_images: int, n_failed: int, strict: bool) -> None:
    """Leave with exit code 3 if an image failed and `strict` is set, with 2 if none is left."""
    if strict and n_failed:
        sys.exit(3)
    if n_images and n_failed == n_images:
        say("every image failed: see the reasons above; is the data, --root or --crop the one that is meant?")
        sys.exit(2)


def counted(n: int, noun: str) -> str:
    """Return a number with its noun: "1 image", "2 images"."""
    return f"{n} {noun}{'s' * (n != 1)}"


def say(text: str) -> None:
    """Print one line on stderr, where everything goes that is not a result."""
    click.echo(f"fdetect: {printable(text)}", err=True)


def show(grid: Grid) -> None:
    """Print one table to stdout as aligned text; a table too wide for the terminal becomes one block a row."""
    click.secho(f"\n{printable(grid.title)}", bold=True)
    if not grid.rows:
        click.echo("  none")
        return
    show_rows(grid.columns, [tuple(map(printable, row)) for row in grid.rows])
    if grid.note:
        click.secho(f"  {printable(grid.note)}", dim=True)


def show_rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned rows, or one block a row where they do not fit the terminal."""
    lines = (columns, *rows) if any(columns) else tuple(rows)  # columns without names have no line of their own
    widths = [max(len(row[k]) for row in lines) for k in range(len(columns))]
    if sum(widths) + 2 * len(widths) <= shutil.get_terminal_size((160, 24)).columns:
        for row in lines:
            click.echo("  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
        return
    label = max(len(name) for name in columns[1:])
    for row in rows:
        click.echo(f"  {row[0]}")
        for name, text in zip(columns[1:], row[1:], strict=True):
            if text:
                click.echo(f"    {name.ljust(label)}  {text}")
