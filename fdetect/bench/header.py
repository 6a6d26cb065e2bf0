"""The header of a result: what is needed to judge or repeat a run, and nothing that changes when it is repeated."""

from __future__ import annotations

import functools
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import fdetect
from fdetect import images
from fdetect.backend import Backend
from fdetect.bench.data import builtin
from fdetect.bench.protocols import Samples, Trial
from fdetect.bench.scores.external_runs import programs_of
from fdetect.config import RunConfig
from fdetect.engine import Extraction
from fdetect.engine.work import content_id
from fdetect.types import Table

__all__ = ["data_name", "header", "host", "portable", "versions"]

PACKAGES = (
    "numpy", "scipy", "numba", "scikit-learn", "scikit-image", "pillow", "simplejpeg", "pyarrow",
    "torch", "transformers", "cupy",
)  # fmt: skip


def header(
    config: RunConfig, manifest: Table, samples: Samples, trials: tuple[Trial, ...], name: str, data: str,
    backend: Backend, cards: Mapping[str, Sequence[Any]], extraction: Extraction,
) -> dict[str, Any]:  # fmt: skip
    """Everything a reader needs to judge or repeat the run; nothing that changes when it is repeated.

    `cards` are those of the networks that each detector rests on.
    """
    meta = manifest.schema.metadata
    doubles = len(extraction.ids) - len(set(extraction.ids))
    return {
        "fingerprint": name,
        "data": {
            "name": data_name(config),
            "layout": meta[b"fdetect.layout"].decode(),
            "detected": meta.get(b"fdetect.detected", b"").decode(),
            "description": builtin.DESCRIPTION if not config.data.path else "",
            "hash": data,
            "n_real": int((samples.label == 0).sum()),
            "n_fake": int((samples.label == 1).sum()),
            "n_groups": len(set(samples.group)),
            "n_same_content": doubles,
            "generators": {g: int((samples.generator == g).sum()) for g in samples.generators},
            "real_sources": {
                s: int(((samples.real_source == s) & (samples.label == 0)).sum()) for s in samples.real_sources
            },
        },
        "trials": len(trials),
        "config": asdict(portable(config)),
        "seed": config.seed,
        "versions": {**versions(), "decoder": images.decoder_id()},
        "backend": asdict(backend),
        "weights": {name: [_portable_card(card) for card in of_name] for name, of_name in cards.items()},
    }


def portable(config: RunConfig) -> RunConfig:
    """The configuration without the folders of this machine; score tables by name and content."""
    data = replace(config.data, path=Path(config.data.path).name, root="")
    files = tuple(f"{Path(file).name} {content_id(Path(file).read_bytes())}" for file in config.detectors.scores)
    encoder, autoencoder = (Path(name).name for name in (config.detectors.encoder, config.detectors.autoencoder))
    external = tuple(one.identity for one in programs_of(config.detectors.external))
    named = tuple(re.sub(r"^.*[/\\](?=[^/\\]+\.py:)", "", name) for name in config.detectors.names)  # files of plug-ins
    detectors = replace(config.detectors, names=named, scores=files, external=external, encoder=encoder,
                        autoencoder=autoencoder)  # fmt: skip
    names = tuple(Path(name).name for name in config.aligned.autoencoders)
    *trained, trunk = (re.sub(r"(?<==)[^:]*/", "", name) for name in (*config.networks.names, config.fused.network))
    looks = tuple(Path(name).name for name in config.features.embeddings)
    return replace(config, data=data, detectors=detectors, aligned=replace(config.aligned, autoencoders=names),
                   features=replace(config.features, embeddings=looks),
                   networks=replace(config.networks, names=tuple(trained)),
                   fused=replace(config.fused, network=trunk))  # fmt: skip


def _portable_card(card: Any) -> dict[str, Any]:
    """A card as JSON values, without the folder of this machine that its weights were read from."""
    return {**asdict(card), "source": Path(card.source).name}


def data_name(config: RunConfig) -> str:
    """Return the word that names the data in a run folder."""
    path = Path(config.data.path)
    if not config.data.path:
        return "builtin"
    return path.parent.name if path.stem == "manifest" else path.stem


def host() -> dict[str, Any]:
    """Return what is known of the machine, for run.json."""
    return {"system": platform.system(), "machine": platform.machine(), "cores": os.cpu_count()}


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of everything that can change a figure."""
    found = {"fdetect": fdetect.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
