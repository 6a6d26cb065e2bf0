"""Detectors of others, as small as can be: a class with a name, a version, a geometry and a score of pictures.

    class Mine:                                       nothing of fdetect is imported
        \"\"\"One line for `fdetect list detectors`.\"\"\"
        name, version, geometry = "mine", "1", "aligned_crop"
        def score(self, images): ...                  list of (H, W, 3) uint8 RGB -> as many floats

    name        letters, digits, _ . -
    version     changed by its author with whatever changes scores: weights, other files, libraries
    geometry    a `Geometry` as text: "aligned_crop" (the run's C, the pixels that other detectors see), "as_is" (what
                the condition shows, of any size), or with a size and filter: "centre_crop:224",
                "resize_crop:256:bilinear"
    in_process  True keeps it in the run's own process, where a network is loaded once; without it, it runs in workers,
                which it may crash or hang at the cost of its score of one image
    fields      of a dataclass are its settings: `mine:sigma=0.02`; text, numbers, true or false

A larger score means more likely generated.  It is found as an entry point of the group `fdetect.detectors`, or in a
file, `FILE.py:Class`, which is run as `python FILE.py` would be; the folder of the file comes last on the path of
imports.  One object of the class is made in each process that scores.  What it prints goes to stderr; the working
folder and sys.argv are put back after it, and sys.exit is an exception like any other.  Rows are kept under the source
files of the class and of what it inherits from, name, version, settings and geometry.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import inspect
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, make_dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from fdetect.backend import asnumpy
from fdetect.errors import DataError, FdetectError, ParameterError, WeightsError
from fdetect.images import Geometry
from fdetect.registry import Entry, source_digest
from fdetect.rigid.base import _On, check_views, detector
from fdetect.rigid.views import View
from fdetect.types import Batch

__all__ = ["PARTS", "Plugged", "PluginSpace", "adopt", "named", "plugged_header"]

PARTS = ("name", "version", "geometry", "score")  # of the smallest detector

_FILE = re.compile(r"(?P<file>.+\.py):(?P<name>[A-Za-z_]\w*)(?P<settings>(?::.*)?)")
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_ONE_GUEST = threading.RLock()  # what a guest may change is the process's: the device lane and the run take turns


@dataclass(frozen=True)
class PluginSpace:
    """The score of somebody's detector: (B, H, W, 3) uint8 -> (B, 4) float32, the 16-bit words of a float64.

    A score is kept as it was given: rounded to float32, those near 1 of a saturated network would be ties.

    where  "module:Class" or "/folder/file.py:Class"; every process finds the class there, and nothing is pickled
    code   digest of the source files of the class that this names, see `_code`
    """

    plugin: str
    where: str
    given: tuple[tuple[str, Any], ...]
    promised: str
    code: str
    in_process: bool = False
    columns: tuple[str, ...] = ("bits0", "bits1", "bits2", "bits3")
    group: ClassVar[None] = None
    cards: ClassVar[tuple[Any, ...]] = ()

    @property
    def kind(self) -> str:
        """The plug-in's name, so that its failures bear it."""
        return self.plugin

    @property
    def version(self) -> str:
        """Its own, and digests of its file and of this one."""
        return f"{self.promised} {self.code} {source_digest(__file__)}"

    @property
    def settings(self) -> Mapping[str, Any]:
        """Its name and settings, never where it lies."""
        return {"plugin": self.plugin, **dict(self.given)}

    def embed(self, batch: Batch, wanted: Sequence[tuple[Any, View]]) -> list[np.ndarray]:
        """Score copies of the pictures; a score that is not finite is a row of NaN.

        Raises DataError unless there are as many numbers as pictures, and where it calls sys.exit.
        """
        images = [image.copy() for image in asnumpy(batch.rgb8)]  # others read the batch too
        try:
            with _as_guest():
                found = np.asarray(_made(self.where, self.code, self.given).score(images))
        except SystemExit as error:
            raise DataError(f"{self.plugin} left ({_one_line(error)})") from None
        if found.shape != (len(images),):
            raise DataError(f"{self.plugin} gave an array of shape {found.shape} for {len(images)} "
                            f"image{'s' * (len(images) != 1)}; score returns one number for each")  # fmt: skip
        scores = found.astype("<f8")
        rows = scores.view("<u2").reshape(-1, len(self.columns)).astype(np.float32)
        rows[~np.isfinite(scores)] = np.nan
        return [rows for _ in wanted]


@dataclass(frozen=True)
class Plugged(_On):
    """A detector of the full contract around a class of the smallest one; `adopt` makes a subclass with its fields."""

    unit: ClassVar[tuple[str, str]] = ("call of the plug-in", "calls of the plug-in")
    plugin: ClassVar[Any] = None
    where: ClassVar[str] = ""

    def space(self, **_: Any) -> PluginSpace:
        """Make the plug-in once, here; raises WeightsError, so that the row is "not run", where that fails."""
        given = tuple((one.name, getattr(self, one.name)) for one in fields(self))
        code = _code(self.plugin)
        try:
            _made(self.where, code, given)
        except FdetectError:
            raise
        except (Exception, SystemExit) as error:
            raise WeightsError(f"{self.plugin.name} cannot be made ({_one_line(error)})", "see what it needs") from None
        return PluginSpace(self.plugin.name, self.where, given, self.plugin.version, code,
                           bool(getattr(self.plugin, "in_process", False)))  # fmt: skip

    def geometry(self, space: Any, crop: int) -> Geometry:
        """What the plug-in says; without a size, the run's C."""
        return _geometry(self.plugin.geometry, crop)

    def views(self) -> dict[str, View]:
        """Return the picture as it is shown."""
        return {"clean": View()}

    def score(self, **vectors: np.ndarray) -> np.ndarray:
        """(N, 4) float32 of `PluginSpace` for `clean` -> (N,) float64, bit by bit what was given; NaN rows are NaN."""
        check_views(self.plugin.name, self.views(), vectors)
        rows = vectors["clean"]
        good = np.isfinite(rows).all(axis=1)
        scores = np.full(len(rows), np.nan)
        scores[good] = np.ascontiguousarray(rows[good]).astype("<u2").view("<f8")[:, 0]
        return scores


def adopt(found: Any, where: str = "") -> Entry | None:
    """Register a class of the smallest contract, once, and return its entry; None for what is no class.

    Raises ParameterError for a class that is no detector, or whose name, version, geometry or settings cannot be used.
    """
    if not inspect.isclass(found):
        return None  # an entry point may name a module, which registers itself
    for entry in detector:
        if found in (entry.target, getattr(entry.target, "plugin", None)):
            return entry
    called = found.__qualname__
    if lacks := [part for part in PARTS if not hasattr(found, part)]:
        raise ParameterError(f"class {called} is no detector: it has no {', no '.join(lacks)} (docs/external.md)")
    theirs: Any = found
    for part in ("name", "version", "geometry"):
        if not (isinstance(text := getattr(found, part), str) and text):
            raise ParameterError(f"class {called}: {part} must be text, got {text!r}")
    if not _NAME.fullmatch(theirs.name):
        raise ParameterError(f"class {called}: name may have letters, digits, _ . and -, got '{theirs.name}'")
    _geometry(theirs.geometry, 64)(np.zeros((64, 64, 3), np.uint8))  # one that does not exist is said here
    settings = [one for one in fields(found) if one.init and one.name not in PARTS] if is_dataclass(found) else []
    for one in settings:
        if one.default is MISSING and one.default_factory is MISSING:
            raise ParameterError(f"class {called}: the setting '{one.name}' needs a default")
        default = one.default if one.default_factory is MISSING else one.default_factory()
        if not isinstance(default, str | int | float):
            raise ParameterError(f"class {called}: the default of the setting '{one.name}' must be text, a number, "
                                 f"True or False, got {default!r}; what nobody sets is field(init=False)")  # fmt: skip
        if hasattr(Plugged, one.name):
            raise ParameterError(f"class {called}: a setting cannot be called '{one.name}'; rename it")
    made = [(one.name, one.type, field(default=one.default) if one.default_factory is MISSING
             else field(default_factory=one.default_factory)) for one in settings]  # fmt: skip
    about = {"__doc__": inspect.getdoc(found) or f"{theirs.name}, a plug-in that says nothing of itself.",
             "plugin": found, "where": where or f"{theirs.__module__}:{called}"}  # fmt: skip
    target: Any = make_dataclass(called, made, bases=(Plugged,), frozen=True, namespace=about)
    target.__module__ = theirs.__module__  # the source of the entry is the plug-in's
    detector(name=theirs.name)(target)
    return detector.get(theirs.name)


def named(text: str) -> Entry:
    """Return the detector that a text names: `Registry.read`'s, or that of a file, `FILE.py:Class[:setting=value]`.

    Raises what these raise, and ParameterError where the file or the class is absent or the file cannot be run.
    """
    if not (found := _FILE.fullmatch(text)):
        if text.partition(":")[0].endswith(".py"):
            raise ParameterError(f"detector '{text}': one in a file is named FILE.py:Class, with :setting=value behind")
        return detector.read(text)
    where = f"{Path(found['file']).absolute()}:{found['name']}"
    entry = adopt(_class(where), where)
    if entry is None:
        raise ParameterError(f"{found['file']}: {found['name']} is no class")
    return detector.read(f"{entry.name}{found['settings']}")


def plugged_header(prepared: Iterable[Any]) -> dict[str, Any]:
    """Return what a result says of the plug-ins among detectors with `name`, `instance` and `tasks`.

    Each has its version and digests of its file and of this one; nothing is returned where there are none.
    """
    found = {one.name: one.tasks[0].version for one in prepared if isinstance(one.instance, Plugged)}
    return {"plugged": found} if found else {}


def _geometry(text: str, crop: int) -> Geometry:
    name, _, rest = text.partition(":")
    size, _, resampling = rest.partition(":")
    if size and not (size.isdecimal() and int(size)):
        raise ParameterError(f"geometry '{text}': write it as name:size or name:size:filter, the size in px")
    return Geometry(name, 0 if name == "as_is" else int(size or crop), resampling)


@functools.lru_cache(maxsize=16)
def _made(where: str, code: str, given: tuple[tuple[str, Any], ...]) -> Any:
    """Return the one object of a plug-in in this process."""
    plugin = _class(where)
    if _code(plugin) != code:
        raise WeightsError(f"{where} changed during the run", "start again")
    with _as_guest():
        return plugin(**dict(given))


def _code(plugin: type) -> str:
    """Digest of the source files of a class and of all it inherits from, but for those of the standard library."""
    files: dict[str, None] = {}
    for one in plugin.__mro__:
        if one.__module__.partition(".")[0] not in sys.stdlib_module_names:
            with contextlib.suppress(TypeError, OSError):  # compiled
                files[inspect.getsourcefile(one) or ""] = None
    return source_digest(*files)


@contextlib.contextmanager
def _as_guest() -> Iterator[None]:
    """Let code of others run: prints go to stderr, and the working folder and sys.argv are what they were after it."""
    with _ONE_GUEST:
        argv = list(sys.argv)
        try:
            with contextlib.chdir("."), contextlib.redirect_stdout(sys.stderr):
                yield
        finally:
            sys.argv = argv


def _class(where: str) -> Any:
    place, _, name = where.rpartition(":")
    with _as_guest():
        module = _module(place) if place.endswith(".py") else importlib.import_module(place)
    try:
        return functools.reduce(getattr, name.split("."), module)
    except AttributeError:
        raise ParameterError(f"{place}: has no class '{name}'") from None


@functools.cache
def _module(file: str) -> Any:
    """Run a file as a module of its own name, with its folder last on the path of imports."""
    if not Path(file).is_file():
        raise ParameterError(f"{file}: no such file; a detector in a file is named FILE.py:Class")
    folder, name = str(Path(file).parent), f"fdetect_plugin_{Path(file).stem}_{source_digest(file)}"
    if folder not in sys.path:
        sys.path.append(folder)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ParameterError(f"{file}: cannot be run ({_one_line(error)})") from None
    return module


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


detector.adopt = adopt
