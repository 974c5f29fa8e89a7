"""What a fresh checkout would run: jobs of every preset, of a single target, and answers to mistaken settings."""

import pytest

EVERY_RUN = {
    "build_tracks": 1,
    "simulate_night": 1,
    "plan_shards": 1,
    "score_classical": 2,
    "summarise_models": 1,
    "build_catalog": 1,
    "select_candidates": 1,
    "list_rejected": 1,
    "plot_mock_pair": 1,
    "plot_hr_diagram": 1,
    "plot_learning_curves": 1,
    "plot_rates": 1,
    "plot_detectability": 1,
    "plot_reliability": 1,
    "plot_penalty_shift": 1,
    "plot_probability": 2,
    "plot_candidates": 1,
    "plot_night_recall": 1,
    "write_checks": 1,
    "judge_checks": 1,
    "all": 1,
}


@pytest.mark.parametrize(
    ("files", "libraries", "shards", "models"),
    [
        ([], 4, 16 + 2 + 2, 2 * 10 * 5),
        (["config/reference.yaml"], 4, 6 + 1 + 4, 2 * 4 * 2),
        (["config/release.yaml"], 4, 10 + 1 + 2, 2 * 1 * 3),
        (["config/demo.yaml"], 2, 2 + 1 + 1, 2 * 3 * 2),
        (["tests/presets/tiny.yaml"], 1, 2 + 1 + 1, 2 * 1 * 1),
    ],
    ids=["paper", "reference", "release", "demo", "tiny"],
)
def test_jobs_of_a_preset(plan, files, libraries, shards, models):
    wanted = {"build_library": libraries, "make_mocks": shards, "train_model": models, "score_test": models}
    assert plan(*(["--configfile", *files] if files else [])) == {**EVERY_RUN, **wanted}


def test_a_single_model_needs_its_mocks_and_nothing_else(plan):
    model = "results/demo/lamost_mrs/blue/cnn_s/lambda16/seed1/model.ckpt"
    jobs = plan("--configfile", "config/demo.yaml", "--", model)
    assert jobs == {"build_tracks": 1, "build_library": 2, "make_mocks": 3, "train_model": 1}


def test_a_model_outside_the_lists_can_be_had_too(plan):
    model = "results/demo/lamost_mrs/red/cnn_m/lambda0p5/seed9/model.ckpt"
    assert plan("--configfile", "config/demo.yaml", "--", model)["train_model"] == 1


@pytest.mark.parametrize(
    ("target", "last"),
    [("mocks", "make_mocks"), ("models", "summarise_models"), ("catalogs", "build_catalog"), ("bench", None)],
)
def test_named_targets(plan, target, last):
    jobs = plan("--configfile", "config/demo.yaml", "--", target)
    assert jobs[target] == 1
    assert last is None or jobs[last] >= 1
    assert jobs["judge_checks"] == 0


def test_lamost_mrs_is_all_that_there_is_so_far(plan):
    survey, every = (plan("--configfile", "config/demo.yaml", "--", name) for name in ("lamost_mrs", "demo"))
    assert survey.pop("lamost_mrs") == every.pop("demo") == 1
    assert survey == every


def test_every_mistake_in_the_settings_is_a_line_without_traceback(run):
    done = run("--dry-run", "--configfile", "config/demo.yaml", "--config", "sede=3", "checks={strict: 2}")
    assert done.returncode == 1
    assert "2 mistakes in the settings:" in done.stderr
    assert "command line: sede: unknown key; did you mean 'seed'?" in done.stderr
    assert "command line: checks.strict: found 2; accepted: " in done.stderr
    assert "Traceback" not in done.stderr


def test_mistake_in_a_file_names_the_file(run, repository_copy):
    (repository_copy / "mine.yaml").write_text("lamost_mrs: {arms: [green]}\n")
    done = run("--dry-run", "--configfile", "config/demo.yaml", "mine.yaml")
    assert done.returncode == 1
    assert 'mine.yaml: lamost_mrs.arms.0: found "green"; accepted: blue or red' in done.stderr


def test_spectra_that_are_not_there_are_named_before_anything_runs(run):
    own = ["--config", "lamost_mrs={spectra: ['nowhere/*.fits.gz', typo.fits, 'config']}"]
    done = run("--dry-run", "--configfile", "config/demo.yaml", *own)
    assert done.returncode == 1
    assert "lamost_mrs.spectra: nowhere/*.fits.gz: no such file or folder" in done.stderr
    assert "lamost_mrs.spectra: typo.fits: no such file or folder" in done.stderr
    assert "Traceback" not in done.stderr and "config:" not in done.stderr


def test_unknown_survey_is_not_a_target(run):
    done = run("--dry-run", "--configfile", "config/demo.yaml", "--", "lamost_mr")
    assert done.returncode == 1
    assert "lamost_mr" in done.stderr and "Traceback" not in done.stderr
