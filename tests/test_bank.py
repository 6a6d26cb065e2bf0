"""Detectors with a bank: known answers, plain references, and what a bank must be.

Tolerances: cosine distances 1e-9 against float64 (they are rounded to 1e-12); Mahalanobis distance and residual 1e-4
relative, since their banks hold float32 matrices.
"""

from __future__ import annotations

from types import SimpleNamespace

import naive_bank as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdetect.errors import DataError, ParameterError
from fdetect.images import Geometry
from fdetect.rigid import detector, references
from fdetect.rigid.bank import Knn, Mahalanobis, Subspace, UnivfdNn
from fdetect.rigid.references import bank_sha256, nearest_distances, usable

NAMES = ("knn", "mahalanobis", "subspace", "univfd_nn")


def rows(n: int, width: int = 12, *, seed: int = 0) -> np.ndarray:
    """Embeddings of unequal spread with a mean of their own, (n, width) float32."""
    rng = np.random.default_rng(seed)
    spread = 2.0 ** -np.arange(width)
    return (rng.normal(size=(n, width)) * spread + 0.5).astype(np.float32)


def views(values: np.ndarray) -> dict[str, np.ndarray]:
    return {"clean": values}


def made(name: str, reals: np.ndarray, fakes: np.ndarray | None = None):
    one = detector.get(name)()
    return one, one.bank(views(reals), views(rows(20, reals.shape[1], seed=9) if fakes is None else fakes))


# -- known answers ---------------------------------------------------------------------------------------------------


def test_knn_of_right_angles():
    reals = np.array([[1, 0, 0], [0, 2, 0], [0, 0, 5]], np.float32)
    one = Knn(k=2)
    bank = one.bank(views(reals))
    scores = one.score(bank=bank, clean=np.array([[3, 0, 0], [1, 1, 0], [-1, -1, -1]], np.float32))
    half = 1 - 1 / np.sqrt(2)
    np.testing.assert_allclose(scores, [0.5, half, 1 + 1 / np.sqrt(3)], atol=1e-9)  # mean of 0 and 1; twice 45 degrees


def test_an_image_of_the_bank_is_its_own_nearest_neighbour():
    reals = rows(30)
    assert Knn(k=1).score(bank={"reals": reals}, clean=reals).tolist() == [0.0] * 30


def test_mahalanobis_of_equal_spread_is_the_length_in_units_of_it():
    reals = np.concatenate([2 * np.eye(4), -2 * np.eye(4)]).astype(np.float32)  # covariance I: nothing to shrink to
    one, bank = made("mahalanobis", reals)
    scores = one.score(bank=bank, clean=np.array([[0, 0, 0, 0], [3, 0, 0, 0], [1, 1, 1, 1]], np.float32))
    np.testing.assert_allclose(scores, [0, 3, 2], rtol=1e-6)


def test_the_residual_is_what_lies_outside_the_plane_of_the_reals():
    rng = np.random.default_rng(1)
    plane = np.zeros((40, 5), np.float32)
    plane[:, :2] = rng.normal(size=(40, 2))
    one, bank = made("subspace", plane)
    assert bank["basis"].shape == (5, 2)
    scores = one.score(bank=bank, clean=np.array([[7, -3, 0, 0, 0], [0, 0, 3, 4, 0]], np.float32))
    np.testing.assert_allclose(scores, [0, 5], atol=1e-5)


def test_univfd_is_above_zero_exactly_where_the_nearest_image_is_a_fake():
    reals, fakes = np.array([[1, 0], [1, 0.1]], np.float32), np.array([[0, 1], [0.1, 1]], np.float32)
    one, bank = made("univfd_nn", reals, fakes)
    scores = one.score(bank=bank, clean=np.array([[5, 0], [0, 5], [1, 1]], np.float32))
    np.testing.assert_allclose(scores, [-(1 - 0.1 / np.sqrt(1.01)), 1 - 0.1 / np.sqrt(1.01), 0], atol=1e-9)


@pytest.mark.parametrize("name", ["knn", "mahalanobis", "subspace"])
def test_further_from_the_reals_is_more_likely_generated(name):
    one, bank = made(name, rows(200))
    far = np.zeros((1, 12), np.float32)
    far[0, -1] = 2.0  # a direction in which reals hardly differ
    steps = [one.score(bank=bank, clean=rows(1, seed=5) + step * far)[0] for step in (0, 1, 2, 3)]
    assert steps == sorted(steps)
    assert steps[-1] > one.score(bank=bank, clean=rows(100, seed=6)).max()


# -- plain references ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [5, 40, 300])  # fewer reals than columns, and more
def test_scores_equal_the_plain_references(n):
    reals, fakes, asked = rows(n, seed=n), rows(33, seed=2), rows(9, seed=3)
    for k in (1, 2, 5):
        got = Knn(k=k).score(bank=Knn(k=k).bank(views(reals)), clean=asked)
        np.testing.assert_allclose(got, [naive.knn(x, reals, k) for x in asked], atol=1e-9)
    one, bank = made("univfd_nn", reals, fakes)
    expected = [naive.nearest_of_two(x, reals, fakes) for x in asked]
    np.testing.assert_allclose(one.score(bank=bank, clean=asked), expected, atol=1e-9)
    one, bank = made("mahalanobis", reals)
    expected = [naive.mahalanobis(x, reals) for x in asked]
    np.testing.assert_allclose(one.score(bank=bank, clean=asked), expected, rtol=1e-4)
    for share in (0.5, 0.97):
        one = Subspace(share=share)
        bank = one.bank(views(reals))
        expected, sizes = zip(*(naive.residual(x, reals, share) for x in asked), strict=True)
        assert bank["basis"].shape == (12, sizes[0])
        np.testing.assert_allclose(one.score(bank=bank, clean=asked), expected, rtol=1e-4)


@pytest.mark.parametrize("n", [5, 60])
def test_the_shrinkage_is_that_of_scikit_learn(n):
    from sklearn.covariance import ledoit_wolf

    reals = rows(n)
    covariance, share = ledoit_wolf(reals.astype(np.float64))
    assert naive.shrunk_covariance(reals)[2] == pytest.approx(share, rel=1e-9)
    whitening = Mahalanobis().bank(views(reals))["whitening"].astype(np.float64)
    np.testing.assert_allclose(whitening @ whitening.T @ covariance, np.eye(12), atol=1e-3)


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 30), asked=st.integers(0, 9), k=st.integers(1, 6), block=st.integers(1, 7))
def test_blocks_change_no_distance(n, asked, k, block):
    if k > n:
        return
    reals, clean = rows(n, 5, seed=n), rows(asked, 5, seed=asked + 50)
    whole = nearest_distances(clean, reals, k)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(references, "_ROWS", block)
        patch.setattr(references, "_COLUMNS", block)
        np.testing.assert_array_equal(nearest_distances(clean, reals, k), whole)
    assert whole.shape == (asked, k)
    for x, found in zip(clean, whole, strict=True):
        np.testing.assert_allclose(found, naive.nearest(x, reals, k), atol=1e-9)


# -- the contract ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_bank_is_float32_deterministic_and_passes_its_own_check(name):
    one, bank = made(name, rows(50))
    assert set(bank) == set(one.shapes)
    assert {array.dtype for array in bank.values()} == {np.dtype(np.float32)}
    one.check_bank(bank)
    assert bank_sha256(bank) == bank_sha256(made(name, rows(50))[1])
    assert bank_sha256(bank) != bank_sha256(made(name, rows(49))[1])


@pytest.mark.parametrize("name", NAMES)
def test_a_score_depends_on_its_own_row_alone(name):
    one, bank = made(name, rows(50))
    clean = rows(40, seed=4)
    before = clean.copy()
    together = one.score(bank=bank, clean=clean)
    assert together.dtype == np.float64
    np.testing.assert_array_equal(one.score(bank=bank, clean=clean[::-1])[::-1], together)
    alone = np.concatenate([one.score(bank=bank, clean=row[None]) for row in clean])
    np.testing.assert_array_equal(alone, together)
    assert one.score(bank=bank, clean=clean[:0]).shape == (0,)
    np.testing.assert_array_equal(clean, before)


@pytest.mark.parametrize("name", NAMES)
def test_failed_images_are_left_out_of_a_bank_and_get_no_score(name):
    reals, fakes = rows(50), rows(20, seed=9)
    holed = np.concatenate([np.full((1, 12), np.nan, np.float32), reals, np.zeros((1, 12), np.float32)])
    one, bank = made(name, reals, fakes)
    _, other = made(name, holed, np.concatenate([fakes, np.full((2, 12), np.inf, np.float32)]))
    assert bank_sha256(bank) == bank_sha256(other)
    assert usable(views(holed)).tolist() == [False, *[True] * 50, False]
    clean = rows(3, seed=4)
    clean[1, 2] = np.nan
    assert np.isnan(one.score(bank=bank, clean=clean)).tolist() == [False, True, False]
    clean[1, 2] = np.inf
    assert np.isnan(one.score(bank=bank, clean=clean)).tolist() == [False, True, False]


def test_too_few_images_are_said_in_one_sentence():
    with pytest.raises(DataError, match=r"^knn: the bank needs at least 3 usable real images and has 2; give more"):
        Knn(k=3).bank(views(rows(2)))
    for name in ("mahalanobis", "subspace"):
        with pytest.raises(DataError, match=f"^{name}: the bank needs at least 2 usable real images and has 1"):
            made(name, rows(1))
        with pytest.raises(DataError, match=f"^{name}: the 4 reals of the bank are all the same"):
            made(name, np.ones((4, 12), np.float32))
    with pytest.raises(DataError, match="^univfd_nn: the bank needs at least 1 usable fake image and has 0"):
        UnivfdNn().bank(views(rows(5)))
    with pytest.raises(DataError, match="^univfd_nn: the bank needs at least 1 usable real image and has 0"):
        UnivfdNn().bank(views(rows(0)), views(rows(5)))


def test_settings_and_views_are_checked():
    with pytest.raises(ParameterError, match="knn: k must be at least 1, got 0"):
        Knn(k=0)
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(ParameterError, match="subspace: share must lie between 0 and 1"):
            Subspace(share=share)
    with pytest.raises(ParameterError, match="knn: score needs the views clean; got noise0"):
        Knn().score(bank={"reals": rows(3)}, noise0=rows(3))
    for name in NAMES:
        one, bank = made(name, rows(50))
        with pytest.raises(DataError, match=f"{name}: the embeddings have 7 columns and those of the bank 12"):
            one.score(bank=bank, clean=rows(2, 7))


@pytest.mark.parametrize("name", NAMES)
def test_a_bank_of_other_arrays_is_refused(name):
    one, bank = made(name, rows(50))
    first = next(iter(bank))
    for change, text in (
        ({first: bank[first].astype(np.float64)}, f"'{first}' of the bank must be finite float32"),
        ({first: bank[first] * np.float32(np.nan)}, f"'{first}' of the bank must be finite float32"),
        ({first: bank[first][..., None]}, f"'{first}' of the bank must be finite float32"),
        ({first: bank[first][:0]}, f"'{first}' of the bank must be finite float32"),
        ({"other": bank[first]}, "a bank holds"),
    ):
        with pytest.raises(DataError, match=text):
            one.check_bank({**bank, **change})
    with pytest.raises(DataError, match="a bank holds"):
        one.check_bank({})
    if len(bank) > 1:
        with pytest.raises(DataError, match="has the shape"):
            one.check_bank({**bank, first: bank[first][..., :-1]})


def test_the_hash_sees_names_shapes_and_every_byte():
    bank = {"a": rows(4), "b": rows(2)}
    seen = {bank_sha256(bank)}
    nudged = np.nextafter(bank["a"], np.float32(9))
    for other in ({"a": bank["a"]}, {"a": bank["b"], "b": bank["a"]}, {"c": bank["a"], "b": bank["b"]},
                  {**bank, "a": bank["a"].reshape(2, -1)}, {**bank, "a": nudged}):  # fmt: skip
        seen.add(bank_sha256(other))
    assert len(seen) == 6
    assert bank_sha256(dict(reversed(bank.items()))) == bank_sha256(bank)
    assert bank_sha256({**bank, "a": np.asfortranarray(bank["a"])}) == bank_sha256(bank)


def test_how_images_reach_the_encoder():
    cropped = SimpleNamespace(card=SimpleNamespace(fit="crop", size=224, interpolation="bicubic"))
    squashed = SimpleNamespace(card=SimpleNamespace(fit="squash", size=256, interpolation="bilinear"))
    shapes = {name: detector.get(name)().geometry(cropped, 128) for name in (*NAMES, "univfd_nn_resized")}
    assert {(g.name, g.size, g.filter) for name, g in shapes.items() if name != "univfd_nn"} == {
        ("resize_crop", 224, "bicubic")
    }
    assert (shapes["univfd_nn"].name, shapes["univfd_nn"].size) == ("centre_crop", 224)
    assert Knn().geometry(squashed, 128) == Geometry("squash", 256, "bilinear")
    assert detector.get("univfd_nn").settings["encoder"] == "clip-vit-l14"
    assert [detector.get(name)().references for name in NAMES] == ["reals"] * 3 + ["both"]
    assert [detector.get(name)().passes for name in NAMES] == [1] * 4


def test_each_detector_runs_through_the_engine_with_a_tiny_encoder(tmp_path):
    pytest.importorskip("torch", reason="the deep extra is not installed")
    pytest.importorskip("transformers", reason="the deep extra is not installed")
    from tiny_dinov2 import batch_of, photographs, save_tiny

    from fdetect.rigid import prepare

    folder = save_tiny(tmp_path, image_size=56)
    for name in NAMES:
        one = detector.get(name).configured(encoder=str(folder))()
        (task,) = prepare(one, device="cpu")
        embedded = task(batch_of(photographs(5), task.geometry))
        assert embedded.shape == (5, 32)
        bank = one.bank(views(embedded[:4]), views(embedded[4:]))
        assert np.isfinite(one.score(bank=bank, clean=embedded)).all()
