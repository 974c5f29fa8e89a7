"""How unlike the exposures of one night may look: the judging reader's shape on simulated stars and on real files.

    python benchmarks/rates/mrs_shape.py [FILE …]

Three exposures of each kind of star, 20 nights each, at S/N 8 and 40: the largest scatter of the ratio of two
exposures' shapes (`lamost.judgement.unlikeness`), and how many exposures are flagged and refused for it.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dioscuri.arms import C_KMS
from dioscuri.flags import Quality, Refusal
from dioscuri.lamost.exposures import Exposure
from dioscuri.lamost.fits_units import RefusedFile
from dioscuri.lamost.judgement import SNR_FAINT, judge_together, unlikeness
from dioscuri.lamost.mrs_files import read_mrs
from dioscuri.lamost.telescope import DETECTORS, observe
from dioscuri.mocks.pairs import one_spectrum
from dioscuri.synthesis.synthesizer import read_linelist, synthesize

LMJM = 84_700_560
HALPHA, NII = 6564.61, (6549.86, 6585.27)  # Å, vacuum
NIGHTS = 20
Light = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def star(teff: float, logg: float, vsini: float = 5.0) -> Light:
    """Flux over its mean in each arm at a velocity [km/s]; made once, below 4000 K with molecules (and not turned)."""
    pieces = []
    for detector in DETECTORS.values():
        pixels = detector.pixels(0.0)
        ends = pixels.min() - 40, pixels.max() + 40
        if teff < 4000:
            cool = synthesize(
                teff,
                logg,
                0.0,
                0.0,
                *ends,
                linelist=read_linelist(None),
                step_kms=10.0,
                resolution=7500.0,
                molecules=True,
            )
            pieces.append((cool.wave, cool.flux))
        else:
            pieces.append(
                one_spectrum(teff, logg, 0.0, 0.0, vsini=vsini, resolution=7500.0, wave_min=ends[0], wave_max=ends[1])
            )
    wave = np.concatenate([piece[0] for piece in pieces])
    flux = np.concatenate([piece[1] / np.mean(piece[1]) for piece in pieces])
    return lambda where, rv, rng: np.interp(where / (1 + rv / C_KMS), wave, flux)


def line(centre: float, fwhm_kms: float, height: float) -> Callable[[np.ndarray], np.ndarray]:
    sigma = centre * fwhm_kms / C_KMS / 2.3548
    return lambda wave: height * np.exp(-0.5 * ((wave - centre) / sigma) ** 2)


def kinds() -> dict[str, Light]:
    dwarf, hot, cool = star(5800, 4.4), star(7800, 4.0, 150.0), star(3600, 4.8)
    fast, solar = star(6500, 4.2, 350.0), star(5777, 4.44)
    others: dict[str, Light] = {
        "G dwarf": dwarf,
        "fast rotator, 350 km/s": fast,
        "SB2, ± 150 km/s": lambda w, rv, rng: 0.6 * dwarf(w, rv + rng.uniform(-150, 150), rng)
        + 0.4 * dwarf(w, rv + rng.uniform(-150, 150), rng),
        "M dwarf": cool,
        "flaring M dwarf (Hα × 1 to 8)": lambda w, rv, rng: cool(w, rv, rng) + line(HALPHA, 100, rng.uniform(1, 8))(w),
        "Be star (Hα × 1 to 6, 400 km/s)": lambda w, rv, rng: hot(w, rv, rng) + line(HALPHA, 400, rng.uniform(1, 6))(w),
        "shell, Hα × 1 to 15, 900 km/s": lambda w, rv, rng: hot(w, rv, rng) + line(HALPHA, 900, rng.uniform(1, 15))(w),
        "nebula (Hα, [N II] × 0 to 20)": lambda w, rv, rng: dwarf(w, rv, rng)
        + sum(line(c, 45, rng.uniform(0, h))(w) for c, h in ((HALPHA, 20), (NII[0], 4), (NII[1], 12))),
        "moonlight, 0 to 40 %": lambda w, rv, rng: dwarf(w, rv, rng)
        + rng.uniform(0, 0.4) * solar(w, -20, rng) * (5500 / w),
    }  # fmt: skip
    for tilt in (0.05, 0.1, 0.2):
        others[f"G dwarf, response tilted by ± {tilt:.0%}"] = lambda w, rv, rng, t=tilt: (
            dwarf(w, rv, rng) * (1 + rng.uniform(-t, t) * (w - w.mean()) / np.ptp(w) * 2)
        )
    return others


def night(light: Light, arm: str, snr: float, rng: np.random.Generator) -> list[Exposure]:
    detector = DETECTORS[arm]
    wave = detector.pixels(-11.0)
    found = []
    for k in range(3):
        model = detector.throughput() * light(wave, rng.uniform(-100, 100), rng)
        flux, ivar, mask, _ = observe(model, detector, snr, rng)
        seen = float(np.median((flux * np.sqrt(ivar))[~mask]))
        found.append(Exposure(f"{arm}{k}", arm, LMJM + 24 * k, 0.0, 1200.0, seen, wave, flux, ivar, mask))
    return found


def judged(exposures: list[Exposure]) -> tuple[float, int, int]:
    """Largest unlikeness of two of them, how many are flagged and how many refused for it."""
    found = judge_together(exposures)
    flagged = sum(bool(e.flags & Quality.CONTRADICTION) and e.fault is None for e in found)
    refused = sum(e.fault is not None and e.fault.reason is Refusal.CONTRADICTION for e in found)
    bright = [e for e in exposures if e.snr > SNR_FAINT and not e.is_coadd]
    pairs = [unlikeness(a, b) for i, a in enumerate(bright) for b in bright[:i] if a.arm == b.arm]
    return max(pairs, default=0.0), flagged, refused


def main() -> None:
    print("| star | arm | S/N | largest | 95 % of nights | flagged | refused |\n|---|---|---:|---:|---:|---:|---:|")
    for name, light in kinds().items():
        for arm in DETECTORS:
            for snr in (8.0, 40.0):
                rng = np.random.default_rng(len(name))
                results = [judged(night(light, arm, snr, rng)) for _ in range(NIGHTS)]
                worst = [result[0] for result in results]
                flagged, refused = (sum(result[i] for result in results) for i in (1, 2))
                numbers = f"{max(worst):.3f} | {np.quantile(worst, 0.95):.3f} | {flagged} | {refused} of {3 * NIGHTS}"
                print(f"| {name} | {arm} | {snr:g} | {numbers} |")
    for path in map(Path, sys.argv[1:]):
        try:
            file = read_mrs(path)
        except RefusedFile as error:
            print(f"| {path.name} | {error} |")
            continue
        worst, flagged, refused = judged(list(file.exposures))
        print(f"| {path.name} | both | | {worst:.3f} | | {flagged} | {refused} of {len(file.exposures)} |")


if __name__ == "__main__":
    main()
