"""Where arrays live: the same numbers on NumPy and Torch, and a choice of backend that always has a reason."""

from __future__ import annotations

import cmath
import importlib.util
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from tolerance import TOL

from fdetect.backend import Backend, asnumpy, dct, namespace, resolve, rfft2
from fdetect.errors import BackendError, ParameterError

NO_CUPY = importlib.util.find_spec("cupy") is None

KINDS = [
    "numpy",
    pytest.param(
        "torch",
        marks=pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="the deep extra is not installed"),
    ),
]
SHAPES = [(8, 8), (7, 10), (3, 9, 6), (2, 2, 5, 4), (1, 1)]


def array_of(kind: str, array: np.ndarray):
    if kind == "numpy":
        return array
    import torch

    return torch.from_numpy(array.copy())


def random_array(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(dtype)


def naive_dct(signal: list[float]) -> list[float]:
    """X_k = c_k sum_n x_n cos(pi (2n + 1) k / 2N), c_0 = sqrt(1/N), c_k = sqrt(2/N)."""
    size = len(signal)
    result = []
    for k in range(size):
        total = 0.0
        for n, x in enumerate(signal):
            total += x * math.cos(math.pi * (2 * n + 1) * k / (2 * size))
        result.append(total * math.sqrt((1 if k == 0 else 2) / size))
    return result


def naive_dct_along(array: np.ndarray, axis: int) -> np.ndarray:
    moved = np.moveaxis(np.asarray(array, np.float64), axis, -1)
    lines = [naive_dct(list(line)) for line in moved.reshape(-1, moved.shape[-1])]
    return np.moveaxis(np.array(lines).reshape(moved.shape), -1, axis)


def naive_rfft2(image: np.ndarray) -> np.ndarray:
    height, width = image.shape
    result = np.zeros((height, width // 2 + 1), np.complex128)
    for u, v in np.ndindex(result.shape):
        total = 0j
        for y, x in np.ndindex(image.shape):
            total += float(image[y, x]) * cmath.exp(-2j * cmath.pi * (u * y / height + v * x / width))
        result[u, v] = total
    return result


def assert_near(got: np.ndarray, wanted: np.ndarray, dtype: str) -> None:
    """Within the tolerance of the dtype, relative to the largest value: a transform mixes all of them."""
    relative, absolute = TOL[dtype]
    assert np.abs(got - wanted).max() <= absolute + 4 * relative * np.abs(wanted).max()


# --- namespaces ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_one_text_computes_on_every_backend(kind: str) -> None:
    array = array_of(kind, np.arange(12, dtype=np.float32).reshape(3, 4))
    xp = namespace(array)
    result = xp.sum(xp.permute_dims(array, (1, 0)) ** 2, axis=-1)
    assert type(result) is type(array)
    assert asnumpy(result).tolist() == [80.0, 107.0, 140.0, 179.0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int64", "bool", "complex64"])
def test_asnumpy_keeps_the_dtype_and_the_values(kind: str, dtype: str) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    result = asnumpy(array_of(kind, array))
    assert type(result) is np.ndarray
    assert result.dtype == array.dtype
    assert np.array_equal(result, array)


def test_asnumpy_takes_a_tensor_that_has_a_gradient() -> None:
    torch = pytest.importorskip("torch", reason="the deep extra is not installed")
    assert asnumpy(torch.ones(2, requires_grad=True) * 2).tolist() == [2.0, 2.0]


def test_asnumpy_of_numpy_copies_nothing() -> None:
    array = np.zeros(3)
    assert asnumpy(array) is array


def test_the_cpu_backend_uploads_nothing() -> None:
    array = np.zeros(3)
    assert Backend("cpu", "asked for").asarray(array) is array


# --- transforms ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_dct_equals_the_loops(kind: str, dtype: str, shape: tuple[int, ...]) -> None:
    array = random_array(shape, dtype)
    given = array_of(kind, array)
    result = asnumpy(dct(given))
    assert (result.dtype, result.shape) == (array.dtype, array.shape)
    assert_near(result, naive_dct_along(naive_dct_along(array, -1), -2), dtype)
    assert np.array_equal(asnumpy(given), array)  # the input is as it was


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axes", [(-1,), (0,), (1, 2), (-1, -3), (0, 1, 2)])
def test_dct_goes_along_the_named_axes_alone(kind: str, axes: tuple[int, ...]) -> None:
    array = random_array((3, 5, 4), "float64")
    wanted = array
    for axis in axes:
        wanted = naive_dct_along(wanted, axis)
    assert_near(asnumpy(dct(array_of(kind, array), axes=axes)), wanted, "float64")


@pytest.mark.parametrize("kind", KINDS)
def test_dct_known_answers(kind: str) -> None:
    constant = asnumpy(dct(array_of(kind, np.full((1, 8, 8), 3.0))))[0]
    assert constant[0, 0] == pytest.approx(24.0, rel=1e-12)  # 3 * sqrt(64): the basis is orthonormal
    constant[0, 0] = 0
    assert np.abs(constant).max() < 1e-12
    array = random_array((4, 8, 8), "float64")
    assert (asnumpy(dct(array_of(kind, array))) ** 2).sum() == pytest.approx((array**2).sum(), rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_rfft2_equals_the_loops(kind: str, dtype: str, shape: tuple[int, ...]) -> None:
    array = random_array(shape, dtype)
    given = array_of(kind, array)
    result = asnumpy(rfft2(given))
    assert result.dtype == {"float32": np.complex64, "float64": np.complex128}[dtype]
    assert result.shape == (*shape[:-1], shape[-1] // 2 + 1)
    images, spectra = array.reshape(-1, *shape[-2:]), result.reshape(-1, *result.shape[-2:])
    for image, spectrum in zip(images, spectra, strict=True):
        assert_near(spectrum, naive_rfft2(image), dtype)
    assert np.array_equal(asnumpy(given), array)


@pytest.mark.parametrize("kind", KINDS)
def test_transforms_of_an_image_do_not_depend_on_its_batch(kind: str) -> None:
    batch = random_array((5, 16, 12), "float32")
    for transform in (rfft2, dct):
        whole = asnumpy(transform(array_of(kind, batch)))
        for k in range(5):
            assert_near(asnumpy(transform(array_of(kind, batch[k : k + 1]))), whole[k : k + 1], "float32")


def test_numpy_and_torch_agree() -> None:
    pytest.importorskip("torch", reason="the deep extra is not installed")
    array = random_array((2, 40, 33), "float32")
    for transform in (rfft2, dct):
        assert_near(asnumpy(transform(array_of("torch", array))), transform(array), "float32")


# --- the choice ---------------------------------------------------------------------------------------------------


def test_cpu_is_taken_when_asked_for() -> None:
    assert resolve("cpu") == Backend("cpu", "asked for")


@pytest.mark.skipif(not NO_CUPY, reason="CuPy is installed")
def test_gpu_without_cupy_is_an_error_with_the_reason_and_the_fix() -> None:
    with pytest.raises(BackendError) as caught:
        resolve("gpu")
    assert str(caught.value) == "backend gpu cannot run: CuPy is not installed (pip install 'fdetect[gpu]')"


@pytest.mark.skipif(not NO_CUPY, reason="CuPy is installed")
def test_auto_falls_back_with_a_reason() -> None:
    assert resolve() == Backend("cpu", "auto: CuPy is not installed (pip install 'fdetect[gpu]')")


def test_auto_never_fails() -> None:
    backend = resolve("auto")
    assert backend.name in ("cpu", "gpu")
    assert backend.reason.startswith("auto: ")


@pytest.mark.skipif(NO_CUPY, reason="CuPy is not installed")
def test_gpu_runs_or_says_why_not() -> None:
    if resolve("auto").name == "cpu":
        with pytest.raises(BackendError, match=r"^backend gpu cannot run: CuPy .*$"):
            resolve("gpu")
        return
    backend = resolve("gpu")
    array = random_array((2, 9, 8), "float32")
    uploaded = backend.asarray(array)
    assert np.array_equal(asnumpy(uploaded), array)
    for transform in (rfft2, dct):
        assert_near(asnumpy(transform(uploaded)), transform(array), "float32")


def test_a_cupy_that_does_not_load_is_a_reason_and_no_crash(tmp_path) -> None:
    package = tmp_path / "cupy"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('libcublas.so.13: cannot open\\nsecond line')\n")
    script = """
from fdetect.backend import resolve
from fdetect.errors import BackendError
print(resolve().name, resolve().reason)
try:
    resolve("gpu")
except BackendError as error:
    print(error)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "cpu auto: CuPy failed: libcublas.so.13: cannot open",
        "backend gpu cannot run: CuPy failed: libcublas.so.13: cannot open",
    ]


def test_the_environment_replaces_auto_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FDETECT_BACKEND", "cpu")
    assert resolve() == Backend("cpu", "asked for")
    monkeypatch.setenv("FDETECT_BACKEND", "")
    assert resolve().reason.startswith("auto: ")  # an empty variable is an absent one
    monkeypatch.setenv("FDETECT_BACKEND", "gpu")
    assert resolve("cpu") == Backend("cpu", "asked for")  # an option wins over the environment
    if NO_CUPY:
        with pytest.raises(BackendError, match="backend gpu cannot run"):
            resolve()


def test_unknown_names_say_where_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ParameterError, match=r"^backend is one of auto, cpu, gpu; got 'cuda'$"):
        resolve("cuda")
    monkeypatch.setenv("FDETECT_BACKEND", "tpu")
    with pytest.raises(ParameterError, match=r"^\$FDETECT_BACKEND is one of auto, cpu, gpu; got 'tpu'$"):
        resolve()
