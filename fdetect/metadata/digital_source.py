"""The IPTC's words for where a picture comes from (digital source type), and what each would mean if it were true.

Source: IPTC NewsCodes "Digital Source Type", http://cv.iptc.org/newscodes/digitalsourcetype/, release of 2024-10-23,
all twenty terms; and the two that C2PA adds (specification 2.2, 2025).
"""

from __future__ import annotations

import re

__all__ = ["DIGITAL_SOURCES", "digital_source_meaning"]

DIGITAL_SOURCES = {
    "digitalCapture": ("camera", "captured from real life by a digital camera"),
    "computationalCapture": ("camera", "several captured frames, merged by the camera without a generator"),
    "negativeFilm": ("camera", "digitised from a negative on film"),
    "positiveFilm": ("camera", "digitised from a positive on film"),
    "print": ("camera", "digitised from a print"),
    "minorHumanEdits": ("edited", "an original with minor edits by a person (retired term)"),
    "humanEdits": ("edited", "corrected or enhanced by a person with tools that do not generate"),
    "algorithmicallyEnhanced": ("edited", "corrected or changed by an algorithm"),
    "softwareImage": ("", "made with software"),
    "digitalArt": ("", "made by a person with digital tools"),
    "digitalCreation": ("", "made by a person with tools that do not generate"),
    "dataDrivenMedia": ("", "data, drawn by a program that a person wrote"),
    "trainedAlgorithmicMedia": ("generated", "made by a model trained on sampled content: generative AI"),
    "algorithmicMedia": ("generated", "made by an algorithm that was not trained on sampled content, as a formula"),
    "screenCapture": ("", "a capture of a screen"),
    "virtualRecording": ("", "a recording of a virtual event, of synthetic and perhaps captured parts"),
    "composite": ("edited", "put together from several elements"),
    "compositeCapture": ("edited", "put together from several captures of real life"),
    "compositeSynthetic": ("generated", "put together from several elements, at least one of them synthetic"),
    "compositeWithTrainedAlgorithmicMedia": ("generated", "generative AI and other media together, as by inpainting"),
    "trainedAlgorithmicData": ("generated", "data made by a trained model"),
    "empty": ("", "an empty picture"),
}

_FORM = re.compile(r"(?:https?://[\w.]+/(?:newscodes/)?digitalsourcetype/|digsrctype:)?(\w+)/?", re.IGNORECASE)
_BY_LOWER = {name.lower(): told for name, told in DIGITAL_SOURCES.items()}  # some writers spell them freely


def digital_source_meaning(uri: str) -> tuple[str, str]:
    """Return (meaning, words) of a digital source type: an address, a "digsrctype:" code or the bare term.

    The meaning is a key of `claims.MEANINGS`; both are "" for what is not in the vocabulary.
    """
    found = _FORM.fullmatch(uri.strip()) if len(uri) < 300 else None
    return _BY_LOWER.get(found.group(1).lower(), ("", "")) if found else ("", "")
