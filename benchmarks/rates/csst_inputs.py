"""What `dioscuri predict --survey csst` says of right and wrong inputs.

    python benchmarks/rates/csst_inputs.py [--stamps 150]     about four minutes of a core

Stamps of the released networks' law (30 % pairs) go through files; each row is one thing done wrong, to them or to the
options. Printed: shares of ok, doubtful and refused rows, and false positives among the singles that are ok.
"""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import galsim
import h5py
import numpy as np
import pandas as pd
from astropy.io import fits

from dioscuri import predict
from dioscuri.predict.images import find_networks, likely
from dioscuri.psf.optics import OPTICS, optical_psf, psf_bank
from dioscuri.stamps.mocks import Law, Noise, Renderer, draw_sources, make_stamps

OPTICS_HERE = OPTICS["csst_u"]
SIZE = 25  # px of the PSF
SEED = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", type=int, default=150)
    n = parser.parse_args().stamps
    with tempfile.TemporaryDirectory() as folder:
        print(table(Path(folder), n).to_string(index=False, float_format="%.2f"))


def table(folder: Path, n: int) -> pd.DataFrame:
    """A row per input."""
    networks = find_networks("csst", None)
    assert networks is not None, "the released networks are needed"
    law, noise = Law(**networks.context["law"]), Noise(**networks.context["noise"])
    sources = draw_sources(n, SEED, law, noise=noise, binary_share=0.3)
    right = optical_psf(OPTICS_HERE, size=SIZE)
    stamps = make_stamps(sources, Renderer(right), noise, SEED).astype(float)
    rng = np.random.default_rng(SEED)
    psf = {"psf": image(folder / "psf.fits", right.samples[0]), "psf_oversampling": right.oversampling}
    bare = image(folder / "bare.fits", without_pixel(right.samples.shape[1], right.oversampling))
    jitter = psf_bank(OPTICS_HERE, members=2, jitter_fraction=0.02, exact=True, size=SIZE).member(1)
    wavefront = psf_bank(OPTICS_HERE, members=2, wfe_nm=15.0, exact=True, size=SIZE, seed=SEED).member(1)
    cases: list[tuple[str, Path, dict[str, Any]]] = [
        ("right", cube(folder / "right.fits", stamps), psf),
        ("PSF without the pixel, said", cube(folder / "said.fits", stamps),
         psf | {"psf": bare, "pixel_integrated": False}),
        ("PSF without the pixel, not said", cube(folder / "unsaid.fits", stamps), psf | {"psf": bare}),
        ("sampling 3 for 4", cube(folder / "three.fits", stamps), psf | {"psf_oversampling": 3}),
        ("sampling 5 for 4", cube(folder / "five.fits", stamps), psf | {"psf_oversampling": 5}),
        ("jitter +2 % (within the bank)", cube(folder / "jitter.fits", of(jitter, sources, noise)), psf),
        ("wavefront 15 nm (within the bank)", cube(folder / "wavefront.fits", of(wavefront, sources, noise)), psf),
        ("sky of 1 e- left in", cube(folder / "sky1.fits", stamps + 1.0), psf),
        ("sky of 20 e- left in", cube(folder / "sky20.fits", stamps + 20 + rng.normal(0, 20**0.5, stamps.shape)), psf),
        ("a cosmic ray of 50 to 2000 e-", cube(folder / "ray.fits", struck(stamps, rng)), psf),
        ("ADU, gain 1.5", cube(folder / "adu.fits", stamps / 1.5), psf),
        ("ADU, gain 4", cube(folder / "adu4.fits", stamps / 4), psf),
        ("gain 1.5 applied twice", cube(folder / "twice.fits", stamps * 1.5), psf),
        ("ADU, and BUNIT says so", cube(folder / "unit.fits", stamps / 1.5, BUNIT="ADU"), psf),
        ("noise three times too large", cube(folder / "large.fits", stamps), psf | {"noise": 3 * noise.sigma}),
        ("noise half as large", cube(folder / "half.fits", stamps), psf | {"noise": noise.sigma / 2}),
        ("a bad pixel (NaN) in each", cube(folder / "nan.fits", holed(stamps, rng)), psf),
        ("cube of (14, 14, N)", cube(folder / "turned.fits", np.moveaxis(stamps, 0, -1)), psf),
        ("HDF5 with a group 'stamps'", group(folder / "group.h5", stamps), psf),
    ]  # fmt: skip
    return pd.DataFrame([row(name, path, options, sources) for name, path, options in cases])


def row(name: str, path: Path, options: Mapping[str, Any], sources: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What predict says of one file; false positives: singles that it calls pairs and ok."""
    scores, _ = predict.predict("csst", [path], **options)
    kinds = scores["status"].str.split(":").str[0]
    found: dict[str, Any] = {"input": name} | {
        kind: float((kinds == kind).mean()) for kind in ("ok", "doubtful", "refused")
    }
    if len(scores) == len(sources["flux"]):
        single = ~sources["is_binary"]
        called = likely(scores["p"], scores["log_bf"])
        found["singles called pairs"] = float(called[single].mean())
        found["of them ok"] = float((called & (kinds == "ok"))[single].mean())
    reasons = scores["status"][kinds != "ok"].str.split(": ", n=1).str[1]
    return found | {"most frequent reason": reasons.mode()[0][:110] if len(reasons) else ""}


def of(psf: Any, sources: Mapping[str, np.ndarray], noise: Noise) -> np.ndarray:
    return make_stamps(sources, Renderer(psf), noise, SEED)


def without_pixel(n: int, oversampling: int) -> np.ndarray:
    """The optical PSF before the detector integrates it over its pixels, (n, n)."""
    light = galsim.OpticalPSF(lam=OPTICS_HERE.wavelength, diam=OPTICS_HERE.diameter, pad_factor=2.0)
    blurred = galsim.Convolve([light, galsim.Gaussian(sigma=OPTICS_HERE.jitter)])
    return blurred.drawImage(nx=n, ny=n, scale=OPTICS_HERE.pixel_scale / oversampling, method="no_pixel").array


def struck(stamps: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One pixel of each stamp, within 4 px of its middle, with the charge of a cosmic ray."""
    hit = stamps.copy()
    rows, columns = rng.integers(3, 11, (2, len(stamps)))
    hit[np.arange(len(stamps)), rows, columns] += 50 * 40 ** rng.uniform(size=len(stamps))
    return hit


def holed(stamps: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    holes = stamps.copy()
    rows, columns = rng.integers(0, 14, (2, len(stamps)))
    holes[np.arange(len(stamps)), rows, columns] = np.nan
    return holes


def image(path: Path, samples: np.ndarray) -> Path:
    fits.writeto(path, samples.astype(np.float32))
    return path


def cube(path: Path, stamps: np.ndarray, **header: str) -> Path:
    fits.writeto(path, stamps.astype(np.float32), fits.Header(header))
    return path


def group(path: Path, stamps: np.ndarray) -> Path:
    with h5py.File(path, "w") as stream:
        stream["stamps/image"] = stamps
    return path


if __name__ == "__main__":
    main()
