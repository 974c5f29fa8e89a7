"""Training on images: eq. 3, the one-cycle policy, resuming to the bit, the files it leaves, and that it learns."""

import csv
import json
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dioscuri.learn import metrics, resume
from dioscuri.learn.images import inference as image_inference
from dioscuri.learn.images import training as image_training
from dioscuri.learn.images.backbones import build
from dioscuri.learn.images.cycles import one_cycle, valley
from dioscuri.learn.images.cycles import range_test as genuine_test
from dioscuri.learn.images.training import smoothed_cross_entropy, train

COMPACT = {"architecture": "compact", "channels": [8, 12], "dense": 16, "dropout": 0.2}


class Blobs:
    """Round sources, single or (class 1) drawn out by a companion; each epoch has its own."""

    def __init__(self, size: int = 320, n_channels: int = 1, seed: int = 1):
        self.size, self.n_channels, self.seed = size, n_channels, seed
        self.asked: list[int] = []

    def __call__(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        self.asked.append(epoch)
        rng = np.random.default_rng([self.seed, epoch])
        classes = np.arange(self.size) % 2 == 1
        x, y, angle = rng.uniform(6, 7, (2, self.size)), rng.uniform(6, 7, self.size), rng.uniform(0, np.pi, self.size)
        rows, columns = np.mgrid[:14, :14]
        images = np.zeros((self.size, 14, 14))
        for side in (-1, 1):
            shift = side * 1.2 * classes
            cx, cy = x[0] + shift * np.cos(angle), y + shift * np.sin(angle)
            distance = (columns - cx[:, None, None]) ** 2 + (rows - cy[:, None, None]) ** 2
            images += 0.5 * np.exp(-0.5 * distance / 1.1**2)
        images += rng.normal(0, 0.02, images.shape)
        return np.repeat(images[:, None].astype(np.float32), self.n_channels, axis=1), classes

    @property
    def description(self) -> dict[str, Any]:
        return {"kind": "blobs", "size": self.size, "seed": self.seed}


def run(out_dir: Path, epochs: Blobs | None = None, network: dict | None = None, seed: int = 5, **changes) -> dict:
    validation = Blobs(changes.pop("n_validation", 200), seed=2)(0)
    settings = {"batch": 64, "max_epochs": 3, "augment": ["dihedral"], "accelerator": "cpu"} | changes
    return train(epochs or Blobs(), validation, network or COMPACT, seed, out_dir, **settings)


def checkpoint_of(out_dir: Path) -> dict[str, Any]:
    return torch.load(out_dir / "model.ckpt", weights_only=True)


def history_of(out_dir: Path) -> list[dict[str, str]]:
    with open(out_dir / "history.csv", encoding="utf-8", newline="") as stream:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)]


def assert_same_training(one: Path, other: Path) -> None:
    a, b = (checkpoint_of(folder)["state_dict"] for folder in (one, other))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert history_of(one) == history_of(other)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted training of three epochs."""
    out_dir = tmp_path_factory.mktemp("reference")
    run(out_dir, rendering="rgb_log", context={"survey": "csst", "case": "random_equal"})
    return out_dir


# --- loss and schedule --------------------------------------------------------------------------------------


def test_smoothed_labels_are_those_printed_in_eq_3() -> None:
    torch.manual_seed(0)
    logits, y = 3 * torch.randn(50, 2, dtype=torch.float64), torch.arange(50) % 2
    epsilon, p = 0.1, torch.softmax(logits, 1)[:, 1]
    target = torch.where(y == 1, 1 - epsilon, epsilon)  # ε/(K − 1) with K = 2
    eq_2 = -(target * p.log() + (1 - target) * (1 - p).log()).mean()
    torch.testing.assert_close(smoothed_cross_entropy(logits, y, epsilon), eq_2)
    # torch spreads ε over both classes: its ε is half as strong.
    torch.testing.assert_close(torch.nn.functional.cross_entropy(logits, y, label_smoothing=2 * epsilon), eq_2)
    three = torch.randn(4, 3, dtype=torch.float64)
    by_hand = -(three.log_softmax(1) * torch.tensor([[0.8, 0.1, 0.1]])).sum(1).mean()
    torch.testing.assert_close(smoothed_cross_entropy(three, torch.zeros(4, dtype=torch.long), 0.2), by_hand)


def test_the_optimum_of_the_smoothed_loss_is_no_probability() -> None:
    truth, epsilon = 0.7, 0.1
    p = torch.linspace(0.01, 0.99, 9801, dtype=torch.float64)
    logits = torch.stack([(1 - p).log(), p.log()], 1)
    loss = sum(
        share * smoothed_cross_entropy(logits, torch.full((9801,), k), epsilon, "none")
        for k, share in ((0, 1 - truth), (1, truth))
    )
    best = float(p[loss.argmin()])
    assert best == pytest.approx(0.66, abs=1e-4)  # 0.9 × 0.7 + 0.1 × 0.3


def test_one_cycle_policy_spans_the_whole_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    genuine = image_training.Classifier.training_step

    def noted(self, batch, number):
        rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        return genuine(self, batch, number)

    monkeypatch.setattr(image_training.Classifier, "training_step", noted)
    run(tmp_path, max_epochs=4, learning_rate=0.004)
    assert len(rates) == 4 * 5
    top = int(np.argmax(rates))
    assert rates[0] == pytest.approx(0.004 / 25)
    assert rates[top] == pytest.approx(0.004) and top in (4, 5)  # a quarter of the steps
    assert (np.diff(rates[: top + 1]) > 0).all() and (np.diff(rates[top:]) < 0).all()
    assert rates[-1] < 0.004 / 1e3


@pytest.mark.parametrize("steps", [3, 8, 100])
def test_the_policy_is_torchs(steps: int) -> None:
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], 0.004)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.004, total_steps=steps, pct_start=max(0.25, 2 / steps))
    for step in range(steps):
        group = optimizer.param_groups[0]
        assert one_cycle(step, steps, 0.004) == pytest.approx((group["lr"], group["betas"][0]), rel=1e-9)
        optimizer.step()
        if step < steps - 1:
            theirs.step()


def test_the_range_test_takes_the_middle_of_the_longest_fall() -> None:
    rates = list(np.geomspace(1e-6, 1, 60))
    losses = [*np.full(20, 0.7), *np.linspace(0.69, 0.3, 25), *np.linspace(0.4, 5, 15)]
    assert valley(rates, losses) == rates[31]  # between 19 and 44
    with pytest.raises(FloatingPointError, match="range test"):
        valley([], [])


AUTHORS = {"recipe": "authors", "max_epochs": 7, "augment": ["flip", "brightness"], "label_smoothing": 0.1}


def test_the_authors_recipe_has_two_cycles_with_rates_of_their_own_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before and after the second range test, it goes on with the rates that were found."""
    rates: list[float] = []
    genuine = image_training.Classifier.training_step

    def noted(self, batch, number):
        rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        return genuine(self, batch, number)

    whole = run(tmp_path / "whole", **AUTHORS)
    monkeypatch.setattr(image_training.Classifier, "training_step", noted)
    tests = []
    monkeypatch.setattr(image_training, "range_test", lambda *given: tests.append(1) or genuine_test(*given))
    for _ in range(20):
        try:
            resumed = run(tmp_path / "parts", max_seconds=0.0, **AUTHORS)
            break
        except resume.Unfinished:
            continue
    assert len(tests) == 2
    assert resumed == whole
    for name, value in checkpoint_of(tmp_path / "whole")["state_dict"].items():
        assert torch.equal(value, checkpoint_of(tmp_path / "parts")["state_dict"][name]), name
    first, second = np.array(rates[:25]), np.array(rates[25:])
    assert len(second) == 10
    for part in (first, second):
        assert part.max() / part.min() == pytest.approx(1e5, rel=0.05)
    with pytest.raises(ValueError, match="recipe 'authors' needs max_epochs of 6 or more, found 5"):
        run(tmp_path / "short", **{**AUTHORS, "max_epochs": 5})


def test_smoothing_over_all_classes_is_half_of_eq_3() -> None:
    logits, y = torch.tensor([[0.3, -1.0], [2.0, 0.1]]), torch.tensor([1, 0])
    theirs = torch.nn.functional.cross_entropy(logits, y, label_smoothing=0.1)
    assert float(smoothed_cross_entropy(logits, y, 0.1, over="all")) == pytest.approx(float(theirs))
    assert float(smoothed_cross_entropy(logits, y, 0.05)) == pytest.approx(float(theirs))


@pytest.mark.parametrize("steps", [3, 4, 5])
def test_shortest_trainings(tmp_path: Path, steps: int) -> None:
    assert run(tmp_path, Blobs(32), max_epochs=steps, batch=32)["epochs"] == steps


# --- files and repeatability --------------------------------------------------------------------------------


def test_files_of_a_finished_training(reference: Path) -> None:
    assert sorted(path.name for path in reference.iterdir()) == ["history.csv", "model.ckpt", "model.json"]
    info = json.loads((reference / "model.json").read_text())
    assert info["network"] == COMPACT
    assert (info["rendering"], info["n_channels"], info["seed"]) == ("rgb_log", 1, 5)
    assert info["context"] == {"survey": "csst", "case": "random_equal"}
    assert info["training"]["epochs"] == {"kind": "blobs", "size": 320, "seed": 1}
    assert info["training"]["augment"] == ["dihedral"]
    rows = history_of(reference)
    assert tuple(rows[0]) == tuple(name for name in image_training.HISTORY_COLUMNS if name != "seconds")
    losses = [float(row["validation_loss"]) for row in rows]
    assert info["best_epoch"] == 1 + int(np.argmin(losses))
    assert info["validation_loss"] == min(losses)
    assert checkpoint_of(reference)["model"] == info


def test_rerun_is_identical_and_seeds_differ(reference: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"rendering": "rgb_log", "context": {"survey": "csst", "case": "random_equal"}}
    run(tmp_path / "again", **settings)
    assert_same_training(reference, tmp_path / "again")
    run(tmp_path / "other", seed=6, max_epochs=1, **settings)
    assert history_of(tmp_path / "other")[0] != history_of(reference)[0]


@pytest.mark.parametrize("how", ["signal", "crash"])
def test_stopped_and_resumed_equals_an_uninterrupted_run(
    reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    settings: dict[str, Any] = {"rendering": "rgb_log", "context": {"survey": "csst", "case": "random_equal"}}
    genuine = image_training.Classifier.training_step
    steps = iter(range(1, 1000))

    def interrupted(self, batch, number):
        if next(steps) == 8:  # five steps an epoch: in the second
            if how == "crash":
                raise MemoryError("out of memory")
            signal.raise_signal(signal.SIGTERM)
        return genuine(self, batch, number)

    with monkeypatch.context() as patched:
        patched.setattr(image_training.Classifier, "training_step", interrupted)
        with pytest.raises(resume.Unfinished if how == "signal" else MemoryError):
            run(tmp_path, **settings)
    with pytest.raises(resume.Unfinished, match=r"limit of 0 s.* after 2 epochs: rerun to continue"):
        run(tmp_path, max_seconds=0, **settings)
    epochs = Blobs()
    run(tmp_path, epochs, **settings)
    assert epochs.asked == [2]  # the third alone was left
    assert_same_training(reference, tmp_path)
    assert not (tmp_path / "resume").exists()


def test_frozen_layers_stay_until_they_are_unfrozen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    weights = tmp_path / "resnet34.pth"
    torch.save(build({"architecture": "resnet34"}, 1).features.state_dict(), weights)
    seen: list[tuple[torch.Tensor, ...]] = []
    genuine = image_training.Classifier.on_validation_epoch_end

    def noted(self):
        features, head = self.net.features, self.net.head
        layers = features.layer2[0].conv1.weight, features.bn1.weight, features.bn1.running_mean, head[2].weight
        seen.append(tuple(layer.detach().clone() for layer in layers))
        genuine(self)

    monkeypatch.setattr(image_training.Classifier, "on_validation_epoch_end", noted)
    network = {"architecture": "resnet34", "upscale": 32, "weights": str(weights)}
    run(tmp_path, Blobs(16), network, batch=8, n_validation=8, freeze_epochs=2, augment=["flip", "rotation"])
    convolution, scale, mean, head = (
        [not torch.equal(before, after) for before, after in pairwise(layer)] for layer in zip(*seen)
    )
    assert convolution == [False, True]  # frozen in the second epoch, not in the third
    assert scale == mean == head == [True, True]


# --- science ------------------------------------------------------------------------------------------------


def test_it_learns_what_shape_means(tmp_path: Path) -> None:
    run(tmp_path, Blobs(960), max_epochs=5, label_smoothing=0.05)
    channels, classes = Blobs(1000, seed=9)(0)
    p = image_inference.Classifier.load(tmp_path, "cpu").probability(channels)
    assert metrics.auc(p, classes) > 0.99
    assert 0.0 < p.min() < 0.15 and 0.85 < p.max() < 1.0


def test_bad_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown accelerator 'tpu'"):
        run(tmp_path, accelerator="tpu")
    with pytest.raises(ValueError, match=r"label_smoothing is 0.5; accepted: 0 or more, below 0.5"):
        run(tmp_path, label_smoothing=0.5)
    with pytest.raises(ValueError, match="freeze_epochs is 4; accepted: 0 to max_epochs = 3"):
        run(tmp_path, freeze_epochs=4)
    with pytest.raises(ValueError, match="1 epochs of 128 images in batches of 64 are too few steps; accepted: 3"):
        run(tmp_path, Blobs(128), max_epochs=1)
    with pytest.raises(ValueError, match=r"unknown augmentation\(s\) mixup"):
        run(tmp_path, augment=["mixup"])
    channels, classes = Blobs(40)(0)
    with pytest.raises(ValueError, match="validation images need single stars"):
        train(Blobs(), (channels, np.zeros(40)), COMPACT, 1, tmp_path)
    channels[3, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="some validation images are not finite"):
        train(Blobs(), (channels, classes), COMPACT, 1, tmp_path)
    with pytest.raises(FloatingPointError, match="the loss is not finite after epoch 1"):
        run(tmp_path, learning_rate=1e30)
