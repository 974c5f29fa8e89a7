"""Draws docs/figures/real_spectra.png: exposures of KIC 8098300 (LAMOST MRS), and what the released models say of them.

python docs/figures/real_spectra.py FOLDER: `FOLDER/lamost_mrs/med-*.fits.gz`, and `FOLDER/kic8098300_mrs_expected.csv`
with the velocities that the orbit of the eclipsing binary predicts. These real data are not ours to pass on.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from dioscuri import predict
from dioscuri.lamost.mrs_files import read_mrs
from dioscuri.plots.style import ACCENT, ARM_COLOUR, BINARY, SINGLE, figure
from dioscuri.spectra.continuum import fit_continuum

OUT = Path(__file__).with_suffix(".png")
SHOWN = {
    "resolved_SB2": ("two stars, apart", BINARY),
    "marginal": ("marginal", ACCENT),
    "blended": ("blended", SINGLE),
    "primary_eclipse": ("one behind the other", ARM_COLOUR["blue"]),
}
WINDOW = 5150.0, 5215.0  # Å: the magnesium triplet and lines of iron
STEP = 0.7  # between spectra


def main(folder: Path) -> None:
    """Score the exposures, and draw the best of each kind."""
    orbit = pd.read_csv(folder / "kic8098300_mrs_expected.csv", comment="#")
    files = [str(folder / "lamost_mrs" / name) for name in orbit["file"].unique()]
    table, _ = predict.predict("lamost_mrs", files, arms=["blue"])
    scored = table[table["status"].str.startswith("ok")].merge(orbit, left_on="exposure", right_on="lmjm")
    best = scored.sort_values("snr").groupby("label").last()
    with figure(OUT, 9.0, 4.6) as drawing:
        axes = drawing.subplots()
        for row, (label, (words, colour)) in enumerate(SHOWN.items()):
            found = best.loc[label]
            wave, flux = spectrum(folder / "lamost_mrs" / found["file_y"], found["exposure"])
            level = STEP * (len(SHOWN) - 1 - row)
            axes.plot(wave, flux + level, color=colour, lw=0.9)
            text = f"{words}\nΔv = {abs(found['dv_pred_kms']):.0f} km/s, S/N {found['snr']:.0f}\np = {found['p50']:.2f}"
            axes.text(WINDOW[1] + 1, level + 0.95, text, color=colour, va="center", fontsize=9)
        axes.set(xlim=WINDOW, ylim=(0.25, STEP * len(SHOWN) + 0.55), yticks=[], ylabel="flux / continuum, shifted")
        axes.set(xlabel="vacuum wavelength, heliocentric [Å]")
        axes.set_title(
            "KIC 8098300, an eclipsing binary, in single exposures of LAMOST MRS; p: of being an SB2, median"
        )
    print(OUT)


def spectrum(path: Path, exposure: int) -> tuple[np.ndarray, np.ndarray]:
    """Wavelength and flux over continuum (L,) of the blue arm of an exposure; bad pixels are NaN."""
    [found] = [one for one in read_mrs(path).exposures if one.lmjm == exposure and one.arm == "blue"]
    flux = np.where((found.ivar > 0) & ~found.mask, found.flux, np.nan)
    return found.wave, flux / fit_continuum(found.wave, flux)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
