"""Makes torchvision importable beside a CPU-only torch, and with it timm and pytorch_lightning."""

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

# Registrations live as long as the library object, so it is kept here.
_library: Any = None


class _Watch(MetaPathFinder):
    """Finds no module; when torchvision is looked for the first time, what it will miss is declared before."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name == "torchvision":
            sys.meta_path.remove(self)
            declare_missing_operators()
        return None


def watch_imports() -> None:
    """Have `declare_missing_operators` called before torchvision is imported by whomever; costs nothing until then."""
    if not any(isinstance(finder, _Watch) for finder in sys.meta_path) and "torchvision" not in sys.modules:
        sys.meta_path.insert(0, _Watch())


def declare_missing_operators() -> str:
    """Declare the schemas without which `import torchvision` fails; to be called before it.

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
    import torch

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
