"""Scores of test pairs and their summary: known logits have known rates, AUC and shifts."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy.stats import norm

from dioscuri.catalogs.published_mrs import TABLE_3, table_3
from dioscuri.evaluation.mrs_rates import (
    LABELS,
    evaluate_model,
    read_rates,
    read_test_scores,
    summarise,
    write_test_scores,
)
from dioscuri.io import open_shard

N = 20_000  # pairs


@pytest.fixture(scope="module")
def labels():
    return {"pair_id": np.arange(N), **{name: np.zeros(N) for name in LABELS}}


def write(path, labels, arm, penalty, seed, logits):
    """A score table; `logits` of singles and binaries."""
    parts = [(labels, y, logit) for y, logit in enumerate(logits)]
    write_test_scores(path, parts, {"arm": arm, "penalty": penalty, "seed": seed})
    return path


def gaussian_logits(separation, seed):
    """Logits whose likelihood ratio is exact: singles N(−d²/2, d²), binaries N(+d²/2, d²)."""
    rng = np.random.default_rng(seed)
    half = separation**2 / 2
    return rng.normal(-half, separation, N), rng.normal(half, separation, N)


@pytest.fixture(scope="module")
def summary(tmp_path_factory, labels):
    """Two seeds of a calibrated model at Λ = 1 and the same shifted to Λ = 16; rates and calibration."""
    folder = tmp_path_factory.mktemp("summary")
    files = []
    for seed in (1, 2):
        single, binary = gaussian_logits(2.0, seed)
        for penalty in (1, 16):
            logits = single - np.log(penalty), binary - np.log(penalty)
            files.append(write(folder / f"{penalty}-{seed}.parquet", labels, "blue", penalty, seed, logits))
    y = np.repeat([0, 1], N)
    baseline = pa.table({"pair_id": np.tile(np.arange(N), 2), "y": y, "statistic": y.astype("f4")})
    pq.write_table(baseline, folder / "baseline.parquet")
    out = folder / "rates.csv", folder / "calibration.json"
    summarise(files, *out, baseline_files={"blue": folder / "baseline.parquet"})
    return read_rates(out[0]), json.loads(out[1].read_text())["arms"]["blue"]


def test_table_3_is_as_printed():
    assert table_3("blue", 16) == (0.359925, 0.001275)
    assert table_3("red", 32.0) == (0.312365, 0.000645)
    assert table_3("blue", 24) is None
    for rates in TABLE_3.values():
        tpr, fpr = np.array(list(rates.values())).T
        assert len(tpr) == 10
        assert (np.diff(tpr) < 0).all() and (np.diff(fpr) < 0).all()
        # Every printed rate is a count of five models on 40,000 spectra.
        assert np.allclose(np.array([tpr, fpr]) * 200_000, np.round(np.array([tpr, fpr]) * 200_000), atol=1e-6)


def test_rates_and_auc_of_known_logits(summary):
    rates, _ = summary
    for row, penalty in zip(rates, (1, 16)):
        threshold = np.log(penalty)
        assert row["n_seeds"] == 2 and row["n_pairs"] == N
        # 5σ of a binomial with 2 × 20,000 trials is at most 0.0125
        assert row["tpr"] == pytest.approx(norm.sf((threshold - 2) / 2), abs=0.0125)
        assert row["fpr"] == pytest.approx(norm.sf((threshold + 2) / 2), abs=0.0125)
        assert row["auc"] == pytest.approx(norm.cdf(2 / np.sqrt(2)), abs=0.01)
        assert row["tpr_low"] < row["tpr"] < row["tpr_high"]
        # the width of a 68 % interval of one test set, not of two
        half = 0.5 * (row["tpr_high"] - row["tpr_low"])
        assert half == pytest.approx(np.sqrt(row["tpr"] * (1 - row["tpr"]) / N), rel=0.05)
        assert row["tpr_paper"] == table_3("blue", penalty).tpr
        fpr = table_3("blue", penalty).fpr
        assert row["tpr_at_paper_fpr"] == pytest.approx(norm.sf(norm.isf(fpr) - 2), abs=0.04)


def test_the_ensemble_of_independent_seeds_is_better(summary):
    rates, _ = summary
    assert (rates["auc_ensemble"] > rates["auc"] + 0.02).all()


def test_the_classical_method_is_compared_at_our_own_fpr(summary):
    rates, _ = summary
    assert np.all(rates["tpr_classical"] == 1) and np.all(rates["auc_classical"] == 1)  # it was made perfect


def test_calibrated_logits_lie_on_the_diagonal_at_every_penalty(tmp_path, labels):
    for penalty in (1, 16):
        logits = [values - np.log(penalty) for values in gaussian_logits(2.0, 3)]
        path = write(tmp_path / f"{penalty}.parquet", labels, "red", penalty, 1, logits)
        summarise([path], tmp_path / "rates.csv", tmp_path / "calibration.json")
        curve = json.loads((tmp_path / "calibration.json").read_text())["arms"]["red"]["reliability"][0]
        assert curve["expected_error"] < 0.02


def test_a_penalty_shifts_the_logits_by_its_logarithm(summary):
    shift = summary[1]["shift"]
    assert shift["from_penalty"] == 1
    (entry,) = shift["to"]
    assert entry["expected"] == pytest.approx(-np.log(16))
    assert entry["median"] == pytest.approx(-np.log(16), abs=1e-5)
    assert entry["scatter"] < 1e-5
    assert entry["tpr_shifted"] == entry["tpr_trained"] and entry["fpr_shifted"] == entry["fpr_trained"]
    assert entry["tpr_difference"] == 0 and 0 < shift["seed_tpr_difference"] < 0.3  # a shift leaves the ROC as it is
    assert shift["seed_scatter"] == pytest.approx(2 * np.sqrt(2), rel=0.2)  # independent seeds, σ = 2 within a class


def test_tables_of_different_pairs_are_not_averaged(tmp_path, labels):
    logits = gaussian_logits(1.0, 0)
    first = write(tmp_path / "a.parquet", labels, "blue", 8, 1, logits)
    other = {**labels, "pair_id": labels["pair_id"] + 1}
    second = write(tmp_path / "b.parquet", other, "blue", 8, 2, logits)
    with pytest.raises(ValueError, match="other test pairs"):
        summarise([first, second], tmp_path / "rates.csv", tmp_path / "calibration.json")


def test_only_score_tables_are_summarised(tmp_path):
    pq.write_table(pa.table({"p": [0.5]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="not a score table"):
        summarise([tmp_path / "a.parquet"], tmp_path / "rates.csv", tmp_path / "calibration.json")
    with pytest.raises(ValueError, match="no score table"):
        summarise([], tmp_path / "rates.csv", tmp_path / "calibration.json")


def test_a_model_is_scored_on_every_spectrum_in_order(tmp_path, products):
    net = products.write_model(tmp_path / "model", "red", 16, 3)
    shards = [tmp_path / "a.h5", tmp_path / "b.h5"]
    known = [products.write_mocks(shards[0], 350), products.write_mocks(shards[1], 20, first=350)]
    evaluate_model(tmp_path / "model", shards, tmp_path / "scores.parquet")
    model, scores = read_test_scores(tmp_path / "scores.parquet")
    assert model == {"arm": "red", "penalty": 16.0, "seed": 3}
    wanted, pairs = [], []
    for path, labels in zip(shards, known):
        for kind in ("single", "binary"):
            with open_shard(path, "dioscuri/mocks/1") as stream:
                flux = torch.from_numpy(stream[f"red/{kind}"][:]).float()
            with torch.no_grad():
                wanted.append(net(flux).numpy())
            pairs.append(labels["pair_id"])
    assert np.array_equal(scores["pair_id"], np.concatenate(pairs))
    assert np.array_equal(scores["y"], np.repeat([0, 1, 0, 1], [350, 350, 20, 20]))
    assert np.allclose(scores["logit"], np.concatenate(wanted), atol=1e-5)
    assert np.allclose(scores["p"], 1 / (1 + np.exp(-scores["logit"].astype(float))), atol=1e-6)
    assert np.allclose(scores["dv"][:350], known[0]["dv"], rtol=1e-6)
