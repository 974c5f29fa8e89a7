"""One setting of the C library's allocator that keeps large CPU batches fast."""

import ctypes
import sys

# mallopt parameters, from glibc's malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def keep_freed_memory() -> None:
    """Let this process keep the buffers that it frees instead of handing each one back to the kernel.

    glibc maps every large array afresh, so that each torch operation on a big batch page-faults through its
    whole output: training at batch 512 runs at half speed, inference at batch 2048 at a third. Works inside
    the running process (no environment variable before Python starts); does nothing where the C library is
    not glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
        mallopt(_M_TOP_PAD, 1 << 28)
