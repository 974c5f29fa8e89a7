"""Lets torchvision be imported where its compiled operators do not load, as Lightning (and timm) import it."""

import importlib.util
from pathlib import Path

import torch

# Registrations live as long as the library object, so it is kept here.
_library: torch.library.Library | None = None


def declare_missing_operators() -> str:
    """Declare the two schemas without which `import torchvision` fails; call before pytorch_lightning or timm.

    PyPI's torchvision is a CUDA build: beside a CPU-only torch its `_C` cannot load, and torchvision's own Python
    then stops at "operator torchvision::nms does not exist". Models and transforms work with the schemas alone.
    Returns what was found: absent, native or declared.
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
