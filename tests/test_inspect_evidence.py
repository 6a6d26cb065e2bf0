"""Traces of one crop: known answers, where they stand among photographs, and what is said of it."""

from __future__ import annotations

import csv
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fdetect import perturb
from fdetect.bench.applying import columns_of_model
from fdetect.bench.inspecting.evidence import Tracer, evidence_of, p_value, stands_out, statistics, tally
from fdetect.bench.inspecting.inspection import Evidence, Standing
from fdetect.bench.inspecting.references import References
from fdetect.bench.inspecting.traces import FREE, TRACES, peaks_in_words, peaks_out, radial_distance
from fdetect.bench.running import Running, uploading, values_of
from fdetect.classifiers.saved import FittedDetector, load_detector
from fdetect.classifiers.shipped import MODEL
from fdetect.errors import DataError, WeightsError
from fdetect.images import Decoded, decode
from fdetect.types import Facts

SIDE = 224
BY_HAND = ("npr", "residual", "spectrum", "radial")


@pytest.fixture(scope="module")
def detector() -> FittedDetector:
    found = load_detector(MODEL)
    assert isinstance(found, FittedDetector)
    return found


@pytest.fixture
def tracer(detector: FittedDetector) -> Tracer:
    return Tracer.of(detector, backend="cpu")


@pytest.fixture
def by_hand(detector: FittedDetector) -> Tracer:
    """Without networks."""
    return Tracer(detector, {}, dict.fromkeys(("feature_drift", "rigid", "reconstruction", "aeroblade"), "no"))


def shown(pixels: np.ndarray) -> Decoded:
    return Decoded(pixels, Facts("RAW", pixels.shape[1], pixels.shape[0], pixels.size))


def noise(seed: int, side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def grey(seed: int, side: int, deviation: float) -> np.ndarray:
    """Noise of one colour around a grey of 128."""
    plane = 128 + np.random.default_rng(seed).normal(0, deviation, (side, side, 1))
    return np.clip(np.rint(plane), 0, 255).astype(np.uint8).repeat(3, 2)


def transposed(small: np.ndarray) -> np.ndarray:
    """Enlarge twice by stride 2 and weights 0.53, 1, 0.53: 3 % of unevenness, as transposed convolutions leave."""
    made = small.astype(np.float64)
    for axis in (0, 1):
        holes = np.stack([made, 0 * made], axis=axis + 1).reshape([n * (1 + (k == axis)) for k, n in
                                                                   enumerate(made.shape)])  # fmt: skip
        made = holes + 0.53 * (np.roll(holes, 1, axis) + np.roll(holes, -1, axis))
    return np.clip(np.rint(made), 0, 255).astype(np.uint8)


def ids(n: int) -> list[str]:
    return [f"{k:032x}" for k in range(n)]


def references(found: dict[str, np.ndarray], **weight: float) -> References:
    n, real = len(found["profile"]), {name: values for name, values in found.items() if name != "profile"}
    return References(real, {}, np.full(n, ""), np.empty(0), found["profile"].astype(np.float32), weight, {})


def of_noise(tracer: Tracer, n: int) -> References:
    return references(statistics(tracer, [shown(noise(k)) for k in range(n)], ids(n)))


def named(evidence: tuple[Evidence, ...]) -> dict[str, Evidence]:
    return {one.name: one for one in evidence}


def test_an_uneven_up_sampling_is_beyond_noise_and_its_peaks_are_those_at_one_half(by_hand: Tracer) -> None:
    crop = shown(transposed(grey(50, SIDE // 2, 8)))
    found = named(evidence_of(by_hand, crop, ids(1)[0], of_noise(by_hand, 40)))["spectrum"]
    assert found.standing is not None
    assert found.value > found.standing.among[-1] + 1
    assert p_value(found) == 1 / 41
    out = peaks_out(by_hand.look(crop, ids(1)[0]).columns_of("upsampling_peaks"), found.standing.among)
    assert {"horizontal_1of2", "vertical_1of2"} <= set(out[:3])
    assert "1/2" in found.sentence
    assert "higher than in 40 of 40 reference photographs" in found.sentence


def test_pixels_that_were_doubled_have_equal_neighbours_throughout(by_hand: Tracer) -> None:
    doubled, white = noise(3, SIDE // 2).repeat(2, 0).repeat(2, 1), noise(4)
    npr = statistics(by_hand, [shown(doubled), shown(white)], ids(2))["npr"]
    assert npr[0] == 1
    assert npr[1] == pytest.approx(1 / 256, abs=1e-3)


def test_the_residual_is_the_logarithm_of_a_robust_deviation_and_weak_noise_stands_out(by_hand: Tracer) -> None:
    unit = np.random.default_rng(0).normal(0, 1, (SIDE, SIDE, 3))
    crops = [shown(np.clip(np.rint(128 + s * unit), 0, 255).astype(np.uint8)) for s in (8, 16, 32)]
    found = statistics(by_hand, crops, ids(3))["residual"]
    assert found == pytest.approx(np.log([8, 16, 32]), abs=0.03)  # the deviation of the noise itself
    weak = named(evidence_of(by_hand, shown(grey(5, SIDE, 2)), ids(1)[0], of_noise(by_hand, 20)))["residual"]
    assert "Its fine noise is weaker than in 20 of 20 reference photographs. That stands out" in weak.sentence
    assert p_value(weak) == 1 / 21


def test_the_radial_distance_is_that_of_its_formula() -> None:
    profiles = np.random.default_rng(0).normal([[1.0, 5.0, -2.0]], [[1.0, 2.0, 0.5]], (50, 3))
    profile, squares = np.array([2.0, 4.0, 0.0]), []
    for j in range(3):
        of_bin = sorted(profiles[:, j])
        quantile = {q: float(np.interp(q * 49, range(50), of_bin)) for q in (0.05, 0.5, 0.95)}
        squares.append(((profile[j] - quantile[0.5]) / ((quantile[0.95] - quantile[0.05]) / 3.29)) ** 2)
    assert radial_distance(profile, profiles) == pytest.approx(math.sqrt(sum(squares) / 3), rel=1e-12)
    assert radial_distance(np.median(profiles, axis=0), profiles) == 0


def test_a_batch_has_the_values_of_single_images_to_the_bit(tracer: Tracer, detector: FittedDetector) -> None:
    crops = [shown(noise(k) // (k + 1)) for k in range(2)]
    columns, profiles = of_model(detector, crops), np.random.default_rng(0).normal(3, 1, (20, 64))
    together = statistics(tracer, crops, ids(2), columns=columns, profiles=profiles)
    assert {"branch:spectrum", "branch:trunk", "feature_drift", "reconstruction", *BY_HAND} <= set(together)
    alone = statistics(tracer, crops[1:], ids(2)[1:], columns=columns[1:], profiles=profiles)
    for name, values in together.items():
        assert values.dtype == np.float64
        assert np.array_equal(alone[name][0], values[1]), name


def of_model(detector: FittedDetector, crops: list[Decoded]) -> np.ndarray:
    columns = columns_of_model(detector, running=Running())
    facts = tuple(crop.facts for crop in crops)
    values = [values_of(columns.tasks, [crop.pixels], (id,), (fact,), detector.seed, uploading("cpu"))
              for crop, id, fact in zip(crops, ids(len(crops)), facts, strict=True)]  # fmt: skip
    return columns.spread(np.concatenate(values), detector.head.columns, detector.about)


def test_a_branch_has_its_own_logit_and_an_absent_one_the_reason(by_hand: Tracer, detector: FittedDetector) -> None:
    crops = [shown(noise(1)), shown(grey(1, SIDE, 3))]
    columns, missing = of_model(detector, crops), WeightsError("torch is not installed", "pip install 'fdetect[deep]'")
    found = statistics(by_hand, crops, ids(2), columns=columns)
    for name in ("spectrum", "trunk"):
        assert np.array_equal(found[f"branch:{name}"], detector.head.score(detector.head.only(columns, name)))
    assert len(set(found["branch:spectrum"]) | set(found["branch:trunk"])) == 4
    columns = detector.head.only(columns, "spectrum")
    kept = references(found)
    one = named(evidence_of(by_hand, crops[0], ids(1)[0], kept, columns=columns[0]))
    assert one["branch:spectrum"].value == found["branch:spectrum"][0]
    assert one["branch:trunk"].reason == "the detector has no finite columns of trunk here; see fdetect doctor"
    assert math.isnan(one["branch:trunk"].value)
    told = Tracer.of(detector, backend="cpu", absent={"trunk": missing})
    one = named(evidence_of(told, crops[0], ids(1)[0], kept, columns=columns[0]))
    assert one["branch:trunk"].reason == "torch is not installed; pip install 'fdetect[deep]'"
    assert np.isnan(statistics(by_hand, crops, ids(2), columns=columns)["branch:trunk"]).all()


def test_weights_that_are_not_here_are_said_with_their_fix_without_loading_a_network() -> None:
    code = """
import sys
from fdetect.bench.contenders import configured, tasks_of
from fdetect.bench.inspecting import evidence
from fdetect.classifiers.saved import load_detector
from fdetect.classifiers.shipped import MODEL
evidence.FREE.pop("reconstruction")
tracer = evidence.Tracer.of(load_detector(MODEL))
assert not {"torch", "transformers", "diffusers"} & set(sys.modules), "a network was loaded"
print(tracer.absent["rigid"]); print(tracer.absent["aeroblade"])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    rigid, aeroblade = ran.stdout.splitlines()
    assert rigid.startswith("no weights 'dinov2-large' in the weights home")
    assert rigid.endswith("; run `fdetect weights get dinov2-large`, or run `fdetect weights import "
                          "dinov2_vitl14_pretrain.pth --as dinov2-large`")  # fmt: skip
    assert aeroblade.endswith("; run `fdetect weights get sd1-vae`")


def test_with_weights_but_without_references_rigid_has_a_value_that_tells_nothing(
    by_hand: Tracer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tiny_dinov2 import save_tiny

    folder = save_tiny(tmp_path / "tiny", image_size=56)
    monkeypatch.setitem(FREE, "rigid", f"rigid:encoder={folder}")
    tracer = Tracer.of(by_hand.detector, backend="cpu")
    assert set(tracer.absent) == {"aeroblade"}
    found = named(evidence_of(tracer, shown(noise(1)), ids(1)[0], of_noise(by_hand, 3)))["rigid"]
    assert 0 < found.value < 2
    assert found.standing is None
    assert not found.reason
    assert found.sentence.startswith("Its value is ")
    assert found.sentence.endswith("tells nothing.")


def test_a_value_equal_to_the_median_of_the_references_is_in_the_middle(by_hand: Tracer) -> None:
    crop = shown(noise(7))
    found = statistics(by_hand, [crop], ids(1), profiles=np.zeros((2, 64)))
    around = np.arange(-50, 51) / 100
    kept = references({name: values[0] + around for name, values in found.items() if name != "profile"}
                      | {"profile": np.zeros((2, 64))})  # fmt: skip
    for one in evidence_of(by_hand, crop, ids(1)[0], kept):
        if one.name in BY_HAND:
            assert p_value(one) == pytest.approx(0.5, abs=0.01), one.name
            assert "of 101 reference photographs. That is unremarkable." in one.sentence
            assert " 50 of 101" in one.sentence


def test_the_other_side_counts_for_nothing(by_hand: Tracer) -> None:
    found = named(evidence_of(by_hand, shown(noise(7)), ids(1)[0], of_smooth(by_hand)))["residual"]
    assert "weaker than in 0 of 30 reference photographs" in found.sentence
    assert "counts for nothing" in found.sentence
    assert p_value(found) == 1


def of_smooth(tracer: Tracer) -> References:
    return references(statistics(tracer, [shown(grey(k, SIDE, 2)) for k in range(30)], ids(30)))


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_picture_of_one_colour_has_values_or_reasons(tracer: Tracer, level: int) -> None:
    crop = shown(np.full((SIDE, SIDE, 3), level, np.uint8))
    for one in evidence_of(tracer, crop, ids(1)[0], of_noise(by_hand_of(tracer), 20)):
        assert math.isfinite(one.value) != bool(one.reason), one.name
        assert bool(one.sentence) != bool(one.reason), one.name


def by_hand_of(tracer: Tracer) -> Tracer:
    return Tracer(tracer.detector, {}, dict.fromkeys(tracer.free, "no") | dict(tracer.absent))


def test_a_crop_too_small_for_a_trace_is_a_reason_and_no_reference(by_hand: Tracer) -> None:
    kept, tiny = of_noise(by_hand, 20), shown(noise(1, 8))
    found = named(evidence_of(by_hand, tiny, ids(1)[0], kept))
    assert math.isfinite(found["npr"].value)
    assert found["spectrum"].reason.startswith("upsampling_peaks needs images of at least 16 x 16 pixels")
    with pytest.raises(DataError, match="16 x 16"):
        statistics(by_hand, [tiny], ids(1))


def test_without_references_a_value_tells_nothing(by_hand: Tracer) -> None:
    empty = References({}, {}, np.empty(0), np.empty(0), np.empty((0, 64), np.float32), {}, {})
    found = evidence_of(by_hand, shown(noise(1)), ids(1)[0], empty)
    assert named(found)["npr"].standing is None
    assert "tells nothing" in named(found)["npr"].sentence
    assert named(found)["radial"].reason.startswith("no profiles")
    assert tally(found) == "No trace that is better than guessing could be held against reference photographs."


def test_how_many_stand_out_is_said_beside_how_many_would_by_chance() -> None:
    among = np.arange(100.0)

    def one(name: str, value: float) -> Evidence:
        return Evidence(name, name, value, Standing(value, among))

    evidence = [one("npr", 99.5), one("residual", 99.5), one("radial", 50), one("spectrum", 97)]
    assert tally(evidence).startswith("2 of 4 traces stand out, each at a level of 5 %; of a photograph 0.2 would by "
                                      "chance.")  # fmt: skip
    assert tally(evidence[1:3]).startswith("None of 2 traces stands out")
    few = Standing(9.0, np.arange(8.0))  # of so few photographs nothing can stand out
    assert "None of 1 traces stands out, each at a level of 5 %; of a photograph 0.0 would" in tally(
        [Evidence("npr", "npr", 9.0, few)]
    )


def test_reasons_name_no_option_that_inspect_lacks(
    by_hand: Tracer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setitem(FREE, "rigid", f"rigid:encoder={tmp_path / 'empty'}")
    monkeypatch.setitem(FREE, "aeroblade", f"aeroblade:autoencoder={tmp_path / 'empty'}")
    for reason in Tracer.of(by_hand.detector, backend="cpu").absent.values():
        assert reason.endswith("; see fdetect doctor")
        assert "--" not in reason


def test_a_trace_that_is_no_better_than_guessing_counts_for_nothing(by_hand: Tracer) -> None:
    among = np.arange(100.0)

    def rare(name: str, weight: float) -> Evidence:
        return Evidence(name, name, 99.5, Standing(99.5, among), weight=weight)

    worse, coin, better, unknown = (rare("npr", weight) for weight in (0.3, 0.5, 0.51, math.nan))
    assert [stands_out(one) for one in (worse, coin, better, unknown)] == [False, False, True, True]
    assert p_value(worse) == p_value(better)
    assert tally((worse, coin, better, unknown)).startswith("2 of 2 traces stand out")
    assert tally((worse, coin)).startswith("No trace that is better than guessing")

    low, found = grey(5, SIDE, 2), of_noise(by_hand, 20)
    for weight, out in ((0.476, False), (0.6, True)):
        kept = replace(found, weight={"residual": weight})
        said = named(evidence_of(by_hand, shown(low), ids(1)[0], kept))["residual"].sentence
        assert said.startswith("Its fine noise is weaker than in 20 of 20 reference photographs.")
        assert ("That stands out" in said) == out
        assert ("counts for nothing" in said) != out


def test_what_a_trace_is_worth_alone_is_said(by_hand: Tracer) -> None:
    found = statistics(by_hand, [shown(noise(k)) for k in range(4)], ids(4))
    kept = references(found, npr=0.48, spectrum=0.71)
    said = named(evidence_of(by_hand, shown(noise(9)), ids(1)[0], kept))
    assert said["npr"].weight == 0.48
    assert "in 48 of 100 pairs (AUROC 0.48, guessing has 0.50): no better than guessing" in said["npr"].sentence
    assert "a weak hint" in said["spectrum"].sentence
    assert math.isnan(said["radial"].weight)
    assert "AUROC" not in said["radial"].sentence


def test_traces_say_beforehand_what_they_expect_and_never_claim_to_prove() -> None:
    assert len({trace.name for trace in TRACES}) == len(TRACES)
    for trace in TRACES:
        assert trace.side in ("high", "low")
        assert trace.because
        assert trace.confused
        assert "proof" not in f"{trace.says} {trace.confused}"


def test_peaks_are_named_by_line_and_share() -> None:
    peaks = {"horizontal_1of2": 3.0, "vertical_3of8": 4.0, "diagonal_1of16": 0.5}
    assert peaks_out(peaks, np.array([1.0, 2.0])) == ["vertical_3of8", "horizontal_1of2"]
    assert peaks_out(peaks, np.empty(0)) == []
    assert peaks_in_words(["vertical_3of8", "horizontal_1of2"]).endswith(": vertical 3/8, horizontal 1/2.")
    assert peaks_in_words([]) == ""


def test_a_photograph_among_photographs(by_hand: Tracer, shared_data: Path) -> None:
    with (shared_data / "manifest.csv").open(newline="") as lines:
        paths = [row["path"] for row in csv.DictReader(lines) if row["real_source"] == "coco"][:7]
    crops = [perturb.condition("matched")(decode((shared_data / path).read_bytes()), id, seed=0, crop=SIDE)
             for path, id in zip(paths, ids(7), strict=True)]  # fmt: skip
    found = statistics(by_hand, crops[1:], ids(7)[1:])
    evidence = evidence_of(by_hand, crops[0], ids(7)[0], references(found))
    held = [one for one in evidence if one.standing is not None]
    assert [one.name for one in held] == list(BY_HAND)
    assert all(1 / 7 <= p_value(one) <= 1 for one in held)
    enlarged = np.asarray(Image.fromarray(crops[0].pixels[:112, :112]).resize((SIDE, SIDE), Image.Resampling.NEAREST))
    npr = named(evidence_of(by_hand, shown(enlarged), ids(7)[0], references(found)))["npr"]
    assert npr.value == 1
    assert p_value(npr) == 1 / 7
