"""From files in a genuine layout to scores with the released models: CPU per exposure and stage at N and 4 N files.

The hours of 5.9 million exposures in two arms follow (`projection`); one thread; files are written here.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from dioscuri.catalogs.evidence import Evidence
from dioscuri.catalogs.pairs import fit_exposures
from dioscuri.catalogs.scores import scored
from dioscuri.lamost.ingest import ingest_files
from dioscuri.lamost.mrs import MRS
from dioscuri.learn.spectra.inference import Ensemble
from dioscuri.learn.spectra.models import load_released
from dioscuri.paths import models_folder
from dioscuri.spectra.double_lines import DoubleLineFitter
from dioscuri.spectra.templates import load_templates
from dioscuri.spectra.velocity import VelocityMeter
from ingest import _write

FILES = 8
SURVEY = 5.9e6  # exposures, of two arms each
CORES = 20 * 32  # of twenty nodes


def rows() -> list[dict]:
    """A row per stage: exposures per CPU second at 4 N (`ours`) and N files (`published`), and hours of the survey."""
    folder = models_folder() / "lamost_mrs"
    templates = load_templates(folder / "templates.h5", ("blue", "red"))
    tools: dict[str, Any] = {
        "arms": [arm for arm, _ in templates.values()],
        "meters": {name: VelocityMeter(template, arm) for name, (arm, template) in templates.items()},
        "fitters": {name: DoubleLineFitter(template, arm) for name, (arm, template) in templates.items()},
        "ensembles": {name: Ensemble(load_released(folder / f"{name}.safetensors", arm=name)) for name in templates},
        "evidence": Evidence.load(folder / "evidence.json"),
        "templates": templates,
    }
    with tempfile.TemporaryDirectory() as where:
        paths = [_write(Path(where), number) for number in range(4 * FILES)]
        _stages(paths[:1], tools)  # compiles
        few, many = _stages(paths[:FILES], tools), _stages(paths, tools)
    found = [_row(stage, many[stage], few[stage]) for stage in many]
    every, before = sum(1 / rate for rate in many.values()), sum(1 / rate for rate in few.values())
    return [*found, _row("all", 1 / every, 1 / before)]


def _stages(paths: list[Path], tools: dict[str, Any]) -> dict[str, float]:
    """Exposures (both arms) per CPU second of each stage."""
    ingested, ingest = _timed(lambda: ingest_files(paths, MRS, tools["arms"], tools["meters"]))
    exposures, n = ingested.exposures, len(ingested.exposures["key"])
    rv_obs = {name: exposures[f"rv_obs_{name[0].upper()}"].astype(float) for name in tools["templates"]}
    fits, fit = _timed(lambda: fit_exposures(tools["fitters"], ingested.arms, rv_obs, tools["evidence"]))

    def score() -> None:
        for name, (arm, _) in tools["templates"].items():
            ensemble = tools["ensembles"][name]
            given = (*ingested.arms[name], exposures["key"], rv_obs[name], fits["frame"])
            scored(ensemble, arm, *given, n_draws=20, penalties=ensemble.penalties[:1])

    _, scoring = _timed(score)
    return {"ingest": n / ingest, "fit of two stars": n / fit, "scores, 20 draws": n / scoring}


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    started = time.process_time()
    found = call()
    return found, time.process_time() - started


def _row(stage: str, many: float, few: float) -> dict:
    hours = SURVEY / many / 3600
    return {
        "name": f"{stage}: {4 * FILES} files against {FILES}",
        "ours": many,
        "published": few,
        "unit": "exposures of both arms per CPU second",
        "ratio": many / few,
        "hours of 5.9 million on one core": hours,
        "hours on 20 nodes of 32 cores": hours / CORES,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    json.dump(rows(), sys.stdout, indent=2)
