"""The toy collapse: forces, orbits, collisions and discs against closed forms; what is conserved; what varies."""

import numpy as np
import pytest

from dioscuri.analogues.simulation import collapse, core, dynamics, properties
from dioscuri.analogues.simulation.cloud import Cloud
from dioscuri.analogues.simulation.collapse import simulate
from dioscuri.analogues.simulation.discs import SELF_GRAVITY, Discs, disc_elements, tidal_limit
from dioscuri.analogues.simulation.system import AU_PER_YR, G, Stars, read_system, write_system

SMALL = {"n_particles": 700, "n_snapshots": 6, "duration": 12.0}


@pytest.fixture(scope="module")
def small():
    return simulate(3, **SMALL)


def gas(n=200, seed=0, size=300.0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, size, (n, 3)), rng.normal(0, 0.3, (n, 3)), rng.uniform(1, 2, n) * 1e-4


def momenta(position, velocity, mass):
    return mass @ velocity, mass @ np.cross(position, velocity)


# --- kernels -------------------------------------------------------------------------------------------------------


def test_gas_gravity_is_newtons():
    position, _, mass = gas()
    found = np.empty_like(position)
    x, y, z = np.ascontiguousarray(position.T, np.float32)
    dynamics.gas_gravity(x, y, z, mass.astype(np.float32), found)
    d = position[None] - position[:, None]
    r2 = (d**2).sum(axis=-1) + dynamics.GAS_SOFTENING**2
    wanted = G * (mass[None, :, None] * d / r2[..., None] ** 1.5).sum(axis=1)
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=1e-5 * np.abs(wanted).max())
    assert np.linalg.norm(mass @ found) < 1e-6 * (mass @ np.linalg.norm(found, axis=1))


def test_stars_keep_keplers_laws_through_periastron():
    mass, a, e = np.array([0.6, 0.3]), 120.0, 0.8
    period = 2 * np.pi * np.sqrt(a**3 / (G * mass.sum()))
    speed = np.sqrt(G * mass.sum() / a * (1 - e) / (1 + e))  # at apastron
    offset, drift = np.array([a * (1 + e), 0, 0]), np.array([0, speed, 0])
    share = np.array([[-mass[1]], [mass[0]]]) / mass.sum()
    position, velocity = share * offset, share * drift
    start = position.copy()
    for _ in range(200):
        dynamics.move_stars(position, velocity, mass, period / 200)
    assert np.linalg.norm(position - start) < 0.05 * a  # the softening of 1 AU turns the orbit by little
    semi_major_axis, eccentricity = properties.orbit(position, velocity, mass.sum())
    assert semi_major_axis == pytest.approx(a, rel=0.01)
    assert eccentricity == pytest.approx(e, abs=0.01)


def test_orbit_of_unbound_stars_has_no_axis():
    a, e = properties.orbit(np.array([[100.0, 0, 0], [0, 0, 0]]), np.array([[0, 3.0, 0], [0, 0, 0]]), 1.0)
    assert np.isnan(a)
    assert e == pytest.approx(3.0**2 * 100 / G - 1)  # e = r v²/GM − 1 at periastron


def test_gas_on_a_circular_orbit_stays_there():
    r, mass = 200.0, 0.7
    speed = np.sqrt(G * mass * r**2 / (r**2 + dynamics.STAR_SOFTENING**2) ** 1.5)
    period = 2 * np.pi * r / speed
    state = [np.array([[r, 0, 0]]), np.array([[0, speed, 0]]), np.array([1e-12])]
    star = [np.zeros((1, 3)), np.zeros((1, 3)), np.array([mass])]
    dynamics.inner_steps(*state, *star, period / 400, 400)
    assert np.linalg.norm(state[0] - [r, 0, 0]) < 0.002 * r


def test_stars_and_gas_pull_each_other_alike():
    position, velocity, mass = gas(50)
    stars = [np.array([[0.0, 0, 0], [150, 0, 0]]), np.array([[0, 0.1, 0], [0, -0.2, 0.1]]), np.array([0.4, 0.2])]
    before = [a + b for a, b in zip(momenta(position, velocity, mass), momenta(*stars))]
    dynamics.inner_steps(position, velocity, mass, *stars, 2.0, 200)
    after = [a + b for a, b in zip(momenta(position, velocity, mass), momenta(*stars))]
    np.testing.assert_allclose(after[0], before[0], atol=1e-14)
    np.testing.assert_allclose(after[1], before[1], atol=1e-11)


def test_collisions_radiate_but_turn_nothing():
    position, velocity, mass = gas(2000, size=60.0)
    before = momenta(position, velocity, mass)
    energy = 0.5 * mass @ (velocity**2).sum(axis=1)
    star, luminosity = np.zeros((1, 3)), np.ones(1)
    radiated = dynamics.collide(position, velocity, mass, star, luminosity, 0.3, 12.0, np.array([0.2, 0.7, 0.1]))
    after = momenta(position, velocity, mass)
    np.testing.assert_allclose(after[0], before[0], atol=1e-14)
    np.testing.assert_allclose(after[1], before[1], atol=1e-12)
    assert 0 < radiated < energy
    assert energy - 0.5 * mass @ (velocity**2).sum(axis=1) == pytest.approx(radiated, rel=1e-9)


def colliding(speed):
    """The relative speed of two particles 2 AU apart after they met at `speed`; 10 K gas far from any star."""
    position, velocity = np.array([[5000.0, 0, 0], [5002, 0, 0]]), np.array([[speed / 2, 0, 0], [-speed / 2, 0, 0]])
    dynamics.collide(position, velocity, np.ones(2), np.zeros((1, 3)), np.array([1e-9]), 0.17, 12.0, np.zeros(3))
    return velocity[1, 0] - velocity[0, 0]


def test_shocks_radiate_and_slow_gas_bounces():
    sound = dynamics.REBOUND * dynamics.SOUND_SPEED
    assert colliding(10 * sound) == pytest.approx(sound)
    assert colliding(0.5 * sound) == pytest.approx(0.5 * sound)
    assert colliding(-sound) == pytest.approx(sound)  # already parting


def test_accretion_hands_everything_over():
    position, velocity, mass = gas(500, size=20.0)
    stars = [np.array([[0.0, 0, 0], [90, 0, 0]]), np.zeros((2, 3)), np.array([0.4, 0.3])]
    spin, disc, kept = np.zeros((2, 3)), np.zeros(2), np.ones(500, bool)
    before = [a + b for a, b in zip(momenta(position, velocity, mass), momenta(*stars))]
    total = mass.sum() + stars[2].sum()
    dynamics.accrete(position, velocity, mass, *stars, np.array([25.0, 40.0]), spin, disc, kept)
    left = [values[kept] for values in (position, velocity, mass)]
    after = [a + b for a, b in zip(momenta(*left), momenta(*stars))]
    assert 20 < (~kept).sum() < 500
    assert left[2].sum() + stars[2].sum() == pytest.approx(total, rel=1e-14)
    assert disc.sum() == pytest.approx(mass[~kept].sum())
    np.testing.assert_allclose(after[0], before[0], atol=1e-14)
    np.testing.assert_allclose(after[1] + spin.sum(axis=0), before[1], atol=1e-12)


@pytest.mark.parametrize(("offset", "speed"), [(30.0, 0.0), (20.0, 5.0)])
def test_gas_too_far_or_unbound_is_not_accreted(offset, speed):
    state = np.array([[offset, 0, 0]]), np.array([[-speed, 0, 0]]), np.array([1e-4])
    kept = np.ones(1, bool)
    stars = np.zeros((1, 3)), np.zeros((1, 3)), np.array([0.5])
    dynamics.accrete(*state, *stars, np.array([25.0]), np.zeros((1, 3)), np.zeros(1), kept)
    assert kept.all()


# --- discs ---------------------------------------------------------------------------------------------------------


def one_disc(mass, size, star, **settings):
    discs = Discs(**{"viscous_time": 5e3, "braking": 0.0, "wind_fraction": 0.2, **settings})
    discs.add(mass, np.array([0, 0, mass * 2 / 3 * np.sqrt(G * star * size)]))
    return discs


def test_size_follows_from_angular_momentum():
    assert one_disc(0.02, 80.0, 0.5).size(np.array([0.5]))[0] == pytest.approx(80)


def test_a_draining_disc_conserves_mass_and_spreads():
    """Ṁ = M/t with t ∝ R and R ∝ M⁻² (all angular momentum stays): M³ falls linearly."""
    discs, star = one_disc(0.001, 50.0, 1.0), np.array([1.0])
    for _ in range(200):
        discs.evolve(star, np.array([1e9]), 5.0)
    heavy = 1 + (0.001 / SELF_GRAVITY) ** 2
    # dM/dt = −M/(t₀ (M/M₀)⁻²) → M = M₀ / √(1 + 2 t/t₀)
    assert discs.mass[0] == pytest.approx(0.001 / np.sqrt(1 + 2 * 1000 / 5e3 * heavy), rel=0.01)
    assert discs.size(star)[0] == pytest.approx(50 * (0.001 / discs.mass[0]) ** 2, rel=1e-6)
    assert discs.wind[0] == pytest.approx(0.2 * (0.001 - discs.mass[0]))
    assert discs.naked(star)[0] == pytest.approx(1.0 - discs.mass[0] - discs.wind[0])
    np.testing.assert_allclose(discs.shed, 0, atol=1e-15)


def test_braking_and_tides_shed_angular_momentum_and_keep_count():
    discs, star = one_disc(0.05, 200.0, 0.8, braking=0.5), np.array([0.8])
    before = discs.spin.copy()
    discs.evolve(star, np.array([60.0]), 100.0)
    assert discs.size(star)[0] == pytest.approx(60)
    np.testing.assert_allclose(discs.spin[0] + discs.shed, before[0], rtol=1e-12)


def test_accretion_luminosity():
    """¾ G M Ṁ/R for 0.5 M☉, 2.5 R☉ and 10⁻⁵ M☉/yr is 47 L☉ (3.14e7 L☉ per M☉² / yr / R☉)."""
    discs = one_disc(0.0, 50.0, 0.5)
    discs.accretion_rate = np.array([1e-5])
    assert discs.luminosity(np.array([0.5]))[0] == pytest.approx(0.75 * 3.14e7 * 0.5 * 1e-5 / 2.5 + 0.5**1.5, rel=0.01)


def test_tides_truncate_at_most_of_the_roche_lobe():
    equal = tidal_limit(np.array([0.5, 0.5]), np.array([[0.0, 0, 0], [100, 0, 0]]))
    np.testing.assert_allclose(equal, 0.8 * 37.9, rtol=0.001)  # Eggleton (1983), q = 1
    unequal = tidal_limit(np.array([0.9, 0.1]), np.array([[0.0, 0, 0], [100, 0, 0]]))
    assert unequal[0] > equal[0] > unequal[1]


def test_disc_elements_are_the_disc():
    stars = Stars(
        position=np.array([[10.0, 0, 0], [200, 0, 0]]),
        velocity=np.zeros((2, 3)),
        mass=np.array([0.8, 0.4]),
        age=np.ones(2),
        accretion_rate=np.ones(2) * 1e-6,
        luminosity=np.array([5.0, 1.0]),
        disc_size=np.array([80.0, 30.0]),
        disc_mass=np.array([0.02, 0.0]),
        disc_axis=np.array([[0, 0.6, 0.8], [0, 0, 1.0]]),
    )
    (disc,) = disc_elements(stars)  # the second star has none
    offset = disc.position - stars.position[0]
    height = offset @ stars.disc_axis[0]
    radius = np.linalg.norm(offset - height[:, None] * stars.disc_axis[0], axis=1)
    assert disc.mass.sum() == pytest.approx(0.02)
    assert radius.max() == pytest.approx(80, rel=0.01)
    assert 0.02 < np.sqrt(np.mean((height / radius) ** 2)) < 0.15
    spin = (disc.mass[:, None] * np.cross(offset, disc.velocity / AU_PER_YR)).sum(axis=0) / 0.02
    assert np.linalg.norm(spin) == pytest.approx(2 / 3 * np.sqrt(G * 0.8 * 80), rel=0.01)
    np.testing.assert_allclose(spin / np.linalg.norm(spin), stars.disc_axis[0], atol=0.02)


# --- the whole -----------------------------------------------------------------------------------------------------


def test_cores_have_the_energies_asked_for():
    rng = np.random.default_rng(2)
    drawn = core.Parameters(**{**core.draw(rng).as_dict(), "turbulence": 0.5, "rotation": 1e-9})
    _, velocity, mass = core.make(drawn, 3000, rng)
    assert mass * 3000 == pytest.approx(drawn.core_mass)
    assert np.sqrt((velocity**2).sum(axis=1).mean()) * AU_PER_YR == pytest.approx(0.5, rel=0.02)
    np.testing.assert_allclose(velocity.mean(axis=0), 0, atol=1e-12)
    still = core.Parameters(**{**drawn.as_dict(), "turbulence": 1e-9, "rotation": 0.1})
    _, velocity, _ = core.make(still, 3000, np.random.default_rng(2))
    gravity = G * still.core_mass / still.core_radius / (2 - still.concentration)
    assert 0.5 * (velocity**2).sum(axis=1).mean() / gravity == pytest.approx(0.1, rel=0.02)


def test_what_is_conserved(small):
    assert small.budgets["mass_error"] < 1e-12
    assert small.budgets["momentum_error"] < 1e-6
    assert small.budgets["angular_momentum_error"] < 1e-6
    assert 0 < small.budgets["angular_momentum_shed"] < 0.3


def test_energy_is_conserved_where_nothing_radiates(monkeypatch):
    monkeypatch.setattr(dynamics, "collide", lambda *_: 0.0)
    monkeypatch.setattr(dynamics, "accrete", lambda *_: None)
    rng = np.random.default_rng(11)
    cloud = Cloud(core.draw(rng), 500, rng)
    cloud.discs.mass[:] = 0
    before = cloud.energy()
    potential = before - 0.5 * cloud.mass @ (cloud.velocity**2).sum(axis=1)
    for _ in range(30):
        cloud.advance()
    assert abs(cloud.energy() - before) < 0.01 * abs(potential)


def test_masses_converge_with_the_number_of_particles():
    """Orbits are chaotic and do not; what falls in, and so how stars grow, must not depend on the particles."""
    typical = core.Parameters(
        core_mass=2.028866885715829,
        core_radius=4345.4221879695133,
        concentration=0.68342775665448152,
        turbulence=0.63864877296428024,
        rotation=0.11275651482115924,
        primary_seed=0.16940139422113837,
        mass_ratio=0.95990821959191053,
        secondary_time=24707.391171600175,
        secondary_radius=776.90345942338911,
        wind_fraction=0.13901011512614941,
        viscous_time=10273.298514538879,
        braking=0.091885265738486432,
    )
    settings = {"n_snapshots": 2, "duration": 20.0, "parameters": typical}
    last = [simulate(0, n_particles=n, **settings).snapshots[-1].stars for n in (1000, 2000, 4000)]
    masses = [(stars.mass + stars.disc_mass).sum() for stars in last]
    np.testing.assert_allclose(masses, np.mean(masses), rtol=0.05)


def test_the_same_seed_gives_the_same_system(small):
    again, other = simulate(3, **SMALL), simulate(4, **SMALL)
    for one, two in zip(small.snapshots, again.snapshots):
        np.testing.assert_array_equal(one.gas.position, two.gas.position)
        np.testing.assert_array_equal(one.stars.disc_size, two.stars.disc_size)
    assert other.parameters != small.parameters


def test_systems_grow_and_stay_in_bounds(small):
    mass = np.array([snapshot.stars.mass for snapshot in small.snapshots])
    disc = np.array([snapshot.stars.disc_size for snapshot in small.snapshots])
    age = np.array([snapshot.stars.age for snapshot in small.snapshots])
    separation = [snapshot.stars.separation for snapshot in small.snapshots]
    assert (np.diff(mass, axis=0) > -1e-12).all()  # stars alone, without their discs, never lose mass
    assert mass[-1, 0] > 1.05 * mass[0, 0]
    assert np.ptp(disc, axis=0).min() > 3
    assert (age[:, 0] > age[:, 1]).all()
    assert np.diff(age[:, 1]) == pytest.approx(2.0)
    assert 10 <= min(separation) <= max(separation) <= 3000


def test_temperatures_of_a_snapshot(small):
    snapshot = small.snapshots[-1]
    warmest = np.argmax(snapshot.gas.temperature)
    distance = np.linalg.norm(snapshot.gas.position[warmest] - snapshot.stars.position, axis=1).min()
    assert distance < 200
    assert snapshot.gas.temperature.min() >= 10


def test_a_separation_that_never_occurs_is_an_error(monkeypatch):
    monkeypatch.setattr(collapse, "ATTEMPTS", 1)
    with pytest.raises(RuntimeError, match=r"in none of 1 draws .* 2999 AU apart often enough; take another seed"):
        simulate(3, n_particles=300, n_snapshots=2, duration=0.4, separation_au=2999)


def test_profiles_of_a_rotating_and_expanding_sphere(small):
    rng = np.random.default_rng(1)
    position = rng.normal(size=(20000, 3)) * 500
    velocity = np.cross([0, 0, 0.002], position) + 0.001 * position
    stars = small.snapshots[0].stars
    stars = Stars(**{**vars(stars), "position": np.zeros((2, 3)), "velocity": np.zeros((2, 3))})
    found = properties.radial_profiles(position, velocity, np.ones(20000), stars)
    r = np.linalg.norm(position, axis=1)
    inside = (r > found.edges[8]) & (r < found.edges[9])
    assert found.radial_velocity[0, 8] == pytest.approx(0.001 * r[inside].mean())
    mean = np.cross(position, velocity)[inside].mean(axis=0)
    np.testing.assert_allclose(found.angular_momentum[1, 8], mean)
    assert mean[2] == pytest.approx(0.002 * 2 / 3 * (r[inside] ** 2).mean(), rel=0.05)


def test_a_file_gives_back_the_system(small, tmp_path):
    write_system(tmp_path / "system003.h5", small, {"note": "test"})
    found = read_system(tmp_path / "system003.h5")
    assert (found.seed, found.parameters, found.budgets) == (small.seed, small.parameters, small.budgets)
    assert len(found.snapshots) == len(small.snapshots)
    np.testing.assert_array_equal(found.snapshots[2].gas.velocity, small.snapshots[2].gas.velocity)
    np.testing.assert_array_equal(
        found.snapshots[2].profiles.radial_velocity, small.snapshots[2].profiles.radial_velocity
    )
    assert found.snapshots[2].gas_mass_100au == small.snapshots[2].gas_mass_100au
    (only,) = read_system(tmp_path / "system003.h5", [4]).snapshots
    assert only.time == small.snapshots[4].time
