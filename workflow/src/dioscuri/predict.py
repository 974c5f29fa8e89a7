"""Score observations with released models, without a workflow: a table with one row per exposure and arm."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import dioscuri
from dioscuri.flags import Quality
from dioscuri.io import atomic
from dioscuri.paths import models_folder

COLUMNS = ("file", "exposure", "arm", "snr", "rv", "p0", "p16", "p50", "p84", "p100", "status", "flags")
UNITS = {"rv": "km/s", "exposure": "min"}
SUFFIX = {"blue": "B", "red": "R"}  # Table 4 of Zhang et al. 2022 names the arms so


def predict(survey: str, files: Sequence[str], **options: Any) -> tuple[pd.DataFrame, dict]:
    """Score `files` of `survey`; returns the table (columns COLUMNS) and what was used to make it."""
    verbs = {"lamost_mrs": predict_lamost_mrs}
    if survey not in verbs:
        raise ValueError(f"unknown survey '{survey}'; accepted: {', '.join(verbs)}")
    return verbs[survey](files, **options)


def predict_lamost_mrs(
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
    from dioscuri.learn.inference import Ensemble, load_released
    from dioscuri.release import load_templates
    from dioscuri.spectra.ingest import ingest_files
    from dioscuri.spectra.inputs import expand_inputs
    from dioscuri.spectra.velocity import VelocityMeter

    folder = (models or models_folder()) / "lamost_mrs"
    paths = expand_inputs(list(files))
    chosen = list(arms or SUFFIX)
    templates = load_templates(folder / "templates.h5", chosen)
    ensembles = {name: Ensemble(load_released(folder / f"{name}.safetensors", arm=name)) for name in chosen}
    trained = {name: _nearest(ensemble.penalties, penalty) for name, ensemble in ensembles.items()}
    meters = {name: VelocityMeter(template, arm) for name, (arm, template) in templates.items()}
    ingested = ingest_files(paths, [arm for arm, _ in templates.values()], meters, coadds=coadds)

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


def show(table: pd.DataFrame, information: dict) -> None:
    """Print the table for people; probabilities above one half stand out."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    caption = f"Λ = {information['penalty']:g}, {information['draws']} noise draws; p50: median probability of an SB2"
    view = Table(caption=caption, box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for name in COLUMNS:
        text = name in ("file", "arm", "status", "flags")
        view.add_column(name, justify="left" if text else "right", overflow="fold", no_wrap=not text)
    for row in table.itertuples(index=False):
        cells = [_cell(name, value) for name, value in zip(COLUMNS, row)]
        view.add_row(*cells, style="bold" if row.p50 > 0.5 else None)
    # A pipe or a log has no width: lines stay whole there, so that they can be searched.
    console = Console()
    Console(width=console.width if console.is_terminal else 160).print(view)


def _cell(name: str, value: Any) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.1f}" if name in ("snr", "rv") else f"{value:.3f}"
    return Path(value).name if name == "file" else str(value)


def write(table: pd.DataFrame, path: Path, information: dict) -> None:
    """Write the table as CSV, FITS or Parquet, by suffix; whole or not at all."""
    with atomic(path) as temporary:
        if path.suffix == ".csv":
            table.to_csv(temporary, index=False)
        elif path.suffix == ".parquet":
            table.to_parquet(temporary, index=False)
        elif path.suffix == ".fits":
            _write_fits(table, temporary, information)
        else:
            raise ValueError(f"{path}: found suffix '{path.suffix}'; accepted: .csv, .fits, .parquet")


def _write_fits(table: pd.DataFrame, path: Path, information: dict) -> None:
    from astropy.table import Table

    output = Table.from_pandas(table)
    for name, unit in UNITS.items():
        output[name].unit = unit
    output.meta.update(
        {"EXTNAME": "SB2_PROBABILITIES", "SURVEY": information["survey"], "LAMBDA": information["penalty"]}
    )
    output.write(path, format="fits", overwrite=True)


def plot(table: pd.DataFrame, path: Path, information: dict) -> None:
    """Draw probabilities with their 16–84 % range against exposure number, one panel per arm."""
    from dioscuri.plots.prediction import prediction

    prediction(table, path, penalty=information["penalty"])
