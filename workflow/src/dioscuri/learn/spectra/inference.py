"""Loads models, packs them for release, and turns spectra with their errors into probabilities."""

from collections import Counter
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dioscuri.learn import noise
from dioscuri.learn.calibration import shift_logit
from dioscuri.learn.memory import keep_freed_memory
from dioscuri.learn.model_files import network_of, read_checkpoint, read_release, write_release
from dioscuri.learn.passes import exact_arithmetic, passes, resolved_device
from dioscuri.learn.spectra.networks import SpectrumCNN, build, folded

MODEL_SCHEMA = "dioscuri/model/1"
RELEASE_SCHEMA = "dioscuri/models/1"
PERCENTILES = (0, 16, 50, 84, 100)
# Noisy spectra per pass: large enough to amortise calls, small enough to stay in cache (CPU) or memory (GPU).
ROWS_PER_PASS = {"cpu": 320, "cuda": 8000}

Model = tuple[SpectrumCNN, dict[str, Any]]


# --- model files --------------------------------------------------------------------------------------------


def load_model(path: str | PathLike, arm: str | None = None) -> Model:
    """A trained network, ready for inference, and the content of its model.json.

    `path`: a `model.ckpt` or the folder that holds it. With `arm`, a model of another arm is an error.
    Only tensors and plain values are unpickled.
    """
    state, info = read_checkpoint(path, MODEL_SCHEMA)
    _check_arm(path, info, arm)
    return network_of(path, _network, info, state), info


def load_models(paths: Sequence[str | PathLike], arm: str | None = None) -> list[Model]:
    """The networks of `model.ckpt` files (or their folders) and of released .safetensors files."""
    models: list[Model] = []
    for path in paths:
        models += load_released(path, arm) if Path(path).suffix == ".safetensors" else [load_model(path, arm)]
    return models


def save_released(path: str | PathLike, models: Sequence[Model], dtype: torch.dtype = torch.float16) -> None:
    """Pack models of one arm (several seeds, penalties) into one safetensors file; weights are stored as `dtype`."""
    infos = [info for _, info in models]
    _one_grid(infos)
    header = {"schema": RELEASE_SCHEMA, "arm": infos[0]["arm"], "grid": infos[0]["grid"]}
    write_release(path, header, models, dtype)


def load_released(path: str | PathLike, arm: str | None = None) -> list[Model]:
    """The models of a released file, as `load_model` gives them; another arm or schema is an error."""
    header, states = read_release(path, RELEASE_SCHEMA)
    _check_arm(path, header, arm)
    return [(network_of(path, _network, info, state), info) for state, info in zip(states, header["models"])]


def _network(info: dict[str, Any]) -> SpectrumCNN:
    return build(info["network"], info["grid"]["n_pixels"])


def _check_arm(path: str | PathLike, info: dict[str, Any], arm: str | None) -> None:
    if arm is not None and info["arm"] != arm:
        raise ValueError(f"{path}: a model of the {info['arm']} arm, asked for the {arm} arm")


def _one_grid(infos: Sequence[dict[str, Any]]) -> None:
    if not infos:
        raise ValueError("an ensemble needs at least one model")
    for info in infos[1:]:
        for key in ("arm", "grid"):
            if info[key] != infos[0][key]:
                raise ValueError(f"models of one ensemble differ in {key}: {infos[0][key]} and {info[key]}")
    for (penalty, seed), times in Counter((info["penalty"], info["seed"]) for info in infos).items():
        if times > 1:
            raise ValueError(
                f"{times} models of Λ = {penalty:g} and seed {seed}: one is a copy; train its own seed again"
            )


# --- scoring ------------------------------------------------------------------------------------------------


class Ensemble:
    """All models of one arm: M networks per penalty, evaluated together on shared noise draws."""

    def __init__(self, models: Iterable[Model], device: str = "auto"):
        models = list(models)
        _one_grid([info for _, info in models])
        self.device = resolved_device(device)
        self.arm, self.grid = models[0][1]["arm"], models[0][1]["grid"]
        self.n_pixels = int(self.grid["n_pixels"])
        self._nets: dict[float, list[SpectrumCNN]] = {}
        for net, info in sorted(models, key=lambda model: (model[1]["penalty"], model[1]["seed"])):
            self._nets.setdefault(float(info["penalty"]), []).append(folded(net).to(self.device))
        keep_freed_memory()

    @property
    def penalties(self) -> tuple[float, ...]:
        """The penalties Λ for which there are models."""
        return tuple(self._nets)

    def percentiles(
        self,
        flux: np.ndarray,
        sigma: np.ndarray,
        keys: np.ndarray,
        arm_index: int,
        *,
        n_draws: int = 20,
        seed: int = 0,
        penalties: Sequence[float] | None = None,
        shift_from: float | None = None,
        progress: bool = False,
    ) -> dict[float, np.ndarray]:
        """Percentiles 0, 16, 50, 84 and 100 of p over noise draws and models, penalty → (S, 5) float32.

        Zhang et al. 2022, eqs. 8–9. flux: normalised flux − 1, (S, L). sigma: its 1σ error, (S, L). keys: a
        stable integer per spectrum (`io.observation_key`), (S,). arm_index: keeps the noise of the arms
        apart. A spectrum with a non-finite pixel or error is masked: its percentiles are NaN.

        The D noise draws of a spectrum depend on (seed, arm_index, key) alone and are shared by all models.
        Passes have one fixed shape, the last one padded: on one machine the result of a spectrum is the same
        to the bit whatever its neighbours, its order or its shard.
        A penalty without models is an error unless `shift_from` names one with models, whose logits are then
        shifted (`calibration.shift_logit`).
        """
        self._check_pixels(flux)
        if sigma.shape != flux.shape or len(keys) != len(flux):
            raise ValueError(f"flux {flux.shape}, sigma {sigma.shape} and keys {np.shape(keys)} do not belong together")
        sources = self._sources(self.penalties if penalties is None else penalties, shift_from)
        keys = np.asarray(keys, np.int64)
        usable = np.flatnonzero(np.isfinite(flux).all(axis=1) & np.isfinite(sigma).all(axis=1))
        nets = {source: self._nets[source] for source in set(sources.values())}
        logits = {
            source: np.empty((len(usable), len(members) * n_draws), np.float32) for source, members in nets.items()
        }
        spectra_per_pass = max(1, ROWS_PER_PASS[self.device.type] // n_draws)
        with exact_arithmetic():
            for here, chosen in passes(usable, spectra_per_pass, progress, "spectra"):
                noisy = self._noisy(flux[chosen], sigma[chosen], keys[chosen], n_draws, seed, arm_index)
                for source, members in nets.items():
                    for m, net in enumerate(members):
                        out = net(noisy).view(spectra_per_pass, n_draws)[: here.stop - here.start]
                        logits[source][here, m * n_draws : (m + 1) * n_draws] = out.cpu().numpy()

        result = {}
        for penalty, source in sources.items():
            shifted = shift_logit(logits[source], source, penalty)
            table = np.full((len(flux), len(PERCENTILES)), np.nan, np.float32)
            if len(usable):
                table[usable] = np.percentile(_sigmoid(shifted), PERCENTILES, axis=1).T
            result[penalty] = table
        return result

    def probabilities(self, flux: np.ndarray, progress: bool = False) -> dict[float, np.ndarray]:
        """Each model's p of the spectra as they are, without added noise: penalty → (S, M) float32.

        The mean over M is eq. 8. flux: normalised flux − 1, (S, L); a non-finite spectrum gives NaN.
        """
        self._check_pixels(flux)
        usable = np.flatnonzero(np.isfinite(flux).all(axis=1))
        result = {penalty: np.full((len(flux), len(nets)), np.nan, np.float32) for penalty, nets in self._nets.items()}
        rows = ROWS_PER_PASS[self.device.type]
        with exact_arithmetic():
            for here, chosen in passes(usable, rows, progress, "spectra"):
                spectra = torch.from_numpy(flux[chosen]).to(self.device).float()
                for penalty, nets in self._nets.items():
                    for m, net in enumerate(nets):
                        logits = net(spectra)[: here.stop - here.start].cpu().numpy()
                        result[penalty][usable[here], m] = _sigmoid(logits)
        return result

    def _noisy(
        self, flux: np.ndarray, sigma: np.ndarray, keys: np.ndarray, n_draws: int, seed: int, stream: int
    ) -> Tensor:
        """flux + sigma × normal, (B·D, L) float32 on the device."""
        mean, error = (torch.from_numpy(array).to(self.device).float()[:, None] for array in (flux, sigma))
        if self.device.type == "cuda":
            draws = noise.torch_normals(torch.from_numpy(keys).to(self.device), n_draws, self.n_pixels, seed, stream)
        else:
            draws = torch.from_numpy(noise.normals(keys, n_draws, self.n_pixels, seed, stream))
        return torch.addcmul(mean, error, draws).flatten(0, 1)

    def _sources(self, penalties: Sequence[float], shift_from: float | None) -> dict[float, float]:
        """Wanted penalty → the trained penalty whose logits serve it."""
        trained = ", ".join(f"{penalty:g}" for penalty in self.penalties)
        if shift_from is not None and float(shift_from) not in self._nets:
            raise ValueError(f"no models of penalty {shift_from:g} to shift from; trained penalties: {trained}")
        sources = {}
        for penalty in map(float, penalties):
            if penalty <= 0:
                raise ValueError(f"a penalty is positive, found {penalty:g}")
            if penalty in self._nets:
                sources[penalty] = penalty
            elif shift_from is not None:
                sources[penalty] = float(shift_from)
            else:
                raise ValueError(f"no models of penalty {penalty:g}; trained penalties: {trained}")
        return sources

    def _check_pixels(self, flux: np.ndarray) -> None:
        if flux.ndim != 2 or flux.shape[1] != self.n_pixels:
            raise ValueError(f"the {self.arm} models take spectra (S, {self.n_pixels}), found {flux.shape}")


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return torch.sigmoid(torch.from_numpy(logits)).numpy()
