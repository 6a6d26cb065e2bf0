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
        "  Apart from this, the file itself claims to be generated (PNG text parameters, C2PA c2pa.created).",
        "  Of 99 photographs 3 score as high.",
        "  Mind: It is no probability.",
        "  Note: One branch was absent.",
        "  view       score   photographs as high",
        "  as stored  +97.00  3 of 99 (4.0 %)",
        "  half size  –       no score: too small",
        "  Tiles: 2 of 4 stand out.",
        "  1 of 1 traces stands out, each at a level of 5 %; of a photograph 0.1 would by chance. They look",
        "  at the same pixels, so that several often stand out together.",
        "  trace                  photographs as far  AUROC alone (chance: 0.50)",
        "  Peaks in the spectrum  1 of 99 (2.0 %)     0.61",
        "  Not run: Noise: it needs torch",
        "  Claims of the file (none entered the verdict); Content Credentials: untrusted signer",
        "    generator  PNG text parameters  a cat, Steps: 20",
        "    generator  C2PA c2pa.created    by Program 1",
        "    camera     EXIF Make            Canon",
        "    edited     EXIF Software        Editor",
        "    and 2 more in the report",
        "    Preview (second preview): It differs.",
        "  Report: out.html",
    ]


def test_the_lines_of_a_file_that_was_not_read() -> None:
    assert terminal_lines(unread()) == [
        "NO VERDICT: broken.png",
        "  - It is truncated.",
        "  What the file claims was not looked for",
    ]


def test_no_more_than_six_claims() -> None:
    claims = tuple(Claim("EXIF", f"Tag{k:02}", "Canon", "camera") for k in range(11))
    one = replace(inspection(), metadata=Metadata(claims), credentials=Credentials("absent", ""))
    lines = terminal_lines(one)
    assert [line for line in lines if "EXIF" in line] == [f"    camera  EXIF Tag{k:02}  Canon" for k in range(6)]
    assert "    and 5 more with -o report.html" in lines
    assert "    and 5 more in the report" in terminal_lines(one, report="out.html")


def test_of_what_the_verdict_does_not_mean_one_line_is_shown() -> None:
    one = inspection()
    three = replace(one, verdict=replace(one.verdict, not_meant=("Not this.", "Nor that.", "Nor else.")))
    assert "  Mind: Not this. (2 more in the report)" in terminal_lines(three, report="out.html")
    assert not any("Nor" in line for line in terminal_lines(three))


def test_single_crops_are_one_row() -> None:
    values = {"crop 1": 97.0, "crop 2": 40.0, "crop 3": float("nan"), "crop 4": 97.0, "half size": 50.5}
    views = tuple(View(name, "", "matched", standing(value)) for name, value in values.items())
    assert [line for line in terminal_lines(replace(inspection(), views=views)) if "crop" in line] == [
        "  3 single crops  +40.00 to +97.00  60 of 99 (61 %) to 3 of 99 (4.0 %)",
    ]
    (alone, *_) = views
    assert not any("crop" in line for line in terminal_lines(replace(inspection(), views=(alone, views[-1]))))
    bare = tuple(replace(view, standing=Standing(view.standing.value, np.zeros(0))) for view in views)
    assert "  3 single crops  +40.00 to +97.00  no reference photographs" in terminal_lines(
        replace(inspection(), views=bare))


def test_traces_that_stand_out_come_first_on_the_side_where_generated_images_are() -> None:
    """`residual` is expected low: of 99 photographs with 1, 2, ..., 99 two have at most 2.5."""
    lost, gone = Evidence("rigid", "Lost", reason="b"), Evidence("radial", "Gone", reason="a")
    traces = (Evidence("npr", "Pixels", 50.5, standing(50.5), weight=0.6), lost,
              Evidence("residual", "Noise", 2.5, standing(2.5), weight=0.7), gone)  # fmt: skip
    lines = terminal_lines(replace(inspection(), evidence=traces))
    at = lines.index("  trace   photographs as far  AUROC alone (chance: 0.50)")
    assert lines[at + 1 : at + 4] == [
        "  Noise   2 of 99 (3.0 %)     0.70",
        "  Pixels  49 of 99 (50 %)     0.60",
        "  Not run: Lost; Gone (why: with -o report.html)",
    ]
    assert lines[at - 2].startswith("  1 of 2 traces stands out")
    (alone,) = [line for line in terminal_lines(replace(inspection(), evidence=traces[:2])) if "Lost" in line]
    assert alone == "  Not run: Lost: b"  # once


def test_a_trace_that_is_no_better_than_guessing_comes_after_those_that_stand_out() -> None:
    rare = Evidence("npr", "Pixels", 99.5, standing(99.5), weight=0.5)
    other = Evidence("t", "Other", 98.5, standing(98.5), weight=0.6)
    lines = terminal_lines(replace(inspection(), evidence=(rare, other)))
    assert [line.split()[0] for line in lines if line.startswith(("  Pixels", "  Other"))] == ["Other", "Pixels"]
    assert any(line.startswith("  1 of 1 traces stands out") for line in lines)


def test_of_many_traces_those_that_stand_out_are_shown_and_few_others() -> None:
    def shown(n_out: int) -> list[str]:
        traces = [Evidence(f"t{k}", f"T{k}", 0.0, standing(99.0 if k < n_out else 50.0), weight=0.6) for k in range(9)]
        lines = terminal_lines(replace(inspection(), evidence=tuple(traces[::-1])))
        return [line for line in lines if line.startswith("  T") and line[3].isdigit()]

    assert [line[2:4] for line in shown(7)] == ["T6", "T5", "T4", "T3", "T2", "T1", "T0"]
    assert [line[2:4] for line in shown(1)] == ["T0", "T8", "T7", "T6", "T5"]


def test_what_made_an_image_fail_is_said_once() -> None:
    one = unread()
    said = replace(one, verdict=replace(one.verdict, because=("It cannot be judged.",)))
    assert sum("truncated" in line for line in terminal_lines(said)) == 1


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
