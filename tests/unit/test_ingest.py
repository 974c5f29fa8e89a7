"""Files to shards: arms of one exposure in one row, masks, flags, refusals, the same bytes every time."""

import gzip
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest

from dioscuri import io, shards
from dioscuri.arms import C_KMS, Arm
from dioscuri.flags import Quality, Refusal
from dioscuri.lamost.exposures import COADD, Exposure
from dioscuri.lamost.files import ObservedFile
from dioscuri.lamost.ingest import Limits, ingest_files, write
from dioscuri.lamost.mrs import MRS
from dioscuri.lamost.mrs_writer import write_mrs_file
from dioscuri.lamost.rows import ARM_COLUMNS, EXPOSURE_COLUMNS, REJECTED_COLUMNS, WHOLE_FILE

ARMS = [Arm("blue", 5000.0, 5300.0, 3347, 7500.0), Arm("red", 6350.0, 6750.0, 3509, 7500.0)]
SPANS = {"blue": (4898, 5390), "red": (6272, 6844)}
LINES = {"blue": 5183.6, "red": 6562.8}
LMJM = 84_700_560
RV = 40.0


class LineMeter:
    """Measures where the one line of these spectra is; no templates needed."""

    teff = np.array([4500.0, 6000.0, 7000.0])

    def __init__(self, arm: str, *, ccf_max: float = 0.9, teff: float = 6000.0, at_edge: bool = False):
        self.line, self.ccf_max, self.best, self.at_edge = LINES[arm], ccf_max, teff, at_edge

    def measure(self, wave, flux, sigma=None):
        n = len(flux)
        rv = np.empty(n)
        for i, (w, f) in enumerate(zip(wave, flux, strict=True)):
            near = np.abs(w / self.line - 1) < 500 / C_KMS
            weight = np.maximum(1 - f[near], 0) ** 2
            rv[i] = C_KMS * ((weight @ w[near]) / weight.sum() / self.line - 1)
        return SimpleNamespace(
            rv=rv,
            rv_err=np.full(n, 0.5),
            teff=np.full(n, self.best),
            ccf_max=np.full(n, self.ccf_max),
            at_edge=np.full(n, self.at_edge),
        )


METERS = {arm.name: LineMeter(arm.name) for arm in ARMS}


def spectrum(arm: str, lmjm: int = LMJM, *, snr: float = 50.0, rv: float = RV, n_bad: int = 0) -> Exposure:
    wave = (np.geomspace if lmjm == COADD else np.linspace)(*SPANS[arm], 4136)
    line = LINES[arm] * (1 + rv / C_KMS)
    flux = 1000 * (1 - 0.6 * np.exp(-0.5 * ((wave - line) / 0.5) ** 2))
    sigma = np.full(len(wave), 1000 / max(snr, 1))
    flux = flux * (snr > 1) + np.random.default_rng(lmjm % 2**31).normal(size=len(wave)) * sigma
    mask = np.zeros(len(wave), bool)
    mask[1200 : 1200 + n_bad] = True
    name = f"COADD_{arm[0].upper()}" if lmjm == COADD else f"{arm[0].upper()}-{lmjm}"
    return Exposure(name, arm, lmjm, lmjm / 1440 - 1 / 3, 1200.0, snr, wave, flux, sigma**-2.0, mask)


def put(folder: Path, *exposures: Exposure, obsid: int = 999901001, **facts) -> Path:
    path = folder / f"med-{obsid}.fits.gz"
    values = {
        "path": path,
        "obsid": obsid,
        "designation": f"LAMOST J{obsid}",
        "object_name": "x",
        "gaia_id": 0,
        "ra": 290.0,
        "dec": 43.0,
        "planid": "P",
        "spid": obsid // 1000 % 100,
        "fiberid": obsid % 1000,
        "lmjd": 58820,
        "fiber_type": "Obj",
        "object_type": "Star",
        "data_version": "DR7",
        "helio_rv": 0.0,
        "magnitudes": {},
        "exposures": exposures,
    }
    write_mrs_file(path, ObservedFile(**(values | facts)))
    return path


def test_both_arms_of_one_minute_share_a_row(tmp_path):
    path = put(tmp_path, *(spectrum(arm, lmjm) for lmjm in (LMJM, LMJM + 23) for arm in SPANS))
    found = ingest_files([path], MRS, ARMS, METERS)
    table = found.exposures
    assert table["exposure"].tolist() == [LMJM, LMJM + 23]
    assert table["file"].tolist() == [path.name] * 2 and table["source_id"][0] == "LAMOST J999901001"
    assert table["key"].tolist() == [io.observation_key(999901001, e) for e in (LMJM, LMJM + 23)]
    for arm in "BR":
        assert table[f"specflag_{arm}"].all() and not table[f"flags_{arm}"].any()
        np.testing.assert_allclose(table[f"rv_obs_{arm}"], RV, atol=3.0)
        np.testing.assert_allclose(table[f"snr_{arm}"], 50)
    assert np.isnan(table["bprp0"]).all()
    # mid-exposure UTC + 69.2 s + light time to the barycentre (here within 1 au: 499 s)
    mid = LMJM / 1440 - 8 / 24 + 600 / 86400 + 2400000.5
    assert abs(table["bjdmid"][0] - mid - 69.184 / 86400) < 500 / 86400
    assert not found.rejected


def test_spectra_arrive_at_rest_and_normalised(tmp_path):
    found = ingest_files([put(tmp_path, *(spectrum(arm, snr=200) for arm in SPANS))], MRS, ARMS, METERS)
    for arm in ARMS:
        flux, sigma = found.arms[arm.name]
        assert flux.shape == sigma.shape == (1, arm.n_pixels) and flux.dtype == np.float16
        flux = flux[0].astype(float)
        assert abs(arm.wave[flux.argmin()] - LINES[arm.name]) < 0.3
        assert flux.min() == pytest.approx(-0.6, abs=0.05)
        assert np.median(flux) == pytest.approx(0, abs=0.003)
        assert np.median(sigma) == pytest.approx(1 / 200, rel=0.1)


def test_a_faint_arm_is_masked_not_scored(tmp_path):
    found = ingest_files([put(tmp_path, spectrum("blue", snr=4.9), spectrum("red"))], MRS, ARMS, METERS)
    table = found.exposures
    assert (table["specflag_B"][0], table["specflag_R"][0]) == (False, True)
    assert table["flags_B"][0] == Quality.LOW_SNR and table["snr_B"][0] == pytest.approx(4.9)
    assert np.isnan(table["rv_obs_B"][0])
    assert all(np.isnan(values).all() for values in found.arms["blue"])
    assert all(np.isfinite(values).all() for values in found.arms["red"])
    assert not found.rejected, "the exposure is kept"


def test_a_missing_arm_is_flagged(tmp_path):
    table = ingest_files([put(tmp_path, spectrum("red"))], MRS, ARMS, METERS).exposures
    assert table["flags_B"][0] == Quality.MISSING_ARM and not table["specflag_B"][0]


def test_an_exposure_without_a_usable_arm_is_refused_once(tmp_path):
    path = put(tmp_path, spectrum("blue", snr=0.5), spectrum("red", snr=3.0), spectrum("red", LMJM + 23))
    found = ingest_files([path], MRS, ARMS, METERS)
    assert found.exposures["exposure"].tolist() == [LMJM + 23]
    (row,) = found.rejected
    assert tuple(row) == REJECTED_COLUMNS
    assert (row["file"], row["exposure"], row["arm"]) == (path.name, LMJM, "blue,red")
    assert row["reason"] == Refusal.LOW_SNR.value and "red: S/N 3.00" in row["detail"]


def test_coadds_are_rows_of_their_own_or_left_out(tmp_path):
    exposures = [spectrum(arm, lmjm) for arm in SPANS for lmjm in (LMJM, LMJM + 23, COADD)]
    path = put(tmp_path, *exposures)
    table = ingest_files([path], MRS, ARMS, METERS).exposures
    assert table["exposure"].tolist() == [COADD, LMJM, LMJM + 23]
    assert table["flags_B"].tolist() == [Quality.COADD, 0, 0]
    assert table["exptime"].tolist() == [2400, 1200, 1200]
    assert table["bjdmid"][0] == pytest.approx(table["bjdmid"][1:].mean(), abs=1e-7)
    assert ingest_files([path], MRS, ARMS, METERS, coadds=False).exposures["exposure"].tolist() == [
        LMJM,
        LMJM + 23,
    ]


@pytest.mark.parametrize(
    ("meter", "limits", "flag"),
    [
        ({"ccf_max": 0.1}, Limits(), Quality.WEAK_CCF),
        ({"ccf_max": np.nan}, Limits(), Quality.WEAK_CCF),
        ({"teff": 7000.0}, Limits(), Quality.TEFF_EDGE),
        ({"teff": 4500.0}, Limits(), Quality.TEFF_EDGE),
        ({}, Limits(teff=(6100.0, 7000.0)), Quality.TEFF_EDGE),
        ({"at_edge": True}, Limits(), Quality.VELOCITY_EDGE),
        ({}, Limits(npixbad_max=29), Quality.MANY_BAD_PIXELS),
        ({}, Limits(npixbad_max=30), Quality(0)),
    ],
)
def test_flags(tmp_path, meter, limits, flag):
    path = put(tmp_path, spectrum("blue", n_bad=30))
    table = ingest_files([path], MRS, ARMS[:1], {"blue": LineMeter("blue", **meter)}, limits=limits).exposures
    assert table["flags_B"][0] == flag and table["npixbad_B"][0] == 30
    assert table["specflag_B"][0], "flagged, and scored all the same"
    assert "snr_R" not in table


def test_bad_pixels_outside_the_grid_do_not_count(tmp_path):
    exposure = spectrum("blue")
    inside = (exposure.wave > 5000 * (1 + RV / C_KMS)) & (exposure.wave < 5001)
    exposure.mask[inside | (exposure.wave < 5000)] = True
    table = ingest_files([put(tmp_path, exposure)], MRS, ARMS[:1], METERS).exposures
    assert table["npixbad_B"][0] == pytest.approx(inside.sum(), abs=1), "the edge is where the velocity puts it"


@pytest.mark.parametrize("facts", [{"fiber_type": "Sky"}, {"object_type": "GALAXY"}])
def test_what_is_no_star_is_refused(tmp_path, facts):
    (row,) = ingest_files([put(tmp_path, spectrum("blue"), **facts)], MRS, ARMS, METERS).rejected
    assert (row["reason"], row["exposure"]) == (Refusal.NOT_STELLAR.value, WHOLE_FILE)


def test_no_wreck_stops_the_run(tmp_path):
    good = put(tmp_path, *(spectrum(arm) for arm in SPANS))
    cut = put(tmp_path, spectrum("blue"), obsid=2)
    cut.write_bytes(cut.read_bytes()[:-900])
    (text := tmp_path / "notes.fits").write_text("hello")
    only_red = put(tmp_path, spectrum("red"), obsid=3)
    gone = tmp_path / "gone.fits"
    found = ingest_files([gone, text, cut, only_red, good], MRS, ARMS[:1], METERS)
    assert found.exposures["file"].tolist() == [good.name]
    reasons = {row["file"]: row["reason"] for row in found.rejected}
    assert reasons == {
        gone.name: Refusal.UNREADABLE.value,
        text.name: Refusal.NOT_FITS.value,
        cut.name: Refusal.TRUNCATED.value,
        only_red.name: Refusal.NO_EXPOSURE.value,
    }


def test_flipped_bytes_stop_nothing(tmp_path):
    """Damage anywhere, most of it in headers: every file ends in rows or refusals, nothing else."""
    source = put(tmp_path, *(spectrum(arm) for arm in SPANS))
    content = np.frombuffer(gzip.decompress(source.read_bytes()), np.uint8)
    rng = np.random.default_rng(11)
    headers = np.flatnonzero(content[:2880]), np.arange(len(content))
    for k in range(120):
        damaged = content.copy()
        where = rng.choice(headers[k % 4 == 0], 1 + k % 12)
        damaged[where] = rng.integers(32, 127, len(where)) if k % 2 else rng.integers(0, 256, len(where))
        (tmp_path / f"damaged{k}.fits").write_bytes(damaged.tobytes())
    paths = sorted(tmp_path.glob("damaged*"))
    found = ingest_files(paths, MRS, ARMS, METERS)
    assert len(set(found.exposures["file"])) > 10 and len(found.rejected) > 10
    named = set(found.exposures["file"]) | {row["file"] for row in found.rejected}
    assert named == {path.name for path in paths}
    write(found, tmp_path / "s.h5", tmp_path / "r.parquet", {})


def test_nothing_usable_makes_an_empty_shard_with_all_columns(tmp_path):
    found = ingest_files([tmp_path / "gone.fits"], MRS, ARMS, METERS)
    write(found, tmp_path / "s.h5", tmp_path / "r.parquet", {})
    columns = shards.read_exposures(tmp_path / "s.h5")
    expected = {*EXPOSURE_COLUMNS, *MRS.columns} | {f"{name}_{arm}" for name in ARM_COLUMNS for arm in "BR"}
    assert set(columns) == expected and all(len(values) == 0 for values in columns.values())
    assert shards.read_spectra(tmp_path / "s.h5", "red")[0].shape == (0, 3509)


def test_same_bytes_whatever_the_order(tmp_path, monkeypatch):
    paths = [put(tmp_path, *(spectrum(arm, LMJM + i, rv=10.0 * i) for arm in SPANS), obsid=100 - i) for i in range(5)]
    (wreck := tmp_path / "wreck.fits").write_text("x")
    contents = []
    for i, order in enumerate((paths + [wreck], [wreck] + paths[::-1] + paths)):
        monkeypatch.setattr("dioscuri.lamost.ingest.FILES_AT_ONCE", 64 if i == 0 else 2)
        shard, rejected = tmp_path / f"{i}.h5", tmp_path / f"{i}.parquet"
        write(ingest_files(order, MRS, ARMS, METERS), shard, rejected, {"version": "x"})
        contents.append((shard.read_bytes(), rejected.read_bytes()))
    assert contents[0] == contents[1]
    table = shards.read_exposures(tmp_path / "0.h5")
    assert table["obsid"].tolist() == sorted(table["obsid"].tolist())


def test_shard_and_rejected_table_on_disk(tmp_path):
    path = put(tmp_path, spectrum("blue"), spectrum("blue", LMJM + 23, snr=2.0))
    found = ingest_files([path], MRS, ARMS, METERS)
    write(found, tmp_path / "s.h5", tmp_path / "r.parquet", {"version": "0"})
    with h5py.File(tmp_path / "s.h5") as stream:
        assert stream.attrs["schema"] == shards.SPECTRA_SCHEMA
    columns = shards.read_exposures(tmp_path / "s.h5")
    assert columns["planid"].tolist() == ["P"] and columns["specflag_B"].dtype == bool
    flux, _ = shards.read_spectra(tmp_path / "s.h5", "blue")
    np.testing.assert_array_equal(flux, found.arms["blue"][0])
    rejected = pd.read_parquet(tmp_path / "r.parquet")
    assert tuple(rejected.columns) == REJECTED_COLUMNS
    assert rejected["exposure"].tolist() == [LMJM + 23]


def test_a_meter_without_an_answer_refuses_the_spectrum(tmp_path):
    class Mute(LineMeter):
        def measure(self, wave, flux, sigma=None):
            answer = super().measure(wave, flux)
            answer.rv[:] = np.nan
            return answer

    path = put(tmp_path, replace(spectrum("blue")))
    found = ingest_files([path], MRS, ARMS[:1], {"blue": Mute("blue")})
    assert len(found.exposures["file"]) == 0
    assert found.rejected[0]["reason"] == Refusal.NOT_FINITE.value


def test_a_spectrum_that_breaks_its_batch_costs_itself_alone(tmp_path):
    class Choleric(LineMeter):
        def measure(self, wave, flux, sigma=None):
            answer = super().measure(wave, flux)
            if (answer.rv > 150).any():
                raise ZeroDivisionError("too fast")
            return answer

    fast = put(tmp_path, spectrum("blue", rv=200.0), obsid=999901001)
    slow = put(tmp_path, spectrum("blue", LMJM + 1), obsid=999901002)
    found = ingest_files([fast, slow], MRS, ARMS[:1], {"blue": Choleric("blue")})
    assert found.exposures["file"].tolist() == [slow.name]
    (row,) = found.rejected
    assert row["file"] == fast.name and "unforeseen: ZeroDivisionError('too fast')" in row["detail"]
