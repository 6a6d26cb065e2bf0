"""C2PA manifests: signed in the test with a chain made here, then changed, stripped, damaged, or not to be read."""

from __future__ import annotations

import contextlib
import datetime
import importlib.util
import io
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fdetect.errors import ParameterError
from fdetect.metadata.credentials import read_credentials
from fdetect.metadata.manifest_bytes import manifest_size, remote_manifest

c2pa = pytest.importorskip("c2pa")
x509 = pytest.importorskip("cryptography.x509")

GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
MIME = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "TIFF": "image/tiff", "GIF": "image/gif",
        "AVIF": "image/avif"}  # fmt: skip


def picture(format: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format)
    return file.getvalue()


def certificates(ocsp: str = "") -> tuple[bytes, bytes, str]:
    """Return the signer's chain and key, PEM, and the root's PEM."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

    now = datetime.datetime.now(datetime.UTC)
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def named(name: str, holder: Any, signs_others: bool) -> Any:
        def names(common: str) -> Any:
            pairs = [(NameOID.ORGANIZATION_NAME, "A test"), (NameOID.COMMON_NAME, common)]
            return x509.Name([x509.NameAttribute(*pair) for pair in pairs])

        usage = x509.KeyUsage(not signs_others, False, False, False, False, signs_others, signs_others, False, False)
        return (
            x509.CertificateBuilder()
            .subject_name(names(name)).issuer_name(names("root")).public_key(holder.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(signs_others, None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(holder.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        )  # fmt: skip

    signer = named("a signer", key, False)
    signer = signer.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    if ocsp:
        where = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(ocsp))
        signer = signer.add_extension(x509.AuthorityInformationAccess([where]), critical=False)
    made = [one.sign(root_key, hashes.SHA256()) for one in (signer, named("root", root_key, True))]
    pem = [one.public_bytes(serialization.Encoding.PEM) for one in made]
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem[0] + pem[1], key.private_bytes(*plain), pem[1].decode()


CHAIN = certificates()


def signed(
    format: str, *, chain: tuple[bytes, bytes, str] = CHAIN, actions: list[dict[str, Any]] | None = None,
    ingredients: tuple[tuple[str, bytes], ...] = (), remote: str = "", embed: bool = True,
) -> bytes:  # fmt: skip
    made = {"action": "c2pa.created", "digitalSourceType": GENERATED, "softwareAgent": {"name": "Dream"}}
    manifest = {
        "claim_generator_info": [{"name": "A Generator", "version": "3"}], "title": "t",
        "assertions": [{"label": "c2pa.actions", "data": {"actions": actions or [made]}}],
    }  # fmt: skip
    plain = {"builder": {"thumbnail": {"enabled": False}}, "verify": {"verify_after_sign": False}}
    builder = c2pa.Builder(manifest, context=c2pa.Context.from_dict(plain))
    for title, data in ingredients:
        told = {"title": title, "relationship": "componentOf"}
        builder.add_ingredient(told, "image/png", io.BytesIO(data))
    if remote:
        builder.set_remote_url(remote)
    if not embed:
        builder.set_no_embed()
    signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", chain[0], chain[1], None))
    file = io.BytesIO()
    builder.sign(signer, MIME[format], io.BytesIO(picture(format)), file)
    return file.getvalue()


@pytest.mark.parametrize("format", sorted(MIME))
def test_a_signed_picture_is_told_with_its_unknown_signer(format: str) -> None:
    told = read_credentials(signed(format), format)
    assert told.status == "untrusted signer"
    assert "the signature holds" in told.reason
    assert "nobody vouches for the signer here" in told.reason
    assert told.signer == "A test, a signer"
    assert told.time == ""  # no authority stamped it
    assert told.claim_generator == "A Generator 3"
    (action,) = told.actions
    assert (action.name, action.agent, action.source_type) == ("c2pa.created", "Dream", GENERATED)
    assert action.meaning == "generated"
    assert action.words
    (claim,) = [claim for claim in told.claims if claim.meaning]
    assert (claim.source, claim.name, claim.meaning) == ("C2PA", "c2pa.created", "generated")
    assert claim.note == "signed, but nobody vouches for the signer here"


def test_a_root_that_is_given_vouches_and_another_does_not() -> None:
    data = signed("PNG")
    assert read_credentials(data, "PNG", anchors=CHAIN[2]).status == "valid"
    assert read_credentials(data, "PNG", anchors=CHAIN[2]).failures == ()
    assert read_credentials(data, "PNG", anchors=certificates()[2]).status == "untrusted signer"
    with pytest.raises(ParameterError, match="PEM"):
        read_credentials(data, "PNG", anchors="no certificate")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_a_picture_changed_after_it_was_signed_is_invalid(format: str) -> None:
    data = bytearray(signed(format))
    at = {"PNG": data.rfind(b"IDAT") + 100, "JPEG": len(data) - 100, "WEBP": data.find(b"VP8") + 100}[format]
    data[at] ^= 1
    told = read_credentials(bytes(data), format, anchors=CHAIN[2])
    assert told.status == "invalid"
    assert told.failures == ("the file, its picture or its metadata, was changed after it was signed",)
    assert told.failures[0] in told.reason
    assert told.actions[0].meaning == "generated"  # what it claims is still told, and what that is worth
    assert "does not hold" in told.claims[0].note


def test_a_manifest_that_was_changed_is_invalid() -> None:
    data = signed("JPEG").replace(b"A Generator", b"A Gen3rator")
    told = read_credentials(data, "JPEG", anchors=CHAIN[2])
    assert told.status == "invalid"
    assert any("the signature is not of this manifest" in words for words in told.failures)


def test_a_stripped_picture_has_none_and_that_says_nothing() -> None:
    file = io.BytesIO()
    Image.open(io.BytesIO(signed("JPEG"))).save(file, "JPEG")
    for data, format in ((file.getvalue(), "JPEG"), (picture("BMP"), "BMP"), (picture("PNG"), "PNG")):
        told = read_credentials(data, format)
        assert told.status == "absent"
        assert "says nothing" in told.reason
        assert told.claims == ()


def test_ingredients_are_told_with_the_sources_of_their_own_manifests() -> None:
    edit = [{"action": "c2pa.color_adjustments", "softwareAgent": "An Editor"}]
    data = signed("PNG", actions=edit, ingredients=(("made.png", signed("PNG")), ("plain.png", picture("PNG"))))
    told = read_credentials(data, "PNG")
    assert told.n_ingredients == 2
    assert [(part.title, part.source_types) for part in told.ingredients] == [
        ("made.png", (GENERATED,)), ("plain.png", ())]  # fmt: skip
    meanings = {claim.value.split(",")[0]: claim.meaning for claim in told.claims if claim.name == "ingredient"}
    assert meanings == {"made.png": "generated", "plain.png": ""}
    assert [action.meaning for action in told.actions if action.name == "c2pa.color_adjustments"] == ["edited"]


def test_hundreds_of_actions_and_long_names_are_cut() -> None:
    actions = [{"action": "c2pa.edited", "softwareAgent": "x" * 3000 + "\n\t" + "y"} for _ in range(150)]
    told = read_credentials(signed("PNG", actions=actions), "PNG")
    assert told.n_actions >= 150
    assert len(told.actions) == 100
    assert len(told.actions[99].agent) < 450
    assert any(claim.value.startswith(f"{told.n_actions} and 0, 100 of each") for claim in told.claims)


@pytest.mark.parametrize("format", sorted(MIME))
def test_without_the_package_a_manifest_is_seen_and_not_read(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = signed(format)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    told = read_credentials(data, format)
    size = manifest_size(data)
    assert 2000 < size < len(data) - len(picture(format)) + 500
    assert told.status == "not read"
    assert told.reason == f"a C2PA manifest is there ({size} bytes) and was not read: pip install 'fdetect[c2pa]'"
    assert read_credentials(picture(format), format).status == "absent"


def test_the_size_is_that_of_the_manifest() -> None:
    plain = {"builder": {"thumbnail": {"enabled": False}}}
    for n in (0, 200_000):  # one segment of a JPEG, and several
        body = {"claim_generator_info": [{"name": "g"}], "title": "t", "assertions": [
            {"label": "c2pa.actions", "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": GENERATED,
                                                            "description": "x" * n}]}}]}  # fmt: skip
        builder = c2pa.Builder(body, context=c2pa.Context.from_dict(plain))
        signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", CHAIN[0], CHAIN[1], None))
        file = io.BytesIO()
        manifest = builder.sign(signer, "image/jpeg", io.BytesIO(picture("JPEG")), file)
        assert manifest_size(file.getvalue()) == len(manifest) > n
        assert read_credentials(file.getvalue(), "JPEG").status == "untrusted signer"


class Listener:
    """A server on this machine that counts who asks it for anything."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.socket.getsockname()[1]}/x"
        self.asked = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                other, _ = self.socket.accept()
            except OSError:
                return
            with other:
                self.asked += 1
                other.recv(4096)
                other.sendall(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.socket.close()


def asked_for(data: bytes, **verify: bool) -> None:
    context = c2pa.Context.from_dict({"verify": verify})
    with contextlib.suppress(c2pa.C2paError):
        c2pa.Reader("image/jpeg", io.BytesIO(data), context=context).json()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_a_remote_manifest_is_told_and_never_fetched(
    format: str, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = signed(format, remote=listener.address, embed=False)
    told = read_credentials(data, format)
    assert told.status == "not read"
    assert told.reason == f"the file points to a remote manifest, which is not fetched: {listener.address}"
    assert [claim.value for claim in told.claims] == [listener.address]
    assert remote_manifest(data) == listener.address
    assert listener.asked == 0
    asked_for(data, remote_manifest_fetch=True)  # the library would have
    assert listener.asked == 1
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert read_credentials(data, format) == told


def test_no_revocation_list_is_asked_for(listener: Listener) -> None:
    data = signed("JPEG", chain=certificates(ocsp=listener.address))
    assert read_credentials(data, "JPEG").status == "untrusted signer"
    assert listener.asked == 0
    asked_for(data, ocsp_fetch=True)
    assert listener.asked >= 1


def test_damaged_manifests_are_a_sentence() -> None:
    rng = np.random.default_rng(0)
    for format in ("JPEG", "PNG", "WEBP"):
        whole = signed(format)
        start = whole.find(b"jumb") - 8
        seen = set()
        for k in range(150):
            data = bytearray(whole)
            for at in rng.integers(start, start + manifest_size(whole), 1 + k % 8):
                data[at] = rng.choice([0, 255, data[at] ^ 1, 127])
            if k % 6 == 0:
                data = data[: rng.integers(len(data))]
            told = read_credentials(bytes(data), format)
            assert len(told.reason) < 1500
            assert "\n" not in told.reason
            seen.add(told.status)
        assert {"invalid"} <= seen <= {"invalid", "untrusted signer", "not read", "absent"}


def png_with(manifest: bytes) -> bytes:
    plain = picture("PNG")
    chunk = b"caBX" + manifest
    return plain[:33] + struct.pack(">I", len(manifest)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + plain[33:]


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body) + 8, kind) + body


def store(claim: bytes) -> bytes:
    def super_box(kind: bytes, label: bytes, *inside: bytes) -> bytes:
        uuid = kind + bytes.fromhex("00110010800000aa00389b71")
        return box(b"jumb", box(b"jumd", uuid + b"\3" + label + b"\0") + b"".join(inside))

    return super_box(b"c2pa", b"c2pa", super_box(
        b"c2ma", b"urn:c2pa:1", super_box(b"c2as", b"c2pa.assertions"),
        super_box(b"c2cl", b"c2pa.claim.v2", box(b"cbor", claim)),
        super_box(b"c2cs", b"c2pa.signature", box(b"cbor", b"\xd2\x84\x40\xa0\xf6\x40"))))  # fmt: skip


@pytest.mark.parametrize("manifest", [
    b"", b"\0" * 100, b"garbage" * 1000,
    struct.pack(">I4s", 0x7FFFFFFF, b"jumb"),  # a box larger than the file
    struct.pack(">I4sQ", 1, b"jumb", 1 << 62),
    b"".join(box(b"jumb", box(b"jumd", b"c2pa")) for _ in range(10_000)),
    store(b"\x81" * 1_000_000),  # a million arrays in each other
    store(b"\xa1\x61a" * 300_000),
    store(b"\x9b\0\0\0\x7f\xff\xff\xff\xff"), store(b"\x5b\0\0\0\x7f\xff\xff\xff\xff"),  # half a terabyte
], ids=range(10))  # fmt: skip
def test_hostile_manifests_are_invalid(manifest: bytes) -> None:
    told = read_credentials(png_with(manifest), "PNG")
    assert told.status == ("invalid" if manifest else "absent")
    if manifest:
        assert told.reason.startswith(f"a C2PA manifest is there ({len(manifest)} bytes) and cannot be read: ")


def test_files_that_are_no_pictures_never_raise() -> None:
    starts = (b"", b"text", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"\0\0\0\1ftypavif")
    others = (b"II*\0\xff\xff\xff\xff", b"GIF89a\x21\xff\x0bC2PA_GIF", b"GIF89a\x21\xff\x0bC2PA_GIF\1\0\0\xff")
    for data in starts + others:
        for format in ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", ""):
            assert read_credentials(data, format).status in ("not read", "absent", "invalid")
    assert manifest_size(picture("JPEG")[:2] + b"\xff\xeb\xff\xffJP\0\1\0\0\0\1\0\0\0\0jumb\0\0\0\0jumdc2pa") == 20
