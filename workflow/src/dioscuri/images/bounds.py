"""Scores stamps by the optimum: the likelihood of two stars against one, with the PSF known or assumed."""

import logging
import os

import numpy as np

from dioscuri.images.optimum import log_bayes_factor
from dioscuri.images.psf import Psf
from dioscuri.images.stamps import Law, Noise, Renderer, read_stamps

log = logging.getLogger(__name__)


def optimum_of(
    stamps_path: str | os.PathLike,
    psf: str | os.PathLike,
    assumed_psf: str | os.PathLike,
    *,
    law: Law,
    noise: Noise,
) -> dict[str, np.ndarray]:
    """Labels of the stamps (S,), and the logarithms of the likelihood ratio of two stars against one.

    log_bf: marginal, the optimum; glr: maximal, the classical test: both with the PSFs that the stamps were made
    with. Where those are others than the one that an observer assumes, log_bf_assumed is the marginal one there.
    """
    stamps, labels = read_stamps(stamps_path)
    truth, assumed = Renderer(Psf.load(psf)), Renderer(Psf.load(assumed_psf))
    log_bf, glr = log_bayes_factor(stamps, noise.variance, truth, law, member=labels["member"])
    columns = {"log_bf": log_bf, "glr": glr}
    if os.path.realpath(psf) != os.path.realpath(assumed_psf):
        columns["log_bf_assumed"] = log_bayes_factor(stamps, noise.variance, assumed, law)[0]
    log.info("%s: %d stamps, optimum %.4f", stamps_path, len(stamps), np.mean((log_bf > 0) == labels["is_binary"]))
    return labels | columns
