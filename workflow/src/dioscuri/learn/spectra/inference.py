"""Turns spectra with their errors into probabilities: all networks of an arm on shared noise draws."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from dioscuri.learn import noise
from dioscuri.learn.calibration import shift_logit, shift_probability
from dioscuri.learn.memory import keep_freed_memory
from dioscuri.learn.passes import exact_arithmetic, passes, resolved_device
from dioscuri.learn.spectra.blocks import BlockedCNN
from dioscuri.learn.spectra.models import Model, one_grid
from dioscuri.learn.spectra.networks import SpectrumCNN, folded

PERCENTILES = (0, 16, 50, 84, 100)
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
# Noisy spectra per pass: large enough to amortise calls, small enough to stay in cache (CPU) or memory (GPU).
ROWS_PER_PASS = {"cpu": 320, "cuda": 8000}


class Ensemble:
    """All models of one arm: M networks per penalty, evaluated together on shared noise draws."""

    def __init__(self, models: Iterable[Model], device: str = "auto", precision: str = "fp32"):
        """`precision` fp32, or bf16, which is faster where the processor multiplies such numbers: p moves by < 0.02."""
        if precision not in PRECISIONS:
            raise ValueError(f"unknown precision '{precision}'; accepted: {', '.join(PRECISIONS)}")
        models = list(models)
        self.dtype = PRECISIONS[precision]
        one_grid([info for _, info in models])
        self.device = resolved_device(device)
        self.arm, self.grid = models[0][1]["arm"], models[0][1]["grid"]
        self.n_pixels = int(self.grid["n_pixels"])
        self.width = self.n_pixels  # of the rows that networks are given
        self._nets: dict[float, list[torch.nn.Module]] = {}
        for net, info in sorted(models, key=lambda model: (model[1]["penalty"], model[1]["seed"])):
            self._nets.setdefault(float(info["penalty"]), []).append(self._fast(net))
        keep_freed_memory()

    def _fast(self, net: SpectrumCNN) -> torch.nn.Module:
        """The same function, as this device computes it fastest."""
        if self.device.type != "cpu" or self.dtype != torch.float32 or not BlockedCNN.works():
            return folded(net).to(self.device, self.dtype)
        blocked = BlockedCNN(net)
        self.width = max(self.width, blocked.width)
        return blocked

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
                        out = net(noisy).float().view(spectra_per_pass, n_draws)[: here.stop - here.start]
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
                spectra = torch.from_numpy(flux[chosen]).to(self.device).to(self.dtype)
                for penalty, nets in self._nets.items():
                    for m, net in enumerate(nets):
                        logits = net(spectra).float()[: here.stop - here.start].cpu().numpy()
                        result[penalty][usable[here], m] = _sigmoid(logits)
        return result

    def mean_probability(
        self, flux: np.ndarray, penalties: Sequence[float], shift_from: float | None = None
    ) -> dict[float, np.ndarray]:
        """The models' mean p of the spectra as they are (Zhang et al. 2022, eq. 8), penalty → (S,) float32.

        `shift_from` as in `percentiles`.
        """
        sources = self._sources(penalties, shift_from)
        each = self.probabilities(flux)
        return {
            penalty: shift_probability(each[source], source, penalty).mean(axis=1, dtype=np.float32)
            for penalty, source in sources.items()
        }

    def _noisy(
        self, flux: np.ndarray, sigma: np.ndarray, keys: np.ndarray, n_draws: int, seed: int, stream: int
    ) -> Tensor:
        """flux + sigma × normal, (B·D, L) on the device; on a CPU rows of `width`, with zeros at their ends."""
        if self.device.type == "cpu":
            rows = noise.noisy(flux, sigma, keys, n_draws, self.width, seed, stream)
            return torch.from_numpy(rows).flatten(0, 1).to(self.dtype)
        mean, error = (torch.from_numpy(array).to(self.device).float()[:, None] for array in (flux, sigma))
        draws = noise.torch_normals(torch.from_numpy(keys).to(self.device), n_draws, self.n_pixels, seed, stream)
        return torch.addcmul(mean, error, draws).flatten(0, 1).to(self.dtype)

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
