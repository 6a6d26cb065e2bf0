"""Pictures of traces: valid PNGs without metadata, marks where the peaks are, nothing that a strict page refuses."""

from __future__ import annotations

import base64
import io
import math
import re
import struct
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from fdetect.bench.inspecting.evidence import Tracer, statistics
from fdetect.bench.inspecting.inspection import Standing
from fdetect.bench.inspecting.references import References
from fdetect.bench.inspecting.shown.pictures import LEVELS, PICTURES, caption, map_uri, picture, standing_chart
from fdetect.bench.inspecting.traces import FREE, Look
from fdetect.classifiers.saved import FittedDetector, load_detector
from fdetect.classifiers.shipped import MODEL
from fdetect.errors import ParameterError
from fdetect.images import Decoded
from fdetect.types import Facts

SIDE = 224
HOSTILE = '"><script>alert(1)</script><p style="x" onclick="y">\u202e'


@pytest.fixture(scope="module")
def tracer() -> Tracer:
    detector = load_detector(MODEL)
    assert isinstance(detector, FittedDetector)
    return Tracer(detector, {}, dict.fromkeys(FREE, "no"))


@pytest.fixture(scope="module")
def references(tracer: Tracer) -> References:
    found = statistics(tracer, [shown(noise(k)) for k in range(20)], [f"{k}" for k in range(20)])
    profile = found.pop("profile").astype(np.float32)
    return References(found, {}, np.full(20, ""), np.empty(0), profile, {}, {})


def shown(pixels: np.ndarray) -> Decoded:
    return Decoded(pixels, Facts("RAW", pixels.shape[1], pixels.shape[0], pixels.size))


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def holes() -> np.ndarray:
    """Every second px of every second row is brighter than the others: peaks at 1/2 in all directions."""
    pixels = 100 + noise(1)[..., :1].repeat(3, 2) // 8
    pixels[::2, ::2] += 16
    return pixels


def look(tracer: Tracer, pixels: np.ndarray) -> Look:
    return tracer.look(shown(pixels), "0" * 32)


def decoded(uri: str) -> tuple[Image.Image, list[bytes]]:
    """The image of a data URI, and the types of its chunks, whose checksums Pillow saw."""
    data = base64.b64decode(uri.removeprefix("data:image/png;base64,"), validate=True)
    kinds, at = [], 8
    while at < len(data):
        kinds.append(data[at + 4 : at + 8])
        at += 12 + struct.unpack(">I", data[at : at + 4])[0]
    image = Image.open(io.BytesIO(data))
    image.load()
    return image, kinds


def elements(svg: str, name: str) -> list[ElementTree.Element]:
    return [one for one in ElementTree.fromstring(svg).iter() if one.tag == name]


def test_a_map_is_a_png_of_as_many_px_with_pixels_and_shades_alone() -> None:
    values = np.linspace(-1, 1, 40).reshape(5, 8)
    image, kinds = decoded(map_uri(values, -1, 1))
    assert image.size == (8, 5)
    assert kinds == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    assert image.info == {}
    shades = np.asarray(image.convert("L"))
    expected = np.rint((values + 1) / 2 * (LEVELS - 1)) * 255 / (LEVELS - 1)
    assert np.abs(shades - expected).max() <= 1


def test_what_is_beyond_the_scale_is_black_or_white_and_what_is_not_finite_black() -> None:
    image, _ = decoded(map_uri(np.array([[-9.0, 9.0, math.nan, math.inf, -math.inf, 0.0]]), 0, 1))
    assert np.asarray(image.convert("L")).tolist() == [[0, 255, 0, 255, 0, 0]]


@pytest.mark.parametrize("name", ["npr", "residual", "spectrum"])
def test_maps_are_of_the_crop_and_small(tracer: Tracer, references: References, name: str) -> None:
    made = picture(name, look(tracer, noise(3)), references)
    (image,) = elements(made, "image")
    found, kinds = decoded(image.attrib["href"])
    assert found.size == ((SIDE - 1, SIDE - 1) if name == "residual" else (SIDE, SIDE))
    assert set(kinds) == {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
    assert len(made) < 60_000
    assert ElementTree.fromstring(made).attrib["aria-label"]


def test_the_npr_map_of_doubled_pixels_is_grey_throughout_and_the_corners_of_all_cells_are(
    tracer: Tracer, references: References
) -> None:
    pixels = noise(1)[: SIDE // 2, : SIDE // 2].repeat(2, 0).repeat(2, 1)
    for crop, where in ((pixels, np.s_[:, :]), (noise(2), np.s_[::2, ::2])):
        (image,) = elements(picture("npr", look(tracer, crop), references), "image")
        shades = np.asarray(decoded(image.attrib["href"])[0].convert("L"))
        assert len(np.unique(shades[where])) == 1
    assert len(np.unique(shades)) == LEVELS


def test_every_peak_has_its_rings_and_those_that_stand_out_are_bold(tracer: Tracer, references: References) -> None:
    plain = elements(picture("spectrum", look(tracer, noise(3)), references), "circle")
    assert len(plain) == 8 * (2 + 2 + 4)
    made = picture("spectrum", look(tracer, holes()), references)
    bold = [one for one in elements(made, "circle") if one.attrib.get("class") == "warn"]
    assert {one.find("title").text for one in bold} >= {"horizontal 1/2", "vertical 1/2", "diagonal 1/2"}
    assert "horizontal 1/2" in ElementTree.fromstring(made).attrib["aria-label"]
    box = float(ElementTree.fromstring(made).attrib["viewBox"].split()[2])
    for one in bold:
        assert 0 <= float(one.attrib["cx"]) <= box
        assert 0 <= float(one.attrib["cy"]) <= box


def test_a_ring_lies_on_its_peak(tracer: Tracer, references: References) -> None:
    x = np.arange(SIDE)[None].repeat(SIDE, 0)
    wave = np.rint(128 + 6 * np.cos(2 * np.pi * 7 / 16 * x)).astype(np.uint8)[..., None].repeat(3, 2)
    wave = wave + np.random.default_rng(0).integers(0, 3, wave.shape, np.uint8)
    made = picture("spectrum", look(tracer, wave), references)
    (image,) = elements(made, "image")
    shades = np.asarray(decoded(image.attrib["href"])[0].convert("L"))
    px = float(image.attrib["width"]) / SIDE
    (right,) = [one for one in elements(made, "circle") if one.find("title").text == "horizontal 7/16"
                and float(one.attrib["cx"]) > 140]  # fmt: skip
    column, row = ((float(right.attrib[c]) - float(image.attrib[c[1]])) / px for c in ("cx", "cy"))
    assert right.attrib["class"] == "warn"
    assert (column, row) == pytest.approx((SIDE / 2 + 7 / 16 * SIDE + 0.5, SIDE / 2 + 0.5), abs=0.05)
    assert shades[int(row), int(column)] == 255
    assert np.median(shades) < 255


def test_the_fall_off_is_drawn_over_the_band_of_the_photographs(tracer: Tracer, references: References) -> None:
    made = picture("radial", look(tracer, noise(3)), references)
    (band,) = elements(made, "polygon")
    assert len(band.attrib["points"].split()) == 2 * 2 * 64
    assert len([one for one in elements(made, "path") if one.attrib["d"].count("L") == 63]) == 2
    assert "against 20 reference photographs" in made
    empty = References({}, {}, np.empty(0), np.empty(0), np.empty((0, 64), np.float32), {}, {})
    assert picture("radial", look(tracer, noise(3)), empty) == ""
    assert "No peak stands out" in picture("spectrum", look(tracer, holes()), empty)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_of_one_colour_can_be_drawn(tracer: Tracer, references: References, name: str) -> None:
    assert "nan" not in picture(name, look(tracer, np.full((SIDE, SIDE, 3), 9, np.uint8)), references).lower()


def test_a_name_without_a_picture_is_refused(tracer: Tracer, references: References) -> None:
    with pytest.raises(ParameterError, match="no picture of 'rigid'"):
        picture("rigid", look(tracer, noise(1)), references)


def test_a_standing_says_what_it_shows_and_marks_the_value() -> None:
    made = standing_chart(Standing(30.5, np.arange(180.0)), "Fine noise")
    root = ElementTree.fromstring(made)
    assert root.attrib["aria-label"] == "Fine noise: this image has 30.5, higher than 31 of 180 photographs (bars)"
    assert float(root.attrib["width"]) <= 340  # fits a phone of 390 px
    assert root.attrib["class"] == "small"
    (dot,) = elements(made, "circle")
    bars = elements(made, "rect")
    assert dot.attrib["class"] == "dot"
    assert 0.1 < (float(dot.attrib["cx"]) - float(bars[0].attrib["x"])) / 284 < 0.25
    assert len(bars) == 24


@pytest.mark.parametrize(("value", "among"), [
    (1e9, np.arange(20.0)), (-1e9, np.arange(20.0)), (3.0, np.full(20, 3.0)), (1e-30, np.zeros(5)),
    (2.0, np.array([1.0])),
])  # fmt: skip
def test_a_standing_far_outside_or_of_equal_photographs_is_drawn_within_the_chart(
    value: float, among: np.ndarray
) -> None:
    made = standing_chart(Standing(value, among), "x")
    (dot,) = elements(made, "circle")
    assert 0 <= float(dot.attrib["cx"]) <= 300
    assert "nan" not in made


def test_without_a_value_or_photographs_there_is_no_chart() -> None:
    assert standing_chart(Standing(math.nan, np.arange(5.0)), "x") == ""
    assert standing_chart(Standing(1.0, np.empty(0)), "x") == ""


def test_nothing_has_a_style_or_a_handler_and_hostile_names_are_text(tracer: Tracer, references: References) -> None:
    made = [picture(name, look(tracer, holes()), references) for name in PICTURES]
    made.append(standing_chart(Standing(1.0, np.arange(5.0)), HOSTILE))
    assert not elements(made[-1], "script")
    assert HOSTILE[:-1] in ElementTree.fromstring(made[-1]).attrib["aria-label"]
    assert "\u202e" not in made[-1]
    for one in made:
        for element in ElementTree.fromstring(one).iter():
            assert not re.search("(^| )(style|on[a-z]+)( |$)", " ".join(element.attrib)), element.tag
            assert element.tag in {"svg", "g", "image", "circle", "title", "path", "polygon", "line", "rect", "text"}


def test_every_picture_has_a_caption_that_says_what_part_and_what_bright_means() -> None:
    crop = shown(np.zeros((30, 40, 3), np.uint8))
    for name in PICTURES:
        assert caption(name, crop).startswith("Of the first crop that was scored, 40 x 30 px as the detector saw it. ")
        assert re.search("right: |right or dark: |higher is", caption(name, crop))
        assert caption(name, crop).endswith(caption(name, None))
    assert caption("other", crop) == ""
