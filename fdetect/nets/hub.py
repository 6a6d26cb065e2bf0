"""Getting weights from the hub: the only part of fdetect that downloads, and it says how much before it does.

Files go into the hub cache, where transformers looks too: whole, or not at all.  Every file is hashed and compared
with what the hub states (SHA-256 of large ones, git's SHA-1 of small ones), and with the catalogue's where it has one.
Weights count as official where all of their files were compared, and the hub is the hub itself: no mirror vouches for
anybody.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fdetect.errors import ParameterError, WeightsError
from fdetect.nets.autoencoder_cards import AUTOENCODERS
from fdetect.nets.cards import CARDS, encoder_card
from fdetect.nets.evidence import identity, record_evidence
from fdetect.nets.folders import checked, digests, file_sha256
from fdetect.nets.shipped import SHIPPED
from fdetect.nets.weights import HUB_ID, INSTALL_DEEP, hub_cache
from fdetect.registry import nearest

__all__ = ["Plan", "RemoteFile", "Wanted", "download", "plan", "wanted"]

_SIDE = ("config.json", "preprocessor_config.json")  # the first must be there
_ENDS = (".safetensors", ".safetensors.index.json")
_HUB = "https://huggingface.co"
_SECONDS = 10.0  # until a hub that does not answer is given up


@dataclass(frozen=True)
class Wanted:
    """What to get: a repository at a revision, <stem>.safetensors in a subfolder, and what is known of it.

    `official` says that the repository is the catalogue's, so that a copy of stated hashes counts as official weights.
    """

    hub_id: str
    revision: str = "main"
    stem: str = "model"
    subfolder: str = ""
    expected_sha256: str = ""
    licence: str = ""
    official: bool = False


@dataclass(frozen=True)
class RemoteFile:
    """A file of the repository: its size in bytes, and what the hub states of its content.

    sha256  of a large file, empty for small ones
    blob    git's SHA-1 of a small file, empty for large ones, of which git knows a pointer alone
    """

    path: str
    size: int
    sha256: str
    blob: str = ""

    def stated(self, local: Path) -> tuple[str, str]:
        """Return the digest that the hub states and that of a local file, both empty where it states none."""
        if self.sha256:
            return self.sha256, file_sha256(local)
        if self.blob:
            data = local.read_bytes()
            return self.blob, hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
        return "", ""


@dataclass(frozen=True)
class Plan:
    """What a download will take: `files` in all, `bytes_missing` of them not yet here."""

    wanted: Wanted
    commit: str
    files: tuple[RemoteFile, ...]
    bytes_missing: int


def wanted(name: str) -> Wanted:
    """Return what a name of the catalogue or a hub id stands for; raises ParameterError for anything else."""
    card = CARDS.get(name) or next((card for card in CARDS.values() if card.hub_id == name), None)
    if card:
        return Wanted(
            card.hub_id, card.revision, expected_sha256=card.expected_sha256, licence=card.licence, official=True
        )
    if name in SHIPPED:
        raise ParameterError(f"'{name}' comes with fdetect: there is nothing to download")
    other = AUTOENCODERS.get(name)
    if other and not other.hub_id:
        files = " ".join(other.authors_files)
        raise ParameterError(f"'{name}' is not on the hub; run `fdetect weights import {files} --as {name}`")
    if other:
        return Wanted(
            other.hub_id, other.revision, other.stem, other.subfolder, other.expected_sha256, other.licence, True
        )
    if HUB_ID.fullmatch(name):
        hub_id, _, revision = name.partition("@")
        return Wanted(hub_id, revision or "main")
    hint = nearest(name, [*CARDS, *AUTOENCODERS, *SHIPPED])
    raise ParameterError(f"no weights '{name}'{hint} (fdetect weights list), and no hub id ORG/NAME")


def plan(what: Wanted) -> Plan:
    """Ask the hub what there is; nothing is downloaded yet.  Raises WeightsError in one sentence where it fails."""
    api = _api()
    try:
        info = api.model_info(what.hub_id, revision=what.revision, files_metadata=True, timeout=_SECONDS)
        listed = {}
        for entry in info.siblings or []:
            lfs = entry.lfs
            digest = (str(lfs.sha256), "") if lfs else ("", str(entry.blob_id or ""))
            listed[entry.rfilename] = RemoteFile(entry.rfilename, entry.size or 0, *digest)
        commit = str(info.sha or "")
    except Exception as error:
        raise _said(error, what) from None
    what = _located(what, listed)
    files = _chosen(what, listed)
    place = hub_cache() / f"models--{what.hub_id.replace('/', '--')}" / "snapshots" / commit
    missing = sum(file.size for file in files if not (place / file.path).is_file())
    return Plan(what, commit, files, missing)


def download(planned: Plan) -> Path:
    """Download what is missing, check every hash and return the folder.

    A file whose hash differs is removed again.  Raises WeightsError in one sentence where the hub, the network or the
    disk fails.
    """
    from huggingface_hub import hf_hub_download

    what, cache = planned.wanted, hub_cache()
    _check_space(cache, planned)
    found: dict[str, Path] = {}
    how: dict[str, Any] = {"revision": what.revision, "cache_dir": cache, "endpoint": _endpoint()}
    for file in planned.files:
        try:
            local = Path(hf_hub_download(what.hub_id, file.path, etag_timeout=_SECONDS, **how))
        except Exception as error:
            raise _said(error, what) from None
        checks = [(*file.stated(local), "the hub")]
        if what.expected_sha256 and Path(file.path).name == f"{what.stem}.safetensors":
            checks.append((what.expected_sha256, file_sha256(local), "the catalogue"))
        for stated, here, who in checks:
            if stated != here:
                local.resolve().unlink(missing_ok=True)
                local.unlink(missing_ok=True)
                reason = f"{file.path} of {what.hub_id} has the hash {here[:12]}, where {who} states {stated[:12]}"
                raise WeightsError(reason, "it was removed; get it again, and do not use it if this repeats")
        found[file.path] = local
    folder = next(local.parent for path, local in found.items() if Path(path).name == _SIDE[0])
    checked(folder, stem=what.stem, where=f"the hub cache's copy of {what.hub_id}", fix="get it again")
    compared = all(file.sha256 or (file.blob and not file.path.endswith(".safetensors")) for file in planned.files)
    if what.official and compared and _endpoint() in (None, _HUB):
        about = {"hub_id": what.hub_id, "revision": what.revision, "commit": planned.commit}
        # by its place, which no folder of another name can stand for
        encoder = what.stem == "model"
        network = identity(asdict(encoder_card(str(folder))) if encoder else digests(folder, stem=what.stem))
        record_evidence(network, "official weights", about)
    return folder


def _located(what: Wanted, listed: dict[str, RemoteFile]) -> Wanted:
    """Return where the weights of a repository that no catalogue has lie: first as transformers, then as diffusers."""
    diffusers = "diffusion_pytorch_model"
    for stem, subfolder in ((what.stem, what.subfolder), (diffusers, ""), (diffusers, "vae"), (diffusers, "movq")):
        base = f"{subfolder}/{stem}" if subfolder else stem
        if not what.official and any(f"{base}{end}" in listed for end in _ENDS):
            return replace(what, stem=stem, subfolder=subfolder)
    return what


def _chosen(what: Wanted, listed: dict[str, RemoteFile]) -> tuple[RemoteFile, ...]:
    """Return the files to get: the configuration, the safetensors or the shards, and the preprocessing."""
    base = f"{what.subfolder}/" if what.subfolder else ""
    single, index = f"{base}{what.stem}.safetensors", f"{base}{what.stem}.safetensors.index.json"
    if single in listed:
        names = [single]
    elif index in listed:
        shards = sorted(k for k in listed if k.startswith(f"{base}{what.stem}-") and k.endswith(".safetensors"))
        names = [index, *shards]
    else:
        reason = f"{what.hub_id} holds no {single}"
        pickles = [k for k in listed if k.startswith(base) and k.endswith((".bin", ".pth", ".pt"))]
        pickle = f" but {pickles[0]}, a pickle, which is never read" if pickles else ""
        raise WeightsError(reason + pickle, "look for a revision with safetensors and give it as ORG/NAME@REVISION")
    if f"{base}{_SIDE[0]}" not in listed:
        raise WeightsError(f"{what.hub_id} holds no {base}{_SIDE[0]}", "give a repository that transformers can load")
    sides = [f"{base}{name}" for name in _SIDE if f"{base}{name}" in listed]
    return tuple(listed[name] for name in (*sides, *names))


def _check_space(cache: Path, planned: Plan) -> None:
    existing = next(folder for folder in (cache, *cache.parents) if folder.is_dir())
    free = shutil.disk_usage(existing).free
    if free < planned.bytes_missing:
        need, have = planned.bytes_missing / 1e9, free / 1e9
        raise WeightsError(
            f"{planned.wanted.hub_id} needs {need:.1f} GB and {existing} has {have:.1f} GB left",
            "free some space or set HF_HUB_CACHE to another disk",
        )


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or None


def _api() -> Any:
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise WeightsError("huggingface_hub is not installed", INSTALL_DEEP) from None
    return HfApi(endpoint=_endpoint())


def _said(error: Exception, what: Wanted) -> WeightsError:
    """Return the sentence for what went wrong between here and the hub."""
    from huggingface_hub import errors

    hub = _endpoint() or "the hub"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError) or status == 403:
        page = f"{_HUB}/{what.hub_id}"
        return WeightsError(f"{what.hub_id} is gated", f"accept its licence at {page} and log in with `hf auth login`")
    if isinstance(error, errors.RevisionNotFoundError):
        return WeightsError(f"{what.hub_id} has no revision '{what.revision}'", "give another one as ORG/NAME@REVISION")
    if isinstance(error, errors.RepositoryNotFoundError) or status in (401, 404):
        fix = "check the name, or log in with `hf auth login`"
        return WeightsError(f"{hub} shows no repository {what.hub_id}: it does not exist or is private", fix)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return WeightsError("HF_HUB_OFFLINE forbids to download", f"unset it to get {what.hub_id}")
    if status is not None:
        return WeightsError(f"{hub} answered with the error {status} for {what.hub_id}", "try again later")
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        fix = "free some space or set HF_HUB_CACHE"
        return WeightsError(f"{what.hub_id} cannot be written ({error.strerror})", fix)
    text = " ".join(str(error).split())[:120] or type(error).__name__
    return WeightsError(f"{what.hub_id} could not be read from {hub} ({text})", "check the connection and try again")
