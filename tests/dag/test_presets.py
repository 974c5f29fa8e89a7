"""What a fresh checkout would run: jobs of every preset, of a single target, and answers to mistaken settings."""

import math
from collections import Counter

import pytest

from dioscuri.config import load_config

EVERY_RUN = {
    "build_tracks": 1,
    "simulate_night": 1,
    "plan_shards": 1,
    "score_double_peak": 2,
    "summarise_spectra": 1,
    "calibrate_evidence": 1,
    "score_twins": 1,
    "build_catalog": 1,
    "classify_sources": 1,
    "describe_survey": 1,
    "select_candidates": 1,
    "list_rejected": 1,
    "plot_mrs_mocks": 1,
    "plot_mrs_models": 1,
    "plot_mrs_catalog": 1,
    "plot_mrs_sources": 1,
    "check_spectra": 1,
    "judge_checks": 1,
    "lamost_mrs": 1,
}


def test_the_papers_scale_is_a_few_hundred_jobs(plan):
    wanted = {"build_library": 4, "make_spectra": 16 + 2 + 2, "train_spectra": 2 * 10 * 5, "score_spectra": 2 * 10 * 5}
    assert plan("--", "lamost_mrs") == {**EVERY_RUN, **wanted}


PRESETS = ["config/reference.yaml", "config/release.yaml", "config/demo.yaml", "tests/presets/tiny.yaml"]


@pytest.mark.parametrize("preset", PRESETS)
def test_jobs_of_a_preset(plan, root, preset):
    config = load_config(root / name for name in ("config/config.yaml", "config/surveys.yaml", preset))
    mrs = config.lamost_mrs
    models = len(mrs.arms) * len(mrs.penalties) * len(mrs.seeds)
    pairs = (mrs.mocks.n_train, mrs.mocks.n_validation, mrs.mocks.n_test)
    shards = sum(math.ceil(number / mrs.mocks.shard_size) for number in pairs)
    wanted = {"build_library": config.library.variants, "make_spectra": shards}
    wanted |= {"train_spectra": models, "score_spectra": models}
    assert plan("--configfile", preset, "--", "lamost_mrs") == {**EVERY_RUN, **wanted}


def test_a_single_model_needs_its_mocks_and_nothing_else(plan):
    model = "results/demo/lamost_mrs/blue/cnn_s/lambda16/seed1/model.ckpt"
    jobs = plan("--configfile", "config/demo.yaml", "--", model)
    assert jobs == {"build_tracks": 1, "build_library": 2, "make_spectra": 3, "train_spectra": 1}


def test_a_model_outside_the_lists_can_be_had_too(plan):
    model = "results/demo/lamost_mrs/red/cnn_m/lambda0p5/seed9/model.ckpt"
    assert plan("--configfile", "config/demo.yaml", "--", model)["train_spectra"] == 1


@pytest.mark.parametrize(
    ("target", "last"),
    [("mocks", "make_spectra"), ("models", "summarise_spectra"), ("catalogs", "build_catalog"), ("bench", None)],
)
def test_named_targets(plan, target, last):
    jobs = plan("--configfile", "config/demo.yaml", "--", target)
    assert jobs[target] == 1
    assert last is None or jobs[last] >= 1
    assert jobs["judge_checks"] == 0


def test_the_demo_is_every_survey_that_the_settings_list(plan, root):
    surveys = load_config(root / f"config/{name}.yaml" for name in ("config", "surveys", "demo")).surveys
    every = plan("--configfile", "config/demo.yaml", "--", "demo")
    each = sum((plan("--configfile", "config/demo.yaml", "--", survey) for survey in surveys), Counter())
    assert every.pop("demo") == every.pop("summarise_run") == 1
    assert all(each.pop(survey) == 1 for survey in surveys)
    each["build_tracks"] = 1  # both LAMOST surveys draw their stars from the same
    assert every == each


def said(done):
    """What Snakemake wrote, wherever: a dry run logs to stdout."""
    return done.stdout + done.stderr


def test_every_mistake_in_the_settings_is_a_line_without_traceback(run):
    done = run("--dry-run", "--configfile", "config/demo.yaml", "--config", "sede=3", "checks={strict: maybe}")
    assert done.returncode == 1
    assert "2 mistakes in the settings:" in said(done)
    assert "command line: sede: unknown key; did you mean 'seed'?" in said(done)
    assert 'command line: checks.strict: found "maybe"; accepted: a valid boolean' in said(done)
    assert "Traceback" not in said(done)


def test_mistake_in_a_file_names_the_file(run, repository_copy):
    (repository_copy / "mine.yaml").write_text("lamost_mrs: {arms: [green]}\n")
    done = run("--dry-run", "--configfile", "config/demo.yaml", "mine.yaml")
    assert done.returncode == 1
    assert 'mine.yaml: lamost_mrs.arms.0: found "green"; accepted: blue or red' in said(done)


def test_spectra_that_are_not_there_are_named_before_anything_runs(run):
    own = ["--config", "lamost_mrs={spectra: ['nowhere/*.fits.gz', typo.fits, 'config']}"]
    done = run("--dry-run", "--configfile", "config/demo.yaml", *own)
    assert done.returncode == 1
    assert "lamost_mrs.spectra: nowhere/*.fits.gz: no such file or folder" in said(done)
    assert "lamost_mrs.spectra: typo.fits: no such file or folder" in said(done)
    assert "Traceback" not in said(done) and "config:" not in said(done)


def test_unknown_survey_is_not_a_target(run):
    done = run("--dry-run", "--configfile", "config/demo.yaml", "--", "lamost_mr")
    assert done.returncode == 1
    assert "lamost_mr" in said(done) and "Traceback" not in said(done)
