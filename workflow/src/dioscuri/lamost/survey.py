"""What the ingest must know of a survey: how its files are read, reduced and named in columns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dioscuri.lamost.files import ObservedFile
from dioscuri.lamost.reduction import spikes
from dioscuri.spectra.continuum import fit_continuum


@dataclass(frozen=True)
class Survey:
    """One survey of LAMOST, to the functions of `ingest` and `reduction`.

    `read` makes an ObservedFile of a path, or raises RefusedFile; its exposures name the arms of config/surveys.yaml.
    `columns` name → dtype ("O" is text) of the facts of a file that its rows carry: attributes of what `read` gives
    (a subclass of ObservedFile may have more). `suffixes` arm → what the names of its columns end in.
    `spikes` (flux, sigma), each (P,) → (P,) bool: cosmic rays on the native pixels.
    `continuum` (wave (L,), flux (S, L)) → (S, L): what rest-frame spectra are divided by; NaN where flux is missing.
    """

    read: Callable[[str | Path], ObservedFile]
    columns: Mapping[str, Any]
    suffixes: Mapping[str, str]
    spikes: Callable[[np.ndarray, np.ndarray], np.ndarray] = spikes
    continuum: Callable[[np.ndarray, np.ndarray], np.ndarray] = fit_continuum
