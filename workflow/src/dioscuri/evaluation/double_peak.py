"""The classical method on the test pairs, for comparison: the double peak of the cross-correlation."""

import json
import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from dioscuri.arms import Arm
from dioscuri.io import atomic, open_shard
from dioscuri.job import provenance, use_threads
from dioscuri.libraries.grid import SpectralLibrary
from dioscuri.shards import MOCK_SCHEMA
from dioscuri.spectra.velocity import Templates, VelocityMeter, double_peak

log = logging.getLogger(__name__)

SCHEMA = "dioscuri/classical-scores/1"
BLOCK = 256  # spectra whose correlations with all templates are held at once (13 MB)


def score_pairs(
    test_shards: Sequence[str | os.PathLike],
    library_path: str | os.PathLike,
    arm: Arm,
    out: str | os.PathLike,
    *,
    threads: int = 1,
    settings: Any = None,
) -> None:
    """Write the double-peak statistic of every single and binary of the test shards in one arm (Parquet).

    Rows as in the score tables of the networks: pair_id, y (0 single, 1 binary), statistic (0: no second
    component, 1: two equal ones; see `velocity.double_peak`). Templates come from the library of the mocks.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    use_threads(threads)
    library = SpectralLibrary.load(library_path)
    meter = VelocityMeter(Templates.from_library(library, arm), arm)
    columns: dict[str, list[np.ndarray]] = {"pair_id": [], "y": [], "statistic": []}
    for path in test_shards:
        with open_shard(path, MOCK_SCHEMA) as stream:
            for y, kind in enumerate(("single", "binary")):
                fluxes = stream[f"{arm.name}/{kind}"]
                columns["pair_id"].append(stream["labels/pair_id"][:])
                columns["y"].append(np.full(len(fluxes), y, np.int8))
                columns["statistic"].append(_statistic(meter, arm, fluxes))
    table = pa.table({name: np.concatenate(parts) for name, parts in columns.items()})
    origin = json.dumps(provenance(settings), sort_keys=True, default=str)
    with atomic(out) as temporary:
        metadata = {"schema": SCHEMA, "arm": arm.name, "provenance": origin}
        pq.write_table(table.replace_schema_metadata(metadata), temporary, compression="zstd")
    log.info("%s: double-peak statistic of %d spectra", out, len(table))


def _statistic(meter: VelocityMeter, arm: Arm, fluxes: Any) -> np.ndarray:
    """The statistic (N,) of a dataset of normalised flux − 1, (N, L), read in blocks."""
    blocks = []
    for first in range(0, len(fluxes), BLOCK):
        velocity, ccf = meter.ccf(arm.wave, fluxes[first : first + BLOCK].astype(float) + 1.0)
        blocks.append(double_peak(velocity, ccf).statistic)
    return np.concatenate(blocks).astype(np.float32)
