"""What a trace looks like: maps of the crop as small PNGs within SVG, and where a value stands among photographs.

Everything is drawn of the crop that was measured.  Maps have fixed scales, so that pictures of two images compare.
There are no styles and no scripts in what is returned: a page whose policy allows its own alone shows it.
"""

from __future__ import annotations

import io
import math
from base64 import b64encode
from collections.abc import Callable, Sequence

import numpy as np
from markupsafe import Markup
from PIL import Image

from fdetect.bench.inspecting.inspection import Standing
from fdetect.bench.inspecting.references import References
from fdetect.bench.inspecting.traces import PEAKS, Look, band, peaks_in_words, peaks_out, place_of
from fdetect.bench.report.charts import INKS
from fdetect.bench.report.plots import Axis, Frame, Pen, key
from fdetect.bench.report.svg import group, number, svg, tag, text, titled
from fdetect.errors import ParameterError
from fdetect.forensics.base import signal
from fdetect.forensics.spectrum import POWER_FLOOR, profile_frequencies, taper
from fdetect.images import Decoded

__all__ = ["LEVELS", "PICTURES", "caption", "map_uri", "picture", "standing_chart"]

LEVELS = 16  # shades of a map: half the bytes of 256, and more than a noisy map shows
_SIDE = 280.0  # px of a map on the page
_NPR_RANGE, _RESIDUAL_RANGE = 24.0, 8.0  # grey levels; what differs more is black or white
_POWER_RANGE = (-2.0, 8.0)  # ln of squared grey levels per pixel, of the residual
_EDGE = 6.0  # px beside a map, so that rings at its border are whole
_CHART = (300.0, 64.0)  # px of the chart of a standing
_BINS = 24


def picture(name: str, look: Look, references: References) -> Markup:
    """Draw one of PICTURES, `Evidence.picture`, of a crop; raises ParameterError for another name."""
    if name not in PICTURES:
        raise ParameterError(f"no picture of '{name}' ({', '.join(PICTURES)})")
    return PICTURES[name](look, references)


def caption(name: str, crop: Decoded | None) -> str:
    """Say in one line what a picture shows, of which part and at what scale; "" for what has no picture."""
    if name not in _CAPTIONS:
        return ""
    height, width = crop.pixels.shape[:2] if crop else (0, 0)
    part = f"Of the first crop that was scored, {width} x {height} px as the detector saw it. " if crop else ""
    return f"{part}{_CAPTIONS[name]}"


def map_uri(values: np.ndarray, low: float, high: float) -> str:
    """(H, W) numbers -> "data:image/png;base64,..." of as many px: low is black, high white, in LEVELS shades.

    The PNG holds its pixels and its shades, nothing else.  What is not finite is black.
    """
    share = np.nan_to_num((values.astype(np.float64) - low) / (high - low), nan=0.0)
    image = Image.fromarray(np.rint(np.clip(share, 0, 1) * (LEVELS - 1)).astype(np.uint8))
    image.putpalette([shade * 255 // (LEVELS - 1) for shade in range(LEVELS) for _ in range(3)])
    file = io.BytesIO()
    image.save(file, "PNG", bits=4, optimize=True)
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"


def standing_chart(standing: Standing, name: str) -> Markup:
    """Draw the histogram of the reference photographs, the image's value marked; `name` is of what."""
    if not (standing.n and math.isfinite(standing.value)):
        return Markup("")
    ends = _ends(standing)
    counts, edges = np.histogram(np.clip(standing.among, *ends), bins=_BINS, range=ends)
    ticks = ((ends[0], f"{ends[0]:.3g}"), (ends[1], f"{ends[1]:.3g}"))
    frame = Frame(Axis(name, *ends, ticks), Axis("", 0, float(counts.max()), ()), 8, 22, _CHART[0] - 16, _CHART[1] - 24)
    below = int((standing.among < standing.value).sum())
    said = f"higher than {below} of {standing.n} photographs"
    at, bottom = frame.at(standing.value, 0)
    half = 3.3 * len(said)
    bars = [frame.bar(low, high, n) for low, high, n in zip(edges[:-1], edges[1:], counts.tolist(), strict=True) if n]
    parts = [
        *bars, tag("line", class_="faint", x1=frame.left, x2=frame.left + frame.width, y1=bottom, y2=bottom),
        group(titled(f"this image: {standing.value:.4g}"), [
            tag("line", class_="dot", x1=at, x2=at, y1=frame.top - 2, y2=bottom, stroke_width=2.5),
            tag("circle", class_="dot", cx=at, cy=frame.top - 2, r=3.5)]),
        text(min(max(at, 4 + half), _CHART[0] - 4 - half), 8, said, anchor="middle"),
        text(frame.left, bottom + 12, ticks[0][1]),
        text(frame.left + frame.width, bottom + 12, ticks[1][1], anchor="end"),
    ]  # fmt: skip
    label = f"{name}: this image has {standing.value:.4g}, {said} (bars)"
    return svg(_CHART[0], bottom + 22, label, parts)


def _ends(standing: Standing) -> tuple[float, float]:
    """Return the ends of the axis: those of the photographs; a value beyond is drawn at the end, and said in words."""
    low, high = (float(value) for value in np.quantile(standing.among, (0.005, 0.995)))
    span = high - low
    low, high = (max(min(low, standing.value), low - span / 2), min(max(high, standing.value), high + span / 2))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _npr(look: Look, references: References) -> Markup:
    levels = np.asarray(signal(look.batch, "npr"))[0].mean(axis=0)
    label = ("Map of neighbouring pixels: how far each differs from the top left one of its cell of 2 x 2, grey: not "
             f"at all, black and white: {_NPR_RANGE:g} of 255 levels or more")  # fmt: skip
    return _map(map_uri(levels, -_NPR_RANGE, _NPR_RANGE), label)


def _residual(look: Look, references: References) -> Markup:
    """Draw the finest diagonal Haar coefficients of green at every position, which the statistic is of."""
    green = look.batch.rgb8[0, ..., 1].astype(np.float64)
    label = ("Map of fine noise in green: how far 2 x 2 pixels depart from an even slope, grey: not at all, black and "
             f"white: {_RESIDUAL_RANGE:g} of 255 levels or more")  # fmt: skip
    return _map(map_uri(np.diff(np.diff(green, axis=0), axis=1) / 2, -_RESIDUAL_RANGE, _RESIDUAL_RANGE), label)


def _spectrum(look: Look, references: References) -> Markup:
    """Draw the residual's log power, zero frequency in the middle, a ring at every harmonic, those that stand out bold.

    The peaks are measured on the same residual under the same window, at exactly these frequencies.
    """
    residual = np.asarray(signal(look.batch, "median_residual"), np.float64)[0]
    power = np.abs(np.fft.fft2(residual * taper("hann", *residual.shape))) ** 2 / residual.size
    uri = map_uri(np.log(np.fft.fftshift(power) + POWER_FLOOR), *_POWER_RANGE)
    peaks = look.columns_of(PEAKS)
    out = peaks_out(peaks, references.real.get("spectrum", np.empty(0)))
    rings = [ring for name in peaks for ring in _rings(name, len(residual), bold=name in out)]
    said = peaks_in_words(out) or "No peak stands out."
    return _map(uri, f"Spectrum of its fine noise, low frequencies in the middle. {said}", rings)


def _rings(name: str, side: int, *, bold: bool) -> list[Markup]:
    """Draw the rings of one column, at a frequency and its mirror images; a thin one is no more than a place.

    Zero frequency is the px `side` / 2, whose middle lies half a px right of and below that of the picture.
    """
    line, at = place_of(name)
    signs = {"horizontal": ((0, 1), (0, -1)), "vertical": ((1, 0), (-1, 0)),
             "diagonal": ((1, 1), (-1, -1), (1, -1), (-1, 1))}[line]  # fmt: skip
    middle, words = _EDGE + (0.5 + 0.5 / side) * _SIDE, titled(f"{line} {at}")
    look: dict[str, str | float] = {"class_": "warn", "r": 6, "stroke_width": 2} if bold else {
        "r": 4, "stroke_width": 0.75, "stroke": INKS[0]}  # fmt: skip
    step = float(at) * _SIDE
    return [tag("circle", words, cx=middle + step * u, cy=middle + step * v, fill_opacity=0, **look) for v, u in signs]


def _map(uri: str, label: str, marks: Sequence[Markup] = ()) -> Markup:
    """Show a map, and marks on it, at a size that does not depend on its px."""
    whole = _SIDE + 2 * _EDGE
    image = tag("image", href=uri, x=_EDGE, y=_EDGE, width=_SIDE, height=_SIDE, image_rendering="pixelated")
    return svg(whole, whole, label, [image, *marks])


def _radial(look: Look, references: References) -> Markup:
    """Draw the radial profile over the band of photographs."""
    if not len(references.profile):
        return Markup("")
    mine, (low, middle, high) = look.profile, band(references.profile)
    xs = profile_frequencies(len(mine)).tolist()
    ends = math.floor(min(low.min(), mine.min())), math.ceil(max(high.max(), mine.max()))
    x = Axis.even("frequency, cycles per pixel", 0, 0.5, 5)
    y = Axis("ln power", ends[0], ends[1], tuple((float(k), f"{k}") for k in range(ends[0], ends[1] + 1)
             if k % max(1, (ends[1] - ends[0]) // 5) == 0))  # fmt: skip
    frame = Frame(x, y, Frame(x, y, 0, 0, 1, 1).gutter, 8, 270, 170)
    path = " ".join(number(v) for pair in (*zip(xs, high.tolist(), strict=True),
                    *reversed(list(zip(xs, low.tolist(), strict=True)))) for v in frame.at(*pair))  # fmt: skip
    n, pens = len(references.profile), (Pen(INKS[1]), Pen("currentColor", "4 3"))
    names = ("this image", "median; grey: 90 % of photographs")
    label = f"Fall-off of the spectrum against {n} reference photographs: {names[1]}"
    parts = [
        frame.axes(),
        tag("polygon", titled(f"5 % to 95 % of {n} photographs"), points=path, fill="currentColor", fill_opacity=0.14),
        frame.line(xs, middle.tolist(), pens[1], title=names[1]),
        frame.line(xs, mine.tolist(), pens[0], title=names[0]),
        *key(names, pens, 8, frame.top + frame.height + 44),
    ]  # fmt: skip
    return svg(max(frame.left + 270 + 14, 340), frame.top + frame.height + 84, label, parts)


_CAPTIONS = {
    "npr": f"Drawn to fill {_SIDE:g} px. Grey: pixels like their neighbours; bright or dark: they differ, white and "
           f"black by {_NPR_RANGE:g} of 255 levels or more.",
    "residual": f"Drawn to fill {_SIDE:g} px. Grey: no fine noise; bright or dark: noise, white and black from "
                f"{_RESIDUAL_RANGE:g} of 255 levels.",
    "spectrum": "Its spectrum, not its place: coarse patterns in the middle, the finest at the edges. Bright: "
                "strong. Rings: where up-sampling leaves peaks; bold ones stand out.",
    "radial": "Its spectrum in the mean over directions: coarse patterns to the left, fine ones to the right; higher "
              "is stronger.",
}  # fmt: skip
PICTURES: dict[str, Callable[[Look, References], Markup]] = {
    "npr": _npr, "residual": _residual, "spectrum": _spectrum, "radial": _radial,
}  # fmt: skip
