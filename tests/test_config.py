"""Configuration: TOML there and back, errors that name the file and the key, and a name of sixteen digits."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tomllib
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdetect.config import (
    BRANCHES,
    AlignedConfig,
    FusedConfig,
    HeadsConfig,
    MetricsConfig,
    NetworksConfig,
    RunConfig,
    fingerprint,
    override,
    read_config,
    to_toml,
)
from fdetect.errors import ParameterError
from fdetect.recipes import RECIPES

DEFAULT_FINGERPRINT = "8e4722529924227c"  # change it only with the defaults: it names every run folder of a default run

text = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)  # UTF-8 has no lone surrogates


def values_for(default: Any) -> st.SearchStrategy[Any]:
    kinds: dict[type, st.SearchStrategy[Any]] = {
        bool: st.booleans(),
        int: st.integers(-(2**70), 2**70),
        float: st.floats(),
        str: text,
        tuple: st.lists(text, max_size=4).map(tuple),
    }
    return kinds[type(default)]


def tables(kind: type) -> st.SearchStrategy[Any]:
    """Any value of a configuration dataclass; a new field is covered from the day it is added."""
    default = kind()
    chosen = {}
    for f in fields(kind):
        value = getattr(default, f.name)
        chosen[f.name] = tables(type(value)) if is_dataclass(value) else values_for(value)
    chosen.pop("schema", None)
    if "seed" in chosen:
        chosen["seed"] = st.integers(0, 2**70)
    if kind is AlignedConfig:
        chosen["draws"] = st.integers(1, 2**70)
        chosen["generated"] = st.lists(st.floats(0, 1, exclude_max=True), max_size=4).map(tuple)
    if kind is NetworksConfig:
        chosen |= {name: st.integers(1, 2**70) for name in ("steps", "draws", "validate_every", "patience")}
        chosen["batch"] = st.integers(1, 2**70).map(lambda half: 2 * half)
        chosen["augmentation"] = st.sampled_from(sorted(RECIPES))
        chosen["validation"] = st.floats(0, 1, exclude_min=True, exclude_max=True)
        chosen["rate"] = st.floats(0, exclude_min=True)
    if kind is FusedConfig:
        chosen["branches"] = st.lists(st.sampled_from(BRANCHES), max_size=4).map(tuple)
        chosen["draws"] = st.integers(0, 2**70)
    if kind is HeadsConfig:
        chosen["draws"] = st.integers(1, 2**70)
        chosen["train_conditions"] = st.lists(text.filter(lambda name: name != "native"), max_size=4, unique=True).map(
            tuple
        )
    if kind is MetricsConfig:
        chosen["replicates"] = st.integers(0, 2**70)
    return st.builds(kind, **chosen)


def written(tmp_path: Path, toml: str) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(toml, encoding="utf-8")
    return path


# --- there and back -----------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(config=tables(RunConfig))
def test_every_configuration_survives_toml(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "round.toml"
    path.write_text(to_toml(config), encoding="utf-8", newline="")
    again = read_config(path)
    assert repr(again) == repr(config)  # repr, so that NaN equals itself and 1 is not 1.0
    assert fingerprint(again) == fingerprint(config)


def test_the_defaults_are_written_in_full(tmp_path: Path) -> None:
    toml = to_toml(RunConfig())
    values = tomllib.loads(toml)
    assert list(values) == [
        "seed",
        "schema",
        "data",
        "protocol",
        "conditions",
        "features",
        "heads",
        "aligned",
        "networks",
        "fused",
        "detectors",
        "metrics",
    ]
    assert values["conditions"] == {"names": ["native", "matched", "jpeg70", "rescaled"], "crop": 0}
    assert values["heads"]["per_preset"] == values["heads"]["drop_one"] == []
    assert (values["heads"]["balance"], values["heads"]["search"]) == ("none", False)
    assert values["features"] == {"names": ["standard"], "embeddings": []}
    assert values["schema"] == 1
    assert read_config(written(tmp_path, toml)) == RunConfig()


def test_an_empty_file_is_the_default_and_a_part_changes_a_part(tmp_path: Path) -> None:
    assert read_config(written(tmp_path, "")) == RunConfig()
    config = read_config(
        written(tmp_path, 'seed = 7\n[conditions]\ncrop = 128\n[features]\nnames = ["npr", "dct_*"]\n')
    )
    assert config.seed == 7
    assert config.conditions == replace(RunConfig().conditions, crop=128)
    assert config.features.names == ("npr", "dct_*")
    assert config.protocol == RunConfig().protocol


def test_configurations_are_frozen_and_hashable() -> None:
    config = RunConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 1
    assert {config: "found"}[RunConfig()] == "found"


# --- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "toml, words",
    [
        ("sed = 1", "unknown key 'sed'; did you mean 'seed'?"),
        ("[conditons]\ncrop = 1", "unknown key 'conditons'; did you mean 'conditions'?"),
        ("[conditions]\ncorp = 1", "conditions: unknown key 'corp'; did you mean 'crop'?"),
        ("[metrics]\nbootstraps = 1", "metrics: unknown key 'bootstraps'"),
        ("seed = 1.0", "seed must be of type int, got 1.0"),
        ('seed = "1"', "seed must be of type int, got '1'"),
        ("seed = -1", "seed is -1; give a whole number of 0 or more (--seed)"),
        ("seed = true", "seed must be of type int, got True"),
        ("data = 'photos'", "data must be a table [data]"),
        ("[[data]]\npath = 'x'", "data must be a table [data]"),
        ("[data]\npath = 3", "data: path must be of type str, got 3"),
        ("[features]\nnames = 'npr'", "features: names must be a list of strings, got 'npr'"),
        ("[features]\nnames = ['npr', 1]", "features: names must be a list of strings, got ['npr', 1]"),
        ("[metrics]\nlevel = 'high'", "metrics: level must be of type float, got 'high'"),
        ("[metrics]\nlevel = true", "metrics: level must be of type float, got True"),
        ("[metrics]\nreplicates = 10.5", "metrics: replicates must be of type int, got 10.5"),
        ("[metrics]\nreplicates = -1", "metrics: replicates is -1; give 0 or more, such as 1000 (--replicates)"),
        ("schema = 2", "schema = 2 is not supported; this version reads schema = 1"),
        ("schema = 2\nnew_key = 1", "schema = 2 is not supported; this version reads schema = 1"),
        ("schema = true", "schema must be of type int, got True"),
        ("seed = ", "not a readable TOML file: Invalid value (at end of document)"),
        ("seed = 1\nseed = 2", "not a readable TOML file: Cannot overwrite a value"),
        ("seed = " + "9" * 5000, "not a readable TOML file: Exceeds the limit"),
        ("seed = " + "[" * 5000, "not a readable TOML file: "),
    ],
)
def test_an_error_is_one_sentence_with_the_file_and_the_key(tmp_path: Path, toml: str, words: str) -> None:
    path = written(tmp_path, toml)
    with pytest.raises(ParameterError) as caught:
        read_config(path)
    assert str(caught.value).startswith(f"{path}: {words}")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_absent_a_folder_or_not_text_is_named(tmp_path: Path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"seed = 1\xff\xfe")
    for path in (tmp_path / "absent.toml", tmp_path, binary):
        with pytest.raises(ParameterError, match=r"not a readable TOML file") as caught:
            read_config(path)
        assert str(caught.value).startswith(f"{path}: ")


def test_whole_numbers_do_for_floats(tmp_path: Path) -> None:
    level = read_config(written(tmp_path, "[metrics]\nlevel = 1\n")).metrics.level
    assert (level, type(level)) == (1.0, float)


# --- flags --------------------------------------------------------------------------------------------------------


def test_flags_replace_dotted_keys_and_none_changes_nothing() -> None:
    config = RunConfig()
    flags = {"conditions.crop": 128, "seed": 3, "features.names": ("npr",), "data.path": None, "metrics.level": None}
    changed = override(config, flags)
    assert (changed.conditions.crop, changed.seed, changed.features.names) == (128, 3, ("npr",))
    assert (changed.data, changed.metrics, changed.conditions.names) == (
        config.data,
        config.metrics,
        config.conditions.names,
    )
    assert config == RunConfig()
    assert override(config, {"seed": None}) == config


def test_a_seed_below_zero_is_refused_wherever_it_comes_from() -> None:
    with pytest.raises(ParameterError, match=r"seed is -1; give a whole number of 0 or more \(--seed\)"):
        override(RunConfig(), {"seed": -1})


def test_a_flag_of_zero_or_empty_is_a_value() -> None:
    changed = override(replace(RunConfig(), seed=5), {"seed": 0, "detectors.names": ()})
    assert (changed.seed, changed.detectors.names) == (0, ())


# --- the fingerprint ----------------------------------------------------------------------------------------------


def test_the_fingerprint_of_the_defaults_is_golden_and_the_same_in_another_process() -> None:
    assert fingerprint(RunConfig()) == DEFAULT_FINGERPRINT
    script = "from fdetect.config import AlignedConfig, RunConfig, fingerprint; print(fingerprint(RunConfig()))"
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == DEFAULT_FINGERPRINT


def test_the_fingerprint_of_plain_values_never_changes() -> None:
    assert fingerprint({"b": [1, 0.1, "é"], "a": None}) == "69fdb4ea5c2c3954"
    assert fingerprint({"a": None, "b": (1, 0.1, "é")}) == "69fdb4ea5c2c3954"  # a tuple is a list


def test_every_field_changes_the_fingerprint() -> None:
    other = {int: 98, float: 0.125, str: "other", tuple: ("other",)}
    only = {"aligned.generated": (0.125,), "networks.augmentation": next(name for name in RECIPES if name != "full"),
            "fused.branches": BRANCHES[:1]}  # fmt: skip
    keys = []
    for f in fields(RunConfig):
        value = getattr(RunConfig(), f.name)
        keys += [f"{f.name}.{g.name}" for g in fields(value)] if is_dataclass(value) else [f.name]
    found = {fingerprint(RunConfig())}
    for key in keys:
        table, _, name = key.rpartition(".")
        default = getattr(getattr(RunConfig(), table), name) if table else getattr(RunConfig(), name)
        value = not default if isinstance(default, bool) else only.get(key, other.get(type(default)))
        found.add(fingerprint(override(RunConfig(), {key: value})))
    assert len(keys) > 15
    assert len(found) == len(keys) + 1


def test_the_order_of_a_mapping_is_nothing_and_that_of_a_list_is_something() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint(("a", "b")) != fingerprint(("b", "a"))
    assert len({fingerprint(part) for part in (1, 1.0, "1", True, None, [1], {"1": 1})}) == 7
    assert fingerprint("a", "b") != fingerprint("ab")


def test_what_has_no_canonical_text_has_no_fingerprint() -> None:
    with pytest.raises(TypeError, match="no canonical JSON for object"):
        fingerprint(object())
    with pytest.raises(TypeError, match="no canonical JSON for set"):
        fingerprint({"names": {"a", "b"}})
