"""Wear by known answers and plain references: shapes, draws, ranges, chains, one number of bytes."""

from __future__ import annotations

import inspect
import io
from dataclasses import replace

import naive_wear as naive
import numpy as np
import pytest
from PIL import Image, ImageFilter, features
from test_perturb import C, applied, content, photo

from fdetect import parity, perturb, sharing
from fdetect.bench.data.splices import splice
from fdetect.errors import DataError, ParameterError
from fdetect.images import decode, jpeg_quality
from fdetect.perturb import CONDITION_LISTS, condition, condition_names, perturbation
from fdetect.wear import Amounts, amounts_of, encode_jpeg

HAS_AVIF = features.check("avif")

# what a condition of each operation is called in these tests, and its side at a crop of 64
OWN = {
    "jpeg": ("jpeg40", 64), "webp": ("webp40", 64), "avif": ("avif40", 64), "double": ("double60", 64),
    "resize": ("resize50", 32), "downup": ("downup50", 64), "blur": ("blur2", 64), "sharpen": ("sharpen150", 64),
    "median": ("median5", 64), "noise": ("noise5", 64), "gamma": ("gamma150", 64), "colour": ("colour30", 64),
    "crop": ("crop75", 64), "rotate": ("rotate8", 64), "overlay": ("overlay20", 64), "screenshot": ("screenshot", 64),
    "social_feed": ("social_feed", 32), "social_square": ("social_square", 32), "social_chat": ("social_chat", 32),
    "chain": ("chain3", 64), "parity": ("parity", 64), "equalise": ("equalise100", 64),
}  # fmt: skip
RUNNABLE = {name: one for name, one in OWN.items() if name != "avif" or HAS_AVIF}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def run(name: str, pixels: np.ndarray, amount: float = 0.0, seed: int = 0) -> np.ndarray:
    before = pixels.copy()
    shown = perturbation.get(name)(pixels, amount, rng(seed))
    assert np.array_equal(pixels, before), f"{name} changed its input"
    assert shown.dtype == np.uint8
    assert isinstance(shown, np.ndarray)
    return shown


def test_every_operation_is_tested_here() -> None:
    ours = {entry.name for entry in perturbation if entry.target.__module__.startswith("fdetect.")}
    assert ours == set(OWN)


@pytest.mark.parametrize("name", RUNNABLE)
def test_an_operation_is_a_condition_that_belongs_to_content_and_seed(name: str) -> None:
    chain, side = RUNNABLE[name]
    image = photo(seed=3)
    first = condition(chain)(image, content(1), seed=0, crop=C)
    assert first.pixels.shape == (side, side, 3)
    assert (first.facts.format, first.facts.subsampling) == ("JPEG", "4:2:0")
    assert np.array_equal(first.pixels, applied(chain, image, content(1)))
    assert not np.array_equal(first.pixels, applied(chain, image, content(2)))
    assert not np.array_equal(first.pixels, applied(chain, image, content(1), seed=1))
    if name not in ("jpeg", "parity"):
        plain = encode_jpeg(applied("matched", image, content(1)), 90)
        assert not np.array_equal(first.pixels, decode(plain).pixels)  # something was done beside the JPEG


@pytest.mark.parametrize("name", RUNNABLE)
def test_every_picture_of_a_condition_has_one_size_and_sides_may_differ(name: str) -> None:
    """Shape in, shape out: constant and odd-sized pictures, and pictures that are not square."""
    amount = condition(RUNNABLE[name][0]).steps[0][1]
    for shape in ((64, 64, 3), (71, 97, 3), (80, 40, 3)):
        sizes = {run(name, rng(k).integers(0, 256, shape, dtype=np.uint8), amount, k).shape for k in range(4)}
        assert len(sizes) == 1
        kept = "resize" not in name and "social" not in name
        assert (sizes == {shape}) == kept


def test_both_classes_are_treated_alike() -> None:
    """No operation can know of a label: it sees pixels, an amount and a generator of the content, and no more."""
    for entry in perturbation:
        assert list(inspect.signature(entry.target).parameters)[:3] == ["pixels", "amount", "rng"]
    for method in (perturb.Condition.__call__, perturb.Condition.at, perturb.Condition.encode):
        assert not {"label", "generator", "path"} & set(inspect.signature(method).parameters)


@pytest.mark.parametrize("name", ["downup", "blur", "sharpen", "median", "crop", "rotate", "screenshot",
                                  "social_feed", "social_square", "social_chat"])  # fmt: skip
@pytest.mark.parametrize("level", [0, 77, 255])
def test_a_constant_picture_stays_constant(name: str, level: int) -> None:
    """Nothing is invented at a border: a rim would show."""
    amounts = amounts_of(perturbation.get(name))
    for amount in (amounts.low, amounts.drawn(0.5), amounts.high) if amounts else (0.0,):
        for shape in ((64, 64, 3), (90, 61, 3)):
            assert (run(name, np.full(shape, level, np.uint8), amount) == level).all()


# --- by reference -------------------------------------------------------------------------------------------------


def test_median_gamma_and_unsharp_equal_plain_references() -> None:
    pixels = photo(19, 23).pixels
    for size in (3, 5):
        assert np.array_equal(run("median", pixels, size), naive.median(pixels, size))
    for percent in (50, 100, 220):
        assert np.array_equal(run("gamma", pixels, percent), naive.gamma(pixels, percent))
    assert np.array_equal(run("gamma", pixels, 100), pixels)
    blurred = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(2)), np.float64)
    for percent in (50, 200):
        assert np.abs(run("sharpen", pixels, percent) - naive.unsharp(pixels, blurred, percent)).max() <= 1.01


@pytest.mark.parametrize("degrees", [3.0, 20.0, 45.0])
@pytest.mark.parametrize("height, width", [(64, 64), (60, 90)])
def test_rotation_takes_each_pixel_from_where_the_formula_says(degrees: float, height: int, width: int) -> None:
    y, x = np.mgrid[0:height, 0:width]
    ramp = np.stack([40 + 2 * y, 30 + 2 * x, 0 * x], axis=-1).astype(np.uint8)
    signs = set()
    for seed in range(8):
        shown, fits = run("rotate", ramp, degrees, seed), []
        for sign in (1, -1):
            worst = 0.0
            for row in range(4, height - 4, 5):
                for column in range(4, width - 4, 7):
                    down, right = naive.turned_place(row, column, height, width, sign * degrees)
                    if not (2 < down < height - 3 and 2 < right < width - 3):
                        continue  # bicubic is exact on a ramp only where all 16 neighbours are there
                    wanted = (40 + 2 * down, 30 + 2 * right)
                    worst = max(worst, *np.abs(shown[row, column, :2] - wanted))
            fits.append(worst)
        assert min(fits) <= 1.0
        assert max(fits) > 4.0
        signs.add(fits.index(min(fits)))
    assert signs == {0, 1}  # both sides are drawn


def test_double_jpeg_has_a_grid_of_its_own() -> None:
    pixels = photo(160, 160).pixels
    shifts = set()
    for seed in range(6):
        luma = run("double", pixels, 10, seed).astype(np.float64) @ (0.299, 0.587, 0.114)
        drawn = divmod(int(rng(seed).integers(1, 64)), 8)
        assert naive.luma_block_shift(luma) == drawn
        shifts.add(drawn)
    assert (0, 0) not in shifts
    assert len(shifts) > 3


def test_crop_shows_a_part_of_the_picture_at_its_size() -> None:
    y, x = np.mgrid[0:100, 0:80]
    where = np.stack([2 * y, 2 * x, 0 * x], axis=-1).astype(np.uint8)
    corners = set()
    for seed in range(30):
        shown = run("crop", where, 80, seed).astype(float)
        assert shown.shape == where.shape
        span = (shown[-1, -1] - shown[0, 0])[:2] / 2
        assert np.abs(span - (79, 63)).max() <= 1  # 80 of 100 rows and 64 of 80 columns
        corners.add(tuple(shown[0, 0, :2]))
    assert len(corners) > 15


def test_colour_draws_within_its_range_and_grey_stays_grey() -> None:
    grey = np.repeat(photo(40, 40).pixels[:, :, :1], 3, axis=2)
    means = []
    for seed in range(40):
        shown = run("colour", grey, 20, seed)
        assert (shown == shown[:, :, :1]).all()
        means.append(shown.mean() / grey.mean())
    assert 0.79 < min(means) < 0.9 < 1.1 < max(means) < 1.21


def test_overlay_writes_inside_the_picture_at_its_height() -> None:
    places = set()
    for seed in range(12):
        shown = run("overlay", np.full((120, 200, 3), 128, np.uint8), 20, seed)
        rows = np.flatnonzero((shown != 128).any(axis=(1, 2)))
        assert 0 < len(rows) <= 26  # 20 % of 120 px, and the rim of the bicubic enlargement
        places.add(int(rows[0]))
    assert len(places) > 6


def test_screenshot_and_down_and_up_take_detail_away() -> None:
    fine = rng().integers(0, 256, (64, 64, 3), dtype=np.uint8)
    half = Image.fromarray(fine).resize((32, 32), Image.Resampling.BICUBIC)
    assert np.array_equal(run("downup", fine, 50), np.asarray(half.resize((64, 64), Image.Resampling.BICUBIC)))
    assert run("screenshot", fine).std() < 0.95 * fine.std()


@pytest.mark.skipif(not HAS_AVIF, reason="this build of Pillow has no AVIF")
def test_avif_is_what_pillow_makes_of_it() -> None:
    pixels, file = photo(40, 48).pixels, io.BytesIO()
    Image.fromarray(pixels).save(file, "AVIF", quality=40, subsampling="4:2:0", speed=6, max_threads=1)
    assert np.array_equal(run("avif", pixels, 40), np.asarray(Image.open(file).convert("RGB")))


def test_without_avif_the_condition_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perturb.features, "check", lambda name: name != "avif")
    with pytest.raises(ParameterError, match=r"^condition 'avif60': this build of Pillow has no AVIF; install a wheel"):
        condition("avif60")
    assert condition("webp60").steps[0] == ("webp", 60.0)


# --- platforms ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, quality, side", [("social_feed", 80, 128), ("social_square", 75, 112),
                                                 ("social_chat", 65, 112)])  # fmt: skip
def test_a_platform_shrinks_by_a_drawn_factor_and_its_jpeg_is_the_last(name: str, quality: int, side: int) -> None:
    image = photo(260, 250)
    shown = condition(name)(image, content(5), seed=0, crop=224)
    assert shown.pixels.shape == (side, side, 3)
    assert jpeg_quality(shown.facts.qtables) == (quality, True)
    y, x = np.mgrid[0:224, 0:224].astype(np.uint8)
    low, high = {"social_feed": (0.6, 0.9), "social_square": (0.5, 0.8), "social_chat": (0.5, 0.7)}[name]
    factors = []
    for seed in range(60):
        small = run(name, np.stack([y, x, 0 * x], axis=-1), seed=seed).astype(float)
        factors.append((side - 9) / (small[-5, 0, 0] - small[4, 0, 0]))
    assert low - 0.02 < min(factors) < low + 0.05
    assert high - 0.05 < max(factors) < high + 0.02


# --- chains -------------------------------------------------------------------------------------------------------


def test_a_longer_chain_begins_as_a_shorter_one() -> None:
    for seed in range(5):
        whole = sharing.drawn_chain(5, rng(seed))
        assert len({name for name, _ in whole}) == 5
        for n in range(1, 5):
            assert sharing.drawn_chain(n, rng(seed)) == whole[:n]
        first = perturbation.get(whole[0][0])(photo().pixels, whole[0][1], rng(seed).spawn(1)[0])
        one = rng(seed)
        sharing.drawn_chain(1, one)
        assert np.array_equal(run("chain", photo().pixels, 1, seed), first)


def test_chains_draw_every_operation_with_amounts_that_it_takes() -> None:
    drawn: dict[str, list[float]] = {}
    for seed in range(300):
        for name, amount in sharing.drawn_chain(5, rng(seed)):
            drawn.setdefault(name, []).append(amount)
    assert set(drawn) == set(sharing.DRAWN)
    for name, values in drawn.items():
        amounts = amounts_of(perturbation.get(name))
        assert amounts is not None
        assert amounts.usual is not None
        assert not any(map(amounts.refusal, values)), name
        low, high = amounts.usual
        assert low <= min(values) <= max(values) <= high
        assert max(values) - min(values) >= 0.9 * (high - low)


# --- one number of bytes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crop", [64, 128, 224])
def test_parity_gives_every_picture_the_same_bytes(crop: int) -> None:
    assert parity.parity_bytes(224, 224) == 13568
    qualities = set()
    for k in range(6):
        image = photo(250, 250, seed=k)
        image = replace(image, pixels=np.asarray(Image.fromarray(image.pixels).filter(ImageFilter.GaussianBlur(k))))
        shown = condition("parity")(image, content(k), seed=0, crop=crop)
        assert shown.facts.bytes == 1024 + crop * crop // 4
        assert (shown.facts.width, shown.facts.height, shown.facts.subsampling) == (crop, crop, "4:2:0")
        quality, exact = jpeg_quality(shown.facts.qtables) or (0, False)
        assert exact
        qualities.add(quality)
        matched = perturb.Box.drawn(image.pixels.shape, crop, perturb.rng_for(0, content(k), "crop")).of(image.pixels)
        fitting = [q for q in range(1, 101) if (n := len(encode_jpeg(matched, q))) == shown.facts.bytes
                   or n + 4 <= shown.facts.bytes]  # fmt: skip
        assert quality == max(fitting)
        assert np.array_equal(shown.pixels, decode(encode_jpeg(matched, quality)).pixels)  # the comment is no picture
    assert len(qualities) > 1


def test_parity_pads_any_number_of_bytes_and_pillow_reads_it() -> None:
    data = encode_jpeg(photo(40, 40).pixels, 50)
    for n in (0, 4, 5, 65537, 65538, 65540, 200_001):
        padded = parity._padded(data, n)
        assert len(padded) == len(data) + n
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(padded))), np.asarray(Image.open(io.BytesIO(data))))


def test_parity_ends_a_chain_and_says_what_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert condition("blur1+parity").steps == (("blur", 1.0), ("parity", 0.0))
    shown = condition("resize50+parity")(photo(), content(0), seed=0, crop=C)
    assert shown.facts.bytes == 1024 + 32 * 32 // 4
    monkeypatch.setattr(parity, "parity_bytes", lambda height, width: 300)
    with pytest.raises(DataError, match=r"^40x30 px do not fit into 300 bytes as a JPEG at any quality"):
        parity.encode_parity(photo(30, 40).pixels)


def test_bytes_tell_the_classes_apart_under_matched_and_not_under_parity() -> None:
    """Plain reals against busy fakes: what a probe of file lengths would find."""
    lengths: dict[str, list[list[int]]] = {"matched": [[], []], "parity": [[], []]}
    for k in range(8):
        for label in (0, 1):
            image = photo(seed=k)
            pixels = image.pixels if label else np.asarray(Image.fromarray(image.pixels).filter(ImageFilter.BoxBlur(3)))
            for name, of in lengths.items():
                of[label].append(condition(name)(replace(image, pixels=pixels), content(k), seed=0, crop=C).facts.bytes)
    assert max(lengths["matched"][0]) < min(lengths["matched"][1])
    assert len({*lengths["parity"][0], *lengths["parity"][1]}) == 1


# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, words",
    [
        ("median4", "condition 'median4': median takes odd sizes, got 4"),
        ("median11", "condition 'median11': median takes 3 to 9, got 11"),
        ("double0", "condition 'double0': double takes 1 to 100, got 0"),
        ("sharpen1.5", "condition 'sharpen1.5': sharpen takes whole per cent, got 1.5"),
        ("gamma10", "condition 'gamma10': gamma takes 20 to 500, got 10"),
        ("colour95", "condition 'colour95': colour takes 1 to 90, got 95"),
        ("crop100", "condition 'crop100': crop takes 25 to 99, got 100"),
        ("rotate90", "condition 'rotate90': rotate takes 0.1 to 45, got 90"),
        ("overlay50", "condition 'overlay50': overlay takes 3 to 40, got 50"),
        ("downup5", "condition 'downup5': downup takes 10 to 400, got 5"),
        ("chain6", "condition 'chain6': chain takes 1 to 5, got 6"),
        ("chain2.5", "condition 'chain2.5': chain takes whole numbers of operations, got 2.5"),
        ("screenshot2", "no condition 'screenshot2'; 'screenshot' takes no number as its amount (native, matched, "),
        ("parity90", "no condition 'parity90'; 'parity' takes no number as its amount (native, matched, "),
        ("social_chap", "no condition 'social_chap'; did you mean 'social_chat'? (native, matched, "),
        ("jpeg٧٠", "no condition 'jpeg٧٠'"),
        ("jpeg095", "condition 'jpeg095': write jpeg95, so that one condition has one name"),
        ("jpeg95.0", "condition 'jpeg95.0': write jpeg95, so that one condition has one name"),
        ("blur00.50+jpeg70", "condition 'blur00.50+jpeg70': write blur0.5, so that one condition has one name"),
        ("noise0.0", "condition 'noise0.0': write noise0, so that one condition has one name"),
        ("wear", "no condition 'wear'; 'wear' is a list of conditions, which bench and perturb take (native, "),
        ("parity+blur1", "condition 'parity+blur1': parity ends in a JPEG encoding of its own, so it can only come"),
        ("social_feed+jpeg70", "condition 'social_feed+jpeg70': social_feed ends in a JPEG encoding of its own, so it"),
    ],
)  # fmt: skip
def test_a_name_that_cannot_be_used_says_why(name: str, words: str) -> None:
    with pytest.raises(ParameterError) as caught:
        condition(name)
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


def test_lists_of_conditions_are_written_out_and_can_be_read() -> None:
    assert condition_names(("native", "wear")) == ("native", *CONDITION_LISTS["wear"])
    assert condition_names(("jpeg70", "wear"))[:3] == ("jpeg70", "matched", "jpeg95")
    assert condition_names(("jpeg70", "wear")).count("jpeg70") == 1
    assert condition_names(("wear", "jpeg70")) == CONDITION_LISTS["wear"]  # in either order
    for names in (("blur1", "native", "blur1"), ("jpeg70", "wear", "jpeg70")):
        with pytest.raises(ParameterError, match=f"^conditions: {names[0]} is named twice; name it once$"):
            condition_names(names)
    for names in CONDITION_LISTS.values():
        for name in names:
            condition(name)
    assert condition_names(("wear", "sharing")).count("matched") == 1


def test_amounts_lie_on_their_steps() -> None:
    odd = Amounts(3, 9, neutral=1, usual=(3, 9), step=2.0, word="odd sizes")
    assert {odd.drawn(u) for u in np.linspace(0, 1, 50)} == {3, 5, 7, 9}
    assert odd.refusal(4) == "takes odd sizes, got 4"
    assert odd.refusal(5) == ""
    assert Amounts(0.1, 20).refusal(0.05) == "takes 0.1 to 20, got 0.05"


def test_a_part_that_moves_cannot_be_spliced() -> None:
    moving = {name for name in OWN if perturbation.get(name).meta.get("moves")}
    assert moving == {"resize", "crop", "rotate", "chain", "social_feed", "social_square", "social_chat"}
    for name in moving:
        with pytest.raises(ParameterError, match=f"condition {OWN[name][0]} does not go"):
            splice(photo().pixels, lambda pixels: pixels, content(0), shown=OWN[name][0])
