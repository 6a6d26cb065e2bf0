"""Draws of a condition: other crops of the same content; heads fitted on all of them, scores that are their mean."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import xxhash
from click.testing import CliRunner
from PIL import Image
from test_bench import quick
from test_scoring import COLUMNS, CONDITIONS, ids, of, rows_of, samples, trained, trials, values  # noqa: F401
from tiny_tasks import CROP, MATCHED, NATIVE, RESCALED, FromBatch, Moments, extract, paths_of, settle

from fdetect.bench.run import bench
from fdetect.bench.scores.scoring import score_trials
from fdetect.bench.training.draws import Draws
from fdetect.bench.training.head_trials import SEARCHED, TrialFit
from fdetect.classifiers import fit_head, head
from fdetect.classifiers.search import inner_folds
from fdetect.cli import cli
from fdetect.cli.benchmark import run_config
from fdetect.config import FusedConfig, HeadsConfig, RunConfig, override, read_config
from fdetect.draws import drawn, drawn_names, mean_of_draws
from fdetect.engine import Store, work
from fdetect.engine.work import content_id
from fdetect.errors import DataError, ParameterError
from fdetect.features import feature_tasks, select_features
from fdetect.images import Decoded, Geometry
from fdetect.metrics import auroc
from fdetect.perturb import Box, condition
from fdetect.types import Facts

CONTENT = "0123456789abcdef" * 2


def picture(height: int = 200, width: int = 304, seed: int = 0) -> Decoded:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Decoded(pixels, Facts("PNG", width, height, 1))


def shown(name: str, draw: int, image: Decoded, crop: int = CROP) -> np.ndarray:
    return drawn(condition(name), draw)(image, CONTENT, seed=3, crop=crop).pixels


# -- a condition, drawn again ---------------------------------------------------------------------------------------


def test_draw_zero_is_the_condition_itself_and_every_draw_has_a_name_and_settings_of_its_own():
    assert drawn(MATCHED, 0) is MATCHED
    assert drawn_names("matched", 3) == ("matched", "matched/1", "matched/2")
    every = [drawn(RESCALED, k) for k in range(4)]
    assert [one.name for one in every] == list(drawn_names("rescaled", 4))
    assert len({json.dumps(one.settings) for one in every}) == 4
    assert {one.window(224) for one in every} == {RESCALED.window(224)}


@pytest.mark.parametrize("draw", [0, 1, 2])
def test_a_drawn_crop_is_where_the_picture_its_seed_and_its_number_put_it(draw):
    image, content = picture(), f"{CONTENT}/{draw}" if draw else CONTENT
    place = np.random.default_rng(xxhash.xxh3_128_intdigest(f"3/{content}/crop".encode())).random(2)
    top, left = (int(u * (side - CROP + 1)) for u, side in zip(place, image.pixels.shape, strict=False))
    file = io.BytesIO()
    cut = image.pixels[top : top + CROP, left : left + CROP]
    Image.fromarray(cut).save(file, "JPEG", quality=70, subsampling=2)
    expected = np.asarray(Image.open(file).convert("RGB"))
    np.testing.assert_array_equal(shown("jpeg70", draw, image), expected)


@pytest.mark.parametrize("name", ["matched", "rescaled", "noise2", "jpeg70", "native"])
def test_draws_differ_from_each_other_and_repeat(name):
    image = picture()
    every = [Geometry("aligned_crop", CROP)(shown(name, k, image)) for k in range(5)]
    assert len({one.tobytes() for one in every}) == 5
    for k in range(5):
        np.testing.assert_array_equal(Geometry("aligned_crop", CROP)(shown(name, k, image)), every[k])


def test_noise_and_scale_are_drawn_again_too():
    flat = Decoded(np.full((200, 304, 3), 128, np.uint8), Facts("PNG", 304, 200, 1))
    assert len({shown("noise20", k, flat).tobytes() for k in range(4)}) == 4  # every crop is the same
    sides = {drawn(RESCALED, k).cut_side(f"{CONTENT}/{k}", seed=0, crop=224) for k in range(6)}
    assert len(sides) > 3


def test_natively_the_crop_is_at_another_place_of_the_grid_and_pixels_are_as_stored():
    image = picture(205, 171)
    places = set()
    for k in range(1, 20):
        seen = drawn(NATIVE, k)(image, CONTENT, seed=0, crop=CROP)
        crop = Geometry("aligned_crop", CROP)(seen.pixels)
        first = (image.pixels == crop[0, 0]).all(axis=2)[: 205 - CROP + 1, : 171 - CROP + 1]
        found = [(t, s) for t, s in np.argwhere(first) if (Box(t, s, CROP).of(image.pixels) == crop).all()]
        ((top, left),) = found
        assert (top % 8, left % 8) == (0, 0)
        assert seen.facts is image.facts
        places.add((top, left))
    assert len(places) > 12
    tops = [top for top, _ in places]
    assert min(tops) < 32
    assert max(tops) > 104
    least = drawn(NATIVE, 1)(picture(CROP + 8, CROP + 8), CONTENT, seed=0, crop=CROP).pixels
    assert min(least.shape[:2]) >= CROP


def test_a_picture_that_is_too_small_has_one_reason_whatever_the_draw():
    reasons = set()
    for k in range(3):
        with pytest.raises(DataError, match="too small for condition jpeg70: both sides") as caught:
            shown("jpeg70", k, picture(CROP + 7, 300))
        reasons.add(str(caught.value))
    assert len(reasons) == 1


def test_the_mean_is_over_the_draws_that_have_a_score():
    scores = np.array([[1.0, np.nan, np.nan, 2.0], [2.0, 4.0, np.nan, np.inf]])
    np.testing.assert_array_equal(mean_of_draws(scores), [1.5, 4.0, np.nan, 2.0])
    one = np.random.default_rng(0).normal(size=(1, 50))
    assert mean_of_draws(one).tobytes() == one[0].tobytes()


# -- the engine -----------------------------------------------------------------------------------------------------


def test_draws_are_computed_beside_what_is_stored_for_some_tasks_alone_with_one_decoding(own, tmp_path, monkeypatch):
    settle(own)
    decoded: list[bytes] = []
    monkeypatch.setattr(work, "decode", lambda data, plain=work.decode: (decoded.append(data), plain(data))[1])
    store, other = Store(tmp_path / "store"), FromBatch(lambda batch: batch.rgb8[:, 0, 0, 0])
    n = len(paths_of(own))
    plain = extract(own, Moments(), other, store=store)
    assert len(decoded) == n
    more = tuple(drawn(one, k) for one in (NATIVE, MATCHED) for k in (1, 2))
    only = {one.name: ("moments",) for one in more}
    again = extract(own, Moments(), other, store=store, conditions=(NATIVE, MATCHED, *more), only=only)
    assert len(decoded) == 2 * n  # once for the four draws
    assert (again.n_computed, again.n_stored) == (4 * n, 4 * n)  # draw 0 has the key that it had without draws
    assert set(again.tables) == set(plain.tables) | {(one.name, "moments") for one in more}
    for key, table in plain.tables.items():
        assert again.tables[key].values.tobytes() == table.values.tobytes()
    assert len({again.tables[one.name, "moments"].values.tobytes() for one in more}) == 4
    third = extract(own, Moments(), other, store=store, conditions=(NATIVE, MATCHED, *more), only=only)
    assert (third.n_computed, third.n_stored, len(decoded)) == (0, 8 * n, 2 * n)


# -- heads in trials ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn_values(values):  # noqa: F811
    rng = np.random.default_rng(5)
    return {
        name: (one + (k > 0) * rng.normal(size=one.shape)).astype(np.float32)
        for base, one in values.items()
        for k, name in enumerate(drawn_names(base, 3))
    }


def test_a_head_is_fitted_on_every_draw_and_scores_by_their_mean(samples, drawn_values, ids, trials):  # noqa: F811
    found = rows_of(trained(samples, drawn_values, draws=Draws(3)), samples, ids, trials)
    for trial in trials:
        for name in CONDITIONS:
            under, rows = "native" if name == "native" else "matched", trial.fit
            stacked = np.concatenate([drawn_values[one][rows] for one in drawn_names(under, 3)])
            fitted = fit_head(head.get("logreg"), COLUMNS, stacked, np.tile(samples.label[rows], 3))
            scores = [fitted.score(drawn_values[one][trial.test]) for one in drawn_names(name, 3)]
            mine = of(found, trial, name)
            np.testing.assert_allclose([row["score"] for row in mine], np.mean(scores, axis=0), rtol=1e-12)
            expected = fitted.probability(np.mean(scores, axis=0))
            np.testing.assert_allclose([row["probability"] for row in mine], expected, rtol=1e-12)
            assert {row["train_condition"] for row in mine} == {under}


def test_thresholds_are_set_on_means_of_draws(samples, drawn_values, trials):  # noqa: F811
    trial = trials[0]
    model = trained(samples, drawn_values, draws=Draws(3)).ready(trial, "matched")
    means = np.mean([model.fitted.score(drawn_values[c][trial.calibration]) for c in drawn_names("matched", 3)], axis=0)
    np.testing.assert_allclose(model.reference(trial.calibration, "matched"), means, rtol=1e-12)
    single = model.fitted.score(drawn_values["matched"][trial.calibration])
    assert np.std(means) < np.std(single)


def test_one_draw_is_bit_equal_to_none(samples, values, drawn_values, ids, trials):  # noqa: F811
    plain = score_trials(trained(samples, values), samples, ids, trials, CONDITIONS)
    assert score_trials(trained(samples, drawn_values, draws=Draws(1)), samples, ids, trials, CONDITIONS).equals(plain)


def test_an_image_that_fails_in_one_draw_has_the_mean_of_the_others(samples, drawn_values, ids, trials):  # noqa: F811
    spoilt, trial = {name: one.copy() for name, one in drawn_values.items()}, trials[0]
    some, never = trial.test[:2]
    spoilt["jpeg70/1"][some] = np.nan
    for name in drawn_names("jpeg70", 3):
        spoilt[name][never] = np.nan
    reasons = {"jpeg70": {int(never): "geometry: too small"}}
    one = trained(samples, spoilt, draws=Draws(3), reasons=reasons)
    row, failed, *others = rows_of(one, samples, ids, [trial], ("jpeg70",))
    model = one.ready(trial, "matched")
    two = [model.fitted.score(spoilt[name][[some]])[0] for name in ("jpeg70", "jpeg70/2")]
    assert (row["score"], row["status"], row["reason"]) == (pytest.approx(np.mean(two), rel=1e-12), "ok", "")
    assert np.isnan(failed["score"])
    assert (failed["status"], failed["reason"]) == ("failed", "geometry: too small")
    assert {other["status"] for other in others} == {"ok"}


def test_a_training_image_that_fails_in_one_draw_is_fitted_by_its_others(samples, drawn_values, trials):  # noqa: F811
    spoilt, trial = {name: one.copy() for name, one in drawn_values.items()}, trials[0]
    spoilt["matched/1"][trial.fit[5]] = np.nan
    stacked = np.concatenate([spoilt[name][trial.fit] for name in drawn_names("matched", 3)])
    ok = np.isfinite(stacked).all(axis=1)
    assert ok.sum() == len(ok) - 1
    expected = fit_head(head.get("logreg"), COLUMNS, stacked[ok], np.tile(samples.label[trial.fit], 3)[ok])
    model = trained(samples, spoilt, draws=Draws(3)).ready(trial, "matched")
    np.testing.assert_array_equal(model.fitted.pipeline[-1].coef_, expected.pipeline[-1].coef_)


def test_conditions_train_together_and_thresholds_stay_where_they_were(samples, drawn_values, ids, trials):  # noqa: F811
    draws = Draws(2, ("jpeg70", "matched"))
    one, trial = trained(samples, drawn_values, draws=draws, fit=TrialFit(balance="generators")), trials[0]
    rows = one.training_rows(trial, "matched")
    names = ["jpeg70", "jpeg70/1", "matched", "matched/1"]
    np.testing.assert_array_equal(rows.values, np.concatenate([drawn_values[name][trial.fit] for name in names]))
    for part, column in (("label", "label"), ("group", "group"), ("generator", "generator"), ("source", "real_source")):
        assert getattr(rows, part).tolist() == getattr(samples, column)[np.tile(trial.fit, 4)].tolist()
    fitted = fit_head(head.get("logreg"), COLUMNS, rows.values, rows.label, generator=rows.generator, groups=rows.group,
                      source=rows.source, weights="generators")  # fmt: skip
    found = rows_of(one, samples, ids, [trial])
    for name in CONDITIONS:
        assert {row["train_condition"] for row in of(found, trial, name)} == {
            "native" if name == "native" else "jpeg70+matched"
        }
    mean = np.mean([fitted.score(drawn_values[c][trial.test]) for c in ("jpeg70", "jpeg70/1")], axis=0)
    np.testing.assert_allclose([row["score"] for row in of(found, trial, "jpeg70")], mean, rtol=1e-12)
    on_reals = np.mean([fitted.score(drawn_values[c][trial.calibration]) for c in ("matched", "matched/1")], axis=0)
    expected = one.ready(trial, "matched").threshold(on_reals, "matched", 0.05).value
    assert {row["threshold"] for row in of(found, trial, "jpeg70")} == {expected}
    assert draws.needed(("native", "matched")).keys() == {"native", "native/1", *names}
    assert Draws(1).needed(("native", "matched")) == {"native": NATIVE, "matched": MATCHED}


# -- draws of an image are one group --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def near_duplicates(samples):  # noqa: F811
    """Draws that are all but the same, of images that say nothing of their label: whoever knows one knows the other."""
    rng = np.random.default_rng(1)
    image = rng.normal(size=(len(samples.label), len(COLUMNS)))
    return {name: (image + 1e-3 * rng.normal(size=image.shape)).astype(np.float32)
            for name in drawn_names("matched", 4)}  # fmt: skip


@pytest.mark.parametrize("name", ["hist_gb", "knn:n_neighbors=3"])
def test_a_head_that_remembers_images_does_not_look_good_in_the_search(name, samples, near_duplicates, trials):  # noqa: F811
    one = replace(trained(samples, near_duplicates, draws=Draws(4), fit=TrialFit(search=True)), head=head.read(name))
    one.ready(trials[0], "matched")
    (tried,) = one.tried.values()
    assert max(row["macro_auroc"] for row in tried) < 0.65
    rows, half = one.training_rows(trials[0], "matched"), np.arange(4 * len(trials[0].fit)) % 4 > 0
    knowing = fit_head(head.read(name), COLUMNS, rows.values[half], rows.label[half])  # it would, were they parted
    scores = knowing.score(rows.values[~half])
    assert float(auroc(rows.label[~half], scores, np.ones((1, len(scores))))[0]) > 0.75


def test_inner_folds_and_a_stack_part_no_image_from_its_draws(samples, near_duplicates, trials):  # noqa: F811
    one = trained(samples, near_duplicates, "stacking", draws=Draws(4))
    rows, image = one.training_rows(trials[0], "matched"), np.tile(trials[0].fit, 4)
    folds = inner_folds(rows.label, rows.group, rows.generator)
    assert folds
    for fold in folds:
        assert not {*image[fold.fit]} & {*image[fold.test]}
    (model,) = (one.ready(trials[0], "matched"),)
    weights = model.fitted.pipeline.final_estimator_[-1].coef_[0]
    assert np.abs(weights).max() < 0.3  # bases that know nothing out of fold count for nothing
    scores, _ = model.scores("matched", trials[0].test)
    assert np.isfinite(scores).all()


# -- a whole run ----------------------------------------------------------------------------------------------------

FLAGS = {"features.names": ("radial_spectrum", "npr_statistics"), "conditions.crop": 64, "metrics.replicates": 10,
         "heads.per_family": (), "heads.all_columns": ("logreg",), "detectors.names": (), "protocol.folds": 2,
         "conditions.names": ("matched", "jpeg80")}  # fmt: skip


@pytest.fixture(scope="module")
def with_draws(small_set, store, tmp_path_factory):
    flags = {**FLAGS, "heads.draws": 3, "heads.search": True}
    return bench(quick(small_set, **flags), out=tmp_path_factory.mktemp("draws") / "run", store=store)


def test_a_run_scores_by_the_mean_of_what_separate_extractions_give(small_set, with_draws, store):
    from fdetect.bench.layouts import read_manifest
    from fdetect.bench.protocols import samples_of, trials_of
    from fdetect.classifiers import search
    from fdetect.engine import run
    from fdetect.splits import join_same_content

    manifest = read_manifest(small_set)
    paths = manifest.column("path").to_pylist()
    entries = select_features(FLAGS["features.names"])

    def extracted(name: str, draw: int):
        done = run(feature_tasks(entries, crop=64), paths, root=small_set.parent, crop=64,
                   conditions=[drawn(condition(name), draw)])  # fmt: skip
        (label,) = {key[0] for key in done.tables}
        return done, done.table(label, [entry.name for entry in entries])

    tables = {(name, k): extracted(name, k) for name in ("matched", "jpeg80") for k in range(3)}
    done, first = tables["matched", 0]
    data = samples_of(manifest)
    data = replace(data, group=join_same_content(data.group, done.ids))
    found = with_draws.scores.to_pylist()
    assert {row["status"] for row in found} == {"ok"}
    for trial in trials_of(data, name="leave_one_generator_out", folds=2):
        rows = np.tile(trial.fit, 3)
        stacked = np.concatenate([tables["matched", k][1].values[trial.fit] for k in range(3)])
        best = search(head.get("logreg"), None, stacked, data.label[rows], data.group[rows], data.generator[rows])
        fitted = fit_head(best.entry, first.columns, stacked, data.label[rows])
        for name in ("matched", "jpeg80"):
            expected = np.mean([fitted.score(tables[name, k][1].values[trial.test]) for k in range(3)], axis=0)
            np.testing.assert_allclose([row["score"] for row in of(found, trial, name)], expected, rtol=1e-9)


def test_a_run_resumes_and_says_its_draws(small_set, with_draws, store):
    before = {name: (with_draws.folder / name).read_bytes() for name in ("result.json", SEARCHED)}
    (with_draws.folder / SEARCHED).unlink()
    parts = {part: part.read_bytes() for part in (with_draws.folder / "parts").iterdir()}
    again = bench(quick(small_set, **FLAGS, **{"heads.draws": 3, "heads.search": True}), out=with_draws.folder,
                  store=store)  # fmt: skip
    assert {name: (again.folder / name).read_bytes() for name in before} == before
    assert {part: part.read_bytes() for part in (again.folder / "parts").iterdir()} == parts
    assert json.loads(before["result.json"])["header"]["config"]["heads"]["draws"] == 3


def test_a_run_trains_conditions_together_also_such_as_are_not_tested(small_set, store, tmp_path):
    flags = {**FLAGS, "conditions.names": ("native", "matched"), "heads.search": True,
             "heads.train_conditions": ("matched", "jpeg80", "resize50")}  # fmt: skip
    done = bench(quick(small_set, **flags), out=tmp_path / "run", store=store)
    rows = done.scores.to_pylist()
    under = {(row["condition"], row["train_condition"]) for row in rows}
    assert under == {("native", "native"), ("matched", "matched+jpeg80+resize50")}
    assert {row["status"] for row in rows} == {"ok"}
    with (done.folder / SEARCHED).open(encoding="utf-8", newline="") as file:
        assert {row["train_condition"] for row in csv.DictReader(file)} == {name for _, name in under}
    titles = [line for line in (done.folder / "tables.md").read_text().splitlines() if "trained under" in line]
    assert any("AUROC under matched (trained under matched+jpeg80+resize50)" in line for line in titles)


def test_pictures_that_fail_are_listed_once(small_set, store, tmp_path):
    narrow, manifest = tmp_path / "narrow.png", tmp_path / "narrow.csv"
    Image.new("RGB", (70, 400), (9, 80, 160)).save(narrow)
    rows = list(csv.DictReader(small_set.read_text().splitlines()))
    for top in {row["path"].partition("/")[0] for row in rows}:
        (tmp_path / top).symlink_to(small_set.parent / top)
    with manifest.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows([*rows, {**rows[0], "path": "narrow.png"}])
    flags = {**FLAGS, "conditions.names": ("matched",), "heads.draws": 2}
    done = bench(quick(manifest, **flags), out=tmp_path / "run", store=store)
    mine = [one for one in done.result.failures if one.path == "narrow.png" and "matched" in one.reason]
    assert [one.id for one in mine] == [content_id(narrow.read_bytes())]
    failed = [row for row in done.scores.to_pylist() if row["path"] == "narrow.png"]
    assert failed
    assert {(row["status"], "too small" in row["reason"]) for row in failed} == {("failed", True)}


# -- what is asked for ----------------------------------------------------------------------------------------------


def test_the_command_line_and_a_toml_ask_for_it(small_set, tmp_path):
    config = run_config(str(small_set), {"draws": 4, "train_conditions": "matched,jpeg70"})
    assert (config.heads.draws, config.heads.train_conditions) == (4, ("matched", "jpeg70"))
    assert (RunConfig().heads.draws, RunConfig().heads.train_conditions, RunConfig().fused.draws) == (1, (), 0)
    (tmp_path / "run.toml").write_text('[heads]\ndraws = 2\ntrain_conditions = ["jpeg70"]\n[fused]\ndraws = 3\n')
    read = read_config(tmp_path / "run.toml")
    assert Draws.of(read) == Draws(2, ("jpeg70",))
    assert Draws.of_fused(read) == Draws(3, ("jpeg70",))
    assert Draws.of_fused(config) == Draws.of(config)
    said = CliRunner().invoke(cli, ["bench", "--help"], env={"COLUMNS": "200"}).output
    assert "--draws" in said
    assert "--train-conditions" in said


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: HeadsConfig(draws=0), r"heads: draws is 0; give 1 or more \(--draws\)"),
        (lambda: FusedConfig(draws=-1), "fused: draws is -1; give 1 or more, or 0 for those of heads"),
        (lambda: HeadsConfig(train_conditions=("matched", "matched")), "train_conditions are different ones"),
        (lambda: HeadsConfig(train_conditions=("native",)), "native is not among them"),
    ],
)
def test_what_cannot_be_asked_for_is_said(made, said):
    with pytest.raises(ParameterError, match=said):
        made()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"heads.train_conditions": ("matched",), "conditions.names": ("native",)}, "--train-conditions are those of"),
        ({"heads.train_conditions": ("blurr1",)}, "no condition 'blurr1'"),
    ],
)
def test_what_a_run_refuses_is_said_before_the_work(flags, said, small_set, tmp_path):
    with pytest.raises(ParameterError, match=said):
        bench(override(quick(small_set), flags), out=tmp_path / "run", store=Store(tmp_path / "store"))
    assert not (tmp_path / "store").exists() or not any((tmp_path / "store").iterdir())
