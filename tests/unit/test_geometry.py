"""Lines of sight on the cone: exact invariants, and the weight of an isotropic viewer against viewers drawn."""

import numpy as np
import pytest

from dioscuri.analogues.simulation.geometry import isotropic_weight, lines_of_sight


def pairs(n):
    """`n` random pairs of stars, and a separation smaller than their distance."""
    rng = np.random.default_rng(5)
    for _ in range(n):
        x1, x2 = rng.normal(size=(2, 3)) * 10 ** rng.uniform(1, 3)
        yield x1, x2, rng.uniform(0.02, 1.0) * np.linalg.norm(x1 - x2)


@pytest.mark.parametrize("mirror", [False, True])
def test_every_view_shows_the_wanted_separation_with_the_primary_above(mirror):
    for x1, x2, separation in pairs(100):
        lines = lines_of_sight(x1, x2, separation, n=8, mirror=mirror)
        offset = x1 - x2
        np.testing.assert_allclose(lines.north @ offset, separation, rtol=1e-10)
        np.testing.assert_allclose(lines.right @ offset, 0, atol=1e-10 * np.linalg.norm(offset))


@pytest.mark.parametrize("mirror", [False, True])
def test_axes_are_orthonormal_and_right_handed(mirror):
    for x1, x2, separation in pairs(100):
        lines = lines_of_sight(x1, x2, separation, mirror=mirror)
        axes = np.stack([lines.right, lines.north, lines.toward], axis=1)
        np.testing.assert_allclose(axes @ axes.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (8, 3, 3)), atol=1e-12)
        np.testing.assert_allclose(np.cross(lines.right, lines.north), lines.toward, atol=1e-12)


def test_views_are_spread_evenly_around_the_cone():
    x1, x2, separation = np.array([300.0, 0, 0]), np.zeros(3), 150.0
    lines = lines_of_sight(x1, x2, separation, n=8)
    np.testing.assert_allclose(lines.toward[:, 0], np.cos(np.arcsin(0.5)))  # half-angle γ with sin γ = s/D
    np.testing.assert_allclose(lines.phi, np.arange(8) * 45.0)
    steps = (lines.toward * np.roll(lines.toward, -1, axis=0)).sum(axis=1)
    np.testing.assert_allclose(steps, 0.75 + 0.25 * np.cos(np.pi / 4))


def test_phi_starts_in_the_plane_of_the_reference():
    reference = np.array([0.0, 0.0, 3.0])
    lines = lines_of_sight(np.array([300.0, 0, 40.0]), np.zeros(3), 100.0, reference=reference)
    assert abs(lines.toward[0] @ np.cross([300.0, 0, 40.0], reference)) < 1e-9
    assert lines.toward[0, 2] > 0


def test_a_reference_along_the_line_of_the_stars_is_no_obstacle():
    lines = lines_of_sight(np.array([300.0, 0, 0]), np.zeros(3), 100.0, reference=np.array([2.0, 0, 0]))
    np.testing.assert_allclose(np.linalg.norm(lines.toward, axis=1), 1)


def test_mirror_observers_stand_opposite_and_see_left_and_right_exchanged():
    for x1, x2, separation in pairs(20):
        front = lines_of_sight(x1, x2, separation)
        back = lines_of_sight(x1, x2, separation, mirror=True)
        np.testing.assert_array_equal(back.toward, -front.toward)
        np.testing.assert_array_equal(back.north, front.north)
        np.testing.assert_allclose(back.right, -front.right, atol=1e-14)


def test_stars_too_close_have_no_line_of_sight():
    x1 = np.array([0.0, 0.0, 99.9])
    assert lines_of_sight(x1, np.zeros(3), 100.0) is None
    at_limit = lines_of_sight(np.array([0.0, 0.0, 100.0]), np.zeros(3), 100.0)
    np.testing.assert_allclose(at_limit.toward @ [0, 0, 1], 0, atol=1e-12)  # seen in the plane of the sky


def test_a_separation_of_zero_is_refused():
    with pytest.raises(ValueError, match="separation_au must be positive, found 0"):
        lines_of_sight(np.ones(3), np.zeros(3), 0)


def test_isotropic_weight_is_the_share_of_viewers_drawn():
    rng = np.random.default_rng(1)
    n = 200_000
    for distance, separation, tolerance in ((210.0, 200.0, 20.0), (500.0, 200.0, 20.0), (3000.0, 200.0, 20.0)):
        projected = distance * np.sqrt(1 - rng.uniform(-1, 1, n) ** 2)
        share = np.mean(np.abs(projected - separation) <= tolerance)
        weight = isotropic_weight(distance, separation, tolerance)
        assert abs(share - weight) < 4 * np.sqrt(weight * (1 - weight) / n)


def test_isotropic_weight_of_closer_pairs():
    weights = isotropic_weight(np.array([100.0, 190.0, 1000.0, 3000.0]), 200.0, 20.0)
    assert weights[0] == 0  # never seen at 180–220 AU
    assert weights[1] > weights[2] > weights[3]
    # p(s|D) = s/(D √(D² − s²)), so about s/D² per AU for D ≫ s.
    assert weights[3] == pytest.approx(40 * 200 / 3000**2, rel=0.01)
