"""Tiles: every pixel is seen whatever the size, starts lie on the grid, and aggregation has known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fdetect.classifiers.tiles import AGGREGATES, aggregate, tile_weights, tiling
from fdetect.errors import DataError, ParameterError


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (8, 8), (13, 13), (16, 16), (16, 9), (24, 8), (24, 20), (32, 31)])
def test_every_pixel_of_every_odd_size_is_seen(size, stride):
    for height in (*range(1, 70, 3), 71, 128):
        for width in (1, 7, size, size + 1, 63, 97):
            tiles = tiling(height, width, size=size, stride=stride)
            seen = np.zeros((height, width), int)
            for top, left, bottom, right in tiles.boxes:
                assert 0 <= top < bottom <= height
                assert 0 <= left < right <= width
                assert (bottom - top, right - left) == (min(size, height), min(size, width))
                seen[top:bottom, left:right] += 1
            assert seen.min() >= 1, (height, width)
            assert len({tuple(box) for box in tiles.boxes}) == len(tiles)


@pytest.mark.parametrize(("size", "stride"), [(16, 0), (24, 20), (32, 31), (64, 8)])
def test_tiles_begin_on_the_jpeg_grid_but_for_those_at_the_far_border(size, stride):
    for height, width in ((200, 333), (64, 65), (129, 257), (71, 90)):
        for top, left, bottom, right in tiling(height, width, size=size, stride=stride).boxes:
            assert top % 8 == 0 or bottom == height
            assert left % 8 == 0 or right == width


def test_a_tiling_that_is_known():
    boxes = tiling(20, 16, size=16).boxes
    assert boxes.tolist() == [[0, 0, 16, 16], [4, 0, 20, 16]]
    assert boxes.dtype == np.int64
    assert tiling(16, 40, size=16).boxes[:, 1].tolist() == [0, 16, 24]
    assert tiling(10, 12, size=16).boxes.tolist() == [[0, 0, 10, 12]]


def test_tiles_are_cut_from_where_their_boxes_are():
    picture = np.arange(21 * 35 * 3).reshape(21, 35, 3)
    tiles = tiling(21, 35, size=16)
    cut = tiles.cut(picture)
    assert cut.shape == (len(tiles), 16, 16, 3)
    for tile, (top, left, bottom, right) in zip(cut, tiles.boxes, strict=True):
        np.testing.assert_array_equal(tile, picture[top:bottom, left:right])
    with pytest.raises(DataError, match="35 x 21 px"):
        tiles.cut(picture[:20])


def test_the_map_is_the_mean_over_the_tiles_of_a_pixel_counted_one_by_one():
    tiles = tiling(21, 35, size=16, stride=8)
    values = np.random.default_rng(0).normal(size=len(tiles))
    values[[2, 5]] = np.nan
    found = tiles.spread(values)
    for y in range(21):
        for x in range(35):
            inside = [v for v, (top, left, low, right) in zip(values, tiles.boxes, strict=True)
                      if top <= y < low and left <= x < right]  # fmt: skip
            known = [v for v in inside if not math.isnan(v)]
            assert found[y, x] == pytest.approx(sum(known) / len(known)) if known else math.isnan(found[y, x])
    assert np.isnan(tiles.spread(np.full(len(tiles), np.nan))).all()
    with pytest.raises(DataError, match="values"):
        tiles.spread(values[:-1])


def test_aggregates_with_known_answers():
    logits = np.array([1.0, 3.0, -2.0, 3.0])
    assert aggregate(logits) == pytest.approx(1.25)
    assert aggregate(logits, "max") == 3.0
    assert tile_weights(logits, "max").tolist() == [0, 1, 0, 0]
    two = np.array([0.0, math.log(3.0)])  # softmax 1/4, 3/4
    np.testing.assert_allclose(tile_weights(two, "attention"), [0.25, 0.75])
    assert aggregate(two, "attention") == pytest.approx(0.75 * math.log(3.0))
    assert aggregate(logits, "attention", temperature=1e-3) == pytest.approx(3.0)
    assert aggregate(logits, "attention", temperature=1e6) == pytest.approx(1.25, abs=1e-4)
    assert aggregate(np.array([800.0, -800.0]), "attention") == pytest.approx(800.0)  # exp(800) would overflow


@pytest.mark.parametrize("how", AGGREGATES)
def test_weights_sum_to_one_order_does_not_matter_and_missing_tiles_are_left_out(how):
    logits = np.random.default_rng(1).normal(size=9)
    assert tile_weights(logits, how).sum() == pytest.approx(1.0)
    assert aggregate(logits[::-1], how) == pytest.approx(aggregate(logits, how))
    holed = np.concatenate([logits, [np.nan, np.nan]])
    assert aggregate(holed, how) == pytest.approx(aggregate(logits, how))
    assert tile_weights(holed, how)[-2:].tolist() == [0, 0]
    assert math.isnan(aggregate(np.array([np.nan, np.nan]), how))
    assert aggregate(np.full(5, 0.7), how) == pytest.approx(0.7)


def test_settings_that_cannot_be_used_are_named():
    for wrong in ({"size": 0}, {"size": 16, "stride": 17}, {"size": 16, "stride": -1}, {"size": 16, "grid": 0}):
        with pytest.raises(ParameterError, match="stride"):
            tiling(64, 64, **wrong)
    with pytest.raises(DataError, match="0 px"):
        tiling(0, 5, size=16)
    with pytest.raises(ParameterError, match="attention"):
        aggregate(np.zeros(2), "atention")
    with pytest.raises(ParameterError, match="temperature"):
        aggregate(np.zeros(2), "attention", temperature=0.0)
    for wrong_values in (np.zeros(0), np.zeros((2, 2)), np.array([np.inf])):
        with pytest.raises(DataError, match="each tile"):
            aggregate(wrong_values)
