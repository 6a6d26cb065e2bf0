"""Training-free detectors: views of an image through a frozen encoder, and a score from how they compare.

base.py    the registry of detectors, what a view is, and the engine task that encodes one
drift.py   the RIGID family: how far the embedding drifts when noise is added
"""

from fdetect.rigid import drift as _drift  # registers its detectors
from fdetect.rigid.base import Detector, EncodeView, View, detector, prepare

__all__ = ["Detector", "EncodeView", "View", "detector", "prepare"]

del _drift
