"""Plain references of denoising residuals and noise features: loops in float64, straight from the formulas."""

from __future__ import annotations

import bisect
import itertools
import math
import os

import numpy as np


def _each(function, *batches):
    return np.array([function(*images) for images in zip(*batches, strict=True)], np.float64)


def _near(image, y, x):
    """The pixel at (y, x), or the nearest one inside."""
    height, width = image.shape
    return float(image[min(max(y, 0), height - 1), min(max(x, 0), width - 1)])


# --- maps ------------------------------------------------------------------------------------------------------


def median_residual(luma):
    def one(image):
        result = np.zeros(image.shape)
        for y, x in np.ndindex(*image.shape):
            window = sorted(round(1000 * _near(image, y + i, x + j)) for i in (-1, 0, 1) for j in (-1, 0, 1))
            result[y, x] = (round(1000 * image[y, x]) - window[4]) / 1000
        return result

    return _each(one, luma)


def gaussian_residual(luma, *, sigma=1.0):
    reach = math.ceil(3 * sigma)
    bell = {k: math.exp(-k * k / (2 * sigma * sigma)) for k in range(-reach, reach + 1)}
    weight = {k: round(65536 * value / sum(bell.values())) for k, value in bell.items()}
    weight[0] = 65536 - sum(value for k, value in weight.items() if k)

    def one(image):
        result = np.zeros(image.shape)
        whole = np.vectorize(lambda v: round(1000 * v))(image).astype(object)  # Python's own integers
        height, width = image.shape
        for y, x in np.ndindex(*image.shape):
            blurred = 0
            for i, j in itertools.product(weight, repeat=2):
                near = whole[min(max(y + i, 0), height - 1), min(max(x + j, 0), width - 1)]
                blurred += weight[i] * weight[j] * near
            result[y, x] = (int(whole[y, x]) * 65536**2 - int(blurred)) / (1000 * 65536**2)
        return result

    return _each(one, luma)


def wiener_residual(luma, *, side=3):
    offsets = range(-(side // 2), side // 2 + 1)

    def one(image):
        mean, variance = np.zeros(image.shape), np.zeros(image.shape)
        for y, x in np.ndindex(*image.shape):
            window = [round(1000 * _near(image, y + i, x + j)) for i in offsets for j in offsets]
            mean[y, x] = sum(window) / (1000 * side**2)
            # side^2 sum v^2 - (sum v)^2 of whole numbers: no cancellation
            variance[y, x] = (side**2 * sum(v * v for v in window) - sum(window) ** 2) / (1000 * side**2) ** 2
        noise = math.fsum(variance.ravel()) / image.size
        result = np.zeros(image.shape)
        for y, x in np.ndindex(*image.shape):
            if variance[y, x] > 0:
                smooth = max(variance[y, x] - noise, 0) / max(variance[y, x], noise)
                difference = round(1000 * image[y, x]) / 1000 - mean[y, x]
                result[y, x] = difference - smooth * difference
        return result

    return _each(one, luma)


def dncnn_residual(luma, *, weights=""):
    from safetensors.numpy import load_file

    state = {key: np.float64(value) for key, value in load_file(weights or os.environ["FDETECT_DNCNN"]).items()}
    layers = sorted({int(key.split(".")[1]) for key in state})

    def one(image):
        height, width = image.shape
        planes = [image / 255]
        for place in layers:
            mask, bias = state[f"model.{place}.weight"], state[f"model.{place}.bias"]
            made = []
            for o in range(len(bias)):
                total = np.full((height, width), bias[o])
                for c, i, j in itertools.product(range(len(planes)), range(3), range(3)):
                    framed = np.zeros((height + 2, width + 2))
                    framed[1:-1, 1:-1] = planes[c]
                    total += mask[o, c, i, j] * framed[i : i + height, j : j + width]
                made.append(total if place == layers[-1] else np.maximum(total, 0))
            planes = made
        return 255 * planes[0]

    return _each(one, luma)


# --- features --------------------------------------------------------------------------------------------------


def _mean(values):
    values = list(values)
    return math.fsum(values) / len(values)


def _class_of(thousandths):
    return bisect.bisect_right((85000, 170000), thousandths)


def _class_means(values, classes):
    """Means over dark, middle and bright, each as if it held 1 % of all pixels more, at the mean of all."""
    extra, mean = 0.01 * len(values), _mean(values)
    result = []
    for wanted in range(3):
        chosen = [v for v, c in zip(values, classes, strict=True) if c == wanted]
        result.append((math.fsum(chosen) + extra * mean) / (len(chosen) + extra))
    return result


def denoised_residual_statistics(residual, luma, *, zeros=True):
    def ln(energy):
        return math.log(energy + 1e-4)

    def one(image, brightness):
        height, width = image.shape
        r = image.ravel().tolist()
        mean = _mean(r)
        m2, m3, m4 = (_mean((v - mean) ** k for v in r) for k in (2, 3, 4))
        ordered = sorted(abs(v) for v in r)
        median, tail = ordered[(len(r) - 1) // 2], ordered[9 * (len(r) - 1) // 10]
        row = [
            math.log(math.sqrt(m2) + 0.01),
            m3 / (m2 + 1e-6) ** 1.5,
            (m4 - 3 * m2**2) / (m2 + 1e-6) ** 2,
            math.log(median / 0.6744897501960817 + 0.01),
            math.log((tail + 0.01) / (median + 0.01)),
        ]
        if zeros:
            row.append(sum(v == 0 for v in r) / len(r))

        square = {(y, x): image[y, x] ** 2 for y in range(height // 8 * 8) for x in range(width // 8 * 8)}

        def over(inside):
            return _mean(e for (y, x), e in square.items() if inside(y % 8, x % 8))

        every = ln(over(lambda y, x: True))
        for i, j in itertools.product(range(2), repeat=2):
            row.append(ln(over(lambda y, x, i=i, j=j: (y % 2, x % 2) == (i, j))) - every)
        row.append(abs(ln(over(lambda y, x: (y + x) % 2 == 0)) - ln(over(lambda y, x: (y + x) % 2 == 1))))
        row.append(abs(ln(over(lambda y, x: y % 2 == 0)) - ln(over(lambda y, x: y % 2 == 1))))
        row.append(abs(ln(over(lambda y, x: x % 2 == 0)) - ln(over(lambda y, x: x % 2 == 1))))
        row.append(ln(over(lambda y, x: y in (0, 7))) - ln(over(lambda y, x: y not in (0, 7))))
        row.append(ln(over(lambda y, x: x in (0, 7))) - ln(over(lambda y, x: x not in (0, 7))))
        row.append(max(ln(over(lambda y, x, k=k: y == k)) for k in range(8)) - every)
        row.append(max(ln(over(lambda y, x, k=k: x == k)) for k in range(8)) - every)

        energy = [v * v for v in r]
        light = [round(1000 * v) for v in brightness.ravel().tolist()]
        row += [ln(e) - ln(_mean(energy)) for e in _class_means(energy, [_class_of(v) for v in light])]
        mean_energy, mean_light = _mean(energy), _mean(light) / 1000
        excess, light = [e - mean_energy for e in energy], [v / 1000 - mean_light for v in light]
        spread = (_mean(e * e for e in excess) + 1e-8) * (_mean(v * v for v in light) + 1e-6)
        row.append(_mean(e * v for e, v in zip(excess, light, strict=True)) / math.sqrt(spread))
        return row

    return _each(one, residual, luma)


_MASK = {(i, j): (1, -2, 1)[i] * (1, -2, 1)[j] for i in range(3) for j in range(3)}


def _masked(plane):
    """I * N by the nine whole coefficients, valid pixels only, as rows of Python integers."""
    height, width = len(plane), len(plane[0])
    return [
        [sum(n * plane[y + i][x + j] for (i, j), n in _MASK.items()) for x in range(width - 2)]
        for y in range(height - 2)
    ]


def noise_level(rgb8):
    def one(image):
        planes = [[[int(v) for v in line] for line in image[..., c]] for c in range(3)]
        height, width = image.shape[:2]
        light = [
            [299 * planes[0][y][x] + 587 * planes[1][y][x] + 114 * planes[2][y][x] for x in range(width)]
            for y in range(height)
        ]
        row, factor = [], math.sqrt(math.pi / 2) / 6
        for plane, unit in (*((plane, 1) for plane in planes), (light, 1000)):
            magnitude = [abs(v) for line in _masked(plane) for v in line]
            row.append(math.log(factor * sum(magnitude) / len(magnitude) / unit + 0.01))
        for plane in planes:
            values = sorted(
                abs(plane[y][x] - plane[y][x + 1] - plane[y + 1][x] + plane[y + 1][x + 1])
                for y in range(height - 1)
                for x in range(width - 1)
            )
            k = values[(len(values) + 1) // 2 - 1]  # the bin in which half of the values is reached
            below, inside = values.index(k), values.count(k)
            start, wide = (k - 0.5, 1.0) if k else (0.0, 0.5)
            median = start + wide * (len(values) / 2 - below) / inside
            row.append(math.log(median / (2 * 0.6744897501960817) + 0.01))
        classes = [_class_of(light[y][x]) for y in range(1, height - 1) for x in range(1, width - 1)]
        row += [math.log(factor * mean / 1000 + 0.01) for mean in _class_means(magnitude, classes)]
        return row

    return _each(one, rgb8)


def cross_channel_residual_correlation(rgb8):
    def one(image):
        masked = [_masked([[int(v) for v in line] for line in image[..., c]]) for c in range(3)]
        height, width = len(masked[0]), len(masked[0][0])
        row = []
        for a, b in itertools.combinations(masked, 2):
            energy = [sum(v * v for line in plane for v in line) for plane in (a, b)]
            for down, right in ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)):
                total = 0
                for y, x in np.ndindex(height, width):
                    if 0 <= y + down < height and 0 <= x + right < width:
                        total += a[y][x] * b[y + down][x + right]
                row.append(total / math.sqrt(energy[0] * energy[1]) if min(energy) else 0.0)
        return row

    return _each(one, rgb8)
