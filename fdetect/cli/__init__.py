"""The command line: one short function a command; parse, make a configuration, call once, print.

Results go to stdout, progress and logs to stderr.  Exit codes: 0 done, 1 a gate failed, 2 bad usage or
configuration, 3 data failures under --strict.  Nothing heavy is imported to show --help.
"""

from __future__ import annotations

import signal
import sys
import warnings

import rich_click as click

from fdetect import __version__
from fdetect.cli.attack import attack
from fdetect.cli.benchmark import bench
from fdetect.cli.common import say
from fdetect.cli.data import data
from fdetect.cli.explain import explain
from fdetect.cli.gate import compare
from fdetect.cli.info import doctor, list_
from fdetect.cli.inspecting import inspect
from fdetect.cli.judging import audit, evaluate
from fdetect.cli.perturb import perturb
from fdetect.cli.report import report
from fdetect.cli.reproduce import reproduce
from fdetect.cli.single import extract, fit, score
from fdetect.cli.weights import weights
from fdetect.errors import FdetectError

__all__ = ["cli", "main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="fdetect")
def cli() -> None:
    """Forensic detectors of AI-generated images, judged on one cross-generator benchmark.

    `fdetect bench` alone runs a small built-in benchmark offline and shows what a run looks like.
    A larger score means more likely generated, for every detector. Label 0 = real, 1 = fake.
    """


for command in (bench, extract, fit, score, inspect, explain, attack, evaluate, compare, audit, data, perturb, report,
                reproduce, weights, list_, doctor):  # fmt: skip
    cli.add_command(command)


class _Stopped(BaseException):  # not KeyboardInterrupt, which click would answer with a bare "Aborted!"
    pass


def main() -> None:
    """Run the command line; an error of ours is one sentence on stderr and exit code 2."""
    warnings.filterwarnings("ignore", module=r"PIL\.")  # odd EXIF and large images: decode decides, not a warning
    for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C, and what schedulers send before they kill
        signal.signal(number, _stop)
    try:
        try:
            cli(standalone_mode=True)
        finally:
            if sys.stdout:  # None where it was closed
                sys.stdout.flush()  # what is still buffered may not fit on the disk either
    except FdetectError as error:
        say(str(error))
        sys.exit(2)
    except OSError as error:
        sys.stdout = None  # or Python would try to flush it once more and complain
        where = f"{error.filename}: " if error.filename else "the output cannot be written: "
        say(f"{where}{error.strerror or error}")
        sys.exit(2)
    except _Stopped as stopped:
        say("stopped; what was finished is kept, the same command resumes")
        sys.exit(128 + stopped.args[0])


def _stop(number: int, frame: object) -> None:
    raise _Stopped(number)
