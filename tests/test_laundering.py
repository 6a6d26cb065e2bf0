"""Laundering by autoencoders: their own reconstruction, whatever sides, weights, threads and workers there are."""

from __future__ import annotations

import pickle
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_tasks
from test_cli import fdetect  # noqa: F401 (a fixture)
from test_perturb import content, photo

from fdetect.engine import Store
from fdetect.errors import ParameterError, WeightsError
from fdetect.nets import laundering
from fdetect.nets.laundering import Laundering
from fdetect.nets.shipped import SHIPPED
from fdetect.pairs import halves
from fdetect.perturb import Box, condition, rng_for, with_surroundings

torch = pytest.importorskip("torch", reason="the extra 'deep' is not installed")

from tiny_own import save_own  # noqa: E402

from fdetect.nets.autoencoders import autoencoder_card, load_autoencoder  # noqa: E402


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A weights home with three autoencoders, whose sides must be multiples of 4, 8 and 4 px."""
    monkeypatch.setenv("FDETECT_WEIGHTS", str(tmp_path / "home"))
    save_own(tmp_path / "home" / "one", "nearest", factor=4)
    save_own(tmp_path / "home" / "two", "shuffle", factor=8)
    save_own(tmp_path / "home" / "pixel", "pixel")  # at full size, whose U halves the sides twice
    yield tmp_path / "home"
    laundering._loaded.cache_clear()


def expected(source: str, pixels: np.ndarray, *, multiple: int = 0) -> np.ndarray:
    """The round trip of a picture whose sides are continued to multiples, of the factor where none is named."""
    network = load_autoencoder(source, device="cpu")
    multiple = multiple or network.card.factor
    height, width = (-(-side // multiple) * multiple for side in pixels.shape[:2])
    rows, columns = (np.minimum(np.arange(n), old - 1) for n, old in zip((height, width), pixels.shape, strict=False))
    padded = pixels[rows][:, columns].astype(np.float32) / 255
    again = network.reconstruct(torch.from_numpy(padded.transpose(2, 0, 1)[None].copy()))[0].numpy()
    rounded = np.floor(again.transpose(1, 2, 0) * np.float32(255) + 0.5)
    return rounded.astype(np.uint8)[: pixels.shape[0], : pixels.shape[1]]


# --- what comes out -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(64, 64), (64, 72), (61, 70), (9, 3), (1, 1)], ids=str)
@pytest.mark.parametrize("name", ["one", "two", "pixel"])
def test_the_result_is_the_reconstruction_of_the_padded_picture(name: str, size: tuple[int, int], home: Path) -> None:
    pixels = photo(*size).pixels
    before = pixels.copy()
    found = Laundering.of(name)(pixels)
    assert (found.shape, found.dtype, found.flags.c_contiguous) == (pixels.shape, np.uint8, True)
    np.testing.assert_array_equal(found, expected(name, pixels, multiple={"pixel": 4}.get(name, 0)))
    np.testing.assert_array_equal(pixels, before)
    assert size == (1, 1) or (found != pixels).mean() > 0.5


@pytest.mark.parametrize("size", [(64, 64), (61, 70)], ids=str)
def test_an_autoencoder_of_diffusers_launders_too(size: tuple[int, int], tmp_path: Path) -> None:
    pytest.importorskip("diffusers", reason="the extra 'diffusion' is not installed")
    import test_reconstruction

    folder, pixels = str(test_reconstruction.save_tiny(tmp_path / "tiny", 1)), photo(*size).pixels
    one = Laundering.of(folder)
    np.testing.assert_array_equal(one(pixels), expected(folder, pixels))
    assert re.fullmatch(r"[0-9a-f]{8} torch \S+ diffusers \S+", one.code)


def test_a_cut_that_is_no_block_of_memory_is_laundered_alike(home: Path) -> None:
    pixels, one = photo().pixels, Laundering.of("one")
    cut = pixels[16:77, 32:97]
    assert not cut.flags.c_contiguous
    np.testing.assert_array_equal(one(cut), one(cut.copy()))


def test_a_shipped_autoencoder_launders_under_its_name() -> None:
    name, image = SHIPPED[0], photo()
    chain = condition(f"launder_{name}+jpeg70")
    assert (chain.launder.name, chain.launder.source) == (name, name)
    assert chain.steps == (("jpeg", 70.0),)
    found = chain(image, content(0), seed=0, crop=64)
    cut, box = with_surroundings(image.pixels, Box.drawn(image.pixels.shape, 64, rng_for(0, content(0), "crop")))
    by_hand = condition("jpeg70").finish(box.of(expected(name, cut)), content(0), seed=0, crop=64)
    np.testing.assert_array_equal(found.pixels, by_hand.pixels)
    off = found.pixels.astype(float) - condition("jpeg70")(image, content(0), seed=0, crop=64).pixels
    assert 0 < np.abs(off).mean() < 15  # the same scene


def test_every_chain_may_begin_with_it(home: Path) -> None:
    for rest, side in (("", 64), ("+matched", 0), ("+rescaled", 40), ("+resize50+blur1", 32), ("+jpeg70", 64)):
        if side:
            chain = condition(f"launder_one{rest}")
            assert chain.launder == Laundering.of("one")
            assert chain(photo(), content(1), seed=0, crop=64).pixels.shape == (side, side, 3)
            assert replace(chain, name=rest[1:], launder=None) == replace(condition(rest[1:] or "matched"),
                                                                          name=rest[1:])  # fmt: skip
        else:
            with pytest.raises(ParameterError, match="no condition 'launder_one"):
                condition(f"launder_one{rest}")
    with pytest.raises(ParameterError, match="launder_NAME alone or at its front"):
        condition("blur1+launder_one")


# --- threads ------------------------------------------------------------------------------------------------------


def test_the_number_of_threads_is_what_it_was(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, pixels, before = Laundering.of("one"), photo(61, 70).pixels, torch.get_num_threads()
    alone = one(pixels)
    try:
        torch.set_num_threads(3)
        np.testing.assert_array_equal(one(pixels), alone)
        assert torch.get_num_threads() == 3
        during = []

        def fails(*_: object) -> None:
            during.append(torch.get_num_threads())
            raise RuntimeError("out of memory")

        monkeypatch.setattr(type(load_autoencoder("one", device="cpu")), "reconstruct", fails)
        with pytest.raises(RuntimeError, match="out of memory"):
            one(pixels)
        assert (during, torch.get_num_threads()) == ([1], 3)
    finally:
        torch.set_num_threads(before)


def test_other_threads_keep_their_number_of_threads(home: Path) -> None:
    """The device lane computes in one of its own while pictures are laundered in another."""
    one, pixels, before = Laundering.of("one"), photo(61, 70).pixels, torch.get_num_threads()
    inside, measured = threading.Event(), threading.Event()
    counts: dict[str, int] = {}

    def known_before() -> None:
        counts["before"] = torch.get_num_threads()
        started.set()
        assert inside.wait(20)
        counts["during"] = torch.get_num_threads()
        measured.set()
        assert done.wait(20)
        counts["after"] = torch.get_num_threads()

    def first_seen_during() -> None:
        torch.ones(2, 3) @ torch.ones(3, 2)
        counts["new"] = torch.get_num_threads()
        seen.set()
        assert done.wait(20)
        counts["new, after"] = torch.get_num_threads()

    def while_laundering(*_: object) -> None:
        counts["own"] = torch.get_num_threads()
        inside.set()
        threads[1].start()
        assert measured.wait(20)
        assert seen.wait(20)

    started, seen, done = threading.Event(), threading.Event(), threading.Event()
    threads = [threading.Thread(target=known_before), threading.Thread(target=first_seen_during)]
    alone = one(pixels)
    hook = load_autoencoder("one", device="cpu").model.register_forward_pre_hook(while_laundering)
    try:
        torch.set_num_threads(3)
        threads[0].start()
        assert started.wait(20)
        np.testing.assert_array_equal(one(pixels), alone)
        assert torch.get_num_threads() == 3
    finally:
        done.set()
        hook.remove()
        for thread in threads:
            thread.join(20)
        torch.set_num_threads(before)
    assert counts == {"own": 1, "before": 3, "during": 3, "after": 3, "new": 3, "new, after": 3}


@pytest.mark.parametrize("name", SHIPPED)
def test_the_result_does_not_depend_on_the_threads_of_the_process(name: str) -> None:
    one, pixels, before = Laundering.of(name), photo(136, 136).pixels, torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            found.append(one(pixels))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


# --- weights ------------------------------------------------------------------------------------------------------


def test_other_weights_under_a_name_are_another_laundering(home: Path) -> None:
    first = Laundering.of("one")
    assert first == Laundering.of("one")
    assert first.name == autoencoder_card("one").name
    save_own(home / "one", "nearest", factor=4, seed=1)
    second = Laundering.of("one")
    assert (second.source, second.code) == (first.source, first.code)
    assert second.identity != first.identity
    save_own(home / "one", "transposed", factor=4, seed=1)
    assert Laundering.of("one").identity not in (first.identity, second.identity)


def test_weights_that_change_during_a_run_end_it(home: Path) -> None:
    folder, pixels = home / "one", photo(64, 64).pixels
    one, named = Laundering.of(str(folder)), Laundering.of("one")
    save_own(folder, "nearest", factor=4, seed=1)
    with pytest.raises(WeightsError, match="the weights of one changed during the run; start again") as caught:
        named(pixels)
    assert (caught.value.reason, caught.value.fix) == ("the weights of one changed during the run", "start again")
    images = tiny_tasks.write_images(home.parent / "images", 3)
    chain = replace(condition("matched"), name="changed", launder=one)
    for workers in (0, 1):  # a worker would not see this test's environment, but for the folder
        with pytest.raises(WeightsError, match="changed during the run"):
            tiny_tasks.extract(home.parent / "images", paths=images, conditions=(chain,), workers=workers)
    shown = Laundering.of("one")(pixels)
    np.testing.assert_array_equal(shown, expected("one", pixels))


def test_rows_of_two_weights_of_one_name_are_kept_apart(home: Path) -> None:
    paths, store = tiny_tasks.write_images(home.parent / "images", 3), Store(home.parent / "store")
    settings = {"paths": paths, "store": store}
    rows = {}
    for seed in (0, 1, 0):
        save_own(home / "one", "nearest", factor=4, seed=seed)
        done = tiny_tasks.extract(home.parent / "images", conditions=(condition("launder_one"),), **settings)
        values = done.tables["launder_one", "moments"].values
        assert done.n_stored == (3 if seed in rows else 0)
        np.testing.assert_array_equal(rows.setdefault(seed, values), values)
    assert (rows[0] != rows[1]).all()


def test_the_same_weights_at_two_places_make_the_same_rows(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a folder lies is in no key of the store: neither of a condition nor of the halves of pairs."""
    other = shutil.copytree(home, home.parent / "elsewhere")
    paths, store = tiny_tasks.write_images(home.parent / "images", 3), Store(home.parent / "store")
    kept = {}
    for place in (home, other):
        monkeypatch.setenv("FDETECT_WEIGHTS", str(place))
        given = Laundering.of(str(place / "two"))
        conditions = (condition("launder_one"), *halves(condition("matched"), given, given.name, draw=1))
        assert not any(str(place) in repr(chain.settings) for chain in conditions)
        done = tiny_tasks.extract(home.parent / "images", paths=paths, conditions=conditions, store=store)
        kept[place] = done.n_computed, [chain.settings for chain in conditions]
        rows = [done.tables[chain.name, "moments"].values for chain in conditions]
        assert len({values.tobytes() for values in rows}) == 3
    assert kept[other] == (0, kept[home][1])
    assert kept[home][0] == 9


@pytest.mark.parametrize("name", ["a/b", "", ".", "./one", "/tmp/one", "org/name@1", "three"])
def test_a_path_is_no_name(name: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_own(home.parent / "three", "nearest")
    monkeypatch.chdir(home.parent)  # where `three` is a folder
    with pytest.raises(ParameterError, match=f"condition launder_{re.escape(name)}: no autoencoder is called so") as c:
        condition(f"launder_{name}")
    assert "a folder of yours has its name when it stands in $FDETECT_WEIGHTS" in str(c.value)


def test_a_name_of_the_weights_home_is_no_folder_of_the_same_name_elsewhere(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_own(home.parent / "one", "transposed")
    named = Laundering.of("one")
    monkeypatch.chdir(home.parent)
    assert condition("launder_one").launder == named


def test_absent_weights_say_how_to_get_them(home: Path) -> None:
    with pytest.raises(ParameterError, match=r"no autoencoder is called so; did you mean 'own-nearest8'\?"):
        condition("launder_own-nearest")
    with pytest.raises(WeightsError, match="fdetect weights import taef2_encoder.pth") as caught:
        condition("launder_taef2")
    assert "taef2" in caught.value.reason
    (home / "one" / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="has no model.safetensors"):
        condition("launder_one")


def test_without_torch_the_extra_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(laundering, "torch_missing", lambda: "torch is not installed")
    for name in ("one", SHIPPED[0], "taef2"):
        with pytest.raises(WeightsError, match=r"torch is not installed; pip install 'fdetect\[deep\]'"):
            condition(f"launder_{name}")


def test_a_condition_is_read_without_torch(home: Path) -> None:
    code = (
        "import sys, fdetect.bench.steps\nfrom fdetect.perturb import condition\n"
        "print(condition('launder_one').launder.name, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [autoencoder_card("one").name, "False"]


# --- the engine ---------------------------------------------------------------------------------------------------


def test_rows_do_not_depend_on_the_workers(tmp_path: Path) -> None:
    folder = save_own(tmp_path / "tiny", "shuffle", factor=8)
    paths = tiny_tasks.write_images(tmp_path / "images", 12)
    laundered = replace(condition("matched"), name="laundered", launder=Laundering.of(str(folder)))
    conditions = (laundered, *halves(condition("matched"), laundered.launder, "own", draw=1))
    runs = [
        tiny_tasks.extract(tmp_path / "images", paths=paths, conditions=conditions, workers=workers)
        for workers in (0, 1, 2)
    ]
    for other in runs[1:]:
        tiny_tasks.assert_same(runs[0], other)
    assert not any(table.failures for table in runs[0].tables.values())
    values = [runs[0].tables[one.name, "moments"].values for one in conditions]
    assert len({rows.tobytes() for rows in values}) == 3


def test_a_laundered_condition_on_the_command_line(fdetect, own: Path, home: Path) -> None:  # noqa: F811
    settings = ("--features", "npr_statistics", "--crop", 64, "--workers", 0)
    code, out, err = fdetect("extract", own, "-o", "f.csv", "--condition", "launder_two+jpeg70", *settings)
    assert (code, out) == (0, "8 images, 36 columns, 0 failed: f.csv\n"), err
    code, _, err = fdetect("extract", own, "-o", "f.csv", "--condition", "launder_three", *settings)
    assert code == 2
    assert "condition launder_three: no autoencoder is called so" in err


def test_a_laundering_is_small_when_it_travels(home: Path) -> None:
    one = Laundering.of("one")
    one(photo(64, 64).pixels)
    packed = pickle.dumps(one)
    assert len(packed) < 1000  # names and digests, no weights
    assert pickle.loads(packed) == one
