"""Writes the tables that come from the registries, between their markers in README.md and docs/features.md.

    python docs/tables.py

A test compares what stands there with `tables()`, so a new feature or map is in the documents or the test says so.
"""

from __future__ import annotations

import re
from pathlib import Path

from fdetect.features import PRESETS, column_names, feature, preset
from fdetect.forensics import signal_map
from fdetect.registry import Entry

ROOT = Path(__file__).resolve().parent.parent


def tables() -> dict[tuple[str, str], str]:
    """Return every table by file and marker."""
    return {
        ("README.md", "presets"): presets(),
        ("docs/features.md", "features"): features(),
        ("docs/features.md", "columns"): columns(),
        ("docs/features.md", "maps"): maps(),
    }


def presets() -> str:
    rows = ["| preset | columns | features |", "|---|---|---|"]
    last, before = "", tuple[str, ...]()
    for name, members in PRESETS.items():
        contained = bool(last) and set(before) < set(members)
        shown = [f"`{member}`" for member in members if not (contained and member in before)]
        text = f"those of `{last}` and " if contained else ""
        n_columns = sum(len(column_names(entry)) for entry in preset(name))
        rows.append(f"| `{name}` | {n_columns} | {text}{', '.join(shown)} |")
        last, before = name, members
    return "\n".join(rows)


def features() -> str:
    rows = ["| feature | family | presets | columns | settings | what it is |", "|---|---|---|---|---|---|"]
    for entry in shown():
        members = ", ".join(name for name, features in PRESETS.items() if entry.name in features)
        rows.append(
            f"| `{entry.name}` | {entry.family} | {members} | {len(column_names(entry))} | {settings(entry)} | "
            f"{entry.summary} |"
        )
    return "\n".join(rows)


def columns() -> str:
    rows = ["| feature | its columns |", "|---|---|"]
    for entry in shown():
        names = [name.partition(":")[2] for name in column_names(entry)]
        listed = names if len(names) <= 24 else [*names[:8], "...", *names[-4:]]
        rows.append(f"| `{entry.name}` | {', '.join(name if name == '...' else f'`{name}`' for name in listed)} |")
    return "\n".join(rows)


def maps() -> str:
    rows = ["| map | reads | settings | what it is |", "|---|---|---|---|"]
    for entry in signal_map:
        reads = ", ".join(f"`{name}`" for name in entry.reads)
        rows.append(f"| `{entry.name}` | {reads} | {settings(entry)} | {entry.summary} |")
    return "\n".join(rows)


def shown() -> list[Entry]:
    """All features but the probes, which are the audit's."""
    return [entry for entry in feature if entry.family != "probe"]


def settings(entry: Entry) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in entry.settings.items())


def place(text: str, marker: str) -> re.Match[str] | None:
    """Find what stands between the markers of a table."""
    return re.search(rf"(<!-- registry:{marker} -->\n)(.*?)\n?(<!-- /registry -->)", text, re.DOTALL)


def main() -> None:
    for (file, marker), table in tables().items():
        path = ROOT / file
        text = path.read_text(encoding="utf-8")
        found = place(text, marker)
        if not found:
            raise SystemExit(f"{file} has no marker <!-- registry:{marker} -->")
        path.write_text(f"{text[: found.end(1)]}{table}\n{text[found.start(3) :]}", encoding="utf-8")


if __name__ == "__main__":
    main()
