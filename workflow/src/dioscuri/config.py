"""Settings: what every key means, and every mistake at once, each with its file, key, value and remedy."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError

from dioscuri.settings.base import Count, Positive, PositiveFloat, Settings
from dioscuri.settings.images import Images
from dioscuri.settings.lamost_lrs import LamostLrs
from dioscuri.settings.lamost_mrs import ArmName, LamostMrs, Library, Tracks
from dioscuri.settings.protostar import Protostar

Survey = Literal["csst", "hst", "lamost_mrs", "lamost_lrs", "protostar"]


class ConfigError(ValueError):
    """The settings are wrong; the message has a line for each mistake."""


class ArmFacts(Settings):
    """Facts of a spectrograph arm (surveys.yaml)."""

    wave_min: PositiveFloat = Field(description="Å, vacuum, first pixel of the common rest-frame grid")
    wave_max: PositiveFloat = Field(description="Å, vacuum, last pixel")
    n_pixels: Positive = Field(description="pixels of the grid")
    resolution: PositiveFloat = Field(description="resolving power")


class Instrument(Settings):
    arms: dict[ArmName | Literal["full"], ArmFacts]


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
    lamost_lrs: LamostLrs
    csst: Images
    hst: Images
    protostar: Protostar
    instruments: dict[Survey, Instrument] = Field(description="instrument facts (surveys.yaml)")


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
        content = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_StrictLoader)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: found {type(content).__name__}, accepted: a mapping of settings")
    return content


class _StrictLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """SafeLoader (libyaml's where there is one) that refuses a key given twice, which YAML would silently overwrite."""

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
