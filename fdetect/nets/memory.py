"""How a network is run: in chunks that fit into the device's memory, and in a float32 that is float32."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from fdetect.errors import ImageTooLarge

__all__ = ["exact_float32", "in_chunks", "memory_is_out", "room"]

_PROBE = 8  # images of the first chunk on a CUDA device, which shows what one image costs
_LARGEST = 512  # more images at once keep no device busier
_ON_CPU = 8  # a chunk of 32 leaves the caches: ViT-S/14 took 1.3 (float32) to 1.6 (bfloat16) times as long an image
_SPARE = 0.2  # of the free memory: fragments, and workspaces that grow with the chunk
_costs: dict[tuple[str, str, tuple[int, ...], torch.dtype], float] = {}  # bytes an image, by key, device and shape


def in_chunks(
    run: Callable[[torch.Tensor], torch.Tensor],
    images: torch.Tensor,
    *,
    device: str,
    chunk: int | None = None,
    key: str = "",
) -> torch.Tensor:
    """Return run(images) computed chunk by chunk: (B, ...) -> (B, ...), joined along the first axis.

    run     moves its chunk to the device and its result to where all results are to be kept
    device  where `run` computes, "cpu" or "cuda"
    chunk   images at once; None takes 8 on a CPU and on CUDA as many as fit: a first chunk of 8 shows the peak of
            bytes an image, a fifth of the free memory stays spare, and 512 is the most
    key     names what runs (weights, precision), so that the next call with images of the same shape need not measure
            again; empty measures in every call

    A chunk that runs out of memory is halved and tried again, and the smaller size is kept to the end; an empty batch
    goes to `run` as it is.  Raises ImageTooLarge where a single image does not fit.
    """
    measured = (key, device, tuple(images.shape[1:]), images.dtype)
    cuda = torch.device(device).type == "cuda"
    probing = chunk is None and cuda and measured not in _costs and len(images) > _PROBE
    if chunk is not None:
        size = chunk
    elif not cuda:
        size = _ON_CPU
    else:
        size = _fitting(device, _costs[measured]) if measured in _costs else _PROBE
    results: list[torch.Tensor] = []
    done = 0
    while done < len(images) or not results:
        part = images[done : done + size]
        if probing:
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
        result = _tried(run, part)
        if result is None:
            if len(part) <= 1:
                raise ImageTooLarge(_too_large(images, device))
            size = len(part) // 2
            if cuda:
                torch.cuda.empty_cache()
            continue
        results.append(result)
        done += len(part)
        if probing:
            cost = (torch.cuda.max_memory_allocated(device) - before) / len(part)
            probing, size = False, min(size, _fitting(device, cost)) if size < _PROBE else _fitting(device, cost)
            if key:
                _costs[measured] = cost
    return results[0] if len(results) == 1 else torch.cat(results)


def room(device: str, held: int) -> int:
    """Return the bytes that could be kept on a device: physical memory, or on CUDA what is free, and `held`."""
    if torch.device(device).type == "cuda":
        return _free(device) + held
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@contextmanager
def exact_float32() -> Iterator[None]:
    """Keep float32 convolutions and products out of TF32, which cuDNN uses by default, and algorithms fixed."""
    matmul = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = matmul


def _tried(run: Callable[[torch.Tensor], torch.Tensor], part: torch.Tensor) -> torch.Tensor | None:
    """Return run(part), or None where memory ran out: by then nothing holds the tensors of the failed attempt."""
    try:
        return run(part)
    except (RuntimeError, MemoryError) as error:
        if not memory_is_out(error):
            raise
        return None


def memory_is_out(error: Exception) -> bool:
    """Whether an error says that memory ran out: the CPU's allocator, and some calls of CUDA, have no class for it."""
    said = any(words in str(error) for words in ("out of memory", "can't allocate memory"))
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or said


def _fitting(device: str, bytes_per_image: float) -> int:
    """Return how many images fit into what is free now, between 1 and 512."""
    return max(1, min(_LARGEST, int((1 - _SPARE) * _free(device) / max(bytes_per_image, 1))))


def _free(device: str) -> int:
    """Return the bytes of a CUDA device that are free now, those that torch holds back for itself included."""
    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def _too_large(images: torch.Tensor, device: str) -> str:
    shape = " x ".join(str(side) for side in images.shape[1:])
    fix = "take smaller images" + ("" if device == "cpu" else " or --backend cpu")
    return f"a single image of {shape} does not fit into the memory of {device}; {fix}"
