"""Pack trained models and velocity templates into the small files that `dioscuri predict` needs."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dioscuri.arms import Arm


def pack_lamost_mrs(
    models: Mapping[str, Sequence[Path]],
    library_file: Path,
    evidence_file: str | os.PathLike,
    arms: Sequence["Arm"],
    folder: Path,
    provenance: Mapping,
) -> None:
    """Write `<arm>.safetensors` (all seeds of an arm), `templates.h5` and `evidence.json` into `folder`.

    `models[arm]` are the folders of the trained models; the velocity templates come from the same library as
    the mocks, so that observations are shifted to the very rest frame in which the models were trained.
    """
    from dioscuri.catalogs.evidence import Evidence
    from dioscuri.learn.spectra.models import load_model, save_released
    from dioscuri.libraries.grid import SpectralLibrary
    from dioscuri.spectra.templates import save_templates
    from dioscuri.spectra.velocity import Templates

    library = SpectralLibrary.load(library_file)
    templates = {arm.name: (arm, Templates.from_library(library, arm)) for arm in arms}
    save_templates(folder / "templates.h5", templates, {**provenance, "library": library.provenance})
    Evidence.load(evidence_file).save(folder / "evidence.json", {**provenance})
    for arm in arms:
        save_released(folder / f"{arm.name}.safetensors", [load_model(m, arm.name) for m in models[arm.name]])
