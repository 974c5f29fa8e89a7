"""HST exposures from MAST: listed, fetched with resume, checked."""

import http.client
import json
import logging
import os
import time
import urllib.parse
import urllib.request
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dioscuri import __version__
from dioscuri.transfer import DownloadError, alone_in, check_address, fetch_and_record

log = logging.getLogger(__name__)

MAST_URL = "https://mast.stsci.edu/api/v0.1/Download/file"
SEARCH_URL = "https://mast.stsci.edu/api/v0/invoke"  # described at https://mast.stsci.edu/api/v0/
M4_PROPOSAL = 12911  # GO-12911 (Bedin): the exposures of NGC 6121 that the paper's §4 uses
M4_FILTERS = ("F467M", "F775W")
INSTRUMENT = "WFC3/UVIS"
_ROWS = 50_000  # of a page of answers


class Product(NamedTuple):
    """One file of the archive: its plain name, MAST's address of it, and its size as listed [bytes]."""

    name: str
    uri: str
    size: int


def list_exposures(proposal: int = M4_PROPOSAL, filters: Sequence[str] = M4_FILTERS) -> list[Product]:
    """The calibrated exposures ('flt') of a proposal with WFC3/UVIS in some filters, by name; asks MAST."""
    conditions = [
        {"paramName": "obs_collection", "separator": ";", "values": ["HST"]},
        {"paramName": "proposal_id", "values": [str(proposal)]},
        {"paramName": "instrument_name", "values": [INSTRUMENT]},
        {"paramName": "filters", "separator": ";", "values": list(filters)},
    ]
    try:
        found = _search("Mast.Caom.Filtered", {"columns": "*", "filters": conditions})
        observations = ",".join(str(row["obsid"]) for row in found)
        rows = _search("Mast.Caom.Products", {"obsid": observations}) if found else []
        products = {
            row["productFilename"]: Product(row["productFilename"], row["dataURI"], int(row["size"] or 0))
            for row in rows
            if row["productSubGroupDescription"] == "FLT" and row["productFilename"].endswith("fits")
        }
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as error:
        raise DownloadError(
            f"MAST: the list of GO-{proposal} did not come ({type(error).__name__}: {error}); is the network there?"
        ) from error
    strange = [name for name in products if Path(name).name != name]
    if strange:
        raise DownloadError(f"MAST: refused: the file name {strange[0]!r} is no plain name")
    if not products:
        raise DownloadError(
            f"MAST: GO-{proposal} has no 'flt' exposures of {INSTRUMENT} in {', '.join(filters)}; accepted: the "
            "number of a proposal and filters that it used, as F467M"
        )
    return [products[name] for name in sorted(products)]


def _search(service: str, parameters: dict[str, Any], patience: float = 600.0) -> list[dict[str, Any]]:
    """All rows that a service of MAST's portal answers, page by page; waits up to `patience` s while it works."""
    rows: list[dict[str, Any]] = []
    headers = {"User-Agent": f"dioscuri/{__version__}", "Accept": "text/plain"}
    page, pages, deadline = 1, 1, time.monotonic() + patience
    while page <= pages:
        question = {"service": service, "params": parameters, "format": "json", "pagesize": _ROWS, "page": page}
        body = urllib.parse.urlencode({"request": json.dumps(question)}).encode()
        request = urllib.request.Request(SEARCH_URL, body, headers)
        with urllib.request.urlopen(request, timeout=60.0) as response:
            answer = json.load(response)
        if answer["status"] == "EXECUTING" and time.monotonic() < deadline:
            time.sleep(1.0)
            continue
        if answer["status"] != "COMPLETE":
            raise ValueError(f"MAST answers {answer['status']} {answer.get('msg', '')}".strip())
        rows += answer["data"]
        page, pages = page + 1, (answer.get("paging") or {}).get("pagesFiltered", 1)
    return rows


def download_mast(
    folder: str | os.PathLike,
    products: Sequence[Product],
    *,
    base_url: str = MAST_URL,
    manifest: str = "MAST.sha256",
    checksums: str | os.PathLike | None = None,
    attempts: int = 5,
    pause: float = 2.0,
    timeout: float = 60.0,
) -> list[Path]:
    """Fetch exposures into `folder`; returns their paths, in the order given.

    A broken transfer goes on where it stopped, within a call and at the next one; what is there is not fetched
    again. Every file must have the length that the server states, and be a whole FITS file. MAST lists no
    checksums: that of the first download is recorded in `manifest` beside the files, and each is held against
    it and against `checksums` (a file of sha256sum's format), now and later. The listed size is only compared
    and reported, as MAST does not vouch for it.
    """
    check_address(base_url, MAST_URL)
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with alone_in(folder):
        for product in products:
            path = folder / product.name
            fetch_and_record(
                f"{base_url}?uri={urllib.parse.quote(product.uri, safe=':/')}",
                path,
                folder / manifest,
                _check_whole,
                checksums=checksums,
                attempts=attempts,
                pause=pause,
                timeout=timeout,
            )
            size = path.stat().st_size
            if product.size and size != product.size:
                log.warning("%s: %d bytes came, MAST lists %d", path, size, product.size)
            paths.append(path)
    return paths


def _check_whole(path: Path) -> None:
    """Refuse what is no FITS file, or ends before its last extension does."""
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyUserWarning

    with open(path, "rb") as stream:
        head = stream.read(32)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", AstropyUserWarning)  # what astropy says of a file cut off
            with fits.open(path) as hdus:
                extensions = len(hdus)
    except (OSError, AstropyUserWarning) as error:
        raise DownloadError(
            f"{path}: expected a whole FITS file, found {error} (it begins with {head!r}); delete it and run again"
        ) from error
    log.info("%s: %d extensions", path.name, extensions - 1)
