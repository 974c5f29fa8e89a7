"""Pairs made of two real stars, and twins of two like ones: are they told apart, on files that calibrated nothing?

python benchmarks/rates/lrs_real_pairs.py LIBRARY.h5 DATA [MODELS] [--calibration FILE]: DATA holds dr10_fg with its
labels.csv (every second dwarf calibrates, the others are scored and make pairs) and folders of cooler stars, dr7, dr8,
dr10 and dr1_km, whose labels are those of the fit with one star. Light ratios are those of the tracks and the library.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dioscuri.evaluation.lrs_scores import Scorer, load_scorer
from dioscuri.lamost.lrs_reduction import reduce_files, velocity_meter
from dioscuri.learn.metrics import auc
from dioscuri.libraries.grid import SpectralLibrary
from dioscuri.mocks.lrs_light import LightMaker
from dioscuri.paths import models_folder
from dioscuri.spectra import lrs_frame
from dioscuri.spectra.pair_fit import dwarf_prior
from dioscuri.spectra.smoothing import smoothed
from dioscuri.spectra.templates import load_templates
from dioscuri.stars.tracks import LOG_RADIUS, LOG_TEFF, LOGG, load_tracks

COOL = ("dr7", "dr8", "dr10", "dr1_km")
AGE = 9.7  # log10 yr
N_PARTNERS = 6
SNRG_MIN = 10.0  # of secondaries: a tenth to a quarter of the light is theirs


def main() -> None:
    """Print shares with p > 0.5 and areas under the ROC."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("library", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("models", type=Path, nargs="?", default=models_folder() / "lamost_lrs")
    parser.add_argument("--calibration", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    scorer = load_scorer(options.models, options.calibration)
    stars, flux, good = pool(options.data, options.models, scorer)
    stars = stars.assign(**on_the_main_sequence(stars))
    level = smooth_light(SpectralLibrary.load(options.library), stars)
    made, blend, seen = composites(stars, flux, good, level)
    print(f"{len(stars)} stars, {(stars['teff'] < 5000).sum()} below 5000 K; {made['kind'].value_counts().to_dict()}")
    scores = scorer(blend, seen, made["snrg"].to_numpy(), list(made["release"]), made["teff1"].to_numpy())
    report(made.assign(p=scores["p"], dchi2=scores["dchi2"], q_fit=scores["q"], chi2=scores["chi2"]))
    alone = stars["scored"] & (stars["teff"] < 5650)
    own = scorer(flux[alone], good[alone], *(stars.loc[alone, n].to_numpy() for n in ("snrg", "release", "teff")))
    print(f"single dwarfs that did not calibrate: {(own['p'] > 0.5).mean():.2f} of {alone.sum()} with p > 0.5")


def pool(data: Path, models: Path, scorer: Scorer) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Stars with teff, feh, snrg, release, `scored` (did not calibrate, may be a primary), and their spectra."""
    meter = velocity_meter(load_templates(models / "templates.h5", ["velocity"])["velocity"][1])
    labels = pd.read_csv(data / "dr10_fg/labels.csv").sort_values("file").set_index("file")
    dwarfs = labels.index[labels["kind"] == "dwarf"]
    files = [data / "dr10_fg" / name for name in dwarfs]
    files += [path for name in COOL for path in sorted((data / name).glob("*.fits*"))]
    found = reduce_files(files, meter, snrg_min=SNRG_MIN, width=scorer.components.width)
    fits = scorer.fitter.fit(
        scorer.components.project(found.flux, np.isfinite(found.sigma)),
        np.array([file.snrg for file in found.files]), *dwarf_prior(found.teff),
    )  # fmt: skip
    rows = []
    for file, (teff, logg, feh) in zip(found.files, fits.single):
        row = {"snrg": min(file.snrg, 300.0), "release": file.release, "obsid": file.obsid, "scored": False}
        row["labelled"] = file.path.parent.name == "dr10_fg"
        if row["labelled"]:
            known = labels.loc[file.path.name]
            row |= {"scored": list(dwarfs).index(file.path.name) % 2 == 1 and file.snrg > 20, "used": True}
            teff, feh = known["teff"], known["feh"]
        else:  # no catalogue knows the gravity of the others
            row["used"] = logg > np.interp(teff, *scorer.evolved.T)
        rows.append(row | {"teff": teff, "feh": feh})
    stars = pd.DataFrame(rows)
    used = (stars["used"] & stars["teff"].between(4050, 5700) & stars["feh"].between(-0.9, 0.45)).to_numpy()
    return stars[used].reset_index(drop=True), found.flux[used], np.isfinite(found.sigma[used])


def on_the_main_sequence(stars: pd.DataFrame) -> dict[str, np.ndarray]:
    """Mass [M☉], radius [R☉] and log g of dwarfs of `teff` and `feh` by the tracks."""
    tracks, masses = load_tracks("embedded"), np.arange(0.45, 1.12, 0.01)
    out = {name: np.full(len(stars), np.nan) for name in ("mass", "radius", "logg")}
    for row, (teff, feh) in enumerate(zip(stars["teff"], stars["feh"])):
        metals = np.full(len(masses), feh)
        values = tracks.evaluate(masses, tracks.eep_at_age(masses, np.full(len(masses), AGE), metals), metals)
        hot = int(np.nanargmax(values[:, LOG_TEFF]))
        temperature = 10 ** values[:hot, LOG_TEFF]
        out["mass"][row] = np.interp(teff, temperature, masses[:hot])
        out["radius"][row] = np.interp(teff, temperature, 10 ** values[:hot, LOG_RADIUS])
        out["logg"][row] = np.interp(teff, temperature, values[:hot, LOGG])
    return out


def smooth_light(library: SpectralLibrary, stars: pd.DataFrame) -> np.ndarray:
    """Light (S, L) of the stars without lines, up to one factor: what they weigh in a pair."""
    maker, n = LightMaker(library), len(stars)
    columns = {"teff": stars["teff"].to_numpy(), "logg": stars["logg"].to_numpy(), "feh": stars["feh"].to_numpy()}
    low, high = library.limits["teff"]
    labels = maker.labels(
        {"teff1": np.clip(columns["teff"], low, high), "logg1": columns["logg"], "feh": columns["feh"],
         "afe": np.clip(-0.25 * columns["feh"], 0, 0.3)}, 1
    )  # fmt: skip
    flux = maker.kinematics(library.flux("full", labels), np.full(n, 5.0), np.zeros(n), np.full(n, 1650.0)).numpy()
    return smoothed(lrs_frame.WAVE, lrs_frame.binned(flux), width=50.0) * stars["radius"].to_numpy()[:, None] ** 2


def composites(
    stars: pd.DataFrame, flux: np.ndarray, good: np.ndarray, level: np.ndarray
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Pairs of 0.70 < q < 0.93 and twins (of the light ratios of pairs) whose primary did not calibrate."""
    random = np.random.default_rng(4)
    teff, feh, mass = (stars[name].to_numpy() for name in ("teff", "feh", "mass"))
    mean, rows, blends, seen = level.mean(1), [], [], []
    for one in np.flatnonzero(stars["scored"] & (teff > 5000)):
        q, near = mass / mass[one], np.where(stars["labelled"], np.abs(feh - feh[one]), 0.0)
        other = stars["obsid"].to_numpy() != stars["obsid"].to_numpy()[one]
        lesser = np.flatnonzero(other & (near < 0.3) & (q > 0.70) & (q < 0.93) & (teff < teff[one] - 200))
        like = np.flatnonzero(other & (near < 0.12) & (np.abs(teff - teff[one]) < 50))
        for kind, partners in (("pair", lesser), ("twin", like)):
            for two in random.choice(partners, min(N_PARTNERS, len(partners)), replace=False):
                second = level[two]
                if kind == "twin":
                    ratio = np.interp(random.uniform(0.71, 0.93), [0.71, 0.8, 0.9, 1.0], [0.1, 0.22, 0.49, 1.0])
                    second = second * ratio * mean[one] / mean[two]
                share = second / (level[one] + second)
                blends.append((1 - share) * flux[one] + share * flux[two])
                seen.append(good[one] & good[two])
                noise = np.hypot((1 - share.mean()) / stars["snrg"][one], share.mean() / stars["snrg"][two])
                rows.append((kind, q[two], teff[one], teff[two], 1 / noise, stars["release"][one], two))
    names = ["kind", "q", "teff1", "teff2", "snrg", "release", "second"]
    return pd.DataFrame(rows, columns=names), np.array(blends, np.float32), np.array(seen)


def report(made: pd.DataFrame) -> None:
    """Shares and areas by mass ratio; errors by drawing the secondaries anew, of which there are few."""
    twins = made[made["kind"] == "twin"]
    print(f"twins of two like stars ({len(twins)}): {(twins['p'] > 0.5).mean():.2f} with p > 0.5")
    for low, high in ((0.70, 0.83), (0.83, 0.93)):
        pairs = made[(made["kind"] == "pair") & (made["q"] > low) & (made["q"] <= high)]
        if len(pairs) < 10:
            continue
        told = pairs[pairs["dchi2"] > 9]
        words = [f"{name} {area(pairs, twins, name):.3f} ± {spread(pairs, twins, name):.3f}" for name in ("p", "dchi2")]
        print(
            f"pairs of q {low:.2f}-{high:.2f} ({len(pairs)}, of {pairs['second'].nunique()} secondaries): "
            f"{(pairs['p'] > 0.5).mean():.2f} with p > 0.5; AUC {', '.join(words)}; q of the fit less the true one "
            f"{np.median(told['q_fit'] - told['q']) if len(told) else np.nan:+.2f}"
        )


def area(pairs: pd.DataFrame, twins: pd.DataFrame, name: str) -> float:
    """Area under the ROC of pairs against twins."""
    return auc(pd.concat([pairs[name], twins[name]]).to_numpy(), np.repeat([1, 0], [len(pairs), len(twins)]))


def spread(pairs: pd.DataFrame, twins: pd.DataFrame, name: str, draws: int = 100) -> float:
    """1σ of the area over draws of the secondaries."""
    random, groups = np.random.default_rng(0), dict(list(pairs.groupby("second")))
    keys = list(groups)
    drawn = [pd.concat([groups[k] for k in random.choice(keys, len(keys))]) for _ in range(draws)]
    return float(np.std([area(rows, twins, name) for rows in drawn]))


if __name__ == "__main__":
    main()
