"""Calibrates networks on stamps that no training has seen, and says on others how reliable the result is."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dioscuri.learn import platt
from dioscuri.learn.images.inference import Classifier
from dioscuri.psf.effective import Psf
from dioscuri.stamps.epochs import FreshStamps, Observer
from dioscuri.stamps.mocks import Law, Noise, Renderer

log = logging.getLogger(__name__)


def calibrate(
    out: str | os.PathLike,
    models: Sequence[str | os.PathLike],
    bank: str | os.PathLike,
    assumed: str | os.PathLike,
    *,
    law: Mapping[str, Any],
    noise: Mapping[str, float],
    n: int,
    seed: int,
    tta: bool = True,
) -> None:
    """Fit the calibration of an ensemble to `n` fresh stamps, test it on `n` others, and write it (see learn.platt).

    `bank`: PSFs that the stamps are made with, as in the training; `assumed`: the PSF that an observer reckons with.
    """
    classifier, known = Classifier.load(list(models)), Noise(**noise)
    psfs = Psf.load(bank)
    observer = Observer.of(classifier.rendering, known.variance, Psf.load(assumed), psfs)
    stamps = FreshStamps(n, Law(**law), Renderer(psfs), known, observer, seed)
    answers = []
    for epoch in range(2):  # one to fit, one to test
        channels, truth = stamps(epoch)
        answers.append((classifier.probability(channels, tta), np.asarray(truth)))
    (p, y), (p_test, y_test) = answers
    calibration = platt.fit(p, y)
    report = {"before": platt.table(p_test, y_test), "after": platt.table(calibration(p_test), y_test)}
    platt.write(out, calibration, models, report)
    before, after = report["before"], report["after"]
    log.info(
        "%s: expected error %.4f before, %.4f after; chi2 of %d bins %.1f", out, before["expected_error"],
        after["expected_error"], after["bins"], after["chi2"],
    )  # fmt: skip
