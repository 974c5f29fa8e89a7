"""What the LRS line is worth: on mocks by truth, and on the simulated survey as the paper evaluates its own."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dioscuri.catalogs import published_lrs as paper
from dioscuri.evaluation.lrs_models import seen_spectra, true_classes
from dioscuri.evaluation.lrs_scores import Scorer
from dioscuri.flags import LrsQuality
from dioscuri.io import atomic, read_json, write_json
from dioscuri.learn.calibration import reliability
from dioscuri.learn.metrics import auc
from dioscuri.seals import verified
from dioscuri.spectra.pair_fit import dwarf_prior

RATIOS = ((0.1, 0.4), (0.4, 0.6), (0.6, 0.71), (0.71, 0.93), (0.93, 1.0))
SURVEYED = ("obsid", "source_id", "p_b", "q", "rv", "flags", "in_training")  # what `survey_merits` takes of a catalogue
NOT_COUNTED = LrsQuality.OUT_OF_RANGE | LrsQuality.UNLIKE_ANY_MODEL | LrsQuality.FAST | LrsQuality.VELOCITY_EDGE


def precision(binaries: np.ndarray, singles: np.ndarray, threshold: float, ratio: float = 0.5) -> float:
    """Share of true binaries among those above the threshold, with `ratio` binaries per single star.

    Eq. 4 of Jing et al. (2025) with its ratio the right way up: TP / (TP + FP · (1/r) · (T/P)), T binaries, P singles.
    """
    true, false = (binaries > threshold).mean() * ratio, (singles > threshold).mean()
    return float(true / (true + false)) if true + false > 0 else float("nan")


def score_mocks(stars: Mapping[str, np.ndarray], flux: np.ndarray, scorer: Scorer, seed: int) -> pd.DataFrame:
    """Scores of noise-free mocks (N, L) as a night shows them: true columns, p, dchi2, q_fit, q_err, teff_fit."""
    spectra = seen_spectra(flux, stars["snrg"], scorer.components, seed)
    x = scorer.components.project(spectra)
    random = np.random.default_rng(seed)
    prior, sigma = dwarf_prior(stars["teff1"] + random.normal(0, 150, len(x)))
    fits = scorer.fitter.fit(x, stars["snrg"], prior, sigma)
    table = pd.DataFrame({name: stars[name] for name in ("q", "kind", "teff1", "snrg", "dv", "feh")})
    return table.assign(
        p=scorer.probability(x, lambda: spectra), dchi2=fits.dchi2, q_fit=fits.q, q_err=fits.q_err, teff_fit=fits.teff
    )


def mock_merits(scores: pd.DataFrame) -> dict[str, Any]:
    """Numbers of scored mocks: AUC by mass ratio, temperature and S/N; precision, calibration, q, false share."""
    q, p = scores["q"].to_numpy(), scores["p"].to_numpy()
    single, middle = q == 0, true_classes(q) == 1

    def against_singles(rows: np.ndarray, values: np.ndarray) -> float:
        chosen = np.concatenate([values[rows], values[single]])
        return auc(chosen, np.repeat([1, 0], [rows.sum(), single.sum()]))

    by_ratio = {}
    for low, high in RATIOS:
        rows = (q > low) & (q <= high)
        if rows.sum() > 10:
            network, fit = against_singles(rows, p), against_singles(rows, scores["dchi2"].to_numpy())
            by_ratio[f"{low:g}-{high:g}"] = {"network": network, "fit": fit, "found": float((p[rows] > 0.5).mean())}
    both = single | middle
    told = (scores["dchi2"] > 25) & (q > 0.6) & (q < 0.85)
    error = (scores["q_fit"] - q)[told]
    weights = reliability(p[both], middle[both], penalty=middle.sum() / max(single.sum(), 1))
    steps = {"teff1": (4250, 4600, 5000, 5400, 6000), "snrg": (20, 40, 60, 100, 201)}
    parts = {}
    for name, edges in steps.items():
        for low, high in pairwise(edges):
            here = ((scores[name] >= low) & (scores[name] < high)).to_numpy()
            if (middle & here).sum() > 10 and (single & here).sum() > 10:
                chosen = np.concatenate([p[middle & here], p[single & here]])
                parts[f"{name} {low}-{high}"] = auc(
                    chosen, np.repeat([1, 0], [(middle & here).sum(), (single & here).sum()])
                )
    return {
        "auc": against_singles(middle, p),
        "auc_fit": against_singles(middle, scores["dchi2"].to_numpy()),
        "by_ratio": by_ratio,
        "auc_in_parts": parts,
        "precision": {f"{t:g}": precision(p[middle], p[single], t) for t in paper.PRECISION},
        "calibration_error": weights.expected_error,
        "singles_called_binary": float((p[single] > 0.5).mean()),
        "q_bias": float(np.median(error)) if told.sum() > 10 else None,
        "q_error": float(1.4826 * np.median(np.abs(error - np.median(error)))) if told.sum() > 10 else None,
        "n": len(scores),
    }


def survey_merits(catalog: pd.DataFrame, truth: pd.DataFrame) -> dict[str, Any]:
    """The paper's tests on a survey whose truth is known: EA and EW, variable and constant velocities, visits, hosts.

    Stars that took part in a training are counted and left out.
    """
    rows = catalog.merge(truth.drop(columns=["source_id"]), on="obsid", suffixes=("", "_true"))
    rows = rows[(rows["flags"] & int(NOT_COUNTED)) == 0]
    found: dict[str, Any] = {"in_training": int(rows["in_training"].sum())}
    rows = rows[~rows["in_training"]]
    single, middle = rows["q_true"] == 0, true_classes(rows["q_true"].to_numpy()) == 1
    found |= {"n_spectra": len(rows), "n_stars": int(rows["source_id"].nunique())}
    found["share_above"] = {f"{t:g}": float((rows["p_b"] > t).mean()) for t in paper.SHARE_ABOVE}
    found["singles_called_binary"] = float((rows["p_b"][single] > 0.5).mean())
    found["intermediate_found"] = float((rows["p_b"][middle] > 0.5).mean())
    if single.sum() > 5 and middle.sum() > 5:
        chosen = np.concatenate([rows["p_b"][middle], rows["p_b"][single]])
        found["auc"] = auc(chosen, np.repeat([1, 0], [middle.sum(), single.sum()]))
    for kind in ("EA", "EW"):
        chosen = rows[rows["kind"] == kind]
        found[kind] = {"n": len(chosen), "found": float((chosen["p_b"] > 0.5).mean()) if len(chosen) else None}
    stars = rows.groupby("source_id").agg(
        n=("p_b", "size"), p_max=("p_b", "max"), p_median=("p_b", "median"), rv_min=("rv", "min"), rv_max=("rv", "max"),
        q=("q_true", "first"),
    )  # fmt: skip
    spread = stars["rv_max"] - stars["rv_min"]
    samples = {
        "variable": stars[(stars["n"] >= 2) & (spread > 25)],
        "constant": stars[(stars["n"] >= 4) & (spread < 5)],
    }
    for name, chosen in samples.items():
        detectable = ((chosen["q"] > 0.4) & (chosen["q"] < 0.93)).mean() if len(chosen) else None
        above = float((chosen["p_max"] > 0.5).mean()) if len(chosen) else None
        found[name] = {"n": len(chosen), "called_binary": above, "with_detectable_secondary": detectable}
    hosts = rows[rows["planet"]].groupby("source_id")["p_b"].max()
    share = float((hosts > 0.5).mean()) if len(hosts) else None
    found["planet_hosts"] = {"n": len(hosts), "called_binary": share}
    lonely = stars[stars["q"] == 0]
    found["maximum_over_visits"] = {
        str(n): {"n": int((lonely["n"] == n).sum()), "max": float((lonely["p_max"][lonely["n"] == n] > 0.5).mean()),
                 "median": float((lonely["p_median"][lonely["n"] == n] > 0.5).mean())}
        for n in range(1, 5) if (lonely["n"] == n).sum() >= 5
    }  # fmt: skip
    return found


def write_merits(
    folder: str | os.PathLike,
    stars: Mapping[str, np.ndarray],
    flux: np.ndarray,
    scorer: Scorer,
    seed: int,
    catalog: str | os.PathLike,
    truth: str | os.PathLike | None,
) -> None:
    """Write scores.parquet and merits.json of the test mocks, and of the catalogue with its truth, to `folder`."""
    folder = Path(folder)
    scores = score_mocks(stars, flux, scorer, seed)
    with atomic(folder / "scores.parquet") as temporary:
        scores.to_parquet(temporary, index=False)
    merits: dict[str, Any] = {"mocks": mock_merits(scores), "seeds": seed_spread(stars, flux, scorer, seed)}
    rows = pd.read_parquet(verified(catalog), columns=[*SURVEYED])
    if truth is not None:
        merits["survey"] = survey_merits(rows, pd.read_parquet(verified(truth)))
    merits["paper"] = {"auc": paper.AUC, "precision": {f"{t:g}": v for t, v in paper.PRECISION.items()}}
    write_json(folder / "merits.json", merits, sealed=True)


def seed_spread(stars, flux, scorer: Scorer, seed: int) -> dict[str, list[float]]:
    """AUC of each network alone."""
    spectra = seen_spectra(flux, stars["snrg"], scorer.components, seed)
    x = scorer.components.project(spectra)
    classes = true_classes(stars["q"])
    used = classes >= 0
    alone = [dataclasses.replace(scorer, nets=[net]).probability(x, lambda: spectra) for net in scorer.nets]
    return {"auc": [auc(p[used], classes[used]) for p in alone]}


def write_checks(merits_json: str | os.PathLike, out: str | os.PathLike) -> None:
    """The science gate of the LRS line: numbers with bounds, as `evaluation.mrs_checks.Check` rows (JSON)."""
    merits = read_json(merits_json, "merits of the LRS models")
    mocks, survey = merits["mocks"], merits.get("survey", {})
    spread = float(np.std(merits["seeds"]["auc"]))
    middle = mocks["by_ratio"].get("0.71-0.93", {})
    odds, least = mocks["precision"], paper.PRECISION
    checks = [
        _check("AUC on test mocks, q 0.6 to 0.93", mocks["auc"], spread, paper.AUC, ">=", 0.94),
        _check("AUC on test mocks, q 0.71 to 0.93", middle.get("network"), spread, None, ">=", 0.93),
        _check("the fit's AUC less the network's", mocks["auc_fit"] - mocks["auc"], spread, None, "<=", 0.01),
        _check("precision at 0.5, one binary on two", odds["0.5"], None, least[0.5], ">=", 0.85),
        _check("precision at 0.8, one binary on two", odds["0.8"], None, least[0.8], ">=", 0.9),
        _check("expected calibration error", mocks["calibration_error"], None, None, "<=", 0.03),
        _check("error of q", mocks["q_error"], None, None, "<=", 0.06),
        _check("survey: singles called binary", survey.get("singles_called_binary"), None, None, None, None),
        _check("survey: AUC", survey.get("auc"), None, None, None, None),
    ]
    for kind, published in paper.ECLIPSING.items():
        checks.append(_check(f"survey: {kind} found", survey.get(kind, {}).get("found"), None, published, None, None))
    for name, published in (("variable", paper.RV_VARIABLE), ("constant", 1 - paper.RV_CONSTANT)):
        value = survey.get(name, {}).get("called_binary")
        checks.append(_check(f"survey: RV-{name} stars called binary", value, None, published, None, None))
    write_json(out, checks)


def _check(name: str, value, error, published, sense: str | None, bound: float | None) -> dict[str, Any]:
    passed = None
    if sense is not None and value is not None and bound is not None:
        margin = error or 0.0
        passed = bool(value + margin >= bound if sense == ">=" else value - margin <= bound)
    words = None if sense is None else f"{sense} {bound:g}"
    facts: Sequence[Any] = (name, value, error, "", published, words, passed)
    return dict(zip(("name", "value", "error", "unit", "paper", "bound", "passed"), facts))
