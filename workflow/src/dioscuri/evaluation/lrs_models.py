"""Makes, keeps and reads the models of LRS: components, fits and networks, in one folder."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dioscuri.io import read_json, write_json
from dioscuri.learn.model_files import schema_of
from dioscuri.learn.spectra import residual
from dioscuri.learn.spectra.dense import DenseSettings, Noise, Sample, generator_of, load_dense, save_dense, train_dense
from dioscuri.reading import reading
from dioscuri.spectra import lrs_frame
from dioscuri.spectra.compressed import Components, fit_components
from dioscuri.spectra.pair_fit import PairFitter, make_fitter

if TYPE_CHECKING:
    from dioscuri.learn.spectra.residual_training import Nights

log = logging.getLogger(__name__)

COMPONENTS, FITTER, RANGE = "components.h5", "pair_fit.h5", "range.json"
# Classes of the training by truth: what the HR diagram calls intermediate holds these mass ratios, and singles are
# singles; fainter companions and near twins belong to neither (Jing et al. 2025, §2.1: high ratios are not trained).
INTERMEDIATE = (0.6, 0.93)
CHI2_QUANTILE = 0.99
EVOLVED_QUANTILE = 0.02
NIGHTS = 2000  # systematics that training and tests draw from
CALM_KMS, CALM_MOON = 60.0, 0.03  # v sin i and share of moonlight of the mocks that fits are made of


def make_models(
    stars: Mapping[str, np.ndarray],
    flux: np.ndarray,
    width: float,
    folder: str | os.PathLike,
    window: tuple[float, float] = lrs_frame.WINDOW,
) -> None:
    """Components and fits of noise-free mocks: `stars` columns (N,), `flux` (N, L) normalised − 1, into `folder`.

    Pixels beyond `window` [Å] take no part, here nor in what these models train, fit and score.
    """
    folder = Path(folder)
    spectra = flux.astype(np.float32)
    components = fit_components(spectra, width, pixels=lrs_frame.kept(*window))
    projected = components.project(spectra)
    # Fits have a label for how broad lines are, none for moonlight: both polynomials are those of quieter spectra.
    calm = (stars["vsini1"] < CALM_KMS) & (stars["moon"] < CALM_MOON)
    quiet = {name: values[calm] for name, values in stars.items()}
    fitter = make_fitter(projected[calm], quiet, components.systematics)
    components.save(folder / COMPONENTS)
    fitter.save(folder / FITTER)
    single = calm & (stars["q"] == 0)
    seen = observed(projected[single], stars["snrg"][single], components, seed=1)
    prior = np.stack([stars["teff1"], stars["logg1"], stars["feh"]], axis=1)[single]
    fits = fitter.fit(seen, stars["snrg"][single], prior, np.array([350.0, 0.12, 0.35]))
    chi2 = np.minimum(fits.chi2_single, fits.chi2_pair)
    teff = np.percentile(stars["teff1"], [0.5, 99.5])
    # Dwarfs have a gravity for their temperature: a giant's fit ends below that of nearly all mocks.
    edges = np.arange(np.floor(teff[0] / 200) * 200, teff[1] + 200, 200.0)
    bins = np.digitize(stars["teff1"], edges)
    evolved = [
        [low + 100.0, float(np.quantile(stars["logg1"][bins == number], EVOLVED_QUANTILE))]
        for number, low in enumerate(edges, start=1)
        if (bins == number).sum() > 20
    ]
    limits = {"teff": teff.tolist(), "chi2_max": float(np.quantile(chi2, CHI2_QUANTILE)), "evolved": evolved}
    write_json(folder / RANGE, limits, sealed=True)


def observed(x: np.ndarray, snrg: np.ndarray, components: Components, seed: int) -> np.ndarray:
    """Components (S, K) as a night would show them."""
    import torch  # here: reading a model needs it, listing files does not

    noise = Noise(components.systematics, generator_of(seed))
    return noise(torch.tensor(x), torch.tensor(np.asarray(snrg), dtype=torch.float32)).numpy()


def true_classes(q: np.ndarray) -> np.ndarray:
    """1 intermediate, 0 single, −1 neither, (N,), by the true mass ratio (0: single)."""
    return np.select([q == 0, (q > INTERMEDIATE[0]) & (q < INTERMEDIATE[1])], [0, 1], -1)


def train_network(
    network: str,
    stars: Mapping[str, np.ndarray],
    flux: np.ndarray,
    classes: np.ndarray,
    components: Components,
    seed: int,
    path: str | os.PathLike,
    epochs: int | None = None,
    observed: bool = False,
) -> None:
    """Train one `network` (dense: on components; cnn: on pixels) on spectra of `classes` 0 and 1; write it to `path`.

    `observed`: real spectra, which have their noise; mocks are given it anew in every epoch.
    """
    used = classes >= 0
    y, snrg, group = classes[used] == 1, stars["snrg"][used], stars["system_id"][used]
    if network == "cnn":
        from dioscuri.learn.spectra.residual_training import ResidualSettings, train_residual  # needs Lightning

        settings = ResidualSettings(epochs=epochs or ResidualSettings.epochs)
        sample = Sample(np.ascontiguousarray(flux[used]), y, snrg, group, observed)
        train_residual(sample, nights_of(components), seed, path, settings)
        return
    sizes = DenseSettings(epochs=epochs or DenseSettings.epochs)
    sample = Sample(components.project(flux[used].astype(np.float32)), y, snrg, group, observed)
    net, history = train_dense(sample, components.systematics, seed, sizes)
    info: dict[str, Any] = asdict(sizes) | {"seed": seed, "observed": observed, "history": history}
    save_dense(path, [net], [info | {"n_binaries": int(y.sum()), "n_singles": int((~y).sum())}])
    log.info("%s", history[-1])


def load_networks(path: str | os.PathLike) -> tuple[list[Any], dict[str, Any]]:
    """The networks of a file, of whatever kind, and its header."""
    return residual.load_residual(path) if schema_of(path) == residual.SCHEMA else load_dense(path)


def nights_of(components: Components) -> "Nights":
    """Noise and systematics on the pixels that these components hold."""
    from dioscuri.learn.spectra.residual_training import Nights

    bank = lrs_frame.normalised(lrs_frame.systematics(np.random.default_rng(0), NIGHTS), components.width)
    return Nights(bank, lrs_frame.noise_curve(), components.weight > 0)


def seen_spectra(flux: np.ndarray, snrg: np.ndarray, components: Components, seed: int) -> np.ndarray:
    """Noise-free spectra (S, L) as nights show them, float32."""
    import torch  # here: reading a model needs it, listing files does not

    nights, generator = nights_of(components), generator_of(seed)
    parts = [slice(i, i + 1024) for i in range(0, len(flux), 1024)]
    shown = [
        nights(torch.from_numpy(flux[p].astype(np.float32)), torch.tensor(snrg[p], dtype=torch.float32), generator)
        for p in parts
    ]
    return torch.cat(shown).numpy()


def load_folder(folder: str | os.PathLike) -> tuple[Components, PairFitter, dict[str, Any]]:
    """Components, fits and range of a folder made by `make_models`."""
    folder = Path(folder)
    missing = [name for name in (COMPONENTS, FITTER, RANGE) if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{folder}: no {', '.join(missing)}; make the models of lamost_lrs there (`make release`)")
    limits = read_json(folder / RANGE, "where the models of lamost_lrs hold (`make release` writes it)")
    _check_range(folder / RANGE, limits)
    return Components.load(folder / COMPONENTS), PairFitter.load(folder / FITTER), limits


def _check_range(path: Path, limits: Mapping[str, Any]) -> None:
    """Raise ValueError where the limits are not what `make_models` writes."""
    with reading(path, "teff [low, high], chi2_max and evolved [[Teff, log g], …]; make it again"):
        teff, evolved = np.asarray(limits["teff"], float), np.asarray(limits["evolved"], float)
        if teff.shape != (2,) or not 2000 < teff[0] < teff[1] < 60000 or not 0 < limits["chi2_max"] < np.inf:
            raise ValueError(f"teff = {limits['teff']}, chi2_max = {limits['chi2_max']}")
        if evolved.ndim != 2 or evolved.shape[1] != 2 or not (np.isfinite(evolved).all() and len(evolved)):
            raise ValueError(f"evolved = {limits['evolved']}")
        if not (np.diff(evolved[:, 0]) > 0).all():
            raise ValueError("temperatures of 'evolved' do not ascend")


def pack(models: Sequence[str | os.PathLike], path: str | os.PathLike) -> None:
    """All seeds in one file."""
    nets, infos = [], []
    for model in models:
        found, header = load_networks(model)
        nets += found
        infos += header["models"]
    save = residual.save_residual if header["schema"] == residual.SCHEMA else save_dense
    save(path, nets, infos)
