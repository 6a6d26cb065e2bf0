"""The files of the built-in benchmark: a PNG of the same bytes on every machine, and folders that are whole or absent.

All images are PNGs of one length without compression, so neither bytes nor container tell the classes apart; the
encoder is a few lines below so that file bytes, hence content hashes and the crops that follow from them, are also
equal on every machine.
"""

from __future__ import annotations

import os
import secrets
import shutil
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

__all__ = ["png", "write_folder"]


def png(pixels: np.ndarray) -> bytes:
    """Encode (H, W, 3) uint8 as a PNG with stored, not compressed, data: one length for one size, always.

    Source: PNG specification (W3C, third edition) sections 5 and 11; stored blocks of RFC 1951, section 3.2.4.
    """
    height, width, _ = pixels.shape
    no_filter = np.zeros((height, 1), np.uint8)  # PNG puts one filter byte before each line
    data = np.concatenate((no_filter, pixels.reshape(height, width * 3)), axis=1).tobytes()
    stored = b""
    for start in range(0, len(data), 65535):
        block, last = data[start : start + 65535], start + 65535 >= len(data)
        stored += struct.pack("<BHH", last, len(block), len(block) ^ 65535) + block
    stream = b"\x78\x01" + stored + struct.pack(">I", zlib.adler32(data))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB, not interlaced
    chunks = ((b"IHDR", header), (b"IDAT", stream), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def write_folder(root: Path, files: Mapping[str, bytes]) -> None:
    """Write what is missing or damaged; a folder that does not exist yet is filled aside and then renamed.

    files  contents by path below `root`; nothing else there is touched, and each file is replaced whole
    """
    token = f"{os.getpid()}-{secrets.token_hex(4)}"
    if not root.exists():
        aside = root.with_name(f".{root.name}-{token}")
        try:
            _write_files(aside, files, token)
            os.replace(aside, root)
            return
        except OSError:
            if not root.is_dir():  # otherwise another process was first: look through what it wrote
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    _write_files(root, files, token)


def _write_files(folder: Path, files: Mapping[str, bytes], token: str) -> None:
    for name, data in files.items():
        path = folder / name
        if path.is_file() and path.read_bytes() == data:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}-{token}")
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
