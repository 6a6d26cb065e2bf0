"""Attacks on a detector with a frozen threshold: fakes made to pass, photographs made to be accused, and what is left.

    data -> choose by content -> crops under the condition -> attack (attacks.py) -> score -> JPEG Q90 -> score

Every picture is attacked in the direction in which its answer becomes wrong, both classes with the same budget: the
attacker knows the label, the attack is told a direction alone.  What is attacked is what the detector sees, the decoded
crop of the condition.  Afterwards the attacked pixels are encoded once more, as by somebody who sends them on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fdetect import perturb
from fdetect.attacks import Attacked, attack
from fdetect.bench.attacks.cautions import cautions_of
from fdetect.bench.attacks.crop_scores import CropJudge
from fdetect.bench.data.inputs import Data, any_images, root_of
from fdetect.bench.running import Running
from fdetect.classifiers.calibrated import CalibratedDetector
from fdetect.classifiers.saved import FittedDetector
from fdetect.draws import drawn
from fdetect.engine.pictures import pictures
from fdetect.errors import DataError, ParameterError
from fdetect.images import decode
from fdetect.nets import gradient_attacks  # noqa: F401 (its attacks register themselves)
from fdetect.perturb import MIN_CROP, rng_for
from fdetect.registry import Entry
from fdetect.types import FAKE, REAL, Failure, Record, Table, records
from fdetect.wear import encode_jpeg

__all__ = ["QUALITY", "AttackedSet", "attack_detector", "read_attacks"]

QUALITY = 90  # of the JPEG that the attacked pixels go through afterwards

_AT_ONCE = 8  # pictures that are attacked side by side


@dataclass(frozen=True, eq=False)
class AttackedSet:
    """N pictures with a score, before and after attacks; rows are those of `images`.

    images    rows of the manifest; `ids` are their contents
    scores    (N,) float64 of the crops as they are, `sent` the same after a JPEG of Q90
    attacks   by name: what came of each, and under which settings
    failures  pictures that are in no figure, and attacked ones that had no score after the JPEG
    not_run   by name, why an attack was not run
    cautions  sentences without a full stop: why the figures may be too good, as far as it is known
    """

    judge: CropJudge
    images: tuple[Record, ...]
    ids: tuple[str, ...]
    scores: np.ndarray
    sent: np.ndarray
    attacks: Mapping[str, AttackOn]
    failures: tuple[Failure, ...]
    not_run: Mapping[str, str]
    seed: int
    cautions: tuple[str, ...]

    @property
    def label(self) -> np.ndarray:
        """(N,) int64."""
        return np.array([one.label for one in self.images], np.int64)


@dataclass(frozen=True, eq=False)
class AttackOn:
    """What an attack came to on N pictures.

    pixels  (N, K C, C, 3) uint8, the crops of a picture's K draws one below the other
    trail   (N, 1 + Q) float64, as `Attacked` has it;  `sent`: (N,) scores after a JPEG of Q90
    change  (N,) mean squared change of a sample, in levels
    """

    settings: Mapping[str, Any]
    pixels: np.ndarray = field(repr=False)
    trail: np.ndarray
    sent: np.ndarray
    change: np.ndarray

    @property
    def scores(self) -> np.ndarray:
        """(N,) float64 of the attacked pixels."""
        return np.asarray(self.trail[:, -1])


def read_attacks(names: Sequence[str], *, epsilon: int = 2, queries: int = 200) -> tuple[Entry, ...]:
    """Return attacks by name, with settings behind a colon, which go before `epsilon` and `queries`.

    Raises UnknownName and ParameterError as `Registry.read` does, ParameterError where one is named twice or none is.
    """
    found = []
    for name in names:
        entry = attack.read(name)
        given = {"epsilon": epsilon, "queries": queries}
        found.append(entry.configured(**{key: value for key, value in given.items()
                                         if key in entry.settings and f":{key}=" not in name}))  # fmt: skip
    if not found or len({entry.name for entry in found}) < len(found):
        raise ParameterError(f"--method takes one or more of {', '.join(attack.names())}, each once")
    return tuple(found)


def attack_detector(
    data: Data, scorer: FittedDetector | CalibratedDetector, methods: Sequence[Entry], *, per_class: int = 32,
    condition: str = "", encoder: str = "", network: str = "", seed: int = 0, spare: bool = False, **engine: Any,
) -> AttackedSet:  # fmt: skip
    """Attack a detector on labelled pictures, so many of each class; those are drawn from contents and the seed.

    condition  "" for that under which the detector's thresholds were set
    spare      whether attacks that need a gradient are left out, in `not_run`, where the detector has none
    engine     settings of `Running`; workers decode, everything else runs in this process

    Raises ParameterError for an attack that the detector cannot have, DataError for data without both classes, and what
    `CropJudge.of` raises.
    """
    running = Running.of(engine)
    judge = CropJudge.of(scorer, condition=condition, encoder=encoder, network=network, running=running)
    not_run = {entry.name: judge.no_gradient for entry in methods if entry.meta.get("gradient") and not judge.network}
    if not_run and not spare:
        raise ParameterError(next(iter(not_run.values())))
    methods = [entry for entry in methods if entry.name not in not_run]
    manifest = any_images(data)
    contents = _contents(manifest, running)
    rows, ids = _chosen(manifest, contents, judge, per_class, seed)
    crops, there, failures = _crops(rows, judge, root_of(manifest), running)
    scores = _scored(judge, crops, [ids[k] for k in there])
    failures += [Failure(ids[k], rows[k].path, "score", "a column of the detector is no finite number")
                 for k, score in zip(there, scores, strict=True) if not np.isfinite(score)]  # fmt: skip
    there, crops, scores = (part[np.isfinite(scores)] for part in (there, crops, scores))
    images, ids = tuple(rows[k] for k in there), [ids[k] for k in there]
    if {one.label for one in images} != {REAL, FAKE}:
        why = f": {failures[0].path}: {failures[0].reason}" if failures else ""
        raise DataError(f"of {len(rows)} pictures no two of both classes can be attacked{why}")
    cautions = cautions_of(judge, ids, scorer, contents, np.array(manifest.column("label").to_pylist(), np.int64))
    _tell(judge, ids, cautions, methods, running)
    direction = np.where(np.array([one.label for one in images]) == FAKE, -1.0, 1.0)
    done = {}
    for entry in methods:
        found = _attacked(entry, judge, crops, direction, ids, seed, running)
        sent = _scored(judge, _sent(judge, found.pixels), ids)
        failures += [Failure(ids[k], images[k].path, entry.name, "no score after the JPEG")
                     for k in np.flatnonzero(~np.isfinite(sent))]  # fmt: skip
        change = ((found.pixels.astype(np.float64) - crops) ** 2).mean(axis=(1, 2, 3))
        done[entry.name] = AttackOn(dict(entry.settings), found.pixels, found.trail, sent, change)
    plain = _scored(judge, _sent(judge, crops), ids)
    return AttackedSet(judge, images, tuple(ids), scores, plain, done, tuple(failures), not_run, seed, cautions)


def _contents(manifest: Table, running: Running) -> tuple[str, ...]:
    """Return the content of each picture; raises DataError where one has no label."""
    if manifest.column("label").null_count:
        raise DataError("labels say which way an attack goes, and some images have none; give a labelled folder or a "
                        "manifest")  # fmt: skip
    return running.run(manifest, [], "native", MIN_CROP, 0).ids  # no task: contents alone


def _chosen(
    manifest: Table, ids: Sequence[str], judge: CropJudge, per_class: int, seed: int
) -> tuple[list[Record], list[str]]:
    """Draw pictures of each class by a keyed hash of their contents, each content once; not the detector's bank."""
    if per_class < 1:
        raise ParameterError(f"--images is {per_class}; give 1 or more of each class")
    rows = records(manifest)
    labels: dict[str, set[int]] = {}
    for row, id in zip(rows, ids, strict=True):
        labels.setdefault(id, set()).add(row.label)
    first = {id: k for k, id in reversed(list(enumerate(ids))) if len(labels[id]) == 1}
    known = dict(zip(first, judge.known(list(first)), strict=True))
    order = sorted((id for id in first if not known[id]), key=lambda id: rng_for(seed, id, "attack").random())
    kept = [id for label in (REAL, FAKE) for id in [id for id in order if labels[id] == {label}][:per_class]]
    return [rows[first[id]] for id in kept], kept


def _crops(
    rows: Sequence[Record], judge: CropJudge, root: str, running: Running
) -> tuple[np.ndarray, np.ndarray, list[Failure]]:
    """Return the crops of all draws one below the other, (N, K C, C, 3) uint8, and the numbers of their pictures."""
    base = perturb.condition(judge.condition)
    seen = pictures(
        [row.path for row in rows], conditions=[drawn(base, k) for k in range(judge.draws)], crop=judge.crop, root=root,
        seed=judge.seed, workers=running.workers, time_limit=running.time_limit, progress=running.progress,
    )  # fmt: skip
    there = np.flatnonzero(np.logical_and.reduce(list(seen.ok.values())))
    if not len(there):
        why = f": {seen.failures[0].path}: {seen.failures[0].reason}" if seen.failures else ""
        raise DataError(f"no picture of {len(rows)} can be attacked{why}")
    return np.concatenate([one[there] for one in seen.pixels.values()], axis=1), there, list(seen.failures)


def _attacked(
    entry: Entry, judge: CropJudge, crops: np.ndarray, direction: np.ndarray, ids: Sequence[str], seed: int,
    running: Running,
) -> Attacked:  # fmt: skip
    """Attack all pictures, some side by side; what is drawn belongs to a picture's content and the kind of attack."""
    purpose, parts = f"attack/{entry.name.partition(':')[0]}", []
    budget = int(entry.settings.get("queries", entry.settings.get("steps", 1)))
    for start in range(0, len(crops), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        asked = _Asked(judge, ids[part], entry.name, start * (budget + 1), len(crops) * (budget + 1), running)
        rngs = [rng_for(seed, id, purpose) for id in ids[part]]
        parts.append(entry(crops[part], asked, direction[part], rngs))
    return Attacked(*(np.concatenate([getattr(one, name) for one in parts]) for name in ("pixels", "trail")))


@dataclass
class _Asked:
    """The detector as a `Target`: some pictures of known contents; it counts queries for the progress bar."""

    judge: CropJudge
    ids: Sequence[str]
    name: str
    done: int
    total: int
    running: Running

    def scores(self, pixels: np.ndarray) -> np.ndarray:
        found = self.judge.scores(pixels, self.ids)
        self.done += len(pixels)
        if self.running.progress:
            self.running.progress(self.name, self.done, self.total)
        return found

    def gradient(self, levels: np.ndarray) -> np.ndarray:
        return self.judge.gradient(levels)


def _scored(judge: CropJudge, pixels: np.ndarray, ids: Sequence[str]) -> np.ndarray:
    parts = (slice(start, start + _AT_ONCE) for start in range(0, len(pixels), _AT_ONCE))
    return np.concatenate([judge.scores(pixels[part], ids[part]) for part in parts])


def _sent(judge: CropJudge, pixels: np.ndarray) -> np.ndarray:
    """Put every crop through a JPEG of Q90, 4:2:0."""
    shown = [decode(encode_jpeg(one, QUALITY)).pixels for one in judge.crops(pixels)]
    return np.stack(shown).reshape(pixels.shape)


def _tell(
    judge: CropJudge, ids: Sequence[str], cautions: Sequence[str], methods: Iterable[Entry], running: Running
) -> None:
    """Give notice of what speaks against the figures, and of the cost."""
    say: Callable[[str], None] = running.notice or (lambda _: None)
    for one in cautions:
        say(one)
    costs = [f"{entry.name} {entry.settings.get('queries', entry.settings.get('steps'))}" for entry in methods]
    of = f"{len(ids)} pictures" + (f" of {judge.draws} crops each" if judge.draws > 1 else "")
    say(f"{of}, queries for each: {', '.join(costs)}")
