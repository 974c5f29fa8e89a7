"""SB2 probabilities of LAMOST MRS exposures by the released models: a table with one row per exposure and arm."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

import dioscuri
from dioscuri.flags import Quality
from dioscuri.paths import models_folder

COLUMNS = ("file", "exposure", "arm", "snr", "rv", "p0", "p16", "p50", "p84", "p100", "status", "flags")
UNITS = {"rv": "km/s", "exposure": "min"}
DIGITS = {"snr": 1, "rv": 1}  # 3 for all else
OPTIONS = ("arms", "penalty", "draws", "coadds", "models")
SUFFIX = {"blue": "B", "red": "R"}  # Table 4 of Zhang et al. 2022 names the arms so


def predict(
    files: Sequence[str],
    *,
    arms: Sequence[str] | None = None,
    penalty: float = 16.0,
    draws: int = 20,
    coadds: bool = False,
    models: Path | None = None,
) -> tuple[pd.DataFrame, dict]:
    """SB2 probabilities of LAMOST MRS exposures (Zhang et al. 2022, eqs. 8–9), refused ones with their reason.

    `penalty` is Λ; where no model was trained at it, the nearest one's logit is shifted by −ln Λ (exact for a
    calibrated model), and the information says so. Raises ValueError for wrong paths or models.
    """
    from dioscuri.lamost.ingest import ingest_files
    from dioscuri.lamost.inputs import expand_inputs
    from dioscuri.lamost.mrs import MRS
    from dioscuri.learn.spectra.inference import Ensemble, load_released
    from dioscuri.release import load_templates
    from dioscuri.spectra.velocity import VelocityMeter

    folder = (models or models_folder()) / "lamost_mrs"
    paths = expand_inputs(list(files))
    chosen = list(arms or SUFFIX)
    templates = load_templates(folder / "templates.h5", chosen)
    ensembles = {name: Ensemble(load_released(folder / f"{name}.safetensors", arm=name)) for name in chosen}
    trained = {name: _nearest(ensemble.penalties, penalty) for name, ensemble in ensembles.items()}
    meters = {name: VelocityMeter(template, arm) for name, (arm, template) in templates.items()}
    ingested = ingest_files(paths, MRS, [arm for arm, _ in templates.values()], meters, coadds=coadds)

    tables = [_refused(ingested.rejected)]
    for name in chosen:
        flux, sigma = ingested.arms[name]
        percentiles = ensembles[name].percentiles(
            flux,
            sigma,
            ingested.exposures["key"],
            arm_index=list(SUFFIX).index(name),
            n_draws=draws,
            penalties=[penalty],
        )[penalty]
        tables.append(_scored(ingested.exposures, name, percentiles))
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


def _nearest(trained: Sequence[float], penalty: float) -> float:
    """The trained Λ closest to `penalty` in ratio."""
    return min(trained, key=lambda value: abs(np.log(value / penalty)))


def _scored(exposures: dict[str, np.ndarray], arm: str, percentiles: np.ndarray) -> pd.DataFrame:
    """Rows of one arm; an arm that was masked is a refused row that says why."""
    column = SUFFIX[arm]
    flags = exposures[f"flags_{column}"].astype(int)
    missing = (flags & Quality.MISSING_ARM) > 0
    table = pd.DataFrame(
        {
            "file": exposures["file"],
            "exposure": exposures["exposure"],
            "arm": arm,
            "snr": exposures[f"snr_{column}"],
            "rv": exposures[f"rv_obs_{column}"],
        }
    )
    for index, name in enumerate(("p0", "p16", "p50", "p84", "p100")):
        table[name] = percentiles[:, index]
    low = (flags & Quality.LOW_SNR) > 0
    unscored = ~np.isfinite(percentiles[:, 2])
    table["status"] = np.select(
        [low, unscored], ["refused: S/N at or below the limit", "refused: too few good pixels"], "ok"
    )
    table["flags"] = [Quality.describe(int(value)) for value in flags]
    return table[~missing]


def _refused(rejected: Sequence[dict]) -> pd.DataFrame:
    rows = pd.DataFrame(list(rejected), columns=["file", "exposure", "arm", "reason", "detail"])
    rows["status"] = "refused: " + rows["reason"].astype(str)
    rows["exposure"] = pd.to_numeric(rows["exposure"], errors="coerce").fillna(-1).astype(np.int64)
    return rows.reindex(columns=list(COLUMNS)).astype({"flags": object}).fillna({"flags": "", "arm": ""})


def style(table: pd.DataFrame, information: dict) -> tuple[str, pd.Series]:
    """What stands below the printed table, and which rows stand out."""
    draws = information["draws"]
    caption = f"Λ = {information['penalty']:g}, {draws} noise draws; p50: median probability of an SB2"
    return caption, table["p50"] > 0.5


def plot(table: pd.DataFrame, path: Path, information: dict) -> None:
    """Draw probabilities with their 16–84 % range against exposure number, one panel per arm."""
    from dioscuri.plots.prediction import prediction

    prediction(table, path, penalty=information["penalty"])
