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
from dioscuri.analogues.regression import FEWEST_SYSTEMS
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
    observation: str,
    as_they_are: str | os.PathLike | None = None,
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

    Methods: the features of `network` as they are ("network/plain"; "network/last": of the last map alone, where the
    network has more) and in units of their scatter over what the fold leaves in the catalogue ("network/scaled");
    kernel ridge regression on them and on brightness in apertures, with intervals by whole systems, where whole
    systems are held out ("network/ridge"; "network/ridge-alone": without apertures, of images as they are); per recipe
    and seed of `head` one trained on that part ("network/recipe/seed"), in the splits that `head` names; and the two
    bounds. Heads standardise their input, so that only the difference to scaled features tells what training is worth.
    as_they_are: features of the same images where those of `features_path` are of an `observation`; then
    "network/scaled-unlike" and "network/ridge-unlike" compare the observed images with a catalogue that was not
    observed, and no head is trained.
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
    last = table.description["network"].get("last")
    unlike = None if as_they_are is None else read_features(as_they_are)
    if unlike is not None and kind not in ("system", "leave_one_system_out"):
        raise ValueError(f"split '{kind}': observations are compared on systems held out")
    parts = []
    for split in splits(kind, metadata, n_folds=n_folds, seed=seed):
        queries = draw_queries(split, n_queries, seed)
        search: dict[str, Any] = {"metric": metric, "literal": literal} | common
        plain = {f"{network}/plain": table.features}
        if last:
            plain[f"{network}/last"] = table.features[:, :last]
        parts.append(recover(split, queries, embeddings=plain, **search))
        scaled, asked = {f"{network}/scaled": table.features}, {}
        if unlike is not None:
            scaled[f"{network}/scaled-unlike"], asked = unlike.features, {f"{network}/scaled-unlike": table.features}
        parts.append(_without_bounds(recover(split, queries, embeddings=scaled, asked=asked, scale=True, **search)))
        left = len(np.unique(metadata["system"][split.train]))
        if split.kind in ("system", "leave_one_system_out") and left >= FEWEST_SYSTEMS:
            fitted = (split, queries, metadata, common["parameters"])
            parts.append(regress(*fitted, table.blocks, f"{network}/ridge"))
            if unlike is not None:
                parts.append(regress(*fitted, unlike.blocks, f"{network}/ridge-unlike", table.blocks))
            elif table.brightness is not None:
                parts.append(regress(*fitted, [table.features], f"{network}/ridge-alone"))
        if unlike is None and kind in head["splits"]:
            trained = _trained(network, table.features, metadata, split.train, head, table.description.get("cells", 1))
            parts.append(_without_bounds(recover(split, queries, embeddings=trained, metric="l1", **common)))
        log.info("%s, fold %d: %d images asked for", kind, split.fold, len(queries))
    with atomic(out) as temporary:
        pd.concat(parts, ignore_index=True).assign(observation=observation).to_parquet(temporary, index=False)


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
    """Scores of every observation, split, method and parameter (CSV), and paired differences (CSV).

    Differences: of the scaled to the plain features of each network; of ridge regression to the scaled features of the
    same and of the first network, and to random; of a catalogue observed alike to random; of each recipe's heads,
    averaged over their seeds, to the plain and to the scaled features of the same network. The bounds do not depend on
    the network; the rows of the first network serve.
    """
    everything = pd.concat([pd.read_parquet(verified(path)) for path in paths], ignore_index=True)
    key = ["observation", "split", "fold", "method", "image_id", "parameter"]
    everything = everything.drop_duplicates(key, ignore_index=True)
    scores, pairs = [], []
    for observation, rows in everything.groupby("observation", sort=False):
        scores.append(summarise(rows).assign(observation=observation))
        pairs += [
            one.assign(observation=observation) for name in networks for one in _differences(rows, name, networks[0])
        ]
    for path, tables in ((out, scores), (comparison_out, pairs)):
        with atomic(path) as temporary:
            pd.concat(tables, ignore_index=True).to_csv(temporary, index=False)


def _differences(rows: pd.DataFrame, network: str, first: str) -> list[pd.DataFrame]:
    """Paired differences of the methods of one network, see `tabulate`."""
    plain, scaled, ridge = (f"{network}/{way}" for way in ("plain", "scaled", "ridge"))
    pairs = [(scaled, [scaled], plain)]
    for method in (scaled, ridge, f"{network}/scaled-unlike", f"{network}/ridge-unlike"):
        others = ["random"] if method != ridge else ["random", *dict.fromkeys((scaled, f"{first}/scaled"))]
        pairs += [(method, [method], other) for other in others]
    recipes: dict[str, list[str]] = {}
    for method in sorted(set(rows["method"])):
        if method.startswith(f"{network}/") and method.count("/") == 2:
            recipes.setdefault(method.rsplit("/", 1)[0], []).append(method)
    pairs += [(name, seeds, base) for name, seeds in recipes.items() for base in (plain, scaled)]
    found = []
    for name, methods, base in pairs:
        where = [set(rows.loc[rows["method"] == method, "split"]) for method in (*methods, base)]
        part = rows[rows["split"].isin(set.intersection(*where))]
        if len(part):
            found.append(compare(part, name, methods, base))
    return found


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
