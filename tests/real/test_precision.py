"""bf16 moves no probability of a real spectrum by more than what is promised."""

import numpy as np

from dioscuri.arms import arms_of
from dioscuri.config import load_config
from dioscuri.lamost.ingest import ingest_files
from dioscuri.lamost.mrs import MRS
from dioscuri.learn.spectra.inference import Ensemble
from dioscuri.learn.spectra.models import load_models
from dioscuri.paths import models_folder, shipped
from dioscuri.spectra.templates import velocity_meters

PROMISED = 0.02


def test_bf16_on_real_spectra(real_data):
    settings = load_config([shipped("config") / f"{name}.yaml" for name in ("config", "surveys")])
    arms = arms_of(settings.instruments["lamost_mrs"].model_dump()["arms"])
    models = models_folder() / "lamost_mrs"
    files = sorted((real_data / "lamost_mrs").glob("*.fits*"))
    found = ingest_files(files, MRS, arms, velocity_meters(models / "templates.h5", arms))
    for number, arm in enumerate(arms):
        flux, sigma = found.arms[arm.name]
        usable = np.isfinite(flux).all(axis=1)
        given = flux[usable], sigma[usable], np.arange(usable.sum()), number
        networks = load_models([models / f"{arm.name}.safetensors"], arm.name)
        exact, short = (Ensemble(networks, "cpu", precision).percentiles(*given) for precision in ("fp32", "bf16"))
        for penalty, p in exact.items():
            moved = np.abs(p - short[penalty])
            print(f"{arm.name}, penalty {penalty:g}: {len(p)} spectra, largest |dp| {moved.max():.4f}")
            assert len(p) > 10 and 0 < moved.max() < PROMISED
