"""The penalised cross-entropy against eq. 7 as printed, and its optimum."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from dioscuri.learn.spectra.objective import weighted_bce


@pytest.mark.parametrize("penalty", [1.0, 16.0, 512.0])
def test_equals_equation_7(penalty: float) -> None:
    rng = np.random.default_rng(0)
    logits, y = rng.normal(0, 3, 50), rng.integers(0, 2, 50).astype(float)
    p = 1 / (1 + np.exp(-logits))
    printed = -np.mean(y * np.log(p) + penalty * (1 - y) * np.log(1 - p))
    ours = weighted_bce(torch.tensor(logits), torch.tensor(y), penalty)
    assert ours.item() == pytest.approx(printed, rel=1e-12)


@pytest.mark.parametrize("penalty", [1.0, 8.0, 32.0])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_optimum_is_a_shift_by_ln_penalty(share: float, penalty: float) -> None:
    y = torch.tensor(np.arange(1000) < 1000 * share, dtype=torch.float64)
    best = minimize_scalar(lambda z: weighted_bce(torch.full_like(y, z), y, penalty).item(), bracket=(-5, 5)).x
    assert best == pytest.approx(np.log(share / (1 - share)) - np.log(penalty), abs=1e-5)


def test_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([-200.0, 200.0], requires_grad=True)
    loss = weighted_bce(logits, torch.tensor([1.0, 0.0]), 512.0, reduction="none")
    loss.sum().backward()
    assert loss.tolist() == [200.0, 512 * 200.0]
    assert logits.grad.tolist() == [-1.0, 512.0]
