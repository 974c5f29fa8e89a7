"""Makes torchvision importable beside a CPU-only torch, and with it timm and pytorch_lightning.

`import dioscuri` has it watch imports. `make` also puts a copy of this file beside the environment's libraries, with a
.pth that calls it whenever Python starts: so it imports nothing until torchvision is looked for.
"""

import sys

TYPE_CHECKING = False  # importing typing would cost every start of Python two milliseconds
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from typing import Any

# Registrations live as long as the library object, so it is kept here.
_library: "Any" = None


class _Watch:
    """Finds no module; when torchvision is looked for the first time, what it will miss is declared before."""

    def find_spec(self, name: str, path: "Any" = None, target: "Any" = None) -> "ModuleSpec | None":
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
    import importlib.util
    from pathlib import Path

    global _library
    spec = importlib.util.find_spec("torchvision")
    if spec is None:
        return "absent"
    import torch

    if hasattr(torch.ops.torchvision, "nms"):  # by an earlier call, or by the copy that Python's start has called
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
