"""Lines of sight from which two stars appear at a wanted projected separation (Al-Belmeisi et al. 2023, Fig. 2)."""

from typing import NamedTuple

import numpy as np


class LinesOfSight(NamedTuple):
    """`n` observers around a cone; (n, 3) unit vectors, right-handed: right × north = toward the observer.

    `toward` points from the system to the observer, `north` is up in the image (the primary is exactly above the
    secondary) and `right` to the right; `phi` (n,) [deg] is the angle around the cone.
    """

    toward: np.ndarray
    north: np.ndarray
    right: np.ndarray
    phi: np.ndarray


def lines_of_sight(
    x1: np.ndarray,
    x2: np.ndarray,
    separation_au: float,
    n: int = 8,
    mirror: bool = False,
    reference: np.ndarray | None = None,
) -> LinesOfSight | None:
    """`n` lines of sight onto stars at `x1`, `x2` (3,) [AU] with projected separation `separation_au`.

    They lie evenly on the cone of half-angle arcsin(s/D) about the line from the secondary to the primary, D being
    their distance; None if D < s, where there is none. φ = 0 lies in the plane of that line and `reference` (3,), the
    angular momentum of the orbit for instance; without it, in that of the coordinate axis farthest from the line.
    With `mirror` the observers stand exactly opposite: in optically thin emission they see the mirror image, with
    receding and approaching gas exchanged.
    """
    line = np.asarray(x1, float) - np.asarray(x2, float)
    distance = float(np.linalg.norm(line))
    if not separation_au > 0:
        raise ValueError(f"separation_au must be positive, found {separation_au}")
    if distance < separation_au:
        return None
    axis = line / distance
    first = _perpendicular(axis, reference)
    second = np.cross(axis, first)
    sine = separation_au / distance
    cosine = np.sqrt(max(0.0, 1 - sine**2))
    phi = 2 * np.pi * np.arange(n) / n
    around = np.cos(phi)[:, None] * first + np.sin(phi)[:, None] * second
    toward = cosine * axis + sine * around
    north = sine * axis - cosine * around
    if mirror:
        toward = -toward
    return LinesOfSight(toward, north, np.cross(north, toward), np.degrees(phi))


def _perpendicular(axis: np.ndarray, reference: np.ndarray | None) -> np.ndarray:
    """Unit vector perpendicular to `axis`, in its plane with `reference`."""
    if reference is not None:
        candidate = reference - (reference @ axis) * axis
        if np.linalg.norm(candidate) > 1e-8 * np.linalg.norm(reference):
            return candidate / np.linalg.norm(candidate)
    candidate = np.eye(3)[np.argmin(np.abs(axis))]
    candidate = candidate - (candidate @ axis) * axis
    return candidate / np.linalg.norm(candidate)


def isotropic_weight(distance: np.ndarray, separation_au: float, tolerance_au: float) -> np.ndarray:
    """Chance that an isotropic viewer sees a pair `distance` [AU] apart within `tolerance_au` of `separation_au`.

    Pairs farther apart are seen so rarely: the density is s/(D √(D² − s²)), and a catalogue in which every snapshot
    has as many lines of sight over-counts wide pairs without this weight.
    """
    distance = np.asarray(distance, float)

    def closer(limit: float) -> np.ndarray:
        return 1 - np.sqrt(1 - np.clip(limit / distance, 0, 1) ** 2)

    return closer(separation_au + tolerance_au) - closer(max(separation_au - tolerance_au, 0.0))
