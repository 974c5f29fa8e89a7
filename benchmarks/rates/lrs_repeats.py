"""Does a star keep its place from night to night? Real dwarfs that did not calibrate, each seen by two made nights.

python benchmarks/rates/lrs_repeats.py DATA [MODELS]: DATA holds folders of LRS files, among them dr10_fg with its
labels.csv. Stars with several files are listed with their probabilities. Of sharp spectra (S/N_g above 60) two nights
each are made at S/N_g 25 to 60: photon noise and what nights differ by as measured between repeats
(lrs_frame.SYSTEMATICS), so that a star's own spectrum, and all that the library lacks of it, is real.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dioscuri.evaluation.lrs_models import nights_of
from dioscuri.evaluation.lrs_scores import load_scorer
from dioscuri.lamost.lrs_reduction import reduce_files, velocity_meter
from dioscuri.learn.spectra.dense import generator_of
from dioscuri.paths import models_folder
from dioscuri.predict import predict
from dioscuri.spectra.templates import load_templates

SHARP, SEEN = 60.0, (25.0, 60.0)  # S/N_g of the files, of the nights
DRAWS = 10  # pairs of nights of a star
SAME = 3.0  # arcsec


def main(data: str, models: str | None = None) -> None:
    """Print the stars with several files, and flips and correlation of made nights."""
    torch.set_num_threads(1)
    root = Path(models) if models else models_folder() / "lamost_lrs"
    repeated(Path(data), root)
    labels = pd.read_csv(Path(data) / "dr10_fg/labels.csv").sort_values("file")
    dwarfs = labels[labels["kind"] == "dwarf"][1::2]
    chosen = dwarfs[dwarfs["teff"].between(4300, 5650) & (dwarfs["snrg"] > SHARP)]
    made_nights([Path(data) / "dr10_fg" / name for name in chosen["file"]], root)


def repeated(data: Path, root: Path) -> None:
    """Scores of stars that have more than one file."""
    from astropy import units
    from astropy.coordinates import SkyCoord
    from astropy.io import fits

    files = sorted(path for path in data.glob("*/*.fits*"))
    headers = [fits.getheader(path) for path in files]
    place = SkyCoord([h["RA"] for h in headers] * units.deg, [h["DEC"] for h in headers] * units.deg)
    one, two, _, _ = place.search_around_sky(place, SAME * units.arcsec)
    again = sorted({int(i) for i, j in zip(one, two) if i != j})
    stars = len({round(place.ra.deg[i], 2) for i in again})
    print(f"{len(files)} files; {stars} stars with more than one, {len(again)} files")
    table, _ = predict("lamost_lrs", [files[i] for i in again], models=root.parent)
    print(table[["file", "snrg", "teff", "p", "verdict", "flags"]].to_string(index=False))


def made_nights(files: list[Path], root: Path) -> None:
    """Share of pairs of nights on both sides of 0.5, and correlation of their logits."""
    scorer = load_scorer(root)
    meter = velocity_meter(load_templates(root / "templates.h5", ["velocity"])["velocity"][1])
    real = reduce_files(files, meter, width=scorer.components.width)
    nights, random = nights_of(scorer.components), np.random.default_rng(1)
    generator, good = generator_of(1), np.isfinite(real.sigma)
    release, flux = [file.release for file in real.files], torch.from_numpy(real.flux)
    own = np.array([file.snrg for file in real.files])
    logits = []
    for _ in range(2 * DRAWS):
        snrg = random.uniform(*SEEN, len(files))
        added = 1.0 / np.sqrt(1.0 / snrg**2 - 1.0 / np.maximum(own, SHARP) ** 2)  # their own noise is there already
        seen = nights(flux, torch.tensor(added, dtype=torch.float32), generator).numpy()
        p = np.clip(scorer(seen, good, snrg, release, real.teff)["p"], 1e-4, 1 - 1e-4)
        logits.append(np.log(p / (1 - p)))
    one, two = np.array(logits[::2]), np.array(logits[1::2])
    flips = ((one > 0) != (two > 0)).mean(0)
    each = [np.corrcoef(a, b)[0, 1] for a, b in zip(one, two)]
    print(
        f"{len(files)} dwarfs of S/N_g > {SHARP:g}, {DRAWS} pairs of nights of S/N_g {SEEN[0]:g}-{SEEN[1]:g} each: "
        f"{flips.mean():.3f} ± {flips.std() / np.sqrt(len(flips)):.3f} flip at 0.5; correlation of logits "
        f"{np.mean(each):.2f} ± {np.std(each):.2f}; with p > 0.5 {(one > 0).mean():.2f}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
