"""Traces of file and camera history: answers known in closed form, real files, and the rules that keep them apart."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pytest
from PIL import ExifTags, Image

from fdetect.bench import steps
from fdetect.bench.contenders import head_sets
from fdetect.bench.run import bench
from fdetect.bench.training import fitting
from fdetect.config import RunConfig, override
from fdetect.errors import DataError, ParameterError, UnknownName
from fdetect.features import PRESETS, column_names, compute, feature, select_features
from fdetect.features.base import require_native
from fdetect.features.provenance import cfa_periodicity, double_jpeg_grid, error_level_analysis
from fdetect.forensics.provenance import demosaicing_residual, error_level, grid_steps
from fdetect.images import Geometry, decode
from fdetect.types import Batch, Facts

FAMILY = tuple(entry.name for entry in feature if entry.family == "provenance")
PLAIN = Facts("PNG", 64, 64, 1000)
CENTRE = Geometry("aligned_crop", 224)


def row(name: str, pixels: np.ndarray, facts: Facts = PLAIN) -> dict[str, float]:
    """The columns of one (H, W, 3) uint8 image, by name without the feature's."""
    return named(name, compute(feature.get(name), Batch(("0" * 32,), np.ascontiguousarray(pixels[None]), (facts,))))


def named(name: str, values: np.ndarray) -> dict[str, float]:
    short = (column.split(":", 1)[1] for column in column_names(feature.get(name)))
    return dict(zip(short, values[0].tolist(), strict=True))


def encoded(pixels: np.ndarray, container: str = "JPEG", **settings: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, container, **settings)
    return file.getvalue()


def resaved(pixels: np.ndarray, *qualities: int) -> np.ndarray:
    for quality in qualities:
        pixels = decode(encoded(pixels, quality=quality, subsampling=2)).pixels
    return pixels


def scene(height: int = 224, width: int = 224) -> np.ndarray:
    """A smooth picture with a little grain, never compressed."""
    y, x = np.mgrid[:height, :width][..., None]
    grain = np.random.default_rng(0).normal(0, 4, (height, width, 3))
    return np.clip(120 + 60 * np.sin(x / 17 + np.arange(3)) * np.cos(y / 23) + grain, 0, 255).astype(np.uint8)


# --- what a file says ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quality", [10, 49, 50, 75, 90, 95, 100])
def test_the_quality_a_jpeg_was_written_with_is_read_off_both_tables(quality):
    file = decode(encoded(scene(64, 64), quality=quality, subsampling=2))
    found = row("jpeg_quality_tables", file.pixels, file.facts)
    assert (found["luma_quality"], found["chroma_quality"]) == (quality, quality)
    assert (found["luma_standard"], found["chroma_standard"], found["tables"]) == (1, 1, 2)
    assert found["luma_mean"] == pytest.approx(np.mean(file.facts.qtables[0]))
    assert found["chroma_to_luma"] == pytest.approx(np.sum(file.facts.qtables[1]) / np.sum(file.facts.qtables[0]))


@pytest.mark.parametrize("code, column", [(0, "sampling_444"), (1, "sampling_422"), (2, "sampling_420")])
def test_subsampling_and_progressive_coding_are_told_apart(code, column):
    file = decode(encoded(scene(64, 64), quality=80, subsampling=code, progressive=code == 1))
    found = row("jpeg_quality_tables", file.pixels, file.facts)
    assert {name for name, value in found.items() if name.startswith("sampling") and value} == {column}
    assert found["progressive"] == (code == 1)


def test_a_table_of_ones_own_is_near_a_quality_and_not_standard():
    tables = [list(table) for table in decode(encoded(scene(64, 64), quality=80)).facts.qtables]
    tables[0][0] += 1
    file = decode(encoded(scene(64, 64), qtables=tables))
    found = row("jpeg_quality_tables", file.pixels, file.facts)
    assert (found["luma_quality"], found["luma_standard"]) == (80, 0)
    assert (found["chroma_quality"], found["chroma_standard"]) == (80, 1)


def test_a_file_without_tables_is_a_row_of_zeros_and_grey_has_no_chroma():
    assert set(row("jpeg_quality_tables", scene(64, 64)).values()) == {0.0}
    file = decode(encoded(scene(64, 64)[..., 0], quality=70))
    found = row("jpeg_quality_tables", file.pixels, file.facts)
    assert (found["tables"], found["luma_quality"], found["chroma_quality"], found["chroma_to_luma"]) == (1, 70, 0, 0)


def test_exif_counts_for_what_is_there_and_never_for_what_it_says():
    def facts(make: str, place: float) -> Facts:
        exif = Image.Exif()
        exif[ExifTags.Base.Make], exif[ExifTags.Base.DateTime] = make, "2020:01:01 10:00:00"
        exif[ExifTags.Base.Orientation] = 6
        exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (place, 0.0, 0.0)
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExposureTime] = 0.01
        return decode(encoded(scene(64, 64), exif=exif)).facts

    one, other = (row("exif_facts", scene(64, 64), facts(*said)) for said in (("Acme", 10.0), ("Other maker", 53.0)))
    assert one == other
    present = {name for name in ("make", "model", "software", "date_time", "exposure", "gps") if one[name]}
    assert present == {"make", "date_time", "exposure", "gps"}
    assert (one["orientation"], one["tags"]) == (6, pytest.approx(math.log(6)))
    bare = row("exif_facts", scene(64, 64))
    assert (bare.pop("orientation"), set(bare.values())) == (1, {0.0})


# --- the grid of JPEG ------------------------------------------------------------------------------------------


def blocks_at(row_phase: int, column_phase: int) -> np.ndarray:
    """8 x 8 blocks at a given offset, neighbours one grey level apart."""
    y, x = np.mgrid[:72, :80]
    level = 100 + ((y - row_phase) // 8 + (x - column_phase) // 8) % 2
    return np.repeat(level[..., None], 3, axis=2).astype(np.uint8)


def test_steps_stand_at_the_phase_of_the_blocks():
    luma = blocks_at(3, 5)[None, ..., 0].astype(np.float32)
    of_rows, of_columns = grid_steps(luma)[0]
    np.testing.assert_array_equal(of_rows, [0, 0, 1, 2, 1, 0, 0, 0])  # 2 at the boundary, 1 where it is an outer pixel
    np.testing.assert_array_equal(of_columns, [0, 0, 0, 0, 1, 2, 1, 0])


def test_a_step_is_limited_and_a_slope_is_none():
    x = np.broadcast_to(np.arange(40, dtype=np.float32) * 5, (1, 16, 40))
    assert not grid_steps(x).any()
    edge = np.where(np.arange(40) < 19, 0, 255).astype(np.float32)
    columns = grid_steps(np.broadcast_to(edge, (1, 16, 40)))[0, 1]
    assert set(columns[[2, 3, 4]]) == {np.float32(8 / 5)}  # of the five steps at each of these phases one is the limit


@pytest.mark.parametrize("at", [(0, 0), (3, 5), (7, 0)])
def test_the_strongest_offset_is_that_of_the_blocks(at):
    found = row("double_jpeg_grid", blocks_at(*at))
    assert (found["strongest_row"], found["strongest_column"]) == at
    assert found["strongest_is_aligned"] == (at == (0, 0))
    assert found["strongest"] == pytest.approx(2 / (4 / 8) - 1)
    assert found["second"] == pytest.approx(1 / (4 / 8) - 1)
    assert found["aligned"] == pytest.approx({(0, 0): 3, (3, 5): -1, (7, 0): (1 + 3) / 2}[at])


@pytest.mark.parametrize("shift", [(0, 0), (3, 5), (4, 1)])
def test_the_grid_of_a_jpeg_follows_a_crop(shift):
    pixels = resaved(scene(), 75)[shift[0] :, shift[1] :]
    found = row("double_jpeg_grid", pixels)
    assert (found["strongest_row"], found["strongest_column"]) == tuple(-s % 8 for s in shift)


def test_a_comb_in_the_dct_values_is_a_peak_of_known_height():
    values = np.zeros((1, 4, 6, 8, 8), np.float32)
    values[0, ::2, :, 0, 1], values[0, 1::2, :, 0, 1] = 12, -12  # 24 values
    values[0, :, :, 1, 0] = 500  # beyond what is counted
    flat, table = np.zeros((1, 2, 8), np.float32), np.full(64, 3)
    frequency = np.arange(8, 33)
    for facts, k in ((PLAIN, 12), (Facts("JPEG", 64, 64, 1000, qtables=(tuple(table),)), 4)):
        found = named("double_jpeg_grid", double_jpeg_grid(flat, values, (facts,)))
        wave = np.abs(np.cos(2 * np.pi * k * frequency / 64))
        assert found["period_01"] == pytest.approx(math.log1p(math.sqrt(24) * (wave.max() - wave.mean())), rel=1e-6)
        assert found["period_10"] == found["period_11"] == 0


def test_a_constant_image_has_no_grid_and_no_comb():
    found = row("double_jpeg_grid", np.full((64, 64, 3), 77, np.uint8))
    found.pop("strongest_is_aligned")
    assert set(found.values()) == {0.0}


# --- compressed once more --------------------------------------------------------------------------------------


def test_what_compresses_without_loss_has_no_error_level_and_no_ghost():
    grey = np.full((64, 64, 3), 128, np.uint8)
    assert not error_level(grey[None]).any()
    assert set(row("error_level_analysis", grey).values()) == {0.0}
    found = row("jpeg_ghosts", grey)
    assert found.pop("best_quality") == 95
    assert found.pop("deepest_dip") == 0
    levels = {value for name, value in found.items() if name.startswith("q")}
    assert levels == {np.float32(math.log(0.01)).item()}
    assert {value for name, value in found.items() if name.startswith("spread")} == {0.0}


def test_error_levels_are_what_the_encoder_changes():
    image = scene(40, 56)
    levels = error_level(image[None], quality=80)
    after = np.asarray(Image.open(io.BytesIO(encoded(image, quality=80, subsampling=2))).convert("RGB"))
    np.testing.assert_array_equal(levels[0], np.abs(after.astype(int) - image).transpose(2, 0, 1))


def test_error_levels_are_summed_up_by_colour_and_block():
    levels = np.zeros((1, 3, 18, 16), np.float32)
    levels[0, 0], levels[0, 1, :, ::2] = 5, 4
    levels[0, 2, :8, :8] = 6
    found = named("error_level_analysis", error_level_analysis(levels))
    blocks = np.array([5 + 2 + 6, 7, 7, 7]) / 3
    expected = {
        "red_mean": 5, "red_deviation": 0, "green_mean": 2, "green_deviation": 2,
        "blue_mean": levels[0, 2].mean(), "blue_deviation": levels[0, 2].std(),
        "block_largest": blocks.max(), "block_smallest": blocks.min(), "block_deviation": blocks.std(),
    }  # fmt: skip
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("quality", [65, 75, 90])
def test_a_ghost_stands_at_the_quality_of_the_jpeg_before(quality):
    found = row("jpeg_ghosts", resaved(scene(), quality))
    dips = {q: (found[f"q{q - 5}"] + found[f"q{q + 5}"]) / 2 - found[f"q{q}"] for q in range(65, 95, 5)}
    assert max(dips, key=dips.__getitem__) == quality
    assert found["deepest_dip"] == pytest.approx(dips[quality], rel=1e-5)
    assert found["deepest_dip"] > row("jpeg_ghosts", scene())["deepest_dip"] + 0.2


def test_a_region_with_another_history_spreads_the_ghost():
    whole = resaved(scene(), 65)
    mixed = np.where(np.arange(224)[None, :, None] < 112, whole, scene())
    before, after = (row("jpeg_ghosts", pixels)["spread_q65"] for pixels in (whole, mixed))
    assert after > 2 * before


# --- demosaicing -----------------------------------------------------------------------------------------------


def test_a_residual_on_one_lattice_is_all_peak():
    y, x = np.mgrid[:20, :22]
    ones = np.ones((20, 22))
    planes = np.stack([x % 2 == 0, (x + y) % 2 == 0, y % 2 * ones])[None].astype(np.float32)
    found = named("cfa_periodicity", cfa_periodicity(planes))
    peaks = {name for name, value in found.items() if value == 1}
    assert peaks == {"red_horizontal", "green_diagonal", "blue_vertical"}
    assert found["green_lattices"] == pytest.approx(math.log(3))
    assert found["green_peak"] == pytest.approx(math.log(1.0001 / 0.0001), rel=1e-5)
    assert set(named("cfa_periodicity", cfa_periodicity(0 * planes)).values()) == {0.0}


def test_the_residual_vanishes_on_ramps_and_is_four_on_an_impulse():
    ramp = np.broadcast_to(np.arange(12, dtype=np.float32) * 3, (1, 3, 9, 12))
    assert not demosaicing_residual(ramp).any()
    impulse = np.zeros((1, 3, 7, 7), np.float32)
    impulse[..., 3, 3] = 1
    np.testing.assert_array_equal(demosaicing_residual(impulse)[0, 0, 1:4, 1:4], [[0, -1, 0], [-1, 4, -1], [0, -1, 0]])


def mosaicked(pixels: np.ndarray) -> np.ndarray:
    """What a camera with a Bayer array (GR / BG) and bilinear interpolation would have stored."""
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    masks = (y % 2 == 0) & (x % 2 == 1), (x + y) % 2 == 0, (y % 2 == 1) & (x % 2 == 0)
    filters = [np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4, np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4]
    result = np.empty(pixels.shape)
    for c, mask in enumerate(masks):
        padded = np.pad(np.where(mask, pixels[..., c], 0.0), 2, mode="reflect")[1:-1, 1:-1]
        kernel = filters[c == 1]
        near = [padded[i : i + len(y), j : j + len(x[0])] * kernel[i, j] for i in range(3) for j in range(3)]
        result[..., c] = np.sum(near, axis=0)
    return np.round(result).clip(0, 255).astype(np.uint8)


def test_white_noise_has_no_lattice_and_an_interpolated_picture_has():
    noise = np.random.default_rng(1).integers(0, 256, (200, 200, 3), np.uint8)
    plain, found = row("cfa_periodicity", noise), row("cfa_periodicity", mosaicked(noise))
    assert max(value for name, value in plain.items() if name != "green_peak") < 0.03
    assert plain["green_peak"] < 2.5
    assert found["green_diagonal"] > 0.9
    assert found["green_peak"] > 4
    assert found["green_lattices"] > 3
    assert min(found[f"{colour}_{axis}"] for colour in ("red", "blue") for axis in ("horizontal", "vertical")) > 0.2


# --- real files ------------------------------------------------------------------------------------------------


def test_real_photographs_show_the_history_they_are_given(shared_data: Path):
    paths = sorted((shared_data / "real" / "kodak24").glob("*.png"))[:6]
    assert paths
    for path in paths:
        plain = CENTRE(decode(path.read_bytes()).pixels)
        assert row("double_jpeg_grid", resaved(plain, 85))["strongest_is_aligned"]
        once, twice = (decode(encoded(resaved(plain, *before), quality=95)) for before in ((), (75,)))
        combs = [
            sum(v for name, v in row("double_jpeg_grid", f.pixels, f.facts).items() if name.startswith("period"))
            for f in (once, twice)
        ]
        assert combs[1] > 1.5 * combs[0]
        ghosts = [row("jpeg_ghosts", pixels)["deepest_dip"] for pixels in (plain, resaved(plain, 80))]
        assert ghosts[1] > ghosts[0] + 0.2
        first, later = (row("error_level_analysis", pixels)["green_mean"] for pixels in (plain, resaved(plain, 95)))
        assert later < first
        green = [row("cfa_periodicity", pixels)["green_diagonal"] for pixels in (plain, mosaicked(plain))]
        assert green[1] > green[0] + 0.3


def test_stored_jpegs_name_their_own_grid(shared_data: Path):
    files = [decode(path.read_bytes()) for path in sorted((shared_data / "real" / "coco").glob("*.jpg"))[:20]]
    assert files
    hits = [row("double_jpeg_grid", CENTRE(f.pixels), f.facts)["strongest_is_aligned"] for f in files]
    assert np.mean(hits) > 0.3  # by chance 1 in 64; most of these are of quality 95, whose blocks hardly show


# --- kept apart ------------------------------------------------------------------------------------------------


def test_the_family_is_chosen_by_its_own_word_or_by_full_names():
    assert set(PRESETS["provenance"]) == set(FAMILY)
    assert tuple(entry.name for entry in select_features("provenance")) == FAMILY
    assert [entry.name for entry in select_features("exif_facts,cfa_periodicity")] == [
        name for name in FAMILY if name in ("exif_facts", "cfa_periodicity")
    ]


@pytest.mark.parametrize("pattern", ["*", "*[a-z]*", "jpeg_*", "?xif_facts"])
def test_no_pattern_and_no_other_preset_contains_it(pattern):
    assert not {name for word, names in PRESETS.items() if word != "provenance" for name in names} & set(FAMILY)
    try:
        found = {entry.name for entry in select_features(pattern)}
    except UnknownName as error:
        assert "features of file history" in str(error)
        assert "which no pattern chooses; name them in full" in str(error)
        assert str(error).endswith("or all of file history by provenance")
        assert pattern not in ("*", "*[a-z]*")
    else:
        assert not found & set(FAMILY)


def test_another_condition_than_native_is_refused_by_name():
    entries = select_features("exif_facts,radial_spectrum,jpeg_ghosts")
    require_native(entries, "native")
    require_native(select_features("radial_spectrum"), "matched", "jpeg70")
    with pytest.raises(ParameterError) as error:
        require_native(entries, "native", "matched", "jpeg70")
    text = str(error.value)
    assert "exif_facts" in text
    assert "jpeg_ghosts" in text
    assert "radial_spectrum" not in text
    assert text.endswith(": features of file history are for condition native alone, not matched, jpeg70; take native, "
                         "or leave them out")  # fmt: skip


REFUSED = re.escape("exif_facts: features of file history are for condition native alone, not matched; take native")
SETTINGS = {"features": "exif_facts", "crop": 128}


def test_extract_refuses_another_condition_before_it_computes_or_writes(small_set, store, tmp_path):
    with pytest.raises(ParameterError, match=REFUSED):
        steps.extract(small_set, condition="matched", store=store, **SETTINGS)
    with pytest.raises(ParameterError, match=REFUSED):
        steps.extract_to(tmp_path / "x.parquet", small_set, condition="matched", store=store, **SETTINGS)
    assert not list(tmp_path.iterdir())
    table = steps.extract(small_set, store=store, **SETTINGS)
    assert table.ok.all()
    assert table.columns == column_names(feature.get("exif_facts"))


def test_fit_and_score_take_them_natively_by_themselves(small_set, store):
    with pytest.raises(ParameterError, match=REFUSED):
        fitting.fit(small_set, store=store, **SETTINGS)  # its own condition is matched
    mixed = {**SETTINGS, "features": "exif_facts,cfa_periodicity,npr_statistics"}
    with pytest.raises(ParameterError, match="are never fused with others; fit them by themselves, or leave them out"):
        fitting.fit(small_set, condition="native", store=store, **mixed)
    fitted = fitting.fit(small_set, condition="native", store=store, **{**SETTINGS, "features": "cfa_periodicity"})
    scores = steps.score(small_set, fitted, store=store)
    assert np.isfinite(scores.values).all()
    with pytest.raises(ParameterError, match="cfa_periodicity: features of file history .* not jpeg70; take native"):
        steps.score(small_set, fitted, condition="jpeg70", store=store)


def config(data: Path, **flags: object) -> RunConfig:
    names = {
        "data.path": str(data), "conditions.crop": 128, "conditions.names": ("native",), "metrics.replicates": 20,
        "heads.per_family": ("logreg",), "heads.all_columns": ("logreg",), "detectors.names": (),
    }  # fmt: skip
    return override(RunConfig(), {**names, **flags})


def test_bench_refuses_another_condition_at_the_start(small_set, store, tmp_path):
    wrong = config(small_set, **{"features.names": ("provenance",), "conditions.names": ("native", "matched")})
    with pytest.raises(ParameterError, match=r"jpeg_ghosts.*: features of file history are .* not matched; take nat"):
        bench(wrong, out=tmp_path / "run", store=store)
    assert not (tmp_path / "run").exists()


def test_bench_gives_them_a_head_of_their_own_and_none_in_all(small_set, store, tmp_path):
    asked = config(small_set, **{"features.names": ("radial_spectrum", "npr_statistics", "cfa_periodicity")})
    entries = select_features(asked.features.names)
    sets = {name: {entry.name for entry in members} for _, name, members in head_sets(asked, entries)}
    assert sets["all"] == {"radial_spectrum", "npr_statistics"}
    assert sets["provenance"] == {"cfa_periodicity"}
    found = bench(asked, out=tmp_path / "with", store=store).scores
    without = bench(
        config(small_set, **{"features.names": ("radial_spectrum", "npr_statistics")}),
        out=tmp_path / "without", store=store,
    ).scores  # fmt: skip
    assert set(found.column("detector").to_pylist()) == {
        "logreg:spectrum", "logreg:neighbours", "logreg:provenance", "logreg:all"
    }  # fmt: skip
    fused = [pa.compute.equal(table.column("detector"), "logreg:all") for table in (found, without)]
    assert found.filter(fused[0]).column("score").equals(without.filter(fused[1]).column("score"))


def test_provenance_alone_makes_no_fused_head(small_set):
    entries = select_features("provenance")
    assert [name for _, name, _ in head_sets(config(small_set), entries)] == ["provenance"]


def test_images_too_small_are_refused_in_one_sentence():
    small = np.zeros((10, 30, 3), np.uint8)
    for name in ("double_jpeg_grid", "jpeg_ghosts"):
        with pytest.raises(DataError, match="needs images of at least"):
            row(name, small)
