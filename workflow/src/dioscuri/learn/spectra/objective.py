"""The penalised cross-entropy that the networks minimise."""

import torch
import torch.nn.functional as F
from torch import Tensor


def weighted_bce(logits: Tensor, y: Tensor, penalty: float, reduction: str = "mean") -> Tensor:
    """Binary cross-entropy with weight Λ on the negatives (Zhang et al. 2022, eq. 7), from logits.

    −1/N Σ [y log ŷ + Λ (1 − y) log(1 − ŷ)], ŷ = sigmoid(logit); `logits` and `y` (B,), y = 1 for binaries.
    As printed, the mean is over spectra, not over weights. `reduction`: mean, sum or none.
    The optimum is logit_Λ = logit_1 − ln Λ: a penalty moves the threshold of one and the same model.
    """
    weight = torch.where(y > 0.5, 1.0, penalty)
    return F.binary_cross_entropy_with_logits(logits, y, weight, reduction=reduction)
