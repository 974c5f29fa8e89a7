"""Rows of one star are one source: by identifier, by name, by place on the sphere."""

import numpy as np

from dioscuri.catalogs.sources import duplicates, group, name_sources

ARCSEC = 1 / 3600


def groups(gaia=None, name=None, ra=None, dec=None, **options):
    n = len(next(values for values in (gaia, name, ra, dec) if values is not None))
    gaia = np.zeros(n, np.int64) if gaia is None else np.array(gaia)
    name = np.full(n, "") if name is None else np.array(name)
    # Without places given, rows are degrees apart.
    ra = np.arange(n) * 3.0 if ra is None else np.array(ra, float)
    dec = np.zeros(n) if dec is None else np.array(dec, float)
    number = group(gaia, name, ra, dec, **options)
    return [sorted(np.flatnonzero(number == k).tolist()) for k in sorted(set(number), key=number.tolist().index)]


def test_one_identifier_or_one_name_is_one_star():
    assert groups(gaia=[7, 8, 7, 0]) == [[0, 2], [1], [3]]
    assert groups(name=["J1", "J2", "J1", "", ""]) == [[0, 2], [1], [3], [4]]


def test_friends_of_friends_on_the_sphere():
    """1.5 arcsec from each to the next; at dec 89.9 a degree of right ascension is 6 arcsec."""
    assert groups(dec=np.array([0, 1.5, 3.0, 5.5]) * ARCSEC, ra=[10.0] * 4) == [[0, 1, 2], [3]]
    assert groups(ra=[10.0, 10.2], dec=[89.9, 89.9]) == [[0, 1]]
    assert groups(ra=[359.9999, 0.0001], dec=[0.0, 0.0]) == [[0, 1]]
    assert groups(ra=[359.9999, 0.0001], dec=[0.0, 0.0], radius=0.5) == [[0], [1]]


def test_two_stars_that_gaia_tells_apart_stay_apart():
    """What lies between them without an identifier belongs to the nearer one."""
    dec = np.array([0.0, 1.9, 1.2]) * ARCSEC
    assert groups(gaia=[7, 8, 0], dec=dec, ra=[10.0] * 3) == [[0], [1, 2]]


def test_a_source_is_named_by_its_first_observation():
    name, gaia = name_sources(
        np.array(["J2", "J1", "", ""]), np.array([0, 5, 0, 0]), np.array([20, 30, 40, 50]), np.array([0, 0, 0, 1])
    )
    assert name.tolist() == ["J2", "J2", "J2", "obsid 50"]
    assert gaia.tolist() == [5, 5, 5, 0]


def test_a_row_with_both_arms_beats_a_brighter_one_with_a_single_arm():
    rows = {
        "obsid": np.array([1, 1, 2]),
        "exposure": np.array([5, 5, 5]),
        "file": np.array(["a", "b", "c"]),
        "snr_B": np.array([90.0, 20.0, 1.0]),
        "snr_R": np.array([np.nan, 30.0, 1.0]),
        "specflag_B": np.array([True, True, False]),
        "specflag_R": np.array([False, True, False]),
    }
    kept, again = duplicates(rows)
    assert kept.tolist() == [False, True, True]
    assert [row["file"] for row in again] == ["a"]
