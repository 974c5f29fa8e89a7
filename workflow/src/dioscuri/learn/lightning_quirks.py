"""Makes Lightning importable beside a CPU-only torch, and quiet."""

import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

# Registrations live as long as the library object, so it is kept here.
_library: torch.library.Library | None = None


def declare_missing_operators() -> str:
    """Declare the schemas without which `import torchvision` fails; call before pytorch_lightning or timm.

    PyPI's torchvision is a CUDA build: beside a CPU-only torch its `_C` cannot load, and torchvision's own
    Python then stops at "operator torchvision::nms does not exist". Models and transforms work with the
    schemas alone. Returns what was found: absent, native or declared.
    """
    global _library
    spec = importlib.util.find_spec("torchvision")
    if spec is None:
        return "absent"
    if _library is not None:
        return "declared"
    for folder in spec.submodule_search_locations or []:
        for compiled in Path(folder).glob("_C*.so"):
            try:
                torch.ops.load_library(compiled)
            except OSError:
                continue
            return "native"
    _library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        _library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return "declared"


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's announcements (hardware, tips, "use srun") out of the log."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The `srun` command is available")
            # Lightning 2.6 with torch 2.13
            warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)
