"""Three ways to train, on the same test stars: mocks, spectra labelled by the HR diagram, composites of their singles.

python benchmarks/rates/lrs_training.py RESULTS [SEEDS]: the folder of a run on a simulated survey, as
`snakemake --configfile config/lrs_training.yaml lamost_lrs` makes it (results/lrs_training/lamost_lrs). Stars that any
of the ways trains on are tested by none; networks are dense, one per seed (1,2,3).
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dioscuri.evaluation.lrs_labels import add_labels, trained_stars
from dioscuri.evaluation.lrs_merits import NOT_COUNTED, precision
from dioscuri.evaluation.lrs_models import load_networks, train_network, true_classes
from dioscuri.evaluation.lrs_scores import load_scorer
from dioscuri.evaluation.lrs_training import training_sample
from dioscuri.io import read_json
from dioscuri.learn.metrics import auc
from dioscuri.learn.spectra.dense import probabilities
from dioscuri.seals import verified
from dioscuri.shards import read_exposures, read_spectra
from dioscuri.spectra.compressed import Components
from dioscuri.spectra.lrs_calibration import corrected_pixels

WAYS = ("mocks", "hrd", "composites")


def main(results: str, seeds: str = "1,2,3") -> None:
    """Print a row per number and way."""
    torch.set_num_threads(1)
    folder = Path(results)
    shards = sorted((folder / "ingest").glob("shard*.h5"))
    facts = read_json(folder / "tables/labels.json", "facts of the labels")
    excess = {float(q): value for q, value in facts["excess"].items()}
    near = add_labels(pd.read_parquet(verified(folder / "labels.parquet")), excess)
    components = Components.load(folder / "models/components.h5")
    with tempfile.TemporaryDirectory() as place:
        labels = Path(place) / "labels.parquet"
        near.to_parquet(labels)
        rows, raw, corrected = test_stars(folder, shards, trained_stars(labels, "hrd"))
        fits = numbers(rows, rows["dchi2"].to_numpy())["AUC"]
        print(f"{len(rows)} spectra of stars that none trains on; AUC of the fits {fits:.3f}")
        for way in WAYS:
            nets = []
            for seed in map(int, seeds.split(",")):
                sample = training_sample(way, folder / "mocks/train.h5", shards, labels, seed)
                file = Path(place) / way / f"seed{seed}/model.safetensors"
                file.parent.mkdir(parents=True)
                train_network("dense", *sample, components, seed, file, None, way != "mocks")
                nets += load_networks(file)[0]
            print(f"{way}: trained on {(sample[2] == 0).sum()} single spectra and {(sample[2] == 1).sum()} of pairs")
            seen = corrected if way == "mocks" else raw  # networks of real spectra see them as they are
            each = [numbers(rows, probabilities([net], seen)) for net in nets]
            for name, value in numbers(rows, probabilities(nets, seen)).items():
                print(f"   {name:40s} {value:.3f}   seeds {', '.join(f'{one[name]:.3f}' for one in each)}", flush=True)


def test_stars(folder: Path, shards: list[Path], trained: np.ndarray) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Spectra that count, of stars that none trains on: truth and Δχ², components raw and after the calibration."""
    networks = sorted(map(str, (folder / "dense").glob("seed*/model.safetensors")))
    scorer = load_scorer(folder / "models", folder / "calibration.h5", networks)
    truth = pd.read_parquet(verified(folder / "survey/truth.parquet")).set_index("obsid")
    parts = []
    for shard in shards:
        facts, (flux, sigma) = read_exposures(shard), read_spectra(shard, "full")
        true = truth.loc[facts["obsid"]]
        use = ~true["source_id"].isin(trained).to_numpy()
        flux, good = flux[use].astype(np.float32), np.isfinite(sigma[use].astype(np.float32))
        release = facts["release"][use].astype(object)
        scores = scorer(flux, good, facts["snrg"][use], release, facts["template_teff"][use])
        fit = np.stack([scores[name] for name in ("teff", "logg", "feh")], axis=1)
        quiet = corrected_pixels(flux, good, scorer.calibrations, release, fit)
        rows = true[use].reset_index()[["q", "kind"]].assign(dchi2=scores["dchi2"])
        counts = (scores["flags"] & int(NOT_COUNTED)) == 0
        x = [scorer.components.project(values, good)[counts] for values in (flux, quiet)]
        parts.append((rows[counts], *x))
    rows, raw, corrected = zip(*parts)
    return pd.concat(rows), np.concatenate(raw), np.concatenate(corrected)


def numbers(rows: pd.DataFrame, p: np.ndarray) -> dict[str, float]:
    """What probabilities (S,) of the test stars are worth, by the truth."""
    classes, p = true_classes(rows["q"].to_numpy()), np.asarray(p)
    both = classes >= 0
    found = {"AUC": auc(p[both], classes[both])}
    found["singles with p > 0.5"] = float((p[classes == 0] > 0.5).mean())
    found["pairs of 0.6 < q < 0.93 with p > 0.5"] = float((p[classes == 1] > 0.5).mean())
    found["precision at 0.5, one pair on two singles"] = precision(p[classes == 1], p[classes == 0], 0.5)
    for kind in ("EA", "EW"):
        found[f"{kind} with p > 0.5"] = float((p[rows["kind"] == kind] > 0.5).mean())
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
