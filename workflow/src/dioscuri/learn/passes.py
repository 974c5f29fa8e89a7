"""Evaluates networks in passes of one fixed shape, so that a result depends on nothing but its own input."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from tqdm import tqdm


def passes(usable: np.ndarray, size: int, progress: bool, unit: str) -> Iterator[tuple[slice, np.ndarray]]:
    """Slices of `usable` and the `size` rows to evaluate for each; the last pass repeats its last row."""
    with tqdm(total=len(usable), unit=unit, disable=None if progress else True, leave=False) as bar:
        for first in range(0, len(usable), size):
            here = slice(first, min(first + size, len(usable)))
            yield here, usable[np.minimum(np.arange(first, first + size), here.stop - 1)]
            bar.update(here.stop - first)


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """No gradients, and on a GPU no TF32 and no kernel chosen by timing."""
    cudnn = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with torch.inference_mode(), cudnn:
        yield


def resolved_device(device: str) -> torch.device:
    """`device`; auto takes a GPU where there is one."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)
