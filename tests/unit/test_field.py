"""The simulated cluster: its stars follow the laws asked for, and its exposures show them as a CCD would."""

import functools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dioscuri.cluster import field
from dioscuri.cluster.detector import Detector, bleed, expose
from dioscuri.cluster.frames import DataQuality, read_flt
from dioscuri.cluster.scene import Scene
from dioscuri.cluster.stars import FILTERS, SINGLE, TIGHT, WIDE, Cluster, Isochrone, draw_cluster
from dioscuri.psf.effective import Psf
from dioscuri.psf.optics import OPTICS
from dioscuri.stamps.mocks import Renderer

QUIET = {"cosmic_rays": 0.0, "hot_pixels": 0.0, "bad_pixels": 0.0, "bad_columns": 0}
SETTINGS = {
    "shape": [160, 200],
    "chips": 2,
    "bands": {"F775W": {"exposure_time": 20.0, "exposures": 2, "background": 4.0}},
    "dither": 6.0,
    "cluster": {"n_stars": 90, "core_radius": 5.0},
    "detector": {"bad_columns": 0, "cosmic_rays_flagged": 1.0},
    "psf": {"grid": 2, "size": 25},
}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("field")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(field, "_base_psfs", functools.cache(field._base_psfs))  # seconds each time
        yield folder, field.simulate(folder, 5, SETTINGS)


def rng():
    return np.random.default_rng(11)


# --- the stars --------------------------------------------------------------------------------------------


def test_main_sequence_lies_where_the_paper_sees_it():
    """Between instrumental −11 and −9 in F775W (20 s, M4's distance and age) there are dwarfs of 0.5–0.75 M☉."""
    isochrone = Isochrone(Cluster())
    mass = np.linspace(0.2, 0.79, 60)
    red, blue = (isochrone.magnitude(mass, FILTERS[name]) for name in ("F775W", "F467M"))
    assert (np.diff(red) < 0).all() and (np.diff(blue - red) < 0).all()
    instrumental = red - FILTERS["F775W"].zero_point - 2.5 * np.log10(20.0)
    in_range = mass[(instrumental > -11) & (instrumental < -9)]
    assert 0.5 < in_range.min() < in_range.max() < 0.75
    # The turn-off of 12.7 Gyr at [Fe/H] = −1.1: just above 0.8 M☉.
    assert 0.8 < isochrone.mass_max < 0.87


def test_black_body_of_the_sun():
    """A star of solar luminosity and radius: F_λ(10 pc) at 7648 Å against astropy's black body of 5772 K."""
    from astropy import units
    from astropy.modeling.models import BlackBody

    class Sun(Isochrone):
        def __init__(self):
            self._distance, self._age = 0.01, np.array(0.0)
            self._formulae = type("", (), {"evolve": staticmethod(lambda mass, age: (np.ones(1), np.ones(1)))})

    band = FILTERS["F775W"]
    body = BlackBody(5772 * units.K, scale=1 * units.erg / units.s / units.cm**2 / units.AA / units.sr)
    flux = np.pi * body(band.pivot * units.AA).value * (1 * units.R_sun / (10 * units.pc)).decompose().value ** 2
    expected = -2.5 * np.log10(flux) - 21.1 + band.extinction
    assert Sun().magnitude(np.ones(1), band)[0] == pytest.approx(expected, abs=2e-3)


def test_equal_pair_is_three_quarters_of_a_magnitude_brighter():
    stars = draw_cluster(Cluster(n_stars=4000, mass_ratio_min=0.999999, wide_fraction=0.5), ["F775W"], (20, 20), 1)
    pairs = stars[stars["is_binary"] & (stars["mass1"] < 0.8)]
    np.testing.assert_allclose(pairs["mag1_F775W"] - pairs["mag_F775W"], 2.5 * np.log10(2), atol=1e-3)


def test_surface_density_is_kings():
    cluster = Cluster(n_stars=20_000, core_radius=5.0, tidal_radius=1000.0)
    stars = draw_cluster(cluster, ["F775W"], (30.0, 30.0), 2)
    inside = stars["radius"][stars["radius"] < 30.0]
    r = np.linspace(0, 30, 2000)
    density = ((1 + (r / 5.0) ** 2) ** -0.5 - (1 + 200.0**2) ** -0.5) ** 2 * r
    cumulative = np.cumsum(density) / density.sum()
    assert stats.kstest(inside, lambda x: np.interp(x, r, cumulative)).pvalue > 0.01
    uniform = stats.kstest(inside, lambda x: (x / 30.0) ** 2).pvalue
    assert uniform < 1e-10


def test_pairs_follow_their_law():
    cluster = Cluster(n_stars=20_000, wide_fraction=0.2, wide_fraction_core=0.05, tight_fraction=0.1)
    stars = draw_cluster(cluster, ["F775W"], (25.0, 25.0), 3)
    for core, fraction in ((True, 0.05), (False, 0.2)):
        part = stars[stars["in_core"] == core]
        for kind, expected in ((WIDE, fraction), (TIGHT, 0.1)):
            error = np.sqrt(expected * (1 - expected) / len(part))
            assert abs((part["kind"] == kind).mean() - expected) < 4 * error
    wide = stars[stars["kind"] == WIDE]
    # 0.1–2 px of WFC3/UVIS are 7–140 au at 1.72 kpc (paper, §4.3).
    assert 6.8 < wide["sep_au"].min() < 7.5 and 134 < wide["sep_au"].max() < 137
    assert stats.kstest(wide["sep"], stats.uniform(0.003962, 0.07924 - 0.003962).cdf).pvalue > 0.01
    separation = np.hypot(wide["xi2"] - wide["xi"], wide["eta2"] - wide["eta"])
    np.testing.assert_allclose(separation, wide["sep"], rtol=1e-9)
    single = stars[stars["kind"] == SINGLE]
    assert (single["sep"] == 0).all() and (single["flux_ratio_F775W"] == 0).all()
    assert stars["flux_ratio_F775W"].between(0, 1).all()


@pytest.mark.parametrize("wrong", [{"separation": "kepler"}, {"wide_fraction": 0.95}, {"sep_min": 1.0}])
def test_impossible_clusters(wrong):
    with pytest.raises(ValueError, match="cluster"):
        Cluster(**wrong)


# --- the detector -------------------------------------------------------------------------------------------


def test_bleeding_conserves_charge_and_stays_in_the_column():
    image, full = np.zeros((41, 3)), np.zeros((41, 3), bool)
    image[20, 1] = 1000.0
    bleed(image, 100.0, full)
    expected = np.zeros((41, 3))
    expected[16:25, 1] = 100.0  # 900 e- on either side in equal parts: four and a half pixels each
    expected[[15, 25], 1] = 50.0
    np.testing.assert_allclose(image, expected)
    assert (full == (expected > 0)).all()
    image[:], full[:] = 0.0, False
    image[40, 0] = 500.0
    bleed(image, 100.0, full)
    assert image.sum() == 300.0  # what runs over the edge is lost


def test_noise_is_that_of_photons_and_readout():
    expected = np.full((300, 300), 30.0)
    science, error, dq = expose(expected, 20.0, Detector(**QUIET), rng())
    n = science.size
    variance = 30.0 + 3.1**2
    assert abs(science.mean() - 30.0) < 4 * np.sqrt(variance / n)
    assert abs(science.var() / variance - 1) < 5 * np.sqrt(2 / n)
    assert not dq.any()
    np.testing.assert_allclose(error**2, np.maximum(science, 0) + 3.1**2, rtol=1e-5)


def test_defects_and_cosmic_rays_are_flagged():
    detector = Detector(cosmic_rays=1e-5, cosmic_rays_flagged=1.0, hot_pixels=1e-3, bad_pixels=1e-3, bad_columns=1)
    science, _, dq = expose(np.full((400, 400), 10.0), 300.0, detector, rng())
    clean = science[dq == 0]
    assert abs(np.median(clean) - 10.0) < 0.5 and clean.max() < 60.0
    for bit in (DataQuality.COSMIC_RAY, DataQuality.HOT):
        assert science[(dq & int(bit)) != 0].mean() > 50.0
    assert np.median(science[(dq & int(DataQuality.BAD_PIXEL)) != 0]) < 10.0
    hits = 1e-5 * 300 * 160_000
    assert 2 * hits < ((dq & int(DataQuality.COSMIC_RAY)) != 0).sum() < 20 * hits
    unknown = Detector(**{**QUIET, "cosmic_rays": 1e-5, "cosmic_rays_flagged": 0.0})
    science, _, dq = expose(np.full((400, 400), 10.0), 300.0, unknown, rng())
    assert not dq.any() and science.max() > 200.0


# --- painting -------------------------------------------------------------------------------------------------


def gaussian_grid() -> Psf:
    """Four Gaussians of different widths at the corners of 100 × 80 px."""
    offset = (np.arange(81) - 40) / 4
    samples = [
        np.exp(-0.5 * (offset[:, None] ** 2 + offset**2) / s**2) / (2 * np.pi * s**2) for s in (0.9, 1, 1.1, 1.3)
    ]
    x, y = np.array([0.0, 99.0, 0.0, 99.0]), np.array([0.0, 0.0, 79.0, 79.0])
    return Psf(np.stack(samples), 4, 0.04, {"x": x, "y": y})


def test_scene_is_the_psf_at_each_position():
    psf = gaussian_grid()
    for x, y in ((30.3, 20.8), (-3.0, 60.2), (98.7, 85.0)):
        image = np.zeros((80, 100))
        Scene(psf).paint(image, [x], [y], [1000.0])
        alone = Renderer(psf.at(x, y)).render(x, y, 1000.0, size=100)[0][:80]
        np.testing.assert_allclose(image, alone, atol=1e-9)


def test_scene_needs_positions():
    psf = gaussian_grid()
    with pytest.raises(ValueError, match="no positions"):
        Scene(Psf(psf.samples, 4, 0.04))
    with pytest.raises(ValueError, match="do not form a grid"):
        Scene(Psf(psf.samples, 4, 0.04, {"x": np.arange(4.0), "y": np.arange(4.0)}))


# --- the whole ------------------------------------------------------------------------------------------------


def test_files(simulated):
    folder, paths = simulated
    assert [path.name for path in paths] == ["simf775w1q_flt.fits", "simf775w2q_flt.fits"]
    for path in paths:
        frames = read_flt(path)
        assert [(frame.extension, frame.chip, frame.shape) for frame in frames] == [
            (1, 2, (160, 200)),
            (2, 1, (160, 200)),
        ]
        assert frames[0].filter == "F775W" and frames[0].exposure_time == 20.0
        for frame in frames:
            assert Psf.load(folder / "psf" / f"{frame.name}.npz").n_members == 4


def test_images_are_the_truth_painted_with_its_psf(simulated):
    """All of the truth, painted, leaves nothing but photon and readout noise on the usable pixels."""
    folder, paths = simulated
    truth = pd.read_parquet(folder / "truth_exposures.parquet")
    for path in paths:
        for frame in read_flt(path):
            here = truth[(truth["exposure"] == frame.exposure) & (truth["extension"] == frame.extension)]
            model = np.full(frame.shape, 4.0)
            scene = Scene(Psf.load(folder / "psf" / f"{frame.name}.npz"))
            for end in "12":
                scene.paint(model, here[f"x{end}"], here[f"y{end}"], here[f"flux{end}"])
            inner = np.zeros(frame.shape, bool)
            inner[15:-15, 15:-15] = True  # stars beyond the edge are not in the truth
            used = inner & ~frame.bad()
            pull = ((frame.science - model) / np.sqrt(np.maximum(model, 0) + 3.1**2))[used]
            assert len(pull) > 15_000
            assert abs(pull.mean()) < 4 / np.sqrt(len(pull)) + 0.005  # faint tails of cosmic rays are below the flag
            assert abs(pull.std() - 1) < 0.05
            assert (model[inner].max() - 4) > 100 * 3.1  # there are stars
            saturated = here[here["saturated"]]
            assert (saturated["flux"] > 1e5).all()


def test_pointing_error_only_shifts(simulated):
    """The header's WCS puts the stars off by the same (small) offset all over a frame."""
    folder, paths = simulated
    stars = pd.read_parquet(folder / "truth.parquet").set_index("star_id")
    truth = pd.read_parquet(folder / "truth_exposures.parquet")
    for path in paths:
        frame = read_flt(path)[0]
        here = truth[(truth["exposure"] == frame.exposure) & (truth["extension"] == 1)]
        told = frame.wcs.all_world2pix(stars.loc[here["star_id"], ["ra", "dec"]].to_numpy(), 0)
        offset = told - here[["x1", "y1"]].to_numpy()
        assert np.ptp(offset, axis=0).max() < 1e-3
        assert 1e-3 < np.abs(offset).max() < 5 * 0.02 / field.PIXEL_SCALE


def test_truth_of_pairs_and_neighbours(simulated):
    folder, _ = simulated
    stars = pd.read_parquet(folder / "truth.parquet")
    truth = pd.read_parquet(folder / "truth_exposures.parquet").merge(stars[["star_id", "sep", "kind"]], on="star_id")
    np.testing.assert_allclose(truth["sep_x"] * field.PIXEL_SCALE, truth["sep_y"], rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(truth["x"] * truth["flux"], truth["x1"] * truth["flux1"] + truth["x2"] * truth["flux2"])
    pairs = truth[truth["kind"] == WIDE]
    along = np.hypot(pairs["sep_x"] * np.cos(pairs["position_angle"]) - (pairs["x2"] - pairs["x1"]), 0)
    assert along.max() < 1e-6
    first = stars.iloc[0]
    others = np.hypot(stars["x"] - first["x"], stars["y"] - first["y"]).iloc[1:]
    assert first["neighbour_sep"] == pytest.approx(others.min())
    ratio = 10 ** (-0.4 * (stars["mag_F775W"][others.idxmin()] - first["mag_F775W"]))
    assert first["neighbour_flux_ratio"] == pytest.approx(ratio)


def test_psf_varies_slowly_over_the_field_and_with_time(simulated):
    folder, _ = simulated
    one, other = (Psf.load(folder / "psf" / f"simf775w{number}q_1.npz") for number in (1, 2))
    peak = one.samples.max((1, 2))
    assert 0.002 < np.ptp(peak) / peak.mean() < 0.1
    assert 0.0005 < abs(other.samples.max((1, 2)) / peak - 1).max() < 0.1
    nominal = OPTICS["hst_f775w"]
    assert (abs(one.parameters["jitter"] / nominal.jitter - 1) <= 0.02 + 1e-9).all()
    assert (abs(one.parameters["wfe"] - nominal.wfe_nm - 15.0) <= 6.0 + 1e-9).all()


def test_an_exposure_depends_on_its_number_alone(simulated, tmp_path):
    bands = {"F775W": {**SETTINGS["bands"]["F775W"], "exposures": 1}}
    (path,) = field.simulate(tmp_path, 5, {**SETTINGS, "bands": bands})
    assert path.read_bytes() == simulated[1][0].read_bytes()


def test_unknown_filter_is_named():
    with pytest.raises(ValueError, match="F606W"):
        field.Field.from_settings({"bands": {"F606W": {"exposure_time": 1, "exposures": 1, "background": 1}}})
