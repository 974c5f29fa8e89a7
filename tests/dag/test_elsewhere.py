"""One checkout, in a folder of any name, serves runs in other folders, and is not written to."""

import shutil

import pytest


@pytest.fixture(scope="module")
def checkout(repository_copy, tmp_path_factory):
    """A copy in a folder with a space and brackets in its name."""
    folder = tmp_path_factory.mktemp("shared") / "a checkout [of ours]"
    shutil.copytree(repository_copy, folder, ignore=shutil.ignore_patterns(".snakemake", "results", "resources"))
    return folder


def test_a_run_in_another_folder(checkout, snakemake_in, read_plan, tmp_path):
    before = {path for path in checkout.rglob("*") if "__pycache__" not in path.parts}
    there = ["--snakefile", str(checkout / "Snakefile"), "--configfile", str(checkout / "config/demo.yaml")]
    plan = read_plan(snakemake_in(checkout, *there, "--dry-run", "--quiet", "rules", "--", "lamost_mrs", cwd=tmp_path))
    assert plan["ingest_shard"] + plan["plan_lamost_mrs_shards"] >= 1
    done = snakemake_in(checkout, *there, "--", "resources/tracks/embedded.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "resources/tracks/embedded.npz").is_file()
    assert {path for path in checkout.rglob("*") if "__pycache__" not in path.parts} == before


def test_a_workflow_that_uses_this_one_as_a_module(checkout, snakemake_in, read_plan, tmp_path):
    """As `snakedeploy deploy-workflow` lays it out: the settings are copied, the rules come from elsewhere."""
    shutil.copytree(checkout / "config", tmp_path / "config")
    (tmp_path / "workflow").mkdir()
    (tmp_path / "workflow/Snakefile").write_text(
        f'configfile: "config/config.yaml"\n\n\nmodule dioscuri:\n    snakefile: {str(checkout / "Snakefile")!r}\n'
        "    config: config\n\n\nuse rule * from dioscuri\n",
        encoding="utf-8",
    )
    tracks = [
        "--configfile",
        "config/demo.yaml",
        "--dry-run",
        "--quiet",
        "rules",
        "--",
        "resources/tracks/embedded.npz",
    ]
    assert read_plan(snakemake_in(checkout, *tracks, cwd=tmp_path)) == {"build_tracks": 1}
