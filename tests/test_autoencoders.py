"""Autoencoders: TAEF2 against its authors' numbers and a plain reference, diffusers' models through the real loading
path, and what is said of weights that are absent, damaged or another network's; chunks that do not fit are halved."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import naive_reconstruction as naive
import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="the extra 'deep' is not installed")

from safetensors.torch import load_file, save_file  # noqa: E402
from tiny_autoencoders import tiny_halves  # noqa: E402

from fdetect.errors import BackendError, ParameterError, WeightsError  # noqa: E402
from fdetect.nets.autoencoders import AUTOENCODERS, autoencoder_card, load_autoencoder  # noqa: E402
from fdetect.nets.memory import exact_float32, in_chunks  # noqa: E402
from fdetect.nets.taef2 import load_taef2, taef2_importer  # noqa: E402

SHARED_WEIGHTS = Path(__file__).resolve().parent.parent.parent / "shared" / "weights"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty weights home."""
    monkeypatch.setenv("FDETECT_WEIGHTS", str(tmp_path / "home"))
    return tmp_path / "home"


def shared_file(name: str) -> Path:
    if not (SHARED_WEIGHTS / name).exists():
        pytest.skip(f"the folder of small real networks (../shared/weights/{name}) is not here")
    return SHARED_WEIGHTS / name


def put_taef2(folder: Path, imported: object) -> None:
    folder.mkdir(parents=True)
    save_file({key: tensor.contiguous() for key, tensor in imported.state.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(imported.config))


def published_taef2(folder: Path) -> None:
    files = [shared_file(f"taef2/taef2_{half}.pth") for half in ("encoder", "decoder")]
    put_taef2(folder, taef2_importer(*(torch.load(f, weights_only=True, map_location="cpu") for f in files)))


def tiny_diffusers(kind: str) -> object:
    """A model of diffusers with few channels and random weights, sides a quarter as long."""
    diffusers = pytest.importorskip("diffusers", reason="the extra 'diffusion' is not installed")
    torch.manual_seed(0)
    if kind == "AutoencoderTiny":
        return diffusers.AutoencoderTiny(
            encoder_block_out_channels=(8, 8, 8), decoder_block_out_channels=(8, 8, 8),
            num_encoder_blocks=(1, 1, 1), num_decoder_blocks=(1, 1, 1),
        ).eval()  # fmt: skip
    down, up = "DownEncoderBlock2D", "UpDecoderBlock2D"
    common = {
        "block_out_channels": (32, 32, 64), "down_block_types": (down,) * 3, "up_block_types": (up,) * 3,
        "latent_channels": 4, "norm_num_groups": 4,
    }  # fmt: skip
    if kind == "VQModel":
        return diffusers.VQModel(norm_type="spatial", num_vq_embeddings=16, **common).eval()
    return diffusers.AutoencoderKL(**common).eval()


def plain_round_trip(model: object, image: object) -> object:
    """What diffusers itself makes of an image in -1..1."""
    encoded = model.encode(image)
    if type(model).__name__ == "AutoencoderKL":
        return model.decode(encoded.latent_dist.mean).sample
    if type(model).__name__ == "VQModel":
        return model.decode(encoded.latents, force_not_quantize=True).sample
    return model.decode(encoded.latents).sample


def pictures(side: int = 32, count: int = 3) -> object:
    coarse = torch.rand((count, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, size=(side, side + 16), mode="bilinear")


def test_taef2_equals_its_authors_numbers(home: Path, shared_data: Path) -> None:
    golden = np.load(shared_file("taef2/golden.npz"))
    published_taef2(home / "taef2")
    autoencoder = load_autoencoder("taef2", device="cpu")
    pixels = np.asarray(Image.open(shared_data / str(golden["path"])).convert("RGB"))[:256, :256]
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        latent = autoencoder.model.encoder(image.contiguous(memory_format=torch.channels_last))
    # values up to 3 in float32, summed in another order on another machine
    np.testing.assert_allclose(latent.numpy(), golden["latent"], atol=2e-5)
    again = autoencoder.reconstruct(image)
    assert again.dtype == torch.float32
    # the file holds float16: half a step below 1 is 2.4e-4
    np.testing.assert_allclose(again.numpy(), golden["recon"].astype(np.float32).clip(0, 1), atol=2.6e-4)
    psnr = -10 * np.log10(float((again - image).square().mean()))
    assert 31 <= psnr <= 37
    card = autoencoder.card
    assert (card.name, card.factor, card.latent_channels, card.purpose) == ("taef2", 8, 32, "release")


def test_taef2_equals_the_naive_reference() -> None:
    encoder, decoder = tiny_halves()
    state = dict(taef2_importer(encoder, decoder).state)
    model = load_taef2(state)
    image = pictures(16, 1)[..., :24]
    plain = {key: tensor.double().numpy() for key, tensor in state.items()}
    latent = naive.taef2_encode(image[0].double().numpy(), plain)
    with torch.inference_mode():
        found = model.encoder(image)
        again = model(image)
    # float32 against float64 through 33 and 36 convolutions
    np.testing.assert_allclose(found[0].numpy(), latent, rtol=1e-4, atol=1e-4 * np.abs(latent).max())
    expected = naive.taef2_decode(latent, plain)
    np.testing.assert_allclose(again[0].numpy(), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("kind", ["AutoencoderKL", "AutoencoderTiny", "VQModel"])
@pytest.mark.parametrize("layout", ["folder", "pipeline", "hub"])
def test_diffusers_models_equal_diffusers(
    kind: str, layout: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_diffusers(kind)
    subfolder = "movq" if kind == "VQModel" else "vae"
    if layout == "folder":
        source, folder = str(tmp_path / "model"), tmp_path / "model"
    elif layout == "pipeline":
        source, folder = str(tmp_path / "pipe"), tmp_path / "pipe" / subfolder
    else:
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
        (tmp_path / "hub/models--some--one/refs").mkdir(parents=True)
        (tmp_path / "hub/models--some--one/refs/main").write_text("0" * 40)
        source, folder = "some/one", tmp_path / "hub/models--some--one/snapshots" / ("0" * 40) / subfolder
    model.save_pretrained(folder)
    autoencoder = load_autoencoder(source, device="cpu")
    card = autoencoder.card
    assert (card.architecture, card.factor, card.latent_channels, card.purpose) == (kind, 4, 4, "test")
    assert (card.licence, card.evidence, card.source) == ("not stated", "unverified weights", source)
    image = pictures()
    with torch.inference_mode():
        expected = torch.cat([(plain_round_trip(model, one[None] * 2 - 1) / 2 + 0.5).clamp(0, 1) for one in image])
    again = autoencoder.reconstruct(image)
    assert again.shape == image.shape
    assert torch.equal(again, expected)
    assert torch.equal(again, autoencoder.reconstruct(image))  # no draw from the posterior
    assert torch.equal(again[1:2], autoencoder.reconstruct(image[1:2]))  # nor any influence of the batch
    assert load_autoencoder(source, device="cpu").model is autoencoder.model


def test_the_old_names_of_attention_load(tmp_path: Path) -> None:
    """Stable Diffusion 1's files call attention's matrices query, key, value and proj_attn."""
    model = tiny_diffusers("AutoencoderKL")
    model.save_pretrained(tmp_path / "new")
    state = load_file(tmp_path / "new" / "diffusion_pytorch_model.safetensors")
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for new, name in old.items():
        state = {key.replace(f".{new}.", f".{name}."): tensor for key, tensor in state.items()}
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.json").write_bytes((tmp_path / "new" / "config.json").read_bytes())
    save_file(state, tmp_path / "old" / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    image = pictures()
    both = [load_autoencoder(str(tmp_path / name), device="cpu").reconstruct(image) for name in ("new", "old")]
    assert torch.equal(*both)


def test_sides_must_be_multiples_of_the_factor(home: Path) -> None:
    put_taef2(home / "taef2", taef2_importer(*tiny_halves(64, 8, 32)))
    autoencoder = load_autoencoder("taef2", device="cpu")
    with pytest.raises(ParameterError, match="taef2 takes images whose sides are multiples of 8 px; got 24 x 30"):
        autoencoder.reconstruct(torch.zeros(1, 3, 24, 30))
    assert autoencoder.reconstruct(torch.zeros(0, 3, 24, 32)).shape == (0, 3, 24, 32)
    with pytest.raises(ParameterError, match="dtype is one of float32, bfloat16; got 'float16'"):
        load_autoencoder("taef2", dtype="float16")


def _truncated(folder: Path) -> None:
    file = next(folder.glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-64])


def _pointer(folder: Path) -> None:
    next(folder.glob("*.safetensors")).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")


def _pickle(folder: Path) -> None:
    next(folder.glob("*.safetensors")).rename(folder / "diffusion_pytorch_model.bin")


def _another_class(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel"}))


def _no_sizes(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKL"}))


def _changed(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        file = next(folder.glob("*.safetensors"))
        state = load_file(file)
        change(state)
        save_file(state, file, metadata={"format": "pt"})

    return damage


@pytest.mark.parametrize(
    "damage, said",
    [
        (_truncated, r"diffusion_pytorch_model.safetensors in .* holds \d+ bytes where its header says \d+; give"),
        (_pointer, "is no safetensors file"),
        (_pickle, "has only diffusion_pytorch_model.bin, a pickle, which is never read"),
        (_another_class, "describes a model of class 'UNet2DModel', not one of AutoencoderKL"),
        (_no_sizes, "does not state the network's sizes"),
        (_changed(lambda state: state.pop("quant_conv.bias")), "it lacks quant_conv.bias; give"),
        (_changed(lambda state: state.update(more=torch.zeros(1))), "it has no place for more; give"),
        (
            _changed(lambda state: state.update({"quant_conv.bias": torch.zeros(3)})),
            "does not load as AutoencoderKL",
        ),
    ],
)
def test_damaged_and_wrong_folders_are_one_sentence(damage: Callable[[Path], None], said: str, tmp_path: Path) -> None:
    tiny_diffusers("AutoencoderKL").save_pretrained(tmp_path / "m")
    damage(tmp_path / "m")
    with pytest.raises(WeightsError, match=said) as caught:
        load_autoencoder(str(tmp_path / "m"), device="cpu")
    assert "\n" not in str(caught.value)
    assert "--autoencoder" in caught.value.fix


def test_absent_autoencoders_say_where_to_get_them(home: Path) -> None:
    with pytest.raises(WeightsError, match="no CompVis/stable-diffusion-v1-1 in the hub cache; run `fdetect weights"):
        autoencoder_card("sd1-vae")
    with pytest.raises(WeightsError, match="run `fdetect weights import taef2_encoder.pth taef2_decoder.pth --as"):
        autoencoder_card("taef2")
    with pytest.raises(WeightsError, match="no autoencoder 'teasd'; did you mean 'taesd'"):
        autoencoder_card("teasd")
    assert {"sd1-vae", "sd2-vae", "kandinsky2-movq", "sdxl-vae", "taesd", "taesdxl", "taef2"} == set(AUTOENCODERS)


def test_without_diffusers_the_fix_is_to_install_it(tmp_path: Path) -> None:
    tiny_diffusers("AutoencoderTiny").save_pretrained(tmp_path / "m")
    code = (
        "import sys; sys.modules['diffusers'] = None\n"
        "import importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'diffusers' else real(name, *a)\n"
        "from fdetect.nets.autoencoders import autoencoder_card\n"
        f"try: autoencoder_card({str(tmp_path / 'm')!r})\n"
        "except Exception as error: print(type(error).__name__, error, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("WeightsError ")
    assert "needs diffusers, which is not installed; pip install 'fdetect[diffusion]' False" in done.stdout


def test_wrong_taef2_files_are_one_sentence() -> None:
    encoder, decoder = tiny_halves()
    with pytest.raises(WeightsError, match="the pair of files is not a TAEF2: it lacks"):
        taef2_importer(decoder, encoder)
    with pytest.raises(WeightsError, match="shapes that do not fit; run"):
        taef2_importer(encoder | {"11.pool.0.weight": torch.zeros(6, 6, 1, 1)}, decoder)
    with pytest.raises(WeightsError, match=r"it lacks encoder.3.conv.2.bias; run"):
        taef2_importer({key: t for key, t in encoder.items() if key != "3.conv.2.bias"}, decoder)
    with pytest.raises(WeightsError, match="it has no place for decoder.20.weight; run"):
        taef2_importer(encoder, decoder | {"20.weight": torch.zeros(1)})
    with pytest.raises(WeightsError, match=r"has decoder.7.weight of shape \(6, 6, 1, 1\)"):
        taef2_importer(encoder, decoder | {"7.weight": torch.zeros(6, 6, 1, 1)})


def test_vaelight_round_trip_through_onnxruntime(shared_data: Path) -> None:
    """A second real autoencoder, of Stable Diffusion's latents: its preview decoder's octaves are summed."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    encode, decode = (
        onnxruntime.InferenceSession(str(shared_file(f"vaelight/{name}.onnx")), providers=["CPUExecutionProvider"])
        for name in ("VAEencoder", "VAEpreview")
    )
    pixels = np.asarray(Image.open(shared_data / "real/kodak24/0016.png").convert("RGB"))[:256, :256]
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
    (latent,) = encode.run(None, {"input": (image * 2 - 1).numpy()})
    assert latent.shape == (1, 4, 32, 32)
    octaves = [torch.from_numpy(octave) for octave in decode.run(None, {"latent": latent})]
    total = sum(torch.nn.functional.interpolate(o, size=(256, 256), mode="bilinear") for o in octaves)
    psnr = -10 * np.log10(float(((total / 2 + 0.5).clamp(0, 1) - image).square().mean()))
    assert 23 <= psnr <= 29


def test_chunks_that_do_not_fit_are_halved_and_the_rest_keeps_the_size() -> None:
    sizes: list[int] = []

    def run(images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        if len(images) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return images * 2

    images = torch.arange(20.0)[:, None, None, None].expand(20, 3, 2, 2)
    assert torch.equal(in_chunks(run, images, device="cpu", chunk=12), images * 2)
    assert sizes == [12, 6, 3, 3, 3, 3, 3, 3, 2]
    assert in_chunks(lambda part: part, images[:0], device="cpu").shape == (0, 3, 2, 2)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("x"), MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"),
        RuntimeError("CUDA error: out of memory"),
    ],
)  # fmt: skip
def test_one_image_that_does_not_fit_is_one_sentence(error: Exception) -> None:
    def run(images: torch.Tensor) -> torch.Tensor:
        raise error

    with pytest.raises(BackendError, match=r"^a single image of 3 x 8 x 16 does not fit into the memory of cpu; take"):
        in_chunks(run, torch.zeros(5, 3, 8, 16), device="cpu")
    with pytest.raises(BackendError, match=r"memory of cuda; take smaller images or --backend cpu$"):
        in_chunks(run, torch.zeros(0, 3, 8, 16), device="cuda", chunk=4)


def test_other_errors_pass_and_settings_are_given_back() -> None:
    def run(images: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shapes do not fit")

    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    with pytest.raises(RuntimeError, match="shapes do not fit"), exact_float32():
        in_chunks(run, torch.zeros(2, 3, 8, 8), device="cpu")
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before


def test_a_first_small_chunk_says_how_many_images_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device of 3,000 bytes, of which 500 are free in torch's own store; an image costs 100 more than it returns."""
    sizes: list[int] = []
    for name, value in {
        "reset_peak_memory_stats": None, "memory_allocated": 1000, "memory_reserved": 1500, "empty_cache": None,
        "max_memory_allocated": 1000 + 8 * 100, "mem_get_info": (2500, 3000),
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, lambda *device, value=value: value)

    def run(images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        return images

    images = torch.arange(60.0)[:, None]
    for _ in range(2):
        assert torch.equal(in_chunks(run, images, device="cuda", key="the same network"), images)
    # (2500 + 500) bytes, a fifth spare, at 100 each; the second call knows that
    assert sizes == [8, 24, 24, 4, 24, 24, 12]
    sizes.clear()
    in_chunks(run, images[:8], device="cuda")  # too few to be worth measuring
    assert sizes == [8]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_taef2_on_cuda_equals_the_processor_and_large_batches_fit(home: Path) -> None:
    put_taef2(home / "taef2", taef2_importer(*tiny_halves(64, 256, 32)))
    cpu, cuda = (load_autoencoder("taef2", device=device) for device in ("cpu", "cuda"))
    images = pictures(96, 9)
    np.testing.assert_allclose(cuda.reconstruct(images).numpy(), cpu.reconstruct(images).numpy(), atol=1e-4)
    many = images[:1].expand(2000, -1, -1, -1).to("cuda")
    assert cuda.reconstruct(many).shape == many.shape
