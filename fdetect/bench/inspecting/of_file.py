"""What one file is and says of itself: its pixels and facts, JPEG history, metadata, credentials, thumbnails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from fdetect.bench.inspecting.jpeg_history import JpegHistory, jpeg_history
from fdetect.engine.sources import Reader
from fdetect.engine.work import content_id
from fdetect.errors import BackendError, FdetectError, ImageTooLarge, WeightsError
from fdetect.images import Decoded, decode, read_facts
from fdetect.metadata import Metadata, read_metadata
from fdetect.metadata.credentials import Credentials, read_credentials
from fdetect.metadata.thumbnails import Thumbnail, embedded_thumbnails
from fdetect.types import Facts, Failure

__all__ = ["OfFile", "Parts", "read_file", "said"]

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class OfFile:
    """What could be found of a file; None where it could not be read at all.

    id       of its content; "" where it could not be read
    image    decoded, where that was asked for and can be done
    failure  why it could not be read or decoded
    notices  which parts could not be read, and why
    """

    id: str = ""
    facts: Facts | None = None
    image: Decoded | None = None
    history: JpegHistory | None = None
    metadata: Metadata | None = None
    credentials: Credentials | None = None
    thumbnails: tuple[Thumbnail, ...] = ()
    failure: Failure | None = None
    notices: tuple[str, ...] = ()


def read_file(reader: Reader, path: str, *, whole: bool, anchors: str = "") -> OfFile:
    """Read a file through a reader; `whole` also decodes it, and looks at its pixels for an earlier JPEG.

    anchors  root certificates (PEM) that vouch for signers of Content Credentials

    A part that cannot be read is told in `notices`, and the others are read.
    """
    try:
        data = reader.read(path)
    except Exception as error:
        unread = content_id(path.encode("utf-8", "backslashreplace"))
        return OfFile(failure=Failure(unread, path, "read", said(error)))
    id, facts, image, failure = content_id(data), None, None, None
    try:
        facts = read_facts(data)
        image = decode(data) if whole else None
    except Exception as error:
        failure = Failure(id, path, "decode", said(error))
    part = Parts()
    metadata = part("its metadata", read_metadata, data)  # of a damaged image, too
    verify = partial(read_credentials, anchors=anchors)
    signed = part("its Content Credentials", verify, data, facts.format) if facts else None
    history = part("its JPEG history", jpeg_history, image) if image else None
    small = part("its thumbnails", embedded_thumbnails, data, image.pixels) if image else None
    return OfFile(id, image.facts if image else facts, image, history, metadata, signed, small or (), failure,
                  tuple(part.told))  # fmt: skip


@dataclass(frozen=True)
class Parts:
    """Runs what is found of one image part by part: of one that fails it is told why, and the others are found."""

    told: list[str] = field(default_factory=list)

    def __call__(self, name: str, find: Callable[..., T], *given: object) -> T | None:
        """Return find(*given), or None where it raises; see `said` for what is raised nevertheless."""
        try:
            return find(*given)
        except Exception as error:
            self.told.append(f"{name} could not be read: {said(error)}")
            return None


def said(error: Exception) -> str:
    """Return in one line what an error says of an image: whatever a codec or a reader raises on what nobody has seen.

    Raises it where it is of this machine and would come again with the next image: absent weights, no such backend.
    """
    if isinstance(error, WeightsError | BackendError) and not isinstance(error, ImageTooLarge):
        raise error
    text = str(error) if isinstance(error, FdetectError | OSError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())
