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
from typing import Any

import numpy as np

from fdetect import perturb
from fdetect.bench.applying import columns_of_model
from fdetect.bench.data.inputs import Data, any_images, root_of
from fdetect.bench.header import versions
from fdetect.bench.inspecting.evidence import Tracer, evidence_of
from fdetect.bench.inspecting.inspection import Evidence, Inspection, Standing, Verdict, View
from fdetect.bench.inspecting.judging import Judges
from fdetect.bench.inspecting.light import without_pictures
from fdetect.bench.inspecting.of_file import OfFile, Parts, read_file, said
from fdetect.bench.inspecting.placing import CONTENT, placed
from fdetect.bench.inspecting.references import References, key_of
from fdetect.bench.inspecting.tiles import no_tiles, scores_of_tiles
from fdetect.bench.inspecting.trust import anchors_of, anchors_text
from fdetect.bench.inspecting.verdict import no_verdict, verdict_of
from fdetect.bench.inspecting.views import CROP, JUDGED, ViewScores, scores_by_view, texts
from fdetect.bench.running import Running
from fdetect.bench.training.columns import Columns
from fdetect.classifiers.branches import branch_of
from fdetect.classifiers.embedding import is_embedding
from fdetect.classifiers.model_folder import digest_of
from fdetect.classifiers.saved import FittedDetector, load_detector
from fdetect.classifiers.seen import known
from fdetect.classifiers.shipped import MODEL, model_of
from fdetect.engine.sources import Reader
from fdetect.errors import ParameterError
from fdetect.features import ALONE, feature
from fdetect.images import Decoded
from fdetect.types import Failure, Table

__all__ = ["MANY", "Inspector", "inspect"]

MANY = 100  # images, beyond which no picture is kept in memory

NO_REFERENCES = ("this model has no references, so that nothing says how photographs score in these views; "
                 "docs/inspect.md says how they are made")  # fmt: skip


def inspect(
    data: Data, *, model: str | None = None, references: str | Path | None = None, trust: str | Path | None = None,
    whole: bool = True, **engine: Any,
) -> list[Inspection]:  # fmt: skip
    """Inspect images with the detector that ships, or a model and its references; settings are those of `score`.

    trust  PEM file of root certificates that vouch for signers of Content Credentials
    whole  with tiles and evidence of each, which takes a second an image; else verdict, views and what files claim

    All are kept in memory, and of at most MANY images their pixels, too; `Inspector` gives one after the other.
    Raises what `Inspector` raises.
    """
    inspector, manifest = Inspector.of(model, references, trust, running=Running.of(engine)), any_images(data)
    found = inspector(manifest, whole=whole)
    return list(map(without_pictures, found) if len(manifest) > MANY else found)


@dataclass(frozen=True, eq=False)
class Inspector:
    """A detector with what images are held against; `references` None: every verdict is inconclusive, and says why.

    anchors  root certificates (PEM) that vouch for signers of Content Credentials; "" for none
    """

    detector: FittedDetector
    digest: str
    references: References | None
    running: Running
    anchors: str = ""

    @classmethod
    def of(
        cls, model: str | None = None, references: str | Path | None = None, trust: str | Path | None = None, *,
        running: Running,
    ) -> Inspector:  # fmt: skip
        """Load a model, by default the one that ships, its references, and certificates of a PEM file to trust.

        Raises ParameterError for a detector that scores no single crops, one that reads the file, and references of
        another; DataError for files that hold no references or no certificates.
        """
        anchors = anchors_of(Path(trust)) if trust else ""
        folder = model_of(model)
        detector = load_detector(folder)
        if not isinstance(detector, FittedDetector) or detector.tiles:
            raise ParameterError(f"--model {folder}: inspect takes a fitted head or fused detector of single crops; "
                                 "fit one without --detector and --tiles")  # fmt: skip
        if history := [name for name in detector.features if name in feature and feature.get(name).family in ALONE]:
            raise ParameterError(f"--model {folder}: it reads {history[0]} of the file, and judged are views of its "
                                 "pixels; take a detector of pixels")  # fmt: skip
        digest, held = digest_of(folder), References.load(Path(references)) if references else None
        if held is None and (folder == MODEL or digest == References.shipped().about["digest"]):  # a copy of it, too
            held = References.shipped()
        if held is not None and held.about["digest"] != digest:
            name = held.about.get("detector", "unnamed")
            raise ParameterError(f"--references {references or 'of the package'}: they belong to another detector "
                                 f"({name}); make them again (docs/inspect.md)")  # fmt: skip
        return cls(detector, digest, held, running, anchors)

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
        if self.anchors:
            told["trusted for Content Credentials"] = anchors_text(self.anchors)
        return told | {"versions": ", ".join(f"{name} {version}" for name, version in versions().items())}

    @cached_property
    def _absent(self) -> dict[str, Exception]:
        return {branch_of(name): error for name, error in self.columns.absent.items()}

    def _each(self, manifest: Table, scores: ViewScores, whole: bool) -> Iterator[Inspection]:
        judges: dict[str, Judges] = {}
        with Reader(root_of(manifest)) as reader:
            for k, path in enumerate(scores.paths):
                file = read_file(reader, path, whole=whole, anchors=self.anchors)
                made = self._one(k, scores, file, judges, whole)
                if self.running.progress:
                    self.running.progress("images", k + 1, len(scores.paths))
                yield made

    def _one(self, k: int, scores: ViewScores, file: OfFile, judges: dict[str, Judges], whole: bool) -> Inspection:
        about, path, id = self.about, scores.paths[k], scores.ids[k]
        if failure := self._changed(k, scores, file):
            return Inspection(path, id, None, no_verdict(failure.reason, self.references), failure=failure, about=about)
        score, notices = float(scores.score[k]), (*self._notices(k, scores), *file.notices)
        made = Inspection(
            path, id, file.facts, no_verdict("", None), metadata=file.metadata, credentials=file.credentials,
            thumbnails=file.thumbnails, history=file.history, notices=notices, about=about,
            pixels=file.image.pixels if file.image else None,
        )  # fmt: skip
        if not np.isfinite(score):
            failure = file.failure or self._in_words(scores.failures.get(k), file)
            reason = failure.reason if failure else "the detector has no score of it"
            return replace(made, verdict=no_verdict(reason, self.references), failure=failure)
        if file.failure:  # of content that was scored a moment ago: too little memory, say
            made = replace(made, notices=(*notices, f"it could not be decoded again: {file.failure.reason}"))
        held = self.references
        if held and held.holds(id):
            held, judges = held.without(id), {}
            made = replace(made, notices=(*made.notices, "this image is one of the references; it is held against the "
                                                         "others"))  # fmt: skip
        views = self._views(k, scores, held)
        made = replace(made, verdict=self._verdict(k, scores, views, held, judges), views=views)
        return self._whole(made, file.image, scores.first[k], held) if whole and file.image else made

    def _changed(self, k: int, scores: ViewScores, file: OfFile) -> Failure | None:
        """Return why a file that was read before is not the one that was scored; None where it is."""
        lost = scores.failures.get(k)
        if file.id == scores.ids[k] or (lost and lost.stage == "read"):
            return None
        if not file.id:
            return file.failure
        return Failure(scores.ids[k], scores.paths[k], "read", "it changed while it was inspected; inspect it again")

    def _whole(
        self, made: Inspection, image: Decoded, columns: np.ndarray, held: References | None
    ) -> Inspection:
        """Add tiles and evidence, as far as they can be found."""
        detector, part = self.detector, Parts()
        if not any(map(is_embedding, detector.features)):  # which looks at whole pictures, not at tiles
            try:
                tiles = scores_of_tiles(image, detector, self.columns, held, self.running)
            except Exception as error:
                tiles = no_tiles(image, f"it could not be scored by tiles: {said(error)}")
            made = replace(made, tiles=tiles)
        if held is None:  # a trace says nothing without photographs; tiles can be compared with each other
            return made
        found = part("single traces", self._traces, image, held, columns)
        evidence, crop = found or ((), None)
        return replace(made, evidence=evidence, crop=crop, notices=(*made.notices, *part.told))

    def _traces(
        self, image: Decoded, references: References, columns: np.ndarray
    ) -> tuple[tuple[Evidence, ...], Decoded]:
        one = self.detector
        crop = placed(one.condition, 0)(image, CONTENT, seed=one.seed, crop=one.crop)
        return evidence_of(self.tracer, crop, CONTENT, references, columns=columns), crop

    def _verdict(
        self, k: int, scores: ViewScores, views: tuple[View, ...], held: References | None, judges: dict[str, Judges]
    ) -> Verdict:
        branches, score = scores.branches[k], float(scores.score[k])
        if held is None:
            return no_verdict(NO_REFERENCES, None, score)
        if not all(key_of(name, branches) in held.real for name in JUDGED):
            rests_on = f"the branches {branches}" if branches else "crops without a branch in common"
            return no_verdict(f"its score rests on {rests_on}, and there are no references of such scores", held, score)
        if branches not in judges:
            judges[branches] = Judges.of(held, JUDGED, branches)
        by_name = {view.name: view for view in views}
        judged = judges[branches](scores.judged[:, k : k + 1])
        return verdict_of(judged, 0, [by_name[name] for name in JUDGED], held, score)

    def _in_words(self, lost: Failure | None, file: OfFile) -> Failure | None:
        """Return why an image has no score; of one that is too small its size, and what it takes."""
        need = perturb.condition(self.detector.condition).window(self.detector.crop) + perturb.MARGIN
        if lost is None or file.facts is None or min(file.facts.width, file.facts.height) >= need:
            return lost
        side = f"{file.facts.width} x {file.facts.height} px"
        return replace(lost, reason=f"it is too small: {side}, and both sides have to be {need} px or more")

    def _views(self, k: int, scores: ViewScores, references: References | None) -> tuple[View, ...]:
        views = []
        for name, (condition, text) in texts(self.detector).items():
            value, lost = float(scores.views[name][k]), scores.lost[name].get(k)
            key = CROP if name.startswith(f"{CROP} ") else name
            held = references.standing(key, value, scores.branches[k]) if references else None
            why = lost.reason if lost else "it has no score in this view"
            views.append(View(name, text, condition, held or Standing(value, np.empty(0)),
                              "" if np.isfinite(value) else why))  # fmt: skip
        return tuple(views)

    def _notices(self, k: int, scores: ViewScores) -> tuple[str, ...]:
        """Say what weakens the answer: branches and crops that are absent, and an image that the model knows."""
        told = [f"the branch {branch} is absent, and the verdict rests on the others alone: {error}"
                for branch, error in self._absent.items()]  # fmt: skip
        lost = {name: of_view[k] for name, of_view in scores.lost.items() if k in of_view}
        if lost and np.isfinite(scores.score[k]):
            told.append(f"not all of it could be scored ({', '.join(lost)}): {next(iter(lost.values())).reason}")
        if any(map(is_embedding, self.detector.features)):
            told.append("no tiles: the detector reads an embedding, which looks at whole pictures")
        fitted, calibration = (bool(one[0]) for one in known(self.detector, [scores.ids[k]]))
        if fitted or not self.columns.fresh([scores.ids[k]])[0]:
            told.append("this detector was fitted on this very image: what it says of it is no test")
        if calibration:
            told.append("this image is one of those that set the thresholds of this detector")
        return tuple(told)
