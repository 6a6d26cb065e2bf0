"""The autoencoders of our own that come inside the package, one folder each in fdetect/nets/shipped.  No torch here.

All were trained on synthetic dead leaves alone: no photograph is in them, and their licence is the package's.  A
folder holds model.safetensors (float16), config.json and card.json as benchmarks/train_generators.py wrote them, and
is known by its name, `own-<architecture's first word><factor>`, wherever an autoencoder's name is taken.
"""

from __future__ import annotations

from pathlib import Path

from fdetect.errors import WeightsError
from fdetect.nets.folders import checked, file_sha256
from fdetect.nets.own.card import own_card

__all__ = ["LICENCE", "REINSTALL", "SHIPPED", "SHIPPED_HOME", "shipped_folder"]

LICENCE = "Apache-2.0"
REINSTALL = "reinstall fdetect"

SHIPPED_HOME = Path(__file__).with_name("shipped")

SHIPPED = tuple(sorted(path.name for path in SHIPPED_HOME.glob("own-*") if path.is_dir()))


def shipped_folder(name: str) -> Path:
    """Return the folder of a name in SHIPPED, its files whole and its weights those that its card states.

    Raises WeightsError otherwise.
    """
    where = f"the package's {name}"
    folder = checked(SHIPPED_HOME / name, stem="model", where=where, fix=REINSTALL)
    card = own_card(folder, where, REINSTALL)
    if card is None:
        raise WeightsError(f"{where} has no card.json", REINSTALL)
    if file_sha256(folder / "model.safetensors") != card.model_sha256:
        raise WeightsError(f"model.safetensors in {where} has another SHA-256 than its card.json states", REINSTALL)
    return folder
