"""Quality flags (documented bits) and the reasons for which an exposure is refused: defined once, here."""

from enum import IntFlag, StrEnum


class Quality(IntFlag):
    """Bits of the `flags_B` / `flags_R` columns; 0 means nothing to report."""

    LOW_SNR = 1  # S/N ≤ the survey's limit: the arm is masked, not scored (specflag False)
    MISSING_ARM = 2  # the file has no exposure of this arm
    WEAK_CCF = 4  # low CCF maximum: hot, emission-line or empty spectrum; the velocity is a guess
    TEFF_EDGE = 8  # best template is the coolest or the hottest: the star may lie beyond the library
    MANY_BAD_PIXELS = 16  # npixbad above the catalogue's limit
    COADD = 32  # co-added spectrum, not a single exposure
    SHORT_COVERAGE = 64  # the rest-frame grid is not fully covered; the ends are extrapolated as continuum
    VELOCITY_EDGE = 128  # the CCF peak lies at the edge of the velocity range
    THIRD_PEAK = 256  # a third star serves beside the two of the fit: a triple, or unlike the templates
    FIT_FRAME = 512  # p comes from the frame of the blue (else red) pair fit's primary, not of the best single star
    BAD_GRID = 1024  # wavelengths not on the instrument's grid: the arm is masked
    BAD_ERRORS = 2048  # errors contradict the scatter of the flux or the header's S/N: the arm is masked
    COPIED_PIXELS = 4096  # constant or copied pixels: the arm is masked
    CONTRADICTION = 8192  # header, file name or exposures contradict each other: identity or position may be wrong
    INCOMPLETE_FILE = 16384  # other exposures of the file are missing or damaged
    UNSURE_DATE = 32768  # bjdmid is good to a second or two (leap seconds not yet known), or contradicts the header
    UNLIKE_TEMPLATES = 65536  # the best fit leaves more than 99 % of mocks do at this S/N: not of the library's kind

    @classmethod
    def describe(cls, value: int) -> str:
        """The names of the bits set, joined by commas: `Quality.describe(5)` → 'low_snr,weak_ccf'."""
        return ",".join(name.lower() for name, bit in cls.__members__.items() if value & bit)


class LrsQuality(IntFlag):
    """Bits of the `flags` column of a low-resolution spectrum; 0 means nothing to report."""

    OUT_OF_RANGE = 1  # Teff, log g or [Fe/H] (fit or catalogue) beyond what was trained: never counted as a binary
    UNLIKE_ANY_MODEL = 2  # χ² of the better of single and composite beyond the calibrated 99 %
    FAST = 4  # |rv| > 500 km/s
    VELOCITY_EDGE = 8  # the velocity lies at the edge of the range searched
    VELOCITY_DISAGREES = 16  # the catalogue's velocity differs by more than 25 km/s
    UNCALIBRATED = 32  # no calibration on real stars for this data release
    CALIBRATION_RANGE = 64  # Teff or [Fe/H] beyond the stars of the calibration
    IN_TRAINING = 128  # the star took part in the training
    DISTANCE = 256  # a dwarf at this distance would be too faint for its S/N: M_G and G cannot both be true
    CONTRADICTION = 512  # header and file name contradict each other: identity or position may be wrong
    MANY_BAD_PIXELS = 1024  # a tenth of the pixels or more are bad: numbers rest on the others
    WEAK_CCF = 2048  # no velocity template fits well: no FGK star, or a damaged spectrum

    @classmethod
    def describe(cls, value: int) -> str:
        """The names of the bits set, joined by commas: `LrsQuality.describe(33)` → 'out_of_range,uncalibrated'."""
        return ",".join(name.lower() for name, bit in cls.__members__.items() if value & bit)


class SourceFlag(IntFlag):
    """Bits of the `flags` column of a star measured on an image; 0 means nothing to report."""

    SATURATED = 1  # saturated pixels: position and flux rest on the wings
    BAD_PIXELS = 2  # some pixels of the fit are flagged and were left out
    EDGE = 4  # the fit reaches over the edge of the frame
    BLENDED = 8  # fitted together with other stars
    LATE = 16  # found only after the brighter stars had been subtracted
    WANDERED = 32  # the fit moved as far from the detection as it may: no reliable position
    NO_FLUX = 64  # no positive flux
    GLARE = 128  # in the wings of a saturated star, which have a good part of its own light: shape not to be trusted

    @classmethod
    def describe(cls, value: int) -> str:
        """The names of the bits set, joined by commas: `SourceFlag.describe(9)` → 'saturated,blended'."""
        return ",".join(name.lower() for name, bit in cls.__members__.items() if value & bit)


class Refusal(StrEnum):
    """Why an exposure (or a whole file) was refused; the value is what users read."""

    UNREADABLE = "unreadable file"
    TRUNCATED = "truncated or corrupt file"
    NOT_FITS = "not a FITS file"
    FOREIGN = "FITS of another instrument or survey"
    NO_EXPOSURE = "no exposure in file"
    EMPTY = "empty exposure (no flux)"
    NOT_FINITE = "too few finite pixels"
    LOW_SNR = "S/N at or below the limit in every arm"
    NO_COVERAGE = "wavelength grid not covered"
    NOT_STELLAR = "not classified as a star"
    DUPLICATE = "the same exposure in another file"
    LOW_SNRG = "S/N in the g band at or below the limit, or missing"
    FEW_GOOD = "fewer than half of the pixels are good"
    TOO_LARGE = "file too large"
    BAD_GRID = "wavelengths not on the instrument's grid"
    BAD_ERRORS = "errors contradict the flux or the header's S/N"
    COPIED_PIXELS = "constant or copied pixels"
    CONTRADICTION = "header and content contradict each other"
    INCOMPLETE = "announced exposures are missing"


# Why an arm with one of these bits is masked.
MASKED_FOR = {
    Quality.LOW_SNR: Refusal.LOW_SNR,
    Quality.BAD_GRID: Refusal.BAD_GRID,
    Quality.BAD_ERRORS: Refusal.BAD_ERRORS,
    Quality.COPIED_PIXELS: Refusal.COPIED_PIXELS,
    Quality.CONTRADICTION: Refusal.CONTRADICTION,
    Quality.SHORT_COVERAGE: Refusal.NO_COVERAGE,
}


def why_masked(flags: int) -> str:
    """Why an arm that was not scored was not, in words, from its `flags`."""
    return next((reason.value for bit, reason in MASKED_FOR.items() if flags & bit), Refusal.NOT_FINITE.value)
