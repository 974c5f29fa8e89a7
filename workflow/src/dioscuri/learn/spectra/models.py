"""Files of trained spectral networks: one of a training, and released ensembles of an arm."""

from collections import Counter
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from dioscuri.learn.model_files import network_of, read_checkpoint, read_release, write_release
from dioscuri.learn.spectra.networks import SpectrumCNN, build

MODEL_SCHEMA = "dioscuri/model/1"
RELEASE_SCHEMA = "dioscuri/models/1"

Model = tuple[SpectrumCNN, dict[str, Any]]


def load_model(path: str | PathLike, arm: str | None = None) -> Model:
    """A trained network, ready for inference, and the content of its model.json.

    `path`: a `model.ckpt` or the folder that holds it. With `arm`, a model of another arm is an error.
    Only tensors and plain values are unpickled.
    """
    state, info = read_checkpoint(path, MODEL_SCHEMA)
    _check_arm(path, info, arm)
    return network_of(path, _network, info, state), info


def load_models(paths: Sequence[str | PathLike], arm: str | None = None) -> list[Model]:
    """The networks of `model.ckpt` files (or their folders) and of released .safetensors files."""
    models: list[Model] = []
    for path in paths:
        models += load_released(path, arm) if Path(path).suffix == ".safetensors" else [load_model(path, arm)]
    return models


def save_released(path: str | PathLike, models: Sequence[Model], dtype: torch.dtype = torch.float16) -> None:
    """Pack models of one arm (several seeds, penalties) into one safetensors file; weights are stored as `dtype`."""
    infos = [info for _, info in models]
    one_grid(infos)
    header = {"schema": RELEASE_SCHEMA, "arm": infos[0]["arm"], "grid": infos[0]["grid"]}
    write_release(path, header, models, dtype)


def load_released(path: str | PathLike, arm: str | None = None) -> list[Model]:
    """The models of a released file, as `load_model` gives them; another arm or schema is an error."""
    header, states = read_release(path, RELEASE_SCHEMA)
    _check_arm(path, header, arm)
    return [(network_of(path, _network, info, state), info) for state, info in zip(states, header["models"])]


def _network(info: dict[str, Any]) -> SpectrumCNN:
    return build(info["network"], info["grid"]["n_pixels"])


def _check_arm(path: str | PathLike, info: dict[str, Any], arm: str | None) -> None:
    if arm is not None and info["arm"] != arm:
        raise ValueError(f"{path}: a model of the {info['arm']} arm, asked for the {arm} arm")


def one_grid(infos: Sequence[dict[str, Any]]) -> None:
    """Raise ValueError unless the models of an ensemble are of one arm and one wavelength grid."""
    if not infos:
        raise ValueError("an ensemble needs at least one model")
    for info in infos[1:]:
        for key in ("arm", "grid"):
            if info[key] != infos[0][key]:
                raise ValueError(f"models of one ensemble differ in {key}: {infos[0][key]} and {info[key]}")
    for (penalty, seed), times in Counter((info["penalty"], info["seed"]) for info in infos).items():
        if times > 1:
            raise ValueError(
                f"{times} models of Λ = {penalty:g} and seed {seed}: one is a copy; train its own seed again"
            )
