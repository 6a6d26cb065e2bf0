"""CUDA twins: they compile without spills, equal the Numba twins where a graphics card is emulated, and on a real one.

The emulation (cuda_host) runs the very text of the kernels, the Python side of the twins and all maps and features on
arrays that behave like CuPy's (device_arrays).  It does not show two threads that write one place at once, functions
that CuPy lacks, or what a driver refuses; that takes the last section, which needs a card.
"""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cuda_host
import numpy as np
import pytest
from cuda_cases import CASES, assert_equal
from device_arrays import CUPY, MODULES, ndarray, waits
from test_contracts_features import batch_of, extremes, pictures
from tolerance import TOL

from fdetect.backend import asnumpy
from fdetect.errors import ParameterError
from fdetect.features import compute, feature
from fdetect.forensics import _cpu, _gpu, signal, signal_map
from fdetect.forensics._gpu import launch
from fdetect.forensics.planes import planes
from fdetect.forensics.residual import KERNELS

TWINS = sorted(name for name in vars(_cpu) if callable(getattr(_cpu, name)) and not name.startswith("_"))
SIZES = [(8, 8), (17, 23), (1, 40), (40, 1), (64, 64), (33, 300)]
needs_compiler = pytest.mark.skipif(cuda_host.COMPILER is None, reason="g++ is not on PATH")
needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not on PATH")

ON_HOST = ("error_level", "jpeg_ghosts")  # what Pillow or the file's facts decide


# --- the two packages, the texts -------------------------------------------------------------------------------


def test_both_packages_have_the_same_twins_with_the_same_signatures():
    for name in TWINS:
        assert hasattr(_gpu, name), f"{name} has no twin in _gpu"
        expected, given = (list(inspect.signature(getattr(home, name)).parameters.values()) for home in (_cpu, _gpu))
        assert [(p.name, p.kind, p.default) for p in given] == [(p.name, p.kind, p.default) for p in expected], name
    others = {name for name in vars(_gpu) if inspect.isfunction(getattr(_gpu, name))}
    assert others == set(TWINS)
    assert set(CASES) == set(TWINS)


def test_every_kernel_is_launched_by_its_room_and_every_text_belongs_to_one():
    folder = inspect.getfile(launch).rpartition("/")[0]
    texts = {path.stem for path in launch.Path(folder).glob("*.cu")}
    assert texts == {*launch.ROOMS, "common"}
    for room in launch.ROOMS:
        twin = (launch.Path(folder) / f"{room}.py").read_text(encoding="utf-8")
        for name in cuda_host.kernels(launch.source(room)):
            stem = re.sub(r"_(uint8|float32|float64)$", "_{", name)
            assert f'"{name}"' in twin or f'"{stem}' in twin, f"{room}.cu: {name} is never launched"


@needs_nvcc
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_kernels_compile_without_spills(architecture, tmp_path):
    def compile_room(room: str) -> str:
        code = tmp_path / f"{room}.cu"
        code.write_text(launch.source(room), encoding="utf-8")
        command = [
            "nvcc",
            f"-arch={architecture}",
            "-cubin",
            *launch.OPTIONS,
            "-Xptxas",
            "-v",
            "--Werror",
            "all-warnings",
        ]
        done = subprocess.run(
            [*command, "-o", str(code.with_suffix(".cubin")), str(code)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    with ThreadPoolExecutor(2) as pool:
        logs = dict(zip(launch.ROOMS, pool.map(compile_room, launch.ROOMS), strict=True))
    for room, log in logs.items():
        spills = [
            tuple(map(int, found)) for found in re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", log)
        ]
        assert len(spills) >= len(cuda_host.kernels(launch.source(room))), log
        assert set(spills) == {(0, 0)}, f"{room} spills registers:\n{log}"


# --- the same text on the processor ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> cuda_host.HostEngine:
    engine = cuda_host.HostEngine(tmp_path_factory.mktemp("kernels"))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(engine.module, launch.ROOMS))
    return engine


@pytest.fixture
def host(compiled: cuda_host.HostEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[cuda_host.HostEngine]:
    """Kernels run on the processor; few blocks, so that each of them takes several turns of its loop."""
    monkeypatch.setattr(launch, "engine", lambda: compiled)
    monkeypatch.setattr(launch, "_BLOCKS", 24)
    yield compiled
    launch._uploaded.cache_clear()


def on_device(name: str, call: tuple[Any, ...]) -> Any:
    """Call a twin with its arrays on the emulated device; small tables stay on the host, as callers leave them."""
    uploaded = [CUPY.asarray(part) if isinstance(part, np.ndarray) and part.ndim > 1 else part for part in call]
    result = getattr(_gpu, name)(*uploaded)
    for part, given in zip(call, uploaded, strict=True):
        kept = asnumpy(given) if part is not given else part
        assert not isinstance(part, np.ndarray) or np.array_equal(kept, part), f"{name} modifies what it reads"
    return tuple(map(asnumpy, result)) if isinstance(result, tuple) else asnumpy(result)


@needs_compiler
@pytest.mark.parametrize("name, size", [(n, s) for n in TWINS for s in SIZES if min(s) >= CASES[n][0]], ids=str)
def test_twin_equals_its_numba_twin(name, size, host):
    rgb8 = extremes(*size)
    for batch in (rgb8[:3], rgb8[3:]):
        for call in CASES[name][1](batch):
            assert_equal(on_device(name, call), getattr(_cpu, name)(*call), name)


@needs_compiler
@pytest.mark.parametrize("name", TWINS)
def test_twin_equals_its_numba_twin_on_a_crop_as_detectors_see_it(name, host):
    call = CASES[name][1](pictures(224, 224)[2:4])[0]
    assert_equal(on_device(name, call), getattr(_cpu, name)(*call), name)


@needs_compiler
@pytest.mark.parametrize("name", TWINS)
def test_result_is_bit_equal_whatever_the_batch_and_the_number_of_blocks(name, host, monkeypatch):
    least, calls = CASES[name]
    rgb8 = extremes(max(least, 40), 57)[[0, 2, 4]]
    some = [call for call in calls(rgb8) if call[0].ndim > 2]
    if not some:
        pytest.skip(f"{name} knows no batch")
    for call in some:
        whole = on_device(name, call)
        with monkeypatch.context() as patch:
            patch.setattr(launch, "_BLOCKS", 2)
            again = on_device(name, call)
        images = [part[2:] if isinstance(part, np.ndarray) and part.ndim > 2 else part for part in call]
        alone = on_device(name, tuple(images))
        for a, b, c in zip(
            *(part if isinstance(part, tuple) else (part,) for part in (whole, again, alone)), strict=True
        ):
            assert np.array_equal(a, b)
            assert np.array_equal(a[2:], c)


@needs_compiler
@pytest.mark.parametrize("entry", [*signal_map, *feature], ids=lambda e: f"{e.kind}-{e.name}")
def test_map_and_feature_take_arrays_of_a_device_and_leave_them_there(entry, host, monkeypatch):
    for name, module in MODULES.items():
        monkeypatch.setitem(sys.modules, name, module)
    batch = batch_of(pictures(64, 72))
    data = [signal(batch, name) for name in entry.reads]
    uploaded = [CUPY.asarray(part) if isinstance(part, np.ndarray) else part for part in data]
    waits.clear()
    result = entry(*uploaded)
    if entry.name not in ON_HOST:
        assert waits == [], "the host waits for the device"
        assert isinstance(result, ndarray) or not any(isinstance(part, ndarray) for part in uploaded)
    expected = compute(entry, batch) if entry.kind == "feature" else signal(batch, entry.name)
    np.testing.assert_allclose(asnumpy(result), expected, *TOL["float32"])


@needs_compiler
def test_all_kernels_were_launched(host):
    for name in TWINS:  # also where this test runs alone
        for call in CASES[name][1](extremes(34, 40)[:1]):
            on_device(name, call)
    kernels = {(room, name) for room in launch.ROOMS for name in cuda_host.kernels(launch.source(room))}
    assert host.launched == kernels


@needs_compiler
def test_empty_batches_have_results_of_the_right_shape(host):
    rgb8 = np.zeros((0, 40, 40, 3), np.uint8)
    assert on_device("gradient_sums", (rgb8,)).shape == (0, 3, 4, 8)
    assert on_device("npr", (planes(rgb8), 2)).shape == (0, 3, 40, 40)
    assert on_device("residual_moments", (planes(rgb8)[:, 0], (KERNELS["first"],), 1000)).shape == (0, 2, 2)


@needs_compiler
def test_what_a_kernel_cannot_hold_is_refused_in_words(host):
    rgb8 = CUPY.zeros((1, 40, 40, 3), np.uint8)
    with pytest.raises(ParameterError, match="a cell of at most 16 pixels on the GPU, got 20"):
        _gpu.patch_cells(rgb8, 20, np.zeros(6, np.int32))
    with pytest.raises(ParameterError, match="at most 97 weights on the GPU, got 99"):
        _gpu.separable_sums(CUPY.zeros((1, 8, 8)), np.ones(99))
    with pytest.raises(ParameterError, match="at most 65535 images or planes, got 65536"):
        launch.run("colour", "exposure_counts", (1, 65536))


@needs_compiler
def test_the_emulation_finds_a_missing_barrier_and_one_that_not_all_reach(tmp_path, monkeypatch):
    turned = (
        'extern "C" __global__ void turned(int* x) { __shared__ int s[64]; s[threadIdx.x] = x[threadIdx.x]; '
        "__syncthreads(); x[threadIdx.x] = s[63 - threadIdx.x]; }\n"
    )
    text = turned + turned.replace("turned", "racing").replace("__syncthreads();", "")
    text += 'extern "C" __global__ void stuck(int* x) { if (threadIdx.x < 5) return; __syncthreads(); }\n'
    text += 'extern "C" __global__ void outside(int* x) { x[64 + threadIdx.x] = 1; }\n'
    monkeypatch.setattr(launch, "source", lambda room: text)
    module = cuda_host.HostModule("broken", tmp_path, set())

    def run(name: str) -> np.ndarray:
        values = np.arange(64, dtype=np.int32)
        module.get_function(name)((1, 1, 1), (64, 1, 1), (ndarray(values),))
        return values

    assert np.array_equal(run("turned"), np.arange(64)[::-1])
    assert not np.array_equal(run("racing"), np.arange(64)[::-1])
    with pytest.raises(AssertionError, match="stuck: threads wait for each other"):
        run("stuck")
    with pytest.raises(AssertionError, match="outside writes behind an array"):
        run("outside")
    assert np.array_equal(run("turned"), np.arange(64)[::-1])  # and goes on working


# --- a real card -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cupy() -> Any:
    module = pytest.importorskip("cupy", reason="CuPy is not installed")
    if not module.cuda.is_available():
        pytest.skip("CuPy finds no CUDA device or driver")
    return module


@pytest.mark.parametrize("name", TWINS)
def test_twin_equals_its_numba_twin_on_the_gpu(name, cupy):
    for size in (17, 23), (64, 64), (224, 224), (512, 640):
        for call in CASES[name][1](extremes(*size)):
            uploaded = [cupy.asarray(part) if isinstance(part, np.ndarray) and part.ndim > 1 else part for part in call]
            assert_equal(getattr(_gpu, name)(*uploaded), getattr(_cpu, name)(*call), name)


@pytest.mark.parametrize("entry", [*signal_map, *feature], ids=lambda e: f"{e.kind}-{e.name}")
def test_map_and_feature_on_the_gpu_equal_those_of_numpy(entry, cupy):
    batch = batch_of(pictures(89, 121))
    data = [signal(batch, name) for name in entry.reads]
    uploaded = [cupy.asarray(part) if isinstance(part, np.ndarray) else part for part in data]
    result = asnumpy(entry(*uploaded))
    assert result.dtype == np.float32
    expected = compute(entry, batch) if entry.kind == "feature" else signal(batch, entry.name)
    np.testing.assert_allclose(result, expected, *TOL["float32"])
    if uploaded[0] is not data[0]:  # bit-equal whatever the batch
        assert np.array_equal(asnumpy(entry(*(part[3:] for part in uploaded))), result[3:])
