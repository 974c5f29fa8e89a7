"""Names: numbers in paths and back, and where the released models and the settings lie."""

import os
import re
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
REPOSITORY = PACKAGE.parents[2]


def format_number(value: float) -> str:
    """A number as it stands in a path: 16 → '16', 0.5 → '0p5', −1.25 → 'm1p25'. Inverse: `parse_number`."""
    text = repr(float(value) + 0.0)  # −0 is 0
    if "e" in text or "n" in text:
        raise ValueError(f"{value!r} cannot stand in a path: give a plain decimal number")
    return text.removesuffix(".0").replace("-", "m").replace(".", "p")


def parse_number(text: str) -> float:
    """The number of a path component: '0p5' → 0.5; anything else that `format_number` cannot make is an error."""
    if not re.fullmatch(r"m?\d+(p\d+)?", text):
        raise ValueError(f"'{text}' is no number of a path; expected such as 16, 0p5 or m1p25")
    value = float(text.replace("m", "-").replace("p", "."))
    if format_number(value) != text:
        raise ValueError(f"'{text}' is not how {value} is written in a path: use '{format_number(value)}'")
    return value


def shard_name(number: int) -> str:
    """The name of a shard: 7 → '000007'."""
    return f"{number:06d}"


def shard_names(total: int, size: int) -> list[str]:
    """Names of the shards of `total` things, `size` each: ['000000', '000001', …]."""
    return [shard_name(index) for index in range(-(-total // size))]


def shipped(name: str) -> Path:
    """The folder `config` or `models`: in the package where a wheel was installed, else in the checkout."""
    inside = PACKAGE / "shipped" / name
    return inside if inside.is_dir() else REPOSITORY / name


def models_folder() -> Path:
    """Where the released models lie: $DIOSCURI_MODELS, or those that came with this package."""
    return Path(os.environ.get("DIOSCURI_MODELS", shipped("models")))
