"""The cluster line from frames to candidates and their statistics: each stage takes files and writes files."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dioscuri.cluster import candidates, cmd, injection, scoring
from dioscuri.cluster import statistics as cluster_statistics
from dioscuri.cluster.catalogue import write_catalogue
from dioscuri.cluster.exposure_psf import chip_psf, mean_psf
from dioscuri.cluster.frames import read_flt
from dioscuri.cluster.matching import crossmatch
from dioscuri.cluster.photometry import measure
from dioscuri.cluster.photometry_checks import error_by_magnitude, photon_limit
from dioscuri.cluster.scoring import Search, load_classifier
from dioscuri.cluster.spatial import projected_separation
from dioscuri.io import atomic, write_json
from dioscuri.psf.effective import Psf
from dioscuri.seals import verified
from dioscuri.stamps.mocks import Law

Paths = Sequence[str | os.PathLike]
MAG_EDGES = np.arange(-13.0, -5.9, 1.0)  # instrumental, of the table of photometric errors


def average_psfs(out: str | os.PathLike, paths: Paths) -> None:
    """The PSF that networks are trained around: the mean of the exposures that are searched."""
    mean_psf([os.fspath(path) for path in paths]).save(out)


def measure_exposure(
    out: str | os.PathLike,
    frame: str | os.PathLike,
    psf: str | os.PathLike,
    *,
    photometry: Mapping[str, Any],
    pixel_area_maps: Mapping[int, str] | None = None,
) -> None:
    """Photometry of all chips of an exposure (`photometry.measure`) as Parquet."""
    psfs = Psf.load(psf)
    frames = read_flt(frame, pixel_area_maps)
    tables = [measure(one, chip_psf(psfs, one.extension), **photometry) for one in frames]
    _write(out, pd.concat(tables, ignore_index=True))


def build_cmd(
    stars_out: str | os.PathLike,
    detections_out: str | os.PathLike,
    alignment_out: str | os.PathLike,
    tables: Paths,
    *,
    pixel_scale: float,
    regions: Mapping[str, Any],
) -> None:
    """All exposures as one catalogue of stars with their CMD region, all detections, and how exposures were aligned."""
    catalogue = crossmatch([pd.read_parquet(verified(path)) for path in tables], pixel_scale=pixel_scale, n_min=2)
    stars = catalogue.stars.assign(region=cmd.regions(catalogue.stars, regions))
    _write(stars_out, stars)
    _write(detections_out, catalogue.detections)
    with atomic(alignment_out) as temporary:
        catalogue.alignment.to_csv(temporary, index=False)


def score_exposure(
    out: str | os.PathLike,
    frame: str | os.PathLike,
    psf: str | os.PathLike,
    stars: str | os.PathLike,
    detections: str | os.PathLike,
    models: Paths,
    *,
    law: Mapping[str, Any],
    fit_above: float,
    true_psfs: Paths = (),
) -> None:
    """Scores of an exposure's stars on the main and the binary sequence, as Parquet.

    `true_psfs`: of a simulated field, one per chip in their order; with them log_bf_true is added, the optimum's.
    """
    frames = read_flt(frame)
    catalogue = pd.read_parquet(verified(stars))
    wanted = catalogue.loc[cluster_statistics.in_sequence(catalogue["region"].to_numpy()), "star_id"].to_numpy()
    seen = pd.read_parquet(verified(detections))
    seen = seen[seen["exposure"] == frames[0].exposure]
    search = Search(Law(**law), load_classifier(models), fit_above)
    table = scoring.score_exposure(frames, Psf.load(psf), seen, wanted, search)
    if true_psfs:
        optimum = Search(Law(**law), fit_above=np.inf, exact=True)
        known = []
        for one, path in zip(frames, true_psfs):
            part = seen[seen["extension"] == one.extension]
            known.append(scoring.score_exposure([one], Psf.load(path), part, wanted, optimum))
        best = pd.concat(known)[["star_id", "log_bf"]].rename(columns={"log_bf": "log_bf_true"})
        table = table.merge(best, on="star_id", how="left")
    _write(out, table)


def inject_exposure(
    out: str | os.PathLike,
    frame: str | os.PathLike,
    reference: str | os.PathLike,
    psf: str | os.PathLike,
    models: Paths,
    *,
    law: Mapping[str, Any],
    fit_above: float,
    photometry: Mapping[str, Any],
    plan: Mapping[str, Any],
    seed: int,
) -> None:
    """Artificial stars in an exposure, and what the search makes of them, as Parquet.

    They are drawn on the `reference` exposure, the same for all exposures of a field. `plan`: n, binary_share,
    spacing [px] and psf_error.
    """
    settings = dict(plan)
    psf_error = settings.pop("psf_error")
    artificial = injection.draw_artificial(read_flt(reference), Law(**law), seed=seed, **settings)
    search = Search(Law(**law), load_classifier(models), fit_above)
    _write(
        out,
        injection.recover(
            read_flt(frame), Psf.load(psf), artificial, search, photometry, psf_error=psf_error, seed=seed
        ),
    )


def combine_candidates(
    sources_out: Mapping[str, str | os.PathLike],
    candidates_out: Mapping[str, str | os.PathLike],
    stars: str | os.PathLike,
    scores: Paths,
    *,
    thresholds: Mapping[str, Any],
    band: str,
    law: Mapping[str, Any],
    pixel_scale: float,
    distance_kpc: float,
    centre: tuple[float, float],
    settings: Any = None,
) -> None:
    """All sources and the candidates among them, as Parquet and FITS: `sources_out` and `candidates_out` by suffix."""
    catalogue = pd.read_parquet(verified(stars))
    every = pd.concat([pd.read_parquet(verified(path)) for path in scores], ignore_index=True)
    table = catalogue.merge(_judged(every, thresholds, pixel_scale), on="star_id", how="left")
    table["n_scored"] = table["n_scored"].fillna(0).astype(np.int64)
    table["n_fitted"] = table["n_fitted"].fillna(0).astype(np.int64)
    table["is_candidate"] = table["is_candidate"].fillna(False).astype(bool)
    for end in ("", "_err"):
        table[f"sep_au{end}"] = projected_separation(table[f"sep{end}"], 1.0, distance_kpc * 1000.0)
    table = cluster_statistics.add_chance_probability(table, band, law["sep_max"], law["sep_min"])
    table["distance"] = cluster_statistics.distances(table, centre)
    write_catalogue(sources_out, table, settings)
    write_catalogue(
        candidates_out, table[table["is_candidate"]].sort_values("log_bf", ascending=False, ignore_index=True), settings
    )


def _judged(scores: pd.DataFrame, thresholds: Mapping[str, Any], pixel_scale: float) -> pd.DataFrame:
    table = candidates.combine(scores)
    if "log_bf_true" in scores:
        table = table.join(scores.groupby("star_id")["log_bf_true"].sum(), on="star_id")
    limits = dict(thresholds)
    return table.assign(
        is_candidate=candidates.is_candidate(table, **limits | {"sep_max": limits["sep_max"] * pixel_scale})
    )


def assess(
    folder: str | os.PathLike,
    sources: str | os.PathLike,
    injected: Paths,
    *,
    thresholds: Mapping[str, Any],
    regions: Mapping[str, Any],
    law: Mapping[str, Any],
    pixel_scale: float,
    core_radius: float,
    seed: int,
) -> None:
    """Write into `folder` what the candidates are worth, with or without a truth to compare with.

    artificial.parquet (a row per artificial star) and artificial.csv (`artificial_table`), regions.csv
    (`region_table`), spatial.json (`spatial_summary`).
    """
    folder = Path(folder)
    table = injection.combine_injected([pd.read_parquet(verified(path)) for path in injected])
    limits = dict(thresholds) | {"sep_max": thresholds["sep_max"] * pixel_scale}
    table["is_candidate"] = candidates.is_candidate(table, **limits)
    _write(folder / "artificial.parquet", table)
    rates = cluster_statistics.artificial_table(table)
    _write_csv(folder / "artificial.csv", rates)
    pairs = rates[(rates["kind"] == "pair") & rates["sep_low"].isna()]
    found = float(np.nan_to_num(pairs["rate"].iloc[0]))
    catalogue = pd.read_parquet(verified(sources))
    _write_csv(
        folder / "regions.csv",
        cluster_statistics.region_table(catalogue, regions, law["sep_max"], law["sep_min"], found, seed),
    )
    summary = cluster_statistics.spatial_summary(catalogue, core_radius, found)
    write_json(folder / "spatial.json", summary, sealed=True)


def compare_with_truth(
    folder: str | os.PathLike,
    sources: str | os.PathLike,
    detections: str | os.PathLike,
    frames_folder: str | os.PathLike,
    *,
    band: str,
    pixel_scale: float,
    core_radius: float,
) -> None:
    """Write into `folder` how the candidates of a simulated field compare with what is truly there.

    known.parquet: sources with their truth; truth.csv (`truth_table`); photometry.csv: errors by magnitude of each
    exposure beside the limit that photons set (`error_by_magnitude`); true_core.json: the fractions of wide pairs
    inside and outside the core among the sources scored.
    """
    folder, frames_folder = Path(folder), Path(frames_folder)
    seen = pd.read_parquet(verified(detections))
    true_exposures = pd.read_parquet(verified(frames_folder / "truth_exposures.parquet"))
    truth = pd.read_parquet(verified(frames_folder / "truth.parquet"))
    known = cluster_statistics.identify(seen[seen["filter"] == band], true_exposures, truth, band, pixel_scale)
    table = pd.read_parquet(verified(sources)).merge(known, on="star_id", how="left").fillna({"true_kind": "none"})
    _write(folder / "known.parquet", table)
    _write_csv(folder / "truth.csv", cluster_statistics.truth_table(table))
    tables = []
    for (exposure, extension), measured in seen.groupby(["exposure", "extension"]):
        here = (true_exposures["exposure"] == exposure) & (true_exposures["extension"] == extension)
        true_here = true_exposures[here].merge(truth[["star_id", "is_binary"]], on="star_id").reset_index(drop=True)
        psf = Psf.load(frames_folder / "psf" / f"{exposure}_{extension}.npz")
        frame = next(one for one in read_flt(frames_folder / f"{exposure}_flt.fits") if one.extension == extension)
        variance = float(measured["background"].median()) + frame.read_noise**2
        x, y, flux = (true_here[name].to_numpy() for name in ("x", "y", "flux"))
        limit = photon_limit(psf, x, y, flux, variance)
        errors = error_by_magnitude(measured.reset_index(drop=True), true_here, limit, MAG_EDGES.tolist())
        tables.append(errors.assign(exposure=exposure, extension=extension, filter=frame.filter))
    _write_csv(folder / "photometry.csv", pd.concat(tables, ignore_index=True))
    wide = table["true_kind"] == cluster_statistics.WIDE
    summary = cluster_statistics.spatial_summary(table.assign(is_candidate=wide), core_radius)
    write_json(folder / "true_core.json", summary, sealed=True)


# --- files --------------------------------------------------------------------------------------------------------


def _write(path: str | os.PathLike, table: pd.DataFrame) -> None:
    with atomic(path) as temporary:
        table.to_parquet(temporary, index=False)


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False)
