"""What weights are known, and what of them is here: the rows of `fdetect weights list`.  No torch here."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from fdetect.errors import WeightsAbsent, WeightsError
from fdetect.nets.autoencoder_cards import AUTOENCODERS, find_autoencoder
from fdetect.nets.cards import CARDS, encoder_card
from fdetect.nets.evidence import evidence_of, identity
from fdetect.nets.folders import digests
from fdetect.nets.weights import find_weights, weights_home

__all__ = ["Row", "inventory"]

# what has an importer and no card: kind, licence
_OTHERS = {
    "dncnn": ("map", "MIT"),
    "lpips-vgg": ("distance", "BSD-3-Clause and BSD-2-Clause"),
    "univfd": ("head", "MIT"),
}


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
    """Return a row for everything in the catalogues, and for every other folder of the weights home."""
    rows = [_row(card.name, "encoder", card.hub_id, card.licence, card.purpose) for card in CARDS.values()]
    for coder in AUTOENCODERS.values():
        hub_id = "/".join(filter(None, (coder.hub_id, coder.subfolder)))
        rows.append(_row(coder.name, "autoencoder", hub_id, coder.licence, coder.purpose))
    rows += [_row(name, kind, "", licence, "release") for name, (kind, licence) in _OTHERS.items()]
    known = {row.name for row in rows}
    home = weights_home()
    folders = sorted(path.name for path in home.iterdir() if path.is_dir()) if home.is_dir() else []
    others = [name for name in folders if name not in known and not name.startswith(".")]
    return rows + [_row(name, "unknown", "", "not stated", "test") for name in others]


def _row(name: str, kind: str, hub_id: str, licence: str, purpose: str) -> Row:
    row = Row(name, kind, hub_id or "-", licence, purpose)
    try:
        folder, stem = _found(name, kind)
        card = asdict(encoder_card(name)) if kind == "encoder" else digests(folder, stem=stem)
    except WeightsAbsent:
        return row
    except WeightsError as error:
        return replace(row, where=error.reason)
    except OSError as error:
        return replace(row, where=f"cannot be read ({error.strerror})")
    return replace(row, where=str(folder), evidence=evidence_of(identity(card)), sha256=card["sha256"][:12])


def _found(name: str, kind: str) -> tuple[Path, str]:
    if kind == "autoencoder":
        folder, _ = find_autoencoder(name)
        return folder, AUTOENCODERS[name].stem
    fix = "run `fdetect weights import`" if name in _OTHERS else ""
    return find_weights(name, fix=fix), "model"
