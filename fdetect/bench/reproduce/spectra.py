"""Figures of heads on a published table of spectra: no image is read."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from fdetect.bench.reproduce.measured import Lacking, Measured
from fdetect.bench.reproduce.published import OnSpectra, Reproduction
from fdetect.classifiers import fit_head, head, in_parallel
from fdetect.errors import DataError
from fdetect.perturb import rng_for
from fdetect.types import MetricValue

__all__ = ["by_spectra", "read_spectra", "split_accuracies"]

_TESTED = 0.2  # of the rows, in each split
_LARGEST = 1 << 28  # bytes of a file of spectra


def by_spectra(published: Reproduction, way: OnSpectra, data: str, *, seed: int = 0, workers: int = 0) -> Measured:
    """Fit a head on random splits of a table of spectra and test it on the rest of each.

    The interval is the lowest and the highest accuracy of a split.  Raises Lacking where the file is absent, DataError
    where it is no such table.
    """
    if not Path(data).exists():
        raise Lacking(f"{data}: no such file", f"it should be {published.data.layout}; {published.data.source}")
    spectra, label = read_spectra(Path(data))
    found = split_accuracies(way.head, spectra, label, repeats=way.repeats, seed=seed, workers=workers)
    n_real, n_fake = (int((label == k).sum()) for k in (0, 1))
    low, high = float(found.min()), float(found.max())
    value = MetricValue(published.metric, float(found.mean()), low, high, n_real, n_fake, 0)
    wanted = f"{way.rows} rows of each class in {way.bins} columns"
    here = f"{n_real} and {n_fake} rows in {spectra.shape[1]} columns, the figure rests on {wanted}"
    differs = (n_real, n_fake) != (way.rows, way.rows) or spectra.shape[1] != way.bins
    return Measured(value, reasons=(here,) if differs else ())


def read_spectra(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, D) float32 spectra and their (N,) int64 labels of an .npz file; nothing pickled is read.

    Raises DataError naming the file where it is no such table.
    """
    try:
        with zipfile.ZipFile(file) as members:
            if sum(member.file_size for member in members.infolist()) > _LARGEST:
                raise DataError(f"{file}: holds more than {_LARGEST >> 20} MiB; a table of spectra is small")
        with np.load(file, allow_pickle=False) as arrays:
            if missing := [name for name in ("spectra", "label") if name not in arrays]:
                raise DataError(f"{file}: holds no array '{missing[0]}'; it needs spectra (N, D) and label (N,)")
            spectra, label = np.asarray(arrays["spectra"]), np.asarray(arrays["label"])
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{file}: not a readable .npz of plain arrays ({reason}); save it with numpy.savez") from None
    if spectra.ndim != 2 or label.shape != spectra.shape[:1] or not np.isin(label, (0, 1)).all():
        raise DataError(f"{file}: spectra {spectra.shape} and label {label.shape} do not fit; they are (N, D) and (N,) "
                        "of 0 and 1")  # fmt: skip
    if spectra.dtype.kind != "f" or not np.isfinite(spectra).all():
        raise DataError(f"{file}: spectra hold {spectra.dtype} or numbers that are not finite; they are floats")
    return spectra.astype(np.float32), label.astype(np.int64)


def split_accuracies(
    name: str, spectra: np.ndarray, label: np.ndarray, *, repeats: int, seed: int = 0, workers: int = 0
) -> np.ndarray:
    """Return (repeats,) accuracies at the head's balanced boundary, each on a fifth of the rows drawn at random.

    Columns that are the same in all rows, such as a first bin of 1, are left out.
    """
    spectra = spectra[:, (spectra != spectra[:1]).any(axis=0)]
    entry, columns = head.read(name), tuple(f"bin_{k}" for k in range(spectra.shape[1]))

    def accuracy(repeat: int) -> float:
        order = rng_for(seed, f"split {repeat}", "spectra").permutation(len(label))
        test, fit = np.split(order, [round(_TESTED * len(label))])
        scores = fit_head(entry, columns, spectra[fit], label[fit]).score(spectra[test])
        return float(((scores > 0) == label[test]).mean())

    return np.array(list(in_parallel(accuracy, range(repeats), workers=workers)))
