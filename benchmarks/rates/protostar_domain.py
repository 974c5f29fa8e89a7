"""Which maps does `predict --survey protostar` believe? Unseen toy systems, foreign skies and real maps, as files.

    python benchmarks/rates/protostar_domain.py [MAP.fits DISTANCE_PC …]     some minutes of a core
    python benchmarks/rates/protostar_domain.py las [MAP.fits DISTANCE_PC …] without what is smoother than 2 arcsec
    python benchmarks/rates/protostar_domain.py of FOLDER [NETWORK]          of protostar_features.py: 6 minutes

The embedded catalogue serves; systems asked for are not in it. One row per map: its status. `of` counts how many images
of systems left out of the reference catalogue are called far, and how many foreign skies, way by way of observing.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits
from foreign_skies import SKIES, draw

from dioscuri.analogues.catalogue import read_frame, read_metadata, sample_images, shape_of_images
from dioscuri.analogues.domain import domains
from dioscuri.analogues.features import measure, read_features
from dioscuri.analogues.observation.interferometer import Response
from dioscuri.analogues.observation.mock_observation import write_observation
from dioscuri.analogues.observation.query import DETECTED, observe_like
from dioscuri.analogues.search import SAMPLE, as_observed, stretch_of
from dioscuri.analogues.simulation.collapse import simulate
from dioscuri.config import load_config
from dioscuri.learn.features.networks import APERTURES, build
from dioscuri.predict import predict
from dioscuri.predict.protostar import CHANNEL, OFFLINE, TOY, default_network

CONFIG = Path(__file__).parents[2] / "config"
UNSEEN = range(101, 107)  # seeds that no catalogue has
NIGHTS = range(1)
SIZE = {"separation_au": 200.0, "fov_au": 1600.0, "n_pixels": 96}
LAS = 2.0  # arcsec
PER_SYSTEM = 17  # images of each system left out, evenly drawn
DRAWS, SEED = 60, 31  # foreign skies of each kind


def status(path: Path, distance: float, **where) -> str:
    """What the table says of a map, or why it was refused."""
    try:
        return predict("protostar", [path], distance=distance, **where)[0]["status"].iloc[0]
    except ValueError as error:
        return f"refused: {str(error).replace(str(path.parent), '…')}"


def foreign(image: np.ndarray) -> dict[str, np.ndarray]:
    """Skies (H, W) of the size and peak of `image` that no collapse makes."""
    y, x = np.indices(image.shape) - (np.array(image.shape)[:, None, None] - 1) / 2
    peak = image.max()
    noise = 2e-3 * peak * np.random.default_rng(3).normal(size=image.shape)
    point, galaxy = np.exp(-0.125 * (x**2 + y**2)), np.exp(-np.hypot(x, y / 0.3) / (0.15 * image.shape[1]))
    shapes = {"point source": point, "galaxy-like disc": galaxy}
    found = {f"{name}, {factor:g} × as bright": noise + factor * peak * shape
             for name, shape in shapes.items() for factor in (0.03, 1, 30)}  # fmt: skip
    return {"blank field": noise} | found


def left_out(folder: Path, network: str) -> None:
    """Prints the shares of images of unseen systems and of foreign skies that are called far, by observation."""
    settings = load_config([CONFIG / f"{name}.yaml" for name in ("config", "surveys", "reference")], {}).protostar
    shards, channel = sorted(map(str, folder.glob("images*.h5"))), settings.channels[0]
    system = np.asarray(read_metadata(shards)["system"])
    stretch = stretch_of(shards, channel, **settings.model_dump(include={"decades", "relative"}))
    frame, n_pixels = read_frame(shards[0]), shape_of_images(shards[0], channel)[-1]
    peak = float(np.median([np.nanmax(image) for image in sample_images(shards, channel, SAMPLE)]))
    nets = [build(network, "none" if network in OFFLINE else "hub"), build(APERTURES, "none")]
    nets = nets[: 1 if network == APERTURES else 2]
    for path in sorted(folder.glob(f"*/{network}.h5")):
        blocks, far = read_features(path).blocks, []
        for name in np.unique(system):
            own = np.flatnonzero(system == name)
            own = own[np.linspace(0, len(own) - 1, PER_SYSTEM).astype(int)]
            asked, rest = ([block[rows] for block in blocks] for rows in (own, system != name))
            far.append([not one.known for one in domains(asked, rest, system[system != name])])
        print(
            f"{path.parent.name:12s} {network:20s} {len(far)} systems, {np.size(far)} images: {np.mean(far):.1%} far "
            f"(worst system {np.mean(far, axis=1).max():.0%}, {np.any(far, axis=1).sum()} have any)",
            flush=True,
        )
        seen = settings.benchmark.observations.get(path.parent.name)
        query = None if seen is None else as_observed(shards, channel, seen.model_dump())
        given = (DRAWS, n_pixels, frame.pixel_au, frame.beam_au[0], peak)
        drawn = [draw(sky, *given, SEED + number) for number, sky in enumerate(SKIES.values())]
        images, factor = (np.concatenate(parts) for parts in zip(*drawn))
        detected = np.ones(len(images), bool)
        if query is not None:
            images = observe_like(images, [f"foreign {k}" for k in range(len(images))], query, SEED)
            detected = images.max(axis=(1, 2)) > DETECTED * query.noise
        told = ~np.array(
            [one.known for one in domains([measure(images, net, stretch) for net in nets], blocks, system)]
        )
        for name, rows in zip(SKIES, np.split(np.arange(len(images)), len(SKIES))):
            seen_of = rows[detected[rows]]
            decades = [seen_of[np.digitize(np.log10(factor[seen_of]), (-1, 0, 1)) == k] for k in range(4)]
            by = "  ".join(f"{told[part].sum():2d}/{len(part):2d}" for part in decades)
            print(f"    {name:12s} {told[seen_of].mean():5.0%} of {len(seen_of):2d} detected; by peak {by}", flush=True)


def main() -> None:
    maps = sys.argv[1:]
    if maps[:1] == ["of"]:
        left_out(Path(maps[1]), *(maps[2:] or [default_network()]))
        return
    lost = maps[:1] == ["las"]
    response, told = (Response(largest_scale=LAS), {"largest_scale": LAS}) if lost else (None, {})
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in UNSEEN:
            size = {name: TOY[name] for name in ("n_particles", "n_snapshots", "duration")}
            system = simulate(seed, separation_au=SIZE["separation_au"], **size)
            for night in NIGHTS:
                place = Path(folder) / f"{seed}-{night}"
                truth = write_observation(
                    place, system, channels=[CHANNEL], beam_au=60.0, seed=night, response=response, **SIZE
                )
                stars = {name: tuple(truth[name]) for name in ("primary", "secondary")} | told
                path = place / f"{CHANNEL}.fits"
                rows.append((f"unseen system {seed}, {night}", status(path, truth["distance_pc"], **stars)))
                print(*rows[-1], flush=True)
        with fits.open(path) as hdus:
            header, image = hdus[0].header, np.squeeze(hdus[0].data).astype(float)
        for name, sky in foreign(image).items():
            other = Path(folder) / "foreign.fits"
            fits.writeto(other, sky.astype(np.float32), header, overwrite=True)
            rows.append((name, status(other, truth["distance_pc"], **told)))
        header["RESTFRQ"] = 33e9
        fits.writeto(other, (image * (33 / 230) ** 3.5).astype(np.float32), header, overwrite=True)
        rows.append(("the same at 33 GHz", status(other, truth["distance_pc"], **told)))
    rows += [(path, status(Path(path), float(distance))) for path, distance in zip(maps[lost::2], maps[lost + 1 :: 2])]
    for name, words in rows:
        print(f"{name:40s} {words}")


if __name__ == "__main__":
    main()
