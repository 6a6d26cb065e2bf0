"""Root certificates that whoever inspects trusts: a signer whom one of them vouches for is told as valid."""

from __future__ import annotations

import hashlib
import re
import ssl
from pathlib import Path

from fdetect.errors import DataError

__all__ = ["anchors_of", "anchors_text"]

_GIVE = "give a PEM file of root certificates"
_BLOCK = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def anchors_of(path: Path) -> str:
    """Return the certificates of a PEM file, without what else is in it; raises DataError where there are none.

    A damaged one is refused, since with it no signature at all could be verified.
    """
    try:
        text = path.read_bytes().decode("ascii", "ignore")  # comments may be in any language
    except OSError as error:
        raise DataError(f"--trust {path} cannot be read ({error.strerror})") from None
    blocks = _BLOCK.findall(text)
    try:
        for block in blocks:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=block)
    except (ssl.SSLError, ValueError):
        raise DataError(f"--trust {path}: a certificate in it is damaged; {_GIVE}") from None
    if not blocks:
        raise DataError(f"--trust {path}: there is no certificate in it; {_GIVE}")
    return "\n".join(blocks) + "\n"


def anchors_text(anchors: str) -> str:
    """Name certificates by their number and a hash: "2 certificates, SHA-256 1f2e..."."""
    n = len(_BLOCK.findall(anchors))
    return f"{n} certificate{'s' * (n != 1)}, SHA-256 {hashlib.sha256(anchors.encode()).hexdigest()}"
