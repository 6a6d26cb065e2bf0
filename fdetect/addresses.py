"""Where data lie: paths of this machine, and addresses of other file systems such as `s3://bucket/folder`, as text.

An address is `scheme://place/level/level`; over HTTP a query may follow (`?sig=...`), which is part of the address of
a folder and is sent with every file below it.  `file:///a%20b` is the local path `/a b`.  A path relative to an address
is plain text; over HTTP the address itself has it quoted (`a%20b.jpg`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from urllib.parse import quote, unquote

from fdetect.errors import DataError

__all__ = ["absolute", "below", "common", "is_address", "is_http", "join", "levels_of", "masked", "unsigned"]

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")  # of two letters at least: one is a drive
_LOCAL = re.compile(r"(?:file|local)://", re.IGNORECASE)
_USER = re.compile(
    r"(?<=://)(?:(?:(?<=http://)|(?<=https://))[^/?#\s]+"  # TOKEN@ or user:password@
    r"|(?:(?<=s3://)|(?<=s3a://)|(?!\[|[^/?#\s:@]*:\d+[/?#]))"  # no address in brackets, and no port; s3 has none
    r"[^/?#\s:@]*:(?:[^/\s]*|[^\s@]*))(?=@)",  # user:password@, where the password may hold a slash
    re.IGNORECASE,
)
_QUERY = re.compile(  # of HTTP any, of others `?name=...`: a question mark may be in a name there
    r"(\bhttps?://[^\s?]*\?|\?(?=[^\s?=/]+=))\S+?(?=[:;,'\")]{0,2}(?:\s|$))", re.IGNORECASE
)
_SIGNED = re.compile(  # what is new each time that an address is signed
    r"(?:x-(?:amz|goog)-[^=]*|signature|sig|se|st|ske|skt|expires|policy|key-pair-id|awsaccesskeyid|googleaccessid"
    r"|hmac|[^=]*token|[^=]*api_?key)=",
    re.IGNORECASE,
)


def is_address(path: str | Path) -> bool:
    """Whether text is the address of another file system, and no path of this machine."""
    return isinstance(path, str) and bool(_ADDRESS.match(path)) and not _LOCAL.match(path)


def absolute(path: str | Path) -> str:
    """Return an address without slashes at its end, or the absolute local path; links are not resolved.

    Raises DataError for `file://host/...`, which is a file of another machine.
    """
    if is_address(path):
        return _joined(*_taken_apart(str(path)))
    if not isinstance(path, str) or not (scheme := _LOCAL.match(path)):
        return os.path.abspath(path)
    host, slash, rest = path[scheme.end() :].partition("/")
    if host not in ("", "localhost"):
        raise DataError(f"{masked(path)}: names another machine; a file of this one is file:///folder/name")
    return os.path.abspath(unquote(slash + rest, errors="surrogateescape"))


def join(root: str, path: str) -> str:
    """Return the local path, or the address, of a path relative to a root."""
    if not is_address(root):
        return os.path.join(root, path)
    if not path:
        return root
    head, levels, query = _taken_apart(root)
    return _joined(head, [*levels, quote(path, safe="/!$&'()*+,;=:@~") if is_http(head) else path], query)


def levels_of(address: str) -> tuple[str, list[str]]:
    """Return the top of an address (`s3://bucket`, with its query) and the levels below it, as they are called."""
    head, levels, query = _taken_apart(address)
    return head + query, [unquote(level) for level in levels] if is_http(address) else levels


def common(paths: Sequence[str]) -> str | None:
    """Return the deepest folder that all paths share; None where they lie on different file systems."""
    if not any(map(is_address, paths)):
        return os.path.commonpath(paths)
    if not all(map(is_address, paths)):
        return None
    heads, levels, queries = zip(*map(_taken_apart, paths), strict=True)
    if len(set(heads)) > 1 or len(set(queries)) > 1:
        return None
    shared = takewhile(lambda names: len(set(names)) == 1, zip(*levels, strict=False))
    return _joined(heads[0], [names[0] for names in shared], queries[0])


def below(path: str, root: str) -> tuple[str, ...] | None:
    """Return the names of the levels from a root down to a path; None where it is not at or below the root."""
    if is_address(path) != is_address(root):
        return None
    if not is_address(path):
        return Path(path).relative_to(root).parts if Path(path).is_relative_to(root) else None
    (head, levels, query), (top, first, other) = _taken_apart(path), _taken_apart(root)
    if (head, query) != (top, other) or levels[: len(first)] != first:
        return None
    return tuple(unquote(level) if is_http(head) else level for level in levels[len(first) :])


def is_http(address: str) -> bool:
    """Whether an address is of HTTP, where names are quoted and a query may follow."""
    return address.lower().startswith(("http://", "https://"))


def masked(text: str) -> str:
    """Return text as it may be shown: passwords and queries of addresses in it become `***`."""
    return _QUERY.sub(r"\1***", _USER.sub("***", text)) if "://" in text else text


def unsigned(address: str) -> str:
    """Return an address without passwords, tokens and signatures: the same tomorrow, and of no other folder."""
    if not is_address(address):
        return address
    place, _, query = address.partition("?")
    place = _USER.sub(lambda found: found[0].partition(":")[0] if ":" in found[0] else "", place).replace("://@", "://")
    kept = [part for part in query.split("&") if part and not _SIGNED.match(part)]
    return "?".join([place, *(["&".join(kept)] if kept else [])])


def _taken_apart(address: str) -> tuple[str, list[str], str]:
    """Return `scheme://place`, the levels, and the query with its question mark, which only HTTP has."""
    scheme, _, rest = address.partition("://")
    mark = query = ""
    if is_http(address):
        rest, mark, query = rest.partition("?")
    place, *levels = rest.rstrip("/").split("/")
    return f"{scheme.lower()}://{place}", levels, mark + query


def _joined(head: str, levels: Sequence[str], query: str) -> str:
    return "/".join([head, *levels]) + query
