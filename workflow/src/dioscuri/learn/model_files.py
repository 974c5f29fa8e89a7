"""Files of trained networks: the checkpoint of one training, and released ensembles as safetensors."""

import json
import pickle
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dioscuri import __version__
from dioscuri.io import atomic


def read_checkpoint(path: str | PathLike, schema: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights of the network and model.json of a `model.ckpt`, or of the folder that holds one.

    Only tensors and plain values are unpickled. Another kind of file or another schema is an error.
    """
    path = Path(path)
    path = path / "model.ckpt" if path.is_dir() else path
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such model; train it, or name a folder that holds a model.ckpt")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        info, state = checkpoint["model"], checkpoint["state_dict"]
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{path}: not a model.ckpt of dioscuri (a finished training writes one)") from error
    _check_schema(path, info, schema)
    return {name.removeprefix("net."): value for name, value in state.items()}, info


def write_release(
    path: str | PathLike,
    header: Mapping[str, Any],
    models: Sequence[tuple[nn.Module, dict[str, Any]]],
    dtype: torch.dtype = torch.float16,
) -> None:
    """Pack networks and their model.json into one safetensors file with JSON metadata: `header` and `models`.

    Weights are stored as `dtype`; biases and BatchNorm statistics stay float32, because variances of
    normalised inputs lie near float16's smallest numbers.
    """
    from safetensors.torch import save_file

    tensors = {}
    for k, (net, _) in enumerate(models):
        for name, value in net.state_dict().items():
            stored = value.to(dtype) if value.ndim > 1 else value
            tensors[f"{k}/{name}"] = stored.contiguous()
    header = {**header, "version": __version__, "models": [info for _, info in models]}
    with atomic(path) as temporary:
        save_file(tensors, temporary, {"dioscuri": json.dumps(header, sort_keys=True)})


def read_release(path: str | PathLike, schema: str) -> tuple[dict[str, Any], list[dict[str, Tensor]]]:
    """Header (with `models`, each one's model.json) and the weights of each network of a released file."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file of released models")
    try:
        with safe_open(path, "pt") as stream:
            header = json.loads((stream.metadata() or {}).get("dioscuri", "{}"))
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (not a mapping)
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file of released models ({error})") from error
    _check_schema(path, header, schema)
    states: list[dict[str, Tensor]] = [{} for _ in header["models"]]
    for name, value in tensors.items():
        k, _, name = name.partition("/")
        states[int(k)][name] = value
    return header, states


def _check_schema(path: Path, info: dict[str, Any], schema: str) -> None:
    found = info.get("schema", "none")
    if found != schema:
        version = info.get("version", "unknown")
        raise ValueError(
            f"{path}: expected schema '{schema}', found '{found}' (written by version {version}; this is "
            f"{__version__}): train again, or use the matching version"
        )
