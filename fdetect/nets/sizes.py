"""What configurations of our own networks have in common: checks of their settings.  No torch here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fdetect.errors import ParameterError
from fdetect.registry import Registry, nearest

__all__ = ["Sizes", "stated", "written"]


class Sizes:
    """A configuration that checks its settings and names them; a frozen dataclass inherits from it."""

    @property
    def architecture(self) -> str:
        """The name in the registry."""
        raise NotImplementedError

    def _check_whole(self, name: str, least: int, most: int) -> None:
        value = getattr(self, name)
        if type(value) is not int or not least <= value <= most:  # True is an int, and json has it
            wanted = f"a whole number from {least} to {most}"
            raise ParameterError(f"{self.architecture}: {name} must be {wanted}, got {value!r}")

    def _check_number(self, name: str, *, above_zero: bool = False) -> None:
        value = getattr(self, name)
        fits = type(value) in (int, float) and math.isfinite(value) and (value > 0 if above_zero else value >= 0)
        if not fits:
            wanted = "a number above 0" if above_zero else "a number of at least 0"
            raise ParameterError(f"{self.architecture}: {name} must be {wanted}, got {value!r}")


def written(registry: Registry, config: Sizes, class_name: str) -> dict[str, Any]:
    """Return what config.json holds of a configuration: `stated` reads it back."""
    entry = registry.of(type(config))
    settings = {name: getattr(config, name) for name in entry.settings}
    return {"_class_name": class_name, "architecture": entry.name, **settings}


def stated(registry: Registry, content: Mapping[str, Any]) -> Any:
    """Return the configuration that config.json's content states: every setting of its architecture, and nothing else.

    Raises ParameterError (UnknownName for an architecture that the registry does not have) otherwise.
    """
    given = {name: value for name, value in content.items() if not name.startswith("_")}
    entry = registry.get(str(given.pop("architecture", "")))
    if missing := sorted(set(entry.settings) - set(given)):
        raise ParameterError(f"{registry.kind} '{entry.name}' lacks {', '.join(missing)}")
    if unknown := sorted(set(given) - set(entry.settings)):
        hint = nearest(unknown[0], entry.settings)
        raise ParameterError(f"{registry.kind} '{entry.name}' has no setting '{unknown[0]}'{hint}")
    return entry(**given)
