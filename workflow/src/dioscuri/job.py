"""What every job shares: its log, its threads and the provenance that it writes into its files."""

import logging
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

import dioscuri
from dioscuri.io import digest


@contextmanager
def logged(path: str | os.PathLike | None = None, level: int = logging.INFO) -> Iterator[logging.Logger]:
    """Send log lines and warnings to `path` (or stderr); an error ends up there too, with its traceback.

    The last line says what the job has cost: CPU of the whole process, and the most memory that it has held.
    """
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
        log.info("took %.1f s of CPU, at most %s MB", time.process_time(), _most_memory())
    except BaseException:
        log.exception("failed")
        raise
    finally:
        log.removeHandler(handler)
        logging.getLogger("py.warnings").removeHandler(handler)
        handler.close()


def _most_memory() -> str:
    """Megabytes; '?' where the system does not say (what getrusage says counts the parent's, before exec)."""
    with suppress(OSError, IndexError):
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return str(int(status.split("VmHWM:")[1].split()[0]) // 1024)
    return "?"


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
