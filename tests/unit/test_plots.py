"""Figures: written whole, legible in what they say, the same bytes twice, and without pyplot."""

import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from matplotlib.image import imread

from dioscuri.arms import Arm
from dioscuri.catalogs.candidates import select_candidates
from dioscuri.catalogs.files import read_catalog, table_of, write_parquet
from dioscuri.catalogs.tables import catalog_columns
from dioscuri.evaluation.mrs_rates import LABELS, summarise, write_test_scores
from dioscuri.libraries.build import assemble as assemble_library
from dioscuri.libraries.build import node_labels
from dioscuri.libraries.grid import log_grid, window_of
from dioscuri.plots import mrs_candidates, mrs_catalog, mrs_mocks, mrs_models, style
from dioscuri.shards import mock_shard

ARMS = [Arm("blue", 5000.0, 5300.0, 64, 1200.0), Arm("red", 6350.0, 6750.0, 72, 1200.0)]
FACTS = {arm.name: {key: value for key, value in asdict(arm).items() if key != "name"} for arm in ARMS}
PENALTIES = (8.0, 16.0)


def axis_labels(figure):
    return [text for axes in figure.axes for text in (axes.get_xlabel(), axes.get_ylabel()) if text]


def assert_picture(path, width):
    """A PNG `width` inches wide with something on it."""
    image = imread(path)
    assert image.shape[1] == pytest.approx(width * style.DPI, abs=1)
    assert image[..., :3].std() > 0.02
    assert not list(path.parent.glob(f".{path.stem}*"))


@pytest.fixture(scope="module")
def scores(tmp_path_factory, products):
    """Test scores of two arms, penalties and seeds, in which q and Δv decide; rates and calibration."""
    folder = tmp_path_factory.mktemp("scores")
    labels = products.labels(3000)
    labels = {name: labels[name] for name in ("pair_id", *LABELS)}
    rng = np.random.default_rng(0)
    strength = 8 * (labels["q"] > 0.7) * (np.abs(labels["dv"]) > 60)
    files = []
    for arm in ("blue", "red"):
        for penalty in PENALTIES:
            for seed in (1, 2):
                single, binary = rng.normal(-1 - np.log(penalty), 1, (2, 3000))
                files.append(folder / f"{arm}{penalty}{seed}.parquet")
                parts = [(labels, 0, single), (labels, 1, binary + strength)]
                write_test_scores(files[-1], parts, {"arm": arm, "penalty": penalty, "seed": seed})
    summarise(files, folder / "rates.csv", folder / "calibration.json")
    return files, folder / "rates.csv", folder / "calibration.json"


@pytest.fixture(scope="module")
def library_path(tmp_path_factory):
    """A library of one line whose depth and width follow the labels."""
    axes = {
        "teff": np.array([4000.0, 5500.0, 8000.0]),
        "logg": np.array([1.0, 3.0, 5.5]),
        "feh": np.array([-2.0, -0.5, 0.5]),
        "afe": np.array([-0.5, 0.0, 0.7]),
    }
    windows = {arm.name: log_grid(*window_of(arm), 10.0) for arm in ARMS}
    spectra = []
    for node, (teff, logg, feh, _) in enumerate(node_labels(axes)):
        pieces = {}
        for arm in ARMS:
            wave = windows[arm.name]
            centre = 0.5 * (arm.wave_min + arm.wave_max)
            depth = 0.3 + 0.1 * feh + 0.02 * logg
            line = 1 - depth * np.exp(-0.5 * ((wave - centre) / 3) ** 2)
            level = np.full(len(wave), (teff / 5500) ** 4)
            pieces[arm.name] = (level * line, level)
        spectra.append((node, pieces))
    path = tmp_path_factory.mktemp("library") / "library.h5"
    assemble_library(axes, 20_000.0, windows, spectra, {}).save(path)
    return path


@pytest.fixture(scope="module")
def night(tmp_path_factory, products):
    """Catalogue, truth, candidates and shard of five sources; sources 0 to 2 are clear SB2s."""
    folder = tmp_path_factory.mktemp("night")
    columns = products.exposures(5)
    source = np.repeat(np.arange(5), 4)
    p = np.where(source < 3, 0.9, 0.05)[:, None] * np.array([0.9, 0.95, 1.0, 1.02, 1.05])
    scores = {
        arm: {name: columns[name] for name in ("key", "file")} | {f"pb_pct_{penalty:g}": p for penalty in PENALTIES}
        for arm in ("blue", "red")
    }
    table, _ = products.assemble(columns, scores, PENALTIES, {}, {})
    write_parquet(folder / "catalog.parquet", table_of(catalog_columns(PENALTIES), table))
    lines = ["file,exposure,kind,dv"]
    for k, exposure in zip(source, columns["exposure"]):
        lines.append(f"med-{k:03d}.fits.gz,{exposure},{'sb2' if k < 3 else 'single'},{120 if k < 3 else 'nan'}")
    (folder / "truth.csv").write_text("\n".join(lines) + "\n")
    select_candidates(folder / "catalog.parquet", folder / "candidates.fits", folder / "counts.json")
    products.write_spectra(folder / "shard.h5", columns)
    return folder


def test_style_leaves_pyplot_alone():
    code = "import sys, dioscuri.plots.style; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_figure_that_fails_leaves_no_file(tmp_path):
    def draw():
        with style.figure(tmp_path / "f.png") as drawing:
            drawing.subplots()
            raise RuntimeError("while drawing")

    with pytest.raises(RuntimeError, match="while drawing"):
        draw()
    assert list(tmp_path.iterdir()) == []


def test_figures_are_the_same_bytes_and_carry_their_provenance(scores, tmp_path):
    for name in ("a.png", "b.png"):
        mrs_models.tpr_against_fpr(tmp_path / name, scores[1], settings={"seed": 3})
    first = (tmp_path / "a.png").read_bytes()
    assert first == (tmp_path / "b.png").read_bytes()
    assert b'"settings": {"seed": 3}' in first


def test_rates_stand_beside_the_papers(scores, tmp_path, drawn):
    mrs_models.tpr_against_fpr(tmp_path / "f.png", scores[1])
    assert_picture(tmp_path / "f.png", style.PAGE)
    assert [axes.get_title(loc="left") for axes in drawn[0].axes] == ["blue arm", "red arm"]
    left, right = drawn[0].axes
    assert "false positive rate" in left.get_xlabel() and "true positive rate" in left.get_ylabel()
    assert left.get_xscale() == right.get_xscale() == "log"
    [printed] = [line for line in left.lines if len(line.get_xdata()) == 10]  # Table 3 has ten penalties
    assert printed.get_xydata()[4].tolist() == [0.001275, 0.359925]


def test_detectability_follows_the_label_that_decides(scores, tmp_path, drawn):
    mrs_models.detectability(tmp_path / "f.png", scores[0], penalty=16)
    assert_picture(tmp_path / "f.png", style.PAGE)
    q_axes = drawn[0].axes[0]
    blue = q_axes.containers[0].lines[0].get_xydata()
    assert (blue[blue[:, 0] < 0.69, 1] < 0.05).all()
    assert (blue[blue[:, 0] > 0.71, 1] > 0.6).all()
    assert any("km s" in text for text in axis_labels(drawn[0])) and any("[K]" in t for t in axis_labels(drawn[0]))


def test_detectability_without_such_a_penalty_says_so(scores, tmp_path, drawn):
    mrs_models.detectability(tmp_path / "f.png", scores[0], penalty=99)
    assert drawn[0].axes[0].texts[0].get_text() == "no model with Λ = 99"


def test_calibration_figures(scores, tmp_path, drawn):
    mrs_models.reliability(tmp_path / "reliability.png", scores[2])
    mrs_models.penalty_shift(tmp_path / "shift.png", scores[2])
    assert_picture(tmp_path / "reliability.png", style.PAGE)
    assert_picture(tmp_path / "shift.png", style.COLUMN)
    assert "predicted probability" in axis_labels(drawn[0])


def test_learning_curves(tmp_path, products, drawn):
    folders = [tmp_path / arm / str(seed) for arm in ("blue", "red") for seed in (1, 2)]
    for folder in folders:
        products.write_model(folder, folder.parent.name, 16, int(folder.name))
    mrs_models.learning_curves(tmp_path / "f.png", [folder / "history.csv" for folder in folders])
    assert_picture(tmp_path / "f.png", style.PAGE)
    assert [axes.get_title(loc="left") for axes in drawn[0].axes] == ["blue arm", "red arm"]
    assert drawn[0].axes[0].lines[2].get_xydata().tolist() == [[4, 0.55]]  # the model kept: least validation loss


def test_twin_binaries(tmp_path, drawn):
    points = {"penalty": 16.0, "p16": 0.1, "p50": 0.5, "p84": 0.9}
    rows = [
        {"name": name, "vsini": vsini, "arm": arm, "snr": snr, "dv": dv, **points}
        for name in ("G dwarf", "K giant")
        for arm in ("blue", "red")
        for vsini in (5.0, 50.0)
        for snr in (10.0, 40.0)
        for dv in np.arange(0, 201, 20.0)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "twins.parquet")
    mrs_models.twin_binaries(tmp_path / "f.png", tmp_path / "twins.parquet")
    assert len(drawn[0].axes) == 4
    assert "Δv [km s$^{-1}$]" in axis_labels(drawn[0])


def test_mock_pair_is_the_one_most_like_the_papers(tmp_path, products, library_path, drawn):
    labels = products.labels(50)
    labels["q"][7], labels["dv"][7], labels["teff1"][7], labels["snr"][7] = 0.9, -100.0, 5800.0, 60.0
    labels["vsini1"][7] = labels["vsini2"][7] = 2.0
    assert mrs_mocks.example_pair(labels) == 7
    columns = {**labels, "afe": 0 * labels["q"], "v1": 0 * labels["q"], "logg2": labels["logg1"]}
    columns |= {"radius1": np.ones(50), "radius2": np.full(50, 0.8)}
    for name, (low, high) in {"teff1": (4200, 7800), "teff2": (4200, 7800)}.items():
        columns[name] = np.clip(columns[name], low, high)
    noise = torch.randn(50, 64).numpy(), torch.randn(50, 72).numpy()
    spectra = {"blue": (noise[0], noise[0]), "red": (noise[1], noise[1])}
    with mock_shard(tmp_path / "shard.h5", 50, tuple(columns), products.N_PIXELS, {}) as writer:
        writer.append(columns, spectra)
    mrs_mocks.mock_pair(tmp_path / "f.png", tmp_path / "shard.h5", library_path, FACTS)
    assert_picture(tmp_path / "f.png", style.PAGE)
    binary, primary, secondary = (line.get_ydata() for line in drawn[0].axes[0].lines)
    assert np.allclose(binary, primary + secondary)
    assert "vacuum wavelength [Å]" in axis_labels(drawn[0])


def test_hr_diagram_shows_hot_stars_on_the_left(tmp_path, products, drawn):
    columns = products.labels(40)
    columns |= {"logg2": columns["logg1"], "radius1": np.ones(40), "radius2": np.full(40, 0.5)}
    for name in ("a.h5", "b.h5"):
        with mock_shard(tmp_path / name, 40, tuple(columns), {"blue": 2}, {}) as writer:
            writer.append(columns, {"blue": (np.zeros((40, 2)), np.zeros((40, 2)))})
    mrs_mocks.hr_diagram(tmp_path / "f.png", [tmp_path / "a.h5", tmp_path / "b.h5"], n_pairs=60)
    assert_picture(tmp_path / "f.png", style.PAGE)
    axes = drawn[0].axes[0]
    assert axes.get_xlim()[0] > axes.get_xlim()[1] and axes.get_ylim()[0] > axes.get_ylim()[1]
    assert "60 pairs" in axes.get_title(loc="left")


def test_probability_against_snr_is_normalised_in_each_bin(night, tmp_path, drawn):
    mrs_catalog.probability_vs_snr(tmp_path / "f.png", night / "catalog.parquet", arm="blue", penalties=PENALTIES)
    mesh = drawn[0].axes[0].collections[0]
    columns = mesh.get_array().sum(axis=0)
    assert np.allclose(columns.compressed() if np.ma.isMaskedArray(columns) else columns, 1)
    assert "S/N per pixel" in axis_labels(drawn[0])


def test_night_recall_shows_truth_and_numbers(night, tmp_path, drawn):
    mrs_catalog.night_recall(tmp_path / "f.png", night / "catalog.parquet", night, arms=["blue", "red"])
    assert_picture(tmp_path / "f.png", style.PAGE)
    legend = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert legend[0].startswith("blue arm: 9 exposures of SB2s; 0 of 6 ")


def test_candidates_are_drawn_once_per_source_with_both_ccfs(night, library_path, tmp_path, drawn):
    mrs_candidates.candidates(
        tmp_path / "f.png", night / "candidates.fits", [night / "shard.h5"], library_path, FACTS, n_shown=2
    )
    assert len(drawn[0].axes) == 6
    titles = [axes.get_title(loc="left") for axes in drawn[0].axes if axes.get_title(loc="left")]
    assert len(titles) == len({title.split(",")[0] for title in titles}) == 2
    assert "0.81 and 0.81" in titles[0]
    assert len(drawn[0].axes[2].lines) == 3  # two CCFs and the line at rest
    assert len(read_catalog(night / "candidates.fits", "CANDIDATES")) == 12


def test_no_candidate_is_said(tmp_path, drawn):
    mrs_candidates.draw_candidates(tmp_path / "f.png", [], ARMS)
    assert drawn[0].axes[0].texts[0].get_text() == "no SB2 candidate in this catalogue"
