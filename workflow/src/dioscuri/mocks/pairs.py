"""Mock spectra: pairs of a binary and its own primary, from labels to normalised, noisy, packed fluxes."""

import dataclasses
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from dioscuri import __version__, shards
from dioscuri.arms import C_KMS, Arm
from dioscuri.libraries.grid import SpectralLibrary
from dioscuri.mocks.augment import RECIPES, Recipe
from dioscuri.mocks.chain import ArmMaker, continuum_settings, labels_of
from dioscuri.stars.contaminants import KINDS
from dioscuri.synthesis.kinematics import Kinematics

if TYPE_CHECKING:
    from dioscuri.stars.population import Population

log = logging.getLogger(__name__)


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
    `columns` are those of `dioscuri.stars.population`, and of `dioscuri.stars.contaminants` where there are any;
    with several `libraries` each pair draws one; `recipe` is the name of one of `augment.RECIPES` or a Recipe, and
    `settings` replaces single fields of it; `continuum` goes to `fit_continuum`, or with "method": "gaussian" to
    `smoothing.smoothed`, as for LAMOST LRS. The same (seed, pair_id, arm) gives the same bits whatever the batch
    size or the pairs around it.
    """
    recipe = resolve_recipe(recipe, settings)
    makers = [ArmMaker(arm, libraries, recipe, seed, dict(continuum or {})) for arm in arms]
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
        "continuum": continuum_settings(continuum),
        "seed": seed,
        "counts": counts,
        "libraries": [library.provenance for library in libraries],
        "arms": {arm.name: dataclasses.asdict(arm) for arm in arms},
    }
    if "kind" in columns:
        record["kinds"] = KINDS
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
    with shards.mock_shard(path, n_pairs, tuple(columns), pixels, record) as shard:
        for made in batches:
            shard.append(made.labels, made.spectra)
    log.info("%s: %d pairs, recipe %s", path, n_pairs, recipe if isinstance(recipe, str) else "custom")
    log.info("survivors of each cut: %s", ", ".join(f"{cut} {count}" for cut, count in counts.items()))
    if "kind" in columns:
        found = np.bincount(columns["kind"].astype(int), minlength=len(KINDS))
        log.info("kinds of pairs: %s", ", ".join(f"{kind} {count}" for kind, count in zip(KINDS, found)))
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
    from dioscuri.synthesis.synthesizer import read_linelist, synthesize

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
    stars = (1, 2, 3) if "teff3" in columns else (1, 2)
    for library in libraries:
        for star in stars:
            keep &= library.covered(labels_of(columns, star))
    counts = dict(population.counts)
    if not keep.all():
        columns = {name: values[keep] for name, values in columns.items()}
        counts["library_holes"] = int(keep.sum())
    return columns, counts
