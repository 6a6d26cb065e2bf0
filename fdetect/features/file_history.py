"""What a file says of how it was stored: JPEG tables and EXIF tags; family `provenance`, which see."""

from __future__ import annotations

import functools

import numpy as np

from fdetect.features.base import feature
from fdetect.images import jpeg_quality
from fdetect.types import Facts

__all__ = ["exif_facts", "jpeg_quality_tables"]

_SAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")
_EXIF = {
    "make": ("Make",),
    "model": ("Model",),
    "software": ("Software",),
    "date_time": ("DateTime",),
    "exposure": ("ExposureTime", "ExifOffset"),  # the pointer to the directory of camera settings
    "gps": ("GPSInfo",),
}


@feature(
    columns=(
        *("tables", "luma_quality", "luma_standard", "luma_mean", "chroma_quality", "chroma_standard", "chroma_mean"),
        *("chroma_to_luma", "sampling_444", "sampling_422", "sampling_420", "sampling_other", "progressive"),
    ),
    family="provenance",
)
def jpeg_quality_tables(facts: tuple[Facts, ...]) -> np.ndarray:
    """JPEG tables: nearest IJG quality of luma and chroma, whether it is met exactly, mean entries, subsampling.

    (B,) Facts -> (B, 13) float32; all 0 where the file has no quantisation table

        quality = argmin_q sum_k |T[k] - IJG_q[k]|,   standard = 1 where that sum is 0,   mean = sum_k T[k] / 64
        IJG_q[k] = clip((base[k] s + 50) // 100, 1, 255),   s = 5000 // q below q = 50, else 200 - 2q

    The lowest quality is taken where several are as near.  `chroma_to_luma` is the ratio of the means; columns of
    chroma are 0 where there is but one table.

    Source: ITU-T T.81 (1992), Tables K.1 and K.2, scaled as libjpeg's jcparam.c does; what encoders write other than
    that: Kornblum 2008, "Using JPEG quantization tables to identify imagery processed by software", Digital
    Investigation 5, S21-S25.
    """
    rows = []
    for f in facts:
        tables = [table for table in f.qtables[:2] if len(table) == 64]
        row = [float(len(tables))]
        for k, estimate in enumerate((_luma_quality, _chroma_quality)):
            row += (*estimate(tables[k]), sum(tables[k]) / 64) if k < len(tables) else (0.0, 0.0, 0.0)
        row.append(row[6] / row[3] if row[3] else 0.0)
        row += [f.subsampling == name for name in _SAMPLINGS]
        row += [f.subsampling not in ("", *_SAMPLINGS), f.progressive]
        rows.append(row)
    return np.array(rows, np.float32)


@feature(columns=(*_EXIF, "tags", "orientation"), family="provenance")
def exif_facts(facts: tuple[Facts, ...]) -> np.ndarray:
    """EXIF facts: which groups of tags a file has, how many tags, and its orientation; never what a tag says.

    (B,) Facts -> (B, 8) float32

        column = 1 where one of its tags is there, else 0;   tags = ln(1 + number of tags of the main directory)

    `exposure` is the exposure time or the directory of camera settings, `gps` the directory of positions.
    `orientation` is 1..8, and 1 where none is stated.  Values of tags, which may name a person, a place or a single
    camera, are not read.

    Source: EXIF 2.32 (CIPA DC-008-2019), sections 4.6.2 to 4.6.4.
    """
    rows = []
    for f in facts:
        names = {name for name, _ in f.exif}
        present = [any(tag in names for tag in tags) for tags in _EXIF.values()]
        rows.append([*present, np.log1p(len(f.exif)), f.orientation])
    return np.array(rows, np.float32)


def _luma_quality(table: tuple[int, ...]) -> tuple[int, bool]:
    return jpeg_quality((table,)) or (0, False)


def _chroma_quality(table: tuple[int, ...]) -> tuple[int, bool]:
    distance = np.abs(_ijg_chroma_tables() - np.asarray(table)).sum(axis=1)
    best = int(distance.argmin())
    return best + 1, bool(distance[best] == 0)


@functools.cache
def _ijg_chroma_tables() -> np.ndarray:
    """Return T.81 Table K.2 at qualities 1..100: (100, 64) int64."""
    base = np.full((8, 8), 99)
    base[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.asarray(np.clip((base.ravel() * scale[:, None] + 50) // 100, 1, 255))
