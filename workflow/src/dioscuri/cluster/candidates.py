"""The list of candidates: what the exposures say of a star together, and which stars pass."""

import numpy as np
import pandas as pd
from scipy.stats import chi2

AMBIGUOUS = 0.05  # probability that the fainter star lies on the other side, from which both are allowed


def combine(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per star from its scores in all exposures (`score_exposure`), by star_id.

    n_scored; p (mean) and logit_p (mean of the logits); log_bf and glr (sums); chi2 (mean); then from the pairs
    fitted: n_fitted, sep [arcsec] and sky_angle [deg, east of north] of the mean offset, their 1σ errors,
    flux_ratio and its error (inverse-variance means); agreement: probability that offsets of one pair differ as
    much or more (NaN with fewer than two).
    """
    scored = scores[np.isfinite(scores["log_bf"])]
    p = np.clip(scored["p"].to_numpy(float), 1e-6, 1 - 1e-6)
    scored = scored.assign(logit_p=np.log(p) - np.log1p(-p))
    by_star = scored.groupby("star_id", sort=True)
    table = by_star.agg(
        n_scored=("log_bf", "size"), flux=("flux", "mean"), p=("p", "mean"), logit_p=("logit_p", "mean"),
        log_bf=("log_bf", "sum"), glr=("glr", "sum"), chi2=("chi2", "mean"), chi2_pair=("chi2_pair", "mean"),
    )  # fmt: skip
    fitted = scored[np.isfinite(scored["sep"])]
    pairs = {star: _mean_pair(part) for star, part in fitted.groupby("star_id", sort=True)}
    columns = ["n_fitted", "sep", "sep_err", "sky_angle", "sky_angle_err", "flux_ratio", "flux_ratio_err", "agreement"]
    found = pd.DataFrame.from_dict(pairs, orient="index", columns=columns)
    table = table.join(found)
    table["n_fitted"] = table["n_fitted"].fillna(0).astype(np.int64)
    return table.reset_index(names="star_id")


def _mean_pair(part: pd.DataFrame) -> list[float]:
    """What the fits of one pair in several exposures say together."""
    offset = part[["east", "north"]].to_numpy()
    covariance = np.empty((len(part), 2, 2))
    covariance[:, 0, 0], covariance[:, 1, 1] = part["var_east"], part["var_north"]
    covariance[:, 0, 1] = covariance[:, 1, 0] = part["cov_east_north"]
    covariance += np.eye(2) * 1e-10  # a posterior one cell wide is no certainty
    mean, error, misfit = mean_offset(offset, covariance, part["opposite"].to_numpy())
    degrees = 2 * (len(part) - 1)
    agreement = float(chi2.sf(misfit, degrees)) if degrees else np.nan
    sep = float(np.hypot(*mean))
    along = mean / sep if sep > 0 else np.array([0.0, 1.0])
    across = np.array([along[1], -along[0]])
    sep_error, lateral = (float(np.sqrt(way @ error @ way)) for way in (along, across))
    low, high = (part[f"flux_ratio_{side}"].to_numpy() for side in ("low", "high"))
    weight = 1.0 / np.maximum(0.5 * (high - low), 1e-3) ** 2
    ratio = float((weight * part["flux_ratio"]).sum() / weight.sum())
    angle = float(np.degrees(np.arctan2(mean[0], mean[1])) % 360.0)
    angle_error = float(np.degrees(min(lateral / sep, np.pi / 2))) if sep > 0 else 90.0
    return [len(part), sep, sep_error, angle, angle_error, ratio, float(weight.sum() ** -0.5), agreement]


def mean_offset(
    offset: np.ndarray, covariance: np.ndarray, opposite: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Weighted mean (2,) of offsets (E, 2), its covariance (2, 2), and χ² of the offsets around it (2E − 2 free).

    `opposite` (E,): probability that the offset points from the fainter to the brighter star; where it, or that
    of the best measured offset, exceeds `AMBIGUOUS`, the offset may be turned round.
    """
    weight = np.linalg.inv(covariance)
    best = int(np.argmax(np.linalg.det(weight)))
    may_turn = (opposite > AMBIGUOUS) | (opposite[best] > AMBIGUOUS)
    turned = may_turn & (offset @ weight[best] @ offset[best] < 0)
    offset = np.where(turned[:, None], -offset, offset)
    error = np.linalg.inv(weight.sum(axis=0))
    mean = error @ np.einsum("eij,ej->i", weight, offset)
    rest = offset - mean
    return mean, error, float(np.einsum("ei,eij,ej->", rest, weight, rest))


def is_candidate(
    table: pd.DataFrame,
    *,
    n_min: int,
    p_min: float,
    log_bf_min: float,
    agreement_min: float,
    chi2_max: float,
    sep_max: float,
) -> np.ndarray:
    """Which stars (S,) of `combine` are candidates; without networks (p is NaN) the likelihood alone decides.

    `chi2_max`: per degree of freedom of the pair that was fitted. Beyond it is something else, such as a cosmic ray.
    `sep_max` [arcsec]: a second star found at the end of the range lies beyond it.
    """
    p = table["p"].to_numpy(float)
    agreement = table["agreement"].to_numpy(float)
    return (
        (table["chi2_pair"].to_numpy() < chi2_max)
        & (table["sep"].to_numpy() < sep_max)
        & (table["n_scored"].to_numpy() >= n_min)
        & (np.isnan(p) | (p > p_min))
        & (table["log_bf"].to_numpy() > log_bf_min)
        & (agreement >= agreement_min if n_min > 1 else ~(agreement < agreement_min))
    )
