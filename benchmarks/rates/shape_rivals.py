"""What photometry programs' shape statistics can tell of pairs, beside the released networks and the optimum.

    python benchmarks/rates/shape_rivals.py [--stamps 2000] [--seeds 3]     about three minutes of a core

Stamps of the networks' own law and noise, half of them pairs, with PSFs of their bank; everyone assumes the nominal
one but the optimum, which knows each. Printed per survey and method: AUC and best accuracy, mean and scatter of seeds.
"""

import argparse

import numpy as np
import pandas as pd

from dioscuri.evaluation.image_merits import best_threshold, rankable
from dioscuri.learn import metrics
from dioscuri.predict.images import find_networks
from dioscuri.psf.optics import OPTICS, optical_psf, psf_bank
from dioscuri.stamps.channels import make_channels
from dioscuri.stamps.mocks import Law, Noise, Renderer, draw_sources, make_stamps
from dioscuri.stamps.optimum import log_bayes_factor
from dioscuri.stamps.shapes import shape_statistics

SURVEYS = {"csst": "csst_u", "hst": "hst_f775w"}
SIZE, MEMBERS = 25, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    rows = [row for survey in SURVEYS for seed in range(options.seeds) for row in merits(survey, options.stamps, seed)]
    table = pd.DataFrame(rows).groupby(["survey", "method"], sort=False).agg(["mean", "std"])
    print(table.drop(columns="seed", level=0).to_string(float_format="%.3f"))


def merits(survey: str, n: int, seed: int) -> list[dict]:
    """AUC and best accuracy of every method on n stamps."""
    networks = find_networks(survey, None)
    assert networks is not None, "the released networks are needed"
    law, noise = Law(**networks.context["law"]), Noise(**networks.context["noise"])
    known = networks.context["bank"]
    bank = psf_bank(
        OPTICS[SURVEYS[survey]], members=MEMBERS, size=SIZE, seed=seed + 100,
        jitter_fraction=known.get("jitter_fraction", 0.025), wfe_nm=known.get("wfe_nm", 20.0),
    )  # fmt: skip
    truth, assumed = Renderer(bank), Renderer(optical_psf(OPTICS[SURVEYS[survey]], size=SIZE))
    sources = draw_sources(n, seed, law, noise=noise, n_members=MEMBERS)
    stamps = make_stamps(sources, truth, noise, seed)
    channels = make_channels(stamps, networks.rendering, variance=noise.variance, renderer=assumed)
    best, _ = log_bayes_factor(stamps, noise.variance, truth, law, member=sources["member"])
    scores = {"optimum, PSF known": best, "networks": networks.probability(channels)}
    scores |= shape_statistics(stamps, noise.variance, assumed)
    binary = sources["is_binary"]
    rows = []
    for method, score in scores.items():
        ranked = rankable(np.asarray(score, float))
        right = float(np.mean((ranked > best_threshold(ranked, binary)) == binary))
        area = metrics.auc(ranked, binary)
        rows.append({"survey": survey, "method": method, "seed": seed, "AUC": area, "best accuracy": right})
    return rows


if __name__ == "__main__":
    main()
