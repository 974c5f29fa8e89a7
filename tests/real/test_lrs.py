"""Real LAMOST LRS spectra beside the mocks' own: the same star, synthesized, seen at R = 1800, normalised alike."""

import csv

import numpy as np
import pytest

from dioscuri.arms import Arm
from dioscuri.lamost.lrs import normalise_observed
from dioscuri.mocks.pairs import one_spectrum
from dioscuri.spectra.smoothing import smoothed

FULL = Arm("full", 3700.0, 9000.0, 5301, 1800.0)
# Redward of the bands of CN and CH, which the embedded line list lacks, and without the bands of O2 and H2O.
WINDOWS = ((4400.0, 6250.0), (6330.0, 6830.0))
DWARFS = ("3706009", "3706125", "3709013", "3709130", "3706011", "3709131")  # F and G stars of those at hand


@pytest.fixture(scope="module")
def parameters(real_data) -> dict[str, tuple[float, float, float, float]]:
    """Star → Teff, log g, [Fe/H], radial velocity, as LASP measured them."""
    with open(real_data / "lamost_lrs/dr10/LASP_CurveFit_inferred.csv", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    names = ("pred_Teff", "pred_logg", "pred_FeH", "pred_Rv")
    return {row["ID"].removesuffix(".fits"): tuple(float(row[name]) for name in names) for row in rows}


def observed(folder, star: str, rv: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    fits = pytest.importorskip("astropy.io.fits")
    with fits.open(folder / f"lamost_lrs/dr10/{star}.fits") as hdus:
        table = hdus["COADD"].data
        wave, flux, ivar = (np.ravel(table[name]).astype(float) for name in ("WAVELENGTH", "FLUX", "IVAR"))
    return normalise_observed(wave, flux, ivar, rv, FULL)


def synthesized(teff: float, logg: float, feh: float) -> np.ndarray:
    """The single star of the mocks, without noise."""
    ends = {"wave_min": FULL.wave_min, "wave_max": FULL.wave_max}
    wave, flux, _ = one_spectrum(teff, logg, feh, 0.0, vsini=5.0, resolution=FULL.resolution, **ends)
    flux = np.interp(FULL.wave, wave, flux)
    return flux / smoothed(FULL.wave, flux)


@pytest.mark.parametrize("star", DWARFS)
def test_mocks_look_like_lrs_spectra(real_data, parameters, star):
    teff, logg, feh, rv = parameters[star]
    seen, sigma, good = observed(real_data, star, rv)
    good &= np.any([(FULL.wave > low) & (FULL.wave < high) for low, high in WINDOWS], axis=0)

    def difference(model: np.ndarray) -> float:
        return float(np.std((seen - model)[good]))

    ours, noise = difference(synthesized(teff, logg, feh)), float(np.sqrt(np.mean(sigma[good] ** 2)))
    print(f"{star}: {teff:.0f} K, rms {ours:.3f}, noise by IVAR {noise:.3f}")
    assert ours < min(noise, 0.05)  # IVAR promises more noise than there is
    assert np.corrcoef(seen[good], synthesized(teff, logg, feh)[good])[0, 1] > 0.75
    # Another star is no match: 800 K hotter or cooler, or a tenth of its metals.
    for other in ((teff + 800, logg, feh), (teff - 800, logg, feh), (teff, logg, feh - 1)):
        assert difference(synthesized(*other)) > ours, other
    # Nor is the star itself, 150 km/s off.
    assert difference(np.interp(FULL.wave, FULL.wave * (1 + 5e-4), synthesized(teff, logg, feh))) > ours
