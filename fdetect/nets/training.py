"""The training loop: every network of ours is trained by it, whatever its loss and its data.

    loss_k = loss(model, batches(k)),  k = 0 ... steps - 1;  gradients cut to a norm;  optimiser;  warm-up and decline

A step depends on the seed, its number and the state before it, and on nothing else: `batches` is a function of the
number, and torch's generator is seeded anew for each step.  So on a CPU, with one number of threads and one version of
torch, two runs give the same bytes, and so does a run that was stopped and went on from its checkpoint.  The threads
are the caller's to set (torch.set_num_threads); a sum is split by their number, so that they are recorded and a
checkpoint does not go on under another number.  On a GPU, operations that have no deterministic form are allowed.

Source: Loshchilov and Hutter, "Decoupled weight decay regularization" (ICLR 2019), Algorithms 1 and 2, for Adam with L2
and AdamW.  That training stops after a number of validations without a better one is common usage.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from fdetect.errors import ParameterError
from fdetect.nets.checkpoints import Standing, resumed, save
from fdetect.nets.schedule import Schedule, TrainingRecord
from fdetect.perturb import rng_for

__all__ = ["Schedule", "TrainingRecord", "held_still", "train"]

_BLOCK = {"cuda": 20}  # steps between two looks at losses there: each look waits for the device; elsewhere every step


def train(
    model: torch.nn.Module,
    batches: Callable[[int], Any],
    loss: Callable[[Any, Any], torch.Tensor],
    *,
    schedule: Schedule,
    validate: Callable[[Any], float] | None = None,
    validate_every: int = 100,
    patience: int = 0,
    checkpoint: Path | None = None,
    every: int = 500,
    about: str = "",
    progress: Callable[..., None] = lambda *_: None,
    deterministic: bool = True,
) -> TrainingRecord:
    """Train a network in place, on the device where its parameters are, and leave it in evaluation mode.

    batches         the number of a step -> what `loss` takes, a tensor or a tuple of them; the same for the same number
    loss            (model, batch on the device) -> a scalar with gradients
    validate        model in evaluation mode -> a number, larger = better, after every `validate_every` steps and after
                    the last; the weights of the best one are what the network has in the end.  None: those of the last
                    step
    patience        validations in a row without a better one after which the training stops; 0: it never does
    checkpoint      file to go on from, where it is there, and to write after every `every` steps and after the last; a
                    finished one trains no step.  None: no file
    about           what else decides the result (data, architecture): a checkpoint of another text is refused
    progress        called after every step with the number of steps done and the loss, with `validate` also with the
                    last validation (None before the first); on a GPU for several steps at once
    deterministic   False: on a GPU, the fastest kernels, whose results differ from run to run in their last bits

    Raises ParameterError, naming the step and what to change, where the loss, the gradient or a validation is no finite
    number (the checkpoint before it stays), and where a checkpoint is of another training; DataError where it cannot be
    read or written.
    """
    if min(every, validate_every) < 1 or patience < 0:
        raise ParameterError("checkpoints and validations come every 1 or more steps, and patience is 0 or more; got "
                             f"{every}, {validate_every}, {patience}")  # fmt: skip
    device = next(model.parameters()).device
    optimizer = _optimizer(model, schedule)
    # what must agree for the same bytes; the shapes of the network are checked when it is filled
    identity: dict[str, Any] = {"schedule": asdict(schedule), "about": about, "device": device.type,
                                "torch": torch.__version__, "threads": torch.get_num_threads()}  # fmt: skip
    if validate:
        identity["validation"] = {"every": validate_every, "patience": patience}
    if not deterministic and device.type == "cuda":
        identity["deterministic"] = False
    standing = resumed(checkpoint, model, optimizer, identity)
    start, block = time.perf_counter() - standing.seconds, _BLOCK.get(device.type, 1)
    waiting: list[tuple[torch.Tensor, torch.Tensor]] = []  # loss and norm of steps that were not looked at

    with _repeatable(device, deterministic=deterministic):
        for step in range(len(standing.losses), schedule.steps):
            if standing.stopped_early:
                break
            waiting.append(_stepped(model, optimizer, batches, loss, step, schedule, careful=block == 1))
            done, last = step + 1, step + 1 == schedule.steps
            judged, kept = validate and (done % validate_every == 0 or last), checkpoint and (done % every == 0 or last)
            if not (judged or kept or last) and len(waiting) < block:
                continue
            first = len(standing.losses)
            standing.losses += _looked_at(waiting, first, schedule)
            waiting.clear()
            if validate and judged:
                standing.validated(_validation(validate, model, done), model, patience=0 if last else patience)
            standing.seconds = time.perf_counter() - start
            if checkpoint and (kept or standing.stopped_early):
                save(checkpoint, model, optimizer, standing, identity)
            for k in range(first, done):
                progress(k + 1, standing.losses[k], *([_last(standing, k + 1)] if validate else []))
    if standing.best:
        model.load_state_dict(standing.best)
    model.eval()
    return TrainingRecord(
        tuple(standing.losses), standing.seconds, torch.get_num_threads(), str(device), torch.__version__,
        tuple(schedule.rate_at(step) for step in range(len(standing.losses))),
        tuple(standing.validations), standing.best_step, standing.stopped_early,
    )  # fmt: skip


def held_still(network: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return what a network makes of its input, through which gradients reach the input and none of the weights."""
    weights = {name: parameter.detach() for name, parameter in network.named_parameters()}
    return torch.func.functional_call(network, weights, (images,))


def _stepped(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, batches: Callable[[int], Any],
    loss: Callable[[Any, Any], torch.Tensor], step: int, schedule: Schedule, *, careful: bool,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Make one step and return its loss and the norm of its gradient; `careful`: not with one that is not finite."""
    device = next(model.parameters()).device
    model.train()
    torch.manual_seed(int(rng_for(schedule.seed, f"step {step}", "training").integers(1 << 62)))
    for group in optimizer.param_groups:
        group["lr"] = schedule.rate_at(step)
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(device.type, torch.bfloat16, enabled=schedule.precision == "bfloat16"):
        value = loss(model, _moved(batches(step), device))
    if careful:
        _check_finite(float(value.detach()), "loss", step, schedule)
    value.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), schedule.largest_gradient)
    if careful:
        _check_finite(float(norm), "gradient", step, schedule)
    optimizer.step()
    return value.detach(), norm


def _moved(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, tuple):
        return tuple(_moved(one, device) for one in batch)
    return batch.to(device, non_blocking=True)


def _looked_at(waiting: list[tuple[torch.Tensor, torch.Tensor]], first: int, schedule: Schedule) -> list[float]:
    """Return the losses of steps from `first` on, waiting for the device once."""
    pairs = torch.stack([value.double() for pair in waiting for value in pair]).reshape(-1, 2).tolist()
    for step, (value, norm) in enumerate(pairs, first):
        _check_finite(value, "loss", step, schedule)
        _check_finite(norm, "gradient", step, schedule)
    return [value for value, _ in pairs]


def _validation(validate: Callable[[Any], float], model: torch.nn.Module, done: int) -> float:
    model.eval()
    with torch.no_grad():
        found = float(validate(model))
    if not math.isfinite(found):
        raise ParameterError(f"training stopped after step {done - 1}: the validation is {found}; it takes pictures of "
                             "both classes, and scores that are finite")  # fmt: skip
    return found


def _last(standing: Standing, done: int) -> float | None:
    """Return the last validation among those after `done` steps or fewer."""
    return next((value for step, value in reversed(standing.validations) if step <= done), None)


def _optimizer(model: torch.nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in trained if parameter.ndim >= 2], "weight_decay": schedule.decay},
        {"params": [parameter for parameter in trained if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if schedule.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=schedule.rate, momentum=schedule.momentum)
    kind = torch.optim.AdamW if schedule.optimiser == "adamw" else torch.optim.Adam
    return kind(groups, lr=schedule.rate, betas=(schedule.momentum, 0.999))


def _check_finite(found: float, what: str, step: int, schedule: Schedule) -> None:
    if not math.isfinite(found):
        fix = f"lower the rate ({schedule.rate:g})"
        fix += ", take precision float32" if schedule.precision != "float32" else ", or look for pixels outside 0..1"
        raise ParameterError(f"training stopped at step {step}: the {what} is {found}; {fix}")


@contextlib.contextmanager
def _repeatable(device: torch.device, *, deterministic: bool) -> Iterator[None]:
    """Have torch take deterministic algorithms, on a GPU where they are wanted; leave its state as it was."""
    cuda = [device] if device.type == "cuda" else []
    fast = bool(cuda) and not deterministic
    strict, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(not fast, warn_only=bool(cuda))
    try:
        # the flags are named one by one, since those that are not would be switched off, cuDNN itself among them
        tf32 = torch.backends.cudnn.allow_tf32
        flags = torch.backends.cudnn.flags(enabled=True, benchmark=fast, deterministic=not fast, allow_tf32=tf32)
        with torch.random.fork_rng(devices=cuda), flags:
            yield
    finally:
        torch.use_deterministic_algorithms(strict, warn_only=warns)
