"""The page of one image: all that was found is on it, in order; hostile text stays text; it is always small."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from markupsafe import Markup
from PIL import Image
from tiny_inspection import NAN, REFERENCES, everywhere, inspection, jpeg, picture, standing, unread

from fdetect.bench.inspecting.inspection import (
    INCONCLUSIVE,
    NO_VERDICT,
    REAL,
    Evidence,
    Inspection,
    Standing,
    TileScores,
)
from fdetect.bench.inspecting.shown.overlay import _level, place_strip, tile_overlay
from fdetect.bench.inspecting.shown.page import render_inspection
from fdetect.bench.inspecting.shown.words import Room, claims_of, compared, count_text, file_name, share_text
from fdetect.bench.report.grid import printable
from fdetect.images import decode
from fdetect.metadata.claims import Claim, Metadata
from fdetect.metadata.thumbnails import Thumbnail

HOSTILE = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "' onload='alert(1)",
    "</title></style></svg><svg onload=alert(1)>",
    "javascript:alert(1)",
    "https://e.example/<a href=https://e.example>",
    "\u202egpj.exe\u2066\x1b[31m\r\n\x00",
    "{{ 7 * 7 }}{% raw %}",
    "]]> --> &lt;b&gt; \udcff",
    "w" * 3000,
)


class _Page(HTMLParser):
    """All elements with their attributes, and the text of a page."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.words = ""
        self._inside = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in ("style", "script"):
            self.words += data

    @property
    def shape(self) -> list[tuple[str, tuple[str, ...]]]:
        """Elements with the names of their attributes, whatever the values are."""
        return [(tag, tuple(name for name, _ in attrs)) for tag, attrs in self.elements]


def words(page: str) -> str:
    return " ".join(_Page(page).words.split())


def test_figures_have_known_words() -> None:
    assert [share_text(p) for p in (0.04, 0.005, 0.0004, 0.096, 0.0996, 0.42, 1.0, NAN)] == [
        "4.0 %", "0.5 %", "below 0.1 %", "9.6 %", "10 %", "42 %", "100 %", "–"]  # fmt: skip
    assert [count_text(standing(v)) for v in (97.0, 99.5, 0.0, NAN)] == ["3 of 99", "none of 99", "99 of 99", ""]
    assert count_text(None) == "" == count_text(Standing(1.0, np.array([])))
    assert [file_name(p) for p in ("\\xff\\xfe.png", "a/\\xffb", "a\\x.png", "a\\")] == [
        "\\xff\\xfe.png",
        "\\xffb",
        "x.png",
        "a",
    ]
    assert [file_name(p) for p in ("a/b.jpg", "a\\b.jpg", "b.jpg", "a/", "/")] == ["b.jpg", "b.jpg", "b.jpg", "a", "/"]


def test_a_room_cuts_texts_as_they_are_shown() -> None:
    room = Room(longest=6, most=2)
    assert room.text("abcdef") == "abcdef"
    assert room.text("abcdefg") == "abcdef… (7 characters in all)"
    assert room.text("\n\n\n\n") == "\\n\\n\\n… (4 characters in all)"
    assert room.texts(["a", "b"]) == ("a", "b")
    assert room.texts(["a", "b", "c", "d"]) == ("a", "b", "… and 2 more, which are not shown")


def test_claims_come_once_those_with_a_meaning_first() -> None:
    one = inspection()
    twice = replace(one, credentials=replace(one.credentials, claims=one.credentials.claims + one.metadata.claims))
    assert claims_of(twice) == claims_of(one)
    assert [claim.meaning for claim in claims_of(one)] == ["generated", "generated", "camera", "edited", "", ""]
    assert claims_of(unread()) == []


def test_a_manifest_is_told_once() -> None:
    seen = Claim("C2PA", "manifest", "5000 bytes of Content Credentials")
    one = replace(inspection(), metadata=Metadata((seen,)))
    assert seen not in claims_of(one)
    assert seen in claims_of(replace(one, credentials=None))


def test_the_page_says_all_in_order() -> None:
    shown = words(render_inspection(inspection(), pictures={"peaks": Markup("<b>drawn peaks</b>")}))
    order = [
        "fdetect inspect: picture.jpg", "likely generated", "Its score is rare.", "It stays so.",
        "Apart from this, the file itself claims to be generated (PNG text parameters, C2PA c2pa.created).",
        "note One branch was absent.", "Stand out as much in their weakest view:", "4.0 % of reference photographs",
        "8.0 % of generated images", "Of 99 photographs 3 score", "Score of the detector: +97.00",
        "What to keep in mind", "It is no probability.",
        "The picture", "show the tiles", "2 of 4 stand out. Text and flat areas often stand out.",
        "EXIF orientation 6", "Does the answer hold?",
        "as stored as it is", "3 of 99 (4.0 %)", "half size smaller", "no score: too small",
        "Those that stand out most come first. 1 of 1 traces stands out", "Peaks in the spectrum stands out",
        "drawn peaks", "Peaks are there. (value 99)", "Noise", "not run it needs torch",
        "A claim is a claim. Nothing below entered the verdict.",
        "claims: made by a generator PNG text: parameters a cat, Steps: 20",
        "Programs write this.", "claims: from a camera or scanner", "claims: edited by a program",
        "untrusted signer", "nobody vouches for it", "Jane Roe", "2026", "Program 1", "it was changed",
        "EXIF thumbnail, 80 x 60 px", "It agrees.", "second preview", "differs from the picture", "It differs.",
        "broken preview", "it cannot be shown", "It is a JPEG of quality 90.", "80 x 60 px", "1,234",
        "All other entries (2)", "EXIF: DateTime", "its XMP packet is not well-formed", "How this report was made",
        "abab", "shipped",
        "0123", "How to read this",
    ]  # fmt: skip
    at = 0
    for text in order:
        found = shown.find(text, at)
        assert found >= 0, f"{text!r} is not on the page behind {shown[max(0, at - 80) : at]!r}"
        at = found + len(text)
    assert "someone" not in shown  # a folder may name a person
    assert not re.search(r"as (high|low) in (every|all)", shown)


def test_cards_of_traces_that_stand_out_come_first_and_those_not_run_last() -> None:
    traces = (Evidence("rigid", "First", reason="no weights"), Evidence("npr", "Second", 9.0, standing(9.0)),
              Evidence("radial", "Third", 98.5, standing(98.5)))  # fmt: skip
    page = render_inspection(replace(inspection(), evidence=traces))
    shown = words(page)
    assert shown.index("Third stands out") < shown.index("Second") < shown.index("First not run no weights")
    assert shown.rpartition("How to read this")[0].count("stands out ") == 1  # on its card alone
    assert "not run not run" not in shown


def test_the_word_has_its_kind() -> None:
    def kinds(word: str) -> list[str | None]:
        one = inspection()
        page = _Page(render_inspection(replace(one, verdict=replace(one.verdict, word=word))))
        found = [dict(attrs).get("class", "") for tag, attrs in page.elements if tag == "div"]
        return [name for name in found if name and name.startswith("verdict")]

    assert kinds("likely generated") == ["verdict marked"]
    assert kinds(REAL) == ["verdict"]
    assert kinds(INCONCLUSIVE) == kinds(NO_VERDICT) == ["verdict hint"]


def test_a_file_that_was_not_read_has_a_page() -> None:
    shown = words(render_inspection(unread()))
    for text in ("broken.png no verdict It is truncated.", "It could not be decoded", "how it was made Not looked for.",
                 "It could not be read.", "Nothing was shown in other ways.", "No trace was measured."):  # fmt: skip
        assert text in shown
    assert "–" not in shown  # no figure is made up, and none is a dash on top
    assert "<img" not in render_inspection(unread())
    assert "truncated" not in shown.replace("It is truncated.", "", 1)  # once
    assert "decode:" not in shown
    assert "tiles." not in shown.partition("What the file says of itself")[0]
    assert re.findall(r'href="#(\w+)"', render_inspection(unread())) == ["provenance", "how", "reading"]


def test_a_quick_page_says_what_was_not_made() -> None:
    shown = words(render_inspection(replace(inspection(), pixels=None, tiles=None, evidence=(), crop=None)))
    assert "The picture Not made: --quick shows the verdict, the views and what the file says." in shown
    assert "could not be decoded" not in shown


def test_one_question_is_asked_of_both_kinds() -> None:
    verdict = inspection().verdict
    assert compared(verdict) == ("Stand out as much in their weakest view:",
                                 (("4.0 %", "of reference photographs"), ("8.0 %", "of generated images")))  # fmt: skip
    assert compared(replace(verdict, word=REAL)) == (
        "Stand out as little in their strongest view:",
        (("70 %", "of reference photographs"), ("61 %", "of generated images")))  # fmt: skip
    assert compared(replace(verdict, generated_as_high=NAN))[1] == (("4.0 %", "of reference photographs"),)
    assert compared(unread().verdict)[1] == ()


def test_what_the_file_claims_is_beside_the_box_and_only_where_it_claims_to_be_generated() -> None:
    page = render_inspection(inspection())
    assert page.index("</h1>") < page.index('<p class="beside">Apart from this') < page.index('<ul class="keys">')
    assert 'class="beside"' not in render_inspection(replace(inspection(), metadata=None, credentials=None))


def test_overlapping_tiles_colour_each_place_once() -> None:
    """Two tiles that share their middle half: 5 to 20 % on the left, 1 % or less on the right."""
    boxes = np.array([[0, 0, 20, 40], [0, 20, 20, 60]])
    tiles = TileScores(20, 60, boxes, np.array([1.0, 2.0]), np.array([0.1, 0.005]), "")
    fills = re.findall(r'd="([^"]+)" fill="#ff8a1f" fill-opacity="([\d.]+)"', str(tile_overlay(tiles)))
    assert fills == [("M0 0H20V20H0z", "0.2"), ("M20 0H60V20H20z", "0.5")]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_makes_no_element_and_no_attribute(text: str) -> None:
    drawn = {"peaks" + text: Markup("<b>drawn</b>")}
    plain = _Page(render_inspection(everywhere(inspection(), "x"), pictures={"peaksx": Markup("<b>drawn</b>")}))
    source = render_inspection(everywhere(inspection(), text), pictures=drawn)
    page = _Page(source)
    allowed = {("td", ("class",))}  # of a cell with a long text
    assert [("td", ()) if one in allowed else one for one in page.shape] == plain.shape
    for tag, attrs in page.elements:
        for name, value in attrs:
            assert not name.startswith("on")
            assert name != "style"
            if name in ("href", "src"):
                assert re.match(r"#[a-z]+$|data:image/jpeg;base64,[A-Za-z0-9+/=]+$", value or ""), (tag, name)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\ud800-\udfff]", source)
    source.encode()
    assert page.words.count(printable(text)[:400]) > 20  # whole, as it is


def test_hostile_texts_are_shown_as_they_are() -> None:
    shown = _Page(render_inspection(everywhere(inspection(), "<script>alert(1)</script>"))).words
    assert shown.count("<script>alert(1)</script>") > 40
    assert "picture.jpg\\u202egpj" in _Page(render_inspection(everywhere(inspection(), "\u202egpj"))).words


def test_nothing_is_loaded_and_nothing_runs_but_the_script_of_all_pages() -> None:
    page = render_inspection(inspection())
    assert "default-src 'none'; img-src data:" in page
    assert page.count("<script>") == page.count("<style>") == 1
    assert not re.search(r"https?://(?!www\.w3\.org)", page)


def test_the_picture_is_made_from_pixels_small_and_never_enlarged() -> None:
    def sizes(height: int, width: int) -> list[tuple[int, int]]:
        one = replace(inspection(), pixels=picture(height, width), tiles=None, thumbnails=())
        uris = re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", render_inspection(one))
        return [Image.open(io.BytesIO(base64.b64decode(uri))).size for uri in uris]

    assert sizes(60, 80) == [(80, 60)]
    assert sizes(600, 1800) == [(900, 300)]
    assert sizes(2400, 200) == [(100, 1200)]


def test_a_preview_is_encoded_again() -> None:
    secret = b"where it was taken"
    data = jpeg(picture(), comment=secret)
    assert secret in data
    one = replace(inspection(), thumbnails=(Thumbnail("EXIF", 80, 60, data, 0.5, True, ""),))
    uris = re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", render_inspection(one))
    files = [base64.b64decode(uri) for uri in uris]
    assert len(files) == 3  # the picture, and small beside the preview
    assert not any(secret in file for file in files)
    assert decode(files[2]).pixels.shape == (60, 80, 3)


def test_tiles_have_outlines_where_they_are_rare() -> None:
    drawn = str(tile_overlay(inspection().tiles))
    assert 'viewBox="0 0 80 60"' in drawn
    assert "20 x 20 px from row 0, column 20: score +97.00, 4.0 % of reference crops score as high" in drawn
    assert drawn.count("<title>") == 2  # and the rarer one is told first
    assert drawn.index("from row 0, column 0: score +99.50, 0.5 %") < drawn.index("from row 0, column 20")
    lines = re.findall(r'd="([^"]+)" fill="none" stroke="#ffffff" stroke-width="[28]"', drawn)
    assert lines == ["M20 0H40V20H20z"] + ["M0 0H20V20H0z"] * 2  # 4 % once, 0.5 % twice
    assert re.findall(r'd="([^"]+)" fill="none" stroke="#ffffff" stroke-width="1.5"', drawn) == ["M0 40H20V60H0z"]
    assert re.findall(r'd="([^"]+)" fill="#ff8a1f" fill-opacity="0.2"', drawn) == ["M0 20H20V40H0z"]
    assert "M20 20H40V40H20z" not in drawn  # as most crops


def test_tiles_without_references_are_not_drawn() -> None:
    one = inspection()
    page = render_inspection(replace(one, tiles=replace(one.tiles, high=np.full(5, NAN), sentence="no references")))
    assert "no references" in page
    assert "show the tiles" not in page
    assert "show the tiles" in render_inspection(one)


def test_steps_have_their_ends() -> None:
    assert [_level(high, 1.0) for high in (0.21, 0.2, 0.051, 0.05, 0.011, 0.01, 0.0, NAN)] == [0, 1, 1, 2, 2, 3, 3, 0]
    assert _level(0.01, NAN) is None


def test_tiles_that_were_not_scored_say_why() -> None:
    none = TileScores(60, 80, np.zeros((0, 4), np.int64), np.zeros(0), np.zeros(0), "", "it is smaller than a tile")
    page = render_inspection(replace(inspection(), tiles=none))
    assert "it is smaller than a tile" in page
    assert "show the tiles" not in page


def test_places_stand_in_order_and_rare_ones_are_diamonds() -> None:
    def x(value: float) -> float:
        drawn = str(place_strip(standing(value)))
        dot, diamond = re.search(r'<circle cx="([\d.]+)"', drawn), re.search(r'<path d="M([\d.]+) ', drawn)
        assert bool(dot) == (standing(value).high > 0.05)
        return float(dot[1]) if dot else float(diamond[1]) + 7  # type: ignore[index]

    places = [x(value) for value in (0.0, 30.0, 50.0, 80.0, 95.0, 97.0, 98.0)]
    assert places == sorted(places)
    assert len(set(places)) == len(places)
    assert 8 <= places[0] < places[-1] <= 242
    assert x(50.5) == pytest.approx(125)  # as high as 49 of 99: the share is one half, in the middle
    for nothing in (standing(NAN), Standing(1.0, np.array([]))):
        assert "circle" not in place_strip(nothing)


def large(kilobytes: int) -> Markup:
    return Markup("<b>{}</b>").format("p" * (1024 * kilobytes))


def test_pictures_go_in_the_stated_order_and_the_page_says_so() -> None:
    traces = tuple(Evidence(f"t{k}", f"Trace {k}", 9.0, standing(9.0), "", 0.6) for k in range(4))
    one = replace(inspection(), evidence=traces)
    page = render_inspection(one, pictures={f"t{k}": large(900) for k in range(4)})
    assert len(page.encode()) < 2_950_000
    assert page.count("<b>ppp") == 3
    assert "keep this page below 3 MB: what is seen of Trace 3." in words(page)
    tiny = words(render_inspection(one, limit=1000))
    order = ["preview 2", "preview 1", "the chart of Trace 3", "the chart of Trace 0", "beside previews", "the tiles",
             "the picture."]  # fmt: skip
    assert [tiny.find(text) for text in order] == sorted(tiny.find(text) for text in order)
    assert tiny.find(order[0]) > 0
    assert "It is not shown: see above." in tiny
    assert "Not shown" not in render_inspection(one)


def test_the_page_is_small_whatever_is_in_it() -> None:
    text = "\U000e0001\"<&'" * 600
    one = inspection()
    noise = np.random.default_rng(0).integers(0, 256, (950, 950, 3), dtype=np.uint8)
    boxes = np.array([[y, x, y + 8, x + 8] for y in range(0, 400, 8) for x in range(0, 400, 8)])
    many = everywhere(replace(
        one, views=one.views * 105, evidence=one.evidence * 105, thumbnails=one.thumbnails[2:] * 205,
        notices=("",) * 205,
        metadata=Metadata(tuple(Claim("EXIF", f"{k}", "", "camera" * (k % 2)) for k in range(420)), ("",) * 205),
        tiles=TileScores(400, 400, boxes, np.full(len(boxes), 99.5), np.full(len(boxes), 0.005), ""), pixels=noise,
    ), text)  # fmt: skip
    page = render_inspection(many)
    assert len(page.encode()) < 3_000_000
    assert "which are not shown" in page
    assert "more claims are not shown" in page
    assert "likely generated" in page


def test_the_same_values_make_the_same_page() -> None:
    assert render_inspection(inspection()) == render_inspection(inspection())


def test_a_photograph_has_a_page(shared_data) -> None:
    file = shared_data / "real/kodak24/0016.png"
    decoded = decode(file.read_bytes())
    one: Inspection = replace(inspection(), path=str(file), facts=decoded.facts, pixels=decoded.pixels, tiles=None)
    page = render_inspection(one)
    assert 20_000 < len(page.encode()) < 1_000_000
    assert f"{decoded.facts.width} x {decoded.facts.height} px, shown at" in words(page)
    assert REFERENCES.tolist() == sorted(REFERENCES)
