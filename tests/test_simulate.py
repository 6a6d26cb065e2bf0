"""The simulated decoders: known answers, equality with plain loops, what each layer leaves behind."""

import naive_simulate as naive
import numpy as np
import pytest
import xxhash

from fdetect.bench.data.simulate import DECODERS, halve
from fdetect.errors import ParameterError

PLAIN = {
    "sim-nearest": naive.nearest,
    "sim-bilinear": naive.bilinear,
    "sim-transposed": naive.transposed,
    "sim-shuffle": naive.shuffle,
}

GOLDEN = {
    "sim-nearest": "2198424878ae02b9215f0dbfbe634c02",
    "sim-bilinear": "f19e456862881fbd8cbcdec2d3916256",
    "sim-transposed": "8a18a1393fd39a001db6f0e0aa33adfd",
    "sim-shuffle": "c65b89550d6b04525b660d554ac1b479",
}


def synthetic(height=64, width=96):
    y, x, c = np.ogrid[:height, :width, :3]
    return ((x * x * 3 + y * 7 * (c + 1) + (x * y) // 5 + 40 * ((x // 9 + y // 7) % 3) + 31 * c) % 256).astype(np.uint8)


def noisy(height, width, seed=5):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", DECODERS)
def test_decoder_known_answer(name):
    assert xxhash.xxh3_128_hexdigest(DECODERS[name](synthetic()).tobytes()) == GOLDEN[name]


@pytest.mark.parametrize("shape", [(12, 16), (4, 4), (2, 6)])
@pytest.mark.parametrize("make", [noisy, synthetic])
@pytest.mark.parametrize("name", DECODERS)
def test_decoder_equals_plain_loops(name, make, shape):
    image = make(*shape)
    before = image.copy()
    result = DECODERS[name](image)
    assert result.dtype == np.uint8
    assert result.tolist() == PLAIN[name](image.tolist())
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("name", ["sim-nearest", "sim-bilinear", "sim-shuffle"])
@pytest.mark.parametrize("level", [0, 1, 127, 254, 255])
def test_a_constant_image_stays(name, level):
    image = np.full((8, 12, 3), level, np.uint8)
    np.testing.assert_array_equal(DECODERS[name](image), image)


def test_transposed_convolution_leaves_a_checkerboard_and_keeps_brightness():
    result = DECODERS["sim-transposed"](np.full((32, 32, 3), 160, np.uint8))[4:-4, 4:-4].astype(int)
    phases = [result[a::2, b::2] for a in (0, 1) for b in (0, 1)]
    assert all(np.ptp(phase) == 0 for phase in phases)
    assert phases[0].max() > phases[1].max() > phases[3].max()
    assert abs(result.mean() - 160) < 1


def test_halving_rounds_half_up():
    blocks = np.zeros((2, 6, 3), np.uint8)
    blocks[0, 0], blocks[0, 2:4], blocks[:, 4:] = 1, 1, 255
    assert halve(blocks)[0, :, 0].tolist() == [0, 1, 255]


@pytest.mark.parametrize("bad", [
    np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), np.uint8), np.zeros((7, 8, 3), np.uint8),
    np.zeros((8, 6, 4), np.uint8), np.zeros((0, 8, 3), np.uint8),
], ids=lambda array: f"{array.shape}-{array.dtype}")  # fmt: skip
@pytest.mark.parametrize("name", DECODERS)
def test_decoder_refuses_other_arrays(name, bad):
    with pytest.raises(ParameterError, match="even H and W"):
        DECODERS[name](bad)
