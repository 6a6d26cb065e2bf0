"""Registries: the signature of a function says what it reads and which settings it has.

Positional parameters are data (map names, view names); keyword-only parameters are settings; the first line of
the docstring is the entry's line in `fdetect list`.  Nothing is declared a second time, so nothing can drift.
"""

from __future__ import annotations

import difflib
import fnmatch
import functools
import hashlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar, overload

from fdetect.errors import ParameterError, UnknownName

__all__ = ["Entry", "Registry", "nearest", "source_digest"]

T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """One registered function or frozen dataclass; calling it calls the target with the entry's settings."""

    kind: str
    name: str
    target: Callable[..., Any]
    reads: tuple[str, ...]
    settings: Mapping[str, Any]
    meta: Mapping[str, Any] = field(default_factory=dict)  # what the decorator was given: columns, range, ...

    def __call__(self, *data: Any, **settings: Any) -> Any:
        """Call the target with this entry's settings, each replaceable."""
        return self.target(*data, **{**self.settings, **settings})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # copy and pickle ask for some before there are any fields
            raise AttributeError(name)
        if name not in self.meta:
            raise AttributeError(f"{self.kind} '{self.name}' has no attribute '{name}'")
        return self.meta[name]

    @property
    def doc(self) -> str:
        """The whole docstring."""
        return inspect.getdoc(self.target) or ""

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return self.doc.split("\n", 1)[0]

    @property
    def code(self) -> str:
        """Eight hex digits of the source file that defines the target: a changed file is a changed entry."""
        return source_digest(inspect.getsourcefile(self.target) or "")

    def configured(self, **settings: Any) -> Entry:
        """Return the same entry under the same name with other settings; raises ParameterError on an unknown one."""
        for name in settings:
            if name not in self.settings:
                raise ParameterError(f"{self.kind} '{self.name}' has no setting '{name}'{nearest(name, self.settings)}")
        return replace(self, settings={**self.settings, **settings})


class Registry:
    """Named entries of one kind, in order of registration, with third-party entries from entry points.

    A registry is also the decorator that fills it: after `feature = Registry("feature", "columns")` one writes
    `@feature(columns=("slope", "offset"))` above a function, and `feature.get("radial_slope")` to find it.
    """

    def __init__(self, kind: str, *required: str, group: str = "") -> None:
        self.kind = kind
        self.required = required
        self.group = group or f"fdetect.{kind.replace(' ', '_')}s"
        self.broken: dict[str, str] = {}  # plug-ins that could not be loaded, and why
        self.adopt: Callable[[Any], object] | None = None  # makes an entry of what an entry point names, if it is none
        self._entries: dict[str, Entry] = {}
        self._plugins_loaded = False

    @overload
    def __call__(self, target: T, /) -> T: ...
    @overload
    def __call__(self, /, **meta: Any) -> Callable[[T], T]: ...
    def __call__(self, target: Any = None, /, **meta: Any) -> Any:
        """Register a function or a frozen dataclass and return it; `meta` holds what this registry requires."""
        if missing := [name for name in self.required if name not in meta]:
            raise ParameterError(f"@{self.kind} needs {', '.join(missing)}")

        def decorate(target: T) -> T:
            assert callable(target)
            self._add(_entry(self.kind, target, meta))
            return target

        return decorate if target is None else decorate(target)

    def variant(self, base: Callable[..., Any], name: str, *, reads: tuple[str, ...] = (), **settings: Any) -> Entry:
        """Register other settings of a registered thing, or other maps to read, under a name of its own."""
        entry = replace(self.of(base).configured(**settings), name=name)
        if reads and len(reads) != len(entry.reads):
            raise ParameterError(f"{self.kind} '{name}' must read {len(entry.reads)} names, got {len(reads)}")
        return self._add(replace(entry, reads=reads or entry.reads))

    def of(self, target: Callable[..., Any]) -> Entry:
        """Return the first entry made from this function or class."""
        for entry in self._entries.values():
            if entry.target is target:
                return entry
        raise UnknownName(f"{target!r} is not a registered {self.kind}")

    def get(self, name: str) -> Entry:
        """Return an entry by name; raises UnknownName with the nearest known name."""
        if name not in self._entries:
            self._load_plugins()
        if name not in self._entries:
            why = f" ({self.broken[name]})" if name in self.broken else ""
            hint = nearest(name, self._entries)
            raise UnknownName(f"no {self.kind} '{name}'{why}{hint} (fdetect list {self.kind.replace(' ', '-')}s)")
        return self._entries[name]

    def read(self, text: str) -> Entry:
        """Return the entry that a text names, with the settings that stand behind it: `rigid:sigma=0.02:n_draws=4`.

        The entry bears the whole text as its name.  Raises UnknownName and ParameterError as `get` and `configured`
        do, and ParameterError for a value that is not of the setting's type.
        """
        name, *pairs = text.split(":")
        entry, given = self.get(name), dict[str, Any]()
        for pair in pairs:
            setting, equals, value = pair.partition("=")
            if not equals:
                raise ParameterError(f"{self.kind} '{text}': write settings as {name}:setting=value")
            entry.configured(**{setting: value})  # a setting that does not exist is said first
            given[setting] = _of_type(value, type(entry.settings[setting]), f"{self.kind} '{text}': {setting}")
        return replace(entry.configured(**given), name=text) if pairs else entry

    def select(self, *patterns: str) -> tuple[Entry, ...]:
        """Return the entries whose names match any of the shell patterns, in registration order, each once."""
        names: set[str] = set()
        for pattern in patterns:
            found = fnmatch.filter(self.names(), pattern)
            names.update(found or [self.get(pattern).name])
        return tuple(entry for entry in self if entry.name in names)

    def names(self) -> tuple[str, ...]:
        """All names, plug-ins included."""
        self._load_plugins()
        return tuple(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        self._load_plugins()
        return iter(tuple(self._entries.values()))

    def __len__(self) -> int:
        return len(self.names())

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def _add(self, entry: Entry) -> Entry:
        if entry.name in self._entries:
            raise ParameterError(f"{self.kind} '{entry.name}' is registered twice")
        self._entries[entry.name] = entry
        return entry

    def _load_plugins(self) -> None:
        if self._plugins_loaded:
            return
        self._plugins_loaded = True
        for point in entry_points(group=self.group):
            try:
                found = point.load()  # the module registers itself with the decorator, as ours do
                if self.adopt:
                    self.adopt(found)
            except (Exception, SystemExit) as error:  # a broken plug-in must not take the suite down; `list` shows it
                self.broken[point.name] = f"plug-in {point.value} failed: {' '.join(str(error).split())}"


@functools.cache
def source_digest(*files: str) -> str:
    """Return eight hex digits of the text of source files: part of cache keys, so old code's rows stay unused."""
    digest = hashlib.blake2b(digest_size=4)
    for file in files:
        digest.update(Path(file).read_bytes() if file else b"")
    return digest.hexdigest()


def nearest(name: str, known: Any) -> str:
    """Return "; did you mean 'x'?" for the nearest known name, or an empty string."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{match[0]}'?" if match else ""


def _of_type(text: str, kind: type, where: str) -> Any:
    """Read a value of a setting from text."""
    if kind is bool and text in ("true", "false"):
        return text == "true"
    if kind is str:
        return text
    try:
        if kind in (int, float):
            return kind(text)
    except ValueError:
        pass
    raise ParameterError(f"{where} takes {'true or false' if kind is bool else f'a value of type {kind.__name__}'}, "
                         f"got '{text}'")


def _entry(kind: str, target: Callable[..., Any], meta: Mapping[str, Any]) -> Entry:
    given = dict(meta)
    name = given.pop("name", None) or _snake_case(target.__name__)
    if inspect.isclass(target):
        if not (is_dataclass(target) and target.__dataclass_params__.frozen):  # type: ignore[attr-defined]
            raise ParameterError(f"{kind} '{name}' must be a function or a frozen dataclass")
        reads: tuple[str, ...] = ()
        made = {f.name: f.default if f.default_factory is MISSING else f.default_factory() for f in fields(target)}
        settings = {f.name: made[f.name] for f in fields(target) if f.init}
    else:
        parameters = inspect.signature(target).parameters.values()
        reads = tuple(p.name for p in parameters if p.kind is not p.KEYWORD_ONLY)
        settings = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    for setting, default in settings.items():
        if default is MISSING or default is inspect.Parameter.empty:
            raise ParameterError(f"{kind} '{name}': the setting '{setting}' needs a default")
    return Entry(kind, name, target, reads, settings, given)


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
