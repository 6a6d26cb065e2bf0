"""list, doctor: what there is, and what works here."""

from __future__ import annotations

import importlib
from textwrap import indent
from typing import Any

import rich_click as click

from fdetect.cli.common import show_rows

__all__ = ["doctor", "list_"]

KINDS = {
    "features": "fdetect.features:feature",
    "maps": "fdetect.forensics:signal_map",
    "detectors": "fdetect.rigid:detector",
    "heads": "fdetect.classifiers:head",
    "protocols": "fdetect.bench.protocols:protocol",
    "layouts": "fdetect.bench.layouts:layout",
    "perturbations": "fdetect.perturb:perturbation",
    "metrics": "fdetect.metrics:metric",
}


@click.command(name="list")
@click.argument("kind", required=False, type=click.Choice([*KINDS, "presets"]))
@click.argument("name", required=False)
def list_(kind: str | None, name: str | None) -> None:
    """List what is registered; with a KIND, only that (layouts are drawn); with a NAME too, its whole documentation."""
    if kind == "presets":
        _presets()
        return
    if kind and name:
        entry = _registry(kind).get(name)
        click.echo(f"{entry.name}({', '.join(f'{k}={v!r}' for k, v in entry.settings.items())})\n\n{entry.doc}")
        return
    for one in [kind] if kind else KINDS:
        registry = _registry(one)
        click.secho(f"{one}", bold=True)
        if kind == "layouts":  # what a layout is, its drawing says
            click.echo("\n\n".join(f"  {entry.name}\n{indent(entry.doc, '    ')}" for entry in registry))
        else:
            show_rows(("", ""), [(entry.name, entry.summary) for entry in registry])
        for plugin, reason in registry.broken.items():
            click.echo(f"  {plugin}: not loaded: {reason}")
        click.echo()
    if not kind:
        _presets()


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


def _presets() -> None:
    from fdetect.features import PRESETS

    click.secho("presets", bold=True)
    show_rows(("", ""), [(name, ", ".join(members)) for name, members in PRESETS.items()])
