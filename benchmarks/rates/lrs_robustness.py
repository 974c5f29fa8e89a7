"""What makes a single star a 'binary' in LRS: shares with p > 0.5 under one error at a time, and speed.

python benchmarks/rates/lrs_robustness.py LIBRARY.h5 [MODELS] [N]: a library of the window "full" that the models were
made from (resources/library/…/variant0.h5), the folder of models (models/lamost_lrs), singles per row (1500).
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch

from dioscuri.evaluation.lrs_models import observed
from dioscuri.evaluation.lrs_scores import load_scorer
from dioscuri.learn.spectra.dense import probabilities
from dioscuri.libraries.grid import SpectralLibrary
from dioscuri.mocks.lrs_light import LightMaker
from dioscuri.mocks.lrs_mocks import draw_sample
from dioscuri.paths import models_folder
from dioscuri.spectra import lrs_frame
from dioscuri.spectra.pair_fit import dwarf_prior
from dioscuri.stars.field import FieldLaw
from dioscuri.stars.tracks import load_tracks

CASES = {
    "none": {},
    "frame off by 20 km/s": {"v1": 20.0},
    "frame off by 40 km/s": {"v1": 40.0},
    "[alpha/Fe] + 0.2": {"afe": 0.2},
    "3 % moonlight": {"moon_share": 0.03},
    "10 % moonlight": {"moon_share": 0.10},
    "v sin i 120 km/s": {"vsini": 120.0},
    "R + 15 %": {"resolution": 1.15 * lrs_frame.RESOLUTION},
    "R - 15 %": {"resolution": 0.85 * lrs_frame.RESOLUTION},
}


def main(library_file: str, models: str | None = None, n: str = "1500") -> None:
    """Print a row per error."""
    torch.set_num_threads(1)
    library = SpectralLibrary.load(library_file)
    scorer = load_scorer(Path(models) if models else models_folder() / "lamost_lrs")
    stars = draw_sample(int(n), 77, load_tracks("embedded"), library, FieldLaw(binary_fraction=0.0), (4350.0, 5650.0))
    maker, width = LightMaker(library), scorer.components.width
    for name, case in CASES.items():
        own, options = dict(stars), dict(case)
        own["afe"] = np.clip(stars["afe"] + options.pop("afe", 0.0), *library.limits["afe"])
        if speed := options.pop("vsini", 0.0):
            own["vsini1"] = np.full(len(own["m1"]), speed)
        flux = lrs_frame.normalised(maker(own, **options), width)
        x = observed(scorer.components.project(flux), stars["snrg"], scorer.components, seed=5)
        each = [(probabilities([net], x) > 0.5).mean() for net in scorer.nets]
        share = (probabilities(scorer.nets, x) > 0.5).mean()
        print(f"{name:24s} {100 * share:5.1f} %   per seed {', '.join(f'{100 * s:.1f}' for s in each)}", flush=True)
    clocked = time.process_time()
    probabilities(scorer.nets, x)
    infer = time.process_time() - clocked
    clocked = time.process_time()
    scorer.fitter.fit(x, stars["snrg"], *dwarf_prior(stars["teff1"]))
    fit = time.process_time() - clocked
    clocked = time.process_time()
    lrs_frame.normalised(flux, width)
    smooth = time.process_time() - clocked
    ms = [1e3 * t / len(x) for t in (smooth, infer, fit)]
    print("CPU ms per spectrum: normalise {:.2f}, infer {:.3f}, fit of one and of two stars {:.2f}".format(*ms))


if __name__ == "__main__":
    main(*sys.argv[1:])
