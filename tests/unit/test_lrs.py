"""LRS: the chain of the mocks at R = 1800 over 3700–9000 Å, and observed spectra normalised alike."""

import numpy as np
import pytest

from dioscuri.arms import C_KMS, Arm
from dioscuri.config import load_config
from dioscuri.lamost.lrs import RESOLUTION, STEP_KMS, make_lrs_mocks, normalise_observed
from dioscuri.libraries.build import assemble, node_labels
from dioscuri.libraries.grid import SpectralLibrary, log_grid, window_of
from dioscuri.spectra.smoothing import smoothed
from dioscuri.synthesis.kinematics import Kinematics

FULL = Arm("full", 3700.0, 9000.0, 5301, 1800.0)
AXES = {"teff": np.array([5000.0, 6000.0]), "logg": np.array([4.5]), "feh": np.array([0.0]), "afe": np.array([0.0])}


@pytest.fixture(scope="module")
def library() -> SpectralLibrary:
    """Black bodies with a line every 3000 km/s."""
    wave = log_grid(*window_of(FULL), STEP_KMS)

    def spectra():
        for node, (teff, *_) in enumerate(node_labels(AXES)):
            level = 1e15 / wave**5 / np.expm1(1.4387769e8 / wave / teff) * 1e12
            velocity = np.arange(len(wave)) * STEP_KMS % 3000 - 1500
            yield node, {"full": (level * (1 - 0.6 * np.exp(-0.5 * (velocity / 25.5) ** 2)), level)}

    return assemble(AXES, RESOLUTION, {"full": wave}, spectra(), {})


def columns(n: int, **fixed: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    made = {"pair_id": np.arange(n), "v1": rng.normal(0, 5, n), "dv": rng.uniform(-500, 500, n)}
    made |= {"snr": np.full(n, 1e9), "feh": np.zeros(n), "afe": np.zeros(n)}
    for star in "12":
        made |= {f"teff{star}": rng.uniform(5000, 6000, n), f"logg{star}": np.full(n, 4.5)}
        made |= {f"radius{star}": rng.uniform(0.5, 2, n), f"vsini{star}": rng.uniform(0, 300, n)}
    return made | {name: np.full(n, value) for name, value in fixed.items()}


def test_the_arm_is_that_of_the_settings(root, monkeypatch):
    monkeypatch.chdir(root)
    facts = load_config(["config/config.yaml", "config/surveys.yaml"]).instruments["lamost_lrs"].arms["full"]
    assert Arm("full", **facts.model_dump()) == FULL


def test_mocks_are_sums_over_their_own_smoothed_flux(library):
    pairs = columns(6)
    (batch,) = make_lrs_mocks(pairs, [library], FULL, seed=1, recipe="paper")
    single, binary = batch.spectra["full"]
    move = Kinematics(library.grid("full"), FULL.wave, library.resolution)
    stars = []
    for star, rv in (("1", pairs["v1"]), ("2", pairs["v1"] + pairs["dv"])):
        labels = np.column_stack([pairs[f"teff{star}"], pairs[f"logg{star}"], pairs["feh"], pairs["afe"]])
        flux = move(library.flux("full", labels), pairs[f"vsini{star}"], rv, 1800.0).double().numpy()
        stars.append(flux * pairs[f"radius{star}"][:, None] ** 2)
    for made, flux in ((single, stars[0]), (binary, stars[0] + stars[1])):
        assert np.abs(made - (flux / smoothed(FULL.wave, flux) - 1)).max() < 6e-4


def test_lines_have_the_width_of_r_1800(library):
    (batch,) = make_lrs_mocks(
        columns(1, teff1=5500, vsini1=0, v1=0), [library], FULL, seed=1, recipe="paper", width=50.0
    )
    depth = -batch.spectra["full"][0][0].astype(float)
    near = np.abs(FULL.wave - 6000) < 400
    peak = np.flatnonzero(near)[depth[near].argmax()]
    around = slice(peak - 12, peak + 13)
    offset = FULL.wave[around] - FULL.wave[peak]
    # Moments of a Gaussian of FWHM λ/1800 cut at 12 Å: the smoothed flux around it is a little below one.
    weight = np.maximum(depth[around] - depth[around][[0, -1]].mean(), 0)
    centre = (weight * offset).sum() / weight.sum()
    sigma = np.sqrt((weight * (offset - centre) ** 2).sum() / weight.sum())
    assert 2.3548 * sigma == pytest.approx(FULL.wave[peak] / 1800, rel=0.1)


@pytest.mark.parametrize("recipe", ["paper", "lrs"])
def test_the_same_bits_in_any_batch(library, recipe):
    pairs = columns(12, snr=30)
    whole = next(make_lrs_mocks(pairs, [library], FULL, seed=1, recipe=recipe, batch=12)).spectra["full"]
    part = {name: values[5:9] for name, values in pairs.items()}
    (batch,) = make_lrs_mocks(part, [library], FULL, seed=1, recipe=recipe, batch=7)
    for a, b in zip(whole, batch.spectra["full"]):
        assert np.array_equal(a[5:9], b) and np.isfinite(b).all()


def test_an_observed_spectrum_is_brought_to_rest_and_normalised_as_the_mocks_are(library):
    """A mock star, moved, sampled as LAMOST samples, with bad pixels: normalised it is the mock again."""
    label = np.array([[5500.0, 4.5, 0.0, 0.0]])
    native = 10 ** np.arange(np.log10(3702.0), np.log10(8998.0), 1e-4)
    move = Kinematics(library.grid("full"), native, library.resolution)
    rv = 60.0
    flux = move(library.flux("full", label), 0.0, rv, 1800.0)[0].double().numpy()
    ivar = np.full(len(flux), (100 / flux.mean()) ** 2)
    flux[2000:2010] = 0
    ivar[2000:2010] = 0
    seen, sigma, good = normalise_observed(native, flux, ivar, rv, FULL)
    inside = good & (FULL.wave > 3800) & (FULL.wave < 8900)
    at_rest = Kinematics(library.grid("full"), FULL.wave, library.resolution)(library.flux("full", label), 0, 0, 1800.0)
    expected = at_rest[0].double().numpy()
    expected /= smoothed(FULL.wave, expected)
    # Linear interpolation of 69 km/s steps fills a line of σ = 71 km/s by a tenth of its depth at most.
    assert np.abs(seen - expected)[inside].max() < 0.05 and np.std((seen - expected)[inside]) < 0.01
    hidden = ~good & (FULL.wave > 3800) & (FULL.wave < 8900)
    assert 5 <= hidden.sum() <= 25 and np.isinf(sigma[hidden]).all()
    spoilt = native[[2000, 2009]] / (1 + rv / C_KMS)
    assert FULL.wave[hidden].min() > spoilt[0] - 3 and FULL.wave[hidden].max() < spoilt[1] + 3


def test_observed_spectra_without_enough_good_pixels_are_refused():
    wave = np.linspace(3700, 9000, 4000)
    with pytest.raises(ValueError, match="no pixel has flux"):
        normalise_observed(wave, np.ones(4000), np.zeros(4000), 0.0, FULL)
    with pytest.raises(ValueError, match="of the pixels between 3700 and 9000 Å are good"):
        normalise_observed(wave, np.ones(4000), (wave < 5000).astype(float), 0.0, FULL)
