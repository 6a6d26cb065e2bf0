"""What a published figure is: a number with its source, the data that it rests on, and the way by which it is measured.

Reproduction = figure +- margin, of a `DataSet`, by a way:
    TrainingFree   a detector without training                         training_free.py
    Checkpoint     a published checkpoint, shown pictures as published  checkpoints.py
    Training       a network trained here on the published training set trained.py
    OnSpectra      heads on a published table of spectra                spectra.py
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from fdetect.images import Geometry
from fdetect.nets.cards import CARDS
from fdetect.nets.detector_cards import PUBLISHED, DetectorCard
from fdetect.registry import Registry
from fdetect.rigid import detector

__all__ = [
    "METRICS", "Checkpoint", "DataSet", "OnSpectra", "Reproduction", "Training", "TrainingFree", "Way", "plain",
    "reproduction",
]  # fmt: skip

reproduction = Registry("reproduction")  # functions without parameters that return a `Reproduction`

METRICS = {
    "auroc": "AUROC of each generator, mean over generators",
    "accuracy_95": "accuracy at the threshold that keeps 95 % of the reals, (0.95 + TPR at 5 % FPR) / 2, mean over "
    "generators",
    "ap_fake": "average precision with the fakes as the positive class, mean over generators",
    "accuracy_at_half": "accuracy at a probability of 0.5, of the images of each generator, mean over generators",
    "accuracy_of_repeats": "accuracy at the head's own boundary on the rows held out, mean over repeated splits",
}

Rows = tuple[tuple[str, str], ...]  # of a word and a sentence


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """What a figure rests on.

    generators   their names; empty where the source that was read does not name them
    fakes        images of each generator, and `reals` in all, 0 where the source does not say; more are welcome
    named        whether folders are called as `generators` are, by `plain`: all others are left out, absent ones told
    counts       images of each generator by such a name, where they differ
    layout       how `fdetect` reads them, and `source` where the user gets them
    own_reals    whether each generator is judged against the reals that are published with it, not against all
    split        the part that is tested; images without a split are tested too
    left_out     spellings of generators that are not tested, as those that were trained on
    table        whether it is a table of rows, of which `what` says all: there are no folders of generators
    """

    what: str
    generators: tuple[str, ...] = ()
    fakes: int = 0
    reals: int = 0
    named: bool = False
    counts: tuple[tuple[str, int], ...] = ()
    layout: str
    source: str
    own_reals: bool = False
    split: str = "test"
    left_out: tuple[str, ...] = ()
    table: bool = False

    def statement(self) -> Rows:
        """What is wanted, as pairs of a word and a sentence."""
        return ("data", self.what if self.table else self._images()), ("layout", self.layout), ("from", self.source)

    def _images(self) -> str:
        names = f"{len(self.generators)} generators: {', '.join(self.generators)}" if self.generators else (
            "generators: not named in the source that was read, so that a run can only be shown beside the figure"
        )  # fmt: skip
        each = ", ".join(f"{name} {n}" for name, n in self.counts)
        counts = f"images of each: {each}" if each else f"{self.fakes or 'all'} images of each"
        reals = f"{self.reals or 'all'} real images, each generator against all of them"
        if self.own_reals:
            many = ", as many" if self.counts else f", {self.reals} or more" if self.reals else ""
            reals = f"each generator against the reals published with it{many}"
        return f"{self.what}; {names}; {counts}; {reals}"


class Way(Protocol):
    """How a figure is measured."""

    @property
    def network(self) -> str:
        """Name of the weights that it rests on; "" for none."""

    def statement(self) -> Rows:
        """What it wants, as pairs of a word and a sentence."""


@dataclass(frozen=True)
class TrainingFree:
    """A training-free detector, as in `fdetect bench --detectors`, settings included; one without reference images."""

    detector: str

    @property
    def network(self) -> str:
        """The encoder that the figure was reached with; empty where the detector needs none."""
        return str(self.settings.get("encoder", ""))

    @property
    def settings(self) -> Mapping[str, Any]:
        """The detector's."""
        return detector.read(self.detector).settings

    def statement(self) -> Rows:
        """Detector and weights."""
        settings = (f"{k} {v}" for k, v in self.settings.items() if k != "encoder")
        return (("detector", f"{self.detector} ({', '.join(settings)})"), ("weights", encoder_weights(self.network)))


@dataclass(frozen=True)
class Checkpoint:
    """Weights that others trained, shown pictures as they were shown when the figure was measured.

    weights       a name of `fdetect weights list`, or of the weights home
    geometry      from the stored picture to what the network sees
    architecture  of `fdetect list networks`, where the weights are not published
    """

    weights: str
    geometry: Geometry
    architecture: str = ""

    @property
    def network(self) -> str:
        """The weights."""
        return self.weights

    def unlike(self, card: DetectorCard) -> str:
        """Say where weights that were given are not those of the figure; "" where nothing speaks against it."""
        name, known = card.name.partition(" ")[0], PUBLISHED.get(self.weights)
        if name in PUBLISHED and name != self.weights:
            return f"the weights are {name}, the figure was reached with {self.weights}"
        wanted = known.architecture if known else self.architecture
        if wanted and card.architecture != wanted:
            return f"the weights are of the network {card.architecture}, the figure was reached with {wanted}"
        return ""

    def statement(self) -> Rows:
        """Detector and weights."""
        known = PUBLISHED.get(self.weights)
        how = f"fdetect weights import {known.file} --as {known.name}" if known else "not published"
        return (
            ("detector", f"pretrained:weights={self.weights}"),
            ("weights", f"{self.weights} ({how}), or yours as --weights FOLDER"),
        )


@dataclass(frozen=True, kw_only=True)
class Training:
    """A network trained here on the published training set, then tested as `tested` says.

    network     of `fdetect list networks`, with its authors' optimiser and rates
    steps       of `batch` pictures: the authors' budget; `draws` crops of each picture are drawn from
    categories  of the training images that are used; empty: all
    generators  spellings of the training generators' names; empty: all
    images      how many training images of both classes the figure rests on, and `source` where they are
    resize      geometry before the random crop of `crop` px, and `tested` of tested pictures
    differs     what is known to be different from the authors' training
    """

    network: str
    steps: int
    batch: int = 32
    crop: int = 224
    draws: int = 1
    categories: tuple[str, ...] = ()
    generators: tuple[str, ...] = ()
    images: int
    source: str
    resize: Geometry
    tested: Geometry
    differs: str

    def statement(self) -> Rows:
        """Network, training set and budget."""
        only = f", categories {', '.join(self.categories)}" if self.categories else ""
        return (
            ("network", f"{self.network}, trained here from its first values; its authors' optimiser and rates"),
            ("training", f"split train{only}: {self.images} images; {self.source}"),
            ("budget", f"{self.steps} steps of {self.batch} pictures of {self.crop} px, for a GPU; fewer (--steps) "
             "are measured, and not comparable"),
            ("differs", self.differs),
        )  # fmt: skip


@dataclass(frozen=True)
class OnSpectra:
    """A head on a table of spectra: random splits, fitted on four fifths and tested on the rest.

    head     of `fdetect list heads`, with settings
    rows     of each class, and `bins` columns of a row
    repeats  number of random splits
    differs  what is known to be different from the authors' estimator
    """

    head: str
    rows: int
    bins: int
    repeats: int
    differs: str
    network = ""

    def statement(self) -> Rows:
        """Head and splits."""
        return (
            ("head", f"{self.head}; {self.repeats} random splits, 80 % fitted and 20 % tested"),
            ("differs", self.differs),
        )


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A published figure and everything that a comparison with it needs.

    way            how it is measured
    metric         one of METRICS, of all images at once, as papers do it
    figure         what was published, on the scale of 0..1, and `each` the same by generator where it was read
    margin         how far from it a measurement may be and still reach it, and `why` that far
    source         begins with a mark: C, P, T or U
    preprocessing  what happens to an image before the detector's own views
    """

    way: Way
    data: DataSet
    metric: str
    figure: float
    margin: float
    why: str
    source: str
    preprocessing: str
    note: str = ""
    each: tuple[tuple[str, float], ...] = ()

    def statement(self) -> Rows:
        """Everything that is wanted, as pairs of a word and a sentence."""
        rows = (
            ("figure", f"{self.figure:.4g} +- {self.margin:g} ({self.why})"),
            ("source", self.source),
            ("metric", METRICS[self.metric]),
            *self.way.statement(),
            *self.data.statement(),
            ("images", self.preprocessing),
            ("note", self.note),
        )
        return tuple(row for row in rows if row[1])


# what is left of other spellings of a generator's name, without case and signs -> its name here
_SPELT = {"sd4": "sd14", "sd5": "sd15", "mj": "midjourney", "adobefirefly": "firefly", "guideddiffusion": "adm",
          "vqdiffusion": "vqdm"}  # fmt: skip


def plain(name: str) -> str:
    """Return a generator's name in one spelling, without case and signs; mirrors of a data set have several.

    "SD 1.4", "sdv4", "stable_diffusion_v_1_4" and the folder of GenImage's archive, "imagenet_ai_0419_sdv4", are one.
    """
    bare = re.sub(r"^imagenet(ai\d{4})?(?=.)", "", re.sub(r"[\W_]", "", name.lower()))
    bare = re.sub(r"^(stablediffusion|sd)v?(?=\d|xl)", "sd", bare)
    return _SPELT.get(bare, bare)


def encoder_weights(name: str) -> str:
    """Say what is known of the weights of an encoder that a figure wants."""
    card = CARDS.get(name)
    if card is None:
        return name or "none"
    ways = [f"fdetect weights get {card.name}"]
    if card.authors_file:
        ways.append(f"fdetect weights import {card.authors_file} --as {card.name}")
    known = [f"{what} sha256 {digest}" for what, digest in (("model.safetensors", card.expected_sha256),
             (card.authors_file, card.authors_sha256)) if digest]  # fmt: skip
    return f"{card.name} ({' or '.join(ways)}); {'; '.join(known) or 'no hash of them could be verified'}"
