"""Files of released models beside the networks: HDF5 of the LRS line, velocity templates, JSON of all lines."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from others import words
from runner import ANY, Kind, Mutation, bits_flipped

from dioscuri.catalogs.evidence import Evidence
from dioscuri.evaluation import lrs_models
from dioscuri.io import write_json
from dioscuri.learn import platt
from dioscuri.paths import models_folder
from dioscuri.spectra import lrs_calibration
from dioscuri.spectra.compressed import Components
from dioscuri.spectra.pair_fit import PairFitter
from dioscuri.spectra.templates import load_templates

LRS = models_folder() / "lamost_lrs"
SEALED: dict[str, Mutation] = {**ANY, "bits": bits_flipped, "more bits": bits_flipped, "one bit": bits_flipped}


def hdf5(source: Path, title: str, read: Callable[[Path], dict[str, np.ndarray]]) -> Kind:
    return Kind(title, source.name, source.read_bytes(), SEALED, read, tolerance=0.0)


def components(folder: Path) -> Kind:
    return hdf5(LRS / "components.h5", "LRS components", lambda path: vars(Components.load(path)))


def fits_of_pairs(folder: Path) -> Kind:
    return hdf5(LRS / "pair_fit.h5", "LRS fits", lambda path: vars(PairFitter.load(path)))


def calibration(folder: Path) -> Kind:
    def read(path: Path) -> dict[str, np.ndarray]:
        found = lrs_calibration.load(path)
        return {f"{name} {key}": np.asarray(value) for name, one in found.items() for key, value in vars(one).items()}

    return hdf5(LRS / "calibration.h5", "LRS calibration", read)


def templates(folder: Path) -> Kind:
    def read(path: Path) -> dict[str, np.ndarray]:
        arm, found = load_templates(path, ["velocity"])["velocity"]
        return {"flux": found.flux, "wave": found.wave, "teff": found.teff, "n": np.array([arm.n_pixels])}

    return hdf5(LRS / "templates.h5", "velocity templates", read)


def as_json(path: Path, title: str, read: Callable[[Path], dict[str, np.ndarray]], *pairs: tuple[bytes, bytes]) -> Kind:
    """A sealed JSON file: bits, and words that a hand may change."""
    mutations = {**SEALED, "words": words(*pairs), "other words": words(*pairs)}
    return Kind(title, path.name, path.read_bytes(), mutations, read, tolerance=0.0)


def _regressions(found: Evidence) -> dict[str, np.ndarray]:
    models = {f"pair {arm}": model for arm, model in found.pair.items()}
    models |= {f"single {arm}": model for arm, model in found.single.items()} | {"both": found.both}
    return {f"{name} {key}": np.asarray(value) for name, one in models.items() for key, value in vars(one).items()}


def evidence(folder: Path) -> Kind:
    path = folder / "evidence.json"
    Evidence.load(models_folder() / "lamost_mrs/evidence.json").save(path)
    return as_json(
        path, "evidence.json", lambda path: _regressions(Evidence.load(path)),
        (b"16.0", b"61.0"), (b"intercept", b"interzept"), (b"0.", b"1."), (b"blue", b"bleu"), (b"[", b""),
    )  # fmt: skip


def ranges(folder: Path) -> Kind:
    for name in ("components.h5", "pair_fit.h5", "range.json"):
        shutil.copy(LRS / name, folder)
    content = json.loads((path := folder / "range.json").read_text(encoding="utf-8"))
    content.pop("digest", None)
    write_json(path, content, sealed=True)

    def read(damaged: Path) -> dict[str, np.ndarray]:
        path.write_bytes(damaged.read_bytes())
        try:
            limits = lrs_models.load_folder(folder)[2]
        except ValueError as error:
            raise ValueError(str(error).replace(str(path), str(damaged))) from error
        return {name: np.asarray(values, float) for name, values in limits.items()}

    return as_json(
        path, "range.json", read, (b"4", b"3"), (b"teff", b"tefg"), (b"chi2_max", b"chi3"), (b"5", b"6"), (b"{", b"["),
    )  # fmt: skip


def image_calibration(folder: Path) -> Kind:
    (network := folder / "compact.safetensors").write_bytes(b"any")
    rng = np.random.default_rng(1)
    p = rng.uniform(0.1, 0.9, 2000)
    platt.write(path := folder / "calibration.json", platt.fit(p, rng.random(2000) < p), [network], {"a": 1})

    def read(path: Path) -> dict[str, np.ndarray]:
        found = platt.read(path, [network])
        return {"coefficients": np.array(found.coefficients), "ends": np.array([found.low, found.high, found.n])}

    return as_json(
        path, "calibration.json", read, (b"2000", b"20"), (b"low", b"lou"), (b"0.1", b"0.2"), (b"networks", b"nets"),
    )  # fmt: skip


MODELS = (components, fits_of_pairs, calibration, templates, evidence, ranges, image_calibration)
