"""Calibration: smoothed labels bend log-odds, and the map bends them back; files know whose they are."""

import json

import numpy as np
import pytest

from dioscuri.learn import platt


def answers(n, seed, epsilon=0.1):
    """What networks that know the truth answer when they were trained with smoothed labels, and the classes."""
    random = np.random.default_rng(seed)
    truth = 1 / (1 + np.exp(-random.normal(0, 2.5, n)))
    return (1 - epsilon) * truth + epsilon * (1 - truth), random.random(n) < truth, truth


def test_the_truth_behind_smoothed_labels_is_found():
    p, y, _ = answers(40000, 1)
    other, y_other, truth = answers(20000, 2)
    calibrated = platt.fit(p, y)(other)
    before, after = platt.table(other, y_other), platt.table(calibrated, y_other)
    assert before["expected_error"] > 0.05
    # The bend of networks that know the truth exactly is the sharpest there is: a cubic follows it to 1.1 %.
    assert after["expected_error"] < 0.015 and after["chi2"] < before["chi2"] / 20
    middle = (truth > 0.1) & (truth < 0.9)
    assert np.abs(calibrated - truth)[middle].max() < 0.04


def test_a_calibrated_answer_stays_as_it_is_and_nan_stays_nan():
    p, y, truth = answers(40000, 3, epsilon=0.0)
    calibration = platt.fit(p, y)
    middle = (truth > 0.05) & (truth < 0.95)
    assert np.abs(calibration(p) - truth)[middle].max() < 0.03
    assert np.isnan(calibration(np.array([np.nan]))).all()
    assert (np.diff(calibration(np.linspace(0, 1, 500))) >= 0).all()
    never, always = calibration(np.array([0.0, 1.0]))
    assert 1 / 40002 <= never < 0.01 and 0.99 < always <= 1 - 1 / 40002


def test_what_cannot_be_calibrated_is_said():
    with pytest.raises(ValueError, match="needs both"):
        platt.fit(np.array([0.1, 0.2]), np.array([True, True]))
    p, y, _ = answers(5000, 4)
    with pytest.raises(ValueError, match="learnt nothing"):
        platt.fit(p, ~y)


def test_a_calibration_of_other_networks_is_refused(tmp_path):
    p, y, _ = answers(2000, 5)
    for name in ("a.ckpt", "b.ckpt"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    calibration = platt.fit(p, y)
    platt.write(tmp_path / "c.json", calibration, [tmp_path / "a.ckpt"], {"after": platt.table(p, y)})
    assert platt.read(tmp_path / "c.json", [tmp_path / "a.ckpt"]) == calibration
    with pytest.raises(ValueError, match=r"c\.json: this calibration belongs to other networks"):
        platt.read(tmp_path / "c.json", [tmp_path / "b.ckpt"])
    (tmp_path / "d.json").write_text(json.dumps({"schema": "other"}), encoding="utf-8")
    with pytest.raises(ValueError, match="expected schema"):
        platt.read(tmp_path / "d.json", [])
