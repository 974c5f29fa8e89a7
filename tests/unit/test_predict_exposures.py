"""Several exposures, star lists of others, PSF grids and what they are for: `dioscuri predict --survey hst`."""

import dataclasses
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dioscuri import predict
from dioscuri.cluster.exposure_psf import given_psf, join_chips
from dioscuri.cluster.frames import read_flt, write_flt
from dioscuri.cluster.scene import Scene
from dioscuri.predict.card import filters_of, objections
from dioscuri.predict.star_lists import read_star_list
from dioscuri.psf.grids import read_stdpsf

_KNOWN = runpy.run_path(str(Path(__file__).with_name("cluster_frames.py")))
_GRIDS = runpy.run_path(str(Path(__file__).with_name("psf_grids.py")))
PSF, SKY, frame_of, lattice = (_KNOWN[name] for name in ("PSF", "SKY", "frame_of", "lattice"))
SHAPE = (170, 170)
OK = "ok: likelihood only"


pytestmark = pytest.mark.usefixtures("no_released_networks")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two exposures of 25 stars, the first of which has a second star 1.3 px away; a cosmic ray by another in one."""
    folder = tmp_path_factory.mktemp("exposures")
    PSF.save(folder / "psf.npz")
    stars = lattice(5, 30)
    pair = stars.iloc[:1].assign(x=lambda t: t["x"] + 1.3, flux=7000.0)
    for k, name in enumerate(("one", "two")):
        frame = frame_of(pd.concat([stars, pair], ignore_index=True), SHAPE, seed=k, name=name)
        if name == "two":
            x, y = stars.loc[12, ["x", "y"]]
            frame.science[round(y), round(x) + 1] += 900.0
        write_flt(folder / f"{name}_flt.fits", [frame])
    return folder


def near(table, star, name="one"):
    """The row of a star of the lattice."""
    rows = table[table["file"].str.contains(f"{name}_flt")]
    place = lattice(5, 30).loc[star]
    return rows.loc[np.hypot(rows["x"] - place["x"], rows["y"] - place["y"]).idxmin()]


def test_what_one_exposure_alone_sees_is_doubtful(folder):
    table, information = predict.predict("hst", [str(folder)], psf=folder / "psf.npz")
    assert (table["n_seen"] == 2).sum() == 50 and table["star"].nunique() == 25
    for name in ("one", "two"):
        pair = near(table, 0, name)
        assert (pair["status"], pair["n_pair"]) == (OK, 2) and pair["agreement"] > 0.01
    struck = near(table, 12, "two")
    assert struck["status"].startswith("doubtful: ")
    assert near(table, 12, "one")["status"] == OK
    assert struck["log_bf"] <= 0 or struck["n_pair"] == 1
    assert "2 exposures: 25 stars, 25 of them scored in two or more" in information["notes"]


def test_chips_in_other_processes_have_the_same_scores(folder):
    alone = predict.predict("hst", [str(folder)], psf=folder / "psf.npz")[0]
    both = predict.predict("hst", [str(folder)], psf=folder / "psf.npz", processes=2)[0]
    pd.testing.assert_frame_equal(alone, both)


@pytest.mark.parametrize("kind", ["csv", "sky", "hst1pass", "dolphot"])
def test_star_lists_take_the_place_of_detection(folder, tmp_path, kind):
    stars = lattice(5, 30).iloc[5:9]
    lost = pd.DataFrame({"x": [5.0, np.nan], "y": [160.0, 3.0]})
    if kind == "csv":
        path = tmp_path / "one.csv"
        pd.concat([stars[["x", "y"]], lost]).to_csv(path, index=False)
    elif kind == "sky":
        path = tmp_path / "one.csv"
        ra, dec = read_flt(folder / "one_flt.fits")[0].wcs.all_pix2world(stars["x"], stars["y"], 0)
        pd.DataFrame({"RA": ra, "DEC": dec}).to_csv(path, index=False)
    elif kind == "hst1pass":
        path = tmp_path / "one_flt.xymq"
        rows = np.c_[stars["x"] + 1, stars["y"] + 1, np.full(4, -10.0), np.full(4, 0.05)]
        np.savetxt(path, rows, header="x y m q")
    else:
        path = tmp_path / "one.phot"
        rows = np.zeros((4, 20))
        rows[:, 1:4] = np.c_[np.ones(4), stars["x"] + 0.5, stars["y"] + 0.5]
        np.savetxt(path, rows)
    table, _ = predict.predict("hst", [str(folder / "one_flt.fits")], psf=folder / "psf.npz", photometry=[path])
    found = table[table["status"] == OK].sort_values("source")
    np.testing.assert_array_equal(found["source"], np.arange(4))
    np.testing.assert_allclose(found[["x", "y"]], stars[["x", "y"]], atol=0.1)
    rest = table[table["status"] != OK]
    if kind == "csv":
        assert sorted(rest["status"]) == ["not scored: no star of its own found there", "refused: no finite position"]
    else:
        assert not len(rest)


def test_star_lists_that_cannot_be_used(folder, tmp_path):
    exposure = [str(folder / "one_flt.fits"), str(folder / "two_flt.fits")]
    other = tmp_path / "three.csv"
    pd.DataFrame({"x": [1.0], "y": [1.0]}).to_csv(other, index=False)
    with pytest.raises(ValueError, match="belongs to 0 of the exposures"):
        predict.predict("hst", exposure, psf=folder / "psf.npz", photometry=[other])
    (tmp_path / "one.mag").write_text("1 2\n")
    (tmp_path / "one.csv").write_text("a,b\n1,2\n")
    (tmp_path / "one.xym").write_text("words\n")
    for name, told in (
        ("one.mag", "2 columns of numbers"), ("one.csv", "columns a, b"), ("one.xym", "no table of numbers"),
        ("none.csv", "no such file"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=told):
            read_star_list(tmp_path / name)


@pytest.mark.parametrize("number", ["0", "x"])
def test_processes_are_counted(folder, number):
    with pytest.raises((ValueError, TypeError)):
        predict.predict("hst", [str(folder)], processes=number)


def two_chips(folder):
    """A grid of WFC3/UVIS whose chips differ, and an exposure of both chips painted with it."""
    star = _GRIDS["star"]
    samples = np.repeat(np.stack([star(0.8, 101), star(0.95, 101)]), 28, axis=0)  # chip 2 below chip 1
    grid = read_stdpsf(_GRIDS["write_stdpsf"](folder, "STDPSF_WFC3UV_F775W.fits", samples), pixel_scale=0.04)
    frames = []
    for extension, chip in ((1, 2), (2, 1)):
        blank = frame_of(lattice(5, 30).assign(flux=0.0), SHAPE, seed=chip)
        rng, expected = np.random.default_rng(chip), np.full(SHAPE, SKY)
        Scene(grid.where(chip=chip)).paint(expected, *(lattice(5, 30)[name] for name in ("x", "y", "flux")))
        science = (rng.poisson(expected) + rng.normal(0, 3.0, SHAPE)).astype(np.float32)
        error = np.sqrt(science.clip(0) + 9.0)
        frames.append(dataclasses.replace(blank, science=science, error=error, extension=extension, chip=chip))
    write_flt(folder / "both_flt.fits", frames)
    return folder / "both_flt.fits", folder / "STDPSF_WFC3UV_F775W.fits"


def test_each_chip_has_its_own_psfs(tmp_path):
    exposure, grid = two_chips(tmp_path)
    table, _ = predict.predict("hst", [str(exposure)], psf=grid)
    assert table.groupby("extension").size().tolist() == [25, 25]
    assert (table["status"] == OK).all()
    assert table.groupby("extension")["chi2"].median().between(0.9, 1.1).all()
    # The grid of another filter is refused, or taken and flagged.
    other = grid.rename(tmp_path / "STDPSF_WFC3UV_F814W.fits")
    other.write_bytes(other.read_bytes().replace(b"F775W", b"F814W"))
    table, _ = predict.predict("hst", [str(exposure)], psf=other)
    assert table["status"].str.contains("refused: filter F775W, the PSF is that of F814W; --any-filter").all()
    table, _ = predict.predict("hst", [str(exposure)], psf=other, any_filter=True)
    assert (table["status"] == "doubtful: filter F775W, the PSF is that of F814W").all()


def test_a_subarray_gets_the_psfs_of_its_place_on_the_chip(tmp_path):
    grid = read_stdpsf(_GRIDS["write_stdpsf"](tmp_path, "STDPSF_WFC3UV_F775W.fits"), pixel_scale=0.04)
    frame = dataclasses.replace(frame_of(lattice(2, 30), (80, 80)), chip=1, corner=(2500, 900))
    chip = grid.where(chip=1)
    np.testing.assert_allclose(given_psf(grid, frame).at(30, 40).samples, chip.at(2530, 940).samples, rtol=1e-12)
    # PSFs that were fitted to frames count as those do.
    fitted = join_chips({frame.extension: chip})
    np.testing.assert_array_equal(given_psf(fitted, frame).at(30, 40).samples, chip.at(30, 40).samples)
    with pytest.raises(ValueError, match="no chip 4; accepted: 1, 2"):
        given_psf(grid, dataclasses.replace(frame, chip=4))
    with pytest.raises(ValueError, match="does not tell the chip"):
        given_psf(grid, dataclasses.replace(frame, chip=0))


def test_a_chip_without_stars_is_a_row(folder, tmp_path):
    frame = read_flt(folder / "one_flt.fits")[0]
    write_flt(tmp_path / "dark_flt.fits", [dataclasses.replace(frame, science=np.zeros_like(frame.science))])
    table, _ = predict.predict("hst", [str(tmp_path / "dark_flt.fits")], psf=folder / "psf.npz")
    assert table["status"].tolist() == ["refused: no star was found in it"]


def test_what_networks_are_for():
    context = {"bank": {"optics": {"wavelength": 764.7}}}
    assert filters_of(context) == ["F775W"] and filters_of({"filters": ["F606W"]}) == ["F606W"]
    frame = frame_of(lattice(2, 30), (80, 80))
    uvis = dataclasses.replace(frame, camera="WFC3/UVIS")
    assert objections(uvis, context, None) == []
    infrared = dataclasses.replace(frame, camera="WFC3/IR", filter="F160W")
    assert objections(infrared, context, None) == [
        "camera WFC3/IR, the networks know WFC3/UVIS",
        "filter F160W, the networks know F775W",
    ]
    nameless = dataclasses.replace(frame, camera="")
    assert objections(nameless, context, None) == [
        "no camera in the header (INSTRUME, DETECTOR), the networks know WFC3/UVIS"
    ]
    binned = dataclasses.replace(uvis, pixel_scale=0.0792)
    assert objections(binned, context | {"psf": {"pixel_scale": 0.0396}}, None) == [
        "pixels of 0.0792 arcsec (binned?), the networks know 0.0396"
    ]
