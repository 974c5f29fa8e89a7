"""Scores stamps by the optimum: the likelihood of two stars against one, with the PSF known, assumed or unknown."""

import logging
import os

import numpy as np

from dioscuri.psf.effective import Psf
from dioscuri.stamps.mocks import Law, Noise, Renderer, read_stamps
from dioscuri.stamps.optimum import log_bayes_factor
from dioscuri.stamps.shapes import shape_statistics
from dioscuri.stamps.unknown_psf import log_bayes_factor_unknown, unknown_of

log = logging.getLogger(__name__)


def optimum_of(
    stamps_path: str | os.PathLike,
    psf: str | os.PathLike,
    assumed_psf: str | os.PathLike,
    *,
    law: Law,
    noise: Noise,
    bank: str | os.PathLike | None = None,
    n_unknown: int = 0,
    shapes: bool = False,
) -> dict[str, np.ndarray]:
    """Labels of the stamps (S,), and the logarithms of the likelihood ratio of two stars against one.

    log_bf: marginal, the optimum; glr: maximal, the classical test: both with the PSFs that the stamps were made
    with. Where those are others than the one that an observer assumes, log_bf_assumed is the marginal one there.
    With a `bank` log_bf_unknown is that of an observer who knows no more than that the PSF is like its members: of
    the first `n_unknown` stamps, NaN of the others, because it takes ten times as long. `shapes` adds what
    photometry programs say of them (`shapes.NAMES`), with the assumed PSF.
    """
    stamps, labels = read_stamps(stamps_path)
    truth, assumed = Renderer(Psf.load(psf)), Renderer(Psf.load(assumed_psf))
    log_bf, glr = log_bayes_factor(stamps, noise.variance, truth, law, member=labels["member"])
    columns = {"log_bf": log_bf, "glr": glr}
    if os.path.realpath(psf) != os.path.realpath(assumed_psf):
        columns["log_bf_assumed"] = log_bayes_factor(stamps, noise.variance, assumed, law)[0]
    if bank and n_unknown:
        psf_unknown, explained = unknown_of(Psf.load(bank))
        log.info("PSF unknown: %d components hold %.4f of its variance", psf_unknown.n_modes, explained)
        columns["log_bf_unknown"] = np.full(len(stamps), np.nan)
        few = slice(0, n_unknown)
        columns["log_bf_unknown"][few] = log_bayes_factor_unknown(stamps[few], noise.variance, psf_unknown, law)
    if shapes:
        columns |= shape_statistics(stamps, noise.variance, assumed)
    log.info("%s: %d stamps, optimum %.4f", stamps_path, len(stamps), np.mean((log_bf > 0) == labels["is_binary"]))
    return labels | columns
