"""Explanations: which parts of a picture a detector network's logit comes from, as maps of the picture's size.

    base.py       the registry `explanation`, and `explain`, which calls its methods by name
    patches.py    the network's own logits of places
    cams.py       class activation maps: Grad-CAM, Grad-CAM++, Score-CAM, Eigen-CAM; activations of a layer
    saliency.py   gradients at the pixels: positive and negative saliency, guided back-propagation
    places.py     where in the picture the cells of a feature map lie
    watching.py   a layer's activations and gradients, seen without leaving a trace on the network
    costs.py      what explaining a picture needs of memory
    randomising.py  the same network with random weights, for the test that a map depends on them

Importing this package loads no torch; calling a method does.
"""

from fdetect.nets.explaining import cams, patches, saliency
from fdetect.nets.explaining.base import SHOWS, Patch, explain, explanation, logits_of, top_patches

__all__ = ["SHOWS", "Patch", "cams", "explain", "explanation", "logits_of", "patches", "saliency", "top_patches"]
