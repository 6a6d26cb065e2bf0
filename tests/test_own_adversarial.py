"""`adversarial`: the critic against a plain reference, whose gradients go where, when it begins, what is stored."""

from __future__ import annotations

import hashlib
from pathlib import Path

import naive_own as naive
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'deep' is not installed")

from test_own_autoencoders import close, doubles, pictures, put  # noqa: E402

from fdetect.errors import ParameterError, WeightsError  # noqa: E402
from fdetect.nets.autoencoders import load_autoencoder  # noqa: E402
from fdetect.nets.own import Adversarial, Nearest, build, training_loss  # noqa: E402
from fdetect.nets.own.blocks import reconstruction_loss  # noqa: E402
from fdetect.nets.training import Schedule, train  # noqa: E402

SIZES = {"width": 3, "latent_channels": 2, "factor": 4}


def made(**settings: object) -> torch.nn.Module:
    return build(Adversarial(**SIZES, critic_width=4, **{"begin": 0, **settings}), seed=1)


def digest(tensors: dict[str, torch.Tensor]) -> str:
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(name.encode() + tensor.numpy().tobytes())
    return found.hexdigest()


def gradients(module: torch.nn.Module) -> list[torch.Tensor | None]:
    return [parameter.grad for parameter in module.parameters()]


def test_the_critic_equals_the_naive_reference() -> None:
    model, image = made(), pictures(1, 16, 24)
    with torch.no_grad():
        for layer in model.critic.layers:
            layer.bias.normal_(generator=torch.Generator().manual_seed(2))
        close(model.critic(image)[0], naive.critic(image[0].double().numpy(), doubles(model)))


def test_a_score_is_of_a_patch_of_34_px() -> None:
    image = pictures(1, 64, 64).requires_grad_()
    scores = made().critic(image)
    assert scores.shape == (1, 1, 14, 14)
    (slope,) = torch.autograd.grad(scores[0, 0, 7, 7], image)
    rows, columns = (slope[0].abs().sum(dim=(0, axis)).nonzero()[:, 0] for axis in (2, 1))
    for reached in (rows, columns):
        assert int(reached.max() - reached.min()) + 1 == 34


def test_each_term_moves_one_side_alone() -> None:
    model, images = made(), pictures(2)
    again = (1 - pictures(2)).requires_grad_()  # of the same pictures both halves of the critic's loss would cancel
    model.displeasure(again).backward()
    assert float(again.grad.abs().max()) > 0
    assert gradients(model.critic) == [None] * 8
    again.grad = None
    model.misjudged(again, images).backward()
    assert again.grad is None
    # within the hinges the last bias is pulled as hard up as down
    assert all(float(layer.weight.grad.abs().max()) > 0 for layer in model.critic.layers)


def test_the_loss_is_the_sum_of_its_terms_and_its_gradients_are_theirs() -> None:
    model, images = made(weight=0.7), pictures(2)
    again = model(images)
    apart, displeased, misjudged = (
        reconstruction_loss(again, images), model.displeasure(again), model.misjudged(again, images)
    )  # fmt: skip
    norms = [float(torch.autograd.grad(term, again, retain_graph=True)[0].norm()) for term in (apart, displeased)]
    share = 0.7 * norms[0] / norms[1]
    (apart + share * displeased).backward()
    assert gradients(model.critic) == [None] * 8
    misjudged.backward()
    expected = gradients(model)
    model.zero_grad(set_to_none=True)
    loss = training_loss(model, images)
    assert loss.item() == pytest.approx((apart + share * displeased + misjudged).item(), rel=1e-5)
    loss.backward()
    for found, wanted in zip(gradients(model), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_known_answers_of_the_hinges() -> None:
    """Of grey, which is 0 inside, a critic says its last bias b: max(0, 1 - b) / 2 + max(0, 1 + b) / 2, and -b."""
    model, images = made(), torch.full((2, 3, 16, 16), 0.5)
    with torch.no_grad():
        for score, hinges in ((0.0, 1.0), (0.5, 1.0), (3.0, 2.0)):
            model.critic.layers[-1].bias.fill_(score)
            assert float(model.misjudged(images, images)) == pytest.approx(hinges)
            assert float(model.displeasure(images)) == pytest.approx(-score)


def test_a_critic_learns_to_tell() -> None:
    model, images = made(), pictures(4)
    flat = images.mean(dim=(2, 3), keepdim=True).expand_as(images)
    optimiser = torch.optim.AdamW(model.critic.parameters(), lr=0.01)
    for _ in range(60):
        loss = model.misjudged(flat, images)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        assert float(model.critic(images).min()) > float(model.critic(flat).max())


def learn(model: torch.nn.Module, steps: int = 12, **settings: object) -> torch.nn.Module:
    def batches(step: int) -> torch.Tensor:
        return torch.rand((2, 3, 16, 16), generator=torch.Generator().manual_seed(step))

    train(model, batches, training_loss, schedule=Schedule(steps=steps, batch=2), every=4, **settings)  # type: ignore[arg-type]
    return model


def test_before_it_begins_the_training_is_that_of_nearest() -> None:
    nearest = learn(build(Nearest(**SIZES), seed=1)).stored()
    assert digest(learn(made(begin=12)).stored()) == digest(nearest)
    assert digest(learn(made(begin=11)).stored()) != digest(nearest)


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("stop", [4, 8])
def test_a_stopped_training_begins_with_the_critic_where_it_would_have(stop: int, tmp_path: Path) -> None:
    whole = learn(made(begin=6))
    assert int(whole.critic.steps) == 12

    def progress(done: int, loss: float) -> None:
        if done == stop + 1:
            raise StoppedError

    file = tmp_path / "checkpoint.safetensors"
    with pytest.raises(StoppedError):
        learn(made(begin=6), checkpoint=file, progress=progress)
    again = learn(made(begin=6), checkpoint=file)
    assert digest(again.state_dict()) == digest(whole.state_dict())


def test_examples_that_are_too_small_are_refused_from_the_first_step() -> None:
    with pytest.raises(ParameterError, match="adversarial is trained on sides of at least 12 px; got 8 x 24"):
        training_loss(made(begin=100), pictures(1, 8, 24))
    assert torch.isfinite(training_loss(made(), pictures(1, 12, 12)))


def test_only_training_counts_steps() -> None:
    model = made()
    training_loss(model, pictures(2))
    model.eval()
    training_loss(model, pictures(2))
    assert int(model.critic.steps) == 1


def test_the_critic_is_neither_stored_nor_loaded(tmp_path: Path) -> None:
    model = made()
    folder = put(tmp_path / "mine", model)
    loaded = load_autoencoder(str(folder), device="cpu").model
    assert set(loaded.state_dict()) == set(model.config.model().state_dict())
    assert not [name for name in loaded.state_dict() if "critic" in name]
    assert len(model.state_dict()) == len(model.stored()) + 9  # four convolutions and the count
    with torch.no_grad():
        assert np.allclose(loaded(pictures(1)), model(pictures(1)), atol=0.02)  # float16 weights

    class Whole(type(model)):  # type: ignore[misc]
        def stored(self) -> dict[str, torch.Tensor]:
            return dict(self.state_dict())

    model.__class__ = Whole
    with pytest.raises(WeightsError, match="it has no place for critic.layers.0.bias, critic.layers.0.weight, critic"):
        load_autoencoder(str(put(tmp_path / "whole", model)), device="cpu")
