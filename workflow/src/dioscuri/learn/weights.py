"""Weights of timm's networks from their publishers, for machines without a network: fetched with resume, checked."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dioscuri.io import atomic
from dioscuri.learn.features.networks import TIMM_MODELS
from dioscuri.transfer import DownloadError, alone_in, check_address, fetch_and_record

HUB_URL = "https://huggingface.co"
MANIFEST = "weights.sha256"  # in the format of sha256sum: `sha256sum -c` reads it
OVERLAY = "weights.yaml"  # settings that name the files

Key = tuple[str, ...]


def wanted(settings: Mapping[str, Any]) -> dict[Key, str]:
    """Where a run with checked settings would take weights from the hub: key → model of timm."""
    found: dict[Key, str] = {}
    for survey in {"csst", "hst"} & {*settings["surveys"]}:
        for name in settings[survey]["train_networks"]:
            network = settings[survey]["networks"][name]
            if network["layers"]["weights"] == "hub":
                found[survey, "networks", name, "layers", "weights"] = network["architecture"]
    for name in settings["protostar"]["use"] if "protostar" in settings["surveys"] else []:
        network = settings["protostar"]["networks"][name]
        if network["weights"] == "hub" and network["architecture"] in TIMM_MODELS:  # others bring theirs in a package
            found["protostar", "networks", name, "weights"] = TIMM_MODELS[network["architecture"]]
    return dict(sorted(found.items()))


def download_weights(
    folder: str | os.PathLike,
    models: Mapping[Key, str],
    *,
    base_url: str = HUB_URL,
    checksums: str | os.PathLike | None = None,
    attempts: int = 5,
    pause: float = 2.0,
    timeout: float = 60.0,
) -> dict[str, Path]:
    """Fetch the weights of models of timm into `folder`: model → file; `OVERLAY` there holds settings that use them.

    Those on the Hugging Face hub come from `base_url` (a mirror may stand in for it), the others from where timm says.
    A broken transfer goes on where it stopped, within a call and at the next one. The sha256 of the first download is
    recorded in `MANIFEST`, and every file is held against it and against `checksums` (a file of sha256sum's format).
    """
    check_address(base_url, HUB_URL)
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    with alone_in(folder):
        for model in dict.fromkeys(models.values()):
            address = address_of(model, base_url)
            path = folder / f"{model}{Path(address).suffix}"
            limits: dict[str, Any] = {"attempts": attempts, "pause": pause, "timeout": timeout}
            fetch_and_record(address, path, folder / MANIFEST, _check, checksums=checksums, **limits)
            files[model] = path.resolve()
        with atomic(folder / OVERLAY) as temporary:
            temporary.write_text(_overlay({key: files[model] for key, model in models.items()}), encoding="utf-8")
    return files


def address_of(model: str, base_url: str = HUB_URL) -> str:
    """Where the weights of a model of timm lie."""
    import timm

    cfg: Any = timm.get_pretrained_cfg(model)
    return f"{base_url}/{cfg.hf_hub_id}/resolve/main/model.safetensors" if cfg.hf_hub_id else cfg.url


def _check(path: Path) -> None:
    """Refuse what holds no tensors; nothing of a file is run."""
    import torch
    from safetensors import safe_open

    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as stream:
                names = list(stream.keys())
        else:
            names = list(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # safetensors, pickle, zip and torch each have their own for a file of another kind
        raise DownloadError(f"{path}: expected weights of a network, found {error}; delete it and run again") from error
    if not names:
        raise DownloadError(f"{path}: expected weights of a network, found no tensor in it; delete it and run again")


def _overlay(files: Mapping[Key, Path]) -> str:
    """Settings, as YAML, that name the files."""
    import yaml

    nested: dict[str, Any] = {}
    for key, path in files.items():
        place = nested
        for part in key[:-1]:
            place = place.setdefault(part, {})
        place[key[-1]] = str(path)
    return yaml.safe_dump(nested, sort_keys=False, allow_unicode=True)
