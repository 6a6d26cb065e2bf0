"""Training on aligned pairs: which rows a head is fitted on, and which autoencoders may make them.

The benchmark end to end is in test_aligned_bench.py, the fit of one detector in test_fit_aligned.py.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fdetect.bench.protocols import Samples, Trial
from fdetect.bench.training.aligned import Aligned, aligned_name, in_words, left_out, training_set
from fdetect.bench.training.pair_sources import (
    PairSource,
    cards_of,
    find_sources,
    not_run,
    passed_through,
    refuse_known,
    sources_of,
    usable_sources,
)  # fmt: skip
from fdetect.bench.training.pairing import Pairs
from fdetect.classifiers import head
from fdetect.config import AlignedConfig, RunConfig, override, read_config, to_toml
from fdetect.errors import DataError, ParameterError, WeightsError
from fdetect.nets.laundering import Laundering
from fdetect.nets.shipped import SHIPPED
from fdetect.types import FAKE, REAL

# --- the rows a head is fitted on ---------------------------------------------------------------------------------


def rows(n: int, start: float = 0.0) -> np.ndarray:
    """(n, 2) rows that say which they are."""
    return np.stack([start + np.arange(n), np.ones(n)], axis=1).astype(np.float32)


NONE = np.empty((0, 2), np.float32)


def test_every_pair_is_a_real_and_a_fake() -> None:
    made = training_set(rows(3), rows(3, 100), rows(4, 200), share=0.0)
    assert made.values.tolist() == [*rows(3).tolist(), *rows(3, 100).tolist()]
    assert made.label.tolist() == [REAL] * 3 + [FAKE] * 3
    assert (made.pairs.tolist(), made.generated.tolist()) == ([0, 1, 2], [])
    assert made.values.dtype == np.float32


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 200), st.integers(1, 200), st.floats(0.01, 0.99), st.integers(0, 9))
def test_a_share_is_attained_within_rounding(n_pairs: int, n_generated: int, share: float, seed: int) -> None:
    pools = rows(n_pairs), rows(n_pairs, 1000), rows(n_generated, 2000)
    made = training_set(*pools, share=share, seed=seed)
    p, g, ratio = len(made.pairs), len(made.generated), share / (1 - share)
    assert 1 <= p <= n_pairs
    assert 1 <= g <= n_generated
    # one image more or less on either side would not be nearer
    assert abs(g - ratio * p) <= 0.5 + 1e-9 or abs(p - g / ratio) <= 0.5 + 1e-9 or 1 in (p, g)
    assert n_pairs - p <= 0.5 / ratio + 1 or n_generated == g  # what is scarce is used to the last
    for part, pool, chosen in zip(np.split(made.values, [p, 2 * p]), pools, (made.pairs, made.pairs, made.generated),
                                  strict=True):  # fmt: skip
        np.testing.assert_array_equal(part, pool[chosen])
    for chosen in (made.pairs, made.generated):
        assert (np.diff(chosen) > 0).all()
    assert made.label.tolist() == [REAL] * p + [FAKE] * (p + g)
    again = training_set(*pools, share=share, seed=seed)
    np.testing.assert_array_equal(made.values, again.values)


def test_the_seed_draws_those_that_are_too_many() -> None:
    drawn = {tuple(training_set(rows(3), rows(3), rows(90), share=0.5, seed=seed).generated) for seed in range(20)}
    assert len(drawn) > 15
    assert all(len(chosen) == 3 for chosen in drawn)
    counts = np.bincount([row for chosen in drawn for row in chosen], minlength=90)
    assert counts[45:].sum() > 10  # not the first ones alone


@settings(max_examples=100, deadline=None)
@given(arrays(np.bool_, (12, 2)), arrays(np.bool_, 9), st.sampled_from([0.0, 0.3]))
def test_a_pair_with_a_failed_half_is_left_out_whole(failed: np.ndarray, bad: np.ndarray, share: float) -> None:
    pristine, laundered, generated = rows(12), rows(12, 100), rows(9, 200)
    pristine[failed[:, 0], 1], laundered[failed[:, 1], 0], generated[bad, 0] = np.nan, np.inf, np.nan
    good, usable = np.flatnonzero(~failed.any(axis=1)), np.flatnonzero(~bad)
    if not len(good) or (share and not len(usable)):
        with pytest.raises(DataError, match="no aligned pair can be used" if not len(good) else "no generated image"):
            training_set(pristine, laundered, generated, share=share)
        return
    made = training_set(pristine, laundered, generated, share=share)
    assert set(made.pairs) <= set(good)
    assert set(made.generated) <= set(usable)
    assert np.isfinite(made.values).all()
    if not share:
        np.testing.assert_array_equal(made.pairs, good)


@pytest.mark.parametrize(
    ("sizes", "share", "said"),
    [((0, 0), 0.0, "no aligned pair can be used: there is no photograph, or each failed in one of the halves"),
     ((0, 5), 0.5, "no aligned pair can be used"), ((5, 0), 0.25, "no generated image to mix into the aligned pairs")],
)  # fmt: skip
def test_what_is_needed_must_be_there(sizes: tuple[int, int], share: float, said: str) -> None:
    with pytest.raises(DataError, match=said):
        training_set(rows(sizes[0]), rows(sizes[0]), rows(sizes[1]), share=share)


@pytest.mark.parametrize(
    ("share", "name"),
    [(0.0, "logreg@aligned"), (0.25, "logreg@aligned+25"), (0.125, "logreg@aligned+12.5"), (0.07, "logreg@aligned+7")],
)
def test_the_share_stands_in_the_name(share: float, name: str) -> None:
    assert aligned_name("logreg", share) == name


# --- pairs --------------------------------------------------------------------------------------------------------


def source(name: str, *known: str) -> PairSource:
    return PairSource(Laundering(name, name, f"id {name}", "code"), None, frozenset(known))


def pairs(**sources: tuple[str, ...]) -> Pairs:
    """Two draws of the photographs 2, 5 and 7 and of the generated images 3 and 6.

    A value says its side, condition, autoencoder, draw and image; a generated image belongs to no autoencoder.
    """
    numbers = np.array([2, 5, 7])
    sides = [
        {
            base: {
                name: np.array([[[side + c + s + 10 * d + n] for n in numbers] for d in (1, 2)], np.float32)
                for s, name in zip((100, 200), sources, strict=False)
            }
            for c, base in ((1000, "native"), (2000, "matched"))
        }
        for side in (10_000, 20_000)
    ]
    fakes = np.array([3, 6])
    generated = {
        base: np.array([[[30_000 + c + 10 * d + n] for n in fakes] for d in (1, 2)], np.float32)
        for c, base in ((1000, "native"), (2000, "matched"))
    }
    return Pairs(numbers, *sides, {name: source(name, *known) for name, known in sources.items()}, fakes, generated)


def test_pairs_are_those_of_the_condition_the_autoencoders_and_the_photographs() -> None:
    made = pairs(a=(), b=())
    pristine, laundered, by = made.of("matched", ["a", "b"])
    expected = [2000 + s + 10 * d + n for s in (100, 200) for d in (1, 2) for n in (2, 5, 7)]
    assert pristine[:, 0].tolist() == [10_000 + value for value in expected]
    assert laundered[:, 0].tolist() == [20_000 + value for value in expected]
    assert by.tolist() == ["a"] * 6 + ["b"] * 6
    pristine, laundered, by = made.of("native", ["b"], among=np.array([7, 1, 2, 9]))
    assert pristine[:, 0].tolist() == [11_212, 11_217, 11_222, 11_227]
    assert (laundered - pristine == 10_000).all()
    assert by.tolist() == ["b"] * 4
    pristine, laundered, by = made.of("native", ["b"], among=np.array([1]))
    assert (pristine.shape, laundered.shape, by.shape) == ((0, 1), (0, 1), (0,))


def test_generated_images_are_those_of_the_condition_once_for_each_draw() -> None:
    made = pairs(a=(), b=())
    values, of_image = made.of_generated("matched")
    assert values[:, 0].tolist() == [32_013, 32_016, 32_023, 32_026]
    assert of_image.tolist() == [3, 6, 3, 6]
    values, of_image = made.of_generated("native", among=np.array([6, 2, 5]))
    assert values[:, 0].tolist() == [31_016, 31_026]
    assert of_image.tolist() == [6, 6]
    values, of_image = made.of_generated("native", among=np.array([2]))
    assert (values.shape, of_image.shape) == ((0, 1), (0,))


def test_the_digest_holds_every_value() -> None:
    digests = {pairs(a=(), b=()).digest, pairs(a=()).digest}
    for side in ("pristine", "laundered"):
        for base in ("native", "matched"):
            changed = pairs(a=(), b=())
            getattr(changed, side)[base]["b"][1, 2, 0] += 1
            digests.add(changed.digest)
    for base in ("native", "matched"):
        changed = pairs(a=(), b=())
        changed.generated[base][1, 1, 0] += 1
        digests.add(changed.digest)
    assert len(digests) == 8
    assert pairs(a=(), b=()).digest in digests


# --- which autoencoders may be used -------------------------------------------------------------------------------

# six images; 0 and 4 are copies of one file, so that their groups g0 and g4 were joined by the run
SAMPLES = Samples(
    *(np.array(column, dtype=object) for column in (
        list("abcdef"), [0, 0, 1, 0, 0, 1], ["", "", "x", "", "", "x"], [""] * 6, ["g0", "g1", "g1", "g3", "g0", "g5"],
        [""] * 6,
    ))
)  # fmt: skip
IDS = ("c0", "c1", "c2", "c3", "c0", "c5")


def trial(*test: int, name: str = "t", fit: tuple[int, ...] = ()) -> Trial:
    return Trial(name, "", np.array(fit, int), np.array([], int), np.array(test, int))


@pytest.mark.parametrize(
    ("known", "test", "usable"),
    [
        ((), (0, 1, 2), True),  # of dead leaves
        (("c9",), (0, 1, 2, 3, 4, 5), True),  # of photographs that are not here
        (("c3",), (3,), False),  # the tested content itself
        (("c3",), (0, 1, 2, 4, 5), True),
        (("c1",), (2,), False),  # the photograph of the tested fake's group
        (("c2",), (1,), False),
        (("c0",), (4,), False),  # known under another path
        (("c0",), (0,), False),
        (("c0",), (1, 2, 3, 5), True),
        (("c9", "c5", "c3"), (0, 1, 5), False),  # one is enough
    ],
)
def test_an_autoencoder_that_knows_a_tested_content_or_group_is_left_out(
    known: tuple[str, ...], test: tuple[int, ...], usable: bool
) -> None:
    sources = {"free": source("free"), "own": source("own", *known)}
    assert usable_sources(sources, SAMPLES, IDS, trial(*test)) == (("free", "own") if usable else ("free",))


@pytest.mark.parametrize(("test", "usable"), [((2, 1), ("free",)), ((5, 0, 3), ("free",)), ((0, 1, 3), ("free", "x"))])
def test_an_autoencoder_that_made_tested_images_is_left_out(test: tuple[int, ...], usable: tuple[str, ...]) -> None:
    """As `own-nearest8` of the built-in benchmark: the rows 2 and 5 are of the generator x."""
    sources = {"free": source("free"), "x": source("x")}
    assert usable_sources(sources, SAMPLES, IDS, trial(*test)) == usable
    one = contender(free=(), x=())
    assert left_out([one], [trial(*test, name="x/0")]) == ({} if "x" in usable else {"x/0": ["x"]})


def contender(share: float = 0.0, **sources: tuple[str, ...]) -> Aligned:
    values = {name: rows(6) for name in ("native", "matched")}
    return Aligned("logreg@aligned:all", head.get("logreg"), ("x", "y"), values, SAMPLES, IDS, pairs(**sources), share)


def test_what_is_left_out_is_told_by_trial_and_by_autoencoder() -> None:
    one = contender(a=("c3",), b=("c1", "c3"), c=())
    trials = [trial(3, name="x/0"), trial(1, 2, name="x/1"), trial(0, name="x/2")]
    found = left_out([object(), one, one], trials)
    assert found == {"x/0": ["a", "b"], "x/1": ["b"]}
    said = "knows tested images or made them, and is left out of the aligned pairs in"
    assert in_words(found) == [f"a {said} x/0", f"b {said} x/0, x/1"]
    assert left_out([object()], trials) == {}
    assert in_words({}) == []


def test_a_trial_without_an_autoencoder_says_which_know_what_is_tested() -> None:
    with pytest.raises(DataError, match="every autoencoder knows tested images or made them: a, b"):
        contender(a=("c3",), b=("c3",)).ready(trial(3, fit=(0, 1, 2)), "matched")


def test_only_with_generated_images_has_a_generator_been_seen() -> None:
    assert [contender(share).trains for share in (0.0, 0.25)] == [False, True]


def test_the_digest_of_a_contender_holds_the_share_the_contents_and_what_the_autoencoders_know() -> None:
    digests = [contender(), contender(0.25), contender(a=()), contender(a=("c1",)), contender(a=("c2",)),
               contender(a=("c1", "c2"))]  # fmt: skip
    assert len({one.digest for one in digests}) == len(digests)
    assert contender(a=("c1", "c2")).digest == contender(a=("c2", "c1")).digest


# --- autoencoders on disk -----------------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path):
    pytest.importorskip("torch", reason="the extra 'deep' is not installed")
    from tiny_own import save_own

    return [str(save_own(tmp_path / name, kind, factor=4, known=known)) for name, kind, known in
            (("free", "nearest", ()), ("knows", "shuffle", ("c" * 32,)))]  # fmt: skip


def test_sources_are_found_once_each_with_what_they_know(folders) -> None:
    free, knows = find_sources([*folders, folders[0] + "/"])
    assert (free.name, knows.name) == (free.card.name, knows.card.name)
    assert free.name.startswith("nearest-2x4-")
    assert (free.contents, knows.contents) == (frozenset(), {"c" * 32})
    assert free.laundering == Laundering.of(folders[0])
    every = find_sources(["shipped", SHIPPED[0]])
    assert [one.name for one in every] == list(SHIPPED)
    assert {one.contents for one in every} == {frozenset()}


def test_two_autoencoders_of_one_name_are_refused(tmp_path: Path) -> None:
    """The name of a folder is of its architecture and its weights; how much noise there is stands in config.json."""
    pytest.importorskip("torch", reason="the extra 'deep' is not installed")
    from tiny_own import known_photographs, save_own

    first = save_own(tmp_path / "first", "pixel", factor=1)
    shutil.copytree(first, tmp_path / "second")
    known_photographs(tmp_path / "second", ["c" * 32])
    for names in (("first", "second"), ("second", "first")):  # one autoencoder at two places
        (one,) = find_sources([str(tmp_path / name) for name in names])
        assert one.contents == {"c" * 32}
    config = json.loads((first / "config.json").read_text())
    (tmp_path / "second" / "config.json").write_text(json.dumps({**config, "sigma": 2 * config["sigma"]}))
    (one,), (other,) = (find_sources([str(tmp_path / name)]) for name in ("first", "second"))
    assert (one.name, one.laundering.identity) != (other.name, other.laundering.identity)
    assert one.name == other.name
    with pytest.raises(ParameterError, match=f"two different autoencoders are called {one.name}; give one of them"):
        find_sources([str(first), str(tmp_path / "second")])


def flags(*names: str, train: tuple[str, ...] = (), **others: object) -> RunConfig:
    given = {"aligned.autoencoders": names, "protocol.train": train}
    return override(RunConfig(), given | {key.replace("__", "."): value for key, value in others.items()})


def test_absent_weights_are_not_run_unless_nothing_else_is_trained_on(folders) -> None:
    sources, not_run = sources_of(flags(*folders))
    assert (len(sources), not_run) == (2, [])
    assert sources_of(flags()) == ((), [])
    found, not_run = sources_of(flags(folders[0], "gone"))
    assert found == ()
    assert [row.detector for row in not_run] == ["heads on aligned pairs"]
    assert "no autoencoder 'gone'" in not_run[0].reason
    assert not_run[0].fix
    assert [one.name for one in sources_of(flags(train=("aligned",)))[0]] == list(SHIPPED)
    with pytest.raises(WeightsError, match="no autoencoder 'gone'"):
        sources_of(flags("gone", train=("aligned",)))


def test_an_autoencoder_without_a_card_is_refused(folders, tmp_path) -> None:
    (tmp_path / "knows" / "card.json").unlink()
    with pytest.raises(DataError, match=r"knows has no card.json, which says what it was trained on"):
        find_sources(folders)


def test_a_card_of_other_weights_is_refused(folders, tmp_path) -> None:
    """As a training leaves it that was cut off after its weights were written."""
    shutil.copyfile(tmp_path / "free" / "card.json", tmp_path / "knows" / "card.json")
    with pytest.raises(DataError, match=r"card\.json of .*knows is of other weights than model\.safetensors; give a"):
        find_sources(folders)


def test_why_nothing_is_run_names_no_folder() -> None:
    error = WeightsError("/home/me/nets/mine has no config.json; /home/me/nets/mine is a folder", "give another")
    row = not_run("heads", error, ["/home/me/nets/mine", "own-nearest8"])
    assert (row.detector, row.reason, row.fix) == ("heads", "mine has no config.json; mine is a folder", "give another")


def test_a_folder_without_weights_is_called_by_its_name(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra 'deep' is not installed")
    for name in ("empty", "gone"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        found, (row,) = sources_of(flags(str(tmp_path / name)))
        assert (found, row.detector) == ((), "heads on aligned pairs")
        assert name in row.reason
        assert str(tmp_path) not in row.reason + row.fix


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (flags(aligned__draws=2), "--pairs and --generated go with --aligned; name autoencoders, or leave them out"),
        (flags(aligned__generated=(0.0, 0.25)), "--pairs and --generated go with --aligned"),
        (flags(aligned__generated=()), "--pairs and --generated go with --aligned"),
        (flags("shipped", features__names=()), "--aligned trains heads on features, and --features names none"),
        (flags(train=("aligned",), features__names=()), "--aligned trains heads on features, and --features names"),
        (flags("shipped", aligned__generated=()), r"--generated names each share once, and at least one; got \[\]"),
        (flags("shipped", aligned__generated=(0.5, 0.0, 0.5)), r"each share once.*got \[0\.5, 0\.0, 0\.5\]"),
        (flags(train=("aligned",), aligned__generated=(0.25,)), "--train aligned knows no generated image to mix in"),
        (flags("shipped", train=("aligned",), aligned__generated=(0.0, 0.1)), "--train aligned knows no generated"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_settings_of_aligned_pairs_that_contradict_each_other_are_refused(given: RunConfig, said: str) -> None:
    with pytest.raises(ParameterError, match=said) as caught:
        sources_of(given)
    assert "\n" not in str(caught.value)


def test_tested_photographs_pass_through_no_autoencoder_that_knows_them(folders) -> None:
    from fdetect.nets.autoencoder_cards import autoencoder_card

    free, knows = map(autoencoder_card, folders)
    launders = [SimpleNamespace(name=f"launder_{k}", launder=Laundering.of(one)) for k, one in enumerate(folders)]
    plain = SimpleNamespace(name="matched", launder=None)
    prepared = {k: SimpleNamespace(name=f"aeroblade{k}", cards=cards) for k, cards in enumerate(
        [(), (free,), (knows,), (knows, free), (free, knows), (object(),)])}  # fmt: skip
    here, elsewhere = ("a" * 32, "c" * 32, "c" * 32), ("a" * 32,)
    assert passed_through([plain, launders[1]], [prepared[0], prepared[4], prepared[5]]) == {
        ("launder_1", folders[1]): {"c" * 32}, ("aeroblade4", folders[0]): frozenset(),
        ("aeroblade4", folders[1]): {"c" * 32},
    }  # fmt: skip
    assert passed_through([plain], []) == {}
    refuse_known(passed_through([plain, *launders], list(prepared.values())), elsewhere)
    refuse_known(passed_through([plain, launders[0]], [prepared[0], prepared[1], prepared[5]]), here)
    with pytest.raises(ParameterError, match=r"launder_1: .*knows was trained on 1 of these images; give one that was"):
        refuse_known(passed_through([plain, *launders], []), here)
    for k in (2, 3, 4):
        with pytest.raises(ParameterError, match=rf"aeroblade{k}: .*knows was trained on 1 of these images"):
            refuse_known(passed_through([plain], [prepared[1], prepared[k]]), here)
    (Path(folders[1]) / "card.json").unlink()
    passed_through([plain, launders[0]], [prepared[1]])
    for conditions, detectors in (([launders[1]], []), ([], [prepared[4]])):
        with pytest.raises(DataError, match="knows has no card.json, which says what it was trained on"):
            passed_through(conditions, detectors)


def test_the_cards_of_conditions_are_those_of_what_launders(folders) -> None:
    launders = [SimpleNamespace(name=f"launder_{k}", launder=Laundering.of(one)) for k, one in enumerate(folders)]
    found = cards_of([SimpleNamespace(name="matched", launder=None), *launders])
    assert {name: [card.source for card in cards] for name, cards in found.items()} == {
        "launder_0": [folders[0]], "launder_1": [folders[1]]
    }  # fmt: skip
    assert cards_of([]) == {}


# --- the configuration --------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=12), max_size=3).map(tuple),
    draws=st.integers(1, 2**40), history=st.booleans(),
    shares=st.lists(st.floats(0, 1, exclude_max=True), max_size=4).map(tuple),
)  # fmt: skip
def test_the_table_survives_toml(names, draws, history, shares, tmp_path_factory) -> None:
    config = RunConfig(aligned=AlignedConfig(names, draws, history, shares))
    path = tmp_path_factory.getbasetemp() / "aligned.toml"
    path.write_text(to_toml(config), encoding="utf-8", newline="")
    assert repr(read_config(path)) == repr(config)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("draws = 0", "draws is 0; give 1 or more"),
        ("generated = [0, 1]", "the share of generated images is 1; give 0 or more, below 1"),
        ("generated = [-0.1]", "the share of generated images is -0.1"),
        ("generated = [nan]", "the share of generated images is nan"),
        ("generated = 0.25", r"generated must be a list of numbers, got 0.25"),
        ("generated = [true]", r"generated must be a list of numbers, got \[True\]"),
        ("autoencoders = 'shipped'", "autoencoders must be a list of strings"),
        ("history = 1", "history must be of type bool"),
        ("draw = 2", "unknown key 'draw'; did you mean 'draws'"),
    ],
)
def test_a_table_that_cannot_be_used_is_explained(toml: str, said: str, tmp_path) -> None:
    (tmp_path / "run.toml").write_text(f"[aligned]\n{toml}\n", encoding="utf-8")
    with pytest.raises(ParameterError, match=rf"run\.toml: .*{said}"):
        read_config(tmp_path / "run.toml")
