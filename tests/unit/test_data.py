"""Gathering labelled spectra from mock shards, in memory and on disk."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dioscuri.learn.spectra.data import Batches, PairedSpectra, epoch_order
from dioscuri.shards import mock_shard

N_PIXELS = 30


def write_shard(path: Path, n: int, first: int, arm: str = "blue", n_pixels: int = N_PIXELS, bad: bool = False) -> Path:
    """Pair k has single flux k and binary flux k + 0.5 in every pixel."""
    k = np.arange(first, first + n, dtype=np.float64)[:, None] + np.zeros(n_pixels)
    if bad:
        k[0, 0] = np.nan
    with mock_shard(path, n, ("pair_id", "snr"), {arm: n_pixels}, {"first": first}) as writer:
        writer.append({"pair_id": k[:, 1].astype(int), "snr": 10.0 + k[:, 1]}, {arm: (k, k + 0.5)})
    return path


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    return [write_shard(tmp_path / f"shard{i}.h5", n, first) for i, (n, first) in enumerate([(5, 0), (8, 5), (2, 13)])]


@pytest.mark.parametrize("memory_limit", [1e9, 0.0], ids=["memory", "mapped"])
def test_rows_and_classes(shards: list[Path], memory_limit: float) -> None:
    spectra = PairedSpectra(shards, "blue", memory_limit)
    assert (len(spectra), spectra.n_pairs, spectra.n_pixels) == (30, 15, N_PIXELS)
    assert spectra.n_bytes == (30 * N_PIXELS * 2 if memory_limit else 0)
    index = np.array([14, 0, 29, 4, 5, 20, 15])
    flux, y = spectra.gather(index)
    assert flux.dtype == torch.float16
    assert y.tolist() == [0, 0, 1, 0, 0, 1, 1]
    expected = index % 15 + 0.5 * (index >= 15)
    np.testing.assert_array_equal(flux.numpy(), np.broadcast_to(expected[:, None], (7, N_PIXELS)))


def test_batches_cover_every_row_once(shards: list[Path]) -> None:
    spectra = PairedSpectra(shards, "blue")
    whole = Batches(spectra, np.arange(30), 8, keep_last=True)
    assert [len(y) for _, y in whole] == [8, 8, 8, 6]
    assert len(whole) == 4
    values = np.concatenate([flux[:, 0].numpy() for flux, _ in whole])
    assert sorted(values) == sorted(np.r_[np.arange(15), np.arange(15) + 0.5])
    assert [len(y) for _, y in Batches(spectra, np.arange(30), 8, keep_last=False)] == [8, 8, 8]
    assert [len(y) for _, y in Batches(spectra, np.arange(30), 99, keep_last=False)] == [30]


def test_a_share_of_spectra_gets_the_noise_of_its_own_snr_once_more(shards: list[Path]) -> None:
    spectra = PairedSpectra(shards, "blue")
    order = np.resize(np.arange(30), 3000)
    flux, y = (torch.cat(parts) for parts in zip(*Batches(spectra, order, 100, False, noisy=0.5, noise_seed=3)))
    added = flux.numpy() - spectra.gather(order)[0].float().numpy()
    drawn = np.ptp(added, axis=1) > 0
    assert 0.46 < drawn.mean() < 0.54 and (y.numpy() == (order >= 15)).all()
    pull = added[drawn] * (10.0 + order[drawn] % 15)[:, None]
    assert abs(pull.std() - 1) < 0.02 and abs(pull.mean()) < 0.02
    again = next(iter(Batches(spectra, order, 100, False, noisy=0.5, noise_seed=3)))[0]
    assert torch.equal(again, flux[:100])  # of its seed alone
    assert not torch.equal(next(iter(Batches(spectra, order, 100, False, noisy=0.5, noise_seed=4)))[0], flux[:100])


def test_order_depends_on_seed_and_epoch_alone() -> None:
    first = epoch_order(1000, seed=3, epoch=0)
    assert sorted(first) == list(range(1000))
    np.testing.assert_array_equal(first, epoch_order(1000, seed=3, epoch=0))
    assert (first != epoch_order(1000, seed=3, epoch=1)).mean() > 0.9
    assert (first != epoch_order(1000, seed=4, epoch=0)).mean() > 0.9


def test_bad_input_is_named(shards: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no mock shards given for the red arm"):
        PairedSpectra([], "red")
    with pytest.raises(ValueError, match=r"shard0.h5: no 'red' arm in this shard; arms found: blue"):
        PairedSpectra(shards, "red")
    short = write_shard(tmp_path / "short.h5", 2, 0, n_pixels=20)
    with pytest.raises(ValueError, match=r"differ in their number of pixels: 30 in .*shard2.h5; 20 in .*short.h5"):
        PairedSpectra([*shards, short], "blue")
    broken = write_shard(tmp_path / "broken.h5", 2, 0, bad=True)
    with pytest.raises(ValueError, match=r"broken.h5: blue/single has non-finite fluxes"):
        PairedSpectra([*shards, broken], "blue")
