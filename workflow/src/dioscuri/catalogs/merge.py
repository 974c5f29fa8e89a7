"""Shards and scores to the catalogue: first who is who among all rows, then one shard after the other to its place.

Memory holds a shard, and of every row some thirty bytes: 6 million rows take 2 GB with the names of their stars.
"""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dioscuri.catalogs.columns import Text
from dioscuri.catalogs.evidence import Evidence
from dioscuri.catalogs.files import fill, table_of, write_parquet
from dioscuri.catalogs.pairs import exposure_evidence, read_pairs
from dioscuri.catalogs.scores import read_scores
from dioscuri.catalogs.sorted_files import SortedFits, write_parts
from dioscuri.catalogs.sources import RADIUS, duplicate, group, name_sources, quality, repeated, write_duplicates
from dioscuri.catalogs.stars import describe
from dioscuri.catalogs.tables import STAR_COLUMNS, SUFFIX, catalog_columns, probability_column
from dioscuri.flags import Quality
from dioscuri.io import atomic
from dioscuri.paths import format_number
from dioscuri.shards import read_exposures

log = logging.getLogger(__name__)

OBJECT = ("obsid", "gaia_id", "source_id", "ra", "dec")  # what the exposures of one file share
IDENTITY = (*OBJECT, "exposure", "file", "folder", "planid", *(f"{n}_{e}" for n in ("snr", "specflag") for e in "BR"))


def make_catalog(
    spectra_shards: Sequence[str | os.PathLike],
    score_files: Mapping[str, Sequence[str | os.PathLike]],
    pair_files: Sequence[str | os.PathLike],
    evidence_path: str | os.PathLike,
    fits_path: str | os.PathLike,
    parquet_path: str | os.PathLike,
    *,
    penalties: Sequence[float],
    zero_point: Mapping[str, float],
    zero_point_error: Mapping[str, float],
    duplicates_path: str | os.PathLike | None = None,
    stars_path: str | os.PathLike | None = None,
    source_radius: float = RADIUS,
    table: Mapping[str, Any] | None = None,
    settings: Any = None,
) -> None:
    """Join observed shards and the score tables of each arm into the catalogue, as FITS and as Parquet.

    `score_files`: arm → score tables (catalogs.scores), `pair_files`: fits of two stars (catalogs.pairs), one per shard
    in the shards' order; `evidence_path`: what joins them to log-odds (catalogs.evidence). `zero_point`,
    `zero_point_error`: arm → km/s, added to rv_obs (in quadrature to its error). An exposure that several files
    hold is taken once; the others are listed in `duplicates_path` (Parquet). Rows within `source_radius`
    [arcsec] show one source (see `sources.group`). `table`: arguments of `stars.describe` for a user's table of
    stars; what it says goes to `stars_path` (Parquet, a row per source), its colours to bprp0. Rows are sorted by
    obsid and exposure: sharding leaves no trace.
    """
    if not spectra_shards:
        raise ValueError("no spectra shard was given: ingest some LAMOST files first")
    who = identify((read_exposures(path, IDENTITY) for path in spectra_shards), source_radius)
    stars = describe(who.observations, **(table or {}))
    colour = stars.set_index("source_id")["bprp0"].reindex(who.observations["source_id"]).to_numpy(np.float32)
    evidence = Evidence.load(evidence_path)
    columns = catalog_columns(penalties)
    with atomic(fits_path) as fits_file, atomic(parquet_path) as parquet_file:
        with open(fits_file, "wb+") as stream:
            out = SortedFits(stream, "SB2_PROBABILITY", columns, who.texts(), settings)
            for number, shard in enumerate(spectra_shards):
                exposures = read_exposures(shard)
                scores = {arm: read_scores([paths[number]], penalties) for arm, paths in score_files.items()}
                pairs = exposure_evidence(read_pairs([pair_files[number]]), scores, penalties, evidence)
                known = joined(exposures, scores, penalties, zero_point, zero_point_error, pairs)
                out.put(*who.placed(number, known, colour, penalties))
            out.finish()
            write_parts(parquet_file, out.parts(), settings)
    if stars_path is not None:
        values = {c.name: fill(c, stars[c.name].to_numpy(), len(stars)) for c in STAR_COLUMNS}
        values["gaia_id"] = np.ma.masked_equal(values["gaia_id"], 0)
        write_parquet(stars_path, table_of(STAR_COLUMNS, values), settings)
    if duplicates_path is not None:
        write_duplicates(who.duplicates, duplicates_path)
    told = f"{len(who.order)} spectra of {len(stars)} sources, {len(who.duplicates)} duplicates left out"
    log.info("%s: catalogue of %s", fits_path, told)


@dataclass(frozen=True)
class Identities:
    """Where each of N rows of all shards goes, and whose spectrum it is.

    `starts` first row of each shard; `position` (N,) its row in the catalogue, −1: a duplicate; `order` (S,) the
    inverse; `observation` (N,) row of `observations`, which has OBJECT, source_id and gaia_id being those of the
    source, designation that of the observation, and n_exposures, by obsid, (O,) each; `file`, `planid` of all rows.
    """

    starts: np.ndarray
    position: np.ndarray
    order: np.ndarray
    observation: np.ndarray
    observations: dict[str, np.ndarray]
    file: Text
    planid: Text
    duplicates: list[dict]

    def texts(self) -> dict[str, Text]:
        """Text columns of the catalogue in its order."""
        seen = self.observation[self.order]
        names = {name: Text.of([self.observations[name]]) for name in ("source_id", "designation")}
        found = {name: Text(text.codes[seen], text.names) for name, text in names.items()}
        rows = {"file": self.file, "planid": self.planid}
        return found | {name: Text(text.codes[self.order], text.names) for name, text in rows.items()}

    def placed(
        self, shard: int, known: Mapping[str, np.ndarray], colour: np.ndarray, penalties: Sequence[float]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Places of a shard's rows in the catalogue, (R,), and their columns but for texts. `colour` (O,)."""
        position = self.position[self.starts[shard] : self.starts[shard + 1]]
        rows = np.flatnonzero(position >= 0)
        seen = self.observation[self.starts[shard] : self.starts[shard + 1]][rows]
        mine = {name: values[rows] for name, values in known.items()}
        mine["gaia_id"] = np.ma.masked_equal(self.observations["gaia_id"][seen], 0)
        mine["bprp0"] = np.where(np.isfinite(colour[seen]), colour[seen], mine.get("bprp0", np.nan))
        columns = [column for column in catalog_columns(penalties) if column.code != "A"]
        return position[rows], {c.name: fill(c, mine.get(c.name), len(rows)) for c in columns}


def identify(shards: Iterable[Mapping[str, np.ndarray]], radius: float = RADIUS) -> Identities:
    """Identities of the rows of all shards, from their columns IDENTITY: each exposure once, stars as in `group`."""
    rows: dict[str, list] = {name: [] for name in ("obsid", "exposure", "scored", "snr", "observation")}
    texts: dict[str, list] = {"file": [], "folder": [], "planid": []}
    seen: list[pd.DataFrame] = []
    starts, n_seen = [0], 0
    for part in shards:
        objects = pd.DataFrame({name: part[name] for name in OBJECT})
        number = objects.groupby(list(OBJECT), sort=False, dropna=False).ngroup().to_numpy()
        seen.append(objects.iloc[np.unique(number, return_index=True)[1]])
        scored, snr = quality(part)
        mine = (part["obsid"], part["exposure"], scored.astype(np.int8), snr.astype(np.float32), number + n_seen)
        for values, column in zip(mine, rows.values(), strict=True):
            column.append(np.asarray(values))
        for name, values in texts.items():
            values.append(Text.of([np.asarray(part.get(name, np.full(len(number), "")), object)]).arrow())
        n_seen += len(seen[-1])
        starts.append(starts[-1] + len(number))
    obsid, exposure, scored, snr, observation = (np.concatenate(column) for column in rows.values())
    file, folder, planid = map(Text.of, texts.values())
    kept, again, best = repeated(obsid, exposure, scored, snr, file.codes, folder.codes)
    left_out = [
        duplicate(*here, exposure[row], snr[row], *there, snr[better])
        for row, better in zip(again, best)
        for here, there in [[(folder[np.array([at])][0], file[np.array([at])][0]) for at in (row, better)]]
    ]
    order = np.lexsort((file.codes, exposure, exposure < 0, obsid))
    order = order[kept[order]]
    position = np.full(len(obsid), -1, np.int64)
    position[order] = np.arange(len(order))
    observations, number = _named(
        pd.concat(seen, ignore_index=True), np.bincount(observation[order], minlength=n_seen), radius
    )
    return Identities(np.array(starts), position, order, number[observation], observations, file, planid, left_out)


def _named(objects: pd.DataFrame, counts: np.ndarray, radius: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The observations in the catalogue, `counts` (O,) times each, with their sources; the new number of each (O,)."""
    objects = objects.assign(n_exposures=counts).sort_values(list(OBJECT), kind="stable")
    objects = objects[objects["n_exposures"] > 0]
    number = np.full(len(counts), -1, np.int32)
    number[objects.index] = np.arange(len(objects))
    known = {name: objects[name].to_numpy() for name in ("obsid", "gaia_id", "ra", "dec", "n_exposures")}
    known["designation"] = objects["source_id"].to_numpy(object)
    star = group(known["gaia_id"], known["designation"], known["ra"], known["dec"], radius)
    names, gaia = name_sources(known["designation"], known["gaia_id"], known["obsid"], star)
    return known | {"source_id": names.astype(object), "gaia_id": gaia}, number


def joined(
    exposures: Mapping[str, np.ndarray],
    scores: Mapping[str, Mapping[str, np.ndarray]],
    penalties: Sequence[float],
    zero_point: Mapping[str, float],
    zero_point_error: Mapping[str, float],
    pairs: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Catalogue columns of the rows of a shard, name → (N,) or (N, 5), masked where the inputs do not say.

    `exposures`: columns of the shard (N,), as ingest names them. `scores`: arm → {"key": (N,), "file": (N,),
    <pb_pct_Λ>: (N, 5)} of the same rows in the same order, as `read_scores` gives them. `pairs`: columns of
    `exposure_evidence`, rows alike.
    """
    known = dict(exposures)
    if pairs is not None:
        _check_rows(known, {**pairs, "file": known["file"]}, "fits of two stars")
        known |= {name: values for name, values in pairs.items() if not name.startswith("flags_")}
        for name in set(pairs) & {f"flags_{end}" for end in SUFFIX.values()}:
            known[name] = np.asarray(known[name]) | pairs[name]
    for arm, score in scores.items():
        _check_rows(known, score, arm)
        known |= {probability_column(arm, value): score[f"pb_pct_{format_number(value)}"] for value in penalties}
    known["lmjm"] = np.ma.masked_less(known["exposure"], 0)  # a co-add has none
    for arm, end in SUFFIX.items():
        if f"rv_obs_{end}" not in known:  # an arm that this run leaves out
            known[f"flags_{end}"] = np.full(len(known["exposure"]), Quality.MISSING_ARM)
            continue
        velocity = known[f"rv_obs_{end}"]
        known[f"rv_abs_{end}"] = velocity + zero_point.get(arm, 0.0)
        known[f"rv_abs_err_{end}"] = np.hypot(known[f"rv_obs_err_{end}"], zero_point_error.get(arm, 0.0))
        # Pixels of an arm that was never processed have not been counted.
        known[f"npixbad_{end}"] = np.ma.MaskedArray(known[f"npixbad_{end}"], mask=~np.isfinite(velocity))
    return known


def _check_rows(exposures: Mapping[str, np.ndarray], scores: Mapping[str, np.ndarray], arm: str) -> None:
    """Raise ValueError unless scores are those of the exposures, row by row: a key alone may be two files'."""
    wanted, keys = np.asarray(exposures["key"]), np.asarray(scores["key"])
    missing = int(np.count_nonzero(~np.isin(wanted, keys)))
    if missing:
        raise ValueError(
            f"{missing} of {len(wanted)} exposures have no score in the {arm} arm: score all shards that are catalogued"
        )
    files = np.asarray(exposures["file"]).astype(str)
    if not (np.array_equal(wanted, keys) and np.array_equal(files, np.asarray(scores["file"]).astype(str))):
        raise ValueError(f"the score tables of the {arm} arm are not those of the shards, in the shards' order")
