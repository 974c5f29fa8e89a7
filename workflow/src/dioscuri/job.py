"""What every job shares: its log, its threads and the provenance that it writes into its files."""

import logging
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import dioscuri
from dioscuri.io import digest


@contextmanager
def logged(path: str | os.PathLike | None = None, level: int = logging.INFO) -> Iterator[logging.Logger]:
    """Send log lines and warnings to `path` (or stderr); an error ends up there too, with its traceback."""
    log = logging.getLogger("dioscuri")
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    handler: logging.Handler = logging.FileHandler(path, mode="w") if path else logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    log.addHandler(handler)
    log.setLevel(level)
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").addHandler(handler)
    try:
        yield log
    except BaseException:
        log.exception("failed")
        raise
    finally:
        log.removeHandler(handler)
        logging.getLogger("py.warnings").removeHandler(handler)
        handler.close()


def use_threads(threads: int) -> None:
    """Let torch and numba use `threads` threads; call it before the first kernel runs."""
    import numba
    import torch

    torch.set_num_threads(threads)
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]


def provenance(settings: Any = None, **sources: Any) -> dict[str, Any]:
    """Where a file comes from: version, digest of the settings that made it, their text, and its sources."""
    return {
        "software": "dioscuri",
        "version": dioscuri.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "settings_digest": digest(settings),
        "settings": settings,
        "sources": sources,
    }
