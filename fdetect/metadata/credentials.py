"""Content Credentials: what a C2PA manifest says of a picture, whether its signature holds, and who signed it.

A signature shows that a manifest and its file are as the signer left them.  It does not make the manifest true, and a
file without one says nothing: most programs and sites remove it.  The library c2pa (extra `c2pa`) reads and verifies;
here its answers become plain words and claims.  Nothing is ever fetched: no remote manifest, no revocation list, no
trust list, no identity document.
Source: C2PA Technical Specification 2.2 (2025), https://spec.c2pa.org
"""

from __future__ import annotations

import importlib.util
import io
import json
from dataclasses import dataclass, replace
from typing import Any

from fdetect.errors import ParameterError
from fdetect.metadata.claims import Claim, shortened
from fdetect.metadata.credential_words import EDITS, FAILURES
from fdetect.metadata.digital_source import digital_source_meaning
from fdetect.metadata.manifest_bytes import manifest_size, remote_manifest

__all__ = ["ABSENT", "INVALID", "NOT_READ", "UNTRUSTED", "VALID", "Action", "Credentials", "Ingredient",
           "read_credentials"]  # fmt: skip

ABSENT, VALID, INVALID = "absent", "valid", "invalid"
UNTRUSTED, NOT_READ = "untrusted signer", "not read"

_MOST = 100  # actions, ingredients and failures that are kept
_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "TIFF": "image/tiff", "GIF": "image/gif",
          "AVIF": "image/avif", "HEIF": "image/heif"}  # fmt: skip
_OFFLINE: dict[str, Any] = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    # identity assertions may name a web address to ask; and no host is allowed, whatever else would ask
    "core": {"decode_identity_assertions": False, "allowed_network_hosts": [], "allow_redirects": False,
             "max_decompressed_manifest_size_in_mb": 32},
}  # fmt: skip


@dataclass(frozen=True)
class Action:
    """One thing that was done, as the manifest tells it: "c2pa.created", with what program, from what kind of source.

    meaning is a key of `claims.MEANINGS`; words say the source type, or are "".
    """

    name: str
    agent: str = ""
    source_type: str = ""
    meaning: str = ""
    words: str = ""


@dataclass(frozen=True)
class Ingredient:
    """One picture that went into this one: its title, its part in it, and the source types its own manifest names."""

    title: str
    relationship: str = ""
    source_types: tuple[str, ...] = ()


@dataclass(frozen=True)
class Credentials:
    """What was found.

    status           ABSENT, VALID (the signature holds and a given root vouches for the signer), UNTRUSTED (it holds,
                     and nobody vouches for the signer here), INVALID, or NOT_READ
    reason           a sentence that says why
    signer           the names in the signer's certificate, issuer first, or ""
    time             when a time-stamp authority says it was signed, as text, or "": a signer's own clock is no proof
    claim_generator  the program that made the manifest, or ""
    actions, ingredients  at most 100 of each; n_actions and n_ingredients are their true numbers
    failures         what did not hold, in plain words
    claims           all of it as claims, each with a note on what its signature is worth
    """

    status: str
    reason: str
    signer: str = ""
    time: str = ""
    claim_generator: str = ""
    actions: tuple[Action, ...] = ()
    n_actions: int = 0
    ingredients: tuple[Ingredient, ...] = ()
    n_ingredients: int = 0
    failures: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()


def read_credentials(data: bytes, format: str, *, anchors: str = "") -> Credentials:
    """Read the C2PA manifest of one file.

    format   as `Facts.format`: "JPEG", "PNG", "WEBP", "TIFF", "GIF", "AVIF"; of another one, by its bytes
    anchors  root certificates (PEM) whose signers are vouched for; none by default

    Never raises for what a file holds: what is damaged is INVALID with a sentence, and what cannot be read NOT_READ.
    Raises ParameterError for anchors that are no PEM.
    """
    if anchors and "-----BEGIN CERTIFICATE-----" not in anchors:
        raise ParameterError("anchors hold no certificate; give root certificates as PEM text")
    size, address = manifest_size(data), remote_manifest(data)
    if importlib.util.find_spec("c2pa") is None:
        return _unread(size, address, "pip install 'fdetect[c2pa]'")
    try:
        import c2pa
    except Exception as error:  # its compiled library is missing, or not for this machine
        return _unread(size, address, f"the package c2pa cannot be used: {_plain(error)}")
    settings = {**_OFFLINE, "trust": {"user_anchors": anchors}} if anchors else _OFFLINE
    try:
        with (
            c2pa.Context.from_dict(settings) as context,
            c2pa.Reader(_TYPES.get(format), io.BytesIO(data), context=context) as reader,
        ):
            store = json.loads(reader.json())
        return _told(_dict(store))
    except c2pa.C2paError.ManifestNotFound:
        return _absent() if not size else _broken(size, "the library finds none where the file has one")
    except Exception as error:  # whatever damaged bytes make of the library
        if size:
            return _broken(size, _plain(error))
        if address:
            return _unread(0, address, "")
        if format in _TYPES:
            return Credentials(NOT_READ, f"no C2PA manifest is seen, and the library cannot go through the file: "
                                         f"{_plain(error)}")  # fmt: skip
        return _absent()


def _absent() -> Credentials:
    return Credentials(ABSENT, "there is no C2PA manifest; that says nothing, since most programs and sites remove it")


def _unread(size: int, address: str, why: str) -> Credentials:
    if size:
        reason = f"a C2PA manifest is there ({size} bytes) and was not read: {why}"
        return Credentials(NOT_READ, reason, claims=(Claim("C2PA", "manifest", f"{size} bytes, not read"),))
    if address:
        reason = f"the file points to a remote manifest, which is not fetched: {shortened(address)}"
        return Credentials(NOT_READ, reason, claims=(Claim("C2PA", "remote manifest", shortened(address)),))
    return _absent()


def _broken(size: int, why: str) -> Credentials:
    reason = f"a C2PA manifest is there ({size} bytes) and cannot be read: {why}"
    return Credentials(INVALID, reason, failures=(why,), claims=(Claim("C2PA", "manifest", f"{size} bytes, damaged"),))


def _told(store: dict[str, Any]) -> Credentials:
    manifests = _dict(store.get("manifests"))
    active = _dict(manifests.get(str(store.get("active_manifest"))))
    failures = _failures(_dict(store.get("validation_results")))
    status, reason = _judged(store.get("validation_state"), failures)
    signature = _dict(active.get("signature_info"))
    names = (_text(signature.get("issuer")), _text(signature.get("common_name")))
    actions, parts = _actions(active), _ingredients(active, manifests)
    generator = _text(_first(active.get("claim_generator_info")) or active.get("claim_generator"))
    told = Credentials(
        status, reason, signer=", ".join(name for name in names if name), time=_text(signature.get("time")),
        claim_generator=generator, actions=actions[:_MOST], n_actions=len(actions),
        ingredients=parts[:_MOST], n_ingredients=len(parts), failures=failures,
    )  # fmt: skip
    return replace(told, claims=_claims(told))


def _judged(state: object, failures: tuple[str, ...]) -> tuple[str, str]:
    if state == "Trusted":
        return VALID, "the signature holds, the file is as it was signed, and a given root vouches for the signer"
    if state == "Valid":
        return UNTRUSTED, ("the signature holds and the file is as it was signed, but nobody vouches for the signer "
                           "here: anybody can make such a certificate")  # fmt: skip
    others = [words for words in failures if words != FAILURES["signingCredential.untrusted"]]
    return INVALID, "the manifest does not hold: " + ("; ".join(others[:3]) or "the library does not say why")


def _failures(results: dict[str, Any]) -> tuple[str, ...]:
    found = [(_dict(results.get("activeManifest")), "")]
    deltas = map(_dict, _list(results.get("ingredientDeltas"))[:_MOST])
    found += [(_dict(delta.get("validationDeltas")), "of an ingredient: ") for delta in deltas]
    words: dict[str, None] = {}  # each once, in their order
    for part, of in found:
        for one in _list(part.get("failure"))[:_MOST]:
            code, more = _text(_dict(one).get("code")), _text(_dict(one).get("explanation"))
            words[of + FAILURES.get(code, f"{code}: {more}")] = None
    return tuple(words)[:_MOST]


def _actions(manifest: dict[str, Any]) -> tuple[Action, ...]:
    made = []
    for assertion in map(_dict, _list(manifest.get("assertions"))):
        label, body = str(assertion.get("label")), _dict(assertion.get("data"))
        if label.startswith("c2pa.actions"):
            made += [_action(_text(one.get("action")), one.get("softwareAgent"), one.get("digitalSourceType"))
                     for one in map(_dict, _list(body.get("actions")))]  # fmt: skip
        elif "Iptc4xmpExt:DigitalSourceType" in body:  # c2pa.metadata, stds.iptc
            made.append(_action(shortened(label), "", body["Iptc4xmpExt:DigitalSourceType"]))
    return tuple(made)


def _action(name: str, agent: object, source_type: object) -> Action:
    uri = _text(source_type)
    meaning, words = digital_source_meaning(uri) if uri else ("edited" if name in EDITS else "", "")
    return Action(name, _text(agent), uri, meaning, words)


def _ingredients(manifest: dict[str, Any], manifests: dict[str, Any]) -> tuple[Ingredient, ...]:
    made = []
    for one in map(_dict, _list(manifest.get("ingredients"))):
        own = _actions(_dict(manifests.get(str(one.get("active_manifest")))))
        types = dict.fromkeys(action.source_type for action in own if action.source_type)
        made.append(Ingredient(_text(one.get("title")), _text(one.get("relationship")), tuple(types)[:_MOST]))
    return tuple(made)


def _claims(told: Credentials) -> tuple[Claim, ...]:
    note = {
        VALID: "signed, and a given root vouches for the signer",
        UNTRUSTED: "signed, but nobody vouches for the signer here",
    }.get(told.status, "its signature does not hold: anybody may have written or changed it")
    made = [("signer", told.signer, ""), ("time stamp", told.time, ""), ("claim generator", told.claim_generator, "")]
    for action in told.actions:
        parts = (action.words or action.source_type, f"by {action.agent}" if action.agent else "")
        made.append((action.name, ", ".join(part for part in parts if part) or "no more is said", action.meaning))
    for part in told.ingredients:
        meanings = [digital_source_meaning(uri) for uri in part.source_types]
        value = ", ".join([part.title or "without a title", *(words or "" for _, words in meanings)])
        generated = any(meaning == "generated" for meaning, _ in meanings)
        made.append(("ingredient", value, "generated" if generated else ""))
    if told.n_actions > _MOST or told.n_ingredients > _MOST:
        made.append(("actions and ingredients", f"{told.n_actions} and {told.n_ingredients}, {_MOST} of each told", ""))
    return tuple(Claim("C2PA", shortened(name), shortened(value), m, note) for name, value, m in made if value)


def _plain(error: Exception) -> str:
    return shortened(str(error)) or type(error).__name__


def _text(value: object) -> str:
    """Make any value of a manifest one line: a program is told by its name and version."""
    if isinstance(value, dict):
        value = " ".join(str(value[key]) for key in ("name", "version") if isinstance(value.get(key), str))
    return shortened(str(value)) if isinstance(value, str | int | float) else ""


def _first(value: object) -> object:
    return _list(value)[0] if _list(value) else value


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
