"""Ways to damage a FITS file that several kinds of input share."""

import io
from collections.abc import Callable

import numpy as np
from astropy.io import fits
from runner import Mutation

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def edited(edit: Callable[[fits.HDUList, np.random.Generator], None]) -> Mutation:
    """The file is opened, changed and written again, whatever it is then."""

    def mutation(content: bytes, rng: np.random.Generator) -> bytes:
        with fits.open(io.BytesIO(content), memmap=False) as units:
            edit(units, rng)
            units.writeto(out := io.BytesIO(), output_verify="ignore")
        return out.getvalue()

    return mutation


def put(value: object, size: int, margin: int = 0) -> Change:
    """`size` pixels somewhere, `margin` from the ends, get a value; None: that of the first of them."""

    def change(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        start = int(rng.integers(margin, len(values) - size - margin))
        values[start : start + size] = values[start] if value is None else value
        return values

    return change


def copied(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """300 pixels are copied to another place."""
    start, to = rng.integers(0, len(values) - 400, 2)
    values[to : to + 300] = values[start : start + 300].copy()
    return values
