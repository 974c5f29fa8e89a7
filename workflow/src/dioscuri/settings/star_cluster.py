"""Settings of the cluster line (Wu et al. 2023, §4): frames, photometry, candidates, injection and statistics."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from dioscuri.settings.base import Count, Fraction, Positive, PositiveFloat, Settings

FilterName = Annotated[str, Field(pattern=r"^F\d{3,4}[A-Z]{1,2}$")]
Corners = list[tuple[float, float]]


class Band(Settings):
    exposure_time: PositiveFloat = Field(description="s")
    exposures: Positive = Field(description="dithered exposures")
    background: float = Field(ge=0, description="e/px, sky")


class FieldStars(Settings):
    """The stars of the simulated field."""

    n_stars: Positive = Field(description="systems, pairs counted once")
    core_radius: PositiveFloat = Field(description="arcsec, of the King density")
    mass_min: Annotated[float, Field(ge=0.1, le=0.7)] = Field(0.25, description="Msun, faintest stars")
    wide_fraction: Fraction = Field(description="pairs between sep_min and sep_max")
    wide_fraction_core: Fraction | None = Field(None, description="inside the core radius; null: as outside")
    tight_fraction: Fraction = Field(0.1, description="pairs too close to be seen")
    separation: Literal["uniform", "log_uniform"] = Field("uniform", description="law of the wide pairs")
    sep_min: PositiveFloat = Field(0.003962, description="arcsec, on the sky")
    sep_max: PositiveFloat = Field(0.07924, description="arcsec")
    mass_ratio_min: Fraction = Field(0.3, description="mass ratios are uniform between this and 1")


class FieldPsf(Settings):
    """How the PSF of the simulated field changes from place to place and from exposure to exposure."""

    jitter_variation: Fraction = Field(0.02, description="share")
    wfe: float = Field(15.0, ge=0, description="nm rms, random wavefronts beside the nominal one")
    wfe_variation: float = Field(6.0, ge=0, description="nm rms")
    wavefront_change: Fraction = Field(0.3, description="of the way to another wavefront, across the field")
    grid: Positive = Field(3, description="PSFs along each side of a chip")
    size: Positive = Field(41, description="px, odd")
    files: dict[FilterName, str] = Field(
        default_factory=dict, description="STDPSF grids by filter that paint the field; focus breathes by wfe_variation"
    )


class SimulatedField(Settings):
    """What is simulated where there are no frames."""

    shape: tuple[Positive, Positive] = Field(description="px, height and width of a chip")
    chips: Literal[1, 2] = Field(1, description="chips of an exposure")
    bands: dict[FilterName, Band] = Field(description="exposures by filter")
    dither: float = Field(12.0, ge=0, description="px, greatest shift")
    cluster: FieldStars
    psf: FieldPsf = Field(default_factory=FieldPsf)


class FramePsf(Settings):
    """The PSF of an exposure, chip by chip."""

    mode: Literal["fit", "literal", "file", "stdpsf"] = Field(
        "fit", description="fit: least squares; literal: EPSFBuilder as published; file: a FITS image; stdpsf: a grid"
    )
    files: dict[FilterName, str] = Field(default_factory=dict, description="modes file and stdpsf: FITS file by filter")
    oversampling: Positive = Field(4, description="mode file: samples per pixel")
    pixel_integrated: bool = Field(False, description="mode file: whether the pixel is in it already")
    n_stars: Positive = Field(100, description="stars per chip that the fit uses")
    grid: Positive = Field(1, description="mode fit: PSFs along each side of a chip; each needs some 40 stars")
    degree: Count = Field(5, description="mode fit, grid 1: degree of the polynomials by which it changes over a chip")
    draws: Count = Field(4, description="mode fit: bootstrap samples of the stars, for the error of the PSF")


class Photometry(Settings):
    method: Literal["joint", "photutils"] = Field("joint", description="joint: ours; photutils: as published")
    passes: Positive = Field(2, description="joint: searches, each in what the last one left")
    threshold: PositiveFloat = Field(5.0, description="σ of the sky that a star stands out by")
    background_box: Count = Field(64, description="px; 0: one MMM background for the frame")


class Regions(Settings):
    """Where the main and the binary sequence are in the colour–magnitude diagram."""

    kind: Literal["ridge", "polygons"] = Field("ridge", description="ridge: around a fitted line; polygons: as drawn")
    blue: FilterName = "F467M"
    red: FilterName = "F775W"
    mag_min: float = Field(-11.0, description="brightest, instrumental (−2.5 log10 electrons) in the red filter")
    mag_max: float = Field(-9.0, description="faintest")
    flux_ratio_min: Fraction = Field(0.3, description="ridge: the binary sequence begins at pairs with this flux ratio")
    ms: Corners | None = Field(None, description="polygons: corners (colour, magnitude)")
    binary: Corners | None = Field(None, description="polygons: corners (colour, magnitude)")

    @model_validator(mode="after")
    def _polygons_are_there(self) -> "Regions":
        if self.kind == "polygons" and not (self.ms and self.binary):
            raise ValueError("regions of kind 'polygons' need the corners of both, ms and binary")
        return self


class Candidates(Settings):
    """What makes a star a candidate."""

    filter: FilterName = Field("F775W", description="the filter whose exposures are searched")
    n_min: Positive = Field(2, description="exposures that a star must be scored in")
    p_min: Fraction = Field(0.5, description="mean probability of the network")
    log_bf_min: float = Field(4.0, description="ln of the Bayes factor of a pair, summed over the exposures")
    agreement_min: Fraction = Field(0.01, description="chance of separation vectors that differ as much")
    chi2_max: PositiveFloat = Field(3.0, description="χ² of the fitted pair per degree of freedom")
    sep_max: PositiveFloat = Field(1.9, description="px; a second star fitted beyond lies outside the range")
    fit_above: float = Field(-2.0, description="ln of the Bayes factor in an exposure from which a pair is fitted")


class Injection(Settings):
    n: Positive = Field(description="artificial stars, in each exposure the same")
    binary_share: Fraction = Field(0.6, description="of them pairs")
    spacing: PositiveFloat = Field(20.0, description="px, least distance between two of them")
    psf_error: bool = Field(True, description="give each star a PSF within the error of the fitted one")


class Cluster(Settings):
    """A star cluster in dithered frames of two filters."""

    frames: dict[FilterName, list[str]] = Field(
        default_factory=dict, description="filter → 'flt' files of one field; empty: a simulated field"
    )
    pixel_area_maps: dict[Literal[1, 2], str] = Field(default_factory=dict, description="chip → FITS file")
    field: SimulatedField
    centre: tuple[float, float] = Field((245.89675, -26.52575), description="deg, RA and Dec of the cluster's centre")
    distance: PositiveFloat = Field(1.72, description="kpc")
    core_radius: PositiveFloat = Field(description="arcsec, of the core/outside comparison")
    psf: FramePsf = Field(default_factory=FramePsf)
    photometry: Photometry = Field(default_factory=Photometry)
    regions: Regions = Field(default_factory=Regions)
    candidates: Candidates = Field(default_factory=Candidates)
    injection: Injection

    @model_validator(mode="after")
    def _filters_are_there(self) -> "Cluster":
        there = list(self.frames or self.field.bands)
        wanted = {
            "regions.blue": self.regions.blue,
            "regions.red": self.regions.red,
            "candidates.filter": self.candidates.filter,
        }
        mistakes = [f"{key} is {name}" for key, name in wanted.items() if name not in there]
        if self.frames and self.psf.mode in ("file", "stdpsf"):
            mistakes += [f"psf.files has no {name}" for name in there if name not in self.psf.files]
        if mistakes:
            raise ValueError(f"{'; '.join(mistakes)}; there are frames in {', '.join(there)}")
        names = [name for name, _ in self._listed()]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"frames: {', '.join(twice)} given twice; file names must differ before the first '_'")
        return self

    def _listed(self) -> list[tuple[str, str]]:
        """Exposure and filter, in the order of the settings."""
        if not self.frames:
            return [
                (f"sim{name.lower()}{number}q", name)
                for name, band in self.field.bands.items()
                for number in range(1, band.exposures + 1)
            ]
        return [
            (Path(file).name.split("_")[0].split(".")[0], name) for name in self.frames for file in self.frames[name]
        ]

    def exposures(self) -> dict[str, str]:
        """Exposure → filter; an exposure is named as its file is, up to the first '_'."""
        return dict(self._listed())

    def files(self) -> dict[str, str]:
        """Exposure → the user's file; empty for a simulated field."""
        files = [file for listed in self.frames.values() for file in listed]
        return dict(zip(self.exposures(), files)) if files else {}
