"""Triplets of images, ordered by how alike their systems are: scores, sampling, head and loss.

After Al-Belmeisi et al. (2023, §2.4.2). The recipes hold what the paper prints and what has to be corrected:

* The rule for (p, n) is inverted: a positive score means that member 2 is the one *farther* from the anchor in its
  parameters, and the rule makes it the positive one, against the sentence before it ("lowest scoring function is
  labelled as positive").
* k = 6, but the vector of parameters has seven elements.
* Eq. 6 is 0/0 where both values are zero (two systems without discs); here 0: they agree.
* Eq. 8 prints a norm inside [·]₊, which would never be zero. The text, and the left side of the equation, let a
  triplet teach only where d_ap > d_an; both recipes do.
* "b₁ = 10⁻³" is the decay of Adam's first moment, β₁ = 0.9 in any other use; 10⁻³ switches momentum off.
* λ Σ w² is a term of the loss (its gradient passes through Adam's scaling) and not Adam's `weight_decay`; both
  recipes add it to the loss.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

# The vector q of §2.4.2, in its order.
SCORED = ("m1", "m2", "l1", "l2", "disc_size1", "disc_size2", "gas_mass_100au")
SCORES = ("ratio", "log", "linear")
LOSSES = ("gated", "always", "softplus")
# The softplus loss measures distances in the typical one of the batch, divided by this.
SHARPNESS = 4.0
# Share of triplets that may score exactly 0 before something is wrong with the metadata.
MOST_TIES = 0.9


@dataclass(frozen=True)
class Recipe:
    """How a head is taught.

    parameters: columns that are compared. score: `ratio`, |a − b| / (a + b) (eq. 6); `log`, the difference of the
    logarithms in units of their scatter; `linear`, the difference in units of its scatter. inverted: the (p, n) rule
    as printed. loss: `gated` learns only where d_ap > d_an (eqs. 8–10); `always` from every triplet; `softplus` too,
    and most from those that are badly wrong, where the logistic function of eqs. 9–10 is flat. beta1: Adam's. penalty:
    λ of eq. 11. dropout: probability of *dropping* a channel of the features or a neuron of the first two layers.
    standardise: features enter with zero mean and unit scatter over the training images (the paper is silent).
    """

    parameters: tuple[str, ...] = SCORED
    score: str = "ratio"
    inverted: bool = False
    loss: str = "gated"
    beta1: float = 0.9
    penalty: float = 1e-5
    dropout: float = 0.5
    standardise: bool = True

    def __post_init__(self) -> None:
        if self.score not in SCORES or self.loss not in LOSSES:
            raise ValueError(
                f"unknown score '{self.score}' or loss '{self.loss}': use {', '.join(SCORES)}; {', '.join(LOSSES)}"
            )


RECIPES = {
    # As printed: six of the seven parameters, the inverted rule, no momentum.
    "literal": Recipe(parameters=SCORED[:6], inverted=True, beta1=1e-3, standardise=False),
    "corrected": Recipe(),
    # Ours: parameters that span decades are compared by their logarithms, and every triplet teaches.
    "log_score": Recipe(score="log", loss="softplus"),
}


def recipe(name: str, **changes: object) -> Recipe:
    """A named recipe, with changes."""
    if name not in RECIPES:
        raise ValueError(f"unknown recipe '{name}': use one of {', '.join(RECIPES)}")
    return replace(RECIPES[name], **changes)  # type: ignore[arg-type]


# --- scores --------------------------------------------------------------------------------------------------


def scored_columns(metadata: Mapping[str, np.ndarray], recipe: Recipe, training: np.ndarray) -> np.ndarray:
    """The parameters as the recipe compares them, (N, P) float64.

    metadata: column → (N,). training: rows (K,) from which scatters and floors are taken. Columns for `ratio` are the
    values themselves; for `log` and `linear` they are such that plain differences are the score. Zeros on the log
    scale count as the 1st percentile of the positive values.
    """
    missing = [name for name in recipe.parameters if name not in metadata]
    if missing:
        raise ValueError(f"the scoring function needs the column(s) {', '.join(missing)}; found: {', '.join(metadata)}")
    columns = np.stack([np.asarray(metadata[name], dtype=float) for name in recipe.parameters], axis=1)
    if not np.isfinite(columns).all():
        bad = [name for name, column in zip(recipe.parameters, columns.T) if not np.isfinite(column).all()]
        raise ValueError(f"non-finite values in {', '.join(bad)}: leave these images out before training a head")
    if np.any(columns < 0):
        bad = [name for name, column in zip(recipe.parameters, columns.T) if np.any(column < 0)]
        raise ValueError(f"negative values in {', '.join(bad)}: the scoring function is for masses, sizes and the like")
    if recipe.score == "ratio":
        return columns
    if recipe.score == "log":
        for column in columns.T:
            positive = column[training][column[training] > 0]
            column[:] = np.log10(np.maximum(column, np.percentile(positive, 1))) if len(positive) else 0.0
    scatter = columns[training].std(axis=0)
    return columns / np.where(scatter > 0, scatter, 1.0)


def dissimilarity(a: np.ndarray, b: np.ndarray, score: str) -> np.ndarray:
    """g summed over the parameters: (…, P), (…, P) → (…,); ≥ 0, and 0 for equal systems. Eq. 6 for `ratio`."""
    difference = np.abs(a - b)
    if score == "ratio":
        total = a + b
        difference = np.divide(difference, total, out=np.zeros_like(difference), where=total > 0)
    return difference.sum(axis=-1)


def draw_triplets(columns: np.ndarray, rows: np.ndarray, n: int, recipe: Recipe, seed: int, epoch: int) -> np.ndarray:
    """Rows (n, 3) of anchor, positive and negative, of (seed, epoch) alone.

    columns (N, P) from `scored_columns`; rows (K,): the images to draw from. Triplets whose score is exactly 0 are
    drawn again, as in the paper.
    """
    if len(rows) < 3:
        raise ValueError(f"triplets need at least 3 images, found {len(rows)}")
    rng = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    parts: list[np.ndarray] = []
    drawn, kept = 0, 0
    while kept < n:
        anchor, second, third = rows[rng.integers(len(rows), size=(3, n))]
        a, b, c = columns[anchor], columns[second], columns[third]
        score = dissimilarity(a, b, recipe.score) - dissimilarity(a, c, recipe.score)  # eq. 7
        second_is_positive = (score > 0) if recipe.inverted else (score < 0)
        positive = np.where(second_is_positive, second, third)
        negative = np.where(second_is_positive, third, second)
        parts.append(np.stack([anchor, positive, negative], axis=1)[score != 0])
        drawn, kept = drawn + n, kept + len(parts[-1])
        if kept < (1 - MOST_TIES) * drawn:
            raise ValueError(
                f"{drawn - kept} of {drawn} triplets score exactly 0: the images to train on do not differ in "
                f"{', '.join(recipe.parameters)}"
            )
    return np.concatenate(parts)[:n]


# --- head and loss --------------------------------------------------------------------------------------------


class Head(nn.Module):
    """Frozen features (B, F) → 100-dimensional features in which alike systems are near: layers 256, 128, 100.

    cells: how many consecutive features belong to one channel of the network (1 for pooled maps); spatial dropout
    switches off whole channels. mean, scale (F,): standardisation, taken from the training images and kept with the
    weights. He initialisation.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        n_features: int,
        cells: int = 1,
        outputs: Sequence[int] = (256, 128, 100),
        dropout: float = 0.5,
    ):
        super().__init__()
        if n_features % cells:
            raise ValueError(f"{n_features} features cannot be shared out evenly to channels of {cells}")
        self.cells, self.dropout = cells, dropout
        widths = (n_features, *outputs)
        layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        self.layers = nn.ModuleList(layers)
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))

    def standardise(self, features: Tensor) -> None:
        """Take mean and scatter from the training images' features (K, F)."""
        scatter = features.std(0, correction=0)
        self.mean.copy_(features.mean(0))
        # What never varies in training says nothing; where it does vary, in a query, it must not be blown up. Finite:
        # files of weights with infinite numbers are refused.
        self.scale.copy_(torch.where(scatter > 1e-6 * scatter.max(), scatter, torch.finfo(scatter.dtype).max))

    def forward(self, features: Tensor) -> Tensor:
        x = (features - self.mean) / self.scale
        x = F.dropout1d(x.reshape(len(x), -1, self.cells), self.dropout, self.training).flatten(1)
        for layer in self.layers[:-1]:
            x = F.dropout(F.relu(layer(x)), self.dropout, self.training)
        return self.layers[-1](x)

    def penalty(self) -> Tensor:
        """Σ w² over the weights of the layers (eq. 11), biases left out."""
        weights = [one for name, one in self.layers.named_parameters() if name.endswith("weight")]
        return torch.stack([(weight**2).sum() for weight in weights]).sum()


def triplet_loss(anchor: Tensor, positive: Tensor, negative: Tensor, kind: str = "gated") -> Tensor:
    """Mean loss of triplets, (B, D) each, with the L1 distances d_ap and d_an.

    P(p) + 1 − P(n) = 2 / (1 + exp(d_an − d_ap)) (eqs. 9–10): a logistic function of the difference alone. `gated`:
    zero where the triplet is in order already (eq. 8). A head begins with distances of some tens, where that function
    is flat: `softplus` is ln(1 + exp(x)) of the difference in quarters of the batch's typical distance.
    """
    d_ap, d_an = (anchor - positive).abs().sum(1), (anchor - negative).abs().sum(1)
    excess = d_ap - d_an
    if kind == "softplus":
        typical = 0.5 * (d_ap + d_an).mean().detach()
        return F.softplus(SHARPNESS * excess / typical).mean()
    loss = 2 * torch.sigmoid(excess)
    if kind == "gated":
        loss = loss * (excess > 0)
    return loss.mean()
