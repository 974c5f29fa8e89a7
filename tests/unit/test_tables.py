"""The catalogue: Table 4 of the paper to the letter, the same bytes whatever the sharding, read by others."""

import fitsio
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.units import Unit

from dioscuri.catalogs.files import read_catalog
from dioscuri.catalogs.merge import make_catalog
from dioscuri.catalogs.scores import write_scores
from dioscuri.catalogs.tables import catalog_columns, paper_columns, probability_column

# Table 4 of Zhang et al. 2022: label, FITS format, unit. Rows 19 and 21 are spelled like 13 and 15; obsid is J there,
# and no longer fits.
TABLE_4 = """
obsid K | lmjm J min | bjdmid D | lmjd J d | planid A | spid I | fiberid I | ra D deg | dec D deg |
snr_B E | snr_R E | rv_obs_B E km s-1 | rv_obs_err_B E km s-1 | rv_abs_B E km s-1 | rv_abs_err_B E km s-1 |
rv_teff_B E K | ccfmax_B E | rv_obs_R E km s-1 | rv_obs_err_R E km s-1 | rv_abs_R E km s-1 |
rv_abs_err_R E km s-1 | rv_teff_R E K | ccfmax_R E | pb_pct_B_8 5E | pb_pct_B_16 5E | pb_pct_B_32 5E |
specflag_B L | npixbad_B J | pb_pct_R_8 5E | pb_pct_R_16 5E | pb_pct_R_32 5E | specflag_R L | npixbad_R J |
bprp0 E mag
"""
PENALTIES = [8.0, 16.0, 32.0]
ZERO = {"blue": 2.0, "red": 0.0}
ERROR = {"blue": 4.0, "red": 0.0}


def percentiles(columns, arm):
    """Percentiles that name their row: p depends on the key, the penalty and the arm alone."""
    base = (columns["key"] % 1000) / 1000
    shift = 0.0 if arm == "blue" else 1e-4
    found = {k: np.clip(base[:, None] * np.linspace(0.8, 1, 5) / k + shift, 0, 1) for k in PENALTIES}
    for values in found.values():
        values[~columns[f"specflag_{arm[0].upper()}"]] = np.nan
    return found


def build(products, folder, parts, name):
    """Catalogue files of observed shards that hold `parts`, in this order."""
    shards, pairs, scores = [], [], {"blue": [], "red": []}
    products.evidence().save(folder / "evidence.json")
    for k, columns in enumerate(parts):
        shards.append(folder / f"{name}{k}.h5")
        pairs.append(folder / f"{name}{k}_pairs.parquet")
        products.write_pairs(pairs[-1], columns)
        products.write_spectra(shards[-1], columns)
        for arm, paths in scores.items():
            paths.append(folder / f"{name}{k}_{arm}.parquet")
            write_scores(paths[-1], columns, arm, products.score_columns(percentiles(columns, arm)))
    out = folder / f"{name}.fits", folder / f"{name}.parquet"
    joined = (shards, scores, pairs, folder / "evidence.json")
    make_catalog(*joined, *out, penalties=PENALTIES, zero_point=ZERO, zero_point_error=ERROR, settings={"a": 1})
    return out


@pytest.fixture(scope="module")
def files(tmp_path_factory, products):
    return build(
        products,
        tmp_path_factory.mktemp("catalog"),
        [products.exposures(2, 0), products.exposures(3, 2)],
        "catalog",
    )


def test_columns_are_table_4_to_the_letter(files):
    printed = [row.split(maxsplit=2) for row in TABLE_4.replace("\n", " ").split("|")]
    wanted = [(row[0], row[1], row[2].strip() if len(row) > 2 else "") for row in printed]
    assert len(wanted) == 34
    assert [(column.name, column.format, column.unit) for column in paper_columns()] == wanted
    with fits.open(files[0]) as hdus:
        columns = hdus["SB2_PROBABILITY"].columns[:34]
        found = [(c.name, c.format[-1] if c.format.endswith("A") else c.format, c.unit or "") for c in columns]
        assert found == wanted


def test_other_penalties_change_the_columns():
    names = [column.name for column in paper_columns([0.5, 16])]
    assert "pb_pct_R_0p5" in names and "pb_pct_B_16" in names and "pb_pct_B_8" not in names


def test_bytes_do_not_depend_on_sharding_or_order(files, tmp_path, products):
    parts = [products.exposures(3, 2), products.exposures(2, 0)]
    for old, new in zip(files, build(products, tmp_path, parts, "other")):
        assert new.read_bytes() == old.read_bytes()


def test_fits_has_valid_checksums_comments_and_flag_bits(files):
    with fits.open(files[0], checksum=True) as hdus:  # a wrong checksum is a warning, and so an error here
        header = hdus[1].header
        assert "CHECKSUM" in header and "DATE" not in header and "DATE" not in hdus[0].header
        assert header["TCOMM3"].startswith("Barycentric Julian Date")
        assert "2 MISSING_ARM" in str(header["COMMENT"])
        assert '"settings": {"a": 1}' in " ".join(hdus[0].header["HISTORY"])
        assert hdus[0].header["SOFTWARE"].startswith("dioscuri")


def test_astropy_shows_units_and_meanings_without_our_help(files):
    table = Table.read(files[0])
    for column in catalog_columns(PENALTIES):
        assert table[column.name].unit == (Unit(column.unit) if column.unit else None)
        assert table[column.name].description == column.description


def test_an_independent_reader_sees_the_same_numbers(files):
    table, ours = fitsio.read(files[0], ext=1), read_catalog(files[0])
    for name in ("obsid", "ra", "rv_abs_B", "pb_pct_R_16", "specflag_R", "npixbad_B"):
        assert np.array_equal(table[name], np.ma.filled(ours[name], -9999), equal_nan=True)
    assert [text.decode() if isinstance(text, bytes) else text for text in table["file"]] == list(ours["file"])


def test_fits_and_parquet_hold_the_same_table(files):
    first, second = (read_catalog(path) for path in files)
    assert first.colnames == second.colnames == [column.name for column in catalog_columns(PENALTIES)]
    for name in first.colnames:
        assert str(first[name].unit) == str(second[name].unit)
        assert first[name].description == second[name].description
        assert np.array_equal(np.ma.getmaskarray(first[name]), np.ma.getmaskarray(second[name]))
        a, b = (
            np.ma.filled(table[name]) if np.ma.isMaskedArray(table[name]) else table[name] for table in (first, second)
        )
        assert np.array_equal(np.asarray(a), np.asarray(b), equal_nan=np.asarray(a).dtype.kind == "f")


def test_rows_are_joined_by_key_and_what_is_unknown_is_masked(files, products):
    catalog = read_catalog(files[0])
    known = products.exposures(2, 0)
    row = catalog[(catalog["obsid"] == known["obsid"][5]) & (catalog["lmjm"] == known["exposure"][5])]
    assert len(row) == 1
    wanted = percentiles(known, "blue")[16.0][5].astype("f4")
    assert np.array_equal(row["pb_pct_B_16"][0], wanted)
    coadd = np.ma.getmaskarray(catalog["lmjm"])
    assert coadd.sum() == 5 and np.all(catalog["flags_B"][coadd] == 32 + 512)  # seen from the fit's primary
    assert np.isnan(catalog["bprp0"]).all()
    assert np.ma.getmaskarray(catalog["gaia_id"]).sum() == 12  # every other source has none
    without_red = np.asarray(catalog["flags_R"]) & 2 > 0
    assert without_red.sum() == 2
    assert not catalog["specflag_R"][without_red].any()
    assert np.isnan(catalog["pb_pct_R_16"][without_red]).all()
    assert np.ma.getmaskarray(catalog["npixbad_R"])[without_red].all()
    assert (catalog["specflag_R"][~without_red]).all()


def test_zero_point_is_added_and_its_error_in_quadrature(files):
    catalog = read_catalog(files[0])
    assert np.allclose(catalog["rv_abs_B"] - catalog["rv_obs_B"], 2.0, atol=1e-5)
    assert np.allclose(catalog["rv_abs_err_B"], 5.0)  # 3 and 4 km/s
    scored = np.asarray(catalog["specflag_R"])
    assert np.array_equal(catalog["rv_abs_R"][scored], catalog["rv_obs_R"][scored])


def test_an_arm_that_is_left_out_is_masked(products):
    columns = {name: values for name, values in products.exposures(1).items() if not name.endswith("_R")}
    scores = {"blue": {"key": columns["key"], "file": columns["file"], "pb_pct_16": np.full((4, 5), 0.5)}}
    catalog, _ = products.assemble(columns, scores, [16], ZERO, ERROR)
    assert not catalog["specflag_R"].any() and np.isnan(catalog["snr_R"]).all()
    assert np.ma.getmaskarray(catalog["npixbad_R"]).all()
    assert (catalog["flags_R"] == 2).all()
    assert catalog[probability_column("red", 16)].shape == (4, 5)


def test_an_exposure_without_score_is_an_error(products):
    columns = products.exposures(1)
    scores = {"blue": {"key": columns["key"][:-1], "file": columns["file"][:-1], "pb_pct_16": np.zeros((3, 5))}}
    with pytest.raises(ValueError, match="1 of 4 exposures have no score in the blue arm"):
        products.assemble(columns, scores, [16], ZERO, ERROR)


def test_obsid_beyond_32_bits_comes_back(tmp_path, products):
    columns = products.exposures(1)
    columns["obsid"] = np.full(4, 3_700_912_076)
    for path in build(products, tmp_path, [columns], "late"):
        assert (read_catalog(path)["obsid"] == 3_700_912_076).all()


def test_one_exposure_in_two_folders_is_scored_once_by_the_better_file(tmp_path, products):
    """Both rows have one noise key, and once the second got the first one's score."""
    older, newer = products.exposures(1), products.exposures(1)
    newer["file"] = np.array(["med-newer.fits"] * 4, object)
    newer["folder"] = np.array(["dr9"] * 4, object)
    older["folder"] = np.array(["dr7"] * 4, object)
    newer["snr_B"] = older["snr_B"] + np.array([5, -5, 5, 5], "f4")  # the second exposure is better in the old release
    given = np.linspace(0.1, 0.9, 8)

    def scores(first, parts):
        return {"key": parts["key"], "file": parts["file"], "pb_pct_16": np.repeat(first[:, None], 5, axis=1)}

    both = {name: np.concatenate([older[name], newer[name]]) for name in older}
    catalog, again = products.assemble(both, {"blue": scores(given, both)}, [16], ZERO, ERROR)
    assert catalog["file"].tolist() == ["med-newer.fits", "med-000.fits.gz", "med-newer.fits", "med-newer.fits"]
    np.testing.assert_allclose(catalog["pb_pct_B_16"][:, 0], given[[4, 1, 6, 7]], rtol=1e-6)
    assert [(row["folder"], row["reason"]) for row in again] == [("dr7", "the same exposure in another file")] * 1 + [
        ("dr7", "the same exposure in another file"),
        ("dr9", "the same exposure in another file"),
        ("dr7", "the same exposure in another file"),
    ]
    assert "dr9/med-newer.fits, which is kept" in again[0]["detail"]


def test_scores_of_other_files_are_refused(products):
    columns = products.exposures(2)
    turned = slice(None, None, -1)
    scores = {"blue": {"key": columns["key"][turned], "file": columns["file"][turned], "pb_pct_16": np.zeros((8, 5))}}
    with pytest.raises(ValueError, match="not those of the shards"):
        products.assemble(columns, scores, [16], ZERO, ERROR)


def test_one_star_of_several_designations_is_one_source(products):
    """0.3 arcsec apart, as LAMOST's input catalogues name one star; the third star is 10 arcsec off."""
    columns = products.exposures(3)
    columns["gaia_id"][:] = 0
    columns["ra"][:] = 290.0
    columns["dec"] = 43.0 + np.repeat([0.0, 0.3, 10.0], 4) / 3600
    scores = {"blue": {"key": columns["key"], "file": columns["file"], "pb_pct_16": np.full((12, 5), 0.9)}}
    catalog, _ = products.assemble(columns, scores, [16], ZERO, ERROR)
    assert np.unique(catalog["source_id"]).tolist() == ["LAMOST J000000", "LAMOST J000002"]
    assert np.unique(catalog["designation"]).tolist() == ["LAMOST J000000", "LAMOST J000001", "LAMOST J000002"]


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\.fits or \.parquet"):
        read_catalog(tmp_path / "catalog.csv")
