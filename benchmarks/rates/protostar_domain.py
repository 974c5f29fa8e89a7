"""Which maps does `predict --survey protostar` believe? Unseen toy systems, foreign skies and real maps, as files.

    python benchmarks/rates/protostar_domain.py [MAP.fits DISTANCE_PC …]     some minutes of a core

The embedded catalogue serves; systems asked for are not in it. One row per map: its status. With `las` before them the
observations of unseen systems have lost what is smoother than 2 arcsec, and `predict` is told so.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits

from dioscuri.analogues.observation.interferometer import Response
from dioscuri.analogues.observation.mock_observation import write_observation
from dioscuri.analogues.simulation.collapse import simulate
from dioscuri.predict import predict
from dioscuri.predict.protostar import CHANNEL, TOY

UNSEEN = range(101, 113)  # seeds that no catalogue has
NIGHTS = range(1)
SIZE = {"separation_au": 200.0, "fov_au": 1600.0, "n_pixels": 96}


LAS = 2.0  # arcsec


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


def main() -> None:
    maps = sys.argv[1:]
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
