"""What every map and every feature of the registries must keep, built-in or not, whatever it computes."""

from __future__ import annotations

import importlib
import pkgutil
import re

import naive
import numpy as np
import pytest
from tolerance import TOL

import fdetect.features
import fdetect.forensics
from fdetect.backend import asnumpy
from fdetect.errors import DataError
from fdetect.features import PRESETS, column_names, compute, feature
from fdetect.forensics import signal, signal_map
from fdetect.forensics.base import GIVEN
from fdetect.registry import Entry
from fdetect.types import Batch, Facts

SIZES = [(64, 64), (89, 121), (40, 33)]
FEATURES = {entry.name: entry for entry in feature}
MAPS = {entry.name: entry for entry in signal_map}

every_feature = pytest.mark.parametrize("name", FEATURES)
every_map = pytest.mark.parametrize("name", MAPS)
every_entry = pytest.mark.parametrize("entry", [*MAPS.values(), *FEATURES.values()], ids=lambda e: f"{e.kind}-{e.name}")


def pictures(height: int, width: int) -> np.ndarray:
    """Black, mid-grey, noise, a smooth scene with grain, saturated stripes: (5, H, W, 3) uint8."""
    rng = np.random.default_rng(height * 1000 + width)
    y, x = np.mgrid[:height, :width][..., None]
    scene = 120 + 90 * np.sin(x / 9 + np.arange(3)) * np.cos(y / 13) + rng.normal(0, 3, (height, width, 3))
    return np.stack([
        np.zeros((height, width, 3), np.uint8),
        np.full((height, width, 3), (77, 130, 201), np.uint8),
        rng.integers(0, 256, (height, width, 3), np.uint8),
        np.clip(scene, 0, 255).astype(np.uint8),
        np.broadcast_to(np.where(x % 3 == 0, 255, 0), (height, width, 3)).astype(np.uint8),
    ])  # fmt: skip


def extremes(height: int, width: int) -> np.ndarray:
    """Noise, a constant, a gradient, a checkerboard, saturation: (5, H, W, 3) uint8, of any size."""
    rng = np.random.default_rng(height * 1000 + width)
    y, x = np.mgrid[:height, :width][..., None]
    ones = np.ones((height, width, 3))
    gradient = (5 * x + 3 * y + 7 * np.arange(3)) % 256 * ones
    board = (x + y) % 2 * (200, 120, 255) * ones
    saturated = np.where(rng.random((height, width, 3)) < 0.5, 0, 255)
    kinds = [rng.integers(0, 256, (height, width, 3)), 77 * ones, gradient, board, saturated]
    return np.stack(kinds).astype(np.uint8)


def batch_of(rgb8: np.ndarray) -> Batch:
    """Wrap pictures with facts that follow from the picture, so that a reordered batch reorders its facts."""
    facts = []
    for image in rgb8:
        pixel = image[len(image) // 2, 0]
        kind = int(pixel[0]) % 3
        facts.append(
            Facts(
                format=("JPEG", "PNG", "WEBP")[kind],
                width=rgb8.shape[2],
                height=rgb8.shape[1],
                bytes=1000 + int(pixel.sum()),
                subsampling=("4:2:0", "", "")[kind],
                qtables=(tuple(range(1, 65)), (3,) * 64)[: 2 - kind],
                exif=(("Make", "x"),) * kind,
            )
        )
    return Batch(tuple(f"{i:032x}" for i in range(len(rgb8))), rgb8, tuple(facts))


def read(entry: Entry, batch: Batch) -> list[object]:
    return [signal(batch, name) for name in entry.reads]


def reference(entry: Entry, batch: Batch) -> np.ndarray:
    """Compute an entry by tests/naive.py from what the entry reads, so that each map is judged on its own."""
    named = zip(entry.reads, read(entry, batch), strict=True)
    data = [part if name in GIVEN else np.float64(part) for name, part in named]
    return np.asarray(getattr(naive, entry.target.__name__)(*data, **entry.settings))


@pytest.mark.parametrize("size", SIZES, ids=str)
@every_feature
def test_feature_fills_the_columns_it_declares_with_finite_float32(name, size):
    entry, batch = FEATURES[name], batch_of(pictures(*size))
    columns = column_names(entry)
    values = compute(entry, batch)
    assert len(set(columns)) == len(columns)
    assert all(re.fullmatch(rf"{name}:[\w.:-]+", column) for column in columns)
    assert values.shape == (len(batch), len(columns))
    assert values.dtype == np.float32
    assert np.isfinite(values).all()


@pytest.mark.parametrize("size", SIZES, ids=str)
@every_map
def test_map_is_finite_float32_with_one_entry_per_image(name, size):
    batch = batch_of(pictures(*size))
    values = signal(batch, name)
    assert len(values) == len(batch)
    assert values.dtype == np.float32
    assert values.flags.c_contiguous
    assert np.isfinite(values).all()


@pytest.mark.parametrize("size", [(64, 64), (89, 121)], ids=str)
@every_entry
def test_result_is_bit_equal_whatever_the_batch_and_its_order(entry, size):
    rgb8, order = pictures(*size), [3, 0, 4, 2, 1]

    def run(images: np.ndarray) -> np.ndarray:
        batch = batch_of(np.ascontiguousarray(images))
        return compute(entry, batch) if entry.kind == "feature" else signal(batch, entry.name)

    whole = run(rgb8)
    assert np.array_equal(run(rgb8[order]), whole[order])
    assert np.array_equal(run(rgb8[1:4]), whole[1:4])
    assert np.array_equal(np.concatenate([run(rgb8[i : i + 1]) for i in range(len(rgb8))]), whole)


@every_entry
def test_function_takes_a_whole_batch_as_well_as_one_image(entry):
    batch = batch_of(pictures(40, 33))  # other backends call it so
    one_by_one = compute(entry, batch) if entry.kind == "feature" else signal(batch, entry.name)
    whole = entry(*read(entry, batch))
    assert whole.dtype == np.float32
    np.testing.assert_allclose(whole, one_by_one, *TOL["float32"])


@every_feature
def test_a_view_gives_the_bits_of_its_copy_and_no_image_no_row(name):
    entry, wide = FEATURES[name], pictures(64, 80)
    views = [wide[:, 4:60, 8:72], wide[:, ::-1], wide[..., ::-1]]
    for view in views:
        expected = compute(entry, batch_of(np.ascontiguousarray(view)))
        assert np.array_equal(compute(entry, batch_of(view)), expected)
    assert compute(entry, batch_of(wide[:0])).shape == (0, len(column_names(entry)))


@every_entry
def test_nothing_that_is_read_is_modified(entry):
    batch = batch_of(pictures(40, 33))
    before = [np.copy(part) for part in read(entry, batch) if isinstance(part, np.ndarray)]
    entry(*read(entry, batch))
    after = [part for part in read(entry, batch) if isinstance(part, np.ndarray)]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("size, chosen", [((33, 40), [3]), ((25, 18), [1, 2, 4])], ids=["33x40", "25x18"])
@every_entry
def test_result_is_that_of_the_naive_reference(entry, size, chosen):
    batch = batch_of(pictures(*size)[chosen])
    assert hasattr(naive, entry.target.__name__), f"tests/naive.py has no {entry.target.__name__}"
    values = compute(entry, batch) if entry.kind == "feature" else signal(batch, entry.name)
    expected = reference(entry, batch)
    assert values.shape == expected.shape
    np.testing.assert_allclose(values, expected, *TOL["float32"])


@pytest.mark.parametrize("size", [(8, 8), (17, 23), (1, 40), (40, 1), (3, 5)], ids=str)
@every_entry
def test_any_size_and_content_is_computed_as_the_reference_does_or_refused_in_one_sentence(entry, size):
    batch = batch_of(extremes(*size))
    try:
        values = compute(entry, batch) if entry.kind == "feature" else signal(batch, entry.name)
    except DataError as error:
        assert re.fullmatch(r"\w+ needs images of at least \d+ x \d+ pixels, got .*: take a larger crop .*", str(error))
        return
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    np.testing.assert_allclose(values, reference(entry, batch), *TOL["float32"])


@pytest.mark.parametrize("size", [None, (8, 8), (17, 23), (1, 40)], ids=str)
@every_entry
def test_torch_gives_what_numpy_gives(entry, size):
    torch = pytest.importorskip("torch", reason="the deep extra is not installed")
    batch = batch_of(extremes(*size) if size else pictures(40, 33))
    other = Batch(batch.ids, torch.from_numpy(batch.rgb8.copy()), batch.facts)

    def run(images: Batch) -> np.ndarray:
        return compute(entry, images) if entry.kind == "feature" else asnumpy(signal(images, entry.name))

    try:
        expected = run(batch)
    except DataError as error:
        with pytest.raises(DataError, match=re.escape(str(error))):
            run(other)
        return
    values = run(other)
    assert values.dtype == expected.dtype
    np.testing.assert_allclose(values, expected, *TOL["float32"])


@every_entry
def test_docstring_has_sentence_shapes_formula_and_source(entry):
    summary, _, rest = entry.doc.partition("\n")
    assert summary.endswith(".")
    assert re.search(r"^\S*.*\(B,.*->.*\(B, .*float32", rest, re.MULTILINE), "no line of shapes"
    assert re.search(r"^    .*=", rest, re.MULTILINE), "no indented formula"
    assert re.search(r"^Source: \S", rest, re.MULTILINE), "no source"
    for setting in entry.settings:
        assert setting in rest, f"the setting {setting} is not explained"


@every_entry
def test_summary_fits_one_line_of_the_list(entry):
    assert 20 < len(entry.summary) <= 120


def test_no_preset_holds_a_probe_and_every_preset_exists():
    for name, members in PRESETS.items():
        assert members, name
        assert all(FEATURES[member].family != "probe" for member in members)


@pytest.mark.parametrize("package", [fdetect.forensics, fdetect.features], ids=lambda p: p.__name__)
def test_importing_the_package_registers_every_module(package):
    here = {entry.target.__module__ for entry in [*MAPS.values(), *FEATURES.values()]}
    for module in pkgutil.iter_modules(package.__path__):
        path = f"{package.__name__}.{module.name}"
        source = importlib.util.find_spec(path)
        assert source is not None
        assert source.origin is not None
        with open(source.origin, encoding="utf-8") as file:
            decorated = re.search(r"^@(signal_map|feature)\b", file.read(), re.MULTILINE)
        assert not decorated or path in here, f"{path} registers something and is not imported by {package.__name__}"
