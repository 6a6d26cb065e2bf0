"""Detectors on disk, published ones and networks of our own: what is known of each before torch is loaded.

    network       config.json of `fdetect.nets.detectors`: an architecture and its settings
    linear_head   w . e + b on an encoder's embedding (UniversalFakeDetect)
    rine_head     an MLP on the class tokens of all blocks of an encoder (RINE)

Of no published file a hash is known, so that all are "unverified weights" until a published figure is reached.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fdetect.errors import ParameterError, WeightsAbsent, WeightsError
from fdetect.nets.detectors import CLASS_NAME, NetworkConfig, config_from_json
from fdetect.nets.evidence import LEVELS, evidence_of, identity
from fdetect.nets.folders import checked, digests, read_json
from fdetect.nets.shipped import REINSTALL, SHIPPED_HOME
from fdetect.nets.weights import FOLDER_NAME, find_weights, is_folder, remove_first, weights_home
from fdetect.registry import nearest

__all__ = [
    "GIVE_DETECTOR", "HEADS", "PUBLISHED", "DetectorCard", "PublishedDetector", "detector_card", "detector_config",
    "find_detector", "kind_of", "training_contents",
]  # fmt: skip

GIVE_DETECTOR = "give a folder with config.json and model.safetensors as pretrained:weights=FOLDER"
HEADS = ("linear_head", "rine_head")  # `model_type` of config.json
_PURPOSES = ("test", "demo", "release")


@dataclass(frozen=True, kw_only=True)
class PublishedDetector:
    """A checkpoint that others published: its name here, the authors' file, the licence that they state of it.

    architecture  of `fdetect.nets.detectors`, or one of HEADS
    """

    name: str
    architecture: str
    file: str
    licence: str

    @property
    def fix(self) -> str:
        """How the weights get here."""
        return f"run `fdetect weights import {self.file} --as {self.name}`, or {GIVE_DETECTOR}"


_NONE, _RESEARCH = "not stated", "research use only"
_CNNSPOT = "CC-BY-NC-SA-4.0"

PUBLISHED = {
    name: PublishedDetector(name=name, architecture=architecture, file=file, licence=licence)
    for name, architecture, file, licence in (
        ("npr", "npr", "NPR.pth", _NONE),
        ("safe", "safe", "checkpoint-best.pth", _NONE),
        ("cnnspot-prob0.1", "cnnspot", "blur_jpg_prob0.1.pth", _CNNSPOT),
        ("cnnspot-prob0.5", "cnnspot", "blur_jpg_prob0.5.pth", _CNNSPOT),
        ("ladeda-forensynth", "ladeda", "ForenSynth_LaDeDa.pth", _RESEARCH),
        ("ladeda-forensynth-two-thirds", "ladeda", "ForenSynth_LaDeDa.pth", _RESEARCH),
        ("ladeda-wildrf", "ladeda", "WildRF_LaDeDa.pth", _RESEARCH),
        ("ladeda-wildrf-two-thirds", "ladeda", "WildRF_LaDeDa.pth", _RESEARCH),
        ("tiny-ladeda-forensynth", "tiny_ladeda", "ForenSynth_Tiny_LaDeDa.pth", _RESEARCH),
        ("tiny-ladeda-wildrf", "tiny_ladeda", "WildRF_Tiny_LaDeDa.pth", _RESEARCH),
        ("univfd", "linear_head", "fc_weights.pth", "MIT"),
        ("rine-1class", "rine_head", "model_1class_trainable.pth", _NONE),
        ("rine-2class", "rine_head", "model_2class_trainable.pth", _NONE),
        ("rine-4class", "rine_head", "model_4class_trainable.pth", _NONE),
        ("rine-ldm", "rine_head", "model_ldm_trainable.pth", _NONE),
    )
}


@dataclass(frozen=True, kw_only=True)
class DetectorCard:
    """A detector that is here.

    source        what was asked for; `name` what results call it, with the stem where the architecture leaves it open
    architecture  of `fdetect.nets.detectors`, or one of HEADS
    stem          what the network looks at; empty where its architecture leaves no choice
    encoder       of a head: whose embeddings it judges; empty for a network
    sha256        of the safetensors, and config_sha256 of config.json
    purpose       "release" for a published checkpoint, what card.json says of one of our own, else "test"
    """

    source: str
    name: str
    architecture: str
    stem: str
    encoder: str
    licence: str
    purpose: str
    evidence: str
    sha256: str
    config_sha256: str


def detector_card(source: str, *, stem: str = "") -> DetectorCard:
    """Find a detector and describe it, without loading torch.

    source  a name of PUBLISHED or of the weights home, or a folder with config.json and model.safetensors
    stem    in place of the one in config.json; empty leaves it

    Raises WeightsAbsent or WeightsError, with its fix, where weights are absent, damaged or no detector;
    ParameterError for a stem that the architecture does not have.
    """
    folder = find_detector(source)
    content = read_json(folder / "config.json", source, _fix(source))
    found = digests(folder)
    about = _about(folder, found["sha256"], source)
    config = detector_config(content, source, stem=stem)
    architecture = config.architecture if config else str(content["model_type"])
    known = PUBLISHED.get(str(about.get("name", "")))
    known = known if known and known.architecture == architecture else None
    chosen = str(getattr(config, "stem", ""))
    name = known.name if known else f"{architecture}-{found['sha256'][:8]}"
    purpose, licence = about.get("purpose"), about.get("licence")
    said = licence if isinstance(licence, str) and licence else "not stated"
    same = not stem or stem == content.get("stem")  # evidence was reached with the stem of config.json
    return DetectorCard(
        source=source,
        name=f"{name} (stem {chosen})" if chosen else name,
        architecture=architecture,
        stem=chosen,
        encoder=str(content.get("encoder", "")) if config is None else "",
        licence=known.licence if known else " ".join(said.split()),
        purpose="release" if known else purpose if purpose in _PURPOSES else "test",
        evidence=evidence_of(identity(found)) if same else LEVELS[0],
        **found,
    )


def detector_config(content: Mapping[str, Any], source: str, *, stem: str = "") -> NetworkConfig | None:
    """Return the network that config.json describes, with another stem where one is given; None for a head.

    Raises WeightsError where it describes neither, ParameterError for a stem that the architecture does not have.
    """
    if content.get("model_type") in HEADS:
        if stem:
            raise ParameterError(f"pretrained: {source} is a head on an encoder and has no stem; leave stem={stem} out")
        if not isinstance(content.get("encoder"), str) or not content["encoder"]:
            raise WeightsError(f"config.json of {source} does not name the head's encoder", _fix(source))
        return None
    if content.get("_class_name") != CLASS_NAME:
        raise WeightsError(f"{source} holds no detector: config.json describes something else", _fix(source))
    try:
        config = config_from_json(content)
    except ParameterError as error:
        raise WeightsError(f"config.json of {source} does not fit ({error})", _fix(source)) from None
    if not stem:
        return config
    if not hasattr(config, "stem"):
        raise ParameterError(f"pretrained: network '{config.architecture}' has one stem; leave stem={stem} out")
    changed: Any = replace(config, stem=stem)  # type: ignore[call-arg]
    return changed  # type: ignore[no-any-return]


def kind_of(folder: Path) -> str:
    """Return what config.json of a folder says it holds: CLASS_NAME for a network, one of HEADS, else an empty text."""
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    if not isinstance(found, dict):
        return ""
    if found.get("_class_name") == CLASS_NAME:
        return CLASS_NAME
    return next((name for name in HEADS if name == found.get("model_type")), "")


def find_detector(source: str) -> Path:
    """Return the folder of a detector: a name of PUBLISHED or of the weights home, or a folder.

    Raises WeightsAbsent or WeightsError, with its fix, where it is absent or damaged.
    """
    here = is_folder(source, tuple(PUBLISHED)) or (weights_home() / source).is_dir()
    if not here and FOLDER_NAME.fullmatch(source) and kind_of(SHIPPED_HOME / source):
        return checked(SHIPPED_HOME / source, stem="model", where=f"the package's {source}", fix=REINSTALL)
    if FOLDER_NAME.fullmatch(source) and source not in PUBLISHED and not here:
        hint = nearest(source, PUBLISHED)
        raise WeightsAbsent(f"no weights '{source}'{hint} (fdetect weights list)", GIVE_DETECTOR)
    fix = PUBLISHED[source].fix if source in PUBLISHED else GIVE_DETECTOR
    return find_weights(source, option="pretrained:weights", fix=fix)


def training_contents(source: str) -> frozenset[str] | None:
    """Return the content ids that card.json lists as `data.ids`: what a network was trained on; None = it does not.

    Raises WeightsAbsent or WeightsError where there are no such weights.
    """
    folder = find_detector(source)
    data = _about(folder, digests(folder)["sha256"], source).get("data")
    ids = data.get("ids") if isinstance(data, dict) else None
    return frozenset(map(str, ids)) if isinstance(ids, list) else None


def _fix(source: str) -> str:
    """What to do about a folder that is there and does not fit."""
    return remove_first(weights_home() / source, PUBLISHED[source].fix) if source in PUBLISHED else GIVE_DETECTOR


def _about(folder: Path, sha256: str, source: str) -> dict[str, Any]:
    """Return card.json where it speaks of these weights; of others, or without one, nothing is known."""
    file = folder / "card.json"
    card = read_json(file, source, _fix(source)) if file.is_file() else {}
    files = card.get("files")  # of a fitted model, digests by file
    digest = files.get("model.safetensors") if isinstance(files, dict) else None
    return card if sha256 in (card.get("sha256"), card.get("model_sha256"), digest) else {}
