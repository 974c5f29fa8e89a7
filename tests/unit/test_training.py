"""Training: the schedules, resuming to the bit, the files it leaves, and that it learns."""

import csv
import json
import logging
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from dioscuri.learn import metrics
from dioscuri.learn.schedule import Schedule
from dioscuri.learn.spectra import inference, training
from dioscuri.learn.spectra import models as model_files
from dioscuri.shards import mock_shard

N_PIXELS = 120
NETWORK = {"channels": [4, 8], "kernels": [7, 5], "strides": [3, 2], "dense": [16], "dropout": 0.2}
GRID = {"wave_min": 5000.0, "wave_max": 5010.0, "n_pixels": N_PIXELS, "resolution": 7500.0}


def write_mocks(path: Path, n: int, seed: int) -> Path:
    """Pairs with one line of random depth; in the binary it is split into two halves, 6 pixels apart."""
    rng = np.random.default_rng(seed)
    x, depth = np.arange(N_PIXELS), rng.uniform(0.2, 0.8, (n, 1))

    def line(centre: float) -> np.ndarray:
        return depth * np.exp(-0.5 * ((x - centre) / 3.0) ** 2)

    noise = rng.normal(0, 0.05, (2, n, N_PIXELS))
    with mock_shard(path, n, ("pair_id", "snr"), {"blue": N_PIXELS}, {"seed": seed}) as writer:
        spectra = (noise[0] - line(60.0), noise[1] - 0.5 * line(54.0) - 0.5 * line(66.0))
        writer.append({"pair_id": np.arange(n), "snr": np.full(n, 5.0)}, {"blue": spectra})
    return path


@pytest.fixture(scope="module")
def mocks(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[Path]]:
    folder = tmp_path_factory.mktemp("mocks")
    return (
        [write_mocks(folder / "train0.h5", 200, 1), write_mocks(folder / "train1.h5", 100, 2)],
        [write_mocks(folder / "validation.h5", 100, 3)],
    )


def run(mocks: tuple[list[Path], list[Path]], out_dir: Path, **changes) -> dict:
    settings = {
        "penalty": 4.0,
        "seed": 5,
        "batch": 64,
        "max_epochs": 4,
        "grid": GRID,
        "accelerator": "cpu",
    } | changes
    return training.train(*mocks, "blue", NETWORK, out_dir=out_dir, **settings)


def state_of(out_dir: Path) -> dict[str, torch.Tensor]:
    return torch.load(out_dir / "model.ckpt", weights_only=True)["state_dict"]


def history_of(out_dir: Path) -> list[dict[str, str]]:
    with open(out_dir / "history.csv", encoding="utf-8", newline="") as stream:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)]


def assert_same_training(one: Path, other: Path) -> None:
    a, b = state_of(one), state_of(other)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert history_of(one) == history_of(other)


@pytest.fixture(scope="module")
def reference(mocks: tuple, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted training of four epochs."""
    out_dir = tmp_path_factory.mktemp("reference")
    run(mocks, out_dir)
    return out_dir


def test_files_of_a_finished_training(reference: Path) -> None:
    assert sorted(path.name for path in reference.iterdir()) == ["history.csv", "model.ckpt", "model.json"]
    info = json.loads((reference / "model.json").read_text())
    assert (info["arm"], info["penalty"], info["seed"], info["grid"]) == ("blue", 4.0, 5, GRID)
    assert info["training"]["n_pairs"] == 300
    assert info["training"]["mocks"] == [{"seed": 1}, {"seed": 3}]
    with open(reference / "history.csv", encoding="utf-8", newline="") as stream:
        history = list(csv.DictReader(stream))
    assert tuple(history[0]) == training.HISTORY_COLUMNS
    losses = [float(row["validation_loss"]) for row in history]
    assert info["best_epoch"] == 1 + int(np.argmin(losses))
    assert info["validation_loss"] == min(losses)
    assert int(history[-1]["epoch"]) == info["epochs"] == 4


def test_rerun_is_identical_and_seeds_differ(mocks: tuple, reference: Path, tmp_path: Path) -> None:
    run(mocks, tmp_path / "again")
    assert_same_training(reference, tmp_path / "again")
    run(mocks, tmp_path / "other", seed=6, max_epochs=1)
    assert history_of(tmp_path / "other")[0] != history_of(reference)[0]


def test_seeds_start_from_released_networks_in_turn_and_learn_with_noise(
    mocks: tuple, reference: Path, tmp_path: Path
) -> None:
    released = tmp_path / "blue.safetensors"
    model_files.save_released(released, [model_files.load_model(reference)], torch.float32)
    info = run(mocks, tmp_path / "further", seed=2, max_epochs=1, start=released)  # no seed 2 there: from seed 5
    trained, begun = info["validation_loss"], json.loads((reference / "model.json").read_text())["validation_loss"]
    assert trained < 1.2 * begun
    noisy = run(mocks, tmp_path / "noisy", seed=2, max_epochs=1, start=released, noisy=0.5)
    assert noisy["training"]["noisy"] == 0.5 and noisy["validation_loss"] < 1.2 * begun
    assert history_of(tmp_path / "noisy")[0]["train_loss"] > history_of(tmp_path / "further")[0]["train_loss"]
    with pytest.raises(ValueError, match="no network of layers"):
        training.train(*mocks, "blue", NETWORK | {"dense": [8]}, 4.0, 2, tmp_path / "x", grid=GRID, start=released)


def test_training_leaves_the_callers_random_state_alone(mocks: tuple, tmp_path: Path) -> None:
    torch.manual_seed(99)
    expected = torch.rand(3)
    torch.manual_seed(99)
    run(mocks, tmp_path, max_epochs=1)
    assert torch.equal(torch.rand(3), expected)


def interrupt_at_step(monkeypatch: pytest.MonkeyPatch, step: int, action) -> None:
    """Do something in the middle of training step number `step` (validation steps are not counted)."""
    steps = iter(range(1, 10**6))
    genuine = training.weighted_bce

    def wrapped(logits, y, penalty, reduction="mean"):
        if reduction == "mean" and next(steps) == step:
            action()
        return genuine(logits, y, penalty, reduction)

    monkeypatch.setattr(training, "weighted_bce", wrapped)


@pytest.mark.parametrize("number", training.WALLTIME_SIGNALS)
def test_walltime_signal_stops_and_resuming_equals_an_uninterrupted_run(
    mocks: tuple, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    handler = signal.getsignal(number)
    with monkeypatch.context() as patched:
        interrupt_at_step(patched, 22, lambda: signal.raise_signal(number))  # 9 steps an epoch: in the third
        with pytest.raises(training.Unfinished, match=f"signal {number.name}.* after 2 epochs: rerun to continue"):
            run(mocks, tmp_path)
    assert signal.getsignal(number) == handler
    assert (tmp_path / "resume" / "last.ckpt").exists()
    assert not (tmp_path / "model.ckpt").exists()
    run(mocks, tmp_path)
    assert_same_training(reference, tmp_path)
    assert not (tmp_path / "resume").exists()


def test_crash_and_time_limits_resume_to_the_bit(
    mocks: tuple, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash() -> None:
        raise MemoryError("out of memory")

    with monkeypatch.context() as patched:
        interrupt_at_step(patched, 15, crash)
        with pytest.raises(MemoryError):
            run(mocks, tmp_path)
    for done in (2, 3):
        with pytest.raises(training.Unfinished, match=f"limit of 0 s.* after {done} epochs"):
            run(mocks, tmp_path, max_seconds=0)
    run(mocks, tmp_path, max_seconds=0)
    assert_same_training(reference, tmp_path)


def test_killed_after_the_last_epoch_only_writes_the_results(
    mocks: tuple, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(training, "write_results", crash)
        with pytest.raises(OSError, match="no space"):
            run(mocks, tmp_path)
    monkeypatch.setattr(training.pl, "Trainer", None)  # any further training would fail
    run(mocks, tmp_path)
    assert_same_training(reference, tmp_path)


def test_state_of_other_settings_is_not_continued(
    mocks: tuple, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(training.Unfinished):
        run(mocks, tmp_path, max_seconds=0, penalty=16.0)
    with caplog.at_level(logging.INFO, logger="dioscuri"):
        run(mocks, tmp_path, max_epochs=1)
    assert "belongs to other settings or other mocks: training starts afresh" in caplog.text
    assert "epoch 1: rate 1.0e-03" in caplog.text
    assert json.loads((tmp_path / "model.json").read_text())["penalty"] == 4.0


def test_it_learns_and_the_penalty_moves_the_rates(mocks: tuple, tmp_path: Path) -> None:
    test = write_mocks(tmp_path / "test.h5", 500, 9)
    spectra = training.PairedSpectra([test], "blue")
    flux, y = spectra.gather(np.arange(len(spectra)))
    found = {}
    for penalty in (1.0, 64.0):
        run(mocks, tmp_path / f"{penalty:g}", penalty=penalty, max_epochs=12)
        ensemble = inference.Ensemble([model_files.load_model(tmp_path / f"{penalty:g}")], device="cpu")
        p = ensemble.probabilities(flux.numpy())[penalty][:, 0]
        found[penalty] = metrics.rates(p, y.numpy())
        assert metrics.auc(p, y.numpy()) > 0.97
    assert found[64.0].fpr < found[1.0].fpr
    assert found[64.0].tpr < found[1.0].tpr


def test_bad_input_is_named(mocks: tuple, tmp_path: Path) -> None:
    train_shards, _ = mocks
    with pytest.raises(ValueError, match=r"for training and for validation: .*train1.h5"):
        run((train_shards, train_shards[1:]), tmp_path)
    with pytest.raises(ValueError, match="blue arm have 120 pixels, the grid 3347"):
        run(mocks, tmp_path, grid={"n_pixels": 3347})
    with pytest.raises(ValueError, match="unknown accelerator 'tpu': use auto, cpu or gpu"):
        run(mocks, tmp_path, accelerator="tpu")
    with pytest.raises(ValueError, match="unknown schedule 'cosine'"):
        run(mocks, tmp_path, schedule="cosine")
    with pytest.raises(FloatingPointError, match="the loss is not finite after epoch 1"):
        run(mocks, tmp_path, learning_rate=1e30)


# --- schedules ----------------------------------------------------------------------------------------------


def rates_of(schedule: Schedule, losses: list[float]) -> list[float]:
    rates = []
    for loss in losses:
        schedule.update(loss)
        rates.append(schedule.learning_rate)
    return rates


def test_literal_schedule_divides_after_every_rise() -> None:
    rates = rates_of(Schedule("literal"), [1.0, 0.5, 0.6, 0.55, 0.56, 0.56])
    np.testing.assert_allclose(rates, [1e-3, 1e-3, 2e-4, 2e-4, 4e-5, 4e-5])


def test_literal_schedule_stops_after_ten_consecutive_rises() -> None:
    schedule = Schedule("literal", floor=0.0)
    rates_of(schedule, [1.0, 2.0, 3.0, 0.9])  # a fall starts the count again
    rates_of(schedule, list(np.arange(1.0, 10.0)))
    assert not schedule.stop_reason
    schedule.update(10.0)
    assert schedule.stop_reason == "10 consecutive rises of the validation loss"


def test_patience_schedule() -> None:
    schedule = Schedule("patience", patience=2, stop_patience=5)
    rates = rates_of(schedule, [1.0, 1.1, 1.05, 0.9, 0.95, 0.95, 0.91, 0.92])
    np.testing.assert_allclose(rates, [1e-3, 1e-3, 2e-4, 2e-4, 2e-4, 4e-5, 4e-5, 8e-6])
    assert not schedule.stop_reason
    assert not schedule.update(0.93)
    assert schedule.stop_reason == "5 epochs without improvement"
    assert schedule.best == 0.9


def test_exhausted_rate_stops() -> None:
    schedule = Schedule("literal", learning_rate=1e-3, floor=1e-4)
    rates_of(schedule, [1.0, 2.0])
    assert not schedule.stop_reason
    schedule.update(3.0)
    assert schedule.stop_reason == "learning rate below 0.0001"
