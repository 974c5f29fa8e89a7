"""What every rule and every script of the house keeps to."""

import re
from importlib import import_module

import pytest
from docutils.core import publish_string
from jinja2 import Template

from dioscuri.config import load_config
from dioscuri.plots.figures import FIGURES

# A rule with a name, or one without in a loop, which stands deeper.
RULE = re.compile(r"^( *)(?:rule|checkpoint)(?: (\w+))?:\n(.*?)(?=^\1\S|^\S|\Z)", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def rules(root):
    """Rule → its text, of all rules that make files; one without a name goes by that of its file."""
    paths = sorted((root / "workflow/rules").rglob("*.smk"))
    return {name or str(path): body for path in paths for _, name, body in RULE.findall(path.read_text())}


def test_every_rule_says_what_it_does_and_what_it_needs(rules):
    assert len(rules) > 20
    for name, body in rules.items():
        assert body.lstrip().startswith('"""'), name
        for section in ("output:", "log:", "benchmark:", "conda:", "threads:", "mem_mb=", "runtime="):
            assert f" {section}" in body, f"{name} has no {section}"
        assert "    run:" not in body, name


def test_memory_never_falls_below_what_snakemake_itself_needs(rules):
    for name, body in rules.items():
        for number in re.findall(r"mem_mb=(?:lambda[^:]*: )?\(?(\d+)", body):
            assert int(number) >= 500, name


def test_only_networks_ask_for_a_gpu(rules):
    assert {name for name, body in rules.items() if "gpu=" in body} == {
        "train_spectra",
        "train_images",
        "score_images",
        "calibrate_images",
        "measure_catalogue",
        "measure_query",
    }


def test_scripts_are_thin(root):
    scripts = sorted((root / "workflow/scripts").rglob("*.py"))
    assert len(scripts) > 20
    for script in scripts:
        text = script.read_text()
        assert text.startswith('"""'), script.name
        assert len(text.splitlines()) <= 25, script.name
        assert not re.search(r"^(def|class) ", text, re.MULTILINE), script.name


def test_every_script_serves_a_rule(root, rules):
    used = set(re.findall(r"scripts/(?:\w+/)?(\w+\.py)", "".join(rules.values())))
    assert used == {path.name for path in (root / "workflow/scripts").rglob("*.py")}


def test_rules_import_only_leaves_of_the_package(root):
    for path in [root / "Snakefile", *(root / "workflow/rules").rglob("*.smk")]:
        modules = re.findall(r"^(?:from|import) (dioscuri[\w.]*)", path.read_text(), re.MULTILINE)
        leaves = {"dioscuri", "dioscuri.config", "dioscuri.door", "dioscuri.imports", "dioscuri.io"}
        leaves |= {"dioscuri.paths"}
        assert set(modules) <= leaves, path.name


def test_every_output_of_a_figure_rule_is_in_the_table_of_figures(rules):
    groups = {name: re.search(r'group="(\w+)"', body) for name, body in rules.items() if "scripts/plot.py" in body}
    assert len(groups) > 8
    for name, group in groups.items():
        drawn = re.findall(r"^ +(\w+)=shown\(", rules[name], re.MULTILINE)
        assert set(drawn) <= set(FIGURES[group[1]]), name


def test_every_entry_of_the_table_of_figures_is_a_function():
    for entries in FIGURES.values():
        for entry in entries.values():
            module, function = (entry if isinstance(entry, str) else entry[0]).split(".")
            assert callable(getattr(import_module(f"dioscuri.plots.{module}"), function)), entry


def test_captions_exist_and_are_used(root):
    """Whatever is shown has a caption: report/<caption>.rst, by default of the name of the file."""
    text = "".join(path.read_text() for path in (root / "workflow/rules").rglob("*.smk"))
    used = set(re.findall(r'"(\w+)"', text)) | set(re.findall(r"/(\w+)\.(?:png|json|html)", text)) | {"workflow"}
    captions = {path.stem for path in (root / "workflow/report").glob("*.rst")}
    assert captions <= used, captions - used


@pytest.mark.parametrize("surveys", [["lamost_mrs"], ["csst", "hst", "lamost_mrs", "lamost_lrs", "protostar"]])
def test_the_first_page_of_the_report_is_a_text_and_a_list(root, surveys):
    settings = load_config(root / f"config/{name}.yaml" for name in ("config", "surveys", "demo"))
    config = settings.model_dump(mode="json") | {"surveys": surveys}
    text = (root / "workflow/report/workflow.rst").read_text(encoding="utf-8")
    page = Template(text, trim_blocks=True, lstrip_blocks=True).render(snakemake={"config": config})
    strict = {"report_level": 1, "halt_level": 1, "warning_stream": False}
    html = publish_string(page, writer="html", settings_overrides=strict).decode()
    assert html.count("<li>") == len(surveys)
