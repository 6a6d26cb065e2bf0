"""Where inspections go, by the names of files: the report of one image, the ranking of many, JSON, tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from fdetect.bench.inspecting.inspection import Inspection
from fdetect.bench.inspecting.inspector import Inspector
from fdetect.bench.inspecting.shown.as_json import SCHEMA, as_json
from fdetect.bench.inspecting.shown.page import render_inspection
from fdetect.bench.inspecting.shown.pictures import picture, standing_chart
from fdetect.bench.inspecting.shown.ranking import ranking_table
from fdetect.bench.inspecting.shown.ranking_page import PICTURED, render_ranking
from fdetect.bench.report.size import LIMIT
from fdetect.bench.report.thumbnails import thumbnail
from fdetect.engine.loop import Progress
from fdetect.engine.sources import Reader
from fdetect.errors import FdetectError, ParameterError
from fdetect.files import check_writable, write_atomic, write_table

__all__ = ["ENDINGS", "check_outputs", "json_text", "page_of", "report_file", "thumbnails", "write_outputs",
           "write_report"]  # fmt: skip

ENDINGS = (".html", ".json", ".csv", ".parquet")

_AT_ONCE = 20  # small pictures, between two looks at how much room is left


def check_outputs(out: Sequence[str], reports: str | None) -> None:
    """Raise ParameterError for another ending and DataError for a place that cannot be written, before any work."""
    for name in out:
        if Path(name).suffix not in ENDINGS:
            raise ParameterError(f"--out {name}: give it one of the endings {', '.join(ENDINGS)}")
        check_writable(Path(name).parent)
    if reports:
        check_writable(Path(reports))


def page_of(inspection: Inspection, inspector: Inspector) -> str:
    """Return the report of one image: a page that needs no network and no file beside it."""
    held, crop = inspector.references, inspection.crop
    charts = {one.name: standing_chart(one.standing, one.title) for one in inspection.evidence if one.standing}
    if held is None or crop is None:
        return render_inspection(inspection, charts=charts)
    look = inspector.tracer.look(crop, inspection.id, None, held.profile)
    pictures = {one.name: picture(one.picture, look, held) for one in inspection.evidence if one.picture}
    return render_inspection(inspection, pictures=pictures, charts=charts)


def report_file(inspection: Inspection, k: int) -> str:
    """Return the name of the report of image k: its place in the order given, and a hash of its content."""
    return f"{k + 1:06d}-{inspection.id[:8]}.html"


def json_text(inspections: Sequence[Inspection]) -> str:
    """Write {"schema": 1, "images": [...]}, however many there are; schema.json says what each image has."""
    whole = {"schema": SCHEMA, "images": [as_json(one) for one in inspections]}
    return json.dumps(whole, indent=1, allow_nan=False) + "\n"


def write_outputs(
    out: Sequence[str], inspections: Sequence[Inspection], inspector: Inspector, reports: Mapping[str, Path], root: str
) -> None:
    """Write every file that was asked for, of inspections in the order that they shall have.

    reports  by path of an image, its own page, which the ranking links to
    root     folder that paths of images are relative to
    """
    for name in out:
        path = Path(name)
        if path.suffix == ".json":
            _write(path, json_text(inspections))
        elif path.suffix != ".html":
            write_table(ranking_table(inspections), path)
        elif len(inspections) == 1:
            _write(path, page_of(inspections[0], inspector))
        else:
            small = thumbnails(inspections, root, inspector.running.progress)
            _write(path, render_ranking(inspections, inspector.about, reports=reports, folder=path.parent,
                                        thumbnails=small))  # fmt: skip


def thumbnails(inspections: Sequence[Inspection], root: str, progress: Progress | None = None) -> dict[str, str]:
    """Return small pictures of the first images, as data URIs by path, read again from their files.

    Of many images none is kept in memory.  One that cannot be read has none: its row says so.  No more are made than
    a page has room for.
    """
    made, paths = dict[str, str](), [one.path for one in inspections[:PICTURED]]
    with Reader(root) as reader:
        for start in range(0, len(paths), _AT_ONCE):
            for path in sorted(paths[start : start + _AT_ONCE]):  # members of a shard come after one another
                with suppress(FdetectError, OSError):
                    made[path] = thumbnail(reader, path)
            if progress:
                progress("pictures of the ranking", min(start + _AT_ONCE, len(paths)), len(paths))
            if sum(map(len, made.values())) >= LIMIT:
                break
    return made


def write_report(inspection: Inspection, k: int, inspector: Inspector, folder: Path) -> Path:
    """Write the report of one image of many into a folder, and return where."""
    path = folder / report_file(inspection, k)
    _write(path, page_of(inspection, inspector))
    return path


def _write(path: Path, text: str) -> None:
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8", errors="backslashreplace"))
