"""Optimisers, rates, early stopping, and what a training writes: against references, and stopped at any point."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import naive_training as naive
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'deep' is not installed")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from test_training import Forgetful, StoppedError, digest, line, misfit  # noqa: E402

from fdetect.errors import ParameterError  # noqa: E402
from fdetect.nets import training  # noqa: E402
from fdetect.nets.checkpoints import Standing  # noqa: E402
from fdetect.nets.learning_curve import write_curve, write_log  # noqa: E402
from fdetect.nets.training import Schedule, TrainingRecord, train  # noqa: E402

OPTIMISERS, DECLINES = ("adamw", "adam", "sgd"), ("cosine", "step", "constant")


# --- optimisers and rates -----------------------------------------------------------------------------------------


def pairs(step: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(step).uniform(-1, 1, 16)
    return x, 3 * x - 1


def both(step: int) -> tuple[torch.Tensor, ...]:
    """A batch that is a tuple: inputs and targets."""
    return tuple(torch.from_numpy(one)[:, None] for one in pairs(step))


def between(model: torch.nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    x, y = batch
    return ((model(x) - y) ** 2).mean()


@pytest.mark.parametrize("decline", DECLINES)
@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("largest_gradient", [1.0, math.inf])
def test_a_line_is_fitted_as_by_the_reference(optimiser: str, decline: str, largest_gradient: float) -> None:
    schedule = Schedule(steps=40, rate=0.05, decay=0.1, optimiser=optimiser, decline=decline, momentum=0.8,
                        largest_gradient=largest_gradient)  # fmt: skip
    model = torch.nn.Linear(1, 1).double()
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    record = train(model, both, between, schedule=schedule)
    w, b, losses = naive.fitted(pairs, asdict(schedule))
    assert (model.weight.item(), model.bias.item()) == pytest.approx((w, b), rel=1e-5)
    assert record.losses == pytest.approx(losses, rel=1e-5)
    assert record.rates == pytest.approx([naive.rate(k, asdict(schedule)) for k in range(40)])


@pytest.mark.parametrize("given", [
    {}, {"decline": "step"}, {"decline": "step", "drop": 0.5, "drop_every": 0.3, "warm_up": 0.0},
    {"decline": "constant", "warm_up": 0.2}, {"final": 0.3},
])  # fmt: skip
def test_rates_are_those_of_the_reference(given: dict[str, Any]) -> None:
    for steps in (60, 97):
        schedule = Schedule(steps=steps, rate=0.7, **given)
        found = [schedule.rate_at(k) for k in range(steps)]
        assert found == pytest.approx([naive.rate(k, asdict(schedule)) for k in range(steps)])
    by_hand = Schedule(steps=100, rate=1.0, warm_up=0, decline="step", drop=0.9, drop_every=0.1)
    assert [by_hand.rate_at(k) for k in (0, 9, 10, 99)] == pytest.approx([1, 1, 0.9, 0.9**9])


def test_optimisers_differ_and_repeat_themselves() -> None:
    made = {}
    for optimiser in OPTIMISERS:
        for _ in range(2):
            model = Forgetful()
            train(model, line, misfit, schedule=Schedule(steps=12, rate=0.05, optimiser=optimiser, decay=0.1))
            assert made.setdefault(optimiser, digest(model)) == digest(model)
    assert len(set(made.values())) == 3


@pytest.mark.parametrize("wrong", [
    {"optimiser": "lion"}, {"decline": "linear"}, {"momentum": 1.0}, {"drop": 0.0}, {"drop_every": 1.5},
    {"largest_gradient": math.nan},
])  # fmt: skip
def test_a_choice_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    said = {"optimiser": "optimiser is one of adamw, adam, sgd; got 'lion'", "decline": "one of cosine, step, constant",
            "largest_gradient": "a largest gradient above 0"}  # fmt: skip
    with pytest.raises(ParameterError, match=said.get(next(iter(wrong)), "momentum is a share below 1")):
        Schedule(**wrong)


# --- early stopping -----------------------------------------------------------------------------------------------

# after 3, 6, 9, ... steps; a tie at 9 and 15, the best at 9
VALUES = {3: 0.6, 6: 0.5, 9: 0.8, 12: 0.7, 15: 0.8, 18: 0.75, 21: 0.9, 24: 0.4}


class Judge:
    """A validation of stated values, which looks at how far the model has come and spoils torch's generator."""

    def __init__(self, values: dict[int, float] = VALUES) -> None:
        self.values, self.seen = values, dict[int, str]()

    def __call__(self, model: Forgetful) -> float:
        assert not model.training
        torch.rand(7)
        step = int(model.calls.item())
        self.seen[step] = digest(model)
        return self.values[step]


def judged(model: torch.nn.Module, judge: Callable[[Any], float], **more: Any) -> TrainingRecord:
    given: dict[str, Any] = {"validate": judge, "validate_every": 3, "patience": 3,
                             "schedule": Schedule(steps=24, rate=0.05, seed=5), **more}  # fmt: skip
    return train(model, line, misfit, **given)


def test_the_best_weights_are_kept_and_the_training_stops() -> None:
    model, judge = Forgetful(), Judge()
    record = judged(model, judge)
    assert record.validations == tuple((k, VALUES[k]) for k in (3, 6, 9, 12, 15, 18))
    assert (record.best_step, record.stopped_early, len(record.losses), len(record.rates)) == (9, True, 18, 18)
    assert digest(model) == judge.seen[9]
    assert not model.training
    patient, judge = Forgetful(), Judge()
    record = judged(patient, judge, patience=0)
    assert (record.best_step, record.stopped_early, len(record.losses)) == (21, False, 24)
    assert digest(patient) == judge.seen[21]
    plain, last = Forgetful(), Judge(dict.fromkeys(VALUES, 0.5) | {24: 0.6})
    assert judged(plain, last, patience=0).best_step == 24
    alone = Forgetful()
    without = judged(alone, last, validate=None)
    assert digest(alone) == digest(plain), "a validation changes nothing that is learnt"
    assert (without.validations, without.best_step, without.stopped_early) == ((), None, False)


def test_a_validation_comes_after_the_last_step_too() -> None:
    record = judged(Forgetful(), Judge({10: 0.5, 20: 0.6, 24: 0.7}), validate_every=10)
    assert record.validations == ((10, 0.5), (20, 0.6), (24, 0.7))
    ended = judged(Forgetful(), Judge({12: 0.9, 24: 0.7}), validate_every=12, patience=1)
    assert (ended.best_step, ended.stopped_early) == (12, False), "no step was spared"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([0.4, 0.5, 0.6, 0.7]), min_size=1, max_size=12), st.integers(0, 4))
def test_standing_stops_as_the_reference(values: list[float], patience: int) -> None:
    standing, model = Standing(), torch.nn.Linear(1, 1)
    for value in values:
        standing.losses += [0.0] * 5
        model.bias.data.fill_(len(standing.losses))
        standing.validated(value, model, patience=patience)
        if standing.stopped_early:
            break
    made, best = naive.stopped(values, patience)
    assert (len(standing.validations), standing.best_step) == (made, 5 * (best + 1))
    assert standing.best["bias"].item() == standing.best_step


EVERYWHERE, FEW = range(1, 19), (5, 9, 13)  # steps done when it is stopped


@pytest.mark.parametrize(
    "optimiser, patience, steps, points",
    [("adamw", 3, 18, EVERYWHERE), ("adamw", 0, 24, (11, 24)), ("adam", 3, 18, FEW), ("sgd", 0, 24, FEW)],
)
def test_stopped_at_any_point_it_ends_in_the_same_bytes(
    optimiser: str, patience: int, steps: int, points: Iterable[int], tmp_path: Path
) -> None:
    more: dict[str, Any] = {"patience": patience, "every": 4,
                            "schedule": Schedule(steps=24, rate=0.05, seed=5, optimiser=optimiser)}  # fmt: skip
    whole = Forgetful()
    record = judged(whole, Judge(), **more)
    assert len(record.losses) == steps
    for at in points:
        file, again = tmp_path / f"{at}.safetensors", Forgetful()

        def stop(done: int, loss: float, validation: float | None, at: int = at) -> None:
            if done == at:
                raise StoppedError

        with pytest.raises(StoppedError):
            judged(Forgetful(), Judge(), checkpoint=file, progress=stop, **more)
        resumed = judged(again, Judge(), checkpoint=file, **more)
        assert digest(again) == digest(whole)
        assert (resumed.losses, resumed.rates, resumed.validations) == (record.losses, record.rates, record.validations)
        assert (resumed.best_step, resumed.stopped_early) == (record.best_step, record.stopped_early)
        finished = Forgetful()
        judged(finished, Judge({}), checkpoint=file, **more)  # no step and no validation is left
        assert digest(finished) == digest(whole)


def test_stopped_twice_and_inside_a_step(tmp_path: Path) -> None:
    """A kill comes anywhere: in a batch, and in a validation."""
    whole, file, again = Forgetful(), tmp_path / "checkpoint.safetensors", Forgetful()
    judged(whole, Judge())

    def broken(step: int) -> torch.Tensor:
        if step == 7:
            raise StoppedError
        return line(step)

    schedule, kept = Schedule(steps=24, rate=0.05, seed=5), {"checkpoint": file, "every": 5}
    with pytest.raises(StoppedError):
        train(Forgetful(), broken, misfit, schedule=schedule, validate=Judge(), validate_every=3, patience=3, **kept)
    with pytest.raises(KeyError):
        judged(Forgetful(), Judge({6: 0.5, 9: 0.8}), **kept)  # 12 has no value
    judged(again, Judge(), **kept)
    assert digest(again) == digest(whole)


def test_a_checkpoint_of_another_validation_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.safetensors"
    judged(Forgetful(), Judge(), checkpoint=file)
    for other in ({"patience": 2}, {"validate_every": 6}, {"validate": None}):
        with pytest.raises(ParameterError, match="another training .validation"):
            judged(Forgetful(), Judge(), checkpoint=file, **other)
    with pytest.raises(ParameterError, match="patience is 0 or more; got 500, 3, -1"):
        judged(Forgetful(), Judge(), patience=-1)


def test_a_validation_that_is_no_number_stops_in_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.safetensors"
    with pytest.raises(ParameterError, match=r"^training stopped after step 5: the validation is nan; it takes"):
        judged(Forgetful(), Judge({3: 0.5, 6: math.nan}), checkpoint=file, every=4)
    assert file.exists()


def test_progress_has_the_last_validation() -> None:
    seen: list[tuple[Any, ...]] = []
    judged(Forgetful(), Judge(), progress=lambda *given: seen.append(given))
    assert [one[0] for one in seen] == list(range(1, 19))
    assert [one[2] for one in seen] == [None] * 2 + [VALUES[3 * (k // 3)] for k in range(3, 19)]
    alone: list[tuple[Any, ...]] = []
    record = train(Forgetful(), line, misfit, schedule=Schedule(steps=3), progress=lambda *given: alone.append(given))
    assert alone == list(enumerate(record.losses, 1))


# --- a device that is not waited for ------------------------------------------------------------------------------


def test_steps_in_blocks_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a GPU, where losses are looked at every few steps; nothing else changes."""
    whole, seen = Forgetful(), list[tuple[int, float | None]]()
    record = judged(whole, Judge(), checkpoint=tmp_path / "one", every=4)
    for block in (2, 20):
        monkeypatch.setitem(training._BLOCK, "cpu", block)
        model, seen = Forgetful(), []
        again = judged(model, Judge(), checkpoint=tmp_path / f"{block}", every=4,
                       progress=lambda done, loss, last: seen.append((done, last)))  # fmt: skip  # noqa: B023
        assert digest(model) == digest(whole)
        assert (again.losses, again.validations) == (record.losses, record.validations)
        assert seen == [(k, VALUES.get(3 * (k // 3))) for k in range(1, 19)]


@pytest.mark.parametrize("block", [1, 3, 20])
def test_the_first_bad_step_is_named(block: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(training._BLOCK, "cpu", block)

    def spoilt(step: int) -> torch.Tensor:
        return line(step) * (math.nan if step == 7 else 1)

    file = tmp_path / "checkpoint.safetensors"
    with pytest.raises(ParameterError, match="training stopped at step 7: the loss is nan"):
        train(Forgetful(), spoilt, misfit, schedule=Schedule(steps=24), checkpoint=file, every=5)
    again = Forgetful()
    record = train(again, line, misfit, schedule=Schedule(steps=24), checkpoint=file, every=5)  # the file before it
    whole = Forgetful()
    assert record.losses == train(whole, line, misfit, schedule=Schedule(steps=24)).losses
    assert digest(again) == digest(whole)

    def steep(model: torch.nn.Module, given: torch.Tensor) -> torch.Tensor:
        return torch.sqrt((model(given[:, :1]) * 0).abs()).sum()

    with pytest.raises(ParameterError, match="at step 0: the gradient is nan"):
        train(Forgetful(), line, steep, schedule=Schedule(steps=2))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("deterministic", [True, False])
def test_a_gpu_learns_the_line(deterministic: bool) -> None:
    model = torch.nn.Linear(1, 1).cuda()
    seen: list[int] = []
    record = train(model, line, misfit, schedule=Schedule(steps=300, rate=0.1, decay=0), deterministic=deterministic,
                   progress=lambda done, loss: seen.append(done))  # fmt: skip
    assert model.weight.item() == pytest.approx(3, abs=0.01)
    assert (seen, record.device) == (list(range(1, 301)), "cuda:0")
    with pytest.raises(ParameterError, match="at step 7: the loss is nan"):
        train(model, lambda k: line(k) * (math.nan if k == 7 else 1), misfit, schedule=Schedule(steps=24))


# --- what is written ----------------------------------------------------------------------------------------------


def record_of(losses: list[float], **more: Any) -> TrainingRecord:
    return TrainingRecord(tuple(losses), 1.0, 1, "cpu", "0", rates=(0.1,) * len(losses), **more)


def test_a_curve_is_flat_where_its_end_is() -> None:
    assert record_of([1.0] * 100).flattened()
    assert record_of([1.0] * 90 + [0.981] * 10).flattened()
    assert not record_of([1.0] * 90 + [0.979] * 10).flattened()
    assert record_of([1.0] * 90 + [0.979] * 10).flattened(within=0.03)
    assert record_of([1.0] * 90 + [1.5] * 10).flattened(), "what rises is not about to fall"
    assert not record_of([1 - k / 200 for k in range(100)]).flattened(), "a straight line"
    nearly_nothing = [1.0] * 80 + [0.010] * 10 + [0.005] * 10
    assert record_of(nearly_nothing).flattened(), "half of 0.01 is nothing beside where it began"
    assert not record_of([0.010] * 90 + [0.005] * 10).flattened(), "and half where it began there"
    assert not record_of([1.0] * 19).flattened(), "too few steps to tell"
    assert record_of([1.0] * 90 + [0.5] * 10, stopped_early=True).flattened()


def test_the_log_reads_back(tmp_path: Path) -> None:
    record = judged(Forgetful(), Judge())
    write_log(record, tmp_path / "log.csv")
    with (tmp_path / "log.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1, 19))
    assert tuple(float(row["loss"]) for row in rows) == record.losses
    assert tuple(float(row["rate"]) for row in rows) == record.rates
    assert {int(row["step"]): float(row["validation"]) for row in rows if row["validation"]} == dict(record.validations)


def test_the_curve_shows_losses_and_validations(tmp_path: Path) -> None:
    record = record_of([3.0 - k / 1000 for k in range(2600)], validations=((1300, 0.5), (2600, 0.75)), best_step=2600)
    for name in ("one.svg", "two.svg"):
        write_curve(record, tmp_path / name, title="npr <all but 'x'>")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    root = ElementTree.parse(tmp_path / "one.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    texts = [one.text for one in root.iter(f"{space}text")]
    assert {"npr <all but 'x'>", "loss", "validation AUROC", "steps", "0", "1300", "2600"} <= set(texts)
    loss, validation = (
        [tuple(float(v) for v in pair.split(",")) for pair in one.attrib["points"].split()]
        for one in root.iter(f"{space}polyline")
    )
    assert len(loss) == 260
    assert (loss[0][1], loss[-1][1]) == (50, 290)  # px: the largest at the top, the smallest at the bottom
    assert validation == [(64 + 260, 290), (64 + 520, 50)]
    assert [one.text for one in root.iter(f"{space}title")] == ["best: 0.75 after 2600 steps"]
    for few in (record_of([]), record_of([2.0]), record_of([1.0, 1.0], validations=((2, 0.5),), best_step=2)):
        write_curve(few, tmp_path / "few.svg")
        assert ElementTree.parse(tmp_path / "few.svg").getroot().tag == f"{space}svg"


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_training_leaves_cudnn_on(deterministic: bool) -> None:
    """Flags that are not named are switched off by torch, cuDNN itself among them."""
    seen = []

    def loss(model: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
        seen.append((torch.backends.cudnn.enabled, torch.backends.cudnn.allow_tf32))
        return model(batch).square().mean()

    before = torch.backends.cudnn.enabled, torch.backends.cudnn.allow_tf32
    train(torch.nn.Linear(2, 1), lambda step: torch.ones(4, 2), loss, schedule=Schedule(steps=2),
          deterministic=deterministic)  # fmt: skip
    assert seen == [before] * 2
    assert before[0]
