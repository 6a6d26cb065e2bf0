"""Which columns a head reads: named features, and what networks say of an image beside them, as tasks of the engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fdetect.backend import torch_device
from fdetect.classifiers.embedding import (
    AS_FEATURES,
    OF_MODEL,
    EmbeddingTask,
    check_weights,
    embedding_task,
    is_embedding,
)
from fdetect.classifiers.network_columns import (
    NETWORK_AS_FEATURES,
    NETWORK_OF_MODEL,
    NetworkTask,
    is_network,
    looks_through_network,
    network_task,
)
from fdetect.errors import ParameterError, WeightsError
from fdetect.features import FeatureTask, code_of, feature, feature_tasks, select_features
from fdetect.features.base import require_native
from fdetect.registry import Entry

__all__ = ["IDENTITY", "Columns"]

IDENTITY = "identity"  # in `about` of a network's columns: what tells its weights, see `EmbeddingTask.identity`

NetworkColumns = EmbeddingTask | NetworkTask


@dataclass(frozen=True)
class Columns:
    """A choice of columns: `entries` are features, `networks` the tasks of networks by the name they were asked for.

    The columns stand in this order, features in that of their registration.
    absent  networks that were asked for and are not here, with the error that says why and its fix
    """

    entries: tuple[Entry, ...]
    networks: Mapping[str, NetworkColumns]
    crop: int
    absent: Mapping[str, WeightsError] = field(default_factory=dict)

    @classmethod
    def of(
        cls, features: str | Sequence[str], *, condition: str, crop: int, backend: str = "auto", encoder: str = "",
        network: str = "", of_model: bool = False, spare: bool = False,
    ) -> Columns:  # fmt: skip
        """Return the columns named by presets, features, patterns, `embedding:encoder=NAME`, `network:weights=NAME`.

        condition         that they are computed under; features of file history are for native alone
        encoder, network  where the weights of the one embedding or network are, in place of what its name says
        of_model          whether a model asks for them, whose weights are given by other options than those of a fit
        spare             whether networks whose weights are not here can be spared: they are `absent` then

        Raises UnknownName and ParameterError for names; WeightsError where weights are absent and nothing is spared,
        or nothing is left.
        """
        parts = [part.strip() if isinstance(part, str) else part for part in
                 (features.split(",") if isinstance(features, str) else features)]  # fmt: skip
        looks = [part for part in dict.fromkeys(parts) if isinstance(part, str) and looks_through_network(part)]
        for option, given, is_of in (("encoder", encoder, is_embedding), ("network", network, is_network)):
            if given and (n := sum(map(is_of, looks))) != 1:
                what = "embeddings are" if is_of is is_embedding else "networks are"
                raise ParameterError(f"--{option} {given}: {n} {what} read, and it stands for one")
        others = [part for part in parts if part not in looks]
        entries = () if looks and not others else select_features(features if not looks else others)
        require_native(entries, condition)
        how: dict[str, Any] = {"crop": crop, "device": torch_device(backend)}
        made, absent = dict[str, NetworkColumns](), dict[str, WeightsError]()
        for name in looks:
            try:
                if is_embedding(name):
                    given_as = OF_MODEL if of_model else AS_FEATURES
                    made[name] = embedding_task(name, encoder=encoder, given_as=given_as, **how)
                else:
                    given_as = NETWORK_OF_MODEL if of_model else NETWORK_AS_FEATURES
                    made[name] = network_task(name, weights=network, given_as=given_as, **how)
            except WeightsError as error:
                absent[name] = error
        if absent and not (spare and (entries or made)):
            raise next(iter(absent.values()))
        names = [task.name for task in made.values()]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ParameterError(f"two sources of columns are called '{twice[0]}'; take one of them")
        return cls(entries, made, crop, absent)

    @property
    def tasks(self) -> list[FeatureTask | NetworkColumns]:
        """The tasks of the engine."""
        return [*feature_tasks(self.entries, crop=self.crop), *self.networks.values()]

    @property
    def names(self) -> tuple[str, ...]:
        """What was chosen and is here, one name for each task, with which the same choice is made again."""
        return (*(entry.name for entry in self.entries), *self.networks)

    @property
    def sources(self) -> dict[str, tuple[str, ...]]:
        """By name, its columns."""
        return {name: tuple(task.columns) for name, task in zip(self.names, self.tasks, strict=True)}

    @property
    def codes(self) -> dict[str, str]:
        """By name, the digest of the code that computes each."""
        found = {entry.name: code_of(entry) for entry in self.entries}
        return found | {name: str(task.identity["code"]) for name, task in self.networks.items()}

    @property
    def licences(self) -> dict[str, str]:
        """By name of a network's columns: what it is, the licence of its weights and what these are for."""
        cards = {name: task.space.card for name, task in self.networks.items()}
        return {
            name: f"{card.name}, licence of the weights: {card.licence}, purpose: {card.purpose}"
            for name, card in cards.items()
        }

    def about(self, of_tasks: Mapping[str, Any]) -> dict[str, Any]:
        """By name, all that columns depend on beside the image, as the engine described its tasks; JSON values."""
        found = {entry.name: of_tasks[entry.name] for entry in self.entries}
        found |= {name: {**of_tasks[task.name], IDENTITY: task.identity} for name, task in self.networks.items()}
        plain: dict[str, Any] = json.loads(json.dumps(found))
        return plain

    def fresh(self, ids: Sequence[str], notice: Callable[[str], None] | None = None) -> np.ndarray:
        """Return those of N content ids that no network of these columns was trained on, as far as its card says.

        `notice` is told of a card that does not say, and of how many are known to a network.
        """
        fresh = np.ones(len(ids), np.bool_)
        for name, task in self.networks.items():
            known = task.trained_on if isinstance(task, NetworkTask) else frozenset()
            if known is None and notice:
                notice(f"{name}: no card says which images it was trained on; if some of these are, the figures of "
                       "this fit are too good")  # fmt: skip
            mine = np.array([one in (known or ()) for one in ids], np.bool_)
            if mine.any() and notice:
                notice(f"{name} was trained on {int(mine.sum())} of the images")
            fresh &= ~mine
        return fresh

    def check(self, codes: Mapping[str, str], about: Mapping[str, Any]) -> None:
        """Raise ParameterError or WeightsError unless everything that is here computes what it computed at a fit.

        codes  of the features then; `about` is that of the fit, with the weights of networks
        """
        for name, code in codes.items():
            if not looks_through_network(name) and code_of(feature.get(name)) != code:
                raise ParameterError(f"feature '{name}' changed since this detector was fitted; fit it again")
        for name in self.names:
            known = about.get(name) if name in self.networks else codes.get(name)
            if not known or (name in self.networks and IDENTITY not in known):
                raise ParameterError(f"the model does not say how {name} was computed; fit it again")
        for name, task in self.networks.items():
            fix = "give those as " + (OF_MODEL if is_embedding(name) else NETWORK_OF_MODEL).partition(" ")[0]
            check_weights(name, task.identity, about[name][IDENTITY], fix)

    def spread(self, values: np.ndarray, columns: Sequence[str], about: Mapping[str, Any]) -> np.ndarray:
        """(N, D) columns of what is here -> (N, D') as a model reads them, NaN where a network is absent.

        columns  of the model, D' names; `about` is that of its fit, which says what its networks were called
        """
        if not self.absent:
            return values
        here = {str(about[name]["name"]) if name in self.networks else name for name in self.names}
        known = np.array([name.partition(":")[0] in here for name in columns])
        whole = np.full((len(values), len(columns)), np.nan, np.float32)
        whole[:, known] = values
        return whole
