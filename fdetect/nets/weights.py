"""Weights on disk: find them by a folder, a name or a hub id, without importing torch.

A detector whose weights are absent must say so at once.  So this module reads the file system alone, in this order:
a folder of the user's, which a text means that has a separator ("./taef2") or is no name of a catalogue or of the
weights home; the weights home, one folder a name ($FDETECT_WEIGHTS, else the user's data folder), which `fdetect
weights import` fills; the hub cache by its layout on disk (`models--org--name/refs/main` names a folder of
`snapshots/`), which `fdetect weights get` fills.  What is found is checked by `fdetect.nets.folders`.

Reasons of errors stand in results, so that they name a folder of this machine only where the user gave it.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Collection
from pathlib import Path

from platformdirs import user_data_path

from fdetect.errors import WeightsAbsent
from fdetect.nets.catalogue import CARDS, IMAGENET_MEAN, IMAGENET_STD
from fdetect.nets.folders import checked
from fdetect.registry import nearest

__all__ = [
    "FOLDER_NAME",
    "HUB_ID",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "INSTALL_DEEP",
    "WEIGHTS_HOME_VARIABLE",
    "find_weights",
    "hub_cache",
    "is_folder",
    "remove_first",
    "torch_missing",
    "weights_home",
    "where_to_get",
]

INSTALL_DEEP = "pip install 'fdetect[deep]'"
WEIGHTS_HOME_VARIABLE = "FDETECT_WEIGHTS"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[A-Za-z0-9][\w./-]*)?")  # org/name or org/name@revision

FOLDER_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")  # of a folder in the weights home


def find_weights(
    name_or_folder: str,
    *,
    stem: str = "model",
    subfolder: str = "",
    hub_id: str = "",
    option: str = "--encoder",
    fix: str = "",
) -> Path:
    """Return the folder that holds config.json and complete safetensors, for a folder, a name or a hub id.

    name_or_folder  a folder; a name of the catalogue or of the weights home; "org/name" or "org/name@revision"
    stem            <stem>.safetensors, or the shards that <stem>.safetensors.index.json names
    subfolder       where they lie inside; a folder without this subfolder is taken to be that subfolder
    hub_id          what a name of another catalogue than that of encoders is called on the hub
    option          the option that the fix names
    fix             how a name of another catalogue gets here, in place of the usual ways

    A name of a catalogue is looked for in the weights home, then in the hub cache, and never means a folder that is
    called so; see `is_folder`.  Raises WeightsError, with its fix, where a file is absent or truncated, only a pickle
    is there, or other files than those that would be hashed would be loaded.
    """
    names = (*CARDS, name_or_folder) if hub_id or fix else tuple(CARDS)
    fix = fix or where_to_get(name_or_folder, stem=stem, option=option, names=names)
    folder, where = _place(name_or_folder, hub_id, names, fix)
    inside = folder / subfolder if subfolder and (folder / subfolder).is_dir() else folder
    return checked(inside, stem=stem, where=where, fix=remove_first(folder, fix))


def is_folder(text: str, names: Collection[str] = tuple(CARDS)) -> bool:
    """Whether a text means a folder: one is there, and the text is no name of `names` or of the weights home.

    A name has no separator: "taef2" is one, "./taef2" is not.
    """
    is_name = FOLDER_NAME.fullmatch(text) is not None and (text in names or (weights_home() / text).is_dir())
    return bool(text) and not is_name and Path(text).expanduser().is_dir()


def weights_home() -> Path:
    """Return the folder of the user's weights: $FDETECT_WEIGHTS, else `weights` in the user's data folder."""
    home = os.environ.get(WEIGHTS_HOME_VARIABLE)
    return Path(home).expanduser() if home else Path(user_data_path("fdetect")) / "weights"


def hub_cache() -> Path:
    """Return the hub cache's folder by the environment variables that huggingface_hub documents."""
    home = os.environ.get("HF_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    cache = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or os.path.join(home, "hub")
    return Path(os.path.expandvars(cache)).expanduser()


def torch_missing() -> str | None:
    """Return what the deep extra lacks ("torch is not installed") or None; INSTALL_DEEP is the fix."""
    missing = [name for name in ("torch", "transformers", "safetensors") if importlib.util.find_spec(name) is None]
    if not missing:
        return None
    return f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed"


def where_to_get(
    name: str, *, stem: str = "model", option: str = "--encoder", names: Collection[str] = tuple(CARDS)
) -> str:
    """Return the fix that a WeightsError gives: the commands and the option that help for this name."""
    card = CARDS.get(name)
    known = card is not None or HUB_ID.fullmatch(name) is not None or name in names
    ways = [f"run `fdetect weights get {name}`"] if known and not is_folder(name, names) else []
    if card and card.authors_file:
        ways.append(f"run `fdetect weights import {card.authors_file} --as {name}`")
    if name and not is_folder(name, names) and Path(name).is_dir():
        ways.append(f"write ./{name} for the folder of that name here")
    return ", or ".join([*ways, f"give a folder with config.json and {stem}.safetensors as {option} FOLDER"])


def remove_first(folder: Path, fix: str) -> str:
    """Return the fix for what is wrong in a folder: no import and no download replaces what the weights home has.

    Its path is not named, since fixes stand in results.
    """
    at_home = folder.parent.resolve() == weights_home().resolve()
    replaced = at_home and ("`fdetect weights import" in fix or "`fdetect weights get" in fix)
    return f"remove {folder.name} from the weights home (fdetect weights list), then {fix}" if replaced else fix


def _place(name: str, hub_id: str, names: Collection[str], fix: str) -> tuple[Path, str]:
    """Return the folder that a name stands for and what messages call it; raises WeightsAbsent where there is none."""
    if is_folder(name, names):
        return Path(name).expanduser(), f"the folder {name}"
    if FOLDER_NAME.fullmatch(name) and (weights_home() / name).is_dir():
        return weights_home() / name, f"the weights home's {name}"
    card = CARDS.get(name)
    hub_id = hub_id or (f"{card.hub_id}@{card.revision}" if card else name)
    if HUB_ID.fullmatch(hub_id):
        return _snapshot(hub_id, name, fix), f"the hub cache's copy of {hub_id.removesuffix('@main')}"
    if hint := nearest(name, CARDS) if FOLDER_NAME.fullmatch(name) else "":
        raise WeightsAbsent(f"no weights '{name}'{hint} (fdetect weights list)", fix)
    if FOLDER_NAME.fullmatch(name):
        here = "" if name in names else ", and no folder of that name"
        raise WeightsAbsent(f"no weights '{name}' in the weights home{here}", fix)
    raise WeightsAbsent(f"no weights folder '{name}'", fix)


def _snapshot(hub_id: str, name: str, fix: str) -> Path:
    """Return the snapshot folder of a hub id in the cache; raises WeightsAbsent where there is none."""
    repository, _, revision = hub_id.partition("@")
    place = hub_cache() / f"models--{repository.replace('/', '--')}"
    reference = place / "refs" / (revision or "main")
    commit = reference.read_text(errors="replace").strip() if reference.is_file() else revision
    folder = place / "snapshots" / commit
    if not commit or not folder.is_dir():
        at = f" at revision {revision}" if revision not in ("", "main") else ""
        if name != hub_id:
            here = f"no weights '{name}' in the weights home"
            raise WeightsAbsent(f"{here}, and no {repository}{at} in the hub cache", fix)
        raise WeightsAbsent(f"no weights for {repository}{at} in the hub cache", fix)
    return folder
