"""One spectrum of one arm, as a file of LAMOST MRS has it, and why it may not serve."""

from dataclasses import dataclass, field

import numpy as np

from dioscuri.flags import Quality, Refusal

COADD = -1  # the `lmjm` of a co-added spectrum
NO_FLAGS = Quality(0)


@dataclass(frozen=True)
class Fault:
    """Why the pixels of an exposure cannot serve: `reason` and `detail` for users, `flag` for its row."""

    reason: Refusal
    flag: Quality
    detail: str


@dataclass(frozen=True)
class Exposure:
    """One spectrum of one arm; pixels P, ascending in wavelength.

    `name` of the HDU; `arm` 'blue' or 'red'; `lmjm` local modified Julian minute of the start (−1: co-add);
    `mjd_mid` UTC MJD of mid-exposure (a co-add: mean of its exposures); `exptime` [s]; `snr` from the header,
    or the median of flux·√ivar where the header has none; `wave` (P,) [Å, vacuum, heliocentric]; `flux` (P,)
    [counts]; `ivar` (P,); `mask` (P,) True where the pipeline marks the pixel.
    """

    name: str
    arm: str
    lmjm: int
    mjd_mid: float
    exptime: float
    snr: float
    wave: np.ndarray = field(repr=False)
    flux: np.ndarray = field(repr=False)
    ivar: np.ndarray = field(repr=False)
    mask: np.ndarray = field(repr=False)
    flags: Quality = NO_FLAGS
    fault: Fault | None = None

    @property
    def is_coadd(self) -> bool:
        """Whether this is the co-added spectrum of its arm."""
        return self.lmjm == COADD
