"""`dioscuri predict --survey protostar`: what cannot be is refused before a catalogue is simulated or read."""

import numpy as np
import pytest
from astropy.io import fits

from dioscuri.cli import main


@pytest.fixture
def query(tmp_path, monkeypatch):
    """A map with a beam and coordinates, where no catalogue may be made."""
    header = fits.Header()
    for axis, kind, step in ((1, "RA---TAN", -1e-5), (2, "DEC--TAN", 1e-5)):
        values = {"CTYPE": kind, "CRVAL": 60.0, "CRPIX": 8.0, "CDELT": step, "CUNIT": "deg"}
        header.update({f"{name}{axis}": value for name, value in values.items()})
    header.update({"BUNIT": "Jy/beam", "BMAJ": 5e-5, "BMIN": 4e-5, "BPA": 0.0})
    path = tmp_path / "map [1].fits"
    fits.PrimaryHDU(np.random.default_rng(1).random((16, 16)), header).writeto(path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "no.fits").write_bytes(b"nothing")
    monkeypatch.chdir(tmp_path)

    def work(*_, **__):
        raise AssertionError("the work has begun")

    monkeypatch.setattr("dioscuri.predict.protostar.embedded_catalogue", work)
    monkeypatch.setattr("dioscuri.predict.protostar.measure_catalogue", work)
    return str(path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "the distance is missing"),
        (["--distance", "0"], "--distance: found 0"),
        (["--distance", "140", "--zoom", "nan"], "--zoom: found nan"),
        (["--distance", "140", "--top", "0"], "--top: found 0"),
        (["--distance", "140", "--largest-scale", "-1"], "--largest-scale: found -1"),
        (["--distance", "140", "--calibration-error", "2"], "--calibration-error: found 2"),
        (["--distance", "140", "--antennas", "nowhere.cfg"], "--antennas: nowhere.cfg: no such file"),
        (["--distance", "140", "--network", "vgg"], "--network: found 'vgg'; accepted: random_cnn"),
        (["--distance", "140", "--weights", "nowhere.pt"], "--weights: nowhere.pt: no such file"),
        (["--distance", "140", "--channel", "co"], "--channel: found 'co'; accepted with this catalogue: continuum"),
        (["--distance", "140", "--catalogue", "empty"], "the folder holds no file that ends in .h5, .hdf5"),
        (["--distance", "140", "--catalogue", "shard*.h5"], "shard*.h5: no file matches this pattern"),
        (["--distance", "140", "-o", "map [1].fits"], "one of the inputs"),
        (["--distance", "140", "-o", "ranking.txt"], ".csv, .fits, .parquet"),
    ],
)
def test_what_cannot_be_is_refused_before_the_work(query, capsys, options, said):
    assert main(["predict", "--survey", "protostar", query, *options]) == 2
    assert said in capsys.readouterr().err


def test_one_map_that_can_be_read_is_taken(query, capsys):
    assert main(["predict", "--survey", "protostar", query, "no.fits", "--distance", "140"]) == 2
    assert "found 2 maps" in capsys.readouterr().err
    assert main(["predict", "--survey", "protostar", "no.fits", "--distance", "140"]) == 2
    error = capsys.readouterr().err
    assert "no.fits" in error and "Traceback" not in error
