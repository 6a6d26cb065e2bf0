"""What happened in the trainings of a run's networks: kept beside each checkpoint, summed up in the result's header.

    networks/NETWORK/TRIAL/record.json --> header["networks"] --> networks.py, the table
                           log.csv, curve.svg, outputs.npz (network_outputs.py)

A network counts as a rival, one that others may be compared with, where its validation AUROC on the generators that it
was trained on, under `matched`, is at least `RIVAL` in the mean over the trials, and its loss has flattened in half of
them or more (one trial's last steps are too few to be sure of).  Else it is undertrained, and its rows say so.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fdetect.bench.training.network_outputs import Outputs
from fdetect.engine.work import content_id
from fdetect.errors import DataError
from fdetect.files import write_atomic
from fdetect.nets.learning_curve import write_curve, write_log
from fdetect.nets.schedule import TrainingRecord, below_rival

if TYPE_CHECKING:
    from fdetect.bench.protocols import Trial
    from fdetect.bench.training.learnt import Network
    from fdetect.nets.learning import Learnt

__all__ = ["described", "keep_record", "keep_training", "learnt_header", "read_outputs", "read_record",
           "record_of", "safe_name", "verdict"]  # fmt: skip

_RECORD, _OUTPUTS = "record.json", "outputs.npz"


def described(model: Any) -> dict[str, Any]:
    """Return what is known of a network before it is trained: its size, and the content of its first values."""
    import importlib.metadata

    values = b"".join(np.ascontiguousarray(one.numpy()).tobytes() for one in model.state_dict().values())
    counts = [(one.numel(), one.requires_grad) for one in model.parameters()]
    return {"parameters": sum(n for n, _ in counts), "trained": sum(n for n, trained in counts if trained),
            "embedding": model.classifier.in_features,  # numbers
            "first_values": content_id(values), "torch": importlib.metadata.version("torch")}  # fmt: skip


def record_of(learnt: Learnt, trial: str, digest: str) -> dict[str, Any]:
    """Return what one training came to, as JSON values; nothing that a repetition would change."""
    one = learnt.record
    return {
        "digest": digest, "trial": trial, "auroc": learnt.auroc, "validation": dict(learnt.validation),
        "undertrained": learnt.undertrained, "flattened": one.flattened(), "steps": len(one.losses),
        "best_step": one.best_step, "stopped_early": one.stopped_early, "device": one.device, "threads": one.threads,
    }  # fmt: skip


def keep_training(folder: Path, training: TrainingRecord, outputs: Outputs, *, title: str) -> None:
    """Write log.csv, curve.svg and outputs.npz of a finished training; DataError where they cannot be written."""
    write_log(training, folder / "log.csv")
    write_curve(training, folder / "curve.svg", title=title)
    outputs.write(folder / _OUTPUTS)


def read_outputs(folder: Path | None, *, embedding: bool = False) -> Outputs | None:
    """Return what `keep_training` wrote; None where there is nothing that can be read, or no embedding."""
    if folder is None or not (folder / _OUTPUTS).exists():
        return None
    try:
        found = Outputs.read(folder / _OUTPUTS)
    except DataError:  # a damaged file: the training is repeated
        return None
    return found if found.embedding or not embedding else None


def keep_record(folder: Path | None, record: Mapping[str, Any]) -> None:
    """Write record.json into the folder of a trial; raises DataError where it cannot be written."""
    if folder is None:
        return
    text = json.dumps(record, sort_keys=True, indent=1) + "\n"
    write_atomic(folder / _RECORD, lambda path: path.write_text(text, encoding="utf-8"))


def read_record(folder: Path | None, digest: str) -> dict[str, Any]:
    """Return the record of a trial's folder; empty where there is none, or one of another training."""
    try:
        found = json.loads((folder / _RECORD).read_text(encoding="utf-8")) if folder else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get("digest") == digest else {}


def learnt_header(learnt: Sequence[Network], trials: Sequence[Trial]) -> dict[str, Any]:
    """Return the part `networks` of a result's header: budget and outcome of every network, by name."""
    of_name = {one.name: {**_budget(one), **_outcome({t.name: one.record(t) for t in trials})} for one in learnt}
    return {name: {key: _plain(value) for key, value in one.items()} for name, one in of_name.items()}


def verdict(aurocs: Sequence[float], flattened: Sequence[bool], n_failed: int = 0) -> str:
    """Return "rival", or why a network is undertrained; one value a trial, and how many trials have none."""
    if not aurocs:
        return "not trained"
    falls = len(flattened) - sum(flattened)
    why = list(filter(None, [below_rival(math.fsum(aurocs) / len(aurocs))]))
    why += [f"the loss still falls in {falls} of {len(flattened)} trials"] if 2 * falls > len(flattened) else []
    missing = f"; {n_failed} more not trained" if n_failed else ""
    return ("undertrained: " + ", ".join(why) if why else "rival") + missing


def safe_name(text: str) -> str:
    """Return a name of a folder for a network or a trial; of one kind, texts that differ have names that do."""
    plain = re.sub(r"[^\w.=,+-]", "-", text)
    same = plain == text.replace("/", "-", 1) and "-" not in text.partition("/")[2] and len(plain) <= 80
    return plain if same else f"{plain[:80]}-{content_id(text.encode())[:8]}"


def _plain(value: Any) -> Any:
    """A number that is not finite is none in JSON."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _budget(one: Network) -> dict[str, Any]:
    schedule, config = one.schedule, one.config
    of_schedule = {name: value for name, value in asdict(schedule).items() if name != "seed"}
    of_config = {name: getattr(config, name) for name in ("augmentation", "draws", "crop", "validation")}
    return {**one.about, **of_schedule, **of_config, "device": one.device}


def _outcome(records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Sum up the records of the trials, some of which may hold an error or nothing."""
    trained = {trial: one for trial, one in records.items() if "auroc" in one}
    failed = {trial: one.get("error", "no record is here") for trial, one in records.items() if trial not in trained}
    aurocs = [float(one["auroc"]) for one in trained.values()]
    flattened = [bool(one["flattened"]) for one in trained.values()]
    alone = {trial: next(iter(one["validation"])) for trial, one in trained.items() if len(one["validation"]) == 1}
    return {
        "validation_auroc": dict(zip(trained, aurocs, strict=True)),
        "mean": math.fsum(aurocs) / len(aurocs) if aurocs else math.nan, "least": min(aurocs, default=math.nan),
        "flattened": sum(flattened), "trials": len(trained), "one_generator": alone, "not_trained": failed,
        "undertrained": {trial: one["undertrained"] for trial, one in trained.items() if one["undertrained"]},
        "steps_done": {trial: one["steps"] for trial, one in trained.items() if one["stopped_early"]},
        "verdict": verdict(aurocs, flattened, len(failed)),
    }  # fmt: skip
