"""What a file says of itself, as numbers: features that see no pixel, for the bias audit and never for detection."""

from __future__ import annotations

import numpy as np

from fdetect.features.base import feature
from fdetect.types import Facts

__all__ = ["container", "dimensions", "file_bytes", "tables_exif"]

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")
_SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0", "4:4:0", "4:1:1")
_TABLE_COLUMNS = tuple(f"{name}{k}" for name in ("luma", "chroma") for k in range(64))


@feature(columns=("bytes", "bits_per_pixel"), family="probe")
def file_bytes(facts: tuple[Facts, ...]) -> np.ndarray:
    """Size of the encoded file, in bytes and in bits per pixel.

    (B,) Facts -> (B, 2) float32

        bits_per_pixel = 8 * bytes / (width * height)

    Source: the confounds listed by Grommelt et al. 2024, "Fake or JPEG?" (arXiv 2403.17608), section 3.
    """
    return _rows((f.bytes, 8 * f.bytes / max(f.width * f.height, 1)) for f in facts)


@feature(columns=("width", "height", "area", "aspect"), family="probe")
def dimensions(facts: tuple[Facts, ...]) -> np.ndarray:
    """Width, height, area and aspect ratio of the stored image, in pixels.

    (B,) Facts -> (B, 4) float32

        area = width * height,   aspect = width / height

    Source: the confounds listed by Grommelt et al. 2024, "Fake or JPEG?" (arXiv 2403.17608), section 3.
    """
    return _rows((f.width, f.height, f.width * f.height, f.width / max(f.height, 1)) for f in facts)


@feature(
    columns=(*(f.lower() for f in _FORMATS), "other", *_SUBSAMPLINGS, "progressive", "grey", "palette", "alpha"),
    family="probe",
)
def container(facts: tuple[Facts, ...]) -> np.ndarray:
    """File format, chroma subsampling, progressive coding and stored pixel type, one column each (0 or 1).

    (B,) Facts -> (B, 16) float32

        column = 1 where the file has the property, else 0

    Source: the confounds listed by Grommelt et al. 2024, "Fake or JPEG?" (arXiv 2403.17608), section 3.
    """
    return _rows(
        (
            *(f.format == name for name in _FORMATS),
            f.format not in _FORMATS,
            *(f.subsampling == name for name in _SUBSAMPLINGS),
            f.progressive,
            f.mode in ("L", "LA", "1"),
            f.mode in ("P", "PA"),
            f.mode in ("RGBA", "LA", "PA"),
        )
        for f in facts
    )


@feature(columns=(*_TABLE_COLUMNS, "tables", "exif_tags", "orientation"), family="probe")
def tables_exif(facts: tuple[Facts, ...]) -> np.ndarray:
    """JPEG quantisation tables (0 where there are none), number of tables and of EXIF tags, EXIF orientation.

    (B,) Facts -> (B, 131) float32

        luma_k, chroma_k = entry k of the first and second quantisation table, row by row

    Source: ITU-T T.81 (1992) section B.2.4.1 for the tables; EXIF 2.32 (CIPA DC-008) for the tags.
    """
    rows = []
    for f in facts:
        tables = np.zeros((2, 64))
        for k, table in enumerate(f.qtables[:2]):
            tables[k, : len(table)] = table
        rows.append((*tables.ravel(), len(f.qtables), len(f.exif), f.orientation))
    return _rows(rows)


def _rows(values: object) -> np.ndarray:
    return np.array(list(values), np.float32)  # type: ignore[call-overload]
