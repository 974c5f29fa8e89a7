"""Augmentation: geometry against closed forms and scipy, and exactness where pixels only move."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from dioscuri.learn.images.augmentation import STRENGTHS, Augmentation, enlarged, resampled, symmetries


def gaussians(x: float, y: float, size: int = 56, width: float = 3.0, n: int = 1) -> torch.Tensor:
    """n equal images (n, 1, size, size) of a round source at (x, y) [pixels]."""
    rows, columns = np.mgrid[:size, :size]
    image = np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / width**2)
    return torch.tensor(image, dtype=torch.float32).expand(n, 1, size, size).clone()


def centroid(images: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, y and rms width of each image."""
    light = images[:, 0].double()
    total = light.sum((1, 2))
    rows, columns = torch.meshgrid(*(2 * [torch.arange(images.shape[-1]).double()]), indexing="ij")
    x, y = (light * columns).sum((1, 2)) / total, (light * rows).sum((1, 2)) / total
    variance = (light * ((columns - x[:, None, None]) ** 2 + (rows - y[:, None, None]) ** 2)).sum((1, 2)) / total
    return x.numpy(), y.numpy(), (variance / 2).sqrt().numpy()


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(4)


def test_dihedral_gives_each_of_the_eight_symmetries_equally_often() -> None:
    image = torch.arange(14.0 * 14).view(1, 1, 14, 14)
    known = [view.flatten() for view in symmetries(image)]
    assert len({tuple(view.tolist()) for view in known}) == 8
    views = Augmentation(["dihedral"])(image.expand(4000, 1, 14, 14)).flatten(1)
    counts = np.array([int((views == view).all(dim=1).sum()) for view in known])
    assert counts.sum() == 4000  # nothing but the eight
    assert (abs(counts - 500) < 5 * np.sqrt(500)).all()


def test_flip_moves_pixels_and_keeps_rows_and_columns() -> None:
    image = torch.rand(1, 3, 14, 14)
    known = [image, image.flip(-1), image.flip(-2), image.flip(-1, -2)]
    views = Augmentation(["flip"])(image.expand(200, 3, 14, 14))
    matches = torch.stack([(views == view).flatten(1).all(dim=1) for view in known])
    assert (matches.sum(dim=0) == 1).all()
    assert (matches.sum(dim=1) > 20).all()


def test_rotation_turns_about_the_centre_by_up_to_30_degrees() -> None:
    centre, radius = 27.5, 12.0
    x, y, width = centroid(Augmentation(["rotation"])(gaussians(centre + radius, centre, n=400)))
    np.testing.assert_allclose(np.hypot(x - centre, y - centre), radius, atol=0.02)
    angles = np.degrees(np.arctan2(y - centre, x - centre))
    assert abs(angles).max() < 30.2
    assert angles.min() < -27 and angles.max() > 27
    assert abs(angles.mean()) < 5 * 30 / np.sqrt(3 * 400)
    np.testing.assert_allclose(width, 3.0, atol=0.06)  # the interpolation's own blur


def test_zoom_enlarges_the_psf_by_1_to_1_5() -> None:
    x, y, width = centroid(Augmentation(["zoom"])(gaussians(27.5, 27.5, n=300)))
    np.testing.assert_allclose([x, y], 27.5, atol=1e-3)
    factor = width / 3.0
    assert 1.0 <= factor.min() < 1.03
    assert 1.47 < factor.max() < 1.52


def test_warp_is_a_perspective() -> None:
    """What is seen at v (−1…1 from the centre) lies at u = v / (1 + g v), |g| < 0.2."""
    x, _, _ = centroid(Augmentation({"warp": 0.2})(gaussians(83.5 + 30, 83.5, size=168, width=1.5, n=150)))
    u, v = 30 / 84, (x - 83.5) / 84
    g = 1 / u - 1 / v
    assert abs(g).max() < 0.2 * 1.03
    assert g.min() < -0.17 and g.max() > 0.17


def test_resampling_agrees_with_scipy() -> None:
    image = torch.rand(1, 1, 14, 14)
    angle, zoom, size = 0.4, 1.2, 20
    cosine, sine = np.cos(angle) / zoom, np.sin(angle) / zoom
    matrix = torch.tensor([[[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.1, -0.05, 1.0]]], dtype=torch.float32)
    centres = (2 * np.arange(size) + 1) / size - 1
    y, x = np.meshgrid(centres, centres, indexing="ij")
    scale = 0.1 * x - 0.05 * y + 1
    columns, rows = (cosine * x + sine * y) / scale, (cosine * y - sine * x) / scale
    places = [(np.array(axis) + 1) * 7 - 0.5 for axis in (rows, columns)]
    expected = map_coordinates(image[0, 0].double().numpy(), places, order=1, mode="reflect")
    np.testing.assert_allclose(resampled(image, matrix, size)[0, 0].numpy(), expected, atol=1e-5)


def test_enlarging_is_the_identity_view() -> None:
    images = torch.rand(2, 1, 14, 14)
    np.testing.assert_allclose(resampled(images, torch.eye(3).expand(2, 3, 3), 224), enlarged(images, 224), atol=1e-5)
    assert Augmentation(["flip"], size=224)(images).shape == (2, 1, 224, 224)


def test_brightness_and_contrast_act_on_the_log_odds_within_their_limits() -> None:
    images = torch.full((2000, 1, 2, 2), 0.5)
    images[:, :, 1] = 0.8
    lit = Augmentation(["brightness_contrast"])(images).double()
    middle, other = (torch.logit(lit[:, 0, row, 0]) for row in (0, 1))
    assert 0.4 - 1e-4 <= lit[:, 0, 0].min() < 0.405 and 0.595 < lit[:, 0, 0].max() <= 0.6 + 1e-4
    contrast = (other - middle) / np.log(4)
    assert 0.8 - 1e-4 <= contrast.min() < 0.81 and 1.23 < contrast.max() <= 1.25 + 1e-4
    assert ((lit >= 0) & (lit <= 1)).all()


def test_images_of_a_batch_are_changed_independently_and_all_at_once_keep_their_shape() -> None:
    views = Augmentation(list(STRENGTHS))(gaussians(20, 30, n=8))
    assert views.shape == (8, 1, 56, 56)
    assert len({round(float(view.sum()), 3) for view in views}) == 8
    untouched = gaussians(20, 30, n=8)
    assert torch.equal(Augmentation()(untouched), untouched)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match=r"unknown augmentation\(s\) mixup; accepted: dihedral, flip"):
        Augmentation(["flip", "mixup"])
    with pytest.raises(ValueError, match="zoom is at least 1"):
        Augmentation({"zoom": 0.5})
    with pytest.raises(ValueError, match="brightness and contrast are shares"):
        Augmentation({"brightness_contrast": 1.0})
