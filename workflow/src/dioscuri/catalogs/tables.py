"""The columns of the binary-probability catalogue: Table 4 of Zhang et al. (2022), our own, and those of its stars."""

from collections.abc import Sequence

from dioscuri.catalogs.files import Column
from dioscuri.paths import format_number

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
    ("vs_err", "km s-1", "its error, calibrated on mocks"),
    ("vsini", "km s-1", "v sin i of the best single star"),
    ("v1", "km s-1", "heliocentric velocity of the star with more light, zero point not added"),
    ("v1_err", "km s-1", "its error, calibrated on mocks"),
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
    ("unlike", "", "residual over what 99 % of mocks keep at this S/N: above 1 unlike the templates"),
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
