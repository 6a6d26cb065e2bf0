"""Which columns a head reads: named features, and embeddings of encoders beside them, as tasks of the engine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fdetect.backend import torch_device
from fdetect.classifiers.embedding import AS_FEATURES, EmbeddingTask, check_weights, embedding_task, is_embedding
from fdetect.errors import ParameterError
from fdetect.features import FeatureTask, code_of, feature, feature_tasks, select_features
from fdetect.features.base import require_native
from fdetect.registry import Entry

__all__ = ["IDENTITY", "Columns"]

IDENTITY = "identity"  # in `about` of an embedding: what tells its weights, see `EmbeddingTask.identity`


@dataclass(frozen=True)
class Columns:
    """A choice of columns: `entries` are features, `embeddings` the tasks of encoders by the name they were asked for.

    The columns stand in this order, features in that of their registration.
    """

    entries: tuple[Entry, ...]
    embeddings: Mapping[str, EmbeddingTask]
    crop: int

    @classmethod
    def of(
        cls, features: str | Sequence[str], *, condition: str, crop: int, backend: str = "auto", encoder: str = "",
        given_as: str = AS_FEATURES,
    ) -> Columns:  # fmt: skip
        """Return the columns named by presets, features, patterns and `embedding:encoder=NAME`.

        condition  that they are computed under; features of file history are for native alone
        encoder    where the weights of the one embedding are, in place of what its name says
        given_as   how the command at work takes a folder of these weights, for the fix where they are absent

        Raises UnknownName and ParameterError for names; WeightsError where an encoder's weights are absent.
        """
        parts = features.split(",") if isinstance(features, str) else features
        looks = [part.strip() for part in parts if isinstance(part, str) and is_embedding(part.strip())]
        looks = list(dict.fromkeys(looks))
        if encoder and len(looks) != 1:
            raise ParameterError(f"--encoder {encoder}: {len(looks)} embeddings are read, and it stands for one")
        others = [part for part in parts if not (isinstance(part, str) and is_embedding(part.strip()))]
        entries = () if looks and not others else select_features(features if not looks else others)
        require_native(entries, condition)
        how: dict[str, Any] = {"crop": crop, "device": torch_device(backend), "encoder": encoder, "given_as": given_as}
        made = {name: embedding_task(name, **how) for name in looks}
        names = [task.name for task in made.values()]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ParameterError(f"two embeddings are called '{twice[0]}'; take one of them")
        return cls(entries, made, crop)

    @property
    def tasks(self) -> list[FeatureTask | EmbeddingTask]:
        """The tasks of the engine."""
        return [*feature_tasks(self.entries, crop=self.crop), *self.embeddings.values()]

    @property
    def names(self) -> tuple[str, ...]:
        """What was chosen, one name for each task, with which the same choice is made again."""
        return (*(entry.name for entry in self.entries), *self.embeddings)

    @property
    def codes(self) -> dict[str, str]:
        """By name, the digest of the code that computes each."""
        found = {entry.name: code_of(entry) for entry in self.entries}
        return found | {name: str(task.identity["code"]) for name, task in self.embeddings.items()}

    @property
    def licences(self) -> dict[str, str]:
        """By name of an embedding, its encoder, the licence of its weights and what these are for."""
        cards = {name: task.space.card for name, task in self.embeddings.items()}
        return {
            name: f"{card.name}, licence of the weights: {card.licence}, purpose: {card.purpose}"
            for name, card in cards.items()
        }

    def about(self, of_tasks: Mapping[str, Any]) -> dict[str, Any]:
        """By name, all that columns depend on beside the image, as the engine described its tasks; JSON values."""
        found = {entry.name: of_tasks[entry.name] for entry in self.entries}
        found |= {name: {**of_tasks[task.name], IDENTITY: task.identity} for name, task in self.embeddings.items()}
        plain: dict[str, Any] = json.loads(json.dumps(found))
        return plain

    def check(self, codes: Mapping[str, str], about: Mapping[str, Any]) -> None:
        """Raise ParameterError or WeightsError unless everything computes what it computed at a fit.

        codes  of the features then; `about` is that of the fit, with the weights of embeddings
        """
        for name, code in codes.items():
            if name not in self.embeddings and code_of(feature.get(name)) != code:
                raise ParameterError(f"feature '{name}' changed since this detector was fitted; fit it again")
        for name in self.names:
            known = about.get(name) if name in self.embeddings else codes.get(name)
            if not known or (name in self.embeddings and IDENTITY not in known):
                raise ParameterError(f"the model does not say how {name} was computed; fit it again")
        for name, task in self.embeddings.items():
            check_weights(name, task.identity, about[name][IDENTITY])
