"""The realistic law against closed forms, published numbers and an independent integration."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad, solve_ivp

from dioscuri.stars import population, realistic
from dioscuri.stars.census import census
from dioscuri.stars.population import CUTS, LABELS, draw_pairs
from dioscuri.stars.realistic import ORBIT_LABELS
from dioscuri.stars.tracks import PairStatus, load_tracks

LIMITS = {"teff": (4000.0, 8000.0), "logg": (1.0, 5.0), "feh": (-2.0, 0.5), "afe": (-0.5, 0.7)}
SHARE = np.linspace(0.0, 1.0, 4001)[:-1] + 0.5 / 4000


@pytest.fixture(scope="module")
def tracks():
    return load_tracks()


@pytest.fixture(scope="module")
def pairs(tracks):
    return draw_pairs(3000, 7, tracks, LIMITS, law="realistic")


@pytest.fixture(scope="module")
def drawn(tracks):
    """Candidates before any cut."""
    return realistic.systems(np.random.default_rng(5), 50_000, tracks)


# --- orbits -----------------------------------------------------------------------------------------------


def test_semi_amplitudes_of_known_orbits():
    # The Sun's reflex to Jupiter and the Earth: 12.5 m/s and 8.9 cm/s.
    k1, k2 = realistic.semi_amplitudes(1.0, 9.5458e-4, 4332.59, 0.0489, np.pi / 2)
    assert k1 == pytest.approx(0.01247, rel=2e-3)
    assert k1 * 1.0 == pytest.approx(k2 * 9.5458e-4)
    k1, _ = realistic.semi_amplitudes(1.0, 3.0035e-6, 365.256, 0.0167, np.pi / 2)
    assert k1 == pytest.approx(8.95e-5, rel=2e-3)
    # Closed form: K = 212.9 km/s (m / P[d])^(1/3) m2/m sin i / sqrt(1 − e²).
    k1, k2 = realistic.semi_amplitudes(1.2, 0.9, 10.0, 0.3, np.radians(60))
    expected = 212.9 * (2.1 / 10.0) ** (1 / 3) * np.sin(np.radians(60)) / np.sqrt(0.91)
    assert k1 == pytest.approx(expected * 0.9 / 2.1, rel=1e-3)
    assert k2 == pytest.approx(expected * 1.2 / 2.1, rel=1e-3)


def test_separation_of_the_earth():
    assert realistic.separation(1.0, 365.2569) == pytest.approx(215.03, rel=1e-4)  # R☉ in an au


def test_kepler_equation_is_solved_everywhere():
    random = np.random.default_rng(1)
    e = np.r_[random.random(20_000), 1 - 10 ** random.uniform(-7, -1, 20_000), np.zeros(10), 0.5, 0.9999999]
    m = np.r_[random.uniform(-7, 14, 20_000), 10 ** random.uniform(-12, 0.49, 20_000), np.arange(10), 0.0, np.pi]
    anomaly = realistic.eccentric_anomaly(m, e)
    np.testing.assert_allclose(anomaly - e * np.sin(anomaly), m, rtol=0, atol=1e-14 * (1 + np.abs(m)).max())
    np.testing.assert_allclose(realistic.eccentric_anomaly(m, 0.0), m, rtol=0, atol=1e-15 * 14)
    np.testing.assert_allclose(realistic.eccentric_anomaly(-m, e), -anomaly, atol=1e-12)


def test_velocities_are_those_of_two_bodies_under_gravity():
    """Newton's equations integrated for one orbit, in units of GM = 1, a = 1: line of sight in the plane."""
    ecc, periastron = 0.6, 0.8
    start = [1 - ecc, 0.0, 0.0, np.sqrt((1 + ecc) / (1 - ecc))]

    def gravity(_, state):
        x, y, vx, vy = state
        cube = np.hypot(x, y) ** 3
        return [vx, vy, -x / cube, -y / cube]

    times = np.linspace(0, 2 * np.pi, 41)
    path = solve_ivp(gravity, (0, times[-1]), start, t_eval=times, rtol=1e-11, atol=1e-12).y
    # Position angles count from the node, 90° before the line of sight.
    along = path[2] * np.sin(periastron) + path[3] * np.cos(periastron)
    ours = realistic.radial_velocity(times, ecc, periastron) / np.sqrt(1 - ecc**2)
    np.testing.assert_allclose(ours, along, atol=1e-7)


def test_velocity_difference_follows_from_the_columns(pairs):
    c = pairs.columns
    angles = {name: np.radians(c[name]) for name in ("inclination", "periastron", "mean_anomaly")}
    k1, k2 = realistic.semi_amplitudes(c["m1"], c["m1"] * c["q"], c["period"], c["ecc"], angles["inclination"])
    np.testing.assert_allclose([c["k1"], c["k2"]], [k1, k2])
    phase = realistic.radial_velocity(angles["mean_anomaly"], c["ecc"], angles["periastron"])
    np.testing.assert_allclose(c["dv"], -(k1 + k2) * phase, rtol=1e-7, atol=1e-7)
    assert (np.abs(c["dv"]) <= (k1 + k2) * (1 + c["ecc"])).all()


def test_orientation_and_phase_are_random(drawn):
    for name, law in {
        "mean_anomaly": stats.uniform(0, 360),
        "periastron": stats.uniform(0, 360),
        "cos": stats.uniform(0, 1),
    }.items():
        values = np.cos(np.radians(drawn["inclination"])) if name == "cos" else drawn[name]
        assert stats.kstest(values, law.cdf).pvalue > 1e-3, name
    assert np.mean(np.sin(np.radians(drawn["inclination"]))) == pytest.approx(np.pi / 4, abs=0.005)


# --- masses, periods, mass ratios, eccentricities -----------------------------------------------------------


def test_primaries_follow_kroupa(drawn, tracks):
    def density(m):
        return m**-1.3 if m < 0.5 else 0.5 * m**-2.3

    low, high = tracks.mass[0], tracks.mass[-1]
    total = quad(density, low, high, points=[0.5])[0]
    nodes = np.geomspace(low, high, 400)
    share = np.cumsum([0.0, *(quad(density, a, b, points=[0.5])[0] for a, b in pairwise(nodes))]) / total
    assert stats.kstest(drawn["m1"], lambda m: np.interp(m, nodes, share)).pvalue > 1e-3
    assert realistic.kroupa_mass(np.array([0.0, 1.0]), 0.7, 2.0) == pytest.approx([0.7, 2.0])
    assert realistic.kroupa_mass(np.array([0.0, 1.0]), 0.1, 0.4) == pytest.approx([0.1, 0.4])


def test_chabriers_masses():
    """Chabrier (2003), Table 1: dN/dlog m, log-normal (0.079, 0.69) below 1 M☉, x = 1.3 above, continuous."""
    m = realistic.chabrier_mass(np.linspace(0, 1, 200_001)[:-1], 0.1, 3.5)
    assert m[0] == pytest.approx(0.1) and m[-1] == pytest.approx(3.5, rel=1e-3)

    def density(log_m):
        below = np.exp(-0.5 * ((np.minimum(log_m, 0) - np.log10(0.079)) / 0.69) ** 2)
        return below * 10 ** (-1.3 * np.maximum(log_m, 0))

    total = quad(density, -1, np.log10(3.5), points=[0.0])[0]
    for mass in (0.2, 0.5, 1.0, 2.0):
        expected = quad(density, -1, np.log10(mass), points=[min(0.0, np.log10(mass))])[0] / total
        assert (m < mass).mean() == pytest.approx(expected, abs=2e-4), mass


def test_either_mass_function_can_be_asked_for(tracks):
    limits = {"teff": (4000.0, 8000.0)}
    kroupa, chabrier = (draw_pairs(300, 1, tracks, limits, law="realistic", imf=imf) for imf in ("kroupa", "chabrier"))
    default = draw_pairs(300, 1, tracks, limits, law="realistic")
    assert np.array_equal(default.columns["m1"], kroupa.columns["m1"])
    assert not np.array_equal(chabrier.columns["m1"], kroupa.columns["m1"])
    with pytest.raises(ValueError, match=r"population\.imf: found 'salpeter'; accepted: kroupa, chabrier"):
        draw_pairs(3, 1, tracks, limits, law="realistic", imf="salpeter")


def test_companion_frequency_is_the_published_one():
    """Moe & Di Stefano 2017, Table 13: 0.50 ± 0.04 at solar masses, 0.84 ± 0.11 of A and late B stars."""
    assert realistic.companion_frequency(np.array([1.0, 3.5])) == pytest.approx([0.50, 0.84], abs=0.04)
    # The rates of q > 0.3 that the fits go through, per dex at log P = 2.7 and 5.5.
    for log_period, rate in ((0.5, 0.020), (2.7, 0.039), (5.5, 0.078)):
        small, large, twins = realistic._mass_ratio_parts(1.0, log_period)
        assert realistic.companion_rate(1.0, log_period) / (small + large + twins) == pytest.approx(rate)
    steps = np.linspace(0.2, 8.0, 7801)
    jumps = np.abs(np.diff(realistic.companion_rate(1.0, steps)))
    assert jumps.max() < 1e-3  # continuous


def test_periods_follow_the_rate():
    for m1 in (0.3, 1.0, 1.777, 3.5):
        x = realistic.period_quantile(SHARE, np.full(SHARE.size, m1))
        nodes = np.linspace(0.2, 8.0, 2001)
        rate = realistic.companion_rate(m1, nodes)
        share = np.cumsum(np.r_[0.0, 0.5 * (rate[1:] + rate[:-1])])
        np.testing.assert_allclose(np.interp(x, nodes, share / share[-1]), SHARE, atol=5e-4)


def test_mass_ratios_follow_the_broken_law_with_twins():
    for m1, log_period in ((1.0, 0.5), (1.0, 4.0), (1.0, 6.6666666667), (2.0, 3.0), (1.2, 7.9)):
        small, large, twin = realistic._mass_ratio_law(m1, log_period)

        def density(q, small=small, large=large, twin=twin):
            norm = (1 - twin) / quad(lambda x: x**large, 0.3, 1)[0]
            power = norm * 0.3**large * (q / 0.3) ** small if q < 0.3 else norm * q**large
            return power + (twin / 0.05 if q > 0.95 else 0.0)

        nodes = [0.1, 0.2, 0.3, 0.5, 0.8, 0.95, 0.97, 1.0]
        share = np.cumsum([quad(density, a, b)[0] for a, b in pairwise(nodes)])
        q = realistic.mass_ratio(SHARE, np.full(SHARE.size, m1), np.full(SHARE.size, log_period))
        found = [(q < node).mean() for node in nodes[1:]]
        np.testing.assert_allclose(found, share / share[-1], atol=5e-4)
        assert (q.min(), q.max()) == pytest.approx((0.1, 1.0), abs=1e-3)


def test_twins_of_solar_binaries_are_as_many_as_published():
    """Moe & Di Stefano 2017: 30 % of the closest companions, none beyond log P = 8 − m1."""
    twins = [float(realistic._mass_ratio_law(1.0, x)[2]) for x in (0.5, 1.0, 4.0, 7.0, 7.5)]
    assert twins == pytest.approx([0.30, 0.30, 0.15, 0.0, 0.0])
    assert float(realistic._mass_ratio_law(3.5, 0.5)[2]) == pytest.approx(0.22, abs=0.01)


def test_eccentricities():
    x = np.full(SHARE.size, 0.3)
    assert (realistic.eccentricity(SHARE, x) == 0).all()  # two days: circular
    # log P = 4: η = 0.4 up to 1 − (10⁴/2)^(−2/3), so that the mean is (1 + η)/(2 + η) of it.
    e = realistic.eccentricity(SHARE, np.full(SHARE.size, 4.0))
    largest = 1 - 5000 ** (-2 / 3)
    assert e.max() < largest
    assert e.mean() == pytest.approx(largest * 1.4 / 2.4, abs=1e-3)
    assert realistic.eccentricity(SHARE, np.full(SHARE.size, 1.0)).mean() < 0.12


# --- rotation, light, detachment ----------------------------------------------------------------------------


def test_rotation_by_type():
    n = 40_000
    random = np.random.default_rng(3)
    maxwell = np.sqrt((random.standard_normal((3, n)) ** 2).sum(axis=0))
    draws = {"maxwell": maxwell, "exponential": random.exponential(1.0, n)}
    wide = {"radius": 1.0, "period": 1000.0, "inclination": 1.0, **draws}
    assert stats.kstest(realistic.rotation(5500.0, **wide), stats.expon(scale=5).cdf).pvalue > 1e-3
    hot = realistic.rotation(7600.0, **wide)
    assert stats.kstest(hot, stats.maxwell(scale=100 / np.sqrt(8 / np.pi)).cdf).pvalue > 1e-3
    # A star of 1 R☉ that turns in a day: 50.6 km/s.
    close = realistic.rotation(5500.0, 2.0, 4.0, np.radians(30), maxwell[:1], maxwell[:1])
    assert close == pytest.approx(50.6 * 2 / 4 / 2, rel=1e-3)


def test_roche_lobes():
    assert realistic.roche_lobe(1.0) == pytest.approx(0.379, abs=1e-3)  # Eggleton 1983, Table 1
    assert realistic.roche_lobe(0.1) == pytest.approx(0.207, abs=1e-3)
    assert realistic.roche_lobe(10.0) == pytest.approx(0.578, abs=2e-3)
    star = {"m1": 1.0, "q": 1.0, "ecc": 0.0, "radius1": 1.0, "radius2": 1.0}
    filling = {**star, "period": np.array([0.2, 0.4, 2.0])}  # a = 1.81, 2.88, 8.41 R☉
    assert realistic.detached(filling).tolist() == [False, True, True]
    assert not realistic.detached({**star, "radius1": 20.0, "period": 10.0})


# --- the population -----------------------------------------------------------------------------------------


def test_labels_counts_and_cuts(pairs):
    assert tuple(pairs.columns) == LABELS + ORBIT_LABELS
    assert all(np.isfinite(v).all() and v.shape == (3000,) for v in pairs.columns.values())
    assert tuple(pairs.counts) == (*CUTS, "detached")
    counts = list(pairs.counts.values())
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 3000
    assert realistic.detached(pairs.columns).all()
    assert pairs.columns["log_age"].max() <= np.log10(13.8e9) + 1e-12
    assert np.median(pairs.columns["snr"]) == pytest.approx(30, rel=0.05)
    slope = np.polyfit(pairs.columns["feh"], pairs.columns["afe"], 1)[0]
    assert -0.25 < slope < -0.1


def test_any_sharding_gives_the_same_pairs(pairs, tracks):
    edges = [0, 1, 640, 2999, 3000]
    shards = [draw_pairs(b - a, 7, tracks, LIMITS, start=a, law="realistic") for a, b in pairwise(edges)]
    for name, values in pairs.columns.items():
        np.testing.assert_array_equal(np.concatenate([s.columns[name] for s in shards]), values)
    assert {cut: sum(s.counts[cut] for s in shards) for cut in pairs.counts} == pairs.counts


def test_a_candidate_is_itself_under_other_limits(pairs, tracks):
    wider = draw_pairs(3000, 7, tracks, {**LIMITS, "teff": (3500.0, 9000.0)}, law="realistic")
    _, ours, theirs = np.intersect1d(pairs.columns["pair_id"], wider.columns["pair_id"], return_indices=True)
    assert ours.size > 500
    for name in pairs.columns:
        np.testing.assert_array_equal(pairs.columns[name][ours], wider.columns[name][theirs])


def test_ages_are_uniform_before_stars_die(tracks):
    """Dwarfs of 0.7–0.8 M☉ live through all 13.8 Gyr: their ages are those drawn."""
    stars = population.candidates(7, 0, tracks, "realistic")
    lasting = (stars["m1"] > 0.7) & (stars["m1"] < 0.75) & (stars["feh"] > -0.3)
    age = 10 ** (stars["log_age"][lasting] - 9)
    age = age[np.isfinite(age)]
    assert age.size > 100
    assert stats.kstest(age, stats.uniform(0, 13.8).cdf).pvalue > 1e-3
    # Those that have died are counted as such, not as gaps of the grid.
    dead = (stars["m1"] > 1.9) & (stars["q"] > 0.2) & np.isnan(stars["teff1"])
    assert dead.sum() > 20
    assert (stars["status"][dead] == PairStatus.UNREACHABLE_AGE).all()


def test_settings_of_the_law(tracks):
    young = draw_pairs(300, 7, tracks, LIMITS, law="realistic", max_age_gyr=2.0, snr_median=80.0)
    assert young.columns["log_age"].max() <= np.log10(2e9) + 1e-12
    assert np.median(young.columns["snr"]) == pytest.approx(80, rel=0.15)


def test_census(tracks):
    """Against the pairs themselves, and against what must hold for any sample."""
    plain = {"n": 100_000, "seed": 7, "tracks": tracks, "limits": LIMITS}
    volume = census(**plain, magnitude_limited=False)
    bright = census(**plain, magnitude_limited=True)
    assert volume.n_systems == bright.n_systems > 10_000
    # Moe & Di Stefano 2017, Table 13: 40 ± 4 % of solar-type primaries have a companion.
    assert volume.binary_fraction == pytest.approx(0.40, abs=0.03)
    assert bright.binary_fraction > volume.binary_fraction  # pairs are seen farther
    assert bright.sb2_fraction > volume.sb2_fraction
    wider = census(**plain, dv_min=100.0)
    assert 0 < wider.sb2_fraction < bright.sb2_fraction < 0.05
    pairs = draw_pairs(5000, 7, tracks, LIMITS, law="realistic").columns
    light = (pairs["radius2"] / pairs["radius1"]) ** 2 * (pairs["teff2"] / pairs["teff1"]) ** 4
    seen = (np.abs(pairs["dv"]) > 50) & (np.minimum(light, 1 / light) > 0.1)
    candidates = (pairs["pair_id"][-1] + 1) / 100_000 * volume.n_systems
    expected = seen.sum() / candidates * 0.49  # companions per primary at 0.8 M☉
    assert volume.sb2_fraction == pytest.approx(expected, rel=3 / np.sqrt(seen.sum()))
    with pytest.raises(ValueError, match="none of 100000 candidates"):
        census(**{**plain, "limits": {"teff": (50_000.0, 60_000.0)}})
