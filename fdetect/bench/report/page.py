"""A page that needs no network and no file beside it: a template, with the style and script of all pages within it.

The content security policy allows exactly this style and this script, by their hashes, and nothing to be loaded.
"""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fdetect.bench.report.grid import printable

__all__ = ["render_page"]


def render_page(template: str, **values: Any) -> str:
    """Fill a template of the package; every text is escaped, and `policy`, `style` and `script` are given to it."""
    style, script = _file("report.css"), _file("report.js")
    policy = (f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
              "base-uri 'none'; form-action 'none'")  # fmt: skip
    page = _environment().get_template(template)
    return page.render(**values, style=style, script=script, policy=Markup(policy))


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("fdetect.bench.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True, finalize=_readable,
    )  # fmt: skip


def _readable(value: Any) -> Any:
    """Show characters that steer as escapes: one in a name could turn the sentence around it the other way."""
    return printable(value) if type(value) is str else value


@cache
def _file(name: str) -> Markup:
    return Markup(files("fdetect.bench.report").joinpath("templates", name).read_text(encoding="utf-8"))


def _hash(text: str) -> str:
    """Return the source expression by which a policy allows exactly this text."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
