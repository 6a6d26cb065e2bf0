"""What `fdetect inspect` found of one image, as values: the terminal, the JSON and the page all show this.

    Inspection
      verdict      the answer, and why it is no stronger
      views        the score of the picture as stored, at other crops, compressed, made smaller
      tiles        the score of every tile
      evidence     single traces, each held against photographs
      history      what the pixels say of earlier JPEG compression
      metadata     what the file claims of itself;  credentials  its C2PA manifest;  thumbnails  previews within it

The last four are provenance: they never enter the verdict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fdetect.images import Decoded
from fdetect.types import Facts, Failure

if TYPE_CHECKING:
    from fdetect.bench.inspecting.jpeg_history import JpegHistory
    from fdetect.metadata import Metadata
    from fdetect.metadata.credentials import Credentials
    from fdetect.metadata.thumbnails import Thumbnail

__all__ = ["GENERATED", "INCONCLUSIVE", "NO_VERDICT", "REAL", "VERDICTS", "Evidence", "Inspection", "Standing",
           "TileScores", "Verdict", "View"]  # fmt: skip

REAL, GENERATED, INCONCLUSIVE = "likely real", "likely generated", "inconclusive"
NO_VERDICT = "no verdict"  # it could not be judged: nothing is known of it, not even that it is inconclusive
VERDICTS = (REAL, INCONCLUSIVE, GENERATED, NO_VERDICT)


@dataclass(frozen=True, eq=False)
class Standing:
    """A value among those of n reference photographs, `among` (n,) float64 ascending.

    high  share that is at least as high, (1 + #{r >= v}) / (n + 1);  low  share that is at least as low, alike
    """

    value: float
    among: np.ndarray

    @property
    def n(self) -> int:
        """Number of reference photographs."""
        return len(self.among)

    @property
    def high(self) -> float:
        """Conformal p-value of "so high a value comes from such photographs"; NaN without a value."""
        return self._share(int(self.n - np.searchsorted(self.among, self.value, side="left")))

    @property
    def low(self) -> float:
        """Conformal p-value of "so low a value comes from such photographs"; NaN without a value."""
        return self._share(int(np.searchsorted(self.among, self.value, side="right")))

    def _share(self, n: int) -> float:
        return (1 + n) / (self.n + 1) if self.n and math.isfinite(self.value) else math.nan


@dataclass(frozen=True, eq=False)
class View:
    """The score of the picture shown in one way; NaN with a reason where it has none.

    name      a short name: "as stored", "crop 1", "JPEG 70", "half size"
    text      what was done, in a few words
    standing  the score among those of reference photographs that were shown alike
    """

    name: str
    text: str
    condition: str
    standing: Standing
    reason: str = ""


@dataclass(frozen=True, eq=False)
class TileScores:
    """Scores of all tiles: `boxes` (T, 4) int64 top, left, bottom, right; `scores` (T,) float64, NaN where none.

    high      (T,) float64, of each the share of reference crops that score at least as high
    sentence  how many stand out, and how many would of a photograph
    """

    height: int
    width: int
    boxes: np.ndarray
    scores: np.ndarray
    high: np.ndarray
    sentence: str
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Evidence:
    """One trace, held against reference photographs.

    name      its key in the JSON;  title  its heading
    standing  None where it was not run, or where no reference is at hand
    sentence  what the value says, and what else would raise it
    weight    what it is worth alone: its macro AUROC over unseen generators, NaN where it was not measured
    reason    why it was not run, and what to do; "" where it was
    picture   key of what draws it; "" for none
    """

    name: str
    title: str
    value: float = math.nan
    standing: Standing | None = None
    sentence: str = ""
    weight: float = math.nan
    reason: str = ""
    picture: str = ""


@dataclass(frozen=True)
class Verdict:
    """The answer: a word of VERDICTS, and sentences that say what it rests on.

    because      why it is this one, the weightiest first
    meaning      the p-value in plain words, with the photographs that it is of
    not_meant    what it does not mean
    score        of the detector, NaN where the image has none
    p_real       share of reference photographs that stand out as much in their weakest view, the one in which they
                 stand out least; not of those that are as high in every view.  NaN where unknown
    p_generated  share of images of the reference generators that stand out as little in their strongest view, the one
                 in which they stand out most; NaN where unknown
    generated_as_high  what p_real is to be compared with: the share of images of the reference generators that stand
                 out as much in their weakest view; NaN where unknown
    real_as_low  what p_generated is to be compared with: the share of reference photographs that stand out as little
                 in their strongest view; NaN where unknown
    """

    word: str
    because: tuple[str, ...]
    meaning: str
    not_meant: tuple[str, ...]
    score: float
    p_real: float
    p_generated: float
    generated_as_high: float = math.nan
    real_as_low: float = math.nan


@dataclass(frozen=True, eq=False)
class Inspection:
    """All that was found of one image; see the top of this module.

    failure  why the image could not be scored, or not even read; what could be found is there nevertheless
    pixels   as stored, (H, W, 3) uint8, for whoever draws; None where it could not be decoded
    crop     the one whose traces are the evidence; None where there is none
    about    detector, digest, calibration, versions: name -> text
    """

    path: str
    id: str
    facts: Facts | None
    verdict: Verdict
    views: tuple[View, ...] = ()
    tiles: TileScores | None = None
    evidence: tuple[Evidence, ...] = ()
    history: JpegHistory | None = None
    metadata: Metadata | None = None
    credentials: Credentials | None = None
    thumbnails: tuple[Thumbnail, ...] = ()
    failure: Failure | None = None
    notices: tuple[str, ...] = ()
    about: Mapping[str, str] = field(default_factory=dict)
    pixels: np.ndarray | None = None
    crop: Decoded | None = None
