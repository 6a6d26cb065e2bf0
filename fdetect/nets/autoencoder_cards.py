"""Autoencoders on disk: the catalogue, and what config.json and the files' hashes say of one.  No torch here."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fdetect.errors import ParameterError, WeightsError
from fdetect.nets.evidence import LEVELS, evidence_of, identity
from fdetect.nets.folders import digests, read_json
from fdetect.nets.own import CLASS_NAME, OwnConfig, config_from_json
from fdetect.nets.own.card import own_card
from fdetect.nets.shipped import LICENCE, SHIPPED, shipped_folder
from fdetect.nets.weights import HUB_ID, find_weights, is_folder, weights_home
from fdetect.registry import nearest

__all__ = [
    "AUTOENCODERS",
    "GIVE_FOLDER",
    "GIVE_OWN",
    "IMPORT_TAEF2",
    "INSTALL_DIFFUSION",
    "OURS",
    "AutoencoderCard",
    "CataloguedAutoencoder",
    "autoencoder_card",
    "find_autoencoder",
]

INSTALL_DIFFUSION = "pip install 'fdetect[diffusion]'"
IMPORT_TAEF2 = "run `fdetect weights import taef2_encoder.pth taef2_decoder.pth --as taef2`"

_STEM = "diffusion_pytorch_model"  # of diffusers' weight files; ours are model.safetensors
_SUBFOLDERS = ("vae", "movq")  # of a whole pipeline
_TINY = (64, 64, 64, 64)
OURS = ("TAEF2", CLASS_NAME)  # classes of networks that are built here, without diffusers
GIVE_FOLDER = f"give a folder with config.json and {_STEM}.safetensors as --autoencoder FOLDER"
GIVE_OWN = "give a folder that benchmarks/train_generators.py wrote as --autoencoder FOLDER"


@dataclass(frozen=True, kw_only=True)
class CataloguedAutoencoder:
    """What is known of an autoencoder; purpose and evidence are printed in every row that rests on it.

    name             in the catalogue; `hub_id`, `subfolder` and `revision` on the hub
    architecture     "TAEF2", "OwnAutoencoder" (fdetect/nets/own), or the class of diffusers
    latent_channels  of one position of the latent, which stands for `factor` x `factor` pixels
    widths           channels inside, of each level
    expected_sha256  of the safetensors, empty where none could be verified
    authors_files    the authors' own files that `fdetect weights import` takes; no hash of them is published
    purpose          "release", or "test": nobody judges images with it
    evidence         of the card: "parity", our numbers equal a plain reference, or diffusers', on small weights
    """

    name: str
    hub_id: str = ""
    subfolder: str = ""
    revision: str = "main"
    architecture: str = "AutoencoderKL"
    latent_channels: int = 4
    factor: int = 8
    widths: tuple[int, ...] = (128, 256, 512, 512)
    licence: str
    expected_sha256: str = ""
    authors_files: tuple[str, ...] = ()
    purpose: str = "release"
    evidence: str = "parity"

    @property
    def stem(self) -> str:
        """The weights file's name without its ending."""
        return _stem(self.architecture)


@dataclass(frozen=True, kw_only=True)
class AutoencoderCard(CataloguedAutoencoder):
    """An autoencoder that is here: `source` as asked for, the SHA-256 of its safetensors and of its config.json."""

    source: str
    sha256: str
    config_sha256: str


# Licences as their model cards state them.  AEROBLADE uses the first three; the hub may ask to accept a licence, and
# whether it still serves sd2-vae's repository could not be tried: any folder with the same files does.
AUTOENCODERS = {
    card.name: card
    for card in (
        CataloguedAutoencoder(
            name="sd1-vae", hub_id="CompVis/stable-diffusion-v1-1", subfolder="vae", licence="CreativeML OpenRAIL-M"
        ),
        CataloguedAutoencoder(
            name="sd2-vae",
            hub_id="stabilityai/stable-diffusion-2-base",
            subfolder="vae",
            licence="CreativeML Open RAIL++-M",
        ),
        CataloguedAutoencoder(
            name="kandinsky2-movq",
            hub_id="kandinsky-community/kandinsky-2-1",
            subfolder="movq",
            architecture="VQModel",
            widths=(128, 256, 256, 512),
            licence="Apache-2.0",
        ),
        CataloguedAutoencoder(name="sdxl-vae", hub_id="stabilityai/sdxl-vae", licence="MIT"),
        CataloguedAutoencoder(
            name="taesd", hub_id="madebyollin/taesd", architecture="AutoencoderTiny", widths=_TINY, licence="MIT"
        ),
        CataloguedAutoencoder(
            name="taesdxl", hub_id="madebyollin/taesdxl", architecture="AutoencoderTiny", widths=_TINY, licence="MIT"
        ),
        CataloguedAutoencoder(
            name="taef2",
            architecture="TAEF2",
            latent_channels=32,
            widths=_TINY,
            licence="MIT",
            authors_files=("taef2_encoder.pth", "taef2_decoder.pth"),
        ),
    )
}

# Each level of a network but the last halves the sides.
_FACTORS: dict[str, Callable[[Mapping[str, Any]], int]] = {
    "AutoencoderKL": lambda config: 2 ** (len(config["block_out_channels"]) - 1),
    "VQModel": lambda config: 2 ** (len(config["block_out_channels"]) - 1),
    "AutoencoderTiny": lambda config: 2 ** (len(config["num_encoder_blocks"]) - 1),
    "TAEF2": lambda config: 8,
}


def autoencoder_card(source: str) -> AutoencoderCard:
    """Find an autoencoder and describe it, without loading torch.

    source  a name of the catalogue, of SHIPPED or of the weights home, a hub id "org/name[@revision]", or a folder: of
            diffusers (config.json and diffusion_pytorch_model.safetensors, or a pipeline with these in vae/ or movq/),
            of an imported TAEF2, or of an autoencoder of our own

    Raises WeightsError where weights are absent or damaged, of an architecture that is not known here, or of diffusers
    while diffusers is not installed.
    """
    folder, known = find_autoencoder(source)
    config = read_json(folder / "config.json", source, GIVE_FOLDER)
    architecture = str(config.get("_class_name", "unknown"))
    if architecture not in (*_FACTORS, CLASS_NAME):
        names = ", ".join((*_FACTORS, CLASS_NAME))
        described = f"config.json of {source} describes a model of class '{architecture}'"
        raise WeightsError(f"{described}, not one of {names}", GIVE_FOLDER)
    name, latent_channels, factor, widths = _sizes(config, architecture, source)
    if architecture not in OURS and importlib.util.find_spec("diffusers") is None:
        raise WeightsError(f"{source} needs diffusers, which is not installed", INSTALL_DIFFUSION)
    shape = (architecture, latent_channels, factor, widths)
    if known and (known.architecture, known.latent_channels, known.factor, known.widths) != shape:
        known = None
    found = digests(folder, stem=_stem(architecture))
    evidence, shipped = evidence_of(identity(found)), source in SHIPPED
    if shipped and evidence == LEVELS[0]:
        evidence = LEVELS[1]  # their hash was compared with the card's when they were found
    card = known or CataloguedAutoencoder(
        name=source if shipped else f"{name}-{latent_channels}x{factor}-{found['sha256'][:8]}",
        architecture=architecture,
        latent_channels=latent_channels,
        factor=factor,
        widths=widths,
        licence=LICENCE if shipped else _licence(folder, architecture, source),
        purpose="release" if shipped or _full_size(architecture, widths) else "test",
    )
    return AutoencoderCard(**(asdict(card) | found | {"source": source, "evidence": evidence}))


def find_autoencoder(source: str) -> tuple[Path, CataloguedAutoencoder | None]:
    """Return the folder of config.json and weights, and the catalogue's card where the source names one.

    A name of SHIPPED means what is in the package, whatever the weights home holds under it.
    """
    names = (*AUTOENCODERS, *SHIPPED)
    folder_meant = is_folder(source, names)
    if source in SHIPPED:
        return shipped_folder(source), None
    known = None if folder_meant else AUTOENCODERS.get(source)
    for card in AUTOENCODERS.values():
        if not folder_meant and card.hub_id and source.partition("@")[0] == card.hub_id:
            known = card
    if known is not None:
        hub_id = f"{known.hub_id}@{known.revision}" if known.hub_id and source == known.name else ""
        fix = IMPORT_TAEF2 if known.authors_files else ""
        found = find_weights(
            source, stem=known.stem, subfolder=known.subfolder, hub_id=hub_id, option="--autoencoder", fix=fix
        )
        return found, known
    folder = Path(source).expanduser() if folder_meant else weights_home() / source
    if folder.is_dir():
        inside = next((name for name in _SUBFOLDERS if (folder / name).is_dir()), "")
        config = folder / inside / "config.json"
        architecture = read_json(config, source, GIVE_FOLDER).get("_class_name") if config.is_file() else None
        return find_weights(source, stem=_stem(architecture), subfolder=inside, option="--autoencoder"), None
    if not HUB_ID.fullmatch(source):
        hint = nearest(source, names)
        raise WeightsError(f"no autoencoder '{source}'{hint} (fdetect weights list)", GIVE_FOLDER)
    try:
        return find_weights(source, stem=_STEM, subfolder=_SUBFOLDERS[0], option="--autoencoder"), None
    except WeightsError as error:
        try:
            return find_weights(source, stem=_STEM, subfolder=_SUBFOLDERS[1], option="--autoencoder"), None
        except WeightsError:
            raise error from None


def _sizes(config: Mapping[str, Any], architecture: str, source: str) -> tuple[str, int, int, tuple[int, ...]]:
    """Return what config.json says: a short name, the latent's channels, the factor and the widths of the levels."""
    if architecture == CLASS_NAME:
        try:
            own = config_from_json(config)
        except ParameterError as error:
            raise WeightsError(f"config.json of {source} does not fit ({error})", GIVE_OWN) from None
        return own.architecture, own.latent_channels, own.factor, own.widths
    try:
        latent_channels, factor = int(config["latent_channels"]), _FACTORS[architecture](config)
        return architecture.lower(), latent_channels, factor, tuple(map(int, _widths(config)))
    except (KeyError, TypeError, ValueError):
        raise WeightsError(f"config.json of {source} does not state the network's sizes", GIVE_FOLDER) from None


def _licence(folder: Path, architecture: str, source: str) -> str:
    """Return what card.json states of the weights where they are of our own."""
    card = own_card(folder, source, GIVE_OWN) if architecture == CLASS_NAME else None
    return (card.licence if card else "") or "not stated"


def _full_size(architecture: str, widths: tuple[int, ...]) -> bool:
    """Whether a network is as wide as one that is meant to judge images: one of the catalogue, or our default."""
    if architecture == CLASS_NAME:
        return widths[0] >= OwnConfig.width
    return widths in {card.widths for card in AUTOENCODERS.values()}


def _widths(config: Mapping[str, Any]) -> Any:
    """Return what config.json calls the widths of the levels: diffusers' two names, and TAEF2's one width for all."""
    named = config.get("block_out_channels", config.get("encoder_block_out_channels"))
    return [config.get("width", 0)] * 4 if named is None else named


def _stem(architecture: object) -> str:
    return "model" if architecture in OURS else _STEM
