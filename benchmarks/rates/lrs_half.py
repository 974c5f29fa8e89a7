"""Labels of the real dwarfs that calibrate: every second one of DR10's F and G stars; the others are scored.

python benchmarks/rates/lrs_half.py DATA results/lrs_half.csv: DATA holds dr10_fg with its labels.csv.
"""

import sys
from pathlib import Path

import pandas as pd


def main(data: str, out: str) -> None:
    """Write the table that `lamost_lrs.calibration` takes as its catalogue."""
    labels = pd.read_csv(Path(data) / "dr10_fg/labels.csv").sort_values("file")
    half = labels[labels["kind"] == "dwarf"][::2]
    half[["file", "teff", "logg", "feh"]].to_csv(out, index=False)
    print(f"{len(half)} stars of {Path(data) / 'dr10_fg'} calibrate: {out}")


if __name__ == "__main__":
    main(*sys.argv[1:])
