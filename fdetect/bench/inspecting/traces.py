"""Which traces are looked for, and what each is worth in one number: a statistic of one crop.

Every trace says beforehand on which side generated images are expected, and who expects it; no figure turned a side.
What is measured is the crop under the condition of the detector (`matched`, draw 0), as the pictures show it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from fdetect.bench.running import uploading, values_of
from fdetect.classifiers.calibrated import judge
from fdetect.classifiers.fused_head import FusedHead
from fdetect.features import column_names, compute, feature
from fdetect.forensics.base import signal
from fdetect.images import Decoded
from fdetect.rigid import ViewTask
from fdetect.types import Batch

__all__ = ["BRANCH", "FREE", "PEAKS", "TRACES", "Look", "Trace", "band", "branch_trace",
           "peaks_in_words", "peaks_out", "place_of", "radial_distance"]  # fmt: skip

BRANCH = "branch:"  # before the name of a branch of a fused detector
FREE = {  # by trace, the registered detector that makes it; what is behind a colon are its settings
    "feature_drift": "feature_drift",
    "rigid": "rigid",
    "reconstruction": "aeroblade:autoencoder=own-nearest8:distance=mse",
    "aeroblade": "aeroblade",
}
PEAKS = "upsampling_peaks"  # the feature whose columns are the peaks

_NAMED = 4  # peaks that are spelt out
_NORMAL_WIDTH = 3.29  # between the 5 % and the 95 % quantile of a normal distribution, in deviations
_LEAST_WIDTH = 1e-3  # of a band: in ln of power, far below what one photograph differs from another


@dataclass(frozen=True, eq=False)
class Look:
    """One crop, (C, C, 3) uint8, with the id of its picture, and what to look at it with; maps are computed once.

    head      of the detector;  seed  of what is drawn;  free  by trace, a training-free detector and its tasks
    columns   (D,) float32, as the head of the detector reads them, NaN where a branch is absent; None: not given
    profiles  (n, R) float32 radial profiles of reference photographs; None: there are none
    """

    crop: Decoded
    id: str
    head: Any
    seed: int
    backend: str
    free: Mapping[str, tuple[Any, tuple[ViewTask, ...]]]
    columns: np.ndarray | None = None
    profiles: np.ndarray | None = None

    @cached_property
    def batch(self) -> Batch:
        """The crop alone: what is computed of it depends on no other."""
        return Batch((self.id,), np.ascontiguousarray(self.crop.pixels)[None], (self.crop.facts,), self.seed)

    @cached_property
    def profile(self) -> np.ndarray:
        """(R,) float64, the mean log power of luma by frequency, under a Hann window."""
        (profile,) = np.asarray(signal(self.batch, "radial_profile_hann"), np.float64)
        return np.asarray(profile)

    def columns_of(self, name: str) -> dict[str, float]:
        """Return the columns of a registered feature, by their names."""
        entry = feature.get(name)
        names = (one.partition(":")[2] for one in column_names(entry))
        return dict(zip(names, compute(entry, self.batch)[0].tolist(), strict=True))

    def score(self, trace: str) -> float:
        """Return what a training-free detector of FREE says of the crop."""
        instance, tasks = self.free[trace]
        facts, upload = (self.crop.facts,), uploading(self.backend)
        values = values_of(tasks, [self.crop.pixels], (self.id,), facts, self.seed, upload)
        return float(judge(instance, tasks, values)[0])


@dataclass(frozen=True)
class Trace:
    """One trace.

    side      on which generated images are expected: "high" or "low";  because  why, and who expects it
    measure   the statistic of one crop
    says      begins a sentence that "171 of 180 reference photographs." ends, where the crop lies on that side of them
    confused  what else moves the statistic to that side
    picture   whether `pictures.picture` draws it
    """

    name: str
    title: str
    side: str
    because: str
    measure: Callable[[Look], float]
    says: str
    confused: str
    picture: bool = False


def radial_distance(profile: np.ndarray, profiles: np.ndarray) -> float:
    """Return how far a radial profile lies from those of photographs: (R,), (n, R) -> RMS over bins of z.

        z = (profile - median) / ((q95 - q05) / 3.29),   median and quantiles over the n photographs, for each bin

    Where a bin is normally distributed over photographs, z^2 is 1 in the mean.
    """
    low, middle, high = band(profiles)
    z = (profile - middle) / np.maximum((high - low) / _NORMAL_WIDTH, _LEAST_WIDTH)
    return float(np.sqrt(np.mean(z * z)))


def band(profiles: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, R) -> the 5 % quantile, the median and the 95 % quantile of each bin, (R,) float64 each."""
    low, middle, high = np.quantile(profiles.astype(np.float64), (0.05, 0.5, 0.95), axis=0)
    return low, middle, high


def peaks_out(peaks: Mapping[str, float], strongest: np.ndarray) -> list[str]:
    """Return the columns of PEAKS that stand out, highest first; none without reference photographs.

    They are above the 95 % quantile of `strongest`, (n,) the strongest peak of each photograph: so high does any of
    the 24 peaks of a photograph reach in 1 of 20.
    """
    if not len(strongest):
        return []
    least = float(np.quantile(strongest, 0.95))
    return sorted((name for name, value in peaks.items() if value > least), key=lambda name: -peaks[name])


def peaks_in_words(names: Sequence[str]) -> str:
    """Name peaks that stand out by line and frequency; "" for none."""
    if not names:
        return ""
    places = ", ".join(" ".join(map(str, place_of(name))) for name in names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"Peaks that stand out, as shares of the sampling rate: {places}{more}."


def place_of(name: str) -> tuple[str, Fraction]:
    """Return the line of a column of PEAKS and its frequency, "vertical_3of8" -> "vertical", 3/8."""
    line, _, harmonic = name.partition("_")
    return line, Fraction(*map(int, harmonic.split("of")))


def branch_trace(name: str) -> Trace:
    """Return the trace of one branch of a fused detector: its logit on this crop without the others."""

    def measure(look: Look) -> float:
        assert isinstance(look.head, FusedHead)
        assert look.columns is not None
        return float(look.head.score(look.head.only(look.columns[None], name))[0])

    return Trace(
        f"{BRANCH}{name}", _PARTS.get(name, f"Detector, the part '{name}'"), "high",
        "it was fitted so that round trips through autoencoders score higher than their photographs", measure,
        f"{_BRANCHES.get(name, f'The branch {name} of the detector')} alone scores it higher than",
        "enlargement, noise reduction and blur; the verdict rests on it already, so it is no second opinion",
    )  # fmt: skip


_PARTS = {
    "spectrum": "Detector, part 1: peaks in the spectrum",
    "trunk": "Detector, part 2: a small network on fine noise",
    "handmade": "Detector, one part: hand-made measurements",
    "encoder": "Detector, one part: what an encoder sees",
}
_BRANCHES = {
    "spectrum": "The part of the detector that reads the spectrum",
    "trunk": "The small network of the detector",
    "handmade": "The part of the detector that reads hand-made measurements",
    "encoder": "The part of the detector that looks through an encoder",
}


def _npr(look: Look) -> float:
    shares = [value for name, value in look.columns_of("npr_statistics").items() if name.endswith("_zeros")]
    return float(np.mean(shares))


def _residual(look: Look) -> float:
    """Robust deviation of the finest diagonal Haar coefficients of green, in ln: Donoho and Johnstone 1994.

    It grows with the noise, as the wavelet residual's does not, and has no ties: the median residual of one photograph
    in six is 0 at most pixels.  Green, because JPEG keeps it best of the three colours.
    """
    return look.columns_of("noise_level")["haar_green"]


def _spectrum(look: Look) -> float:
    return max(look.columns_of(PEAKS).values())


def _radial(look: Look) -> float:
    assert look.profiles is not None
    return radial_distance(look.profile, look.profiles)


TRACES = (
    Trace("npr", "Neighbouring pixels", "high",
          "what up-sampling copies or interpolates stays alike within its cells of 2 x 2 pixels, so that more "
          "neighbours in a cell are equal (Tan et al. 2024, arXiv 2312.10461)", _npr,
          "Neighbouring pixels are exactly equal more often than in",
          "smooth areas such as sky, noise reduction, enlargement, strong compression, and over-exposed areas", True),
    Trace("residual", "Fine noise", "low",
          "a camera's sensor adds noise (Foi et al. 2008, IEEE Trans. Image Processing 17(10)), a decoder has no "
          "sensor; that generated images therefore have less is this project's expectation", _residual,
          "Its fine noise is weaker than in",
          "noise reduction in the camera, blur, enlargement, strong compression, and smooth areas such as sky", True),
    Trace("spectrum", "Peaks of up-sampling", "high",
          "up-sampling within a generator repeats the spectrum at simple fractions of the sampling rate (Zhang, "
          "Karaman, Chang 2019, arXiv 1907.06515)", _spectrum,
          "The strongest peak in the spectrum of its noise is higher than in",
          "some ways of enlarging a photograph, strong JPEG compression (at 1/8 and its multiples), regular patterns "
          "such as cloth or screens, and upright or level edges", True),
    Trace("radial", "Fall-off of the spectrum", "high",
          "generated images leave the even fall-off of photographs, above or below it (Durall et al. 2019, arXiv "
          "1911.00686; Dzanic et al. 2020, arXiv 1911.06465)", _radial,
          "The fall-off of its spectrum lies farther from what is usual than in",
          "blur, sharpening, enlargement, strong compression, and unusually smooth or detailed subjects", True),
    Trace("feature_drift", "Texture under faint noise (RIGID's relative without a network)", "high",
          "what lacks a camera's fine texture is moved further by faint noise (the idea: He, Chen, Ho 2024, arXiv "
          "2405.20112; here with local binary patterns)", lambda look: look.score("feature_drift"),
          "Faint noise changes the description of its texture more than in",
          "smooth areas such as sky, noise reduction, strong compression and blur"),
    Trace("rigid", "Embedding under faint noise (RIGID)", "high",
          "a generated image's embedding turns further under faint noise (He, Chen, Ho 2024, arXiv 2405.20112)",
          lambda look: look.score("rigid"), "Faint noise changes what a large network sees in it more than in",
          "smooth or unusual subjects, and blur"),
    Trace("reconstruction", "Reconstruction by a small autoencoder", "high",
          "what a decoder made is given back more closely by a decoder alike (Ricker, Lukovnikov, Fischer 2024, arXiv "
          "2401.17879); this one enlarges 8 times by nearest neighbour, as that of Stable Diffusion does, but has seen "
          "synthetic pictures alone", lambda look: look.score("reconstruction"),
          "A small autoencoder gives it back more closely than",
          "smooth areas such as sky, blur, noise reduction and low contrast"),
    Trace("aeroblade", "Reconstruction by public autoencoders (AEROBLADE)", "high",
          "what a latent diffusion model made is given back more closely by its own autoencoder (Ricker, Lukovnikov, "
          "Fischer 2024, arXiv 2401.17879)", lambda look: look.score("aeroblade"),
          "The autoencoders of public generators give it back more closely than",
          "smooth areas such as sky, blur, noise reduction and low contrast"),
)  # fmt: skip
