"""A user's own grids through the workflow: MIST files and FERRE files or a table of spectra, by config keys alone."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from dioscuri.io import read_provenance
from dioscuri.shards import read_mock_labels
from dioscuri.stars import analytic
from dioscuri.stars.tracks import LOG_TEFF, TrackGrid
from dioscuri.synthesis.lines import read_linelist
from dioscuri.synthesis.synthesizer import synthesize

pytestmark = pytest.mark.workflow
MIST = runpy.run_path(str(Path(__file__).parents[1] / "unit/mist_files.py"))
TEFF, LOGG, FEH = (5000.0, 5500.0, 6000.0, 6500.0), (4.0, 4.5, 5.0), (-0.5, 0.0, 0.5)
LIMITS, STEP_KMS = (4970.0, 6790.0), 12.0  # both arms in one window; coarse, for speed


@pytest.fixture(scope="module")
def spectra() -> dict[tuple[float, float, float], tuple[np.ndarray, np.ndarray]]:
    """Labels → vacuum wavelength [Å] and surface flux."""
    lines = read_linelist()
    made = {}
    for teff in TEFF:
        for logg in LOGG:
            for feh in FEH:
                star = synthesize(teff, logg, feh, 0.0, *LIMITS, linelist=lines, step_kms=STEP_KMS, resolution=12_000)
                made[teff, logg, feh] = star.wave, star.flux
    return made


def write_ferre(path: Path, spectra, teff: tuple[float, ...]) -> str:
    """One FERRE file (vacuum, log λ, H_λ) of some of the temperatures."""
    wave = spectra[TEFF[0], LOGG[0], FEH[0]][0]
    header = f""" &SYNTH
 N_OF_DIM = 3
 N_P = {len(FEH)} {len(teff)} {len(LOGG)}
 NPIX = {len(wave)}
 LABEL(1) = 'METALS'
 LABEL(2) = 'TEFF'
 LABEL(3) = 'LOGG'
 LLIMITS = {FEH[0]} {teff[0]} {LOGG[0]}
 STEPS = 0.5 500. 0.5
 WAVE = {np.log10(wave[0]):.12f} {np.diff(np.log10(wave)).mean():.12e}
 LOGW = 1
 RESOLUTION = 12000
 VACUUM = 1
 /
"""
    rows = [
        " ".join(f"{value:.7E}" for value in spectra[t, logg, feh][1] / (4 * np.pi))
        for feh in FEH
        for t in teff
        for logg in LOGG
    ]
    path.write_text(header + "\n".join(rows) + "\n", encoding="utf-8")
    return str(path)


def write_table(folder: Path, spectra) -> str:
    """A CSV of labels and paths, one text file per spectrum."""
    lines = ["teff,logg,feh,afe,resolution,path"]
    for number, (label, star) in enumerate(spectra.items()):
        np.savetxt(folder / f"s{number}.txt", np.column_stack(star))
        lines.append(",".join(str(value) for value in (*label, 0.0, 12000, f"s{number}.txt")))
    (folder / "grid.csv").write_text("\n".join(lines) + "\n")
    return str(folder / "grid.csv")


@pytest.fixture(scope="module")
def mist_home(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("isochrones")
    fehs = (-0.5, -0.25, 0.0, 0.25, 0.5)
    *axes, provenance = analytic.build(feh=fehs)
    MIST["write_tree"](home, TrackGrid(*axes, provenance), fehs, (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4))
    return home


@pytest.mark.parametrize("source", ["ferre", "table"])
def test_mocks_are_made_from_own_grids(repository_copy, tmp_path, spectra, mist_home, source):
    if source == "ferre":
        files = [write_ferre(tmp_path / f"nsc{k}.dat", spectra, teff) for k, teff in enumerate((TEFF[:2], TEFF[2:]))]
    else:
        files = [write_table(tmp_path, spectra)]
    mine = {
        "preset": source,
        "tracks": {"source": "mist", "mist_dir": str(mist_home)},
        "library": {"source": source, "files": files, "resolution": 12000},
    }
    (repository_copy / f"{source}.yaml").write_text(yaml.safe_dump(mine))
    shard = f"results/{source}/lamost_mrs/mocks/test/shard000000.h5"
    own = ["--configfile", "tests/presets/tiny.yaml", f"{source}.yaml"]
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *own, "--", shard]
    environment = {**os.environ, "PYTHONPATH": str(repository_copy / "workflow/src")}
    done = subprocess.run(command, cwd=repository_copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    labels, about = read_mock_labels(repository_copy / shard), read_provenance(repository_copy / shard)
    assert len(labels["pair_id"]) == 100
    for star in (1, 2):
        assert np.all((labels[f"teff{star}"] >= TEFF[0]) & (labels[f"teff{star}"] <= TEFF[-1]))
    assert about["libraries"][0]["source"] == source
    assert "library_holes" not in about["counts"]  # every node was read
    assert np.all(labels["afe"] == 0)  # the grid's only [α/Fe]
    tracks = TrackGrid.load(repository_copy / "resources/tracks/mist.npz")
    assert tracks.provenance["source"] == "mist"
    again = tracks.evaluate(labels["m1"], labels["eep1"], labels["feh"])
    np.testing.assert_allclose(10 ** again[:, LOG_TEFF], labels["teff1"], rtol=1e-6)  # single precision in the shard
