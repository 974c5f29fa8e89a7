"""Which maps does `predict --survey protostar` believe? Unseen toy systems, foreign skies and real maps, as files.

    python benchmarks/rates/protostar_domain.py [MAP.fits DISTANCE_PC …]     some minutes of a core
    python benchmarks/rates/protostar_domain.py las [MAP.fits DISTANCE_PC …] without what is smoother than 2 arcsec
    python benchmarks/rates/protostar_domain.py of FOLDER [NETWORK]          of protostar_features.py: a minute

The embedded catalogue serves; systems asked for are not in it. One row per map: its status. `of` counts how many images
of systems left out of the reference catalogue are called far, way by way of observing, network by network.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits

from dioscuri.analogues.catalogue import read_metadata
from dioscuri.analogues.domain import domains
from dioscuri.analogues.features import read_features
from dioscuri.analogues.observation.interferometer import Response
from dioscuri.analogues.observation.mock_observation import write_observation
from dioscuri.analogues.simulation.collapse import simulate
from dioscuri.predict import predict
from dioscuri.predict.protostar import CHANNEL, TOY

UNSEEN = range(101, 107)  # seeds that no catalogue has
NIGHTS = range(1)
SIZE = {"separation_au": 200.0, "fov_au": 1600.0, "n_pixels": 96}
LAS = 2.0  # arcsec
PER_SYSTEM = 17  # images of each system left out, evenly drawn


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


def left_out(folder: Path, network: str = "*") -> None:
    """Prints the share of unseen images that are called far from every model, and where the others lie."""
    system = np.asarray(read_metadata(sorted(folder.glob("images*.h5")))["system"])
    for path in sorted(folder.glob(f"*/{network}.h5")):
        features, far = read_features(path).features, []
        for name in np.unique(system):
            own = np.flatnonzero(system == name)
            own = own[np.linspace(0, len(own) - 1, PER_SYSTEM).astype(int)]
            rest = system != name
            far.append([one.nearest / one.limit for one in domains(features[own], features[rest], system[rest])])
        share, median = np.mean(np.array(far) > 1), np.median(far)
        worst = np.mean(np.array(far) > 1, axis=1).max()
        print(
            f"{path.parent.name:12s} {path.stem:20s} {len(far)} systems, {np.size(far)} images: {share:.1%} far (worst "
            f"system {worst:.0%}); median distance {median:.2f} of the limit",
            flush=True,
        )


def main() -> None:
    maps = sys.argv[1:]
    if maps[:1] == ["of"]:
        left_out(Path(maps[1]), *maps[2:])
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
