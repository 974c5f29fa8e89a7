"""Spectra of the best SB2 candidates and their cross-correlation functions."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from dioscuri.arms import Arm, arms_of
from dioscuri.catalogs.files import read_catalog
from dioscuri.catalogs.tables import SUFFIX, probability_column
from dioscuri.plots.style import ARM_COLOUR, FAINT, PAGE, empty, figure
from dioscuri.shards import read_exposures, read_flux
from dioscuri.spectra.templates import velocity_meters

File: TypeAlias = str | os.PathLike


@dataclass(frozen=True)
class Candidate:
    """What a row of the candidates figure shows.

    `title`; `source_id` of the star; `flux` arm → normalised rest-frame flux (L,), NaN where masked; `ccf` arm →
    correlation with the best template over `velocity` (V,) [km/s], relative to the brighter star.
    """

    title: str
    source_id: str
    flux: Mapping[str, np.ndarray]
    velocity: np.ndarray
    ccf: Mapping[str, np.ndarray] = field(default_factory=dict)


def draw_candidates(out: File, candidates: Sequence[Candidate], arms: Sequence[Arm], settings: Any = None) -> None:
    """Spectra of SB2 candidates and their cross-correlation functions (Fig. 12), a row each."""
    with figure(out, PAGE, max(2.2, 1.35 * len(candidates) + 0.8), settings) as drawing:
        if not candidates:
            empty(drawing.subplots(), "no SB2 candidate in this catalogue")
            return
        ratios = [2.0] * len(arms) + [1.6]
        panels = drawing.subplots(len(candidates), len(arms) + 1, sharex="col", squeeze=False, width_ratios=ratios)
        for row, candidate in zip(panels, candidates):
            for axes, arm in zip(row, arms):
                flux = candidate.flux.get(arm.name)
                if flux is None or not np.isfinite(flux).any():
                    empty(axes, "not scored")
                else:
                    axes.plot(arm.wave, flux, color=ARM_COLOUR[arm.name], lw=0.6)
                    axes.set_ylim(
                        min(0.3, np.nanpercentile(flux, 0.2) - 0.05),
                        max(1.2, np.nanpercentile(flux, 99.8) + 0.05),
                    )
            for name, ccf in candidate.ccf.items():
                row[-1].plot(candidate.velocity, ccf, color=ARM_COLOUR[name], lw=1)
            row[-1].axvline(0, color=FAINT, lw=0.8, zorder=0)
            row[0].set_title(candidate.title, fontsize=8)
            row[0].set_ylabel("norm. flux", fontsize=8)
            row[-1].set_ylabel("CCF", fontsize=8)
        for axes, arm in zip(panels[-1], arms):
            axes.set_xlabel(f"rest wavelength, {arm.name} arm [vacuum Å]")
        panels[-1][-1].set(xlabel="velocity [km s$^{-1}$]", xlim=(-400, 400))


def candidates(
    out: File,
    candidates: File,
    shards: Sequence[File],
    templates: File,
    arms: Mapping[str, Mapping],
    *,
    n_shown: int = 6,
    penalty: float = 16,
    settings: Any = None,
) -> None:
    """Draw the best candidate spectra, at most one per source, with the CCFs of their rest-frame spectra.

    Best: the highest product of p0 over the arms, then of S/N. `shards`: the observed shards that hold them.
    """
    table, spectrograph = read_catalog(candidates, "CANDIDATES"), arms_of(arms)
    draw_candidates(
        out, best_candidates(table, shards, templates, spectrograph, n_shown, penalty), spectrograph, settings
    )


def best_candidates(
    table: Any,
    shards: Sequence[File],
    templates: File,
    arms: Sequence[Arm],
    n_shown: int,
    penalty: float,
) -> list[Candidate]:
    """The best candidate spectra of a catalogue table, one per source, with their CCFs."""
    least = np.ones(len(table))
    snr = np.zeros(len(table))
    for arm in arms:
        least *= np.nan_to_num(np.asarray(table[probability_column(arm.name, penalty)], float)[:, 0])
        snr += np.nan_to_num(np.asarray(table[f"snr_{SUFFIX[arm.name]}"], float))
    order = np.lexsort((-snr, -np.round(least, 2)))
    _, first = np.unique(np.asarray(table["source_id"])[order], return_index=True)
    chosen = [dict(zip(table.colnames, table[int(order[position])])) for position in np.sort(first)[:n_shown]]
    if not chosen:
        return []
    wanted = {identity(row): row for row in chosen}
    spectra = spectra_of(wanted, shards, arms)
    meters = velocity_meters(templates, arms)
    found = []
    for key, row in wanted.items():
        curves, velocity = {}, np.empty(0)
        for arm in arms:
            flux = spectra[key].get(arm.name)
            if flux is not None and np.isfinite(flux).all():
                velocity, ccf = meters[arm.name].ccf(arm.wave, flux[None])
                curves[arm.name] = ccf[0, int(np.argmax(ccf[0].max(axis=1)))]
        p0 = " and ".join(f"{row[probability_column(arm.name, penalty)][0]:.2f}" for arm in arms)
        when = "co-add" if key[1] < 0 else f"LMJM {key[1]}"
        name = str(row["source_id"])
        found.append(Candidate(f"{name}, {when}, $p_0$ = {p0}", name, spectra[key], velocity, curves))
    return found


def identity(row: Mapping[str, Any]) -> tuple[str, int, float, float]:
    """File, exposure and S/N of both arms (0: none), which tell files of one name in two folders apart."""
    lmjm = row["exposure"] if "exposure" in row else row["lmjm"]
    blue, red = (float(np.nan_to_num(row[name])) if name in row else 0.0 for name in ("snr_B", "snr_R"))
    return str(row["file"]), -1 if np.ma.is_masked(lmjm) else int(lmjm), blue, red


def spectra_of(
    wanted: Mapping[tuple, Any], shards: Sequence[File], arms: Sequence[Arm]
) -> dict[tuple, dict[str, np.ndarray]]:
    """Normalised flux of the wanted exposures (see `identity`), by arm."""
    spectra: dict[tuple, dict[str, np.ndarray]] = {key: {} for key in wanted}
    files = {key[0] for key in wanted}
    for shard in map(Path, shards):
        used = read_exposures(shard, ("file", "exposure", "snr_B", "snr_R"))
        rows = [i for i, file in enumerate(used["file"]) if file in files]
        keys = {identity({name: values[i] for name, values in used.items()}): i for i in rows}
        for key in wanted.keys() & keys.keys():
            for arm in arms:
                spectra[key][arm.name] = read_flux(shard, arm.name, keys[key]).astype(float) + 1.0
    return spectra
