"""Gated fusion of branches, written once for NumPy and torch, and how its parameters are fitted (torch, on the CPU).

A branch is one vector of columns an image; it may be absent.  Of the columns x of branch b

    z = clip((x - mean) * scale, -clip, clip)                                      standardised, constant columns 0
    l_b = z . weight + bias + tanh(z hidden + hidden_bias) . out                   the branch's own logit
    h_b = log((1 + mean of z^2 over columns that are not constant) / 2)            how far x is from what was fitted
    m_b = slope_b l_b + offset_b                                                   calibrated, slope_b > 0
    g_b = base_b + novelty_b h_b + sureness_b tanh(|m_b| / 2)                      the gate
    p   = softmax of g over the branches that are present
    s   = (1 / sum p_b^2) ^ spread                                                 effective number of branches
    fused logit = s sum over present b of p_b m_b

One branch alone has p = 1 and s = 1, so its fused logit is its own calibrated one; `spread` says how far branches that
agree support each other (0 = they say the same, 1 = they are independent).  Logits are of balanced classes.

Source: gates as in Jacobs, Jordan, Nowlan and Hinton 1991, "Adaptive mixtures of local experts", equation 1.2, here on
few inputs; branches dropped as in Neverova et al. 2016, "ModDrop" (10.1109/TPAMI.2015.2461544), section 4, but in exact
expectation; gates fitted out of fold as in Wolpert 1992, "Stacked generalization".
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from fdetect.backend import namespace
from fdetect.nets.threads import one_thread
from fdetect.perturb import rng_for
from fdetect.types import Array

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

__all__ = ["BranchNet", "Fused", "GateNet", "evidence", "fit_branch", "fit_gates", "fuse", "start_branch",
           "start_gates"]  # fmt: skip

_CONSTANT = 1e-6  # a deviation below this share of the column's size is rounding
_MOST_SUBSETS = 63  # all of up to six branches
_STEPS = 300


@dataclass(frozen=True, eq=False)
class BranchNet:
    """The parameters of a branch of D columns with H hidden units (0: linear), arrays of NumPy or torch."""

    mean: Array  # (D,)
    scale: Array  # (D,) 1 / standard deviation, 0 where a column is constant
    weight: Array  # (D,)
    bias: Array  # (1,)
    hidden: Array  # (D, H)
    hidden_bias: Array  # (H,)
    out: Array  # (H,)


@dataclass(frozen=True, eq=False)
class GateNet:
    """The parameters of the gates of B branches, each (B,), and `spread` (1,); arrays of NumPy or torch."""

    log_slope: Array
    offset: Array
    base: Array
    novelty: Array
    sureness: Array
    spread: Array


def evidence(net: BranchNet, values: Array, clip: float) -> tuple[Array, Array]:
    """(N, D) finite columns -> logits l (N,) and novelty h (N,), in the dtype of the values."""
    xp, z = namespace(values), _standardised(net, values, clip)
    live = max(int((net.scale != 0).sum()), 1)
    return _logit(net, z), xp.log((1.0 + xp.sum(z * z, axis=1) / live) / 2.0)


def _standardised(net: BranchNet, values: Array, clip: float) -> Array:
    return namespace(values).clip((values - net.mean) * net.scale, -clip, clip)


def _logit(net: BranchNet, z: Array) -> Array:
    return z @ net.weight + net.bias + namespace(z).tanh(z @ net.hidden + net.hidden_bias) @ net.out


@dataclass(frozen=True, eq=False)
class Fused:
    """Branches fused: the logit (...), calibrated logits m and shares p (..., B), and the scale s (..., 1)."""

    logit: Array
    own: Array
    share: Array
    scale: Array


def fuse(gate: GateNet, logit: Array, novelty: Array, present: Array) -> Fused:
    """Fuse branches: (..., B) l and h, with any finite value where `present` (..., B; 0.0 or 1.0) is 0.

    Where no branch is present, the logit and all shares are 0.
    """
    xp = namespace(logit)
    own = xp.exp(gate.log_slope) * logit + gate.offset
    raw = gate.base + gate.novelty * novelty + gate.sureness * xp.tanh(abs(own) / 2.0)
    highest = xp.max(xp.where(present > 0, raw, -xp.inf), axis=-1, keepdims=True)
    highest = xp.where(xp.isfinite(highest), highest, 0.0)
    share = xp.exp(xp.where(present > 0, raw - highest, 0.0)) * present
    share = share / xp.clip(xp.sum(share, axis=-1, keepdims=True), 1e-300, None)
    effective = 1.0 / xp.clip(xp.sum(share * share, axis=-1, keepdims=True), 1e-300, None)
    effective = xp.where(xp.max(present, axis=-1, keepdims=True) > 0, effective, 1.0)
    scale = effective**gate.spread
    return Fused(xp.sum(scale * share * own, axis=-1), own, share, scale)


# --- fitting, on NumPy float64 in and out ---------------------------------------------------------------------------


def start_branch(values: np.ndarray, *, hidden: int = 0, anchor: int | None = None, seed: int = 0) -> BranchNet:
    """Return the branch from which fitting starts: (N, D) finite float64 columns give mean and scale.

    Its logit is 0, or, with an anchor, that column as it is, which is then a logit already.  The seed fills the hidden
    units' incoming weights (normal, variance 1 / D).
    """
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    varies = deviation > _CONSTANT * np.maximum(abs(values).max(axis=0, initial=0.0), 1e-30)
    scale = np.where(varies, 1.0 / np.where(varies, deviation, 1.0), 0.0)
    width = values.shape[1]
    weight, bias = np.zeros(width), np.zeros(1)
    if anchor is not None:
        weight[anchor], bias[0] = (deviation[anchor], mean[anchor]) if varies[anchor] else (0.0, 0.0)
    drawn = rng_for(seed, f"{width}x{hidden}", "fusion branch").normal(size=(width, hidden)) / np.sqrt(max(width, 1))
    return BranchNet(mean, scale, weight, bias, drawn, np.zeros(hidden), np.zeros(hidden))


def start_gates(branches: int) -> GateNet:
    """Return gates that trust every branch alike and take its logit as it is."""
    zero = np.zeros(branches)
    return GateNet(zero, zero, zero, zero, zero, np.zeros(1))


@one_thread()
def fit_branch(
    start: BranchNet, values: np.ndarray, label: np.ndarray, weight: np.ndarray, *, decay: float, clip: float,
    last: bool = False,
) -> BranchNet:  # fmt: skip
    """Fit a branch on (N, D) finite columns, (N,) labels and row weights that sum to 1; mean and scale stay.

        minimise  sum_i weight_i BCE(l_i, y_i) + decay / 2 |theta - theta_start|^2

    over theta = weight, hidden and out; biases are free.  `last` keeps the hidden units as they are.  Without hidden
    units the problem is convex, and with `decay` = 1 / (C N) it is the logistic regression of scikit-learn's C.
    """
    import torch

    z = _tensor(_standardised(start, values, clip))
    y, v = _tensor(label), _tensor(weight)
    still = {one.name: _tensor(getattr(start, one.name)) for one in fields(start)}
    free = ("weight", "bias", "out") if last else ("weight", "bias", "out", "hidden", "hidden_bias")
    origin = {name: still.pop(name) for name in free}
    # in steps of the inverse root of a bound on the linear part's curvature, columns that go together are no valley
    bound = z.T @ (z * (v / 4)[:, None]) + decay * torch.eye(z.shape[1], dtype=torch.float64)
    root = torch.linalg.cholesky(bound).T

    def placed(theta: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        moved = torch.linalg.solve_triangular(root, theta["weight"][:, None], upper=True)[:, 0]
        return theta | {"weight": origin["weight"] + moved}

    def loss(theta: dict[str, torch.Tensor]) -> torch.Tensor:
        here = placed(theta)
        moved = sum(((here[name] - origin[name]) ** 2).sum() for name in ("weight", "hidden", "out") if name in here)
        return (v * _cross_entropy(_logit(BranchNet(**still, **here), z), y)).sum() + decay / 2 * moved

    begin = origin | {"weight": torch.zeros_like(origin["weight"])}
    if start.out.size and not start.out.any():  # hidden units that lead nowhere learn nothing: let out begin off 0
        begin["out"] = torch.full_like(origin["out"], 0.1)
        begin["out"][1::2] *= -1
    found = placed(_minimised(loss, begin))
    return replace(start, **{name: value.numpy() for name, value in found.items()})


@one_thread()
def fit_gates(
    start: GateNet, logit: np.ndarray, novelty: np.ndarray, present: np.ndarray, label: np.ndarray, weight: np.ndarray,
    *, drop: float, branch_share: float, decay: float, input_decay: float, seed: int = 0,
) -> GateNet:  # fmt: skip
    """Fit slopes, offsets and gates on (N, B) logits and novelties that no branch was fitted on; weights sum to 1.

        minimise  E over subsets [sum_i v_i BCE(fused_i, y_i)] + branch_share mean over b [sum_i v_i BCE(m_ib, y_i)]
                  + |theta - theta_start|^2 / 2 x (decay; input_decay for novelty, sureness and spread; offsets free)

    Each branch is left out with probability `drop`, never all.  Up to six branches all subsets are taken with their
    probability, so that nothing is drawn; of more, the whole, each one alone, and others by the seed, all alike.
    A subset is fitted on the rows that have all of its branches, their weights v scaled so that either class has half
    again: so that it tells nothing which branches an image lacks.  One in which a class is empty teaches nothing.
    """
    kept, chance = _subsets(logit.shape[1], drop, seed)
    whole = (kept[:, None, :] <= present[None]).all(axis=-1)  # (S, N)
    rows, usable = _halves(whole * weight, label)
    chance = chance * usable
    rows = rows * (chance / max(chance.sum(), 1e-300))[:, None]
    alone = _halves((present * weight[:, None]).T, label)[0].T * (branch_share / logit.shape[1])
    filled = (_tensor(np.where(present > 0, one, 0.0)) for one in (logit, novelty))
    l, h = (one.expand(len(kept), -1, -1) for one in filled)  # noqa: E741 (the symbol of the formula)
    kept_t, rows_t, alone_t, y = (_tensor(one) for one in (kept[:, None, :], rows, alone, label))
    origin = {one.name: _tensor(getattr(start, one.name)) for one in fields(GateNet)}
    cost = {"log_slope": decay, "offset": 0.0, "base": decay, "spread": input_decay, "novelty": input_decay,
            "sureness": input_decay}  # fmt: skip

    def loss(theta: dict[str, torch.Tensor]) -> torch.Tensor:
        fused = fuse(GateNet(**theta), l, h, kept_t)
        value = (rows_t * _cross_entropy(fused.logit, y)).sum()
        value = value + (alone_t * _cross_entropy(fused.own[0], y[:, None])).sum()
        moved = sum(cost[name] * ((theta[name] - origin[name]) ** 2).sum() for name in theta)
        return value + moved / 2

    return replace(start, **{name: value.numpy() for name, value in _minimised(loss, origin).items()})


def _subsets(branches: int, drop: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Subsets of branches that are kept, (S, B) of 0.0 and 1.0, and their probabilities (S,), which sum to 1."""
    if 2**branches - 1 <= _MOST_SUBSETS:
        kept = np.array([one for one in itertools.product((0.0, 1.0), repeat=branches) if any(one)])
        chance = np.prod(np.where(kept > 0, 1.0 - drop, drop), axis=1)
    else:
        drawn = rng_for(seed, str(branches), "fusion subsets").random((_MOST_SUBSETS, branches)) >= drop
        kept = np.concatenate([np.ones((1, branches)), np.eye(branches), drawn[drawn.any(axis=1)]])
        chance = np.ones(len(kept))
    return kept, chance / chance.sum()


def _halves(weight: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(S, N) weights -> the same with half the sum for either class, and (S,) whether both have any; else all 0."""
    fakes, reals = (np.where(label == k, weight, 0.0) for k in (1, 0))
    sums = [one.sum(axis=1, keepdims=True) for one in (fakes, reals)]
    both = (sums[0] > 0) & (sums[1] > 0)
    scaled = sum(one / np.where(both, 2.0 * total, np.inf) for one, total in zip((fakes, reals), sums, strict=True))
    return np.asarray(scaled), both[:, 0].astype(np.float64)


def _cross_entropy(logit: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.nn.functional.softplus(torch.where(label > 0, -logit, logit))


def _tensor(array: np.ndarray) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.array(array, dtype=np.float64))


def _minimised(
    loss: Callable[[dict[str, torch.Tensor]], torch.Tensor], begin: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return the parameters at a minimum, by full-batch L-BFGS on torch's gradients: nothing is drawn.

    Source: SciPy `minimize(method="L-BFGS-B")`; torch.optim's own would first load torch's compiler, for seconds.
    """
    import torch
    from scipy.optimize import minimize

    sizes = [value.numel() for value in begin.values()]

    def split(flat: torch.Tensor) -> dict[str, torch.Tensor]:
        parts = torch.split(flat, sizes)
        return {name: part.reshape(begin[name].shape) for name, part in zip(begin, parts, strict=True)}

    def value_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        theta = _tensor(flat).requires_grad_()
        value = loss(split(theta))
        (gradient,) = torch.autograd.grad(value, theta)
        return float(value.detach()), gradient.numpy()

    first = np.concatenate([value.numpy().ravel() for value in begin.values()])
    options = {"maxcor": 20, "maxiter": _STEPS, "ftol": 1e-12, "gtol": 1e-7}
    found = minimize(value_and_gradient, first, jac=True, method="L-BFGS-B", options=options)
    return split(_tensor(found.x))
