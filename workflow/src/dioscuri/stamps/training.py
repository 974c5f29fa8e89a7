"""Trains a network on the stamps of a case: fresh ones every epoch, or the same from a file."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from dioscuri.io import digest
from dioscuri.psf.effective import Psf
from dioscuri.stamps.epochs import FreshStamps, Observer, StoredStamps
from dioscuri.stamps.mocks import Law, Noise, Renderer


def train_on_stamps(
    out_dir: str | os.PathLike,
    validation: str | os.PathLike,
    train: str | os.PathLike | None,
    bank: str | os.PathLike,
    assumed_psf: str | os.PathLike,
    *,
    network: Mapping[str, Any],
    law: Law,
    noise: Noise,
    n_train: int,
    stamps_seed: int,
    seed: int,
    max_epochs: int,
    threads: int = 1,
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train one network and write `model.ckpt`, `history.csv` and `model.json` into `out_dir`.

    validation, train: files of stamps; without `train` every epoch has `n_train` new stamps of `law` and `noise`
    with the PSFs of `bank`, drawn from `stamps_seed`. assumed_psf: the one that fits take for the true one.
    network: architecture, rendering, layers and training (see `image_training.train`). about: survey, case and
    the name of the network. All that a user of the model needs to know of its stamps is its `context`.
    """
    from dioscuri.learn.images.training import train as train_network

    psf, psfs = Psf.load(assumed_psf), Psf.load(bank)
    observer = Observer.of(network["rendering"], noise.variance, psf, psfs)
    if train:
        epochs: FreshStamps | StoredStamps = StoredStamps([train], observer)
    else:
        epochs = FreshStamps(n_train, law, Renderer(psfs), noise, observer, stamps_seed)
    context = {
        **(about or {}),
        "law": asdict(law),
        "noise": asdict(noise),
        "psf": {"digest": digest(psf.samples.tolist()), "pixel_scale": psf.pixel_scale, "provenance": psf.provenance},
        "bank": psfs.provenance,
    }
    return train_network(
        epochs,
        StoredStamps([validation], observer)(),
        {"architecture": network["architecture"], **network["layers"]},
        seed,
        out_dir,
        max_epochs=max_epochs,
        rendering=network["rendering"],
        context=context,
        threads=threads,
        **network["training"],
    )
