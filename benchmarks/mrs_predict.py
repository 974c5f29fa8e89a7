"""`dioscuri predict` of LAMOST MRS as users run it, files to table, beside reading, RVs and networks one by one."""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from dioscuri.learn.spectra.models import load_released
from dioscuri.paths import models_folder
from dioscuri.predict import predict
from dioscuri.spectra.velocity import VelocityMeter
from inference import N_PIXELS, plain_network, row
from ingest import ARMS, N_EXPOSURES, N_FILES, _ingest_loop, _templates, _write

N_DRAWS = 20


def rows() -> list[dict]:
    """Exposures a second of CPU, both arms, 20 draws, the released models of each arm."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        paths = [_write(Path(folder), k) for k in range(N_FILES)]
        meters = {arm.name: VelocityMeter(_templates(arm), arm) for arm in ARMS}
        predict("lamost_mrs", paths[:1])  # compiles
        ours = N_FILES * N_EXPOSURES / _cpu(lambda: predict("lamost_mrs", paths))
        one_by_one = _cpu(lambda: _ingest_loop(paths[0], meters)) / (N_EXPOSURES + 1) + len(ARMS) * _cpu(_networks)
    return [row("dioscuri predict, files to table, 20 draws", ours, 1 / one_by_one, "exposures/s")]


def _networks() -> None:
    """Draws and models of one spectrum, unfolded networks, fresh noise."""
    n_models = len(load_released(models_folder() / "lamost_mrs/blue.safetensors", "blue"))
    noisy = np.random.default_rng().standard_normal((N_DRAWS, N_PIXELS))
    with torch.no_grad():
        inputs = torch.from_numpy(noisy).float()[:, None]
        np.percentile([plain_network().eval()(inputs).numpy() for _ in range(n_models)], [0, 16, 50, 84, 100])


def _cpu(task) -> float:
    start = time.process_time()
    task()
    return time.process_time() - start


if __name__ == "__main__":
    json.dump(rows(), sys.stdout, indent=2)
