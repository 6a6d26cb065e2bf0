"""`fit_aligned`: photographs in, labelled or not, one detector out; in Python and on the command line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from test_aligned_bench import fragile, sum_of  # noqa: F401 (a fixture)
from test_cli import fdetect  # noqa: F401 (a fixture)

from fdetect.bench import steps
from fdetect.bench.layouts import read_manifest
from fdetect.bench.training.fitting import fit_aligned
from fdetect.classifiers import fit_head, head
from fdetect.classifiers.saved import load_detector, save_detector
from fdetect.config import AlignedConfig
from fdetect.engine import Store, run
from fdetect.engine.work import content_id
from fdetect.errors import DataError, ParameterError, WeightsError
from fdetect.features import feature, feature_tasks
from fdetect.pairs import halves
from fdetect.perturb import condition
from fdetect.splits import hold_out

pytest.importorskip("torch", reason="the extra 'deep' is not installed")

from tiny_own import known_photographs, save_own

from fdetect.nets.laundering import Laundering

QUICK = {"features": "npr_statistics", "crop": 128}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("autoencoders")
    save_own(base / "near", "nearest", factor=4)
    save_own(base / "shuf", "shuffle", factor=8)
    return base


def aligned(home: Path, *, draws: int = 1, share: float = 0.0, only: str = "") -> AlignedConfig:
    names = tuple(str(home / name) for name in ("near", "shuf") if only in name)
    return AlignedConfig(names, draws, generated=(share,))


@pytest.fixture(scope="module")
def photographs(small_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reals of the small set, one of each scene, in a folder without labels."""
    folder, scenes = tmp_path_factory.mktemp("photographs"), set()
    for row in read_manifest(small_set).to_pylist():
        if row["label"] == 0 and row["group"] not in scenes:
            scenes.add(row["group"])
            shutil.copyfile(small_set.parent / row["path"], folder / f"{row['group']}.png")
    return folder


def by_hand(
    root: Path, paths: list[str], folders: list[Path], store: Store, *, name: str = "matched", draws: int = 1
) -> Any:
    """A head fitted on the halves of these photographs, in this order."""
    (task,) = feature_tasks((feature.get("npr_statistics"),), crop=128)
    sides: list[list[np.ndarray]] = []
    for folder in folders:
        launder = Laundering.of(str(folder))
        for draw in range(1, draws + 1):
            two = halves(condition(name), launder, launder.name, draw=draw)
            done = run((task,), paths, root=root, conditions=two, crop=128, store=store)
            sides.append([done.tables[half.name, task.name].values for half in two])
    pristine, laundered = (np.concatenate(of_side) for of_side in zip(*sides, strict=True))
    label = np.repeat([0, 1], len(pristine))
    return fit_head(head.get("logreg"), task.columns, np.concatenate([pristine, laundered]), label)


def kept_for_thresholds(paths: list[str]) -> tuple[list[str], list[str]]:
    """Names of the photographs that set the thresholds, and of those that make pairs; each is a scene of its own."""
    held = hold_out(paths, [""] * len(paths), share=0.25, seed=0)
    assert 0 < held.sum() < len(paths)
    return [[path for path, away in zip(paths, held, strict=True) if away == side] for side in (True, False)]


# --- photographs alone --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["matched", "native", "jpeg70"])
def test_a_folder_without_labels_is_fitted_as_by_hand(name: str, photographs: Path, home: Path, store: Store) -> None:
    said: list[str] = []
    two = aligned(home, draws=2)
    fitted = fit_aligned(photographs, aligned=two, condition=name, notice=said.append, store=store, **QUICK)
    paths = sorted(path.name for path in photographs.iterdir())
    assert said[0] == f"the data have no labels: all {len(paths)} images are taken as real photographs"
    held = hold_out(paths, [""] * len(paths), share=0.25, seed=0)  # each is a scene of its own
    assert 0 < held.sum() < len(paths)
    rest = [path for path, away in zip(paths, held, strict=True) if not away]
    truth = by_hand(photographs, rest, [home / "near", home / "shuf"], store, name=name, draws=2)
    whole = steps.extract(photographs, condition=name, store=store, **QUICK).values
    np.testing.assert_array_equal(fitted.head.score(whole), truth.score(whole))
    assert fitted.calibration.scores == tuple(sorted(truth.score(whole[held])))
    launders = {f"launder_{Laundering.of(str(home / each)).name}": 2 * len(rest) for each in ("near", "shuf")}
    assert fitted.trained_on == {"": 4 * len(rest), **launders}
    assert (fitted.condition, fitted.n_failed) == (name, 0)


def test_what_is_fitted_saved_and_loaded_scores_as_in_memory(
    photographs: Path, small_set: Path, home: Path, store: Store, tmp_path: Path
) -> None:
    fitted = fit_aligned(photographs, aligned=aligned(home), store=store, **QUICK)
    save_detector(fitted, tmp_path / "my.fdetect")
    loaded = load_detector(tmp_path / "my.fdetect")
    assert (loaded.trained_on, loaded.calibration, loaded.name) == (fitted.trained_on, fitted.calibration, fitted.name)
    here, there = (steps.score(small_set, one, store=store).values for one in (fitted, loaded))
    np.testing.assert_array_equal(here, there)
    assert np.isfinite(here).all()
    again = fit_aligned(photographs, aligned=aligned(home), store=store, workers=2, **QUICK)
    np.testing.assert_array_equal(steps.score(small_set, again, store=store).values, here)
    other = fit_aligned(photographs, aligned=aligned(home), store=store, seed=1, **QUICK)
    assert not np.array_equal(steps.score(small_set, other, store=store).values, here)


def test_shipped_autoencoders_are_the_default(photographs: Path, store: Store) -> None:
    from fdetect.nets.shipped import SHIPPED

    few = sorted(map(str, photographs.iterdir()))[:3]
    fitted = fit_aligned(few, store=store, **QUICK)
    assert fitted.trained_on == {"": 2 * len(SHIPPED), **{f"launder_{name}": 2 for name in SHIPPED}}
    assert len(fitted.calibration.scores) == 1
    assert fit_aligned(few, aligned=AlignedConfig(), store=store, **QUICK).trained_on == fitted.trained_on


# --- labelled images ----------------------------------------------------------------------------------------------


def test_fakes_are_used_with_a_share_alone(small_set: Path, home: Path, store: Store) -> None:
    manifest = read_manifest(small_set)
    label = np.array(manifest.column("label").to_pylist())
    reals = manifest.filter(pa.array(label == 0))
    alone, both = (fit_aligned(data, aligned=aligned(home), store=store, **QUICK) for data in (reals, manifest))
    assert alone.trained_on == both.trained_on
    assert alone.calibration == both.calibration
    mixed = fit_aligned(manifest, aligned=aligned(home, share=0.25), store=store, **QUICK)
    counts = dict(mixed.trained_on)
    n_pairs, launders = counts.pop(""), [counts.pop(name) for name in list(counts) if name.startswith("launder_")]
    assert sum(launders) == n_pairs
    assert set(counts) == {"sim-nearest", "sim-transposed"}
    assert sum(counts.values()) == round(n_pairs / 3)
    assert mixed.calibration != both.calibration


def test_generated_images_are_mixed_in_with_the_history_of_pristine_halves(
    small_set: Path, home: Path, store: Store
) -> None:
    manifest = read_manifest(small_set)
    rows, label = manifest.to_pylist(), np.array(manifest.column("label").to_pylist())
    group, reals = np.array([row["group"] for row in rows]), np.flatnonzero(label == 0)
    sources = [rows[k]["real_source"] for k in reals]
    held = reals[hold_out(list(group[reals]), sources, share=0.25, seed=0)]
    rest = ~np.isin(group, group[held])
    launder, (task,) = Laundering.of(str(home / "near")), feature_tasks((feature.get("npr_statistics"),), crop=128)
    pristine, laundered = halves(condition("matched"), launder, launder.name, draw=1)
    parts = []
    for wanted, half in ((0, pristine), (0, laundered), (1, pristine)):
        paths = [row["path"] for row in np.array(rows)[rest & (label == wanted)]]
        done = run((task,), paths, root=small_set.parent, conditions=(half,), crop=128, store=store)
        parts.append(done.tables[half.name, task.name].values)
    n_pairs, n_fakes = len(parts[0]), len(parts[2])
    n = round(n_pairs / 3)
    assert 1 < n < n_fakes
    rng = np.random.default_rng(0)
    mine, theirs = (np.sort(rng.permutation(total)[:kept]) for total, kept in
                    ((n_pairs, min(3 * n, n_pairs)), (n_fakes, n)))  # fmt: skip
    values = np.concatenate([parts[0][mine], parts[1][mine], parts[2][theirs]])
    truth = fit_head(head.get("logreg"), task.columns, values, np.repeat([0, 1, 1], [len(mine), len(mine), n]))
    config = aligned(home, share=0.25, only="near")
    fitted = fit_aligned(manifest, aligned=config, store=store, **QUICK)
    whole = steps.extract(manifest, condition="matched", store=store, **QUICK).values
    np.testing.assert_array_equal(fitted.head.score(whole), truth.score(whole))
    names = [row["generator"] for row in np.array(rows)[rest & (label == 1)][theirs]]
    assert fitted.trained_on == {"": len(mine), f"launder_{launder.name}": len(mine),
                                 **{name: names.count(name) for name in set(names)}}  # fmt: skip


def test_fakes_without_a_generator_s_name_are_counted_apart(small_set: Path, home: Path, store: Store) -> None:
    manifest = read_manifest(small_set)
    nameless = manifest.set_column(
        manifest.column_names.index("generator"), "generator", pa.array([""] * len(manifest))
    )
    settings = {"aligned": aligned(home, share=0.25), "store": store, **QUICK}
    named, unnamed = (fit_aligned(data, **settings).trained_on for data in (manifest, nameless))
    assert unnamed[""] == named[""]  # pairs
    assert sum(unnamed.values()) == sum(named.values())


def test_thresholds_are_set_on_photographs_that_make_no_pair_by_scene_and_by_content(
    small_set: Path, home: Path, store: Store, tmp_path: Path
) -> None:
    """Copies of every photograph, each under a scene of its own; one more copy ties its scene to another."""
    rows = [row for row in read_manifest(small_set).to_pylist() if row["label"] == 0]
    scenes = sorted({row["group"] for row in rows})
    assert rows[0]["group"] != scenes[-1]
    table = [{**row, "path": f"{k}.png"} for k, row in enumerate(rows)]
    table += [{**row, "path": f"{k}-copy.png", "group": f"copy {k}"} for k, row in enumerate(rows)]
    table.append({**rows[0], "path": "0-tie.png", "group": scenes[-1]})
    for row in table:
        number = int(row["path"].removesuffix(".png").partition("-")[0])
        shutil.copyfile(small_set.parent / rows[number]["path"], tmp_path / row["path"])
    data = pa.Table.from_pylist(table).replace_schema_metadata({"fdetect.root": str(tmp_path)})
    fitted = fit_aligned(data, aligned=aligned(home, only="near"), store=store, **QUICK)
    two = (rows[0]["group"], scenes[-1])
    tied = [min(two) if row["group"] in two else row["group"] for row in rows]
    whole = [*tied, *tied, tied[0]]  # the scene of each row: a copy is of its original's
    names = [min(name, *(f"copy {k}" for k, other in enumerate(tied) if other == name)) for name in whole]
    away = hold_out(names, [row["real_source"] for row in table], share=0.25, seed=0)[: len(rows)]
    assert 0 < away.sum() < len(rows)
    assert not {tied[k] for k in np.flatnonzero(away)} & {tied[k] for k in np.flatnonzero(~away)}
    assert fitted.trained_on[""] == (~away).sum()  # of copies one counts
    truth = by_hand(tmp_path, [f"{k}.png" for k in np.flatnonzero(~away)], [home / "near"], store)
    values = steps.extract(data, condition="matched", store=store, **QUICK).values[: len(rows)]
    np.testing.assert_array_equal(fitted.head.score(values), truth.score(values))
    assert fitted.calibration.scores == tuple(sorted(truth.score(values[away])))


def test_images_that_fail_are_counted_and_make_no_pair(
    photographs: Path, home: Path, store: Store, tmp_path: Path
) -> None:
    shutil.copytree(photographs, tmp_path / "in")
    (tmp_path / "in" / "zz.png").write_bytes(b"no image")
    said: list[str] = []
    fitted = fit_aligned(tmp_path / "in", aligned=aligned(home, only="near"), notice=said.append, store=store, **QUICK)
    assert fitted.n_failed == 1
    assert any(line.startswith("zz.png: decode: ") for line in said)
    assert fitted.trained_on[""] + len(fitted.calibration.scores) == len(list(photographs.iterdir()))


def test_photographs_that_fail_in_a_half_alone_are_counted_too(
    fragile: set[int], photographs: Path, home: Path, tmp_path: Path  # noqa: F811
) -> None:
    launder = Laundering.of(str(home / "near"))
    pristine, laundered = halves(condition("matched"), launder, launder.name, draw=1)
    held, rest = kept_for_thresholds(sorted(path.name for path in photographs.iterdir()))
    one, two, third = rest[:3]
    for name, chain in ((one, laundered), (two, condition("matched")), (two, pristine), (third, condition("native")),
                        (held[0], laundered)):  # fmt: skip
        fragile.add(sum_of(photographs / name, chain))
    said: list[str] = []
    fitted = fit_aligned(photographs, aligned=aligned(home, only="near"), features="fragile", crop=128,
                         notice=said.append, store=tmp_path / "store")  # fmt: skip
    assert fitted.n_failed == 2
    assert fitted.trained_on[""] == len(rest) - 2
    assert len(fitted.calibration.scores) == len(held)
    for name in (one, two):
        assert said.count(f"{name}: fragile: the result is not finite") == 1
    assert not any(line.startswith((third, held[0])) for line in said)


# --- autoencoders that know photographs ---------------------------------------------------------------------------


def test_an_autoencoder_that_knows_what_sets_the_thresholds_is_left_out(
    photographs: Path, home: Path, store: Store, tmp_path: Path
) -> None:
    shutil.copytree(home, tmp_path / "knowing")
    near, shuf = (tmp_path / "knowing" / name for name in ("near", "shuf"))
    held, rest = kept_for_thresholds(sorted(path.name for path in photographs.iterdir()))
    ids = {name: content_id((photographs / name).read_bytes()) for name in (*held, *rest)}
    whole = steps.extract(photographs, condition="matched", store=store, **QUICK).values

    def fitted(said: list[str]) -> Any:
        return fit_aligned(photographs, aligned=aligned(near.parent), notice=said.append, store=store, **QUICK)

    known_photographs(near, [ids[name] for name in rest])  # pairs may be of what it was trained on
    said: list[str] = []
    both = fitted(said)
    assert both.trained_on[""] == 2 * len(rest)
    assert not any("left out" in line for line in said)
    known_photographs(near, ["f" * 32, ids[held[-1]]])
    alone = fitted(said)
    name = Laundering.of(str(near)).name
    assert said.count(f"{name}: trained on photographs that set the thresholds, and left out") == 1
    assert set(alone.trained_on) == {"", f"launder_{Laundering.of(str(shuf)).name}"}
    truth = by_hand(photographs, rest, [shuf], store)
    np.testing.assert_array_equal(alone.head.score(whole), truth.score(whole))
    assert not np.array_equal(alone.head.score(whole), both.head.score(whole))
    known_photographs(shuf, [ids[held[0]]])
    names = ", ".join(Laundering.of(str(folder)).name for folder in (near, shuf))
    wanted = f"every autoencoder was trained on photographs that set the thresholds: {names}"
    with pytest.raises(DataError, match=wanted):
        fitted(said)


# --- what cannot be used ------------------------------------------------------------------------------------------


def test_what_cannot_be_used_is_explained(
    small_set: Path, photographs: Path, home: Path, store: Store, tmp_path: Path
) -> None:
    manifest = read_manifest(small_set)
    label = np.array(manifest.column("label").to_pylist())
    one = sorted(photographs.iterdir())[0]
    copy = shutil.copyfile(one, tmp_path / "copy.png")
    half_labelled = manifest.set_column(1, "label", pa.array([None, *label[1:].tolist()], pa.int64()))
    few = "aligned training needs at least two different photographs"
    near = aligned(home, only="near")
    for data, config, settings, error, said in (
        (one, near, {}, DataError, few),
        ([one, copy], near, {}, DataError, few),
        (manifest.filter(pa.array(label == 1)), near, {}, DataError, few),
        (half_labelled, near, {}, DataError, f"1 of {len(label)} images have no label; label all of them, or none"),
        (photographs, aligned(home, share=0.5), {}, DataError, "no generated image to mix into the aligned pairs"),
        (photographs, AlignedConfig(("nowhere",)), {}, WeightsError, "no autoencoder 'nowhere'"),
        (photographs, AlignedConfig(generated=(0.0, 0.5)), {}, ParameterError, "a fit takes one share .* got 2"),
        (photographs, near, {"crop": 256}, DataError, "every real image failed under condition matched; the first, "),
        (photographs, near, {"folds": 1}, ParameterError, "--folds is 1; give 0 for none, or 2 or more"),
        (manifest.set_column(2, "generator", pa.array(["worst"] * len(label))), aligned(home, share=0.5), {}, DataError,
         "a generator is called 'worst'"),
        (photographs, near, {"head": "lda:shrinkage=foo"}, ParameterError, "head 'lda:shrinkage=foo': could not"),
        (photographs, near, {"condition": "matchd"}, ParameterError, "did you mean 'matched'"),
        (photographs, near, {"condition": "launder_own-nearest8"}, ParameterError, "launder_own-nearest8: .*without"),
        (photographs, near, {"head": "logref"}, ParameterError, "did you mean 'logreg'"),
        (photographs, near, {"calibration": 1.5}, ParameterError, "between 0 and 1"),
    ):
        with pytest.raises(error, match=said) as caught:
            fit_aligned(data, aligned=config, store=store, **{**QUICK, **settings})
        assert "\n" not in str(caught.value)


# --- the command line ---------------------------------------------------------------------------------------------


def test_fit_aligned_on_the_command_line(fdetect, small_set: Path, photographs: Path, home: Path, store: Store) -> None:  # noqa: F811
    shape = ("--features", "npr_statistics", "--crop", 128, "--store", store.folder, "--workers", 0)
    both = ("--autoencoder", f"{home / 'near'}+{home / 'shuf'}")
    code, out, err = fdetect("fit", photographs, "--aligned", *both, "--pairs", 2, "-o", "my.fdetect", *shape)
    assert code == 0, err
    rest = len(list(photographs.iterdir())) - len(load_detector(Path("my.fdetect")).calibration.scores)
    assert f"logreg:npr_statistics, fitted on {4 * rest} aligned pairs under matched, 0 failed" in out
    assert "images are taken as real photographs" in err
    code, out, err = fdetect("score", photographs, "--model", "my.fdetect", "-o", "s.csv", *shape[4:])
    assert code == 0, err
    code, out, err = fdetect("fit", small_set, "--aligned", *both, "--generated", "0.25", "-o", "mixed.fdetect", *shape)
    assert code == 0, err
    counts = load_detector(Path("mixed.fdetect")).trained_on
    n = sum(counts[name] for name in ("sim-nearest", "sim-transposed"))
    assert f"fitted on {counts['']} aligned pairs and {n} generated images under matched" in out
    assert n == round(counts[""] / 3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--pairs", "2"), "--pairs and --generated go with --aligned"),
        (("--generated", "0.2"), "--pairs and --generated go with --aligned"),
        (("--pairs", "0"), "--pairs and --generated go with --aligned"),
        (("--generated", "0"), "--pairs and --generated go with --aligned"),
        (("--aligned", "--pairs", "0"), "draws is 0; give 1 or more"),
        (("--aligned", "--generated", "1"), "the share of generated images is 1; give 0 or more, below 1"),
        (("--aligned", "--detector", "rigid"), "--aligned are of what is trained, --detector is not"),
        (("--aligned", "--encoder", "x"), "--encoder goes with --detector"),
        (("--aligned", "--autoencoder", "nowhere"), "no autoencoder 'nowhere'"),
        (("--autoencoder", "x"), "--autoencoder goes with --detector or --aligned"),
        (("--aligned", "--condition", "jpg"), "no condition 'jpg'"),
        (("--aligned", "--features", "exif_facts,npr_statistics"), "features of file history"),
    ],
    ids=str,
)
def test_misuse_is_one_sentence_and_exit_code_2(
    fdetect, small_set: Path, arguments: tuple[str, ...], said: str  # noqa: F811
) -> None:
    code, _, err = fdetect("fit", small_set, "-o", "x.fdetect", *arguments)
    assert code == 2
    assert said in err
    assert err.splitlines()[-1].startswith("fdetect: ")
    assert not Path("x.fdetect").exists()


def test_the_fused_detector_is_fitted_on_pairs_too(photographs, home, store, tmp_path):
    how = {"features": "npr_statistics,radial_spectrum", "crop": 64, "folds": 0, "store": store}
    fitted = fit_aligned(photographs, aligned=aligned(home), head="fused:forms=linear", **how)
    assert fitted.head.fitted.branches == ("handmade", "spectrum")
    makers = {name: n for name, n in fitted.trained_on.items() if name}
    assert [name.partition("-")[0] for name in sorted(makers)] == ["launder_nearest", "launder_shuffle"]
    assert fitted.trained_on[""] == sum(makers.values())
    save_detector(fitted, tmp_path / "m")
    scores = steps.score(photographs, load_detector(tmp_path / "m"), store=store)
    assert set(scores.branches) == {"handmade+spectrum"}
    assert np.isfinite(scores.values).all()
