"""Settings of the LAMOST LRS line (Jing et al. 2025): library, population, labels, networks, calibration, catalogue."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dioscuri.settings.base import Count, Fraction, Models, Positive, PositiveFloat, Settings
from dioscuri.settings.lamost_mrs import Library


class FieldSettings(Settings):
    """The law of the field's systems (stars.field.FieldLaw)."""

    binary_fraction: Fraction = Field(0.5, description="share of systems with a companion")
    ea_share: Fraction = Field(0.05, description="share of the pairs that are eclipsing and detached, 0.4 to 10 d")
    ew_share: Fraction = Field(0.05, description="share of the pairs that are contact binaries")
    twin_share: Fraction = Field(0.05, description="share of the pairs of q 0.95 to 1 on top of a flat law")
    planet_share: Fraction = Field(0.03, description="share of singles and wide pairs that host known planets")
    visits_mean: float = Field(1.3, ge=1, description="visits per star")
    snrg_median: PositiveFloat = Field(45.0, description="median S/N per pixel in g")


class Disturbed(Settings):
    """What the training sample is seen with, singles and pairs alike (mocks.lrs_mocks.Disturbances)."""

    velocity_error: PositiveFloat = Field(12.0, description="km/s, 1σ of the rest frame")
    resolution_spread: Fraction = Field(0.25, description="LSF: R within ± this share")
    fast_share: Fraction = Field(0.15, description="share of the systems that turn with up to 200 km/s")
    moonlit_share: Fraction = Field(0.25, description="share of the spectra with up to 15 % of moonlight")
    alpha_spread: float = Field(0.08, ge=0, description="dex, 1σ of [α/Fe] beyond the field's")


class Mocks(Settings):
    n_train: Positive = Field(description="systems in the training sample")
    n_test: Positive = Field(description="systems in the test sample")
    velocity_error: PositiveFloat = Field(12.0, description="km/s, 1σ of the rest frame of both samples")
    resolution_spread: Fraction = Field(0.15, description="LSF: R = 1650 within ± this share")
    disturbed: Disturbed = Field(default_factory=lambda: Disturbed(), description="of the training sample alone")
    teff: tuple[PositiveFloat, PositiveFloat] = Field((4250.0, 6000.0), description="K, primaries that are trained")

    def seen(self, training: bool) -> dict[str, float]:
        """The disturbances of the training sample, or of the test sample."""
        if training:
            return self.disturbed.model_dump()
        return self.model_dump(include={"velocity_error", "resolution_spread"})


class CalibrationSource(Settings):
    files: Annotated[list[str], Field(min_length=1)] = Field(description="LRS files, globs or folders of one release")
    catalogue: str = Field(description="table (FITS, CSV, Parquet) with obsid or file, teff, logg, feh")


class SimulatedSurvey(Settings):
    """The simulated survey that stands in where no spectra are given."""

    n_stars: Positive = Field(description="stars of the applied sample")
    n_calibration: Positive = Field(60, description="further stars, singles and pairs, that calibrate")
    variant: Count = Field(1, description="library that its light is made from: not the one of the mocks")
    ripple: Fraction = Field(0.01, description="amplitude of the response ripple")
    distance_max: PositiveFloat = Field(2000.0, description="pc, of the applied sample")


class Hosts(Settings):
    """A table of known planet hosts, found by source_id (Table 2)."""

    path: str | None = Field(None, description="FITS, CSV or Parquet: hostname, source_id; sy_snum where known")
    columns: dict[str, str] = Field(default_factory=dict, description="our name → the table's")


class LrsCatalog(Settings):
    threshold: Fraction = Field(0.5, description="p_b above which a star is listed as a binary")


class LamostLrs(Settings):
    spectra: list[str] = Field(default_factory=list, description="LRS files; empty: a simulated survey stands in")
    catalogue: str | None = Field(None, description="table of the same spectra: columns by `columns`")
    columns: dict[str, str] = Field(
        default_factory=dict, description="our name → the catalogue's: obsid, teff, logg, feh, snrg, g_mag, parallax …"
    )
    calibration: dict[str, CalibrationSource] = Field(
        default_factory=dict, description="release (DATA_V) → real stars that measure what the library lacks"
    )
    hosts: Hosts = Field(default_factory=Hosts, description="known planet hosts, for Table 2")
    models: Models = Field(
        None,
        description="released: score with models/; trained: train first; null: released for spectra of the user's own, "
        "unless they train",
    )
    library: Library
    population: FieldSettings = Field(default_factory=FieldSettings)
    mocks: Mocks
    training: Literal["hrd", "composites", "mocks"] = Field(
        description="hrd: the user's spectra labelled by the HR diagram; composites: pairs made of their single stars; "
        "mocks: synthetic spectra"
    )
    seeds: Annotated[list[Count], Field(min_length=1)] = Field(description="initialisations, one model each")
    network: Literal["dense", "cnn"] = Field("dense", description="on components, or the paper's on pixels")
    epochs: Positive | None = Field(None, description="at most; None: 16 of a dense network, 40 of a cnn")
    smoothing: PositiveFloat = Field(50.0, description="Å, Gaussian width of the normalisation; the paper prints 350")
    window: tuple[float, float] = Field(
        (3950.0, 8850.0), description="Å at rest: what lies beyond takes no part in components, fits and networks"
    )
    snrg_min: float = Field(20.0, ge=0, description="S/N in g at or below which spectra are refused")
    files_per_shard: Positive = Field(50000, description="files per job; new files make new shards")
    survey: SimulatedSurvey
    catalog: LrsCatalog = Field(default_factory=LrsCatalog)

    @property
    def released(self) -> bool:
        """Whether observations are scored by the released models, and nothing is trained."""
        return self.models == "released" or (self.models is None and bool(self.spectra) and self.training == "mocks")

    @model_validator(mode="after")
    def _window_holds_pixels(self) -> "LamostLrs":
        low, high = self.window
        if not 3900.0 <= low <= high - 500.0 <= 8400.0:
            raise ValueError(f"window: found {low:g} to {high:g} Å; accepted is 500 Å or more between 3900 and 8900")
        return self

    @model_validator(mode="after")
    def _real_spectra_need_a_catalogue(self) -> "LamostLrs":
        if self.training == "hrd" and self.spectra and not self.catalogue:
            raise ValueError("training: hrd needs `catalogue`, a table with photometry and parallaxes of `spectra`")
        if self.models == "released" and self.training != "mocks":
            raise ValueError(f"models: released trains nothing, but training: {self.training}; accepted is mocks")
        return self
