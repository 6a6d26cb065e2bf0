"""Plain references of the features that read what a file says of itself; nothing of fdetect is imported."""

from __future__ import annotations

import numpy as np


def file_bytes(facts):
    return np.array([[f.bytes, f.bytes * 8 / (f.width * f.height)] for f in facts], np.float64)


def dimensions(facts):
    return np.array([[f.width, f.height, f.width * f.height, f.width / f.height] for f in facts], np.float64)


def container(facts):
    formats, samplings = ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"], ["4:4:4", "4:2:2", "4:2:0", "4:4:0", "4:1:1"]
    rows = []
    for f in facts:
        row = [f.format == name for name in formats] + [f.format not in formats]
        row += [f.subsampling == name for name in samplings] + [f.progressive]
        rows.append([*row, f.mode in ("L", "LA", "1"), f.mode in ("P", "PA"), f.mode in ("RGBA", "LA", "PA")])
    return np.array(rows, np.float64)


def tables_exif(facts):
    rows = []
    for f in facts:
        entries = [f.qtables[k][i] if k < len(f.qtables) else 0 for k in (0, 1) for i in range(64)]
        rows.append([*entries, len(f.qtables), len(f.exif), f.orientation])
    return np.array(rows, np.float64)
