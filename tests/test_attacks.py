"""Attacks, equalisation and fingerprint removal: bounds, known answers, plain references, the command."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import naive_attacks as naive
import numpy as np
import pyarrow.csv
import pytest
from PIL import Image
from test_cli import fdetect  # noqa: F401
from test_perturb import applied, content, photo

import fdetect as package
from fdetect.attacks import attack, random, square
from fdetect.bench.applying import score
from fdetect.bench.attacks.attacking import attack_detector, read_attacks
from fdetect.bench.attacks.crop_scores import CropJudge
from fdetect.bench.attacks.tables import attack_grids, attack_rows
from fdetect.bench.data.inputs import any_images
from fdetect.bench.running import Running
from fdetect.classifiers.card import data_record
from fdetect.classifiers.saved import FittedDetector, save_detector
from fdetect.classifiers.seen import known
from fdetect.decide import Calibration, exact_interval
from fdetect.engine.work import content_id
from fdetect.errors import DataError, ParameterError, UnknownName, WeightsError
from fdetect.nets.gradient_attacks import pgd
from fdetect.perturb import condition, perturbation

EPSILON = 3


def rngs(n: int) -> list[np.random.Generator]:
    return [np.random.default_rng(k) for k in range(n)]


def pictures(n: int = 3, side: int = 32, low: int = 0, high: int = 256) -> np.ndarray:
    return np.random.default_rng(7).integers(low, high, (n, side, side, 3), np.uint8)


@dataclass
class Judge:
    """A score of levels and its gradient, by functions of (B, H, W, 3) float64."""

    function: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray] | None = None

    def scores(self, pixels: np.ndarray) -> np.ndarray:
        return self.function(pixels.astype(np.float64))

    def gradient(self, levels: np.ndarray) -> np.ndarray:
        assert self.slope
        return self.slope(levels)


def linear(weights: np.ndarray) -> Judge:
    return Judge(lambda x: (x * weights).sum(axis=(1, 2, 3)), lambda x: np.broadcast_to(weights, x.shape))


def blocks(side: int = 32) -> np.ndarray:
    """Weights of one sign in each of 4 x 4 blocks and channel: what squares can find and noise cannot."""
    return np.kron(np.random.default_rng(1).choice([-1.0, 1.0], (4, 4, 3)), np.ones((side // 4, side // 4, 1)))


ATTACKS = {
    "square": lambda *given, **more: square(*given, queries=60, **more),
    "random": lambda *given, **more: random(*given, queries=60, **more),
    "pgd": lambda *given, **more: pgd(*given, steps=10, **more),
}


# --- attacks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_keeps_its_bound_and_direction_and_repeats(name: str) -> None:
    shown, direction = pictures(), np.array([1.0, -1.0, 1.0])
    shown[0, :4], shown[1, :4] = 0, 255  # where there is no room on one side
    before = shown.copy()
    judge = linear(np.random.default_rng(2).normal(size=(32, 32, 3)))
    found = ATTACKS[name](shown, judge, direction, rngs(3), epsilon=EPSILON)
    assert np.array_equal(shown, before)
    assert found.pixels.dtype == np.uint8
    change = np.abs(found.pixels.astype(int) - shown)
    assert change.max() == EPSILON
    assert np.array_equal(found.trail[:, 0], judge.scores(shown))
    assert np.array_equal(found.trail[:, -1], judge.scores(found.pixels))
    assert (np.diff(found.trail, axis=1) * direction[:, None] >= 0).all()
    assert (direction * (found.trail[:, -1] - found.trail[:, 0]) > 0).all()
    again = ATTACKS[name](shown, judge, direction, rngs(3), epsilon=EPSILON)
    assert np.array_equal(found.pixels, again.pixels)
    alone = ATTACKS[name](shown[1:2], judge, direction[1:2], rngs(3)[1:2], epsilon=EPSILON)
    assert np.array_equal(alone.pixels[0], found.pixels[1])  # neighbours change nothing


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_pgd_reaches_the_optimum_of_a_linear_score(sign: float) -> None:
    shown, weights = pictures(2), np.random.default_rng(3).normal(size=(32, 32, 3))
    found = pgd(shown, linear(weights), np.full(2, sign), rngs(2), epsilon=EPSILON, steps=20)
    optimum = np.clip(shown + sign * EPSILON * np.sign(weights), 0, 255)
    assert np.array_equal(found.pixels, optimum)


def test_square_equals_a_plain_reference() -> None:
    shown, judge = pictures(2, 16), linear(blocks(16))
    for k, direction in enumerate((1, -1)):
        found = square(shown[k : k + 1], judge, np.array([direction]), rngs(1), epsilon=2, queries=40, share=0.2)
        best, trail = naive.square(shown[k], lambda one: float(judge.scores(one[None])[0]), direction, rngs(1)[0],
                                   epsilon=2, queries=40, share=0.2)  # fmt: skip
        assert np.array_equal(found.pixels[0], best)
        assert found.trail[0] == pytest.approx(trail)


def test_square_finds_structure_that_the_placebo_does_not() -> None:
    shown, weights = pictures(4, low=20, high=230), blocks()
    most = EPSILON * np.abs(weights).sum()
    gains = {}
    for name, method in (("square", square), ("random", random)):
        found = method(shown, linear(weights), np.full(4, 1.0), rngs(4), epsilon=EPSILON, queries=300)
        gains[name] = (found.trail[:, -1] - found.trail[:, 0]) / most
    assert gains["square"].min() > 0.3
    assert gains["random"].max() < 0.15


def test_square_lowers_a_quadratic_score_towards_its_minimum() -> None:
    shown = pictures(3, low=100, high=110)
    target = np.where(blocks() > 0, 120.0, 90.0)
    judge = Judge(lambda x: ((x - target) ** 2).mean(axis=(1, 2, 3)))
    found = square(shown, judge, np.full(3, -1.0), rngs(3), epsilon=EPSILON, queries=300)
    least = judge.scores(np.clip(target, shown - EPSILON * 1.0, shown + EPSILON * 1.0))
    assert ((found.trail[:, 0] - found.trail[:, -1]) > 0.3 * (found.trail[:, 0] - least)).all()
    assert (found.trail[:, -1] >= least).all()


def test_a_score_that_is_no_number_is_never_kept() -> None:
    judge = Judge(lambda x: np.where((x != shown).any(axis=(1, 2, 3)), np.nan, 1.0))
    shown = pictures(2)
    found = random(shown, judge, np.ones(2), rngs(2), epsilon=1, queries=3)
    assert np.array_equal(found.pixels, shown)
    assert (found.trail == 1.0).all()


@pytest.mark.parametrize("settings, words", [
    ({"epsilon": 0}, "epsilon is 0; give a whole number of levels, 1 to 255"),
    ({"epsilon": 1.5}, "epsilon is 1.5"), ({"epsilon": 256}, "epsilon is 256"),
    ({"queries": 0}, "an attack of 0 queries does nothing"), ({"share": 0.0}, r"a share of the picture in \(0, 1\]"),
])  # fmt: skip
def test_settings_that_cannot_be_used_are_refused(settings: dict[str, float], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        square(pictures(1), linear(blocks()), np.ones(1), rngs(1), **settings)
    with pytest.raises(ParameterError, match="uint8"):
        square(pictures(1).astype(float), linear(blocks()), np.ones(1), rngs(1))


def test_attacks_are_read_by_name_with_their_own_settings_first() -> None:
    found = {entry.name: entry.settings for entry in read_attacks(("square:queries=7", "random", "pgd"), queries=9)}
    assert (found["square:queries=7"]["queries"], found["random"]["queries"]) == (7, 9)
    assert (found["pgd"]["epsilon"], found["pgd"]["steps"]) == (2, 20)
    assert attack.names() == ("square", "random", "pgd")
    with pytest.raises(UnknownName, match="did you mean 'square'"):
        read_attacks(("squares",))
    with pytest.raises(ParameterError, match="each once"):
        read_attacks(("random", "random"))


# --- equalisation -----------------------------------------------------------------------------------------------------


def natural(side: int = 128, slope: float = -1.0) -> np.ndarray:
    """Noise whose power falls as the frequency to the power of 2 slope, about as in photographs; three planes of it."""
    rng = np.random.default_rng(5)
    radius = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])
    radius[0, 0] = 1
    planes = [np.fft.ifft2(np.fft.fft2(rng.normal(size=(side, side))) * radius**slope).real for _ in range(3)]
    return np.stack([128 + 40 * plane / plane.std() for plane in planes], axis=2)


def levels(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def equalise(pixels: np.ndarray, amount: float = 100) -> np.ndarray:
    before = pixels.copy()
    shown = perturbation.get("equalise")(pixels, amount, np.random.default_rng(0))
    assert np.array_equal(pixels, before)
    assert (shown.dtype, shown.shape) == (np.uint8, pixels.shape)
    return shown


def log_power(pixels: np.ndarray) -> np.ndarray:
    return np.log(np.abs(np.fft.fft2(pixels[:, :, 1].astype(float))) ** 2 / pixels[:, :, 1].size + 1e-4)


@pytest.mark.parametrize("amount", [100, 40])
def test_equalisation_equals_a_plain_reference(amount: int) -> None:
    pixels = photo(33, 40).pixels
    shown = equalise(pixels, amount)
    for c in range(3):
        wanted = naive.equalised(pixels[:, :, c].astype(np.float64), amount / 100)
        assert np.abs(shown[:, :, c] - np.clip(wanted, 0, 255)).max() <= 0.5 + 1e-6


def test_a_power_law_stays_and_a_bump_comes_back_to_it() -> None:
    plain = natural()
    change = equalise(levels(plain)).astype(float) - levels(plain)
    assert math.sqrt((change**2).mean()) < 3.5  # of a deviation of 40: what chance makes of few coefficients in a ring
    radius = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128)[None])
    ring = (radius > 0.3) & (radius < 0.4)
    gain = np.where(ring, 4, 1)[..., None]
    bumped = levels(np.fft.ifft2(np.fft.fft2(plain, axes=(0, 1)) * gain, axes=(0, 1)).real)
    excess = [(log_power(one) - log_power(levels(plain)))[ring].mean() for one in
              (bumped, equalise(bumped, 50), equalise(bumped))]  # fmt: skip
    assert excess[0] == pytest.approx(math.log(16), abs=0.1)
    assert excess[1] == pytest.approx(math.log(16) / 2, abs=0.25)
    assert abs(excess[2]) < 0.4


def test_the_peaks_of_up_sampling_go() -> None:
    comb = natural()
    comb[::2] += 6
    comb[:, ::4] -= 6
    before, after, plain = (log_power(one) for one in (levels(comb), equalise(levels(comb)), levels(natural())))
    for place in ((64, 0), (0, 32), (0, 64), (0, 96)):
        assert before[place] - plain[6:60, 6:60].mean() > 4.5
        assert before[place] - after[place] > 4
    assert np.median(np.abs(after - before)) < 0.2  # the rest of the spectrum is left alone


def test_equalisation_refuses_what_it_cannot_do_and_leaves_a_constant() -> None:
    for name in ("equalise0", "equalise101", "equalise", "equalise2.5"):
        with pytest.raises(ParameterError):
            condition(name)
    with pytest.raises(DataError, match="16x16 px are too few for equalise"):
        applied("resize25+equalise100", photo(), content(0))
    assert (equalise(np.full((40, 50, 3), 77, np.uint8)) == 77).all()


# --- fingerprint removal ----------------------------------------------------------------------------------------------


def test_the_denoisers_residual_is_taken_out(tiny_dncnn: Path | None) -> None:
    pytest.importorskip("torch", reason="the extra 'deep' is not installed")
    from fdetect.nets.denoiser import dncnn_residual

    launder = condition("launder_dncnn+jpeg80").launder
    assert launder
    pixels = photo(60, 50).pixels
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    residual = dncnn_residual(luma.astype(np.float32)[None])[0]
    assert np.abs(residual).max() > 1  # or nothing would be tested
    wanted = np.clip(pixels - residual[..., None].astype(np.float64), 0, 255)
    shown = launder(pixels)
    assert (shown.dtype, shown.shape) == (np.uint8, pixels.shape)
    assert np.abs(shown - wanted).max() <= 0.5 + 1e-3
    assert len(launder.settings["identity"]) == 64


def test_without_the_denoiser_the_condition_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FDETECT_DNCNN", "")
    monkeypatch.setenv("FDETECT_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError):
        condition("launder_dncnn")


# --- a detector under attack ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted(small_set: Path, tmp_path_factory: pytest.TempPathFactory) -> FittedDetector:
    """A head on few columns that judges by two draws, with thresholds on more scores than so few images give."""
    made = package.fit(str(small_set), head="logreg", features=["npr_statistics", "noise_level"], crop=64, folds=0,
                       draws=2, store=tmp_path_factory.mktemp("store"))  # fmt: skip
    return FittedDetector(**{**vars(made), "calibration": Calibration.of(np.linspace(-1, 0.5, 40))})


METHODS = ("square", "random:queries=2")


@pytest.fixture(scope="module")
def done(fitted: FittedDetector, small_set: Path, tmp_path_factory: pytest.TempPathFactory):
    return attack_detector(str(small_set), fitted, read_attacks(METHODS, queries=6), per_class=5,
                           store=tmp_path_factory.mktemp("store"))  # fmt: skip


def test_scores_before_an_attack_are_those_of_the_detector(fitted, done, small_set, store) -> None:
    wanted = score(str(small_set), fitted, store=store)
    known = dict(zip(wanted.ids, wanted.values, strict=True))
    assert [known[id] for id in done.ids] == done.scores.tolist()
    assert sorted(done.label.tolist()) == [0] * 5 + [1] * 5
    assert not done.failures


def test_both_classes_are_attacked_with_one_budget_in_their_directions(done) -> None:
    for one in done.attacks.values():
        shift = (one.scores - done.scores) * np.where(done.label == 1, -1, 1)
        assert (shift >= 0).all()
        assert shift.max() > 0
        assert one.change.max() <= 4  # levels squared
        assert one.pixels.shape == (10, 128, 64, 3)  # two draws, one below the other


def test_figures_are_counts_of_the_scores(done) -> None:
    rows = attack_rows(done)
    assert [(row.pictures, row.sent) for row in rows] == [
        (name, sent) for name in ("as they are", *METHODS) for sent in (False, True)]  # fmt: skip
    attacked, threshold = done.attacks["square"], done.judge.threshold.value
    for row, scores in ((rows[0], done.scores), (rows[2], attacked.scores), (rows[3], attacked.sent)):
        fakes, reals = ([s for s, label in zip(scores, done.label, strict=True) if label == value] for value in (1, 0))
        assert (row.fakes.k, row.fakes.n) == (sum(s > threshold for s in fakes), 5)
        assert (row.reals.k, row.reals.n) == (sum(s > threshold for s in reals), 5)
        assert (row.fakes.low, row.fakes.high) == exact_interval(row.fakes.k, 5)
        pairs = [(f > r) + (f == r) / 2 for f in fakes for r in reals]
        assert row.auroc == pytest.approx(sum(pairs) / 25)
    assert rows[2].psnr == pytest.approx(10 * math.log10(255**2 / attacked.change.mean()))
    assert rows[2].shift_fake <= 0 <= rows[2].shift_real
    assert attack_grids(done)[0].rows[0][4] == "–"


def test_pictures_that_the_detector_knows_are_told(fitted, done, small_set, store) -> None:
    fit, threshold = (set(np.flatnonzero(one).tolist()) for one in known(fitted, done.ids))
    assert min(len(fit), len(threshold)) > 0  # or nothing would be tested
    (told,) = done.cautions
    assert told.startswith(f"{len(fit)} of 10 images were among those that this model was fitted on, {len(threshold)}")
    assert attack_grids(done)[0].note.endswith(f" {told}.")


def test_a_model_without_a_list_knows_its_data_by_their_hash(fitted, small_set, store) -> None:
    table, methods = any_images(str(small_set)), read_attacks(("random",), queries=1)
    label, generator = (np.array(table.column(name).to_pylist()) for name in ("label", "generator"))
    few = table.filter((label == 0) | (generator == generator[label == 1][0]))
    assert len(few) < len(table)
    paths = [path for path, one in zip(table["path"].to_pylist(), label, strict=True) if one == 0]
    ids = [content_id((small_set.parent / path).read_bytes()) for path in paths]
    reals = {"data": data_record(ids, np.zeros(len(ids), np.int64))}
    for data, record, words in (
        (table, fitted.record, "these pictures are those of the fit"),
        (few, fitted.record, "this model does not say which images it was fitted on"),
        (few, reals, "these photographs are those of the fit"),  # a fit on photographs alone
        (few, {"data": None, "adapted": reals}, "these photographs are those of the fit"),
    ):
        said: list[str] = []
        old = FittedDetector(**{**vars(fitted), "record": record, "seen": None})
        (told,) = attack_detector(data, old, methods, per_class=1, notice=said.append, store=store).cautions
        assert told.startswith(words)
        assert told == said[0]


def test_neither_order_nor_neighbours_nor_copies_change_an_attack(fitted, done, small_set, store) -> None:
    table = any_images(str(small_set))
    turned = table.take(list(reversed(range(len(table)))))
    again = attack_detector(turned, fitted, read_attacks(("square",), queries=6), per_class=5, store=store)
    assert set(again.ids) == set(done.ids)
    at = [again.ids.index(id) for id in done.ids]
    assert np.array_equal(again.attacks["square"].pixels[at], done.attacks["square"].pixels)
    fewer = attack_detector(turned, fitted, read_attacks(("square",), queries=6), per_class=2, store=store)
    assert set(fewer.ids) < set(done.ids)


def test_what_cannot_be_attacked_is_refused_in_a_sentence(fitted, small_set, store) -> None:
    table, methods = any_images(str(small_set)), read_attacks(("random",), queries=1)
    with pytest.raises(ParameterError, match="reads no detector network, so it has no gradient at the pixels"):
        attack_detector(table, fitted, read_attacks(("pgd",)), store=store)
    spared = attack_detector(table, fitted, (*methods, *read_attacks(("pgd",))), per_class=1, spare=True, store=store)
    assert (list(spared.attacks), list(spared.not_run)) == (["random"], ["pgd"])
    few = FittedDetector(**{**vars(fitted), "calibration": Calibration.of([0.0, 1.0])})
    tiles = FittedDetector(**{**vars(fitted), "tiles": "mean"})
    for detector, words in ((few, r"not attainable \(2\)"), (tiles, "set on tiles by mean")):
        with pytest.raises(ParameterError, match=words):
            attack_detector(table, detector, methods, store=store)
    unlabelled = table.set_column(table.column_names.index("label"), "label", [[None] * len(table)])
    with pytest.raises(DataError, match="labels say which way an attack goes"):
        attack_detector(unlabelled, fitted, methods, store=store)
    with pytest.raises(DataError, match="no picture of 4 can be attacked: .* too small for condition"):
        attack_detector(table, FittedDetector(**{**vars(fitted), "crop": 512}), methods, per_class=2, store=store)


def test_pgd_follows_the_logit_of_a_network(small_set, store, tmp_path) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'deep' is not installed")
    from fdetect.bench.training.calibrating import fit_detector
    from fdetect.nets.detectors import build, network
    from fdetect.nets.detectors.loading import load_network_folder, save_network

    save_network(build(network.get("tiny_ladeda")()), tmp_path / "net")
    name = f"pretrained:weights={tmp_path / 'net'}"
    detector = fit_detector(str(small_set), name, condition="matched", crop=64, store=store).detector
    judge = CropJudge.of(detector, running=Running())
    shown = np.stack([photo(64, 64, seed=k).pixels for k in range(2)])
    model = load_network_folder(tmp_path / "net").eval()
    images = torch.from_numpy((shown.transpose(0, 3, 1, 2) / 255).astype(np.float32)).requires_grad_()
    model(images).sum().backward()
    wanted = images.grad.numpy().transpose(0, 2, 3, 1) / 255
    assert judge.gradient(shown.astype(np.float64)) == pytest.approx(wanted, abs=float(1e-3 * np.abs(wanted).max()))
    methods = read_attacks(("pgd:steps=5", "random"), queries=5)
    done = attack_detector(str(small_set), detector, methods, per_class=3, store=store)
    toward = np.where(done.label == 1, -1, 1)
    gains = {name: toward * (one.scores - done.scores) for name, one in done.attacks.items()}
    assert (gains["pgd:steps=5"] > 2 * gains["random"]).all()
    assert done.attacks["pgd:steps=5"].change.max() <= 4


def test_the_command_writes_what_it_shows(fdetect, fitted, small_set, tmp_path) -> None:  # noqa: F811
    save_detector(fitted, tmp_path / "model")
    call = ("attack", small_set, "--model", tmp_path / "model", "--queries", 3, "--images", 2, "--workers", 0)
    code, out, err = fdetect(*call, "--out", tmp_path / "out", "--pictures")
    assert code == 0, err
    assert "square + JPEG Q90" in out
    assert "not run: logreg:npr_statistics+noise_level reads no detector network" in out
    assert "4 pictures of 2 crops each, queries for each: square 3, random 3" in err
    found = json.loads((tmp_path / "out" / "attack.json").read_text())
    assert (found["schema"], found["condition"], len(found["rows"])) == (1, "matched", 6)
    assert found["attacks"]["square"] == {"epsilon": 2, "queries": 3, "share": 0.8}
    (caution,) = found["cautions"]
    assert "of 4 images were among those that this model was fitted on" in caution
    assert caution in " ".join(err.split())
    assert caution in (tmp_path / "out" / "tables.md").read_text()
    rows = pyarrow.csv.read_csv(tmp_path / "out" / "images.csv").to_pylist()
    assert len(rows) == 8
    count = sum(r["attacked"] > found["threshold"]["value"] for r in rows if r["attack"] == "square" and r["label"])
    assert count == next(r for r in found["rows"] if r["pictures"] == "square" and not r["sent"])["fakes"]["k"]
    files = sorted((tmp_path / "out" / "pictures").glob("*.png"))
    assert len(files) == 8
    assert Image.open(files[0]).size == (64, 128)
    text = (tmp_path / "out" / "tables.md").read_text()
    assert "## Attacks on" in text
    assert "| change of fakes' score | change of reals' score |" in text
    code, _, err = fdetect(*call, "--out", tmp_path / "out")
    assert code == 2
    assert "exists and is not empty" in err
    code, _, err = fdetect(*call, "--method", "pgd")
    assert code == 2
    assert "attack it by square" in err
