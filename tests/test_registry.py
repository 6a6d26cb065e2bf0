"""Registries: what a signature says, variants, names that teach, and plug-ins through real entry points."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError, dataclass, field
from pathlib import Path

import pytest

from fdetect.errors import FdetectError, ParameterError, UnknownName
from fdetect.perturb import perturbation
from fdetect.registry import Registry, nearest, source_digest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def feature() -> Registry:
    """A registry of its own, so that no test changes one of the package."""
    registry = Registry("test feature", "columns")

    @registry(columns=("slope", "offset"))
    def radial_slope(radial_profile, luma, *, low=0.1, high=0.9):
        """Slope of the radial profile.

        More about it.
        """
        return radial_profile, luma, low, high

    @registry(columns=("mean",))
    def dct_mean(dct):
        """Mean of the DCT."""
        return dct

    @registry(columns=("peak",), name="dct_peak")
    def another_name(dct, *, width=3):
        """Peak of the DCT."""
        return dct, width

    return registry


# --- what the signature says --------------------------------------------------------------------------------------


def test_the_signature_says_what_is_read_and_which_settings_there_are(feature: Registry) -> None:
    entry = feature.get("radial_slope")
    assert (entry.kind, entry.name) == ("test feature", "radial_slope")
    assert entry.reads == ("radial_profile", "luma")
    assert dict(entry.settings) == {"low": 0.1, "high": 0.9}
    assert entry.columns == ("slope", "offset")
    assert entry.summary == "Slope of the radial profile."
    assert entry.doc.endswith("More about it.")


def test_calling_an_entry_calls_its_target_with_its_settings(feature: Registry) -> None:
    entry = feature.get("radial_slope")
    assert entry("profile", "luma") == ("profile", "luma", 0.1, 0.9)
    assert entry("profile", "luma", high=0.5) == ("profile", "luma", 0.1, 0.5)
    assert entry.configured(low=0.2)("profile", "luma") == ("profile", "luma", 0.2, 0.9)
    assert dict(entry.settings) == {"low": 0.1, "high": 0.9}  # the entry itself is as it was


def test_a_decorated_function_stays_a_plain_function(feature: Registry) -> None:
    @feature(columns=("x",))
    def plain(a, *, b=1):
        return a + b

    assert plain(1) == 2
    assert feature.of(plain).name == "plain"


def test_a_registry_that_requires_nothing_is_a_bare_decorator() -> None:
    registry = Registry("thing")

    @registry
    def bare(a):
        """Bare."""

    @registry()
    def called(a):
        """Called."""

    assert registry.names() == ("bare", "called")


def test_a_name_may_be_given(feature: Registry) -> None:
    assert feature.get("dct_peak").settings == {"width": 3}
    assert "another_name" not in feature
    assert "name" not in feature.get("dct_peak").meta


def test_missing_meta_is_named(feature: Registry) -> None:
    with pytest.raises(ParameterError, match=r"^@test feature needs columns$"):

        @feature
        def without(a): ...

    with pytest.raises(ParameterError, match=r"^@map needs family, range$"):
        Registry("map", "family", "range")(lambda a: a)


def test_an_unknown_attribute_is_no_meta(feature: Registry) -> None:
    with pytest.raises(AttributeError, match="test feature 'dct_mean' has no attribute 'colums'"):
        _ = feature.get("dct_mean").colums


def test_a_setting_without_a_default_is_refused(feature: Registry) -> None:
    with pytest.raises(ParameterError, match="'needy': the setting 'width' needs a default"):

        @feature(columns=("x",))
        def needy(a, *, width): ...


# --- frozen dataclasses -------------------------------------------------------------------------------------------


def test_a_frozen_dataclass_is_an_entry_whose_fields_are_settings() -> None:
    detector = Registry("detector")

    @detector
    @dataclass(frozen=True)
    class TwoWords:
        """Two words."""

        sigma: float = 0.05
        draws: tuple[int, ...] = field(default_factory=lambda: (1, 2))
        total: int = field(init=False, default=7)

    entry = detector.get("two_words")
    assert entry.reads == ()
    assert dict(entry.settings) == {"sigma": 0.05, "draws": (1, 2)}
    assert entry() == TwoWords(0.05, (1, 2))
    made = entry(sigma=0.1)
    assert made.sigma == 0.1
    with pytest.raises(FrozenInstanceError):
        made.sigma = 0.2


def test_other_classes_are_refused() -> None:
    detector = Registry("detector")
    with pytest.raises(ParameterError, match="'plain' must be a function or a frozen dataclass"):

        @detector
        class Plain: ...

    with pytest.raises(ParameterError, match="'changeable' must be a function or a frozen dataclass"):

        @detector
        @dataclass
        class Changeable: ...

    with pytest.raises(ParameterError, match="the setting 'sigma' needs a default"):

        @detector
        @dataclass(frozen=True)
        class Needy:
            sigma: float


# --- variants -----------------------------------------------------------------------------------------------------


def test_a_variant_has_other_settings_under_a_name_of_its_own(feature: Registry) -> None:
    base = feature.get("radial_slope").target
    variant = feature.variant(base, "radial_slope_high", low=0.5)
    assert feature.get("radial_slope_high") is variant
    assert dict(variant.settings) == {"low": 0.5, "high": 0.9}
    assert variant.columns == ("slope", "offset")
    assert dict(feature.get("radial_slope").settings) == {"low": 0.1, "high": 0.9}
    assert feature.of(base).name == "radial_slope"  # a function's own entry, not a variant's


def test_a_variant_may_read_other_maps_but_as_many(feature: Registry) -> None:
    base = feature.get("dct_mean").target
    assert feature.variant(base, "dct_mean_of_residual", reads=("residual_dct",)).reads == ("residual_dct",)
    with pytest.raises(ParameterError, match="'dct_mean_of_two' must read 1 names, got 2"):
        feature.variant(base, "dct_mean_of_two", reads=("a", "b"))
    assert "dct_mean_of_two" not in feature


def test_a_variant_of_an_unknown_setting_or_function_is_refused(feature: Registry) -> None:
    base = feature.get("dct_peak").target
    with pytest.raises(ParameterError, match=r"'dct_peak' has no setting 'widht'; did you mean 'width'\?"):
        feature.variant(base, "wide", widht=5)
    with pytest.raises(UnknownName, match="is not a registered test feature"):
        feature.variant(print, "printed")


# --- names --------------------------------------------------------------------------------------------------------


def test_an_unknown_name_teaches(feature: Registry) -> None:
    with pytest.raises(UnknownName) as caught:
        feature.get("radial_slop")
    text = "no test feature 'radial_slop'; did you mean 'radial_slope'? (fdetect list test-features)"
    assert str(caught.value) == text
    with pytest.raises(UnknownName, match=r"^no test feature 'zzz' \(fdetect list test-features\)$"):
        feature.get("zzz")
    assert issubclass(UnknownName, ParameterError)
    assert issubclass(UnknownName, FdetectError)


def test_nearest_is_silent_when_nothing_is_near() -> None:
    assert nearest("npr_x4", ["npr", "npr_x2", "radial"]) == "; did you mean 'npr_x2'?"
    assert nearest("qqqq", ["npr", "radial"]) == ""
    assert nearest("qqqq", []) == ""


def test_a_name_is_registered_once(feature: Registry) -> None:
    with pytest.raises(ParameterError, match="test feature 'dct_mean' is registered twice"):

        @feature(columns=("x",))
        def dct_mean(dct): ...

    with pytest.raises(ParameterError, match="'dct_peak' is registered twice"):
        feature.variant(feature.get("dct_mean").target, "dct_peak")
    assert len(feature) == 3


def test_select_takes_patterns_in_order_of_registration_each_once(feature: Registry) -> None:
    def names(*patterns: str) -> list[str]:
        return [entry.name for entry in feature.select(*patterns)]

    assert names("dct_*") == ["dct_mean", "dct_peak"]
    assert names("dct_peak", "radial_slope") == ["radial_slope", "dct_peak"]
    assert names("dct_*", "dct_peak", "*_mean") == ["dct_mean", "dct_peak"]
    assert names("*") == list(feature.names())
    assert names() == []
    with pytest.raises(UnknownName, match="no test feature 'dtc_mean'; did you mean 'dct_mean'"):
        feature.select("dct_*", "dtc_mean")
    with pytest.raises(UnknownName, match=r"no test feature 'npr_\*'"):
        feature.select("npr_*")


def test_a_registry_is_a_collection_in_order_of_registration(feature: Registry) -> None:
    assert feature.names() == ("radial_slope", "dct_mean", "dct_peak")
    assert [entry.name for entry in feature] == list(feature.names())
    assert len(feature) == 3
    assert "dct_mean" in feature
    assert "dct" not in feature


def test_an_entry_travels_to_another_process() -> None:
    entry = pickle.loads(pickle.dumps(perturbation.get("blur")))
    assert entry == perturbation.get("blur")


def test_code_is_the_digest_of_the_source_file(tmp_path: Path) -> None:
    entry = perturbation.get("blur")
    assert entry.code == perturbation.get("noise").code == source_digest(str(ROOT / "fdetect" / "wear.py"))
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    one.write_text("a = 1\n")
    two.write_text("a = 2\n")
    digests = {source_digest(str(one)), source_digest(str(two)), source_digest(str(one), str(two))}
    assert len(digests) == 3
    assert all(len(digest) == 8 and int(digest, 16) >= 0 for digest in digests)


# --- plug-ins -----------------------------------------------------------------------------------------------------

PLUGIN = '''
"""A third party's perturbation."""
from fdetect.perturb import perturbation

@perturbation
def invert(pixels, amount, rng):
    """Invert the colours."""
    return 255 - pixels
'''

ENTRY_POINTS = """
[fdetect.perturbations]
invert = tiny_plugin
absent = no_such_module_of_fdetect
clash = clashing_plugin
raises = raising_plugin
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder as pip would leave it: three modules, and one distribution that names four entry points."""
    info = tmp_path / "tiny_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "tiny_plugin.py").write_text(PLUGIN)
    (tmp_path / "clashing_plugin.py").write_text(PLUGIN.replace("invert", "blur"))
    (tmp_path / "raising_plugin.py").write_text("raise RuntimeError('first line\\nsecond line')\n")
    return tmp_path


def run_python(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_plug_in_is_found_and_a_broken_one_breaks_nothing(site: Path) -> None:
    script = """
import numpy as np
from fdetect.perturb import condition, perturbation
from fdetect.images import Decoded
from fdetect.types import Facts
import sys
assert "tiny_plugin" not in sys.modules  # plug-ins are loaded when a name is looked for, not on import
assert perturbation.get("blur").target.__module__ == "fdetect.wear"
assert "tiny_plugin" not in sys.modules
assert perturbation.get("invert").summary == "Invert the colours."
grey = np.full((100, 100, 3), 55, np.uint8)
shown = condition("invert1")(Decoded(grey, Facts("RAW", 100, 100, 0)), "0", seed=0, crop=64)
assert (shown.pixels == 200).all(), shown.pixels
assert perturbation.names()[:2] == ("jpeg", "webp")
assert perturbation.names()[-1] == "invert"
assert perturbation.get("blur").target.__module__ == "fdetect.wear"
assert sorted(perturbation.broken) == ["absent", "clash", "raises"]
for text in perturbation.broken.values():
    assert "\\n" not in text
    print(text)
try:
    perturbation.get("raises")
except Exception as error:
    print(error)
"""
    done = run_python(site, "-c", script)
    assert done.returncode == 0, done.stderr
    assert "plug-in no_such_module_of_fdetect failed: No module named 'no_such_module_of_fdetect'" in done.stdout
    assert "plug-in clashing_plugin failed: perturbation 'blur' is registered twice" in done.stdout
    last = done.stdout.splitlines()[-1]
    assert last.startswith("no perturbation 'raises' (plug-in raising_plugin failed: first line second line)")


def test_the_list_command_shows_plug_ins_and_broken_ones(site: Path) -> None:
    done = run_python(site, "-m", "fdetect", "list", "perturbations")
    assert done.returncode == 0, done.stderr
    assert "Invert the colours." in done.stdout
    assert "absent: not loaded: plug-in no_such_module_of_fdetect failed" in done.stdout


@dataclass(frozen=True)
class Drifting:
    """A detector with settings of every type."""

    sigma: float = 0.05
    draws: int = 1
    clamp: bool = False
    space: str = "pixel"


def test_a_text_names_an_entry_with_settings_of_their_types():
    registry = Registry("test detector")
    registry(Drifting)
    entry = registry.read("drifting:sigma=0.02:draws=3:clamp=true:space=normalized")
    assert entry.name == "drifting:sigma=0.02:draws=3:clamp=true:space=normalized"
    assert entry() == Drifting(0.02, 3, True, "normalized")
    assert registry.read("drifting") is registry.get("drifting")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("drifting:sigm=1", "has no setting 'sigm'; did you mean 'sigma'"),
        ("drifting:sigma", "write settings as drifting:setting=value"),
        ("drifting:draws=2.5", "draws takes a value of type int, got '2.5'"),
        ("drifting:clamp=yes", "clamp takes true or false, got 'yes'"),
        ("drifted:sigma=1", "no test detector 'drifted'; did you mean 'drifting'"),
    ],
)
def test_a_text_that_names_nothing_is_said(text, message):
    registry = Registry("test detector")
    registry(Drifting)
    with pytest.raises((ParameterError, UnknownName), match=message):
        registry.read(text)
