"""Which 'binaries' are single stars, and why: shares of the stars with p > 0.5 by what they truly are.

python benchmarks/rates/lrs_causes.py LIBRARY.h5 [MODELS] [N]: a field of N systems (6000) as the survey would see it
(half of them pairs, flat mass ratios, velocities off by 12 km/s, R within 15 %), then with one cause of error after
another in all of its single stars; last what follows for a sample of half a million binaries.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from dioscuri.catalogs import published_lrs as paper
from dioscuri.evaluation.lrs_models import seen_spectra
from dioscuri.evaluation.lrs_scores import Scorer, load_scorer
from dioscuri.libraries.grid import SpectralLibrary
from dioscuri.mocks.lrs_mocks import Disturbances, disturbed, draw_sample, normalised_light
from dioscuri.paths import models_folder
from dioscuri.spectra.lrs_calibration import Calibration
from dioscuri.stars.field import FieldLaw
from dioscuri.stars.tracks import load_tracks

TEFF = (4350.0, 5650.0)  # K, what the paper's cut in colour keeps
SEEN = Disturbances(velocity_error=12.0, resolution_spread=0.15)
PARTS = {
    "single": lambda s: s["q"] == 0,
    "pair, q < 0.4": lambda s: (s["q"] > 0) & (s["q"] <= 0.4),
    "pair, 0.4 < q < 0.6": lambda s: (s["q"] > 0.4) & (s["q"] <= 0.6),
    "pair, 0.6 < q < 0.93": lambda s: (s["q"] > 0.6) & (s["q"] <= 0.93),
    "pair, q > 0.93": lambda s: s["q"] > 0.93,
}


def main(library_file: str, models: str | None = None, n: str = "6000") -> None:
    """Print both tables."""
    torch.set_num_threads(1)
    library, tracks = SpectralLibrary.load(library_file), load_tracks("embedded")
    scorer = load_scorer(Path(models) if models else models_folder() / "lamost_lrs")
    field = disturbed(draw_sample(int(n), 31, tracks, library, FieldLaw(), TEFF), 31, SEEN)
    p = scored(field, library, scorer)
    called = p > 0.5
    print(f"called binary: {called.mean():.3f} of {len(p)} stars (paper: {paper.SHARE_ABOVE[0.5]:.3f})")
    print("of the stars called binary are …; and of these stars are called binary")
    for name, chosen in PARTS.items():
        rows = chosen(field)
        print(f"  {name:22s} {(called & rows).sum() / called.sum():.3f}   {called[rows].mean():.3f}")
    close = (field["q"] > 0) & (field["period"] < 10)
    print(f"  {'closer than 10 d':22s} {(called & close).sum() / called.sum():.3f}   {called[close].mean():.3f}")
    single = {name: values[field["q"] == 0] for name, values in field.items()}
    base = float(called[field["q"] == 0].mean())
    print(
        f"\nsingle stars called binary: {base:.3f}; with one cause in all of them, and what share of the 'binaries' of"
    )
    print("this field it makes if one single star in ten has it")
    for name, changed in causes(single, tracks, library).items():
        share = float((scored(changed, library, scorer) > 0.5).mean())
        extra = 0.1 * (share - base) * len(single["q"]) / called.sum()
        print(f"  {name:30s} {share:.3f}   {extra:+.3f}")
    wrong = scored(single, library, scorer, metals=0.3)
    print(f"  {'calibrated at [Fe/H] + 0.3':30s} {(wrong > 0.5).mean():.3f}")
    middle = PARTS["pair, 0.6 < q < 0.93"](field)
    most = called[middle].mean() * middle.mean() + called[field["q"] == 0].mean() * (field["q"] == 0).mean()
    wanted, pairs = paper.SHARE_ABOVE[0.5], field["q"] > 0
    false = (wanted - called[pairs].mean() * pairs.mean()) / (1 - pairs.mean())
    print(
        f"\nWith {pairs.mean():.2f} of all stars in pairs of flat mass ratios {middle.mean():.2f} have 0.6 < q < 0.93; "
        f"these and false ones are {most:.2f} of all stars, every ratio together {called.mean():.2f}. For "
        f"{wanted:.2f}, {false:.2f} of the single stars would have to be called binary."
    )


def causes(single: dict[str, np.ndarray], tracks, library) -> dict[str, dict[str, np.ndarray]]:
    """The single stars again, each time with one thing changed in all of them."""
    full = np.ones(len(single["q"]))
    old, young = _of_age(single, tracks, 12.0), _of_age(single, tracks, 1.0)
    table = {f"v sin i {v:g} km/s": {"vsini1": v * full} for v in (30.0, 60.0, 120.0)}
    table |= {"[alpha/Fe] + 0.2": {"afe": np.clip(single["afe"] + 0.2, *library.limits["afe"])}}
    table |= {"age 12 Gyr": old, "age 1 Gyr": young}
    table |= {f"{share:.0%} moonlight": {"moon": share * full} for share in (0.03, 0.1)}
    return {name: single | changed for name, changed in table.items()}


def _of_age(single: dict[str, np.ndarray], tracks, gyr: float) -> dict[str, np.ndarray]:
    """Temperature, gravity and radius at another age; a star that does not live then stays as it is."""
    from dioscuri.stars.tracks import LOG_RADIUS, LOG_TEFF, LOGG

    eep = tracks.eep_at_age(single["m1"], np.full(len(single["m1"]), 9 + np.log10(gyr)), single["feh"])
    values = tracks.evaluate(single["m1"], eep, single["feh"])
    alive = np.isfinite(values[:, LOGG]) & (values[:, LOGG] > 4.0)
    new = {"teff1": 10 ** values[:, LOG_TEFF], "logg1": values[:, LOGG], "radius1": 10 ** values[:, LOG_RADIUS]}
    return {name: np.where(alive, column, single[name]) for name, column in new.items()}


def scored(stars: dict[str, np.ndarray], library: SpectralLibrary, scorer: Scorer, metals: float = 0.0) -> np.ndarray:
    """Probabilities (N,) of stars as one night shows them; `metals`: the calibration is taken at a wrong [Fe/H]."""
    flux = normalised_light(stars, library, scorer.components.width)
    seen = seen_spectra(flux, stars["snrg"], scorer.components, 9)
    for one in scorer.calibrations.values() if metals else ():
        seen = seen - _slope(one, stars, metals) * (scorer.components.weight > 0)
        break
    return scorer.probability(scorer.components.project(seen), lambda: seen)


def _slope(one: Calibration, stars: dict[str, np.ndarray], metals: float) -> np.ndarray:
    """What is left of a calibration that is taken off at [Fe/H] + `metals`."""
    return one.at(stars["teff1"], stars["feh"] + metals) - one.at(stars["teff1"], stars["feh"])


if __name__ == "__main__":
    main(*sys.argv[1:])
