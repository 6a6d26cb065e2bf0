"""How often the verdict of `fdetect inspect` is wrong: photographs by source, generated images, hard photographs.

    python benchmarks/inspect_check.py DATA [--store FOLDER] [--pictures 60] [--out PAGE | -]

DATA is the manifest that benchmarks/shipped.py was given.  A photograph is judged by references without its source, or
without itself where that is said, a generated image by references without its generator where nothing else is said.
The tables go into docs/inspect.md, and what they come to, in a few words, into the references: every report shows it.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from hard_photographs import CASES, make, some
from racing import write_between
from shipped import FREE, free_photographs

from fdetect.bench.applying import columns_of_model
from fdetect.bench.data.inputs import any_images, root_of
from fdetect.bench.header import versions
from fdetect.bench.inspecting.inspection import GENERATED, VERDICTS
from fdetect.bench.inspecting.inspection import REAL as LIKELY_REAL
from fdetect.bench.inspecting.inspector import Inspector
from fdetect.bench.inspecting.judging import FLAG, ODDS, Judges
from fdetect.bench.inspecting.references import FILE, References, key_of
from fdetect.bench.inspecting.views import JUDGED, ViewScores, scores_by_view
from fdetect.bench.layouts import read_manifest
from fdetect.bench.protocols import samples_of
from fdetect.bench.report.grid import Grid, interval_text, markdown
from fdetect.bench.running import Running
from fdetect.classifiers.model_folder import digest_of
from fdetect.classifiers.saved import FittedDetector, load_detector
from fdetect.classifiers.shipped import MODEL
from fdetect.decide import exact_interval
from fdetect.types import FAKE, REAL, Table

PAGE = Path(__file__).parent.parent / "docs" / "inspect.md"
MARKER = "benchmark:inspect"
ENOUGH = 99  # references that a claim at 1 of 100 takes


@dataclass(frozen=True, eq=False)
class Found:
    """What the rule says of N images: words (N,), "" where there is no verdict; p_real and p_generated (N,).

    high (V, N) by view;  n (N,) photographs they were held against;  real_as_low (N,) see `Judged`
    """

    words: np.ndarray
    p_real: np.ndarray
    p_generated: np.ndarray
    real_as_low: np.ndarray
    high: np.ndarray
    n: np.ndarray

    @property
    def flagged(self) -> np.ndarray:
        """(N,) whether every view is as high as in the weakest view 5 % of photographs are."""
        return np.asarray(self.p_real <= FLAG)

    @property
    def disagree(self) -> np.ndarray:
        """(N,) whether one view is among the highest 5 %, and the weakest one not."""
        return np.asarray((self.high <= FLAG).any(axis=0) & ~self.flagged)

    def cleared(self, level: float, odds: float) -> np.ndarray:
        """(N,) what another level and other odds would call likely real."""
        return np.asarray((self.p_generated <= level) & (self.real_as_low >= odds * self.p_generated))


RULES: dict[str, tuple[str, Callable[[Found], np.ndarray]]] = {
    "A": ("the mean of crops alone, at 1 %", lambda one: one.high[0] <= 0.01),
    "B": ("every view at 5 %", lambda one: one.high.max(axis=0) <= 0.05),
    "C": ("the weakest view against the weakest views of photographs, at 1 %: the rule",
          lambda one: one.words == GENERATED),
    "C1": ("the same, however often generated images do so", lambda one: one.p_real <= 0.01),
    "C5": ("C1 at 5 %", lambda one: one.p_real <= 0.05),
    "D": ("the mean of crops at 5 %, the others at 25 %",
          lambda one: (one.high[0] <= 0.05) & (one.high[1:].max(axis=0) <= 0.25)),
    "E": ("the mean of crops at 5 %, the others at 50 %",
          lambda one: (one.high[0] <= 0.05) & (one.high[1:].max(axis=0) <= 0.5)),
    "G": ("every view at 10 %", lambda one: one.high.max(axis=0) <= 0.1),
    "S": ("the picture as stored alone, at 5 %", lambda one: one.high[1] <= 0.05),
    "S1": ("the same at 1 %", lambda one: one.high[1] <= 0.01),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="the manifest that benchmarks/shipped.py was given")
    parser.add_argument("--licence", default=FREE)
    parser.add_argument("--store", default=None, help="folder of finished rows")
    parser.add_argument("--pictures", type=int, default=60, help="photographs that hard cases are made of")
    parser.add_argument("--work", type=Path, default=None, help="folder for the cases that are made")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--references", type=Path, default=FILE)
    parser.add_argument("--out", default=str(PAGE), help="page with the markers; - prints the tables")
    options = parser.parse_args()
    check = Check(options)
    cases, told = hard_cases(check)
    grids = [by_source(check), by_generator(check), by_case(cases, told), *rules(check), traces(check)]
    text = f"{about(check)}\n\n{markdown(grids)}"
    if options.out == "-":
        print(f"{text}\n{measured(check, cases)}")
        return
    write_between(Path(options.out), MARKER, text)
    held = check.references
    replace(held, about={**held.about, "measured": measured(check, cases)}).save(options.references)


class Check:
    """The detector that ships, its references, and what is judged: all images of the data."""

    def __init__(self, options: argparse.Namespace) -> None:
        detector = load_detector(MODEL)
        assert isinstance(detector, FittedDetector)
        self.options, self.detector, self.references = options, detector, References.load(options.references)
        if self.references.about["digest"] != digest_of(MODEL):
            sys.exit("the references are of another model; run benchmarks/inspect_references.py first")
        self.manifest = read_manifest(options.data)
        self.samples = samples_of(self.manifest)
        self.running = Running.of({"store": options.store, "workers": options.workers})
        self.columns = columns_of_model(detector, running=self.running)
        self.fitted_on = np.zeros(len(self.manifest), np.bool_)
        self.fitted_on[free_photographs(self.manifest, self.samples, options.licence)] = True
        found = self.score(self.manifest)
        self.scores, self.branches = found.judged, max(found.branches, key=len)
        self.taught = ~self.columns.fresh(found.ids)
        once = np.isin(np.arange(len(found.ids)), np.unique(found.ids, return_index=True)[1])
        usable = ~self.taught & once & np.isfinite(self.scores).all(axis=0)  # as gather leaves images out
        self.held = np.flatnonzero(usable & (self.samples.label == REAL))  # rows of the reference photographs
        mine = [self.references.real[key_of(view, self.branches)] for view in JUDGED]
        if len(self.held) != len(mine[0]) or not np.allclose(np.stack(mine), self.scores[:, self.held]):
            sys.exit("the references are of other images; run benchmarks/inspect_references.py with this manifest")
        self.real, self.fake = (np.flatnonzero(self.samples.label == label) for label in (REAL, FAKE))
        self.sources, of_real = self.samples.real_source[self.real].astype(object), self.scores[:, self.real]
        self.apart = self.judge(of_real, self.sources, self.samples.real_source[self.held])
        self.alone = self.judge(of_real, self.samples.path[self.real], self.samples.path[self.held])
        self.generated, self.with_all = self.judge_generated(known=False), self.judge_generated(known=True)

    def score(self, data: Table) -> ViewScores:
        """Score images in every view."""
        return scores_by_view(data, self.detector, self.columns, self.running)

    def judge(self, scores: np.ndarray, own: np.ndarray, of_references: np.ndarray) -> Found:
        """Judge each image by the references of other labels than its own."""
        named = replace(self.references, sources=of_references.astype(object))
        return each(scores, own, lambda name: Judges.of(named, JUDGED, self.branches, without=name))

    def judge_generated(self, *, known: bool) -> Found:
        """Judge generated images with the reference images of their generator, or without."""

        def judges(name: str) -> Judges:
            return Judges.of(self.references, JUDGED, self.branches, unknown="" if known else name)

        return each(self.scores[:, self.fake], self.samples.generator[self.fake], judges)

    @property
    def could(self) -> np.ndarray:
        """Photographs that could be called generated: without their source, enough references are left."""
        return np.asarray(self.apart.n >= ENOUGH)


HEADER = (*VERDICTS[:3], f"share {GENERATED}", f"share p_real <= {FLAG:g}", "views disagree")
NOTE = (f"Views disagree: one of them lies among the highest {FLAG:.0%} of photographs, and p_real does not."
        ).replace("%", " %")  # fmt: skip


def by_source(check: Check) -> Grid:
    rows = []
    for name in sorted(set(check.sources)):
        mine = check.sources == name
        taught = int(check.taught[check.real][mine].sum())
        note = f" (fitted on; {taught} of them by the network)" if check.fitted_on[check.real][mine].any() else ""
        claim = "" if check.could[mine].all() else "not possible"
        rows.append((f"{name}{note}", *row_of(check.apart, mine, claim), str(int(check.apart.n[mine][0])),
                     share(check.alone.words[mine] == GENERATED)))  # fmt: skip
    rows.append(("all of which the other sources suffice for a claim", *row_of(check.apart, check.could), "", ""))
    return Grid("Photographs, by source", ("source", "photographs", *HEADER, "references left",
                "likely generated, source known"), tuple(rows), "References without the photographs of the source; "
                f"in the last column with them, without the photograph itself alone. Below {ENOUGH} references no "
                "p_real reaches 1 %, so that no photograph can be called generated. " + NOTE)  # fmt: skip


def by_generator(check: Check) -> Grid:
    generators, rows = check.samples.generator[check.fake], []
    for name in (*sorted(set(generators)), "all"):
        mine = (generators == name) | (name == "all")
        rows.append((name, *row_of(check.generated, mine), share(check.with_all.words[mine] == GENERATED)))
    return Grid("Generated images, by generator", ("generator", "images", *HEADER, "likely generated, generator known"),
                tuple(rows), "References without the images of the generator; in the last column with all of them, "
                f"the image itself among them. {NOTE}")  # fmt: skip


def hard_cases(check: Check) -> tuple[dict[str, Found], str]:
    """Make hard cases of photographs that nothing was fitted on; judge each without its photograph.

    Returns what was found by case, "as it is" first, and what the verdict says of a picture that has none.
    """
    root, usable = Path(root_of(check.manifest)), ~check.fitted_on & (check.samples.label == REAL)
    by_file = {root / path: k for k, path in enumerate(check.samples.path) if usable[k]}
    photographs = some(list(by_file), check.options.pictures)
    rows, held, told = np.array([by_file[one] for one in photographs]), check.samples.path[check.held], ""
    found = {"as it is": check.judge(check.scores[:, rows], check.samples.path[rows], held)}
    with tempfile.TemporaryDirectory() as folder:
        for name, files in make(photographs, Path(check.options.work or folder)).items():
            print(name, file=sys.stderr)
            found[name] = check.judge(check.score(any_images(files)).judged, check.samples.path[rows], held)
            if (lost := found[name].words == "").any():
                inspector = Inspector.of(references=check.options.references, running=check.running)
                (one,) = inspector([files[int(np.flatnonzero(lost)[0])]], whole=False)
                told = f"What has no verdict is told so: \"{' '.join(one.verdict.because)}\" "
    return found, told


def by_case(cases: dict[str, Found], told: str) -> Grid:
    rows, everything = [], slice(None)
    for name, found in cases.items():
        doc = (CASES[name].__doc__ or "").split(".")[0].removeprefix("Return ") if name in CASES else "the photographs"
        rows.append((name, doc, *row_of(found, everything), str(int((found.words == "").sum()))))
    n = len(next(iter(cases.values())).words)
    return Grid("The same photographs in hard cases", ("case", "what it is", "pictures", *HEADER, "no verdict"),
                tuple(rows), f"Of {n} photographs that nothing was fitted on, drawn of those whose sides reach 400 px; "
                "references without the photograph itself, all others of its source are among them. "
                f"{told}{NOTE}")  # fmt: skip


def rules(check: Check) -> tuple[Grid, Grid]:
    coco, held = ~check.could, check.references.generators
    floor = np.mean([1 / (1 + (held == name).sum()) for name in set(held)])
    rows = [(name, text, share(rule(check.generated)), share(rule(check.apart)[check.could]),
             share(rule(check.alone)[coco])) for name, (text, rule) in RULES.items()]  # fmt: skip
    levels = []
    for level in (0.01, 0.02, 0.05, 0.1):
        cells = [share(found.cleared(level, odds)) for odds in (ODDS, 0) for found in (check.apart, check.generated)]
        levels.append((f"{level:.0%}".replace("%", " %"), *cells))
    columns = ("rule", "an image is flagged by", "generated images", "photographs, without their source",
               f"{', '.join(sorted(set(check.sources[coco])))}, without the photograph itself")  # fmt: skip
    odds = f"{ODDS:g} times"
    return (Grid("Rules that were tried", columns, tuple(rows), "Shares flagged, with exact intervals; "
                 "generated images by references without their generator."),
            Grid("\"Likely real\" at other levels", ("p_generated at most", f"photographs, {odds}",
                 f"generated images, {odds}", "photographs, no such condition",
                 "generated images, no such condition"), tuple(levels),
                 f"Shares cleared. {odds}: photographs look as ordinary that much more often. Photographs by "
                 "references without their source, generated images without their generator. With so few images of "
                 f"some generators the least p_generated that there can be is {floor:.3f}."))  # fmt: skip


def traces(check: Check) -> Grid:
    weights = sorted(check.references.weight.items(), key=lambda one: -one[1])
    return Grid("Single traces", ("trace", "macro AUROC"), tuple((name, f"{value:.3f}") for name, value in weights),
                "One crop of each image, reference photographs against the generators, the side told beforehand. "
                "`branch:` are the two branches of the detector.")  # fmt: skip


def measured(check: Check, cases: dict[str, Found]) -> str:
    """Say in a sentence what the rule was measured to do; reports show it."""
    wrong, n = int((check.apart.words[check.could] == GENERATED).sum()), int(check.could.sum())
    right, m = int((check.generated.words == GENERATED).sum()), len(check.fake)
    cases = {name: found for name, found in cases.items() if name in CASES}  # without the photographs as they are
    called = sum(int((found.words == GENERATED).sum()) for found in cases.values())
    out = {name: int(found.flagged.sum()) for name, found in cases.items()}
    worst, most = max(out.items(), key=lambda one: one[1])
    of_worst, of_all = len(cases[worst].words), sum(int((found.words != "").sum()) for found in cases.values())
    cleared = [int((found.words == LIKELY_REAL).sum()) for found in (check.apart, check.generated)]
    real = ("none of either likely real" if not any(cleared) else
            f"{cleared[0]} of {len(check.real)} photographs and {cleared[1]} generated images likely "
            "real")  # fmt: skip
    return (f"Measured: of {n} photographs of sources that were left out of the references it called "
            f"{wrong or 'none'} likely generated ({100 * wrong / n:.1f} %), of {m} images of "
            f"{len(check.samples.generators)} generators {right or 'none'} ({100 * right / m:.1f} %), and {real}. "
            f"Of {of_all} photographs as hard cases it called {called or 'none'} likely generated; of {of_worst} in "
            f"the case \"{worst}\" {most} stand out at 5 %.")  # fmt: skip


def about(check: Check) -> str:
    known = versions()
    with_versions = ", ".join(f"{name} {known[name]}" for name in ("fdetect", "numpy", "torch") if name in known)
    n_free = int(check.fitted_on.sum())
    return (f"{len(check.real)} photographs, of which {n_free} were fitted on and {int(check.taught.sum())} taught "
            f"the network; {len(check.fake)} generated images. {check.references.photographs_text} are references. "
            f"Run on {datetime.date.today()} on {len(os.sched_getaffinity(0))} shared CPU cores, no GPU, with "
            f"{with_versions}.")  # fmt: skip


def each(scores: np.ndarray, own: np.ndarray, judges_of: Callable[[str], Judges]) -> Found:
    """Judge (V, N) scores, images of each label by judges of their own; NaN has no verdict."""
    words, (p_real, p_generated, real_as_low, n) = np.full(len(own), "", object), np.full((4, len(own)), np.nan)
    high = np.full(scores.shape, np.nan)
    for name in sorted(set(own)):
        mine, judges = own == name, judges_of(str(name))
        one = judges(scores[:, mine])
        p_real[mine], p_generated[mine], real_as_low[mine] = one.p_real, one.p_generated, one.real_as_low
        words[mine], n[mine] = np.where(np.isfinite(one.p_real), one.words, ""), judges.photographs.shape[1]
        high[:, mine] = one.high
    return Found(words, p_real, p_generated, real_as_low, high, n)


def row_of(found: Found, rows: np.ndarray | slice, claim: str = "") -> tuple[str, ...]:
    """Return how many images there are, the verdicts counted, and shares of those that have one.

    claim  what stands in place of the share that is called generated
    """
    words = found.words[rows]
    scored = words != ""
    counts = [str(int((words == word).sum())) for word in VERDICTS[:3]]
    return (str(len(words)), *counts, claim or share(words[scored] == GENERATED), share(found.flagged[rows][scored]),
            str(int(found.disagree[rows][scored].sum())))  # fmt: skip


def share(hits: np.ndarray) -> str:
    """Return the share of hits with an exact interval, and what was counted."""
    k, n = int(hits.sum()), len(hits)
    if not n:
        return "–"
    bounds = exact_interval(k, n)
    return f"{k} of {n}: {interval_text(k / n, bounds.low, bounds.high)}"


if __name__ == "__main__":
    main()
