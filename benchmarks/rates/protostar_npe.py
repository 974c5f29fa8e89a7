"""Neural posterior estimation beside kernel ridge and retrieval, on the features of protostar_features.py.

    pip install sbi                                                       fifteen packages; nothing else needs them
    python benchmarks/rates/protostar_npe.py FOLDER [NETWORK]             some minutes of a core; goes on where it was

A masked autoregressive flow (sbi's NPE, its defaults, early stop on a tenth of the images) learns the joint posterior
of all parameters from the leading components of features and brightness, whole systems held out; one table.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dioscuri.analogues.catalogue import read_metadata
from dioscuri.analogues.estimate import LEVELS, available, with_total_mass
from dioscuri.analogues.features import read_features
from dioscuri.analogues.recovery import compare, draw_queries, regress, splits, summarise
from dioscuri.analogues.regression import Blocks, reduce
from dioscuri.config import load_config

KIND, SEED = "leave_one_system_out", 1
COMPONENTS = 10  # a flow over twelve parameters takes no more from some twenty systems
SAMPLES, EPOCHS = 500, 60
JITTER = 0.02  # scatters, without which a flow collapses onto the few values that views of a snapshot share


def posterior(blocks: Blocks, values: np.ndarray, system: np.ndarray, asked: Blocks) -> np.ndarray:
    """Median and bounds (1 + 2L, Q, P) of the posterior of what is `asked` for; it knows nothing of systems."""
    from sbi.inference import NPE

    torch.manual_seed(SEED)
    reductions = [reduce(features, COMPONENTS) for features in blocks]
    known, wanted = (np.hstack([one(part) for one, part in zip(reductions, side)]) for side in (blocks, asked))
    scale = known.std(axis=0)
    noisy = values + JITTER * np.random.default_rng(SEED).normal(size=values.shape)
    theta, x, query = (torch.tensor(one, dtype=torch.float32) for one in (noisy, known / scale, wanted / scale))
    training = NPE(density_estimator="maf", show_progress_bars=False).append_simulations(theta, x)
    flow = training.train(max_num_epochs=EPOCHS, stop_after_epochs=8)
    with torch.no_grad():
        drawn = flow.sample((SAMPLES,), query).numpy()  # (S, Q, P)
    levels = [0.5] + [0.5 + side * 0.5 * level for level in LEVELS for side in (-1, 1)]
    return np.quantile(drawn, levels, axis=0)


def main() -> None:
    folder, network = Path(sys.argv[1]), (sys.argv[2:] or ["efficientnet_lite0"])[0]
    torch.set_num_threads(1)
    config = Path(__file__).parents[2] / "config"
    everything = load_config([config / f"{name}.yaml" for name in ("config", "surveys", "reference")], {})
    n_queries, seed = everything.protostar.benchmark.n_queries, everything.seed  # the images of the table
    metadata = with_total_mass(read_metadata(sorted(folder.glob("images*.h5"))))
    blocks = read_features(folder / "noiseless" / f"{network}.h5").blocks
    parts = []
    for split in splits(KIND, metadata):
        part = folder / "npe" / network / f"{split.fold:03d}.parquet"
        if not part.exists():
            part.parent.mkdir(parents=True, exist_ok=True)
            queries = draw_queries(split, n_queries, seed)
            method = f"{network}/npe"
            regress(split, queries, metadata, available(metadata), blocks, method, estimator=posterior).to_parquet(part)
        parts.append(pd.read_parquet(part))
    others = pd.read_parquet(folder / "noiseless" / network / f"{KIND}.parquet")
    rows = pd.concat([*parts, others], ignore_index=True)
    table = summarise(rows)
    columns = ["error", "error_se", "rho", "coverage68", "coverage68_se", "coverage95", "coverage95_se"]
    print(table[table.parameter == "all"].set_index("method")[columns].round(3).to_string())
    for base in ("ridge", "scaled"):
        change = (
            compare(rows, f"{network}/npe", [f"{network}/npe"], f"{network}/{base}").set_index("parameter").loc["all"]
        )
        print(f"NPE less {base}: {change.error:+.3f} ± {change.error_se:.3f}")


if __name__ == "__main__":
    main()
