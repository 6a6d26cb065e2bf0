"""Batches of examples, what a network says of pictures, and that a small one learns what can be learnt."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from naive_learning import all_turns, share_of_pairs

torch = pytest.importorskip("torch")

from fdetect.errors import DataError, ParameterError  # noqa: E402
from fdetect.nets.detectors import build, network  # noqa: E402
from fdetect.nets.learning import Examples, Learnt, Shown, by_generator, judge, learn  # noqa: E402
from fdetect.nets.schedule import Schedule, TrainingRecord  # noqa: E402
from fdetect.types import FAKE, REAL  # noqa: E402

LENET = network.read("lenet")()
SIDE = 8


def coded(n_draws: list[int], label: list[int], generator: list[str], partner: list[int]) -> Examples:
    """Pictures whose pixels say where they come from: red the picture, green the draw, blue which pixel."""
    pixels = np.empty((sum(n_draws), SIDE, SIDE, 3), np.uint8)
    first = np.cumsum([0, *n_draws[:-1]])
    for k, (start, n) in enumerate(zip(first, n_draws, strict=True)):
        for draw in range(n):
            pixels[start + draw] = [k, draw, 0]
    pixels[..., 2] = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    return Examples(pixels, first, np.array(n_draws), np.array(label), np.array(generator, object), np.array(partner))


def read(images: Any) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """The picture, the draw and the turn of each image of a batch."""
    grey = np.rint(images.permute(0, 2, 3, 1).numpy() * 255).astype(np.uint8)
    ways = [one[..., 0].tolist() for one in all_turns(np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE, 1))]
    return grey[:, 0, 0, 0], grey[:, 0, 0, 1], [ways.index(one[..., 2].tolist()) for one in grey]


def close(count: int, n: int, share: float) -> bool:
    """Within 4.5 deviations of a binomial count."""
    return abs(count - n * share) < 4.5 * math.sqrt(n * share * (1 - share))


# --- batches ------------------------------------------------------------------------------------------------------


def test_half_is_real_and_every_generator_turn_and_draw_is_as_likely_as_any_other() -> None:
    label = [REAL] * 5 + [FAKE] * 13
    generator = [""] * 5 + ["many"] * 10 + ["few"] + ["two"] * 2
    examples = coded([3] * 18, label, generator, [-1] * 18)
    rows = np.array([k for k in range(18) if k not in (1, 6)])
    one = examples.batches(rows, batch=16, seed=0)
    pictures, draws, turns = Counter[int](), Counter[int](), Counter[int]()
    steps = 300
    for step in range(steps):
        images, target = one(step)
        assert images.shape == (16, 3, SIDE, SIDE)
        assert (images.dtype, target.dtype) == (torch.float32, torch.float32)
        which, draw, turn = read(images)
        assert target.tolist() == [label[k] for k in which] == [REAL, FAKE] * 8
        pictures.update(which.tolist())
        draws.update(draw.tolist())
        turns.update(turn)
    assert set(pictures) == set(rows.tolist()), "those of the rows alone, and all of them"
    n = steps * 8
    by_name = Counter[str]()
    for k, count in pictures.items():
        by_name[generator[k]] += count
    assert by_name[""] == n
    assert all(close(by_name[name], n, 1 / 3) for name in ("many", "few", "two"))
    assert all(close(pictures[k], n, 1 / 4) for k in (0, 2, 3, 4))
    assert close(pictures[16], n, 1 / 6)  # one of two pictures of one of three generators
    assert set(draws) == {0, 1, 2}
    assert all(close(count, 2 * n, 1 / 3) for count in draws.values())
    assert set(turns) == set(range(8)), "all of the dihedral group, and nothing else: read() finds no other"
    assert all(close(count, 2 * n, 1 / 8) for count in turns.values())


def test_both_halves_of_a_pair_stand_in_the_batch_drawn_and_turned_alike() -> None:
    """Photographs have more draws than their round trips; a generated image stands among them."""
    label = [REAL] * 3 + [FAKE] * 4
    generator = [""] * 3 + ["launder_one"] * 3 + ["sim"]
    examples = coded([4, 4, 4, 2, 2, 2, 4], label, generator, [-1, -1, -1, 2, 0, 1, -1])
    one = examples.batches(np.arange(7), batch=12, seed=3)
    partner, seen, alone = {3: 2, 4: 0, 5: 1}, set(), Counter[str]()
    for step in range(150):
        which, draw, turn = read(one(step)[0])
        for k in range(0, 12, 2):
            real, fake = which[k], which[k + 1]
            if fake in partner:
                assert (real, draw[k], turn[k]) == (partner[fake], draw[k + 1], turn[k + 1])
                assert draw[k] < 2, "a draw that both have"
                seen.add((int(fake), int(draw[k])))
            else:
                alone["same draw" if draw[k] == draw[k + 1] else "another"] += 1
                alone["same turn" if turn[k] == turn[k + 1] else "another turn"] += 1
    assert seen == {(fake, draw) for fake in partner for draw in (0, 1)}
    n = alone["same draw"] + alone["another"]
    assert close(alone["same draw"], n, 1 / 4)
    assert close(alone["same turn"], n, 1 / 8)


def test_a_batch_depends_on_the_seed_and_the_step_alone() -> None:
    examples = coded([3] * 6, [REAL, FAKE] * 3, ["", "a", "", "b", "", "a"], [-1] * 6)
    one, again = (examples.batches(np.arange(6), batch=8, seed=5) for _ in range(2))
    later = one(7)[0]
    assert torch.equal(again(7)[0], later)
    torch.manual_seed(99)
    assert torch.equal(one(7)[0], later)
    assert not torch.equal(one(8)[0], later)
    assert not torch.equal(examples.batches(np.arange(6), batch=8, seed=6)(7)[0], later)


def test_what_cannot_be_a_batch_is_said_in_one_sentence() -> None:
    examples = coded([1] * 4, [REAL, REAL, FAKE, FAKE], ["", "", "a", "launder_b"], [-1, -1, -1, 0])
    with pytest.raises(DataError, match="cannot be trained: no fake image among the 2 of its training set"):
        examples.batches(np.array([0, 1]), batch=2, seed=0)
    with pytest.raises(DataError, match="no real image among the 1 of"):
        examples.batches(np.array([2]), batch=2, seed=0)
    with pytest.raises(ParameterError, match="even number of 2 or more, got 5"):
        examples.batches(np.arange(4), batch=5, seed=0)
    with pytest.raises(ParameterError, match="its photograph is not"):
        examples.batches(np.array([1, 3]), batch=2, seed=0)
    assert len(examples.batches(np.array([0, 3]), batch=2, seed=0)(0)[0]) == 2


# --- judging ------------------------------------------------------------------------------------------------------


def test_what_is_said_of_a_picture_does_not_depend_on_its_neighbours_and_the_mode_stays() -> None:
    model = build(network.read("cbam_resnet")())  # batch norms, whose statistics would change in training mode
    pixels = np.random.default_rng(0).integers(0, 256, (70, 32, 32, 3), np.uint8)
    before = {name: one.clone() for name, one in model.state_dict().items()}
    together = judge(model, pixels).logit  # 64 and 6, filled up
    assert together.shape == (70,)
    assert together.dtype == np.float64
    assert np.ptp(together) > 0
    alone = np.concatenate([judge(model, pixels[k : k + 1]).logit for k in (0, 63, 64, 69)])
    np.testing.assert_allclose(together[[0, 63, 64, 69]], alone, atol=1e-5)
    model.eval()
    images = torch.from_numpy(pixels[:2]).permute(0, 3, 1, 2) / 255
    np.testing.assert_allclose(judge(model, pixels[:2]).logit, model(images).detach().numpy(), atol=1e-5)
    assert not model.training
    model.train()
    embeddings = judge(model, pixels).embedding
    assert embeddings.shape[0] == 70
    assert embeddings.dtype == np.float32
    assert judge(model, pixels[:0]).logit.shape == (0,)
    with pytest.raises(ParameterError, match="sides of at least 32 px; got 16 x 32"):
        judge(model, pixels[:, :16])
    assert model.training
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())


def test_aurocs_by_generator_are_shares_of_pairs() -> None:
    rng = np.random.default_rng(1)
    label = rng.integers(0, 2, 60)
    generator = np.where(label, rng.choice(["a", "b", "c"], 60), "").astype(object)
    scores = np.round(rng.normal(label, 1.0), 1)  # some are equal
    found = by_generator(scores, Shown(np.empty((60, 0, 0, 3), np.uint8), label, generator))
    assert list(found) == ["a", "b", "c"]
    for name, value in found.items():
        naive = share_of_pairs(scores.tolist(), label.tolist(), generator.tolist(), name)
        assert value == pytest.approx(naive, abs=1e-12)


# --- learning -----------------------------------------------------------------------------------------------------


def residuals(n: int, *, seed: int, names: tuple[str, ...] = ("a", "b")) -> Shown:
    """Noise pictures of which every second has a faint checkerboard on it, whatever is turned or flipped."""
    rng = np.random.default_rng(seed)
    pixels = rng.normal(128, 20, (n, 32, 32, 3))
    label = np.arange(n) % 2
    board = (np.indices((32, 32)).sum(axis=0) % 2 * 2 - 1)[..., None]
    pixels += 24 * label[:, None, None, None] * board
    generator = np.array([names[k // 2 % len(names)] if k % 2 else "" for k in range(n)], object)
    return Shown(np.clip(np.rint(pixels), 0, 255).astype(np.uint8), label, generator)


def as_examples(shown: Shown) -> Examples:
    n = len(shown.pixels)
    return Examples(shown.pixels, np.arange(n), np.ones(n, np.int64), shown.label, shown.generator, np.full(n, -1))


def taught(steps: int = 60, names: tuple[str, ...] = ("a", "b"), **more: Any) -> Learnt:
    schedule = Schedule(steps=steps, batch=16, rate=2e-3, seed=more.pop("seed", 0))
    return learn(LENET, as_examples(residuals(64, seed=0, names=names)), np.arange(64), schedule=schedule,
                 **{"validation": residuals(40, seed=1, names=names), "validate_every": 20, **more})  # fmt: skip


@pytest.fixture(scope="module")
def learnt() -> Learnt:
    return taught()


def test_a_small_network_learns_a_checkerboard(learnt: Learnt) -> None:
    fresh = residuals(100, seed=2)
    found = by_generator(judge(learnt.model, fresh.pixels).logit, fresh)
    assert min(found.values()) > 0.95
    assert set(learnt.validation) == {"a", "b"}
    assert learnt.auroc == pytest.approx(np.mean(list(learnt.validation.values())))
    assert learnt.auroc > 0.95
    assert [step for step, _ in learnt.record.validations] == [20, 40, 60]
    untaught = by_generator(judge(build(LENET), fresh.pixels).logit, fresh)
    assert max(untaught.values()) < 0.9, "nothing is given away before it is learnt"


def test_the_same_seed_gives_the_same_bits_and_another_others(learnt: Learnt) -> None:
    torch.manual_seed(5)
    again, other = taught(), taught(steps=2, seed=1)
    assert same(again, learnt)
    assert again.record.losses == learnt.record.losses
    assert not same(other, taught(steps=2))


def same(one: Learnt, other: Learnt) -> bool:
    states = one.model.state_dict(), other.model.state_dict()
    return all(torch.equal(value, states[1][name]) for name, value in states[0].items())


class StoppedError(Exception):
    """Stands for a kill."""


def test_a_stopped_training_goes_on_to_the_same_bits(learnt: Learnt, tmp_path: Path) -> None:
    def stop(done: int, loss: float, last: float | None) -> None:
        if done == 33:
            raise StoppedError

    how = {"checkpoint": tmp_path / "checkpoint.safetensors", "every": 15, "about": "these pictures"}
    with pytest.raises(StoppedError):
        taught(progress=stop, **how)
    done: list[int] = []
    again = taught(progress=lambda step, *_: done.append(step), **how)
    assert done[0] == 31
    assert same(again, learnt)
    assert (again.validation, again.record.losses) == (learnt.validation, learnt.record.losses)
    with pytest.raises(ParameterError, match="another training"):
        taught(**{**how, "about": "other pictures"})


def test_the_weights_that_validated_best_are_kept(learnt: Learnt) -> None:
    """Validation pictures with the labels the other way round are judged best by the first network that is asked."""
    right = residuals(40, seed=1)
    wrong = Shown(right.pixels, 1 - right.label, np.where(right.label == REAL, "a", "").astype(object))
    found = taught(validation=wrong, validate_every=5)
    assert found.record.best_step == 5
    assert found.auroc == pytest.approx(dict(found.record.validations)[5])
    assert found.auroc > dict(found.record.validations)[60]
    assert not same(found, learnt)
    unvalidated = taught(validation=None)
    assert (unvalidated.validation, unvalidated.record.best_step) == ({}, None)
    assert math.isnan(unvalidated.auroc)
    assert "validation AUROC nan below 0.90" in unvalidated.undertrained


def test_it_stops_early_where_validation_no_longer_improves() -> None:
    right = residuals(40, seed=1)
    wrong = Shown(right.pixels, 1 - right.label, np.where(right.label == REAL, "a", "").astype(object))
    found = taught(validation=wrong, validate_every=5, patience=3)
    assert found.record.stopped_early
    assert len(found.record.losses) == 20


def test_one_generator_is_enough() -> None:
    found = taught(names=("only",))
    assert list(found.validation) == ["only"]
    assert found.auroc > 0.95


def test_a_loss_that_is_no_number_names_the_step() -> None:
    examples = as_examples(residuals(8, seed=0))
    schedule = Schedule(steps=40, batch=4, rate=1e30, largest_gradient=math.inf, warm_up=0.0)
    named = r"^training stopped at step \d+: the (loss|gradient) is (nan|inf).*lower the"
    with pytest.raises(ParameterError, match=named):
        learn(LENET, examples, np.arange(8), schedule=schedule)


def test_a_class_that_is_missing_is_said() -> None:
    shown = residuals(8, seed=0)
    with pytest.raises(DataError, match="no fake image among the 4"):
        learn(LENET, as_examples(shown), np.arange(0, 8, 2), schedule=Schedule(steps=1))
    reals = Shown(shown.pixels[::2], shown.label[::2], shown.generator[::2])
    with pytest.raises(DataError, match=r"cannot be validated: the pictures kept apart \(4\) are not of both classes"):
        taught(validation=reals)


def test_undertrained_says_why() -> None:
    def after(losses: list[float], auroc: float) -> str:
        return Learnt(build(LENET), TrainingRecord(tuple(losses), 1.0, 1, "cpu", "0"), {"a": auroc}).undertrained

    assert after([1.0] * 100, 0.90) == ""
    assert after([1.0] * 100, 0.89) == "validation AUROC 0.890 below 0.90"
    assert after([1.0] * 100, 0.8996) == "validation AUROC 0.8996 below 0.90"
    assert after([1.0] * 100, np.nextafter(0.90, 0)) == ""  # what rounding does to a mean is no verdict
    assert after([1.0] * 100, 0.89999999) == "validation AUROC 0.89999999 below 0.90"
    assert after([1 - k / 100 for k in range(100)], 0.95) == "the loss still falls"
    assert after([1.0] * 5, math.nan) == "validation AUROC nan below 0.90, the loss still falls"
