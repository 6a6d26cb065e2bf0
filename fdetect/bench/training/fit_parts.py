"""What every fit of a head does: columns by name, groups set apart, and the detector that is learnt, with its record.

Whole groups are set apart: reals that set the thresholds, and, where probabilities are wanted, images of both classes.
What the head is worth is measured beside it, by heads that were fitted anew without what they are tested on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import fdetect
from fdetect.bench.protocols import ALIGNED
from fdetect.bench.running import Running
from fdetect.bench.scores.evaluate import OVERALL
from fdetect.bench.training.columns import Columns
from fdetect.bench.training.cross_validation import LabelledRows, cross_validated
from fdetect.bench.training.head_fit import Asked, constant_columns, counts
from fdetect.classifiers import in_parallel
from fdetect.classifiers.card import data_record
from fdetect.classifiers.fused_head import FusedHead
from fdetect.classifiers.heads import AnyHead
from fdetect.classifiers.mean_head import MOST_DRAWS, MeanHead
from fdetect.classifiers.model_folder import plain
from fdetect.classifiers.saved import FittedDetector
from fdetect.decide import Calibration
from fdetect.errors import DataError, ParameterError
from fdetect.splits import hold_out, join_same_content
from fdetect.types import FAKE, REAL, Table

__all__ = ["calibrations", "check_draws", "check_folds", "check_shares", "columns_of", "data_of", "learnt_detector",
           "not_known", "refuse_reserved", "set_apart"]  # fmt: skip

_LICENCES = ("licence", "license")  # columns that a manifest may have beside those of ours
_MOST = 20  # different ones that a card names


def check_shares(*, folds: int, calibration: float) -> None:
    """Raise ParameterError for numbers that would end a fit in its midst, or leave out unasked what it is worth."""
    check_folds(folds)
    if not 0 < calibration < 1:
        raise ParameterError(f"--calibration is {calibration:g}; give a share between 0 and 1, such as 0.25")


def check_folds(folds: int) -> None:
    """Raise ParameterError for a number of folds on which nothing can be measured; 0 is none."""
    if folds != 0 and folds < 2:
        raise ParameterError(f"--folds is {folds}; give 0 for none, or 2 or more")


def check_draws(draws: int, tiles: str) -> None:
    """Raise ParameterError for a number of draws that cannot be, and for draws beside tiles."""
    if not 1 <= draws <= MOST_DRAWS:
        raise ParameterError(f"--draws is {draws}; give 1 to {MOST_DRAWS}")
    if draws > 1 and tiles:
        raise ParameterError(f"--tiles {tiles} sets thresholds on all of a picture, and --draws {draws} on the mean of "
                             "single crops; leave one of them out")  # fmt: skip


def refuse_reserved(generators: np.ndarray) -> None:
    """Raise DataError for a generator called as a row of every table is, which would stand in its place."""
    if reserved := sorted({*OVERALL, ALIGNED} & {*generators}):
        raise DataError(f"a generator is called '{reserved[0]}', which names a row of every table; rename it")


def columns_of(features: str | Sequence[str], condition: str, crop: int, running: Running) -> Columns:
    """Return the columns of a head; a misspelt one is said before hours of work."""
    columns = Columns.of(features, condition=condition, crop=crop, backend=running.backend)
    history = [entry.name for entry in columns.entries if entry.family == "provenance"]
    if 0 < len(history) < len(columns.names):
        raise ParameterError(
            f"{', '.join(history)}: features of file history are never fused with others; fit them by themselves, "
            "or leave them out"
        )
    return columns


def set_apart(
    manifest: Table, ids: Sequence[str], reals: np.ndarray, *, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keep a share of the reals, by whole groups, for thresholds.

    Returns which rows may be fitted on, (N,) bool; the rows of the reals that set thresholds: of copies one counts; and
    the group of each row.
    """
    paths, groups, sources = (manifest.column(name).to_pylist() for name in ("path", "group", "real_source"))
    group = join_same_content(  # or a copy under another name would be on both sides
        np.array([g or path for g, path in zip(groups, paths, strict=True)], dtype=object), ids
    )
    held = reals[hold_out(list(group[reals]), [sources[k] for k in reals], share=share, seed=seed)]
    kept = set(group[held])
    once = held[np.unique(np.array(ids)[held], return_index=True)[1]]
    return np.array([name not in kept for name in group]), once, group


def not_known(once: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """Return those of the reals set apart that no network was trained on; raises DataError where none is left.

    fresh  (N,) bool of all rows, see `Columns.fresh`
    """
    left = np.asarray(once[fresh[once]])
    if not len(left):
        raise DataError("a network of these columns was trained on every real image that would set the thresholds; "
                        "give images that it does not know")  # fmt: skip
    return left


def data_of(manifest: Table, ids: Sequence[str], label: np.ndarray) -> dict[str, Any]:
    """Describe the images of a fit for its card: counts, hash, and how many have which licence, where that is known."""
    found = data_record(ids, label)
    for name in _LICENCES:
        if name in manifest.column_names:
            named = Counter(str(one or "not stated") for one in manifest.column(name).to_pylist())
            return found | {"licences": dict(named.most_common(_MOST)), "n_licences": len(named)}
    return found | {"licences": None}


def learnt_detector(
    asked: Asked, training: LabelledRows, whole: LabelledRows, columns: Columns, on_reals: np.ndarray,
    record: Mapping[str, Any], *, condition: str, seed: int, folds: int, share: float, running: Running,
    about: Mapping[str, Any], n_failed: int, n_fakes_unused: int,
) -> FittedDetector:  # fmt: skip
    """Fit the head on `training`, make its probabilities, and measure on `whole` what it is worth.

    on_reals        (n, D) float32 of the reals that set the thresholds; where an image is drawn several times, here and
                    in the rows its draws stand side by side (drawn_fit.py)
    about           how the engine described what it computed, by task
    record          what the card says of the data
    n_fakes_unused  fakes that are in a group of these reals
    """
    apart = asked.apart(training, share=share)
    mine = training.at(~apart)
    constant = constant_columns(asked.stacked(mine), running.notice)
    (learnt,) = in_parallel(asked.learn, [mine])  # on one core, as in a run: the same rows give the same bytes
    calibration, subsets = calibrations(learnt.head, on_reals)
    probabilities = asked.probabilities(learnt.head, training.at(apart))
    makers = whole.samples.generators
    if len(makers) == 1 and folds and running.notice:
        running.notice(f"all fakes are of {makers[0]}: cross-validation tests on the generator that was trained on, "
                       "and what other generators' images would score is not known")  # fmt: skip
    found = cross_validated(whole, asked, folds=folds, calibration=share, seed=seed, workers=running.processes,
                            progress=running.progress)  # fmt: skip
    used = apart & asked.usable(training) & asked.fresh(training)
    whole_record = {
        **record,
        "constant_columns": constant,
        "weights": asked.balance,
        "search": learnt.tried,
        "thresholds": {"n_real": len(calibration.scores), "n_fakes_unused": n_fakes_unused},
        "calibration_share": share,
        "probabilities": None if probabilities is None else {
            "n_real": int((training.label[used] == REAL).sum()), "n_fake": int((training.label[used] == FAKE).sum()),
        },
        "cross_validated": found,
        "networks": columns.licences,
    }  # fmt: skip
    drawn = learnt.head if isinstance(learnt.head, MeanHead) else None
    return FittedDetector(
        head=drawn.head if drawn else learnt.head,
        draws=drawn.n if drawn else 1,
        features=columns.names,
        codes=columns.codes,
        condition=condition,
        crop=columns.crop,
        seed=seed,
        calibration=calibration,
        trained_on=counts(mine, asked.usable(mine), fakes=asked.needs_fakes),
        n_failed=n_failed,
        version=fdetect.__version__,
        settings=learnt.settings,
        about=columns.about(about),
        calibrate=asked.calibrate,
        probabilities=probabilities,
        record=plain(whole_record),
        subsets=subsets,
    )


def calibrations(head: AnyHead, on_reals: np.ndarray) -> tuple[Calibration, dict[str, Calibration]]:
    """Return what sets the thresholds of a head, and, of the fused detector, those of every choice of fewer branches.

    on_reals  (n, D) float32, columns of reals that nothing was fitted on
    """
    calibration = Calibration.of(head.score(on_reals))
    if not isinstance(head, FusedHead | MeanHead):
        return calibration, {}
    return calibration, {name: Calibration.of(head.score(head.only(on_reals, name))) for name in head.subsets()}
