"""Programs of others: their commands, one run on a list of pictures, and the table that it wrote."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PureWindowsPath

from fdetect.bench.scores.files import column, need, numbers, read_table
from fdetect.errors import DataError, ParameterError

__all__ = ["Program", "programs_of", "run_once", "scores_in"]

_COLUMNS = ("path", "label", "generator", "gen_year")  # of the list; all but the first are empty


@dataclass(frozen=True)
class Program:
    """A command, and the name of its detector."""

    name: str
    words: tuple[str, ...]

    @cached_property
    def identity(self) -> str:
        """The command, without folders, and the content of files in it: what can be told from outside.

        Files are words, and what stands behind the = of a word; the program is one where it is given by its path.
        """
        plain, files = list[str](), list[str]()
        for k, word in enumerate(self.words):
            option, equals, value = word.partition("=")
            if k and value and not os.path.isfile(word) and os.path.isfile(value):
                plain.append(f"{option}{equals}{Path(value).name}")
                files.append(value)
            elif os.path.isfile(word) and (k or Path(word).name != word):  # a bare program is found on PATH
                plain.append(Path(word).name)
                files.append(word)
            else:
                plain.append(word if k else Path(word).name)
        return " ".join([f"{self.name}={shlex.join(plain)}", *map(_digest, files)])

    @cached_property
    def place(self) -> str:
        """The folder of the program, and the one that links lead to: another environment is another program."""
        found = Path(shutil.which(self.words[0]) or self.words[0]).absolute()
        return f"{found.parent} {found.resolve().parent}"


def programs_of(given: Sequence[str]) -> tuple[Program, ...]:
    """Read NAME=COMMAND; raises ParameterError for another form, a name given twice and a program that is absent."""
    found: dict[str, Program] = {}
    for text in given:
        name, _, command = text.partition("=")
        try:
            words = tuple(shlex.split(command))
        except ValueError as error:
            raise ParameterError(f"--external {text}: the command cannot be read ({error})") from None
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name) or not words:
            raise ParameterError(f"--external {text}: write NAME=COMMAND, the name of letters, digits, _ . and -")
        if name in found:
            raise ParameterError(f"--external names two programs '{name}'; rename one")
        if not shutil.which(words[0]):
            raise ParameterError(f"--external {name}: there is no program '{words[0]}' to run; give its path")
        found[name] = Program(name, words)
    return tuple(found.values())


def run_once(
    program: Program, pictures: Sequence[Path], out: Path, log: Path, *, device: str, time_limit: float
) -> None:
    """Run a program on pictures; it writes its table to `out`, and whatever it says goes to `log`.

    time_limit  seconds for all of it; then it is ended

    What it started and is still there in the end is ended with it, but for what left its process group (setsid).

    Raises DataError with its last words where it cannot be started, fails, takes longer, or writes no table.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="list-") as folder, log.open("wb") as said:
        manifest = Path(folder) / "images.csv"
        with manifest.open("w", encoding="utf-8", newline="") as stream:
            rows = ([str(picture.absolute()), *[""] * (len(_COLUMNS) - 1)] for picture in pictures)
            csv.writer(stream).writerows([_COLUMNS, *rows])
        words = [*program.words, "--manifest", str(manifest), "--out", str(out.absolute()), "--device", device]
        try:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
                                       start_new_session=True)  # fmt: skip
        except OSError as error:
            raise DataError(f"{program.words[0]} cannot be started ({error.strerror or error})") from None
        try:
            code = process.wait(time_limit)
        except subprocess.TimeoutExpired:
            raise DataError(f"it took longer than {time_limit:.0f} s{_last_words(log)}") from None
        finally:
            _end(process)  # also what it left behind
    if code:
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed with exit code {code}"
        raise DataError(f"it {how}{_last_words(log)}")
    if not out.is_file():
        raise DataError(f"it ended without writing the table of --out{_last_words(log)}")


def scores_in(file: Path, asked: Collection[str]) -> dict[str, float]:
    """Read the scores that a program wrote, by the names of its pictures without their endings.

    Raises DataError for a table that cannot be read, a picture that was not asked for, and one with two rows.
    """
    table = read_table(file)
    need(file, table, "path", "score")
    found: dict[str, float] = {}
    for path, score in zip(column(table, "path", ""), numbers(file, table, "score"), strict=True):
        name = PureWindowsPath(str(path)).stem  # of paths of either kind
        if name not in asked:
            raise DataError(f"{file}: scores {path}, which was not in the list that it got; keep the names of files")
        if name in found:
            raise DataError(f"{file}: has two rows for {path}; keep one")
        found[name] = score
    return found


def _digest(file: str) -> str:
    with Path(file).open("rb") as stream:  # it may be a checkpoint of gigabytes
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def _last_words(log: Path) -> str:
    """Return the last line that it wrote, if it wrote any."""
    with log.open("rb") as stream:
        stream.seek(max(log.stat().st_size - 4096, 0))
        lines = stream.read().decode("utf-8", "replace").split("\n")
    said = next((" ".join(line.split()) for line in reversed(lines) if line.strip()), "")
    return f"; its last words: {said[:300]}" if said else " and said nothing"
