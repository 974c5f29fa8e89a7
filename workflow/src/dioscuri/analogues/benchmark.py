"""The benchmark: known parameters of held-out images recovered, by plain features and by heads trained without them."""

import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dioscuri.analogues.catalogue import iterate_images, read_frame, read_metadata
from dioscuri.analogues.distances import pairwise
from dioscuri.analogues.estimate import available, isotropic_weights, with_total_mass
from dioscuri.analogues.features import Stretch, measure, read_features
from dioscuri.analogues.observation.query import observe_like
from dioscuri.analogues.observation.query_files import load_query
from dioscuri.analogues.recovery import (
    BOUNDS,
    compare,
    draw_queries,
    recover,
    regress,
    splits,
    summarise,
    true_snapshot,
)
from dioscuri.io import atomic
from dioscuri.seals import verified

log = logging.getLogger(__name__)

ANOTHER_NIGHT = 1  # added to the seed: queries have noise of their own, not that of the members


def recover_split(
    out: str | os.PathLike,
    shards: Sequence[str | os.PathLike],
    features_path: str | os.PathLike,
    network: str,
    *,
    kind: str,
    n_folds: int,
    n_queries: int,
    metric: str,
    literal: bool,
    isotropic: bool,
    cut: Mapping[str, Any],
    head: Mapping[str, Any],
    seed: int,
) -> None:
    """Write the estimates (a row per method, held-out image and parameter) of all folds of a split as Parquet.

    Methods: the features of `network` as they are ("network/plain") and in units of their scatter over what the fold
    leaves in the catalogue ("network/scaled"); ridge regression on them with intervals by whole systems, where whole
    systems are held out ("network/ridge"); per recipe and seed of `head` one trained on that part
    ("network/recipe/seed"); and the two bounds. Heads standardise their input, so that only the difference to scaled
    features tells what training is worth.
    """
    table, metadata = read_features(features_path), with_total_mass(read_metadata(shards))
    if not np.array_equal(table.image_id, metadata["image_id"]):
        raise ValueError(f"{features_path}: features of other images than those of the catalogue; measure them again")
    settings = {name: value for name, value in cut.items() if name in _ACCEPTED[cut["kind"]]}
    weights = None
    if isotropic:
        frame = read_frame(shards[0])
        weights = isotropic_weights(metadata["separation"], frame.separation_au, 0.5 * frame.beam_au[0])
    common: dict[str, Any] = {
        "metadata": metadata, "parameters": available(metadata), "cut": cut["kind"], "cut_settings": settings,
        "weights": weights, "seed": seed,
    }  # fmt: skip
    parts = []
    for split in splits(kind, metadata, n_folds=n_folds, seed=seed):
        queries = draw_queries(split, n_queries, seed)
        search: dict[str, Any] = {"metric": metric, "literal": literal} | common
        parts.append(recover(split, queries, embeddings={f"{network}/plain": table.features}, **search))
        others = recover(split, queries, embeddings={f"{network}/scaled": table.features}, scale=True, **search)
        parts.append(_without_bounds(others))
        if split.kind in ("system", "leave_one_system_out"):
            parts.append(regress(split, queries, metadata, common["parameters"], table.features, f"{network}/ridge"))
        trained = _trained(network, table.features, metadata, split.train, head, table.description.get("cells", 1))
        if trained:
            parts.append(_without_bounds(recover(split, queries, embeddings=trained, metric="l1", **common)))
        log.info("%s, fold %d: %d images asked for", kind, split.fold, len(queries))
    with atomic(out) as temporary:
        pd.concat(parts, ignore_index=True).to_parquet(temporary, index=False)


def _without_bounds(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[~rows["method"].isin(BOUNDS)]


_ACCEPTED = {"sigma": ("n_sigma", "minimum"), "quantile": ("share", "minimum")}


def _trained(
    network: str,
    features: np.ndarray,
    metadata: Mapping[str, np.ndarray],
    rows: np.ndarray,
    head: Mapping[str, Any],
    cells: int,
) -> dict[str, np.ndarray]:
    """Embeddings (N, D) by "network/recipe/seed" of heads taught with `rows` alone."""
    from dioscuri.learn.features.training import embed, load_head, train

    found = {}
    for recipe in head["recipes"]:
        for seed in head["seeds"]:
            with tempfile.TemporaryDirectory() as folder:
                train(
                    features, metadata, rows, None, recipe, seed, folder,
                    cells=cells, max_epochs=head["epochs"], n_triplets=head["triplets"],
                    batch=head["batch"], learning_rate=head["learning_rate"],
                )  # fmt: skip
                trained, _ = load_head(os.path.join(folder, "model.ckpt"))
            found[f"{network}/{recipe}/{seed}"] = embed(trained, features)
    return found


def tabulate(
    paths: Sequence[str | os.PathLike],
    out: str | os.PathLike,
    comparison_out: str | os.PathLike,
    networks: Sequence[str],
) -> None:
    """Scores of every split, method and parameter (CSV), and paired differences (CSV).

    Differences: of each recipe's heads, averaged over their seeds, to the plain and to the scaled features of the
    same network; and of the scaled to the plain ones. The bounds do not depend on the network; the rows of the first
    network serve.
    """
    rows = pd.concat([pd.read_parquet(verified(path)) for path in paths], ignore_index=True)
    rows = rows.drop_duplicates(["split", "fold", "method", "image_id", "parameter"], ignore_index=True)
    with atomic(out) as temporary:
        summarise(rows).to_csv(temporary, index=False)
    pairs = []
    for network in networks:
        plain, scaled = f"{network}/plain", f"{network}/scaled"
        pairs.append(compare(rows, scaled, [scaled], plain))
        ridge = f"{network}/ridge"
        held_out = rows[rows["split"].isin(rows.loc[rows["method"] == ridge, "split"])]
        if len(held_out):
            pairs += [compare(held_out, ridge, [ridge], other) for other in (scaled, "random")]
        recipes: dict[str, list[str]] = {}
        for method in sorted(set(rows["method"])):
            if method.startswith(f"{network}/") and method.count("/") == 2:
                recipes.setdefault(method.rsplit("/", 1)[0], []).append(method)
        pairs += [compare(rows, name, seeds, base) for name, seeds in recipes.items() for base in (plain, scaled)]
    with atomic(comparison_out) as temporary:
        pd.concat(pairs, ignore_index=True).to_csv(temporary, index=False)


def find_true_snapshots(
    out: str | os.PathLike,
    shards: Sequence[str | os.PathLike],
    members_path: str | os.PathLike,
    query_path: str | os.PathLike,
    channel: str,
    network: Mapping[str, Any],
    *,
    n_queries: int,
    metric: str,
    literal: bool,
    scale_features: bool,
    seed: int,
    tolerance_kyr: float = 2.0,
) -> None:
    """Observe members once more, as the query was but with other noise, and write how well their snapshots rank (CSV).

    With `same_view` the image of the very same line of sight is in the catalogue, without it that view is left out.
    """
    import torch

    from dioscuri.learn.features.networks import build

    torch.set_num_threads(1)
    metadata, table, query = read_metadata(shards), read_features(members_path), load_query(query_path)
    rng = np.random.Generator(np.random.Philox(key=[seed, 3]))
    rows = np.sort(rng.permutation(len(table.image_id))[:n_queries])
    settings = dict(network)
    net = build(settings.pop("architecture"), settings.pop("weights"), seed=seed, **settings)
    stretch = Stretch(**table.description["stretches"][0])
    wanted, images = set(table.image_id[rows]), []
    for ids, batch in iterate_images(shards, channel):
        use = np.isin(ids, list(wanted))
        if use.any():
            images.append(observe_like(batch[use], list(ids[use]), query, seed + ANOTHER_NIGHT))
    features = measure(np.concatenate(images), net, stretch)
    distance = pairwise(features, table.features, metric, literal=literal, scale=scale_features)
    asked = {name: values[rows] for name, values in metadata.items()}
    tables = []
    for same_view in (True, False):
        try:
            _, rates = true_snapshot(distance, asked, metadata, tolerance_kyr=tolerance_kyr, same_view=same_view)
        except ValueError as error:  # snapshots farther apart than the tolerance leave nothing to find
            log.warning("%s", error)
            continue
        tables.append(rates.assign(same_view=same_view))
    with atomic(out) as temporary:
        pd.concat(tables, ignore_index=True).to_csv(temporary, index=False)
