"""Figures of published checkpoints: what the network is shown, which reals a generator is judged against, each verdict.

Figures of the tests' own entries are computed beforehand by the plain network (`naive_published`), each image alone.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score
from tiny_reproduce import entered, run_command, texture, tree

from fdetect.bench.reproduce.measured import differences, judged_rows
from fdetect.bench.reproduce.outcome import Outcome, reproduce
from fdetect.bench.reproduce.published import Checkpoint, DataSet, Reproduction, reproduction
from fdetect.bench.reproduce.published.geometry import RepeatedCrop
from fdetect.engine import Store
from fdetect.errors import DataError
from fdetect.images import Geometry
from fdetect.nets.detector_cards import detector_card
from fdetect.types import MetricValue

N = 8  # images of each class of each generator
SIDE = 72
KINDS = {
    "test/progan/car/0_real": (N, 12.0, 120), "test/progan/car/1_fake": (N, 3.0, 120),
    "test/stargan/0_real": (N, 5.0, 90), "test/stargan/1_fake": (N, 10.0, 150),
}  # fmt: skip
ABOUT = DataSet(
    what="small textures", generators=("progan", "stargan"), named=True, counts=(("progan", N), ("stargan", N)),
    layout="forensynths: test/<generator>/{0_real,1_fake}/*", source="this test", own_reals=True,
)  # fmt: skip


# --- what is tested --------------------------------------------------------------------------------------------------


def manifest(*rows: tuple[str, int, str, str, str], **more: list[str]) -> pa.Table:
    names = ("path", "label", "generator", "real_source", "split")
    return pa.table({**{name: [row[k] for row in rows] for k, name in enumerate(names)}, **more})


def paths(table: pa.Table, data: DataSet) -> dict[str, list[str]]:
    return {name: [table["path"][int(row)].as_py() for row in rows] for name, rows in judged_rows(table, data).items()}


def test_each_generator_has_the_reals_that_are_published_with_it() -> None:
    forensynths = manifest(
        ("a/0_real/1", 0, "", "a", ""), ("a/1_fake/1", 1, "a", "", ""), ("b/0_real/1", 0, "", "b", ""),
        ("b/1_fake/1", 1, "b", "", ""), ("b/1_fake/2", 1, "b", "", ""),
    )  # fmt: skip
    assert paths(forensynths, ABOUT) == {"a": ["a/0_real/1", "a/1_fake/1"],
                                         "b": ["b/0_real/1", "b/1_fake/1", "b/1_fake/2"]}  # fmt: skip
    assert paths(forensynths, replace(ABOUT, own_reals=False)) == {"all": forensynths["path"].to_pylist()}
    genimage = manifest(
        ("A/x/val/nature/1", 0, "", "imagenet", "val"), ("A/x/val/ai/1", 1, "A", "", "val"),
        ("A/x/train/ai/2", 1, "A", "", "train"), ("B/val/nature/1", 0, "", "imagenet", "val"),
        ("B/val/ai/1", 1, "B", "", "val"), ("sdv4/val/ai/1", 1, "sdv4", "", "val"),
        ("sdv4/val/nature/1", 0, "", "imagenet", "val"),
    )  # fmt: skip
    about = replace(ABOUT, split="val", left_out=("SD_v4",))
    assert paths(genimage, about) == {"A": ["A/x/val/nature/1", "A/x/val/ai/1"], "B": ["B/val/nature/1", "B/val/ai/1"]}
    univfd = manifest(("imagenet/0_real/1", 0, "", "imagenet", ""), ("laion/0_real/1", 0, "", "laion", ""),
                      ("guided/1_fake/1", 1, "guided", "", ""), ("dalle/1_fake/1", 1, "dalle", "", ""),
                      ("ldm_100/1_fake/1", 1, "ldm_100", "", ""),
                      reals=["", "", "imagenet", "laion", "laion"])  # fmt: skip
    assert paths(univfd, ABOUT) == {
        "guided": ["imagenet/0_real/1", "guided/1_fake/1"], "dalle": ["laion/0_real/1", "dalle/1_fake/1"],
        "ldm_100": ["laion/0_real/1", "ldm_100/1_fake/1"],
    }  # fmt: skip


def test_of_a_larger_set_the_named_generators_are_tested() -> None:
    table = manifest(("StarGAN/0_real/1", 0, "", "StarGAN", ""), ("StarGAN/1_fake/1", 1, "StarGAN", "", ""),
                     ("crn/0_real/1", 0, "", "crn", ""), ("crn/1_fake/1", 1, "crn", "", ""))  # fmt: skip
    assert list(paths(table, ABOUT)) == ["StarGAN"]
    assert list(paths(table, replace(ABOUT, named=False))) == ["StarGAN", "crn"]
    assert list(paths(table, replace(ABOUT, generators=("biggan",)))) == ["StarGAN", "crn"]  # none: all, and a reason


def test_data_without_the_tested_split_are_refused() -> None:
    train = manifest(("a/0_real/1", 0, "", "a", "train"), ("a/1_fake/1", 1, "a", "", "train"))
    with pytest.raises(DataError, match=r"no fakes of split test to test \(2 images in all\)"):
        judged_rows(train, ABOUT)


def values(**n_fake: int) -> list[tuple[str, MetricValue]]:
    return [(name, MetricValue("auroc", 0.9, 0.8, 1.0, n, n, 0)) for name, n in n_fake.items()]


def test_differences_of_the_data_are_told_in_numbers() -> None:
    assert differences(ABOUT, values(ProGAN=N, StarGAN=N)) == []
    assert differences(ABOUT, values(progan=N)) == ["1 generator, the figure rests on 2", "no images of stargan"]
    assert differences(ABOUT, values(progan=N, other=N))[0] == "no images of stargan"
    assert differences(ABOUT, values(progan=N, other=N))[1] == "not among the figure's generators: other"
    assert differences(ABOUT, values(progan=N, stargan=3)) == [
        "fewer images than the figure rests on: stargan (3 of 8)",
        "fewer reals than the figure rests on: stargan (3 of 8)",
    ]


# --- what the network is shown ---------------------------------------------------------------------------------------


def test_nprs_four_preprocessings_are_four_names() -> None:
    names = ("npr-forensynths", "npr-gangen", "npr-aigcdetect", "npr-genimage")
    ways = [reproduction.get(name)().way for name in names]
    assert all(isinstance(way, Checkpoint) for way in ways)
    pixels = np.arange(101 * 121 * 3, dtype=np.uint64).reshape(101, 121, 3).astype(np.uint8)
    shown = [way.geometry(pixels) for way in ways]
    assert [one.shape for one in shown] == [(256, 256, 3), (101, 121, 3), (100, 120, 3), (224, 224, 3)]
    for one, other in itertools.combinations(ways, 2):
        assert one.geometry != other.geometry
    stated = [dict(reproduction.get(name)().statement())["images"] for name in names]
    assert len(set(stated)) == 4


@pytest.mark.parametrize(("height", "width"), [(3, 5), (4, 9), (7, 7), (8, 8), (2, 20)])
def test_small_pictures_are_laid_beside_themselves_before_the_centre_crop(height: int, width: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found, high, wide = RepeatedCrop(size=8)(pixels), height, width
    if min(height, width) < 8:
        high, wide = (-(-8 // side) * side for side in (height, width))
    top, left = (round((side - 8) / 2) for side in (high, wide))
    wanted = [[pixels[(top + i) % height, (left + j) % width] for j in range(8)] for i in range(8)]
    np.testing.assert_array_equal(found, wanted)


# --- the verdict -----------------------------------------------------------------------------------------------------

torch = pytest.importorskip("torch", reason="the deep extra is not installed")
pytest.importorskip("transformers", reason="the deep extra is not installed")

import naive_published as naive  # noqa: E402
import published_states as states  # noqa: E402

from fdetect.nets.evidence import evidence_of, identity  # noqa: E402
from fdetect.nets.importing import import_weights  # noqa: E402

WEIGHTS = "tiny-ladeda-wildrf"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree(tmp_path_factory.mktemp("data"), KINDS)


@pytest.fixture(scope="module")
def judged(data: Path) -> tuple[states.State, dict[str, dict[int, list[float]]]]:
    """A network whose boundary lies in the middle, and its logits by generator and class, each image alone."""
    state, logits = states.tiny_ladeda(), {}
    for path in sorted(data.rglob("*.png")):
        small = Image.open(path).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        logit = naive.tiny_ladeda(np.asarray(small).transpose(2, 0, 1) / 255, states.doubled(state), "npr")
        generator, label = path.relative_to(data).parts[1], int(path.parent.name == "1_fake")
        logits.setdefault(generator, {0: [], 1: []})[label].append(logit)
    middle = float(np.median([x for of in logits.values() for some in of.values() for x in some])) - 1e-4
    state["fc.bias"] = state["fc.bias"] - middle
    return state, {g: {k: [x - middle for x in some] for k, some in of.items()} for g, of in logits.items()}


def accuracy(of: dict[int, list[float]]) -> float:
    return float(np.mean([(x >= 0) == label for label, some in of.items() for x in some]))


@pytest.fixture
def weights(judged: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("FDETECT_WEIGHTS", str(tmp_path / "home"))
    torch.save(judged[0], tmp_path / "authors.pth")
    import_weights([tmp_path / "authors.pth"], WEIGHTS)
    return WEIGHTS


Enter = Callable[..., Reproduction]


@pytest.fixture
def enter(judged: Any) -> Iterator[Enter]:
    with ExitStack() as at_last:

        def one(**changes: Any) -> Reproduction:
            figure = float(np.mean([accuracy(of) for of in judged[1].values()]))
            found = replace(Reproduction(
                way=Checkpoint(WEIGHTS, Geometry("squash", SIDE, "bilinear")), data=ABOUT, metric="accuracy_at_half",
                figure=figure, margin=0.001, why="nothing is drawn", source="C: computed beforehand",
                preprocessing="squashed", each=(("ProGAN", 0.5),),
            ), **changes)  # fmt: skip
            at_last.enter_context(entered(found))
            return found

        yield one


def found_of(data: Path, store: Any, tmp_path: Path, **settings: Any) -> Outcome:
    return reproduce("tiny", data, store=store, out=tmp_path / "run", backend="cpu", **settings)


def test_accuracy_of_each_generator_is_that_of_the_plain_network_against_its_own_reals(
    enter: Enter, weights: str, judged: Any, data: Path, store: Store, tmp_path: Path
) -> None:
    enter()
    found = found_of(data, store, tmp_path)
    wanted = {name: accuracy(of) for name, of in judged[1].items()}
    assert {name: one.value for name, one in found.by_generator} == pytest.approx(wanted)
    assert min(wanted.values()) < max(wanted.values())
    assert [(one.n_real, one.n_fake) for _, one in found.by_generator] == [(N, N)] * 2
    assert (found.verdict, found.reasons, found.recorded) == ("reached", (), (f"{weights} (stem npr)",))
    assert evidence_of(identity(found.networks[0])) == "reproduced"
    rows = found.grid().rows
    assert rows[1][0].strip() == "progan"
    assert rows[1][1] == "0.5"  # published of this generator, beside what was measured
    assert rows[2][1] == ""
    assert found.aside == 0
    assert found.folder
    assert (found.folder / "report.html").is_file()


def test_average_precision_is_that_of_each_generator_and_a_figure_off_by_more_than_the_margin_is_missed(
    enter: Enter, weights: str, judged: Any, data: Path, store: Store, tmp_path: Path
) -> None:
    wanted = [average_precision_score([0] * N + [1] * N, of[0] + of[1]) for of in judged[1].values()]
    enter(metric="ap_fake", figure=float(np.mean(wanted)))
    found = found_of(data, store, tmp_path)
    assert [one.value for _, one in found.by_generator] == pytest.approx(wanted)
    assert found.verdict == "reached"
    everybodys = [x for of in judged[1].values() for x in of[0]]
    against_all = [average_precision_score([0] * 2 * N + [1] * N, everybodys + of[1]) for of in judged[1].values()]
    assert np.mean(against_all) != pytest.approx(np.mean(wanted), abs=0.01)
    missed = replace(found, published=replace(found.published, figure=float(np.mean(against_all))))
    assert missed.verdict == "missed"


def test_a_part_of_the_data_is_not_comparable_and_says_in_numbers_why(
    enter: Enter, weights: str, store: Store, tmp_path: Path
) -> None:
    enter()
    part = tree(tmp_path / "part", {"test/progan/0_real": (N, 12.0, 120), "test/progan/1_fake": (4, 3.0, 120),
                                    "test/crn/1_fake": (3, 3.0, 120)})  # fmt: skip
    texture(part / "test/progan/1_fake/small.png", 5, 3.0, size=(40, 40))
    found = found_of(part, store, tmp_path)
    assert (found.verdict, found.recorded) == ("not comparable", ())
    assert found.reasons[:3] == (
        "1 generator, the figure rests on 2", "no images of stargan",
        "fewer images than the figure rests on: progan (4 of 8)",
    )  # fmt: skip
    assert found.aside == 3
    assert "1 image failed, the first: test/progan/1_fake/small.png" in found.reasons[3]


def test_generators_without_reals_of_their_own_are_not_comparable(
    enter: Enter, weights: str, store: Store, tmp_path: Path
) -> None:
    enter()
    kinds = {"test/progan/0_real": (N, 12.0, 120), "test/progan/1_fake": (N, 3.0, 120),
             "test/stargan/1_fake": (N, 3.0, 120)}  # fmt: skip
    found = found_of(tree(tmp_path / "part", kinds), store, tmp_path)
    assert found.verdict == "not comparable"
    assert found.reasons[0] == "no reals are published with stargan in these data, against which to judge"


def test_reals_that_several_generators_share_are_judged_with_each_and_counted_once(
    enter: Enter, weights: str, store: Store, tmp_path: Path
) -> None:
    kinds = {name: (N, strength, 120) for name, strength in (
        ("imagenet/0_real", 12.0), ("laion/0_real", 6.0), ("guided/1_fake", 3.0), ("ldm_100/1_fake", 9.0),
        ("dalle/1_fake", 4.0),
    )}  # fmt: skip
    enter(
        data=replace(ABOUT, generators=("guided", "ldm_100", "dalle"), named=False, counts=()), figure=0.5, margin=0.05
    )
    found = found_of(tree(tmp_path / "univfd", kinds), store, tmp_path)
    assert found.reasons == ()
    assert [name for name, _ in found.by_generator] == ["dalle", "guided", "ldm_100"]
    assert [(one.n_real, one.n_fake) for _, one in found.by_generator] == [(N, N)] * 3
    assert (found.measured.n_real, found.measured.n_fake) == (2 * N, 3 * N)
    assert found.measured.value == pytest.approx(np.mean([one.value for _, one in found.by_generator]))


def test_absent_weights_and_absent_data_are_not_run_and_say_how_to_have_them(
    enter: Enter, data: Path, weights: str, tmp_path: Path
) -> None:
    enter(way=Checkpoint("npr", Geometry()))
    done, error = run_command("tiny", str(data))
    assert (done.exit_code, done.stdout, error) == (2, "", "")
    assert "fdetect: not run: " in done.stderr
    assert "fdetect weights import NPR.pth --as npr" in done.stderr
    assert "as --weights FOLDER" in done.stderr
    enter()
    found = reproduce("tiny", tmp_path / "nothing")
    assert found.verdict == "not run"
    assert found.missing == (
        f"{tmp_path / 'nothing'}: no such file or folder", "it should hold small textures, from this test"
    )  # fmt: skip


def test_weights_of_ones_own_are_given_by_folder(
    enter: Enter, weights: str, data: Path, store: Store, tmp_path: Path
) -> None:
    enter(way=Checkpoint("npr-sdv14", Geometry("squash", SIDE, "bilinear"), "tiny_ladeda"))
    mine, kept = shutil.copytree(tmp_path / "home" / WEIGHTS, tmp_path / "mine"), str(store.folder)
    (mine / "card.json").unlink()  # so that nobody knows their name
    done, _ = run_command("tiny", str(data), "--weights", str(mine), "--store", kept,
                          "--workers", "0", "--backend", "cpu", "--out", str(tmp_path / "run"))  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "reached" in done.stdout
    assert "nothing was recorded of them" in done.stdout


def test_weights_of_another_network_than_the_figures_are_not_comparable(
    enter: Enter, weights: str, data: Path, store: Store, tmp_path: Path
) -> None:
    one = enter(way=Checkpoint("npr", Geometry("squash", SIDE, "bilinear")))
    found = found_of(data, store, tmp_path, weights=weights)
    assert (found.verdict, found.recorded) == ("not comparable", ())
    assert found.reasons == (f"the weights are {weights}, the figure was reached with npr",)
    assert isinstance(one.way, Checkpoint)
    card = detector_card(weights)
    unnamed = replace(card, name="tiny_ladeda-01234567")
    wanted = "the weights are of the network tiny_ladeda, the figure was reached with npr"
    assert one.way.unlike(unnamed) == wanted
    assert Checkpoint("npr-sdv14", Geometry(), "npr").unlike(unnamed) == wanted
    assert Checkpoint(weights, Geometry()).unlike(card) == ""
