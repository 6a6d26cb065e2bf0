"""A column of text of which each distinct value is kept once, so that rows are compared and counted by numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Coded"]


@dataclass(frozen=True, eq=False)
class Coded:
    """(n,) text as `names[codes]`: `names` (K,) sorted and distinct, `codes` (n,) int64; some names may have no row.

    NumPy functions take it as the array of text that it stands for.
    """

    names: np.ndarray
    codes: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """(n,)."""
        return self.codes.shape

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: np.ndarray | slice) -> Coded:
        """Return some rows, with the same names."""
        return Coded(self.names, self.codes[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.names[self.codes], dtype=dtype)

    def distinct(self) -> int:
        """Count the different values."""
        there = np.zeros(len(self.names), dtype=bool)
        there[self.codes] = True
        return int(there.sum())

    def split(self) -> list[tuple[str, np.ndarray]]:
        """Return each value that has rows, in sorted order, with the places of its rows in increasing order."""
        order = np.argsort(self.codes, kind="stable")
        codes, starts = np.unique(self.codes[order], return_index=True)
        parts = np.split(order, starts[1:])
        return [(str(self.names[code]), part) for code, part in zip(codes, parts, strict=False)]
