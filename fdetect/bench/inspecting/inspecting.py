"""`inspect`: images in, one `Inspection` each out, in the order given.

    inspector = Inspector.of(running=running)            the detector that ships, and its references
    for one in inspector(["photo.jpg"], whole=True): ...

    paths -> scores by view (the engine) -> verdict
                                  \\-> one image after the other: tiles, evidence, and what the file says of itself
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from fdetect import perturb
from fdetect.bench.applying import columns_of_model
from fdetect.bench.data.inputs import Data, any_images, root_of
from fdetect.bench.header import versions
from fdetect.bench.inspecting.evidence import Tracer, evidence_of
from fdetect.bench.inspecting.inspection import Inspection, Standing, View
from fdetect.bench.inspecting.judging import Judges
from fdetect.bench.inspecting.of_file import OfFile, read_file
from fdetect.bench.inspecting.references import References
from fdetect.bench.inspecting.tiles import scores_of_tiles
from fdetect.bench.inspecting.verdict import no_verdict, verdict_of
from fdetect.bench.inspecting.views import CROP, JUDGED, ViewScores, scores_by_view, texts
from fdetect.bench.running import Running
from fdetect.bench.training.columns import Columns
from fdetect.classifiers.model_folder import digest_of
from fdetect.classifiers.saved import FittedDetector, load_detector
from fdetect.classifiers.seen import in_words, known
from fdetect.classifiers.shipped import MODEL, model_of
from fdetect.engine.sources import Reader
from fdetect.errors import ParameterError
from fdetect.types import Table

__all__ = ["Inspector"]

NO_REFERENCES = ("this model has no references, so that nothing says how photographs score in these views; "
                 "docs/inspect.md says how they are made")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Inspector:
    """A detector with what images are held against; `references` None: every verdict is inconclusive, and says why."""

    detector: FittedDetector
    digest: str
    references: References | None
    running: Running

    @classmethod
    def of(cls, model: str | None = None, references: str | Path | None = None, *, running: Running) -> Inspector:
        """Load a model, by default the one that ships, and its references.

        Raises ParameterError for a detector that scores no single crops, or references that belong to another;
        DataError for files that hold none.
        """
        folder = model_of(model)
        detector = load_detector(folder)
        if not isinstance(detector, FittedDetector) or detector.tiles:
            raise ParameterError(f"--model {folder}: inspect takes a fitted head or fused detector of single crops; "
                                 "fit one without --detector and --tiles")  # fmt: skip
        digest, held = digest_of(folder), None
        if references or folder == MODEL:
            held = References.load(Path(references)) if references else References.shipped()
            if held.about["digest"] != digest:
                raise ParameterError(f"--references {references or 'of the package'}: they belong to another detector "
                                     f"({held.about['detector']}); make them again (docs/inspect.md)")  # fmt: skip
        return cls(detector, digest, held, running)

    def __call__(self, data: Data, *, whole: bool) -> Iterator[Inspection]:
        """Inspect images; `whole` with tiles and evidence of each, else verdict, views and what the file claims.

        Raises what `fdetect.bench.score` raises, at once; an image that fails has a verdict that says so.
        """
        manifest = any_images(data)
        scores = scores_by_view(manifest, self.detector, self.columns, self.running)
        return self._each(manifest, scores, whole)

    @cached_property
    def columns(self) -> Columns:
        """What the detector reads; of a fused one, branches that cannot be computed here are absent."""
        return columns_of_model(self.detector, running=self.running)

    @cached_property
    def tracer(self) -> Tracer:
        """What single traces can be measured here."""
        return Tracer.of(self.detector, backend=self.running.backend, absent=self._absent)

    @property
    def about(self) -> dict[str, str]:
        """What every verdict rests on, in words."""
        one, held = self.detector, self.references
        told = {"detector": one.name, "digest of the model": self.digest,
                "condition": f"{one.condition}, mean of {one.draws} crops of {one.crop} px"}  # fmt: skip
        if held:
            told["calibration set"] = held.photographs_text
            told["reference generators"] = held.generated_text
        told["thresholds of the model"] = one.calibration.text
        return told | {"versions": ", ".join(f"{name} {version}" for name, version in versions().items())}

    @cached_property
    def _absent(self) -> dict[str, Exception]:
        from fdetect.classifiers.branches import branch_of

        return {branch_of(name): error for name, error in self.columns.absent.items()}

    def _each(self, manifest: Table, scores: ViewScores, whole: bool) -> Iterator[Inspection]:
        judges: dict[str, Judges] = {}
        with Reader(root_of(manifest)) as reader:
            for k, path in enumerate(scores.paths):
                if self.running.progress:
                    self.running.progress("images", k, len(scores.paths))
                file = read_file(reader, path, whole=whole)
                yield self._one(k, scores, file, judges, whole)

    def _one(self, k: int, scores: ViewScores, file: OfFile, judges: dict[str, Judges], whole: bool) -> Inspection:
        branches, failure = scores.branches[k], scores.failures.get(k) or file.failure
        views, made = self._views(k, scores), Inspection(
            scores.paths[k], scores.ids[k], file.facts, no_verdict("", None), metadata=file.metadata,
            credentials=file.credentials, thumbnails=file.thumbnails, history=file.history, failure=failure,
            notices=self._notices(k, scores), about=self.about, pixels=file.image.pixels if file.image else None,
        )  # fmt: skip
        score = float(scores.score[k])
        if failure and not np.isfinite(score):
            return replace(made, verdict=no_verdict(failure.reason, self.references))
        if self.references is None:
            return replace(made, verdict=no_verdict(NO_REFERENCES, None, score), views=views)
        if branches not in judges:
            judges[branches] = Judges.of(self.references, JUDGED, branches)
        judged = judges[branches](scores.judged[:, k : k + 1])
        by_name = {view.name: view for view in views}
        verdict = verdict_of(judged, 0, [by_name[name] for name in JUDGED], self.references, score)
        made = replace(made, verdict=verdict, views=views)
        if not (whole and file.image):
            return made
        detector, id, condition = self.detector, scores.ids[k], perturb.condition(self.detector.condition)
        tiles = scores_of_tiles(file.image, id, detector, self.columns, self.references, self.running)
        crop = condition(file.image, id, seed=detector.seed, crop=detector.crop)
        evidence = evidence_of(self.tracer, crop, id, self.references, columns=scores.first[k])
        return replace(made, tiles=tiles, evidence=evidence, crop=crop)

    def _views(self, k: int, scores: ViewScores) -> tuple[View, ...]:
        views = []
        for name, (condition, text) in texts(self.detector).items():
            value = float(scores.views[name][k])
            key = CROP if name.startswith(f"{CROP} ") else name
            held = self.references.standing(key, value, scores.branches[k]) if self.references else None
            reason = "" if np.isfinite(value) else "it has no score in this view"
            views.append(View(name, text, condition, held or Standing(value, np.empty(0)), reason))
        return tuple(views)

    def _notices(self, k: int, scores: ViewScores) -> tuple[str, ...]:
        """Say what weakens the answer: branches that are absent, and an image that the model knows."""
        told = [f"the branch {branch} is absent, and the verdict rests on the others alone: {error}"
                for branch, error in self._absent.items()]  # fmt: skip
        if any(one.any() for one in known(self.detector, [scores.ids[k]])):
            told.append(in_words(self.detector, [scores.ids[k]]))
        return tuple(told)
