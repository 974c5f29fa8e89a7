"""What every rule and every script of the house keeps to."""

import re

import pytest

RULE = re.compile(r"^(?:rule|checkpoint) (\w+):\n(.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def rules(root):
    """Rule → its text, of all rules that make files."""
    texts = [path.read_text() for path in sorted((root / "workflow/rules").rglob("*.smk"))]
    return {name: body for text in texts for name, body in RULE.findall(text)}


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
        "train_model",
        "train_image_model",
        "score_images",
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
        assert set(modules) <= {"dioscuri.config", "dioscuri.door", "dioscuri.io", "dioscuri.paths"}, path.name


def test_captions_exist_and_are_used(root, rules):
    used = set(re.findall(r"report/(\w+\.rst)", "".join(rules.values()))) | {"workflow.rst"}
    assert used == {path.name for path in (root / "workflow/report").glob("*.rst")}
