"""Triplets: the scores, the rule and the loss as printed and corrected, and a head that learns and resumes."""

import csv
import json
import logging

import numpy as np
import pytest
import torch

from dioscuri.learn import resume
from dioscuri.learn.features import training as head_training
from dioscuri.learn.features.training import embed, load_head, train
from dioscuri.learn.features.triplets import (
    RECIPES,
    SCORED,
    Head,
    Recipe,
    dissimilarity,
    draw_triplets,
    recipe,
    scored_columns,
    triplet_loss,
)


@pytest.fixture(scope="module")
def metadata() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    columns = {name: 10 ** rng.normal(0, 0.5, 300) for name in SCORED}
    columns["disc_size2"][rng.random(300) < 0.5] = 0.0  # half of the secondaries have no disc
    return columns


@pytest.fixture(scope="module")
def features(metadata) -> np.ndarray:
    """Features that hold the logarithms of the parameters, mixed, in noise."""
    rng = np.random.default_rng(1)
    logs = np.log10(np.stack([metadata[name] for name in SCORED], axis=1) + 0.1)
    return (logs @ rng.normal(size=(7, 60)) + 0.5 * rng.normal(size=(300, 60))).astype(np.float32)


# --- scores --------------------------------------------------------------------------------------------------


def test_equation_6_by_hand():
    a, b = np.array([1.0, 3.0, 0.0, 0.0]), np.array([3.0, 3.0, 0.0, 2.0])
    # 2/4, 0/6, 0/0 (two systems without discs agree), 2/2
    assert dissimilarity(a, b, "ratio") == pytest.approx(0.5 + 0 + 0 + 1)
    assert dissimilarity(a, a, "ratio") == 0


@pytest.mark.parametrize("score", ["ratio", "log", "linear"])
def test_scores_are_distances(metadata, score):
    columns = scored_columns(metadata, Recipe(score=score), np.arange(300))
    a, b = columns[:150], columns[150:]
    found = dissimilarity(a, b, score)
    np.testing.assert_array_equal(found, dissimilarity(b, a, score))
    assert np.all(found > 0) and np.all(np.isfinite(found))


def test_logarithmic_score_sees_factors(metadata):
    columns = scored_columns(metadata, Recipe(parameters=("m1",), score="log"), np.arange(300))
    scatter = np.log10(metadata["m1"]).std()
    expected = abs(np.log10(metadata["m1"][3] / metadata["m1"][8])) / scatter
    assert dissimilarity(columns[3], columns[8], "log") == pytest.approx(expected, rel=0.03)  # the faintest are clipped


def test_scores_come_from_the_training_images_alone(metadata):
    changed = {name: column.copy() for name, column in metadata.items()}
    for column in changed.values():
        column[200:] *= 1000
    for score in ("log", "linear"):
        one, other = (scored_columns(m, Recipe(score=score), np.arange(200)) for m in (metadata, changed))
        np.testing.assert_array_equal(one[:200], other[:200])


def test_metadata_that_cannot_be_scored(metadata):
    with pytest.raises(ValueError, match=r"needs the column\(s\) l2; found"):
        scored_columns({name: metadata[name] for name in SCORED if name != "l2"}, Recipe(), np.arange(3))
    with pytest.raises(ValueError, match="non-finite values in l1"):
        scored_columns(metadata | {"l1": np.full(300, np.nan)}, Recipe(), np.arange(3))
    with pytest.raises(ValueError, match="negative values in m2"):
        scored_columns(metadata | {"m2": np.full(300, -1.0)}, Recipe(), np.arange(3))


# --- triplets ------------------------------------------------------------------------------------------------


def scores_of(triplets: np.ndarray, columns: np.ndarray, score: str) -> tuple[np.ndarray, np.ndarray]:
    anchor, positive, negative = columns[triplets.T]
    return dissimilarity(anchor, positive, score), dissimilarity(anchor, negative, score)


def test_corrected_rule_makes_the_similar_one_positive_and_the_printed_one_the_other(metadata):
    rows = np.arange(300)
    for name, inverted in (("corrected", False), ("literal", True), ("log_score", False)):
        chosen = RECIPES[name]
        columns = scored_columns(metadata, chosen, rows)
        near, far = scores_of(draw_triplets(columns, rows, 2000, chosen, 0, 0), columns, chosen.score)
        assert np.all(near > far) if inverted else np.all(near < far)
    assert RECIPES["literal"].parameters == SCORED[:6] and RECIPES["corrected"].parameters == SCORED
    assert RECIPES["literal"].beta1 == 1e-3 and RECIPES["corrected"].beta1 == 0.9


def test_triplets_are_of_seed_and_epoch(metadata):
    columns = scored_columns(metadata, Recipe(), np.arange(300))
    rows = np.arange(50, 120)
    one = draw_triplets(columns, rows, 500, Recipe(), 3, 7)
    np.testing.assert_array_equal(one, draw_triplets(columns, rows, 500, Recipe(), 3, 7))
    assert one.shape == (500, 3) and set(np.unique(one)) <= set(rows)
    for seed, epoch in ((4, 7), (3, 8)):
        assert not np.array_equal(one, draw_triplets(columns, rows, 500, Recipe(), seed, epoch))


def test_ties_are_drawn_again(metadata):
    """Two kinds of system only: a third of the triplets scores 0 and is replaced."""
    few = {name: np.where(np.arange(300) % 2, 1.0, 2.0) for name in SCORED}
    columns = scored_columns(few, Recipe(), np.arange(300))
    triplets = draw_triplets(columns, np.arange(300), 1000, Recipe(), 0, 0)
    near, far = scores_of(triplets, columns, "ratio")
    assert len(triplets) == 1000 and np.all(near == 0) and np.all(far > 0)
    same = {name: np.ones(300) for name in SCORED}
    with pytest.raises(ValueError, match="do not differ in m1, m2"):
        draw_triplets(scored_columns(same, Recipe(), np.arange(300)), np.arange(300), 100, Recipe(), 0, 0)
    with pytest.raises(ValueError, match="at least 3 images"):
        draw_triplets(columns, np.arange(2), 10, Recipe(), 0, 0)


# --- loss and head -------------------------------------------------------------------------------------------


def vectors(*distances: float) -> torch.Tensor:
    """Vectors (B, 2) at these L1 distances from the origin."""
    return torch.tensor([[0.25 * d, -0.75 * d] for d in distances])


def test_loss_is_that_of_equations_9_and_10():
    d_ap, d_an = np.array([1.0, 0.5, 2.0]), np.array([0.2, 0.9, 2.0])
    p_positive = np.exp(d_ap) / (np.exp(d_ap) + np.exp(d_an))
    p_negative = np.exp(d_an) / (np.exp(d_ap) + np.exp(d_an))
    expected = p_positive + (1 - p_negative)
    anchor, positive, negative = vectors(0, 0, 0), vectors(*d_ap), vectors(*d_an)
    assert triplet_loss(anchor, positive, negative, "always").item() == pytest.approx(expected.mean(), rel=1e-6)
    gated = np.where(d_ap > d_an, expected, 0).mean()
    assert triplet_loss(anchor, positive, negative, "gated").item() == pytest.approx(gated, rel=1e-6)
    soft = np.log1p(np.exp(4 * (d_ap - d_an) / np.mean([d_ap, d_an]))).mean()
    assert triplet_loss(anchor, positive, negative, "softplus").item() == pytest.approx(soft, rel=1e-6)


def test_a_triplet_in_order_teaches_nothing_when_gated():
    positive = vectors(0.5).requires_grad_()
    triplet_loss(vectors(0.0), positive, vectors(0.9), "gated").backward()
    assert torch.all(positive.grad == 0)
    positive = vectors(1.5).requires_grad_()
    triplet_loss(vectors(0.0), positive, vectors(0.9), "gated").backward()
    # Descent takes the positive image towards the anchor.
    assert torch.all(positive.grad * positive > 0)


def test_where_the_printed_loss_is_flat_softplus_still_teaches():
    """Distances as a fresh head has them: a triplet that is badly wrong must move, and neither loss may overflow."""
    gradients = {}
    for kind in ("always", "gated", "softplus"):
        positive = vectors(5000.0).requires_grad_()
        loss = triplet_loss(vectors(0.0), positive, vectors(1000.0), kind)
        loss.backward()
        assert torch.isfinite(loss)
        gradients[kind] = positive.grad.abs().sum().item()
    assert gradients["always"] == gradients["gated"] == 0 and gradients["softplus"] > 0
    larger = [triplet_loss(vectors(0.0), vectors(f * 1.2), vectors(f), "softplus").item() for f in (1, 100)]
    assert larger[0] == pytest.approx(larger[1])


def test_head_has_the_papers_layers_and_initialisation():
    torch.manual_seed(0)
    head = Head(1024)
    assert [tuple(layer.weight.shape) for layer in head.layers] == [(256, 1024), (128, 256), (100, 128)]
    for layer in head.layers:  # He: variance 2 / fan-in
        assert layer.weight.std().item() == pytest.approx((2 / layer.in_features) ** 0.5, rel=0.03)
        assert torch.all(layer.bias == 0)
    expected = sum((layer.weight.detach() ** 2).sum() for layer in head.layers)
    assert head.penalty().item() == pytest.approx(expected.item(), rel=1e-6)


def test_spatial_dropout_takes_whole_channels():
    head = Head(40, cells=4, outputs=(40,), dropout=0.5)
    with torch.no_grad():
        head.layers[0].weight.copy_(torch.eye(40))  # the output is what dropout leaves
    torch.manual_seed(0)
    left = head.train()(torch.ones(500, 40)).reshape(500, 10, 4) != 0
    assert torch.equal(left.any(2), left.all(2))
    assert left.float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert torch.all(head.eval()(torch.ones(2, 40)) == 1)
    with pytest.raises(ValueError, match="cannot be shared out evenly"):
        Head(10, cells=4)


def test_features_that_never_vary_are_ignored():
    head = Head(3)
    known = torch.tensor([[0.0, 5.0, 1.0], [2.0, 5.0, 3.0]])
    head.standardise(known)
    assert torch.isfinite(head.scale).all()  # a file with other weights is refused
    head.eval()
    strange = known.clone()
    strange[:, 1] = 1e6
    np.testing.assert_array_equal(head(strange).detach(), head(known).detach())


# --- training ------------------------------------------------------------------------------------------------

SETTINGS = {"max_epochs": 3, "n_triplets": 1500, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def reference(features, metadata, tmp_path_factory):
    """An uninterrupted training."""
    folder = tmp_path_factory.mktemp("head")
    info = train(features, metadata, np.arange(240), np.arange(240, 300), "log_score", 5, folder, **SETTINGS)
    return folder, info


def test_training_orders_unseen_triplets(reference, features, metadata):
    folder, info = reference
    assert info["validation_ordered"] > 0.7 > 0.5  # 0.5 is chance
    assert sorted(path.name for path in folder.iterdir()) == ["history.csv", "model.ckpt", "model.json"]
    assert json.loads((folder / "model.json").read_text()) == info
    assert info["recipe"]["score"] == "log" and info["training"]["n_images"] == 240 and info["epochs"] == 3
    with open(folder / "history.csv", encoding="utf-8", newline="") as stream:
        history = list(csv.DictReader(stream))
    assert tuple(history[0]) == head_training.HISTORY_COLUMNS and len(history) == 3
    head, stored = load_head(folder / "model.ckpt")
    assert stored == info
    found = embed(head, features)
    assert found.shape == (300, 100) and found.dtype == np.float32 and np.isfinite(found).all()
    # The embedding brings like systems together: nearest neighbours of unseen images, against all others.
    logs = scored_columns(metadata, RECIPES["log_score"], np.arange(240))
    apart = np.abs(found[240:, None] - found[None, :240]).sum(2)
    near = dissimilarity(logs[240:], logs[apart.argmin(1)], "log").mean()
    assert near < 0.75 * dissimilarity(logs[240:, None], logs[None, :240], "log").mean()


def test_the_printed_rule_teaches_the_opposite(reference, features, metadata, tmp_path):
    inverted = recipe("log_score", inverted=True, dropout=0.0)
    info = train(features, metadata, np.arange(240), np.arange(240, 300), inverted, 5, tmp_path, **SETTINGS)
    # The share of triplets that are in order by the metadata: an untrained head has 0.75 of what the features show.
    assert 1 - info["validation_ordered"] < reference[1]["validation_ordered"] - 0.1


def test_a_killed_training_goes_on_to_the_same_head(reference, features, metadata, tmp_path, caplog):
    arguments = (features, metadata, np.arange(240), np.arange(240, 300), "log_score", 5, tmp_path)
    with pytest.raises(resume.Unfinished, match="limit of 0 s"):
        train(*arguments, max_seconds=0, **SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["resume"]
    with caplog.at_level(logging.INFO):
        train(*arguments, **SETTINGS)
    assert "continuing after epoch 1" in caplog.text
    expected, _ = load_head(reference[0] / "model.ckpt")
    found, _ = load_head(tmp_path / "model.ckpt")
    for one, other in zip(expected.state_dict().values(), found.state_dict().values()):
        assert torch.equal(one, other)


def test_seeds_differ_and_validation_is_optional(reference, features, metadata, tmp_path):
    info = train(features, metadata, range(240), None, "log_score", 6, tmp_path, **SETTINGS | {"max_epochs": 1})
    assert info["training"]["validation"] == "other triplets of the training images"
    assert 0.5 < info["validation_ordered"] < 1
    one, _ = load_head(reference[0] / "model.ckpt")
    other, _ = load_head(tmp_path / "model.ckpt")
    assert not torch.equal(one.layers[0].weight, other.layers[0].weight)


def test_what_cannot_be_trained(features, metadata, tmp_path):
    rows = np.arange(240)
    with pytest.raises(ValueError, match="unknown recipe 'best': use one of literal, corrected, log_score"):
        train(features, metadata, rows, None, "best", 0, tmp_path)
    with pytest.raises(ValueError, match="given for training and for validation"):
        train(features, metadata, rows, rows[:5], "corrected", 0, tmp_path)
    with pytest.raises(ValueError, match="not the same images"):
        train(features[:-1], metadata, rows, None, "corrected", 0, tmp_path)
    bad = features.copy()
    bad[3, 3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        train(bad, metadata, rows, None, "corrected", 0, tmp_path)
    with pytest.raises(ValueError, match="unknown score 'cubic'"):
        recipe("corrected", score="cubic")


def test_a_head_takes_its_own_features_and_files(reference, features, tmp_path):
    head, _ = load_head(reference[0] / "model.ckpt")
    with pytest.raises(ValueError, match=r"takes features \(N, 60\)"):
        embed(head, features[:, :50])
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match=r"other.ckpt: not a model.ckpt of dioscuri"):
        load_head(tmp_path / "other.ckpt")
