"""list, doctor: what there is, and what works here."""

from __future__ import annotations

import importlib
import inspect
import shutil
from textwrap import fill, indent
from typing import Any

import rich_click as click

from fdetect.cli.common import show_rows
from fdetect.errors import UnknownName
from fdetect.registry import nearest

__all__ = ["catalogue_table", "doctor", "list_"]

KINDS = {
    "features": "fdetect.features:feature",
    "maps": "fdetect.forensics:signal_map",
    "detectors": "fdetect.rigid:detector",
    "views": "fdetect.rigid:view",
    "distances": "fdetect.nets.distances:distance",
    "generators": "fdetect.nets.own:generator",
    "noise-generators": "fdetect.nets.noise:noise_generator",
    "heads": "fdetect.classifiers:head",
    "fused-detectors": "fdetect.classifiers.fused_head:fused_detector",
    "calibrators": "fdetect.classifiers:calibrator",
    "networks": "fdetect.nets.detectors:network",
    "explanations": "fdetect.nets.explaining:explanation",
    "attacks": "fdetect.nets.gradient_attacks:attack",
    "reproductions": "fdetect.bench.reproduce.published:reproduction",
    "protocols": "fdetect.bench.protocols:protocol",
    "layouts": "fdetect.bench.layouts:layout",
    "perturbations": "fdetect.perturb:perturbation",
    "metrics": "fdetect.metrics:metric",
}


@click.command(name="list")
@click.argument("kind", required=False)
@click.argument("name", required=False)
def list_(kind: str | None, name: str | None) -> None:
    """List what is registered; with a KIND, only that (layouts are drawn); with a NAME too, its whole documentation.

    Kinds: features, detectors, heads, conditions, layouts, ...; without a KIND they stand first. `list columns` counts
    the columns of every feature; `list columns FEATURE` (or a preset, or a pattern) names them.
    """
    more = {"presets": _presets, "columns": _columns, "conditions": _conditions}
    if kind in more:
        more[kind](name)
        return
    if kind and kind not in KINDS:
        raise UnknownName(f"no kind '{kind}'{nearest(kind, [*KINDS, *more])} ({', '.join([*KINDS, *more])})")
    if kind and name:
        entry = _registry(kind).get(name)
        click.echo(f"{entry.name}({', '.join(f'{k}={v!r}' for k, v in entry.settings.items())})\n")
        plain = _registry(kind).of(entry.target)
        if plain.name != entry.name:  # whose documentation tells of its own defaults
            changed = [f"{k}={v}" for k, v in entry.settings.items() if v != plain.settings[k]]
            click.echo(f"This is `{plain.name}` with {', '.join(changed) or 'other maps'}; of `{plain.name}`:\n")
        click.echo(entry.doc)
        for base in getattr(entry.target, "__mro__", ())[1:]:  # settings that several detectors share
            if (base.__doc__ or "").startswith("Settings of every detector"):
                click.echo(f"\n{inspect.getdoc(base)}")
        return
    if not kind:
        click.secho("kinds", bold=True)
        _wrapped(", ".join([*KINDS, *more]))
        click.echo()
    for one in [kind] if kind else KINDS:
        registry = _registry(one)
        click.secho(f"{one}", bold=True)
        if kind == "layouts":  # what a layout is, its drawing says
            click.echo("\n\n".join(f"  {entry.name}\n{indent(entry.doc, '    ')}" for entry in registry))
        elif one in ("features", "maps"):  # variants share a summary: their settings tell them apart
            for entry in registry:
                about = ", ".join(filter(None, (entry.meta.get("family", ""), _settings(entry))))
                click.echo(f"  {entry.name}{f'  ({about})' if about else ''}\n      {entry.summary}")
        elif one == "detectors":
            for entry in registry:
                click.echo(f"  {entry.name}  ({_cost(registry, entry)})\n      {entry.summary}")
        else:
            show_rows(("", ""), [(entry.name, entry.summary) for entry in registry])
        for plugin, reason in registry.broken.items():
            click.echo(f"  {plugin}: not loaded: {reason}")
        click.echo()
    if not kind:
        _presets()
        click.echo()
        _conditions()


@click.command()
@click.option("--store", type=click.Path(file_okay=False), help="Folder of finished rows to check.")
def doctor(store: str | None) -> None:
    """Say what works here: libraries, backends, weights, cores, the store; and how to get what does not."""
    from fdetect.bench.doctor import checks

    for check in checks(store):
        mark = click.style("ok    ", fg="green") if check.ok else click.style("absent", fg="yellow")
        click.echo(f"{mark}  {check.name:<28}  {check.text}")


def _registry(kind: str) -> Any:
    module, _, name = KINDS[kind].partition(":")
    return getattr(importlib.import_module(module), name)


def _cost(registry: Any, entry: Any) -> str:
    """Say what an image costs a detector, on which network, and in which settings a variant differs."""
    instance, plain = entry(), registry.of(entry.target).settings
    kinds = ("encoder", "autoencoder", "feature", "weights")
    on = [f"{key}={entry.settings[key]}" for key in kinds if key in entry.settings]
    changed = [f"{key}={value}" for key, value in entry.settings.items() if value != plain[key]]
    bank = {"reals": "bank of reals", "both": "banks of reals and fakes"}.get(instance.references, "")
    return ", ".join(filter(None, (instance.cost, *dict.fromkeys((*on, *changed)), bank)))


def _columns(name: str | None) -> None:
    """Print the columns of one feature, a preset or a pattern, one a line; without a name a line on each feature."""
    from fdetect.features import column_names, select_features

    if name:
        for entry in select_features(name):
            click.echo("\n".join(column_names(entry)))
        return
    show_rows(*catalogue_table())


def _conditions(name: str | None = None) -> None:
    """Print what conditions there are and how chains are named; the members of a list; or what one condition does."""
    from fdetect.perturb import CONDITION_LISTS, condition, perturbation

    if name in CONDITION_LISTS:
        click.echo("\n".join(CONDITION_LISTS[name]))
        return
    if name:
        one = condition(name)
        front = (["through an autoencoder or denoiser"] if one.launder else []) + ["crop"] + ["resize"] * one.rescaled
        steps = [step + (f" {amount:g}" if amount else "") for step, amount in one.steps]
        click.echo(f"{name}: {'pixels as stored' if one.is_native else ', '.join([*front, *steps])}")
        return
    click.secho("conditions", bold=True)
    show_rows(("", ""), [
        ("native", "pixels as stored"),
        ("matched", "a crop, JPEG Q90: what everything but native is trained under"),
        ("rescaled", "a crop of drawn size, resized, JPEG Q90; alone or first, as in rescaled+blur1"),
        ("jpeg70, blur1, ...", "a crop, an operation with its amount behind it, JPEG Q90 unless it is a JPEG itself"),
        ("resize50+blur1+jpeg70", "a crop, operations from left to right, one JPEG at the end, Q90 if none is named"),
        ("launder_NAME", "through an autoencoder (fdetect weights list) or dncnn first; alone or at the front"),
    ])  # fmt: skip
    for title, names in (("operations (fdetect list perturbations)", perturbation.names()), *(
        (f"{called}: a list that stands for", names) for called, names in CONDITION_LISTS.items()
    )):  # fmt: skip
        click.secho(title, bold=True)
        _wrapped(", ".join(names))


def _wrapped(text: str) -> None:
    width = max(60, shutil.get_terminal_size((110, 24)).columns - 2)
    click.echo(fill(text, width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False))


def catalogue_table() -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the heads and rows of a table of all features: family, settings, count of columns, first and last of them.

    Families stand together, in the order of their first feature; names of columns lack the feature's own in front.
    """
    from fdetect.features import column_names, feature

    families = list(dict.fromkeys(entry.family for entry in feature))
    rows: list[tuple[str, ...]] = []
    for entry in sorted(feature, key=lambda entry: families.index(entry.family)):
        names = [name.partition(":")[2] for name in column_names(entry)]
        rows.append((entry.name, entry.family, str(len(names)), names[0], names[-1], _settings(entry)))
    return ("feature", "family", "columns", "first", "last", "settings"), rows


def _settings(entry: Any) -> str:
    return ", ".join(f"{key}={value}" for key, value in entry.settings.items())


def _presets(name: str | None = None) -> None:
    """Print the presets, or the features of one, a line each."""
    from fdetect.features import PRESETS, preset

    if name:
        show_rows(("", ""), [(entry.name, entry.summary) for entry in preset(name)])
        return
    click.secho("presets", bold=True)
    show_rows(("", ""), [(name, ", ".join(members)) for name, members in PRESETS.items()])
