"""The sentences of a verdict: each case in full, so that a reader of the test sees what a journalist would read."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from fdetect.bench.inspecting.inspection import GENERATED, INCONCLUSIVE, NO_VERDICT, REAL, Standing, Verdict, View
from fdetect.bench.inspecting.judging import Judged, Judges
from fdetect.bench.inspecting.references import References
from fdetect.bench.inspecting.verdict import no_verdict, of_thousand, one_in, verdict_of

VIEWS = tuple(View(name, name, "native", Standing(1.0, np.empty(0))) for name in ("as stored", "JPEG 70", "half size"))
NAN = math.nan


def held(generators: list[str], n: int = 180, measured: str = "") -> References:
    return References({}, {}, np.array(["own"] * n, object), np.array(generators, object), np.empty((0, 4)), {},
                      {"measured": measured})  # fmt: skip


MANY = held(["a"] * 120 + ["b"] * 150)


def verdict(p_real: float, as_high: float, p_generated: float, as_low: float, high: tuple[float, ...] = (0.3, 0.3, 0.3),
            references: References = MANY, floors: tuple[float, float] = (1 / 181, 0.008)) -> Verdict:  # fmt: skip
    one = (np.array([value]) for value in (p_real, p_generated, as_high, as_low))
    return verdict_of(Judged(np.array(high)[:, None], *one, *floors), 0, VIEWS, references, 1.5)


def test_likely_generated() -> None:
    one = verdict(1 / 181, 0.02, 0.99, 0.0, (0.02, 0.03, 0.17))
    assert one.word == GENERATED
    assert one.because == ("In its weakest view, \"half size\", 1 photograph in 6 scores as high; none of 180 "
                           "photographs stands out as much in its own weakest view. Images of the reference generators "
                           "do so 3 times as often (2.0 %, and 0.6 % of photographs).",)  # fmt: skip
    assert one.meaning == ("Of 1,000 photographs like the reference photographs, about 6 stand out as much in their "
                           "weakest view, the one in which they stand out least; of 1,000 images of the reference "
                           "generators, about 20 do.")  # fmt: skip
    assert (one.score, one.p_real, one.p_generated) == (1.5, 1 / 181, 0.99)
    assert (one.generated_as_high, one.real_as_low) == (0.02, 0.0)
    assert sum("denoised" in line for line in one.not_meant) == 1
    assert not any("Inconclusive" in line for line in one.not_meant)


def test_likely_real() -> None:
    one = verdict(0.7, 0.9, 0.008, 0.1, (0.6, 0.4, 0.97))
    assert one.word == REAL
    assert one.because == ("In its strongest view, \"JPEG 70\", 4 photographs in 10 score as high; none of the images "
                           "of the reference generators stands out as little in its own strongest view. Photographs do "
                           "so 12 times as often (10 %, and 0.8 % of images of the reference generators).",
                           )  # fmt: skip
    some = verdict(0.7, 0.9, 0.009, 0.1, (0.6, 0.4, 0.97))
    assert "; only 1 generated image in 111 stands out as little in its own strongest view. Ph" in some.because[0]
    assert one.meaning == ("Of 1,000 images of the reference generators, about 8 stand out as little in their "
                           "strongest view, the one in which they stand out most; of 1,000 photographs like the "
                           "reference photographs, about 100 do.")  # fmt: skip


CASES = {
    "rare, and without odds": (
        verdict(1 / 181, 0.0165, 0.99, 0.0, (0.34, 0.02, 0.03)),
        "In its weakest view, \"as stored\", 3 photographs in 10 score as high; none of 180 photographs stands out as "
        "much in its own weakest view. Images of the reference generators do so 2.9 times as often (1.7 %, and 0.6 % "
        "of photographs); a claim takes 3 times.",
    ),
    "rare, and generated images are so as often": (
        verdict(0.01, 0.01, 0.99, 0.0, (0.02, 0.03, 0.17)),
        "In its weakest view, \"half size\", 1 photograph in 6 scores as high; only 1 photograph in 100 stands out as "
        "much in its own weakest view. Images of the reference generators do so no more often (1.0 %, and 1.0 % of "
        "photographs); a claim takes 3 times.",
    ),
    "rare, and generated images are so less often": (
        verdict(1 / 181, 0.002, 0.99, 0.0, (0.02, 0.03, 1 / 181)),
        "In its weakest view, \"JPEG 70\", 1 photograph in 33 scores as high; none of 180 photographs stands out as "
        "much in its own weakest view. Images of the reference generators do so less often (0.2 %, and 0.6 % of "
        "photographs); a claim takes 3 times.",
    ),
    "somewhat rare": (
        verdict(2 / 181, 0.2, 0.9, 0.1, (0.02, 0.03, 0.17)),
        "In its weakest view, \"half size\", 1 photograph in 6 scores as high; 1 photograph in 90 stands out as much "
        "in its own weakest view. Images of the reference generators do so 18 times as often (20 %, and 1.1 % of "
        "photographs); a claim takes 1 photograph in 100, or fewer, and generated images 3 "
        "times as often.",
    ),
    "somewhat rare, and generated images are so less often": (
        verdict(2 / 181, 0.01, 0.9, 0.1, (0.02, 0.03, 0.17)),
        "In its weakest view, \"half size\", 1 photograph in 6 scores as high; 1 photograph in 90 stands out as much "
        "in its own weakest view. Images of the reference generators do so less often (1.0 %, and 1.1 % of "
        "photographs); a claim takes 1 photograph in 100, or fewer, and generated images 3 "
        "times as often.",
    ),
    "views that disagree": (
        verdict(0.28, 0.3, 0.9, 0.1, (0.02, 0.28, 0.97)),
        "The views disagree: at most 1 photograph in 20 scores as high in \"as stored\", but more do in \"JPEG 70\" "
        "(3 photographs in 10) and \"half size\" (nearly every photograph).",
    ),
    "views that disagree by a little": (
        verdict(0.052, 0.3, 0.9, 0.1, (0.05, 0.0501, 0.02)),
        "The views disagree: at most 1 photograph in 20 scores as high in \"as stored\" and \"half size\", but more "
        "do in \"JPEG 70\" (1 photograph in 19).",
    ),
    "low, and so are few photographs": (
        verdict(0.9, 0.9, 0.009, 0.01),
        "In its strongest view, \"as stored\", 3 photographs in 10 score as high; only 1 generated image in 111 stands "
        "out as little in its own strongest view. Photographs do so 1.1 times as often (1.0 %, and 0.9 % of images of "
        "the reference generators); a claim takes 3 times.",
    ),
    "nothing": (
        verdict(0.4, 0.5, 1 / 13, 1 / 9),
        "Nothing stands out in any view: 1 photograph in 9 stands out as little in its strongest view, and 1 generated "
        "image in 13 does. That is no sign of a photograph, nor of a generated image.",
    ),
    "nothing, as many of both": (
        verdict(0.4, 0.5, 0.276, 0.3),
        "Nothing stands out in any view: 3 photographs in 10 stand out as little in their strongest view, and 3 "
        "generated images in 10 do. That is no sign of a photograph, nor of a generated image.",
    ),
    "nothing, as more photographs": (
        verdict(0.4, 0.5, 0.02, 0.2),
        "Nothing stands out in any view: 1 photograph in 5 stands out as little in its strongest view, and 1 generated "
        "image in 50 does. To be called a photograph takes 1 generated image in 100, or fewer.",
    ),
    "like neither": (
        verdict(0.006, 0.9, 0.009, 0.9),
        "It is like neither: few photographs stand out as much in their weakest view, and few images of the reference "
        "generators as little in their strongest.",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_inconclusive(name: str) -> None:
    one, expected = CASES[name]
    assert one.word == INCONCLUSIVE
    assert one.because == (expected,)
    assert one.not_meant[0].startswith("Inconclusive is neither")
    assert not re.search(r"nan|inf|\d/\d|1 in \d+\.", " ".join((*one.because, one.meaning)))


def test_what_the_references_cannot_say_is_said() -> None:
    few = held(["a"] * 300, n=20)
    one = verdict(1 / 21, 0.5, 0.9, 0.0, (2 / 21, 2 / 21, 1 / 21), references=few, floors=(1 / 21, 1 / 301))
    assert one.because == (
        "In its weakest view, \"as stored\", 1 photograph in 10 scores as high; none of 20 photographs stands out as "
        "much in its own weakest view. Images of the reference generators do so 10 times as often (50 %, and 4.8 % of "
        "photographs); a claim takes 1 photograph in 100, or fewer, and generated images 3 "
        "times as often.",
    )  # fmt: skip
    assert one.not_meant[-1] == ("A claim at 1 in 100 takes 99 reference photographs; there are 20, so that \"likely "
                                 "generated\" cannot be said of any image.")  # fmt: skip
    assert "there is 1, so" in verdict(0.5, 0.5, 0.9, 0.0, references=held(["a"] * 300, 1),
                                       floors=(1 / 2, 1 / 301)).not_meant[-1]  # fmt: skip
    uneven = held(["a"] * 300 + ["b"] * 12)
    assert verdict(0.4, 0.5, 0.276, 0.3, references=uneven, floors=(1 / 181, 0.04)).not_meant[-1] == (
        "\"likely real\" cannot be said of any image: it takes about 99 reference images of every generator, and of "
        "one there are 12."
    )  # fmt: skip


def test_without_generated_images_it_says_why_there_is_no_claim() -> None:
    one = verdict(1 / 181, NAN, NAN, 0.0, references=held([]), floors=(1 / 181, NAN))
    assert one.word == INCONCLUSIVE
    assert one.because == (
        "In its weakest view, \"as stored\", 3 photographs in 10 score as high; none of 180 photographs stands out as "
        "much in its own weakest view. No generated images are among the references, so that nobody knows whether "
        "these do so more often; a claim takes 3 times.",
    )  # fmt: skip
    assert one.not_meant[-1] == ("Without generated images among the references, no image can be called \"likely "
                                 "generated\" or \"likely real\".")  # fmt: skip
    assert one.meaning == ("Of 1,000 photographs like the reference photographs, about 6 stand out as much in their "
                           "weakest view, the one in which they stand out least.")  # fmt: skip
    calm = verdict(0.4, NAN, NAN, 0.3, references=held([]), floors=(1 / 181, NAN))
    assert calm.because[0] == (
        "Nothing stands out in any view. 3 photographs in 10 stand out as little in their strongest view. That alone "
        "is no sign of a photograph."
    )


def test_no_verdict() -> None:
    one = verdict(NAN, NAN, NAN, NAN, (NAN, NAN, NAN))
    assert (one.word, one.meaning) == (NO_VERDICT, "")
    assert one.because == ("A view of it has no score, and a claim has to hold in all of them.",)
    assert one.score == 1.5
    assert np.isnan([one.p_real, one.p_generated, one.generated_as_high, one.real_as_low]).all()
    measured = replace(MANY, about={"measured": "Of 50 photographs none was called so."})
    other = no_verdict("it is gone", measured)
    assert other.because == ("It is gone.",)
    assert other.not_meant == ("No verdict is no sign of anything: neither of a photograph nor of a generated image.",)
    assert no_verdict("it is gone", measured, 1.5).not_meant[-1] == "Of 50 photographs none was called so."


def test_shares_in_words() -> None:
    assert [of_thousand(one) for one in (0, 0.0001, 1 / 181, 0.5, 0.9996, 1, NAN)] == [
        "hardly any", "fewer than 1", "about 6", "about 500", "nearly all", "nearly all",
        "an unknown number"]  # fmt: skip
    assert [one_in(one, "cat") for one in (0, 0.001, 0.01, 0.0101, 0.05, 0.0501, 0.21, 0.25, 0.26, 0.94, 0.951)] == [
        "hardly any cat", "1 cat in 1000", "1 cat in 100", "1 cat in 99", "1 cat in 20", "1 cat in 19", "1 cat in 5",
        "1 cat in 4", "3 cats in 10", "9 cats in 10", "nearly every cat"]  # fmt: skip
    assert one_in(float(np.mean([0.01] * 18)), "cat") == "1 cat in 100"  # above it by rounding alone


def test_words_and_sentences_never_contradict() -> None:
    """Many random pictures: a claim has one sentence of its kind, and every number is one of the judgement."""
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(3, 150)), rng.normal(size=(3, 240)) + 4
    sources, generators = np.array(["own"] * 150, object), np.array(["a", "b"] * 120, object)
    keys = [view.name for view in VIEWS]
    references = References(dict(zip(keys, real, strict=True)), dict(zip(keys, generated, strict=True)), sources,
                            generators, np.empty((0, 4)), {}, {})  # fmt: skip
    scores = np.concatenate([rng.normal(size=(3, 150)), rng.normal(size=(3, 150)) + 4, rng.normal(size=(3, 150)) * 3],
                            axis=1)  # fmt: skip
    judged, starts = Judges.of(references, tuple(keys), "")(scores), set()
    for k in range(scores.shape[1]):
        one = verdict_of(judged, k, VIEWS, references, 0.0)
        starts.add((one.word, one.because[0].split()[2]))
        assert one.word == judged.words[k]
        if named := re.match(r"In its (weakest|strongest) view, \"(.+?)\", (.+?) scores? as high; ", one.because[0]):
            at = keys.index(named[2])
            assert judged.high[at, k] == (np.max if named[1] == "weakest" else np.min)(judged.high[:, k])
            none = "none of 150 photographs"
            assert named[3] == (none if judged.high[at, k] == 1 / 151 else one_in(judged.high[at, k], "photograph"))
            own = (one.p_real, "photograph") if named[1] == "weakest" else (one.p_generated, "generated image")
            least = {"photograph": (1 / 151, none),
                     "generated image": (1 / 121, "none of the images of the reference generators")}  # fmt: skip
            said = least[own[1]][1] if own[0] == pytest.approx(least[own[1]][0]) else f"only {one_in(*own)}"
            assert f"; {said} stands" in one.because[0].replace("; 1", "; only 1")
            more, base = ((one.generated_as_high, one.p_real) if named[1] == "weakest" else
                          (one.real_as_low, one.p_generated))  # fmt: skip
            assert ("less often" in one.because[0]) == (more < base * (1 - 1e-9))
        if one.word == GENERATED:
            assert one.p_real <= 0.01
            assert named
            assert all(int(n) >= 100 for n in re.findall(r"1 photograph in (\d+) stands", one.because[0]))
            assert int(re.findall(r"(\d+) times", one.because[0])[0]) >= 3
        elif one.word == INCONCLUSIVE and one.because[0].startswith("The views disagree"):
            assert judged.high[:, k].min() <= 0.05 < judged.high[:, k].max()
        elif one.because[0].startswith("Nothing stands out"):
            assert judged.high[:, k].min() > 0.05
    assert {word for word, _ in starts} == {GENERATED, REAL, INCONCLUSIVE}
    assert {(GENERATED, "weakest"), (REAL, "strongest"), (INCONCLUSIVE, "weakest")} <= starts
