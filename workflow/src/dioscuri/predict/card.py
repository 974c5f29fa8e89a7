"""What networks and PSF files are for: the camera and filter of a frame against the card of both."""

from collections.abc import Mapping
from typing import Any

from dioscuri.cluster.frames import Frame
from dioscuri.psf.effective import Psf
from dioscuri.psf.optics import OPTICS

CAMERA = "WFC3/UVIS"  # of the released networks of HST
# Names of detectors in PSF files → camera, as a frame's header has it.
CAMERAS = {
    "WFC3UV": "WFC3/UVIS", "WFC3IR": "WFC3/IR", "ACSWFC": "ACS/WFC", "ACSHRC": "ACS/HRC", "WFPC2": "WFPC2",
    "NRCSW": "NIRCAM", "NRCA": "NIRCAM", "NRCB": "NIRCAM", "NRCAL": "NIRCAM", "NRCBL": "NIRCAM", "NIRISS": "NIRISS",
    "MIRI": "MIRI",
}  # fmt: skip
SAME_SCALE = 0.05  # of the pixel scale: distortion changes it by 1 % over a chip
ANY_FILTER = "--any-filter scores it all the same, flagged"


def objections(frame: Frame, context: Mapping[str, Any] | None, psf: Psf | None) -> list[str]:
    """Why networks of `context` and the given `psf` (None: none) are not for the frame; empty where they are."""
    found = []
    if context is not None:
        camera, filters = context.get("camera", CAMERA), filters_of(context)
        if frame.camera != camera:
            there = f"camera {frame.camera}" if frame.camera else "no camera in the header (INSTRUME, DETECTOR)"
            found.append(f"{there}, the networks know {camera}")
        if filters and frame.filter not in filters:
            found.append(f"filter {frame.filter}, the networks know {', '.join(filters)}")
        scale = context.get("psf", {}).get("pixel_scale")
        if scale and abs(frame.pixel_scale / scale - 1) > SAME_SCALE:
            found.append(f"pixels of {frame.pixel_scale:.4f} arcsec (binned?), the networks know {scale:.4f}")
    if psf is not None:
        camera = CAMERAS.get(str(psf.provenance.get("detector")))
        if camera and frame.camera and not frame.camera.startswith(camera):
            found.append(f"camera {frame.camera}, the PSF is that of {camera}")
        name = psf.provenance.get("filter")
        if name and name != frame.filter:
            found.append(f"filter {frame.filter}, the PSF is that of {name}")
    return found


def filters_of(context: Mapping[str, Any]) -> list[str]:
    """The filters that networks know: those that their card names, else the one whose optics they were trained with."""
    if "filters" in context:
        return list(context["filters"])
    optics = context.get("bank", {}).get("optics", {})
    known = {name: one for name, one in OPTICS.items() if name.startswith("hst_")}
    return sorted(
        {name.split("_")[1].upper() for name, one in known.items() if one.wavelength == optics.get("wavelength")}
    )
