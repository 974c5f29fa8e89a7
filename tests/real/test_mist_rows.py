"""Embedded tracks against rows of a genuine MIST v1.2 track."""

import numpy as np

from dioscuri.stars.tracks import LOG_AGE, LOG_LUMINOSITY, LOG_RADIUS, LOG_TEFF, LOGG, load_tracks


def test_embedded_tracks_start_where_mist_does(real_data):
    rows = np.genfromtxt(real_data / "tracks" / "00100M_rows.csv", delimiter=",", names=True)
    rows = rows[rows["phase"] == 0]
    assert rows["EEP"].size >= 6
    star = load_tracks().evaluate(1.0, rows["EEP"], 0.0)
    np.testing.assert_allclose(10 ** star[:, LOG_AGE], rows["star_age"], rtol=0.02)
    np.testing.assert_allclose(10 ** star[:, LOG_TEFF], 10 ** rows["log_Teff"], atol=120)
    np.testing.assert_allclose(star[:, LOG_LUMINOSITY], rows["log_L"], atol=0.05)
    np.testing.assert_allclose(star[:, LOG_RADIUS], rows["log_R"], atol=0.01)
    np.testing.assert_allclose(star[:, LOGG], rows["log_g"], atol=0.02)
