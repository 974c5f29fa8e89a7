"""Settings of the protostar line (Al-Belmeisi et al. 2023): catalogue, queries, networks, heads, benchmark."""

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from dioscuri.settings.base import Count, Fraction, Positive, PositiveFloat, Settings

TOY_CHANNELS = ("continuum_870um", "continuum_1300um", "moment1_warm", "moment1_cold")
AS_THEY_ARE = "noiseless"  # the observation that is always there: the catalogue's images themselves
Split = Literal["projection", "time_block", "system", "leave_one_system_out"]
SPLITS: tuple[Split, ...] = get_args(Split)
Channel = Annotated[str, Field(pattern=r"^(continuum|moment1)_[a-z0-9]+$")]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$")]
Position = tuple[float, float]


class UserChannel(Settings):
    """Where a user's images of one channel come from, and what to make of them."""

    files: Annotated[list[str], Field(min_length=1)] = Field(description="FITS, RADMC-3D image.out, or HDF5 stacks")
    wavelength_um: PositiveFloat | None = Field(None, description="µm: which image of a multi-wavelength image.out")
    rest_wavelength_um: PositiveFloat | None = Field(
        None, description="µm: of the line, where image.out is a line cube"
    )
    systemic_kms: float = Field(0.0, description="km/s, about which a cube becomes a moment-1 map")
    window_kms: PositiveFloat = Field(5.0, description="km/s on either side that are integrated (§3.1)")
    dataset: str = Field("images", description="the one to read in an HDF5 stack")


class AnalogueCatalogue(Settings):
    """The synthetic observations that a query is compared with: the embedded toy catalogue, or the user's own."""

    files: dict[Channel, UserChannel] = Field(
        default_factory=dict, description="a user's synthetic observations by channel; empty: the toy catalogue"
    )
    metadata: str | None = Field(None, description="their metadata (CSV, ECSV, Parquet) with the column image_id")
    distance: PositiveFloat | None = Field(None, description="pc, of a user's FITS maps: makes AU of arcsec")
    n_systems: Positive = Field(description="toy catalogue: systems, one simulation each")
    n_particles: Positive = Field(4000, description="toy catalogue: gas particles of a simulation")
    n_snapshots: Positive = Field(57, description="toy catalogue: snapshots of a simulation")
    duration: PositiveFloat = Field(60.0, description="kyr from the birth of the second star to the last snapshot")
    separation: PositiveFloat = Field(200.0, description="AU, projected separation: that of the observed binary")
    n_pixels: Positive = Field(96, description="pixels along a side of an image")
    field: PositiveFloat = Field(1600.0, description="AU along a side of an image")
    beam: PositiveFloat = Field(50.0, description="AU, FWHM of the round beam")
    n_lines: Positive = Field(8, description="lines of sight around the cone")
    mirror: bool = Field(False, description="look along the mirror cone too (moment-1 maps change their sign)")

    @model_validator(mode="after")
    def _metadata_belong_to_files(self) -> "AnalogueCatalogue":
        if bool(self.files) != bool(self.metadata):
            raise ValueError("catalogue.files and catalogue.metadata go together: give both or neither")
        return self


class Interferometer(Settings):
    """What the telescope does to a sky beyond beam and noise; synthetic images pass it before they are compared."""

    largest_scale: PositiveFloat | None = Field(None, description="arcsec: what is smoother is lost; null: nothing is")
    uv: str | None = Field(None, description="uv coverage: UVFITS, or a table (CSV, ECSV) of u and v")
    antennas: str | None = Field(None, description="antenna list (CASA's .cfg, or east, north, up in metres)")
    hour_angles: tuple[float, float] = Field((-1.0, 1.0), description="h, first and last, with antennas")
    latitude: Annotated[float, Field(ge=-90, le=90)] | None = Field(
        None, description="deg, with antennas; null: of the observatory that their list names"
    )
    calibration_error: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="relative, of the flux scale, 1σ")

    @model_validator(mode="after")
    def _one_coverage(self) -> "Interferometer":
        if self.uv and self.antennas:
            raise ValueError("uv and antennas both describe the uv coverage: give one of them")
        return self


class Query(Interferometer):
    """An observed binary: its maps, where it is, and how it is laid on the pixels of the catalogue."""

    maps: Annotated[dict[Channel, str], Field(min_length=1)] = Field(
        description="channel → FITS map: continuum in a unit of surface brightness, moment 1 in one of velocity"
    )
    distance: PositiveFloat = Field(description="pc")
    primary: Position | None = Field(None, description="ra, dec [deg]; null: the brightest peak")
    secondary: Position | None = Field(None, description="ra, dec [deg]; null: not known")
    position_angle: float = Field(0.0, description="deg, north through east, of up; used where secondary is null")
    zoom: PositiveFloat = Field(1.0, description="magnification before the comparison")
    systemic_kms: float = Field(0.0, description="km/s, of the object: velocities become relative to it")
    noise: PositiveFloat | None = Field(None, description="Jy/sr, rms of the continuum map; null: measured")
    field: PositiveFloat | None = Field(
        None, description="AU that are compared; null: as much as map and catalogue have"
    )


class FeatureNetwork(Settings):
    """A frozen network that turns an image into a feature vector."""

    architecture: Literal[
        "random_cnn", "apertures", "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "densenet121",
        "efficientnet_b7", "inception_v3", "mobilenet", "mobilenet_v3", "resnetrs200", "xception", "vgg16", "vgg19",
    ] = Field(
        description="random_cnn, apertures: need no weights; efficientnet_lite0 to 2: of packages; others: the paper's"
    )  # fmt: skip
    weights: str = Field("hub", description="hub (ImageNet, by timm), none (random), or a file of weights")
    size: Positive | None = Field(None, description="px to which images are scaled (paper: 224 and 800); null: its own")
    pool: Positive | None = Field(1, description="cells a side over which the last layer is averaged; null: left whole")


class Head(Settings):
    """The trained head of §2.4.2."""

    recipes: list[Literal["literal", "corrected", "log_score"]] = Field(
        description="literal: as printed; corrected: slips mended; log_score: logarithms compared, all triplets teach"
    )
    seeds: Annotated[list[Count], Field(min_length=1)] = Field(description="initialisations, one head each")
    epochs: Positive = Field(10, description="epochs")
    triplets: Positive = Field(18000, description="triplets per epoch")
    batch: Positive = Field(64, description="triplets per step")
    learning_rate: PositiveFloat = Field(1e-4, description="of Adam")
    splits: list[Split] = Field(list(SPLITS), description="of the benchmark, in which heads are trained, too")


class Cut(Settings):
    """Which members of the catalogue count as analogues."""

    kind: Literal["quantile", "sigma"] = Field("quantile", description="sigma: nearer than mean − 2σ (paper); quantile")
    share: Fraction = Field(
        0.0228, description="quantile: share of the catalogue, what −2σ is of a normal distribution"
    )
    n_sigma: PositiveFloat = Field(2.0, description="sigma: standard deviations below the mean")
    minimum: Count = Field(10, description="analogues at least")


class Observation(Interferometer):
    """How the benchmark's images are observed, those that are asked for and those of the catalogue alike."""

    distance: PositiveFloat = Field(300.0, description="pc")
    declination: Annotated[float, Field(ge=-90, le=90)] = Field(30.0, description="deg, with antennas")
    peak_to_noise: PositiveFloat | None = Field(
        None, description="peak of the median image over the rms of the noise; null: no noise"
    )


class Benchmark(Settings):
    """Known parameters of held-out images, recovered."""

    splits: list[Split] = Field(
        description="projection: the paper's, the same snapshots on both sides; system: unseen systems"
    )
    n_folds: Positive = Field(4, description="folds of the splits by time block and by system")
    n_queries: Positive = Field(300, description="held-out images asked for, per fold")
    observations: dict[Name, Observation] = Field(
        default_factory=dict, description="by name: the same as seen with noise, without short spacings …"
    )


class Protostar(Settings):
    catalogue: AnalogueCatalogue
    queries: dict[Name, Query] = Field(
        default_factory=dict, description="observed binaries by name; empty: a simulated one that no catalogue has"
    )
    channels: Annotated[list[Channel], Field(min_length=1)] = Field(description="channels to make, and to compare")
    decades: PositiveFloat = Field(4.0, description="dynamic range of the fixed log stretch")
    relative: bool = Field(False, description="divide each image by its own peak: where fluxes cannot be trusted")
    networks: dict[Name, FeatureNetwork] = Field(description="known networks by name")
    use: Annotated[list[Name], Field(min_length=1)] = Field(description="networks to measure features with")
    metrics: Annotated[
        list[Literal["cosine", "euclidean", "braycurtis", "canberra", "l1", "combined"]], Field(min_length=1)
    ] = Field(description="distances (eqs. 1–5, 12); the first is the one that estimates and figures go by")
    literal: bool = Field(False, description="eqs. 2 and 12 as printed")
    scale_features: bool = Field(
        True, description="features in units of their scatter over the catalogue; false: as they are (paper)"
    )
    cut: Cut
    isotropic: bool = Field(False, description="weigh analogues as viewers in all directions would")
    head: Head
    benchmark: Benchmark

    @model_validator(mode="after")
    def _references_exist(self) -> "Protostar":
        made = tuple(self.catalogue.files) or TOY_CHANNELS
        strangers = [channel for channel in self.channels if channel not in made]
        if strangers:
            raise ValueError(f"channels {strangers} are not made: the catalogue has {', '.join(made)}")
        if self.benchmark.observations and not {"system", "leave_one_system_out"} & set(self.benchmark.splits):
            raise ValueError("benchmark.observations are compared on systems held out: add system to benchmark.splits")
        unknown = [name for name in self.use if name not in self.networks]
        if unknown:
            raise ValueError(f"use {unknown} are not among networks: {', '.join(self.networks)}")
        for name, query in self.queries.items():
            missing = [channel for channel in query.maps if channel not in self.channels]
            if missing:
                raise ValueError(f"queries.{name}.maps {missing} are not among channels: {', '.join(self.channels)}")
        if AS_THEY_ARE in self.benchmark.observations:
            raise ValueError(f"an observation cannot be called '{AS_THEY_ARE}': that is the catalogue without noise")
        if "catalogue" in self.queries:
            raise ValueError("a query cannot be called 'catalogue'")
        return self
