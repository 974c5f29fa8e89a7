"""Headers read by hand are what astropy reads, and whatever is unusual goes to astropy."""

import io

import numpy as np
import pytest
from astropy.io import fits

from dioscuri.lamost.fits_header import Cards, read_header


def header_bytes(*cards: str) -> bytes:
    text = "".join(f"{card:80}" for card in cards) + f"{'END':80}"
    return text.ljust(-(-len(text) // 2880) * 2880).encode("latin-1")


def test_values_are_astropys() -> None:
    given = fits.Header()
    given["SIMPLE"], given["BITPIX"], given["NAXIS"] = True, -32, 0
    given["TEXT"] = ("O'Neill's  / star ", "a / comment")
    given["EMPTY"], given["REAL"], given["SMALL"] = "", -1234.5, 1.5e-300
    given["OBSID"], given["FLAG"], given["NOTHING"] = 3_700_912_076, False, None
    for number in range(40):
        given[f"MAG_{number}"] = (np.pi * number, "mag")
    given["COMMENT"] = "what = this"
    piece = given.tostring().encode("ascii") + b"data"
    found, start = read_header(piece)
    assert isinstance(found, Cards) and start == len(piece) - 4
    theirs = fits.Header.fromstring(piece[:start])
    for keyword in set(theirs) - {"COMMENT"}:
        assert found[keyword] == theirs[keyword] and type(found[keyword]) is type(theirs[keyword]), keyword
    assert "COMMENT" not in found and found.get("ABSENT", 7) == 7
    with pytest.raises(KeyError, match="Keyword 'ABSENT' not found"):
        found["ABSENT"]


@pytest.mark.parametrize(
    "card",
    ["HIERARCH LAMOST PLATE = 7", "LONG    = 'abc&'", "key     = 3", "DOUBLE  = 1.5D3", "COMPLEX = (1.0, 2.0)"],
)
def test_what_is_unusual_is_astropys(card: str) -> None:
    piece = header_bytes("SIMPLE  =                    T", card, "CONTINUE  'def'" if "LONG" in card else "A       = 1")
    theirs = fits.Header.fromstring(piece)
    found, _ = read_header(piece)
    keyword = next(iter(set(theirs) - {"SIMPLE", "A"}))
    assert found[keyword] == theirs[keyword]


@pytest.mark.filterwarnings("ignore:non-ASCII characters")
@pytest.mark.parametrize("damage", ["no END", "a byte beyond ASCII", "text behind END"])
def test_damage_is_told_by_astropy(damage: str) -> None:
    piece = bytearray(header_bytes("SIMPLE  =                    T", "OBJECT  = 'star'"))
    if damage == "no END":
        piece[160:163] = b"   "
    elif damage == "a byte beyond ASCII":
        piece[95] = 200
    else:
        piece[300] = ord("x")
    try:
        theirs = fits.Header.fromfile(io.BytesIO(bytes(piece)))
    except (OSError, ValueError) as error:
        with pytest.raises(type(error)):
            read_header(bytes(piece))
    else:
        found, _ = read_header(bytes(piece))
        assert isinstance(found, fits.Header) and found["SIMPLE"] == theirs["SIMPLE"]
