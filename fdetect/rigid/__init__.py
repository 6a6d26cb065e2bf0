"""Training-free detectors: views of an image, compared in a space that was learnt, or made, for something else.

views.py    what is done to an image before it is looked at: noise, blur, tiles, ...
spaces.py   where views are compared: embeddings of encoders, distances of reconstructions, hand-crafted features
base.py     the registry of detectors, the settings they share, and the engine task of a view
drift.py    the RIGID family: how far the embedding drifts when the image is disturbed
contrast.py    blurred against sharpened: contrastive blur and MINDER
warpad.py      tiles with weakened wavelet details
uncertainty.py WePe: the network is disturbed in place of the image
shift.py       the window on the picture moves by a pixel
reconstruction.py  the AEROBLADE family: how closely autoencoders give an image back
handmade.py        how far hand-crafted features move when the image is disturbed
pretrained.py      detectors that others trained, and their logit
plugged.py         detectors of others: a class with a name, a version, a geometry and a score of pictures
bank.py            how far the embedding lies from those of reference images; references.py is what they share
"""

from fdetect.rigid import bank as _bank  # registers its detectors
from fdetect.rigid import contrast as _contrast
from fdetect.rigid import drift as _drift
from fdetect.rigid import handmade as _handmade
from fdetect.rigid import plugged as _plugged  # adopts those of entry points
from fdetect.rigid import pretrained as _pretrained
from fdetect.rigid import reconstruction as _reconstruction
from fdetect.rigid import shift as _shift
from fdetect.rigid import uncertainty as _uncertainty
from fdetect.rigid import warpad as _warpad
from fdetect.rigid.base import Bank, Detector, ViewTask, detector, prepare
from fdetect.rigid.views import View, view

__all__ = ["Bank", "Detector", "View", "ViewTask", "detector", "prepare", "view"]

del _bank, _contrast, _drift, _handmade, _plugged, _pretrained, _reconstruction, _shift, _uncertainty, _warpad
