"""Files of trained networks: the checkpoint of one training, and released ensembles as safetensors."""

import json
import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from dioscuri import __version__, seals
from dioscuri.io import atomic, digest

Network = TypeVar("Network", bound=nn.Module)


def read_checkpoint(path: str | PathLike, schema: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights of the network and model.json of a `model.ckpt`, or of the folder that holds one.

    Only tensors and plain values are unpickled. Another kind of file, another schema, another seed than the path
    says, and any change since it was written are errors.
    """
    path = Path(path)
    path = path / "model.ckpt" if path.is_dir() else path
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such model; train it, or name a folder that holds a model.ckpt")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        info, state = checkpoint["model"], checkpoint["state_dict"]
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a model.ckpt of dioscuri (a finished training writes one)") from error
    _check_schema(path, info, schema)
    _check_tensors(path, state, checkpoint.get("digest"))
    _check_header(path, info, checkpoint.get("model_digest"))
    _check_seed(path, [info])
    return {name.removeprefix("net."): value for name, value in state.items()}, info


def sealed_checkpoint(state: Mapping[str, Tensor], info: Mapping[str, Any]) -> dict[str, Any]:
    """What `model.ckpt` holds: weights, model.json, and the digests of both that `read_checkpoint` checks."""
    digests = {"digest": seals.tensors_digest(state), "model_digest": digest(info)}
    return {"state_dict": dict(state), "model": dict(info), **digests}


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
    header["digest"] = seals.tensors_digest(tensors)
    header["header_digest"] = digest(header)
    with atomic(path) as temporary:
        save_file(tensors, temporary, {"dioscuri": json.dumps(header, sort_keys=True)})


def schema_of(path: str | PathLike) -> str:
    """The schema of a released file, '' where it says none; `read_release` tells what is wrong with a file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as stream:
            return str(json.loads((stream.metadata() or {}).get("dioscuri", "{}")).get("schema", ""))
    except (SafetensorError, OSError, ValueError, AttributeError):
        return ""


def read_release(path: str | PathLike, schema: str) -> tuple[dict[str, Any], list[dict[str, Tensor]]]:
    """Header (with `models`, each one's model.json) and the weights of each network of a released file."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file of released models")
    try:
        seals.verify(path)
        with safe_open(path, "pt") as stream:
            header = json.loads((stream.metadata() or {}).get("dioscuri", "{}"))
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (not a mapping)
    except seals.DamagedFile:
        raise
    except (SafetensorError, OSError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: not a safetensors file of released models, or a damaged one") from error
    if not isinstance(header, dict):
        raise ValueError(f"{path}: its header is no mapping; fetch this model again")
    _check_schema(path, header, schema)
    _check_tensors(path, tensors, header.get("digest"))
    _check_header(path, header, header.pop("header_digest", None))
    _check_seed(path, header.get("models", ()))
    states: list[dict[str, Tensor]] = [{} for _ in header.get("models", ())]
    for name, value in tensors.items():
        k, _, rest = name.partition("/")
        if not (k.isdecimal() and int(k) < len(states)):
            raise ValueError(f"{path}: a tensor '{name}', but there are {len(states)} models; pack the release again")
        states[int(k)][rest] = value
    return header, states


def network_of(
    path: str | PathLike, build: Callable[[dict[str, Any]], Network], info: dict[str, Any], state: Mapping[str, Tensor]
) -> Network:
    """What `build` makes of a header, with the weights of its file; what does not fit is an error that names it."""
    try:
        net = build(info)
        wanted = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    except (LookupError, TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise ValueError(
            f"{path}: its header describes no network ({error!r}); train or fetch this model again"
        ) from error
    found = {name: tuple(value.shape) for name, value in state.items()}
    if wanted != found:
        names = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        problems = "; ".join(
            f"'{n}': {found.get(n, 'nothing')}, expected {wanted.get(n, 'nothing')}" for n in names[:3]
        )
        raise ValueError(f"{path}: weights do not fit the network that its header describes: {problems}")
    net.load_state_dict(dict(state))
    return net.eval()


def _check_tensors(path: Path, tensors: Mapping[str, Tensor], digest: str | None) -> None:
    """Weights are finite numbers, and those that were written."""
    for name, value in tensors.items():
        if not torch.isfinite(value).all():
            raise ValueError(f"{path}: tensor '{name}' holds NaN or infinite weights: train or fetch this model again")
    if digest is not None and seals.tensors_digest(tensors) != digest:
        raise seals.DamagedFile(f"{path}: its weights do not match their checksum: train or fetch this model again")


def _check_header(path: Path, header: Mapping[str, Any], expected: str | None) -> None:
    """What the file says of its networks is what was written with them; files of earlier versions have no digest."""
    found = {name: value for name, value in header.items() if name != "header_digest"}
    if expected is not None and digest(found) != expected:
        raise seals.DamagedFile(f"{path}: its header does not match its checksum: train or fetch this model again")


def _check_seed(path: Path, infos: Sequence[Mapping[str, Any]]) -> None:
    """A file in a folder `seed<n>` is that seed's own; a copy of another would count one network twice."""
    if not (named := re.fullmatch(r"seed(\d+)", path.parent.name)):
        return
    strange = [info.get("seed") for info in infos if str(info.get("seed")) != named[1]]
    if strange:
        raise ValueError(f"{path}: holds a network of seed {strange[0]}, a copy: train seed {named[1]} again")


def _check_schema(path: Path, info: dict[str, Any], schema: str) -> None:
    found = info.get("schema", "none")
    if found != schema:
        version = info.get("version", "unknown")
        raise ValueError(
            f"{path}: expected schema '{schema}', found '{found}' (written by version {version}; this is "
            f"{__version__}): train again, or use the matching version"
        )
