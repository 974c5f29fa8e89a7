"""The stages of a search: features of a catalogue as a query sees it, distances, ranks, and parameter estimates.

Networks are imported where they are used: figures and tables do without them.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dioscuri.analogues.catalogue import (
    iterate_images,
    read_frame,
    read_images,
    read_metadata,
    sample_images,
    shape_of_images,
)
from dioscuri.analogues.distances import pairwise
from dioscuri.analogues.domain import Domain, domain
from dioscuri.analogues.estimate import LEVELS, Parameter, available, estimate, isotropic_weights, with_total_mass
from dioscuri.analogues.features import Stretch, ceiling_of, measure, read_features, write_features
from dioscuri.analogues.observation.interferometer import response_of
from dioscuri.analogues.observation.maps import check_channel, read_map, wavelength_of
from dioscuri.analogues.observation.query import Query, observe_like, prepare, seen_by
from dioscuri.analogues.observation.query_files import load_query, save_query
from dioscuri.analogues.regression import FEWEST_SYSTEMS, fit, intervals
from dioscuri.analogues.retrieval import consensus, rank, select
from dioscuri.io import atomic
from dioscuri.job import provenance

QUERY_ID = "query"
ENSEMBLE = "ensemble"
SAMPLE = 512  # images that fix the stretch of a catalogue
SPEEDS = 96  # pixels a side of them that are looked at, of velocities


def prepare_query(
    out: str | os.PathLike,
    map_path: str | os.PathLike,
    shards: Sequence[str | os.PathLike],
    settings: Mapping[str, Any],
    channel: str,
) -> None:
    """Lay an observed map on the pixels of a catalogue and save it; `settings` of a query as in the configuration.

    channel: that the map is to be compared with; ValueError where it cannot be of it.
    """
    frame = read_frame(shards[0])
    observed = read_map(map_path, systemic_kms=settings.get("systemic_kms", 0.0))
    doubts = check_channel(observed, channel)
    wavelength = observed.wavelength_um or wavelength_of(channel)
    query = prepare(
        observed,
        frame,
        shape_of_images(shards[0], channel)[-1],
        distance_pc=settings["distance"],
        primary=settings.get("primary"),
        secondary=settings.get("secondary"),
        position_angle=settings.get("position_angle", 0.0),
        zoom=settings.get("zoom", 1.0),
        field_au=settings.get("field"),
        noise=settings.get("noise"),
        response=response_of(settings, float(observed.wcs.wcs.crval[1]), wavelength),
    )
    query.history["doubts"] += doubts
    save_query(out, query)


def stretch_of(
    shards: Sequence[str | os.PathLike], channel: str, *, decades: float = 4.0, relative: bool = False
) -> Stretch:
    """The stretch that all images of a channel share, from an even sample of the catalogue."""
    sample = sample_images(shards, channel, SAMPLE)
    if channel.startswith("moment1"):
        speeds = [np.abs(image[:: max(1, len(image) // SPEEDS), :: max(1, len(image) // SPEEDS)]) for image in sample]
        return Stretch("linear", float(np.nanquantile(np.stack(speeds), 0.99)))
    return Stretch(
        "log", ceiling_of(np.array([np.nanmax(image) for image in sample])[:, None, None]), decades, relative
    )


def as_observed(shards: Sequence[str | os.PathLike], channel: str, settings: Mapping[str, Any]) -> Query:
    """A query without a sky of its own, by which a catalogue is observed as `settings` of an observation say."""
    frame, shape = read_frame(shards[0]), shape_of_images(shards[0], channel)
    response = response_of(settings, settings["declination"], wavelength_of(channel))
    velocity = channel.startswith("moment1")
    noise = 0.0
    if settings["peak_to_noise"] and not velocity:
        peaks = [np.nanmax(image) for image in sample_images(shards, channel, SAMPLE)]
        noise = float(np.median(peaks)) / settings["peak_to_noise"]
    blank = Query(
        np.zeros(shape[1:], np.float32), np.zeros(shape[1:], bool), "km/s" if velocity else "Jy/sr", frame.pixel_au,
        frame.beam_au, noise, np.zeros((2, 2)), history={"doubts": []},
    )  # fmt: skip
    return seen_by(blank, response, shape[-1], frame.pixel_au / settings["distance"], 0.0)


def measure_catalogue(
    out: str | os.PathLike,
    shards: Sequence[str | os.PathLike],
    channel: str,
    network: Mapping[str, Any],
    *,
    decades: float,
    relative: bool,
    seed: int,
    query: str | os.PathLike | None = None,
    query_out: str | os.PathLike | None = None,
    observation: Mapping[str, Any] | None = None,
    device: str = "cpu",
) -> None:
    """Write the features of all images of a channel: as they are, or as the `query` was observed, and the query's own.

    Brightness in apertures is measured beside those of a network (`FeatureTable.brightness`).
    observation: settings of an observation of the benchmark, in place of a query. network: architecture, weights,
    size and pool. ValueError where the query is not of this channel.
    """
    import torch
    from tqdm import tqdm

    from dioscuri.learn.features.networks import APERTURES, build

    torch.set_num_threads(1)
    settings = dict(network)
    architecture = settings.pop("architecture")
    net = build(architecture, settings.pop("weights"), seed=seed, **settings)
    apertures = None if architecture == APERTURES else build(APERTURES, "none")
    stretch = stretch_of(shards, channel, decades=decades, relative=relative)
    observed = None if query is None else load_query(query)
    if observation is not None:
        observed = as_observed(shards, channel, observation)
    names, features, brightness = [], [], []
    total = len(read_metadata(shards)["image_id"])
    with tqdm(total=total, desc=f"features of {channel}", unit="image", disable=None) as bar:
        for ids, images in iterate_images(shards, channel):
            if observed is not None:
                images = observe_like(images, list(ids), observed, seed)
            names += list(ids)
            features.append(measure(images, net, stretch, device))
            if apertures is not None:
                brightness.append(measure(images, apertures, stretch, device))
            bar.update(len(ids))
    about: dict[str, Any] = {"network": net, "stretches": [stretch], "channels": [channel]}
    about["provenance"] = provenance(dict(network), seed=seed)
    beside = np.concatenate(brightness) if brightness else None
    write_features(out, names, np.concatenate(features), brightness=beside, **about)
    if observed is not None and query_out is not None:
        image = observed.image[None]
        own = None if apertures is None else measure(image, apertures, stretch, device)
        write_features(query_out, [QUERY_ID], measure(image, net, stretch, device), brightness=own, **about)


def distances_to_query(
    members: Mapping[str, str | os.PathLike],
    queries: Mapping[str, str | os.PathLike],
    metrics: Sequence[str],
    *,
    heads: Mapping[str, Sequence[str | os.PathLike]] | None = None,
    literal: bool = False,
    scale_features: bool = True,
) -> tuple[np.ndarray, dict[tuple[str, str], np.ndarray]]:
    """Image ids (N,) and distances (N,) by (method, metric), plain networks and trained heads alike.

    members, queries: network → features of the catalogue and of the query, compared in units of their scatter over
    the catalogue with `scale_features`, as they are (the paper) without. heads: "network/recipe" → the heads of
    several seeds, whose distances are averaged (each in units of its mean); their metric is that of the training, L1.
    """
    from dioscuri.learn.features.training import embed, load_head

    ids, distances = None, {}
    tables = {name: (read_features(path), read_features(queries[name])) for name, path in members.items()}
    for name, (catalogue, query) in tables.items():
        if ids is not None and not np.array_equal(ids, catalogue.image_id):
            raise ValueError(f"{members[name]}: features of other images than those of {next(iter(members.values()))}")
        ids = catalogue.image_id
        for metric in metrics:
            distances[name, metric] = pairwise(
                query.features, catalogue.features, metric, literal=literal, scale=scale_features
            )[0]
    for method, paths in (heads or {}).items():
        catalogue, query = tables[method.split("/")[0]]
        each = []
        for path in paths:
            head, _ = load_head(path)
            distance = pairwise(embed(head, query.features), embed(head, catalogue.features), "l1")[0]
            each.append(distance / distance.mean())
        distances[method, "l1"] = np.mean(each, axis=0)
    if ids is None:
        raise ValueError("a search needs the features of at least one network")
    return ids, distances


def ranking_table(
    ids: np.ndarray, distances: Mapping[tuple[str, str], np.ndarray], metadata: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """One row per method, metric and member, nearest first: rank, image_id, distance, z, and the member's metadata.

    The ensemble (method `ensemble`, metric `rank`) is the mean fractional rank over all methods and metrics.
    """
    if not np.array_equal(ids, metadata["image_id"]):
        raise ValueError("features and metadata are of different images, or in another order: measure them again")
    known = pd.DataFrame(with_total_mass(metadata)).drop(columns="image_id")
    everything = dict(distances)
    if len(everything) > 1:
        everything[ENSEMBLE, "rank"] = consensus(distances)
    parts = []
    for (method, metric), distance in everything.items():
        order = rank(distance)
        part = pd.DataFrame({
            "method": method, "metric": metric, "rank": 1 + np.arange(len(ids)), "image_id": ids[order.member],
            "distance": order.distance, "z": order.z,
        })  # fmt: skip
        parts.append(pd.concat([part, known.iloc[order.member].reset_index(drop=True)], axis=1))
    return pd.concat(parts, ignore_index=True)


def analogues(ranking: pd.DataFrame, cut: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of a ranking that its cut keeps, per method and metric (§3.2)."""
    settings = dict(cut)
    kind = settings.pop("kind")
    wanted = ("n_sigma", "minimum") if kind == "sigma" else ("share", "minimum")
    chosen = {name: settings[name] for name in wanted}
    groups: Iterable = ranking.groupby(["method", "metric"], sort=False)
    return pd.concat(
        [part.iloc[select(part["distance"].to_numpy(), kind, **chosen)] for _, part in groups], ignore_index=True
    )


def estimates_table(
    chosen: pd.DataFrame,
    *,
    separation_au: float | None = None,
    tolerance_au: float = 0.0,
    truth: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Median and intervals of every parameter from the analogues, per method and metric.

    separation_au: weigh the analogues as viewers in all directions would see them at this projected separation.
    truth: known values, where the query was simulated.
    """
    rows = []
    for (method, metric), part in chosen.groupby(["method", "metric"], sort=False):
        columns = {name: part[name].to_numpy() for name in part.columns}
        weights = None
        if separation_au is not None:
            weights = isotropic_weights(columns["separation"], separation_au, tolerance_au)
        for parameter in available(columns):
            rows.append({"method": method, "metric": metric} | _estimated(parameter, columns, weights, truth))
    return pd.DataFrame(rows)


def _estimated(
    parameter: Parameter,
    columns: Mapping[str, np.ndarray],
    weights: np.ndarray | None,
    truth: Mapping[str, float] | None,
) -> dict[str, Any]:
    found = estimate(parameter, columns[parameter.column], weights, columns["system"])
    row: dict[str, Any] = {"parameter": parameter.column, "unit": parameter.unit, "median": found.median}
    for level in LEVELS:
        row[f"low{100 * level:.0f}"], row[f"high{100 * level:.0f}"] = found.intervals[level]
    row |= {"n": found.n, "n_effective": found.n_effective}
    if truth is not None:
        row["truth"] = _truth_of(truth)[parameter.column]
    return row


def _truth_of(truth: Mapping[str, float]) -> dict[str, np.ndarray]:
    return with_total_mass({name: np.asarray(value) for name, value in truth.items()})


REGRESSION = "ridge"  # in place of a metric: estimates by regression instead of analogues


def regression_table(
    members: Mapping[str, str | os.PathLike],
    queries: Mapping[str, str | os.PathLike],
    metadata: Mapping[str, np.ndarray],
    truth: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Estimates of every parameter by regression on each network's features, brightness in apertures beside them;
    empty with fewer than 3 systems.

    The columns of `estimates_table`; n and n_effective count systems, which is what the intervals stand on.
    """
    known = with_total_mass(metadata)
    parameters = available(known)
    system = np.asarray(metadata["system"])
    rows: list[dict[str, Any]] = []
    if len(np.unique(system)) < FEWEST_SYSTEMS:
        return pd.DataFrame(rows)
    values = np.stack([parameter.forward(known[parameter.column]) for parameter in parameters], axis=1)
    for name, path in members.items():
        learnt = fit(read_features(path).blocks, values, system)
        middle, *bounds = intervals(learnt, read_features(queries[name]).blocks)[:, 0]
        for p, parameter in enumerate(parameters):
            row: dict[str, Any] = {"method": name, "metric": REGRESSION, "parameter": parameter.column}
            row |= {"unit": parameter.unit, "median": float(parameter.backward(middle[p]))}
            for k, level in enumerate(LEVELS):
                low, high = (float(parameter.backward(bound[p])) for bound in bounds[2 * k : 2 * k + 2])
                row |= {f"low{100 * level:.0f}": low, f"high{100 * level:.0f}": high}
            row |= {"n": learnt.n_systems, "n_effective": float(learnt.n_systems)}
            if truth is not None:
                row["truth"] = _truth_of(truth)[parameter.column]
            rows.append(row)
    return pd.DataFrame(rows)


def domain_of(members: str | os.PathLike, query: str | os.PathLike, metadata: Mapping[str, np.ndarray]) -> Domain:
    """Whether the query is like anything in the catalogue, by one network's features of both and by brightness."""
    return domain(read_features(query).blocks, read_features(members).blocks, np.asarray(metadata["system"]))


def rank_query(
    out: str | os.PathLike,
    estimates_out: str | os.PathLike,
    shards: Sequence[str | os.PathLike],
    members: Mapping[str, str | os.PathLike],
    queries: Mapping[str, str | os.PathLike],
    *,
    metrics: Sequence[str],
    cut: Mapping[str, Any],
    heads: Mapping[str, Sequence[str | os.PathLike]] | None = None,
    literal: bool = False,
    scale_features: bool = True,
    isotropic: bool = False,
    truth: Mapping[str, float] | None = None,
) -> None:
    """Rank a catalogue against a query and write the ranking (Parquet) and the estimates (CSV).

    The estimates of every network by regression come first, then those from its analogues; their `status` says where
    the query is far from all that the catalogue holds.
    """
    ids, distances = distances_to_query(
        members, queries, metrics, heads=heads, literal=literal, scale_features=scale_features
    )
    metadata = read_metadata(shards)
    ranking = ranking_table(ids, distances, metadata)
    frame = read_frame(shards[0])
    table = estimates_table(
        analogues(ranking, cut),
        separation_au=frame.separation_au if isotropic else None,
        tolerance_au=0.5 * frame.beam_au[0] if isotropic else 0.0,
        truth=truth,
    )
    table = pd.concat([regression_table(members, queries, metadata, truth), table], ignore_index=True)
    places = {name: domain_of(path, queries[name], metadata) for name, path in members.items()}
    networks = table["method"].str.split("/").str[0].where(table["method"] != ENSEMBLE, next(iter(members)))
    table["far"] = [places[name].far for name in networks]
    table["status"] = [places[name].status for name in networks]
    with atomic(out) as temporary:
        ranking.to_parquet(temporary, index=False)
    with atomic(estimates_out) as temporary:
        table.to_csv(temporary, index=False)


def image_of(shards: Sequence[str | os.PathLike], channel: str, image_id: str) -> np.ndarray:
    """One image (H, W) of a catalogue by its id."""
    for shard in shards:
        row = np.flatnonzero(read_metadata(shard)["image_id"] == image_id)
        if len(row):
            return read_images(shard, channel, slice(int(row[0]), int(row[0]) + 1))[0]
    raise ValueError(f"no image '{image_id}' in {len(shards)} shards")


def query_and_members(query: Query, images: np.ndarray, ids: Sequence[str], seed: int = 0) -> np.ndarray:
    """Members (N, H, W) as the query was observed: what was compared, for figures."""
    return observe_like(images, list(ids), query, seed)
