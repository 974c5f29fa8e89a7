"""Mocks sent through the product's own path: shifted arms, meter, fits of one and two stars, the frame of these.

Mock spectra stand at their primary's rest but for a few km/s; observed ones stand where meter and fits put them.
Networks are trained, and rates measured, on mocks as they are seen.
"""

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dioscuri.arms import Arm
from dioscuri.catalogs.columns import read_whole
from dioscuri.catalogs.evidence import Evidence
from dioscuri.catalogs.pairs import FIT_COLUMNS, FRAMES, SUFFIX, fit_exposures, of_arm
from dioscuri.io import atomic, read_provenance
from dioscuri.job import provenance, use_threads
from dioscuri.shards import MOCK_SCHEMA, mock_shard, open_shard
from dioscuri.spectra.double_lines import DoubleLineFitter
from dioscuri.spectra.frames import shifted
from dioscuri.spectra.velocity import Templates, VelocityMeter

log = logging.getLogger(__name__)

SCHEMA = "dioscuri/mock-fits/1"
ARM_SCATTER_KMS = 3.0  # 1 σ by which the arms of one exposure differ in velocity; real ones differ by 4
BLOCK = 256  # spectra at a time
KINDS = ("single", "binary")


class Observer:
    """The product's path for spectra of some arms: `templates` arm → (Arm, Templates)."""

    def __init__(self, templates: Mapping[str, tuple[Arm, Templates]]) -> None:
        self.arms = {name: arm for name, (arm, _) in templates.items()}
        self.meters = {name: VelocityMeter(template, arm) for name, (arm, template) in templates.items()}
        self.fitters = {name: DoubleLineFitter(template, arm) for name, (arm, template) in templates.items()}

    def measured(
        self, arm: str, flux: np.ndarray, sigma: np.ndarray, push: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mock spectra (S, L), pushed by `push` (S,) km/s, as the meter takes them to rest.

        Returns flux − 1 and σ (S, L), and the velocity taken out (S,) [km/s] in the mocks' own frame.
        """
        pushed, _ = shifted(self.arms[arm], flux, None, -push)
        rv = np.nan_to_num(self.meters[arm].measure(self.arms[arm].wave, pushed.astype(float) + 1).rv)
        rest, error = shifted(self.arms[arm], pushed, sigma, rv)
        return rest, np.asarray(error), rv - push

    def seen(
        self,
        flux: Mapping[str, np.ndarray],
        snr: np.ndarray,
        push: Mapping[str, np.ndarray],
        evidence: Evidence | None,
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Mocks of all arms, arm → (S, L), in the frame that networks look from, and the columns of their fits (S,).

        Velocities are in the mocks' own frame. `evidence` as in `catalogs.pairs.fit_exposures`.
        """
        spectra, rv = {}, {}
        for arm, values in flux.items():
            sigma = np.repeat((1 / snr)[:, None], values.shape[1], axis=1).astype(np.float16)
            rest, error, rv[arm] = self.measured(arm, values, sigma, push[arm])
            spectra[arm] = (rest, error)
        fits = fit_exposures(self.fitters, spectra, rv, evidence)
        moved = {
            arm: shifted(self.arms[arm], rest, None, fits["frame"] - rv[arm])[0] for arm, (rest, _) in spectra.items()
        }
        return moved, fits


def _blocks(
    path: str | os.PathLike, arms: Sequence[str], seed: int, n_pairs: int | None
) -> Iterator[tuple[int, slice, dict[str, np.ndarray], np.ndarray, dict[str, np.ndarray]]]:
    """(y, rows, flux by arm, S/N, push by arm) of blocks of the first `n_pairs` singles, then of the binaries."""
    with open_shard(path, MOCK_SCHEMA) as stream:
        ids, snr = stream["labels/pair_id"][:n_pairs], stream["labels/snr"][:n_pairs]
        for y, kind in enumerate(KINDS):
            for first in range(0, len(ids), BLOCK):
                rows = slice(first, min(first + BLOCK, len(ids)))
                push = {arm: _pushes(seed, ids[rows], arm, y) for arm in arms}
                yield y, rows, {arm: stream[f"{arm}/{kind}"][rows] for arm in arms}, snr[rows], push


def _pushes(seed: int, ids: np.ndarray, arm: str, y: int) -> np.ndarray:
    """By how much an arm of each exposure (S,) is off in velocity [km/s]; sharding leaves no trace."""
    stream = list(SUFFIX).index(arm)
    return ARM_SCATTER_KMS * np.array([np.random.default_rng([seed, key, stream, y]).normal() for key in ids])


def calibrated_fits(
    shards: Sequence[str | os.PathLike], observer: Observer, *, penalty: float, n_pairs: int, seed: int = 0
) -> Evidence:
    """What fits of two stars are worth, and good for, by the first `n_pairs` of mock shards."""
    blocks: list[dict[str, np.ndarray]] = []
    left, offset = n_pairs, 0.0
    for path in shards:
        labels = _labels(path, ("v1", "dv", "snr"), left)
        offset = read_provenance(path).get("recipe", {}).get("velocity_offset", 0.0)
        for y, rows, flux, snr, push in _blocks(path, list(observer.arms), seed, left):
            _, fits = observer.seen(flux, snr, push, None)
            truth = {name: values[rows] for name, values in labels.items()}
            blocks.append({"y": np.full(len(snr), y, np.int8), **truth, **fits})
        left -= len(labels["snr"])
        if left <= 0:
            break
    seen = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    truth = {"v1": seen["v1"], "dv": seen["dv"], "sigma": 1 / seen["snr"], "offset": offset}
    return Evidence.of_fits({arm: of_arm(seen, arm) for arm in observer.arms}, seen["y"], penalty, truth)


def write_seen(
    mocks: str | os.PathLike,
    observer: Observer,
    evidence: Evidence,
    out: str | os.PathLike,
    table: str | os.PathLike,
    *,
    seed: int = 0,
    settings: Any = None,
) -> None:
    """Write a mock shard with its spectra as networks see those of the telescope; and what was fitted.

    `table` (Parquet): pair_id, y, snr, FIT_COLUMNS of each arm and FRAMES of all singles, then of all binaries.
    """
    with open_shard(mocks, MOCK_SCHEMA) as stream:
        labels = {name: values[:] for name, values in stream["labels"].items()}
    n_pairs = len(labels["pair_id"])
    pixels = {name: arm.n_pixels for name, arm in observer.arms.items()}
    record = {**read_provenance(mocks), "seen": provenance(settings, seed=seed)}
    columns: list[dict[str, np.ndarray]] = []
    with mock_shard(out, n_pairs, tuple(labels), pixels, record) as writer:
        writer.label(labels)
        for y, rows, flux, snr, push in _blocks(mocks, list(observer.arms), seed, None):
            moved, fits = observer.seen(flux, snr, push, evidence)
            writer.put(KINDS[y], rows, moved)
            columns.append({"pair_id": labels["pair_id"][rows], "y": np.full(len(snr), y, np.int8), "snr": snr, **fits})
    names = [f"{name}_{SUFFIX[arm]}" for arm in observer.arms for name in FIT_COLUMNS]
    found = {name: np.concatenate([block[name] for block in columns]) for name in ("pair_id", "y", "snr")}
    fitted = {name: np.concatenate([block[name] for block in columns]).astype(np.float32) for name in (*names, *FRAMES)}
    metadata = {"schema": SCHEMA, "provenance": json.dumps(record["seen"], sort_keys=True, default=str)}
    with atomic(table) as temporary:
        pq.write_table(pa.table(found | fitted).replace_schema_metadata(metadata), temporary, compression="zstd")
    log.info("%s: %d pairs as they are seen, %.1f %% by the pair's frame", out, n_pairs, 100 * _share(fitted, found))


def read_seen_fits(paths: Sequence[str | os.PathLike]) -> dict[str, np.ndarray]:
    """Columns of such tables, one after the other, (2N,) each."""
    return read_whole(paths, SCHEMA, "make these mocks again")


def _share(fitted: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> float:
    binaries = found["y"] == 1
    return float(fitted["pair_frame"][binaries].mean())


def _labels(path: str | os.PathLike, names: Sequence[str], n_pairs: int | None) -> dict[str, np.ndarray]:
    with open_shard(path, MOCK_SCHEMA) as stream:
        return {name: stream[f"labels/{name}"][:n_pairs].astype(float) for name in names}


# --- jobs ---------------------------------------------------------------------------------------------------


def observer_of(library_path: str | os.PathLike, arms: Sequence[Arm]) -> Observer:
    """The path with templates of a library of spectra."""
    from dioscuri.libraries.grid import SpectralLibrary

    library = SpectralLibrary.load(library_path)
    return Observer({arm.name: (arm, Templates.from_library(library, arm)) for arm in arms})


def write_calibrated_fits(
    shards: Sequence[str | os.PathLike],
    library_path: str | os.PathLike,
    arms: Sequence[Arm],
    out: str | os.PathLike,
    *,
    penalty: float,
    n_pairs: int,
    seed: int,
    threads: int = 1,
    settings: Any = None,
) -> None:
    """Calibrate the fits of two stars on mock shards and write what was found as evidence without networks (JSON)."""
    use_threads(threads)
    found = calibrated_fits(shards, observer_of(library_path, arms), penalty=penalty, n_pairs=n_pairs, seed=seed)
    found.save(out, provenance(settings, n_pairs=n_pairs))
    log.info("%s: fits calibrated on %d pairs at most", out, n_pairs)


def see_shard(
    mocks: str | os.PathLike,
    library_path: str | os.PathLike,
    arms: Sequence[Arm],
    evidence: str | os.PathLike,
    out: str | os.PathLike,
    table: str | os.PathLike,
    *,
    seed: int,
    threads: int = 1,
    settings: Any = None,
) -> None:
    """`write_seen` of files."""
    use_threads(threads)
    observer = observer_of(library_path, arms)
    write_seen(mocks, observer, Evidence.load(evidence), out, table, seed=seed, settings=settings)
