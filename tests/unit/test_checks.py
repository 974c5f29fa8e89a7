"""The science gate: what passes, what fails, and what the night's truth makes of a catalogue."""

import json
import math

import numpy as np
import pytest

from dioscuri.catalogs.files import table_of, write_parquet
from dioscuri.catalogs.tables import catalog_columns
from dioscuri.evaluation.mrs_checks import ChecksFailed, at_least, at_most, auc_error, judge, write_checks
from dioscuri.evaluation.mrs_rates import LABELS, summarise, write_test_scores
from dioscuri.evaluation.mrs_recall import known_scores, read_truth
from dioscuri.io import write_json

N = 4000
KEYS = ["name", "value", "error", "unit", "paper", "bound", "passed"]


@pytest.fixture
def summary(tmp_path):
    """Rates and calibration of models with a separation of `d` in logits, at Λ = 1 and 16."""

    def make(separation):
        rng = np.random.default_rng(1)
        labels = {"pair_id": np.arange(N), **{name: np.zeros(N) for name in LABELS}}
        half = separation**2 / 2
        logits = rng.normal(-half, separation, N), rng.normal(half, separation, N)
        files = []
        for penalty in (1, 16):
            files.append(tmp_path / f"{penalty}.parquet")
            parts = [(labels, y, values - np.log(penalty)) for y, values in enumerate(logits)]
            write_test_scores(files[-1], parts, {"arm": "blue", "penalty": penalty, "seed": 1})
        summarise(files, tmp_path / "rates.csv", tmp_path / "calibration.json")
        return tmp_path / "rates.csv", tmp_path / "calibration.json"

    return make


@pytest.fixture
def night(tmp_path, products):
    """Catalogue and truth of six sources: 0–3 SB2s at Δv = 20, 80, 150, 150 km/s, 4 and 5 single.

    p50 is 0.9 for sources 2 and 4, one SB2 well seen and one single star mistaken, and 0.1 for all others.
    """
    columns = products.exposures(6)
    source = np.repeat(np.arange(6), 4)
    columns["snr_B"][:] = 50.0
    p50 = np.where(np.isin(source, (2, 4)), 0.9, 0.1)
    p = p50[:, None] + np.array([-0.05, -0.02, 0.0, 0.02, 0.05])
    scores = {"blue": {"key": columns["key"], "file": columns["file"], "pb_pct_16": p}}
    table, _ = products.assemble(columns, scores, [16], {}, {})
    write_parquet(tmp_path / "catalog.parquet", table_of(catalog_columns([16]), table))
    lines = ["file,obsid,exposure,kind,dv"]
    for k, exposure in zip(source, columns["exposure"]):
        kind, dv = ("sb2", (20, -80, 150, 150)[k]) if k < 4 else ("single", "nan")
        lines.append(f"med-{k:03d}.fits.gz,1,{exposure},{kind},{dv}")
    lines.append("med-999.fits.gz,1,0,truncated,nan")
    (tmp_path / "truth.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "catalog.parquet", tmp_path / "truth.csv"


def test_good_models_pass_and_bad_ones_fail(summary, tmp_path):
    out = tmp_path / "checks.json"
    write_checks(out, *summary(4.0), strict=True)
    checks = json.loads(out.read_text())
    assert all(list(check) == KEYS for check in checks)
    by_name = {check["name"]: check for check in checks}
    assert by_name["blue.lambda16.tpr"]["paper"] == 0.359925
    assert by_name["blue.lambda16.fpr"]["bound"].startswith("<= ")
    assert by_name["blue.lambda16.logit_shift_from_lambda1"]["passed"]
    assert by_name["blue.lambda1.calibration_error"]["passed"] is None
    with pytest.raises(ChecksFailed, match=r"blue\.lambda1\.auc = .* promised >= 0\.8"):
        write_checks(out, *summary(0.5), strict=True)
    assert out.exists()  # written before it is judged


def test_a_failed_check_only_warns_when_not_strict(summary, tmp_path, caplog):
    write_checks(tmp_path / "checks.json", *summary(0.5), strict=False)
    assert "check failed: blue.lambda1.auc" in caplog.text


def test_the_night_is_counted_by_velocity_and_snr(summary, night, tmp_path):
    out = tmp_path / "checks.json"
    write_checks(out, *summary(4.0), catalog_path=night[0], truth_csv=night[1], arms=["blue"])
    by_name = {check["name"]: check for check in json.loads(out.read_text())}
    assert by_name["night.blue.recall_dv0-30_snr_above_10"]["value"] == 0
    assert by_name["night.blue.recall_dv0-30_snr_above_10"]["bound"] is None  # nothing is promised there
    assert by_name["night.blue.recall_dv100-200_snr_above_10"]["value"] == 0.5  # one source of two
    assert by_name["night.blue.recall_snr40-200_dv_above_100"]["value"] == 0.5
    false = by_name["night.blue.false_positives_on_singles"]
    assert false["value"] == 0.5 and false["passed"] is False
    assert not any("dv200-500" in name for name in by_name)  # no such binary, no number


def test_coadds_and_wrecks_have_no_place_in_the_recall(night):
    known = known_scores(night[0], night[1], "blue")
    assert len(known.p) == 18 and known.binary.sum() == 12
    assert sorted(set(known.dv.tolist())) == [0, 20, 80, 150]
    assert len(read_truth(night[1])) == 24


def test_a_truth_without_its_columns_is_named(tmp_path):
    (tmp_path / "truth.csv").write_text("file,lmjm\na,1\n")
    with pytest.raises(ValueError, match="no column 'kind'"):
        read_truth(tmp_path / "truth.csv")


def test_a_number_may_miss_its_bound_by_its_error():
    assert at_least("a", 0.48, 0.03, 0.5).passed
    assert not at_least("a", 0.46, 0.03, 0.5).passed
    assert at_most("a", 0.52, 0.03, 0.5).passed
    assert not at_most("a", 0.54, 0.03, 0.5).passed
    assert at_most("a", 0.1, math.nan, 0.5).error is None


def test_auc_error_is_exact_where_it_is_known():
    # Without any separation the Mann–Whitney variance is (2n + 1) / 12 n².
    assert auc_error(0.5, 1000) == pytest.approx(math.sqrt(2001 / 12) / 1000)
    # Elsewhere against the scatter of simulated AUCs of exponential scores, for which the formula is exact.
    rng = np.random.default_rng(0)
    ranks = [np.mean(rng.exponential(3, 60)[:, None] > rng.exponential(1, 60)) for _ in range(2000)]
    assert auc_error(0.75, 60) == pytest.approx(np.std(ranks), rel=0.06)


def test_judge_counts_only_bounded_numbers(tmp_path, caplog):
    caplog.set_level("INFO", logger="dioscuri")
    checks = [at_least("a", 1, 0, 0.5), at_least("b", 0, 0, 0.5)]
    write_json(tmp_path / "checks.json", [vars(check) for check in checks])
    judge(tmp_path / "checks.json", strict=False)
    assert "1 of 2 bounded numbers" in caplog.text
    with pytest.raises(ChecksFailed, match="1 of 2 checks failed"):
        judge(tmp_path / "checks.json", strict=True)
