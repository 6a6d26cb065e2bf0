"""Plain references of the forensic networks and of what they look at: loops in float64, straight from the formulas."""

from __future__ import annotations

import itertools
import math

import numpy as np

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FEW = ("second", "third", "square3x3", "square5x5")


def standardised(image):
    return np.stack([(plane - mean) / std for plane, mean, std in zip(image, _MEAN, _STD, strict=True)])


def resampled(image, factor, scale):
    """(C, H, W): each pixel minus the top left one of its cell."""
    channels, height, width = image.shape
    result = np.zeros((channels, height // factor * factor, width // factor * factor))
    for c, y, x in np.ndindex(*result.shape):
        result[c, y, x] = scale * (image[c, y, x] - image[c, y // factor * factor, x // factor * factor])
    return result


def filtered(plane, kernel):
    """(H, W), zeros beyond the border."""
    height, width = plane.shape
    reach = len(kernel) // 2
    result = np.zeros((height, width))
    for y, x in np.ndindex(height, width):
        for i, j in itertools.product(range(-reach, reach + 1), repeat=2):
            if 0 <= y + i < height and 0 <= x + j < width:
                result[y, x] += kernel[i + reach][j + reach] * plane[y + i, x + j]
    return result


def _mirrored(place, length):
    """-1 -> 0, length -> length - 1."""
    place = place % (2 * length)
    return place if place < length else 2 * length - 1 - place


def diagonal_band(plane):
    """HH of bior1.3 by its two high-pass taps -r, r with r = sqrt(1/2): y[k] = r x[2k-2] - r x[2k-1] on each axis."""
    height, width = plane.shape
    result = np.zeros(((height + 5) // 2, (width + 5) // 2))
    for k, m in np.ndindex(*result.shape):
        for i, j in itertools.product((0, 1), repeat=2):
            sign = -1 if i != j else 1
            result[k, m] += 0.5 * sign * plane[_mirrored(2 * k - 2 + i, height), _mirrored(2 * m - 2 + j, width)]
    return result


def enlarged(plane, height, width):
    """Bilinear, pixels as areas: the centre of pixel y of n stands at (y + 1/2) / n, and the border's value beyond."""

    def neighbours(place, old, new):
        at = min(max((place + 0.5) * old / new - 0.5, 0), old - 1)
        low = math.floor(at)
        return (low, 1 - (at - low)), (min(low + 1, old - 1), at - low)

    result = np.zeros((height, width))
    for y, x in np.ndindex(height, width):
        rows = neighbours(y, plane.shape[0], height)
        columns = neighbours(x, plane.shape[1], width)
        result[y, x] = sum(v * w * plane[i, j] for i, v in rows for j, w in columns)
    return result


def stacked(image, residuals, truncation):
    """NPR of R, G, B; SRM of Y, Cb, Cr; HH of R, G, B.  residuals: a (H + 4, W + 4) plane in grey levels -> maps."""
    height, width = (side // 2 * 2 for side in image.shape[1:])
    greys = 255 * image[:, :height, :width]
    red, green, blue = greys
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    planes = luma, (blue - luma) / 1.772, (red - luma) / 1.402
    maps = list(resampled(greys, 2, 1.0))
    for plane in planes:
        maps += list(residuals(np.pad(plane, 2, mode="reflect")))
    maps += [enlarged(diagonal_band(plane), height, width) for plane in greys]
    return np.clip(np.stack(maps), -truncation, truncation) * 2 / truncation


def diversity(image, patch, step):
    """{(top, left): sum of absolute differences of whole grey levels between neighbours inside the patch}."""
    greys = np.rint(255 * image).astype(int)
    height, width = image.shape[1:]
    found = {}
    for top, left in itertools.product(range(0, height - patch + 1, step), range(0, width - patch + 1, step)):
        inside = greys[:, top : top + patch, left : left + patch]
        total = 0
        for y, x in np.ndindex(patch, patch):
            for i, j in ((0, 1), (1, 0), (1, 1), (1, -1)):
                if y + i < patch and 0 <= x + j < patch:
                    total += abs(inside[:, y, x] - inside[:, y + i, x + j]).sum()
        found[top, left] = int(total)
    return found


def sorted_patches(image, patch, step, most):
    """The poorest and the richest patches as two square pictures, (6, S, S)."""
    scores = diversity(image, patch, step)
    side = max(int(math.sqrt(min(most, len(scores) // 3))), 1)
    pictures = []
    for sign in (1, -1):
        chosen = sorted(scores, key=lambda place: (sign * scores[place], place))[: side * side]
        picture = np.zeros((3, side * patch, side * patch))
        for k, (top, left) in enumerate(chosen):
            y, x = k // side * patch, k % side * patch
            picture[:, y : y + patch, x : x + patch] = image[:, top : top + patch, left : left + patch]
        pictures.append(picture)
    return np.concatenate(pictures)


def gram(features):
    """(c, h, w) -> (c, c)."""
    channels, height, width = features.shape
    result = np.zeros((channels, channels))
    for a, b in np.ndindex(channels, channels):
        result[a, b] = (features[a] * features[b]).sum() / (channels * height * width)
    return result


# --- whole networks, by the names of their published checkpoints; `state` holds float64 arrays -----------------------


def convolved(x, weight, stride=1, padding=0):
    """(inputs, H, W) with (outputs, inputs, K, K)."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    outputs, _, kernel, _ = weight.shape
    height, width = ((side - kernel) // stride + 1 for side in x.shape[1:])
    result = np.zeros((outputs, height, width))
    for i, j in itertools.product(range(kernel), repeat=2):
        seen = x[:, i : i + stride * (height - 1) + 1 : stride, j : j + stride * (width - 1) + 1 : stride]
        result += np.einsum("oc,chw->ohw", weight[:, :, i, j], seen)
    return result


def normed(x, state, name):
    """Batch norm with its running statistics."""
    mean, variance, scale, shift = (
        state[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / np.sqrt(variance + 1e-5) * scale + shift


def largest(x, stride):
    """Maximum of 3 x 3."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    height, width = ((side - 1) // stride + 1 for side in x.shape[1:])
    result = np.zeros((len(x), height, width))
    for y, xx in np.ndindex(height, width):
        result[:, y, xx] = padded[:, y * stride : y * stride + 3, xx * stride : xx * stride + 3].max((1, 2))
    return result


def block(x, state, name, stride, padding):
    """A bottleneck; where it has no padding the shortcut keeps its top left part."""
    out = np.maximum(normed(convolved(x, state[f"{name}.conv1.weight"]), state, f"{name}.bn1"), 0)
    out = np.maximum(normed(convolved(out, state[f"{name}.conv2.weight"], stride, padding), state, f"{name}.bn2"), 0)
    out = normed(convolved(out, state[f"{name}.conv3.weight"]), state, f"{name}.bn3")
    if f"{name}.downsample.0.weight" in state:
        x = normed(convolved(x, state[f"{name}.downsample.0.weight"], stride), state, f"{name}.downsample.1")
    return np.maximum(out + x[:, : out.shape[1], : out.shape[2]], 0)


def _stages(x, state, strides, padding):
    for stage, stride in enumerate(strides, 1):
        for number in itertools.count():
            name = f"trunk.layer{stage}.{number}"
            if f"{name}.conv1.weight" not in state:
                break
            x = block(x, state, name, 1 if number else stride, padding)
    return x


def _logit(features, state):
    return float(state["classifier.weight"][0] @ features.mean((1, 2)) + state["classifier.bias"][0])


def resnet_logit(maps, state, *, stride=2, strides):
    """Of the maps that a ResNet with bottlenecks sees; `stride` of its first convolution and of its maximum."""
    weight = state["trunk.conv1.weight"]
    x = np.maximum(normed(convolved(maps, weight, stride, weight.shape[-1] // 2), state, "trunk.bn1"), 0)
    return _logit(_stages(largest(x, stride), state, strides, 1), state)


def local_logit(maps, state):
    """LaDeDa's: no padding, 1x1 and 3x3 before the stages."""
    x = convolved(convolved(maps, state["trunk.conv1.weight"]), state["trunk.conv2.weight"])
    return _logit(_stages(np.maximum(normed(x, state, "trunk.bn1"), 0), state, (2, 2, 2, 1), 0), state)


def tiny_logit(maps, state):
    """Tiny-LaDeDa's, by the names of its checkpoint."""
    x = convolved(convolved(maps, state["conv1.weight"]), state["conv2.weight"])
    x = np.maximum(normed(x, state, "bn1"), 0)
    for k in (1, 2):
        x = convolved(x, state[f"layer1.0.conv{k}.weight"])
        x = np.maximum(normed(x, state, f"layer1.0.bn{k}"), 0)
    return float(state["fc.weight"][0] @ x.mean((1, 2)) + state["fc.bias"][0])
