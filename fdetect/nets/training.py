"""The training loop: every network of ours is trained by it, whatever its loss and its data.

    loss_k = loss(model, batches(k)),  k = 0 ... steps - 1;  gradients cut to a norm;  AdamW;  warm-up, then a cosine

A step depends on the seed, its number and the state before it, and on nothing else: `batches` is a function of the
number, and torch's generator is seeded anew for each step.  So on a CPU, with one number of threads and one version of
torch, two runs give the same bytes, and so does a run that was stopped and went on from its checkpoint.  The threads
are the caller's to set (torch.set_num_threads); a sum is split by their number, so that they are recorded and a
checkpoint does not go on under another number.  On a GPU, operations that have no deterministic form are allowed.

A checkpoint is one safetensors file, written whole or not at all, with JSON in its header; nothing is unpickled.

Source: Loshchilov and Hutter, "Decoupled weight decay regularization" (ICLR 2019), Algorithm 2, for AdamW; the same,
"SGDR" (ICLR 2017), equation 5, for the cosine.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from fdetect.errors import DataError, ParameterError
from fdetect.files import write_atomic
from fdetect.perturb import rng_for

__all__ = ["Schedule", "TrainingRecord", "held_still", "train"]

_HEADER = "fdetect.training"  # the one entry of a checkpoint's metadata: more of them would be stored in any order
_PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a network learns.

    steps, batch         number of steps; `batch` examples in each, for whoever makes the batches
    rate, final          learning rate at its height, and its share that is left at the end
    warm_up              share of the steps in which the rate rises linearly
    decay                AdamW's weight decay, of tensors with two axes or more; biases and scales are left alone
    largest_gradient     norm of all gradients together to which a larger one is cut
    seed                 of everything that is drawn
    precision            "float32", or "bfloat16": products under autocast, weights and optimiser stay float32

    Raises ParameterError for a value outside its range.
    """

    steps: int = 2000
    batch: int = 8
    rate: float = 2e-3
    final: float = 0.02
    warm_up: float = 0.05
    decay: float = 1e-4
    largest_gradient: float = 1.0
    seed: int = 0
    precision: str = "float32"

    def __post_init__(self) -> None:
        if min(self.steps, self.batch) < 1 or not (self.rate > 0 and self.largest_gradient > 0 and self.decay >= 0):
            raise ParameterError(f"training takes steps and batch of at least 1, a rate and a largest gradient above "
                                 f"0, and a decay that is not negative; got {self}")  # fmt: skip
        if not (0 <= self.final <= 1 and 0 <= self.warm_up < 1):
            raise ParameterError(f"final and warm_up are shares, warm_up below 1; got {self.final}, {self.warm_up}")
        if self.precision not in _PRECISIONS:
            raise ParameterError(f"precision is one of {', '.join(_PRECISIONS)}; got '{self.precision}'")

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, 0 ... steps - 1."""
        rising = math.ceil(self.warm_up * self.steps)
        if step < rising:
            return self.rate * (step + 1) / (rising + 1)
        passed = (step - rising) / max(self.steps - 1 - rising, 1)
        return self.rate * (self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * passed)))


@dataclass(frozen=True)
class TrainingRecord:
    """What happened: the loss of every step, seconds that were computed (before a stop too), and on what."""

    losses: tuple[float, ...]
    seconds: float
    threads: int
    device: str
    torch: str


def train(
    model: torch.nn.Module,
    batches: Callable[[int], torch.Tensor],
    loss: Callable[[Any, torch.Tensor], torch.Tensor],
    *,
    schedule: Schedule,
    checkpoint: Path | None = None,
    every: int = 500,
    about: str = "",
    progress: Callable[[int, float], None] = lambda step, loss: None,
) -> TrainingRecord:
    """Train a network in place, on the device where its parameters are, and leave it in evaluation mode.

    batches     the number of a step -> what `loss` takes, on the CPU; the same for the same number
    loss        (model, batch on the device) -> a scalar with gradients
    checkpoint  file to go on from, where it is there, and to write after every `every` steps and after the last; a
                finished one trains no step.  None: no file
    about       what else decides the result (data, architecture): a checkpoint of another text is refused
    progress    called after every step with the number of steps done and the loss

    Raises ParameterError, naming the step and what to change, where the loss or the gradient is no finite number (the
    checkpoint before it stays), and where a checkpoint is of another training; DataError where it cannot be read or
    written.
    """
    if every < 1:
        raise ParameterError(f"a checkpoint is written every 1 or more steps, got {every}")
    device = next(model.parameters()).device
    optimizer = _optimizer(model, schedule)
    # what must agree for the same bytes; the shapes of the network are checked when it is filled
    identity = {"schedule": asdict(schedule), "about": about, "device": device.type, "torch": torch.__version__,
                "threads": torch.get_num_threads()}  # fmt: skip
    losses, before = _resumed(checkpoint, model, optimizer, identity)
    since = time.perf_counter()

    def seconds() -> float:
        return before + time.perf_counter() - since

    with _repeatable(device):
        for step in range(len(losses), schedule.steps):
            model.train()
            torch.manual_seed(int(rng_for(schedule.seed, f"step {step}", "training").integers(1 << 62)))
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate_at(step)
            optimizer.zero_grad(set_to_none=True)
            half = torch.autocast(device.type, torch.bfloat16, enabled=schedule.precision == "bfloat16")
            with half:
                value = loss(model, batches(step).to(device))
            _check_finite(value, "loss", step, schedule)
            value.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), schedule.largest_gradient)
            _check_finite(norm, "gradient", step, schedule)
            optimizer.step()
            losses.append(float(value.detach()))
            if checkpoint and ((step + 1) % every == 0 or step + 1 == schedule.steps):
                _save(checkpoint, model, optimizer, {**identity, "losses": losses, "seconds": round(seconds(), 3)})
            progress(step + 1, losses[-1])
    model.eval()
    return TrainingRecord(tuple(losses), seconds(), torch.get_num_threads(), str(device), torch.__version__)


def held_still(network: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return what a network makes of its input, through which gradients reach the input and none of the weights."""
    weights = {name: parameter.detach() for name, parameter in network.named_parameters()}
    return torch.func.functional_call(network, weights, (images,))


def _optimizer(model: torch.nn.Module, schedule: Schedule) -> torch.optim.AdamW:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.ndim >= 2], "weight_decay": schedule.decay},
        {"params": [parameter for parameter in trained if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=schedule.rate)


def _check_finite(value: torch.Tensor, what: str, step: int, schedule: Schedule) -> None:
    found = float(value.detach())
    if not math.isfinite(found):
        fix = f"lower the rate ({schedule.rate:g})"
        fix += ", take precision float32" if schedule.precision != "float32" else ", or look for pixels outside 0..1"
        raise ParameterError(f"training stopped at step {step}: the {what} is {found}; {fix}")


@contextlib.contextmanager
def _repeatable(device: torch.device) -> Iterator[None]:
    """Have torch take deterministic algorithms and leave its generators and switches as they were."""
    cuda = [device] if device.type == "cuda" else []
    strict, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=bool(cuda))
    try:
        with torch.random.fork_rng(devices=cuda), torch.backends.cudnn.flags(benchmark=False, deterministic=True):
            yield
    finally:
        torch.use_deterministic_algorithms(strict, warn_only=warns)


# --- checkpoints -----------------------------------------------------------------------------------------------------


def _save(path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, header: dict[str, Any]) -> None:
    states = optimizer.state_dict()["state"]
    tensors = {f"model.{name}": _alone(tensor) for name, tensor in model.state_dict().items()}
    for k, state in states.items():
        tensors |= {f"optimizer.{k}.{name}": _alone(tensor) for name, tensor in state.items()}
    text = json.dumps(header, sort_keys=True)
    write_atomic(path, lambda temporary: save_file(tensors, temporary, metadata={_HEADER: text}))


def _alone(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy on the CPU that shares no memory: safetensors refuses tied weights and other strides."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _resumed(
    path: Path | None, model: torch.nn.Module, optimizer: torch.optim.Optimizer, identity: dict[str, Any]
) -> tuple[list[float], float]:
    """Fill the network and the optimiser from a checkpoint that is there; return its losses and seconds."""
    if path is None or not path.exists():
        return [], 0.0
    header, tensors = _read(path)
    for name, wanted in identity.items():
        if header.get(name) != wanted:
            raise ParameterError(f"{path} is the checkpoint of another training ({name} {header.get(name)!r}, now "
                                 f"{wanted!r}); set these alike or give another folder")  # fmt: skip
    held: dict[int, dict[str, torch.Tensor]] = {}
    filled = {}
    try:
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "model":
                filled[rest] = tensor
            else:
                number, _, key = rest.partition(".")
                held.setdefault(int(number), {})[key] = tensor
        model.load_state_dict(filled)
        optimizer.load_state_dict({"state": held, "param_groups": optimizer.state_dict()["param_groups"]})
        return [float(value) for value in header["losses"]], float(header["seconds"])
    except (RuntimeError, ValueError, KeyError, TypeError) as error:  # other tensors than this network has
        raise _not_of_this(path, error) from None


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})[_HEADER])
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # safetensors' own class, a file without our header, an unreadable one
        raise _not_of_this(path, error) from None


def _not_of_this(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: not a checkpoint of this training ({' '.join(str(error).split())[:200]}); remove it or "
                     "give another folder")  # fmt: skip
