"""Gives memory that loading left behind back to the system."""

import contextlib
import ctypes
import gc


def return_freed_memory() -> None:
    """Ask the C library to return freed memory, where it is one that can (glibc).

    onnxruntime loads a graph in copies and frees all but one; glibc keeps what was freed. Measured
    with a graph of 37 MB: 149 MB resident after loading, 91 MB after this.
    """
    gc.collect()
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
