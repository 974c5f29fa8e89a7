"""Pack trained models and velocity templates into the small files that `dioscuri predict` needs."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from dioscuri.io import atomic, open_shard

if TYPE_CHECKING:
    from dioscuri.arms import Arm
    from dioscuri.spectra.velocity import Templates

TEMPLATE_SCHEMA = "dioscuri/templates/1"


def pack_lamost_mrs(
    models: Mapping[str, Sequence[Path]],
    library_file: Path,
    arms: Sequence["Arm"],
    folder: Path,
    provenance: Mapping,
) -> None:
    """Write `<arm>.safetensors` (all seeds of an arm) and `templates.h5` into `folder`.

    `models[arm]` are the folders of the trained models; the velocity templates come from the same library as
    the mocks, so that observations are shifted to the very rest frame in which the models were trained.
    """
    from dioscuri.learn.spectra.inference import load_model, save_released
    from dioscuri.libraries.grid import SpectralLibrary
    from dioscuri.spectra.velocity import Templates

    library = SpectralLibrary.load(library_file)
    templates = {arm.name: (arm, Templates.from_library(library, arm)) for arm in arms}
    save_templates(folder / "templates.h5", templates, {**provenance, "library": library.provenance})
    for arm in arms:
        save_released(folder / f"{arm.name}.safetensors", [load_model(m, arm.name) for m in models[arm.name]])


def save_templates(
    path: str | os.PathLike, templates: Mapping[str, tuple["Arm", "Templates"]], provenance: Mapping
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


def load_templates(path: str | os.PathLike, arms: Sequence[str]) -> dict[str, tuple["Arm", "Templates"]]:
    """Velocity templates of `arms` with their grids; an arm that the file lacks is an error that names both."""
    from dioscuri.arms import Arm
    from dioscuri.spectra.velocity import Templates

    if not Path(path).is_file():
        raise ValueError(f"{path}: no velocity templates there; give --models a folder made by `make release`")
    with open_shard(path, TEMPLATE_SCHEMA) as stream:
        unknown = [name for name in arms if name not in stream]
        if unknown:
            raise ValueError(f"{path}: no templates of arm {', '.join(unknown)}; it has {', '.join(stream)}")
        found = {}
        for name in arms:
            group = stream[name]
            facts = {key: group.attrs[key].item() for key in ("wave_min", "wave_max", "n_pixels", "resolution")}
            found[name] = (
                Arm(name, **facts),
                Templates(group["wave"][:], group["flux"][:], group["teff"][:]),
            )
    return found
