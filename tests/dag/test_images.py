"""What the image surveys would run: single cells and models, a release, and what a change runs again."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from dioscuri.config import load_config


def test_a_release_trains_packs_and_tests_every_seed(plan, root):
    config = load_config(root / f"config/{name}.yaml" for name in ("config", "surveys", "release"))
    jobs = plan("--configfile", "config/release.yaml", "--", "release")
    assert jobs["train_images"] == len(config.csst.seeds) + len(config.hst.seeds)
    assert jobs["pack_images"] == jobs["calibrate_released"] == jobs["summarise_images"] == 2
    assert jobs["score_images"] == 3 * jobs["train_images"]  # test, jitter, wavefront


def test_one_cell_needs_its_stamps_and_psf_and_nothing_else(plan):
    cell = "results/demo/csst/mocks/random_equal/grid/snr55.h5"
    assert plan("--configfile", "config/demo.yaml", "--", cell) == {"make_psf_bank": 1, "make_cell": 1}


def test_a_cell_with_another_psf_makes_that_psf(plan):
    cell = "results/demo/csst/mocks/random_uniform/optimum/jitterm0p02.parquet"
    jobs = plan("--configfile", "config/demo.yaml", "--", cell)
    assert jobs == {"make_psf_bank": 1, "make_psf_mismatch": 1, "make_cell": 1, "score_optimum": 1}


def test_a_single_model_needs_only_what_it_is_trained_on(plan):
    model = "results/demo/csst/robust_equal/resnet34/seed7/model.ckpt"
    jobs = plan("--configfile", "config/demo.yaml", "--", model)
    assert jobs == {"make_psf_bank": 2, "make_stamps": 1, "train_images": 1}


def test_a_fixed_training_set_is_made_once_for_all_networks(plan):
    fixed = ["--config", "csst={mocks: {fresh: false}, train_networks: [compact, resnet34]}"]
    models = [f"results/demo/csst/random_equal/{network}/seed1/model.ckpt" for network in ("compact", "resnet34")]
    jobs = plan("--configfile", "config/demo.yaml", *fixed, "--", *models)
    assert jobs == {"make_psf_bank": 1, "make_stamps": 2, "train_images": 2}


def test_mistaken_names_are_told_with_what_there_is(run):
    wrong = ["--config", "csst={train_cases: [random_eqal], grids: {snr: {cases: [nobody]}}}"]
    done = run("--dry-run", "--configfile", "config/demo.yaml", *wrong)
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "Traceback" not in said
    assert "train_cases: random_eqal not among cases: random_equal, random_uniform" in said
    assert "grids.snr.cases: nobody not among cases" in said


# --- what a change runs again -------------------------------------------------------------------------------

FIRST = {"train_cases": ["random_equal"], "banks": {"robust": {"members": 3}}}


@pytest.fixture(scope="module")
def plan_again(stubbed: Path, run: Callable, read_plan: Callable) -> Callable[..., Counter]:
    """Rule → jobs that a rerun of csst with other settings would start, after one with those of FIRST."""

    def start(*arguments: str, **settings: object):
        own = ["--configfile", "tests/presets/tiny.yaml", "--config", f"csst={FIRST | settings}"]
        done = run("--quiet", "rules", *arguments, *own, "--", "csst")
        assert done.returncode == 0, done.stderr[-3000:]
        return done

    def planned(**settings: object) -> Counter:
        jobs = read_plan(start("--dry-run", **settings))
        jobs.pop("csst", None)
        return jobs

    start()
    return planned


SUMMARIES = {"summarise_images", "check_images", "judge_checks"}
OF_MERITS = {"plot_csst_merits"}  # figures that are drawn from the table of merits


def test_nothing_to_do_after_a_run(plan_again):
    assert plan_again() == {}


def test_one_more_cell_scores_its_axis_and_trains_nothing(plan_again):
    jobs = plan_again(grids={"snr": {"values": [55, 80, 155]}})
    assert (jobs["make_cell"], jobs["score_optimum"], jobs["score_images"]) == (1, 1, 1)
    assert set(jobs) - SUMMARIES == {
        "make_cell",
        "score_optimum",
        "score_images",
        "plot_csst_merits",
    }


def test_one_more_seed_trains_one_network_and_makes_no_stamps(plan_again):
    jobs = plan_again(seeds=[1, 2])
    assert jobs["train_images"] == 1
    assert not {"make_stamps", "make_cell", "score_optimum", "make_psf_bank"} & set(jobs)


def test_another_noise_makes_all_stamps_again_but_no_psf(plan_again):
    jobs = plan_again(noise={"sigma": 1.0})
    assert {"make_stamps", "make_cell", "train_images"} <= set(jobs)
    assert not {"make_psf_bank", "make_psf_mismatch", "simulate_chance_alignments"} & set(jobs)


@pytest.mark.parametrize(
    ("module", "first", "untouched"),
    [
        ("stamps/optimum.py", "score_optimum", {"make_stamps", "make_psf_bank"}),
        ("evaluation/image_checks.py", "check_images", {"summarise_images", "train_images"}),
        ("learn/images/backbones.py", "train_images", {"make_stamps", "score_optimum"}),
        ("plots/images_stamps.py", "plot_image_mocks", {"plot_csst_merits", "score_images"}),
    ],
)
def test_editing_a_module_reruns_what_depends_on_it(plan_again, stubbed, module, first, untouched):
    path = stubbed / "workflow/src/dioscuri" / module
    before = path.read_text()
    path.write_text(before + "\nEDITED = True\n")
    try:
        jobs = plan_again()
    finally:
        path.write_text(before)
    assert jobs[first] >= 1
    assert not untouched & set(jobs)
