"""Fetching pretrained networks: which ones settings ask for, and a local server in the hub's place."""

from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save

from dioscuri import cli, transfer
from dioscuri.config import load_config
from dioscuri.learn import weights
from dioscuri.paths import shipped
from dioscuri.transfer import DownloadError

BASE = [shipped("config") / name for name in ("config.yaml", "surveys.yaml")]
RESNET, VGG = "resnet34", "vgg16.tv_in1k"
CONTENT = {name: save({"weight": torch.full((3, size), 0.5)}) for name, size in ((RESNET, 4000), (VGG, 5000))}
MINE = {
    "surveys": ["csst", "protostar"],
    "csst": {"train_networks": [RESNET]},
    "protostar": {"use": ["random_cnn", "vgg16"]},
}
KEYS = {
    ("csst", "networks", RESNET, "layers", "weights"): RESNET,
    ("protostar", "networks", "vgg16", "weights"): VGG,
}


@pytest.fixture
def server(file_server):
    places = {RESNET: "timm/resnet34.a1_in1k", VGG: "timm/vgg16.tv_in1k"}
    file_server.files = {f"{place}/resolve/main/model.safetensors": CONTENT[name] for name, place in places.items()}
    return file_server


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(MINE), encoding="utf-8")
    return path


def test_the_papers_settings_ask_for_ten_networks():
    models = weights.wanted(load_config(BASE).model_dump())
    assert len(set(models.values())) == 10
    assert {model for key, model in models.items() if key[0] == "csst"} == {"efficientnet_b3", RESNET}
    assert all(weights.address_of(model).startswith("https://") for model in models.values())


def test_the_command_fetches_and_its_settings_name_the_files(server, mine, tmp_path, capsys):
    folder = tmp_path / "weights"
    verb = ["download-weights", str(mine), "--folder", str(folder), "--base-url", server.url]
    assert cli.main(verb) == 0
    assert "2 files in" in capsys.readouterr().out
    config = load_config([*BASE, mine, folder / weights.OVERLAY])
    named = config.csst.networks[RESNET].layers.weights, config.protostar.networks["vgg16"].weights
    assert [Path(name).read_bytes() for name in named] == [CONTENT[RESNET], CONTENT[VGG]]
    assert weights.wanted(config.model_dump()) == {}
    assert cli.main(verb) == 0  # nothing is fetched twice
    assert len(server.ranges) == 2


def test_a_broken_transfer_goes_on_and_what_changed_is_noticed(server, tmp_path):
    server.breaks = [20_000]
    files = weights.download_weights(tmp_path, KEYS, base_url=server.url, pause=0.0)
    assert server.ranges[:2] == [None, "bytes=20000-"]
    recorded = {path.name: transfer.sha256(path) for path in files.values()}
    assert transfer.read_checksums(tmp_path / weights.MANIFEST) == recorded
    files[VGG].write_bytes(CONTENT[RESNET])
    with pytest.raises(DownloadError, match=r"vgg16\.tv_in1k\.safetensors: found sha256 .*delete it"):
        weights.download_weights(tmp_path, KEYS, base_url=server.url)


def test_what_is_no_network_is_not_recorded(server, tmp_path):
    server.files = dict.fromkeys(server.files, b"<html>sign in</html>")
    with pytest.raises(DownloadError, match="expected weights of a network, found"):
        weights.download_weights(tmp_path, KEYS, base_url=server.url)
    assert not (tmp_path / weights.MANIFEST).exists()
    with pytest.raises(DownloadError, match="found 'file:///etc'; accepted: an http"):
        weights.download_weights(tmp_path, KEYS, base_url="file:///etc")
