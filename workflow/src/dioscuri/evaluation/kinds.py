"""How often each kind of pair is called a binary: ordinary ones beside those that are known to deceive."""

import os
from collections.abc import Sequence

import numpy as np
import pyarrow.parquet as pq

from dioscuri.io import read_provenance
from dioscuri.learn.metrics import binomial_interval
from dioscuri.shards import read_mock_labels


def rates_by_kind(
    scores: str | os.PathLike, test_shards: Sequence[str | os.PathLike], threshold: float = 0.5
) -> list[dict[str, float | int | str]]:
    """False-positive rate and recall of one model for every kind of pair in the test mocks, a row each.

    `scores`: the table of `evaluation.evaluate_model`, made of `test_shards` (in any order). Rows: kind, n (pairs),
    fpr (share of single-star spectra of p > `threshold`), tpr (of the binaries' spectra), and their 68 % binomial
    intervals (fpr_low, fpr_high, tpr_low, tpr_high). Shards without the column `kind` are all ordinary. ValueError
    where a score has no pair in the shards.
    """
    kinds: dict[int, int] = {}
    names: tuple[str, ...] = ("ordinary",)
    for path in test_shards:
        labels = read_mock_labels(path)
        numbers = labels.get("kind", np.zeros(len(labels["pair_id"]))).astype(int)
        kinds.update(zip(labels["pair_id"].tolist(), numbers.tolist()))
        names = max(names, tuple(read_provenance(path).get("kinds", names)), key=len)
    table = pq.read_table(scores, columns=["pair_id", "y", "p"])
    pair_id, y, p = (table[name].to_numpy() for name in ("pair_id", "y", "p"))
    strangers = sorted(set(pair_id.tolist()) - set(kinds))
    if strangers:
        raise ValueError(
            f"{scores}: {len(strangers)} scored pairs (first: {strangers[0]}) are in none of the {len(test_shards)} "
            "shards given; give the shards that were scored"
        )
    kind = np.array([kinds[one] for one in pair_id.tolist()])
    rows: list[dict[str, float | int | str]] = []
    for number in np.unique(kind):
        row: dict[str, float | int | str] = {"kind": names[number], "n": int(((kind == number) & (y == 0)).sum())}
        for rate, label in (("fpr", 0), ("tpr", 1)):
            called = p[(kind == number) & (y == label)] > threshold
            low, high = binomial_interval(int(called.sum()), len(called))
            row |= {rate: float(called.mean()), f"{rate}_low": float(low), f"{rate}_high": float(high)}
        rows.append(row)
    return rows
