"""Keplerian orbits of both stars of a binary from a handful of epochs.

The design is The Joker's (Price-Whelan et al. 2017, ApJ 837, 20): period, eccentricity, phase and mass ratio are
searched through their priors, γ and the amplitudes, which are linear, are integrated out; what the data leave open
is kept as aliases. Here the search is a grid in frequency, not a random one, and each mode is then sampled by emcee.
"""

from dataclasses import dataclass, field

import emcee
import numba
import numpy as np

# σ of the Gaussian priors of γ and of the two amplitudes (K cos ω, K sin ω) of the primary [km/s].
GAMMA_PRIOR, K_PRIOR = 100.0, 100.0
ECC_NODES = np.array([0.0, 0.1, 0.2, 0.35, 0.5, 0.7])
ECC_BETA = (0.867, 3.03)  # of the Beta prior (Kipping 2013, MNRAS 434, L51)
PHASES = 12  # of the search, for e > 0; for e = 0 the phase is linear
OVERSAMPLING = 8  # frequencies per 1/baseline
# A blend of two stars moves like their light-weighted mean, to this [km/s]; unresolved means |Δv| of about this.
BLEND_ERROR, UNRESOLVED = 5.0, 30.0
CONJUNCTION_ERROR = 5.0  # km/s, of no separation at an eclipse: an eccentric orbit's is not quite zero
PRIMARY, SECONDARY, BLEND, NO_SEPARATION = 0, 1, 2, 3  # kinds of data rows
GRID_SHARE = 0.15  # of the amplitude: half a step in frequency or phase moves velocities by about as much
N_STARTS, N_WALKERS, N_STEPS, N_MODES = 2000, 32, 240, 10
ALIAS_SHARE = 0.01  # of the evidence, from which another period is listed


@dataclass(frozen=True)
class Epochs:
    """Velocities of one source [km/s], heliocentric; (N,) each, `bjd` [d].

    `v1`, `v2` and their errors where both stars are resolved, NaN elsewhere; there `vs` and its error, the velocity
    of the one star seen. `light` ratio of the secondary's lines, 0 where it is not seen at all.
    """

    bjd: np.ndarray
    v1: np.ndarray
    err1: np.ndarray
    v2: np.ndarray
    err2: np.ndarray
    vs: np.ndarray
    errs: np.ndarray
    light: float = 0.0

    @property
    def resolved(self) -> np.ndarray:
        return np.isfinite(self.v1) & np.isfinite(self.v2)


@dataclass(frozen=True)
class Orbit:
    """The best mode: medians and 68 % errors. Period [d], `bjd0` of superior conjunction of the primary (its eclipse
    where there are any), K1, K2, γ [km/s], `share` of the evidence; `aliases`: (period, share) of other modes."""

    period: float
    period_err: float
    bjd0: float
    ecc: float
    ecc_err: float
    omega: float
    k1: float
    k1_err: float
    k2: float
    k2_err: float
    gamma: float
    gamma_err: float
    q: float
    q_err: float
    share: float
    chi2: float
    aliases: list[tuple[float, float]] = field(default_factory=list)


def fit_orbit(
    epochs: Epochs,
    q: np.ndarray,
    *,
    periods: tuple[float, float] = (0.4, 100.0),
    known: tuple[float, float] | None = None,
    seed: int = 0,
) -> Orbit:
    """The orbit of one source. `q` (Q,): samples of the mass ratio before the orbit (a Wilson fit, or any prior).

    `periods` [d] limits the search; `known` (period [d], BJD of primary eclipse) takes its place where eclipses give
    both: then e, ω, the amplitudes, γ and q are free. ValueError below six dates (three where the period is
    known).
    """
    data = _rows(epochs)
    needed = 3 if known else 6
    if len(np.unique(epochs.bjd)) < needed:
        raise ValueError(f"an orbit needs {needed} dates, found {len(np.unique(epochs.bjd))}")
    rng = np.random.default_rng(seed)
    zero, span = float(np.mean(epochs.bjd)), max(float(np.ptp(epochs.bjd)), 1.0)
    if known:
        data = np.vstack([data, (known[1], 0.0, CONJUNCTION_ERROR, NO_SEPARATION, 0.0)])
        modes, width = [1 / known[0]], 1e-3 / max(abs(zero - known[1]), span)
    else:
        log_p, frequency = _search(data, span, zero, q, periods)
        modes, width = _modes(log_p, frequency, 1 / span), 0.5 / span
    chains = [_sample(data, zero, q, f, width, rng) for f in modes]
    evidence = np.array([_evidence(samples, log_p) for samples, log_p in chains])
    share = np.exp(evidence - np.logaddexp.reduce(evidence))
    best = int(np.argmax(share))
    order = [k for k in np.argsort(-share) if k != best and share[k] > ALIAS_SHARE]
    aliases = [(float(np.median(1 / chains[k][0][:, 0])), float(share[k])) for k in order]
    return _summary(data, zero, chains[best][0], float(share[best]), aliases, rng)


# --- the marginal likelihood ------------------------------------------------------------------------------


def _rows(epochs: Epochs) -> np.ndarray:
    """Data rows (R, 5): date, value, error, kind (PRIMARY …), light ratio."""
    rows = []
    nights = epochs.bjd.round()
    for i in range(len(epochs.bjd)):
        # What makes a blend lie is the same for all exposures of a night.
        blend_error = BLEND_ERROR * np.sqrt((nights == nights[i]).sum())
        if epochs.resolved[i]:
            rows.append((epochs.bjd[i], epochs.v1[i], epochs.err1[i], PRIMARY, 0.0))
            rows.append((epochs.bjd[i], epochs.v2[i], epochs.err2[i], SECONDARY, 0.0))
        elif np.isfinite(epochs.vs[i]):
            error = np.hypot(epochs.errs[i], blend_error) if epochs.light > 0 else epochs.errs[i]
            rows.append((epochs.bjd[i], epochs.vs[i], error, BLEND, epochs.light))
            if epochs.light > 0:
                rows.append((epochs.bjd[i], 0.0, UNRESOLVED, NO_SEPARATION, 0.0))
    return np.array(rows, float).reshape(-1, 5)


@numba.njit(cache=True)
def _solve(data, zero, frequency, ecc, m0, q, precision, out):
    """Log marginal likelihood over γ and the two amplitudes, K cos ω and −K sin ω of the primary.

    Their means go to out[:3], χ² with the priors to out[3], the Cholesky factor of the precision to out[4:10].
    """
    n00, n01, n02, n11, n12, n22 = precision[0], 0.0, 0.0, precision[1], 0.0, precision[1]
    b0, b1, b2, total, norm = 0.0, 0.0, 0.0, 0.0, 0.0
    root = np.sqrt((1 + ecc) / (1 - ecc))
    for i in range(data.shape[0]):
        mean = 2 * np.pi * ((data[i, 0] - zero) * frequency + m0)
        mean -= 2 * np.pi * np.floor(mean / (2 * np.pi))
        anomaly = mean
        if ecc > 0:
            anomaly = mean + ecc * np.sin(mean) if ecc < 0.8 else np.pi
            for _ in range(30):
                step = (anomaly - ecc * np.sin(anomaly) - mean) / (1 - ecc * np.cos(anomaly))
                anomaly -= step
                if abs(step) < 1e-10:
                    break
            anomaly = 2 * np.arctan2(root * np.sin(0.5 * anomaly), np.cos(0.5 * anomaly))
        kind = data[i, 3]
        one, factor = 1.0, 1.0
        if kind == SECONDARY:
            factor = -1.0 / q
        elif kind == BLEND:
            factor = (1 - data[i, 4] / q) / (1 + data[i, 4])
        elif kind == NO_SEPARATION:
            one, factor = 0.0, 1.0 + 1.0 / q
        x, y = factor * (np.cos(anomaly) + ecc), factor * np.sin(anomaly)
        w = 1.0 / data[i, 2] ** 2
        v = data[i, 1]
        n00 += w * one
        n01 += w * one * x
        n02 += w * one * y
        n11 += w * x * x
        n12 += w * x * y
        n22 += w * y * y
        b0 += w * one * v
        b1 += w * x * v
        b2 += w * y * v
        total += w * v * v
    # Cholesky of the 3 × 3 normal matrix.
    l00 = np.sqrt(n00)
    l10, l20 = n01 / l00, n02 / l00
    l11 = np.sqrt(n11 - l10 * l10)
    l21 = (n12 - l20 * l10) / l11
    l22 = np.sqrt(max(n22 - l20 * l20 - l21 * l21, 1e-30))
    z0 = b0 / l00
    z1 = (b1 - l10 * z0) / l11
    z2 = (b2 - l20 * z0 - l21 * z1) / l22
    out[2] = z2 / l22
    out[1] = (z1 - l21 * out[2]) / l11
    out[0] = (z0 - l10 * out[1] - l20 * out[2]) / l00
    misfit = total - (z0 * z0 + z1 * z1 + z2 * z2)
    out[3] = misfit
    out[4], out[5], out[6], out[7], out[8], out[9] = l00, l10, l11, l20, l21, l22
    norm = np.log(l00) + np.log(l11) + np.log(l22) - 0.5 * np.log(precision[0]) - np.log(precision[1])
    return -0.5 * misfit - norm


@numba.njit(cache=True)
def _marginals(data, zero, frequency, ecc, m0, q, precision):
    """`_solve` for S sets of nonlinear parameters, (S,)."""
    out, result = np.empty(10), np.empty(len(frequency))
    for s in range(len(frequency)):
        result[s] = _solve(data, zero, frequency[s], ecc[s], m0[s], q[s], precision, out)
    return result


PRECISION = np.array([GAMMA_PRIOR**-2, K_PRIOR**-2])


def _log_ecc_prior(ecc: np.ndarray) -> np.ndarray:
    a, b = ECC_BETA
    return (a - 1) * np.log(np.maximum(ecc, 1e-2)) + (b - 1) * np.log1p(-ecc)


# --- search -----------------------------------------------------------------------------------------------


def _search(
    data: np.ndarray, span: float, zero: float, q: np.ndarray, periods: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Log posterior of each frequency, marginal over the grid in e and phase, at the median of q: (F,), (F,) [1/d].

    Errors are taken no smaller than what the steps of the grid make of a large amplitude, so that no orbit falls
    through them.
    """
    data = data.copy()
    amplitude = 0.5 * np.ptp(data[data[:, 3] != NO_SEPARATION, 1])
    data[:, 2] = np.hypot(data[:, 2], GRID_SHARE * amplitude)
    low, high = 1 / min(periods[1], 2 * span), 1 / periods[0]
    frequency = np.arange(low, high, 1 / (OVERSAMPLING * span))
    middle = float(np.median(q))
    weight = np.exp(_log_ecc_prior(ECC_NODES)) * np.gradient(ECC_NODES)
    weight /= weight.sum()
    parts = []
    for ecc, share in zip(ECC_NODES, weight):
        phases = [0.0] if ecc == 0 else np.arange(PHASES) / PHASES
        for m0 in phases:
            same = np.ones_like(frequency)
            found = _marginals(data, zero, frequency, ecc * same, m0 * same, middle * same, PRECISION)
            parts.append(found + np.log(share / len(phases)))
    # The prior is flat in ln P: 1/f per frequency.
    return np.logaddexp.reduce(parts, axis=0) - np.log(frequency), frequency


def _modes(log_p: np.ndarray, frequency: np.ndarray, width: float) -> list[float]:
    """Frequencies of the highest modes, a resolution element apart."""
    left, modes = log_p.copy(), []
    for _ in range(N_MODES):
        peak = int(np.argmax(left))
        if not np.isfinite(left[peak]):
            break
        modes.append(float(frequency[peak]))
        left[np.abs(frequency - frequency[peak]) < width] = -np.inf
    return modes


# --- sampling a mode --------------------------------------------------------------------------------------


def _sample(data, zero, q, frequency, width, rng) -> tuple[np.ndarray, np.ndarray]:
    """Samples (S, 4) of frequency, e, phase at `zero` [turns] and q of one mode, `width` [1/d] either side, and the
    log posterior of each."""
    log_q, spread = np.log(np.median(q)), max(float(np.std(np.log(q))), 1e-3)

    def log_p(theta):
        f, a, b, lq = theta.T
        ecc, m0 = np.hypot(a, b), np.arctan2(b, a) / (2 * np.pi)
        inside = (ecc < 0.9) & (np.abs(f - frequency) < width)
        safe = np.where(inside, ecc, 0.0)
        found = _marginals(data, zero, np.where(inside, f, frequency), safe, m0, np.exp(lq), PRECISION)
        # The last but one term: e cos and e sin of the phase, which know no edge at e = 0, have the area e de.
        found += _log_ecc_prior(safe) - np.log(np.maximum(safe, 1e-2)) - 0.5 * ((lq - log_q) / spread) ** 2
        found -= np.log(np.maximum(f, 1e-6))
        return np.where(inside, found, -np.inf)

    ecc, phase = 0.9 * rng.beta(*ECC_BETA, N_STARTS), rng.uniform(0, 2 * np.pi, N_STARTS)
    start = np.stack(
        [
            frequency + width * rng.uniform(-0.7, 0.7, N_STARTS),
            ecc * np.cos(phase),
            ecc * np.sin(phase),
            log_q + spread * rng.normal(size=N_STARTS),
        ],
        axis=1,
    )
    start = start[np.argsort(-log_p(start))[:N_WALKERS]]
    start = start + rng.normal(size=start.shape) * np.array([1e-3 * width, 0.002, 0.002, 0.05 * spread])
    sampler = emcee.EnsembleSampler(N_WALKERS, 4, log_p, vectorize=True)
    sampler.random_state = np.random.RandomState(int(rng.integers(2**31))).get_state()
    sampler.run_mcmc(start, N_STEPS, skip_initial_state_check=True)
    chain, level = (get(discard=N_STEPS // 2, thin=5, flat=True) for get in (sampler.get_chain, sampler.get_log_prob))
    good = level > level.max() - 15  # walkers that never found the mode
    f, a, b, lq = chain[good].T
    return np.stack([f, np.hypot(a, b), np.arctan2(b, a) / (2 * np.pi), np.exp(lq)], axis=1), level[good]


def _evidence(samples: np.ndarray, log_p: np.ndarray) -> float:
    """Log evidence of a mode: its height times the volume of a Gaussian as wide as its samples."""
    f, ecc, m0, q = samples.T
    place = np.stack([f, ecc * np.cos(2 * np.pi * m0), ecc * np.sin(2 * np.pi * m0), np.log(q)])
    scale = place.std(axis=1) + 1e-12
    _, log_det = np.linalg.slogdet(np.cov(place / scale[:, None]) + 1e-9 * np.eye(4))
    return float(log_p.max() + 0.5 * log_det + np.log(scale).sum())


def _summary(
    data: np.ndarray,
    zero: float,
    samples: np.ndarray,
    share: float,
    aliases: list[tuple[float, float]],
    rng: np.random.Generator,
) -> Orbit:
    """Medians and errors over samples of all parameters, the linear ones drawn where they were integrated out."""
    linear, chi2 = np.empty((len(samples), 3)), np.empty(len(samples))
    out, chol = np.empty(10), np.zeros((3, 3))
    for s, (f, ecc, m0, q) in enumerate(samples):
        _solve(data, zero, f, ecc, m0, q, PRECISION, out)
        chol[np.tril_indices(3)] = out[4:10]
        linear[s] = out[:3] + np.linalg.solve(chol.T, rng.normal(size=3))
        chi2[s] = out[3]
    f, ecc, m0, q = samples.T
    k1, omega = np.hypot(linear[:, 1], linear[:, 2]), np.arctan2(-linear[:, 2], linear[:, 1])
    half = 0.5 * (np.pi / 2 - omega)
    anomaly = 2 * np.arctan2(np.sqrt(1 - ecc) * np.sin(half), np.sqrt(1 + ecc) * np.cos(half))
    turns = (anomaly - ecc * np.sin(anomaly)) / (2 * np.pi) - m0
    turns -= np.round(turns - np.angle(np.exp(2j * np.pi * turns).mean()) / (2 * np.pi))
    middle = {"period": 1 / f, "bjd0": zero + turns / f, "ecc": ecc, "k1": k1, "k2": k1 / q, "q": q}
    middle |= {"gamma": linear[:, 0]}
    found = {name: float(np.median(values)) for name, values in middle.items()}
    errors = {
        f"{name}_err": float(0.5 * np.ptp(np.percentile(values, [16, 84])))
        for name, values in middle.items()
        if name != "bjd0"
    }
    direction = np.angle(np.exp(1j * omega).mean())
    return Orbit(
        **found,
        **errors,
        omega=float(np.degrees(direction) % 360),
        share=share,
        chi2=float(chi2.min()),
        aliases=aliases,
    )
