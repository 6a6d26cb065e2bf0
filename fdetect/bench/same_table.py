"""Whether a table of features is what a model was fitted on: columns, settings, code, condition, crop and seed.

What differs between machines without changing what is meant is not compared: versions of libraries, the decoder, the
backend, the device, and the name or place of an encoder's weights (their hashes are).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from fdetect import perturb
from fdetect.classifiers.embedding import is_embedding
from fdetect.classifiers.network_columns import is_network, looks_through_network
from fdetect.classifiers.saved import FittedDetector
from fdetect.errors import DataError
from fdetect.types import FeatureTable

__all__ = ["refuse_other"]

_NOT_COMPARED = ("encoder", "device")  # of the settings of a network
_NEEDED = ("name", "condition", "crop", "seed", "settings", "version", "geometry", "code")  # what is said of a task


def refuse_other(table: FeatureTable, place: str, model: FittedDetector, condition: str) -> None:
    """Raise DataError, naming the first difference and the fix, unless the model can be applied to a table.

    condition  under which its rows are to be scored: the model's own, or one that was named
    """
    if any(_not_said(model.about.get(name)) for name in model.features):
        raise DataError(f"{place}: {model.name} keeps no record of its columns' settings; score the images instead")
    if model.draws > 1:
        raise DataError(f"{place}: a table holds one draw of each image, and {model.name} judges by the mean of "
                        f"{model.draws}; score the images instead")  # fmt: skip
    here: Mapping[str, Any] = json.loads(json.dumps(table.about))
    first = next(_differences(table, here, model, condition), "")
    if first:
        names = ",".join(model.features)
        fix = f"fdetect extract --features {names} --condition {condition} --crop {model.crop} --seed {model.seed}"
        raise DataError(f"{place}: {first}; make the table again with {fix}")


def _differences(table: FeatureTable, here: Mapping[str, Any], model: FittedDetector, condition: str) -> Iterator[str]:
    """Yield what differs, the most telling first."""
    yield from _of_columns(table.columns, model.head.columns)
    wanted = {_task_name(name, model): (name, model.about[name]) for name in model.features}
    for task, (name, then) in wanted.items():
        now: Any = here.get(task)
        what = "embedding" if is_embedding(name) else "network" if is_network(name) else "feature"
        if lacking := _not_said(now):
            yield f"the file does not say how {what} {task} was computed{lacking}"
            continue
        yield from _of_condition(now["condition"], then["condition"], condition, model.condition)
        for key, label in (("crop", "crop"), ("seed", "seed")):
            if now[key] != then[key]:
                yield f"the {label} was {now[key]}, the model's {then[key]}"
        yield from _of_settings(f"{what} {task}", now["settings"], then["settings"])
        if (code := _code(now["version"])) != (of_model := _code(then["version"])):
            yield f"{what} {task} was computed by other code ({code}, the model's {of_model})"
        if now["geometry"] != then["geometry"]:
            yield f"{what} {task} saw the images as {now['geometry']}, the model's as {then['geometry']}"
        if now["code"] != then["code"]:
            yield "images were decoded and cropped by another version of fdetect than the model's"


def _of_columns(here: tuple[str, ...], then: tuple[str, ...]) -> Iterator[str]:
    for k, (now, wanted) in enumerate(zip(here, then, strict=False), 1):
        if now != wanted:
            yield f"column {k} is '{now}', the model has '{wanted}'"
            return
    if len(here) != len(then):
        extra = then[len(here)] if len(here) < len(then) else here[len(then)]
        side = "the table has no" if len(here) < len(then) else "the model has no"
        yield f"{side} column {min(len(here), len(then)) + 1}, '{extra}' ({len(here)} columns, the model {len(then)})"


def _of_condition(now: Mapping[str, Any], then: Mapping[str, Any], asked: str, of_model: str) -> Iterator[str]:
    own = asked == of_model
    wanted = then if own else _settings_of(asked)
    if now["name"] != asked:
        yield f"the condition was {now['name']}, " + (f"the model's is {asked}" if own else f"and {asked} is asked for")
    elif now != wanted:
        key = next(key for key in {**now, **wanted} if now.get(key) != wanted.get(key))
        whose = "the model's has" if own else "here it has"
        yield f"condition {asked} had {key} {now.get(key)}, {whose} {wanted.get(key)}"


def _of_settings(what: str, now: Mapping[str, Any], then: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted({*now, *then} - {*_NOT_COMPARED}):
        if now.get(key) != then.get(key):
            yield f"{what} ran with {key}={_short(now.get(key))}, the model with {_short(then.get(key))}"


def _not_said(of_task: Any) -> str:
    """Return what the description of a task lacks, in words; "" where it says everything that is compared."""
    if not isinstance(of_task, Mapping):
        return " (it says nothing)"
    lacking = [key for key in _NEEDED if key not in of_task]
    if not lacking and not (isinstance(of_task["condition"], Mapping) and "name" in of_task["condition"]):
        lacking = ["condition"]
    return f" (it lacks {', '.join(lacking)})" if lacking else ""


def _task_name(name: str, model: FittedDetector) -> str:
    """Return the name that a column bears in front: a network's is that of its weights, not where they are."""
    return str(model.about[name]["name"]) if looks_through_network(name) else name


def _settings_of(condition: str) -> Any:
    return json.loads(json.dumps(perturb.condition(condition).settings))


def _code(version: str) -> str:
    """Digests alone: behind them stand versions of libraries."""
    return str(version).split(" ")[0]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:20]}..."
