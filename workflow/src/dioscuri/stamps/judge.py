"""One star or two in each stamp: networks, likelihood, the pair that fits best, and what the better of them leaves."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dioscuri.stamps.channels import make_channels
from dioscuri.stamps.companions import fit_pair
from dioscuri.stamps.mocks import Law, Renderer
from dioscuri.stamps.optimum import SingleFit, fit_single, log_bayes_factor
from dioscuri.stamps.quality import Quality, assess
from dioscuri.stamps.unknown_psf import UnknownPsf, log_bayes_factor_unknown

if TYPE_CHECKING:
    from dioscuri.learn.images.inference import Classifier

PARAMETERS = 3  # of a single star: flux and place
FITTED = (
    "sep", "sep_low", "sep_high", "flux_ratio", "flux_ratio_low", "flux_ratio_high", "position_angle",
    "position_angle_err", "opposite", "delta_chi2",
)  # fmt: skip
PAIR_OF_STAMP = (*FITTED, "chi2_pair")
# Column → field of `stamps.quality.Quality`.
QUALITY = {f"{name}_best" if name.startswith("chi2") else name: name for name in Quality.__dataclass_fields__}
# p, and χ² of one star [σ], above which the likelihood is asked where the networks may settle it alone.
UNSETTLED, MISFIT = 0.5, 2.5
LOOK = -2.0  # ln of the Bayes factor with the PSF known, above which an error of the PSF can change the verdict


@dataclass(frozen=True)
class Search:
    """How stamps are judged: the networks (None: the likelihood alone), the law of pairs, and when one is fitted.

    `fit_above`: ln of the Bayes factor in an exposure from which separation and angle are measured. With `needed` the
    likelihood is computed only where it can change the verdict: where networks say pair, or one star fits badly.
    `exact`: the PSF is the true one, of a simulation: it is neither set right on the stars nor taken for uncertain.
    """

    law: Law
    classifier: "Classifier | None" = None
    fit_above: float = -2.0
    tta: bool = True
    needed: bool = False
    exact: bool = False


def judge(
    stamps: np.ndarray,
    variance: np.ndarray,
    renderer: Renderer,
    search: Search,
    unknown: UnknownPsf | None = None,
    member: int | np.ndarray = 0,
) -> dict[str, np.ndarray]:
    """Scores of `stamps` (B, SIZE, SIZE) [e-] whose background has `variance` [e²], of the same shape; name → (B,).

    chi2 of the best single star per degree of freedom; p, with networks; log_bf and glr (natural logarithms), NaN where
    they are not needed, log_bf marginalised over what is `unknown` of the PSF where that can change the verdict;
    `PAIR_OF_STAMP`, NaN where log_bf is not above `fit_above`; and `QUALITY` of the better of
    one star and two. `member`: of the PSF, a number or (B,).
    """
    member = renderer.members(member, len(stamps))
    single = fit_single(stamps, variance, renderer, member)
    nothing = np.full(len(stamps), np.nan)
    found = {"chi2": reduced(single, variance), "log_bf": nothing.copy(), "glr": nothing.copy()}
    wanted = np.ones(len(stamps), bool)
    if search.classifier is not None:
        channels = make_channels(
            stamps, search.classifier.rendering, variance=variance, renderer=renderer, member=member
        )
        found["p"] = search.classifier.probability(channels, search.tta)
        if search.needed:
            err = np.sqrt(2.0 / np.isfinite(variance).sum((1, 2)))
            wanted = (found["p"] > UNSETTLED) | (found["chi2"] > 1 + MISFIT * err)
    if wanted.any():
        found["log_bf"][wanted], found["glr"][wanted] = log_bayes_factor(
            stamps[wanted], variance[wanted], renderer, search.law, member=member[wanted]
        )
    doubtful = found["log_bf"] > LOOK
    if unknown is not None and unknown.n_modes and doubtful.any():
        found["log_bf"][doubtful] = log_bayes_factor_unknown(
            stamps[doubtful], variance[doubtful], unknown, search.law, member[doubtful]
        )
    residual, stars = single.residual, np.ones(len(stamps), int)
    likely = found["log_bf"] > search.fit_above
    if likely.any():
        law = Law(flux_ratio="uniform", sep_min=search.law.sep_min, sep_max=search.law.sep_max)
        pair = fit_pair(stamps[likely], variance[likely], renderer, law=law, member=member[likely])
        for name in FITTED:
            found[name] = nothing.copy()
            found[name][likely] = getattr(pair, name)
        found["chi2_pair"] = nothing.copy()
        found["chi2_pair"][likely] = pair.chi2 / (np.isfinite(variance[likely]).sum((1, 2)) - 2 * PARAMETERS)
        better = found["log_bf"][likely] > 0
        residual[np.flatnonzero(likely)[better]] = pair.residual[better]
        stars[np.flatnonzero(likely)[better]] = 2
    quality = assess(stamps, residual, variance, stars)
    return found | {column: getattr(quality, name) for column, name in QUALITY.items()}


def reduced(fit: SingleFit, variance: np.ndarray) -> np.ndarray:
    """χ² per degree of freedom of stamps with `variance` (B, SIZE, SIZE)."""
    return fit.chi2 / (np.isfinite(variance).sum((1, 2)) - PARAMETERS)
