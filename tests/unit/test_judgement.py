"""Exposures that cannot be what they say are masked, each for its own reason; good neighbours are kept."""

from dataclasses import replace

import numpy as np
import pytest

from dioscuri.flags import Quality, Refusal
from dioscuri.lamost.exposures import COADD, Exposure
from dioscuri.lamost.files import ObservedFile
from dioscuri.lamost.mrs_files import read_mrs
from dioscuri.lamost.mrs_writer import write_mrs_file
from dioscuri.lamost.telescope import DETECTORS, coadd, observe

LMJM = 84_700_560
OBSID = 999_901_002


def single(arm: str, lmjm: int = LMJM, snr: float = 40.0) -> Exposure:
    """A featureless star through the simulated spectrograph."""
    detector = DETECTORS[arm]
    wave = detector.pixels(-11.0)
    rng = np.random.default_rng(lmjm)
    flux, ivar, mask, _ = observe(detector.throughput(), detector, snr, rng)
    mjd = lmjm / 1440 - 1 / 3 + 600 / 86400
    name = f"{arm[0].upper()}-{lmjm}"
    measured = float(np.median((flux * np.sqrt(ivar))[~mask]))
    return Exposure(name, arm, lmjm, mjd, 1200.0, measured, wave, flux, ivar, mask)


def night(n: int = 3, **facts) -> ObservedFile:
    exposures = [single(arm, LMJM + 24 * i) for i in range(n) for arm in ("blue", "red")]
    coadds = [coadd(parts, [e.flux for e in parts]) for parts in (exposures[::2], exposures[1::2])]
    return ObservedFile(**{
        "path": None, "obsid": OBSID, "designation": "LAMOST J192000.00+430000.0", "object_name": "x", "gaia_id": 0,
        "ra": 290.0, "dec": 43.0, "planid": "P", "spid": 1, "fiberid": 2, "lmjd": 58820, "fiber_type": "Obj",
        "object_type": "Star", "data_version": "DR7", "helio_rv": -11.0, "magnitudes": {},
        "exposures": (*exposures, *coadds), **facts,
    })  # fmt: skip


def read(tmp_path, file: ObservedFile, edit=None, layout: str = "loglam") -> ObservedFile:
    path = tmp_path / f"med-{file.lmjd}-P_sp01-002.fits"
    write_mrs_file(path, file, layout)
    if edit is not None:
        path.write_bytes(edit(path.read_bytes()))
    return read_mrs(path)


def changed(file: ObservedFile, name: str, **columns) -> ObservedFile:
    """The file with some columns of one exposure replaced."""
    exposures = [replace(e, **columns) if e.name == name else e for e in file.exposures]
    return replace(file, exposures=tuple(exposures))


@pytest.mark.parametrize("layout", ["loglam", "wavelength"])
def test_a_sound_file_has_no_fault_and_no_flag(tmp_path, layout):
    found = read(tmp_path, night(), layout=layout)
    assert len(found.exposures) == 8 and not found.lost
    assert not [e.fault for e in found.exposures if e.fault] and not any(e.flags for e in found.exposures)


def without_rows(e: Exposure, keep: np.ndarray) -> dict:
    return {name: getattr(e, name)[keep] for name in ("wave", "flux", "ivar", "mask")}


def step_back(e: Exposure) -> dict:
    wave = e.wave.copy()
    wave[2000:2010] = wave[1990:2000]
    return {"wave": wave}


def constant(e: Exposure) -> dict:
    flux = e.flux.copy()
    flux[1000:1200] = flux[1000]
    return {"flux": flux}


def copied(e: Exposure) -> dict:
    flux = e.flux.copy()
    flux[3000:3300] = flux[1000:1300]
    return {"flux": flux}


def moved(e: Exposure) -> dict:
    flux = e.flux.copy()
    flux[1005:1305] = e.flux[1000:1300]
    return {"flux": flux}


PIXELS = np.arange(4136)
FAULTS = {
    "rows missing inside": (lambda e: without_rows(e, (PIXELS < 1000) | (PIXELS > 1800)), Refusal.BAD_GRID),
    "every other row": (lambda e: without_rows(e, PIXELS % 3 == 0), Refusal.BAD_GRID),
    "stepping back": (step_back, Refusal.BAD_GRID),
    "repeated": (lambda e: {"wave": e.wave[PIXELS - PIXELS % 2]}, Refusal.BAD_GRID),
    "stretched": (lambda e: {"wave": e.wave[0] + 1.02 * (e.wave - e.wave[0])}, Refusal.BAD_GRID),
    "shifted by 100 km/s": (lambda e: {"wave": e.wave * (1 + 100 / 299792.458)}, Refusal.BAD_GRID),
    "no wavelength": (lambda e: {"wave": np.where(PIXELS == 7, np.nan, e.wave)}, Refusal.BAD_GRID),
    "ivar × 100": (lambda e: {"ivar": 100 * e.ivar}, Refusal.BAD_ERRORS),
    "ivar / 100": (lambda e: {"ivar": e.ivar / 100}, Refusal.BAD_ERRORS),
    "ivar × 100, header alike": (lambda e: {"ivar": 100 * e.ivar, "snr": 10 * e.snr}, Refusal.BAD_ERRORS),
    "constant": (constant, Refusal.COPIED_PIXELS),
    "copied": (copied, Refusal.COPIED_PIXELS),
    "moved by five pixels": (moved, Refusal.COPIED_PIXELS),
}


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("name", [f"B-{LMJM}", f"R-{LMJM + 24}"])
def test_a_faulty_exposure_is_masked_and_its_neighbours_kept(tmp_path, kind, name):
    file = night()
    (exposure,) = [e for e in file.exposures if e.name == name]
    change, reason = FAULTS[kind]
    found = read(tmp_path, changed(file, name, **change(exposure)))
    assert {e.name: e.fault.reason for e in found.exposures if e.fault} == {name: reason}
    assert len(found.exposures) == 8


def test_exposures_that_are_copies_of_one_another_are_both_masked(tmp_path):
    file = night()
    first, second = file.exposures[0], file.exposures[2]
    found = read(tmp_path, changed(file, second.name, flux=first.flux, ivar=first.ivar, snr=first.snr))
    assert {e.name: e.fault.reason for e in found.exposures if e.fault} == dict.fromkeys(
        (first.name, second.name), Refusal.COPIED_PIXELS
    )


def test_of_two_extensions_of_one_name_neither_is_taken(tmp_path):
    first, second = f"'B-{LMJM}".encode(), f"'B-{LMJM + 24}".encode()
    found = read(tmp_path, night(), lambda content: content.replace(second, first))
    assert {(item.lmjm, item.arm, item.reason) for item in found.lost} == {
        (minute, "blue", Refusal.CONTRADICTION) for minute in (LMJM, LMJM + 24)
    }
    assert len(found.exposures) == 6 and not any(e.fault for e in found.exposures)


def test_the_flux_of_the_other_arm_is_noticed(tmp_path):
    file = night()
    blue, red = file.exposures[:2]
    swapped = changed(changed(file, blue.name, flux=red.flux, ivar=red.ivar, snr=red.snr), red.name, flux=blue.flux)
    found = read(tmp_path, changed(swapped, red.name, ivar=blue.ivar, snr=blue.snr))
    assert {e.name for e in found.exposures if e.fault} == {blue.name, red.name}


@pytest.mark.parametrize(("tilt", "verdict"), [(0.05, "taken"), (0.17, "flagged"), (0.27, "refused")])
def test_a_night_whose_colour_changes_is_refused_only_where_the_evidence_is_certain(tmp_path, tilt, verdict):
    file = night()
    exposure = file.exposures[0]
    slope = (1 + 2 * tilt * (exposure.wave - exposure.wave.mean()) / np.ptp(exposure.wave)).astype(float)
    spoilt = {"flux": exposure.flux * slope, "ivar": exposure.ivar / slope**2}
    (found,) = [e for e in read(tmp_path, changed(file, exposure.name, **spoilt)).exposures if e.name == exposure.name]
    told = "refused" if found.fault else "flagged" if found.flags & Quality.CONTRADICTION else "taken"
    assert told == verdict


def test_a_name_that_contradicts_its_header_is_left_out_under_either_minute(tmp_path):
    old, new = f"EXTNAME = 'B-{LMJM}".encode(), f"EXTNAME = 'B-{LMJM + 5}".encode()
    found = read(tmp_path, night(), lambda content: content.replace(old, new))
    assert [(item.lmjm, item.arm, item.reason) for item in found.lost] == [
        (minute, "blue", Refusal.CONTRADICTION) for minute in (LMJM, LMJM + 5)
    ]
    assert len(found.exposures) == 7 and all(e.flags & Quality.INCOMPLETE_FILE for e in found.exposures)


def test_exposures_that_the_header_announces_are_missed(tmp_path):
    found = read(tmp_path, night(), lambda content: content[: -(-(len(content) - 70000) // 2880) * 2880])
    assert [item.reason for item in found.lost][-1] is Refusal.INCOMPLETE
    assert "N_EXTEN = 9, found " in found.lost[-1].detail
    assert all(e.flags & Quality.INCOMPLETE_FILE for e in found.exposures)


@pytest.mark.parametrize(
    "facts", [{"obsid": OBSID + 1}, {"ra": 291.0}, {"fiberid": 3}, {"designation": "LAMOST J192000.00+430100.0"}]
)
def test_contradicting_identities_are_flagged(tmp_path, facts):
    found = read(tmp_path, night(**facts))
    assert all(e.flags == Quality.CONTRADICTION for e in found.exposures)


@pytest.mark.parametrize("day", [58800, 61400, 69000])
def test_dates_that_the_file_contradicts_or_nobody_knows_yet_are_flagged_and_kept(tmp_path, day):
    """A night after the tables of Earth rotation is an ordinary night; after those of leap seconds, a flagged one."""
    late = night(1, lmjd=day)
    moved = tuple(
        e if e.lmjm == COADD or day == 58800 else replace(e, lmjm=day * 1440, name=f"{e.name[0]}-{day * 1440}",
        mjd_mid=day - 0.3) for e in late.exposures
    )  # fmt: skip
    found = read(tmp_path, replace(late, exposures=moved))
    singles = [e for e in found.exposures if not e.is_coadd]
    assert len(singles) == 2 and not any(e.fault for e in singles)
    assert all((e.flags == Quality.UNSURE_DATE) == (day != 61400) for e in singles)
