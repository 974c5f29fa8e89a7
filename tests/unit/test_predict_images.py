"""`dioscuri predict` on exposures and on stamps: every source and every refusal is a row."""

import dataclasses
import runpy
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

from dioscuri import predict
from dioscuri.cli import main
from dioscuri.cluster.frames import write_flt
from dioscuri.predict import csst, hst
from dioscuri.psf.effective import Psf
from dioscuri.stamps.mocks import Law, Noise, Renderer, draw_sources, make_stamps

_KNOWN = runpy.run_path(str(Path(__file__).with_name("cluster_frames.py")))
PSF, frame_of, lattice = (_KNOWN[name] for name in ("PSF", "frame_of", "lattice"))

LAW = Law(separation="uniform", sep_min=1.0, sep_max=1.6, flux_min=9000, flux_max=20000)
NOISE = Noise(3.0)


pytestmark = pytest.mark.usefixtures("no_released_networks")


@pytest.fixture(scope="module")
def psf_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("psf") / "psf.npz"
    PSF.save(path)
    return path


@pytest.fixture(scope="module")
def exposure(tmp_path_factory):
    """An exposure of 36 stars; the first six have a second star 1.3 px away."""
    stars = lattice(6, 30)
    pairs = stars.iloc[:6].assign(x=lambda t: t["x"] + 1.3, flux=7000.0)
    path = tmp_path_factory.mktemp("frames") / "one_flt.fits"
    write_flt(path, [frame_of(pd.concat([stars, pairs], ignore_index=True), shape=(200, 200))])
    return path


def test_an_exposure_is_a_row_per_star(exposure, psf_file, tmp_path, capsys):
    out = tmp_path / "scores.fits"
    arguments = ["predict", "--survey", "hst", str(exposure), "--psf", str(psf_file), "-o", str(out)]
    assert main([*arguments, "--plot", str(tmp_path / "scores.png")]) == 0
    with fits.open(out) as hdus:
        assert hdus[1].header["EXTNAME"] == "UNRESOLVED_PAIRS"
        assert hdus[1].columns["sep"].unit == "pix"
        table = pd.DataFrame({name: np.asarray(hdus[1].data[name]) for name in ("x", "y", "log_bf", "sep", "status")})
    assert "no networks" in capsys.readouterr().out
    scored = table[table["status"] == "ok: likelihood only"]
    pair = scored["log_bf"] > 4
    # The pairs' photocentres are in the lowest row.
    assert pair[scored["y"] < 25].all() and (scored["y"] < 25).sum() == 6
    assert pair[scored["y"] > 25].mean() < 0.1
    np.testing.assert_allclose(scored["sep"][pair & (scored["y"] < 25)], 1.3, atol=0.2)
    assert (tmp_path / "scores.png").read_bytes().startswith(b"\x89PNG")


def test_a_file_that_is_no_exposure_is_a_row_with_the_reason(exposure, psf_file, tmp_path):
    (tmp_path / "broken.fits").write_bytes(b"SIMPLE")
    table, _ = predict.predict("hst", [str(tmp_path / "broken.fits"), str(exposure)], psf=psf_file)
    broken = table["file"].str.endswith("broken.fits")
    assert table["status"][broken].str.startswith("refused: ").tolist() == [True]
    assert (table["status"] == "ok: likelihood only").sum() == 36
    assert list(table.columns) == list(hst.COLUMNS)


def test_a_psf_image_needs_its_oversampling(exposure, tmp_path):
    path = tmp_path / "psf.fits"
    fits.PrimaryHDU(PSF.samples[0]).writeto(path)
    table, _ = predict.predict("hst", [str(exposure)], psf=path)
    assert "--psf-oversampling" in table["status"].iloc[0]
    table, _ = predict.predict("hst", [str(exposure)], psf=path, psf_oversampling=4)
    assert (table["status"] == "ok: likelihood only").sum() == 36


@pytest.fixture(scope="module")
def csst_psf(tmp_path_factory):
    path = tmp_path_factory.mktemp("csst") / "psf.npz"
    dataclasses.replace(PSF, pixel_scale=0.075).save(path)
    return path


@pytest.fixture(scope="module")
def stamps():
    sources = draw_sources(40, 3, LAW)
    return make_stamps(sources, Renderer(PSF), NOISE, 3), sources


@pytest.mark.parametrize("kind", ["hdf5", "cube", "folder"])
def test_stamps_of_any_kind_have_the_same_scores(stamps, csst_psf, tmp_path, kind):
    images, sources = stamps
    path = tmp_path / "stamps"
    if kind == "hdf5":
        path = tmp_path / "stamps.h5"
        with h5py.File(path, "w") as stream:
            stream["stamps"] = images
    elif kind == "cube":
        path = tmp_path / "stamps.fits"
        fits.PrimaryHDU(images).writeto(path)
    else:
        path.mkdir()
        for number, image in enumerate(images):
            fits.PrimaryHDU(image).writeto(path / f"{number:03d}.fits")
    table, information = predict.predict("csst", [str(path)], psf=csst_psf, noise=3.0)
    assert list(table.columns) == list(csst.COLUMNS) and len(table) == 40
    assert ((table["log_bf"] > 0) == sources["is_binary"]).mean() > 0.95
    np.testing.assert_allclose(table["flux"], sources["flux"], rtol=0.06)
    assert csst.style(table, information)[1].sum() == (table["log_bf"] > 0).sum()


def test_large_images_are_cropped_and_small_ones_refused(stamps, csst_psf, tmp_path):
    wide = np.zeros((2, 31, 31))
    wide[0, 9:23, 4:18] = stamps[0][0]
    wide[1, 0, 0] = 1e5  # a star in the corner
    fits.PrimaryHDU(wide).writeto(tmp_path / "wide.fits")
    fits.PrimaryHDU(np.zeros((5, 5))).writeto(tmp_path / "small.fits")
    (tmp_path / "text.fits").write_text("no FITS")
    table, _ = predict.predict("csst", [str(tmp_path)], psf=csst_psf, noise=3.0)
    by_file = table.assign(file=table["file"].str.split("/").str[-1]).set_index(["file", "stamp"])["status"]
    assert by_file["wide.fits", 0] == "ok: likelihood only"
    assert "14 × 14 px around it" in by_file["wide.fits", 1]
    assert "5 × 5 px" in by_file["small.fits", 0]
    assert by_file["text.fits", -1].startswith("refused: ")


def test_inputs_that_are_no_stamps_say_so(stamps, csst_psf, tmp_path):
    """A cube the wrong way round, a group for a dataset, counts: each its own reason."""
    fits.PrimaryHDU(np.moveaxis(stamps[0], 0, -1)).writeto(tmp_path / "turned.fits")
    fits.PrimaryHDU(stamps[0], fits.Header({"BUNIT": "ADU"})).writeto(tmp_path / "counts.fits")
    with h5py.File(tmp_path / "group.h5", "w") as stream:
        stream["stamps/image"] = stamps[0]
    table, _ = predict.predict("csst", [str(tmp_path)], psf=csst_psf, noise=3.0)
    status = table.set_index(table["file"].str.split("/").str[-1])["status"]
    assert "a cube of 14 × 14 × 40" in status["turned.fits"]
    assert "BUNIT is 'ADU'" in status["counts.fits"]
    assert "'stamps' is a group" in status["group.h5"]
    assert status.str.startswith("refused: ").all()


def test_wrong_gain_sky_and_psf_are_doubted(stamps, csst_psf, tmp_path):
    narrow = tmp_path / "narrow.npz"
    Psf(_KNOWN["gaussian"](0.8)[None], 4, 0.075).save(narrow)
    for name, images, psf, said in (
        ("right", stamps[0], csst_psf, "ok"), ("adu", stamps[0] / 3, csst_psf, "electrons"),
        ("sky", stamps[0] + 10, csst_psf, "sky of"), ("psf", stamps[0], narrow, "the PSF"),
    ):  # fmt: skip
        path = tmp_path / f"{name}.fits"
        fits.PrimaryHDU(images).writeto(path)
        table, information = predict.predict("csst", [str(path)], psf=psf, noise=3.0)
        assert table["status"].str.contains(said).any(), (name, table["status"].iloc[0])
        assert table["status"].str.startswith("ok" if name == "right" else "doubtful: ").mean() > 0.95
        assert ("all are doubtful" in " ".join(information["notes"])) == (name != "right")


def test_a_psf_of_another_camera_is_refused(stamps, psf_file, tmp_path):
    fits.PrimaryHDU(stamps[0]).writeto(tmp_path / "stamps.fits")
    with pytest.raises(ValueError, match=r"pixels of 0\.04 arcsec"):
        predict.predict("csst", [str(tmp_path)], psf=psf_file, noise=3.0)


@pytest.mark.parametrize(("options", "said"), [({}, "--psf"), ({"psf": "psf.npz"}, "--noise")])
def test_what_is_missing_is_named(options, said, tmp_path, csst_psf):
    fits.PrimaryHDU(np.zeros((14, 14))).writeto(tmp_path / "stamp.fits")
    options = dict.fromkeys(options, csst_psf)
    with pytest.raises(ValueError, match=said):
        predict.predict("csst", [str(tmp_path)], **options)


def test_a_folder_without_networks_is_told(exposure, psf_file, tmp_path, capsys):
    arguments = ["predict", "--survey", "hst", str(exposure), "--psf-grid", str(psf_file), "--models", str(tmp_path)]
    assert main(arguments) == 2
    assert "no networks of hst" in capsys.readouterr().err


def test_options_of_one_survey_are_refused_by_the_other(exposure, capsys):
    assert main(["predict", "--survey", "hst", str(exposure), "--noise", "3"]) == 2
    assert "noise" in capsys.readouterr().err


def test_of_a_long_table_only_what_stands_out_is_printed(capsys):
    module = predict.module_of("csst")
    table = pd.DataFrame({name: np.full(200, np.nan) for name in module.COLUMNS} | {"log_bf": -1.0, "status": "ok"})
    table.loc[[17, 150], "log_bf"] = 50.0
    predict.show(table, {"survey": "csst", "networks": "none"})
    out = capsys.readouterr().out
    assert "2 of 200 rows are shown" in " ".join(out.split())
    assert out.count("50.") == 2
