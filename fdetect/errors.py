"""Every error that fdetect raises on purpose: one sentence that names the file or the option, and the fix."""

from __future__ import annotations

__all__ = [
    "BackendError",
    "DataError",
    "FdetectError",
    "ImageTooLarge",
    "NotFitted",
    "ParameterError",
    "UnknownName",
    "WeightsAbsent",
    "WeightsError",
]


class FdetectError(Exception):
    """Root of all fdetect errors; the command line prints its text and exits with 2."""


class ParameterError(FdetectError, ValueError):
    """A setting, option or configuration value that cannot be used."""


class UnknownName(ParameterError):  # noqa: N818 (the name reads as the sentence it prints)
    """A name that no registry knows; the text suggests the nearest one."""


class DataError(FdetectError):
    """An input file or table that cannot be used; inside a run it becomes a `Failure`."""


class BackendError(FdetectError):
    """A backend that was asked for by name and cannot run here; the text says why."""


class ImageTooLarge(BackendError):  # noqa: N818
    """A single image for which a device has too little memory; inside a run it becomes a `Failure`."""


class WeightsError(FdetectError):
    """Weights that are absent or do not fit; the row becomes "not run" with `reason` and `fix`."""

    def __init__(self, reason: str, fix: str = "") -> None:
        super().__init__(f"{reason}; {fix}" if fix else reason)
        self.reason, self.fix = reason, fix


class WeightsAbsent(WeightsError):  # noqa: N818
    """Weights of which nothing is here, in contrast to some that are damaged."""


class NotFitted(FdetectError):  # noqa: N818
    """A head was asked for scores before it was fitted."""
