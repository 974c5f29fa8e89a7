"""The science gate of the protostar line: is the search better than chance, and honest about unseen systems?"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from dioscuri.evaluation.mrs_checks import Check, at_least, unbounded
from dioscuri.io import write_json

# What we promise, and why. A member observed again with other noise must be found again: at least this often its
# snapshot (± 2 kyr) is among the ten nearest.
FOUND_IN_TEN = 0.5
GAIN_IN_ERRORS = 1.0  # of features over random choice on unseen systems, in units of its bootstrap error
AS_THEY_ARE = "noiseless"  # the observation whose numbers go by their plain names
UNSEEN = ("leave_one_system_out", "system")  # the headline, in order of preference


def write_checks(
    out: str | os.PathLike,
    recovery_csv: str | os.PathLike,
    heads_csv: str | os.PathLike,
    true_snapshots: Sequence[str | os.PathLike],
) -> None:
    """Write all checks as a JSON list; the paper prints none of these numbers."""
    recovery = pd.read_csv(recovery_csv)
    checks = [*_found_again(true_snapshots), *_recovered(recovery), *_gained(pd.read_csv(heads_csv))]
    write_json(out, [asdict(check) for check in checks])


def _found_again(paths: Sequence[str | os.PathLike]) -> Iterator[Check]:
    for path in paths:
        network = str(path).split("/")[-2]
        for row in pd.read_csv(path).itertuples():
            view = "" if row.same_view else ".other_view"
            name, error = f"{network}.true_snapshot.top{row.k}{view}", 0.5 * (row.high - row.low)
            if row.k == 10 and row.same_view:
                yield at_least(name, row.rate, error, FOUND_IN_TEN)
            else:
                yield unbounded(name, row.rate, error)


def _recovered(table: pd.DataFrame) -> Iterator[Check]:
    """Errors, rank correlations and coverage over all parameters."""
    for row in table[table["parameter"] == "all"].itertuples():
        name = f"{_seen(row)}{row.split}.{row.method}"
        for score in ("error", "rho", "coverage68", "coverage95"):
            yield unbounded(f"{name}.{score}", getattr(row, score), getattr(row, f"{score}_se"))


def _gained(table: pd.DataFrame) -> Iterator[Check]:
    """Changes of the error by scaling, regression and trained heads, paired over the same images; negative is better.

    On unseen systems, looking at the image must beat chance by more than the error of the difference.
    """
    table = table[table["parameter"] == "all"]
    headline = next((split for split in UNSEEN if split in set(table["split"])), None)
    for row in table.itertuples():
        name = f"{_seen(row)}{row.split}.{row.method}"
        unlike = str(row.method).endswith("-unlike")
        if row.baseline == "random" and row.split == headline and not unlike:
            yield at_least(f"{name}.gain_over_random_in_errors", -row.error / row.error_se, 0.0, GAIN_IN_ERRORS)
        else:
            whose = str(row.baseline) if row.baseline == "random" else _short(str(row.baseline), str(row.method))
            yield unbounded(f"{name}.error_change_from_{whose}", row.error, row.error_se)


def _short(baseline: str, method: str) -> str:
    """ "scaled" of the same network, "random_cnn/scaled" of another."""
    network, way = baseline.split("/", 1)
    return way if method.split("/")[0] == network else baseline


def _seen(row: Any) -> str:
    return "" if row.observation == AS_THEY_ARE else f"{row.observation}."
