"""Heads on aligned pairs in a benchmark, end to end: what they score, what they know, resuming, and what is written."""

from __future__ import annotations

import csv
import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from test_cli import fdetect  # noqa: F401 (a fixture)

from fdetect.bench.layouts import read_manifest
from fdetect.bench.protocols import samples_of
from fdetect.bench.run import Bench, bench, trials_for
from fdetect.bench.training.pair_sources import find_sources
from fdetect.bench.training.pairing import Halves
from fdetect.classifiers import fit_head, head
from fdetect.config import AlignedConfig, RunConfig, override, read_config
from fdetect.engine import Store, run
from fdetect.engine.work import content_id
from fdetect.errors import DataError, ParameterError, WeightsError
from fdetect.features import feature, feature_tasks
from fdetect.images import decode
from fdetect.pairs import Half, halves
from fdetect.perturb import Condition, condition
from fdetect.types import Array, Batch

pytest.importorskip("torch", reason="the extra 'deep' is not installed")

from tiny_own import known_photographs, save_own

from fdetect.nets.autoencoders import autoencoder_card
from fdetect.nets.laundering import Laundering

QUICK = {
    "conditions.names": ("matched", "jpeg70"), "conditions.crop": 128, "features.names": ("npr_statistics",),
    "heads.per_family": (), "heads.all_columns": ("logreg",), "detectors.names": (), "metrics.replicates": 10,
    "protocol.folds": 2, "protocol.calibration": 0.3,
}  # fmt: skip
PAIRS, MIXED, LABELS = "logreg@aligned:all", "logreg@aligned+25:all", "logreg:all"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two autoencoders, whose folder's name is in nothing that is written but config.toml."""
    base = tmp_path_factory.mktemp("secret-place")
    save_own(base / "near", "nearest", factor=4)
    save_own(base / "shuf", "shuffle", factor=8)
    return base


def quick(data: Path, *autoencoders: Path, **flags: object) -> RunConfig:
    given = {"data.path": str(data), "aligned.autoencoders": tuple(map(str, autoencoders))}
    return override(RunConfig(), {**QUICK, **given, **{key.replace("__", "."): value for key, value in flags.items()}})


@pytest.fixture(scope="module")
def finished(small_set: Path, home: Path, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    config = quick(small_set, home / "near", home / "shuf", aligned__generated=(0.0, 0.25))
    return bench(config, out=tmp_path_factory.mktemp("aligned") / "run", store=store)


def scores_of(done: Bench, detector: str) -> dict[tuple[str, str], np.ndarray]:
    """(trial, condition) -> the scores in the order of the table."""
    found = defaultdict(list)
    for row in done.scores.to_pylist():
        if row["detector"] == detector:
            found[row["trial"], row["condition"]].append(row["score"])
    return {key: np.array(values) for key, values in found.items()}


def same(one: dict[tuple[str, str], np.ndarray], other: dict[tuple[str, str], np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


# --- what they score ----------------------------------------------------------------------------------------------


def test_every_image_is_scored_by_a_head_for_each_share(finished: Bench) -> None:
    table = finished.scores
    assert set(table.column("detector").to_pylist()) == {PAIRS, MIXED, LABELS}
    assert np.isfinite(table.column("score").to_numpy()).all()
    assert not finished.result.failures
    assert not finished.result.not_run
    one, mixed, labels = (scores_of(finished, name) for name in (PAIRS, MIXED, LABELS))
    assert one.keys() == mixed.keys() == labels.keys()
    assert {trial for trial, _ in one} == {f"{name}/{k}" for name in ("sim-nearest", "sim-transposed") for k in (0, 1)}
    assert not any(np.array_equal(one[key], mixed[key]) or np.array_equal(one[key], labels[key]) for key in one)


@pytest.mark.parametrize("detector", [PAIRS, MIXED])
def test_the_scores_are_those_of_a_head_fitted_by_hand(
    detector: str, finished: Bench, small_set: Path, home: Path, store: Store
) -> None:
    """From the manifest, the halves and the head, by a way of its own: the first trial, under both conditions."""
    config = quick(small_set, home / "near", home / "shuf")
    manifest = read_manifest(small_set)
    samples = samples_of(manifest)
    trial = trials_for(samples, config)[0]
    (task,) = feature_tasks((feature.get("npr_statistics"),), crop=128)
    reals, fakes = (trial.fit[samples.label[trial.fit] == label] for label in (0, 1))
    sides = []
    for name in ("near", "shuf"):
        launder = Laundering.of(str(home / name))
        two = halves(condition("matched"), launder, launder.name, draw=1)
        done = run((task,), list(samples.path[reals]), root=small_set.parent, conditions=two, crop=128, store=store)
        sides.append([done.tables[half.name, task.name].values for half in two])
    pristine, laundered = (np.concatenate(of_side) for of_side in zip(*sides, strict=True))
    every = [condition(name) for name in ("matched", "jpeg70")]
    done = run((task,), list(samples.path), root=small_set.parent, conditions=every, crop=128, store=store)
    values = {one.name: done.tables[one.name, task.name].values for one in every}
    # generated images as the pristine halves are made; only the network of the other half is the autoencoder's
    mixed = run((task,), list(samples.path[fakes]), root=small_set.parent, conditions=two[:1], crop=128, store=store)
    pool = mixed.tables[two[0].name, task.name].values
    assert not (pool == values["matched"][fakes]).any()
    if detector == PAIRS:
        pool = pool[:0]
    else:  # a quarter of the fakes, and of no more pairs than there are
        n = round(len(pristine) / 3)
        assert n < len(fakes)
        rng = np.random.default_rng(0)
        mine, theirs = (np.sort(rng.permutation(total)[:kept]) for total, kept in
                        ((len(pristine), min(3 * n, len(pristine))), (len(fakes), n)))  # fmt: skip
        pristine, laundered, pool = pristine[mine], laundered[mine], pool[theirs]
    label = np.repeat([0, 1, 1], [len(pristine), len(laundered), len(pool)])
    rows = np.concatenate([pristine, laundered, pool])
    fitted = fit_head(head.get("logreg"), done.tables["matched", task.name].columns, rows, label)
    for name in values:
        np.testing.assert_array_equal(
            scores_of(finished, detector)[trial.name, name], fitted.score(values[name][trial.test])
        )


@pytest.fixture(scope="module")
def few(small_set: Path, home: Path, store: Store) -> Callable[..., Halves]:
    """Halves of the first two photographs and of three generated images, two draws of each."""
    samples, launders = samples_of(read_manifest(small_set)), find_sources([str(home / "near"), str(home / "shuf")])
    photographs, fakes = (np.flatnonzero(samples.label == label) for label in (0, 1))

    def made(*shares: float, history: bool = True) -> Halves:
        return Halves.compute(
            AlignedConfig(draws=2, history=history, generated=shares), launders, samples.path, photographs[:2],
            fakes[[0, 5, 9]], (feature.get("npr_statistics"),), ("native", "matched"), crop=128, seed=3,
            root=small_set.parent, store=store,
        )  # fmt: skip

    return made


@pytest.mark.parametrize("history", [True, False])
def test_generated_images_have_the_history_of_pristine_halves(
    history: bool, few: Callable[..., Halves], small_set: Path
) -> None:
    made = few(0.0, 0.25, history=history)
    entry, paths = feature.get("npr_statistics"), read_manifest(small_set).column("path").to_pylist()
    (task,) = feature_tasks((entry,), crop=128)
    pairs = made.pairs((entry,))
    for base in ("native", "matched"):
        values, of_image = pairs.of_generated(base)
        assert of_image.tolist() == [*pairs.fakes, *pairs.fakes]
        assert len({row.tobytes() for row in values}) == 6
        expected = []
        for draw in (1, 2):
            plain = condition(base)
            half = Half("any name", plain.steps, plain.rescaled, draw=draw, with_history=history)
            for row in pairs.fakes:
                data = (small_set.parent / paths[row]).read_bytes()
                shown = half(decode(data), content_id(data), seed=3, crop=128)
                expected.append(task(Batch((content_id(data),), shown.pixels[None], (shown.facts,), 3))[0])
        np.testing.assert_array_equal(values, expected)
    assert {name for name, _ in made.of_fakes.tables} == {half.name for base in ("native", "matched") for draw in (1, 2)
            for half in halves(condition(base), None, "", draw=draw, history=history)[:1]}  # fmt: skip


def test_no_generated_image_is_computed_where_no_share_is_asked_for(few: Callable[..., Halves]) -> None:
    made, mixed = few(0.0), few(0.5)
    assert (made.of_fakes.paths, made.of_fakes.n_computed, made.of_fakes.n_stored) == ((), 0, 0)
    assert len(mixed.of_fakes.paths) == 3
    entries = (feature.get("npr_statistics"),)
    alone, beside = made.pairs(entries), mixed.pairs(entries)
    assert alone.of_generated("native")[0].shape == (0, beside.of_generated("native")[0].shape[1])
    for base in ("native", "matched"):
        two = (each.of(base, list(each.sources)) for each in (alone, beside))
        for one, other in zip(*two, strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_cards_of_the_autoencoders_stand_in_the_header(finished: Bench, home: Path) -> None:
    names = [autoencoder_card(str(home / name)).name for name in ("near", "shuf")]
    weights = finished.result.header["weights"]
    assert {name: [card["name"] for card in cards] for name, cards in weights.items()} == {PAIRS: names, MIXED: names}
    assert {(card["source"], card["purpose"]) for card in weights[PAIRS]} == {("near", "test"), ("shuf", "test")}
    assert finished.result.header["aligned"] == {"left_out": {}}
    assert "test, unverified weights" in (finished.folder / "tables.md").read_text(encoding="utf-8")


def test_no_folder_of_this_machine_is_written_but_to_repeat_the_run(finished: Bench, home: Path) -> None:
    for path in finished.folder.rglob("*"):
        if path.is_file() and path.name != "config.toml":
            data = path.read_bytes()
            assert home.name.encode() not in data, path.name
            assert str(home.parent).encode() not in data, path.name
    repeated = read_config(finished.folder / "config.toml")
    assert repeated.aligned.autoencoders == (str(home / "near"), str(home / "shuf"))
    assert repeated.aligned.generated == (0.0, 0.25)


# --- the same run again -------------------------------------------------------------------------------------------


def test_the_same_run_elsewhere_gives_the_same_bytes(finished: Bench, tmp_path: Path) -> None:
    config = read_config(finished.folder / "config.toml")
    other = bench(config, out=tmp_path / "run", store=Store(tmp_path / "store"), workers=2)
    for name in ("result.json", "scores.parquet"):
        assert (other.folder / name).read_bytes() == (finished.folder / name).read_bytes()


def test_other_weights_or_settings_of_an_autoencoder_are_another_run(
    finished: Bench, small_set: Path, knowing: Path, tmp_path: Path
) -> None:
    """config.json alone may differ, as the noise of a denoiser does; a finished folder must not be taken for it."""

    def never(what: str, done: int, total: int) -> None:
        raise AssertionError(f"{what} before the folder was looked at")

    shutil.copytree(finished.folder, tmp_path / "run")
    config = quick(small_set, knowing / "near", knowing / "shuf", aligned__generated=(0.0, 0.25))
    text = (knowing / "near" / "config.json").read_text()
    (knowing / "near" / "config.json").write_text(f"{text}\n")
    with pytest.raises(DataError, match="run holds another run"):
        bench(config, out=tmp_path / "run", progress=never)
    (knowing / "near" / "config.json").write_text(text)
    save_own(knowing / "shuf", "shuffle", factor=8, seed=1)
    with pytest.raises(DataError, match="run holds another run"):
        bench(config, out=tmp_path / "run", progress=never)


@pytest.mark.parametrize("moment", ["extracting", PAIRS], ids=["halves", "scores"])
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(
    moment: str, finished: Bench, small_set: Path, tmp_path: Path
) -> None:
    class Stopped(BaseException):
        pass

    def stop(what: str, done: int, total: int) -> None:
        # beside the halves no step is about as many images as there are photographs
        if what == moment and (what != "extracting" or total == len(reals_of(small_set))):
            raise Stopped

    config, store = read_config(finished.folder / "config.toml"), Store(tmp_path / "store")
    with pytest.raises(Stopped):
        bench(config, out=tmp_path / "run", store=store, progress=stop)
    assert not (tmp_path / "run" / "result.json").exists()
    done = bench(config, out=tmp_path / "run", store=store)
    for name in ("result.json", "scores.parquet"):
        assert (done.folder / name).read_bytes() == (finished.folder / name).read_bytes()


# --- autoencoders that know tested photographs --------------------------------------------------------------------


@pytest.fixture
def knowing(home: Path, tmp_path: Path) -> Path:
    """Copies of both folders, whose cards a test may change."""
    shutil.copytree(home, tmp_path / "knowing")
    return tmp_path / "knowing"


def reals_of(data: Path) -> list[dict[str, str]]:
    with data.open(encoding="utf-8", newline="") as file:
        return [row | {"id": content_id((data.parent / row["path"]).read_bytes())}
                for row in csv.DictReader(file) if row["label"] == "0"]  # fmt: skip


def test_an_autoencoder_is_left_out_where_its_photograph_or_its_scene_is_tested(
    finished: Bench, small_set: Path, knowing: Path, store: Store, tmp_path: Path
) -> None:
    """In the folder of a finished run with the same weights, whose parts must not be taken for these."""
    known = reals_of(small_set)[5]
    known_photographs(knowing / "near", [known["id"], "f" * 32])
    name = autoencoder_card(str(knowing / "near")).name
    tested = {row["trial"] for row in finished.scores.to_pylist() if row["group"] == known["group"]}
    assert len(tested) == 2  # of the four trials
    shutil.copytree(finished.folder, tmp_path / "run")
    shares = {"aligned__generated": (0.0, 0.25)}
    done = bench(quick(small_set, knowing / "near", knowing / "shuf", **shares), out=tmp_path / "run", store=store)
    alone = bench(quick(small_set, knowing / "shuf", **shares), out=tmp_path / "alone", store=store)
    assert done.result.header["aligned"]["left_out"] == {trial: [name] for trial in sorted(tested)}
    said = f"{name} knows tested images or made them, and is left out of the aligned pairs in "
    assert [line for line in done.warnings if "left out" in line] == [said + ", ".join(sorted(tested))]
    assert not any("left out" in line for line in (*alone.warnings, *finished.warnings))
    for detector in (PAIRS, MIXED):
        found, both, one = (scores_of(each, detector) for each in (done, finished, alone))
        for trial, under in found:
            assert np.array_equal(found[trial, under], (one if trial in tested else both)[trial, under])
            assert not np.array_equal(one[trial, under], both[trial, under])
    assert same(scores_of(done, LABELS), scores_of(finished, LABELS))


def test_where_every_autoencoder_is_left_out_the_trial_fails_with_the_reason(
    finished: Bench, small_set: Path, knowing: Path, store: Store, tmp_path: Path
) -> None:
    first = reals_of(small_set)[0]
    tested = {row["trial"] for row in finished.scores.to_pylist() if row["group"] == first["group"]}
    for name in ("near", "shuf"):
        known_photographs(knowing / name, [first["id"]])
    done = bench(quick(small_set, knowing / "near", knowing / "shuf"), out=tmp_path / "run", store=store)
    names = ", ".join(autoencoder_card(str(knowing / name)).name for name in ("near", "shuf"))
    for row in done.scores.to_pylist():
        failed = row["detector"] == PAIRS and row["trial"] in tested
        why = f"train: trial {row['trial']} under matched: every autoencoder knows tested images or made them: {names}"
        assert (row["status"], row["reason"]) == (("failed", why) if failed else ("ok", ""))
    assert {failure.stage for failure in done.result.failures} == {"train"}
    page = (done.folder / "report.html").read_text(encoding="utf-8")
    assert "every autoencoder knows tested images or made them" in page
    assert knowing.name not in page


def test_tested_images_are_not_laundered_by_an_autoencoder_that_knows_them(
    small_set: Path, knowing: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(what: str, done: int, total: int) -> None:
        raise AssertionError(f"{what} before the cards were read")

    monkeypatch.setenv("FDETECT_WEIGHTS", str(knowing))
    flags = {"conditions__names": ("launder_shuf",)}
    done = bench(quick(small_set, knowing / "near", **flags), out=tmp_path / "run", store=store)
    assert set(done.scores.column("condition").to_pylist()) == {"launder_shuf"}
    assert set(done.scores.column("train_condition").to_pylist()) == {"matched"}
    assert np.isfinite(done.scores.column("score").to_numpy()).all()
    weights = done.result.header["weights"]
    assert {name: [card["source"] for card in cards] for name, cards in weights.items()} == {
        PAIRS: ["near"], "launder_shuf": ["shuf"]
    }  # fmt: skip
    assert weights["launder_shuf"][0]["sha256"] == autoencoder_card("shuf").sha256
    text = (knowing / "shuf" / "config.json").read_text()
    (knowing / "shuf" / "config.json").write_text(f"{text}\n")
    with pytest.raises(DataError, match="run holds another run"):
        bench(quick(small_set, knowing / "near", **flags), out=tmp_path / "run", store=store, progress=never)
    known_photographs(knowing / "shuf", [reals_of(small_set)[0]["id"]])
    with pytest.raises(ParameterError, match=r"launder_shuf: shuf was trained on 1 of these images; give one that was"):
        bench(quick(small_set, **flags), out=tmp_path / "other", store=store)
    (knowing / "shuf" / "card.json").unlink()
    with pytest.raises(DataError, match=r"shuf has no card.json, which says what it was trained on"):
        bench(quick(small_set, **flags), out=tmp_path / "third", store=store, progress=never)


# --- images that fail in a half alone -----------------------------------------------------------------------------


@pytest.fixture
def fragile() -> Iterator[set[int]]:
    """A feature of somebody else's, `fragile`, that has no value for pictures whose pixels have one of these sums."""
    sums: set[int] = set()

    @feature(columns=("mean", "deviation"), family="else")
    def fragile(rgb8: Array) -> Array:
        """Mean and deviation: (B, H, W, 3) uint8 -> (B, 2) float32, 0..255."""
        exact = np.asarray(rgb8, np.float64)
        values = np.stack([exact.mean(axis=(1, 2, 3)), exact.std(axis=(1, 2, 3))], axis=1).astype(np.float32)
        values[np.isin(exact.sum(axis=(1, 2, 3)), list(sums))] = np.nan
        return values

    yield sums
    del feature._entries["fragile"]


def sum_of(file: Path, chain: Condition) -> int:
    data = file.read_bytes()
    return int(chain(decode(data), content_id(data), seed=0, crop=128).pixels.astype(np.int64).sum())


def test_images_that_fail_in_a_half_alone_are_among_the_failures(
    fragile: set[int], small_set: Path, home: Path, tmp_path: Path
) -> None:
    launder, plain = Laundering.of(str(home / "near")), condition("matched")
    pristine, laundered = halves(plain, launder, launder.name, draw=1)
    rows = read_manifest(small_set).to_pylist()
    reals, fakes = ([row["path"] for row in rows if row["label"] == label] for label in (0, 1))
    half_lost, fake_lost, both_lost, unused = reals[4], fakes[7], reals[9], fakes[11]
    for path, chain in ((half_lost, laundered), (fake_lost, pristine), (both_lost, plain), (both_lost, pristine),
                        (unused, laundered)):  # fmt: skip
        fragile.add(sum_of(small_set.parent / path, chain))
    assert len(fragile) == 5
    config = quick(small_set, home / "near", conditions__names=("matched",), features__names=("fragile",))
    config = replace(config, aligned=replace(config.aligned, generated=(0.25,)))
    done = bench(config, out=tmp_path / "run", store=Store(tmp_path / "store"))
    failed = [(failure.path, failure.stage, failure.reason) for failure in done.result.failures]
    assert sorted(failed) == sorted((path, "fragile", "the result is not finite")
                                    for path in (half_lost, fake_lost, both_lost))  # fmt: skip
    for row in done.scores.to_pylist():
        assert (row["status"] == "failed") == (row["path"] == both_lost)
    written = json.loads((done.folder / "result.json").read_text(encoding="utf-8"))["failures"]
    assert sorted(one["path"] for one in written) == sorted((half_lost, fake_lost, both_lost))
    alone = bench(replace(config, aligned=replace(config.aligned, generated=(0.0,))), out=tmp_path / "alone",
                  store=Store(tmp_path / "store"))  # fmt: skip
    assert {failure.path for failure in alone.result.failures} == {half_lost, both_lost}


# --- without generated images, and without weights ----------------------------------------------------------------


def test_train_on_aligned_needs_no_generator(
    finished: Bench, small_set: Path, home: Path, store: Store, tmp_path: Path
) -> None:
    flags = {"protocol__name": "train_on", "protocol__train": ("aligned",)}
    done = bench(quick(small_set, home / "near", home / "shuf", **flags), out=tmp_path / "run", store=store)
    table = done.scores.to_pylist()
    assert {row["detector"] for row in table} == {PAIRS}
    told = {(row["trial"], row["train"], row["seen"]) for row in table}
    assert told == {(f"aligned/{k}", "aligned", False) for k in (0, 1)}
    assert all(row["status"] == "ok" for row in table)
    assert len(table) == 2 * len(read_manifest(small_set))  # both conditions; each image is tested once
    # the pairs are those of leave-one-generator-out: in its trials the fakes of training change nothing
    mine = [row for row in finished.scores.to_pylist() if row["detector"] == PAIRS]
    by_row = {(row["id"], row["condition"]): row["score"] for row in mine}
    assert [by_row[row["id"], row["condition"]] for row in table] == [row["score"] for row in table]


def test_generators_are_seen_where_a_share_of_them_is_mixed_in(
    small_set: Path, home: Path, store: Store, tmp_path: Path
) -> None:
    flags = {"protocol__name": "train_on", "protocol__train": ("sim-nearest",)}
    config = quick(small_set, home / "near", aligned__generated=(0.0, 0.25), **flags)
    done = bench(config, out=tmp_path / "run", store=store)
    seen = defaultdict(set)
    for row in done.scores.to_pylist():
        if row["seen"]:
            seen[row["detector"]].add(row["generator"])
    assert seen == {LABELS: {"sim-nearest"}, MIXED: {"sim-nearest"}}
    assert set(done.scores.column("detector").to_pylist()) == {LABELS, PAIRS, MIXED}


def test_absent_weights_leave_the_other_heads(small_set: Path, home: Path, store: Store, tmp_path: Path) -> None:
    done = bench(quick(small_set, home / "near", home / "nowhere"), out=tmp_path / "run", store=store)
    assert set(done.scores.column("detector").to_pylist()) == {LABELS}
    (row,) = done.result.not_run
    assert row.detector == "heads on aligned pairs"
    assert row.reason == "no autoencoder 'nowhere' (fdetect weights list)"
    page = (done.folder / "report.html").read_text(encoding="utf-8")
    assert "heads on aligned pairs" in page
    for text in (page, (done.folder / "result.json").read_text(encoding="utf-8")):
        assert home.name not in text
    flags = {"protocol__name": "train_on", "protocol__train": ("aligned",)}
    with pytest.raises(WeightsError, match="no autoencoder 'nowhere'"):
        bench(quick(small_set, Path("nowhere"), **flags), out=tmp_path / "alone", store=store)


@pytest.mark.parametrize("protocol", ["leave_one_generator_out", "cross_generator"])
def test_aligned_is_a_name_of_train_on_alone(protocol: str, small_set: Path) -> None:
    config = quick(small_set, protocol__name=protocol, protocol__train=("aligned",))
    with pytest.raises(ParameterError, match="--train (aligned goes with --protocol train_on|is for train_on)"):
        trials_for(samples_of(read_manifest(small_set)), config)


def test_no_generator_may_be_called_aligned(small_set: Path) -> None:
    manifest = read_manifest(small_set)
    names = [name.replace("sim-nearest", "aligned") for name in manifest.column("generator").to_pylist()]
    with pytest.raises(DataError, match="a generator is called 'aligned', which names a row of every table"):
        samples_of(manifest.set_column(manifest.column_names.index("generator"), "generator", pa.array(names)))


# --- the command line ---------------------------------------------------------------------------------------------


def test_bench_on_the_command_line(fdetect, small_set: Path, home: Path, store: Store, tmp_path: Path) -> None:  # noqa: F811
    known_photographs(shutil.copytree(home / "near", tmp_path / "near"), [reals_of(small_set)[0]["id"]])
    code, out, err = fdetect(
        "bench", small_set, "--conditions", "matched", "--crop", 128, "--features", "npr_statistics",
        "--family-heads", "none", "--heads", "logreg", "--detectors", "none", "--replicates", 10, "--folds", 2,
        "--calibration", 0.3, "--workers", 0, "--aligned", f"{tmp_path / 'near'},{home / 'shuf'}", "--pairs", 2,
        "--generated", "0,0.5",
        "--store", store.folder, "--out", tmp_path / "run",
    )  # fmt: skip
    assert code == 0, err
    for name in (PAIRS, "logreg@aligned+50:all", LABELS):
        assert name in out
    assert "knows tested images or made them, and is left out of the aligned pairs in" in err
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    written = result["header"]["config"]["aligned"]
    assert (written["autoencoders"], written["draws"], written["generated"]) == (["near", "shuf"], 2, [0.0, 0.5])
    assert read_config(tmp_path / "run" / "config.toml").aligned.draws == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--pairs", "0"), "draws is 0; give 1 or more"),
        (("--generated", "1"), "the share of generated images is 1; give 0 or more, below 1"),
        (("--generated", "a"), "--generated takes numbers separated by commas, such as 0,0.25; got 'a'"),
        (("--train", "aligned"), "--train is for train_on and cross_generator"),
        (("--protocol", "cross_generator", "--train", "aligned"), "--train aligned goes with --protocol train_on"),
        (("--protocol", "train_on", "--train", "aligned", "--aligned", "nowhere"), "no autoencoder 'nowhere'"),
        (("--protocol", "train_on", "--train", "aligned,sim-nearest"), "--train aligned stands alone"),
        (("--protocol", "train_on", "--train", "aligned", "--generated", "0.25"), "knows no generated image to mix in"),
        (("--pairs", "2"), "--pairs and --generated go with --aligned"),
        (("--generated", "0,0.2"), "--pairs and --generated go with --aligned"),
        (("--aligned", "shipped", "--features", "none"), "--features names none"),
        (("--aligned", "shipped", "--generated", "0.2,0.2"), "--generated names each share once, and at least one"),
        (("--aligned", "shipped", "--generated", ""), "--generated takes numbers separated by commas"),
        (("--conditions", "launder_nowhere"), "condition launder_nowhere: no autoencoder is called so"),
        (("--conditions", "launder_a/b"), "condition launder_a/b: no autoencoder is called so"),
    ],
    ids=str,
)
def test_misuse_is_one_sentence_and_exit_code_2(
    fdetect, small_set: Path, arguments: tuple[str, ...], said: str  # noqa: F811
) -> None:
    code, _, err = fdetect("bench", small_set, *arguments)
    assert code == 2
    assert said in err
    assert len(err.splitlines()) == 1
