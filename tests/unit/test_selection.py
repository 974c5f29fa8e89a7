"""SB2 candidates: each cut takes what it should, unknown colours stay, and sources are counted once."""

import json

import numpy as np
import pytest

from dioscuri.catalogs.candidates import cut, cut_joint, read_for_cuts, select_candidates, summarise_sources
from dioscuri.catalogs.files import read_catalog, table_of, write_parquet
from dioscuri.catalogs.tables import catalog_columns
from dioscuri.flags import Quality

ARMS = ("blue", "red")


@pytest.fixture
def catalog_path(tmp_path, products):
    """Four sources of three exposures and a co-add; source 3 fails in p0, single rows fail single cuts."""
    columns = products.exposures(4)
    n = len(columns["key"])
    p = np.tile([0.7, 0.8, 0.9, 0.95, 1.0], (n, 1))
    p[columns["source_id"] == "LAMOST J000003"] = [0.4, 0.6, 0.7, 0.8, 0.9]
    columns["npixbad_B"][:] = columns["npixbad_R"][:] = 10
    columns["npixbad_B"][0] = 100  # not below the limit
    columns["bprp0"][4:8] = [2.4, 2.5, 3.0, 1.0]  # of source 1: two too red
    columns["rv_obs_B"][8:12] = [10.0, -30.0, 50.0, 400.0]  # of source 2; the last is a co-add
    scores = {arm: {"key": columns["key"], "file": columns["file"], "pb_pct_16": p.copy()} for arm in ARMS}
    scores["red"]["pb_pct_16"][1, 0] = 0.5  # p0 must exceed one half
    scores["red"]["pb_pct_16"][~columns["specflag_R"]] = np.nan
    table, _ = products.assemble(columns, scores, [16], dict.fromkeys(ARMS, 0.0), dict.fromkeys(ARMS, 0.0))
    write_parquet(tmp_path / "catalog.parquet", table_of(catalog_columns([16]), table))
    return tmp_path / "catalog.parquet"


def test_each_cut_takes_what_it_should(catalog_path):
    chosen, counts = cut(read_for_cuts(catalog_path, 16), ARMS, 16, 100, 2.5)
    assert [row["spectra"] for row in counts] == [16, 15, 11, 10, 8, 8, 8]
    assert [row["sources"] for row in counts] == [4, 4, 3, 3, 3, 3, 3]
    assert counts[3]["paper_spectra"] == 8367 and counts[4]["paper_sources"] == 2198
    assert "(6 unknown)" in counts[4]["description"]
    assert chosen.sum() == 8


@pytest.mark.parametrize("flag", [Quality.WEAK_CCF, Quality.VELOCITY_EDGE])
def test_an_arm_with_a_guessed_velocity_is_no_candidate(catalog_path, flag):
    catalog = read_for_cuts(catalog_path, 16)
    before, _ = cut(catalog, ARMS, 16, 100, 2.5)
    row = np.flatnonzero(before)[0]
    catalog["flags_R"][row] |= flag | Quality.TEFF_EDGE
    chosen, counts = cut(catalog, ARMS, 16, 100, 2.5)
    assert np.flatnonzero(before & ~chosen).tolist() == [row]
    assert (counts[-2]["cut"], counts[-2]["spectra"], counts[-3]["spectra"]) == ("velocity", 7, 8)
    assert counts[-2]["description"] == "without weak_ccf and velocity_edge in blue and red"
    assert cut(catalog, ["blue"], 16, 100, 2.5)[0][row], "the arm that is not asked for does not count"
    catalog["flags_R"][row] = Quality.TEFF_EDGE | Quality.MANY_BAD_PIXELS
    assert cut(catalog, ARMS, 16, 100, 2.5)[0][row], "other flags stay"


def test_a_star_at_the_edge_of_the_library_in_every_arm_is_no_candidate(catalog_path):
    """One arm alone may err: Hα says little of a cool star's temperature."""
    catalog = read_for_cuts(catalog_path, 16)
    before, _ = cut(catalog, ARMS, 16, 100, 2.5)
    first, second = np.flatnonzero(before)[:2]
    catalog["flags_B"][[first, second]] |= Quality.TEFF_EDGE
    catalog["flags_R"][first] |= Quality.TEFF_EDGE
    chosen, counts = cut(catalog, ARMS, 16, 100, 2.5)
    assert np.flatnonzero(before & ~chosen).tolist() == [first]
    assert (counts[-1]["cut"], counts[-1]["spectra"]) == ("temperature", 7)


def test_the_joint_rule_weighs_odds_by_the_prior_and_takes_one_arm(catalog_path):
    """Odds of e⁴ beat a prior of 2 % (49 to 1 against), odds of e³ do not."""
    catalog = read_for_cuts(catalog_path, 16)
    catalog["logodds"][:] = 3.0
    assert cut_joint(catalog, 0.02, 100, 2.5)[0].sum() == 0
    catalog["logodds"][8:12] = 4.0
    catalog["specflag_R"][8] = False
    catalog["npixbad_B"][9] = 100
    catalog["flags_B"][10] |= Quality.WEAK_CCF
    chosen, counts = cut_joint(catalog, 0.02, 100, 2.5)
    assert np.flatnonzero(chosen).tolist() == [8, 11]
    assert [row["spectra"] for row in counts][1:] == [4, 2, 2]
    assert cut_joint(catalog, 0.05, 100, 2.5)[0].sum() > 2


def test_without_colour_cut_or_with_one_arm(catalog_path):
    catalog = read_for_cuts(catalog_path, 16)
    assert cut(catalog, ARMS, 16, 100, None)[0].sum() == 10
    assert cut(catalog, ["blue"], 16, 100, None)[0].sum() == 11  # the row with p0 = 0.5 in red is back


def test_a_penalty_that_is_not_released_names_those_that_are(catalog_path):
    with pytest.raises(ValueError, match=r"pb_pct_B_8.*found 16"):
        read_for_cuts(catalog_path, 8)


def test_sources_are_summarised_once(catalog_path):
    catalog = read_for_cuts(catalog_path, 16)
    chosen, _ = cut(catalog, ARMS, 16, 100, 2.5)
    sources = summarise_sources(catalog, chosen)
    assert sources["source_id"].tolist() == ["LAMOST J000002", "LAMOST J000000", "LAMOST J000001"]
    assert sources["n_exposures"].tolist() == [3, 3, 3]
    assert sources["n_flagged"].tolist() == [3, 1, 1]
    assert sources["n_coadds_flagged"].tolist() == [1, 1, 1]
    assert sources["rv_range_B"][0] == pytest.approx(80.0)  # the co-add does not count
    assert sources["p0_max_B"] == pytest.approx([0.7, 0.7, 0.7])


def test_files_hold_candidates_sources_and_counts(catalog_path, tmp_path):
    out = tmp_path / "candidates.fits", tmp_path / "counts.json"
    select_candidates(catalog_path, *out)
    spectra, sources = (read_catalog(out[0], name) for name in ("CANDIDATES", "SOURCES"))
    assert len(spectra) == 8 and len(sources) == 3
    assert spectra.colnames == [column.name for column in catalog_columns([16])]
    assert str(sources["rv_range_R"].unit) == "km / s"
    cuts = json.loads(out[1].read_text())["cuts"]
    assert cuts[-1]["spectra"] == 8
    first = out[0].read_bytes()
    select_candidates(catalog_path, *out)
    assert out[0].read_bytes() == first


def test_no_candidate_at_all_is_an_empty_table(catalog_path, tmp_path):
    select_candidates(catalog_path, tmp_path / "none.fits", tmp_path / "none.json", npixbad_max=1)
    assert len(read_catalog(tmp_path / "none.fits", "CANDIDATES")) == 0
    assert len(read_catalog(tmp_path / "none.fits", "SOURCES")) == 0
