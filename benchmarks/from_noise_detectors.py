"""The detectors of benchmarks/from_noise.py: train on one generator, test on all, and two remedies with a few samples.

    logreg, hist_gb  heads on fdetect's features of the preset `standard`, of the whole 64 x 64 picture as it is
    thumbnail        logistic regression on the means over cells of 8 x 8 px: what the content alone gives away
    cnn              three convolutions on differences within cells of 2 x 2 px, trained by fdetect's loop

Remedies for a generator that was not trained on, with its first FEW samples: the head alone is fitted again, on these
samples and the same reals (of `cnn`, logistic regression on the body as trained on the old generator); or all is
trained again on the mix, where old and new fakes weigh the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from fdetect.classifiers import fit_head, head
from fdetect.features import feature_tasks, select_features
from fdetect.metrics import GroupWeights, TrialSample, evaluate, group_weights, interval
from fdetect.nets.training import Schedule, train
from fdetect.perturb import rng_for
from fdetect.types import Batch, Facts

DETECTORS = ("logreg", "hist_gb", "cnn", "thumbnail")
FEW = 50
STEPS, HALF_BATCH = 300, 16
Scorer = Callable[[np.ndarray], np.ndarray]  # pictures (N, 64, 64, 3) uint8, or what stands for them -> (N,) scores


def experiment(
    reals: np.ndarray, groups: np.ndarray, held: np.ndarray, fakes: dict[str, np.ndarray], *, seeds: int
) -> dict[str, Any]:
    """Return the matrix and the remedies of every detector: AUROC with 95 % intervals by a bootstrap of groups."""
    half = min(len(one) for one in fakes.values()) // 2
    weights = group_weights([*groups[held], *(f"sample {k}" for k in range(half, 2 * half))])
    found: dict[str, Any] = {"matrix": {}, "remedies": {}}
    features, thumbnails, pictures = (
        {"real": of(reals), **{name: of(one) for name, one in fakes.items()}}
        for of in (standard_features, thumbnail, lambda pixels: pixels)
    )
    detectors: dict[str, tuple[dict[str, np.ndarray], Any, Any, int]] = {
        "logreg": (features, fitted("logreg"), refitted("logreg"), 1),
        "hist_gb": (features, fitted("hist_gb"), refitted("hist_gb"), 1),
        "thumbnail": (thumbnails, fitted("logreg"), None, 1),
        "cnn": (pictures, convolutional, head_alone, seeds),
    }
    for name, (of, learn, learn_head, trials) in detectors.items():
        cell = Cells(of["real"][held], groups[held], {g: of[g][half : 2 * half] for g in fakes}, weights, half)
        real = of["real"][~held]
        first = {g: [learn(real, [of[g][:half]], seed) for seed in range(trials)] for g in fakes}
        found["matrix"][name] = {g: {h: cell.auroc(first[g], h) for h in fakes} for g in fakes}
        if learn_head is None:  # a measure of the content, which no remedy is for
            continue
        found["remedies"][name] = []
        for old in fakes:
            for new in (g for g in fakes if g != old):
                few = of[new][:FEW]
                steps = {
                    "before": first[old],
                    "head": [learn_head(one, real, few) for one in first[old]],
                    "mix": [learn(real, [of[old][:half], few], seed) for seed in range(trials)],
                }
                cells = {key: {"old": cell.auroc(one, old), "new": cell.auroc(one, new)} for key, one in steps.items()}
                found["remedies"][name].append({"old": old, "new": new, **cells})
    return found


class Cells:
    """The test: reals with their groups and, of each generator, fakes that no detector was trained on."""

    def __init__(
        self, reals: np.ndarray, groups: np.ndarray, fakes: dict[str, np.ndarray], weights: GroupWeights, first: int
    ) -> None:
        self.reals, self.fakes, self.weights = reals, fakes, weights
        samples = {name: [f"sample {first + k}" for k in range(len(one))] for name, one in fakes.items()}
        self.groups = {name: np.array([*groups, *numbered]) for name, numbered in samples.items()}

    def auroc(self, scorers: list[Scorer], name: str) -> dict[str, Any]:
        """Return the AUROC over trainings (pairs within each), its interval, and that of each training."""
        fakes = self.fakes[name]
        label = np.r_[np.zeros(len(self.reals), int), np.ones(len(fakes), int)]
        nothing = np.full(len(label), np.nan)
        trials = [
            TrialSample(label, np.r_[scorer(self.reals), scorer(fakes)], nothing, nothing, self.groups[name])
            for scorer in scorers
        ]
        whole = evaluate(trials, ["auroc"], self.weights)["auroc"]
        low, high = interval(whole.replicates)
        single = group_weights(self.weights.groups, replicates=0)
        each = [evaluate([trial], ["auroc"], single)["auroc"].value for trial in trials]
        return {"auroc": whole.value, "low": low, "high": high, "each": each}


# --- heads on numbers ------------------------------------------------------------------------------------------------


def standard_features(pixels: np.ndarray) -> np.ndarray:
    """(N, 64, 64, 3) uint8 -> (N, D) float32; of the whole picture, at no other size and after no encoding."""
    tasks, found = feature_tasks(select_features("standard"), crop=64), []
    for start in range(0, len(pixels), 50):
        some = pixels[start : start + 50]
        batch = Batch(tuple(f"{k:032x}" for k in range(len(some))), some, (Facts("PNG", 64, 64, 0),) * len(some))
        found.append(np.hstack([task(batch) for task in tasks]))
    return np.vstack(found)


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """(N, 64, 64, 3) uint8 -> (N, 192) float32, means over cells of 8 x 8 px."""
    means = pixels.reshape(-1, 8, 8, 8, 8, 3).mean(axis=(2, 4), dtype=np.float64)
    return means.reshape(len(pixels), -1).astype(np.float32)


def fitted(name: str) -> Callable[[np.ndarray, list[np.ndarray], int], Scorer]:
    """Return what fits a head on reals and one or several sets of fakes that weigh the same."""

    def learn(real: np.ndarray, fakes: list[np.ndarray], seed: int) -> Scorer:
        most = max(len(one) for one in fakes)
        alike = [one[np.arange(most) % len(one)] for one in fakes]
        values = np.concatenate([real, *alike])
        label = np.r_[np.zeros(len(real), int), np.ones(len(values) - len(real), int)]
        return fit_head(head.get(name), tuple(map(str, range(values.shape[1]))), values, label).score

    return learn


def refitted(name: str) -> Callable[[Scorer, np.ndarray, np.ndarray], Scorer]:
    """Return what fits the head alone: here the features are the body, and the old head is forgotten."""
    return lambda old, real, few: fitted(name)(real, [few], 0)


# --- a small network -------------------------------------------------------------------------------------------------


class Small(nn.Module):
    """Differences of each pixel to the first of its cell of 2 x 2, three convolutions, means over positions, a head.

    The first layer is that of Tan et al. 2024, "Rethinking the up-sampling operations", arXiv 2312.10461, equation 4.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in ((3, 16), (16, 32), (32, 32)))
        self.head = nn.Linear(32, 1)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, 64, 64) RGB 0..1 -> (B, 32)."""
        first = x[..., ::2, ::2].repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)
        x = 10 * (x - first)  # neighbours differ by about a tenth of the range
        for layer in self.body:
            x = functional.relu(layer(x))
        return x.mean(dim=(2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, 64, 64) RGB 0..1 -> (B,) logits, larger for generated."""
        return self.head(self.embed(x))[:, 0]


class Network:
    """A trained network as a scorer; `embed` is its body."""

    def __init__(self, model: Small) -> None:
        self.model = model

    @torch.inference_mode()
    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """(N, 64, 64, 3) uint8 -> (N,) logits."""
        return self.model(planes(pixels)).double().numpy()

    @torch.inference_mode()
    def embed(self, pixels: np.ndarray) -> np.ndarray:
        """(N, 64, 64, 3) uint8 -> (N, 32) float32."""
        return self.model.embed(planes(pixels)).numpy()


def convolutional(real: np.ndarray, fakes: list[np.ndarray], seed: int) -> Network:
    """Train a network: half of a batch is real, and of the other half every set of fakes has its share."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Small()

    def batches(step: int) -> torch.Tensor:
        rng = rng_for(seed, f"step {step}", "small-detector")
        share = HALF_BATCH // len(fakes)
        drawn = [real[rng.integers(0, len(real), HALF_BATCH)]]
        drawn += [one[rng.integers(0, len(one), share)] for one in fakes]
        return planes(np.concatenate(drawn))

    def loss(model: Small, images: torch.Tensor) -> torch.Tensor:
        label = torch.arange(len(images)) >= HALF_BATCH
        return functional.binary_cross_entropy_with_logits(model(images), label.float())

    train(model, batches, loss, schedule=Schedule(steps=STEPS, batch=2 * HALF_BATCH, rate=2e-3, seed=seed))
    return Network(model)


def head_alone(old: Network, real: np.ndarray, few: np.ndarray) -> Scorer:
    """Fit logistic regression on the old network's body."""
    score = fitted("logreg")(old.embed(real), [old.embed(few)], 0)
    return lambda pixels: score(old.embed(pixels))


def planes(pixels: np.ndarray) -> torch.Tensor:
    """(N, 64, 64, 3) uint8 -> (N, 3, 64, 64) float32 in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).float() / 255
