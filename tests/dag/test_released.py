"""Observations of the user's own are scored by the released models: nothing is trained unless it is asked for."""

import json

import pytest

TRAINING = {
    "train_lrs_network",
    "make_lrs_mocks",
    "make_lrs_models",
    "build_lrs_library",
    "train_spectra",
    "train_images",
    "make_spectra",
    "build_library",
    "make_stamps",
    "make_cell",
}


@pytest.fixture(scope="module")
def own(stubbed):
    """Settings of a user's own, as the README shows them."""

    def write(text):
        (stubbed / "my.yaml").write_text("preset: mysurvey\n" + text)
        return ("--configfile", "my.yaml", "--")

    return write


def test_spectra_are_scored_without_training(plan, own):
    jobs = plan(*own("lamost_mrs: {spectra: ['observed/*.fits']}\n"), "lamost_mrs")
    assert not TRAINING & set(jobs)
    assert jobs["build_catalog"] == 1 and sum(jobs.values()) < 15


def test_training_can_be_asked_for(plan, own):
    jobs = plan(*own("lamost_mrs: {models: trained, spectra: ['observed/*.fits']}\n"), "lamost_mrs")
    assert {"train_spectra", "make_spectra"} <= set(jobs)


def test_the_shards_wait_for_the_released_models_alone(run, own, stubbed, read_plan):
    target = "results/mysurvey/lamost_mrs/blue/inference/shard000000.parquet"
    done = run(*own("lamost_mrs: {spectra: ['observed/*.fits']}\n"), "results/mysurvey/lamost_mrs/ingest/plan.json")
    assert done.returncode == 0, done.stderr[-2000:]
    done = run("--dry-run", *own("lamost_mrs: {spectra: ['observed/*.fits']}\n"), target)
    assert "blue.safetensors" in done.stdout + done.stderr and "templates.h5" in done.stdout + done.stderr
    assert not TRAINING & set(read_plan(done))


def test_low_resolution_spectra_are_scored_without_training(plan, own):
    jobs = plan(*own("lamost_lrs: {spectra: ['observed/*.fits']}\n"), "lamost_lrs")
    assert not TRAINING & set(jobs)
    assert jobs["build_lrs_catalog"] == 1 and sum(jobs.values()) < 10
    own_labels = "lamost_lrs: {training: hrd, catalogue: observed/night1-0.fits, spectra: ['observed/*.fits']}\n"
    assert "train_lrs_network" in plan(*own(own_labels), "lamost_lrs")


def test_frames_are_searched_without_training(plan, own):
    frames = {"F467M": ["observed/night1-0.fits"], "F775W": ["observed/night1-1.fits", "observed/night1-2.fits"]}
    jobs = plan(*own(f"hst: {{cluster: {{frames: {json.dumps(frames)}}}}}\n"), "hst")
    assert not TRAINING & set(jobs)
    assert jobs["score_exposure"] == 2 and jobs["combine_candidates"] == 1
    assert "train_images" in plan(*own(f"hst: {{models: trained, cluster: {{frames: {json.dumps(frames)}}}}}\n"), "hst")


def test_stamps_are_scored_without_training(plan, own):
    jobs = plan(*own("csst: {stamps: [observed], psf: {source: file, file: observed/night1-0.fits}}\n"), "csst")
    assert jobs == {"make_psf_bank": 1, "score_stamps": 1, "csst": 1}


def test_stamps_that_are_not_there_are_named(run, own):
    done = run("--dry-run", *own("csst: {stamps: [nowhere.h5]}\n"), "csst")
    assert done.returncode == 1
    assert "csst.stamps: nowhere.h5: no such file or folder" in done.stdout + done.stderr
