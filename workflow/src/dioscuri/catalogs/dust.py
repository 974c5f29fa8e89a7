"""Reddening from the 3D dust map of Green et al. (2019), as in §4.3 of the paper, where `dustmaps` and its map are."""

import numpy as np

EBV_PER_UNIT = 0.884  # E(B − V) over Bayestar's own unit: A_V = 2.742 of Green et al. (2019, table 1), over 3.1


def bayestar_ebv(ra: np.ndarray, dec: np.ndarray, parallax: np.ndarray) -> np.ndarray:
    """E(B − V) [mag] in front of stars at `ra`, `dec` [deg] and 1/`parallax` [mas], (N,); NaN off the map.

    ValueError where the package or its map is missing, with what to do.
    """
    cure = "leave lamost_mrs.table.dust out and give a_g or ebv in the table"
    try:
        from dustmaps.bayestar import BayestarQuery
    except ImportError as error:
        raise ValueError(
            f"lamost_mrs.table.dust: bayestar needs the package dustmaps ({error}): install it, or {cure}"
        ) from None
    try:
        query = BayestarQuery(version="bayestar2019")
    except (OSError, KeyError) as error:
        raise ValueError(
            f"lamost_mrs.table.dust: the map bayestar2019 is not there ({error}): fetch it with "
            f"dustmaps.bayestar.fetch(), or {cure}"
        ) from None
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    known = parallax > 0
    ebv = np.full(len(ra), np.nan)
    distance = 1.0 / parallax[known] * u.kpc
    ebv[known] = EBV_PER_UNIT * query(SkyCoord(ra[known] * u.deg, dec[known] * u.deg, distance=distance), mode="median")
    return ebv
