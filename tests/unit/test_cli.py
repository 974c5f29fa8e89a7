"""The command line: what people type, what they get, and what wrong input is answered with."""

import numpy as np
import pytest

from dioscuri.cli import main


def test_track_prints_the_zams_sun(capsys):
    assert main(["track", "--mass", "1.0", "--feh", "0.0", "--eep", "202"]) == 0
    comment, header, row = capsys.readouterr().out.splitlines()
    star = dict(zip(header.split(","), map(float, row.split(","))))
    assert comment.startswith("# tracks: embedded")
    # MIST v1.2 at EEP 202, 1 Msun: 5707 K, log g 4.5456; the analytic tracks agree to 120 K.
    assert star["teff"] == pytest.approx(5707, abs=120)
    assert star["logg"] == pytest.approx(4.5456, abs=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["track", "--mass", "1"], "exactly one of --eep and --age"),
        (["track", "--mass", "50", "--eep", "300"], "mass"),
        (["track", "--mass", "1", "--eep", "300", "--source", "mist", "--mist-dir", "nowhere"], "nowhere"),
        (["spectrum", "--teff", "90000", "--logg", "4"], "teff"),
        (["spectrum", "--teff", "5700", "--logg", "4", "--wave-min", "5300", "--wave-max", "5000"], "wave_min"),
        (["predict", "--survey", "sdss", "x.fits"], "lamost_mrs"),
        (["predict", "--survey", "lamost_mrs", "no/such/file.fits"], "no/such"),
        (["check-config", "no/such/file.yaml"], "no/such/file.yaml"),
    ],
)
def test_mistakes_are_one_line_and_status_2(arguments, message, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_spectrum_is_normalised_csv_and_shifts_by_its_velocity(capsys):
    limits = ["--wave-min", "5165", "--wave-max", "5205"]
    spectra = []
    for rv in ("0", "100"):
        assert main(["spectrum", "--teff", "5777", "--logg", "4.44", "--rv", rv, *limits]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "wavelength_vacuum_A,flux_erg_s_cm2_A,normalised_flux"
        spectra.append(np.array([list(map(float, line.split(","))) for line in lines[1:]]))
    rest, moved = spectra
    assert 0 < rest[:, 2].min() < 0.5  # Mg b
    assert rest[:, 2].max() < 1.02
    # 100 km/s moves Mg b (5185.05 Å in vacuum) by 1.730 Å; a pixel is 0.11 Å.
    deepest = [s[s[:, 0] > 5180][np.argmin(s[s[:, 0] > 5180][:, 2]), 0] for s in (rest, moved)]
    assert deepest[1] - deepest[0] == pytest.approx(1.730, abs=0.12)


def test_settings_of_the_repository_are_right(capsys, root):
    for preset in ("demo", "reference", "release"):
        assert main(["check-config", str(root / "config" / f"{preset}.yaml")]) == 0
        assert preset in capsys.readouterr().out
