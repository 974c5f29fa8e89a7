"""Every real LAMOST file at hand: read whole, or refused for what it is."""

import csv

import numpy as np
import pytest

from dioscuri.flags import Refusal
from dioscuri.lamost.dates import barycentric_date
from dioscuri.lamost.fits_units import RefusedFile
from dioscuri.lamost.mrs_files import read_mrs

# file: single exposures per arm, first and last wavelength of the first blue exposure as the file's own
# column has it
FILES = {
    "med-58149-HIP265740401_sp09-191.fits": (3, 4927.06),
    "med-58268-HIP95119KP01_sp12-076.fits.gz": (9, 4899.75),
    "med-58269-HIP95119KP01_sp12-076.fits.gz": (5, 4899.76),
    "med-58270-HIP95119KP01_sp12-076.fits.gz": (4, 4899.78),
    "med-58440-NT222300N571704C01_sp06-029.fits": (3, 4898.40),
    "med-58440-NT222300N571704C01_sp11-073.fits": (3, 4906.48),
    "med-58625-TD192102N424113K01_sp12-076.fits.gz": (3, 4898.04),
    "med-58644-TD192102N424113K01_sp12-076.fits.gz": (4, 4898.51),
}


@pytest.mark.parametrize("name", FILES)
def test_every_medium_resolution_file_reads(real_data, name):
    n_exposures, first = FILES[name]
    file = read_mrs(real_data / "lamost_mrs" / name)
    singles = [e for e in file.exposures if not e.is_coadd]
    assert len(singles) == 2 * n_exposures and len(file.exposures) == len(singles) + 2
    assert name.startswith(f"med-{file.lmjd}-{file.planid}_sp{file.spid:02d}-{file.fiberid:03d}")
    assert file.designation.startswith("LAMOST J") and file.fiber_type == "Obj"
    for exposure in file.exposures:
        assert np.all(np.diff(exposure.wave) > 0) and np.all(np.isfinite(exposure.flux))
        assert exposure.is_coadd or len(exposure.wave) == 4136
    assert singles[0].wave[0] == pytest.approx(first, abs=0.01)


def test_low_resolution_files_and_images_are_foreign(real_data):
    paths = sorted(real_data.glob("lamost_lrs/**/*.fits*"))
    assert len(paths) >= 50
    for path in [*paths, real_data / "images" / "alma_tmc1a_1.3mm.fits"]:
        with pytest.raises(RefusedFile) as caught:
            read_mrs(path)
        assert caught.value.reason is Refusal.FOREIGN
        assert ("lamost_lrs" if path in paths else "ALMA") in caught.value.detail


def test_barycentric_dates_of_kic_8098300(real_data):
    with open(real_data / "kic8098300_mrs_expected.csv", encoding="utf-8") as stream:
        rows = list(csv.DictReader(line for line in stream if not line.startswith("#")))
    assert len(rows) == 25
    for row in rows:
        file = read_mrs(real_data / "lamost_mrs" / row["file"])
        (exposure,) = [e for e in file.exposures if (e.lmjm, e.arm) == (int(row["lmjm"]), "blue")]
        assert exposure.exptime == float(row["exptime_s"]) and exposure.snr == pytest.approx(
            float(row["snr_B"]), abs=0.01
        )
        (date,) = barycentric_date(np.array([exposure.mjd_mid]), np.array([file.ra]), np.array([file.dec]))
        # the table is rounded to 1e-6 d = 0.09 s
        assert abs(date - float(row["bjd_tdb_mid"])) * 86400 < 0.1


def test_dr9_starts_are_known_to_the_second(real_data):
    """LMJM is cut to the minute: the seconds of DATE-BEG come on top, never off."""
    file = read_mrs(real_data / "lamost_mrs" / "med-58149-HIP265740401_sp09-191.fits")
    blue = [e for e in file.exposures if e.arm == "blue" and not e.is_coadd]
    starts = [(e.mjd_mid + 8 / 24 - 0.5 * e.exptime / 86400 - e.lmjm / 1440) * 86400 for e in blue]
    np.testing.assert_allclose(starts, [52, 15, 37], atol=0.01)
