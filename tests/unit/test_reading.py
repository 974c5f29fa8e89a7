"""What others made is read in bounds, from the file itself, and refused in our own words with its name."""

import gzip
import os

import h5py
import numpy as np
import pandas as pd
import pytest

from dioscuri.catalogs.lrs_table import read_catalogue
from dioscuri.catalogs.user_table import read_stars
from dioscuri.io import open_hdf5
from dioscuri.libraries.tabulated import read_spectrum
from dioscuri.reading import content, own_dataset, reading, require_equal_rows


def test_a_librarys_words_stay_behind_and_ours_are_told(tmp_path):
    path = tmp_path / "x.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200))
    with pytest.raises(ValueError, match=r"^\S+x\.h5: not an HDF5 file, or a damaged one$"):
        open_hdf5(path)
    with pytest.raises(ValueError, match=r"x\.h5: damaged, or of another kind \(line 3\); accepted: stars$"):
        with reading(path, "stars"):
            raise RuntimeError("internal buffer 0x7f at line 3")
    with pytest.raises(ValueError, match=r"x\.h5: 'flux' is not in it; accepted: stars$"):
        with reading(path, "stars"):
            {}["flux"]


def test_pipes_empty_files_and_bombs_are_refused(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(bytes(3_000_000)))
    with open(tmp_path / "sparse", "wb") as stream:
        stream.truncate(40 * 2**30)
    monkeypatch.setattr("dioscuri.reading.LARGEST", 2**20)
    for name, said in (
        ("pipe", "regular"),
        ("empty", "empty"),
        ("bomb.gz", "gzip data hold more"),
        ("sparse", "bytes"),
    ):
        with pytest.raises(ValueError, match=f"{name}: .*{said}"):
            with reading(tmp_path / name, "stars"):
                content(tmp_path / name)


@pytest.mark.parametrize("kind", ["external", "link", "soft", "virtual", "group"])
def test_hdf5_that_leads_elsewhere_is_not_followed(tmp_path, kind):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(8 * 100))
    with h5py.File(tmp_path / "stamps.h5", "w") as stream:
        if kind == "external":
            stream.create_dataset("stamps", (5, 4, 5), "f8", external=[(str(secret), 0, h5py.h5f.UNLIMITED)])
        elif kind == "link":
            stream["stamps"] = h5py.ExternalLink(str(secret), "x")
        elif kind == "soft":
            stream["stamps"] = h5py.SoftLink("/nowhere")
        elif kind == "virtual":
            layout = h5py.VirtualLayout((5,), "f8")
            layout[:] = h5py.VirtualSource(str(secret), "x", (5,))
            stream.create_virtual_dataset("stamps", layout)
        else:
            stream.create_group("stamps")
    with open_hdf5(tmp_path / "stamps.h5") as stream, pytest.raises(ValueError, match="stamps"):
        own_dataset(stream, "stamps")


# --- tables ------------------------------------------------------------------------------------------------

GOOD = "obsid,ra,dec,teff\n1,10.0,20.0,5000\n2,11.0,21.0,5100\n"
BAD = {
    "field missing": (GOOD.replace("11.0,21.0,5100", "11.0"), "line 3 has 2 fields, the header 4"),
    "decimal comma": (GOOD.replace("21.0", "21,5"), "line 3 has 5 fields"),
    "text": (GOOD.replace("21.0", "2l.0"), "no numbers"),
    "broken identifier": (GOOD.replace("\n2,", "\n2.7,"), "whole numbers expected"),
    "negative identifier": (GOOD.replace("\n2,", "\n-2,"), "identifiers from 0"),
    "no sense": (GOOD.replace("21.0", "210"), "-90 to 90"),
    "web page": ("<!DOCTYPE html>" + GOOD, "no CSV"),
}


@pytest.mark.parametrize("reader", [read_stars, read_catalogue])
@pytest.mark.parametrize("kind", BAD)
def test_tables_that_say_something_else_are_refused(tmp_path, reader, kind):
    text, said = BAD[kind]
    (path := tmp_path / "mine.csv").write_text(text)
    with pytest.raises(ValueError, match=f"(?s)mine.csv.*{said}"):
        reader(path)


@pytest.mark.parametrize("reader", [read_stars, read_catalogue])
def test_unknown_numbers_in_their_usual_words_are_taken(tmp_path, reader):
    (path := tmp_path / "mine.csv").write_text(
        GOOD.replace("21.0", "N/A").replace("5100", "") + "# the end\n3,1,2,--\n"
    )
    found = reader(path)
    assert len(found) == 3 and np.isnan(found["dec"].iloc[1])


@pytest.mark.parametrize("reader", [read_stars, read_catalogue])
def test_truth_values_are_no_numbers(tmp_path, reader):
    pd.DataFrame({"obsid": [1, 2], "ra": [True, False], "dec": [1.0, 2.0]}).to_parquet(
        path := tmp_path / "mine.parquet"
    )
    with pytest.raises(ValueError, match=r"(?s)mine\.parquet.*no numbers"):
        reader(path)


def test_trailing_commas_are_no_fields(tmp_path):
    (path := tmp_path / "mine.csv").write_text("a,b\n1,2,\n3,4,\n")
    require_equal_rows(path)


def test_a_hole_in_a_spectrum_is_seen_and_another_sampling_is_not(tmp_path):
    wave = np.concatenate([np.arange(5000.0, 5100.0, 0.1), np.arange(5100.0, 5300.0, 0.9)])
    np.savez(tmp_path / "s.npz", wave=wave, flux=np.ones(len(wave)))
    assert len(read_spectrum(tmp_path / "s.npz")[0]) == len(wave)
    keep = np.ones(len(wave), bool)
    keep[300:330] = False
    np.savez(tmp_path / "s.npz", wave=wave[keep], flux=np.ones(keep.sum()))
    with pytest.raises(ValueError, match=r"nothing between 5029\.90 and 5033\.00 Å: pixels are missing"):
        read_spectrum(tmp_path / "s.npz")
