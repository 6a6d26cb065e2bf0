"""Run the CUDA kernels of fdetect/forensics/_gpu on the processor: `HostEngine` in place of `launch.engine()`.

The text of a room is compiled by g++ against cuda_host.h, with one typed entry for each kernel made from its own
signature.  Arguments are held to that signature as CuPy does not: dtype, number, contiguity.  Arrays are those of
device_arrays and are handed over in the middle of poisoned memory, so that writing beyond one does not go unnoticed.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import device_arrays
import numpy as np

from fdetect.forensics._gpu import launch

COMPILER = shutil.which("g++")
KERNEL = re.compile(r'extern "C" __global__ void (\w+)\(([^)]*)\)\s*\{')
DTYPES = {
    "u8": "uint8", "u16": "uint16", "u32": "uint32", "int": "int32", "i64": "int64", "float": "float32",
    "double": "float64",
}  # fmt: skip
GUARD = 4096  # bytes of poison on each side of an array
POISON = device_arrays.POISON


def kernels(text: str) -> dict[str, list[tuple[str, bool, str]]]:
    """Return (dtype, is it a pointer, name) of every parameter of every kernel."""
    found = {}
    for name, parameters in KERNEL.findall(text):
        found[name] = []
        for parameter in parameters.replace("const ", "").replace("__restrict__", "").split(","):
            kind, own = parameter.replace("*", " * ").split()[0], parameter.split()[-1].lstrip("*")
            found[name].append((DTYPES[kind], "*" in parameter, own))
    return found


class HostEngine:
    """The engine of `launch` on the processor."""

    def __init__(self, folder: Path) -> None:
        self.arrays = device_arrays.CUPY
        self.launched: set[tuple[str, str]] = set()
        self._folder = folder
        self._modules: dict[str, HostModule] = {}

    def device(self) -> int:
        return 0

    def module(self, room: str) -> HostModule:
        if room not in self._modules:
            self._modules[room] = HostModule(room, self._folder, self.launched)
        return self._modules[room]


class HostModule:
    """A room, compiled for the processor; `get_function` as in CuPy's RawModule."""

    def __init__(self, room: str, folder: Path, launched: set[tuple[str, str]]) -> None:
        self.room, self._launched, self._count = room, launched, 0
        text = launch.source(room)
        self._kernels = kernels(text)
        entries = []
        for name, parameters in KERNEL.findall(text):
            names = ", ".join(own for _, _, own in self._kernels[name])
            start = f'extern "C" int host_{name}(const unsigned* grid_, const unsigned* block_, unsigned seed_, '
            run = f"return host::launch(grid_, block_, seed_, [&] {{ {name}({names}); }});"
            entries.append(f"{start}{parameters}) {{ {run} }}")
        code, library = folder / f"{room}.cu", folder / f"{room}.so"
        code.write_text("\n".join([text, *entries]), encoding="utf-8")
        header = Path(__file__).with_name("cuda_host.h")
        options = ["-std=c++20", "-O2", "-w", "-shared", "-fPIC", "-ffp-contract=off", "-U_FORTIFY_SOURCE"]
        command = [str(COMPILER), *options, "-x", "c++", "-include", str(header), str(code), "-o", str(library)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        self._library = ctypes.CDLL(str(library))

    def get_function(self, name: str) -> Any:
        return lambda grid, block, arguments: self._call(name, grid, block, arguments)

    def _call(self, name: str, grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
        parameters = self._kernels[name]
        assert len(arguments) == len(parameters), f"{name} takes {len(parameters)} arguments"
        assert len(grid) == len(block) == 3
        assert grid[1] <= 65535
        assert grid[2] <= 65535
        values, guarded = [], []
        for argument, (dtype, pointer, own) in zip(arguments, parameters, strict=True):
            assert pointer == isinstance(argument, device_arrays.ndarray), f"{name}: {own}"
            value = argument.host if pointer else argument
            assert value.dtype == dtype, f"{name}: {own} is {dtype}, got {value.dtype}"
            if not pointer:
                values.append(np.ctypeslib.as_ctypes_type(value.dtype)(value.item()))
            elif value.flags.c_contiguous:
                guarded.append((value, _guarded(value)))
                values.append(ctypes.c_void_p(guarded[-1][1].ctypes.data + GUARD))
            else:  # a view that brings its strides along
                values.append(ctypes.c_void_p(value.ctypes.data))
        self._count += 1
        self._launched.add((self.room, name))
        shape = [(ctypes.c_uint * 3)(*sides) for sides in (grid, block)]
        status = getattr(self._library, f"host_{name}")(*shape, ctypes.c_uint(self._count), *values)
        assert status == 0, f"{name}: {('', 'threads wait for each other', 'such a block cannot run')[status]}"
        for array, memory in guarded:
            assert (memory[:GUARD] == POISON).all(), f"{name} writes before an array"
            assert (memory[GUARD + array.nbytes :] == POISON).all(), f"{name} writes behind an array"
            if array.flags.writeable:
                array.reshape(-1).view(np.uint8)[:] = memory[GUARD : GUARD + array.nbytes]


def _guarded(array: np.ndarray) -> np.ndarray:
    memory = np.full(array.nbytes + 2 * GUARD, POISON, np.uint8)
    memory[GUARD : GUARD + array.nbytes] = array.reshape(-1).view(np.uint8)
    return memory
