"""Single star, single-lined or double-lined binary? What all epochs of a source say together."""

from collections.abc import Mapping

import numpy as np

CLASSES = ("single", "sb1", "sb2")
# Shares among stars that a survey of bright stars observes a few times: what an epoch-poor source falls back to.
PRIOR = {"single": 0.86, "sb1": 0.12, "sb2": 0.02}
FLOOR = 1.0  # km/s, added to errors of velocities in quadrature: what neither noise nor the orbit explains
# Exposures of one star share what templates get wrong: of n of them, n / (1 + (n − 1) ρ) count.
CORRELATION = 0.5
GAMMA = np.arange(-400.0, 401.0, 4.0)  # km/s
GAMMA_SPREAD = 60.0  # km/s, σ of systemic velocities
SCATTER = np.geomspace(3.0, 150.0, 12)  # km/s, of a binary's velocities about γ, log-uniform
RESOLVED = np.linspace(0.025, 0.975, 20)  # share of epochs at which a double-lined binary shows both stars, uniform
AT_ONCE = 32  # epochs whose likelihoods are multiplied before the logarithm: they are above 2.5e-5 each
OUTLIERS, OUTLIER_RANGE = 0.02, 800.0  # share of velocities that are wrong altogether, and where they fall [km/s]


def classify(
    velocity: np.ndarray, error: np.ndarray, logodds: np.ndarray, prior: Mapping[str, float] = PRIOR
) -> dict[str, float]:
    """Posterior probability of each of CLASSES for one source of N epochs.

    `velocity`, `error` (N,) [km/s] of the one-star fit, NaN where there is none; `logodds` (N,): ln of the evidence
    ratio of a pair to one star from the shape of the spectrum alone, NaN where not known. Constant velocity speaks for
    a single star, scatter beyond errors for a binary; each epoch of an SB2 shows two stars with a probability that is
    marginalised, so that blends do not speak against it.
    """
    constant, moving = _velocities(velocity, error)
    shape = _shapes(logodds)
    evidence = np.array([constant, moving, shape + np.logaddexp(constant, moving) - np.log(2)])
    log_p = evidence + np.log([prior[name] for name in CLASSES])
    return dict(zip(CLASSES, np.exp(log_p - _log_sum(log_p)).tolist()))


def _velocities(velocity: np.ndarray, error: np.ndarray) -> tuple[float, float]:
    """Log evidence of one constant velocity, and of scatter about one, marginal over γ."""
    known = np.isfinite(velocity) & np.isfinite(error)
    if not known.any():
        return 0.0, 0.0
    off = velocity[known, None, None] - GAMMA[None, :, None]
    variance = (error[known] ** 2 + FLOOR**2)[:, None, None] + np.concatenate([[0.0], SCATTER**2])[None, None, :]
    normal = np.exp(-0.5 * off**2 / variance) / np.sqrt(2 * np.pi * variance)
    likelihood = (1 - OUTLIERS) * normal + OUTLIERS / OUTLIER_RANGE  # (N, γ, scatter)
    each = sum(np.log(likelihood[i : i + AT_ONCE].prod(axis=0)) for i in range(0, len(likelihood), AT_ONCE))
    prior = -0.5 * (GAMMA / GAMMA_SPREAD) ** 2
    over_gamma = _log_sum(each + prior[:, None]) - _log_sum(prior)
    return float(over_gamma[0]), float(_log_sum(over_gamma[1:]) - np.log(len(SCATTER)))


def _log_sum(values: np.ndarray) -> np.ndarray:
    """ln Σ exp over the first axis; scipy's, which serves any array library, takes as long as all the rest."""
    top = values.max(axis=0)
    return top + np.log(np.exp(values - top).sum(axis=0))


def _shapes(logodds: np.ndarray) -> float:
    """Log evidence of two stars against one, marginal over the share of epochs that show both."""
    known = logodds[np.isfinite(logodds)]
    if not len(known):
        return 0.0
    counted = known / (1 + (len(known) - 1) * CORRELATION)
    each = np.logaddexp(np.log(RESOLVED) + counted[:, None], np.log1p(-RESOLVED))
    return float(_log_sum(each.sum(axis=0)) - np.log(len(RESOLVED)))


def unmoving(v1: np.ndarray, v2: np.ndarray, err1: np.ndarray, err2: np.ndarray) -> bool:
    """Whether two stars, resolved at three epochs or more, both stand still: rather neighbours in the sky than a pair.

    True where neither velocity scatters beyond three times its errors, FLOOR included; which star is which may change.
    """
    if len(v1) < 3:
        return False
    high, low = np.maximum(v1, v2), np.minimum(v1, v2)
    error = np.hypot(np.maximum(err1, err2), FLOOR)
    return all(np.ptp(values) < 3 * np.sqrt(2) * np.median(error) for values in (high, low))
