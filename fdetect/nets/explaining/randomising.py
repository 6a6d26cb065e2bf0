"""The same network with random weights: an explanation that stays the same did not depend on what was learnt."""

from __future__ import annotations

import copy

import torch
from torch import nn

from fdetect.nets.detectors.model import DetectorNetwork

__all__ = ["randomised"]


def randomised(model: DetectorNetwork, *, seed: int = 0) -> DetectorNetwork:
    """Return a copy of a network with weights drawn anew, all of them; the network itself stays as it is.

    Kernels and linear layers: normal, mean 0, variance 2 / fan-in; biases 0; norms do nothing; any other parameter:
    normal with its own mean and deviation.  Fixed filters (buffers) stay.  Torch's global generator is not touched.
    Source: Adebayo et al. 2018, arXiv 1810.03292, section 3 (all layers together); He et al. 2015, arXiv 1502.01852,
    equation 10, so that activations keep their order of magnitude.
    """
    fresh, draws = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in fresh.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.LayerNorm | nn.GroupNorm):
                module.reset_parameters()
                continue
            kernel = module.weight if isinstance(module, nn.Linear | nn.modules.conv._ConvNd) else None
            for parameter in module.parameters(recurse=False):
                if kernel is None:
                    mean, deviation = float(parameter.mean()), float(parameter.std(correction=0))
                else:
                    mean, deviation = 0.0, (2 / kernel[0].numel()) ** 0.5 if parameter is kernel else 0.0
                parameter.copy_(mean + deviation * torch.randn(parameter.shape, generator=draws))
    return fresh
