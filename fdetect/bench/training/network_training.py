"""How a network is trained in one trial: which images it learns from, which validate it, and how fast it learns."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import fdetect
from fdetect.bench.protocols import Samples, Trial
from fdetect.bench.training.network_pictures import NetworkPictures
from fdetect.config import NetworksConfig, fingerprint
from fdetect.errors import DataError
from fdetect.registry import source_digest
from fdetect.splits import hold_out

if TYPE_CHECKING:
    from fdetect.nets.detectors import NetworkConfig
    from fdetect.nets.learning import Learnt
    from fdetect.nets.schedule import Schedule

__all__ = ["VALIDATED", "apart", "code_digest", "schedule_of", "train_network"]

VALIDATED = "matched"  # the condition under which networks validate

_CODE = (
    "augment.py", "recipes.py", "perturb.py", "engine/pictures.py", "bench/training/learnt.py",
    "bench/training/network_pictures.py", "bench/training/network_training.py", "bench/training/network_outputs.py",
    "nets/learning.py", "nets/training.py", "nets/schedule.py", "nets/checkpoints.py", "nets/weights.py",
    "nets/architectures.py", "forensics/residual.py", "forensics/wavelets.py", "images.py", "geometry.py",
    "engine/chunks.py", "engine/work.py", "splits.py", "_splits_cpu.py",
)  # fmt: skip


def train_network(
    architecture: NetworkConfig,
    pictures: NetworkPictures,
    samples: Samples,
    trial: Trial,
    config: NetworksConfig,
    *,
    seed: int = 0,
    device: str = "cpu",
    checkpoint: Path | None = None,
    **settings: Any,
) -> Learnt:
    """Train a network on a trial's training images; a part of their groups is kept apart and validates it.

    Images of which a training crop failed are left out.  Raises DataError where a class is empty.
    """
    from fdetect.nets.learning import learn

    fit, validation = apart(samples, trial, share=config.validation, seed=seed)
    fit = fit[pictures.usable[fit]]
    return learn(
        architecture, pictures.examples, fit, schedule=schedule_of(architecture, config, seed=seed, device=device),
        validation=pictures.under(VALIDATED, validation), validate_every=config.validate_every,
        patience=config.patience, device=device, checkpoint=checkpoint,
        about=fingerprint(architecture.to_json(), pictures.drawn.ids, fit.tolist(), validation.tolist(), code_digest()),
        **settings,
    )  # fmt: skip


def schedule_of(architecture: NetworkConfig, config: NetworksConfig, *, seed: int = 0, device: str = "cpu") -> Schedule:
    """Return how a network learns: the run's budget; with `recipes` everything else as its authors state it.

    What those who take Adam or SGD do not state (a warm-up, a largest gradient) they do not have.
    """
    from fdetect.nets.schedule import Schedule

    own = dict(architecture.recipe) if config.recipes else {}
    if own.get("optimiser", "adamw") != "adamw":
        own = {"warm_up": 0.0, "largest_gradient": math.inf, **own}
    precision = "bfloat16" if device.startswith("cuda") else "float32"
    return Schedule(**{"rate": config.rate, **own, "steps": config.steps, "batch": config.batch, "seed": seed,
                       "precision": precision})  # fmt: skip


def apart(samples: Samples, trial: Trial, *, share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Split a trial's training rows by whole groups: those to fit on, and a share of each generator and real source.

    Raises DataError where either part lacks a class.
    """
    held = hold_out(list(samples.group[trial.fit]), list(samples.stratum[trial.fit]), share=share, seed=seed)
    parts = trial.fit[~held], trial.fit[held]
    for part in parts:
        if len(set(samples.label[part])) < 2:
            raise DataError(f"trial {trial.name} has too few training images to keep {share:g} of them for validation; "
                            "add images or change networks.validation")  # fmt: skip
    return parts


def code_digest() -> str:
    """Digest of what networks are, how they learn and what they see."""
    base = Path(fdetect.__file__).parent
    files = [base / name for name in _CODE] + sorted((base / "nets" / "detectors").glob("*.py"))
    return source_digest(*map(str, files))
