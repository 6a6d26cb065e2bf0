"""Colours have known answers, what is drawn lies within its picture, and a value that is missing looks missing."""

from __future__ import annotations

import re

import numpy as np
import pytest

from fdetect.bench.report.charts import (
    Dot,
    HeatCell,
    colour_scale,
    contrast,
    dot_plot,
    heat_colour,
    heat_map,
    shortened,
)


@pytest.mark.parametrize(
    ("value", "fill", "ink"),
    [
        (0.5, "#f6f6f4", "#000000"),
        (0.0, "#823200", "#ffffff"),
        (0.25, "#f0a05a", "#000000"),
        (0.75, "#73aade", "#000000"),
        (1.0, "#083c7d", "#ffffff"),
        (-1.0, "#823200", "#ffffff"),
        (2.0, "#083c7d", "#ffffff"),
        (0.625, "#b4d0e9", "#000000"),  # halfway between two stops: 180.5, 208, 233
    ],
)
def test_heat_colour_has_known_answers(value: float, fill: str, ink: str) -> None:
    assert heat_colour(value) == (fill, ink)


def test_heat_colours_can_be_read_and_told_apart() -> None:
    for value in np.linspace(0, 1, 101):
        fill, ink = heat_colour(float(value))
        assert contrast(fill, ink) >= 4.5
        red, blue = int(fill[1:3], 16), int(fill[5:7], 16)
        if value < 0.49:
            assert red > blue + 3
        elif value > 0.51:
            assert blue > red + 3


def test_contrast_has_known_answers() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=1e-3)
    assert contrast("#123456", "#123456") == 1


def test_heat_map_shows_nan_as_a_dash_and_marks_below_chance() -> None:
    def drawn(value: float | None) -> str:
        return str(heat_map(["row"], ["column"], [[HeatCell(value, "*", title="tip")]], label="map"))

    for nothing in (None, float("nan"), float("inf")):
        assert ">–</text>" in drawn(nothing)
        assert "#d8d8d6" in drawn(nothing)
        assert "nan" not in drawn(nothing)
    assert ">0.412</text>" in drawn(0.412)
    assert 'class="below"' in drawn(0.412)
    assert 'class="below"' not in drawn(0.5)
    assert 'class="below"' not in drawn(0.9)
    assert heat_colour(0.412)[0] in drawn(0.412)
    assert heat_colour(0.412)[0] != heat_colour(0.588)[0]
    assert "<title>tip</title>" in drawn(0.9)
    assert ">–</text>" in str(heat_map(["row"], ["column"], [[None]], label="map"))


def test_outlined_cell_has_a_second_rectangle() -> None:
    plain, seen = (
        str(heat_map(["r"], ["c"], [[HeatCell(0.8, outlined=outlined)]], label="map")) for outlined in (False, True)
    )
    assert (plain.count("<rect"), seen.count("<rect")) == (1, 2)


def test_everything_drawn_lies_within_its_picture() -> None:
    names = ["a", "a name of middle length", "一" * 28, "W" * 90]
    cells = [[HeatCell(0.1 * k, "*°!", k == 2) for k in range(4)] for _ in names]
    dots = [Dot(name, 0.3, 0.0, 1.0, 1.0) for name in names]
    for picture in (heat_map(names, names, cells, label="map"), dot_plot(dots, label="dots"), colour_scale()):
        width, height = (float(v) for v in re.search(r'viewBox="0 0 (\d+) (\d+)"', str(picture)).groups())  # type: ignore[union-attr]
        for name, limit in (("x", width), ("y", height), ("x1", width), ("x2", width), ("y2", height), ("cx", width)):
            found = [float(v) for v in re.findall(rf' {name}="(-?[\d.]+)"', str(picture))]
            assert all(0 <= v <= limit for v in found), name
        for at, size, limit in (("x", "width", width), ("y", "height", height)):
            for rect in re.findall(r"<rect[^>]*>", str(picture)):
                ends = sum(float(re.search(rf' {key}="([\d.]+)"', rect).group(1)) for key in (at, size))  # type: ignore[union-attr]
                assert ends <= limit


def test_dot_plot_places_values_in_order_and_skips_nan() -> None:
    drawn = str(dot_plot([Dot("low", 0.2, 0.1, 0.3), Dot("none", float("nan")), Dot("high", 0.9)], label="dots"))
    places = [float(v) for v in re.findall(r'cx="([\d.]+)"', drawn)]
    assert len(places) == 2
    assert places[0] < places[1]
    assert ">–</text>" in drawn
    warned = str(dot_plot([Dot("low", 0.2, warn=True)], label="dots"))
    assert 'class="dot warn"' in warned
    assert 'class="dot warn"' not in drawn


def test_long_names_keep_both_ends_and_their_tooltip() -> None:
    name = "first-" + "x" * 60 + "-last"
    assert len(shortened(name)) == 42
    assert shortened(name).startswith("first-")
    assert shortened(name).endswith("-last")
    assert shortened("short") == "short"
    assert f"<title>{name}</title>" in heat_map([name], ["c"], [[None]], label="map")
