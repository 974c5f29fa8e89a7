"""`make demo` end to end: what the catalogue, the checks and the report say about a night whose stars are known."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table

from dioscuri.flags import Quality, Refusal
from dioscuri.lamost.simulated_stars import IMPOSTORS
from dioscuri.learn.metrics import auc

pytestmark = pytest.mark.workflow
COMMAND = ["--configfile", "config/demo.yaml", "--profile", "profiles/local"]
BROKEN = {
    "truncated": {Refusal.TRUNCATED},
    "foreign": {Refusal.FOREIGN},
    "nan": {Refusal.NOT_FINITE},
    "empty": {Refusal.EMPTY, Refusal.LOW_SNR},
}
COADD = -1  # how truth and refusals number co-added spectra, which have no minute of their own


def snakemake(root: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "snakemake", *COMMAND, *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def demo(root: Path) -> Path:
    """The folder that the demo has filled; what an earlier run left is used where it is up to date."""
    snakemake(root, "demo")
    return root / "results/demo/lamost_mrs"


@pytest.fixture(scope="module")
def truth(demo: Path) -> pd.DataFrame:
    # One kind of broken file is called "nan", which is no missing value there.
    return pd.read_csv(demo / "night/truth.csv", comment="#", converters={"kind": str})


@pytest.fixture(scope="module")
def catalog(demo: Path) -> Table:
    return Table.read(demo / "catalogs/mrs.fits")


@pytest.fixture(scope="module")
def scored(catalog: Table, truth: pd.DataFrame) -> pd.DataFrame:
    """Catalogue and truth side by side: the medians of the probabilities, velocities and what is true."""
    columns = {name: np.asarray(catalog[name]) for name in ("snr_B", "snr_R", "rv_obs_B", "rv_obs_R", "flags_B")}
    for arm in "BR":
        columns[f"p50_{arm}"] = np.asarray(catalog[f"pb_pct_{arm}_16"])[:, 2]
    columns["file"] = np.asarray(catalog["file"]).astype(str)
    columns["exposure"] = np.ma.filled(catalog["lmjm"], COADD)
    table = pd.DataFrame({name: values.astype(values.dtype.newbyteorder("=")) for name, values in columns.items()})
    return table.merge(truth, on=["file", "exposure"], how="left", validate="one_to_one")


def keys(table: pd.DataFrame) -> set[tuple[str, int]]:
    return set(zip(table["file"], table["exposure"]))


def test_every_exposure_is_in_the_catalogue_or_among_the_refused(demo, truth, scored):
    refused = pd.read_parquet(demo / "ingest/rejected.parquet")
    assert len(keys(scored)) == len(scored)
    assert keys(scored).isdisjoint(keys(refused))
    assert keys(scored) | keys(refused) == keys(truth)
    assert set(scored["kind"]) == {"sb2", "single", *IMPOSTORS}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_files_are_refused_for_what_they_are(demo, truth, kind):
    refused = pd.read_parquet(demo / "ingest/rejected.parquet")
    rows = refused.merge(truth[truth["kind"] == kind], on=["file", "exposure"])
    assert len(rows) == (truth["kind"] == kind).sum() >= 1
    assert set(rows["reason"]) <= {reason.value for reason in BROKEN[kind]}


def test_catalogue_is_table_4_with_units(catalog):
    assert catalog.colnames[:4] == ["obsid", "lmjm", "bjdmid", "lmjd"]
    assert {str(catalog[name].unit) for name in catalog.colnames if name.startswith("rv_obs")} == {"km / s"}
    assert (str(catalog["ra"].unit), str(catalog["rv_teff_B"].unit)) == ("deg", "K")
    for arm in "BR":
        for penalty in (8, 16, 32):
            percentiles = np.asarray(catalog[f"pb_pct_{arm}_{penalty}"])
            scored = np.isfinite(percentiles).all(axis=1)
            assert percentiles.shape[1] == 5
            assert np.all(np.diff(percentiles[scored], axis=1) >= 0)
            assert percentiles[scored].min() >= 0 and percentiles[scored].max() <= 1
            np.testing.assert_array_equal(scored, catalog[f"specflag_{arm}"])


def test_one_star_is_one_source_over_nights_and_designations(demo, catalog, truth):
    table = pd.DataFrame({name: np.asarray(catalog[name]).astype(str) for name in ("file", "source_id", "designation")})
    objects = table.merge(truth[["file", "object"]].drop_duplicates(), on="file").groupby("object")
    assert (objects["source_id"].nunique() == 1).all()
    assert (objects["designation"].nunique() > 1).any()
    refused = pd.read_parquet(demo / "ingest/rejected.parquet")
    assert (refused["reason"] == Refusal.DUPLICATE).sum() >= 1


def test_more_penalty_means_fewer_binaries(catalog):
    for arm in "BR":
        medians = [np.nanmean(np.asarray(catalog[f"pb_pct_{arm}_{penalty}"])[:, 2]) for penalty in (8, 16, 32)]
        assert medians[0] > medians[1] > medians[2]


def test_velocities_of_single_stars_are_right(scored):
    """Slowly rotating dwarfs above S/N 10: half a km/s is 1/80 of the resolution element, 5 km/s an eighth."""
    slow = scored[(scored["kind"] == "single") & (scored["snr_B"] > 10) & (scored["vsini1"] < 40)]
    assert len(slow) >= 10
    error = (slow["rv_obs_B"] - slow["v1"]).abs()
    assert error.median() < 0.5
    assert error.max() < 5.0


def test_resolved_binaries_stand_out(scored):
    """An hour of training tells well-exposed pairs 80 km/s apart from single stars; minutes must do so by rank."""
    good = scored[(scored["snr_B"] > 15) & ((scored["kind"] == "single") | (scored["dv"].abs() > 80))]
    binary = (good["kind"] == "sb2").to_numpy()
    assert binary.sum() >= 10 and (~binary).sum() >= 10
    assert auc(good["p50_B"].to_numpy(), binary.astype(int)) > 0.9


def test_candidates_keep_the_cuts(demo, catalog):
    candidates = Table.read(demo / "catalogs/candidates.fits", hdu="CANDIDATES")
    assert len(candidates) < len(catalog)
    for arm in "BR":
        assert np.all(np.asarray(candidates[f"pb_pct_{arm}_16"])[:, 0] > 0.5)
        assert np.all(candidates[f"npixbad_{arm}"] < 100)
        assert not np.any(np.asarray(candidates[f"flags_{arm}"]) & (Quality.LOW_SNR | Quality.MISSING_ARM))


def test_checks_stand_beside_the_paper(demo):
    checks = {check["name"]: check for check in json.loads((demo / "checks.json").read_text())}
    assert all(
        set(check) == {"name", "value", "error", "unit", "paper", "bound", "passed"} for check in checks.values()
    )
    assert checks["blue.lambda16.tpr"]["paper"] == pytest.approx(0.36, abs=0.001)  # Table 3
    for arm in ("blue", "red"):
        for penalty in (8, 16, 32):
            assert checks[f"{arm}.lambda{penalty}.auc"]["passed"]


def test_report_shows_every_figure_with_a_caption(root, demo, tmp_path):
    snakemake(root, "--report", str(tmp_path / "report.zip"), "--", "demo")
    with zipfile.ZipFile(tmp_path / "report.zip") as report:
        names = [Path(name).name for name in report.namelist()]
        page = report.read("report/report.html").decode()
    figures = {path.name for path in (demo / "figures").glob("*.png")}
    assert len(figures) == 20
    assert figures <= set(names)
    for words in ("Table 3 of the paper", "Fig. 7 of the paper", "The simulated night against its truth"):
        assert words in page


def test_nothing_is_left_to_do(root, demo):
    assert "Nothing to be done" in snakemake(root, "--dry-run", "demo")
