"""The codes of C2PA in plain words: what it means that a check failed, and which actions are edits.

Source: C2PA Technical Specification 2.2 (2025), "Validation" (status codes) and "Actions".
"""

from __future__ import annotations

__all__ = ["EDITS", "FAILURES"]

_CHANGED = "the file, its picture or its metadata, was changed after it was signed"
_UNBOUND = "the manifest is not bound to this picture: it could stand in any file"

FAILURES = {
    "assertion.dataHash.mismatch": _CHANGED,
    "assertion.boxesHash.mismatch": _CHANGED,
    "assertion.bmffHash.mismatch": _CHANGED,
    "assertion.dataHash.malformed": _UNBOUND,
    "assertion.boxesHash.malformed": _UNBOUND,
    "assertion.bmffHash.malformed": _UNBOUND,
    "claim.hardBindings.missing": _UNBOUND,
    "assertion.multipleHardBindings": "the manifest is bound to two files at once",
    "assertion.hashedURI.mismatch": "a part of the manifest was changed after it was signed",
    "assertion.missing": "a part of the manifest is missing",
    "assertion.undeclared": "the manifest has a part that was not signed",
    "assertion.action.malformed": "the list of what was done is not well-formed",
    "assertion.action.ingredientMismatch": "an action names a picture that is not there",
    "assertion.cbor.invalid": "a part of the manifest is damaged",
    "assertion.json.invalid": "a part of the manifest is damaged",
    "assertion.ingredient.malformed": "the entry of a picture that went in is not well-formed",
    "claim.missing": "the manifest has no claim, so nothing is signed",
    "claim.multiple": "the manifest has two claims, and it is open which one is signed",
    "claim.malformed": "the claim of the manifest is not well-formed",
    "claim.cbor.invalid": "the claim of the manifest is damaged",
    "claimSignature.missing": "the manifest is not signed",
    "claimSignature.mismatch": "the signature is not of this manifest: it was changed, or made up",
    "claimSignature.outsideValidity": "it was signed at a time when the signer's certificate was not valid",
    "signingCredential.untrusted": "nobody vouches for the signer here",
    "signingCredential.invalid": "the signer's certificate may not sign manifests",
    "signingCredential.expired": "the signer's certificate has expired, and no time stamp says it was signed before",
    "signingCredential.ocsp.revoked": "the signer's certificate was revoked",
    "timeStamp.mismatch": "the time stamp is not of this signature",
    "timeStamp.malformed": "the time stamp is not well-formed",
    "timeStamp.outsideValidity": "the time stamp lies outside its certificate's validity",
    "timeStamp.untrusted": "nobody vouches for the time stamp here",
    "ingredient.manifest.missing": "the manifest of a picture that went in is missing",
    "ingredient.manifest.mismatch": "the manifest of a picture that went in was changed",
    "ingredient.claimSignature.missing": "the manifest of a picture that went in is not signed",
    "ingredient.claimSignature.mismatch": "the manifest of a picture that went in was changed",
    "manifest.multipleParents": "the manifest names two pictures as the one that was edited",
    "manifest.update.invalid": "the manifest claims to change no pixel, and lists edits",
    "manifest.inaccessible": "a manifest that is kept elsewhere was not fetched",
    "algorithm.unsupported": "it was signed or hashed in a way that the library does not know",
}  # of an unknown code, the code and the library's own words are told

# converting, redacting a manifest and adding a watermark leave what the picture shows
EDITS = frozenset(f"c2pa.{name}" for name in (
    "adjustedColor", "color_adjustments", "cropped", "deleted", "drawing", "edited", "enhanced", "filtered",
    "orientation", "placed", "removed", "resized", "resized.proportional",
))  # fmt: skip
