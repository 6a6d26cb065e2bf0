"""What `fdetect inspect` holds an image against, for the detector that ships: numbers of reference images, no picture.

    python benchmarks/inspect_references.py DATA [--store FOLDER]    -> fdetect/bench/inspecting/references.safetensors

DATA is the manifest that benchmarks/shipped.py was given.  Photographs that the network was not trained on are the
references, as they set the detector's thresholds; the generated images say how many of them score so.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")


from fdetect.bench.inspecting.gathering import gather
from fdetect.bench.inspecting.references import FILE
from fdetect.bench.layouts import read_manifest
from fdetect.bench.running import Running
from fdetect.classifiers.model_folder import digest_of
from fdetect.classifiers.saved import FittedDetector, load_detector
from fdetect.classifiers.shipped import MODEL
from fdetect.engine import Store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--store", default=None, help="folder of finished rows")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=FILE)
    options = parser.parse_args()
    detector = load_detector(MODEL)
    assert isinstance(detector, FittedDetector)
    running = Running.of({"store": Store(options.store), "workers": options.workers,
                          "notice": lambda line: print(line, file=sys.stderr)})  # fmt: skip
    made = gather(read_manifest(options.data), detector, running, digest=digest_of(MODEL))
    made.save(options.out)
    print(f"{options.out}: {len(made.sources)} photographs, {len(made.generators)} generated images, "
          f"{options.out.stat().st_size} bytes")  # fmt: skip
    for name, weight in sorted(made.weight.items()):
        print(f"  {name}: macro AUROC {weight:.3f}")


if __name__ == "__main__":
    main()
