"""AEROBLADE and HFI from pixels to score on a tiny autoencoder of diffusers', against a plain float64 reference.

Tolerances: score 1e-6 against float64, where the scores stand above 1e-3; distances are stored as float32.
"""

from __future__ import annotations

import json
from pathlib import Path

import naive_relatives as plain
import numpy as np
import pytest
from PIL import Image

from fdetect import engine
from fdetect.errors import ParameterError, WeightsError
from fdetect.images import Geometry
from fdetect.rigid import detector, prepare
from fdetect.rigid.reconstruction import Aeroblade, Hfi
from fdetect.types import Batch, Facts

torch = pytest.importorskip("torch", reason="the deep extra is not installed")
diffusers = pytest.importorskip("diffusers", reason="the diffusion extra is not installed")

from safetensors.torch import load_file, save_file  # noqa: E402

ENCODER_BLOCKS, DECODER_BLOCKS = [1, 1], [1, 1]
SIDE = 16  # px
TAEF2 = Path(__file__).resolve().parent.parent.parent / "shared" / "weights" / "taef2"


def save_tiny(folder: Path, seed: int) -> Path:
    """Width 4, two levels; weights so large that every layer matters, and pixels that stay within 0..1."""
    model = diffusers.AutoencoderTiny(
        encoder_block_out_channels=(4, 4), decoder_block_out_channels=(4, 4), latent_channels=2,
        num_encoder_blocks=ENCODER_BLOCKS, num_decoder_blocks=DECODER_BLOCKS,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.25 * torch.randn(parameter.shape, generator=generator))
        model.decoder.layers[-1].bias.fill_(0.5)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    base = tmp_path_factory.mktemp("autoencoders")
    return save_tiny(base / "one", 1), save_tiny(base / "two", 2)


def pictures(n: int, side: int = SIDE) -> list[np.ndarray]:
    out = []
    for k in range(n):
        rng = np.random.default_rng(k)
        small = Image.fromarray(rng.integers(0, 256, (4, 3, 3), dtype=np.uint8))
        large = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC)).astype(np.float64)
        out.append(np.clip(large + rng.normal(0, 12, large.shape), 0, 255).astype(np.uint8))
    return out


def batch_of(images: list[np.ndarray]) -> Batch:
    ids = tuple(f"{k:032x}" for k in range(len(images)))
    return Batch(ids, np.stack(images), tuple(Facts("PNG", *image.shape[1::-1], 1) for image in images), 3)


def scores_of(one: Aeroblade | Hfi, batch: Batch) -> np.ndarray:
    return one.score(**{task.view_name: task(batch) for task in prepare(one, device="cpu", crop=SIDE)})


@pytest.mark.parametrize("distance", ["mse", "wavelet"])
def test_scores_equal_the_reference_from_pixels_to_number(folders: tuple[Path, Path], distance: str) -> None:
    joined = "+".join(map(str, folders))
    images = pictures(2)
    found = [scores_of(kind(autoencoder=joined, distance=distance), batch_of(images)) for kind in (Aeroblade, Hfi)]
    assert all(scores.dtype == np.float64 for scores in found)

    measure = getattr(plain, distance)
    states = [
        {k: v.numpy() for k, v in load_file(folder / "diffusion_pytorch_model.safetensors").items()}
        for folder in folders
    ]
    for k, image in enumerate(images):
        clean = plain.scaled(image)
        of_view = [
            [measure(view, plain.round_trip(state, view, ENCODER_BLOCKS, DECODER_BLOCKS)) for state in states]
            for view in (clean, plain.blurred(clean, 0.8))
        ]
        expected = [plain.aeroblade_score(of_view[0]), plain.hfi_score(*of_view)]
        assert min(map(abs, expected)) > 1e-3  # far above the tolerance: the scores say something here
        np.testing.assert_allclose([scores[k] for scores in found], expected, atol=1e-6)


def test_known_answers_of_the_scores() -> None:
    clean = np.array([[0.3, 0.1], [0.5, 0.4], [np.nan, np.nan], [0.2, np.nan]], np.float32)
    low = np.array([[0.1, 0.1], [0.0, 0.1], [0.1, 0.1], [0.1, 0.1]], np.float32)
    np.testing.assert_allclose(Aeroblade().score(clean=clean), [-0.1, -0.4, np.nan, np.nan], rtol=1e-6)
    np.testing.assert_allclose(Hfi().score(clean=clean, low=low), [0, -0.3, np.nan, np.nan], rtol=1e-6)
    # what is given back more closely, and what its fine detail disturbs less, is more likely generated
    assert (Aeroblade().score(clean=clean / 2) > Aeroblade().score(clean=clean))[:2].all()
    for one, given in ((Aeroblade(), {"low": low}), (Hfi(), {"clean": clean})):
        with pytest.raises(ParameterError, match="needs the views clean"):
            one.score(**given)
    with pytest.raises(ParameterError, match="hfi: sigma must be"):
        Hfi(sigma=0.0)


def test_passes_and_geometry(folders: tuple[Path, Path]) -> None:
    joined = "+".join(map(str, folders))
    assert [kind(autoencoder=joined).passes for kind in (Aeroblade, Hfi)] == [2, 4]
    assert (Aeroblade().passes, Hfi().passes, detector.get("hfi_taef2")().passes) == (3, 6, 2)
    whole = detector.get("aeroblade_whole")()
    assert whole.geometry(None, 224)(np.zeros((75, 100, 3), np.uint8)).shape == (72, 96, 3)
    assert Aeroblade().geometry(None, 224) == Geometry("aligned_crop", 224)


def test_scores_belong_to_no_batch(folders: tuple[Path, Path]) -> None:
    one = Hfi(autoencoder=str(folders[0]), distance="wavelet")
    batch = batch_of(pictures(4))
    together = scores_of(one, batch)
    assert len(set(together)) == 4
    order = [3, 0, 2]
    part = Batch(tuple(batch.ids[k] for k in order), batch.rgb8[order], batch.facts[:3], 3)
    np.testing.assert_allclose(scores_of(one, part), together[order], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(scores_of(one, batch), together)


def test_detectors_of_one_autoencoder_share_their_round_trips(folders: tuple[Path, Path], tmp_path: Path) -> None:
    named = [
        detector.get(name).configured(autoencoder=str(folders[0]))()
        for name in ("aeroblade_taef2", "aeroblade_taef2_wavelet", "hfi_taef2", "hfi_taef2_wavelet")
    ]
    of_each = [prepare(one, device="cpu", crop=64) for one in named]
    tasks = {task.name: task for of_one in of_each for task in of_one}
    assert len(tasks) == 4  # two views, two distances
    assert len({task.group for task in tasks.values()}) == 1
    assert str(folders[0]) not in json.dumps([dict(task.settings) for task in tasks.values()])
    paths = [f"{k}.png" for k in range(3)]
    for path, image in zip(paths, pictures(3, 80), strict=True):
        Image.fromarray(image).save(tmp_path / path)
    (tmp_path / "broken.png").write_bytes(b"no image")
    store = engine.Store(tmp_path / "store")
    found = engine.run(list(tasks.values()), [*paths, "broken.png"], root=tmp_path, crop=64, store=store)
    for one, of_one in zip(named, of_each, strict=True):
        scores = one.score(**{task.view_name: found.tables["native", task.name].values for task in of_one})
        crops = [Geometry("aligned_crop", 64)(image) for image in pictures(3, 80)]
        np.testing.assert_allclose(scores[:3], scores_of(one, batch_of(crops)), atol=1e-6)
        assert np.isnan(scores[3])


def test_whole_pictures_of_any_size_go_through(folders: tuple[Path, Path], tmp_path: Path) -> None:
    sides = [(75, 100), (81, 79), (96, 80)]
    for k, (height, width) in enumerate(sides):
        Image.fromarray(pictures(k + 1, 100)[k][:height, :width]).save(tmp_path / f"{k}.png")
    whole = detector.get("aeroblade_whole").configured(autoencoder=str(folders[0]), distance="mse")()
    (task,) = prepare(whole, device="cpu", crop=64)
    paths = [f"{k}.png" for k in range(3)]
    found = engine.run([task], paths, root=tmp_path, crop=64, store=engine.Store(tmp_path / "store"))
    scores = whole.score(clean=found.tables["native", task.name].values)
    for k, (height, width) in enumerate(sides):
        cut = pictures(k + 1, 100)[k][: height // 8 * 8, : width // 8 * 8]
        assert scores[k] == pytest.approx(scores_of(whole, batch_of([cut]))[0], abs=1e-7)


def test_what_is_missing_is_named_with_its_fix(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="fdetect weights import taef2_encoder.pth taef2_decoder.pth --as taef2"):
        prepare(detector.get("aeroblade_taef2")())
    with pytest.raises(WeightsError, match="sd1-vae"):
        prepare(Aeroblade())
    with pytest.raises(WeightsError, match="--as lpips-vgg"):
        prepare(Hfi(autoencoder=str(folders[0])))
    with pytest.raises(WeightsError, match="nowhere"):
        prepare(Aeroblade(autoencoder=f"{folders[0]}+{tmp_path / 'nowhere'}", distance="mse"))


@pytest.fixture(scope="module")
def taef2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real TAEF2, imported; a skip where its files are absent."""
    if not TAEF2.is_dir():
        pytest.skip("the folder of small real networks (../shared/weights) is not here")
    from fdetect.nets.taef2 import taef2_importer

    halves = [torch.load(TAEF2 / f"taef2_{half}.pth", weights_only=True, map_location="cpu")
              for half in ("encoder", "decoder")]  # fmt: skip
    imported = taef2_importer(*halves)
    folder = tmp_path_factory.mktemp("taef2")
    save_file({key: tensor.contiguous() for key, tensor in imported.state.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(imported.config))
    return folder


@pytest.mark.parametrize("name", [name for name in detector.names() if "_taef2" in name])
def test_what_went_through_the_autoencoder_scores_above_its_photograph(
    taef2: Path, shared_data: Path, name: str
) -> None:
    from fdetect.nets.autoencoders import load_autoencoder

    files = sorted((shared_data / "real").rglob("*.jpg"))[::60][:4]
    crop = Geometry("aligned_crop", 128)
    photographs = np.stack([crop(np.asarray(Image.open(file).convert("RGB"))) for file in files])
    shown = torch.from_numpy(photographs).permute(0, 3, 1, 2).float() / 255
    again = load_autoencoder(str(taef2), device="cpu").reconstruct(shown).permute(0, 2, 3, 1)
    generated = (again * 255).round().to(torch.uint8).numpy()
    one = detector.get(name).configured(autoencoder=str(taef2))()
    before, after = (scores_of(one, batch_of(list(images))) for images in (photographs, generated))
    assert (after > before).all(), (before, after)
