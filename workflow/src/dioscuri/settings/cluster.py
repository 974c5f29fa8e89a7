"""Settings of the HST line in a star cluster (Wu et al. 2023, §4): frames, photometry, CMD, candidates, statistics."""

from typing import Literal

from pydantic import Field, model_validator

from dioscuri.settings.base import Count, Fraction, Positive, PositiveFloat, Settings
from dioscuri.settings.images import Images

Corner = tuple[float, float]


class Cluster(Settings):
    """The cluster, observed or simulated."""

    ra: float = Field(ge=0, lt=360, description="deg, of the centre")
    dec: float = Field(ge=-90, le=90, description="deg")
    distance: PositiveFloat = Field(description="kpc")
    core_radius: PositiveFloat = Field(description="arcsec")


class Band(Settings):
    """Simulated exposures in one filter."""

    exposure_time: PositiveFloat = Field(description="s")
    exposures: Positive = Field(description="dithered exposures")
    background: float = Field(ge=0, description="e/px, the sky in an exposure")


class Stars(Settings):
    """Stars of the simulated cluster."""

    n_stars: Positive = Field(description="systems in the field")
    wide_fraction: Fraction = Field(description="share of systems that are unresolved wide pairs")
    wide_fraction_core: Fraction | None = Field(None, description="that share within the core radius; null: the same")
    tight_fraction: Fraction = Field(0.1, description="share of systems whose pair is closer than any stamp can tell")
    separation: Literal["uniform", "log_uniform"] = Field("uniform", description="law of the wide separations")
    mass_ratio_min: Fraction = Field(0.3, description="mass ratios are uniform between this and 1")


class SimulatedField(Settings):
    """The field that stands in where no frames are given."""

    shape: tuple[Positive, Positive] = Field(description="rows and columns of a chip")
    chips: Literal[1, 2] = Field(1, description="chips, one above the other")
    bands: dict[str, Band] = Field(description="exposures by filter: F467M, F775W")
    stars: Stars
    dither: float = Field(12.0, ge=0, description="px, greatest shift of an exposure")
    roll: float = Field(0.1, ge=0, description="deg, greatest turn of an exposure")
    pointing_error: float = Field(0.02, ge=0, description="arcsec rms on either axis, what the WCS is off by")


class Photometry(Settings):
    method: Literal["joint", "photutils"] = Field("joint", description="joint: ours; photutils: the published way")
    epsf: Literal["fitted", "literal", "start"] = Field(
        "fitted", description="fitted: least squares; literal: EPSFBuilder as published; start: hst.psf as it is"
    )
    n_psf_stars: Positive = Field(60, description="isolated stars for the ePSF (the paper's: 25)")
    threshold: PositiveFloat = Field(5.0, description="σ of the sky, of a detection")
    snr_min: PositiveFloat = Field(4.0, description="fainter stars are dropped")
    passes: Positive = Field(2, description="joint: rounds of detection and fit")


class Cmd(Settings):
    """Regions of the instrumental colour–magnitude diagram (Fig. 8)."""

    blue: str = Field("F467M", description="filter")
    red: str = Field("F775W", description="filter, also that of the stamps")
    kind: Literal["ridge", "polygons"] = Field("ridge", description="ridge: along the main sequence; polygons: drawn")
    mag_min: float = Field(-11.0, description="ridge: mag, instrumental, bright end")
    mag_max: float = Field(-9.0, description="ridge: mag, instrumental, faint end")
    flux_ratio_min: Fraction = Field(0.3, description="ridge: pairs of this ratio divide the two sequences")
    ms_sigma: PositiveFloat = Field(3.0, description="ridge: widths of the main sequence")
    binary_sigma: PositiveFloat = Field(3.0, description="ridge: widths between the ridge and the binary sequence")
    ms: list[Corner] = Field(default_factory=list, description="polygons: corners (colour, mag) of the main sequence")
    binary: list[Corner] = Field(default_factory=list, description="polygons: of the binary sequence")
    tolerance: PositiveFloat = Field(1.0, description="px, detections closer than this are one star")
    search: PositiveFloat = Field(1.0, description="arcsec that the WCS of an exposure may be off by")

    @model_validator(mode="after")
    def _polygons_have_corners(self) -> "Cmd":
        if self.kind == "polygons" and min(len(self.ms), len(self.binary)) < 3:
            raise ValueError("kind 'polygons' needs ms and binary, each with three or more corners (colour, mag)")
        if self.mag_min >= self.mag_max:
            raise ValueError(f"mag_min {self.mag_min:g} must lie below mag_max {self.mag_max:g}")
        return self


class Candidates(Settings):
    probability: Fraction = Field(0.5, description="a source above this in the median of its exposures is a candidate")
    exposures_min: Positive = Field(2, description="exposures that must agree in separation and position angle")


class Injection(Settings):
    """Artificial stars in the user's own frame: completeness and false positives."""

    n_single: Count = Field(description="single stars")
    n_pairs: Count = Field(description="pairs of the headline case's law")


class Hst(Images):
    """HST: the models of `Images`, applied to frames of a cluster."""

    frames: list[str] = Field(
        default_factory=list, description="'flt' files, globs or folders in two filters; empty: a simulated field"
    )
    cluster: Cluster
    field: SimulatedField
    photometry: Photometry
    cmd: Cmd
    candidates: Candidates
    injection: Injection

    @model_validator(mode="after")
    def _filters_are_there(self) -> "Hst":
        missing = sorted({self.cmd.blue, self.cmd.red} - set(self.field.bands))
        if not self.frames and missing:
            raise ValueError(f"cmd: filters {', '.join(missing)} are not among field.bands: {', '.join(self.field.bands)}")
        return self
