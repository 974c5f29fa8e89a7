"""Scores stamps by networks."""

import logging
import os
from collections.abc import Sequence

import numpy as np

from dioscuri.learn.images.inference import Classifier
from dioscuri.psf.effective import Psf
from dioscuri.stamps.epochs import Observer
from dioscuri.stamps.mocks import Noise, Renderer, read_stamps

_BATCH = 8192  # stamps whose channels are in memory at a time

log = logging.getLogger(__name__)


def network_of(
    stamps_path: str | os.PathLike,
    models: Sequence[str | os.PathLike],
    assumed_psf: str | os.PathLike,
    *,
    tta: bool = True,
) -> dict[str, np.ndarray]:
    """Labels of the stamps (S,), and `p`, the mean probability of two stars that the networks give each."""
    classifier = Classifier.load(list(models))
    noise = Noise(**classifier.context["noise"])
    observer = Observer(classifier.rendering, noise.variance, Renderer(Psf.load(assumed_psf)))
    stamps, labels = read_stamps(stamps_path)
    p = np.concatenate(
        [
            classifier.probability(observer.channels(stamps[first : first + _BATCH]), tta)
            for first in range(0, len(stamps), _BATCH)
        ]
    )
    log.info("%s: %d stamps scored", stamps_path, len(p))
    return dict(labels, p=p)
