"""The binary-probability catalogue: its columns (Table 4 of Zhang et al. 2022), joined from shards and scores."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dioscuri.catalogs.evidence import Evidence
from dioscuri.catalogs.files import Column, fill, table_of, write_fits, write_parquet
from dioscuri.catalogs.pairs import exposure_evidence, read_pairs
from dioscuri.catalogs.scores import read_scores
from dioscuri.catalogs.sources import RADIUS, duplicates, group, name_sources, write_duplicates
from dioscuri.catalogs.stars import describe
from dioscuri.flags import Quality
from dioscuri.paths import format_number
from dioscuri.shards import read_exposures

log = logging.getLogger(__name__)

SUFFIX = {"blue": "B", "red": "R"}  # arm → ending of its columns


def probability_column(arm: str, penalty: float) -> str:
    """Name of the probability percentiles of an arm at penalty Λ: ('blue', 16) → 'pb_pct_B_16'."""
    return f"pb_pct_{SUFFIX[arm]}_{format_number(penalty)}"


def paper_columns(penalties: Sequence[float] = (8, 16, 32)) -> tuple[Column, ...]:
    """The columns of Table 4, in its order; 34 with the paper's three penalties. obsid, a 32-bit integer there, has
    outgrown it since: LAMOST numbers its observations beyond 2^31."""
    columns = [
        Column("obsid", "K", "", "LAMOST observational ID (unique for each .fits file)"),
        Column("lmjm", "J", "min", "Local Modified Julian Minute"),
        Column("bjdmid", "D", "", "Barycentric Julian Date (TDB) of the middle of exposure"),
        Column("lmjd", "J", "d", "Local Modified Julian Day (only used for spectral naming)"),
        Column("planid", "A", "", "Plan ID"),
        Column("spid", "I", "", "Spectrograph ID"),
        Column("fiberid", "I", "", "Fiber ID"),
        Column("ra", "D", "deg", "Right Ascension (J2000)"),
        Column("dec", "D", "deg", "Declination (J2000)"),
        Column("snr_B", "E", "", "S/N ratio of blue arm"),
        Column("snr_R", "E", "", "S/N ratio of red arm"),
    ]
    for arm, end in SUFFIX.items():
        columns += [
            Column(f"rv_obs_{end}", "E", "km s-1", f"RV measured from {arm} arm spectra"),
            Column(f"rv_obs_err_{end}", "E", "km s-1", "RV measurement error"),
            Column(f"rv_abs_{end}", "E", "km s-1", "RV with the zero point added"),
            Column(f"rv_abs_err_{end}", "E", "km s-1", "total error of absolute RV"),
            Column(f"rv_teff_{end}", "E", "K", "Teff of the best template"),
            Column(f"ccfmax_{end}", "E", "", "CCF max value"),
        ]
    for arm, end in SUFFIX.items():
        columns += [
            Column(
                probability_column(arm, penalty),
                "5E",
                "",
                f"p_q at Lambda={penalty:g}, q = 0, 16, 50, 84 and 100, {arm} arm",
            )
            for penalty in penalties
        ]
        columns += [
            Column(f"specflag_{end}", "L", "", "True for good spectra (S/N above the limit)"),
            Column(f"npixbad_{end}", "J", "", "number of bad pixels"),
        ]
    return (*columns, Column("bprp0", "E", "mag", "Intrinsic color (BP - RP)_0"))


# What the fit of two stars says of each arm (`catalogs.pairs`): name, unit, meaning.
PAIR_FITS = (
    ("vs", "km s-1", "heliocentric velocity of the best single star"),
    ("vs_err", "km s-1", "its error, from noise alone"),
    ("vsini", "km s-1", "v sin i of the best single star"),
    ("v1", "km s-1", "heliocentric velocity of the star with more light, zero point not added"),
    ("v1_err", "km s-1", "its error"),
    ("v2", "km s-1", "velocity of the other star: to be believed where pair_logodds or logodds says so"),
    ("v2_err", "km s-1", "its error"),
    ("vsini1", "km s-1", "v sin i of star 1"),
    ("vsini2", "km s-1", "v sin i of star 2"),
    ("teff1", "K", "Teff of the template of star 1"),
    ("teff2", "K", "Teff of the template of star 2"),
    ("light_ratio", "", "line strength of star 2 over star 1"),
    ("light_ratio_err", "", "its error, from noise alone"),
    ("dchi2", "", "N ln(chi2 of one star / chi2 of two): not a chi2 table's"),
    ("dchi2_third", "", "the same for a third star beside the two"),
    ("residual", "", "rms residual of the pair over its noise"),
    ("pair_logodds", "", "log-odds (equal priors) of two stars by the fit, calibrated on mocks"),
)
BOTH_ARMS = (
    Column("logodds", "E", "", "log-odds (equal priors) SB2 : single by fits and networks of both arms"),
    Column("p_joint", "E", "", "1 / (1 + exp(-logodds))"),
)
EXTRA_COLUMNS = (
    *(Column(f"{name}_{end}", "E", unit, text) for end in SUFFIX.values() for name, unit, text in PAIR_FITS),
    *BOTH_ARMS,
    Column("source_id", "A", "", "name of the source: LAMOST designation of its first observation"),
    Column("designation", "A", "", "LAMOST designation of this observation"),
    Column("gaia_id", "K", "", "Gaia source_id of the source where any input catalogue has it"),
    Column("file", "A", "", "name of the LAMOST file; a co-add has no lmjm"),
    Column("flags_B", "J", "", "quality bits of the blue arm, see COMMENT"),
    Column("flags_R", "J", "", "quality bits of the red arm, see COMMENT"),
)


def catalog_columns(penalties: Sequence[float] = (8, 16, 32)) -> tuple[Column, ...]:
    """All columns of our catalogue: Table 4, then our own."""
    return (*paper_columns(penalties), *EXTRA_COLUMNS)


STAR_COLUMNS = (
    Column("source_id", "A", "", "name of the source"),
    Column("gaia_id", "K", "", "Gaia source_id where any input catalogue has it"),
    Column("ra", "D", "deg", "Right Ascension (J2000) of its first observation"),
    Column("dec", "D", "deg", "Declination (J2000) of its first observation"),
    Column("n_exposures", "J", "", "spectra in the catalogue, co-adds too"),
    Column("matched_by", "A", "", "key that found the star in the user's table"),
    Column("g", "E", "mag", "apparent magnitude"),
    Column("bp_rp", "E", "mag", "apparent colour"),
    Column("parallax", "E", "mas", "parallax"),
    Column("parallax_error", "E", "mas", "its error"),
    Column("ruwe", "E", "", "renormalised unit weight error of Gaia"),
    Column("ebv", "E", "mag", "E(B-V)"),
    Column("a_g", "E", "mag", "extinction in G"),
    Column("period", "D", "d", "period of the eclipses"),
    Column("bjd0", "D", "d", "Barycentric Julian Date of a primary eclipse"),
    Column("g0", "E", "mag", "absolute magnitude (eq. 12)"),
    Column("bprp0", "E", "mag", "Intrinsic color (BP - RP)_0"),
)


# --- making the catalogue ---------------------------------------------------------------------------------


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
    exposures = _concatenate([read_exposures(path) for path in spectra_shards])
    scores = {arm: read_scores(paths, penalties) for arm, paths in score_files.items()}
    pairs = exposure_evidence(read_pairs(pair_files), scores, penalties, Evidence.load(evidence_path))
    catalog, again = assemble(exposures, scores, penalties, zero_point, zero_point_error, source_radius, pairs)
    described = describe(catalog, **(table or {}))
    colour = described.set_index("source_id")["bprp0"].reindex(catalog["source_id"]).to_numpy(np.float32)
    catalog["bprp0"] = np.where(np.isfinite(colour), colour, catalog["bprp0"])
    columns = catalog_columns(penalties)
    spectra = table_of(columns, catalog)
    write_fits(fits_path, {"SB2_PROBABILITY": spectra}, settings)
    write_parquet(parquet_path, spectra, settings)
    if stars_path is not None:
        values = {c.name: fill(c, described[c.name].to_numpy(), len(described)) for c in STAR_COLUMNS}
        values["gaia_id"] = np.ma.masked_equal(values["gaia_id"], 0)
        write_parquet(stars_path, table_of(STAR_COLUMNS, values), settings)
    if duplicates_path is not None:
        write_duplicates(again, duplicates_path)
    n_sources = len(np.unique(catalog["source_id"]))
    told = f"catalogue of {len(catalog['obsid'])} spectra of {n_sources} sources, {len(again)} duplicates left out"
    log.info("%s: %s", told, fits_path)


def assemble(
    exposures: Mapping[str, np.ndarray],
    scores: Mapping[str, Mapping[str, np.ndarray]],
    penalties: Sequence[float],
    zero_point: Mapping[str, float],
    zero_point_error: Mapping[str, float],
    source_radius: float = RADIUS,
    pairs: Mapping[str, np.ndarray] | None = None,
) -> tuple[dict[str, np.ndarray], list[dict]]:
    """Catalogue columns, name → (S,) or (S, 5), masked where the inputs do not say; and the duplicates left out.

    `exposures`: columns of observed shards (N,), as ingest names them. `scores`: arm → {"key": (N,), "file": (N,),
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
    kept, again = duplicates(known)
    known = {name: np.asarray(values)[kept] for name, values in known.items()}
    exposure = known["exposure"]
    known["lmjm"] = np.ma.masked_less(exposure, 0)  # a co-add has none
    known["designation"] = known["source_id"]
    gaia_id = known.get("gaia_id", np.zeros(len(exposure), np.int64))
    number = group(gaia_id, known["designation"], known["ra"], known["dec"], source_radius)
    known["source_id"], gaia_id = name_sources(known["designation"], gaia_id, known["obsid"], number)
    known["gaia_id"] = np.ma.masked_equal(gaia_id, 0)
    for arm, end in SUFFIX.items():
        if f"rv_obs_{end}" not in known:  # an arm that this run leaves out
            known[f"flags_{end}"] = np.full(len(exposure), Quality.MISSING_ARM)
            continue
        velocity = known[f"rv_obs_{end}"]
        known[f"rv_abs_{end}"] = velocity + zero_point.get(arm, 0.0)
        known[f"rv_abs_err_{end}"] = np.hypot(known[f"rv_obs_err_{end}"], zero_point_error.get(arm, 0.0))
        # Pixels of an arm that was never processed have not been counted.
        known[f"npixbad_{end}"] = np.ma.MaskedArray(known[f"npixbad_{end}"], mask=~np.isfinite(velocity))
    order = np.lexsort((np.asarray(known["file"]).astype(str), exposure, exposure < 0, known["obsid"]))
    columns = catalog_columns(penalties)
    return {c.name: fill(c, known.get(c.name), len(exposure))[order] for c in columns}, again


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


def _concatenate(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    if not parts:
        raise ValueError("no spectra shard was given: ingest some LAMOST files first")
    return {name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in parts[0]}
