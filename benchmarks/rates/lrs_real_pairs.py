"""Pairs made of two real stars, and twins of two like ones: are they told apart, on files that calibrated nothing?

python benchmarks/rates/lrs_real_pairs.py LIBRARY.h5 DATA [MODELS] [--calibration FILE]: DATA holds dr10_fg with its
labels.csv (every second dwarf calibrates, the others are scored and make pairs) and folders of cooler stars, dr7, dr8,
dr10 and dr1_km, whose labels are those of the fit with one star. Light ratios are those of the tracks and the library.
The stars of a pair are born together: pairs of two metallicities are told apart from them and reported beside them.
Last, library spectra in place of the real ones: which of the two stars costs how much.
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dioscuri.evaluation.lrs_models import seen_spectra
from dioscuri.evaluation.lrs_scores import Scorer, load_scorer
from dioscuri.lamost.lrs_calibration import library_spectra
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
DFEH = 0.3  # dex between the stars of a pair: three times the error of either
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
    scorer, library = load_scorer(options.models, options.calibration), SpectralLibrary.load(options.library)
    stars, flux, good = pool(options.data, options.models, scorer)
    stars = stars.assign(**on_the_main_sequence(stars))
    made, share = composites(stars, smooth_light(library, stars))
    print(f"{len(stars)} stars, {(stars['teff'] < 5000).sum()} below 5000 K; {made['kind'].value_counts().to_dict()}")
    scores = scored(scorer, made, share, flux, flux, good)
    each = [scored(dataclasses.replace(scorer, nets=[net]), made, share, flux, flux, good)["p"] for net in scorer.nets]
    report(made.assign(p=scores["p"], dchi2=scores["dchi2"], q_fit=scores["q"]), each)
    alone = stars["scored"] & (stars["teff"] < 5650)
    own = scorer(flux[alone], good[alone], *(stars.loc[alone, n].to_numpy() for n in ("snrg", "release", "teff")))
    raw = scorer.probability(scorer.components.project(flux[alone], good[alone]), lambda: flux[alone])
    print(
        f"single dwarfs that did not calibrate ({alone.sum()}): {(raw > 0.5).mean():.2f} raw, "
        f"{(own['p'] > 0.5).mean():.2f} calibrated with p > 0.5"
    )
    synthetic = library_stars(stars, library, scorer)
    print("library spectra as nights show them, with the mean residual of real stars, in place of")
    for name, one, two in (("neither", flux, flux), ("the secondaries", flux, synthetic),
                           ("the primaries and twins", synthetic, flux), ("all", synthetic, synthetic)):  # fmt: skip
        found = made.assign(**{key: scored(scorer, made, share, one, two, good)[key] for key in ("p", "dchi2")})
        print(f"   {name}: AUC of q 0.70-0.83 {', '.join(f'{area(*sides(found), key):.3f}' for key in ('p', 'dchi2'))}")


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


def composites(stars: pd.DataFrame, level: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
    """Pairs of 0.70 < q < 0.93 and twins (of the light ratios of pairs) whose primary did not calibrate: rows, and the
    second star's share of the light (S, L). `mismatched` pairs have metals that no two stars of one birth have."""
    random = np.random.default_rng(4)
    teff, feh, mass, obsid = (stars[name].to_numpy() for name in ("teff", "feh", "mass", "obsid"))
    mean, rows, shares = level.mean(1), [], []
    for one in np.flatnonzero(stars["scored"] & (teff > 5000)):
        q, apart = mass / mass[one], np.abs(feh - feh[one])
        lesser = (obsid != obsid[one]) & (q > 0.70) & (q < 0.93) & (teff < teff[one] - 200)
        like = (obsid != obsid[one]) & (apart < 0.12) & (np.abs(teff - teff[one]) < 50)
        chosen = {"pair": lesser & (apart < DFEH), "mismatched": lesser & (apart >= DFEH), "twin": like}
        for kind, partners in chosen.items():
            known = np.flatnonzero(partners)
            for two in random.choice(known, min(N_PARTNERS, len(known)), replace=False):
                second = level[two]
                if kind == "twin":
                    ratio = np.interp(random.uniform(0.71, 0.93), [0.71, 0.8, 0.9, 1.0], [0.1, 0.22, 0.49, 1.0])
                    second = second * ratio * mean[one] / mean[two]
                share = second / (level[one] + second)
                shares.append(share)
                noise = np.hypot((1 - share.mean()) / stars["snrg"][one], share.mean() / stars["snrg"][two])
                rows.append((kind, q[two], teff[one], apart[two], 1 / noise, stars["release"][one], one, two))
    names = ["kind", "q", "teff1", "dfeh", "snrg", "release", "first", "second"]
    return pd.DataFrame(rows, columns=names), np.array(shares)


def scored(
    scorer: Scorer, made: pd.DataFrame, share: np.ndarray, one: np.ndarray, two: np.ndarray, good: np.ndarray
) -> dict[str, np.ndarray]:
    """Scores of pairs whose primaries are of the spectra `one`, secondaries of `two`; twins are two of `one`."""
    first, second = made["first"].to_numpy(), made["second"].to_numpy()
    lesser = np.where((made["kind"] == "twin").to_numpy()[:, None], one[second], two[second])
    blend = ((1 - share) * one[first] + share * lesser).astype(np.float32)
    seen = good[first] & good[second]
    return scorer(blend, seen, made["snrg"].to_numpy(), list(made["release"]), made["teff1"].to_numpy())


def library_stars(stars: pd.DataFrame, library: SpectralLibrary, scorer: Scorer) -> np.ndarray:
    """Library spectra of all stars' labels at their S/N, with the mean residual of real stars."""
    low, high = library.limits["teff"]
    labels = [stars[name].to_numpy(float) for name in ("teff", "logg", "feh")]
    spectra, _ = library_spectra(library, np.clip(labels[0], low, high), *labels[1:], scorer.components.width)
    seen = seen_spectra(spectra, stars["snrg"].to_numpy(), scorer.components, 3)
    for one in scorer.calibrations.values():
        return seen + one.at(labels[0], labels[2]).astype(np.float32)
    return seen


def sides(made: pd.DataFrame, low: float = 0.70, high: float = 0.83) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Pairs of one metallicity and of these mass ratios, and twins."""
    pairs = made[(made["kind"] == "pair") & (made["q"] > low) & (made["q"] <= high)]
    return pairs, made[made["kind"] == "twin"]


def report(made: pd.DataFrame, each: list[np.ndarray]) -> None:
    """Shares and areas by mass ratio and metals; errors by drawing the secondaries anew, of which there are few."""
    twins = made[made["kind"] == "twin"]
    print(f"twins of two like stars ({len(twins)}): {(twins['p'] > 0.5).mean():.2f} with p > 0.5")
    for low, high in ((0.70, 0.83), (0.83, 0.93)):
        pairs, _ = sides(made, low, high)
        line(f"pairs of q {low:.2f}-{high:.2f}", pairs, twins)
        seeds = [area(*sides(made.assign(p=p), low, high), "p") for p in each]
        print(f"   AUC of each seed {', '.join(f'{value:.3f}' for value in seeds)}")
        for near, far in ((0.0, 0.1), (0.1, 0.2), (0.2, DFEH)):
            line(f"   [Fe/H] apart by {near:.1f}-{far:.1f}", pairs[pairs["dfeh"].between(near, far)], twins)
        others = made[(made["kind"] == "mismatched") & made["q"].between(low, high)]
        line(f"   by {DFEH:.1f} and more, no pairs of one birth", others, twins)


def line(name: str, pairs: pd.DataFrame, twins: pd.DataFrame) -> None:
    """Print what pairs are found, against twins."""
    if len(pairs) < 10:
        return
    told = pairs[pairs["dchi2"] > 9]
    words = [f"{key} {area(pairs, twins, key):.3f} ± {spread(pairs, twins, key):.3f}" for key in ("p", "dchi2")]
    print(
        f"{name} ({len(pairs)}, of {pairs['second'].nunique()} secondaries): {(pairs['p'] > 0.5).mean():.2f} with "
        f"p > 0.5; AUC {', '.join(words)}; q of the fit less the true one "
        f"{np.median(told['q_fit'] - told['q']) if len(told) else np.nan:+.2f}",
        flush=True,
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
