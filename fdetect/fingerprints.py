"""What names a run or a result: a digest of all that it depends on, the same on every machine."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from typing import Any

__all__ = ["fingerprint"]

_ROWS = 1 << 16  # of a table, written at a time


def fingerprint(*parts: Any) -> str:
    """Return 16 hex digits of dataclasses, JSON values and Arrow tables; a table counts as its `to_pydict()`."""
    digest = hashlib.blake2b(b"[", digest_size=8)
    for k, part in enumerate(parts):
        digest.update(b"," * bool(k))
        for text in _of_table(part) if hasattr(part, "to_pydict") else [_json(part)]:
            digest.update(text.encode())
    digest.update(b"]")
    return digest.hexdigest()


def _of_table(table: Any) -> Iterator[str]:
    """Yield the JSON of a table, some rows at a time: that of millions would take gigabytes."""
    for k, name in enumerate(sorted(table.column_names)):
        yield f"{',' if k else '{'}{_json(name)}:["
        for start in range(0, len(table), _ROWS):
            yield "," * bool(start) + _json(table.column(name).slice(start, _ROWS).to_pylist())[1:-1]
        yield "]"
    yield "}"


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=_plain, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"no canonical JSON for {type(value).__name__}")
