"""ForenSynths (CNNDetection) and the many sets that took over its folders 0_real and 1_fake."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fdetect.bench.layouts.base import FolderLayout, layout, split_first
from fdetect.types import FAKE, REAL, Record

__all__ = ["ForenSynths"]

_LSUN_CLASSES = frozenset((
    "airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
))  # fmt: skip

_WITH_CLASSES = frozenset(("progan", "cyclegan", "stylegan", "stylegan2"))  # generators with a class level below


@layout(name="forensynths")
@dataclass(frozen=True)
class ForenSynths(FolderLayout):
    """Folders 0_real and 1_fake below each generator: ForenSynths, and whoever took over its folders.

        [train|val|test/]
            <generator>/
                0_real/*            generator empty, real_source = <generator>
                1_fake/*            generator = <generator>
                <class>/            category = <class>
                    0_real/*
                    1_fake/*
            <LSUN class>/           in train and val alone: generator = "progan", category = <LSUN class>
                0_real/*
                1_fake/*
            0_real/*                generator = name of the folder that is read
            1_fake/*

    ForenSynths trains on ProGAN alone, so its train and val folders hold 20 LSUN classes and no generator level: a
    single level in train or val that bears the name of one of these classes is a class of ProGAN; any other name
    is a generator.  A folder that is read and is called progan, cyclegan, stylegan or stylegan2 is the generator
    itself, and the level in it the class.

    `group` is empty, so each image counts by itself.
    Beware: reals are published beside the fakes they are compared with and their origin is not in the tree, so that
    `real_source` names that set; some are the same files under two generators (CRN and IMLE): equal content is one
    group.

    Source: Wang et al. 2020, "CNN-generated images are surprisingly easy to spot ... for now", CVPR, data release.
    """

    title: ClassVar[str] = "ForenSynths"
    classes: ClassVar[dict[str, int]] = {"0_real": REAL, "1_fake": FAKE}

    def place(self, above: tuple[str, ...], label: int, below: tuple[str, ...], given: str) -> Record | None:
        """Place an image; None where more than a split, a generator and a class lie above 0_real or 1_fake."""
        if given.lower() in _WITH_CLASSES and len(above) == 1:  # ProGAN has a class called "train"
            above = (given, *above)
        split, names = split_first(above)
        if len(names) > 2:
            return None
        if len(names) == 1 and split in ("train", "val") and names[0].lower() in _LSUN_CLASSES:
            names = ("progan", *names)
        source = names[0] if names else given
        category = names[1] if len(names) == 2 else ""
        if label == REAL:
            return Record("", REAL, real_source=source, category=category, split=split)
        return Record("", FAKE, generator=source, category=category, split=split)
