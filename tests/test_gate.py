"""The gate: its verdicts by hand, what it gates beside the metric, and the sides that it refuses to compare."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from test_cli import fdetect  # noqa: F401 (a fixture)

from fdetect.bench.gate.checks import Margins, gate_grids
from fdetect.bench.gate.gate import Gate, gate
from fdetect.bench.gate.pinned import pinned_side
from fdetect.bench.gate.sides import Side, paired, read_scores_alone, read_side, refuse_other_settings
from fdetect.bench.scores.compare import paired_differences
from fdetect.bench.scores.given import read_score_table
from fdetect.errors import DataError, FdetectError, ParameterError

QUICK = {"replicates": 200}


def rows(name: str = "mine", *, shift: float = 1.5, n: int = 60, noise: float = 0.0, seed: int = 0) -> dict[str, list]:
    """Two generators and two real sources, n images of each, in two trials; threshold 1.6."""
    rng = np.random.default_rng(seed)
    found: dict[str, list] = {key: [] for key in ("path", "label", "generator", "real_source", "group", "trial",
                                                  "detector", "condition", "score", "threshold", "id")}  # fmt: skip
    for kind, label in (("a", 1), ("b", 1), ("coco", 0), ("phone", 0)):
        scores = rng.normal(size=n) + shift * label
        scores = scores + noise * np.random.default_rng(seed + 1).normal(size=n)
        for k in range(n):
            for held in [kind] if label else ["a", "b"]:
                row = {"path": f"{kind}/{k}.png", "label": label, "generator": kind if label else "",
                       "real_source": "" if label else kind, "group": f"{kind}{k}", "trial": f"{held}/{k % 2}",
                       "detector": name, "condition": "matched", "score": float(scores[k]), "threshold": 1.6,
                       "id": f"{kind}-{k}"}  # fmt: skip
                for key, value in row.items():
                    found[key].append(value)
    return found


def side(tmp_path: Path, *tables: dict[str, list], name: str = "base") -> Side:
    file = tmp_path / f"{name}.parquet"
    pq.write_table(pa.concat_tables([pa.table(one) for one in tables]), file)
    return read_side(file)


def verdicts(found: Gate) -> dict[str, str]:
    return {one.what: one.verdict for one in found.checks}


def test_the_same_scores_pass_and_every_check_is_there(tmp_path):
    base = side(tmp_path, rows())
    found = gate(base, base, margins=Margins(), **QUICK)
    assert found.passed
    assert verdicts(found) == dict.fromkeys(
        ("auroc, macro", "coverage", "false positives at the frozen 5 % threshold", "false positives, coco",
         "false positives, phone"), "passed")  # fmt: skip
    assert all(one.value == one.low == one.high == 0 for one in found.checks if one.what != "coverage")


def test_the_difference_is_the_paired_one_of_evaluate(tmp_path):
    base = side(tmp_path, rows("mine"), rows("other", noise=0.7))
    (truth,) = paired_differences(base.table, "other", "mine", replicates=200)
    found = gate(base, base, margins=Margins(margin=0.2), detectors=("other",), against="mine", **QUICK).checks[0]
    assert (found.value, found.low, found.high) == (truth.value, truth.low, truth.high)
    assert (found.verdict == "passed") == (truth.low > -0.2)


@pytest.mark.parametrize(("noise", "margin", "verdict"), [
    (0.1, 0.05, "passed"), (2.0, 0.05, "inferior"), (0.5, 0.02, "underpowered"), (0.3, 0.02, "not shown"),
])  # fmt: skip
def test_each_verdict_follows_from_the_bounds(tmp_path, noise, margin, verdict):
    base, run = side(tmp_path, rows()), side(tmp_path, rows(noise=noise), name="run")
    one = gate(base, run, margins=Margins(margin=margin), **QUICK).checks[0]
    expected = ("passed" if one.low > -margin else "inferior" if one.high <= -margin
                else "underpowered" if one.value - one.low >= margin else "not shown")  # fmt: skip
    assert (one.verdict, expected) == (verdict, verdict)
    assert one.passed == (verdict == "passed")


def test_where_lower_is_better_the_margin_is_on_the_other_side(tmp_path):
    base, run = side(tmp_path, rows(noise=2.0)), side(tmp_path, rows(), name="run")
    margins = Margins(metric="eer", margin=0.02)
    better, worse = (gate(*pair, margins=margins, **QUICK).checks[0] for pair in ((base, run), (run, base)))
    assert better.high < 0
    assert better.verdict == "passed"
    assert worse.low > 0.02
    assert worse.verdict == "inferior"


def test_too_few_groups_never_pass(tmp_path):
    base = side(tmp_path, rows(n=4))
    found = gate(base, base, margins=Margins(), **QUICK)
    assert found.checks[0].verdict == "underpowered"
    assert "8 groups of a class are too few" in found.checks[0].reason
    assert not found.passed


def without(table: dict[str, list], *paths: str) -> dict[str, list]:
    scores = [float("nan") if path in paths else score
              for path, score in zip(table["path"], table["score"], strict=True)]  # fmt: skip
    return {**table, "score": scores}


def test_what_a_detector_does_not_score_fails_even_where_the_rest_is_better(tmp_path):
    base, run = side(tmp_path, rows()), side(tmp_path, without(rows(shift=3.0), "a/1.png", "a/3.png"), name="run")
    found = gate(base, run, margins=Margins(), **QUICK)
    (coverage,) = (one for one in found.checks if one.what == "coverage")
    assert coverage.verdict == "inferior"
    assert "0 of 120 real images and 2 of 120 fake images; the first is a/1.png" in coverage.reason
    assert not found.passed
    assert gate(run, run, margins=Margins(), **QUICK).passed  # the baseline failed on them as well


def test_to_refuse_the_hard_images_is_no_way_to_pass(tmp_path):
    """Below the share that coverage tolerates, what was not scored counts as wrong as can be."""
    whole = rows(n=200)
    fakes = zip(whole["score"], whole["path"], whole["label"], strict=True)
    hard = sorted({(score, path) for score, path, label in fakes if label})[:3]
    base, run = side(tmp_path, whole), side(tmp_path, without(whole, *(path for _, path in hard)), name="run")
    found = gate(base, run, margins=Margins(), **QUICK)
    assert verdicts(found)["coverage"] == "passed"
    assert found.checks[0].value < 0
    assert found.checks[0].low < found.checks[0].value


@pytest.mark.parametrize(("n", "verdict"), [(20, "underpowered"), (400, "passed")])
def test_where_no_resample_tells_two_detectors_apart_the_exact_bound_does(tmp_path, n, verdict):
    """Two that rank perfectly, each in its own way: what so many groups did not show may still be there."""
    base = side(tmp_path, rows(shift=50.0, n=n))
    run = side(tmp_path, rows(shift=50.0, noise=0.1, n=n), name="run")
    one = gate(base, run, margins=Margins(), **QUICK).checks[0]
    assert (one.value, one.low, one.high) == (0.0, 0.0, 0.0)
    assert one.verdict == verdict


def test_thresholds_must_be_one_and_attainable(tmp_path):
    base = side(tmp_path, rows())
    never, each = ({**rows(), "threshold": [value(label) for label in rows()["label"]]} for value in
                   (lambda label: float("inf"), lambda label: float("-inf") if label else 9.0))  # fmt: skip
    found = gate(base, side(tmp_path, never, name="run"), margins=Margins(), **QUICK)
    assert verdicts(found)["false positives at the frozen 5 % threshold"] == "not measured"
    assert "the detector has no threshold for " in found.text
    with pytest.raises(DataError, match="has several thresholds of one detector under matched in trial a/0"):
        gate(base, side(tmp_path, each, name="run"), margins=Margins(), **QUICK)


def test_generators_that_either_side_was_trained_on_do_not_count(tmp_path):
    easy = rows(noise=2.0)
    easy["score"] = [score + 9 * (generator == "a") for score, generator in
                     zip(easy["score"], easy["generator"], strict=True)]  # fmt: skip
    easy["seen"] = [generator == "a" for generator in easy["generator"]]
    base, run = side(tmp_path, rows()), side(tmp_path, easy, name="run")
    assert gate(base, run, margins=Margins(margin=0.05), **QUICK).checks[0].verdict == "inferior"
    few = rows()
    keep = [k for k, path in enumerate(few["path"]) if few["generator"][k] != "b" or path in ("b/0.png", "b/1.png")]
    few = {key: [values[k] for k in keep] for key, values in few.items()}
    few["seen"] = [generator == "a" for generator in few["generator"]]
    some = side(tmp_path, few, name="few")
    assert "2 groups of a class are too few" in gate(some, some, margins=Margins(), **QUICK).checks[0].reason


def test_fakes_cannot_be_hidden_in_a_trial_without_reals(tmp_path):
    hidden = rows(noise=2.0)
    hidden["trial"] = ["a/9" if generator == "a" and score < 1 else trial for generator, score, trial in
                       zip(hidden["generator"], hidden["score"], hidden["trial"], strict=True)]  # fmt: skip
    base, run = side(tmp_path, rows()), side(tmp_path, hidden, name="run")
    with pytest.raises(DataError, match="has fakes and no real image under matched in trial a/9"):
        gate(base, run, margins=Margins(), **QUICK)


def test_groups_are_those_that_either_side_knows_and_others_are_refused(tmp_path):
    scenes = {**rows(), "group": [f"{path[0]}{int(path.split('/')[1][:-4]) % 4}" for path in rows()["path"]]}
    bare = {key: values for key, values in rows().items() if key != "group"}
    base, run = side(tmp_path, bare), side(tmp_path, scenes, name="run")
    assert gate(base, run, margins=Margins(), **QUICK).checks[0].verdict == "underpowered"
    with pytest.raises(DataError, match="has the group .* they cannot be compared"):
        gate(side(tmp_path, rows()), run, margins=Margins(), **QUICK)


def test_more_false_positives_fail_though_the_ranking_is_the_same(tmp_path):
    lower = rows()
    lower["threshold"] = [0.5] * len(lower["path"])
    base, run = side(tmp_path, rows()), side(tmp_path, lower, name="run")
    found = verdicts(gate(base, run, margins=Margins(), **QUICK))
    assert found["auroc, macro"] == "passed"
    assert found["false positives at the frozen 5 % threshold"] == "inferior"
    assert found["false positives, coco"] == found["false positives, phone"] == "inferior"
    left_out = verdicts(gate(base, run, margins=Margins(fpr=float("nan")), **QUICK))
    assert set(left_out) == {"auroc, macro", "coverage"}


def of_one_source(n: int, *, worse: bool = False) -> tuple[dict[str, list], dict[str, list]]:
    """Two tables that differ on a source `kiosk` of n photographs: one more false positive of the second, or all."""
    first = rows()
    keep = [k for k, path in enumerate(first["path"]) if path.split("/")[0] != "phone" or int(path[6:-4]) < n]
    first = {key: [values[k] for k in keep] for key, values in first.items()}
    first["score"] = [0.0 if path.startswith("phone") else score
                      for path, score in zip(first["path"], first["score"], strict=True)]  # fmt: skip
    second = {**first, "score": [9.0 if path.startswith("phone") and (worse or path == "phone/0.png") else score
                                 for path, score in zip(first["path"], first["score"], strict=True)]}  # fmt: skip
    return first, second


@pytest.mark.parametrize(("n", "worse", "verdict", "words"), [
    (7, False, "too few", "7 images in 7 groups; no harm is shown, but no absence of it either: 7 groups of a class"),
    (15, False, "not shown worse", "15 images in 15 groups; no harm is shown, but no absence of it either: even"),
    (60, False, "passed", "60 images in 60 groups; at worst"),
    (7, True, "inferior", "7 images in 7 groups; shown to be worse, and by more than 0.06"),
])  # fmt: skip
def test_a_single_source_is_looked_at_for_harm_and_never_passes_by_too_few(tmp_path, n, worse, verdict, words):
    tables = of_one_source(n, worse=worse)
    base, run = (side(tmp_path, table, name=f"{k}") for k, table in enumerate(tables))
    found = gate(base, run, margins=Margins(margin=0.2, fpr=0.06), **QUICK)
    (one,) = (check for check in found.checks if check.what == "false positives, phone")
    assert one.verdict == verdict
    assert one.reason.startswith(words)
    assert one.passed == (verdict != "inferior")
    cases = {case.attrib["name"]: case for case in ElementTree.fromstring(found.junit())}
    case = cases["false positives, phone, matched, against mine, baseline"]
    kinds = {"too few": ["skipped"], "inferior": ["failure"]}.get(verdict, [])
    assert [part.tag for part in case] == [*kinds, "system-out"]
    if not worse:
        assert found.passed
        said = {
            "passed": "",
            "too few": "; 1 single source had too few photographs to judge (phone)",
            "not shown worse": "; 1 single source was not shown worse, nor shown to stay within the margin (phone)",
        }
        assert found.text == f"passed: 5 checks of {run.name} against {base.name}{said[verdict]}"


def test_every_check_shows_both_figures_their_difference_and_the_margin(tmp_path):
    base, run = side(tmp_path, rows()), side(tmp_path, without(rows(noise=0.7), "a/1.png"), name="run")
    found = gate(base, run, margins=Margins(margin=0.3, fpr=0.2), **QUICK)
    assert [one.margin for one in found.checks] == [0.3, 0.01, 0.2, 0.2, 0.2]
    assert all(one.value == pytest.approx(one.mine - one.theirs) for one in found.checks)
    coverage = found.checks[1]
    assert (coverage.mine, coverage.theirs) == (pytest.approx(119 / 120), 1.0)
    (grid,) = gate_grids(found.checks, why=False)
    assert grid.columns == ("what", "detector", "baseline", "difference", "margin", "verdict")
    assert grid.rows[1] == ("coverage", "0.992", "1.000", "-0.008", "0.01", "passed")
    said = [case.findtext("system-out") for case in ElementTree.fromstring(found.junit())]
    assert said[1].startswith("passed: 0.992 against 1.000, difference -0.008, margin 0.01; not scored, though")
    first = found.checks[0]
    assert f"{first.mine:.3f} against {first.theirs:.3f}, difference {first.value:+.3f} [" in said[0]


def test_without_a_threshold_false_positives_are_not_measured_and_fail(tmp_path):
    bare = {key: values for key, values in rows().items() if key != "threshold"}
    base, run = side(tmp_path, rows()), side(tmp_path, bare, name="run")
    found = gate(base, run, margins=Margins(), **QUICK)
    assert verdicts(found)["false positives at the frozen 5 % threshold"] == "not measured"
    assert "leave this out by --fpr-margin none" in found.text
    no_probability = gate(base, run, margins=Margins(metric="nll"), **QUICK).checks[0]
    assert (no_probability.verdict, no_probability.reason) == (
        "not measured", "the detector has no probability for a/0.png, among others")  # fmt: skip


def test_a_reversed_score_is_asked_about_and_never_turned_round(tmp_path):
    turned = rows()
    turned["score"] = [-one for one in turned["score"]]
    base, run = side(tmp_path, rows()), side(tmp_path, turned, name="run")
    one = gate(base, run, margins=Margins(), **QUICK).checks[0]
    assert one.verdict == "inferior"
    assert "is a larger score more likely real?" in one.reason
    assert one.value < -0.5


# -- the sides -------------------------------------------------------------------------------------------------------


def changed(**of_first: object) -> dict[str, list]:
    table = rows()
    for name, value in of_first.items():
        table[name][0] = value
    return table


@pytest.mark.parametrize(("table", "words"), [
    ({key: values[1:] for key, values in rows().items()}, "no score of mine for a/0.png under matched in the trial"),
    ({key: [*values, values[0]] if key != "path" else [*values, "new.png"] for key, values in rows().items()},
     "scores new.png under matched, which"),
    (changed(label=0, generator=""), "a/0.png has the label 0 in"),
    (changed(generator="c"), "a/0.png has the generator c in"),
    (changed(id="other"), "a/0.png is another file in"),
    (changed(detector="else"), "no score of mine for a/0.png"),
])  # fmt: skip
def test_other_data_are_refused_with_the_first_difference(tmp_path, table, words):
    base, run = side(tmp_path, rows()), side(tmp_path, table, name="run")
    with pytest.raises(DataError, match=words):
        paired(base, run, "mine", "mine", "matched")


def test_what_is_compared_must_be_there(tmp_path):
    base = side(tmp_path, rows("mine"), rows("other"))
    cases = (
        ({"against": "othr"}, "no detector 'othr'; did you mean 'other'"),
        ({"detectors": ("mne",), "against": "mine"}, "no detector 'mne'; did you mean 'mine'"),
        ({"conditions": ("matchd",)}, "no scores of mine under 'matchd'; did you mean 'matched'"),
        ({"margins": Margins(metric="aurok")}, "did you mean 'auroc'"),
        ({"margins": Margins(margin=0.0)}, "--margin is 0"),
        ({"margins": Margins(fpr=-0.1)}, "--fpr-margin is -0.1"),
        ({"margins": Margins(fpr=float("inf"))}, "--fpr-margin is inf"),
        ({"replicates": 20}, "the gate takes 100 replicates at least"),
        ({"conditions": ()}, "the gate takes 100 replicates at least and a condition"),
    )
    for how, words in cases:
        with pytest.raises(FdetectError, match=words):
            gate(base, base, **{"margins": Margins(), **QUICK, **how})
    one, third = side(tmp_path, rows(), name="one"), side(tmp_path, rows("third"), name="third")
    with pytest.raises(ParameterError, match="no detector 'other', which .* has; see what the run says"):
        gate(base, one, margins=Margins(), **QUICK)
    with pytest.raises(ParameterError, match="no detector 'third' to compare with; name one by --against .mine, ot"):
        gate(base, third, margins=Margins(), detectors=("third",), **QUICK)
    with pytest.raises(ParameterError, match="third.parquet has no detector 'nope' .third"):  # RUN lacks it
        gate(base, third, margins=Margins(), detectors=("nope",), **QUICK)
    assert gate(one, third, margins=Margins(), **QUICK).checks[0].baseline == "mine"


def test_other_settings_of_runs_are_refused():
    nothing = pa.table({"detector": ["a"]})
    first, second = (Side(name, nothing, {"conditions.crop": crop, "seed": 0}) for name, crop in
                     (("x", 224), ("y", 128)))  # fmt: skip
    with pytest.raises(ParameterError, match="y was run with conditions.crop = 128 and x with 224"):
        refuse_other_settings(first, second)
    refuse_other_settings(first, replace(second, settings={}))
    shipped = pinned_side()
    with pytest.raises(ParameterError, match="RUN must be a run of `fdetect bench` without DATA"):  # it cannot be rerun
        refuse_other_settings(shipped, replace(first, settings={"conditions.crop": 224}))
    with pytest.raises(DataError, match="RUN must be a run of `fdetect bench` without DATA"):
        paired(shipped, Side("x", pa.table(rows())), "mine", "logreg:all", "matched")


def test_scores_alone_take_the_rest_from_the_baseline(tmp_path):
    base = side(tmp_path, rows())
    once = dict(zip(rows()["path"], rows()["score"], strict=True))
    file = tmp_path / "theirs.csv"
    pa.csv.write_csv(pa.table({"path": list(once), "score": [score + 1 for score in once.values()]}), file)
    run = read_scores_alone(file, base, ["matched"])
    found = gate(base, run, margins=Margins(fpr=float("nan")), **QUICK)
    assert found.passed
    assert found.checks[0].detector == "theirs"
    table, name = paired(base, run, "theirs", "mine", "matched")
    assert (len(table), name) == (2 * len(base.table), "mine")
    with pytest.raises(DataError, match="no column 'condition', and 2 are compared"):
        read_scores_alone(file, base, ["matched", "jpeg70"])
    for content, words in (
        ({"path": ["nowhere.png"], "score": [1.0]}, "scores nowhere.png, which .* does not have"),
        ({"path": ["a/0.png"], "score": [1.0], "label": [0]}, "a/0.png has the label 0 in"),
        ({"path": ["a/0.png"] * 2, "score": [1.0, 2.0]}, "two rows for a/0.png"),
        ({"paths": ["a/0.png"], "score": [1.0]}, "no column 'path'; did you mean 'paths'"),
    ):
        pa.csv.write_csv(pa.table(content), file)
        with pytest.raises(DataError, match=words):
            read_scores_alone(file, base, ["matched"])


def test_a_folder_that_is_no_finished_run_is_told(tmp_path):
    with pytest.raises(DataError, match="holds no result.json, so it is no finished run"):
        read_side(tmp_path)
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(DataError, match="is not the result of a run"):
        read_side(tmp_path)


# -- what is written -------------------------------------------------------------------------------------------------


def test_the_command_passes_and_fails_and_writes_what_a_job_reads(fdetect, tmp_path):  # noqa: F811
    bad = rows("<b>|mine", noise=2.0)
    side(tmp_path, rows("<b>|mine")), side(tmp_path, bad, name="run")
    base, run = str(tmp_path / "base.parquet"), str(tmp_path / "run.parquet")
    files = {name: tmp_path / f"gate.{name}" for name in ("junit", "markdown", "json")}
    options = [part for name, file in files.items() for part in (f"--{name}", str(file))]
    code, out, err = fdetect("compare", base, base, "--replicates", "100", *options)
    assert code == 0
    assert "auroc, macro" in out
    assert err.startswith("fdetect: passed: 5 checks of ")
    assert ElementTree.fromstring(files["junit"].read_bytes()).attrib["failures"] == "0"
    code, out, err = fdetect("compare", base, run, "--replicates", "100", *options)
    assert code == 1
    assert "inferior" in out
    assert err.startswith("fdetect: failed: ")
    suite = ElementTree.fromstring(files["junit"].read_bytes())
    cases = {case.attrib["name"]: case for case in suite}
    assert suite.attrib["tests"] == str(len(cases)) == "5"
    first = cases["auroc, macro, matched, against <b>|mine, baseline"]
    assert first.attrib["classname"] == "<b>|mine"
    assert first[0].attrib["type"] == "inferior"
    assert "# Gate failed" in files["markdown"].read_text()
    assert "## &lt;b>|mine against" in files["markdown"].read_text()  # no markup of a stranger's
    stated = json.loads(files["json"].read_text())
    assert stated["passed"] is False
    assert stated["checks"][0]["verdict"] == "inferior"
    assert stated["margins"]["margin"] == 0.01


def test_what_is_open_or_failed_has_a_line_of_its_own_on_the_terminal(fdetect, tmp_path):  # noqa: F811
    first, second = of_one_source(7)
    odd = [name.replace("coco", "co\nco") for name in first["real_source"]]  # a name that is two lines stays one
    side(tmp_path, {**first, "real_source": odd})
    side(tmp_path, {**second, "real_source": odd, "threshold": [0.5] * len(odd)}, name="run")
    code, out, _ = fdetect("compare", str(tmp_path / "base.parquet"), str(tmp_path / "run.parquet"), "--margin", "0.2",
                           "--replicates", "100")  # fmt: skip
    assert code == 1
    lines = [line for line in out.splitlines() if ": " in line]
    assert [line.partition(": ")[0].strip() for line in lines] == [
        "false positives at the frozen 5 % threshold", "false positives, co\\nco", "false positives, phone",
    ]  # fmt: skip
    assert lines[-1].startswith("  false positives, phone: too few, 7 images in 7 groups; no harm is shown")


def test_a_refusal_replaces_the_files_of_an_earlier_pass(fdetect, tmp_path):  # noqa: F811
    side(tmp_path, rows()), side(tmp_path, rows("<b>`other"), name="run"), side(tmp_path, changed(label=0), name="odd")
    base, run, odd = (str(tmp_path / f"{name}.parquet") for name in ("base", "run", "odd"))
    files = {name: tmp_path / "new" / f"gate.{name}" for name in ("junit", "markdown", "json")}
    options = [part for name, file in files.items() for part in (f"--{name}", str(file))]
    refused = (
        (base, run, "--detector", "nope"), (base, odd), (base, str(tmp_path / "nowhere")), (base,),
        (base, base, "--fpr-margin", "some"), (base, base, "--margin", "-1"),
    )  # fmt: skip
    for k, arguments in enumerate(refused):
        if k != 2:  # files that are not there yet are written as well
            assert fdetect("compare", base, base, "--replicates", "100", *options)[0] == 0
            assert json.loads(files["json"].read_text())["error"] is None
        else:
            for file in files.values():
                file.unlink()
        code, _, err = fdetect("compare", *arguments, *options)
        assert code == 2
        sentence = err.removeprefix("fdetect: ").strip()
        stated = json.loads(files["json"].read_text())
        assert (stated["passed"], stated["error"], stated["checks"]) == (False, sentence, [])
        suite = ElementTree.fromstring(files["junit"].read_bytes())
        assert [suite.attrib[name] for name in ("tests", "failures", "errors")] == ["1", "0", "1"]
        assert suite[0][0].tag == "error"
        assert suite[0][0].attrib["message"] == sentence
        quoted = sentence.replace("`", "'")  # as code: no markup of a stranger's
        assert files["markdown"].read_text() == f"# Gate could not be run\n\n`{quoted}`\n"


def test_bad_usage_is_one_sentence(fdetect, tmp_path):  # noqa: F811
    side(tmp_path, rows())
    base = str(tmp_path / "base.parquet")
    for arguments, words in (
        ((base,), "either RUN or --scores FILE"), ((base, base, "--scores", base), "either RUN or --scores FILE"),
        ((base, base, "--fpr-margin", "some"), "--fpr-margin takes a number or none; got 'some'"),
        ((base, base, "--fpr-margin", "nan"), "--fpr-margin takes a number or none; got 'nan'"),
        ((base, str(tmp_path / "nowhere.csv")), "nowhere.csv: no such run folder or table; give"),
        ((str(tmp_path / "nope"), base), "nope: no such run folder or table; give"),
        ((base, "--scores", str(tmp_path / "nope.csv")), "nope.csv: no such table of scores; give"),
        ((base, base, "--detector", "nope"), "base.parquet has no detector 'nope' (mine)"),
    ):  # fmt: skip
        code, _, err = fdetect("compare", *arguments)
        assert code == 2
        assert words in err


def test_two_runs_of_a_benchmark_are_compared(fdetect, small_set, tmp_path):  # noqa: F811
    flags = ("--features", "noise_level,radial_spectrum", "--heads", "logreg", "--family-heads", "none", "--detectors",
             "none", "--conditions", "matched", "--crop", "64", "--replicates", "20", "--workers", "0",
             "--store", str(tmp_path / "store"))  # fmt: skip
    for name, more in (("one", ()), ("other", ("--seed", "1"))):
        code, _, err = fdetect("bench", small_set, *flags, *more, "--out", str(tmp_path / name))
        assert code == 0, err
    shutil.copytree(tmp_path / "one", tmp_path / "two")  # a run gives the same bytes again, as test_bench has it
    code, out, err = fdetect("compare", str(tmp_path / "one"), str(tmp_path / "two"), "--replicates", "100")
    assert code == 1
    assert "3 groups of a class are too few to judge by" in out or "not measured" in err, (out, err)  # a set of tests
    assert "+0.000 [+0.000, +0.000]" in out
    table = read_score_table(tmp_path / "one" / "scores.parquet")
    assert all(table.column("id").to_pylist())
    code, _, err = fdetect("compare", str(tmp_path / "one"), str(tmp_path / "other"))
    assert code == 2
    assert "was run with seed = 1 and" in err
