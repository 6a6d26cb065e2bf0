"""What an image is held against: values of reference photographs and of generated images, as numbers alone.

They belong to one detector.  Those of the detector that ships were made by `benchmarks/inspect_references.py`; others
are made of labelled images by `gathering.py`.  No picture is in them.

    references = References.shipped()
    references.standing("npr", value)             -> where a value stands among photographs; None without a reference
    references.real["spectrum+trunk/JPEG 70"]     (n,), what each reference photograph scores in that view
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fdetect.bench.inspecting.inspection import Standing
from fdetect.errors import DataError

__all__ = ["FILE", "References", "key_of"]

FILE = Path(__file__).with_name("references.safetensors")

_REAL, _GENERATED, _PROFILE = "real/", "generated/", "profile"


def key_of(view: str, branches: str) -> str:
    """Return the key of scores of a view, behind the branches of a fused detector that they rest on."""
    return f"{branches}/{view}" if branches else view


@dataclass(frozen=True, eq=False)
class References:
    """References of one detector: n photographs and m generated images, arrays by key in the order of their rows.

    real       (n,) float64: of scores "spectrum+trunk/JPEG 70", see `key_of`; of traces their names
    generated  (m,) float64 of scores alone
    sources    (n,) str, where each photograph is from;  generators  (m,) str, what made each generated image
    profile    (n, R) float32, radial profiles of the photographs; (0, R) where none were made
    weight     by trace, its macro AUROC over these generators: what it is worth alone
    about      detector, its digest, date, versions
    ids        (n + m,) content ids of the photographs, then of the generated images; (0,) where they are not known
    """

    real: Mapping[str, np.ndarray]
    generated: Mapping[str, np.ndarray]
    sources: np.ndarray
    generators: np.ndarray
    profile: np.ndarray
    weight: Mapping[str, float]
    about: Mapping[str, Any]
    ids: np.ndarray = field(default_factory=lambda: np.empty(0, object))

    def holds(self, id: str) -> bool:
        """Whether an image is one of the references."""
        return bool((self.ids == id).any())

    def without(self, id: str) -> References:
        """Return them without an image that is one of them: it would be held against itself."""
        kept, n = self.ids != id, len(self.sources)
        real, fake = kept[:n], kept[n:]
        profile = self.profile[real] if len(self.profile) else self.profile
        return replace(self, real={key: one[real] for key, one in self.real.items()}, profile=profile,
                       generated={key: one[fake] for key, one in self.generated.items()}, ids=self.ids[kept],
                       sources=self.sources[real], generators=self.generators[fake])  # fmt: skip

    def standing(self, key: str, value: float, branches: str = "") -> Standing | None:
        """Return where a value stands among reference photographs; None where there are none for this key.

        branches  of a fused detector, what the value rests on where it is a score of it
        """
        among = self._ascending.get(key_of(key, branches))
        return None if among is None else Standing(float(value), among)

    @cached_property
    def _ascending(self) -> dict[str, np.ndarray]:
        return {key: np.sort(one[np.isfinite(one)]) for key, one in self.real.items()}

    @property
    def photographs_text(self) -> str:
        """Name the photographs: "180 photographs (130 coco, 24 kodak24, ...)"."""
        return _counted(self.sources, "photograph")

    @property
    def generated_text(self) -> str:
        """Name the generated images: "482 images (110 stable-diffusion-v1.x, ...)"."""
        return _counted(self.generators, "image")

    @classmethod
    @cache
    def shipped(cls) -> References:
        """Return those of the detector that ships."""
        return cls.load(FILE)

    @classmethod
    def load(cls, path: Path) -> References:
        """Read a file; raises DataError where it holds none."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                arrays = {key: np.asarray(file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118 (no mapping)
                card = json.loads((file.metadata() or {})["references"])
            sources, generators = (np.array(card[name], object) for name in ("sources", "generators"))
            made = cls(_under(arrays, _REAL), _under(arrays, _GENERATED), sources, generators, arrays[_PROFILE],
                       dict(card["weight"]), dict(card["about"]), np.array(card["ids"], object))  # fmt: skip
            made._check()
            return made
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            raise DataError(f"{path} holds no references ({type(error).__name__}); make them again") from None

    def save(self, path: Path) -> None:
        """Write them as one safetensors file; the same references make the same bytes."""
        from safetensors.numpy import save

        arrays = {_PROFILE: np.ascontiguousarray(self.profile, np.float32)}
        for start, of in ((_REAL, self.real), (_GENERATED, self.generated)):
            arrays |= {start + key: np.ascontiguousarray(one, np.float64) for key, one in of.items()}
        card = {"sources": list(self.sources), "generators": list(self.generators), "weight": dict(self.weight),
                "about": dict(self.about), "ids": list(self.ids)}  # fmt: skip
        try:
            path.write_bytes(save(arrays, metadata={"references": json.dumps(card, sort_keys=True)}))
        except OSError as error:
            raise DataError(f"{path} cannot be written ({error.strerror})") from None

    def _check(self) -> None:
        """Raise ValueError unless all arrays are of n photographs or m generated images."""
        n, m = len(self.sources), len(self.generators)
        wrong = [key for key, one in self.real.items() if one.shape != (n,) or one.dtype != np.float64]
        wrong += [key for key, one in self.generated.items() if one.shape != (m,) or one.dtype != np.float64]
        lengths = len(self.profile) in (0, n) and len(self.ids) in (0, n + m)
        if wrong or self.profile.ndim != 2 or not lengths or "digest" not in self.about:
            raise ValueError(f"{', '.join(wrong) or 'profile, ids or digest'}: not of {n} photographs and {m} others")


def _under(arrays: Mapping[str, np.ndarray], start: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(start): array for key, array in arrays.items() if key.startswith(start)}


def _counted(kinds: np.ndarray, noun: str) -> str:
    counts = Counter(kinds.tolist()).most_common()
    named = ", ".join(f"{n} {name or 'unnamed'}" for name, n in counts)
    return f"{len(kinds)} {noun}{'s' * (len(kinds) != 1)}{f' ({named})' if named else ''}"
