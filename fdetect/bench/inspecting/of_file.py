"""What one file is and says of itself: its pixels and facts, JPEG history, metadata, credentials, thumbnails."""

from __future__ import annotations

from dataclasses import dataclass

from fdetect.bench.inspecting.jpeg_history import JpegHistory, jpeg_history
from fdetect.engine.sources import Reader
from fdetect.engine.work import content_id
from fdetect.errors import FdetectError
from fdetect.images import Decoded, decode, read_facts
from fdetect.metadata import Metadata, read_metadata
from fdetect.metadata.credentials import Credentials, read_credentials
from fdetect.metadata.thumbnails import Thumbnail, embedded_thumbnails
from fdetect.types import Facts, Failure

__all__ = ["OfFile", "read_file"]


@dataclass(frozen=True, eq=False)
class OfFile:
    """What could be found of a file; None where it could not be read at all.

    image    decoded, where that was asked for and can be done
    failure  why it could not be read or decoded
    """

    facts: Facts | None = None
    image: Decoded | None = None
    history: JpegHistory | None = None
    metadata: Metadata | None = None
    credentials: Credentials | None = None
    thumbnails: tuple[Thumbnail, ...] = ()
    failure: Failure | None = None


def read_file(reader: Reader, path: str, *, whole: bool) -> OfFile:
    """Read a file through a reader; `whole` also decodes it, and looks at its pixels for an earlier JPEG."""
    stage, id, found = "read", content_id(path.encode("utf-8", "backslashreplace")), OfFile()
    try:
        data = reader.read(path)
        id, stage = content_id(data), "decode"
        metadata = read_metadata(data)  # of a damaged image, too
        found = OfFile(metadata=metadata)
        facts = read_facts(data)
        found = OfFile(facts, metadata=metadata, credentials=read_credentials(data, facts.format))
        if not whole:
            return found
        image = decode(data)
        return OfFile(image.facts, image, jpeg_history(image), metadata, found.credentials,
                      embedded_thumbnails(data, image.pixels))  # fmt: skip
    except (FdetectError, OSError) as error:
        reason = " ".join(str(error).split())
        return OfFile(found.facts, None, None, found.metadata, found.credentials, (), Failure(id, path, stage, reason))
