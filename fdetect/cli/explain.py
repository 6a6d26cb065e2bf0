"""explain: pictures of where in an image a network's logit comes from, or what a model's score is the sum of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from fdetect.cli.common import (
    counted,
    engine_settings,
    leave,
    list_options,
    listed_inputs,
    printable,
    progress_bar,
    say,
    show_rows,
    words,
    work_options,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fdetect.bench.explaining.explained import Explained
    from fdetect.types import Failure

__all__ = ["explain"]


@click.command()
@list_options
@click.option("-o", "--out", required=True, type=click.Path(file_okay=False), help="Folder for pictures and JSON.")
@click.option("--model", type=click.Path(), help="A detector network, as a folder or a name (fdetect weights list), or "
              "the folder that fdetect fit wrote of a linear head or a fused detector; default: the detector that "
              "ships.")  # fmt: skip
@click.option("--method", help="For networks: all, or some explanations separated by commas (fdetect list "
              "explanations); settings behind a colon, such as grad_cam:layer=trunk.layer1. A layer bears the name of "
              "its tensors in model.safetensors without the last part; one that is not there lists some that are. "
              "Default all.")  # fmt: skip
@click.option("--crop", type=int, help="For networks: side in px of the middle of larger images that is explained, as "
              "stored; 0 the whole image. Default 512.")  # fmt: skip
@click.option("--encoder", default="", help="For a head that reads an embedding: its encoder, a name (fdetect weights "
              "list), a hub id or a folder.")  # fmt: skip
@click.option("--network", default="", help="For a head that reads a detector network: its name or folder.")
@click.option("--strict", is_flag=True, help="Exit with 3 if any image failed.")
@work_options
def explain(data: tuple[str, ...], out: str, model: str | None, **flags: Any) -> None:
    """Write pictures of why a detector scores the images of DATA as it does, and the numbers as JSON.

    Of a network, maps of where its logit comes from; of a fitted linear head, what each family of features adds to its
    score; of a fused detector, what each branch says by itself, its share, and what it adds. A map shows what a
    detector looks at; it is no proof that an image, or a part of it, was generated.

    --backend, --workers, --time-limit and --store concern heads, whose columns are computed first; a network is
    explained on the CPU, in this process, and nothing of it is stored.
    """
    from fdetect.bench.explaining import explained
    from fdetect.errors import ParameterError

    given = listed_inputs(data, flags["files_from"])
    with progress_bar() as progress:
        if model and (network := explained.network_folder(model)):
            from fdetect.classifiers.explain import NetworkView, read_methods

            methods = read_methods(words(flags["method"] or "all") or ())
            if given_as := [name for name in ("encoder", "network") if flags[name]]:
                raise ParameterError(f"--{given_as[0]} goes with a head that reads one, and {model} is a network")
            view, crop = NetworkView.load(network), 512 if flags["crop"] is None else flags["crop"]
            _show(explained.explain_with_network(given, view, methods, Path(out), crop=crop, progress=progress), out,
                  flags["strict"])  # fmt: skip
            return
        from fdetect.classifiers.saved import FittedDetector, load_detector
        from fdetect.classifiers.shipped import model_of

        folder = model_of(model)
        detector = load_detector(folder)
        if not model:
            say(f"the detector that ships with fdetect: {detector.name}")
        if not isinstance(detector, FittedDetector):
            raise ParameterError(f"{folder} holds a training-free detector, of which there is no explanation; give a "
                                 "network, or a model with a linear head")  # fmt: skip
        if flags["method"] or flags["crop"] is not None:
            raise ParameterError(f"--method and --crop go with networks, and {folder} holds a head")
        settings = engine_settings(flags, progress) | {name: flags[name] for name in ("encoder", "network")}
        _show(explained.explain_with_head(given, detector, Path(out), notice=say, **settings), out, flags["strict"])


def _show(results: Iterable[Explained | Failure], out: str, strict: bool) -> None:
    """Say what came of each image, and leave with the exit code that it means."""
    from fdetect.classifiers.explain import FusedExplanation
    from fdetect.types import Failure

    n_images = n_failed = n_files = 0
    for one in results:
        n_images += 1
        if isinstance(one, Failure):
            n_failed += 1
            say(f"{one.path}: {one.stage}: {one.reason}")
            continue
        n_files += len(one.files)
        click.echo(f"{printable(one.path)}: score {one.score:+.4f}")
        for method, reason in one.absent.items():
            click.echo(f"  no {method}: {reason}")
        if isinstance(one.head, FusedExplanation):
            rows = [(branch, f"{one.head.logits[branch]:+.4f}", f"{one.head.shares[branch]:.3f}",
                     f"{one.head.adds[branch]:+.4f}", top[0][0]) for branch, top in one.head.top.items()]  # fmt: skip
            show_rows(("branch", "logit", "share", "adds", "most of it"), rows)
        elif one.head:
            families = [(share.family, str(share.n_columns), f"{share.adds:+.4f}", share.top[0][0])
                    for share in one.head.families]  # fmt: skip
            families.append(("average image", "", f"{one.head.constant:+.4f}", ""))
            show_rows(("family", "columns", "adds", "most of it"), families)
    click.echo(f"{counted(n_images, 'image')}, {n_failed} failed, {counted(n_files, 'file')}: {printable(out)}")
    leave(n_images, n_failed, strict)
