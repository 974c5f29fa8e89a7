"""Twin binaries of chosen stars against their separation, on the product's own path (Zhang et al. 2022, Fig. 5)."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dioscuri.arms import Arm
from dioscuri.catalogs.evidence import Evidence
from dioscuri.catalogs.pairs import fit_exposures
from dioscuri.catalogs.scores import scored
from dioscuri.evaluation.mock_path import observer_of
from dioscuri.io import atomic
from dioscuri.job import provenance, use_threads
from dioscuri.libraries.grid import SpectralLibrary
from dioscuri.paths import format_number
from dioscuri.spectra.continuum import normalise
from dioscuri.synthesis.kinematics import Kinematics

SCHEMA = "dioscuri/twins/1"
# Name and labels (Teff [K], log g, [Fe/H], [α/Fe]); beyond a library they move to its border, as the M dwarf does.
TWINS = {
    "A dwarf": (8000.0, 4.1, 0.0, 0.0),
    "F dwarf": (6750.0, 4.2, 0.0, 0.0),
    "G dwarf": (5750.0, 4.4, 0.0, 0.0),
    "K dwarf": (4750.0, 4.5, 0.0, 0.0),
    "M dwarf": (3900.0, 4.7, 0.0, 0.0),
    "K giant": (4750.0, 2.5, 0.0, 0.0),
}
SEPARATIONS = np.arange(0.0, 201.0, 20.0)  # km/s
SNRS = (10.0, 20.0, 40.0, 80.0)
VSINI = (5.0, 50.0)  # km/s; the paper's figure has 5


def score_twins(
    models: Sequence[str | os.PathLike],
    library_path: str | os.PathLike,
    evidence_path: str | os.PathLike,
    arms: Sequence[Arm],
    out: str | os.PathLike,
    *,
    penalties: Sequence[float],
    draws: int,
    seed: int,
    threads: int = 1,
    settings: Any = None,
) -> None:
    """Write name, vsini, arm, snr, dv, penalty and the 16, 50 and 84 % points of p of all twins (Parquet).

    `models`: model.ckpt files of all arms. One exposure of white noise for each; p is over `draws` and models.
    """
    from dioscuri.learn.spectra.inference import Ensemble
    from dioscuri.learn.spectra.models import load_models

    use_threads(threads)
    library = SpectralLibrary.load(library_path)
    observer = observer_of(library_path, arms)
    grid = np.array([(k, v, s, d) for k in range(len(TWINS)) for v in VSINI for s in SNRS for d in SEPARATIONS])
    spectra, rv = {}, {}
    for index, arm in enumerate(arms):
        clean = _twins(library, arm, grid)
        noise = np.random.default_rng([seed, index]).standard_normal(clean.shape)
        sigma = np.repeat(1 / grid[:, 2:3], arm.n_pixels, axis=1)
        rest, error, rv[arm.name] = observer.measured(arm.name, clean + sigma * noise, sigma, np.zeros(len(grid)))
        spectra[arm.name] = (rest.astype(np.float16), error.astype(np.float16))
    fits = fit_exposures(observer.fitters, spectra, rv, Evidence.load(evidence_path))
    rows: dict[str, list] = {name: [] for name in ("name", "vsini", "arm", "snr", "dv", "penalty", "p16", "p50", "p84")}
    for arm in arms:
        ensemble = Ensemble(load_models([path for path in models if f"/{arm.name}/" in str(path)], arm.name))
        keys = np.arange(len(grid))
        at = (keys, rv[arm.name], fits["frame"])
        found = scored(ensemble, arm, *spectra[arm.name], *at, penalties=penalties, n_draws=draws, seed=seed)
        for penalty in penalties:
            _add(rows, arm.name, penalty, grid, found[f"pb_pct_{format_number(penalty)}"])
    table = pa.table(rows)
    metadata = {"schema": SCHEMA, "provenance": json.dumps(provenance(settings), sort_keys=True, default=str)}
    with atomic(out) as temporary:
        pq.write_table(table.replace_schema_metadata(metadata), temporary, compression="zstd")


def _twins(library: SpectralLibrary, arm: Arm, grid: np.ndarray) -> np.ndarray:
    """Normalised flux − 1 of every row of `grid` (star, v sin i, S/N, Δv), (N, L), without noise."""
    low, high = np.transpose(list(library.limits.values()))
    labels = np.clip(np.array(list(TWINS.values())), low, high)
    move = Kinematics(library.grid(arm.name), arm.wave, library.resolution)
    one = library.flux(arm.name, labels)[grid[:, 0].astype(int)]
    still, moving = (move(one, grid[:, 1], v, arm.resolution).double().numpy() for v in (0 * grid[:, 3], grid[:, 3]))
    return normalise(arm.wave, still + moving)[0] - 1


def _add(rows: Mapping[str, list], arm: str, penalty: float, grid: np.ndarray, percentiles: np.ndarray) -> None:
    names = list(TWINS)
    for (star, vsini, snr, dv), (_, p16, p50, p84, _) in zip(grid, percentiles):
        values = (names[int(star)], vsini, arm, snr, dv, penalty, p16, p50, p84)
        for column, value in zip(rows.values(), values):
            column.append(value if isinstance(value, str) else float(value))
