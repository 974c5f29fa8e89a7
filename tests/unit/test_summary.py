"""What a run found, told in a few lines, and a run that is watched."""

import io
import json
import runpy
import subprocess
import sys

import pytest

from dioscuri.cli import main
from dioscuri.evaluation import summary

CHECKS = [
    {"name": "robust_equal.compact.accuracy", "value": 0.91, "error": 0.003, "unit": "", "paper": 0.972},
    {"name": "robust_equal.optimum.accuracy", "value": 0.92, "error": 0.003, "unit": "", "paper": None},
    {"name": "robust_equal.compact.accuracy_below_optimum", "value": 0.02, "error": 0.003, "unit": "", "paper": None},
    {"name": "made.up <b>", "value": None, "error": None, "unit": "km/s", "paper": None},
]
STATES = [(None, None), (None, None), ("<= 0.007", False), (">= 1", True)]


@pytest.fixture
def results(tmp_path):
    """A run of csst whose robust network missed its bound, and benchmarks of three rules."""
    folder = tmp_path / "results/tiny"
    (folder / "csst").mkdir(parents=True)
    checks = [check | {"bound": bound, "passed": passed} for check, (bound, passed) in zip(CHECKS, STATES)]
    (folder / "csst/checks.json").write_text(json.dumps(checks), encoding="utf-8")
    for name, seconds in (("train_images/csst/a.tsv", 90), ("build_cmd.tsv", 30), ("build_tracks/embedded.tsv", 6)):
        path = folder / "benchmarks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:00\t-\n", encoding="utf-8")
    return folder


def test_the_summary_says_what_was_found_and_what_failed_and_why(results, capsys):
    assert main(["summary", str(results)]) == 0
    text = capsys.readouterr().out
    assert "csst: 1 of 2 promises kept, 1 FAILED, 1.5 job minutes" in text
    assert "compact calls 91.0 ± 0.3 % of stamps right (the optimum that knows the PSF: 92.0 ± 0.3 %)" in text
    assert "failed: robust_equal.compact.accuracy_below_optimum = 0.02 ± 0.003, promised <= 0.007" in text
    assert "knows the PSF; what cannot be known" in text


def test_the_page_has_all_numbers(results, root, tmp_path):
    summary.write_page(tmp_path / "page.html", results, root / "workflow/rules", "dioscuri: <tiny>")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<tr") == 1 + len(CHECKS)
    assert "made.up &lt;b&gt;" in page and "dioscuri: &lt;tiny&gt;" in page


def test_minutes_go_to_the_survey_of_the_rule(results, root):
    systems = summary.systems_of(root / "workflow/rules")
    assert systems["build_cmd"] == "cluster" and systems["ingest_shard"] == "lamost_mrs"
    assert summary.job_minutes(results / "benchmarks", systems) == {"csst": 1.5, "hst": 0.5, "shared": 0.1}


def test_a_folder_that_is_no_run_is_refused(tmp_path, capsys):
    assert main(["summary", str(tmp_path)]) == 2
    assert main(["summary", str(tmp_path / "nowhere")]) == 2
    assert "give results/<preset> of a run" in capsys.readouterr().err


SAID = """\
Job stats:
total   3
rule train_spectra:
    output: x
    wildcards: arm=blue, seed=1
1 of 3 steps (33%) done
Error in rule build_cmd:
    jobid: 3
    message: it broke

Finished
"""


def test_progress_and_errors_are_taken_from_the_log(root):
    quietly = runpy.run_path(str(root / "workflow/quietly.py"))
    out = io.StringIO()
    errors = quietly["follow"](iter(SAID.splitlines()), out)
    assert errors == ["Error in rule build_cmd:", "    jobid: 3", "    message: it broke"]
    assert out.getvalue().splitlines()[-1].endswith("1 of 3 jobs done")


def test_a_watched_command_keeps_its_log_and_its_status(root, tmp_path):
    script = "import sys; print('Error in rule x:\\n    because'); sys.exit(3)"
    command = [
        sys.executable,
        str(root / "workflow/quietly.py"),
        str(tmp_path / "a log"),
        "--",
        sys.executable,
        "-c",
        script,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    assert "Error in rule x:\n    because" in done.stdout
    assert "because" in (tmp_path / "a log").read_text(encoding="utf-8")
