"""Detector networks in a benchmark: trained once in every trial on augmented pictures, tested under all conditions.

    pictures of the run: draws by an augmentation, and what each condition shows    network_pictures.py
    a trial's training images --validation groups apart--> learn (fdetect/nets/learning.py) --> network_outputs.py
                                            --> scores of a contender, vectors of the fused detector's branch `trunk`
    what happened in each training, kept beside its checkpoint --> header and tables             learnt_tables.py

A network is trained once for both training conditions, since its augmentation covers what they do; thresholds are set
under each of them as for everybody.  The pictures that validate are those of `matched`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fdetect.bench.header import versions
from fdetect.bench.models import Model, Thresholded
from fdetect.bench.protocols import Samples, Trial
from fdetect.bench.scores.scoring import shown_and_trained
from fdetect.bench.training.learnt_tables import (
    described,
    keep_record,
    keep_training,
    read_outputs,
    read_record,
    record_of,
    safe_name,
)
from fdetect.bench.training.network_outputs import Outputs, embedding_columns
from fdetect.bench.training.network_pictures import NetworkPictures, check_memory
from fdetect.bench.training.network_training import VALIDATED, apart, code_digest, schedule_of, train_network
from fdetect.config import FusedConfig, NetworksConfig, RunConfig, fingerprint
from fdetect.decide import logistic
from fdetect.engine.loop import Progress
from fdetect.errors import DataError, ParameterError, WeightsError
from fdetect.nets.weights import INSTALL_DEEP, torch_missing
from fdetect.perturb import Condition, condition
from fdetect.types import NotRun

if TYPE_CHECKING:
    from fdetect.nets.detectors import NetworkConfig
    from fdetect.nets.learning import Learnt
    from fdetect.nets.schedule import Schedule

__all__ = ["Network", "NetworkModel", "NetworkPictures", "apart", "check_networks", "networks", "shown_to_networks",
           "train_network"]  # fmt: skip

_ONE_AT_A_TIME = threading.Lock()  # trials are trained in threads, and torch has one random generator
_DIVERGED = "training stopped"  # how an error of the training begins that other trials are not concerned by


@dataclass(frozen=True)
class Network:
    """A contender: one architecture, trained anew in every trial and scored under every condition.

    embeds    whether it is the trunk of the fused detector: embeddings are kept, and what it says of validation images
    about     what is known before it is trained: number of parameters, content of its first values, version of torch
    folder    for what is kept of its trials: a checkpoint until one is done, then its log, curve, scores and record;
              None: nothing is
    records   trial -> what `record_of` returns, of the trials that this process trained
    """

    config: NetworksConfig
    architecture: NetworkConfig
    name: str
    pictures: NetworkPictures
    samples: Samples
    seed: int = 0
    device: str = "cpu"
    about: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    progress: Progress | None = None
    embeds: bool = False
    records: dict[str, dict[str, Any]] = field(default_factory=dict, compare=False, repr=False)
    _found: dict[str, Outputs | str] = field(default_factory=dict, compare=False, repr=False)
    trains: ClassVar[bool] = True

    @cached_property
    def reasons(self) -> Mapping[str, Mapping[int, str]]:
        """Why images failed: condition -> row number -> one line."""
        found = {name: dict(why) for name, why in self.pictures.reasons.items()}
        for name in (name for name, pixels in self.pictures.shown.pixels.items() if self._too_small(pixels)):
            side = self.pictures.shown.pixels[name].shape[1]
            why = f"score: {self.name} takes sides of at least {self.architecture.LEAST} px; got {side}"
            found[name] |= dict.fromkeys(np.flatnonzero(self.pictures.shown.ok[name]).tolist(), why)
        return found

    @property
    def columns(self) -> tuple[str, ...]:
        """What it gives as a trunk: its logit, and the numbers of its embedding."""
        return embedding_columns(self.about["embedding"])

    @cached_property
    def schedule(self) -> Schedule:
        """How it learns."""
        return schedule_of(self.architecture, self.config, seed=self.seed, device=self.device)

    @cached_property
    def digest(self) -> str:
        """What scores depend on beside the data and the run's own settings, the code among it."""
        own = replace(self.config, names=())
        return fingerprint(asdict(own), self.architecture.to_json(), dict(self.about), self.pictures.drawn.ids,
                           self.device, code_digest(), versions())  # fmt: skip

    def ready(self, trial: Trial, condition: str) -> Model:
        """Train the network on the trial's training images and score its others, once for all conditions.

        Raises DataError where it cannot be trained there.
        """
        return NetworkModel(self.outputs(trial))

    def outputs(self, trial: Trial) -> Outputs:
        """Train the network in a trial, once for all that ask, and return what it says of the trial's other images.

        Raises DataError where it cannot be trained there.
        """
        if trial.name not in self._found:  # who asks again does not wait for the training of another trial
            with _ONE_AT_A_TIME:
                if trial.name not in self._found:
                    self._found[trial.name] = self._trained(trial)
        found = self._found[trial.name]
        if isinstance(found, str):
            raise DataError(found)
        return found

    def missing(self, trial: Trial) -> str:
        """Say why it could not be trained in a trial; "" where it was, or where nothing is known."""
        return str(self.record(trial).get("error", ""))

    def record(self, trial: Trial) -> dict[str, Any]:
        """Return what happened in a trial, also where an earlier process trained it; empty where nothing is known."""
        return self.records.get(trial.name) or read_record(self._home(trial.name), self._key(trial))

    def _trained(self, trial: Trial) -> Outputs | str:
        home, key = self._home(trial.name), self._key(trial)
        if "auroc" in read_record(home, key) and (kept := read_outputs(home, embedding=self.embeds)):
            return kept
        checkpoint = home / f"checkpoint-{key}.safetensors" if home else None  # one of another code is left alone
        try:
            learnt = train_network(
                self.architecture, self.pictures, self.samples, trial, self.config, seed=self.seed, device=self.device,
                checkpoint=checkpoint, progress=self._told(trial.name),
            )  # fmt: skip
        except (DataError, ParameterError) as error:
            if checkpoint and str(checkpoint) in str(error):  # no fault of this trial's images: not to be kept
                raise ParameterError(str(error)) from None
            if isinstance(error, ParameterError) and not str(error).startswith(_DIVERGED):
                raise
            self.records[trial.name] = {"digest": key, "trial": trial.name, "error": str(error)}
            keep_record(home, self.records[trial.name])
            return str(error)
        self.records[trial.name] = record_of(learnt, trial.name, key)
        outputs = self._outputs(learnt, trial)
        if home and checkpoint:
            keep_training(home, learnt.record, outputs, title=f"{self.name}, {trial.name}")
            keep_record(home, self.records[trial.name])  # last: where it stands, the trial is done
            checkpoint.unlink()  # with the optimiser's state it is many times as large as the network
        return outputs

    def _key(self, trial: Trial) -> str:
        return fingerprint(self.digest, trial.fit.tolist(), trial.calibration.tolist(), trial.test.tolist())

    def _outputs(self, learnt: Learnt, trial: Trial) -> Outputs:
        """Have a network look at tested images and calibration reals.

        As a trunk it also looks at training images that it was not trained on: the fused detector is fitted on these.
        """
        looked_at, fresh = np.concatenate([trial.test, trial.calibration]), None
        if self.embeds:
            fit, _ = apart(self.samples, trial, share=self.config.validation, seed=self.seed)
            fresh = np.setdiff1d(trial.fit, fit)
            looked_at = np.concatenate([looked_at, fresh])
        rows = {name: looked_at[:0] if self._too_small(pixels) else looked_at
                for name, pixels in self.pictures.shown.pixels.items()}  # fmt: skip
        return Outputs.of(learnt.model, self.pictures.shown, rows, fresh)

    def _too_small(self, pixels: np.ndarray) -> bool:
        return 0 < int(pixels.shape[1]) < self.architecture.LEAST

    def _home(self, trial: str) -> Path | None:
        return self.folder / safe_name(trial) if self.folder else None

    def _told(self, trial: str) -> Callable[..., None]:
        """Return what passes a step's loss, and the validation, on to the run's progress."""
        tell, steps = self.progress, self.schedule.steps
        every, said = max(steps // 20, 1), [""]

        def told(done: int, loss: float, validation: float | None) -> None:
            if tell and (done % every == 0 or done == 1):
                reached = "" if validation is None else f", AUROC {validation:.3f}"
                said[0] = f"{self.name} {trial} | loss {loss:.3f}{reached}"
            if tell:
                tell(said[0] or f"{self.name} {trial}", done, steps)

        return told


@dataclass(frozen=True)
class NetworkModel(Thresholded):
    """A network that was trained in a trial."""

    outputs: Outputs

    def scores(self, condition: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Look the rows up; the probability is the network's own, not calibrated."""
        scores = self.outputs.scores(condition, rows)
        return scores, logistic(scores)


def check_networks(config: RunConfig, n_images: int = 0) -> None:
    """Say what is wrong with the networks of a run, the trunk among them, before hours of work.

    Raises UnknownName and ParameterError for a name or a setting that does not exist, a name given twice, a trunk that
    no branch asks for, crops that are too small for a network, and for pictures of `n_images` that do not fit into
    memory.
    """
    named, trunk = config.networks.names, config.fused.trunk
    if twice := sorted({name for name in named if named.count(name) > 1}):
        raise ParameterError(f"networks: '{twice[0]}' is named twice; name it once")
    if not trunk and config.fused.network not in ("", FusedConfig.network):
        raise ParameterError(f"fused: {config.fused.network} is the network of the branch trunk, which is not asked "
                             "for; add trunk to --fused, or name the network with --networks")  # fmt: skip
    names = (*named, trunk) if trunk else named
    for name, architecture in _architectures(names):
        if config.networks.crop < architecture.LEAST:
            raise ParameterError(f"networks: {name} takes sides of at least {architecture.LEAST} px, and networks.crop "
                                 f"is {config.networks.crop}; raise it")  # fmt: skip
    if names:
        batch, side = config.networks.batch, config.networks.crop
        if batch % 2 or side % 8:
            raise ParameterError("networks: batch is even, as half of each is real, and crop a multiple of 8; got "
                                 f"{batch} and {side}")  # fmt: skip
        n_conditions = len({*shown_to_networks(config), VALIDATED})
        check_memory(config.networks, n_images, n_conditions, config.conditions.crop)


def shown_to_networks(config: RunConfig) -> tuple[str, ...]:
    """Return the conditions that a run's networks look at images under, a trunk also those that its head is fitted on.

    That of validation is not among them unless it is tested or thresholded under.
    """
    more = config.heads.train_conditions if config.fused.trunk else ()
    return tuple(dict.fromkeys((*shown_and_trained(config.conditions.names), *more)))


def networks(
    config: RunConfig, samples: Samples, conditions: Sequence[Condition], *, folder: Path, device: str,
    trunk: str = "", **engine: Any,
) -> tuple[list[Network], list[NotRun]]:  # fmt: skip
    """Return the networks of a run and its trunk, with all pictures read, and those that cannot be built here.

    conditions  tested or thresholded under
    folder      of the run: checkpoints, logs and curves go to networks/NETWORK/TRIAL below it
    trunk       name of the network that the fused detector looks through; also one of `config.networks`, or not
    engine      settings of `fdetect.engine.pictures.pictures`

    Raises what `check_networks` raises.
    """
    names = tuple(dict.fromkeys((*config.networks.names, *([trunk] if trunk else []))))
    if not names:
        return [], []
    check_networks(config, len(samples.path))
    if missing := torch_missing():
        return [], [NotRun(name, missing, INSTALL_DEEP) for name in names]
    from fdetect.nets.detectors import build
    from fdetect.nets.encoders import resolve_device

    found, not_run = [], []
    for name, architecture in _architectures(names):
        try:
            found.append((name, architecture, described(build(architecture, seed=config.seed))))
        except WeightsError as error:
            not_run.append(NotRun(name, error.reason, error.fix))
    if not found:
        return [], not_run
    needed = {one.name: one for one in (*conditions, condition(VALIDATED))}
    shown = NetworkPictures.compute(
        config.networks, samples, tuple(needed.values()), crop=config.conditions.crop, **engine
    )
    on = resolve_device(device)
    return [
        Network(config.networks, architecture, name, shown, samples, config.seed, on, about,
                folder / "networks" / safe_name(name), engine.get("progress"), name == trunk)
        for name, architecture, about in found
    ], not_run  # fmt: skip


def _architectures(names: Sequence[str]) -> list[tuple[str, NetworkConfig]]:
    from fdetect.nets.detectors import network

    return [(name, network.read(name)()) for name in names]
