"""Says which extra of the package brings a library that is not installed."""

import re
from importlib.metadata import PackageNotFoundError, requires

COLLECTIONS = ("all", "dev")  # of the other extras
_REQUIREMENT = re.compile(r"""([A-Za-z0-9._-]+).*extra *== *['"](\w+)['"]""")


def remedy(error: ModuleNotFoundError) -> str:
    """One line for a user whose environment lacks a library: what is missing, and how to get it."""
    library = (error.name or "").split(".")[0]
    try:
        lines = requires("dioscuri") or []
    except PackageNotFoundError:
        lines = []
    for name, extra in (match.groups() for line in lines if (match := _REQUIREMENT.match(line))):
        if extra not in COLLECTIONS and name.lower().replace("-", "_") == library.lower():
            return (
                f"this needs {library}, which is not installed; it comes with the extra '{extra}': in the checkout, "
                f"pip install '.[{extra}]'; of a wheel, pip install 'dioscuri-….whl[{extra}]'"
            )
    return f"this needs {library}, which is not installed: pip install {library}"
