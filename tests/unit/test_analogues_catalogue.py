"""The shards of the catalogue, and the toy's."""

import h5py
import numpy as np
import pytest

from dioscuri import io
from dioscuri.analogues import catalogue, synthetic
from dioscuri.analogues.catalogue import METADATA, Frame, write_catalogue
from dioscuri.analogues.observation.images import planck
from dioscuri.analogues.observation.sed import bolometric_temperature
from dioscuri.analogues.simulation.collapse import simulate

DISTANCE = 140.0  # pc
NAMES = ("b1_0010_0", "b1_0010_1", "b2_0007_0")
H, W = 6, 7


@pytest.fixture(scope="module")
def system():
    return simulate(3, n_particles=500, n_snapshots=4, duration=10.0, separation_au=150.0)


@pytest.fixture(scope="module")
def shard(system, tmp_path_factory):
    path = tmp_path_factory.mktemp("toy") / "system003.h5"
    count = synthetic.write_system_catalogue(
        path, system, 3, separation_au=150.0, n_pixels=24, fov_au=1200.0, n_lines=4, mirror=True
    )
    return path, count


# --- the toy catalogue ---------------------------------------------------------------------------------------------


def test_toy_shard_has_all_images_and_metadata(shard, system):
    path, count = shard
    wide = [snapshot for snapshot in system.snapshots if snapshot.stars.separation >= 150]
    assert count == len(wide) * 4 * 2
    metadata = catalogue.read_metadata(path)
    assert list(metadata) == list(METADATA)
    assert {len(values) for values in metadata.values()} == {count}
    assert len(set(metadata["image_id"])) == count
    assert catalogue.read_channels(path) == sorted(synthetic.CHANNELS)
    record = io.read_provenance(path)
    assert record["snapshots_skipped"] == len(system.snapshots) - len(wide)
    assert record["catalogue"] == "toy"


def test_toy_images_are_the_snapshots_seen_from_the_cone(shard, system):
    path, _ = shard
    metadata = catalogue.read_metadata(path)
    continuum = catalogue.read_images(path, "continuum_1300um")
    assert continuum.shape[1:] == (24, 24)
    assert (continuum >= 0).all()
    assert (catalogue.read_images(path, "continuum_870um") >= continuum * 0.999).all()
    for i in (0, len(continuum) // 2):
        stars = system.snapshots[metadata["snapshot"][i]].stars
        assert metadata["separation"][i] == pytest.approx(stars.separation)
        assert metadata["m2"][i] == pytest.approx(stars.mass[1])
        # The primary lies 75 AU above the middle, at row 11.5 + 75/50 = 13.
        primary = continuum[i, 12:15, 11:13].max()
        assert primary > 3 * np.median(continuum[i])
    spin = np.stack([metadata[f"j1{axis}"] for axis in "xyz"])
    np.testing.assert_allclose((spin**2).sum(axis=0), 1)
    np.testing.assert_allclose(np.degrees(np.arccos(spin[2])), metadata["inclination1"])


def test_toy_mirror_views_flip_image_and_velocity(shard):
    path, _ = shard
    metadata = catalogue.read_metadata(path)
    front, back = ~metadata["mirror"].astype(bool), metadata["mirror"].astype(bool)
    velocity = catalogue.read_images(path, "moment1_cold")
    np.testing.assert_allclose(velocity[back], -velocity[front][:, :, ::-1], atol=4e-3)  # float16
    np.testing.assert_allclose(metadata["inclination1"][back], 180 - metadata["inclination1"][front])
    np.testing.assert_allclose(metadata["j1x"][back], -metadata["j1x"][front], atol=1e-12)


def profiles_of(path):
    with h5py.File(path) as stream:
        return {name: dataset[:] for name, dataset in stream["profiles"].items()}


def test_frame_and_profiles(shard, system):
    path, count = shard
    frame = catalogue.read_frame(path)
    assert (frame.pixel_au, frame.beam_au, frame.separation_au) == (50.0, (50.0, 50.0, 0.0), 150.0)
    assert frame.units["mdot1"] == "Msun/yr"
    assert frame.units["moment1_warm"] == "km/s"
    profiles = profiles_of(path)
    n_shells = len(profiles["radius"]) - 1
    assert profiles["angular_momentum1"].shape == (count, n_shells, 3)
    assert profiles["radial_velocity2"].shape == (count, n_shells)
    assert profiles["sed"].shape == (count, len(profiles["sed_wavelength"]))


def test_bolometric_temperatures(shard):
    """A black body has its own (Myers & Ladd 1993), and embedded protostars are between cold cores and stars."""
    wavelength = 1e3 * np.geomspace(1e-3, 3, 40)
    for temperature in (30.0, 300.0):
        found = bolometric_temperature(planck(temperature, 1e-3 * wavelength), wavelength)
        assert found == pytest.approx(temperature, rel=0.01)
    path, _ = shard
    metadata, profiles = catalogue.read_metadata(path), profiles_of(path)
    assert np.all((metadata["tbol"] > 12) & (metadata["tbol"] < 300))
    # Nearly all that the stars radiate is absorbed and radiated again: within a factor that optically thin
    # temperatures leave open, luminosity and spectrum agree.
    power = np.array([np.trapezoid(s / w**2, w) for s, w in zip(profiles["sed"], [profiles["sed_wavelength"]] * 999)])
    luminosity = 4 * np.pi * (100 * 3.0857e16) ** 2 * 1e-26 * 2.998e14 * power / 3.828e26
    ratio = luminosity / (metadata["l1"] + metadata["l2"])
    assert 0.03 < np.median(ratio) < 30


def test_several_shards_follow_each_other(shard, tmp_path):
    path, count = shard
    images = {name: catalogue.read_images(path, name)[:3] for name in catalogue.read_channels(path)}
    metadata = {name: values[:3] for name, values in catalogue.read_metadata(path).items()}
    metadata["image_id"] = np.array(["a", "b", "c"])
    write_catalogue(tmp_path / "other.h5", images, metadata, catalogue.read_frame(path))
    both = catalogue.read_metadata([path, tmp_path / "other.h5"])
    assert len(both["m1"]) == count + 3
    batches = list(catalogue.iterate_images([path, tmp_path / "other.h5"], "continuum_870um", batch=5))
    assert np.concatenate([names for names, _ in batches]).tolist() == both["image_id"].tolist()
    np.testing.assert_array_equal(batches[-1][1], images["continuum_870um"])


def test_a_system_always_closer_than_wanted_is_an_error(system, tmp_path):
    with pytest.raises(ValueError, match="never reaches a separation of 9999"):
        synthetic.write_system_catalogue(tmp_path / "s.h5", system, 3, separation_au=9999.0)


def test_unknown_channels(system):
    with pytest.raises(ValueError, match="unknown channels moment1_hot: accepted are continuum_870um"):
        synthetic.observe_system(system, 3, separation_au=100.0, channels=["moment1_hot"])


@pytest.mark.parametrize(
    ("images", "metadata", "complaint"),
    [
        ({"a": np.zeros((2, 3, 3))}, {"image_id": ["x", "x"]}, "image_id must be unique, but x occur"),
        ({"a": np.zeros((2, 3, 3))}, {"image_id": ["x"]}, r"shape \(2, 3, 3\), expected \(1, 3, 3\)"),
        ({"a": np.zeros((2, 3, 3))}, {"m1": [1.0, 2.0]}, "column image_id"),
        ({"a": np.zeros((2, 3, 3))}, {"image_id": ["x", "y"], "m1": [1.0]}, r"column 'm1' has shape \(1,\)"),
        ({"b": np.zeros((2, 3, 3))}, {"image_id": ["x", "y"], "tilt": [1.0, 2.0]}, "no unit given for b, tilt"),
    ],
)
def test_shards_that_do_not_fit_together(tmp_path, images, metadata, complaint):
    with pytest.raises(ValueError, match=complaint):
        write_catalogue(tmp_path / "bad.h5", images, metadata, Frame(1.0, units={"a": "Jy/sr"}))
    assert not list(tmp_path.iterdir())


def test_reading_what_is_not_there(shard, tmp_path):
    with pytest.raises(ValueError, match="no channel 'optical'; there are continuum_1300um"):
        catalogue.read_images(shard[0], "optical")
    with h5py.File(tmp_path / "x.h5", "w"):
        pass
    with pytest.raises(ValueError, match="expected schema 'dioscuri/analogues/1', found 'none'"):
        catalogue.read_frame(tmp_path / "x.h5")
