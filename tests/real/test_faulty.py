"""Real files made faulty: each is refused or flagged for what it is, and its good exposures are scored."""

import numpy as np
import pytest

from dioscuri.cli import main
from dioscuri.flags import Refusal
from dioscuri.predict import predict

REASONS = {
    "flux_block_constant_6.fits": ("84454650", "red", Refusal.COPIED_PIXELS),
    "ivar_scaled_8.fits": ("84447465", "red", Refusal.BAD_ERRORS),
    "rows_missing_inside_8.fits": ("84447488", "blue", Refusal.BAD_GRID),
}


@pytest.fixture(scope="module")
def table(real_data):
    found, _ = predict("lamost_mrs", [str(real_data / "faulty")], draws=4)
    return found.assign(name=[file.rsplit("/", 1)[-1] for file in found["file"]])


@pytest.mark.parametrize("name", REASONS)
def test_the_faulty_arm_is_refused_and_the_others_scored(table, name):
    minute, arm, reason = REASONS[name]
    rows = table[table["name"] == name]
    bad = (rows["exposure"] == int(minute)) & (rows["arm"] == arm)
    assert rows["status"][bad].tolist() == [f"refused: {reason.value}"]
    assert len(rows) == 8 and (rows["status"][~bad] == "ok").all() and np.isfinite(rows["p50"][~bad]).all()


def test_exposures_that_were_cut_off_are_missed(table):
    rows = table[table["name"] == "cut_between_hdus_0.fits"]
    scored = rows[rows["status"] == "ok"]
    assert len(scored) == 7 and scored["flags"].str.contains("incomplete_file").all()
    refused = f"refused: {Refusal.INCOMPLETE.value}: N_EXTEN = 11, found 10; NEXP_R = 4, found 3"
    assert refused in rows["status"].tolist()


def test_a_late_night_is_scored_like_the_night_that_it_was_made_of(table, real_data):
    late = table[table["name"] == "night_of_2026-11-27.fits"]
    assert (late["status"] == "ok").all() and np.isfinite(late["bjdmid"]).all()
    assert late["flags"].str.contains("unsure_date").all(), "LMJM says 2026, LMJD 2018"
    original, _ = predict("lamost_mrs", [str(real_data / "lamost_mrs/med-58149-HIP265740401_sp09-191.fits")], draws=4)
    # Noise is drawn anew for another exposure.
    np.testing.assert_allclose(late["p50"], original["p50"], atol=0.1)


def test_maps_of_protostars_are_no_spectra(table):
    rows = table[table["name"].isin(["constant.fits", "moment1_cold.fits"])]
    assert rows["status"].str.startswith(f"refused: {Refusal.FOREIGN.value}").tolist() == [True, True]


STAMPS = ("--psf", "images/csst_psf_9999.fits", "--psf-oversampling", "1", "--noise", "3")
COMMANDS = [
    ("protostar", "faulty/constant.fits", ("--distance", "140"), "nothing on the map"),
    ("protostar", "faulty/moment1_cold.fits", ("--distance", "140"), "found velocities"),
    ("protostar", "faulty/ivar_scaled_8.fits", ("--distance", "140"), "no image"),
    ("hst", "psf/j8bt06nyq_sip_flt.fits", (), "no ERR and no DQ"),
    ("hst", "psf/sample_ipppssoot_flt.fits", (), "a rate"),
    ("hst", "faulty/ivar_scaled_8.fits", (), "refused"),
    ("csst", "faulty/ivar_scaled_8.fits", STAMPS, "no image"),
    ("csst", "faulty/constant.fits", STAMPS, "refused"),
    ("lamost_lrs", "other_instruments", (), Refusal.FOREIGN.value),
    ("lamost_lrs", "faulty/ivar_scaled_8.fits", (), "give it to survey lamost_mrs"),
    ("lamost_mrs", "other_instruments", (), Refusal.FOREIGN.value),
]


@pytest.mark.parametrize(("survey", "name", "options", "said"), COMMANDS)
def test_what_is_of_another_kind_ends_in_a_line_of_ours(real_data, capsys, survey, name, options, said):
    """Through the whole command line: a status, the file's name, what was found; no traceback, no library's words."""
    given = [str(real_data / option) if "/" in option else option for option in options]
    assert main(["predict", "--survey", survey, str(real_data / name), *given]) in (1, 2)
    printed = capsys.readouterr()
    told = " ".join((printed.out + printed.err).split())
    assert said in told and ".fits" in told
    assert not [word for word in ("Traceback", "astropy", "numpy", "object has no attribute") if word in told]
