"""Networks of HST on stamps of a real grid of PSFs, seed by seed, beside the best that anyone can do.

    python benchmarks/rates/hst_networks.py GRID NETWORKS [NETWORKS …] [--stamps 6000]      a minute a set of networks

GRID: STScI's STDPSF file of F775W, of whose chip 2 stamps are made, at places drawn anew. NETWORKS: a folder for
`predict --models` (`models` holds the released ones). The observer takes the PSF of the place, which is right, or wrong
by up to 1 % of the jitter and 5 nm (what a fit over a chip leaves), or 2 % and 15 nm. Printed: accuracy, false
positives and recall beyond 0.7 px of each network, mean ± scatter, and of their average.
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from dioscuri.cluster.exposure_psf import chip_psf
from dioscuri.learn.images.inference import Classifier
from dioscuri.learn.metrics import auc
from dioscuri.predict.images import find_networks
from dioscuri.psf.effective import Psf
from dioscuri.psf.optics import OPTICS, perturbed
from dioscuri.psf.sources import read_any
from dioscuri.stamps.epochs import Observer
from dioscuri.stamps.mocks import Law, Noise, Renderer, draw_sources, make_stamps
from dioscuri.stamps.optimum import log_bayes_factor

LAW, NOISE = Law(flux_ratio="uniform", flux_min=5000.0, flux_max=25000.0), Noise(sigma=3.1, background=4.0)
PLACES, SEED, BOUND = 24, 41, 1000
ERRORS = {"right": (0.0, 0.0), "1 %, 5 nm": (0.01, 5.0), "2 %, 15 nm": (0.02, 15.0)}


def bank(grid: Psf, jitter: float, wavefront: float) -> Psf:
    """PSFs of places all over the chip, then as many with errors about them (parameter `assumed`: which)."""
    rng = np.random.default_rng(SEED)
    places = [grid.at(*place).samples for place in rng.uniform((0, 0), (4095, 2050), (PLACES, 2))]
    known = dataclasses.replace(grid, samples=np.concatenate(places), parameters={})
    return perturbed(
        known, OPTICS["hst_f775w"], members=2 * PLACES, jitter_fraction=jitter, wfe_nm=wavefront, seed=SEED
    )  # fmt: skip


def merits(p: np.ndarray, binary: np.ndarray, wide: np.ndarray) -> dict[str, float]:
    found = p > 0.5
    return {
        "AUC": auc(p, binary.astype(int)),
        "accuracy": 100 * float((found == binary).mean()),
        "false positives": 100 * float(found[~binary].mean()),
        "TPR beyond 0.7 px": 100 * float(found[wide].mean()),
    }


def rows(grid: Psf, networks: dict[str, Classifier], n: int) -> list[dict]:
    """A row per error of the PSF and set of networks."""
    table = []
    for name, errors in ERRORS.items():
        psfs = bank(grid, *errors)
        sources = draw_sources(n, SEED, LAW, noise=NOISE, n_members=PLACES)
        member = sources["member"] + PLACES
        stamps = make_stamps(sources | {"member": member}, Renderer(psfs), NOISE, SEED)
        observer = Observer.of("compact", NOISE.variance, psfs.member(0), psfs)
        binary = sources["is_binary"]
        wide = binary & (sources["sep"] > 0.7)
        if name == "right":
            part = slice(0, BOUND)
            best, _ = log_bayes_factor(stamps[part], NOISE.variance, Renderer(psfs), LAW, member=member[part])
            table.append({"PSF": name, "networks": f"optimum ({BOUND})", **merits(best > 0, binary[part], wide[part])})
        channels = observer.channels(stamps, member)
        for which, classifier in networks.items():
            each = pd.DataFrame([merits(p, binary, wide) for p in classifier.probabilities(channels).T])
            spread = {key: f"{each[key].mean():.3f} ± {each[key].std(ddof=1):.3f}" for key in each}
            table.append({"PSF": name, "networks": f"{which}, single ({len(each)})", **spread})
            table.append(
                {
                    "PSF": name,
                    "networks": f"{which}, together",
                    **merits(classifier.probability(channels), binary, wide),
                }
            )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", type=Path)
    parser.add_argument("networks", type=Path, nargs="+")
    parser.add_argument("--stamps", type=int, default=6000)
    options = parser.parse_args()
    grid = chip_psf(read_any(options.grid), 2, chip=2)
    found = {str(folder): find_networks("hst", folder) for folder in options.networks}
    missing = [name for name, networks in found.items() if networks is None]
    if missing:
        raise SystemExit(f"{', '.join(missing)}: no networks of hst there")
    networks = {name: one for name, one in found.items() if one is not None}
    print(pd.DataFrame(rows(grid, networks, options.stamps)).to_string(index=False, float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
