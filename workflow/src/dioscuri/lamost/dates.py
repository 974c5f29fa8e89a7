"""Dates of LAMOST: how its headers write them, and barycentric dates of its exposures, all offline."""

import re
import warnings
from datetime import datetime
from functools import cache

import numpy as np

XINGLONG = (117.5758, 40.3934, 960.0)  # longitude and latitude [deg], height [m]
BEIJING_TIME = 8.0 / 24.0  # days ahead of UTC
MJD_ZERO = datetime(1858, 11, 17)


def parse_date(text: object) -> float | None:
    """Days since MJD 0 of a LAMOST date such as '2018-01-30T13:30:0.000' (sic); None where it is no date."""
    found = re.fullmatch(r"\s*(\d{4})-(\d+)-(\d+)T(\d+):(\d+):(\d+(?:\.\d*)?)\s*", str(text))
    if found is None:
        return None
    year, month, day, hour, minute = (int(found[i]) for i in range(1, 6))
    try:
        midnight = datetime(year, month, day)
    except ValueError:
        return None
    return (midnight - MJD_ZERO).days + (hour * 3600 + minute * 60 + float(found[6])) / 86400.0


@cache
def _leap_seconds_end() -> float:
    """The day [MJD] up to which the leap seconds that astropy ships are known; they are announced half a year ahead."""
    from astropy.utils import iers

    return float(iers.LeapSeconds.from_iers_leap_seconds().expires.mjd)


def leap_seconds_known(mjd_utc: float) -> bool:
    """Whether UTC of this day [MJD] is settled; later ones are good to a second for each half year. NaN is."""
    return not mjd_utc > _leap_seconds_end()


def barycentric_date(mjd_utc: np.ndarray, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Barycentric Julian dates (TDB) of UTC dates [MJD] at Xinglong towards `ra`, `dec` [deg]; all (N,).

    Works offline with astropy's built-in ephemeris and the Earth-rotation tables that it ships, however old: the
    light travel time moves by well under a millisecond. What no date can be made of is NaN, as NaN is.
    """
    from astropy import units as u
    from astropy.coordinates import EarthLocation, SkyCoord
    from astropy.utils import iers

    dates = np.full(len(mjd_utc), np.nan)
    known = np.isfinite(mjd_utc) & np.isfinite(ra) & np.isfinite(dec)
    if not known.any():
        return dates
    site = EarthLocation.from_geodetic(XINGLONG[0] * u.deg, XINGLONG[1] * u.deg, XINGLONG[2] * u.m)
    with (
        iers.conf.set_temp("auto_download", False),
        iers.conf.set_temp("auto_max_age", None),  # else a night 30 days past the tables is an error
        iers.conf.set_temp("iers_degraded_accuracy", "ignore"),
        warnings.catch_warnings(),
    ):
        from astropy.time import Time  # here, because it looks for leap seconds when first imported

        # Of days to come neither leap seconds nor polar motion are known: `leap_seconds_known`.
        warnings.filterwarnings("ignore", ".*(dubious year|polar motions)")
        time = Time(mjd_utc[known], format="mjd", scale="utc", location=site)
        target = SkyCoord(ra[known] * u.deg, dec[known] * u.deg)
        dates[known] = (time.tdb + time.light_travel_time(target, "barycentric")).jd
    return dates
