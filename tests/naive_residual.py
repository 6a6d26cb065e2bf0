"""Plain references of residuals and their statistics: loops in float64 and integers, straight from the formulas."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np

_CORNERS = [(0, 1), (-1, 0), (-1, 1), (-1, -1)]  # (row, column): right, up, and the two upper diagonals


def _along(direction, coefficients):
    """Coefficients {steps along the direction: value} as offsets (row, column) from the predicted pixel."""
    return {(k * direction[0], k * direction[1]): value for k, value in coefficients.items()}


_FIRST, _SECOND, _THIRD = {0: -1, 1: 1}, {-1: 1, 0: -2, 1: 1}, {-1: 1, 0: -3, 1: 3, 2: -1}
_EDGE3 = {(-1, -1): -1, (-1, 0): 2, (-1, 1): -1, (0, -1): 2, (0, 0): -4, (0, 1): 2}
_OF_DISTANCES = {(0, 0): -12, (0, 1): 8, (1, 1): -6, (0, 2): -2, (1, 2): 2, (2, 2): -1}
_SQUARE5 = {
    (i, j): _OF_DISTANCES[tuple(sorted((abs(i), abs(j))))] for i in range(-2, 3) for j in range(-2, 3)
}  # fmt: skip
_EDGE5 = {place: value for place, value in _SQUARE5.items() if place[0] <= 0}


def _turns(mask):
    """The mask and its three quarter turns to the left."""
    turned = [mask]
    for _ in range(3):
        turned.append({(-j, i): value for (i, j), value in turned[-1].items()})
    return turned


# Offsets (row, column) and their coefficients, per direction; the mask's reach; the divisor.
_RESIDUALS = {
    "first": ([_along(d, _FIRST) for d in _CORNERS[:2]], 1, 1),
    "second": ([_along(d, _SECOND) for d in _CORNERS[:2]], 1, 2),
    "third": ([_along(d, _THIRD) for d in _CORNERS[:2]], 2, 3),
    "edge3x3": (_turns(_EDGE3), 1, 4),
    "square3x3": (
        [{(i, j): -4 if i == j == 0 else 2 if i * j == 0 else -1 for i in (-1, 0, 1) for j in (-1, 0, 1)}],
        1,
        4,
    ),
    "square5x5": ([_SQUARE5], 2, 12),
    "first_all": ([_along(d, _FIRST) for d in _CORNERS], 1, 1),
    "second_all": ([_along(d, _SECOND) for d in _CORNERS], 1, 2),
    "third_all": ([_along(d, _THIRD) for d in _CORNERS], 2, 3),
    "edge5x5": (_turns(_EDGE5), 2, 12),
}
_BASIC = ("first", "second", "third", "edge3x3", "square3x3", "square5x5")
_SRM = ("first_all", "second_all", "third_all", "edge3x3", "edge5x5", "square3x3", "square5x5")


def chroma(planes):
    result = np.zeros((len(planes), 2, *planes.shape[2:]))
    for b, y, x in np.ndindex(len(planes), *planes.shape[2:]):
        red, green, blue = planes[b, :, y, x]
        grey = 0.299 * red + 0.587 * green + 0.114 * blue
        result[b, :, y, x] = (blue - grey) / 1.772, (red - grey) / 1.402
    return result


def _whole(image, units):
    return [[round(units * value) for value in line] for line in image.tolist()]


def _residual(image, mask, reach, divisor, units=1000):
    """One direction of one (H, W) image, in grey levels."""
    whole = _whole(image, units)
    height, width = image.shape
    result = np.zeros((height - 2 * reach, width - 2 * reach))
    for y, x in np.ndindex(*result.shape):
        total = sum(c * whole[y + reach + i][x + reach + j] for (i, j), c in mask.items())
        result[y, x] = total / (units * divisor)
    return result


def residual(luma, *, kernel="first"):
    directions, reach, divisor = _RESIDUALS[kernel]
    return np.array([[_residual(image, mask, reach, divisor) for mask in directions] for image in luma])


def srm(luma):
    def bank(image):
        for name in _SRM:
            directions, reach, divisor = _RESIDUALS[name]
            for mask in directions:
                both = [mask]
                if name in ("first_all", "third_all"):
                    both.append({(-i, -j): value for (i, j), value in mask.items()})
                for one in both:
                    margin = 2 - reach
                    inner = image[margin : image.shape[0] - margin, margin : image.shape[1] - margin]
                    yield _residual(inner, one, reach, divisor)

    return np.array([list(bank(image)) for image in luma])


@functools.cache
def orbit(four):
    """The largest of a 4-tuple, its reverse and their negatives."""
    back, minus = four[::-1], tuple(-v for v in four)
    return max(four, back, minus, minus[::-1])


def quantised(value, step):
    """Rounded to whole steps, halves away from zero, cut to -2..2."""
    steps = math.floor(abs(value) / step + 0.5)
    return int(math.copysign(min(steps, 2), value))


def _shares(image, name, step, units=1000):
    """Square roots of the orbit shares of one class of one (H, W) image."""
    orbits = sorted({orbit(four) for four in itertools.product(range(-2, 3), repeat=4)})
    count, total = dict.fromkeys(orbits, 0), 0
    directions, reach, divisor = _RESIDUALS[name]
    for mask in directions:
        r = [[quantised(v, step) for v in line] for line in _residual(image, mask, reach, divisor, units).tolist()]
        for lines in (r, [list(column) for column in zip(*r, strict=True)]):
            for line in lines:
                for k in range(len(line) - 3):
                    count[orbit(tuple(line[k : k + 4]))] += 1
                    total += 1
    return [math.sqrt(count[key] / total) if total else 0.0 for key in orbits]


def residual_cooccurrence(luma, *, step=3.0):
    return np.array([[v for name in _BASIC for v in _shares(image, name, step)] for image in luma])


def srm_cooccurrence(luma, *, step=3.0):
    return np.array([[v for name in _SRM for v in _shares(image, name, step)] for image in luma])


def chroma_residual_cooccurrence(chroma, *, step=1.0):
    def one(image):
        channels = itertools.product(((0, 1772), (1, 1402)), _BASIC)
        return [v for (c, units), name in channels for v in _shares(image[c], name, step, units)]

    return np.array([one(image) for image in chroma])


def srm_statistics(luma):
    def one(image):
        row = []
        for name in _SRM:
            directions, reach, divisor = _RESIDUALS[name]
            for mask in directions:
                values = _residual(image, mask, reach, divisor).ravel().tolist()
                mean = math.fsum(abs(v) for v in values) / len(values)
                root = math.sqrt(math.fsum(v * v for v in values) / len(values))
                row += [math.log(mean + 0.01), math.log((root + 0.01) / (mean + 0.01))]
        return row

    return np.array([one(image) for image in luma])
