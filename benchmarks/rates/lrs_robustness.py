"""What makes a single star a 'binary' in LRS: shares with p > 0.5 under one error at a time.

python benchmarks/rates/lrs_robustness.py LIBRARY.h5 [MODELS] [N] [OTHER.h5]: a library of the window "full" that the
models were made from (resources/library/…/variant0.h5), the folder of models (models/lamost_lrs), singles per row
and a library of other line strengths (variant1.h5), whose differences no calibration takes off.
"""

import sys
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

CASES: dict[str, dict[str, float]] = {
    "none": {},
    "frame off by 20 km/s": {"v1": 20.0},
    "frame off by 40 km/s": {"v1": 40.0},
    "[alpha/Fe] + 0.2": {"afe": 0.2},
    "3 % moonlight": {"moon_share": 0.03},
    "10 % moonlight": {"moon_share": 0.10},
    "v sin i 60 km/s": {"vsini": 60.0},
    "v sin i 120 km/s": {"vsini": 120.0},
    "R + 15 %": {"resolution": 1.15 * lrs_frame.RESOLUTION},
    "R - 15 %": {"resolution": 0.85 * lrs_frame.RESOLUTION},
}
OTHER = "another library"


def main(library_file: str, models: str | None = None, n: str = "1500", other: str | None = None) -> None:
    """Print a row per error."""
    torch.set_num_threads(1)
    library = SpectralLibrary.load(library_file)
    scorer = load_scorer(Path(models) if models else models_folder() / "lamost_lrs")
    stars = draw_sample(int(n), 77, load_tracks("embedded"), library, FieldLaw(binary_fraction=0.0), (4350.0, 5650.0))
    maker, width = LightMaker(library), scorer.components.width
    prior = dwarf_prior(stars["teff1"] + np.random.default_rng(3).normal(0, 150, len(stars["teff1"])))
    cut, strange = None, LightMaker(SpectralLibrary.load(other)) if other else None
    for name, case in (CASES | ({OTHER: {}} if other else {})).items():
        own, options = dict(stars), dict(case)
        own["afe"] = np.clip(stars["afe"] + options.pop("afe", 0.0), *library.limits["afe"])
        if speed := options.pop("vsini", 0.0):
            own["vsini1"] = np.full(len(own["m1"]), speed)
        light = (strange if name == OTHER and strange else maker)(own, **options)
        flux = lrs_frame.normalised(light, width)
        x = observed(scorer.components.project(flux), stars["snrg"], scorer.components, seed=5)
        each = [100 * (probabilities([net], x) > 0.5).mean() for net in scorer.nets]
        dchi2 = scorer.fitter.fit(x, stars["snrg"], *prior).dchi2
        cut = np.quantile(dchi2, 0.96) if cut is None else cut
        print(
            f"{name:24s} networks {100 * (probabilities(scorer.nets, x) > 0.5).mean():5.1f} % (seeds "
            f"{', '.join(f'{s:.1f}' for s in each)}); fits, at a cut of 4 %: {100 * (dchi2 > cut).mean():5.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
