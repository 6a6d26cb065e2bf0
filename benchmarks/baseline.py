"""The detector to beat: plain spectra, NPR statistics, residual co-occurrences and harmonics, logistic regression.

The detector below is written with numpy, scipy and scikit-learn alone.  fdetect lends it only what makes the
comparison fair: the decoded images under each condition, and the trials.  Its table enters the benchmark with
`--scores`, where it is judged like every other detector:

    python benchmarks/baseline.py DATA baseline.parquet --conditions native,matched
    fdetect bench DATA --conditions native,matched --scores baseline.parquet
    fdetect evaluate runs/<run>/scores.parquet --pair logreg:all,baseline
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from scipy import fft
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

KERNELS = ([-1, 1], [1, -2, 1], [-1, 3, -3, 1])  # first, second and third differences, along a row or a column


def radial_spectrum(grey: np.ndarray) -> np.ndarray:
    """64 ring means of the log spectrum, by relative frequency up to 0.5 cycles per pixel."""
    log_magnitude = np.log(np.abs(fft.fft2(grey)) + 1e-8)
    rows, columns = (np.abs(fft.fftfreq(side)) for side in grey.shape)
    ring = np.minimum(np.hypot(rows[:, None], columns[None]) * 128, 64).astype(int)
    count = np.bincount(ring.ravel(), minlength=65)[:64]
    total = np.bincount(ring.ravel(), log_magnitude.ravel(), minlength=65)[:64]
    filled = np.flatnonzero(count)  # small images leave some narrow rings empty
    return np.interp(np.arange(64), filled, total[filled] / count[filled])


def npr_statistics(image: np.ndarray) -> np.ndarray:
    """Mean |x|, standard deviation, kurtosis and share of zeros of x - nearest(x), by colour and phase: 36."""
    image = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
    values = []
    for top, left in ((0, 1), (1, 0), (1, 1)):
        d = image[top::2, left::2] - image[::2, ::2]
        spread = d.std((0, 1)) + 1e-9
        values += [np.abs(d).mean((0, 1)), spread, (((d - d.mean((0, 1))) / spread) ** 4).mean((0, 1)),
                   (d == 0).mean((0, 1))]  # fmt: skip
    return np.concatenate(values)


def cooccurrences(grey: np.ndarray) -> np.ndarray:
    """Co-occurrences of three neighbouring residuals clipped to -2..2: 12 of 125 bins each, 1500."""
    values = []
    for image in (grey, grey.T):
        for kernel in KERNELS:
            n = image.shape[1] - len(kernel) + 1
            residual = sum(weight * image[:, k : k + n] for k, weight in enumerate(kernel))
            q = np.clip(np.rint(residual / max(np.abs(kernel))), -2, 2).astype(int) + 2
            for a, b, c in ((q[:, :-2], q[:, 1:-1], q[:, 2:]), (q[:-2], q[1:-1], q[2:])):
                values.append(np.bincount((25 * a + 5 * b + c).ravel(), minlength=125) / a.size)
    return np.concatenate(values)


def harmonics(image: np.ndarray) -> np.ndarray:
    """Log magnitudes of the cross-difference at multiples of 1/8 cycle per pixel, 8 x 8 for each colour: 192."""
    d = np.abs(image[:-1, :-1] + image[1:, 1:] - image[:-1, 1:] - image[1:, :-1])
    d = d[: d.shape[0] // 8 * 8, : d.shape[1] // 8 * 8]
    tile = d.reshape(d.shape[0] // 8, 8, d.shape[1] // 8, 8, 3).sum((0, 2))
    return np.log(np.abs(fft.fft2(tile, axes=(0, 1))) / np.sqrt(d[..., 0].size) + 1e-3).ravel()


def features(image: np.ndarray) -> np.ndarray:
    """All columns of one (H, W, 3) uint8 image."""
    image = image.astype(np.float64)
    grey = image @ [0.299, 0.587, 0.114]
    return np.concatenate([radial_spectrum(grey), npr_statistics(image), cooccurrences(grey), harmonics(image)])


def read_features(path: str, root: str, conditions: list[str], crop: int, seed: int) -> list[np.ndarray | None]:
    """Features of one file under every condition; None where it cannot be read or is too small."""
    from fdetect.engine.work import content_id
    from fdetect.errors import DataError
    from fdetect.images import Geometry, decode
    from fdetect.perturb import condition

    data = (Path(root) / path).read_bytes()
    found: list[np.ndarray | None] = []
    for name in conditions:
        try:
            shown = condition(name)(decode(data), content_id(data), seed=seed, crop=crop)
            found.append(features(Geometry("aligned_crop", crop)(shown.pixels)))
        except DataError:
            found.append(None)
    return found


def tell(what: str, done: int, total: int) -> None:
    """Say on stderr, now and then, how far it is."""
    if done % max(total // 10, 1) == 0 or done == total:
        print(f"{what}: {done} of {total}", file=sys.stderr)


def main() -> None:
    """Write the table: detector, trial, condition, path, score, of test rows and of calibration reals."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from fdetect.bench.layouts import read_manifest
    from fdetect.bench.protocols import samples_of, trials_of
    from fdetect.bench.scores.scoring import train_condition

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("out")
    parser.add_argument("--protocol", default="leave_one_generator_out")
    parser.add_argument("--conditions", default="native,matched,jpeg70,rescaled")
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    manifest = read_manifest(options.data)
    samples = samples_of(manifest)
    tested = options.conditions.split(",")
    conditions = list(dict.fromkeys([*tested, *map(train_condition, tested)]))
    one = partial(read_features, root=manifest.schema.metadata[b"fdetect.root"].decode(), conditions=conditions,
                  crop=options.crop, seed=options.seed)  # fmt: skip
    found = []
    with ProcessPoolExecutor() as pool:
        for rows in pool.map(one, samples.path, chunksize=8):
            found.append(rows)
            tell("images read", len(found), len(samples.path))
    width = max(len(row) for rows in found for row in rows if row is not None)
    empty = np.full(width, np.nan)
    values = {name: np.array([empty if rows[k] is None else rows[k] for rows in found])
              for k, name in enumerate(conditions)}  # fmt: skip

    table = []
    trials = trials_of(samples, name=options.protocol, folds=options.folds, seed=options.seed)
    for k, trial in enumerate(trials):
        tell("trials trained", k, len(trials))
        for trained_under in dict.fromkeys(map(train_condition, tested)):
            x = values[trained_under]
            fit = trial.fit[np.isfinite(x[trial.fit]).all(axis=1)]
            model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
            model.fit(x[fit], samples.label[fit])
            for name in conditions:
                rows = trial.test if name in tested and train_condition(name) == trained_under else []
                rows = [*rows, *(trial.calibration if name == trained_under else [])]
                for row in rows:
                    ok = np.isfinite(values[name][row]).all()
                    score = model.decision_function(values[name][row : row + 1])[0] if ok else None
                    table.append(("baseline", trial.name, name, samples.path[row], score))
    tell("trials trained", len(trials), len(trials))
    names = ("detector", "trial", "condition", "path", "score")
    pq.write_table(pa.table(dict(zip(names, zip(*table, strict=True), strict=True))), options.out)


if __name__ == "__main__":
    main()
