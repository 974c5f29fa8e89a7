"""Fetching exposures: MAST's listing, and a local server in MAST's place."""

import io
import logging

import numpy as np
import pytest
from astropy.io import fits

from dioscuri import cli, transfer
from dioscuri.cluster import download
from dioscuri.cluster.download import Product, download_mast, list_exposures
from dioscuri.transfer import DownloadError


def exposure(seed: int) -> bytes:
    """A FITS file of an exposure's layout, about 70 kB."""
    pixels = np.random.default_rng(seed).normal(size=(90, 90)).astype(np.float32)
    parts = [fits.ImageHDU(pixels, name=name, ver=1) for name in ("SCI", "ERR")]
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *parts]).writeto(buffer)
    return buffer.getvalue()


CONTENT = {f"ic7{letter}01abq_flt.fits": exposure(seed) for seed, letter in enumerate("ab")}
PRODUCTS = [Product(name, f"mast:HST/product/{name}", len(content)) for name, content in CONTENT.items()]


def address(name: str) -> str:
    """What the server is asked for."""
    return f"/download?uri=mast:HST/product/{name}"


@pytest.fixture
def server(file_server):
    file_server.files = {address(name): content for name, content in CONTENT.items()}
    file_server.service = f"http://127.0.0.1:{file_server.server_port}/download"
    return file_server


class Archive:
    """A made-up MAST: what it holds, what it was asked, and the states that it is in before it answers."""

    def __init__(self) -> None:
        self.asked: list[dict] = []
        self.states: list[str] = []
        kinds = [("FLT", name) for name in CONTENT] * 2  # MAST repeats files of associations
        kinds += [("RAW", "ic7a01abq_raw.fits"), ("FLT", "ic7a01abq_flt.jpg"), ("DRZ", "ic7a01010_drz.fits")]
        self.products = [
            {
                "productFilename": name,
                "productSubGroupDescription": kind,
                "dataURI": f"mast:HST/product/{name}",
                "size": len(CONTENT.get(name, b"")) or None,
            }
            for kind, name in kinds
        ]

    def answer(self, question: dict) -> dict:
        """What MAST's portal says to one request: half of the products on each of two pages."""
        self.asked.append(question)
        if self.states:
            return {"status": self.states.pop(0), "msg": "busy"}
        if question["service"] == "Mast.Caom.Filtered":
            proposal = next(f["values"] for f in question["params"]["filters"] if f["paramName"] == "proposal_id")
            rows = [{"obsid": "11"}, {"obsid": "12"}] if proposal == ["12911"] else []
            return {"status": "COMPLETE", "data": rows}
        half = slice(question["page"] - 1, None, 2)
        return {"status": "COMPLETE", "data": self.products[half], "paging": {"pagesFiltered": 2}}


@pytest.fixture
def archive(file_server, monkeypatch):
    made_up = Archive()
    file_server.answer = made_up.answer
    monkeypatch.setattr(download, "SEARCH_URL", f"http://127.0.0.1:{file_server.server_port}/invoke")
    return made_up


def test_listing_keeps_each_calibrated_exposure_once(archive):
    assert list_exposures() == PRODUCTS
    observations, *products = archive.asked
    # The very request that astroquery 0.4.11 sent for these criteria.
    assert observations == {
        "service": "Mast.Caom.Filtered",
        "params": {
            "columns": "*",
            "filters": [
                {"paramName": "obs_collection", "separator": ";", "values": ["HST"]},
                {"paramName": "proposal_id", "values": ["12911"]},
                {"paramName": "instrument_name", "values": ["WFC3/UVIS"]},
                {"paramName": "filters", "separator": ";", "values": ["F467M", "F775W"]},
            ],
        },
        "format": "json",
        "pagesize": 50000,
        "page": 1,
    }
    assert [(one["service"], one["params"], one["page"]) for one in products] == [
        ("Mast.Caom.Products", {"obsid": "11,12"}, page) for page in (1, 2)
    ]


def test_listing_waits_while_the_archive_works(archive, monkeypatch):
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    archive.states = ["EXECUTING", "EXECUTING"]
    assert list_exposures() == PRODUCTS
    archive.states = ["ERROR"]
    with pytest.raises(DownloadError, match=r"list of GO-12911 did not come \(ValueError: MAST answers ERROR busy"):
        list_exposures()


def test_listing_troubles(archive, monkeypatch):
    with pytest.raises(DownloadError, match="GO-1 has no 'flt' exposures of WFC3/UVIS in F606W"):
        list_exposures(1, ["F606W"])
    del archive.products[0]["dataURI"]
    with pytest.raises(DownloadError, match=r"did not come \(KeyError: 'dataURI'\)"):
        list_exposures()
    archive.products[0] |= {"dataURI": "", "productFilename": "../evil_flt.fits"}
    with pytest.raises(DownloadError, match=r"refused: the file name '\.\./evil"):
        list_exposures()
    monkeypatch.setattr(download, "SEARCH_URL", "http://127.0.0.1:9/invoke")
    with pytest.raises(DownloadError, match=r"list of GO-12911 did not come \(URLError: .*refused"):
        list_exposures()


def test_exposures_arrive_are_recorded_and_not_fetched_twice(server, tmp_path):
    paths = download_mast(tmp_path, PRODUCTS, base_url=server.service)
    assert {path.name: path.read_bytes() for path in paths} == CONTENT
    known = transfer.read_checksums(tmp_path / "MAST.sha256")
    assert known == {path.name: transfer.sha256(path) for path in paths}
    assert download_mast(tmp_path, PRODUCTS, base_url=server.service) == paths
    assert len(server.ranges) == 2


def test_a_broken_transfer_goes_on_where_it_stopped(server, tmp_path):
    server.breaks = [20_000, 10_000]
    [path] = download_mast(tmp_path, PRODUCTS[:1], base_url=server.service, pause=0.0)
    assert path.read_bytes() == CONTENT[path.name]
    assert server.ranges == [None, "bytes=20000-", "bytes=30000-"]


def test_what_changed_on_disk_or_is_not_as_promised_is_noticed(server, tmp_path):
    [path] = download_mast(tmp_path, PRODUCTS[:1], base_url=server.service)
    path.write_bytes(exposure(9))
    with pytest.raises(DownloadError, match=r"found sha256 .*, expected .*MAST\.sha256\); delete it"):
        download_mast(tmp_path, PRODUCTS[:1], base_url=server.service)
    (tmp_path / "sums").write_text(f"{'0' * 64}  {path.name}\n")
    with pytest.raises(DownloadError, match="thrown away"):
        download_mast(tmp_path / "b", PRODUCTS[:1], base_url=server.service, checksums=tmp_path / "sums")


@pytest.mark.parametrize("content", [next(iter(CONTENT.values()))[:-5000], b'{"error": "no such file"}'])
def test_what_is_no_whole_fits_file_is_not_recorded(server, tmp_path, content):
    server.files[address(PRODUCTS[0].name)] = content
    with pytest.raises(DownloadError, match=r"expected a whole FITS file, found .*it begins with"):
        download_mast(tmp_path, PRODUCTS[:1], base_url=server.service)
    assert not (tmp_path / "MAST.sha256").exists()


def test_a_size_other_than_listed_is_only_said(server, tmp_path, caplog):
    odd = PRODUCTS[0]._replace(size=5)
    with caplog.at_level(logging.WARNING, logger="dioscuri"):
        download_mast(tmp_path, [odd], base_url=server.service)
    assert f"{len(CONTENT[odd.name])} bytes came, MAST lists 5" in caplog.text


def test_the_command(server, archive, tmp_path, capsys):
    verb = ["download-mast", "--folder", str(tmp_path / "m4"), "--base-url", server.service]
    assert cli.main([*verb, "--list"]) == 0
    assert capsys.readouterr().out.split() == [part for name in CONTENT for part in (name, "0.1", "MB")]
    assert not (tmp_path / "m4").exists()
    assert cli.main(verb) == 0
    assert "2 exposures in" in capsys.readouterr().out
    assert (tmp_path / "m4" / "MAST_GO12911.sha256").is_file()
    assert cli.main([*verb, "--proposal", "7"]) == cli.EXIT_USAGE
    assert "GO-7 has no 'flt' exposures" in capsys.readouterr().err


def test_defaults_are_an_address_and_the_paper_s_filters():
    assert download.MAST_URL.startswith("https://mast.stsci.edu/")
    with pytest.raises(DownloadError, match="found 'file:///etc'; accepted: an http"):
        download_mast("unused", [], base_url="file:///etc")
