"""The configuration of a run: frozen dataclasses, read from TOML, overridden by flags, named by a fingerprint."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from fdetect.errors import ParameterError
from fdetect.fingerprints import fingerprint
from fdetect.recipes import RECIPES
from fdetect.registry import nearest

__all__ = ["RunConfig", "fingerprint", "override", "read_config", "to_toml"]

SCHEMA = 1
BRANCHES = ("handmade", "spectrum", "trunk", "encoder")  # of the fused detector


@dataclass(frozen=True)
class DataConfig:
    """Where the images are and how their folder is read."""

    path: str = ""  # empty: the built-in benchmark
    layout: str = "auto"
    root: str = ""  # folder that manifest paths are relative to; empty: the manifest's own


@dataclass(frozen=True)
class ProtocolConfig:
    """Which images train, calibrate and test."""

    name: str = "leave_one_generator_out"
    folds: int = 3
    calibration: float = 0.25  # share of each trial's training reals kept for thresholds, never fitted on
    train: tuple[str, ...] = ()  # generators of `train_on`


@dataclass(frozen=True)
class ConditionsConfig:
    """What is done to every image before a detector sees it."""

    names: tuple[str, ...] = ("native", "matched", "jpeg70", "rescaled")
    crop: int = 0  # C in px; 0: 224, and 128 in the built-in benchmark


@dataclass(frozen=True)
class FeaturesConfig:
    """The hand-crafted features: a preset, names or patterns; and encoders that heads look through."""

    names: tuple[str, ...] = ("standard",)
    embeddings: tuple[str, ...] = ()  # names of `fdetect weights list`, hub ids or folders; heads of `per_family` each


@dataclass(frozen=True)
class HeadsConfig:
    """Which classifiers are trained, and on which columns; those of probes and of provenance are in no larger set.

    Heads of `aligned.three_way` are balanced by class whatever stands here, and not searched.
    """

    per_family: tuple[str, ...] = ("logreg",)  # on every family alone
    all_columns: tuple[str, ...] = ("logreg", "hist_gb")  # on all columns together
    per_preset: tuple[str, ...] = ()  # on every preset whose features are all among the chosen ones
    drop_one: tuple[str, ...] = ()  # on all columns, and on all but those of each family in turn
    balance: str = "none"  # weights of training images: "generators", or "generators+sources" of reals as well
    search: bool = False  # whether settings not named are searched for, within each trial's training images
    draws: int = 1  # of each condition: crops of an image that are fitted on, and whose mean score is that of the image
    train_conditions: tuple[str, ...] = ()  # fitted on together for all columns but native; empty: matched
    best_single: bool = False  # whether the best head is chosen on each trial's training images; with `fused` always
    importance: bool = False  # whether families of columns are permuted among test images: heads on all columns, fused

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ParameterError(f"heads: draws is {self.draws}; give 1 or more (--draws)")
        names = self.train_conditions
        if "native" in names or len(set(names)) < len(names):
            raise ParameterError("heads: train_conditions are different ones, and native is not among them, for which "
                                 f"heads are trained apart; got {','.join(names)} (--train-conditions)")  # fmt: skip


@dataclass(frozen=True)
class AlignedConfig:
    """Heads trained on photographs and their round trips through autoencoders, beside those on generated images."""

    autoencoders: tuple[str, ...] = ()  # names, hub ids or folders; "shipped": all that come with fdetect; empty: none
    draws: int = 1  # pairs of each photograph with each autoencoder, with other crops and histories
    history: bool = True  # whether halves are made smaller and JPEG-encoded alike, or only cropped alike
    generated: tuple[float, ...] = (0.0,)  # shares of generated images among the fakes; a head for each
    three_way: tuple[str, ...] = ()  # heads that tell pristine, laundered and synthetic apart; without names: "shipped"

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ParameterError(f"aligned: draws is {self.draws}; give 1 or more (--pairs)")
        if wrong := [share for share in self.generated if not 0 <= share < 1]:
            share = f"aligned: the share of generated images is {wrong[0]:g}"
            raise ParameterError(f"{share}; give 0 or more, below 1 (--generated)")


@dataclass(frozen=True)
class NetworksConfig:
    """Detector networks that are trained in every trial, and their budget."""

    names: tuple[str, ...] = ()  # with settings where wanted: "npr:factor=4"
    steps: int = 600
    batch: int = 32
    rate: float = 1e-3
    recipes: bool = False  # whether optimiser and rate are those that a network's authors state, where they do
    augmentation: str = "full"
    draws: int = 16  # crops of each image that training draws from
    crop: int = 128  # px of these
    validation: float = 0.15  # share of the training images, by groups, that choose the best weights
    validate_every: int = 50
    patience: int = 0  # validations without improvement after which training stops; 0: never

    def __post_init__(self) -> None:
        if min(self.steps, self.batch - 1, self.draws, self.validate_every) < 1 or self.patience < 0:
            given = ", ".join(f"{name} = {getattr(self, name)}" for name in
                              ("steps", "batch", "draws", "validate_every", "patience"))  # fmt: skip
            raise ParameterError("networks: steps (--steps), draws and validate_every are 1 or more, batch 2 or more, "
                                 f"patience 0 or more; got {given}")  # fmt: skip
        if not (0 < self.validation < 1 and self.rate > 0):
            raise ParameterError("networks: validation is a share between 0 and 1 and rate above 0; got "
                                 f"validation = {self.validation}, rate = {self.rate}")  # fmt: skip
        if self.augmentation not in RECIPES:
            hint = nearest(self.augmentation, RECIPES)
            raise ParameterError(f"networks: no augmentation '{self.augmentation}'{hint} ({', '.join(RECIPES)})")


@dataclass(frozen=True)
class FusedConfig:
    """The fused detector: branches with a logit each, and gates that weigh them."""

    branches: tuple[str, ...] = ()  # of handmade, spectrum, trunk, encoder (features.embeddings); empty: not run
    network: str = "residual_trunk"  # of the branch trunk, trained in every trial within the budget of [networks]
    forms: tuple[str, ...] = ("linear", "hist_gb")  # what may give a branch its logit, chosen by training images alone
    draws: int = 0  # as those of heads; 0: as many

    def __post_init__(self) -> None:
        for name in self.branches:
            if name not in BRANCHES:
                hint = nearest(name, BRANCHES)
                raise ParameterError(f"fused: no branch '{name}'{hint} ({', '.join(BRANCHES)})")
        if self.draws < 0:
            raise ParameterError(f"fused: draws is {self.draws}; give 1 or more, or 0 for those of heads")

    @property
    def trunk(self) -> str:
        """Name of the network that a run trains for the branch trunk; "" where that is no branch of it."""
        return self.network if "trunk" in self.branches else ""


@dataclass(frozen=True)
class DetectorsConfig:
    """Training-free detectors (`rigid`, or with settings `rigid:sigma=0.02`), their networks, scores made elsewhere."""

    names: tuple[str, ...] = ("rigid",)
    encoder: str = ""  # for all that need one: a name of `fdetect weights list`, a hub id or a folder; empty: their own
    autoencoder: str = ""  # the same for those that reconstruct
    scores: tuple[str, ...] = ()  # files for `--scores`
    external: tuple[str, ...] = ()  # NAME=COMMAND: programs that score pictures; a run runs them


@dataclass(frozen=True)
class MetricsConfig:
    """How intervals are made."""

    replicates: int = 1000
    level: float = 0.95

    def __post_init__(self) -> None:
        if self.replicates < 0:
            raise ParameterError(f"replicates is {self.replicates}; give 0 or more, such as 1000 "
                                 "(--replicates)")  # fmt: skip


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's result; where it is stored and how many workers compute it is not part of it."""

    data: DataConfig = field(default_factory=DataConfig)
    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    conditions: ConditionsConfig = field(default_factory=ConditionsConfig)
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    heads: HeadsConfig = field(default_factory=HeadsConfig)
    aligned: AlignedConfig = field(default_factory=AlignedConfig)
    networks: NetworksConfig = field(default_factory=NetworksConfig)
    fused: FusedConfig = field(default_factory=FusedConfig)
    detectors: DetectorsConfig = field(default_factory=DetectorsConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    seed: int = 0
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ParameterError(f"seed is {self.seed}; give a whole number of 0 or more (--seed)")


T = TypeVar("T")


def read_config(path: Path) -> RunConfig:
    """Read a TOML file; raises ParameterError naming the file and the key that is unknown or of a wrong type."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # not UTF-8, not TOML, an endless number
        raise ParameterError(f"{path}: not a readable TOML file: {error}") from None
    if values.get("schema", SCHEMA) != SCHEMA:  # before its keys are judged: another schema has other keys
        schema = values["schema"]
        raise ParameterError(f"{path}: schema = {schema} is not supported; this version reads schema = {SCHEMA}")
    return _build(RunConfig, values, str(path))


def override(config: RunConfig, flags: dict[str, Any]) -> RunConfig:
    """Return the configuration with dotted keys replaced ("conditions.crop": 128); a value of None changes nothing."""
    for key, value in flags.items():
        if value is None:
            continue
        table, _, name = key.rpartition(".")
        if not table:
            config = replace(config, **{name: value})
        else:
            config = replace(config, **{table: replace(getattr(config, table), **{name: value})})
    return config


def to_toml(config: RunConfig) -> str:
    """Write a configuration as TOML that `read_config` reads back to an equal value."""
    plain = [f.name for f in fields(config) if not _is_table(config, f.name)]
    lines = [f"{name} = {_toml_value(getattr(config, name))}" for name in plain]
    for f in fields(config):
        if _is_table(config, f.name):
            table = getattr(config, f.name)
            lines += ["", f"[{f.name}]"]
            lines += [f"{g.name} = {_toml_value(getattr(table, g.name))}" for g in fields(table)]
    return "\n".join(lines) + "\n"


def _build(kind: type[T], values: dict[str, Any], where: str) -> T:
    hints = get_type_hints(kind)
    made: dict[str, Any] = {}
    for key, value in values.items():
        if key not in hints:
            raise ParameterError(f"{where}: unknown key '{key}'{nearest(key, hints)}")
        made[key] = _checked(hints[key], value, f"{where}: {key}")
    try:
        return kind(**made)
    except ParameterError as error:
        raise ParameterError(f"{where}: {error}") from None


def _checked(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise ParameterError(f"{where} must be a table [{where.rsplit(' ', 1)[-1]}]")
        return _build(hint, value, where)
    if hint == tuple[str, ...]:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise ParameterError(f"{where} must be a list of strings, got {value!r}")
    if hint == tuple[float, ...]:
        if isinstance(value, list) and all(type(item) in (int, float) for item in value):
            return tuple(map(float, value))
        raise ParameterError(f"{where} must be a list of numbers, got {value!r}")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ParameterError(f"{where} must be of type {hint.__name__}, got {value!r}")
    return value


def _is_table(config: RunConfig, name: str) -> bool:
    return dataclasses.is_dataclass(getattr(config, name))


def _toml_value(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    if isinstance(value, float):
        return repr(value)  # as JSON but for inf and nan
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # the one character TOML wants escaped
