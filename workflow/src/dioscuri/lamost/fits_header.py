"""Headers as LAMOST writes them, read a card at a time where one asks; whatever is unusual is left to astropy."""

import io
import re
from collections.abc import Iterator, Mapping
from typing import Any

from astropy.io import fits

CARD, BLOCK = 80, 2880  # bytes
END = b"END" + b" " * 77
PLAIN = re.compile(r"([A-Z0-9_-]{1,8}) *= (.*)")
COMMENTARY = ("COMMENT ", "HISTORY ", " " * 8)
VALUE = re.compile(
    r" *(?:'(?P<text>(?:[^']|'')*)'|(?P<logical>[TF])|(?P<whole>[+-]?\d+)"
    r"|(?P<number>[+-]?(?:\d+\.\d*|\.\d+|\d+)(?:E[+-]?\d+)?)) *(?:/.*)?"
)


class Cards(Mapping[str, Any]):
    """Keyword → value of a header; values are parsed when they are asked for."""

    def __init__(self, cards: list[str]):
        self.cards: dict[str, str] = {}
        for card in cards:
            keyword, sign, _ = card.partition("=")
            if sign and not card.startswith(COMMENTARY):
                self.cards.setdefault(keyword.rstrip(), card)
        self.known: dict[str, Any] = {}

    def __getitem__(self, keyword: str) -> Any:
        if keyword not in self.known:
            if keyword not in self.cards:
                raise KeyError(f"Keyword '{keyword}' not found.")  # as astropy says it
            self.known[keyword] = _value(self.cards[keyword])
        return self.known[keyword]

    def __contains__(self, keyword: object) -> bool:
        return keyword in self.cards

    def __iter__(self) -> Iterator[str]:
        return iter(self.cards)

    def __len__(self) -> int:
        return len(self.cards)


def read_header(piece: bytes) -> tuple[Mapping[str, Any], int]:
    """The header at the beginning of `piece`, and where its data begin. Errors are astropy's, as for any FITS file."""
    for start in range(0, len(piece) - BLOCK + 1, BLOCK):
        ends = [at for at in range(start, start + BLOCK, CARD) if piece[at : at + 8] == b"END     "]
        if not ends:
            continue
        text, tail = piece[: ends[0]], piece[ends[0] : start + BLOCK]
        if tail.startswith(END) and not tail[CARD:].strip(b" ") and text.isascii():
            cards = [card.decode("ascii") for card in _split(text)]
            if all(card.isprintable() and (PLAIN.match(card) or card.startswith(COMMENTARY)) for card in cards):
                return Cards(cards), start + BLOCK
        break
    stream = io.BytesIO(piece)
    return fits.Header.fromfile(stream), stream.tell()


def _split(text: bytes) -> list[bytes]:
    return [text[at : at + CARD] for at in range(0, len(text), CARD)]


def _value(card: str) -> Any:
    found = VALUE.fullmatch(card, 10)
    if card[8:10] != "= " or found is None:
        value = fits.Card.fromstring(card).value
        return None if isinstance(value, fits.card.Undefined) else value
    if (text := found["text"]) is not None:
        return text.replace("''", "'").rstrip()
    if found["logical"]:
        return found["logical"] == "T"
    return int(found["whole"]) if found["whole"] else float(found["number"])
