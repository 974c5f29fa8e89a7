"""SB2 probabilities of LAMOST MRS exposures by the released models: a table with one row per exposure and arm."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import dioscuri
from dioscuri import door
from dioscuri.flags import Quality, why_masked
from dioscuri.paths import format_number, models_folder

SUFFIXES, WHAT = door.FITS, "spectra"
OPTIONS = ("arms", "penalty", "draws", "coadds", "models", "sources")
PERCENTILES = ("p0", "p16", "p50", "p84", "p100")  # over models and noise draws; p: the models' mean, without draws
# Of the fit of two stars (heliocentric velocities), see catalogs.tables; p_joint and logodds are of both arms together.
FITTED = (
    "v1", "v1_err", "v2", "v2_err", "light_ratio", "light_ratio_err", "vsini1", "vsini2", "teff1", "teff2", "dchi2",
    "pair_logodds",
)  # fmt: skip
JOINT = ("p_joint", "logodds")
COLUMNS = (
    "file", "obsid", "ra", "dec", "date", "bjdmid", "exposure", "arm", "snr", "rv", "rv_err", "p", *PERCENTILES, *JOINT,
    *FITTED, "verdict", "status", "flags",
)  # fmt: skip
# What is printed: the rest is in the table that is written.
SHOWN = (
    "file", "date", "arm", "snr", "rv", "p0", "p50", "p100", "p_joint", "v1", "v2", "light_ratio", "verdict", "status",
    "flags",
)  # fmt: skip
UNITS = {"ra": "deg", "dec": "deg", "exposure": "min", "bjdmid": "d", "teff1": "K", "teff2": "K"}
UNITS |= {"period": "d", "period_err": "d", "bjd0": "d"}
UNITS |= dict.fromkeys(("gamma", "gamma_err", "k1", "k1_err", "k2", "k2_err", "rv_range"), "km/s")
UNITS |= dict.fromkeys(("rv", "rv_err", "v1", "v1_err", "v2", "v2_err", "vsini1", "vsini2"), "km/s")
DIGITS = {"ra": 6, "dec": 6, "bjdmid": 5, "snr": 1, "rv": 1, "rv_err": 2, "v1": 1, "v2": 1, "light_ratio": 2}  # 3 else
DIGITS |= {"v1_err": 2, "v2_err": 2, "light_ratio_err": 3, "vsini1": 0, "vsini2": 0, "teff1": 0, "teff2": 0, "dchi2": 1}
SUFFIX = {"blue": "B", "red": "R"}  # Table 4 of Zhang et al. 2022 names the arms so
# What the networks have not been trained on: their probabilities mean nothing there.
FOREIGN = Quality.WEAK_CCF | Quality.TEFF_EDGE | Quality.VELOCITY_EDGE


def predict(
    paths: Sequence[Path],
    *,
    arms: Sequence[str] | None = None,
    penalty: float = 16.0,
    draws: int = 20,
    coadds: bool = False,
    models: Path | None = None,
    sources: Path | None = None,
) -> tuple[pd.DataFrame, dict]:
    """SB2 probabilities of LAMOST MRS exposures (Zhang et al. 2022, eqs. 8–9), refused ones with their reason.

    `penalty` is Λ; where no model was trained at it, the nearest one's logit is shifted by −ln Λ (exact for a
    calibrated model), and the information says so. `sources`: a second table to write, a row per star with its class,
    mass ratio, γ and orbit (catalogs.source_table). Raises ValueError for wrong options or models.
    """
    from dioscuri.catalogs.evidence import Evidence
    from dioscuri.catalogs.pairs import exposure_evidence, fit_exposures
    from dioscuri.catalogs.scores import probability_column, scored
    from dioscuri.lamost.ingest import Limits, ingest_files
    from dioscuri.lamost.mrs import MRS
    from dioscuri.learn.calibration import nearest_penalty
    from dioscuri.learn.spectra.inference import Ensemble
    from dioscuri.learn.spectra.models import load_released
    from dioscuri.spectra.double_lines import DoubleLineFitter
    from dioscuri.spectra.templates import load_templates
    from dioscuri.spectra.velocity import VelocityMeter

    penalty, draws = door.positive(penalty, "--penalty"), door.counted(draws, "--draws")
    if sources is not None:
        sources = door.check_output(sources, "--sources", door.TABLES, paths)
    folder = (models or models_folder()) / "lamost_mrs"
    chosen = list(dict.fromkeys(arms or SUFFIX))
    if strange := [name for name in chosen if name not in SUFFIX]:
        raise ValueError(f"--arm: found {', '.join(strange)}; accepted: {', '.join(SUFFIX)}")
    templates = load_templates(folder / "templates.h5", chosen)
    evidence = Evidence.load(folder / "evidence.json")
    ensembles = {name: Ensemble(load_released(folder / f"{name}.safetensors", arm=name)) for name in chosen}
    trained = {name: nearest_penalty(ensemble.penalties, penalty) for name, ensemble in ensembles.items()}
    meters = {name: VelocityMeter(template, arm) for name, (arm, template) in templates.items()}
    fitters = {name: DoubleLineFitter(template, arm) for name, (arm, template) in templates.items()}
    limits = Limits()
    ingested = ingest_files(
        paths, MRS, [arm for arm, _ in templates.values()], meters, limits=limits, coadds=coadds, progress=True
    )
    exposures = ingested.exposures
    rv_obs = {name: exposures[f"rv_obs_{SUFFIX[name]}"].astype(float) for name in chosen}
    fits = fit_exposures(fitters, ingested.arms, rv_obs, evidence)
    scores = {}
    for name in chosen:
        scores[name] = scored(
            ensembles[name],
            templates[name][0],
            *ingested.arms[name],
            exposures["key"],
            rv_obs[name],
            fits["frame"],
            n_draws=draws,
            penalties=[penalty],
            shift_from=trained[name],
            progress=True,
        )
    known = {**exposures, **(added := exposure_evidence(fits, scores, [penalty], evidence))}
    for end in (SUFFIX[name] for name in chosen):
        known[f"flags_{end}"] = exposures[f"flags_{end}"] | added[f"flags_{end}"]
    if sources is not None:
        _write_sources(known, sources, folder)
    tables = [_refused(ingested.rejected)]
    for name in chosen:
        percentiles = scores[name][f"pb_pct_{format_number(penalty)}"]
        plain = scores[name][probability_column(penalty)]
        tables.append(_scored(known, name, percentiles, plain, limits.snr_min))
    rows = [row for table in tables for row in table.to_dict("records")]
    table = pd.DataFrame(rows, columns=list(COLUMNS)).sort_values(
        ["file", "exposure", "arm"], kind="stable", ignore_index=True
    )
    information = {
        "survey": "lamost_mrs",
        "extension": "SB2_PROBABILITIES",
        "header": {"LAMBDA": penalty},
        "software": f"dioscuri {dioscuri.__version__}",
        "penalty": penalty,
        "trained_penalty": trained,
        "draws": draws,
        "models": str(folder),
    }
    return table, information


def _write_sources(exposures: Mapping[str, Any], path: Path, folder: Path) -> None:
    """The table of stars, whole or not at all, by suffix."""
    from dioscuri import predict as package
    from dioscuri.catalogs.source_table import classified_exposures

    about = {"software": f"dioscuri {dioscuri.__version__}", "models": str(folder)}
    information = {"survey": "lamost_mrs", "extension": "SOURCES", "header": {}, **about}
    package.write(classified_exposures(exposures), path, information)


def _scored(
    exposures: Mapping[str, Any], arm: str, percentiles: np.ndarray, plain: np.ndarray, snr_min: float
) -> pd.DataFrame:
    """Rows of one arm; an arm that was masked is a refused row that says why."""
    column = SUFFIX[arm]
    flags = exposures[f"flags_{column}"].astype(int)
    snr = exposures[f"snr_{column}"]
    # At the end of the velocities the peak is no peak: what was measured is the end.
    rv = np.where(flags & Quality.VELOCITY_EDGE, np.nan, exposures[f"rv_obs_{column}"])
    table = pd.DataFrame(
        {
            "file": exposures["file"],
            "obsid": exposures["obsid"],
            "ra": exposures["ra"],
            "dec": exposures["dec"],
            "date": [_date(value) for value in exposures["bjdmid"]],
            "bjdmid": exposures["bjdmid"],
            "exposure": exposures["exposure"],
            "arm": arm,
            "snr": snr,
            "rv": rv,
            "rv_err": exposures[f"rv_obs_err_{column}"],
            "p": plain,
            **dict(zip(PERCENTILES, percentiles.T)),
            **{name: exposures[name] for name in JOINT},
            **{name: exposures[f"{name}_{column}"] for name in FITTED},
        }
    )
    low = (flags & Quality.LOW_SNR) > 0
    unscored = ~np.isfinite(percentiles[:, 2])
    faint = [f"refused: S/N {value:.1f} at or below the limit of {snr_min:g}" for value in snr]
    masked = [f"refused: {why_masked(int(value))}" for value in flags]
    table["status"] = np.select([low, unscored], [faint, masked], "ok")
    table["verdict"] = verdicts(percentiles, flags)
    table["flags"] = [Quality.describe(int(value)) for value in flags]
    return table[(flags & Quality.MISSING_ARM) == 0]


def verdicts(percentiles: np.ndarray, flags: np.ndarray) -> np.ndarray:
    """What the percentiles 0, 16, 50, 84, 100 of p (S, 5) say in words, (S,): the paper takes p0 > ½ for an SB2.

    Λ makes the networks cautious: p below ½ is no proof of a single star.
    """
    low, _, middle, high, _ = percentiles.T
    with np.errstate(invalid="ignore"):
        said = [~np.isfinite(middle), (flags & FOREIGN) > 0, low > 0.5, middle > 0.5, high > 0.5]
    words = ["", "unlike the training stars", "two stars", "probably two stars", "perhaps two stars"]
    return np.select(said, words, "no second star seen")


def _date(bjd: float) -> str:
    """A barycentric date (TDB) as people write it, to the minute; '' where it is unknown."""
    if not np.isfinite(bjd):
        return ""
    return f"{pd.to_datetime(bjd, unit='D', origin='julian').round('min'):%Y-%m-%dT%H:%M}"


def _refused(rejected: Sequence[dict]) -> pd.DataFrame:
    """Rows of what ingest refused, with the reason and what was found."""
    rows = pd.DataFrame(list(rejected), columns=["file", "exposure", "arm", "reason", "detail"])
    detail = (": " + rows["detail"].astype(str)).where(rows["detail"].astype(str) != "", "")
    rows["status"] = "refused: " + rows["reason"].astype(str) + detail
    rows["exposure"] = pd.to_numeric(rows["exposure"], errors="coerce").fillna(-1).astype(np.int64)
    rows = rows.reindex(columns=list(COLUMNS)).assign(obsid=0)  # 0: unknown
    return rows.astype(dict.fromkeys(("flags", "arm", "date", "verdict"), object)).fillna(
        {"flags": "", "arm": "", "date": "", "verdict": ""}
    )


def style(table: pd.DataFrame, information: dict) -> tuple[str, pd.Series]:
    """What stands below the printed table, and which rows stand out."""
    penalty, draws, trained = information["penalty"], information["draws"], information["trained_penalty"]
    shifted = sorted({value for value in trained.values() if value != penalty})
    origin = f" (by a shift of the logit from {', '.join(f'{value:g}' for value in shifted)})" if shifted else ""
    caption = (
        f"Λ = {penalty:g}{origin}, {draws} noise draws; p50: median probability of an SB2 where each single star "
        f"counts {penalty:g} times and half of the training pairs are binaries: no share of the sky. "
        "date: barycentric, of mid-exposure"
    )
    return caption, table["p50"] > 0.5


def plot(table: pd.DataFrame, path: Path, information: dict) -> None:
    """Draw probabilities with their 16–84 % range against exposure number, one panel per arm."""
    from dioscuri.plots.prediction import prediction

    prediction(table, path, penalty=information["penalty"])
