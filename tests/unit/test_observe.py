"""Synthetic observations against closed forms: transfer along a ray, moments, mirror images, beam and noise."""

import numpy as np
import pytest
from astropy import units
from astropy.modeling.models import BlackBody
from scipy.ndimage import gaussian_filter

from dioscuri.analogues.observation import images as observe
from dioscuri.analogues.observation.images import COLUMN, View, convolve
from dioscuri.analogues.simulation.geometry import lines_of_sight
from dioscuri.analogues.simulation.system import Gas

FACE_ON = View(np.array([0.0, 0, 1]), np.array([0.0, 1, 0]), np.array([1.0, 0, 0]), np.zeros(3))


def clouds(position, mass, temperature, size, velocity=None):
    position = np.atleast_2d(np.asarray(position, float))
    n = len(position)
    velocity = np.zeros((n, 3)) if velocity is None else velocity
    return Gas(
        position, velocity, *(np.broadcast_to(np.asarray(x, float), n).copy() for x in (mass, temperature, size))
    )


def random_clouds(n=300, seed=2):
    rng = np.random.default_rng(seed)
    position = rng.normal(0, 150, (n, 3))
    mass, size = rng.uniform(0.5, 2, n) * 1e-4, rng.uniform(5, 150, n)
    return clouds(position, mass, rng.uniform(15, 150, n), size, rng.normal(0, 1, (n, 3)))


def mass_for(depth, size, wavelength=1.3):
    """Mass [M☉] of a cloud whose central optical depth is `depth`: τ₀ = κ m 3/(π R²)."""
    return depth * np.pi * size**2 / 3 / (observe.opacity(wavelength) * COLUMN)


def test_planck_function():
    frequency = observe.LIGHT / 0.87 * units.Hz
    wanted = [BlackBody(t * units.K)(frequency).to("Jy/sr").value for t in (10.0, 30.0, 300.0)]
    np.testing.assert_allclose(observe.planck(np.array([10.0, 30.0, 300.0]), 0.87), wanted, rtol=1e-6)


def test_opacity_of_ossenkopf_and_henning():
    assert observe.opacity(1.3) == pytest.approx(0.00899)
    assert observe.opacity(0.87) == pytest.approx(0.0184, rel=0.005)


@pytest.mark.parametrize("depth", [1e-4, 0.1, 1.0, 30.0])
def test_one_cloud_thin_and_thick(depth):
    size, n, field = 100.0, 65, 260.0
    image = observe.image(clouds([0, 0, 0], mass_for(depth, size), 40.0, size), FACE_ON, 1.3, n, field)
    offset = (np.arange(n) - (n - 1) / 2) * field / n
    b2 = (offset[:, None] ** 2 + offset**2) / size**2
    tau = depth * np.where(b2 < 1, 1 - b2, 0) ** 2
    np.testing.assert_allclose(image, observe.planck(40.0, 1.3) * -np.expm1(-tau), rtol=1e-4)


@pytest.mark.parametrize("depth", [0.02, 1.0, 20.0])
def test_layers_with_a_source_function_linear_in_depth(depth):
    """∫ (B₀ + B₁ t) e^{−t} dt from 0 to τ = B₀ (1 − e^{−τ}) + B₁ (1 − (1 + τ) e^{−τ}), within 1 %."""
    n_layers, step = 120, 10.0
    grid = np.arange(-8, 9) * step
    z = -np.arange(n_layers) * 1.0  # toward the observer is positive
    x, y, z = (values.ravel() for values in np.meshgrid(grid, grid, z, indexing="ij"))
    rng = np.random.default_rng(0)
    order = rng.permutation(len(x))  # the renderer must sort along the line of sight itself
    inward = (-z + 0.5) / n_layers * depth
    b0, b1 = observe.planck(20.0, 1.3), 0.5 * observe.planck(20.0, 1.3)
    frequency = observe.LIGHT / 1.3
    temperature = observe.H_OVER_K * frequency / np.log1p(observe.TWO_H_OVER_C2 * frequency**3 / (b0 + b1 * inward))
    mass = depth / n_layers * step**2 / (observe.opacity(1.3) * COLUMN)
    gas = clouds(np.stack([x, y, z], axis=1)[order], mass, temperature[order], 3 * step)
    image = observe.image(gas, FACE_ON, 1.3, 20, 2 * step)
    wanted = b0 * -np.expm1(-depth) + b1 * (1 - (1 + depth) * np.exp(-depth))
    np.testing.assert_allclose(image, wanted, rtol=0.01)


def test_the_nearer_of_two_thick_clouds_is_seen():
    warm, cold = [0, 0, 200.0], [0, 0, -200.0]
    gas = clouds([cold, warm], mass_for(40.0, 80.0), [20.0, 60.0], 80.0)
    behind = FACE_ON._replace(toward=-FACE_ON.toward, right=-FACE_ON.right)
    middle = (slice(15, 17), slice(15, 17))
    np.testing.assert_allclose(observe.image(gas, FACE_ON, 1.3, 32, 200)[middle], observe.planck(60.0, 1.3), rtol=1e-6)
    np.testing.assert_allclose(observe.image(gas, behind, 1.3, 32, 200)[middle], observe.planck(20.0, 1.3), rtol=1e-6)


def test_agrees_with_transfer_through_cells_of_the_same_medium():
    """RADMC-3D's formula, I ← I e^{−Δτ} + S (1 − e^{−Δτ}), through the overlapping clouds in steps of 4 AU."""
    gas = random_clouds(400)
    temperature = 800 / np.sqrt(np.linalg.norm(gas.position, axis=1) + 30)
    thick = Gas(gas.position, gas.velocity, 30 * gas.mass, temperature, np.maximum(gas.size, 40))
    n, field = 24, 480.0
    offset = (np.arange(n) - (n - 1) / 2) * field / n
    steps = np.arange(-700, 700, 4.0)
    cells = np.zeros((n, n))
    for i, y in enumerate(offset):
        for j, x in enumerate(offset):
            b2 = (x - thick.position[:, 0]) ** 2 + (y - thick.position[:, 1]) ** 2
            near = b2 < thick.size**2
            r2 = (b2[near, None] + (steps - thick.position[near, 2, None]) ** 2) / thick.size[near, None] ** 2
            density = (thick.mass[near] * 8 / (np.pi**2 * thick.size[near] ** 3))[:, None] * np.maximum(
                1 - r2, 0
            ) ** 1.5
            total = density.sum(axis=0)
            source = density.T @ observe.planck(thick.temperature[near], 1.3) / np.maximum(total, 1e-300)
            fraction = -np.expm1(-observe.opacity(1.3) * COLUMN * total * 4.0)
            for one, s in zip(fraction, source):  # from behind toward the observer
                cells[i, j] += one * (s - cells[i, j])
    image = observe.image(thick, FACE_ON, 1.3, n, field)
    depth = observe.opacity(1.3) * COLUMN * 3 / np.pi * (thick.mass / thick.size**2).sum()
    assert depth > 5  # the comparison means something only where absorption counts
    np.testing.assert_allclose(image, cells, rtol=0.01)


def test_thin_emission_counts_all_mass_whatever_the_size_of_clouds():
    rng = np.random.default_rng(4)
    for size in (0.5, 3.0, 8.0, 30.0, 90.0):  # pixels are 5 AU
        gas = clouds(rng.uniform(-150, 150, (50, 3)), 1e-9, 30.0, size)
        total = observe.image(gas, FACE_ON, 1.3, 100, 500).sum() * 5.0**2
        wanted = 50e-9 * COLUMN * observe.opacity(1.3) * observe.planck(30.0, 1.3)
        assert total == pytest.approx(wanted, rel=0.003)


def test_flux_does_not_depend_on_the_pixels():
    gas = random_clouds()
    fluxes = [observe.image(gas, FACE_ON, 1.3, n, 1600).sum() / n**2 for n in (64, 96, 192)]
    np.testing.assert_allclose(fluxes, fluxes[-1], rtol=0.01)


def compact_discs():
    """Two thick, flat discs of 12 and 90 AU, hot within, in a thin cloud."""
    rng = np.random.default_rng(6)
    parts, centre, extent = [], np.array([[30.0, 60, 0], [-20.0, -65, 40]]), np.array([12.0, 90.0])
    for where, size in zip(centre, extent):
        radius, angle = rng.uniform(0, size, 500), rng.uniform(0, 2 * np.pi, 500)
        position = where + np.stack([radius * np.cos(angle), radius * np.sin(angle), 0 * radius], axis=1)
        temperature = 200 / np.sqrt(np.maximum(radius, 1))
        parts.append(clouds(position, 4e-5, temperature, np.sqrt(12 * np.maximum(radius, 0.01) * size / 500)))
    parts.append(clouds(rng.normal(0, 100, (100, 3)), 1e-6, 20.0, 120.0))
    gas = Gas(*(np.concatenate(values) for values in zip(*(vars(part).values() for part in parts))))
    return observe.Scene(gas, centre, extent)


def test_discs_smaller_than_a_pixel_have_the_flux_of_fine_pixels():
    scene = compact_discs()
    fine = observe.image(scene.clouds, FACE_ON, 0.87, 1200, 600.0)
    for n, tolerance in ((24, 0.05), (48, 0.02), (75, 0.01)):
        assert observe.image(scene, FACE_ON, 0.87, n, 600.0).mean() == pytest.approx(fine.mean(), rel=tolerance)
    plain = observe.image(scene.clouds, FACE_ON, 0.87, 24, 600.0)
    assert plain.mean() > 2 * fine.mean()  # without closer rays the discs would be as large as pixels


def test_discs_may_lie_on_the_edge_or_outside():
    scene = compact_discs()
    whole = observe.image(scene, FACE_ON, 0.87, 24, 600.0)
    for pixels in (11, 14):  # the middle of a disc within, and beyond, the last column
        aside = FACE_ON._replace(centre=np.array([-25.0 * pixels, 0, 0]))
        shifted = observe.image(scene, aside, 0.87, 24, 600.0)
        np.testing.assert_allclose(shifted[:, pixels:], whole[:, :-pixels], rtol=2e-3)


def test_several_wavelengths_at_once_are_the_same_as_one_by_one():
    gas = random_clouds(50)
    both = observe.image(gas, FACE_ON, (0.87, 1.3), 24, 800)
    np.testing.assert_array_equal(both[1], observe.image(gas, FACE_ON, 1.3, 24, 800))
    assert both[0].sum() > 2 * both[1].sum()


# --- moments -------------------------------------------------------------------------------------------------------


def test_solid_body_rotation_gives_a_gradient():
    """v = Ω n̂orth × r recedes by Ω x to the right of the axis."""
    omega = 0.01  # km/s per AU
    axis = np.arange(-10, 11) * 10.0
    position = np.stack([g.ravel() for g in np.meshgrid(axis, axis, axis, indexing="ij")], axis=1)
    velocity = np.cross([0, omega, 0], position)
    gas = clouds(position, 1e-6, 100.0, 25.0, velocity)
    found = observe.moment1(gas, FACE_ON, "warm", 20, 120)
    x = (np.arange(20) - 9.5) * 6.0
    np.testing.assert_allclose(found, np.broadcast_to(omega * x, (20, 20)), atol=0.02)


def test_tracers_see_warm_and_cold_gas():
    gas = clouds([[-50, 0, 0], [50, 0, 0], [0, 100, 0]], 1e-5, [150.0, 40.0, 10.0], 30.0)
    warm, cold = (observe.emission(gas, observe.TRACERS[name]) for name in ("warm", "cold"))
    assert warm[1] < 0.02 * warm[0]  # organics are frozen out at 40 K
    assert cold[1] > cold[0]  # C18O 2–1 is strongest where its upper level is most populated
    assert cold[2] < 0.02 * cold[1]  # CO is frozen out at 10 K


def test_gas_outside_the_velocity_window_is_not_seen():
    gas = clouds([[-40, 0, 0], [40, 0, 0]], 1e-5, 100.0, 30.0, np.array([[0, 0, -9.0], [0, 0, -2.0]]))
    found = observe.moment1(gas, FACE_ON, "warm", 32, 160)
    assert np.isnan(found[:, :13]).all()  # 9 km/s
    assert found[16, 24] == pytest.approx(2.0)  # receding, because it moves away from the observer


def test_faint_pixels_are_masked():
    gas = clouds([[-40, 0, 0], [40, 0, 0]], [1e-5, 1e-7], 100.0, 30.0)
    found = observe.moment1(gas, FACE_ON, "warm", 32, 160, faintest=0.02)
    assert np.isfinite(found[16, 8])
    assert np.isnan(found[16, 24])


def test_unknown_tracer():
    with pytest.raises(ValueError, match="unknown tracer 'N2H': accepted are warm, cold"):
        observe.moments(random_clouds(5), FACE_ON, "N2H", 8, 100)


def test_the_mirror_cone_sees_mirror_images_and_opposite_velocities():
    gas = random_clouds(200)
    thin = Gas(gas.position, gas.velocity, 1e-5 * gas.mass, gas.temperature, gas.size)
    stars = np.array([[80.0, 30, -40], [-60.0, 10, 50]])
    for k in (0, 3, 6):
        front, back = (
            View(lines.toward[k], lines.north[k], lines.right[k], stars.mean(axis=0))
            for lines in (lines_of_sight(stars[0], stars[1], 120.0, mirror=side) for side in (False, True))
        )
        one, other = (observe.image(thin, view, 1.3, 40, 800) for view in (front, back))
        np.testing.assert_allclose(other, one[:, ::-1], rtol=1e-5)
        one, other = (observe.moment1(thin, view, "warm", 40, 800) for view in (front, back))
        np.testing.assert_allclose(other, -one[:, ::-1], atol=1e-9)


# --- the telescope -------------------------------------------------------------------------------------------------


def test_beam_is_an_elliptical_gaussian_at_its_position_angle():
    point = np.zeros((81, 81))
    point[40, 40] = 1
    seen = convolve(point, (30.0, 15.0, 30.0), 2.0)
    assert seen.sum() == pytest.approx(1, abs=1e-9)
    y, x = (np.arange(81) - 40) * 2.0, (np.arange(81) - 40) * 2.0
    angle = np.radians(30.0)  # from up toward the left
    along = y[:, None] * np.cos(angle) - x * np.sin(angle)
    across = y[:, None] * np.sin(angle) + x * np.cos(angle)
    wanted = np.exp(-4 * np.log(2) * ((along / 30) ** 2 + (across / 15) ** 2))
    np.testing.assert_allclose(seen / seen.max(), wanted, atol=1e-6)


def test_round_beam_against_scipy():
    image = np.random.default_rng(0).uniform(size=(2, 40, 40))
    wanted = gaussian_filter(image, (0, 2.5, 2.5), mode="reflect", truncate=8)
    found = convolve(image, (2.5 * observe.GAUSSIAN * 7.0, 2.5 * observe.GAUSSIAN * 7.0, 0.0), 7.0)
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    np.testing.assert_allclose(found[:, 10:-10, 10:-10], wanted[:, 10:-10, 10:-10], atol=1e-5)


def test_no_beam_changes_nothing():
    image = np.random.default_rng(0).uniform(size=(5, 5))
    np.testing.assert_array_equal(convolve(image, (0, 0, 0), 1.0), image)
