"""Figures of stars: what is drawn is what the tables say, and empty panels say why they are empty."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dioscuri.catalogs.candidates import select_candidates
from dioscuri.catalogs.merge import make_catalog
from dioscuri.catalogs.scores import write_scores
from dioscuri.plots import mrs_counts, mrs_phases, mrs_stars
from dioscuri.shards import read_spectra

PENALTIES = [16.0]
N_PIXELS = {"blue": 64, "red": 72}
FACTS = {
    "blue": {"wave_min": 5000.0, "wave_max": 5300.0, "n_pixels": 64, "resolution": 7500.0},
    "red": {"wave_min": 6350.0, "wave_max": 6750.0, "n_pixels": 72, "resolution": 7500.0},
}


@pytest.fixture(scope="module", params=[True, False], ids=["with a table", "without a table"])
def made(request, tmp_path_factory, products):
    """Catalogue, stars and candidates of six stars; 0 to 2 are called binaries in both arms, star 2 is very red."""
    folder = tmp_path_factory.mktemp("sources")
    columns = products.exposures(6)
    for end in "BR":
        columns[f"snr_{end}"] = np.full(24, 40.0, np.float32)
    source = np.repeat(np.arange(6), 4)
    products.write_spectra(folder / "shard.h5", columns)
    products.write_pairs(folder / "pairs.parquet", columns)
    products.evidence().save(folder / "evidence.json")
    scores = {}
    for arm in N_PIXELS:
        p = np.where(source < 3, 0.9, 0.05)[:, None] * np.array([0.9, 0.95, 1.0, 1.02, 1.05])
        p[~columns[f"specflag_{arm[0].upper()}"]] = np.nan
        write_scores(folder / f"{arm}.parquet", columns, arm, products.score_columns({16.0: p}))
        scores[arm] = [folder / f"{arm}.parquet"]
    table = pd.DataFrame(
        {
            "designation": [f"J{k:06d}" for k in range(6)],
            "g": 10.0 + np.arange(6),
            "bp_rp": [0.8, 1.0, 3.0, 0.9, 0.7, 1.2],
            "parallax": [5.0, 5.0, 5.0, 5.0, 2.0, 5.0],
            "parallax_error": 0.1,
            "ruwe": [1.0, 1.0, 1.0, 1.0, 1.0, 2.0],
            "ebv": 0.0,
            "period": [4.0, 30.0, np.nan, 2.0, np.nan, np.nan],
            "bjd0": 2458820.0,
        }
    )
    table.to_csv(folder / "stars.csv", index=False)
    make_catalog(
        [folder / "shard.h5"],
        scores,
        [folder / "pairs.parquet"],
        folder / "evidence.json",
        folder / "mrs.fits",
        folder / "mrs.parquet",
        penalties=PENALTIES,
        zero_point={},
        zero_point_error={},
        stars_path=folder / "stars.parquet",
        table={"path": folder / "stars.csv"} if request.param else None,
    )
    select_candidates(folder / "mrs.parquet", folder / "candidates.fits", folder / "counts.json")
    return folder, request.param


def titles(figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


def texts(figure) -> str:
    return " ".join(text.get_text() for axes in figure.axes for text in axes.texts)


def test_neighbours_of_the_sun(made, tmp_path, drawn):
    """Star 4 is too far and star 5 a bad solution: 16 spectra of 4 stars, 12 of 3 called."""
    folder, with_table = made
    mrs_stars.neighbours(tmp_path / "f.png", folder / "mrs.parquet", folder / "stars.parquet", arms=FACTS)
    if with_table:
        assert titles(drawn[0])[2] == "both arms: 12 of 16 spectra\n(3 stars)"
        colours = [line for line in drawn[0].axes[0].lines if len(line.get_xdata()) == 12]
        np.testing.assert_allclose(sorted(set(colours[0].get_xdata())), [0.8, 1.0, 3.0], rtol=1e-6)
    else:
        assert "user's table" in texts(drawn[0])


def test_probability_against_the_phase_of_eclipses(made, tmp_path, drawn):
    """Star 0 (4 d) and star 3 (2 d) have periods of 1 to 10 d; co-adds have no phase."""
    folder, with_table = made
    mrs_phases.probability_vs_phase(tmp_path / "f.png", folder / "mrs.parquet", folder / "stars.parquet", arms=FACTS)
    expected = "blue arm: 6 spectra of 2 eclipsing binaries" if with_table else "blue arm: 0 spectra of 0"
    assert titles(drawn[0])[0].startswith(expected)


def test_spectra_in_their_place_of_phase(made, tmp_path, drawn):
    folder, with_table = made
    out = tmp_path / "f.png"
    shards = [folder / "shard.h5"]
    mrs_phases.spectra_vs_phase(out, folder / "mrs.parquet", folder / "stars.parquet", shards, FACTS)
    if not with_table:
        assert "user's table" in texts(drawn[0])
        return
    (colour, grey) = (drawn[0].axes[0].images, drawn[0].axes[2].images)
    assert [len(colour), len(grey)] == [3, 3]
    assert {image.get_cmap().name for image in colour} == {"jet"}
    flux, _ = read_spectra(folder / "shard.h5", "blue")
    assert colour[0].get_array().shape[1] < flux.shape[1], "only the window around Mg b"


def test_known_binaries_by_period(made, tmp_path, drawn):
    folder, _ = made
    binaries = {"path": folder / "stars.csv"}
    mrs_counts.known_binaries(tmp_path / "f.png", folder / "mrs.parquet", arms=FACTS, binaries=binaries)
    assert titles(drawn[0])[0] == "blue arm, P < 10 d: 4 of 8 (50%) above 0.5"
    assert titles(drawn[0])[2] == "blue arm, P ≥ 10 d: 4 of 4 (100%) above 0.5"
    mrs_counts.known_binaries(tmp_path / "g.png", folder / "mrs.parquet", arms=FACTS, binaries={"path": None})
    assert "lamost_mrs.sb2_list" in texts(drawn[1])


def test_observations_per_candidate(made, tmp_path, drawn):
    folder, with_table = made
    mrs_counts.observations(tmp_path / "f.png", folder / "candidates.fits")
    assert titles(drawn[0]) == [f"{2 if with_table else 3} stars with a candidate"]


def test_candidates_among_all_stars(made, tmp_path, drawn, monkeypatch):
    folder, with_table = made
    monkeypatch.setattr(mrs_stars, "best_candidates", lambda *_: [])
    inputs = [folder / name for name in ("mrs.parquet", "candidates.fits", "stars.parquet")]
    mrs_stars.candidate_diagram(tmp_path / "f.png", *inputs, [folder / "shard.h5"], Path("none"), FACTS)
    legend = [text.get_text() for axes in drawn[0].axes if axes.get_legend() for text in axes.get_legend().texts]
    assert legend == (["2 candidates", "1 cut by colour"] if with_table else ["3 candidates", "0 cut by colour"])
