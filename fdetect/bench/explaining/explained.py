"""Explanations of single pictures as files: pictures of maps and bars, and a JSON with the numbers.

    NAME_METHOD.png     the picture, and a map of it beside it, for each explanation of a network
    NAME_families.png   what each family of features adds to the score of a fitted head
    NAME_branches.png   what each branch adds to the score of a fused detector
    NAME.json           logits, places, values, what is not there and why
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fdetect.bench.applying import columns_of_model
from fdetect.bench.data.inputs import any_images, root_of
from fdetect.bench.running import Running
from fdetect.bench.steps import table_of
from fdetect.bench.training.drawing import bars, side_by_side
from fdetect.classifiers.branches import branch_of
from fdetect.classifiers.explain import (
    FusedExplanation,
    HeadExplanation,
    NetworkView,
    explain_fused,
    explain_head,
    explain_picture,
)
from fdetect.classifiers.fused_head import FusedHead
from fdetect.classifiers.heads import FittedHead
from fdetect.classifiers.model_folder import plain
from fdetect.classifiers.saved import FittedDetector
from fdetect.classifiers.seen import in_words
from fdetect.engine.sources import Reader
from fdetect.engine.work import content_id
from fdetect.errors import DataError, FdetectError, ParameterError, WeightsError
from fdetect.files import check_writable, write_atomic
from fdetect.images import decode
from fdetect.nets.detector_cards import find_detector, kind_of
from fdetect.nets.detectors import CLASS_NAME
from fdetect.nets.explaining import SHOWS
from fdetect.nets.explaining.costs import costs_of
from fdetect.nets.weights import FOLDER_NAME
from fdetect.registry import Entry
from fdetect.types import Failure, Table

__all__ = ["MOST_PIXELS", "Explained", "explain_with_head", "explain_with_network", "network_folder"]

MOST_PIXELS = 1 << 22  # of a picture that is explained whole, whatever the network

_FORMAT = 1
_GRID = 8  # px of the JPEG grid


@dataclass(frozen=True, eq=False)
class Explained:
    """What was written for one picture: its score, the files, and what is not there and why."""

    path: str
    score: float
    files: tuple[Path, ...]
    absent: dict[str, str]
    head: HeadExplanation | FusedExplanation | None = None


def network_folder(model: str) -> Path | None:
    """Return the folder of a detector network, which is given itself or by a name; None for a folder of anything else.

    A folder that is here goes before a name of the weights home.
    Raises WeightsError for a name of no weights that are here, ParameterError for weights that are no network.
    """
    folder = Path(model)
    if not folder.exists():
        if not FOLDER_NAME.fullmatch(model):
            return None
        try:
            folder = find_detector(model)
        except WeightsError as error:
            fix = error.fix.replace("pretrained:weights=FOLDER", "--model FOLDER")
            raise type(error)(f"no folder '{model}', and {error.reason}", fix) from None
    kind = kind_of(folder)
    if kind == CLASS_NAME:
        return folder
    if kind:
        raise ParameterError(f"{model} is a head on an encoder ({kind}), of which there is no explanation; give a "
                             "network, or a model with a linear head")  # fmt: skip
    return None


def explain_with_network(
    data: Sequence[str | Path], view: NetworkView, methods: Sequence[Entry], out: Path, *, crop: int = 512,
    progress: Callable[[str, int, int], None] | None = None,
) -> Iterator[Explained | Failure]:  # fmt: skip
    """Explain a network on pictures as stored, and write the files; a picture that cannot be is a `Failure`.

    crop  side in px of the middle of larger pictures that is explained, on the 8-px grid; 0: the whole picture

    One that needs more memory than there is fails so, before it is tried.
    Raises ParameterError and DataError where nothing can be done at all.
    """
    if crop < 0:
        raise ParameterError(f"--crop is {crop}; give a side in px, or 0 for the whole picture")
    manifest, names = _begun(data, out)
    costs = costs_of(view.model)
    with Reader(root_of(manifest)) as reader:
        for k, (path, name) in enumerate(names.items()):
            if progress:
                progress("pictures", k, len(names))
            try:
                stage = "decode"
                pixels = decode(reader.read(path)).pixels
                stage = "explain"
                shown = _cut(pixels, crop)
                costs.check(shown[0].shape[0], shown[0].shape[1], methods)
                yield _of_network(path, *shown, pixels.shape, view, methods, out / name)
            except FdetectError as error:
                yield Failure(content_id(path.encode("utf-8", "backslashreplace")), path, stage, str(error))


def explain_with_head(
    data: Sequence[str | Path], detector: FittedDetector, out: Path, *, encoder: str = "", network: str = "",
    **engine: Any,
) -> Iterator[Explained | Failure]:  # fmt: skip
    """Explain a fitted linear head, or a fused detector, on pictures under its condition, and write the files.

    encoder, network  where the weights of its embedding or network are, in place of where they were at the fit
    engine            settings of `Running`

    Raises ParameterError for a head that is no sum over columns, or whose features changed since it was fitted;
    WeightsError where those of an encoder it reads are absent or others.
    """
    running = Running.of(engine)
    head = detector.head
    if not isinstance(head, FittedHead | FusedHead):
        raise ParameterError(f"{detector.name} is of a kind of which there is no explanation; give a model with a "
                             "linear head or a fused detector")  # fmt: skip
    if isinstance(head, FittedHead):
        explain_head(head, np.zeros(len(head.columns), np.float32))  # refused before the work
    columns = columns_of_model(detector, encoder=encoder, network=network, running=running)
    if detector.draws > 1 and running.notice:
        running.notice(f"a score is the mean of {detector.draws} draws of an image, of which the first is explained")
    manifest, names = _begun(data, out)
    table = table_of(manifest, columns, condition=detector.condition, seed=detector.seed, running=running)
    if detector.seen and running.notice and (said := in_words(detector, table.ids)):
        running.notice(said)
    failed = {failure.path: failure for failure in table.failures}
    whole = columns.spread(table.values, head.columns, detector.about)
    for path, values in zip(table.paths, whole, strict=True):
        absent = {branch_of(name): str(error) for name, error in columns.absent.items()}
        if isinstance(head, FusedHead) and np.isfinite(head.score(values[None])[0]):
            if path in failed:
                failure = failed[path]
                lost = set(head.fitted.branches) - set(head.present(values[None])[0].split("+")) - set(absent)
                absent |= dict.fromkeys(sorted(lost), f"{failure.stage}: {failure.reason}")
            yield _of_fused(path, values, head, absent, detector, out / names[path])
        elif path in failed:
            yield failed[path]
        else:
            yield _of_head(path, values, detector, out / names[path])


def _of_network(
    path: str, pixels: np.ndarray, corner: tuple[int, int], stored: tuple[int, ...], view: NetworkView,
    methods: Sequence[Entry], base: Path,
) -> Explained:  # fmt: skip
    found = explain_picture(view, pixels, methods)
    entries = {method.name: method for method in methods}
    part = f"{pixels.shape[1]}x{pixels.shape[0]} px" + ("" if pixels.shape == stored else
                                                         f" from the middle of {stored[1]}x{stored[0]}")  # fmt: skip
    files, numbers = [], dict[str, Any]()
    for name, shown in found.maps.items():
        low, high = float(shown.min()), float(shown.max())
        caption = [f"{name}: {_reading(entries[name].shows, low, high)}", f"{view.name}, logit {found.logit:+.3f} "
                   f"(larger = more likely generated); map from {low:.3g} to {high:.3g}; {part}"]  # fmt: skip
        file = base.with_name(f"{base.name}_{_plain(name)}.png")
        _write_image(side_by_side(pixels, shown, caption), file)
        files.append(file)
        row, column = (int(k) for k in np.unravel_index(int(shown.argmax()), shown.shape))
        numbers[name] = {"shows": entries[name].shows, "low": low, "high": high, "mean": float(shown.mean()),
                         "largest_at": {"row": row, "column": column}, "picture": file.name}  # fmt: skip
    content = {
        "image": path, "network": view.name, "stored": {"height": stored[0], "width": stored[1]},
        # rows and columns below are counted from the top left of what was explained
        "explained": {"top": corner[0], "left": corner[1], "height": pixels.shape[0], "width": pixels.shape[1]},
        "logit": found.logit, "branches": dict(found.branches), "patches": [asdict(one) for one in found.patches],
        "explanations": numbers, "absent": dict(found.absent),
    }  # fmt: skip
    files.append(_write_json(content, base))
    return Explained(path, found.logit, tuple(files), dict(found.absent))


def _reading(shows: str, low: float, high: float) -> str:
    """Say how a map is to be read; one of both answers that has values of one sign alone names no other colour."""
    if shows != "evidence" or low < 0 < high:
        return SHOWS[shows]
    if low == high == 0:
        return "nothing speaks for either answer"
    return f"{SHOWS['support']}; no place for real" if low >= 0 else f"{SHOWS['objection']}; no place for generated"


def _of_head(path: str, values: np.ndarray, detector: FittedDetector, base: Path) -> Explained:
    assert isinstance(detector.head, FittedHead)
    found = explain_head(detector.head, values)
    rows = [(share.family, share.adds) for share in found.families]
    caption = [f"{detector.name}, score {found.score:+.3f} (larger = more likely generated, 0 = the boundary)",
               f"what each family of features adds; an average image has {found.constant:+.3f}"]  # fmt: skip
    file = base.with_name(f"{base.name}_families.png")
    _write_image(bars([*rows, ("average image", found.constant)], caption), file)
    content = {"image": path, "head": detector.name, "condition": detector.condition, **asdict(found),
               "picture": file.name}  # fmt: skip
    return Explained(path, found.score, (file, _write_json(content, base)), {}, found)


def _of_fused(
    path: str, values: np.ndarray, head: FusedHead, absent: dict[str, str], detector: FittedDetector, base: Path
) -> Explained:
    found = explain_fused(head.fitted, head.vectors(values[None]))
    caption = [f"{detector.name}, score {found.score:+.3f} (larger = more likely generated, 0 = the boundary)",
               "what each branch adds; its share of the gates and its own logit stand in the JSON"]  # fmt: skip
    file = base.with_name(f"{base.name}_branches.png")
    _write_image(bars([(branch, found.adds[branch]) for branch in found.top], caption), file)
    content = {"image": path, "head": detector.name, "condition": detector.condition, **asdict(found),
               "absent": absent, "picture": file.name}  # fmt: skip
    return Explained(path, found.score, (file, _write_json(plain(content), base)), absent, found)


def _begun(data: Sequence[str | Path], out: Path) -> tuple[Table, dict[str, str]]:
    """Return the manifest and, by path, the name of its files: each once, whatever the folders they come from."""
    check_writable(out)
    manifest = any_images(data)
    names = dict[str, str]()
    taken = set[str]()
    for path in dict.fromkeys(manifest.column("path").to_pylist()):
        stem = name = _plain(Path(path.rpartition("::")[2] or path).stem) or "image"
        number = 2
        while name.lower() in taken:  # some file systems do not tell A from a
            name, number = f"{stem}-{number}", number + 1
        taken.add(name.lower())
        names[path] = name
    return manifest, names


def _cut(pixels: np.ndarray, crop: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Return the part that is explained, and the row and column where it begins."""
    height, width = pixels.shape[:2]
    top, left = (max(side - crop, 0) // 2 // _GRID * _GRID if crop else 0 for side in (height, width))
    shown = pixels[top : top + crop, left : left + crop] if crop else pixels
    if shown.shape[0] * shown.shape[1] > MOST_PIXELS:
        raise DataError(f"{width} x {height} has more than {MOST_PIXELS} pixels, too many to explain at once; give a "
                        "smaller --crop, such as 1024")  # fmt: skip
    return np.ascontiguousarray(shown), (top, left)


def _plain(name: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", name.replace("=", "-"))[:80]


def _write_image(image: Image.Image, path: Path) -> None:
    write_atomic(path, lambda temporary: image.save(temporary, "PNG"))


def _write_json(content: dict[str, Any], base: Path) -> Path:
    path = base.with_name(f"{base.name}.json")
    text = json.dumps({"schema": _FORMAT, **content}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8", errors="backslashreplace"))
    return path
