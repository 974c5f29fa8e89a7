"""The library of low-resolution spectra against real LAMOST dwarfs: residuals, and where K and M stars come to lie.

No star here was fitted but for the flatness of T(τ) below 5200 K, set by five of dr1_km, dr7 and dr10 (K5 to M1).
"""

import numpy as np
import pandas as pd
import pytest

from dioscuri.arms import Arm
from dioscuri.lamost.library_gap import fitted_labels, library_light, observe, residual_table
from dioscuri.libraries.build import build_embedded
from dioscuri.libraries.grid import window_of

RESOLUTION = 1600.0  # what LAMOST's spectra have: at 1800 the residuals at 4250-6250 Å are a tenth larger
STARTS = np.arange(4200.0, 8700.0, 250.0)
# Effective temperatures of the subclasses (Pecaut & Mamajek 2013)
CLASSES = {"K5": 4450, "K7": 4050, "M0": 3850, "M1": 3680, "M2": 3550}


@pytest.fixture(scope="module")
def library():
    axes = {
        "teff": np.arange(3500.0, 5901.0, 300.0),
        "logg": np.array([4.6]),
        "feh": np.array([-0.8, -0.2, 0.4]),
        "afe": np.array([0.0]),
    }
    window = {"full": window_of(Arm("full", 3700.0, 9000.0, 5301, 1800.0))}
    return build_embedded(axes, window, step_kms=20.0, resolution=5000.0, molecules=True, progress=False)


@pytest.fixture(scope="module")
def cool_stars(real_data):
    folders = [real_data / "lamost_lrs" / name for name in ("dr1_km", "dr7", "dr8", "dr10")]
    return observe([path for folder in folders for path in sorted(folder.glob("*.fits*"))], 15.0)


def test_dwarfs_of_known_labels_agree(real_data, library):
    """Half a per cent is what a second star changes: the residual is larger, and is what calibration is for."""
    folder = real_data / "lamost_lrs" / "dr10_fg"
    labels = pd.read_csv(folder / "labels.csv").query("kind == 'dwarf' and 4800 < teff < 5600 and feh > -0.7")
    stars = observe([folder / name for name in labels["file"][::2]])
    labels = labels.set_index("file").loc[stars.names]
    columns = {name: labels[name].to_numpy() for name in ("teff", "logg", "feh")}
    residual = stars.flux - library_light(library, columns, RESOLUTION)
    table, counts = residual_table(residual, stars.sigma, columns["teff"], (4800, 5600), STARTS)
    print("4800-5600 K, n", counts, np.round(100 * table, 2))
    assert counts[0] > 30
    assert table[0, 0] < 0.05  # the G band
    assert np.sqrt(np.nanmean(table[0, 2:] ** 2)) < 0.010


def test_late_k_dwarfs_agree_at_their_best_fit(library, cool_stars):
    best = fitted_labels(cool_stars, library, RESOLUTION)
    residual = cool_stars.flux - library_light(library, best, RESOLUTION)
    table, counts = residual_table(residual, cool_stars.sigma, best["teff"], (4400, 4800), STARTS)
    print("4400-4800 K, n", counts, np.round(100 * table, 2))
    assert table[0, 0] < 0.05
    assert np.sqrt(np.nanmean(table[0, 2:] ** 2)) < 0.015


def test_k_and_m_dwarfs_come_to_lie_where_their_class_says(library, cool_stars):
    """Without molecules M0 to M2 were fitted at 4350-4600 K and [Fe/H] = −1."""
    best = fitted_labels(cool_stars, library, RESOLUTION)
    subclass = np.array([name.strip() for name in cool_stars.subclass])
    late = np.isin(subclass, list(CLASSES))
    expected = np.array([CLASSES[name] for name in subclass[late]])
    off = best["teff"][late] - expected
    print(sorted(zip(subclass[late], best["teff"][late], best["feh"][late])))
    assert abs(np.median(off)) < 250
    assert np.median(best["feh"][late]) > -0.5
