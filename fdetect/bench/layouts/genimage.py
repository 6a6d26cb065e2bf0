"""GenImage: a folder for each generator, with ai beside nature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fdetect.bench.layouts.base import SPLITS, FolderLayout, layout
from fdetect.types import FAKE, REAL, Record

__all__ = ["GenImage"]


@layout(name="genimage")
@dataclass(frozen=True)
class GenImage(FolderLayout):
    """Folders ai and nature below each generator of GenImage.

        <generator>/
            [<inner>/]              as unpacked (imagenet_ai_0508_adm); often removed, never read
                [train|val/]
                    ai/*            label 1, generator = <generator>
                    nature/*        label 0, real_source = "imagenet"

    The label comes from the name, in any case.  Where ai and nature lie directly in the folder that is read, its name
    is the generator.
    Beware: sorted order, which `ImageFolder` follows, would make ai 0 and nature 1: labels made in that way are
    flipped.  Reals are JPEG and fakes PNG, BigGAN's of 128 px; `nature` is drawn anew for each generator; some files
    of the release are damaged.

    Source: Zhu et al. 2023, "GenImage: a million-scale benchmark for detecting AI-generated image", NeurIPS.
    """

    title: ClassVar[str] = "GenImage"
    classes: ClassVar[dict[str, int]] = {"ai": FAKE, "nature": REAL}

    def place(self, above: tuple[str, ...], label: int, below: tuple[str, ...], given: str) -> Record | None:
        """Place an image; None where more than a generator and its inner folder lie above, beside the split."""
        splits = [SPLITS[name.lower()] for name in above if name.lower() in SPLITS]
        names = [name for name in above if name.lower() not in SPLITS]
        if len(names) > 2 or len(splits) > 1:
            return None
        split = splits[0] if splits else ""
        if label == REAL:
            return Record("", REAL, real_source="imagenet", split=split)
        return Record("", FAKE, generator=names[0] if names else given, split=split)
