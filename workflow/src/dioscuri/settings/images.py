"""Settings of the image lines (Wu et al. 2023): PSFs, mocks, networks and test grids of CSST and HST."""

from collections.abc import Collection, Iterable
from typing import Annotated, Literal

from pydantic import Field, model_validator

from dioscuri.settings.base import Count, Fraction, Models, Positive, PositiveFloat, Settings
from dioscuri.settings.star_cluster import Cluster

Axis = Literal["snr", "sep", "jitter", "wfe"]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Augmentation = Literal["dihedral", "flip", "rotation", "zoom", "warp", "brightness_contrast", "brightness"]


class PsfSource(Settings):
    """Where the PSF comes from."""

    source: Literal["optical", "file", "stdpsf", "stars"] = Field(
        description="optical: of the telescope; file: a FITS image; stdpsf: STScI's grid; stars: fitted in the frames"
    )
    optics: Literal["csst_u", "hst_f775w", "hst_f467m", "hst_f775w_literal", "hst_f467m_literal"] = Field(
        description="the telescope and filter; for the other sources: whose jitter and wavefront errors to expect; "
        "literal: as wide as the paper says, 0.08 arcsec"
    )
    file: str | None = Field(None, description="the FITS file of sources file and stdpsf")
    oversampling: Positive = Field(4, description="samples per pixel (source file: in the file)")
    pixel_integrated: bool = Field(False, description="source file: whether the pixel is in it already")
    position: tuple[float, float] | None = Field(None, description="source stdpsf: x, y [px] at which to take the PSF")
    chip: Literal[1, 2] | None = Field(None, description="source stdpsf: chip of a camera with two")

    @model_validator(mode="after")
    def _file_belongs_to_source(self) -> "PsfSource":
        if self.source in ("file", "stdpsf") and not self.file:
            raise ValueError(f"source '{self.source}' needs psf.file")
        if self.source == "stdpsf" and self.position is None:
            raise ValueError("source 'stdpsf' needs psf.position: the x, y [px] at which to take the PSF")
        return self


class Bank(Settings):
    """PSFs that a network is trained on, the first of them the nominal one."""

    members: Positive = Field(description="PSFs; 1: the nominal one alone")
    places: Positive = Field(1, description="of them, known PSFs over field and focus, or over the chip of a grid")
    jitter_fraction: Fraction = Field(0.0, description="the jitter varies by up to this share")
    wfe_nm: float = Field(0.0, ge=0, description="nm rms; wavefront errors up to this are added")
    focus_nm: float = Field(0.0, ge=0, description="nm rms; the places are out of focus by up to this")


class Noise(Settings):
    sigma: float = Field(ge=0, description="e/px, rms of the Gaussian noise")
    background: float = Field(0.0, ge=0, description="e/px; subtracted already, its photon noise remains")


class Sources(Settings):
    """What all cases share."""

    flux_min: PositiveFloat = Field(description="e, total flux of the faintest single star or pair")
    flux_max: PositiveFloat = Field(description="e, of the brightest")
    sep_min: PositiveFloat = Field(0.1, description="px, closest pairs")
    sep_max: PositiveFloat = Field(2.0, description="px, widest pairs")
    sep_step: PositiveFloat = Field(0.1, description="px, step of the separation law 'grid'")
    flux_ratio_min: Fraction = Field(0.0, description="flux-ratio law 'uniform': between this and 1")
    offset_max: float = Field(0.5, ge=0, description="px, photocentre_random: distance from the centre in x and in y")


class Case(Settings):
    """One population and bank of PSFs: a network is trained for each."""

    placement: Literal["photocentre_random", "primary_centred"] = Field(
        description="photocentre_random: as a detected star lies; primary_centred: the offset gives pairs away"
    )
    separation: Literal["grid", "uniform"] = Field("grid", description="grid: as printed; uniform: anything between")
    flux_ratio: Literal["equal", "uniform"] = Field(description="F2/F1: 1, or uniform")
    bank: Name = Field("nominal", description="PSFs of the training (tests have the nominal one)")


class ImageMocks(Settings):
    n_train: Positive = Field(description="stamps per epoch (or in all, where fresh is false), half of them pairs")
    n_validation: Positive = Field(description="stamps that choose the best epoch")
    n_test: Positive = Field(description="stamps, seen by no training")
    n_unknown_psf: Count = Field(
        0, description="stamps of a cell for which the optimum that does not know the PSF is computed, where it is not"
    )
    fresh: bool = Field(description="true: new mocks every epoch; false: one fixed training set, as in the paper")


class Layers(Settings):
    """Sizes of a network; those of the other architecture stay out."""

    channels: list[Positive] | None = Field(None, description="compact: filters of each convolution")
    dense: Positive | None = Field(None, description="compact: units of the dense layer")
    crop: Count | None = Field(None, description="compact: px left out along the border")
    upscale: Positive | None = Field(None, description="backbones: px, side of the image that they see")
    hidden: Positive | None = Field(None, description="backbones: units between the two fully connected blocks")
    head: Literal["paper", "authors"] | None = Field(
        None, description="backbones: paper: as printed; authors: as in their published code"
    )
    weights: str | None = Field(None, description="backbones: none, hub (pretrained, from the network), or a file")


class ImageTraining(Settings):
    batch: Positive = Field(64, description="stamps per step")
    learning_rate: PositiveFloat = Field(0.004, description="peak of the one-cycle schedule of Adam")
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = Field(0.1, description="ε of eq. 3")
    freeze_epochs: Count = Field(0, description="epochs in which a pretrained network keeps its weights")
    augment: list[Augmentation] = Field(default_factory=list, description="augmentations, §2.3")
    recipe: Literal["ours", "authors"] = Field(
        "ours", description="authors: two one-cycles (5 epochs, then the rest), rates by range test, ε over all classes"
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field("32-true", description="arithmetic (GPU)")


class ImageNetwork(Settings):
    architecture: Literal["compact", "efficientnet_b3", "resnet34"] = Field(description="the network")
    rendering: Literal["compact", "rgb_log", "rgb_linear", "rgb_log_8bit", "rgb_linear_8bit"] = Field(
        description="compact: image and residuals of a star; rgb_*: a picture, as in the paper"
    )
    layers: Layers = Field(default_factory=Layers, description="sizes other than the usual ones")
    training: ImageTraining = Field(default_factory=ImageTraining, description="how it is trained")
    tta: bool = Field(True, description="average the probability over the eight turns and mirror images of a stamp")

    @model_validator(mode="after")
    def _layers_belong_to_architecture(self) -> "ImageNetwork":
        compact = self.architecture == "compact"
        strangers = ("upscale", "hidden", "head", "weights") if compact else ("channels", "dense", "crop")
        given = [name for name in strangers if getattr(self.layers, name) is not None]
        if given:
            raise ValueError(f"layers {given} are not of architecture '{self.architecture}'")
        if not compact and self.rendering == "compact":
            raise ValueError(f"architecture '{self.architecture}' needs one of the renderings rgb_*")
        return self


class Grid(Settings):
    """Test cells along one axis."""

    values: list[float] = Field(description="S/N, separation [px], change of the jitter [share], or WFE [nm rms]")
    n: Positive = Field(description="stamps per cell, half of them pairs")
    cases: list[Name] = Field(description="cases that are tested along this axis, where they are trained")


class Alignment(Settings):
    """Chance alignments against the density of stars (Fig. 1)."""

    radius: PositiveFloat = Field(description="arcsec; closer stars look like one")
    densities: list[PositiveFloat] = Field(description="stars per square degree")
    runs: Positive = Field(10, description="simulations per density")


class Images(Settings):
    """One camera: what csst and hst share."""

    models: Models = Field(
        None,
        description="released: score with models/; trained: train first; null: released for your own stamps or frames",
    )
    stamps: list[str] = Field(
        default_factory=list,
        description="csst: files, globs or folders of stamps of your own that are scored (hst: cluster.frames)",
    )
    psf: PsfSource
    banks: dict[Name, Bank] = Field(description="banks of PSFs by name")
    noise: Noise
    sources: Sources
    cases: dict[Name, Case] = Field(description="known cases by name")
    train_cases: Annotated[list[Name], Field(min_length=1)] = Field(description="cases to train, each for itself")
    headline: Name = Field(description="the trained case that figures of single stamps, and predictions, go by")
    mocks: ImageMocks
    networks: dict[Name, ImageNetwork] = Field(description="known networks by name")
    train_networks: Annotated[list[Name], Field(min_length=1)] = Field(description="networks to train for each case")
    max_epochs: Positive = Field(description="epochs of every training")
    seeds: Annotated[list[Count], Field(min_length=1)] = Field(description="initialisations, one network each")
    grids: dict[Axis, Grid] = Field(description="test grids by axis")
    alignment: Alignment
    cluster: Cluster | None = Field(None, description="frames of a star cluster that are searched (hst)")

    @property
    def released(self) -> bool:
        """Whether the released networks score, so that nothing needs to be trained."""
        observed = bool(self.stamps or (self.cluster and self.cluster.frames))
        return self.models == "released" or (self.models is None and observed)

    @model_validator(mode="after")
    def _references_exist(self) -> "Images":
        named: dict[str, tuple[Iterable[str], str, Collection[str]]] = {
            "train_cases": (self.train_cases, "cases", self.cases),
            "train_networks": (self.train_networks, "networks", self.networks),
            "headline": ([self.headline], "train_cases", self.train_cases),
            **{f"cases.{name}.bank": ([case.bank], "banks", self.banks) for name, case in self.cases.items()},
            **{f"grids.{axis}.cases": (grid.cases, "cases", self.cases) for axis, grid in self.grids.items()},
        }
        mistakes = []
        for key, (names, where, known) in named.items():
            unknown = [name for name in names if name not in known]
            if unknown:
                mistakes.append(f"{key}: {', '.join(unknown)} not among {where}: {', '.join(known)}")
        if "nominal" not in self.banks or self.banks["nominal"].members != 1:
            mistakes.append("banks needs 'nominal' with members: 1, the PSF that fits assume")
        for key in ("train_cases", "train_networks", "seeds"):
            values = getattr(self, key)
            if len(set(values)) != len(values):
                mistakes.append(f"{key} repeats a value: {values}")
        if self.stamps and self.cluster:
            mistakes.append("stamps are scored by csst; hst takes cluster.frames")
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self
