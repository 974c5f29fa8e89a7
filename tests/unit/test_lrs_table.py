"""The catalogue of LRS spectra: mapped columns, units, keys, and one error for all mistakes."""

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table

from dioscuri.catalogs.lrs_catalog import COLUMNS, FORMATS, print_hosts, sexagesimal, write_catalog
from dioscuri.catalogs.lrs_table import match, read_catalogue


def table(**columns) -> pd.DataFrame:
    return pd.DataFrame({"obsid": [5, 6, 7], "teff": [5000.0, -9999.0, 4500.0], "k_m": [9.1, 9.2, 9.3]} | columns)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".fits"])
def test_columns_by_usual_names_and_by_mapping(tmp_path, suffix):
    path = tmp_path / f"stars{suffix}"
    rows = table(reddening=[0.1, 0.2, 0.3])
    if suffix == ".csv":
        rows.to_csv(path, index=False)
    elif suffix == ".parquet":
        rows.to_parquet(path)
    else:
        Table.from_pandas(rows).write(path)
    found = read_catalogue(path, {"ebv": "reddening"}, needed=("teff", "ks"))
    assert found["ks"].tolist() == [9.1, 9.2, 9.3]
    assert found["ebv"].tolist() == [0.1, 0.2, 0.3]
    assert np.isnan(found["teff"][1])
    assert found["parallax"].isna().all()
    rows = match(found, np.array([7, 8, 5]), ["a", "b", "c"])
    assert rows["teff"].tolist()[::2] == [4500.0, 5000.0]
    assert rows["matched"].tolist() == [True, False, True]


def test_units_of_fits_columns_are_converted(tmp_path):
    rows = Table({"obsid": [1], "distance": [0.5]})
    rows["distance"].unit = "kpc"
    rows.write(tmp_path / "stars.fits")
    assert read_catalogue(tmp_path / "stars.fits")["distance"][0] == pytest.approx(500)


def test_all_mistakes_at_once(tmp_path):
    path = tmp_path / "stars.csv"
    table(obsid=[5, 5, 7], teff=[5.0, 5.1, 5.2]).to_csv(path, index=False)
    with pytest.raises(ValueError, match="parallax") as caught:
        read_catalogue(path, {"ks": "absent", "colour": "k_m"}, needed=("parallax",))
    text = str(caught.value)
    for part in ("'obsid': 1 values stand in several rows, first 5", "'teff' (for teff): 3 of 3 values like 5",
                 "'absent' (for ks): not there", "'colour': no name of ours", "no column parallax"):  # fmt: skip
        assert part in text, part
    assert all(line.startswith(str(path)) for line in text.splitlines())


def test_a_key_is_needed_and_floats_lose_identifiers(tmp_path):
    path = tmp_path / "stars.csv"
    pd.DataFrame({"teff": [5000.0]}).to_csv(path, index=False)
    with pytest.raises(ValueError, match="no column obsid or file"):
        read_catalogue(path)
    pd.DataFrame({"obsid": [1], "source_id": [1.5e18]}).to_parquet(tmp_path / "stars.parquet")
    with pytest.raises(ValueError, match="lost digits"):
        read_catalogue(tmp_path / "stars.parquet")


def scored(obsid: list[int], source: list[int], p: list[float]) -> pd.DataFrame:
    rows = pd.DataFrame({"obsid": obsid, "source_id": source, "p": p, "flags": 0, "release": "SIMULATED"})
    rows = rows.assign(ra=59.7731, dec=30.61956)
    for name, form in FORMATS:
        if form in "DE" and name not in rows and name not in ("p_b", "p_max", "p_median"):
            rows[name] = 1.0
    return rows


def test_the_catalogue_is_the_same_in_both_formats_and_knows_visits(tmp_path):
    shards = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
    scored([1, 2], [10, 11], [0.2, 0.9]).to_parquet(shards[0])
    scored([3, 4], [10, 0], [0.6, 0.1]).to_parquet(shards[1])
    assert write_catalog(shards, tmp_path / "c.fits", tmp_path / "c.parquet", trained=[11]) == 4
    one, two = Table.read(tmp_path / "c.fits", hdu=1).to_pandas(), pd.read_parquet(tmp_path / "c.parquet")
    assert list(one) == list(two) == [name for name, _ in FORMATS]
    assert one["p_b"].tolist() == pytest.approx(two["p_b"].tolist())
    assert two["n_obs"].tolist() == [2, 1, 2, 1]
    assert two["p_max"].tolist() == [0.6, 0.9, 0.6, 0.1]
    assert two["in_training"].tolist() == [False, True, False, False]


def test_coordinates_are_printed_as_in_table_1():
    hms, dms = sexagesimal(np.array([59.7731, 359.99999]), np.array([30.61956, -0.5]))
    assert hms.tolist() == ["03:59:05.54", "00:00:00.00"]
    assert dms.tolist() == ["+30:37:10.4", "-00:30:00.0"]


def test_units_and_meanings_are_read_back_and_hosts_are_printed(tmp_path):
    scored([1, 2, 3], [10, 11, 12], [0.7, 0.9, 0.2]).to_parquet(tmp_path / "0.parquet")
    write_catalog([tmp_path / "0.parquet"], tmp_path / "c.fits", tmp_path / "c.parquet")
    read = Table.read(tmp_path / "c.fits", hdu=1)
    assert [read[c.name].description for c in COLUMNS] == [c.description for c in COLUMNS]
    assert str(read["rv"].unit) == "km / s"
    hosts = pd.DataFrame({"hostname": ["K-1", "K-2", "K-3"], "gaia": [11, 12, 99], "sy_snum": [1, 2, 1]})
    hosts.to_csv(tmp_path / "hosts.csv", index=False)
    catalog = tmp_path / "c.parquet"
    print_hosts(catalog, tmp_path / "hosts.csv", tmp_path / "t2.csv", {"source_id": "gaia"})
    lines = (tmp_path / "t2.csv").read_text().splitlines()
    assert lines[0] == "hostname,LAMOST-DR10-obsid,Gaia-DR3-source_id,RA,DEC,p_b,snrg,sy_snum"
    assert lines[1:] == ["K-1,2,11,03:59:05.54,+30:37:10.4,0.900,1.0,1"]
    with pytest.raises(ValueError, match="no column source_id"):
        print_hosts(catalog, tmp_path / "hosts.csv", tmp_path / "t2.csv")
