"""What a fresh checkout would run: jobs of every preset, of a single target, and answers to mistaken settings."""

import math
from collections import Counter
from functools import cache

import pytest

from dioscuri.config import load_config

EVERY_RUN = {
    "build_tracks": 1,
    "simulate_night": 1,
    "plan_lamost_mrs_shards": 1,
    "score_double_peak": 2,
    "summarise_spectra": 1,
    "calibrate_fits": 1,
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


EVERY_IMAGE_RUN = ["simulate_chance_alignments", "summarise_images", "check_images", "judge_checks"]
EVERY_IMAGE_RUN += ["plot_image_mocks", "plot_image_models"]
OTHER_PSF = ("jitter", "wfe")

PRESETS = [None, "reference", "release", "large_networks", "demo", "tests/presets/tiny.yaml"]


def file_of(preset):
    """The file of a preset in config/, or one named whole."""
    return preset if preset is None or preset.endswith(".yaml") else f"config/{preset}.yaml"


def settings_of(root, preset):
    """All settings of a preset; None: what config.yaml alone says."""
    layers = ["config/config.yaml", "config/surveys.yaml", *([file_of(preset)] if preset else [])]
    return load_config(root / name for name in layers)


@pytest.fixture(scope="module")
def plan_of(plan):
    """Rule → jobs of all surveys that are counted here; one dry run a preset."""

    @cache
    def planned(preset):
        own = ["--configfile", file_of(preset)] if preset else []
        return plan(*own, "--", "lamost_mrs", "csst", "hst")

    return planned


def wanted_of_mrs(config) -> dict:
    """Rule → jobs that the settings stand for."""
    mrs = config.lamost_mrs
    models = len(mrs.arms) * len(mrs.penalties) * len(mrs.seeds)
    pairs = (mrs.mocks.n_train, mrs.mocks.n_validation, mrs.mocks.n_test)
    shards = sum(math.ceil(number / mrs.mocks.shard_size) for number in pairs)
    wanted = {"build_library": config.library.variants, "make_spectra": shards, "see_spectra": shards}
    if mrs.training.together:  # all penalties of an arm and seed in one job
        jobs = models // len(mrs.penalties)
        return EVERY_RUN | wanted | {"train_penalties": jobs, "score_penalties": jobs}
    return EVERY_RUN | wanted | {"train_spectra": models, "score_spectra": models}


def wanted_of_images(name, images) -> Counter:
    """Rule → jobs that the settings of a survey stand for."""
    grids = {axis: grid for axis, grid in images.grids.items() if grid.values}
    tested = {case: [axis for axis, grid in grids.items() if case in grid.cases] for case in images.train_cases}
    cells = sum(len(grids[axis].values) for axes in tested.values() for axis in axes)
    models = len(images.train_networks) * len(images.seeds)
    shown = {axis for axes in tested.values() for axis in axes}
    jobs = Counter(EVERY_IMAGE_RUN)
    jobs["make_psf_bank"] = len({images.cases[case].bank for case in images.train_cases} | {"nominal"})
    jobs["make_psf_mismatch"] = sum(len(grids[axis].values) for axis in shown if axis in OTHER_PSF)
    jobs["make_stamps"] = len(tested) * (2 if images.mocks.fresh else 3)
    jobs["make_cell"], jobs["score_optimum"] = cells, cells + len(tested)
    jobs["train_images"] = len(tested) * models
    jobs["calibrate_images"] = len(tested) * len(images.train_networks)
    jobs["score_images"] = models * sum(1 + len(axes) for axes in tested.values())
    jobs["summarise_recall"] = int(any(images.cases[case].flux_ratio == "uniform" for case in images.train_cases))
    jobs["plot_networks"] = int(name == "csst")
    jobs[f"plot_{name}_merits"] = int(bool(shown) or jobs["summarise_recall"])
    return +jobs


@pytest.mark.parametrize("preset", PRESETS)
def test_jobs_of_a_preset(plan_of, root, preset):
    config, jobs = settings_of(root, preset), plan_of(preset)
    wanted = wanted_of_mrs(config) | wanted_of_images("csst", config.csst)
    for rule, number in wanted_of_images("hst", config.hst).items():
        wanted[rule] = wanted.get(rule, 0) + number
    wanted["judge_checks"] = 3
    assert {rule: jobs[rule] for rule in wanted} == wanted  # what else there is belongs to the cluster
    assert jobs.total() < 1300


def test_mrs_alone_runs_its_own_rules_and_no_other(plan):
    """At the paper's scale: two libraries' variants, ten penalties, five seeds."""
    shards, models = 16 + 2 + 2, 2 * 10 * 5
    wanted = {"build_library": 4, "make_spectra": shards, "see_spectra": shards}
    wanted |= {"train_spectra": models, "score_spectra": models}
    assert plan("--", "lamost_mrs") == {**EVERY_RUN, **wanted}


def test_csst_needs_no_frames_of_a_cluster(plan, root):
    jobs = plan("--configfile", "config/demo.yaml", "--", "csst")
    assert jobs.pop("csst") == 1
    assert jobs == wanted_of_images("csst", settings_of(root, "demo").csst)


def test_a_single_model_needs_its_mocks_and_nothing_else(plan):
    model = "results/demo/lamost_mrs/blue/cnn_s/lambda16/seed1/model.ckpt"
    jobs = plan("--configfile", "config/demo.yaml", "--", model)
    mocks = {"make_spectra": 2, "calibrate_fits": 1, "see_spectra": 2}
    wanted = {"build_tracks": 1, "build_library": 2, **mocks}
    assert jobs == {**wanted, "train_penalties": 1}  # with those of the other penalties, in the demo
    alone = ["--config", "lamost_mrs={training: {together: false}}"]
    assert plan("--configfile", "config/demo.yaml", *alone, "--", model) == {**wanted, "train_spectra": 1}


def test_a_model_outside_the_lists_can_be_had_too(plan):
    model = "results/demo/lamost_mrs/red/cnn_m/lambda0p5/seed9/model.ckpt"
    assert plan("--configfile", "config/demo.yaml", "--", model)["train_spectra"] == 1


def test_named_targets(plan):
    jobs = plan("--configfile", "config/demo.yaml", "--", "mocks", "models", "catalogs", "bench")
    assert all(jobs[target] == 1 for target in ("mocks", "models", "catalogs", "bench"))
    assert all(jobs[last] >= 1 for last in ("make_spectra", "summarise_spectra", "build_catalog"))
    assert jobs["judge_checks"] == 0


def test_the_demo_is_every_survey_that_the_settings_list(plan, root):
    surveys = settings_of(root, "demo").surveys
    assert len(surveys) == 5
    every = plan("--configfile", "config/demo.yaml", "--", "demo")
    each = plan("--configfile", "config/demo.yaml", "--", *surveys)
    assert every.pop("demo") == every.pop("summarise_run") == 1
    assert all(each.pop(survey) == 1 for survey in surveys)
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
