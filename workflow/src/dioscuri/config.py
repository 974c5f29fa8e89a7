"""Settings: what every key means, and every mistake at once, each with its file, key, value and remedy."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

Survey = Literal["csst", "hst", "lamost_mrs", "lamost_lrs", "protostar"]
BUILT = ("lamost_mrs",)  # surveys whose rooms exist
ArmName = Literal["blue", "red"]
Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
PositiveFloat = Annotated[float, Field(gt=0)]


class ConfigError(ValueError):
    """The settings are wrong; the message has a line for each mistake."""


class Settings(BaseModel):
    """Base of all blocks: unknown keys are mistakes, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
    snr_median: PositiveFloat = Field(30.0, description="realistic law: median S/N per pixel")


class Mocks(Settings):
    recipe: Literal["paper", "survey"] = Field(
        description="paper: literal eq. 4, white noise; survey: what the telescope delivers (LSF, noise, bad pixels)"
    )
    n_train: Positive = Field(description="pairs")
    n_validation: Positive = Field(description="pairs")
    n_test: Positive = Field(description="pairs")
    shard_size: Positive = Field(description="pairs per shard file (one job each)")


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


class Inference(Settings):
    penalties: list[PositiveFloat] = Field(description="Λ that are released (paper: 8, 16, 32)")
    draws: Positive = Field(20, description="Monte-Carlo noise draws per spectrum")


class Ingest(Settings):
    files_per_shard: Positive = Field(description="LAMOST files per shard (one job each)")
    coadds: bool = Field(True, description="score co-added spectra too (flagged)")
    snr_min: float = Field(5.0, ge=0, description="an arm at or below this S/N is masked, not scored")


class Night(Settings):
    """The simulated night that stands in where no spectra are given."""

    n_sb2: Count = Field(description="double-lined systems")
    n_single: Count = Field(description="single stars")
    n_exposures: Positive = Field(3, description="exposures per system")


class MrsCatalog(Settings):
    npixbad_max: Positive = Field(100, description="candidates: bad pixels below this in both arms")
    bprp0_max: float | None = Field(2.5, description="mag; candidates: (BP−RP)0 below this where known; null: no cut")
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
    arms: Annotated[list[ArmName], Field(min_length=1)] = Field(description="arms to train and score")
    population: Population
    mocks: Mocks
    networks: dict[str, Network] = Field(description="known networks by name")
    network: str = Field(description="the network to train")
    penalties: Annotated[list[PositiveFloat], Field(min_length=1)] = Field(description="Λ of eq. 7, one model each")
    seeds: Annotated[list[Count], Field(min_length=1)] = Field(description="initialisations, one model each")
    training: Training
    inference: Inference
    ingest: Ingest
    night: Night
    catalog: MrsCatalog

    @model_validator(mode="after")
    def _references_exist(self) -> "LamostMrs":
        if self.network not in self.networks:
            raise ValueError(f"network '{self.network}' is not one of networks: {', '.join(self.networks)}")
        untrained = [p for p in self.inference.penalties if p not in self.penalties]
        if untrained:
            raise ValueError(f"inference.penalties {untrained} are not among penalties {self.penalties}")
        for name in ("arms", "penalties", "seeds"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(f"{name} repeats a value: {values}")
        return self


class ArmFacts(Settings):
    """Facts of a spectrograph arm (surveys.yaml)."""

    wave_min: PositiveFloat = Field(description="Å, vacuum, first pixel of the common rest-frame grid")
    wave_max: PositiveFloat = Field(description="Å, vacuum, last pixel")
    n_pixels: Positive = Field(description="pixels of the grid")
    resolution: PositiveFloat = Field(description="resolving power")


class Instrument(Settings):
    arms: dict[ArmName, ArmFacts]


class Checks(Settings):
    strict: bool = Field(description="true: a failed check fails the run; false: it warns")


class Config(Settings):
    """All settings of a run."""

    preset: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")] = Field(
        description="name; results go to results/<preset>"
    )
    seed: Count = Field(description="root of all random numbers")
    surveys: list[Survey] = Field(description="surveys that `all` builds")
    checks: Checks
    tracks: Tracks
    library: Library
    lamost_mrs: LamostMrs
    instruments: dict[Survey, Instrument] = Field(description="instrument facts (surveys.yaml)")

    @field_validator("surveys")
    @classmethod
    def _surveys_are_built(cls, surveys: list[Survey]) -> list[Survey]:
        missing = [survey for survey in surveys if survey not in BUILT]
        if missing:
            raise ValueError(f"surveys {missing} are not built yet; accepted: {', '.join(BUILT)}")
        return surveys


def load_config(files: Iterable[str | Path], overrides: Mapping[str, Any] | None = None) -> Config:
    """Merge YAML files (later ones win, key by key) and overrides, and check them all at once.

    Raises ConfigError with a line for each mistake: file, dotted key, what was found, what is accepted, nearest name.
    """
    layers = [(str(path), read_yaml(path)) for path in files]
    if overrides:
        layers.append(("command line", dict(overrides)))
    merged: dict[str, Any] = {}
    for _, layer in layers:
        merged = merge(merged, layer)
    return check(merged, layers)


def check(merged: Mapping[str, Any], layers: list[tuple[str, dict]]) -> Config:
    """The checked settings of `merged`; `layers` [(file, content), …] serve to name the file of each mistake."""
    try:
        return Config.model_validate(dict(merged))
    except ValidationError as error:
        lines = [_describe(item, layers) for item in error.errors(include_url=False)]
        count = "one mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
        raise ConfigError(f"{count} in the settings:\n  " + "\n  ".join(lines)) from None


def read_yaml(path: str | Path) -> dict:
    """One YAML file as a mapping; syntax errors and repeated keys name the file and line."""
    try:
        content = yaml.load(Path(path).read_text(), Loader=_StrictLoader)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: found {type(content).__name__}, accepted: a mapping of settings")
    return content


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, which YAML would silently overwrite."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                mark = node.value[position][0].start_mark
                raise yaml.YAMLError(f"line {mark.line + 1}: key '{key}' is given twice")
        return super().construct_mapping(node, deep=deep)


def merge(base: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    """`base` overridden by `layer`: mappings key by key, everything else (lists too) whole."""
    merged = dict(base)
    for key, value in layer.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _describe(item: Mapping[str, Any], layers: list[tuple[str, dict]]) -> str:
    """One mistake as a line: file: dotted.key: what was found; what is accepted."""
    location = [str(part) for part in item["loc"]]
    key = ".".join(location) or "settings"
    where = _origin(item["loc"], layers)
    kind = item["type"]
    if kind == "extra_forbidden":
        names = _names_at(item["loc"][:-1])
        near = difflib.get_close_matches(location[-1], names, 1, 0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"accepted: {', '.join(names)}"
        return f"{where}: {key}: unknown key; {hint}"
    if kind == "missing":
        return f"{where}: {key}: missing; {_meaning(item['loc'])}"
    found = json.dumps(item["input"], default=str)
    found = found if len(found) <= 60 else found[:57] + "..."
    if kind == "value_error":
        return f"{where}: {key}: {item['ctx']['error']}"
    line = f"{where}: {key}: found {found}; accepted: {_accepted(item)}"
    if kind == "literal_error" and isinstance(item["input"], str):
        names = re.findall(r"'([^']+)'", item["ctx"]["expected"])
        near = difflib.get_close_matches(item["input"], names, 1, 0.5)
        line += f"; did you mean '{near[0]}'?" if near else ""
    return line


def _accepted(item: Mapping[str, Any]) -> str:
    if item["type"] == "literal_error":
        return item["ctx"]["expected"].replace("'", "")
    message = item["msg"][0].lower() + item["msg"][1:]
    return message.removeprefix("input should be ")


def _origin(location: tuple, layers: list[tuple[str, dict]]) -> str:
    """The last file that says something about this key, or that the key is in none."""
    for depth in range(len(location), 0, -1):
        for name, content in reversed(layers):
            node: Any = content
            for part in location[:depth]:
                if isinstance(node, Mapping) and part in node:
                    node = node[part]
                elif isinstance(node, list) and isinstance(part, int) and part < len(node):
                    node = node[part]
                else:
                    break
            else:
                return name
    return layers[0][0] if layers else "settings"


def _model_at(location: tuple) -> type[BaseModel]:
    model: type[BaseModel] = Config
    for part in location:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else None
        inner = [a for a in (annotation, *get_args(annotation)) if isinstance(a, type) and issubclass(a, BaseModel)]
        if inner:
            model = inner[0]
    return model


def _names_at(location: tuple) -> list[str]:
    return list(_model_at(location).model_fields)


def _meaning(location: tuple) -> str:
    field = _model_at(location[:-1]).model_fields.get(str(location[-1]))
    return (field.description if field and field.description else "required").replace("\n", " ")


def json_schema() -> str:
    """The JSON schema of the settings, for editors; config/schema.json holds it and a test keeps them in step."""
    return json.dumps(Config.model_json_schema(), indent=2) + "\n"
