"""Velocity templates: in the small file that is released with the networks, or made of a library."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from dioscuri.arms import Arm
from dioscuri.io import atomic, open_hdf5, open_shard
from dioscuri.libraries.grid import SpectralLibrary
from dioscuri.reading import reading
from dioscuri.spectra.velocity import Templates, VelocityMeter

TEMPLATE_SCHEMA = "dioscuri/templates/2"


def velocity_meters(path: str | os.PathLike, arms: Sequence[Arm]) -> dict[str, VelocityMeter]:
    """A meter for each arm: with the templates of a released file, or those of a library, as `path` holds them."""
    return {arm.name: VelocityMeter(templates, arm) for arm, templates in zip(arms, templates_of(path, arms))}


def templates_of(path: str | os.PathLike, arms: Sequence[Arm]) -> list[Templates]:
    """Templates of each of `arms`, of a released file or of a library, as `path` holds them."""
    with open_hdf5(path) as stream:
        released = stream.attrs.get("schema") == TEMPLATE_SCHEMA
    if released:
        stored = load_templates(path, [arm.name for arm in arms])
        strange = [arm.name for arm in arms if stored[arm.name][0] != arm]
        if strange:
            raise ValueError(f"{path}: templates of another grid in {', '.join(strange)} (instruments in surveys.yaml)")
        return [stored[arm.name][1] for arm in arms]
    library = SpectralLibrary.load(Path(path))
    return [Templates.from_library(library, arm) for arm in arms]


def save_templates(
    path: str | os.PathLike, templates: Mapping[str, tuple[Arm, Templates]], provenance: Mapping
) -> None:
    """Write velocity templates of every arm, with the arm's grid, into one HDF5 file."""
    with atomic(path) as temporary, h5py.File(temporary, "w") as stream:
        stream.attrs["schema"] = TEMPLATE_SCHEMA
        stream.attrs["provenance"] = json.dumps(provenance)
        for name, (arm, template) in templates.items():
            group = stream.create_group(name)
            for key in ("wave_min", "wave_max", "n_pixels", "resolution"):
                group.attrs[key] = getattr(arm, key)
            group["wave"] = template.wave
            group["flux"] = np.asarray(template.flux, np.float32)
            group["teff"] = template.teff
            group["vsini"] = template.vsini


def load_templates(path: str | os.PathLike, arms: Sequence[str]) -> dict[str, tuple[Arm, Templates]]:
    """Velocity templates of `arms` with their grids; an arm that the file lacks is an error that names both."""
    if not Path(path).is_file():
        raise ValueError(f"{path}: no velocity templates there; give --models a folder made by `make release`")
    with reading(path, "velocity templates (`make release` writes them)"), open_shard(path, TEMPLATE_SCHEMA) as stream:
        unknown = [name for name in arms if name not in stream]
        if unknown:
            raise ValueError(f"{path}: no templates of arm {', '.join(unknown)}; it has {', '.join(stream)}")
        found = {}
        for name in arms:
            group = stream[name]
            facts = {key: group.attrs[key].item() for key in ("wave_min", "wave_max", "n_pixels", "resolution")}
            found[name] = (
                Arm(name, **facts),
                Templates(*(group[key][:] for key in ("wave", "flux", "teff", "vsini"))),
            )
    return found
