"""The protocol paragraph: every number of it is one of the result's, each is right, and nothing unknown is stated."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from boards import HOSTILE, header_of, with_config

from fdetect.bench.audit import BIASED, LABEL_PROBES
from fdetect.bench.protocols import protocol
from fdetect.bench.report.paragraph import protocol_paragraph
from fdetect.perturb import FINAL_QUALITY, condition_names, perturbation
from fdetect.types import Failure, NotRun, RunResult
from fdetect.wear import amounts_of

CONSTANTS = {"5", "4:2:0", "JPEG", f"Q{FINAL_QUALITY}"}  # rules of the house, which no header states


def result(header: dict[str, Any] | None = None, **more: Any) -> RunResult:
    names = (header or header_of())["config"]["conditions"]["names"]
    audit = {"threshold": BIASED, "biased_by": {name: [] for name in names}, "unmeasured": {name: [] for name in names},
             "probes": [{"condition": name, "probe": probe} for name in names for probe in LABEL_PROBES]}  # fmt: skip
    made = {"header": header or header_of(), "audit": audit, "cells": (), "thresholds": ({"detector": "a"},),
            "failures": (), "not_run": ()}  # fmt: skip
    return RunResult(**{**made, **more})


def numbers(text: str) -> set[str]:
    """Every number, with what is glued to it: 13.0.0, Q90, 4:2:0."""
    return {one.rstrip(".:") for one in re.findall(r"\b[A-Za-z]*\d[\w.:,]*", text.replace(",", " "))}


def known(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {str(len(value))} | {one for pair in value.items() for part in pair for one in known(part)}
    if isinstance(value, list | tuple):
        return {one for item in value for one in known(item)}
    return numbers(f"{value:g}" if isinstance(value, float) else str(value))


def test_every_number_is_one_of_the_result_or_a_rule_of_the_house():
    said = numbers(protocol_paragraph(result()))
    header = header_of()
    percents = {f"{100 * value:g}" for value in (header["config"]["protocol"]["calibration"],
                                                 header["config"]["metrics"]["level"])}  # fmt: skip
    of_conditions = {"Q70"}  # of jpeg70
    thousand = {"1", "000"}  # 1,000 replicates, without its comma
    assert said - known(header) - CONSTANTS - percents - of_conditions - thousand - {f"{BIASED:.2f}"} == set()
    assert {"48", "96", "24", "3", "25", "95", "224", "0123456789abcdef"} <= said


@pytest.mark.parametrize(("place", "value", "said"), [
    (("data", "n_real"), 1234, "1,234 real images"),
    (("data", "n_fake"), 77, "77 generated images"),
    (("data", "n_groups"), 55, "in 55 groups"),
    (("data", "n_same_content"), 6, "6 files of the same content as another"),
    (("data", "hash"), "feed", "content hash feed"),
    (("data", "name"), "mine", "Data: mine,"),
    (("data", "generators"), {"sd": 9}, "of 1 generator (sd: 9)"),
    (("data", "real_sources"), {"raise": 8, "": 2}, "of 2 sources (raise: 8, unnamed: 2)"),
    (("trials",), 31, "31 trials"),
    (("seed",), 17, "seed 17"),
    (("config", "protocol", "folds"), 7, "whole groups in 7 folds"),
    (("config", "protocol", "calibration"), 0.4, "40 % of each trial's training reals"),
    (("config", "conditions", "crop"), 160, "at 160 px"),
    (("config", "conditions", "names"), ["matched", "jpeg55"], "then JPEG Q55 4:2:0 alone"),
    (("config", "metrics", "replicates"), 2500, "2,500 replicates"),
    (("config", "metrics", "level"), 0.9, "90 % percentile intervals"),
    (("config", "heads", "train_conditions"), ["matched", "jpeg70"], "trained under matched+jpeg70"),
    (("versions", "numpy"), "9.8.7", "numpy 9.8.7"),
    (("versions", "decoder"), "Pillow 77", "encoded and decoded by Pillow 77"),
    (("backend", "name"), "gpu", "on the gpu backend"),
    (("fingerprint",), "cafe", "run fingerprint cafe"),
])  # fmt: skip
def test_each_statement_is_the_header_s(place, value, said):
    header = copy.deepcopy(header_of())
    table = header
    for name in place[:-1]:
        table = table[name]
    assert said not in protocol_paragraph(result())
    table[place[-1]] = value
    assert said in protocol_paragraph(result(header))


@pytest.mark.parametrize("name", [entry.name for entry in protocol])
def test_every_protocol_is_told_in_words(name):
    named = ["adm"] if "train" in protocol.get(name).settings else []
    header = with_config(header_of(), "protocol", name=name, train=named)
    text = protocol_paragraph(result(header))
    assert re.search(rf"Protocol: {name} \([a-z ()]{{20,}}", text)
    assert ("whole groups in 3 folds" in text) == (name != "fixed_split")
    if header["config"]["protocol"]["train"]:
        assert "adm" in text.partition("Protocol")[2].partition("Conditions")[0]


def test_conditions_say_what_they_do_and_only_theirs_is_said():
    of = {names: protocol_paragraph(result(with_config(header_of(), "conditions", names=list(names))))
          for names in (("native",), ("matched",), ("native", "matched"), ("rescaled", "webp80"))}  # fmt: skip
    assert "JPEG" not in of["native",]
    assert "libjpeg" not in of["native",]
    assert "trained, and thresholds frozen, under native." in of["native",]
    assert "native" not in of["matched",]
    assert "Q90 4:2:0" in of["matched",]
    assert "under matched, and for native trained, and thresholds frozen, under native." in of["native", "matched"]
    assert "smaller by a factor" in of["rescaled", "webp80"]
    assert "then lossy WebP at quality 80, encoded by Pillow, then JPEG Q90 4:2:0); encoded" in of["rescaled", "webp80"]


def test_every_condition_is_described_by_what_its_operations_say_of_themselves():
    of = {entry.name: amounts_of(entry) for entry in perturbation}
    one_of_each = [f"{name}{amounts.low:g}" if amounts else name for name, amounts in of.items()]
    names = [*condition_names(["native", "wear", "sharing"]), "rescaled", "resize50+blur1", "rescaled+noise2+jpeg80",
             "launder_x", "launder_x+rescaled+jpeg70", "blur1+social_feed", *one_of_each]  # fmt: skip
    names = list(dict.fromkeys(names))
    text = protocol_paragraph(result(with_config(header_of(), "conditions", names=names)))
    listed = text.partition(" px: ")[2].partition("; encoded")[0]
    said = dict(re.findall(r"(?:^|, )([\w.+]+) \(((?:[^()]|\([^()]*\))+)\)", listed))
    assert list(said) == names
    assert all(len(words) > 20 and "`" not in words and "uint8" not in words for words in said.values())
    assert said["double70"] == (
        "such a crop, then an earlier JPEG at quality 70, 4:2:0, on a drawn grid, then JPEG Q90 4:2:0")  # fmt: skip
    assert said["launder_x+rescaled+jpeg70"] == (
        "the stored picture through the autoencoder x, then a larger crop made smaller by a factor drawn from the "
        "content, then JPEG Q70 4:2:0")  # fmt: skip
    assert said["chain1"].endswith("then 1 operation drawn from the content, with drawn amounts, then JPEG Q90 4:2:0")
    assert said["social_feed"].count("JPEG") == said["parity"].count("JPEG") == 1  # said once
    assert listed.count("a crop at an offset") == 1
    gone = protocol_paragraph(result(with_config(header_of(), "conditions", names=["matched", "gone"])))
    assert "gone; encoded" in gone  # of a plug-in that is not here any more


def test_what_is_not_known_is_not_stated():
    header = header_of()
    for name in ("versions", "backend"):
        del header[name]
    text = protocol_paragraph(result(header))
    assert "Software" not in text
    assert "Conditions" not in text  # without its encoder
    assert text.startswith("Data: made")
    assert "torch" not in protocol_paragraph(result())  # it is not installed
    assert "Thresholds" not in protocol_paragraph(result(thresholds=()))
    assert protocol_paragraph(result({"config": header_of()["config"]})).endswith("No image failed.")


def test_audit_and_failures_are_told_as_they_are():
    one = result()
    assert "no condition was marked" in protocol_paragraph(one)
    assert "No image failed." in protocol_paragraph(one)
    one.audit["biased_by"]["native"] = ["file_bytes", "dimensions"]
    one.audit["unmeasured"]["matched"] = ["thumbnail"]
    failures = [Failure("0", path, "decode", "broken") for path in ("a.png", "b.png", "a.png")]
    text = protocol_paragraph(result(audit=one.audit, failures=failures, not_run=(NotRun("rigid", "no weights", ""),)))
    assert "native: biased by file_bytes, dimensions; matched: too few images for thumbnail" in text
    assert "above 0.60" in text
    assert "2 images failed in some step" in text
    assert "not run: rigid." in text


def test_names_stay_as_they_are_for_whoever_escapes_them():
    header = header_of()
    header["data"]["name"] = HOSTILE
    assert HOSTILE in protocol_paragraph(result(header))
