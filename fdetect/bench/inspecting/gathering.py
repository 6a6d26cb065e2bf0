"""References of a detector, made of labelled images: how they score in every view, and the traces of single crops.

    gather(manifest, detector, running).save("mine.safetensors")

Images that the detector or a network of it was fitted on are left out: they would say that it does better than it
does.  At least 99 photographs are needed for a claim at 1 of 100, some hundred of each source for a good one.
"""

from __future__ import annotations

import numpy as np

from fdetect.bench.applying import columns_of_model
from fdetect.bench.data.inputs import root_of
from fdetect.bench.header import versions
from fdetect.bench.inspecting.evidence import PROFILE, Tracer, statistics
from fdetect.bench.inspecting.placing import CONTENT, placed
from fdetect.bench.inspecting.references import References, key_of
from fdetect.bench.inspecting.views import CROP, JUDGED, ViewScores, scores_by_view
from fdetect.bench.protocols import samples_of
from fdetect.bench.running import Running
from fdetect.classifiers.fused_head import FusedHead
from fdetect.classifiers.saved import FittedDetector
from fdetect.classifiers.seen import known
from fdetect.engine.sources import Reader
from fdetect.errors import DataError
from fdetect.images import Decoded, decode
from fdetect.types import FAKE, REAL, Table

__all__ = ["gather"]


def gather(manifest: Table, detector: FittedDetector, running: Running, *, digest: str = "") -> References:
    """Make the references of a detector of labelled images; the same content counts once.

    Left out are images that were fitted on, and those without a score of all branches in some view; `notice` says how
    many.

    digest  of the detector's model, `fdetect.classifiers.model_folder.digest_of`: `Inspector` asks for it

    Raises DataError where no photograph is left.
    """
    columns, tracer = columns_of_model(detector, running=running), Tracer.of(detector, backend=running.backend)
    samples = samples_of(manifest)
    whole = scores_by_view(manifest, detector, columns, running)
    head, full = detector.head, max(whole.branches, key=len)
    fitted = known(detector, whole.ids)[0] | ~columns.fresh(whole.ids)
    scored = np.isfinite(whole.judged).all(axis=0) & (np.array(whole.branches, object) == full)
    once = np.zeros(len(fitted), np.bool_)
    once[np.unique(np.array(whole.ids), return_index=True)[1]] = True
    if running.notice:
        running.notice(f"left out of the references: {int(fitted.sum())} that were fitted on, {int((~scored).sum())} "
                       f"without a score in some view, {int((~once).sum())} with the content of another")  # fmt: skip
    real, fake = (np.flatnonzero(once & scored & ~fitted & (samples.label == label)) for label in (REAL, FAKE))
    if not len(real):
        raise DataError("no photograph is left to be a reference: all are unreadable, too small, or were fitted on")
    scores: dict[str, np.ndarray] = {}
    subsets = head.subsets() if isinstance(head, FusedHead) else []
    for subset in (full, *(one for one in subsets if {*one.split("+")} < {*full.split("+")})):
        found = whole if subset == full else scores_by_view(manifest, detector, columns, running, subset=subset)
        scores |= {key_of(name, subset): found.views[name] for name in JUDGED}
        scores[key_of(CROP, subset)] = found.views[f"{CROP} 1"]
    traces = _traces(manifest, real, fake, tracer, whole, running)
    n, generators = len(real), samples.generator[fake]
    values = {name: one for name, one in traces.items() if name != PROFILE}
    return References(
        {key: one[real] for key, one in scores.items()} | {name: one[:n] for name, one in values.items()},
        {key: one[fake] for key, one in scores.items()},
        samples.real_source[real].astype(object), generators.astype(object), traces[PROFILE][:n].astype(np.float32),
        {trace.name: _weight(values[trace.name], n, generators, trace.side) for trace in tracer.traces
         if trace.name in values and len(fake)},
        {"detector": detector.name, "digest": digest, "left_out": int(fitted.sum()), **versions()},
        np.array(whole.ids, object)[np.concatenate([real, fake])],
    )  # fmt: skip


def _traces(
    manifest: Table, real: np.ndarray, fake: np.ndarray, tracer: Tracer, whole: ViewScores, running: Running
) -> dict[str, np.ndarray]:
    """Return every trace of the first crop of the photographs, then of the generated images; profiles of the former."""
    if running.notice:
        running.notice(f"traces of {len(real) + len(fake)} crops, in this process")
    of_real = statistics(tracer, *_crops(manifest, real, tracer), columns=whole.first[real])
    if not len(fake):
        return of_real
    profiles = of_real[PROFILE]
    of_fake = statistics(tracer, *_crops(manifest, fake, tracer), columns=whole.first[fake], profiles=profiles)
    both = {name: np.concatenate([one, of_fake[name]]) for name, one in of_real.items() if name != PROFILE}
    return {**both, PROFILE: profiles}


def _crops(manifest: Table, rows: np.ndarray, tracer: Tracer) -> tuple[list[Decoded], list[str]]:
    detector, paths = tracer.detector, manifest.column("path").to_pylist()
    first = placed(detector.condition, 0)
    with Reader(root_of(manifest)) as reader:
        images = (decode(reader.read(paths[row])) for row in rows)
        crops = [first(image, CONTENT, seed=detector.seed, crop=detector.crop) for image in images]
    return crops, [CONTENT] * len(rows)


def _weight(values: np.ndarray, n: int, generators: np.ndarray, side: str) -> float:
    """Return the macro AUROC of a trace: n photographs, then generated images; `side` is where these are expected."""
    signed = values if side == "high" else -values
    real = np.sort(signed[:n][np.isfinite(signed[:n])])
    found = []
    for name in sorted(set(generators)):
        fakes = signed[n:][generators == name]
        fakes = fakes[np.isfinite(fakes)]
        below, upto = (np.searchsorted(real, fakes, side=where) for where in ("left", "right"))
        if len(fakes) and len(real):
            found.append(float((below + upto).mean() / (2 * len(real))))
    return float(np.mean(found)) if found else float("nan")
