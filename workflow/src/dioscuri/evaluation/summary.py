"""What a run found, which checks failed and how long it took: a few lines for each survey, as text and as a page."""

import html
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from dioscuri.io import atomic
from dioscuri.seals import verified

# Why a check fails that often does; the first that fits. More in docs/DEVIATIONS.md.
REASONS = {
    r"robust\w*\.\w+\.accuracy_below_optimum$": "networks that bear a wrong PSF are compared with an optimum that "
    "knows the PSF; what cannot be known costs about a percent",
    r"lambda[\d.]+\.(tpr|auc)$": "few mock pairs: more of them find more (config/release.yaml)",
    r"lambda[\d.]+\.fpr$": "few seeds: false positives scatter from seed to seed",
    r"night\.\w+\.recall": "networks of a short training; the released models are better (docs/RESULTS.md)",
    r"cluster\.(completeness|purity)": "few pairs in a small field: the error is large",
}


@dataclass(frozen=True)
class SurveySummary:
    """One survey: what was `found`, in words; its `checks` (see evaluation.mrs_checks.Check); job minutes."""

    survey: str
    found: list[str]
    checks: list[dict[str, Any]] = field(repr=False)
    minutes: float = 0.0

    @property
    def failed(self) -> list[dict[str, Any]]:
        """The checks that failed."""
        return [check for check in self.checks if check["passed"] is False]

    @property
    def promised(self) -> int:
        """How many numbers have a bound."""
        return sum(check["passed"] is not None for check in self.checks)


def summarise(results: str | os.PathLike, rules: str | os.PathLike | None = None) -> list[SurveySummary]:
    """A summary of every survey that has a folder in `results`; `rules`: workflow/rules, which say whose a rule is."""
    results = Path(results)
    if not results.is_dir():
        raise ValueError(f"{results}: no such folder; give results/<preset> of a run")
    minutes = job_minutes(results / "benchmarks", systems_of(rules) if rules else {})
    surveys = sorted(path.name for path in results.iterdir() if path.name in FINDINGS)
    if not surveys:
        raise ValueError(f"{results}: no results of a survey in it; give results/<preset> of a run")
    return [
        SurveySummary(
            name, FINDINGS[name](results / name, _checks(results / name)), _checks(results / name),
            minutes.get(name, 0.0),
        )
        for name in surveys
    ]  # fmt: skip


def _checks(folder: Path) -> list[dict[str, Any]]:
    path = folder / "checks.json"
    if not path.exists():
        path = folder / "tables" / "cluster_checks.json"  # frames that released networks have searched
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


# --- what was found -----------------------------------------------------------------------------------------


def _mrs(folder: Path, checks: Sequence[Mapping]) -> list[str]:
    found = []
    counts = folder / "tables" / "candidates.json"
    if counts.exists():
        cuts = json.loads(counts.read_text(encoding="utf-8"))["cuts"]
        found.append(
            f"{cuts[-1]['spectra']} SB2 spectra of {cuts[-1]['sources']} stars among {cuts[0]['spectra']} of "
            f"{cuts[0]['sources']} (catalogs/candidates.fits)"
        )
    rejected = _rows(folder / "ingest" / "rejected.parquet")
    if rejected:
        found.append(f"{rejected} spectra or files refused, each with its reason (ingest/rejected.parquet)")
    for arm in ("blue", "red"):
        recall = _first(checks, rf"night\.{arm}\.recall_dv100")
        false = _first(checks, rf"night\.{arm}\.false_positives")
        if recall and false:
            found.append(f"{arm} arm: {_share(recall)} of wide bright pairs found, {_share(false)} of singles mistaken")
    return found


def _images(folder: Path, checks: Sequence[Mapping]) -> list[str]:
    from dioscuri.evaluation.image_merits import CLASSICAL, OPTIMUM, SHAPES

    found = []
    right: dict[str, dict[str, Mapping]] = {}  # case → method → its check
    for check in checks:
        case, method, name = (check["name"].split(".") + ["", ""])[:3]
        if name == "accuracy":
            right.setdefault(case, {})[method] = check
    for case, methods in right.items():
        beside = [f"the optimum that knows the PSF: {_share(methods[OPTIMUM])}"] if OPTIMUM in methods else []
        if shapes := [name for name in SHAPES if name in methods]:
            best = max(shapes, key=lambda name: methods[name]["value"])
            beside.append(f"the best shape statistic, {best}: {_share(methods[best])}")
        for method in (name for name in methods if name not in CLASSICAL):
            told = f"{case}: {method} calls {_share(methods[method])} of stamps right"
            found.append(told + (f" ({'; '.join(beside)})" if beside else ""))
    stamps = folder / "catalogs" / "stamps.parquet"
    if stamps.exists():
        table = pd.read_parquet(verified(stamps), columns=["status", "p"])
        scored = table["status"].str.startswith("ok")
        found.append(f"{(table['p'] > 0.5).sum()} likely pairs among {scored.sum()} stamps scored of {len(table)}")
    return found


def _hst(folder: Path, checks: Sequence[Mapping]) -> list[str]:
    found = _images(folder, checks)
    candidates, sources = (_rows(folder / "catalogs" / f"{name}.parquet") for name in ("candidates", "sources"))
    if sources:
        found.append(f"cluster: {candidates} candidates among {sources} stars (catalogs/candidates.fits)")
    purity, complete = _first(checks, "cluster.purity_with"), _first(checks, "cluster.completeness_of_opt")
    if purity and complete:
        found.append(
            f"cluster: {_share(purity)} of them are pairs or chance pairs, {_share(complete)} of what the optimum finds"
        )
    return found


def _protostar(folder: Path, checks: Sequence[Mapping]) -> list[str]:
    found = []
    for split, words in (("projection", "from another side"), ("leave_one_system_out", "of unseen systems")):
        best = _first(checks, rf"{split}\.random_cnn/scaled\.rho$")
        chance, oracle = _first(checks, rf"{split}\.random\.rho$"), _first(checks, rf"{split}\.oracle\.rho$")
        if best and chance and oracle:
            found.append(
                f"parameters {words}: rank correlation {best['value']:.2f} ± {best['error']:.2f} (chance "
                f"{chance['value']:.2f}, a perfect choice {oracle['value']:.2f})"
            )
    return found


def _promised(folder: Path, checks: Sequence[Mapping]) -> list[str]:
    """The numbers that have a bound: of a survey that has no words of its own."""
    found = [f"{_rows(path)} rows in catalogs/{path.name}" for path in sorted(folder.glob("catalogs/*.parquet"))]
    kept = [check for check in checks if check["passed"]]
    return found + [
        f"{check['name']} = {check['value']:.3g} ± {check['error'] or 0:.2g} {check['unit']}" for check in kept
    ]


Finder = Callable[[Path, Sequence[Mapping]], list[str]]
FINDINGS: dict[str, Finder] = {
    "csst": _images, "hst": _hst, "lamost_mrs": _mrs, "lamost_lrs": _promised, "protostar": _protostar,
}  # fmt: skip


def _first(checks: Sequence[Mapping], pattern: str) -> Mapping | None:
    return next((check for check in checks if re.match(pattern, check["name"]) and check["value"] is not None), None)


def _share(check: Mapping) -> str:
    return f"{100 * check['value']:.1f} ± {100 * (check['error'] or 0):.1f} %"


def _rows(path: Path) -> int:
    import pyarrow.parquet as pq

    return pq.read_metadata(verified(path)).num_rows if path.exists() else 0


# --- minutes ------------------------------------------------------------------------------------------------


def systems_of(rules: str | os.PathLike) -> dict[str, str]:
    """Rule → the folder of workflow/rules that it is written in."""
    return {
        name: path.parent.name
        for path in sorted(Path(rules).glob("*/*.smk"))
        for name in re.findall(r"^(?:rule|checkpoint) (\w+):", path.read_text(encoding="utf-8"), re.MULTILINE)
    }


def job_minutes(benchmarks: Path, systems: Mapping[str, str]) -> dict[str, float]:
    """Minutes that the jobs of each survey ran, by the benchmarks that they left; what several share is 'shared'."""
    minutes: dict[str, float] = {}
    for path in sorted(benchmarks.rglob("*.tsv")):
        parts = path.relative_to(benchmarks).with_suffix("").parts
        named = next((part for part in parts if part in FINDINGS), None)
        survey = named or {"cluster": "hst"}.get(systems.get(parts[0], ""), systems.get(parts[0], "shared"))
        seconds = pd.read_csv(path, sep="\t", na_values="-")["s"].sum()
        minutes[survey] = minutes.get(survey, 0.0) + seconds / 60
    return minutes


# --- pages --------------------------------------------------------------------------------------------------


def verdict(survey: SurveySummary) -> str:
    """How its checks went, in words."""
    if not survey.checks:
        return "no checks (scored with released models, or not finished)"
    kept = survey.promised - len(survey.failed)
    return f"{kept} of {survey.promised} promises kept" + (f", {len(survey.failed)} FAILED" if survey.failed else "")


def failure(check: Mapping[str, Any]) -> tuple[str, str]:
    """A failed check in words, and why it fails where that is known."""
    value, error = ("unknown" if check[name] is None else f"{check[name]:.4g}" for name in ("value", "error"))
    why = next((reason for pattern, reason in REASONS.items() if re.search(pattern, check["name"])), "")
    return f"{check['name']} = {value} ± {error} {check['unit']}".rstrip() + f", promised {check['bound']}", why


def as_text(surveys: Sequence[SurveySummary], results: str | os.PathLike) -> str:
    """The summary for a terminal."""
    lines = []
    for survey in surveys:
        took = f", {survey.minutes:.1f} job minutes" if survey.minutes else ""
        lines.append(f"{survey.survey}: {verdict(survey)}{took}")
        lines += [f"    {words}" for words in survey.found]
        for check in survey.failed:
            said, why = failure(check)
            lines += [f"    failed: {said}", *([f"            {why}"] if why else [])]
    lines.append(f"all numbers: {results}/<survey>/checks.json; figures: {results}/<survey>/figures/")
    return "\n".join(lines)


PAGE = """<!doctype html><meta charset="utf-8"><title>{title}</title><style>
body{{font:15px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}}h2{{margin-bottom:.2em}}
.failed{{color:#a11}}.kept{{color:#175}}small{{color:#555}}td,th{{padding:.1em .8em;text-align:right}}
td:first-child,th:first-child{{text-align:left}}details{{margin:.5em 0}}</style>
<h1>{title}</h1>{body}"""


def as_html(surveys: Sequence[SurveySummary], title: str) -> str:
    """The summary as a page of its own, with all numbers of the checks beside the papers'."""
    body = []
    for survey in surveys:
        colour = "failed" if survey.failed else "kept"
        took = f" · {survey.minutes:.1f} job minutes" if survey.minutes else ""
        body.append(f'<h2>{survey.survey}</h2><p class="{colour}">{html.escape(verdict(survey))}{took}</p><ul>')
        body += [f"<li>{html.escape(words)}</li>" for words in survey.found]
        for check in survey.failed:
            said, why = failure(check)
            body.append(f'<li class="failed">{html.escape(said)}<br><small>{html.escape(why)}</small></li>')
        body.append("</ul>")
        if survey.checks:
            rows = "".join(_row(check) for check in survey.checks)
            head = "".join(f"<th>{name}</th>" for name in ("number", "value", "error", "paper", "promised", ""))
            body.append(f"<details><summary>all numbers</summary><table><tr>{head}</tr>{rows}</table></details>")
    return PAGE.format(title=html.escape(title), body="\n".join(body))


def _row(check: Mapping[str, Any]) -> str:
    numbers = ["" if check[name] is None else f"{check[name]:.4g}" for name in ("value", "error", "paper")]
    state = {True: "kept", False: "FAILED", None: ""}[check["passed"]]
    cells = [f"{check['name']} {check['unit']}", *numbers, check["bound"] or "", state]
    colour = ' class="failed"' if check["passed"] is False else ""
    return f"<tr{colour}>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"


def write_page(out: str | os.PathLike, results: str | os.PathLike, rules: str | os.PathLike, title: str) -> None:
    """Write `as_html` of a run, whole or not at all."""
    with atomic(out) as temporary:
        temporary.write_text(as_html(summarise(results, rules), title), encoding="utf-8")
