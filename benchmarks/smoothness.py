"""How far detectors' scores follow the smoothness of a picture: rank correlations, from the scores of a run.

    python benchmarks/smoothness.py DATA runs/<run>/scores.parquet [CONDITION]

Fine texture is the log of the mean absolute difference of horizontal neighbours in green, a column of the feature
`gradient_statistics`, on the images of DATA under the condition (matched).  One line a detector: Spearman's rank
correlation of score and texture over all images, and over the photographs alone.  Below, the median texture of the
photographs and of each generator.
"""

from __future__ import annotations

import argparse

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.stats import spearmanr

import fdetect

TEXTURE = "gradient_statistics:green_right_mean_absolute"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="the manifest of the run")
    parser.add_argument("scores", help="its scores.parquet")
    parser.add_argument("condition", nargs="?", default="matched")
    given = parser.parse_args()
    manifest = fdetect.read_manifest(given.data)
    table = fdetect.extract(manifest, features="gradient_statistics", condition=given.condition)
    texture = dict(zip(table.paths, np.log(table.values[:, table.columns.index(TEXTURE)]), strict=True))
    scores = pq.read_table(given.scores)
    scores = scores.filter(pc.equal(scores.column("condition"), given.condition))
    print(f"{'detector':<28} {'all images':>10} {'photographs':>12}")
    for name in dict.fromkeys(scores.column("detector").to_pylist()):
        rows = scores.filter(pc.equal(scores.column("detector"), name)).select(["path", "label", "score"]).to_pylist()
        once = {row["path"]: (row["score"], texture[row["path"]], row["label"]) for row in rows}  # same in every trial
        values = np.array(list(once.values()), dtype=np.float64)
        values = values[np.isfinite(values).all(axis=1)]
        parts = (values, values[values[:, 2] == 0])
        everything, reals = (spearmanr(part[:, 0], part[:, 1]).statistic for part in parts)
        print(f"{name:<28} {everything:>10.2f} {reals:>12.2f}")
    print(f"\n{'made by':<28} {'median texture':>14}")
    makers = np.array([generator or "photographs" for generator in manifest.column("generator").to_pylist()])
    of_rows = np.array([texture[path] for path in manifest.column("path").to_pylist()])
    for maker in sorted(set(makers), key=lambda name: float(np.nanmedian(of_rows[makers == name]))):
        print(f"{maker:<28} {np.nanmedian(of_rows[makers == maker]):>14.2f}")


if __name__ == "__main__":
    main()
