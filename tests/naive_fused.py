"""The fused detector's formula, row by row and number by number, in float64; imports nothing from fdetect."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def branch(net: Any, row: Sequence[float], clip: float) -> tuple[float, float]:
    """Logit and novelty of one row of columns."""
    z = []
    for x, mean, scale in zip(row, net.mean, net.scale, strict=True):
        z.append(min(max((float(x) - float(mean)) * float(scale), -clip), clip))
    logit = float(net.bias[0]) + sum(one * float(w) for one, w in zip(z, net.weight, strict=True))
    for k in range(len(net.out)):
        inner = float(net.hidden_bias[k]) + sum(one * float(net.hidden[j][k]) for j, one in enumerate(z))
        logit += math.tanh(inner) * float(net.out[k])
    squares = [one * one for one, scale in zip(z, net.scale, strict=True) if scale != 0]
    mean_square = sum(squares) / len(squares) if squares else 0.0
    return logit, math.log((1 + mean_square) / 2)


def fused(
    nets: Mapping[str, Any], gate: Any, rows: Mapping[str, Sequence[float]], clips: Mapping[str, float],
    of_heads: Mapping[str, float] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Score, calibrated logits, shares and contributions of one image; `rows` holds the branches that it has.

    Where a head gives a branch its logit, that is among `of_heads`.
    """
    own, raw = {}, {}
    for k, name in enumerate(sorted(nets)):
        if name not in rows or not all(math.isfinite(x) for x in rows[name]):
            continue
        logit, novelty = branch(nets[name], rows[name], clips[name])
        logit = (of_heads or {}).get(name, logit)
        own[name] = math.exp(float(gate.log_slope[k])) * logit + float(gate.offset[k])
        sure = math.tanh(abs(own[name]) / 2)
        raw[name] = float(gate.base[k]) + float(gate.novelty[k]) * novelty + float(gate.sureness[k]) * sure
    if not own:
        return {"score": math.nan, "own": {}, "share": {}, "parts": {}}
    total = sum(math.exp(one) for one in raw.values())
    share = {name: math.exp(one) / total for name, one in raw.items()}
    scale = (1 / sum(one**2 for one in share.values())) ** float(gate.spread[0])
    parts = {name: scale * share[name] * own[name] for name in own}
    return {"score": sum(parts.values()), "own": own, "share": share, "parts": parts}
