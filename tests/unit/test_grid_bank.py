"""From a STDPSF grid to a network: bank, stamps, training and scores where the place on the chip is known."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from dioscuri.learn.images.inference import Classifier
from dioscuri.psf.effective import Psf
from dioscuri.psf.grids import read_stdpsf
from dioscuri.psf.optics import OPTICS
from dioscuri.psf.sources import make_bank
from dioscuri.stamps.epochs import Observer
from dioscuri.stamps.mocks import Law, Noise, Renderer, draw_sources, make_stamps, write_stamps
from dioscuri.stamps.optimum import fit_single
from dioscuri.stamps.training import train_on_stamps

_PATH = Path(__file__).parent / "psf_grids.py"
_SPEC = importlib.util.spec_from_file_location("psf_grids", _PATH)
assert _SPEC is not None and _SPEC.loader is not None
GRIDS = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(GRIDS)

NOISE, LAW = Noise(sigma=3.1, background=4.0), Law(flux_ratio="uniform", flux_min=5000.0, flux_max=25000.0)
NETWORK = {
    "architecture": "compact", "rendering": "compact", "layers": {"channels": [8, 12], "dense": 16},
    "training": {"batch": 64, "augment": ["dihedral"], "accelerator": "cpu"},
}  # fmt: skip
PLACES, MEMBERS, SIZE = 5, 8, 101


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grid of UVIS whose stars are 0.70 px wide (σ) at one side of the chips and 0.95 px at the other."""
    x, y, _ = GRIDS.CAMERAS["STDPSF_WFC3UV_F775W.fits"]
    across = np.tile(np.linspace(0.70, 0.95, len(x)), len(y))
    samples = np.stack([GRIDS.star(sigma, SIZE) for sigma in across])
    return GRIDS.write_stdpsf(tmp_path_factory.mktemp("grid"), "STDPSF_WFC3UV_F775W.fits", samples)


def source(grid: Path) -> dict:
    return {"source": "stdpsf", "optics": "hst_f775w", "file": str(grid), "chip": 2, "position": [0.0, 500.0],
            "oversampling": 4, "pixel_integrated": True}  # fmt: skip


@pytest.fixture(scope="module")
def banks(grid: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Files of the bank and of the nominal PSF, as the workflow writes them."""
    folder = tmp_path_factory.mktemp("banks")
    field = {"members": MEMBERS, "places": PLACES, "jitter_fraction": 0.03, "wfe_nm": 10.0, "focus_nm": 10.0}
    make_bank(folder / "field.npz", source(grid), field, 3)
    make_bank(folder / "nominal.npz", source(grid), {"members": 1}, 3)
    return folder / "field.npz", folder / "nominal.npz"


def test_members_are_places_of_the_chip_and_errors_about_them(grid, banks):
    bank, nominal = (Psf.load(path) for path in banks)
    chip = read_stdpsf(grid, chip=2)
    assert bank.pixel_scale == pytest.approx(OPTICS["hst_f775w"].pixel_scale, rel=0.01)
    assert np.allclose(bank.samples[0], chip.at(0.0, 500.0).samples[0])
    assert np.allclose(nominal.samples[0], bank.samples[0])
    assert list(bank.parameters["assumed"]) == [k % PLACES for k in range(MEMBERS)]
    width = [bank.fwhm(k) for k in range(PLACES)]
    assert min(chip.fwhm(k) for k in range(7)) - 1e-4 <= min(width[1:]) < max(width[1:]) <= chip.fwhm(6) + 1e-4
    assert np.ptp(width) > 0.005  # arcsec: they lie all over the chip, whose own range is 0.023
    for k in range(PLACES, MEMBERS):
        change = np.abs(bank.samples[k] - bank.samples[k - PLACES]).max() / bank.samples[k].max()
        assert 1e-3 < change < 0.15


def test_an_observer_knows_the_place_of_each_stamp(banks):
    bank, nominal = (Psf.load(path) for path in banks)
    sources = draw_sources(400, 4, LAW, noise=NOISE, n_members=PLACES, binary_share=0.0)
    stamps = make_stamps(sources, Renderer(bank), NOISE, 4)
    observer = Observer.of("compact", NOISE.variance, nominal, bank)
    left = observer.channels(stamps, sources["member"])[:, 1] * 3  # σ
    assert (left**2).sum((1, 2)).mean() / (left[0].size - 3) == pytest.approx(1.0, abs=0.03)
    elsewhere = fit_single(stamps, NOISE.variance, Renderer(nominal)).chi2 / (left[0].size - 3)
    assert elsewhere[sources["member"] > 0].mean() > 1.5


def test_a_network_learns_from_the_grid(grid, banks, tmp_path):
    bank, nominal = (Psf.load(path) for path in banks)
    sources = draw_sources(300, 5, LAW, noise=NOISE, n_members=MEMBERS)
    write_stamps(tmp_path / "validation.h5", make_stamps(sources, Renderer(bank), NOISE, 5), sources)
    train_on_stamps(
        tmp_path / "network", tmp_path / "validation.h5", None, *banks, network=NETWORK, law=LAW, noise=NOISE,
        n_train=1500, stamps_seed=6, seed=1, max_epochs=3,
    )  # fmt: skip
    context = json.loads((tmp_path / "network" / "model.json").read_text(encoding="utf-8"))["context"]
    assert context["bank"]["around"]["file"] == grid.name
    unseen = draw_sources(600, 7, LAW, noise=NOISE, n_members=MEMBERS)
    stamps = make_stamps(unseen, Renderer(bank), NOISE, 7)
    channels = Observer.of("compact", NOISE.variance, nominal, bank).channels(stamps, unseen["member"])
    p = Classifier.load(tmp_path / "network").probability(channels)
    assert np.mean((p > 0.5) == unseen["is_binary"]) > 0.6  # chance is 0.5 ± 0.02
