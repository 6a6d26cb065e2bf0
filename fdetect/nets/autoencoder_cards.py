"""Autoencoders on disk: the catalogue, and what config.json and the files' hashes say of one.  No torch here."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fdetect.errors import WeightsError
from fdetect.nets.evidence import evidence_of
from fdetect.nets.weights import HUB_ID, find_weights, read_json, weights_home, weights_sha256
from fdetect.registry import nearest

__all__ = [
    "AUTOENCODERS",
    "GIVE_FOLDER",
    "IMPORT_TAEF2",
    "INSTALL_DIFFUSION",
    "AutoencoderCard",
    "CataloguedAutoencoder",
    "autoencoder_card",
    "find_autoencoder",
]

INSTALL_DIFFUSION = "pip install 'fdetect[diffusion]'"
IMPORT_TAEF2 = "run `fdetect weights import taef2_encoder.pth taef2_decoder.pth --as taef2`"

_STEM = "diffusion_pytorch_model"  # of diffusers' weight files; ours are model.safetensors
_SUBFOLDERS = ("vae", "movq")  # of a whole pipeline
GIVE_FOLDER = f"give a folder with config.json and {_STEM}.safetensors as --autoencoder FOLDER"


@dataclass(frozen=True, kw_only=True)
class CataloguedAutoencoder:
    """What is known of an autoencoder; purpose and evidence are printed in every row that rests on it.

    name             in the catalogue; `hub_id`, `subfolder` and `revision` on the hub
    architecture     "TAEF2", or the class of diffusers
    latent_channels  of one position of the latent, which stands for `factor` x `factor` pixels
    expected_sha256  of the safetensors, empty where none could be verified
    authors_files    the authors' own files that `fdetect weights import` takes, `authors_sha256` their hashes
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
    licence: str
    expected_sha256: str = ""
    authors_files: tuple[str, ...] = ()
    authors_sha256: tuple[str, ...] = ()
    purpose: str = "release"
    evidence: str = "parity"

    @property
    def stem(self) -> str:
        """The weights file's name without its ending."""
        return "model" if self.architecture == "TAEF2" else _STEM


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
            licence="Apache-2.0",
        ),
        CataloguedAutoencoder(name="sdxl-vae", hub_id="stabilityai/sdxl-vae", licence="MIT"),
        CataloguedAutoencoder(
            name="taesd", hub_id="madebyollin/taesd", architecture="AutoencoderTiny", licence="MIT"
        ),
        CataloguedAutoencoder(
            name="taesdxl", hub_id="madebyollin/taesdxl", architecture="AutoencoderTiny", licence="MIT"
        ),
        CataloguedAutoencoder(
            name="taef2",
            architecture="TAEF2",
            latent_channels=32,
            licence="MIT",
            authors_files=("taef2_encoder.pth", "taef2_decoder.pth"),
            authors_sha256=(
                "10a4e1021e89d7551eaf161352da8dbd0b1aa83872ae28b150c1df1ce2f147b6",
                "0a44a31e1ae59eb9dbf9359d24942fd3ef5928162c1800d97a28c61d51be0ab5",
            ),
        ),
    )
}
_PUBLISHED_WIDTHS = ([128, 256, 256, 512], [128, 256, 512, 512], [64, 64, 64, 64])  # of those above

# Each level of a network but the last halves the sides.
_FACTORS: dict[str, Callable[[Mapping[str, Any]], int]] = {
    "AutoencoderKL": lambda config: 2 ** (len(config["block_out_channels"]) - 1),
    "VQModel": lambda config: 2 ** (len(config["block_out_channels"]) - 1),
    "AutoencoderTiny": lambda config: 2 ** (len(config["num_encoder_blocks"]) - 1),
    "TAEF2": lambda config: 8,
}


def autoencoder_card(source: str) -> AutoencoderCard:
    """Find an autoencoder and describe it, without loading torch.

    source  a name of the catalogue, a hub id "org/name[@revision]", or a folder: of diffusers (config.json and
            diffusion_pytorch_model.safetensors, or a pipeline with these in vae/ or movq/), or of an imported TAEF2

    Raises WeightsError where weights are absent or damaged, of an architecture that is not known here, or of diffusers
    while diffusers is not installed.
    """
    folder, known = find_autoencoder(source)
    config = read_json(folder / "config.json")
    architecture = str(config.get("_class_name", "unknown"))
    if architecture not in _FACTORS:
        names = ", ".join(_FACTORS)
        described = f"{folder / 'config.json'} describes a model of class '{architecture}'"
        raise WeightsError(f"{described}, not one of {names}", GIVE_FOLDER)
    try:
        latent_channels, factor = int(config["latent_channels"]), _FACTORS[architecture](config)
        widths = list(map(int, config.get("block_out_channels", [config.get("width", 0)] * 4)))
    except (KeyError, TypeError, ValueError):
        raise WeightsError(f"{folder / 'config.json'} does not state the network's sizes", GIVE_FOLDER) from None
    if architecture != "TAEF2" and importlib.util.find_spec("diffusers") is None:
        raise WeightsError(f"{source} needs diffusers, which is not installed", INSTALL_DIFFUSION)
    if known and (known.architecture, known.latent_channels, known.factor) != (architecture, latent_channels, factor):
        known = None
    sha256 = weights_sha256(folder, stem=_stem(architecture))
    card = known or CataloguedAutoencoder(
        name=f"{architecture.lower()}-{latent_channels}x{factor}-{sha256[:8]}",
        architecture=architecture,
        latent_channels=latent_channels,
        factor=factor,
        licence="not stated",
        purpose="release" if widths in _PUBLISHED_WIDTHS else "test",
    )
    official = bool(card.expected_sha256 and sha256 == card.expected_sha256)
    evidence = evidence_of(sha256)
    found = {
        "source": source,
        "sha256": sha256,
        "config_sha256": hashlib.sha256((folder / "config.json").read_bytes()).hexdigest(),
        "evidence": "official weights" if official and evidence == "unverified weights" else evidence,
    }
    return AutoencoderCard(**(asdict(card) | found))


def find_autoencoder(source: str) -> tuple[Path, CataloguedAutoencoder | None]:
    """Return the folder of config.json and weights, and the catalogue's card where the source names one."""
    is_folder = bool(source) and Path(source).expanduser().is_dir()
    known = None if is_folder else AUTOENCODERS.get(source)
    for card in AUTOENCODERS.values():
        if not is_folder and card.hub_id and source.partition("@")[0] == card.hub_id:
            known = card
    if known is not None:
        hub_id = f"{known.hub_id}@{known.revision}" if known.hub_id and source == known.name else ""
        try:
            found = find_weights(
                source, stem=known.stem, subfolder=known.subfolder, hub_id=hub_id, option="--autoencoder"
            )
        except WeightsError as error:
            raise WeightsError(error.reason, IMPORT_TAEF2 if known.authors_files else error.fix) from None
        return found, known
    if is_folder:
        folder = Path(source).expanduser()
        inside = next((folder / name for name in _SUBFOLDERS if (folder / name).is_dir()), folder)
        config = inside / "config.json"
        ours = config.is_file() and read_json(config).get("_class_name") == "TAEF2"
        return find_weights(str(inside), stem="model" if ours else _STEM, option="--autoencoder"), None
    if not HUB_ID.fullmatch(source) and not (weights_home() / source).is_dir():
        hint = nearest(source, AUTOENCODERS)
        raise WeightsError(f"no autoencoder '{source}'{hint} (fdetect weights list)", GIVE_FOLDER)
    try:
        return find_weights(source, stem=_STEM, subfolder=_SUBFOLDERS[0], option="--autoencoder"), None
    except WeightsError as error:
        try:
            return find_weights(source, stem=_STEM, subfolder=_SUBFOLDERS[1], option="--autoencoder"), None
        except WeightsError:
            raise error from None


def _stem(architecture: str) -> str:
    return "model" if architecture == "TAEF2" else _STEM
