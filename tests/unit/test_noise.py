"""Philox against its published answers, the normals against their distribution, in any order."""

import numpy as np
import pytest
import torch
from numba import njit
from scipy import stats

from dioscuri.learn import noise

# Known-answer tests of Random123 (kat_vectors, philox4x32 10): counter, key, result.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
KEYS = np.array([0, 1, 10**11, 2**62 + 12345, 2**63 - 1])


@njit
def philox_words(c, k):
    return noise.philox(c[0], c[1], c[2], c[3], k[0], k[1])


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_philox_known_answers(counter: tuple, key: tuple, answer: tuple) -> None:
    compiled = philox_words(np.array(counter, np.uint32), np.array(key, np.uint32))
    assert tuple(int(word) for word in compiled) == answer
    words = noise.torch_philox(*(torch.tensor([c]) for c in counter), *key)
    assert tuple(int(word) for word in words) == answer


def test_compiled_and_torch_agree() -> None:
    ours = noise.normals(KEYS, 20, 3347, seed=7, stream=1)
    theirs = noise.torch_normals(torch.from_numpy(KEYS), 20, 3347, seed=7, stream=1).numpy()
    assert ours.dtype == theirs.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=5e-6)


def test_values_follow_from_the_counter_words() -> None:
    """Box–Muller in float64 from the known words of counter 0, key 0."""
    words = [(word >> 8) + 0.5 for word in KNOWN[0][2]]
    u = np.array(words) / 2**24
    radius = np.sqrt(-2 * np.log(u[[0, 2]]))
    expected = np.stack([radius * np.cos(2 * np.pi * u[[1, 3]]), radius * np.sin(2 * np.pi * u[[1, 3]])], 1).ravel()
    np.testing.assert_allclose(noise.normals(np.array([0]), 1, 4, seed=0)[0, 0], expected, atol=2e-6)


def test_normals_are_standard_normal() -> None:
    values = noise.normals(np.arange(60), 20, 1000, seed=3).ravel()
    n = values.size
    assert abs(values.mean()) < 4 / np.sqrt(n)
    assert abs(values.std() - 1) < 4 / np.sqrt(2 * n)
    assert stats.kstest(values, "norm").pvalue > 1e-3
    expected_beyond = n * 2 * stats.norm.sf(4)
    assert abs((np.abs(values) > 4).sum() - expected_beyond) < 4 * np.sqrt(expected_beyond)
    assert np.abs(values).max() < 5.9


def test_pixels_draws_keys_seeds_and_streams_are_uncorrelated() -> None:
    values = noise.normals(np.arange(2), 2, 20000, seed=3).astype(float)
    base = values[0, 0]
    others = {
        "next pixel": np.roll(base, 1),
        "fourth pixel": np.roll(base, 4),
        "draw": values[0, 1],
        "key": values[1, 0],
        "seed": noise.normals(np.array([0]), 1, 20000, seed=4)[0, 0],
        "stream": noise.normals(np.array([0]), 1, 20000, seed=3, stream=1)[0, 0],
        "high word": noise.normals(np.array([1 << 32]), 1, 20000, seed=3)[0, 0],
    }
    for name, other in others.items():
        assert abs(np.corrcoef(base, other)[0, 1]) < 4.5 / np.sqrt(len(base)), name


def test_values_depend_on_nothing_but_their_counter() -> None:
    whole = noise.normals(KEYS, 20, 3347, seed=7)
    order = np.array([3, 0, 4, 2, 1])
    np.testing.assert_array_equal(noise.normals(KEYS[order], 20, 3347, seed=7), whole[order])
    np.testing.assert_array_equal(noise.normals(KEYS[2:3], 5, 3347, seed=7)[0], whole[2, :5])
    np.testing.assert_array_equal(noise.normals(KEYS, 20, 1001, seed=7), whole[..., :1001])


@pytest.mark.parametrize("word", [-1, 2**32])
def test_seed_and_stream_are_words(word: int) -> None:
    with pytest.raises(ValueError, match="noise seed must lie in"):
        noise.normals(KEYS, 1, 4, seed=word)
    with pytest.raises(ValueError, match="noise stream must lie in"):
        noise.torch_normals(torch.from_numpy(KEYS), 1, 4, seed=0, stream=word)


def test_noisy_spectra_are_mean_and_error_times_the_same_normals() -> None:
    rng = np.random.default_rng(5)
    mean, error = rng.normal(0, 0.1, (len(KEYS), 1001)).astype("f2"), rng.uniform(0, 0.1, (len(KEYS), 1001))
    rows = noise.noisy(mean, error, KEYS, 3, 1010, seed=7, stream=1)
    expected = mean[:, None] + error[:, None] * noise.normals(KEYS, 3, 1001, seed=7, stream=1)
    assert rows.shape == (len(KEYS), 3, 1010) and rows.dtype == np.float32
    np.testing.assert_allclose(rows[..., :1001], expected, atol=1e-6)
    assert not rows[..., 1001:].any()
