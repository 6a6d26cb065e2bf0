"""Inspections made by hand, for tests of what is shown of one: nothing in them was computed by a detector."""

from __future__ import annotations

import io
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from fdetect.bench.inspecting.inspection import (
    GENERATED,
    NO_VERDICT,
    Evidence,
    Inspection,
    Standing,
    TileScores,
    Verdict,
    View,
)
from fdetect.bench.inspecting.jpeg_history import JpegHistory, JpegSigns
from fdetect.images import Decoded
from fdetect.metadata.claims import Claim, Metadata
from fdetect.metadata.credentials import Credentials
from fdetect.metadata.thumbnails import Thumbnail
from fdetect.types import Facts, Failure

REFERENCES = np.arange(1.0, 100.0)  # 99 photographs: a value of 97 is as high as 3 of them, (1 + 3) / 100
NAN = float("nan")


def jpeg(pixels: np.ndarray, comment: bytes = b"") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", comment=comment)
    return file.getvalue()


def picture(height: int = 60, width: int = 80) -> np.ndarray:
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.stack([across, down, 255 - across], axis=-1).astype(np.uint8)


def standing(value: float) -> Standing:
    return Standing(value, REFERENCES)


def inspection() -> Inspection:
    """One of everything, with figures that can be checked by hand."""
    pixels = picture()
    boxes = np.array([[0, 0, 20, 20], [0, 20, 20, 40], [20, 0, 40, 20], [20, 20, 40, 40], [40, 0, 60, 20]])
    scores, high = np.array([99.5, 97.0, 90.0, 1.0, NAN]), np.array([0.005, 0.04, 0.11, 1.0, NAN])
    tiles = TileScores(60, 80, boxes, scores, high, "2 of 4 stand out.")
    claims = (Claim("PNG text", "parameters", "a cat, Steps: 20", "generated", "Programs write this."),
              Claim("EXIF", "Make", "Canon", "camera"), Claim("EXIF", "Software", "Editor", "edited"),
              Claim("EXIF", "DateTime", "2020"), Claim("XMP", "xmp:Rating", "5"))  # fmt: skip
    return Inspection(
        "folder of someone/picture.jpg", "ab" * 16,
        Facts("JPEG", 80, 60, 1234, orientation=6, exif=(("Make", "Canon"),)),
        Verdict(GENERATED, ("Its score is rare.", "It stays so."), "Of 99 photographs 3 score as high.",
                ("It is no probability.",), 97.0, 0.04, 0.61, 0.08, 0.7),
        (View("as stored", "as it is", "matched", standing(97.0)),
         View("half size", "smaller", "half", standing(NAN), "too small")),
        tiles,
        (Evidence("peaks", "Peaks in the spectrum", 99.0, standing(99.0), "Peaks are there.", 0.61, picture="peaks"),
         Evidence("noise", "Noise", reason="it needs torch")),
        JpegHistory(90, True, "4:2:0", False, "", None, None, 1.5, 5.5, "about 1 in 100", JpegSigns(1.5),
                    ("It is a JPEG of quality 90.",)),
        Metadata(claims, ("its XMP packet is not well-formed",)),
        Credentials("untrusted signer", "nobody vouches for it", "Jane Roe", "2026", "Program 1",
                    failures=("it was changed",), claims=(Claim("C2PA", "c2pa.created", "by Program 1", "generated"),)),
        (Thumbnail("EXIF thumbnail", 80, 60, jpeg(pixels), 0.5, True, "It agrees."),
         Thumbnail("second preview", 80, 60, jpeg(pixels[::-1]), 9.0, False, "It differs."),
         Thumbnail("broken preview", 0, 0, b"no picture", None, None, "It is damaged.")),
        notices=("One branch was absent.",), about={"detector": "shipped", "digest": "0123"}, pixels=pixels,
        crop=Decoded(pixels[:20, :30], Facts("RAW", 30, 20, 1800)),
    )  # fmt: skip


def unread() -> Inspection:
    """Of a file that could not be decoded."""
    verdict = Verdict(NO_VERDICT, ("It is truncated.",), "", (), NAN, NAN, NAN)
    return Inspection("broken.png", "", None, verdict, failure=Failure("", "broken.png", "decode", "it is truncated"))


def everywhere(value: Any, text: str) -> Any:
    """Return a value with a text behind every text in it, however deep; the word of the verdict and meanings stay."""
    if isinstance(value, str):
        return value + text
    if isinstance(value, tuple):
        return tuple(everywhere(one, text) for one in value)
    if isinstance(value, dict):
        return {everywhere(key, text): everywhere(one, text) for key, one in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        kept = {"word", "meaning"} if isinstance(value, Claim) else {"word"}
        names = [one.name for one in fields(value) if one.name not in kept]
        return replace(value, **{name: everywhere(getattr(value, name), text) for name in names})
    return value
