"""TrackGrid against closed forms, SciPy's interpolation and root finding, and its own inverse."""

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator
from scipy.optimize import brentq

from dioscuri.stars import analytic, mist, tracks
from dioscuri.stars.tracks import LOG_AGE, LOG_RADIUS, PairStatus, TrackGrid, describe_star, load_tracks

FEH, MASS, EEP = np.array([-1.0, 0.0, 0.5]), np.array([0.2, 0.5, 1.0, 2.0]), np.arange(202.0, 262.0)


def multilinear(feh, mass, eep):
    """What multilinear interpolation reproduces exactly; the age grows with EEP and falls with mass."""
    columns = [8.0 + 0.05 * (eep - 202) - 0.4 * mass * (1 + 0.001 * (eep - 202)) + 0.1 * feh]
    columns += [k + 0.3 * k * mass + 0.01 * eep * feh - 0.02 * mass * feh * eep for k in range(1, 6)]
    return np.stack(columns, axis=-1)


@pytest.fixture
def grid() -> TrackGrid:
    values = multilinear(*np.meshgrid(FEH, MASS, EEP, indexing="ij"))
    return TrackGrid(FEH, MASS, EEP, values, {"source": "closed form"})


@pytest.fixture(scope="module")
def embedded() -> TrackGrid:
    return load_tracks()


def random_stars(n: int, seed: int = 0):
    random = np.random.default_rng(seed)
    return random.uniform(0.2, 2.0, n), random.uniform(202, 261, n), random.uniform(-1.0, 0.5, n)


def test_evaluate_is_exact_for_multilinear_tracks(grid):
    mass, eep, feh = random_stars(500)
    np.testing.assert_allclose(grid.evaluate(mass, eep, feh), multilinear(feh, mass, eep), rtol=1e-12)


def test_evaluate_agrees_with_scipy_on_real_tracks(embedded):
    mass, _, feh = random_stars(300)
    mass, eep = np.maximum(mass, 0.61), np.linspace(202, 605, 300)
    reference = RegularGridInterpolator((embedded.feh, embedded.mass, embedded.eep), embedded.values)
    np.testing.assert_allclose(
        embedded.evaluate(mass, eep, feh), reference(np.column_stack([feh, mass, eep])), rtol=1e-12
    )


def test_nodes_and_corners_are_returned_as_stored(grid):
    for i, feh in enumerate(FEH):
        for j, mass in enumerate(MASS):
            np.testing.assert_array_equal(grid.evaluate(mass, EEP, feh), grid.values[i, j])


@pytest.mark.parametrize(
    ("mass", "eep", "feh"),
    [
        (0.19, 210, 0),
        (2.01, 210, 0),
        (1, 201.9, 0),
        (1, 261.1, 0),
        (1, 210, -1.01),
        (1, 210, 0.51),
        (np.nan, 210, 0),
    ],
)
def test_off_the_grid_is_nan(grid, mass, eep, feh):
    assert np.isnan(grid.evaluate(mass, eep, feh)).all()


def test_ended_tracks_give_nothing_but_weigh_nothing_at_a_node(grid):
    values = grid.values.copy()
    values[:, 0, 20:] = np.nan
    shorter = TrackGrid(FEH, MASS, EEP, values)
    assert np.isfinite(shorter.evaluate(0.3, 221.0, 0.0)).all()  # the last EEP that both neighbours reach
    assert np.isnan(shorter.evaluate(0.3, 221.5, 0.0)).all()
    assert np.isfinite(shorter.evaluate(0.5, 261.0, 0.0)).all()  # on the node, the ended neighbour does not count
    assert np.isnan(shorter.eep_at_age(0.3, 12.0, 0.0)).all()


def test_eep_at_age_inverts_evaluate_to_rounding(embedded):
    random = np.random.default_rng(3)
    mass, eep, feh = (
        random.uniform(0.61, 2.2, 2000),
        random.uniform(202, 605, 2000),
        random.uniform(-2, 0.5, 2000),
    )
    log_age = embedded.evaluate(mass, eep, feh)[:, LOG_AGE]
    found = embedded.eep_at_age(mass, log_age, feh)
    # At the tip of the giant branch EEPs lie 5e-7 dex apart in age: rounding (2e-15) is 1e-8 of an EEP.
    np.testing.assert_allclose(found, eep, atol=1e-6)
    np.testing.assert_allclose(embedded.evaluate(mass, found, feh)[:, LOG_AGE], log_age, atol=1e-12)


@pytest.mark.parametrize(
    ("mass", "feh", "log_age"),
    [(0.35, -0.6, 10.0), (0.83, 0.11, 9.8), (1.31, -1.7, 9.3), (1.013, 0.0, 9.9)],
)
def test_eep_at_age_agrees_with_root_finding(embedded, mass, feh, log_age):
    def excess(eep: float) -> float:
        return embedded.evaluate(mass, eep, feh)[0, LOG_AGE] - log_age

    root = brentq(excess, 203, 450, xtol=1e-10)
    assert embedded.eep_at_age(mass, log_age, feh)[0] == pytest.approx(root, abs=1e-8)


def test_ages_outside_a_track_are_nan(embedded):
    assert np.isnan(embedded.eep_at_age(1.0, np.array([7.0, 10.2]), 0.0)).all()
    edge = embedded.evaluate(1.0, np.array([202.0, 605.0]), 0.0)[:, LOG_AGE]
    np.testing.assert_array_equal(embedded.eep_at_age(1.0, edge, 0.0), [202.0, 605.0])


def test_pairs_share_age_and_metallicity(embedded):
    random = np.random.default_rng(5)
    n = 5000
    m1, q = random.uniform(0.1, 2, n), random.uniform(0.01, 1, n)
    feh, eep1 = random.uniform(-2, 0.5, n), random.uniform(202, 605, n)
    pairs = embedded.pairs(m1, q, feh, eep1)
    ok = pairs.status == PairStatus.OK
    assert 0.3 < ok.mean() < 0.9
    assert np.isfinite(pairs.primary[ok]).all()
    assert np.isfinite(pairs.secondary[ok]).all()
    assert np.isnan(pairs.secondary[~ok]).all()
    np.testing.assert_array_equal(pairs.primary[ok], np.column_stack([embedded.evaluate(m1, eep1, feh), eep1])[ok])
    np.testing.assert_allclose(pairs.secondary[ok, LOG_AGE], pairs.primary[ok, LOG_AGE], atol=1e-12)
    again = embedded.evaluate(m1 * q, pairs.secondary[:, -1], feh)
    np.testing.assert_allclose(again[ok], pairs.secondary[ok, :-1], rtol=1e-10, atol=1e-10)


def test_pair_of_equals_is_twice_the_same_star(embedded):
    pairs = embedded.pairs(1.1, 1.0, -0.3, np.linspace(202, 605, 50))
    np.testing.assert_allclose(pairs.secondary, pairs.primary, rtol=1e-6)


@pytest.mark.parametrize(
    ("m1", "q", "feh", "eep1", "max_age_gyr", "status"),
    [
        (1.0, 0.8, 0.0, 300, None, PairStatus.OK),
        (2.5, 0.8, 0.0, 300, None, PairStatus.OFF_GRID),
        (1.0, 0.05, 0.0, 300, None, PairStatus.OFF_GRID),
        (1.0, 0.8, 0.6, 300, None, PairStatus.OFF_GRID),
        (0.4, 0.8, 0.0, 500, None, PairStatus.OFF_GRID),  # ends at TAMS
        (1.0, 0.8, 0.0, 606, None, PairStatus.OFF_GRID),
        (np.nan, 0.8, 0.0, 300, None, PairStatus.OFF_GRID),
        (2.0, 0.1, 0.0, 203, None, PairStatus.UNREACHABLE_AGE),  # 0.2 M☉ is not yet on the main sequence
        (0.5, 0.9, 0.0, 400, None, PairStatus.OK),
        (0.5, 0.9, 0.0, 400, 13.8, PairStatus.TOO_OLD),
        (1.0, 0.8, 0.0, 300, 13.8, PairStatus.OK),
    ],
)
def test_status_says_what_became_of_a_pair(embedded, m1, q, feh, eep1, max_age_gyr, status):
    assert embedded.pairs(m1, q, feh, eep1, max_age_gyr).status.tolist() == [status]


def test_status_of_each_star(embedded):
    pairs = embedded.pairs([1.0, 2.5, 1.0, 2.0, 0.5], [0.8, 0.8, 0.05, 0.1, 0.9], 0.0, [300, 300, 300, 203, 400], 13.8)
    assert [[PairStatus(code).name for code in star] for star in pairs.star_status] == [
        ["OK", "OK"],
        ["OFF_GRID", "UNREACHABLE_AGE"],  # no primary, no age
        ["OK", "OFF_GRID"],
        ["OK", "UNREACHABLE_AGE"],
        ["TOO_OLD", "TOO_OLD"],
    ]


def test_a_hole_or_a_falling_age_is_an_error(grid):
    holed = grid.values.copy()
    holed[1, 2, 5] = np.nan
    with pytest.raises(ValueError, match=r"\[Fe/H\] = 0, 1 M☉ has a hole at EEP 207"):
        TrackGrid(FEH, MASS, EEP, holed)
    falling = grid.values.copy()
    falling[2, 3, 9, LOG_AGE] = 0.0
    with pytest.raises(ValueError, match=r"\[Fe/H\] = 0\.5, 2 M☉ has an age that falls at EEP 210"):
        TrackGrid(FEH, MASS, EEP, falling)


def test_axes_must_fit_the_values(grid):
    with pytest.raises(ValueError, match="the axes ask for"):
        TrackGrid(FEH, MASS[1:], EEP, grid.values)
    with pytest.raises(ValueError, match="ascending"):
        TrackGrid(FEH[::-1], MASS, EEP, grid.values)
    with pytest.raises(ValueError, match="steps of one"):
        TrackGrid(FEH, MASS, EEP * 2, grid.values)


def test_save_and_load(grid, tmp_path):
    grid.save(tmp_path / "tracks.npz")
    again = TrackGrid.load(tmp_path / "tracks.npz")
    np.testing.assert_array_equal(again.values, grid.values)
    assert again.provenance == {"source": "closed form"}
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(ValueError, match=r"text\.npz: not a track grid"):
        TrackGrid.load(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(ValueError, match=r"other\.npz: not a track grid"):
        TrackGrid.load(tmp_path / "other.npz")
    with pytest.raises(FileNotFoundError):
        TrackGrid.load(tmp_path / "absent.npz")


def test_cache_is_used_only_for_the_same_request(tmp_path, monkeypatch):
    built = []
    original = analytic.build
    monkeypatch.setattr(tracks.analytic, "build", lambda *a: built.append(a) or original(*a))
    cache = tmp_path / "tracks.npz"
    first = load_tracks(feh=[-0.5, 0.0], cache=cache)
    again = load_tracks(feh=[0.0, -0.5], cache=cache)
    assert len(built) == 1
    np.testing.assert_array_equal(first.values, again.values)
    load_tracks(feh=[-0.5, 0.0], mass_max=1.5, cache=cache)
    assert len(built) == 2
    cache.write_bytes(cache.read_bytes()[:1000])
    load_tracks(feh=[-0.5, 0.0], mass_max=1.5, cache=cache)
    assert len(built) == 3


def test_mist_or_nothing(tmp_path):
    with pytest.raises(mist.MistError, match=f"{tmp_path}.*dioscuri download-mist"):
        load_tracks("mist", mist_dir=tmp_path)


def test_auto_falls_back_and_says_why(tmp_path, caplog):
    grid = load_tracks("auto", mist_dir=tmp_path, feh=[-0.5, 0.0])
    assert grid.provenance["source"] == "embedded"
    assert grid.provenance["requested"] == "auto"
    assert str(tmp_path) in grid.provenance["fallback"]
    assert "falling back" in caplog.text


def test_unknown_source():
    with pytest.raises(ValueError, match="found 'padova'; accepted: embedded, mist, auto"):
        load_tracks("padova")


def test_describe_star(embedded):
    sun = describe_star(embedded, 1.0, 0.0, age_gyr=4.57)
    assert sun["age_gyr"] == pytest.approx(4.57, rel=1e-9)
    assert sun["teff"] == pytest.approx(5772, abs=120)
    assert sun["logg"] == pytest.approx(4.438, abs=0.03)
    assert sun["radius"] == pytest.approx(1.0, abs=0.04)
    same = describe_star(embedded, 1.0, 0.0, eep=sun["eep"])
    assert same == pytest.approx(sun, rel=1e-9)
    assert np.log10(sun["radius"]) == pytest.approx(embedded.evaluate(1.0, sun["eep"], 0.0)[0, LOG_RADIUS])


@pytest.mark.parametrize(
    ("star", "message"),
    [
        ({"mass": 1.0, "feh": 0.0}, "exactly one of the two; found neither"),
        ({"mass": 1.0, "feh": 0.0, "eep": 300, "age_gyr": 4}, "exactly one of the two; found both"),
        ({"mass": 3.0, "feh": 0.0, "eep": 300}, "mass = 3 M☉ is off the grid: 0.1 to 2.2 M☉"),
        ({"mass": 1.0, "feh": 0.7, "eep": 300}, r"\[Fe/H\] = 0.7 is off the grid: -2 to 0.5"),
        ({"mass": 1.0, "feh": 0.0, "eep": 100}, "EEP = 100 is off the grid: 202 to 605"),
        (
            {"mass": 1.0, "feh": 0.0, "age_gyr": 20},
            r"at age = 20 Gyr: its track runs from EEP 202 \(0.042 Gyr\)",
        ),
        ({"mass": 1.0, "feh": 0.0, "age_gyr": -1}, "ages are positive"),
        ({"mass": 0.4, "feh": 0.0, "eep": 500}, r"at EEP = 500: .* to EEP 454"),
    ],
)
def test_describe_star_says_what_is_wrong(embedded, star, message):
    with pytest.raises(ValueError, match=message):
        describe_star(embedded, **star)
