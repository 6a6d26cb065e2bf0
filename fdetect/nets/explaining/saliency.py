"""Gradients of the logit at the pixels: what a small change of the picture would do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fdetect.errors import ParameterError
from fdetect.nets.explaining.base import explanation

if TYPE_CHECKING:
    import torch

    from fdetect.nets.detectors.model import DetectorNetwork

__all__ = ["guided_backprop", "negative_saliency", "positive_saliency"]


@explanation(shows="support")
def positive_saliency(model: DetectorNetwork, images: torch.Tensor, *, times_input: bool = True) -> torch.Tensor:
    """Positive part of gradient times input: (B, 3, H, W) -> (B, H, W) float32, at least 0.

        map(i, j) = max(0, sum over colours c of x_c(i, j) d logit / d x_c(i, j))

    times_input  false: the gradient alone, sum over colours, which says what a brighter pixel would do

    For a linear network the sum of both saliencies is its logit without the bias.
    Source: Shrikumar, Greenside, Shcherbina, Kundaje 2016, arXiv 1605.01713; the gradient alone, Simonyan, Vedaldi,
    Zisserman 2014, arXiv 1312.6034, section 3.
    """
    return _signed(model, images, times_input).clamp(min=0)


@explanation(shows="objection")
def negative_saliency(model: DetectorNetwork, images: torch.Tensor, *, times_input: bool = True) -> torch.Tensor:
    """Negative part of gradient times input: (B, 3, H, W) -> (B, H, W) float32, at most 0.

        map(i, j) = min(0, sum over colours c of x_c(i, j) d logit / d x_c(i, j))

    times_input  as in `positive_saliency`

    Source: as of `positive_saliency`.
    """
    return _signed(model, images, times_input).clamp(max=0)


@explanation(shows="attention")
def guided_backprop(model: DetectorNetwork, images: torch.Tensor) -> torch.Tensor:
    """Gradient at the pixels of which only positive parts pass a ReLU: (B, 3, H, W) -> (B, H, W) float32, at least 0.

        at each ReLU  g_in = g_out [x > 0] [g_out > 0];   map(i, j) = max over colours c of |g_c(i, j)|

    It may show edges of the picture whatever the network has learnt: Adebayo et al. 2018, arXiv 1810.03292.
    Raises ParameterError for a network without ReLUs, of which the rule is.
    Source: Springenberg, Dosovitskiy, Brox, Riedmiller 2015, arXiv 1412.6806, figure 1.
    """
    from fdetect.nets.explaining.watching import change_relus, gradient

    logits = model(images.requires_grad_())
    if not change_relus(logits, lambda inner, outer: inner.clamp(min=0)):
        raise ParameterError(f"{model.config.architecture} has no ReLU, and guided back-propagation is a rule for "
                             "ReLUs; take positive_saliency")  # fmt: skip
    return gradient(logits, images, "the pixels").abs().amax(1)


def _signed(model: DetectorNetwork, images: torch.Tensor, times_input: bool) -> torch.Tensor:
    from fdetect.nets.explaining.watching import gradient

    slope = gradient(model(images.requires_grad_()), images, "the pixels")
    return (slope * images.detach() if times_input else slope).sum(1)
