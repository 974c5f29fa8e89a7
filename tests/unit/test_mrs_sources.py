"""Figures of the sources: a panel per comparison, and the paper's example as the paper has it."""

import numpy as np
import pytest
from matplotlib.image import imread

from dioscuri.plots.mrs_sources import Comparison, cross_library, papers_pair
from dioscuri.stars.tracks import load_tracks


def test_cross_library_shows_every_comparison(tmp_path):
    wave, rng = np.linspace(5000, 5300, 300), np.random.default_rng(0)
    theirs = 1 - 0.3 * rng.random(300)
    shown = [
        Comparison(name, arm, wave, theirs + 0.02 * rng.normal(size=300) + 0.1, theirs)
        for name in ("Sun", "Procyon")
        for arm in ("blue", "red")
    ]
    assert shown[0].rms == pytest.approx(0.02, rel=0.15)  # whatever the offset
    cross_library(tmp_path / "f.png", shown)
    height, width, _ = imread(tmp_path / "f.png").shape
    assert (width, height) == (1350, pytest.approx(150 * 3.3, abs=1))


def test_papers_pair_is_the_papers(tmp_path):
    narrow = {"blue": {"wave_min": 5160.0, "wave_max": 5190.0, "n_pixels": 300, "resolution": 7500.0}}
    load_tracks().save(tmp_path / "tracks.npz")
    stars = papers_pair(tmp_path / "f.png", tmp_path / "tracks.npz", narrow)
    assert stars["primary"]["mass_initial"] == 1.0 and stars["secondary"]["mass_initial"] == pytest.approx(0.9)
    assert stars["primary"]["age_gyr"] == pytest.approx(5) and stars["secondary"]["age_gyr"] == pytest.approx(5)
    # A little older than the Sun, and a K0 dwarf (Pecaut & Mamajek 2013: 0.9 M☉ has 5300 K).
    assert stars["primary"]["teff"] == pytest.approx(5780, abs=100)
    assert stars["secondary"]["teff"] == pytest.approx(5400, abs=150)
    assert imread(tmp_path / "f.png").shape[1] == 1350
