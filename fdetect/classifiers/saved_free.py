"""A calibrated training-free detector as a card and arrays; see saved.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from fdetect.classifiers.calibrated import CalibratedDetector, KeptBank
from fdetect.classifiers.card import PURPOSE, SHARED, calibration_of, need, thresholds, versions
from fdetect.classifiers.model_folder import ARRAYS
from fdetect.errors import DataError, FdetectError
from fdetect.perturb import condition
from fdetect.rigid import detector as training_free
from fdetect.rigid.references import bank_sha256

__all__ = ["FREE", "of_calibrated", "read_calibrated"]

FREE = "training-free"  # `kind` of its card

_KNOWN = SHARED | {"name": str, "space": dict, "settings": dict}


def of_calibrated(detector: CalibratedDetector) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return its card and the bytes of its arrays."""
    from safetensors.numpy import save

    arrays: dict[str, np.ndarray] = {"calibration": np.array(detector.calibration.scores, np.float64)}
    card: dict[str, Any] = {
        "kind": FREE,
        "name": detector.name,
        "purpose": PURPOSE,
        "settings": {one.name: getattr(detector.instance, one.name) for one in fields(detector.instance)},
        "space": detector.space,
        **{name: getattr(detector, name) for name in SHARED},
        "thresholds": thresholds(detector.calibration),
        "bank": None,
        "versions": versions(networks="sha256" in detector.space or "autoencoders" in detector.space),
    }
    if bank := detector.bank:
        arrays |= {f"bank.{name}": np.ascontiguousarray(array) for name, array in bank.arrays.items()}
        arrays["bank_ids"] = np.frombuffer(bytes.fromhex("".join(bank.ids)), np.uint8).reshape(-1, 16)
        card["bank"] = {name: getattr(bank, name) for name in ("sha256", "n_reals", "n_fakes", "n_dropped")}
    return card, {ARRAYS: bytes(save(arrays))}


def read_calibrated(card: dict[str, Any], files: Mapping[str, bytes]) -> CalibratedDetector:
    """Put a detector together; raises DataError where card and arrays are not those of one."""
    from safetensors.numpy import load

    plain, arrays = need(card, _KNOWN), load(files[ARRAYS])
    settings = plain.pop("settings")
    condition(plain["condition"])
    try:
        entry = training_free.get(plain["name"].partition(":")[0]).configured(**settings)
        for name, default in training_free.get(entry.name).settings.items():
            if type(entry.settings[name]) not in (type(default), int if isinstance(default, float) else type(default)):
                raise DataError(f"its setting {name} is {entry.settings[name]!r}")
        instance = entry()
    except FdetectError as error:
        raise DataError(f"its detector cannot be made here: {error}") from None
    calibration, bank = calibration_of(arrays.pop("calibration"), card), None
    if card["bank"] is not None:
        ids = arrays.pop("bank_ids")
        bank = _kept_bank(card["bank"], ids, {name.removeprefix("bank."): array for name, array in arrays.items()})
        getattr(instance, "check_bank", lambda _: None)(bank.arrays)
    if (bank is not None) != bool(instance.references) or (arrays and bank is None):
        raise DataError(f"not a fitted detector (a bank where {entry.name} has none, or none where it has one)")
    return CalibratedDetector(instance=instance, calibration=calibration, bank=bank, **plain)


def _kept_bank(card: dict[str, Any], ids: np.ndarray, arrays: dict[str, np.ndarray]) -> KeptBank:
    if card["sha256"] != bank_sha256(arrays):
        raise DataError("its bank is not the one that was kept; fit it again")
    names = tuple(bytes(row).hex() for row in ids)
    n_reals, n_fakes = card["n_reals"], card["n_fakes"]
    if ids.dtype != np.uint8 or ids.shape != (n_reals + n_fakes, 16) or sorted(names) != list(names):
        raise DataError(f"its bank of {n_reals} reals and {n_fakes} fakes has ids of {ids.dtype} {ids.shape}")
    return KeptBank(arrays, card["sha256"], n_reals, n_fakes, int(card["n_dropped"]), names)
