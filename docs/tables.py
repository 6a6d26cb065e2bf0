"""Writes the tables that come from the registries, between their markers in README.md and docs/.

    python docs/tables.py

A test compares what stands there with `tables()`, so a new feature or map is in the documents or the test says so.
"""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from fdetect.bench.layouts import layout
from fdetect.classifiers import calibrator, head
from fdetect.classifiers.heads import scale_of
from fdetect.classifiers.search import GRIDS
from fdetect.features import PRESETS, column_names, feature, preset
from fdetect.forensics import signal_map
from fdetect.nets.autoencoder_cards import AUTOENCODERS
from fdetect.nets.cards import CARDS
from fdetect.nets.detector_cards import PUBLISHED
from fdetect.nets.detectors import network
from fdetect.nets.distances import distance
from fdetect.nets.explaining import SHOWS, explanation
from fdetect.perturb import CONDITION_LISTS, perturbation
from fdetect.recipes import RECIPES
from fdetect.registry import Entry, Registry
from fdetect.rigid import detector, view
from fdetect.wear import amounts_of

ROOT = Path(__file__).resolve().parent.parent

# What each network sees of a picture.
LOOKS_AT = {
    "mlp": "nine numbers of each of 8 x 8 cells: mean colours, fineness",
    "lenet": "the picture",
    "resnet18": "the picture",
    "resnet50": "the picture",
    "cbam_resnet": "the picture, with attention to channels and places",
    "cnnspot": "the picture",
    "gragnaniello": "the picture, at full resolution until the second stage",
    "gram_net": "the picture, and how channels go together at six depths",
    "npr": "what resampling by 2 does not give back, times 2/3",
    "safe": "the finest diagonal wavelet band",
    "ladeda": "what resampling by 2 does not give back, in patches of 9 x 9 px",
    "tiny_ladeda": "as `ladeda`",
    "patchcraft": "SRM residuals of the plainest and of the richest patches",
    "residual_trunk": "NPR, SRM and HH maps, in patches of 72 x 72 px",
    "vit": "the picture, in patches of 16 px",
    "swin": "the picture, in patches of 4 px",
    "dinov2": "the picture, through a frozen or fine-tuned DINOv2",
    "resnext101": "the picture",
    "efficientnet_b4": "the picture",
}


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
        ("docs/trained.md", "heads"): heads(),
        ("docs/trained.md", "calibrators"): calibrators(),
        ("docs/trained.md", "networks"): networks(),
        ("docs/trained.md", "recipes"): recipes(),
        ("docs/trained.md", "published"): published(),
        ("docs/trained.md", "explanations"): explanations(),
        ("docs/data.md", "layouts"): layouts(),
        ("docs/conditions.md", "perturbations"): perturbations(),
        ("docs/conditions.md", "condition-lists"): condition_lists(),
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
        kinds = ("encoder", "autoencoder", "feature", "weights")
        on = next(entry.settings[name] for name in kinds if name in entry.settings)
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


def heads() -> str:
    rows = ["| head | score | formula | settings | `--search` tries |", "|---|---|---|---|---|"]
    for entry in head:
        tried = ", ".join(" ".join(f"{k}={v}" for k, v in one.items()) or "nothing" for one in GRIDS[entry.name])
        rows.append(f"| `{entry.name}` | {scale_of(entry)} | {formula(entry)} | {settings(entry)} | {tried} |")
    return "\n".join(rows)


def calibrators() -> str:
    rows = ["| calibrator | formula | source |", "|---|---|---|"]
    return "\n".join([*rows, *(f"| `{e.name}` | {formula(e)} | {source(e)} |" for e in calibrator)])


def networks() -> str:
    rows = [
        "| network | parameters | looks at | from px | its recipe | local weights | source |",
        "|---|---|---|---|---|---|---|",
    ]
    for entry in network:
        kind = entry.target
        about = {"optimiser": "adamw", "decline": "cosine", **kind.RECIPE}
        recipe = f"{about['optimiser']}, rate {about['rate']:g}, {about['decline']}, decay {about.get('decay', 1e-4):g}"
        warm = about.get("warm_up")
        recipe += f", warm-up {warm:g}" if warm else ""
        rows.append(
            f"| `{entry.name}` | {parameters(entry)} | {LOOKS_AT[entry.name]} | {kind.LEAST} | {recipe} | "
            f"{weights_of(entry)} | {source(entry)} |"
        )
    return "\n".join(rows)


def recipes() -> str:
    rows = ["| augmentation | operation: probability | ranges that differ |", "|---|---|---|"]
    plainest = type(RECIPES["light"])("plain")
    ranges = ("smallest", "largest", "earlier", "strength", "widest", "loudest", "last", "hidden")
    for recipe in RECIPES.values():
        names = [one.name for one in fields(recipe) if one.name not in (*ranges, "name")]
        chances = [name for name in names if getattr(recipe, name)]
        differ = [name for name in ranges if getattr(recipe, name) != getattr(plainest, name)]
        rows.append(
            f"| `{recipe.name}` | {', '.join(f'{name} {getattr(recipe, name):g}' for name in chances)} | "
            f"{', '.join(f'{name} {getattr(recipe, name)}' for name in differ)} |"
        )
    return "\n".join(rows)


def published() -> str:
    rows = ["| `--as` | network | the authors' file | licence of the weights |", "|---|---|---|---|"]
    rows += [f"| `{one.name}` | `{one.architecture}` | {one.file} | {one.licence} |" for one in PUBLISHED.values()]
    return "\n".join(rows)


def explanations() -> str:
    rows = ["| explanation | how to read it | settings | formula | source |", "|---|---|---|---|---|"]
    rows += [
        f"| `{entry.name}` | {SHOWS[entry.shows]} | {settings(entry)} | {formula(entry)} | {source(entry)} |"
        for entry in explanation
    ]
    return "\n".join(rows)


def layouts() -> str:
    rows = ["| layout | refines | what it reads | beware |", "|---|---|---|---|"]
    for entry in sorted(layout, key=lambda entry: entry.name):
        general = getattr(entry.target, "refines", "")
        beware = re.search(r"Beware: (.*?)(?=\n\n|\Z)", entry.doc, re.DOTALL)
        text = " ".join(beware[1].split()) if beware else ""
        row = f"| `{entry.name}` | {f'`{general}`' if general else ''} | {entry.summary} | {text} |"
        rows.append(row.replace("<", "\\<"))
    return "\n".join(rows)


def perturbations() -> str:
    rows = ["| operation | amounts | unchanged at | chains draw | what it is |", "|---|---|---|---|---|"]
    for entry in perturbation:
        amounts, taken, neutral, drawn = amounts_of(entry), "none", "", ""
        if amounts:
            taken = f"{amounts.low:g} to {amounts.high:g}{f', {amounts.word}' if amounts.word else ''}"
            neutral = "" if amounts.neutral is None else f"{amounts.neutral:g}"
            drawn = " to ".join(f"{one:g}" for one in dict.fromkeys(amounts.usual or ()))
        what = " ".join((entry.doc.split("\n\n")[0] + made(entry)).split())
        rows.append(f"| `{entry.name}` | {taken} | {neutral} | {drawn} | {what} |")
    return "\n".join(rows)


def made(entry: Entry) -> str:
    """What stands behind the word "Made." in the docstring of a preset."""
    found = re.search(r"Made\.\s(.*)", entry.doc, re.DOTALL)
    return f" {found[1]}" if found else ""


def condition_lists() -> str:
    rows = ["| list | conditions |", "|---|---|"]
    return "\n".join([*rows, *(f"| `{name}` | {', '.join(f'`{one}`' for one in names)} |"
                               for name, names in CONDITION_LISTS.items())])  # fmt: skip


def formula(entry: Entry) -> str:
    """The first formula of the docstring in a code span: its lines, but for empty ones, side by side."""
    lines = entry.doc.splitlines()
    first = next((k for k, line in enumerate(lines) if line.startswith("    ")), None)
    if first is None:
        return ""
    last = next((k for k in range(first, len(lines)) if not lines[k].startswith("    ")), len(lines))
    text = "; ".join(" ".join(line.split()).rstrip(",;") for line in lines[first:last])
    return f"`{text}`".replace("|", "\\|")


def source(entry: Entry) -> str:
    """The docstring's sentence that begins with "Source:", without that word."""
    found = re.search(r"Sources?:\s(.*?)(?<!al)\.(?=\s|$)", entry.doc, re.DOTALL)
    return " ".join(found[1].split()) if found else ""


def parameters(entry: Entry) -> str:
    """How many parameters the network's first line says it has."""
    found = re.findall(r"([\d.,]+\d) (million|thousand|parameters)", entry.summary)
    if not found:
        return "as the encoder"
    number, unit = found[-1]
    return f"{number}{'' if unit == 'parameters' else ' ' + unit}"


def weights_of(entry: Entry) -> str:
    """Whether a network is built without local weights."""
    if "encoder" in entry.settings:
        return "needed: `encoder`"
    if "from_scratch" in entry.settings:
        return "needed: `pretrained`, or `from_scratch=true`"
    return "may start from `pretrained`" if "pretrained" in entry.settings else "none"


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
