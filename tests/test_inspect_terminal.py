"""The lines of one image: the verdict first, every line fits, and nothing in a file steers the terminal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny_inspection import everywhere, inspection, standing, unread

from fdetect.bench.inspecting.inspection import Evidence, Standing, View
from fdetect.bench.inspecting.shown.terminal import terminal_lines, width_of
from fdetect.metadata.claims import Claim, Metadata
from fdetect.metadata.credentials import Credentials


def test_the_lines_of_an_image() -> None:
    assert terminal_lines(inspection(), report="out.html") == [
        "LIKELY GENERATED: picture.jpg",
        "  - Its score is rare.",
        "  - It stays so.",
        "  Of 99 photographs 3 score as high.",
        "  Not meant: It is no probability.",
        "  Note: One branch was absent.",
        "  view       score   photographs as high",
        "  as stored  +97.00  3 of 99 (4.0 %)",
        "  half size  –       no score: too small",
        "  Tiles: 2 of 4 stand out.",
        "  trace                  photographs as high  AUROC alone",
        "  Peaks in the spectrum  1 of 99 (2.0 %)      0.61",
        "  Noise                  not run: it needs torch",
        "  What the file says of itself (claims; none entered the verdict)",
        "    generator  PNG text parameters  a cat, Steps: 20",
        "    generator  C2PA c2pa.created    by Program 1",
        "    camera     EXIF Make            Canon",
        "    edited     EXIF Software        Editor",
        "    and 2 more in the report",
        "    Content Credentials: untrusted signer",
        "    Preview (second preview): It differs.",
        "  Report: out.html",
    ]


def test_the_lines_of_a_file_that_was_not_read() -> None:
    assert terminal_lines(unread()) == [
        "INCONCLUSIVE: broken.png",
        "  not scored: decode: it is truncated",
        "  - it could not be decoded",
        "  What the file says of itself (claims; none entered the verdict): nothing on how it was made",
    ]


def test_no_more_than_eight_claims() -> None:
    claims = tuple(Claim("EXIF", f"Tag{k:02}", "Canon", "camera") for k in range(11))
    lines = terminal_lines(replace(inspection(), metadata=Metadata(claims), credentials=Credentials("absent", "")))
    assert [line for line in lines if "EXIF" in line] == [f"    camera  EXIF Tag{k:02}  Canon" for k in range(8)]
    assert "    and 3 more in the report" in lines


def test_without_references_it_says_so() -> None:
    nothing = Standing(1.0, np.zeros(0))
    traces = (Evidence("a", "A", 1.0, nothing), Evidence("b", "B", 1.0))
    one = replace(inspection(), views=(View("as stored", "", "matched", nothing),), evidence=traces)
    lines = terminal_lines(one)
    assert "  as stored  +1.00  no reference photographs" in lines
    assert "  A      no reference photographs  –" in lines
    assert "  B      no reference photographs  –" in lines


def test_a_view_without_a_score_has_a_reason() -> None:
    one = replace(inspection(), views=(View("half size", "", "half", standing(float("nan"))),))
    assert "  half size  –      no score: no reason was given" in terminal_lines(one)


@pytest.mark.parametrize("columns", [60, 100])
@pytest.mark.parametrize(
    "text",
    ["\x1b[31m\r\n\x00\u202e", "w" * 3000, "図" * 300, " many words" * 200, "\udcff", "<b>", "\t|\u2028", "é" * 90],
)
def test_whatever_a_file_holds_lines_fit_and_steer_nothing(text: str, columns: int) -> None:
    lines = terminal_lines(everywhere(inspection(), text), report=f"out{text}.html", columns=columns)
    for line in lines:
        assert line.isprintable(), line
        assert width_of(line) <= columns, line
        line.encode()
    assert lines[0].startswith("LIKELY GENERATED: picture.jpg")
    assert len(lines) < 250


def test_wide_characters_count_two() -> None:
    assert [width_of(text) for text in ("", "abc", "図", "a図b")] == [0, 3, 2, 4]
