"""Published detectors as detectors of a run: from pixels to score, what a row's key holds, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import naive_encoders
import naive_published as naive
import numpy as np
import pytest

import fdetect
from fdetect.errors import ParameterError, WeightsError

torch = pytest.importorskip("torch", reason="the deep extra is not installed")
pytest.importorskip("transformers", reason="the deep extra is not installed")

import published_states as states  # noqa: E402
import tiny_encoders  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from fdetect.bench.contenders import Prepared, training_free  # noqa: E402
from fdetect.config import RunConfig, override  # noqa: E402
from fdetect.engine import Store  # noqa: E402
from fdetect.nets.encoders import load_encoder  # noqa: E402
from fdetect.nets.importing import import_weights  # noqa: E402
from fdetect.nets.pretrained import load_pretrained  # noqa: E402
from fdetect.nets.weights import weights_home  # noqa: E402
from fdetect.rigid import detector, prepare  # noqa: E402
from fdetect.rigid.base import ViewTask  # noqa: E402
from fdetect.rigid.pretrained import Pretrained  # noqa: E402

CLIP_MEAN = np.array([0.48145466, 0.4578275, 0.40821073])[:, None, None]
CLIP_STD = np.array([0.26862954, 0.26130258, 0.27577711])[:, None, None]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty weights home."""
    monkeypatch.setenv("FDETECT_WEIGHTS", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIP of images of 56 px: width 32, two blocks, embeddings of 24."""
    return tiny_encoders.save_family(tmp_path_factory.mktemp("clip") / "clip", "clip")


def imported(tmp_path: Path, state: states.State, name: str) -> None:
    torch.save(state, tmp_path / "authors.pth")
    import_weights([tmp_path / "authors.pth"], name)


def head(folder: Path, state: states.State, kind: str, encoder: Path) -> Path:
    """A head on an encoder of its own, as an import writes it."""
    folder.mkdir()
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": kind, "encoder": str(encoder)}))
    return folder


def linear(dim: int = 24) -> states.State:
    generator = torch.Generator().manual_seed(2)
    return {"weight": torch.randn(1, dim, generator=generator), "bias": torch.tensor([-0.5])}


def task_of(instance: Pretrained, *, crop: int = 64) -> ViewTask:
    (task,) = prepare(instance, device="cpu", crop=crop)
    return task


def scores(instance: Pretrained, images: list[np.ndarray], *, crop: int = 64) -> np.ndarray:
    task = task_of(instance, crop=crop)
    return instance.score(clean=task(tiny_encoders.batch_of(images, task.geometry)))


def cropped(image: np.ndarray, side: int) -> np.ndarray:
    """The centre crop on the grid of 8: (3, side, side) in 0..1."""
    top, left = ((length - side) // 2 // 8 * 8 for length in image.shape[:2])
    return image[top : top + side, left : left + side].transpose(2, 0, 1) / 255


def centred(image: np.ndarray, side: int) -> np.ndarray:
    top, left = (round((length - side) / 2) for length in image.shape[:2])
    return image[top : top + side, left : left + side].transpose(2, 0, 1) / 255


# --- from pixels to score -------------------------------------------------------------------------------------------


def test_a_network_judges_the_runs_crop(tmp_path: Path) -> None:
    state, images = states.npr(), tiny_encoders.photographs(3)
    imported(tmp_path, state, "npr")
    wanted = [naive.npr(cropped(image, 64), states.doubled(state)) for image in images]
    found = scores(Pretrained(), images)
    assert found.dtype == np.float64
    assert np.ptp(wanted) > 1e-3
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-4)


def test_a_stem_is_chosen_by_its_name_and_stands_in_key_and_card(tmp_path: Path) -> None:
    state, images = states.tiny_ladeda(), tiny_encoders.photographs(2)
    imported(tmp_path, state, "tiny-ladeda-wildrf")
    names = {}
    for stem in ("", "right_diag", "raw"):
        entry = detector.read(
            ":".join(filter(None, ("pretrained:weights=tiny-ladeda-wildrf", stem and f"stem={stem}")))
        )
        wanted = [naive.tiny_ladeda(cropped(image, 64), states.doubled(state), stem or "npr") for image in images]
        np.testing.assert_allclose(scores(entry(), images), wanted, rtol=2e-4, atol=2e-4)
        task = task_of(entry())
        names[task.name] = task.space.cards[0].name
    assert sorted(names.values()) == [f"tiny-ladeda-wildrf (stem {stem})" for stem in ("npr", "raw", "right_diag")]


def test_univfd_is_a_line_on_clips_embedding(tmp_path: Path, clip: Path) -> None:
    state, images = linear(), tiny_encoders.photographs(3)
    folder = head(tmp_path / "head", state, "linear_head", clip)
    weights = tiny_encoders.weights_of(clip)
    wanted = []
    for image in images:
        seen = (centred(image, 56) - CLIP_MEAN) / CLIP_STD
        embedding = naive_encoders.clip(weights, seen, heads=tiny_encoders.HEADS)
        wanted.append(float(state["weight"].double().numpy()[0] @ embedding - 0.5))
    found = scores(Pretrained(weights=str(folder)), images)
    assert np.ptp(wanted) > 1e-2
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_rine_weighs_the_class_tokens_of_all_blocks(tmp_path: Path, clip: Path) -> None:
    state, images = states.rine(3, 16, width=32, blocks=2), tiny_encoders.photographs(3)
    folder = head(tmp_path / "head", state, "rine_head", clip)
    weights = tiny_encoders.weights_of(clip)
    wanted = []
    for image in images:
        seen = (centred(image, 56) - CLIP_MEAN) / CLIP_STD
        tokens = naive.class_tokens(weights, seen, heads=tiny_encoders.HEADS)
        assert tokens.shape == (2, 32)
        wanted.append(naive.rine(tokens, states.doubled(state)))
    found = scores(Pretrained(weights=str(folder)), images)
    assert np.ptp(wanted) > 1e-4
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_looking_into_the_blocks_leaves_the_encoder_as_it_was(tmp_path: Path, clip: Path) -> None:
    images = torch.rand(2, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    before = load_encoder(clip, size=56, device="cpu").encode(images)
    folder = head(tmp_path / "head", states.rine(2, 16, width=32, blocks=2), "rine_head", clip)
    loaded = load_pretrained(str(folder), device="cpu")
    blocks = loaded.model.encoder.model.vision_model.encoder.layers
    assert loaded.logits(images).shape == (2,)
    assert not any(block.layer_norm2._forward_hooks for block in blocks)
    np.testing.assert_array_equal(load_encoder(clip, size=56, device="cpu").encode(images), before)


def test_no_images_have_no_logits(tmp_path: Path, clip: Path) -> None:
    imported(tmp_path, states.tiny_ladeda(), "tiny-ladeda-wildrf")
    heads = [head(tmp_path / "line", linear(), "linear_head", clip),
             head(tmp_path / "rine", states.rine(2, 16, width=32, blocks=2), "rine_head", clip)]  # fmt: skip
    for source in ("tiny-ladeda-wildrf", *map(str, heads)):
        found = load_pretrained(source, device="cpu").logits(torch.zeros(0, 3, 56, 56))
        assert (found.shape, found.dtype) == ((0,), np.float32)


def test_scores_are_finite_on_constants_and_odd_sizes_and_nan_stays(tmp_path: Path, clip: Path) -> None:
    imported(tmp_path, states.npr(), "npr")
    folder = head(tmp_path / "line", linear(), "linear_head", clip)
    images = [np.zeros((83, 97, 3), np.uint8), np.full((71, 640, 3), 128, np.uint8)]
    for weights in ("npr", str(folder)):
        found = scores(Pretrained(weights=weights), images, crop=65)
        assert found.shape == (2,)
        assert np.isfinite(found).all()
    assert np.isnan(Pretrained().score(clean=np.array([[np.nan], [1.0]], np.float32))).tolist() == [True, False]
    with pytest.raises(ParameterError, match="^pretrained: score needs the views clean; got odd$"):
        Pretrained().score(odd=np.ones((1, 1), np.float32))


# --- in a run -------------------------------------------------------------------------------------------------------


def prepared_of(*names: str, **flags: object) -> tuple[list[Prepared], dict[str, tuple[str, str]]]:
    config = override(RunConfig(), {"detectors.names": names, **flags})
    prepared, not_run = training_free(config, backend="cpu")
    return prepared, {row.detector: (row.reason, row.fix) for row in not_run}


def test_weights_that_are_absent_make_a_row_not_run(tmp_path: Path) -> None:
    imported(tmp_path, {"weight": torch.zeros(1, 768), "bias": torch.zeros(1)}, "univfd")
    names = ("pretrained:weights=safe", "univfd", "rine", "pretrained:weights=saff")
    prepared, not_run = prepared_of(*names)
    assert not prepared
    assert not_run["pretrained:weights=safe"] == (
        "no weights 'safe' in the weights home",
        "run `fdetect weights import checkpoint-best.pth --as safe`, or give a folder with config.json and "
        "model.safetensors as pretrained:weights=FOLDER",
    )
    assert not_run["univfd"] == (
        "no weights 'clip-vit-l14' in the weights home, and no openai/clip-vit-large-patch14 in the hub cache",
        "run `fdetect weights get clip-vit-l14`, or give a folder with config.json and model.safetensors as "
        "clip=FOLDER",
    )
    assert "weights import model_4class_trainable.pth --as rine-4class" in not_run["rine"][1]
    assert not_run["pretrained:weights=saff"][0] == "no weights 'saff'; did you mean 'safe'? (fdetect weights list)"


def test_a_run_names_weights_licence_and_evidence(tmp_path: Path, clip: Path) -> None:
    imported(tmp_path, states.tiny_ladeda(), "tiny-ladeda-wildrf")
    folder = head(tmp_path / "line", linear(), "linear_head", clip)
    prepared, not_run = prepared_of("pretrained:weights=tiny-ladeda-wildrf", f"univfd:weights={folder}")
    assert not not_run
    network, line = prepared
    assert [(c.name, c.licence, c.purpose, c.evidence) for c in network.cards] == [
        ("tiny-ladeda-wildrf (stem npr)", "research use only", "release", "unverified weights")
    ]
    assert [card.purpose for card in line.cards] == ["test", "test"]
    assert line.cards[1].family == "clip"
    assert all(task.in_process and task.columns == ("logit",) for one in prepared for task in one.tasks)
    settings = json.dumps([dict(task.settings) for one in prepared for task in one.tasks])
    assert str(tmp_path) not in settings
    assert str(weights_home()) not in settings


def test_score_takes_a_published_detector_by_name(tmp_path: Path) -> None:
    state, images = states.tiny_ladeda(), tiny_encoders.photographs(2)
    imported(tmp_path, state, "tiny-ladeda-wildrf")
    for k, image in enumerate(images):
        (tmp_path / "pictures").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "pictures" / f"{k}.png")
    done = fdetect.score(
        tmp_path / "pictures", "pretrained:weights=tiny-ladeda-wildrf", crop=128, store=Store(tmp_path / "store"),
        backend="cpu", condition="native",
    )  # fmt: skip
    wanted = [naive.tiny_ladeda(cropped(image, 128), states.doubled(state), "npr") for image in images]
    assert not done.failures
    np.testing.assert_allclose(done.values, wanted, rtol=2e-4, atol=2e-4)


def test_settings_that_do_not_belong_are_said_at_once(tmp_path: Path, clip: Path) -> None:
    imported(tmp_path, states.npr(), "npr")
    with pytest.raises(ParameterError, match="pretrained: npr is no head on an encoder; leave clip=x out"):
        prepare(Pretrained(clip="x"), device="cpu")
    with pytest.raises(ParameterError, match="pretrained: network 'npr' has one stem; leave stem=raw out"):
        prepare(Pretrained(stem="raw"), device="cpu")
    wide = head(tmp_path / "wide", linear(25), "linear_head", clip)
    task = task_of(Pretrained(weights=str(wide)))
    with pytest.raises(WeightsError, match=r"does not fit the encoder .*; give the encoder that it was trained on"):
        task(tiny_encoders.batch_of(tiny_encoders.photographs(1), task.geometry))


def test_weights_that_change_during_a_run_stop_it(tmp_path: Path) -> None:
    imported(tmp_path, states.tiny_ladeda(), "tiny-ladeda-wildrf")
    task = task_of(Pretrained(weights="tiny-ladeda-wildrf"))
    file = weights_home() / "tiny-ladeda-wildrf" / "model.safetensors"
    save_file({key: tensor + 1 for key, tensor in load_file(file).items()}, file)
    with pytest.raises(WeightsError, match="the weights of tiny-ladeda-wildrf changed during the run; start again"):
        task(tiny_encoders.batch_of(tiny_encoders.photographs(1), task.geometry))
    assert task_of(Pretrained(weights="tiny-ladeda-wildrf")).name != task.name
