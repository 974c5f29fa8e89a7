"""What a change makes run again, and what it leaves alone: in a checkout that stubs have filled once."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

FIRST = {"models": "trained", "seeds": [1], "spectra": ["observed/*.fits"], "arms": ["blue"]}
EVALUATION = ["summarise_spectra", "score_twins", "plot_mrs_models", "check_spectra", "judge_checks"]
DRAWN = ["score_twins", "plot_mrs_models", "check_spectra", "judge_checks"]
NETWORKS = ["train_spectra", "score_spectra", "calibrate_evidence"]
CATALOGUE = ["build_catalog", "classify_sources", "list_rejected", "select_candidates"]
CATALOGUE += ["plot_mrs_catalog", "plot_mrs_sources"]


@pytest.fixture(scope="module")
def runs(stubbed: Path, run: Callable) -> Callable:
    """Run the stubs with settings of lamost_mrs other than FIRST's; (returned process)."""

    def start(*arguments: str, **settings: object):
        block = {**FIRST, **settings}
        own = ["--configfile", "tests/presets/tiny.yaml", "--config", "surveys=[lamost_mrs]", f"lamost_mrs={block}"]
        done = run("--quiet", "rules", *arguments, *own)
        assert done.returncode == 0, done.stderr[-3000:]
        return done

    start()
    return start


@pytest.fixture(scope="module")
def plan_again(runs: Callable, read_plan: Callable) -> Callable[..., Counter]:
    """Rule → jobs that a rerun with other settings would start; the rules that summarise are left out."""

    def planned(**settings: object) -> Counter:
        jobs = read_plan(runs("--dry-run", **settings))
        for name in ("all", "summarise_run"):
            jobs.pop(name, None)
        return jobs

    return planned


@contextmanager
def edited(path: Path, text: str) -> Iterator[None]:
    before = path.read_text(encoding="utf-8")
    path.write_text(before + text, encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(before, encoding="utf-8")


def once(*rules: str) -> Counter:
    return Counter(rules)


def test_nothing_to_do_after_a_run(plan_again):
    assert plan_again() == {}


def test_one_more_seed_adds_its_models_and_what_looks_at_all_models(plan_again):
    jobs = plan_again(seeds=[1, 2])
    assert jobs == {**once(*NETWORKS, *EVALUATION, *CATALOGUE), "infer_shard": 2, "fit_pairs": 2}


def test_another_learning_rate_leaves_mocks_and_shards_alone(plan_again):
    jobs = plan_again(training={"learning_rate": 0.5})
    assert jobs["train_spectra"] == 1
    assert not {"make_spectra", "ingest_shard", "build_library"} & set(jobs)


def test_more_draws_rerun_inference_but_no_training(plan_again):
    assert plan_again(inference={"draws": 5}) == {**once(*DRAWN, *CATALOGUE), "infer_shard": 2}


def test_settings_of_the_catalogue_rerun_nothing_before_it(plan_again):
    assert set(plan_again(catalog={"bprp0_max": 1.5})) == {"select_candidates", "plot_mrs_catalog", "plot_mrs_sources"}


@pytest.mark.parametrize(
    ("module", "first", "untouched"),
    [
        ("catalogs/candidates.py", "select_candidates", {"build_catalog", "train_spectra"}),
        ("learn/spectra/networks.py", "train_spectra", {"make_spectra", "build_library", "ingest_shard"}),
        ("stars/population.py", "make_spectra", {"build_library", "build_tracks", "ingest_shard"}),
        ("lamost/reduction.py", "ingest_shard", {"make_spectra", "train_spectra"}),
        ("plots/style.py", "plot_mrs_models", {"train_spectra", "build_catalog", "summarise_spectra"}),
    ],
)
def test_editing_a_module_reruns_what_depends_on_it(plan_again, stubbed, module, first, untouched):
    with edited(stubbed / "workflow/src/dioscuri" / module, "\nEDITED = True\n"):
        jobs = plan_again()
    assert jobs[first] >= 1
    assert not untouched & set(jobs)


def test_editing_a_leaf_reruns_nothing(plan_again, stubbed):
    with edited(stubbed / "workflow/src/dioscuri/job.py", "\nEDITED = True\n"):
        assert plan_again() == {}


def test_new_files_make_a_new_shard_and_leave_old_ones_alone(runs, plan_again, stubbed):
    shards = stubbed / "results/tiny/lamost_mrs/ingest"
    before = {path.name: path.stat().st_mtime_ns for path in shards.glob("shard*.h5")}
    assert len(before) == 2
    (stubbed / "observed/night2-0.fits").write_text("")
    assert plan_again()["plan_lamost_mrs_shards"] == 1
    runs()
    after = {path.name: path.stat().st_mtime_ns for path in shards.glob("shard*.h5")}
    assert sorted(after) == ["shard000000.h5", "shard000001.h5", "shard000002.h5"]
    assert {name: after[name] for name in before} == before
    assert len(list((stubbed / "results/tiny/lamost_mrs/blue/inference").glob("shard*.parquet"))) == 3
    assert plan_again() == {}


def test_a_replaced_file_remakes_its_shard_alone_and_a_lost_manifest_stops_nothing(runs, plan_again, stubbed):
    (stubbed / "observed/night1-0.fits").write_text("repaired")
    assert plan_again()["plan_lamost_mrs_shards"] == 1
    runs()
    assert plan_again() == {}
    shards = stubbed / "results/tiny/lamost_mrs/ingest"
    (shards / "manifest.json").unlink()
    (stubbed / "observed/night3-0.fits").write_text("")
    runs()
    assert (shards / "manifest.json").exists() and plan_again() == {}


def test_pattern_without_a_file_is_told_in_the_log_of_the_plan(runs, run):
    own = ["--configfile", "tests/presets/tiny.yaml", "--config", "surveys=[lamost_mrs]"]
    done = run(*own, "lamost_mrs={spectra: ['observed/*.gz']}", "--", "catalogs")
    assert done.returncode == 1
    assert "observed/*.gz: no file matches this pattern" in done.stdout + done.stderr
