"""Purity by prevalence, classes and orbits against truth, on tables made up by hand."""

import numpy as np
import pandas as pd
import pytest

from dioscuri.evaluation.mrs_survey import classes, orbits, purity, rates_by_kind, residuals

KINDS = ["sb2"] * 40 + ["single"] * 100 + ["cool_giant"] * 20 + ["triple"] * 20 + ["sb1"] * 20


@pytest.fixture
def table():
    """Every SB2 that moves is called and every fifth cool giant; ten SB2s never show."""
    n = len(KINDS)
    kind = np.array(KINDS)
    dv = np.where(kind == "sb2", np.where(np.arange(n) < 10, 20.0, 120.0), 0.0)
    called = ((kind == "sb2") & (dv > 50)) | (kind == "triple") | ((kind == "cool_giant") & (np.arange(n) % 5 == 0))
    found = np.where(called, "sb2", np.where(kind == "sb1", "sb1", "single"))
    return pd.DataFrame(
        {
            "kind": kind,
            "dv": dv,
            "snr": 30.0,
            "paper": called,
            "joint": called,
            "class": called,
            "class_found": found,
            "n_epochs_found": np.arange(n) % 8 + 1,
            "residual": np.where(kind == "cool_giant", 3.0, 1.0),
            "q": 0.8,
            "q_found": np.where(called, 0.8 + 0.1 * (np.arange(n) % 2), np.nan),
            "q_err_found": 0.03,
            "period": 4.0,
            "period_found": np.where(called, np.where(np.arange(n) % 4, 4.0, 1.33), np.nan),
            "aliases_found": np.where(np.arange(n) % 8, "", "4.001:0.2 9.1:0.1"),
        }
    )


def test_rates_are_counted_by_kind(table):
    rates = rates_by_kind(table).set_index(["rule", "kind"])
    assert rates.loc[("paper", "sb2"), ["stars", "called"]].tolist() == [30, 30]
    assert rates.loc[("paper", "sb2_narrow"), ["stars", "called"]].tolist() == [10, 0]
    assert rates.loc[("joint", "cool_giant"), "called"] == 4
    assert (rates["low"] <= rates["share"]).all() and (rates["share"] <= rates["high"]).all()


def test_purity_weighs_kinds_by_how_many_there_are(table):
    """3 % of SB2s, all found; 2 % of cool giants, a fifth called; kinds that were not simulated may do anything."""
    rates = rates_by_kind(table)
    whole = pd.concat(
        [rates, pd.DataFrame([("paper", k, 10_000, 0, 0.0, 0.0, 0.0) for k in MISSING], columns=rates.columns)]
    )
    result = purity(whole, "paper", 0.03, seed=1)
    expected = 0.033 / (0.033 + 0.02 * 0.2 + 0.81 * 0.005 + 0.1 * 0.02)
    assert result["purity"] == pytest.approx(expected, abs=0.06)
    assert result["completeness"] > 0.95
    assert purity(rates, "paper", 0.03, seed=1)["purity_low"] < result["purity_low"], "unknown kinds widen the interval"


MISSING = ("fast_rotator", "moonlight", "nebular_halpha", "neighbour")


def test_classes_by_epochs_and_snr(table):
    rows = classes(table)
    (by_snr,) = [row for row in rows if row["by"] == "snr"]
    assert by_snr["stars"] == 200 and by_snr["right"] == pytest.approx(196 / 200)  # four giants called SB2s
    assert sum(row["stars"] for row in rows if row["by"] == "epochs") == 200


def test_orbits_against_truth(table):
    result = orbits(table)
    assert (result["binaries"], result["with_q"], result["with_period"]) == (40, 30, 30)
    assert result["q_within_0.05"] == pytest.approx(0.5)
    assert result["period_right_or_among_aliases"] > result["period_right"] > 0.7


def test_a_residual_that_is_too_large_tells_an_impostor(table):
    result = residuals(table)
    assert result["cool_giant"] == {"median": 3.0, "beyond": 1.0} and result["single"]["beyond"] == 0.0
