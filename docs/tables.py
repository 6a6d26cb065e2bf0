"""Writes the tables that come from the registries, between their markers in README.md and docs/.

    python docs/tables.py

A test compares what stands there with `tables()`, so a new feature or map is in the documents or the test says so.
"""

from __future__ import annotations

import re
from pathlib import Path

from fdetect.features import PRESETS, column_names, feature, preset
from fdetect.forensics import signal_map
from fdetect.nets.autoencoder_cards import AUTOENCODERS
from fdetect.nets.cards import CARDS
from fdetect.nets.distances import distance
from fdetect.registry import Entry, Registry
from fdetect.rigid import detector, view

ROOT = Path(__file__).resolve().parent.parent


def tables() -> dict[tuple[str, str], str]:
    """Return every table by file and marker."""
    return {
        ("README.md", "presets"): presets(),
        ("docs/features.md", "features"): features(),
        ("docs/features.md", "columns"): columns(),
        ("docs/features.md", "maps"): maps(),
        ("docs/detectors.md", "detectors"): detectors(),
        ("docs/detectors.md", "views"): plain(view),
        ("docs/detectors.md", "distances"): plain(distance),
        ("docs/detectors.md", "encoders"): encoders(),
        ("docs/detectors.md", "autoencoders"): autoencoders(),
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


def detectors() -> str:
    rows = ["| detector | cost of an image | settings that differ | references | what it is |", "|---|---|---|---|---|"]
    for entry in detector:
        instance, plain_settings = entry(), detector.of(entry.target).settings
        changed = {name: value for name, value in entry.settings.items() if value != plain_settings[name]}
        on = next(entry.settings[name] for name in ("encoder", "autoencoder", "feature") if name in entry.settings)
        what = ", ".join(f"`{name}={value}`" for name, value in changed.items())
        rows.append(
            f"| `{entry.name}` | {instance.cost} (`{on}`) | {what} | {instance.references} | "
            f"{entry.summary} |"
        )
    return "\n".join(rows)


def plain(registry: Registry) -> str:
    rows = ["| name | settings | what it is |", "|---|---|---|"]
    return "\n".join([*rows, *(f"| `{e.name}` | {settings(e)} | {e.summary} |" for e in registry)])


def encoders() -> str:
    rows = ["| name | hub id | D | size, interpolation, fit | licence | the embedding |", "|---|---|---|---|---|---|"]
    rows += [
        f"| `{card.name}` | {card.hub_id} | {card.dim} | {card.size} px, {card.interpolation}, {card.fit} | "
        f"{card.licence} | {card.embedding} |"
        for card in CARDS.values()
    ]
    return "\n".join(rows)


def autoencoders() -> str:
    rows = ["| name | hub id | class | latent | licence |", "|---|---|---|---|---|"]
    rows += [
        f"| `{card.name}` | {'/'.join(filter(None, (card.hub_id, card.subfolder))) or 'import'} | "
        f"{card.architecture} | {card.latent_channels} channels at 1/{card.factor} | {card.licence} |"
        for card in AUTOENCODERS.values()
    ]
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
