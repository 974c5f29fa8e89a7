"""STDPSF and STPSF grids in the layouts of the genuine files, small, for the tests."""

from pathlib import Path

import numpy as np
from astropy.io import fits

# Name of the file → 1-based positions along x and y, and photutils' number of each chip as we call it.
UVIS = ([0, 682, 1365, 2048, 2731, 3413, 4096], [0, 682, 1365, 2048, 2048, 2731, 3413, 4096])
ACS = ([0, 512, 1024, 1536, 2048, 2560, 3072, 3584, 4096], [0, 512, 1024, 1536, 2048, 2049, 2560, 3072, 3584, 4096])
WFPC2 = ([0, 400, 800, 801, 1200, 1600], [0, 400, 800, 801, 1200, 1600])
NRCSW = (
    [start + offset for start in (0, 2048, 4096, 6144) for offset in (0, 512, 1024, 1536, 2048)],
    [start + offset for start in (0, 2048) for offset in (0, 512, 1024, 1536, 2048)],
)
NRC = ([0, 512, 1024, 1536, 2048], [0, 512, 1024, 1536, 2048])
CAMERAS = {
    "STDPSF_WFC3UV_F775W.fits": (*UVIS, {1: 2, 2: 1}),
    "STDPSF_ACSWFC_F814W.fits": (*ACS, {1: 2, 2: 1}),
    "STDPSF_WFPC2_F555W.fits": (*WFPC2, {chip: chip for chip in range(1, 5)}),
    "STDPSF_NRCSW_F150W.fits": (*NRCSW, {chip: chip for chip in range(1, 9)}),
    "STDPSF_NRCA1_F150W.fits": (*NRC, {}),
    "STDPSF_WFC3IR_F160W.fits": ([0, 507, 1014], [0, 507, 1014], {}),
}


def star(sigma: float = 0.85, size: int = 21) -> np.ndarray:
    """Samples of a Gaussian of `sigma` px, 4 a pixel."""
    offset = (np.arange(size) - size // 2) / 4
    return np.exp(-0.5 * (offset[:, None] ** 2 + offset**2) / sigma**2) / (2 * np.pi * sigma**2)


def write_stdpsf(folder: Path, name: str, samples: np.ndarray | None = None, *, tail: bool = False) -> Path:
    """A STDPSF file; by default each PSF is a star with a weight of its own. `tail`: a block of zeros after it,
    as genuine files have, which readers take for a header without END."""
    x, y, _ = CAMERAS[name]
    if samples is None:
        samples = star() * (1 + 0.01 * np.arange(len(x) * len(y)))[:, None, None]
    header = fits.Header({"NXPSFS": len(x), "NYPSFS": len(y)})
    if len(x) <= 10 and len(y) <= 10:
        for i in range(10):
            header[f"IPSFX{i + 1:02d}"] = x[i] if i < len(x) else 9999
            header[f"JPSFY{i + 1:02d}"] = y[i] if i < len(y) else 9999
    else:
        for k, letter in enumerate("ABCD"):
            header[f"IPSFX{letter}5"] = " ".join(map(str, x[5 * k : 5 * k + 5]))
        for k, letter in enumerate("AB"):
            header[f"JPSFY{letter}5"] = " ".join(map(str, y[5 * k : 5 * k + 5]))
    header["COMMENT"] = name
    path = folder / name
    fits.writeto(path, samples.astype(np.float32), header)
    if tail:
        path.write_bytes(path.read_bytes() + bytes(2880))
    return path


def write_stpsf(folder: Path, size: int = 20, total: float = 1.0) -> Path:
    """A grid of 2 × 2 PSFs as psf_grid of STPSF saves it: an even number of samples, the star between them."""
    header = fits.Header({"INSTRUME": "NIRCam", "DETECTOR": "NRCA1", "FILTER": "F150W", "OVERSAMP": 4, "DET_SAMP": 1})
    places = [(100.0, 0.0), (100.0, 2047.0), (1900.0, 0.0), (1900.0, 2047.0)]
    for k, (y, x) in enumerate(places):
        header[f"DET_YX{k}"] = (str((y, x)), f"The #{k} PSF's (y,x) detector pixel position")
    offset = (np.arange(size) - (size - 1) / 2) / 4
    one = np.exp(-0.5 * (offset[:, None] ** 2 + offset**2) / 0.6**2)
    path = folder / "nircam_nrca1_f150w.fits"
    fits.writeto(path, np.stack([one / one.sum() * total] * 4), header)
    return path
