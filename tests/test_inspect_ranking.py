"""The ranking of many images: its order and places, the table, the lines of a terminal, and the page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from urllib.parse import unquote

import pyarrow.csv
import pyarrow.parquet
import pytest
from PIL import Image
from tiny_inspection import NAN, everywhere, inspection, picture, unread

from fdetect.bench.inspecting.inspection import GENERATED, INCONCLUSIVE, NO_VERDICT, REAL, Inspection
from fdetect.bench.inspecting.shown.outputs import thumbnails
from fdetect.bench.inspecting.shown.ranking import (
    claims_text,
    counts_text,
    failures_grid,
    ranked,
    ranking_grid,
    ranking_table,
    ranks,
    share_digits,
)
from fdetect.bench.inspecting.shown.ranking_page import MOST, PICTURED, render_ranking
from fdetect.bench.inspecting.shown.words import AS_MUCH
from fdetect.bench.inspecting.verdict import ALWAYS
from fdetect.bench.report.grid import printable
from fdetect.files import write_table
from fdetect.metadata.claims import Claim, Metadata
from fdetect.metadata.credentials import Credentials

HOSTILE = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "' onload='alert(1)",
    "</title></style></table></svg><svg onload=alert(1)>",
    "javascript:alert(1)",
    "//e.example/?a=1#<a href=https://e.example>",
    "\u202egpj.exe\u2066\x1b[31m\r\n\x00",
    "{{ 7 * 7 }}{% raw %}",
    "]]> --> &lt;b&gt; \udcff",
    "w" * 3000,
)
ABOUT = {"detector": "shipped", "calibration set": "180 photographs (180 coco)"}


class _Page(HTMLParser):
    """All elements with their attributes, the texts of cells by row, and the text of a page."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self._words, self._inside, self._in_row = list[str](), "", False
        self.feed(source)
        self.close()
        self.rows = [[" ".join(cell.split()) for cell in row] for row in self.rows]
        self.words = " ".join("".join(self._words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "tr":
            self.rows.append([])
            self._in_row = True
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""
        self._in_row = self._in_row and tag != "tr"

    def handle_data(self, data: str) -> None:
        if self._inside in ("style", "script"):
            return
        self._words.append(data)
        if self._in_row:
            self.rows[-1][-1] += data

    def values(self, tag: str, attribute: str) -> list[str]:
        return [attrs[attribute] or "" for name, attrs in self.elements if name == tag and attribute in attrs]

    @property
    def shape(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(tag, tuple(attrs)) for tag, attrs in self.elements]


INSPECTION = inspection()


def one(path: str, p_real: float, score: float = 0.0, word: str = INCONCLUSIVE) -> Inspection:
    """An image with a place, without claims."""
    made = INSPECTION
    verdict = replace(made.verdict, word=word, p_real=p_real, score=score)
    return replace(made, path=path, verdict=verdict, metadata=None, credentials=Credentials("absent", ""))


def failed(path: str) -> Inspection:
    return replace(unread(), path=path)


def page_of(inspections: Sequence[Inspection], **more: object) -> str:
    given: dict[str, object] = {"reports": {}, "folder": Path(), **more}
    return render_ranking(inspections, ABOUT, **given)  # type: ignore[arg-type]


def test_the_rarest_come_first_then_the_highest_scores_then_those_without_either() -> None:
    given = [failed("g"), one("f", NAN, -1.0), one("e", NAN, 9.0), one("d", 0.5, 3.0), one("a", 0.01, -5.0),
             one("c", 0.5, 4.0), failed("h"), one("b", 0.02, 1.0)]  # fmt: skip
    found = ranked(given)
    assert [x.path for x in found] == ["a", "b", "c", "d", "e", "f", "g", "h"]
    assert ranks(found) == [1, 2, 3, 4, 5, 6, None, None]
    assert ranked(reversed(found))[:6] == found[:6]
    assert [x.path for x in ranked(reversed(found))[6:]] == ["h", "g"]  # equal ones stay as given


def test_equal_images_share_a_place_and_keep_their_order() -> None:
    found = ranked([one("z", 0.5, 1.0), one("y", 0.1, 2.0), one("x", 0.5, 1.0), one("w", 0.5, 0.9), one("v", 0.5, 1.0)])
    assert [x.path for x in found] == ["y", "z", "x", "v", "w"]
    assert ranks(found) == [1, 2, 2, 2, 5]
    assert ranks([]) == []


def test_the_table_holds_what_is_known_and_nulls_elsewhere(tmp_path: Path) -> None:
    found = ranked([failed("broken.png"), one('=1+1,"a"\n.png', 0.04, 97.0), inspection()])
    rows = ranking_table(found).to_pylist()
    assert [row["rank"] for row in rows] == [1, 1, None]  # the same picture twice
    assert rows[0] == {
        "rank": 1, "id": "ab" * 16, "path": "=1+1,\"a\"\n.png", "verdict": INCONCLUSIVE,
        "because": "Its score is rare. It stays so.", "score": 97.0, "p_real": 0.04, "p_generated": 0.61,
        "generated_as_high": 0.08, "real_as_low": 0.7,
        "score: as stored": 97.0, "score: half size": None, "claims_generated": "", "c2pa": "absent",
        "format": "JPEG", "width": 80, "height": 60, "status": "ok", "reason": "",
    }  # fmt: skip
    assert rows[2] == {**dict.fromkeys(rows[0]), "id": "", "path": "broken.png", "verdict": NO_VERDICT,
                       "because": "It is truncated.", "claims_generated": "", "c2pa": "", "format": "",
                       "status": "failed", "reason": "it is truncated"}  # fmt: skip
    write_table(ranking_table(found), tmp_path / "a.parquet")
    write_table(ranking_table(found), tmp_path / "a.csv")
    assert pyarrow.parquet.read_table(tmp_path / "a.parquet").to_pylist() == rows
    options = pyarrow.csv.ParseOptions(newlines_in_values=True)
    assert pyarrow.csv.read_csv(tmp_path / "a.csv", parse_options=options).num_rows == 3


def test_claims_are_named_once_and_counted() -> None:
    made = [Claim("XMP", f"k{k}", "", "generated") for k in (1, 1, 2, 3, 4, 5)] + [Claim("EXIF", "Make", "", "camera")]
    said = replace(inspection(), metadata=Metadata(tuple(made)), credentials=None)
    assert claims_text(said) == "claims to be generated: XMP k1, XMP k2, XMP k3 and 2 more"
    assert claims_text(failed("x")) == ""


@pytest.mark.parametrize("width", [80, 100, 160])
def test_rows_fit_the_terminal(width: int) -> None:
    long = replace(inspection(), path="folder/" + "w" * 300 + "\u202e.png")
    shown = ranked([long, one("b.png", 0.0004), failed("broken.png")])
    grid = ranking_grid(shown, 40, width=width)
    lines = [grid.columns, *grid.rows]
    widths = [max(len(printable(line[k])) for line in lines) for k in range(5)]
    assert sum(widths) + 2 * len(widths) <= width
    assert [row[0] for row in grid.rows] == ["1", "2"]
    assert grid.rows[0] == ("1", "b.png", INCONCLUSIVE, "0.04 %", "")
    assert grid.rows[1][1].startswith("folder/ww")
    assert grid.rows[1][1].endswith("w\\u202e.png")
    assert grid.rows[1][4].startswith("claims to be ")
    assert grid.note.startswith("Of 2 judged 1 likely generated, 1 inconclusive, 0 likely real; 1 without a verdict. "
                                "As much: ")
    assert AS_MUCH in grid.note


def test_rows_beyond_the_most_are_counted_and_failures_have_rows_of_their_own() -> None:
    shown = ranked([one(f"{k}.png", k / 10) for k in range(1, 6)] + [failed(f"broken{k}.png") for k in range(3)])
    assert "3 more in the table that --out writes" in ranking_grid(shown, 2).note
    assert len(ranking_grid(shown, 2).rows) == 2
    assert "more" not in ranking_grid(shown, 5).note
    failures = failures_grid(shown, 2)
    assert failures.rows == tuple((f"broken{k}.png", "it is truncated") for k in range(2))
    assert failures.note == "1 more in the table that --out writes"
    assert failures_grid(shown[:5], 2).rows == ()


def test_shares_are_numbers_that_can_be_sorted() -> None:
    assert [share_digits(p) for p in (0.0004, 0.00002, 0.006, 0.5, NAN)] == ["0.04 %", "0.002 %", "0.6 %", "50 %", "–"]


def test_the_page_counts_says_what_chance_gives_and_shows_rows_in_order() -> None:
    made = ranked([one(f"in/{k}.png", 0.1 + k / 1000) for k in range(146)] + [failed("broken.png"), failed("no.png")]
                  + [one("a.png", 0.006, word=GENERATED), one("b.png", 0.9, word=REAL), inspection()])  # fmt: skip
    page = _Page(page_of(made))
    for text in ("2 of 149 judged likely generated", "151 images, the most suspicious first",
                 "180 photographs (180 coco)", "If all 149 that were judged were photographs like these,",
                     "chance alone would call up to 1.5 of them",
                 "2 likely generated",
                 "in its weakest view it stands out as at most 1 photograph in 100 does in its own", "146 inconclusive",
                 "1 likely real", "2 no verdict",
                 "1 of 151 claims to be generated"):  # fmt: skip
        assert text in page.words
    assert "no more than that" not in page.words  # 2 are more than 1.5
    assert page.rows[0] == ["place", "image", "verdict", AS_MUCH, "claims of the file"]
    assert page.rows[1] == ["1", "a.png", "likely generated Its score is rare.", "0.6 %", ""]
    assert page.rows[2][1:4] == ["picture.jpg in folder of someone/", "likely generated Its score is rare.", "4.0 %"]
    assert page.rows[2][4] == ("claims to be generated: PNG text parameters, C2PA c2pa.created C2PA: untrusted signer")
    assert page.rows[151] == ["–", "no.png", "no verdict it is truncated", "–", ""]
    assert len(page.rows) == 152
    classes = [attrs.get("class") for tag, attrs in page.elements if tag == "td" and "class" in attrs]
    assert classes == ["own"] * 151  # claims stand apart


def test_a_share_is_named_alike_everywhere() -> None:
    page = page_of([one("a.png", 0.5)])
    assert _Page(page).words.count(AS_MUCH) == 3  # the column, and twice how it is read
    style = files("fdetect.bench.report").joinpath("templates/report.css").read_text(encoding="utf-8")
    assert f'content: "{AS_MUCH}"' in style  # where a narrow page has no heads of columns
    assert not re.search(r"as (high|low) in (every|all)", page)


def test_no_more_than_chance_is_said_to_be_so() -> None:
    made = [one(f"{k}.png", 0.5) for k in range(299)] + [one("a.png", 0.006, word=GENERATED)]
    words = _Page(page_of(ranked(made))).words
    assert "would call up to 3.0 of them" in words
    assert "The 1 found is no more than that" in words
    none = _Page(page_of(made[:20])).words
    assert "none of 20 judged likely generated" in none
    assert "found" not in none.partition("How to read this")[0]
    words = _Page(page_of([replace(one("a", NAN), credentials=None), failed("b")])).words
    assert "No image could be held against photographs" in words
    assert "chance" not in words


def test_marks_move_to_the_right_as_shares_fall() -> None:
    shares = (0.9, 0.5, 0.2, 0.051, 0.05, 0.01, 0.001)
    source = page_of([one(str(p), p) for p in shares]).partition("<tbody>")[2]
    dots = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', source)]
    diamonds = [float(x) + 5 for x in re.findall(r'<path d="M([\d.]+) 7l5', source)]
    assert (len(dots), len(diamonds)) == (4, 3)
    assert dots + diamonds == sorted(dots + diamonds)
    assert dots[1] == 60  # one half is in the middle of 120 px
    assert dots[0] >= 6
    assert diamonds[-1] <= 114


def test_links_are_relative_and_encoded_and_only_for_reports_that_were_made(tmp_path: Path) -> None:
    reports = tmp_path / 're ports: 100%#1?<"&'
    made = [one("a.png", 0.1), one("b.png", 0.2)]
    page = _Page(page_of(made, reports={"a.png": reports / "000001-abababab.html"}, folder=tmp_path / "out"))
    links = page.values("a", "href")
    assert links == ["../re%20ports%3A%20100%25%231%3F%3C%22%26/000001-abababab.html"]
    assert (tmp_path / "out" / unquote(links[0])).resolve() == (reports / "000001-abababab.html").resolve()
    assert "Names lead to the report" in page.words
    beside = _Page(page_of(made, reports={"a.png": tmp_path / "javascript:x" / "1.html"}, folder=tmp_path))
    assert beside.values("a", "href") == ["javascript%3Ax/1.html"]
    assert "Names lead" not in _Page(page_of(made)).words


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_makes_no_element_and_no_attribute(text: str) -> None:
    uri = "data:image/jpeg;base64,AAAA"

    def page(end: str) -> str:
        made = [everywhere(inspection(), end), everywhere(failed("a/broken.png"), end)]
        reports = {made[0].path: Path("reports/000001-abababab.html")}
        about = {name + end: value + end for name, value in ABOUT.items()}
        return render_ranking(made, about, reports=reports, folder=Path(), thumbnails={made[0].path: uri})

    source = page(text)
    found = _Page(source)
    assert found.shape == _Page(page("x")).shape
    for _, attrs in found.elements:
        assert not [name for name in attrs if name.startswith("on") or name == "style"]
    assert found.values("img", "src") == [uri]
    assert found.values("a", "href") == ["reports/000001-abababab.html"]
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\ud800-\udfff]", source)
    source.encode()
    assert found.words.count(" ".join(printable(text)[:60].split())) >= 8  # whole, as it is
    assert "default-src 'none'; img-src data:" in source
    assert source.count("<script>") == source.count("<style>") == 1


def test_the_page_of_ten_thousand_is_small_and_says_what_it_leaves_out() -> None:
    made = [one(f"folder/{k:05d}.jpg", (k + 1) / 10001) for k in range(10000)]
    uri = "data:image/jpeg;base64," + "A" * 8000
    source = page_of(made, thumbnails={x.path: uri for x in made})
    page = _Page(source)
    assert len(source.encode()) < 2_950_000
    assert len(page.rows) == 1 + MOST
    assert "8000 more images in the table that --out writes" in page.words
    n = len(page.values("img", "src"))
    assert 100 < n < PICTURED
    assert f"Pictures of the first {n} alone" in page.words
    assert page.rows[n][1] == f"{n - 1:05d}.jpg in folder/"
    assert len(source.encode()) + len(uri) + 20 * n + 400 > 2_950_000  # not one more has room


def test_the_page_is_small_whatever_the_texts_are() -> None:
    made = [everywhere(inspection(), "\U000e0001\"<&'" * 600)] * 3000
    source = page_of(made)
    shown = len(_Page(source).rows) - 1
    assert len(source.encode()) < 2_950_000
    assert 200 < shown < MOST
    assert f"{3000 - shown} more images" in _Page(source).words


def test_thumbnails_are_read_from_files_and_what_cannot_be_read_has_none(tmp_path: Path) -> None:
    Image.fromarray(picture(600, 800)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    made = [one("a.png", 0.1), failed("b.png"), failed("gone.png")]
    small = thumbnails(made, str(tmp_path))
    assert list(small) == ["a.png"]
    page = _Page(page_of(made, thumbnails=small))
    assert page.values("img", "src") == [small["a.png"]]
    assert [row[1] for row in page.rows[1:]] == ["a.png", "no pictureb.png", "no picturegone.png"]
    assert "Pictures of the first" not in page.words


def test_what_weakens_answers_is_said_once_with_how_many() -> None:
    made = [replace(one(f"{k}.png", 0.5), notices=("A branch is absent.", f"n{k}") if k else ()) for k in range(9)]
    words = _Page(page_of(made)).words
    assert words.count("A branch is absent.") == 1
    assert "8 of 9 images: A branch is absent." in words
    assert "1 of 9 images: n1" in words
    assert "and 5 other remarks, which the reports of the images have" in words
    assert "remarks" not in _Page(page_of(made[:4])).words


def test_what_is_said_of_all_inconclusive_images_is_said_once() -> None:
    def said(path: str, *meant: str, word: str = INCONCLUSIVE) -> Inspection:
        made = one(path, 0.5, word=word)
        return replace(made, verdict=replace(made.verdict, not_meant=(*ALWAYS, *meant)))

    made = [said("a", "Nobody can."), said("b", "Nobody can.", "Own."), said("c", "C.", word=GENERATED)]
    words = _Page(page_of([*made, failed("d")])).words
    assert words.count("Nobody can.") == 1
    assert "Own." not in words
    assert ALWAYS[0] not in words
    assert "Nobody can." not in _Page(page_of([*made, said("e", "E.")])).words


def test_the_same_values_make_the_same_page() -> None:
    made = ranked([inspection(), unread()])
    assert page_of(made) == page_of(made)
    assert counts_text(made) == "Of 1 judged 1 likely generated, 0 inconclusive, 0 likely real; 1 without a verdict"
