"""Heads in the trials of a run: every kind of head, weights, searches that see training rows alone, linear probes."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from test_bench import quick
from test_scoring import COLUMNS, ids, samples, trained, trials, values  # noqa: F401 (fixtures)

from fdetect.bench.contenders import embeddings, head_sets
from fdetect.bench.protocols import Samples, Trial
from fdetect.bench.run import bench
from fdetect.bench.training import head_trials
from fdetect.bench.training.aligned import Aligned
from fdetect.bench.training.head_trials import SEARCHED, TrialFit, check_heads, grid_of
from fdetect.bench.training.pairing import Pairs
from fdetect.classifiers import fit_head, head, search
from fdetect.classifiers.heads import LOG_ODDS, scale_of
from fdetect.classifiers.search import GRIDS
from fdetect.config import RunConfig, override, read_config
from fdetect.errors import ParameterError, UnknownName

KINDS = ("stacking:bases=logreg+svm_linear:folds=3", "svm_linear", "one_class", "knn", "svm_rbf:c=3")


# -- in trials ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def every_kind(small_set, store, tmp_path_factory):
    flags = {"heads.all_columns": KINDS, "heads.per_family": (), "conditions.names": ("matched",),
             "detectors.names": ()}  # fmt: skip
    return bench(quick(small_set, **flags), out=tmp_path_factory.mktemp("kinds") / "run", store=store)


@pytest.mark.parametrize("name", KINDS)
def test_a_head_of_every_kind_scores_all_and_only_log_odds_have_a_probability(every_kind, name):
    rows = [row for row in every_kind.scores.to_pylist() if row["detector"] == f"{name}:all"]
    assert rows
    assert {row["status"] for row in rows} == {"ok"}
    has = np.isfinite([row["probability"] for row in rows])
    assert has.all() if scale_of(head.read(name)) == LOG_ODDS else not has.any()
    assert any(cell.detector == f"{name}:all" and cell.generator == "macro" for cell in every_kind.result.cells)


def test_settings_behind_a_name_are_fitted(samples, values, trials):  # noqa: F811
    one = replace(trained(samples, values, "svm_rbf"), head=head.read("svm_rbf:c=3"))
    trial = trials[0]
    fit = values["native"][trial.fit], samples.label[trial.fit]
    expected = fit_head(head.get("svm_rbf").configured(c=3.0), COLUMNS, *fit).score(values["native"][trial.test])
    found, probability = one.ready(trial, "native").scores("native", trial.test)
    np.testing.assert_array_equal(found, expected)
    assert np.isnan(probability).all()
    plain, _ = trained(samples, values, "svm_rbf").ready(trial, "native").scores("native", trial.test)
    assert (found != plain).any()


@pytest.mark.parametrize("balance", ["generators", "generators+sources"])
def test_weights_are_those_of_the_training_rows(balance, samples, values):  # noqa: F811
    trial = Trial("x", "", np.flatnonzero(np.arange(len(samples.label)) % 3 > 0), *[np.arange(9)] * 2)
    few = samples.generator != "ldm"
    rows = trial.fit[few[trial.fit] | (trial.fit % 7 == 0)]  # one generator is rare
    trial, (x, label) = replace(trial, fit=rows), (values["matched"][rows], samples.label[rows])
    about = {"generator": samples.generator[rows], "source": samples.real_source[rows]}
    expected = fit_head(head.get("logreg"), COLUMNS, x, label, weights=balance, **about).score(values["matched"])
    one = trained(samples, values, fit=TrialFit(balance=balance))
    found, _ = one.ready(trial, "matched").scores("matched", np.arange(len(samples.label)))
    np.testing.assert_array_equal(found, expected)
    plain, _ = trained(samples, values).ready(trial, "matched").scores("matched", np.arange(len(samples.label)))
    assert np.abs(found - plain).max() > 1e-3


# -- searches -------------------------------------------------------------------------------------------------------


def test_a_search_sees_the_training_rows_of_its_trial_alone(samples, values, trials, monkeypatch):  # noqa: F811
    seen: list[tuple[np.ndarray, ...]] = []

    def watched(entry, grid, x, label, groups, generator, *, source, **settings):
        seen.append((x, label, groups, generator, source))
        return search(entry, grid, x, label, groups, generator, source=source, **settings)

    monkeypatch.setattr(head_trials, "search", watched)
    number = {name: np.arange(len(samples.label), dtype=np.float32)[:, None] for name in values}
    numbered = {name: np.concatenate([values[name][:, :3], number[name]], axis=1) for name in values}
    one = trained(samples, numbered, fit=TrialFit(search=True))
    for trial in trials:
        for condition in ("native", "matched"):
            one.ready(trial, condition)
            x, label, groups, generator, source = seen.pop()
            rows = x[:, 3].astype(int)
            assert rows.tolist() == trial.fit.tolist()
            assert not {*rows} & {*trial.test, *trial.calibration}
            for part, column in ((label, "label"), (groups, "group"), (generator, "generator"),
                                 (source, "real_source")):  # fmt: skip
                assert part.tolist() == getattr(samples, column)[rows].tolist()
    assert set(one.tried) == {(trial.name, c) for trial in trials for c in ("native", "matched")}


def test_what_was_searched_out_is_what_scores(samples, values, trials):  # noqa: F811
    trial, x = trials[0], values["matched"]
    one = trained(samples, values, "elastic", fit=TrialFit(search=True, seed=3))
    found, _ = one.ready(trial, "matched").scores("matched", trial.test)
    rows = trial.fit
    best = search(head.get("elastic"), None, x[rows], samples.label[rows], samples.group[rows],
                  samples.generator[rows], 3)  # fmt: skip
    expected = fit_head(best.entry, COLUMNS, x[rows], samples.label[rows]).score(x[trial.test])
    np.testing.assert_array_equal(found, expected)
    (tried,) = one.tried.values()
    assert len(tried) == sum(len(each.cells) for each in best.tried)
    (chosen,) = {row["head"] for row in tried if row["chosen"]}
    assert dict(head.read(chosen).settings) == best.chosen.settings  # a name that --heads takes
    assert [row["auroc"] for row in tried] == [cell.auroc for each in best.tried for cell in each.cells]


def test_settings_that_a_name_fixes_stay(samples, values, trials):  # noqa: F811
    assert grid_of(head.read("logreg:c=7")) == [{}]
    assert grid_of(head.read("logreg:max_iter=50")) == list(GRIDS["logreg"])
    assert grid_of(head.read("elastic:c=0.1")) == [{"l1_ratio": ratio} for ratio in (0.9, 0.5, 0.1)]
    one = replace(trained(samples, values, fit=TrialFit(search=True)), head=head.read("logreg:c=7"))
    one.ready(trials[0], "native")
    assert {row["head"] for row in one.tried[trials[0].name, "native"]} == {"logreg:c=7.0:max_iter=2000"}


def test_a_run_writes_all_that_was_tried_and_the_same_when_it_resumes(small_set, store, tmp_path):
    flags = {"heads.search": True, "heads.per_family": (), "heads.all_columns": ("logreg", "one_class"),
             "detectors.names": (), "protocol.folds": 2, "conditions.names": ("matched",)}  # fmt: skip
    done = bench(quick(small_set, **flags), out=tmp_path / "run", store=store)
    written = (tmp_path / "run" / SEARCHED).read_bytes()
    with (tmp_path / "run" / SEARCHED).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    trial_names = {row["trial"] for row in done.scores.to_pylist()}
    assert {row["trial"] for row in rows} == trial_names
    assert {row["train_condition"] for row in rows} == {"matched"}
    of_logreg = [row for row in rows if row["detector"] == "logreg:all"]
    assert {row["head"] for row in of_logreg} == {f"logreg:c={one['c']}:max_iter=2000" for one in GRIDS["logreg"]}
    for trial in trial_names:
        mine = [row for row in of_logreg if row["trial"] == trial]
        assert len({row["head"] for row in mine if row["chosen"] == "true"}) == 1
        assert trial.partition("/")[0] not in {row["generator"] for row in mine}  # the one that is left out
    (tmp_path / "run" / SEARCHED).unlink()
    next((tmp_path / "run" / "parts").glob("searched-*.json")).write_text("[1]")  # damaged: it is searched again
    bench(quick(small_set, **flags), out=tmp_path / "run", store=store)
    assert (tmp_path / "run" / SEARCHED).read_bytes() == written
    fresh = bench(quick(small_set, **flags), out=tmp_path / "fresh", store=store, workers=2)
    assert (fresh.folder / SEARCHED).read_bytes() == written
    assert (fresh.folder / "result.json").read_bytes() == (tmp_path / "run" / "result.json").read_bytes()


# -- aligned pairs --------------------------------------------------------------------------------------------------


def test_a_pair_is_in_its_photographs_group_and_a_round_trip_is_a_fake_of_its_autoencoder(monkeypatch):
    """Every row bears its sample's number, its half and its autoencoder in columns."""
    n, names, rng = 40, ("a", "b"), np.random.default_rng(0)
    texts = [np.array([f(k) for k in range(2 * n)], object) for f in (
        lambda k: f"image{k}", lambda k: "" if k < n else "g", lambda k: ("x", "y")[k % 2] if k < n else "",
        lambda k: f"scene{k % n // 2}", lambda k: "")]  # fmt: skip
    of = Samples(texts[0], np.repeat([0, 1], n), *texts[1:])
    photographs, fakes = np.arange(n), np.arange(n, 2 * n)

    def columns(rows: np.ndarray, kind: int) -> np.ndarray:
        noise = rng.normal(size=(2, len(rows), 1)) + kind
        return np.concatenate([noise, np.broadcast_to(rows[:, None], (2, len(rows), 1)),
                               np.full((2, len(rows), 1), kind)], axis=2).astype(np.float32)  # fmt: skip

    halves = [{"matched": {name: columns(photographs, side * (k + 1)) for k, name in enumerate(names)}}
              for side in (0, 1)]  # fmt: skip
    halves[1]["matched"]["b"][1, 5] = np.nan  # a pair with a failed half
    sources = {name: SimpleNamespace(name=name, contents=frozenset()) for name in names}
    pairs = Pairs(photographs, *halves, sources, fakes, {"matched": columns(fakes, 3)})
    contents = tuple(f"c{k}" for k in range(2 * n))
    trial = Trial("g/0", "", np.setdiff1d(np.arange(2 * n), np.arange(0, 2 * n, 4)), photographs[::4], fakes[::4])
    seen: list[tuple] = []

    def watched(entry, columns, x, label, **given):
        seen.append((x, label, given))
        return fit_head(entry, columns, x, label, **given)

    monkeypatch.setattr(head_trials, "fit_head", watched)
    every = {"matched": columns(np.arange(2 * n), 0)[0]}
    one = Aligned("h", head.get("stacking"), ("p", "q", "r"), every, of, contents, pairs, 0.25)
    scores, _ = one.ready(trial, "matched").scores("matched", trial.test)
    assert np.isfinite(scores).all()
    (x, label, given), made = seen.pop(), ("", "launder_a", "launder_b", "g")
    rows, kind = x[:, 1].astype(int), x[:, 2].astype(int)
    assert {*rows} <= {*trial.fit}
    assert {*kind} == {0, 1, 2, 3}
    assert label.tolist() == (kind > 0).astype(int).tolist()
    assert given["generator"].tolist() == [made[k] for k in kind]
    assert given["groups"].tolist() == of.group[rows].tolist()
    assert [s for s, k in zip(given["source"], kind, strict=True) if k == 0] == of.real_source[rows[kind == 0]].tolist()
    searching = replace(one, head=head.get("logreg"), fit=TrialFit(search=True, balance="generators"), tried={})
    searching.ready(trial, "matched")
    tried = {row["generator"] for row in searching.tried["g/0", "matched"]}
    assert tried == {"launder_a", "launder_b", "g"}
    assert {settings["weights"] for _, _, settings in seen} == {"generators"}


# -- what is said before the work -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "settings", "said"),
    [
        (("logreg", "lda", "knn", "one_class", "stacking"), {"balance": "generators"},
         r"--balance generators: lda, knn, one_class can be fitted without weights alone; leave them out"),
        (("logreg",), {"balance": "generator"}, "--balance: no weights 'generator'; did you mean 'generators'"),
        (("logreg:c=-1",), {}, r"head 'logreg:c=-1': The 'C' parameter of LogisticRegression must be"),
        (("lda:shrinkage=much",), {}, r"head 'lda:shrinkage=much': could not convert"),
        (("logreg:b=1",), {}, "head 'logreg' has no setting 'b'"),
        (("stacking:bases=one_class",), {}, "one_class cannot be among its bases"),
    ],
)  # fmt: skip
def test_what_a_head_refuses_is_said_before_the_work(names, settings, said):
    config = override(RunConfig(), {"heads.all_columns": names, "heads.per_family": ()}
                      | {f"heads.{key}": value for key, value in settings.items()})  # fmt: skip
    with pytest.raises(ParameterError, match=said) as caught:
        head_sets(config, ())
    assert "\n" not in str(caught.value)


def test_all_heads_are_fine_without_weights_and_those_that_take_them_with():
    check_heads(head.names(), search=True)
    check_heads(("logreg", "elastic", "hist_gb", "random_forest", "svm_linear", "svm_rbf", "stacking"),
                balance="generators+sources")  # fmt: skip
    with pytest.raises(UnknownName, match="did you mean 'svm_rbf'"):
        check_heads(("svm_rfb",))


def test_the_command_line_and_a_toml_ask_for_it(small_set, tmp_path):
    from click.testing import CliRunner

    from fdetect.cli import cli
    from fdetect.cli.benchmark import run_config

    flags = {"balance": "generators", "search": True, "embeddings": "dinov2-small,clip"}
    config = run_config(str(small_set), flags)
    assert (config.heads.balance, config.heads.search) == ("generators", True)
    assert config.features.embeddings == ("dinov2-small", "clip")
    (tmp_path / "run.toml").write_text('[heads]\nsearch = true\n[features]\nembeddings = ["dinov2-small"]\n')
    read = run_config(str(tmp_path / "run.toml"), {"search": False})
    assert read == read_config(tmp_path / "run.toml")
    assert read.heads.search  # a flag that was not given changes nothing
    done = CliRunner().invoke(cli, ["bench", str(small_set), "--balance", "generators", "--heads", "logreg,lda"])
    assert done.exit_code != 0
    assert "--balance generators: lda can be fitted without weights alone" in f"{done.output} {done.exception}"


# -- linear probes --------------------------------------------------------------------------------------------------


def test_heads_look_through_an_encoder_beside_the_families(small_set, store, tmp_path):
    pytest.importorskip("transformers", reason="the extra 'deep' is not installed")
    import tiny_dinov2

    folder = tiny_dinov2.save_tiny(tmp_path / "tiny", image_size=56)
    flags = {"features.embeddings": (str(folder), "dinov2-small"), "features.names": ("radial_spectrum",),
             "heads.per_family": ("logreg", "knn"), "heads.all_columns": ("logreg",), "detectors.names": (),
             "conditions.names": ("native",)}  # fmt: skip
    done = bench(quick(small_set, **flags), out=tmp_path / "run", store=store)
    mine = {f"{name}:embedding-dinov2-32x2" for name in ("logreg", "knn")}
    assert set(done.scores.column("detector").to_pylist()) == {"logreg:spectrum", "knn:spectrum", "logreg:all", *mine}
    probed = [row for row in done.scores.to_pylist() if row["detector"] in mine]
    assert {row["status"] for row in probed} == {"ok"}
    assert len({row["score"] for row in probed}) > 30
    for name in mine:
        (card,) = done.result.header["weights"][name]
        assert card["purpose"] == "test"
    absent = {row.detector: row for row in done.result.not_run}
    assert set(absent) == {"logreg:embedding-dinov2-small", "knn:embedding-dinov2-small"}
    assert all("dinov2-small" in row.reason and "weights get dinov2-small" in row.fix for row in absent.values())
    assert json.loads((done.folder / "result.json").read_text())["header"]["weights"].keys() >= mine


def test_probes_need_heads_and_are_not_on_aligned_pairs():
    asked = override(RunConfig(), {"features.embeddings": ("dinov2-small",), "conditions.crop": 128})
    with pytest.raises(ParameterError, match="--embeddings dinov2-small: no head looks at them; .* --family-heads"):
        embeddings(override(asked, {"heads.per_family": ()}))
    found, (row,) = embeddings(override(asked, {"protocol.train": ("aligned",)}))
    assert not found
    assert (row.detector, row.fix) == ("logreg:embedding-dinov2-small", "leave --train aligned out")
    assert "not computed of aligned pairs" in row.reason


def test_an_encoder_that_is_named_twice_is_refused(tmp_path: Path):
    pytest.importorskip("transformers", reason="the extra 'deep' is not installed")
    import tiny_dinov2

    folders = tuple(str(tiny_dinov2.save_tiny(tmp_path / name, image_size=56)) for name in ("a", "b"))
    asked = override(RunConfig(), {"features.embeddings": folders, "conditions.crop": 128})
    with pytest.raises(ParameterError, match="--embeddings: two are called 'embedding-dinov2-32x2'"):
        embeddings(asked)
