"""A survey of LRS files of known stars, with a gap of its own to the mocks, for the stages of real files."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from dioscuri.lamost.lrs_files import LRSFile
from dioscuri.lamost.lrs_writer import WAVE, write_lrs_file
from dioscuri.libraries.grid import SpectralLibrary
from dioscuri.libraries.photometry import EXTINCTION, Photometry
from dioscuri.mocks.lrs_light import ARM, FAINT, LightMaker, light_share
from dioscuri.spectra import lrs_frame
from dioscuri.spectra.smoothing import smoothed
from dioscuri.stars.field import KINDS, FieldLaw, draw_systems, draw_visits
from dioscuri.stars.tracks import TrackGrid
from dioscuri.synthesis.kinematics import Kinematics

log = logging.getLogger(__name__)

RELEASE = "SIMULATED"
TEFF = (4350.0, 5650.0)  # what the paper's cut in colour keeps
RIPPLE_SEED, RIPPLE_SCALE = 5, 40.0  # of the response, the same in every spectrum; Å
BAD_SHARE = 0.004  # native pixels without a measurement
# 1σ of LASP by repeats in DR10 at S/N_g 25, 50, 100, 300.
ERROR_SNRG = (25.0, 50.0, 100.0, 300.0)
ERRORS = {"teff": (160.0, 107.0, 89.0, 98.0), "logg": (0.19, 0.13, 0.09, 0.08), "feh": (0.13, 0.08, 0.06, 0.05)}
RV_ERROR = 5.0  # km/s
OBSERVED = slice(*np.searchsorted(WAVE, (3705.0, 8995.0)))  # native pixels with light, at velocities up to 400 km/s


def simulate_survey(
    folder: str | Path,
    n: int,
    seed: int,
    tracks: TrackGrid,
    library: SpectralLibrary,
    law: FieldLaw,
    *,
    ripple: float = 0.01,
    distance_max: float = 2000.0,
    photometry: Photometry | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Write every visit of `n` systems as an LRS file into `folder`; returns catalogue and truth, a row a file, and the
    known planet hosts (hostname, source_id).

    `library` is not that of the mocks: with a response `ripple` (1σ of the flux, fixed) it makes the gap that a
    calibration has to find. Catalogue: obsid, source_id, ra, dec, snrg, teff, logg, feh, rv with errors as measured,
    and g, bp, rp, ks, parallax, ebv where `photometry` is given.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    systems = _systems(n, seed, tracks, library, law)
    visits = draw_visits(systems, seed, law)
    random = np.random.default_rng([seed, 0x5E7])
    response = 1.0 + ripple * _fixed_ripple()
    row = visits["row"]
    sky = _positions(random, n)
    ebv = random.gamma(2.0, 0.04, n)
    flux, sigma = _native(systems, visits, library, response, ebv, random)
    obsid = 900000001 + np.arange(len(row))
    for i in range(len(row)):
        bad = random.random(len(WAVE)) < BAD_SHARE
        usable = (sigma[i] > 0) & ~bad
        ivar = np.divide(1.0, sigma[i] ** 2, out=np.zeros(len(WAVE)), where=usable)
        name = f"LAMOST J{sky['ra'][row[i]]:.5f}{sky['dec'][row[i]]:+.5f}"
        file = LRSFile(
            folder / f"spec-{obsid[i]}.fits", int(obsid[i]), name, RELEASE, float(sky["ra"][row[i]]),
            float(sky["dec"][row[i]]), int(visits["mjd"][i]) + 1, "STAR", "K", float(visits["v1"][i]),
            float(visits["snrg"][i]), WAVE, flux[i], ivar, bad,
        )  # fmt: skip
        write_lrs_file(file.path, file, "table")
    catalogue = _catalogue(systems, visits, obsid, sky, random)
    if photometry is not None:
        seen = _photometry(systems, photometry, ebv, distance_max, random)
        catalogue = catalogue.assign(**{name: values[row] for name, values in seen.items()})
    truth = pd.DataFrame({"obsid": obsid, "source_id": catalogue["source_id"], "dv": visits["dv"]})
    truth = truth.assign(**{name: values[row] for name, values in systems.items()})
    truth["kind"] = np.array(KINDS)[truth["kind"].to_numpy()]
    log.info("%d files of %d systems in %s", len(row), n, folder)
    known = truth.loc[truth["planet"], ["source_id"]].drop_duplicates()
    return catalogue, truth, known.assign(hostname=[f"SIM-{number}" for number in known["source_id"] % 10**15])


def _systems(n: int, seed: int, tracks: TrackGrid, library: SpectralLibrary, law: FieldLaw) -> dict[str, np.ndarray]:
    maker, parts, found = LightMaker(library), [], 0
    for block in range(100):
        systems = draw_systems(max(4 * n, 2000), seed + 104729 * (block + 1), tracks, law)
        kept = (systems["teff1"] > TEFF[0]) & (systems["teff1"] < TEFF[1]) & (systems["logg1"] > 4.0)
        kept &= maker.usable(systems)
        parts.append({name: values[kept] for name, values in systems.items()})
        found += int(kept.sum())
        if found >= n:
            break
    systems = {name: np.concatenate([part[name] for part in parts])[:n] for name in parts[0]}
    return systems | {"system_id": np.arange(n, dtype=np.int64)}


def _positions(random: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    return {"ra": random.uniform(0.0, 360.0, n), "dec": np.degrees(np.arcsin(random.uniform(-0.17, 0.86, n)))}


def _fixed_ripple() -> np.ndarray:
    """What the response is off by, unit variance, smooth over RIPPLE_SCALE, (P,): the same for all."""
    random = np.random.default_rng(RIPPLE_SEED)
    knots = np.arange(WAVE[0], WAVE[-1] + RIPPLE_SCALE, RIPPLE_SCALE)
    return np.interp(WAVE, knots, random.standard_normal(len(knots)))


def _native(
    systems: Mapping[str, np.ndarray],
    visits: Mapping[str, np.ndarray],
    library: SpectralLibrary,
    response: np.ndarray,
    ebv: np.ndarray,
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Flux and 1σ of all visits on LAMOST's pixels (V, P), 0 where the library has no light."""
    wave = WAVE[OBSERVED]
    move = Kinematics(library.grid(ARM), wave, library.resolution)
    row, n = visits["row"], len(visits["row"])
    sharp = lrs_frame.RESOLUTION * random.uniform(0.9, 1.1, n)
    flux, sigma = np.zeros((n, len(WAVE))), np.zeros((n, len(WAVE)))
    # Each star stands still in the library: what moves it are its radial velocities.
    maker = LightMaker(library)
    for start in range(0, n, 128):
        part = slice(start, min(start + 128, n))
        stars = {name: values[row[part]] for name, values in systems.items()}
        light = np.zeros((len(row[part]), len(wave)))
        share = np.where(stars["radius2"] > 0, light_share(stars), 0.0)
        for number, v in ((1, visits["v1"][part]), (2, visits["v2"][part])):
            lit = np.ones(len(share), bool) if number == 1 else share >= FAINT
            if lit.any():
                labels = maker.labels({name: values[lit] for name, values in stars.items()}, number)
                one = move(library.flux(ARM, labels), stars[f"vsini{number}"][lit], v[lit], sharp[part][lit]).numpy()
                light[lit] += one * stars[f"radius{number}"][lit, None] ** 2
        light *= 1000.0 / np.median(light, axis=1, keepdims=True)
        light *= 10 ** (-0.4 * 3.1 * ebv[row[part], None] * ((5500.0 / wave) ** 1.3 - 1.0))
        nights = lrs_frame.systematics(random, len(light))
        light *= response[OBSERVED] * np.stack([np.interp(wave, lrs_frame.WAVE, night) for night in nights])
        grid, coarse = _even(wave, light)
        level = np.stack([np.interp(wave, grid, one) for one in smoothed(grid, coarse, width=lrs_frame.WIDTH)])
        noise = np.interp(wave, lrs_frame.NOISE[:, 0], lrs_frame.NOISE[:, 1]) / visits["snrg"][part, None]
        flux[part, OBSERVED] = light + noise * level * random.standard_normal(light.shape)
        sigma[part, OBSERVED] = noise * level
    return flux, sigma


def _even(wave: np.ndarray, light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    grid = np.arange(wave[0], wave[-1], 4.0)
    return grid, np.stack([np.interp(grid, wave, one) for one in light])


def _catalogue(systems, visits, obsid, sky, random) -> pd.DataFrame:
    row, snrg = visits["row"], visits["snrg"]
    share = np.where(systems["radius2"] > 0, light_share(systems), 0.0)
    blend = (1 - share) * systems["teff1"] + share * systems["teff2"]
    true = {"teff": blend, "logg": systems["logg1"], "feh": systems["feh"]}
    table = pd.DataFrame({"obsid": obsid, "source_id": 10**15 + systems["system_id"][row]})
    table = table.assign(ra=sky["ra"][row], dec=sky["dec"][row], snrg=snrg)
    for name, errors in ERRORS.items():
        table[name] = true[name][row] + np.interp(snrg, ERROR_SNRG, errors) * random.standard_normal(len(row))
    velocity = visits["v1"] + np.where(np.abs(visits["dv"]) < 150, share[row] * visits["dv"], 0.0)
    return table.assign(rv=velocity + RV_ERROR * random.standard_normal(len(row)))


def _photometry(systems, photometry, ebv, distance_max, random) -> dict[str, np.ndarray]:
    """Apparent magnitudes, parallax and reddening of the systems (N,), with errors as Gaia and 2MASS have them."""
    n = len(systems["m1"])
    one, two = (
        photometry.absolute(*(systems[f"{name}{k}"] for name in ("teff", "logg")), systems["feh"],
                            np.maximum(systems[f"radius{k}"], 1e-3)) for k in (1, 2)
    )  # fmt: skip
    distance = distance_max * np.maximum(random.random(n), 0.01)  # limited by brightness: as many near as far
    modulus = 5 * np.log10(distance / 10.0)
    error = 0.03
    parallax = 1000.0 / distance + error * random.standard_normal(n)
    seen = {"distance": 1000.0 / np.maximum(parallax, 0.05), "parallax": parallax, "parallax_error": np.full(n, error)}
    seen |= {"ruwe": 1.0 + 0.05 * np.abs(random.standard_normal(n)), "ebv": ebv + 0.015 * random.standard_normal(n)}
    for band, sigma in (("G", 0.004), ("BP", 0.005), ("RP", 0.005), ("Ks", 0.025)):
        pair = np.where(systems["radius2"] > 0, 10 ** (-0.4 * np.nan_to_num(two[band], nan=99.0)), 0.0)
        light = -2.5 * np.log10(10 ** (-0.4 * one[band]) + pair)
        seen[band.lower()] = light + modulus + EXTINCTION[band] * ebv + sigma * random.standard_normal(n)
    return seen
