"""A catalogue of a user's own: genuine FITS, RADMC-3D and HDF5 files, CSV, ECSV and Parquet."""

import json

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units
from astropy.io import fits
from astropy.table import Table

from dioscuri.analogues import catalogue
from dioscuri.analogues.observation.fits_maps import moment1_of_cube, read_fits
from dioscuri.analogues.user_catalogue import Channel, load

DISTANCE = 140.0  # pc
NAMES = ("b1_0010_0", "b1_0010_1", "b2_0007_0")
H, W = 6, 7


def profiles_of(path):
    with h5py.File(path) as stream:
        return {name: dataset[:] for name, dataset in stream["profiles"].items()}


# --- a user's files ------------------------------------------------------------------------------------------------


def sky_header(**extra):
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = "RA---SIN", "DEC--SIN"
    header["CRVAL1"], header["CRVAL2"], header["CRPIX1"], header["CRPIX2"] = 69.9, 25.7, 4.0, 3.5
    header["CDELT1"], header["CDELT2"] = -0.1 / 3600, 0.1 / 3600
    header["CUNIT1"] = header["CUNIT2"] = "deg"
    header["BMAJ"], header["BMIN"], header["BPA"] = 0.3 / 3600, 0.2 / 3600, 20.0
    header.update(extra)
    return header


def write_fits(path, data, **extra):
    fits.writeto(path, np.asarray(data, np.float32), sky_header(**extra))
    return path


@pytest.fixture
def maps(tmp_path):
    """Three continuum maps in Jy/beam with degenerate axes, as CASA writes them."""
    rng = np.random.default_rng(0)
    data = rng.uniform(1e-4, 1e-2, (3, H, W)).astype(np.float32)
    extra = {"CTYPE3": "FREQ", "CRVAL3": 230e9, "CRPIX3": 1.0, "CDELT3": 2e9, "CUNIT3": "Hz"}
    extra |= {"CTYPE4": "STOKES", "CRVAL4": 1.0, "CRPIX4": 1.0, "CDELT4": 1.0}
    files = [
        write_fits(tmp_path / f"{name}.fits", one[None, None], BUNIT="Jy/beam", **extra)
        for name, one in zip(NAMES, data)
    ]
    return files, data


BEAM = np.pi / (4 * np.log(2)) * 0.3 * 0.2 * (1 * units.arcsec).to_value("rad") ** 2


@pytest.fixture
def table():
    return Table({"image_id": NAMES, "m1": [0.3, 0.4, 0.5], "age1": [1e4, 2e4, 3e4], "tbol": [40.0, 50.0, 70.0]})


def write_csv(path, table, head="image_id,m1 [Msun],age1 [yr],tbol [K]"):
    rows = [",".join(str(value) for value in row) for row in table]
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def test_fits_and_csv(tmp_path, maps, table):
    files, data = maps
    written = write_csv(tmp_path / "meta.csv", table[::-1])  # the order of rows does not matter
    count = load(
        tmp_path / "user.h5", {"continuum_1300um": Channel(files)}, written, distance_pc=DISTANCE, separation_au=200.0
    )
    assert count == 3
    metadata = catalogue.read_metadata(tmp_path / "user.h5")
    assert metadata["image_id"].tolist() == sorted(NAMES)
    np.testing.assert_allclose(metadata["m1"], [0.3, 0.4, 0.5])
    np.testing.assert_allclose(metadata["age1"], [10, 20, 30])  # kyr
    np.testing.assert_allclose(metadata["tbol"], [40, 50, 70])
    images = catalogue.read_images(tmp_path / "user.h5", "continuum_1300um")
    np.testing.assert_allclose(images, data / BEAM, rtol=1e-5)
    frame = catalogue.read_frame(tmp_path / "user.h5")
    assert frame.pixel_au == pytest.approx(0.1 * DISTANCE, rel=1e-6)
    np.testing.assert_allclose(frame.beam_au, (0.3 * DISTANCE, 0.2 * DISTANCE, 20.0))
    assert frame.units["tbol"] == "K"


def test_ecsv_with_seds_and_parquet(tmp_path, maps, table):
    files, _ = maps
    table["m1"].unit, table["age1"].unit, table["tbol"].unit = "Msun", "yr", "K"
    table["sed"] = np.arange(12.0).reshape(3, 4) * units.Jy
    table.write(tmp_path / "meta.ecsv")
    fields = [pa.field("image_id", pa.string()), pa.field("m1", pa.float64(), metadata={"unit": "kg"})]
    columns = [pa.array(list(NAMES)), pa.array(table["m1"].quantity.to_value("kg"))]
    fields += [pa.field("sed", pa.list_(pa.float64())), pa.field("age1", pa.int64())]
    columns += [pa.array(table["sed"].value.tolist()), pa.array([10_000, 20_000, 30_000])]
    described = pa.schema(fields, metadata={"units": json.dumps({"age1": "yr", "sed": "Jy"})})
    pq.write_table(pa.Table.from_arrays(columns, schema=described), tmp_path / "meta.parquet")
    for kind in ("meta.ecsv", "meta.parquet"):
        out = tmp_path / f"{kind}.h5"
        load(out, {"continuum_1300um": Channel(files)}, tmp_path / kind, distance_pc=DISTANCE)
        metadata = catalogue.read_metadata(out)
        np.testing.assert_allclose(metadata["m1"], [0.3, 0.4, 0.5], rtol=1e-6)
        np.testing.assert_allclose(metadata["age1"], [10, 20, 30])
        np.testing.assert_allclose(profiles_of(out)["sed"], np.arange(12.0).reshape(3, 4))
        assert catalogue.read_frame(out).units["sed"] == "Jy"


def test_radmc_folders_continuum_and_line(tmp_path, table):
    rest = 2600.757633  # CO 1–0
    velocity = np.array([-3.0, -1.0, 1.0, 3.0])
    for k, name in enumerate(NAMES):
        (tmp_path / name).mkdir()
        line = np.zeros((4, H, W))
        line[k] = 1e-14
        planes = np.full((2, H, W), [[[1e-13]], [[4e-14]]])
        words = ["1", f"{W} {H}", "2", "1.5e14 1.5e14", "870.0", "1300.0", ""]
        (tmp_path / name / "image.out").write_text("\n".join([*words, *map(str, planes.ravel())]))
        lam = rest / (1 - velocity / 299792.458)
        words = ["1", f"{W} {H}", "4", "1.5e14 1.5e14", *(f"{value:.12f}" for value in lam), ""]
        (tmp_path / f"{name}.out").write_text("\n".join([*words, *map(str, line.ravel())]))
    folders = [tmp_path / name / "image.out" for name in NAMES]
    channels = {
        "continuum_870um": Channel(folders, wavelength_um=870.0),
        "continuum_1300um": Channel(folders, wavelength_um=1300.0),
        "moment1_co": Channel([tmp_path / f"{name}.out" for name in NAMES], rest_wavelength_um=rest),
    }
    load(tmp_path / "user.h5", channels, write_csv(tmp_path / "meta.csv", table))
    np.testing.assert_allclose(catalogue.read_images(tmp_path / "user.h5", "continuum_870um"), 1e10, rtol=1e-6)
    co = catalogue.read_images(tmp_path / "user.h5", "moment1_co")
    np.testing.assert_allclose(co[:, 2, 3], velocity[:3], atol=1e-4)
    assert catalogue.read_frame(tmp_path / "user.h5").pixel_au == pytest.approx(1.5e14 / 1.495978707e13)
    with pytest.raises(ValueError, match=r"2 wavelengths \(870, 1300 µm …\); channel 'x' must give wavelength_um"):
        load(tmp_path / "bad.h5", {"x": Channel(folders)}, tmp_path / "meta.csv")


def test_hdf5_stack(tmp_path, table):
    images = np.random.default_rng(0).uniform(size=(3, H, W))
    with h5py.File(tmp_path / "stack.h5", "w") as stream:
        stream["image_id"] = [name.encode() for name in NAMES[::-1]]
        stream["continuum"] = images[::-1]
        stream["continuum"].attrs["unit"] = "MJy/sr"
        stream.attrs["pixel_au"] = 12.5
    channel = Channel([tmp_path / "stack.h5"], dataset="continuum")
    load(tmp_path / "user.h5", {"continuum_1300um": channel}, write_csv(tmp_path / "meta.csv", table))
    found = catalogue.read_images(tmp_path / "user.h5", "continuum_1300um")
    np.testing.assert_allclose(found, 1e6 * images, rtol=1e-6)
    with pytest.raises(ValueError, match="no dataset images; there are continuum, image_id"):
        load(tmp_path / "bad.h5", {"x": Channel([tmp_path / "stack.h5"])}, tmp_path / "meta.csv")


def test_cubes_become_moment1_maps(tmp_path, table):
    """Gaussian lines at known velocities; the axis is frequency with a rest frequency, as ALMA delivers it."""
    rest, systemic = 219.56e9, 6.5
    velocity = systemic + np.arange(-10, 10.1, 0.4)
    truth = np.linspace(-2, 2, W)
    line = np.exp(-0.5 * ((velocity[:, None] - systemic - truth) / 0.6) ** 2)
    cube = np.repeat(line[:, None, :], H, axis=1) + np.random.default_rng(0).normal(0, 0.003, (len(velocity), H, W))
    cube[:, 0] = np.random.default_rng(1).normal(0, 0.003, (len(velocity), W))  # nothing but noise in the first row
    frequency = rest * (1 - velocity / 299792.458)
    step = frequency[1] - frequency[0]
    extra = {"CTYPE3": "FREQ", "CRVAL3": frequency[0], "CRPIX3": 1.0, "CDELT3": step, "CUNIT3": "Hz", "RESTFRQ": rest}
    files = [write_fits(tmp_path / f"{name}.fits", cube, BUNIT="K", **extra) for name in NAMES]
    channel = Channel(files, systemic_kms=systemic)
    written = write_csv(tmp_path / "meta.csv", table)
    load(tmp_path / "user.h5", {"moment1_c18o": channel}, written, distance_pc=DISTANCE)
    found = catalogue.read_images(tmp_path / "user.h5", "moment1_c18o")[1]
    np.testing.assert_allclose(found[1:], np.broadcast_to(truth, (H - 1, W)), atol=0.06)
    assert np.isnan(found[0]).all()  # below 10 σ
    assert catalogue.read_frame(tmp_path / "user.h5").units["moment1_c18o"] == "km/s"


def test_moment1_needs_channels_in_the_window():
    with pytest.raises(ValueError, match=r"no channel within 5.0 km/s of 100.0 km/s"):
        moment1_of_cube(np.ones((3, 2, 2)), np.array([0.0, 1, 2]), systemic_kms=100.0)


# --- single FITS files ---------------------------------------------------------------------------------------------


def test_brightness_temperature_and_surface_brightness_agree(tmp_path):
    extra = {"CTYPE3": "FREQ", "CRVAL3": 230e9, "CRPIX3": 1.0, "CDELT3": 2e9, "CUNIT3": "Hz"}
    kelvin = read_fits(write_fits(tmp_path / "k.fits", np.full((1, H, W), 2.0), BUNIT="K", **extra), DISTANCE)
    wanted = (2 * units.K).to_value("Jy/sr", units.brightness_temperature(230 * units.GHz))
    np.testing.assert_allclose(kelvin.data, wanted, rtol=1e-6)
    for key in ("RESTFRQ", "RESTFREQ"):  # a 2-D map may say it only so
        flat = read_fits(
            write_fits(tmp_path / f"{key}.fits", np.full((H, W), 2e3), BUNIT="mK", **{key: 230e9}), DISTANCE
        )
        assert flat.unit == "Jy/sr" and flat.data.shape == (H, W)
        np.testing.assert_allclose(flat.data, wanted, rtol=1e-6)
    pixel = read_fits(write_fits(tmp_path / "p.fits", np.ones((H, W)), BUNIT="Jy/pixel"), DISTANCE)
    np.testing.assert_allclose(pixel.data, 1 / (0.1 * units.arcsec).to_value("rad") ** 2, rtol=1e-5)
    moment = read_fits(write_fits(tmp_path / "m.fits", np.ones((H, W)), BUNIT="m/s"), DISTANCE)
    assert (moment.unit, moment.data[0, 0]) == ("km/s", pytest.approx(1e-3))


def test_an_image_with_east_to_the_right_is_turned_over(tmp_path):
    data = np.arange(H * W, dtype=float).reshape(H, W)
    west = read_fits(write_fits(tmp_path / "west.fits", data, BUNIT="Jy/sr"), DISTANCE)
    east = read_fits(write_fits(tmp_path / "east.fits", data, BUNIT="Jy/sr", CDELT1=0.1 / 3600), DISTANCE)
    np.testing.assert_array_equal(west.data, data)
    np.testing.assert_array_equal(east.data, data[:, ::-1])


def test_pixels_may_be_lengths(tmp_path):
    extra = {"CTYPE1": "X", "CTYPE2": "Y", "CUNIT1": "cm", "CUNIT2": "cm", "CDELT1": 3e14, "CDELT2": 3e14}
    found = read_fits(write_fits(tmp_path / "box.fits", np.ones((H, W)), BUNIT="Jy/sr", **extra))
    assert found.pixel_au == pytest.approx(3e14 / 1.495978707e13)


@pytest.mark.parametrize(
    ("extra", "distance", "complaint"),
    [
        ({"BUNIT": "Jy/beam"}, None, "give distance_pc"),
        ({"BUNIT": "Jy/beam", "BMAJ": 0.0}, DISTANCE, "there is no beam size"),
        ({"BUNIT": "K"}, DISTANCE, "no frequency in the header: no spectral axis, neither RESTFRQ nor RESTFREQ"),
        ({"BUNIT": "K", "RESTFRQ": 0.0}, DISTANCE, "no spectral axis, RESTFRQ = 0.0; give RESTFRQ in Hz"),
        ({"BUNIT": "K", "RESTFREQ": -1.0}, DISTANCE, "no spectral axis, RESTFREQ = -1.0; give RESTFRQ in Hz"),
        ({"BUNIT": "furlong"}, DISTANCE, "BUNIT 'furlong' is not a unit"),
        ({"BUNIT": "erg"}, DISTANCE, "BUNIT 'erg' is not accepted; accepted are Jy/beam"),
        ({}, DISTANCE, "no BUNIT; accepted are"),
        ({"BUNIT": "K", "CDELT2": 0.3 / 3600}, DISTANCE, "square pixels are needed"),
        ({"BUNIT": "K", "CTYPE1": "X", "CTYPE2": "Y"}, DISTANCE, "no pixel scale"),
    ],
)
def test_fits_that_lack_something_say_what(tmp_path, extra, distance, complaint):
    path = write_fits(tmp_path / "map.fits", np.ones((H, W)), **extra)
    with pytest.raises(ValueError, match=f"map.fits: .*{complaint}"):
        read_fits(path, distance)


def test_files_that_are_no_fits(tmp_path):
    (tmp_path / "x.fits").write_text("no")
    with pytest.raises(ValueError, match=r"x\.fits: not a FITS file: it begins with"):
        read_fits(tmp_path / "x.fits", DISTANCE)


# --- what can be wrong ---------------------------------------------------------------------------------------------


def load_all(tmp_path, files, metadata, **more):
    return load(tmp_path / "user.h5", {"continuum_1300um": Channel(files)}, metadata, distance_pc=DISTANCE, **more)


def test_an_image_without_a_row(tmp_path, maps, table):
    written = write_csv(tmp_path / "meta.csv", table[:2])
    with pytest.raises(ValueError, match=r"meta.csv: no entry for 1 image_id of the images: b2_0007_0"):
        load_all(tmp_path, maps[0], written)


def test_more_rows_than_images_are_fine(tmp_path, maps, table):
    assert load_all(tmp_path, maps[0][:2], write_csv(tmp_path / "meta.csv", table)) == 2


def test_a_row_given_twice(tmp_path, maps, table):
    table.add_row(table[0])
    with pytest.raises(ValueError, match="image_id given twice: b1_0010_0"):
        load_all(tmp_path, maps[0], write_csv(tmp_path / "meta.csv", table))


def test_channels_with_different_images(tmp_path, maps, table):
    channels = {"continuum_1300um": Channel(maps[0]), "continuum_870um": Channel(maps[0][:2])}
    written = write_csv(tmp_path / "meta.csv", table)
    with pytest.raises(ValueError, match="channel 'continuum_870um': no entry for 1 image_id of the first channel"):
        load(tmp_path / "user.h5", channels, written, distance_pc=DISTANCE)


@pytest.mark.parametrize(
    ("head", "complaint"),
    [
        ("image_id,m1,age1 [yr],tbol [K]", "no unit for column 'm1', expected is one like Msun; write 'm1 .unit.'"),
        ("image_id,m1 [Msun],age1 [yr],tilt", "no unit for column 'tilt', '' if it has none"),
        ("image_id,m1 [s],age1 [yr],tbol [K]", "column 'm1' is in 's', which is no 'Msun'"),
        ("image_id,m1 [Msuns],age1 [yr],tbol [K]", "unit 'Msuns' of column 'm1' is not known"),
        ("name,m1 [Msun],age1 [yr],tbol [K]", "no column image_id; there are name, m1"),
    ],
)
def test_units_and_columns_that_are_wrong(tmp_path, maps, table, head, complaint):
    with pytest.raises(ValueError, match=f"meta.csv: .*{complaint}"):
        load_all(tmp_path, maps[0], write_csv(tmp_path / "meta.csv", table, head))


def test_units_may_be_given_beside_the_table(tmp_path, maps, table):
    written = write_csv(tmp_path / "meta.csv", table, "image_id,m1,age1,tbol")
    load_all(tmp_path, maps[0], written, column_units={"m1": "kg", "age1": "kyr", "tbol": "K"})
    metadata = catalogue.read_metadata(tmp_path / "user.h5")
    np.testing.assert_allclose(metadata["m1"], np.array([0.3, 0.4, 0.5]) / 1.988409870698051e30)


def test_images_of_another_shape_or_scale(tmp_path, maps, table):
    written = write_csv(tmp_path / "meta.csv", table)
    last = maps[0][-1].name
    (tmp_path / "odd").mkdir()
    odd = write_fits(tmp_path / "odd" / last, np.ones((H, H)), BUNIT="Jy/beam")
    with pytest.raises(ValueError, match=r"odd/.*.fits: shape \(6, 6\), but the images before have \(6, 7\)"):
        load_all(tmp_path, [*maps[0][:-1], odd], written)
    odd.unlink()
    fine = {"CDELT1": -0.05 / 3600, "CDELT2": 0.05 / 3600}
    odd = write_fits(tmp_path / "odd" / last, np.ones((H, W)), BUNIT="Jy/beam", **fine)
    with pytest.raises(ValueError, match=r"odd/.*.fits: pixel of .* bring them to one scale"):
        load_all(tmp_path, [*maps[0][:-1], odd], written)
    assert not (tmp_path / "user.h5").exists()  # whole or not at all


def test_unknown_kinds_of_files(tmp_path, maps, table):
    written = write_csv(tmp_path / "meta.csv", table)
    with pytest.raises(ValueError, match=r"unknown kind of image file; accepted are .fits"):
        load_all(tmp_path, [tmp_path / "image.png"], written)
    with pytest.raises(ValueError, match=r"unknown kind of table; accepted are .csv, .ecsv, .parquet"):
        load_all(tmp_path, maps[0], tmp_path / "meta.xlsx")


def test_missing_numbers_stay_missing(tmp_path, maps):
    (tmp_path / "meta.csv").write_text(
        "image_id,m1 [Msun]\n" + "".join(f"{n},{v}\n" for n, v in zip(NAMES, ("1", "", "3")))
    )
    load_all(tmp_path, maps[0], tmp_path / "meta.csv")
    np.testing.assert_array_equal(catalogue.read_metadata(tmp_path / "user.h5")["m1"], [1, np.nan, 3])
