"""`fit` for a training-free detector: real images in, thresholds and a bank out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

import fdetect
from fdetect.bench.contenders import Prepared, configured, tasks_of
from fdetect.bench.data.inputs import Data, any_images, labels_or_real
from fdetect.bench.running import Running
from fdetect.bench.training.pair_sources import passed_through, refuse_known
from fdetect.classifiers.calibrated import CalibratedDetector, Pictures, calibrate, identity, judge, named
from fdetect.classifiers.seen import Seen
from fdetect.decide import Achieved
from fdetect.errors import DataError
from fdetect.splits import join_same_content
from fdetect.types import FAKE, REAL, Failure, Table

__all__ = ["DetectorFit", "fit_detector"]


@dataclass(frozen=True)
class DetectorFit:
    """A calibrated detector; what its levels came to on each source of reals; and what was not used.

    achieved    for each of the levels, a row for each source; empty where all reals are of one source
    n_images    of the data; `n_copies` had the content of another, `n_fakes_unused` are fakes that no bank wants
    """

    detector: CalibratedDetector
    achieved: tuple[tuple[Achieved, ...], ...]
    n_images: int
    n_copies: int
    n_fakes_unused: int


def fit_detector(
    data: Data,
    name: str,
    *,
    encoder: str = "",
    autoencoder: str = "",
    condition: str = "native",
    crop: int = 224,
    calibration: float = 0.25,
    seed: int = 0,
    **engine: Any,
) -> DetectorFit:
    """Calibrate a training-free detector on the real images of `data`.

    data         anything with images; without any labels, all of it is taken as real, which `notice` says
    name         of the detector, with settings such as "rigid:sigma=0.02"
    calibration  share of the reals that set the thresholds where the others make a bank; without a bank all of them do

    Further settings are those of `Running`.  Fakes are looked at only where the detector has a bank of them.
    Raises DataError for labels that are there for some images alone, where there are no reals, no fakes although a bank
    needs them, or too few of either; WeightsError where weights are absent.
    """
    running, manifest = Running.of(engine), any_images(data)
    (entry,) = configured((name,), encoder=encoder, autoencoder=autoencoder)
    instance = entry()
    label = labels_or_real(manifest, running.notice)
    wanted = (label == REAL) | ((label == FAKE) & (instance.references == "both"))
    if not (label == REAL).any():
        raise DataError(f"{name} is calibrated on real images, and the data hold none (label 0)")
    if instance.references == "both" and not (label == FAKE).any():
        raise DataError(f"{name} needs fakes (label 1) beside the real images, for its second bank; give both")
    tasks = tasks_of(instance, crop=crop, backend=running.backend)
    known = passed_through((), [Prepared(name, instance, tasks)])
    chosen = manifest.filter(pa.array(wanted))
    extraction = running.run(chosen, tasks, condition, crop, seed)
    refuse_known(known, extraction.ids)
    blocks: list[np.ndarray] = []
    failures: list[Failure] = []
    for block in extraction.blocks(condition, [task.name for task in tasks]):
        # vectors are kept for a bank alone: of other detectors they may be many times as large
        blocks.append(block.values if instance.references else judge(instance, tasks, block.values))
        failures.extend(block.failures)
    running.tell(extraction, failures)
    values, pictures = np.concatenate(blocks), _pictures(chosen, extraction.ids, label[wanted])
    found = named(tasks, values) if instance.references else values
    made = calibrate(instance, pictures, found, share=calibration, seed=seed)
    fitted = CalibratedDetector(
        name=entry.name,
        instance=instance,
        space=identity(instance, tasks[0].space),
        condition=condition,
        crop=crop,
        seed=seed,
        calibration=made.calibration,
        bank=made.bank,
        n_failed=len(failures),
        version=fdetect.__version__,
        seen=Seen.of(made.bank.ids if made.bank else (), made.ids),
    )
    n_copies, n_unused = int((~pictures.once).sum()), int((~wanted).sum())
    return DetectorFit(fitted, made.achieved, len(manifest), n_copies, n_unused)


def _pictures(manifest: Table, ids: tuple[str, ...], label: np.ndarray) -> Pictures:
    paths, groups, sources = (manifest.column(name).to_pylist() for name in ("path", "group", "real_source"))
    group = join_same_content([group or path for group, path in zip(groups, paths, strict=True)], ids)
    return Pictures(np.array(ids), label, group, np.array(sources, object))
