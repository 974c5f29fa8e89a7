"""The science gate of the protostar line: is the search better than chance, and honest about unseen systems?"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import pandas as pd

from dioscuri.evaluation.mrs_checks import Check, at_least, unbounded
from dioscuri.io import write_json

# What we promise, and why. A member observed again with other noise must be found again: at least this often its
# snapshot (± 2 kyr) is among the ten nearest.
FOUND_IN_TEN = 0.5
UNSEEN = ("leave_one_system_out", "system")  # the headline, in order of preference


def write_checks(
    out: str | os.PathLike,
    recovery_csv: str | os.PathLike,
    heads_csv: str | os.PathLike,
    true_snapshots: Sequence[str | os.PathLike],
) -> None:
    """Write all checks as a JSON list; the paper prints none of these numbers."""
    recovery = pd.read_csv(recovery_csv)
    checks = [*_found_again(true_snapshots), *_recovered(recovery), *_heads(heads_csv)]
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
    """Errors over all parameters; on unseen systems untrained features must beat chance."""
    means = table[table["parameter"] == "all"].set_index(["split", "method"])
    for (split, method), row in means.iterrows():
        yield unbounded(f"{split}.{method}.error", row["error"], row["error_se"])
        yield unbounded(f"{split}.{method}.rho", row["rho"], row["rho_se"])
        yield unbounded(f"{split}.{method}.coverage68", row["coverage68"], row["coverage68_se"])
    splits = table["split"].unique()
    headline = next((split for split in UNSEEN if split in splits), None)
    if headline is not None:
        part = means.loc[headline]
        for method in part.index:
            if method.endswith(("/plain", "/scaled")):
                gain, error = part.loc["random", "error"] - part.loc[method, "error"], part.loc[method, "error_se"]
                yield at_least(f"{headline}.{method}.gain_over_random", gain, error, 0.0)


def _heads(path: str | os.PathLike) -> Iterator[Check]:
    """Change of the error by scaling and by trained heads, paired over the same images; negative is better."""
    table = pd.read_csv(path)
    for row in table[table["parameter"] == "all"].itertuples():
        name = f"{row.split}.{row.method}.error_change_from_{str(row.baseline).rsplit('/', 1)[-1]}"
        yield unbounded(name, row.error, row.error_se)
