"""What the Triton interpreter lacks: a check of every address, and dot products of bfloat16 and TF32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import triton.language as tl
from triton.runtime import interpreter
from triton.runtime.interpreter import GridExecutor, InterpreterBuilder, TensorHandle


class BoundsChecker:
    """While it is entered, each active lane of a load or store must fall into a tensor given to the kernel."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.lanes = 0
        self._ranges: list[tuple[int, int]] = []
        load, store, arguments = (
            InterpreterBuilder.create_masked_load,
            InterpreterBuilder.create_masked_store,
            GridExecutor._init_args_hst,
        )

        def checked_load(builder, pointers, mask, *rest):
            self._check(pointers, mask)
            return load(builder, pointers, mask, *rest)

        def checked_store(builder, pointers, value, mask, *rest):
            self._check(pointers, mask)
            return store(builder, pointers, value, mask, *rest)

        def noted_arguments(executor, positional, keyword):
            hosts = arguments(executor, positional, keyword)
            self._ranges = [_extent(a) for a in (*hosts[0], *hosts[1].values()) if hasattr(a, "data_ptr")]
            return hosts

        patch.setattr(InterpreterBuilder, "create_masked_load", checked_load)
        patch.setattr(InterpreterBuilder, "create_masked_store", checked_store)
        patch.setattr(GridExecutor, "_init_args_hst", noted_arguments)

    def _check(self, pointers: TensorHandle, mask: TensorHandle) -> None:
        addresses = np.asarray(pointers.data).astype(np.uint64)
        active = addresses[np.broadcast_to(np.asarray(mask.data).astype(bool), addresses.shape)]
        known = np.zeros(active.shape, bool)
        for first, end in self._ranges:
            known |= (active >= first) & (active < end)
        self.lanes += active.size
        if not known.all():
            raise MemoryError(f"{int((~known).sum())} lanes out of bounds")


def _extent(tensor) -> tuple[int, int]:
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size()


@contextmanager
def tensor_core_dots() -> Iterator[None]:
    """Dot products on bfloat16 values instead of on their bit patterns, and on TF32 where a kernel asks for it."""
    plain = InterpreterBuilder.create_dot

    def dot(builder, a, b, d, precision, rest):
        def widened(handle):
            if handle.dtype.scalar == tl.bfloat16:
                return TensorHandle((handle.data.astype(np.uint32) << 16).view(np.float32), tl.float32)
            if handle.dtype.scalar == tl.float32 and str(precision).upper().endswith("TF32"):
                bits = handle.data.view(np.uint32) + np.uint32(0x1000)  # half of the last of the 10 bits kept
                return TensorHandle((bits & np.uint32(0xFFFFE000)).view(np.float32), tl.float32)
            return handle

        return plain(builder, widened(a), widened(b), d, precision, rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interpreter.InterpreterBuilder, "create_dot", dot)
        yield
