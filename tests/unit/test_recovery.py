"""The benchmark: its splits keep apart what they promise, and its scores are what they are called."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from dioscuri.analogues.estimate import Parameter
from dioscuri.analogues.recovery import compare, draw_queries, recover, splits, summarise, true_snapshot

AGE, MASS = Parameter("age1", "age", "kyr", "linear"), Parameter("m1", "mass", "Msun", "log", 1e-3)
N_SYSTEMS, N_SNAPSHOTS, N_VIEWS = 6, 30, 8


@pytest.fixture(scope="module")
def metadata() -> dict[str, np.ndarray]:
    """Six systems, 30 snapshots 1 kyr apart, 8 lines of sight; masses grow with age at a pace of their own."""
    system, snapshot, view = (
        one.ravel() for one in np.meshgrid(range(N_SYSTEMS), range(N_SNAPSHOTS), range(N_VIEWS), indexing="ij")
    )
    pace = np.array([0.2, 0.3, 0.4, 0.5, 0.7, 0.9])[system]
    return {
        "image_id": np.array([f"s{s}n{n}v{v}" for s, n, v in zip(system, snapshot, view)]),
        "system": np.array([f"system{s}" for s in system]),
        "projection": view,
        "time_kyr": snapshot + 0.5,
        "age1": snapshot + 5.0,
        "m1": pace * (1 + 0.1 * snapshot),
    }


@pytest.fixture(scope="module")
def informed(metadata) -> np.ndarray:
    """Features that show age and mass, in noise."""
    rng = np.random.default_rng(0)
    true = np.stack([metadata["age1"] / 10, 3 * np.log10(metadata["m1"])], axis=1)
    return (true @ rng.normal(size=(2, 12)) + 0.5 * rng.normal(size=(len(true), 12))).astype(np.float32)


# --- splits --------------------------------------------------------------------------------------------------


def test_projection_split_is_the_papers(metadata):
    (split,) = splits("projection", metadata)
    assert set(metadata["projection"][split.train]) == {0, 2, 4, 6}  # φ = 0, π/2, π, 3π/2
    assert set(metadata["projection"][split.test]) == {1, 3, 5, 7}
    assert len(split.train) + len(split.test) == len(metadata["system"])


@pytest.mark.parametrize("n_folds", [3, 4, 6])
def test_time_blocks_are_apart_by_a_block(metadata, n_folds):
    folds = splits("time_block", metadata, n_folds=n_folds, block_kyr=3.0)
    assert np.array_equal(np.sort(np.concatenate([split.test for split in folds])), np.arange(len(metadata["system"])))
    for split in folds:
        apart = np.abs(np.subtract.outer(metadata["time_kyr"][split.test], metadata["time_kyr"][split.train]))
        assert apart.min() > 3.0, "a snapshot must not be a neighbour of one in the catalogue"


@pytest.mark.parametrize(("kind", "n"), [("system", 4), ("leave_one_system_out", 6)])
def test_whole_systems_are_held_out(metadata, kind, n):
    folds = splits(kind, metadata, n_folds=4, seed=3)
    assert len(folds) == n
    for split in folds:
        assert not set(metadata["system"][split.train]) & set(metadata["system"][split.test])
    everyone = np.sort(np.concatenate([split.test for split in folds]))
    assert np.array_equal(everyone, np.arange(len(metadata["system"])))


def test_splits_that_cannot_be(metadata):
    one = {name: column[metadata["system"] == "system0"] for name, column in metadata.items()}
    with pytest.raises(ValueError, match="at least two, found 1"):
        splits("system", one)
    with pytest.raises(ValueError, match="unknown split 'random': use one of projection"):
        splits("random", metadata)
    first_view = {name: column[metadata["projection"] == 0] for name, column in metadata.items()}
    with pytest.raises(ValueError, match="0 are held out"):
        splits("projection", first_view)


def test_queries_are_the_same_for_every_method(metadata):
    split = splits("system", metadata)[1]
    queries = draw_queries(split, 40, seed=5)
    assert np.array_equal(queries, draw_queries(split, 40, seed=5)) and len(set(queries)) == 40
    assert set(queries) <= set(split.test) and not np.array_equal(queries, draw_queries(split, 40, seed=6))
    assert np.array_equal(draw_queries(split, 10**6), split.test)


# --- recovery ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows(metadata, informed):
    noise = np.random.default_rng(9).normal(size=informed.shape).astype(np.float32)
    methods = {"informed": informed, "noise": noise}
    return pd.concat(
        [
            recover(split, draw_queries(split, 100), metadata, [AGE, MASS], methods)
            for kind in ("projection", "leave_one_system_out")
            for split in splits(kind, metadata)
        ]
    )


def test_what_images_show_is_recovered_between_the_bounds(rows):
    table = summarise(rows, n_resamples=50).set_index(["split", "method", "parameter"])
    for split in ("projection", "leave_one_system_out"):
        error = {method: table.loc[split, method, "all"].error for method in ("oracle", "informed", "noise", "random")}
        assert error["oracle"] < error["informed"] < 0.7 * error["random"]
        assert error["noise"] == pytest.approx(error["random"], abs=0.15)
        rho = {method: table.loc[split, method, "age1"].rho for method in error}
        assert rho["oracle"] > 0.95 and rho["informed"] > 0.6 and abs(rho["noise"]) < 0.25 > abs(rho["random"])
    # Masses of an unseen system are harder than those of a system that is in the catalogue.
    seen, unseen = (table.loc[split, "oracle", "m1"].error for split in ("projection", "leave_one_system_out"))
    assert seen < unseen


def test_scores_are_what_they_are_called(rows):
    part = rows[(rows.split == "projection") & (rows.method == "informed") & (rows.parameter == "age1")]
    table = summarise(rows, n_resamples=10).set_index(["split", "method", "parameter"])
    row = table.loc["projection", "informed", "age1"]
    assert row.error == pytest.approx(np.median(np.abs(part.estimate - part.truth)))
    assert row.rho == pytest.approx(spearmanr(part.estimate, part.truth).statistic)
    assert row.coverage68 == pytest.approx(part.truth.between(part.low68, part.high68).mean())
    assert row.coverage95 == pytest.approx(part.truth.between(part.low95, part.high95).mean())
    assert (row.n_queries, row.n_systems) == (100, 6)


def test_differences_are_in_units_of_the_catalogues_scatter(rows, metadata):
    (split,) = splits("projection", metadata)
    ages = rows[(rows.split == "projection") & (rows.parameter == "age1") & (rows.method == "oracle")]
    true = dict(zip(metadata["image_id"], metadata["age1"]))
    expected = ages.image_id.map(true) / metadata["age1"][split.train].std()
    np.testing.assert_allclose(ages.truth, expected)


def test_errors_come_from_systems_not_from_images(metadata):
    """Eight views of 30 snapshots of six systems are six cases: copying every image must not shrink the error."""
    rng = np.random.default_rng(0)
    distant = rng.normal(size=6)[np.unique(metadata["system"], return_inverse=True)[1]]
    features = np.stack([metadata["age1"] / 10 + distant, metadata["age1"] / 10], axis=1).astype(np.float32)
    split = splits("projection", metadata)[0]
    found = recover(split, draw_queries(split, 100), metadata, [AGE], {"a": features})
    once, thrice = summarise(found), summarise(pd.concat([found] * 3))
    pick = (once.method == "a") & (once.parameter == "age1")
    assert thrice[pick].rho_se.item() == pytest.approx(once[pick].rho_se.item(), rel=0.1)


def test_paired_comparison(rows):
    table = compare(rows, "informed", ["informed"], "noise", n_resamples=50)
    everything = table[(table.split == "leave_one_system_out") & (table.parameter == "all")].iloc[0]
    assert everything.error < -2 * everything.error_se and everything.rho > 2 * everything.rho_se
    assert everything.systems_better >= 5 / 6
    same = compare(rows, "noise", ["noise"], "noise", n_resamples=10)
    assert np.all(same.error == 0) and np.all(same.rho_se == 0)


def test_seeds_of_a_recipe_are_averaged(rows):
    one, both = (
        compare(rows, "a", methods, "noise", n_resamples=20) for methods in (["informed"], ["informed", "noise"])
    )
    np.testing.assert_allclose(both.error, 0.5 * one.error)
    np.testing.assert_allclose(both.error_se, 0.5 * one.error_se)
    np.testing.assert_allclose(both.error_over_seeds, 0.5 * abs(one.error))  # of two numbers, half their difference
    assert np.all(one.error_over_seeds == 0) and set(both.n_seeds) == {2} and set(both.method) == {"a"}


def test_weights_choose_among_analogues(metadata, informed):
    (split,) = splits("projection", metadata)
    queries = draw_queries(split, 30)
    only_old = np.where(metadata["age1"] > 25, 1.0, 1e-9)
    plain, weighted = (
        recover(split, queries, metadata, [AGE], {"a": informed}, cut_settings={"share": 0.5}, weights=w)
        for w in (None, only_old)
    )
    method = plain.method == "a"
    assert np.all(weighted[method].estimate >= plain[method].estimate)
    assert weighted[method].estimate.min() * metadata["age1"][split.train].std() > 25


# --- true snapshot -------------------------------------------------------------------------------------------


def test_true_snapshot_by_hand():
    catalogue = {
        "system": np.array(["a", "a", "a", "b"]),
        "time_kyr": np.array([10.0, 11.0, 20.0, 10.0]),
        "projection": np.array([0, 1, 0, 0]),
    }
    queries = {"system": np.array(["a", "b"]), "time_kyr": np.array([10.5, 10.0]), "projection": np.array([0, 1])}
    distance = np.array([[0.3, 0.2, 0.1, 0.0], [0.1, 0.2, 0.3, 0.4]])
    ranks, table = true_snapshot(distance, queries, catalogue, top=(1, 3))
    np.testing.assert_array_equal(ranks, [3, 4])  # members 0 and 1 are right for the first, member 3 for the second
    assert list(table.rate) == [0, 0.5]
    # A random order has its first right member within 3 of 4 with 1 − C(2,3)/C(4,3) = 1, and 1 − C(3,3)/C(4,3) = 3/4.
    assert table.random[1] == pytest.approx((1 + 0.75) / 2) and table.random[0] == pytest.approx((0.5 + 0.25) / 2)
    # Without the first query's own view (members 0 and 2 of its system) only member 1 is right, and 3 is nearer.
    ranks, _ = true_snapshot(distance, queries, catalogue, same_view=False)
    np.testing.assert_array_equal(ranks, [2, 4])
    with pytest.raises(ValueError, match=r"1 of 2 queries have no member of their system within 0\.1 kyr"):
        true_snapshot(distance, queries, catalogue, tolerance_kyr=0.1)


def test_random_distances_find_the_true_snapshot_at_the_random_rate(metadata):
    rng = np.random.default_rng(0)
    queries = {name: column[rng.integers(len(column), size=3000)] for name, column in metadata.items()}
    distance = rng.random((3000, len(metadata["system"])), dtype=np.float32)
    _, table = true_snapshot(distance, queries, metadata, tolerance_kyr=2.0)
    for row in table.itertuples():
        assert row.rate == pytest.approx(row.random, abs=4 * np.sqrt(row.random / 3000))
        assert row.low < row.rate < row.high
