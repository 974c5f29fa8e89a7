"""The reference preset's benchmark of features and estimators in one process, step by step into files.

    python benchmarks/rates/protostar_features.py FOLDER [noiseless] [CONFIG.yaml …]   half an hour of a core

By default config/reference.yaml, whose observations `noiseless` leaves out; protostar_lites.yaml and
protostar_heads.yaml, given after it, measure sizes of the pretrained network and heads. Systems, images, features and
estimates are made by the functions of the workflow's rules with these settings, continuum alone; what is in FOLDER is
not made again. Prints the table of docs/RESULTS.md.
"""

import sys
from pathlib import Path

import pandas as pd

from dioscuri.analogues.benchmark import recover_split, tabulate
from dioscuri.analogues.search import measure_catalogue
from dioscuri.analogues.simulation.collapse import simulate
from dioscuri.analogues.simulation.system import read_system, write_system
from dioscuri.analogues.synthetic import write_system_catalogue
from dioscuri.config import load_config

CONFIG = Path(__file__).parents[2] / "config"
AS_THEY_ARE = "noiseless"


def systems(folder: Path, settings, seed: int) -> list[Path]:
    """The shards of the toy catalogue."""
    wanted, shards = settings.catalogue, []
    size = {name: getattr(wanted, name) for name in ("n_particles", "n_snapshots", "duration")}
    for number in range(wanted.n_systems):
        system, shard = (folder / f"{kind}{number:03d}.h5" for kind in ("system", "images"))
        if not system.exists():
            write_system(system, simulate(1000 * seed + number, **size, separation_au=wanted.separation), {})
        if not shard.exists():
            write_system_catalogue(
                shard, read_system(system), number, separation_au=wanted.separation, n_pixels=wanted.n_pixels,
                fov_au=wanted.field, beam_au=(wanted.beam, wanted.beam, 0.0), channels=settings.channels[:1],
                n_lines=wanted.n_lines, mirror=wanted.mirror,
            )  # fmt: skip
        shards.append(shard)
    return shards


def main() -> None:
    folder, words = Path(sys.argv[1]), sys.argv[2:]
    noiseless, given = AS_THEY_ARE in words, [Path(word) for word in words if word != AS_THEY_ARE]
    layers = [CONFIG / "config.yaml", CONFIG / "surveys.yaml", *(given or [CONFIG / "reference.yaml"])]
    everything = load_config(layers, {})
    settings, seed = everything.protostar, everything.seed
    shards, channel = systems(folder, settings, seed), settings.channels[0]
    others = {} if noiseless else settings.benchmark.observations
    seen = {AS_THEY_ARE: None} | {name: one.model_dump() for name, one in others.items()}
    first = [(name, "leave_one_system_out") for name in seen]  # what decides comes first, heads last
    rest = [(AS_THEY_ARE, split) for split in settings.benchmark.splits if split != "leave_one_system_out"]
    rows = []
    for steps in filter(None, (first, rest)):
        for observation, split in steps:
            for network in settings.use:
                features = folder / observation / f"{network}.h5"
                how = seen[observation]
                if not features.exists():
                    about = settings.networks[network].model_dump()
                    stretch = settings.model_dump(include={"decades", "relative"})
                    measure_catalogue(features, shards, channel, about, seed=seed, observation=how, **stretch)
                rows.append(folder / observation / network / f"{split}.parquet")
                if rows[-1].exists():
                    continue
                recover_split(
                    rows[-1], shards, features, network, observation=observation, kind=split,
                    as_they_are=None if how is None else folder / AS_THEY_ARE / f"{network}.h5",
                    metric=settings.metrics[0], seed=seed,
                    **settings.benchmark.model_dump(include={"n_folds", "n_queries"}),
                    **settings.model_dump(include={"cut", "literal", "isotropic", "head"}),
                )  # fmt: skip
                print(rows[-1], flush=True)
        tabulate(rows, folder / "recovery.csv", folder / "heads.csv", settings.use)
        show(folder)


def show(folder: Path) -> None:
    """Scores over all parameters, by parameter on unseen systems, and paired differences."""
    table, changes = (pd.read_csv(folder / f"{name}.csv") for name in ("recovery", "heads"))
    pd.set_option("display.width", 200, "display.max_rows", 500)
    columns = ["error", "error_se", "rho", "coverage68", "coverage68_se", "coverage95", "coverage95_se"]
    print(table[table.parameter == "all"].set_index(["split", "observation", "method"])[columns].round(3).to_string())
    unseen = table[(table.split == "leave_one_system_out") & (table.observation == AS_THEY_ARE)]
    print(unseen.pivot(index="parameter", columns="method", values="error").round(2).to_string())
    columns = ["error", "error_se", "rho", "rho_se", "systems_better"]
    chosen = changes[changes.parameter == "all"].set_index(["split", "observation", "method", "baseline"])
    print(chosen[columns].round(3).to_string())


if __name__ == "__main__":
    main()
