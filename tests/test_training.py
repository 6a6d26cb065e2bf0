"""The training loop: known minima, the same bytes twice and after a stop, and sentences for what goes wrong."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="the extra 'deep' is not installed")

from fdetect.errors import DataError, FdetectError, ParameterError  # noqa: E402
from fdetect.nets.own import build, generator, training_loss  # noqa: E402
from fdetect.nets.own.data import Crops, crops_of_images, crops_of_textures  # noqa: E402
from fdetect.nets.training import Schedule, TrainingRecord, train  # noqa: E402


def digest(model: torch.nn.Module) -> str:
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(name.encode() + tensor.numpy().tobytes())
    return found.hexdigest()


def line(step: int) -> torch.Tensor:
    """x and y = 3 x - 1, drawn anew for each step."""
    x = torch.from_numpy(np.random.default_rng(step).uniform(-1, 1, (16, 1)).astype(np.float32))
    return torch.cat([x, 3 * x - 1], 1)


def misfit(model: torch.nn.Module, pairs: torch.Tensor) -> torch.Tensor:
    return ((model(pairs[:, :1]) - pairs[:, 1:]) ** 2).mean()


class Forgetful(torch.nn.Module):
    """A layer that draws in every step and a buffer that counts, as a quantiser does."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.layers = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 1))
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.layers(x)


def run(model: torch.nn.Module, **settings: object) -> TrainingRecord:
    schedule = Schedule(steps=24, rate=0.05, seed=5)
    return train(model, line, misfit, **{"schedule": schedule, **settings})  # type: ignore[arg-type]


def test_it_finds_a_minimum_that_is_known() -> None:
    model = torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(model.weight)
    torch.nn.init.zeros_(model.bias)
    record = train(model, line, misfit, schedule=Schedule(steps=300, rate=0.1, decay=0))
    assert model.weight.item() == pytest.approx(3, abs=0.01)
    assert model.bias.item() == pytest.approx(-1, abs=0.01)
    first = line(0).numpy().astype(np.float64)
    assert record.losses[0] == pytest.approx((first[:, 1] ** 2).mean(), rel=1e-6)
    assert len(record.losses) == 300
    assert record.losses[-1] < 1e-3
    assert record.threads == torch.get_num_threads()
    assert not model.training


def test_rate_rises_and_falls_as_stated() -> None:
    schedule = Schedule(steps=101, rate=1.0, final=0.1, warm_up=0.1)
    rates = [schedule.rate_at(step) for step in range(101)]
    assert rates[0] == pytest.approx(1 / 12)
    assert rates[11] == 1.0
    assert rates[100] == pytest.approx(0.1)
    middle = 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (50 - 11) / (100 - 11)))
    assert rates[50] == pytest.approx(middle)
    assert Schedule(steps=1).rate_at(0) > 0


def test_two_runs_are_the_same_bytes_and_leave_the_generator_alone() -> None:
    torch.manual_seed(123)
    expected = torch.rand(3)
    one, two = Forgetful(), Forgetful()
    torch.manual_seed(123)
    first = run(one)
    assert torch.equal(torch.rand(3), expected)
    assert not torch.are_deterministic_algorithms_enabled()
    second = run(two)
    assert digest(one) == digest(two)
    assert first.losses == second.losses
    other = Forgetful()
    run(other, schedule=Schedule(steps=24, rate=0.05, seed=6))
    assert digest(other) != digest(one)


class StoppedError(Exception):
    pass


def stop_at(step: int) -> object:
    def progress(done: int, loss: float) -> None:
        if done == step:
            raise StoppedError

    return progress


def test_a_stopped_run_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    whole = Forgetful()
    record = run(whole)
    file = tmp_path / "checkpoint.safetensors"
    with pytest.raises(StoppedError):
        run(Forgetful(), checkpoint=file, every=12, progress=stop_at(15))  # three steps are lost
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    again, seen = Forgetful(), []
    resumed = run(again, checkpoint=file, every=12, progress=lambda done, loss: seen.append(done))
    assert seen == list(range(13, 25))
    assert digest(again) == digest(whole)
    assert resumed.losses == record.losses
    finished = Forgetful()
    assert run(finished, checkpoint=file, progress=stop_at(1)).losses == record.losses  # no step is left
    assert digest(finished) == digest(whole)


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.safetensors"
    run(Forgetful(), checkpoint=file, about="one")
    with pytest.raises(ParameterError, match=r"another training \(about 'one', now 'two'\)"):
        run(Forgetful(), checkpoint=file, about="two")
    with pytest.raises(ParameterError, match="schedule"):
        run(Forgetful(), checkpoint=file, about="one", schedule=Schedule(steps=25, rate=0.05, seed=5))
    with pytest.raises(DataError, match="not a checkpoint of this training"):
        run(torch.nn.Linear(1, 1), checkpoint=file, about="one")
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        with pytest.raises(ParameterError, match=rf"threads {threads}, now {threads + 1}"):
            run(Forgetful(), checkpoint=file, about="one")
    finally:
        torch.set_num_threads(threads)
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(DataError, match="remove it or give another folder"):
        run(Forgetful(), checkpoint=file, about="one")


def test_a_loss_that_is_no_number_stops_in_one_sentence(tmp_path: Path) -> None:
    def spoilt(step: int) -> torch.Tensor:
        return line(step) * (math.nan if step == 7 else 1)

    file, model = tmp_path / "checkpoint.safetensors", Forgetful()
    with pytest.raises(ParameterError, match=r"^training stopped at step 7: the loss is nan; lower the rate \(0.05\)"):
        train(model, spoilt, misfit, schedule=Schedule(steps=24, rate=0.05), checkpoint=file, every=5)
    assert file.exists()
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())

    def steep(model: torch.nn.Module, pairs: torch.Tensor) -> torch.Tensor:
        return torch.sqrt((model(pairs[:, :1]) * 0).abs()).sum()  # 0, with a slope that is not finite

    with pytest.raises(ParameterError, match="at step 0: the gradient is nan"):
        train(Forgetful(), line, steep, schedule=Schedule(steps=2))


@pytest.mark.parametrize("given", [{"steps": 0}, {"rate": 0.0}, {"final": 2.0}, {"precision": "half"}, {"decay": -1}])
def test_a_schedule_that_cannot_be_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(ParameterError):
        Schedule(**given)  # type: ignore[arg-type]


# --- our own generators, tiny ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def textures() -> Crops:
    return crops_of_textures(6, side=48, seed=1)


def tiny(
    name: str, crops: Crops, *, precision: str = "float32", **settings: object
) -> tuple[torch.nn.Module, TrainingRecord]:
    model, schedule = untrained(name), Schedule(steps=20, batch=2, seed=3, precision=precision)
    model = model.to(memory_format=torch.channels_last)

    def batches(step: int) -> torch.Tensor:
        return few(crops, step)

    return model, train(model, batches, training_loss, schedule=schedule, every=10, **settings)  # type: ignore[arg-type]


def untrained(name: str) -> torch.nn.Module:
    sizes, entry = {"width": 4, "latent_channels": 4, "factor": 4}, generator.get(name)
    return build(entry(**{key: size for key, size in sizes.items() if key in entry.settings}), seed=3)


def few(crops: Crops, step: int) -> torch.Tensor:
    return torch.from_numpy(crops.batch(step, seed=3, count=2, size=32))


KINDS = [*((name, "float32") for name in generator.names()), ("quantised", "bfloat16")]


@pytest.mark.parametrize("name, precision", KINDS)
def test_every_generator_learns_repeats_itself_and_goes_on(
    name: str, precision: str, textures: Crops, tmp_path: Path
) -> None:
    one, record = tiny(name, textures, precision=precision)
    two, _ = tiny(name, textures, precision=precision)
    assert digest(one) == digest(two)
    before = untrained(name).eval()
    with torch.no_grad():  # of the same pictures: some are simpler than others
        assert np.mean(record.losses[-5:]) < np.mean([training_loss(before, few(textures, k)) for k in range(15, 20)])
    file = tmp_path / "checkpoint.safetensors"
    with pytest.raises(StoppedError):
        tiny(name, textures, precision=precision, checkpoint=file, progress=stop_at(10))
    resumed, _ = tiny(name, textures, precision=precision, checkpoint=file)
    assert digest(resumed) == digest(one)


# --- crops -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for k, (height, width) in enumerate([(60, 80), (48, 48), (40, 90), (64, 64)]):
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(tmp_path / f"{k}.png")
    (tmp_path / "4.png").write_bytes((tmp_path / "0.png").read_bytes())  # the content of 0 again
    (tmp_path / "5.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return tmp_path


NAMES = [f"{k}.png" for k in range(7)]


def test_crops_are_cut_from_the_pixels_and_failures_counted(photographs: Path) -> None:
    crops = crops_of_images(NAMES, root=photographs, side=48, per_image=3)
    assert crops.pixels.shape == (3 + 1 + 3, 48, 48, 3)
    assert [(one.path, one.stage) for one in crops.failures] == [
        ("2.png", "geometry"), ("5.png", "decode"), ("6.png", "read"),
    ]  # fmt: skip
    assert len(set(crops.ids)) == 3
    whole = np.asarray(Image.open(photographs / "0.png"))
    places = [
        (row, column)
        for row in range(13)
        for column in range(33)
        if np.array_equal(whole[row : row + 48, column : column + 48], crops.pixels[0])
    ]
    assert len(places) == 1
    np.testing.assert_array_equal(crops.pixels[3], np.asarray(Image.open(photographs / "1.png")))
    again = crops_of_images(reversed(NAMES), root=photographs, side=48, per_image=3)
    assert crops.sha256 == again.sha256
    assert sorted(one.tobytes() for one in crops.pixels) == sorted(one.tobytes() for one in again.pixels)
    expected = hashlib.sha256("".join(f"{id}\n" for id in sorted(set(crops.ids))).encode()).hexdigest()
    assert crops.sha256 == expected


def test_no_more_crops_than_asked_for(photographs: Path) -> None:
    names = ["0.png", "1.png", "3.png"]
    assert len(crops_of_images(names, root=photographs, side=32, per_image=8, most=6)) == 6
    few = crops_of_images(names, root=photographs, side=32, most=2)
    assert (len(few), few.left_out) == (2, 1)
    half = crops_of_images(["3.png"], root=photographs, side=32, percent=50)
    assert half.pixels.shape == (1, 32, 32, 3)  # 64 px at half size is one crop
    with pytest.raises(DataError, match=r"none of 1 images gives a crop of 64 px: 0\.png: 80 x 60 px are too few"):
        crops_of_images(["0.png"], root=photographs, side=64)
    with pytest.raises(ParameterError):
        crops_of_images(names, root=photographs, side=0)


def test_a_batch_is_of_its_step_alone(textures: Crops) -> None:
    one = textures.batch(4, seed=0, count=3, size=32)
    assert one.dtype == np.float32
    assert one.shape == (3, 3, 32, 32)
    assert 0 <= one.min() < one.max() <= 1
    np.testing.assert_array_equal(one, textures.batch(4, seed=0, count=3, size=32))
    assert (one != textures.batch(5, seed=0, count=3, size=32)).any()
    shown = np.rint(one[0] * 255).astype(np.uint8).transpose(1, 2, 0)
    windows = np.lib.stride_tricks.sliding_window_view(textures.pixels, (32, 32), axis=(1, 2))
    windows = windows.transpose(0, 1, 2, 4, 5, 3)
    same = [(windows == way).all(axis=(3, 4, 5)).any() for way in (shown, shown[:, ::-1])]
    assert any(same)
    with pytest.raises(ParameterError, match="cannot be cut to 49 px"):
        textures.batch(0, seed=0, count=1, size=49)


def test_crops_add_up_and_unlike_ones_do_not(textures: Crops) -> None:
    both = textures + crops_of_textures(2, side=48, seed=2)
    assert len(both) == 8
    assert both.sha256 != textures.sha256
    with pytest.raises(FdetectError, match="cut both with one side"):
        textures + crops_of_textures(1, side=32)
