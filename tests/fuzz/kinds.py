"""All kinds of input that are damaged."""

import tempfile
from pathlib import Path

from commands import COMMANDS
from lrs import LRS
from models import MODELS
from mrs import mrs
from others import OTHERS
from runner import Kind
from tables import TABLES


def all_kinds(folder: Path, names: list[str] | None = None) -> list[Kind]:
    """A sound file of each kind (or of those named like the functions that make them), made below `folder`."""
    known = {make.__name__: make for make in (mrs, *LRS, *TABLES, *MODELS, *OTHERS, *COMMANDS)}
    if strangers := set(names or ()) - known.keys():
        raise SystemExit(f"no kind {', '.join(sorted(strangers))}; accepted: {', '.join(known)}")
    return [known[name](Path(tempfile.mkdtemp(dir=folder))) for name in names or known]
