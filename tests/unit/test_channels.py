"""Renderings and epochs: what a network is shown of a stamp, and that every epoch is what its seed says."""

from pathlib import Path

import numpy as np
import pytest

from dioscuri.psf.effective import Psf
from dioscuri.stamps.channels import RENDERINGS, make_channels
from dioscuri.stamps.epochs import FreshStamps, Observer, StoredStamps
from dioscuri.stamps.mocks import Law, Noise, Renderer, draw_sources, make_stamps, write_stamps

NOISE = Noise(sigma=0.6, background=2.0)


def gaussian_psf(*widths: float) -> Psf:
    """Round PSFs of the given rms widths [pixels], 4 samples a pixel."""
    axis = (np.arange(81) - 40) / 4
    radius = np.hypot(axis, axis[:, None])
    return Psf(np.stack([np.exp(-0.5 * (radius / w) ** 2) / (2 * np.pi * w**2) for w in widths]), 4, 0.075)


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(gaussian_psf(0.9))


@pytest.fixture(scope="module")
def singles(renderer: Renderer) -> tuple[dict[str, np.ndarray], np.ndarray]:
    sources = draw_sources(600, 3, Law(), noise=NOISE, binary_share=0.0)
    return sources, make_stamps(sources, renderer, NOISE, 3)


def compact(stamps: np.ndarray, renderer: Renderer, variance: float | np.ndarray = NOISE.variance) -> np.ndarray:
    return make_channels(stamps, "compact", variance=variance, renderer=renderer)


@pytest.mark.parametrize("rendering", RENDERINGS)
def test_shapes(rendering: str, renderer: Renderer, singles: tuple) -> None:
    channels = make_channels(singles[1][:5], rendering, variance=NOISE.variance, renderer=renderer)
    assert channels.shape == (5, RENDERINGS[rendering], 14, 14)
    assert channels.dtype == np.float32
    assert make_channels(singles[1][:0], rendering, renderer=renderer).shape == (0, RENDERINGS[rendering], 14, 14)


def test_residuals_of_single_stars_are_unit_noise(renderer: Renderer, singles: tuple) -> None:
    residual = 3 * compact(singles[1], renderer)[:, 1]
    n = residual.size
    # Three of 196 numbers went into the fit.
    assert (residual**2).mean() == pytest.approx(193 / 196, abs=5 * np.sqrt(2 / n))
    assert residual.mean() == pytest.approx(0, abs=0.02)


def test_pairs_stand_out_in_the_residual_by_their_shape(renderer: Renderer) -> None:
    sources = draw_sources(200, 4, Law(), noise=NOISE, binary_share=1.0, sep=1.2)
    chi2 = (9 * compact(make_stamps(sources, renderer, NOISE, 4), renderer)[:, 1] ** 2).sum(axis=(1, 2))
    assert np.median(chi2) > 193 + 20 * np.sqrt(2 * 193)


def test_third_channel_tells_the_place(renderer: Renderer) -> None:
    centre, offset, flux = 6.5, 0.1, 10_000.0
    stars = renderer.render(centre + np.array([0.0, offset]), centre, flux)
    channels = compact(stars, renderer, 1e-2)
    assert abs(channels[0, 2]).max() < 1e-4
    assert abs(channels[1, 1]).max() < 0.02  # a single star wherever it is
    # Moved by δ, the residual is −δ ∂P/∂x: for a Gaussian antisymmetric, F δ x/w² · P against the photon noise.
    model = renderer.render(centre, centre, flux)[0]
    slope = model * (np.arange(14) - centre) / 0.9**2
    expected = offset * slope / np.sqrt(model + 1e-2)
    residual = np.sinh(3 * channels[1, 2])
    assert np.corrcoef(residual.ravel(), expected.ravel())[0, 1] > 0.98
    assert residual[7, 7] == pytest.approx(expected[7, 7], rel=0.1)


def test_bad_pixels_are_filled_with_the_fitted_star(renderer: Renderer, singles: tuple) -> None:
    sources, stamps = singles[0], singles[1][:50].copy()
    clean = compact(stamps, renderer)
    variance = np.full(stamps.shape, NOISE.variance)
    variance[:, 6, 8] = np.inf
    stamps[:, 6, 8] = 1e6
    stamps[:, 2, 3] = np.nan
    channels = compact(stamps, renderer, variance)
    assert np.isfinite(channels).all()
    assert (channels[:, 1:, 6, 8] == 0).all() and (channels[:, 1:, 2, 3] == 0).all()
    filled = 10 * np.sinh(8 * channels[:, 0, 6, 8])
    truth = renderer.render(sources["x"][:50], sources["y"][:50], sources["flux"][:50])[:, 6, 8]
    np.testing.assert_allclose(filled, truth, atol=6 * np.sqrt(truth.max() / 5))
    good = np.ones((14, 14), bool)
    good[6, 8] = good[2, 3] = False
    assert abs(channels[:, 0] - clean[:, 0])[:, good].max() < 1e-6


def test_pictures_run_from_black_to_white(singles: tuple) -> None:
    stamps = singles[1][:20]
    linear, logarithmic = (make_channels(stamps, name)[:, 0] for name in ("rgb_linear", "rgb_log"))
    for picture in (linear, logarithmic):
        assert picture.min() == 0
        np.testing.assert_allclose(picture.max(axis=(1, 2)), 1)
    peak = stamps.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(linear, np.maximum(stamps, 0) / peak, rtol=1e-6)
    np.testing.assert_allclose(peak**logarithmic, np.maximum(stamps, 1), rtol=1e-4)
    for name, picture in (("rgb_linear_8bit", linear), ("rgb_log_8bit", logarithmic)):
        steps = 255 * make_channels(stamps, name)[:, 0]
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-4)
        assert abs(steps / 255 - picture).max() <= 0.5 / 255 + 1e-6
    assert (make_channels(np.zeros((1, 14, 14)), "rgb_log") == 0).all()


def test_pictures_have_no_bad_pixels(singles: tuple) -> None:
    stamps, variance = singles[1][:3].copy(), np.ones((3, 14, 14))
    stamps[:, 1, 1], variance[:, 1, 1] = 1e7, np.inf
    picture = make_channels(stamps, "rgb_log", variance=variance)
    np.testing.assert_allclose(picture.max(axis=(1, 2, 3)), 1)
    assert (picture[:, 0, 1, 1] == 0).all()


def test_mistakes_are_named(renderer: Renderer) -> None:
    with pytest.raises(ValueError, match="unknown rendering 'png'; accepted: compact, rgb_log"):
        make_channels(np.zeros((1, 14, 14)), "png")
    with pytest.raises(ValueError, match="fits a star to every stamp: give it the PSF's renderer"):
        make_channels(np.zeros((1, 14, 14)), "compact")
    with pytest.raises(ValueError, match=r"shape \(14, 14\); accepted: \(B, 14, 14\)"):
        make_channels(np.zeros((14, 14)), "rgb_log")


# --- epochs -------------------------------------------------------------------------------------------------


def test_epochs_are_fresh_balanced_and_reproducible(renderer: Renderer) -> None:
    observer = Observer("compact", NOISE.variance, renderer)
    bank = Renderer(gaussian_psf(0.9, 0.95, 0.85))
    epochs, again = (FreshStamps(101, Law(), bank, NOISE, observer, seed=8) for _ in range(2))
    first, second = epochs(0), epochs(1)
    assert first[0].shape == (101, 3, 14, 14)
    assert abs(first[1].sum() - 50.5) <= 0.5
    assert not np.isclose(first[0], second[0]).all(axis=(1, 2, 3)).any()
    np.testing.assert_array_equal(again(1)[0], second[0])  # without making the first epoch
    sources = draw_sources(101, 8, Law(), noise=NOISE, n_members=3, start=101)
    assert set(sources["member"]) == {0, 1, 2}
    np.testing.assert_array_equal(observer.channels(make_stamps(sources, bank, NOISE, 8)), second[0])
    assert epochs.description["members"] == 3 and epochs.description["law"]["placement"] == "photocentre_random"


def test_stored_stamps_are_the_same_in_every_epoch(renderer: Renderer, tmp_path: Path) -> None:
    observer, paths = Observer("rgb_log"), []
    for k in range(2):
        sources = draw_sources(30, 1, Law(), noise=NOISE, start=30 * k)
        paths.append(tmp_path / f"{k}.h5")
        write_stamps(paths[-1], make_stamps(sources, renderer, NOISE, 1), sources, {"part": k})
    stored = StoredStamps(paths, observer)
    assert stored.size == 60
    channels, classes = stored(3)
    np.testing.assert_array_equal(channels, stored(0)[0])
    whole = draw_sources(60, 1, Law(), noise=NOISE)
    np.testing.assert_array_equal(classes, whole["is_binary"])
    np.testing.assert_array_equal(channels, observer.channels(make_stamps(whole, renderer, NOISE, 1)))
    assert [origin["settings"]["part"] for origin in stored.description["mocks"]] == [0, 1]
    with pytest.raises(ValueError, match="no files of stamps given"):
        StoredStamps([], observer)


def test_an_observer_knows_the_places_of_a_bank() -> None:
    """Stars of another place of the field leave nothing where that place is known; errors about it do."""
    bank = gaussian_psf(0.9, 1.0, 1.0, 1.1)
    bank.parameters["assumed"] = np.array([0, 1, 0, 1])
    sources = draw_sources(40, 3, Law(flux_min=2e4), noise=NOISE, binary_share=0.0, n_members=4)
    stamps = Renderer(bank).render_pairs(sources)

    def left(observer: Observer) -> np.ndarray:
        residual = observer.channels(stamps, sources["member"])[:, 1]
        return np.array([np.abs(residual[sources["member"] == k]).max() for k in range(4)])

    knows = left(Observer.of("compact", NOISE.variance, gaussian_psf(0.9), bank))
    assert (knows[:2] < 0.01).all() and (knows[2:] > 0.3).all()
    without = gaussian_psf(0.9, 1.0, 1.0, 1.1)
    takes_all_for_one = left(Observer.of("compact", NOISE.variance, gaussian_psf(0.9), without))
    assert takes_all_for_one[0] < 0.01 and (takes_all_for_one[1:] > 0.3).all()
