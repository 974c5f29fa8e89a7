"""Analogues of one observed map without a workflow: ranks and estimates from the embedded catalogue or the user's."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import dioscuri
from dioscuri import door
from dioscuri.analogues.catalogue import METADATA, read_channels, read_frame
from dioscuri.analogues.observation.maps import check_channel, read_map
from dioscuri.analogues.observation.query_files import load_query
from dioscuri.analogues.search import REGRESSION, measure_catalogue, prepare_query, rank_query
from dioscuri.analogues.synthetic import CHANNELS
from dioscuri.io import digest, read_provenance
from dioscuri.learn.features.lite import LITE, weights_of_package
from dioscuri.learn.features.networks import NETWORKS, WEIGHT_FILES
from dioscuri.machine import cache_folder

# The embedded catalogue: small enough to be simulated while one waits, once.
TOY = {"n_systems": 24, "n_particles": 3000, "n_snapshots": 16, "duration": 60.0, "n_pixels": 96, "field": 1600.0}
TOY_BEAM = 50.0  # AU
SEPARATIONS = (50.0, 600.0)  # AU: what the toy's beam resolves and its images and orbits hold
CHANNEL, METRIC = "continuum_1300um", "euclidean"
OFFLINE = ("random_cnn", "apertures")  # networks without weights
SCALE_FEATURES = True
CUT = {"kind": "quantile", "share": 0.0228, "minimum": 10}
DECADES = 4.0
SUFFIXES, WHAT = door.FITS, "maps"
OPTIONS = (
    "distance", "primary", "secondary", "position_angle", "separation", "zoom", "systemic_kms", "noise",
    "field", "largest_scale", "uv", "antennas", "hour_angles", "latitude", "calibration_error",
    "channel", "catalogue", "network", "weights", "top",
)  # fmt: skip
COLUMNS = ("rank", "image_id", "distance", "z", "age1", "m1", "m2", "separation", "disc_size1", "mdot1")
UNITS = METADATA | {"m_total": "Msun"}
DIGITS = {"age1": 1, "separation": 0, "disc_size1": 0, "mdot1": 7}
CAVEAT = "toy catalogue (no magnetic fields, no radiation transfer): a demonstration, no measurement"


def embedded_catalogue(separation_au: float, channel: str, folder: Path | None = None) -> list[Path]:
    """The shards of the toy catalogue at a projected separation; what is not yet there is simulated."""
    from tqdm import tqdm

    from dioscuri.analogues.simulation.collapse import simulate
    from dioscuri.analogues.simulation.system import read_system, write_system
    from dioscuri.analogues.synthetic import write_system_catalogue

    folder = folder or cache_folder()
    size = {name: TOY[name] for name in ("n_particles", "n_snapshots", "duration")}
    systems = folder / f"toy-{digest([size, separation_au, _code('simulation')])}"
    # How many there are does not change the others.
    alike = {name: value for name, value in TOY.items() if name != "n_systems"}
    images = folder / f"toy-{digest([alike, TOY_BEAM, separation_au, channel, _code('simulation', 'observation')])}"
    shards = []
    numbers = range(int(TOY["n_systems"]))
    for number in tqdm(numbers, desc="embedded catalogue", unit="system", disable=None, leave=False):
        shard, path = images / f"system{number:03d}.h5", systems / f"system{number:03d}.h5"
        if not shard.exists():
            if not path.exists():
                write_system(path, simulate(number, **size, separation_au=separation_au), {"catalogue": "toy"})  # type: ignore[arg-type]
            write_system_catalogue(
                shard,
                read_system(path),
                number,
                separation_au=separation_au,
                n_pixels=int(TOY["n_pixels"]),
                fov_au=TOY["field"],
                beam_au=(TOY_BEAM, TOY_BEAM, 0.0),
                channels=[channel],
            )
        shards.append(shard)
    return shards


def _code(*rooms: str) -> str:
    """Digest of the code that makes the embedded catalogue: other code, another catalogue."""
    folder = Path(dioscuri.__file__).parent / "analogues"
    files = [path for room in rooms for path in sorted((folder / room).glob("*.py"))]
    return digest([path.read_text(encoding="utf-8") for path in [*files, folder / "synthetic.py"]])


def predict(
    paths: Sequence[Path],
    *,
    distance: float | None = None,
    primary: tuple[float, float] | None = None,
    secondary: tuple[float, float] | None = None,
    position_angle: float = 0.0,
    separation: float = 200.0,
    zoom: float = 1.0,
    systemic_kms: float = 0.0,
    noise: float | None = None,
    field: float | None = None,
    largest_scale: float | None = None,
    uv: str | Path | None = None,
    antennas: str | Path | None = None,
    hour_angles: tuple[float, float] = (-1.0, 1.0),
    latitude: float | None = None,
    calibration_error: float = 0.0,
    channel: str = CHANNEL,
    catalogue: Sequence[str | Path] = (),
    network: str | None = None,
    weights: str = "hub",
    top: int = 50,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Ranked analogues of one map (the `top` nearest images, with their metadata), and what else was found.

    distance [pc] must be given; primary and secondary [deg] where known. separation [AU, projected]: of the images
    of the embedded catalogue, which serves where no shards are given in `catalogue`. The information holds the
    estimated parameters. systemic_kms: of the object. noise [Jy/sr, measured where not given], field [AU] that is
    compared, and what the interferometer lost (largest_scale [arcsec], or uv coverage from `uv` or from `antennas`
    over `hour_angles` [h]) and how well its flux scale is known: as in the workflow's `queries`. network: by default
    EfficientNet-Lite0 where its weights are installed, the random CNN otherwise. Raises ValueError for a map that
    cannot be of this channel.
    """
    if len(paths) != 1:
        raise ValueError(f"survey protostar: found {len(paths)} maps; accepted: one map of one object at a time")
    if distance is None:
        raise ValueError("survey protostar: the distance is missing; give --distance in pc, which turns arcsec into AU")
    network = network or default_network()
    _check_options(distance, separation, zoom, top, network, weights)
    telescope: dict[str, Any] = {"largest_scale": largest_scale, "hour_angles": hour_angles, "latitude": latitude}
    telescope |= {"calibration_error": calibration_error, "noise": noise, "field": field}
    telescope |= {"uv": uv and str(uv), "antennas": antennas and str(antennas)}
    _check_telescope(telescope)
    # A map that cannot be of this channel is refused before a catalogue is simulated.
    check_channel(read_map(paths[0], systemic_kms=systemic_kms), channel)
    shards = list(map(str, door.expand_inputs(catalogue, door.HDF5, "shards"))) if catalogue else []
    known = read_channels(shards[0]) if shards else CHANNELS
    if channel not in known:
        raise ValueError(f"--channel: found '{channel}'; accepted with this catalogue: {', '.join(known)}")
    shards = shards or list(map(str, embedded_catalogue(separation, channel)))
    settings = {"distance": distance, "primary": primary, "secondary": secondary}
    settings |= {"position_angle": position_angle, "zoom": zoom, "systemic_kms": systemic_kms} | telescope
    frame = read_frame(shards[0])
    with tempfile.TemporaryDirectory() as folder:
        query, members, own = (Path(folder) / name for name in ("query.npz", "members.h5", "query.h5"))
        ranking_path, estimates_path = Path(folder) / "ranking.parquet", Path(folder) / "estimates.csv"
        prepare_query(query, paths[0], shards, settings, channel)
        measure_catalogue(
            members,
            shards,
            channel,
            {"architecture": network, "weights": "none" if network in OFFLINE else weights},
            decades=DECADES,
            relative=False,
            seed=0,
            query=query,
            query_out=own,
        )
        rank_query(
            ranking_path,
            estimates_path,
            shards,
            {network: members},
            {network: own},
            metrics=[METRIC],
            cut=CUT,
            scale_features=SCALE_FEATURES,
        )
        ranking, estimates = pd.read_parquet(ranking_path), pd.read_csv(estimates_path)
        prepared = load_query(query)
    doubts = [text for text in [*estimates["status"].unique(), *prepared.history["doubts"]] if text != "ok"]
    status = f"doubtful: {'; '.join(doubts)}" if doubts else "ok"
    table = ranking.head(top).drop(columns=["method", "metric"]).assign(file=str(paths[0]), status=status)
    information = {
        "survey": "protostar",
        "extension": "ANALOGUES",
        "header": {"NETWORK": network, "METRIC": METRIC, "SCALED": SCALE_FEATURES, "DISTANCE": distance},
        "software": f"dioscuri {dioscuri.__version__}",
        "network": network,
        "metric": METRIC,
        "n_images": len(ranking),
        "separation_au": frame.separation_au,
        "estimates": estimates.drop(columns="method").to_dict("records"),
        "status": status,
        "caveat": CAVEAT if read_provenance(shards[0]).get("catalogue") == "toy" else "",
        "ranking": ranking,
        "query": prepared,
        "shards": shards,
        "channel": channel,
        "orientation": "as the stars lie" if secondary else f"up at {position_angle:g}°, assumed: no secondary given",
    }
    return table, information


def _check_options(distance: float, separation: float, zoom: float, top: int, network: str, weights: str) -> None:
    """Raise ValueError for what `predict` could not use."""
    door.positive(distance, "--distance", "pc")
    door.positive(separation, "--separation", "AU")
    if not SEPARATIONS[0] <= separation <= SEPARATIONS[1]:
        raise ValueError(
            f"--separation: found {separation:g} AU; accepted: {SEPARATIONS[0]:g} to {SEPARATIONS[1]:g} AU, within the "
            f"images of {TOY['field']:g} AU and the beam of {TOY_BEAM:g} AU; give shards of your own by --catalogue"
        )
    door.positive(zoom, "--zoom")
    door.counted(top, "--top")
    if network not in NETWORKS:
        raise ValueError(f"--network: found '{network}'; accepted: {', '.join(NETWORKS)}")
    if weights not in ("hub", "none"):
        door.one_file(weights, "--weights", f"hub, none, or a file of weights ({', '.join(WEIGHT_FILES)})")


def _check_telescope(telescope: dict[str, Any]) -> None:
    for name, unit in (("largest_scale", "arcsec"), ("noise", "Jy/sr"), ("field", "AU")):
        if telescope[name] is not None:
            door.positive(telescope[name], f"--{name.replace('_', '-')}", unit)
    if not 0 <= telescope["calibration_error"] < 1:
        raise ValueError(f"--calibration-error: found {telescope['calibration_error']}; accepted: 0 to 1, e.g. 0.1")


def default_network() -> str:
    """EfficientNet-Lite0 where the package with its weights is installed, the random CNN otherwise."""
    return LITE if weights_of_package() else OFFLINE[0]


def style(table: pd.DataFrame, information: dict) -> tuple[str, pd.Series]:
    """The status and the estimated parameters, which stand below the printed table; the best match stands out."""
    estimates = pd.DataFrame(information["estimates"])
    best = estimates[estimates["metric"] == estimates["metric"].iloc[0]]
    regressed = best["metric"].iloc[0] == REGRESSION
    how = "regression on features and fluxes, 68 % intervals by whole systems" if regressed else "the analogues' own"
    lines = [f"{information['n_images']} images of {len(information['shards'])} systems; {information['status']}"]
    lines.append(f"orientation: {information['orientation']}")
    if information["status"].startswith("doubtful: far"):
        lines.append("no estimate: an answer from this catalogue would mean nothing (--output has it all the same)")
        return "\n".join([*lines, information["caveat"]]), table["rank"] == 1
    lines.append(f"estimates ({how}):")
    for row in best.to_dict("records"):
        interval = f"{row['low68']:.3g} to {row['high68']:.3g}"
        lines.append(f"{row['parameter']} = {row['median']:.3g} ({interval}) {row['unit']}")
    return "\n".join([*lines, information["caveat"]]), table["rank"] == 1


def plot(table: pd.DataFrame, path: Path, information: dict) -> None:
    """Draw the observation among its best analogues."""
    from dioscuri.plots.analogues import draw_sheet

    caveat = f"\n{information['caveat']}" if information["caveat"] else ""
    draw_sheet(
        path,
        information["ranking"],
        information["query"],
        information["shards"],
        information["channel"],
        decades=DECADES,
        title=f"{information['network']}, {METRIC} distance of scaled features{caveat}".replace("_", " "),
    )
