"""Mock spectra: pairs of a binary and its own primary, from labels to normalised, noisy, packed fluxes."""

import dataclasses
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from dioscuri import __version__, io
from dioscuri.spectra import augment
from dioscuri.spectra.arms import C_KMS, Arm
from dioscuri.spectra.augment import RECIPES, Draws, Recipe
from dioscuri.spectra.continuum import fit_continuum
from dioscuri.spectra.kinematics import Kinematics
from dioscuri.spectra.library import SpectralLibrary

if TYPE_CHECKING:
    from dioscuri.stars.population import Population

log = logging.getLogger(__name__)

# Normalised flux − 1 is clipped here: a cosmic ray needs no more, and float16 keeps its precision.
FLUX_CLIP = 3.0
# Streams of random numbers of one pair: what its two spectra share, and the noise of each.
SHARED, SINGLE, BINARY = 0, 1, 2


class MockBatch(NamedTuple):
    """`labels[name]` (B,); `spectra[arm]` = (single, binary), (B, L) float16 of normalised flux − 1 each."""

    labels: dict[str, np.ndarray]
    spectra: dict[str, tuple[np.ndarray, np.ndarray]]


def resolve_recipe(recipe: str | Recipe, settings: Mapping[str, Any] | None = None) -> Recipe:
    """The Recipe of a name, with single fields replaced by `settings`; ValueError lists what is accepted."""
    if isinstance(recipe, str):
        if recipe not in RECIPES:
            raise ValueError(f"unknown mock recipe '{recipe}': accepted are {', '.join(RECIPES)}")
        recipe = RECIPES[recipe]
    fields = {field.name for field in dataclasses.fields(Recipe)}
    unknown = sorted(set(settings or {}) - fields)
    if unknown:
        raise ValueError(f"unknown mock setting {unknown}: accepted are {sorted(fields)}")
    return dataclasses.replace(recipe, **(settings or {}))


def make_mocks(
    columns: Mapping[str, np.ndarray],
    libraries: Sequence[SpectralLibrary],
    arms: Sequence[Arm],
    *,
    recipe: str | Recipe = "paper",
    seed: int,
    batch: int = 128,
    settings: Mapping[str, Any] | None = None,
    continuum: Mapping[str, Any] | None = None,
) -> Iterator[MockBatch]:
    """Mock pairs (Zhang et al. 2022, §2) of the labels in `columns`, in batches of at most `batch` pairs.

    Interpolate → rotate, shift, LSF, resample → F₁R₁² + F₂R₂² (eq. 4) and F₁R₁² → noise → continuum.
    `columns` are those of `dioscuri.stars.population`; with several `libraries` each pair draws one; `recipe`
    is "paper", "survey" or a Recipe, and `settings` replaces single fields of it; `continuum` goes to
    `fit_continuum`. The same (seed, pair_id, arm) gives the same bits whatever the batch size or the pairs
    around it.
    """
    recipe = resolve_recipe(recipe, settings)
    makers = [_ArmMaker(arm, libraries, recipe, seed, dict(continuum or {})) for arm in arms]
    for first in range(0, len(columns["pair_id"]), batch):
        labels = {name: np.asarray(values)[first : first + batch] for name, values in columns.items()}
        size = len(labels["pair_id"])
        # Every batch has the same shape, so that no kernel takes another path for the last one.
        rows = np.minimum(np.arange(batch), size - 1)
        padded = {name: values[rows] for name, values in labels.items()}
        spectra = {}
        for maker in makers:
            single, binary = maker(padded)
            spectra[maker.arm.name] = (single[:size], binary[:size])
        yield MockBatch(labels, spectra)


def write_mock_shard(
    path: str | os.PathLike,
    *,
    arms: Sequence[Arm],
    libraries: Sequence[SpectralLibrary],
    population: "Population",
    recipe: str | Recipe,
    seed: int,
    settings: Mapping[str, Any] | None = None,
    continuum: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    batch: int = 128,
) -> int:
    """Make the mocks of `population` and stream them into one shard (schema in `dioscuri.io`); how many.

    Pairs that fall on a hole of a library are left out, and counted beside the population's survival counts.
    """
    columns, counts = _covered_pairs(population, libraries)
    n_pairs = len(columns["pair_id"])
    if n_pairs == 0:
        raise ValueError(f"{path}: no pair is left to make mocks of; survivors per cut: {counts}")
    record = {
        **(provenance or {}),
        "version": __version__,
        "recipe": dataclasses.asdict(resolve_recipe(recipe, settings)),
        "continuum": dict(continuum or {}),
        "seed": seed,
        "counts": counts,
        "libraries": [library.provenance for library in libraries],
        "arms": {arm.name: dataclasses.asdict(arm) for arm in arms},
    }
    pixels = {arm.name: arm.n_pixels for arm in arms}
    batches = make_mocks(
        columns,
        libraries,
        arms,
        recipe=recipe,
        seed=seed,
        batch=batch,
        settings=settings,
        continuum=continuum,
    )
    with io.mock_shard(path, n_pairs, tuple(columns), pixels, record) as shard:
        for made in batches:
            shard.append(made.labels, made.spectra)
    log.info("%s: %d pairs, recipe %s", path, n_pairs, recipe if isinstance(recipe, str) else "custom")
    return n_pairs


def one_spectrum(
    teff: float,
    logg: float,
    feh: float,
    afe: float,
    *,
    vsini: float = 0.0,
    rv: float = 0.0,
    resolution: float,
    wave_min: float,
    wave_max: float,
    library: SpectralLibrary | None = None,
    linelist: str | Path | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One noise-free spectrum: wave [vacuum Å], surface flux F_λ [erg/s/cm²/Å], flux / continuum, (L,) each.

    Without a `library`, synthesized for the occasion from `linelist` (None: the embedded one); else from the
    library's window that holds `wave_min` to `wave_max` [vacuum Å]. `vsini`, `rv` in km/s. Sampled at a sixth
    of the resolution element.
    """
    if not 0 < wave_min < wave_max:
        raise ValueError(f"expected 0 < wave_min < wave_max, found {wave_min} and {wave_max} Å")
    middle = 0.5 * (wave_min + wave_max)
    wave = np.linspace(wave_min, wave_max, max(2, round((wave_max - wave_min) / middle * resolution * 6)))
    labels = np.array([[teff, logg, feh, afe]])
    if library is None:
        reach = 1 + (vsini + abs(rv) + 5 * C_KMS / resolution) / C_KMS
        grid, flux, continuum = _synthesized(labels[0], wave_min / reach, wave_max * reach, linelist)
        native = np.inf
    else:
        name = _window_holding(library, wave_min, wave_max)
        grid, native = library.grid(name), library.resolution
        flux, continuum = library.flux(name, labels), library.continuum(name, labels)
    move = Kinematics(grid, wave, native)
    observed = move(flux, vsini, rv, resolution)[0].double().numpy()
    level = move(continuum, vsini, rv, resolution)[0].double().numpy()
    return wave, observed, observed / level


def _synthesized(
    label: np.ndarray, wave_min: float, wave_max: float, linelist: str | Path | None
) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
    """Wavelengths (L,), flux and continuum (1, L) from the embedded synthesizer, unconvolved."""
    from dioscuri.spectra.synthesis import read_linelist, synthesize

    teff, logg, feh, afe = label
    lines = read_linelist(linelist)
    model = synthesize(teff, logg, feh, afe, wave_min, wave_max, linelist=lines, step_kms=1.0)
    flux, continuum = (torch.from_numpy(f.astype(np.float32))[None] for f in (model.flux, model.continuum))
    return model.wave, flux, continuum


def _window_holding(library: SpectralLibrary, wave_min: float, wave_max: float) -> str:
    for name, window in library.windows.items():
        if window.wave[0] <= wave_min and wave_max <= window.wave[-1]:
            return name
    spans = ", ".join(f"{name} {w.wave[0]:.0f}–{w.wave[-1]:.0f}" for name, w in library.windows.items())
    raise ValueError(f"{wave_min:g}–{wave_max:g} Å lies in no window of the library, which has {spans} Å")


def _covered_pairs(
    population: "Population", libraries: Sequence[SpectralLibrary]
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Columns and survival counts of the pairs whose two stars every library can make."""
    columns = {name: np.asarray(values) for name, values in population.columns.items()}
    keep = np.ones(len(columns["pair_id"]), bool)
    for library in libraries:
        for star in (1, 2):
            keep &= library.covered(_labels_of(columns, star))
    counts = dict(population.counts)
    if not keep.all():
        columns = {name: values[keep] for name, values in columns.items()}
        counts["library_holes"] = int(keep.sum())
    return columns, counts


def _labels_of(columns: Mapping[str, np.ndarray], star: int) -> np.ndarray:
    """Library labels (S, 4) of the primary (1) or secondary (2)."""
    names = (f"teff{star}", f"logg{star}", "feh", "afe")
    return np.stack([np.asarray(columns[name], float) for name in names], axis=1)


class _ArmMaker:
    """Everything of one arm that is computed once, and the chain from labels to packed spectra."""

    def __init__(
        self,
        arm: Arm,
        libraries: Sequence[SpectralLibrary],
        recipe: Recipe,
        seed: int,
        continuum: dict[str, Any],
    ) -> None:
        if not libraries:
            raise ValueError("mocks need at least one spectral library")
        self.arm, self.libraries, self.recipe, self.seed, self.continuum = (
            arm,
            libraries,
            recipe,
            seed,
            continuum,
        )
        self.grid = libraries[0].grid(arm.name)
        for library in libraries[1:]:
            if library.resolution != libraries[0].resolution or not np.array_equal(library.grid(arm.name), self.grid):
                raise ValueError(f"the libraries differ in resolution or wavelengths in the {arm.name} arm")
        self.kinematics = Kinematics(self.grid, arm.wave, libraries[0].resolution)

    def __call__(self, labels: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Single and binary (B, L) float16 of the pairs in `labels`."""
        pair_ids, snr = labels["pair_id"], np.asarray(labels["snr"], float)
        shared = Draws(self.seed, pair_ids, self.arm.name, SHARED)
        resolution = self._resolution(shared, len(pair_ids))
        first, second = self._stars(labels, shared, resolution)
        distortion, emission = self._exposure(shared, resolution)
        packed = []
        for kind, flux in ((SINGLE, first), (BINARY, first + second)):
            clean = flux / flux.mean(1, keepdims=True) + emission
            packed.append(self._observe(clean * distortion, snr, Draws(self.seed, pair_ids, self.arm.name, kind)))
        return packed[0], packed[1]

    def _resolution(self, shared: Draws, size: int) -> np.ndarray:
        spread = self.recipe.resolution_spread
        if spread == 0:
            return np.full(size, self.arm.resolution)
        return self.arm.resolution * shared.uniform(1 - spread, 1 + spread)

    def _stars(
        self, labels: Mapping[str, np.ndarray], shared: Draws, resolution: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """F₁R₁² and F₂R₂² on the arm's pixels, each (B, L) float64, without noise."""
        # Which library and how the exposure is off in velocity are facts of the pair, the same in every arm.
        pair = Draws(self.seed, labels["pair_id"], "", SHARED)
        which, offset = np.zeros(len(resolution), int), np.zeros(len(resolution))
        if len(self.libraries) > 1:
            which = (pair.uniform(0.0, 1.0) * len(self.libraries)).astype(int)
        if self.recipe.velocity_offset > 0:
            offset = self.recipe.velocity_offset * pair.normal()
        recipe = self.recipe
        errors = (recipe.line_noise, recipe.depth_scatter, recipe.balmer_core, recipe.balmer_wing)
        distort = augment.line_errors(self.recipe, shared, self.grid) if any(errors) else None
        stars = []
        for star, rv in ((1, labels["v1"]), (2, labels["v1"] + labels["dv"])):
            flux, continuum = self._interpolate(_labels_of(labels, star), which, need_continuum=distort is not None)
            if distort is not None:
                flux = distort(flux, continuum)
            moved = self.kinematics(flux, labels[f"vsini{star}"], rv + offset, resolution).double().numpy()
            stars.append(moved * np.asarray(labels[f"radius{star}"], float)[:, None] ** 2)
        return stars[0], stars[1]

    def _interpolate(
        self, labels: np.ndarray, which: np.ndarray, need_continuum: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        flux = torch.empty(len(labels), len(self.grid))
        continuum = torch.empty_like(flux) if need_continuum else flux
        for index, library in enumerate(self.libraries):
            rows = torch.from_numpy(np.flatnonzero(which == index))
            if len(rows):
                flux[rows] = library.flux(self.arm.name, labels[rows.numpy()])
                if need_continuum:
                    continuum[rows] = library.continuum(self.arm.name, labels[rows.numpy()])
        return flux, continuum

    def _exposure(self, shared: Draws, resolution: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """False continuum and water vapour (a factor) and nebular emission (added) of a pair."""
        shape = (len(resolution), self.arm.n_pixels)
        distortion = augment.false_continuum(self.recipe, shared, shape[1]) if self.recipe.tilt else np.ones(shape)
        if self.recipe.telluric_depth > 0:
            distortion = distortion * augment.telluric_water(self.recipe, shared, self.arm.wave, resolution)
        if self.recipe.emission_fraction > 0:
            return distortion, augment.nebular_emission(self.recipe, shared, self.arm.wave, resolution)
        return distortion, np.zeros(shape)

    def _observe(self, flux: np.ndarray, snr: np.ndarray, draws: Draws) -> np.ndarray:
        """[·]_S/N of eq. 4, noise of σ = mean flux / snr; then normalised flux − 1 as float16."""
        if self.recipe.native_step > 0:
            noise = augment.resampled_noise(draws, self.arm.wave, self.recipe.native_step)
        else:
            noise = draws.normals(self.arm.n_pixels)
        if self.recipe.snr_scatter > 0:
            snr = snr * np.exp(self.recipe.snr_scatter * draws.normal())
        flux = flux + noise * (flux.mean(1) / snr)[:, None]
        if self.recipe.bad_fraction > 0:
            augment.spoil_pixels(self.recipe, draws, flux)
        normalised = flux / fit_continuum(self.arm.wave, flux, **self.continuum)
        if not np.isfinite(normalised).all():
            bad = draws.pair_ids[~np.isfinite(normalised).all(1)]
            raise ValueError(f"{self.arm.name} arm: mock spectra of pairs {np.unique(bad)[:5]} are not finite")
        return np.clip(normalised - 1, -FLUX_CLIP, FLUX_CLIP).astype(io.FLUX_DTYPE)
