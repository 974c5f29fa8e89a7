"""What networks and fits are worth together, by mocks as they are seen (`mock_path`)."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dioscuri.catalogs.evidence import Evidence, logit
from dioscuri.catalogs.pairs import SUFFIX, of_arm
from dioscuri.catalogs.scores import ARM_INDEX
from dioscuri.evaluation.mock_path import KINDS, read_seen_fits
from dioscuri.job import provenance, use_threads
from dioscuri.shards import MOCK_SCHEMA, open_shard

if TYPE_CHECKING:
    from dioscuri.learn.spectra.inference import Ensemble

log = logging.getLogger(__name__)

BLOCK = 2000  # pairs at a time


def scores_of_mocks(
    shards: Sequence[str | os.PathLike],
    ensembles: Mapping[str, "Ensemble"],
    penalty: float,
    *,
    draws: int = 0,
) -> dict[str, np.ndarray]:
    """`p_B` … of eq. 8, and with `draws` the median `p50_B` … of eq. 9, (2N,), rows as `read_seen_fits` has them."""
    found: dict[str, list[np.ndarray]] = {}
    for path in shards:
        with open_shard(path, MOCK_SCHEMA) as stream:
            ids, snr = stream["labels/pair_id"][:], stream["labels/snr"][:]
            for y, kind in enumerate(KINDS):
                for first in range(0, len(ids), BLOCK):
                    rows = slice(first, first + BLOCK)
                    for arm, ensemble in ensembles.items():
                        flux = stream[f"{arm}/{kind}"][rows]
                        plain = ensemble.mean_probability(flux, [penalty])[penalty]
                        found.setdefault(f"p_{SUFFIX[arm]}", []).append(plain)
                        if draws:
                            sigma = np.broadcast_to((1 / snr[rows])[:, None], flux.shape).astype(np.float16)
                            keys = 2 * ids[rows] + y
                            percentiles = ensemble.percentiles(
                                flux, sigma, keys, ARM_INDEX[arm], penalties=[penalty], n_draws=draws
                            )
                            found.setdefault(f"p50_{SUFFIX[arm]}", []).append(percentiles[penalty][:, 2])
    return {name: np.concatenate(parts) for name, parts in found.items()}


def joint_logodds(evidence: Evidence, fits: Mapping[str, np.ndarray], p: Mapping[str, np.ndarray]) -> np.ndarray:
    """Log-odds (2N,) of both arms from the columns of `read_seen_fits` and `scores_of_mocks`."""
    arms = [arm for arm, end in SUFFIX.items() if f"p_{end}" in p]
    logits = {arm: logit(p[f"p_{SUFFIX[arm]}"]) for arm in arms}
    return evidence.logodds({arm: of_arm(fits, arm) for arm in arms}, logits)


def write_evidence(
    shards: Sequence[str | os.PathLike],
    tables: Sequence[str | os.PathLike],
    fits_evidence: str | os.PathLike,
    model_dirs: Mapping[str, Sequence[str | os.PathLike]],
    out: str | os.PathLike,
    *,
    penalty: float,
    threads: int = 1,
    settings: Any = None,
) -> None:
    """Join what fits are worth with what networks say of seen mocks, and write it (JSON).

    `shards`, `tables`: seen mocks; `fits_evidence`: what `write_calibrated_fits` wrote; `model_dirs`: arm → folders of
    the trained networks.
    """
    from dioscuri.learn.spectra.inference import Ensemble
    from dioscuri.learn.spectra.models import load_models

    use_threads(threads)
    ensembles = {arm: Ensemble(load_models(paths, arm)) for arm, paths in model_dirs.items()}
    fits = read_seen_fits(tables)
    p = scores_of_mocks(shards, ensembles, penalty)
    logits = {arm: logit(p[f"p_{SUFFIX[arm]}"]) for arm in ensembles}
    evidence = Evidence.load(fits_evidence).joined({arm: of_arm(fits, arm) for arm in ensembles}, fits["y"], logits)
    evidence.save(out, provenance(settings, n_pairs=len(fits["y"]) // 2))
    log.info("%s: calibrated on %d pairs, penalty %g", out, len(fits["y"]) // 2, penalty)
