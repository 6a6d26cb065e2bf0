"""weights: what there is, and how it gets here; `weights get` is the only command that downloads."""

from __future__ import annotations

import rich_click as click

from fdetect.cli.common import say, show_rows

__all__ = ["weights"]


@click.group()
def weights() -> None:
    """List, download and import the weights of networks.

    Weights are safetensors only, found in this order: a folder that you give, written with a separator where a name is
    called so too (./taef2); the package itself, for the small autoencoders that come with it (own-...); the weights
    home ($FDETECT_WEIGHTS, else your data folder), one folder a name, which `import` fills; the hub cache, which `get`
    fills.
    Nothing else in fdetect downloads anything.
    """


@weights.command()
@click.argument("name")
def get(name: str) -> None:
    """Download the weights NAME once: a name of `fdetect weights list`, or a hub id ORG/NAME[@REVISION].

    The size is said first.  Every large file is hashed and compared with the hash that the hub states; a file that
    differs is removed again.  Gated repositories need their licence accepted and `hf auth login`.
    """
    from fdetect.nets.folders import file_sha256, weight_files
    from fdetect.nets.hub import download, plan, wanted

    planned = plan(wanted(name))
    what = planned.wanted
    total = sum(file.size for file in planned.files)
    licence = f", licence {what.licence}" if what.licence else ""
    here = "all of it here already" if not planned.bytes_missing else f"{_bytes(planned.bytes_missing)} to download"
    say(f"{what.hub_id} at {planned.commit[:12]}: {len(planned.files)} files, {_bytes(total)}, {here}{licence}")
    folder = download(planned)
    for file in weight_files(folder, stem=what.stem):
        click.echo(f"{file_sha256(file)}  {file}")


@weights.command(name="import")
@click.argument("files", nargs=-1, required=True, type=click.Path())
@click.option("--as", "name", required=True, metavar="NAME", help="What the files are: dinov2-large, npr, univfd, ...")
def import_(files: tuple[str, ...], name: str) -> None:
    """Turn the authors' FILES (.pth or .safetensors) into the weights NAME, by a strict key map; no code of them runs.

    NAME is of an encoder: dinov2-{small,base,large,giant}, dinov2-reg-{small,base,large,giant}, dinov2 and dinov2-reg
    (of any size); of a detector: npr, safe, cnnspot-prob{0.1,0.5}, ladeda-{forensynth,wildrf},
    ladeda-{forensynth,wildrf}-two-thirds, tiny-ladeda-{forensynth,wildrf}, univfd, rine-{1class,2class,4class,ldm};
    or dncnn, taef2 (encoder and decoder), lpips-vgg (VGG16 and LPIPS' own). An unknown NAME lists them all.
    A key that is missing, has no place or is of another shape stops the import.
    """
    from fdetect.nets.folders import file_sha256
    from fdetect.nets.importing import import_weights

    folder = import_weights(files, name)
    click.echo(f"{file_sha256(folder / 'model.safetensors')}  {folder / 'model.safetensors'}")


@weights.command(name="list")
def list_() -> None:
    """List the known weights: what they are, their licence, where they lie, and what has been shown of them."""
    from fdetect.nets.inventory import inventory

    heads = ("name", "kind", "hub id", "licence", "purpose", "where", "evidence", "sha256")
    rows = [(r.name, r.kind, r.hub_id, r.licence, r.purpose, r.where, r.evidence, r.sha256) for r in inventory()]
    show_rows(heads, rows)


def _bytes(number: int) -> str:
    """Return a size as people write it."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} bytes"
