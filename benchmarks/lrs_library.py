"""Real LAMOST LRS stars beside libraries: residuals per 250 Å and Teff, labels of the best fit, a figure.

python benchmarks/lrs_library.py LIBRARY [LIBRARY …] --labelled FOLDER --others FOLDER … [--figure FILE]

FOLDER of labelled stars holds LRS files and labels.csv (file, teff, logg, feh, kind: those of kind dwarf count). The
second library of a figure is drawn over the first: before and after. Half a minute per library.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from dioscuri.lamost.library_gap import STRETCH, Observed, fitted_labels, library_light, observe, residual_table
from dioscuri.libraries.grid import SpectralLibrary
from dioscuri.plots.lrs import real_beside_libraries
from dioscuri.spectra import lrs_frame

STARTS = np.arange(3950.0, 8750.0, STRETCH)
LABELLED_EDGES = (4800, 5200, 5600, 6000)
OTHER_EDGES = (3500, 4000, 4400, 4800, 5200, 5600)
SHOWN = {"M2": 3600, "M0": 3850, "K7": 4050, "K5": 4450, "K3": 4800, "G9": 5300}


def main() -> None:
    """Print the tables; draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("library", nargs="+", type=Path)
    parser.add_argument("--labelled", type=Path, required=True)
    parser.add_argument("--others", type=Path, nargs="*", default=[])
    parser.add_argument("--resolution", type=float, default=1600.0)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    labels = pd.read_csv(options.labelled / "labels.csv").query("kind == 'dwarf'").set_index("file")
    labelled = observe([options.labelled / name for name in labels.index])
    labels = labels.loc[labelled.names]
    others = observe([path for folder in options.others for path in sorted(folder.glob("*.fits*"))], 15.0)
    models = {}
    for path in options.library:
        library = SpectralLibrary.load(path)
        print(f"\n{path}, R = {options.resolution:g}\nat the catalogue's labels")
        columns = {name: labels[name].to_numpy() for name in ("teff", "logg", "feh")}
        light = library_light(library, columns, options.resolution)
        show(
            *residual_table(labelled.flux - light, labelled.sigma, columns["teff"], LABELLED_EDGES, STARTS),
            LABELLED_EDGES,
        )
        best = fitted_labels(labelled, library, options.resolution)
        print(
            "best fit less catalogue, median: " + ", ".join(f"{n} {np.median(best[n] - columns[n]):+.2f}" for n in best)
        )
        print("others, at the best fit")
        best = fitted_labels(others, library, options.resolution)
        light = library_light(library, best, options.resolution)
        show(*residual_table(others.flux - light, others.sigma, best["teff"], OTHER_EDGES, STARTS), OTHER_EDGES)
        subclasses(others, best)
        models[path] = (best, library_light(library, best, options.resolution, 350.0))
    if options.figure:
        draw(options.figure, others, models)


def show(table: np.ndarray, counts: np.ndarray, edges: tuple[int, ...]) -> None:
    """A row per bin of Teff [K], a column per stretch that starts at [Å], in per cent; last 4700-8800 Å."""
    print("  Teff [K]   n " + "".join(f"{start:6.0f}" for start in STARTS) + "   4700-8800 (rms)")
    for row, n, low, high in zip(100 * table, counts, edges[:-1], edges[1:]):
        red = row[STARTS >= 4700]
        mean = np.sqrt(np.nanmean(red**2)) if np.isfinite(red).any() else np.nan
        print(f"{low:5d}-{high:5d}{n:4d} " + "".join(f"{value:6.2f}" for value in row) + f"   {mean:.2f}")


def subclasses(stars: Observed, best: dict[str, np.ndarray]) -> None:
    """Median labels per subclass of the pipeline."""
    frame = pd.DataFrame({"subclass": stars.subclass, **best})
    table = frame.groupby("subclass").agg(["median", "size"])
    for name, row in table.iterrows():
        count, teff, feh = row["teff", "size"], row["teff", "median"], row["feh", "median"]
        print(f"  {name:5s} n {count:3.0f}  Teff {teff:.0f}  [Fe/H] {feh:+.2f}")


def draw(path: Path, stars: Observed, models: dict[Path, tuple[dict[str, np.ndarray], np.ndarray]]) -> None:
    """The best exposed star of each subclass shown."""
    kept = lrs_frame.kept(4000.0, 8850.0)
    noise = np.median(np.where(np.isfinite(stars.sigma), stars.sigma, 9.0)[:, kept], axis=1)
    rows = {}
    for subclass, teff in SHOWN.items():
        here = [i for i, name in enumerate(stars.subclass) if name.strip() == subclass]
        if not here:
            continue
        i = min(here, key=lambda k: noise[k])
        seen = np.where(np.isfinite(stars.sigma[i]), 1 + stars.wide[i], np.nan)
        drawn, words = {}, []
        for file, (best, light) in models.items():
            drawn[f"{file.parent.name}/{file.stem}"] = 1 + light[i]
            words.append(f"{best['teff'][i]:.0f} K, {best['logg'][i]:.2f}, {best['feh'][i]:+.2f}")
        rows[f"{subclass} ({teff} K by its class): fitted " + "; ".join(words)] = (seen, drawn)
    real_beside_libraries(path, lrs_frame.WAVE, rows)


if __name__ == "__main__":
    main()
