"""Published figures: what they want is stated, what is measured stands beside them, and only success is recorded.

The figure of the tests' own entry is computed beforehand from the pixels: RIGID's scores of each image alone, ranked by
scikit-learn, all images at once.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tiny_reproduce
from PIL import Image
from sklearn.metrics import roc_auc_score
from tiny_reproduce import run_command, tree

from fdetect.bench.reproduce.measured import differences, judged_rows
from fdetect.bench.reproduce.outcome import Outcome, record, reproduce, reproductions_grid
from fdetect.bench.reproduce.published import METRICS, DataSet, Reproduction, TrainingFree, plain, reproduction
from fdetect.engine import Store
from fdetect.engine.work import content_id
from fdetect.errors import DataError, ParameterError, UnknownName
from fdetect.images import Geometry
from fdetect.nets.cards import CARDS
from fdetect.nets.evidence import about_evidence, evidence_of, identity
from fdetect.rigid import detector, prepare
from fdetect.types import Batch, Facts, MetricValue

GENERATORS = ("smooth", "sharp")
N = 12  # images of each generator, and twice as many reals


# --- the statement ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", reproduction.names())
def test_every_published_figure_states_what_it_wants(name: str) -> None:
    one: Reproduction = reproduction.get(name)()
    assert reproduction.get(name).summary.endswith(".")
    assert 0 < one.figure <= 1
    assert 0 < one.margin <= 0.05
    assert one.metric in METRICS
    assert one.source[:3] in ("C: ", "P: ", "T: ", "U: ")
    stated = dict(one.statement())
    assert set(stated) >= {"figure", "source", "metric", "data", "layout", "from", "images"}
    assert f"{one.figure:.4g} +- {one.margin:g} ({one.why})" == stated["figure"]
    assert f" {one.figure:.4g}" in reproduction.get(name).summary
    for generator in one.data.generators:
        assert generator in stated["data"]
    if isinstance(one.way, TrainingFree):
        entry, card = detector.get(one.way.detector), CARDS[one.way.network]
        assert (entry().references, card.purpose) == ("", "release")
        assert card.name in stated["weights"]
    if one.each:  # the mean of the rows that were read is the figure, to a digit of theirs
        assert np.mean([value for _, value in one.each]) == pytest.approx(one.figure, abs=1e-3)


@pytest.mark.parametrize("name", [name for name in reproduction.names() if "durall" not in name])
def test_figures_that_name_their_generators_are_of_no_others(name: str) -> None:
    data = reproduction.get(name)().data
    assert data.named == bool(data.generators)  # where no source names them, `differences` says so
    assert len({plain(one) for one in data.generators}) == len(data.generators)
    assert not {plain(one) for one in data.generators} & {plain(one) for one in data.left_out}


def test_of_genimage_the_validation_folders_of_its_eight_are_tested_however_spelt() -> None:
    data = reproduction.get("rigid-genimage")().data
    folders = ("imagenet_ai_0508_adm", "BigGAN", "glide", "Midjourney", "stable_diffusion_v_1_4",
               "imagenet_ai_0424_sdv5", "VQDM", "wukong")  # fmt: skip
    rows = [(f"{name}/{split}/{'ai' if label else 'nature'}/1", label, name if label else "",
             "" if label else "imagenet", split)
            for name in (*folders, "mine") for split in ("train", "val") for label in (0, 1)]  # fmt: skip
    names = ("path", "label", "generator", "real_source", "split")
    table = pa.table({column: [row[k] for row in rows] for k, column in enumerate(names)})
    found = {name: [rows[k][0] for k in trial] for name, trial in judged_rows(table, data).items()}
    assert found == {name: [f"{name}/val/nature/1", f"{name}/val/ai/1"] for name in folders}
    each = MetricValue("accuracy_95", 0.8, 0.7, 0.9, 6000, 6000, 0)
    assert differences(data, [(name, each) for name in folders]) == []
    others = differences(data, [(f"other{k}", each) for k in range(8)])  # as many as it rests on
    assert [reason.partition(":")[0] for reason in others] == [
        "no images of SD 1.4, ADM, BigGAN, GLIDE, Midjourney, SD 1.5 and 2 more", "not among the figure's generators"
    ]  # fmt: skip


@pytest.mark.parametrize("here, elsewhere", [
    ("SD 1.4", "sdv4 sd14 SDv1.4 stable_diffusion_v_1_4 Stable-Diffusion-1.4 imagenet_ai_0419_sdv4"),
    ("SD 1.5", "sdv5 stable_diffusion_v_1_5 imagenet_ai_0424_sdv5"), ("SD 2", "sd-2 stable-diffusion-2"),
    ("SD XL", "sd-xl stable-diffusion-xl SDXL"), ("GLIDE", "imagenet_glide Glide"), ("Adobe Firefly", "firefly"),
    ("ADM", "imagenet_ai_0508_adm guided_diffusion"), ("Mask-GIT", "MaskGIT"), ("imagenet", "ImageNet"),
])  # fmt: skip
def test_a_generator_is_known_in_its_spellings_and_no_two_are_one(here: str, elsewhere: str) -> None:
    assert {plain(name) for name in elsewhere.split()} == {plain(here)}


def test_the_hash_of_the_authors_checkpoint_is_stated() -> None:
    weights = dict(reproduction.get("rigid-imagenet")().statement())["weights"]
    digest = "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428"
    assert f"dinov2_vitl14_pretrain.pth sha256 {digest}" in weights
    assert "fdetect weights get dinov2-large" in weights


def test_without_a_name_everything_is_listed() -> None:
    done, _ = run_command()
    assert done.exit_code == 0
    for name in reproduction.names():
        assert name in done.stdout
    assert len(reproductions_grid().rows) == len(reproduction)


def test_without_data_the_command_says_what_it_wants() -> None:
    done, _ = run_command("rigid-imagenet")
    assert done.exit_code == 0
    assert "with the data at hand: fdetect reproduce rigid-imagenet DATA" in done.stderr
    for part in ("0.8358 +- 0.02", "StyleGAN-XL", "2000 images of each", "d5383ea8f487", "squashed to 224 x 224"):
        assert part in done.stdout


def test_an_unknown_name_teaches() -> None:
    with pytest.raises(UnknownName, match="no reproduction 'rigid-imagnet'; did you mean 'rigid-imagenet'"):
        reproduce("rigid-imagnet", "data")
    assert "did you mean 'rigid-imagenet'" in run_command("rigid-imagnet", "data")[1]


def test_missing_weights_are_said_before_the_data_are_read() -> None:
    found = reproduce("rigid-imagenet", "no such folder")
    assert (found.verdict, found.reasons, found.recorded) == ("not run", (), ())
    assert "dinov2-large" in found.missing[0]
    assert "fdetect weights get dinov2-large" in found.missing[1]
    assert np.isnan(found.measured.value)
    done, _ = run_command("rigid-imagenet", "no such folder")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "fdetect: not run: " in done.stderr
    assert "fdetect weights get dinov2-large" in done.stderr


def test_options_of_another_kind_of_figure_are_refused() -> None:
    with pytest.raises(ParameterError, match="rigid-imagenet takes no --weights"):
        reproduce("rigid-imagenet", "data", weights="npr")
    with pytest.raises(ParameterError, match="npr-gangen takes no --steps"):
        reproduce("npr-gangen", "data", steps=3)
    with pytest.raises(ParameterError, match="durall-celeba-svm takes no --encoder"):
        reproduce("durall-celeba-svm", "data", encoder="dinov2-small")


def test_the_list_fits_a_terminal_of_110_columns() -> None:
    widths = [max(len(row[k]) for row in reproductions_grid().rows) for k in range(4)]
    assert sum(widths) + 2 * 4 <= 110


# --- the verdict -----------------------------------------------------------------------------------------------------

pytest.importorskip("torch", reason="the deep extra is not installed")
pytest.importorskip("transformers", reason="the deep extra is not installed")

from tiny_dinov2 import save_tiny  # noqa: E402


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny"), image_size=56)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two generators and twice as many reals, as PNG, textures of unlike strength; one generator's images are small."""
    folder = tmp_path_factory.mktemp("data")
    kinds = {"real/camera": (2 * N, 12.0), "fake/smooth": (N, 3.0), "fake/sharp": (N, 14.0)}
    for number, (kind, (count, strength)) in enumerate(kinds.items()):
        (folder / kind).mkdir(parents=True)
        for k in range(count):
            rng = np.random.default_rng((number, k))
            coarse = Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8))
            size = (100, 96) if kind == "fake/sharp" else (240, 256)
            large = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC)).astype(np.float64)
            pixels = np.clip(large + rng.normal(0, strength, large.shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / kind / f"{k:02d}.png")
    return folder


@pytest.fixture(scope="module")
def figure(data: Path, encoder: Path) -> float:
    """The mean AUROC, beforehand: each image alone, without the engine, the benchmark and its metrics."""
    rigid = detector.get("rigid")(encoder=str(encoder))
    tasks = prepare(rigid, device="cpu")
    scores: dict[str, list[float]] = {"camera": [], "smooth": [], "sharp": []}
    for path in sorted(data.rglob("*.png")):
        pixels = np.array(Image.open(path))
        shown = Geometry("squash", 224, "bilinear")(pixels)
        batch = Batch((content_id(path.read_bytes()),), shown[None].copy(), (Facts("PNG", 240, 256, 1),), 0)
        rows = {task.view_name: task(batch) for task in tasks}
        scores[path.parent.name].append(float(rigid.score(**rows)[0]))
    found = [roc_auc_score([0] * 2 * N + [1] * N, scores["camera"] + scores[generator]) for generator in GENERATORS]
    return float(np.mean(found))


Enter = Callable[..., Reproduction]


@pytest.fixture
def entered(figures: Reproduction) -> Iterator[Enter]:
    """Enter a figure of the tests' own under the name "tiny", with some of its fields changed."""
    with contextlib.ExitStack() as at_last:

        def enter(**changes: Any) -> Reproduction:
            one = replace(figures, **changes)
            at_last.enter_context(tiny_reproduce.entered(one))
            return one

        yield enter


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def figures(encoder: Path, figure: float) -> Reproduction:
    """The figure of the tests' own."""
    about = DataSet(what="small textures", generators=GENERATORS, fakes=N, reals=2 * N, layout="real_fake",
                    source="this test")  # fmt: skip
    return Reproduction(
        way=TrainingFree(f"rigid:encoder={encoder}"), data=about, metric="auroc", figure=figure, margin=0.005,
        why="nothing is drawn", source="C: computed beforehand", preprocessing="squashed to 224 x 224",
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(figures: Reproduction, data: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """What was measured of it."""
    with tiny_reproduce.entered(figures):
        return measured(data, store, tmp_path_factory.mktemp("found"))


def measured(data: Path, store: Path, tmp_path: Path) -> Outcome:
    return reproduce("tiny", data, store=Store(store), out=tmp_path / "run")


def test_a_figure_that_is_reached_is_reproduced(found: Outcome, figure: float) -> None:
    assert found.measured.value == pytest.approx(figure, abs=1e-9)  # all images at once, not fold by fold
    assert found.measured.low <= figure <= found.measured.high
    assert [name for name, _ in found.by_generator] == sorted(GENERATORS)
    assert (found.measured.n_real, found.measured.n_fake, found.measured.n_failed) == (2 * N, 2 * N, 0)
    assert (found.verdict, found.reasons) == ("reached", ())
    rows = found.grid().rows
    assert rows[0][:2] == ("tiny", f"{figure:.4g} +- 0.005")
    assert rows[0][-1] == "reached"
    assert found.folder
    assert (found.folder / "report.html").is_file()


def test_weights_for_tests_are_never_recorded_those_for_release_are(
    found: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FDETECT_WEIGHTS", str(tmp_path / "home"))
    card = found.networks[0]
    assert (found.verdict, card["purpose"], found.recorded) == ("reached", "test", ())
    assert record(found) == ()
    assert evidence_of(identity(card)) == "unverified weights"
    assert not (tmp_path / "home").exists()

    released = replace(found, networks=({**card, "purpose": "release"},))
    missed = replace(released, published=replace(found.published, figure=found.published.figure - 0.01))
    other = replace(released, reasons=("one generator, the figure rests on two",))
    assert (missed.verdict, record(missed)) == ("missed", ())
    assert (other.verdict, record(other)) == ("not comparable", ())
    assert evidence_of(identity(card)) == "unverified weights"
    recalled = replace(released, published=replace(found.published, source="U: from memory"))
    assert (recalled.verdict, record(recalled)) == ("reached", ())
    assert evidence_of(identity(card)) == "unverified weights"
    assert record(released) == (card["name"],)
    assert evidence_of(identity(card)) == "reproduced"
    assert about_evidence(identity(card))["reproduction"] == "tiny"
    assert about_evidence(identity(card))["published"] == found.published.figure


def test_a_figure_that_is_missed_is_not_reproduced(found: Outcome, figures: Reproduction, figure: float) -> None:
    for off in (-0.006, 0.006):
        missed = replace(found, published=replace(figures, figure=figure + off))
        assert (missed.verdict, record(missed)) == ("missed", ())
    undefined = replace(found, measured=MetricValue("auroc", float("nan"), float("nan"), float("nan"), 0, 0, 0))
    assert undefined.verdict == "missed"


def test_other_data_or_another_network_are_not_comparable(
    entered: Enter, data: Path, store: Path, tmp_path: Path
) -> None:
    about = entered().data
    other = replace(about, generators=("smooth", "sharp", "third"), fakes=20, reals=100)
    entered(data=other)
    found = measured(data, store, tmp_path)
    assert (found.verdict, found.recorded) == ("not comparable", ())
    assert found.reasons == (
        "2 generators, the figure rests on 3",
        "fewer images than the figure rests on: sharp (12 of 20), smooth (12 of 20)",
        "24 real images, the figure rests on 100",
    )
    entered(data=replace(about, generators=()))
    assert "does not name the generators" in measured(data, store, tmp_path).reasons[0]


def test_another_encoder_than_the_figures_is_not_comparable(
    entered: Enter, data: Path, encoder: Path, store: Path
) -> None:
    entered(way=TrainingFree("rigid"))  # of dinov2-large, by default
    done, _ = run_command("tiny", str(data), "--encoder", str(encoder), "--store", str(store), "--workers", "0",
                          "--out", str(store.parent / "other-encoder"))  # fmt: skip
    assert done.exit_code == 1
    assert "not comparable: the encoder is dinov2-32x2, the figure was reached with dinov2-large" in done.stderr


def test_the_other_metrics_are_read_off_the_same_scores(
    entered: Enter, data: Path, store: Path, tmp_path: Path
) -> None:
    entered(metric="accuracy_95")
    found = measured(data, store, tmp_path)
    entered(metric="ap_fake")
    precision = measured(data, store, tmp_path)
    assert found.measured.name == "accuracy_95"
    shares = [one.value for _, one in found.by_generator]
    assert found.measured.value == pytest.approx(np.mean(shares))
    assert all(0.475 <= share <= 0.975 for share in shares)
    assert precision.measured.name == "ap_fake"


def test_one_generator_is_enough(entered: Enter, data: Path, store: Path, tmp_path: Path) -> None:
    about = entered().data
    entered(data=replace(about, generators=("smooth",)))
    alone = tmp_path / "alone"
    shutil.copytree(data / "real", alone / "real")
    shutil.copytree(data / "fake" / "smooth", alone / "fake" / "smooth")
    found = measured(alone, store, tmp_path)
    assert found.reasons == ()
    assert [name for name, _ in found.by_generator] == ["smooth"]
    assert found.measured.value == found.by_generator[0][1].value


def test_the_tested_split_and_the_named_generators_alone_are_measured_against_their_own_reals(
    entered: Enter, store: Path, tmp_path: Path
) -> None:
    tested = {"ADM/val/ai": (4, 3.0, 150), "ADM/val/nature": (4, 12.0, 90), "imagenet_glide/val/ai": (4, 9.0, 120),
              "imagenet_glide/val/nature": (4, 10.0, 110)}  # fmt: skip
    others = {"ADM/train/ai": (3, 1.0, 250), "ADM/train/nature": (3, 30.0, 20), "Zzz/val/ai": (2, 1.0, 250),
              "Zzz/val/nature": (2, 30.0, 20)}  # fmt: skip
    about = DataSet(what="small textures", generators=("ADM", "GLIDE"), named=True, fakes=4, reals=4,
                    layout="genimage", source="this test", own_reals=True, split="val")  # fmt: skip
    entered(data=about)
    whole = measured(tree(tmp_path / "whole", {**tested, **others}), store, tmp_path)
    assert [(name, one.n_real, one.n_fake) for name, one in whole.by_generator] == [
        ("ADM", 4, 4), ("imagenet_glide", 4, 4)]  # fmt: skip
    assert (whole.aside, whole.reasons) == (10, ())
    part = reproduce("tiny", tree(tmp_path / "part", tested), store=Store(store), out=tmp_path / "of-part")
    assert part.aside == 0
    assert whole.by_generator == part.by_generator
    assert whole.folder
    assert (whole.folder / "scores.parquet").is_file()
    entered(data=replace(about, generators=("ADM", "VQDM")))
    other = measured(tmp_path / "whole", store, tmp_path / "other")
    assert other.reasons == ("1 generator, the figure rests on 2", "no images of VQDM")
    with pytest.raises(DataError, match="no fakes of split test to test"):
        entered(data=replace(about, split="test"))
        measured(tmp_path / "whole", store, tmp_path / "none")


def test_the_command_prints_both_figures_and_its_exit_code_is_the_verdict(
    entered: Enter, data: Path, store: Path, figure: float
) -> None:
    entered()
    settings = ["--store", str(store), "--workers", "0", "--out", str(store.parent / "told")]
    done, error = run_command("tiny", str(data), *settings)
    assert (done.exit_code, error) == (0, "")
    assert f"{figure:.4g} +- 0.005" in done.stdout
    assert f"{figure:.3f} [" in done.stdout
    assert "(test, sha256 " in done.stdout
    assert "nothing was recorded of them" in done.stdout
    entered(figure=figure - 0.1)
    done, error = run_command("tiny", str(data), *settings)
    assert (done.exit_code, error) == (1, "")
    assert "missed" in done.stdout


def test_the_page_has_every_figure_with_its_margin_and_mark() -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "reproduce.md").read_text(encoding="utf-8")
    named = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `") and " +- " in line]
    assert named == sorted(reproduction.names())
    for entry in reproduction:
        one: Reproduction = entry()
        (line,) = (line for line in page.splitlines() if line.startswith(f"| `{entry.name}` |") and " +- " in line)
        assert f" {one.figure:.4g} +- {one.margin:g} | {one.source[0]} |" in line
