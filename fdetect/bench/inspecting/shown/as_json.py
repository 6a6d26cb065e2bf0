"""An inspection as plain values for scripts: an image of the document that `schema.json` beside this file describes.

Every dataclass is a mapping of its fields, in their order; NaN and infinity are null.  No pixel and no byte of the file
is in it: arrays and bytes are told by their size, save the boxes and scores of tiles, which are lists.  Nor are the
values of EXIF tags, which can name people and cameras: `exif_tags` is how many there are.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fdetect.bench.inspecting.inspection import Inspection, Standing, TileScores
from fdetect.images import Decoded
from fdetect.types import Facts

__all__ = ["SCHEMA", "as_json", "schema"]

SCHEMA = 1  # of `schema.json`: a field that goes, or changes its meaning, makes it 2

_FILE = Path(__file__).with_name("schema.json")
_LISTED = {"boxes", "scores", "high"}  # of TileScores


def as_json(inspection: Inspection) -> dict[str, Any]:
    """Return an inspection as values that `json.dumps(..., allow_nan=False)` takes, with keys in a fixed order.

    A document is {"schema": SCHEMA, "images": [...]} of these.

    Half of a surrogate pair, as in a file name that is no UTF-8, is written as its escape.  Raises TypeError for a
    value that is no dataclass, mapping, sequence, number, text, array or bytes.
    """
    return _fields(inspection)


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a document, whose images `as_json` makes."""
    made: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return made


def _plain(value: Any) -> Any:
    if isinstance(value, Standing):
        return {"value": _plain(value.value), "n": value.n, "high": _plain(value.high), "low": _plain(value.low)}
    if isinstance(value, Decoded):
        return _plain(value.pixels)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _fields(value)
    if isinstance(value, Mapping):
        return {_text(str(key)): _plain(of) for key, of in value.items()}
    if isinstance(value, np.ndarray):
        return {"shape": list(value.shape), "dtype": str(value.dtype)}
    if isinstance(value, bytes | bytearray | memoryview):
        return {"bytes": len(value)}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str | Path):
        return _text(str(value))
    raise TypeError(f"an inspection holds a {type(value).__name__}, which has no form in JSON")


def _fields(value: Any) -> dict[str, Any]:
    lists = _LISTED if isinstance(value, TileScores) else set()
    fields = [(one.name, getattr(value, one.name)) for one in dataclasses.fields(value)]
    if isinstance(value, Facts):
        fields = [(f"{name}_tags", len(of)) if name == "exif" else (name, of) for name, of in fields]
    return {name: _plain(of.tolist() if name in lists else of) for name, of in fields}


def _text(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
