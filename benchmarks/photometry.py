"""PSF photometry of a crowded frame, ours beside photutils, and `dioscuri predict` from a frame to scored stars."""

import json
import logging
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.wcs import WCS

from dioscuri import predict
from dioscuri.cluster.frames import Frame, write_flt
from dioscuri.cluster.photometry import measure
from dioscuri.cluster.scene import Scene
from dioscuri.psf.effective import Psf
from dioscuri.psf.optics import OPTICS, optical_psf
from inference import row

SIDE, STARS, CROWDED = 1024, 500, 2500  # px; 500 are as crowded as 4,000 on a whole chip of WFC3/UVIS
SKY, READ_NOISE, SCALE = 5.0, 3.1, 0.03962


def rows() -> list[dict]:
    """One mapping per comparison: name, ours, published, unit, ratio. One process's time, compilation excluded."""
    psf = optical_psf(OPTICS["hst_f775w"], size=31)
    measured = []
    for n in (CROWDED, STARS):
        crowd = frame(psf, SIDE, n, 1)
        measure(crowd, psf)
        ours, found = seconds(partial(measure, crowd, psf))
        theirs, published = seconds(partial(measure, crowd, psf, method="photutils"))
        name = f"PSF photometry from the frame on, {n} stars a megapixel, against photutils"
        measured.append(row(name, len(found) / ours, len(published) / theirs, "stars/s"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one_flt.fits"
        write_flt(path, [crowd])
        fitted, _ = seconds(lambda: predict.predict("hst", [path]))
        psf.save(Path(folder) / "psf.npz")
        given, (table, _) = seconds(lambda: predict.predict("hst", [path], psf=Path(folder) / "psf.npz"))
    scored = int(np.isfinite(table["p"]).sum())
    chip = 4096 * 2051 / SIDE**2
    words = f"a chip with {round(scored * chip)} scored stars"
    return [
        *measured,
        {"name": f"predict, PSF fitted: {words}", "ours": fitted * chip / 60, "unit": "minutes"},
        {"name": f"predict, PSF given: {words}", "ours": given * chip / 60, "unit": "minutes"},
    ]


def seconds(call):
    began = time.process_time()
    result = call()
    return time.process_time() - began, result


def frame(psf: Psf, side: int, n: int, seed: int) -> Frame:
    """n stars of 2,000 to 25,000 e-, every seventh a pair, anywhere on a frame of `side` px."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, side, (2, n))
    stars = pd.DataFrame({"x": x, "y": y, "flux": rng.uniform(2e3, 2.5e4, n)})
    second = stars[::7].assign(x=lambda t: t["x"] + 1.3, flux=lambda t: 0.6 * t["flux"])
    expected = np.full((side, side), SKY)
    for part in (stars, second):
        Scene(psf).paint(expected, *(part[name].to_numpy() for name in ("x", "y", "flux")))
    science = rng.poisson(expected) + rng.normal(0, READ_NOISE, expected.shape)
    sky = WCS(naxis=2)
    sky.wcs.ctype, sky.wcs.crval = ["RA---TAN", "DEC--TAN"], [245.9, -26.5]
    sky.wcs.cd = np.diag([-1.0, 1.0]) * SCALE / 3600
    return Frame(
        science=science.astype(np.float32), error=np.sqrt(science.clip(0) + READ_NOISE**2).astype(np.float32),
        dq=np.zeros(science.shape, np.int32), wcs=sky, filter="F775W", exposure_time=20.0, exposure="one",
        pixel_scale=SCALE, read_noise=READ_NOISE, camera="WFC3/UVIS",
    )  # fmt: skip


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    json.dump(rows(), sys.stdout, indent=2)
