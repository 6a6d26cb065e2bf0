"""Conditions made of operations, and randomness that belongs to an image's content.

A condition is applied alike to both classes.  `native` leaves the stored pixels.  Every other one crops at an
offset drawn from the content hash, at any phase of the 8-px grid, perturbs, and ends in one JPEG encoding
(4:2:0), so that every image of the column has the same size, container and quantisation tables:

    matched    crop C, JPEG Q90            jpeg70      crop C, JPEG Q70 (no Q90 before it)
    resize50   crop C, to C/2, JPEG Q90    rescaled    crop round(C'/s), bicubic to C', JPEG Q90,
    blur1      crop C, blur, JPEG Q90                  C' = 0.7 C down to a multiple of 8, s from 0.7-0.9
    noise2+jpeg80, resize50+blur1, ...     chains: crop C, the operations in order, one JPEG at the end
    parity     crop C, a JPEG of one number of bytes, whatever quality that takes (parity.py)
    social_chat, blur1+social_feed         a platform's resizing, and its JPEG as the one at the end (sharing.py)
    launder_NAME, launder_NAME+jpeg70      the stored picture through an autoencoder first, then the rest

The operations and their amounts are in wear.py and sharing.py (`fdetect list perturbations`, docs/conditions.md).
"""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import xxhash
from PIL import Image, features

from fdetect import equalise, parity, sharing  # noqa: F401 (their operations register themselves)
from fdetect.errors import DataError, ParameterError, WeightsError
from fdetect.images import Decoded, decode
from fdetect.registry import Entry, Registry
from fdetect.wear import amounts_of, encode_jpeg, jpeg, perturbation

__all__ = [
    "CONDITION_LISTS", "FINAL_QUALITY", "GRID", "LAUNDER", "MARGIN", "MIN_CROP", "Box", "Condition", "Launder",
    "check_condition", "check_crop", "condition", "condition_names", "jpeg", "launderer", "perturbation", "rng_for",
    "with_surroundings"]  # fmt: skip

MARGIN = 8  # px by which both sides must exceed the window, so that a crop can take any phase of the JPEG grid
FINAL_QUALITY = 90
MIN_CROP = 64  # px: the smallest crop of a run; crops are multiples of 8
GRID = 16  # px from the picture's corner at which a window begins: the blocks of 4:2:0, and every latent's cells
HALO = 32  # px at least that go through a network around a crop, where the picture has them
LAUNDER = "launder_"  # and the name of an autoencoder: what stands before all else of a chain

CONDITION_LISTS = {  # a name among conditions that stands for several of them; jpeg90 is what matched is
    "wear": ("matched", "jpeg95", "jpeg80", "jpeg70", "jpeg50", "jpeg30", "webp80", "blur0.5", "blur1", "blur2",
             "resize50", "resize25", "noise2", "noise5", "noise10"),
    "sharing": ("matched", "double70", "crop80", "rotate5", "colour20", "overlay10", "screenshot", "social_feed",
                "social_square", "social_chat", "chain1", "chain3", "chain5"),
}  # fmt: skip

launderer = Registry("launderer")  # (*, name) -> a `Launder`, a frozen dataclass; fdetect.nets registers it


class Launder(Protocol):
    """What a condition does to the stored picture before anything else: a frozen dataclass, so that it travels."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that its result depends on beside the pixels, as JSON values."""
        ...

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Return a window of the picture, (H, W, 3) uint8, in the same shape."""
        ...


def check_crop(crop: int, name: str = "--crop") -> None:
    """Raise ParameterError for a crop that no run can have."""
    if crop % 8 or crop < MIN_CROP:
        raise ParameterError(f"{name} must be a multiple of 8 and at least {MIN_CROP} px, got {crop}")


def rng_for(seed: int, content: str, purpose: str) -> np.random.Generator:
    """Return the random generator of one image for one purpose: order, batch and worker change nothing."""
    return np.random.default_rng(xxhash.xxh3_128_intdigest(f"{seed}/{content}/{purpose}".encode()))


@dataclass(frozen=True)
class Box:
    """A square part of a picture, in px: rows top to top + side, columns left to left + side."""

    top: int
    left: int
    side: int

    @classmethod
    def drawn(cls, shape: tuple[int, ...], side: int, rng: np.random.Generator) -> Box:
        """Draw a place in a picture of this shape, at any phase of the JPEG grid."""
        top, left = (int(u * (length - side + 1)) for u, length in zip(rng.random(2), shape, strict=False))
        return cls(top, left, side)

    def of(self, pixels: np.ndarray) -> np.ndarray:
        """Cut: (H, W, 3) -> (side, side, 3), a view."""
        return pixels[self.top : self.top + self.side, self.left : self.left + self.side]


def with_surroundings(pixels: np.ndarray, box: Box) -> tuple[np.ndarray, Box]:
    """Cut a box with at least HALO px around it where the picture has them, and say where the box lies in the cut.

    The cut begins on the grid of GRID px from the picture's corner, so that what a network or a JPEG encoder makes of
    it has the same phase as if it were made of the whole picture.
    """
    top, left = (max(start - HALO, 0) // GRID * GRID for start in (box.top, box.left))
    cut = pixels[top : box.top + box.side + HALO, left : box.left + box.side + HALO]
    return cut, Box(box.top - top, box.left - left, box.side)


@dataclass(frozen=True)
class Condition:
    """A named chain, read from its name by `condition`; `after_jpeg` adds one JPEG pass before it (audit only).

    `launder` sees a window of the stored picture, before anything else of the chain.
    """

    name: str
    steps: tuple[tuple[str, float], ...] = ()  # (perturbation, amount) between the crop and the end
    rescaled: bool = False
    after_jpeg: bool = False
    launder: Launder | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that a picture under this condition depends on beside its content, crop and seed."""
        found = asdict(self)
        if self.launder is not None:
            found["launder"] = dict(self.launder.settings)
        return found

    @property
    def is_native(self) -> bool:
        """Whether pixels stay as stored (no crop; the detector's own geometry decides what it sees)."""
        return not self.steps

    def window(self, crop: int) -> int:
        """Return the largest side in px that this condition may cut for a crop of `crop`."""
        return round(_rescaled_side(crop) / 0.7) if self.rescaled else crop

    def __call__(self, image: Decoded, content: str, *, seed: int, crop: int) -> Decoded:
        """Apply to one image; raises DataError where a side does not exceed the window by MARGIN px."""
        self.check_size(image.pixels, crop)
        if self.after_jpeg:  # another JPEG history for the same picture, on its own grid
            quality = int(rng_for(seed, content, "after_jpeg").integers(75, 96))
            image = decode(encode_jpeg(image.pixels, quality))
        if self.is_native:
            return image
        side = self.cut_side(content, seed=seed, crop=crop)
        box = Box.drawn(image.pixels.shape, side, rng_for(seed, content, "crop"))
        return self.at(image.pixels, box, content, seed=seed, crop=crop)

    def at(self, pixels: np.ndarray, box: Box, content: str, *, seed: int, crop: int) -> Decoded:
        """Apply to a box of a picture, (H, W, 3) uint8, of the side that `cut_side` says; not for native."""
        if self.launder:
            pixels, box = with_surroundings(pixels, box)
            return self.finish(box.of(self.launder(pixels)), content, seed=seed, crop=crop)
        return self.finish(box.of(pixels), content, seed=seed, crop=crop)

    def check_size(self, pixels: np.ndarray, crop: int) -> None:
        """Raise DataError where a side of (H, W, 3) pixels does not exceed the window by MARGIN px."""
        height, width = pixels.shape[:2]
        if min(height, width) < self.window(crop) + MARGIN:
            fits = min(height, width) >= self.window(MIN_CROP) + MARGIN
            raise DataError(
                f"{width}x{height} is too small for condition {self.name}: both sides need "
                f"{self.window(crop) + MARGIN} px "
                f"({'a smaller --crop accepts it' if fits else f'no --crop fits it: the least is {MIN_CROP}'})"
            )

    def cut_side(self, content: str, *, seed: int, crop: int) -> int:
        """Return the side in px that is cut from one image; never above `window`."""
        if not self.rescaled:
            return crop
        return round(_rescaled_side(crop) / rng_for(seed, content, "rescale").uniform(0.7, 0.9))

    def finish(self, pixels: np.ndarray, content: str, *, seed: int, crop: int) -> Decoded:
        """Carry what was cut through the rest of the chain, to its JPEG encoding."""
        return decode(self.encode(pixels, content, seed=seed, crop=crop))

    def encode(self, pixels: np.ndarray, content: str, *, seed: int, crop: int) -> bytes:
        """Return the JPEG file that `finish` decodes."""
        if self.rescaled:
            target = _rescaled_side(crop)
            pixels = np.asarray(Image.fromarray(pixels).resize((target, target), Image.Resampling.BICUBIC))
        seen: list[str] = []
        for name, amount in self.steps[:-1]:
            purpose = f"{name}/{seen.count(name)}" if name in seen else name  # noise twice is not the same noise twice
            pixels = perturbation.get(name)(pixels, amount, rng_for(seed, content, purpose))
            seen.append(name)
        last, amount = self.steps[-1]
        data: bytes = perturbation.get(last).encode(pixels, amount)
        return data


def condition(name: str) -> Condition:
    """Read a condition's name; raises ParameterError for an operation or an amount that cannot be used.

    `launder_NAME` raises WeightsError where the autoencoder is absent.
    """
    if name == "native":
        return Condition("native")
    words = [] if name == "matched" else name.split("+")
    front = words.pop(0) if words and words[0].startswith(LAUNDER) else ""
    rescaled = bool(words) and words[0] == "rescaled"
    steps = [_step(word, name) for word in words[rescaled:]]
    for step, _ in steps[:-1]:
        if refusal := _cannot_be_followed(perturbation.get(step)):
            raise ParameterError(f"condition '{name}': {refusal}")
    last = perturbation.get(steps[-1][0]).meta if steps else {}
    if "encode" not in last:
        steps.append(("jpeg", last.get("quality", FINAL_QUALITY)))
    # last, so that a name that cannot be used is refused without the weights too
    launder = launderer.get("autoencoder")(name=front.removeprefix(LAUNDER)) if front else None
    return Condition(name, tuple(steps), rescaled, launder=launder)


def check_condition(name: str) -> None:
    """Raise ParameterError as `condition` does; that weights are absent is no fault of the name."""
    with contextlib.suppress(WeightsError):
        condition(name)


def condition_names(names: Iterable[str]) -> tuple[str, ...]:
    """Write the lists of `CONDITION_LISTS` out; what stands in one, and in another or by itself, is not repeated.

    Raises ParameterError for a name that is given twice.
    """
    given = tuple(names)
    if twice := [name for k, name in enumerate(given) if name in given[:k]]:
        raise ParameterError(f"conditions: {twice[0]} is named twice; name it once")
    return tuple(dict.fromkeys(one for name in given for one in CONDITION_LISTS.get(name, (name,))))


def _cannot_be_followed(entry: Entry) -> str:
    if entry.name == "jpeg":
        return "a chain ends in one JPEG encoding, so jpegQ can only come last"
    if "encode" in entry.meta or "quality" in entry.meta:
        return f"{entry.name} ends in a JPEG encoding of its own, so it can only come last"
    return ""


def _step(word: str, name: str) -> tuple[str, float]:
    match = re.fullmatch(r"([a-z_]+?)([0-9]+(?:\.[0-9]+)?)?", word)
    if not match or match[1] not in perturbation:
        raise ParameterError(_unknown(word, name))
    entry = perturbation.get(match[1])
    amounts = amounts_of(entry)
    if (amounts is None) != (match[2] is None):
        raise ParameterError(_unknown(word, name))
    if (needs := entry.meta.get("needs")) and not features.check(needs):
        raise ParameterError(f"condition '{name}': this build of Pillow has no {needs.upper()}; install a wheel of "
                             "Pillow 11.3 or later, or leave the condition out")  # fmt: skip
    amount = float(match[2] or 0)
    if match[2] and (plain := _plain(match[2])) != match[2]:
        raise ParameterError(f"condition '{name}': write {match[1]}{plain}, so that one condition has one name")
    if amounts and (refusal := amounts.refusal(amount)):
        raise ParameterError(f"condition '{name}': {match[1]} {refusal}")
    return match[1], amount


def _plain(number: str) -> str:
    """Write digits without zeros that change nothing: "095" and "95.0" as "95"."""
    whole, _, parts = number.partition(".")
    return ".".join(filter(None, (whole.lstrip("0") or "0", parts.rstrip("0"))))


def _unknown(word: str, name: str) -> str:
    """Say what is wrong with a word of a condition's name."""
    stem = word.rstrip("0123456789.")
    if word in CONDITION_LISTS:
        hint = f"; '{word}' is a list of conditions, which bench and perturb take"
    elif stem in perturbation:
        bare = amounts_of(perturbation.get(stem)) is None
        hint = f"; '{stem}' takes {'no' if bare else 'one'} number as its amount"
    else:
        known = {name: name for name in ("native", "matched", "rescaled", *CONDITION_LISTS)}
        known |= {name: _usable(name, word[len(stem) :]) for name in perturbation.names()}
        close = difflib.get_close_matches(stem, known, n=1)
        hint = f"; did you mean '{known[close[0]]}'?" if close else ""
    return (
        f"no condition '{name}'{hint} "
        "(native, matched, rescaled, jpeg70, resize50, blur1, noise2, webp80, or a chain such as resize50+blur1; "
        "launder_NAME alone or at its front; fdetect list conditions)"
    )


def _usable(name: str, number: str) -> str:
    """Return an operation with this number as its amount, where it takes it; else with one that it takes, or none."""
    amounts = amounts_of(perturbation.get(name))
    if amounts is None:
        return name
    fits = re.fullmatch(r"\d+(\.\d+)?", number) and _plain(number) == number and not amounts.refusal(float(number))
    return name + (number if fits else f"{amounts.usual[0] if amounts.usual else min(50, amounts.high):g}")


def _rescaled_side(crop: int) -> int:
    return int(0.7 * crop + 1e-9) // 8 * 8
