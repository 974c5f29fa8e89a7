"""Figures of the image models: what is drawn where, and that nothing is drawn that is not there."""

import json

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from scipy.stats import norm

from dioscuri.evaluation.image_merits import LABELS, merits, samples_of, summarise, summarise_recall, write_scores
from dioscuri.learn.images.backbones import build
from dioscuri.learn.images.inference import IMAGE_MODEL_SCHEMA
from dioscuri.plots import images_models, images_networks, images_stamps, style
from dioscuri.psf.effective import Psf
from dioscuri.stamps.mocks import CENTRE

N = 1200
NOISE = {"sigma": 0.59}


def assert_picture(path):
    """A PNG with something on it."""
    assert imread(path)[..., :3].std() > 0.02
    assert not list(path.parent.glob(f".{path.stem}*"))


@pytest.fixture(scope="module")
def psf_path(tmp_path_factory):
    """A Gaussian PSF of 2 px FWHM, four samples a pixel."""
    offsets = np.arange(-40, 41) / 4
    profile = np.exp(-0.5 * (offsets / 0.85) ** 2)
    samples = np.outer(profile, profile)
    path = tmp_path_factory.mktemp("psf") / "gauss.npz"
    Psf(16 * samples[None] / samples.sum(), 4, 0.075).save(path)
    return path


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Scores and optima of two cases, `even` with equal stars and `odd` with any flux ratio, on tests and grids.

    A pair is the easier the wider it is; another jitter pushes all scores of `even` up, and none of `odd`.
    """
    folder, scores, optima = tmp_path_factory.mktemp("scored"), [], []
    cells = [("test", None), *(("snr", v) for v in (30.0, 155.0)), *(("jitter", v) for v in (-0.02, 0.02))]
    for case in ("even", "odd"):
        for sample in dict.fromkeys(name for name, _ in cells):
            parts = {"network": [], "optimum": []}
            for value in (v for name, v in cells if name == sample):
                rng = np.random.default_rng([case == "even", len(sample), int(100 * (value or 0)) % 1000])
                binary = np.arange(N) % 2 == 1
                columns = {name: np.zeros(N) for name in LABELS} | {"star_id": np.arange(N), "is_binary": binary}
                columns["sep"] = np.where(binary, rng.uniform(0.1, 2.0, N), 0.0)
                columns["flux_ratio"] = np.where(binary, 1.0 if case == "even" else rng.uniform(0, 1, N), 0.0)
                signal = 4 * columns["sep"] * np.minimum(1, 2 * columns["flux_ratio"]) - 2
                x = rng.standard_normal(N) + np.where(binary, signal, -2.0)
                x += 3 * (sample == "jitter" and case == "even")
                parts["network"].append((value, columns | {"p": norm.cdf(x)}))
                statistic = {"log_bf": 3 * x, "glr": x + 2, "log_bf_assumed": 3 * x}
                if sample != "jitter":
                    statistic.pop("log_bf_assumed")
                parts["optimum"].append((value, columns | statistic))
            about = {"survey": "csst", "case": case, "sample": sample}
            scores.append(folder / f"{case}-{sample}.parquet")
            write_scores(scores[-1], parts["network"], about | {"network": "compact", "seed": 1})
            optima.append(folder / f"{case}-{sample}-optimum.parquet")
            write_scores(optima[-1], parts["optimum"], about)
    return scores, optima


@pytest.fixture(scope="module")
def table(scored):
    return merits(samples_of(*scored))


@pytest.fixture(scope="module")
def merits_file(scored, tmp_path_factory):
    path = tmp_path_factory.mktemp("merits") / "merits.csv"
    summarise(*scored, path)
    return path


def title_of(axes):
    """The title, which stands on the left in the house style."""
    return axes.get_title(loc="left")


def lines_of(axes):
    """Label-free lines of an axes, as (x, y) arrays."""
    return [tuple(np.asarray(values, float) for values in line.get_data()) for line in axes.lines]


def test_accuracy_is_drawn_for_each_case_with_the_papers_points(table, merits_file, drawn, tmp_path):
    images_models.accuracy_along(tmp_path / "a.png", merits_file, "snr")
    assert_picture(tmp_path / "a.png")
    above = drawn[0].axes[:2]
    assert [title_of(axes) for axes in above] == ["even", "odd"]
    rows = table[(table["axis"] == "snr") & (table["case"] == "even") & (table["method"] == "compact")]
    assert any(len(y) == len(rows) and np.allclose(y, rows["accuracy"], atol=1e-5) for _, y in lines_of(above[0]))
    assert any(np.array_equal(x, [30, 55, 155]) and np.allclose(y, [0.80, 0.93, 0.99]) for x, y in lines_of(above[0]))
    assert drawn[0].axes[2].get_xlabel() == "S/N (eq. 1)"


def test_an_axis_that_nobody_tested_says_so(merits_file, drawn, tmp_path):
    images_models.accuracy_along(tmp_path / "a.png", merits_file, "sep")
    assert drawn[0].axes[0].texts[0].get_text() == "no case was tested along sep"


def test_roc_and_confusion_matrix(scored, drawn, tmp_path):
    images_models.roc_and_confusion(tmp_path / "roc.png", *scored)
    assert_picture(tmp_path / "roc.png")
    above, below = drawn[0].axes[0], drawn[0].axes[2]
    assert "paper, EfficientNet-B3 0.997" in above.texts[0].get_text()
    assert any(np.allclose(x, 0.023) and np.allclose(y, 1 - 0.032) for x, y in lines_of(above))
    counts = [int(text.get_text().split("\n")[0]) for text in below.texts]
    assert sum(counts) == N and counts[0] + counts[1] == N / 2


def test_recall_is_mapped_where_pairs_are_unequal(scored, drawn, tmp_path):
    summarise_recall(*scored, tmp_path / "recall.csv")
    images_models.recall_map(tmp_path / "map.png", tmp_path / "recall.csv")
    assert_picture(tmp_path / "map.png")
    panels = [axes for axes in drawn[0].axes if title_of(axes)]
    assert [title_of(axes) for axes in panels] == ["odd\ncompact network", "odd\noptimum"]
    share = panels[0].collections[0].get_array()
    assert share[-1, -1] > 0.9 > 0.3 > share[0, 0]  # bright and wide, faint and close


def test_recall_needs_unequal_pairs(scored, drawn, tmp_path):
    even = [[path for path in paths if "even" in path.name] for paths in scored]
    summarise_recall(*even, tmp_path / "recall.csv")
    images_models.recall_map(tmp_path / "map.png", tmp_path / "recall.csv")
    assert drawn[0].axes[0].texts[0].get_text() == "no case has pairs of unequal flux"


def test_psf_errors_show_in_the_false_positives(merits_file, drawn, tmp_path):
    images_models.psf_mismatch(tmp_path / "psf.png", merits_file)
    assert_picture(tmp_path / "psf.png")
    above = drawn[0].axes[0]
    curves = {line.get_color(): line.get_ydata() for line in above.lines if np.size(line.get_xdata()) == 3}
    even, odd = (curves[images_models.CASE_COLOURS[k]] for k in (0, 1))
    assert min(even[0], even[2]) > 0.5 > 0.1 > even[1]  # the nominal PSF stands between the two
    assert np.max(odd) < 0.1
    assert drawn[0].axes[1].get_xlabel() == "change of the jitter [%]"
    assert any(np.array_equal(x, [-2, 0, 2]) for x, _ in lines_of(above))
    labels = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert labels == ["even", "odd", "compact network", "optimum", "optimum, nominal PSF"]


def test_the_networks_are_drawn_with_the_shapes_behind_their_layers(drawn, tmp_path):
    networks = {
        "compact": {"architecture": "compact", "rendering": "compact", "layers": {"crop": 2}},
        "small_b3": {
            "architecture": "efficientnet_b3",
            "rendering": "rgb_log",
            "layers": {"upscale": 32, "weights": "hub"},
        },
    }
    images_networks.architectures(tmp_path / "networks.png", networks)
    assert_picture(tmp_path / "networks.png")
    compact, large, block = [[text.get_text() for text in axes.texts if text.get_text()] for axes in drawn[0].axes]
    assert compact[::2] == ["32 × 8²", "48 × 6²", "64 × 3²", "128", "128", "2"]
    assert large[0] == "40 × 16²" and large[-10::2] == ["1536 × 1²", "1536", "512", "512", "2"]
    assert large[-1].startswith("dense") and large[-5].startswith("dense")
    assert [text.split("\n")[0].split()[0] for text in block[1::2]] == ["expand", "depth-wise", "squeeze", "project"]
    assert block[0] == "2304 × 1²" and block[-2] == "384 × 1²"


def test_learning_curves_mark_the_epoch_that_was_kept(drawn, tmp_path):
    folder = tmp_path / "seed1"
    folder.mkdir()
    (folder / "model.json").write_text(json.dumps({"context": {"case": "even", "network": "compact"}}))
    (folder / "history.csv").write_text("epoch,train_loss,validation_loss\n1,0.7,0.6\n2,0.5,0.4\n3,0.3,0.5\n")
    images_models.learning_curves(tmp_path / "learning.png", [folder / "history.csv"])
    assert_picture(tmp_path / "learning.png")
    kept = [(x, y) for x, y in lines_of(drawn[0].axes[0]) if x.size == 1]
    assert len(kept) == 1 and (float(kept[0][0][0]), float(kept[0][1][0])) == (2, 0.4)


def test_example_pairs_have_their_separation_flux_and_photocentre():
    sources = images_stamps.example_sources()
    gap = np.hypot(sources["x2"] - sources["x1"], sources["y2"] - sources["y1"])
    np.testing.assert_allclose(gap, images_stamps.EXAMPLE_SEPS)
    np.testing.assert_allclose(sources["flux1"] + sources["flux2"], images_stamps.EXAMPLE_FLUX)
    for axis in "xy":
        moment = sources["flux1"] * sources[f"{axis}1"] + sources["flux2"] * sources[f"{axis}2"]
        np.testing.assert_allclose(moment / images_stamps.EXAMPLE_FLUX, CENTRE)


def test_psf_and_stamps(psf_path, drawn, tmp_path):
    images_stamps.psf_and_stamps(tmp_path / "stamps.png", psf_path, noise=NOISE, seed=1)
    assert_picture(tmp_path / "stamps.png")
    titles = [title_of(axes) for axes in drawn[0].axes]
    assert "FWHM 0.150″" in titles[0]
    assert titles[1:4] == ["single star", "pair, 0.5 px apart", "pair, 1 px apart"]
    # χ² of the single star is as expected, that of the pair one pixel apart is not.
    chi2 = [float(axes.get_xlabel().split()[2]) for axes in drawn[0].axes[5:8]]
    assert abs(chi2[0] - 193) < 4 * np.sqrt(2 * 193) < chi2[2] - 193


def test_occlusion_map_is_that_of_the_stamp(psf_path, drawn, tmp_path):
    torch.manual_seed(1)
    network = {"architecture": "compact"}
    state = {f"net.{name}": value for name, value in build(network, 3).state_dict().items()}
    model = {"schema": IMAGE_MODEL_SCHEMA, "network": network, "n_channels": 3, "seed": 1}
    model |= {"rendering": "compact", "context": {"network": "compact"}}
    torch.save({"state_dict": state, "model": model}, tmp_path / "model.ckpt")
    images_stamps.occlusion(tmp_path / "map.png", tmp_path / "model.ckpt", psf_path, noise=NOISE, seed=1)
    assert_picture(tmp_path / "map.png")
    left, right = drawn[0].axes[:2]
    assert right.images[0].get_array().shape == (14, 14)
    assert title_of(left).startswith("two equal stars 1 px apart, p = 0.")
    assert title_of(right) == "occlusion of the compact network"


def test_chance_alignments(drawn, tmp_path):
    table = tmp_path / "chance.csv"
    table.write_text(
        "density,radius,share,error,expected\n1e6,0.15,0.0028,0.0001,0.0027\n1e7,0.15,0.0252,0.0002,0.0251\n"
    )
    images_stamps.chance_alignments(tmp_path / "chance.png", table)
    assert_picture(tmp_path / "chance.png")
    assert any(np.array_equal(x, [1e6, 1e7]) and np.allclose(y, [0.003, 0.025]) for x, y in lines_of(drawn[0].axes[0]))


def test_every_method_has_a_look_of_its_own():
    looks = [tuple(sorted(look.items())) for look in images_models.METHODS.values()]
    assert len(set(looks)) == len(looks)
    assert set(images_models.METHODS) == set(images_models.LABEL)
    assert style.FAINT not in {look["color"] for look in images_models.METHODS.values()}
