"""Settings of the LAMOST MRS line (Zhang et al. 2022): tracks, library, mocks, training, catalogue."""

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from dioscuri.settings.base import Count, Fraction, Models, Positive, PositiveFloat, Settings

ArmName = Literal["blue", "red"]


class Axis(Settings):
    """An equidistant axis of a spectral library."""

    min: float = Field(description="first node")
    max: float = Field(description="last node")
    step: PositiveFloat = Field(description="distance between nodes")

    @model_validator(mode="after")
    def _ends_meet(self) -> "Axis":
        nodes = (self.max - self.min) / self.step
        if self.max <= self.min or abs(nodes - round(nodes)) > 1e-6 or nodes < 1.5:
            raise ValueError("max must lie a whole number (two or more) of steps above min")
        return self


class Tracks(Settings):
    source: Literal["embedded", "mist", "auto"] = Field(
        description="embedded: analytic tracks (Hurley, Pols & Tout 2000); mist: MIST v1.2; auto: MIST where found"
    )
    mist_dir: str | None = Field(None, description="folder that holds mist/tracks/MIST_v1.2_*_EEPS (ISOCHRONES)")
    mass_max: PositiveFloat = Field(2.2, description="Msun; heavier tracks are left out")


class Library(Settings):
    source: Literal["embedded", "ferre", "table"] = Field(
        description="embedded: our LTE synthesizer; ferre: FERRE grid files; table: labels and paths of spectra"
    )
    files: list[str] = Field(default_factory=list, description="FERRE files, or one table (CSV, ECSV, Parquet)")
    linelist: str | None = Field(None, description="MOOG- or VALD-format line list instead of the embedded one")
    molecules: bool = Field(
        False, description="embedded: bands of CH, CN, C2, TiO, CaH and MgH, and the structure of cool dwarfs; for LRS"
    )
    teff: Axis = Field(description="K")
    logg: Axis = Field(description="dex (cgs)")
    feh: Axis = Field(description="[Fe/H], dex")
    afe: Axis = Field(description="[alpha/Fe], dex")
    resolution: PositiveFloat = Field(20000.0, description="native resolving power of the embedded grid")
    step_kms: PositiveFloat = Field(4.0, description="km/s between pixels of the embedded grid")
    variants: Positive = Field(
        description="grids to build: the first as listed, the others with jittered line strengths"
    )
    loggf_jitter: float = Field(0.25, ge=0, description="dex, scatter of log gf in the jittered grids")
    air: bool | None = Field(
        None, description="wavelengths of the files are in air; null: as FERRE headers say (else air); tables: vacuum"
    )
    flux_scale: PositiveFloat | None = Field(
        None, description="makes F_λ (erg/s/cm2/Å) of the files' flux; null: 4π for FERRE (H_λ), 1 for tables"
    )
    wave_file: str | None = Field(None, description="table: wavelengths (Å) of all spectra, one column (BOSZ 2024)")
    fixed: dict[str, float] = Field(
        default_factory=dict,
        description="FERRE: node of each dimension that is no label here, by the name it has in the header",
    )

    @model_validator(mode="after")
    def _keys_belong_to_source(self) -> "Library":
        for key, sources in (
            ("air", ("ferre", "table")),
            ("flux_scale", ("ferre", "table")),
            ("wave_file", ("table",)),
            ("fixed", ("ferre",)),
        ):
            if getattr(self, key) not in (None, {}) and self.source not in sources:
                raise ValueError(
                    f"source '{self.source}' has no use for library.{key}: it is for {' and '.join(sources)}"
                )
        if self.source == "table" and len(self.files) > 1:
            raise ValueError(f"source 'table' reads one table, library.files has {len(self.files)}")
        return self

    @model_validator(mode="after")
    def _files_belong_to_source(self) -> "Library":
        if self.source != "embedded" and not self.files:
            raise ValueError(f"source '{self.source}' needs library.files")
        if self.source != "embedded" and self.variants != 1:
            raise ValueError(f"source '{self.source}' has one grid: library.variants must be 1")
        return self


class Population(Settings):
    law: Literal["paper", "survey", "realistic"] = Field(
        description="paper: Table 1 of Zhang et al. 2022; survey: slow rotators too; realistic: the field's"
    )
    slow_rotator_fraction: Fraction = Field(0.5, description="survey law: share of pairs with exponential vsini")
    slow_rotator_scale: PositiveFloat = Field(15.0, description="km/s, scale of that exponential")
    max_age_gyr: PositiveFloat | None = Field(None, description="Gyr; null: no cut, as printed (realistic law: 13.8)")
    imf: Literal["kroupa", "chabrier"] = Field("kroupa", description="realistic law: masses of the primaries")
    snr_median: PositiveFloat = Field(30.0, description="realistic law: median S/N per pixel")


class Contaminants(Settings):
    """Shares of pairs turned into what is mistaken for binaries; the rest stays as drawn."""

    cool_giant: Fraction = Field(0.0, description="both stars redrawn, the primary a giant below 5000 K")
    sb1: Fraction = Field(0.0, description="the single star's spectrum holds 0.2-3 % of the secondary's light")
    triple: Fraction = Field(0.0, description="the binary's spectrum has the lines of a third star")
    moonlight: Fraction = Field(0.0, description="both spectra hold 1-30 % of sunlight near zero heliocentric velocity")
    nebular_halpha: Fraction = Field(0.0, description="both spectra have narrow emission lines (red arm)")

    @model_validator(mode="after")
    def _shares_leave_room(self) -> "Contaminants":
        total = sum(self.model_dump().values())
        if total > 1 + 1e-9:
            raise ValueError(f"the shares add up to {total:g}; accepted: at most 1")
        return self


class Mocks(Settings):
    recipe: Literal["paper", "survey"] = Field(
        description="paper: literal eq. 4, white noise; survey: what the telescope delivers (LSF, noise, bad pixels)"
    )
    n_train: Positive = Field(description="pairs")
    n_validation: Positive = Field(description="pairs")
    n_test: Positive = Field(description="pairs")
    shard_size: Positive = Field(description="pairs per shard file (one job each)")
    seen: bool = Field(
        True,
        description="networks learn mocks as observations are seen, in the frame of the fits; false: at rest (paper)",
    )
    contaminants: Contaminants = Field(default_factory=Contaminants, description="labelled kinds of pairs that deceive")


class Network(Settings):
    """A LeNet-like network without pooling; the paper's own layer sizes are in a figure, so they are settings."""

    channels: list[Positive] = Field(description="filters of each convolution")
    kernels: list[Positive] = Field(description="pixels of each convolution")
    strides: list[Positive] = Field(description="step of each convolution")
    dense: list[Positive] = Field(description="units of each dense layer")
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3

    @model_validator(mode="after")
    def _same_depth(self) -> "Network":
        if not len(self.channels) == len(self.kernels) == len(self.strides):
            raise ValueError("channels, kernels and strides must have the same length")
        return self


class Training(Settings):
    learning_rate: PositiveFloat = Field(1e-3, description="of Adam at the start")
    batch: Positive = Field(256, description="spectra per step")
    schedule: Literal["literal", "patience"] = Field(
        description="literal: lr/5 after any rise of the validation loss, stop after 10 rises in a row (paper, §3.2)"
    )
    patience: Positive = Field(1, description="patience schedule: epochs without improvement before lr/5")
    stop_patience: Positive = Field(5, description="patience schedule: epochs without improvement before the stop")
    max_epochs: Positive = Field(description="epochs at most")
    start: str | None = Field(
        None,
        description="folder of released networks (<arm>.safetensors) that are trained further; null: random weights",
    )
    together: bool = Field(
        False, description="one job for all penalties of an arm and seed: sooner where a training takes seconds"
    )
    noisy: float = Field(
        0.0, ge=0, le=1, description="share of training spectra with the noise of their S/N once more, as in eq. 9"
    )


class Inference(Settings):
    penalties: list[PositiveFloat] = Field(description="Λ that are released (paper: 8, 16, 32)")
    draws: Positive = Field(20, description="Monte-Carlo noise draws per spectrum")
    precision: Literal["fp32", "bf16"] = Field(
        "fp32",
        description="bf16: faster on GPUs and on processors that multiply such numbers; p moves by less than 0.02",
    )


class Evidence(Settings):
    """What joins fits of two stars and networks to log-odds."""

    n_pairs: Positive = Field(
        4000, description="validation pairs on which it is calibrated, sent through the path of data"
    )


class Ingest(Settings):
    files_per_shard: Positive = Field(description="LAMOST files per shard (one job each)")
    exposures_per_shard: Positive = Field(
        50000, description="a shard is closed earlier where its files hold about as many exposures, by their sizes"
    )
    coadds: bool = Field(True, description="score co-added spectra too (flagged)")
    snr_min: float = Field(5.0, ge=0, description="an arm at or below this S/N is masked, not scored")


class Night(Settings):
    """The simulated night that stands in where no spectra are given."""

    n_sb2: Count = Field(description="double-lined systems")
    n_single: Count = Field(description="single stars")
    n_exposures: Positive = Field(3, description="exposures per night and system")
    n_nights: Positive = Field(1, description="nights; a system is observed in one to all of them")
    n_impostors: Count = Field(
        0, description="of each kind that is mistaken for binaries: cool giants, fast rotators …"
    )


class TableFile(Settings):
    """A table of stars."""

    path: str | None = Field(None, description="FITS, CSV or Parquet table, a row per star; null: none")
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="our name → the table's, where ours or Gaia's does not do: gaia_id, designation, obsid, ra, dec, "
        "g, bp_rp, parallax, parallax_error, ruwe, a_g, ebv, period, bjd0",
    )
    radius: PositiveFloat = Field(2.0, description="arcsec, of the match by position")


class StarTable(TableFile):
    """What a user knows of the stars: photometry, parallaxes, extinction, periods."""

    dust: Literal["bayestar"] | None = Field(
        None, description="bayestar: extinction from dustmaps where the table has none; null: unknown there"
    )


class ClassPrior(Settings):
    """Shares of stars before anything is known of them."""

    single: PositiveFloat = Field(0.86, description="no change of velocity, one set of lines")
    sb1: PositiveFloat = Field(0.12, description="velocity changes, one set of lines")
    sb2: PositiveFloat = Field(0.02, description="two sets of lines at some epochs")

    @model_validator(mode="after")
    def _add_up(self) -> "ClassPrior":
        total = self.single + self.sb1 + self.sb2
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares add up to {total:g}; accepted: 1")
        return self


class MrsCatalog(Settings):
    source_radius: PositiveFloat = Field(2.0, description="arcsec; rows closer than this show one source")
    npixbad_max: Positive = Field(100, description="candidates: bad pixels below this in both arms")
    bprp0_max: float | None = Field(2.5, description="mag; candidates: (BP−RP)0 below this where known; null: no cut")
    sb2_prior: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.02, description="share of spectra that show two stars: prior odds of the joint rule"
    )
    class_prior: ClassPrior = Field(default_factory=ClassPrior, description="prior of the class of a star")
    zero_point: dict[ArmName, float] = Field(
        default_factory=lambda: dict.fromkeys(get_args(ArmName), 0.0), description="km/s added to rv_obs to give rv_abs"
    )
    zero_point_error: dict[ArmName, float] = Field(
        default_factory=lambda: dict.fromkeys(get_args(ArmName), 0.0), description="km/s, added in quadrature"
    )


class LamostMrs(Settings):
    spectra: list[str] = Field(
        default_factory=list,
        description="files, globs or folders of LAMOST MRS FITS; empty: a simulated night",
    )
    table: StarTable = Field(default_factory=StarTable, description="a user's table of the observed stars")
    sb2_list: TableFile = Field(default_factory=TableFile, description="known SB2s with their periods (Fig. 11)")
    models: Models = Field(
        None,
        description="released: score with models/; trained: train first; null: released where spectra are given",
    )
    arms: Annotated[list[ArmName], Field(min_length=1)] = Field(description="arms to train and score")
    population: Population
    mocks: Mocks
    networks: dict[str, Network] = Field(description="known networks by name")
    network: str = Field(description="the network to train")
    penalties: Annotated[list[PositiveFloat], Field(min_length=1)] = Field(description="Λ of eq. 7, one model each")
    seeds: Annotated[list[Count], Field(min_length=1)] = Field(description="initialisations, one model each")
    training: Training
    inference: Inference
    evidence: Evidence
    ingest: Ingest
    night: Night
    catalog: MrsCatalog

    @property
    def released(self) -> bool:
        """Whether the released models score, so that nothing needs to be trained."""
        return self.models == "released" or (self.models is None and bool(self.spectra))

    @model_validator(mode="after")
    def _references_exist(self) -> "LamostMrs":
        if self.network not in self.networks:
            raise ValueError(f"network '{self.network}' is not one of networks: {', '.join(self.networks)}")
        untrained = [p for p in self.inference.penalties if p not in self.penalties]
        if untrained and not self.released:
            raise ValueError(f"inference.penalties {untrained} are not among penalties {self.penalties}")
        for name in ("arms", "penalties", "seeds"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(f"{name} repeats a value: {values}")
        return self
