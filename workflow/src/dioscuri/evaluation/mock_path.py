"""Mocks sent through the product's own path: meter, fits of one and two stars, and the networks in the frames of these.

Mock spectra stand at their primary's rest but for a few km/s; observed ones stand where the meter puts them. A rate
that is measured on mocks as they are promises what the product does not keep.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dioscuri.arms import Arm
from dioscuri.catalogs.evidence import Evidence, logit
from dioscuri.catalogs.pairs import SUFFIX, fit_exposures, of_arm
from dioscuri.catalogs.scores import percentiles_in_frames
from dioscuri.job import provenance, use_threads
from dioscuri.libraries.grid import SpectralLibrary
from dioscuri.shards import MOCK_SCHEMA, open_shard
from dioscuri.spectra.double_lines import DoubleLineFitter
from dioscuri.spectra.frames import shifted
from dioscuri.spectra.velocity import Templates, VelocityMeter, double_peak

if TYPE_CHECKING:
    from dioscuri.learn.spectra.inference import Ensemble

log = logging.getLogger(__name__)

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
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Mock spectra (S, L), pushed by `push` (S,) km/s, as the meter takes them to rest.

        Returns flux − 1 and σ (S, L), the velocity taken out (S,) [km/s] in the mocks' own frame, and the statistic of
        the double peak of the correlation (S,), the classical method.
        """
        pushed, _ = shifted(self.arms[arm], flux, None, -push)
        spectra = pushed.astype(float) + 1
        rv = np.nan_to_num(self.meters[arm].measure(self.arms[arm].wave, spectra).rv)
        peak = double_peak(*self.meters[arm].ccf(self.arms[arm].wave, spectra)).statistic
        rest, error = shifted(self.arms[arm], pushed, sigma, rv)
        return rest, np.asarray(error), rv - push, peak


def observe_mocks(
    shards: Sequence[str | os.PathLike],
    observer: Observer,
    ensembles: Mapping[str, "Ensemble"],
    evidence: Evidence | None,
    *,
    penalty: float,
    draws: int,
    n_pairs: int | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Columns (2N,) of the singles and binaries of mock shards: pair_id, y (1 binary), fits, frames, and per arm
    `p_B` … (median of `draws` draws at `penalty`), `p_rest_B` … (of the mock as it is made: in its primary's frame) and
    `ccf_B` … (double peak); with `evidence` also logodds. Without `ensembles` no p, without `evidence` no second frame.
    """
    random = np.random.default_rng(seed)
    blocks: list[dict[str, np.ndarray]] = []
    left = n_pairs
    for path in shards:
        with open_shard(path, MOCK_SCHEMA) as stream:
            ids, snr = stream["labels/pair_id"][:left], stream["labels/snr"][:left]
            for y, kind in enumerate(KINDS):
                for first in range(0, len(ids), BLOCK):
                    rows = slice(first, min(first + BLOCK, len(ids)))
                    flux = {arm: stream[f"{arm}/{kind}"][rows] for arm in observer.arms}
                    keys = 2 * ids[rows] + y
                    push = {arm: random.normal(0, ARM_SCATTER_KMS, len(keys)) for arm in flux}
                    columns = _observe(flux, snr[rows], keys, push, observer, ensembles, evidence, penalty, draws)
                    blocks.append({"pair_id": ids[rows], "y": np.full(len(keys), y, np.int8), **columns})
        left = None if left is None else left - len(ids)
        if left == 0:
            break
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _observe(
    flux: Mapping[str, np.ndarray],
    snr: np.ndarray,
    keys: np.ndarray,
    push: Mapping[str, np.ndarray],
    observer: Observer,
    ensembles: Mapping[str, "Ensemble"],
    evidence: Evidence | None,
    penalty: float,
    draws: int,
) -> dict[str, np.ndarray]:
    """Columns (S,) of one block of mock spectra."""
    spectra, rv, found = {}, {}, {}
    for arm, values in flux.items():
        sigma = np.repeat((1 / snr)[:, None], values.shape[1], axis=1).astype(np.float16)
        if arm in ensembles:
            found[f"p_rest_{SUFFIX[arm]}"] = _median(ensembles[arm], values, sigma, keys, arm, penalty, draws)
        rest, error, rv[arm], found[f"ccf_{SUFFIX[arm]}"] = observer.measured(arm, values, sigma, push[arm])
        spectra[arm] = (rest, error)
    fits = fit_exposures(observer.fitters, spectra, rv, evidence)
    for arm, (rest, error) in spectra.items():
        if arm not in ensembles:
            continue
        p, _ = percentiles_in_frames(
            ensembles[arm], observer.arms[arm], rest, error, keys, rv[arm], fits, penalties=[penalty], n_draws=draws
        )
        found[f"p_{SUFFIX[arm]}"] = p[penalty][:, 2]
    found |= fits
    if evidence is not None and evidence.single:
        logits = {arm: evidence.logits(found[f"p_{SUFFIX[arm]}"], penalty) for arm in flux}
        found["logodds"] = evidence.logodds({arm: of_arm(fits, arm) for arm in flux}, logits)
    return found


def _median(
    ensemble: "Ensemble", flux: np.ndarray, sigma: np.ndarray, keys: np.ndarray, arm: str, penalty: float, draws: int
) -> np.ndarray:
    index = list(SUFFIX).index(arm)
    return ensemble.percentiles(flux, sigma, keys, index, penalties=[penalty], n_draws=draws)[penalty][:, 2]


def calibrate(
    shards: Sequence[str | os.PathLike],
    observer: Observer,
    ensembles: Mapping[str, "Ensemble"],
    *,
    penalty: float,
    draws: int,
    n_pairs: int,
    seed: int = 0,
) -> Evidence:
    """The regressions of `catalogs.evidence`, fitted to mocks on the product's path.

    First those of the fits, which say where networks look a second time; then those of fits and networks.
    """
    path: dict[str, Any] = {"penalty": penalty, "draws": draws, "n_pairs": n_pairs, "seed": seed}
    seen = observe_mocks(shards, observer, {}, None, **path)
    pair = Evidence.of_fits({arm: of_arm(seen, arm) for arm in observer.arms}, seen["y"], penalty)
    seen = observe_mocks(shards, observer, ensembles, pair, **path)
    fits = {arm: of_arm(seen, arm) for arm in observer.arms}
    logits = {arm: logit(seen[f"p_{SUFFIX[arm]}"]) for arm in observer.arms}
    return pair.joined(fits, seen["y"], logits)


def write_evidence(
    shards: Sequence[str | os.PathLike],
    model_dirs: Mapping[str, Sequence[str | os.PathLike]],
    library_path: str | os.PathLike,
    arms: Sequence[Arm],
    out: str | os.PathLike,
    *,
    penalty: float,
    draws: int,
    n_pairs: int,
    seed: int,
    threads: int = 1,
    settings: Any = None,
) -> None:
    """Calibrate the evidence of fits and networks on mock shards and write it (JSON).

    `model_dirs`: arm → folders of the trained networks.
    """
    from dioscuri.learn.spectra.inference import Ensemble
    from dioscuri.learn.spectra.models import load_model

    use_threads(threads)
    library = SpectralLibrary.load(library_path)
    observer = Observer({arm.name: (arm, Templates.from_library(library, arm)) for arm in arms})
    ensembles = {arm.name: Ensemble([load_model(path, arm.name) for path in model_dirs[arm.name]]) for arm in arms}
    evidence = calibrate(shards, observer, ensembles, penalty=penalty, draws=draws, n_pairs=n_pairs, seed=seed)
    evidence.save(out, provenance(settings, n_pairs=n_pairs))
    log.info("%s: calibrated on %d pairs at most, penalty %g", out, n_pairs, penalty)
