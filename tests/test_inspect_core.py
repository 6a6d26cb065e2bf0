"""`inspect` with a head of one's own: views are means of crops, tiles see every px, references are gathered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from fdetect import perturb
from fdetect.bench.applying import columns_of_model
from fdetect.bench.data.inputs import root_of
from fdetect.bench.inspecting import inspector as inspecting
from fdetect.bench.inspecting import of_file
from fdetect.bench.inspecting.gathering import gather
from fdetect.bench.inspecting.inspection import NO_VERDICT, VERDICTS
from fdetect.bench.inspecting.inspector import Inspector, inspect
from fdetect.bench.inspecting.placing import placed
from fdetect.bench.inspecting.references import References
from fdetect.bench.inspecting.tiles import scores_of_tiles
from fdetect.bench.inspecting.views import DIGITS, DRAWS, JUDGED, OTHER, SCORE, scores_by_view
from fdetect.bench.layouts import read_manifest
from fdetect.bench.running import Running, uploading, values_of
from fdetect.bench.training import fitting
from fdetect.bench.training.calibrating import fit_detector
from fdetect.classifiers.model_folder import digest_of
from fdetect.classifiers.saved import save_detector
from fdetect.classifiers.seen import known
from fdetect.draws import Drawn
from fdetect.engine import Store
from fdetect.errors import BackendError, DataError, ImageTooLarge, ParameterError, WeightsError
from fdetect.features import compute, preset
from fdetect.images import Decoded, Geometry, decode
from fdetect.types import Batch, Facts

QUICK = {"features": ("npr_statistics",), "crop": 64, "condition": "native", "folds": 0}
SEEN = 48  # rows of the manifest that the model may have been fitted on; the others are new to it


@pytest.fixture(scope="module")
def manifest(small_set: Path) -> pa.Table:
    """Rows of the two classes in turns."""
    table = read_manifest(small_set)
    label = np.array(table.column("label").to_pylist())
    turns = np.array(list(zip(*(np.flatnonzero(label == k) for k in (0, 1)), strict=False))).ravel()
    return table.take(pa.array(turns)).replace_schema_metadata(table.schema.metadata)


@pytest.fixture(scope="module")
def running(store: Store) -> Running:
    return Running(store=store)


@pytest.fixture(scope="module", params=[1, 2])
def model(request, manifest, store, tmp_path_factory) -> Path:
    """A head of one's own, of one draw and of two."""
    fitted = fitting.fit(manifest.slice(0, SEEN), store=store, draws=request.param, **QUICK)
    save_detector(fitted, folder := tmp_path_factory.mktemp("fitted") / "model")
    return folder


@pytest.fixture(scope="module")
def plain(model, running) -> Inspector:
    return Inspector.of(str(model), running=running)


@pytest.fixture(scope="module")
def columns(plain):
    return columns_of_model(plain.detector, running=plain.running)


def test_views_are_means_of_the_heads_scores_of_placed_crops(plain, columns, manifest) -> None:
    """Every view by hand: crops at places that the size alone decides, their columns, the head's scores, the mean."""
    few, detector = manifest.slice(0, 3), plain.detector
    found = scores_by_view(few, detector, columns, plain.running)
    views = {SCORE: (detector.condition, detector.draws)}
    views |= {name: (condition, DRAWS) for name, (condition, _) in OTHER.items()}
    for row, path in enumerate(few.column("path").to_pylist()):
        image = decode((Path(root_of(few)) / path).read_bytes())
        by_hand = {}
        for name, (condition, draws) in views.items():
            scores = []
            for k in range(draws):
                of = perturb.condition(condition)
                shown = Drawn(of.name, of.steps, of.rescaled, draw=k)
                crop = shown(image, "inspect", seed=detector.seed, crop=detector.crop)
                crop = Decoded(Geometry("aligned_crop", detector.crop)(crop.pixels), crop.facts)
                values = values_of(columns.tasks, [crop.pixels], ("x",), (crop.facts,), detector.seed, uploading("cpu"))
                scores.append(float(detector.head.score(values)[0]))
            by_hand[name] = scores
            assert found.views[name][row] == np.round(np.mean(scores), DIGITS), name
        for k, score in enumerate(by_hand[SCORE]):
            assert found.views[f"crop {k + 1}"][row] == np.round(score, DIGITS)
    assert list(found.views) == [SCORE, *OTHER, *(f"crop {k + 1}" for k in range(detector.draws))]


def test_places_follow_from_the_size_alone_and_differ_from_draw_to_draw() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (400, 500, 3), dtype=np.uint8)
    image = Decoded(pixels, Facts("PNG", 500, 400, 1))
    for name in ("native", "matched", "resize50"):
        shown = [placed(name, k)(image, content, seed=0, crop=224).pixels for k in range(3) for content in ("a", "b")]
        for one, other in zip(shown[::2], shown[1::2], strict=True):
            assert np.array_equal(one, other)
        assert not np.array_equal(shown[0], shown[2])
        assert not np.array_equal(shown[2], shown[4])


def test_no_feature_draws_by_the_content_of_the_file() -> None:
    """Places come from the size alone; a feature that drew by id would let metadata into the verdict all the same."""
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    one, other = (Batch((id,), pixels, (Facts("PNG", 64, 64, 1),), 0) for id in ("a" * 32, "b" * 32))
    for entry in preset("full"):
        values = compute(entry, one)
        assert np.isfinite(values).any(), entry.name
        np.testing.assert_array_equal(values, compute(entry, other), err_msg=entry.name)


def test_a_view_depends_on_its_image_alone(plain, columns, manifest, tmp_path) -> None:
    several = scores_by_view(manifest.slice(3, 4), plain.detector, columns, plain.running)
    workers = plain.detector.draws - 1  # with and without
    fresh = Running(store=Store(tmp_path / "other"), workers=workers)
    single = scores_by_view(manifest.slice(4, 1), plain.detector, columns, fresh)
    for name, values in single.views.items():
        np.testing.assert_array_equal(values, several.views[name][1:2])


def test_without_references_it_shows_views_and_claims_nothing(plain, manifest, tmp_path) -> None:
    (one,) = plain(manifest.slice(0, 1), whole=True)
    assert one.verdict.word == NO_VERDICT
    assert one.verdict.because[0].startswith("This model has no references")
    assert np.isfinite([view.standing.value for view in one.views]).all()
    assert np.isnan([view.standing.high for view in one.views]).all()
    assert "could be held against" in one.tiles.sentence
    assert one.evidence == ()
    assert any("fitted on this very image" in line for line in one.notices)


@pytest.fixture(scope="module")
def gathered(model, plain, manifest, tmp_path_factory) -> tuple[Path, list[str]]:
    """References of all images: those that were fitted on must go."""
    told: list[str] = []
    running = replace(plain.running, notice=told.append)
    made = gather(manifest, plain.detector, running, digest=digest_of(model))
    made.save(path := tmp_path_factory.mktemp("references") / "mine.safetensors")
    return path, told


def test_references_are_of_images_that_were_not_fitted_on(gathered, plain, manifest) -> None:
    path, told = gathered
    made, seen = References.load(path), plain.detector.seen
    assert seen is not None
    n = len(seen.fit)
    assert made.about["left_out"] == n > 0
    assert any(f"{n} that were fitted on" in line for line in told)
    assert len(made.sources) + len(made.generators) == len(manifest) - n
    assert set(made.real) >= {*JUDGED, "crop"}
    assert made.generated["crop"].shape == (len(made.generators),)
    doubled = pa.concat_tables([manifest.slice(SEEN, 4)]).replace_schema_metadata(manifest.schema.metadata)
    few = gather(doubled, plain.detector, plain.running)
    assert (len(few.sources), len(few.generators)) == (2, 2)
    again = scores_by_view(doubled, plain.detector, plain.columns, plain.running)
    np.testing.assert_array_equal(few.real[SCORE], again.score[::2])


def test_with_references_everything_is_held_against_them(gathered, model, plain, manifest) -> None:
    path, _ = gathered
    inspector = Inspector.of(str(model), path, running=plain.running)
    made = inspector.references
    assert made is not None
    for one in inspector(manifest.slice(SEEN, 2), whole=True):
        assert one.failure is None
        assert one.verdict.word in VERDICTS
        others = made.without(one.id)
        n = len(others.sources)
        assert any(f"takes 99 reference photographs; there are {n}" in line for line in one.verdict.not_meant)
        assert 1 / (n + 1) <= one.verdict.p_real <= 1
        for view in one.views:
            key = "crop" if view.name.startswith("crop ") else view.name
            expected = (1 + (others.real[key] >= view.standing.value).sum()) / (n + 1)
            assert view.standing.high == pytest.approx(expected, rel=1e-12)
        assert len(one.evidence) > 2
        assert one.tiles.scores.shape == (len(one.tiles.boxes),)
        assert one.tiles.high.min() >= 1 / (n + 1)
    other = replace(made, about=made.about | {"digest": "another"})
    other.save(path.with_name("other.safetensors"))
    with pytest.raises(ParameterError, match="belong to another detector"):
        Inspector.of(str(model), path.with_name("other.safetensors"), running=plain.running)
    with pytest.raises(ParameterError, match="belong to another detector"):
        Inspector.of(None, path, running=plain.running)


READERS = {  # what is read of a file, where that is seen, and how a notice names it
    "read_metadata": ("metadata", None, "its metadata"),
    "read_credentials": ("credentials", None, "its Content Credentials"),
    "jpeg_history": ("history", None, "its JPEG history"),
    "embedded_thumbnails": ("thumbnails", (), "its thumbnails"),
}


def raising(error: Exception):
    def raises(*_args, **_named):
        raise error

    return raises


@pytest.fixture
def asked(gathered, model, plain, manifest):
    """Inspect an image that was not fitted on, all of it."""
    inspector = Inspector.of(str(model), gathered[0], running=plain.running)
    return lambda: next(iter(inspector(manifest.slice(SEEN, 1), whole=True)))


@pytest.mark.parametrize("name", READERS)
def test_a_part_of_a_file_that_cannot_be_read_is_told_and_the_others_are_read(name, asked, monkeypatch) -> None:
    whole = asked()
    monkeypatch.setattr(of_file, name, raising(IndexError("out of\n range")))
    one, (lost, left, words) = asked(), READERS[name]
    assert getattr(one, lost) == left
    assert f"{words} could not be read: IndexError: out of range" in one.notices
    assert len(one.notices) == len(whole.notices) + 1
    assert (one.verdict, one.failure) == (whole.verdict, None)
    assert [part for part, _, _ in READERS.values() if getattr(one, part) is None] == ([lost] if left is None else [])
    assert len(one.evidence) == len(whole.evidence) > 0


def test_tiles_and_traces_that_fail_are_told_and_the_verdict_stays(asked, monkeypatch) -> None:
    whole = asked()
    errors = {"ZeroDivisionError: of a map": ZeroDivisionError("of a map"), "no room": ImageTooLarge("no room")}
    for said, error in errors.items():
        with monkeypatch.context() as patch:
            patch.setattr(inspecting, "scores_of_tiles", raising(error))
            one = asked()
        assert one.tiles.reason == f"it could not be scored by tiles: {said}"
        assert (one.tiles.height, one.tiles.width) == (whole.tiles.height, whole.tiles.width)
        assert one.tiles.boxes.shape == (0, 4)
        assert (one.verdict, len(one.evidence)) == (whole.verdict, len(whole.evidence))
        with monkeypatch.context() as patch:
            patch.setattr(inspecting, "evidence_of", raising(error))
            one = asked()
        assert (one.evidence, one.crop, one.verdict) == ((), None, whole.verdict)
        assert one.notices == (*whole.notices, f"single traces could not be read: {said}")
        assert len(one.tiles.scores) == len(whole.tiles.scores)


@pytest.mark.parametrize("name", ["scores_of_tiles", "evidence_of"])
@pytest.mark.parametrize("error", [WeightsError("damaged"), BackendError("no GPU")])
def test_what_would_come_again_with_the_next_image_ends_the_run(name, error, asked, monkeypatch) -> None:
    monkeypatch.setattr(inspecting, name, raising(error))
    with pytest.raises(type(error), match=str(error)):
        asked()


def test_of_many_images_no_picture_is_kept(model, store, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(inspecting, "MANY", 2)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (96, 88, 3), dtype=np.uint8)).save(tmp_path / "0.png")
    paths = [tmp_path / f"{k}.png" for k in range(3)]
    for path in paths[1:]:
        path.write_bytes(paths[0].read_bytes())
    for n, kept in ((2, True), (3, False)):
        found = inspect(paths[:n], model=str(model), store=store)
        assert len(found) == n
        assert {one.pixels is not None for one in found} == {kept}
        assert all(len(one.tiles.scores) for one in found)


def test_nothing_but_photographs_that_were_fitted_on_makes_no_references(plain, columns, manifest) -> None:
    fitted = known(plain.detector, scores_by_view(manifest, plain.detector, columns, plain.running).ids)[0]
    fake = np.array(manifest.column("label").to_pylist()) == 1
    with pytest.raises(DataError, match="no photograph is left"):
        gather(manifest.filter(pa.array(fitted | fake)), plain.detector, plain.running)


def test_tiles_see_every_px_and_one_without_a_score_is_left_out(plain, columns, tmp_path) -> None:
    rng, told = np.random.default_rng(0), []
    pixels = np.clip(128 + np.cumsum(rng.normal(0, 3, (150, 203, 3)), axis=1), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    image = decode((tmp_path / "picture.png").read_bytes())
    running = replace(plain.running, progress=lambda *step: told.append(step))
    held = References({"crop": np.linspace(-9, 9, 99)}, {}, np.array([""] * 99, object), np.empty(0, object),
                      np.empty((0, 4)), {}, {})  # fmt: skip
    tiles = scores_of_tiles(image, plain.detector, columns, held, running)
    seen = np.zeros((150, 203), np.bool_)
    for top, left, bottom, right in tiles.boxes:
        seen[top:bottom, left:right] = True
    assert seen.all()
    assert (tiles.height, tiles.width) == (150, 203)
    assert told[-1] == ("tiles", len(tiles.boxes), len(tiles.boxes))
    expected = [(1 + (held.real["crop"] >= one).sum()) / 100 for one in tiles.scores]
    np.testing.assert_allclose(tiles.high, expected, rtol=1e-12)
    n = len(tiles.boxes)
    assert f" of {n} tiles " in tiles.sentence
    assert f"about {0.05 * n:.1f} would" in tiles.sentence
    blind = replace(plain.detector, head=_Blind(plain.detector.head))
    lost = scores_of_tiles(image, blind, columns, held, plain.running)
    assert np.isnan(lost.high).tolist() == [True] + [False] * (n - 1)
    assert f" of {n - 1} tiles " in lost.sentence
    assert "; 1 more could not be held against them." in lost.sentence


class _Blind:
    """A head that has no score of the first row."""

    def __init__(self, head) -> None:
        self.columns, self._head = head.columns, head

    def score(self, values: np.ndarray) -> np.ndarray:
        scores = np.array(self._head.score(values))
        scores[0] = np.nan
        return scores


def test_detectors_that_cannot_be_asked_are_refused_in_a_sentence(plain, manifest, store, tmp_path) -> None:
    detector, reals = plain.detector, manifest.take(pa.array(range(0, 24, 2)))
    refused = {
        "free": fit_detector(reals, "feature_drift", crop=64, store=store).detector,
        "tiles": replace(detector, tiles="max"),
        "file": replace(detector, features=("dimensions",), codes={"dimensions": ""}),
    }
    for name, one in refused.items():
        save_detector(one, tmp_path / name)
        said = "it reads dimensions of the file" if name == "file" else "single crops; fit one without"
        with pytest.raises(ParameterError, match=said):
            Inspector.of(str(tmp_path / name), running=plain.running)


def test_scores_of_fewer_branches_have_references_of_their_own(manifest, store, running) -> None:
    pytest.importorskip("torch", reason="the extra 'deep' is not installed")
    settings = QUICK | {"features": ("radial_spectrum", "npr_statistics")}
    fitted = fitting.fit(manifest.slice(0, SEEN), head="fused:forms=linear", store=store, **settings)
    made, few = gather(manifest, fitted, running), manifest.slice(SEEN, 4)
    columns = columns_of_model(fitted, running=running)
    for subset in ("handmade+spectrum", "handmade", "spectrum"):
        assert {f"{subset}/{name}" for name in (*JUDGED, "crop")} <= set(made.real)
    found = scores_by_view(few, fitted, columns, running, subset="spectrum")
    whole = scores_by_view(few, fitted, columns, running)
    assert (found.branches, whole.branches) == (("spectrum",) * 4, ("handmade+spectrum",) * 4)
    alone = fitted.head.score(fitted.head.only(whole.first, "spectrum"))
    np.testing.assert_array_equal(found.views["crop 1"], np.round(alone, DIGITS))
    assert set(found.views["crop 1"]) - set(whole.score)
    (one,) = Inspector(fitted, "", made, running)(manifest.slice(SEEN, 1), whole=False)
    assert one.verdict.p_real > 0
    less = replace(made, real={key: value for key, value in made.real.items() if not key.startswith("handmade+")})
    (one,) = Inspector(fitted, "", less, running)(manifest.slice(SEEN, 1), whole=False)
    assert one.verdict.because == ("Its score rests on the branches handmade+spectrum, and there are no "
                                   "references of such scores.",)  # fmt: skip


def test_a_reference_is_held_against_the_others(gathered, model, plain, manifest) -> None:
    """An image among the references counts there once too often: it is left out, and the report says so."""
    path, _ = gathered
    held = References.load(path)
    inspector = Inspector.of(str(model), path, running=plain.running)
    (one,) = inspector(manifest.slice(SEEN, 1), whole=False)
    assert held.holds(one.id)
    assert any("one of the references" in line for line in one.notices)
    less = held.without(one.id)
    assert not less.holds(one.id)
    assert (len(less.sources) + len(less.generators), len(less.ids)) == (len(held.ids) - 1,) * 2
    less._check()
    assert {view.standing.n for view in one.views} == {len(less.sources)}
    position = list(held.ids).index(one.id)
    for key, values in held.real.items():
        if position < len(held.sources):
            np.testing.assert_array_equal(less.real[key], np.delete(values, position))
