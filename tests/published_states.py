"""State dictionaries with the key names and the shapes of published checkpoints, filled with seeded numbers."""

from __future__ import annotations

import functools

import numpy as np
import torch

__all__ = ["cnnspot", "doubled", "ladeda", "npr", "rine", "safe", "tiny_ladeda"]

State = dict[str, torch.Tensor]
_RESNET50 = (3, 4, 6, 3)


def npr(seed: int = 0) -> State:
    return _Made(seed).stem(3).stages((3, 4), 3).linear("fc1", 512, 1).state


def safe(seed: int = 0) -> State:
    return _Made(seed).stem(3).stages((3, 4), 3).linear("fc1", 512, 2).state


@functools.cache
def cnnspot(seed: int = 0) -> State:
    return _Made(seed).stem(7).stages(_RESNET50, 3).linear("fc", 2048, 1).state


@functools.cache
def ladeda(seed: int = 0) -> State:
    made = _Made(seed).conv("conv1", 3, 64, 1).conv("conv2", 64, 64, 3).norm("bn1", 64)
    return made.stages(_RESNET50, 3, wide_in_first=2).linear("fc", 2048, 1).state


def tiny_ladeda(seed: int = 0) -> State:
    made = _Made(seed).conv("conv1", 3, 8, 1).conv("conv2", 8, 8, 3).norm("bn1", 8)
    made.conv("layer1.0.conv1", 8, 8, 1).norm("layer1.0.bn1", 8).conv("layer1.0.conv2", 8, 8, 3).norm("layer1.0.bn2", 8)
    return made.linear("fc", 8, 1).state


def rine(layers: int = 2, dim: int = 1024, *, width: int = 1024, blocks: int = 24, seed: int = 0) -> State:
    made = _Made(seed)
    made.state["alpha"] = made.drawn(1, blocks, dim)
    for k in range(layers):
        made.linear(f"proj1.{1 + 3 * k}", dim if k else width, dim)
    for k in range(layers):
        made.linear(f"proj2.{1 + 3 * k}", dim, dim)
    return made.linear("head.0", dim, dim).linear("head.3", dim, dim).linear("head.6", dim, 1).state


def doubled(state: State) -> dict[str, np.ndarray]:
    """The tensors as float64 arrays, for the plain references."""
    return {key: tensor.double().numpy() for key, tensor in state.items()}


class _Made:
    """Modules one after another; norms are far from the identity, so that every tensor matters."""

    def __init__(self, seed: int) -> None:
        self.generator, self.state = torch.Generator().manual_seed(seed), State()

    def drawn(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=self.generator)

    def conv(self, name: str, inputs: int, outputs: int, kernel: int) -> _Made:
        self.state[f"{name}.weight"] = self.drawn(outputs, inputs, kernel, kernel) * (2 / inputs / kernel**2) ** 0.5
        return self

    def norm(self, name: str, channels: int) -> _Made:
        self.state[f"{name}.weight"] = 0.6 + 0.2 * self.drawn(channels)
        self.state[f"{name}.bias"] = 0.2 * self.drawn(channels)
        self.state[f"{name}.running_mean"] = 0.2 * self.drawn(channels)
        self.state[f"{name}.running_var"] = 0.5 + torch.rand(channels, generator=self.generator)
        self.state[f"{name}.num_batches_tracked"] = torch.tensor(7)
        return self

    def linear(self, name: str, inputs: int, outputs: int) -> _Made:
        self.state[f"{name}.weight"] = self.drawn(outputs, inputs) * inputs**-0.5
        self.state[f"{name}.bias"] = self.drawn(outputs)
        return self

    def stem(self, kernel: int) -> _Made:
        return self.conv("conv1", 3, 64, kernel).norm("bn1", 64)

    def stages(self, depths: tuple[int, ...], kernel: int, *, wide_in_first: int | None = None) -> _Made:
        """Bottlenecks; with `wide_in_first`, the middle is 3 x 3 in the first block of so many stages alone."""
        channels = 64
        for stage, depth in enumerate(depths):
            inner = 64 * 2**stage
            for block in range(depth):
                name = f"layer{stage + 1}.{block}"
                wide = wide_in_first is None or (block == 0 and stage < wide_in_first)
                middle = (inner, inner, kernel if wide else 1)
                shapes = ((channels, inner, 1), middle, (inner, 4 * inner, 1))
                for k, (inputs, outputs, side) in enumerate(shapes, 1):
                    self.conv(f"{name}.conv{k}", inputs, outputs, side).norm(f"{name}.bn{k}", outputs)
                if block == 0:
                    self.conv(f"{name}.downsample.0", channels, 4 * inner, 1).norm(f"{name}.downsample.1", 4 * inner)
                channels = 4 * inner
        return self
