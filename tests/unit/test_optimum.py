"""The optimum: fits of one star against theory, Bayes factors against direct sums and against their own odds."""

import numpy as np
import pytest
from scipy.signal import resample
from scipy.special import expit, gammaln, logsumexp

from dioscuri.learn import metrics
from dioscuri.psf.effective import Psf
from dioscuri.psf.optics import OPTICS, optical_psf
from dioscuri.stamps.mocks import SIZE, Law, Noise, Renderer, draw_sources, make_stamps
from dioscuri.stamps.optimum import between_angles, fit_single, log_bayes_factor

NOISE = Noise(sigma=0.59)


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(optical_psf(OPTICS["csst_u"], size=25))


def gaussian(*widths: float) -> Renderer:
    axis = np.arange(-50, 51) / 4
    square = axis**2 + axis[:, None] ** 2
    return Renderer(Psf(np.stack([np.exp(-0.5 * square / w**2) / (2 * np.pi * w**2) for w in widths]), 4, 0.075))


def mocks(renderer: Renderer, law: Law, n: int, seed: int = 11, noise: Noise = NOISE, **options):
    sources = draw_sources(n, seed, law, noise=noise, **options)
    return sources, make_stamps(sources, renderer, noise, seed + 1)


# --- one star -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [NOISE, Noise(sigma=3.0, background=30.0)])
def test_single_fits_reach_the_cramer_rao_bound(renderer, noise):
    sources, stamps = mocks(renderer, Law(), 2000, noise=noise, binary_share=0.0)
    fit = fit_single(stamps, noise.variance, renderer)
    x, y, flux, step = sources["x"], sources["y"], sources["flux"], 1e-3
    model = renderer.render(x, y, flux)
    slope = (renderer.render(x + step, y, flux) - renderer.render(x - step, y, flux)) / (2 * step)
    weight = 1 / (model + noise.variance)
    # Information on the three parameters is nearly diagonal for a PSF without odd moments.
    for value, truth, derivative in ((fit.x, x, slope), (fit.flux, flux, model / flux[:, None, None])):
        pull = (value - truth) * np.sqrt((derivative**2 * weight).sum(axis=(1, 2)))
        assert abs(pull.mean()) < 4 / np.sqrt(2000)
        assert pull.std() == pytest.approx(1, abs=4 / np.sqrt(2 * 2000))
    assert fit.chi2.mean() == pytest.approx(SIZE**2 - 3, rel=0.02)
    assert np.square(fit.residual).sum(axis=(1, 2)) == pytest.approx(fit.chi2, rel=1e-4)


def test_fit_of_a_noiseless_star_is_exact(renderer):
    truth = np.array([[900.0, 5.3, 7.9], [2e4, 6.5, 6.5], [5e3, 8.2, 4.4]])
    stamps = renderer.render(truth[:, 1], truth[:, 2], truth[:, 0])
    fit = fit_single(stamps, NOISE.variance, renderer)
    np.testing.assert_allclose(np.c_[fit.flux, fit.x, fit.y], truth, rtol=2e-5)


def test_bad_pixels_do_not_matter(renderer):
    sources, stamps = mocks(renderer, Law(), 60)
    variance = np.full(stamps.shape, NOISE.variance)
    variance[:, 5, 4] = np.inf
    spoilt = stamps.copy()
    spoilt[:, 5, 4] = 1e6
    spoilt[:, 9, 8], stamps[:, 9, 8] = np.nan, np.nan
    one, other = (fit_single(image, variance, renderer) for image in (stamps, spoilt))
    np.testing.assert_array_equal(one.x, other.x)
    assert not other.residual[:, [5, 9], [4, 8]].any()
    for left, right in zip(*(log_bayes_factor(image, variance, renderer, Law()) for image in (stamps, spoilt))):
        np.testing.assert_array_equal(left, right)
    assert np.abs(other.x - sources["x"])[~sources["is_binary"]].max() < 0.3


def test_members_belong_to_stamps():
    bank = gaussian(0.8, 1.0)
    sources, stamps = mocks(bank, Law(), 400, n_members=2, binary_share=0.0, snr=100.0)
    right = fit_single(stamps, NOISE.variance, bank, member=sources["member"]).chi2
    wrong = fit_single(stamps, NOISE.variance, bank, member=1 - sources["member"]).chi2
    assert right.mean() < 210 < 400 < wrong.mean()
    assert (right < wrong).mean() > 0.99


def test_hopeless_stamps_give_finite_numbers(renderer):
    stamps = np.stack([np.zeros((SIZE, SIZE)), np.full((SIZE, SIZE), -50.0), np.full((SIZE, SIZE), np.nan)])
    fit = fit_single(stamps, NOISE.variance, renderer)
    assert all(np.isfinite(values).all() for values in (fit.flux, fit.x, fit.y, fit.chi2, fit.residual))
    assert all(np.isfinite(values).all() for values in log_bayes_factor(stamps, NOISE.variance, renderer, Law()))


def test_wrong_input_is_refused(renderer):
    with pytest.raises(ValueError, match=r"accepted: \(B, 14, 14\)"):
        fit_single(np.zeros((3, 25, 25)), 1.0, renderer)
    with pytest.raises(ValueError, match=r"members of shape \(2,\) for 3 stamps"):
        fit_single(np.zeros((3, 14, 14)), 1.0, renderer, member=[0, 0])
    with pytest.raises(ValueError, match="bad pixels are marked by inf"):
        fit_single(np.zeros((1, 14, 14)), -1.0, renderer)


# --- one star or two ------------------------------------------------------------------------------------------------


def brute_force(stamp: np.ndarray, renderer: Renderer, law: Law, sigma: float) -> float:
    """ln Bayes factor of equal pairs with the exact probability of Poisson counts plus Gaussian noise.

    Everything is summed over grids: separations and angles, and fluxes and photocentres within 2.4 σ of the best.
    """
    counts = np.arange(int(stamp.max()) + 60)
    terms = -0.5 * ((stamp.ravel()[:, None] - counts) / sigma) ** 2 - gammaln(counts + 1)
    first = np.maximum(np.argmax(-np.abs(stamp.ravel()[:, None] - counts), axis=1) - 3, 0)
    columns = first[:, None] + np.arange(8)
    terms = np.take_along_axis(terms, columns, 1)

    def log_likelihood(mean: np.ndarray) -> np.ndarray:
        mean = np.maximum(mean.reshape(len(mean), -1, 1), 1e-9)
        return (logsumexp(terms + columns * np.log(mean), axis=2) - mean[:, :, 0]).sum(axis=1)

    fit = fit_single(stamp[None], sigma**2, renderer)
    offset = np.stack(np.meshgrid(*3 * [1.2 * np.arange(-2, 3)], indexing="ij"), -1).reshape(-1, 3)
    offset /= np.sqrt(fit.flux[0])
    flux, x, y = fit.flux[0] * (1 + offset[:, 0]), fit.x[0] + offset[:, 1], fit.y[0] + offset[:, 2]

    def evidence(dx: float, dy: float) -> float:
        halves = [renderer.render(x + side * dx / 2, y + side * dy / 2, flux / 2) for side in (1, -1)]
        return logsumexp(log_likelihood(halves[0] + halves[1]))

    middles = (np.arange(6) + 0.5) / 6
    seps, angles = law.sep_min + (law.sep_max - law.sep_min) * middles, np.pi * middles
    pairs = [evidence(sep * np.cos(angle), sep * np.sin(angle)) for sep in seps for angle in angles]
    return logsumexp(pairs) - np.log(36) - evidence(0.0, 0.0)


def test_bayes_factor_is_the_integral(renderer):
    # Faint stars: there approximations of the likelihood and of the integral over flux and place would show most.
    law = Law(flux_min=1000, flux_max=1500, sep_max=0.8)
    _, stamps = mocks(renderer, law, 2, seed=4)
    log_bf, _ = log_bayes_factor(stamps, NOISE.variance, renderer, law)
    expected = [brute_force(stamp.astype(float), renderer, law, NOISE.sigma) for stamp in stamps]
    np.testing.assert_allclose(log_bf, expected, atol=0.1)


@pytest.mark.parametrize(
    ("law", "n", "accuracy", "auc"),
    [
        (Law(flux_ratio="equal"), 1600, 0.930, 0.965),
        (Law(flux_ratio="uniform"), 800, 0.906, 0.942),
        (Law(flux_ratio="uniform", flux_ratio_min=0.1, placement="primary_centred"), 800, 0.989, 0.996),
    ],
    ids=["equal", "uniform", "primary_centred"],
)
def test_the_optimum_and_its_calibration(renderer, law, n, accuracy, auc):
    """Accuracies measured before with another program, and: odds of e^b to 1 are right e^b times of e^b + 1."""
    sources, stamps = mocks(renderer, law, n)
    truth = sources["is_binary"]
    log_bf, glr = log_bayes_factor(stamps, NOISE.variance, renderer, law)
    assert ((log_bf > 0) == truth).mean() == pytest.approx(accuracy, abs=3 * np.sqrt(accuracy * (1 - accuracy) / n))
    assert metrics.auc(log_bf, truth) == pytest.approx(auc, abs=0.6 / np.sqrt(n))
    assert metrics.auc(log_bf, truth) >= metrics.auc(glr, truth) - 0.003
    probability = expit(log_bf)
    for low, high in ((0, 0.1), (0.1, 0.5), (0.5, 0.99), (0, 1)):
        part = (probability >= low) & (probability <= high)
        scatter = np.sqrt((probability * (1 - probability))[part].sum())
        assert abs(truth[part].sum() - probability[part].sum()) < 3.5 * scatter + 1


def test_pairs_of_the_printed_grid_only(renderer):
    """Where the law has one separation, the factor is that of a narrow law around it."""
    law = Law(separation="grid", sep_min=0.8, sep_max=0.8)
    _, stamps = mocks(renderer, law, 40)
    one = log_bayes_factor(stamps, NOISE.variance, renderer, law)[0]
    narrow = Law(sep_min=0.799, sep_max=0.801)
    np.testing.assert_allclose(one, log_bayes_factor(stamps, NOISE.variance, renderer, narrow)[0], rtol=2e-3, atol=0.02)


def test_a_turned_stamp_has_the_same_factor():
    round_psf = gaussian(0.9)
    law = Law(flux_ratio="uniform")
    _, stamps = mocks(round_psf, law, 40)
    expected = log_bayes_factor(stamps, NOISE.variance, round_psf, law)[0]
    borderline = np.abs(expected) < 12
    assert borderline.sum() > 10
    for turned in (stamps[:, ::-1], np.rot90(stamps, axes=(1, 2)), stamps.transpose(0, 2, 1)):
        found = log_bayes_factor(turned, NOISE.variance, round_psf, law)[0]
        np.testing.assert_allclose(found[borderline], expected[borderline], atol=0.1)


def test_an_uncertain_psf_costs_little_and_a_wrong_one_much():
    bank = gaussian(0.86, 0.90, 0.94)
    law = Law()
    sources, stamps = mocks(bank, law, 400, n_members=3)
    truth = sources["is_binary"]
    known = log_bayes_factor(stamps, NOISE.variance, bank, law, member=sources["member"])[0]
    summed = log_bayes_factor(stamps, NOISE.variance, bank, law, members=range(3))[0]
    assumed = log_bayes_factor(stamps, NOISE.variance, bank, law, member=0)[0]
    false_positives = [(value[~truth] > 0).mean() for value in (known, summed, assumed)]
    assert false_positives[0] < 0.05 and false_positives[1] < 0.05 and false_positives[2] > 0.4
    accuracies = [((value > 0) == truth).mean() for value in (known, summed, assumed)]
    assert accuracies[0] + 0.01 > accuracies[1] > accuracies[2] + 0.1


def test_likelihood_ratio_finds_the_pair(renderer):
    """The generalised ratio is Wilks's for single stars, and what the truth gains, or more, for pairs."""
    law = Law(sep_min=0.3)
    sources, stamps = mocks(renderer, law, 300)
    _, glr = log_bayes_factor(stamps, NOISE.variance, renderer, law)
    pair = sources["is_binary"]
    variance = NOISE.variance

    def log_likelihood(mean: np.ndarray) -> np.ndarray:
        return ((stamps + variance) * np.log(mean + variance) - mean).sum(axis=(1, 2))

    gained = (
        log_likelihood(np.maximum(renderer.render_pairs(sources), 0))
        - fit_single(stamps, variance, renderer).log_likelihood
        - variance * SIZE**2
    )
    faint = pair & (gained < 200)  # where the likelihood is no narrower than the grid
    assert faint.sum() > 40
    assert (glr - gained)[faint].min() > -2.0
    assert np.abs(glr[~pair]).max() < 12


@pytest.mark.parametrize("n", [8, 9, 21])
def test_between_angles_is_what_scipy_resamples(n):
    np.testing.assert_allclose(between_angles(n), resample(np.eye(n), 4 * n), rtol=0, atol=1e-15)
