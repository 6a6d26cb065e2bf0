"""A registered feature as an engine task: what `extract` and `bench` hand to `engine.run`."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fdetect.features.base import code_of, column_names, compute, feature
from fdetect.images import Geometry
from fdetect.registry import Entry
from fdetect.types import Batch, Facts

__all__ = ["FeatureTask", "feature_task", "feature_tasks"]


@dataclass(frozen=True)
class FeatureTask:
    """One feature of the registry, by name: it travels to worker processes as a few words."""

    name: str
    geometry: Geometry
    in_process: bool = False

    @property
    def entry(self) -> Entry:
        """The registered feature."""
        return feature.get(self.name)

    @property
    def version(self) -> str:
        """Digest of the source of the feature and of every map it reads."""
        return code_of(self.entry)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The keyword-only settings it runs with."""
        return self.entry.settings

    @property
    def columns(self) -> tuple[str, ...]:
        """Names `feature:column`, known before any data."""
        return column_names(self.entry)

    def __call__(self, batch: Batch) -> np.ndarray:
        """(B, H, W, 3) images -> (B, D) float32."""
        return compute(self.entry, batch)

    def prepare(self) -> None:
        """Compile the kernels of the feature, or load them, by computing it once on noise."""
        _prepare(self.name)


@functools.cache
def _prepare(name: str) -> None:
    with contextlib.suppress(Exception):  # what does not suit a feature here will be said of the images themselves
        compute(feature.get(name), _noise())


@functools.cache
def _noise() -> Batch:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    return Batch(("0" * 32,), pixels, (Facts("RAW", 64, 64, 0),))


def feature_tasks(entries: tuple[Entry, ...], *, crop: int) -> tuple[FeatureTask, ...]:
    """Return one task per feature, on the exact size C of the run: natively a centre crop, else as it comes."""
    return tuple(FeatureTask(entry.name, Geometry("aligned_crop", crop)) for entry in entries)


def feature_task(name: str, *, crop: int) -> FeatureTask:
    """Return the task of one feature by name; raises UnknownName."""
    return feature_tasks((feature.get(name),), crop=crop)[0]
