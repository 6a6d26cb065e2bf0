"""A page that needs no network and no file beside it: a template, with the style and script of all pages within it.

The content security policy allows exactly this style and this script, by their hashes, and nothing to be loaded.
"""

from __future__ import annotations

import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fdetect.bench.report.grid import printable
from fdetect.bench.report.verdict import brief_mark

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
    made = Environment(
        loader=PackageLoader("fdetect.bench.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True, finalize=_readable,
    )  # fmt: skip
    made.filters.update(brief_mark=brief_mark, head=_head, cell=_cell)
    return made


def _head(text: str) -> Markup:
    """Write the head of a column; of how many groups a generator's figures are, on a line of its own as "n = 24"."""
    name, _, n = text.removesuffix(" groups)").rpartition(" (")
    if not (name and n.isdigit() and text.endswith(" groups)")):
        return Markup("{}").format(printable(text))
    return Markup('{} <span class="below" title="{n} groups">n = {n}</span>').format(printable(name), n=n)


def _cell(text: str) -> Markup:
    """Write a cell; what a figure is of, as in "0.685 [0.60, 0.76] dalle-mini (24 groups)", stands below it."""
    found = re.fullmatch(r"([-+]?[\d.]+ \[[^]]*\]\S*) (.+)", printable(text))
    if not found:
        return Markup("{}").format(printable(text))
    return Markup('{} <span class="below">{}</span>').format(*found.groups())


def _readable(value: Any) -> Any:
    """Show characters that steer as escapes: one in a name could turn the sentence around it the other way."""
    return printable(value) if type(value) is str else value


@cache
def _file(name: str) -> Markup:
    return Markup(files("fdetect.bench.report").joinpath("templates", name).read_text(encoding="utf-8"))


def _hash(text: str) -> str:
    """Return the source expression by which a policy allows exactly this text."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
