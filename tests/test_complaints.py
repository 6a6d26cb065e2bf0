"""The page of complaints is true: its tests exist, and each protection that matters most is switched off once here.

Every test that takes `off` shows the same thing twice: the right result, and the wrong one that appears as soon as the
protecting line is out of the way.  What is replaced is a constant or a function of our own, by one that lets all pass
or that hands everything on to the real one but for what protects.
"""

from __future__ import annotations

import ast
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import test_gate
from test_audit import encoded, picture
from test_evaluate import cell, fakes, reals, run
from test_evaluate import table as score_table
from test_layouts import plant
from tiny_tasks import CROP, MATCHED, NATIVE, Moments, extract, image_bytes

from fdetect import metrics
from fdetect.bench import audit, header, protocols
from fdetect.bench.contenders import training_free
from fdetect.bench.gate import checks as gate_checks
from fdetect.bench.gate.gate import gate
from fdetect.bench.layouts import read_manifest
from fdetect.bench.layouts.genimage import GenImage
from fdetect.bench.layouts.real_fake import RealFake
from fdetect.bench.models import Fixed, Trained
from fdetect.bench.protocols import Samples, Trial, samples_of, trials_of
from fdetect.bench.report.tables import result_grids, summary_grids
from fdetect.bench.run import bench
from fdetect.bench.scores import by_source, by_source_verdict, evaluate
from fdetect.bench.scores.by_source_tables import source_grids
from fdetect.bench.scores.scoring import score_trials
from fdetect.classifiers import head
from fdetect.config import RunConfig, override
from fdetect.engine import Store
from fdetect.errors import DataError, WeightsError
from fdetect.features import feature, feature_tasks
from fdetect.metrics import TrialSample, group_weights
from fdetect.perturb import Condition
from fdetect.roc import Ranking
from fdetect.splits import Grouped
from fdetect.types import FAKE, MANIFEST_COLUMNS, REAL

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "complaints.md"
LETTERED = ("13a", "13b", "18b", "20b", "25b", "25c", "25d")
NUMBERS = sorted([*map(str, range(1, 29)), *LETTERED], key=lambda number: (int(number.rstrip("abcd")), number))
UNMARKED = {"biased_by": {}, "unmeasured": {}, "probes": []}  # an audit that found nothing

Off = pytest.MonkeyPatch


@pytest.fixture
def off(monkeypatch: pytest.MonkeyPatch) -> Off:
    """Switches a protection off for one test; a test that takes it stands on the page."""
    return monkeypatch


# -- the page -------------------------------------------------------------------------------------------------------


def functions(file: Path) -> dict[str, ast.FunctionDef]:
    body = ast.parse(file.read_text(encoding="utf-8")).body
    return {node.name: node for node in body if isinstance(node, ast.FunctionDef)}


def page_rows() -> list[list[str]]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if re.match(r"\| \d", line)]
    assert cells
    return cells


def test_every_test_that_the_page_names_exists():
    named = re.findall(r"`(tests/\w+\.py)::(\w+)`", PAGE.read_text(encoding="utf-8"))
    assert len(named) > 40
    known = {file: functions(ROOT / file) for file in dict(named)}
    for file, test in named:
        assert test.startswith("test_")
        assert test in known[file], f"{PAGE.name} names {file}::{test}, which does not exist"


def test_every_complaint_has_a_row_with_a_link_and_a_test_or_a_reason():
    rows = page_rows()
    assert [row[0] for row in rows] == NUMBERS
    for number, link, words, answer, shown in rows:
        assert re.search(r"\]\(https://github\.com/[\w.-]+/[\w.-]+/issues/\d+\)", link), number
        assert words, number
        assert answer, number
        honest = re.match(r"(not a harness's matter|not prevented yet): \S", shown)
        assert honest or "`tests/" in shown, f"complaint {number} has neither a test nor a reason"


def test_every_protection_that_is_switched_off_here_stands_on_the_page():
    page = PAGE.read_text(encoding="utf-8")
    taking = {name: {one.arg for one in node.args.args} for name, node in functions(Path(__file__)).items()}
    switched = [name for name, arguments in taking.items() if name.startswith("test_") and "off" in arguments]
    assert len(switched) >= 12
    for name in switched:
        assert f"tests/test_complaints.py::{name}" in page


# -- switched off: formats and sizes --------------------------------------------------------------------------------


def table_of(rows: list[dict[str, object]]) -> Samples:
    return samples_of(pa.Table.from_pylist([{**dict.fromkeys(MANIFEST_COLUMNS, ""), **row} for row in rows]))


@pytest.fixture(scope="module")
def jpegs_and_pngs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 JPEG reals and 30 PNG fakes whose pixels are of one kind."""
    folder, rng = tmp_path_factory.mktemp("formats"), np.random.default_rng(0)
    for k in range(30):
        (folder / f"{k:02d}.jpg").write_bytes(encoded(picture(rng), "JPEG", quality=92, subsampling=2))
        (folder / f"{k:02d}.png").write_bytes(encoded(picture(rng)))
    return folder


def biased_by(folder: Path, store: Path) -> dict[str, tuple[str, ...]]:
    """What the audit says of the containers, the other probes being given nothing: conditions -> their marks."""
    tasks = feature_tasks((feature.get("container"),), crop=CROP)
    found = extract(folder, *tasks, conditions=(NATIVE, MATCHED), store=Store(store))
    conditions, paths = ("native", "matched"), found.paths
    one = found.tables["native", "container"]
    nothing = replace(one, values=np.full_like(one.values, np.nan))
    tables = {(c, name): found.tables[c, name] if name == "container" else nothing
              for c in conditions for name in audit.PROBE_FEATURES}  # fmt: skip
    none = np.empty(0, np.int64), replace(nothing, values=nothing.values[:0])
    samples = table_of([{"path": p, "label": int(p.endswith("png")), "generator": "gan"} for p in paths])
    return audit.audit(samples, [""] * len(paths), tables, dict.fromkeys(conditions, none), conditions=conditions,
                       replicates=5).biased_by  # fmt: skip


def test_the_audit_marks_what_formats_give_away(off: Off, jpegs_and_pngs, tmp_path):
    assert biased_by(jpegs_and_pngs, tmp_path)["native"] == ("container",)
    off.setattr(audit, "BIASED", 1.0)
    assert biased_by(jpegs_and_pngs, tmp_path)["native"] == ()


def test_matched_takes_the_format_away_from_both_classes(off: Off, jpegs_and_pngs, tmp_path):
    assert biased_by(jpegs_and_pngs, tmp_path / "on")["matched"] == ()
    off.setattr(Condition, "is_native", property(lambda self: True))  # files stay as stored, whatever the condition
    assert biased_by(jpegs_and_pngs, tmp_path / "off")["matched"] == ("container",)


def test_small_images_are_refused_and_not_padded(off: Off, tmp_path):
    (tmp_path / "face.png").write_bytes(image_bytes(0, 40, 40))
    refused = extract(tmp_path, conditions=(NATIVE,)).tables["native", "moments"]
    assert not refused.ok.any()
    assert "40x40 is too small for condition native" in refused.failures[0].reason
    off.setattr(Condition, "check_size", lambda self, pixels, crop: None)
    shown = extract(tmp_path, Moments(version="off"), conditions=(NATIVE,)).tables["native", "moments"]
    assert shown.ok.all()  # a figure of 40 px among figures of 64


# -- switched off: labels and scores --------------------------------------------------------------------------------


def in_alphabetical_order(classes: dict[str, int]) -> dict[str, int]:
    """The labels that a loader gives which numbers the names of folders."""
    return {name: number for number, name in enumerate(sorted(classes))}


@pytest.mark.parametrize(("layout", "names"), [
    (GenImage, ("ADM/train/ai/1.png", "ADM/train/nature/1.jpg")), (RealFake, ("train/FAKE/1.jpg", "train/REAL/1.jpg")),
])  # fmt: skip
def test_labels_come_from_names_and_not_from_their_order(layout, names, off: Off, tmp_path):
    plant(tmp_path, *names)

    def labels() -> dict[str, int]:
        table = read_manifest(tmp_path)
        return dict(zip(table["path"].to_pylist(), table["label"].to_pylist(), strict=True))

    assert labels() == {names[0]: FAKE, names[1]: REAL}
    off.setattr(layout, "classes", in_alphabetical_order(layout.classes))
    assert labels() == {names[0]: REAL, names[1]: FAKE}


def test_a_reversed_score_is_told(off: Off, tmp_path):
    turned = test_gate.rows()
    turned["score"] = [-score for score in turned["score"]]
    sides = test_gate.side(tmp_path, test_gate.rows()), test_gate.side(tmp_path, turned, name="run")

    def told() -> bool:
        checks = gate(*sides, margins=gate_checks.Margins(), **test_gate.QUICK).checks
        return "is a larger score more likely real?" in checks[0].reason

    assert told()
    off.setattr(gate_checks, "REVERSED", 0.0)
    assert not told()


@pytest.mark.parametrize("kind", [REAL, FAKE])
def test_a_class_alone_never_has_a_ranking(kind, off: Off):
    label, score = np.full(4, kind), np.arange(4.0)
    weights = group_weights(list("abcd"), replicates=5)
    alone = TrialSample(label, score, score / 4, score > 2, np.array(list("abcd")))

    def average_precision() -> float:
        return metrics.evaluate([alone], ("ap_fake",), weights)["ap_fake"].value

    assert np.isnan(average_precision())
    ranking_of = metrics.ranking_of
    off.setattr(metrics, "ranking_of", lambda *sample: zeros_for_nothing(ranking_of(*sample)))
    assert average_precision() == 0.0  # what others print


def zeros_for_nothing(ranking: Ranking) -> Ranking:
    return Ranking(**{name: np.nan_to_num(value) for name, value in vars(ranking).items()})


def test_auroc_reads_scores_and_never_decisions(off: Off):
    """Fakes that are ranked perfectly, and of which the threshold finds one half."""
    rows = reals([0.1, 0.2, 0.3], threshold=0.5) + fakes("gan", [0.4, 0.6], threshold=0.5)
    assert cell(run(rows), "gan").metric("auroc").value == 1.0
    column = TrialSample.column
    off.setattr(TrialSample, "column", lambda self, name: self.decision if name == "score" else column(self, name))
    assert cell(run(rows), "gan").metric("auroc").value == 0.75


def photographs(**offsets: float) -> pa.Table:
    """Scores of two generators of one strength, and of 60 photographs of each source with an offset of its own."""
    rng = np.random.default_rng(0)
    rows = [row for name, offset in offsets.items()
            for row in ({**row, "path": f"{name}/{row['path']}", "group": f"{name}/{row['path']}"}
                        for row in reals((rng.normal(size=60) + offset).tolist(), real_source=name))]  # fmt: skip
    return score_table(rows + [row for name in ("a", "b") for row in fakes(name, (rng.normal(size=60) + 2).tolist())])


def test_a_mean_over_sources_hides_no_source(off: Off):
    """Against four sources of five the fakes are found, against the fifth worse than by tossing a coin."""
    scores = photographs(coco=0, flickr=0, raise_=0, scan=0, phone=4)

    def lowest() -> float:
        return min(row.auroc for row in by_source.by_source(scores, replicates=20))

    assert cell(evaluate.cells_of(scores, replicates=20), "macro").metric("auroc").value > 0.7
    assert lowest() < 0.2
    off.setattr(by_source, "reals_of", lambda scores, rows: {"all": rows[scores.label[rows] == REAL]})
    assert lowest() > 0.7  # the mean over five sources of reals, which nobody would know


def test_a_score_of_photographs_is_not_taken_for_one_of_synthesis(off: Off):
    """A detector that was taught some sources: their photographs score low, and what is from elsewhere as fakes do."""
    scores = photographs(coco=-1, flickr=-1, raise_=-1, phone=2)

    def said() -> str:
        rows = by_source.by_source(scores, replicates=200)
        return source_grids(rows)[1].rows[0][-1]

    assert "not shown to measure synthesis" in said()
    off.setattr(by_source_verdict, "FEW_GROUPS", 1000)  # no placebo is asked
    assert "not shown to measure synthesis" not in said()


def test_always_fake_is_seen_beside_what_it_finds():
    rows = reals([0.9] * 3, real_source="coco", threshold=0.5) + fakes("gan", [0.9] * 4, threshold=0.5)
    grid = next(g for g in result_grids(run(rows)) if "frozen" in g.title)
    (row,) = grid.rows
    figures = {name.split(" (")[0]: text.split()[0] for name, text in zip(grid.columns, row, strict=True)}
    assert figures == {"detector": "d", "fakes found": "1.000", "FPR achieved": "1.000", "balanced accuracy": "0.500",
                       "FPR on coco": "1.000"}  # fmt: skip


def test_what_was_trained_under_stands_above_every_table():
    under = {"condition": "jpeg70", "train_condition": "jpeg70+matched", "threshold": 0.5}
    cells = run(reals([0.1, 0.2], **under) + fakes("gan", [0.9], **under))
    titles = [result_grids(cells)[0].title, summary_grids(cells, UNMARKED)[0].title]
    assert all("trained under jpeg70+matched" in title for title in titles)


# -- switched off: what is trained on, and what thresholds rest on --------------------------------------------------


def auroc_of(detector, samples: Samples, trials: tuple[Trial, ...]) -> float:
    ids = [f"{k:032x}" for k in range(len(samples.path))]
    scores = score_trials(detector, samples, ids, trials, ("native",))
    return cell(evaluate.cells_of(scores, replicates=5), "macro").metric("auroc").value


def test_groups_are_never_parted(off: Off):
    """Scenes of six images of one class, that look like nothing but themselves: a head can only know them again."""
    scenes = [{"group": f"{kind}{k}", "label": int(kind != "r"), "generator": kind.strip("r")}
              for kind, n in (("r", 24), ("a", 12), ("b", 12)) for k in range(n)]  # fmt: skip
    samples = table_of([{**scene, "path": f"{scene['group']}/{k}"} for scene in scenes for k in range(6)])
    rng = np.random.default_rng(0)
    looks = np.repeat(rng.normal(size=(len(scenes), 4)), 6, axis=0) + rng.normal(0, 0.01, (len(samples.path), 4))
    values = {"native": looks.astype(np.float32)}
    detector = Trained("knn:toy", head.read("knn:n_neighbors=3"), tuple("abcd"), values, samples)

    def run_of_it() -> tuple[bool, float]:
        trials = trials_of(samples, name="train_on", train=("a", "b"), folds=3)
        parted = any(set(samples.group[one.test]) & set(samples.group[one.fit]) for one in trials)
        return parted, auroc_of(detector, samples, trials)

    parted, auroc = run_of_it()
    assert not parted
    assert auroc < 0.7
    folds = Grouped.folds
    off.setattr(Grouped, "folds", lambda self, n: folds(Grouped(np.arange(len(self.group)), self.stratum), n))
    parted, auroc = run_of_it()
    assert parted
    assert auroc > 0.85  # without having learnt anything


def test_thresholds_are_never_set_on_what_is_tested(off: Off):
    """A detector that calls every photograph of one camera fake, judged on that camera by thresholds of the others."""
    cameras = [{"path": f"{name}{k}", "label": REAL, "real_source": name}
               for name in ("phone", "coco", "raise") for k in range(60)]  # fmt: skip
    samples = table_of(cameras + [{"path": f"gan{k}", "label": FAKE, "generator": "gan"} for k in range(30)])
    scores = np.random.default_rng(0).normal(size=len(samples.path)) + 9.0 * (samples.real_source == "phone")
    detector = Fixed("d", {"native": scores})

    def rate_on_the_phone() -> tuple[bool, float]:
        trials = trials_of(samples, name="leave_one_real_source_out", folds=2, calibration=0.5)
        shared = any(set(one.test) & set(one.calibration) for one in trials)
        table = score_trials(detector, samples, list(samples.path), trials, ("native",))
        found = cell(evaluate.cells_of(table, replicates=5), "", real_source="phone")
        return shared, found.metric("fpr_achieved_5").value

    assert rate_on_the_phone() == (False, 1.0)

    def on_the_test(name, train, fit, calibration, test, seen) -> Trial:
        return Trial(name, train, fit, test[samples.label[test] == REAL], test, seen)

    off.setattr(protocols, "Trial", on_the_test)
    shared, rate = rate_on_the_phone()
    assert shared
    assert rate <= 0.05  # the promise, kept by looking


# -- switched off: what is counted ----------------------------------------------------------------------------------


def test_one_image_with_two_scores_is_refused(off: Off):
    rows = reals([0.1, 0.2]) + fakes("gan", [0.8, 0.9])
    again = [{**row, "score": -row["score"]} for row in rows]  # somebody else's scores under the same name
    with pytest.raises(DataError, match="two rows for real 0"):
        run(rows + again)
    off.setattr("fdetect.bench.scores.score_table.refuse_repeats", lambda table: None)
    assert cell(run(rows + again), "gan").metric("auroc").value == 0.5


def copied(folder: Path) -> Path:
    """Four photographs, each of them twice, and two fakes of each of two generators: too few for the audit's probes."""
    for name, n, copies in (("real/coco", 4, 2), ("fake/a", 2, 1), ("fake/b", 2, 1)):
        (folder / name).mkdir(parents=True)
        for k in range(n):
            for copy in range(copies):
                (folder / name / f"{k}-{copy}.png").write_bytes(image_bytes(10 * ord(name[-1]) + k, 80, 80))
    return folder


def scored(data: Path, out: Path):
    """A run of somebody's scores on tiny images, nothing trained."""
    lines = [f"{path},{k}" for k, path in enumerate(read_manifest(data)["path"].to_pylist())]
    out.mkdir()
    (out / "mine.csv").write_text("\n".join(["path,score", *lines]), encoding="utf-8")
    config = override(RunConfig(), {
        "data.path": str(data), "conditions.names": ("native",), "conditions.crop": 64, "features.names": (),
        "heads.per_family": (), "heads.all_columns": (), "detectors.names": (), "metrics.replicates": 5,
        "protocol.folds": 2, "detectors.scores": (str(out / "mine.csv"),),
    })  # fmt: skip
    return bench(config, out=out / "run", store=Store(data.parent / "store"))


def test_copies_of_a_photograph_count_once_and_stand_on_one_side(off: Off, tmp_path):
    data = copied(tmp_path / "data")

    def sides_of_a_photograph(out: Path) -> tuple[int, int]:
        done = scored(data, out)
        folds: dict[str, set[str]] = {}
        for row in done.scores.to_pylist():
            if row["label"] == REAL:
                folds.setdefault(row["id"], set()).add(row["trial"].split("/")[1])
        return done.result.header["data"]["n_groups"], max(map(len, folds.values()))

    assert sides_of_a_photograph(tmp_path / "on") == (4 + 4, 1)
    off.setattr("fdetect.bench.run.join_same_content", lambda groups, ids: groups)
    groups, sides = sides_of_a_photograph(tmp_path / "off")
    assert (groups, sides) == (8 + 4, 2)


def test_images_that_cannot_be_read_are_counted_beside_every_figure(off: Off):
    rows = reals([0.1, 0.2, None]) + fakes("gan", [0.9, None])

    def mark() -> str:
        return summary_grids(run(rows), UNMARKED)[0].rows[0][1]

    assert cell(run(rows), "gan").metric("auroc").n_failed == 2
    assert mark().endswith("!")
    off.setattr(evaluate, "LOST", 1.0)
    assert not mark().endswith("!")


def test_versions_and_decoder_stand_in_every_result(off: Off, tmp_path):
    needed = {"fdetect", "python", "numpy", "pillow", "scikit-learn", "torch", "decoder"}
    off.setattr(header, "versions", header.versions.__wrapped__)  # whose answer is otherwise kept

    def stated(out: Path) -> set[str]:
        folder = scored(data, out).folder
        return set(json.loads((folder / "result.json").read_text(encoding="utf-8"))["header"]["versions"])

    data = copied(tmp_path / "data")
    assert needed <= stated(tmp_path / "on")
    off.setattr(header, "PACKAGES", ())
    assert stated(tmp_path / "off") == {"fdetect", "python", "decoder"}


# -- switched off: weights ------------------------------------------------------------------------------------------


def test_absent_weights_are_a_row_and_never_a_detector():
    prepared, not_run = training_free(override(RunConfig(), {"detectors.names": ("rigid",)}))
    assert not prepared
    assert not_run[0].detector == "rigid"
    assert not_run[0].fix


def test_weights_that_lack_a_tensor_never_give_scores(off: Off, tmp_path):
    torch = pytest.importorskip("torch", reason="the extra 'deep' is not installed")
    from safetensors.torch import load_file, save_file

    from fdetect.nets.detectors import build, loading, network
    from fdetect.nets.detectors.model import DetectorNetwork

    loading.save_network(build(network.get("tiny_ladeda")()), tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    lost = next(key for key in tensors if key.endswith("weight"))
    save_file({key: tensor for key, tensor in tensors.items() if key != lost}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=f"lacks {lost}"):
        loading.load_network_folder(tmp_path)
    strict = DetectorNetwork.load_state_dict
    off.setattr(loading, "check_tensors", lambda *those: None)
    with pytest.raises(RuntimeError, match=lost):  # torch is the second to refuse
        loading.load_network_folder(tmp_path)
    off.setattr(DetectorNetwork, "load_state_dict", lambda self, state: strict(self, state, strict=False))
    with torch.inference_mode():
        logits = loading.load_network_folder(tmp_path)(torch.rand(2, 3, 64, 64))
    assert torch.isfinite(logits).all()  # a figure from values that were drawn by lot
