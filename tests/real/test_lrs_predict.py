"""The released LRS models on real stars, files to table: half of the dwarfs calibrated, the other half is scored."""

import numpy as np
import pandas as pd
import pytest

from dioscuri.predict import predict


@pytest.fixture(scope="module")
def folder(real_data):
    return real_data / "lamost_lrs"


@pytest.fixture(scope="module")
def scored(folder):
    """Table of the F and G stars of DR10, with their labels and whether they calibrated."""
    table, _ = predict("lamost_lrs", [folder / "dr10_fg"])
    labels = pd.read_csv(folder / "dr10_fg/labels.csv")
    table["file"] = table["file"].str.split("/").str[-1]
    both = table.merge(labels, on="file", suffixes=("", "_lasp")).sort_values("file")
    dwarfs = both.index[both["kind"] == "dwarf"]
    both["calibrated"] = both.index.isin(dwarfs[::2])
    return both


def test_most_single_stars_are_single(scored):
    rows = scored[~scored["calibrated"] & (scored["kind"] == "dwarf") & scored["teff_lasp"].between(4300, 5650)]
    share = (rows["p"] > 0.5).mean()
    print(f"{len(rows)} dwarfs of 4300 to 5650 K: {share:.2f} with p > 0.5")
    assert 0.10 <= share <= 0.40
    assert (rows["verdict"] == "not counted").mean() < 0.15


def test_velocities_and_labels_agree_with_lasp(scored):
    rows = scored[(scored["kind"] == "dwarf") & (scored["verdict"] != "not counted")]
    off = rows["rv"] - rows["z"] * 299792.458
    assert abs(np.median(off)) < 4
    assert 1.48 * np.median(np.abs(off - np.median(off))) < 5
    assert abs(np.median(rows["teff"] - rows["teff_lasp"])) < 60
    assert abs(np.median(rows["feh"] - rows["feh_lasp"])) < 0.1


@pytest.mark.parametrize("kind", ["giant", "too_hot"])
def test_other_stars_are_not_counted(scored, kind):
    assert set(scored.loc[scored["kind"] == kind, "verdict"]) == {"not counted"}


def test_a_catalogue_tells_all_that_was_not_trained(folder):
    labels = folder / "dr10_fg/labels.csv"
    table, _ = predict("lamost_lrs", [folder / "dr10_fg"], catalogue=labels)
    kinds = pd.read_csv(labels).set_index("file")["kind"]
    kind = table["file"].str.split("/").str[-1].map(kinds)
    for foreign in ("giant", "too_hot", "metal_poor"):
        assert set(table["verdict"][kind == foreign]) == {"not counted"}, foreign
    assert table["status"][kind == "low_snr"].str.startswith("refused: S/N in the g band").all()


def test_every_release_is_read_or_refused_with_its_reason(folder):
    table, information = predict("lamost_lrs", [folder / name for name in ("dr1", "dr7", "dr8", "dr9", "early")])
    table["file"] = table["file"].str.split("/").str[-1]
    status = table.set_index("file")["status"]
    for number, found in (("008", "GALAXY"), ("039", "GALAXY"), ("045", "Unknown"), ("055", "S/N")):
        assert found in status[f"spec-58575-HD103621N361936B01_sp03-{number}.fits"]
    ok = table["status"] == "ok"
    assert ok.sum() > 40
    assert table["flags"][ok].str.contains("uncalibrated").all()  # the release that is calibrated is DR10
    assert information["uncalibrated"] == ok.sum()


def test_foreign_files_are_refused(real_data):
    table, _ = predict("lamost_lrs", [*(real_data / "other_instruments").glob("*.fits"),
                                      next((real_data / "lamost_mrs").glob("*.fits.gz"))])  # fmt: skip
    assert table["status"].str.startswith("refused: FITS of another instrument").all()
    assert table["status"].str.contains("lamost_mrs").any()
