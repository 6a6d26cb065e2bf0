"""Class activation maps: a layer's feature maps A_k (h, w), weighted and summed, as maps of the picture's size.

All but `layer_activations` and Eigen-CAM weigh channels by what they do to the logit; their maps are at least 0.
`layer` names another layer than the last features (`watched` says how).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fdetect.errors import ParameterError
from fdetect.nets.explaining.base import explanation

if TYPE_CHECKING:
    import torch

    from fdetect.nets.detectors.model import DetectorNetwork
    from fdetect.nets.explaining.places import Places

__all__ = ["eigen_cam", "grad_cam", "grad_cam_plus_plus", "layer_activations", "score_cam"]

_FLAT = 1e-12  # a feature map whose range is smaller shows no place
_MOST = 1 << 21  # pixels in one pass of score_cam


@explanation(shows="attention")
def grad_cam(model: DetectorNetwork, images: torch.Tensor, *, layer: str = "") -> torch.Tensor:
    """Feature maps weighted by the mean gradient of the logit: (B, 3, H, W) -> (B, H, W) float32, at least 0.

        a_k = mean over (i, j) of d logit / d A_k(i, j),   map = max(0, sum over k of a_k A_k)

    Source: Selvaraju et al. 2017, arXiv 1610.02391, equations 1 and 2.
    """
    features, slope = _with_gradient(model, images, layer)
    cells = (slope.mean((-2, -1), keepdim=True) * features).sum(1).clamp(min=0)
    return _placed(model, images, cells, layer)


@explanation(shows="attention")
def grad_cam_plus_plus(model: DetectorNetwork, images: torch.Tensor, *, layer: str = "") -> torch.Tensor:
    """Feature maps weighted by their positive gradients, each place by its share: (B, 3, H, W) -> (B, H, W) float32.

        g = d logit / d A_k,   alpha_k = g^2 / (2 g^2 + sum over places of A_k g^3), 0 where that is undefined
        map = max(0, sum over k of A_k sum over places of alpha_k max(0, g))

    of exp(logit), whose common factor exp(logit) is left out.
    Source: Chattopadhyay, Sarkar, Howlader, Balasubramanian 2018, arXiv 1710.11063, equations 10 and 19.
    """
    import torch

    features, slope = (one.double() for one in _with_gradient(model, images, layer))
    below = 2 * slope**2 + (features * slope**3).sum((-2, -1), keepdim=True)
    alpha = torch.where(below != 0, slope**2 / torch.where(below != 0, below, 1.0), 0.0)
    weight = (alpha * slope.clamp(min=0)).sum((-2, -1), keepdim=True)
    return _placed(model, images, (weight * features).sum(1).clamp(min=0), layer)


@explanation(shows="attention")
def score_cam(
    model: DetectorNetwork, images: torch.Tensor, *, layer: str = "", channels: int = 32, batch: int = 16
) -> torch.Tensor:
    """Feature maps weighted by the logit of the picture seen through them: (B, 3, H, W) -> (B, H, W) float32.

        s_k = logit(x * H_k) - logit(0),   H_k = A_k at the picture's size, shifted and scaled to 0..1
        map = max(0, sum over k of softmax(s)_k A_k)

    channels  the feature maps of each image that vary most over places; the others are left out, and so are those that
              do not vary at all
    batch     pictures in one pass at most; of large pictures fewer

    No gradient is used.  Source: Wang et al. 2020, arXiv 1910.01279, algorithm 1.
    """
    import torch

    if min(channels, batch) < 1:
        raise ParameterError(f"score_cam takes channels and batch of at least 1; got {channels}, {batch}")
    with torch.no_grad():
        features, places = _features(model, images, layer), _places(model, layer)
        nothing = model(torch.zeros_like(images[:1]))
        cells = []
        for image, maps in zip(images, features, strict=True):
            order = torch.argsort(maps.double().var((-2, -1), correction=0), descending=True, stable=True)
            chosen = maps[order[:channels]]
            chosen = chosen[(chosen.amax((-2, -1)) - chosen.amin((-2, -1))) > _FLAT]
            if not len(chosen):
                cells.append(torch.zeros_like(maps[0]))
                continue
            scores = _scores_through(model, image, chosen, places, batch) - nothing
            cells.append((torch.softmax(scores.double(), 0)[:, None, None] * chosen).sum(0).clamp(min=0).float())
    return _spread(torch.stack(cells), places, images)


@explanation(shows="strength")
def eigen_cam(model: DetectorNetwork, images: torch.Tensor, *, layer: str = "") -> torch.Tensor:
    """First principal component of the feature maps, not centred: (B, 3, H, W) -> (B, H, W) float32, at least 0.

        A = U S V',  A (h w, C) of one image,   map = max(0, A v_1),   v_1 with the sign that makes the sum positive

    It does not know the logit: strong features of either answer show.  v_1, or A v_1 itself, is the last eigenvector of
    the smaller of A' A (C, C) and A A' (h w, h w), which takes a fraction of the time of a decomposition of A.
    Source: Muhammad and Yeasin 2020, arXiv 2008.00299, section III.
    """
    import torch

    with torch.no_grad():
        features = _features(model, images, layer).double()
        flat = features.flatten(2).transpose(1, 2)
        if flat.shape[1] < flat.shape[2]:
            values, vectors = torch.linalg.eigh(flat @ flat.mT)
            cells = values[:, -1:].clamp(min=0).sqrt() * vectors[:, :, -1]
        else:
            cells = (flat @ torch.linalg.eigh(flat.mT @ flat).eigenvectors[:, :, -1:]).squeeze(-1)
        sign = torch.where(cells.sum(1, keepdim=True) < 0, -1.0, 1.0)
        cells = (sign * cells).unflatten(1, features.shape[-2:]).clamp(min=0)
    return _placed(model, images, cells, layer)


@explanation(shows="strength")
def layer_activations(model: DetectorNetwork, images: torch.Tensor, *, layer: str = "") -> torch.Tensor:
    """Mean absolute activation of a layer's channels: (B, 3, H, W) -> (B, H, W) float32, at least 0.

        map = mean over k of |A_k|

    It does not know the logit.  Source: Zagoruyko and Komodakis 2017, arXiv 1612.03928, section 3.1, as a mean.
    """
    import torch

    with torch.no_grad():
        cells = _features(model, images, layer).abs().mean(1)
    return _placed(model, images, cells, layer)


def _features(model: DetectorNetwork, images: torch.Tensor, layer: str) -> torch.Tensor:
    from fdetect.nets.explaining.watching import watched

    with watched(model, layer) as seen:
        model(images)
    return _only(model, seen, layer)


def _with_gradient(model: DetectorNetwork, images: torch.Tensor, layer: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a layer's activations and the gradient of each image's logit at them, (B, C, h, w) both."""
    from fdetect.nets.explaining.watching import gradient, watched

    with watched(model, layer) as seen:
        logits = model(images.requires_grad_())
    features = _only(model, seen, layer)
    return features.detach(), gradient(logits, features, f"layer '{layer}'" if layer else "the features")


def _only(model: DetectorNetwork, seen: list[torch.Tensor], layer: str) -> torch.Tensor:
    if len(seen) != 1:
        where = f"layer '{layer}'" if layer else "`features`"
        raise ParameterError(f"{model.config.architecture} passes {where} {len(seen)} times for a picture; name a "
                             "layer that it passes once")  # fmt: skip
    return seen[0]


def _scores_through(
    model: DetectorNetwork, image: torch.Tensor, maps: torch.Tensor, places: Places, batch: int
) -> torch.Tensor:
    """Return the logit of a picture behind each of its feature maps: (3, H, W), (K, h, w) -> (K,)."""
    import torch

    found = []
    for some in maps.split(max(1, min(batch, _MOST // (image.shape[-2] * image.shape[-1])))):
        masks = _spread(some, places, image)
        low, high = masks.amin((-2, -1), keepdim=True), masks.amax((-2, -1), keepdim=True)
        found.append(model(image * ((masks - low) / (high - low).clamp(min=_FLAT)).unsqueeze(1)))
    return torch.cat(found)


def _placed(model: DetectorNetwork, images: torch.Tensor, cells: torch.Tensor, layer: str) -> torch.Tensor:
    return _spread(cells, _places(model, layer), images)


def _places(model: DetectorNetwork, layer: str) -> Places:
    from fdetect.nets.explaining.places import places_of

    return places_of(model, lambda even, strip: _features(even, strip, layer), f"layer {layer}")


def _spread(cells: torch.Tensor, places: Places, images: torch.Tensor) -> torch.Tensor:
    from fdetect.nets.explaining.places import spread

    return spread(cells, places, *images.shape[-2:])
