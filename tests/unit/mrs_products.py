"""Small products of every stage of the MRS line, made up for the tests of catalogues and figures."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from dioscuri.catalogs.evidence import Evidence
from dioscuri.catalogs.merge import identify, joined
from dioscuri.catalogs.pairs import FIT_COLUMNS, frames
from dioscuri.catalogs.tables import catalog_columns
from dioscuri.flags import Quality
from dioscuri.io import observation_key, write_json
from dioscuri.learn.spectra.networks import build
from dioscuri.paths import format_number
from dioscuri.shards import mock_shard, write_spectra_shard

N_PIXELS = {"blue": 64, "red": 72}
NETWORK = {"channels": [2], "kernels": [5], "strides": [2], "dense": [4], "dropout": 0.1}
LABELS = ("pair_id", "q", "feh", "teff1", "teff2", "logg1", "vsini1", "vsini2", "dv", "snr")
RANGES = {
    "q": (0.1, 1.0),
    "feh": (-2.0, 0.5),
    "teff1": (4000.0, 8000.0),
    "teff2": (4000.0, 8000.0),
    "logg1": (1.0, 5.0),
    "vsini1": (0.0, 500.0),
    "vsini2": (0.0, 500.0),
    "dv": (-500.0, 500.0),
    "snr": (5.0, 100.0),
}


def labels(n: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"pair_id": np.arange(n), **{name: rng.uniform(*limits, n) for name, limits in RANGES.items()}}


def write_mocks(path: Path, n: int, first: int = 0) -> dict[str, np.ndarray]:
    """A mock shard of noise; returns its labels."""
    columns = labels(n, first)
    columns["pair_id"] = np.arange(first, first + n)
    rng = np.random.default_rng(first + 1)
    spectra = {arm: tuple(rng.normal(0, 0.1, (2, n, size)).astype("f2")) for arm, size in N_PIXELS.items()}
    with mock_shard(path, n, LABELS, N_PIXELS, {}) as writer:
        writer.append(columns, spectra)
    return columns


def write_model(folder: Path, arm: str = "blue", penalty: float = 16, seed: int = 1):
    """An untrained model as training leaves it; returns the network."""
    torch.manual_seed(seed)
    net = build(NETWORK, N_PIXELS[arm]).eval()
    info = {
        "schema": "dioscuri/model/1",
        "arm": arm,
        "network": NETWORK,
        "penalty": float(penalty),
        "seed": seed,
        "grid": {"n_pixels": N_PIXELS[arm]},
        "version": "0",
    }
    folder.mkdir(parents=True)
    state = {f"net.{name}": value for name, value in net.state_dict().items()}
    torch.save({"state_dict": state, "model": info}, folder / "model.ckpt")
    write_json(folder / "model.json", info)
    rows = [f"{epoch},0.001,{2 / epoch},{2.2 / epoch},0.3,0.01,5.0" for epoch in range(1, 5)]
    header = "epoch,learning_rate,train_loss,validation_loss,validation_tpr,validation_fpr,seconds"
    (folder / "history.csv").write_text("\n".join([header, *rows]) + "\n")
    return net


def exposures(n_sources: int, first: int = 0) -> dict[str, np.ndarray]:
    """Three single exposures and a co-add for each of `n_sources` sources; the last row has no red arm."""
    source = np.repeat(np.arange(first, first + n_sources), 4)
    exposure = np.tile([84_700_000, 84_700_023, 84_700_046, -1], n_sources)
    n = len(source)
    rng = np.random.default_rng(first)
    obsid = 744_812_000 + source
    columns = {
        "file": np.array([f"med-{k:03d}.fits.gz" for k in source], object),
        "folder": np.array(["night"] * n, object),
        "source_id": np.array([f"LAMOST J{k:06d}" for k in source], object),
        "gaia_id": np.where(source % 2, 2_100_000_000_000_000_000 + source, 0),
        "obsid": obsid,
        "exposure": exposure,
        "key": np.array([observation_key(int(o), int(e)) for o, e in zip(obsid, exposure)]),
        "lmjd": np.full(n, 58820),
        "planid": np.array(["PLAN01"] * n, object),
        "spid": np.full(n, 12, np.int16),
        "fiberid": np.full(n, 76, np.int16),
        "ra": 290 + 0.01 * source,
        "dec": 43 - 0.01 * source,
        "bjdmid": 2_458_820.45 + rng.uniform(0, 0.1, n),
        "bprp0": np.full(n, np.nan, np.float32),
    }
    for end in "BR":
        columns[f"snr_{end}"] = rng.uniform(6, 100, n).astype("f4")
        columns[f"rv_obs_{end}"] = rng.normal(0, 30, n).astype("f4")
        columns[f"rv_obs_err_{end}"] = np.full(n, 3.0, np.float32)
        columns[f"rv_teff_{end}"] = np.full(n, 5750, np.float32)
        columns[f"ccfmax_{end}"] = np.full(n, 0.8, np.float32)
        columns[f"npixbad_{end}"] = rng.integers(0, 60, n).astype("i4")
        columns[f"specflag_{end}"] = np.ones(n, bool)
        columns[f"flags_{end}"] = np.where(exposure < 0, int(Quality.COADD), 0).astype("i4")
    for name in ("snr_R", "rv_obs_R", "rv_obs_err_R", "rv_teff_R", "ccfmax_R"):
        columns[name][-1] = np.nan
    columns["npixbad_R"][-1], columns["specflag_R"][-1] = 0, False
    columns["flags_R"][-1] = Quality.MISSING_ARM | Quality.COADD
    return columns


def write_spectra(path: Path, columns: dict[str, np.ndarray]) -> None:
    """An observed shard with spectra of noise, NaN where an arm is masked."""
    arms = {}
    for arm, size in N_PIXELS.items():
        rng = np.random.default_rng(len(arms))
        flux = rng.normal(0, 0.05, (len(columns["key"]), size))
        sigma = np.full_like(flux, 0.05)
        masked = ~columns[f"specflag_{arm[0].upper()}"]
        flux[masked], sigma[masked] = np.nan, np.nan
        arms[arm] = (flux, sigma)
    write_spectra_shard(path, columns, arms, {})


def write_pairs(path: Path, columns: dict[str, np.ndarray]) -> None:
    """Fits of two stars that stand at the velocities of the exposures; NaN where an arm is masked."""
    n = len(columns["key"])
    fits = {"key": columns["key"]}
    for end in "BR":
        masked = ~columns[f"specflag_{end}"]
        fits |= {f"{name}_{end}": np.where(masked, np.nan, 1.0).astype("f4") for name in FIT_COLUMNS}
        fits[f"vs_{end}"] = columns[f"rv_obs_{end}"]
        fits[f"v1_{end}"] = np.where(masked, np.nan, columns[f"rv_obs_{end}"] + 20).astype("f4")
        fits[f"pair_logodds_{end}"] = np.where(masked, np.nan, np.arange(n) % 2 * 4.0).astype("f4")
    fits |= frames(fits, ["blue", "red"])
    pq.write_table(pa.table(fits).replace_schema_metadata({"schema": "dioscuri/pairs/2"}), path)


def score_columns(percentiles: dict[float, np.ndarray]) -> dict[str, np.ndarray]:
    """Columns of a score table, penalty → (N, 5) percentiles; the median stands in for the models' mean."""
    named = {format_number(penalty): values for penalty, values in percentiles.items()}
    return {f"pb_pct_{name}": p for name, p in named.items()} | {f"pb_{name}": p[:, 2] for name, p in named.items()}


def assemble(columns, scores, penalties, zero_point, zero_point_error):
    """The catalogue of one shard in memory, name → (S,) in its order, and the duplicates that were left out."""
    who = identify([columns])
    known = joined(columns, scores, penalties, zero_point, zero_point_error)
    unknown = np.full(len(who.observations["obsid"]), np.nan)
    position, values = who.placed(0, known, unknown, penalties)
    found = {name: column[np.argsort(position)] for name, column in values.items()}
    texts = {name: text[:].astype(str) for name, text in who.texts().items()}
    return {column.name: (found | texts)[column.name] for column in catalog_columns(penalties)}, who.duplicates


def evidence() -> Evidence:
    """Regressions that were fitted to noise."""
    rng = np.random.default_rng(3)
    y = np.arange(200) % 2
    fits = {arm: {name: rng.uniform(0.1, 1, 200) + y for name in FIT_COLUMNS} for arm in N_PIXELS}
    logits = {arm: rng.normal(0, 1, 200) + y for arm in N_PIXELS}
    return Evidence.of_fits(fits, y, 16.0).joined(fits, y, logits)
