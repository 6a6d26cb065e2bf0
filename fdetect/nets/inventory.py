"""What weights are known, and what of them is here: the rows of `fdetect weights list`.  No torch here."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fdetect.errors import FdetectError, WeightsAbsent, WeightsError
from fdetect.nets.autoencoder_cards import AUTOENCODERS, autoencoder_card, find_autoencoder
from fdetect.nets.cards import CARDS, encoder_card
from fdetect.nets.detector_cards import PUBLISHED, detector_card
from fdetect.nets.evidence import evidence_of, identity
from fdetect.nets.folders import digests
from fdetect.nets.shipped import LICENCE, SHIPPED
from fdetect.nets.weights import find_weights, weights_home

__all__ = ["Row", "inventory"]

# what has an importer and no card: kind, licence
_OTHERS = {
    "dncnn": ("map", "MIT"),
    "lpips-vgg": ("distance", "BSD-3-Clause and BSD-2-Clause"),
} | {card.name: ("detector", card.licence) for card in PUBLISHED.values()}


@dataclass(frozen=True)
class Row:
    """A name, what is known of it, where it is ("absent", or what is wrong with it) and twelve digits of its hash."""

    name: str
    kind: str
    hub_id: str
    licence: str
    purpose: str
    where: str = "absent"
    evidence: str = ""
    sha256: str = ""


def inventory() -> list[Row]:
    """Return a row for all of the catalogues and of the package, and for every other folder of the weights home."""
    rows = [_row(card.name, "encoder", card.hub_id, card.licence, card.purpose) for card in CARDS.values()]
    for coder in AUTOENCODERS.values():
        hub_id = "/".join(filter(None, (coder.hub_id, coder.subfolder)))
        rows.append(_row(coder.name, "autoencoder", hub_id, coder.licence, coder.purpose))
    rows += [_row(name, "autoencoder", "", LICENCE, "release") for name in SHIPPED]
    rows += [_row(name, kind, "", licence, "release") for name, (kind, licence) in _OTHERS.items()]
    known = {row.name for row in rows}
    home = weights_home()
    folders = sorted(path.name for path in home.iterdir() if path.is_dir()) if home.is_dir() else []
    others = [name for name in folders if name not in known and not name.startswith(".")]
    rows += [_other(name) for name in others]
    hidden = "not used: fdetect comes with weights of this name; rename this folder of the weights home"
    return rows + [Row(name, "unknown", "-", "not stated", "test", hidden) for name in folders if name in SHIPPED]


def _other(name: str) -> Row:
    """The row of a folder that no catalogue knows: a detector network says what it is, of others nothing is known."""
    try:
        card = detector_card(name)
    except FdetectError:
        return _row(name, "unknown", "", "not stated", "test")
    return _row(name, "detector", "", card.licence, card.purpose)


def _row(name: str, kind: str, hub_id: str, licence: str, purpose: str) -> Row:
    row = Row(name, kind, hub_id or "-", licence, purpose)
    try:
        folder, card = _found(name, kind)
    except WeightsAbsent:
        return row
    except WeightsError as error:
        return replace(row, where=error.reason)
    except OSError as error:
        return replace(row, where=f"cannot be read ({error.strerror})")
    evidence = card.get("evidence") or evidence_of(identity(card))
    return replace(row, where=str(folder), evidence=evidence, sha256=card["sha256"][:12])


def _found(name: str, kind: str) -> tuple[Path, dict[str, Any]]:
    """Return where the weights lie, and their digests or whole card."""
    if kind == "autoencoder":
        folder, known = find_autoencoder(name)
        return folder, digests(folder, stem=known.stem) if known else asdict(autoencoder_card(name))
    folder = find_weights(name, fix="run `fdetect weights import`" if name in _OTHERS else "")
    return folder, asdict(encoder_card(name)) if kind == "encoder" else digests(folder)
