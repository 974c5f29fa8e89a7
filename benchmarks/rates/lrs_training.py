"""Three ways to train, on the same test stars: mocks, spectra labelled by the HR diagram, composites of their singles.

python benchmarks/rates/lrs_training.py RESULTS [SEEDS]: the folder of a run on a simulated survey, as
`snakemake --configfile config/lrs_training.yaml lamost_lrs` makes it (results/lrs_training/lamost_lrs). Stars that any
of the ways trains on are tested by none; networks are dense, one per seed (1,2,3).
"""

import sys
import tempfile
from pathlib import Path

import pandas as pd
import torch

from dioscuri.evaluation.lrs_labels import trained_stars
from dioscuri.evaluation.lrs_merits import NOT_COUNTED, precision
from dioscuri.evaluation.lrs_models import train_network, true_classes
from dioscuri.evaluation.lrs_scores import load_scorer, score_shard
from dioscuri.evaluation.lrs_training import training_sample
from dioscuri.learn.metrics import auc
from dioscuri.spectra.compressed import Components

WAYS = ("mocks", "hrd", "composites")


def main(results: str, seeds: str = "1,2,3") -> None:
    """Print a row per way."""
    torch.set_num_threads(1)
    folder = Path(results)
    shards, labels = sorted((folder / "ingest").glob("shard*.h5")), folder / "labels.parquet"
    components = Components.load(folder / "models/components.h5")
    truth = pd.read_parquet(folder / "survey/truth.parquet")[["obsid", "q", "kind"]]
    trained = trained_stars(labels, "hrd")
    with tempfile.TemporaryDirectory() as place:
        for way in WAYS:
            files = []
            for seed in map(int, seeds.split(",")):
                sample = training_sample(way, folder / "mocks/train.h5", shards, labels, seed)
                files.append(Path(place) / way / f"seed{seed}/model.safetensors")
                files[-1].parent.mkdir(parents=True)
                train_network("dense", *sample, components, seed, files[-1], None, way != "mocks")
            classes = sample[2]
            print(f"{way:11s} trained on {(classes == 0).sum()} single spectra and {(classes == 1).sum()} of pairs")
            each = [tested(folder, shards, [file], truth, trained, Path(place)) for file in files]
            together = tested(folder, shards, files, truth, trained, Path(place))
            for name, value in together.items():
                print(f"   {name:34s} {value:.3f}   seeds {', '.join(f'{one[name]:.3f}' for one in each)}", flush=True)


def tested(folder: Path, shards: list[Path], networks: list[Path], truth, trained, place: Path) -> dict[str, float]:
    """Numbers of spectra of stars that none trained on, by the truth."""
    scorer = load_scorer(folder / "models", folder / "calibration.h5", [str(file) for file in networks])
    parts = []
    for shard in shards:
        score_shard(shard, place / "scored.parquet", scorer, folder / "survey/catalogue.parquet", {})
        parts.append(pd.read_parquet(place / "scored.parquet"))
    rows = pd.concat(parts).merge(truth, on="obsid", suffixes=("", "_true"))
    rows = rows[((rows["flags"] & int(NOT_COUNTED)) == 0) & ~rows["source_id"].isin(trained)]
    classes, p = true_classes(rows["q_true"].to_numpy()), rows["p"].to_numpy()
    both = classes >= 0
    found = {"spectra": float(len(rows)), "AUC, 0.6 < q < 0.93": auc(p[both], classes[both])}
    found["AUC of the fits"] = auc(rows["dchi2"].to_numpy()[both], classes[both])
    found["singles with p > 0.5"] = float((p[classes == 0] > 0.5).mean())
    found["pairs of 0.6 < q < 0.93 with p > 0.5"] = float((p[classes == 1] > 0.5).mean())
    found["precision at 0.5, 1 : 2"] = precision(p[classes == 1], p[classes == 0], 0.5)
    for kind in ("EA", "EW"):
        found[f"{kind} with p > 0.5"] = float((p[rows["kind"] == kind] > 0.5).mean())
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
