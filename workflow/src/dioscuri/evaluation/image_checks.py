"""The science gate of the image lines: figures of merit with their errors, beside the paper's and our bounds."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dioscuri.catalogs.published_images import CHANCE_ALIGNMENTS, CHANCE_RADIUS, validation
from dioscuri.evaluation.image_merits import OPTIMUM, TEST, UNKNOWN, read_merits
from dioscuri.evaluation.mrs_checks import Check, at_most, auc_error, unbounded
from dioscuri.io import write_json

# What we promise, and why.
# The optimum knows PSF and noise exactly; a network that has learnt the stamps comes this close to it.
OPTIMUM_SHORTFALL = {"compact": 0.007}
# Stamps whose PSF is not the one assumed, within what a stable space telescope does between calibrations ...
ROBUST_WITHIN = {"jitter": 0.02, "wfe": 15.0}
# ... must not make single stars look double, at a small price where the PSF is right.
ROBUST_FPR, ROBUST_LOSS = 0.05, 0.015
# A probability is a probability: mean distance of predicted and true shares.
CALIBRATION_MOST = 0.01
# The share at the higher density is printed as "approximately 2.5 %", that at the lower as "below 0.3 %".
CHANCE_TOLERANCE = {1e6: 0.0, 1e7: 5e-4}


def write_checks(
    out: str | os.PathLike,
    merits_csv: str | os.PathLike,
    cases: Mapping[str, Mapping[str, Any]],
    *,
    chance_csv: str | os.PathLike | None = None,
    calibrations: Iterable[str | os.PathLike] = (),
    others: Iterable[str | os.PathLike] = (),
) -> None:
    """Write all checks of a survey as a JSON list.

    `cases`: the settings of each case. `chance_csv`: chance alignments against density. `calibrations`: a
    calibration.json per case and network. `others`: lists of checks that further stages have written, which are
    appended.
    """
    table = read_merits(merits_csv)
    checks = [*_test_checks(table), *_grid_checks(table), *_robust_checks(table, cases)]
    if chance_csv is not None:
        checks += _chance_checks(pd.read_csv(chance_csv, comment="#"))
    for path in calibrations:
        checks += _calibration_checks(Path(path))
    listed = [asdict(check) for check in checks]
    for path in others:
        listed += json.loads(Path(path).read_text(encoding="utf-8"))
    write_json(out, listed)


def _test_checks(table: pd.DataFrame) -> Iterator[Check]:
    """Accuracy, AUC and both error rates of every method on the test stamps."""
    for row in _rows(table[table["axis"] == TEST]):
        stem, paper = f"{row['case']}.{row['method']}", None
        if row["n_seeds"]:
            paper = validation(row["survey"], row["method"])
        for name in ("accuracy", "tpr", "fpr"):
            yield unbounded(f"{stem}.{name}", row[name], _half(row, name), paper=_printed(paper, name))
        error = auc_error(row["auc"], min(row["n_binaries"], row["n_singles"]))
        yield unbounded(f"{stem}.auc", row["auc"], error, paper=_printed(paper, "auc"))
        bound = OPTIMUM_SHORTFALL.get(row["method"])
        if bound is None:
            continue
        for best in _rows(_of(table, TEST, row["case"], OPTIMUM)):
            shortfall = best["accuracy"] - row["accuracy"]
            yield at_most(f"{stem}.accuracy_below_optimum", shortfall, _half(row, "accuracy"), bound)
        for best in _rows(_of(table, TEST, row["case"], UNKNOWN)):  # of few stamps, whose error decides
            shortfall = best["accuracy"] - row["accuracy"]
            yield unbounded(f"{stem}.accuracy_below_optimum_unknown_psf", shortfall, _half(best, "accuracy"))


def _calibration_checks(path: Path) -> Iterator[Check]:
    """How far probabilities are from the shares that are true, on stamps that the calibration has not seen."""
    report = json.loads(path.read_text(encoding="utf-8"))["report"]
    stem = f"{path.parts[-3]}.{path.parts[-2]}.calibration_error"
    # Bins whose shares are right miss them by √(2/π) σ on average.
    scatter = float(np.average(report["after"]["error"], weights=report["after"]["count"]) * np.sqrt(2 / np.pi))
    yield at_most(stem, report["after"]["expected_error"], scatter, CALIBRATION_MOST)
    yield unbounded(f"{stem}_of_raw_answers", report["before"]["expected_error"], scatter)


def _grid_checks(table: pd.DataFrame) -> Iterator[Check]:
    """Accuracy in every cell of the S/N and separation grids; the optimum's and the GLRT's beside it."""
    for row in _rows(table[table["axis"].isin(["snr", "sep"])]):
        name = f"{row['case']}.{row['method']}.accuracy_{row['axis']}{row['cell']:g}"
        yield unbounded(name, row["accuracy"], _half(row, "accuracy"), paper=_known(row["accuracy_paper"]))


def _robust_checks(table: pd.DataFrame, cases: Mapping[str, Mapping[str, Any]]) -> Iterator[Check]:
    """False positives where the PSF is another one, and what robustness costs where it is the nominal one."""
    psfs = table[table["axis"].isin(ROBUST_WITHIN) & (table["n_seeds"] > 0)]
    for row in _rows(psfs):
        name = f"{row['case']}.{row['method']}.fpr_{row['axis']}{row['cell']:+g}"
        promised = cases[row["case"]]["bank"] != "nominal" and abs(row["cell"]) <= ROBUST_WITHIN[row["axis"]]
        values = (name, row["fpr"], _half(row, "fpr"))
        yield at_most(*values, ROBUST_FPR) if promised else unbounded(*values)
    for case, twin in _twins(cases):
        for row in _rows(table[(table["axis"] == TEST) & (table["case"] == case) & (table["n_seeds"] > 0)]):
            other = _of(table, TEST, twin, row["method"])
            if len(other):
                loss = float(other["accuracy"].iloc[0]) - row["accuracy"]
                name = f"{case}.{row['method']}.accuracy_lost_to_robustness"
                yield at_most(name, loss, _half(row, "accuracy"), ROBUST_LOSS)


def _twins(cases: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Each case trained on a bank of PSFs, with the case of the same population trained on the nominal one."""
    for name, case in cases.items():
        if case["bank"] != "nominal":
            for other, twin in cases.items():
                if {**case, "bank": "nominal"} == dict(twin):
                    yield name, other


def _chance_checks(table: pd.DataFrame) -> Iterator[Check]:
    """Share of chance alignments where the paper prints it, and how far the closed form is from all of ours."""
    for row in _rows(table):
        excess = row["share"] / row["expected"] - 1
        name = f"chance_alignments.share_over_closed_form_at_{row['density']:.0e}"
        yield unbounded(name, excess, row["error"] / row["expected"])
        printed = CHANCE_ALIGNMENTS.get(row["density"])
        if printed is None or row["radius"] != CHANCE_RADIUS:
            continue
        name, most = f"chance_alignments.share_at_{row['density']:.0e}", printed + CHANCE_TOLERANCE[row["density"]]
        yield at_most(name, row["share"], row["error"], most, paper=printed)


# --- rows ---------------------------------------------------------------------------------------------------


def _rows(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for row in table.to_dict("records"):
        yield {str(name): value for name, value in row.items()}


def _of(table: pd.DataFrame, axis: str, case: str, method: str) -> pd.DataFrame:
    return table[(table["axis"] == axis) & (table["case"] == case) & (table["method"] == method)]


def _half(row: Mapping[str, Any], name: str) -> float:
    return 0.5 * (row[f"{name}_high"] - row[f"{name}_low"])


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _printed(paper: Any, name: str) -> float | None:
    if paper is None:
        return None
    if name == "tpr":
        return None if paper.fnr is None else 1 - paper.fnr
    return getattr(paper, name)
