"""Where in the picture the cells of a feature map lie, and maps of cells as maps of pixels.

A cell sees a window of the picture; it belongs to the middle of that window.  With the usual padding of half a kernel
the middle of cell k is pixel `step` k, not the middle of the k-th of equal tiles, which lies up to half a step further
right and below; without padding, all cells lie inside the picture.  A network does not say which, so it is measured.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from weakref import WeakKeyDictionary

import torch
from torch import nn

from fdetect.errors import ParameterError
from fdetect.nets.detectors.model import DetectorNetwork
from fdetect.nets.explaining.watching import at_rest, change_relus, shadowed

__all__ = ["Places", "places_of", "spread"]

Reading = Callable[[DetectorNetwork, torch.Tensor], torch.Tensor]  # (model, images) -> (B, h, w) or (B, C, h, w)

_LENGTH = 512  # px of the strip on which windows are measured; of larger ones the middle is still in the middle
_PAIRS = 3
_POOLS = {nn.MaxPool1d: nn.AvgPool1d, nn.MaxPool2d: nn.AvgPool2d}


@dataclass(frozen=True)
class Places:
    """The pixel at the centre of cell k, alike for rows and columns: first + step k (0 = centre of the first pixel)."""

    first: float
    step: float


_KNOWN: WeakKeyDictionary[DetectorNetwork, dict[str, Places]] = WeakKeyDictionary()


def places_of(model: DetectorNetwork, read: Reading, name: str) -> Places:
    """Measure where the cells of a reading lie, whatever the network's weights; each `name` once for a network.

    On a copy of the network whose kernels are all alike and positive, whose norms do nothing, whose maxima are means
    and whose activations let every gradient pass, what a cell sees of the maps before the trunk is symmetric about its
    middle, and what two neighbours see differently is symmetric about the middle between them:

        middle of k, k + 1 = sum over x of x |g_k+1(x) - g_k(x)| / sum over x of |g_k+1(x) - g_k(x)|

    The difference leaves out what every cell sees alike, such as means over all places.  Three pairs in the middle of a
    long strip are measured, their median is rounded to half a pixel; the step is the strip's length by its cells.
    Maps of fewer pixels than the picture are tiles of it, side by side, and so are the tokens of a transformer, whose
    cells see everything; it is known by its layer norms.
    Raises ParameterError where a cell sees nothing, and where the maps are not laid out as the picture is.
    """
    known = _KNOWN.setdefault(model, {})
    if name not in known:
        known[name] = _measured(model, read)
    return known[name]


def _measured(model: DetectorNetwork, read: Reading) -> Places:
    even, least = copy.deepcopy(model).cpu().requires_grad_(False), model.config.LEAST
    _make_even(even)
    length = max(_LENGTH, 4 * least)
    noise = torch.rand((1, 3, least, length), generator=torch.Generator().manual_seed(0))
    strip = (0.5 + 0.01 * noise).requires_grad_()  # nearly even, so that smooth activations are alike everywhere
    looked_at: list[torch.Tensor] = []

    def keep(maps: torch.Tensor) -> torch.Tensor:
        looked_at.append(maps.clone())
        return looked_at[-1]

    with at_rest(even):
        with shadowed(even, "maps", keep):
            cells = read(even, strip)
        maps = looked_at[0] if looked_at else strip
        count = cells.shape[-1]
        step = _ratio(length, count)
        if not 0.5 < (length / maps.shape[-1]) / (least / maps.shape[-2]) < 2 or count < 2 * _PAIRS:
            raise ParameterError(f"what {model.config.architecture} looks at is not laid out as the picture is, so its "
                                 "features have no place in the picture")  # fmt: skip
        if any(isinstance(module, nn.LayerNorm) for module in even.modules()):
            return Places((step - 1) / 2, step)
        cells = cells.sum(1) if cells.ndim == 4 else cells
        change_relus(cells, lambda inner, outer: outer)
        row, pairs = cells.shape[-2] // 2, range(count // 2 - _PAIRS // 2 - 1, count // 2 + _PAIRS // 2)
        middles = [_middle(cells[0, row, k + 1] - cells[0, row, k], maps, length) - step * (k + 0.5) for k in pairs]
    return Places(round(2 * median(middles)) / 2, step)


def spread(cells: torch.Tensor, places: Places, height: int, width: int) -> torch.Tensor:
    """Interpolate between the centres of cells, and beyond the outermost repeat them: (B, h, w) -> (B, H, W) float32.

    Bilinear: the value at a cell's centre is the cell's own.
    """
    rows = _weights(cells.shape[-2], places, height).to(cells.device)
    columns = _weights(cells.shape[-1], places, width).to(cells.device)
    return (rows @ cells.double() @ columns.T).float()


def _weights(count: int, places: Places, length: int) -> torch.Tensor:
    """Return how much each cell counts at each pixel: (length, count) float64, rows that sum to 1."""
    at = ((torch.arange(length, dtype=torch.float64) - places.first) / places.step).clamp(0, count - 1)
    return (1 - (at[:, None] - torch.arange(count, dtype=torch.float64)).abs()).clamp(min=0)


def _middle(difference: torch.Tensor, maps: torch.Tensor, length: int) -> float:
    """Return the middle, in pixels of a strip of `length`, of what two cells see differently of the maps of it."""
    found = None
    if difference.requires_grad:
        (found,) = torch.autograd.grad(difference, maps, retain_graph=True, allow_unused=True)
    profile = torch.zeros(1, dtype=torch.float64) if found is None else found[0].double().abs().sum((0, 1))
    total = float(profile.sum())
    if not 0 < total < float("inf"):
        raise ParameterError("the cells see no pixel, so they have no place in the picture")
    tile = _ratio(length, len(profile))
    at = float((profile * torch.arange(len(profile), dtype=torch.float64)).sum()) / total
    return (at + 0.5) * tile - 0.5 + (length - tile * len(profile)) / 2


def _ratio(length: int, count: int) -> float:
    """Return a length by a count, to the nearest whole number or, below 1, to one by a whole number."""
    return float(round(length / count)) if count <= length else 1 / round(count / length)


def _make_even(model: nn.Module) -> None:
    """Make kernels positive and alike, norms do nothing, maxima means."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.weight.fill_(1 / module.weight[0].numel())
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_parameters()
        for name, child in module.named_children():
            if average := _POOLS.get(type(child)):
                setattr(module, name, average(child.kernel_size, child.stride, child.padding, child.ceil_mode))
