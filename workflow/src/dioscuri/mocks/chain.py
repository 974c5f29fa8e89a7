"""From labels to spectra in one arm: interpolate, rotate, shift, smear, resample, add up, add noise, normalise."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numba import njit

from dioscuri.arms import Arm
from dioscuri.libraries.grid import SpectralLibrary
from dioscuri.mocks import augment
from dioscuri.mocks.augment import Draws, Recipe
from dioscuri.spectra.continuum import fit_continuum
from dioscuri.spectra.smoothing import smoothed
from dioscuri.synthesis.kinematics import Kinematics

# Normalised flux − 1 is clipped here: a cosmic ray needs no more, and float16 keeps its precision.
FLUX_CLIP = 3.0
# Streams of random numbers of one pair: what its two spectra share, and the noise of each.
SHARED, SINGLE, BINARY = 0, 1, 2
# The Sun, whose light the Moon throws into spectra: teff, logg, [Fe/H], [α/Fe], and v sin i [km/s].
SUN, SUN_VSINI = (5772.0, 4.44, 0.0, 0.0), 2.0
CONTINUA: dict[str, Callable[..., np.ndarray]] = {"spline": fit_continuum, "gaussian": smoothed}


class ArmMaker:
    """Everything of one arm that is computed once, and the chain from labels to packed spectra."""

    def __init__(
        self,
        arm: Arm,
        libraries: Sequence[SpectralLibrary],
        recipe: Recipe,
        seed: int,
        continuum: Mapping[str, Any],
    ) -> None:
        """`continuum` as `continuum_settings` takes it."""
        if not libraries:
            raise ValueError("mocks need at least one spectral library")
        self.arm, self.libraries, self.recipe, self.seed = arm, libraries, recipe, seed
        self._fit_settings = continuum_settings(continuum)
        self._fit = CONTINUA[self._fit_settings.pop("method")]
        self.grid = libraries[0].grid(arm.name)
        for library in libraries[1:]:
            if library.resolution != libraries[0].resolution or not np.array_equal(library.grid(arm.name), self.grid):
                raise ValueError(f"the libraries differ in resolution or wavelengths in the {arm.name} arm")
        self.kinematics = Kinematics(self.grid, arm.wave, libraries[0].resolution)
        self._generators: dict[tuple[str, int], list[np.random.Generator]] = {}
        self._moon: torch.Tensor | None = None

    def __call__(self, labels: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Single and binary (B, L) float16 of the pairs in `labels`."""
        pair_ids, snr = labels["pair_id"], np.asarray(labels["snr"], float)
        shared = self._draws(pair_ids, SHARED)
        resolution = self._resolution(shared, len(pair_ids))
        lights = self._lights(labels, shared, resolution)
        distortion, emission = self._exposure(labels, shared, resolution)
        packed = []
        for kind, flux in zip((SINGLE, BINARY), lights):
            if emission is not None:
                flux += emission
            if distortion is not None:
                flux *= distortion
            packed.append(self._observe(flux, snr, self._draws(pair_ids, kind)))
        return packed[0], packed[1]

    def _draws(self, pair_ids: np.ndarray, kind: int, arm_name: str | None = None) -> Draws:
        """Random numbers of a batch, from the generators of the batch before, set anew: cheaper than new ones."""
        name = self.arm.name if arm_name is None else arm_name
        return Draws(self.seed, pair_ids, name, kind, self._generators.setdefault((name, kind), []))

    def _resolution(self, shared: Draws, size: int) -> np.ndarray:
        spread = self.recipe.resolution_spread
        if spread == 0:
            return np.full(size, self.arm.resolution)
        return self.arm.resolution * shared.uniform(1 - spread, 1 + spread)

    # --- light ----------------------------------------------------------------------------------------------

    def _lights(
        self, labels: Mapping[str, np.ndarray], shared: Draws, resolution: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Light of the single star and of the binary on the arm's pixels, each (B, L) float64 of mean one."""
        size, recipe = len(resolution), self.recipe
        # Which library and how the exposure is off in velocity are facts of the pair, the same in every arm.
        pair = self._draws(labels["pair_id"], SHARED, "")
        which, offset = np.zeros(size, int), np.zeros(size)
        if len(self.libraries) > 1:
            which = (pair.uniform(0.0, 1.0) * len(self.libraries)).astype(int)
        if recipe.velocity_offset > 0:
            offset = recipe.velocity_offset * pair.normal()
        distort = augment.line_errors(recipe, shared, self.grid) if recipe.alters_lines else None

        def star(number: int, rv: np.ndarray) -> np.ndarray:
            flux, continuum = self._interpolate(labels_of(labels, number), which, need_continuum=distort is not None)
            if distort is not None:
                flux = distort(flux, continuum)
            return self.kinematics(flux, labels[f"vsini{number}"], rv + offset, resolution).numpy()

        one, two = star(1, labels["v1"]), star(2, labels["v1"] + labels["dv"])
        areas = [np.asarray(labels[f"radius{number}"], float) ** 2 for number in (1, 2)]
        lines = [one, two]  # and what each contributes to the single star and to the binary
        single, binary = [areas[0], labels.get("light2_single", np.zeros(size)) * areas[1]], areas.copy()
        if np.any(labels.get("radius3", 0) > 0):
            lines.append(star(3, labels["v1"] + labels["dv3"]))
            single.append(np.zeros(size))
            binary.append(labels["radius3"] ** 2)
        if np.any(labels.get("moon_share", 0) > 0):
            moon = self._moonlight(labels["moon_rv"] + offset, resolution)
            lines.append(moon)
            share = labels["moon_share"] * areas[0] * one.mean(1, dtype=float) / moon.mean(1, dtype=float)
            single.append(share)
            binary.append(share)
        return _mixed(lines, single), _mixed(lines, binary)

    def _interpolate(
        self, labels: np.ndarray, which: np.ndarray, need_continuum: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if len(self.libraries) == 1:
            flux = self.libraries[0].flux(self.arm.name, labels)
            return flux, self.libraries[0].continuum(self.arm.name, labels) if need_continuum else flux
        flux = torch.empty(len(labels), len(self.grid))
        continuum = torch.empty_like(flux) if need_continuum else flux
        for index, library in enumerate(self.libraries):
            rows = torch.from_numpy(np.flatnonzero(which == index))
            if len(rows):
                flux[rows] = library.flux(self.arm.name, labels[rows.numpy()])
                if need_continuum:
                    continuum[rows] = library.continuum(self.arm.name, labels[rows.numpy()])
        return flux, continuum

    def _moonlight(self, rv: np.ndarray, resolution: np.ndarray) -> np.ndarray:
        """The Sun's spectrum at velocities `rv` (B,) [km/s], (B, L) float32."""
        if self._moon is None:
            if not self.libraries[0].covered(np.array([SUN])).all():
                raise ValueError(f"moonlight needs the Sun {SUN}, which the library {self.libraries[0].limits} lacks")
            self._moon = self.libraries[0].flux(self.arm.name, np.array([SUN]))
        return self.kinematics(self._moon.expand(len(rv), -1), SUN_VSINI, rv, resolution).numpy()

    # --- exposure -------------------------------------------------------------------------------------------

    def _exposure(
        self, labels: Mapping[str, np.ndarray], shared: Draws, resolution: np.ndarray
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """False continuum and water vapour (a factor) and nebular emission (added) of a pair; None: as one and 0."""
        recipe, wave = self.recipe, self.arm.wave
        distortion = augment.false_continuum(recipe, shared, len(wave)) if recipe.tilt else None
        if recipe.telluric_depth > 0:
            water = augment.telluric_water(recipe, shared, wave, resolution)
            distortion = water if distortion is None else distortion * water
        nebular = np.asarray(labels.get("nebular", np.zeros(len(resolution)))) > 0
        if recipe.emission_fraction == 0 and not nebular.any():
            return distortion, None
        return distortion, augment.nebular_emission(recipe, shared, wave, resolution, nebular)

    def _observe(self, flux: np.ndarray, snr: np.ndarray, draws: Draws) -> np.ndarray:
        """[·]_S/N of eq. 4, noise of σ = mean flux / snr; then normalised flux − 1 as float16."""
        if self.recipe.native_step > 0:
            noise = augment.resampled_noise(draws, self.arm.wave, self.recipe.native_step)
        else:
            noise = draws.normals(self.arm.n_pixels)
        if self.recipe.snr_scatter > 0:
            snr = snr * np.exp(self.recipe.snr_scatter * draws.normal())
        _add_noise(flux, noise, snr)
        if self.recipe.bad_fraction > 0:
            augment.spoil_pixels(self.recipe, draws, flux)
        packed = np.empty(flux.shape, np.float32)
        finite = _pack(flux, self._fit(self.arm.wave, flux, **self._fit_settings), packed)
        if not finite.all():
            bad = np.unique(draws.pair_ids[~finite])
            raise ValueError(f"{self.arm.name} arm: mock spectra of pairs {bad[:5]} are not finite")
        return torch.from_numpy(packed).half().numpy()


def continuum_settings(continuum: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """How mocks are normalised: "method", one of `CONTINUA` (default: spline, on few knots), and its arguments."""
    settings = {"method": "spline", **(continuum or {})}
    if settings["method"] not in CONTINUA:
        raise ValueError(f"continuum method: found '{settings['method']}'; accepted: {', '.join(CONTINUA)}")
    return {"exact": False, **settings} if settings["method"] == "spline" else settings


def labels_of(columns: Mapping[str, np.ndarray], star: int) -> np.ndarray:
    """Library labels (S, 4) of star number 1, 2 or 3 of each system."""
    names = (f"teff{star}", f"logg{star}", "feh", "afe")
    return np.stack([np.asarray(columns[name], float) for name in names], axis=1)


def _mixed(lights: Sequence[np.ndarray], weights: Sequence[np.ndarray]) -> np.ndarray:
    """Σ weights (B,) · lights (B, L) over its mean, (B, L) float64."""
    out = np.zeros(lights[0].shape)
    for light, weight in zip(lights, weights):
        if np.any(weight):
            _add_weighted(light, np.asarray(weight, float), out)
    _to_mean_one(out)
    return out


# Sums in any order (reassoc): the compiler may then add four numbers at a time.
@njit(cache=True, nogil=True, fastmath={"reassoc"})
def _sum(values):
    total = 0.0
    for value in values:
        total += value
    return total


@njit(cache=True, nogil=True)
def _add_weighted(light, weight, out):
    for row in range(len(out)):
        source, target = light[row], out[row]
        for i in range(len(target)):
            target[i] += weight[row] * source[i]


@njit(cache=True, nogil=True)
def _to_mean_one(flux):
    for row in range(len(flux)):
        values = flux[row]
        scale = len(values) / _sum(values)
        for i in range(len(values)):
            values[i] *= scale


@njit(cache=True, nogil=True)
def _add_noise(flux, noise, snr):
    for row in range(len(flux)):
        values, normal = flux[row], noise[row]
        sigma = _sum(values) / len(values) / snr[row]
        for i in range(len(values)):
            values[i] += sigma * normal[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _pack(flux, continuum, packed):
    """Fill `packed` (S, L) with flux / continuum − 1, clipped; which rows are finite, (S,) bool. Spoils `flux`."""
    finite = np.empty(len(flux), np.bool_)
    for row in range(len(flux)):
        values, level, out = flux[row], continuum[row], packed[row]
        for i in range(len(out)):
            values[i] = values[i] / level[i] - 1.0
        finite[row] = np.isfinite(_sum(values))
        for i in range(len(out)):
            low = FLUX_CLIP if values[i] > FLUX_CLIP else values[i]
            out[i] = -FLUX_CLIP if low < -FLUX_CLIP else low
    return finite
